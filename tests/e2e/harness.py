"""harness.py: starts graspd, talks HTTP to it, runs cases and reports each.

A case is a function whose name is the claim; it fails by an exception. Cases wait for states, never for times: until()
asks again until a condition holds, and its limit only makes a hang a failure. The one exception is standing_still,
which has to look for a while to see that nothing happens.
"""
import argparse
import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import contract

HANG_SECONDS = 60
CONTRACT = contract.from_environment()
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer")


class UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=HANG_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    """A status, headers, and the body as text and as JSON."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.text = body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.text[:500]}"


class Client:
    """One kept connection."""

    def __init__(self, connection, headers=None):
        self.connection, self.headers = connection, headers or {}

    def send(self, method, target, body=None, headers=None):
        self.asked = (method, target)
        all_headers = dict(self.headers, **(headers or {}))
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            all_headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, target, body=body, headers=all_headers)

    def receive(self):
        response = self.connection.getresponse()
        body = response.read()
        if CONTRACT:
            CONTRACT.check(*self.asked, response.status, response.headers, body)
        return Answer(response.status, response.headers, body)

    def ask(self, method, target, body=None, headers=None):
        self.send(method, target, body, headers)
        return self.receive()

    def want(self, status, method, target, body=None, code=None):
        """Asks and insists on a status, and on a problem's code."""
        answer = self.ask(method, target, body)
        assert answer.status == status, f"{method} {target} {body}: wanted {status} {code}, got {answer}"
        if code:
            assert answer.headers["Content-Type"] == "application/problem+json", answer.headers
            problem = answer.json
            assert problem["code"] == code and problem["status"] == status and problem["detail"], answer
        return answer

    def get(self, target):
        return self.want(200, "GET", target).json

    def spawn(self, module, entry, args=None, **more):
        if Daemon.calls_only and module == "hog" and entry in ("scalar", "simd"):
            entry = "calls"
        body = {"module": module, "entry": entry, **more}
        if args is not None:
            body["args"] = args
        ids = self.want(201, "POST", "/v1/goroutines", body).json["ids"]
        return ids if "count" in more else ids[0]

    def state(self, goroutine):
        return self.get(f"/v1/goroutines/{goroutine}")["state"]

    def wait_dead(self, goroutine):
        answer = self.get(f"/v1/goroutines/{goroutine}?wait_ms=25000")
        assert answer["state"] == "dead", answer
        return answer["exit"]

    def close(self):
        self.connection.close()


class Daemon:
    """A graspd of its own in a directory of its own."""

    bin = modules = own_modules = cc = None
    programs = None  # where graspd itself is; bin may have a script for it (emulated)
    sanitizer = ""  # which one graspd was built with
    calls_only = False  # every hog calls functions: no signal stops anybody

    def __init__(self, *flags, modules=True, environment=None):
        self.dir = tempfile.mkdtemp(prefix="grasp-e2e-")
        self.socket = os.path.join(self.dir, "s")
        command = [os.path.join(Daemon.bin, "graspd"), "--unix", self.socket]
        if modules is True:
            modules = Daemon.modules
        if modules:
            command += ["--modules", modules]
        self.stderr = open(os.path.join(self.dir, "stderr"), "w+")
        self.process = subprocess.Popen(command + list(flags), stdout=subprocess.PIPE, stderr=self.stderr,
                                        text=True, cwd=self.dir, env=dict(os.environ, **(environment or {})))
        self.clients = []
        self.ready = self.process.stdout.readline().strip()
        if not self.ready.startswith("graspd ready "):
            self.process.wait(HANG_SECONDS)
            raise AssertionError(f"not ready: {self.ready!r}\n{self.log()}")
        self.places = dict(part.split("=", 1) for part in self.ready.split()[2:])

    def log(self):
        with open(os.path.join(self.dir, "stderr")) as file:
            return file.read()

    def client(self):
        client = Client(UnixConnection(self.socket))
        self.clients.append(client)
        return client

    def tcp(self, headers=None):
        host, port = self.places["listen"].split(",")[0].rsplit(":", 1)
        client = Client(http.client.HTTPConnection(host, int(port), timeout=HANG_SECONDS), headers)
        self.clients.append(client)
        return client

    @staticmethod
    def instance(client):
        return client.ask("GET", "/healthz").headers["Grasp-Instance"]

    def path(self, name):
        return os.path.join(self.dir, name)

    def stop(self, number=signal.SIGTERM):
        """Sends a signal and returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(HANG_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_SECONDS)
        log = self.log()
        found = [mark for mark in SANITIZER_MARKS if mark in log]
        if failure[0] or found:
            print(f"--- graspd's log\n{log}---", file=sys.stderr)
        self.stderr.close()
        self.process.stdout.close()
        shutil.rmtree(self.dir)
        assert not found or failure[0], f"a sanitizer reported: {found}"


class Stream:
    """The stream of events on a connection of its own, read as far as a case asks for."""

    def __init__(self, daemon, query="", last=None):
        self.connection = UnixConnection(daemon.socket)
        self.types, self.seqs, self.events, self.last_id, self.last_seq = [], [], [], None, 0
        self.connection.request("GET", "/v1/events" + query, headers={"Last-Event-ID": last} if last else {})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, (self.response.status, self.response.read())
        daemon.clients.append(self)

    def next(self):
        """The next event's type and data; EOFError when the daemon has ended the stream."""
        kind = data = None
        while True:
            line = self.response.readline().decode()
            if not line:
                raise EOFError
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                self.last_id = value
            elif name == "data":
                data = json.loads(value)
            elif not line.rstrip("\n") and kind:
                break
        assert data["type"] == kind and self.last_id.endswith(f"-{data['seq']}"), (kind, data)
        self.last_seq = data["seq"]
        self.types.append(kind)
        self.seqs.append(data["seq"])
        self.events.append(data)
        return kind, data

    def wait(self, kind):
        while True:
            found, data = self.next()
            if found == kind:
                return data

    def close(self):
        self.response.close()
        self.connection.close()


