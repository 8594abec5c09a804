/*
 * module_swap.c: one module in several builds, for test_module_swap. Each entry returns the build
 * that it is of, so that a goroutine tells whose code it ran to its end.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/goroutine.h>

#define TEXT_OF(number) #number
#define NAME_OF(number) "GRASP_TEST_GONE_" TEXT_OF(number)

__attribute__((destructor)) static void say_gone(void)
{
    setenv(NAME_OF(BUILD), "1", 1);
}

static int which(const char *args)
{
    (void)args;
    return BUILD;
}
GR_ENTRY("which", which, "returns the build");

/* A loop without calls of `turns`, again and again with a yield between, until it is cancelled. */
static int spin(const char *args)
{
    unsigned long turns = strtoul(args, NULL, 10);
    volatile unsigned long sink = 0;

    do {
        for (unsigned long i = 0; i < turns; i++)
            sink += i * BUILD;
        gr_yield();
    } while (!gr_cancelled());
    return BUILD;
}
GR_ENTRY("spin", spin, "spins until it is cancelled");

/* The same for a number of rounds. */
static int work(const char *args)
{
    unsigned long rounds = strtoul(args, NULL, 10);
    volatile unsigned long sink = 0;

    for (unsigned long i = 0; i < rounds; i++) {
        for (unsigned long k = 0; k < 2000; k++)
            sink += k * BUILD;
        if (i % 8 == 0)
            gr_yield();
    }
    return BUILD;
}
GR_ENTRY("work", work, "works for a while");

#ifdef LEAVES_A_HANDLER
static volatile sig_atomic_t last_signal;

static void handler(int number)
{
    last_signal = number;
}

static int handle(const char *args)
{
    (void)args;
    return signal(SIGUSR2, handler) == SIG_ERR;
}
GR_ENTRY("handle", handle, "leaves a signal handler behind");
#endif
