#!/usr/bin/env python3
"""e2e_profiles.py: dumps, profiles and graphs of goroutines, read by the tools that people have."""
import glob
import gzip
import re
import shutil
import subprocess
import xml.dom.minidom

import perfetto
from harness import Daemon, counts, hog, main, until


def go_tool():
    """A Go toolchain that brings its pprof along: Debian's, else the one on PATH."""
    for path in sorted(glob.glob("/usr/lib/go-*/bin/go")) + [shutil.which("go")]:
        if path and glob.glob(path[:-len("bin/go")] + "pkg/tool/*/pprof"):
            return path
    return None


def pprof(daemon, name, *flags):
    """What `go tool pprof` prints of a file; None: there is no Go."""
    go = go_tool()
    if not go:
        print("      (no Go with a built pprof: go tool pprof not tried)")
        return None
    run = subprocess.run([go, "tool", "pprof", *flags, daemon.path(name)], capture_output=True, text=True,
                         timeout=120, check=False, env={"PATH": "/usr/bin:/bin", "HOME": daemon.dir,
                                                        "PPROF_TMPDIR": daemon.dir})
    assert run.returncode == 0, run.stderr
    return run.stdout


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def samples(raw):
    """[(functions innermost first, values, labels)] of a gzipped profile."""
    message = gzip.decompress(raw)
    strings = [value.decode() for number, value in fields(message) if number == 6]
    functions, locations, found = {}, {}, []
    for number, value in fields(message):
        if number == 5:
            entry = dict(fields(value))
            functions[entry[1]] = strings[entry[2]]
    for number, value in fields(message):
        if number == 4:
            entry = dict(fields(value))
            lines = [dict(fields(v)) for n, v in fields(value) if n == 4]
            locations[entry[1]] = [functions[line[1]] for line in lines]
    for number, value in fields(message):
        if number != 2:
            continue
        names, values, labels = [], [], {}
        for n, v in fields(value):
            if n == 3:
                label = dict(fields(v))
                labels[strings[label[1]]] = strings[label[2]] if 2 in label else label[3]
                continue
            at = 0
            while at < len(v):
                item, at = varint(v, at)
                names.extend(locations[item] if n == 1 else [])
                values.extend([item] if n == 2 else [])
        found.append((names, values, labels))
    return found


def keep(daemon, name, answer):
    with open(daemon.path(name), "wb") as file:
        file.write(answer.body)


def waiting_pair(client):
    """Two goroutines that wait for each other's mutex."""
    first = client.spawn("deadlock", "cycle", {})
    until(lambda: sum(g["state"] == "waiting" for g in client.get(f"/v1/goroutines?root={first}")["items"]) == 2,
          "both wait")
    return first


def a_goroutine_profile_has_a_sample_each_with_labels():
    with Daemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        g = client.spawn("hog", "scalar", {"counter": path}, labels={"team": "red", "tier": "1"})
        counts(path)
        first = waiting_pair(client)

        def with_stacks():
            """One that runs and is not stopped in time, on a busy machine, has no stack."""
            answer = client.want(200, "GET", "/debug/pprof/goroutine")
            found = samples(answer.body)
            assert len(found) == 3 and all(values == [1] for _, values, _ in found), found
            return (answer, found) if all(stack for stack, _, _ in found) else None

        answer, found = until(with_stacks, "all three have a stack")
        spinner = next(s for s in found if s[2]["goroutine"] == g)
        assert "scalar" in spinner[0] and spinner[0][-1] == "arch_goroutine_start", spinner
        assert spinner[2]["team"] == "red" and spinner[2]["tier"] == "1" and spinner[2]["entry"] == "scalar", spinner
        waiter = next(s for s in found if s[2]["goroutine"] == first)
        assert "take_both" in waiter[0] and waiter[2]["state"] == "mutex lock", waiter
        keep(daemon, "goroutine", answer)
        top = pprof(daemon, "goroutine", "-top", "-cum")
        assert top is None or re.search(r"\s3\s+100%\s+arch_goroutine_start", top), top
        tags = pprof(daemon, "goroutine", "-tags")
        assert tags is None or re.search(r"team: Total 1\.0\n.*: red", tags), tags
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        counts(path)


def goroutines_are_chosen_and_unknown_parameters_ignored():
    with Daemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        client.spawn("hog", "calls", {"counter": path}, labels={"team": "red"})
        counts(path)
        first = waiting_pair(client)
        for query, count in (("selector=team%3Dred", 1), ("selector=!team", 2), ("module=deadlock", 2),
                             ("entry=cycle&seconds=9&nonsense=1", 2), (f"root={first}", 2), ("module=none", 0)):
            found = samples(client.want(200, "GET", f"/debug/pprof/goroutine?{query}").body)
            assert len(found) == count, (query, found)
        client.want(400, "GET", "/debug/pprof/goroutine?selector=%3D", code="bad-request")
        client.want(400, "GET", "/debug/pprof/goroutine?format=gif", code="bad-request")
        client.want(400, "GET", "/debug/pprof/goroutine?root=x", code="bad-request")


