# fault-upgrade-without-restart FAMILY: installs the patch while policy-rc.d forbids restarts, so that
# the old code, deleted from disk, goes on serving mail.
set -eu
policy() {
    printf '#!/bin/sh\nexit %s\n' "$1" >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}
policy 101
trap 'policy 0' EXIT
DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "/repo/held/$1"/*.deb
grep -q ' /usr/.*(deleted)$' /proc/[0-9]*/maps || {
    echo 'every process was restarted in spite of policy-rc.d: nothing runs deleted code' >&2
    exit 1
}
