# OpenSMTPD, as Debian packs it.
opensmtpd_stop() {
    stop_service opensmtpd opensmtpd
    end_processes opensmtpd
}
opensmtpd_start() { service_ opensmtpd start || logged smtpd; }
opensmtpd_alive() {
    runs opensmtpd && smtpctl show stats >/dev/null 2>&1 || {
        echo 'no smtpd answers'
        return 1
    }
}
opensmtpd_queue() { smtpctl show queue | wc -l; }
opensmtpd_flush() { logged smtpctl schedule all; }
# A paused listener lets clients wait in its backlog instead of sending them to the next server: they are
# refused as well.
opensmtpd_drain() {
    refuse_syn mailkeep
    logged smtpctl pause smtp
}
opensmtpd_drains_deaf() { :; }
opensmtpd_is_drained() { is_refusing mailkeep; }
opensmtpd_before_proof() { logged smtpctl resume smtp; }
opensmtpd_undrain() { logged smtpctl resume smtp; }
