# Cyrus IMAP, as Debian packs it. It has no queue; who hands mail to it keeps it meanwhile.
cyrus_stop() {
    service_ cyrus-imapd stop
    end_processes cyrus
}
cyrus_start() { service_ cyrus-imapd start; }
cyrus_alive() {
    mail_processes | grep -E -q ' cyrus [a-z]* /usr/(sbin/cyrmaster|lib/cyrus/bin/master)$' || {
        echo 'no cyrmaster'
        return 1
    }
}
# Readers stay for hours; theirs end at the next safe point.
cyrus_kick() {
    mail_processes | while read -r mk_pid mk_product mk_stale mk_exe; do
        case $mk_product:$mk_exe in
        cyrus:*/imapd | cyrus:*/pop3d) kill -TERM "$mk_pid" 2>/dev/null ;;
        esac
    done
}
