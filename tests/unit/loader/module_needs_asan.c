/*
 * module_needs_asan.c: a module that is built with AddressSanitizer, without a semicolon behind GR_ENTRY.
 */
#include <stdlib.h>

#include <grasp/goroutine.h>

static int number(const char *args)
{
    return atoi(args);
}
GR_ENTRY("number", number, "returns its argument")
