"""grasp-gdb.py: goroutines in a gdb that has the whole process, or a core file of it.

    (gdb) source grasp-gdb.py
    (gdb) info goroutines            every goroutine: state, holds, what it waits for, where it is
    (gdb) goroutine 7 bt             a backtrace of goroutine 7; `bt N` shows N frames at most
    (gdb) goroutine all bt           of each
    (gdb) goroutine 7 info locals    any command, in the goroutine's innermost frame

Everything is read from memory by the tables gr_debug_layout and arch_debug_layout of libgrasp: debug information of
libgrasp is not needed, and a core of a stripped daemon will do. A goroutine that runs is its thread's; one that does not is
shown to gdb as the caller of what the selected thread does, because registers of a core can't be set. The stack of a folded
goroutine lies in a block on the heap, where gdb can't unwind it: only its innermost function is shown.

To look at single goroutines of a process that goes on serving, use gdb's remote protocol instead (docs/gdb.md).
"""
import struct

import gdb
from gdb.unwinder import Unwinder

PAIR = struct.Struct("<24sQ")
PAIRS_MAX = 1000


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def half(address):
    return struct.unpack("<I", read(address, 4))[0]


def text(address, size):
    return read(address, size).split(b"\0", 1)[0].decode("utf-8", "replace")


def pairs(address):
    """A table of names and numbers, up to the nameless one."""
    found = {}
    for _ in range(PAIRS_MAX):
        name, value = PAIR.unpack(read(address, PAIR.size))
        name = name.split(b"\0", 1)[0].decode()
        if not name:
            return found
        found[name] = value
        address += PAIR.size
    raise gdb.GdbError("the table of libgrasp does not end: is this the program that made the core?")


class Layout:
    """Where things are in this process."""

    def __init__(self):
        try:
            address = int(gdb.parse_and_eval("(unsigned long)&gr_debug_layout"))
        except gdb.error:
            raise gdb.GdbError("there is no gr_debug_layout: this program does not use libgrasp, or its symbols "
                               "are not loaded") from None
        self.table = pairs(address)
        if self.table.get("version") != 1:
            raise gdb.GdbError("this libgrasp wants another grasp-gdb.py than this one")
        self.arch = pairs(self.table["arch"])
        self.states = self.names("state.")
        self.waits = self.names("wait.")

    def names(self, prefix):
        return {value: name[len(prefix):] for name, value in self.table.items() if name.startswith(prefix)}

    def __getitem__(self, name):
        return self.table[name]


class Goroutine:
    def __init__(self, layout, address):
        self.layout, self.address = layout, address
        self.word = word(address + layout["g.word"])
        state_bits, hold_bits = layout["word.state_bits"], layout["word.hold_bits"]
        self.state = layout.states.get(self.word & (1 << state_bits) - 1, "?")
        self.holds = self.word >> state_bits & (1 << hold_bits) - 1
        self.id = self.field("id")

    def field(self, name):
        return word(self.address + self.layout["g." + name])

    @property
    def lives(self):
        return self.state not in ("dead", "idle")

    @property
    def shown_state(self):
        return "waiting" if self.state.startswith("copystack") else self.state

    @property
    def name(self):
        return text(self.address + self.layout["g.name"], 64)

    @property
    def wait(self):
        reason = self.layout.waits.get(half(self.address + self.layout["g.wait_reason"]), "")
        if self.shown_state == "waiting" or self.state == "syscall" and reason.startswith("pthread"):
            address = self.field("wait_address")
            return f"{reason} {address:#x}" if address and reason not in ("select", "sleep", "poll") else reason
        return ""

    @property
    def folded(self):
        return self.field("folded")

    def thread(self):
        """The thread that it runs on, or None."""
        m = self.field("m")
        if self.state != "running" or not m:
            return None
        tid = half(m + self.layout["m.tid"])
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == tid:
                return thread
        return None

    def registers(self):
        """Saved registers by gdb's names, and whether pc is exact (not a return address)."""
        if self.state == "syscall":
            return self.saved(self.address + self.layout["g.ctx_syscall"], ("context.",)), False
        stop = half(self.address + self.layout["g.stop_kind"])
        if stop == self.layout["stop.call"]:
            base = self.field("ctx_sched")
            if not base:  # it has not run yet
                registers = self.saved(word(self.layout["first_frame"]), ("switch.",))
                registers["rsp" if pc_name() == "rip" else "sp"] = self.field("stack.hi")
                return registers, False
            registers = self.saved(self.folded or base, ("switch.",))
            if self.folded:  # the block is as if it lay at ctx_sched
                registers.update(self.saved(base, ("switch.+",)))
            return registers, False
        kinds = ("frame.", "async.") if stop == self.layout["stop.async"] else ("frame.",)
        return self.saved(self.field("stop_frame"), kinds), True

    def saved(self, base, kinds):
        registers = {}
        for kind in kinds:
            for name, offset in self.layout.arch.items():
                if not name.startswith(kind):
                    continue
                register = name[len(kind):] if not kind.endswith("+") else "+" + name[len(kind):]
                if register.startswith("+"):
                    registers[register[1:]] = base + offset
                elif not kind.endswith("+"):
                    registers[register] = word(base + offset)
        return registers

    def foreign_calls(self):
        """Of the calls of foreign code that are under way: where each return address lay, and what it was."""
        if self.folded:
            return []
        foreign = self.field("foreign")
        if not foreign:
            return []
        depth = word(foreign + self.layout["foreign.depth"])
        calls = foreign + self.layout["foreign.call"]
        return [(word(calls + 16 * i), word(calls + 16 * i + 8)) for i in range(min(depth, 64))]


