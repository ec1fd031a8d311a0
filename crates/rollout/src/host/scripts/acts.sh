# The acts. Each looks first, does what is missing, and looks again.

# What this family's host must be at: stop, start, alive, queue, flush; a front end has no queue.
check_family() {
    command -v "${mk_family}_start" >/dev/null 2>&1 ||
        fail other "no adapter for the product family $mk_family"
    have dpkg-query && have apt-get || fail other 'the host has no dpkg and apt; only those are known'
    have perl || fail other 'the host has no perl; it is essential on Debian'
}
queue() { if family_has queue; then "${mk_family}_queue" 2>/dev/null; else echo 0; fi; }
# The plan's and those of the picture, in their order, as mk_prove_ports.
ports_to_prove() {
    all_ports
    mk_named=" $mk_ports "
    if [ -f "$mk_dir/before/ports" ]; then
        while read -r mk_port; do mk_named="$mk_named$mk_port "; done <"$mk_dir/before/ports"
    fi
    mk_prove_ports=
    for mk_port in $mk_all_ports; do
        case $mk_named in *" $mk_port "*) mk_prove_ports="$mk_prove_ports $mk_port" ;; esac
    done
}
fail_where_down() {
    look_at_processes
    mk_why=$("${mk_family}_alive") || fail service-down "$mk_why"
}

