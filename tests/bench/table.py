#!/usr/bin/env python3
"""table.py OUT.jsonl: one Markdown table with ratios, from what run.sh collected.
table.py --check OUT.jsonl: fails, naming them, if a metric of ours or a floor is not there.

A metric that was measured in several rounds is shown as the median of the rounds' percentiles; a ratio is the
median of the ratios of medians within each round. OUT.jsonl.meta, if it is there, says where and how.
"""
import json
import statistics
import sys

# What is set beside what: our metric, the floor it stands on, and the peers' names where they differ.
BESIDE = [
    ("quiet", "nobody else"), ("slow_requests", "beside 64 slow heads and bodies"), ("idle_256", "beside 239 idle connections"),
    ("slow_readers", "beside 16 slow readers of 100,000 lines"), ("list_100k", "beside one list of 100,000 after another"),
    ("snapshot_10k", "beside one group snapshot of 10,000 after another"),
]
CROWDS = [
    ("quiet", "nobody else"), ("core", "cores"), ("core_data", "cores with data"), ("save", "saved snapshots"), ("hold", "suspensions"),
    ("debug2", "tracebacks"), ("debug1", "counts by stack"), ("pprof", "profiles of goroutines"), ("flame", "flame graphs"),
    ("saved_json", "one saved, as JSON"), ("saved_text", "as text"), ("saved_folded", "as folded stacks"), ("saved_core", "as a core"),
    ("list", "NDJSON lists"), ("page", "pages of 1,000 as text"), ("none", "lists that nobody matches"), ("roots", "roots"), ("deadlocks", "deadlocks"),
    ("spawn", "spawns of 30,000"), ("cancel", "deletes, one by one, of 30,000"), ("profile", "CPU profiles"), ("trace", "traces"), ("metrics", "metrics"),
]
# Parts that are not everywhere: there is no daemon in some builds, and no wrk on some machines.
THROUGHPUT = "HTTP throughput: wrk, 64 connections, server on one core"
OPTIONAL = {"HTTP": "http_healthz_idle", THROUGHPUT: "http_healthz_rate", "Control plane": "http_pairs_rate"}
TIGHT, CLOCK = "tgkill_to_handler_xcore", "clock_gettime"
ROWS = [
    ("Suspend: request to stopped", [
        ("suspend_spin_tight", "tight loop", TIGHT,
         {"erlang": "suspend_spin", "node": "suspend_spin_inspector"}),
        ("suspend_spin_calls", "loop with calls", None, {"go-sync": "suspend_spin_calls_synconly"}),
        ("suspend_libc_malloc", "in libc: malloc and free", TIGHT, {}),
        ("suspend_libc_memcpy_1MiB", "in libc: memcpy of 1 MiB", TIGHT, {}),
        ("suspend_blocked_chan", "blocked on a channel", CLOCK,
         {"erlang": "suspend_waiting", "pthread-signal": "suspend_blocked_mutex"}),
        ("suspend_in_syscall", "in a system call", CLOCK, {}),
        ("suspend_resume_spin_tight", "suspend + resume, tight loop", TIGHT,
         {"erlang": "suspend_resume_spin", "node": "suspend_resume_spin_inspector"}),
        ("resume_to_running_spin_tight", "resume to running, tight loop", "futex_wake_xcore", {}),
        ("resume_to_running_spin_calls", "resume to running, with calls", "futex_wake_xcore", {}),
    ]),
    ("Suspend, asked in other ways", [
        ("suspend_told_spin_tight", "tight loop, the runtime's own stamps", TIGHT, {}),
        ("suspend_thread_spin_tight", "tight loop, the thread sleeps", "futex_wake_xcore", {}),
        ("suspend_goroutine_spin_tight", "tight loop, asked by a goroutine", TIGHT, {}),
        ("suspend_thread_spin_calls", "loop with calls, the thread sleeps", None, {}),
        ("suspend_goroutine_spin_calls", "loop with calls, asked by a goroutine", None, {}),
        ("suspend_goroutine_libc_malloc", "malloc and free, asked by a goroutine", TIGHT, {}),
        ("suspend_goroutine_libc_memcpy_1MiB", "memcpy, asked by a goroutine", TIGHT, {}),
        ("suspend_goroutine_blocked_chan", "blocked, asked by a goroutine", CLOCK, {}),
    ]),
    ("Scheduler", [
        ("switch", "raw switch of stacks", "switch", {}),
        ("yield_1thr", "yield, 1 processor", "switch", {"node": "yield_await"}),
        ("yield_2thr", "yield, 2 processors", "switch", {}),
        ("yield_crowd_1thr", "yield, one of 10,000, 1 processor", "switch", {}),
        ("yield_crowd_2thr", "yield, one of 10,000, 2 processors", "switch", {}),
        ("spawn_exit_1thr", "spawn + exit, 1 processor", "switch", {"node": "spawn_exit_async"}),
        ("spawn_exit_2thr", "spawn + exit, 2 processors", "switch", {}),
        ("pingpong_rtt_1thr", "ping-pong, 1 processor", "switch", {}),
        ("pingpong_rtt_2thr", "ping-pong, 2 processors", "switch", {}),
        ("sleep_late_10k", "10,000 sleepers, late by", None, {}),
    ]),
    ("Fairness", [
        ("fair_spawn_1spin_per_core", "newcomer behind 1 spinner a core", None, {}),
        ("fair_spawn_4spin_per_core", "newcomer behind 4 spinners a core", None, {}),
        ("fair_wake_1spin_per_core", "sleeper wakes, 1 spinner a core", None, {}),
        ("fair_wake_4spin_per_core", "sleeper wakes, 4 spinners a core", None, {}),
    ]),
    ("Memory", [
        ("idle_mem_100k", "resident, an idle task", None, {"pthread": "idle_mem_10k"}),
        ("idle_mem_private_100k", "resident, an idle task with a private stack (folded)", None,
         {"go": "idle_mem_100k"}),
        ("idle_mem_private_1M", "the same, a million", None, {"go": "idle_mem_1M"}),
        ("idle_page_tables_private_100k", "page tables, with a private stack", None, {}),
        ("idle_page_tables_100k", "page tables, an idle task", None, {"pthread": "idle_kernel_stack_10k"}),
    ]),
    ("Inspection", [
        ("unwind_warm_frame", "unwind and name a frame, warm", None, {}),
        ("pprof_debug2_100k_time", "traceback of 100,000 goroutines by HTTP", None, {}),
        ("pprof_debug2_100k_victim_gap", "meanwhile a running one stood still", None, {}),
        ("pprof_debug2_10k_victim_gap", "a running one stood still while 10,000 were dumped", None, {}),
        ("pprof_debug1_100k_time", "the same, counted by stack", None, {}),
        ("pprof_debug2_10k_time", "traceback of 10,000 goroutines by HTTP", None, {}),
        ("pprof_debug2_100k_rss_growth", "memory for the dumps of 100,000", None, {}),
        ("yield_trace_off", "yield, no trace", None, {}),
        ("yield_trace_on", "yield, with a trace", None, {}),
    ]),
    ("HTTP", [
        ("http_healthz_idle", "GET /healthz, nothing else runs", "http_canned_idle", {}),
        ("http_healthz_spinners", "GET /healthz, a spinner on each core", "http_canned_spinners", {}),
        ("http_suspend_latency_told", "POST suspend, by the daemon's own latency_ns", TIGHT, {}),
        ("http_suspend", "POST suspend, tight loop", "http_canned_idle", {}),
        ("http_snapshot", "GET snapshot, tight loop", "http_canned_idle", {}),
        ("http_resume", "POST resume", "http_canned_idle", {}),
        ("http_suspend_snapshot_resume", "the three together", "http_canned_idle", {}),
    ]),
    (THROUGHPUT, [
        ("http_healthz_rate", "GET /healthz", "http_canned_rate", {}),
        ("http_goroutine_rate", "GET /v1/goroutines/ID", "http_canned_rate", {"go": "http_healthz_rate", "node": "http_healthz_rate"}),
        ("http_healthz_p99", "GET /healthz, 99th percentile", "http_canned_p99", {}),
        ("http_goroutine_p99", "GET /v1/goroutines/ID, 99th percentile", "http_canned_p99", {"go": "http_healthz_p99", "node": "http_healthz_p99"}),
        ("http_healthz_cpu", "GET /healthz, the server's processor time", "http_canned_cpu", {}),
        ("http_goroutine_cpu", "GET /v1/goroutines/ID, the server's processor time", "http_canned_cpu",
         {"go": "http_healthz_cpu", "node": "http_healthz_cpu"}),
    ]),
    ("Control plane", [
        ("http_pairs_rate", "suspend and resume of a tight loop, one connection", None, {}),
        ("http_list_100k_time", "NDJSON list of 100,000", None, {}),
        ("http_list_100k_bytes", "its bytes", None, {}),
        ("http_list_100k_peak_growth", "what the daemon's peak of memory grew by", None, {}),
        *((f"http_beside_{case}{longest}", f"GET /healthz of another client, {words}{', the longest' if longest else ''}", None, {})
          for case, words in BESIDE for longest in ("", "_longest")),
        *((f"http_crowd_{case}_longest", f"any short call of another client, beside 16 clients and 30,000 goroutines, the longest: {words}", None, {})
          for case, words in CROWDS),
    ]),
]


