/*
 * pprof_text.c: see pprof_text.h.
 */
#include "pprof_text.h"

#include <inttypes.h>
#include <string.h>

/* ---- Pieces ---------------------------------------------------------------------------------- */

static void put_number(struct api_buf *out, uint64_t value, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    api_buf_add(out, digits + at, sizeof digits - at);
}

static void put_hex(struct api_buf *out, uint64_t value)
{
    api_buf_add(out, "0x", 2);
    put_number(out, value, 16);
}

/* The function, or the place in its module. */
static void put_function(struct api_buf *out, const struct gr_frame *frame)
{
    if (frame->function) {
        api_buf_str(out, frame->function);
    } else if (frame->module) {
        api_buf_str(out, frame->module);
        api_buf_add(out, "+", 1);
        put_hex(out, frame->offset);
    } else {
        put_hex(out, frame->pc);
    }
}

static void put_place(struct api_buf *out, const struct gr_frame *frame)
{
    if (!frame->file) {
        api_buf_str(out, frame->module ? frame->module : "?");
        return;
    }
    api_buf_str(out, frame->file);
    api_buf_add(out, ":", 1);
    put_number(out, (uint64_t)frame->line, 10);
}

/* ---- debug=2 --------------------------------------------------------------------------------- */

static void put_heading(struct api_buf *out, const struct api_stack *stack)
{
    const struct gr_info *info = stack->info;
    uint64_t minutes = info ? info->wait_ns / 60000000000u : 0;
    api_buf_str(out, "goroutine ");
    put_number(out, stack->id, 10);
    api_buf_str(out, " [");
    if (info)
        api_buf_str(out, *info->wait_reason ? info->wait_reason : gr_state_name(info->state));
    if (minutes) {
        api_buf_str(out, ", ");
        put_number(out, minutes, 10);
        api_buf_str(out, " minutes");
    }
    if (info && info->holds)
        api_buf_str(out, ", held");
    if (info && info->wired)
        api_buf_str(out, ", locked to thread");
    api_buf_str(out, "]:\n");
}

void api_traceback_write(struct api_buf *out, const struct api_stack *stack)
{
    put_heading(out, stack);
    for (size_t i = 0; i < stack->count; i++) {
        const struct gr_frame *frame = &stack->frames[i];
        put_function(out, frame);
        api_buf_str(out, "(...)\n\t");
        put_place(out, frame);
        if (frame->function && !frame->inlined) {
            api_buf_str(out, " +");
            put_hex(out, frame->offset);
        }
        api_buf_add(out, "\n", 1);
    }
    if (stack->truncated)
        api_buf_str(out, stack->count > 1 ? "...more frames...\n" : "...it did not stop...\n");
    api_buf_add(out, "\n", 1);
}

/* ---- debug=1 --------------------------------------------------------------------------------- */

static void put_quoted(struct api_buf *out, const char *text)
{
    api_buf_add(out, "\"", 1);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            api_buf_add(out, "\\", 1);
        api_buf_add(out, (unsigned char)*text < ' ' ? "?" : text, 1);
    }
    api_buf_add(out, "\"", 1);
}

static void put_labels(struct api_buf *out, const struct gr_info *info)
{
    if (!info || info->label_count == 0)
        return;
    api_buf_str(out, "# labels: {");
    for (size_t i = 0; i < info->label_count; i++) {
        if (i)
            api_buf_str(out, ", ");
        put_quoted(out, info->label[i].key);
        api_buf_add(out, ":", 1);
        put_quoted(out, info->label[i].value);
    }
    api_buf_str(out, "}\n");
}

static void put_frame(struct api_buf *out, const struct gr_frame *frame)
{
    api_buf_str(out, "#\t");
    put_hex(out, frame->pc);
    api_buf_add(out, "\t", 1);
    put_function(out, frame);
    api_buf_add(out, "+", 1);
    put_hex(out, frame->function ? frame->offset : 0);
    api_buf_add(out, "\t", 1);
    put_place(out, frame);
    api_buf_add(out, "\n", 1);
}

void api_alike_add(struct api_tally *blocks, struct api_buf *block, const struct api_stack *stack)
{
    api_buf_clear(block);
    api_buf_add(block, "@", 1);
    for (size_t i = 0; i < stack->count; i++) {
        /* What it was inlined into has the same address, and comes next: unless this is all that is known. */
        if (stack->frames[i].inlined && i + 1 < stack->count)
            continue;
        api_buf_add(block, " ", 1);
        put_hex(block, stack->frames[i].pc);
    }
    api_buf_add(block, "\n", 1);
    put_labels(block, stack->info);
    for (size_t i = 0; i < stack->count; i++)
        put_frame(block, &stack->frames[i]);
    api_buf_add(block, "\n", 1);
    if (block->failed)
        blocks->failed = true;
    else
        api_tally_add(blocks, block->data, block->size, stack->value[0], stack->value[1]);
}

void api_alike_write(struct api_tally *blocks, const char *title, struct api_buf *out)
{
    int64_t total = 0;
    for (size_t i = 0; i < blocks->count; i++)
        total += blocks->item[i].value[0];
    api_tally_sort_by_value(blocks);
    api_buf_printf(out, "%s: total %" PRId64 "\n", title, total);
    for (size_t i = 0; i < blocks->count; i++) {
        api_buf_printf(out, "%" PRId64 " ", blocks->item[i].value[0]);
        api_buf_add(out, api_tally_text(blocks, i), blocks->item[i].size);
    }
    out->failed = out->failed || blocks->failed;
}
