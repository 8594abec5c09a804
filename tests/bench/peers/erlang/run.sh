#!/bin/bash
# erlang/run.sh PART...: Erlang/OTP. Parts: suspend switch sleep memory fairness inspect.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
bin=${BENCH_BIN:-${TMPDIR:-/tmp}/grasp-bench-bin}
command -v erlc >/dev/null || { echo "erlang: not installed, skipped" >&2; exit 0; }
mkdir -p "$bin" && erlc -o "$bin" bench.erl || exit 1
run() { # SCHEDULERS PART
    PEER_PARTS=$2 timeout 240 erl +S "$1:$1" +P 500000 -noshell -noinput -pa "$bin" -s bench main ||
        echo "erlang $2: exit $?" >&2
}
for part; do
    [ "$part" = build ] && continue
    run 2 "$part"
    [ "$part" = switch ] && run 1 switch
done
exit 0
