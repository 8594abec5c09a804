/*
 * gdb.h: gdb's remote protocol over goroutines that stand still.
 *
 * Bytes in, bytes out; whoever has the connection moves them. The goroutines of a session are gdb's
 * threads. Registers are those of the stop, memory is this process's own, read by the kernel, so
 * that a wild address is an error and not a fault. Nothing can be written, and nothing run: the
 * rest of the process goes on all the while, so there is no moment in which gdb could single-step,
 * and a break-point would stop the daemon. Each refusal says so.
 *
 * The link map needs no help of ours: gdb follows it through memory, from the auxiliary vector on.
 * Telling it (qXfer:libraries-svr4) would take the dynamic linker's lock, which a goroutine that
 * stands still in a dl_iterate_phdr call-back may hold.
 *
 *   I1  A session holds its goroutines from its creation to its destruction.
 *   I2  What comes in is answered in order, and never waits for anybody.
 *
 * Loop thread.
 */
#ifndef SRV_GDB_H
#define SRV_GDB_H

#include <stdbool.h>
#include <stddef.h>

#include "api.h"
#include "gdb_packet.h"

struct api_gdb;
struct srv_gdb;

/* Takes the holds over. held NULL: a session that only tells gdb why, with `refusal`. NULL: out of
 * memory, and the holds stay the caller's. */
struct srv_gdb *srv_gdb_create(struct api_gdb *held, const char *refusal);
/* Releases them. NULL does nothing. */
void srv_gdb_destroy(struct srv_gdb *gdb);
size_t srv_gdb_count(const struct srv_gdb *gdb);
/* Appends the answers to `out`. False: the session is over once they are sent. */
bool srv_gdb_feed(struct srv_gdb *gdb, const char *bytes, size_t size, struct api_buf *out);

#endif
