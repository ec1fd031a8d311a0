# What every act uses. An answer is lines `=NONCE seen NAME VALUE` between `=NONCE begin 1 ACT` and
# `=NONCE end HOW`; it is printed at once when all is done, so that a cut connection stops nothing
# half-way. It is understood by crates/rollout/src/host/answer.rs.
#
# State on the host: /var/lib/mailkeep/rollout/PLAN (pictures, packages, what was changed), the file
# `drained` beside it (who keeps mail away, and how), and /run/mailkeep/lease.
LC_ALL=C
LANGUAGE=
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL LANGUAGE PATH
unset POSIXLY_CORRECT GREP_OPTIONS IFS
umask 077
cd /

mk_nl='
'
mk_var=/var/lib/mailkeep/rollout
# Without the colon of an id: apt takes a path with one for no file, and installs nothing.
mk_dir=$mk_var/${mk_plan##*:}
# Never removed by Mailkeep.
mk_kept=/var/lib/mailkeep/kept/${mk_plan##*:}
mk_run=/run/mailkeep
mk_out=
mk_locked=
mk_watching=
# Ports on which mail is taken or read.
mk_mail_ports='24 25 110 143 465 587 993 995 2525 4190'

have() { command -v "$1" >/dev/null 2>&1; }
# As mk_line; few texts need another program for it.
one_line() {
    mk_line=$*
    case $mk_line in
    *[[:cntrl:]]*) mk_line=$(printf '%s' "$mk_line" | tr '\n\t\r' '   ' | tr -d '\000-\037') ;;
    esac
    [ "${#mk_line}" -le 900 ] || mk_line=$(printf '%s' "$mk_line" | cut -c 1-900)
}
seen() {
    one_line "$*"
    mk_out="$mk_out=$mk_nonce seen $mk_line$mk_nl"
}

# The end of an act. Never called in a subshell.
finish() {
    if [ -n "$mk_locked" ]; then
        let_services_start
        rm -f "$mk_run/act"
        mk_locked=
    fi
    trap - EXIT
    one_line "$*"
    printf '\n=%s begin 1 %s\n%s=%s end %s\n' "$mk_nonce" "$mk_act" "$mk_out" "$mk_nonce" "$mk_line"
    exit 0
}
ok() { finish done; }
already() { finish already; }
not_yet() { finish not-yet "$@"; }
fail() {
    # While others install, packages, code and services are half-way for a moment: nobody's failure yet.
    if [ -n "$mk_watching" ] && ! apt_get check && [ "$(apt_complaint)" = locked ]; then
        not_yet "another package manager is at work: $(apt_words)"
    fi
    finish failed "$@"
}

# Start of a process in clock ticks; with the number it names a process for good.
proc_start() {
    mk_stat=
    { read -r mk_stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    mk_stat=${mk_stat##*) }
    # shellcheck disable=SC2086 # words
    set -- $mk_stat
    printf '%s' "${20}"
}
# Differs after a reboot; the first process tells containers' boots apart.
this_boot() {
    mk_boot=
    read -r mk_boot </proc/sys/kernel/random/boot_id
    printf '%s-%s' "$mk_boot" "$(proc_start 1)"
}
uptime_seconds() {
    read -r mk_up _ </proc/uptime
    printf '%s' "${mk_up%%.*}"
}

# remove_stale_lock WHAT-IT-SAID: of two that find it, one may have put its own there meanwhile. This lock goes with
# whoever holds it, and no daemon is started under it. flock(1) is essential on Debian.
remove_stale_lock() {
    if have flock; then
        (
            flock 9
            [ "$(readlink "$mk_run/act")" != "$1" ] || rm -f "$mk_run/act"
        ) 9>"$mk_run/act.guard"
    else
        rm -f "$mk_run/act"
    fi
}
# One act at a time: a controller that gave up waiting asks again while the first try still works.
one_at_a_time() {
    mkdir -p "$mk_run" || fail other "cannot create $mk_run"
    mk_me="$$:$(proc_start $$):$mk_act"
    mk_tries=0 mk_waits=0
    until ln -s "$mk_me" "$mk_run/act" 2>/dev/null; do
        mk_held=$(readlink "$mk_run/act")
        mk_pid=${mk_held%%:*}
        mk_rest=${mk_held#*:}
        if [ -n "$mk_held" ] && [ "$(proc_start "$mk_pid")" = "${mk_rest%%:*}" ]; then
            # Most are done in seconds, and a host out of service should not wait for the next asking.
            # Only acts that need the lease wait: one whose controller is gone may have its turn late.
            mk_waits=$((mk_waits + 1))
            case $mk_act in
            drain | await-empty | save | patch | prove | return | recheck | roll-back | prove-old | release)
                if [ "$mk_waits" -le 40 ]; then
                    sleep 0.5
                    continue
                fi
                ;;
            esac
            not_yet "an earlier ${mk_rest##*:} (process $mk_pid) is still at work"
        fi
        remove_stale_lock "$mk_held"
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -lt 5 ] || fail other "$mk_run/act cannot be made"
    done
    mk_locked=1
    trap 'let_services_start; rm -f "$mk_run/act"' EXIT
    trap 'exit 1' HUP INT TERM
    # What an act that was killed left.
    let_services_start
}

make_state() {
    mkdir -p "$mk_dir" 2>/dev/null && : >"$mk_dir/.writable" && rm -f "$mk_dir/.writable" && return
    if [ "$(free_mib /var/lib)" = 0 ]; then fail disk-full "cannot write to $mk_dir"; fi
    fail other "cannot write to $mk_dir"
}
mk_logfile() { if [ -d "$mk_dir" ]; then printf '%s' "$mk_dir/log"; else printf /dev/null; fi; }
# Runs quietly, with its words in the log.
logged() { "$@" </dev/null >>"$(mk_logfile)" 2>&1; }
last_words() { tail -n 20 "$1" 2>/dev/null | grep -v '^$' | tail -n "${2:-2}"; }

# --- the lease --------------------------------------------------------------------------------------
# read_lease FILE: sets lease_controller, lease_plan, lease_fence, lease_host, lease_boot.
read_lease() {
    lease_controller= lease_plan= lease_fence= lease_host= lease_boot=
    [ -f "$1" ] || return 1
    while read -r mk_key mk_value; do
        case $mk_key in
        controller) lease_controller=$mk_value ;;
        plan) lease_plan=$mk_value ;;
        fence) lease_fence=$mk_value ;;
        host) lease_host=$mk_value ;;
        boot) lease_boot=$mk_value ;;
        esac
    done <"$1"
    case $lease_fence in '' | *[!0-9]*) lease_fence=0 ;; esac
    return 0
}
write_lease() {
    make_state
    mkdir -p "$mk_run"
    printf 'controller %s\nplan %s\nfence %s\nhost %s\nboot %s\n' \
        "$mk_controller" "$mk_plan" "$mk_fence" "$mk_host" "$(this_boot)" >"$mk_dir/lease.new" &&
        mv "$mk_dir/lease.new" "$mk_dir/lease" && cp "$mk_dir/lease" "$mk_run/lease.new" &&
        mv "$mk_run/lease.new" "$mk_run/lease" || fail other "the lease cannot be written"
}
lease_owner() {
    printf 'controller %s, plan %s, fence %s, for host %s' "${lease_controller:-?}" \
        "${lease_plan:-?}" "$lease_fence" "${lease_host:-?}"
}
# Ours, with this fence or a lower one: 0; a newer controller's: 2; somebody else's: 1.
is_our_lease() {
    [ "$lease_plan" = "$mk_plan" ] && [ "$lease_host" = "$mk_host" ] || return 1
    [ "$lease_fence" -le "$mk_fence" ] || return 2
    [ "$lease_fence" -lt "$mk_fence" ] || [ "$lease_controller" = "$mk_controller" ]
}
# The lease of another plan of this controller, which ended and could not give it back: it keeps no mail
# away. Fences count within one plan and say nothing about another's.
may_take_over() {
    [ "$lease_controller" = "$mk_controller" ] && [ "$lease_host" = "$mk_host" ] &&
        [ -n "$lease_plan" ] && [ "$lease_plan" != "$mk_plan" ] && ! is_kept_away
}
# Before every act but the first two. A lease that a reboot took away is put back; one that is gone
# without a reboot was taken by somebody.
need_lease() {
    if read_lease "$mk_run/lease"; then
        is_our_lease
        case $? in
        0) [ "$lease_fence" = "$mk_fence" ] || write_lease ;;
        2) fail lease-lost "a newer controller has the lease: $(lease_owner)" ;;
        *) fail lease-lost "somebody else has the lease: $(lease_owner)" ;;
        esac
    elif read_lease "$mk_dir/lease" && is_our_lease && [ "$lease_boot" != "$(this_boot)" ]; then
        write_lease
        seen "rebooted since the lease was given; lease renewed"
    else
        fail lease-lost "the lease is gone from $mk_run and the host was not restarted"
    fi
}

