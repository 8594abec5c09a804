/*
 * test_client_options.c: the command line is understood as the table says, and refused with a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli.h"

#define ALL_OPTIONS (~UINT64_C(0))

static char err[512];

/* Parses words up to NULL; what cli_options_parse says. */
static int parse(struct cli_options *options, uint64_t taken, bool stop, char **args, size_t *count,
                 char *const *words)
{
    int argc = 0;
    while (words[argc])
        argc++;
    cli_options_init(options);
    *err = 0;
    return cli_options_parse(options, taken, argc, words, stop, args, count, err, sizeof err);
}

static void values_come_attached_or_behind_and_operands_in_between(void **state)
{
    char *words[] = {"7",       "--selector=a=b", "-o",      "json",   "8",
                     "--lease", "1500ms",         "-Lx=1",   "-L",     "y=2",
                     "-a",      "--root=12",      "--count", "100000", NULL};
    struct cli_options options;
    char *args[16];
    size_t count;
    assert_int_equal(parse(&options, ALL_OPTIONS, false, args, &count, words), 14);
    assert_int_equal(count, 2);
    assert_string_equal(args[0], "7");
    assert_string_equal(args[1], "8");
    assert_string_equal(options.selector, "a=b");
    assert_string_equal(options.output, "json");
    assert_int_equal(options.lease_ms, 1500);
    assert_int_equal(options.labels.count, 2);
    assert_string_equal(options.labels.items[1], "y=2");
    assert_true(options.all);
    assert_int_equal(options.root, 12);
    assert_int_equal(options.count, 100000);
    assert_true(options.timeout_ms == CLI_UNSET);
    cli_options_fini(&options);
}

static void two_hyphens_end_the_options(void **state)
{
    char *words[] = {"5", "--", "ls", "-l", NULL};
    struct cli_options options;
    char *args[8];
    size_t count;
    assert_int_equal(parse(&options, ALL_OPTIONS, false, args, &count, words), 2);
    assert_int_equal(count, 1);
    cli_options_fini(&options);
}

static void flags_may_be_joined_and_the_last_takes_the_value(void **state)
{
    char *words[] = {"-afo", "wide", NULL};
    struct cli_options options;
    char *args[8];
    size_t count;
    assert_int_equal(parse(&options, ALL_OPTIONS, false, args, &count, words), 2);
    assert_true(options.all && options.follow);
    assert_string_equal(options.output, "wide");
    cli_options_fini(&options);
}

static void the_first_operand_stops_if_asked(void **state)
{
    char *words[] = {"-ojson", "ps", "-a", NULL};
    struct cli_options options;
    char *args[8];
    size_t count;
    assert_int_equal(parse(&options, ALL_OPTIONS, true, args, &count, words), 1);
    assert_false(options.all);
    cli_options_fini(&options);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        char *word, *says;
    } rows[] = {{"--frob", "there is no option --frob"},
                {"-9", "there is no option -9"},
                {"--lease", "--lease needs a value: TIME"},
                {"-l", "-l needs a value: SELECTOR"},
                {"--all=1", "--all takes no value"},
                {"--lease=30", "not \"30\""},
                {"--lease=99ms", "from 100ms to 1h,"},
                {"--lease=3600001ms", "from 100ms to 1h,"},
                {"--timeout=61s", "from 0s to 1m,"},
                {"--root=0", "from 1 to"},
                {"--root=9007199254740992", "from 1 to 9007199254740991"},
                {"--root=-1", "must be a number"},
                {"--count=5x", "must be a number"},
                {"--time-slice-us=99", "from 100 to 10000000"}, /* as the daemon */
                {"--delete", "--delete has no meaning here"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *words[] = {rows[i].word, NULL}, *args[4];
        struct cli_options options;
        size_t count;
        assert_int_equal(
            parse(&options, ALL_OPTIONS & ~CLI_BIT(DELETE), false, args, &count, words), -22);
        if (!strstr(err, rows[i].says))
            fail_msg("%s: said \"%s\", not \"%s\"", rows[i].word, err, rows[i].says);
        cli_options_fini(&options);
    }
}

static void durations_have_units(void **state)
{
    uint64_t ms;
    assert_true(cli_parse_duration("0s", &ms) && ms == 0);
    assert_true(cli_parse_duration("250ms", &ms) && ms == 250);
    assert_true(cli_parse_duration("1.5s", &ms) && ms == 1500);
    assert_true(cli_parse_duration("2m", &ms) && ms == 120000);
    assert_true(cli_parse_duration("1h", &ms) && ms == 3600000);
    assert_false(cli_parse_duration("5", &ms));
    assert_false(cli_parse_duration("5 s", &ms));
    assert_false(cli_parse_duration("-5s", &ms));
    assert_false(cli_parse_duration("", &ms));
    assert_false(cli_parse_duration("99999999999h", &ms));
}

static void names_and_letters_of_options_and_commands_are_unique(void **state)
{
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++)
        for (size_t k = 0; k < i; k++) {
            const struct cli_option *a = &cli_option_table[i], *b = &cli_option_table[k];
            assert_string_not_equal(a->name, b->name);
            assert_true(!a->letter || a->letter != b->letter);
        }
    for (size_t i = 0; i < cli_command_count; i++) {
        assert_ptr_equal(cli_command_find(cli_commands[i].name), &cli_commands[i]);
        assert_true(cli_commands[i].options & CLI_BIT(HELP));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_attached_or_behind_and_operands_in_between),
        cmocka_unit_test(two_hyphens_end_the_options),
        cmocka_unit_test(flags_may_be_joined_and_the_last_takes_the_value),
        cmocka_unit_test(the_first_operand_stops_if_asked),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(names_and_letters_of_options_and_commands_are_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
