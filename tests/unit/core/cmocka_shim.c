/*
 * cmocka_shim.c: cmocka for programs whose goroutines must be free to change threads.
 *
 * libcmocka has thread-local variables, and a program that needs such a library has its goroutines wired, each
 * to a thread of its own (docs/caveats.md). These tests use cmocka on the main thread only. So they
 * link this library, which loads cmocka at run time and hands on the few calls that they make.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void *find(const char *name)
{
    static void *library;
    void *symbol;

    if (!library)
        library = dlopen(CMOCKA_PATH, RTLD_NOW | RTLD_LOCAL);
    symbol = library ? dlsym(library, name) : NULL;
    if (!symbol) {
        fprintf(stderr, "cmocka (%s) has no %s: %s\n", CMOCKA_PATH, name, dlerror());
        exit(2);
    }
    return symbol;
}

/* The function of cmocka that has this function's type and name. */
#define CMOCKA(function) ((__typeof__(&function))find(#function))

void _assert_true(const LargestIntegralType result, const char *const expression,
                  const char *const file, const int line)
{
    if (!result)
        CMOCKA(_assert_true)(result, expression, file, line);
}

void _assert_int_equal(const LargestIntegralType a, const LargestIntegralType b,
                       const char *const file, const int line)
{
    if (a != b)
        CMOCKA(_assert_int_equal)(a, b, file, line);
}

void _assert_int_not_equal(const LargestIntegralType a, const LargestIntegralType b,
                           const char *const file, const int line)
{
    if (a == b)
        CMOCKA(_assert_int_not_equal)(a, b, file, line);
}

void _assert_string_equal(const char *const a, const char *const b, const char *const file,
                          const int line)
{
    CMOCKA(_assert_string_equal)(a, b, file, line);
}

void _assert_memory_equal(const void *const a, const void *const b, const size_t size,
                          const char *const file, const int line)
{
    CMOCKA(_assert_memory_equal)(a, b, size, file, line);
}

void _fail(const char *const file, const int line)
{
    CMOCKA(_fail)(file, line);
}

void print_message(const char *const format, ...)
{
    va_list args;

    va_start(args, format);
    CMOCKA(vprint_message)(format, args);
    va_end(args);
}

void print_error(const char *const format, ...)
{
    va_list args;

    va_start(args, format);
    CMOCKA(vprint_error)(format, args);
    va_end(args);
}

void cmocka_set_test_filter(const char *pattern)
{
    CMOCKA(cmocka_set_test_filter)(pattern);
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown)
{
    return CMOCKA(_cmocka_run_group_tests)(group_name, tests, num_tests, group_setup,
                                           group_teardown);
}
