#!/usr/bin/env python3
"""e2e_words.py: promises of the API, word by word, that no other part has a case for."""
import datetime
import email.utils
import json
import socket
import time

from harness import HANG_SECONDS, Daemon, Modules, main, until

RESULTS = r"""#include <grasp/goroutine.h>
static int echo(const char *args) { return gr_result(args); }
static int large(const char *args)
{
    (void)args;
    return gr_result("{ \"hash\": 14695981039346656037,\n\t\"list\": [1, 18446744073709551615], \"text\": \"a \\\" b\" }");
}
static int marked(const char *args)
{
    (void)args;
    return gr_result("[\"\\u0001\", {\"\\u0001\": \"}\"}, \"\\u00ff}\"]");
}
static int nap(const char *args) { (void)args; return gr_sleep_ns(1000000000000ull) ? 0 : 1; }
GR_ENTRY("echo", echo, "leaves its arguments as result");
GR_ENTRY("large", large, "leaves numbers that need 64 bits without a sign");
GR_ENTRY("marked", marked, "leaves strings with odd characters");
GR_ENTRY("nap", nap, "sleeps until cancelled");
"""
LARGE = {"hash": 14695981039346656037, "list": [1, 18446744073709551615], "text": 'a " b'}


def results_come_out_as_they_were_left():
    """Any JSON: also numbers that do not fit into a signed 64-bit integer."""
    with Modules("result", RESULTS) as modules, Daemon(modules=modules.path) as daemon:
        client = daemon.client()
        g = client.spawn("result", "large")
        assert client.wait_dead(g)["result"] == LARGE
        for form in ("json", "pretty", "ndjson"):
            answer = client.want(200, "GET", f"/v1/goroutines/{g}?format={form}")
            assert answer.json["exit"]["result"] == LARGE, answer
            assert form == "pretty" or answer.text.count("\n") == 1, answer.text
        assert "14695981039346656037" in client.want(200, "GET", f"/v1/goroutines/{g}?format=text").text
        lines = client.want(200, "GET", "/v1/goroutines?format=ndjson").text.splitlines()
        assert json.loads(lines[0])["exit"]["result"] == LARGE and len(lines) == 2, lines
        odd = client.spawn("result", "marked")
        assert client.wait_dead(odd)["result"] == ["\x01", {"\x01": "}"}, "\xff}"]
        for value in (None, True, 0.1, -1, 2**63 - 1, -2**63, "", "ä€\U0001f600 \"\\/\b\f\n\r\t\x7f", [[], {}], {"a": {"b": [None]}}):
            g = client.spawn("result", "echo", value) if value is not None else client.spawn("result", "echo")
            assert client.wait_dead(g) == {"reason": "returned", "code": 0, "result": value}, value


def strings_with_a_nul_are_arguments_only():
    with Modules("result", RESULTS) as modules, Daemon(modules=modules.path) as daemon:
        client = daemon.client()
        client.want(201, "POST", "/v1/goroutines", {"module": "result", "entry": "echo", "args": "a\0b"})
        for body in ({"module": "result\0x", "entry": "echo"}, {"module": "result", "entry": "echo\0"},
                     {"module": "result", "entry": "echo", "labels": {"k": "v\0w"}}):
            answer = client.want(400, "POST", "/v1/goroutines", body, "bad-request")
            assert "\\u0000" in answer.json["detail"], answer
        g = client.spawn("result", "nap")
        client.want(400, "POST", f"/v1/goroutines/{g}/suspend", {"owner": "a\0"}, "bad-request")
        client.want(400, "POST", "/v1/suspensions", {"selector": "a\0"}, "bad-request")
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0


def a_nul_byte_is_no_json():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        for body in (b'{"lease_ms":1000\0}', b'{"lease_ms":1000}\0', b'\0{}', b'{"owner":"a\0"}', b'{\0}'):
            client.want(400, "POST", f"/v1/goroutines/{g}/suspend", body, "bad-request")
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0


