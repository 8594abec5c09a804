#!/usr/bin/env python3
"""e2e_systemd.py: readiness and socket activation, in a build with libsystemd and in one without; --check-config.

A service manager is played by this program: it binds the sockets and reads the datagrams that sd_notify sends.
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile

from harness import Client, Daemon, HANG_SECONDS, UnixConnection, main

PLAIN = "graspd-without-systemd"


def has_systemd(program):
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=HANG_SECONDS).stdout
    assert "+systemd" in version or "-systemd" in version, version
    return "+systemd" in version


class Service:
    """A graspd started as a service manager starts it, with `sockets` handed over."""

    def __init__(self, program, sockets=(), flags=()):
        self.directory = tempfile.TemporaryDirectory()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path("notify"))
        self.notify.settimeout(HANG_SECONDS)
        # The handed ones become descriptors 3, 4, ...; LISTEN_PID is the process itself, which only a shell's exec knows.
        moves = "".join(f"exec {3 + i}<&{s.fileno()}; " for i, s in enumerate(sockets))
        script = moves + (f"export LISTEN_FDS={len(sockets)} LISTEN_PID=$$; " if sockets else "") + 'exec "$0" "$@"'
        self.log = open(self.path("log"), "w+")
        self.process = subprocess.Popen(["/bin/bash", "-c", script, program, *flags], stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        pass_fds=[s.fileno() for s in sockets],
                                        env=dict(os.environ, NOTIFY_SOCKET=self.path("notify")), cwd=self.directory.name)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def ready(self):
        line = self.process.stdout.readline()
        assert line.startswith("graspd ready "), (line, self.logged())
        return dict(part.split("=", 1) for part in line.split()[2:])

    def logged(self):
        with open(self.path("log")) as file:
            return file.read()

    def told(self):
        return self.notify.recv(4096).decode().split("\n")

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_SECONDS)
        self.process.stdout.close()
        self.log.close()
        self.notify.close()
        self.directory.cleanup()


def listening(family, address):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind(address)
    server.listen()
    return server


def the_manager_is_told_how_the_daemon_is():
    program = os.path.join(Daemon.bin, "graspd")
    if not has_systemd(program):
        return
    with Service(program, flags=["--unix", "s"]) as service:
        service.ready()
        assert "READY=1" in service.told()
        service.process.send_signal(signal.SIGHUP)
        told = service.told()
        assert "RELOADING=1" in told and any(line.startswith("MONOTONIC_USEC=") for line in told), told
        assert "READY=1" in service.told()
        service.process.terminate()
        assert "STOPPING=1" in service.told()
        assert service.process.wait(HANG_SECONDS) == 0


def sockets_that_are_handed_over_are_served():
    program = os.path.join(Daemon.bin, "graspd")
    if not has_systemd(program):
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        unix, tcp = listening(socket.AF_UNIX, path), listening(socket.AF_INET, ("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        with Service(program, [unix, tcp], ["--state", "state"]) as service:
            places = service.ready()
            assert places == {"unix": path, "listen": f"127.0.0.1:{port}"}, places
            client = Client(UnixConnection(path))
            assert client.get("/v1/runtime")["pid"] == service.process.pid
            stranger = Client(http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS))
            stranger.want(401, "GET", "/v1/runtime", code="unauthorized")
            with open(service.path("state/token")) as file:
                stranger.headers = {"Authorization": f"Bearer {file.read().strip()}"}
            stranger.want(200, "GET", "/v1/runtime")
            # It is the manager's: a restart finds it again, so it is not removed.
            service.process.terminate()
            assert service.process.wait(HANG_SECONDS) == 0 and os.path.exists(path)
            client.close()
            stranger.close()
        unix.close()
        tcp.close()


def a_socket_without_a_file_is_named_as_the_kernel_names_it():
    program = os.path.join(Daemon.bin, "graspd")
    if not has_systemd(program):
        return
    name = f"grasp-e2e-{os.getpid()}"
    unix = listening(socket.AF_UNIX, "\0" + name)
    with Service(program, [unix]) as service:
        assert service.ready()["unix"] == "@" + name
        client = Client(UnixConnection("\0" + name))
        client.want(200, "GET", "/healthz")
        client.close()
    unix.close()


def what_cannot_be_served_is_refused():
    program = os.path.join(Daemon.bin, "graspd")
    if not has_systemd(program):
        return
    idle = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    remote = listening(socket.AF_INET, ("0.0.0.0", 0))
    for handed, mark in ((idle, "no listening"), (remote, "loopback")):
        with Service(program, [handed]) as service:
            assert service.process.wait(HANG_SECONDS) == 1 and mark in service.logged(), service.logged()
        handed.close()


def a_build_without_libsystemd_says_so():
    program = os.path.join(Daemon.bin, PLAIN)
    assert not has_systemd(program)
    unix = None
    with tempfile.TemporaryDirectory() as directory:
        unix = listening(socket.AF_UNIX, os.path.join(directory, "s"))
        with Service(program, [unix]) as service:
            assert service.process.wait(HANG_SECONDS) == 2 and "without libsystemd" in service.logged(), service.logged()
        unix.close()
    with Service(program, flags=["--unix", "s"]) as service:
        places = service.ready()
        client = Client(UnixConnection(service.path(places["unix"])))
        client.want(200, "GET", "/healthz")
        client.close()
        service.process.terminate()
        assert service.process.wait(HANG_SECONDS) == 0
        service.notify.setblocking(False)
        try:
            raise AssertionError(f"it told {service.told()}")
        except BlockingIOError:
            pass


def a_configuration_is_checked_and_printed():
    program = os.path.join(Daemon.bin, "graspd")

    def run(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=HANG_SECONDS)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "config")
        with open(path, "w") as file:
            json.dump({"procs": 2, "listen": ["127.0.0.1:0", "[::1]:0"], "unix-mode": "0660", "idle-seconds": 5}, file)
        assert run("--config", path, "--check-config").returncode == 0
        printed = json.loads(run("--config", path, "--procs", "3", "--print-config").stdout)
        assert printed["procs"] == 3 and printed["unix-mode"] == "0660" and printed["idle-seconds"] == 5, printed
        assert printed["listen"] == ["127.0.0.1:0", "[::1]:0"] and printed["head-seconds"] == 10, printed
        # What is printed is a file that means the same.
        again = os.path.join(directory, "again")
        with open(again, "w") as file:
            json.dump(printed, file)
        assert json.loads(run("--config", again, "--print-config").stdout) == printed
        for wrong, mark in (({"prox": 1}, "prox"), ({"procs": "2"}, "procs"), ({"procs": 0}, "procs"), ({"idle-seconds": 0}, "idle-seconds"),
                            ({"config": "x"}, "config"), ({"print-config": True}, "print-config"), ({"listen": [1]}, "listen"), ([], "object")):
            with open(path, "w") as file:
                json.dump(wrong, file)
            done = run("--config", path, "--check-config")
            assert done.returncode == 2 and mark in done.stderr and not done.stdout, (wrong, done)


def what_a_start_would_refuse_a_check_refuses():
    """The same sentence from both, and the check makes nothing."""
    program = os.path.join(Daemon.bin, "graspd")
    with tempfile.TemporaryDirectory() as directory:
        tokens, loose = os.path.join(directory, "tokens"), os.path.join(directory, "loose")
        with open(tokens, "w") as file:
            file.write("# who\nann fly 00\n")
        os.chmod(tokens, 0o600)
        os.mkdir(loose)
        os.chmod(loose, 0o777)
        os.mkfifo(os.path.join(directory, "pipe"), 0o600)
        for flags, mark in ((("--token-file", tokens), "line 2"), (("--token-file", os.path.join(directory, "pipe")), "no regular file"),
                            (("--token-file", os.path.join(directory, "none", "t")), "No such file"), (("--listen", "127.0.0.1"), "HOST:PORT"), (("--listen", "0.0.0.0:0"), "--allow-remote"),
                            (("--unix-group", "no-such-group"), "there is no group no-such-group"), (("--modules", loose), "others can write"),
                            (("--modules", os.path.join(directory, "none")), "No such file"), (("--gdb-unix", "/" + 200 * "x"), "--gdb-unix"),
                            (("--unix", os.path.join(directory, "none", "s")), "No such file"), (("--unix", os.path.join(tokens, "s")), "Not a directory"),
                            (("--gdb-unix", os.path.join(directory, "none", "g")), "No such file"),
                            (("--state", os.path.join(directory, "none", "state")), "No such file"), (("--state", os.path.join(tokens, "state")), "Not a directory"),
                            (("--state", tokens), f"--state {tokens}: Not a directory")):
            said = [subprocess.run([program, "--unix", os.path.join(directory, "s"), *flags, *check], capture_output=True, text=True,
                                   timeout=HANG_SECONDS) for check in ((), ("--check-config",))]
            assert [done.returncode for done in said] == [1, 2], said
            assert all(mark in done.stderr.splitlines()[-1] and not done.stdout for done in said), said
        done = subprocess.run([program, "--check-config", "--listen", "127.0.0.1:0", "--token-file", os.path.join(directory, "new"),
                               "--state", os.path.join(directory, "state")], capture_output=True, timeout=HANG_SECONDS)
        assert done.returncode == 0 and sorted(os.listdir(directory)) == ["loose", "pipe", "tokens"], done


main([
    the_manager_is_told_how_the_daemon_is,
    sockets_that_are_handed_over_are_served,
    a_socket_without_a_file_is_named_as_the_kernel_names_it,
    what_cannot_be_served_is_refused,
    a_build_without_libsystemd_says_so,
    a_configuration_is_checked_and_printed,
    what_a_start_would_refuse_a_check_refuses,
])
