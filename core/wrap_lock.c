/*
 * wrap_lock.c: pthread mutexes, read-write locks and spin locks, and C11's mutexes.
 *
 * These locks belong to threads: the unlocking thread must be the locking one, and a recursive
 * mutex lets its thread in again, whichever goroutine runs there. So a goroutine that holds one is
 * pinned: it is stopped and parked together with its thread, and no other goroutine runs on it. It
 * is pinned before it tries, since it may be moved to another thread wherever it may be stopped. A
 * lock that is not free is waited for inside libc as a system call of the goroutine.
 *
 * A lock ignores cancellation, because almost no program looks at the result of pthread_mutex_lock,
 * and one that did not get it would go on into its critical section (docs/caveats.md).
 *
 * Invariants: wrap.h, and
 *   L1  g->pinned counts every lock that was taken through here and not yet given back.
 */
#include "wrap.h"

#include <pthread.h>
#include <string.h>
#include <threads.h>
#include <time.h>

/* EOWNERDEAD: taken, from a thread that died with it. */
static bool taken(int result)
{
    return result == 0 || result == EOWNERDEAD;
}

static void unpin(struct gr_g *g)
{
    /* Not ours to count: a lock that was taken before the module's imports were redirected. */
    if (g->pinned > 0)
        gri_unpin(g);
}

/*
 * A wrapper for a function that may wait for a lock: `try` is the call that does not wait, `wait`
 * the real one. `busy` is what a failed try gives. While it waits, the goroutine shows for what.
 */
#define WAITS(lock)                                                                                \
    _Generic((lock), pthread_rwlock_t * : GRI_WAIT_THREAD_RWLOCK, default : GRI_WAIT_THREAD_MUTEX)
#define TIMED(name) (strstr(#name, "timed") || strstr(#name, "clock"))
#define LOCK(name, params, lock, try_call, busy, wait_call)                                        \
    static int wrap_##name params                                                                  \
    {                                                                                              \
        struct gr_g *g = gri_self();                                                               \
        int result;                                                                                \
                                                                                                   \
        if (!g)                                                                                    \
            return wait_call;                                                                      \
        gri_pin(g);                                                                                \
        result = try_call;                                                                         \
        if (result == (busy)) {                                                                    \
            gri_errno_to_libc();                                                                   \
            gri_waits_for_thread_lock(g, WAITS(lock), lock, TIMED(name));                          \
            result = GRI_WRAP_BLOCK(g->nopreempt ? NULL : g, wait_call);                           \
            gri_waits_for_thread_lock(g, GRI_WAIT_NONE, NULL, false);                              \
        }                                                                                          \
        if (!taken(result))                                                                        \
            gri_unpin(g);                                                                          \
        return result;                                                                             \
    }

/* A wrapper for a function that takes a lock or gives up at once. */
#define TRY(name, params, try_call)                                                                \
    static int wrap_##name params                                                                  \
    {                                                                                              \
        struct gr_g *g = gri_self();                                                               \
        int result;                                                                                \
                                                                                                   \
        if (!g)                                                                                    \
            return try_call;                                                                       \
        gri_pin(g);                                                                                \
        result = try_call;                                                                         \
        if (!taken(result))                                                                        \
            gri_unpin(g);                                                                          \
        return result;                                                                             \
    }

#define UNLOCK(name, params, call)                                                                 \
    static int wrap_##name params                                                                  \
    {                                                                                              \
        struct gr_g *g = gri_self();                                                               \
        int result = call;                                                                         \
                                                                                                   \
        if (g && result == 0)                                                                      \
            unpin(g);                                                                              \
        return result;                                                                             \
    }

typedef pthread_mutex_t *mutex;
typedef pthread_rwlock_t *rwlock;
typedef const struct timespec *when;

LOCK(pthread_mutex_lock, (mutex m), m, pthread_mutex_trylock(m), EBUSY, pthread_mutex_lock(m))
LOCK(pthread_mutex_timedlock, (mutex m, when t), m, pthread_mutex_trylock(m), EBUSY,
     pthread_mutex_timedlock(m, t))
LOCK(pthread_mutex_clocklock, (mutex m, clockid_t c, when t), m, pthread_mutex_trylock(m), EBUSY,
     pthread_mutex_clocklock(m, c, t))
TRY(pthread_mutex_trylock, (mutex m), pthread_mutex_trylock(m))
UNLOCK(pthread_mutex_unlock, (mutex m), pthread_mutex_unlock(m))

