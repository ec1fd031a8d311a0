# Sendmail, as Debian packs it.
sendmail_stop() {
    service_ sendmail stop
    end_processes sendmail
}
sendmail_start() { service_ sendmail start; }
sendmail_alive() {
    mk_pid=$(head -n 1 /run/sendmail/mta/sendmail.pid 2>/dev/null)
    mail_processes | grep -q "^${mk_pid:-none} sendmail " || {
        echo 'no sendmail daemon'
        return 1
    }
}
sendmail_queue() {
    find /var/spool/mqueue /var/spool/mqueue-client -type f \( -name 'qf*' -o -name 'hf*' \) 2>/dev/null | wc -l
}
sendmail_flush() { logged sendmail -qf & }
