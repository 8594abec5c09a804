/*
 * config.c: see config.h. One table row an option; flags and the file's members go through the same
 * setter.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

const char srv_usage[] =
    "usage: graspd [options]\n"
    "  --unix PATH            Unix socket (default: $XDG_RUNTIME_DIR/graspd.sock or "
    "/tmp/graspd-UID.sock)\n"
    "  --unix-mode MODE       its mode, octal (0600); --unix-group NAME: its group, whose members "
    "may come in\n"
    "  --gdb-unix PATH        a socket for gdb: target remote PATH; sees what is suspended then; "
    "mode 0600\n"
    "  --listen HOST:PORT     also TCP, repeatable; port 0: any; loopback only unless "
    "--allow-remote\n"
    "  --allow-host NAME      a further name for Host on TCP, repeatable\n"
    "  --token-file FILE      tokens for TCP (made if absent): lines of HEX or NAME SCOPE[,SCOPE] "
    "HEX\n"
    "  --no-auth              TCP without a token, loopback only\n"
    "  --modules DIR          load every *.so in it, and more of it on request\n"
    "  --state DIR            token, audit log, saved snapshots, crash reports\n"
    "  --config FILE          JSON object with these names, repeatable ones as arrays\n"
    "  --check-config         say whether flags and file are right, and end\n"
    "  --print-config         print what counts, as such a file, and end\n"
    "  --procs N              goroutines that run at once (default: the CPUs there are)\n"
    "  --max-goroutines N     how many may live\n"
    "  --drain-seconds N      how long SIGTERM waits for goroutines to end (10)\n"
    "  --async-preempt=on|off signals (on)\n"
    "  --time-slice-us N      microseconds (10000)\n"
    "  --fold-after-ms N      a wait so long gives its stack memory back (1000); 0: never\n"
    "  --stack-guard=auto|mprotect|none, --unguarded-stacks (the same as none)\n"
    "  --nice=on|off          workers at nice +5 (on)\n"
    "  --head-seconds N, --request-seconds N, --idle-seconds N, --stall-seconds N\n"
    "                         how long a connection may take for a request's headers (10), for "
    "all\n"
    "                         of it (30), between requests (60), to take any of an answer (30)\n"
    "  --version, --help\n";

enum kind { KIND_STRING, KIND_LIST, KIND_NUMBER, KIND_OCTAL, KIND_SWITCH, KIND_FLAG };

struct option {
    const char *name;
    enum kind kind;
    size_t offset, count_offset;
    uint64_t min, max; /* KIND_LIST: max is the room */
};

#define AT(field) offsetof(struct srv_config, field)
static const struct option options[] = {
    {"unix", KIND_STRING, AT(unix_path), 0, 0, 0},
    {"unix-mode", KIND_OCTAL, AT(unix_mode), 0, 0, 0770},
    {"unix-group", KIND_STRING, AT(unix_group), 0, 0, 0},
    {"gdb-unix", KIND_STRING, AT(gdb_unix), 0, 0, 0},
    {"listen", KIND_LIST, AT(listen), AT(listen_count), 0, SRV_LISTENERS_MAX},
    {"allow-host", KIND_LIST, AT(allow_host), AT(allow_host_count), 0, SRV_HOSTS_MAX},
    {"allow-remote", KIND_FLAG, AT(allow_remote), 0, 0, 0},
    {"no-auth", KIND_FLAG, AT(no_auth), 0, 0, 0},
    {"modules", KIND_STRING, AT(modules_dir), 0, 0, 0},
    {"state", KIND_STRING, AT(state_dir), 0, 0, 0},
    {"token-file", KIND_STRING, AT(token_file), 0, 0, 0},
    {"config", KIND_STRING, AT(config_file), 0, 0, 0},
    {"procs", KIND_NUMBER, AT(procs), 0, 1, GR_PROCS_MAX},
    {"max-goroutines", KIND_NUMBER, AT(max_goroutines), 0, 1, GR_GOROUTINES_MAX},
    {"drain-seconds", KIND_NUMBER, AT(drain_seconds), 0, 0, 86400},
    {"time-slice-us", KIND_NUMBER, AT(time_slice_us), 0, GR_TIME_SLICE_US_MIN,
     GR_TIME_SLICE_US_MAX},
    {"fold-after-ms", KIND_NUMBER, AT(fold_after_ms), 0, 0, 86400000},
    {"async-preempt", KIND_SWITCH, AT(async_preempt), 0, 0, 0},
    {"nice", KIND_SWITCH, AT(nice), 0, 0, 0},
    {"stack-guard", KIND_STRING, AT(stack_guard), 0, 0, 0},
    {"unguarded-stacks", KIND_FLAG, AT(unguarded_stacks), 0, 0, 0},
    {"head-seconds", KIND_NUMBER, AT(head_seconds), 0, 1, 3600},
    {"request-seconds", KIND_NUMBER, AT(request_seconds), 0, 1, 3600},
    {"idle-seconds", KIND_NUMBER, AT(idle_seconds), 0, 1, 3600},
    {"stall-seconds", KIND_NUMBER, AT(stall_seconds), 0, 1, 3600},
    {"check-config", KIND_FLAG, AT(check_config), 0, 0, 0},
    {"print-config", KIND_FLAG, AT(print_config), 0, 0, 0},
    {"version", KIND_FLAG, AT(version), 0, 0, 0},
    {"help", KIND_FLAG, AT(help), 0, 0, 0},
};

