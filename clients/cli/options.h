/*
 * options.h: the options of `grasp`, one row each, for all commands together.
 *
 * An option means the same wherever it is taken, so there is one table of them and each command
 * names the rows that it takes. Rejected: getopt_long. Its messages cannot say what is possible
 * instead, and help, completion and parsing would each need a list of their own.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct cli_list {
    char **items;
    size_t count;
};

struct cli_options {
    /* everywhere */
    char *socket, *url, *token_file, *output, *color;
    bool help, version;
    /* which goroutines */
    char *selector, *module, *entry, *state, *except;
    uint64_t root;
    bool all, suspended;
    /* holds */
    uint64_t lease_ms, timeout_ms, suspension; /* ~0: not given */
    char *owner, *reason;
    bool require_all;
    /* what else */
    char *file, *types, *sort, *fields, *cc_flags, *module_dir, *gdb, *kind;
    uint64_t seconds, count, bytes, interval_ms, procs, time_slice_us, lines;
    bool follow, vectors, replace, detach, headers, delete, text, relay;
    char *async_preempt;
    struct cli_list labels, header;
};

#define CLI_UNSET UINT64_MAX

enum cli_kind { CLI_FLAG, CLI_STRING, CLI_LIST, CLI_UINT, CLI_DURATION };

/*      id            short long             value        kind      field        min  max  help */
#define CLI_OPTIONS(X)                                                                             \
    X(SOCKET, 0, "socket", "PATH", STRING, socket, 0, 0, "the daemon's Unix socket")               \
    X(URL, 0, "url", "URL", STRING, url, 0, 0,                                                     \
      "http://HOST:PORT, also as the dashboard's URL with #token=")                                \
    X(TOKEN_FILE, 0, "token-file", "FILE", STRING, token_file, 0, 0, "the token for TCP")          \
    X(OUTPUT, 'o', "output", "FORMAT", STRING, output, 0, 0, "table, wide, json or ndjson")        \
    X(COLOR, 0, "color", "WHEN", STRING, color, 0, 0, "auto, always or never")                     \
    X(HELP, 'h', "help", NULL, FLAG, help, 0, 0, "this text")                                      \
    X(VERSION, 0, "version", NULL, FLAG, version, 0, 0, "the version")                             \
    X(SELECTOR, 'l', "selector", "SELECTOR", STRING, selector, 0, 0,                               \
      "by labels: k=v, k!=v, k, !k, joined with commas")                                           \
    X(MODULE, 'm', "module", "NAME", STRING, module, 0, 0, "of this module")                       \
    X(ENTRY, 'e', "entry", "NAME", STRING, entry, 0, 0, "of this entry")                           \
    X(STATE, 's', "state", "STATES", STRING, state, 0, 0,                                          \
      "runnable, running, syscall, waiting, preempted, dead, live; with commas")                   \
    X(ROOT, 0, "root", "ID", UINT, root, 1, API_ID_MAX,                                            \
      "descendants of this goroutine, and itself")                                                 \
    X(EXCEPT, 0, "except", "IDS", STRING, except, 0, 0, "but not these; with commas")              \
    X(ALL, 'a', "all", NULL, FLAG, all, 0, 0, "all of them")                                       \
    X(SUSPENDED, 0, "suspended", NULL, FLAG, suspended, 0, 0, "only suspended ones")               \
    X(LEASE, 0, "lease", "TIME", DURATION, lease_ms, API_LEASE_MS_MIN, API_LEASE_MS_MAX,           \
      "released by itself after this, as 30s; 100ms to 1h (30s)")                                  \
    X(TIMEOUT, 0, "timeout", "TIME", DURATION, timeout_ms, 0, API_TIMEOUT_MS_MAX,                  \
      "how long to wait for the stop, as 500ms; 0s to 1m (1s)")                                    \
    X(SUSPENSION, 'S', "suspension", "ID", UINT, suspension, 1, API_ID_MAX, "this suspension")     \
    X(OWNER, 0, "owner", "TEXT", STRING, owner, 0, 0, "a note: who holds")                         \
    X(REASON, 0, "reason", "TEXT", STRING, reason, 0, 0, "a note: why")                            \
    X(REQUIRE_ALL, 0, "require-all", NULL, FLAG, require_all, 0, 0,                                \
      "hold all that are selected, or none")                                                       \
    X(FILE, 'O', "file", "FILE", STRING, file, 0, 0, "write to this file; - is stdout")            \
    X(TYPES, 't', "types", "TYPES", STRING, types, 0, 0,                                           \
      "only events of these types; with commas")                                                   \
    X(SORT, 0, "sort", "COLUMN", STRING, sort, 0, 0,                                               \
      "by id, cpu, total, wait, state, holds or name")                                             \
    X(SECONDS, 0, "seconds", "N", UINT, seconds, 1, 3600, "for how long")                          \
    X(COUNT, 'n', "count", "N", UINT, count, 1, API_SPAWN_COUNT_MAX, "how many")                   \
    X(BYTES, 0, "bytes", "N", UINT, bytes, 0, API_SNAPSHOT_BYTES_MAX,                              \
      "also this much of the stack; with -o json or ndjson")                                       \
    X(INTERVAL, 'd', "interval", "TIME", DURATION, interval_ms, 100, 3600000,                      \
      "between two looks, as 2s (1s)")                                                             \
    X(PROCS, 0, "procs", "N", UINT, procs, 1, 1024, "set the number of processors")                \
    X(TIME_SLICE_US, 0, "time-slice-us", "N", UINT, time_slice_us, 100, 10000000,                  \
      "set the time slice")                                                                        \
    X(ASYNC_PREEMPT, 0, "async-preempt", "on|off", STRING, async_preempt, 0, 0,                    \
      "set whether signals stop loops without calls")                                              \
    X(FOLLOW, 'f', "follow", NULL, FLAG, follow, 0, 0, "go on until it ends")                      \
    X(VECTORS, 0, "vectors", NULL, FLAG, vectors, 0, 0, "also vector and FP registers")            \
    X(REPLACE, 0, "replace", NULL, FLAG, replace, 0, 0, "a changed file replaces what is loaded")  \
    X(DETACH, 0, "detach", NULL, FLAG, detach, 0, 0, "print the id and leave it running")          \
    X(HEADERS, 'i', "include", NULL, FLAG, headers, 0, 0, "the status and the headers, too")       \
    X(HEADER, 'H', "header", "LINE", LIST, header, 0, 0, "a further header, as \"Name: value\"")   \
    X(DELETE, 0, "delete", NULL, FLAG, delete, 0, 0, "delete it")                                  \
    X(TEXT, 0, "text", NULL, FLAG, text, 0, 0, "as text for people")                               \
    X(LABEL, 'L', "label", "K=V", LIST, labels, 0, 0, "a label; may be given again")               \
    X(CC_FLAGS, 0, "cc-flags", "FLAGS", STRING, cc_flags, 0, 0, "for the compiler (-O2 -g)")       \
    X(MODULE_DIR, 0, "module-dir", "DIR", STRING, module_dir, 0, 0,                                \
      "where the daemon looks for modules (asked of the daemon)")                                  \
    X(GDB, 0, "gdb", "PROGRAM", STRING, gdb, 0, 0, "the debugger (gdb)")                           \
    X(RELAY, 0, "relay", NULL, FLAG, relay, 0, 0, "carry gdb's protocol on stdin and stdout")      \
    X(KIND, 0, "kind", "KIND", STRING, kind, 0, 0,                                                 \
      "of profile: cpu (this if not said) or goroutine; of snapshots: folded or core")