act_precheck() {
    mk_ours=
    if read_lease "$mk_run/lease"; then
        if is_our_lease; then
            mk_ours=1
        elif ! may_take_over; then
            fail lease-held "$(lease_owner)"
        fi
    fi
    # Such a host is not done, whatever is installed: a drain may outlive its lease.
    mk_away=
    if is_kept_away; then mk_away=1; fi
    if [ -n "$mk_away" ] && [ -z "$mk_ours" ]; then
        fail other "mail is kept away already: $(cat "$mk_var/drained" 2>/dev/null)"
    fi
    # What plans left that never came to a lease.
    for mk_place in "$mk_var"/*/; do
        mk_place=${mk_place%/}
        if [ -d "$mk_place" ] && [ "$mk_place" != "$mk_dir" ] && [ ! -f "$mk_place/lease" ]; then
            rm -rf "$mk_place"
        fi
    done
    make_state
    read -r mk_id </proc/sys/kernel/hostname
    seen "hostname $mk_id"
    mk_id=
    if [ -f /etc/machine-id ]; then read -r mk_id </etc/machine-id; fi
    if [ -n "$mk_id" ]; then seen "machine-id $mk_id"; fi
    versions
    seen "installed $mk_found"
    case $mk_versions in
    other) fail unexpected-version "expected $(planned 2), found $mk_found" ;;
    esac
    mk_audit=$(dpkg --audit 2>/dev/null)
    if [ -n "$mk_audit" ]; then
        if ! apt_get check && [ "$(apt_complaint)" = locked ]; then
            not_yet "another package manager is at work: $(apt_words)"
        fi
        [ -f "$mk_dir/patching" ] ||
            fail package-manager "dpkg is half-way: $(printf '%s' "$mk_audit" | head -n 3); run dpkg --configure -a"
    fi
    look_for_stale
    if [ "$mk_versions" = to ] && [ -z "$mk_stale" ] && [ -z "$mk_recipe" ] && [ -z "$mk_away" ] &&
        "${mk_family}_alive" >/dev/null; then
        # shellcheck disable=SC2086 # words
        wait_listening 0 $mk_ports || fail service-down "nothing listens on port$mk_closed"
        [ -f "$mk_dir/lease" ] || rm -rf "$mk_dir"
        already
    fi
    if [ "$mk_versions" = to ]; then
        seen 'installed already; a restart is due'
    else
        precheck_packages
    fi
    fail_where_down
    each_mitigation look
    if read_lease "$mk_run/lease" && is_our_lease && [ -d "$mk_dir/before" ]; then
        ok
    fi
    if [ -n "$mk_away" ]; then
        fail other "mail is kept away already: $(cat "$mk_var/drained" 2>/dev/null)"
    fi
    take_picture || fail service-down "the port$mk_closed does not answer"
    config_print
    seen "configuration $mk_config"
    ok
}
# Room, the new packages, the old ones, and what apt would do.
precheck_packages() {
    fail_where_full
    download_both
    mk_asked=
    if [ -z "$mk_both" ] && [ -n "$mk_ask" ]; then
        # Only new ones are missing, and they come along. Where they do not, who fetches them says why.
        new_packages
        # shellcheck disable=SC2086 # words
        if ask_apt $mk_new $mk_ask; then mk_asked=1; fi
    fi
    if ! fetch new; then
        # Lists may be older than the plan.
        apt_get update || { [ "$(apt_complaint)" != locked ] || apt_failed 'apt-get update'; }
        fetch new || apt_failed "cannot be had:$mk_missing"
    fi
    fetch old || [ -n "$mk_no_way_back" ] ||
        fail package-unavailable "no way back: nobody offers$mk_missing, and it cannot be rebuilt"
    rm -rf "$mk_dir/both"
    note_packages
    [ -z "$mk_repacked" ] || seen "rebuilt-for-the-way-back$mk_repacked"
    [ -z "$mk_asked" ] || return 0
    new_packages
    # shellcheck disable=SC2086 # words
    ask_apt $mk_new || apt_failed 'apt-get download'
}
# Asks what apt would do with these: it takes the locks, and has whatever else it will need at hand.
ask_apt() {
    apt_get --download-only --no-remove --no-install-recommends install "$@" && return
    mk_removes=$(sed -n -e '/^The following packages will be REMOVED/,/^[^ ]/s/^  *//p' "$mk_dir/apt.out" | tr '\n' ' ')
    [ -z "$mk_removes" ] || fail package-manager "apt would remove $mk_removes"
    return 1
}
# What an earlier look fetched has had its part of the room: who asks for all of it again drains a host for
# nothing, or lets it go.
fail_where_full() {
    mk_wanted=$mk_free
    [ ! -d "$mk_dir/before" ] || mk_wanted=$((mk_free / 2))
    for mk_place in /usr /var/lib/dpkg /var/cache/apt "$mk_dir"; do
        free_mib "$mk_place"
        if [ "$mk_free_mib" -lt "$mk_wanted" ]; then
            fail disk-full "$mk_free_mib MiB free at $mk_place, $mk_wanted wanted"
        fi
    done
}
new_packages() { # as mk_new
    mk_new=
    while read -r mk_name mk_from mk_to; do
        [ -n "$mk_name" ] && [ "$mk_from" != "$mk_to" ] || continue
        if package_file "$mk_dir/new" "$mk_name" "$mk_to"; then mk_new="$mk_new $mk_deb"; fi
    done <<END
$mk_packages
END
}
take_picture() {
    mkdir -p "$mk_dir/before.new"
    # shellcheck disable=SC2086 # words
    wait_listening 0 $mk_ports || return 1
    for mk_port in $mk_open; do echo "$mk_port"; done >"$mk_dir/before.new/ports"
    # shellcheck disable=SC2086 # words
    talk $mk_open >"$mk_dir/before.new/talk"
    while read -r mk_port mk_what mk_text; do
        case $mk_what in silent | refuses | closed) mk_closed="$mk_closed $mk_port" ;; esac
    done <"$mk_dir/before.new/talk"
    for mk_port in $mk_ports; do
        case "$mk_closed " in *" $mk_port "*) return 1 ;; esac
    done
    # shellcheck disable=SC2016 # dpkg's own ${}
    dpkg-query -W -f '${Conffiles}\n' >"$mk_dir/before.new/conffiles" 2>/dev/null
    copy_config "$mk_dir/before.new/config" ||
        fail disk-full "the configuration cannot be copied to $mk_dir"
    rm -rf "$mk_dir/before"
    mv "$mk_dir/before.new" "$mk_dir/before"
    seen "ports $mk_open"
    while read -r mk_port mk_what mk_text; do
        [ "$mk_what" != greeting ] || seen "greeting-$mk_port $mk_text"
    done <"$mk_dir/before/talk"
}

