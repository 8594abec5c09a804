#!/bin/bash
# packages.sh: what tools/install-packages takes for installed, asked with a dpkg and an apt-get of this test's own.
#
# usage: packages.sh SOURCE-DIRECTORY
set -eu
source=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# Name, architecture, state; an amd64 machine.
cat >"$dir/packages" <<'END'
libboth amd64 installed
libboth arm64 installed
libforeign arm64 installed
libgone amd64 config-files
script all installed
second amd64 installed
END

cat >"$dir/dpkg-query" <<'END'
#!/bin/bash
# dpkg-query -W -f=FORMAT NAME[:ARCH]
found=1
while read -r name arch state; do
    [ "$3" = "$name" ] || { [ "$3" = "$name:$arch" ] && [ "$arch" != all ]; } || continue
    text=${2#-f=}
    text=${text//'${db:Status-Status}'/$state}
    printf '%b' "${text//'${Architecture}'/$arch}"
    found=0
done <"${0%/*}/packages"
exit $found
END
cat >"$dir/dpkg" <<'END'
#!/bin/bash
case $1 in
--print-architecture) echo amd64 ;;
--print-foreign-architectures) echo arm64 ;;
*) exit 1 ;;
esac
END
cat >"$dir/apt-get" <<'END'
#!/bin/bash
[ "$1" = update ] || echo "$*" >>"${0%/*}/asked"
END
printf '#!/bin/bash\nexit 1\n' >"$dir/apt-cache"
printf '#!/bin/bash\nexec "$@"\n' >"$dir/sudo"
chmod +x "$dir"/{dpkg-query,dpkg,apt-get,apt-cache,sudo}

# CLAIM WHAT-APT-GET-IS-ASKED-FOR PACKAGE...
expect() {
    local claim=$1 wanted=$2 asked=
    shift 2
    rm -f "$dir/asked"
    PATH=$dir:$PATH "$source/tools/install-packages" "$@" 2>"$dir/log" || asked="exit $?: "
    [ ! -f "$dir/asked" ] || asked+=$(sed 's/.*recommends //' "$dir/asked")
    if [ "$asked" = "$wanted" ]; then
        echo "ok    $claim"
    else
        echo "FAIL  $claim: wanted '$wanted', got '$asked'"
        cat "$dir/log"
        failed=1
    fi
}

expect nothing_is_asked_for_what_is_installed '' second script
expect a_package_of_two_architectures_is_installed '' libboth libboth:arm64
expect another_architectures_package_is_none_of_this_one libforeign libforeign libforeign:arm64
expect a_named_architecture_must_be_that_one second:arm64 second second:arm64
expect what_was_removed_is_missing libgone libgone
expect one_of_several_is_enough '' 'first|second'
exit $failed
