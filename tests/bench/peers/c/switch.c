/*
 * switch.c: the least a switch between two stacks can cost: callee-saved registers and the stack
 * pointer.
 *
 * The switch itself is assembly for one architecture (switch_ARCH.S beside this file); where there
 * is none, run.sh leaves this floor out. It keeps no floating-point control words, which the ABI
 * asks for.
 */
#include "../../sample.h"

void peer_switch(void **save, void *to);
void *peer_switch_stack(void *hi, void (*entry)(void));

static void *main_sp, *other_sp;
static char stack[65536] __attribute__((aligned(64)));

static void other(void)
{
    for (;;)
        peer_switch(&other_sp, main_sp);
}

int main(void)
{
    static double ns[2000];
    int samples = scaled(2000, 20);

    pin(0);
    other_sp = peer_switch_stack(stack + sizeof stack, other);
    for (int batch = 0; batch < samples; batch++) {
        int64_t start = now_ns();

        for (int i = 0; i < 1000; i++)
            peer_switch(&main_sp, other_sp);
        ns[batch] = (double)(now_ns() - start) / 2000;
    }
    emit("floor", "switch", "ns", ns, samples);
    return 0;
}
