#!/usr/bin/env python3
"""e2e_limits.py: what a connection may take and how long, each limit at its edge (docs/security.md, "Limits").

The times are made short by flags, since only their order matters here: who is answered 408, who is closed, who is kept.
"""
import os
import socket
import time

from harness import Daemon, HANG_SECONDS, main, until

UNIX_RESERVED, CONNECTIONS = 16, 256
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(daemon, tcp=False):
    if tcp:
        host, port = daemon.places["listen"].rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), timeout=HANG_SECONDS)
    else:
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(daemon.socket)  # waits for a place in the queue
        raw.settimeout(HANG_SECONDS)
    return raw


def head(raw):
    """Status and headers of the next answer, its body read too; None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = raw.recv(1)
        except ConnectionResetError:
            more = b""
        if not more:
            return None
        data += more
    lines = data.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if line)}
    left = int(headers.get("content-length", 0))
    while left:
        left -= len(raw.recv(left))
    return int(lines[0].split()[1]), headers


def works(raw):
    raw.sendall(GET)
    answer = head(raw)
    return answer is not None and answer[0] == 200


def is_closed(raw):
    try:
        return raw.recv(1) == b""
    except ConnectionResetError:
        return True


def headers_that_do_not_end_are_answered_408():
    with Daemon("--head-seconds", "1") as daemon:
        for slow in (b"G", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"):
            raw = connect(daemon)
            raw.sendall(slow)
            status, headers = head(raw)
            assert status == 408 and headers["connection"] == "close" and is_closed(raw), (slow, status, headers)
        # Byte after byte is no excuse: the clock runs from the first one.
        raw, end = connect(daemon), time.monotonic() + HANG_SECONDS
        raw.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() < end:
            try:
                raw.sendall(b"X")
                answer = raw.recv(100)
            except TimeoutError:
                pass
        assert b" 408 " in answer or b" 414 " in answer, answer


def a_body_that_does_not_come_is_answered_408():
    with Daemon("--request-seconds", "1", "--head-seconds", "60") as daemon:
        raw = connect(daemon)
        raw.sendall(b"POST /v1/goroutines HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        assert head(raw)[0] == 408 and is_closed(raw)
        chunked = connect(daemon)
        chunked.sendall(b"POST /v1/goroutines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")
        assert head(chunked)[0] == 408 and is_closed(chunked)


def a_request_that_waits_is_not_slow():
    """Only the client's time counts: an answer that takes long does not end the connection."""
    with Daemon("--request-seconds", "1", "--idle-seconds", "1", "--head-seconds", "1") as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        assert client.get(f"/v1/goroutines/{g}?wait_ms=4000")["state"] == "waiting"


def idle_connections_end_as_announced():
    with Daemon("--idle-seconds", "1") as daemon:
        raw, other = connect(daemon), connect(daemon)
        raw.sendall(GET)
        status, headers = head(raw)
        assert status == 200 and headers["keep-alive"] == "timeout=1", headers
        assert is_closed(raw) and is_closed(other)
    with Daemon() as daemon:
        raw = connect(daemon)
        raw.sendall(GET)
        assert head(raw)[1]["keep-alive"] == "timeout=60"


def who_reads_nothing_is_dropped():
    with Daemon("--stall-seconds", "1") as daemon:
        client, raw = daemon.client(), connect(daemon)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(1)
        sent = 0
        try:
            while sent < 256 * 1024 * 1024:
                sent += raw.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 256 * 1024 * 1024  # it stopped taking requests whose answers nobody takes
        client.want(200, "GET", "/healthz")

        def ended():
            try:
                raw.send(b"G")
                return False
            except TimeoutError:
                return False
            except OSError:
                return True
        until(ended, "the connection is closed")
        client.want(200, "GET", "/healthz")


def the_longest_idle_makes_room_for_the_next():
    with Daemon() as daemon:
        all_of_them = [connect(daemon) for _ in range(CONNECTIONS)]
        assert all(works(raw) for raw in all_of_them)
        newcomer = connect(daemon)
        assert works(newcomer)
        assert is_closed(all_of_them[0]) and works(all_of_them[1]), "the first was idle for longest"