/* Of the command line alone: what they do makes no sense in a file. */
static bool is_command(const struct option *option)
{
    return option->offset >= AT(version) || option->offset == AT(config_file);
}

static const struct option *find_option(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strlen(options[i].name) == size && strncmp(options[i].name, name, size) == 0)
            return &options[i];
    return NULL;
}

static int set_string(struct srv_config *config, const struct option *option, const char *value)
{
    char **slot = (char **)((char *)config + option->offset);
    if (option->kind == KIND_LIST) {
        size_t *count = (size_t *)((char *)config + option->count_offset);
        if (*count == option->max)
            return -E2BIG;
        slot += (*count)++;
    }
    free(*slot);
    *slot = strdup(value);
    return *slot ? 0 : -ENOMEM;
}

static int set_octal(uint64_t *slot, const char *value, uint64_t max)
{
    char *end;
    if (*value < '0' || *value > '7')
        return -EINVAL;
    *slot = strtoull(value, &end, 8);
    return *end || (*slot & ~max) ? -EINVAL : 0;
}

static int set_switch(bool *slot, const char *value)
{
    bool on = strcmp(value, "on") == 0;
    if (!on && strcmp(value, "off"))
        return -EINVAL;
    *slot = on;
    return 0;
}

static int set(struct srv_config *config, const struct option *option, const char *value, char *err,
               size_t err_bytes)
{
    void *slot = (char *)config + option->offset;
    int result = 0;
    switch (option->kind) {
    case KIND_STRING:
    case KIND_LIST:
        result = *value ? set_string(config, option, value) : -EINVAL;
        if (result == -E2BIG)
            snprintf(err, err_bytes, "--%s is given more than %" PRIu64 " times", option->name,
                     option->max);
        else if (result)
            snprintf(err, err_bytes, "--%s needs a value", option->name);
        break;
    case KIND_NUMBER:
        if (!api_parse_uint(value, option->min, option->max, slot)) {
            result = -EINVAL;
            snprintf(err, err_bytes,
                     "--%s must be a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"",
                     option->name, option->min, option->max, value);
        }
        break;
    case KIND_OCTAL:
        result = set_octal(slot, value, option->max);
        if (result)
            snprintf(err, err_bytes,
                     "--%s must be an octal mode without rights for others, as 0660, not \"%s\"",
                     option->name, value);
        break;
    case KIND_SWITCH:
        result = set_switch(slot, value);
        if (result)
            snprintf(err, err_bytes, "--%s must be on or off, not \"%s\"", option->name, value);
        break;
    case KIND_FLAG:
        *(bool *)slot = true;
        break;
    }
    return result;
}

/* ---- The file -------------------------------------------------------------------------------- */

