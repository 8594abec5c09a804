/*
 * pprof_sink.c: see pprof_sink.h.
 */
#include "pprof_sink.h"

#include <string.h>

#include "internal.h"
#include "pprof_text.h"

bool api_sink_choose(struct api_call *call, enum api_sink_form *form)
{
    static const char *const names[] = {"proto", "text", "folded", "svg"};
    const char *name = api_param(call, "format"), *debug = api_param(call, "debug");
    *form = debug && strcmp(debug, "0") && *debug ? API_SINK_TEXT : API_SINK_PROTO;
    if (!name)
        return true;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) {
            *form = (enum api_sink_form)i;
            return true;
        }
    api_problem(call, 400, API_CODE_BAD_REQUEST,
                "parameter format must be one of proto, text, folded and svg");
    return false;
}

bool api_sink_open(struct api_sink *sink, enum api_sink_form form, const char *name,
                   const struct api_pprof_type *types, size_t type_count,
                   const struct api_pprof_type *period_type, int64_t period)
{
    *sink = (struct api_sink){.form = form,
                              .name = name,
                              .began_realtime_ns = api_realtime_ns(),
                              .began_ns = gr_now_ns()};
    if (form == API_SINK_PROTO)
        sink->pprof = api_pprof_create(types, type_count, period_type, period);
    return form != API_SINK_PROTO || sink->pprof;
}

void api_sink_add(struct api_sink *sink, const struct api_stack *stack)
{
    if (sink->form == API_SINK_PROTO)
        api_pprof_add(sink->pprof, stack);
    else if (sink->form == API_SINK_TEXT)
        api_alike_add(&sink->tally, &sink->scratch, stack);
    else
        api_folded_add(&sink->tally, &sink->scratch, stack);
}

static void put_head(const struct api_sink *sink, struct api_call *call)
{
    static const char *const types[] = {"application/octet-stream", API_TYPE_TEXT, API_TYPE_TEXT,
                                        "image/svg+xml"};
    call->reply.status = 200;
    call->reply.content_type = types[sink->form];
    if (sink->form == API_SINK_PROTO)
        api_buf_printf(&call->reply.headers,
                       "Content-Disposition: attachment; filename=\"%s.pb.gz\"\r\n", sink->name);
}

void api_sink_reply_head(const struct api_sink *sink, struct api_call *call)
{
    put_head(sink, call);
    call->reply.streaming = true; /* of a length that nobody knows */
}

void api_sink_reply(struct api_sink *sink, struct api_call *call, const char *title)
{
    struct api_buf *out = &call->reply.body;
    put_head(sink, call);
    if (sink->form == API_SINK_PROTO) {
        api_pprof_end(sink->pprof, sink->began_realtime_ns, gr_now_ns() - sink->began_ns, out);
        sink->pprof = NULL;
    } else if (sink->form == API_SINK_TEXT) {
        char heading[64];
        snprintf(heading, sizeof heading, "%s profile", sink->name);
        api_alike_write(&sink->tally, heading, out);
    } else if (sink->form == API_SINK_FOLDED) {
        api_folded_write(&sink->tally, out);
    } else {
        api_flame_write(&sink->tally, title, "samples", out);
    }
    if (out->failed) {
        api_buf_clear(&call->reply.headers);
        api_problem_no_memory(call);
    }
}

void api_sink_close(struct api_sink *sink)
{
    api_pprof_destroy(sink->pprof);
    api_tally_free(&sink->tally);
    api_buf_free(&sink->scratch);
    *sink = (struct api_sink){0};
}
