/* A module with one function of each sort that has an entry of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/goroutine.h>

int other_add(int x);

static int constructed;

__attribute__((constructor)) static void construct(void)
{
    constructed = 1;
}

GR_NOPREEMPT static int alone(const char *text)
{
    return (int)text[0] + 1;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static int sum(int count, ...)
{
    va_list ap;
    va_start(ap, count);
    int total = 0;
    for (int i = 0; i < count; i++)
        total += va_arg(ap, int);
    va_end(ap);
    return total;
}

__attribute__((noinline, section("own_section"))) static int in_own_section(int x)
{
    return x * 2;
}

int also_in_own_section(int x) __attribute__((alias("in_own_section"), visibility("hidden")));

static int twice_resolved(int x)
{
    return also_in_own_section(x);
}

static int (*resolve(void))(int)
{
    return twice_resolved;
}
__attribute__((ifunc("resolve"), visibility("hidden"))) int twice(int x);

static void *(*const table[])(size_t) = {malloc};

/* 1 + 2 + 3 + 4, twice, and one more, if all goes as written: 21. */
static int run(const char *text)
{
    int numbers[] = {4, 3, 2, 1};
    qsort(numbers, 4, sizeof(numbers[0]), compare);
    errno = numbers[0];
    free(table[0](16));
    char *end;
    (void)strtol(text, &end, 10);
    return other_add(twice(sum(4, errno, numbers[1], numbers[2], numbers[3]))) * constructed;
}

GR_ENTRY("run", run, "calls everything");
GR_ENTRY("alone", alone, "has no check");
