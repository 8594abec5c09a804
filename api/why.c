/*
 * why.c: why a goroutine does not run: what it waits for, who would have to act, who holds it.
 *
 * Added to the one goroutine that somebody asks for, not to lists: each answer is a walk over all
 * goroutines. What the runtime gives out was true at one moment (grasp/waits.h); the objects, their
 * owners and the suspensions are of moments close together.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/waits.h>

#define PARTIES_SHOWN     100
#define SUSPENSIONS_SHOWN 64

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

static json_t *id_json(uint64_t id)
{
    return id ? api_json_uint(id) : json_null();
}

/* Who holds a lock, and what that one does. */
static void add_owner(json_t *value, const struct gr_wait_object *object)
{
    struct gr_info owner;
    json_object_set_new(value, "owner", id_json(object->owner));
    if (object->owner_thread > 0)
        json_object_set_new(value, "owner_thread", json_integer(object->owner_thread));
    if (!object->owner || gr_info(object->owner, &owner))
        return;
    json_object_set_new(value, "owner_state", json_string(gr_state_name(owner.state)));
    json_object_set_new(value, "owner_suspended", json_boolean(owner.suspended));
    json_object_set_new(value, "owner_wait_reason",
                        api_json_string(owner.wait_reason[0] ? owner.wait_reason : NULL));
}

static json_t *parties_json(const struct gr_wait_party *parties, size_t count, enum gr_wait_op op)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (parties[i].op == op)
            json_array_append_new(list, api_json_uint(parties[i].id));
    return list;
}

static void add_parties(json_t *value, const struct gr_wait_object *object)
{
    struct gr_wait_party parties[PARTIES_SHOWN];
    size_t total = gr_wait_parties(object->kind, object->address, parties, PARTIES_SHOWN);
    size_t count = total < PARTIES_SHOWN ? total : PARTIES_SHOWN;
    if (object->kind == GR_OBJECT_CHANNEL) {
        json_object_set_new(value, "senders", parties_json(parties, count, GR_WAIT_OP_SEND));
        json_object_set_new(value, "receivers", parties_json(parties, count, GR_WAIT_OP_RECV));
    } else {
        json_object_set_new(value, "waiters", parties_json(parties, count, GR_WAIT_OP_NONE));
    }
    json_object_set_new(value, "waiting", api_json_uint(total));
}

static void add_channel(json_t *value, const struct gr_wait_object *object)
{
    json_object_set_new(value, "op",
                        json_string(object->op == GR_WAIT_OP_SEND ? "send" : "receive"));
    json_object_set_new(value, "length", api_json_uint(object->length));
    json_object_set_new(value, "capacity", api_json_uint(object->capacity));
    json_object_set_new(value, "closed", json_boolean(object->closed));
    json_object_set_new(value, "last_sender", id_json(object->last_sender));
    json_object_set_new(value, "last_receiver", id_json(object->last_receiver));
}

json_t *api_wait_object_json(const struct gr_wait_object *object)
{
    json_t *value = json_pack("{s:s}", "kind", gr_object_kind_name(object->kind));
    switch (object->kind) {
    case GR_OBJECT_FD:
        json_object_set_new(value, "fd", json_integer((json_int_t)object->address));
        break;
    case GR_OBJECT_GOROUTINE:
        json_object_set_new(value, "goroutine", api_json_uint(object->address));
        break;
    default:
        json_object_set_new(value, "address", api_json_hex(object->address));
        break;
    }
    if (object->kind == GR_OBJECT_CHANNEL)
        add_channel(value, object);
    if (object->kind == GR_OBJECT_WAITGROUP)
        json_object_set_new(value, "count", json_integer(object->count));
    if (object->kind == GR_OBJECT_MUTEX || object->kind == GR_OBJECT_THREAD_MUTEX ||
        object->kind == GR_OBJECT_THREAD_RWLOCK)
        add_owner(value, object);
    return value;
}

static void add_objects(json_t *value, const struct gr_wait_info *wait)
{
    json_t *objects = json_array();
    for (size_t i = 0; i < wait->object_count; i++) {
        json_t *object = api_wait_object_json(&wait->object[i]);
        add_parties(object, &wait->object[i]);
        json_array_append_new(objects, object);
    }
    json_object_set_new(value, "waits_for", objects);
    json_object_set_new(value, "wait_timed", json_boolean(wait->timed));
    json_t *locks = json_array();
    for (size_t i = 0; i < wait->lock_count; i++)
        json_array_append_new(locks, api_json_hex(wait->lock[i]));
    json_object_set_new(value, "locks_held", locks);
}

/* The suspensions as objects; holds that are none (gdb, snapshots, gr_suspend) are the rest of `holds`. */
static void add_holders(struct api *api, json_t *value, uint64_t id)
{
    uint64_t ids[SUSPENSIONS_SHOWN];
    size_t count = api_suspension_ids(api, id, ids, SUSPENSIONS_SHOWN);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *suspension = NULL;
        /* Of the list form: the first above the one before is this one, unless it has just ended. */
        if (api_suspension_next(api, ids[i] - 1, &suspension) == ids[i] && suspension)
            json_array_append(list, suspension);
        json_decref(suspension);
    }
    json_object_set_new(value, "held_by", list);
}

