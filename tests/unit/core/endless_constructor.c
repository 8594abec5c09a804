/*
 * endless_constructor.c: a library whose constructor says on $GRASP_TEST_HANG_FD that it runs, and never returns: the dynamic
 * linker's lock is its thread's for good.
 */
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void never_return(void)
{
    const char *fd = getenv("GRASP_TEST_HANG_FD");

    if (fd && write(atoi(fd), "x", 1) == 1) {
        for (;;)
            pause();
    }
}
