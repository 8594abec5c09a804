/*
 * module_leave.c: modules that go: unloaded by name, or replaced and left by their last goroutine.
 *
 * A module's code may be unmapped when nobody can run it any more. Its goroutines are counted
 * (`live`), and the map of safe code waits for signal handlers that may be looking at it
 * (text_map.c). What nobody counts is what a module left behind with others: a signal handler, a
 * thread, a buffer given to stdio. A module that imports a function which takes such a thing keeps
 * its mapping for good (`kept_by`); it is off the list all the same. The libraries that a module
 * needs always stay: import stubs hold their addresses.
 *
 * A worker that buries the last goroutine of a replaced module stands on a system stack and must
 * not wait, and dlclose may wait, for the dynamic linker's lock, and runs the module's destructors.
 * So a thread of its own does it. It is started by the first replacement that finds goroutines, and
 * ends when no module is left to wait for. Rejected: the monitor (stops must not wait for a
 * destructor), the control plane's pool (an embedding program may have none).
 *
 *   L1  The last goroutine lowers `live` and then reads `leaving`; a replacement sets `leaving` and
 *       then reads `live`; both sequentially consistent. So one of the two sees the other, and
 *       either the worker rings the bell or the reaper finds the module without goroutines.
 *   L2  The reaper reads the bell before it looks: a ring that comes after the look wakes it.
 *
 * Lock: gri_load_lock.
 */
#include "module.h"

#include "text_ranges.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AGAIN_NS 1000000000 /* after a failed attempt: there was no memory */

static _Atomic(uint32_t) bell;
static bool reaping; /* gri_load_lock */

/* Off every list, without goroutines. -ENOMEM: nothing was done. */
static int unmap(struct gri_module *module)
{
    if (gri_text_withdraw(module) != 0)
        return -ENOMEM;
    if (!module->info.kept_by[0])
        dlclose(module->handle);
    /* A handle that was closed may come again for another module. */
    if (!module->info.kept_by[0])
        module->handle = NULL;
    /* Off every list: nobody duplicates it any more. */
    if (module->file >= 0)
        close(module->file);
    module->file = -1;
    module->info.loaded = false;
    gri_module_list_gone(module);
    return 0;
}

/* ---- Unloading ------------------------------------------------------------------------------- */

static int explain(int result, const char *name, uint64_t live, char *err, size_t err_bytes)
{
    if (result == -ENOENT)
        snprintf(err, err_bytes, "no module %s is loaded", name);
    else if (result == -EPERM)
        snprintf(err, err_bytes, "module %s is the program itself, which stays", name);
    else if (result == -EBUSY)
        snprintf(err, err_bytes, "%llu goroutines of module %s live: end them first",
                 (unsigned long long)live, name);
    else
        snprintf(err, err_bytes, "no memory to unload module %s", name);
    return result;
}

int gr_module_unload(const char *name, char *err, size_t err_bytes)
{
    struct gri_module *module;
    uint64_t live = 0;
    int result;

    if (!err)
        err_bytes = 0;
    if (err_bytes)
        err[0] = 0;
    pthread_mutex_lock(&gri_load_lock);
    result = gri_module_take(name, &module, &live);
    if (result == 0 && !module->info.loaded) {
        free(module); /* refused: nobody but the list knew it */
    } else if (result == 0) {
        result = unmap(module);
        if (result < 0)
            gri_module_put_back(module);
    }
    pthread_mutex_unlock(&gri_load_lock);
    return result ? explain(result, name, live, err, err_bytes) : 0;
}

/* ---- Leaving --------------------------------------------------------------------------------- */

/* Unmaps what can be. False: nobody is left to wait for. *failed: try again. With gri_load_lock. */
static bool reap(bool *failed)
{
    struct gri_module *module;
    bool any;

    *failed = false;
    while ((module = gri_module_take_left(&any))) { /* bounded by the number of modules */
        if (unmap(module) < 0) {
            gri_module_put_back(module);
            *failed = true;
            return true;
        }
    }
    return any;
}

void gri_module_reap(void)
{
    bool failed;

    (void)reap(&failed); /* what failed is the reaper's, which tries again */
}

static void *reaper_main(void *arg)
{
    bool any = true, failed;

    (void)arg;
    while (any) { /* until no replaced module has goroutines */
        /* acquire; pairs with the add in gri_module_left (L2). */
        uint32_t seen = atomic_load_explicit(&bell, memory_order_acquire);

        pthread_mutex_lock(&gri_load_lock);
        any = reap(&failed);
        if (!any)
            reaping = false;
        pthread_mutex_unlock(&gri_load_lock);
        if (any)
            gri_futex_wait(&bell, seen, failed ? AGAIN_NS : -1);
    }
    return NULL;
}

static bool start_reaper(void)
{
    pthread_t thread;
    sigset_t all, old;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, NULL, reaper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error == 0)
        pthread_detach(thread);
    return error == 0;
}

void gri_module_leave(void)
{
    bool failed;

    if (reaping)
        gri_module_left(); /* it looks again */
    else if (reap(&failed))
        /* Without a thread the old module waits for the next replacement or unload. */
        reaping = start_reaper();
}

void gri_module_left(void)
{
    /* release; pairs with the load in reaper_main (L2). */
    atomic_fetch_add_explicit(&bell, 1, memory_order_release);
    gri_futex_wake(&bell, 1);
}
