/*
 * layout.h: offsets that C and assembly share. x86_64.c asserts each of them against the C structs.
 */
#ifndef GRASP_ARCH_X86_64_LAYOUT_H
#define GRASP_ARCH_X86_64_LAYOUT_H

/* struct arch_tls */
#define TLS_FOREIGN         8
#define TLS_ERRNO_GOROUTINE 16
#define TLS_ERRNO_THREAD    24
#define TLS_ERRNO_OWNED     32

/* struct arch_foreign */
#define FOREIGN_DEPTH 0
#define FOREIGN_CALL  16
#define FOREIGN_MAX   64

/* struct arch_context */
#define CONTEXT_PC    0
#define CONTEXT_SP    8
#define CONTEXT_SAVED 16

/* glibc's split-stack word in the thread control block: ours, since nothing else uses it. */
#define GUARD_OFFSET 0x70

#define RED_ZONE        128
#define STUB_HEADROOM   24576
#define STUB_COUNT      2048
#define STUB_STRIDE     64
#define PIN_STUB_STRIDE 96

/* How vector state is saved. */
#define SAVE_FXSAVE 0
#define SAVE_XSAVE  1
#define SAVE_XSAVEC 2

/* Linux system call results: -ECANCELED. */
#define MINUS_ECANCELED -125

#endif
