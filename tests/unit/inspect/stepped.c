/*
 * stepped.c: a program for the debugger: one goroutine, of the entry of inspectee that is named, stopped and
 * let go by signal a few times if it is "spin"; else it runs until the debugger ends it.
 */
#include <grasp/runtime.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STOPS      5
#define TIMEOUT_NS 600000000000u

int main(int argc, char **argv)
{
    char err[512] = "";
    struct gr_options options = {.procs = 1};
    const char *entry = argc > 1 ? argv[1] : "spin";
    int64_t id = -1;
    if (gr_start(&options, err, sizeof err) == 0 &&
        gr_module_load("inspectee", INSPECTEE, err, sizeof err) == 0)
        id = gr_spawn("inspectee", entry, "null", NULL);
    if (id < 0) {
        fprintf(stderr, "stepped: %lld %s\n", (long long)id, err);
        return 1;
    }
    while (strcmp(entry, "spin") != 0)
        pause();
    for (int stops = 0; stops < STOPS;) {
        struct gr_hold hold;
        memset(&hold, 0, sizeof hold);
        int result = gr_hold_wait(&hold, (uint64_t)id, TIMEOUT_NS);
        if (result != 0) {
            fprintf(stderr, "stepped: suspend: %d\n", result);
            return 1;
        }
        /* Not one that stood where the last signal had left it, and had not run since. */
        stops += hold.safepoint == GR_SAFEPOINT_ASYNC && hold.stopped_ns > hold.asked_ns;
        gr_hold_end(&hold);
    }
    fflush(stdout);
    _exit(0);
}
