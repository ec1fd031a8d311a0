# Exim, as Debian packs it (exim4). Its children outlive its daemon, on the code they were started with.
exim_stop() {
    service_ exim4 stop
    if [ -n "$(exim_daemon)" ]; then kill -TERM "$(exim_daemon)" 2>/dev/null; fi
    end_processes exim
}
exim_start() { service_ exim4 start; }
# By its pid file; its children have the same command line.
exim_daemon() {
    mk_pid=$(cat /run/exim4/exim.pid 2>/dev/null)
    [ -n "$mk_pid" ] && mail_processes | grep "^$mk_pid exim " | cut -d ' ' -f 1
}
exim_alive() {
    [ -n "$(exim_daemon)" ] || {
        echo 'no exim daemon'
        return 1
    }
}
exim_queue() { exim4 -bpc; }
exim_flush() { logged exim4 -qff & }
# The daemon is stopped, and its children finish what they have. It must run again to be proven, so the
# packet filter keeps strangers out from the beginning.
exim_drain() {
    refuse_syn mailkeep
    service_ exim4 stop
}
exim_drains_deaf() { :; }
exim_is_drained() { is_refusing mailkeep; }
exim_undrain() { [ -n "$(exim_daemon)" ] || exim_start; }
