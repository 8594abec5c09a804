#!/usr/bin/env python3
"""e2e_operations.py: what goes wrong around the daemon: crashes, memory, signal storms, children, another user."""
import ctypes
import datetime
import json
import os
import pwd
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

from harness import (Daemon, HANG_SECONDS, Modules, Stream, about_loops_without_calls, counts, emulator, hog, main, not_under,
                     standing_still, until)

CRASH = """#include <grasp/goroutine.h>
#include <string.h>
__attribute__((noinline)) static int fall(volatile int *where) { *where = 1; return 0; }
static int run(const char *args) { (void)args; return fall((volatile int *)16); }
GR_ENTRY("run", run, "writes to address 16");
"""

STORM = """#include <grasp/goroutine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* Nearly always in malloc, free and printf. */
static int run(const char *args)
{
    (void)args;
    for (unsigned n = 0; !gr_cancelled(); n++) {
        char text[64], *copy;
        snprintf(text, sizeof text, "%u %.3f", n, n / 7.0);
        copy = strdup(text);
        if (!copy || strcmp(copy, text) != 0)
            return 9;
        free(copy);
    }
    return 0;
}
GR_ENTRY("run", run, "malloc and printf until cancelled");
"""

CHECKSUM = """#include <grasp/goroutine.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* Calls, floats and integers; the result depends on every step. */
static uint32_t step(uint32_t h, uint32_t v) { return (h ^ v) * 16777619u; }
static int run(const char *args)
{
    unsigned long rounds = strtoul(args, NULL, 10);
    uint32_t h = 2166136261u;
    double x = 1.0;
    char text[64];
    for (unsigned long i = 0; i < rounds; i++) {
        for (uint32_t k = 0; k < 1000; k++)
            h = step(h, k);
        x = x * 1.0000001 + 0.5 / (double)(i + 1);
        if (i % 64 == 0)
            gr_yield();
    }
    snprintf(text, sizeof text, "{\\"h\\":%u,\\"x\\":\\"%a\\"}", h, x);
    return gr_result(text);
}
GR_ENTRY("run", run, "computes a checksum");
"""

FORK = """#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <grasp/goroutine.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
/* Starts CHECKER once by fork and exec, once by posix_spawn; its exit status tells what it inherited. */
static int child(const char *checker, int way)
{
    char *argv[] = {(char *)checker, NULL};
    int status;
    pid_t pid = -1;
    if (way == 0) {
        pid = fork();
        if (pid == 0) { execv(checker, argv); _exit(99); }
    } else if (posix_spawn(&pid, checker, NULL, NULL, argv, environ) != 0) {
        return 98;
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 97;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}
static int run(const char *args)
{
    char checker[256];
    int rounds = 0, bad = 0;
    if (sscanf(args, "[\\"%255[^\\"]\\",%d]", checker, &rounds) != 2)
        return 95;
    for (int i = 0; i < rounds && !bad; i++)
        bad = child(checker, i % 2);
    return bad;
}
GR_ENTRY("run", run, "starts programs");
"""

CHECKER = """#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
int main(void)
{
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int n = 1; n < 32; n++) {
        struct sigaction action;
        if (sigismember(&mask, n))
            return 10;
        if (n == SIGKILL || n == SIGSTOP)
            continue;
        sigaction(n, NULL, &action);
        if (action.sa_handler != SIG_DFL && !(n == SIGPIPE && action.sa_handler == SIG_IGN))
            return 20;
    }
    /* 0 to 2, and the one that reads the directory. */
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.' && atoi(entry->d_name) > 2;
    return count == 1 ? 0 : 30 + count;
}
"""


WALL = r"""#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* The wall clock of whoever preloads this is wrong by as many seconds as the file WALL_OFFSET says. */
static const volatile int64_t *offset;
__attribute__((constructor)) static void begin(void)
{
    int fd = open(getenv("WALL_OFFSET"), O_RDONLY | O_CLOEXEC);
    void *place = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED)
        _exit(99);
    offset = place;
    close(fd);
}
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return result;
}
int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    now->tv_sec = ts.tv_sec;
    now->tv_usec = ts.tv_nsec / 1000;
    (void)zone;
    return 0;
}
time_t time(time_t *out)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return out ? (*out = ts.tv_sec) : ts.tv_sec;
}
"""


