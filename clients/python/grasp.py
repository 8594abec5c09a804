"""grasp.py: a client for the Grasp daemon, in one file, on the standard library alone.

    from grasp import Grasp
    daemon = Grasp()                                  # found as the `grasp` command finds it
    g = daemon.spawn("hog", "scalar", labels={"team": "red"})
    with daemon.hold(ids=[g], lease_ms=60000) as held:  # stands still in here
        print(daemon.stack(g)["frames"][0])
    for event in daemon.events(types=["suspended"]):
        print(event["type"], event["seq"])

Errors are Problem (what the daemon refused, with status, code and detail) and OSError (no daemon, a broken
connection). One object is for one thread at a time; each stream has a connection of its own.
"""
import contextlib
import glob
import http.client
import json
import os
import socket
import struct
import urllib.parse

__all__ = ["Grasp", "Problem"]


class Problem(Exception):
    """The daemon said no. `members` has everything that it said (RFC 9457)."""

    def __init__(self, status, members):
        self.status, self.members = status, members
        self.code, self.detail = members.get("code", ""), members.get("detail", "")
        super().__init__(f"{status} {self.code}: {self.detail}")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError as error:  # its own message does not say of what
            if error.errno is None:
                raise type(error)(f"{error}: {self._path}") from None
            raise type(error)(error.errno, error.strerror, self._path) from None


