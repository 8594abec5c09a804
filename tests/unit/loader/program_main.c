/*
 * program_main.c: a program built by grasp-cc, whose own functions are the module main. Exits with
 * 0 or says what is wrong.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
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

/*
 * Handlers from before the start of the runtime are as others are then: on the signal stack, and never stopped in.
 * This one goes on entering functions until a hold is asked for, and some time after that.
 */
static atomic_int in_handler, asked;
static char *handler_at;
static volatile int entered;

__attribute__((noinline)) static void enter(void)
{
    entered++;
}

static void on_usr1(int signo)
{
    (void)signo;
    handler_at = __builtin_frame_address(0);
    in_handler = 1;
    while (!asked)
        enter();
    for (int i = 0; i < 100000; i++)
        enter();
    in_handler = 0;
}

static int signalled(const char *args)
{
    char *here = __builtin_frame_address(0);

    (void)args;
    EXPECT(raise(SIGUSR1) == 0);
    EXPECT(handler_at > here || here - handler_at > 256 * 1024);
    return 0;
}
GR_ENTRY("signalled", signalled, "runs a handler that main installed before the runtime started");

/* Handlers that interrupt each other have room on the signal stack. */
static const int nested[] = {SIGUSR2, SIGALRM, SIGVTALRM, SIGWINCH,
                             SIGIO,   SIGHUP,  SIGTERM,   SIGCHLD};
#define NESTED (int)(sizeof nested / sizeof nested[0])
static volatile int depth, deepest;

static void on_nested(int signo)
{
    (void)signo;
    if (++depth < NESTED)
        raise(nested[depth]);
    else
        deepest = depth;
    depth--;
}

static int nest(const char *args)
{
    (void)args;
    for (int i = 0; i < NESTED; i++)
        EXPECT(signal(nested[i], on_nested) != SIG_ERR);
    EXPECT(raise(nested[0]) == 0 && deepest == NESTED && depth == 0);
    return 0;
}
GR_ENTRY("nest", nest, "interrupts handlers by others");

static void told(struct gr_hold *hold)
{
    (void)hold;
}

static int check_handler(void)
{
    struct sigaction now;
    struct gr_hold hold = {0};
    struct gr_info info;
    int64_t id = gr_spawn("main", "signalled", "null", NULL);
    int result, state;

    EXPECT(id > 0);
    EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == on_usr1);
    while (!in_handler)
        sched_yield();
    result = gr_hold_start(&hold, (uint64_t)id, 20000000000u, told, NULL);
    asked = 1;
    EXPECT(result == GR_HOLD_PENDING);
    while ((state = hold.state) == GR_HOLD_PENDING)
        sched_yield();
    EXPECT(!in_handler);
    EXPECT(state == GR_HOLD_GONE || gr_hold_end(&hold) == 0);
    do {
        sched_yield();
        EXPECT(gr_info((uint64_t)id, &info) == 0);
    } while (info.state != GR_DEAD);
    EXPECT(info.exit_code == 0);
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

    EXPECT(signal(SIGUSR1, on_usr1) != SIG_ERR);
    if (gr_start(&options, err, sizeof err) != 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    EXPECT(gr_module_info("main", &info) == 0);
    EXPECT(info.loaded && !info.wired && info.entry_count == 4);
    /* Its own read is a stub as well, and so is what dlsym finds. */
    EXPECT(lies_in((void *)table[0], "libgrasp"));
    EXPECT(dladdr((void *)table[0], &where) && strstr(where.dli_fname, "libc.so"));
    EXPECT((void *)table[0] == dlsym(RTLD_DEFAULT, "read"));
    EXPECT(run("reader", &code) == 0 && code == 0);
    EXPECT(run("nest", &code) == 0 && code == 0);
    EXPECT(check_handler() == 0);
    return check_spin();
}
