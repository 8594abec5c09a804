/*
 * test_module_swap_stress.c: a module is replaced over and over while its goroutines are born, run,
 * are held and unwound, and end.
 *
 * Two threads spawn goroutines and check that each ends with the number of one build, never a
 * crash or a mixture; two threads hold whichever they find, unwind it, and check that what lies in
 * module code is named; one thread asks the map of safe code without a pause; the main thread
 * replaces, and unloads and loads now and then. At the end nothing is left of any build. Rounds:
 * 60 times GRASP_STRESS; the seed is printed.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grasp/goroutine.h>
#include <grasp/inspect.h>

#include "module.h"
#include "swap.h"

#define ROUNDS     60
#define HOLD_NS    30000000000u
#define BATCH      16
#define BUILDS     3

static atomic_bool stop;
static atomic_ulong ended, held, named, asked;
static atomic_ulong by_build[BUILDS + 1];
static const char *path;

static unsigned roll(uint64_t *state, unsigned below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*state >> 33) % below;
}

static void expect_build(uint64_t id)
{
    struct gr_info info;

    do {
        sched_yield();
        swap_check(gr_info(id, &info) == 0, "an ended goroutine is remembered");
    } while (info.state != GR_DEAD);
    swap_check(info.exit_code >= 1 && info.exit_code <= BUILDS, "a goroutine ran one build's code");
    swap_check(strcmp(info.module, "swap") == 0 && strcmp(info.entry, "work") == 0,
               "an ended goroutine is named after its build has gone");
    atomic_fetch_add_explicit(&by_build[info.exit_code], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ended, 1, memory_order_relaxed);
}

static void *spawner(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;

    while (!atomic_load(&stop)) {
        uint64_t ids[BATCH];
        unsigned count = 0;

        for (unsigned i = 0; i < BATCH; i++) {
            char rounds[16];
            snprintf(rounds, sizeof rounds, "%u", roll(&random, 200));
            int64_t id = gr_spawn("swap", "work", rounds, NULL);
            /* Unloaded at the moment. */
            swap_check(id > 0 || id == -ENOENT, "a spawn succeeds or finds no module");
            if (id > 0)
                ids[count++] = (uint64_t)id;
        }
        for (unsigned i = 0; i < count; i++)
            expect_build(ids[i]);
    }
    return NULL;
}

static void look(struct gr_copy *copy, uint64_t id)
{
    struct gr_hold hold = {0};
    struct gr_frame frames[64];
    bool truncated;
    int result = gr_hold_wait(&hold, id, HOLD_NS);

    swap_check(result == 0 || result == -EOWNERDEAD || result == -ESRCH, "a hold ends in time");
    if (result)
        return;
    swap_check(gr_copy_held(&hold, copy) == 0, "a held goroutine is copied");
    /* While it is held its build stays, so that its code has names. */
    ssize_t count = gr_unwind(copy, frames, 64, &truncated);
    swap_check(count >= 0, "a held goroutine is unwound");
    for (ssize_t i = 0; i < count; i++) {
        if (frames[i].function && strcmp(frames[i].function, "work") == 0) {
            swap_check(frames[i].module && strcmp(frames[i].module, "swap") == 0,
                       "module code is named by its module");
            atomic_fetch_add_explicit(&named, 1, memory_order_relaxed);
        }
    }
    swap_check(gr_hold_end(&hold) == 0, "a hold is ended once");
    atomic_fetch_add_explicit(&held, 1, memory_order_relaxed);
}

static void *holder(void *arg)
{
    struct gr_copy copy = {.stack_capacity = gr_copy_stack_bytes_max(),
                           .vector_capacity = gr_copy_vector_bytes_max()};
    uint64_t after = 0, id;

    (void)arg;
    copy.stack = malloc(copy.stack_capacity);
    copy.vectors = malloc(copy.vector_capacity);
    while (!atomic_load(&stop)) {
        if (gr_list(GR_LIST_LIVE, after, &id, 1) == 0) {
            after = 0;
            sched_yield();
            continue;
        }
        after = id;
        look(&copy, id);
    }
    free(copy.stack);
    free(copy.vectors);
    return NULL;
}

static void *asker(void *arg)
{
    struct gr_module_info info;

    (void)arg;
    while (!atomic_load(&stop)) {
        if (gr_module_info("swap", &info) != 0)
            continue;
        for (uint64_t pc = info.text_lo; pc < info.text_hi; pc += 64) {
            struct gri_module *module = gri_module_of(pc);
            swap_check(!module || strcmp(gri_module_name(module), "swap") == 0,
                       "the map's modules stay readable");
            gri_text_check(pc);
        }
        atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
    }
    return NULL;
}

/* Installs another build and brings it in one way or the other. */
static void change(uint64_t *random, int build)
{
    struct gr_module_info info;
    char err[512];
    int result;

    if (gr_module_info("swap", &info) == 0 && roll(random, 4) == 0) {
        do {
            sched_yield();
            result = gr_module_unload("swap", err, sizeof err);
        } while (result == -EBUSY && roll(random, 100));
        swap_check(result == 0 || result == -EBUSY, err);
    }
    swap_install(build);
    result = gr_module_replace("swap", path, err, sizeof err);
    swap_check(result == 0 || result == 1, err);
}

/* The other threads get on between two changes. */
static void wait_for_progress(void)
{
    unsigned long seen = atomic_load(&ended), looked = atomic_load(&held);

    while (atomic_load(&ended) == seen || atomic_load(&held) == looked)
        sched_yield();
}

int main(void)
{
    struct gr_options options = {.procs = 2};
    const char *factor = getenv("GRASP_STRESS"), *given = getenv("GRASP_TEST_SEED");
    uint64_t random = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    unsigned rounds = ROUNDS * (factor ? (unsigned)atoi(factor) : 1);
    void *(*const mains[])(void *) = {spawner, spawner, holder, holder, asker};
    pthread_t thread[5];
    char err[512];

    printf("seed %llu\n", (unsigned long long)random);
    path = swap_init();
    swap_check(gr_start(&options, err, sizeof err) == 0, err);
    change(&random, 1);
    for (uintptr_t i = 0; i < 5; i++)
        pthread_create(&thread[i], NULL, mains[i], (void *)(i + (uintptr_t)random));
    for (unsigned i = 0; i < rounds; i++) {
        wait_for_progress();
        change(&random, 1 + (int)roll(&random, BUILDS));
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 5; i++)
        pthread_join(thread[i], NULL);
    while (gr_module_unload("swap", err, sizeof err) == -EBUSY)
        sched_yield();
    swap_check(swap_eventually_mapped(0), "every build is unmapped at the end");
    printf("%u changes, %lu ended (%lu %lu %lu), %lu held, %lu frames named, %lu maps read\n", rounds,
           atomic_load(&ended), atomic_load(&by_build[1]), atomic_load(&by_build[2]),
           atomic_load(&by_build[3]), atomic_load(&held), atomic_load(&named),
           atomic_load(&asked));
    swap_check(atomic_load(&named) > 0, "some frame of the module was named");
    swap_fini();
    return 0;
}