act_lease() {
    if read_lease "$mk_run/lease"; then
        is_our_lease
        case $? in
        0)
            if [ "$lease_fence" = "$mk_fence" ]; then already; fi
            seen "taken over from fence $lease_fence"
            ;;
        2) fail lease-lost "a newer controller has the lease: $(lease_owner)" ;;
        *)
            may_take_over || fail lease-held "$(lease_owner)"
            # Nor may a reboot bring it back.
            case $lease_plan in
            */*) ;;
            *) rm -f "$mk_var/${lease_plan##*:}/lease" ;;
            esac
            seen "taken over from plan $lease_plan"
            ;;
        esac
    elif read_lease "$mk_dir/lease" && [ "$lease_fence" -gt "$mk_fence" ]; then
        fail lease-lost "a newer controller had the lease: $(lease_owner)"
    fi
    write_lease
    read_lease "$mk_run/lease" && is_our_lease || fail other 'the lease was not written'
    seen "lease $(lease_owner)"
    ok
}

act_drain() {
    need_lease
    [ -d "$mk_dir/before" ] || fail other 'no picture of the host was taken: precheck first'
    if [ -f "$mk_var/drained" ] && is_drained; then
        keep_drained
        says_let_in_before_patch
        already
    fi
    drain
    is_drained || fail other "the drain ($mk_drain) has no effect"
    seen "drained $mk_drain"
    says_let_in_before_patch
    ok
}
# Whoever reads it tries to be greeted, and lets the host go untouched where that fails: not once the patch
# was begun, when a host may greet nobody because it must be rolled back.
says_let_in_before_patch() { [ -f "$mk_dir/patching" ] || says_let_in; }

act_await_empty() {
    need_lease
    keep_drained
    [ -f "$mk_dir/await" ] || uptime_seconds >"$mk_dir/await"
    read -r mk_since <"$mk_dir/await" || mk_since=$(uptime_seconds)
    if [ ! -f "$mk_dir/flushed" ]; then
        if family_has flush; then "${mk_family}_flush"; fi
        uptime_seconds >"$mk_dir/flushed"
    fi
    mk_rounds=0
    mk_kicked=
    while :; do
        mk_sessions=0
        [ "$mk_drain" = none ] || open_sessions
        mk_queued=$(queue)
        mk_waited=$(($(uptime_seconds) - mk_since))
        [ "$mk_waited" -ge 0 ] || mk_waited=$mk_queue_patience
        if [ "$mk_sessions" -eq 0 ]; then
            # What could be delivered now has left; the rest is safe on disk and has its next try later.
            if [ "$mk_queued" -eq 0 ] || [ -n "$mk_last" ] || [ "$mk_waited" -ge "$mk_queue_patience" ]; then
                break
            fi
        elif [ "$mk_waited" -ge "$mk_queue_patience" ] && [ -z "$mk_kicked" ] && family_has kick; then
            "${mk_family}_kick"
            mk_kicked=1
            seen "told $mk_sessions sessions to end"
        fi
        mk_rounds=$((mk_rounds + 1))
        if [ "$mk_rounds" -gt 80 ]; then
            not_yet "$mk_sessions sessions are open, $mk_queued messages in the queue"
        fi
        if [ "$mk_rounds" -gt 10 ]; then sleep 0.6; else sleep 0.2; fi
    done
    seen "queue $mk_queued"
    seen "waited-seconds $mk_waited"
    ok
}

act_save() {
    need_lease
    keep_drained
    if [ -f "$mk_dir/saved" ]; then already; fi
    [ -d "$mk_dir/before/config" ] || fail other 'no copy of the configuration was made: precheck first'
    fail_where_config_changed
    versions
    if [ "$mk_versions" = to ]; then
        # Nothing will be installed, so nothing can be taken back: the same versions, started again.
        : >"$mk_dir/restart-only"
    else
        # The last look before anything is changed.
        fail_where_full
        fetch old || [ -n "$mk_no_way_back" ] ||
            fail package-unavailable "no way back: nobody offers$mk_missing, and it cannot be rebuilt"
    fi
    sync -f "$mk_dir" 2>/dev/null || sync
    : >"$mk_dir/saved" || fail disk-full "cannot write to $mk_dir"
    while read -r mk_sum mk_file; do
        [ -z "$mk_file" ] || seen "saved ${mk_file##*/} sha256 $mk_sum"
    done <<END