def arguments_are_any_json():
    """Handed on as they came, blanks aside: also numbers that no C type holds."""
    with Modules("result", RESULTS) as modules, Daemon(modules=modules.path) as daemon:
        client = daemon.client()
        for args in ("18446744073709551615", "-9223372036854775809", "1e400", "[ 1 , -1E+999,\t{\"a\":\"x \\\" 99999999999999999999\"} ]",
                     '{"seed":14695981039346656037,"list":[18446744073709551616,0,-0,1.5e3]}'):
            for body in ('{"module":"result","entry":"echo","args":%s}', '{"args" : %s , "labels":{"args":"9"},"module":"result","entry":"echo"}'):
                g = client.want(201, "POST", "/v1/goroutines", body % args).json["ids"][0]
                shown = client.want(200, "GET", f"/v1/goroutines/{g}?wait_ms=25000").text
                assert json.loads(shown)["exit"]["code"] == 0
                assert json.loads(shown, parse_int=str, parse_float=str)["exit"]["result"] == json.loads(args, parse_int=str, parse_float=str), shown
        for wrong in ("18446744073709551615x", "018446744073709551615", "1e", "18446744073709551615.", "[18446744073709551615", "--1e400", "1e400,", "[--1,1e400]", "[1e+-5,1e400]", "[1.-5,1e400]",
                      '1e400,"args":1', '1e400,"count":1e400'):
            client.want(400, "POST", "/v1/goroutines", '{"module":"result","entry":"echo","args":%s}' % wrong, "bad-request")
        client.want(413, "POST", "/v1/goroutines", '{"module":"result","entry":"echo","args":[1e400,"%s"]}' % ("x" * 65530), "too-large")
        # Nowhere else, and there it is said what is taken.
        answer = client.want(400, "POST", "/v1/goroutines", '{"module":"result","entry":"echo","count":18446744073709551616}', "bad-request")
        assert "-2^63 to 2^63-1" in answer.json["detail"], answer
        client.want(400, "POST", "/v1/suspensions", '{"ids":[18446744073709551616]}', "bad-request")


def pages_of_modules_fit_together_whatever_is_unloaded_between_them():
    with Daemon() as daemon:
        client = daemon.client()
        whole = [item["name"] for item in client.get("/v1/modules")["items"]]
        page = client.get("/v1/modules?limit=2")
        met = [item["name"] for item in page["items"]]
        assert met == whole[:2]
        client.want(204, "DELETE", f"/v1/modules/{met[0]}")
        client.want(204, "DELETE", f"/v1/modules/{whole[3]}")
        client.want(201, "POST", "/v1/modules", {"name": whole[3]})
        while page["next"]:
            page = client.get(f"/v1/modules?limit=1&cursor={page['next']}")
            met += [item["name"] for item in page["items"]]
        assert met == whole, "each that was there throughout exactly once"


def every_get_under_v1_is_text_for_people():
    with Modules("result", RESULTS) as modules, Daemon("--state", "state", modules=modules.path) as daemon:
        client = daemon.client()
        g = client.spawn("result", "nap")
        until(lambda: client.state(g) == "waiting", "it sleeps")
        held = client.want(200, "POST", f"/v1/goroutines/{g}/suspend").json["id"]
        saved = client.want(201, "POST", "/v1/snapshots", {"all": True}).json["id"]
        for target in ("runtime", "modules", "modules/result", "goroutines", f"goroutines/{g}", f"goroutines/{g}/log", f"goroutines/{g}/snapshot",
                       f"goroutines/{g}/stack", f"goroutines/{g}/core", f"goroutines/{g}/roots", "suspensions", f"suspensions/{held}",
                       "snapshots", f"snapshots/{saved}", "deadlocks"):
            answer = client.want(200, "GET", f"/v1/{target}?format=text")
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8", (target, answer.headers)
            assert not answer.text.startswith("{"), (target, answer)
        text = client.want(200, "GET", f"/v1/goroutines/{g}/core?format=text").text
        assert "gr_sleep_ns()" in text, text
        # It stands in a call: the line of that, not the one behind, which may be of an inlined function.
        assert "gri_waiting" not in text, text
        # Without being asked for another one by name a core is a core.
        for accept in (None, "*/*", "application/json"):
            answer = client.ask("GET", f"/v1/goroutines/{g}/core", headers={"Accept": accept} if accept else None)
            assert answer.status == 200 and answer.body.startswith(b"\x7fELF"), (accept, answer)
        client.want(400, "GET", f"/v1/goroutines/{g}/core?format=folded", code="bad-request")


