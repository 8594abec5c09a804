/*
 * audit.h: where the audit log's lines go.
 *
 * With a state directory: to STATE/audit.jsonl, one JSON object a line, 0600, only ever appended
 * to. Without one: to the log, as event=audit. Lines are collected and written by the pool in one
 * write after the other, since the loop waits for no disk; SIGHUP opens the file anew, for whoever
 * rotates it. A line that cannot be written is reported in the log and lost: refusing all mutations
 * because a disk is full would also refuse the releases. Of one that was cut by that, or by a crash, the next does not become a part.
 *
 *   I1  At most one write is under way; its bytes are in `writing`, what comes meanwhile in `next`.
 */
#ifndef SRV_AUDIT_H
#define SRV_AUDIT_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "buffer.h"

struct srv_audit {
    uv_loop_t *loop;
    char *path; /* NULL: to the log */
    int fd;     /* -1: not open */
    uv_fs_t request;
    struct api_buf writing, next;
    bool busy;
    bool torn;    /* the file ends within a line, so that a new one has to begin */
    bool mending; /* the write that is under way begins one */
    bool reopened; /* since that began, which tells nothing of the file's end then */
};

/* 0 or negative errno. state_dir may be NULL. */
int srv_audit_init(struct srv_audit *audit, uv_loop_t *loop, const char *state_dir);
/* Loop thread. */
void srv_audit_line(struct srv_audit *audit, const char *line, size_t size);
/* Opens the file anew: lines from now on go to whatever has its name. */
void srv_audit_reopen(struct srv_audit *audit);
/* Until all is written; runs the loop itself, when nobody else does any more. */
void srv_audit_flush(struct srv_audit *audit);

#endif
