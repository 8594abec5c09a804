#!/usr/bin/env python3
"""e2e_suspend.py: taking hold of goroutines that run, and giving them back."""
import concurrent.futures
import json
import re
import socket
import subprocess

from harness import Daemon, about_loops_without_calls, counter, counts, hog, main, standing_still, until


def suspend_look_resume(entry, function):
    with hog(entry=entry) as (daemon, client, g, path):
        suspension = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"owner": "a"}).json
        assert suspension["goroutine"] == g and suspension["held"] == [g], suspension
        assert suspension["safepoint"] in ("sync", "async", "blocked"), suspension
        assert suspension["latency_ns"] >= 0 and suspension["principal"].startswith("uid:"), suspension
        standing_still(path)
        seen = client.get(f"/v1/goroutines/{g}")
        assert seen["suspended"] and seen["holds"] == 1 and seen["suspensions"] == [suspension["id"]], seen
        # Another client looks at the held goroutine without waiting for its holder.
        snapshot = daemon.client().get(f"/v1/goroutines/{g}/snapshot?bytes=64&vectors=1")
        assert re.fullmatch("0x[0-9a-f]+", snapshot["registers"]["rip" if "rip" in snapshot["registers"] else "pc"])
        stack = snapshot["stack"]
        assert int(stack["lo"], 16) < int(stack["sp"], 16) < int(stack["hi"], 16), stack
        frames = snapshot["frames"]
        assert any(f["function"] == function and f["file"].endswith("hog.c") or
                   f["function"] == function and "hog" in f["file"] for f in frames if f["function"]), frames
        assert all(f["line"] > 0 for f in frames if f["file"]), frames
        assert not snapshot.get("frames_truncated"), snapshot
        # In a stub of a library function, its caller is shown.
        assert seen["pc"] in [f["pc"] for f in frames[:2]], (frames, seen)
        standing_still(path)
        after = client.want(200, "POST", f"/v1/goroutines/{g}/resume").json
        assert after["holds"] == 0 and not after["suspended"], after
        counts(path)


@about_loops_without_calls
def a_scalar_loop_is_suspended_seen_and_resumed():
    suspend_look_resume("scalar", "scalar")


@about_loops_without_calls
def a_simd_loop_is_suspended_seen_and_resumed():
    suspend_look_resume("simd", "simd")


def a_loop_with_calls_is_suspended_seen_and_resumed():
    suspend_look_resume("calls", "calls")


def a_snapshot_of_a_running_loop_leaves_no_hold():
    with hog() as (daemon, client, g, path):
        for _ in range(50):
            snapshot = client.get(f"/v1/goroutines/{g}/snapshot")
            assert snapshot["frames"][0]["function"], snapshot
        seen = client.get(f"/v1/goroutines/{g}")
        assert seen["holds"] == 0, seen
        counts(path)


@about_loops_without_calls
def the_stack_reads_as_a_traceback():
    with hog() as (daemon, client, g, path):
        text = client.want(200, "GET", f"/v1/goroutines/{g}/stack?format=text").text
        assert text.startswith(f"goroutine {g} ["), text
        assert re.search(r"^scalar.*\n\t.*hog\.c:\d+ \+0x", text, re.M), text


def a_lease_releases_by_itself():
    with hog() as (daemon, client, g, path):
        s = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 300}).json["id"]
        counts(path)  # without anybody's doing
        client.want(410, "GET", f"/v1/suspensions/{s}", code="lease-expired")
        client.want(410, "DELETE", f"/v1/suspensions/{s}", code="lease-expired")
        client.want(409, "POST", f"/v1/goroutines/{g}/resume", code="not-suspended")


def a_lease_can_be_prolonged():
    with hog() as (daemon, client, g, path):
        s = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 2000}).json["id"]
        left = client.want(200, "PATCH", f"/v1/suspensions/{s}", {"lease_ms": 60000}).json
        assert 59000 < left["remaining_ms"] <= 60000, left
        standing_still(path, 2.3)  # longer than the first lease
        client.want(204, "DELETE", f"/v1/suspensions/{s}")
        client.want(204, "DELETE", f"/v1/suspensions/{s}")
        counts(path)


def it_runs_again_only_when_the_last_of_many_holders_lets_go():
    with hog() as (daemon, client, g, path):
        ids = [client.want(200, "POST", f"/v1/goroutines/{g}/suspend").json["id"] for _ in range(3)]
        assert ids == sorted(set(ids)), ids
        for s in (ids[1], ids[2]):
            client.want(200, "POST", f"/v1/goroutines/{g}/resume", {"suspension": s})
            standing_still(path, 0.1)
        client.want(409, "POST", f"/v1/goroutines/{g}/resume", {"suspension": ids[1]}, "not-suspended")
        client.want(204, "DELETE", f"/v1/suspensions/{ids[0]}")
        counts(path)
        client.want(409, "POST", f"/v1/goroutines/{g}/resume", code="not-suspended")


