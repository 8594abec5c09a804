/*
 * test_goroutine.c: births, ids, what is shown of the living and the ended, results, labels, logs.
 */
#include "harness.h"

#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
#define CROWD 2000 /* libtsan has 8,128 fibers */
#else
#define CROWD 20000
#endif

/* ---- Ids and births (G10) -------------------------------------------------------------------------- */

static atomic_uchar runs[CROWD];
static atomic_uint total_runs;

static void count_my_run(void *arg)
{
    atomic_fetch_add(&runs[(uintptr_t)arg], 1);
    atomic_fetch_add(&total_runs, 1);
}

/* Bears every child of its quarter; the queue of its processor overflows on the way. */
static void bear_a_quarter(void *arg)
{
    uintptr_t first = (uintptr_t)arg * (CROWD / 4);

    for (uintptr_t i = 0; i < CROWD / 4; i++) {
        CHECK(gr_go(count_my_run, (void *)(first + i)) != 0);
        if (i % 1000 == 0)
            gr_yield();
    }
}

static void *bear_from_a_thread(void *arg)
{
    bear_a_quarter(arg);
    return NULL;
}

static void each_goroutine_runs_exactly_once(void **state)
{
    pthread_t thread[2];

    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        memset((void *)runs, 0, sizeof runs);
        atomic_store(&total_runs, 0);
        assert_int_equal(gr_set_procs(1 + round), 0);
        for (uintptr_t i = 0; i < 2; i++) {
            assert_int_not_equal(gr_go(bear_a_quarter, (void *)i), 0);
            assert_int_equal(pthread_create(&thread[i], NULL, bear_from_a_thread, (void *)(i + 2)),
                             0);
        }
        for (int i = 0; i < 2; i++)
            pthread_join(thread[i], NULL);
        eventually_count(&total_runs, CROWD, "all have run");
        eventually_alone(0);
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(runs[i], 1);
    }
    assert_int_equal(gr_set_procs(2), 0);
    expect_no_faults();
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void ids_grow_and_are_never_used_again(void **state)
{
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 3 * CROWD; i++) {
        uint64_t id = gr_go(do_nothing, NULL);

        assert_true(id > last);
        last = id;
    }
    eventually_alone(0);
}

static void impossible_births_are_refused(void **state)
{
    static const char *const odd_labels[] = {"key", NULL};
    struct gr_go_opts opts = {.fn = do_nothing, .stack_bytes = 65535};

    (void)state;
    assert_int_equal(gr_go(NULL, NULL), 0);
    assert_int_equal(gr_go_with(NULL), -EINVAL);
    assert_int_equal(gr_go_with(&(struct gr_go_opts){0}), -EINVAL);
    assert_int_equal(gr_go_with(&opts), -EINVAL);
    opts.stack_bytes = ((size_t)1 << 30) + 1;
    assert_int_equal(gr_go_with(&opts), -EINVAL);
    opts = (struct gr_go_opts){.fn = do_nothing, .labels = odd_labels};
    assert_int_equal(gr_go_with(&opts), -EINVAL);
    eventually_alone(0);
}

/* ---- Entries of the module main -------------------------------------------------------------------- */

static char seen_args[64];

static int answer(const char *args_json)
{
    snprintf(seen_args, sizeof seen_args, "%s", args_json);
    CHECK(gr_result("{\"answer\":42}") == 0);
    CHECK(gr_result("{\"broken\":") == -EINVAL);
    return 23;
}
GR_ENTRY("answer", answer, "answers");

static uint64_t spawn(const char *entry, const char *args)
{
    int64_t id = gr_spawn("main", entry, args, NULL);

    assert_true(id > 0);
    return (uint64_t)id;
}

static void what_a_root_leaves_can_be_read_after_its_end(void **state)
{
    uint64_t id = spawn("answer", "[1,2]");
    char *json = NULL;
    struct gr_info info;

    (void)state;
    eventually_dead(id);
    info = info_of(id);
    assert_int_equal(info.state, GR_DEAD);
    assert_int_equal(info.id, id);
    assert_int_equal(info.root, id);
    assert_int_equal(info.parent, 0);
    assert_int_equal(info.exit_code, 23);
    assert_int_equal(info.exit_reason, GR_EXIT_RETURNED);
    assert_string_equal(info.module, "main");
    assert_string_equal(info.entry, "answer");
    assert_true(info.ended_realtime_ns >= info.created_realtime_ns);
    assert_string_equal(seen_args, "[1,2]");
    assert_int_equal(gr_info_result(id, &json), 0);
    assert_string_equal(json, "{\"answer\":42}");
    free(json);
    eventually_dead(id = spawn("answer", NULL));
    assert_string_equal(seen_args, "null");
    expect_no_faults();
}

