/*
 * arch_switch.c: arch_switch alone, without scheduler, queue or processor: the runtime's own floor.
 *
 * Links the objects of the arch folder and nothing else of the runtime. What they call back is
 * never called here, since nothing is stopped: reaching one of those functions ends the program.
 */
#include "sample.h"

#include "arch.h"

#define BATCH 1000

static void *main_sp, *other_sp;
static char stack[65536] __attribute__((aligned(64)));

static _Noreturn void unexpected(const char *name)
{
    fprintf(stderr, "arch-switch: %s was called\n", name);
    abort();
}

void arch_on_check(struct arch_frame *frame, void *vectors, size_t headroom)
{
    (void)frame, (void)vectors, (void)headroom;
    unexpected(__func__);
}

void arch_on_async(struct arch_frame *frame, void *vectors)
{
    (void)frame, (void)vectors;
    unexpected(__func__);
}

void arch_on_foreign_overflow(void)
{
    unexpected(__func__);
}

static void other(void *arg)
{
    (void)arg;
    for (;;)
        arch_switch(&other_sp, main_sp);
}

int main(void)
{
    static double ns[2000];
    int samples = scaled(2000, 20);

    arch_init();
    pin(0);
    other_sp = arch_stack_init(stack + sizeof stack, other, NULL);
    for (int i = 0; i < samples; i++) {
        int64_t start = now_ns();

        for (int k = 0; k < BATCH; k++)
            arch_switch(&main_sp, other_sp);
        ns[i] = (double)(now_ns() - start) / (2 * BATCH);
    }
    emit("grasp", "switch", "ns", ns, samples);
    return 0;
}
