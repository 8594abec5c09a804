/*
 * args.h: reads the arguments of an entry, one JSON text, as far as the examples need it.
 *
 * The daemon has parsed the text before it calls the entry, so it is well-formed; these functions
 * only find members of the outermost object and convert strings and numbers. They allocate nothing.
 * A module with more to read links a JSON library built by grasp-cc.
 *
 * A "value" is a pointer to the first character of a JSON value inside the text; NULL stands for
 * absent.
 */
#ifndef EXAMPLES_ARGS_H
#define EXAMPLES_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline const char *args_blank(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Behind the string that begins at p. */
static inline const char *args_string_end(const char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

/* Behind the value that begins at p. */
static inline const char *args_end(const char *p)
{
    unsigned depth = 0;
    do {
        p = args_blank(p);
        if (*p == '"') {
            p = args_string_end(p);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else if (*p == ',' || *p == ':') {
            p++;
        } else {
            p += strcspn(p, " \t\r\n,:]}");
        }
    } while (*p && depth);
    return p;
}

/* The value of member `key` of the object, or NULL. Keys are compared as they are written. */
static inline const char *args_find(const char *object, const char *key)
{
    const char *p = args_blank(object);
    size_t length = strlen(key);
    if (*p != '{')
        return NULL;
    for (p = args_blank(p + 1); *p == '"'; p = args_blank(p + 1)) {
        const char *name = p + 1;
        p = args_string_end(p);
        bool same = (size_t)(p - name) == length + 1 && memcmp(name, key, length) == 0;
        p = args_blank(args_blank(p) + 1);
        if (same)
            return p;
        p = args_blank(args_end(p));
        if (*p != ',')
            break;
    }
    return NULL;
}

/* Element `index` of the array, or NULL. */
static inline const char *args_element(const char *array, size_t index)
{
    if (!array || *array != '[')
        return NULL;
    const char *p = args_blank(array + 1);
    for (; index > 0 && *p && *p != ']'; index--) {
        p = args_blank(args_end(p));
        if (*p != ',')
            return NULL;
        p = args_blank(p + 1);
    }
    return *p && *p != ']' ? p : NULL;
}

static inline uint32_t args_hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4 && p[i]; i++) {
        char c = p[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Writes a code point as UTF-8; returns how many bytes. */
static inline size_t args_utf8(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* One character of a string at *p, decoded into `out`; *p goes behind it. Returns how many bytes.
 */
static inline size_t args_character(const char **p, char out[4])
{
    const char *at = *p;
    if (*at != '\\') {
        out[0] = *at;
        *p = at + 1;
        return 1;
    }
    *p = at + 2;
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *found = at[1] ? strchr(from, at[1]) : NULL;
    if (at[1] != 'u') {
        out[0] = found ? to[found - from] : at[1];
        return 1;
    }
    uint32_t c = args_hex4(at + 2);
    *p = at + 6;
    if (c >= 0xd800 && c < 0xdc00 && at[6] == '\\' && at[7] == 'u') {
        c = 0x10000 + ((c - 0xd800) << 10) + (args_hex4(at + 8) - 0xdc00);
        *p = at + 12;
    }
    return args_utf8(out, c);
}

/* Decodes a string value into buf. False: no string, or it does not fit with its final 0. */
static inline bool args_copy(const char *value, char *buf, size_t bytes)
{
    if (!value || *value != '"')
        return false;
    size_t used = 0;
    const char *p = value + 1;
    while (*p && *p != '"') {
        char c[4];
        size_t n = args_character(&p, c);
        if (used + n >= bytes)
            return false;
        memcpy(buf + used, c, n);
        used += n;
    }
    buf[used] = 0;
    return true;
}

/* Member `key` as a string. False: absent, no string, or too long. */
static inline bool args_string(const char *args, const char *key, char *buf, size_t bytes)
{
    return args_copy(args_find(args, key), buf, bytes);
}

/* What a number is that cannot be used: whoever limits it refuses it, too. */
#define ARGS_NO_NUMBER UINT64_MAX

/* Member `key` as a whole number; `otherwise` if it is absent, ARGS_NO_NUMBER if it is not one or too large. */
static inline uint64_t args_u64(const char *args, const char *key, uint64_t otherwise)
{
    const char *p = args_find(args, key);
    if (!p)
        return otherwise;
    if (*p < '0' || *p > '9')
        return ARGS_NO_NUMBER;
    uint64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return ARGS_NO_NUMBER;
    return *p == '.' || *p == 'e' || *p == 'E' ? ARGS_NO_NUMBER : value;
}

#endif
