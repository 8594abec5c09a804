/*
 * gdb.c: see gdb.h. One function a packet, found by its first letters in a table.
 */
#include "gdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "gdb_holds.h"

#define READ_ONLY                                                                                  \
    "E.held goroutines are for looking at: nothing can be written or run; detach lets them go on"

struct srv_gdb {
    struct api_gdb *held; /* NULL: `refusal` says why */
    char refusal[256];
    size_t current; /* what g and m are about */
    bool no_ack, over;
    struct srv_gdb_reader reader;
    struct api_buf reply;    /* the packet that is being answered */
    struct api_buf last;     /* the last answer as framed, for a '-' */
    struct api_buf document; /* the one that qXfer reads */
    char document_name[32];
    size_t listed; /* qfThreadInfo, qsThreadInfo */
    struct gr_copy copy;
    uint8_t bytes[GR_GDB_BYTES_MAX], valid[GR_GDB_BYTES_MAX];
};

struct srv_gdb *srv_gdb_create(struct api_gdb *held, const char *refusal)
{
    struct srv_gdb *gdb = calloc(1, sizeof *gdb);
    if (!gdb)
        return NULL;
    gdb->copy.stack_capacity = 16; /* gdb reads the stack by itself */
    gdb->copy.vector_capacity = gr_copy_vector_bytes_max();
    gdb->copy.stack = malloc(gdb->copy.stack_capacity);
    gdb->copy.vectors = malloc(gdb->copy.vector_capacity);
    if (!gdb->copy.stack || !gdb->copy.vectors) {
        srv_gdb_destroy(gdb);
        return NULL;
    }
    gdb->held = held;
    snprintf(gdb->refusal, sizeof gdb->refusal, "%s", refusal ? refusal : "");
    return gdb;
}

void srv_gdb_destroy(struct srv_gdb *gdb)
{
    if (!gdb)
        return;
    api_gdb_release(gdb->held);
    free(gdb->copy.stack);
    free(gdb->copy.vectors);
    api_buf_free(&gdb->reply);
    api_buf_free(&gdb->last);
    api_buf_free(&gdb->document);
    free(gdb);
}

size_t srv_gdb_count(const struct srv_gdb *gdb)
{
    return gdb->held ? gdb->held->count : 0;
}

static void say(struct srv_gdb *gdb, const char *text)
{
    api_buf_str(&gdb->reply, text);
}

static uint64_t thread_id(const struct srv_gdb *gdb, size_t index)
{
    return gdb->held->member[index].hold.id;
}

/* "1f" at *at, or "0" (any) and "-1" (all), which stand for the current one. -1: there is no such. */
static long find_thread(const struct srv_gdb *gdb, const char **at)
{
    uint64_t id;
    if (strncmp(*at, "-1", 2) == 0)
        return (long)gdb->current;
    if (!srv_gdb_number(at, &id))
        return -1;
    if (id == 0)
        return (long)gdb->current;
    for (size_t i = 0; i < srv_gdb_count(gdb); i++)
        if (thread_id(gdb, i) == id)
            return (long)i;
    return -1;
}

/* ---- Documents ------------------------------------------------------------------------------- */

static void add_xml(struct api_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c > 0x7e)
            api_buf_str(out, "?");
        else if (strchr("<>&\"", c))
            api_buf_printf(out, "&#%u;", c);
        else
            api_buf_add(out, text, 1);
    }
}

static void write_threads(struct srv_gdb *gdb, struct api_buf *out)
{
    api_buf_str(out, "<?xml version=\"1.0\"?><threads>");
    for (size_t i = 0; i < srv_gdb_count(gdb); i++) {
        struct gr_info info;
        api_buf_printf(out, "<thread id=\"%llx\"", (unsigned long long)thread_id(gdb, i));
        if (gr_info(thread_id(gdb, i), &info) == 0) {
            api_buf_str(out, " name=\"");
            add_xml(out, info.name[0] ? info.name : info.entry);
            api_buf_printf(out, "\">goroutine %llu ", (unsigned long long)info.id);
            add_xml(out, info.module);
            api_buf_str(out, info.entry[0] ? "/" : "");
            add_xml(out, info.entry);
            api_buf_printf(out, ", %s%s", gr_state_name(info.state),
                           info.wait_reason[0] ? ": " : "");
            add_xml(out, info.wait_reason);
            api_buf_str(out, "</thread>");
        } else {
            api_buf_str(out, "/>");
        }
    }
    api_buf_str(out, "</threads>");
}

static void write_description(struct srv_gdb *gdb, struct api_buf *out)
{
    size_t size = gr_gdb_description(NULL, 0) + 1;
    char *text = malloc(size);
    if (text)
        gr_gdb_description(text, size);
    api_buf_str(out, text ? text : "");
    free(text);
}

static void write_auxv(struct srv_gdb *gdb, struct api_buf *out)
{
    char bytes[4096];
    int fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (size > 0)
        api_buf_add(out, bytes, (size_t)size);
    if (fd >= 0)
        close(fd);
}

