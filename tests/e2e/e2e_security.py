#!/usr/bin/env python3
"""e2e_security.py: who may do what, from where, and what is written down about it (docs/security.md)."""
import base64
import grp
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from harness import Daemon, HANG_SECONDS, main, not_under, until

SPAWN = ("POST", "/v1/goroutines", {"module": "hog", "entry": "scalar"})
MUTATIONS = (SPAWN, ("PATCH", "/v1/runtime", {}), ("DELETE", "/v1/goroutines/1", None), ("POST", "/v1/modules", {"name": "hog"}),
             ("DELETE", "/v1/modules/hog", None), ("DELETE", "/v1/suspensions/1", None))
NOBODY = pwd.getpwnam("nobody")


def new_token():
    return os.urandom(32).hex()


def write_secret(path, text, mode=0o600):
    with open(path, "w", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write(text)
    os.chmod(path, mode)


class Tcp:
    """A daemon on TCP with a token file of the caller's."""

    def __init__(self, *lines, flags=()):
        self.directory = tempfile.mkdtemp(prefix="grasp-tokens-")
        self.tokens = os.path.join(self.directory, "tokens")
        write_secret(self.tokens, "".join(line + "\n" for line in lines))
        self.daemon = Daemon("--listen", "127.0.0.1:0", "--token-file", self.tokens, "--state", "state", *flags)

    def __enter__(self):
        self.daemon.__enter__()
        return self

    def __exit__(self, *failure):
        self.daemon.__exit__(*failure)
        shutil.rmtree(self.directory)

    def bearer(self, token, **headers):
        return self.daemon.tcp({"Authorization": f"Bearer {token}", **headers})

    def basic(self, token):
        return self.daemon.tcp({"Authorization": "Basic " + base64.b64encode(f"any:{token}".encode()).decode()})


def as_nobody(path, groups=()):
    """The status that another user gets on the Unix socket."""
    code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "s.sendall(b'GET /v1/runtime HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(12).decode())")
    done = subprocess.run([sys.executable if os.access(sys.executable, os.X_OK) and sys.executable.startswith("/usr") else
                           "/usr/bin/python3", "-c", code, path], user=NOBODY.pw_uid, group=NOBODY.pw_gid,
                          extra_groups=list(groups), capture_output=True, text=True, timeout=HANG_SECONDS)
    return done.stdout.split()[1] if done.stdout else done.stderr.strip().rsplit("\n", 1)[-1]


def the_socket_opens_to_a_group_and_to_nobody_else():
    if os.geteuid() != 0:
        return
    group = grp.getgrnam("daemon")
    with Daemon("--unix-group", "daemon", "--unix-mode", "0660") as daemon:
        status = os.stat(daemon.socket)
        assert status.st_mode & 0o777 == 0o660 and status.st_gid == group.gr_gid, status
        os.chmod(daemon.dir, 0o755)
        assert "Permission" in as_nobody(daemon.socket), as_nobody(daemon.socket)
        assert as_nobody(daemon.socket, [group.gr_gid]) == "200"
        # Opened wider behind the daemon's back: it looks at who is there.
        os.chmod(daemon.socket, 0o666)
        assert as_nobody(daemon.socket) == "403"


def each_scope_allows_its_calls_and_no_others():
    tokens = {scope: new_token() for scope in ("read", "control", "load")}
    with Tcp(*(f"{scope}er {scope} {token}" for scope, token in tokens.items())) as tcp:
        calls = {"read": ("GET", "/v1/runtime", None), "control": ("PATCH", "/v1/runtime", {}),
                 "load": ("POST", "/v1/modules", {"name": "hog"})}
        for mine, token in tokens.items():
            client = tcp.bearer(token)
            for needed, (method, target, body) in calls.items():
                client.want(200 if mine == needed else 403, method, target, body, None if mine == needed else "forbidden")


def a_password_reads_and_changes_nothing():
    token = new_token()
    with Tcp(token) as tcp:
        tcp.basic(token).want(200, "GET", "/v1/runtime")
        assert tcp.basic(token).ask("HEAD", "/v1/runtime").status == 200
        tcp.basic(new_token()).want(401, "GET", "/v1/runtime", code="unauthorized")
        for method, target, body in MUTATIONS:
            answer = tcp.basic(token).want(401, method, target, body, "unauthorized")
            assert "Bearer" in answer.headers["WWW-Authenticate"], answer.headers


