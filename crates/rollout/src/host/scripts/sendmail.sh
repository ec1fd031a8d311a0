# Sendmail, as Debian packs it.
sendmail_stop() {
    stop_service sendmail sendmail
    end_processes sendmail
}
sendmail_start() { service_ sendmail start; }
sendmail_alive() {
    mk_daemon=
    if [ -f /run/sendmail/mta/sendmail.pid ]; then read -r mk_daemon </run/sendmail/mta/sendmail.pid; fi
    [ -n "$mk_daemon" ] && runs sendmail '*' "$mk_daemon" || {
        echo 'no sendmail daemon'
        return 1
    }
}
sendmail_queue() {
    find /var/spool/mqueue /var/spool/mqueue-client -type f \( -name 'qf*' -o -name 'hf*' \) 2>/dev/null | wc -l
}
sendmail_flush() { logged sendmail -qf & }
