# Exim, as Debian packs it (exim4). Its children outlive its daemon, on the code they were started with.
exim_stop() {
    stop_service exim4 exim
    look_at_processes
    if exim_daemon; then kill -TERM "$mk_daemon" 2>/dev/null; fi
    end_processes exim
}
exim_start() { service_ exim4 start; }
# By its pid file, of the processes that were looked at, as mk_daemon; its children have the same command line.
exim_daemon() {
    mk_daemon=
    if [ -f /run/exim4/exim.pid ]; then read -r mk_daemon </run/exim4/exim.pid; fi
    [ -n "$mk_daemon" ] && runs exim '*' "$mk_daemon"
}
exim_alive() {
    exim_daemon || {
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
exim_undrain() {
    look_at_processes
    exim_daemon || exim_start
}
