/*
 * top_rows.c: see top_rows.h.
 */
#include "top_rows.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

const char *const top_sort_names[TOP_SORTS] = {"cpu",   "id",    "total", "wait",
                                               "state", "holds", "name"};
const char *const top_states[] = {"running",   "runnable",  "waiting", "syscall",
                                  "preempted", "suspended", NULL};

void top_rows_init(struct top_rows *rows)
{
    *rows = (struct top_rows){0};
}

static void clear(struct top_look *look)
{
    for (size_t i = 0; i < look->count; i++)
        json_decref(look->items[i]);
    look->count = 0;
    look->at_ns = 0;
}

static void release(struct top_look *look)
{
    clear(look);
    free(look->items);
    free(look->ids);
    free(look->cpu_ns);
}

void top_rows_fini(struct top_rows *rows)
{
    release(&rows->now);
    release(&rows->before);
    free(rows->percent);
    free(rows->order);
}

void top_rows_begin(struct top_rows *rows)
{
    struct top_look older = rows->before;
    rows->before = rows->now;
    rows->now = older;
    clear(&rows->now);
    rows->shown = 0;
}

static void *grow(void *memory, size_t count, size_t size)
{
    void *larger = realloc(memory, count * size);
    if (!larger)
        abort();
    return larger;
}

void top_rows_add(struct top_rows *rows, json_t *goroutine)
{
    struct top_look *look = &rows->now;
    if (look->count == look->capacity) {
        look->capacity = look->capacity ? 2 * look->capacity : 256;
        look->items = grow(look->items, look->capacity, sizeof *look->items);
        look->ids = grow(look->ids, look->capacity, sizeof *look->ids);
        look->cpu_ns = grow(look->cpu_ns, look->capacity, sizeof *look->cpu_ns);
    }
    look->items[look->count] = json_incref(goroutine);
    look->ids[look->count] = cli_number(goroutine, "id");
    look->cpu_ns[look->count++] = cli_number(goroutine, "cpu_ns");
}

/* The place of id in a look, or count. */
static size_t find(const struct top_look *look, uint64_t id)
{
    size_t low = 0, high = look->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (look->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < look->count && look->ids[low] == id ? low : look->count;
}

void top_rows_end(struct top_rows *rows, uint64_t now_ns)
{
    const struct top_look *now = &rows->now, *before = &rows->before;
    rows->now.at_ns = now_ns;
    rows->percent = grow(rows->percent, now->count + 1, sizeof *rows->percent);
    rows->order = grow(rows->order, now->count + 1, sizeof *rows->order);
    for (size_t i = 0; i < now->count; i++) {
        size_t k = before->at_ns ? find(before, now->ids[i]) : before->count;
        bool known =
            k < before->count && now->cpu_ns[i] >= before->cpu_ns[k] && now_ns > before->at_ns;
        rows->percent[i] = known ? 100.0 * (double)(now->cpu_ns[i] - before->cpu_ns[k]) /
                                       (double)(now_ns - before->at_ns)
                                 : 0;
    }
    top_rows_arrange(rows);
}

/* ---- The order -------------------------------------------------------------------------------- */

static const struct top_rows *sorted; /* qsort has no context */

static int by_number(double a, double b)
{
    return (a > b) - (a < b);
}

/* Numbers fall (the most on top), texts and ids rise. */
static int compare_rows(const struct top_rows *rows, size_t a, size_t b)
{
    const json_t *x = rows->now.items[a], *y = rows->now.items[b];
    switch (rows->sort) {
    case TOP_CPU:
        return by_number(rows->percent[b], rows->percent[a]);
    case TOP_TOTAL:
        return by_number((double)rows->now.cpu_ns[b], (double)rows->now.cpu_ns[a]);
    case TOP_WAIT:
        return by_number((double)cli_number(y, "wait_ns"), (double)cli_number(x, "wait_ns"));
    case TOP_HOLDS:
        return by_number((double)cli_number(y, "holds"), (double)cli_number(x, "holds"));
    case TOP_STATE:
        return strcmp(cli_string(x, "state"), cli_string(y, "state"));
    case TOP_NAME:
        return strcmp(cli_string(x, "name"), cli_string(y, "name"));
    case TOP_ID:
    case TOP_SORTS:
        break;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int result = compare_rows(sorted, x, y);
    if (result == 0) /* ids rise with places */
        result = (x > y) - (x < y);
    return sorted->reverse ? -result : result;
}

static bool text_has(const char *text, const char *filter)
{
    return strcasestr(text, filter) != NULL;
}

static bool passes(const struct top_rows *rows, const json_t *g)
{
    static const char *const texts[] = {"name",        "entry",    "module", "state",
                                        "wait_reason", "function", "file"};
    char id[32];
    bool found = !rows->filter[0];
    if (rows->state && strcmp(rows->state, "suspended") == 0 && !cli_true(g, "suspended"))
        return false;
    if (rows->state && strcmp(rows->state, "suspended") &&
        strcmp(rows->state, cli_string(g, "state")))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && !found; i++)
        found = text_has(cli_string(g, texts[i]), rows->filter);
    if (!found) {
        struct http_buf labels = {0};
        cli_labels(g, &labels);
        snprintf(id, sizeof id, "%llu", (unsigned long long)cli_number(g, "id"));
        found = text_has(labels.data, rows->filter) || strcmp(id, rows->filter) == 0;
        http_buf_free(&labels);
    }
    return found;
}

void top_rows_arrange(struct top_rows *rows)
{
    rows->shown = 0;
    for (size_t i = 0; i < rows->now.count; i++)
        if (passes(rows, rows->now.items[i]))
            rows->order[rows->shown++] = i;
    sorted = rows;
    if (rows->shown)
        qsort(rows->order, rows->shown, sizeof *rows->order, compare);
    /* The mark stays on its goroutine (I1), or on its place if that is gone. */
    for (size_t i = 0; i < rows->shown && rows->marked; i++)
        if (rows->now.ids[rows->order[i]] == rows->marked)
            rows->at = i;
    top_rows_move(rows, 0);
}

void top_rows_move(struct top_rows *rows, long by)
{
    long at = (long)rows->at + by, last = (long)rows->shown - 1;
    at = at > last ? last : at;
    rows->at = at < 0 ? 0 : (size_t)at;
    rows->marked = rows->shown ? rows->now.ids[rows->order[rows->at]] : 0;
}

const json_t *top_rows_get(const struct top_rows *rows, size_t at, double *percent)
{
    *percent = rows->percent[rows->order[at]];
    return rows->now.items[rows->order[at]];
}
