/*
 * test_client_top.c: the rows of `grasp top`: shares, order, filters, and the mark that stays where it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "top_rows.h"

static void add(struct top_rows *rows, int id, const char *state, int cpu_ms, const char *name)
{
    json_t *g = json_pack("{s:i,s:s,s:I,s:s,s:{s:s},s:b}", "id", id, "state", state, "cpu_ns",
                          (json_int_t)cpu_ms * 1000000, "name", name, "labels", "team",
                          id % 2 ? "red" : "blue", "suspended", id == 3);
    assert_non_null(g);
    top_rows_add(rows, g);
    json_decref(g);
}

/* Two looks, a second apart; 4 is new in the second, 5 has left. */
static void fill(struct top_rows *rows)
{
    top_rows_init(rows);
    top_rows_begin(rows);
    add(rows, 1, "running", 0, "alpha");
    add(rows, 2, "waiting", 5000, "beta");
    add(rows, 3, "preempted", 100, "gamma");
    add(rows, 5, "running", 0, "gone");
    top_rows_end(rows, 1000000000);
    top_rows_begin(rows);
    add(rows, 1, "running", 900, "alpha");
    add(rows, 2, "waiting", 5000, "beta");
    add(rows, 3, "preempted", 350, "gamma");
    add(rows, 4, "running", 2000, "delta");
    top_rows_end(rows, 2000000000);
}

static uint64_t id_at(const struct top_rows *rows, size_t at)
{
    double percent;
    return top_rows_get(rows, at, &percent)->id;
}

static void the_share_is_what_was_used_between_two_looks(void **state)
{
    struct top_rows rows;
    double percent;
    fill(&rows);
    assert_int_equal(rows.shown, 4);
    assert_int_equal(id_at(&rows, 0), 1);
    top_rows_get(&rows, 0, &percent);
    assert_true(percent > 89.9 && percent < 90.1);
    assert_int_equal(id_at(&rows, 1), 3);
    /* Equal ones stand in the order of ids; a new one has no share yet. */
    assert_int_equal(id_at(&rows, 2), 2);
    assert_int_equal(id_at(&rows, 3), 4);
    top_rows_get(&rows, 3, &percent);
    assert_true(percent == 0);
    top_rows_fini(&rows);
}

static void every_order_has_all_rows_and_reverses(void **state)
{
    static const uint64_t first[TOP_SORTS] = {1, 1, 2, 1, 3, 1, 1};
    struct top_rows rows;
    fill(&rows);
    for (int sort = 0; sort < TOP_SORTS; sort++) {
        rows.sort = (enum top_sort)sort;
        rows.reverse = false;
        top_rows_arrange(&rows);
        assert_int_equal(rows.shown, 4);
        assert_int_equal(id_at(&rows, 0), first[sort]);
        rows.reverse = true;
        top_rows_arrange(&rows);
        assert_int_equal(id_at(&rows, 3), first[sort]);
    }
    top_rows_fini(&rows);
}

static void filters_look_at_names_labels_ids_and_states(void **state)
{
    static const struct {
        const char *filter, *state;
        size_t shown;
    } rows_of[] = {{"ALPHA", NULL, 1},     {"team=red", NULL, 2}, {"4", NULL, 1},
                   {"running", NULL, 2},   {"", "waiting", 1},    {"", "suspended", 1},
                   {"blue", "running", 1}, {"nothing", NULL, 0}};
    struct top_rows rows;
    fill(&rows);
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++) {
        strcpy(rows.filter, rows_of[i].filter);
        rows.state = rows_of[i].state;
        top_rows_arrange(&rows);
        if (rows.shown != rows_of[i].shown)
            fail_msg("\"%s\" %s: %zu shown", rows.filter, rows.state ? rows.state : "-",
                     rows.shown);
    }
    assert_int_equal(rows.marked, 0);
    top_rows_move(&rows, 5);
    assert_int_equal(rows.at, 0);
    top_rows_fini(&rows);
}

static void the_mark_stays_on_its_goroutine(void **state)
{
    struct top_rows rows;
    fill(&rows);
    top_rows_move(&rows, 1);
    assert_int_equal(rows.marked, 3);
    rows.sort = TOP_ID;
    top_rows_arrange(&rows);
    assert_int_equal(rows.marked, 3);
    assert_int_equal(rows.at, 2);
    top_rows_move(&rows, 100);
    assert_int_equal(rows.marked, 4);
    top_rows_move(&rows, -100);
    assert_int_equal(rows.marked, 1);
    /* Gone: the mark falls to whoever stands there now. */
    top_rows_begin(&rows);
    add(&rows, 2, "waiting", 5000, "beta");
    top_rows_end(&rows, 3000000000);
    assert_int_equal(rows.marked, 2);
    top_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_share_is_what_was_used_between_two_looks),
        cmocka_unit_test(every_order_has_all_rows_and_reverses),
        cmocka_unit_test(filters_look_at_names_labels_ids_and_states),
        cmocka_unit_test(the_mark_stays_on_its_goroutine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
