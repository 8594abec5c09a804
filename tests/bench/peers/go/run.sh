#!/bin/bash
# go/run.sh PART...: Go's own runtime. GO names the toolchain. Parts: suspend switch sleep memory fairness
# inspect, build (only build; prints the program's name). JSON lines on stdout.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
GO=${GO:-go}
bin=${BENCH_BIN:-${TMPDIR:-/tmp}/grasp-bench-bin}
command -v "$GO" >/dev/null || { echo "go: $GO is not installed, skipped" >&2; exit 0; }
mkdir -p "$bin" || exit 2
export GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off
program=$bin/$("$GO" env GOVERSION)
# Since Go 1.23 the linker refuses linknames into the runtime unless it is told otherwise.
flags=
"$GO" tool link -h 2>&1 | grep -q checklinkname && flags=-checklinkname=0
"$GO" build -ldflags="$flags" -o "$program" . || exit 1
for part; do
    if [ "$part" = build ]; then
        echo "$program"
        continue
    fi
    timeout 300 "$program" "$part" || echo "go $part: exit $?" >&2
    # The prologue's check alone, for comparison with our entry check.
    if [ "$part" = suspend ]; then
        GODEBUG=asyncpreemptoff=1 timeout 180 "$program" suspend-sync ||
            echo "go suspend-sync: exit $?" >&2
    fi
done
exit 0
