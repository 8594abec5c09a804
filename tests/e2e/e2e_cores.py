#!/usr/bin/env python3
"""e2e_cores.py: ELF cores of goroutines, opened by gdb."""
import os
import re
import shutil
import subprocess
import sys

from harness import Daemon, counts, gdb_program, main, until

MODULE = r"""
#include <grasp/goroutine.h>

struct place { int x; const char *name; };
static volatile struct place here = {1, "start"};
static struct gr_chan *never;

__attribute__((noinline)) static int wait_deep(int depth)
{
    int result = depth ? wait_deep(depth - 1) : gr_chan_recv(never, &result);
    __asm__ volatile("" ::: "memory");
    return result;
}

static int deep(const char *args)
{
    if (!never)
        never = gr_chan_create(sizeof(int), 0);
    here.x = 42;
    here.name = "the deep one";
    return wait_deep(20);
}
GR_ENTRY("deep", deep, "Waits 20 calls deep");

static int zeroed(const char *args)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                         "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#endif
    for (;;)
        here.x++;
}
GR_ENTRY("zeroed", zeroed, "Runs with all vector registers 0");
"""


def gdb(daemon, core, *commands):
    arguments = [GDB, "-nx", "-batch", "-iex", "set debuginfod enabled off"]
    for command in commands:
        arguments += ["-ex", command]
    arguments += [os.path.join(Daemon.programs, "graspd"), core]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False,
                         env={"PATH": "/usr/bin:/bin", "HOME": daemon.dir})
    assert run.returncode == 0, run.stderr
    return run.stdout


def fetch(daemon, client, target):
    answer = client.want(200, "GET", target)
    assert answer.body[:4] == b"\x7fELF" and answer.headers["Content-Type"] == "application/x-core", answer
    path = daemon.path("core")
    with open(path, "wb") as file:
        file.write(answer.body)
    return path, answer


def backtraces(text):
    """{goroutine: its lines} of thread apply all bt."""
    found = {}
    for part in re.split(r"^Thread ", text, flags=re.M)[1:]:
        lwp = int(re.match(r"\d+ \(LWP (\d+)\)", part).group(1))
        found[lwp] = [line for line in part.splitlines()[1:] if line.startswith("#")]
    return found


def waits(client, goroutine):
    until(lambda: client.state(goroutine) == "waiting", f"goroutine {goroutine} waits")


def build_module(daemon):
    folder = daemon.path("modules")
    os.makedirs(folder, exist_ok=True)
    with open(daemon.path("deep.c"), "w") as file:
        file.write(MODULE)
    subprocess.run([os.path.join(Daemon.bin, "grasp-cc"), "-O1", "-g", "-fno-optimize-sibling-calls", "-o",
                    os.path.join(folder, "deep.so"), daemon.path("deep.c")], check=True)
    for name in ("hog", "deadlock"):
        shutil.copy(os.path.join(Daemon.modules, f"{name}.so"), folder)
    return folder


class CoreDaemon:
    """A daemon with a module of our own besides hog and deadlock."""

    def __enter__(self):
        self.place = Daemon(modules=False)
        self.place.__enter__()
        folder = build_module(self.place)
        self.daemon = Daemon("--modules", folder, modules=False)
        self.daemon.__enter__()
        return self.daemon

    def __exit__(self, *failure):
        self.daemon.__exit__(*failure)
        self.place.__exit__(*failure)


def a_core_of_one_goroutine_has_its_stack_and_nothing_is_held():
    with CoreDaemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        g = client.spawn("hog", "scalar", {"counter": path})
        counts(path)
        core, answer = fetch(daemon, client, f"/v1/goroutines/{g}/core")
        assert answer.headers["Grasp-Goroutines"] == "1" and answer.headers["Grasp-Missing"] == "0"
        assert client.get(f"/v1/goroutines/{g}")["holds"] == 0
        counts(path)
        found = backtraces(gdb(daemon, core, "thread apply all bt"))
        assert list(found) == [g], found
        assert " scalar (" in "\n".join(found[g]) and "arch_goroutine_start" in found[g][-1], found
        client.want(404, "GET", "/v1/goroutines/999999/core", code="not-found")
        client.want(400, "GET", f"/v1/goroutines/{g}/core?datum=1", code="unknown-parameter")
        dead = client.spawn("deadlock", "channel")
        client.want(202, "DELETE", f"/v1/goroutines/{dead}")
        client.wait_dead(dead)
        client.want(410, "GET", f"/v1/goroutines/{dead}/core", code="goroutine-dead")