def read(path):
    """{(peer, metric): {"unit", "p50", "p99", "p999", "n"}} with the median over rounds."""
    collected = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            collected.setdefault((entry["peer"], entry["metric"]), []).append(entry)
    result = {}
    for key, entries in collected.items():
        result[key] = {"unit": entries[0]["unit"], "n": sum(e["n"] for e in entries),
                       "each": [e["p50"] for e in entries]}
        for quantile in ("p50", "p99", "p999"):
            result[key][quantile] = statistics.median(e[quantile] for e in entries)
    return result


def family(peer):
    for prefix in ("go1", "erlang", "node"):
        if peer.startswith(prefix):
            return prefix.rstrip("1")
    return peer


def number(value, unit):
    """A value with a unit that keeps it short: everything timed is shown in ns, µs or ms."""
    base = unit.split("/")[0]
    if base in ("ns", "us"):
        ns = value * (1000 if base == "us" else 1)
        for name, size in (("ms", 1e6), ("µs", 1e3)):
            if abs(ns) >= size * 10 or (name == "ms" and abs(ns) >= 1e6):
                return f"{ns / size:.3g} {name}"
        return f"{ns:.3g} ns" if abs(ns) < 1000 else f"{ns:.0f} ns"
    return f"{value:.0f} {base}"


