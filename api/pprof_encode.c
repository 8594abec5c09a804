/*
 * pprof_encode.c: see pprof_encode.h.
 *
 * Wire format: a field is a key (number << 3 | type) and a varint (type 0) or a length and that many bytes
 * (type 2). Strings, locations and functions are numbered by tallies, whose texts for the latter two
 * are their keys: an address, or a pair of string numbers. Numbers of locations, functions and mappings
 * begin with 1.
 */
#include "pprof_encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tally.h"

enum { PROFILE_SAMPLE_TYPE = 1, PROFILE_SAMPLE, PROFILE_MAPPING, PROFILE_LOCATION };
enum { PROFILE_FUNCTION = 5, PROFILE_STRING, PROFILE_TIME = 9, PROFILE_DURATION };
enum { PROFILE_PERIOD_TYPE = 11, PROFILE_PERIOD };
enum { TYPE_TYPE = 1, TYPE_UNIT };
enum { SAMPLE_LOCATION = 1, SAMPLE_VALUE, SAMPLE_LABEL };
enum { LABEL_KEY = 1, LABEL_STRING, LABEL_NUMBER };
enum { MAPPING_ID = 1, MAPPING_START, MAPPING_LIMIT, MAPPING_FILE = 5, MAPPING_HAS_FUNCTIONS = 7 };
enum { MAPPING_HAS_INLINED = 10 };
enum { LOCATION_ID = 1, LOCATION_MAPPING, LOCATION_ADDRESS, LOCATION_LINE };
enum { LINE_FUNCTION = 1, LINE_LINE };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILE };

struct mapping {
    uint64_t lo, hi;
};

struct api_pprof {
    z_stream zip;
    bool zip_open, failed;
    struct api_buf zipped;
    size_t type_count;
    struct api_tally strings, locations, functions, modules;
    struct mapping *mapping; /* as many as modules */
    /* A message, and one inside it. */
    struct api_buf message, inner;
};

/* ---- Bytes ----------------------------------------------------------------------------------- */

static void put_varint(struct api_buf *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t size = 0;
    while (value >= 0x80) {
        bytes[size++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    bytes[size++] = (unsigned char)value;
    api_buf_add(out, bytes, size);
}

static void put_uint(struct api_buf *out, unsigned field, uint64_t value)
{
    if (value == 0)
        return;
    put_varint(out, field << 3);
    put_varint(out, value);
}

static void put_bytes(struct api_buf *out, unsigned field, const void *bytes, size_t size)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, size);
    api_buf_add(out, bytes, size);
}

/* Compresses; flush: Z_NO_FLUSH or Z_FINISH. */
static void zip(struct api_pprof *pprof, const void *bytes, size_t size, int flush)
{
    unsigned char block[16384];
    int result = Z_OK;
    pprof->zip.next_in = (unsigned char *)(uintptr_t)bytes;
    pprof->zip.avail_in = (unsigned)size;
    /* Ends: each turn fills the block until zlib has nothing more to say. */
    do {
        pprof->zip.next_out = block;
        pprof->zip.avail_out = sizeof block;
        result = deflate(&pprof->zip, flush);
        api_buf_add(&pprof->zipped, block, sizeof block - pprof->zip.avail_out);
    } while (result == Z_OK && pprof->zip.avail_out == 0);
}

/* The message is complete: a field of the profile. */
static void put_message(struct api_pprof *pprof, unsigned field)
{
    struct api_buf key = {0};
    put_varint(&key, field << 3 | 2);
    put_varint(&key, pprof->message.size);
    zip(pprof, key.data, key.size, Z_NO_FLUSH);
    zip(pprof, pprof->message.data, pprof->message.size, Z_NO_FLUSH);
    pprof->failed = pprof->failed || pprof->message.failed || key.failed;
    api_buf_free(&key);
    api_buf_clear(&pprof->message);
}

static uint64_t string_number(struct api_pprof *pprof, const char *text)
{
    return text ? api_tally_add(&pprof->strings, text, strlen(text), 0, 0) : 0;
}

static void put_type(struct api_pprof *pprof, unsigned field, const struct api_pprof_type *type)
{
    put_uint(&pprof->message, TYPE_TYPE, string_number(pprof, type->type));
    put_uint(&pprof->message, TYPE_UNIT, string_number(pprof, type->unit));
    put_message(pprof, field);
}

/* ---- What samples name ----------------------------------------------------------------------- */

