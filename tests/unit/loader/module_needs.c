/*
 * module_needs.c: a module that calls a foreign library, which calls back.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include <grasp/goroutine.h>

int foreign_call(int (*fn)(int), int n);
int foreign_jump(int (*fn)(int), int n);
int foreign_twice(int n);

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
/* It jumps to the foreign function as its last act, having been jumped to itself. */
static int jump_on(int n)
{
    return foreign_twice(n);
}

static int tail(const char *args)
{
    (void)args;
    for (int i = 0; i < 1000; i++) {
        if (foreign_jump(jump_on, i) != 2 * i)
            return 1;
    }
    /* Nothing of it is left: the goroutine may change threads, and other calls find their way. */
    return work(args);
}
GR_ENTRY("tail", tail, "jumps to and fro between a foreign library and the module");
GR_ENTRY("work", work, "calls back through a foreign library");
