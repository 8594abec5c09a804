/*
 * why.c: why a goroutine does not run: what it waits for, who would have to act, who holds it.
 *
 * Added to the one goroutine that somebody asks for, not to lists: each answer is a walk over all
 * goroutines. What the runtime gives out was true at one moment (grasp/waits.h); the objects, their
 * owners and the suspensions are of moments close together.
 */
#include "internal.h"

#include <inttypes.h>
#include <string.h>

#include <grasp/waits.h>

#define PARTIES_SHOWN     100
#define SUSPENSIONS_SHOWN 64

/* ---- JSON ------------------------------------------------------------------------------------ */

/* `head` is what comes before the value: comma and name. */
static void put_id(struct api_buf *out, const char *head, uint64_t id)
{
    api_buf_str(out, head);
    if (id)
        api_buf_uint(out, id);
    else
        API_PUT(out, "null");
}

/* Who holds a lock, and what that one does. */
static void put_owner(struct api_buf *out, const struct gr_wait_object *object)
{
    struct gr_info owner;
    put_id(out, ",\"owner\":", object->owner);
    if (object->owner_thread > 0)
        api_member_uint(out, ",\"owner_thread\":", (uint64_t)object->owner_thread);
    if (!object->owner || gr_info(object->owner, &owner))
        return;
    api_member_text(out, ",\"owner_state\":", gr_state_name(owner.state));
    api_member_bool(out, ",\"owner_suspended\":", owner.suspended);
    api_member_text(out, ",\"owner_wait_reason\":", owner.wait_reason);
}

static void put_some(struct api_buf *out, const char *head, const struct gr_wait_party *parties,
                     size_t count, enum gr_wait_op op)
{
    bool any = false;
    api_buf_str(out, head);
    for (size_t i = 0; i < count; i++)
        if (parties[i].op == op) {
            api_member_uint(out, any ? "," : "", parties[i].id);
            any = true;
        }
    API_PUT(out, "]");
}

static void put_parties(struct api_buf *out, const struct gr_wait_object *object)
{
    struct gr_wait_party parties[PARTIES_SHOWN];
    size_t total = gr_wait_parties(object->kind, object->address, parties, PARTIES_SHOWN);
    size_t count = total < PARTIES_SHOWN ? total : PARTIES_SHOWN;
    if (object->kind == GR_OBJECT_CHANNEL) {
        put_some(out, ",\"senders\":[", parties, count, GR_WAIT_OP_SEND);
        put_some(out, ",\"receivers\":[", parties, count, GR_WAIT_OP_RECV);
    } else {
        put_some(out, ",\"waiters\":[", parties, count, GR_WAIT_OP_NONE);
    }
    api_member_uint(out, ",\"waiting\":", total);
}

static void put_channel(struct api_buf *out, const struct gr_wait_object *object)
{
    api_member_text(out, ",\"op\":", object->op == GR_WAIT_OP_SEND ? "send" : "receive");
    api_member_uint(out, ",\"length\":", object->length);
    api_member_uint(out, ",\"capacity\":", object->capacity);
    api_member_bool(out, ",\"closed\":", object->closed);
    put_id(out, ",\"last_sender\":", object->last_sender);
    put_id(out, ",\"last_receiver\":", object->last_receiver);
}

/* Without the brace that closes it. */
static void put_object(struct api_buf *out, const struct gr_wait_object *object)
{
    api_member_text(out, "{\"kind\":", gr_object_kind_name(object->kind));
    switch (object->kind) {
    case GR_OBJECT_FD:
        api_member_uint(out, ",\"fd\":", object->address);
        break;
    case GR_OBJECT_GOROUTINE:
        api_member_uint(out, ",\"goroutine\":", object->address);
        break;
    default:
        api_buf_str(out, ",\"address\":");
        api_put_hex(out, object->address);
        break;
    }
    if (object->kind == GR_OBJECT_CHANNEL)
        put_channel(out, object);
    if (object->kind == GR_OBJECT_WAITGROUP)
        api_buf_printf(out, ",\"count\":%" PRId64, object->count);
    if (object->kind == GR_OBJECT_MUTEX || object->kind == GR_OBJECT_THREAD_MUTEX ||
        object->kind == GR_OBJECT_THREAD_RWLOCK)
        put_owner(out, object);
}

