#!/usr/bin/env python3
"""e2e_cli.py: `grasp` against the daemon, as a user types it."""
import fcntl
import gzip
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios

import perfetto
from harness import HANG_SECONDS, Daemon, counts, emulator, hog, main, standing_still, until

ROOT = pathlib.Path(__file__).resolve().parents[2]

TICK = r"""
#include <grasp/goroutine.h>
#include <stdlib.h>
#include <string.h>

static int start(const char *args_json)
{
    gr_log("args %s", args_json);
    for (int i = 0; strstr(args_json, "forever") || i < 2; i++) {
        gr_log("tick %d", i);
        if (gr_sleep_ns(50000000))
            return 5;
    }
    gr_result("{\"ticks\":2}");
    return 7;
}
GR_ENTRY("start", start, "Ticks twice");
"""


def environment(daemon=None, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GRASP_") and k != "XDG_RUNTIME_DIR"}
    if daemon:
        env["GRASP_SOCKET"] = daemon.socket
        env["HOME"] = daemon.dir
    env.update(more)
    return env


def grasp(daemon, *arguments, code=0, env=None, stdin=None):
    """Runs it and insists on its exit code; gives its stdout and stderr."""
    run = subprocess.run([os.path.join(Daemon.bin, "grasp"), *map(str, arguments)], capture_output=True, text=True,
                         env=env or environment(daemon), input=stdin, timeout=4 * HANG_SECONDS, check=False)
    assert run.returncode == code, f"grasp {arguments}: {run.returncode}, not {code}\n{run.stdout}\n{run.stderr}"
    return run.stdout, run.stderr


def a_loop_is_listed_suspended_looked_at_and_resumed():
    with hog() as (daemon, client, g, path):
        out, _ = grasp(daemon, "ps")
        assert re.search(rf"^ *{g}  running .* hog/scalar ", out, re.M), out
        out, _ = grasp(daemon, "suspend", g, "--lease", "5m", "--owner", "me", "--reason", "a look")
        assert re.search(rf"^goroutine {g} held by suspension \d+ for 5m00s \(a?sync safe-point, stopped in ", out), out
        standing_still(path)
        out, _ = grasp(daemon, "holds")
        assert re.search(r"uid:\d+ +me .* a look$", out, re.M), out
        assert "scalar()" in grasp(daemon, "stack", g)[0]
        assert re.search(r"^r?[xs]p?\w* +0x", grasp(daemon, "snapshot", g, "--vectors")[0], re.M)
        assert grasp(daemon, "show", g)[0]
        grasp(daemon, "resume", g)
        counts(path)
        _, err = grasp(daemon, "resume", g, code=5)
        assert "nobody holds this goroutine" in err, err


def a_selection_is_one_suspension():
    with Daemon() as daemon:
        for team in ("red", "red", "blue"):
            out, _ = grasp(daemon, "run", "hog/calls", "--detach", "-L", f"team={team}")
        s = json.loads(grasp(daemon, "suspend", "-l", "team=red", "-o", "json")[0])
        assert s["count"] == 2 and len(s["held"]) == 2, s
        out, _ = grasp(daemon, "ps", "--suspended", "-o", "ndjson")
        held = [json.loads(line) for line in out.splitlines()]
        assert [h["id"] for h in held] == s["held"], out
        grasp(daemon, "resume", "-S", s["id"])
        assert json.loads(grasp(daemon, "ps", "--suspended", "-o", "json")[0])["items"] == []
        _, err = grasp(daemon, "suspend", "-l", "team=green", code=4)
        assert "(nothing-selected)" in err, err
        s = json.loads(grasp(daemon, "suspend", "--all", "--except", s["held"][0], "-o", "ndjson")[0])
        assert s["count"] == 2, s
        grasp(daemon, "renew", s["id"], "--lease", "2m")
        assert daemon.client().get(f"/v1/suspensions/{s['id']}")["lease_ms"] == 120000


def hold_lasts_as_long_as_the_command():
    with hog() as (daemon, client, g, path):
        # The command itself sees that it is held; a short lease is renewed while it runs.
        script = f"grasp_holds=$({Daemon.bin}/grasp ps --suspended -o ndjson | wc -l); sleep 3; " \
                 f"{Daemon.bin}/grasp ps --suspended -o ndjson | wc -l; exit $((grasp_holds + 40))"
        out, err = grasp(daemon, "hold", g, "--lease", "2s", "--", "sh", "-c", script, code=41)
        assert out == "1\n", (out, err)
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        grasp(daemon, "hold", g, "--", "/no/such/program", code=127)
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        grasp(daemon, "hold", 999, "--", "true", code=125)
        grasp(daemon, "hold", g, code=2)


def hold_releases_when_it_is_told_to_end():
    with hog() as (daemon, client, g, path):
        for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)):
            child = subprocess.Popen([os.path.join(Daemon.bin, "grasp"), "hold", str(g), "--", "sleep", "1000"],
                                     env=environment(daemon), stderr=subprocess.PIPE, text=True)
            assert "1 held" in child.stderr.readline()
            assert client.get(f"/v1/goroutines/{g}")["holds"] == 1
            child.send_signal(number)
            assert child.wait(HANG_SECONDS) == code
            assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
            child.stderr.close()


