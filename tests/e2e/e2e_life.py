#!/usr/bin/env python3
"""e2e_life.py: starting, going down, and being inside another program."""
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile

from harness import Client, Daemon, HANG_SECONDS, UnixConnection, about_loops_without_calls, counts, hog, main, standing_still, until


def graspd(*arguments):
    return subprocess.run([os.path.join(Daemon.bin, "graspd"), *arguments], capture_output=True, text=True,
                          timeout=HANG_SECONDS)


def the_ready_line_is_the_first_on_stdout():
    with Daemon("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--state", "state") as daemon:
        assert daemon.places["unix"] == daemon.socket, daemon.ready
        listeners = daemon.places["listen"].split(",")
        assert len(listeners) == 2 and not any(l.endswith(":0") for l in listeners), listeners
        assert os.stat(daemon.path("state/token")).st_mode & 0o777 == 0o600


def bad_flags_end_with_2_and_name_the_flag():
    for arguments, mark in ((["--prox"], "--prox"), (["--procs", "0"], "--procs"), (["x"], "x"),
                            (["--config", "/nonexistent"], "/nonexistent"), (["--async-preempt=2"], "on or off")):
        done = graspd(*arguments)
        assert done.returncode == 2 and mark in done.stderr and not done.stdout, done


def version_and_help_are_told():
    assert graspd("--version").stdout.startswith("graspd "), graspd("--version")
    assert "--modules DIR" in graspd("--help").stdout


def what_cannot_be_served_is_said():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        for arguments, mark in ((["--unix", path, "--listen", "203.0.113.1:1"], "loopback"),
                                (["--unix", path, "--listen", "nonsense"], "HOST:PORT"),
                                (["--unix", path, "--modules", "/nonexistent"], "/nonexistent"),
                                (["--unix", path, "--listen", "0.0.0.0:0", "--allow-remote", "--no-auth"], "--no-auth"),
                                (["--unix", os.path.join(directory, "n" * 200)], "--unix"),
                                (["--unix", "/nonexistent/s"], "/nonexistent/s")):
            done = graspd(*arguments)
            assert done.returncode == 1 and mark in done.stderr and not done.stdout, (arguments, done)
        assert not os.path.exists(path)


