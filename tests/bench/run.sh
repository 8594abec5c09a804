#!/bin/bash
# tests/bench/run.sh [quick|full|check] [OUT.jsonl]: our runtime, its peers and the machine's floors in one run.
#
#   quick   a minute or two: ours, the floors, Go. Samples divided by 30, two rounds.
#   full    every peer that is installed, all samples, three rounds; some 25 minutes.
#   check   ours and the floors with a few samples each, then: is every metric there? (what ctest runs)
#
# OUT.jsonl (default: bench-MODE.jsonl) gets one line for each metric and round, OUT.md the table,
# OUT.jsonl.log what the programs said on stderr, OUT.jsonl.meta the machine and versions. The table goes to
# stdout as well.
#
# Every part of a round runs the floor, ours and each peer one after the other, so that a busy moment does
# not hit one of them alone: compare columns of one table, not two tables.
#
#   BUILD=DIR     Grasp's build directory (default: build/release, built if need be)
#   GOS="go …"    Go toolchains (default: go on PATH, and Debian's in /usr/lib)
#   PEERS="…"     some of: go erlang node st
#   PARTS="…"     some of: suspend switch fairness sleep memory inspect http control
#   ROUNDS=N      instead of the mode's
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mode=${1:-quick} mode=${mode#--}
case $mode in
quick) divisor=30 rounds=2 default_peers=go default_parts="suspend switch fairness sleep memory http control" ;;
full)
    divisor=1 rounds=3 default_peers="go erlang node st"
    default_parts="suspend switch fairness sleep memory inspect http control"
    ;;
check) divisor=200 rounds=1 default_peers= default_parts="suspend switch fairness sleep memory inspect http control" ;;
*) sed -n '2,20p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
esac
out=${2:-bench-$mode.jsonl}
rounds=${ROUNDS:-$rounds}
peers=${PEERS-$default_peers}
parts=${PARTS:-$default_parts}
build=${BUILD:-$root/build/release}
export BENCH_DIVISOR=$divisor BENCH_BIN=$build/bench/peers
bench=$build/bench

if [ ! -x "$bench/grasp-bench" ] || [ ! -x "$bench/arch-switch" ] || [ ! -x "$bench/http-bench" ]; then
    [ -z "${BUILD:-}" ] || { echo "run.sh: build everything in $BUILD first" >&2; exit 2; }
    (cd "$root" && cmake --preset release && cmake --build --preset release) >&2 || exit 1
fi

# Each Go version once, however many names it has.
if [ -z "${GOS:-}" ]; then
    GOS= seen=" "
    for candidate in go /usr/lib/go-*/bin/go /usr/lib/go/bin/go; do
        command -v "$candidate" >/dev/null || continue
        version=$(GOTOOLCHAIN=local "$candidate" env GOVERSION)
        case $seen in *" $version "*) continue ;; esac
        seen="$seen$version " GOS="$GOS $candidate"
    done
fi
[ "$mode" = quick ] && read -r GOS _ <<<"$GOS"
export GOS

write_meta() {
    echo "command: ${PARTS:+PARTS=\"$PARTS\" }${PEERS+PEERS=\"$PEERS\" }${ROUNDS:+ROUNDS=$ROUNDS }tests/bench/run.sh $mode"
    echo "date: $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "cpu: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1) x $(nproc)"
    echo "kernel: $(uname -sr)"
    echo "grasp: $(git -C "$root" describe --always --dirty 2>/dev/null || echo "not a git tree")"
    echo "cc: $("${CC:-cc}" --version | head -1)"
    for go in $GOS; do echo "go: $("$go" env GOVERSION)"; done
    command -v erl >/dev/null && case " $peers " in *" erlang "*)
        echo "erlang: OTP $(erl -noshell -eval 'io:format("~s",[erlang:system_info(otp_release)]),halt().')" ;;
    esac
    command -v node >/dev/null && case " $peers " in *" node "*) echo "node: $(node --version)" ;; esac
    echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
}

: >"$out" || exit 2
: >"$out.log"
write_meta >"$out.meta"

say() {
    echo "$(date -u +%H:%M:%S) load $(cut -d' ' -f1 /proc/loadavg): $*" | tee -a "$out.log" >&2
}

run() {
    "$@" >>"$out" 2>>"$out.log" && return
    say "FAILED ($?): $*"
    failed=1
}

ours() { # PART
    case $1 in
    switch)
        run "$bench/arch-switch"
        run timeout 300 "$bench/grasp-bench" --procs 1 switch
        run timeout 300 "$bench/grasp-bench" --procs 2 switch
        ;;
    http) ;;
    memory) # one process each: what the first leaves behind is not the next one's
        run timeout 600 "$bench/grasp-bench" --procs 2 memory
        run timeout 600 "$bench/grasp-bench" --procs 2 memory-private
        [ "$mode" = full ] && run timeout 600 "$bench/grasp-bench" --procs 2 memory-million
        ;;
    *) run timeout 600 "$bench/grasp-bench" --procs 2 "$1" ;;
    esac
    # What the workers' nice value costs or gains: a thread that asks competes with them.
    case $mode:$1 in
    full:switch)
        run timeout 300 "$bench/grasp-bench" --procs 1 --nice-off switch
        run timeout 300 "$bench/grasp-bench" --procs 2 --nice-off switch
        ;;
    full:suspend | full:fairness | full:sleep)
        run timeout 600 "$bench/grasp-bench" --procs 2 --nice-off "$1" ;;
    esac
}

peer() { # PEER PART
    if [ "$1" != go ]; then
        run "$here/peers/$1/run.sh" "$2"
        return
    fi
    for go in $GOS; do
        GO=$go run "$here/peers/go/run.sh" "$2"
        [ "$mode:$2" = full:memory ] && GO=$go run "$here/peers/go/run.sh" memory-million
    done
}

floor() { # PART
    case $1 in
    suspend)
        run "$here/peers/c/run.sh" floors
        run "$here/peers/c/run.sh" suspend
        ;;
    inspect | http) ;;
    *) [ "$mode" = full ] && run "$here/peers/c/run.sh" "$1" ;;
    esac
}

failed=
run "$here/peers/c/run.sh" build
for ((round = 1; round <= rounds; round++)); do
    for part in $parts; do
        say "round $round of $rounds: $part"
        run "$here/peers/c/run.sh" "noise:$part"
        if [ "$part" = http ]; then
            run "$here/http.sh" "$build"
            continue
        fi
        if [ "$part" = control ]; then
            for measure in rates pairs list neighbours crowds; do
                run timeout 600 "$here/control.py" "$build" "$measure"
            done
            continue
        fi
        floor "$part"
        ours "$part"
        for peer in $peers; do peer "$peer" "$part"; done
    done
done
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)" >>"$out.meta"

if [ "$mode" = check ]; then
    python3 "$here/table.py" --check "$out" || failed=1
    [ -n "$failed" ] && cat "$out.log" >&2
else
    python3 "$here/table.py" "$out" | tee "${out%.jsonl}.md"
fi
[ -z "$failed" ]