def goroutines(layout):
    for block in range(half(layout["block_count"])):
        first = word(layout["blocks"] + 8 * block)
        for slot in range(layout["block_slots"]):
            g = Goroutine(layout, first + slot * layout["g.bytes"])
            if g.lives:
                yield g


def pc_name():
    return "rip" if gdb.selected_frame().architecture().name().startswith("i386") else "pc"


def function_at(pc):
    symbol = gdb.execute(f"info symbol {pc:#x}", to_string=True)
    return symbol.split(" in section", 1)[0].strip() if " in section" in symbol else f"{pc:#x}"


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class GoroutineUnwinder(Unwinder):
    """
    Makes a goroutine the caller of the thread's innermost function while `goroutine N …` runs, and finds the real return address where the
    runtime has put its own (calls of foreign code).
    """

    def __init__(self):
        super().__init__("grasp")
        self.registers = self.base = None
        self.slots = {}  # SP behind the slot: the real return address
        self.foreign_return = None
        self.callee_saved = ()

    def __call__(self, frame):
        if self.registers is None:
            return None
        pc, sp = (int(frame.read_register(name)) & (1 << 64) - 1 for name in (self.pc, self.sp))
        if (pc, sp) == self.base:
            return self.make(frame, self.registers, self.registers[self.sp] - 64)
        if pc != self.foreign_return or sp not in self.slots:
            return None
        registers = {self.pc: self.slots[sp], self.sp: sp}
        for name in self.callee_saved:
            registers[name] = int(frame.read_register(name)) & (1 << 64) - 1
        return self.make(frame, registers, sp)

    def make(self, frame, registers, stack):
        """`stack` and pc tell the frame from others; gdb wants `stack` to grow from frame to frame."""
        kind = gdb.lookup_type("unsigned long")
        info = frame.create_unwind_info(FrameId(gdb.Value(stack).cast(kind), frame.read_register(self.pc)))
        for name, value in registers.items():
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info

    def show(self, layout, g):
        """From now on the thread's innermost function seems to be called by g; None: no more."""
        self.registers = None
        gdb.invalidate_cached_frames()
        self.slots = {}
        self.foreign_return = layout.arch.get("foreign.return") if g else None
        self.pc = pc_name()
        self.sp = "rsp" if self.pc == "rip" else "sp"
        self.callee_saved = [name[len("context."):] for name in layout.arch
                             if name.startswith("context.") and name[len("context."):] not in (self.pc, self.sp)]
        exact = False
        if g:
            newest = gdb.newest_frame()
            self.base = tuple(int(newest.read_register(name)) & (1 << 64) - 1 for name in (self.pc, self.sp))
            above = layout.arch.get("foreign.+slot", 0)
            self.slots = {slot + above: real for slot, real in g.foreign_calls()}
            self.registers, exact = g.registers()
            # gdb looks up a caller's line and unwind rules by the byte before its pc.
            self.registers[self.pc] += exact
        gdb.invalidate_cached_frames()
        return exact


