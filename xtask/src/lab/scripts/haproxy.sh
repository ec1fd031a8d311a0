# The haproxy family: a front end on port 25. Its servers stand in /lab/servers, `NAME ADDRESS:PORT` a
# line; whoever writes that file starts it anew.
case $1 in
setup) ;;
start)
    {
        cat <<'CONF'
global
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    option redispatch
listen mx
    bind :25
    balance roundrobin
CONF
        if [ -f /lab/servers ]; then
            while read -r server address; do
                echo "    server $server $address check inter 500 fall 2 rise 1"
            done </lab/servers
        fi
    } >/etc/haproxy/haproxy.cfg
    mkdir -p /run/haproxy
    service haproxy start
    ;;
stop) service haproxy stop ;;
ports) echo 25 ;;
services) printf '%s\n' haproxy ;;
esac
