/*
 * sanitize.h: tells AddressSanitizer and ThreadSanitizer that the stack changes. Nothing in other builds.
 */
#ifndef GRASP_SANITIZE_H
#define GRASP_SANITIZE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_start_switch_fiber(void **fake_stack, const void *lo, size_t bytes);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **old_lo, size_t *old_bytes);
#define GRI_ASAN_LEAVE(save, lo, bytes) __sanitizer_start_switch_fiber(save, lo, bytes)
#define GRI_ASAN_ARRIVE(fake, old_lo, old_bytes)                                                   \
    __sanitizer_finish_switch_fiber(fake, old_lo, old_bytes)
#else
#define GRI_ASAN_LEAVE(save, lo, bytes)          ((void)0)
#define GRI_ASAN_ARRIVE(fake, old_lo, old_bytes) ((void)0)
#endif

/*
 * Copies the words of a stack from or to where it is kept. A stack under AddressSanitizer is full of red zones, and its
 * memcpy looks at them.
 */
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize("address"))) static inline void
gri_copy_stack_words(void *to, const void *from, size_t bytes)
{
    volatile uint64_t *out = to;
    const uint64_t *in = from;

    for (size_t i = 0; i < bytes / 8; i++)
        out[i] = in[i];
}
#else
#define gri_copy_stack_words memcpy
#endif

#if defined(__SANITIZE_THREAD__)
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#define GRI_TSAN_CURRENT()      __tsan_get_current_fiber()
#define GRI_TSAN_CREATE(fiber)  ((void)(*(fiber) = __tsan_create_fiber(0)))
#define GRI_TSAN_DESTROY(fiber) __tsan_destroy_fiber(fiber)
#define GRI_TSAN_SWITCH(fiber)  __tsan_switch_to_fiber(fiber, 0)
#else
#define GRI_TSAN_CURRENT()      NULL
#define GRI_TSAN_CREATE(fiber)  ((void)0)
#define GRI_TSAN_DESTROY(fiber) ((void)0)
#define GRI_TSAN_SWITCH(fiber)  ((void)0)
#endif

#endif
