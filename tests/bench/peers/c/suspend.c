/*
 * suspend.c: stopping a thread from outside, without a runtime.
 *
 * pthread-signal: tgkill, and a handler that says so and waits on a semaphore; the requester spins
 * for the answer, or (`_semwait`) sleeps for it. ptrace: PTRACE_INTERRUPT, waitpid and the
 * registers of another process, which is a debugger's way. The requester sits on processor 0, the
 * target on 1; a sample of a spinning target begins only after it has made progress.
 */
#include "../../sample.h"

#include <elf.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define MOST      20000
#define BUDGET_NS 15000000000ll

static double stopped_ns[MOST], with_resume_ns[MOST];
static sem_t let_go, is_stopped;
static int sleeping_requester;
static _Atomic(int) stopped;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int pipe_fd[2];

/* Shared with the traced child. */
static struct shared {
    _Atomic(int) tid, quit;
    _Atomic(uint64_t) progress;
} * shared;

static void on_signal(int signo)
{
    (void)signo;
    if (sleeping_requester)
        sem_post(&is_stopped);
    else
        atomic_store(&stopped, 1);
    while (sem_wait(&let_go) != 0)
        ;
    atomic_store(&stopped, 0);
}

enum target { SPINS, BLOCKED, IN_SYSCALL };

static void target_body(enum target kind)
{
    char byte;

    pin(1);
    atomic_store(&shared->tid, (int)syscall(SYS_gettid));
    if (kind == SPINS) {
        while (!atomic_load_explicit(&shared->quit, memory_order_relaxed))
            atomic_fetch_add(&shared->progress, 1);
    } else if (kind == BLOCKED) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    } else if (read(pipe_fd[0], &byte, 1) != 1) {
        perror("read");
    }
}

static void *target_thread(void *arg)
{
    target_body((enum target)(intptr_t)arg);
    return NULL;
}

static void before_sample(enum target kind)
{
    uint64_t since = atomic_load(&shared->progress);

    if (kind != SPINS) {
        spin_ns(20000); /* back to sleep in the kernel */
        return;
    }
    while (atomic_load(&shared->progress) < since + 20)
        ;
}

static void emit_both(const char *peer, const char *name, const char *suffix, int n)
{
    char metric[96];

    snprintf(metric, sizeof metric, "suspend_%s%s", name, suffix);
    emit(peer, metric, "ns", stopped_ns, n);
    snprintf(metric, sizeof metric, "suspend_resume_%s%s", name, suffix);
    emit(peer, metric, "ns", with_resume_ns, n);
}

static void sample_signal(int i)
{
    int64_t t0 = now_ns(), t1;

    syscall(SYS_tgkill, getpid(), shared->tid, SIGURG);
    if (sleeping_requester)
        while (sem_wait(&is_stopped) != 0)
            ;
    else
        while (!atomic_load(&stopped))
            ;
    t1 = now_ns();
    sem_post(&let_go);
    with_resume_ns[i] = (double)(now_ns() - t0);
    stopped_ns[i] = (double)(t1 - t0);
    if (!sleeping_requester)
        while (atomic_load(&stopped))
            ;
}

static void by_signal(enum target kind, const char *name)
{
    int samples = scaled(MOST, 20), n = 0;
    int64_t end;
    pthread_t thread;

    shared->tid = shared->quit = 0;
    if (kind == BLOCKED)
        pthread_mutex_lock(&mutex);
    pthread_create(&thread, NULL, target_thread, (void *)(intptr_t)kind);
    while (!shared->tid)
        ;
    spin_ns(5000000); /* into the kernel */
    for (end = now_ns() + BUDGET_NS; n < samples && now_ns() < end; n++) {
        before_sample(kind);
        sample_signal(n);
    }
    shared->quit = 1;
    if (kind == BLOCKED)
        pthread_mutex_unlock(&mutex);
    if (kind == IN_SYSCALL && write(pipe_fd[1], "x", 1) != 1)
        perror("write");
    pthread_join(thread, NULL);
    emit_both("pthread-signal", name, sleeping_requester ? "_semwait" : "", n);
}

static bool sample_ptrace(pid_t child, int i)
{
    struct user_regs_struct registers;
    struct iovec vector = {&registers, sizeof registers};
    int status;
    int64_t t0 = now_ns();

    ptrace(PTRACE_INTERRUPT, child, 0, 0);
    if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
        return false;
    ptrace(PTRACE_GETREGSET, child, (void *)NT_PRSTATUS, &vector);
    stopped_ns[i] = (double)(now_ns() - t0);
    ptrace(PTRACE_CONT, child, 0, 0);
    with_resume_ns[i] = (double)(now_ns() - t0);
    return true;
}

static void by_ptrace(enum target kind, const char *name)
{
    int samples = scaled(MOST, 20), n = 0, status;
    int64_t end;
    pid_t child;

    shared->tid = shared->quit = 0;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        target_body(kind);
        _exit(0);
    }
    while (!shared->tid)
        ;
    spin_ns(5000000);
    if (ptrace(PTRACE_SEIZE, child, 0, 0) != 0) {
        perror("ptrace: not allowed here, not measured");
    } else {
        for (end = now_ns() + BUDGET_NS; n < samples && now_ns() < end; n++) {
            before_sample(kind);
            if (!sample_ptrace(child, n))
                break;
        }
    }
    kill(child, SIGKILL);
    waitpid(child, &status, __WALL);
    emit_both("ptrace", name, "", n);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    pin(0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pipe(pipe_fd) != 0) {
        perror("suspend");
        return 1;
    }
    sem_init(&let_go, 0, 0);
    sem_init(&is_stopped, 0, 0);
    sigaction(SIGURG, &action, NULL);
    for (sleeping_requester = 0; sleeping_requester < 2; sleeping_requester++) {
        by_signal(SPINS, "spin_tight");
        by_signal(BLOCKED, "blocked_mutex");
        by_signal(IN_SYSCALL, "in_syscall");
    }
    by_ptrace(SPINS, "spin_tight");
    by_ptrace(IN_SYSCALL, "in_syscall");
    return 0;
}
