#!/bin/bash
# step.sh: runs step.py in gdb over the program $1 for the case $2; at least $3 instructions must have been right.
# Exit 77: no gdb, or it may not trace.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v gdb >/dev/null; then
    echo "SKIPPED: gdb is not installed (Debian: apt-get install gdb)" >&2
    exit 77
fi
if ! gdb -nx -batch -ex 'run' --args true 2>/dev/null | grep -q 'exited normally'; then
    echo "SKIPPED: gdb cannot trace a process here (ptrace is not permitted)" >&2
    exit 77
fi
output=$(STEP_CASE=$2 timeout 300 gdb -nx -batch -x "$here/step.py" --args "$1" 2>&1)
printf '%s\n' "$output" | tail -20
right=$(sed -n "s/^step $2: \([0-9]*\) right, [0-9]* cut, 0 wrong\$/\1/p" <<<"$output")
[ -n "$right" ] && [ "$right" -ge "$3" ]