# --- packages ---------------------------------------------------------------------------------------
# versions: prints from, to, mixed, half or other, and what was found.
versions() {
    mk_all_from=1 mk_all_to=1 mk_known=1 mk_half= mk_found=
    # shellcheck disable=SC2016,SC2046 # dpkg's own ${}; names are words
    mk_installed=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' $(package_names) 2>/dev/null)
    while read -r mk_name mk_from mk_to; do
        [ -n "$mk_name" ] || continue
        mk_is=
        while IFS='|' read -r mk_abbrev mk_package mk_version; do
            [ "$mk_package" = "$mk_name" ] || continue
            case $mk_abbrev in
            ?i\ ) ;;
            ?[UFHWt]*) mk_half=1 ;;
            *) continue ;;
            esac
            mk_is=$mk_version
            [ "$mk_is" = "$mk_from" ] || mk_all_from=
            [ "$mk_is" = "$mk_to" ] || mk_all_to=
            [ "$mk_is" = "$mk_from" ] || [ "$mk_is" = "$mk_to" ] || mk_known=
        done <<END
$mk_installed
END
        if [ -z "$mk_is" ]; then
            mk_known= mk_all_from= mk_all_to=
        fi
        mk_found="$mk_found $mk_name=${mk_is:-none}"
    done <<END
$mk_packages
END
    if [ -n "$mk_half" ]; then
        mk_versions=half
    elif [ -n "$mk_all_to" ]; then
        mk_versions=to
    elif [ -n "$mk_all_from" ]; then
        mk_versions=from
    elif [ -n "$mk_known" ]; then
        mk_versions=mixed
    else
        mk_versions=other
    fi
    mk_found=${mk_found# }
}
package_names() { printf '%s\n' "$mk_packages" | cut -d ' ' -f 1; }
# Whether the plan installs anything, or only restarts.
installs() {
    while read -r mk_name mk_from mk_to; do
        [ "$mk_from" = "$mk_to" ] || return 0
    done <<END
$mk_packages
END
    return 1
}
planned() { printf '%s\n' "$mk_packages" | awk -v n="$1" 'NF { printf "%s%s=%s", s, $1, $n; s = " " }'; }

