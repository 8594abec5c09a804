/*
 * http_client.h: HTTP/1.1 as the clients need it.
 *
 * Two halves. The first is bytes in, bytes out: a request is written into a buffer, and an answer is
 * fed to a parser in whatever pieces arrive; grasp-load uses it under libuv. The second is one
 * blocking connection on top of it, for tools that do one thing after the other. llhttp parses; there is no
 * TLS, because the daemon has none (a tunnel or a proxy does that).
 *
 * Rejected: libcurl. It would do the blocking half, but the load tester has to know when each byte
 * was due and when it came, over thousands of connections, and two HTTP stacks would disagree.
 *
 *   I1  An answer is DONE exactly once; bytes behind it are not consumed (pipelining).
 *   I2  The body is kept in memory only up to body_max; what a sink takes is not kept.
 *   I3  A request that is not idempotent is never sent a second time by itself.
 */
#ifndef CLIENTS_HTTP_CLIENT_H
#define CLIENTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llhttp.h>

#define HTTP_BODY_BYTES_MAX ((size_t)256 * 1024 * 1024) /* an answer kept in memory */
#define HTTP_CONNECT_MS     10000

/* ---- Bytes ------------------------------------------------------------------------------------ */

/* Grows by itself; out of memory ends the program, since no client can do anything sensible then. */
struct http_buf {
    char *data;
    size_t size, capacity;
};

void http_buf_add(struct http_buf *buf, const void *bytes, size_t size);
void http_buf_str(struct http_buf *buf, const char *text);
void http_buf_printf(struct http_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void http_buf_free(struct http_buf *buf);

/* Adds text as one value of a query string: what is not unreserved becomes %XX. */
void http_buf_quoted(struct http_buf *buf, const char *text);

/* ---- Where ------------------------------------------------------------------------------------ */

struct http_place {
    char unix_path[108]; /* empty: TCP */
    char host[256];      /* without brackets */
    char port[6];
    char token[129]; /* empty: none is sent */
};

/*
 * Reads "unix:PATH", "http://HOST[:PORT][/]" or "HOST:PORT" into place and leaves its token alone.
 * 0 or -EINVAL with a sentence in err.
 */
int http_place_parse(struct http_place *place, const char *text, char *err, size_t err_bytes);

/* "unix:PATH" or "http://HOST:PORT". */
void http_place_name(const struct http_place *place, char *out, size_t out_bytes);

/* ---- Requests --------------------------------------------------------------------------------- */

struct http_request {
    const char *method, *target;
    const char *type; /* of the body; NULL: application/json */
    const char *body; /* NULL: none */
    size_t body_bytes;
    const char *headers; /* further lines, each with \r\n; NULL: none */
};

void http_request_write(struct http_buf *out, const struct http_place *place,
                        const struct http_request *request);

/* ---- Answers ---------------------------------------------------------------------------------- */

enum http_progress { HTTP_MORE, HTTP_DONE, HTTP_BROKEN };

struct http_answer {
    llhttp_t parser;
    llhttp_settings_t settings;
    bool to_head;    /* set before feeding: the answer to HEAD has no body */
    size_t body_max; /* set before feeding; 0: the body is counted, not kept */
    /* Takes the body of a 2xx; false: stop. */
    bool (*sink)(void *ctx, const char *bytes, size_t size);
    void *ctx;
    int status;
    uint64_t body_bytes;
    bool keep_alive, stopped, complete;
    char content_type[128], instance[65];
    struct http_buf head, body; /* head: the lines of the header, as they came; body: ends in a 0 */
    char field[32];             /* the header's name that is being read */
    size_t field_bytes;
    const char *error;
};

void http_answer_init(struct http_answer *answer);
void http_answer_fini(struct http_answer *answer);

/* From now on headers are not kept: only status, length and body count. For those who read thousands. */
void http_answer_count_only(struct http_answer *answer);

/* Ready for the next answer; buffers and what the caller set are kept. */
void http_answer_reset(struct http_answer *answer);

/* HTTP_DONE: *used may be less than size. HTTP_BROKEN: answer->error says why. */
enum http_progress http_answer_feed(struct http_answer *answer, const char *bytes, size_t size,
                                    size_t *used);

/* The peer closed: HTTP_DONE if that ends the answer, else HTTP_BROKEN. */
enum http_progress http_answer_end(struct http_answer *answer);

/* ---- One blocking connection ------------------------------------------------------------------ */

struct http_connection {
    const struct http_place *place;
    int fd; /* -1: not connected */
    bool used;
    uint64_t timeout_ms; /* how long an answer may stand still; 0: for ever */
    char err[512];
};

void http_connection_init(struct http_connection *connection, const struct http_place *place);
void http_connection_close(struct http_connection *connection);

/*
 * Sends a request and reads its answer, connecting first if need be. An idle connection that the
 * daemon has closed in the meantime is replaced (I3). 0, -EINTR (a signal's handler asked to stop by
 * http_interrupt), or another negative errno with a sentence in connection->err.
 */
int http_exchange(struct http_connection *connection, const struct http_request *request,
                  struct http_answer *answer);

/* From signal handlers: a blocking exchange that waits, or begins, ends with -EINTR. */
void http_interrupt(void);
void http_interrupt_clear(void);

#endif
