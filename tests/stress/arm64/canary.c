/*
 * canary.c: random contents for every register of arm64, and the comparison. See canary.S.
 *
 * NZCV; FPCR with any rounding, flush-to-zero and default-NaN; FPSR with any sticky bits. Where the processor has SVE
 * every second round holds z0-z31, p0-p15 and FFR instead of q0-q31: the kernel's frame has SVE's registers only
 * after they were used, so both kinds of frame occur.
 *
 * All canaries also add to two counters that they share, one by load and store exclusive, one by an instruction of
 * LSE; a stop between the load and the store, with a migration, must make the store fail. The last canary to go
 * compares both with what was added in all.
 */
#include "../canary.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "canary_state.h"
#include "harness.h"

#define LOOPS_UNIT 64 /* a register is rotated by a bit in each */
#define LOOPS_MIN  32
#define LOOPS_MORE 64
#define ADDS       500
#define FPSR_KEPT  UINT64_C(0x0800009f)
#define CAP_LSE    (UINT64_C(1) << 8)
#define CAP_SVE    (UINT64_C(1) << 22)

struct canary {
    struct canary_state in, out;
};

static size_t sve_bytes; /* of a z register; 0: no SVE */
static bool has_lse;
static uint64_t exclusive, lse;
static atomic_ulong added, alive;

void canary_init(const char *how)
{
    has_lse = getauxval(AT_HWCAP) & CAP_LSE;
    if (strcmp(how, "fpsimd") != 0 && (getauxval(AT_HWCAP) & CAP_SVE))
        sve_bytes = canary_sve_length();
}

const char *canary_width(void)
{
    static char text[80];

    if (sve_bytes)
        snprintf(text, sizeof text, "q0-q31, z0-z31 of %zu bytes, p0-p15, FFR; LSE: %s", sve_bytes,
                 has_lse ? "yes" : "no");
    else
        snprintf(text, sizeof text, "q0-q31; LSE: %s", has_lse ? "yes" : "no");
    return text;
}

struct canary *canary_create(void)
{
    if (atomic_fetch_add(&alive, 1) == 0) {
        atomic_store(&added, 0);
        exclusive = lse = 0;
    }
    return aligned_alloc(16, sizeof(struct canary));
}

void canary_destroy(struct canary *canary)
{
    uint64_t expected;

    free(canary);
    if (atomic_fetch_sub(&alive, 1) != 1)
        return;
    expected = atomic_load(&added);
    if (exclusive != expected)
        fault_at("additions by load and store exclusive", (int)(exclusive - expected), "lost");
    if (has_lse && lse != expected)
        fault_at("additions by LSE", (int)(lse - expected), "lost");
}

static void fill(struct canary_state *s, uint64_t *random)
{
    uint64_t *words = (uint64_t *)s;

    for (size_t i = 0; i < sizeof *s / sizeof *words; i++)
        words[i] = next_random(random);
    s->x[0] = LOOPS_UNIT * (LOOPS_MIN + next_random(random) % LOOPS_MORE);
    s->nzcv &= UINT64_C(15) << 28;
    s->fpcr &= UINT64_C(15) << 22;
    s->fpsr &= FPSR_KEPT;
    /* FFR is all ones up to somewhere: other values are not architectural. */
    if (sve_bytes) {
        uint64_t set = next_random(random) % (sve_bytes + 1);

        memset(s->ffr, 0, sizeof s->ffr);
        for (uint64_t i = 0; i < set; i++)
            s->ffr[i / 8] = (uint8_t)(s->ffr[i / 8] | 1u << i % 8);
    }
}

static const char *compare_general(const struct canary_state *in, const struct canary_state *out)
{
    static char name[8];

    for (unsigned i = 0; i < 31; i++) {
        uint64_t expected = i == 0 ? 0 : i == 1 ? in->x[1] + in->x[0] : in->x[i];

        if (out->x[i] != expected) {
            snprintf(name, sizeof name, "x%u", i);
            return name;
        }
    }
    if (in->nzcv != out->nzcv)
        return "NZCV";
    if (in->fpcr != out->fpcr)
        return "FPCR";
    if (in->fpsr != out->fpsr)
        return "FPSR";
    return NULL;
}

static const char *compare_neon(const struct canary_state *in, const struct canary_state *out)
{
    uint64_t lane[2], step[2];
    uint8_t first[16];

    memcpy(lane, in->q[0], sizeof lane);
    memcpy(step, in->q[31], sizeof step);
    for (int i = 0; i < 2; i++)
        lane[i] += in->x[0] * step[i];
    memcpy(first, lane, sizeof first);
    if (memcmp(first, out->q[0], sizeof first) != 0)
        return "q0";
    return memcmp(in->q[1], out->q[1], sizeof in->q - sizeof in->q[0]) ? "q1-q31" : NULL;
}

static const char *compare_sve(const struct canary_state *in, const struct canary_state *out)
{
    if (memcmp(in->z, out->z, 32 * sve_bytes) != 0)
        return "z0-z31";
    if (memcmp(in->p, out->p, 16 * sve_bytes / 8) != 0)
        return "p0-p15";
    return memcmp(in->ffr, out->ffr, sve_bytes / 8) ? "FFR" : NULL;
}

const char *canary_round(struct canary *canary, uint64_t *random)
{
    bool sve = sve_bytes && (next_random(random) & 1);
    const char *wrong;

    fill(&canary->in, random);
    memset(&canary->out, 0xcc, sizeof canary->out);
    if (sve)
        canary_hold_sve(&canary->in, &canary->out);
    else
        canary_hold_neon(&canary->in, &canary->out);
    wrong = compare_general(&canary->in, &canary->out);
    if (!wrong)
        wrong = sve ? compare_sve(&canary->in, &canary->out)
                    : compare_neon(&canary->in, &canary->out);
    canary_add_exclusive(&exclusive, ADDS);
    if (has_lse)
        canary_add_lse(&lse, ADDS);
    atomic_fetch_add(&added, ADDS);
    return wrong;
}