apt_get() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l UCF_FORCE_CONFFOLD=1 \
        APT_LISTCHANGES_FRONTEND=none apt-get -q -y -o DPkg::Lock::Timeout=0 \
        -o APT::Get::Assume-Yes=true -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
        -o Dpkg::Options::=--force-confdef "$@" </dev/null >"$mk_dir/apt.out" 2>&1
    mk_status=$?
    cat "$mk_dir/apt.out" >>"$mk_dir/log" 2>/dev/null
    return "$mk_status"
}
dpkg_() {
    DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 dpkg --force-confold --force-confdef "$@" \
        </dev/null >"$mk_dir/apt.out" 2>&1
    mk_status=$?
    cat "$mk_dir/apt.out" >>"$mk_dir/log" 2>/dev/null
    return "$mk_status"
}
free_mib() { df -Pk "$1" 2>/dev/null | awk 'NR > 1 { free = $4 } END { print int(free / 1024) }'; }
# What apt or dpkg failed with: locked, or the name of a failure.
apt_complaint() {
    if grep -q -E 'Could not get lock|nable to acquire the dpkg|nable to lock|lock was locked by another' \
        "$mk_dir/apt.out"; then
        echo locked
    elif grep -q -E 'No space left on device|enough free space' "$mk_dir/apt.out" ||
        [ "$(free_mib /var)" = 0 ] || [ "$(free_mib /usr)" = 0 ]; then
        echo disk-full
    elif grep -q -E 'Failed to fetch|Unable to fetch|Could not resolve|was not found|Unable to locate|no installation candidate|Unable to find|no longer' \
        "$mk_dir/apt.out"; then
        echo package-unavailable
    else
        echo package-manager
    fi
}
apt_words() {
    grep -m 1 'No space left' "$mk_dir/apt.out"
    grep -E '^(E|W|dpkg):|rror' "$mk_dir/apt.out" | tail -n 3
}
# To be called after a failed apt_get or dpkg_.
apt_failed() {
    mk_kind=$(apt_complaint)
    if [ "$mk_kind" = locked ]; then
        not_yet "another package manager is at work: $(apt_words)"
    fi
    fail "$mk_kind" "$1: $(apt_words)"
}

# No daemon is started or stopped by a package's scripts while this holds.
policy=/usr/sbin/policy-rc.d
hold_services() {
    [ -e "$mk_var/policy-held" ] && return
    # First, so that whoever comes after a kill knows of it.
    : >"$mk_var/policy-held"
    if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$policy.mailkeep-saved"; fi
    printf '#!/bin/sh\n# Mailkeep, while it patches.\nexit 101\n' >"$policy" && chmod 755 "$policy" || {
        rm -f "$policy"
        let_services_start
        fail disk-full "$policy cannot be written"
    }
}
let_services_start() {
    [ -e "$mk_var/policy-held" ] || return 0
    if grep -q '^# Mailkeep, while it patches' "$policy" 2>/dev/null; then rm -f "$policy"; fi
    if [ -e "$policy.mailkeep-saved" ] || [ -L "$policy.mailkeep-saved" ]; then
        mv "$policy.mailkeep-saved" "$policy"
    fi
    rm -f "$mk_var/policy-held"
}

