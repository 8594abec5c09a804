/*
 * hostile.h: requests that a careful client never sends, and a few that it may: bytes, status,
 * fate.
 *
 * Used twice: against the parser alone, whole and byte by byte, and against the whole server.
 */
#ifndef TEST_HOSTILE_H
#define TEST_HOSTILE_H

#include <stddef.h>

enum fate { KEPT, CLOSED };

struct hostile {
    const char *name;
    const char *bytes;
    size_t size; /* 0: strlen */
    int status;  /* of the server's answer */
    enum fate fate;
    const char *fill; /* put in place of the '@' of bytes, fill_count times */
    size_t fill_count;
};

#define H    "Host: localhost\r\n"
#define POST "POST /v1/goroutines HTTP/1.1\r\n" H "Content-Type: application/json\r\n"

static const struct hostile hostile_table[] = {
    {"plain get", "GET /healthz HTTP/1.1\r\n" H "\r\n", 0, 200, KEPT, NULL, 0},
    {"http/1.0 closes", "GET /healthz HTTP/1.0\r\n" H "\r\n", 0, 200, CLOSED, NULL, 0},
    {"http/1.0 without host", "GET /healthz HTTP/1.0\r\n\r\n", 0, 200, CLOSED, NULL, 0},
    {"http/1.0 keep-alive", "GET /healthz HTTP/1.0\r\n" H "Connection: keep-alive\r\n\r\n", 0, 200,
     KEPT, NULL, 0},
    {"connection close", "GET /healthz HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 0, 200, CLOSED,
     NULL, 0},
    {"one empty line before", "\r\nGET /healthz HTTP/1.1\r\n" H "\r\n", 0, 200, KEPT, NULL, 0},
    {"two empty lines before", "\r\n\r\nGET /healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL,
     0},
    {"http/0.9", "GET /healthz\r\n", 0, 400, CLOSED, NULL, 0},
    {"http/1.2", "GET /healthz HTTP/1.2\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"lower case version", "GET /healthz http/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"no host", "GET /healthz HTTP/1.1\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"two hosts", "GET /healthz HTTP/1.1\r\n" H H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"two hosts in 1.0", "GET /healthz HTTP/1.0\r\n" H H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"host with a path", "GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"host with a list", "GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"folded header", "GET /healthz HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"folded by tab", "GET /healthz HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"fold before the first header", "GET /healthz HTTP/1.1\r\n X: a\r\n" H "\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"empty header name", "GET /healthz HTTP/1.1\r\n" H ": a\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"space before the colon", "GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"header without a colon", "GET /healthz HTTP/1.1\r\n" H "nonsense\r\n\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"bare line feed", "GET /healthz HTTP/1.1\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"bare line feed in headers", "GET /healthz HTTP/1.1\r\nHost: localhost\n\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"bare CR in a value", "GET /healthz HTTP/1.1\r\n" H "X:\rTransfer-Encoding: chunked\r\n\r\n",
     0, 400, CLOSED, NULL, 0},
    {"CR CR LF", "GET /healthz HTTP/1.1\r\n" H "X: a\r\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"0 in a value", "GET /healthz HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", 50, 400, CLOSED, NULL, 0},
    {"0 in the target", "GET /heal\0thz HTTP/1.1\r\n" H "\r\n", 43, 400, CLOSED, NULL, 0},
    {"control character in a value", "GET /healthz HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"byte over 127 in the target", "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"two spaces in the request line", "GET  /healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL,
     0},
    {"tab in the request line", "GET\t/healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"delete in the target", "GET /a\x7f HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"two idempotency keys", "GET /healthz HTTP/1.1\r\n" H "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"two instances", "GET /healthz HTTP/1.1\r\n" H "Grasp-Instance: a\r\ngrasp-instance: a\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"unknown method", "BREW /healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"lower case method", "get /healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED, NULL, 0},
    {"known method, wrong place", "PUT /healthz HTTP/1.1\r\n" H "\r\n", 0, 405, KEPT, NULL, 0},
    {"connect", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 0, 400, KEPT, NULL, 0},
    {"options *", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, 400, KEPT, NULL, 0},
    {"upgrade is ignored",
     "GET /healthz HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0, 200, KEPT,
     NULL, 0},
    {"absolute form", "GET http://localhost/healthz HTTP/1.1\r\n" H "\r\n", 0, 200, KEPT, NULL, 0},
    {"absolute form of another host", "GET http://evil/healthz HTTP/1.1\r\n" H "\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n", 11, 400, CLOSED, NULL, 0},
    {"target of 4096 bytes", "GET /@ HTTP/1.1\r\n" H "\r\n", 0, 404, KEPT, "a", 4095},
    {"target too long", "GET /@ HTTP/1.1\r\n" H "\r\n", 0, 414, CLOSED, "a", 4096},
    {"target without an end", "GET /@", 0, 414, CLOSED, "a", 10000},
    {"64 headers", "GET /healthz HTTP/1.1\r\n" H "@\r\n", 0, 200, KEPT, "X: a\r\n", 63},
    {"65 headers", "GET /healthz HTTP/1.1\r\n" H "@\r\n", 0, 431, CLOSED, "X: a\r\n", 64},
    /* "Host: localhost" and "X: " with their line ends are 22 bytes. */
    {"headers of 16384 bytes", "GET /healthz HTTP/1.1\r\n" H "X: @\r\n\r\n", 0, 200, KEPT, "a",
     16362},
    {"headers of 16385 bytes", "GET /healthz HTTP/1.1\r\n" H "X: @\r\n\r\n", 0, 431, CLOSED, "a",
     16363},
    {"headers of 16384 bytes behind a long target", "GET /healthz?aaaaaaaaaaaaaaaa HTTP/1.1\r\n" H
     "X: @\r\n\r\n", 0, 200, KEPT, "a", 16362},
    {"headers too large", "GET /healthz HTTP/1.1\r\n" H "X: @\r\n\r\n", 0, 431, CLOSED, "a", 16384},
    {"header without an end", "GET /healthz HTTP/1.1\r\n" H "X: @", 0, 431, CLOSED, "a", 100000},
    {"blanks before a value count", "GET /healthz HTTP/1.1\r\n" H "X:@a\r\n\r\n", 0, 431, CLOSED,
     " ", 20000},
    {"body with a length", POST "Content-Length: 2\r\n\r\n{}", 0, 400, KEPT, NULL, 0},
    {"chunked body", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 0, 400, KEPT,
     NULL, 0},
    {"get with a body", "GET /healthz HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", 0, 200, KEPT,
     NULL, 0},
    {"two lengths", POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 0, 400, CLOSED, NULL,
     0},
    {"two different lengths", POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 0, 400,
     CLOSED, NULL, 0},
    {"list of lengths", POST "Content-Length: 2, 2\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"negative length", POST "Content-Length: -1\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"signed length", POST "Content-Length: +2\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"hexadecimal length", POST "Content-Length: 0x2\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"overflowing length", POST "Content-Length: 18446744073709551617\r\n\r\n{}", 0, 400, CLOSED,
     NULL, 0},
    {"length and chunked", POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     0, 400, CLOSED, NULL, 0},
    {"chunked and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
     0, 400, CLOSED, NULL, 0},
    {"gzip coding", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, 400, CLOSED, NULL,
     0},
    {"identity coding", POST "Transfer-Encoding: identity\r\n\r\n", 0, 400, CLOSED, NULL, 0},
    {"chunked twice",
     POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"chunked with a tail", POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"chunked in 1.0",
     "POST /v1/goroutines HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"chunk size is no number", POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"chunk size too large", POST "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n", 0, 413, CLOSED,
     NULL, 0},
    {"chunk size overflows", POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"chunk without its line end", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n", 0,
     400, CLOSED, NULL, 0},
    {"chunk extension", POST "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n", 0, 400,
     KEPT, NULL, 0},
    {"chunk extension of 1024 bytes",
     POST "Transfer-Encoding: chunked\r\n\r\n2;@\r\n{}\r\n0\r\n\r\n", 0, 400, KEPT, "a", 1024},
    {"chunk extension of 1025 bytes",
     POST "Transfer-Encoding: chunked\r\n\r\n2;@\r\n{}\r\n0\r\n\r\n", 0, 413, CLOSED, "a", 1025},
    {"chunk extensions of 1025 bytes in two chunks",
     POST "Transfer-Encoding: chunked\r\n\r\n1;a\r\n{\r\n1;@\r\n}\r\n0\r\n\r\n", 0, 413, CLOSED, "a",
     1024},
    {"chunk extensions without an end", POST "Transfer-Encoding: chunked\r\n\r\n2;@", 0, 413, CLOSED,
     "a", 100000},
    {"tiny chunks without an end", POST "Transfer-Encoding: chunked\r\n\r\n@", 0, 413, CLOSED,
     "0001\r\na\r\n", 1000000},
    {"CR LF CR X before a request", "\r\n\rX\r\nGET /healthz HTTP/1.1\r\n" H "\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"body shorter than its chunk", POST "Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
     0, 400, CLOSED, NULL, 0},
    {"coding before the name's colon", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"coding with a vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"a length with a tab", POST "Content-Length: 2\t\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"a length with a point", POST "Content-Length: 2.0\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"an empty length", POST "Content-Length:\r\n\r\n{}", 0, 400, CLOSED, NULL, 0},
    {"empty host", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 0, 200, KEPT, NULL, 0},
    {"0 in a header's name", "GET /healthz HTTP/1.1\r\n" H "X\0Y: a\r\n\r\n", 50, 400, CLOSED, NULL,
     0},
    {"byte over 127 in a header's name", "GET /healthz HTTP/1.1\r\n" H "\xc3\xa9: a\r\n\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"user in the target's host", "GET http://a@localhost/healthz HTTP/1.1\r\n" H "\r\n", 0, 400,
     CLOSED, NULL, 0},
    {"backslash in the target", "GET /v1\\runtime HTTP/1.1\r\n" H "\r\n", 0, 404, KEPT, NULL, 0},
    {"escaped slash is no slash", "GET /v1%2fruntime HTTP/1.1\r\n" H "\r\n", 0, 404, KEPT, NULL, 0},
    {"trailer", POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n\r\n", 0, 400, CLOSED, NULL,
     0},
    {"length in a trailer", POST "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
     0, 400, CLOSED, NULL, 0},
    {"body too large", POST "Content-Length: 1048577\r\n\r\n", 0, 413, CLOSED, NULL, 0},
    {"body of the largest size", POST "Content-Length: 1048576\r\n\r\n@", 0, 400, KEPT, "a",
     1048576},
    {"unknown expectation", POST "Expect: miracle\r\nContent-Length: 2\r\n\r\n{}", 0, 417, CLOSED,
     NULL, 0},
    {"two authorizations",
     "GET /healthz HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n", 0, 400, CLOSED,
     NULL, 0},
    {"broken escape", "GET /v1/%zz HTTP/1.1\r\n" H "\r\n", 0, 400, KEPT, NULL, 0},
    {"escaped 0", "GET /v1/%00 HTTP/1.1\r\n" H "\r\n", 0, 400, KEPT, NULL, 0},
    {"fragment", "GET /healthz#a HTTP/1.1\r\n" H "\r\n", 0, 400, KEPT, NULL, 0},
    {"dots are not resolved", "GET /v1/../healthz HTTP/1.1\r\n" H "\r\n", 0, 404, KEPT, NULL, 0},
    {"double slash", "GET //healthz HTTP/1.1\r\n" H "\r\n", 0, 404, KEPT, NULL, 0},
};
#define HOSTILE_COUNT (sizeof hostile_table / sizeof hostile_table[0])

/* The bytes of a row, malloc'ed. */
static inline char *hostile_bytes(const struct hostile *row, size_t *size)
{
    /* A row with a 0 inside has its size beside it. */
    size_t plain = row->size ? row->size : strlen(row->bytes);
    size_t fill = row->fill ? strlen(row->fill) : 0;
    char *bytes = malloc(plain + fill * row->fill_count + 1), *out = bytes;
    for (size_t i = 0; i < plain; i++) {
        if (row->bytes[i] != '@' || !fill) {
            *out++ = row->bytes[i];
            continue;
        }
        for (size_t k = 0; k < row->fill_count; k++, out += fill)
            memcpy(out, row->fill, fill);
    }
    *size = (size_t)(out - bytes);
    return bytes;
}

#endif
