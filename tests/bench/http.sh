#!/bin/bash
# http.sh BUILD: the daemon over HTTP, beside a canned answer and Go's net/http. Part of run.sh.
#
# Each server is asked alone and with a spinner on each core: the daemon has goroutines of the module hog,
# the canned server threads (at nice 0 and at 5), Go goroutines. JSON lines on stdout.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1
bin=${BENCH_BIN:?run.sh sets it}
client=$build/bench/http-bench
scratch=$(mktemp -d) || exit 2
server_pid=
stop() {
    [ -n "$server_pid" ] && kill "$server_pid" 2>/dev/null && wait "$server_pid" 2>/dev/null
    server_pid=
}
trap 'stop; rm -rf "$scratch"' EXIT

# Starts a server whose first line names its port: alone, or behind the last colon.
start() { # COMMAND...
    : >"$scratch/line"
    "$@" >"$scratch/line" 2>"$scratch/err" &
    server_pid=$!
    for _ in $(seq 200); do
        [ -s "$scratch/line" ] && break
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.05
    done
    port=$(head -1 "$scratch/line" | sed 's/.*[:]//; s/[^0-9].*//')
    [ -n "$port" ] && return
    echo "http: $1 did not start: $(tail -3 "$scratch/err")" >&2
    stop
    return 1
}

healthz() { # PEER METRIC
    timeout 120 "$client" "$port" get /healthz "$1" "$2" 20000
}

daemon() {
    local ids first procs
    procs=$(nproc)
    start "$build/bin/graspd" --unix "$scratch/sock" --listen 127.0.0.1:0 --no-auth \
        --modules "$build/modules" --state "$scratch/state" || return 1
    healthz grasp http_healthz_idle || return 1
    # stretch 0: loops that never ask anybody, one on each core
    ids=$("$client" "$port" post /v1/goroutines \
        "{\"module\":\"hog\",\"entry\":\"scalar\",\"args\":{\"stretch\":0},\"count\":$procs}") || return 1
    first=$(sed 's/.*"ids":\[\([0-9]*\).*/\1/' <<<"$ids")
    healthz grasp http_healthz_spinners || return 1
    timeout 200 "$client" "$port" hold "$first" 5000
}

if [ -x "$build/bin/graspd" ]; then
    mkdir -m 700 "$scratch/state"
    daemon || { echo "http: graspd said: $(tail -5 "$scratch/err")" >&2; failed=1; }
    stop
else
    echo "http: there is no graspd in $build/bin, skipped" >&2
fi
start "$bin/c-http_canned" && { healthz floor http_canned_idle; stop; }
start "$bin/c-http_canned" "$(nproc)" 0 && { healthz floor http_canned_spinners_nice0; stop; }
start "$bin/c-http_canned" "$(nproc)" 5 && { healthz floor http_canned_spinners; stop; }
for go in ${GOS:-}; do
    program=$(GO=$go "$here/peers/go/run.sh" build) || continue
    version=$("$go" env GOVERSION)
    start "$program" http 0 && { healthz "$version" http_healthz_idle; stop; }
    start "$program" http "$(nproc)" && { healthz "$version" http_healthz_spinners; stop; }
done
exit "${failed:-0}"
