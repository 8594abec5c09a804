#!/usr/bin/env python3
"""e2e_gdb.py: Debian's gdb on goroutines that stand still, while the others run."""
import os
import re
import shutil
import socket
import tempfile
import threading

from gdb_client import Gdb, graspd, sorter_in, sorter_is_right
from harness import Daemon, HANG_SECONDS, counts, main, standing_still, until

def spawn_hog(daemon, client, entry, name):
    path = daemon.path(name)
    goroutine = client.spawn("hog", entry, {"counter": path}, labels={"kind": name})
    counts(path)
    return goroutine, path


def holds(client, goroutine):
    return client.get(f"/v1/goroutines/{goroutine}")["holds"]


def frames_are_right(gdb, goroutine, function):
    """The thread's backtrace goes from the loop to the goroutine's start, with lines."""
    number = re.search(rf"^[* ] *(\d+) +Thread {goroutine} ", gdb.ask("info threads"), re.M)
    assert number, gdb.ask("info threads")
    trace = gdb.ask(f"thread apply {number[1]} bt")
    assert re.search(rf"^#\d+ .*{function} \(.*at .*hog.*:\d+$", trace, re.M), trace
    assert re.search(r"^#\d+ .* in goroutine_main \(.*goroutine\.c:\d+$", trace, re.M), trace
    assert trace.rstrip().splitlines()[-1].find("arch_goroutine_start") > 0, trace
    assert "??" not in trace and "corrupt" not in trace, trace


def names_lines_and_variables_while_another_runs():
    with Daemon("--gdb-unix", "g") as daemon:
        socket_of_gdb = daemon.path("g")
        assert daemon.places["gdb"] == socket_of_gdb and os.stat(socket_of_gdb).st_mode & 0o777 == 0o600
        client = daemon.client()
        assert client.get("/v1/runtime")["gdb"] == {"unix": socket_of_gdb, "sessions": 0}
        scalar, scalar_path = spawn_hog(daemon, client, "scalar", "one")
        simd, simd_path = spawn_hog(daemon, client, "simd", "two")
        _, other_path = spawn_hog(daemon, client, "calls", "three")
        blocked = client.spawn("deadlock", "channel")
        for g in (scalar, simd, blocked):
            client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000})
        with Gdb(graspd()) as gdb:
            said = gdb.ask(f"target remote {socket_of_gdb}")
            assert re.search(r"hog/\w+\.[ch]:\d+", said), said
            threads = gdb.ask("info threads")
            assert re.search(rf'Thread {scalar} "scalar" \(goroutine {scalar} hog/scalar, preempted\)', threads), threads
            assert f'Thread {blocked} "channel" (goroutine {blocked} deadlock/channel, waiting: chan receive)' in threads, threads
            frames_are_right(gdb, scalar, "scalar")
            frames_are_right(gdb, simd, "simd")
            assert re.search(r"^rip +0x[0-9a-f]+ +0x[0-9a-f]+ <", gdb.ask("info registers rip"), re.M) or \
                re.search(r"^pc +0x", gdb.ask("info registers pc"), re.M)
            # Its own holds: it stands still also when the suspension ends.
            assert client.get("/v1/runtime")["gdb"]["sessions"] == 1
            client.want(200, "POST", f"/v1/goroutines/{scalar}/resume", {"all": True})
            standing_still(scalar_path)
            counts(other_path)
            # Nothing can be written or run, and it says so.
            assert "can't be continued or stepped" in gdb.ask("stepi")
            assert "can't be continued or stepped" in gdb.ask("continue")
            assert re.search("Cannot access memory|held goroutines", gdb.ask("set var *(char *)$sp = 1"))
            assert "held goroutines are for looking at" in gdb.ask("set var $sp = 1")
            assert str(scalar) in gdb.ask("monitor goroutines")
            counts(other_path)
            standing_still(scalar_path)
            said = gdb.ask("detach")
            assert "detached" in said, said
            counts(scalar_path)
            assert holds(client, scalar) == 0
            # What others hold stays.
            assert holds(client, simd) == 1
            standing_still(simd_path)
            gdb.quit()
        until(lambda: client.get("/v1/runtime")["gdb"]["sessions"] == 0, "the session is over")


def frames_go_on_below_foreign_code():
    with tempfile.TemporaryDirectory(prefix="grasp-e2e-") as folder, \
            Daemon("--gdb-unix", "g", modules=sorter_in(folder)) as daemon:
        client = daemon.client()
        g = client.spawn("sorter", "sort")
        until(lambda: client.state(g) == "waiting", "it waits in qsort")
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend", {"lease_ms": 3600000})
        with Gdb(graspd()) as gdb:
            gdb.ask(f"target remote {daemon.path('g')}")
            sorter_is_right(gdb.ask("bt"))
            gdb.quit()
        client.want(202, "DELETE", f"/v1/goroutines/{g}")


def without_anything_suspended_gdb_is_told_so():
    with Daemon("--gdb-unix", "g") as daemon, Gdb(graspd()) as gdb:
        said = gdb.ask(f"target remote {daemon.path('g')}")
        assert "no goroutine is suspended" in said, said
        assert daemon.client().get("/v1/runtime")["gdb"]["sessions"] <= 1


