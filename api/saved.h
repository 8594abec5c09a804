/*
 * saved.h: snapshots of groups that are kept as files.
 *
 * A set is held (group.h), copied as a consistent cut (cut.h), let go, and only then unwound and written: nobody stands
 * still for a disk. Each snapshot is one file of the state directory: a JSON text with a goroutine a line, and behind it
 * the ELF core of the same copies. Forms for people are made from the lines when they are asked for, one at a time, so
 * that memory does not grow with the group. Rejected: a file for each form; they could come apart.
 *
 *   I1  An entry of the table has its file, whole; a file is put in place before its entry is made.
 *   I2  `lock` guards the table; nothing is called under it.
 *   I3  Ids are a sequence of this instance. Files of earlier instances stay where they are, but are not listed.
 */
#ifndef API_SAVED_H
#define API_SAVED_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"

#define API_SAVED_NAME_BYTES 64

struct api_saved {
    uint64_t id, created_realtime_ns, count, failed, skew_ns;
    uint64_t json_bytes, core_bytes;
    char principal[API_PRINCIPAL_BYTES];
};

struct api_saved_table {
    pthread_mutex_t lock;
    struct api_saved items[API_SNAPSHOTS_MAX]; /* by id */
    size_t count, reserved; /* entries, and those with the places that were promised */
    uint64_t next_id;
};

void api_saved_init(struct api_saved_table *table);
void api_saved_fini(struct api_saved_table *table);
/* A new id, and room for its entry; 0: API_SNAPSHOTS_MAX are kept. Then add, or give_up. */
uint64_t api_saved_reserve(struct api_saved_table *table);
void api_saved_add(struct api_saved_table *table, const struct api_saved *saved);
void api_saved_give_up(struct api_saved_table *table);
bool api_saved_find(struct api_saved_table *table, uint64_t id, struct api_saved *out);
bool api_saved_remove(struct api_saved_table *table, uint64_t id);
/* The first above `after`. */
bool api_saved_next(struct api_saved_table *table, uint64_t after, struct api_saved *out);

/* The name of its file. */
void api_saved_name(const struct api *api, uint64_t id, char out[API_SAVED_NAME_BYTES]);
json_t *api_saved_json(const struct api_saved *saved);
/* A problem for what the store says. */
void api_saved_problem(struct api_call *call, int err);

#endif