def a_core_of_all_has_every_backtrace_and_with_data_the_globals():
    with CoreDaemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        spinner = client.spawn("hog", "scalar", {"counter": path})
        caller = client.spawn("hog", "calls", {"counter": path + "2"})
        deep = client.spawn("deep", "deep")
        left = client.spawn("deadlock", "cycle")
        counts(path)
        waits(client, deep)
        waits(client, left)
        live = {g["id"] for g in client.get("/v1/goroutines?state=live")["items"]}
        core, answer = fetch(daemon, client, "/debug/core?all=1&data=1")
        counts(path)
        text = gdb(daemon, core, "info threads", "thread apply all bt", "print here.x", "print here.name",
                   "print gri_sched.procs > 0")
        threads = {int(i) for i in re.findall(r"^[* ] +\d+ +LWP (\d+) ", text, re.M)}
        assert threads == live and len(live) == 5, (threads, live)
        found = backtraces(text)
        assert set(found) == live, found
        for g, lines in found.items():
            assert "arch_goroutine_start" in lines[-1], (g, lines)
            assert not any("?? ()" in line for line in lines), (g, lines)
        assert " scalar (" in "\n".join(found[spinner]) and " calls (" in "\n".join(found[caller]), found
        assert sum(" wait_deep (" in line for line in found[deep]) == 21, found[deep]
        assert re.search(r"wait_deep \(depth=(depth@entry=)?7\)", "\n".join(found[deep])), found[deep]
        assert " take_both (" in "\n".join(found[left]), found[left]
        assert re.search(r"^\$1 = 42$", text, re.M) and '"the deep one"' in text, text
        assert re.search(r"^\$3 = 1$", text, re.M), text
        assert int(answer.headers["Grasp-Goroutines"]) == 5, answer.headers


def gdb_bytes(text):
    """{what gdb printed as $N: its bytes}, of `print/x` of arrays of bytes."""
    found = re.findall(r"^\$(\d+) = \{([^}]*)\}$", text, re.M)
    return {int(n): bytes(int(b, 16) for b in values.split(",")) for n, values in found}


def stopped_with_vectors(client, goroutine):
    """Suspends it until it stops where vector registers are saved (not at a call); they, as a snapshot has them."""
    while True:
        client.want(200, "POST", f"/v1/goroutines/{goroutine}/suspend", {"lease_ms": 600000})
        vectors = client.get(f"/v1/goroutines/{goroutine}/snapshot?vectors=1")["vectors"]
        if vectors:
            return vectors
        client.want(200, "POST", f"/v1/goroutines/{goroutine}/resume")


