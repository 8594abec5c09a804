#!/usr/bin/env python3
"""e2e_groups.py: sets of goroutines stopped together, by the thousand, and given back."""
import concurrent.futures
import random
import struct
import threading
import time

from harness import Daemon, Stream, counts, hog, main, standing_still, until


GONE = {"goroutine-dead", "not-found"}


def words(path):
    with open(path, "rb") as file:
        data = file.read()
    return struct.unpack(f"<{len(data) // 8}Q", data)


def crowd(daemon, client, count, sleep_us):
    """count goroutines that count; their root and the file of the counters."""
    path = daemon.path(f"crowd-{count}")
    root = client.spawn("crowd", "crowd", {"path": path, "count": count, "sleep_us": sleep_us})
    assert client.wait_dead(root)["code"] == 0
    until(lambda: all(words(path)), "each has counted once")
    return root, path


def nobody_moves(path, looks=20):
    before = words(path)
    for _ in range(looks):
        now = words(path)
        assert now == before, [(i, a, b) for i, (a, b) in enumerate(zip(before, now)) if a != b][:5]
        time.sleep(0.005)


def each_moves(path):
    before = words(path)
    until(lambda: all(a != b for a, b in zip(before, words(path))), "every counter moves")


def ten_thousand_are_stopped_listed_and_let_go_together():
    with Daemon(modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        root, path = crowd(daemon, client, 10000, 100000)
        answer = client.want(201, "POST", "/v1/suspensions", {"root": root, "lease_ms": 600000}).json
        assert answer["count"] == len(answer["held"]) == 10000 and not answer["failed"], answer["count"]
        nobody_moves(path)
        seen, cursor = set(), ""
        while cursor is not None:
            page = client.get(f"/v1/goroutines?root={root}&suspended=true&state=live&limit=1000{cursor}")
            seen.update(g["id"] for g in page["items"])
            cursor = page["next"] and f"&cursor={page['next']}"
        assert seen == set(answer["held"]), len(seen)
        listed = client.get("/v1/suspensions")["items"]
        assert [s["count"] for s in listed] == [10000] and "held" not in listed[0], listed
        nobody_moves(path)
        client.want(204, "DELETE", f"/v1/suspensions/{answer['id']}")
        each_moves(path)
        client.want(204, "DELETE", f"/v1/suspensions/{answer['id']}")
        until(lambda: client.get("/v1/runtime")["held"] == 0, "nobody is held")


def the_loop_answers_others_while_ten_thousand_are_stopped():
    with Daemon(modules=Daemon.own_modules) as daemon:
        client, other = daemon.client(), daemon.client()
        root, _ = crowd(daemon, client, 10000, 100000)
        answered = []  # while the group's answer was outstanding
        for _ in range(5):
            client.send("POST", "/v1/suspensions", {"root": root})
            stop = threading.Event()

            def ask():
                while not stop.is_set():
                    begin = time.monotonic()
                    other.want(200, "GET", "/healthz")
                    answered.append(time.monotonic() - begin)
            asker = threading.Thread(target=ask)
            asker.start()
            answer = client.receive()
            stop.set()
            asker.join()
            assert answer.status == 201, answer
            client.want(204, "DELETE", f"/v1/suspensions/{answer.json['id']}")
        print(f"      healthz while a group of 10,000 is stopped: {len(answered)} answers, "
              f"the slowest after {max(answered) * 1e3:.1f} ms")
        assert answered


def all_but_some_are_stopped():
    """J1: the excepted are untouched, and resumed ones go on."""
    with hog() as (daemon, client, g, path):
        others = [client.spawn("hog", "scalar", {"counter": daemon.path(f"c{i}")}) for i in range(4)]
        for i in range(4):
            counts(daemon.path(f"c{i}"))
        s = client.want(201, "POST", "/v1/suspensions", {"all": True, "except": [g, others[0]]}).json
        assert sorted(s["held"]) == others[1:], s
        counts(path)
        counts(daemon.path("c0"))
        standing_still(daemon.path("c1"))
        client.want(200, "POST", f"/v1/goroutines/{others[1]}/resume", {"suspension": s["id"]})
        counts(daemon.path("c1"))
        standing_still(daemon.path("c2"))
        left = client.get(f"/v1/suspensions/{s['id']}")
        assert left["held"] == others[2:] and left["count"] == 2, left
        client.want(204, "DELETE", f"/v1/suspensions/{s['id']}")
        counts(daemon.path("c2"))
        counts(daemon.path("c3"))


def selectors_and_modules_choose():
    with hog() as (daemon, client, g, path):
        web = client.spawn("hog", "calls", {"counter": daemon.path("web")}, labels={"tier": "web"})
        counts(daemon.path("web"))
        s = client.want(201, "POST", "/v1/suspensions", {"selector": "tier=web,!x", "owner": "o",
                                                        "reason": "r"}).json
        assert s["held"] == [web] and s["owner"] == "o" and s["reason"] == "r", s
        assert s["skew_ns"] == 0 and "goroutine" not in s, s
        standing_still(daemon.path("web"))
        counts(path)
        s = client.want(201, "POST", "/v1/suspensions", {"module": "hog"}).json
        assert s["held"] == [g, web], s
        client.want(404, "POST", "/v1/suspensions", {"module": "echo"}, "nothing-selected")
        client.want(404, "POST", "/v1/suspensions", {"ids": [99999]}, "nothing-selected")
        client.want(400, "POST", "/v1/suspensions", {"ids": [g], "module": "hog"}, "bad-request")
        mixed = client.want(201, "POST", "/v1/suspensions", {"ids": [g, 99999]}).json
        assert mixed["held"] == [g] and mixed["failed"] == [{"goroutine": 99999, "code": "not-found"}], mixed
        client.want(409, "POST", "/v1/suspensions", {"ids": [g, 99999], "require": "all"}, "suspend-incomplete")


def children_born_while_their_parents_are_stopped_are_held_too():
    with Daemon("--procs", "2", modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        root = client.spawn("crowd", "churn", {"at_once": 50})
        for _ in range(50):
            s = client.want(201, "POST", "/v1/suspensions", {"all": True, "timeout_ms": 20000}).json
            before = client.get("/v1/runtime")["spawned"]
            assert root in s["held"], s
            live = client.get("/v1/goroutines?state=live&limit=1000")["items"]
            assert all(g["suspended"] for g in live), live
            assert client.get("/v1/runtime")["spawned"] == before
            client.want(204, "DELETE", f"/v1/suspensions/{s['id']}")
            until(lambda: client.get("/v1/runtime")["spawned"] > before, "it goes on bearing")


def a_client_that_is_killed_while_it_holds_is_forgotten_when_its_lease_ends():
    """The event says so."""
    with hog() as (daemon, client, g, path):
        stream = Stream(daemon)
        dying = daemon.client()
        dying.want(201, "POST", "/v1/suspensions", {"ids": [g], "lease_ms": 400})
        dying.close()
        counts(path)  # without anybody's doing
        event = stream.wait("lease-expired")
        assert event["suspension"] == 1 and event["count"] == 0, event
        client.want(410, "DELETE", "/v1/suspensions/1", code="lease-expired")


def a_client_that_goes_before_its_answer_holds_nothing():
    with hog() as (daemon, client, g, path):
        for _ in range(50):
            dying = daemon.client()
            dying.send("POST", "/v1/suspensions", {"all": True})
            dying.close()
        until(lambda: client.get(f"/v1/goroutines/{g}")["holds"] == 0, "nothing is held")
        counts(path)


def a_thousand_clients_on_one_goroutine_leave_no_hold():
    """On as many connections as the daemon takes."""
    with hog() as (daemon, client, g, path):
        def one(_):
            mine = daemon.client()
            s = mine.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000}).json["id"]
            mine.want(200, "POST", f"/v1/goroutines/{g}/resume", {"suspension": s})
            mine.close()
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            list(pool.map(one, range(1000)))
        seen = client.get(f"/v1/goroutines/{g}")
        assert seen["holds"] == 0 and not seen["suspensions"], seen
        counts(path)


