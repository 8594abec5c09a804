/*
 * place.c: see place.h.
 */
#include "place.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

/* One level of the search. */
struct level {
    const char *name; /* "flags", … for messages */
    const char *socket, *url, *token, *token_file;
};

/* An unset and an empty variable are the same. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int set_token(struct http_place *place, const char *token, const char *from, char *err,
                     size_t err_bytes)
{
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i++)
        if (token[i] <= ' ' || token[i] > '~')
            size = 0;
    if (size == 0 || size >= sizeof place->token) {
        snprintf(err, err_bytes, "%s is not a token: 1 to %zu printable characters without spaces",
                 from, sizeof place->token - 1);
        return -EINVAL;
    }
    strcpy(place->token, token);
    return 0;
}

/* The last word of the first line that has any: a bare token, or graspd's "NAME SCOPES TOKEN". A '#' begins a comment, as there. */
static int read_token(struct http_place *place, const char *path, char *err, size_t err_bytes)
{
    char from[PATH_MAX + 32], *line = NULL, *last = NULL, *rest;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(err, err_bytes, "token file %s: %s", path, strerror(errno));
        return -EINVAL;
    }
    while (!last && getline(&line, &room, file) >= 0) {
        line[strcspn(line, "#\r\n")] = 0;
        for (char *word = strtok_r(line, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
            last = word;
    }
    fclose(file);
    snprintf(from, sizeof from, "what stands in %s", path);
    int result = set_token(place, last ? last : "", from, err, err_bytes);
    free(line);
    return result;
}

/* The dashboard's URL carries its token behind #token=, so that it can be pasted here. */
static int use_url(struct http_place *place, const char *url, char *err, size_t err_bytes)
{
    const char *token = strstr(url, "#token=");
    int result = http_place_parse(place, url, err, err_bytes);
    if (!result && token)
        result = set_token(place, token + 7, "what follows #token=", err, err_bytes);
    return result;
}

static int use_token(struct http_place *place, const struct level *level, char *err,
                     size_t err_bytes)
{
    if (place->token[0] || place->unix_path[0])
        return 0;
    if (level->token)
        return set_token(place, level->token, level->name, err, err_bytes);
    return level->token_file ? read_token(place, level->token_file, err, err_bytes) : 0;
}

/* 1 if the level names a place, 0 if not, or a negative errno. */
static int use_level(struct http_place *place, const struct level *level, char *err,
                     size_t err_bytes)
{
    char why[400];
    int result = 0;
    if (level->socket) {
        struct http_buf text = {0};
        http_buf_printf(&text, "unix:%s", level->socket);
        result = http_place_parse(place, text.data, why, sizeof why);
        http_buf_free(&text);
    } else if (level->url) {
        result = use_url(place, level->url, why, sizeof why);
    } else {
        return 0;
    }
    if (result)
        snprintf(err, err_bytes, "%s: %s", level->name, why);
    return result ? result : 1;
}

/* ---- The config file -------------------------------------------------------------------------- */

static void config_path(char *out, size_t out_bytes)
{
    const char *explicit = variable("GRASP_CONFIG"), *xdg = variable("XDG_CONFIG_HOME");
    const char *home = variable("HOME");
    const struct passwd *user = home ? NULL : getpwuid(getuid());
    if (explicit)
        snprintf(out, out_bytes, "%s", explicit);
    else if (xdg)
        snprintf(out, out_bytes, "%s/grasp/config.json", xdg);
    else
        snprintf(out, out_bytes, "%s/.config/grasp/config.json",
                 home   ? home
                 : user ? user->pw_dir
                        : "/");
}

static int check_member(const char *path, const char *name, const json_t *value, char *err,
                        size_t err_bytes)
{
    static const char *const names[] = {"socket", "url", "token", "token_file"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(names[i], name))
            continue;
        if (json_is_string(value))
            return 0;
        snprintf(err, err_bytes, "%s: \"%s\" must be a string", path, name);
        return -EINVAL;
    }
    snprintf(err, err_bytes,
             "%s: there is no member \"%s\"; there are socket, url, token, token_file", path, name);
    return -EINVAL;
}

/* Fills level from the file; *root keeps its strings. No file: an empty level. */
static int read_config(struct level *level, const char *path, json_t **root, char *err,
                       size_t err_bytes)
{
    json_error_t error;
    const char *name;
    json_t *value;
    level->name = path;
    *root = NULL;
    if (access(path, F_OK) && !variable("GRASP_CONFIG"))
        return 0;
    *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(*root)) {
        if (*root)
            snprintf(err, err_bytes, "%s: it must be a JSON object", path);
        else
            snprintf(err, err_bytes, "%s: line %d: %s", path, error.line, error.text);
        return -EINVAL;
    }
    json_object_foreach(*root, name,
                        value) if (check_member(path, name, value, err, err_bytes)) return -EINVAL;
    level->socket = json_string_value(json_object_get(*root, "socket"));
    level->url = json_string_value(json_object_get(*root, "url"));
    level->token = json_string_value(json_object_get(*root, "token"));
    level->token_file = json_string_value(json_object_get(*root, "token_file"));
    return 0;
}

