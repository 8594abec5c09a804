/*
 * test_lists.c: the list of goroutines while they come and go (G20), and what their stacks point at.
 */
#include "harness.h"

#include <pthread.h>

#include <grasp/waits.h>

/* ---- Lists are of one moment ----------------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
enum {
    STAYERS = 300
}; /* what libtsan does for a lock grows with the number of fibers that there are */
#else
enum { STAYERS = 3000 };
#endif
enum { DUMPERS = 2 };

static struct gr_chan *leave;
static uint64_t born[STAYERS]; /* ascending: one goroutine bears them */
static atomic_uint born_count, dumps, stop_dumping;
static unsigned lists_halfway; /* that are made before the second half of them is born */

static void stay(void *arg)
{
    int value;

    (void)arg;
    gr_chan_recv(leave, &value);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

/* Between those that stay others come and go, so that slots are taken in no order. */
static void bear(void *arg)
{
    uint64_t random = test_seed;

    (void)arg;
    for (unsigned i = 0; i < STAYERS; i++) {
        for (uint64_t n = next_random(&random) % 8; n > 0; n--)
            gr_go(do_nothing, NULL);
        born[i] = gr_go(stay, NULL);
        CHECK(born[i] != 0);
        atomic_store(&born_count, i + 1);
        if (i % 16 == 0)
            gr_yield();
        while (i == STAYERS / 2 && atomic_load(&dumps) < lists_halfway)
            gr_yield(); /* on a busy machine all would be born before a dumper gets its first turn */
    }
}

static bool listed(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t lo = 0, hi = count;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;

        if (ids[middle] < id)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo < count && ids[lo] == id;
}

static void *dump(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_dumping)) {
        unsigned before = atomic_load(&born_count), after, missing = 0;
        size_t count;
        uint64_t *ids = gr_list_all(&count);

        after = atomic_load(&born_count);
        for (size_t i = 1; i < count; i++)
            CHECK(ids[i - 1] < ids[i]); /* none twice */
        for (unsigned i = 0; i < before; i++)
            CHECK(listed(ids, count, born[i]));
        /* A listed one implies every older one. */
        for (unsigned i = before; i < after; i++) {
            if (!listed(ids, count, born[i]))
                missing++;
            else
                CHECK(missing == 0);
        }
        free(ids);
        atomic_fetch_add(&dumps, 1);
    }
    return NULL;
}

static void a_listed_goroutine_implies_every_older_one(void **state)
{
    pthread_t threads[DUMPERS];

    (void)state;
    leave = gr_chan_create(sizeof(int), 0);
    lists_halfway = 10;
    for (int i = 0; i < DUMPERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, dump, NULL), 0);
    gr_go(bear, NULL);
    eventually_count(&born_count, STAYERS, "all are born");
    atomic_store(&stop_dumping, 1);
    for (int i = 0; i < DUMPERS; i++)
        pthread_join(threads[i], NULL);
    printf("%u lists\n", atomic_load(&dumps));
    assert_true(atomic_load(&dumps) >= lists_halfway);
    lists_halfway = 0;
    gr_chan_close(leave);
    eventually_alone(0);
    gr_chan_destroy(leave);
    expect_no_faults();
}

/* In pages of any size, though more than a page's ids come by in the walk: the same as all at once. */
static void pages_of_a_list_make_the_whole(void **state)
{
    static const size_t sizes[] = {1, 7, 512, 1500, STAYERS + 1};
    size_t count;
    uint64_t *all;

    (void)state;
    leave = gr_chan_create(sizeof(int), 0);
    atomic_store(&born_count, 0);
    gr_go(bear, NULL);
    eventually_count(&born_count, STAYERS, "all are born");
    eventually_alone(STAYERS);
    all = gr_list_all(&count);
    assert_int_equal(count, STAYERS);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint64_t page[STAYERS + 1], after = 0;
        size_t got, at = 0;

        while ((got = gr_list(GR_LIST_LIVE, after, page, sizes[s])) > 0) {
            assert_true(got <= sizes[s] && at + got <= count);
            assert_memory_equal(page, all + at, got * sizeof page[0]);
            at += got;
            after = page[got - 1];
        }
        assert_int_equal(at, count);
    }
    assert_int_equal(gr_list(GR_LIST_LIVE, 0, NULL, 0), 0);
    free(all);
    gr_chan_close(leave);
    eventually_alone(0);
    gr_chan_destroy(leave);
    expect_no_faults();
}

/* ---- What is shown is of one life ------------------------------------------------------------------- */

enum { LIVES = STAYERS * 4 };

static atomic_ulong newest;

/* One slot is used again at once, so that whoever found its life before looks at it while the next one is born. */
static void bear_named(void *arg)
{
    char name[2][16];

    (void)arg;
    for (unsigned i = 0; i < LIVES; i++) {
        snprintf(name[0], sizeof name[0], "%u", i);
        memcpy(name[1], name[0], sizeof name[1]);
        struct gr_go_opts opts = {.fn = do_nothing, .name = name[0]};
        const char *labels[] = {"name", name[1], NULL};
        opts.labels = labels;
        int64_t id = gr_go_with(&opts);
        CHECK(id > 0);
        atomic_store(&newest, (unsigned long)id);
        gr_yield();
    }
    atomic_store(&stop_dumping, 1);
}

static void what_is_shown_is_of_one_life(void **state)
{
    struct gr_info info;
    unsigned long shown = 0, id;

    (void)state;
    atomic_store(&newest, 0);
    atomic_store(&stop_dumping, 0);
    uint64_t bearer = gr_go(bear_named, NULL);
    assert_int_not_equal(bearer, 0);
    while (!atomic_load(&stop_dumping)) {
        id = atomic_load(&newest);
        if (id == 0 || gr_info(id, &info) != 0)
            continue;
        assert_int_equal(info.id, id);
        assert_int_equal(info.parent, bearer);
        assert_int_equal(info.label_count, 1);
        assert_string_equal(info.label[0].value, info.name);
        assert_string_equal(info.module, "main");
        shown++;
    }
    printf("%lu shown\n", shown);
    eventually_alone(0);
    expect_no_faults();
}