LOCK(pthread_rwlock_rdlock, (rwlock l), l, pthread_rwlock_tryrdlock(l), EBUSY,
     pthread_rwlock_rdlock(l))
LOCK(pthread_rwlock_timedrdlock, (rwlock l, when t), l, pthread_rwlock_tryrdlock(l), EBUSY,
     pthread_rwlock_timedrdlock(l, t))
LOCK(pthread_rwlock_clockrdlock, (rwlock l, clockid_t c, when t), l, pthread_rwlock_tryrdlock(l),
     EBUSY, pthread_rwlock_clockrdlock(l, c, t))
LOCK(pthread_rwlock_wrlock, (rwlock l), l, pthread_rwlock_trywrlock(l), EBUSY,
     pthread_rwlock_wrlock(l))
LOCK(pthread_rwlock_timedwrlock, (rwlock l, when t), l, pthread_rwlock_trywrlock(l), EBUSY,
     pthread_rwlock_timedwrlock(l, t))
LOCK(pthread_rwlock_clockwrlock, (rwlock l, clockid_t c, when t), l, pthread_rwlock_trywrlock(l),
     EBUSY, pthread_rwlock_clockwrlock(l, c, t))
TRY(pthread_rwlock_tryrdlock, (rwlock l), pthread_rwlock_tryrdlock(l))
TRY(pthread_rwlock_trywrlock, (rwlock l), pthread_rwlock_trywrlock(l))
UNLOCK(pthread_rwlock_unlock, (rwlock l), pthread_rwlock_unlock(l))

/* C11's results are others, but 0 is success and thrd_busy is the failed try. */
LOCK(mtx_lock, (mtx_t * m), m, mtx_trylock(m), (int)thrd_busy, mtx_lock(m))
LOCK(mtx_timedlock, (mtx_t * m, when t), m, mtx_trylock(m), (int)thrd_busy, mtx_timedlock(m, t))
TRY(mtx_trylock, (mtx_t * m), mtx_trylock(m))
UNLOCK(mtx_unlock, (mtx_t * m), mtx_unlock(m))

/* ---- Spin locks ------------------------------------------------------------------------------ */

/*
 * The holder may be a goroutine that waits for this very processor, so a spinner yields. It is not
 * pinned while it spins: pinned it would hold its thread back as well.
 */
static int wrap_pthread_spin_lock(pthread_spinlock_t *lock)
{
    struct gr_g *g = gri_self();

    if (!g)
        return pthread_spin_lock(lock);
    /* Ends when the holder lets go: that is what a spin lock is. */
    for (;;) {
        gri_pin(g);
        if (pthread_spin_trylock(lock) == 0)
            return 0;
        gri_unpin(g);
        if (g->nopreempt)
            arch_pause();
        else
            gri_yield();
    }
}

TRY(pthread_spin_trylock, (pthread_spinlock_t * lock), pthread_spin_trylock(lock))
UNLOCK(pthread_spin_unlock, (pthread_spinlock_t * lock), pthread_spin_unlock(lock))

const struct gri_wrap gri_wraps_lock[] = {
    GRI_WRAP(pthread_mutex_lock),
    GRI_WRAP(pthread_mutex_timedlock),
    GRI_WRAP(pthread_mutex_clocklock),
    GRI_WRAP(pthread_mutex_trylock),
    GRI_WRAP(pthread_mutex_unlock),
    GRI_WRAP(pthread_rwlock_rdlock),
    GRI_WRAP(pthread_rwlock_timedrdlock),
    GRI_WRAP(pthread_rwlock_clockrdlock),
    GRI_WRAP(pthread_rwlock_wrlock),
    GRI_WRAP(pthread_rwlock_timedwrlock),
    GRI_WRAP(pthread_rwlock_clockwrlock),
    GRI_WRAP(pthread_rwlock_tryrdlock),
    GRI_WRAP(pthread_rwlock_trywrlock),
    GRI_WRAP(pthread_rwlock_unlock),
    GRI_WRAP(mtx_lock),
    GRI_WRAP(mtx_timedlock),
    GRI_WRAP(mtx_trylock),
    GRI_WRAP(mtx_unlock),
    GRI_WRAP(pthread_spin_lock),
    GRI_WRAP(pthread_spin_trylock),
    GRI_WRAP(pthread_spin_unlock),
    {NULL, NULL},
};
