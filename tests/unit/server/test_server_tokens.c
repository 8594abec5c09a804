/*
 * test_server_tokens.c: the token file.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokens.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

#define HEX2 "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static char path[64];

static int make_path(void **state)
{
    strcpy(path, "/tmp/grasp-token-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return fd < 0;
}

static int remove_path(void **state)
{
    unlink(path);
    return 0;
}

static int load(struct srv_tokens *tokens, const char *text, char *err)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    *tokens = (struct srv_tokens){0};
    return srv_tokens_load(tokens, path, err, 512);
}

static void a_bare_token_has_all_scopes(void **state)
{
    struct srv_tokens tokens;
    char err[512];
    assert_int_equal(load(&tokens, HEX "\n", err), 0);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.items[0].scopes, API_SCOPE_ALL);
    assert_int_equal(tokens.items[0].secret[31], 0x1f);
    free(tokens.items);
}

static void names_and_scopes_are_read(void **state)
{
    struct srv_tokens tokens;
    char err[512];
    assert_int_equal(
        load(&tokens, "# who\nops read,control " HEX "\n\nprom\tread\t" HEX2 " # p\n", err), 0);
    assert_int_equal(tokens.count, 2);
    assert_string_equal(tokens.items[0].name, "ops");
    assert_int_equal(tokens.items[0].scopes, API_SCOPE_READ | API_SCOPE_CONTROL);
    assert_int_equal(tokens.items[1].scopes, API_SCOPE_READ);
    free(tokens.items);
}

static void wrong_lines_are_refused_with_their_number(void **state)
{
    static const char *const rows[] = {
        "abc\n",        HEX "0\n", "a " HEX "\n", "a write " HEX "\n", "a read b " HEX "\n",
        "a , " HEX "\n"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct srv_tokens tokens;
        char err[512] = "";
        assert_int_not_equal(load(&tokens, rows[i], err), 0);
        assert_non_null(strstr(err, "line 1"));
        free(tokens.items);
    }
}

static void a_name_is_one_principal_with_the_same_scopes(void **state)
{
    struct srv_tokens tokens;
    char err[512] = "";
    assert_int_equal(load(&tokens, "ops read " HEX "\nops read " HEX2 "\n", err), 0);
    assert_int_equal(tokens.count, 2);
    free(tokens.items);
    assert_int_equal(load(&tokens, "# who\nops read " HEX "\nops read,load " HEX2 "\n", err), -EINVAL);
    assert_non_null(strstr(err, "line 3"));
    assert_non_null(strstr(err, "other scopes"));
    free(tokens.items);
}

static void a_token_stands_there_once(void **state)
{
    struct srv_tokens tokens;
    char err[512] = "";
    assert_int_equal(load(&tokens, "ops read " HEX "\n\nadm load " HEX "\n", err), -EINVAL);
    assert_non_null(strstr(err, "line 3"));
    assert_non_null(strstr(err, "already"));
    free(tokens.items);
}

/* Nobody writes into the pipe: who opened it as a file would wait for ever. */
static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    struct srv_tokens tokens = {0};
    char err[512] = "";
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(srv_tokens_load(&tokens, path, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "no regular file"));
    assert_int_equal(srv_tokens_load(&tokens, "/tmp", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "no regular file"));
}

static void the_rest_of_a_long_comment_is_no_token(void **state)
{
    char err[512] = "", text[1200];
    struct srv_tokens tokens;
    for (int before = 400; before < 600; before++) {
        snprintf(text, sizeof text, "#%0*d" HEX "\nops read " HEX "\n", before, 0);
        assert_int_equal(load(&tokens, text, err), 0);
        assert_int_equal(tokens.count, 1);
        assert_string_equal(tokens.items[0].name, "ops");
        free(tokens.items);
    }
}

static void a_file_that_others_can_read_is_refused(void **state)
{
    struct srv_tokens tokens = {0};
    char err[512] = "";
    assert_int_equal(load(&tokens, HEX "\n", err), 0);
    free(tokens.items);
    tokens = (struct srv_tokens){0};
    chmod(path, 0640);
    assert_int_not_equal(srv_tokens_load(&tokens, path, err, sizeof err), 0);
    assert_non_null(strstr(err, "chmod 600"));
}

static void an_empty_file_is_refused(void **state)
{
    struct srv_tokens tokens;
    char err[512] = "";
    assert_int_not_equal(load(&tokens, "# nobody\n", err), 0);
    assert_non_null(strstr(err, "no token"));
}

static void an_absent_file_is_made_for_us_alone(void **state)
{
    struct srv_tokens made = {0}, read = {0};
    char err[512] = "";
    struct stat st;
    unlink(path);
    assert_int_equal(srv_tokens_load(&made, path, err, sizeof err), -ENOENT);
    assert_int_equal(srv_tokens_make_file(&made, path, err, sizeof err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(srv_tokens_load(&read, path, err, sizeof err), 0);
    assert_memory_equal(made.items[0].secret, read.items[0].secret, API_TOKEN_BYTES);
    free(made.items);
    free(read.items);
}

static void a_file_that_cannot_be_made_says_why(void **state)
{
    char err[512] = "";
    struct srv_tokens tokens = {0};
    assert_int_equal(srv_tokens_make_file(&tokens, "/nonexistent/tokens", err, sizeof err), -ENOENT);
    assert_non_null(strstr(err, "No such file"));
    free(tokens.items);
}

static void a_file_that_cannot_be_written_does_not_stay(void **state)
{
    char err[512] = "";
    struct srv_tokens tokens = {0};
    struct rlimit all, some;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    some = (struct rlimit){.rlim_cur = 10, .rlim_max = all.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    unlink(path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
    int result = srv_tokens_make_file(&tokens, path, err, sizeof err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_int_equal(result, -ENOSPC);
    assert_int_equal(access(path, F_OK), -1);
    free(tokens.items);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_path, remove_path)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_bare_token_has_all_scopes),
        CASE(names_and_scopes_are_read),
        CASE(wrong_lines_are_refused_with_their_number),
        CASE(a_name_is_one_principal_with_the_same_scopes),
        CASE(a_token_stands_there_once),
        CASE(what_is_no_regular_file_is_refused_at_once),
        CASE(the_rest_of_a_long_comment_is_no_token),
        CASE(a_file_that_others_can_read_is_refused),
        CASE(an_empty_file_is_refused),
        CASE(an_absent_file_is_made_for_us_alone),
        CASE(a_file_that_cannot_be_made_says_why),
        CASE(a_file_that_cannot_be_written_does_not_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
