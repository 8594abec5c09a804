/*
 * parser.h: bytes of a connection into requests, hostile ones refused.
 *
 * llhttp frames the body and knows the grammar, but it lets pass what smugglers use (folded lines,
 * empty names, HTTP/0.9, no Host or two, lengths in trailers) and bounds nothing. So the head is
 * collected first, up to its empty line, and every line of it is checked by rules stricter than the
 * grammar; only a head that passed is shown to llhttp, in one piece. Then the body goes through
 * llhttp as it comes. Rejected: checking in llhttp's call-backs; by then it has decided what a line
 * is.
 *
 *   I1  Not a byte beyond the end of a request is consumed: *used says where the next one begins.
 *   I2  After an error nothing is parsed any more: the connection is out of step and ends.
 */
#ifndef SRV_PARSER_H
#define SRV_PARSER_H

#include <stdbool.h>
#include <stddef.h>

#include <llhttp.h>

#include "api.h"

enum srv_parse {
    SRV_PARSE_MORE, /* all bytes consumed, the request is not complete */
    SRV_PARSE_DONE, /* a request is complete: srv_parser_take it */
    SRV_PARSE_ERROR,
};

/* Offsets into the head. */
struct srv_header_place {
    size_t name, name_end, value, value_end;
};

struct srv_parser {
    llhttp_t http;
    llhttp_settings_t settings;
    struct api_buf head, body;
    size_t line_at; /* of head: where the line that is being collected begins */
    bool head_done, complete, failed;
    bool shown;           /* llhttp has seen the head: a header that it meets now is a trailer */
    bool skipped;         /* the one empty line that may come before a request */
    bool expect_continue; /* the client waits for leave to send the body */
    bool wants_close;     /* after this request */
    bool http10;
    size_t header_count, extension_bytes, body_wire_bytes;
    struct srv_header_place places[API_HEADERS_MAX];
    struct api_header headers[API_HEADERS_MAX];
    const char *method, *target;
    size_t method_bytes, target_bytes;
    size_t headers_at; /* of head: behind the request line */
    /* Of an error: */
    int status;
    const char *code;
    char detail[160];
};

/* The struct is zeroed. */
void srv_parser_init(struct srv_parser *parser);
void srv_parser_fini(struct srv_parser *parser);
enum srv_parse srv_parser_feed(struct srv_parser *parser, const char *bytes, size_t size,
                               size_t *used);
/* Whether a request has begun and is not complete. */
bool srv_parser_busy(const struct srv_parser *parser);
/* Makes ready for the next request; head and body stay valid in *head and *body, which the caller
 * frees. */
void srv_parser_take(struct srv_parser *parser, struct api_buf *head, struct api_buf *body);

#endif