def wall_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# The sanitizers' runtimes want to be the first library, and an emulator would be preloaded itself.
@not_under("address", "thread")
def a_wall_clock_that_jumps_leaves_leases_alone():
    """Forward by two hours, back by four; the longest lease is an hour."""
    if emulator():
        return
    with tempfile.TemporaryDirectory() as directory:
        source, library, offset = (os.path.join(directory, name) for name in ("wall.c", "wall.so", "offset"))
        with open(source, "w") as file:
            file.write(WALL)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)

        def jump(seconds):
            with open(offset, "r+b" if os.path.exists(offset) else "wb") as file:
                file.write(struct.pack("<q", seconds))
        jump(0)
        with hog(environment={"LD_PRELOAD": library, "WALL_OFFSET": offset}) as (daemon, client, g, path):
            stream = Stream(daemon, "?types=suspended,lease-expired,resumed")
            long = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json
            for hours in (2, -2):
                before = client.get(f"/v1/suspensions/{long['id']}")
                jump(hours * 3600)
                after = client.get(f"/v1/suspensions/{long['id']}")
                shift = (wall_of(after["expires_at"]) - wall_of(before["expires_at"])) / 3600
                assert abs(shift - (hours if hours > 0 else -4)) < 0.1, f"the jump was seen: {before} {after}"
                # Still held, for as long as before but for what has really passed.
                assert 3000000 < after["remaining_ms"] <= before["remaining_ms"], (before, after)
                assert after["created_at"] == before["created_at"] and client.get(f"/v1/goroutines/{g}")["holds"] == 1
                # A short one ends by itself, and only that one; a new length counts from now.
                short = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json["id"]
                client.want(200, "PATCH", f"/v1/suspensions/{short}", {"lease_ms": 100})
                assert stream.wait("lease-expired")["suspension"] == short
                client.want(410, "DELETE", f"/v1/suspensions/{short}", code="lease-expired")
                standing_still(path, 0.1)
            client.want(204, "DELETE", f"/v1/suspensions/{long['id']}")
            assert stream.wait("resumed")["suspension"] == long["id"]
            counts(path)


