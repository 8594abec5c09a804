/*
 * crowd.c: many goroutines for the end-to-end tests.
 *
 *   crowd   COUNT children; each counts its rounds in a word of its own of the file PATH, and sleeps
 *           `sleep_us` between two (0: yields)
 *   churn   children are born and end without a pause, `at_once` of them at a time
 *   lines   writes `count` log lines of `bytes` bytes, yielding after each
 *
 *   {"path": PATH, "count": N, "sleep_us": N, "at_once": N, "bytes": N}
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "args.h"

#define PATH_BYTES 4096

/* ---- crowd --------------------------------------------------------------------------------------- */

struct crowd {
    _Atomic(uint64_t) *words; /* relaxed: each has one writer, and readers in another process */
    uint64_t sleep_ns;
};

struct member {
    const struct crowd *crowd;
    size_t index;
};

static void member(void *arg)
{
    struct member *self = arg;
    const struct crowd *crowd = self->crowd;
    while (!gr_cancelled()) {
        atomic_fetch_add_explicit(&crowd->words[self->index], 1, memory_order_relaxed);
        if (crowd->sleep_ns)
            gr_sleep_ns(crowd->sleep_ns);
        else
            gr_yield();
    }
    free(self);
}

static int map_words(struct crowd *crowd, const char *path, size_t count)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = ftruncate(fd, (off_t)(count * sizeof *crowd->words)) ? -errno : 0;
    void *at = MAP_FAILED;
    if (result == 0)
        at = mmap(NULL, count * sizeof *crowd->words, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return -ENOMEM;
    crowd->words = at;
    return 0;
}

/* The crowd outlives its entry; it is left to the process. */
static int crowd(const char *args)
{
    char path[PATH_BYTES];
    size_t count = args_u64(args, "count", 1000);
    struct crowd *all = calloc(1, sizeof *all);
    if (!all || !args_string(args, "path", path, sizeof path))
        return -EINVAL;
    all->sleep_ns = args_u64(args, "sleep_us", 0) * 1000;
    int result = map_words(all, path, count);
    for (size_t i = 0; i < count && result == 0; i++) {
        struct member *one = malloc(sizeof *one);
        if (!one)
            return -ENOMEM;
        *one = (struct member){all, i};
        if (!gr_go(member, one))
            result = -EAGAIN;
    }
    return result;
}
GR_ENTRY("crowd", crowd, "Many goroutines that count");

/* ---- churn --------------------------------------------------------------------------------------- */

static void short_life(void *arg)
{
    gr_waitgroup_done(arg);
}

static int churn(const char *args)
{
    static gr_waitgroup group;
    uint64_t at_once = args_u64(args, "at_once", 8);
    while (!gr_cancelled()) {
        for (uint64_t i = 0; i < at_once; i++) {
            gr_waitgroup_add(&group, 1);
            if (!gr_go(short_life, &group))
                gr_waitgroup_done(&group);
        }
        gr_waitgroup_wait(&group);
        gr_sleep_ns(args_u64(args, "sleep_us", 0) * 1000);
    }
    return 0;
}
GR_ENTRY("churn", churn, "Goroutines that are born and end all the time");

/* ---- lines --------------------------------------------------------------------------------------- */

static int lines(const char *args)
{
    char line[GR_LOG_LINE_MAX];
    size_t bytes = args_u64(args, "bytes", 40);
    uint64_t count = args_u64(args, "count", 10);
    if (bytes >= sizeof line)
        return -EINVAL;
    memset(line, 'x', bytes);
    line[bytes] = 0;
    for (uint64_t i = 0; i < count && !gr_cancelled(); i++) {
        gr_log("%llu %s", (unsigned long long)i, line);
        gr_yield();
    }
    return 0;
}
GR_ENTRY("lines", lines, "Log lines");
