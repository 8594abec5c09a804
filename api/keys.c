/*
 * keys.c: see keys.h.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define HEADER   "Idempotency-Key"
#define SWEEP_NS UINT64_C(1000000000) /* the old ones are looked for so often at most, or where there is no room */

/* ---- Entries --------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
    return hash;
}

static size_t bytes_of(const struct api_key *key)
{
    return sizeof *key + key->name_bytes + key->body.size + key->headers.size + key->answer.size;
}

static void key_free(struct api_key *key)
{
    free(key->name);
    api_buf_free(&key->body);
    api_buf_free(&key->headers);
    api_buf_free(&key->answer);
    free(key);
}

/* K3: bytes that an entry has more, or less, than it was counted with. */
static void count_bytes(struct api_keys *keys, struct api_key *key, size_t before, size_t after)
{
    keys->bytes += after - before;
    key->share->bytes += after - before;
}

static void share_leave(struct api_key_share *share)
{
    if (--share->count)
        return;
    *share->link = share->next;
    if (share->next)
        share->next->link = share->link;
    free(share);
}

static void drop(struct api_keys *keys, struct api_key *key)
{
    if (key->owner)
        key->owner->key = NULL;
    *key->link = key->next;
    if (key->next)
        key->next->link = key->link;
    *key->same_link = key->same;
    if (key->same)
        key->same->same_link = key->same_link;
    count_bytes(keys, key, bytes_of(key), 0);
    keys->count--;
    share_leave(key->share);
    key_free(key);
}

static bool outlived(struct api *api, const struct api_key *key, uint64_t now_ns)
{
    return key->answered && key->expires_ns <= now_ns &&
           !(key->suspension && api_suspension_find(api, key->suspension, NULL));
}

static void drop_old(struct api *api, uint64_t now_ns)
{
    api->keys.swept_ns = now_ns;
    for (struct api_key *key = api->keys.newest, *next; key; key = next) {
        next = key->next;
        if (outlived(api, key, now_ns))
            drop(&api->keys, key);
    }
}

void api_keys_fini(struct api_keys *keys)
{
    while (keys->newest)
        drop(keys, keys->newest);
}

/* ---- Begin ----------------------------------------------------------------------------------- */

static bool key_valid(const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return false;
    return size >= 1 && size <= API_KEY_BYTES_MAX;
}

/* What tells entries apart. The query does not: it only says in which form the answer is written. */
static bool name_make(const struct api_call *call, const char *text, struct api_buf *name)
{
    const char *target = call->request.target;
    const char *query = memchr(target, '?', call->request.target_bytes);
    api_buf_add(name, text, strlen(text) + 1);
    api_buf_add(name, call->principal, strlen(call->principal) + 1);
    api_buf_add(name, target, query ? (size_t)(query - target) : call->request.target_bytes);
    return !name->failed;
}

static struct api_key **bucket_of(struct api_keys *keys, uint64_t hash)
{
    return &keys->bucket[(hash ^ hash >> 32) % API_KEY_BUCKETS];
}

static struct api_key *find(struct api *api, const struct api_buf *name, uint64_t now_ns)
{
    uint64_t hash = hash_of(name->data, name->size);
    struct api_key *key = *bucket_of(&api->keys, hash);
    while (key && (key->hash != hash || key->name_bytes != name->size ||
                   memcmp(key->name, name->data, name->size)))
        key = key->same;
    if (!key || !outlived(api, key, now_ns))
        return key;
    drop(&api->keys, key);
    return NULL;
}

static struct api_key_share *share_find(const struct api_keys *keys, const char *principal)
{
    struct api_key_share *share = keys->shares;
    while (share && strcmp(share->principal, principal))
        share = share->next;
    return share;
}

/* The principal's share, one entry more in it; NULL: out of memory. */
static struct api_key_share *share_enter(struct api_keys *keys, const char *principal)
{
    struct api_key_share *share = share_find(keys, principal);
    if (!share) {
        size_t bytes = strlen(principal) + 1;
        share = malloc(sizeof *share + bytes);
        if (!share)
            return NULL;
        share->count = share->bytes = 0;
        memcpy(share->principal, principal, bytes);
        share->next = keys->shares;
        share->link = &keys->shares;
        if (share->next)
            share->next->link = &share->next;
        keys->shares = share;
    }
    share->count++;
    return share;
}

static bool has_room(const struct api_keys *keys, const char *principal)
{
    const struct api_key_share *share = share_find(keys, principal);
    return keys->count < API_KEYS_MAX && keys->bytes < API_KEYS_BYTES_MAX &&
           (!share ||
            (share->count < API_KEYS_SHARE_MAX && share->bytes < API_KEYS_SHARE_BYTES_MAX));
}

/* Whether one more fits, if need be after a look for old ones; a problem and false if not. */
static bool make_room(struct api_call *call, uint64_t now_ns)
{
    struct api_keys *keys = &call->api->keys;
    if (has_room(keys, call->principal))
        return true;
    drop_old(call->api, now_ns);
    if (has_room(keys, call->principal))
        return true;
    api_problem(call, 429, API_CODE_LIMIT_REACHED,
                "too many answers are kept for " HEADER "s (%d a principal, or %d MiB, for ten minutes); "
                "send this without one, or later",
                API_KEYS_SHARE_MAX, API_KEYS_SHARE_BYTES_MAX >> 20);
    return false;
}

