#!/bin/bash
# run.sh: builds Grasp and runs graspd in the foreground with the example modules.
#
# usage: ./run.sh [-- FLAGS FOR GRASPD]
#
# Listens on a Unix socket and on 127.0.0.1:7070, or on a free port if that one is taken; prints where, and what to try.
# Writes grasp.curlrc, for:   curl -K grasp.curlrc 'localhost/v1/goroutines?format=text'
# Flags after -- go to graspd; --listen and --unix there replace the ones chosen here. Ctrl-C ends it.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077

case ${1:-} in
'' | --) [ $# = 0 ] || shift ;;
*)
    sed -n '4,8p' run.sh | sed 's/^# \{0,1\}//'
    [ "$1" = -h ] || [ "$1" = --help ] && exit 0
    echo "run.sh: flags for graspd go after --, as in: ./run.sh -- $*" >&2
    exit 2
    ;;
esac

has_flag() { # FLAG ARGUMENTS...
    local flag=$1 argument
    shift
    for argument in "$@"; do
        [[ $argument == "$flag" || $argument == "$flag="* ]] && return 0
    done
    return 1
}

(umask 022 && tools/install-packages build-essential cmake ninja-build pkg-config python3 curl ca-certificates \
    libncurses-dev scdoc libuv1-dev libjansson-dev 'libllhttp-dev|node-llhttp' libdw-dev libelf-dev zlib1g-dev \
    libcmocka-dev libxxhash-dev)
mkdir -p build
log=build/run-build.log
echo "Building (build/release, log in $log) ..." >&2
if ! (umask 022 && cmake --preset release && cmake --build --preset release) >"$log" 2>&1; then
    tail -30 "$log" >&2
    echo "run.sh: the build failed; the whole log is in $log" >&2
    exit 1
fi

# The socket's path must be short, and no other instance may have it.
run=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/grasp-XXXXXX")
token=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
printf '%s\n' "$token" >"$run/token"
mkdir -p build/state
flags=(--modules build/release/modules --state build/state --token-file "$run/token")
socket=$run/grasp.sock
if ! has_flag --unix "$@"; then
    flags+=(--unix "$socket")
fi
if ! has_flag --listen "$@"; then
    port=7070
    # Whoever answers there has it.
    if (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; then
        port=0
        printf '\n*** Port 7070 is taken. graspd listens on another one: see below. ***\n\n' >&2
    fi
    flags+=(--listen "127.0.0.1:$port")
fi

# Called with graspd's ready line: says where it is and what to try.
banner() {
    local line=$1 unix= listen= url=
    [[ $line =~ unix=([^ ]+) ]] && unix=${BASH_REMATCH[1]}
    [[ $line =~ listen=([^ ]+) ]] && listen=${BASH_REMATCH[1]%%,*}
    {
        printf '# Written by run.sh. curl -K grasp.curlrc localhost/...\nno-progress-meter\nshow-error\n'
        if [ -n "$unix" ]; then
            printf 'unix-socket = "%s"\n' "$unix"
        else
            printf 'connect-to = "localhost:80:%s"\nheader = "Authorization: Bearer %s"\n' "$listen" "$token"
        fi
    } >grasp.curlrc.new
    mv grasp.curlrc.new grasp.curlrc
    [ -n "$listen" ] && url="http://$listen/#token=$token"
    cat <<END

Grasp runs.  ${url:-No TCP listener.}
             Unix socket: ${unix:-none}     Ctrl-C ends it.

In another terminal, in $PWD:

  curl -K grasp.curlrc 'localhost/v1/modules?format=text'
  curl -K grasp.curlrc --json '{"module":"hog","entry":"scalar","args":{"counter":"/tmp/hog.counter","stretch":0}}' localhost/v1/goroutines
  curl -K grasp.curlrc 'localhost/v1/goroutines?format=text'
  curl -K grasp.curlrc --json '{"lease_ms":600000}' localhost/v1/goroutines/1/suspend
  od -An -tu8 -N8 /tmp/hog.counter          # twice: it stands still
  curl -K grasp.curlrc 'localhost/v1/goroutines/1/snapshot?format=text'
  curl -K grasp.curlrc -X POST localhost/v1/goroutines/1/resume

END
}

# Reads graspd's standard output to its end; Ctrl-C is graspd's to handle.
follow() {
    trap '' INT TERM HUP
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        if [[ $line == "graspd ready"* ]]; then
            banner "$line"
            break
        fi
    done
    cat
    rm -rf "$run"
}

# graspd takes this shell's place, so that signals and the exit code are its own.
exec build/release/bin/graspd "${flags[@]}" "$@" > >(follow)
