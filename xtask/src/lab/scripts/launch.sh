# launch PIDFILE COMMAND...: becomes COMMAND after leaving word of itself in PIDFILE, as
# "PID START BOOT". Start time (proc(5), field 22 of stat) and boot id tell this process from a later
# one that was given the same number.
set -eu
pid_file=$1
shift
read -r stat </proc/$$/stat
start=$(echo "${stat##*) }" | cut -d' ' -f20)
read -r boot </proc/sys/kernel/random/boot_id
echo "$$ $start $boot" >"$pid_file.new"
mv "$pid_file.new" "$pid_file"
exec "$@"
