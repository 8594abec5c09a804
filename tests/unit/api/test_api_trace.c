/*
 * test_api_trace.c: from the scheduler's records to Chrome's trace events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>

#include "fake.h"
#include "trace_json.h"

static struct gr_trace_record record(uint64_t at_ns, uint64_t id, enum gr_trace_kind kind,
                                     int thread)
{
    return (struct gr_trace_record){
        .at_ns = at_ns, .id = id, .kind = kind, .thread = thread, .p = 0};
}

/* The document of these records, of a trace from 0 to end_ns. */
static json_t *document(const struct gr_trace_record *records, size_t count, uint64_t end_ns)
{
    struct api_trace_json json = {0};
    struct api_buf out = {0};
    api_trace_json_begin(&json, 0, 0, &out);
    for (size_t i = 0; i < count; i++)
        api_trace_json_add(&json, &records[i], &out);
    api_trace_json_end(&json, end_ns, &out);
    assert_false(out.failed);
    json_t *value = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(value);
    api_trace_json_free(&json);
    api_buf_free(&out);
    return value;
}

/* How many slices have that name, and the sum of their durations in us. */
static size_t slices(const json_t *document, const char *name, double *sum_us)
{
    size_t i, count = 0;
    json_t *event;
    *sum_us = 0;
    json_array_foreach(json_object_get(document, "traceEvents"), i, event)
    {
        const char *phase = json_string_value(json_object_get(event, "ph"));
        if (strcmp(phase, "X") || strcmp(json_string_value(json_object_get(event, "name")), name))
            continue;
        *sum_us += json_number_value(json_object_get(event, "dur"));
        count++;
    }
    return count;
}

static void runs_and_waits_are_slices_and_are_cut_at_the_end(void **state)
{
    const struct gr_trace_record records[] = {
        record(1000, 7, GR_TRACE_RUN, 0),
        record(3000, 7, GR_TRACE_BLOCK, 0),
        record(6000, 7, GR_TRACE_READY, 1),
        record(8000, 7, GR_TRACE_RUN, 0),
    };
    double us;
    (void)state;
    json_t *value = document(records, 4, 9000);
    assert_int_equal(slices(value, "g7", &us), 2);
    assert_true(us == 3);
    assert_int_equal(slices(value, "runnable", &us), 1);
    assert_true(us == 2);
    json_decref(value);
}

/* Its thread's record of how the run before it ended may have been overwritten. What is free is filled, so that using it is seen. */
static void a_newcomer_that_follows_an_unended_run_has_its_place_when_the_table_grows(void **state)
{
    struct gr_trace_record records[300];
    double us;
    (void)state;
    mallopt(M_PERTURB, 0x55);
    for (unsigned known = 1; known < 290; known++) { /* at one of these numbers it is half full */
        size_t count = 0;
        for (unsigned id = 1; id <= known; id++)
            records[count++] = record(1000, id, GR_TRACE_BORN, 1);
        records[count++] = record(2000, 1, GR_TRACE_RUN, 0);
        records[count++] = record(3000, known + 1, GR_TRACE_RUN, 0);
        json_t *value = document(records, count, 5000);
        assert_int_equal(slices(value, "g1", &us), 1);
        assert_true(us == 1);
        json_decref(value);
    }
    mallopt(M_PERTURB, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_waits_are_slices_and_are_cut_at_the_end),
        cmocka_unit_test(a_newcomer_that_follows_an_unended_run_has_its_place_when_the_table_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
