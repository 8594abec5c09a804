/*
 * systemd.h: started by a service manager: sockets that it hands over, and telling it how we are.
 *
 * By libsystemd where the build found it. A build without it tells nobody anything, and refuses to
 * start on sockets that were handed over: to listen elsewhere than asked would be worse.
 */
#ifndef SRV_SYSTEMD_H
#define SRV_SYSTEMD_H

#include <stddef.h>

#ifdef SRV_HAVE_SYSTEMD
#define SRV_SYSTEMD_MARK " +systemd"
#else
#define SRV_SYSTEMD_MARK " -systemd"
#endif

/* Descriptors that were handed over (LISTEN_FDS): how many, or -errno: -ENOSYS: built without,
 * -E2BIG: over max. The environment forgets them. */
int srv_systemd_sockets(int *fds, size_t max);
/* Each does nothing if nobody asked to be told (NOTIFY_SOCKET). */
void srv_systemd_ready(void);
void srv_systemd_reloading(void);
void srv_systemd_stopping(void);

#endif
