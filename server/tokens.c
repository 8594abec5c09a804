/*
 * tokens.c: see tokens.h.
 */
#include "tokens.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int add(struct srv_tokens *tokens, const struct api_token *token)
{
    struct api_token *items = realloc(tokens->items, (tokens->count + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    tokens->items = items;
    items[tokens->count++] = *token;
    return 0;
}

void srv_tokens_free(struct srv_tokens *tokens)
{
    if (tokens->items)
        explicit_bzero(tokens->items, tokens->count * sizeof tokens->items[0]);
    free(tokens->items);
    *tokens = (struct srv_tokens){0};
}

/* What is written to logs and must not look like more than one word. */
static bool name_valid(const char *name)
{
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("_.-", *name))
            return false;
    return true;
}

static int make_secret(unsigned char *secret, char *hex)
{
    if (getrandom(secret, API_TOKEN_BYTES, 0) != API_TOKEN_BYTES)
        return -EIO;
    for (size_t i = 0; i < API_TOKEN_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", secret[i]);
    return 0;
}

int srv_tokens_make(struct srv_tokens *tokens, char *hex, char *err, size_t err_bytes)
{
    struct api_token token = {.name = "default", .scopes = API_SCOPE_ALL};
    int result = make_secret(token.secret, hex);
    if (!result)
        result = add(tokens, &token);
    if (result)
        snprintf(err, err_bytes, "no token could be made: %s", strerror(-result));
    return result;
}

static bool read_scopes(char *text, unsigned *scopes)
{
    char *save;
    for (char *name = strtok_r(text, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (strcmp(name, "read") == 0)
            *scopes |= API_SCOPE_READ;
        else if (strcmp(name, "control") == 0)
            *scopes |= API_SCOPE_CONTROL;
        else if (strcmp(name, "load") == 0)
            *scopes |= API_SCOPE_LOAD;
        else
            return false;
    }
    return *scopes != 0;
}

/*
 * A name is one principal, with one set of scopes; two tokens of it are an old one and the new one that takes its place. A
 * secret that two lines have would make one principal of two.
 */
static const char *clash(const struct srv_tokens *tokens, const struct api_token *token)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const struct api_token *other = &tokens->items[i];
        if (memcmp(other->secret, token->secret, sizeof token->secret) == 0)
            return "this token stands in a line above already";
        if (strcmp(other->name, token->name) == 0 && other->scopes != token->scopes)
            return "this name has other scopes in a line above; give it the same, or another name";
    }
    return NULL;
}

static const char wrong_line[] = "write HEX or NAME SCOPE[,SCOPE] HEX, with NAME of [A-Za-z0-9_.-], scopes read, "
                                 "control, load and 64 hex digits";

/* 0: a token or an empty line; -EINVAL, and why in *wrong. */
static int read_line(struct srv_tokens *tokens, char *line, const char **wrong)
{
    struct api_token token = {.name = "default", .scopes = API_SCOPE_ALL};
    char *save, *word[3] = {NULL};
    size_t count = 0;
    *wrong = wrong_line;
    line[strcspn(line, "#\r\n")] = 0;
    for (char *w = strtok_r(line, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (count == 3)
            return -EINVAL;
        word[count++] = w;
    }
    if (count == 0)
        return 0;
    if (count == 3) {
        token.scopes = 0;
        if (strlen(word[0]) >= sizeof token.name || !name_valid(word[0]) || !read_scopes(word[1], &token.scopes))
            return -EINVAL;
        strcpy(token.name, word[0]);
    }
    if (count == 2 || !api_secret_read(word[count - 1], token.secret))
        return -EINVAL;
    const char *why = clash(tokens, &token);
    *wrong = why ? why : "out of memory";
    return why ? -EINVAL : add(tokens, &token);
}

int srv_tokens_make_file(struct srv_tokens *tokens, const char *path, char *err, size_t err_bytes)
{
    char hex[2 * API_TOKEN_BYTES + 2];
    int result = srv_tokens_make(tokens, hex, err, err_bytes);
    if (result)
        return result;
    strcat(hex, "\n");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        result = -errno;
    } else {
        errno = ENOSPC; /* of a write that was cut short */
        if (write(fd, hex, strlen(hex)) != (ssize_t)strlen(hex))
            result = -errno;
        close(fd);
        if (result) /* a part of a token would be in the way of the next start */
            unlink(path);
    }
    if (result)
        snprintf(err, err_bytes, "the token file %s cannot be made: %s", path, strerror(-result));
    return result;
}

static int check_file(int fd, const char *path, char *err, size_t err_bytes)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        snprintf(err, err_bytes, "the token file %s is no regular file", path);
        return -EINVAL;
    }
    if ((st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0)) {
        snprintf(err, err_bytes, "the token file %s can be read by others; chmod 600 it", path);
        return -EACCES;
    }
    return 0;
}

/* Without waiting for a writer, should it be a pipe. */
static int open_file(const char *path, FILE **file, char *err, size_t err_bytes)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int result = fd < 0 ? -errno : check_file(fd, path, err, err_bytes);
    if (fd >= 0 && result) {
        close(fd);
        return result;
    }
    *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (*file)
        return 0;
    if (fd >= 0) {
        result = -ENOMEM;
        close(fd);
    }
    snprintf(err, err_bytes, "the token file %s cannot be read: %s", path, strerror(-result));
    return result;
}

int srv_tokens_load(struct srv_tokens *tokens, const char *path, char *err, size_t err_bytes)
{
    char *line = NULL;
    size_t line_bytes = 0;
    ssize_t size;
    const char *wrong;
    FILE *file;
    int result = open_file(path, &file, err, err_bytes);
    if (result)
        return result;
    /* Whole lines: the rest of a long comment must not be read as a line of its own. */
    for (unsigned n = 1; !result && (size = getline(&line, &line_bytes, file)) >= 0; n++) {
        wrong = wrong_line;
        result = strlen(line) == (size_t)size ? read_line(tokens, line, &wrong) : -EINVAL;
        if (result)
            snprintf(err, err_bytes, "%s, line %u: %s", path, n, wrong);
    }
    if (!result && !feof(file)) {
        result = -ENOMEM;
        snprintf(err, err_bytes, "the token file %s could not be read to its end", path);
    }
    if (line)
        explicit_bzero(line, line_bytes);
    free(line);
    fclose(file);
    if (!result && tokens->count == 0) {
        snprintf(err, err_bytes, "the token file %s has no token; remove it to get a new one",
                 path);
        result = -EINVAL;
    }
    return result;
}
