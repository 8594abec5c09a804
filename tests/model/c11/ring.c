/*
 * ring.c: the owner pushes and pops, thieves take, on a ring of two slots. Each goroutine is run at most once, by
 * whoever took it, who sees what was written before it was queued; and none is lost.
 */
#define GRI_RUNQ_SLOTS 2u
#include "ring.h"

#include <assert.h>
#include <pthread.h>

#define GOROUTINES 3

struct gr_g {
    int field; /* plain: a checker reports a race if an order is missing */
    atomic_int runs;
};

static struct gri_ring ring;
static struct gr_g g[GOROUTINES];

static void run(struct gr_g *one)
{
    assert(one->field == 1);
    assert(atomic_fetch_add_explicit(&one->runs, 1, memory_order_relaxed) == 0);
}

static void *owner(void *arg)
{
    (void)arg;
    for (int i = 0; i < GOROUTINES; i++) {
        struct gr_g *one;

        g[i].field = 1;
        if (!gri_ring_push(&ring, &g[i]))
            run(&g[i]); /* the global list's business */
        if (i == 0 && (one = gri_ring_pop(&ring)))
            run(one);
    }
    return NULL;
}

static void *thief(void *arg)
{
    struct gr_g *batch[1];

    (void)arg;
    if (gri_ring_take(&ring, batch, 1) == 1)
        run(batch[0]);
    return NULL;
}

int main(void)
{
    pthread_t a, b, c;
    struct gr_g *one;

    pthread_create(&a, NULL, owner, NULL);
    pthread_create(&b, NULL, thief, NULL);
    pthread_create(&c, NULL, thief, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    pthread_join(c, NULL);
    for (int i = 0; i < GOROUTINES && (one = gri_ring_pop(&ring)); i++)
        run(one);
    for (int i = 0; i < GOROUTINES; i++)
        assert(atomic_load_explicit(&g[i].runs, memory_order_relaxed) == 1);
    return 0;
}
