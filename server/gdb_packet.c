/*
 * gdb_packet.c: see gdb_packet.h.
 */
#include "gdb_packet.h"

#include <string.h>

int srv_gdb_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of a packet; MORE unless it was the last one. */
static enum srv_gdb_event take(struct srv_gdb_reader *reader, char c)
{
    switch (reader->state) {
    case GDB_IDLE:
        if (c == '$') {
            reader->state = GDB_DATA;
            reader->sum = 0;
            reader->size = 0;
        }
        /* '+' is expected and says nothing; 3 is gdb's interrupt, and nothing runs here. */
        return c == '-' ? SRV_GDB_AGAIN : SRV_GDB_MORE;
    case GDB_DATA:
        if (c == '#') {
            reader->data[reader->size] = 0;
            reader->state = GDB_SUM_HIGH;
            return SRV_GDB_MORE;
        }
        if (reader->size == SRV_GDB_PACKET_BYTES)
            return SRV_GDB_TOO_LONG;
        reader->data[reader->size++] = c;
        reader->sum += (unsigned char)c;
        return SRV_GDB_MORE;
    case GDB_SUM_HIGH:
        reader->told = (unsigned)(srv_gdb_digit(c) & 15) << 4;
        reader->state = GDB_SUM_LOW;
        return SRV_GDB_MORE;
    default:
        reader->told |= (unsigned)(srv_gdb_digit(c) & 15);
        reader->state = GDB_IDLE;
        return reader->told == (reader->sum & 255) ? SRV_GDB_PACKET : SRV_GDB_BROKEN;
    }
}

enum srv_gdb_event srv_gdb_read(struct srv_gdb_reader *reader, const char *bytes, size_t size,
                                size_t *used)
{
    enum srv_gdb_event event = SRV_GDB_MORE;
    *used = 0;
    while (*used < size && event == SRV_GDB_MORE)
        event = take(reader, bytes[(*used)++]);
    return event;
}

void srv_gdb_frame(struct api_buf *out, const char *data, size_t size)
{
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += (unsigned char)data[i];
    api_buf_add(out, "$", 1);
    api_buf_add(out, data, size);
    api_buf_printf(out, "#%02x", sum & 255);
}

void srv_gdb_hex(struct api_buf *out, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        char pair[2] = {digits[at[i] >> 4], digits[at[i] & 15]};
        api_buf_add(out, pair, 2);
    }
}

void srv_gdb_binary(struct api_buf *out, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char escaped[2] = {'}', (char)(bytes[i] ^ 0x20)};
        if (memchr("}#$*", bytes[i], 4))
            api_buf_add(out, escaped, 2);
        else
            api_buf_add(out, &bytes[i], 1);
    }
}

bool srv_gdb_number(const char **at, uint64_t *value)
{
    const char *begin = *at;
    *value = 0;
    for (int digit; (digit = srv_gdb_digit(**at)) >= 0; ++*at) {
        if (*at - begin == 16)
            return false;
        *value = *value << 4 | (unsigned)digit;
    }
    return *at > begin;
}
