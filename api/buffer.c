/*
 * buffer.c: see buffer.h.
 */
#include "buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_buf_free(struct api_buf *buf)
{
    free(buf->data);
    *buf = (struct api_buf){0};
}

void api_buf_clear(struct api_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

bool api_buf_grow(struct api_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (buf->capacity - buf->size >= more)
        return true;
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity - buf->size < more) /* ends: capacity doubles and more is finite */
        capacity *= 2;
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        buf->size = 0;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool api_buf_reserve(struct api_buf *buf, size_t capacity)
{
    return capacity <= buf->size || api_buf_grow(buf, capacity - buf->size);
}

void api_buf_uint(struct api_buf *out, uint64_t value)
{
    char text[24], *at = text + sizeof text;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    api_buf_add(out, at, (size_t)(text + sizeof text - at));
}

void api_buf_printf(struct api_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    /* One byte more for vsnprintf's 0, which size does not count. */
    if (need >= 0 && api_buf_grow(buf, (size_t)need + 1)) {
        vsnprintf(buf->data + buf->size, (size_t)need + 1, fmt, again);
        buf->size += (size_t)need;
    }
    va_end(again);
}

void api_buf_plain(struct api_buf *buf, const char *text, size_t max)
{
    size_t size = strlen(text);
    bool cut = max && size > max;
    if (cut)
        size = max > 3 ? max - 3 : 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        char shown = c < 0x20 || c == 0x7f ? '?' : (char)c;
        api_buf_add(buf, &shown, 1);
    }
    if (cut)
        api_buf_str(buf, "...");
}
