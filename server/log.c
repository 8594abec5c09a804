/*
 * log.c: see log.h.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void srv_log(enum srv_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"info", "warning", "error"};
    char line[2048], pairs[1600], date[40];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    va_list args;
    va_start(args, fmt);
    vsnprintf(pairs, sizeof pairs, fmt, args);
    va_end(args);
    for (char *c = pairs; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    int size = snprintf(line, sizeof line, "ts=%s.%03ldZ level=%s event=%s%s%s\n", date,
                        now.tv_nsec / 1000000, names[level], event, *pairs ? " " : "", pairs);
    /* Nobody is left to hear that the log cannot be written. */
    ssize_t written = write(STDERR_FILENO, line, (size_t)size);
    (void)written;
}