static void impossible_spawns_are_refused(void **state)
{
    char *args = malloc(GR_ARGS_BYTES_MAX + 2);
    static const char *const bad_label[] = {"no spaces please", "x", NULL};

    (void)state;
    memset(args, ' ', GR_ARGS_BYTES_MAX + 1);
    args[GR_ARGS_BYTES_MAX + 1] = 0;
    assert_int_equal(gr_spawn("absent", "answer", NULL, NULL), -ENOENT);
    assert_int_equal(gr_spawn("main", "absent", NULL, NULL), -ESRCH);
    assert_int_equal(gr_spawn("main", "answer", args, NULL), -E2BIG);
    assert_int_equal(gr_spawn("main", "answer", NULL, bad_label), -EINVAL);
    free(args);
    eventually_alone(0);
}

/* ---- The living and the dead ----------------------------------------------------------------------- */

static atomic_uint may_end, child_is_there;
static _Atomic uint64_t child_id;

static void wait_to_end(void *arg)
{
    (void)arg;
    while (!atomic_load(&may_end))
        gr_sleep_ns(100000);
}

static int bear_one(const char *args_json)
{
    (void)args_json;
    atomic_store(&child_id, gr_go(wait_to_end, NULL));
    atomic_store(&child_is_there, 1);
    wait_to_end(NULL);
    return 0;
}
GR_ENTRY("bear_one", bear_one, "has a child");

static void a_child_knows_root_parent_and_module(void **state)
{
    uint64_t id;
    struct gr_info info;

    (void)state;
    atomic_store(&may_end, 0);
    atomic_store(&child_is_there, 0);
    id = spawn("bear_one", NULL);
    eventually(word_is_set, &child_is_there, "the child is there");
    info = info_of(child_id);
    assert_int_equal(info.root, id);
    assert_int_equal(info.parent, id);
    assert_string_equal(info.module, "main");
    assert_string_equal(info.entry, "bear_one");
    atomic_store(&may_end, 1);
    eventually_dead(id);
    eventually_dead(child_id);
}

static void lists_ascend_and_can_be_paged(void **state)
{
    uint64_t id[100], page[7], after = 0, *all;
    size_t count, seen = 0, n;

    (void)state;
    atomic_store(&may_end, 0);
    for (int i = 0; i < 100; i++)
        id[i] = gr_go(wait_to_end, NULL);
    while ((n = gr_list(GR_LIST_LIVE, after, page, 7)) > 0) {
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(page[i], id[seen++]);
            after = page[i];
        }
    }
    assert_int_equal(seen, 100);
    all = gr_list_all(&count);
    assert_int_equal(count, 100);
    assert_memory_equal(all, id, sizeof id);
    free(all);
    atomic_store(&may_end, 1);
    eventually_alone(0);
    assert_int_equal(gr_list(GR_LIST_DEAD, id[0] - 1, page, 7), 7);
    assert_int_equal(page[0], id[0]);
}

static void the_long_dead_are_gone_and_the_unknown_never_were(void **state)
{
    uint64_t first = gr_go(do_nothing, NULL), last = 0;
    struct gr_info info;
    char *json;

    (void)state;
    eventually_dead(first);
    assert_int_equal(info_of(first).state, GR_DEAD);
    for (int i = 0; i < 20000; i++) {
        last = gr_go(do_nothing, NULL);
        if (i % CROWD == CROWD - 1)
            eventually_alone(0);
    }
    eventually_alone(0);
    /* By itself: of a crowd the last born may be among the first to end. */
    last = gr_go(do_nothing, NULL);
    eventually_alone(0);
    assert_int_equal(info_of(last).state, GR_DEAD);
    assert_int_equal(gr_info(first, &info), -EOWNERDEAD);
    assert_int_equal(gr_info_result(first, &json), -EOWNERDEAD);
    assert_int_equal(gr_info(last + 1, &info), -ESRCH);
    assert_int_equal(gr_info(0, &info), -ESRCH);
    assert_int_equal(gr_info(UINT64_MAX, &info), -ESRCH);
    assert_int_equal(gr_info_result(UINT64_MAX, &json), -ESRCH);
    assert_int_equal(gr_cancel(first), -EOWNERDEAD);
}