def a_c_file_is_compiled_loaded_run_and_waited_for():
    if emulator():
        print("      under an emulator: one program can't start another")
        return
    with tempfile.TemporaryDirectory() as modules, Daemon(modules=modules) as daemon:
        source = daemon.path("tick.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(TICK)
        out, err = grasp(daemon, "run", source, '{"a": [1]}', code=7)
        lines = out.splitlines()
        assert lines[:3] == ['args {"a":[1]}', "tick 0", "tick 1"], (out, err)
        assert json.loads("\n".join(lines[3:])) == {"ticks": 2}, out
        # Changed and run again: the new one runs.
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <math.h>\n" + TICK.replace("return 7", "return (int)cbrt(8.1 * 8.1 * atof(\"8.1\"))"))
        grasp(daemon, "run", source, "--cc-flags", "-O0 -g -lm", code=8)
        assert grasp(daemon, "run", "tick/start", '{"a":2}', code=8)[0].startswith('args {"a":2}')
        assert grasp(daemon, "run", "tick", '3', code=8)[0].startswith("args 3")
        # Not C: the compiler says where, and nothing runs.
        with open(source, "w", encoding="utf-8") as file:
            file.write("int x = ;")
        _, err = grasp(daemon, "run", source, code=125)
        assert "tick.c:1" in err, err
        assert os.listdir(modules) == ["tick.so"], os.listdir(modules)
        # One signal asks it to end; its own exit code is told.
        child = subprocess.Popen([os.path.join(Daemon.bin, "grasp"), "run", "tick/start", '"forever"'],
                                 env=environment(daemon), stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == 'args "forever"\n'
        child.send_signal(signal.SIGINT)
        assert child.wait(HANG_SECONDS) == 5
        child.stdout.close()


def bad_input_says_what_to_do():
    with Daemon() as daemon:
        with open(daemon.path("x.cc"), "w", encoding="utf-8"):
            pass
        rows = [((), 2, "usage: grasp COMMAND"), (("frob",), 2, 'no command "frob"'), (("ps", "--frob"), 2, "--frob"),
                (("ps", "-o", "xml"), 2, "table, wide, json or ndjson"), (("ps", "5"), 2, "takes no operands"),
                (("suspend",), 2, "which goroutines?"), (("suspend", "1", "--all"), 2, "use one"),
                (("suspend", "0"), 2, "not an id"), (("suspend", "x"), 2, "not an id"),
                (("suspend", "1", "--lease", "30"), 2, "a time with its unit"), (("suspend", "1"), 4, "no goroutine 1"),
                (("show",), 2, "needs more"), (("stack", "12345"), 4, "(not-found)"),
                (("run", daemon.path("x.cc")), 2, "only files that end in .c"), (("run", "hog/nothing"), 125, "no entry"), (("run", "none/x"), 125, "(module-not-loaded)"),
                (("run", "hog/scalar", "{"), 2, "is not JSON"), (("run", "hog"), 125, "more than one entry"),
                (("load", "../x"), 1, "grasp: "), (("modules", "none"), 4, "grasp: "),
                (("api", "GET", "nothing"), 2, "must begin with /"), (("api", "G T", "/"), 2, "not a method"),
                (("api", "GET", "/v1/nothing"), 4, "(not-found)"), (("renew", "77"), 4, "no suspension 77"),
                (("snapshots", "1", "--kind", "cpu"), 2, "folded or core"), (("snapshots", "--delete"), 2, "which one?"),
                (("snapshot", "1", "--bytes", "8"), 2, "-o json"), (("snapshot", "--all", "--vectors"), 2, "for one ID"),
                (("gdb", "77"), 4, "no goroutine 77"), (("gdb", "-l", "a=b"), 4, "no live goroutine"), (("gdb", "x"), 2, "not an id"),
                (("profile", "--kind", "x"), 2, "cpu or goroutine"), (("profile", "--text"), 2, "no text form"),
                (("profile", "--seconds", "0"), 2, "from 1 to 3600"), (("trace", "--seconds", "x"), 2, "from 1 to 3600"),
                (("trace", "-O", "/nonexistent/t", "--seconds", "1"), 9, "cannot write"),
                (("ps", "--color", "red"), 2, "auto, always or never"), (("ps", "--sort", "age"), 2, "--sort must be"),
                (("ps", "-s", "asleep"), 1, "is no state"), (("runtime", "--async-preempt", "x"), 2, "on or off"),
                (("--socket", "/none", "--url", "http://h", "ps"), 2, "give one"),
                (("--url", "https://localhost", "ps"), 2, "no TLS"), (("--socket", "/nonexistent/s", "ps"), 3, "No such file")]
        for arguments, code, says in rows:
            _, err = grasp(daemon, *arguments, code=code)
            assert says in err, (arguments, says, err)


def it_finds_the_daemon_by_flag_environment_and_config():
    with Daemon("--listen", "127.0.0.1:0", "--token-file", "token") as daemon:
        with open(daemon.path("token"), encoding="utf-8") as file:
            token = file.read().split()[-1]
        url = "http://" + daemon.places["listen"]
        bare = environment(HOME=daemon.dir)

        def pid(*flags, code=0, **env):
            out, err = grasp(daemon, *flags, "runtime", "-o", "json", env=dict(bare, **env), code=code)
            return json.loads(out)["pid"] if code == 0 else err
        me = daemon.process.pid
        assert pid("--socket", daemon.socket) == me
        assert pid("--url", url, "--token-file", daemon.path("token")) == me
        assert pid("--url", f"{url}/#token={token}") == me
        assert pid(GRASP_SOCKET=daemon.socket) == me
        assert pid(GRASP_URL=url, GRASP_TOKEN=token) == me
        assert pid(GRASP_URL=url, GRASP_TOKEN_FILE=daemon.path("token")) == me
        assert "give a token" in pid(code=7, GRASP_URL=url)
        config = daemon.path(".config/grasp/config.json")
        os.makedirs(os.path.dirname(config))
        for text, code in (({"socket": daemon.socket}, 0), ({"url": url, "token": token}, 0),
                           ({"url": url, "token_file": daemon.path("token")}, 0),
                           ({"urll": url}, 2), ({"url": 5}, 2)):
            with open(config, "w", encoding="utf-8") as file:
                json.dump(text, file)
            assert pid(code=code) == me or code, text
        # A token of the config file does not go to a place that somebody else named.
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"url": "http://127.0.0.1:1", "token": token}, file)
        assert "give a token" in pid("--url", url, code=7)
        runtime = daemon.path("run")
        os.makedirs(runtime)
        os.symlink(daemon.socket, os.path.join(runtime, "graspd.sock"))
        os.unlink(config)
        assert pid(XDG_RUNTIME_DIR=runtime) == me