enum cli_option_id {
#define X(id, ...) CLI_OPT_##id,
    CLI_OPTIONS(X)
#undef X
        CLI_OPTION_COUNT
};
_Static_assert(CLI_OPTION_COUNT <= 64, "a command's options are bits of a word");

#define CLI_BIT(id) (UINT64_C(1) << CLI_OPT_##id)

struct cli_option {
    char letter;
    const char *name, *value, *help;
    enum cli_kind kind;
    size_t offset;
    uint64_t min, max;
};
extern const struct cli_option cli_option_table[CLI_OPTION_COUNT];

void cli_options_init(struct cli_options *options);
void cli_options_fini(struct cli_options *options);

/*
 * Parses argv[0..argc): options that `taken` has, up to "--". Operands go to args (room for argc), in
 * order; *count says how many. Returns how many of argv were read (argc, or the place behind "--"), or
 * -EINVAL with a sentence in err. stop: the first operand ends it, too.
 */
int cli_options_parse(struct cli_options *options, uint64_t taken, int argc, char *const *argv,
                      bool stop, char **args, size_t *count, char *err, size_t err_bytes);

/* "250ms", "30s", "5m", "1h" into milliseconds. */
bool cli_parse_duration(const char *text, uint64_t *ms);
/* Decimal digits, no sign, between min and max. */
bool cli_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
