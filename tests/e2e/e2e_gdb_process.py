#!/usr/bin/env python3
"""e2e_gdb_process.py: tools/grasp-gdb.py in a gdb that has the whole daemon, or a core file of it."""
import os
import re
import sys
import tempfile

from gdb_client import Gdb, graspd, sorter_in, sorter_is_right
from harness import Daemon, counts, main, not_under, until

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/grasp-gdb.py")


def frames_are_right(trace, goroutine, *functions):
    assert trace.startswith(f"goroutine {goroutine} ["), trace
    at = 0
    for function in functions:
        found = re.search(rf"^#\d+ .*\b{function} \(", trace[at:], re.M)
        assert found, f"{function} is not in its place in\n{trace}"
        at += found.start() + 1
    assert "??" not in trace, trace


def look(gdb, ids):
    """What must be seen of the four, in the process and in its core."""
    running, held, blocked, sorter = ids
    said = gdb.ask(f"source {SCRIPT}")
    assert "rror" not in said, said
    table = gdb.ask("info goroutines")
    rows = {int(line.split()[0]): line for line in table.splitlines()[1:] if line.split() and line.split()[0].isdigit()}
    assert set(ids) <= set(rows), table
    # Nearly always running; in the moment between two slices it stands in the queue.
    assert re.search(r"^ *\d+ +(running +0 .*\(thread \d+\)|runnable +0 ).* calls$", rows[running]), rows[running]
    assert re.search(r"^ *\d+ +preempted +1 +scalar", rows[held]), rows[held]
    assert re.search(r"^ *\d+ +waiting +0 .*chan receive 0x[0-9a-f]+ +channel$", rows[blocked]), rows[blocked]
    frames_are_right(gdb.ask(f"goroutine {running} bt"), running, "calls", "goroutine_main")
    trace = gdb.ask(f"goroutine {held} bt")
    frames_are_right(trace, held, "scalar", "goroutine_main", "arch_goroutine_start")
    assert re.search(r"scalar \(.*at .*hog\.c:\d+$", trace, re.M), trace
    frames_are_right(gdb.ask(f"goroutine {blocked} bt"), blocked, "gr_chan_recv", "channel_main", "goroutine_main")
    trace = gdb.ask(f"goroutine {sorter} bt")
    frames_are_right(trace, sorter, "gr_chan_recv", "compare_slowly", "sort_main", "goroutine_main")
    assert "arch_foreign_return" not in trace, trace
    sorter_is_right(trace)
    assert len(re.findall("^#", gdb.ask(f"goroutine {blocked} bt 2"), re.M)) == 2
    # Of all frames: where it stands may be in an inlined callee.
    assert re.search(r"^ +a = ", gdb.ask(f"goroutine {held} bt -full"), re.M)
    everyone = gdb.ask("goroutine all bt 1")
    assert all(f"goroutine {g} [" in everyone for g in ids), everyone
    assert "no such goroutine" in gdb.ask("goroutine 99999 bt")
    assert "usage: goroutine ID COMMAND" in gdb.ask("goroutine")
    # Afterwards the thread is itself again.
    assert "goroutine_main" not in gdb.ask("bt") or "grasp-worker" in gdb.ask("thread")


# A debugger that attaches to the process sees the emulator.
@not_under("emulator")
def the_living_process_and_its_core_show_their_goroutines():
    with tempfile.TemporaryDirectory(prefix="grasp-e2e-") as folder:
        # gdb's gcore gives up a whole mapping where a page of it can't be read, as lightweight guard regions can't.
        with Daemon("--stack-guard=mprotect", modules=sorter_in(folder)) as daemon:
            client, path = daemon.client(), daemon.path("counter")
            running = client.spawn("hog", "calls", {"counter": path})
            held = client.spawn("hog", "scalar", {"counter": daemon.path("held")})
            blocked = client.spawn("deadlock", "channel")
            sorter = client.spawn("sorter", "sort")
            counts(path)
            counts(daemon.path("held"))  # it is in its loop, where `a` lives
            client.want(200, "POST", f"/v1/goroutines/{held}/suspend", {"lease_ms": 3600000})
            for g in (blocked, sorter):
                until(lambda g=g: client.state(g) == "waiting", "it waits")
            ids = (running, held, blocked, sorter)
            core = os.path.join(folder, "core")
            with Gdb("-p", str(daemon.process.pid)) as gdb:
                if "not permitted" in gdb.ask("info inferiors"):
                    print("skipped: this system does not let gdb attach to a process")
                    sys.exit(77)
                look(gdb, ids)
                if Daemon.sanitizer != "address":  # its shadow is terabytes, which gcore would all write
                    said = gdb.ask(f"gcore {core}")
                    assert "Saved corefile" in said, said
                gdb.ask("detach")
                gdb.quit()
            counts(path)  # it goes on
            if Daemon.sanitizer == "address":
                return
            with Gdb(graspd(), core) as gdb:
                look(gdb, ids)
                gdb.quit()


def in_a_program_without_grasp_it_says_so():
    with Gdb("/bin/true") as gdb:
        gdb.ask(f"source {SCRIPT}")
        assert "there is no gr_debug_layout" in gdb.ask("info goroutines")
        gdb.quit()


main([
    the_living_process_and_its_core_show_their_goroutines,
    in_a_program_without_grasp_it_says_so,
])
