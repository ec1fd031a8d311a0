# Dovecot, as Debian packs it. It has no queue; who hands mail to it keeps it meanwhile.
dovecot_stop() {
    service_ dovecot stop
    if has_processes dovecot; then logged doveadm stop; fi
    end_processes dovecot
}
# Its master takes a second over its end, in which packages are unpacked; nobody starts it before its time.
dovecot_before_upgrade() {
    mk_pid=$(cat /run/dovecot/master.pid 2>/dev/null)
    if [ -n "$mk_pid" ] && mail_processes | grep -q "^$mk_pid dovecot "; then kill -TERM "$mk_pid" 2>/dev/null; fi
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
