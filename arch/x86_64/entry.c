/*
 * entry.c: the entry check of x86-64. The guard slot is the word that the C library reserves in the
 * thread control block for split stacks, %fs:0x70. 16 bytes:
 *
 *     64 48 3b 24 25 70 00 00 00    cmp   %fs:0x70,%rsp
 *     77 05                         ja    the function's body
 *     e8 rel32                      call  __gr_slow
 *
 * gcc writes sixteen one-byte NOPs, clang two or three long ones; nothing else is accepted as room.
 */
#include "entry.h"

#include <elf.h>
#include <string.h>

#define BYTES   16
#define CALL_AT 11

static const uint8_t check[CALL_AT + 1] = {0x64, 0x48, 0x3b, 0x24, 0x25, 0x70,
                                           0x00, 0x00, 0x00, 0x77, 0x05, 0xe8};

/* The length of the NOP at `at`, of which `room` bytes may be read; 0 if it is none. */
static size_t nop_length(const uint8_t *at, size_t room)
{
    size_t i = 0;
    uint8_t modrm, mod, reg, rm;

    /* Operand-size and segment prefixes pad a NOP without changing it. */
    while (i < room && (at[i] == 0x66 || at[i] == 0x2e))
        i++;
    if (i < room && at[i] == 0x90)
        return i + 1;
    if (i + 3 > room || at[i] != 0x0f || at[i + 1] != 0x1f)
        return 0;
    modrm = at[i + 2];
    mod = modrm >> 6;
    reg = (modrm >> 3) & 7;
    rm = modrm & 7;
    if (reg != 0)
        return 0;
    i += 3;
    if (mod != 3 && rm == 4)
        i++;
    if (mod == 1)
        i += 1;
    else if (mod == 2 || (mod == 0 && rm == 5))
        i += 4;
    return i <= room ? i : 0;
}

static bool is_room(const uint8_t *at)
{
    size_t done = 0;

    while (done < BYTES) {
        size_t length = nop_length(at + done, BYTES - done);

        if (length == 0)
            return false;
        done += length;
    }
    return true;
}

static bool encode(uint8_t *at, uint64_t address, uint64_t slow)
{
    int64_t distance = (int64_t)(slow - (address + BYTES));
    int32_t rel32 = (int32_t)distance;

    if (rel32 != distance)
        return false;
    memcpy(at, check, sizeof check);
    memcpy(at + sizeof check, &rel32, sizeof rel32);
    return true;
}

static bool is_check(const uint8_t *at)
{
    return memcmp(at, check, sizeof check) == 0;
}

const struct arch_entry arch_entry_x86_64 = {
    .triple = "x86_64",
    .machine = EM_X86_64,
    .relative = R_X86_64_RELATIVE,
    .patchable_flag = "-fpatchable-function-entry=16",
    .bytes = BYTES,
    .is_room = is_room,
    .encode = encode,
    .is_check = is_check,
};
