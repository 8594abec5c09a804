#!/bin/bash
# quickstart.sh: runs the commands of README.md's quick start, as they stand there, against a real daemon.
#
# usage: quickstart.sh PROJECT BUILD
#
# Only the counter's place is another one. What the README promises is checked: the counter moves, stands still while the
# goroutine is held, the snapshot shows registers and the loop's function and line, and it moves again. $GRASP_TEST_RUN:
# the emulator that runs a cross build's daemon.
set -u
project=$1 build=$2
work=$(mktemp -d) || exit 1
mkfifo "$work/ready"
${GRASP_TEST_RUN:-} "$build/bin/graspd" --modules "$build/modules" --state "$work" --unix "$work/s" >"$work/ready" 2>"$work/log" &
daemon=$!
# The loop never asks whether it should end, so a polite end would take the whole drain time.
trap 'kill -9 $daemon; wait $daemon 2>/dev/null; rm -rf "$work"' EXIT
if ! read -r -t 60 line <"$work/ready" || [[ $line != "graspd ready"* ]]; then
    cat "$work/log"
    echo "graspd did not say that it is ready, but: ${line:-nothing}" >&2
    exit 1
fi
printf 'unix-socket = "%s/s"\nno-progress-meter\nshow-error\nfail-with-body\n' "$work" >"$work/grasp.curlrc"

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

# Waits until the counter is above $1: a goroutine that may run need not have run yet. Bounded, for a machine that is busy.
until_above() {
    local now until=$((SECONDS + 60))
    while now=$(eval "$read_counter"); [ "$((now))" -le "$1" ]; do
        [ "$SECONDS" -lt "$until" ] || return 1
    done
}

mapfile -t commands < <(sed -n '/^## Quick start/,/^A snapshot works/p' "$project/README.md" |
    sed -nE 's#^    ((curl -K|od ).*)#\1#p' | sed "s#/tmp/hog.counter#$work/hog.counter#g")
[ ${#commands[@]} -ge 10 ] || fail "README.md's quick start has ${#commands[@]} commands, ten or more were expected"
read_counter=$(printf '%s\n' "${commands[@]}" | grep -m1 '^od')
counts=() all=
cd "$work" || exit 1
for command in "${commands[@]}"; do
    echo "\$ $command"
    output=$(eval "$command" 2>&1) || fail "exit $?: $output"
    printf '%s\n' "$output"
    all+=$output$'\n'
    [[ $command == od* ]] || continue
    counts+=("$((output))")
    [ ${#counts[@]} != 1 ] || until_above "$output" || fail "the counter does not move before the suspend"
done
[ ${#counts[@]} = 5 ] || fail "the counter is read ${#counts[@]} times, not 5"
[ "${counts[1]}" -gt "${counts[0]}" ] || fail "the counter is less than it was"
[ "${counts[3]}" = "${counts[2]}" ] || fail "the counter moves while the goroutine is held"
until_above "${counts[3]}" || fail "the counter does not move after the resume"
grep -q 'rip \|pc ' <<<"$all" || fail "the snapshot shows no registers"
grep -q 'scalar' <<<"$all" && grep -qE 'hog\.c:[0-9]+' <<<"$all" || fail "the snapshot does not name the loop"
echo "the quick start works as written"