/* The number of a key that begins with 1; *fresh: it is new. */
static uint64_t number_of(struct api_tally *tally, const void *key, size_t size, bool *fresh)
{
    size_t before = tally->count;
    size_t number = api_tally_add(tally, key, size, 0, 0);
    *fresh = tally->count > before;
    return number + 1;
}

static uint64_t function_number(struct api_pprof *pprof, const struct gr_frame *frame)
{
    char name[320];
    bool fresh;
    const char *function = frame->function;
    if (!function) {
        snprintf(name, sizeof name, "%s+0x%llx", frame->module ? frame->module : "?",
                 (unsigned long long)(frame->module ? frame->offset : frame->pc));
        function = name;
    }
    uint64_t key[2] = {string_number(pprof, function), string_number(pprof, frame->file)};
    uint64_t number = number_of(&pprof->functions, key, sizeof key, &fresh);
    if (fresh) {
        struct api_buf *out = &pprof->message;
        put_uint(out, FUNCTION_ID, number);
        put_uint(out, FUNCTION_NAME, key[0]);
        put_uint(out, FUNCTION_SYSTEM_NAME, key[0]);
        put_uint(out, FUNCTION_FILE, key[1]);
        put_message(pprof, PROFILE_FUNCTION);
    }
    return number;
}

/* The module of a location, which grows to reach it. 0: none. */
static uint64_t mapping_number(struct api_pprof *pprof, const char *module, uint64_t address)
{
    bool fresh;
    if (!module)
        return 0;
    uint64_t number = number_of(&pprof->modules, module, strlen(module), &fresh);
    if (fresh) {
        struct mapping *mapping = reallocarray(pprof->mapping, number, sizeof *mapping);
        if (!mapping) {
            pprof->failed = true;
            return 0;
        }
        pprof->mapping = mapping;
        mapping[number - 1] = (struct mapping){UINT64_MAX, 0};
    }
    if (pprof->modules.failed)
        return 0;
    struct mapping *m = &pprof->mapping[number - 1];
    m->lo = address < m->lo ? address : m->lo;
    m->hi = address >= m->hi ? address + 1 : m->hi;
    return number;
}

/* The first `count` frames, all at one address: inlined ones and what they were inlined into. */
static uint64_t location_number(struct api_pprof *pprof, const struct gr_frame *frames,
                                size_t count, uint64_t address)
{
    uint64_t function[GR_FRAMES_MAX];
    bool fresh;
    uint64_t number = number_of(&pprof->locations, &address, sizeof address, &fresh);
    if (!fresh)
        return number;
    /* Before the message of the location begins: functions are messages of their own. */
    for (size_t i = 0; i < count; i++)
        function[i] = function_number(pprof, &frames[i]);
    struct api_buf *out = &pprof->message;
    put_uint(out, LOCATION_ID, number);
    put_uint(out, LOCATION_MAPPING, mapping_number(pprof, frames[count - 1].module, address));
    put_uint(out, LOCATION_ADDRESS, address);
    for (size_t i = 0; i < count; i++) {
        struct api_buf line = {0};
        put_uint(&line, LINE_FUNCTION, function[i]);
        put_uint(&line, LINE_LINE, (uint64_t)frames[i].line);
        put_bytes(out, LOCATION_LINE, line.data, line.size);
        api_buf_free(&line);
    }
    put_message(pprof, PROFILE_LOCATION);
    return number;
}

/* ---- Samples --------------------------------------------------------------------------------- */

static void put_label(struct api_pprof *pprof, struct api_buf *sample, const char *key,
                      const char *text, uint64_t number)
{
    struct api_buf *out = &pprof->inner;
    api_buf_clear(out);
    put_uint(out, LABEL_KEY, string_number(pprof, key));
    if (text)
        put_uint(out, LABEL_STRING, string_number(pprof, text));
    else
        put_uint(out, LABEL_NUMBER, number);
    put_bytes(sample, SAMPLE_LABEL, out->data, out->size);
}

static void put_labels(struct api_pprof *pprof, struct api_buf *sample,
                       const struct api_stack *stack)
{
    const struct gr_info *info = stack->info;
    if (stack->id)
        put_label(pprof, sample, "goroutine", NULL, stack->id);
    if (!info)
        return;
    put_label(pprof, sample, "state",
              *info->wait_reason ? info->wait_reason : gr_state_name(info->state), 0);
    if (*info->entry)
        put_label(pprof, sample, "entry", info->entry, 0);
    for (size_t i = 0; i < info->label_count; i++)
        put_label(pprof, sample, info->label[i].key, info->label[i].value, 0);
}

