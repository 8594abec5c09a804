/*
 * openapi_file.S: the bytes of openapi.json, as they are. Data only: the same on every architecture.
 *
 *   const char api_openapi[], api_openapi_end[]
 */
        .section .rodata
        .globl  api_openapi
        .globl  api_openapi_end
        .hidden api_openapi
        .hidden api_openapi_end
api_openapi:
        .incbin "openapi.json"
api_openapi_end:
        .byte   0

        .section .note.GNU-stack, "", %progbits