void api_why_add(struct api *api, const struct gr_info *info, json_t *value)
{
    /* Some KiB: not on a pool thread's stack together with what the caller has. */
    struct gr_wait_info *wait = malloc(sizeof *wait);
    json_object_set_new(value, "wait_address",
                        strcmp(info->wait_reason, "poll") ? api_json_address(info->wait_address)
                                                          : json_null());
    if (wait && gr_wait_info(info->id, wait) == 0)
        add_objects(value, wait);
    free(wait);
    add_holders(api, value, info->id);
}

/* ---- Text
 * ---------------------------------------------------------------------------------------- */

static const char *string_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void seconds(struct api_buf *out, uint64_t ns)
{
    api_buf_printf(out, "%.3f s", (double)ns / 1e9);
}

static void id_list(struct api_buf *out, const char *what, const json_t *ids)
{
    size_t i;
    json_t *id;
    if (json_array_size(ids) == 0)
        return;
    api_buf_printf(out, "; %s", what);
    json_array_foreach(ids, i, id)
        api_buf_printf(out, "%s%" JSON_INTEGER_FORMAT, i ? ", " : " ", json_integer_value(id));
}

static void owner_text(struct api_buf *out, const json_t *object)
{
    const char *reason = string_of(object, "owner_wait_reason");
    if (number_of(object, "owner"))
        api_buf_printf(
            out, ", held by goroutine %" PRIu64 " (%s%s%s%s)", number_of(object, "owner"),
            string_of(object, "owner_state"), *reason ? ": " : "", reason,
            json_is_true(json_object_get(object, "owner_suspended")) ? ", suspended" : "");
    else if (number_of(object, "owner_thread"))
        api_buf_printf(out, ", held by thread %" PRIu64 ", which runs no goroutine",
                       number_of(object, "owner_thread"));
}

static void channel_text(struct api_buf *out, const json_t *object)
{
    uint64_t sender = number_of(object, "last_sender");
    uint64_t receiver = number_of(object, "last_receiver");
    api_buf_printf(out, " to %s (%" PRIu64 " of %" PRIu64 " in it%s)", string_of(object, "op"),
                   number_of(object, "length"), number_of(object, "capacity"),
                   json_is_true(json_object_get(object, "closed")) ? ", closed" : "");
    if (sender)
        api_buf_printf(out, "; last sender %" PRIu64, sender);
    if (receiver)
        api_buf_printf(out, "; last receiver %" PRIu64, receiver);
    id_list(out, "waiting senders", json_object_get(object, "senders"));
    id_list(out, "waiting receivers", json_object_get(object, "receivers"));
}

void api_wait_object_text(struct api_buf *out, const json_t *object)
{
    const char *kind = string_of(object, "kind");
    api_buf_str(out, kind);
    if (json_object_get(object, "fd"))
        api_buf_printf(out, " %" PRIu64, number_of(object, "fd"));
    else if (json_object_get(object, "goroutine"))
        api_buf_printf(out, " %" PRIu64 " to stop", number_of(object, "goroutine"));
    else
        api_buf_printf(out, " %s", string_of(object, "address"));
    if (strcmp(kind, "channel") == 0)
        channel_text(out, object);
    if (json_object_get(object, "count"))
        api_buf_printf(out, " with a count of %" PRIu64, number_of(object, "count"));
    owner_text(out, object);
    id_list(out, "waiting", json_object_get(object, "waiters"));
}

static void held_text(struct api_buf *out, const json_t *value)
{
    const json_t *held_by = json_object_get(value, "held_by");
    size_t i;
    json_t *suspension;
    json_array_foreach(held_by, i, suspension)
    {
        api_buf_printf(out, "  held by suspension %" PRIu64 " of ", number_of(suspension, "id"));
        api_buf_plain(out, string_of(suspension, "principal"), 0);
        if (*string_of(suspension, "owner")) {
            api_buf_str(out, ", owner ");
            api_buf_plain(out, string_of(suspension, "owner"), 0);
        }
        if (*string_of(suspension, "reason")) {
            api_buf_str(out, ": ");
            api_buf_plain(out, string_of(suspension, "reason"), 0);
        }
        api_buf_str(out, ", for another ");
        seconds(out, number_of(suspension, "remaining_ms") * 1000000);
        api_buf_str(out, "\n");
    }
    if (number_of(value, "holds") > json_array_size(held_by))
        api_buf_printf(out, "  held %" PRIu64 " times by others: gdb, a snapshot or gr_suspend\n",
                       number_of(value, "holds") - json_array_size(held_by));
}

/* Why it does not run, in words; then every member in a line. */
void api_text_goroutine(struct api_buf *out, const json_t *value)
{
    const char *reason = string_of(value, "wait_reason");
    size_t i;
    json_t *object, *lock;
    api_buf_printf(out, "goroutine %" PRIu64 " is %s", number_of(value, "id"),
                   string_of(value, "state"));
    if (*reason) {
        api_buf_printf(out, " (%s) for ", reason);
        seconds(out, number_of(value, "wait_ns"));
    }
    api_buf_str(out, "\n");
    json_array_foreach(json_object_get(value, "waits_for"), i, object)
    {
        api_buf_str(out, i ? "  or for " : "  waits for ");
        api_wait_object_text(out, object);
        api_buf_str(out, "\n");
    }
    json_array_foreach(json_object_get(value, "locks_held"), i, lock)
        api_buf_printf(out, "  holds mutex %s\n", json_string_value(lock));
    held_text(out, value);
    api_buf_str(out, "\n");
    api_text_lines(out, value);
}
