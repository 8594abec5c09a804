/*
 * options.c: see options.h.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_option_table[CLI_OPTION_COUNT] = {
#define X(id, letter, name, value, kind, field, min, max, help)                                    \
    {letter, name, value, help, CLI_##kind, offsetof(struct cli_options, field), min, max},
    CLI_OPTIONS(X)
#undef X
};

static void *field_of(struct cli_options *options, const struct cli_option *option)
{
    return (char *)options + option->offset;
}

void cli_options_init(struct cli_options *options)
{
    *options = (struct cli_options){0};
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option *option = &cli_option_table[i];
        if (option->kind == CLI_UINT || option->kind == CLI_DURATION)
            *(uint64_t *)field_of(options, option) = CLI_UNSET;
    }
}

void cli_options_fini(struct cli_options *options)
{
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option *option = &cli_option_table[i];
        struct cli_list *list = field_of(options, option);
        if (option->kind == CLI_STRING)
            free(*(char **)field_of(options, option));
        for (size_t k = 0; option->kind == CLI_LIST && k < list->count; k++)
            free(list->items[k]);
        if (option->kind == CLI_LIST)
            free(list->items);
    }
}

bool cli_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !*end && !errno && *out >= min && *out <= max;
}

bool cli_parse_duration(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    double number = strtod(text, &end);
    for (size_t i = 0; i < 4 && !errno && number < 1e9; i++) {
        if (strcmp(end, units[i].unit))
            continue;
        *ms = (uint64_t)(number * (double)units[i].ms + 0.5);
        return true;
    }
    return false;
}

/* ---- Setting ---------------------------------------------------------------------------------- */

static void add_item(struct cli_list *list, const char *value)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        abort();
    list->items = items;
    list->items[list->count++] = strdup(value);
}

/* As a user would write it: with the largest unit in which it is whole. */
static const char *duration_text(uint64_t ms, char *out, size_t bytes)
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = ms ? 0 : 2;

    while (ms % units[i].ms != 0)
        i++;
    snprintf(out, bytes, "%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
    return out;
}

static int set_number(const struct cli_option *option, uint64_t *slot, const char *value, char *err,
                      size_t err_bytes)
{
    bool duration = option->kind == CLI_DURATION;
    char min[32], max[32];

    if (duration ? cli_parse_duration(value, slot) && *slot >= option->min && *slot <= option->max
                 : cli_parse_uint(value, option->min, option->max, slot))
        return 0;
    if (duration)
        snprintf(
            err, err_bytes,
            "--%s must be a time with its unit from %s to %s, as 250ms, 30s, 5m or 1h, not \"%s\"",
            option->name, duration_text(option->min, min, sizeof min),
            duration_text(option->max, max, sizeof max), value);
    else
        snprintf(err, err_bytes,
                 "--%s must be a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"", option->name,
                 option->min, option->max, value);
    return -EINVAL;
}

static int set(struct cli_options *options, const struct cli_option *option, const char *value,
               char *err, size_t err_bytes)
{
    void *slot = field_of(options, option);
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)slot = true;
        return 0;
    case CLI_STRING:
        free(*(char **)slot);
        *(char **)slot = strdup(value);
        return 0;
    case CLI_LIST:
        add_item(slot, value);
        return 0;
    case CLI_UINT:
    case CLI_DURATION:
        return set_number(option, slot, value, err, err_bytes);
    }
    return -EINVAL;
}

/* ---- Parsing ---------------------------------------------------------------------------------- */

static const struct cli_option *find(const char *name, size_t size, char letter)
{
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option *option = &cli_option_table[i];
        if (name ? strlen(option->name) == size && strncmp(option->name, name, size) == 0
                 : option->letter == letter)
            return option;
    }
    return NULL;
}

static bool is_taken(uint64_t taken, const struct cli_option *option)
{
    return option && (taken >> (option - cli_option_table) & 1);
}

/* The value, which may be the next argument; NULL: there is none. */
static const char *value_of(const char *attached, int argc, char *const *argv, int *i)
{
    if (attached)
        return attached;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

static int parse_long(struct cli_options *options, uint64_t taken, int argc, char *const *argv,
                      int *i, char *err, size_t err_bytes)
{
    const char *name = argv[*i] + 2;
    size_t size = strcspn(name, "=");
    const struct cli_option *option = find(name, size, 0);
    const char *attached = name[size] ? name + size + 1 : NULL;
    if (!is_taken(taken, option)) {
        snprintf(err, err_bytes,
                 option ? "--%.*s has no meaning here" : "there is no option --%.*s", (int)size,
                 name);
        return -EINVAL;
    }
    if (option->kind == CLI_FLAG && attached) {
        snprintf(err, err_bytes, "--%s takes no value", option->name);
        return -EINVAL;
    }
    const char *value = option->kind == CLI_FLAG ? "" : value_of(attached, argc, argv, i);
    if (!value) {
        snprintf(err, err_bytes, "--%s needs a value: %s", option->name, option->value);
        return -EINVAL;
    }
    return set(options, option, value, err, err_bytes);
}

/* -abc, -oVALUE, -o VALUE. */
static int parse_letters(struct cli_options *options, uint64_t taken, int argc, char *const *argv,
                         int *i, char *err, size_t err_bytes)
{
    int result = 0;
    for (const char *at = argv[*i] + 1; *at && !result; at++) {
        const struct cli_option *option = find(NULL, 0, *at);
        if (!is_taken(taken, option)) {
            snprintf(err, err_bytes, option ? "-%c has no meaning here" : "there is no option -%c",
                     *at);
            return -EINVAL;
        }
        if (option->kind == CLI_FLAG) {
            result = set(options, option, "", err, err_bytes);
            continue;
        }
        const char *value = value_of(at[1] ? at + 1 : NULL, argc, argv, i);
        if (!value) {
            snprintf(err, err_bytes, "-%c needs a value: %s", *at, option->value);
            return -EINVAL;
        }
        return set(options, option, value, err, err_bytes);
    }
    return result;
}

int cli_options_parse(struct cli_options *options, uint64_t taken, int argc, char *const *argv,
                      bool stop, char **args, size_t *count, char *err, size_t err_bytes)
{
    int i = 0;
    *count = 0;
    for (; i < argc; i++) {
        const char *argument = argv[i];
        int result = 0;
        if (strcmp(argument, "--") == 0)
            return i + 1;
        if (strncmp(argument, "--", 2) == 0)
            result = parse_long(options, taken, argc, argv, &i, err, err_bytes);
        else if (argument[0] == '-' && argument[1])
            result = parse_letters(options, taken, argc, argv, &i, err, err_bytes);
        else if (stop)
            return i;
        else
            args[(*count)++] = argv[i];
        if (result)
            return result;
    }
    return i;
}
