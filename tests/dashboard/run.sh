#!/bin/bash
# run.sh PART NODE_DIRECTORY SOURCE BIN MODULES: one part of the dashboard's tests; 77 if what it needs is not there.
# The part "pictures" makes those of the README, in docs; for people to look at before they commit them.
set -eu
part=$1 packages=$(realpath -m "$2/node_modules") source=$(realpath "$3")

skip() {
    echo "skipped: $1 (./test.sh installs it)"
    exit 77
}
command -v node >/dev/null || skip "no node"
[ -d "$packages/esbuild" ] || skip "no node packages in build/node"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Node looks for packages in the folders above a script: so both lie together in a folder of their own.
ln -s "$packages" "$work/node_modules"
case $part in
bundle)
    cp -r "$source/clients/dashboard/." "$work/"
    cd "$work" && node build.mjs --check
    ;;
browser)
    command -v chromium >/dev/null || skip "no chromium"
    cp "$source"/tests/dashboard/*.mjs "$work/"
    TMPDIR=$work node "$work/browser.mjs" "$4" "$5"
    ;;
pictures)
    cp "$source"/tests/dashboard/*.mjs "$work/"
    TMPDIR=$work node "$work/pictures.mjs" "$(realpath "$4")" "$(realpath "$5")" "$source/docs"
    ;;
esac