def resume_all_takes_everybodys_holds():
    with hog() as (daemon, client, g, path):
        for _ in range(5):
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        after = client.want(200, "POST", f"/v1/goroutines/{g}/resume", {"all": True}).json
        assert after["holds"] == 0, after
        counts(path)


def one_processor_with_a_spinner_is_still_controlled():
    with hog("--procs", "1", stretch=0) as (daemon, client, g, path):
        other = client.spawn("hog", "scalar", {"stretch": 0})
        for _ in range(20):
            client.want(200, "GET", "/healthz")
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
            standing_still(path, 0.02)
            client.want(200, "POST", f"/v1/goroutines/{other}/suspend")
            client.want(200, "POST", f"/v1/goroutines/{other}/resume")
            client.want(200, "POST", f"/v1/goroutines/{g}/resume")
            counts(path)


@about_loops_without_calls
def one_that_leaves_with_a_request_sent_twice_ends_both():
    """Both have one key, so that the end of the first is an answer to the second, while their connection is taken down."""
    with hog("--async-preempt=off", stretch=0) as (daemon, client, g, path):
        request = (f"POST /v1/goroutines/{g}/suspend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   "Content-Length: 20\r\nIdempotency-Key: %d\r\n\r\n" + '{"timeout_ms":60000}')
        for number in range(20):
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(daemon.socket)
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + 2 * (request % number).encode())
            until(lambda: client.get(f"/v1/goroutines/{g}")["holds"] == 1, "it is asked for")
            raw.close()  # with an answer unread: a reset
            until(lambda: client.get(f"/v1/goroutines/{g}")["holds"] == 0, "nobody asks any more")


@about_loops_without_calls
def without_signals_a_tight_loop_times_out_with_reasons():
    with hog("--async-preempt=off", stretch=0) as (daemon, client, g, path):
        assert client.get("/v1/runtime")["async_preempt"] is False
        problem = client.want(504, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 300},
                              "suspend-timeout").json
        for member in ("pc", "function", "module", "refused", "attempts"):
            assert member in problem, problem
        assert problem["refused"].get("async-off", 0) > 0 and problem["attempts"] == 0, problem
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        counts(path)
        # Code that calls functions needs no signals.
        calls = client.spawn("hog", "calls", {"counter": daemon.path("calls")})
        counts(daemon.path("calls"))
        held = client.want(200, "POST", f"/v1/goroutines/{calls}/suspend").json
        assert held["safepoint"] == "sync", held
        standing_still(daemon.path("calls"))
        # Switched on, the tight loop is stopped after all.
        client.want(200, "PATCH", "/v1/runtime", {"async_preempt": True})
        held = client.want(200, "POST", f"/v1/goroutines/{g}/suspend").json
        assert held["safepoint"] == "async", held


@about_loops_without_calls
def timeout_0_never_waits():
    with hog(stretch=0) as (daemon, client, g, path):
        client.want(504, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 0}, "suspend-timeout")
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        second = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 0}).json
        assert second["latency_ns"] == 0, second


@about_loops_without_calls
def a_client_that_dies_before_the_answer_holds_nothing():
    with hog("--async-preempt=off", stretch=0) as (daemon, client, g, path):
        waiting = daemon.client()
        waiting.send("POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 60000})
        until(lambda: client.get(f"/v1/goroutines/{g}")["holds"] == 1, "the request pends")
        waiting.close()
        until(lambda: client.get(f"/v1/goroutines/{g}")["holds"] == 0, "the request is withdrawn")
        client.want(200, "PATCH", "/v1/runtime", {"async_preempt": True})
        assert client.get("/v1/suspensions")["items"] == []
        counts(path)


def many_clients_on_one_goroutine_leave_it_free():
    with hog() as (daemon, client, g, path):
        def one(_):
            mine = daemon.client()
            for _ in range(20):
                s = mine.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000}).json["id"]
                mine.want(200, "GET", f"/v1/goroutines/{g}/stack")
                mine.want(204, "DELETE", f"/v1/suspensions/{s}")
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            list(pool.map(one, range(40)))
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        counts(path)


