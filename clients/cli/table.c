/*
 * table.c: see table.h.
 */
#include "table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define GAP 2 /* between columns */

struct cell {
    size_t at; /* in text, ends with a 0 */
    unsigned width;
    enum table_color color;
};

struct table {
    struct table_column column[TABLE_COLUMNS_MAX];
    unsigned width[TABLE_COLUMNS_MAX]; /* of the widest cell, then what is chosen */
    bool shown[TABLE_COLUMNS_MAX];
    size_t columns, count, capacity;
    struct cell *cells;
    struct http_buf text;
};

/* ---- Characters ------------------------------------------------------------------------------- */

/* One UTF-8 character: its length, and its code point. 0: broken. */
static size_t decode(const char *text, size_t size, uint32_t *code)
{
    const unsigned char *c = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = c[0] < 0x80 ? 1 : c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : c[0] >= 0xc2 ? 2 : 0;
    if (length == 0 || length > size || c[0] > 0xf4)
        return 0;
    *code = length == 1 ? c[0] : c[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (c[i] & 0x3f);
    }
    return *code < least[length] || *code > 0x10ffff ? 0 : length;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff || (code >= 0xd800 && code < 0xe000);
}

void table_plain(struct http_buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t length = decode(text + i, size - i, &code);
        if (length && !is_control(code))
            http_buf_add(out, text + i, length);
        else
            http_buf_add(out, "?", 1);
        i += length ? length : 1;
    }
    http_buf_add(out, "", 0);
}

/* Columns of one character. In a locale that does not know it, one. */
static unsigned columns_of(uint32_t code)
{
    int width = code < 0x80 ? 1 : wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

unsigned table_text_width(const char *text, size_t size)
{
    unsigned width = 0;
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t length = decode(text + i, size - i, &code);
        width += length ? columns_of(code) : 1;
        i += length ? length : 1;
    }
    return width;
}

size_t table_text_fit(const char *text, unsigned width)
{
    size_t size = strlen(text), i = 0;
    while (i < size) {
        uint32_t code = 0;
        size_t length = decode(text + i, size - i, &code);
        unsigned more = length ? columns_of(code) : 1;
        if (more > width)
            break;
        width -= more;
        i += length ? length : 1;
    }
    return i;
}

/* ---- Cells ------------------------------------------------------------------------------------ */

static void put(struct table *table, enum table_color color, const char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 256;
        table->cells = realloc(table->cells, table->capacity * sizeof *table->cells);
        if (!table->cells)
            abort();
    }
    struct cell *cell = &table->cells[table->count];
    size_t column = table->count++ % table->columns;
    cell->at = table->text.size;
    cell->color = color;
    table_plain(&table->text, text, strlen(text));
    cell->width = table_text_width(table->text.data + cell->at, table->text.size - cell->at);
    http_buf_add(&table->text, "", 1);
    if (cell->width > table->width[column])
        table->width[column] = cell->width;
}

struct table *table_create(const struct table_column *columns, size_t count)
{
    struct table *table = calloc(1, sizeof *table);
    if (!table)
        abort();
    table->columns = count;
    for (size_t i = 0; i < count; i++)
        table->column[i] = columns[i];
    for (size_t i = 0; i < count; i++)
        put(table, TABLE_BOLD, columns[i].name);
    return table;
}

void table_destroy(struct table *table)
{
    if (!table)
        return;
    free(table->cells);
    http_buf_free(&table->text);
    free(table);
}

void table_cell(struct table *table, enum table_color color, const char *text)
{
    put(table, color, text && *text ? text : "-");
}

void table_cellf(struct table *table, enum table_color color, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    table_cell(table, color, text);
}

/* ---- Widths ----------------------------------------------------------------------------------- */

static unsigned total(const struct table *table)
{
    unsigned sum = 0;
    for (size_t i = 0; i < table->columns; i++)
        if (table->shown[i])
            sum += table->width[i] + (sum ? GAP : 0);
    return sum;
}

/* The widest column that may still give way, or -1. */
static int widest_flexible(const struct table *table)
{
    int best = -1;
    for (size_t i = 0; i < table->columns; i++)
        if (table->shown[i] && table->column[i].flexible &&
            table->width[i] > table->column[i].flexible &&
            (best < 0 || table->width[i] > table->width[best]))
            best = (int)i;
    return best;
}

static int least_important(const struct table *table)
{
    int best = -1;
    for (size_t i = 0; i < table->columns; i++)
        if (table->shown[i] && table->column[i].importance &&
            (best < 0 || table->column[i].importance < table->column[best].importance))
            best = (int)i;
    return best;
}

static void choose_widths(struct table *table, unsigned width)
{
    int column;
    for (size_t i = 0; i < table->columns; i++)
        table->shown[i] = !table->column[i].only_wide || !width;
    if (!width)
        return;
    /* Each turn takes one column of the terminal away: bounded by the sum of widths. */
    unsigned natural[TABLE_COLUMNS_MAX];
    memcpy(natural, table->width, sizeof natural);
    while (total(table) > width && (column = widest_flexible(table)) >= 0)
        table->width[column]--;
    if (total(table) <= width)
        return;
    /* It was not enough: something leaves, and the others may be wide again. */
    if ((column = least_important(table)) < 0)
        return;
    memcpy(table->width, natural, sizeof natural);
    table->column[column].only_wide = true;
    choose_widths(table, width);
}

/* ---- Writing ---------------------------------------------------------------------------------- */

const char *table_color_code(enum table_color color)
{
    static const char *const codes[] = {"",         "\033[1m",  "\033[2m", "\033[32m",
                                        "\033[33m", "\033[31m", "\033[34m"};
    return codes[color];
}

static void write_text(const struct table *table, const struct cell *cell, unsigned width,
                       bool utf8, struct http_buf *out)
{
    const char *text = table->text.data + cell->at;
    if (cell->width <= width) {
        http_buf_str(out, text);
        return;
    }
    size_t fit = table_text_fit(text, width - 1);
    http_buf_add(out, text, fit);
    http_buf_str(out, utf8 ? "\xe2\x80\xa6" : "+");
    for (unsigned have = table_text_width(text, fit) + 1; have < width; have++)
        http_buf_str(out, " ");
}

static void write_cell(const struct table *table, const struct cell *cell, size_t column, bool last,
                       bool color, bool utf8, struct http_buf *out)
{
    unsigned width = table->width[column];
    unsigned space = cell->width < width ? width - cell->width : 0;
    bool right = table->column[column].right;
    if (right)
        http_buf_printf(out, "%*s", (int)space, "");
    if (color && cell->color)
        http_buf_str(out, table_color_code(cell->color));
    write_text(table, cell, width, utf8, out);
    if (color && cell->color)
        http_buf_str(out, "\033[0m");
    if (!right && !last)
        http_buf_printf(out, "%*s", (int)space, "");
    if (!last)
        http_buf_printf(out, "%*s", GAP, "");
}

void table_write(struct table *table, unsigned width, bool color, bool utf8, struct http_buf *out)
{
    size_t last = 0;
    choose_widths(table, width);
    for (size_t i = 0; i < table->columns; i++)
        last = table->shown[i] ? i : last;
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns) {
        for (size_t column = 0; column < table->columns; column++)
            if (table->shown[column])
                write_cell(table, &table->cells[i + column], column, column == last, color, utf8,
                           out);
        http_buf_str(out, "\n");
    }
}
