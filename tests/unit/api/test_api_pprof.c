/*
 * test_api_pprof.c: tallies, folded stacks, flame graphs, texts and the profile's bytes, over made-up stacks.
 *
 * That go tool pprof reads the whole is tests/e2e/e2e_profiles.py's claim; here are the corners.
 */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "flame.h"
#include "pprof_encode.h"
#include "pprof_text.h"
#include "tally.h"

static const struct gr_frame two_frames[] = {
    {.pc = 0x1010, .offset = 0, .line = 3, .inlined = true, .function = "in<ner>", .module = "m"},
    {.pc = 0x1010, .offset = 16, .line = 9, .function = "mid;dle x", .file = "a.c", .module = "m"},
    {.pc = 0x2020, .offset = 0x20, .module = "lib.so"},
};

static struct api_stack stack_of(const struct gr_frame *frames, size_t count)
{
    return (struct api_stack){.id = 7, .frames = frames, .count = count, .value = {1, 10}};
}

static const char *text_of(struct api_buf *out)
{
    assert_false(out->failed);
    api_buf_add(out, "", 1);
    return out->data;
}

static void a_tally_keeps_each_text_once_and_adds_its_values(void **state)
{
    struct api_tally tally = {0};
    char text[32];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5000; i++) {
            int size = snprintf(text, sizeof text, "text number %d", i);
            assert_int_equal(api_tally_add(&tally, text, (size_t)size, 1, i), i);
        }
    assert_int_equal(tally.count, 5000);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "text number %d", i);
        assert_string_equal(api_tally_text(&tally, (size_t)i), text);
        assert_int_equal(tally.item[i].value[0], 3);
        assert_int_equal(tally.item[i].value[1], 3 * i);
    }
    /* Texts may contain any byte, and one may begin another. */
    assert_int_equal(api_tally_add(&tally, "a\0b", 3, 0, 0), 5000);
    assert_int_equal(api_tally_add(&tally, "a", 1, 0, 0), 5001);
    assert_int_equal(api_tally_add(&tally, "", 0, 0, 0), 5002);
    assert_false(tally.failed);
    api_tally_free(&tally);
}

static void folded_lines_have_one_word_a_frame(void **state)
{
    struct api_tally lines = {0};
    struct api_buf line = {0}, out = {0};
    struct api_stack stack = stack_of(two_frames, 3), empty = stack_of(NULL, 0);
    struct api_stack cut = stack_of(two_frames + 2, 1);
    cut.truncated = true;
    api_folded_add(&lines, &line, &stack);
    api_folded_add(&lines, &line, &empty);
    api_folded_add(&lines, &line, &stack);
    api_folded_add(&lines, &line, &cut);
    api_folded_write(&lines, &out);
    assert_string_equal(text_of(&out), "[cut];lib.so+0x20 1\n"
                                       "[not stopped] 1\n"
                                       "lib.so+0x20;mid_dle_x;in<ner> 2\n");
    api_buf_free(&out);
    api_buf_free(&line);
    api_tally_free(&lines);
}

static void a_flame_graph_escapes_names_and_draws_nothing_of_nothing(void **state)
{
    struct api_tally lines = {0};
    struct api_buf line = {0}, out = {0};
    struct api_stack stack = stack_of(two_frames, 3);
    api_flame_write(&lines, "nothing & <none>", "samples", &out);
    const char *svg = text_of(&out);
    assert_non_null(strstr(svg, "nothing &amp; &lt;none&gt;"));
    assert_null(strstr(svg, "<g>"));
    api_buf_clear(&out);
    api_folded_add(&lines, &line, &stack);
    api_flame_write(&lines, "one", "samples", &out);
    svg = text_of(&out);
    assert_non_null(strstr(svg, "in&lt;ner&gt; (1 samples, 100.00%)"));
    assert_null(strstr(svg, "<ner>"));
    api_buf_free(&out);
    api_buf_free(&line);
    api_tally_free(&lines);
}

static void stacks_with_other_labels_are_not_alike(void **state)
{
    struct api_tally blocks = {0};
    struct api_buf block = {0}, out = {0};
    struct api_stack stack = stack_of(two_frames, 3);
    static struct gr_info info;
    api_alike_add(&blocks, &block, &stack);
    info.label_count = 1;
    strcpy(info.label[0].key, "k");
    strcpy(info.label[0].value, "a \"quoted\" one\n");
    stack.info = &info;
    api_alike_add(&blocks, &block, &stack);
    api_alike_add(&blocks, &block, &stack);
    api_alike_write(&blocks, "goroutine profile", &out);
    static const char begin[] = "goroutine profile: total 3\n2 @ 0x1010 0x2020\n"
                                "# labels: {\"k\":\"a \\\"quoted\\\" one?\"}\n"
                                "#\t0x1010\tin<ner>+0x0\tm\n"
                                "#\t0x1010\tmid;dle x+0x10\ta.c:9\n"
                                "#\t0x2020\tlib.so+0x20+0x0\tlib.so\n"
                                "\n1 @ 0x1010 0x2020\n#\t";
    assert_memory_equal(text_of(&out), begin, sizeof begin - 1);
    api_buf_free(&out);
    api_buf_free(&block);
    api_tally_free(&blocks);
}

