"""step.py: gdb walks through every instruction of our assembly and asks for the backtrace at each.

Run by step.sh inside gdb, over stepped.c with the entry that STEP_CASE names:

  spin     arch_async_preempt, the injected call: the frame above must be the interrupted instruction itself
  calls    a function's entry check that fails: __gr_slow, arch_entry_slow, and back behind the check
  imports  both sorts of import stubs with their slow path, errno and the pin, up to libc's function

In each, from the innermost frame of the module on the names must be right, and the outermost must be the
goroutine's start. A pinning stub replaces the return address; from there on gdb, which reads the live stack, must
say so by ending at arch_foreign_return (docs/caveats.md).

On arm64 gdb (13, at least) takes x30 for the return address in the slow path of a check, where the unwind data name x17: it
passes over the function whose check it is, and finds all that called it. And the injected call itself has no unwind
data, as it must (arch/arm64/caught.S). Both count as cut, there and nowhere else. libdw, by which the daemon unwinds, takes
what the data say (test_held.c). A step over the svc that goes back to the interrupted code ends behind the instruction that
is next there.
"""
import os

import gdb

ROUNDS = 3
INSTRUCTIONS_MAX = 400
# In the kernel's signal frame of arm64: siginfo, ucontext up to its registers, the fault's address, x0 to x30, sp.
KERNEL_PC = 128 + 176 + 8 + 31 * 8 + 8
CHECK_BYTES = 24  # an entry check of arm64
C_CODE = ("arch_on_async", "arch_on_check", "arch_async_landed")
START = "arch_goroutine_start"
CASE = os.environ["STEP_CASE"]
# Where an emulator that holds the program waits for gdb; unset: gdb starts it.
REMOTE = os.environ.get("STEP_REMOTE")
counts = {"right": 0, "cut": 0, "wrong": 0}
visited = {}


def frames():
    """(function, pc) of the real frames, innermost first."""
    found, frame = [], gdb.newest_frame()
    while frame is not None and len(found) < 40:
        if frame.type() != gdb.INLINE_FRAME:
            found.append((frame.name(), frame.pc()))
        frame = frame.older()
    return found


def is_arm64():
    return gdb.newest_frame().architecture().name() == "aarch64"


def instruction():
    frame = gdb.newest_frame()
    return frame.architecture().disassemble(frame.pc())[0]


def run_to_next(here):
    """Goes on to the instruction behind, by a breakpoint there."""
    gdb.execute("tbreak *0x%x" % (here["addr"] + here["length"]), to_string=True)
    gdb.execute("continue", to_string=True)


def pass_call(here, entry):
    """Lets everything run until the goroutine comes back from C."""
    gdb.execute("set scheduler-locking off")
    entry.enabled = False
    run_to_next(here)
    entry.enabled = True
    gdb.execute("set scheduler-locking on")


def step(entry):
    here = instruction()
    if here["asm"].startswith(("call", "bl\t")) and any(name in here["asm"] for name in C_CODE):
        pass_call(here, entry)
    elif here["asm"].startswith(("pushf", "popf")):
        # Stepping sets the trap flag, which these would save or load.
        run_to_next(here)
    else:
        gdb.execute("stepi", to_string=True)


def count(now, what):
    counts[what] += 1
    visited[now[0][0]] = visited.get(now[0][0], 0) + 1
    if what == "wrong":
        print("WRONG at 0x%x: %s" % (now[0][1], now[:6]))


def poison():
    gdb.execute("set var *(unsigned long *)gri_sched.m[0]->guard = -1", to_string=True)


def walk_injected(entry):
    """From the first instruction of arch_async_preempt until it has been left."""
    interrupted = int(gdb.parse_and_eval("*(unsigned long *)($sp + %d)" % (KERNEL_PC if is_arm64() else 0)))
    for _ in range(INSTRUCTIONS_MAX):
        now = frames()
        if now[0][0] != "arch_async_preempt":
            break
        if len(now) >= 3 and now[1] == ("spin_loop", interrupted) and now[-1][0] == START:
            count(now, "right")
        else:
            count(now, "cut" if "arch_async_landed" in instruction()["asm"] else "wrong")
        step(entry)
    now = frames()
    if is_arm64():
        back = [name for name, _ in now[:2]] == ["spin_loop", "spin"]
    else:
        back = now[0] == ("spin_loop", interrupted)
    if not back:
        count(now, "wrong")


