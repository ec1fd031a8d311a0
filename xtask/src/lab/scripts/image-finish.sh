# image-finish ROOT FAMILY SCRIPT: the last touches on a fresh root. From here on the host's only package
# source is the lab's "vendor", which has no news until `lab publish`.
set -eu
root=$1 family=$2 script=$3
cp "$script" "$root/tmp/family"
chroot "$root" sh /tmp/family setup
rm -f "$root/tmp/family" "$root"/etc/apt/sources.list.d/* "$root/etc/apt/preferences.d/lab" \
    "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root"/etc/ssh/ssh_host_*
echo "deb [trusted=yes] file:/repo/live/$family ./" >"$root/etc/apt/sources.list"
echo 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/lab"
# The disk is thrown away with the host; waiting for it would only cost time.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/lab"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
mkdir -p "$root/var/lib/apt/lists/partial" "$root/lab" "$root/repo"
