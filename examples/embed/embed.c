/*
 * embed.c: a program of its own with the control plane inside, as Go programs import
 * net/http/pprof.
 *
 * It searches for the start below LIMIT with the longest Collatz sequence, over and over, on two
 * goroutines, and reports once a second from a third. The program's own functions are the module
 * "main"; while it works, any of its goroutines can be listed, suspended and looked at through its
 * socket.
 *
 *   embed [--unix PATH] [--listen HOST:PORT]
 *
 * Ends on SIGTERM and SIGINT. main is an ordinary thread and may block.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/goroutine.h>
#include <grasp/server.h>

#define SEARCHERS 2
#define LIMIT     1000000
#define REPORT_NS 1000000000ull

/* How many sequences have been followed; relaxed: numbers to be shown. */
static _Atomic uint64_t followed;
static int signal_pipe[2];

static void on_signal(int signo)
{
    int saved = errno;
    char byte = (char)signo;
    if (write(signal_pipe[1], &byte, 1) < 0)
        _exit(128 + signo);
    errno = saved;
}

static uint64_t sequence_length(uint64_t n)
{
    uint64_t steps = 1;
    for (; n != 1; steps++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    return steps;
}

/* Searches every SEARCHERS-th number, from `arg` on. */
static void search(void *arg)
{
    uint64_t first = (uint64_t)(uintptr_t)arg;
    while (!gr_cancelled()) {
        uint64_t best = 1, longest = 0;
        for (uint64_t n = first; n < LIMIT; n += SEARCHERS) {
            uint64_t length = sequence_length(n);
            if (length > longest) {
                longest = length;
                best = n;
            }
            atomic_fetch_add_explicit(&followed, 1, memory_order_relaxed);
        }
        gr_log("searcher %llu: %llu has %llu steps", (unsigned long long)first,
               (unsigned long long)best, (unsigned long long)longest);
    }
}

static void report(void *arg)
{
    (void)arg;
    while (gr_sleep_ns(REPORT_NS) == 0) {
        printf("%llu sequences followed\n",
               (unsigned long long)atomic_load_explicit(&followed, memory_order_relaxed));
        fflush(stdout);
    }
}

/* Where gr_serve's is if none is said. */
static const char *default_socket(void)
{
    static char path[256];
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (dir && *dir)
        snprintf(path, sizeof(path), "%s/grasp-%d.sock", dir, (int)getpid());
    else
        snprintf(path, sizeof(path), "/tmp/grasp-%u-%d.sock", (unsigned)geteuid(), (int)getpid());
    return path;
}

static int parse(int argc, char **argv, struct gr_serve_opts *opts)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--unix") == 0 && i + 1 < argc) {
            opts->unix_path = argv[++i];
        } else if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
            opts->listen = argv[++i];
        } else {
            fprintf(stderr, "usage: %s [--unix PATH] [--listen HOST:PORT]\n", argv[0]);
            return -EINVAL;
        }
    }
    return 0;
}

static int start_goroutines(void)
{
    for (uintptr_t i = 0; i < SEARCHERS; i++) {
        struct gr_go_opts go = {.fn = search, .arg = (void *)(i + 1), .name = "searcher"};
        if (gr_go_with(&go) < 0)
            return -ENOMEM;
    }
    return gr_go_with(&(struct gr_go_opts){.fn = report, .name = "report"}) < 0 ? -ENOMEM : 0;
}

int main(int argc, char **argv)
{
    struct gr_serve_opts opts = {0};
    char err[512];
    if (parse(argc, argv, &opts) != 0)
        return 2;
    if (pipe(signal_pipe) != 0) {
        perror("pipe");
        return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    if (gr_serve(&opts, err, sizeof(err)) != 0) {
        fprintf(stderr, "embed: %s\n", err);
        return 1;
    }
    if (start_goroutines() != 0) {
        fprintf(stderr, "embed: no memory for goroutines\n");
        return 1;
    }
    const char *path = opts.unix_path ? opts.unix_path : default_socket();
    printf("embed ready unix=%s\n", path);
    printf("try: curl --unix-socket %s 'http://localhost/v1/goroutines?format=text'\n", path);
    fflush(stdout);
    char signo;
    while (read(signal_pipe[0], &signo, 1) < 0 && errno == EINTR)
        ;
    return 0;
}