/* ---- The sockets that daemons make by themselves ---------------------------------------------- */

/* Somebody listens at path, and it is our own user or root (I2). */
static bool is_ours(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t peer_bytes = sizeof peer;
    if (strlen(path) >= sizeof address.sun_path)
        return false;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) == 0 &&
                (peer.uid == getuid() || peer.uid == 0);
    if (fd >= 0)
        close(fd);
    return good;
}

struct found {
    char path[108];
    time_t since;
    unsigned count;
};

/* Keeps the newest. */
static void consider(struct found *found, const char *path)
{
    struct stat status;
    if (stat(path, &status) || !S_ISSOCK(status.st_mode) || !is_ours(path))
        return;
    found->count++;
    if (found->path[0] && status.st_mtime < found->since)
        return;
    snprintf(found->path, sizeof found->path, "%s", path);
    found->since = status.st_mtime;
}

/* run.sh: a directory of its own for each run; gr_serve: a socket with its process in the name. */
static void consider_all(struct found *found, const char *folder, const char *name)
{
    char pattern[PATH_MAX];
    glob_t list;
    snprintf(pattern, sizeof pattern, "%s/grasp-*%s", folder, name);
    if (glob(pattern, GLOB_NOSORT, NULL, &list))
        return;
    for (size_t i = 0; i < list.gl_pathc; i++)
        consider(found, list.gl_pathv[i]);
    globfree(&list);
}

static int use_default(struct http_place *place, char *note, size_t note_bytes, char *err,
                       size_t err_bytes)
{
    struct found found = {0};
    const char *runtime = variable("XDG_RUNTIME_DIR");
    char first[PATH_MAX] = "", second[64];
    if (runtime) {
        snprintf(first, sizeof first, "%s/graspd.sock", runtime);
        consider(&found, first);
        consider_all(&found, runtime, "/grasp.sock");
        consider_all(&found, runtime, ".sock");
    }
    snprintf(second, sizeof second, "/tmp/graspd-%u.sock", (unsigned)getuid());
    consider(&found, second);
    consider_all(&found, "/tmp", "/grasp.sock");
    consider_all(&found, "/tmp", ".sock");
    if (!found.count) {
        snprintf(
            err, err_bytes,
            "no daemon found: nobody answers at %s%s%s, nor at a socket of run.sh or gr_serve. "
            "Start one "
            "(./run.sh, or graspd), or say where it is: --socket PATH, --url URL, GRASP_SOCKET, "
            "GRASP_URL, or the config file",
            first, *first ? " and " : "", second);
        return -ENOENT;
    }
    if (found.count > 1 && note)
        snprintf(note, note_bytes, "%u daemons run here; this is the newest, %s (--socket chooses)",
                 found.count, found.path);
    return http_place_parse(place, found.path, err, err_bytes);
}

int place_find(struct http_place *place, const struct place_flags *flags, char *note,
               size_t note_bytes, char *err, size_t err_bytes)
{
    char path[PATH_MAX];
    json_t *root = NULL;
    struct level config = {0};
    const struct level flag = {"the flags", flags->socket, flags->url, NULL, flags->token_file};
    const struct level environment = {"the environment", variable("GRASP_SOCKET"),
                                      variable("GRASP_URL"), variable("GRASP_TOKEN"),
                                      variable("GRASP_TOKEN_FILE")};
    *place = (struct http_place){0};
    if (note)
        *note = 0;
    if (flags->socket && flags->url) {
        snprintf(err, err_bytes, "--socket and --url name two places; give one");
        return -EINVAL;
    }
    int result = use_level(place, &flag, err, err_bytes);
    if (result == 0)
        result = use_level(place, &environment, err, err_bytes);
    bool from_config = result == 0;
    if (result == 0) {
        config_path(path, sizeof path);
        result = read_config(&config, path, &root, err, err_bytes);
        if (result == 0)
            result = use_level(place, &config, err, err_bytes);
    }
    if (result == 0)
        result = use_default(place, note, note_bytes, err, err_bytes);
    if (result >= 0)
        result = use_token(place, &flag, err, err_bytes);
    if (result == 0)
        result = use_token(place, &environment, err, err_bytes);
    if (result == 0 && from_config)
        result = use_token(place, &config, err, err_bytes);
    json_decref(root);
    return result;
}
