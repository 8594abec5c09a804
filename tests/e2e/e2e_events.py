#!/usr/bin/env python3
"""e2e_events.py: the stream of events agrees with the lists, goes on where one left off, and waits for nobody."""
from harness import Daemon, Stream, main, until


def suspensions_modules_and_log_lines_are_told_in_order():
    with Daemon() as daemon:
        client, stream = daemon.client(), Stream(daemon)
        g = client.spawn("deadlock", "channel")
        s = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"owner": "me"}).json["id"]
        event = stream.wait("suspended")
        assert event["suspension"] == s and event["goroutine"] == g and event["owner"] == "me", event
        assert event["count"] == 1 and event["principal"].startswith("uid:"), event
        client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        assert stream.wait("resumed")["suspension"] == s
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 100})
        assert stream.wait("lease-expired")["goroutine"] == g
        assert stream.seqs == sorted(set(stream.seqs)), stream.seqs
        assert not [e for e in stream.types if e.startswith("goroutine.")], stream.types


def log_lines_come_once_each_and_in_order():
    with Daemon(modules=Daemon.own_modules) as daemon:
        client, stream = daemon.client(), Stream(daemon, "?types=log")
        client.spawn("crowd", "lines", {"count": 5000, "bytes": 100})
        for i in range(5000):
            assert stream.wait("log")["line"].split()[0] == str(i)


def it_goes_on_where_a_client_left_off():
    with Daemon() as daemon:
        client, stream = daemon.client(), Stream(daemon)
        g = client.spawn("deadlock", "channel")
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        stream.wait("suspended")
        last = stream.last_id
        stream.close()
        client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        again = Stream(daemon, last=last)
        assert again.wait("resumed")["goroutine"] == g
        assert again.types == ["resumed"], again.types
    with Daemon() as daemon:  # another instance
        stream = Stream(daemon, last=last)
        assert stream.wait("reset")["reason"] == "another-instance"


def what_the_ring_has_no_more_is_a_reset():
    with Daemon(modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        first = daemon.instance(client) + "-1"
        client.wait_dead(client.spawn("crowd", "lines", {"count": 20000, "bytes": 20}))  # 16,384 are kept
        stream = Stream(daemon, "?types=log", last=first)
        assert stream.wait("reset")["reason"] == "too-old" and stream.types == ["reset"], stream.types
        # Of the other kinds nothing is lost, whose ring it is not.
        stream = Stream(daemon, "?types=module,suspended", last=first)
        g = client.spawn("crowd", "churn", {"at_once": 1})
        held = client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"timeout_ms": 20000}).json["id"]
        assert stream.wait("suspended")["suspension"] == held and stream.types == ["suspended"], stream.types


def a_list_and_the_events_after_it_miss_nothing():
    """While goroutines come and go: what the list shows, changed by the events after its seq, is what is there in the end."""
    with Daemon("--procs", "2", modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        types = "?types=goroutine.created,goroutine.ended"
        first = Stream(daemon, types)  # from here on births are recorded
        for turn in range(5):
            churn = client.spawn("crowd", "churn", {"at_once": 5, "sleep_us": 500})
            until(lambda: client.get("/v1/runtime")["spawned"] > 200 * (turn + 1), "births")
            page = client.get("/v1/goroutines?state=live&limit=1000")
            assert page["next"] is None
            alive = {g["id"] for g in page["items"]}
            stream = Stream(daemon, types, last=f"{daemon.instance(client)}-{page['seq']}")
            kept = client.spawn("crowd", "crowd", {"path": daemon.path("crowd"), "count": 3, "sleep_us": 1000})
            client.want(202, "DELETE", f"/v1/goroutines/{churn}")
            client.wait_dead(churn)
            client.wait_dead(kept)
            end = client.get("/v1/goroutines?state=live&limit=1000")
            while stream.last_seq < end["seq"]:
                kind, event = stream.next()
                assert kind in ("goroutine.created", "goroutine.ended"), (kind, event)
                (alive.add if kind == "goroutine.created" else alive.discard)(event["goroutine"])
            # What ended after the list of the end was made is in the stream of later numbers.
            there = {g["id"] for g in end["items"]}
            assert alive >= there and all(client.state(g) == "dead" for g in alive - there), (alive, there)
            stream.close()
        first.close()


def a_slow_reader_is_dropped_alone():
    with Daemon("--procs", "2", modules=Daemon.own_modules) as daemon:
        client = daemon.client()
        slow, quick = Stream(daemon, "?types=log"), Stream(daemon, "?types=suspended")
        g = client.spawn("crowd", "lines", {"count": 60000, "bytes": 1000})
        client.wait_dead(g)
        kinds = []
        try:
            while True:
                kinds.append(slow.next()[0])
        except EOFError:
            pass
        # Lines come faster than the ring can be read: perhaps not even the first of them were sent.
        assert kinds[-1] == "lost" and set(kinds[:-1]) <= {"log"}, (kinds[-1], len(kinds))
        assert slow.events[-1]["lost"] > 0, slow.events[-1]
        waits = client.spawn("crowd", "crowd", {"path": daemon.path("c"), "count": 1, "sleep_us": 1000})
        client.wait_dead(waits)
        held = client.want(201, "POST", "/v1/suspensions", {"root": waits}).json
        assert quick.wait("suspended")["suspension"] == held["id"]
        assert quick.types == ["suspended"], quick.types


def only_so_many_streams_are_open():
    with Daemon(modules=False) as daemon:
        client = daemon.client()
        streams = [Stream(daemon) for _ in range(32)]
        client.want(429, "GET", "/v1/events", code="limit-reached")
        streams.pop().close()
        until(lambda: client.ask("HEAD", "/v1/events").status == 200, "there is room again")
        client.want(200, "GET", "/healthz")


def modules_are_told():
    with Daemon() as daemon:
        client, stream = daemon.client(), Stream(daemon, "?types=module")
        client.want(204, "DELETE", "/v1/modules/echo")
        assert stream.wait("module")["what"] == "unloaded"
        client.want(201, "POST", "/v1/modules", {"name": "echo"})
        event = stream.wait("module")
        assert event["module"] == "echo" and event["what"] == "loaded", event


if __name__ == "__main__":
    main([suspensions_modules_and_log_lines_are_told_in_order,
          log_lines_come_once_each_and_in_order,
          it_goes_on_where_a_client_left_off,
          what_the_ring_has_no_more_is_a_reset,
          a_list_and_the_events_after_it_miss_nothing,
          a_slow_reader_is_dropped_alone,
          only_so_many_streams_are_open,
          modules_are_told])