class Modules:
    """A directory with one module of `source`, and programs beside it."""

    def __init__(self, name, source):
        self.path = tempfile.mkdtemp(prefix="grasp-modules-")
        self.compile(name + ".so", source, [os.path.join(Daemon.bin, "grasp-cc"), "-O1", "-g"])

    def compile(self, name, source, compiler):
        path = os.path.join(self.path, name)
        with open(path + ".c", "w") as file:
            file.write(source)
        subprocess.run(compiler + ["-o", path, path + ".c"], check=True, timeout=60)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        shutil.rmtree(self.path)


NOT_UNDER = {}


def not_under(*kinds):
    """A case that makes no sense in builds with such sanitizers, or in an "emulator"."""
    def mark(case):
        NOT_UNDER[case] = kinds
        return case
    return mark


# A case that needs a goroutine which only a signal stops: under TSan signals wait for a call that it intercepts.
about_loops_without_calls = not_under("thread")


def until(condition, what):
    """Asks until condition() is true; returns its value."""
    give_up = time.monotonic() + HANG_SECONDS
    while time.monotonic() < give_up:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"never came true: {what}")


def counter(path):
    with open(path, "rb") as file:
        return struct.unpack("<Q", file.read(8))[0]


def counts(path):
    """Waits until the counter has moved."""
    until(lambda: os.path.exists(path) and os.path.getsize(path) >= 8, f"{path} exists")
    before = counter(path)
    until(lambda: counter(path) != before, f"the counter in {path} moves")


def standing_still(path, seconds=0.3):
    """Looks for a while, as an outsider, whether the counter moves."""
    before, end = counter(path), time.monotonic() + seconds
    while time.monotonic() < end:
        now = counter(path)
        assert now == before, f"the counter moved by {now - before} while its goroutine was held"
        time.sleep(0.005)


def emulator():
    """What runs the programs, as the test was told; "": the machine itself."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--run", default="")
    return parser.parse_known_args()[0].run


def gdb_program():
    """A gdb for the programs' architecture, or None."""
    name = "gdb-multiarch" if emulator() else "gdb"
    if not shutil.which(name):
        print(f"skipped: {name} is not installed (Debian: apt-get install {name})", file=sys.stderr)
        return None
    return name


def emulated(folder, runner):
    """A folder like `folder`, where the programs that this machine can't run are scripts that hand them to the emulator."""
    scripts = tempfile.mkdtemp(prefix="grasp-e2e-bin-")
    atexit.register(shutil.rmtree, scripts, ignore_errors=True)
    with open(sys.executable, "rb") as own:
        machine = own.read(20)[18:20]
    for name in os.listdir(folder):
        program, script = os.path.join(folder, name), os.path.join(scripts, name)
        with open(program, "rb") as file:
            foreign = file.read(20)[18:20] != machine
        if not foreign:
            os.symlink(program, script)
            continue
        with open(script, "w") as file:
            file.write(f'#!/bin/sh\nexec {runner} {program} "$@"\n')
        os.chmod(script, 0o755)
    return scripts


def main(cases):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--modules", required=True)
    parser.add_argument("--own-modules", help="modules of the tests")
    parser.add_argument("--cc", default="cc", help="the compiler that the programs were built by")
    parser.add_argument("--sanitizer", default="", help="which one graspd was built with")
    parser.add_argument("--run", default="", help="what runs programs of another architecture: an emulator")
    parser.add_argument("only", nargs="*", help="names of cases")
    options = parser.parse_args()
    # A daemon runs in a directory of its own.
    options.bin, options.modules = os.path.abspath(options.bin), os.path.abspath(options.modules)
    options.own_modules = options.own_modules and os.path.abspath(options.own_modules)
    Daemon.bin, Daemon.modules, Daemon.sanitizer = options.bin, options.modules, options.sanitizer
    Daemon.own_modules, Daemon.programs, Daemon.cc = options.own_modules, options.bin, options.cc
    Daemon.calls_only = options.sanitizer == "thread"
    kinds = {options.sanitizer, "emulator" if options.run else ""}
    cases = [case for case in cases if not kinds.intersection(NOT_UNDER.get(case, ()))]
    if options.run:
        Daemon.bin = emulated(options.bin, options.run)
    failed = 0
    chosen = [case for case in cases if not options.only or case.__name__ in options.only]
    for case in chosen:
        try:
            case()
            print(f"ok    {case.__name__}", flush=True)
        except Exception:  # a case may fail by anything; each is reported
            failed += 1
            print(f"FAIL  {case.__name__}", flush=True)
            traceback.print_exc()
    print(f"{len(chosen) - failed} of {len(chosen)} passed")
    sys.exit(1 if failed or not chosen else 0)


@contextlib.contextmanager
def hog(*flags, entry="scalar", stretch=None, environment=None):
    """A daemon with one hog that counts; gives (daemon, client, goroutine, counter's path)."""
    with Daemon(*flags, environment=environment) as daemon:
        client, path = daemon.client(), daemon.path("counter")
        args = {"counter": path}
        if stretch is not None:
            args["stretch"] = stretch
        goroutine = client.spawn("hog", entry, args)
        counts(path)
        yield daemon, client, goroutine, path
