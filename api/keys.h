/*
 * keys.h: Idempotency-Key: a POST that is sent again, because its answer was lost, gets the first answer and does nothing.
 *
 * An entry is made when a POST with a key has passed all checks, before its handler runs; it keeps the body, to tell a
 * repetition from another request, and later the answer. Whoever comes with the same key meanwhile waits for it.
 * What could not be done (5xx, 408, 429) or was undone (a suspend whose answer did not arrive) leaves no entry: sent
 * again, it is tried again, unless a part was done: that answer is kept, so that the part is not done twice. Rejected:
 * keeping hashes of bodies; that two bodies are the same is then a guess. Rejected: one limit for all; who sends many keys
 * would keep everybody else from sending one.
 *
 *   K1  Loop only. Until it is answered an entry has an owner, whose call->key points back; later it may have none.
 *   K2  Calls that wait are on the entry's list, and leave it before they are answered.
 *   K3  An entry is in the list of all, in its bucket, and counted in its principal's share and in the total.
 */
#ifndef API_KEYS_H
#define API_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct api;
struct api_call;

#define API_KEY_NS      UINT64_C(600000000000) /* ten minutes */
#define API_KEY_BUCKETS 4096

/* What one principal has of the table. There while it has anything. */
struct api_key_share {
    struct api_key_share *next, **link;
    size_t count, bytes;
    char principal[];
};

struct api_key {
    struct api_key *next, **link; /* of all, newest first */
    struct api_key *same, **same_link; /* of the bucket */
    struct api_key_share *share;
    uint64_t hash, expires_ns;
    char *name; /* key, principal and path, the first two with their 0 */
    size_t name_bytes;
    struct api_buf body;
    struct api_call *owner, *waiters;
    bool answered, passed_on; /* the answer went to somebody besides the owner */
    /* The answer. */
    int status;
    const char *content_type;
    struct api_buf headers, answer;
    uint64_t suspension; /* that it speaks of, 0: none. While that is held the entry stays */
};

struct api_keys {
    struct api_key *newest, *bucket[API_KEY_BUCKETS];
    struct api_key_share *shares;
    size_t count, bytes;
    uint64_t swept_ns; /* when the old ones were last looked for */
};

/*
 * For a POST that passed all checks. True: run it. False: it is answered, now (the reply is filled: call
 * api_call_done) if *now, or by api_keys_done of the call that it waits for.
 */
bool api_keys_begin(struct api_call *call, bool *now);
/* The reply is complete; afterwards it goes to the host. */
void api_keys_done(struct api_call *call);
/* The call ends. True: its answer did not arrive and nobody else has it, so that what it did must be undone if it can. */
bool api_keys_end(struct api_call *call, bool delivered);
void api_keys_fini(struct api_keys *keys);

#endif
