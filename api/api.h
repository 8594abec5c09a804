/*
 * api.h: the HTTP API as its host sees it: parsed requests in, bytes out, no socket anywhere.
 *
 * The host (server/, or a test) parses HTTP, and for each request fills an api_call and starts it.
 * The API answers through the host's table, at once or later, from the loop thread always. What
 * takes long or may block (unwinding, formatting thousands of goroutines) runs as a job on the
 * host's pool; what happens on a worker thread of the runtime (a goroutine stopped) comes back as a
 * posted task. Rejected: blocking handlers on a thread each: 10,000 pending suspends would need as
 * many threads.
 *
 * Life of a call. The host owns the memory. It is *in the API* from api_call_start (or
 * api_call_pull) until host->reply(call), and *at the host* after it. In the API the host may only
 * abandon it; at the host it pulls the next piece if reply.more, or finishes the call, after which
 * the API does not know it.
 *
 *   I1  Loop thread: everything here except api_job.work and what says otherwise.
 *   I2  Exactly one host->reply for each start and each pull; exactly one api_call_finish for each
 *       start.
 *   I3  The API holds no lock while it calls the runtime's hold functions.
 */
#ifndef API_API_H
#define API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>
#include <sys/types.h>

#include <jansson.h>

#include "buffer.h"
#include "query.h"
#include "timers.h"
#include "turns.h"
#include "wire.h"

struct api;
struct api_call;
struct api_route;
struct api_key;

/* Work for the loop, posted from any thread; the memory is the poster's. */
struct api_task {
    struct api_task *next;
    void (*run)(struct api_task *task);
};

struct api_store_file; /* the host's */

struct api_host {
    void *ctx;
    /* Any thread, also a system stack of the runtime's; takes no lock, allocates nothing. */
    void (*post)(void *ctx, struct api_task *task);
    void (*pool)(void *ctx, struct api_job *job); /* turns.h sees to it that there are few */
    /* Call api_tick at that monotonic time; replaces the one asked before; UINT64_MAX: none. */
    void (*alarm)(void *ctx, uint64_t at_ns);
    void (*reply)(void *ctx, struct api_call *call);
    /* Loads or replaces NAME from the module directory. Pool thread. As gr_module_load and
     * gr_module_replace, or -EPERM with an empty err: there is no directory. */
    int (*load_module)(void *ctx, const char *name, bool replace, char *err, size_t err_bytes);
    /* One line of JSON for the audit log, without its newline. Loop thread. May be NULL. */
    void (*audit)(void *ctx, const char *line, size_t size);
    /*
     * Files in the state directory. Pool threads; 0 or negative errno. A file is seen by nobody until store_close puts it in
     * place under `name`, at once and whole; NULL drops it, and in every case it is gone afterwards.
     */
    bool (*store_there)(void *ctx); /* loop: whether there is a state directory */
    int (*store_create)(void *ctx, struct api_store_file **file);
    int (*store_write)(struct api_store_file *file, const void *bytes, size_t size);
    int (*store_close)(struct api_store_file *file, const char *name);
    ssize_t (*store_read)(void *ctx, const char *name, uint64_t offset, void *to, size_t bytes);
    int (*store_remove)(void *ctx, const char *name);
};

enum api_scope { API_SCOPE_READ = 1, API_SCOPE_CONTROL = 2, API_SCOPE_LOAD = 4, API_SCOPE_ALL = 7 };

#define API_TOKEN_BYTES 32
struct api_token {
    char name[64];
    unsigned scopes;
    unsigned char secret[API_TOKEN_BYTES];
};

/* What a call was let in by, and what it needs of it: a token may be taken away while it goes on. */
struct api_credential {
    bool by_token; /* else by nothing that can be taken away */
    unsigned scopes;
    unsigned char secret[API_TOKEN_BYTES];
};

struct api_config {
    const struct api_token *tokens; /* must outlive the api */
    size_t token_count;
    bool no_auth;                   /* TCP needs no token */
    const char *const *allow_hosts; /* besides localhost, 127.0.0.1 and [::1] */
    size_t allow_host_count;
    const char *version;
    const char *gdb_unix;                  /* where gdb can connect by itself; NULL: nowhere */
    const _Atomic(uint32_t) *gdb_sessions; /* how many there are; may be NULL */
    const char *modules_dir;               /* absolute; NULL: none. Must outlive the api */
    size_t cut_bytes_max, cuts_bytes_max;  /* for tests; 0: API_CUT_BYTES_MAX, API_CUTS_BYTES_MAX */
};

/* A token's secret from its 64 hexadecimal digits; false: it is not that. Any thread. */
bool api_secret_read(const char *text, unsigned char secret[API_TOKEN_BYTES]);
/* From now on these count and no others. Loop thread. */
void api_tokens_set(struct api *api, const struct api_token *tokens, size_t count);
/* Whether it would be let in now. Loop thread. */
bool api_credential_counts(const struct api *api, const struct api_credential *credential);
/* NULL: out of memory or of entropy. */
struct api *api_create(const struct api_host *host, const struct api_config *config);
/* No call may be in the API. NULL does nothing. */
void api_destroy(struct api *api);
/* 32 hex digits, new at each start. */
const char *api_instance(const struct api *api);
void api_tick(struct api *api);

/*
 * From now on mutations are refused except releases; every hold is released, every pending suspend
 * answered, every goroutine asked to end.
 */
void api_drain(struct api *api);

