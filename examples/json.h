/*
 * json.h: builds a JSON text for gr_result, in a buffer of fixed size.
 *
 * Results are limited to GR_RESULT_BYTES_MAX anyway, so the buffer is as large and what does not
 * fit is noticed by json_fits before it is written. Names of files need not be UTF-8; bytes that
 * are not become U+FFFD, since a JSON text has to be.
 */
#ifndef EXAMPLES_JSON_H
#define EXAMPLES_JSON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <grasp/goroutine.h>

struct json {
    size_t used;
    char text[GR_RESULT_BYTES_MAX + 1];
};

/* Appends as printf does; what does not fit is cut. */
__attribute__((format(printf, 2, 3))) static inline void json_add(struct json *json,
                                                                  const char *fmt, ...)
{
    size_t room = sizeof(json->text) - json->used;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(json->text + json->used, room, fmt, ap);
    va_end(ap);
    if (n > 0)
        json->used += (size_t)n < room ? (size_t)n : room - 1;
}

static inline bool json_fits(const struct json *json, size_t bytes)
{
    return sizeof(json->text) - 1 - json->used >= bytes;
}

/* The length of the UTF-8 character at p, or 0 if the bytes are none. */
static inline size_t json_utf8_length(const unsigned char *p)
{
    size_t n = p[0] < 0x80                    ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0  ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0  ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
    bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

static inline void json_add_string(struct json *json, const char *text)
{
    json_add(json, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = json_utf8_length(p);
        if (n == 0)
            json_add(json, "\\ufffd");
        else if (*p == '"' || *p == '\\')
            json_add(json, "\\%c", *p);
        else if (*p < 0x20)
            json_add(json, "\\u%04x", *p);
        else
            json_add(json, "%.*s", (int)n, (const char *)p);
        p += n ? n : 1;
    }
    json_add(json, "\"");
}

#endif