$(sha256sum "$mk_dir/old/"*.deb 2>/dev/null)
END
    config_print
    seen "saved configuration $mk_config"
    ok
}

# The product itself, and others whose code is old after the upgrade (a library of theirs was in it).
restart_all() {
    look_for_stale
    mk_others=
    while read -r mk_pid mk_product mk_exe; do
        [ -n "$mk_product" ] || continue
        case " $mk_family $mk_others " in *" $mk_product "*) ;; *) mk_others="$mk_others $mk_product" ;; esac
    done <<END
$mk_stale
END
    for mk_each in $mk_family $mk_others; do
        command -v "${mk_each}_stop" >/dev/null 2>&1 || continue
        "${mk_each}_stop" || fail service-down "$mk_each does not stop: $(printf '%s' "$mk_processes" | grep " $mk_each " | head -n 3)"
    done
    for mk_each in $mk_others $mk_family; do
        command -v "${mk_each}_start" >/dev/null 2>&1 || continue
        mark_logs
        "${mk_each}_start" || fail service-down "$mk_each does not start: $(why_down)"
        seen "restarted $mk_each"
    done
    mk_rounds=0
    ports_to_prove
    # shellcheck disable=SC2086 # words
    until wait_listening 1 $mk_prove_ports; do
        mk_rounds=$((mk_rounds + 1))
        # Half a minute for one that starts slowly; a few seconds where nothing is left of it.
        if [ "$mk_rounds" -ge 30 ] || { [ "$mk_rounds" -ge 4 ] && ! has_processes "$mk_family"; }; then
            fail service-down "nothing listens on port$mk_closed: $(why_down)"
        fi
    done
    mk_tries=0
    until look_at_processes && mk_why=$("${mk_family}_alive"); do
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -lt 50 ] || fail service-down "$mk_why: $(why_down)"
        sleep 0.2
    done
}
# How long each log is before something is started: what was wrong last week explains nothing.
mark_logs() {
    mk_marked=$(date +%s)
    wc -c "$mk_dir/log" $mk_logs 2>/dev/null >"$mk_dir/logs" || :
}
mk_logs='/var/log/mail.log /var/log/mail.err /var/log/maillog /var/log/exim4/paniclog /var/log/exim4/mainlog /var/log/messages /var/log/syslog'
mk_marked=
# What was said since: by the logs, by the journal, or by whoever was to start it; nothing where it hung
# in silence.
why_down() {
    for mk_file in $mk_logs; do
        said_since "$mk_file" | complaints && return
    done
    if have journalctl; then
        journalctl -q -n 500 --no-pager -o cat ${mk_marked:+--since "@$mk_marked"} 2>/dev/null | complaints && return
    fi
    if family_has says_why && "${mk_family}_says_why" </dev/null 2>&1 | grep . | tail -n 2 | tr '\n' ' ' | grep .; then return; fi
    said_since "$mk_dir/log" | grep -v '^$' | tail -n 3 | tr '\n' ' '
}
complaints() { grep -i -E 'fatal|error|panic|cannot|fail' | tail -n 2 | tr '\n' ' ' | grep .; }
said_since() { # FILE
    [ -s "$1" ] || return 0
    mk_from=$(awk -v f="$1" '$2 == f { print $1 }' "$mk_dir/logs" 2>/dev/null)
    tail -c "+$((${mk_from:-0} + 1))" "$1" 2>/dev/null | tail -n 200
}

