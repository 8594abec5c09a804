#!/usr/bin/env python3
"""e2e_inspect.py: why goroutines do not run, from outside."""
from harness import Daemon, hog, main, until


def waits(client, goroutine, reason):
    return until(lambda: (lambda g: g if g["wait_reason"] == reason else None)(
        client.get(f"/v1/goroutines/{goroutine}")), f"goroutine {goroutine} waits for {reason}")


def cycle(client):
    """The example's two goroutines, in their circle."""
    left = client.spawn("deadlock", "cycle")
    waits(client, left, "mutex lock")
    right = next(g["id"] for g in client.get(f"/v1/goroutines?root={left}&state=live")["items"]
                 if g["id"] != left)
    waits(client, right, "mutex lock")
    return left, right


def a_circle_of_two_mutexes_is_named_while_a_hog_runs():
    with hog() as (daemon, client, runner, path):
        assert client.get("/v1/deadlocks")["deadlock"] is False
        left, right = cycle(client)
        report = client.get("/v1/deadlocks")
        assert report["deadlock"] and not report["all_wait"] and report["because"] == "runs", report
        assert len(report["cycles"]) == 1 and report["waiting"] == [], report
        members = {m["goroutine"]: m for m in report["cycles"][0]}
        assert set(members) == {left, right}, report
        assert members[left]["needs"] == right and members[right]["needs"] == left, report
        one = client.get(f"/v1/goroutines/{left}")
        [mutex] = one["waits_for"]
        assert mutex["kind"] == "mutex" and mutex["owner"] == right, one
        assert mutex["owner_wait_reason"] == "mutex lock" and mutex["waiters"] == [left], one
        assert mutex["address"] == one["wait_address"], one
        assert client.get(f"/v1/goroutines/{right}")["locks_held"] == [mutex["address"]]
        text = client.want(200, "GET", "/v1/deadlocks?format=text").text
        assert text.startswith("deadlock: 2 goroutines wait for each other in a circle\n"), text
        text = client.want(200, "GET", f"/v1/goroutines/{left}?format=text").text
        assert f"held by goroutine {right} (waiting: mutex lock)" in text, text
        # Suspended, it is somebody's wish.
        client.want(200, "POST", f"/v1/goroutines/{left}/suspend", {"owner": "ann", "reason": "looking"})
        assert client.get("/v1/deadlocks")["deadlock"] is False
        text = client.want(200, "GET", f"/v1/goroutines/{left}?format=text").text
        assert "owner ann: looking, for another " in text, text
        client.want(200, "POST", f"/v1/goroutines/{left}/resume")
        assert client.get("/v1/deadlocks")["deadlock"] is True
        client.want(202, "DELETE", f"/v1/goroutines/{left}")
        client.wait_dead(left)
        client.wait_dead(right)
        assert client.get("/v1/deadlocks")["deadlock"] is False


def a_channel_without_a_sender_is_reported_when_nothing_else_lives():
    with Daemon() as daemon:
        client = daemon.client()
        assert client.get("/v1/deadlocks")["because"] == "empty"
        g = client.spawn("deadlock", "channel")
        waits(client, g, "chan receive")
        report = client.get("/v1/deadlocks")
        assert report["deadlock"] and report["all_wait"] and report["cycles"] == [], report
        [stuck] = report["waiting"]
        assert stuck["goroutine"] == g and stuck["missing"] == "nobody sends", report
        assert stuck["waits_for"]["kind"] == "channel" and stuck["waits_for"]["op"] == "receive", report
        # Not while one is suspended: whoever did that may let it send.
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        silent = client.get("/v1/deadlocks")
        assert not silent["deadlock"] and silent["because"] == "suspended", silent
        assert silent["because_goroutine"] == g, silent
        client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        client.want(202, "DELETE", f"/v1/goroutines/{g}")
        client.wait_dead(g)


def a_stack_tells_which_channel_and_lock_it_knows():
    with Daemon() as daemon:
        client = daemon.client()
        left, right = cycle(client)
        mutex = client.get(f"/v1/goroutines/{left}")["wait_address"]
        roots = client.get(f"/v1/goroutines/{left}/roots?kind=mutex")
        assert roots["goroutine"] == left and not roots["truncated"], roots
        assert any(item["object"] == mutex for item in roots["items"]), roots
        assert all(item["kind"] == "mutex" and ("at" in item) != ("register" in item) for item in roots["items"])
        assert client.get(f"/v1/goroutines/{right}/roots?limit=1")["truncated"]
        assert client.get(f"/v1/goroutines/{left}")["holds"] == 0
        receiver = client.spawn("deadlock", "channel")
        waits(client, receiver, "chan receive")
        [channel] = client.get(f"/v1/goroutines/{receiver}")["waits_for"]
        text = client.want(200, "GET", f"/v1/goroutines/{receiver}/roots?kind=channel&format=text").text
        assert f" channel {channel['address']}+0" in text, text
        client.want(400, "GET", f"/v1/goroutines/{left}/roots?kind=nothing", code="bad-request")
        client.want(404, "GET", "/v1/goroutines/99/roots", code="not-found")


main([
    a_circle_of_two_mutexes_is_named_while_a_hog_runs,
    a_channel_without_a_sender_is_reported_when_nothing_else_lives,
    a_stack_tells_which_channel_and_lock_it_knows,
])
