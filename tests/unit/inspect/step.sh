#!/bin/bash
# step.sh: runs step.py in gdb over the program $1 for the case $2; at least $3 instructions must have been right.
# $4: the emulator that runs it, in which gdb looks by its stub.
# Exit 77: no gdb, or it may not trace.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1 case=$2 least=$3 emulator=${4:-} gdb=gdb
[ -z "$emulator" ] || gdb=gdb-multiarch
if ! command -v $gdb >/dev/null; then
    echo "SKIPPED: $gdb is not installed (Debian: apt-get install $gdb)" >&2
    exit 77
fi
export STEP_CASE=$case
if [ -n "$emulator" ]; then
    folder=$(mktemp -d)
    export STEP_REMOTE=$folder/gdb
    # Without SVE: gdb 13 refuses qemu's signal frames with it ("Invalid vector length in signal frame").
    "$emulator" -cpu neoverse-n1 -g "$STEP_REMOTE" "$program" "$case" &
    emulated=$!
    trap 'kill $emulated 2>/dev/null; rm -rf "$folder"' EXIT
    until [ -S "$STEP_REMOTE" ]; do
        kill -0 $emulated 2>/dev/null || { echo "$emulator has ended before gdb came" >&2; exit 1; }
        sleep 0.05
    done
elif ! gdb -nx -batch -ex 'run' --args true 2>/dev/null | grep -q 'exited normally'; then
    echo "SKIPPED: gdb cannot trace a process here (ptrace is not permitted)" >&2
    exit 77
fi
output=$(timeout 300 $gdb -nx -batch -x "$here/step.py" "$program" 2>&1)
printf '%s\n' "$output" | tail -20
right=$(sed -n "s/^step $case: \([0-9]*\) right, [0-9]* cut, 0 wrong\$/\1/p" <<<"$output")
[ -n "$right" ] && [ "$right" -ge "$least" ]