def events_are_watched_as_they_happen():
    with hog() as (daemon, client, g, path):
        child = subprocess.Popen([os.path.join(Daemon.bin, "grasp"), "watch", "-o", "ndjson", "-t", "suspended,resumed",
                                  "-n", "4"], env=environment(daemon), stdout=subprocess.PIPE, text=True)
        # The first event proves that it listens.
        seen = None
        while seen is None:
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
            client.want(200, "POST", f"/v1/goroutines/{g}/resume")
            if select.select([child.stdout], [], [], 0.05)[0]:
                seen = json.loads(child.stdout.readline())
        assert seen["type"] in ("suspended", "resumed") and g in (seen.get("goroutine"), *seen.get("ids", [])), seen
        for _ in range(2):
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
            client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        rest = child.stdout.read().splitlines()
        assert child.wait(HANG_SECONDS) == 0 and len(rest) == 3, rest
        child.stdout.close()


def groups_are_saved_shown_and_deleted_and_one_is_a_core():
    with Daemon("--state", "state") as daemon:
        paths = [daemon.path(name) for name in "abc"]
        for path in paths:
            grasp(daemon, "run", "hog/calls", json.dumps({"counter": path}), "--detach", "-L", "team=red")
        for path in paths:
            counts(path)  # its stack is the loop's, and not that of one that has not begun
        out, _ = grasp(daemon, "snapshot", "-l", "team=red")
        assert re.search(r"^snapshot 1 of 3 goroutines is saved ", out), out
        out, _ = grasp(daemon, "snapshots")
        assert re.search(r"^ *1 +3 +\d+ +\d{4}-\S+Z +0 +uid:\d+$", out, re.M), out
        assert "calls()" in grasp(daemon, "snapshots", 1)[0]
        assert re.search(r"calls.* \d+$", grasp(daemon, "snapshots", 1, "--kind", "folded")[0], re.M)
        core = daemon.path("saved.core")
        grasp(daemon, "snapshots", 1, "--kind", "core", "-O", core)
        grasp(daemon, "core", 1, "-O", daemon.path("one.core"))
        for name in (core, daemon.path("one.core")):
            with open(name, "rb") as file:
                assert file.read(4) == b"\x7fELF", name
        grasp(daemon, "snapshots", 1, "--delete")
        grasp(daemon, "snapshots", 1, code=4)
        assert json.loads(grasp(daemon, "snapshots", "-o", "json")[0])["items"] == []