def tracebacks_read_as_gos():
    with hog(entry="calls") as (daemon, client, g, path):
        first = waiting_pair(client)

        def all_stopped():
            """On a busy machine the hog's thread may not get to its signal in the time that a dump waits for it."""
            text = client.want(200, "GET", "/debug/pprof/goroutine?debug=2").text
            return "...it did not stop..." not in text and text
        text = until(all_stopped, "a dump in which all stopped")
        blocks = text.rstrip("\n").split("\n\n")
        assert len(blocks) == 3, text
        for block in blocks:
            head, *lines = block.split("\n")
            assert re.fullmatch(r"goroutine \d+ \[[a-z ]+(, [a-z0-9 ]+)*\]:", head), head
            assert len(lines) % 2 == 0, block
            for function, place in zip(lines[::2], lines[1::2]):
                assert re.fullmatch(r"\S+\(\.\.\.\)", function) and re.fullmatch(r"\t\S+:\d+( \+0x[0-9a-f]+)?", place), block
        assert re.search(rf"goroutine {first} \[mutex lock\]:\n", text), text
        alike = client.want(200, "GET", "/debug/pprof/goroutine?debug=1").text
        assert alike.startswith("goroutine profile: total 3\n1 @ 0x"), alike
        assert "\n#\t0x" in alike and "\ttake_both+0x" in alike, alike


def many_that_are_alike_are_counted_and_streamed():
    with Daemon() as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel", {}, count=3000)
        until(lambda: client.get("/v1/runtime")["goroutines"]["waiting"] == 3000, "all wait")
        alike = client.want(200, "GET", "/debug/pprof/goroutine?debug=1").text
        assert alike.startswith("goroutine profile: total 3000\n3000 @ 0x"), alike[:400]
        text = client.want(200, "GET", "/debug/pprof/goroutine?debug=2").text
        ids = [int(i) for i in re.findall(r"^goroutine (\d+) \[chan receive\]:$", text, re.M)]
        assert ids == sorted(set(ids)) and len(ids) == 3000, len(ids)
        assert len(samples(client.want(200, "GET", "/debug/pprof/goroutine").body)) == 3000
        folded = client.want(200, "GET", "/debug/pprof/goroutine?format=folded").text
        assert re.fullmatch(r"arch_goroutine_start;\S+ 3000\n", folded), folded


def a_flame_graph_is_well_formed_and_as_wide_as_what_it_shows():
    with Daemon() as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel", {}, count=3)
        waiting_pair(client)
        until(lambda: client.get("/v1/runtime")["goroutines"]["waiting"] == 5, "all wait")
        answer = client.want(200, "GET", "/debug/pprof/goroutine?format=svg")
        assert answer.headers["Content-Type"] == "image/svg+xml", answer.headers
        assert "<script" not in answer.text
        boxes = {}
        for group in xml.dom.minidom.parseString(answer.text).getElementsByTagName("g"):
            title = group.getElementsByTagName("title")[0].firstChild.data
            name, count = re.fullmatch(r"(\S+) \((\d+) \w+, [0-9.]+%\)", title).groups()
            boxes.setdefault(name, []).append(
                (int(count), float(group.getElementsByTagName("rect")[0].getAttribute("width"))))
        (whole, width), = boxes["all"]
        assert whole == 5, boxes
        for entries in boxes.values():
            for count, box in entries:
                assert abs(box - width * count / whole) < 0.2, boxes
        assert sum(count for count, _ in boxes["take_both"]) == 2, boxes


