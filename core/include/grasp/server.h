/*
 * server.h: the control plane inside any program built by grasp-cc, as Go programs import net/http/pprof.
 */
#ifndef GRASP_SERVER_H
#define GRASP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gr_serve_opts {
    const char *unix_path;   /* NULL: $XDG_RUNTIME_DIR/grasp-PID.sock, or /tmp/grasp-UID-PID.sock */
    const char *listen;      /* "HOST:PORT" on loopback, NULL: no TCP */
    const char *modules_dir; /* NULL: loading modules is refused */
    const char *state_dir;   /* an existing directory for saved snapshots, audit log and token; NULL: none */
    const char *token_file;  /* for TCP; NULL: a token is made and printed to stderr */
    bool no_auth;            /* TCP without a token, loopback only */
};

/*
 * Starts the runtime if it does not run yet, and the control plane in a thread of its own. opts NULL: a Unix socket only.
 * Returns once requests are answered. 0, or negative errno with a sentence in err, which may be NULL. From main or any thread that
 * is no goroutine. exit removes the socket; there is no other end.
 */
int gr_serve(const struct gr_serve_opts *opts, char *err, size_t err_bytes);

#ifdef __cplusplus
}
#endif
#endif
