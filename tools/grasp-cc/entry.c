/*
 * entry.c: the check at a function's entry, one row for each architecture.
 *
 * The compiler leaves NOPs there (-fpatchable-function-entry), after the landing pad if there is
 * one. The check compares SP with the thread's guard slot and calls __gr_slow when SP is not above
 * it. __gr_slow is in the module itself, so that a direct call always reaches it.
 *
 * x86-64: the guard slot is the word that the C library reserves in the thread control block for
 * split stacks, %fs:0x70. 16 bytes:
 *
 *     64 48 3b 24 25 70 00 00 00    cmp   %fs:0x70,%rsp
 *     77 05                         ja    the function's body
 *     e8 rel32                      call  __gr_slow
 *
 * gcc writes sixteen one-byte NOPs, clang two or three long ones; nothing else is accepted as room.
 * Rejected: assuming that what __patchable_function_entries names is room. A file that another tool
 * has rewritten would be destroyed silently.
 */
#include "grasp_cc.h"

#include <string.h>

#define X86_64_BYTES   16
#define X86_64_CALL_AT 11

/* The length of the NOP at `at`, of which `room` bytes may be read; 0 if it is none. */
static size_t x86_64_nop_length(const uint8_t *at, size_t room)
{
    size_t i = 0;
    /* Operand-size and segment prefixes pad a NOP without changing it. */
    while (i < room && (at[i] == 0x66 || at[i] == 0x2e))
        i++;
    if (i < room && at[i] == 0x90)
        return i + 1;
    if (i + 3 > room || at[i] != 0x0f || at[i + 1] != 0x1f)
        return 0;
    uint8_t modrm = at[i + 2];
    uint8_t mod = modrm >> 6, reg = (modrm >> 3) & 7, rm = modrm & 7;
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

static bool x86_64_is_room(const uint8_t *at)
{
    size_t done = 0;
    while (done < X86_64_BYTES) {
        size_t length = x86_64_nop_length(at + done, X86_64_BYTES - done);
        if (length == 0)
            return false;
        done += length;
    }
    return true;
}

static bool x86_64_encode(uint8_t *at, uint64_t address, uint64_t slow)
{
    static const uint8_t check[X86_64_CALL_AT + 1] = {0x64, 0x48, 0x3b, 0x24, 0x25, 0x70,
                                                      0x00, 0x00, 0x00, 0x77, 0x05, 0xe8};
    int64_t distance = (int64_t)(slow - (address + X86_64_BYTES));
    int32_t rel32 = (int32_t)distance;
    if (rel32 != distance)
        return false;
    memcpy(at, check, sizeof(check));
    memcpy(at + sizeof(check), &rel32, sizeof(rel32));
    return true;
}

static const struct cc_entry_arch archs[] = {
    {"x86_64", EM_X86_64, R_X86_64_RELATIVE, "-fpatchable-function-entry=16", X86_64_BYTES,
     x86_64_is_room, x86_64_encode},
};

const struct cc_entry_arch *cc_entry_arch_of_machine(uint16_t machine)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (archs[i].machine == machine)
            return &archs[i];
    return NULL;
}

const struct cc_entry_arch *cc_entry_arch_of_triple(const char *triple)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (strncmp(triple, archs[i].triple, strlen(archs[i].triple)) == 0)
            return &archs[i];
    return NULL;
}
