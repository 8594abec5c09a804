/*
 * test_server_gdb.c: gdb's protocol, byte by byte, over a goroutine that really stands still.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include <grasp/goroutine.h>
#include <grasp/runtime.h>

#include "gdb.h"
#include "gdb_holds.h"

static struct srv_gdb *gdb;
static struct gr_hold *held;
static uint64_t id;

static void sleep_until_cancelled(void *arg)
{
    (void)arg;
    gr_sleep_ns(UINT64_C(3600000000000));
}

static int set_up(void **state)
{
    (void)state;
    struct api_gdb *holds = calloc(1, sizeof *holds + sizeof holds->member[0]);
    struct gr_go_opts opts = {.fn = sleep_until_cancelled, .name = "a<b>&\"c\""};
    struct gr_info info;
    id = (uint64_t)gr_go_with(&opts);
    /* Until it sleeps; the test's time-out is the only limit. */
    while (gr_info(id, &info) || strcmp(info.wait_reason, "sleep"))
        sched_yield();
    holds->count = 1;
    held = &holds->member[0].hold;
    if (gr_hold_wait(held, id, UINT64_C(30000000000)))
        return -1;
    gdb = srv_gdb_create(holds, NULL);
    return gdb ? 0 : -1;
}

static bool is_held(void)
{
    struct gr_info info;
    return gr_info(id, &info) == 0 && info.holds > 0;
}

static int tear_down(void **state)
{
    (void)state;
    srv_gdb_destroy(gdb);
    gr_cancel(id);
    return is_held() ? -1 : 0;
}

/* One packet in, without acknowledgements; what comes out, without its frame. */
static const char *ask(const char *packet)
{
    static char answer[4 * SRV_GDB_PACKET_BYTES];
    struct api_buf in = {0}, out = {0};
    srv_gdb_frame(&in, packet, strlen(packet));
    srv_gdb_feed(gdb, in.data, in.size, &out);
    const char *begin = out.data ? memrchr(out.data, '$', out.size) : NULL;
    assert_non_null(begin);
    size_t size = (size_t)(out.data + out.size - begin);
    assert_true(size >= 4 && size < sizeof answer);
    assert_int_equal(begin[size - 3], '#');
    memcpy(answer, begin + 1, size - 4);
    answer[size - 4] = 0;
    api_buf_free(&in);
    api_buf_free(&out);
    return answer;
}

static void feed(const char *bytes, const char *wanted)
{
    struct api_buf out = {0};
    srv_gdb_feed(gdb, bytes, strlen(bytes), &out);
    if (out.size != strlen(wanted) || memcmp(out.data ? out.data : "", wanted, out.size))
        fail_msg("\"%s\" gave \"%.*s\" instead of \"%s\"", bytes, (int)out.size, out.data, wanted);
    api_buf_free(&out);
}

static void packets_may_come_in_pieces_and_damaged(void **state)
{
    (void)state;
    feed("", "");
    feed("+$qAtt", "");
    feed("ached#8", "");
    feed("f", "+$1#31");
    feed("-", "$1#31");         /* it was damaged on its way */
    feed("$qAttached#00", "-"); /* ours was */
    feed("$qAttached#zz", "-");
    feed("\003+", ""); /* an interrupt: nothing runs */
    feed("$qAttached#8f$nonsense#69", "+$1#31+$#00");
    feed("$QStartNoAckMode#b0", "+$OK#9a");
    feed("$qAttached#8f", "$1#31");
    feed("-", "");
}

static void a_packet_that_is_too_long_ends_the_session(void **state)
{
    (void)state;
    struct api_buf in = {0}, out = {0};
    api_buf_str(&in, "$");
    for (int i = 0; i < SRV_GDB_PACKET_BYTES; i++)
        api_buf_str(&in, "x");
    assert_true(srv_gdb_feed(gdb, in.data, in.size, &out)); /* at the limit */
    assert_false(srv_gdb_feed(gdb, "x", 1, &out));
    api_buf_free(&in);
    api_buf_free(&out);
}

static unsigned long number_at(const char *hex, size_t byte, size_t bytes)
{
    unsigned long value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | (unsigned long)(srv_gdb_digit(hex[2 * (byte + i)]) << 4 |
                                             srv_gdb_digit(hex[2 * (byte + i) + 1]));
    return value;
}

/* Where a register lies in the g packet, by the description that gdb is given. -1: it has none. */
static long place_of(const char *name)
{
    static char xml[65536];
    char wanted[64];
    long place = 0;
    assert_true(gr_gdb_description(xml, sizeof xml) < sizeof xml);
    snprintf(wanted, sizeof wanted, "<reg name=\"%s\" ", name);
    const char *end = strstr(xml, wanted);
    if (!end)
        return -1;
    for (const char *at = xml; (at = strstr(at, "bitsize=\"")) && at < end; at += 9)
        place += strtol(at + 9, NULL, 10) / 8;
    return place;
}

