/*
 * core_regs.c: registers in the order of an ELF core (struct user_regs_struct).
 *
 * The segment selectors are what every 64-bit process of Linux has; gdb looks at cs alone, to tell 64 from 32 bits.
 * orig_rax -1: not in a system call that gdb would have to restart.
 */
#include "arch.h"

#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#define USER_CS 0x33
#define USER_SS 0x2b

_Static_assert(sizeof(elf_gregset_t) == sizeof(struct user_regs_struct), "the kernel's layout");

void arch_core_regs(void *gregset, const struct arch_regs *regs)
{
    /* By DWARF number: rax rdx rcx rbx rsi rdi rbp rsp r8 … r15 rip, then rflags. */
    struct user_regs_struct user = {.cs = USER_CS, .ss = USER_SS, .orig_rax = UINT64_MAX};
    unsigned long long *const field[] = {&user.rax, &user.rdx, &user.rcx,   &user.rbx, &user.rsi,
                                         &user.rdi, &user.rbp, &user.rsp,   &user.r8,  &user.r9,
                                         &user.r10, &user.r11, &user.r12,   &user.r13, &user.r14,
                                         &user.r15, &user.rip, &user.eflags};

    for (unsigned i = 0; i < sizeof field / sizeof field[0]; i++)
        if (regs->present >> i & 1)
            *field[i] = regs->value[i];
    memcpy(gregset, &user, sizeof user);
}
