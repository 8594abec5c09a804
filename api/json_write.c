/*
 * json_write.c: values as text.
 *
 * jansson's own writer keeps a table of the containers that it is in, to find circles, and prints an address into it
 * for each; our values are trees that we built ourselves. And it cannot write what it cannot hold: a result with a
 * number beyond 64 bits is JSON that a workload was allowed to leave, and must come out as it went in. Such a text
 * stands in a tree as a `raw` value: a string that begins with a byte which no UTF-8 has, so that nothing that was
 * parsed, and nothing that api_json_string made, is taken for one.
 *
 * Rejected: jansson's JSON_DECODE_INT_AS_REAL, which turns every 1 into 1.0 and rounds the large ones.
 */
#include "internal.h"

#include <string.h>

#define RAW_MARK '\xff'

struct writer {
    struct api_buf *out;
    bool pretty;
    unsigned depth; /* of values that came in: API_JSON_DEPTH_MAX; of results: core's own limit */
};

json_t *api_json_raw(const char *text)
{
    struct api_buf marked = {0};
    api_buf_add(&marked, (const char[]){RAW_MARK}, 1);
    api_buf_str(&marked, text);
    json_t *value = marked.failed ? NULL : json_stringn_nocheck(marked.data, marked.size);
    api_buf_free(&marked);
    return value;
}

const char *api_json_raw_text(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && text[0] == RAW_MARK ? text + 1 : NULL;
}

static void put_string(struct api_buf *out, const char *text, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from = 0;
    api_buf_add(out, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *letter = c == '"' || c == '\\' ? "" : NULL;
        if (c >= 0x20 && !letter)
            continue;
        api_buf_add(out, text + from, i - from);
        from = i + 1;
        static const char names[] = "\b\f\n\r\t";
        const char *name = c ? strchr(names, c) : NULL;
        char escape[6] = {'\\',
                          letter ? (char)c : name ? "bfnrt"[name - names] : 'u',
                          '0',
                          '0',
                          digits[c >> 4],
                          digits[c & 15]};
        api_buf_add(out, escape, letter || name ? 2 : 6);
    }
    api_buf_add(out, text + from, size - from);
    api_buf_add(out, "\"", 1);
}

static void put_integer(struct api_buf *out, json_int_t value)
{
    if (value < 0)
        api_buf_add(out, "-", 1);
    api_buf_uint(out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void api_put_text(struct api_buf *out, const char *text)
{
    size_t size = 0;
    bool plain = true;
    if (!text) {
        api_buf_add(out, "null", 4);
        return;
    }
    for (; text[size] && (unsigned char)text[size] < 0x80; size++)
        plain &= (unsigned char)text[size] >= 0x20 && text[size] != '"' && text[size] != '\\';
    if (!text[size] && plain && api_buf_grow(out, size + 2)) {
        out->data[out->size] = '"';
        memcpy(out->data + out->size + 1, text, size);
        out->data[out->size + size + 1] = '"';
        out->size += size + 2;
        return;
    }
    if (!text[size]) { /* nothing but ASCII */
        put_string(out, text, size);
        return;
    }
    json_t *value = api_json_string(text);
    api_json_write(out, value, false);
    out->failed |= !value;
    json_decref(value);
}

void api_put_hex(struct api_buf *out, uint64_t value)
{
    char text[24], *at = text + sizeof text;
    *--at = '"';
    do {
        *--at = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value);
    api_buf_add(out, "\"0x", 3);
    api_buf_add(out, at, (size_t)(text + sizeof text - at));
}

void api_put_time(struct api_buf *out, uint64_t realtime_ns)
{
    char text[API_TIME_BYTES];
    if (!realtime_ns) {
        api_buf_add(out, "null", 4);
        return;
    }
    api_time_format(text, realtime_ns);
    put_string(out, text, API_TIME_BYTES - 1);
}

/* Without the blanks between its tokens: a line must stay one. */
void api_put_raw(struct api_buf *out, const char *text)
{
    const char *from = text, *c = text;
    bool in_string = false;
    for (; *c; c++) {
        if (*c == '"') {
            in_string = !in_string;
        } else if (in_string) {
            c += *c == '\\' && c[1];
        } else if (*c == ' ' || *c == '\t' || *c == '\r' || *c == '\n') {
            api_buf_add(out, from, (size_t)(c - from));
            from = c + 1;
        }
    }
    api_buf_add(out, from, (size_t)(c - from));
}

static void new_line(struct writer *w)
{
    if (!w->pretty)
        return;
    api_buf_add(w->out, "\n", 1);
    for (unsigned i = 0; i < w->depth; i++)
        api_buf_add(w->out, "  ", 2);
}

static void put(struct writer *w, const json_t *value);

static void put_array(struct writer *w, const json_t *value)
{
    size_t size = json_array_size(value);
    api_buf_add(w->out, "[", 1);
    w->depth++;
    for (size_t i = 0; i < size; i++) {
        if (i)
            api_buf_add(w->out, ",", 1);
        new_line(w);
        put(w, json_array_get(value, i));
    }
    w->depth--;
    if (size)
        new_line(w);
    api_buf_add(w->out, "]", 1);
}

static void put_object(struct writer *w, const json_t *value)
{
    const char *key;
    json_t *member;
    bool any = false;
    api_buf_add(w->out, "{", 1);
    w->depth++;
    json_object_foreach((json_t *)value, key, member)
    {
        if (any)
            api_buf_add(w->out, ",", 1);
        any = true;
        new_line(w);
        put_string(w->out, key, strlen(key));
        api_buf_add(w->out, ": ", w->pretty ? 2 : 1);
        put(w, member);
    }
    w->depth--;
    if (any)
        new_line(w);
    api_buf_add(w->out, "}", 1);
}

/* As jansson writes it, which knows of locales with a decimal comma. */
static void put_real(struct api_buf *out, const json_t *value)
{
    char text[64];
    size_t size = json_dumpb(value, text, sizeof text, JSON_ENCODE_ANY);
    api_buf_add(out, text, size < sizeof text ? size : 0);
}

static void put(struct writer *w, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(w, value);
        break;
    case JSON_ARRAY:
        put_array(w, value);
        break;
    case JSON_STRING:
        if (api_json_raw_text(value))
            api_put_raw(w->out, api_json_raw_text(value));
        else
            put_string(w->out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        put_integer(w->out, json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(w->out, value);
        break;
    case JSON_TRUE:
        api_buf_add(w->out, "true", 4);
        break;
    case JSON_FALSE:
        api_buf_add(w->out, "false", 5);
        break;
    case JSON_NULL:
        api_buf_add(w->out, "null", 4);
        break;
    }
}

void api_json_write(struct api_buf *out, const json_t *value, bool pretty)
{
    struct writer w = {.out = out, .pretty = pretty};
    if (value)
        put(&w, value);
}