static void registers_are_those_of_the_stop_and_the_unsaved_are_marked(void **state)
{
    (void)state;
    struct gr_copy copy = {.stack_capacity = 4096, .stack = malloc(4096)};
    char pc_name[8] = "", sp_name[8] = "";
    assert_int_equal(gr_copy_held(held, &copy), 0);
    for (unsigned i = 0; i < gr_register_count(); i++) {
        const char *name = gr_register_name(i);
        if (strcmp(name, "rip") == 0 || strcmp(name, "pc") == 0)
            strcpy(pc_name, name);
        if (strcmp(name, "rsp") == 0 || strcmp(name, "sp") == 0)
            strcpy(sp_name, name);
    }
    const char *hex = ask("g");
    size_t bytes = strlen(hex) / 2;
    long pc = place_of(pc_name), sp = place_of(sp_name);
    assert_true(pc > 0 && sp > 0 && (size_t)pc + 8 <= bytes);
    assert_int_equal(number_at(hex, (size_t)pc, 8), copy.pc);
    assert_int_equal(number_at(hex, (size_t)sp, 8), copy.sp);
    for (unsigned i = 0; i < gr_register_count(); i++) {
        long place = place_of(gr_register_name(i));
        if (place >= 0)
            assert_int_equal(hex[2 * place] != 'x', copy.reg_present >> i & 1);
    }
    assert_true(copy.reg_present != (UINT64_C(1) << gr_register_count()) - 1);
    free(copy.stack);
}

static void memory_is_read_as_far_as_it_is_there(void **state)
{
    (void)state;
    static const char text[] = "known";
    char packet[64];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(munmap(two + page, page), 0);
    snprintf(packet, sizeof packet, "m%lx,5", (unsigned long)text);
    assert_string_equal(ask(packet), "6b6e6f776e");
    two[page - 1] = 7;
    snprintf(packet, sizeof packet, "m%lx,20", (unsigned long)(two + page - 1));
    assert_string_equal(ask(packet), "07");
    snprintf(packet, sizeof packet, "m%lx,20", (unsigned long)(two + page));
    assert_string_equal(ask(packet), "E14");
    assert_string_equal(ask("m0,1"), "E14");
    assert_string_equal(ask("mffffffffffffffff,ffffffffffffffff"), "E14");
    assert_string_equal(ask("m,"), "E01");
    assert_string_equal(ask("m10"), "E01");
    assert_string_equal(ask("m11112222333344445,1"), "E01");
    /* No more than fits, however much is wanted. */
    snprintf(packet, sizeof packet, "m%lx,ffffff", (unsigned long)held);
    assert_true(strlen(ask(packet)) < SRV_GDB_PACKET_BYTES);
    munmap(two, page);
}

static void the_thread_is_named_in_well_formed_xml(void **state)
{
    (void)state;
    char id_text[64];
    const char *xml = ask("qXfer:threads:read::0,4000");
    snprintf(id_text, sizeof id_text, "<thread id=\"%llx\"", (unsigned long long)id);
    assert_int_equal(xml[0], 'l');
    assert_non_null(strstr(xml, id_text));
    assert_non_null(strstr(xml, "name=\"a&}\x03"
                                "60;b&}\x03"
                                "62;&}\x03"
                                "38;&}\x03"
                                "34;c&}\x03"
                                "34;\""));
    assert_non_null(strstr(xml, "waiting: sleep</thread>"));
    snprintf(id_text, sizeof id_text, "m%llx", (unsigned long long)id);
    assert_string_equal(ask("qfThreadInfo"), id_text);
    assert_string_equal(ask("qsThreadInfo"), "l");
    snprintf(id_text, sizeof id_text, "QC%llx", (unsigned long long)id);
    assert_string_equal(ask("qC"), id_text);
    snprintf(id_text, sizeof id_text, "T05thread:%llx;", (unsigned long long)id);
    assert_string_equal(ask("?"), id_text);
    snprintf(id_text, sizeof id_text, "T%llx", (unsigned long long)id);
    assert_string_equal(ask(id_text), "OK");
    snprintf(id_text, sizeof id_text, "Hg%llx", (unsigned long long)id + 1);
    assert_string_equal(ask(id_text), "E01");
    assert_string_equal(ask("Hg0"), "OK");
    assert_string_equal(ask("Hc-1"), "OK");
}

