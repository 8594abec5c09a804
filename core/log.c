/*
 * log.c: what a root and its children write with gr_log: the last LOG_BYTES of it, one ring a root.
 *
 * A reader names the byte of the stream from which it wants to go on and is told how many it missed. The ring
 * is allocated with the first line. Lock: the log's own.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

#define LOG_BYTES 65536

struct gri_log {
    _Atomic(uint32_t) references;
    struct gri_lock lock;
    uint64_t written; /* bytes since the beginning */
    char *ring;
};

struct gri_log *gri_log_create(void)
{
    struct gri_log *log = calloc(1, sizeof *log);

    if (log)
        atomic_init(&log->references, 1);
    return log;
}

struct gri_log *gri_log_ref(struct gri_log *log)
{
    if (log)
        atomic_fetch_add_explicit(&log->references, 1, memory_order_relaxed);
    return log;
}

void gri_log_unref(struct gri_log *log)
{
    /* acq_rel; pairs with the other holders' decrements. */
    if (!log || atomic_fetch_sub_explicit(&log->references, 1, memory_order_acq_rel) != 1)
        return;
    free(log->ring);
    free(log);
}

static void put(struct gri_log *log, const char *bytes, size_t count)
{
    size_t at = log->written % LOG_BYTES;
    size_t first = count < LOG_BYTES - at ? count : LOG_BYTES - at;

    memcpy(log->ring + at, bytes, first);
    memcpy(log->ring, bytes + first, count - first);
    log->written += count;
}

void gri_log_write(struct gri_log *log, const char *line, size_t bytes)
{
    char *ring = NULL;

    _Static_assert(GR_LOG_LINE_MAX + 1 < LOG_BYTES, "a line fits");
    gri_lock(&log->lock);
    if (!log->ring) { /* malloc takes long, and others may be here meanwhile */
        gri_unlock(&log->lock);
        ring = malloc(LOG_BYTES);
        gri_lock(&log->lock);
    }
    if (!log->ring) {
        log->ring = ring;
        ring = NULL;
    }
    if (log->ring) {
        put(log, line, bytes);
        if (bytes == 0 || line[bytes - 1] != '\n')
            put(log, "\n", 1);
    }
    gri_unlock(&log->lock);
    free(ring);
}

ssize_t gri_log_copy(struct gri_log *log, uint64_t *from, char *buf, size_t bytes, uint64_t *lost)
{
    uint64_t oldest;
    size_t count = 0;

    gri_lock(&log->lock);
    oldest = log->written > LOG_BYTES ? log->written - LOG_BYTES : 0;
    *lost = 0;
    if (*from < oldest) {
        *lost = oldest - *from;
        *from = oldest;
    }
    if (*from > log->written)
        *from = log->written;
    while (count < bytes && *from < log->written)
        buf[count++] = log->ring[(*from)++ % LOG_BYTES];
    gri_unlock(&log->lock);
    return (ssize_t)count;
}