static void link_key(struct api_keys *keys, struct api_key *key)
{
    struct api_key **bucket = bucket_of(keys, key->hash);
    key->next = keys->newest;
    key->link = &keys->newest;
    if (key->next)
        key->next->link = &key->next;
    keys->newest = key;
    key->same = *bucket;
    key->same_link = bucket;
    if (key->same)
        key->same->same_link = &key->same;
    *bucket = key;
    keys->count++;
}

static bool make(struct api_call *call, struct api_buf *name)
{
    struct api_keys *keys = &call->api->keys;
    struct api_key *key = calloc(1, sizeof *key);
    if (key)
        api_buf_add(&key->body, call->request.body, call->request.body_bytes);
    if (!key || key->body.failed || !(key->share = share_enter(keys, call->principal))) {
        if (key)
            api_buf_free(&key->body);
        free(key);
        api_problem_no_memory(call);
        return false;
    }
    key->hash = hash_of(name->data, name->size);
    key->name = name->data;
    key->name_bytes = name->size;
    *name = (struct api_buf){0};
    key->owner = call;
    call->key = key;
    link_key(keys, key);
    count_bytes(keys, key, 0, bytes_of(key));
    return true;
}

static void replay(struct api_call *call, struct api_key *key)
{
    key->passed_on = true;
    call->reply.status = key->status;
    call->reply.content_type = key->content_type;
    api_buf_add(&call->reply.headers, key->headers.data, key->headers.size);
    api_buf_add(&call->reply.body, key->answer.data, key->answer.size);
    if (call->reply.body.failed || call->reply.headers.failed)
        api_problem_no_memory(call);
}

/* K2. The client of one that waits is gone. */
static void waiter_abandoned(struct api_call *call)
{
    struct api_call **link = &call->waits_for->waiters;
    while (*link != call)
        link = &(*link)->key_next;
    *link = call->key_next;
    call->waits_for = NULL;
    api_problem(call, 408, API_CODE_REQUEST_TIMEOUT, "the connection ended before the answer");
    api_call_done(call);
}

static void meet(struct api_call *call, struct api_key *key, bool *now)
{
    bool same =
        key->body.size == call->request.body_bytes &&
        (!key->body.size || memcmp(key->body.data, call->request.body, key->body.size) == 0);
    if (!same) {
        api_problem(call, 409, API_CODE_KEY_REUSED,
                    "this " HEADER " was used for another body; use a new one for a new request");
    } else if (!key->answered) {
        call->key_next = key->waiters;
        key->waiters = call;
        call->waits_for = key;
        call->abandon = waiter_abandoned;
        *now = false;
    } else {
        replay(call, key);
    }
}

bool api_keys_begin(struct api_call *call, bool *now)
{
    const char *text = api_request_header(&call->request, HEADER);
    struct api_buf name = {0};
    struct api_key *key;
    bool run = false;
    *now = true;
    if (!text)
        return true;
    if (!key_valid(text)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    HEADER " must be 1 to %d visible ASCII characters", API_KEY_BYTES_MAX);
        return false;
    }
    uint64_t now_ns = gr_now_ns();
    if (now_ns - call->api->keys.swept_ns > SWEEP_NS)
        drop_old(call->api, now_ns);
    if (!name_make(call, text, &name))
        api_problem_no_memory(call);
    else if ((key = find(call->api, &name, now_ns)))
        meet(call, key, now);
    else
        run = make_room(call, now_ns) && make(call, &name);
    api_buf_free(&name);
    return run;
}

/* ---- Done ------------------------------------------------------------------------------------ */

/* Whether the answer says that nothing was done and trying again may help. */
static bool worth_another_try(const struct api_call *call)
{
    int status = call->reply.status;
    return !call->partly_done && (status >= 500 || status == 408 || status == 429);
}

static bool keep_answer(struct api_call *call, struct api_key *key)
{
    size_t before = bytes_of(key);
    key->status = call->reply.status;
    key->content_type = call->reply.content_type;
    api_buf_add(&key->headers, call->reply.headers.data, call->reply.headers.size);
    api_buf_add(&key->answer, call->reply.body.data, call->reply.body.size);
    key->expires_ns = gr_now_ns() + API_KEY_NS;
    key->suspension = call->claim;
    key->answered = true;
    count_bytes(&call->api->keys, key, before, bytes_of(key));
    return !key->headers.failed && !key->answer.failed;
}

void api_keys_done(struct api_call *call)
{
    struct api_key *key = call->key;
    if (!key || key->answered)
        return;
    struct api_call *waiters = key->waiters;
    bool kept = !worth_another_try(call) && keep_answer(call, key);
    key->waiters = NULL;
    for (struct api_call *each = waiters; each; each = each->key_next) {
        each->waits_for = NULL;
        each->abandon = NULL;
    }
    /* Before they are answered: an answer lets its connection go on, and the next request there may have this key. */
    if (!kept)
        drop(&call->api->keys, key);
    for (struct api_call *next; waiters; waiters = next) {
        next = waiters->key_next;
        if (kept) {
            replay(waiters, key);
        } else {
            api_problem(waiters, 503, API_CODE_OUT_OF_RESOURCES,
                        "the first request with this " HEADER " could not be done; send it again");
        }
        api_call_done(waiters);
    }
}

bool api_keys_end(struct api_call *call, bool delivered)
{
    struct api_key *key = call->key;
    bool undo = !delivered && !(key && key->passed_on);
    if (!key)
        return undo;
    key->owner = NULL;
    call->key = NULL;
    /* What is undone was never answered. */
    if (undo && call->undelivered)
        drop(&call->api->keys, key);
    return undo;
}
