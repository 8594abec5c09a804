/*
 * module_stdio.c: stdio in goroutines that are suspended all the time.
 */
#include "module_test.h"

#include <fcntl.h>
#include <printf.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wchar.h>

#include <grasp/runtime.h>

#define LINES 200

/* Writes numbered lines, cut at odd places. */
static void write_lines(void *arg)
{
    struct helper *helper = arg;

    helper->result = 0;
    for (int i = 0; i < LINES; i++) {
        char line[32];
        int length = snprintf(line, sizeof line, "line %d\n", i);
        int cut = i % length;

        if (write(helper->fd[1], line, (size_t)cut) != cut)
            helper->result = errno;
        if (i % 10 == 0)
            usleep(200);
        if (write(helper->fd[1], line + cut, (size_t)(length - cut)) != length - cut)
            helper->result = errno;
    }
    close(helper->fd[1]);
    gr_waitgroup_done(&helper->done);
}

static FILE *start_lines(struct helper *helper)
{
    if (pipe(helper->fd) != 0)
        return NULL;
    gr_waitgroup_add(&helper->done, 1);
    if (gr_go(write_lines, helper) == 0)
        return NULL;
    return fdopen(helper->fd[0], "r");
}

static int end_lines(struct helper *helper, FILE *f)
{
    fclose(f);
    CHECK(gr_waitgroup_wait(&helper->done) == 0);
    CHECK(helper->result == 0);
    return 0;
}

static int fgets_lines(const char *args)
{
    struct helper helper = {0};
    FILE *f = start_lines(&helper);
    char line[64], want[32];

    (void)args;
    CHECK(f);
    for (int i = 0; i < LINES; i++) {
        snprintf(want, sizeof want, "line %d\n", i);
        CHECK(fgets(line, sizeof line, f) == line);
        CHECK(strcmp(line, want) == 0);
    }
    CHECK(!fgets(line, sizeof line, f) && feof(f) && !ferror(f));
    return end_lines(&helper, f);
}
GR_ENTRY("fgets_lines", fgets_lines, "fgets from a pipe");

static int getline_lines(const char *args)
{
    struct helper helper = {0};
    FILE *f = start_lines(&helper);
    char *line = NULL, want[32];
    size_t capacity = 0;

    (void)args;
    CHECK(f);
    for (int i = 0; i < LINES; i++) {
        int length = snprintf(want, sizeof want, "line %d\n", i);

        CHECK(getline(&line, &capacity, f) == length);
        CHECK(strcmp(line, want) == 0);
    }
    CHECK(getline(&line, &capacity, f) == -1 && feof(f));
    free(line);
    return end_lines(&helper, f);
}
GR_ENTRY("getline_lines", getline_lines, "getline from a pipe");

static int fscanf_lines(const char *args)
{
    struct helper helper = {0};
    FILE *f = start_lines(&helper);
    int number;

    (void)args;
    CHECK(f);
    for (int i = 0; i < LINES; i++) {
        CHECK(fscanf(f, "line %d\n", &number) == 1);
        CHECK(number == i);
    }
    CHECK(fscanf(f, "line %d\n", &number) == EOF);
    return end_lines(&helper, f);
}
GR_ENTRY("fscanf_lines", fscanf_lines, "fscanf from a pipe");

static int getc_and_fread(const char *args)
{
    struct helper helper = {0};
    FILE *f = start_lines(&helper);
    char text[8192], want[8192] = "";
    size_t length = 0, got;

    (void)args;
    CHECK(f);
    for (int i = 0; i < LINES; i++)
        length += (size_t)snprintf(want + length, sizeof want - length, "line %d\n", i);
    for (got = 0; got < 100; got++) {
        int c = got % 2 ? getc(f) : getc_unlocked(f);

        CHECK(c != EOF);
        text[got] = (char)c;
    }
    CHECK(ungetc(text[99], f) == text[99]);
    got = 99 + fread(text + 99, 1, sizeof text - 99, f);
    CHECK(got == length && memcmp(text, want, length) == 0);
    CHECK(feof(f));
    return end_lines(&helper, f);
}
GR_ENTRY("getc_and_fread", getc_and_fread, "getc, ungetc, fread from a pipe");

