#!/bin/bash
# test.sh: builds Grasp in every form and runs all tests.
#
# usage: ./test.sh [--quick] [--suite NAME]... [--stress N] [--arch arm64 | --with-arm64] [--some-sanitizers | --no-sanitizers] [--no-fuzz] [--no-install]
#
#   --quick          the release build only, without the tests labelled stress or model
#   --suite NAME     only tests whose label or name is NAME (may be given again): unit, model, layers, e2e, stress, ...
#   --stress N       stress tests do N times as much (GRASP_STRESS)
#   --arch arm64     instead of all that: the arm64 build and its tests, under qemu-user (nothing special on an arm64 machine)
#   --with-arm64     besides: the arm64 build, and of its tests what rests on arch/, with fewer stops
#   --some-sanitizers  of the sanitizers UBSan and ASan, with the unit tests
#   --no-sanitizers  the release build and the fuzz targets only
#   --no-fuzz        no fuzz targets, each of which runs for a minute
#   --no-install     look for no packages
#
# The last line is "N passed, N failed", counted from ctest's own reports. Exit 0 only if nothing failed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2

usage() {
    sed -n '4,14p' test.sh | sed 's/^# \{0,1\}//' >&2
    exit 2
}

quick= sanitizers=1 fuzz=1 install=1 suites=() native=1 arm64=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 sanitizers= fuzz= ;;
    --no-fuzz) fuzz= ;;
    --no-sanitizers) sanitizers= ;;
    --some-sanitizers) sanitizers=some ;;
    --with-arm64) arm64=some ;;
    --arch)
        [ $# -ge 2 ] || usage
        case $2 in
        arm64) [ "$(uname -m)" = aarch64 ] || native= arm64=all ;;
        x86-64) [ "$(uname -m)" = x86_64 ] || { echo "test.sh: --arch x86-64 needs an x86-64 machine" >&2; exit 2; } ;;
        *) echo "test.sh: --arch $2: arm64 or x86-64" >&2; exit 2 ;;
        esac
        shift
        ;;
    --no-install) install= ;;
    --suite) [ $# -ge 2 ] || usage; suites+=("$2"); shift ;;
    --stress) [[ $# -ge 2 && $2 =~ ^[1-9][0-9]*$ ]] || usage; export GRASP_STRESS=$2; shift ;;
    *) usage ;;
    esac
    shift
done

# What --with-arm64 runs: some minutes under emulation.
arm64_some='^(core_(suspend|preempt|give_way|cancel|ends|first_run|wired|held_memory|profile|fold|sync|chan|waits)|api_json|wraps|loader|inspect(_held|_held_pads|_step_.*)?|canaries(_n1|_singlestep)?|e2e_(suspend|control|gdb|cores|profiles)|readme_quickstart)$'

passed=0 failed=0 skipped=0 broken=()

# What a failure outside ctest (a build, an installation) counts as: one failed test, named.
give_up() {
    echo "test.sh: $1" >&2
    failed=$((failed + 1))
    broken+=("$1")
}

finish() {
    [ "$skipped" = 0 ] || echo "$skipped skipped; the reason stands in each test's output above"
    [ ${#broken[@]} = 0 ] || printf 'FAILED: %s\n' "${broken[@]}"
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
    exit
}

# Warnings are errors in the release build. The sanitizers make compilers warn of what is right without them.
build() { # PRESET
    local strict=OFF
    [[ $1 = release || $1 = arm64 ]] && strict=ON
    echo "== build: $1"
    cmake --preset "$1" -DGRASP_WERROR=$strict >"build/$1.log" 2>&1 &&
        cmake --build --preset "$1" >>"build/$1.log" 2>&1 && return
    tail -40 "build/$1.log"
    give_up "build of $1 (log: build/$1.log)"
    return 1
}

# Adds ctest's own account of one run. A run without tests is a failure: nothing was tested.
count() { # PRESET
    local line
    line=$(python3 - "build/$1/junit.xml" <<'PY'
import sys
import xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
cases = list(suite.iter("testcase"))
bad = [c.get("name") for c in cases if c.get("status") == "fail"]
skip = [c.get("name") for c in cases if c.get("status") in ("notrun", "disabled")]
print(len(cases) - len(bad) - len(skip), len(bad), len(skip), *bad)
PY
    ) || { give_up "ctest of $1 left no report"; return; }
    local -a words
    read -ra words <<<"$line"
    passed=$((passed + words[0])) failed=$((failed + words[1])) skipped=$((skipped + words[2]))
    local name
    for name in "${words[@]:3}"; do broken+=("$1: $name"); done
    [ $((words[0] + words[1] + words[2])) -gt 0 ] || [ ${#suites[@]} -gt 0 ] || give_up "ctest of $1 found no tests"
}

run() { # PRESET CTEST-ARGUMENTS...
    local preset=$1
    shift
    echo "== test: $preset"
    rm -f "build/$preset/junit.xml"
    (cd "build/$preset" && ctest --output-on-failure --timeout 900 -j "$(nproc)" \
        --output-junit junit.xml "$@")
    count "$preset"
}

# A suite is a label or a test's name: ctest cannot say "or" between them, so ask once for each.
run_suites() { # PRESET CTEST-ARGUMENTS...
    local preset=$1 suite
    shift
    if [ ${#suites[@]} = 0 ]; then
        run "$preset" "$@"
        return
    fi
    for suite in "${suites[@]}"; do
        if [ "$(cd "build/$preset" && ctest -N -L "^$suite\$" | sed -n 's/^Total Tests: //p')" != 0 ]; then
            run "$preset" -L "^$suite\$" "$@"
        else
            run "$preset" -R "^$suite\$" "$@"
        fi
    done
}

# The dashboard's bundler and browser driver, from the registry that npm is set up for; their test is skipped without.
install_node_packages() {
    cmp -s tests/dashboard/package.json build/node/package.json && return
    mkdir -p build/node
    (cd build/node && cp ../../tests/dashboard/package.json . &&
        npm install --no-package-lock --no-audit --no-fund) >build/node.log 2>&1 && return
    rm -f build/node/package.json
    tail -5 build/node.log
    return 1
}

mkdir -p build
if [ -n "$install" ]; then
    tools/install-packages build-essential cmake ninja-build pkg-config curl ca-certificates \
        libncurses-dev scdoc libuv1-dev libjansson-dev 'libllhttp-dev|node-llhttp' libdw-dev libelf-dev zlib1g-dev \
        libcmocka-dev libxxhash-dev libsystemd-dev python3-jsonschema spin gdb clang 'libclang-rt-14-dev|libclang-rt-dev' lld \
        python3 golang-go jq procps chromium fonts-dejavu-core || give_up "installation of packages"
    command -v npm >/dev/null || tools/install-packages nodejs npm || give_up "installation of Node"
    install_node_packages || give_up "installation of node packages (log: build/node.log)"
    if [ -n "$arm64" ]; then
        tools/install-packages 'qemu-user-static|qemu-user' gcc-aarch64-linux-gnu libc6-dev-arm64-cross libc6-dev:arm64 \
            libuv1-dev:arm64 libjansson-dev:arm64 'libllhttp-dev:arm64|node-llhttp' libdw-dev:arm64 libelf-dev:arm64 \
            zlib1g-dev:arm64 libcmocka-dev:arm64 libsystemd-dev:arm64 libncurses-dev:arm64 gdb-multiarch ||
            give_up "installation of packages for arm64"
    fi
fi
if [ -n "$native" ] && build release; then
    if [ -n "$quick" ]; then
        run_suites release -LE '^(stress|model|bench)$'
    else
        run_suites release -LE '^bench$'
    fi
fi
if [ -n "$arm64" ] && build arm64; then
    if [ "$arm64" = some ]; then
        GRASP_STRESS_STOPS=10000 run arm64 -R "$arm64_some"
    elif [ -n "$quick" ]; then
        run_suites arm64 -LE '^(stress|bench)$'
    else
        run_suites arm64 -LE '^bench$'
    fi
fi
if [ -n "$native" ] && [ -n "$sanitizers" ]; then
    # A sanitizer has nothing to gain from what does not run our code (models, layers, packages, the page in a
    # browser), from measurements, and from the canaries, whose subject is assembly that no sanitizer sees. Stress
    # finds memory errors and races, not the arithmetic that UBSan looks for. ASan runs all else, leaks included.
    if [ "$sanitizers" = some ]; then
        build asan && run_suites asan -L '^unit$'
        build ubsan && run_suites ubsan -L '^unit$'
    else
        build asan && run_suites asan -LE '^(model|layers|bench|package|dashboard)$' -E '^canaries'
        build ubsan && run_suites ubsan -LE '^(model|layers|bench|package|dashboard|stress)$'
        # TSan keeps signals back until the next call that it intercepts, so nothing is stopped by them there: what runs
        # in synchronous mode, or without goroutines, is labelled tsan. Modules and programs are instrumented too.
        build tsan && run_suites tsan -L '^tsan$'
    fi
fi
# By clang, with libFuzzer: a build of its own.
if [ -n "$native" ] && [ -n "$fuzz" ] && { [ ${#suites[@]} = 0 ] || [[ " ${suites[*]} " == *" fuzz "* ]]; }; then
    build fuzz && run fuzz -L '^fuzz$'
fi
finish
