/*
 * dashboard.c: the static files of the dashboard, which are part of the program.
 *
 * They were bundled from clients/dashboard/src and are committed as built, so that building Grasp
 * needs no Node; the assembler takes them in as they are (dashboard_files.S). Rejected: reading them
 * from a directory at run time, one more path to find and to guard.
 *
 * They hold nothing secret and are served without a token: the page reads the token from its
 * fragment, which no server sees. The policy lets a page load scripts, styles and data from this
 * daemon only, and lets nobody frame it.
 */
#include "internal.h"

#include <string.h>

#define POLICY                                                                                     \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "              \
    "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"

extern const char api_dashboard_html[], api_dashboard_html_end[];
extern const char api_dashboard_js[], api_dashboard_js_end[];
extern const char api_dashboard_css[], api_dashboard_css_end[];

static const struct file {
    const char *name; /* "" is the root */
    const char *type;
    const char *begin, *end;
} files[] = {
    {"", "text/html; charset=utf-8", api_dashboard_html, api_dashboard_html_end},
    {"app.js", "text/javascript; charset=utf-8", api_dashboard_js, api_dashboard_js_end},
    {"style.css", "text/css; charset=utf-8", api_dashboard_css, api_dashboard_css_end},
};

static const struct file *find(const struct api_target *target)
{
    const char *name = target->root ? "" : target->segment[0];
    if (!target->root && target->segment_count != 1)
        return NULL;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

bool api_dashboard_has(const struct api_target *target)
{
    return find(target) != NULL;
}

void api_handle_dashboard(struct api_call *call)
{
    const struct file *file = find(&call->target);
    call->reply.status = 200;
    call->reply.content_type = file->type;
    api_buf_str(&call->reply.headers, POLICY);
    api_buf_add(&call->reply.body, file->begin, (size_t)(file->end - file->begin));
    api_call_done(call);
}
