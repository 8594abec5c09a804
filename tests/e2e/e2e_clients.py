#!/usr/bin/env python3
"""e2e_clients.py: the Python client and the Grafana dashboard against the daemon."""
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading

from harness import HANG_SECONDS, Daemon, counts, hog, main, standing_still

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients/python"))
from grasp import Grasp, Problem  # noqa: E402  (it lives beside the tests, not among them)


def python_takes_hold_and_lets_go():
    with hog() as (daemon, client, g, path), Grasp(daemon.socket) as grasp:
        assert grasp.runtime()["pid"] == daemon.process.pid
        assert {m["name"] for m in grasp.modules()} >= {"hog", "pipeline"}
        assert [x["id"] for x in grasp.goroutines(module="hog", state="live")] == [g]
        with grasp.hold(ids=[g], lease_ms=60000, reason="a look") as held:
            assert held["held"] == [g]
            standing_still(path, 0.1)
            assert [s["id"] for s in grasp.suspensions()] == [held["id"]]
            assert any(f["function"] in ("scalar", "calls") for f in grasp.stack(g)["frames"])
            assert grasp.renew(held["id"], 120000)["lease_ms"] == 120000
        counts(path)
        with grasp.hold(ids=[g], selector=None, reason=None) as held:  # None is not given
            assert held["held"] == [g] and held["reason"] is None
        s = grasp.suspend(g, owner="python")
        assert grasp.goroutine(g)["suspensions"] == [s["id"]]
        assert grasp.resume(g, suspension=s["id"])["holds"] == 0
        assert grasp.snapshot(g, vectors=True)["registers"]
        grasp.cancel(g)
        assert grasp.wait(g)["state"] == "dead"


def python_says_what_the_daemon_refused():
    with Daemon() as daemon, Grasp(daemon.socket) as grasp:
        for call, status, code in ((lambda: grasp.goroutine(77), 404, "not-found"),
                                   (lambda: grasp.spawn("none", "x"), 404, "module-not-loaded"),
                                   (lambda: grasp.suspend_set(selector="a=b"), 404, "nothing-selected"),
                                   (lambda: list(grasp.goroutines(state="asleep")), 400, "bad-request")):
            try:
                call()
                raise AssertionError(f"{code} was not raised")
            except Problem as problem:
                assert problem.status == status and problem.code == code and problem.detail, problem
    try:
        Grasp("/nonexistent/socket").runtime()
        raise AssertionError("nobody is there")
    except OSError as error:
        assert "/nonexistent/socket" in str(error), error


def python_hears_events_and_takes_them_up_again():
    with hog() as (daemon, client, g, path), Grasp(daemon.socket) as grasp:
        seen, stop = [], threading.Event()

        def disturb():
            while not stop.wait(0.01):
                client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
                client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        other = threading.Thread(target=disturb)
        other.start()
        try:
            for event in grasp.events(types=["suspended", "resumed"]):
                seen.append(event)
                if len(seen) == 4:
                    break
            assert all(a["seq"] < b["seq"] for a, b in zip(seen, seen[1:])), seen
            again = next(iter(grasp.events(types=["suspended", "resumed"], last_id=seen[1]["id"])))
            assert again["seq"] == seen[2]["seq"], (again, seen)
        finally:
            stop.set()
            other.join()


def python_finds_the_daemon_and_its_token():
    with Daemon("--listen", "127.0.0.1:0", "--token-file", "token") as daemon:
        with open(daemon.path("token"), encoding="utf-8") as file:
            token = file.read().split()[-1]
        with open(daemon.path("commented"), "w", encoding="utf-8") as file:
            file.write(f"  # ours, {2000 * 'x'}\nbob read {token} # until May\n")
        url = "http://" + daemon.places["listen"]
        before = dict(os.environ)
        try:
            for more in ({"GRASP_SOCKET": daemon.socket}, {"GRASP_URL": f"{url}/#token={token}"},
                         {"GRASP_URL": url, "GRASP_TOKEN": token}, {"GRASP_URL": url, "GRASP_TOKEN_FILE": daemon.path("token")},
                         {"GRASP_URL": url, "GRASP_TOKEN_FILE": daemon.path("commented")}):
                for name in ("GRASP_SOCKET", "GRASP_URL", "GRASP_TOKEN", "GRASP_TOKEN_FILE"):
                    os.environ.pop(name, None)
                os.environ.update(more)
                with Grasp() as grasp:
                    assert grasp.runtime()["pid"] == daemon.process.pid, more
        finally:
            os.environ.clear()
            os.environ.update(before)


class Unavailable(http.server.BaseHTTPRequestHandler):
    """A daemon that has no memory for a stream."""

    def do_GET(self):
        body = json.dumps({"status": 503, "code": "out-of-resources", "detail": "no memory left"}).encode()
        self.send_response(503)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def watch_says_why_it_gets_no_stream():
    with http.server.HTTPServer(("127.0.0.1", 0), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = subprocess.run([os.path.join(Daemon.bin, "grasp"), "--url", f"127.0.0.1:{server.server_port}", "watch"],
                             capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
        server.shutdown()
    assert run.returncode == 8 and "no memory left" in run.stderr, run


def every_metric_of_the_grafana_dashboard_exists():
    dashboard = json.loads((ROOT / "clients/grafana/grasp.json").read_text(encoding="utf-8"))
    with Daemon() as daemon:
        client = daemon.client()
        client.get("/v1/runtime")
        text = client.want(200, "GET", "/metrics").text
        text = client.want(200, "GET", "/metrics").text
    exported = {(line.split("{")[0].split(" ")[0]): set() for line in text.splitlines() if not line.startswith("#")}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.M):
        exported[name] |= set(re.findall(r'(\w+)="', labels))
    used = 0
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            names = re.findall(r"\bgrasp_\w+", target["expr"])
            assert names, target
            for name in names:
                used += 1
                assert name in exported, f"{panel['title']}: {name} is not in /metrics"
                for by in re.findall(r"by \(([\w, ]+)\)", target["expr"]):
                    missing = set(re.split(r", *", by)) - exported[name]
                    assert not missing, f"{panel['title']}: {name} has no label {missing}"
    assert used > 20, used


if __name__ == "__main__":
    main([python_takes_hold_and_lets_go, python_says_what_the_daemon_refused, python_hears_events_and_takes_them_up_again,
          python_finds_the_daemon_and_its_token, watch_says_why_it_gets_no_stream, every_metric_of_the_grafana_dashboard_exists])