/* ---- Writing --------------------------------------------------------------------------------- */

static void print_lines(void *arg)
{
    struct helper *helper = arg;
    FILE *f = helper->data;

    for (int i = 0; i < LINES; i++)
        fprintf(f, "%s %d %.1f\n", "text", i, i / 2.0);
    fputs("last", f);
    putc('\n', f);
    helper->result = fclose(f);
    gr_waitgroup_done(&helper->done);
}

static int print_to_pipe(const char *args)
{
    struct helper helper = {0};
    char line[64], want[64];
    FILE *f;

    (void)args;
    CHECK(pipe(helper.fd) == 0);
    /* A pipe of one page: the printer has to wait again and again. */
    CHECK(fcntl(helper.fd[1], F_SETPIPE_SZ, 4096) == 4096);
    helper.data = fdopen(helper.fd[1], "w");
    f = fdopen(helper.fd[0], "r");
    CHECK(helper.data && f);
    gr_waitgroup_add(&helper.done, 1);
    CHECK(gr_go(print_lines, &helper) != 0);
    for (int i = 0; i < LINES; i++) {
        snprintf(want, sizeof want, "text %d %.1f\n", i, i / 2.0);
        CHECK(fgets(line, sizeof line, f) && strcmp(line, want) == 0);
    }
    CHECK(fgets(line, sizeof line, f) && strcmp(line, "last\n") == 0);
    CHECK(!fgets(line, sizeof line, f));
    fclose(f);
    CHECK(gr_waitgroup_wait(&helper.done) == 0 && helper.result == 0);
    return 0;
}
GR_ENTRY("print_to_pipe", print_to_pipe, "printf to a pipe that is full");

static int long_and_wide_output(const char *args)
{
    char *text = NULL, long_text[3000];
    size_t bytes = 0;
    FILE *f;

    (void)args;
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    f = open_memstream(&text, &bytes);
    CHECK(f);
    CHECK(fprintf(f, "%s|%d", long_text, 42) == 3002);
    CHECK(fputs("end", f) != EOF && fwrite("!", 1, 1, f) == 1);
    CHECK(fclose(f) == 0);
    CHECK(bytes == 3006 && strcmp(text + 2999, "|42end!") == 0);
    free(text);
    f = tmpfile();
    CHECK(f);
    CHECK(fwprintf(f, L"%ls %d", L"wide", 7) == 6);
    rewind(f);
    CHECK(fgetwc(f) == L'w');
    CHECK(fclose(f) == 0);
    return 0;
}
GR_ENTRY("long_and_wide_output", long_and_wide_output, "what does not fit a buffer");

/* ---- Memory streams ------------------------------------------------------------------------- */

static void read_one(void *arg)
{
    struct helper *helper = arg;
    char c = 0;

    helper->result = read(helper->fd[0], &c, 1) == 1 ? c : -errno;
    gr_waitgroup_done(&helper->done);
}

/* Libc does not set the descriptor of a memory stream: it is whatever malloc's memory had there. */
static int memory_streams_have_no_descriptor(const char *args)
{
    static struct helper helper;
    char *text = NULL;
    size_t bytes = 0;
    struct gr_info info;
    uint64_t id;
    FILE *f = open_memstream(&text, &bytes);

    (void)args;
    CHECK(f && socketpair(AF_UNIX, SOCK_STREAM, 0, helper.fd) == 0);
    f->_fileno = helper.fd[0];
    gr_waitgroup_add(&helper.done, 1);
    id = gr_go(read_one, &helper);
    CHECK(id);
    do
        gr_yield();
    while (gr_info(id, &info) == 0 && info.state != GR_DEAD &&
           strcmp(info.wait_reason, "poll") != 0);
    CHECK(fprintf(f, "%d", 42) == 2 && fclose(f) == 0 && strcmp(text, "42") == 0);
    CHECK(write(helper.fd[1], "c", 1) == 1);
    gr_waitgroup_wait(&helper.done);
    CHECK(helper.result == 'c');
    free(text);
    return close(helper.fd[0]) | close(helper.fd[1]);
}
GR_ENTRY("memory_streams_have_no_descriptor", memory_streams_have_no_descriptor, "open_memstream");