void api_pprof_add(struct api_pprof *pprof, const struct api_stack *stack)
{
    uint64_t location[GR_FRAMES_MAX];
    size_t count = 0;
    for (size_t i = 0, end; i < stack->count; i = end) {
        const struct gr_frame *first = &stack->frames[i];
        for (end = i + 1; end < stack->count && stack->frames[end - 1].inlined; end++)
            ;
        /* Return addresses name the call before them. */
        location[count++] = location_number(pprof, first, end - i, i ? first->pc - 1 : first->pc);
    }
    struct api_buf *out = &pprof->message;
    api_buf_clear(&pprof->inner);
    for (size_t i = 0; i < count; i++)
        put_varint(&pprof->inner, location[i]);
    put_bytes(out, SAMPLE_LOCATION, pprof->inner.data, pprof->inner.size);
    api_buf_clear(&pprof->inner);
    for (size_t i = 0; i < pprof->type_count; i++)
        put_varint(&pprof->inner, (uint64_t)stack->value[i]);
    put_bytes(out, SAMPLE_VALUE, pprof->inner.data, pprof->inner.size);
    put_labels(pprof, out, stack);
    put_message(pprof, PROFILE_SAMPLE);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct api_pprof *api_pprof_create(const struct api_pprof_type *types, size_t type_count,
                                   const struct api_pprof_type *period_type, int64_t period)
{
    struct api_pprof *pprof = calloc(1, sizeof *pprof);
    if (!pprof)
        return NULL;
    /* 15 bits of window, 16: a gzip header. */
    pprof->zip_open =
        deflateInit2(&pprof->zip, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    if (!pprof->zip_open) {
        free(pprof);
        return NULL;
    }
    pprof->type_count = type_count;
    string_number(pprof, ""); /* number 0, by the format */
    for (size_t i = 0; i < type_count; i++)
        put_type(pprof, PROFILE_SAMPLE_TYPE, &types[i]);
    put_type(pprof, PROFILE_PERIOD_TYPE, period_type);
    struct api_buf field = {0};
    put_uint(&field, PROFILE_PERIOD, (uint64_t)period);
    zip(pprof, field.data, field.size, Z_NO_FLUSH);
    api_buf_free(&field);
    return pprof;
}

static void put_tables(struct api_pprof *pprof)
{
    for (size_t i = 0; i < pprof->modules.count; i++) {
        struct api_buf *out = &pprof->message;
        const char *name = api_tally_text(&pprof->modules, i);
        put_uint(out, MAPPING_ID, i + 1);
        put_uint(out, MAPPING_START, pprof->mapping[i].lo & ~UINT64_C(4095));
        put_uint(out, MAPPING_LIMIT, (pprof->mapping[i].hi + 4095) & ~UINT64_C(4095));
        put_uint(out, MAPPING_FILE, string_number(pprof, name));
        for (unsigned has = MAPPING_HAS_FUNCTIONS; has <= MAPPING_HAS_INLINED; has++)
            put_uint(out, has, 1);
        put_message(pprof, PROFILE_MAPPING);
    }
    for (size_t i = 0; i < pprof->strings.count; i++) {
        api_buf_add(&pprof->message, api_tally_text(&pprof->strings, i),
                    pprof->strings.item[i].size);
        put_message(pprof, PROFILE_STRING);
    }
}

void api_pprof_end(struct api_pprof *pprof, uint64_t realtime_ns, uint64_t duration_ns,
                   struct api_buf *out)
{
    struct api_buf field = {0};
    put_tables(pprof);
    put_uint(&field, PROFILE_TIME, realtime_ns);
    put_uint(&field, PROFILE_DURATION, duration_ns);
    zip(pprof, field.data, field.size, Z_FINISH);
    bool failed = pprof->failed || pprof->strings.failed || pprof->locations.failed ||
                  pprof->functions.failed || pprof->modules.failed || pprof->zipped.failed ||
                  field.failed;
    api_buf_add(out, pprof->zipped.data, pprof->zipped.size);
    out->failed = out->failed || failed;
    api_buf_free(&field);
    api_pprof_destroy(pprof);
}

void api_pprof_destroy(struct api_pprof *pprof)
{
    if (!pprof)
        return;
    deflateEnd(&pprof->zip);
    api_buf_free(&pprof->zipped);
    api_tally_free(&pprof->strings);
    api_tally_free(&pprof->locations);
    api_tally_free(&pprof->functions);
    api_tally_free(&pprof->modules);
    api_buf_free(&pprof->message);
    api_buf_free(&pprof->inner);
    free(pprof->mapping);
    free(pprof);
}
