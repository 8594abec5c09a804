/*
 * hog.c: loops that hold a processor and never ask anybody.
 *
 * Each entry counts its rounds. With {"counter": PATH} the count is kept in the first 8 bytes of
 * that file, mapped shared, so that it can be watched from outside: while the goroutine is
 * suspended it stands still.
 *
 *   scalar   integer arithmetic, no call
 *   simd     vectors of 32 bytes, no call; the results are checked
 *   calls    a loop that calls a function each round, as most code does
 *
 * A loop without calls cannot learn that it is to end. So it runs in stretches of `stretch` rounds
 * without any call (default 200 million, some tenths of a second) and asks in between. One with
 * {"stretch": 0} never asks: it ends with its process, and only an asynchronous stop gets hold of it.
 *
 *   {"counter": PATH, "seconds": N, "stretch": ROUNDS}     all optional; "seconds" at most 10^9
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "args.h"
#include "hog.h"

#define STRETCH_DEFAULT 200000000
#define CALLS_STRETCH   1000000
#define PATH_BYTES      4096
#define SECONDS_MAX     1000000000

struct hog {
    volatile uint64_t *counter;
    uint64_t own_counter; /* used if there is no file */
    uint64_t start_count;
    uint64_t stretch;
    time_t end; /* 0: none */
    bool mapped;
};

static time_t now_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* Maps the counter's file, which is made if it is not there. 0 or a negative errno. */
static int map_counter(struct hog *hog, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    off_t size = lseek(fd, 0, SEEK_END);
    void *at = MAP_FAILED;
    if (size >= 0 && (size >= (off_t)sizeof(uint64_t) || ftruncate(fd, sizeof(uint64_t)) == 0))
        at = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int result = at == MAP_FAILED ? -errno : 0;
    close(fd);
    if (result == 0) {
        hog->counter = at;
        hog->mapped = true;
    }
    return result;
}

static int begin(struct hog *hog, const char *args)
{
    char path[PATH_BYTES];
    memset(hog, 0, sizeof(*hog));
    hog->counter = &hog->own_counter;
    hog->stretch = args_u64(args, "stretch", STRETCH_DEFAULT);
    uint64_t seconds = args_u64(args, "seconds", 0);
    if (hog->stretch == ARGS_NO_NUMBER || seconds > SECONDS_MAX) {
        gr_log("hog: \"stretch\" must be a whole number and \"seconds\" 0 to %d", SECONDS_MAX);
        return -EINVAL;
    }
    if (seconds)
        hog->end = now_seconds() + (time_t)seconds;
    if (args_find(args, "counter")) {
        int result =
            args_string(args, "counter", path, sizeof(path)) ? map_counter(hog, path) : -EINVAL;
        if (result != 0) {
            gr_log("hog: \"counter\" must be the path of a file that can be written: %s",
                   strerror(-result));
            return result;
        }
    }
    hog->start_count = *hog->counter;
    return 0;
}

static int finish(struct hog *hog, const char *what, bool sound)
{
    char text[128];
    snprintf(text, sizeof(text), "{\"loop\":\"%s\",\"rounds\":%llu,\"sound\":%s}", what,
             (unsigned long long)(*hog->counter - hog->start_count), sound ? "true" : "false");
    gr_result(text);
    if (hog->mapped)
        munmap((void *)hog->counter, sizeof(uint64_t));
    if (!sound)
        gr_log("hog: two equal computations differ: a register was changed behind our back");
    return sound ? 0 : 1;
}

/* Asked between stretches. */
static bool go_on(const struct hog *hog)
{
    return !gr_cancelled() && (hog->end == 0 || now_seconds() < hog->end);
}

/* The stretch to be run: for ever, if the caller wishes it so. */
static uint64_t rounds_of(const struct hog *hog)
{
    return hog->stretch ? hog->stretch : UINT64_MAX;
}

/* Two equal random sequences, as in simd.h, in general registers. */
static bool scalar_stretch(volatile uint64_t *counter, uint64_t rounds)
{
    uint64_t a = 88172645463325252ull, b = a;
    __asm__("" : "+r"(b));
    for (uint64_t i = 0; i < rounds; i++) {
        a ^= a << 13;
        a ^= a >> 7;
        a ^= a << 17;
        b ^= b << 13;
        b ^= b >> 7;
        b ^= b << 17;
        hog_count(counter);
    }
    return a == b;
}

static int scalar(const char *args)
{
    struct hog hog;
    int result = begin(&hog, args);
    if (result != 0)
        return result;
    bool sound = true;
    do
        sound = scalar_stretch(hog.counter, rounds_of(&hog));
    while (sound && go_on(&hog));
    return finish(&hog, "scalar", sound);
}
GR_ENTRY("scalar", scalar, "A loop of integer arithmetic without calls");

static int simd(const char *args)
{
    struct hog hog;
    int result = begin(&hog, args);
    if (result != 0)
        return result;
    bool avx2 = hog_has_avx2(), sound = true;
    do
        sound = avx2 ? hog_simd_avx2(hog.counter, rounds_of(&hog))
                     : hog_simd_plain(hog.counter, rounds_of(&hog));
    while (sound && go_on(&hog));
    return finish(&hog, avx2 ? "avx2" : "vectors", sound);
}
GR_ENTRY("simd", simd, "A loop on vector registers without calls");

static __attribute__((noinline)) void one_round(volatile uint64_t *counter)
{
    hog_count(counter);
}

static int calls(const char *args)
{
    struct hog hog;
    int result = begin(&hog, args);
    if (result != 0)
        return result;
    do
        for (uint64_t i = 0; i < CALLS_STRETCH; i++)
            one_round(hog.counter);
    while (go_on(&hog));
    return finish(&hog, "calls", true);
}
GR_ENTRY("calls", calls, "A loop that calls a function each round");
