# Dovecot, as Debian packs it. It has no queue; who hands mail to it keeps it meanwhile.
dovecot_stop() {
    stop_service dovecot dovecot
    if has_processes dovecot; then logged doveadm stop; fi
    end_processes dovecot
}
# Its master takes a second over its end, in which packages are unpacked; nobody starts it before its time.
dovecot_before_upgrade() {
    mk_master=
    if [ -f /run/dovecot/master.pid ]; then read -r mk_master </run/dovecot/master.pid; fi
    look_at_processes
    if [ -n "$mk_master" ] && runs dovecot '*' "$mk_master"; then kill -TERM "$mk_master" 2>/dev/null; fi
}
dovecot_start() { service_ dovecot start || logged dovecot; }
dovecot_alive() {
    runs dovecot /usr/sbin/dovecot || {
        echo 'no dovecot process'
        return 1
    }
}
# Readers stay for hours; they are told to go and come back.
dovecot_kick() { logged doveadm kick '*'; }