# A package as it is installed, built anew from its files; for the way back where nobody offers the old
# version any more. repack NAME DIRECTORY
repack() {
    mk_tree=$mk_dir/repack
    rm -rf "$mk_tree"
    mkdir -p "$mk_tree/DEBIAN"
    mk_list=$(dpkg-query -L "$1") || return 1
    dpkg-query -s "$1" | awk '/^[^ ]/ { keep = !/^(Status|Conffiles|Config-Version):/ } keep' \
        >"$mk_tree/DEBIAN/control"
    for mk_info in preinst postinst prerm postrm config templates conffiles triggers shlibs symbols md5sums; do
        for mk_file in "/var/lib/dpkg/info/$1.$mk_info" "/var/lib/dpkg/info/$1:"*".$mk_info"; do
            [ -f "$mk_file" ] && cp -p "$mk_file" "$mk_tree/DEBIAN/$mk_info"
        done
    done
    if [ -f "$mk_tree/DEBIAN/conffiles" ]; then
        while read -r mk_file; do
            if [ -e "$mk_file" ]; then printf '%s\n' "$mk_file"; fi
        done <"$mk_tree/DEBIAN/conffiles" >"$mk_dir/conffiles"
        mv "$mk_dir/conffiles" "$mk_tree/DEBIAN/conffiles"
        chmod 644 "$mk_tree/DEBIAN/conffiles"
    fi
    while read -r mk_file; do
        case $mk_file in
        /. | '' | *' diverted by '* | 'diverted by '* | 'package diverts '*) continue ;;
        /*) ;;
        *) continue ;;
        esac
        if [ -d "$mk_file" ] && { [ ! -L "$mk_file" ] || case $mk_nl$mk_list in *"$mk_nl$mk_file/"*) : ;; *) false ;; esac }; then
            mkdir -p "$mk_tree$mk_file"
            chown --reference="$mk_file" "$mk_tree$mk_file"
            chmod --reference="$mk_file" "$mk_tree$mk_file"
        elif [ -e "$mk_file" ] || [ -L "$mk_file" ]; then
            cp -a "$mk_file" "$mk_tree$mk_file" || return 1
        fi
    done <<END
$mk_list
END
    chmod 755 "$mk_tree" "$mk_tree/DEBIAN"
    # Not compressed: that would take a mail server that serves many times as long as all the rest.
    dpkg-deb -Znone -b "$mk_tree" "$2" >>"$mk_dir/log" 2>&1
    mk_status=$?
    rm -rf "$mk_tree"
    return "$mk_status"
}
# package_file DIRECTORY NAME VERSION: the file that holds exactly this, or nothing. By its name it is looked for
# first; the name is no proof.
package_file() {
    mk_named=${3#*:}
    for mk_deb in "$1/$2_"*"$mk_named"_*.deb "$1/$2_"*.deb; do
        [ -f "$mk_deb" ] || continue
        # shellcheck disable=SC2016 # dpkg's own ${}
        [ "$(dpkg-deb -W --showformat='${Package} ${Version}' "$mk_deb" 2>/dev/null)" = "$2 $3" ] || continue
        printf '%s' "$mk_deb"
        return 0
    done
    return 1
}
# What of the plan does not lie in a directory of that name yet, as mk_ask. What was fetched for other ends is taken.
look_for() { # new|old
    mkdir -p "$mk_dir/$1"
    [ "$1" = old ] || take_given_packages
    mk_ask=
    while read -r mk_name mk_from mk_to; do
        [ -n "$mk_name" ] && [ "$mk_from" != "$mk_to" ] || continue
        if [ "$1" = new ]; then mk_version=$mk_to; else mk_version=$mk_from; fi
        package_file "$mk_dir/$1" "$mk_name" "$mk_version" >/dev/null && continue
        for mk_place in "$mk_dir/both" /var/cache/apt/archives; do
            mk_deb=$(package_file "$mk_place" "$mk_name" "$mk_version") && cp "$mk_deb" "$mk_dir/$1/" && continue 2
        done
        mk_ask="$mk_ask $mk_name=$mk_version"
    done <<END
$mk_packages
END
}
# Where new and old packages are wanted apt reads its lists once for both. Who fetches what is still missing says
# what is wrong with it.
download_both() {
    look_for old
    mk_both=$mk_ask
    look_for new
    [ -n "$mk_both" ] && [ -n "$mk_ask" ] || return 0
    mkdir -p "$mk_dir/both"
    # shellcheck disable=SC2086 # words
    (cd "$mk_dir/both" && apt_get download $mk_both $mk_ask)
}
# fetch new|old: sees that every package of the plan lies in a directory of that name. What cannot be had is in
# mk_missing.
fetch() {
    look_for "$1"
    mk_missing=
    [ -n "$mk_ask" ] || return 0
    # shellcheck disable=SC2086 # words
    (cd "$mk_dir/$1" && apt_get download $mk_ask) ||
        for mk_one in $mk_ask; do (cd "$mk_dir/$1" && apt_get download "$mk_one"); done
    for mk_one in $mk_ask; do
        mk_name=${mk_one%%=*}
        package_file "$mk_dir/$1" "$mk_name" "${mk_one#*=}" >/dev/null && continue
        if [ "$1" = old ]; then
            # Only while the files are still those of the old version.
            # shellcheck disable=SC2016 # dpkg's own ${}
            if [ "$(dpkg-query -W -f '${Version}' "$mk_name" 2>/dev/null)" = "${mk_one#*=}" ] &&
                repack "$mk_name" "$mk_dir/old" &&
                package_file "$mk_dir/old" "$mk_name" "${mk_one#*=}" >/dev/null; then
                mk_repacked="$mk_repacked $mk_one"
                continue
            fi
        fi
        mk_missing="$mk_missing $mk_one"
    done
    [ -z "$mk_missing" ]
}
mk_repacked=

# --- processes --------------------------------------------------------------------------------------
# Which mail product an executable belongs to.
product_of() {
    case $1 in
    /usr/lib/postfix/* | /usr/libexec/postfix/*) mk_product=postfix ;;
    /usr/sbin/exim4 | /usr/sbin/exim | /usr/lib/exim4/*) mk_product=exim ;;
    /usr/sbin/dovecot | /usr/lib/dovecot/* | /usr/libexec/dovecot/*) mk_product=dovecot ;;
    /usr/lib/sm.bin/* | /usr/libexec/sendmail/* | /usr/lib/sendmail* | /usr/sbin/sendmail*) mk_product=sendmail ;;
    /usr/sbin/smtpd | /usr/lib/*/opensmtpd/* | /usr/libexec/opensmtpd/*) mk_product=opensmtpd ;;
    /usr/sbin/cyrmaster | /usr/lib/cyrus/* | /usr/lib/cyrus-imapd/* | /usr/libexec/cyrus*) mk_product=cyrus ;;
    /usr/sbin/haproxy) mk_product=haproxy ;;
    *) mk_product= ;;
    esac
    [ -n "$mk_product" ]
}
# Every process of a mail product: `PID PRODUCT STALE EXE`, where STALE is `old` for a deleted executable, else
# `new`.
mail_processes() {
    # shellcheck disable=SC2012 # /proc has no odd names
    ls -ln /proc/[0-9]*/exe 2>/dev/null | while read -r mk_line; do
        mk_exe=${mk_line#* -> }
        mk_pid=${mk_line#*/proc/}
        mk_pid=${mk_pid%%/*}
        case $mk_line in *' -> '*) ;; *) continue ;; esac
        mk_stale=new
        case $mk_exe in
        *' (deleted)')
            mk_exe=${mk_exe% (deleted)}
            mk_stale=old
            ;;
        esac
        # The name dpkg gives a file while it replaces it.
        mk_exe=${mk_exe%.dpkg-*}
        product_of "$mk_exe" || continue
        printf '%s %s %s %s\n' "$mk_pid" "$mk_product" "$mk_stale" "$mk_exe"
    done
}
has_processes() { mail_processes | grep -q " $1 "; }
# Those that run any deleted code, a library's included. All maps are looked through at once: a mailbox server
# has thousands.
stale_processes() {
    mk_running=$(mail_processes)
    mk_mapped=" $(printf '%s\n' "$mk_running" | sed -n -e 's|^\([0-9]*\) .*|/proc/\1/maps|p' |
        xargs -r grep -l -s -e '^[^ ]* ..x. [^/]* /[^(]* (deleted)$' | tr '\n' ' ')"
    printf '%s\n' "$mk_running" | while read -r mk_pid mk_product mk_stale mk_exe; do
        case $mk_stale:$mk_mapped in
        old:* | *" /proc/$mk_pid/maps "*) printf '%s %s old %s\n' "$mk_pid" "$mk_product" "$mk_exe" ;;
        esac
    done
}
wait_gone() { # PRODUCT SECONDS
    mk_tries=0
    while has_processes "$1"; do
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -le $(($2 * 5)) ] || return 1
        sleep 0.2
    done
}
end_processes() { # PRODUCT: what outlived a stop
    wait_gone "$1" 15 && return
    mail_processes | while read -r mk_pid mk_product mk_stale mk_exe; do
        [ "$mk_product" = "$1" ] && kill -TERM "$mk_pid" 2>/dev/null
    done
    wait_gone "$1" 10 && return
    mail_processes | while read -r mk_pid mk_product mk_stale mk_exe; do
        [ "$mk_product" = "$1" ] && kill -KILL "$mk_pid" 2>/dev/null
    done
    wait_gone "$1" 5
}
# service_ NAME start|stop
service_() {
    if [ -d /run/systemd/system ] && have systemctl; then
        logged systemctl "$2" "$1"
    elif [ -x "/etc/init.d/$1" ]; then
        logged "/etc/init.d/$1" "$2"
    else
        return 1
    fi
}

# --- what it serves ---------------------------------------------------------------------------------
# Listening mail ports (and those of the plan), one a line.
listening() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v wanted=" $mk_mail_ports $mk_ports " '
        function hex(text,    i, n) {
            n = 0
            for (i = 1; i <= length(text); i++)
                n = n * 16 + index("0123456789ABCDEF", toupper(substr(text, i, 1))) - 1
            return n
        }
        $4 == "0A" {
            sub(/.*:/, "", $2)
            port = hex($2)
            if (index(wanted, " " port " ")) print port
        }' | sort -nu
}
# Sessions of others than this host on mail ports, open or being finished. A probe's own lasts a moment.
open_sessions() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v wanted=" $mk_mail_ports $mk_ports " '
        function hex(text,    i, n) {
            n = 0
            for (i = 1; i <= length(text); i++)
                n = n * 16 + index("0123456789ABCDEF", toupper(substr(text, i, 1))) - 1
            return n
        }
        $4 == "01" || $4 == "08" {
            sub(/.*:/, "", $2)
            if (!index(wanted, " " hex($2) " ")) next
            if ($3 ~ /^......7F:/ || $3 ~ /^0000000000000000FFFF0000......7F:/ ||
                $3 ~ /^00000000000000000000000001000000:/) next
            n++
        }
        END { print n + 0 }'
}
wait_listening() { # SECONDS, PORTS...
    mk_limit=$(($1 * 5))
    shift
    mk_tries=0
    while :; do
        mk_open=" $(listening | tr '\n' ' ')"
        mk_closed=
        for mk_port; do
            case $mk_open in *" $mk_port "*) ;; *) mk_closed="$mk_closed $mk_port" ;; esac
        done
        [ -n "$mk_closed" ] || return 0
        mk_tries=$((mk_tries + 1))
        [ "$mk_tries" -le "$mk_limit" ] || return 1
        sleep 0.2
    done
}
# What ports say: greeting without times and versions, and what they offer. dialogue PORTS...
# perl-base is essential on Debian.
dialogue() {
    # shellcheck disable=SC2016 # perl's own $
    perl -e '
        use strict; use Socket;
        my %listens;
        for my $file ("/proc/net/tcp", "/proc/net/tcp6") {
            open(my $in, "<", $file) or next;
            while (<$in>) {
                my (undef, $local, undef, $state) = split;
                next unless defined $state && $state eq "0A";
                my ($address, $port) = split /:/, $local;
                push @{$listens{hex $port}}, $address;
            }
        }
        sub target {
            my ($port) = @_;
            my @found = @{$listens{$port} || []};
            for (@found) {
                return pack_sockaddr_in($port, INADDR_LOOPBACK)
                    if $_ eq "00000000" || $_ eq "0" x 32 || $_ eq "0100007F";
            }
            for (@found) { return pack_sockaddr_in($port, pack("L", hex $_)) if length == 8 }
            for (@found) {
                my $raw = join "", map { pack "L", hex } /(.{8})/g;
                return pack_sockaddr_in6($port, $raw);
            }
            return;
        }
        my ($socket, $buffer);
        sub line {
            while ($buffer !~ /\n/) {
                my $more = "";
                my $bits = ""; vec($bits, fileno $socket, 1) = 1;
                return undef unless select($bits, undef, undef, 12);
                return undef unless sysread $socket, $more, 4096;
                $buffer .= $more;
                return undef if length $buffer > 65536;
            }
            $buffer =~ s/^([^\n]*)\n//; my $text = $1; $text =~ s/\r$//;
            return $text;
        }
        sub plain {
            my ($text) = @_;
            $text =~ s/<[^>]*>//g;
            $text =~ s/(Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\s+\d+\s+\w+\s+\d{4}\s+[\d:]+(\s+(GMT|UTC|[+-]\d{4}))?(\s+\(\w+\))?//g;
            $text =~ s/\b\d+(\.\d+)+[^\s;\]]*/V/g;
            $text =~ s/[^ -~]/?/g;
            $text =~ s/\s+/ /g; $text =~ s/ $//;
            return substr $text, 0, 300;
        }
        sub ask {
            my ($question, $last) = @_;
            syswrite $socket, "$question\r\n";
            my @said;
            while (defined(my $text = line())) {
                push @said, plain($text);
                last if $text =~ $last || @said > 100;
            }
            return @said;
        }
        for my $port (@ARGV) {
            my $target = target($port);
            if (!$target) { print "$port closed\n"; next }
            my $family = sockaddr_family($target);
            $buffer = "";
            if (!socket($socket, $family, SOCK_STREAM, 0) || !connect($socket, $target)) {
                print "$port refuses\n"; next;
            }
            if ($port == 465 || $port == 993 || $port == 995) { print "$port open\n"; next }
            my $greeting = line();
            if (!defined $greeting) { print "$port silent\n"; next }
            print "$port greeting ", plain($greeting), "\n";
            my @offers;
            if ($greeting =~ /^220-/) { while (defined(my $text = line())) { last if $text =~ /^220 / } }
            if ($greeting =~ /^220/) {
                my $hello = $port == 24 || $greeting =~ /LMTP/ ? "LHLO" : "EHLO";
                @offers = ask("$hello mailkeep.invalid", qr/^\d{3}( |$)/);
                shift @offers;
                s/^\d{3}[ -]// for @offers;
                syswrite $socket, "QUIT\r\n";
            } elsif ($greeting =~ /^\* (OK|PREAUTH)/) {
                my ($said) = grep /^\* CAPABILITY/, ask("a CAPABILITY", qr/^a /);
                @offers = split / /, substr $said || "* CAPABILITY ", 13;
                syswrite $socket, "b LOGOUT\r\n";
            } elsif ($greeting =~ /^\+OK/) {
                @offers = grep !/^(\+OK|\.)/, ask("CAPA", qr/^(\.$|-ERR)/);
                syswrite $socket, "QUIT\r\n";
            }
            line();
            close $socket;
            print "$port offers $_\n" for sort grep length, @offers;
        }' -- "$@" 2>/dev/null
}
# What ports say, and the certificates of those that offer TLS.
talk() {
    mk_said=$mk_nl$(dialogue "$@")$mk_nl
    printf '%s' "${mk_said#"$mk_nl"}"
    for mk_port; do
        case $mk_port:$mk_said in
        465:* | 993:* | 995:* | *"$mk_nl$mk_port offers STARTTLS$mk_nl"* | *"$mk_nl$mk_port offers STLS$mk_nl"*)
            certificates "$mk_port"
            ;;
        esac
    done
}
# certificates PORTS...: the digest of each, and the names it is for.
certificates() {
    have openssl || return 0
    for mk_port; do
        case $mk_port in
        25 | 587 | 2525) mk_tls='-starttls smtp' ;;
        143) mk_tls='-starttls imap' ;;
        110) mk_tls='-starttls pop3' ;;
        465 | 993 | 995) mk_tls= ;;
        *) continue ;;
        esac
        # shellcheck disable=SC2086 # words
        mk_print=$(timeout 10 openssl s_client $mk_tls -connect "127.0.0.1:$mk_port" </dev/null 2>/dev/null |
            openssl x509 -noout -fingerprint -sha256 -subject -nameopt RFC2253 -ext subjectAltName 2>/dev/null)
        [ -n "$mk_print" ] || continue
        printf '%s\n' "$mk_print" | sed -n -e "s/^.*ingerprint=/$mk_port certificate /p"
        printf '%s names %s\n' "$mk_port" "$(printf '%s\n' "$mk_print" | tr ',' '\n' |
            sed -n -e 's/^subject= *CN=//p' -e 's/^ *CN=//p' -e 's/^ *DNS://p' | sort -u | tr '\n' ' ')"
    done
}
# What can be asked now is compared with the picture by its names; a renewed certificate has the same.
fail_where_certificates_changed() { # LINES
    while read -r mk_port mk_what mk_text; do
        [ "$mk_what" = names ] || continue
        mk_had=$(sed -n -e "s/^$mk_port names //p" "$mk_dir/before/talk")
        [ "$mk_had" = "$mk_text" ] || [ "$mk_had" = "$mk_text " ] ||
            fail configuration-changed "since the precheck: port $mk_port shows a certificate for $mk_text, before for $mk_had"
    done <<END
$1
END
}

