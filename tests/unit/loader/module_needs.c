/*
 * module_needs.c: a module that calls a foreign library, which calls back.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include <grasp/goroutine.h>

int foreign_call(int (*fn)(int), int n);

/* Below it lies a foreign frame: the goroutine must stay on its thread. */
static int call_back(int n)
{
    long thread = syscall(SYS_gettid);

    for (int i = 0; i < n; i++)
        gr_yield();
    return syscall(SYS_gettid) == thread ? 0 : 1;
}

static int work(const char *args)
{
    (void)args;
    return foreign_call(call_back, 200);
}
GR_ENTRY("work", work, "calls back through a foreign library");