/* Of one that did not stop the function that it was last seen in is known, inlined or not, and of a cut stack the inner ones. */
static void a_stack_that_ends_in_an_inlined_function_has_its_address(void **state)
{
    struct api_tally blocks = {0};
    struct api_buf block = {0}, out = {0};
    struct api_stack stack = stack_of(two_frames, 1);
    (void)state;
    api_alike_add(&blocks, &block, &stack);
    api_alike_write(&blocks, "goroutine profile", &out);
    assert_string_equal(text_of(&out),
                        "goroutine profile: total 1\n1 @ 0x1010\n#\t0x1010\tin<ner>+0x0\tm\n\n");
    api_buf_free(&out);
    api_buf_free(&block);
    api_tally_free(&blocks);
}

static size_t gunzip(const struct api_buf *in, unsigned char *out, size_t out_bytes)
{
    z_stream zip = {.next_in = (unsigned char *)in->data,
                    .avail_in = (unsigned)in->size,
                    .next_out = out,
                    .avail_out = (unsigned)out_bytes};
    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK);
    assert_int_equal(inflate(&zip, Z_FINISH), Z_STREAM_END);
    inflateEnd(&zip);
    return out_bytes - zip.avail_out;
}

static void profiles_have_each_location_and_string_once(void **state)
{
    static const struct api_pprof_type types[] = {{"samples", "count"}, {"cpu", "nanoseconds"}};
    struct api_pprof *pprof = api_pprof_create(types, 2, &types[1], 300);
    struct api_stack stack = stack_of(two_frames, 3);
    struct api_buf out = {0};
    unsigned char raw[4096];
    assert_non_null(pprof);
    for (int i = 0; i < 100; i++)
        api_pprof_add(pprof, &stack);
    api_pprof_end(pprof, 5, 6, &out);
    assert_false(out.failed);
    size_t size = gunzip(&out, raw, sizeof raw);
    unsigned count[16] = {0};
    for (size_t at = 0; at < size;) {
        unsigned key = raw[at++], field = key >> 3;
        count[field < 16 ? field : 0]++;
        if ((key & 7) == 2)
            at += raw[at] + 1u;
        else
            while (raw[at++] & 0x80)
                ;
    }
    const unsigned wanted[16] = {[1] = 2,  [2] = 100, [3] = 2,  [4] = 2,  [5] = 3,
                                 [6] = 12, [9] = 1,   [10] = 1, [11] = 1, [12] = 1};
    for (unsigned i = 0; i < 16; i++)
        if (count[i] != wanted[i])
            fail_msg("field %u: %u of them, not %u", i, count[i], wanted[i]);
    api_buf_free(&out);
}

static void parameters_are_checked_and_unknown_ones_ignored(void **state)
{
    json_t *problem = NULL;
    fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("GET", "/debug/pprof/goroutine?debug=1&gc=1", NULL, NULL), 200);
    assert_int_equal(fake_ask("GET", "/debug/pprof/goroutine?format=png", NULL, &problem), 400);
    assert_string_equal(fake_code(problem), "bad-request");
    json_decref(problem);
    assert_int_equal(fake_ask("GET", "/debug/pprof/goroutine?selector=a,,", NULL, &problem), 400);
    json_decref(problem);
    assert_int_equal(fake_ask("POST", "/debug/pprof/goroutine", NULL, NULL), 405);
}

static void one_that_does_not_stop_is_shown_where_it_was_seen(void **state)
{
    fake_goroutine(GR_WAITING);
    uint64_t running = fake_goroutine(GR_RUNNING);
    /* As Go's, from 2 on. */
    const char *const targets[] = {"/debug/pprof/goroutine?debug=2",
                                   "/debug/pprof/goroutine?debug=3"};
    for (size_t i = 0; i < 2; i++) {
        struct fake_call *call = fake_start("GET", targets[i], NULL);
        fake_run();
        assert_true(call->replied);
        assert_int_equal(call->call.reply.status, 200);
        assert_string_equal(call->body, "goroutine 1 [waiting]:\nloop(...)\n\ta.c:12 +0x4\n"
                                        "0x2000(...)\n\t?\n\n"
                                        "goroutine 2 [running]:\n\n");
        fake_finish(call, true);
    }
    assert_int_equal(fake_holds(running), 0);
    assert_int_equal(fake_holds(1), 0);
}