# --- configuration ----------------------------------------------------------------------------------
config_paths() {
    for mk_path in /etc/postfix /etc/exim4 /etc/dovecot /etc/mail /etc/smtpd.conf /etc/smtpd \
        /etc/imapd.conf /etc/cyrus.conf /etc/haproxy /etc/aliases /etc/mailname /etc/email-addresses \
        /etc/default/exim4 /etc/default/cyrus-imapd /etc/default/haproxy /etc/default/opensmtpd; do
        if [ -e "$mk_path" ]; then printf '%s\n' "${mk_path#/}"; fi
    done
}
copy_config() { # DIRECTORY
    rm -rf "$1"
    mkdir -p "$1"
    [ -n "$(config_paths)" ] || return 0
    # shellcheck disable=SC2046 # words
    (cd / && tar -cf - $(config_paths) 2>/dev/null) | tar -xf - -C "$1" 2>/dev/null
}
# What differs from the picture: `PATH`, one a line. Comments and empty lines do not count, nor what is
# generated from other files, nor a vendor's new version of a file nobody had changed.
config_changes() {
    {
        config_paths
        (cd "$mk_dir/before/config" && ls -d etc/* etc/default/* 2>/dev/null)
    } | sort -u | while read -r mk_path; do
        case $mk_path in etc/default) continue ;; esac
        diff -rqN --no-dereference -x '*.db' -x '*.dir' -x '*.pag' -x '*~' -x '*.old' -x mailkeep-drain.cidr -x '*.dpkg-*' -x '*.ucf-*' \
            "$mk_dir/before/config/$mk_path" "/$mk_path" 2>/dev/null
    done | sed -n -e 's/^Files .* and \(\/.*\) differ$/\1/p' -e 's/^\(File\|Symbolic link\)s* .* \(\/etc[^ ]*\).*differ.*/\2/p' |
        while read -r mk_path; do
            mk_now=$mk_path
            if [ "$mk_path" = /etc/postfix/main.cf ] && postfix_undrained_copy "$mk_dir/main.cf.now"; then
                mk_now=$mk_dir/main.cf.now
            fi
            if [ -f "$mk_now" ] && [ -f "$mk_dir/before/config$mk_path" ]; then
                diff -qB -I '^[[:space:]]*#' "$mk_dir/before/config$mk_path" "$mk_now" >/dev/null 2>&1 && continue
                is_vendors_own "$mk_path" && continue
            fi
            printf '%s\n' "$mk_path"
        done
}
# Unchanged from its package before, and unchanged from its package now.
is_vendors_own() {
    mk_sum=$(md5sum <"$1" | cut -d ' ' -f 1)
    mk_sum_before=$(md5sum <"$mk_dir/before/config$1" | cut -d ' ' -f 1)
    # shellcheck disable=SC2016 # dpkg's own ${}
    dpkg-query -W -f '${Conffiles}\n' 2>/dev/null | grep -q -F " $1 $mk_sum" &&
        grep -q -F " $1 $mk_sum_before" "$mk_dir/before/conffiles"
}
# The lines of a difference, where anybody may read the file; a secret is not put on record.
config_difference() {
    case $(stat -c %A "$1" 2>/dev/null) in
    ???????r*) ;;
    '') return ;;
    *)
        printf '(not shown: not readable by all)'
        return
        ;;
    esac
    mk_now=$1
    if [ "$1" = /etc/postfix/main.cf ] && postfix_undrained_copy "$mk_dir/main.cf.now"; then
        mk_now=$mk_dir/main.cf.now
    fi
    diff -B -I '^[[:space:]]*#' "$mk_dir/before/config$1" "$mk_now" 2>/dev/null |
        grep '^[<>]' | grep -v -i -e passw -e secret -e token | head -n 6 | tr '\n' ' '
}
fail_where_config_changed() {
    mk_changed=$(config_changes)
    [ -n "$mk_changed" ] || return 0
    mk_detail=
    for mk_path in $mk_changed; do
        case " $mk_may_change " in *" $mk_path "*) continue ;; esac
        mk_detail="$mk_detail $mk_path: $(config_difference "$mk_path");"
    done
    [ -z "$mk_detail" ] || fail configuration-changed "since the precheck:$mk_detail"
}
# keep_copy PATH: what a rollback is about to overwrite may be somebody's work, and outlives the release.
keep_copy() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then return 0; fi
    mkdir -p "$mk_kept${1%/*}" && cp -a --backup=numbered "$1" "$mk_kept$1" ||
        fail disk-full "$1 cannot be kept in $mk_kept before it is overwritten"
    if [ "$1" = /etc/postfix/main.cf ] && postfix_undrained_copy "$mk_dir/main.cf.now"; then
        cp -p "$mk_dir/main.cf.now" "$mk_kept$1"
    fi
    seen "kept $mk_kept$1"
}
config_print() {
    # shellcheck disable=SC2046 # words
    (cd / && find $(config_paths) -type f ! -name '*.db' -exec sha256sum {} + 2>/dev/null) | sort |
        sha256sum | cut -c 1-16
}

