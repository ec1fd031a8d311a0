# The cyrus family: mailboxes behind Postfix, handed over by LMTP on the loopback address.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    echo probe:probe | chpasswd
    postconf -e 'inet_interfaces=all' 'inet_protocols=ipv4' \
        'mynetworks=127.0.0.0/8 198.18.0.0/15' 'mydestination=$myhostname localhost' \
        'mailbox_transport=lmtp:inet:127.0.0.1:24' 'compatibility_level=3.6' \
        'minimal_backoff_time=15s' 'queue_run_delay=15s' 'maximal_backoff_time=60s'
    sed -i -e 's/^[[:space:]]*lmtpunix.*/	lmtp cmd="lmtpd -a" listen="127.0.0.1:24" prefork=0 maxchild=20/' \
        -e '/^[[:space:]]*\(pop3\|nntp\|http\|sieve\)[[:space:]]/s/^/#/' /etc/cyrus.conf
    echo 'autocreate_post: yes' >>/etc/imapd.conf
    ;;
start)
    postconf -e "myhostname=$(cat /etc/hostname)"
    # The host's /run is new at every boot.
    install -d -o cyrus -g mail -m 755 /run/cyrus
    for part in proc lock socket; do install -d -o cyrus -g mail -m 755 "/run/cyrus/$part"; done
    service cyrus-imapd start && service postfix start
    ;;
stop)
    service postfix stop
    service cyrus-imapd stop
    ;;
ports) echo 25 24 143 ;;
services) printf '%s\n' cyrus-imapd postfix postfix@- ;;
esac
