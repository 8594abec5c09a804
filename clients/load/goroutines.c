/*
 * goroutines.c: the goroutines that a run works on, and the proof that it left them well.
 *
 * An argument "counter": "auto" gives each goroutine a file of its own to count in (the example module
 * hog does); these are read as an outsider reads them. Without, the daemon's account of cpu time
 * has to grow.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct asker {
    struct http_connection connection;
    struct http_answer answer;
};

static void asker_init(struct asker *asker, const struct load_plan *plan)
{
    http_connection_init(&asker->connection, &plan->place);
    asker->connection.timeout_ms = 30000;
    http_answer_init(&asker->answer);
}

static void asker_fini(struct asker *asker)
{
    http_connection_close(&asker->connection);
    http_answer_fini(&asker->answer);
}

/* NULL: why in err. */
static json_t *ask(struct asker *asker, const char *method, const char *target, const char *body,
                   char *err, size_t err_bytes)
{
    struct http_request request = {
        .method = method, .target = target, .body = body, .body_bytes = body ? strlen(body) : 0};
    if (http_exchange(&asker->connection, &request, &asker->answer)) {
        snprintf(err, err_bytes, "%s", asker->connection.err);
        return NULL;
    }
    json_t *value = asker->answer.body.size
                        ? json_loadb(asker->answer.body.data, asker->answer.body.size, 0, NULL)
                        : json_object();
    if (asker->answer.status / 100 == 2 && value)
        return value;
    const char *detail = json_string_value(json_object_get(value, "detail"));
    snprintf(err, err_bytes, "%s %s: %d: %s", method, target, asker->answer.status,
             detail ? detail : "no reason given");
    json_decref(value);
    return NULL;
}

/* ---- Starting --------------------------------------------------------------------------------- */