/* ---- What a stack points at ------------------------------------------------------------------ */

static int datum[4] = {1, 2, 3, 4};

struct pointers {
    struct gr_chan *chan, *gone, *wait;
    gr_mutex mutex;
    gr_waitgroup group;
    void *others_stack; /* set by the other goroutine */
    atomic_uint others_stack_known;
    uint64_t stack_words; /* where the words lie */
    atomic_uint ready;
};

/* The words that must be found, in this order. */
enum { CHAN, CHAN_INSIDE, GONE, MUTEX, GROUP, OTHER, DATUM, NUMBER, WORDS };

static void point(void *arg)
{
    struct pointers *p = arg;
    void *volatile words[WORDS];

    CHECK(gr_mutex_lock(&p->mutex) == 0);
    words[CHAN] = p->chan;
    words[CHAN_INSIDE] = (char *)p->chan + 24;
    words[GONE] = p->gone;
    words[MUTEX] = (char *)&p->mutex + 8;
    words[GROUP] = &p->group;
    words[OTHER] = p->others_stack;
    words[DATUM] = &datum[2];
    words[NUMBER] = (void *)(uintptr_t)12345;
    p->stack_words = (uint64_t)(uintptr_t)words;
    atomic_store(&p->ready, 1);
    gr_chan_recv(p->wait, NULL);
    CHECK(words[NUMBER] == (void *)(uintptr_t)12345);
    CHECK(gr_mutex_unlock(&p->mutex) == 0);
}

static void wait_for_group(void *arg)
{
    struct pointers *p = arg;
    int local = 0;

    p->others_stack = &local;
    atomic_store(&p->others_stack_known, 1);
    gr_waitgroup_wait(&p->group);
}

static const struct gr_root *root_at(const struct gr_root *roots, ssize_t count, uint64_t at)
{
    for (ssize_t i = 0; i < count; i++) {
        if (roots[i].reg < 0 && roots[i].at == at)
            return &roots[i];
    }
    return NULL;
}

static void expect_root(const struct gr_root *root, enum gr_root_kind kind, const void *object,
                        size_t offset)
{
    assert_non_null(root);
    assert_int_equal(root->kind, kind);
    if (object)
        assert_int_equal(root->object, (uint64_t)(uintptr_t)object);
    if (object)
        assert_int_equal(root->value - root->object, offset);
}

static void a_stack_s_words_are_told_by_what_they_point_at(void **state)
{
    static struct gr_root roots[32768];
    static struct pointers p;
    struct gr_copy copy = {.stack_capacity = gr_copy_stack_bytes_max()};
    struct gr_hold held = {0};
    uint64_t id, other;
    ssize_t count;

    (void)state;
    p = (struct pointers){.chan = gr_chan_create(8, 4), .wait = gr_chan_create(0, 0)};
    p.gone = gr_chan_create(8, 4096); /* a mapping of its own: its address is nobody's afterwards */
    gr_chan_destroy(p.gone);
    assert_int_equal(gr_waitgroup_add(&p.group, 1), 0);
    other = gr_go(wait_for_group, &p);
    eventually(word_is_set, &p.others_stack_known, "the other goroutine runs");
    eventually_waits(other, "wait group");
    id = gr_go(point, &p);
    eventually(word_is_set, &p.ready, "the words are there");
    eventually_waits(id, "chan receive");
    hold(&held, id);
    copy.stack = malloc(copy.stack_capacity);
    assert_int_equal(gr_copy_held(&held, &copy), 0);
    count = gr_roots(&copy, roots, 32768);
    assert_true(count > 0 && count <= 32768);
#define AT(word) root_at(roots, count, p.stack_words + 8 * (word))
    expect_root(AT(CHAN), GR_ROOT_CHANNEL, p.chan, 0);
    expect_root(AT(CHAN_INSIDE), GR_ROOT_CHANNEL, p.chan, 24);
    expect_root(AT(MUTEX), GR_ROOT_MUTEX, &p.mutex, 8);
    expect_root(AT(GROUP), GR_ROOT_WAITGROUP, &p.group, 0);
    expect_root(AT(OTHER), GR_ROOT_OTHER_STACK, NULL, 0);
    assert_int_equal(AT(OTHER)->goroutine, other);
    expect_root(AT(DATUM), GR_ROOT_DATA, NULL, 0);
    assert_string_equal(AT(DATUM)->module, "main");
    assert_null(AT(NUMBER));
    assert_true(!AT(GONE) || AT(GONE)->kind != GR_ROOT_CHANNEL);
    /* Its own stack is pointed into as well, by what waits there; and less room counts them all the same. */
    bool own = false;
    for (ssize_t i = 0; i < count; i++)
        own = own || roots[i].kind == GR_ROOT_STACK;
    assert_true(own);
    assert_int_equal(gr_roots(&copy, roots, 1), count);
    release(&held);
    free(copy.stack);
    gr_chan_close(p.wait);
    assert_int_equal(gr_waitgroup_done(&p.group), 0);
    eventually_alone(0);
    gr_chan_destroy(p.wait);
    gr_chan_destroy(p.chan);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listed_goroutine_implies_every_older_one),
        cmocka_unit_test(pages_of_a_list_make_the_whole),
        cmocka_unit_test(what_is_shown_is_of_one_life),
        cmocka_unit_test(a_stack_s_words_are_told_by_what_they_point_at),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
