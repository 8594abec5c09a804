#!/usr/bin/env python3
"""e2e_control.py: spawning, listing, waiting, ending; wrong requests; TCP, tokens, hosts."""
import base64
import json
import os
import subprocess

from harness import Daemon, UnixConnection, about_loops_without_calls, main, until


def entries_run_on_real_input_and_leave_a_result():
    with Daemon() as daemon:
        client = daemon.client()
        text = daemon.path("text")
        os.mkdir(text)
        for name, words in (("a", "one two three\n"), ("b", "two three\nthree\n")):
            with open(os.path.join(text, name), "w") as file:
                file.write(words)
        end = client.wait_dead(client.spawn("wordcount", "count", {"dir": text}))
        assert end["reason"] == "returned" and end["code"] == 0, end
        assert "6" in json.dumps(end["result"]), end
        end = client.wait_dead(client.spawn("pipeline", "sieve", {"primes": 100}))
        assert end["code"] == 0 and "541" in json.dumps(end["result"]), end  # the 100th prime


def waiting_for_one_that_runs_answers_as_it_is():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("hog", "scalar")
        assert client.get(f"/v1/goroutines/{g}?wait_ms=50")["state"] != "dead"


def a_cancelled_goroutine_ends():
    with Daemon() as daemon:
        client = daemon.client()
        for module, entry in (("hog", "scalar"), ("deadlock", "channel"), ("deadlock", "cycle")):
            g = client.spawn(module, entry)
            client.want(202, "DELETE", f"/v1/goroutines/{g}")
            end = client.wait_dead(g)
            assert end["reason"] == "cancelled", end
            client.want(410, "POST", f"/v1/goroutines/{g}/suspend", code="goroutine-dead")
            client.want(410, "DELETE", f"/v1/goroutines/{g}", code="goroutine-dead")


def pages_meet_each_goroutine_once():
    with Daemon() as daemon:
        client = daemon.client()
        ids = client.spawn("deadlock", "channel", count=330, labels={"set": "x"})
        seen, target = [], "/v1/goroutines?limit=50&selector=set%3Dx"
        while target:
            answer = client.want(200, "GET", target)
            seen += [item["id"] for item in answer.json["items"]]
            link = answer.headers["Link"]
            assert bool(link) == bool(answer.json["next"]), answer.headers
            target = link.split(";")[0].strip("<>") if link else None
        assert seen == sorted(ids), (len(seen), len(ids))
        lines = client.want(200, "GET", "/v1/goroutines?selector=set&format=ndjson").text.splitlines()
        assert [json.loads(line)["id"] for line in lines[:-1]] == seen
        last = json.loads(lines[-1])
        assert last["end"] is True and isinstance(last["seq"], int), last
        assert client.get("/v1/runtime")["live"] >= 330


def labels_select():
    with Daemon() as daemon:
        client = daemon.client()
        a = client.spawn("deadlock", "channel", labels={"k": "1"})
        b = client.spawn("deadlock", "channel", labels={"k": "2", "x": ""})
        def found(query):
            return [item["id"] for item in client.get("/v1/goroutines?" + query)["items"]]
        assert found("selector=k%3D1") == [a]
        assert found("selector=k!%3D1") == [b]
        assert found("selector=k,!x") == [a]
        assert found(f"root={b}") == [b]
        assert found("module=hog") == []


def wrong_requests_get_clear_answers():
    with Daemon() as daemon:
        client = daemon.client()
        spawn = "/v1/goroutines"
        rows = [
            (404, "GET", "/nothing", None, "not-found"),
            (405, "PUT", spawn, {}, None),
            (404, "GET", "/v1/goroutines/999", None, "not-found"),
            (400, "GET", "/v1/goroutines/0", None, "bad-request"),
            (400, "GET", "/v1/goroutines/x", None, "bad-request"),
            (400, "POST", "/v1/goroutines/9007199254740992/suspend", None, "bad-request"),
            (404, "POST", "/v1/goroutines/999/suspend", {}, "not-found"),
            (400, "GET", "/v1/goroutines?colour=red", None, "unknown-parameter"),
            (400, "POST", spawn, "{", "bad-request"),
            (400, "POST", spawn, "[]", "bad-request"),
            (400, "POST", spawn, '{"module":"hog","module":"hog","entry":"scalar"}', "bad-request"),
            (400, "POST", spawn, {"module": "hog", "entry": "scalar", "colour": 1}, "unknown-field"),
            (400, "POST", spawn, {"module": "hog"}, "bad-request"),
            (404, "POST", spawn, {"module": "none", "entry": "scalar"}, "module-not-loaded"),
            (404, "POST", spawn, {"module": "hog", "entry": "none"}, "entry-not-found"),
            (413, "POST", spawn, {"module": "hog", "entry": "scalar", "args": "x" * 70000}, "too-large"),
            (400, "POST", "/v1/goroutines/1/suspend", {"lease_ms": 99}, "bad-request"),
            (400, "POST", "/v1/goroutines/1/suspend", {"lease_ms": "1s"}, "bad-request"),
            (404, "DELETE", "/v1/suspensions/1", None, "not-found"),
            (400, "PATCH", "/v1/runtime", {"procs": 100000}, "bad-request"),
        ]
        for status, method, target, body, code in rows:
            client.want(status, method, target, body, code)
        assert client.ask("PUT", spawn, {}).headers["Allow"] == "GET, HEAD, POST"
        assert client.ask("POST", spawn, "a=b", {"Content-Type": "text/plain"}).status == 415
        coded = client.ask("POST", spawn, "{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"})
        assert coded.status == 415 and "gzip" in coded.json["detail"], coded
        assert client.ask("GET", spawn, headers={"Accept": "image/png"}).status == 406
        assert client.get("/v1/runtime")["spawned"] == 0


