/*
 * module_stack.c: how much stack libc's functions take, and that every call is checked for it.
 *
 * An import stub asks for 24 KiB above the bound (ARCH_STUB_HEADROOM), which itself lies 16 KiB above the end of the
 * stack (GUARD_BOUND_BYTES, goroutine.c). What a function of libc takes at most has to fit into that: then an overflow
 * is reported at the call, before libc holds any lock, and never inside libc.
 */
#include "module_test.h"

#include <float.h>
#include <glob.h>
#include <limits.h>
#include <netdb.h>
#include <regex.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BELOW_THE_CHECK ((size_t)(24 + 16) * 1024)
#define LOOKED_AT       ((size_t)128 * 1024)
#define PAINT           0xa5

static FILE *unbuffered;

static void print_float(void)
{
    char text[512];

    snprintf(text, sizeof text, "%f", 1e300);
}

static void print_long_float(void)
{
    static char text[8192];

    snprintf(text, sizeof text, "%Lf", LDBL_MAX);
}

static void print_3000_digits(void)
{
    static char text[4096];

    snprintf(text, sizeof text, "%.3000f", 1.0 / 3);
}

static void print_unbuffered(void)
{
    fprintf(unbuffered, "%s %d\n", "text", 5);
}

static void compile_expression(void)
{
    regex_t regex;

    if (regcomp(&regex, "^(a|b)*[[:alpha:]]{2,5}(x+y?)$", REG_EXTENDED) == 0) {
        regexec(&regex, "ababzzxy", 0, NULL, 0);
        regfree(&regex);
    }
}

static void look_up_name(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;

    if (getaddrinfo("localhost", "80", &hints, &found) == 0)
        freeaddrinfo(found);
}

static void resolve_path(void)
{
    free(realpath("/proc/self/fd/../exe", NULL));
}

static void match_files(void)
{
    glob_t found;

    if (glob("/etc/h*", 0, NULL, &found) == 0)
        globfree(&found);
}

static const struct {
    const char *name;
    void (*call)(void);
} functions[] = {{"%f", print_float},
                 {"%Lf", print_long_float},
                 {"%.3000f", print_3000_digits},
                 {"fprintf, unbuffered", print_unbuffered},
                 {"regcomp", compile_expression},
                 {"getaddrinfo", look_up_name},
                 {"realpath", resolve_path},
                 {"glob", match_files}};
#define FUNCTIONS (sizeof functions / sizeof functions[0])

/* What the compiler's own probes of a large frame write: a word now and then (arm64: every 64 KiB). */
#define PROBE 8

/* Both have their array at the same place, below the caller's frame, where the function in between was. */
__attribute__((noinline)) static void paint(void)
{
    volatile unsigned char below[LOOKED_AT];

    for (size_t i = 0; i < sizeof below; i++)
        below[i] = PAINT;
}

__attribute__((noinline)) static size_t used(void)
{
    volatile unsigned char below[LOOKED_AT];
    size_t clean = 0;

    /* Its contents are what paint left and the function between wrote over: the compiler must not know better. */
    __asm__ volatile("" : : "r"(below) : "memory");
    while (clean < sizeof below) {
        size_t run = 0;

        while (clean + run < sizeof below && below[clean + run] != PAINT)
            run++;
        if (run > PROBE)
            break;
        clean += run ? run : 1;
    }
    return sizeof below - clean;
}

static size_t appetite(void (*call)(void))
{
    size_t bytes;

    call(); /* once for what is done the first time */
    gr_nopreempt_begin();
    paint();
    call();
    bytes = used();
    gr_nopreempt_end();
    return bytes;
}

static int libc_fits_below_its_check(const char *args)
{
    (void)args;
    unbuffered = fopen("/dev/null", "w");
    CHECK(unbuffered && setvbuf(unbuffered, NULL, _IONBF, 0) == 0);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        size_t bytes = appetite(functions[i].call);

        gr_log("%s takes %zu bytes of stack", functions[i].name, bytes);
        CHECK(bytes > 0 && bytes < BELOW_THE_CHECK);
    }
    fclose(unbuffered);
    return 0;
}
GR_ENTRY("libc_fits_below_its_check", libc_fits_below_its_check, "what libc takes of a stack");
