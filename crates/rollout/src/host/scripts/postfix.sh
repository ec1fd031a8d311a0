# Postfix, as Debian packs it.
postfix_stop() {
    stop_service postfix postfix
    # A master that the service manager does not know.
    if has_processes postfix; then logged postfix stop; fi
    end_processes postfix
}
# Its release notes ask for it: a master of the old version does not know the new one's children.
postfix_before_upgrade() { postfix_stop; }
postfix_start() { service_ postfix start || logged postfix start; }
postfix_alive() {
    runs postfix '*/master' || { echo 'no master process'; return 1; }
    runs postfix '*/qmgr' || runs postfix '*/[on]qmgr' || { echo 'no queue manager'; return 1; }
}
postfix_queue() {
    mk_queue=$(postconf -h queue_directory)
    find "$mk_queue/maildrop" "$mk_queue/incoming" "$mk_queue/active" "$mk_queue/deferred" -type f 2>/dev/null | wc -l
}
postfix_flush() { logged postqueue -f; }
# 421 to every client but this host and the controller, at connect; sessions that are open go on. Where
# a service in master.cf has restrictions of its own, main.cf does not reach it: then by packet filter.
postfix_drain() {
    if postconf -P 2>/dev/null | grep -q '/smtpd_client_restrictions'; then
        seen 'a service in master.cf has its own restrictions: drained by packet filter'
        refuse_syn mailkeep
        return
    fi
    # Half a copy would be half a main.cf one day.
    [ -f "$mk_dir/main.cf.undrained" ] ||
        { cp -p /etc/postfix/main.cf "$mk_dir/main.cf.new" && mv "$mk_dir/main.cf.new" "$mk_dir/main.cf.undrained"; } ||
        fail disk-full "main.cf cannot be copied to $mk_dir"
    postfix_who_is_let_in
    mk_had=$(postconf -c /etc/postfix -h smtpd_client_restrictions 2>/dev/null)
    case $mk_had in
    *mailkeep-drain*) ;;
    *)
        postconf -e "smtpd_client_restrictions = check_client_access cidr:/etc/postfix/mailkeep-drain.cidr${mk_had:+, $mk_had}" \
            'smtpd_delay_reject = no'
        ;;
    esac
    cp -p /etc/postfix/main.cf "$mk_dir/main.cf.drained"
    if has_processes postfix; then logged postfix reload; fi
    postfix_is_drained || fail other 'main.cf did not take the drain'
}
postfix_who_is_let_in() {
    let_in
    {
        for mk_address in $mk_let_in; do echo "$mk_address DUNNO"; done
        printf '127.0.0.0/8 DUNNO\n::1/128 DUNNO\n0.0.0.0/0 421 4.3.2 draining\n::/0 421 4.3.2 draining\n'
    } >/etc/postfix/mailkeep-drain.cidr || fail disk-full 'cannot write to /etc/postfix'
    chmod 644 /etc/postfix/mailkeep-drain.cidr
}
postfix_let_in() {
    [ -f /etc/postfix/mailkeep-drain.cidr ] || return 0
    postfix_who_is_let_in
    if has_processes postfix; then logged postfix reload; fi
}
postfix_is_drained() {
    postconf -h smtpd_client_restrictions 2>/dev/null | grep -q mailkeep-drain || is_refusing mailkeep
}
# postfix_undrained_copy FILE: main.cf as it would be without the drain; fails where there is none.
postfix_undrained_copy() {
    grep -q mailkeep-drain /etc/postfix/main.cf 2>/dev/null && [ -f "$mk_dir/main.cf.undrained" ] || return 1
    if cmp -s /etc/postfix/main.cf "$mk_dir/main.cf.drained"; then
        cp -p "$mk_dir/main.cf.undrained" "$1"
        return
    fi
    # Somebody, or a package, changed more than we did: only our two settings are taken back.
    mk_tmp=$mk_dir/main.cf.d
    rm -rf "$mk_tmp"
    mkdir -p "$mk_tmp/was"
    cp -p /etc/postfix/main.cf /etc/postfix/master.cf "$mk_tmp/"
    cp -p "$mk_dir/main.cf.undrained" "$mk_tmp/was/main.cf"
    for mk_name in smtpd_client_restrictions smtpd_delay_reject; do
        mk_had=$(postconf -c "$mk_tmp/was" -n 2>/dev/null | sed -n -e "s/^$mk_name = //p" -e "s/^$mk_name =\$/ /p")
        if [ -n "$mk_had" ]; then
            postconf -c "$mk_tmp" -e "$mk_name = ${mk_had# }"
        else
            postconf -c "$mk_tmp" -X "$mk_name"
        fi
    done 2>/dev/null
    cp -p "$mk_tmp/main.cf" "$1" && rm -rf "$mk_tmp"
}
postfix_undrain() {
    grep -q mailkeep-drain /etc/postfix/main.cf 2>/dev/null || return 0
    [ -f "$mk_dir/main.cf.undrained" ] || fail other 'main.cf holds a drain, and there is no copy without it'
    postfix_undrained_copy "$mk_dir/main.cf.now" && cp -p "$mk_dir/main.cf.now" /etc/postfix/main.cf.mailkeep-new &&
        mv /etc/postfix/main.cf.mailkeep-new /etc/postfix/main.cf || {
        rm -f /etc/postfix/main.cf.mailkeep-new
        fail disk-full 'main.cf cannot be written without the drain'
    }
    rm -f "$mk_dir/main.cf.now"
    rm -f /etc/postfix/mailkeep-drain.cidr "$mk_dir/main.cf.undrained" "$mk_dir/main.cf.drained"
    if has_processes postfix; then logged postfix reload; fi
}
# Where nobody reads its log. `master -t` looks at its lock, and ends.
postfix_says_why() {
    postfix check
    "$(postconf -h daemon_directory)/master" -t
}
