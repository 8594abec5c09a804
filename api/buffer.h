/*
 * buffer.h: a growing byte buffer, the only way in which the API produces text.
 *
 * Running out of memory is remembered in `failed` instead of being returned by every append: a
 * writer appends to its heart's content and looks once, at the end (the idea is OpenBSD's and
 * Caddy's sticky error). A failed buffer is empty and stays so until api_buf_free or
 * api_buf_clear. What adds bytes where there is room is inline: an answer is some hundred such
 * pieces, most of them literals. Rejected: open_memstream, whose FILE takes a lock and cannot hand
 * its bytes over.
 */
#ifndef API_BUFFER_H
#define API_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct api_buf {
    char *data;
    size_t size, capacity;
    bool failed;
};

void api_buf_free(struct api_buf *buf);
/* Keeps the memory. */
void api_buf_clear(struct api_buf *buf);
/* Room for so many bytes in all, so that adding them cannot fail. False: no memory. */
bool api_buf_reserve(struct api_buf *buf, size_t capacity);
/* Room for so many bytes more; for those who write them themselves. */
bool api_buf_grow(struct api_buf *buf, size_t more);

static inline void api_buf_add(struct api_buf *buf, const void *bytes, size_t size)
{
    bool has_room = !buf->failed && buf->capacity - buf->size >= size;
    if (size == 0 || (!has_room && !api_buf_grow(buf, size)))
        return;
    memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
}

static inline void api_buf_str(struct api_buf *buf, const char *text)
{
    api_buf_add(buf, text, strlen(text));
}

void api_buf_uint(struct api_buf *buf, uint64_t value); /* in decimal */
void api_buf_printf(struct api_buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* For people's terminals: control characters become '?'; at most `max` bytes (0: all), then "...".
 */
void api_buf_plain(struct api_buf *buf, const char *text, size_t max);

#endif
