/*
 * module_early.c: a module whose constructor starts a goroutine, and, if it is told the path of its own file, touches it: then
 * the load is refused after the constructor has run.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include <grasp/goroutine.h>

#include <fcntl.h>

static void run_on(void *arg)
{
    (void)arg;
    while (!gr_cancelled())
        gr_yield();
}

__attribute__((constructor)) static void start(void)
{
    const char *own = getenv("GRASP_TEST_TOUCH");

    gr_go(run_on, NULL);
    if (own)
        utimensat(AT_FDCWD, own, NULL, 0);
}

static int work(const char *args)
{
    (void)args;
    return 0;
}
GR_ENTRY("work", work, "does nothing");
