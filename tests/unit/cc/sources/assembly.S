/* Assembly that includes what C includes. */
#include <errno.h>
        .text
        .globl  foreign
        .type   foreign, @function
foreign:
        .cfi_startproc
        movl    $ENOENT, %eax
        ret
        .cfi_endproc
        .size   foreign, . - foreign
        .section .note.GNU-stack, "", @progbits