static int set_json(struct srv_config *config, const struct option *option, const json_t *value,
                    char *err, size_t err_bytes)
{
    char number[32];
    /* "false" is no false: a flag takes none but a boolean. */
    if (json_is_string(value) && option->kind != KIND_NUMBER && option->kind != KIND_FLAG)
        return set(config, option, json_string_value(value), err, err_bytes);
    if (json_is_integer(value) && option->kind == KIND_NUMBER) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return set(config, option, number, err, err_bytes);
    }
    if (json_is_boolean(value) && option->kind == KIND_FLAG) {
        *(bool *)((char *)config + option->offset) = json_is_true(value);
        return 0;
    }
    if (json_is_boolean(value) && option->kind == KIND_SWITCH)
        return set(config, option, json_is_true(value) ? "on" : "off", err, err_bytes);
    if (json_is_array(value) && option->kind == KIND_LIST) {
        size_t i;
        json_t *item;
        json_array_foreach(value, i, item)
        {
            if (!json_is_string(item))
                break;
            if (set(config, option, json_string_value(item), err, err_bytes))
                return -EINVAL;
        }
        if (i == json_array_size(value))
            return 0;
    }
    static const char *const wanted[] = {
        [KIND_STRING] = "text in quotes",    [KIND_LIST] = "text in quotes, or an array of such",
        [KIND_NUMBER] = "a whole number",    [KIND_OCTAL] = "octal digits in quotes, as \"0660\"",
        [KIND_SWITCH] = "\"on\" or \"off\"", [KIND_FLAG] = "true or false, without quotes"};
    snprintf(err, err_bytes, "--config %s: \"%s\" must be %s", config->config_file, option->name,
             wanted[option->kind]);
    return -EINVAL;
}

static int read_file(struct srv_config *config, char *err, size_t err_bytes)
{
    json_error_t error;
    json_t *file = json_load_file(config->config_file, JSON_REJECT_DUPLICATES, &error), *value;
    const char *name;
    int result = 0;
    if (!json_is_object(file)) {
        if (file)
            snprintf(err, err_bytes, "--config %s: it must be a JSON object", config->config_file);
        else if (error.line > 0)
            snprintf(err, err_bytes, "--config %s: %s (line %d)", config->config_file, error.text,
                     error.line);
        else /* it cannot be opened, which the text says of the path */
            snprintf(err, err_bytes, "--config: %s", error.text);
        json_decref(file);
        return -EINVAL;
    }
    json_object_foreach(file, name, value)
    {
        const struct option *option = find_option(name, strlen(name));
        if (!option || is_command(option)) {
            snprintf(err, err_bytes,
                     "--config %s: there is no option \"%s\"; graspd --help lists "
                     "them",
                     config->config_file, name);
            result = -EINVAL;
        } else {
            result = set_json(config, option, value, err, err_bytes);
        }
        if (result)
            break;
    }
    json_decref(file);
    return result;
}

/* ---- The command line ------------------------------------------------------------------------ */

/* The argument at *i and its value, which may be the next one. */
static int read_argument(const struct option **option, const char **value, int argc,
                         char *const *argv, int *i, char *err, size_t err_bytes)
{
    const char *argument = argv[*i];
    if (strncmp(argument, "--", 2)) {
        snprintf(err, err_bytes, "\"%s\" is no option; graspd --help lists them", argument);
        return -EINVAL;
    }
    size_t size = strcspn(argument + 2, "=");
    *option = find_option(argument + 2, size);
    *value = argument[2 + size] ? argument + 3 + size : NULL;
    if (!*option) {
        snprintf(err, err_bytes, "there is no option --%.*s; graspd --help lists them", (int)size,
                 argument + 2);
        return -EINVAL;
    }
    if ((*option)->kind == KIND_FLAG) {
        if (*value)
            snprintf(err, err_bytes, "--%s takes no value", (*option)->name);
        return *value ? -EINVAL : 0;
    }
    if (!*value && ++*i < argc)
        *value = argv[*i];
    if (!*value)
        snprintf(err, err_bytes, "--%s needs a value", (*option)->name);
    return *value ? 0 : -EINVAL;
}

static int read_arguments(struct srv_config *config, int argc, char *const *argv, bool file_only,
                          char *err, size_t err_bytes)
{
    for (int i = 1; i < argc; i++) {
        const struct option *option;
        const char *value;
        int result = read_argument(&option, &value, argc, argv, &i, err, err_bytes);
        bool is_file = !result && option->offset == AT(config_file);
        if (!result && is_file == file_only)
            result = set(config, option, value, err, err_bytes);
        if (result)
            return result;
    }
    return 0;
}

