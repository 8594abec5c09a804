/*
 * strange.c: what C programs do now and then, of which nobody thinks when a runtime is made, each piece with a result that it checks.
 *
 * As everyday.c, which see: one goroutine of each sort goes on until the entry is cancelled, whoever stops, looks at and lets go of
 * them at any moment; {"rounds": {SORT: N, …}} is the result, a wrong value a log line that begins with "WRONG", and the exit code 1.
 * Here: streams in memory, programs started in five ways, threads, libraries, variable arrays, variable arguments, computed
 * jumps, tail calls, conditions and barriers, epoll, descriptors sent to others, channels, directories, wide characters.
 */
#include <alloca.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <iconv.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <search.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "strange.h"

/* ---- Text ---------------------------------------------------------------------------------------- */

static void streams(unsigned *seed)
{
    char *text = NULL, *line = NULL;
    size_t bytes = 0, capacity = 0;
    int count = 1 + rand_r(seed) % 50, seen = 0, a, b;
    double quarter;
    FILE *f = open_memstream(&text, &bytes);
    EXPECT(f);
    for (int i = 0; i < count; i++)
        fprintf(f, "line %d of %d %g\n", i, count, i / 4.0);
    fclose(f);
    f = fmemopen(text, bytes, "r");
    EXPECT(f);
    while (getline(&line, &capacity, f) > 0) {
        EXPECT(sscanf(line, "line %d of %d %lf", &a, &b, &quarter) == 3);
        EXPECT(a == seen && b == count && quarter == seen / 4.0);
        seen++;
    }
    EXPECT(seen == count);
    free(line);
    fclose(f);
    free(text);
}

static void tokens(unsigned *seed)
{
    char *text = strdup("a,b;c  d\te"), *save, *end;
    int count = 0;
    (void)seed;
    for (char *t = strtok_r(text, ",; \t", &save); t; t = strtok_r(NULL, ",; \t", &save))
        EXPECT(*t == 'a' + count++);
    EXPECT(count == 5);
    free(text);
    EXPECT(strtod("1.5e3x", &end) == 1500 && *end == 'x');
    errno = 0;
    EXPECT(strtol("99999999999999999999", NULL, 10) == LONG_MAX && errno == ERANGE);
}

static void convert(unsigned *seed)
{
    char in[] = "gr\xc3\xbc\xc3\x9f", out[32], *from = in, *to = out;
    size_t left = strlen(in), room = sizeof out;
    iconv_t c = iconv_open("UTF-16LE", "UTF-8");
    (void)seed;
    EXPECT(c != (iconv_t)-1);
    EXPECT(iconv(c, &from, &left, &to, &room) == 0 && left == 0 && sizeof out - room == 8);
    iconv_close(c);
}

static void wide(unsigned *seed)
{
    wchar_t text[64];
    char digits[4096];
    (void)seed;
    EXPECT(swprintf(text, 64, L"%d %ls", 42, L"xy") == 5 && wcscmp(text, L"42 xy") == 0);
    EXPECT(snprintf(digits, sizeof digits, "%.3000f %Lf", 1.0 / 3, 2.5L) > 3000);
    EXPECT(strncmp(digits, "0.33333", 7) == 0 && strstr(digits, " 2.5"));
}

/* ---- The machine --------------------------------------------------------------------------------- */

static long fill(size_t n)
{
    unsigned char array[n], *more = alloca(n);
    long sum = 0;
    memset(array, 1, n);
    memset(more, 2, n);
    __asm__ volatile("" : : "r"(array), "r"(more) : "memory");
    for (size_t i = 0; i < n; i++)
        sum += array[i] + more[i];
    return sum;
}

static void variable_arrays(unsigned *seed)
{
    size_t n = 1 + (size_t)rand_r(seed) % 60000;
    EXPECT(fill(n) == 3 * (long)n);
}

static long deep(long n)
{
    long below = n == 0 ? -1 : deep(n - 1);
    __asm__ volatile(""); /* no tail call */
    return below + 1;
}

static void recursion(unsigned *seed)
{
    long n = rand_r(seed) % 1500;
    EXPECT(deep(n) == n);
}

static int odd(unsigned n);

__attribute__((noinline)) static int even(unsigned n)
{
    return n == 0 ? 1 : odd(n - 1);
}

__attribute__((noinline)) static int odd(unsigned n)
{
    return n == 0 ? 0 : even(n - 1);
}

static long sum_of(int n, ...)
{
    va_list args;
    long sum = 0;
    va_start(args, n);
    for (int i = 0; i < n; i++)
        sum += i & 1 ? (long)va_arg(args, double) : va_arg(args, long);
    va_end(args);
    return sum;
}

static void calls(unsigned *seed)
{
    unsigned n = rand_r(seed) % 2000;
    EXPECT(even(n) == !(n & 1));
    for (int i = 0; i < 100; i++)
        EXPECT(sum_of(10, 1L, 2.0, 3L, 4.0, 5L, 6.0, 7L, 8.0, 9L, 10.0) == 55);
}

static void computed_jumps(unsigned *seed)
{
    static const void *const step[] = {&&increment, &&twice, &&decrement, &&halt};
    unsigned char program[200];
    long value = 1, wanted = 1;
    int at = 0;
    for (int i = 0; i < 199; i++) {
        program[i] =
            labs(wanted) > 1000000 ? (wanted > 0 ? 2 : 0) : (unsigned char)(rand_r(seed) % 3);
        wanted = program[i] == 0 ? wanted + 1 : program[i] == 1 ? wanted * 2 : wanted - 1;
    }
    program[199] = 3;
#define NEXT goto *step[program[at++]]
    NEXT;
increment:
    value++;
    NEXT;
twice:
    value *= 2;
    NEXT;
decrement:
    value--;
    NEXT;
halt:
    EXPECT(value == wanted);
}

