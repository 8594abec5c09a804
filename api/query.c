/*
 * query.c: see query.h.
 */
#include "query.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int api_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes in place; '+' is a space in queries only. */
static int decode(char *text, bool query)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        unsigned char c = (unsigned char)*in;
        if (c == '%') {
            int high = api_hex_digit(in[1]), low = high < 0 ? -1 : api_hex_digit(in[2]);
            if (low < 0)
                return -EINVAL;
            c = (unsigned char)(high << 4 | low);
            in += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return -EINVAL;
        *out++ = (char)c;
    }
    *out = 0;
    return 0;
}

static int split_path(struct api_target *target, char *path)
{
    if (strcmp(path, "/") == 0) {
        target->root = true;
        return 0;
    }
    size_t count = 0;
    for (char *at = path; at; count++) {
        char *segment = at + 1; /* at points to a '/' */
        char *next = strchr(segment, '/');
        if (next)
            *next = 0;
        if (decode(segment, false))
            return -EINVAL;
        if (count < API_SEGMENTS_MAX)
            target->segment[count] = segment;
        at = next;
    }
    target->segment_count = count <= API_SEGMENTS_MAX ? count : 0;
    return 0;
}

static int split_query(struct api_target *target, char *query)
{
    for (char *at = query; at && *at;) {
        char *next = strchr(at, '&');
        if (next)
            *next++ = 0;
        if (*at) {
            if (target->param_count == API_PARAMS_MAX)
                return -EINVAL;
            char *value = strchr(at, '=');
            if (value)
                *value++ = 0;
            struct api_param *param = &target->param[target->param_count++];
            param->name = at;
            param->value = value ? value : at + strlen(at);
            if (decode(at, true) || (value && decode(value, true)))
                return -EINVAL;
        }
        at = next;
    }
    return 0;
}

int api_target_parse(struct api_target *target, const char *text, size_t size, char *err,
                     size_t err_bytes)
{
    target->segment_count = target->param_count = 0;
    target->root = false;
    if (size == 0 || size > API_URI_BYTES_MAX || text[0] != '/' || memchr(text, '#', size) ||
        memchr(text, 0, size)) {
        snprintf(err, err_bytes, "the request target must be a path that begins with '/'");
        return -EINVAL;
    }
    memcpy(target->storage, text, size);
    target->storage[size] = 0;
    char *query = strchr(target->storage, '?');
    if (query)
        *query++ = 0;
    if (split_path(target, target->storage) || (query && split_query(target, query))) {
        snprintf(err, err_bytes,
                 "the request target has a broken %%-escape, a control character or more than %d "
                 "parameters",
                 API_PARAMS_MAX);
        return -EINVAL;
    }
    return 0;
}

const char *api_target_param(const struct api_target *target, const char *name)
{
    for (size_t i = 0; i < target->param_count; i++)
        if (strcmp(target->param[i].name, name) == 0)
            return target->param[i].value;
    return NULL;
}

bool api_item_next(const char **rest, const char **item, size_t *size)
{
    const char *text = *rest;
    if (!text)
        return false;
    *item = text;
    *size = strcspn(text, ",");
    *rest = text[*size] ? text + *size + 1 : NULL;
    return true;
}

bool api_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    size_t size = strlen(text);
    if (size == 0 || size > 20 || (size > 1 && text[0] == '0'))
        return false;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

size_t api_percent_encode(char *out, size_t out_bytes, const char *text)
{
    size_t need = 0;
    for (; *text; text++) {
        char piece[4];
        unsigned char c = (unsigned char)*text;
        int size = isalnum(c) || strchr("-._~", c) ? snprintf(piece, sizeof piece, "%c", c)
                                                   : snprintf(piece, sizeof piece, "%%%02X", c);
        if (need + (size_t)size < out_bytes)
            memcpy(out + need, piece, (size_t)size + 1);
        need += (size_t)size;
    }
    if (need == 0 && out_bytes)
        out[0] = 0;
    return need;
}
