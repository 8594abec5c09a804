/*
 * shot.c: a thread copies its own registers and stack.
 *
 * What the runtime does with a held goroutine, a thread does here with itself: arch_capture gives
 * the registers, and the stack above SP is copied word by word, by code that AddressSanitizer does
 * not watch, since a whole stack holds its red zones too.
 */
#include "shot.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arch.h"
#include "same_frames.h"
#include "unwind.h"

/* The highest address of the calling thread's stack; asked for beforehand, since a handler may not
 * ask. */
static _Thread_local uint64_t stack_end;

void shot_prepare(void)
{
    pthread_attr_t attributes;
    void *lo;
    size_t bytes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &lo, &bytes);
    pthread_attr_destroy(&attributes);
    stack_end = (uint64_t)(uintptr_t)lo + bytes;
}

__attribute__((noinline, no_sanitize("address", "thread"))) static void
copy_words(uint64_t *to, const volatile uint64_t *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        to[i] = from[i];
}

static void shot_fill(struct shot *shot, const struct arch_regs *regs)
{
    uint64_t end = stack_end;
    memset(&shot->copy, 0, sizeof shot->copy);
    memcpy(shot->copy.reg, regs->value, sizeof shot->copy.reg);
    shot->copy.reg_present = regs->present;
    shot->copy.pc = regs->pc;
    shot->copy.sp = regs->sp;
    shot->copy.stack = shot->stack;
    shot->copy.stack_capacity = sizeof shot->stack;
    shot->copy.stack_hi = end;
    shot->copy.copied_lo = (regs->sp - 128) & ~(uint64_t)7;
    shot->copy.copied_bytes = (end - shot->copy.copied_lo) & ~(size_t)7;
    if (shot->copy.copied_bytes > sizeof shot->stack)
        shot->copy.copied_bytes = sizeof shot->stack;
    copy_words((uint64_t *)(void *)shot->stack, (const uint64_t *)shot->copy.copied_lo,
               shot->copy.copied_bytes / 8);
}

__attribute__((noinline)) void shot_take(struct shot *shot)
{
    struct arch_context context;
    struct arch_regs regs = {0};
    arch_capture(&context);
    arch_regs_from_context(&regs, &context);
    shot_fill(shot, &regs);
}

void shot_take_interrupted(struct shot *shot, const void *ucontext)
{
    struct arch_regs regs = {0};
    arch_regs_from_signal(&regs, ucontext);
    shot_fill(shot, &regs);
}

static void print_frames(const struct gr_frame *frame, size_t count, bool truncated)
{
    for (size_t i = 0; i < count; i++) {
        const struct gr_frame *f = &frame[i];
        fprintf(stderr, "  %2zu 0x%llx %s+0x%llx %s:%d [%s]%s\n", i, (unsigned long long)f->pc,
                f->function ? f->function : "?", (unsigned long long)f->offset,
                f->file ? f->file : "?", f->line, f->module ? f->module : "?",
                f->inlined ? " inlined" : "");
    }
    fprintf(stderr, "  %s\n", truncated ? "truncated" : "whole");
}

/* By the kept rules, and by libdwfl alone: both must say the same. */
void shot_unwind(struct shot *shot)
{
    static struct gr_frame again[SHOT_FRAMES];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    bool truncated, same;
    ssize_t count = gr_unwind(&shot->copy, shot->frame, SHOT_FRAMES, &shot->truncated), count_again;
    assert_true(count >= 0);
    shot->count = (size_t)count;
    pthread_mutex_lock(&lock);
    gri_unwind_by_libdw(true);
    count_again = gr_unwind(&shot->copy, again, SHOT_FRAMES, &truncated);
    same = count_again == count && same_frames(again, shot->frame, shot->count) &&
           truncated == shot->truncated;
    gri_unwind_by_libdw(false);
    if (!same) {
        fprintf(stderr, "by the kept rules:\n");
        print_frames(shot->frame, shot->count, shot->truncated);
        fprintf(stderr, "by libdwfl:\n");
        print_frames(again, count_again < 0 ? 0 : (size_t)count_again, truncated);
    }
    pthread_mutex_unlock(&lock);
    assert_true(same);
}

size_t shot_find(const struct shot *shot, const char *function)
{
    for (size_t i = 0; i < shot->count; i++)
        if (shot->frame[i].function && strcmp(shot->frame[i].function, function) == 0)
            return i;
    return SIZE_MAX;
}

void shot_print(const struct shot *shot)
{
    print_frames(shot->frame, shot->count, shot->truncated);
}