/* What can stand in Host before the port: a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(const char *text)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t size = strspn(text, name);
    if (size || *text != '[')
        return size && !text[size];
    size = strspn(text + 1, "0123456789abcdefABCDEF:.");
    return size && text[1 + size] == ']' && !text[2 + size];
}

static int check_hosts(const struct srv_config *config, char *err, size_t err_bytes)
{
    for (size_t i = 0; i < config->allow_host_count; i++)
        if (!is_host(config->allow_host[i])) {
            snprintf(err, err_bytes,
                     "--allow-host \"%.100s\" would match no request: write one whole name, an "
                     "IPv4 address or "
                     "[IPv6], without port or wildcard",
                     config->allow_host[i]);
            return -EINVAL;
        }
    return 0;
}

static int check(const struct srv_config *config, char *err, size_t err_bytes)
{
    static const char *const guards[] = {"auto", "mprotect", "none"};
    if (check_hosts(config, err, err_bytes))
        return -EINVAL;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(config->stack_guard, guards[i]) == 0)
            return 0;
    snprintf(err, err_bytes, "--stack-guard must be auto, mprotect or none, not \"%s\"",
             config->stack_guard);
    return -EINVAL;
}

void srv_config_init(struct srv_config *config)
{
    *config = (struct srv_config){.unix_mode = 0600,
                                  .drain_seconds = 10,
                                  .fold_after_ms = 1000,
                                  .async_preempt = true,
                                  .nice = true,
                                  .head_seconds = 10,
                                  .request_seconds = 30,
                                  .idle_seconds = 60,
                                  .stall_seconds = 30,
                                  .stack_guard = strdup("auto")};
}

void srv_config_fini(struct srv_config *config)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const struct option *option = &options[i];
        char **slot = (char **)((char *)config + option->offset);
        if (option->kind == KIND_STRING)
            free(*slot);
        for (size_t k = 0; option->kind == KIND_LIST && k < option->max; k++)
            free(slot[k]);
    }
}

int srv_config_parse(struct srv_config *config, int argc, char *const *argv, char *err,
                     size_t err_bytes)
{
    int result = read_arguments(config, argc, argv, true, err, err_bytes);
    if (!result && config->config_file)
        result = read_file(config, err, err_bytes);
    if (!result)
        result = read_arguments(config, argc, argv, false, err, err_bytes);
    return result ? result : check(config, err, err_bytes);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static json_t *list_json(char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

/* NULL: it has no value. */
static json_t *value_json(const struct srv_config *config, const struct option *option)
{
    const char *at = (const char *)config + option->offset;
    const char *text = option->kind == KIND_STRING ? *(char *const *)at : NULL;
    char octal[8];
    switch (option->kind) {
    case KIND_STRING:
        return text ? json_string(text) : NULL;
    case KIND_LIST:
        return list_json((char *const *)at,
                         *(const size_t *)((const char *)config + option->count_offset));
    case KIND_NUMBER:
        /* 0 where 0 cannot be given: not set, the runtime decides. */
        if (*(const uint64_t *)at < option->min)
            return NULL;
        return json_integer((json_int_t) * (const uint64_t *)at);
    case KIND_OCTAL:
        snprintf(octal, sizeof octal, "%04o", (unsigned)*(const uint64_t *)at);
        return json_string(octal);
    case KIND_SWITCH:
        return json_string(*(const bool *)at ? "on" : "off");
    case KIND_FLAG:
        return json_boolean(*(const bool *)at);
    }
    return NULL;
}

char *srv_config_print(const struct srv_config *config)
{
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        json_t *value = is_command(&options[i]) ? NULL : value_json(config, &options[i]);
        if (value)
            json_object_set_new(all, options[i].name, value);
    }
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return text;
}

void srv_config_runtime(const struct srv_config *config, struct gr_options *options_out)
{
    bool none = config->unguarded_stacks || strcmp(config->stack_guard, "none") == 0;
    *options_out = (struct gr_options){
        .procs = (unsigned)config->procs,
        .async_preempt_off = !config->async_preempt,
        .nice_off = !config->nice,
        .time_slice_us = (uint32_t)config->time_slice_us,
        .fold_after_ms = config->fold_after_ms ? (uint32_t)config->fold_after_ms : GR_FOLD_NEVER,
        .max_goroutines = config->max_goroutines,
        .stack_guard = none                                           ? GR_GUARD_NONE
                       : strcmp(config->stack_guard, "mprotect") == 0 ? GR_GUARD_MPROTECT
                                                                      : GR_GUARD_AUTO,
        .crash_dir = config->state_dir,
    };
}