def a_blocked_goroutine_is_held_at_once_and_keeps_its_wake_up():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("echo", "serve", {"port": 0})
        log = until(lambda: client.get(f"/v1/goroutines/{g}/log")["lines"], "it listens")
        port = int(log[0].rsplit(":", 1)[1])
        peer = socket.create_connection(("127.0.0.1", port), timeout=30)
        peer.sendall(b"one")
        assert peer.recv(3) == b"one"
        ids = [i["id"] for i in client.get(f"/v1/goroutines?root={g}")["items"] if i["id"] != g]
        assert len(ids) == 1, ids
        until(lambda: client.state(ids[0]) in ("waiting", "syscall"), "the connection waits")
        held = client.want(200, "POST", f"/v1/goroutines/{ids[0]}/suspend").json
        assert held["safepoint"] == "blocked" and held["latency_ns"] == 0, held
        peer.sendall(b"two")
        peer.settimeout(0.3)
        try:
            assert False, f"a held goroutine answered {peer.recv(3)}"
        except socket.timeout:
            pass
        # Others of the same server go on.
        second = socket.create_connection(("127.0.0.1", port), timeout=30)
        second.sendall(b"abc")
        assert second.recv(3) == b"abc"
        client.want(200, "POST", f"/v1/goroutines/{ids[0]}/resume")
        peer.settimeout(30)
        assert peer.recv(3) == b"two"


def a_list_names_no_suspension_that_ended_before_it_was_asked_for():
    """Groups end, by request and by lease, in many steps while lists of goroutines are written on other threads."""
    with Daemon() as daemon:
        client, other = daemon.client(), daemon.client()
        ids = client.spawn("deadlock", "channel", count=300)
        ended, rounds = [], 40

        def hold_and_release():
            for i in range(rounds):
                held = other.want(201, "POST", "/v1/suspensions", {"ids": ids, "lease_ms": 100}).json["id"]
                if i % 2 == 0:
                    assert other.ask("PATCH", f"/v1/suspensions/{held}", {"lease_ms": 100}).status in (200, 410)
                if i % 4 == 0:
                    until(lambda: other.ask("GET", f"/v1/suspensions/{held}").status == 410, "its lease ends")
                else:
                    assert other.ask("DELETE", f"/v1/suspensions/{held}").status in (204, 410)
                ended.append(held)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            holding, lists = pool.submit(hold_and_release), 0
            while not holding.done():
                before = set(ended)
                for item in client.get("/v1/goroutines?limit=1000")["items"]:
                    assert not before & set(item["suspensions"]), (item, before)
                assert not before & {item["id"] for item in client.get("/v1/suspensions")["items"]}
                lists += 1
            holding.result()
        assert len(ended) == rounds and lists > 0


def curl_does_it_as_written():
    with hog() as (daemon, client, g, path):
        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "--unix-socket", daemon.socket, *arguments],
                                  capture_output=True, text=True, timeout=30, check=True)
            return done.stdout
        base = f"localhost/v1/goroutines/{g}"
        assert json.loads(curl("-X", "POST", f"{base}/suspend"))["held"] == [g]
        standing_still(path)
        assert "hog.c:" in curl(f"{base}/snapshot?format=text")
        assert json.loads(curl("-X", "POST", f"{base}/resume"))["holds"] == 0
        assert json.loads(curl("--json", '{"lease_ms":60000}', f"{base}/suspend"))["lease_ms"] == 60000
        assert "--json" in json.loads(curl("-d", '{"lease_ms":60000}', f"{base}/suspend"))["detail"]
        assert json.loads(curl("-d", "", f"{base}/resume"))["holds"] == 0
        before = counter(path)
        until(lambda: counter(path) > before, "it goes on")


main([
    a_scalar_loop_is_suspended_seen_and_resumed,
    a_simd_loop_is_suspended_seen_and_resumed,
    a_loop_with_calls_is_suspended_seen_and_resumed,
    a_snapshot_of_a_running_loop_leaves_no_hold,
    the_stack_reads_as_a_traceback,
    a_lease_releases_by_itself,
    a_lease_can_be_prolonged,
    it_runs_again_only_when_the_last_of_many_holders_lets_go,
    resume_all_takes_everybodys_holds,
    one_processor_with_a_spinner_is_still_controlled,
    one_that_leaves_with_a_request_sent_twice_ends_both,
    without_signals_a_tight_loop_times_out_with_reasons,
    timeout_0_never_waits,
    a_client_that_dies_before_the_answer_holds_nothing,
    many_clients_on_one_goroutine_leave_it_free,
    a_blocked_goroutine_is_held_at_once_and_keeps_its_wake_up,
    a_list_names_no_suspension_that_ended_before_it_was_asked_for,
    curl_does_it_as_written,
])
