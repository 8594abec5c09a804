#!/bin/bash
# c/run.sh PART...: the machine's floors, and pthreads. Parts: floors suspend switch sleep memory fairness,
# noise:WHEN (how much of the machine is ours), build (only build). JSON lines on stdout; programs go to
# BENCH_BIN.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
bin=${BENCH_BIN:-${TMPDIR:-/tmp}/grasp-bench-bin}
mkdir -p "$bin" || exit 2

build() { # PROGRAM SOURCE...
    local program=$1
    shift
    [ "$bin/$program" -nt "$1" ] && return
    "${CC:-cc}" -D_GNU_SOURCE -O2 -g -Wall -Wextra -pthread -o "$bin/$program" "$@"
}

for program in floors suspend threads noise http_canned; do
    build "c-$program" "$program.c" || exit 1
done
switch="switch_$(uname -m).S"
if [ -f "$switch" ]; then
    build c-switch switch.c "$switch" || exit 1
fi
run() {
    timeout 240 "$bin/$@" || echo "c/$1: exit $?" >&2
}
for part; do
    case $part in
    build) ;;
    floors)
        run c-floors
        [ -x "$bin/c-switch" ] && run c-switch
        ;;
    suspend) run c-suspend ;;
    noise:*) run c-noise "${part#noise:}" ;;
    *) run c-threads "$part" ;;
    esac
done
exit 0
