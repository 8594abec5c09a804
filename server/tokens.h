/*
 * tokens.h: the token file: who may come in over TCP.
 *
 * Text, one token a line, '#' begins a comment:
 *     HEX                          the token "default" with all scopes
 *     NAME SCOPE[,SCOPE…] HEX      scopes: read, control, load
 * HEX is 64 hexadecimal digits. The file belongs to us or to root and nobody else can read it. A name may have several tokens,
 * as long as one takes another's place, all with the same scopes; no token may stand there twice.
 */
#ifndef SRV_TOKENS_H
#define SRV_TOKENS_H

#include <stddef.h>

#include "api.h"

struct srv_tokens {
    struct api_token *items;
    size_t count;
};

/* Reads the file. 0, or negative errno with a sentence in err; -ENOENT: it is not there. */
int srv_tokens_load(struct srv_tokens *tokens, const char *path, char *err, size_t err_bytes);
/* Makes one new token, and the file with it, which must not be there. As above. */
int srv_tokens_make_file(struct srv_tokens *tokens, const char *path, char *err, size_t err_bytes);
/* Forgets the secrets, too. */
void srv_tokens_free(struct srv_tokens *tokens);
/* One new token, nowhere written; its hex in hex[65]. */
int srv_tokens_make(struct srv_tokens *tokens, char *hex, char *err, size_t err_bytes);

#endif
