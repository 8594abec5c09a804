/*
 * place.h: finding the daemon, so that nobody has to say where it is.
 *
 * The first of these that names a place wins: flags, environment (GRASP_SOCKET, GRASP_URL), the config file
 * (~/.config/grasp/config.json), the sockets that graspd and run.sh make by default. A Unix socket wins
 * over a URL of the same level.
 *
 *   I1  A token goes only where it belongs: one from the config file only to the config file's URL.
 *   I2  A socket that nobody named is used only if the peer is the caller's own user or root: /tmp is
 *       everybody's.
 */
#ifndef CLIENTS_PLACE_H
#define CLIENTS_PLACE_H

#include "http_client.h"

/* What the command line says; each may be NULL. */
struct place_flags {
    const char *socket, *url, *token_file;
};

/* 0, or -errno with sentences in err. note (may be NULL): something worth telling, or "". */
int place_find(struct http_place *place, const struct place_flags *flags, char *note,
               size_t note_bytes, char *err, size_t err_bytes);

#endif