def wrong_credentials_are_no_credentials():
    token = new_token()
    with Tcp(token) as tcp:
        for value in (f"Bearer {token}0", f"Bearer {token[:-1]}", "Bearer", "Bearer ", f"bearer{token}", f"Token {token}", token,
                      "Basic", "Basic !!!!", "Basic " + "A" * 4000, "Basic " + base64.b64encode(token.encode()).decode(),
                      f"Bearer {token} {token}"):
            tcp.daemon.tcp({"Authorization": value}).want(401, "GET", "/v1/runtime", code="unauthorized")
        tcp.daemon.tcp({"Authorization": f"bearer {token.upper()}"}).want(200, "GET", "/v1/runtime")


def an_unknown_host_is_refused_before_all_else():
    token = new_token()
    with Tcp(token, flags=("--allow-host", "grasp.example")) as tcp:
        port = tcp.daemon.places["listen"].rsplit(":", 1)[1]
        for host in ("localhost", f"localhost:{port}", "LOCALHOST:1", "127.0.0.1", f"[::1]:{port}", "grasp.example", "grasp.example:80"):
            tcp.bearer(token, Host=host).want(200, "GET", "/v1/runtime")
        for host in ("evil.example", "localhost.evil.example", "127.0.0.2", "127.0.0.1.", "[::2]", "localhost:port", "localhost:70000",
                     "[::1", "grasp.example.", "xlocalhost", ""):
            for client in (tcp.bearer(token, Host=host), tcp.daemon.tcp({"Host": host})):
                client.want(421, "GET", "/v1/runtime", code="unknown-host")
                client.want(421, "GET", "/nothing", code="unknown-host")
                for method, target, body in MUTATIONS:
                    client.want(421, method, target, body, "unknown-host")
            assert tcp.daemon.tcp({"Host": host}).ask("GET", "/healthz").status == 200
        # On the Unix socket nobody can rebind a name.
        client = tcp.daemon.client()
        client.headers = {"Host": "evil.example"}
        client.want(200, "GET", "/v1/runtime")


def a_page_of_another_origin_changes_nothing():
    token = new_token()
    with Tcp(token) as tcp:
        port = tcp.daemon.places["listen"].rsplit(":", 1)[1]
        host = f"localhost:{port}"
        foreign = ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{int(port) - 1}"},
                   {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "cross-site"},
                   {"Origin": f"http://{host}", "Sec-Fetch-Site": "cross-site"})
        for headers in foreign:
            for method, target, body in MUTATIONS:
                tcp.bearer(token, Host=host, **headers).want(403, method, target, body, "foreign-origin")
            tcp.bearer(token, Host=host, **headers).want(200, "GET", "/v1/runtime")
        own = tcp.bearer(token, Host=host, Origin=f"http://{host}", **{"Sec-Fetch-Site": "same-origin"})
        own.want(201, *SPAWN)
        assert tcp.daemon.client().get("/v1/runtime")["spawned"] == 1
        assert "Access-Control-Allow-Origin" not in own.ask("GET", "/v1/runtime").headers
        assert "Set-Cookie" not in own.ask("GET", "/v1/runtime").headers


def token_files_that_others_can_read_are_refused():
    with tempfile.TemporaryDirectory() as directory:
        path, socket = os.path.join(directory, "tokens"), os.path.join(directory, "s")
        for text, mode, mark in ((new_token(), 0o640, "chmod 600"), (new_token(), 0o604, "chmod 600"), ("", 0o600, "no token"),
                                 ("abc", 0o600, "line 1"), (f"a fly {new_token()}", 0o600, "scopes"),
                                 (f"# note\nb\u00e4d read {new_token()}", 0o600, "line 2")):
            write_secret(path, text + "\n", mode)
            done = subprocess.run([os.path.join(Daemon.bin, "graspd"), "--unix", socket, "--listen", "127.0.0.1:0",
                                   "--token-file", path], capture_output=True, text=True, timeout=HANG_SECONDS)
            assert done.returncode == 1 and mark in done.stderr and not done.stdout, (text, oct(mode), done)
        if os.geteuid() == 0:
            write_secret(path, new_token() + "\n")
            os.chown(path, NOBODY.pw_uid, -1)
            done = subprocess.run([os.path.join(Daemon.bin, "graspd"), "--unix", socket, "--listen", "127.0.0.1:0",
                                   "--token-file", path], capture_output=True, text=True, timeout=HANG_SECONDS)
            assert done.returncode == 1 and done.stderr, done


