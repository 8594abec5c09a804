/*
 * wrap_sync.c: semaphores, conditions, barriers and joins of libc.
 *
 * A wait that need not block is tried first. One that blocks is a system call of the goroutine,
 * made in slices of a tenth of a second, because libc restarts its futex after a signal and cannot
 * be cancelled otherwise; between slices cancellation is looked at. Slices are invisible for
 * semaphores and joins. A condition wait returns after a slice as if it had been woken, which POSIX
 * allows: waiting again here could miss a wake-up that came in between.
 *
 * Results follow each function's own convention: -1 and errno for semaphores, the error number for
 * pthread.
 *
 * Invariants: wrap.h. The mutex of a condition is pinned by its owner (wrap_lock.c L1) and stays
 * so.
 */
#include "wrap.h"

#include <aio.h>
#include <mqueue.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/sem.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <threads.h>

/* ---- Semaphores ------------------------------------------------------------------------------ */

static int semaphore_wait(struct gr_g *g, sem_t *sem, uint64_t deadline_ns)
{
    struct timespec until;
    bool last;

    if (sem_trywait(sem) == 0)
        return 0;
    if (gri_wrap_errno() != EAGAIN)
        return -1;
    /* Bounded by the deadline, or by whoever posts. */
    for (;;) {
        int result;

        if (gri_wrap_cancelled(g))
            return (int)gri_wrap_result(-ECANCELED);
        gri_wrap_slice(deadline_ns, &until, &last);
        GRI_WRAP_ENTER_BLOCK(g);
        result = sem_clockwait(sem, CLOCK_MONOTONIC, &until) == 0 ? 0 : gri_wrap_errno();
        gri_syscall_exit(g);
        if (result == 0)
            return 0;
        if (result != EINTR && (result != ETIMEDOUT || last))
            return (int)gri_wrap_result(-result);
    }
}

static int wrap_sem_wait(sem_t *sem)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? semaphore_wait(g, sem, 0) : sem_wait(sem);
}

static int wrap_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline;

    /* Libc says what is wrong with a bad time, and only if it has to wait. */
    if (!g || gri_wrap_deadline(clock, until, &deadline) < 0)
        return sem_clockwait(sem, clock, until);
    return semaphore_wait(g, sem, deadline);
}

static int wrap_sem_timedwait(sem_t *sem, const struct timespec *until)
{
    return wrap_sem_clockwait(sem, CLOCK_REALTIME, until);
}

/* ---- Conditions ------------------------------------------------------------------------------ */

/* deadline_ns 0: none. An error number. */
static int condition_wait(struct gr_g *g, pthread_cond_t *cond, pthread_mutex_t *mutex,
                          uint64_t deadline_ns)
{
    struct timespec until;
    bool last;
    int result;

    if (gri_wrap_cancelled(g))
        return ECANCELED;
    gri_wrap_slice(deadline_ns, &until, &last);
    result = GRI_WRAP_BLOCK(g, pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until));
    return result == ETIMEDOUT && !last ? 0 : result;
}

static int wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? condition_wait(g, cond, mutex, 0) : pthread_cond_wait(cond, mutex);
}

static int wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                       clockid_t clock, const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline;

    if (!g || gri_wrap_deadline(clock, until, &deadline) < 0)
        return pthread_cond_clockwait(cond, mutex, clock, until);
    return condition_wait(g, cond, mutex, deadline);
}

/* The clock that the condition was made with: glibc keeps it in the second bit of this public
 * field. */
static clockid_t condition_clock(const pthread_cond_t *cond)
{
    return cond->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

static int wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                       const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline;

    if (!g || gri_wrap_deadline(condition_clock(cond), until, &deadline) < 0)
        return pthread_cond_timedwait(cond, mutex, until);
    return condition_wait(g, cond, mutex, deadline);
}

/* C11's conditions are the same objects and their mutexes too. */
static int thrd_result(int error)
{
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

static int wrap_cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g)
        return cnd_wait(cond, mutex);
    return thrd_result(
        condition_wait(g, (pthread_cond_t *)(void *)cond, (pthread_mutex_t *)(void *)mutex, 0));
}

