/*
 * gdb_holds.h: the goroutines that a gdb session holds.
 *
 * GET /v1/gdb with "Upgrade: gdb-remote" turns its connection into gdb's remote protocol. The API
 * decides who may and which goroutines, and holds them; the host (server/gdb.c) speaks the protocol
 * and owns the holds from the 101 on. They have no lease: the connection is the lease.
 *
 * Loop thread, but for what says otherwise.
 */
#ifndef API_GDB_HOLDS_H
#define API_GDB_HOLDS_H

#include <grasp/runtime.h>

#include "wire.h"

struct api_gdb_member {
    struct gr_hold hold; /* STOPPED while the session lasts */
};

struct api_gdb {
    size_t count;
    struct api_gdb_member member[];
};

/* Releases what is held and frees it. NULL does nothing. */
void api_gdb_release(struct api_gdb *gdb);

#endif