/* Whether it can be the name of a module: what could be a path, hidden or an option is none. Any thread. */
bool api_module_name_valid(const char *name);
/* A module file that the host refused to hand to the runtime. Any thread. It is listed with its
 * error. */
void api_module_note(struct api *api, const char *name, const char *path, const char *error);

/* ---- A request and its answer ---------------------------------------------------------------- */

/* Who is at the other end of the connection. */
struct api_peer {
    bool tcp;
    bool refused; /* Unix socket: a uid that may not come in */
    uint32_t uid; /* Unix socket */
};

struct api_header {
    const char *name, *value;
};

/* Case-blind. The letter in front decides nearly always. */
static inline bool api_header_is(const struct api_header *header, const char *name)
{
    return ((header->name[0] ^ name[0]) & ~('a' ^ 'A')) == 0 && strcasecmp(header->name, name) == 0;
}

struct api_request {
    const char *method; /* upper case */
    const char *target; /* as sent, absolute form reduced to the path */
    size_t target_bytes;
    const struct api_header *headers;
    size_t header_count;
    const char *body;
    size_t body_bytes;
    struct api_peer peer;
    uint64_t parsed_ns; /* monotonic */
};

/* A streaming one whose body has failed was cut: the host ends the connection, or what was sent would look whole. */
struct api_reply {
    int status;
    const char *content_type; /* NULL: no body */
    struct api_buf headers;   /* more header lines, each with its CRLF */
    struct api_buf body;      /* the whole body, or the next piece of it */
    bool streaming;           /* the length is not known: pieces follow each other */
    bool more;                /* another piece comes after api_call_pull */
    /* With 101: the connection is gdb's now, and these holds the host's, if it takes them. */
    struct api_gdb *upgrade;
};

enum api_format {
    API_FORMAT_JSON,
    API_FORMAT_PRETTY,
    API_FORMAT_NDJSON,
    API_FORMAT_TEXT,
    API_FORMAT_SSE,    /* events alone */
    API_FORMAT_FOLDED, /* saved snapshots alone */
    API_FORMAT_CORE,   /* the same */
};

#define API_PRINCIPAL_BYTES 80

/* A call that the drain must end. In the waiter's storage; loop only. */
struct api_pending {
    struct api_call *call;
    struct api_pending *next, **link; /* link NULL: not in the list */
};

/* A call's place at a gate (admission.c). */
struct api_place {
    struct api_gate *gate; /* NULL: it never asked for one */
    struct api_turn turn;
    void (*begin)(struct api_call *call); /* loop: it has it */
    struct api_timer deadline;
    struct api_pending pending;
};

struct api_call {
    /* The host's, set before the start. */
    struct api *api;
    void *host_ctx;
    uint64_t client; /* the same for all that one connection asks; from 1 */
    struct api_request request;

    /* The API's answer, read by the host after host->reply. */
    struct api_reply reply;

    /* The API's. */
    const struct api_route *route;
    char principal[API_PRINCIPAL_BYTES];
    unsigned scopes;
    struct api_credential credential;
    enum api_format format;
    struct api_buf args; /* what "args" of the body is as text, with its 0, where body cannot hold it; else empty */
    json_t *body;     /* an object, never NULL in handlers of routes that take one */
    uint64_t id;      /* of the {id} in the path */
    const char *name; /* of the {name} in the path */
    bool abandoned;
    bool unheard;     /* the host's: its connection is gone, nobody will have the answer */
    bool partly_done; /* whatever the status says, something was done */
    bool undoable;    /* between two slices `cleanup` can undo what was done */
    void (*abandon)(struct api_call *call);     /* may be NULL: nothing to hurry */
    void (*undelivered)(struct api_call *call); /* the answer did not reach the client */
    void (*cleanup)(struct api_call *call);     /* frees `state` */
    void (*work)(struct api_call *call);        /* what runs on the pool now */
    void (*then)(struct api_call *call);        /* loop, after it */
    void (*piece)(struct api_call *call);       /* pool: fills the reply with the next piece */
    void (*pull)(struct api_call *call);        /* loop, if not NULL: sees to the next piece */
    void *state;
    uint64_t claim;            /* the suspension that the answer tells of, 0: none */
    void *shown;               /* suspension_json.c's, on its way to the pool */
    struct api_key *key;       /* keys.c: its own entry */
    struct api_key *waits_for; /* or the one whose answer it waits for */
    struct api_call *key_next; /* of those that wait */
    uint64_t slice_end_ns;     /* when `work` should come to an end for now */
    bool again;                /* it did, and is to be called once more */
    struct api_work pooled;
    struct api_place place;

    struct api_target target; /* last, and what it is made of is not zeroed: it is large */
};

/* `call` is zeroed up to `target`, but for the host's fields. */
void api_call_start(struct api_call *call);
/* The connection ended while the call is in the API: it will reply soon, and what it took is given
 * back. */
void api_call_abandon(struct api_call *call);
void api_call_pull(struct api_call *call);
/* `delivered`: the last byte of the answer was handed to the kernel. Frees what the call owns. */
void api_call_finish(struct api_call *call, bool delivered);

/* The body of a problem for errors that the host finds before there is a call. */
void api_problem_write(struct api_buf *buf, int status, const char *code, const char *detail);
const char *api_status_text(int status);

/* The name is case-blind. NULL if absent. */
const char *api_request_header(const struct api_request *request, const char *name);

#endif
