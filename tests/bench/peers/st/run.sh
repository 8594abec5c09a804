#!/bin/bash
# st/run.sh PART...: State Threads. Parts: switch sleep memory.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
bin=${BENCH_BIN:-${TMPDIR:-/tmp}/grasp-bench-bin}
if ! echo '#include <st.h>' | "${CC:-cc}" -E - >/dev/null 2>&1; then
    echo "state-threads: libst-dev is not installed, skipped" >&2
    exit 0
fi
mkdir -p "$bin" || exit 2
"${CC:-cc}" -D_GNU_SOURCE -O2 -g -Wall -Wextra -pthread -o "$bin/st" st.c -lst || exit 1
for part; do
    case $part in
    switch | sleep | memory) timeout 120 "$bin/st" "$part" || echo "st $part: exit $?" >&2 ;;
    esac
done
exit 0
