/*
 * wrap_process.c: making processes and waiting for them.
 *
 * fork from a goroutine copies one thread, the one that the goroutine runs on. The child goes on as
 * plain C on that thread: its guard is 0, it is no goroutine any more, wrappers behave as libc and
 * no signal of ours arrives. What it must not do is be scheduled: the other threads do not exist.
 * vfork is bound to fork, because a vfork child writes to its parent's memory, guard slot included.
 *
 * Waiting for children is tried without waiting first and is then a system call of the goroutine.
 *
 * Invariants: wrap.h. No locks.
 */
#include "wrap.h"

#include <pthread.h>
#include <pty.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Registered with pthread_atfork: in the child, before fork returns. */
static void after_fork_in_child(void)
{
    struct arch_tls *tls = arch_tls_self();

    gri_errno_to_libc();
    *arch_guard_slot() = 0;
    tls->thread = NULL;
}

void gri_wrap_fork_init(void)
{
    int error = pthread_atfork(NULL, NULL, after_fork_in_child);

    if (error)
        GR_PANIC("pthread_atfork: %s", strerror(error));
}

_Noreturn void gri_scheduled_in_child(void)
{
    static const char text[] =
        "grasp: a child process made by fork in a goroutine returned from it or waited in it; "
        "it may only call plain C, exec or _exit\n";

    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(127);
    _exit(127);
}

/* fork runs the module's pthread_atfork handlers with libc's locks held. */
static pid_t wrap_fork(void)
{
    struct gr_g *g = gri_self();
    pid_t pid;

    if (!g)
        return fork();
    gri_errno_to_libc();
    g->nopreempt++;
    pid = fork();
    g->nopreempt--;
    return pid;
}

static int wrap_forkpty(int *master, char *name, const struct termios *termios,
                        const struct winsize *size)
{
    struct gr_g *g = gri_self();
    int pid;

    if (!g)
        return forkpty(master, name, termios, size);
    gri_errno_to_libc();
    g->nopreempt++;
    pid = forkpty(master, name, termios, size);
    g->nopreempt--;
    return pid;
}

GRI_WRAP_SIMPLE(int, system, (const char *command), (command))
GRI_WRAP_SIMPLE(int, posix_spawn,
                (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
                (pid, path, actions, attributes, argv, envp))
GRI_WRAP_SIMPLE(int, posix_spawnp,
                (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
                (pid, file, actions, attributes, argv, envp))

static pid_t wrap_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g || (options & WNOHANG))
        return wait4(pid, status, options, usage);
    result = GRI_RAW(SYS_wait4, pid, (long)status, options | WNOHANG, (long)usage);
    if (result == 0)
        result = GRI_SYS(g, SYS_wait4, pid, (long)status, options, (long)usage);
    return (pid_t)gri_wrap_result(result);
}

static pid_t wrap_wait3(int *status, int options, struct rusage *usage)
{
    return wrap_wait4(-1, status, options, usage);
}

static pid_t wrap_waitpid(pid_t pid, int *status, int options)
{
    return wrap_wait4(pid, status, options, NULL);
}

static pid_t wrap_wait(int *status)
{
    return wrap_wait4(-1, status, 0, NULL);
}

static int wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    struct gr_g *g = gri_wrap_enter();
    siginfo_t found;
    long result;

    if (!g || (options & WNOHANG))
        return waitid(type, id, info, options);
    found.si_pid = 0;
    result = GRI_RAW(SYS_waitid, type, id, (long)&found, options | WNOHANG, 0);
    if (result == 0 && found.si_pid == 0)
        result = GRI_SYS(g, SYS_waitid, type, id, (long)info, options, 0);
    else if (result == 0 && info)
        *info = found;
    return (int)gri_wrap_result(result);
}

const struct gri_wrap gri_wraps_process[] = {
    GRI_WRAP(fork),
    GRI_WRAP_AS(__fork, fork),
    GRI_WRAP_AS(_Fork, fork),
    GRI_WRAP_AS(vfork, fork),
    GRI_WRAP_AS(__vfork, fork),
    GRI_WRAP(forkpty),
    GRI_WRAP(system),
    GRI_WRAP(posix_spawn),
    GRI_WRAP(posix_spawnp),
    GRI_WRAP(wait4),
    GRI_WRAP(wait3),
    GRI_WRAP(waitpid),
    GRI_WRAP_AS(__waitpid, waitpid),
    GRI_WRAP(wait),
    GRI_WRAP_AS(__wait, wait),
    GRI_WRAP(waitid),
    {NULL, NULL},
};
