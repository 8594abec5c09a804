/*
 * auth.c: who may ask, from where: Host, tokens, scopes, Origin.
 *
 * Three different attackers. A web page in the user's browser reaches a loopback port, also by a
 * name that it lets point to 127.0.0.1: the Host check stops the second, the Origin check the
 * first. Another user of the machine: SO_PEERCRED and the socket's mode on the Unix socket, the
 * token on TCP. Guessing the token: all of them are compared in whole, in time that does not depend
 * on where they differ.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Host ------------------------------------------------------------------------------------ */

/* The name without its port; "[::1]" keeps its brackets. */
static size_t host_name_size(const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    if (end)
        return (size_t)(end - host) + 1;
    return strcspn(host, ":");
}

static bool port_valid(const char *port)
{
    uint64_t number;
    return *port == 0 ||
           (*port == ':' && (port[1] == 0 || api_parse_uint(port + 1, 0, 65535, &number)));
}

static bool name_is(const char *name, const char *host, size_t size)
{
    return strlen(name) == size && strncasecmp(name, host, size) == 0;
}

static bool host_known(const struct api_config *config, const char *host)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t size = host_name_size(host);
    if (!port_valid(host + size))
        return false;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (name_is(own[i], host, size))
            return true;
    for (size_t i = 0; i < config->allow_host_count; i++)
        if (name_is(config->allow_hosts[i], host, size))
            return true;
    return false;
}

bool api_auth_host(struct api_call *call)
{
    const char *host = api_request_header(&call->request, "host");
    if (!call->request.peer.tcp || (host && host_known(&call->api->config, host)))
        return true;
    api_problem(call, 421, API_CODE_UNKNOWN_HOST,
                "this daemon is not called \"%.100s\"; use localhost or start it with --allow-host",
                host ? host : "");
    return false;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

bool api_secret_read(const char *text, unsigned char secret[API_TOKEN_BYTES])
{
    if (strlen(text) != 2 * API_TOKEN_BYTES)
        return false;
    for (size_t i = 0; i < API_TOKEN_BYTES; i++) {
        int high = api_hex_digit(text[2 * i]), low = api_hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        secret[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The password of "user:password" in base64, decoded into out. */
static bool basic_password(const char *text, char *out, size_t out_bytes)
{
    char pair[256];
    size_t size = 0;
    unsigned bits = 0, count = 0;
    for (; *text && *text != '='; text++) {
        int value = base64_value(*text);
        if (value < 0 || size + 1 >= sizeof pair)
            return false;
        bits = bits << 6 | (unsigned)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            pair[size++] = (char)(bits >> count & 0xff);
        }
    }
    pair[size] = 0;
    const char *colon = strchr(pair, ':');
    if (!colon || strlen(colon + 1) >= out_bytes)
        return false;
    strcpy(out, colon + 1);
    return true;
}

/* The credentials of the request as text; false if it brings none that count for its method. */
static bool credentials(const struct api_request *request, char *out, size_t out_bytes)
{
    const char *value = api_request_header(request, "authorization");
    if (!value)
        return false;
    if (strncasecmp(value, "Bearer ", 7) == 0) {
        value += 7 + strspn(value + 7, " ");
        return snprintf(out, out_bytes, "%s", value) < (int)out_bytes;
    }
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (reads && strncasecmp(value, "Basic ", 6) == 0)
        return basic_password(value + 6 + strspn(value + 6, " "), out, out_bytes);
    return false;
}

/* Whole and without an early end, for every token: time tells nothing about the secret. */
static const struct api_token *find_token(const struct api_config *config,
                                          const unsigned char *secret)
{
    const struct api_token *found = NULL;
    for (size_t i = 0; i < config->token_count; i++) {
        volatile unsigned char differ = 0;
        for (size_t k = 0; k < API_TOKEN_BYTES; k++)
            differ |= (unsigned char)(config->tokens[i].secret[k] ^ secret[k]);
        if (differ == 0)
            found = &config->tokens[i];
    }
    return found;
}

void api_tokens_set(struct api *api, const struct api_token *tokens, size_t count)
{
    api->config.tokens = tokens;
    api->config.token_count = count;
}

bool api_credential_counts(const struct api *api, const struct api_credential *credential)
{
    if (!credential->by_token)
        return true;
    const struct api_token *token = find_token(&api->config, credential->secret);
    return token && (token->scopes & credential->scopes) == credential->scopes;
}

static bool unix_peer(struct api_call *call)
{
    const struct api_peer *peer = &call->request.peer;
    snprintf(call->principal, sizeof call->principal, "uid:%" PRIu32, peer->uid);
    call->scopes = API_SCOPE_ALL;
    if (!peer->refused)
        return true;
    api_problem(call, 403, API_CODE_FORBIDDEN,
                "uid %" PRIu32 " may not use this socket; only the daemon's own user and root may",
                peer->uid);
    return false;
}

bool api_auth_token(struct api_call *call)
{
    const struct api_config *config = &call->api->config;
    if (!call->request.peer.tcp)
        return unix_peer(call);
    if (config->no_auth) {
        strcpy(call->principal, "anonymous");
        call->scopes = API_SCOPE_ALL;
        return true;
    }
    char text[256];
    unsigned char secret[API_TOKEN_BYTES];
    const struct api_token *token = NULL;
    if (credentials(&call->request, text, sizeof text) && api_secret_read(text, secret))
        token = find_token(config, secret);
    if (token) {
        snprintf(call->principal, sizeof call->principal, "token:%s", token->name);
        call->scopes = token->scopes;
        call->credential.by_token = true;
        memcpy(call->credential.secret, secret, sizeof secret);
        return true;
    }
    api_buf_str(&call->reply.headers, "WWW-Authenticate: Bearer realm=\"grasp\"\r\n"
                                      "WWW-Authenticate: Basic realm=\"grasp\"\r\n");
    api_problem(call, 401, API_CODE_UNAUTHORIZED,
                "send the daemon's token as \"Authorization: Bearer TOKEN\" (on GET and HEAD also "
                "as the password of Basic)");
    return false;
}

/* ---- Origin ---------------------------------------------------------------------------------- */

bool api_auth_origin(struct api_call *call)
{
    const char *origin = api_request_header(&call->request, "origin");
    const char *site = api_request_header(&call->request, "sec-fetch-site");
    const char *host = api_request_header(&call->request, "host");
    const char *scheme_end = origin ? strstr(origin, "://") : NULL;
    bool foreign = origin && (!scheme_end || !host || strcasecmp(scheme_end + 3, host) != 0);
    if (site && strcmp(site, "cross-site") == 0)
        foreign = true;
    if (!foreign)
        return true;
    api_problem(call, 403, API_CODE_FOREIGN_ORIGIN,
                "a page of another origin (%.100s) may not change anything here",
                origin ? origin : site);
    return false;
}