def chain_is_right(now, ours, chain):
    """The innermost frames are `ours`, then come `chain` and at last the goroutine's start."""
    names = [name for name, _ in now]
    while names and names[0] in ours:
        names.pop(0)
    return names[:len(chain)] == chain and names[-1] == START


SLOW_CODE = ("__gr_slow", "arch_entry_slow")


def walk_check(entry):
    """From the first instruction of a function whose check fails until it is behind the check."""
    poison()
    been_away = False
    for _ in range(INSTRUCTIONS_MAX):
        now = frames()
        if now[0][0] == "called" and been_away:
            return
        been_away = been_away or now[0][0] != "called"
        if chain_is_right(now, SLOW_CODE, ["called", "call_loop", "calls"]):
            count(now, "right")
        elif is_arm64() and now[0][0] in SLOW_CODE and chain_is_right(now, SLOW_CODE, ["call_loop", "calls"]):
            count(now, "cut")
        else:
            count(now, "wrong")
        step(entry)
    count(frames(), "wrong")


STUB_CODE = ("arch_stubs", "arch_pin_stubs", "arch_stub_slow", "arch_stub_errno", "arch_stub_pin")


def walk_stub(entry, caller):
    """From the call in `caller` through the stub to libc."""
    for _ in range(INSTRUCTIONS_MAX):
        if frames()[0][0] in ("arch_stubs", "arch_pin_stubs"):
            break
        step(entry)
    poison()
    for _ in range(INSTRUCTIONS_MAX):
        now = frames()
        if now[0][0] not in STUB_CODE:
            return
        if chain_is_right(now, STUB_CODE, [caller, "import_loop", "imports"]):
            count(now, "right")
        elif now[-1][0] == "arch_foreign_return" and all(name in STUB_CODE for name, _ in now[:-1]):
            count(now, "cut" if caller == "pinning_call" else "wrong")
        else:
            count(now, "wrong")
        step(entry)
    count(frames(), "wrong")


def run_rounds(entry, walk, *args):
    for done in range(ROUNDS):
        gdb.execute("continue", to_string=True)
        gdb.execute("set scheduler-locking on")
        walk(entry, *args)
        gdb.execute("set scheduler-locking off")
    entry.enabled = False


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set debuginfod enabled off")
gdb.execute("handle SIGURG nostop noprint pass", to_string=True)
gdb.execute("tbreak main", to_string=True)
if REMOTE:
    gdb.execute("set sysroot /")
    gdb.execute("target remote %s" % REMOTE, to_string=True)
    gdb.execute("continue", to_string=True)
else:
    gdb.execute("run %s" % CASE, to_string=True)
# By then the module is loaded, and its functions have addresses.
gdb.execute("tbreak gr_spawn", to_string=True)
gdb.execute("continue", to_string=True)
if CASE == "spin":
    run_rounds(gdb.Breakpoint("*arch_async_preempt"), walk_injected)
    wanted = ["arch_async_preempt"]
elif CASE == "calls":
    # What the debug information takes for the function's start is behind the check on arm64.
    run_rounds(gdb.Breakpoint("*((char *)called - %d)" % (CHECK_BYTES if is_arm64() else 0)), walk_check)
    wanted = ["called", "__gr_slow", "arch_entry_slow"]
else:
    for function in ("plain_call", "pinning_call"):
        run_rounds(gdb.Breakpoint("*%s" % function), walk_stub, function)
    wanted = list(STUB_CODE)
missing = [name for name in wanted if name not in visited]
print("visited: %s" % visited)
if missing:
    print("MISSING: %s" % missing)
    counts["wrong"] += 1
print("step %s: %d right, %d cut, %d wrong" % (CASE, counts["right"], counts["cut"], counts["wrong"]))
