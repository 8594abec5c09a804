/*
 * table.h: tables that fit the terminal.
 *
 * Rows are kept until all are known, then widths are chosen: as wide as the widest cell if there is
 * room; else the flexible columns give way, the widest first, down to their minimum; else whole
 * columns leave, the least important first. Without a limit (a pipe, -o wide) nothing is cut. Widths
 * are those of the terminal's cells, not bytes.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "http_client.h"

#define TABLE_COLUMNS_MAX 16

enum table_color {
    TABLE_PLAIN,
    TABLE_BOLD,
    TABLE_DIM,
    TABLE_GREEN,
    TABLE_YELLOW,
    TABLE_RED,
    TABLE_BLUE
};

struct table_column {
    const char *name;
    bool right;          /* numbers */
    unsigned flexible;   /* 0: never cut; else the width that it keeps */
    unsigned importance; /* the smallest leaves first; 0: never leaves */
    bool only_wide;      /* shown without a limit only */
};

struct table;

struct table *table_create(const struct table_column *columns, size_t count);
void table_destroy(struct table *table);

/* The next cell of the row, left to right. Control characters become '?'; "" becomes "-". */
void table_cell(struct table *table, enum table_color color, const char *text);
void table_cellf(struct table *table, enum table_color color, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* width 0: no limit. utf8: cut cells end in an ellipsis, else in '+'. */
void table_write(struct table *table, unsigned width, bool color, bool utf8, struct http_buf *out);

/* Columns that text takes on a terminal. */
unsigned table_text_width(const char *text, size_t size);
/* The longest beginning of text, in whole characters, that takes at most width columns. */
size_t table_text_fit(const char *text, unsigned width);
/* Text with each control character, and each broken UTF-8 sequence, as '?'. */
void table_plain(struct http_buf *out, const char *text, size_t size);
const char *table_color_code(enum table_color color);

#endif