def gdb_sees_a_goroutine_that_runs_on_afterwards():
    if emulator():
        print("      under an emulator: one program can't start another")
        return
    with hog(entry="calls") as (daemon, client, g, path):
        out, err = grasp(daemon, "gdb", g, "--", "-batch", "-ex", "info threads", "-ex", "bt", "-ex", "detach")
        assert f"goroutine {g} hog/calls" in out and re.search(r"^#\d+ .*\bcalls ", out, re.M), (out, err)
        counts(path)
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        _, err = grasp(daemon, "gdb", "--relay", 999, code=4)
        assert "no goroutine 999" in err, err
        grasp(daemon, "gdb", code=2)


def api_speaks_to_every_route():
    with Daemon() as daemon:
        assert json.loads(grasp(daemon, "api", "get", "/v1/runtime")[0])["pid"] == daemon.process.pid
        out, _ = grasp(daemon, "api", "-i", "GET", "/healthz", "-H", "X-Test: 1")
        assert out.startswith("HTTP/1.1 200\n") and "Grasp-Instance: " in out and out.endswith("\n\nok\n"), out
        out, _ = grasp(daemon, "api", "POST", "/v1/goroutines", "-", stdin='{"module":"hog","entry":"calls"}')
        g = json.loads(out)["ids"][0]
        with open(daemon.path("body"), "w", encoding="utf-8") as file:
            file.write('{"lease_ms":60000}')
        grasp(daemon, "api", "POST", f"/v1/goroutines/{g}/suspend", "@" + daemon.path("body"))
        assert daemon.client().get(f"/v1/goroutines/{g}")["suspended"]
        grasp(daemon, "api", "HEAD", "/v1/runtime")


