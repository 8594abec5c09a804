/*
 * canary.h: what test_canaries.c needs of an architecture: a state that fills every register, a way
 * to hold it in the registers for a while, and a comparison. One folder for each architecture
 * implements it.
 */
#ifndef GRASP_TESTS_CANARY_H
#define GRASP_TESTS_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct canary;

/* The widest vectors that this processor has, or only those that `vectors` ("fxsave": none beyond
 * SSE) can save. */
void canary_init(const char *vectors);
const char *canary_width(void);

struct canary *canary_create(void);
void canary_destroy(struct canary *canary);
/* One round: new random contents, held in the registers for a while. NULL, or what was not as
 * before. */
const char *canary_round(struct canary *canary, uint64_t *random);

#endif