def vector_registers_are_those_of_the_stop():
    # What gdb calls a register, the array of its bytes, and the registers whose low bytes these are in a snapshot.
    views = [("xmm{}", "v16_int8", 16), ("ymm{}", "v32_int8", 16), ("zmm{}", "v64_int8", 32), ("v{}", "b.u", 32)]
    with CoreDaemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        g = client.spawn("hog", "simd", {"counter": path, "stretch": 0}, labels={"pick": "me"})
        waiting = client.spawn("deep", "deep", labels={"pick": "me"})
        counts(path)
        waits(client, waiting)
        vectors = stopped_with_vectors(client, g)
        wide = {int(re.sub(r"\D", "", name)): bytes.fromhex(value) for name, value in vectors.items()
                if re.fullmatch(r"[xyz]mm\d+|[qz]\d+", name)}
        assert any(any(value) for value in wide.values()), vectors
        core, _ = fetch(daemon, client, "/debug/core?selector=pick%3Dme")
        setup = ["set print repeats unlimited", "set print elements unlimited", "set max-value-size unlimited"]
        threads = gdb(daemon, core, "info threads")
        number = {int(lwp): n for n, lwp in re.findall(r"^[* ] +(\d+) +LWP (\d+) ", threads, re.M)}
        seen = 0
        for name, member, count in views:
            numbers = [i for i in range(count) if i in wide]
            text = gdb(daemon, core, *setup, f"thread {number[g]}",
                       *[f"print/x ${name.format(i)}.{member}" for i in numbers], "echo done")
            got = gdb_bytes(text)
            if not got:
                continue  # gdb's architecture, or this processor, has no such register
            for k, i in enumerate(numbers):
                assert got[k + 1] == wide[i][:len(got[k + 1])], (name, i, got[k + 1].hex(), wide[i].hex())
                seen += 1
        assert seen >= len(wide), (seen, sorted(wide))
        if "mxcsr" in vectors:
            text = gdb(daemon, core, f"thread {number[g]}", "print/x $mxcsr", "print/x $fctrl", "print $ftag")
            assert int(re.search(r"\$1 = .*?(0x[0-9a-f]+|\{.*\})", text).group(1), 16) \
                == int.from_bytes(bytes.fromhex(vectors["mxcsr"]), "little"), text
            assert "$2 = 0x37f" in text, text
        # One that was stopped at a call has none: gdb does not invent them.
        text = gdb(daemon, core, f"thread {number[waiting]}", "print $xmm0" if "mxcsr" in vectors else "print $v0", "bt")
        assert "<unavailable>" in text and " wait_deep (" in text, text


def control_words_are_those_of_a_start_where_no_vector_was_used():
    with CoreDaemon() as daemon:
        client = daemon.client()
        g = client.spawn("deep", "zeroed")
        for _ in range(20):  # XSAVEC leaves what was in the area before
            vectors = stopped_with_vectors(client, g)
            if "mxcsr" not in vectors:
                return
            assert (vectors["mxcsr"], vectors["fcw"]) == ("801f0000", "7f03"), vectors
            client.want(200, "POST", f"/v1/goroutines/{g}/resume")


def a_selection_is_cut_at_one_moment():
    with CoreDaemon() as daemon:
        client, path = daemon.client(), daemon.path("counter")
        chosen = [client.spawn("deep", "deep", labels={"pick": "me"}) for _ in range(3)]
        client.spawn("hog", "scalar", {"counter": path})
        for g in chosen:
            waits(client, g)
        core, _ = fetch(daemon, client, "/debug/core?selector=pick%3Dme")
        assert set(backtraces(gdb(daemon, core, "thread apply all bt"))) == set(chosen)
        fetch(daemon, client, "/debug/core?module=deep&timeout_ms=5000")
        fetch(daemon, client, f"/debug/core?root={chosen[0]}")
        client.want(400, "GET", "/debug/core", code="bad-request")
        client.want(400, "GET", "/debug/core?all=1&module=deep", code="bad-request")
        client.want(404, "GET", "/debug/core?module=none", code="nothing-selected")
        assert all(client.get(f"/v1/goroutines/{g}")["holds"] == 0 for g in chosen)


def thousands_of_goroutines_are_one_core():
    with CoreDaemon() as daemon:
        client = daemon.client()
        client.spawn("deep", "deep", count=3000)
        until(lambda: client.get("/v1/runtime")["goroutines"]["waiting"] == 3000, "all wait")
        core, answer = fetch(daemon, client, "/debug/core?all=1")
        assert answer.headers["Grasp-Goroutines"] == "3000", answer.headers
        text = gdb(daemon, core, "info threads", "thread 2000", "bt")
        assert len(re.findall(r"^[* ] +\d+ +LWP \d+ ", text, re.M)) == 3000
        assert text.count(" wait_deep (") >= 21 and "arch_goroutine_start" in text


GDB = gdb_program()
if not GDB:
    sys.exit(77)
main([a_core_of_one_goroutine_has_its_stack_and_nothing_is_held,
      a_core_of_all_has_every_backtrace_and_with_data_the_globals, vector_registers_are_those_of_the_stop,
      control_words_are_those_of_a_start_where_no_vector_was_used, a_selection_is_cut_at_one_moment,
      thousands_of_goroutines_are_one_core])
