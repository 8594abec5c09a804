/*
 * swap.h: what the tests that unload and replace modules share: builds of module_swap.c put at one
 * path as an installer would, and looks at what is mapped.
 */
#ifndef GRASP_TESTS_SWAP_H
#define GRASP_TESTS_SWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A directory of its own, removed by swap_fini. Returns the path at which builds are put. */
const char *swap_init(void);
void swap_fini(void);
/* The path of a copy of loader_early.so, which may be touched: the build's own is others' as well. */
const char *swap_early(void);
/* Puts build `number` there under a new inode, by rename. */
void swap_install(int number);
/* Writes it over what is there. */
void swap_overwrite(int number);
/* In how many places code of the path is mapped. */
unsigned swap_mapped(void);
/* Polls until `wanted` are; false: not within a minute. */
bool swap_eventually_mapped(unsigned wanted);
/* Ends the process with a message if the condition is false: for threads that cmocka does not know. */
void swap_check(bool good, const char *what);

#endif
