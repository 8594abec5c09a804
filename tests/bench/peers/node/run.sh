#!/bin/bash
# node/run.sh PART...: Node.js. Parts: suspend (a worker pauses the main thread through the inspector),
# switch (what it has in place of a scheduler, timers and memory with it).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
command -v node >/dev/null || { echo "node: not installed, skipped" >&2; exit 0; }
for part; do
    case $part in
    suspend) program=pause.js ;;
    switch) program=sched.js ;;
    *) continue ;;
    esac
    timeout 120 node --expose-gc $program || echo "node $part: exit $?" >&2
done
exit 0
