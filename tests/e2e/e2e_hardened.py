#!/usr/bin/env python3
"""e2e_hardened.py: no memory may become executable (systemd's MemoryDenyWriteExecute), kernels without guard regions."""
import ctypes
import sys

from harness import Daemon, emulator, hog, main, standing_still

PR_SET_MDWE = 65
PR_MDWE_REFUSE_EXEC_GAIN = 1
SKIP = 77

# qemu-user translates code into memory that it then makes executable: "mprotect of jit buffer: Permission denied".
if emulator():
    print("skipped: an emulator needs memory that becomes executable")
    sys.exit(SKIP)

# Inherited by every daemon that this program starts.
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    print("skipped: this kernel has no PR_SET_MDWE (6.3)")
    sys.exit(SKIP)


def hold_one(*flags):
    with hog(*flags) as (daemon, client, goroutine, path):
        held = client.want(200, "POST", f"/v1/goroutines/{goroutine}/suspend").json
        assert held["safepoint"] == "async", held
        standing_still(path)
        snapshot = client.get(f"/v1/goroutines/{goroutine}/snapshot")
        assert any((f["file"] or "").endswith("hog.c") for f in snapshot["frames"]), snapshot
        with open(f"/proc/{daemon.process.pid}/maps") as maps:
            assert not [line for line in maps if line.split()[1].startswith("rwx")]


def stops_are_taken_though_no_memory_may_become_executable():
    hold_one()


def a_kernel_without_guard_regions_will_do():
    hold_one("--stack-guard=mprotect")


def without_any_guard_it_says_so():
    with Daemon("--unguarded-stacks") as daemon:
        client = daemon.client()
        client.wait_dead(client.spawn("pipeline", "sieve", {"primes": 10}))
        assert "unguarded" in client.want(200, "GET", "/metrics").text


main([
    stops_are_taken_though_no_memory_may_become_executable,
    a_kernel_without_guard_regions_will_do,
    without_any_guard_it_says_so,
])
