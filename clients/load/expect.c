/*
 * expect.c: assertions on a run: [OP.]METRIC RELATION VALUE, as "p99<5ms" or "suspend.errors==0".
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Metrics besides pN; the values of those marked are times. */
static const struct {
    const char *name;
    bool time;
} metrics[] = {{"mean", true},    {"min", true},       {"max", true},      {"rate", false},
               {"errors", false}, {"answered", false}, {"not-sent", false}};

static bool is_percentile(const char *metric, double *percent)
{
    char *end;
    if (metric[0] != 'p' || metric[1] < '0' || metric[1] > '9')
        return false;
    *percent = strtod(metric + 1, &end);
    return !*end && *percent > 0 && *percent <= 100;
}

/* 1: a time, 0: a number, -1: no metric. */
static int kind_of(const char *metric)
{
    double percent;
    if (is_percentile(metric, &percent))
        return 1;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        if (strcmp(metrics[i].name, metric) == 0)
            return metrics[i].time;
    return -1;
}

static bool parse_value(const char *text, bool time, double *out)
{
    char *end;
    if (time) {
        size_t size = strlen(text);
        bool unit =
            size && (text[size - 1] == 's' || text[size - 1] == 'm' || text[size - 1] == 'h');
        bool good = unit && load_parse_seconds(text, out);
        *out *= 1e9;
        return good;
    }
    if (*text < '0' || *text > '9')
        return false;
    *out = strtod(text, &end);
    return !*end;
}

/* "suspend.p99.9": the name ends at the first dot unless what is before it is a metric. */
static void split_name(struct load_expect *expect, const char *left)
{
    const char *dot = strchr(left, '.');
    if (dot && kind_of(left) < 0) {
        snprintf(expect->op, sizeof expect->op, "%.*s", dot - left > 31 ? 31 : (int)(dot - left),
                 left);
        left = dot + 1;
    }
    snprintf(expect->metric, sizeof expect->metric, "%.15s", left);
}

int load_expect_parse(struct load_expect *expect, const char *text, char *err, size_t err_bytes)
{
    char left[64];
    size_t size = strcspn(text, "<>="), sign = strspn(text + size, "<>=");
    *expect = (struct load_expect){0};
    snprintf(expect->text, sizeof expect->text, "%.63s", text);
    bool good = size > 0 && size < sizeof left && sign > 0 && sign < 3;
    if (good) {
        snprintf(left, sizeof left, "%.*s", (int)size, text);
        snprintf(expect->relation, sizeof expect->relation, "%.*s", (int)sign, text + size);
        split_name(expect, left);
        static const char known[] = " < <= > >= == ";
        char word[8];
        snprintf(word, sizeof word, " %s ", expect->relation);
        int kind = kind_of(expect->metric);
        good = strstr(known, word) && kind >= 0 &&
               parse_value(text + size + sign, kind == 1, &expect->value);
    }
    if (good)
        return 0;
    snprintf(
        err, err_bytes,
        "\"%s\" is no expectation: [OP.]METRIC then <, <=, >, >= or ==, then a value, as p99<5ms, "
        "suspend.p99.9<20ms, errors==0, rate>=1000; metrics are pN, mean, min, max (times with "
        "their unit), rate, errors, answered, not-sent",
        text);
    return -EINVAL;
}

/* The figures that an expectation is about; NULL: no such operation. */
static const struct load_figures *figures_of(const struct load_plan *plan,
                                             const struct load_stats *stats, const char *name)
{
    for (size_t i = 0; i < plan->op_count; i++) {
        if (strcmp(plan->op[i].name, name) == 0)
            return &stats->op[i];
        if (plan->op[i].then[0] && strcmp(plan->op[i].then, name) == 0)
            return &stats->then[i];
    }
    return NULL;
}

int load_expect_check(const struct load_plan *plan, char *err, size_t err_bytes)
{
    static const struct load_stats none;
    for (size_t i = 0; i < plan->expect_count; i++) {
        const char *name = plan->expect[i].op;
        if (!*name || figures_of(plan, &none, name))
            continue;
        snprintf(err, err_bytes, "--expect \"%s\": this run has no operation \"%s\"",
                 plan->expect[i].text, name);
        return -EINVAL;
    }
    return 0;
}

static double measure(const struct load_figures *figures, const char *metric, double seconds)
{
    double percent;
    if (is_percentile(metric, &percent))
        return (double)hist_percentile(&figures->latency, percent);
    if (strcmp(metric, "mean") == 0)
        return hist_mean(&figures->latency);
    if (strcmp(metric, "min") == 0)
        return (double)figures->latency.min;
    if (strcmp(metric, "max") == 0)
        return (double)figures->latency.max;
    if (strcmp(metric, "rate") == 0)
        return seconds > 0 ? (double)figures->answered / seconds : 0;
    if (strcmp(metric, "errors") == 0)
        return (double)load_errors(figures);
    if (strcmp(metric, "not-sent") == 0)
        return (double)figures->not_sent;
    return (double)figures->answered;
}

bool load_expect_holds(const struct load_plan *plan, const struct load_stats *stats,
                       const struct load_expect *expect, double *value)
{
    struct load_figures *total = calloc(1, sizeof *total);
    if (!total)
        abort();
    load_total(plan, stats, total);
    const struct load_figures *figures = *expect->op ? figures_of(plan, stats, expect->op) : total;
    *value = measure(figures, expect->metric, stats->seconds);
    /* A latency of nothing proves nothing. */
    bool empty = kind_of(expect->metric) == 1 && !figures->latency.count;
    free(total);
    double wanted = expect->value;
    bool equal = *value == wanted;
    if (empty)
        return false;
    if (strcmp(expect->relation, "==") == 0)
        return equal;
    return (expect->relation[0] == '<' ? *value < wanted : *value > wanted) ||
           (expect->relation[1] == '=' && equal);
}
