#!/usr/bin/env python3
"""check.py: the kernels of the protocol, in the very headers of core, against the memory model of C11.

usage: check.py CORE [--cc CC]

With GenMC ($GENMC, or genmc in the path) every kernel is explored exhaustively under RC11 and under IMM, which allows what arm64
may do and RC11 does not; and each order in the headers is weakened in turn: the checker must find every one, so that none is
stronger than it need be. Without GenMC the kernels run on this machine, some hundred times, and
what that shows is little.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# header: (its program, the ways it is compiled)
KERNELS = {
    "ring.h": ("ring.c", ((),)),
    "handshake.h": ("handshake.c", ((), ("-DNO_RESET",))),
    "waiting.h": ("waiting.c", (("-DHOLDER",), ("-DNO_WAKER",), ("-DCAREFUL",), ("-DCAREFUL", "-DNO_WAKER"),
                                  ("-DFOLDER",), ("-DTWICE",))),
    "id_chain.h": ("id_chain.c", (("-DLOOK_FOR=1",), ("-DLOOK_FOR=3",), ("-DLOOK_FOR=3", "-DKNOWN"), ("-DLOOK_FOR=2", "-DTWO"),
                                  ("-DLOOK_FOR=3", "-DTWO", "-DKNOWN"), ("-DLOOK_FOR=2", "-DTWO", "-DLOCKED"),
                                  ("-DLOOK_FOR=2", "-DTWO", "-DLOCKED", "-DLATER"))),
}
MODELS = ("rc11", "imm")
ROUNDS = 500
WEAKER = {"acquire": ("relaxed",), "release": ("relaxed",), "acq_rel": ("acquire", "release")}


def weaker(kind, statement):
    if kind != "seq_cst":
        return WEAKER[kind]
    return ("release",) if "_store_" in statement else ("acquire",) if "_load_" in statement else ("acq_rel",)


def mutants(text):
    """(which order, line, stronger, weaker, text) for each order that can be weakened."""
    code = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    for number, m in enumerate(re.finditer(r"memory_order_(acquire|release|acq_rel|seq_cst)", code)):
        statement = code[max(code.rfind(c, 0, m.start()) for c in ";{}"):m.end()]
        for to in weaker(m.group(1), statement):
            yield (number, code.count("\n", 0, m.start()) + 1, m.group(1), to,
                   text[:m.start()] + "memory_order_" + to + text[m.end():])


def explore(genmc, model, flags, include, program):
    """None: no error; else what was found."""
    run = subprocess.run([genmc, "--" + model, "--disable-estimation", "--disable-ipr", "--disable-sr", "--disable-bam", "--unroll=5", "--", *flags, f"-I{include}",
                          str(HERE / program)], capture_output=True, text=True, timeout=600, check=False)
    if run.returncode == 0 and "No errors were detected" in run.stdout + run.stderr:
        return None
    if not re.search(r"Assertion violation|race", run.stdout + run.stderr):
        raise RuntimeError(f"{genmc} did not decide: {run.stdout}{run.stderr}")
    return run.stdout + run.stderr


def with_genmc(genmc, core):
    failed = 0
    for header, (program, variants) in KERNELS.items():
        for model in MODELS:
            for flags in variants:
                found = explore(genmc, model, flags, core, program)
                failed += found is not None
                print(f"{header} {model} {' '.join(flags)}: {'no error' if found is None else 'FAILED' + chr(10) + found}")
        with tempfile.TemporaryDirectory() as folder:
            for number, line, old, new, text in mutants((core / header).read_text()):
                (pathlib.Path(folder) / header).write_text(text)
                by = [model for model in MODELS for flags in variants
                      if explore(genmc, model, flags, folder, program) is not None]
                failed += not by
                print(f"{header}:{line} {old} -> {new}: {'found by ' + by[0] if by else 'NOT FOUND'}")
    return failed


def natively(cc, core):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for program, variants in KERNELS.values():
            for flags in variants:
                binary = os.path.join(folder, "kernel")
                subprocess.run([cc, "-std=gnu11", "-O2", "-pthread", *flags, f"-I{core}", str(HERE / program), "-o", binary],
                               check=True)
                wrong = sum(subprocess.run([binary], check=False).returncode != 0 for _ in range(ROUNDS))
                failed += wrong > 0
                print(f"{program} {' '.join(flags)}: {ROUNDS} runs on this machine, {wrong} wrong")
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("core", type=pathlib.Path)
    parser.add_argument("--cc", default="cc")
    options = parser.parse_args()
    genmc = os.environ.get("GENMC") or shutil.which("genmc")
    if genmc:
        return 1 if with_genmc(genmc, options.core) else 0
    print("GenMC is not installed: the kernels are run, not explored")
    return 1 if natively(options.cc, options.core) else 0


if __name__ == "__main__":
    sys.exit(main())
