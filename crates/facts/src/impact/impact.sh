# Mailkeep's look at what applying packages would change on this host. Reads, simulates, and changes
# nothing; candidates are downloaded into a temporary directory, which is removed again. POSIX sh:
#     ssh HOST sh -s -- NONCE PACKAGE=VERSION... < impact.sh
#
# The report has the form of scan.sh's, and is understood by crates/facts/src/impact.rs.

main() {
LC_ALL=C
LANGUAGE=
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL LANGUAGE PATH
unset POSIXLY_CORRECT GREP_OPTIONS LS_COLORS
set -f
umask 077

nonce=$1
shift

have() { command -v "$1" >/dev/null 2>&1; }
section() { printf '\n=%s %s\n' "$nonce" "$*"; }
lack() { printf '\n=%s lack %s|%s\n' "$nonce" "$1" "$2"; }
if have timeout && timeout 5 true 2>/dev/null; then
    limited() { timeout "$@"; }
else
    limited() { shift; "$@"; }
fi
sum() { md5sum <"$1" 2>/dev/null | { read -r digest _ && printf '%s' "$digest"; }; }

printf '\nMAILKEEP-FACTS 1 %s\n' "$nonce"

for tool in apt-get dpkg-deb dpkg-query tar gzip md5sum mktemp; do
    have "$tool" || {
        lack impact "no $tool on the host"
        section end
        return
    }
done
dir=$(mktemp -d 2>/dev/null) || {
    lack impact 'no temporary directory could be made'
    section end
    return
}
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cd "$dir" || exit 1

# No cache files: apt would write them as root. No lock: a simulation takes none.
quiet_apt() {
    limited 120 apt-get -q -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

section simulate
quiet_apt -s -o Debug::NoLocking=1 --allow-change-held-packages install "$@" 2>&1 |
    grep -E '^(Inst|Remv|Conf|E:)' | head -n 2000

section held
limited 10 apt-mark showhold 2>/dev/null

# Configuration that ucf(1) keeps is no conffile; the registry says whose it is.
if [ -r /var/lib/ucf/registry ] && [ -r /var/lib/ucf/hashfile ]; then
    section ucf
    for wanted do
        name=${wanted%%=*}
        while read -r owner path; do
            [ "$owner" = "${name%%:*}" ] && [ -e "$path" ] || continue
            shipped=$(while read -r digest at; do
                if [ "$at" = "$path" ]; then printf '%s' "$digest"; fi
            done </var/lib/ucf/hashfile)
            printf '%s|%s|%s|%s\n' "$owner" "$(sum "$path")" "$shipped" "$path"
        done </var/lib/ucf/registry
    done
fi

for wanted do
    name=${wanted%%=*}
    plain=${name%%:*}
    rm -rf "$dir/control" "$dir/data"
    mkdir "$dir/control" "$dir/data"
    quiet_apt download "$wanted" >/dev/null 2>&1
    set +f
    deb=$(ls "$dir"/*.deb 2>/dev/null | head -n 1)
    set -f
    section package "$wanted"
    # shellcheck disable=SC2016 # dpkg's own ${}
    dpkg-query -W -f '${Version}\n' "$name" 2>/dev/null
    if [ -z "$deb" ]; then
        lack "package $name" 'its candidate could not be downloaded'
        continue
    fi
    dpkg-deb -e "$deb" "$dir/control" 2>/dev/null || lack "package $name" 'its control files cannot be read'
    # ./etc for conffiles, documentation for the changelog and the news.
    dpkg-deb --fsys-tarfile "$deb" 2>/dev/null |
        tar -x -C "$dir/data" -f - ./etc 2>/dev/null
    dpkg-deb --fsys-tarfile "$deb" 2>/dev/null |
        tar -x -C "$dir/data" -f - "./usr/share/doc/$plain" 2>/dev/null

    section conffiles "$name"
    if [ -r "$dir/control/conffiles" ]; then
        # shellcheck disable=SC2016 # dpkg's own ${}
        dpkg-query -W -f '${Conffiles}\n' "$name" 2>/dev/null >"$dir/shipped"
        while read -r path rest; do
            # dpkg 1.20 marks files to be removed: `remove-on-upgrade PATH`.
            if [ "$path" = remove-on-upgrade ]; then path=$rest; fi
            case $path in /*) ;; *) continue ;; esac
            shipped=$(while read -r at digest _; do
                if [ "$at" = "$path" ]; then printf '%s' "$digest"; fi
            done <"$dir/shipped")
            printf '%s|%s|%s|%s\n' "$(sum "$dir/data$path" 2>/dev/null)" \
                "$(sum "$path" 2>/dev/null)" "$shipped" "$path"
        done <"$dir/control/conffiles"
    fi
    for kind in preinst postinst prerm postrm; do
        if [ -r "$dir/control/$kind" ]; then
            section script "$name $kind"
            head -c 131072 "$dir/control/$kind"
        fi
    done
    for file in changelog.Debian.gz changelog.gz; do
        if [ -r "$dir/data/usr/share/doc/$plain/$file" ]; then
            section changelog "$name"
            gzip -dc "$dir/data/usr/share/doc/$plain/$file" 2>/dev/null | head -c 262144
            break
        fi
    done
    if [ -r "$dir/data/usr/share/doc/$plain/NEWS.Debian.gz" ]; then
        section news "$name"
        gzip -dc "$dir/data/usr/share/doc/$plain/NEWS.Debian.gz" 2>/dev/null | head -c 262144
    fi
    rm -f "$deb"
done
cd / && rm -rf "$dir"
section end
}

main "$@" </dev/null
