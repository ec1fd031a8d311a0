# permit DIRECTORY NETNS: tries all that a lab needs of the kernel, and leaves nothing behind.
set -eu
directory=$1 netns=$2
trap 'ip netns del "$netns" 2>/dev/null; rm -rf "$directory"' EXIT
rm -rf "$directory"
mkdir -p "$directory/lower" "$directory/upper" "$directory/work" "$directory/root"
ip netns add "$netns"
ip -n "$netns" link add br0 type bridge
ip -n "$netns" link add probe0 type veth peer name probe1
ip netns exec "$netns" unshare --mount --pid --uts --ipc --fork --kill-child sh -euc '
    cd "$1"
    mount --make-rprivate /
    mount -t overlay probe -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work,volatile" root
    mkdir root/dev
    mount -t tmpfs tmpfs root/dev
    mknod root/dev/null c 1 3
    : >root/dev/null
    hostname probe' probe "$directory"