/* What was written, as a value. NULL: no memory. */
static json_t *read_again(struct api_buf *text)
{
    json_t *value = text->failed ? NULL : json_loadb(text->data, text->size, 0, NULL);
    api_buf_free(text);
    return value;
}

json_t *api_wait_object_json(const struct gr_wait_object *object)
{
    struct api_buf text = {0};
    put_object(&text, object);
    API_PUT(&text, "}");
    return read_again(&text);
}

static void put_objects(struct api_buf *out, const struct gr_wait_info *wait)
{
    API_PUT(out, ",\"waits_for\":[");
    for (size_t i = 0; i < wait->object_count; i++) {
        if (i)
            API_PUT(out, ",");
        put_object(out, &wait->object[i]);
        put_parties(out, &wait->object[i]);
        API_PUT(out, "}");
    }
    api_member_bool(out, "],\"wait_timed\":", wait->timed);
    API_PUT(out, ",\"locks_held\":[");
    for (size_t i = 0; i < wait->lock_count; i++) {
        if (i)
            API_PUT(out, ",");
        api_put_hex(out, wait->lock[i]);
    }
    API_PUT(out, "]");
}

/* The suspensions as objects; holds that are none (gdb, snapshots, gr_suspend) are the rest of `holds`. */
static void put_holders(struct api_buf *out, struct api *api, const struct gr_info *info)
{
    uint64_t ids[SUSPENSIONS_SHOWN];
    size_t count = info->holds ? api_suspension_ids(api, info->id, ids, SUSPENSIONS_SHOWN) : 0;
    bool any = false;
    API_PUT(out, ",\"held_by\":[");
    for (size_t i = 0; i < count; i++) {
        json_t *suspension = NULL;
        /* Of the list form: the first above the one before is this one, unless it has just ended. */
        if (api_suspension_next(api, ids[i] - 1, &suspension) == ids[i] && suspension) {
            if (any)
                API_PUT(out, ",");
            any = true;
            api_json_write(out, suspension, false);
        }
        json_decref(suspension);
    }
    API_PUT(out, "]");
}

void api_why_write(struct api_buf *out, struct api *api, const struct gr_info *info)
{
    struct gr_wait_info wait;
    bool is_address = info->wait_address && strcmp(info->wait_reason, "poll") != 0;
    API_PUT(out, ",\"wait_address\":");
    if (is_address)
        api_put_hex(out, info->wait_address);
    else
        API_PUT(out, "null");
    /* Of one that has ended nothing is known. */
    if (info->state == GR_DEAD || gr_wait_info(info->id, &wait))
        wait = (struct gr_wait_info){0};
    /* One that began to wait since: what is shown is of one moment, and the loop looks for nobody. */
    if (!info->wait_reason[0])
        wait.object_count = 0;
    put_objects(out, &wait);
    put_holders(out, api, info);
}

bool api_why_add(struct api *api, const struct gr_info *info, json_t *value)
{
    struct api_buf text = {0};
    API_PUT(&text, "{\"id\":");
    api_buf_uint(&text,
                 info->id); /* as it is there already: every member behind it begins with a comma */
    api_why_write(&text, api, info);
    API_PUT(&text, "}");
    json_t *members = read_again(&text);
    bool added = members && json_object_update(value, members) == 0;
    json_decref(members);
    return added;
}

/* ---- Text ------------------------------------------------------------------------------------ */

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
    json_t *object, *lock, *rest;
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
    /* What was said in words is left out. */
    rest = json_copy((json_t *)value);
    json_object_del(rest, "waits_for");
    json_object_del(rest, "locks_held");
    json_object_del(rest, "held_by");
    api_text_lines(out, rest);
    json_decref(rest);
}
