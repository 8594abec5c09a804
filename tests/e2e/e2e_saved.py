#!/usr/bin/env python3
"""e2e_saved.py: saved snapshots: consistent cuts in files, whole or not at all."""
import http.client
import os
import resource
import socket
import stat
import subprocess
import threading

from harness import HANG_SECONDS, Daemon, counts, gdb_program, main, until

CROWD = 10000


def state_of(daemon):
    path = daemon.path("state")
    return sorted(name for name in os.listdir(path) if "snapshot" in name or "writing" in name)


def daemon_with_state(*flags):
    return Daemon("--state", "state", *flags)


def a_cut_is_saved_shown_in_every_form_and_deleted():
    with daemon_with_state() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        hog = client.spawn("hog", "scalar", {"counter": path}, labels={"app": "web"})
        other = client.spawn("deadlock", "channel")
        counts(path)
        saved = client.want(201, "POST", "/v1/snapshots", {"all": True}).json
        assert saved["count"] == 2 and saved["failed"] == [], saved
        counts(path)  # it runs on
        assert client.get(f"/v1/goroutines/{hog}")["holds"] == 0
        name, = state_of(daemon)
        mode = os.stat(os.path.join(daemon.path("state"), name)).st_mode
        assert stat.S_IMODE(mode) == 0o600, oct(mode)

        shown = client.get(f"/v1/snapshots/{saved['id']}")
        members = {member["goroutine"]: member for member in shown["goroutines"]}
        assert set(members) == {hog, other}, members
        assert members[hog]["labels"] == {"app": "web"} and members[hog]["registers"], members[hog]
        assert any(f["file"] and f["file"].endswith("hog.c") and f["line"] for f in members[hog]["frames"])
        text = client.want(200, "GET", f"/v1/snapshots/{saved['id']}?format=text").text
        assert f"goroutine {hog} " in text and "hog.c:" in text, text
        folded = client.want(200, "GET", f"/v1/snapshots/{saved['id']}?format=folded").text
        assert sum(int(line.rsplit(" ", 1)[1]) for line in folded.splitlines()) == 2, folded
        assert [item["id"] for item in client.get("/v1/snapshots")["items"]] == [saved["id"]]

        client.want(204, "DELETE", f"/v1/snapshots/{saved['id']}")
        assert state_of(daemon) == []
        client.want(404, "GET", f"/v1/snapshots/{saved['id']}", code="not-found")


def its_core_opens_in_gdb():
    gdb = gdb_program()
    assert gdb, "no gdb"
    with daemon_with_state() as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        until(lambda: client.state(g) == "waiting", "it waits")
        saved = client.want(201, "POST", "/v1/snapshots", {"ids": [g]}).json
        core = daemon.path("core")
        with open(core, "wb") as file:
            file.write(client.want(200, "GET", f"/v1/snapshots/{saved['id']}?format=core").body)
        run = subprocess.run([gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "bt",
                              os.path.join(Daemon.programs, "graspd"), core], capture_output=True, text=True,
                             timeout=240, check=False, env={"PATH": "/usr/bin:/bin", "HOME": daemon.dir})
        assert "channel_main" in run.stdout, run.stdout + run.stderr


def a_full_disk_is_507_and_leaves_no_file_and_no_hold():
    """A limit on the size of files stands for the disk: write fails as it would there."""
    with daemon_with_state() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        hog = client.spawn("hog", "scalar", {"counter": path})
        counts(path)
        before = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        client.want(507, "POST", "/v1/snapshots", {"all": True}, code="disk-full")
        assert state_of(daemon) == [] and client.get("/v1/snapshots")["items"] == []
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, before)
        assert client.get(f"/v1/goroutines/{hog}")["holds"] == 0
        counts(path)
        client.want(201, "POST", "/v1/snapshots", {"all": True})


def without_a_state_directory_it_says_what_to_do():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        answer = client.want(503, "POST", "/v1/snapshots", {"ids": [g]}, code="out-of-resources")
        assert "--state" in answer.json["detail"], answer


def a_file_that_lost_its_end_is_seen_to_be_cut():
    """Its length is not told beforehand: only the missing last chunk, or a reset, says that there was more."""
    with daemon_with_state("--listen", "127.0.0.1:0", "--no-auth") as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel")
        saved = client.want(201, "POST", "/v1/snapshots", {"all": True}).json
        name, = state_of(daemon)
        os.truncate(os.path.join(daemon.path("state"), name), saved["bytes"] - 1)
        target = f"/v1/snapshots/{saved['id']}?format=core"
        try:
            answer = daemon.client().ask("GET", target)
            raise AssertionError(f"{len(answer.body)} bytes looked whole")
        except http.client.IncompleteRead:
            pass
        # HTTP/1.0 has no chunks.
        host, port = daemon.places["listen"].rsplit(":", 1)
        with socket.create_connection((host, int(port)), HANG_SECONDS) as old:
            old.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            try:
                while piece := old.recv(65536):
                    got += piece
                raise AssertionError(f"{got[:1000]} looked whole")
            except ConnectionResetError:
                assert got.startswith(b"HTTP/1.1 200 "), got[:1000]


def ten_thousand_are_one_cut_and_others_are_answered_meanwhile():
    with daemon_with_state() as daemon:
        client, other = daemon.client(), daemon.client()
        client.spawn("deadlock", "channel", count=CROWD)
        until(lambda: client.get("/v1/runtime")["goroutines"]["waiting"] == CROWD, "all wait")
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.ask("POST", "/v1/snapshots", {"all": True})))
        asking.start()
        asked = 0
        while asking.is_alive():
            other.want(200, "GET", "/healthz")
            asked += 1
        asking.join()
        assert answers[0].status == 201 and answers[0].json["count"] == CROWD, answers
        assert asked > 0
        saved = answers[0].json["id"]
        assert len(other.get(f"/v1/snapshots/{saved}")["goroutines"]) == CROWD
        print(f"      {asked} answers to others while it was taken")


def a_sigterm_in_the_middle_of_a_save_leaves_no_half_of_it():
    """Ten thousand take many slices: the signal comes as soon as the file is seen, under whatever name."""
    with daemon_with_state() as daemon:
        client = daemon.client()
        client.spawn("deadlock", "channel", count=CROWD)
        until(lambda: client.get("/v1/runtime")["goroutines"]["waiting"] == CROWD, "all wait")
        client.send("POST", "/v1/snapshots", {"all": True})
        until(lambda: state_of(daemon), "the file is there")
        daemon.process.terminate()
        try:
            answer = client.receive()
        except http.client.RemoteDisconnected:
            answer = None  # a disk so slow that the last of it took until the end
        assert daemon.process.wait(60) == 0
        left = state_of(daemon)
        assert all("snapshot" in name for name in left) and len(left) < 2, left
        if answer:
            assert answer.status == 201 and left or answer.json["code"] == "draining" and not left, (answer, left)


if __name__ == "__main__":
    main([a_cut_is_saved_shown_in_every_form_and_deleted,
          its_core_opens_in_gdb,
          a_full_disk_is_507_and_leaves_no_file_and_no_hold,
          without_a_state_directory_it_says_what_to_do,
          a_file_that_lost_its_end_is_seen_to_be_cut,
          ten_thousand_are_one_cut_and_others_are_answered_meanwhile,
          a_sigterm_in_the_middle_of_a_save_leaves_no_half_of_it])
