/*
 * audit.c: see audit.h.
 */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define FLUSH_TURNS_MAX 1000 /* of the loop; connections that end meanwhile take some */

/* Whether the file ends within a line, which a crash or a full disk has cut. */
static bool is_torn(int fd, off_t size)
{
    char last = '\n';
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static int open_file(struct srv_audit *audit)
{
    struct stat st;
    int fd = open(audit->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        close(fd);
        return -EACCES;
    }
    audit->torn = is_torn(fd, st.st_size);
    audit->reopened = audit->busy;
    if (audit->fd < 0) {
        audit->fd = fd;
        return 0;
    }
    /* The number stays: the pool may be about to write to it, and either file is right. */
    int err = dup3(fd, audit->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return err;
}

int srv_audit_init(struct srv_audit *audit, uv_loop_t *loop, const char *state_dir)
{
    audit->loop = loop;
    audit->fd = -1;
    audit->request.data = audit;
    if (!state_dir)
        return 0;
    if (asprintf(&audit->path, "%s/audit.jsonl", state_dir) < 0)
        return -ENOMEM;
    return open_file(audit);
}

static void lost(size_t size, int err)
{
    srv_log(SRV_ERROR, "audit-lost", "bytes=%zu reason=\"%s\"", size, strerror(-err));
}

static void start(struct srv_audit *audit);

static void on_written(uv_fs_t *request)
{
    struct srv_audit *audit = request->data;
    ssize_t result = request->result;
    uv_fs_req_cleanup(request);
    request->data = audit;
    audit->busy = false;
    if (result > 0 && audit->mending) {
        audit->torn = false;
        result--;
    }
    if (result > 0)
        audit->torn = audit->writing.data[result - 1] != '\n';
    if (audit->reopened) {
        struct stat st;
        audit->reopened = false;
        audit->torn = fstat(audit->fd, &st) == 0 && is_torn(audit->fd, st.st_size);
    }
    if (result < 0 || (size_t)result < audit->writing.size)
        lost(audit->writing.size - (result > 0 ? (size_t)result : 0),
             result < 0 ? (int)result : -ENOSPC);
    api_buf_clear(&audit->writing);
    start(audit);
}

/* I1. */
static void start(struct srv_audit *audit)
{
    if (audit->busy || !audit->next.size)
        return;
    struct api_buf swap = audit->writing;
    audit->writing = audit->next;
    audit->next = swap;
    audit->busy = true;
    audit->mending = audit->torn;
    uv_buf_t bufs[] = {uv_buf_init("\n", 1),
                       uv_buf_init(audit->writing.data, (unsigned)audit->writing.size)};
    uv_buf_t *from = audit->mending ? bufs : bufs + 1;
    int err = uv_fs_write(audit->loop, &audit->request, audit->fd, from,
                          (unsigned)(bufs + 2 - from), -1, on_written);
    if (err) {
        audit->busy = false;
        lost(audit->writing.size, err);
        api_buf_clear(&audit->writing);
    }
}

void srv_audit_line(struct srv_audit *audit, const char *line, size_t size)
{
    if (!audit->path) {
        srv_log(SRV_INFO, "audit", "%.*s", (int)size, line);
        return;
    }
    size_t before = audit->next.size;
    api_buf_add(&audit->next, line, size);
    api_buf_add(&audit->next, "\n", 1);
    if (audit->next.failed) {
        lost(before + size, -ENOMEM);
        api_buf_free(&audit->next);
    }
    start(audit);
}

void srv_audit_reopen(struct srv_audit *audit)
{
    int err = audit->path ? open_file(audit) : 0;
    if (err)
        srv_log(SRV_ERROR, "audit-not-reopened", "path=%s reason=\"%s\"", audit->path,
                strerror(-err));
}

void srv_audit_flush(struct srv_audit *audit)
{
    /* One write for what the pool has, one for what came meanwhile. */
    for (unsigned turns = 0; audit->busy && turns < FLUSH_TURNS_MAX; turns++)
        uv_run(audit->loop, UV_RUN_ONCE);
}