static void numbers(unsigned *seed)
{
    double x = 0.5 + rand_r(seed) % 100 / 10.0;
    long double harmonic = 0;
    float a[1024], b[1024], sum = 0;
    unsigned __int128 big = (unsigned __int128)rand_r(seed) << 70;
    EXPECT(fabs(exp(log(x)) - x) < 1e-9 * x + 1e-9);
    for (int i = 1; i <= 1000; i++)
        harmonic += 1.0L / i;
    EXPECT(fabsl(harmonic - 7.485470860550344912656518204333900176521679L) < 1e-12L);
    for (int i = 0; i < 1024; i++) {
        a[i] = (float)i;
        b[i] = (float)(2 * i);
    }
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < 1024; i++)
            a[i] = a[i] * 1.0f + b[i] * 0.0f;
    for (int i = 0; i < 1024; i++)
        sum += a[i];
    EXPECT(sum == 523776);
    EXPECT(big * 3 / 3 == big);
}

static void long_jumps(unsigned *seed)
{
    sigjmp_buf place;
    volatile int times = 0;
    volatile int wanted = rand_r(seed) % 100;
    if (sigsetjmp(place, 1) < wanted) {
        times++;
        siglongjmp(place, times);
    }
    EXPECT(times == wanted);
}

static _Atomic unsigned long counted, wanted_count;

static void atomics(unsigned *seed)
{
    (void)seed;
    for (int i = 0; i < 1000; i++) {
        unsigned long old = atomic_load(&counted);
        while (!atomic_compare_exchange_weak(&counted, &old, old + 1))
            ;
    }
    atomic_fetch_add(&wanted_count, 1000);
}

static void heap(unsigned *seed)
{
    unsigned char *block[32] = {0};
    size_t bytes[32] = {0};
    for (int i = 0; i < 400; i++) {
        int k = rand_r(seed) % 32;
        for (size_t j = 0; j < bytes[k]; j += 97)
            EXPECT(block[k][j] == k);
        bytes[k] = 1 + (size_t)rand_r(seed) % 4000;
        block[k] = realloc(block[k], bytes[k]);
        memset(block[k], k, bytes[k]);
    }
    for (int i = 0; i < 32; i++)
        free(block[i]);
}

/* ---- Trees --------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

static void free_nothing(void *key)
{
    (void)key;
}

static int visit(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    return path[0] == '/' && place->level >= 0 ? 0 : 1;
}

static void trees(unsigned *seed)
{
    void *root = NULL;
    glob_t found;
    int count = 0;
    DIR *directory = opendir("/etc");
    for (int i = 1; i < 200; i++) {
        void *key = (void *)(1 + (long)rand_r(seed) % 1000);
        tsearch(key, &root, by_address);
        EXPECT(tfind(key, &root, by_address));
    }
    tdestroy(root, free_nothing);
    while (directory && readdir(directory))
        count++;
    EXPECT(directory && count > 2 && closedir(directory) == 0);
    EXPECT(glob("/etc/pass*", 0, NULL, &found) == 0 && found.gl_pathc >= 1);
    globfree(&found);
    EXPECT(nftw("/etc/default", visit, 8, FTW_PHYS) == 0);
}

static int by_value_giving_way(const void *a, const void *b, void *compared)
{
    if (++*(long *)compared % 64 == 0)
        sched_yield();
    return *(const int *)a - *(const int *)b;
}

static void sorts_that_give_way(unsigned *seed)
{
    int value[300];
    long compared = 0;
    for (int i = 0; i < 300; i++)
        value[i] = rand_r(seed) % 10000;
    qsort_r(value, 300, sizeof value[0], by_value_giving_way, &compared);
    for (int i = 1; i < 300; i++)
        EXPECT(value[i - 1] <= value[i]);
}

/* ---- All of them --------------------------------------------------------------------------------- */

#define SORT(function)                                                                             \
    {                                                                                              \
#function, function, 0                                                                     \
    }
static struct sort sorts[] = {SORT(streams),
                              SORT(tokens),
                              SORT(convert),
                              SORT(wide),
                              SORT(variable_arrays),
                              SORT(recursion),
                              SORT(calls),
                              SORT(computed_jumps),
                              SORT(numbers),
                              SORT(long_jumps),
                              SORT(atomics),
                              SORT(heap),
                              SORT(pipes_to_programs),
                              SORT(programs),
                              SORT(threads),
                              SORT(libraries),
                              SORT(conditions),
                              SORT(kinds_of_mutex),
                              SORT(barriers),
                              SORT(channels),
                              SORT(event_sets),
                              SORT(selects),
                              SORT(sent_descriptors),
                              SORT(accepted),
                              SORT(trees),
                              SORT(sorts_that_give_way)};

static int strange(const char *args)
{
    (void)args;
    if (!run_sorts(sorts, sizeof sorts / sizeof sorts[0], 1))
        return 2;
    EXPECT(atomic_load(&counted) == atomic_load(&wanted_count));
    return atomic_load(&wrong) ? 1 : 0;
}
GR_ENTRY("strange", strange, "What C programs do now and then");
