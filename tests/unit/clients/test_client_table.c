/*
 * test_client_table.c: tables fit, whatever is in them, and nothing in them reaches the terminal's ears.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "table.h"

static const struct table_column columns[] = {{"ID", true, 0, 0, false},
                                              {"NAME", false, 6, 3, false},
                                              {"STATE", false, 0, 2, false},
                                              {"PLACE", false, 8, 5, false},
                                              {"EXTRA", false, 0, 1, true}};

static char *render(unsigned width, bool color, const char *name, const char *place)
{
    struct http_buf out = {0};
    struct table *table = table_create(columns, 5);
    table_cell(table, TABLE_PLAIN, "1");
    table_cell(table, TABLE_RED, name);
    table_cell(table, TABLE_PLAIN, "running");
    table_cell(table, TABLE_PLAIN, place);
    table_cell(table, TABLE_PLAIN, "wide");
    table_write(table, width, color, true, &out);
    table_destroy(table);
    return out.data;
}

static void without_a_limit_nothing_is_cut(void **state)
{
    char *text = render(0, false, "a-rather-long-name", "some/where/deep/in/the/tree.c:123");
    assert_string_equal(
        text, "ID  NAME                STATE    PLACE                              EXTRA\n"
              " 1  a-rather-long-name  running  some/where/deep/in/the/tree.c:123  wide\n");
    free(text);
}

static void the_widest_gives_way_first(void **state)
{
    char *text = render(40, false, "short", "some/where/deep/in/the/tree.c:123");
    assert_string_equal(text, "ID  NAME   STATE    PLACE\n"
                              " 1  short  running  some/where/deep/in/\xe2\x80\xa6\n");
    free(text);
}

static void the_least_important_column_leaves_when_cutting_is_not_enough(void **state)
{
    char *text = render(22, false, "a-rather-long-name", "place");
    assert_null(strstr(text, "STATE"));
    assert_non_null(strstr(text, "PLACE"));
    free(text);
}

/* Every width from nothing to plenty, with text of all kinds: no line is wider than asked. */
static void no_line_is_wider_than_asked(void **state)
{
    static const char *const names[] = {
        "", "x", "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97\xe7\xac\xa6\xe4\xb8\xb2",
        "na\xc3\xafve-caf\xc3\xa9-au-lait", "abcdefghijklmnopqrstuvwxyz"};
    if (!setlocale(LC_ALL, "C.UTF-8"))
        skip();
    for (size_t n = 0; n < 5; n++)
        for (size_t p = 0; p < 5; p++)
            for (unsigned width = 20; width < 90; width++) {
                char *text = render(width, false, names[n], names[p]);
                for (char *line = text, *end; *line; line = end + 1) {
                    end = strchr(line, '\n');
                    if (table_text_width(line, (size_t)(end - line)) > width)
                        fail_msg("width %u: \"%.*s\"", width, (int)(end - line), line);
                }
                free(text);
            }
}

static void control_characters_do_not_pass(void **state)
{
    char *text = render(0, true,
                        "a\033[2Jb\x07\nc\xc2\x9b"
                        "d\xff\xe2\x80\xae",
                        "x");
    assert_non_null(strstr(text, "\033[31ma?[2Jb??c?d??\033[0m"));
    free(text);
}

static void color_is_there_only_if_asked(void **state)
{
    char *plain = render(0, false, "n", "p"), *colored = render(0, true, "n", "p");
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(colored, "\033[31mn\033[0m"));
    free(plain);
    free(colored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_nothing_is_cut),
        cmocka_unit_test(the_widest_gives_way_first),
        cmocka_unit_test(the_least_important_column_leaves_when_cutting_is_not_enough),
        cmocka_unit_test(no_line_is_wider_than_asked),
        cmocka_unit_test(control_characters_do_not_pass),
        cmocka_unit_test(color_is_there_only_if_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
