/*
 * cli.h: what the commands of `grasp` share.
 *
 * A command is a row of cli_commands (commands.c): name, help, which options it takes, and a
 * function. Parsing, help texts and completion all read these rows. A command's function gets
 * parsed options and a connection, and returns an exit code; nothing below main exits by itself.
 *
 *   I1  What a program reads (JSON, a core) goes to stdout, everything else to stderr.
 *   I2  Text that came from the daemon reaches a terminal only without control characters.
 *   I3  A failed call has been explained on stderr when a function here says that it failed.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "http_client.h"
#include "options.h"

/* grasp(1), "EXIT STATUS". */
enum cli_exit {
    CLI_OK = 0,
    CLI_REFUSED = 1,     /* the daemon said no, for a reason that has no code of its own */
    CLI_USAGE = 2,       /* the command line is wrong; nothing was done */
    CLI_UNREACHABLE = 3, /* no daemon, or the connection broke */
    CLI_NOT_FOUND = 4,   /* 404, 410 */
    CLI_CONFLICT = 5,    /* 409, 412 */
    CLI_TIMEOUT = 6,     /* 504, 408 */
    CLI_FORBIDDEN = 7,   /* 401, 403, 421 */
    CLI_BUSY = 8,        /* 429, 503, 507: later it may work */
    CLI_LOCAL = 9,       /* something on this side: a file, a program */
    CLI_BEFORE = 125,    /* run, hold: it failed before the goroutine or the command had a say */
};

enum cli_output { CLI_TABLE, CLI_WIDE, CLI_JSON, CLI_NDJSON };

struct cli {
    const struct cli_command *command;
    struct cli_options options;
    char *const *args; /* without options */
    size_t arg_count;
    char *const *rest; /* behind "--", only for commands that take it apart; ends with NULL */
    size_t rest_count;
    enum cli_output output;
    bool color, utf8, terminal; /* of stdout */
    unsigned width;             /* columns; 0: no limit */
    struct http_place place;
    struct http_connection connection;
    struct http_buf *messages; /* NULL: explanations go to stderr; else here, for a full screen */
    int failure;               /* the exit code of the last failed call */
};