def holds_to_their_maximum_and_back():
    """E7"""
    with hog() as (daemon, client, g, path):
        most = client.get("/v1/runtime")["limits"]["holds_per_goroutine"]
        ids = [client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000}).json["id"]
               for _ in range(most)]
        client.want(409, "POST", f"/v1/goroutines/{g}/suspend", code="too-many-holds")
        failed = client.want(409, "POST", "/v1/suspensions", {"ids": [g]}, "suspend-incomplete").json["failed"]
        assert failed == [{"goroutine": g, "code": "too-many-holds"}], failed
        assert client.get(f"/v1/goroutines/{g}")["holds"] == most
        for s in ids[1:]:
            client.want(204, "DELETE", f"/v1/suspensions/{s}")
        standing_still(path)
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 1
        client.want(204, "DELETE", f"/v1/suspensions/{ids[0]}")
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        counts(path)


def goes_right_under_a_storm_of_holds(module):
    """Goroutines of a module that check what they do are suspended, shown and held together at random."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"      seed {seed}")
    with Daemon("--procs", "3", modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        root = client.spawn(module, module)

        def others():
            listed = client.get(f"/v1/goroutines?root={root}&state=live&limit=1000")["items"]
            return [g["id"] for g in listed if g["id"] != root]
        until(lambda: len(others()) >= 20, "all are born")

        def disturb(number):
            choose, own = random.Random(seed + number), daemon.client()
            for n in range(300):
                if n % 50 == 0:
                    ids = own.get(f"/v1/goroutines?root={root}&state=live&limit=1000")["items"]
                    ids = [g["id"] for g in ids if g["id"] != root]
                g, kind = choose.choice(ids), choose.randrange(10)
                # Some start others, which may have ended meanwhile.
                if kind == 0:
                    s = own.ask("POST", "/v1/suspensions", {"ids": choose.sample(ids, 5), "timeout_ms": 20000})
                    assert s.status == 201 or {f["code"] for f in s.json["failed"]} <= GONE, s
                    if s.status == 201:
                        own.want(204, "DELETE", f"/v1/suspensions/{s.json['id']}")
                elif kind < 3:
                    s = own.ask("GET", f"/v1/goroutines/{g}/snapshot?vectors=1")
                    assert s.status == 200 or s.json["code"] in GONE, s
                else:
                    s = own.ask("POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000})
                    assert s.status == 200 or s.json["code"] in GONE, s
                    if s.status == 200:
                        own.want(200, "POST", f"/v1/goroutines/{g}/resume", {"suspension": s.json["id"]})
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(disturb, range(3)))
        client.want(202, "DELETE", f"/v1/goroutines/{root}")
        end = client.wait_dead(root)
        lines = client.get(f"/v1/goroutines/{root}/log")["lines"]
        assert end["code"] == 0 and not any(line.startswith("WRONG") for line in lines), (end, lines[-20:])
        return end["result"]["rounds"]


def everyday_c_goes_right_under_a_storm_of_holds():
    rounds = goes_right_under_a_storm_of_holds("everyday")
    assert len(rounds) == 10 and all(n >= 2 for n in rounds.values()), rounds


def strange_c_goes_right_under_a_storm_of_holds():
    rounds = goes_right_under_a_storm_of_holds("strange")
    assert len(rounds) == 26, rounds  # each sort went at least one round, or the entry would not have ended


if __name__ == "__main__":
    main([ten_thousand_are_stopped_listed_and_let_go_together,
          the_loop_answers_others_while_ten_thousand_are_stopped,
          all_but_some_are_stopped,
          selectors_and_modules_choose,
          children_born_while_their_parents_are_stopped_are_held_too,
          a_client_that_is_killed_while_it_holds_is_forgotten_when_its_lease_ends,
          a_client_that_goes_before_its_answer_holds_nothing,
          a_thousand_clients_on_one_goroutine_leave_no_hold,
          holds_to_their_maximum_and_back,
          everyday_c_goes_right_under_a_storm_of_holds,
          strange_c_goes_right_under_a_storm_of_holds])
