# repack IN.deb NEW-VERSION SUITE CVE OUT [DAEMON]: a synthetic patch: the same files, a higher version,
# and a changelog entry that says it fixes CVE. DAEMON is broken on purpose where the package holds it.
set -eu
in=$1 new=$2 suite=$3 cve=$4 out=$5 daemon=${6:-}
tree=$(mktemp -d "$out/repack.XXXXXX")
trap 'rm -rf "$tree"' EXIT
dpkg-deb -R "$in" "$tree/deb"
package=$(dpkg-deb -f "$in" Package)
old=$(dpkg-deb -f "$in" Version)
source=$(dpkg-deb -W --showformat='${source:Package}' "$in")

# Packages of one source that depend on each other's exact version go up together.
awk -v old="(= $old)" -v new="(= $new)" -v version="$new" '
    /^Version: / { $0 = "Version: " version }
    /^Source: / { sub(/ \(.*/, "") }
    {
        while ((at = index($0, old)))
            $0 = substr($0, 1, at - 1) new substr($0, at + length(old))
        print
    }' "$tree/deb/DEBIAN/control" >"$tree/control"
mv "$tree/control" "$tree/deb/DEBIAN/control"

changelog=usr/share/doc/$package/changelog.Debian.gz
if [ -f "$tree/deb/$changelog" ]; then
    {
        printf '%s (%s) %s-security; urgency=high\n\n' "$source" "$new" "$suite"
        printf '  * Synthetic patch for tests; its files are those of %s.\n    (%s)\n\n' "$old" "$cve"
        printf ' -- Mailkeep lab <lab@lab.test>  Sat, 01 Aug 2026 00:00:00 +0000\n\n'
        gzip -dc "$tree/deb/$changelog"
    } | gzip -9n >"$tree/changelog"
    mv "$tree/changelog" "$tree/deb/$changelog"
    chmod 644 "$tree/deb/$changelog"
    if [ -f "$tree/deb/DEBIAN/md5sums" ]; then
        grep -v "  $changelog\$" "$tree/deb/DEBIAN/md5sums" >"$tree/md5sums" || :
        (cd "$tree/deb" && md5sum "$changelog") >>"$tree/md5sums"
        mv "$tree/md5sums" "$tree/deb/DEBIAN/md5sums"
    fi
fi
if [ -n "$daemon" ] && [ -f "$tree/deb/$daemon" ]; then
    printf '#!/bin/sh\necho "broken on purpose" >&2\nexit 1\n' >"$tree/deb/$daemon"
fi
chmod -R u+rwX,go-w "$tree/deb/DEBIAN"
# Packed often, and kept for as long as a lab lives: it need not be small.
dpkg-deb -Zgzip -z1 -b "$tree/deb" "$out" >/dev/null