def tokens_are_read_again_at_a_hangup():
    old, new = new_token(), new_token()
    with Tcp(old) as tcp:
        tcp.bearer(old).want(200, "GET", "/v1/runtime")
        write_secret(tcp.tokens, f"second read {new}\n")
        tcp.bearer(new).want(401, "GET", "/v1/runtime")
        tcp.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "event=tokens-reloaded" in tcp.daemon.log(), "the tokens are read again")
        tcp.bearer(new).want(200, "GET", "/v1/runtime")
        tcp.bearer(new).want(403, *SPAWN, "forbidden")
        tcp.bearer(old).want(401, "GET", "/v1/runtime")
        # A file that is wrong changes nothing.
        write_secret(tcp.tokens, "nonsense\n")
        tcp.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "event=tokens-not-reloaded" in tcp.daemon.log(), "the file is refused")
        tcp.bearer(new).want(200, "GET", "/v1/runtime")
        # Nor does one that is not there, and none is made.
        os.unlink(tcp.tokens)
        tcp.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: tcp.daemon.log().count("event=tokens-not-reloaded") == 2, "there is no file")
        tcp.bearer(new).want(200, "GET", "/v1/runtime")
        assert not os.path.exists(tcp.tokens)


def what_was_asked_with_a_token_ends_with_it():
    """A stream, a wait and a gdb session of a token that is taken away; another's go on."""
    gone, kept = new_token(), new_token()
    with Tcp(f"gone read,control,load {gone}\nkept read,control,load {kept}") as tcp:
        unix = tcp.daemon.client()
        g = unix.want(201, *SPAWN).json["ids"][0]
        host, port = tcp.daemon.places["listen"].rsplit(":", 1)

        def ask(token, target, upgrade=""):
            raw = socket.create_connection((host, int(port)), timeout=HANG_SECONDS)
            raw.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{upgrade}\r\n".encode())
            return raw

        def begun(raw, mark):
            text = b""
            while mark not in text:
                more = raw.recv(4096)
                assert more, text
                text += more
            return raw
        session = "Connection: Upgrade\r\nUpgrade: gdb-remote\r\n"
        raws = {token: (begun(ask(token, "/v1/events"), b"events follow"), begun(ask(token, f"/v1/gdb?ids={g}", session), b" 101 "),
                        # The wait has begun once what came with it is answered.
                        begun(ask(token, "/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                  f"GET /v1/goroutines/{g}?wait_ms=60000"), b"ok\n")) for token in (gone, kept)}
        until(lambda: unix.get(f"/v1/goroutines/{g}")["holds"] == 2, "both sessions hold it")
        write_secret(tcp.tokens, f"kept read,control,load {kept}\n")
        tcp.daemon.process.send_signal(signal.SIGHUP)
        for raw in raws[gone]:
            while raw.recv(4096):  # what was said before
                pass
            raw.close()
        until(lambda: unix.get(f"/v1/goroutines/{g}")["holds"] == 1, "the session that ended holds nothing")
        suspended = unix.want(200, "POST", f"/v1/goroutines/{g}/suspend").json
        begun(raws[kept][0], f'"suspension":{suspended["id"]}'.encode())
        # One that has lost a scope may not go on with what needs it.
        write_secret(tcp.tokens, f"kept read {kept}\n")
        tcp.daemon.process.send_signal(signal.SIGHUP)
        assert raws[kept][1].recv(4096) == b"", "a session of gdb needs all three"
        unix.want(204, "DELETE", f"/v1/suspensions/{suspended['id']}")
        begun(raws[kept][0], b"event: resumed")
        unix.want(202, "DELETE", f"/v1/goroutines/{g}")
        begun(raws[kept][2], b'"state":"dead"')
        for raw in raws[kept]:
            raw.close()


def audit(daemon):
    with open(daemon.path("state/audit.jsonl")) as file:
        return [json.loads(line) for line in file]


def every_mutation_is_written_down():
    token = new_token()
    with Tcp(f"ann control,load {token}") as tcp:
        unix, ann = tcp.daemon.client(), tcp.bearer(token)
        ids = unix.want(201, *SPAWN).json["ids"]
        unix.get("/v1/goroutines")
        held = ann.want(200, "POST", f"/v1/goroutines/{ids[0]}/suspend", {"reason": "a \"look\"\n"}).json
        ann.want(400, "PATCH", "/v1/runtime", {"procs": 0}, "bad-request")
        ann.want(204, "DELETE", f"/v1/suspensions/{held['id']}")
        tcp.daemon.tcp().want(401, *SPAWN, "unauthorized")  # a stranger's attempts are counted, not kept
        lines = until(lambda: len(audit(tcp.daemon)) >= 4 and audit(tcp.daemon), "the lines are written")
        assert len(lines) == 4, lines
        me = f"uid:{os.geteuid()}"
        assert [line["principal"] for line in lines] == [me, "token:ann", "token:ann", "token:ann"], lines
        assert [line["status"] for line in lines] == [201, 200, 400, 204], lines
        assert lines[0]["answer"]["ids"] == ids and lines[0]["request"]["entry"] == "scalar", lines
        assert lines[1]["request"]["reason"] == "a \"look\"\n" and lines[1]["answer"]["id"] == held["id"], lines
        assert lines[2]["answer"]["code"] == "bad-request" and lines[3]["via"] == "tcp", lines
        path = tcp.daemon.path("state/audit.jsonl")
        assert os.stat(path).st_mode & 0o777 == 0o600
        # Rotation: the old file is moved away, the new one begins at the hangup.
        os.rename(path, path + ".1")
        tcp.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: os.path.exists(path), "a new file is begun")
        ann.want(201, *SPAWN)
        until(lambda: len(audit(tcp.daemon)) == 1, "the line is in the new file")
        # What was answered is written before the end.
        ann.want(201, *SPAWN)
        assert tcp.daemon.stop() == 0
        assert len(audit(tcp.daemon)) == 2, audit(tcp.daemon)


@not_under("emulator")  # which has the limit for itself
def a_line_that_was_cut_spoils_no_other():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "audit.jsonl")

        def lines():
            with open(path) as file:
                return file.readlines()
        # Long, because the limit below is the log's as well.
        write_secret(path, '{"at":"a crash cut this' + 100000 * ".")
        with Daemon("--state", directory) as daemon:
            client = daemon.client()
            client.want(201, *SPAWN)
            until(lambda: len(lines()) == 2, "the line is on its own")
            assert json.loads(lines()[1])["status"] == 201, lines()
            # The disk is full in the middle of a line, and then it is not.
            size = os.path.getsize(path)
            _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (size + 10, hard))
            client.want(201, *SPAWN)
            until(lambda: "event=audit-lost" in daemon.log() and os.path.getsize(path) == size + 10, "a part of it is written")
            client.want(201, *SPAWN)
            until(lambda: daemon.log().count("event=audit-lost") == 2, "nothing of it is written")
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            client.want(201, *SPAWN)
            until(lambda: len(lines()) == 4, "what comes is on its own again")
            assert json.loads(lines()[3])["answer"]["ids"] == [4] and len(lines()[2]) == 11, lines()


def without_a_state_directory_the_log_has_it():
    with Daemon() as daemon:
        daemon.client().want(201, *SPAWN)
        until(lambda: "event=audit" in daemon.log() and '"status":201' in daemon.log(), "the log has the line")


def an_audit_log_that_others_can_read_is_refused():
    with tempfile.TemporaryDirectory() as directory:
        write_secret(os.path.join(directory, "audit.jsonl"), "", 0o644)
        done = subprocess.run([os.path.join(Daemon.bin, "graspd"), "--unix", os.path.join(directory, "s"), "--state", directory],
                              capture_output=True, text=True, timeout=HANG_SECONDS)
        assert done.returncode == 1 and "audit" in done.stderr, done


def a_remote_listener_is_loud():
    with Daemon("--listen", "0.0.0.0:0", "--allow-remote", "--state", "state") as daemon:
        assert "event=remote-listener" in daemon.log() and "level=warning" in daemon.log(), daemon.log()


main([
    the_socket_opens_to_a_group_and_to_nobody_else,
    each_scope_allows_its_calls_and_no_others,
    a_password_reads_and_changes_nothing,
    wrong_credentials_are_no_credentials,
    an_unknown_host_is_refused_before_all_else,
    a_page_of_another_origin_changes_nothing,
    token_files_that_others_can_read_are_refused,
    tokens_are_read_again_at_a_hangup,
    what_was_asked_with_a_token_ends_with_it,
    every_mutation_is_written_down,
    a_line_that_was_cut_spoils_no_other,
    without_a_state_directory_the_log_has_it,
    an_audit_log_that_others_can_read_is_refused,
    a_remote_listener_is_loud,
])
