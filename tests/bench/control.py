#!/usr/bin/env python3
"""control.py BUILD PART...: the daemon's control plane under load. Part of run.sh; JSON lines on stdout, as sample.h writes them.

  rates       keep-alive GETs by wrk: server on one core, wrk on another, the servers taken in turn within each round. Besides the rate and
              the 99th percentile: processor time of the server for each answer, which other work on the machine moves least
  pairs       suspend and resume of a running goroutine, one after the other on one connection
  list        GET /v1/goroutines?format=ndjson of 100,000: time, bytes, what the daemon's peak of memory grew by
  neighbours  how long another client waits for GET /healthz while one is slow, greedy or many
  crowds      how long another client waits at worst, by kind of call, while sixteen ask at once for something that concerns 30,000 goroutines
"""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DIVISOR = int(os.environ.get("BENCH_DIVISOR", "1"))
NANO = 1e9
MANY = 100000 if DIVISOR < 100 else 1000  # a check that everything runs needs fewer


def scaled(full, least):
    return max(full // DIVISOR, least)


def emit(peer, metric, unit, samples):
    ordered = sorted(samples)

    def rank(share):
        return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
    print(json.dumps({"peer": peer, "metric": metric, "unit": unit, "n": len(ordered), "p50": rank(0.5), "p99": rank(0.99), "p999": rank(0.999),
                      "max": ordered[-1], "min": ordered[0]}), flush=True)


class Server:
    """A program whose first line ends in the port that it serves."""

    def __init__(self, command, cores=None):
        self.directory = tempfile.mkdtemp(prefix="grasp-bench-")
        pinned = ["taskset", "-c", cores] if cores else []
        self.process = subprocess.Popen(pinned + [part.replace("@", self.directory) for part in command], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        found = re.findall(r"(\d+)(?=\D*$)", line)
        if not found:
            self.__exit__()
            raise RuntimeError(f"{command[0]} did not start: {line!r}")
        self.port = int(found[-1])

    def cpu_ns(self):
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))

    def status_kb(self, name):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"^{name}:\s+(\d+) kB", file.read(), re.M)[1])

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw

    def ask(self, method, target, body=None):
        text = json.dumps(body) if body is not None else ""
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        with self.connect() as raw:
            raw.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {len(text)}\r\n\r\n{text}".encode())
            data = b"".join(iter(lambda: raw.recv(1 << 16), b""))
        head, answer = data.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{method} {target}: {data[:500]}")
        return json.loads(answer) if answer.startswith(b"{") else answer

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def graspd(build, cores=None, *flags):
    return Server([f"{build}/bin/graspd", "--unix", "@/s", "--listen", "127.0.0.1:0", "--no-auth", "--modules", f"{build}/modules", "--state", "@",
                   *flags], cores)


# ---- Rates

def go_servers():
    for go in os.environ.get("GOS", "").split():
        built = subprocess.run([f"{HERE}/peers/go/run.sh", "build"], env=dict(os.environ, GO=go), capture_output=True, text=True)
        version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout.strip()
        if built.returncode == 0 and built.stdout.strip():
            yield version, [built.stdout.strip(), "http", "0"]
        else:
            print(f"control: {go}: {built.stderr[-200:]}", file=sys.stderr)


def microseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def run_wrk(server, path, core, seconds):
    before = server.cpu_ns()
    out = subprocess.run(["taskset", "-c", core, "wrk", "-t1", "-c64", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{server.port}{path}"],
                         capture_output=True, text=True, check=True).stdout
    used = server.cpu_ns() - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    if requests == 0 or "Non-2xx" in out:
        raise RuntimeError(f"{path}: {out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), microseconds(re.search(r"^\s+99%\s+(\S+)", out, re.M)[1]), used / requests


def rates(build):
    cores = sorted(os.sched_getaffinity(0))
    if not shutil.which("wrk") or len(cores) < 2:
        print("control: rates need wrk and two cores, skipped", file=sys.stderr)
        return
    with contextlib.ExitStack() as servers:
        compare(build, str(cores[0]), str(cores[1]), servers)


def compare(build, server_core, client_core, servers):
    peers = [("floor", "http_canned", servers.enter_context(Server([f"{os.environ['BENCH_BIN']}/c-http_canned"], server_core)), "/")]
    daemon = servers.enter_context(graspd(build, server_core))
    waiting = daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel"})["ids"][0]
    peers += [("grasp", "http_healthz", daemon, "/healthz"), ("grasp", "http_goroutine", daemon, f"/v1/goroutines/{waiting}")]
    if DIVISOR < 100:
        peers += [(name, "http_healthz", servers.enter_context(Server(command, server_core)), "/") for name, command in go_servers()]
        if shutil.which("node"):
            node = Server(["node", f"{HERE}/peers/node/server.js"], server_core)
            peers.append(("node", "http_healthz", servers.enter_context(node), "/"))
    found = {}
    for _ in range(scaled(90, 1)):
        for peer, metric, server, path in peers:
            for name, unit, value in zip(("rate", "p99", "cpu"), ("req/s", "us", "ns"), run_wrk(server, path, client_core, scaled(60, 1))):
                found.setdefault((peer, f"{metric}_{name}", unit), []).append(value)
    for (peer, metric, unit), samples in found.items():
        emit(peer, metric, unit, samples)


# ---- Pairs, the long list

def pairs(build):
    with graspd(build) as daemon:
        hog = daemon.ask("POST", "/v1/goroutines", {"module": "hog", "entry": "scalar", "args": {"stretch": 0}})["ids"][0]
        client = f"{build}/bench/http-bench"
        out = subprocess.run([client, str(daemon.port), "pairs", str(hog), "20000"], capture_output=True, text=True, check=True).stdout
        print(out, end="", flush=True)


def long_list(build):
    many = MANY
    spent, peak = [], []
    with graspd(build, None, "--procs", "2") as daemon:
        daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel", "count": many})
        while daemon.ask("GET", "/v1/runtime")["goroutines"]["waiting"] < many:
            time.sleep(0.01)
        for _ in range(scaled(30, 2)):
            with open(f"/proc/{daemon.process.pid}/clear_refs", "w") as file:
                file.write("5")  # the peak begins anew
            before = daemon.status_kb("VmHWM")
            with daemon.connect() as raw:
                begin = time.monotonic()
                raw.sendall(b"GET /v1/goroutines?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n")
                tail, size = b"", 0
                while not tail.endswith(b"\r\n0\r\n\r\n"):
                    data = raw.recv(1 << 20)
                    size += len(data)
                    tail = (tail + data)[-64:]
                spent.append((time.monotonic() - begin) * NANO)
            peak.append((daemon.status_kb("VmHWM") - before) * 1024)
        if b'{"end":true' not in tail:
            raise RuntimeError(f"the list was cut: {tail}")
    emit("grasp", "http_list_100k_time", "ns", spent)
    emit("grasp", "http_list_100k_bytes", "B", [size])
    emit("grasp", "http_list_100k_peak_growth", "B", peak)


# ---- Neighbours

def slow_requests(daemon, stop):
    """64 clients that send a byte of their head or body now and then."""
    head = b"POST /v1/goroutines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    slow = [daemon.connect() for _ in range(64)]
    for i, raw in enumerate(slow):
        raw.sendall(head if i % 2 else head[:40])
    while not stop.wait(0.01):
        for raw in slow[1::2]:
            raw.sendall(b" ")


def idle_connections(daemon, stop):
    kept = [daemon.connect() for _ in range(239)]  # 256 less those that are for the Unix socket, and the other client
    stop.wait()
    del kept


LONG_LIST = b"GET /v1/goroutines?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n"


def slow_readers(daemon, stop):
    """16 clients that ask for the long list and take 4 KiB of it now and then."""
    raws = []
    for _ in range(16):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", daemon.port))
        raw.sendall(LONG_LIST)
        raw.setblocking(False)
        raws.append(raw)
    while not stop.wait(0.01):
        for raw in raws:
            with contextlib.suppress(BlockingIOError):
                if raw.recv(4096).endswith(b"0\r\n\r\n"):  # it has all of it: once more
                    raw.sendall(LONG_LIST)


def long_lists(daemon, stop):
    while not stop.is_set():
        with daemon.connect() as raw:
            raw.sendall(b"GET /v1/goroutines?format=ndjson HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while raw.recv(1 << 20):
                pass


def group_snapshots(daemon, stop):
    ids = [goroutine["id"] for goroutine in daemon.ask("GET", "/v1/goroutines?limit=1000")["items"]]
    first = ids[0]
    everybody = list(range(first, first + MANY // 10))
    while not stop.is_set():
        saved = daemon.ask("POST", "/v1/snapshots", {"ids": everybody, "timeout_ms": 60000})
        daemon.ask("DELETE", f"/v1/snapshots/{saved['id']}")


def undisturbed(daemon, stop):
    stop.wait()


def neighbours(build):
    cases = (("quiet", undisturbed), ("slow_requests", slow_requests), ("idle_256", idle_connections), ("slow_readers", slow_readers),
             ("list_100k", long_lists), ("snapshot_10k", group_snapshots))
    # As long as the other takes for some lists and cuts, except in a check.
    some_seconds = dict(os.environ, BENCH_DIVISOR="1" if DIVISOR < 100 else str(DIVISOR))
    with graspd(build, None, "--procs", "2", "--head-seconds", "3600", "--request-seconds", "3600", "--stall-seconds", "3600") as daemon:
        many = MANY
        daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel", "count": many})
        for name, disturb in cases:
            stop, failures = threading.Event(), []

            def guarded():
                try:
                    disturb(daemon, stop)
                except Exception as error:  # told below, by the thread that may end the program
                    failures.append(error)
            thread = threading.Thread(target=guarded)
            thread.start()
            time.sleep(0.3 if DIVISOR < 100 else 0.05)  # it is under way
            out = subprocess.run([f"{build}/bench/http-bench", str(daemon.port), "get", "/healthz", "grasp", f"http_beside_{name}", "100000"],
                                 capture_output=True, text=True, check=True, env=some_seconds).stdout
            stop.set()
            thread.join()
            if failures:
                raise failures[0]
            print(out, end="", flush=True)
            emit("grasp", f"http_beside_{name}_longest", "ns", [json.loads(out)["max"]])


# ---- Crowds

CROWD = 16
HELD = MANY * 3 // 10  # goroutines


def exchange(daemon, method, target, body=None):
    """Reads an answer of any size and form and forgets it but for its end; returns head and end."""
    text = json.dumps(body) if body is not None else ""
    kind = "Content-Type: application/json\r\n" if body is not None else ""
    with daemon.connect() as raw:
        raw.settimeout(600)
        raw.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        head = tail = b""
        while data := raw.recv(1 << 20):
            if len(head) < 1024:
                head += data[:1024]
            tail = (tail + data[-1024:])[-1024:]
    if head[9:12] not in (b"200", b"201", b"204", b"429"):  # there is one CPU profile and one trace at a time
        raise RuntimeError(f"{method} {target}: {head[:500]}")
    return head, tail


def getting(target):
    return lambda daemon, everybody: exchange(daemon, "GET", target)


def located(head):
    return re.search(rb"\r\nLocation: (\S+)", head)[1].decode()


def save_all(daemon, everybody):
    head, _ = exchange(daemon, "POST", "/v1/snapshots", {"ids": everybody, "timeout_ms": 60000})
    exchange(daemon, "DELETE", located(head))


def hold_all(daemon, everybody):
    head, _ = exchange(daemon, "POST", "/v1/suspensions", {"ids": everybody, "timeout_ms": 60000})
    exchange(daemon, "GET", located(head))
    exchange(daemon, "DELETE", located(head))


def spawn_many(daemon, everybody):
    exchange(daemon, "POST", "/v1/goroutines", {"module": "pipeline", "entry": "sieve", "args": {"primes": 1}, "count": HELD})


def cancel_many(daemon, everybody):
    """One DELETE after another, as many on their way as the daemon takes."""
    mine = daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel", "count": HELD // CROWD})["ids"]
    with daemon.connect() as raw:
        def send():
            for one in mine:
                raw.sendall(f"DELETE /v1/goroutines/{one} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        sender = threading.Thread(target=send)
        sender.start()
        answers, rest = 0, b""
        while answers < len(mine):
            rest += raw.recv(1 << 20)
            answers += rest.count(b"HTTP/1.1 ")
            rest = rest[-8:] if not rest.endswith(b"HTTP/1.1 ") else b""
        sender.join()


def saved_as(form):
    def show(daemon, everybody):
        exchange(daemon, "GET", f"/v1/snapshots/{daemon.saved}?format={form}")
    return show


CROWDS = {
    "quiet": None,
    "core": getting("/debug/core?all=1&timeout_ms=60000"),
    "core_data": getting("/debug/core?all=1&data=1&timeout_ms=60000"),
    "save": save_all,
    "hold": hold_all,
    "debug2": getting("/debug/pprof/goroutine?debug=2"),
    "debug1": getting("/debug/pprof/goroutine?debug=1"),
    "pprof": getting("/debug/pprof/goroutine"),
    "flame": getting("/debug/pprof/goroutine?format=svg"),
    "saved_json": saved_as("json"),
    "saved_text": saved_as("text"),
    "saved_folded": saved_as("folded"),
    "saved_core": saved_as("core"),
    "list": getting("/v1/goroutines?format=ndjson"),
    "page": getting("/v1/goroutines?limit=1000&format=text"),
    "none": getting("/v1/goroutines?selector=no=one"),
    "roots": getting("/v1/goroutines/1/roots"),
    "deadlocks": getting("/v1/deadlocks"),
    "spawn": spawn_many,
    "cancel": cancel_many,
    "profile": getting("/debug/pprof/profile?seconds=1"),
    "trace": getting("/debug/trace?seconds=1"),
    "metrics": getting("/metrics"),
}


def crowd(build, daemon, name, act, alone, everybody):
    """The crowd acts some rounds while one client asks short things; says how long each of those took at worst."""
    failures = []

    def one():
        try:
            for _ in range(scaled(90, 1)):
                act(daemon, everybody)
        except Exception as error:  # told below, by the thread that may end the program
            failures.append(error)
    other = subprocess.Popen([f"{build}/bench/http-bench", str(daemon.port), "beside", str(alone), f"http_crowd_{name}"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    threads = [threading.Thread(target=one) for _ in range(CROWD if act else 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not act:
        time.sleep(1 if DIVISOR < 100 else 0.1)
    out, _ = other.communicate()
    if failures or other.returncode:
        raise failures[0] if failures else RuntimeError(f"{name}: the other client failed")
    print(out, end="", flush=True)
    emit("grasp", f"http_crowd_{name}_longest", "ns", [max(json.loads(line)["max"] for line in out.splitlines())])


def crowds(build, only=()):
    with graspd(build, None, "--procs", "2") as daemon:
        everybody = daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel", "count": HELD})["ids"]
        alone = daemon.ask("POST", "/v1/goroutines", {"module": "deadlock", "entry": "channel"})["ids"][0]
        daemon.saved = daemon.ask("POST", "/v1/snapshots", {"ids": everybody, "timeout_ms": 60000})["id"]
        for name, act in CROWDS.items():
            if not only or name in only:
                crowd(build, daemon, name, act, alone, everybody)


def main():
    parts = {"rates": rates, "pairs": pairs, "list": long_list, "neighbours": neighbours, "crowds": crowds}
    build, names = sys.argv[1], sys.argv[2:] or list(parts)
    for name in names:
        parts[name](build)


if __name__ == "__main__":
    main()