UNWINDER = GoroutineUnwinder()


def argument_block(frame):
    """The block that has the function's arguments."""
    try:
        block = frame.block()
    except RuntimeError:
        return ()
    while block is not None and block.function is None:
        block = block.superblock
    return block or ()


def describe(frame, number, exact):
    pc = frame.pc() - (1 if exact else 0)
    place = frame.find_sal()
    function = frame.function()
    line = f"#{number:<2} {pc:#018x} in {frame.name() or '??'} ("
    if function is not None:
        shown = []
        for symbol in argument_block(frame):
            if symbol.is_argument:
                try:
                    value = symbol.value(frame).format_string(max_elements=8, repeat_threshold=4)
                except (gdb.error, ValueError):
                    value = "…"
                shown.append(f"{symbol.print_name}={value}")
        line += ", ".join(shown)
    line += ")"
    if place.symtab:
        line += f" at {place.symtab.filename}:{place.line}"
    else:
        objfile = gdb.solib_name(pc)
        line += f" from {objfile}" if objfile else ""
    return line


def innermost_frame():
    """Of the goroutine that is shown: behind what is inlined into the thread's innermost function."""
    frame = gdb.newest_frame()
    while frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    return frame.older()


def backtrace(layout, exact, limit):
    frame, number = innermost_frame(), 0
    innermost = True
    while frame is not None and frame.is_valid() and number < limit:
        # The stand-in of a foreign call's return address is no call of the program's.
        if frame.pc() != layout.arch.get("foreign.return"):
            gdb.write(describe(frame, number, exact and innermost) + "\n")
            number += 1
        if frame.type() != gdb.INLINE_FRAME:
            innermost = False
        frame = frame.older()


class InfoGoroutines(gdb.Command):
    """Lists the goroutines of a process that uses Grasp: id, state, holds, function, what it waits for, name."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        layout = Layout()
        gdb.write(f"{'Id':>8}  {'State':<10} {'Holds':>5}  {'Function':<32} {'Waits for':<28} Name\n")
        for g in sorted(goroutines(layout), key=lambda g: g.id):
            place = ""
            if g.state != "running":
                place = function_at(g.registers()[0][pc_name()])
            elif g.thread():
                place = f"(thread {g.thread().num})"
            gdb.write(f"{g.id:>8}  {g.shown_state:<10} {g.holds:>5}  {place:<32} {g.wait:<28} {g.name}\n")


class GoroutineCommand(gdb.Command):
    """goroutine ID COMMAND: runs a command on a goroutine; `all` for ID: on each. bt shows its backtrace."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split(None, 1)
        if len(words) != 2 or not (words[0] == "all" or words[0].isdigit()):
            raise gdb.GdbError("usage: goroutine ID COMMAND, or goroutine all COMMAND; as: goroutine 7 bt")
        layout = Layout()
        chosen = [g for g in goroutines(layout) if words[0] == "all" or g.id == int(words[0])]
        if not chosen:
            raise gdb.GdbError("there is no such goroutine; info goroutines lists them" if words[0] != "all"
                               else "there are no goroutines")
        for g in sorted(chosen, key=lambda g: g.id):
            self.one(layout, g, words[1])

    @staticmethod
    def one(layout, g, command):
        wait = f": {g.wait}" if g.wait else ""
        gdb.write(f"goroutine {g.id} [{g.shown_state}{wait}] {g.name}:\n")
        if g.state == "running":
            thread, before = g.thread(), gdb.selected_thread()
            if thread is None:
                gdb.write("  it runs on a thread that is not here\n")
                return
            thread.switch()
            try:
                gdb.execute(command)
            finally:
                before.switch()
            return
        if g.folded:
            gdb.write(f"  in {function_at(g.registers()[0][pc_name()])}; its stack is folded (docs/gdb.md)\n")
            return
        exact = UNWINDER.show(layout, g)
        try:
            words = command.split()
            if words[0] in ("bt", "backtrace", "where") and (len(words) == 1 or words[1].isdigit()):
                backtrace(layout, exact, int(words[1]) if len(words) > 1 else 1 << 30)
            else:
                innermost_frame().select()
                gdb.execute(command)
        finally:
            UNWINDER.show(layout, None)


gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)
InfoGoroutines()
GoroutineCommand()
