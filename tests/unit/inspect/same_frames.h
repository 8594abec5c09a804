/*
 * same_frames.h: whether two lists of frames say the same. Not memcmp, which would compare what lies between
 * the members, too.
 */
#ifndef GRASP_TESTS_SAME_FRAMES_H
#define GRASP_TESTS_SAME_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

#include <grasp/inspect.h>

/* Names are interned: equal strings are one. */
static inline bool same_frames(const struct gr_frame *a, const struct gr_frame *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a[i].pc != b[i].pc || a[i].offset != b[i].offset || a[i].line != b[i].line ||
            a[i].inlined != b[i].inlined || a[i].function != b[i].function ||
            a[i].file != b[i].file || a[i].module != b[i].module)
            return false;
    }
    return true;
}

#endif