struct cli_command {
    const char *name, *arguments, *summary, *help;
    uint64_t options; /* bits of enum cli_option_id */
    unsigned args_min, args_max;
    bool takes_rest;
    int (*run)(struct cli *cli);
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
const struct cli_command *cli_command_find(const char *name);

/* ---- Asking (ask.c) --------------------------------------------------------------------------- */

/* A sentence on stderr, with "grasp: " before it and without control characters. Returns code. */
int cli_fail(struct cli *cli, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Looks for the daemon. False: it said why, and cli->failure is set. */
bool cli_connect(struct cli *cli);

/*
 * Asks, and insists on a 2xx. Takes body (may be NULL). The answer's JSON (null if it is empty), or
 * NULL: explained, cli->failure is set.
 */
json_t *cli_ask(struct cli *cli, const char *method, const char *target, json_t *body);

/* The same without the explanation: the answer is the caller's to judge. 0 or a negative errno. */
int cli_ask_raw(struct cli *cli, const char *method, const char *target, const char *body,
                size_t body_bytes, const char *type, struct http_answer *answer);

/* Explains an answer that is not a 2xx; its exit code, also in cli->failure. */
int cli_explain(struct cli *cli, const struct http_answer *answer);

/* GET into a sink, which sees nothing but the body of a 2xx. False: explained. */
bool cli_stream(struct cli *cli, const char *target, const char *headers,
                bool (*sink)(void *ctx, const char *bytes, size_t size), void *ctx);

/*
 * Walks a list. path has no "format="; item is called once an element, in order, and returns false to
 * stop. False: explained; a list that was cut off counts as failed.
 */
bool cli_walk(struct cli *cli, const char *path, bool (*item)(void *ctx, json_t *value), void *ctx);

/* ---- Selections (select.c) -------------------------------------------------------------------- */

/* Reads an id; 0: explained. */
uint64_t cli_id(struct cli *cli, const char *text);

/* Whether one goroutine is meant, by its id and nothing else. */
bool cli_names_one(const struct cli *cli);

/* The body of a call on a set, from ids, -l, --module, --root, --all, --except. NULL: explained. */
json_t *cli_selection(struct cli *cli);

/* Adds lease, timeout, owner and reason to a body. */
void cli_add_hold_options(const struct cli *cli, json_t *body);

/* path?filter&filter… from -l, --module, --entry, --root, --state, --suspended. */
void cli_filters(const struct cli *cli, struct http_buf *path);

/* ---- Showing (show.c) ------------------------------------------------------------------------- */

/* As -o says: indented, or one line. */
void cli_print_json(const struct cli *cli, const json_t *value);
bool cli_wants_json(const struct cli *cli);

/*
 * What a command that takes several operands answers for one of them: with ndjson it is printed at once, with json it waits
 * in `values`, an array, for the end, since that is to be one value: the only one as it is, else an array. Both take the
 * reference; end allows NULL.
 */
void cli_add_json(const struct cli *cli, json_t *values, json_t *value);
void cli_end_json(const struct cli *cli, json_t *values);

/* Text without control characters, and a line end of its own if it has none. */
void cli_print_plain(const char *text, size_t size);

const char *cli_string(const json_t *object, const char *key); /* "" if there is none */
uint64_t cli_number(const json_t *object, const char *key);
bool cli_true(const json_t *object, const char *key);

/* "1.5ms", "12s", "3h20m" in out, which is returned. */
#define CLI_DURATION_BYTES 24
const char *cli_duration(char out[CLI_DURATION_BYTES], uint64_t ns);

/* How long ago an RFC 3339 time was, in whole seconds; "" if it is none. */
const char *cli_age(char out[CLI_DURATION_BYTES], const char *time_text);

/* "k=v,k=v" of a goroutine. */
void cli_labels(const json_t *goroutine, struct http_buf *out);
/* "function file:line", or "". */
void cli_place(const json_t *goroutine, struct http_buf *out);

/* Writes bytes to a file by way of a temporary one. False: explained. */
bool cli_save(struct cli *cli, const char *path, const char *bytes, size_t size);

/* GET path, in the form that -o asks for: text, pretty or compact JSON. Returns an exit code. */
int cli_show_as(struct cli *cli, const char *path);

/* A list as a table of which row fills a line (its ctx is the table), or as JSON. Returns an exit code. */
struct table_column;
int cli_walk_table(struct cli *cli, const char *path, const struct table_column *columns,
                   size_t count, bool (*row)(void *ctx, json_t *value));

/* Waits up to 200 ms for a goroutine's end, then prints what its log has behind *from. NULL: explained. */
json_t *cli_follow_log(struct cli *cli, uint64_t id, uint64_t *from);

/* Suspends what the arguments and options choose. NULL: explained. */
json_t *cli_take_hold(struct cli *cli);

/* ---- Commands --------------------------------------------------------------------------------- */

int cli_ps(struct cli *cli);
int cli_show(struct cli *cli);
int cli_log(struct cli *cli);
int cli_stack(struct cli *cli);
int cli_snapshot(struct cli *cli);
int cli_snapshots(struct cli *cli);
int cli_core(struct cli *cli);
int cli_profile(struct cli *cli);
int cli_trace(struct cli *cli);
int cli_suspend(struct cli *cli);
int cli_resume(struct cli *cli);
int cli_holds(struct cli *cli);
int cli_renew(struct cli *cli);
int cli_hold(struct cli *cli);
int cli_cancel(struct cli *cli);
int cli_run(struct cli *cli);
int cli_modules(struct cli *cli);
int cli_load(struct cli *cli);
int cli_unload(struct cli *cli);
int cli_watch(struct cli *cli);
int cli_top(struct cli *cli);
int cli_gdb(struct cli *cli);
int cli_runtime(struct cli *cli);
int cli_api(struct cli *cli);

#endif