# --- keeping mail away ------------------------------------------------------------------------------
probe_addresses() {
    for mk_address in $mk_from_address $mk_probe_from; do
        mk_address=${mk_address#::ffff:}
        case $mk_address in
        '' | *[!0-9a-fA-F.:]*) continue ;;
        esac
        printf '%s\n' "$mk_address"
    done | sort -u
}
# Whom a host that keeps mail away still lets in. `lets-in` is read by crates/rollout/src/ledger/prove.rs.
let_in() { probe_addresses | tr '\n' ' '; }
refused_ports() { printf '%s\n' $mk_mail_ports $mk_ports | sort -nu; }
# New connections to mail ports are reset, from anywhere but this host and the controller. Open sessions
# go on: the rule sees first segments only, and no connection tracking.
refuse_syn() { # TABLE
    if have nft; then
        mk_allow=$(probe_addresses | while read -r mk_address; do
            case $mk_address in
            *:*) echo "ip6 saddr $mk_address accept" ;;
            *) echo "ip saddr $mk_address accept" ;;
            esac
        done)
        [ "${2:-}" != all ] || mk_allow=
        nft -f - >>"$(mk_logfile)" 2>&1 <<END
add table inet $1
delete table inet $1
table inet $1 {
    chain refuse {
        type filter hook input priority -150; policy accept;
        iif "lo" accept
        $mk_allow
        tcp dport { $(refused_ports | tr '\n' ',') } tcp flags & (fin|syn|rst|ack) == syn counter reject with tcp reset
    }
}
END
        is_refusing "$1" || fail other "nft did not take the rule: $(last_words "$(mk_logfile)")"
    elif have iptables; then
        for mk_tables in iptables ip6tables; do
            have "$mk_tables" || continue
            # In one piece: a chain that is emptied and filled anew lets everybody in meanwhile.
            if ! iptables_chain "$mk_tables" "$@" | "$mk_tables-restore" --noflush >>"$(mk_logfile)" 2>&1; then
                [ "$mk_tables" != iptables ] || fail other "iptables did not take the rule: $(last_words "$(mk_logfile)")"
            fi
            "$mk_tables" -C INPUT -j "$1" 2>/dev/null || "$mk_tables" -I INPUT -j "$1"
        done
        is_refusing "$1" || fail other "iptables did not take the rule: $(last_words "$(mk_logfile)")"
    else
        fail other "neither nft nor iptables on this host: install nftables, or choose another drain in the fleet file"
    fi
}
iptables_chain() { # iptables|ip6tables TABLE all?
    printf '*filter\n:%s - [0:0]\n-A %s -i lo -j RETURN\n' "$2" "$2"
    [ "${3:-}" = all ] || probe_addresses | while read -r mk_address; do
        case $1:$mk_address in
        ip6tables:*:* | iptables:*[!:]*.*) printf -- '-A %s -s %s -j RETURN\n' "$2" "$mk_address" ;;
        esac
    done
    for mk_port in $(refused_ports); do
        printf -- '-A %s -p tcp --dport %s --syn -j REJECT --reject-with tcp-reset\n' "$2" "$mk_port"
    done
    echo COMMIT
}
is_refusing() { # TABLE
    if have nft; then
        nft list table inet "$1" 2>/dev/null | grep -q 'reject with tcp reset'
    else
        have iptables && iptables -C INPUT -j "$1" 2>/dev/null
    fi
}
accept_syn() { # TABLE
    if have nft; then
        nft list table inet "$1" >/dev/null 2>&1 && nft delete table inet "$1"
    fi
    if have iptables; then
        for mk_tables in iptables ip6tables; do
            if have "$mk_tables" && "$mk_tables" -C INPUT -j "$1" 2>/dev/null; then
                "$mk_tables" -D INPUT -j "$1"
                "$mk_tables" -F "$1"
                "$mk_tables" -X "$1"
            fi
        done
    fi
    ! is_refusing "$1"
}