def the_document_is_served_and_every_path_answers():
    with Daemon() as daemon:
        client = daemon.client()
        document = client.get("/openapi.json")
        assert document["openapi"].startswith("3.1."), document["openapi"]
        for path, methods in document["paths"].items():
            target = path.replace("{id}", "1").replace("{name}", "hog")
            if "get" in methods:
                # 400: it wants to be told of what; 426: a connection of its own.
                lasts = any(p.get("name") == "seconds" for p in methods["get"].get("parameters", []))
                answer = client.ask("HEAD", target + ("?seconds=1" if lasts else ""))
                assert answer.status in (200, 400, 404, 426), (target, answer.status)
            others = [method for method in ("get", "post", "patch", "delete") if method not in methods]
            for method in others:
                assert client.ask(method.upper(), target).status == 405, (method, target)
        g = client.spawn("deadlock", "channel")
        group = client.want(201, "POST", "/v1/suspensions", {"ids": [g, 999], "lease_ms": 1000}).json
        assert group["held"] == [g] and [f["goroutine"] for f in group["failed"]] == [999], group


def the_instance_is_checked():
    with Daemon() as daemon:
        client = daemon.client()
        instance = client.want(200, "GET", "/healthz").headers["Grasp-Instance"]
        assert client.ask("GET", "/v1/runtime", headers={"Grasp-Instance": instance}).status == 200
        assert client.ask("GET", "/v1/runtime", headers={"Grasp-Instance": "0" * 32}).status == 412


def the_runtime_is_changed_live():
    with Daemon("--procs", "1") as daemon:
        client = daemon.client()
        after = client.want(200, "PATCH", "/v1/runtime", {"procs": 2, "time_slice_us": 5000}).json
        assert after["procs"] == 2 and after["time_slice_us"] == 5000, after
        client.want(400, "PATCH", "/v1/runtime", {"procs": 1, "time_slice_us": 1}, "bad-request")
        assert client.get("/v1/runtime")["procs"] == 2  # nothing of a wrong request is applied


def the_cap_on_goroutines_is_kept():
    with Daemon("--max-goroutines", "10") as daemon:
        client = daemon.client()
        problem = client.want(429, "POST", "/v1/goroutines",
                              {"module": "deadlock", "entry": "channel", "count": 11}, "limit-reached").json
        assert len(problem["ids"]) == 10, problem


def tcp_needs_a_token_and_a_known_host():
    with Daemon("--listen", "127.0.0.1:0", "--token-file", "token") as daemon:
        with open(daemon.path("token")) as file:
            token = file.read().strip()
        assert os.stat(daemon.path("token")).st_mode & 0o777 == 0o600
        assert len(token) == 64, token
        bearer = {"Authorization": f"Bearer {token}"}
        basic = {"Authorization": "Basic " + base64.b64encode(f"x:{token}".encode()).decode()}
        daemon.tcp().want(200, "GET", "/healthz")
        daemon.tcp().want(401, "GET", "/v1/runtime", code="unauthorized")
        daemon.tcp().want(401, "GET", "/metrics", code="unauthorized")
        daemon.tcp({"Authorization": "Bearer " + "0" * 64}).want(401, "GET", "/v1/runtime")
        daemon.tcp(bearer).want(200, "GET", "/v1/runtime")
        daemon.tcp(basic).want(200, "GET", "/metrics")
        daemon.tcp(basic).want(401, "POST", "/v1/goroutines", {})
        daemon.tcp(dict(bearer, Host="evil.example")).want(421, "GET", "/v1/runtime", code="unknown-host")
        daemon.tcp(dict(bearer, Host="evil.example")).want(200, "GET", "/healthz")
        daemon.tcp(dict(bearer, Origin="http://evil.example")).want(
            403, "POST", "/v1/goroutines", {"module": "hog", "entry": "scalar"}, "foreign-origin")


