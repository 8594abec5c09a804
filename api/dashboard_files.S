/*
 * dashboard_files.S: the bytes of clients/dashboard/dist, as they are. Data only: the same on every architecture.
 *
 *   const char api_dashboard_X[], api_dashboard_X_end[]
 */
        .macro  FILE symbol, path
        .globl  \symbol
        .globl  \symbol\()_end
        .hidden \symbol
        .hidden \symbol\()_end
\symbol:
        .incbin "\path"
\symbol\()_end:
        .byte   0
        .endm

        .section .rodata
        FILE    api_dashboard_html, "index.html"
        FILE    api_dashboard_js, "app.js"
        FILE    api_dashboard_css, "style.css"

        .section .note.GNU-stack, "", %progbits
