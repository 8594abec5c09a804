/*
 * fake_host.c: see fake.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

struct api *fake_api;
struct api_config fake_config;
static struct api_task *posted, **posted_last = &posted;
static struct {
    struct api_job *job;
    bool worked;
} jobs[256];
static size_t job_count;
static uint64_t alarm_ns;
bool fake_slow;
uint64_t fake_client;
void (*fake_on_reply)(struct fake_call *call);

static void host_post(void *ctx, struct api_task *task)
{
    task->next = NULL;
    *posted_last = task;
    posted_last = &task->next;
}

static void host_pool(void *ctx, struct api_job *job)
{
    assert_true(job_count < 256);
    jobs[job_count].worked = false;
    jobs[job_count++].job = job;
}

size_t fake_jobs(void)
{
    return job_count;
}

static void host_alarm(void *ctx, uint64_t at_ns)
{
    alarm_ns = at_ns;
}

static void host_reply(void *ctx, struct api_call *call)
{
    struct fake_call *fake = call->host_ctx;
    size_t size = call->reply.body.size;
    fake->body = realloc(fake->body, fake->body_bytes + size + 1);
    if (size)
        memcpy(fake->body + fake->body_bytes, call->reply.body.data, size);
    fake->body_bytes += size;
    fake->body[fake->body_bytes] = 0;
    assert_false(fake->replied);
    if (call->reply.more && fake_slow)
        fake->pull_due = true;
    else if (call->reply.more)
        api_call_pull(call);
    else
        fake->replied = true;
    if ((fake->replied || fake->pull_due) && fake_on_reply)
        fake_on_reply(fake);
}

void fake_pull(struct fake_call *fake)
{
    assert_true(fake->pull_due);
    fake->pull_due = false;
    api_call_pull(&fake->call);
}

static int host_load_module(void *ctx, const char *name, bool replace, char *err, size_t err_bytes)
{
    return strcmp(name, "mod") == 0 ? 1 : -ENOENT;
}

char fake_audit[65536];

static void host_audit(void *ctx, const char *line, size_t size)
{
    assert_true(size < sizeof fake_audit);
    memcpy(fake_audit, line, size);
    fake_audit[size] = 0;
}

/* A store of one file, in memory. Writes and removals fail with fake_store_err while that is set. */
int fake_store_err;
bool fake_no_store, fake_store_open;
char fake_store_name[64];
static struct api_buf stored, writing;

void fake_store_cut(size_t bytes)
{
    assert_true(bytes < stored.size);
    stored.size -= bytes;
}

static bool host_store_there(void *ctx)
{
    return !fake_no_store;
}

static int host_store_create(void *ctx, struct api_store_file **file)
{
    api_buf_clear(&writing);
    *file = NULL;
    fake_store_open = true;
    return 0;
}

static int host_store_write(struct api_store_file *file, const void *bytes, size_t size)
{
    api_buf_add(&writing, bytes, size);
    return fake_store_err;
}

static int host_store_close(struct api_store_file *file, const char *name)
{
    fake_store_open = false;
    if (!name)
        return 0;
    strcpy(fake_store_name, name);
    api_buf_clear(&stored);
    api_buf_add(&stored, writing.data, writing.size);
    return 0;
}

static ssize_t host_store_read(void *ctx, const char *name, uint64_t offset, void *to, size_t bytes)
{
    if (strcmp(name, fake_store_name) || offset > stored.size)
        return -ENOENT;
    bytes = bytes < stored.size - offset ? bytes : stored.size - offset;
    memcpy(to, stored.data + offset, bytes);
    return (ssize_t)bytes;
}

static int host_store_remove(void *ctx, const char *name)
{
    int err = strcmp(name, fake_store_name) ? -ENOENT : fake_store_err;
    if (!err)
        fake_store_name[0] = 0;
    return err;
}