/* ---- fopencookie ----------------------------------------------------------------------------- */

struct sink {
    char text[4096];
    size_t length;
    int inside, overlaps;
};

/* Slow, and calls functions, so that there are many places to be stopped at. */
static ssize_t sink_write(void *cookie, const char *buf, size_t bytes)
{
    struct sink *sink = cookie;

    if (__atomic_add_fetch(&sink->inside, 1, __ATOMIC_SEQ_CST) != 1)
        sink->overlaps++;
    for (size_t i = 0; i < bytes && sink->length < sizeof sink->text; i++) {
        for (int spin = 0; spin < 2000; spin++)
            __asm__ volatile("");
        sink->text[sink->length++] = buf[i];
    }
    __atomic_sub_fetch(&sink->inside, 1, __ATOMIC_SEQ_CST);
    return (ssize_t)bytes;
}

static void cookie_writer(void *arg)
{
    struct helper *helper = arg;
    char word[16];

    snprintf(word, sizeof word, "%s", helper->result == 'A' ? "AAAAAAAA" : "BBBBBBBB");
    for (int i = 0; i < 20; i++)
        fputs(word, helper->data);
    gr_waitgroup_done(&helper->done);
}

static int cookie_is_not_entered_twice(const char *args)
{
    static struct sink sink;
    struct helper a = {.result = 'A'}, b = {.result = 'B'};
    cookie_io_functions_t fns = {.write = sink_write};
    FILE *f;

    (void)args;
    memset(&sink, 0, sizeof sink);
    f = fopencookie(&sink, "w", fns);
    CHECK(f);
    CHECK(setvbuf(f, NULL, _IONBF, 0) == 0);
    a.data = b.data = f;
    gr_waitgroup_add(&a.done, 1);
    gr_waitgroup_add(&b.done, 1);
    CHECK(gr_go(cookie_writer, &a) != 0);
    CHECK(gr_go(cookie_writer, &b) != 0);
    CHECK(gr_waitgroup_wait(&a.done) == 0);
    CHECK(gr_waitgroup_wait(&b.done) == 0);
    CHECK(fclose(f) == 0);
    CHECK(sink.overlaps == 0);
    CHECK(sink.length == 2 * 20 * 8);
    for (size_t i = 0; i < sink.length; i += 8)
        CHECK(memcmp(sink.text + i, sink.text[i] == 'A' ? "AAAAAAAA" : "BBBBBBBB", 8) == 0);
    return 0;
}
GR_ENTRY("cookie_is_not_entered_twice", cookie_is_not_entered_twice, "fopencookie under suspends");

/* ---- printf with a handler of ours ----------------------------------------------------------- */

static int print_point(FILE *f, const struct printf_info *info, const void *const *args)
{
    const int *point = *(const int *const *)args[0];

    (void)info;
    for (int spin = 0; spin < 5000; spin++)
        __asm__ volatile("");
    return fprintf(f, "(%d,%d)", point[0], point[1]);
}

static int point_size(const struct printf_info *info, size_t n, int *types, int *sizes)
{
    (void)info;
    (void)sizes;
    if (n > 0)
        types[0] = PA_POINTER;
    return 1;
}

static int printf_handler(const char *args)
{
    int point[2] = {3, 4};
    char text[64] = "";
    FILE *f;

    (void)args;
    CHECK(register_printf_specifier('Q', print_point, point_size) == 0);
    f = fmemopen(text, sizeof text, "w");
    CHECK(f);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
    for (int i = 0; i < 50; i++) {
        rewind(f);
        CHECK(fprintf(f, "at %Q", point) == 8);
    }
#pragma GCC diagnostic pop
    CHECK(fclose(f) == 0);
    CHECK(strcmp(text, "at (3,4)") == 0);
    return 0;
}
GR_ENTRY("printf_handler", printf_handler, "a conversion of the module's own");
