#!/usr/bin/env python3
"""e2e_metrics.py: /metrics is Prometheus's text format 0.0.4, read by a parser that forgives nothing, and says what /v1/runtime says."""
import math
import re

from harness import Daemon, hog, main

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Family:
    def __init__(self, name, kind):
        self.name, self.kind, self.samples = name, kind, {}  # (sample's name, labels): value

    def value(self, **labels):
        return self.samples[self.name, tuple(sorted(labels.items()))]


def number(text):
    assert NUMBER.fullmatch(text), f"no number: {text!r}"
    return float(text)


def take_sample(line, family):
    found = SAMPLE.fullmatch(line)
    assert found, f"no sample: {line!r}"
    name, labels = found[1], re.findall(LABEL, found[2] or "")
    assert len({label for label, _ in labels}) == len(labels), f"a label twice: {line!r}"
    assert family and name in [family.name + suffix for suffix in SUFFIXES[family.kind]], f"{line!r} is not of the family before it"
    key = name, tuple(sorted(labels))
    assert key not in family.samples, f"given twice: {line!r}"
    family.samples[key] = number(found[found.re.groups])


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        one = series.setdefault(rest, {"buckets": []})
        if name == family.name + "_bucket":
            one["buckets"].append((number(dict(labels)["le"]), value))
        else:
            assert "le" not in dict(labels), labels
            one[name] = value
    assert series
    for labels, one in series.items():
        bounds, counts = zip(*one["buckets"])
        assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, (labels, bounds)
        assert list(counts) == sorted(counts) and counts[0] >= 0, f"{labels}: the buckets are not cumulative: {counts}"
        assert counts[-1] == one[family.name + "_count"], labels
        assert one[family.name + "_sum"] >= 0 and (counts[-1] > 0 or one[family.name + "_sum"] == 0), labels


def parse(text):
    """{name: Family} of a whole exposition; a fault is an AssertionError."""
    assert text.endswith("\n") and "\r" not in text, "it ends with a line feed"
    families, family, helped = {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            found = re.fullmatch(rf"# HELP ({NAME}) (?:[^\\]|\\\\|\\n)+", line)
            assert found and found[1] not in families, f"no help, or a second one: {line!r}"
            helped = found[1]
        elif line.startswith("# TYPE "):
            found = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line)
            assert found and found[1] == helped and found[1] not in families, f"no type, or not behind its help: {line!r}"
            family = families[found[1]] = Family(found[1], found[2])
        else:
            take_sample(line, family)
    for family in families.values():
        assert family.samples or family.kind == "counter", f"{family.name} has no samples"
        assert (family.kind == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.kind}"
        assert family.kind != "counter" or min(family.samples.values(), default=0) >= 0, family.name
        if family.kind == "histogram":
            check_histogram(family)
    return families


def ask(client):
    answer = client.want(200, "GET", "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", answer.headers
    return parse(answer.text)


def the_parser_is_strict():
    good = '# HELP a_total b\n# TYPE a_total counter\na_total{x="1\\n"} 2\n'
    parse(good)
    histogram = '# HELP h s\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    parse(histogram)
    bad = [good[:-1], good + good, good.replace("HELP", "HALP"), good.replace("counter", "meter"), good.replace(" 2", " 2x"),
           good.replace('"1', '1'), good.replace("\\n", "\\q"), good + "b_total 1\n", good + 'a_total{x="1\\n"} 3\n',
           good.replace("counter", "gauge"), good.replace('{x="1\\n"}', '{x="1",x="2"}'), good.replace(" 2", " -2"),
           good.replace("# HELP a_total b\n", ""), good.replace("\n", "\r\n"), good.replace("a_total{", "a-total{"),
           histogram.replace('le="1"} 1', 'le="1"} 3'), histogram.replace("h_count 2", "h_count 3"), histogram.replace("h_sum 3\n", ""),
           histogram.replace('h_bucket{le="+Inf"} 2\n', ""), histogram.replace('le="1"', 'le="one"')]
    for text in bad:
        try:
            parse(text)
        except (AssertionError, KeyError):
            continue
        raise AssertionError(f"taken although it is wrong: {text!r}")


def a_new_daemons_metrics_are_well_formed():
    with Daemon() as daemon:
        families = ask(daemon.client())
        assert families["grasp_suspend_latency_seconds"].kind == "histogram"
        assert set(dict(labels)["safepoint"] for _, labels in families["grasp_suspend_latency_seconds"].samples) == {
            "blocked", "sync", "async"}


def metrics_of_work_are_well_formed_and_agree_with_the_runtime():
    with hog("--listen", "127.0.0.1:0", "--no-auth") as (daemon, client, g, path):
        waiting = client.spawn("deadlock", "channel", labels={"odd": 'quote " backslash \\ line\nend'})
        for n in range(5):
            held = client.want(200, "POST", f"/v1/goroutines/{g}/suspend").json
            if n:
                client.want(200, "POST", f"/v1/goroutines/{g}/resume", {"suspension": held["id"]})
        client.want(201, "POST", "/v1/suspensions", {"ids": [waiting]})
        # What ended up in labels once: paths and methods of strangers.
        for target in ('/v1/"', "/v1/%0a", "/v1/{x}", "/nowhere"):
            client.ask("GET", target)
        client.ask("PUT", "/v1/runtime")
        families, runtime = ask(client), client.get("/v1/runtime")
        info, = families["grasp_info"].samples
        assert dict(info[1]) == {name: str(runtime[name]) for name in ("version", "arch", "pid", "instance")}, info
        for name in ("procs", "async_preempt"):
            assert families[f"grasp_{name}"].value() == runtime[name], name
        assert families["grasp_time_slice_seconds"].value() == runtime["time_slice_us"] / 1e6
        assert families["grasp_held_goroutines"].value() == runtime["held"] == 2
        assert families["grasp_leases"].value() == runtime["suspensions"] == 2
        assert families["grasp_leases_expired_total"].value() == 0
        assert {dict(labels)["state"] for _, labels in families["grasp_goroutines"].samples} == set(runtime["goroutines"])
        for name, value in runtime["limits"].items():
            assert families["grasp_limit"].value(limit=name) == value, name
        for family, label, part in (("grasp_safepoints_total", "safepoint", "safepoints"), ("grasp_refusals_total", "reason", "refusals")):
            assert {dict(labels)[label] for _, labels in families[family].samples} == set(runtime[part]), family
        assert families["grasp_signals_sent_total"].value() >= families["grasp_signals_resent_total"].value()
        requests = families["grasp_http_requests_total"]
        assert requests.value(method="POST", route="/v1/goroutines/{id}/suspend", status="200") == 5
        assert requests.value(method="", route="", status="404") == 3, requests.samples
        latency = families["grasp_suspend_latency_seconds"].samples
        stops = sum(value for (name, _), value in latency.items() if name.endswith("_count"))
        assert stops == sum(runtime["safepoints"].values()) == 6, latency


def counters_only_grow():
    with hog() as (daemon, client, g, path):
        before = ask(client)
        client.want(200, "POST", f"/v1/goroutines/{g}/suspend")
        client.want(200, "POST", f"/v1/goroutines/{g}/resume")
        after = ask(client)
        assert set(before) == set(after), "families come and go"
        for name, family in before.items():
            for key, value in family.samples.items():
                assert family.kind == "gauge" or after[name].samples[key] >= value, (name, key)


main([
    the_parser_is_strict,
    a_new_daemons_metrics_are_well_formed,
    metrics_of_work_are_well_formed_and_agree_with_the_runtime,
    counters_only_grow,
])
