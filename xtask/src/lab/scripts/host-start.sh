# host-start NAME MOUNT LOWER UPPER WORK REPO GROUP: runs as the first process of a host's own namespaces,
# gives it a root of its own and becomes its init. Standard output is the channel on which the host
# says that it is ready; it is kept as descriptor 3, and all else goes to standard error, the console.
set -eu
exec 3>&1 1>&2
name=$1 root=$2 lower=$3 upper=$4 work=$5 repo=$6 group=$7
umask 022
mount --make-rprivate /
mount -t overlay "lab-$name" -o "lowerdir=$lower,upperdir=$upper,workdir=$work,volatile" "$root"
cd "$root"
hostname "$name.lab.test"
echo "$name.lab.test" >etc/hostname

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
while read -r node major minor; do
    mknod -m 666 "dev/$node" c "$major" "$minor"
done <<NODES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
NODES
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

# systemd keeps its services in control groups below its own.
if [ -x lib/systemd/systemd ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mkdir -p "sys/fs/cgroup/$group"
    echo 0 >"sys/fs/cgroup/$group/cgroup.procs"
    umount sys/fs/cgroup
fi

mkdir -p repo .outside
mount --bind "$repo" repo
mount -o remount,bind,ro repo
pivot_root . .outside
umount -l /.outside
rmdir /.outside
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=mailkeep-lab sh -c '
    if [ -x /lib/systemd/systemd ]; then exec unshare --cgroup sh /lab/init-systemd; fi
    exec tini -- sh /lab/init'
