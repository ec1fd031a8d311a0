# Whether all the family's ports are listened on within half a minute; daemons return before that. Then
# /run/lab-ready is made, else /run/lab-failed, which says what is missing.
for port in $(sh /lab/family ports); do
    pattern=$(printf ':%04X [0-9A-F]*:0000 0A ' "$port")
    tries=0
    until grep -qs "$pattern" /proc/net/tcp /proc/net/tcp6; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ]; then
            echo "nothing listens on port $port" >/run/lab-failed
            exit 1
        fi
        sleep 0.05
    done
done
touch /run/lab-ready
