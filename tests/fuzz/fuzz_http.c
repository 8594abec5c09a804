/*
 * fuzz_http.c: bytes of a connection. Whatever they are, the parser ends within its limits, and it
 * comes to the same requests whether it gets them at once or one by one.
 */
#include <string.h>

#include "fuzz.h"
#include "parser.h"

#define REQUESTS_MAX 64

struct seen {
    int status; /* of the error, 0: none */
    unsigned requests;
    uint64_t hash; /* of methods, targets, headers and bodies */
};

static void add(struct seen *seen, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        seen->hash = (seen->hash ^ at[i]) * UINT64_C(1099511628211);
    seen->hash = (seen->hash ^ size) * UINT64_C(1099511628211);
}

static void take(struct srv_parser *parser, struct seen *seen)
{
    struct api_buf head, body;
    CLAIM(parser->target_bytes <= API_URI_BYTES_MAX + 8, "a target is bounded");
    CLAIM(parser->header_count <= API_HEADERS_MAX, "headers are bounded");
    add(seen, parser->method, strlen(parser->method));
    add(seen, parser->target, parser->target_bytes);
    for (size_t i = 0; i < parser->header_count; i++) {
        add(seen, parser->headers[i].name, strlen(parser->headers[i].name));
        add(seen, parser->headers[i].value, strlen(parser->headers[i].value));
    }
    srv_parser_take(parser, &head, &body);
    CLAIM(body.size <= API_BODY_BYTES_MAX, "a body is bounded");
    add(seen, body.data, body.size);
    api_buf_free(&head);
    api_buf_free(&body);
    seen->requests++;
}

static struct seen parse(const char *bytes, size_t size, size_t step)
{
    struct srv_parser parser = {0};
    struct seen seen = {0};
    size_t at = 0;
    srv_parser_init(&parser);
    while (at < size && !seen.status && seen.requests < REQUESTS_MAX) {
        size_t used = 0, part = size - at < step ? size - at : step;
        enum srv_parse result = srv_parser_feed(&parser, bytes + at, part, &used);
        CLAIM(used <= part, "no byte is consumed that was not given");
        at += used;
        if (result == SRV_PARSE_DONE)
            take(&parser, &seen);
        else if (result == SRV_PARSE_ERROR)
            seen.status = parser.status;
        else
            CLAIM(used == part, "a parser that wants more has consumed all");
        CLAIM(result != SRV_PARSE_ERROR || (parser.status >= 400 && parser.code && parser.detail[0]),
              "an error says what it is");
    }
    srv_parser_fini(&parser);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = parse((const char *)data, size, SIZE_MAX);
    struct seen single = parse((const char *)data, size, 1);
    CLAIM(whole.requests == single.requests && whole.hash == single.hash,
          "how bytes arrive does not matter");
    CLAIM(whole.status == single.status, "nor to what is refused");
    return 0;
}