# Runs a product's own function where it has one: of FAMILY DEFAULT FUNCTION.
family_has() { command -v "${mk_family}_$1" >/dev/null 2>&1; }

is_drained() {
    case $mk_drain in
    syn-refusal) is_refusing mailkeep ;;
    product) if family_has is_drained; then "${mk_family}_is_drained"; else is_refusing mailkeep; fi ;;
    *) [ -f "$mk_var/drained" ] ;;
    esac
}
# Whether any plan's drain is left, however it was made.
is_kept_away() {
    [ -f "$mk_var/drained" ] || is_refusing mailkeep ||
        { family_has is_drained && "${mk_family}_is_drained"; }
}
drain() {
    make_state
    # The marker first: it says that the rest may have been done, and survives a reboot.
    printf '%s %s\n' "$mk_plan" "$mk_drain" >"$mk_var/drained" || [ -e "$mk_var/drained" ] ||
        fail disk-full "cannot write to $mk_var"
    let_in >"$mk_dir/let-in"
    case $mk_drain in
    syn-refusal) refuse_syn mailkeep ;;
    product) if family_has drain; then "${mk_family}_drain"; else refuse_syn mailkeep; fi ;;
    esac
}
# Not before the proof where the product itself no longer listens.
says_let_in() {
    case $mk_drain in
    product) if [ "$mk_act" = drain ] && family_has drains_deaf; then return; fi ;;
    syn-refusal) ;;
    *) return ;;
    esac
    seen "lets-in $(let_in)"
}
# Rules of a packet filter do not survive a reboot, nor a drain of some products a restart: every act
# between drain and return puts it back.
keep_drained() {
    if [ ! -f "$mk_var/drained" ] || ! is_drained; then
        [ "$mk_drain" = none ] || seen 'drain was gone, put back'
        drain
    elif [ "$(let_in)" != "$(cat "$mk_dir/let-in" 2>/dev/null)" ]; then
        # Another controller took over, or this one has moved: its probe would be kept away as well.
        if is_refusing mailkeep; then refuse_syn mailkeep; fi
        if family_has let_in; then "${mk_family}_let_in"; fi
        let_in >"$mk_dir/let-in"
        seen "lets in $(let_in)now"
    fi
}
undrain() {
    if family_has undrain; then "${mk_family}_undrain"; fi
    accept_syn mailkeep || fail other 'the refusing rule cannot be removed'
    rm -f "$mk_var/drained"
}
