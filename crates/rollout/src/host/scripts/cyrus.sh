# Cyrus IMAP, as Debian packs it. It has no queue; who hands mail to it keeps it meanwhile.
cyrus_stop() {
    stop_service cyrus-imapd cyrus
    end_processes cyrus
}
cyrus_start() { service_ cyrus-imapd start; }
cyrus_alive() {
    runs cyrus /usr/sbin/cyrmaster || runs cyrus /usr/lib/cyrus/bin/master || {
        echo 'no cyrmaster'
        return 1
    }
}
# Readers stay for hours; theirs end at the next safe point.
cyrus_kick() {
    look_at_processes
    signal_processes TERM cyrus '*/imapd'
    signal_processes TERM cyrus '*/pop3d'
}
