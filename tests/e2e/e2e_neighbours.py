#!/usr/bin/env python3
"""e2e_neighbours.py: what one client does, or fails to do, does not keep another one waiting.

Each case brings one client's request to a point where it is not answered yet, has another one served from there, and only then lets the
first go on: the order is the claim. How long the other waits at worst is measured by tests/bench/neighbours.py.
"""
import json
import os
import select
import socket
import threading

from harness import Daemon, HANG_SECONDS, emulator, hog, main

HEAD = b"POST /v1/goroutines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"module": "deadlock", "entry": "channel", "labels": {"from": "slow"}}).encode()
LIST = b"GET /v1/goroutines?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n"
MANY = 100000


def connect(daemon, receive_bytes=None):
    raw = socket.socket(socket.AF_UNIX)
    if receive_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    raw.connect(daemon.socket)  # waits for a place in the queue, which it would not with a time-out
    raw.settimeout(HANG_SECONDS)
    return raw


def has_answer(raw):
    return bool(select.select([raw], [], [], 0)[0])


def unchunk(data):
    pieces, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        pieces.append(data[end + 2:end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(pieces)


def serve(client, goroutine):
    """All kinds of calls: on the loop, on the pool, suspends."""
    client.want(200, "GET", "/healthz")
    client.get("/v1/goroutines?limit=10")
    client.want(200, "GET", "/metrics")
    held = client.want(200, "POST", f"/v1/goroutines/{goroutine}/suspend", {"timeout_ms": 20000}).json["id"]
    client.get(f"/v1/goroutines/{goroutine}/snapshot")
    client.want(204, "DELETE", f"/v1/suspensions/{held}")


def slow_headers_and_bodies_delay_nobody():
    with hog("--head-seconds", "3600", "--request-seconds", "3600") as (daemon, client, g, path):
        whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
        slow = [(connect(daemon), request) for request in (whole, chunked) for _ in range(20)]
        # A piece here, a piece there; the other one is served between any two of them.
        for at in range(0, max(len(whole), len(chunked)), 40):
            for raw, request in slow:
                raw.sendall(request[:-1][at:at + 40])
            assert not any(has_answer(raw) for raw, _ in slow)
            serve(client, g)
        assert len(client.get("/v1/goroutines?state=live")["items"]) == 1, "nothing was begun by half a request"
        for raw, request in slow:
            raw.sendall(request[-1:])
            assert raw.recv(100).startswith(b"HTTP/1.1 201 "), request


def idle_connections_delay_nobody():
    with hog() as (daemon, client, g, path):
        idle = [connect(daemon) for _ in range(255)]  # and the client's own
        for raw in idle[::2]:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
        serve(client, g)
        serve(daemon.client(), g)  # for whom one of them has to go


def who_reads_a_long_list_slowly_delays_nobody_and_gets_it_whole():
    # So many guards are more mappings than a process may have, where the kernel has no guard regions, or an emulator does not pass them on.
    with Daemon("--unguarded-stacks") as daemon:
        client = daemon.client()
        ids = client.spawn("deadlock", "channel", count=MANY)
        slow = connect(daemon, 4096)
        slow.sendall(LIST)
        data, rounds = bytearray(), 0
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += slow.recv(1 << 20 if rounds > 20 else 4096)
            rounds += 1
            if rounds <= 20:  # it has taken a little and stops; others are served meanwhile
                serve(client, ids[rounds])
        lines = unchunk(data.split(b"\r\n\r\n", 1)[1]).splitlines()
        assert json.loads(lines[-1])["end"] is True
        assert [json.loads(line)["id"] for line in lines[:-1]] == ids, "each once, in order"


def who_reads_nothing_at_all_delays_nobody():
    with hog("--stall-seconds", "3600") as (daemon, client, g, path):
        client.spawn("deadlock", "channel", count=2000)
        deaf = [connect(daemon, 4096) for _ in range(30)]
        for raw in deaf:
            raw.sendall(LIST)
        for _ in range(5):
            serve(client, g)
        with open(f"/proc/{daemon.process.pid}/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert Daemon.sanitizer or resident < 200 << 20, f"{resident} bytes are kept for those who read nothing"


def a_cut_of_ten_thousand_delays_nobody():
    with Daemon("--state", "state", modules=Daemon.own_modules) as daemon:
        client, other = daemon.client(), daemon.client()
        # 100,000 wakes a second are all that two cores can do under an emulator, and nearly so with a sanitizer.
        sleep_us = 2000000 if emulator() or Daemon.sanitizer else 100000
        root = client.spawn("crowd", "crowd", {"path": daemon.path("words"), "count": 10000, "sleep_us": sleep_us})
        assert client.wait_dead(root)["code"] == 0
        other_root = client.spawn("crowd", "crowd", {"path": daemon.path("others"), "count": 1, "sleep_us": 1000})
        assert client.wait_dead(other_root)["code"] == 0
        free = client.get(f"/v1/goroutines?root={other_root}&state=live")["items"][0]["id"]
        # Below the client's own time-out, so that the answer says who did not stop.
        client.send("POST", "/v1/snapshots", {"root": root, "timeout_ms": 500 * HANG_SECONDS})
        served, stop = [0], threading.Event()

        def ask():
            while not stop.is_set():
                serve(other, free)
                served[0] += 1
        asker = threading.Thread(target=ask)
        asker.start()
        answer = client.receive()
        meanwhile = served[0]
        stop.set()
        asker.join()
        assert answer.status == 201 and answer.json["count"] == 10000, answer
        assert meanwhile > 0, "nobody was served before the cut was answered"
        print(f"      {meanwhile} rounds of calls by another client while the cut was taken")


def crowd_size():
    return 500 if Daemon.sanitizer or emulator() else 5000


def post(target, body):
    text = json.dumps(body).encode()
    return (f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n").encode() + text


def in_the_crowd(daemon, ids, act, rounds, stop, failures):
    """One of those who ask for something that concerns all, again and again."""
    client = daemon.client()
    try:
        while not stop.is_set():
            act(client, ids)
            rounds.append(1)
    except Exception as error:  # told by the thread that runs the case
        failures.append(error)


def take_a_core(client, ids):
    answer = client.want(200, "GET", f"/debug/core?all=1&timeout_ms={500 * HANG_SECONDS}")
    assert int(answer.headers["Grasp-Goroutines"]) > len(ids) and answer.headers["Grasp-Missing"] == "0" and answer.body.startswith(b"\x7fELF")


def save_a_cut(client, ids):
    saved = client.want(201, "POST", "/v1/snapshots", {"ids": ids, "timeout_ms": 500 * HANG_SECONDS}).json
    assert saved["count"] == len(ids), saved
    client.want(204, "DELETE", f"/v1/snapshots/{saved['id']}")


def hold_all(client, ids):
    held = client.want(201, "POST", "/v1/suspensions", {"ids": ids, "timeout_ms": 500 * HANG_SECONDS}).json
    assert held["count"] == len(ids), held
    client.want(204, "DELETE", f"/v1/suspensions/{held['id']}")


def dump_all(client, ids):
    assert client.want(200, "GET", "/debug/pprof/goroutine?debug=2").body.count(b"\ngoroutine ") >= len(ids)


def count_all(client, ids):
    client.want(200, "GET", "/debug/pprof/goroutine")


def look_for_nobody(client, ids):
    assert client.want(200, "GET", "/v1/goroutines?selector=no=one").json["items"] == []


def spawn_many(client, ids):
    """More than a slice of them."""
    some = client.want(201, "POST", "/v1/goroutines", {"module": "pipeline", "entry": "sieve", "args": {"primes": 1}, "count": 500}).json["ids"]
    assert len(set(some)) == 500


def a_crowd_that_asks_for_all_delays_nobody():
    acts = [take_a_core, save_a_cut, hold_all, dump_all, count_all, look_for_nobody, spawn_many, take_a_core]
    with Daemon("--state", "state") as daemon:
        client, stop, failures = daemon.client(), threading.Event(), []
        ids = client.spawn("deadlock", "channel", count=crowd_size())
        alone = client.spawn("deadlock", "channel")
        rounds = [[] for _ in range(2 * len(acts))]
        crowd = [threading.Thread(target=in_the_crowd, args=(daemon, ids, acts[i % len(acts)], rounds[i], stop, failures))
                 for i in range(len(rounds))]
        for one in crowd:
            one.start()
        served = 0
        # Until each of the crowd has got what it asked for, and so is at it again: nobody of them starves, either.
        while not failures and not all(rounds) or served < 20:
            serve(client, alone)
            served += 1
        stop.set()
        for one in crowd:
            one.join()
        assert not failures, failures
        runtime = client.get("/v1/runtime")
        assert runtime["held"] == 0, runtime
        print(f"      {served} rounds of calls by another client, {[len(r) for r in rounds]} by the crowd")


def many_cuts_of_one_client_delay_anothers_by_one():
    with Daemon("--state", "state") as daemon:
        client = daemon.client()
        ids = client.spawn("deadlock", "channel", count=crowd_size())
        greedy = connect(daemon)
        greedy.sendall(post("/v1/snapshots", {"ids": ids, "timeout_ms": 500 * HANG_SECONDS}) * 16)
        saved = client.want(201, "POST", "/v1/snapshots", {"ids": ids[:1], "timeout_ms": 500 * HANG_SECONDS}).json
        # Numbers are given in the order of the cuts. One was being made, and one more may have been before this was heard of.
        assert saved["id"] <= 8, saved
        while client.get("/v1/snapshots")["items"][-1]["id"] < 17:  # and the greedy one gets all of its own
            pass
        greedy.close()


ALL = post("/v1/snapshots", {"all": True, "timeout_ms": 500 * HANG_SECONDS})


def who_goes_while_it_waits_gives_its_place_to_others():
    with Daemon("--state", "state") as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel", count=2 * crowd_size())
        greedy = connect(daemon)
        greedy.sendall(ALL * 16)  # read in one go; cuts of so many are not
        greedy.close()
        for _ in range(16):  # turn for turn with what the other one had waiting, if it were done
            saved = client.want(201, "POST", "/v1/snapshots", {"ids": [1], "timeout_ms": 500 * HANG_SECONDS}).json
        assert saved["id"] < 16 + 12, saved  # what is not done has no number
        assert client.get("/v1/runtime")["held"] == 0


def sigterm_ends_what_waits():
    with Daemon("--state", "state") as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel", count=2 * crowd_size())
        greedy = connect(daemon)
        greedy.sendall(ALL * 16)
        client.want(200, "GET", "/healthz")  # so that they were read
        assert daemon.stop() == 0
        answers = b"".join(iter(lambda: greedy.recv(1 << 16), b""))
        assert answers.count(b"HTTP/1.1 ") == 16 and answers.rindex(b"HTTP/1.1 ") == answers.rindex(b"HTTP/1.1 503 "), answers[-1000:]


main([
    slow_headers_and_bodies_delay_nobody,
    idle_connections_delay_nobody,
    who_reads_a_long_list_slowly_delays_nobody_and_gets_it_whole,
    who_reads_nothing_at_all_delays_nobody,
    a_cut_of_ten_thousand_delays_nobody,
    a_crowd_that_asks_for_all_delays_nobody,
    many_cuts_of_one_client_delay_anothers_by_one,
    who_goes_while_it_waits_gives_its_place_to_others,
    sigterm_ends_what_waits,
])
