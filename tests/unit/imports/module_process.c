/*
 * module_process.c: fork, vfork, signals and raw system calls in goroutines.
 */
#include "module_test.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int depth(int n)
{
    char pad[64];

    memset(pad, n, sizeof pad);
    return n == 0 ? pad[0] : depth(n - 1) + pad[5] - n;
}

static int vfork_is_fork(const char *args)
{
    (void)args;
    for (int i = 0; i < 5; i++) {
        volatile int local = 1;
        int status;
        pid_t pid = vfork();

        if (pid == 0) {
            local = 2;
            _exit(depth(10) + 3);
        }
        CHECK(pid > 0);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        CHECK(local == 1);
    }
    return 0;
}
GR_ENTRY("vfork_is_fork", vfork_is_fork, "a vfork child has memory of its own");

static int fork_child_is_plain(const char *args)
{
    int fd[2], status;
    char buf[32];
    pid_t pid;

    (void)args;
    CHECK(pipe(fd) == 0);
    pid = fork();
    if (pid == 0) {
        FILE *f = fdopen(fd[1], "w");

        usleep(1000);
        errno = 77;
        if (gr_id() != 0 || depth(50) != 0 || errno != 77)
            _exit(1);
        fprintf(f, "hello %d", 5);
        fflush(f);
        _exit(4);
    }
    CHECK(pid > 0);
    close(fd[1]);
    CHECK(read(fd[0], buf, sizeof buf) == 7 && memcmp(buf, "hello 5", 7) == 0);
    close(fd[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    return 0;
}
GR_ENTRY("fork_child_is_plain", fork_child_is_plain, "the child of a goroutine is plain C");

static int fork_child_must_not_return(const char *args)
{
    int status;
    pid_t pid;

    (void)args;
    pid = fork();
    if (pid == 0)
        return 0;
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    return 0;
}
GR_ENTRY("fork_child_must_not_return", fork_child_must_not_return,
         "a child that goes on as goroutine");

static int commands(const char *args)
{
    char line[32];
    FILE *f;

    (void)args;
    CHECK(system("exit 3") == 3 << 8);
    f = popen("echo out", "r");
    CHECK(f && fgets(line, sizeof line, f) && strcmp(line, "out\n") == 0);
    CHECK(pclose(f) == 0);
    return 0;
}
GR_ENTRY("commands", commands, "system and popen");

static volatile sig_atomic_t taken;

static void on_usr1(int number)
{
    int saved = errno;

    taken += number == SIGUSR1 && depth(20) == 0;
    errno = 5;
    (void)saved;
}

static int signals(const char *args)
{
    struct sigaction action = {.sa_handler = on_usr1}, old;
    struct itimerval timer = {{0, 0}, {1, 0}};

    (void)args;
    taken = 0;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == on_usr1);
    for (int i = 0; i < 100; i++) {
        errno = 1234;
        CHECK(raise(SIGUSR1) == 0);
        CHECK(taken == i + 1);
        CHECK(errno == 1234);
    }
    CHECK(sigaction(SIGURG, &action, NULL) == -1 && errno == EINVAL);
    CHECK(sigaction(SIGPROF, &action, NULL) == -1 && errno == EINVAL);
    CHECK(signal(SIGSEGV, on_usr1) == SIG_ERR && errno == EINVAL);
    CHECK(setitimer(ITIMER_PROF, &timer, NULL) == -1 && errno == EINVAL);
    CHECK(signal(SIGUSR1, SIG_DFL) == on_usr1);
    return 0;
}
GR_ENTRY("signals", signals, "handlers of the module");

static int raw_system_calls(const char *args)
{
    (void)args;
    CHECK(syscall(SYS_getpid) == getpid());
    CHECK(syscall(SYS_clone, 0, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_sigaltstack, NULL, NULL) == -1 && errno == EPERM);
    CHECK(syscall(SYS_close, -1) == -1 && errno == EBADF);
    return 0;
}
GR_ENTRY("raw_system_calls", raw_system_calls, "syscall, and what it refuses");
