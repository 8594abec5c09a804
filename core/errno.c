/*
 * errno.c: one errno per goroutine, though libc has one per thread.
 *
 * At any moment the value is in one place: in the goroutine (arch_tls.errno_owned = 1) or in libc's slot of
 * the thread it runs on (0). Import stubs and wrappers move it to libc before libc may look at it; reading or
 * writing errno in a module, and every switch, moves it back. So a pointer to errno that a module holds
 * across a migration still points at its own.
 *
 * Rejected: handing out libc's address, made non-const. A stop between taking the address and using it writes
 * another thread's errno.
 */
#include "scheduler.h"

int *gr_errno_location(void);

int *gr_errno_location(void)
{
    struct arch_tls *tls = arch_tls_self();
    struct gr_g *g = gri_self();

    if (!g)
        return &errno;
    if (!tls->errno_owned) {
        g->err = *tls->errno_thread;
        tls->errno_owned = 1;
    }
    return &g->err;
}

void gri_errno_to_libc(void)
{
    struct arch_tls *tls = arch_tls_self();

    if (!tls->errno_goroutine || !tls->errno_owned)
        return;
    *tls->errno_thread = *tls->errno_goroutine;
    tls->errno_owned = 0;
}