def requests_sent_all_at_once_are_all_answered():
    """Many more than are taken up in one turn, each answered on the loop; nothing else comes to wake it."""
    with Daemon() as daemon, socket.socket(socket.AF_UNIX) as raw:
        raw.connect(daemon.socket)
        raw.settimeout(HANG_SECONDS)
        for target in (b"/healthz", b"/v1/goroutines/77"):
            raw.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target * 100)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 100:
                more = raw.recv(65536)
                assert more, answers[-300:]
                answers += more


def members(text):
    """The members in their order, without what passes with time."""
    value = json.loads(text)
    for name in ("wait_ns", "cpu_ns"):
        value.pop(name)
    for holder in value["held_by"]:
        holder.pop("remaining_ms")
        holder.pop("expires_at")
    return json.dumps(value)


def an_answer_that_is_given_at_once_is_the_same_as_any_other():
    """Most GETs of one goroutine are answered on the loop; other forms, and those of a crowd, go through the pool."""
    with Modules("result", RESULTS) as modules, Daemon("--max-goroutines", "5000", modules=modules.path) as daemon:
        client = daemon.client()
        ended, napping, held, odd = (client.spawn("result", entry, labels={"k": 'v"\\\n\xe4'}) for entry in ("large", "nap", "nap", "marked"))
        client.wait_dead(ended)
        client.wait_dead(odd)
        for g in (napping, held):
            until(lambda g=g: client.state(g) == "waiting", "it sleeps")
        client.want(200, "POST", f"/v1/goroutines/{held}/suspend", {"owner": "o", "reason": "r", "lease_ms": 3600000})
        client.want(201, "POST", "/v1/suspensions", {"ids": [held], "lease_ms": 3600000})
        before = []
        for g in (ended, napping, held, odd):
            for _ in range(2):  # the first finds the name of its place
                at_once = client.want(200, "GET", f"/v1/goroutines/{g}").text
            pretty = client.want(200, "GET", f"/v1/goroutines/{g}?format=pretty").text
            assert members(at_once) == members(pretty), (at_once, pretty)
            before.append(members(at_once))
        listed = [json.loads(line) for line in client.want(200, "GET", "/v1/goroutines?format=ndjson").text.splitlines()[:-1]]
        for item, one in zip(listed, before):
            one = json.loads(one)
            assert all(one[name] == value for name, value in item.items() if name not in ("wait_ns", "cpu_ns")), (item, one)
            assert list(item) == [name for name in json.loads(client.want(200, "GET", f"/v1/goroutines/{item['id']}").text) if name in item]
        client.spawn("result", "nap", count=3000)
        for g, one in zip((ended, napping, held, odd), before):
            assert members(client.want(200, "GET", f"/v1/goroutines/{g}").text) == one


def every_answer_has_its_date():
    with Daemon() as daemon:
        client = daemon.client()
        for method, target in (("GET", "/healthz"), ("HEAD", "/v1/runtime"), ("GET", "/nowhere"), ("POST", "/v1/goroutines")):
            early = int(time.time())
            date = email.utils.parsedate_to_datetime(client.ask(method, target).headers["Date"])
            assert date.tzinfo == datetime.timezone.utc and early <= date.timestamp() <= time.time(), date


def refusals_name_what_to_do_instead():
    with Daemon() as daemon:
        client = daemon.client()
        g = client.spawn("deadlock", "channel")
        answer = client.ask("POST", f"/v1/goroutines/{g}/suspend", "{}", {"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 415 and "curl --json" in answer.json["detail"], answer
        for require in ("most", "", "ALL"):
            answer = client.want(400, "POST", "/v1/suspensions", {"ids": [g], "require": require}, "bad-request")
            assert '"any" or "all"' in answer.json["detail"], answer
        assert client.get("/v1/suspensions")["items"] == []


main([
    results_come_out_as_they_were_left,
    strings_with_a_nul_are_arguments_only,
    a_nul_byte_is_no_json,
    arguments_are_any_json,
    pages_of_modules_fit_together_whatever_is_unloaded_between_them,
    every_get_under_v1_is_text_for_people,
    an_answer_that_is_given_at_once_is_the_same_as_any_other,
    requests_sent_all_at_once_are_all_answered,
    every_answer_has_its_date,
    refusals_name_what_to_do_instead,
])