static int wrap_cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline;

    if (!g || gri_wrap_deadline(CLOCK_REALTIME, until, &deadline) < 0)
        return cnd_timedwait(cond, mutex, until);
    return thrd_result(condition_wait(g, (pthread_cond_t *)(void *)cond,
                                      (pthread_mutex_t *)(void *)mutex, deadline));
}

/* ---- Joins and barriers ---------------------------------------------------------------------- */

/* Joins until `until`, on CLOCK_MONOTONIC. */
static int join_until(pthread_t thread, void **value, const struct timespec *until)
{
#if defined(__SANITIZE_THREAD__)
    /*
     * libtsan knows of pthread_clockjoin_np only from gcc 13 on, and takes the next thread that gets the same
     * pthread_t for a mistake of its own. Tried now and then instead.
     */
    struct timespec pause = {0, 1000000};
    int result = pthread_tryjoin_np(thread, value);

    while (result == EBUSY &&
           gri_now_ns() < (uint64_t)until->tv_sec * 1000000000u + (uint64_t)until->tv_nsec) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        result = pthread_tryjoin_np(thread, value);
    }
    return result == EBUSY ? ETIMEDOUT : result;
#else
    return pthread_clockjoin_np(thread, value, CLOCK_MONOTONIC, until);
#endif
}

static int join(struct gr_g *g, pthread_t thread, void **value, uint64_t deadline_ns)
{
    struct timespec until;
    bool last;
    int result = pthread_tryjoin_np(thread, value);

    /* Bounded by the deadline, or by the thread's end. */
    while (result == EBUSY || (result == ETIMEDOUT && !last)) {
        if (gri_wrap_cancelled(g))
            return ECANCELED;
        gri_wrap_slice(deadline_ns, &until, &last);
        result = GRI_WRAP_BLOCK(g, join_until(thread, value, &until));
    }
    return result;
}

static int wrap_pthread_join(pthread_t thread, void **value)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? join(g, thread, value, 0) : pthread_join(thread, value);
}

static int wrap_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
                                     const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline;

    if (!g || !until || gri_wrap_deadline(clock, until, &deadline) < 0)
        return pthread_clockjoin_np(thread, value, clock, until);
    return join(g, thread, value, deadline);
}

static int wrap_pthread_timedjoin_np(pthread_t thread, void **value, const struct timespec *until)
{
    return wrap_pthread_clockjoin_np(thread, value, CLOCK_REALTIME, until);
}

static int wrap_thrd_join(thrd_t thread, int *value)
{
    struct gr_g *g = gri_wrap_enter();
    void *result;
    int error;

    if (!g)
        return thrd_join(thread, value);
    error = join(g, thread, &result, 0);
    if (error == 0 && value)
        *value = (int)(intptr_t)result;
    return error == 0 ? thrd_success : thrd_error;
}

GRI_WRAP_SIMPLE(int, pthread_barrier_wait, (pthread_barrier_t * barrier), (barrier))

/* ---- System V and POSIX queues --------------------------------------------------------------- */

/* Each is tried in a form that does not wait: no time, or a time that has passed. */
static int wrap_semtimedop(int id, struct sembuf *ops, size_t count, const struct timespec *timeout)
{
    struct gr_g *g = gri_wrap_enter();
    struct timespec zero = {0, 0};
    long result;

    if (!g)
        return semtimedop(id, ops, count, timeout);
    result = GRI_RAW(SYS_semtimedop, id, (long)ops, (long)count, (long)&zero);
    if (result == -EAGAIN)
        result = GRI_SYS(g, SYS_semtimedop, id, (long)ops, (long)count, (long)timeout);
    return (int)gri_wrap_result(result);
}

static int wrap_semop(int id, struct sembuf *ops, size_t count)
{
    return wrap_semtimedop(id, ops, count, NULL);
}

static int wrap_msgsnd(int id, const void *message, size_t bytes, int flags)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g || (flags & IPC_NOWAIT))
        return msgsnd(id, message, bytes, flags);
    result = GRI_RAW(SYS_msgsnd, id, (long)message, (long)bytes, flags | IPC_NOWAIT);
    if (result == -EAGAIN)
        result = GRI_SYS(g, SYS_msgsnd, id, (long)message, (long)bytes, flags);
    return (int)gri_wrap_result(result);
}

