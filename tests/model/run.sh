#!/bin/bash
# run.sh: has spin check the configurations of configurations.txt.
#
# usage: run.sh quick|full|mutants|live [--build DIR] [--jobs N] [--limit SECONDS] [--memory MIB]
#   quick    configurations that finish in seconds, every mutant, every LTL claim (ctest runs this)
#   full     quick, and the large configurations: up to an hour and 9 GiB
#   mutants  only the planted faults      live     only the LTL claims and their mutants
#
# A correct configuration must be searched to the end without an error; a mutant must give one: a fault that the model
# does not notice is a failure of the model. Prints a row for each. Exit: 0 all as expected, 1 not, 2 bad usage,
# 77 (skipped) if spin is not installed. Everything that is built goes to DIR (a temporary folder if none is given).
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    sed -n '4,7p' "${BASH_SOURCE[0]}" | sed 's/^# //' >&2
    exit 2
}

sets_of() {
    case $1 in
    quick) echo "quick live mutant live-mutant" ;;
    full) echo "quick full live mutant live-mutant" ;;
    mutants) echo "mutant" ;;
    live) echo "live live-mutant" ;;
    *) usage ;;
    esac
}

# Whether the search found what it must. $1: set, $2: the checker's output, $3: its exit code.
as_expected() {
    case $1 in
    *mutant) grep -q 'errors: [1-9]' "$2" ;;
    *)
        [ "$3" = 0 ] && grep -q 'errors: 0' "$2" &&
            ! grep -qE 'Search not completed|max search depth too small|out of memory' "$2"
        ;;
    esac
}

# One configuration; writes its row to $build/NAME.row and its verdict to $build/NAME.verdict.
check() {
    local set=$1 name=$2 source=$3 definitions=$4 flags=$5 arguments=$6 what=$7
    local folder=$build/$set.$name verdict=FAILED note= optimise=-O2 code=0 begin
    [[ $set == *mutant ]] && optimise=-O1
    rm -rf "$folder" && mkdir -p "$folder" && cd "$folder" || return
    begin=$(date +%s%N)
    # The words of the table are split on purpose.
    # shellcheck disable=SC2086
    if ! spin -a $definitions "$here/$source.pml" >spin.log 2>&1; then
        note="spin: $(tail -1 spin.log)"
    elif ! gcc $optimise -w ${flags:--DSAFETY -DCOLLAPSE} -DMEMLIM="$memory" -DVECTORSZ=2048 \
        -o pan pan.c >gcc.log 2>&1; then
        note="gcc: $(head -1 gcc.log)"
    else
        timeout "$limit" ./pan -m1000000 $arguments >pan.log 2>&1
        code=$?
        if as_expected "$set" pan.log $code; then
            verdict=ok
            note=$what
        elif [ $code = 124 ]; then
            note="not finished within $limit s"
        elif [[ $set == *mutant ]]; then
            note="NOT FOUND: $what"
        else
            note=$(grep -m1 -E '^pan:1:|^error:' pan.log)
        fi
    fi
    local states=
    [ -f pan.log ] && states=$(awk '/states, stored/ {print $1; exit}' pan.log)
    printf '%-7s %-12s %-20s %12s %6.1f s  %s\n' "$verdict" "$set" "$name" "${states:--}" \
        "$(($(date +%s%N) - begin))e-9" "$note" | tee "$build/$set.$name.row"
    echo "$verdict" >"$build/$set.$name.verdict"
    rm -f pan pan.[bchmpt] # what is left is text
}

mode=${1:-}
[ -n "$mode" ] || usage
shift
sets=$(sets_of "$mode") || exit 2
build= jobs=$(nproc) limit=300 memory=9000
[ "$mode" = full ] && limit=3600
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --build) build=$2 ;;
    --jobs) jobs=$2 ;;
    --limit) limit=$2 ;;
    --memory) memory=$2 ;;
    *) usage ;;
    esac
    shift 2
done
if ! command -v spin >/dev/null; then
    echo "SKIPPED: the model was not checked, because spin is not installed (Debian: apt-get install spin)" >&2
    exit 77
fi
if [ -z "$build" ]; then
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
fi
mkdir -p "$build" && build=$(cd "$build" && pwd) || exit 2
rm -f "$build"/*.row "$build"/*.verdict

trim() {
    local text=$1
    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

wanted=0
while IFS='|' read -r set name source definitions flags arguments what; do
    set=$(trim "$set")
    [[ -z $set || $set == \#* || " $sets " != *" $set "* ]] && continue
    wanted=$((wanted + 1))
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    check "$set" "$(trim "$name")" "$(trim "$source")" "$(trim "$definitions")" \
        "$(trim "$flags")" "$(trim "$arguments")" "$(trim "$what")" &
done <"$here/configurations.txt"
wait
good=$(cat "$build"/*.verdict 2>/dev/null | grep -c '^ok$')
echo "model: $good of $wanted as expected"
[ "$wanted" -gt 0 ] && [ "$good" = "$wanted" ]
