/*
 * strange.h: what the files of the module strange have in common.
 */
#ifndef STRANGE_H
#define STRANGE_H

#include "sorts.h"

/* Of strange_kernel.c; each is one round of a sort. */
void pipes_to_programs(unsigned *seed);
void programs(unsigned *seed);
void threads(unsigned *seed);
void libraries(unsigned *seed);
void conditions(unsigned *seed);
void kinds_of_mutex(unsigned *seed);
void barriers(unsigned *seed);
void channels(unsigned *seed);
void event_sets(unsigned *seed);
void selects(unsigned *seed);
void sent_descriptors(unsigned *seed);
void accepted(unsigned *seed);

#endif
