# HAProxy as the product that is patched.
haproxy_stop() {
    stop_service haproxy haproxy
    end_processes haproxy
}
haproxy_start() { service_ haproxy start; }
haproxy_alive() {
    runs haproxy || {
        echo 'no haproxy'
        return 1
    }
}

# HAProxy as a front end: the host is one of its servers. No lease is taken there; each command is whole
# in itself.
admin() {
    # shellcheck disable=SC2016 # perl's own $
    printf '%s\n' "$1" | perl -e '
        use strict; use Socket;
        my $said = <STDIN>;
        socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
        connect($socket, pack_sockaddr_un($ARGV[0])) or die "$ARGV[0]: $!\n";
        alarm 20;
        syswrite $socket, $said;
        local $/; print <$socket>;' "$mk_socket" 2>&1
}
# Sets front_admin (0 is ready), front_running and front_sessions.
front_state() {
    mk_row=$(admin "show servers state $mk_backend" | awk -v s="$mk_server" '$4 == s { print $6, $7 }')
    [ -n "$mk_row" ] || fail other "no server $mk_backend/$mk_server at $mk_socket: $(admin 'show info' | head -n 1)"
    front_running=${mk_row%% *} front_admin=${mk_row##* }
    front_sessions=$(admin 'show stat' | awk -F , -v b="$mk_backend" -v s="$mk_server" '$1 == b && $2 == s { print $5 }')
    front_sessions=${front_sessions:-0}
}
# Told to keep away: forced maintenance (1) or forced drain (8).
front_keeps_away() { [ $((front_admin & 9)) -ne 0 ]; }
front_look() {
    front_state
    seen "front-end $mk_backend/$mk_server running $front_running admin $front_admin"
    ok
}
front_drain() {
    front_state
    if front_keeps_away; then already; fi
    mk_said=$(admin "set server $mk_backend/$mk_server state drain")
    front_state
    front_keeps_away || fail other "HAProxy did not drain the server: $mk_said"
    seen "front-end $mk_backend/$mk_server drained, sessions $front_sessions"
    ok
}
front_await() {
    mk_tries=0
    while :; do
        front_state
        front_keeps_away || admin "set server $mk_backend/$mk_server state drain" >/dev/null
        [ "$front_sessions" -ne 0 ] || break
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -lt 40 ] || not_yet "$front_sessions sessions are open at the front end"
        sleep 0.5
    done
    if [ $((front_admin & 1)) -ne 0 ]; then already; fi
    # Drain still lets persistent clients in; now nobody is left.
    mk_said=$(admin "set server $mk_backend/$mk_server state maint")
    front_state
    [ $((front_admin & 1)) -ne 0 ] || fail other "HAProxy did not take the server out: $mk_said"
    seen "front-end $mk_backend/$mk_server sessions 0, in maintenance"
    ok
}
front_return() {
    front_state
    if ! front_keeps_away && [ "$front_running" = 2 ]; then already; fi
    mk_said=$(admin "set server $mk_backend/$mk_server state ready")
    mk_tries=0
    while :; do
        front_state
        if front_keeps_away; then fail other "HAProxy did not let the server back: $mk_said"; fi
        [ "$front_running" != 2 ] || break
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -lt 40 ] || not_yet 'HAProxy has not yet found the server healthy'
        sleep 0.25
    done
    seen "front-end $mk_backend/$mk_server ready"
    ok
}
