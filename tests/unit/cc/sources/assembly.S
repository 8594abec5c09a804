/*
 * Assembly that includes what C includes. It is linked and never run: it is of no architecture and holds no instruction.
 */
#include <errno.h>
        .text
        .globl  foreign
        .type   foreign, %function
foreign:
        .cfi_startproc
        .long   ENOENT
        .cfi_endproc
        .size   foreign, . - foreign
        .section .note.GNU-stack, "", %progbits
