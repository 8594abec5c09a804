/*
 * id_chain.c: two slots in one bucket; one of them lives twice, with ids 1 and 3, the other once, with id 2. Who looks for an
 * id meanwhile, without the lock, is given the word of the life that has it, never of another, and sees what was
 * written at its birth. Who knows that one lives (KNOWN) finds it, if need be under the lock; who asks under the lock at
 * once (LOCKED) finds it alive, or does not find it; if it has come to wait since (LATER), what it left is seen.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define GR_DEAD     0u
#define GR_IDLE     1u
#define GR_RUNNABLE 2u
#define GR_WAITING  3u
#define STATE       3u
#define LIFE        4u /* one more life of the slot: the word's generation */

struct gr_g {
    _Atomic(uint64_t) word, id;
    _Atomic(struct gr_g *) id_next;
    int birth, left; /* plain: a checker reports a race if an order is missing */
};

static inline unsigned gri_word_state(uint64_t w)
{
    return (unsigned)(w & STATE);
}

#include "id_chain.h"

static struct gr_g twice, once;
static _Atomic(struct gr_g *) first;
static pthread_mutex_t lock;
static atomic_int told;

static void change(struct gr_g *g, uint64_t add)
{
    /* relaxed load, and a CAS as birth and death have. */
    uint64_t w = atomic_load_explicit(&g->word, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&g->word, &w, w + add, memory_order_acq_rel,
                                                  memory_order_relaxed))
        ;
}

static void bear(struct gr_g *g, uint64_t id)
{
    change(g, GR_IDLE - GR_DEAD);
    gri_chain_name(g, id);
    if (id != 1) /* who reads it must be sure that no later life writes it */
        g->birth = (int)id;
    pthread_mutex_lock(&lock);
    gri_chain_push(&first, g);
    change(g, GR_RUNNABLE - GR_IDLE);
    pthread_mutex_unlock(&lock);
}

static void end(struct gr_g *g)
{
    pthread_mutex_lock(&lock);
    gri_chain_remove(&first, g);
    change(g, LIFE - GR_RUNNABLE);
    pthread_mutex_unlock(&lock);
}

static void *lives_twice(void *arg)
{
    (void)arg;
    bear(&twice, 1);
    end(&twice);
    bear(&twice, 3);
    /* release; pairs with the finder's acquire: it lives. */
    atomic_store_explicit(&told, 1, memory_order_release);
    return NULL;
}

static void *lives_once(void *arg)
{
    (void)arg;
    /* A slot that is new: nobody may see it before it is made. */
    atomic_init(&once.word, GR_DEAD);
    atomic_init(&once.id, 0);
    atomic_init(&once.id_next, NULL);
    bear(&once, 2);
#ifdef LATER
    once.left = 1;
    change(&once, GR_WAITING - GR_RUNNABLE);
#endif
    return NULL;
}

static void found(const struct gr_g *g, uint64_t id, uint64_t word)
{
    if (gri_word_state(word) == GR_WAITING)
        assert(g->left == 1);
    else
        assert(gri_word_state(word) == GR_RUNNABLE);
    assert(g == (id == 2 ? &once : &twice));
    assert(word / LIFE == (id == 3));
    if (id != 1)
        assert(g->birth == (int)id);
}

static void *finder(void *arg)
{
    uint64_t id = (uint64_t)(uintptr_t)arg, word = 0;
    struct gr_g *g;

#ifdef KNOWN
    if (id == 3 && atomic_load_explicit(&told, memory_order_acquire) != 1)
        return NULL;
#endif
#ifdef LOCKED
    pthread_mutex_lock(&lock);
    g = gri_chain_find_locked(&first, id, &word);
    pthread_mutex_unlock(&lock);
#else
    g = gri_chain_find(&first, id, &word);
#endif
    if (g)
        found(g, id, word);
#ifdef KNOWN
    if (!g && id == 3) {
        pthread_mutex_lock(&lock);
        g = gri_chain_find_locked(&first, id, &word);
        pthread_mutex_unlock(&lock);
        assert(g);
        found(g, id, word);
    }
#endif
    return NULL;
}

int main(void)
{
    pthread_t a, b, c;

    pthread_mutex_init(&lock, NULL);
    pthread_create(&a, NULL, lives_twice, NULL);
    pthread_create(&c, NULL, finder, (void *)(uintptr_t)LOOK_FOR);
#ifdef TWO
    pthread_create(&b, NULL, lives_once, NULL);
    pthread_join(b, NULL);
#endif
    pthread_join(a, NULL);
    pthread_join(c, NULL);
    return 0;
}
