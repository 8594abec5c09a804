/*
 * cmd_while.c: `grasp hold -- COMMAND`: a selection stands still while a command runs.
 *
 * The hold is the daemon's, with a lease. While the command runs the lease is renewed each third of
 * it, and whatever ends the wait (the command's end, a signal) releases it. Should this process be
 * killed outright, the lease runs out by itself: nothing stays held for ever.
 *
 *   I1  From the suspend on, signals that end us are blocked and read by sigtimedwait: there is no
 *       moment in which one ends the process before the release.
 *   I2  INT and QUIT reach the command from the terminal by itself (it is in our group); TERM and HUP
 *       are handed on. In each case the goroutines run again first.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "wire.h"

struct held {
    struct cli *cli;
    uint64_t suspension, lease_ms;
    bool released, lost;
};

static void fill_signals(sigset_t *set)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(set, numbers[i]);
}

static void let_go(struct held *held)
{
    char path[64];
    if (held->released)
        return;
    held->released = true;
    snprintf(path, sizeof path, "/v1/suspensions/%" PRIu64, held->suspension);
    json_t *answer = cli_ask(held->cli, "DELETE", path, NULL);
    held->lost |= !answer;
    json_decref(answer);
}

static void renew(struct held *held)
{
    char path[64];
    if (held->released || held->lost)
        return;
    snprintf(path, sizeof path, "/v1/suspensions/%" PRIu64, held->suspension);
    json_t *answer = cli_ask(held->cli, "PATCH", path,
                             json_pack("{s:I}", "lease_ms", (json_int_t)held->lease_ms));
    if (!answer) {
        held->lost = held->released = true;
        fprintf(stderr, "grasp: the goroutines run again, and the command still does\n");
    }
    json_decref(answer);
}

/* The command with the signal mask that we were started with. 0 or errno. */
static int start(char *const *command, const sigset_t *mask, pid_t *pid)
{
    extern char **environ;
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, mask);
    int err = posix_spawnp(pid, command[0], NULL, &attributes, command, environ);
    posix_spawnattr_destroy(&attributes);
    return err;
}

static int status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Until the command ends; its status as a shell would say it. */
static int wait_for(struct held *held, pid_t pid, const sigset_t *set)
{
    uint64_t third = held->lease_ms / 3;
    struct timespec limit = {(time_t)(third / 1000), (long)(third % 1000) * 1000000};
    int status;
    /* Ends with the command. */
    while (waitpid(pid, &status, WNOHANG) == 0) {
        int number = sigtimedwait(set, NULL, &limit);
        if (number < 0 && errno == EAGAIN)
            renew(held);
        if (number < 0 || number == SIGCHLD)
            continue;
        let_go(held);
        if (number == SIGTERM || number == SIGHUP)
            kill(pid, number);
    }
    return status_code(status);
}

int cli_hold(struct cli *cli)
{
    char duration[CLI_DURATION_BYTES];
    sigset_t set, before;
    pid_t pid;
    if (!cli->rest_count)
        return cli_fail(cli, CLI_USAGE,
                        "which command? It goes behind --, as in: grasp hold 7 -- gdb -p 4711");
    if (cli->options.lease_ms == CLI_UNSET)
        cli->options.lease_ms = API_LEASE_MS_DEFAULT;
    fill_signals(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    json_t *suspension = cli_take_hold(cli);
    if (!suspension)
        return cli->failure == CLI_USAGE ? CLI_USAGE : CLI_BEFORE;
    struct held held = {
        .cli = cli, .suspension = cli_number(suspension, "id"), .lease_ms = cli->options.lease_ms};
    uint64_t count = cli_number(suspension, "count"), skew_ns = cli_number(suspension, "skew_ns");
    json_decref(suspension);
    fprintf(stderr, "grasp: %" PRIu64 " held (first to last stop: %s)\n", count,
            cli_duration(duration, skew_ns));
    int err = start(cli->rest, &before, &pid);
    int result = err ? (err == ENOENT ? 127 : 126) : wait_for(&held, pid, &set);
    if (err)
        cli_fail(cli, result, "cannot run %s: %s", cli->rest[0], strerror(err));
    let_go(&held);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return held.lost && result == 0 ? CLI_BEFORE : result;
}