def a_cpu_profile_tells_goroutines_and_labels_apart():
    with Daemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        spinner = client.spawn("hog", "scalar", {"counter": path}, labels={"team": "red"})
        caller = client.spawn("hog", "calls", {"counter": path + "2"}, labels={"team": "blue"})
        waiting_pair(client)
        counts(path)

        # Whoever writes to a page that a busy disk has yet to take spends no time for up to a second; it has no samples then.
        def both_spent_time():
            answer = client.want(200, "GET", "/debug/pprof/profile?seconds=2")
            found = samples(answer.body)
            mine = {g: [s for s in found if s[2].get("goroutine") == g] for g in (spinner, caller)}
            return (answer, found, mine) if all(mine.values()) else None

        answer, found, mine = until(both_spent_time, "both have samples")
        assert all("scalar" in s[0] and s[2]["team"] == "red" for s in mine[spinner]), mine
        assert all("calls" in s[0] and s[2]["team"] == "blue" for s in mine[caller]), mine
        # Who waits spends nothing; and each sample counts 10 ms a period.
        assert not any("take_both" in s[0] for s in found), found
        assert all(s[1][1] == s[1][0] * 10_000_000 for s in found), found
        keep(daemon, "profile", answer)
        top = pprof(daemon, "profile", "-top", "-cum")
        assert top is None or re.search(r"^Type: cpu$", top, re.M) and " arch_goroutine_start" in top, top
        for target in ("/debug/pprof/profile?seconds=3600", "/debug/trace?seconds=3600"):  # both are free afterwards, too
            head = client.want(200, "HEAD", target)
            assert not head.body and "Content-Length" not in head.headers and "filename=" in head.headers["Content-Disposition"], head
        folded = until(lambda: client.want(200, "GET", "/debug/pprof/profile?seconds=1&format=folded&selector=team%3Dred").text,
                       "the red one has samples")
        assert all("scalar" in line for line in folded.splitlines()), folded
        counts(path)


def a_trace_shows_who_ran_where_and_why_not():
    with Daemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        spinners = [client.spawn("hog", "calls", {"counter": path + str(i)}) for i in range(3)]
        counts(path + "0")
        asker = daemon.client()
        asker.send("GET", "/debug/trace?seconds=2&records=100000")
        # The trace begins at some moment soon; what happens again and again is in it.
        sieves = []
        for _ in range(20):
            sieves.append(client.spawn("pipeline", "sieve", {"primes": 10}))
            client.wait_dead(sieves[-1])
            client.want(200, "POST", f"/v1/goroutines/{spinners[0]}/suspend")
            client.want(200, "POST", f"/v1/goroutines/{spinners[0]}/resume")
        trace = asker.receive().json
        events = trace["traceEvents"]
        assert trace["otherData"]["overwritten records"] == 0, trace["otherData"]
        by_phase = perfetto.check(trace)
        assert all(by_phase[phase] for phase in "MXisfbe"), {phase: len(e) for phase, e in by_phase.items()}
        runs = [e for e in events if e.get("cat") == "run"]
        assert all(e["pid"] == 1 and e["ph"] == "X" and e["dur"] >= 0 for e in runs), runs[:3]
        for processor in {e["tid"] for e in runs}:
            times = sorted((e["ts"], e["dur"]) for e in runs if e["tid"] == processor)
            assert all(a[0] + a[1] <= b[0] + 0.01 for a, b in zip(times, times[1:])), processor
        assert {e["args"]["goroutine"] for e in runs} & set(sieves), "no sieve's first goroutine ran"
        endings = {e["args"]["ended by"] for e in runs}
        assert "chan receive" in endings and "end" in endings, endings
        assert any(ending.startswith("slice over") for ending in endings), endings
        starts = {e["id"] for e in events if e["ph"] == "s"}
        ends = {e["id"] for e in events if e["ph"] == "f"}
        assert ends and ends <= starts, "an arrow ends that did not begin"
        holds = [e["ph"] for e in events if e.get("cat") == "hold" and e["tid"] == spinners[0]]
        assert "b" in holds and all(a != b for a, b in zip(holds, holds[1:])), holds
        assert any(e["name"] == "held" and e["tid"] == spinners[0] for e in events if e.get("cat") == "state")
        # So it is of one whose rings were too small, and of one that began and ended in holds.
        client.want(200, "POST", f"/v1/goroutines/{spinners[1]}/suspend", {"lease_ms": 60000})
        asker.send("GET", "/debug/trace?seconds=1&records=64")
        client.want(200, "POST", f"/v1/goroutines/{spinners[0]}/suspend", {"lease_ms": 60000})
        client.want(200, "POST", f"/v1/goroutines/{spinners[1]}/resume")
        client.wait_dead(client.spawn("pipeline", "sieve", {"primes": 50}))
        perfetto.check(asker.receive().json)
        client.want(400, "GET", "/debug/trace?records=63", code="bad-request")
        client.want(400, "GET", "/debug/trace?seconds=3601", code="bad-request")


def the_index_names_what_there_is():
    with Daemon() as daemon:
        text = daemon.client().want(200, "GET", "/debug/pprof/").text
        assert "goroutine?debug=2" in text and "profile?seconds=" in text, text


main([a_goroutine_profile_has_a_sample_each_with_labels, goroutines_are_chosen_and_unknown_parameters_ignored,
      tracebacks_read_as_gos, many_that_are_alike_are_counted_and_streamed,
      a_cpu_profile_tells_goroutines_and_labels_apart, a_trace_shows_who_ran_where_and_why_not,
      a_flame_graph_is_well_formed_and_as_wide_as_what_it_shows, the_index_names_what_there_is])