def scopes_limit_a_token():
    with open("/dev/urandom", "rb") as file:
        reader, operator = file.read(32).hex(), file.read(32).hex()
    with Daemon() as first:
        path = first.path("tokens")
        with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(f"# two\nreader read {reader}\noperator read,control {operator}\n")
        with Daemon("--listen", "127.0.0.1:0", "--token-file", path) as daemon:
            read = daemon.tcp({"Authorization": f"Bearer {reader}"})
            control = daemon.tcp({"Authorization": f"Bearer {operator}"})
            g = control.spawn("hog", "scalar")
            read.want(403, "POST", f"/v1/goroutines/{g}/suspend", code="forbidden")
            held = control.want(200, "POST", f"/v1/goroutines/{g}/suspend").json
            assert held["principal"] == "token:operator", held
            read.want(200, "GET", f"/v1/goroutines/{g}/snapshot")
            control.want(403, "POST", "/v1/modules", {"name": "hog"}, "forbidden")
            # Another principal's hold is not given back without its name.
            daemon.client().want(409, "POST", f"/v1/goroutines/{g}/resume", code="not-suspended")


def the_unix_socket_is_for_its_owner():
    with Daemon() as daemon:
        assert os.stat(daemon.socket).st_mode & 0o777 == 0o600
        if os.geteuid() == 0:
            # As another user, the socket opened wide: the daemon looks at who is there.
            os.chmod(daemon.dir, 0o755)
            os.chmod(daemon.socket, 0o666)
            code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
                    "s.sendall(b'GET /v1/runtime HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(12).decode())")
            done = subprocess.run(["python3", "-c", code, daemon.socket], user=65534, group=65534,
                                  extra_groups=[], capture_output=True, text=True, timeout=30)
            assert done.stdout.strip() == "HTTP/1.1 403", done


def metrics_count():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("hog", "scalar")
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        text = client.want(200, "GET", "/metrics").text
        for line in ("grasp_leases 1", "grasp_held_goroutines 1", "grasp_suspends_total 1", "grasp_spawned_total 1",
                     'grasp_http_requests_total{method="POST",route="/v1/goroutines",status="201"} 1'):
            assert line + "\n" in text, (line, text)


@about_loops_without_calls
def text_is_for_people():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("hog", "scalar", labels={"a": "b"})
        # One that has not run yet stands in the runtime, not in its loop.
        until(lambda: client.get(f"/v1/goroutines/{g}")["cpu_ns"] > 1000000, "it runs")
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"reason": "esc\u001b[31m"})
        for target, mark in (("/v1/goroutines", "hog/scalar"), ("/v1/suspensions", "uid:"), ("/v1/modules", "hog"),
                             ("/v1/runtime", "procs"), (f"/v1/goroutines/{g}", "preempted"),
                             (f"/v1/goroutines/{g}/snapshot", "hog.c:"), (f"/v1/goroutines/{g}/log", ""),
                             ("/v1/suspensions/1", "remaining_ms"), ("/v1/modules/hog", "hog/scalar")):
            answer = client.want(200, "GET", target + "?format=text")
            assert answer.headers["Content-Type"].startswith("text/plain"), answer.headers
            assert mark in answer.text and "\x1b" not in answer.text, (target, answer)


def many_requests_at_once_come_back_in_order():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("hog", "scalar")
        targets = [f"/v1/goroutines/{g}/stack", "/healthz", "/v1/modules", "/v1/goroutines/999", "/v1/runtime"] * 40
        raw = UnixConnection(daemon.socket)
        raw.connect()
        raw.sock.sendall("".join(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n" for t in targets).encode())
        stream = raw.sock.makefile("rb")
        for target in targets:
            status = int(stream.readline().split()[1])
            headers = {}
            for line in iter(stream.readline, b"\r\n"):
                name, value = line.decode().split(":", 1)
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers["content-length"])).decode()
            mark = {"/healthz": "ok", "/v1/modules": '"items"', "/v1/goroutines/999": "not-found",
                    "/v1/runtime": '"procs"'}.get(target, '"frames"')
            assert mark in body, (target, status, body)
        raw.close()


main([
    entries_run_on_real_input_and_leave_a_result,
    waiting_for_one_that_runs_answers_as_it_is,
    a_cancelled_goroutine_ends,
    pages_meet_each_goroutine_once,
    labels_select,
    wrong_requests_get_clear_answers,
    the_document_is_served_and_every_path_answers,
    the_instance_is_checked,
    the_runtime_is_changed_live,
    the_cap_on_goroutines_is_kept,
    tcp_needs_a_token_and_a_known_host,
    scopes_limit_a_token,
    the_unix_socket_is_for_its_owner,
    metrics_count,
    text_is_for_people,
    many_requests_at_once_come_back_in_order,
])