def _is_ours(path):
    """Whether somebody answers at path, and it is our own user or root: /tmp is everybody's."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
            size = struct.calcsize("3i")
            peer = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            return peer[1] in (0, os.getuid())
    except OSError:
        return False


def _default_socket():
    folders = [f for f in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp") if f]
    paths = [f"/tmp/graspd-{os.getuid()}.sock"] + [p for f in folders for pattern in (
        "graspd.sock", "grasp-*/grasp.sock", "grasp-*.sock") for p in glob.glob(f"{f}/{pattern}")]
    ours = [p for p in paths if os.path.exists(p) and _is_ours(p)]
    if not ours:
        raise FileNotFoundError("no Grasp daemon found: start one, or set GRASP_SOCKET or GRASP_URL")
    return max(ours, key=lambda p: os.stat(p).st_mtime)


def _config():
    path = os.environ.get("GRASP_CONFIG") or os.path.join(
        os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "grasp", "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _first_token(path):
    """The last word of the first line that has any; a '#' begins a comment."""
    with open(path, encoding="utf-8") as file:
        lines = [line.split("#", 1)[0].split() for line in file]
    return [words for words in lines if words][0][-1]


def _given(members):
    """Without those that are None: not given."""
    return {k: v for k, v in members.items() if v is not None} if isinstance(members, dict) else members


class Grasp:
    """A daemon. Say where with socket or url (and token), or let it be found."""

    def __init__(self, socket=None, url=None, token=None, timeout=90):
        self._timeout, self._token = timeout, token
        if not socket and not url:
            socket, url = os.environ.get("GRASP_SOCKET"), os.environ.get("GRASP_URL")
        if not socket and not url:
            config = _config()
            socket, url = config.get("socket"), config.get("url")
            if url and not socket and not self._token:  # a token of the file goes to the file's URL only
                self._token = config.get("token") or (config.get("token_file") and _first_token(config["token_file"]))
        if not socket and not url:
            socket = _default_socket()
        self._socket = socket
        self._netloc = None if socket else self._parse(url)
        self._connection = None

    def _parse(self, url):
        parts = urllib.parse.urlsplit(url if "//" in url else "http://" + url)
        if parts.scheme != "http" or parts.path not in ("", "/"):
            raise ValueError(f"{url}: must be http://HOST:PORT")
        if parts.fragment.startswith("token="):
            self._token = self._token or parts.fragment[6:]
        self._token = self._token or os.environ.get("GRASP_TOKEN")
        if not self._token and os.environ.get("GRASP_TOKEN_FILE"):
            self._token = _first_token(os.environ["GRASP_TOKEN_FILE"])
        return parts.netloc

    def _connect(self, timeout):
        if self._socket:
            return _UnixConnection(self._socket, timeout)
        return http.client.HTTPConnection(self._netloc, timeout=timeout)

    def _headers(self, body):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token and not self._socket:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    @staticmethod
    def _target(path, params):
        given = {k: str(v).lower() if isinstance(v, bool) else v for k, v in (params or {}).items() if v is not None}
        return path + ("?" + urllib.parse.urlencode(given) if given else "")

    @staticmethod
    def _check(response, body):
        if 200 <= response.status < 300:
            return
        try:
            members = json.loads(body)
        except ValueError:
            members = {"detail": body[:200].decode("utf-8", "replace")}
        raise Problem(response.status, members)

    def raw(self, method, path, body=None, params=None, headers=None):
        """One call; the answer's bytes. A dropped idle connection is replaced, unless the call may not be repeated."""
        text = None if body is None else json.dumps(_given(body))
        for attempt in (0, 1):
            fresh = self._connection is None
            self._connection = self._connection or self._connect(self._timeout)
            try:
                self._connection.request(method, self._target(path, params), text, {**self._headers(text), **(headers or {})})
                response = self._connection.getresponse()
                data = response.read()
                break
            except (http.client.HTTPException, OSError):
                self.close()
                if fresh or attempt or method == "POST":
                    raise
        if response.will_close:
            self.close()
        self._check(response, data)
        return data

    def ask(self, method, path, body=None, params=None):
        """One call; its JSON, None if there is none."""
        data = self.raw(method, path, body, params)
        return json.loads(data) if data else None

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _lines(self, path, params=None, headers=None, timeout=None):
        connection = self._connect(timeout)
        try:
            connection.request("GET", self._target(path, params), headers={**self._headers(None), **(headers or {})})
            response = connection.getresponse()
            if response.status != 200:
                self._check(response, response.read())
            for line in response:
                yield line.decode("utf-8").rstrip("\r\n")
        finally:
            connection.close()

    def _walk(self, path, params=None):
        ended = False
        for line in self._lines(path, {**(params or {}), "format": "ndjson"}, timeout=self._timeout):
            value = json.loads(line)
            ended = value.get("end") is True
            if not ended:
                yield value
        if not ended:
            raise ConnectionError("the list was cut off before its end")

    # ---- What there is

    def runtime(self):
        return self.ask("GET", "/v1/runtime")

    def configure(self, **changes):
        """procs, async_preempt, time_slice_us."""
        return self.ask("PATCH", "/v1/runtime", changes)

    def metrics(self):
        return self.raw("GET", "/metrics").decode()

    def modules(self):
        return list(self._walk("/v1/modules"))

    def load(self, name, replace=False):
        return self.ask("POST", "/v1/modules", {"name": name, "replace": replace})

    def unload(self, name):
        self.ask("DELETE", "/v1/modules/" + urllib.parse.quote(name, safe=""))

    def goroutines(self, **filters):
        """Iterates over goroutines: state, module, entry, root, selector, suspended."""
        return self._walk("/v1/goroutines", filters)

    def goroutine(self, g):
        return self.ask("GET", f"/v1/goroutines/{g}")

    # ---- Goroutines

    def spawn(self, module, entry, args=None, labels=None, count=None):
        """The id; with count, the list of ids."""
        body = {"module": module, "entry": entry, "args": args, "labels": labels or {}}
        if count is not None:
            body["count"] = count
        ids = self.ask("POST", "/v1/goroutines", body)["ids"]
        return ids if count is not None else ids[0]

    def wait(self, g, wait_ms=60000):
        """The goroutine when it is dead, or as it is after wait_ms."""
        return self.ask("GET", f"/v1/goroutines/{g}", params={"wait_ms": wait_ms})

    def cancel(self, g):
        return self.ask("DELETE", f"/v1/goroutines/{g}")

    def log(self, g):
        return self.ask("GET", f"/v1/goroutines/{g}/log")["lines"]

    def stack(self, g):
        return self.ask("GET", f"/v1/goroutines/{g}/stack")

    def snapshot(self, g, **params):
        """bytes, vectors."""
        return self.ask("GET", f"/v1/goroutines/{g}/snapshot", params=params)

    # ---- Holds

    def suspend(self, g, **options):
        """lease_ms, timeout_ms, owner, reason."""
        return self.ask("POST", f"/v1/goroutines/{g}/suspend", options)

    def suspend_set(self, **selection):
        """Exactly one of ids, selector, module, root, all; except, require; and the options of suspend."""
        return self.ask("POST", "/v1/suspensions", {k.rstrip("_"): v for k, v in selection.items()})

    def resume(self, g, suspension=None, everyone=False):
        body = {"suspension": suspension} if suspension else {"all": True} if everyone else {}
        return self.ask("POST", f"/v1/goroutines/{g}/resume", body)

    def suspensions(self):
        return list(self._walk("/v1/suspensions"))

    def renew(self, suspension, lease_ms):
        return self.ask("PATCH", f"/v1/suspensions/{suspension}", {"lease_ms": lease_ms})

    def release(self, suspension):
        self.ask("DELETE", f"/v1/suspensions/{suspension}")

    @contextlib.contextmanager
    def hold(self, **selection):
        """suspend_set for a with block; released at its end, whatever happens in it."""
        suspension = self.suspend_set(**selection)
        try:
            yield suspension
        finally:
            self.release(suspension["id"])

    # ---- Events

    def events(self, types=None, selector=None, last_id=None):
        """Iterates over events for ever; each also has "id", with which a later call takes up the stream."""
        params = {"types": ",".join(types) if types else None, "selector": selector}
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        event, data = {}, []
        for line in self._lines("/v1/events", params, headers):
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if line == "" and (data or "event" in event):
                value = json.loads("\n".join(data)) if data else {}
                yield {"type": event.get("event", "message"), **value, "id": event.get("id")}
                event, data = {}, []
            elif field == "data":
                data.append(value)
            elif field in ("event", "id"):
                event[field] = value
