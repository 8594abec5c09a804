/*
 * entry.c: the entry check of arm64. The guard slot is the second word of the thread control block, which glibc
 * names `private` and leaves alone: TPIDR_EL0 + 8. 6 instructions, 24 bytes:
 *
 *     d53bd050    mrs   x16, tpidr_el0
 *     f9400610    ldr   x16, [x16, #8]
 *     eb3063ff    cmp   sp, x16
 *     54000068    b.hi  the function's body
 *     10000051    adr   x17, the function's body
 *     14......    b     __gr_slow
 *
 * x16 and x17 are what the procedure call standard leaves to linkers and stubs at a call. x30 stays the return
 * address at every instruction of it, so that unwinding needs nothing to be told.
 *
 * Rejected: an initial-exec variable for the guard (two instructions and a load from the GOT more in every
 * function); `bl` instead of `adr` and `b` (x30 would have to be saved in a third register).
 */
#include "entry.h"

#include <elf.h>
#include <string.h>

#define INSTRUCTIONS 6
#define BRANCH       (INSTRUCTIONS - 1)
#define NOP          0xd503201fu
#define B            0x14000000u /* and a distance in words, 26 bits, signed */
#define B_MASK       0xfc000000u
#define B_REACH      (INT64_C(1) << 27)

static const uint32_t check[BRANCH] = {0xd53bd050, 0xf9400610, 0xeb3063ff, 0x54000068, 0x10000051};

static uint32_t word_at(const uint8_t *at, unsigned index)
{
    uint32_t word;

    /* Little-endian in the file, as on every machine that grasp-cc runs on. */
    memcpy(&word, at + sizeof word * index, sizeof word);
    return word;
}

static bool is_room(const uint8_t *at)
{
    for (unsigned i = 0; i < INSTRUCTIONS; i++) {
        if (word_at(at, i) != NOP)
            return false;
    }
    return true;
}

static bool encode(uint8_t *at, uint64_t address, uint64_t slow)
{
    int64_t distance = (int64_t)(slow - (address + 4 * BRANCH));
    uint32_t branch;

    if (distance < -B_REACH || distance >= B_REACH || distance % 4 != 0)
        return false;
    branch = B | ((uint32_t)((uint64_t)distance >> 2) & ~B_MASK);
    memcpy(at, check, sizeof check);
    memcpy(at + sizeof check, &branch, sizeof branch);
    return true;
}

static bool is_check(const uint8_t *at)
{
    return memcmp(at, check, sizeof check) == 0 && (word_at(at, BRANCH) & B_MASK) == B;
}

/*
 * Atomics in line, because the compiler's default is to call helpers for them: a goroutine in a GR_NOPREEMPT function
 * could be stopped in such a helper. With -march=armv8.1-a or later they are instructions of LSE.
 */
const struct arch_entry arch_entry_arm64 = {
    .triple = "aarch64",
    .machine = EM_AARCH64,
    .relative = R_AARCH64_RELATIVE,
    .patchable_flag = "-fpatchable-function-entry=6",
    .default_flag = "-mno-outline-atomics",
    .bytes = 4 * INSTRUCTIONS,
    .is_room = is_room,
    .encode = encode,
    .is_check = is_check,
};
