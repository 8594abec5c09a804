/*
 * errno.h: the system's, with errno made the goroutine's own.
 *
 * The C library declares the function behind errno as const, so that compilers keep its result
 * across calls; a goroutine that has changed threads in between would read another thread's errno.
 * The function here is not const. No include guard: the system's header may be included again with
 * more macros asked for.
 */
#ifndef __ASSEMBLER__
#pragma GCC system_header
#endif
#include_next <errno.h>

#ifndef __ASSEMBLER__
#undef errno
#define errno (*gr_errno_location())
#ifndef GRASP_ERRNO_DECLARED
#define GRASP_ERRNO_DECLARED
#ifdef __cplusplus
extern "C"
#endif
    int *
    gr_errno_location(void);
#endif
#endif
