/*
 * frames.h: the stack pictures of switch.S and caught.S as C structs, lowest address first.
 */
#ifndef GRASP_ARCH_X86_64_FRAMES_H
#define GRASP_ARCH_X86_64_FRAMES_H

#include <stdint.h>

/* caught.S: pc is the word that the call or the signal handler pushed. */
struct arch_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t rflags, rbp, pc;
};

/* switch.S */
struct switch_frame {
    uint32_t mxcsr;
    uint16_t fpu_control, unused;
    uint64_t r15, r14, r13, r12, rbx, rbp, pc;
};
_Static_assert(sizeof(struct switch_frame) == 64, "switch.S");

#define XCR0_X87_SSE   0x3u
#define XCR0_AVX       0x4u
#define XCR0_OPMASK    0x20u
#define XCR0_ZMM_HIGH  0x40u
#define XCR0_ZMM_UPPER 0x80u
#define XCR0_SAVED     (XCR0_X87_SSE | XCR0_AVX | XCR0_OPMASK | XCR0_ZMM_HIGH | XCR0_ZMM_UPPER)

/* An area of XSAVE's without any component: the legacy part and the header. */
#define EXTENDED 576

#define HIDDEN __attribute__((visibility("hidden")))

/* How caught.S saves vectors: set once by arch_init. */
extern HIDDEN uint32_t arch_vector_bytes, arch_vector_how, arch_vector_mask;
/* Components of the standard XSAVE format by number, from CPUID 0xD. */
extern HIDDEN uint32_t arch_component_offset[8], arch_component_size[8];

#endif