static void names_are_cut_and_large_stacks_can_be_used(void **state)
{
    char name[200];
    struct gr_go_opts opts = {.fn = wait_to_end, .name = name, .stack_bytes = 1 << 20};
    int64_t id;

    (void)state;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    atomic_store(&may_end, 0);
    id = gr_go_with(&opts);
    assert_true(id > 0);
    assert_int_equal(strlen(info_of((uint64_t)id).name), GR_NAME_MAX);
    atomic_store(&may_end, 1);
    eventually_dead((uint64_t)id);
}

/* ---- Results --------------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    bool valid;
} json_table[] = {
    {"null", true},
    {" [ 1 , -2.5e+3 , \"x\" , {\"a\" : true} , [] , {} ]\n", true},
    {"0", true},
    {"-0", true},
    {"1e9", true},
    {"\"\\u00e9\\n\\\"\\/\"", true},
    {"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"", true},
    {"\"\\ud83d\\ude00\"", true},
    {"", false},
    {" ", false},
    {"nul", false},
    {"nulll", false},
    {"True", false},
    {"01", false},
    {"+1", false},
    {"-", false},
    {"1.", false},
    {".5", false},
    {"1e", false},
    {"1 2", false},
    {"[1,]", false},
    {"[,1]", false},
    {"[1", false},
    {"]", false},
    {"{\"a\"}", false},
    {"{\"a\":}", false},
    {"{\"a\":1,}", false},
    {"{a:1}", false},
    {"{1:1}", false},
    {"'x'", false},
    {"\"", false},
    {"\"\\x\"", false},
    {"\"\\u12g4\"", false},
    {"\"a\nb\"", false},
    {"\"a\tb\"", false},
    {"\"\x80\"", false},
    {"\"\xff\"", false},
    {"\"\xc3\"", false},
    {"\"\xc0\xaf\"", false},         /* overlong */
    {"\"\xe0\x80\xaf\"", false},     /* overlong */
    {"\"\xf0\x80\x80\xaf\"", false}, /* overlong */
    {"\"\xed\xa0\x80\"", false},     /* a surrogate */
    {"\"\xf4\x90\x80\x80\"", false}, /* above U+10FFFF */
    {"\"\\ud83d\"", false},          /* half a pair */
    {"\"\\ude00\"", false},
    {"// comment\n1", false},
    {"NaN", false},
    {"\xef\xbb\xbf"
     "1",
     false},
};

static void report_json(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof json_table / sizeof json_table[0]; i++) {
        int expected = json_table[i].valid ? 0 : -EINVAL;

        if (gr_result(json_table[i].text) != expected)
            fault_at(json_table[i].valid ? "valid JSON is refused" : "invalid JSON is taken",
                     (int)i, json_table[i].text);
    }
    CHECK(gr_result(NULL) == -EINVAL);
}

static void a_result_has_to_be_json(void **state)
{
    (void)state;
    assert_int_equal(gr_result("1"), -EPERM);
    eventually_dead(gr_go(report_json, NULL));
    expect_no_faults();
}

static void report_long(void *arg)
{
    char *text = malloc(GR_RESULT_BYTES_MAX + 2);
    char deep[2 * 2000 + 1];

    (void)arg;
    memset(text, ' ', GR_RESULT_BYTES_MAX + 1);
    text[0] = '1';
    text[GR_RESULT_BYTES_MAX + 1] = 0;
    CHECK(gr_result(text) == -E2BIG);
    text[GR_RESULT_BYTES_MAX] = 0;
    CHECK(gr_result(text) == 0);
    free(text);
    memset(deep, '[', 2000);
    memset(deep + 2000, ']', 2000);
    deep[4000] = 0;
    CHECK(gr_result(deep) == -EINVAL);
    CHECK(gr_result("[[[[[[[[[[[[[[[[[[[[7]]]]]]]]]]]]]]]]]]]]") == 0);
}

