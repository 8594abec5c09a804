/*
 * sorts.c: see sorts.h.
 */
#include "sorts.h"

#include <stdio.h>

static atomic_bool over;
static gr_waitgroup alive;
_Atomic long wrong;

static void work(void *arg)
{
    struct sort *sort = arg;
    unsigned seed = (unsigned)gr_id();
    do {
        sort->round(&seed);
        atomic_fetch_add(&sort->rounds, 1);
    } while (!atomic_load(&over));
    gr_waitgroup_done(&alive);
}

bool run_sorts(struct sort *sorts, size_t count, unsigned each)
{
    char result[2048];
    int at = 0;
    for (size_t i = 0; i < each * count; i++) {
        gr_waitgroup_add(&alive, 1);
        if (!gr_go(work, &sorts[i % count]))
            return false;
    }
    while (gr_sleep_ns(10000000) == 0)
        ;
    atomic_store(&over, true);
    /* Cancelled ourselves, we can't wait by blocking. */
    while (gr_waitgroup_wait(&alive) == -ECANCELED)
        gr_yield();
    at = snprintf(result, sizeof result, "{\"rounds\":{");
    for (size_t i = 0; i < count; i++)
        at += snprintf(result + at, sizeof result - (size_t)at, "%s\"%s\":%ld", i ? "," : "",
                       sorts[i].name, atomic_load(&sorts[i].rounds));
    snprintf(result + at, sizeof result - (size_t)at, "}}");
    gr_result(result);
    return true;
}
