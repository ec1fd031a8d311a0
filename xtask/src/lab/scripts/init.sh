# The init of a lab host, below tini, which reaps. TERM is an orderly halt. Descriptor 3 is the
# channel to whoever started the host: one word, then it is closed. No daemon may inherit it. While all
# runs, /run/lab-ready exists.
trap 'rm -f /run/lab-ready; sh /lab/family stop >/dev/null 2>&1; exit 0' TERM

busybox syslogd -O /var/log/messages 3>&-
# Maintainer scripts restart services here as they do on a real server.
printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
mkdir -p /run/sshd /run/lock
if ! /usr/sbin/sshd -h /etc/ssh/ssh_host_ed25519_key -o AuthorizedKeysFile=/etc/ssh/lab_keys \
    -o PermitRootLogin=prohibit-password -o UsePAM=no -o UseDNS=no 3>&-; then
    echo 'sshd did not start' >&3
elif ! sh /lab/family start >/lab/start.log 2>&1 3>&-; then
    cat /lab/start.log
    echo 'the mail software did not start' >&3
elif sh /lab/listening 3>&-; then
    echo ready >&3
else
    cat /run/lab-failed >&3
fi
exec 3>&-
while :; do
    sleep 3600 &
    wait $!
done