def ratio(entry, other):
    """The median over rounds of the ratio within a round, which a slow round does not move."""
    if not entry or not other:
        return "–"
    scale = (1000 if entry["unit"].startswith("us") else 1) / (1000 if other["unit"].startswith("us") else 1)
    each = [mine / theirs for mine, theirs in zip(entry["each"], other["each"]) if theirs]
    return f"{statistics.median(each) * scale:.2f}" if each else "–"


def version_key(peer):
    return [int(part) for part in peer[2:].split(".") if part.isdigit()]


def lookup(data, peers, metric, names):
    """The entry of each peer for this row."""
    found = {}
    for peer in peers:
        name = names.get(family(peer), metric)
        if (peer, name) in data:
            found[peer] = data[(peer, name)]
    return found


def columns(data):
    present = {peer for peer, _ in data}
    gos = sorted((p for p in present if family(p) == "go"), key=version_key, reverse=True)
    wanted = ("erlang", "state-threads", "node", "pthread", "pthread-signal", "ptrace")
    others = [p for want in wanted for p in sorted(present) if family(p) == want]
    return gos, others


def print_rows(data, title, rows, gos, others, nice0):
    lines = []
    for metric, words, floor_name, names in rows:
        ours = data.get(("grasp", metric))
        if not ours:
            continue
        by_go = lookup(data, gos, metric, names)
        by_other = lookup(data, others, metric, names)
        floor = data.get(("floor", floor_name)) if floor_name else None
        cells = [words] + [number(ours[q], ours["unit"]) if ours["n"] > 1 or q == "p50" else "–"
                           for q in ("p50", "p99", "p999")]
        for go in gos:
            entry = by_go.get(go)
            cells.append(f"{number(entry['p50'], entry['unit'])}" if entry else "–")
        cells.append(ratio(ours, by_go.get(gos[0])) if gos else "–")
        cells.append(f"{number(floor['p50'], floor['unit'])} ({floor_name})" if floor else "–")
        cells.append(ratio(ours, floor))
        if nice0:
            entry = data.get(("grasp-nice0", metric))
            cells.append(number(entry["p50"], entry["unit"]) if entry else "–")
        cells += [number(by_other[p]["p50"], by_other[p]["unit"]) if p in by_other else "–" for p in others]
        lines.append("| " + " | ".join(cells) + " |")
    if lines:
        print(f"| **{title}** |" + " |" * (7 + len(gos) + bool(nice0) + len(others) - 1))
        print("\n".join(lines))