def a_left_over_socket_is_replaced_and_a_live_one_is_not():
    with Daemon() as daemon:
        done = graspd("--unix", daemon.socket)
        assert done.returncode == 1 and "in use" in done.stderr, done
        daemon.client().want(200, "GET", "/healthz")
        path = daemon.path("old")
        left = socket.socket(socket.AF_UNIX)
        left.bind(path)
        left.close()
        with open(daemon.path("file"), "w"):
            pass
        assert graspd("--unix", daemon.path("file")).returncode == 1
        process = subprocess.Popen([os.path.join(Daemon.bin, "graspd"), "--unix", path], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        assert process.stdout.readline().startswith("graspd ready ")
        process.terminate()
        assert process.wait(HANG_SECONDS) == 0
        process.stdout.close()


def a_start_waits_for_another_one_at_the_same_place():
    """The case is the other daemon here: it has found the left-over, and takes its place while graspd waits."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([os.path.join(Daemon.bin, "graspd"), "--unix", path], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)

        def has_opened_the_directory():
            with contextlib.suppress(OSError):
                return any(os.path.realpath(f"/proc/{process.pid}/fd/{fd}") == directory
                           for fd in os.listdir(f"/proc/{process.pid}/fd"))
        try:
            until(has_opened_the_directory, "graspd comes to the lock")
            other = socket.socket(socket.AF_UNIX)
            os.unlink(path)
            other.bind(path)
            other.listen()
            os.close(lock)
            out, err = process.communicate(timeout=HANG_SECONDS)
            assert process.returncode == 1 and not out and "in use" in err, (process.returncode, out, err)
            other.close()
        finally:
            process.kill()


def of_many_that_start_at_once_one_serves():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        many = [subprocess.Popen([os.path.join(Daemon.bin, "graspd"), "--unix", path], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True) for _ in range(6)]
        try:
            lines = [process.stdout.readline() for process in many]
            ready = [process for process, line in zip(many, lines) if line.startswith("graspd ready")]
            assert len(ready) == 1, lines
            client = Client(UnixConnection(path))
            assert client.get("/v1/runtime")["pid"] == ready[0].pid
            client.close()
            ready[0].terminate()
            codes = [process.wait(HANG_SECONDS) for process in many]
            assert sorted(codes) == [0] + 5 * [1] and not os.path.exists(path), codes
        finally:
            for process in many:
                process.kill()
                process.communicate()


def what_a_crash_left_half_written_is_removed_at_the_next_start():
    with tempfile.TemporaryDirectory() as directory:
        with Daemon("--state", directory) as daemon:
            left = os.path.join(directory, f".writing-{daemon.process.pid}-0")
            with open(left, "w") as file:
                file.write("a snapshot, half of it")
            daemon.process.kill()
            daemon.process.wait(HANG_SECONDS)
        with Daemon("--state", directory):
            assert not os.path.exists(left)


def a_config_file_has_the_names_of_the_flags():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "config")
        with open(path, "w") as file:
            json.dump({"procs": 1, "async-preempt": "off", "listen": ["127.0.0.1:0"], "no-auth": True}, file)
        with Daemon("--config", path, "--procs", "2") as daemon:
            runtime = daemon.tcp().get("/v1/runtime")
            assert runtime["procs"] == 2 and runtime["async_preempt"] is False, runtime
            assert "no-auth" in daemon.log()


def sigterm_releases_all_and_ends_with_0():
    # Short stretches: on a busy machine the default one's some tenths of a second of a core can take longer than the drain.
    with hog(stretch=1000000) as (daemon, client, g, path):
        held = client.spawn("deadlock", "channel")
        for one in (g, held):
            client.want(200, "POST", f"/v1/goroutines/{one}/suspend", {"lease_ms": 3600000})
        standing_still(path, 0.1)
        assert daemon.stop() == 0, daemon.log()
        assert "event=drained" in daemon.log(), daemon.log()
        assert not os.path.exists(daemon.socket)


@about_loops_without_calls
def draining_refuses_new_work_and_says_so():
    with hog("--drain-seconds", "3600", stretch=0) as (daemon, client, g, path):
        waiting = daemon.client()
        waiting.send("GET", f"/v1/goroutines/{g}?wait_ms=60000")
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: client.ask("GET", "/readyz").status == 503, "it drains")
        client.want(200, "GET", "/healthz")
        client.want(503, "POST", "/v1/goroutines", {"module": "hog", "entry": "scalar"}, "draining")
        client.want(503, "POST", f"/v1/goroutines/{g}/suspend", {}, "draining")
        client.want(409, "POST", f"/v1/goroutines/{g}/resume", {}, "not-suspended")
        client.want(200, "GET", f"/v1/goroutines/{g}/snapshot")
        # The second signal does not wait.
        assert daemon.stop() == 128 + signal.SIGTERM


@about_loops_without_calls
def leftovers_are_named_after_the_time():
    with hog("--drain-seconds", "1", stretch=0) as (daemon, client, g, path):
        assert daemon.stop(signal.SIGINT) == 0
        assert "event=drain-leftovers" in daemon.log() and f"ids={g}" in daemon.log(), daemon.log()


@about_loops_without_calls
def waiting_requests_are_answered_at_the_end():
    with hog("--drain-seconds", "0", stretch=0) as (daemon, client, g, path):
        client.send("GET", f"/v1/goroutines/{g}?wait_ms=60000")
        other = daemon.client()
        other.want(200, "GET", "/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        answer = client.receive()
        assert answer.status == 200 and answer.json["state"] != "dead", answer
        assert daemon.process.wait(HANG_SECONDS) == 0


def stopped_and_continued_it_releases_what_expired():
    with hog() as (daemon, client, g, path):
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 100})
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
        daemon.process.send_signal(signal.SIGCONT)
        counts(path)
        assert client.get("/v1/suspensions")["items"] == []


@about_loops_without_calls
def a_program_with_the_control_plane_inside_is_controlled():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        process = subprocess.Popen([os.path.join(Daemon.bin, "embed"), "--unix", path], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout.readline().strip() == f"embed ready unix={path}"
            client = Client(UnixConnection(path))
            modules = client.get("/v1/modules")["items"]
            assert [m["name"] for m in modules] == ["main"], modules
            running = until(lambda: [g for g in client.get("/v1/goroutines")["items"] if g["name"] == "searcher"],
                            "a searcher lives")
            g = running[0]["id"]

            def held_in_search():
                """One that was just born has not come to its function when it is held."""
                client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000})
                frames = client.get(f"/v1/goroutines/{g}/stack")["frames"]
                client.want(200, "POST", f"/v1/goroutines/{g}/resume")
                return any(f["function"] == "search" for f in frames)

            until(held_in_search, "it is held in search")
            client.want(403, "POST", "/v1/modules", {"name": "hog"}, "forbidden")
            client.close()
            process.terminate()
            assert process.wait(HANG_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def a_program_without_options_has_its_socket_where_the_header_says():
    """And leaves none behind when it returns from main."""
    with tempfile.TemporaryDirectory() as directory:
        for runtime in (directory, None):
            environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
            if runtime:
                environment["XDG_RUNTIME_DIR"] = runtime
            process = subprocess.Popen([os.path.join(Daemon.bin, "embed")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True, env=environment)
            try:
                process.stdout.readline()
                path = f"{runtime}/grasp-{process.pid}.sock" if runtime else f"/tmp/grasp-{os.getuid()}-{process.pid}.sock"
                client = Client(UnixConnection(path))
                assert client.get("/v1/modules")["items"], path
                client.close()
                process.terminate()
                assert process.wait(HANG_SECONDS) == 0
                assert not os.path.exists(path), path
            finally:
                process.kill()
                process.wait()
                process.stdout.close()


main([
    the_ready_line_is_the_first_on_stdout,
    bad_flags_end_with_2_and_name_the_flag,
    version_and_help_are_told,
    what_cannot_be_served_is_said,
    a_left_over_socket_is_replaced_and_a_live_one_is_not,
    a_start_waits_for_another_one_at_the_same_place,
    of_many_that_start_at_once_one_serves,
    what_a_crash_left_half_written_is_removed_at_the_next_start,
    a_config_file_has_the_names_of_the_flags,
    sigterm_releases_all_and_ends_with_0,
    draining_refuses_new_work_and_says_so,
    leftovers_are_named_after_the_time,
    waiting_requests_are_answered_at_the_end,
    stopped_and_continued_it_releases_what_expired,
    a_program_with_the_control_plane_inside_is_controlled,
    a_program_without_options_has_its_socket_where_the_header_says,
])