/* The body of a spawn with one counter file, or none; the caller frees it. */
static char *spawn_body(const struct load_plan *plan, const char *label, const char *counter)
{
    json_t *args = plan->args ? json_deep_copy(plan->args) : json_null();
    if (json_is_object(args) && json_object_get(args, "counter")) {
        if (counter)
            json_object_set_new(args, "counter", json_string(counter));
        else
            json_object_del(args, "counter");
    }
    json_t *body = json_pack("{s:s,s:s,s:o,s:{s:s}}", "module", plan->module, "entry", plan->entry,
                             "args", args, "labels", "grasp-load", label);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

static bool wants_counters(const struct load_plan *plan)
{
    const char *counter = json_string_value(json_object_get(plan->args, "counter"));
    return counter && strcmp(counter, "auto") == 0;
}

static void counter_path(const struct load_plan *plan, size_t i, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s/%zu", plan->counters, i);
}

static int start_one(struct load_plan *plan, struct asker *asker, size_t i, char *err,
                     size_t err_bytes)
{
    char path[128];
    counter_path(plan, i, path, sizeof path);
    char *body = spawn_body(plan, plan->label, plan->counters[0] ? path : NULL);
    json_t *answer = ask(asker, "POST", "/v1/goroutines", body, err, err_bytes);
    free(body);
    if (!answer)
        return -1;
    plan->ids[plan->id_count++] =
        (uint64_t)json_integer_value(json_array_get(json_object_get(answer, "ids"), 0));
    json_decref(answer);
    return 0;
}

int load_goroutines_start(struct load_plan *plan, char *err, size_t err_bytes)
{
    struct asker asker;
    char label[64];
    int result = 0;
    if (!plan->goroutines)
        return 0;
    plan->ids = calloc(plan->goroutines, sizeof *plan->ids);
    if (!plan->ids) {
        snprintf(err, err_bytes, "%s", strerror(ENOMEM));
        return -1;
    }
    if (wants_counters(plan)) {
        snprintf(plan->counters, sizeof plan->counters, "/tmp/grasp-load-XXXXXX");
        if (!mkdtemp(plan->counters)) {
            snprintf(err, err_bytes, "cannot make a directory for counters: %s", strerror(errno));
            plan->counters[0] = 0;
            return -1;
        }
    }
    snprintf(label, sizeof label, "%.40s-spawned", plan->label);
    plan->spawn_body = spawn_body(plan, label, NULL);
    asker_init(&asker, plan);
    for (size_t i = 0; i < plan->goroutines && !result; i++)
        result = start_one(plan, &asker, i, err, err_bytes);
    asker_fini(&asker);
    return result;
}

/* ---- Proving ---------------------------------------------------------------------------------- */

/* What is to be seen of a goroutine: `moved` grows while it runs. */
struct look {
    uint64_t holds, moved;
    bool dead;
};

/* False: it can't be had. */
static bool look_at(const struct load_plan *plan, struct asker *asker, size_t i, struct look *look,
                    char *err, size_t err_bytes)
{
    char text[128];
    snprintf(text, sizeof text, "/v1/goroutines/%" PRIu64, plan->ids[i]);
    json_t *g = ask(asker, "GET", text, NULL, err, err_bytes);
    if (!g)
        return false;
    const char *state = json_string_value(json_object_get(g, "state"));
    look->dead = state && strcmp(state, "dead") == 0;
    look->holds = (uint64_t)json_integer_value(json_object_get(g, "holds"));
    look->moved = (uint64_t)json_integer_value(json_object_get(g, "cpu_ns"));
    json_decref(g);
    if (!plan->counters[0] || look->dead)
        return true;
    counter_path(plan, i, text, sizeof text);
    /* One that has not come to make its file has counted nothing. */
    FILE *file = fopen(text, "re");
    if (!file || fread(&look->moved, sizeof look->moved, 1, file) != 1)
        look->moved = 0;
    bool good = file || errno == ENOENT;
    if (!good)
        snprintf(err, err_bytes, "counter %s: %s", text, strerror(errno));
    if (file)
        fclose(file);
    return good;
}

/* Counts goroutine i in proof, and says of the first one what is wrong. */
static void judge(const struct load_plan *plan, size_t i, const struct look *last, bool moved,
                  struct load_proof *proof)
{
    bool held = last->holds != 0 && !last->dead, first = !proof->held && !proof->still;
    proof->checked++;
    proof->held += held;
    proof->still += !held && !moved;
    if (first && !moved)
        snprintf(proof->why, sizeof proof->why, "goroutine %" PRIu64 " %s", plan->ids[i],
                 last->dead ? "has ended"
                 : held     ? "is still held"
                            : "does not move");
}

/* Waits until goroutine i is free and has moved; counts it in proof if it does not. */
static bool prove_one(const struct load_plan *plan, struct asker *asker, size_t i,
                      struct load_proof *proof)
{
    struct look look = {0};
    uint64_t first = 0, give_up = load_now_ns() + (uint64_t)(plan->prove_seconds * 1e9);
    struct timespec pause = {0, 2000000};
    bool moved = false, seen = false;
    do {
        if (!look_at(plan, asker, i, &look, proof->why, sizeof proof->why))
            return false;
        if (look.holds == 0 && seen)
            moved = look.moved != first && !look.dead;
        if (look.holds == 0 && !seen) {
            seen = true;
            first = look.moved;
        }
        if (!moved && !look.dead)
            nanosleep(&pause, NULL);
    } while (load_now_ns() < give_up && !moved && !look.dead);
    judge(plan, i, &look, moved, proof);
    return true;
}

/* How many that "spawn" operations left are still held. */
static bool count_held(const struct load_plan *plan, struct asker *asker, struct load_proof *proof)
{
    char target[128];
    snprintf(target, sizeof target,
             "/v1/goroutines?suspended=true&limit=1000&selector=grasp-load%%3D%s-spawned",
             plan->label);
    json_t *list = ask(asker, "GET", target, NULL, proof->why, sizeof proof->why);
    if (!list)
        return false;
    proof->held += json_array_size(json_object_get(list, "items"));
    json_decref(list);
    return true;
}

void load_goroutines_prove(struct load_plan *plan, struct load_proof *proof)
{
    struct asker asker;
    bool good = true;
    *proof = (struct load_proof){0};
    if (!plan->id_count)
        return;
    asker_init(&asker, plan);
    for (size_t i = 0; i < plan->id_count && good; i++)
        good = prove_one(plan, &asker, i, proof);
    proof->done = good && count_held(plan, &asker, proof);
    asker_fini(&asker);
}

void load_goroutines_end(struct load_plan *plan)
{
    struct asker asker;
    char text[160], err[512];
    asker_init(&asker, plan);
    for (size_t i = 0; i < plan->id_count; i++) {
        snprintf(text, sizeof text, "/v1/goroutines/%" PRIu64, plan->ids[i]);
        json_decref(ask(&asker, "DELETE", text, NULL, err, sizeof err));
    }
    for (size_t i = 0; i < plan->id_count && plan->counters[0]; i++) {
        /* Its file is mapped until it is gone. */
        snprintf(text, sizeof text, "/v1/goroutines/%" PRIu64 "?wait_ms=10000", plan->ids[i]);
        json_decref(ask(&asker, "GET", text, NULL, err, sizeof err));
        counter_path(plan, i, text, sizeof text);
        unlink(text);
    }
    asker_fini(&asker);
    if (plan->counters[0])
        rmdir(plan->counters);
}