def a_daemon_that_was_stopped_releases_each_expired_lease_once():
    """3 seconds of SIGSTOP; STOPPED_SECONDS=60 as the stress run has it."""
    seconds = float(os.environ.get("STOPPED_SECONDS", "3"))
    with hog("--idle-seconds", "3600") as (daemon, client, g, path):
        stream = Stream(daemon, "?types=suspended,resumed,lease-expired")
        other = client.spawn("deadlock", "channel")
        ends = time.monotonic() + seconds
        expiring = [client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": int(seconds * 500)}).json["id"] for _ in range(20)]
        expiring.append(client.want(201, "POST", "/v1/suspensions", {"ids": [g, other], "lease_ms": int(seconds * 500)}).json["id"])
        staying = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json["id"]
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
        stopped = time.monotonic()
        assert stopped < ends - seconds / 2, "the leases ended before the daemon was stopped"
        time.sleep(ends - stopped)  # the time of being stopped is what this is about
        daemon.process.send_signal(signal.SIGCONT)
        expired = [stream.wait("lease-expired")["suspension"] for _ in expiring]
        assert sorted(expired) == expiring, expired
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 1 and client.get(f"/v1/goroutines/{other}")["holds"] == 0
        standing_still(path, 0.1)
        client.want(204, "DELETE", f"/v1/suspensions/{staying}")
        assert stream.wait("resumed")["suspension"] == staying
        counts(path)
        # Nobody was released twice: the count of holds would have gone below 0, and the events would show it.
        assert stream.types.count("lease-expired") == len(expiring) and stream.types.count("resumed") == 1, stream.types
        text = client.want(200, "GET", "/metrics").text
        assert f"grasp_leases_expired_total {len(expiring)}\n" in text and "grasp_held_goroutines 0\n" in text, text


@about_loops_without_calls
def going_down_with_suspensions_releases_them_and_takes_no_new_work():
    """Everybody is let go at once, releases are served, everything else is 503; a second signal ends it at once."""
    with hog("--drain-seconds", "3600", "--state", "state", stretch=0) as (daemon, client, g, path):
        nap = client.spawn("deadlock", "channel")
        stuck = client.spawn("hog", "scalar", {"stretch": 0})  # never asks whether it is to end
        ids = [client.want(200, "POST", f"/v1/goroutines/{one}/suspend", {"lease_ms": 3600000}).json["id"] for one in (g, nap, g)]
        ids.append(client.want(201, "POST", "/v1/suspensions", {"all": True, "lease_ms": 3600000}).json["id"])
        standing_still(path, 0.1)
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: client.ask("GET", "/readyz").status == 503, "it drains")
        counts(path)  # released, although it was held three times
        assert client.get("/v1/suspensions")["items"] == []
        until(lambda: client.state(nap) == "dead", "it ends")  # nobody is kept waiting by a daemon that goes down
        assert client.wait_dead(nap)["reason"] == "cancelled"
        for method, target, body in (("POST", "/v1/goroutines", {"module": "hog", "entry": "calls"}), ("DELETE", f"/v1/goroutines/{stuck}", None),
                                     ("POST", f"/v1/goroutines/{g}/suspend", {}), ("POST", "/v1/suspensions", {"all": True}),
                                     ("PATCH", f"/v1/suspensions/{ids[0]}", {"lease_ms": 1000}), ("POST", "/v1/snapshots", {"all": True}),
                                     ("POST", "/v1/modules", {"name": "hog"}), ("DELETE", "/v1/modules/hog", None), ("PATCH", "/v1/runtime", {})):
            answer = client.want(503, method, target, body, "draining")
            assert int(answer.headers["Retry-After"]) >= 1, answer.headers
        for one in ids:
            client.want(204, "DELETE", f"/v1/suspensions/{one}")
        client.want(409, "POST", f"/v1/goroutines/{g}/resume", {"all": True}, "not-suspended")
        client.want(200, "GET", "/healthz")
        assert client.get("/v1/goroutines?state=live")["items"]
        assert daemon.process.poll() is None, "it waits for those that do not end"
        assert daemon.stop() == 128 + signal.SIGTERM


def going_down_ends_with_0_when_all_have_ended():
    """The other half: nobody has to be waited for once they are let go."""
    with hog("--drain-seconds", "3600", entry="calls") as (daemon, client, g, path):
        client.spawn("deadlock", "cycle")
        client.want(201, "POST", "/v1/suspensions", {"all": True, "lease_ms": 3600000})
        assert daemon.stop() == 0, daemon.log()
        assert "event=drained" in daemon.log() and "drain-leftovers" not in daemon.log(), daemon.log()


def a_crash_leaves_a_report_and_ends_the_daemon():
    """The report names goroutine, module, pc and stack; no isolation is promised."""
    with Modules("crash", CRASH) as modules, Daemon("--state", "state", modules=modules.path) as daemon:
        client = daemon.client()
        client.send("POST", "/v1/goroutines", {"module": "crash", "entry": "run"})  # the answer may come too late
        held = 1
        assert daemon.process.wait(HANG_SECONDS) != 0
        text = daemon.log()
        for mark in ("signal 11 (SEGV), address 0x10", f"goroutine {held} ", "module crash", "  pc 0x", "crash+0x", "stack 0x"):
            assert mark in text, (mark, text)
        reports = [name for name in os.listdir(daemon.path("state")) if "crash" in name]
        assert len(reports) == 1, os.listdir(daemon.path("state"))
        with open(daemon.path(os.path.join("state", reports[0]))) as file:
            saved = file.read()
        assert f"goroutine {held}" in saved and "module crash" in saved, saved


