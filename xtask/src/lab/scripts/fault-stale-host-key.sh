# A new host key behind known_hosts' back, as after a host was set up anew (or replaced by a stranger).
set -eu
key=/etc/ssh/ssh_host_ed25519_key
read -r sshd </run/sshd.pid
rm -f "$key" "$key.pub"
ssh-keygen -q -t ed25519 -N '' -f "$key" -C anew
kill -HUP "$sshd" # sshd reads its keys again
