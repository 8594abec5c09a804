/*
 * setup.h: what graspd and gr_serve both decide before the loop starts: paths and tokens.
 */
#ifndef SRV_SETUP_H
#define SRV_SETUP_H

#include "server.h"

/* The path of a socket of ours in a directory that only we can write, or in /tmp. malloc'ed. */
char *srv_default_unix(const char *name);
/* Makes the path of gdb's socket absolute: clients elsewhere are told it. 0 or -ENOMEM. */
int srv_setup_gdb(struct srv_server *server);
/* Tokens for TCP: from the file, else from the state directory, else a new one that is printed to
 * stderr. */
int srv_setup_tokens(struct srv_server *server, char *err, size_t err_bytes);
/* Whether a start with this configuration would come as far as the runtime: the token file, addresses, the group and
 * the module directory are looked at, nothing is made or listened on. */
int srv_setup_check(struct srv_server *server, char *err, size_t err_bytes);
/* Reads the token file again and opens the audit log anew. Loop thread. */
void srv_reload(struct srv_server *server);

#endif