BROKEN_PIPE = """#include <errno.h>
#include <grasp/goroutine.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
static int run(const char *args)
{
    int pair[2];
    (void)args;
    if (pipe(pair) != 0 || close(pair[0]) != 0 || write(pair[1], "x", 1) != -1 || errno != EPIPE)
        return 1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || close(pair[0]) != 0 || write(pair[1], "x", 1) != -1 || errno != EPIPE)
        return 2;
    /* Programs end by it, as ever. */
    return system("grep -Eq 'SigIgn:.*[02468ace]...$' /proc/self/status") != 0 ? 3 : 0;
}
GR_ENTRY("run", run, "writes to what nobody reads");
"""


def a_broken_pipe_is_the_writers_own_affair():
    with Modules("broken", BROKEN_PIPE) as modules, Daemon(modules=modules.path) as daemon:
        client = daemon.client()
        assert client.wait_dead(client.spawn("broken", "run"))["code"] == 0
        client.want(200, "GET", "/healthz")


def storms_in_libc_are_suspended_and_the_daemon_answers():
    """G25: the daemon itself allocates and prints while the suspended one stands still."""
    with Modules("storm", STORM) as modules, Daemon(modules=modules.path) as daemon:
        client = daemon.client()
        ids = client.spawn("storm", "run", count=2)
        for n in range(300):
            g = ids[n % 2]
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000})
            client.want(200, "GET", "/healthz")
            if n % 20 == 0:
                client.get(f"/v1/goroutines/{g}/snapshot")
                client.get("/v1/goroutines")
            client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        for g in ids:
            client.want(202, "DELETE", f"/v1/goroutines/{g}")
            assert client.wait_dead(g)["code"] == 0