def colour_and_width_only_on_a_terminal():
    with Daemon() as daemon:
        grasp(daemon, "run", "hog/calls", "--detach", "-L", "a=" + "x" * 200)
        assert "\033" not in grasp(daemon, "ps")[0] and "x" * 200 in grasp(daemon, "ps")[0]
        assert "\033[" in grasp(daemon, "ps", "--color", "always")[0]
        for more, colored in (({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
            env = environment(daemon, **more)
            env.pop("COLUMNS", None)
            text = in_terminal(["ps"], env, 70)
            assert ("\033[" in text) == colored, (more, text)
            lines = re.sub("\033\\[[0-9;]*m", "", text).replace("\r", "").splitlines()
            assert len(lines) == 2 and max(map(len, lines)) <= 70, lines


def in_terminal(arguments, env, columns, rows=24):
    """What it writes to a terminal of that size, until it ends."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execve(os.path.join(Daemon.bin, "grasp"), ["grasp", *arguments], env)
    text = b""
    with os.fdopen(fd, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                text += part
        except OSError:
            pass  # the other end closed
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    return text.decode()


def screen_of(text, columns, rows):
    """What a terminal shows after these bytes: enough of a vt100's language for what ncurses sends."""
    lines, y, x = [[" "] * columns for _ in range(rows)], 0, 0
    for code, args, final, char in re.findall(r"\033(?:([\[()])([0-9;?]*)(.)|[=>78])|([^\033])", text, re.S):
        n = [int(a) for a in re.findall(r"\d+", args)]
        first = n[0] if n else 1
        if char == "\r":
            x = 0
        elif char == "\n":
            y = min(y + 1, rows - 1)
        elif char == "\b":
            x = max(x - 1, 0)
        elif char >= " ":
            lines[y][min(x, columns - 1)] = char
            x += 1
        elif code == "[" and final == "H":
            y, x = (n + [1, 1])[0] - 1 if n else 0, n[1] - 1 if len(n) > 1 else 0
        elif code == "[" and final == "d":
            y = first - 1
        elif code == "[" and final == "G":
            x = first - 1
        elif code == "[" and final in "ABCD":
            y += {"A": -first, "B": first}.get(final, 0)
            x += {"C": first, "D": -first}.get(final, 0)
        elif code == "[" and final == "J":
            lines[y][x:] = [" "] * (columns - x)
            for below in range(y + 1, rows):
                lines[below] = [" "] * columns
        elif code == "[" and final == "K":
            lines[y][x:] = [" "] * (columns - x)
        elif code == "[" and final == "X":
            lines[y][x:x + first] = [" "] * first
    return ["".join(line).rstrip() for line in lines]


class Terminal:
    """`grasp top` in a terminal that is a pty."""

    def __init__(self, daemon, *arguments, columns=120, rows=20):
        self.columns, self.rows, self.text = columns, rows, ""
        pid, self.fd = pty.fork()
        if pid == 0:
            env = environment(daemon, TERM="vt100", LINES=str(rows), COLUMNS=str(columns))
            os.execve(os.path.join(Daemon.bin, "grasp"), ["grasp", "top", "-d", "100ms", *arguments], env)
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode()
            except OSError:
                break
        return screen_of(self.text, self.columns, self.rows)

    def shows(self, pattern):
        try:
            return until(lambda: next((line for line in self.lines() if re.search(pattern, line)), None),
                         f"the screen shows {pattern}")
        except AssertionError:
            print("\n".join(self.lines()))
            raise

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        """Its exit code once it ended."""
        status = None

        def reap():
            nonlocal status
            self.lines()
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if pid else None
            return pid
        until(reap, "it ends")
        os.close(self.fd)
        return status


def has_top(daemon):
    """A build without ncurses has none, and says so."""
    has = "top:" in grasp(daemon, "__rows")[0]
    if not has:
        print("      built without libncurses-dev: no top")
        assert 'no command "top"' in grasp(daemon, "top", code=2)[1]
    return has


def top_shows_sorts_filters_freezes_and_takes_hold():
    with Daemon() as daemon:
        if not has_top(daemon):
            return
        client = daemon.client()
        first = client.spawn("hog", "calls", {"counter": daemon.path("c")}, labels={"team": "red"})
        client.spawn("deadlock", "channel")
        counts(daemon.path("c"))
        top = Terminal(daemon)
        top.shows(rf"^ +{first} \w+ .* hog/calls")
        top.shows(r"deadlock/channel")
        top.shows(r"goroutines: \d+ live")
        top.press("/team=red\n")
        top.shows(r"^1 shown, by cpu, with team=red")
        assert not any("deadlock/" in line for line in top.lines())
        top.press("s")
        top.shows(r"^1 shown, by id, with team=red")
        top.press("z")
        until(lambda: client.get(f"/v1/goroutines/{first}")["suspended"], "z suspends the marked one")
        top.shows(rf"^ +{first} preempted +1 ")
        top.press("\n")
        top.shows(r"^calls\(\)$")
        top.press("x")
        top.press("r")
        until(lambda: not client.get(f"/v1/goroutines/{first}")["suspended"], "r resumes it")
        top.press(" ")
        top.shows("FROZEN")
        top.press("/\n")
        top.shows(r"^2 shown, by id$")
        top.press("?")
        top.shows("^space +freeze the picture")
        top.press("x")
        top.press("q")
        assert top.end() == 0
        # A signal ends it as well, and the terminal is itself again.
        top = Terminal(daemon)
        top.shows("goroutines: ")
        os.kill(top.pid, signal.SIGTERM)
        assert top.end() == 0
        _, err = grasp(daemon, "top", code=2)
        assert "needs a terminal" in err, err


def top_of_very_many_stays_small_and_can_be_left():
    count = 20000
    with Daemon(modules=Daemon.own_modules) as daemon:
        if not has_top(daemon):
            return
        daemon.client().spawn("crowd", "crowd", {"path": daemon.path("crowd"), "count": count, "sleep_us": 600000000})
        until(lambda: daemon.client().get("/v1/runtime")["live"] >= count, "all are born")
        top = Terminal(daemon, "--sort", "id")
        top.shows(r"^2000[01] shown, by id")
        top.press("G\033[F")  # whatever a key means, keys are taken while it looks
        top.press(f"/{count}\n")
        top.shows(rf"^1 shown, by id, with {count}$")
        top.shows(rf"^ +{count} waiting .* crowd/crowd")
        with open(f"/proc/{top.pid}/status", encoding="ascii") as file:
            resident = int(re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.M).group(1))
        assert resident < 64 * 1024 or emulator() or Daemon.sanitizer, f"{resident} kB of {count} goroutines"
        top.press("q")
        assert top.end() == 0


def top_says_that_the_daemon_is_gone_and_goes_on():
    with Daemon() as daemon:
        if not has_top(daemon):
            return
        top = Terminal(daemon)
        top.shows("goroutines: ")
        daemon.stop(signal.SIGKILL)
        top.shows("cannot connect|closed the connection|connection (failed|ended)")
        top.press("q")
        assert top.end() == 0


def json_is_one_value_whatever_the_number_of_operands():
    with hog() as (daemon, client, g, path):
        other = client.spawn("deadlock", "channel")
        one = json.loads(grasp(daemon, "stack", g, "-o", "json")[0])
        assert one["goroutine"] == g
        out, err = grasp(daemon, "stack", g, 999999, other, "-o", "json", code=4)
        assert [s["goroutine"] for s in json.loads(out)] == [g, other] and "no goroutine 999999" in err, (out, err)
        text = grasp(daemon, "stack", g, 999999, other, code=4)[0]
        assert f"goroutine {g} " in text and f"goroutine {other} " in text, text
        for _ in range(2):
            grasp(daemon, "suspend", g, other)
        assert grasp(daemon, "resume", g)[0] == f"goroutine {g} is still held once\n"
        out = json.loads(grasp(daemon, "resume", g, other, "-o", "json")[0])
        assert [(x["id"], x["holds"]) for x in out] == [(g, 0), (other, 1)], out
        lines = grasp(daemon, "cancel", g, other, "-o", "ndjson")[0].splitlines()
        assert [json.loads(line)["id"] for line in lines] == [g, other], lines


def profiles_and_traces_are_written_and_hold_what_ran():
    with hog(entry="calls") as (daemon, client, g, path):
        out, err = grasp(daemon, "profile", "--seconds", 1, "-O", daemon.path("cpu"))
        assert out == "" and "go tool pprof" in err, (out, err)
        with open(daemon.path("cpu"), "rb") as file:
            profile = gzip.decompress(file.read())
        assert b"calls" in profile and b"hog.c" in profile
        # The default name is in the folder one stands in.
        run = subprocess.run([os.path.join(Daemon.bin, "grasp"), "profile", "--kind", "goroutine"], cwd=daemon.dir, check=True,
                             capture_output=True, env=environment(daemon), timeout=HANG_SECONDS)
        assert run.stdout == b"" and os.path.exists(daemon.path("goroutine.pb.gz"))
        assert re.search(r"^goroutine \d+ .*running|^calls\(|calls", grasp(daemon, "profile", "--kind", "goroutine", "--text")[0])
        assert gzip.decompress(subprocess.run(
            [os.path.join(Daemon.bin, "grasp"), "profile", "--kind", "goroutine", "-O", "-"], check=True, capture_output=True,
            env=environment(daemon), timeout=HANG_SECONDS).stdout)
        grasp(daemon, "trace", "--seconds", 1, "-O", daemon.path("trace"))
        with open(daemon.path("trace"), encoding="utf-8") as file:
            events = perfetto.check(json.load(file))["X"]
        assert any(e.get("args", {}).get("goroutine") == g for e in events), events[:20]


def a_daemon_that_dies_under_a_run_is_told_apart_from_the_goroutine():
    with Daemon() as daemon:
        child = subprocess.Popen([os.path.join(Daemon.bin, "grasp"), "run", "deadlock/channel"], env=environment(daemon),
                                 stderr=subprocess.PIPE, text=True)
        until(lambda: daemon.client().get("/v1/goroutines?state=waiting")["items"], "it waits")
        daemon.stop(signal.SIGKILL)
        assert child.wait(HANG_SECONDS) == 125
        assert "its report is in the daemon's log" in child.stderr.read()
        child.stderr.close()


def completion_and_manual_know_every_command():
    with Daemon() as daemon:
        commands = [row.split(":")[0] for row in grasp(daemon, "__rows")[0].splitlines()]
        manual = (ROOT / "clients/cli/man/grasp.1.scd").read_text(encoding="utf-8")
        for command in commands:
            assert f"*{command}*" in manual and "*top*" in manual, f"grasp(1) does not name {command}"
            for option in grasp(daemon, "__rows", command)[0].splitlines():
                name = option.split(":")[0]
                assert f"*{name}*" in manual, f"grasp(1) does not name {name} of {command}"
        script = ROOT / "clients/cli/completion/grasp.bash"
        grasp(daemon, "run", "hog/calls", "--detach")

        def complete(*words):
            quoted = " ".join(f"'{w}'" for w in words)
            run = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
                                                "_grasp; printf '%s\\n' \"${COMPREPLY[@]}\""],
                                 capture_output=True, text=True, timeout=HANG_SECONDS, check=True,
                                 env=environment(daemon, PATH=Daemon.bin + ":" + os.environ["PATH"]))
            return run.stdout.split()
        assert set(complete("grasp", "")) == {*commands, "help"}
        assert complete("grasp", "susp") == ["suspend"]
        assert "--lease" in complete("grasp", "suspend", "--")
        assert complete("grasp", "ps", "-o", "n") == ["ndjson"]
        assert complete("grasp", "stack", "") == ["1"]
        assert "hog/scalar" in complete("grasp", "run", "hog/s")
        assert complete("grasp", "load", "pip") == ["pipeline"]
        assert complete("grasp", "snapshots", "--kind", "") == ["folded", "core"]
        assert complete("grasp", "profile", "--kind", "c") == ["cpu"]
        for _ in range(2):
            grasp(daemon, "suspend", 1, "--lease", "5m")
        grasp(daemon, "resume", "-S", 1)
        assert complete("grasp", "resume", "-S", "") == ["2"]
        assert complete("grasp", "ps", "--root", "") == ["1"]
        assert complete("grasp", "watch", "-t", "l") == ["lease-expired", "log"]


