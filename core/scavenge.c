/*
 * scavenge.c: one thread that gives memory back: stacks of goroutines that wait long, and of slots that nobody needs.
 *
 * While anything runs it walks all slots every fold_after_ms: who has waited so long since the walk before is folded or
 * trimmed (fold.c), a few at a time, their pages given back by one system call. Then it takes free slots that were not
 * needed since the last walk, all but registry.c's WARM_SLOTS, and gives back their stacks' pages. It works a millisecond and
 * rests three, so that a million goroutines that fall asleep at once cost a quarter of a core for some seconds, and it is
 * never asleep while it has a goroutine in COPYSTACK. When a walk found nothing that may become old, and nothing ran
 * meanwhile, it sleeps until the monitor finds that something runs.
 *
 * Rejected: doing it in the monitor, which has to be in time for timers and suspends; or in idle workers, of which a busy
 * daemon has none. Rejected: a list of waiters by age. It is two more writes to shared memory for each wait, to save a walk
 * that reads one cache line a goroutine.
 *
 * Invariant
 *   V1  A slot that is off the free list in here is nobody else's.
 */
#include "scheduler.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define FOLD_AFTER_MS 1000 /* unless gr_options says otherwise */
#define BATCH         16   /* goroutines in COPYSTACK at a time: some 20 µs */
#define WORK_NS       1000000
#define REST_NS       3000000
#define LOOKS         1024 /* slots looked at between two looks at the clock */

struct walk {
    struct gr_g *g[BATCH];
    struct iovec range[BATCH];
    size_t count;
    uint64_t old_before; /* ticks: who waits since then has waited long */
    uint64_t rest_at;    /* ticks */
    unsigned looks;
    bool again; /* somebody may be old at the next walk */
};

static uint32_t fold_after_ms;
static int own_pidfd = -1; /* for process_madvise; -1: this kernel does not let us */
_Atomic(uint32_t) gri_scavenger_dormant;

/* ---- Giving back --------------------------------------------------------------------------------- */

/* Since 6.13 a process may advise many ranges of its own at once: one system call, one TLB flush. */
static bool advise_all(struct iovec *range, size_t count)
{
    return own_pidfd >= 0 &&
           syscall(SYS_process_madvise, own_pidfd, range, count, MADV_DONTNEED, 0) >= 0;
}

/* What can't be given back (locked memory) stays: nobody relies on it. */
static void give_back(struct iovec *range, size_t count)
{
    if (count == 0 || advise_all(range, count))
        return;
    for (size_t i = 0; i < count; i++)
        madvise(range[i].iov_base, range[i].iov_len, MADV_DONTNEED);
}

static void find_process_madvise(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct iovec range = {NULL, page};

    range.iov_base = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (range.iov_base == MAP_FAILED)
        return;
    own_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0); /* close-on-exec by nature */
    if (own_pidfd >= 0 && !advise_all(&range, 1)) {
        close(own_pidfd);
        own_pidfd = -1;
    }
    munmap(range.iov_base, page);
}

static void rest_if_due(struct walk *walk)
{
    struct timespec rest = {0, REST_NS};

    if (arch_ticks() < walk->rest_at)
        return;
    nanosleep(&rest, NULL);
    walk->rest_at = arch_ticks() + gri_ns_to_ticks(WORK_NS);
}

/* ---- Goroutines that wait -------------------------------------------------------------------------- */

static void flush(struct walk *walk)
{
    give_back(walk->range, walk->count);
    for (size_t i = 0; i < walk->count; i++)
        gri_fold_end(walk->g[i]);
    walk->count = 0;
    rest_if_due(walk);
}

static void look_at(void *arg, struct gr_g *g, uint64_t word)
{
    struct walk *walk = arg;

    if (++walk->looks % LOOKS == 0 && walk->count == 0)
        rest_if_due(walk);
    /* relaxed, both: the word was read with acquire, and they are of this wait or the CAS in gri_fold_begin fails. */
    if (gri_word_state(word) != GR_WAITING ||
        atomic_load_explicit(&g->rested, memory_order_relaxed))
        return;
    /* A held one may be let go at any time, which is no run that would wake us. */
    if (gri_word_holds(word) > 0 ||
        atomic_load_explicit(&g->wait_since_ticks, memory_order_relaxed) > walk->old_before ||
        !gri_fold_begin(g, word, &walk->range[walk->count])) {
        walk->again = true;
        return;
    }
    walk->g[walk->count++] = g;
    if (walk->count == BATCH)
        flush(walk);
}

/* ---- Slots that nobody needs ------------------------------------------------------------------------ */

static void cool_slots(struct walk *walk)
{
    size_t count;
    bool more;

    do {
        count = gri_registry_take_surplus(walk->g, BATCH, &more);
        for (size_t i = 0; i < count; i++) /* V1 */
            walk->range[i] = (struct iovec){walk->g[i]->stack.lo,
                                            (size_t)(walk->g[i]->stack.hi - walk->g[i]->stack.lo)};
        give_back(walk->range, count);
        gri_registry_give_cold(walk->g, count);
        rest_if_due(walk);
    } while (count == BATCH);
    walk->again |= more;
}

/* ---- The thread ---------------------------------------------------------------------------------- */

/* How many goroutines were run so far. */
static uint64_t runs(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0, made = gri_processors_made(); i < made; i++)
        sum += atomic_load_explicit(&gri_processor(i)->tick, memory_order_relaxed);
    return sum;
}

static void sleep_until_work(uint64_t runs_before)
{
    /* seq_cst, before the look; a run that is missed here is followed by a round of the monitor, which wakes us. */
    atomic_store_explicit(&gri_scavenger_dormant, 1, memory_order_seq_cst);
    if (runs() != runs_before)
        atomic_store_explicit(&gri_scavenger_dormant, 0, memory_order_relaxed);
    while (atomic_load_explicit(&gri_scavenger_dormant, memory_order_acquire))
        gri_futex_wait(&gri_scavenger_dormant, 1, -1);
}

void gri_scavenger_wake(void)
{
    atomic_store_explicit(&gri_scavenger_dormant, 0, memory_order_release);
    gri_futex_wake(&gri_scavenger_dormant, 1);
}

static void *scavenger_main(void *arg)
{
    struct timespec nap = {fold_after_ms / 1000, (long)(fold_after_ms % 1000) * 1000000};
    uint64_t long_ticks = gri_ns_to_ticks((uint64_t)fold_after_ms * 1000000);

    prctl(PR_SET_NAME, "grasp-scavenger");
    for (;;) {
        struct walk walk = {.count = 0};
        uint64_t now, runs_before = runs();

        nanosleep(&nap, NULL);
        now = arch_ticks();
        walk.old_before = now > long_ticks ? now - long_ticks : 0;
        walk.rest_at = now + gri_ns_to_ticks(WORK_NS);
        gri_registry_each(look_at, &walk);
        flush(&walk);
        cool_slots(&walk);
        if (!walk.again)
            sleep_until_work(runs_before);
    }
    return NULL;
}

int gri_scavenger_start(uint32_t after_ms, char *err, size_t err_bytes)
{
    pthread_t thread;
    sigset_t all, old;
    int error;

    if (after_ms == GR_FOLD_NEVER)
        return 0;
    fold_after_ms = after_ms ? after_ms : FOLD_AFTER_MS;
    find_process_madvise();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, NULL, scavenger_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        snprintf(err, err_bytes, "no thread for the scavenger: error %d", error);
        return -error;
    }
    pthread_detach(thread);
    return 0;
}
