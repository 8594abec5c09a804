/*
 * program_main.c: a program built by grasp-cc, whose own functions are the module main. Exits with
 * 0 or says what is wrong.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/goroutine.h>
#include <grasp/runtime.h>

static ssize_t (*const table[])(int, void *, size_t) = {read};
static volatile uint64_t turns;
static volatile int stop;

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

/* Calls nothing: only a signal stops it, and only if main's text is known. */
static int spin(const char *args)
{
    (void)args;
    while (!stop)
        turns++;
    return 0;
}
GR_ENTRY("spin", spin, "spins without calls");

/* Blocks in a pipe on the only processor: plain read would keep the writer from running. */
static int fds[2];

static void writer(void *arg)
{
    (void)arg;
    if (write(fds[1], "x", 1) != 1)
        abort();
}

static int reader(const char *args)
{
    char c;

    (void)args;
    EXPECT(pipe(fds) == 0);
    EXPECT(gr_go(writer, NULL) != 0);
    EXPECT(table[0](fds[0], &c, 1) == 1);
    EXPECT(close(-1) == -1 && errno == EBADF);
    return 0;
}
GR_ENTRY("reader", reader, "reads what another goroutine writes");

static int run(const char *entry, int *code)
{
    struct gr_info info;
    int64_t id = gr_spawn("main", entry, "null", NULL);

    EXPECT(id > 0);
    do {
        sched_yield();
        EXPECT(gr_info((uint64_t)id, &info) == 0);
    } while (info.state != GR_DEAD);
    *code = info.exit_code;
    return 0;
}

static int check_spin(void)
{
    struct gr_hold hold;
    int64_t id = gr_spawn("main", "spin", "null", NULL);
    uint64_t before;

    EXPECT(id > 0);
    while (turns == 0)
        sched_yield();
    for (int i = 0; i < 100; i++) {
        memset(&hold, 0, sizeof hold);
        EXPECT(gr_hold_wait(&hold, (uint64_t)id, 5000000000u) == 0);
        before = turns;
        for (int look = 0; look < 100; look++) {
            sched_yield();
            EXPECT(turns == before);
        }
        EXPECT(gr_hold_end(&hold) == 0);
        while (turns == before)
            sched_yield();
    }
    stop = 1;
    return 0;
}

/* By the process's list of mappings: dladdr would say what the stub stands for. */
static int lies_in(const void *address, const char *library)
{
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");

    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long lo, hi;

        if (sscanf(line, "%lx-%lx", &lo, &hi) == 2 && (unsigned long)address >= lo &&
            (unsigned long)address < hi)
            found = strstr(line, library) != NULL;
    }
    if (maps)
        fclose(maps);
    return found;
}

int main(void)
{
    struct gr_options options = {.procs = 1};
    struct gr_module_info info;
    char err[256] = "";
    Dl_info where;
    int code = -1;

    if (gr_start(&options, err, sizeof err) != 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    EXPECT(gr_module_info("main", &info) == 0);
    EXPECT(info.loaded && !info.wired && info.entry_count == 2);
    /* Its own read is a stub as well, and so is what dlsym finds. */
    EXPECT(lies_in((void *)table[0], "libgrasp"));
    EXPECT(dladdr((void *)table[0], &where) && strstr(where.dli_fname, "libc.so"));
    EXPECT((void *)table[0] == dlsym(RTLD_DEFAULT, "read"));
    EXPECT(run("reader", &code) == 0 && code == 0);
    return check_spin();
}
