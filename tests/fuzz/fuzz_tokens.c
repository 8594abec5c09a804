/*
 * fuzz_tokens.c: the token file. A token that was accepted has a name, a scope and no other's right.
 */
#include <string.h>

#include "fuzz.h"
#include "tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct srv_tokens tokens = {0};
    char err[512] = "";
    int result = srv_tokens_load(&tokens, fuzz_file(data, size), err, sizeof err);
    CLAIM(result == 0 ? tokens.count > 0 : err[0] != 0, "a refusal says why");
    for (size_t i = 0; i < tokens.count; i++)
        CLAIM(tokens.items[i].name[0] && strlen(tokens.items[i].name) < sizeof tokens.items[i].name &&
                  tokens.items[i].scopes && !(tokens.items[i].scopes & ~(unsigned)API_SCOPE_ALL),
              "a token has a name and scopes");
    srv_tokens_free(&tokens);
    return 0;
}
