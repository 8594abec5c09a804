/*
 * fake_inspect.c: the inspector, for tests of the API: every goroutine stands in the same two frames.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/inspect.h>
#include <grasp/profile.h>
#include <grasp/trace.h>

ssize_t gr_unwind(const struct gr_copy *copy, struct gr_frame *frames, size_t max, bool *truncated)
{
    frames[0] = (struct gr_frame){
        .pc = 0x1000, .offset = 4, .line = 12, .function = "loop", .file = "a.c", .module = "mod"};
    frames[1] = (struct gr_frame){.pc = 0x2000};
    *truncated = false;
    return 2;
}

void gr_symbolise(uint64_t pc, bool exact, struct gr_frame *frame)
{
    *frame = (struct gr_frame){.pc = pc, .function = "somewhere", .module = "mod"};
}

uint64_t gr_text_version(uint64_t pc)
{
    return 0;
}

size_t gr_inspect_bytes(void)
{
    return 4096;
}

/* One that runs does not stop in time. */
int gr_hold_wait(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns)
{
    int result = gr_hold_start(hold, id, 0, NULL, NULL);
    return result == GR_HOLD_STOPPED ? 0 : result;
}

/* A profile records goroutine 1 once at each drain. */
static bool profiling;
static unsigned drains;

int gr_profile_start(unsigned hz)
{
    if (profiling)
        return -EBUSY;
    profiling = true;
    drains = 0;
    return 0;
}

void gr_profile_drain(gr_profile_fn *fn, void *arg)
{
    struct gr_copy copy = {.id = 1};
    drains++;
    fn(arg, &copy, 2);
}

void gr_profile_stop(struct gr_profile_stats *stats)
{
    profiling = false;
    if (stats)
        *stats = (struct gr_profile_stats){.records = drains};
}

/* A core is its goroutines' ids. */
struct gr_core {
    char text[256];
    size_t size, at;
};

struct gr_core *gr_core_open(const struct gr_copy *const *copies, size_t count, unsigned flags)
{
    struct gr_core *core = calloc(1, sizeof *core);
    for (size_t i = 0; i < count; i++)
        core->size += (size_t)snprintf(core->text + core->size, sizeof core->text - core->size,
                                       "%llu ", (unsigned long long)copies[i]->id);
    core->size += (size_t)snprintf(core->text + core->size, sizeof core->text - core->size,
                                   "flags %u", flags);
    return core;
}

size_t gr_core_read(struct gr_core *core, void *to, size_t bytes)
{
    size_t part = core->size - core->at < bytes ? core->size - core->at : bytes;
    memcpy(to, core->text + core->at, part);
    core->at += part;
    return part;
}

void gr_core_close(struct gr_core *core)
{
    free(core);
}

/* A trace is what a test has put here. */
const struct gr_trace_record *fake_trace;
size_t fake_trace_count;
static bool tracing;

int gr_trace_start(size_t records)
{
    if (tracing)
        return -EBUSY;
    tracing = true;
    return 0;
}

void gr_trace_stop(void)
{
    tracing = false;
}

uint64_t gr_trace_each(gr_trace_fn *fn, void *arg)
{
    for (size_t i = 0; i < fake_trace_count; i++)
        fn(arg, &fake_trace[i]);
    return 3;
}

void gr_trace_free(void)
{
}

const char *gr_trace_reason(unsigned detail)
{
    return detail == 1 ? "chan send" : "sleep";
}