repair_dpkg() {
    if [ -n "$(dpkg --audit 2>/dev/null)" ] || [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then
        seen 'an interrupted dpkg was found; finished it'
        dpkg_ --configure -a && return
        [ "$(apt_complaint)" != locked ] || apt_failed 'dpkg --configure -a'
    fi
}

act_patch() {
    need_lease
    keep_drained
    versions
    case $mk_versions in
    to)
        look_for_stale
        if [ -z "$mk_stale" ] && "${mk_family}_alive" >/dev/null &&
            { [ -f "$mk_dir/patched" ] || [ -z "$mk_recipe" ]; }; then
            already
        fi
        ;;
    other)
        # Others' versions before anything was done are theirs, and none to take back.
        if [ -f "$mk_dir/patching" ]; then
            fail package-manager "expected $(planned 2) or $(planned 3), found $mk_found"
        fi
        fail unexpected-version "expected $(planned 2), found $mk_found"
        ;;
    esac
    [ -f "$mk_dir/saved" ] || fail other 'the way back is not saved'
    # Whoever changed something did so before us: the host is as it was, and goes back as it is.
    if [ ! -f "$mk_dir/patching" ]; then
        fail_where_config_changed
        # shellcheck disable=SC2046 # words
        fail_where_certificates_changed "$(certificates $(sed -n -e 's/^\([0-9]*\) names .*/\1/p' "$mk_dir/before/talk"))"
    fi
    : >"$mk_dir/patching"
    # An update may overwrite what stands in for it, and leave the server open for a moment.
    each_mitigation assert
    run_commands before-install
    if [ "$mk_versions" != to ]; then
        hold_services
        repair_dpkg
        if family_has before_upgrade; then "${mk_family}_before_upgrade"; fi
        new_packages
        # shellcheck disable=SC2086 # words
        if ! apt_get --no-install-recommends --allow-downgrades install $mk_new; then
            mk_kind=$(apt_complaint)
            let_services_start
            if [ "$mk_kind" = locked ]; then
                # What was told to end may not have yet.
                "${mk_family}_stop"
                "${mk_family}_start"
                not_yet "another package manager is at work: $(apt_words)"
            fi
            fail "$mk_kind" "apt-get install: $(apt_words)"
        fi
        let_services_start
        versions
        [ "$mk_versions" = to ] || fail package-manager "wanted $(planned 3), found $mk_found"
        seen "installed $mk_found"
    fi
    put_fragments
    run_commands before-restart
    restart_all
    keep_drained
    look_for_stale
    [ -z "$mk_stale" ] || fail runs-old-code "$(printf '%s' "$mk_stale" | head -n 3)"
    each_mitigation settle
    run_commands after-restart
    : >"$mk_dir/patched"
    ok
}

restarts_only() { [ -f "$mk_dir/restart-only" ] || ! installs; }

