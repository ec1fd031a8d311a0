# Dovecot, as Debian packs it. It has no queue; who hands mail to it keeps it meanwhile.
dovecot_stop() {
    service_ dovecot stop
    if has_processes dovecot; then logged doveadm stop; fi
    end_processes dovecot
}
dovecot_start() { service_ dovecot start || logged dovecot; }
dovecot_alive() {
    mail_processes | grep -q ' dovecot [a-z]* /usr/sbin/dovecot$' || {
        echo 'no dovecot process'
        return 1
    }
}
# Readers stay for hours; they are told to go and come back.
dovecot_kick() { logged doveadm kick '*'; }
