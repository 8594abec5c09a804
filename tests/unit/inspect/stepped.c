/*
 * stepped.c: a program for the debugger: one goroutine in a loop without calls, stopped and let go
 * a few times.
 */
#include <grasp/runtime.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STOPS      5
#define TIMEOUT_NS 600000000000u

int main(void)
{
    char err[512] = "";
    struct gr_options options = {.procs = 1};
    int64_t id = -1;
    if (gr_start(&options, err, sizeof err) == 0 &&
        gr_module_load("inspectee", INSPECTEE, err, sizeof err) == 0)
        id = gr_spawn("inspectee", "spin", "null", NULL);
    if (id < 0) {
        fprintf(stderr, "stepped: %lld %s\n", (long long)id, err);
        return 1;
    }
    for (int stops = 0; stops < STOPS;) {
        struct gr_hold hold;
        memset(&hold, 0, sizeof hold);
        int result = gr_hold_wait(&hold, (uint64_t)id, TIMEOUT_NS);
        if (result != 0) {
            fprintf(stderr, "stepped: suspend: %d\n", result);
            return 1;
        }
        stops += hold.safepoint == GR_SAFEPOINT_ASYNC;
        gr_hold_end(&hold);
    }
    fflush(stdout);
    _exit(0);
}