int fake_host_start(void **state)
{
    struct api_host host = {.post = host_post,
                            .pool = host_pool,
                            .alarm = host_alarm,
                            .reply = host_reply,
                            .load_module = host_load_module,
                            .audit = host_audit,
                            .store_there = host_store_there,
                            .store_create = host_store_create,
                            .store_write = host_store_write,
                            .store_close = host_store_close,
                            .store_read = host_store_read,
                            .store_remove = host_store_remove};
    fake_store_err = 0;
    fake_no_store = fake_store_open = false;
    fake_store_name[0] = 0;
    fake_reset();
    fake_config.version = "1";
    alarm_ns = UINT64_MAX;
    fake_slow = false;
    fake_client = 0;
    fake_on_reply = NULL;
    fake_api = api_create(&host, &fake_config);
    return fake_api ? 0 : -1;
}

int fake_host_stop(void **state)
{
    fake_run();
    api_destroy(fake_api);
    fake_config = (struct api_config){0};
    return 0;
}

static void run_post(void)
{
    struct api_task *task = posted;
    posted = task->next;
    if (!posted)
        posted_last = &posted;
    task->run(task);
}

void fake_run_posts(void)
{
    while (posted)
        run_post();
}

/* Its work, or, after that, its end. */
static void run_job(size_t at)
{
    struct api_job *job = jobs[at].job;
    if (!jobs[at].worked) {
        jobs[at].worked = true;
        job->work(job);
        return;
    }
    memmove(&jobs[at], &jobs[at + 1], (--job_count - at) * sizeof jobs[0]);
    job->done(job);
}

static void run_alarm(void)
{
    alarm_ns = UINT64_MAX;
    api_tick(fake_api);
}

bool fake_step(unsigned pick)
{
    bool due = alarm_ns <= gr_now_ns();
    size_t count = job_count + (posted != NULL) + due;
    if (!count)
        return false;
    pick %= count;
    if (pick < job_count)
        run_job(pick);
    else if (pick == job_count && posted)
        run_post();
    else
        run_alarm();
    return true;
}

void fake_run(void)
{
    for (bool again = true; again;) {
        again = posted || job_count || alarm_ns <= gr_now_ns();
        fake_run_posts();
        if (job_count && !jobs[job_count - 1].worked)
            run_job(job_count - 1);
        if (job_count && jobs[job_count - 1].worked)
            run_job(job_count - 1);
        if (alarm_ns <= gr_now_ns())
            run_alarm();
    }
}

struct fake_call *fake_start_as(const char *method, const char *target, const char *json,
                                struct api_peer peer, const char *header, const char *value)
{
    struct fake_call *fake = calloc(1, sizeof *fake);
    size_t headers = 0;
    fake->headers[headers++] = (struct api_header){"Host", "localhost:7"};
    if (json)
        fake->headers[headers++] = (struct api_header){"Content-Type", "application/json"};
    if (header) /* first, so that it beats the usual one of its name */
        fake->headers[headers++] = (struct api_header){header, value};
    if (header) {
        struct api_header usual = fake->headers[0];
        fake->headers[0] = fake->headers[headers - 1];
        fake->headers[headers - 1] = usual;
    }
    fake->call.api = fake_api;
    fake->call.host_ctx = fake;
    fake->call.client = fake_client;
    fake->call.request = (struct api_request){
        .method = method,
        .target = target,
        .target_bytes = strlen(target),
        .headers = fake->headers,
        .header_count = headers,
        .body = json,
        .body_bytes = json ? strlen(json) : 0,
        .peer = peer,
        .parsed_ns = gr_now_ns(),
    };
    api_call_start(&fake->call);
    return fake;
}

struct fake_call *fake_start(const char *method, const char *target, const char *json)
{
    return fake_start_as(method, target, json, (struct api_peer){.uid = 7}, NULL, NULL);
}

void fake_finish(struct fake_call *fake, bool delivered)
{
    assert_true(fake->replied);
    api_call_finish(&fake->call, delivered);
    free(fake->body);
    free(fake);
}

int fake_ask(const char *method, const char *target, const char *json, json_t **out)
{
    struct fake_call *fake = fake_start(method, target, json);
    fake_run();
    assert_true(fake->replied);
    int status = fake->call.reply.status;
    if (out)
        *out = json_loads(fake->body, 0, NULL);
    fake_finish(fake, true);
    return status;
}

const char *fake_code(const json_t *problem)
{
    const char *code = json_string_value(json_object_get(problem, "code"));
    return code ? code : "";
}
