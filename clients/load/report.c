/*
 * report.c: what a run found, as text, JSON and CSV.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double percents[] = {50, 75, 90, 99, 99.9, 99.99};
#define PERCENTS (sizeof percents / sizeof percents[0])

const char *load_duration(char out[24], double ns)
{
    if (ns < 1e3)
        snprintf(out, 24, "%.0fns", ns);
    else if (ns < 1e6)
        snprintf(out, 24, "%.1fus", ns / 1e3);
    else if (ns < 1e9)
        snprintf(out, 24, "%.2fms", ns / 1e6);
    else
        snprintf(out, 24, "%.2fs", ns / 1e9);
    return out;
}

/* Calls row for each kind of request: operations, their second requests, and all together. */
static void each(const struct load_report *report,
                 void (*row)(const struct load_report *report, const char *name,
                             const struct load_figures *figures, void *ctx),
                 void *ctx)
{
    const struct load_plan *plan = report->plan;
    struct load_figures *total = calloc(1, sizeof *total);
    size_t rows = 0;
    if (!total)
        abort();
    load_total(plan, report->stats, total);
    for (size_t i = 0; i < plan->op_count; i++) {
        row(report, plan->op[i].name, &report->stats->op[i], ctx);
        rows++;
        if (plan->op[i].then[0]) {
            row(report, plan->op[i].then, &report->stats->then[i], ctx);
            rows++;
        }
    }
    if (rows > 1)
        row(report, "all", total, ctx);
    free(total);
}

static double rate_of(const struct load_report *report, uint64_t count)
{
    return report->stats->seconds > 0 ? (double)count / report->stats->seconds : 0;
}

/* ---- Text ------------------------------------------------------------------------------------- */

static void text_row(const struct load_report *report, const char *name,
                     const struct load_figures *figures, void *ctx)
{
    char text[24];
    http_buf_printf(ctx, "%-12s %10" PRIu64 " %10.0f %8" PRIu64, name, figures->answered,
                    rate_of(report, figures->answered), load_errors(figures));
    for (size_t i = 0; i < PERCENTS; i++)
        if (percents[i] != 75)
            http_buf_printf(
                ctx, " %9s",
                load_duration(text, (double)hist_percentile(&figures->latency, percents[i])));
    http_buf_printf(ctx, " %9s\n", load_duration(text, (double)figures->latency.max));
}

static void error_lines(const struct load_report *report, const char *name,
                        const struct load_figures *figures, void *ctx)
{
    const struct {
        const char *what;
        uint64_t count;
    } classes[] = {{"could not connect", figures->connect_failed},
                   {"connection ended", figures->closed},
                   {"no answer in time", figures->timed_out},
                   {"not HTTP", figures->garbled},
                   {"due but not sent by the end", figures->not_sent}};
    if (strcmp(name, "all") == 0)
        return;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (classes[i].count)
            http_buf_printf(ctx, "  %s: %" PRIu64 " %s\n", name, classes[i].count, classes[i].what);
    for (size_t i = 0; i < LOAD_STATUS_MAX; i++)
        if (figures->status[i])
            http_buf_printf(ctx, "  %s: %" PRIu64 " answered %zu\n", name, figures->status[i], i);
    (void)report;
}

static void proof_line(const struct load_report *report, struct http_buf *out)
{
    const struct load_proof *proof = report->proof;
    if (!report->plan->id_count)
        return;
    if (!proof->done)
        http_buf_printf(out, "after it:    NOT PROVED: %s\n", proof->why);
    else
        http_buf_printf(out, "after it:    %zu goroutines checked, %zu held, %zu stand still%s%s\n",
                        proof->checked, proof->held, proof->still,
                        proof->held || proof->still ? ": WRONG: " : "", proof->why);
}

static void expectation_lines(const struct load_report *report, struct http_buf *out)
{
    const struct load_plan *plan = report->plan;
    char text[24];
    for (size_t i = 0; i < plan->expect_count; i++) {
        double value;
        bool time =
            strncmp(plan->expect[i].metric, "p", 1) == 0 || plan->expect[i].metric[0] == 'm';
        bool good = load_expect_holds(plan, report->stats, &plan->expect[i], &value);
        if (time)
            load_duration(text, value);
        else
            snprintf(text, sizeof text, "%.6g", value);
        http_buf_printf(out, "expected %s: %s (%s)\n", plan->expect[i].text,
                        good ? "holds" : "FAILED", text);
    }
}