static void a_result_has_a_greatest_size_and_depth(void **state)
{
    uint64_t id = gr_go(report_long, NULL);
    char *json;

    (void)state;
    eventually_dead(id);
    expect_no_faults();
    assert_int_equal(gr_info_result(id, &json), 0);
    assert_string_equal(json, "[[[[[[[[[[[[[[[[[[[[7]]]]]]]]]]]]]]]]]]]]");
    free(json);
}

/* ---- Labels ---------------------------------------------------------------------------------------- */

static const char *label_of(const struct gr_info *info, const char *key)
{
    for (size_t i = 0; i < info->label_count; i++) {
        if (strcmp(info->label[i].key, key) == 0)
            return info->label[i].value;
    }
    return NULL;
}

static void label_myself(void *arg)
{
    char key[GR_LABEL_KEY_MAX + 2], value[GR_LABEL_VALUE_MAX + 2];

    (void)arg;
    memset(key, 'k', sizeof key);
    key[GR_LABEL_KEY_MAX + 1] = 0;
    memset(value, 'v', sizeof value);
    value[GR_LABEL_VALUE_MAX + 1] = 0;
    CHECK(gr_label(key, "x") == -EINVAL);
    key[GR_LABEL_KEY_MAX] = 0;
    CHECK(gr_label(key, value) == -EINVAL);
    value[GR_LABEL_VALUE_MAX] = 0;
    CHECK(gr_label(key, value) == 0);
    CHECK(gr_label("", "x") == -EINVAL);
    CHECK(gr_label(NULL, "x") == -EINVAL);
    CHECK(gr_label("a b", "x") == -EINVAL);
    CHECK(gr_label("a/b", "x") == -EINVAL);
    CHECK(gr_label("A.b_c-9", "") == 0);
    for (int i = 2; i < GR_LABELS_MAX; i++) {
        snprintf(key, sizeof key, "n%d", i);
        CHECK(gr_label(key, "first") == 0);
    }
    CHECK(gr_label("one.more", "x") == -ENOSPC);
    CHECK(gr_label("n2", "second") == 0);
    CHECK(gr_label("n3", NULL) == 0);
    CHECK(gr_label("absent", NULL) == 0);
    CHECK(gr_label("one.more", "x") == 0);
    atomic_store(&child_id, gr_go(wait_to_end, NULL));
    CHECK(gr_label("n2", "third") == 0);
    atomic_store(&child_is_there, 1);
    wait_to_end(NULL);
}

static void labels_keep_to_their_limits_and_are_inherited(void **state)
{
    static const char *const labels[] = {"given", "at birth", NULL};
    struct gr_go_opts opts = {.fn = wait_to_end, .labels = labels};
    struct gr_info info;
    uint64_t id;
    int64_t labelled;

    (void)state;
    assert_int_equal(gr_label("a", "b"), -EPERM);
    atomic_store(&may_end, 0);
    atomic_store(&child_is_there, 0);
    id = gr_go(label_myself, NULL);
    labelled = gr_go_with(&opts);
    assert_true(labelled > 0);
    eventually(word_is_set, &child_is_there, "the child is there");
    expect_no_faults();
    info = info_of(id);
    assert_int_equal(info.label_count, GR_LABELS_MAX);
    assert_string_equal(label_of(&info, "n2"), "third");
    assert_null(label_of(&info, "n3"));
    info = info_of(child_id);
    assert_int_equal(info.label_count, GR_LABELS_MAX);
    assert_string_equal(label_of(&info, "n2"), "second");
    info = info_of((uint64_t)labelled);
    assert_int_equal(info.label_count, 1);
    assert_string_equal(label_of(&info, "given"), "at birth");
    atomic_store(&may_end, 1);
    eventually_alone(0);
    info = info_of(id);
    assert_string_equal(label_of(&info, "n2"), "third");
}

/* ---- Logs ------------------------------------------------------------------------------------------ */

static int log_few(const char *args_json)
{
    (void)args_json;
    CHECK(gr_log("line %d", 1) == 0);
    CHECK(gr_log("ends itself\n") == 0);
    return 0;
}
GR_ENTRY("log_few", log_few, "logs");

