#!/usr/bin/env python3
"""e2e_load.py: `grasp-load` against the daemon: what it counts is what happened, and it leaves nothing held."""
import csv
import io
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import xml.etree.ElementTree as tree

from harness import HANG_SECONDS, Daemon, main, until

MIX = ("suspend", "snapshot", "show", "list", "stack", "bulk", "spawn", "get")


def load(daemon, *arguments, code=0, scenario=None):
    """Runs it and insists on its exit code; gives its stdout and stderr."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GRASP_")}
    env["GRASP_SOCKET"] = daemon.socket
    if scenario is not None:
        arguments = ("--scenario", "-", *arguments)
    run = subprocess.run([os.path.join(Daemon.bin, "grasp-load"), *map(str, arguments)], capture_output=True, text=True,
                         env=env, input=json.dumps(scenario) if scenario else None, timeout=4 * HANG_SECONDS, check=False)
    assert run.returncode == code, f"{arguments}: {run.returncode}, not {code}\n{run.stdout}\n{run.stderr}"
    return run.stdout, run.stderr


def requests_of(client, route):
    text = client.want(200, "GET", "/metrics").text
    rows = re.findall(rf'^grasp_http_requests_total{{[^}}]*"{re.escape(route)}"[^}}]*}} (\d+)$', text, re.M)
    return sum(map(int, rows))


def n_requests_are_n_requests():
    with Daemon() as daemon:
        client = daemon.client()
        before = requests_of(client, "/v1/runtime")
        for flags in (("-c", 1), ("-c", 7, "-t", 3), ("-c", 4, "-t", 2, "-R", 2000)):
            report = json.loads(load(daemon, "-n", 101, *flags, "-o", "json", "/v1/runtime")[0])
            row = report["operations"][0]
            assert row["answered"] == 101 and row["errors"] == 0, report
        assert requests_of(client, "/v1/runtime") - before == 303


def a_mix_leaves_every_goroutine_free_and_moving():
    with Daemon() as daemon:
        for rate in ({}, {"rate": 500}, {"ramp": [{"from": 1, "to": 800, "for": "1s"}, {"to": 10, "for": 1}]}):
            scenario = {"connections": 6, "threads": 2, "requests": 600, "subscribers": 2,
                        "goroutines": {"module": "hog", "entry": "calls", "count": 3, "args": {"counter": "auto"}},
                        "mix": [{"op": op, "weight": 2 if op == "suspend" else 1} for op in MIX], **rate}
            report = json.loads(load(daemon, "-o", "json", "--seed", 7, scenario=scenario)[0])
            assert report["proof"] == {"done": True, "checked": 3, "held": 0, "still": 0}, report["proof"]
            rows = {row["name"]: row for row in report["operations"]}
            assert set(rows) == set(MIX) | {"resume", "release", "cancel", "all"}, rows.keys()
            # What a busy machine could not send in time is told apart, and no fault of the daemon's.
            assert rows["all"]["errors"] == rows["all"]["errors_by_class"]["not_sent"], rows["all"]
            for first, then in (("suspend", "resume"), ("bulk", "release"), ("spawn", "cancel")):
                assert rows[first]["answered"] == rows[then]["answered"] > 0, (first, rows)
            # What the daemon told its subscribers: each suspension and each release, twice.
            assert report["events"]["received"] > rows["suspend"]["answered"], report["events"]
            assert report["events"]["drops"] == 0, report["events"]
        client = daemon.client()
        assert client.get("/v1/suspensions")["items"] == []
        until(lambda: client.get("/v1/goroutines?state=live")["items"] == [], "all were cancelled")


def started(daemon, *arguments, scenario):
    """grasp-load at work on goroutines of its own; and their ids."""
    path = daemon.path("scenario")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(scenario, file)
    child = subprocess.Popen([os.path.join(Daemon.bin, "grasp-load"), "-s", path, *arguments], text=True,
                             stdout=subprocess.PIPE, env=dict(os.environ, GRASP_SOCKET=daemon.socket))
    client, count = daemon.client(), scenario["goroutines"]["count"]
    until(lambda: len(client.get("/v1/goroutines?state=live")["items"]) == count and
          requests_of(client, "/v1/goroutines/{id}/stack") > 10, "it works")
    return child, client, [g["id"] for g in client.get("/v1/goroutines?state=live")["items"]]


def a_goroutine_that_is_held_ended_or_still_fails_the_proof():
    hogs = {"goroutines": {"module": "hog", "entry": "calls", "count": 3, "args": {"counter": "auto"}},
            "mix": [{"op": "stack"}], "duration": "1h"}

    def outcome(child):
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=4 * HANG_SECONDS)
        return child.returncode, out
    with Daemon() as daemon:
        child, client, ids = started(daemon, "--prove", "500ms", scenario=hogs)
        held = client.want(200, "POST", f"/v1/goroutines/{ids[1]}/suspend", {"lease_ms": 600000}).json
        code, out = outcome(child)
        assert code == 4 and f"3 goroutines checked, 1 held, 0 stand still: WRONG: goroutine {ids[1]} is still held" in out, out
        client.want(204, "DELETE", f"/v1/suspensions/{held['id']}")
        until(lambda: client.get("/v1/goroutines?state=live")["items"] == [], "all were cancelled")
    with Daemon() as daemon:
        child, client, ids = started(daemon, scenario=hogs)
        client.want(202, "DELETE", f"/v1/goroutines/{ids[2]}")
        client.wait_dead(ids[2])
        code, out = outcome(child)
        assert code == 4 and f"3 goroutines checked, 0 held, 1 stand still: WRONG: goroutine {ids[2]} has ended" in out, out
    with Daemon() as daemon:
        # Free, alive and never on a processor: as one would look that was let go and forgotten.
        child, client, ids = started(daemon, "--prove", "500ms", "-o", "json", scenario={
            "goroutines": {"module": "deadlock", "entry": "channel", "count": 1}, "mix": [{"op": "stack"}], "duration": "1h"})
        code, out = outcome(child)
        assert code == 4 and json.loads(out)["proof"] == {"done": True, "checked": 1, "held": 0, "still": 1}, out


def a_stall_is_seen_by_everything_that_was_due_meanwhile():
    # A server that answers at once, but for one stall: no coordinated omission means that about rate * stall
    # operations waited, not one a connection.
    rate, stall = 1000, 0.5
    with Daemon(modules=False) as daemon, socket.create_server(("127.0.0.1", 0)) as server:
        gate, stalled = threading.Event(), threading.Event()
        gate.set()

        def serve(peer):
            with peer:
                while peer.recv(65536):
                    if stalled.is_set():
                        gate.wait(HANG_SECONDS)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        def accept():
            while True:
                try:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
                except OSError:
                    return
        threading.Thread(target=accept, daemon=True).start()

        def stall_once():
            stalled.set()
            gate.clear()
            threading.Timer(stall, lambda: (stalled.clear(), gate.set())).start()
        threading.Timer(0.7, stall_once).start()
        run = subprocess.run([os.path.join(Daemon.bin, "grasp-load"), "--url", f"127.0.0.1:{server.getsockname()[1]}", "-R",
                              str(rate), "-d", "3", "-c", "2", "-o", "json", "/"], capture_output=True, text=True, check=True,
                             timeout=4 * HANG_SECONDS, env={k: v for k, v in os.environ.items() if not k.startswith("GRASP_")})
        row = json.loads(run.stdout)["operations"][0]
        # 500 of 3000 were due in the stall and waited 250 ms on average: at least a tenth waited over 100 ms.
        assert row["latency_ns"]["p90"] > 100e6, row
        assert row["answered"] + row["errors_by_class"]["not_sent"] >= 2950, row


def errors_are_counted_by_class():
    with Daemon() as daemon:
        report = json.loads(load(daemon, "-n", 50, "-o", "json", "/v1/none")[0])
        row = report["operations"][0]
        assert row["answered"] == row["errors"] == row["errors_by_class"]["status_404"] == 50, row
        out, _ = load(daemon, "-n", 5, "/v1/none")
        assert "get: 5 answered 404" in out, out


def nobody_there_is_said_so():
    env = {k: v for k, v in os.environ.items() if not k.startswith("GRASP_")}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        run = subprocess.run([os.path.join(Daemon.bin, "grasp-load"), "--url", f"127.0.0.1:{unused.getsockname()[1]}",
                              "-n", "3"], capture_output=True, text=True, env=env, timeout=HANG_SECONDS, check=False)
    assert run.returncode == 3 and "could not connect" in run.stdout, run


def too_few_descriptors_are_said_so():
    """64 threads need some 200 of them before the first connection."""
    with Daemon() as daemon:
        run = subprocess.run([os.path.join(Daemon.bin, "grasp-load"), "-t", "64", "-c", "64", "-n", "64", "/v1/runtime"],
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)), capture_output=True,
                             text=True, env=dict(os.environ, GRASP_SOCKET=daemon.socket), timeout=HANG_SECONDS, check=False)
        assert run.returncode == 3 and run.stderr == "grasp-load: Too many open files\n", run


def expectations_decide_the_exit_code():
    with Daemon() as daemon:
        out, _ = load(daemon, "-n", 100, "--expect", "p99<1h", "--expect", "errors==0", "--expect", "get.answered==100")
        assert out.count(" holds ") == 3, out
        out, _ = load(daemon, "-n", 100, "--expect", "p50<1ns", code=1)
        assert "expected p50<1ns: FAILED" in out, out


def reports_can_be_read_by_programs():
    with Daemon() as daemon:
        picture = daemon.path("out.svg")
        out, _ = load(daemon, "-n", 200, "-o", "csv", "--svg", picture)
        rows = list(csv.DictReader(io.StringIO(out)))
        assert len(rows) == 1 and rows[0]["operation"] == "get" and rows[0]["answered"] == "200", rows
        assert int(rows[0]["min_ns"]) <= int(rows[0]["p50_ns"]) <= int(rows[0]["p99.99_ns"]) <= int(rows[0]["max_ns"]), rows
        root = tree.parse(picture).getroot()
        assert root.tag.endswith("svg") and len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 1


def an_interrupt_ends_it_with_a_report():
    with Daemon() as daemon:
        child = subprocess.Popen([os.path.join(Daemon.bin, "grasp-load"), "-d", "1h", "-o", "json"], text=True,
                                 stdout=subprocess.PIPE, env=dict(os.environ, GRASP_SOCKET=daemon.socket))
        until(lambda: requests_of(daemon.client(), "/healthz") > 10, "it runs")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=HANG_SECONDS)
        assert child.returncode == 0 and json.loads(out)["operations"][0]["answered"] > 0, out


def wrong_use_is_refused_with_a_reason():
    with Daemon() as daemon:
        rows = [(("-c", "0"), "from 1 to 10000"), (("-c", "10001"), "from 1 to 10000"), (("-t", "65"), "from 1 to 64"),
                (("-R", "x"), "-R must be"), (("-R", "0"), "-R must be"), (("-d", "0s"), "-d must be"), (("-n", "0"), "-n must"),
                (("--frob",), "is no option"), (("-c",), "needs a value"), (("-o", "xml"), "text, json or csv"),
                (("--expect", "p99"), "is no expectation"), (("--expect", "x.p99<1s"), "no operation \"x\""),
                (("nopath",), "PATH must be"), (("/a", "/b"), "more than one PATH"), (("-s", "/none"), "/none"),
                (("--timeout", "0s"), "--timeout must be"), (("--prove", "0"), "--prove must be")]
        for arguments, says in rows:
            _, err = load(daemon, *arguments, code=2)
            assert says in err, (arguments, err)
        _, err = load(daemon, code=2, scenario={"mix": [{"op": "suspend"}]})
        assert "needs \"goroutines\"" in err, err
        for mix in ([{"op": "get"}, {"op": "get", "path": "/"}], [{"op": "get", "name": "all"}], [{"op": "spawn"}, {"op": "get", "name": "cancel"}]):
            _, err = load(daemon, code=2, scenario={"mix": mix, "goroutines": {"module": "hog", "entry": "calls", "count": 1}})
            assert "give each a \"name\"" in err, err
        for name in ("", "x" * 24, "a.b"):
            _, err = load(daemon, code=2, scenario={"mix": [{"op": "get", "name": name}]})
            assert "1 to 23 bytes" in err, err
        # Second requests of two that are named have names of their own, for figures and for expectations.
        out, _ = load(daemon, "-n", "40", "-o", "json", "--expect", "a-resume.errors==0", "--expect", "b-resume.p99<1h", scenario={
            "mix": [{"op": "suspend", "name": "a"}, {"op": "suspend", "name": "x" * 23}, {"op": "suspend", "name": "b"}],
            "goroutines": {"module": "hog", "entry": "calls", "count": 2}})
        assert {"a", "b", "a-resume", "b-resume", "x" * 23 + "-resume"} <= {row["name"] for row in json.loads(out)["operations"]}, out
        _, err = load(daemon, code=3, scenario={"mix": [{"op": "show"}], "goroutines": {"module": "none", "entry": "x"}})
        assert "no module \"none\"" in err, err
        assert load(daemon, "--help")[0].startswith("usage: grasp-load")


if __name__ == "__main__":
    main([n_requests_are_n_requests, a_mix_leaves_every_goroutine_free_and_moving,
          a_goroutine_that_is_held_ended_or_still_fails_the_proof,
          a_stall_is_seen_by_everything_that_was_due_meanwhile, errors_are_counted_by_class, nobody_there_is_said_so,
          too_few_descriptors_are_said_so,
          expectations_decide_the_exit_code, reports_can_be_read_by_programs, an_interrupt_ends_it_with_a_report,
          wrong_use_is_refused_with_a_reason])