def requests_that_do_not_end_keep_nobody_out():
    with Daemon("--listen", "127.0.0.1:0", "--no-auth", "--head-seconds", "600", "--request-seconds", "600") as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        waits = occupy(daemon, g, tcp=True)
        slow = []
        for number in range(CONNECTIONS - UNIX_RESERVED):
            raw = connect(daemon, tcp=True)
            slow.append(raw)
            raw.sendall(GET + (b"GET /", b"POST /v1/goroutines HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")[number % 2])
            assert head(raw)[0] == 200  # and with it came the beginning of the next
        # The first made room for the last of them; the next is the second's.
        assert is_closed(slow[0]) and works(connect(daemon, tcp=True)) and is_closed(slow[1])
        client.want(202, "DELETE", f"/v1/goroutines/{g}")
        assert head(waits)[0] == 200, "who waits for an answer has kept its place"


def busy_connections_are_not_given_up():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        busy = []
        for _ in range(CONNECTIONS - 1):  # and the client's own, which is idle
            busy.append(occupy(daemon, g))
        # The client's own is the only idle one, and goes.
        until(lambda: works_or_none(daemon), "the newcomer is served")
        assert is_closed(client.connection.sock)
        busy.append(occupy(daemon, g))
        assert is_closed(connect(daemon)), "nobody is idle, so there is no place"
        busy.pop().close()
        until(lambda: works_or_none(daemon), "there is a place again")
        daemon.client().want(202, "DELETE", f"/v1/goroutines/{g}")
        assert all(head(raw)[0] == 200 for raw in busy)


def occupy(daemon, g, tcp=False):
    """A connection that waits for a goroutine: what came behind an answered request has been taken in with it."""
    raw = connect(daemon, tcp)
    raw.sendall(GET + f"GET /v1/goroutines/{g}?wait_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert head(raw)[0] == 200
    return raw


def works_or_none(daemon):
    raw = connect(daemon)
    try:
        raw.sendall(GET)
        return head(raw) is not None
    except OSError:
        return False
    finally:
        raw.close()


def tcp_cannot_take_the_places_of_the_unix_socket():
    with Daemon("--listen", "127.0.0.1:0", "--no-auth") as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        client.close()
        busy = [occupy(daemon, g, tcp=True) for _ in range(CONNECTIONS - UNIX_RESERVED)]
        assert is_closed(connect(daemon, tcp=True))
        kept = [connect(daemon) for _ in range(UNIX_RESERVED)]
        assert all(works(raw) for raw in kept)
        kept[0].sendall(f"DELETE /v1/goroutines/{g} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert head(kept[0])[0] == 202
        assert all(head(raw)[0] == 200 for raw in busy)


def descriptors_run_out_and_the_daemon_says_so_and_recovers():
    """No spin, recovers, says so."""
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, hard))  # inherited by the daemon
    try:
        daemon = Daemon()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with daemon:
        first = connect(daemon)
        assert works(first)
        many = [connect(daemon) for _ in range(120)]
        until(lambda: "event=descriptors-exhausted" in daemon.log(), "it says that descriptors ran out")
        assert works(first)  # who is in is served

        def cpu_ticks():
            with open(f"/proc/{daemon.process.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before = cpu_ticks()
        time.sleep(1)  # to look at what it burns while nothing can be done
        used = (cpu_ticks() - before) / os.sysconf("SC_CLK_TCK")
        assert used < 0.5, f"{used} s of processor time in 1 s"
        assert daemon.log().count("event=") < 100, "it says so again and again"
        for raw in many:
            raw.close()
        until(lambda: works_or_none(daemon), "newcomers are served again")
        until(lambda: "event=descriptors-free" in daemon.log(), "it says that there are some again")
        assert works(first)


main([
    headers_that_do_not_end_are_answered_408,
    a_body_that_does_not_come_is_answered_408,
    a_request_that_waits_is_not_slow,
    idle_connections_end_as_announced,
    who_reads_nothing_is_dropped,
    the_longest_idle_makes_room_for_the_next,
    requests_that_do_not_end_keep_nobody_out,
    busy_connections_are_not_given_up,
    tcp_cannot_take_the_places_of_the_unix_socket,
    descriptors_run_out_and_the_daemon_says_so_and_recovers,
])
