/*
 * test_server_config.c: flags and the configuration file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

static struct srv_config config; /* of the last parse */

static int parse(char *err, char **arguments)
{
    int count = 0;
    while (arguments[count])
        count++;
    srv_config_fini(&config); /* of the parse before; all zeroes at first */
    srv_config_init(&config);
    return srv_config_parse(&config, count, arguments, err, 512);
}

static int forget(void **state)
{
    srv_config_fini(&config);
    return 0;
}

#define PARSE(...) parse(err, (char *[]){"graspd", __VA_ARGS__, NULL})

static void flags_take_their_value_in_both_forms(void **state)
{
    char err[512] = "";
    assert_int_equal(PARSE("--procs", "3", "--drain-seconds=7", "--listen", "a:1", "--listen=b:2",
                           "--async-preempt=off", "--nice=off", "--no-auth", "--unix-mode", "0660",
                           "--max-goroutines=16777216"),
                     0);
    assert_int_equal(config.procs, 3);
    assert_int_equal(config.max_goroutines, 16777216);
    assert_int_equal(config.drain_seconds, 7);
    assert_int_equal(config.listen_count, 2);
    assert_string_equal(config.listen[1], "b:2");
    assert_false(config.async_preempt);
    assert_false(config.nice);
    assert_true(config.no_auth);
    assert_int_equal(config.unix_mode, 0660);
}

static void the_runtime_gets_what_the_flags_say(void **state)
{
    struct gr_options options;
    char err[512] = "";
    assert_int_equal(PARSE("--unguarded-stacks", "--time-slice-us=500", "--async-preempt", "off"),
                     0);
    srv_config_runtime(&config, &options);
    assert_int_equal(options.stack_guard, GR_GUARD_NONE);
    assert_int_equal(options.time_slice_us, 500);
    assert_true(options.async_preempt_off);
    assert_int_equal(options.fold_after_ms, 1000);
    assert_int_equal(PARSE("--fold-after-ms", "0"), 0);
    srv_config_runtime(&config, &options);
    assert_int_equal(options.fold_after_ms, GR_FOLD_NEVER);
    assert_int_equal(PARSE("--stack-guard=mprotect"), 0);
    srv_config_runtime(&config, &options);
    assert_int_equal(options.stack_guard, GR_GUARD_MPROTECT);
}

static void wrong_flags_are_named(void **state)
{
    static const struct {
        char *arguments[4];
        const char *says;
    } rows[] = {
        {{"graspd", "--prox", "3", NULL}, "--prox"},
        {{"graspd", "hello", NULL}, "hello"},
        {{"graspd", "--procs", NULL}, "--procs needs a value"},
        {{"graspd", "--procs=0", NULL}, "--procs must be a number"},
        {{"graspd", "--procs=1.5", NULL}, "--procs must be a number"},
        {{"graspd", "--procs=-1", NULL}, "--procs must be a number"},
        {{"graspd", "--procs=9999", NULL}, "to 1024"},
        {{"graspd", "--max-goroutines=16777217", NULL}, "to 16777216"},
        {{"graspd", "--async-preempt=maybe", NULL}, "on or off"},
        {{"graspd", "--no-auth=yes", NULL}, "takes no value"},
        {{"graspd", "--unix-mode=0666", NULL}, "octal mode"},
        {{"graspd", "--unix-mode=rw", NULL}, "octal mode"},
        {{"graspd", "--stack-guard=thick", NULL}, "auto, mprotect or none"},
        {{"graspd", "--config", "/nonexistent/file", NULL},
         "unable to open /nonexistent/file: No such file or directory"},
        {{"graspd", "--allow-host=*", NULL}, "--allow-host \"*\""},
        {{"graspd", "--allow-host=box:80", NULL}, "without port"},
        {{"graspd", "--allow-host=two words", NULL}, "whole name"},
        {{"graspd", "--allow-host=::1", NULL}, "[IPv6]"},
        {{"graspd", "--allow-host=[]", NULL}, "[IPv6]"},
        {{"graspd", "--allow-host=[::1]:80", NULL}, "without port"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char err[512] = "";
        int result = parse(err, (char **)rows[i].arguments);
        if (result == 0 || !strstr(err, rows[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].arguments[1], err, rows[i].says);
    }
}

static void hosts_of_each_kind_are_taken(void **state)
{
    char err[512] = "";
    assert_int_equal(PARSE("--allow-host=my-box.example_1.org", "--allow-host=10.0.0.7",
                           "--allow-host=[2001:DB8::7]"),
                     0);
    assert_int_equal(config.allow_host_count, 3);
}

static char *write_file(const char *text)
{
    static char path[64];
    strcpy(path, "/tmp/grasp-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void a_flag_beats_the_file(void **state)
{
    char err[512] = "";
    char *path = write_file("{\"procs\":2,\"drain-seconds\":3,\"listen\":[\"a:1\"],\"nice\":false,"
                            "\"no-auth\":true,\"unix-mode\":\"0660\"}");
    assert_int_equal(PARSE("--procs=5", "--config", path, "--listen=b:2"), 0);
    assert_int_equal(config.procs, 5);
    assert_int_equal(config.drain_seconds, 3);
    assert_int_equal(config.listen_count, 2);
    assert_false(config.nice);
    assert_true(config.no_auth);
    assert_int_equal(config.unix_mode, 0660);
    unlink(path);
}

static void wrong_files_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"[]", "JSON object"},
        {"{\"procs\":", "line 1"},
        {"{\"prox\":1}", "prox"},
        {"{\"procs\":\"many\"}", "procs"},
        {"{\"procs\":0}", "procs"},
        {"{\"listen\":[1]}", "listen"},
        {"{\"procs\":1,\"procs\":2}", "line 1"},
        {"{\"no-auth\":\"false\"}", "\"no-auth\" must be true or false, without quotes"},
        {"{\"allow-remote\":\"off\"}", "must be true or false"},
        {"{\"unguarded-stacks\":0}", "must be true or false"},
        {"{\"procs\":1.5}", "\"procs\" must be a whole number"},
        {"{\"unix\":5}", "must be text in quotes"},
        {"{\"unix-mode\":600}", "must be octal digits in quotes"},
        {"{\"nice\":1}", "must be \"on\" or \"off\""},
        {"{\"allow-host\":[5]}", "or an array of such"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char err[512] = "";
        char *path = write_file(rows[i][0]);
        assert_int_not_equal(PARSE("--config", path), 0);
        if (!strstr(err, rows[i][1]))
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i][0], err, rows[i][1]);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_take_their_value_in_both_forms),
        cmocka_unit_test(the_runtime_gets_what_the_flags_say),
        cmocka_unit_test(wrong_flags_are_named),
        cmocka_unit_test(hosts_of_each_kind_are_taken),
        cmocka_unit_test(a_flag_beats_the_file),
        cmocka_unit_test(wrong_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
