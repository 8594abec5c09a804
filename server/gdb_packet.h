/*
 * gdb_packet.h: the frame of gdb's remote protocol: $data#sum, acknowledged by + and - until both
 * sides agree not to.
 */
#ifndef SRV_GDB_PACKET_H
#define SRV_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define SRV_GDB_PACKET_BYTES 16384 /* told to gdb; a longer packet ends the session */

enum srv_gdb_event {
    SRV_GDB_MORE,   /* all bytes consumed */
    SRV_GDB_PACKET, /* one is complete, in data and size */
    SRV_GDB_BROKEN, /* one was damaged: it wants another */
    SRV_GDB_AGAIN,  /* the last answer was damaged */
    SRV_GDB_TOO_LONG,
};

struct srv_gdb_reader {
    enum { GDB_IDLE, GDB_DATA, GDB_SUM_HIGH, GDB_SUM_LOW } state;
    unsigned sum, told;
    size_t size;
    char data[SRV_GDB_PACKET_BYTES + 1]; /* ended with a 0 */
};

/* Consumes bytes up to and with the first event's. */
enum srv_gdb_event srv_gdb_read(struct srv_gdb_reader *reader, const char *bytes, size_t size,
                                size_t *used);
/* Appends a frame around `data`. */
void srv_gdb_frame(struct api_buf *out, const char *data, size_t size);
void srv_gdb_hex(struct api_buf *out, const void *bytes, size_t size);
/* Appends bytes with the protocol's escapes. */
void srv_gdb_binary(struct api_buf *out, const char *bytes, size_t size);
/* Reads a hexadecimal number and goes behind it; false: there is none, or it is too large. */
bool srv_gdb_number(const char **at, uint64_t *value);
int srv_gdb_digit(char c);

#endif
