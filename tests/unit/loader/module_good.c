/*
 * module_good.c: a module with nothing wrong, for test_loader. Its entry reports where things lie.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#ifdef SECOND_BUILD
#define VERSION 2
#else
#define VERSION 1
#endif

GR_NOPREEMPT int never_stopped(int n)
{
    return n * VERSION;
}

static int plain(int n)
{
    return n + 1;
}

static ssize_t (*const table[])(int, void *, size_t) = {read, NULL};

/* Addresses, so that the test can ask about them. */
static int report(const char *args)
{
    char text[256];

    (void)args;
    snprintf(text, sizeof text,
             "{\"never\":%llu,\"report\":%llu,\"read\":%llu,\"table\":%llu,\"strlen\":%llu}",
             (unsigned long long)&never_stopped, (unsigned long long)&report,
             (unsigned long long)&read, (unsigned long long)table[0], (unsigned long long)&strlen);
    return gr_result(text) == 0 ? plain(never_stopped(0)) - 1 : 1;
}
GR_ENTRY("report", report, "tells addresses");

static int second(const char *args)
{
    return args[0] == 'n' ? 0 : 1;
}
GR_ENTRY("second", second, "a second entry");
