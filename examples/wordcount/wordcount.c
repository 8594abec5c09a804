/*
 * wordcount.c: counts the words of all files in a folder, one goroutine for each file.
 *
 * A word is a run of ASCII letters, in lower case. Each goroutine counts into a table of its own
 * and adds it to the job's when it is done; so the lock is taken once a file. At most OPEN_MAX
 * files are open at a time: a channel with that many places is the semaphore.
 *
 * The root waits for all; if it is asked to end meanwhile it raises `stop` and leaves. The job is
 * freed by whoever leaves last.
 *
 *   {"dir": PATH, "top": K}     top: so many of the most frequent words, default 10, at most 100
 *
 * Locks: job.lock guards what the comment at `words` says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "args.h"
#include "files.h"
#include "json.h"
#include "words.h"

#define OPEN_MAX     64
#define TOP_DEFAULT  10
#define TOP_MAX      100
#define BUFFER_BYTES 32768
#define PATH_BYTES   4096

struct job {
    gr_waitgroup running;
    struct gr_chan *places;
    atomic_int users;
    atomic_bool stop; /* relaxed is enough: it only makes the others end sooner */
    gr_mutex lock;
    struct words words; /* this and what follows: under the lock */
    uint64_t bytes, files, failed;
};

struct task {
    struct job *job;
    char path[];
};

static void job_leave(struct job *job)
{
    /* acq_rel; pairs with itself in the other goroutines: their last use comes before the free. */
    if (atomic_fetch_sub_explicit(&job->users, 1, memory_order_acq_rel) > 1)
        return;
    words_free(&job->words);
    gr_chan_destroy(job->places);
    free(job);
}

/* A word under way, which may go on in the next piece of the file. */
struct scanner {
    struct words *words;
    size_t length;
    char word[WORD_BYTES_MAX];
};

static int scanner_end_word(struct scanner *scanner)
{
    size_t length = scanner->length < WORD_BYTES_MAX ? scanner->length : WORD_BYTES_MAX;
    scanner->length = 0;
    return length ? words_add(scanner->words, scanner->word, length, 1) : 0;
}

static int scan(struct scanner *scanner, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned letter = (unsigned char)bytes[i] | 0x20u;
        if (letter - 'a' < 26) {
            if (scanner->length < WORD_BYTES_MAX)
                scanner->word[scanner->length] = (char)letter;
            scanner->length++;
            continue;
        }
        int result = scanner_end_word(scanner);
        if (result != 0)
            return result;
    }
    return 0;
}

/* 0 or a negative errno. */
static int count_file(const struct task *task, struct words *words, uint64_t *bytes)
{
    int fd = open(task->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct scanner scanner = {.words = words};
    char buffer[BUFFER_BYTES];
    int result = 0;
    while (result == 0) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n <= 0) {
            result = n < 0 ? -errno : scanner_end_word(&scanner);
            break;
        }
        *bytes += (uint64_t)n;
        result = scan(&scanner, buffer, (size_t)n);
        if (atomic_load_explicit(&task->job->stop, memory_order_relaxed))
            result = -ECANCELED;
    }
    close(fd);
    return result;
}

/* Adds what one goroutine found. A lock that fails means that we were asked to end. */
static int merge(struct job *job, const struct words *words, uint64_t bytes, int counted)
{
    int result = gr_mutex_lock(&job->lock);
    if (result != 0)
        return result;
    if (counted == 0)
        counted = words_merge(&job->words, words);
    if (counted == 0) {
        job->files++;
        job->bytes += bytes;
    } else {
        job->failed++;
    }
    gr_mutex_unlock(&job->lock);
    return counted;
}

static void count_one(void *arg)
{
    struct task *task = arg;
    struct job *job = task->job;
    struct words words = {0};
    uint64_t bytes = 0;
    int result = gr_chan_send(job->places, NULL);
    if (result == 0) {
        result = count_file(task, &words, &bytes);
        gr_chan_try_recv(job->places, NULL);
    }
    result = merge(job, &words, bytes, result);
    if (result != 0 && result != -ECANCELED)
        gr_log("wordcount: %s: %s", task->path, strerror(-result));
    words_free(&words);
    free(task);
    gr_waitgroup_done(&job->running);
    job_leave(job);
}

static int start_one(struct job *job, const char *path)
{
    size_t bytes = strlen(path) + 1;
    struct task *task = malloc(sizeof(*task) + bytes);
    if (!task)
        return -ENOMEM;
    task->job = job;
    memcpy(task->path, path, bytes);
    atomic_fetch_add_explicit(&job->users, 1, memory_order_relaxed);
    gr_waitgroup_add(&job->running, 1);
    const char *slash = strrchr(path, '/');
    char name[GR_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", slash ? slash + 1 : path);
    struct gr_go_opts go = {.fn = count_one, .arg = task, .name = name};
    int64_t id = gr_go_with(&go);
    if (id > 0)
        return 0;
    gr_waitgroup_done(&job->running);
    job_leave(job);
    free(task);
    return (int)id;
}

static int tell(const struct job *job, uint64_t top_count)
{
    const struct word *top[TOP_MAX];
    struct json *json = calloc(1, sizeof(*json));
    if (!json)
        return -ENOMEM;
    size_t count = words_top(&job->words, top, top_count);
    json_add(json, "{\"files\":%llu,\"failed\":%llu,\"bytes\":%llu,\"words\":%llu,",
             (unsigned long long)job->files, (unsigned long long)job->failed,
             (unsigned long long)job->bytes, (unsigned long long)job->words.total);
    json_add(json, "\"distinct\":%zu,\"top\":[", job->words.distinct);
    for (size_t i = 0; i < count; i++)
        json_add(json, "%s{\"word\":\"%s\",\"count\":%llu}", i ? "," : "", top[i]->text,
                 (unsigned long long)top[i]->count);
    json_add(json, "]}");
    int result = gr_result(json->text);
    free(json);
    return result;
}

/* Starts a goroutine for each file and waits. */
static int run(struct job *job, const struct files *files, uint64_t top_count)
{
    int result = 0;
    for (size_t i = 0; i < files->count && result == 0; i++)
        result = start_one(job, files->path[i]);
    if (result != 0)
        gr_log("wordcount: no goroutine for a file: %s", strerror(-result));
    else
        result = gr_waitgroup_wait(&job->running);
    if (result == 0)
        return tell(job, top_count);
    atomic_store_explicit(&job->stop, true, memory_order_relaxed);
    return result;
}

static int count(const char *args)
{
    char dir[PATH_BYTES];
    uint64_t top_count = args_u64(args, "top", TOP_DEFAULT);
    if (!args_string(args, "dir", dir, sizeof(dir)) || top_count > TOP_MAX) {
        gr_log("wordcount: {\"dir\": PATH} is needed, and \"top\" is at most %d", TOP_MAX);
        return -EINVAL;
    }
    struct files files = {0};
    int result = files_of(&files, dir);
    struct job *job = result == 0 ? calloc(1, sizeof(*job)) : NULL;
    if (job && !(job->places = gr_chan_create(0, OPEN_MAX))) {
        free(job);
        job = NULL;
    }
    if (job) {
        atomic_init(&job->users, 1);
        result = run(job, &files, top_count);
        job_leave(job);
    } else if (result != 0) {
        gr_log("wordcount: %s: %s", dir, strerror(-result));
    } else {
        result = -ENOMEM;
    }
    files_free(&files);
    return result;
}
GR_ENTRY("count", count, "Counts the words of all files in {\"dir\": PATH}");
