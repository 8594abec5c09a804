"""perfetto.py: what a trace in Chrome's JSON must be for Perfetto to show all of it.

Perfetto's importer is lenient: what does not fit it drops, and counts in a table that few look at. So each rule here
is one by which it would drop something: a slice that overlaps its predecessor on the track, an arrow whose end is in no slice, an
asynchronous end without a beginning, an event without a place.
"""
import bisect

PHASES = {"M", "X", "i", "s", "f", "b", "e"}


def ns(us):
    """Microseconds with three decimals, exactly."""
    assert isinstance(us, (int, float)) and not isinstance(us, bool), us
    return round(us * 1000)


def check(trace):
    """Raises AssertionError; returns the events by phase."""
    assert set(trace) <= {"displayTimeUnit", "traceEvents", "otherData"}, set(trace)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    by_phase = {phase: [] for phase in PHASES}
    for event in trace["traceEvents"]:
        assert event["ph"] in PHASES, event
        by_phase[event["ph"]].append(event)
        assert isinstance(event["pid"], int) and isinstance(event["name"], str) and event["name"], event
        if event["ph"] != "M":
            assert isinstance(event["tid"], int) and ns(event["ts"]) >= 0, event
    tracks = names(by_phase["M"])
    for event in trace["traceEvents"]:
        if event["ph"] in "Xisf":
            assert (event["pid"], event["tid"]) in tracks, f"a track without a name: {event}"
        elif event["ph"] in "be":
            assert (event["pid"], None) in tracks, f"a process without a name: {event}"
    slices = slices_of(by_phase["X"])
    arrows(by_phase["s"], by_phase["f"], slices)
    spans(by_phase["b"], by_phase["e"])
    for event in by_phase["i"]:
        assert event["s"] in ("g", "p", "t"), event
    return by_phase


def names(events):
    """The (pid, tid) that have names; (pid, None) of processes. Each is named once."""
    named = set()
    for event in events:
        assert event["name"] in ("process_name", "thread_name"), event
        key = (event["pid"], event["tid"] if event["name"] == "thread_name" else None)
        assert key not in named and isinstance(event["args"]["name"], str) and event["args"]["name"], event
        named.add(key)
    for pid, tid in named:
        assert (pid, None) in named, f"process {pid} of thread {tid} has no name"
    return named


def slices_of(events):
    """{track: [(begin, end)]}. On a track they begin in order, and none begins before its predecessor is over."""
    slices = {}
    for event in events:
        begin = ns(event["ts"])
        end = begin + ns(event["dur"])
        track = slices.setdefault((event["pid"], event["tid"]), [])
        assert end >= begin and (not track or begin >= track[-1][1]), (track[-1], event)
        track.append((begin, end))
    return slices


def inside(slices, event):
    at, track = ns(event["ts"]), slices.get((event["pid"], event["tid"]), [])
    i = bisect.bisect_right(track, (at, float("inf"))) - 1
    return any(begin <= at <= end for begin, end in track[max(i - 1, 0):i + 1])


def arrows(begins, ends, slices):
    """Each beginning has one end, not before it, and both lie in slices."""
    started = {}
    for event in begins:
        assert event["id"] not in started, event
        started[event["id"]] = event
        assert inside(slices, event), f"an arrow begins in no slice: {event}"
    for event in ends:
        begin = started.pop(event["id"], None)
        assert begin is not None, f"an arrow ends that did not begin, or twice: {event}"
        assert (begin["cat"], begin["name"]) == (event["cat"], event["name"]) and event["bp"] == "e", event
        assert ns(begin["ts"]) <= ns(event["ts"]), (begin, event)
        assert inside(slices, event), f"an arrow ends in no slice: {event}"
    assert not started, f"arrows without an end: {list(started.values())[:3]}"


def spans(begins, ends):
    """Of each (category, id) beginnings and ends take turns, and the last is an end."""
    turns = {}
    for event in begins + ends:
        turns.setdefault((event["pid"], event["cat"], event["id"]), []).append(event)
    for events in turns.values():
        events.sort(key=lambda e: (ns(e["ts"])))
        for i, event in enumerate(events):
            twin = i > 0 and ns(events[i - 1]["ts"]) == ns(event["ts"])
            assert event["ph"] == "be"[i % 2] or twin, events[:i + 1]
        assert sum(1 if e["ph"] == "b" else -1 for e in events) == 0, events[-3:]