# prove 2|3: against the versions the plan starts from, or ends at.
prove() {
    versions
    if [ "$1" = 3 ]; then mk_wanted=to; else mk_wanted=from; fi
    if [ "$mk_versions" != "$mk_wanted" ] && ! restarts_only; then
        fail unexpected-version "expected $(planned "$1"), found $mk_found"
    fi
    mk_audit=$(dpkg --audit 2>/dev/null)
    [ -z "$mk_audit" ] || fail package-manager "dpkg is half-way: $(printf '%s' "$mk_audit" | head -n 3)"
    seen "installed $mk_found"
    # Children that finish what they had begun may take a moment.
    mk_tries=0
    while look_for_stale && [ -n "$mk_stale" ]; do
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -le 20 ] || fail runs-old-code "$(printf '%s' "$mk_stale" | head -n 4 | tr '\n' ';')"
        sleep 0.25
    done
    fail_where_down
    # Each executable once.
    mk_exes=' '
    set -f
    IFS=$mk_nl
    for mk_line in $mk_processes; do
        mk_exe=${mk_line#* * * }
        case $mk_exes in *" $mk_exe "*) ;; *) mk_exes="$mk_exes$mk_exe " ;; esac
    done
    set +f
    unset IFS
    find_owners
    mk_names=
    while read -r mk_line mk_exe mk_owner; do
        [ -z "$mk_owner" ] || case " $mk_names " in *" $mk_owner "*) ;; *) mk_names="$mk_names $mk_owner" ;; esac
    done <<END
$mk_owners
END
    # shellcheck disable=SC2016,SC2086 # dpkg's own ${}; words
    mk_owned=$(dpkg-query -W -f 'version ${Package} ${Version}\n' $mk_names 2>/dev/null)
    mk_runs=$(printf '%s\n%s\n%s\n' "$mk_owners" "$mk_owned" "$mk_processes" | awk '
        $1 == "owner" { if (!($2 in owner)) owner[$2] = $3; next }
        $1 == "version" { if (!($2 in version)) version[$2] = $3; next }
        NF { if (!count[$4]++) exes[++n] = $4 }
        END {
            for (i = 1; i <= n; i++) {
                exe = exes[i]
                print exe, (exe in owner ? owner[exe] : "-"), version[owner[exe]], "processes", count[exe]
            }
        }')
    while read -r mk_exe mk_owner mk_version; do
        [ -n "$mk_exe" ] || continue
        [ "$mk_owner" != - ] || fail runs-old-code "$mk_exe belongs to no installed package"
        seen "runs $mk_exe $mk_owner $mk_version"
    done <<END
$mk_runs
END
    if family_has before_proof; then "${mk_family}_before_proof"; fi
    if [ "$1" = 2 ] || [ "$mk_act" = prove ]; then says_let_in; fi
    ports_to_prove
    # shellcheck disable=SC2086 # words
    wait_listening 5 $mk_prove_ports || fail service-down "nothing listens on port$mk_closed: $(why_down)"
    # shellcheck disable=SC2086 # words
    mk_talk=$(talk $mk_prove_ports)
    # Where nothing can be written nothing would differ.
    printf '%s\n' "$mk_talk" >"$mk_dir/talk.now" || fail disk-full "cannot write to $mk_dir"
    mk_diff= mk_same=
    if cmp -s "$mk_dir/before/talk" "$mk_dir/talk.now"; then
        mk_same=1
    else
        mk_diff=$(talk_difference "$1") || fail disk-full "cannot write to $mk_dir"
    fi
    case $mk_diff in
    *'> '*' silent'* | *'> '*' refuses'*) fail service-down "$mk_diff" ;;
    esac
    fail_where_config_changed
    # After the proof it was not the patch.
    if [ "$mk_act" = recheck ] && [ -z "$mk_same" ]; then fail_where_certificates_changed "$mk_talk"; fi
    [ -z "$mk_diff" ] || fail mail-service-changed "$mk_diff"
    while read -r mk_port mk_what mk_text; do
        case $mk_what in
        greeting) seen "greeting-$mk_port $mk_text" ;;
        certificate)
            seen "certificate-$mk_port $mk_text"
            [ -z "$mk_same" ] || continue
            mk_had=$(sed -n -e "s/^$mk_port certificate //p" "$mk_dir/before/talk")
            [ "$mk_had" = "$mk_text" ] || seen "certificate-$mk_port is another one, for the same names; before $mk_had"
            ;;
        esac
    done <<END
