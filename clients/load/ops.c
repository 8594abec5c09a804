/*
 * ops.c: what operations send.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BODY_KEPT (1024 * 1024) /* of answers that are read for an id */

/* xorshift64*: seeded, so that a run can be had again. */
uint64_t load_random(struct worker *worker)
{
    worker->random ^= worker->random >> 12;
    worker->random ^= worker->random << 25;
    worker->random ^= worker->random >> 27;
    return worker->random * UINT64_C(2685821657736338717);
}

unsigned load_pick_op(struct worker *worker)
{
    const struct load_plan *plan = worker->plan;
    if (plan->op_count == 1)
        return 0;
    uint64_t at = load_random(worker) % plan->weight_total;
    for (unsigned i = 0;; i++) { /* ends: at is below the sum of weights */
        if (at < plan->op[i].weight)
            return i;
        at -= plan->op[i].weight;
    }
}

static void request(struct conn *conn, const char *method, const char *target, const char *body)
{
    struct http_request request = {
        .method = method, .target = target, .body = body, .body_bytes = body ? strlen(body) : 0};
    conn->out.size = 0;
    http_request_write(&conn->out, &conn->worker->plan->place, &request);
}

static void first_request(struct conn *conn, const struct load_op *op)
{
    const struct load_plan *plan = conn->worker->plan;
    char target[96], body[160];
    if (plan->id_count)
        conn->goroutine = plan->ids[load_random(conn->worker) % plan->id_count];
    switch (op->kind) {
    case LOAD_GET:
    case LOAD_LIST:
        request(conn, "GET", op->path, NULL);
        break;
    case LOAD_SHOW:
    case LOAD_STACK:
    case LOAD_SNAPSHOT:
        snprintf(target, sizeof target, "/v1/goroutines/%" PRIu64 "%s", conn->goroutine,
                 op->kind == LOAD_STACK      ? "/stack"
                 : op->kind == LOAD_SNAPSHOT ? "/snapshot"
                                             : "");
        request(conn, "GET", target, NULL);
        break;
    case LOAD_SUSPEND:
        snprintf(target, sizeof target, "/v1/goroutines/%" PRIu64 "/suspend", conn->goroutine);
        snprintf(body, sizeof body, "{\"lease_ms\":%d,\"owner\":\"grasp-load\"}", LOAD_LEASE_MS);
        request(conn, "POST", target, body);
        break;
    case LOAD_BULK:
        snprintf(body, sizeof body,
                 "{\"selector\":\"grasp-load=%s\",\"lease_ms\":%d,\"owner\":\"grasp-load\"}",
                 plan->label, LOAD_LEASE_MS);
        request(conn, "POST", "/v1/suspensions", body);
        break;
    case LOAD_SPAWN:
        request(conn, "POST", "/v1/goroutines", plan->spawn_body);
        break;
    case LOAD_KINDS:
        break;
    }
}

void load_op_request(struct conn *conn)
{
    const struct load_op *op = &conn->worker->plan->op[conn->op];
    conn->step = 0;
    conn->answer.body_max = op->then[0] ? BODY_KEPT : 0;
    first_request(conn, op);
}

/* The id in the first answer; 0: there is none. */
static uint64_t answer_id(const struct conn *conn, enum load_kind kind)
{
    json_t *value = json_loadb(conn->answer.body.data, conn->answer.body.size, 0, NULL);
    const json_t *id = kind == LOAD_SPAWN ? json_array_get(json_object_get(value, "ids"), 0)
                                          : json_object_get(value, "id");
    uint64_t number = (uint64_t)json_integer_value(id);
    json_decref(value);
    return number;
}

bool load_op_then(struct conn *conn)
{
    const struct load_op *op = &conn->worker->plan->op[conn->op];
    char target[96], body[64];
    if (conn->step || !op->then[0])
        return false;
    uint64_t id = answer_id(conn, op->kind);
    if (!id)
        return false;
    conn->step = 1;
    conn->answer.body_max = 0;
    if (op->kind == LOAD_SUSPEND) {
        snprintf(target, sizeof target, "/v1/goroutines/%" PRIu64 "/resume", conn->goroutine);
        snprintf(body, sizeof body, "{\"suspension\":%" PRIu64 "}", id);
        request(conn, "POST", target, body);
        return true;
    }
    snprintf(target, sizeof target,
             op->kind == LOAD_SPAWN ? "/v1/goroutines/%" PRIu64 : "/v1/suspensions/%" PRIu64, id);
    request(conn, "DELETE", target, NULL);
    return true;
}
