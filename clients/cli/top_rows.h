/*
 * top_rows.h: what `grasp top` shows, without a screen: rows, their order, what is filtered away.
 *
 * Two looks at the list make the share of a processor that each goroutine had in between. The list comes
 * in the order of ids, so the earlier look is found by halving.
 *
 * Of a hundred thousand goroutines the list is 45 MB of JSON, and ten times that as jansson's objects. So a row keeps what is
 * shown, and its texts, most of which are the same in thousands of rows, are kept once.
 *
 *   I1  `at` of the view follows the goroutine that is marked when the order changes.
 */
#ifndef CLI_TOP_ROWS_H
#define CLI_TOP_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum top_sort { TOP_CPU, TOP_ID, TOP_TOTAL, TOP_WAIT, TOP_STATE, TOP_HOLDS, TOP_NAME, TOP_SORTS };

/* Texts are never NULL, and live until the next look begins: of the look before it only numbers are read. */
struct top_row {
    uint64_t id, cpu_ns, wait_ns, holds;
    const char *state, *module, *entry, *name, *wait_reason, *place, *labels, *file;
    bool suspended;
};

struct top_look {
    struct top_row *rows;
    size_t count, capacity;
    uint64_t at_ns; /* 0: there was none */
};

struct top_rows {
    struct top_look now, before;
    json_t *texts;   /* each a key */
    double *percent; /* of a processor, of each of now.rows */
    size_t *order;   /* of those that pass */
    size_t shown;
    enum top_sort sort;
    bool reverse;
    char filter[64];   /* in any text of a row, in lower case; "": all */
    const char *state; /* NULL: all; "suspended" too */
    uint64_t marked;   /* id; 0: none */
    size_t at;         /* of the marked one in order */
};

extern const char *const top_sort_names[TOP_SORTS];
extern const char *const top_states[]; /* ends with NULL, which stands for all */

void top_rows_init(struct top_rows *rows);
void top_rows_fini(struct top_rows *rows);

/* A new look: begin, add each, end. */
void top_rows_begin(struct top_rows *rows);
void top_rows_add(struct top_rows *rows, json_t *goroutine);
void top_rows_end(struct top_rows *rows, uint64_t now_ns);

/* After sort, filter or state changed. */
void top_rows_arrange(struct top_rows *rows);
/* Moves the mark; it stays within what is shown. */
void top_rows_move(struct top_rows *rows, long by);
/* The row at a place of the view. */
const struct top_row *top_rows_get(const struct top_rows *rows, size_t at, double *percent);

#endif
