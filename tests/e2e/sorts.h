/*
 * sorts.h: for modules of many sorts of goroutines, each of which checks for as long as it is let that C goes right
 * (everyday.c, strange.c), whoever stops, looks at and lets go of them at any moment.
 */
#ifndef SORTS_H
#define SORTS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <grasp/goroutine.h>

extern _Atomic long wrong; /* what was not as it has to be */

#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            atomic_fetch_add(&wrong, 1);                                                           \
            gr_log("WRONG %s: %s, errno %d", __func__, #what, errno);                              \
        }                                                                                          \
    } while (0)

struct sort {
    const char *name;
    void (*round)(unsigned *seed);
    _Atomic long rounds;
};

/*
 * Starts `each` goroutines of every sort, sleeps until the caller is cancelled, asks them to end, waits, and leaves
 * {"rounds": {SORT: N, …}} as the result. False: one could not be started.
 */
bool run_sorts(struct sort *sorts, size_t count, unsigned each);

#endif
