/*
 * module_test.h: how an entry of the test module says what went wrong: its exit code is the line.
 */
#ifndef MODULE_TEST_H
#define MODULE_TEST_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <grasp/goroutine.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            char text_[200];                                                                       \
            snprintf(text_, sizeof text_, "\"%s:%d: errno %d\"", __func__, __LINE__, errno);       \
            gr_result(text_);                                                                      \
            return __LINE__;                                                                       \
        }                                                                                          \
    } while (0)

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A goroutine that does one thing and says so. */
struct helper {
    gr_waitgroup done;
    int result;
    int fd[2];
    void *data;
};

#endif