static struct fake_call *profile_start(const char *target)
{
    struct fake_call *call = fake_start("GET", target, NULL);
    fake_run();
    return call;
}

static void a_cpu_profile_takes_its_time_and_is_one_at_a_time(void **state)
{
    json_t *problem = NULL;
    uint64_t g = fake_goroutine(GR_RUNNING);
    fake_label(g, "team", "red");
    struct fake_call *call = profile_start("/debug/pprof/profile?seconds=1&format=text");
    for (unsigned i = 0; i < 19; i++) {
        assert_false(call->replied);
        fake_clock_add_ms(50);
        fake_run();
    }
    assert_int_equal(fake_ask("GET", "/debug/pprof/profile?seconds=1", NULL, &problem), 429);
    assert_string_equal(fake_code(problem), "limit-reached");
    json_decref(problem);
    assert_false(call->replied);
    fake_clock_add_ms(50);
    fake_run();
    assert_true(call->replied);
    assert_int_equal(call->call.reply.status, 200);
    /* One record of two periods at each of 21 drains. */
    static const char begin[] = "cpu profile: total 42\n42 @ 0x1000 0x2000\n"
                                "# labels: {\"team\":\"red\"}\n";
    assert_memory_equal(call->body, begin, sizeof begin - 1);
    fake_finish(call, true);
    /* And it is over: the next one starts. */
    call = profile_start("/debug/pprof/profile?seconds=1&format=folded&selector=team%3Dblue");
    for (unsigned i = 0; i < 20; i++) {
        fake_clock_add_ms(50);
        fake_run();
    }
    assert_true(call->replied);
    assert_int_equal(call->body_bytes, 0);
    fake_finish(call, true);
}

static void a_cpu_profile_whose_client_went_ends(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *call = profile_start("/debug/pprof/profile?seconds=3600");
    assert_false(call->replied);
    api_call_abandon(&call->call);
    fake_run();
    assert_true(call->replied);
    fake_finish(call, false);
    call = profile_start("/debug/pprof/profile?seconds=3600");
    assert_false(call->replied);
    api_drain(fake_api);
    fake_clock_add_ms(50);
    fake_run();
    assert_true(call->replied);
    fake_finish(call, true);
    assert_int_equal(fake_ask("GET", "/debug/pprof/profile?hz=0", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/debug/pprof/profile?hz=1001", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/debug/pprof/profile?seconds=3601", NULL, NULL), 400);
}

/* Go's 0 is its default of 30 seconds, and so is ours; but nobody has to wait for a body that is not sent. */
static void head_of_a_measurement_measures_nothing(void **state)
{
    static const char *const targets[] = {"/debug/pprof/profile?seconds=0",
                                          "/debug/pprof/profile?seconds=3600&format=svg",
                                          "/debug/trace?seconds=3600"};
    for (unsigned i = 0; i < 3; i++) {
        struct fake_call *call = fake_start("HEAD", targets[i], NULL);
        assert_true(call->replied);
        assert_int_equal(call->call.reply.status, 200);
        assert_true(call->call.reply.streaming); /* of no length that would be another one's for GET */
        assert_non_null(call->call.reply.content_type);
        fake_finish(call, true);
    }
    assert_int_equal(fake_ask("HEAD", "/debug/pprof/profile?seconds=x", NULL, NULL), 400);
    struct fake_call *call = profile_start("/debug/pprof/profile?seconds=0");
    fake_clock_add_ms(29999);
    fake_run();
    assert_false(call->replied);
    fake_clock_add_ms(1);
    fake_run();
    assert_true(call->replied);
    fake_finish(call, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tally_keeps_each_text_once_and_adds_its_values),
        cmocka_unit_test(folded_lines_have_one_word_a_frame),
        cmocka_unit_test(a_flame_graph_escapes_names_and_draws_nothing_of_nothing),
        cmocka_unit_test(stacks_with_other_labels_are_not_alike),
        cmocka_unit_test(a_stack_that_ends_in_an_inlined_function_has_its_address),
        cmocka_unit_test(profiles_have_each_location_and_string_once),
        cmocka_unit_test_setup_teardown(parameters_are_checked_and_unknown_ones_ignored,
                                        fake_host_start, fake_host_stop),
        cmocka_unit_test_setup_teardown(a_cpu_profile_takes_its_time_and_is_one_at_a_time,
                                        fake_host_start, fake_host_stop),
        cmocka_unit_test_setup_teardown(a_cpu_profile_whose_client_went_ends, fake_host_start,
                                        fake_host_stop),
        cmocka_unit_test_setup_teardown(head_of_a_measurement_measures_nothing, fake_host_start,
                                        fake_host_stop),
        cmocka_unit_test_setup_teardown(one_that_does_not_stop_is_shown_where_it_was_seen,
                                        fake_host_start, fake_host_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
