# The init of a lab host that has systemd: what is the lab's own is told to it, and then it is systemd.
# Descriptor 3 is the channel to whoever started the host: one word, then it is closed. While all runs,
# /run/lab-ready exists.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ -s /etc/machine-id ] || md5sum /etc/hostname | cut -c1-32 >/etc/machine-id
units=/run/systemd/system
mkdir -p "$units/multi-user.target.wants" /run/sshd /lab/without
# A key that the controller knows, and nobody but root.
cat >/etc/ssh/sshd_config.d/lab.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/lab_keys
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
CONF
# What would run at times of its own, has no console to speak to, or keeps the log where the journal is to.
for unit in apt-daily.timer apt-daily-upgrade.timer busybox-syslogd.service busybox-klogd.service \
    console-getty.service e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@.service \
    systemd-logind.service; do
    ln -s /dev/null "$units/$unit"
done
# What the family sets at each boot, before systemd starts its services: nothing is started by it.
printf '#!/bin/sh\n' >/lab/without/service
chmod 755 /lab/without/service
mail=$(sh /lab/family services | sed 's/$/.service/' | tr '\n' ' ')
cat >"$units/lab-family.service" <<UNIT
[Unit]
Before=$mail
[Service]
Type=oneshot
RemainAfterExit=yes
Environment=PATH=/lab/without:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/sh /lab/family start
UNIT
cat >"$units/lab-ready.service" <<UNIT
[Unit]
After=lab-family.service ssh.service $mail
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /lab/listening
UNIT
for unit in lab-family lab-ready; do
    ln -s "$units/$unit.service" "$units/multi-user.target.wants/$unit.service"
done
{
    until [ -e /run/lab-ready ] || [ -e /run/lab-failed ]; do sleep 0.1; done
    if [ -e /run/lab-failed ]; then
        journalctl --boot --no-pager | tail -n 60
        cat /run/lab-failed >&3
    else
        echo ready >&3
    fi
} &
exec 3>&-
exec /lib/systemd/systemd
