"""gdb_client.py: a gdb that is fed command by command, and the modules that the gdb tests look at."""
import os
import re
import shutil
import subprocess
import sys
import threading

from harness import Daemon, HANG_SECONDS, gdb_program

# A goroutine that waits inside a call-back of qsort: foreign code is below it.
SORTER = r"""
#include <stdlib.h>
#include <grasp/goroutine.h>

static struct gr_chan *never;

static int compare_slowly(const void *a, const void *b)
{
    gr_chan_recv(never, NULL);
    return *(const int *)a - *(const int *)b;
}

static int sort_main(const char *args)
{
    int numbers[2] = {2, 1};
    (void)args;
    never = gr_chan_create(0, 0);
    qsort(numbers, 2, sizeof numbers[0], compare_slowly);
    return numbers[0];
}
GR_ENTRY("sort", sort_main, "Waits in a call-back of qsort until it is cancelled");
"""

GDB = gdb_program()
if not GDB:
    sys.exit(77)


def graspd():
    return os.path.join(Daemon.programs, "graspd")


def sorter_in(folder):
    """A directory of modules with the example ones and the sorter."""
    modules = os.path.join(folder, "modules")
    shutil.copytree(Daemon.modules, modules)
    source = os.path.join(folder, "sorter.c")
    with open(source, "w") as file:
        file.write(SORTER)
    subprocess.run([os.path.join(Daemon.bin, "grasp-cc"), "-O2", "-g", "-o", os.path.join(modules, "sorter.so"), source],
                   check=True, timeout=120)
    return modules


def sorter_is_right(trace):
    """compare_slowly, qsort's own frames, sort_main, goroutine_main: in this order, and nothing unknown in the modules."""
    order = [re.search(rf"^#(\d+) .*\b{name} \(", trace, re.M) for name in ("compare_slowly", "sort_main", "goroutine_main")]
    assert all(order), trace
    numbers = [int(found[1]) for found in order]
    assert numbers == sorted(numbers) and numbers[1] - numbers[0] >= 2, trace


class Gdb:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [GDB, "-nx", "-q", "-iex", "set pagination off", "-iex", "set confirm off", "-iex", "set sysroot /",
             "-iex", "set width 0", "-iex", "set debuginfod enabled off", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.timer = threading.Timer(4 * HANG_SECONDS, self.process.kill)  # a hang becomes an end of file
        self.timer.start()
        self.marks = 0

    def ask(self, command):
        """What gdb says to a command."""
        self.marks += 1
        mark = f"---{self.marks}---"
        self.process.stdin.write(f"{command}\necho {mark}\\n\n")
        self.process.stdin.flush()
        said = ""
        while not said.endswith(mark + "\n"):
            line = self.process.stdout.readline()
            assert line, f"gdb ended after {command!r}: {said}"
            said += line
        return said[:-len(mark) - 1].replace("(gdb) ", "")

    def quit(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()
        self.process.wait(HANG_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.timer.cancel()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_SECONDS)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()