static void lines_can_be_read_on_from_where_one_was(void **state)
{
    uint64_t id = spawn("log_few", NULL), from = 0, lost = 9;
    char text[100];
    ssize_t n;

    (void)state;
    eventually_dead(id);
    n = gr_log_read(id, &from, text, 4, &lost);
    assert_int_equal(n, 4);
    n += gr_log_read(id, &from, text + 4, sizeof text - 4, &lost);
    assert_int_equal(n, strlen("line 1\nends itself\n"));
    assert_memory_equal(text, "line 1\nends itself\n", (size_t)n);
    assert_int_equal(from, n);
    assert_int_equal(lost, 0);
    assert_int_equal(gr_log_read(id, &from, text, sizeof text, &lost), 0);
    from = UINT64_MAX;
    assert_int_equal(gr_log_read(id, &from, text, sizeof text, &lost), 0);
    assert_int_equal(from, n);
    assert_int_equal(gr_log_read(UINT64_MAX, &from, text, sizeof text, &lost), -ESRCH);
    expect_no_faults();
}

#define WRITERS 4

static atomic_uint writers_ready;

static void write_a_first_line(void *arg)
{
    (void)arg;
    atomic_fetch_add(&writers_ready, 1);
    while (atomic_load(&writers_ready) < WRITERS)
        gr_yield();
    CHECK(gr_log("one of them") == 0);
}

static int log_together(const char *args_json)
{
    (void)args_json;
    for (int i = 0; i < WRITERS; i++)
        gr_go(write_a_first_line, NULL);
    return 0;
}
GR_ENTRY("log_together", log_together, "logs, by its children");

static void children_may_write_the_first_line_at_once(void **state)
{
    char text[20 * WRITERS];

    (void)state;
    for (int round = 0; round < 100; round++) {
        atomic_store(&writers_ready, 0);
        uint64_t id = spawn("log_together", NULL), from = 0, lost;
        eventually_alone(0);
        assert_int_equal(gr_log_read(id, &from, text, sizeof text, &lost),
                         WRITERS * strlen("one of them\n"));
        assert_int_equal(lost, 0);
    }
}

#define LOG_LINES 5000

static int log_many(const char *args_json)
{
    char longest[GR_LOG_LINE_MAX + 500];

    (void)args_json;
    for (int i = 0; i < LOG_LINES; i++)
        gr_log("number %06d of many lines", i);
    memset(longest, 'z', sizeof longest);
    longest[sizeof longest - 1] = 0;
    gr_log("%s", longest);
    return 0;
}
GR_ENTRY("log_many", log_many, "logs much");

static void of_too_much_the_last_lines_are_kept_and_the_loss_is_told(void **state)
{
    enum { LINE = sizeof "number 000000 of many lines" };
    uint64_t id = spawn("log_many", NULL), from = 0, lost = 0, written;
    char *text = malloc(1 << 20), last[LINE + 1];
    ssize_t n;

    (void)state;
    eventually_dead(id);
    n = gr_log_read(id, &from, text, 1 << 20, &lost);
    written = (uint64_t)LOG_LINES * LINE + GR_LOG_LINE_MAX;
    assert_int_equal(from, written);
    assert_int_equal(lost + (uint64_t)n, written);
    assert_true(lost > 0 && n >= 32768);
    snprintf(last, sizeof last, "number %06d of many lines\n", LOG_LINES - 1);
    assert_memory_equal(text + n - GR_LOG_LINE_MAX - LINE, last, LINE);
    assert_memory_equal(text + n - 2, "z\n", 2);
    free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goroutine_runs_exactly_once),
        cmocka_unit_test(ids_grow_and_are_never_used_again),
        cmocka_unit_test(impossible_births_are_refused),
        cmocka_unit_test(what_a_root_leaves_can_be_read_after_its_end),
        cmocka_unit_test(impossible_spawns_are_refused),
        cmocka_unit_test(a_child_knows_root_parent_and_module),
        cmocka_unit_test(lists_ascend_and_can_be_paged),
        cmocka_unit_test(the_long_dead_are_gone_and_the_unknown_never_were),
        cmocka_unit_test(names_are_cut_and_large_stacks_can_be_used),
        cmocka_unit_test(a_result_has_to_be_json),
        cmocka_unit_test(a_result_has_a_greatest_size_and_depth),
        cmocka_unit_test(labels_keep_to_their_limits_and_are_inherited),
        cmocka_unit_test(lines_can_be_read_on_from_where_one_was),
        cmocka_unit_test(children_may_write_the_first_line_at_once),
        cmocka_unit_test(of_too_much_the_last_lines_are_kept_and_the_loss_is_told),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
