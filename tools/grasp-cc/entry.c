/*
 * entry.c: the architectures that grasp-cc can build for. What the check at a function's entry is, each
 * architecture's own folder says (arch/entry.h).
 */
#include "grasp_cc.h"

#include <string.h>

static const struct arch_entry *const archs[] = {&arch_entry_x86_64, &arch_entry_arm64};

const struct arch_entry *cc_arch_of_machine(uint16_t machine)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (archs[i]->machine == machine)
            return archs[i];
    return NULL;
}

const struct arch_entry *cc_arch_of_triple(const char *triple)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (strncmp(triple, archs[i]->triple, strlen(archs[i]->triple)) == 0)
            return archs[i];
    return NULL;
}
