/*
 * module_kinds.c: modules with one peculiarity each. Their constructor says that it ran.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#define CTOR_VARIABLE "GRASP_TEST_CONSTRUCTOR_RAN"

__attribute__((constructor)) static void constructor(void)
{
    setenv(CTOR_VARIABLE, "1", 1);
}

#ifdef KIND_TLS
static __thread int counter;

static int work(const char *args)
{
    counter++;
    gr_yield();
    return counter == 1 ? 0 : (int)(args[0] & 0) + counter;
}
#endif

#ifdef KIND_TWICE
static int work(const char *args)
{
    return args[0] & 0;
}

static int other_work(const char *args)
{
    return args[0] & 0;
}
GR_ENTRY("work", other_work, "the same name again");
#endif

#ifdef KIND_REFUSED
static int work(const char *args)
{
    if (args[0] == 'x')
        pthread_exit(NULL);
    return 0;
}
#endif

#ifdef KIND_WIRED
/* pthread_self is declared const: the compiler keeps its value over the yields. */
static int work(const char *args)
{
    volatile pthread_t before = pthread_self();

    for (int i = 0; i < 100; i++)
        gr_yield();
    (void)args;
    return pthread_equal(before, pthread_self()) ? 0 : 1;
}
#endif

#ifdef KIND_UNKNOWN
/* A symbol of libc's that no table knows: an internal one stands for one of tomorrow's. */
extern void *__libc_dynarray_at_failure_stand_in(void) __attribute__((weak));

static int work(const char *args)
{
    (void)args;
    return __libc_dynarray_at_failure_stand_in ? 1 : 0;
}
#endif

#ifdef KIND_MUTABLE
/* A table that a constructor changes before the loader looks at it. */
static void *(*allocate)(size_t) = malloc;
static ssize_t (*transfer)(int, void *, size_t) = read;

static void *own_malloc(size_t bytes)
{
    return malloc(bytes);
}

__attribute__((constructor)) static void change(void)
{
    allocate = own_malloc;
}

static int work(const char *args)
{
    (void)args;
    return allocate == own_malloc && transfer == read ? 0 : 1;
}
#endif

#ifdef KIND_HANDLER
/* A handler that a constructor installs, by libc's own signal. It must run on the signal stack, and be shown as it is. */
static char *volatile handler_at;

static void on_usr2(int number)
{
    (void)number;
    handler_at = __builtin_frame_address(0);
}

__attribute__((constructor)) static void install(void)
{
    signal(SIGUSR2, on_usr2);
    signal(SIGURG, on_usr2); /* the runtime's, which it gets back */
}

static int work(const char *args)
{
    char *here = __builtin_frame_address(0);
    struct sigaction now;

    (void)args;
    if (raise(SIGUSR2) != 0 || !handler_at)
        return 1;
    if (handler_at < here && here - handler_at < 192 * 1024)
        return 2;
    if (sigaction(SIGUSR2, NULL, &now) != 0 || now.sa_handler != on_usr2)
        return 3;
    return sigaction(SIGURG, NULL, &now) == 0 && now.sa_handler != on_usr2 ? 0 : 4;
}
#endif

GR_ENTRY("work", work, "does what its kind does");