class Relay:
    """What `grasp gdb` does: shakes hands with the daemon by HTTP and hands the connection to gdb."""

    def __init__(self, daemon, connect, target, token):
        self.upstream = connect()
        self.upstream.settimeout(HANG_SECONDS)
        request = (f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                   f"Upgrade: gdb-remote\r\n")
        if token:
            request += f"Authorization: Bearer {token}\r\n"
        self.upstream.sendall((request + "\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.upstream.recv(1)  # not a byte of what follows
            assert piece, head
            head += piece
        self.head = head.decode()
        self.path = daemon.path("relay")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(1)
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(self):
        peer, _ = self.listener.accept()
        self.upstream.settimeout(None)
        back = threading.Thread(target=self.copy, args=(self.upstream, peer), daemon=True)
        back.start()
        self.copy(peer, self.upstream)
        back.join()
        peer.close()
        self.upstream.close()


def tcp_with_a_token_by_an_upgrade():
    token = "ab" * 32
    with TokenDaemon(token) as daemon:
        client = daemon.client()
        g, path = spawn_hog(daemon, client, "scalar", "one")
        _, other_path = spawn_hog(daemon, client, "scalar", "two")
        host, port = daemon.places["listen"].rsplit(":", 1)

        def connect():
            return socket.create_connection((host, int(port)))

        refused = Relay(daemon, connect, f"/v1/gdb?ids={g}", None)
        assert refused.head.startswith("HTTP/1.1 401 "), refused.head
        os.unlink(refused.path)
        relay = Relay(daemon, connect, f"/v1/gdb?ids={g}", token)
        assert relay.head.startswith("HTTP/1.1 101 ") and "\r\nUpgrade: gdb-remote\r\n" in relay.head, relay.head
        standing_still(path)
        with Gdb(graspd()) as gdb:
            gdb.ask(f"target remote {relay.path}")
            frames_are_right(gdb, g, "scalar")
            standing_still(path)
            counts(other_path)
            gdb.quit()
        counts(path)
        assert holds(client, g) == 0


class TokenDaemon(Daemon):
    """One that listens on TCP with a token that is known."""

    def __init__(self, token):
        self.token_dir = tempfile.mkdtemp(prefix="grasp-e2e-token-")
        path = os.path.join(self.token_dir, "token")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(token + "\n")
        super().__init__("--listen", "127.0.0.1:0", "--token-file", path)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        shutil.rmtree(self.token_dir)


def raw_upgrade(daemon, target):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(HANG_SECONDS)
    peer.connect(daemon.socket)
    peer.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: gdb-remote\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = peer.recv(1)
        assert piece, head
        head += piece
    return peer, head.decode()


def a_connection_that_drops_lets_everything_go():
    with Daemon() as daemon:
        client = daemon.client()
        g, path = spawn_hog(daemon, client, "scalar", "one")
        peer, head = raw_upgrade(daemon, "/v1/gdb?selector=kind%3Done")
        assert head.startswith("HTTP/1.1 101 "), head
        assert holds(client, g) == 1
        standing_still(path)
        peer.sendall(b"$g#67")  # and does not wait for the answer
        peer.close()
        counts(path)
        until(lambda: holds(client, g) == 0, "the hold is gone")
        # In the middle of a packet, and by ending one side alone.
        peer, head = raw_upgrade(daemon, f"/v1/gdb?ids={g}")
        peer.sendall(b"$qXfer:feat")
        peer.shutdown(socket.SHUT_WR)
        counts(path)
        assert peer.recv(1) == b""
        peer.close()


def a_session_behind_the_clients_end_lets_everything_go():
    with Daemon() as daemon:
        client = daemon.client()
        g, path = spawn_hog(daemon, client, "scalar", "one")
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(HANG_SECONDS)
        peer.connect(daemon.socket)
        # The second answer is ready when the end comes, and waits for the first, which the end brings.
        peer.sendall(f"GET /v1/goroutines/{g}?wait_ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n"
                     f"GET /v1/gdb?ids={g} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                     "Upgrade: gdb-remote\r\n\r\n".encode())
        # Not only asked for: a request that is under way ends with its client.
        until(lambda: client.get(f"/v1/goroutines/{g}")["suspended"], "the session's hold")
        peer.shutdown(socket.SHUT_WR)
        counts(path)
        until(lambda: holds(client, g) == 0, "the hold is gone")
        answers = b""
        while piece := peer.recv(4096):
            answers += piece
        assert b"HTTP/1.1 101 " in answers, answers
        peer.close()


def going_down_ends_a_session():
    with Daemon("--drain-seconds", "5") as daemon:
        client = daemon.client()
        g, path = spawn_hog(daemon, client, "scalar", "one")
        peer, _ = raw_upgrade(daemon, f"/v1/gdb?ids={g}")
        assert daemon.stop() == 0
        assert peer.recv(1) == b""
        peer.close()


def problems_come_as_http():
    with Daemon() as daemon:
        client = daemon.client()
        client.want(426, "GET", "/v1/gdb", code="upgrade-required")
        peer, head = raw_upgrade(daemon, "/v1/gdb?ids=77")
        assert head.startswith("HTTP/1.1 404 "), head
        peer.close()
        peer, head = raw_upgrade(daemon, "/v1/gdb")
        assert head.startswith("HTTP/1.1 404 "), head
        peer.close()


main([
    names_lines_and_variables_while_another_runs,
    frames_go_on_below_foreign_code,
    without_anything_suspended_gdb_is_told_so,
    tcp_with_a_token_by_an_upgrade,
    a_connection_that_drops_lets_everything_go,
    a_session_behind_the_clients_end_lets_everything_go,
    going_down_ends_a_session,
    problems_come_as_http,
])
