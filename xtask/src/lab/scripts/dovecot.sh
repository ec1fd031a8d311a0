# The dovecot family: mailboxes behind Postfix, handed over by LMTP.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    echo probe:probe | chpasswd
    postconf -e 'inet_interfaces=all' 'inet_protocols=ipv4' \
        'mynetworks=127.0.0.0/8 198.18.0.0/15' 'mydestination=$myhostname localhost' \
        'mailbox_transport=lmtp:unix:private/dovecot-lmtp' 'compatibility_level=3.6' \
        'minimal_backoff_time=15s' 'queue_run_delay=15s' 'maximal_backoff_time=60s'
    cat >/etc/dovecot/local.conf <<'CONF'
mail_location = maildir:~/Maildir
auth_username_format = %n
disable_plaintext_auth = no
ssl = no
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
CONF
    ;;
start)
    postconf -e "myhostname=$(cat /etc/hostname)"
    service dovecot start && service postfix start
    ;;
stop)
    service postfix stop
    service dovecot stop
    ;;
ports) echo 25 143 ;;
services) printf '%s\n' dovecot postfix postfix@- ;;
esac
