/*
 * hash_module.c: XXH3 of files, in long loops on vector registers without a call.
 *
 * Each file is read whole and hashed `rounds` times. Every round must give the same digest: a stop
 * that loses vector state shows as a difference and ends the entry with 1. The digests are those of
 * `xxhsum -H3`.
 *
 *   {"dir": PATH} or {"files": [PATH, …]}
 *   "rounds": N      default 1
 *   "way": "auto"    or "plain", "avx2", "avx512" where the processor has it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "args.h"
#include "files.h"
#include "hash.h"
#include "json.h"

#define PATH_BYTES      4096
#define FILE_BYTES_MAX  ((off_t)1 << 30)
#define ENTRY_BYTES_MAX (6 * PATH_BYTES + 128) /* one file in the result, every byte escaped */

struct options {
    const struct hash_way *way;
    uint64_t rounds;
};

/* The file's bytes, malloc'ed. 0 or a negative errno. */
static int read_file(const char *path, char **bytes, size_t *count)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    int result = fstat(fd, &st) == 0 ? 0 : -errno;
    if (result == 0 && st.st_size > FILE_BYTES_MAX)
        result = -EFBIG;
    char *at = result == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    if (result == 0 && !at)
        result = -ENOMEM;
    size_t used = 0;
    while (result == 0 && used < (size_t)st.st_size) {
        ssize_t n = read(fd, at + used, (size_t)st.st_size - used);
        if (n < 0)
            result = -errno;
        else if (n == 0)
            break;
        else
            used += (size_t)n;
    }
    close(fd);
    if (result != 0) {
        free(at);
        return result;
    }
    *bytes = at;
    *count = used;
    return 0;
}

/* 0, a negative errno, or -EILSEQ if two rounds differ. */
static int hash_file(const char *path, const struct options *options, uint64_t *digest,
                     size_t *count)
{
    char *bytes = NULL;
    *count = 0;
    int result = read_file(path, &bytes, count);
    if (result != 0)
        return result;
    *digest = options->way->fn(bytes, *count);
    for (uint64_t i = 1; i < options->rounds && result == 0; i++) {
        if (options->way->fn(bytes, *count) != *digest)
            result = -EILSEQ;
        else if (gr_cancelled())
            result = -ECANCELED;
    }
    free(bytes);
    return result;
}

static int hash_files(const struct files *files, const struct options *options, struct json *json)
{
    uint64_t total = 0, omitted = 0, failed = 0;
    bool first = true;
    json_add(json, "{\"way\":\"%s\",\"rounds\":%" PRIu64 ",\"files\":[", options->way->name,
             options->rounds);
    for (size_t i = 0; i < files->count; i++) {
        uint64_t digest;
        size_t count = 0;
        int result = hash_file(files->path[i], options, &digest, &count);
        if (result == -EILSEQ) {
            gr_log("hash: %s: two rounds differ: vector state was lost", files->path[i]);
            return 1;
        }
        if (result == -ECANCELED)
            return result;
        if (result != 0) {
            gr_log("hash: %s: %s", files->path[i], strerror(-result));
            failed++;
            continue;
        }
        total += count;
        if (!json_fits(json, ENTRY_BYTES_MAX)) {
            omitted++;
            continue;
        }
        json_add(json, "%s{\"file\":", first ? "" : ",");
        json_add_string(json, files->path[i]);
        json_add(json, ",\"bytes\":%zu,\"xxh3\":\"%016" PRIx64 "\"}", count, digest);
        first = false;
    }
    json_add(json, "],\"bytes\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"omitted\":%" PRIu64 "}", total,
             failed, omitted);
    return gr_result(json->text);
}

/* The files that the arguments name. 0 or a negative errno, after a line in the log. */
static int wanted_files(const char *args, struct files *files)
{
    char path[PATH_BYTES];
    const char *array = args_find(args, "files");
    int result = 0;
    if (args_string(args, "dir", path, sizeof(path))) {
        result = files_of(files, path);
        if (result != 0)
            gr_log("hash: %s: %s", path, strerror(-result));
        return result;
    }
    const char *element;
    for (size_t i = 0; result == 0 && (element = args_element(array, i)) != NULL; i++)
        result = args_copy(element, path, sizeof(path)) ? files_add(files, path) : -EINVAL;
    if (result == 0 && files->count == 0)
        result = -EINVAL;
    if (result != 0)
        gr_log("hash: {\"dir\": PATH} or {\"files\": [PATH, …]} is needed");
    return result;
}

static const struct hash_way *wanted_way(const char *args)
{
    char name[16] = "auto";
    const struct hash_way *way = hash_ways();
    if (args_find(args, "way") && !args_string(args, "way", name, sizeof(name)))
        name[0] = 0;
    if (strcmp(name, "auto") == 0)
        return way;
    while (way->name && strcmp(way->name, name) != 0)
        way++;
    if (way->name)
        return way;
    gr_log("hash: \"way\" is not one of this processor's: auto, plain, avx2, avx512");
    return NULL;
}

static int xxh3(const char *args)
{
    struct options options = {wanted_way(args), args_u64(args, "rounds", 1)};
    if (!options.way)
        return -EINVAL;
    if (options.rounds == ARGS_NO_NUMBER) {
        gr_log("hash: \"rounds\" must be a whole number");
        return -EINVAL;
    }
    struct files files = {0};
    int result = wanted_files(args, &files);
    struct json *json = result == 0 ? calloc(1, sizeof(*json)) : NULL;
    if (json)
        result = hash_files(&files, &options, json);
    else if (result == 0)
        result = -ENOMEM;
    free(json);
    files_free(&files);
    return result;
}
GR_ENTRY("xxh3", xxh3, "XXH3 digests of files: {\"dir\": PATH} or {\"files\": [PATH, …]}");