$mk_talk
END
    seen "configuration unchanged${mk_may_change:+ but for $mk_may_change}"
    if [ "$1" = 3 ]; then
        check_fragments
        each_mitigation hold
        run_proofs
    fi
    if family_has queue; then seen "queue $(queue)"; fi
}
# The package of each of mk_exes: lines `owner EXE PACKAGE` in mk_owners. dpkg-query reads the lists of all packages
# for that; what it said holds as long as dpkg has not touched them.
find_owners() {
    mk_lists=$(stat -c '%n %i %.9Y %.9Z' /var/lib/dpkg/info /var/lib/dpkg/diversions 2>/dev/null)
    mk_owners=$(cat "$mk_dir/owners" 2>/dev/null)
    case $mk_owners in
    "$mk_lists$mk_nl"*"$mk_nl".)
        mk_known=1
        for mk_exe in $mk_exes; do
            case $mk_owners in *"${mk_nl}owner $mk_exe "*) ;; *) mk_known= ;; esac
        done
        if [ -n "$mk_known" ]; then
            mk_owners=${mk_owners#"$mk_lists$mk_nl"}
            mk_owners=${mk_owners%"$mk_nl".}
            return 0
        fi
        ;;
    esac
    # shellcheck disable=SC2086 # words
    mk_owners=$(dpkg-query -S $mk_exes 2>/dev/null | sed -n -e '/^\(local \)*diversion /d' -e 's|^\([^:, ]*\).*: \(/.*\)$|owner \2 \1|p')
    { printf '%s\n%s\n.\n' "$mk_lists" "$mk_owners" >"$mk_dir/owners"; } 2>/dev/null || :
}
# talk_difference 2|3: lines that came and went since the picture. A certificate for the same names is no
# change: a restart loads what was renewed long ago. Nor can a rollback bring one back.
talk_difference() {
    for mk_when in before/talk talk.now; do
        compared_talk "$mk_dir/$mk_when" | sed -e '/^[0-9]* certificate /d' >"$mk_dir/talk.compared" || return 1
        [ "$1" = 3 ] || sed -i -e 's/^\([0-9]* names\) .*/\1/' "$mk_dir/talk.compared" || return 1
        [ "$mk_when" = talk.now ] || mv "$mk_dir/talk.compared" "$mk_dir/talk.was" || return 1
    done
    diff "$mk_dir/talk.was" "$mk_dir/talk.compared" | grep '^[<>]' | head -n 6
}
act_prove() {
    need_lease
    keep_drained
    prove 3
    ok
}
act_prove_old() {
    need_lease
    keep_drained
    prove 2
    ok
}
act_return() {
    need_lease
    if [ ! -f "$mk_var/drained" ] && ! is_refusing mailkeep; then
        fail_where_down
        already
    fi
    undrain
    if [ "$mk_drain" != none ] && is_drained; then fail other 'mail is still kept away'; fi
    rm -f "$mk_dir/await" "$mk_dir/flushed"
    ports_to_prove
    # shellcheck disable=SC2086 # words
    wait_listening 10 $mk_prove_ports || fail service-down "nothing listens on port$mk_closed"
    fail_where_down
    seen 'in service'
    ok
}
act_recheck() {
    need_lease
    if is_kept_away; then fail other 'mail is kept away'; fi
    mk_watching=1
    # A rollback leaves the old versions, which are watched as well.
    if [ -f "$mk_dir/rolled-back" ]; then prove 2; else prove 3; fi
    ok
}
act_roll_back() {
    need_lease
    keep_drained
    versions
    look_for_stale
    if { [ "$mk_versions" = from ] || restarts_only; } && [ -z "$mk_stale" ] &&
        "${mk_family}_alive" >/dev/null && [ -z "$(config_changes)" ] && ! has_changed_mitigations && [ ! -f "$mk_dir/going-back" ]; then
        : >"$mk_dir/rolled-back"
        already
    fi
    [ -f "$mk_dir/saved" ] || fail other 'no way back was saved'
    : >"$mk_dir/rolled-back"
    # Until all is done, whatever a try that was cut short has reached.
    : >"$mk_dir/going-back"
    hold_services
    repair_dpkg
    if [ "$mk_versions" != from ] && ! restarts_only; then
        if family_has before_upgrade; then "${mk_family}_before_upgrade"; fi
        mk_old=
        while read -r mk_name mk_from mk_to; do
            [ -n "$mk_name" ] && [ "$mk_from" != "$mk_to" ] || continue
            package_file "$mk_dir/old" "$mk_name" "$mk_from" ||
                fail package-unavailable "the saved package of $mk_name $mk_from is gone"
            mk_old="$mk_old $mk_deb"
        done <<END
$mk_packages
END
        # shellcheck disable=SC2086 # words
        if ! dpkg_ --force-downgrade -i $mk_old; then
            [ "$(apt_complaint)" != locked ] || apt_failed 'dpkg -i'
            # Once more by apt, which fetches what the old versions need.
            # shellcheck disable=SC2086 # words
            apt_get --no-install-recommends --allow-downgrades install $mk_old || apt_failed 'going back'
        fi
    fi
    mk_restored=$(config_changes)
    # The old main.cf knows of no drain, and new smtpd read it at once.
    if [ -n "$mk_restored" ] && family_has stop; then "${mk_family}_stop"; fi
    for mk_path in $mk_restored; do
        keep_copy "$mk_path"
        if [ -e "$mk_dir/before/config$mk_path" ]; then
            cp -a "$mk_dir/before/config$mk_path" "$mk_path"
        else
            rm -f "$mk_path"
        fi
        seen "restored $mk_path"
    done
    take_fragments_back
    let_services_start
    versions
    [ "$mk_versions" = from ] || restarts_only ||
        fail unexpected-version "wanted $(planned 2), found $mk_found"
    seen "installed $mk_found"
    # What is started is not proven yet, and may not start at all.
    keep_drained
    restart_all
    keep_drained
    take_mitigations_back
    rm -f "$mk_dir/going-back"
    ok
}
act_release() {
    if ! read_lease "$mk_run/lease"; then
        rm -rf "$mk_dir"
        already
    fi
    need_lease
    if [ -f "$mk_var/drained" ]; then fail other 'mail is still kept away: return first'; fi
    rm -f "$mk_run/lease"
    rm -rf "$mk_dir"
    ok
}

