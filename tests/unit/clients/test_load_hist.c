/*
 * test_load_hist.c: the histogram against sorted samples; schedules; expectations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "load.h"

#define SAMPLES 20000

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void every_value_is_in_the_bucket_that_ends_at_or_above_it(void **state)
{
    for (int bit = 0; bit < 64; bit++)
        for (int delta = -2; delta <= 2; delta++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)delta;
            unsigned index = hist_index(value);
            assert_true(index < HIST_BUCKETS);
            assert_true(hist_upper(index) >= value);
            assert_true(index == 0 || hist_upper(index - 1) < value);
            assert_true(hist_upper(index) - value <= value / HIST_HALF);
        }
    assert_true(hist_upper(HIST_BUCKETS - 1) == UINT64_MAX);
}

static void percentiles_are_those_of_the_sorted_samples_within_the_error(void **state)
{
    static const double percents[] = {1, 50, 90, 99, 99.9, 99.99, 100};
    uint64_t *samples = calloc(SAMPLES, sizeof *samples);
    random_state = 0x5eed;
    print_message("seed %#llx\n", (unsigned long long)random_state);
    for (int shape = 0; shape < 3; shape++) {
        struct hist *hist = calloc(1, sizeof *hist), *half = calloc(1, sizeof *half);
        for (size_t i = 0; i < SAMPLES; i++) {
            uint64_t r = next_random();
            samples[i] = shape == 0 ? r % 1000000 : shape == 1 ? r >> (r % 50) : 7;
            hist_add(i % 2 ? hist : half, samples[i]);
        }
        hist_merge(hist, half);
        qsort(samples, SAMPLES, sizeof *samples, compare);
        for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
            size_t rank = (size_t)(percents[i] / 100 * SAMPLES + 0.9999);
            uint64_t exact = samples[rank ? rank - 1 : 0];
            uint64_t found = hist_percentile(hist, percents[i]);
            if (found < exact || found - exact > exact / HIST_HALF)
                fail_msg("shape %d p%g: %llu, exactly %llu", shape, percents[i],
                         (unsigned long long)found, (unsigned long long)exact);
        }
        assert_int_equal(hist->count, SAMPLES);
        assert_true(hist->min == samples[0] && hist->max == samples[SAMPLES - 1]);
        free(hist);
        free(half);
    }
    free(samples);
}

static void an_empty_histogram_has_no_latency(void **state)
{
    struct hist *hist = calloc(1, sizeof *hist);
    assert_int_equal(hist_percentile(hist, 99), 0);
    assert_true(hist_mean(hist) == 0);
    free(hist);
}

/* Walks the schedule and counts what is due before each second's end. */
static void the_number_that_is_due_is_the_area_below_the_rate(void **state)
{
    struct load_plan *plan = calloc(1, sizeof *plan);
    plan->ramp[0] = (struct load_ramp){0, 1000, 2};
    plan->ramp[1] = (struct load_ramp){1000, 1000, 1};
    plan->ramp[2] = (struct load_ramp){1000, 200, 2};
    plan->ramp_count = 3;
    /* 1000, then 1000, then 1200 in all; threads with shares have theirs. */
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        uint64_t start = 5000000000, at = start, due = 0, in_step[3] = {0};
        while ((at = load_plan_next(plan, 1.0 / threads, start, at)) != UINT64_MAX) {
            double t = (double)(at - start) / 1e9;
            in_step[t <= 2 ? 0 : t <= 3 ? 1 : 2]++;
            due++;
            assert_true(due < 10000);
        }
        assert_in_range(in_step[0] * threads, 990, 1010);
        assert_in_range(in_step[1] * threads, 990, 1010);
        assert_in_range(in_step[2] * threads, 1190, 1210);
    }
    free(plan);
}

static void a_steady_rate_is_steady(void **state)
{
    struct load_plan *plan = calloc(1, sizeof *plan);
    plan->ramp[0] = (struct load_ramp){250, 250, 1e9};
    plan->ramp_count = 1;
    uint64_t at = load_plan_next(plan, 1, 0, 0);
    assert_in_range(at, 3999990, 4000010);
    for (int i = 0; i < 1000; i++) {
        uint64_t next = load_plan_next(plan, 1, 0, at);
        assert_in_range(next - at, 3999990, 4000010);
        at = next;
    }
    free(plan);
}