static ssize_t wrap_msgrcv(int id, void *message, size_t bytes, long type, int flags)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g || (flags & IPC_NOWAIT))
        return msgrcv(id, message, bytes, type, flags);
    result = GRI_RAW(SYS_msgrcv, id, (long)message, (long)bytes, type, flags | IPC_NOWAIT);
    if (result == -ENOMSG)
        result = GRI_SYS(g, SYS_msgrcv, id, (long)message, (long)bytes, type, flags);
    return gri_wrap_result(result);
}

static int wrap_mq_timedsend(mqd_t queue, const char *message, size_t bytes, unsigned priority,
                             const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    struct timespec past = {0, 0};
    long result;

    if (!g)
        return mq_timedsend(queue, message, bytes, priority, until);
    result =
        GRI_RAW(SYS_mq_timedsend, queue, (long)message, (long)bytes, (long)priority, (long)&past);
    if (result == -ETIMEDOUT)
        result = GRI_SYS(g, SYS_mq_timedsend, queue, (long)message, (long)bytes, (long)priority,
                         (long)until);
    return (int)gri_wrap_result(result);
}

static ssize_t wrap_mq_timedreceive(mqd_t queue, char *message, size_t bytes, unsigned *priority,
                                    const struct timespec *until)
{
    struct gr_g *g = gri_wrap_enter();
    struct timespec past = {0, 0};
    long result;

    if (!g)
        return mq_timedreceive(queue, message, bytes, priority, until);
    result = GRI_RAW(SYS_mq_timedreceive, queue, (long)message, (long)bytes, (long)priority,
                     (long)&past);
    if (result == -ETIMEDOUT)
        result = GRI_SYS(g, SYS_mq_timedreceive, queue, (long)message, (long)bytes, (long)priority,
                         (long)until);
    return gri_wrap_result(result);
}

static int wrap_mq_send(mqd_t queue, const char *message, size_t bytes, unsigned priority)
{
    return wrap_mq_timedsend(queue, message, bytes, priority, NULL);
}

static ssize_t wrap_mq_receive(mqd_t queue, char *message, size_t bytes, unsigned *priority)
{
    return wrap_mq_timedreceive(queue, message, bytes, priority, NULL);
}

/* ---- Asynchronous I/O ------------------------------------------------------------------------ */

GRI_WRAP_SIMPLE(int, aio_suspend,
                (const struct aiocb *const list[], int count, const struct timespec *timeout),
                (list, count, timeout))
GRI_WRAP_SIMPLE(int, lio_listio,
                (int mode, struct aiocb *const list[], int count, struct sigevent *event),
                (mode, list, count, event))
GRI_WRAP_SIMPLE(int, gai_suspend,
                (const struct gaicb *const list[], int count, const struct timespec *timeout),
                (list, count, timeout))
GRI_WRAP_SIMPLE(int, getaddrinfo_a,
                (int mode, struct gaicb *list[], int count, struct sigevent *event),
                (mode, list, count, event))

const struct gri_wrap gri_wraps_sync[] = {
    GRI_WRAP(sem_wait),
    GRI_WRAP(sem_timedwait),
    GRI_WRAP(sem_clockwait),
    GRI_WRAP(pthread_cond_wait),
    GRI_WRAP(pthread_cond_timedwait),
    GRI_WRAP(pthread_cond_clockwait),
    GRI_WRAP(cnd_wait),
    GRI_WRAP(cnd_timedwait),
    GRI_WRAP(pthread_join),
    GRI_WRAP(pthread_timedjoin_np),
    GRI_WRAP(pthread_clockjoin_np),
    GRI_WRAP(thrd_join),
    GRI_WRAP(pthread_barrier_wait),
    GRI_WRAP(semop),
    GRI_WRAP(semtimedop),
    GRI_WRAP(msgsnd),
    GRI_WRAP(msgrcv),
    GRI_WRAP(mq_send),
    GRI_WRAP(mq_timedsend),
    GRI_WRAP(mq_receive),
    GRI_WRAP(mq_timedreceive),
    GRI_WRAP(aio_suspend),
    GRI_WRAP_AS(aio_suspend64, aio_suspend),
    GRI_WRAP(lio_listio),
    GRI_WRAP_AS(lio_listio64, lio_listio),
    GRI_WRAP(gai_suspend),
    GRI_WRAP(getaddrinfo_a),
    {NULL, NULL},
};