def help_names_every_option_that_is_taken():
    with Daemon() as daemon:
        rows = [row.split(":")[0] for row in grasp(daemon, "__rows")[0].splitlines()]
        assert "suspend" in rows and len(rows) > 15, rows
        usage = grasp(daemon, "--help")[0]
        for command in rows:
            assert f"  {command} " in usage, command
            text = grasp(daemon, command, "--help")[0]
            assert text == grasp(daemon, "help", command)[0]
            for option in grasp(daemon, "__rows", command)[0].splitlines():
                assert option.split(":")[0] in text, (command, option)


if __name__ == "__main__":
    main([a_loop_is_listed_suspended_looked_at_and_resumed, a_selection_is_one_suspension,
          hold_lasts_as_long_as_the_command, hold_releases_when_it_is_told_to_end,
          a_c_file_is_compiled_loaded_run_and_waited_for, bad_input_says_what_to_do,
          it_finds_the_daemon_by_flag_environment_and_config, events_are_watched_as_they_happen,
          groups_are_saved_shown_and_deleted_and_one_is_a_core, gdb_sees_a_goroutine_that_runs_on_afterwards, api_speaks_to_every_route, colour_and_width_only_on_a_terminal,
          top_shows_sorts_filters_freezes_and_takes_hold,
          top_of_very_many_stays_small_and_can_be_left, top_says_that_the_daemon_is_gone_and_goes_on,
          json_is_one_value_whatever_the_number_of_operands, profiles_and_traces_are_written_and_hold_what_ran,
          a_daemon_that_dies_under_a_run_is_told_apart_from_the_goroutine,
          completion_and_manual_know_every_command, help_names_every_option_that_is_taken])