static void a_document_in_pieces_is_the_whole(void **state)
{
    (void)state;
    static char whole[65536], pieces[65536];
    char packet[64];
    size_t at = 0;
    assert_true(gr_gdb_description(whole, sizeof whole) < sizeof whole);
    for (;;) {
        snprintf(packet, sizeof packet, "qXfer:features:read:target.xml:%zx,101", at);
        const char *piece = ask(packet);
        size_t size = strlen(piece + 1);
        memcpy(pieces + at, piece + 1, size + 1);
        at += size;
        if (piece[0] == 'l')
            break;
        assert_int_equal(piece[0], 'm');
    }
    assert_string_equal(pieces, whole);
    assert_string_equal(ask("qXfer:features:read:target.xml:ffffff,10"), "l");
    assert_string_equal(ask("qXfer:features:read:other.xml:0,10"), "");
    assert_string_equal(ask("qXfer:features:read:target.xml:"), "E01");
    assert_string_equal(ask("qXfer:memory-map:read::0,10"), "");
}

static void nothing_can_be_written_or_run(void **state)
{
    (void)state;
    static const char *const writes[] = {"G00",    "P10=00",  "M10,1:00",
                                         "X10,0:", "Z0,10,1", "z0,10,1"};
    static const char *const runs[] = {"c", "C05", "s", "S05", "c1000"};
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        assert_int_equal(strncmp(ask(writes[i]), "E.held goroutines", 17), 0);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        assert_string_equal(ask(runs[i]), "E01");
    assert_string_equal(ask("vCont?"), "");
    assert_string_equal(ask("vMustReplyEmpty"), "");
    assert_true(is_held());
}

static void after_detach_it_is_over(void **state)
{
    (void)state;
    struct api_buf out = {0};
    assert_false(srv_gdb_feed(gdb, "$D#44$g#67", 10, &out));
    assert_int_equal(out.size, 7); /* the OK alone: what came behind it is not answered */
    assert_memory_equal(out.data, "+$OK#9a", 7);
    api_buf_free(&out);
    srv_gdb_destroy(gdb);
    gdb = NULL;
    assert_false(is_held());
}

static void a_session_that_is_refused_says_why(void **state)
{
    (void)state;
    struct srv_gdb *real = gdb;
    gdb = srv_gdb_create(NULL, "nothing is suspended");
    assert_string_equal(ask("qSupported:x"), "E.nothing is suspended");
    assert_string_equal(ask("?"), "W00");
    assert_string_equal(ask("g"), "E01");
    assert_string_equal(ask("m1000,1"), "E14");
    assert_string_equal(ask("qC"), "");
    assert_string_equal(ask("qfThreadInfo"), "l");
    srv_gdb_destroy(gdb);
    gdb = real;
}

static void random_packets_break_nothing(void **state)
{
    (void)state;
    static const char *const heads[] = {"qXfer:features:read:target.xml:",
                                        "m",
                                        "H",
                                        "T",
                                        "qRcmd,",
                                        "qXfer:auxv:read::",
                                        "g",
                                        "?",
                                        "qC",
                                        "vKil",
                                        "k?"};
    const char *text = getenv("GRASP_TEST_SEED");
    uint64_t seed = 0;
    if (text)
        seed = strtoull(text, NULL, 0);
    else
        assert_int_equal(getrandom(&seed, sizeof seed, 0), sizeof seed);
    printf("GRASP_TEST_SEED=0x%llx\n", (unsigned long long)seed);
    for (int round = 0; round < 20000; round++) {
        struct api_buf in = {0}, out = {0};
        char body[64];
        size_t size = (size_t)(seed >> 33) % 20;
        for (size_t i = 0; i < size; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            body[i] =
                seed >> 60 < 8 ? "0123456789abcdef,:-"[(seed >> 40) % 19] : (char)(seed >> 50);
            if (body[i] == '#' || body[i] == '$')
                body[i] = ',';
        }
        const char *head = heads[(seed >> 20) % (sizeof heads / sizeof heads[0] - 2)];
        struct api_buf packet = {0};
        api_buf_str(&packet, head);
        api_buf_add(&packet, body, size);
        srv_gdb_frame(&in, packet.data, packet.size);
        assert_true(srv_gdb_feed(gdb, in.data, in.size, &out));
        assert_true(out.size >= 5 && out.data[0] == '+' && out.data[1] == '$');
        api_buf_free(&packet);
        api_buf_free(&in);
        api_buf_free(&out);
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    }
    assert_true(is_held());
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    char err[256];
    const struct CMUnitTest tests[] = {
        CASE(packets_may_come_in_pieces_and_damaged),
        CASE(a_packet_that_is_too_long_ends_the_session),
        CASE(registers_are_those_of_the_stop_and_the_unsaved_are_marked),
        CASE(memory_is_read_as_far_as_it_is_there),
        CASE(the_thread_is_named_in_well_formed_xml),
        CASE(a_document_in_pieces_is_the_whole),
        CASE(nothing_can_be_written_or_run),
        CASE(after_detach_it_is_over),
        CASE(a_session_that_is_refused_says_why),
        CASE(random_packets_break_nothing),
    };
    if (gr_start(NULL, err, sizeof err)) {
        fprintf(stderr, "%s\n", err);
        return 2;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fflush(stdout);
    _exit(failed ? 1 : 0); /* goroutines may still be ending */
}
