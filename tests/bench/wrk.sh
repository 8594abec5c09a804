#!/bin/bash
# tests/bench/wrk.sh [ROUNDS [SECONDS [PATH...]]]: grasp-load beside wrk on a plain GET at saturation.
#
# A load tester that is slower than the server measures itself. Both ask the same daemon for the same PATH (/healthz and
# /v1/runtime), closed loop, with as many connections and threads, one right after the other, in turns first. Compared
# is the ratio of a round's two rates, of which the median is told: a busy moment hits both, or one round. On a machine with other
# work the rates say little; what one request costs the client in CPU time says it all the same: it is what would make it the
# slower one of the two.
#
#   BUILD=DIR   Grasp's build directory (default: build/release)
#   CONNECTIONS=32 THREADS=2
#
# The last lines of each path say whether the goal (not more than 5 % behind wrk) is met; the exit code is not 0 only if something
# could not be run, since a machine that is not quiet proves nothing. wrk is a Debian package.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${BUILD:-$root/build/release}
rounds=${1:-9} seconds=${2:-3}
shift $(($# > 2 ? 2 : $#))
[ $# -gt 0 ] || set -- /healthz /v1/runtime
connections=${CONNECTIONS:-32} threads=${THREADS:-2}

command -v wrk >/dev/null || { echo "wrk.sh: there is no wrk; on Debian: apt-get install wrk" >&2; exit 77; }
[ -x "$build/bin/grasp-load" ] || { echo "wrk.sh: there is no $build/bin/grasp-load: build first" >&2; exit 2; }
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" && wait "$server"; }; rm -rf "$scratch"' EXIT
"$build/bin/graspd" --unix "$scratch/s" --listen 127.0.0.1:0 --no-auth >"$scratch/ready" 2>"$scratch/log" &
server=$!
until grep -q '^graspd ready' "$scratch/ready"; do
    kill -0 "$server" 2>/dev/null || { tail -3 "$scratch/log" >&2; exit 1; }
    sleep 0.05
done
url=http://$(sed -n 's/^graspd ready.* listen=\([^ ,]*\).*/\1/p' "$scratch/ready")

# Prints what COMMAND prints, and behind it the CPU seconds that it took.
timed() { # COMMAND...
    local TIMEFORMAT='%U %S' failed=0
    { time "$@" 2>&3 || failed=1; } 3>&2 2>"$scratch/times"
    awk '{ print $1 + $2 }' "$scratch/times"
    return "$failed"
}

wrk_run() { # PATH
    wrk -t"$threads" -c"$connections" -d"${seconds}s" "$url$1" | awk '
        $1 == "Non-2xx" || $1 == "Socket" { print "wrk.sh: wrk says: " $0 >"/dev/stderr"; bad = 1 }
        $1 == "Requests/sec:" { rate = $2 }
        $2 == "requests" && $3 == "in" { print rate, $1; asked = $1 }
        END { print rate, asked; exit bad }' | tail -1
}

load_run() { # PATH
    "$build/bin/grasp-load" -q -t "$threads" -c "$connections" -d "${seconds}s" -o csv --expect 'errors==0' --url "$url" "$1" |
        awk -F, 'NR == 2 { print $3, $2 }'
}

for path in "$@"; do
    for ((round = 1; round <= rounds; round++)); do
        if ((round % 2)); then
            wrk=$(timed wrk_run "$path") || exit 1
            load=$(timed load_run "$path") || exit 1
        else
            load=$(timed load_run "$path") || exit 1
            wrk=$(timed wrk_run "$path") || exit 1
        fi
        # Each: rate, requests, CPU seconds.
        echo $wrk $load | awk -v path="$path" -v round="$round" '{
            printf "%-12s round %2d  wrk %7.0f/s %5.2f us of CPU each   grasp-load %7.0f/s %5.2f us   ratios %.3f %.3f\n",
                path, round, $1, 1e6 * $3 / $2, $4, 1e6 * $6 / $5, $4 / $1, ($6 / $5) / ($3 / $2)
        }'
    done | tee "$scratch/rounds"
    [ "$(wc -l <"$scratch/rounds")" = "$rounds" ] || exit 1
    for column in 1 0; do
        awk -v column="$column" '{ print $(NF - column) }' "$scratch/rounds" | sort -n | awk -v path="$path" -v cpu="$((1 - column))" '
            { r[NR] = $1 }
            END {
                m = NR % 2 ? r[(NR + 1) / 2] : (r[NR / 2] + r[NR / 2 + 1]) / 2
                good = cpu ? m <= 1.05 : m >= 0.95
                printf "%-12s grasp-load / wrk, %s: median of %d = %.3f (%.3f to %.3f): %s\n", path,
                    (cpu ? "CPU of the client for a request" : "requests a second"), NR, m, r[1], r[NR],
                    (good ? "goal met" : "goal missed")
            }'
    done
done
