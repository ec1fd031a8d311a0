# The postfix family: a relay that takes mail for itself.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    postconf -e 'inet_interfaces=all' 'inet_protocols=ipv4' \
        'mynetworks=127.0.0.0/8 198.18.0.0/15' 'mydestination=$myhostname localhost' \
        'compatibility_level=2' 'disable_vrfy_command=yes' \
        'minimal_backoff_time=15s' 'queue_run_delay=15s' 'maximal_backoff_time=60s'
    ;;
start)
    postconf -e "myhostname=$(cat /etc/hostname)"
    service postfix start
    ;;
stop) service postfix stop ;;
ports) echo 25 ;;
services) printf '%s\n' postfix postfix@- ;;
esac