# By hand, outside any plan.
act_isolate() {
    one_at_a_time
    if is_refusing mailkeep_isolated; then already; fi
    refuse_syn mailkeep_isolated all
    open_sessions
    seen "isolated, open sessions $mk_sessions"
    ok
}
act_end_isolation() {
    one_at_a_time
    mk_was=
    if is_refusing mailkeep_isolated; then mk_was=1; fi
    accept_syn mailkeep_isolated || fail other 'the refusing rule cannot be removed'
    [ -n "$mk_was" ] || already
    seen "takes mail again"
    ok
}

main() {
    case $mk_act in
    isolate) act_isolate ;;
    end-isolation) act_end_isolation ;;
    front-look) front_look ;;
    front-drain) front_drain ;;
    front-await) front_await ;;
    front-return) front_return ;;
    esac
    check_family
    one_at_a_time
    case $mk_act in
    precheck)
        # The host serves mail meanwhile, and that comes first.
        renice -n 5 -p $$ >/dev/null 2>&1
        act_precheck
        ;;
    lease) act_lease ;;
    drain) act_drain ;;
    await-empty) act_await_empty ;;
    save) act_save ;;
    patch) act_patch ;;
    prove) act_prove ;;
    return) act_return ;;
    recheck) act_recheck ;;
    roll-back) act_roll_back ;;
    prove-old) act_prove_old ;;
    release) act_release ;;
    *) fail other "no act $mk_act" ;;
    esac
    fail other 'the act came to no end'
}
