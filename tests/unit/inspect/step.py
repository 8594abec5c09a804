"""step.py: gdb walks through every instruction of an injected call and asks for the backtrace at each.

Run by step.sh inside gdb. At each instruction of arch_async_preempt, the frame above must be the interrupted
instruction itself, in the module's loop, and the outermost the goroutine's start. The save before the call
into C and the restore after it are both walked, three times.
"""
import gdb

ROUTINE = "arch_async_preempt"
ROUNDS = 3
INSTRUCTIONS_MAX = 200
counts = {"right": 0, "wrong": 0}


def frames():
    """(function, pc) of the real frames, innermost first."""
    found, frame = [], gdb.newest_frame()
    while frame is not None and len(found) < 40:
        if frame.type() != gdb.INLINE_FRAME:
            found.append((frame.name(), frame.pc()))
        frame = frame.older()
    return found


def judge(interrupted):
    """One backtrace; False once the routine has been left."""
    now = frames()
    if now[0][0] != ROUTINE:
        return False
    right = (len(now) >= 3 and now[1] == ("spin_loop", interrupted)
             and now[-1][0] == "arch_goroutine_start")
    counts["right" if right else "wrong"] += 1
    if not right:
        print("WRONG at 0x%x, interrupted 0x%x: %s" % (now[0][1], interrupted, now[:6]))
    return True


def instruction():
    frame = gdb.newest_frame()
    return frame.architecture().disassemble(frame.pc())[0]


def run_to_next(here):
    """Goes on to the instruction behind, by a breakpoint there."""
    gdb.execute("tbreak *0x%x" % (here["addr"] + here["length"]), to_string=True)
    gdb.execute("continue", to_string=True)


def pass_call(here):
    """Lets everything run until the goroutine comes back from C."""
    gdb.execute("set scheduler-locking off")
    ENTRY.enabled = False
    run_to_next(here)
    ENTRY.enabled = True
    gdb.execute("set scheduler-locking on")


def walk():
    interrupted = int(gdb.parse_and_eval("*(unsigned long *)$sp"))
    for _ in range(INSTRUCTIONS_MAX):
        if not judge(interrupted):
            break
        here = instruction()
        if here["asm"].startswith("call"):
            pass_call(here)
        elif here["asm"].startswith(("pushf", "popf")):
            # Stepping sets the trap flag, which these would save or load.
            run_to_next(here)
        else:
            gdb.execute("stepi", to_string=True)
    if frames()[0] != ("spin_loop", interrupted):
        counts["wrong"] += 1
        print("WRONG: returned to %s, interrupted 0x%x" % (frames()[0], interrupted))


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set debuginfod enabled off")
gdb.execute("handle SIGURG nostop noprint pass", to_string=True)
gdb.execute("tbreak main", to_string=True)
gdb.execute("run", to_string=True)
ENTRY = gdb.Breakpoint("*%s" % ROUTINE)
gdb.execute("continue", to_string=True)
for done in range(ROUNDS):
    gdb.execute("set scheduler-locking on")
    walk()
    gdb.execute("set scheduler-locking off")
    if done + 1 < ROUNDS:
        gdb.execute("continue", to_string=True)
print("step: %(right)d right, %(wrong)d wrong" % counts)