static void write_exec_file(struct srv_gdb *gdb, struct api_buf *out)
{
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    if (size > 0)
        api_buf_add(out, path, (size_t)size);
}

static const struct document {
    const char *name;
    void (*write)(struct srv_gdb *gdb, struct api_buf *out);
} documents[] = {
    {"features:read:target.xml", write_description},
    {"threads:read:", write_threads},
    {"auxv:read:", write_auxv},
    {"exec-file:read:", write_exec_file},
};

/* "NAME:OFFSET,LENGTH": made when it is read from its beginning. */
static void on_xfer(struct srv_gdb *gdb, const char *at)
{
    const struct document *document = NULL;
    const char *place = strrchr(at, ':');
    uint64_t offset, length;
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
        if (strncmp(at, documents[i].name, strlen(documents[i].name)) == 0)
            document = &documents[i];
    if (!document)
        return; /* the empty answer: it is not known here */
    if (!place++ || !srv_gdb_number(&place, &offset) || *place++ != ',' ||
        !srv_gdb_number(&place, &length)) {
        say(gdb, "E01");
        return;
    }
    if (offset == 0 || strcmp(gdb->document_name, document->name) != 0) {
        api_buf_clear(&gdb->document);
        document->write(gdb, &gdb->document);
        snprintf(gdb->document_name, sizeof gdb->document_name, "%s", document->name);
    }
    if (offset >= gdb->document.size) {
        say(gdb, "l");
        return;
    }
    /* Half, since every byte may need its escape. */
    uint64_t left = gdb->document.size - offset, most = SRV_GDB_PACKET_BYTES / 2 - 8;
    length = length < most ? length : most;
    say(gdb, left > length ? "m" : "l");
    srv_gdb_binary(&gdb->reply, gdb->document.data + offset, left > length ? length : left);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void add_thread_list(struct srv_gdb *gdb)
{
    size_t count = srv_gdb_count(gdb);
    if (gdb->listed == count) {
        say(gdb, "l");
        return;
    }
    for (bool first = true; gdb->listed < count && gdb->reply.size < SRV_GDB_PACKET_BYTES - 32;
         first = false)
        api_buf_printf(&gdb->reply, "%s%llx", first ? "m" : ",",
                       (unsigned long long)thread_id(gdb, gdb->listed++));
}

static void on_first_threads(struct srv_gdb *gdb, const char *at)
{
    gdb->listed = 0;
    add_thread_list(gdb);
}

static void on_next_threads(struct srv_gdb *gdb, const char *at)
{
    add_thread_list(gdb);
}

static void on_current(struct srv_gdb *gdb, const char *at)
{
    if (gdb->held && !*at)
        api_buf_printf(&gdb->reply, "QC%llx", (unsigned long long)thread_id(gdb, gdb->current));
}

static void on_stopped(struct srv_gdb *gdb, const char *at)
{
    if (gdb->held)
        api_buf_printf(&gdb->reply, "T05thread:%llx;",
                       (unsigned long long)thread_id(gdb, gdb->current));
    else
        say(gdb, "W00");
}

static void on_select(struct srv_gdb *gdb, const char *at)
{
    bool for_registers = *at == 'g';
    const char *id = *at ? at + 1 : at;
    long index = find_thread(gdb, &id);
    if (index < 0) {
        say(gdb, "E01");
        return;
    }
    if (for_registers)
        gdb->current = (size_t)index;
    say(gdb, "OK");
}

static void on_alive(struct srv_gdb *gdb, const char *at)
{
    say(gdb, find_thread(gdb, &at) >= 0 ? "OK" : "E01");
}

/* ---- Registers and memory -------------------------------------------------------------------- */

static void on_registers(struct srv_gdb *gdb, const char *at)
{
    if (!gdb->held || gr_copy_held(&gdb->held->member[gdb->current].hold, &gdb->copy)) {
        say(gdb, "E01");
        return;
    }
    size_t size = gr_gdb_registers(&gdb->copy, gdb->bytes, gdb->valid);
    for (size_t i = 0; i < size; i++) {
        if (gdb->valid[i])
            srv_gdb_hex(&gdb->reply, &gdb->bytes[i], 1);
        else
            say(gdb, "xx");
    }
}

/* "ADDRESS,LENGTH". What the program would see: also where the runtime keeps return addresses. */
static void on_memory(struct srv_gdb *gdb, const char *at)
{
    unsigned char bytes[SRV_GDB_PACKET_BYTES / 2 - 8];
    uint64_t address, length;
    if (!srv_gdb_number(&at, &address) || *at++ != ',' || !srv_gdb_number(&at, &length)) {
        say(gdb, "E01");
        return;
    }
    length = length < sizeof bytes ? length : sizeof bytes;
    size_t size = gdb->held ? gr_memory_read(address, bytes, length) : 0;
    if (size == 0) {
        say(gdb, "E14");
        return;
    }
    for (size_t i = 0; i < srv_gdb_count(gdb); i++)
        gr_held_patch(&gdb->held->member[i].hold, address, bytes, size);
    srv_gdb_hex(&gdb->reply, bytes, size);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void on_write(struct srv_gdb *gdb, const char *at)
{
    say(gdb, READ_ONLY);
}

/* A sentence for gdb's console, then an error, which gdb takes as "it did not run". */
static void on_resume(struct srv_gdb *gdb, const char *at)
{
    static const char text[] = "grasp: held goroutines can't be continued or stepped from gdb, the "
                               "others run on all the while; detach lets them go on\n";
    struct api_buf console = {0};
    api_buf_str(&console, "O");
    srv_gdb_hex(&console, text, sizeof text - 1);
    srv_gdb_frame(&gdb->last, console.data, console.size);
    api_buf_free(&console);
    say(gdb, "E01");
}

/* ---- The rest -------------------------------------------------------------------------------- */

static void on_supported(struct srv_gdb *gdb, const char *at)
{
    if (gdb->held)
        api_buf_printf(&gdb->reply,
                       "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
                       "qXfer:auxv:read+;qXfer:exec-file:read+",
                       SRV_GDB_PACKET_BYTES);
    else
        api_buf_printf(&gdb->reply, "E.%s", gdb->refusal);
}

static void on_no_ack(struct srv_gdb *gdb, const char *at)
{
    gdb->no_ack = true;
    say(gdb, "OK");
}

static void on_attached(struct srv_gdb *gdb, const char *at)
{
    say(gdb, "1"); /* so that gdb detaches when it ends, and does not kill */
}

static void on_symbol(struct srv_gdb *gdb, const char *at)
{
    say(gdb, "OK");
}

/* Detach and kill mean the same here: the goroutines go on. */
static void on_detach(struct srv_gdb *gdb, const char *at)
{
    gdb->over = true;
    say(gdb, "OK");
}

static void on_monitor(struct srv_gdb *gdb, const char *at)
{
    struct api_buf text = {0};
    if (strncmp(at, "676f726f7574696e6573", 20) == 0) { /* "goroutines" */
        for (size_t i = 0; i < srv_gdb_count(gdb); i++) {
            struct gr_info info;
            if (gr_info(thread_id(gdb, i), &info) == 0)
                api_buf_printf(&text, "%8llu  %-10s %-16s %s\n", (unsigned long long)info.id,
                               gr_state_name(info.state), info.wait_reason, info.name);
        }
    } else {
        api_buf_str(&text, "monitor goroutines: those that this session holds\n");
    }
    srv_gdb_hex(&gdb->reply, text.data, text.size);
    if (!gdb->reply.size)
        say(gdb, "OK");
    api_buf_free(&text);
}

static const struct command {
    const char *name;
    void (*fn)(struct srv_gdb *gdb, const char *arguments);
} commands[] = {
    {"qSupported", on_supported},
    {"QStartNoAckMode", on_no_ack},
    {"qXfer:", on_xfer},
    {"qfThreadInfo", on_first_threads},
    {"qsThreadInfo", on_next_threads},
    {"qC", on_current}, /* and not qCRC */
    {"qAttached", on_attached},
    {"qSymbol", on_symbol},
    {"qRcmd,", on_monitor},
    {"vKill", on_detach},
    {"?", on_stopped},
    {"H", on_select},
    {"T", on_alive},
    {"g", on_registers},
    {"m", on_memory},
    {"D", on_detach},
    {"k", on_detach},
    {"G", on_write},
    {"P", on_write},
    {"M", on_write},
    {"X", on_write},
    {"Z", on_write},
    {"z", on_write},
    {"c", on_resume},
    {"C", on_resume},
    {"s", on_resume},
    {"S", on_resume},
};

/* What is not in the table gets the empty answer, which says "not known". */
static void answer(struct srv_gdb *gdb)
{
    const char *packet = gdb->reader.data;
    api_buf_clear(&gdb->reply);
    api_buf_clear(&gdb->last);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        size_t size = strlen(commands[i].name);
        if (strncmp(packet, commands[i].name, size) == 0) {
            commands[i].fn(gdb, packet + size);
            break;
        }
    }
    srv_gdb_frame(&gdb->last, gdb->reply.data, gdb->reply.size);
}

bool srv_gdb_feed(struct srv_gdb *gdb, const char *bytes, size_t size, struct api_buf *out)
{
    while (size > 0 && !gdb->over) { /* each turn consumes a byte */
        size_t used;
        enum srv_gdb_event event = srv_gdb_read(&gdb->reader, bytes, size, &used);
        bytes += used;
        size -= used;
        if (event == SRV_GDB_PACKET || (event == SRV_GDB_BROKEN && gdb->no_ack)) {
            if (!gdb->no_ack)
                api_buf_str(out, "+");
            answer(gdb);
            api_buf_add(out, gdb->last.data, gdb->last.size);
        } else if (event == SRV_GDB_BROKEN) {
            api_buf_str(out, "-");
        } else if (event == SRV_GDB_AGAIN && !gdb->no_ack) {
            api_buf_add(out, gdb->last.data, gdb->last.size);
        } else if (event == SRV_GDB_TOO_LONG) {
            gdb->over = true;
        }
    }
    return !gdb->over && !out->failed && !gdb->reply.failed && !gdb->last.failed;
}
