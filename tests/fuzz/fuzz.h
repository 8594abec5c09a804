/*
 * fuzz.h: what the fuzz targets have in common. Each is a libFuzzer program: bytes in, no crash, no
 * sanitizer report and no broken claim out.
 */
#ifndef GRASP_TESTS_FUZZ_H
#define GRASP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken claim ends the run with its sentence; libFuzzer keeps the input. */
#define CLAIM(cond, what)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "broken: %s\n", what);                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes as a file that only we can read; its path is "/proc/self/fd/N" and valid until the next
 * call. */
const char *fuzz_file(const uint8_t *data, size_t size);

#endif
