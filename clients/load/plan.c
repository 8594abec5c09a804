/*
 * plan.c: a scenario's JSON into a plan, and the times at which an open loop's operations are due.
 */
#include "load.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *then;
    bool needs_goroutines, takes_path;
} kinds[LOAD_KINDS] = {
    [LOAD_GET] = {"get", "", false, true},
    [LOAD_LIST] = {"list", "", false, true},
    [LOAD_SHOW] = {"show", "", true, false},
    [LOAD_STACK] = {"stack", "", true, false},
    [LOAD_SNAPSHOT] = {"snapshot", "", true, false},
    [LOAD_SUSPEND] = {"suspend", "resume", true, false},
    [LOAD_BULK] = {"bulk", "release", true, false},
    [LOAD_SPAWN] = {"spawn", "cancel", true, false},
};

bool load_parse_seconds(const char *text, double *seconds)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1},  {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3},
                 {"s", 1}, {"m", 60},    {"h", 3600}};
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit))
            continue;
        *seconds = number * units[i].seconds;
        return *seconds >= 0 && *seconds <= 1e7;
    }
    return false;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static int bad(char *err, size_t err_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int bad(char *err, size_t err_bytes, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(err, err_bytes, format, list);
    va_end(list);
    return -EINVAL;
}

static int check_members(const json_t *object, const char *where, const char *known, char *err,
                         size_t err_bytes)
{
    const char *key;
    json_t *value;
    char word[80];
    if (!json_is_object(object))
        return bad(err, err_bytes, "%s must be an object", where);
    json_object_foreach((json_t *)object, key, value)
    {
        snprintf(word, sizeof word, " %.60s ", key);
        if (!strstr(known, word))
            return bad(err, err_bytes, "%s has no member \"%.60s\"; there are%s", where, key,
                       known);
    }
    return 0;
}

static int read_uint(const json_t *object, const char *key, uint64_t min, uint64_t max,
                     uint64_t *out, char *err, size_t err_bytes)
{
    const json_t *value = json_object_get(object, key);
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < (json_int_t)min ||
        json_integer_value(value) > (json_int_t)max)
        return bad(err, err_bytes, "\"%s\" must be an integer from %llu to %llu", key,
                   (unsigned long long)min, (unsigned long long)max);
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

static int read_seconds(const json_t *object, const char *key, double *out, char *err,
                        size_t err_bytes)
{
    const json_t *value = json_object_get(object, key);
    if (!value)
        return 0;
    if (json_is_number(value) && json_number_value(value) >= 0) {
        *out = json_number_value(value);
        return 0;
    }
    if (json_is_string(value) && load_parse_seconds(json_string_value(value), out))
        return 0;
    return bad(err, err_bytes, "\"%s\" must be a time such as \"500ms\", \"10s\" or \"2m\"", key);
}

/* Figures and expectations go by name. */
static bool has_name(const struct load_plan *plan, const char *name)
{
    bool has = strcmp(name, "all") == 0; /* of the sum's line */
    for (size_t i = 0; i < plan->op_count; i++)
        has |= strcmp(plan->op[i].name, name) == 0 || strcmp(plan->op[i].then, name) == 0;
    return has;
}

static int read_op(struct load_plan *plan, const json_t *item, char *err, size_t err_bytes)
{
    struct load_op *op = &plan->op[plan->op_count];
    const char *name = json_string_value(json_object_get(item, "op"));
    const char *path = json_string_value(json_object_get(item, "path"));
    const char *alias = json_string_value(json_object_get(item, "name"));
    uint64_t weight = 1;
    int result =
        check_members(item, "an element of \"mix\"", " op weight path name ", err, err_bytes);
    if (!result)
        result = read_uint(item, "weight", 1, 1000000, &weight, err, err_bytes);
    if (result)
        return result;
    for (op->kind = 0; op->kind < LOAD_KINDS; op->kind++)
        if (name && strcmp(kinds[op->kind].name, name) == 0)
            break;
    if (op->kind == LOAD_KINDS)
        return bad(err, err_bytes,
                   "\"op\" must be get, list, show, stack, snapshot, suspend, bulk or spawn");
    if (path && (!kinds[op->kind].takes_path || path[0] != '/' || strpbrk(path, " \r\n")))
        return bad(err, err_bytes, "\"path\" goes with get and list, and begins with /");
    if (alias && (!alias[0] || strlen(alias) > LOAD_NAME_MAX || strpbrk(alias, ".<>=")))
        return bad(err, err_bytes,
                   "a \"name\" has 1 to %d bytes, none of them . < > =", LOAD_NAME_MAX);
    snprintf(op->name, sizeof op->name, "%s", alias ? alias : name);
    if (kinds[op->kind].then[0])
        snprintf(op->then, sizeof op->then, "%s%s%s", alias ? alias : "", alias ? "-" : "",
                 kinds[op->kind].then);
    const char *twice = has_name(plan, op->name)                  ? op->name
                        : op->then[0] && has_name(plan, op->then) ? op->then
                                                                  : NULL;
    if (twice)
        return bad(err, err_bytes, "two operations are called \"%s\": give each a \"name\"", twice);
    op->path = strdup(path ? path : op->kind == LOAD_GET ? "/healthz" : "/v1/goroutines?limit=100");
    op->weight = (unsigned)weight;
    plan->weight_total += op->weight;
    plan->op_count++;
    return 0;
}

static int read_mix(struct load_plan *plan, const json_t *mix, char *err, size_t err_bytes)
{
    size_t i;
    json_t *item;
    if (!json_is_array(mix) || !json_array_size(mix) || json_array_size(mix) > LOAD_OPS_MAX)
        return bad(err, err_bytes, "\"mix\" must be an array of 1 to %d operations", LOAD_OPS_MAX);
    json_array_foreach(mix, i, item)
    {
        int result = read_op(plan, item, err, err_bytes);
        if (result)
            return result;
    }
    return 0;
}

static int read_ramps(struct load_plan *plan, const json_t *ramps, char *err, size_t err_bytes)
{
    size_t i;
    json_t *item;
    if (!json_is_array(ramps) || json_array_size(ramps) > LOAD_RAMPS_MAX)
        return bad(err, err_bytes, "\"ramp\" must be an array of at most %d steps", LOAD_RAMPS_MAX);
    json_array_foreach(ramps, i, item)
    {
        struct load_ramp *ramp = &plan->ramp[plan->ramp_count++];
        int result = check_members(item, "an element of \"ramp\"", " from to for ", err, err_bytes);
        if (!result)
            result = read_seconds(item, "for", &ramp->seconds, err, err_bytes);
        if (result)
            return result;
        const json_t *from = json_object_get(item, "from"), *to = json_object_get(item, "to");
        if (!json_is_number(to) || (from && !json_is_number(from)) || ramp->seconds <= 0)
            return bad(err, err_bytes,
                       "a step of \"ramp\" is {\"from\": RATE, \"to\": RATE, \"for\": TIME}");
        ramp->to = json_number_value(to);
        ramp->from = from ? json_number_value(from) : i ? plan->ramp[i - 1].to : ramp->to;
    }
    return 0;
}

static int read_goroutines(struct load_plan *plan, const json_t *value, char *err, size_t err_bytes)
{
    uint64_t count = 1;
    const char *module = json_string_value(json_object_get(value, "module"));
    const char *entry = json_string_value(json_object_get(value, "entry"));
    int result =
        check_members(value, "\"goroutines\"", " module entry args count ", err, err_bytes);
    if (!result)
        result = read_uint(value, "count", 1, 100000, &count, err, err_bytes);
    if (result)
        return result;
    if (!module || !entry)
        return bad(err, err_bytes, "\"goroutines\" needs \"module\" and \"entry\"");
    plan->module = strdup(module);
    plan->entry = strdup(entry);
    plan->args = json_incref(json_object_get(value, "args"));
    plan->goroutines = (unsigned)count;
    return 0;
}

int load_plan_read(struct load_plan *plan, const json_t *scenario, char *err, size_t err_bytes)
{
    uint64_t connections = plan->connections, threads = plan->threads, requests = plan->requests;
    uint64_t subscribers = 0;
    const json_t *rate = json_object_get(scenario, "rate"),
                 *ramp = json_object_get(scenario, "ramp");
    const json_t *goroutines = json_object_get(scenario, "goroutines");
    int result = check_members(scenario, "the scenario",
                               " about connections threads duration requests rate ramp subscribers "
                               "goroutines mix ",
                               err, err_bytes);
    if (!result)
        result = read_uint(scenario, "connections", 1, 10000, &connections, err, err_bytes);
    if (!result)
        result = read_uint(scenario, "threads", 1, 64, &threads, err, err_bytes);
    if (!result)
        result = read_uint(scenario, "requests", 1, UINT64_C(1) << 53, &requests, err, err_bytes);
    if (!result)
        result = read_uint(scenario, "subscribers", 0, 1000, &subscribers, err, err_bytes);
    if (!result)
        result = read_seconds(scenario, "duration", &plan->seconds, err, err_bytes);
    if (!result)
        result = read_mix(plan, json_object_get(scenario, "mix"), err, err_bytes);
    if (!result && goroutines)
        result = read_goroutines(plan, goroutines, err, err_bytes);
    if (!result && ramp)
        result = read_ramps(plan, ramp, err, err_bytes);
    if (result)
        return result;
    if (rate && (ramp || !json_is_number(rate) || json_number_value(rate) <= 0))
        return bad(err, err_bytes, "\"rate\" is a number above 0, and not together with \"ramp\"");
    if (rate)
        plan->ramp[plan->ramp_count++] =
            (struct load_ramp){json_number_value(rate), json_number_value(rate), 1e9};
    plan->connections = (unsigned)connections;
    plan->threads = (unsigned)threads;
    plan->requests = requests;
    plan->subscribers = (unsigned)subscribers;
    return 0;
}

void load_plan_get(struct load_plan *plan, const char *path)
{
    struct load_op *op = &plan->op[plan->op_count++];
    *op = (struct load_op){.kind = LOAD_GET, .name = "get", .path = strdup(path), .weight = 1};
    plan->weight_total = 1;
}

int load_plan_check(struct load_plan *plan, char *err, size_t err_bytes)
{
    double ramps = 0;
    for (size_t i = 0; i < plan->op_count; i++)
        if (kinds[plan->op[i].kind].needs_goroutines && !plan->goroutines)
            return bad(err, err_bytes,
                       "\"%s\" works on goroutines: the scenario needs \"goroutines\"",
                       plan->op[i].name);
    for (size_t i = 0; i < plan->ramp_count; i++) {
        const struct load_ramp *ramp = &plan->ramp[i];
        if (ramp->from < 0 || ramp->to < 0 || ramp->from > 1e7 || ramp->to > 1e7 ||
            ramp->from + ramp->to <= 0)
            return bad(err, err_bytes, "a rate must be above 0 and at most 10000000 a second");
        ramps += ramp->seconds;
    }
    if (plan->ramp_count && ramps < 1e9 && (plan->seconds == 0 || plan->seconds > ramps))
        plan->seconds = ramps;
    if (plan->seconds == 0 && !plan->requests)
        plan->seconds = 10;
    if (plan->threads > plan->connections)
        plan->threads = plan->connections;
    return 0;
}

void load_plan_fini(struct load_plan *plan)
{
    for (size_t i = 0; i < plan->op_count; i++)
        free(plan->op[i].path);
    free(plan->module);
    free(plan->entry);
    free(plan->ids);
    free(plan->spawn_body);
    json_decref(plan->args);
}

/* ---- When ------------------------------------------------------------------------------------- */

/*
 * Within a step the number due until t is from*t + (to-from)*t*t/(2*seconds); the next one is due
 * when that has grown by 1/share, which is a quadratic equation.
 */
static double step_next(const struct load_ramp *ramp, double t, double amount)
{
    double slope = (ramp->to - ramp->from) / ramp->seconds;
    double rate = ramp->from + slope * t;
    if (fabs(slope) < 1e-9)
        return rate > 0 ? t + amount / rate : INFINITY;
    double inner = rate * rate + 2 * slope * amount;
    return inner < 0 ? INFINITY : t + (sqrt(inner) - rate) / slope;
}

uint64_t load_plan_next(const struct load_plan *plan, double share, uint64_t start_ns,
                        uint64_t at_ns)
{
    double t = (double)(at_ns - start_ns) / 1e9, begin = 0, amount = 1 / share;
    for (size_t i = 0; i < plan->ramp_count; i++) {
        const struct load_ramp *ramp = &plan->ramp[i];
        double end = begin + ramp->seconds;
        if (t < end) {
            double next = begin + step_next(ramp, t - begin, amount);
            if (next <= end)
                return start_ns + (uint64_t)(next * 1e9);
            /* What this step still had is taken off, the rest is due in the next. */
            double slope = (ramp->to - ramp->from) / ramp->seconds, left = end - t;
            amount -= (ramp->from + slope * (t - begin)) * left + slope * left * left / 2;
            t = end;
        }
        begin = end;
    }
    return UINT64_MAX;
}
