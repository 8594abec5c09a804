/*
 * systemd.c: see systemd.h.
 */
#include "systemd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include <grasp/runtime.h>

#ifdef SRV_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

int srv_systemd_sockets(int *fds, size_t max)
{
    int count = sd_listen_fds(1);
    if (count > 0 && (size_t)count > max)
        return -E2BIG;
    for (int i = 0; i < count; i++)
        fds[i] = SD_LISTEN_FDS_START + i;
    return count;
}

void srv_systemd_ready(void)
{
    sd_notify(0, "READY=1\nSTATUS=Serving.");
}

void srv_systemd_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, gr_now_ns() / 1000);
}

void srv_systemd_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Draining.");
}

#else

int srv_systemd_sockets(int *fds, size_t max)
{
    const char *pid = getenv("LISTEN_PID");
    return pid && strtoll(pid, NULL, 10) == getpid() ? -ENOSYS : 0;
}

void srv_systemd_ready(void)
{
}

void srv_systemd_reloading(void)
{
}

void srv_systemd_stopping(void)
{
}

#endif
