/*
 * inspectee.c: a module whose goroutines stand in known places, for test_held.c and the single-step
 * test.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#define KEPT __attribute__((noinline, noclone))
/* Keeps the call before it from becoming a jump. */
#define NO_TAIL() __asm__ volatile("" ::: "memory")

static volatile uint64_t rounds;

static inline __attribute__((always_inline)) uint64_t spin_round(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

/* No call in the loop: only the signal stops it. xorshift never gives 0, which the compiler must
 * not know. */
static KEPT uint64_t spin_loop(uint64_t x)
{
    do {
        x = spin_round(x);
        rounds = x;
        __asm__ volatile("" : "+r"(x));
    } while (x != 0);
    return rounds;
}

static int spin(const char *args)
{
    uint64_t last = spin_loop(88172645463325252u);
    NO_TAIL();
    return last == 0;
}
GR_ENTRY("spin", spin, "A loop without calls");

static KEPT void called(void)
{
    rounds++;
}

static KEPT void call_loop(void)
{
    while (!gr_cancelled())
        called();
}

static int calls(const char *args)
{
    call_loop();
    return 0;
}
GR_ENTRY("calls", calls, "A loop that calls a function");

static KEPT int sleep_long(void)
{
    int result = gr_sleep_ns(3600u * 1000000000ull);
    NO_TAIL();
    return result;
}

static int sleeps(const char *args)
{
    int result = sleep_long();
    NO_TAIL();
    return result;
}
GR_ENTRY("sleeps", sleeps, "Waits an hour");

static KEPT ssize_t read_nothing(int fd)
{
    char byte;
    ssize_t n = read(fd, &byte, 1);
    NO_TAIL();
    return n;
}

static int reads(const char *args)
{
    int ends[2];
    if (pipe(ends) != 0)
        return 1;
    ssize_t n = read_nothing(ends[0]);
    NO_TAIL();
    return n == 1;
}
GR_ENTRY("reads", reads, "Reads from a pipe that nobody writes to");

static KEPT int compare_for_ever(const void *a, const void *b)
{
    return (int)spin_loop((uintptr_t)a | 1);
}

static KEPT void sort_for_ever(void)
{
    int numbers[2] = {2, 1};
    qsort(numbers, 2, sizeof numbers[0], compare_for_ever);
    NO_TAIL();
}

static int sorts(const char *args)
{
    sort_for_ever();
    return 0;
}
GR_ENTRY("sorts", sorts, "Spins in a call-back of qsort");

/* Reading errno makes it the goroutine's, so that the next stub has to hand it to libc. */
static KEPT int plain_call(int c)
{
    int before = errno, result = toupper(c);
    NO_TAIL();
    return before + result;
}

static KEPT int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static KEPT int pinning_call(int c)
{
    int before = errno, numbers[2] = {c, 1};
    qsort(numbers, 2, sizeof numbers[0], compare);
    return before + numbers[0];
}

static KEPT void import_loop(void)
{
    while (!gr_cancelled()) {
        rounds += (uint64_t)plain_call('a');
        rounds += (uint64_t)pinning_call(2);
    }
}

static int imports(const char *args)
{
    import_loop();
    return 0;
}
GR_ENTRY("imports", imports, "Calls libc, by both sorts of stubs");