def print_table(data, path):
    gos, others = columns(data)
    nice0 = any(peer == "grasp-nice0" for peer, _ in data)
    head = ["", "grasp p50", "p99", "p99.9", *gos, f"grasp / {gos[0] if gos else 'Go'}", "floor",
            "grasp / floor"] + (["grasp, workers at nice 0"] if nice0 else []) + others
    print("| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for title, rows in ROWS:
        print_rows(data, title, rows, gos, others, nice0)
    print("\nMedians where nothing else is said.\n")
    sync = [(p, e) for (p, m), e in data.items() if m == "suspend_spin_calls_synconly"]
    for peer, entry in sorted(sync):
        print(f"- {peer}, loop with calls, prologue check alone: {number(entry['p50'], 'ns')} "
              f"(p99 {number(entry['p99'], 'ns')})")
    shares = [(m, e) for (p, m), e in data.items() if p == "machine" and m.startswith("cpu_share")]
    print("- Share of each core that was ours, before each part: "
          + ", ".join(f"{m.removeprefix('cpu_share_')} {e['p50']:.0f} %" for m, e in shares))
    print("- A batched metric (spawn, yield, ping-pong, switch) has one sample for a batch: its p99 is over batches.")
    try:
        with open(path + ".meta", encoding="utf-8") as meta:
            for line in meta:
                print("- " + line.rstrip())
    except FileNotFoundError:
        pass


def check(data):
    wanted = [("grasp", metric) for title, rows in ROWS for metric, *_ in rows
              if not metric.endswith("_1M") and (title not in OPTIONAL or ("grasp", OPTIONAL[title]) in data)]
    wanted += [("floor", name) for _, rows in ROWS for _, _, name, _ in rows
               if name and not name.startswith("http") and (name != "switch" or ("floor", "switch") in data)]
    missing = sorted(set(wanted) - set(data))
    empty = sorted(key for key in set(wanted) & set(data) if data[key]["n"] < 1)
    for peer, metric in missing + empty:
        print(f"no measurement of {metric} by {peer}")
    return 1 if missing or empty else 0


def main():
    arguments = sys.argv[1:]
    checking = arguments[:1] == ["--check"]
    if len(arguments) != 1 + checking:
        print(__doc__, file=sys.stderr)
        return 2
    data = read(arguments[-1])
    if checking:
        return check(data)
    print_table(data, arguments[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