static void expectations_are_read_and_judged(void **state)
{
    struct load_plan *plan = calloc(1, sizeof *plan);
    struct load_stats *stats = calloc(1, sizeof *stats);
    static const struct {
        const char *text;
        bool holds;
    } rows[] = {{"p50<6ms", true},
                {"p50<5ms", false},
                {"suspend.p99<=10ms", true},
                {"suspend.max==10ms", true},
                {"resume.p99<1s", false},
                {"errors==1", true},
                {"suspend.errors==0", false},
                {"rate>0.9", true},
                {"answered>=2", true},
                {"suspend.p99.9>1us", true},
                {"not-sent<1", true},
                {"min>4999us", true}};
    char err[512];
    double value;
    strcpy(plan->op[0].name, "suspend");
    strcpy(plan->op[0].then, "resume");
    plan->op_count = 1;
    hist_add(&stats->op[0].latency, 5000000);
    hist_add(&stats->op[0].latency, 10000000);
    stats->op[0].answered = 2;
    stats->op[0].timed_out = 1;
    stats->seconds = 2;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct load_expect expect;
        if (load_expect_parse(&expect, rows[i].text, err, sizeof err))
            fail_msg("%s", err);
        if (load_expect_holds(plan, stats, &expect, &value) != rows[i].holds)
            fail_msg("%s: %f", rows[i].text, value);
    }
    free(plan);
    free(stats);
}

static void what_is_no_expectation_is_refused(void **state)
{
    static const char *const rows[] = {"",         "p99",     "p99<5",    "p99<x", "p0<5ms",
                                       "p101<5ms", "x.y<5s",  "errors<a", "<5ms",  "p99=5ms",
                                       "p99<>5ms", "rate>-1", "p99<<5ms"};
    char err[512];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct load_expect expect;
        *err = 0;
        if (!load_expect_parse(&expect, rows[i], err, sizeof err) || !*err)
            fail_msg("\"%s\" was taken", rows[i]);
    }
}

static void bad_scenarios_are_refused_with_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[]", "must be an object"},
        {"{}", "\"mix\" must be an array"},
        {"{\"mix\":[]}", "\"mix\" must be an array"},
        {"{\"mix\":[{\"op\":\"frob\"}]}", "\"op\" must be get,"},
        {"{\"mix\":[{\"op\":\"get\"}],\"rat\":1}", "no member \"rat\""},
        {"{\"mix\":[{\"op\":\"get\",\"weight\":0}]}", "\"weight\" must be an integer from 1"},
        {"{\"mix\":[{\"op\":\"suspend\",\"path\":\"/x\"}]}", "\"path\" goes with get"},
        {"{\"mix\":[{\"op\":\"suspend\"}]}", "needs \"goroutines\""},
        {"{\"mix\":[{\"op\":\"get\"}],\"connections\":10001}", "from 1 to 10000"},
        {"{\"mix\":[{\"op\":\"get\"}],\"duration\":\"5 s\"}", "must be a time"},
        {"{\"mix\":[{\"op\":\"get\"}],\"rate\":5,\"ramp\":[]}", "not together"},
        {"{\"mix\":[{\"op\":\"get\"}],\"ramp\":[{\"to\":5}]}", "a step of \"ramp\""},
        {"{\"mix\":[{\"op\":\"get\"}],\"ramp\":[{\"to\":-5,\"for\":1}]}", "above 0"},
        {"{\"mix\":[{\"op\":\"get\"}],\"goroutines\":{}}", "needs \"module\""}};
    char err[512];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct load_plan *plan = calloc(1, sizeof *plan);
        json_t *scenario = json_loads(rows[i].text, 0, NULL);
        *err = 0;
        int result = load_plan_read(plan, scenario, err, sizeof err);
        if (!result)
            result = load_plan_check(plan, err, sizeof err);
        if (!result || !strstr(err, rows[i].says))
            fail_msg("%s: said \"%s\"", rows[i].text, err);
        json_decref(scenario);
        load_plan_fini(plan);
        free(plan);
    }
}

static void the_picture_is_markup_whatever_the_names_are(void **state)
{
    struct load_plan *plan = calloc(1, sizeof *plan);
    struct load_stats *stats = calloc(1, sizeof *stats);
    struct load_report report = {.plan = plan, .stats = stats};
    struct http_buf out = {0};
    strcpy(plan->op[0].name, "<a>&\001");
    plan->op_count = 1;
    load_report_svg(&report, &out); /* nothing was answered */
    assert_non_null(strstr(out.data, "</svg>"));
    hist_add(&stats->op[0].latency, 1000);
    out.size = 0;
    load_report_svg(&report, &out);
    assert_non_null(strstr(out.data, ">&lt;a>&amp;</text>"));
    assert_null(strstr(out.data, "nan"));
    http_buf_free(&out);
    free(plan);
    free(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_in_the_bucket_that_ends_at_or_above_it),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_samples_within_the_error),
        cmocka_unit_test(an_empty_histogram_has_no_latency),
        cmocka_unit_test(the_number_that_is_due_is_the_area_below_the_rate),
        cmocka_unit_test(a_steady_rate_is_steady),
        cmocka_unit_test(expectations_are_read_and_judged),
        cmocka_unit_test(what_is_no_expectation_is_refused),
        cmocka_unit_test(bad_scenarios_are_refused_with_what_is_wrong),
        cmocka_unit_test(the_picture_is_markup_whatever_the_names_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
