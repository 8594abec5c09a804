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
    *rows = (struct top_rows){.texts = json_object()};
}

void top_rows_fini(struct top_rows *rows)
{
    free(rows->now.rows);
    free(rows->before.rows);
    json_decref(rows->texts);
    free(rows->percent);
    free(rows->order);
}

void top_rows_begin(struct top_rows *rows)
{
    struct top_look older = rows->before;
    rows->before = rows->now;
    rows->now = older;
    rows->now.count = 0;
    rows->now.at_ns = 0;
    json_object_clear(rows->texts);
    rows->shown = 0;
}

static void *grow(void *memory, size_t count, size_t size)
{
    void *larger = realloc(memory, count * size);
    if (!larger)
        abort();
    return larger;
}

/* The one copy of a text. NULL is "". */
static const char *keep(struct top_rows *rows, const char *text)
{
    if (!text || !*text)
        return "";
    if (!json_object_get(rows->texts, text) &&
        json_object_set_new(rows->texts, text, json_true()) != 0)
        return "?"; /* no memory, or not UTF-8, which the daemon's JSON is */
    return json_object_iter_key(json_object_iter_at(rows->texts, text));
}

void top_rows_add(struct top_rows *rows, json_t *goroutine)
{
    struct top_look *look = &rows->now;
    struct http_buf labels = {0}, place = {0};
    if (look->count == look->capacity) {
        look->capacity = look->capacity ? 2 * look->capacity : 256;
        look->rows = grow(look->rows, look->capacity, sizeof *look->rows);
    }
    cli_labels(goroutine, &labels);
    cli_place(goroutine, &place);
    look->rows[look->count++] =
        (struct top_row){.id = cli_number(goroutine, "id"),
                         .cpu_ns = cli_number(goroutine, "cpu_ns"),
                         .wait_ns = cli_number(goroutine, "wait_ns"),
                         .holds = cli_number(goroutine, "holds"),
                         .state = keep(rows, cli_string(goroutine, "state")),
                         .module = keep(rows, cli_string(goroutine, "module")),
                         .entry = keep(rows, cli_string(goroutine, "entry")),
                         .name = keep(rows, cli_string(goroutine, "name")),
                         .wait_reason = keep(rows, cli_string(goroutine, "wait_reason")),
                         .place = keep(rows, place.data),
                         .labels = keep(rows, labels.data),
                         .file = keep(rows, cli_string(goroutine, "file")),
                         .suspended = cli_true(goroutine, "suspended")};
    http_buf_free(&labels);
    http_buf_free(&place);
}

/* The place of id in a look, or count. */
static size_t find(const struct top_look *look, uint64_t id)
{
    size_t low = 0, high = look->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (look->rows[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < look->count && look->rows[low].id == id ? low : look->count;
}

void top_rows_end(struct top_rows *rows, uint64_t now_ns)
{
    const struct top_look *now = &rows->now, *before = &rows->before;
    rows->now.at_ns = now_ns;
    rows->percent = grow(rows->percent, now->count + 1, sizeof *rows->percent);
    rows->order = grow(rows->order, now->count + 1, sizeof *rows->order);
    for (size_t i = 0; i < now->count; i++) {
        size_t k = before->at_ns ? find(before, now->rows[i].id) : before->count;
        bool known = k < before->count && now->rows[i].cpu_ns >= before->rows[k].cpu_ns &&
                     now_ns > before->at_ns;
        rows->percent[i] = known ? 100.0 * (double)(now->rows[i].cpu_ns - before->rows[k].cpu_ns) /
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
    const struct top_row *x = &rows->now.rows[a], *y = &rows->now.rows[b];
    switch (rows->sort) {
    case TOP_CPU:
        return by_number(rows->percent[b], rows->percent[a]);
    case TOP_TOTAL:
        return by_number((double)y->cpu_ns, (double)x->cpu_ns);
    case TOP_WAIT:
        return by_number((double)y->wait_ns, (double)x->wait_ns);
    case TOP_HOLDS:
        return by_number((double)y->holds, (double)x->holds);
    case TOP_STATE:
        return strcmp(x->state, y->state);
    case TOP_NAME:
        return strcmp(x->name, y->name);
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

static bool passes(const struct top_rows *rows, const struct top_row *row)
{
    const char *const texts[] = {row->name,        row->entry, row->module, row->state,
                                 row->wait_reason, row->place, row->file,   row->labels};
    char id[32];
    bool found = !rows->filter[0];
    if (rows->state && strcmp(rows->state, "suspended") == 0 && !row->suspended)
        return false;
    if (rows->state && strcmp(rows->state, "suspended") && strcmp(rows->state, row->state))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && !found; i++)
        found = text_has(texts[i], rows->filter);
    snprintf(id, sizeof id, "%llu", (unsigned long long)row->id);
    return found || strcmp(id, rows->filter) == 0;
}

void top_rows_arrange(struct top_rows *rows)
{
    rows->shown = 0;
    for (size_t i = 0; i < rows->now.count; i++)
        if (passes(rows, &rows->now.rows[i]))
            rows->order[rows->shown++] = i;
    sorted = rows;
    if (rows->shown)
        qsort(rows->order, rows->shown, sizeof *rows->order, compare);
    /* The mark stays on its goroutine (I1), or on its place if that is gone. */
    for (size_t i = 0; i < rows->shown && rows->marked; i++)
        if (rows->now.rows[rows->order[i]].id == rows->marked)
            rows->at = i;
    top_rows_move(rows, 0);
}

void top_rows_move(struct top_rows *rows, long by)
{
    long at = (long)rows->at + by, last = (long)rows->shown - 1;
    at = at > last ? last : at;
    rows->at = at < 0 ? 0 : (size_t)at;
    rows->marked = rows->shown ? rows->now.rows[rows->order[rows->at]].id : 0;
}

const struct top_row *top_rows_get(const struct top_rows *rows, size_t at, double *percent)
{
    *percent = rows->percent[rows->order[at]];
    return &rows->now.rows[rows->order[at]];
}