# Without memory the sanitizers' runtimes end the process, and so does qemu-user, whose own memory the limit is for.
@not_under("address", "thread", "emulator")
def memory_runs_out_and_releases_still_work():
    """Spawn and snapshot are answered 503; a release needs no memory."""
    with hog() as (daemon, client, g, path):
        suspension = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json["id"]
        other = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json["id"]
        with open(f"/proc/{daemon.process.pid}/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        # No more address space than there is: every new mapping fails, and malloc soon after.
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
        answer = until(lambda: (a := client.ask("POST", "/v1/goroutines", {"module": "hog", "entry": "scalar", "count": 100000})).status
                       in (429, 503) and a, "spawning fails")
        assert answer.status == 503 and answer.json["code"] == "out-of-resources" and answer.headers["Retry-After"], answer
        # What needs much is refused; letting go needs nothing.
        assert client.ask("GET", f"/v1/goroutines/{g}/snapshot?bytes=200000").status in (200, 503)
        client.want(204, "DELETE", f"/v1/suspensions/{suspension}")
        standing_still(path, 0.1)
        client.want(204, "DELETE", f"/v1/suspensions/{other}")
        counts(path)
        client.want(200, "GET", "/healthz")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        client.want(201, "POST", "/v1/goroutines", {"module": "hog", "entry": "scalar"})


def storm(pid, numbers, stop):
    """Signals to every thread of a process as fast as this thread can, with what pacing 10 kHz needs."""
    tgkill = ctypes.CDLL(None).syscall
    threads = []
    count = 0
    while not stop.is_set():
        if count % 1000 == 0:
            try:
                threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
            except FileNotFoundError:
                return
        tgkill(234, pid, threads[count % len(threads)], numbers[count % len(numbers)])
        count += 1
        if count % 16 == 0:
            stop.wait(0.0005)


def checksums_are_right_under_a_storm_of_signals():
    """SIGPROF and SIGURG from outside at some 10 kHz while goroutines compute; the rounds, not the time, are fixed."""
    with Modules("sum", CHECKSUM) as modules:
        results = []
        for stormy in (False, True):
            with Daemon("--procs", "2", modules=modules.path) as daemon:
                client, stop = daemon.client(), threading.Event()
                thread = threading.Thread(target=storm, args=(daemon.process.pid, (signal.SIGURG, signal.SIGPROF), stop))
                ids = client.spawn("sum", "run", 20000, count=4)
                if stormy:
                    thread.start()
                try:
                    exits = [client.wait_dead(g) for g in ids]
                finally:
                    stop.set()
                    if stormy:
                        thread.join()
                results.append({json.dumps(e) for e in exits})
                client.want(200, "GET", "/healthz")
        assert len(results[0]) == 1 and results[0] == results[1], results


def children_get_nothing_of_the_daemon():
    """G18: fork, exec and posix_spawn of a goroutine that is preempted all the time."""
    with Modules("fork", FORK) as modules:
        checker = modules.compile("checker", CHECKER, ["cc", "-O1"])
        with Daemon("--procs", "2", "--time-slice-us", "100", "--listen", "127.0.0.1:0", "--state", "state",
                    modules=modules.path) as daemon:
            client = daemon.client()
            ids = client.spawn("fork", "run", [checker, 40], count=3)
            alive = set(ids)
            while alive:  # held again and again meanwhile
                for g in sorted(alive):
                    answer = client.ask("POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 60000, "timeout_ms": 20000})
                    if answer.status == 200:
                        client.want(204, "DELETE", f"/v1/suspensions/{answer.json['id']}")
                    else:
                        assert answer.status in (404, 410), answer
                        alive.discard(g)
            for g in ids:
                assert client.wait_dead(g)["code"] == 0, client.get(f"/v1/goroutines/{g}")


def it_runs_as_nobody():
    """Without root: sockets, state, modules, guard regions or not."""
    if os.geteuid() != 0:
        return
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(Daemon.modules, os.path.join(directory, "modules"),
                        ignore=lambda path, names: [n for n in names if not n.endswith(".so")])
        os.chmod(directory, 0o755)
        os.mkdir(os.path.join(directory, "run"))
        os.chown(os.path.join(directory, "run"), nobody.pw_uid, nobody.pw_gid)
        # The build's directory may be closed to others.
        shutil.copytree(Daemon.programs, os.path.join(directory, "bin"))
        shutil.copytree(os.path.join(Daemon.programs, "..", "lib"), os.path.join(directory, "lib"), symlinks=True)
        script = (
            "import os,sys,subprocess,tempfile; sys.path.insert(0, sys.argv[1]); import harness\n"
            "tempfile.tempdir = sys.argv[3] + '/run'\n"
            "harness.Daemon.bin, harness.Daemon.modules = sys.argv[3] + '/bin', sys.argv[3] + '/modules'\n"
            "if sys.argv[2]: harness.Daemon.bin = harness.emulated(harness.Daemon.bin, sys.argv[2])\n"
            "for flags in ([], ['--stack-guard=mprotect']):\n"
            "    with harness.hog('--state', 'state', '--listen', '127.0.0.1:0', *flags) as (daemon, client, g, path):\n"
            "        held = client.want(200, 'POST', f'/v1/goroutines/{g}/suspend').json\n"
            "        assert held['safepoint'] == 'async' and held['principal'] == 'uid:%d' % os.geteuid(), held\n"
            "        harness.standing_still(path)\n"
            "        assert client.get(f'/v1/goroutines/{g}/snapshot')['frames']\n"
            "        client.want(200, 'POST', f'/v1/goroutines/{g}/resume')\n"
            "        harness.counts(path)\n"
            "        assert daemon.stop() == 0\n")
        here = os.path.join(directory, "tests")
        os.mkdir(here, 0o755)
        for name in ("harness.py", "contract.py"):
            shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), here)
        done = subprocess.run(["/usr/bin/python3", "-c", script, here, emulator(), directory], user=nobody.pw_uid, group=nobody.pw_gid,
                              extra_groups=[], capture_output=True, text=True, timeout=120, cwd="/",
                              env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
        assert done.returncode == 0, done.stderr


main([
    a_wall_clock_that_jumps_leaves_leases_alone,
    a_daemon_that_was_stopped_releases_each_expired_lease_once,
    going_down_with_suspensions_releases_them_and_takes_no_new_work,
    going_down_ends_with_0_when_all_have_ended,
    a_crash_leaves_a_report_and_ends_the_daemon,
    a_broken_pipe_is_the_writers_own_affair,
    storms_in_libc_are_suspended_and_the_daemon_answers,
    memory_runs_out_and_releases_still_work,
    checksums_are_right_under_a_storm_of_signals,
    children_get_nothing_of_the_daemon,
    it_runs_as_nobody,
])
