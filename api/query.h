/*
 * query.h: a request target taken apart: path segments and query parameters, percent-decoded.
 *
 * The target is split before it is decoded, so that an encoded slash stays part of its segment;
 * nothing is normalised: "..", "//" and a trailing slash match no route. Decoding works in place in
 * the storage of the struct; a 0 byte, a control character or a broken escape is an error, because
 * a C string would cut or hide what was checked.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#define API_SEGMENTS_MAX 8
#define API_PARAMS_MAX   32

struct api_target {
    size_t segment_count, param_count;
    const char *segment[API_SEGMENTS_MAX];
    struct api_param {
        const char *name, *value; /* value "" if there is no '=' */
    } param[API_PARAMS_MAX];
    bool root; /* the path is "/" */
    char storage[API_URI_BYTES_MAX + 1];
};

/*
 * The next item of a list with commas, also an empty one; false: there is none any more. `rest` is the list, then what is
 * left of it, and NULL behind the last item.
 */
bool api_item_next(const char **rest, const char **item, size_t *size);
/* "/path?query", `size` bytes. 0, or -EINVAL with a sentence in err. Too many segments:
 * segment_count 0. */
int api_target_parse(struct api_target *target, const char *text, size_t size, char *err,
                     size_t err_bytes);
/* NULL if absent. */
const char *api_target_param(const struct api_target *target, const char *name);
/* Decimal digits alone, no sign, no leading zero, at most max. */
bool api_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* The value of a hexadecimal digit, -1: it is none. */
int api_hex_digit(char c);
/* Appends `text` percent-encoded for a query value; returns the bytes needed as snprintf does. */
size_t api_percent_encode(char *out, size_t out_bytes, const char *text);

#endif
