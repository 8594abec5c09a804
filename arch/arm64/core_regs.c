/*
 * core_regs.c: registers in the order of an ELF core (struct user_regs_struct): x0 to x30, sp, pc, pstate, which is the
 * order of their numbers here.
 */
#include "arch.h"

#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#define CORE_REGS 34

_Static_assert(sizeof(elf_gregset_t) == sizeof(struct user_regs_struct), "the kernel's layout");
_Static_assert(sizeof(struct user_regs_struct) == CORE_REGS * sizeof(uint64_t), "all are words");

void arch_core_regs(void *gregset, const struct arch_regs *regs)
{
    uint64_t user[CORE_REGS] = {0};

    for (unsigned i = 0; i < CORE_REGS; i++)
        if (regs->present >> i & 1)
            user[i] = regs->value[i];
    memcpy(gregset, user, sizeof user);
}
