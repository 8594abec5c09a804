/*
 * canary.c: random contents for every register of x86-64, and the comparison. See canary.S.
 *
 * Flags: the arithmetic ones and the direction flag. x87: a full stack with any top, any rounding,
 * all exceptions masked. MXCSR: any rounding, flush-to-zero and sticky exception bits, all masked.
 * Half of the rounds have vectors that are mostly zero, since XSAVEC and XRSTOR treat initial state
 * differently.
 */
#include "../canary.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "canary_state.h"
#include "harness.h"

#define FLAGS_KEPT 0xcd5u /* CF PF AF ZF SF DF OF */
#define LOOPS_MIN  10000
#define LOOPS_MORE 20000

struct canary {
    struct canary_state in, out;
};

static void (*hold_them)(const struct canary_state *in, struct canary_state *out) = canary_hold_sse;
static size_t vector_bytes = 16, vectors = 16;

static bool system_saves(uint32_t components)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & components) == components;
}

void canary_init(const char *how)
{
    unsigned a, b, c, d;

    if (strcmp(how, "fxsave") == 0 || !__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) ||
        !(c & bit_AVX) || !system_saves(0x6))
        return;
    hold_them = canary_hold_avx;
    vector_bytes = 32;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX512F) || !(b & bit_AVX512BW) ||
        !system_saves(0xe6))
        return;
    hold_them = canary_hold_avx512;
    vector_bytes = 64;
    vectors = 32;
}

const char *canary_width(void)
{
    return vector_bytes == 16 ? "xmm0-15" : vector_bytes == 32 ? "ymm0-15" : "zmm0-31, k0-7";
}

struct canary *canary_create(void)
{
    return aligned_alloc(64, sizeof(struct canary));
}

void canary_destroy(struct canary *canary)
{
    free(canary);
}

static void fill_fx(struct canary_state *s, uint64_t *random)
{
    uint16_t control = (uint16_t)(0x037f | (next_random(random) & 3) << 10);
    uint16_t status = (uint16_t)((next_random(random) & 7) << 11);
    uint32_t mxcsr = (uint32_t)(0x1f80 | (next_random(random) & 3) << 13 |
                                (next_random(random) & 1) << 15 | (next_random(random) & 0x3f));

    memset(s->fx, 0, sizeof s->fx);
    memcpy(s->fx, &control, 2);
    memcpy(s->fx + 2, &status, 2);
    s->fx[4] = 0xff; /* all eight in use */
    memcpy(s->fx + 24, &mxcsr, 4);
    for (int i = 0; i < 8; i++) {
        uint64_t mantissa = next_random(random) | 1ull << 63;
        uint16_t exponent = (uint16_t)(0x3f7f + (next_random(random) & 0xff));

        memcpy(s->fx + 32 + 16 * i, &mantissa, 8);
        memcpy(s->fx + 40 + 16 * i, &exponent, 2);
    }
    for (int i = 0; i < 16; i++)
        memcpy(s->fx + 160 + 16 * i, s->vector[i], 16);
}

static void fill(struct canary_state *s, uint64_t *random)
{
    uint64_t *words = (uint64_t *)s;
    uint64_t sparse = next_random(random);

    for (size_t i = 0; i < sizeof *s / sizeof *words; i++)
        words[i] = next_random(random);
    s->gpr[1] = LOOPS_MIN + next_random(random) % LOOPS_MORE;
    s->flags = 0x202 | (next_random(random) & FLAGS_KEPT);
    if (sparse & 1) {
        for (size_t i = 0; i < 32; i++)
            memset(s->vector[i], i < 16 && (sparse >> i & 2) ? 7 : 0, sizeof s->vector[i]);
    }
    fill_fx(s, random);
}

static const char *compare(const struct canary_state *in, const struct canary_state *out)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

    for (int i = 0; i < 16; i++) {
        uint64_t expected = i == 1 ? 0 : i == 15 ? in->gpr[15] + in->gpr[1] : in->gpr[i];

        if (i != 4 && out->gpr[i] != expected)
            return names[i];
    }
    if ((in->flags ^ out->flags) & FLAGS_KEPT)
        return "flags";
    if (memcmp(in->red_zone, out->red_zone, sizeof in->red_zone) != 0)
        return "red zone";
    if (memcmp(in->fx, out->fx, 5) != 0)
        return "x87 control, status or tags";
    if (memcmp(in->fx + 24, out->fx + 24, 4) != 0)
        return "MXCSR";
    for (int i = 0; i < 8; i++) {
        if (memcmp(in->fx + 32 + 16 * i, out->fx + 32 + 16 * i, 10) != 0)
            return "x87 stack";
    }
    if (memcmp(in->fx + 160, out->fx + 160, 256) != 0)
        return "xmm0-15";
    for (size_t i = 0; i < vectors && vector_bytes > 16; i++) {
        if (memcmp(in->vector[i], out->vector[i], vector_bytes) != 0)
            return "ymm or zmm";
    }
    if (vector_bytes == 64 && memcmp(in->mask, out->mask, sizeof in->mask) != 0)
        return "k0-7";
    return NULL;
}

const char *canary_round(struct canary *canary, uint64_t *random)
{
    fill(&canary->in, random);
    memset(&canary->out, 0xcc, sizeof canary->out);
    hold_them(&canary->in, &canary->out);
    return compare(&canary->in, &canary->out);
}