void load_report_text(const struct load_report *report, struct http_buf *out)
{
    const struct load_plan *plan = report->plan;
    struct load_figures *total = calloc(1, sizeof *total);
    char name[300];
    if (!total)
        abort();
    load_total(plan, report->stats, total);
    http_place_name(&plan->place, name, sizeof name);
    http_buf_printf(out, "%s, %u connections, %u threads, %s, %.2f s, seed %" PRIu64 "\n\n", name,
                    plan->connections, plan->threads,
                    plan->ramp_count ? "open loop (latency from the due time)" : "closed loop",
                    report->stats->seconds, plan->seed);
    http_buf_printf(out, "%-12s %10s %10s %8s %9s %9s %9s %9s %9s %9s\n", "operation", "answered",
                    "per second", "errors", "p50", "p90", "p99", "p99.9", "p99.99", "max");
    each(report, text_row, out);
    http_buf_printf(out, "\nbytes:       %.1f MB received, %.1f MB sent\n",
                    (double)total->bytes_in / 1e6, (double)total->bytes_out / 1e6);
    if (plan->subscribers)
        http_buf_printf(out,
                        "events:      %" PRIu64 " to %u subscribers, %.1f MB, %" PRIu64 " drops\n",
                        report->stats->events, plan->subscribers,
                        (double)report->stats->event_bytes / 1e6, report->stats->event_drops);
    if (load_errors(total)) {
        http_buf_str(out, "errors:\n");
        each(report, error_lines, out);
    }
    proof_line(report, out);
    expectation_lines(report, out);
    free(total);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static void set_uint(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *errors_json(const struct load_figures *figures)
{
    json_t *errors = json_object();
    char key[32];
    set_uint(errors, "connect", figures->connect_failed);
    set_uint(errors, "closed", figures->closed);
    set_uint(errors, "timeout", figures->timed_out);
    set_uint(errors, "garbled", figures->garbled);
    set_uint(errors, "not_sent", figures->not_sent);
    for (size_t i = 0; i < LOAD_STATUS_MAX; i++) {
        snprintf(key, sizeof key, "status_%zu", i);
        if (figures->status[i])
            set_uint(errors, key, figures->status[i]);
    }
    return errors;
}

static void json_row(const struct load_report *report, const char *name,
                     const struct load_figures *figures, void *ctx)
{
    json_t *row = json_object(), *latency = json_object();
    char key[32];
    json_object_set_new(row, "name", json_string(name));
    set_uint(row, "answered", figures->answered);
    json_object_set_new(row, "per_second", json_real(rate_of(report, figures->answered)));
    set_uint(row, "bytes_in", figures->bytes_in);
    set_uint(row, "bytes_out", figures->bytes_out);
    set_uint(row, "errors", load_errors(figures));
    json_object_set_new(row, "errors_by_class", errors_json(figures));
    set_uint(latency, "min", figures->latency.min);
    json_object_set_new(latency, "mean", json_real(hist_mean(&figures->latency)));
    for (size_t i = 0; i < PERCENTS; i++) {
        snprintf(key, sizeof key, "p%g", percents[i]);
        set_uint(latency, key, hist_percentile(&figures->latency, percents[i]));
    }
    set_uint(latency, "max", figures->latency.max);
    json_object_set_new(row, "latency_ns", latency);
    json_array_append_new(ctx, row);
}

static json_t *expectations_json(const struct load_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->plan->expect_count; i++) {
        double value;
        bool good =
            load_expect_holds(report->plan, report->stats, &report->plan->expect[i], &value);
        json_array_append_new(list, json_pack("{s:s,s:b,s:f}", "text", report->plan->expect[i].text,
                                              "holds", (int)good, "value", value));
    }
    return list;
}

json_t *load_report_json(const struct load_report *report)
{
    const struct load_plan *plan = report->plan;
    const struct load_stats *stats = report->stats;
    json_t *value = json_object(), *rows = json_array();
    char name[300];
    http_place_name(&plan->place, name, sizeof name);
    json_object_set_new(value, "place", json_string(name));
    json_object_set_new(value, "loop", json_string(plan->ramp_count ? "open" : "closed"));
    set_uint(value, "connections", plan->connections);
    set_uint(value, "threads", plan->threads);
    json_object_set_new(value, "seconds", json_real(stats->seconds));
    set_uint(value, "seed", plan->seed);
    each(report, json_row, rows);
    json_object_set_new(value, "operations", rows);
    json_object_set_new(value, "events",
                        json_pack("{s:i,s:I,s:I,s:I}", "subscribers", (int)plan->subscribers,
                                  "received", (json_int_t)stats->events, "bytes",
                                  (json_int_t)stats->event_bytes, "drops",
                                  (json_int_t)stats->event_drops));
    if (plan->id_count)
        json_object_set_new(value, "proof",
                            json_pack("{s:b,s:i,s:i,s:i}", "done", (int)report->proof->done,
                                      "checked", (int)report->proof->checked, "held",
                                      (int)report->proof->held, "still",
                                      (int)report->proof->still));
    json_object_set_new(value, "expectations", expectations_json(report));
    return value;
}

/* ---- CSV -------------------------------------------------------------------------------------- */

static void csv_row(const struct load_report *report, const char *name,
                    const struct load_figures *figures, void *ctx)
{
    http_buf_printf(ctx, "%s,%" PRIu64 ",%.1f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.0f",
                    name, figures->answered, rate_of(report, figures->answered),
                    load_errors(figures), figures->bytes_in, figures->bytes_out,
                    figures->latency.min, hist_mean(&figures->latency));
    for (size_t i = 0; i < PERCENTS; i++)
        http_buf_printf(ctx, ",%" PRIu64, hist_percentile(&figures->latency, percents[i]));
    http_buf_printf(ctx, ",%" PRIu64 "\n", figures->latency.max);
}

void load_report_csv(const struct load_report *report, struct http_buf *out)
{
    http_buf_str(out, "operation,answered,per_second,errors,bytes_in,bytes_out,min_ns,mean_ns");
    for (size_t i = 0; i < PERCENTS; i++)
        http_buf_printf(out, ",p%g_ns", percents[i]);
    http_buf_str(out, ",max_ns\n");
    each(report, csv_row, out);
}
