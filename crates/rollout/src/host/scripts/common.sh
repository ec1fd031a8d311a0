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
    [ -d "$mk_run" ] || mkdir -p "$mk_run" || fail other "cannot create $mk_run"
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
    free_mib /var/lib
    if [ "$mk_free_mib" = 0 ]; then fail disk-full "cannot write to $mk_dir"; fi
    fail other "cannot write to $mk_dir"
}
mk_logfile() { if [ -d "$mk_dir" ]; then mk_log=$mk_dir/log; else mk_log=/dev/null; fi; }
# Runs quietly, with its words in the log.
logged() {
    mk_logfile
    "$@" </dev/null >>"$mk_log" 2>&1
}
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
    mk_all_from=1 mk_all_to=1 mk_known=1 mk_half= mk_found= mk_names=
    while read -r mk_name mk_from mk_to; do
        mk_names="$mk_names $mk_name"
    done <<END
$mk_packages
END
    # shellcheck disable=SC2016,SC2086 # dpkg's own ${}; names are words
    mk_installed=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' $mk_names 2>/dev/null)
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
# free_mib PLACE: as mk_free_mib; 0 where nobody can say.
free_mib() {
    mk_said=$(df -Pk "$1" 2>/dev/null)
    # shellcheck disable=SC2086 # words
    set -- ${mk_said##*"$mk_nl"}
    case ${4:-} in
    '' | *[!0-9]*) mk_free_mib=0 ;;
    *) mk_free_mib=$(($4 / 1024)) ;;
    esac
}
is_full() {
    free_mib "$1"
    [ "$mk_free_mib" = 0 ]
}
# What apt or dpkg failed with: locked, or the name of a failure.
apt_complaint() {
    if grep -q -E 'Could not get lock|nable to acquire the dpkg|nable to lock|lock was locked by another' \
        "$mk_dir/apt.out"; then
        echo locked
    elif grep -q -E 'No space left on device|enough free space' "$mk_dir/apt.out" ||
        is_full /var || is_full /usr; then
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
# package_file DIRECTORY NAME VERSION: the file that holds exactly this, as mk_deb. By its name it is looked for
# first; the name is no proof. One that was opened before, and was not touched since, is not opened again.
package_file() {
    [ -n "$mk_opened" ] || recall_packages
    mk_named=${3#*:}
    for mk_deb in "$1/$2_"*"$mk_named"_*.deb "$1/$2_"*.deb; do
        [ -f "$mk_deb" ] || continue
        case $mk_opened in *"$mk_nl$2 $3 $mk_deb$mk_nl"*) return 0 ;; esac
        # shellcheck disable=SC2016 # dpkg's own ${}
        [ "$(dpkg-deb -W --showformat='${Package} ${Version}' "$mk_deb" 2>/dev/null)" = "$2 $3" ] || continue
        mk_opened="$mk_opened$2 $3 $mk_deb$mk_nl"
        return 0
    done
    return 1
}
# Lines `NAME VERSION FILE` of those that were opened.
mk_opened=
# Other acts know a file again by the time of its last change, to the nanosecond.
package_stamps() { mk_stamps=$mk_nl$(stat -c '%d-%i-%s-%.9Y-%.9Z %n' "$mk_dir"/*/*.deb 2>/dev/null)$mk_nl; }
note_packages() {
    package_stamps
    mk_noted=
    set -f
    IFS=$mk_nl
    for mk_line in $mk_opened; do
        mk_file=${mk_line##* }
        mk_stamp=${mk_stamps%" $mk_file$mk_nl"*}
        [ "$mk_stamp" = "$mk_stamps" ] || mk_noted="$mk_noted$mk_line ${mk_stamp##*"$mk_nl"}$mk_nl"
    done
    set +f
    unset IFS
    { printf '%s' "$mk_noted" >"$mk_dir/opened"; } 2>/dev/null || :
}
recall_packages() {
    mk_opened=$mk_nl
    [ -f "$mk_dir/opened" ] || return 0
    package_stamps
    mk_noted=$(cat "$mk_dir/opened")
    set -f
    IFS=$mk_nl
    for mk_line in $mk_noted; do
        mk_file=${mk_line% *}
        case $mk_stamps in
        *"$mk_nl${mk_line##* } ${mk_file##* }$mk_nl"*) mk_opened=$mk_opened$mk_file$mk_nl ;;
        esac
    done
    set +f
    unset IFS
}
# What of the plan does not lie in a directory of that name yet, as mk_ask. What was fetched for other ends is taken.
look_for() { # new|old
    mkdir -p "$mk_dir/$1"
    [ "$1" = old ] || take_given_packages
    mk_ask=
    while read -r mk_name mk_from mk_to; do
        [ -n "$mk_name" ] && [ "$mk_from" != "$mk_to" ] || continue
        if [ "$1" = new ]; then mk_version=$mk_to; else mk_version=$mk_from; fi
        package_file "$mk_dir/$1" "$mk_name" "$mk_version" && continue
        if package_file "$mk_dir/both" "$mk_name" "$mk_version"; then
            mv "$mk_deb" "$mk_dir/$1/"
        elif package_file /var/cache/apt/archives "$mk_name" "$mk_version"; then
            cp "$mk_deb" "$mk_dir/$1/"
        else
            false
        fi && mk_opened="$mk_opened$mk_name $mk_version $mk_dir/$1/${mk_deb##*/}$mk_nl" && continue
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
        package_file "$mk_dir/$1" "$mk_name" "${mk_one#*=}" && continue
        if [ "$1" = old ]; then
            # Only while the files are still those of the old version.
            # shellcheck disable=SC2016 # dpkg's own ${}
            if [ "$(dpkg-query -W -f '${Version}' "$mk_name" 2>/dev/null)" = "${mk_one#*=}" ] &&
                repack "$mk_name" "$mk_dir/old" &&
                package_file "$mk_dir/old" "$mk_name" "${mk_one#*=}"; then
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
# Looks at every process of a mail product: lines `PID PRODUCT STALE EXE` in mk_processes, where STALE is `old` for
# a deleted executable, else `new`. (A shell's `read` asks the kernel for each octet: no loop here uses it.)
look_at_processes() {
    mk_processes=
    # shellcheck disable=SC2012 # /proc has no odd names
    mk_said=$(ls -ln /proc/[0-9]*/exe 2>/dev/null)
    set -f
    IFS=$mk_nl
    for mk_line in $mk_said; do
        case $mk_line in *' -> '*) ;; *) continue ;; esac
        mk_exe=${mk_line#* -> }
        mk_age=new
        case $mk_exe in
        *' (deleted)')
            mk_exe=${mk_exe% (deleted)}
            mk_age=old
            ;;
        esac
        # The name dpkg gives a file while it replaces it.
        mk_exe=${mk_exe%.dpkg-*}
        product_of "$mk_exe" || continue
        mk_pid=${mk_line#*/proc/}
        mk_processes="$mk_processes${mk_pid%%/*} $mk_product $mk_age $mk_exe$mk_nl"
    done
    set +f
    unset IFS
}
# pick_processes PRODUCT [EXE [PID]]: of those that were looked at, the numbers of a product's, of an executable (a
# pattern) and of a number, as mk_picked.
pick_processes() {
    mk_picked=
    set -f
    IFS=$mk_nl
    for mk_line in $mk_processes; do
        # shellcheck disable=SC2254 # a pattern
        case ${mk_line#* } in
        "$1 "???" "${2:-*}) ;;
        *) continue ;;
        esac
        mk_pid=${mk_line%% *}
        [ "${3:-$mk_pid}" != "$mk_pid" ] || mk_picked="$mk_picked $mk_pid"
    done
    set +f
    unset IFS
}
# Whether there is one.
runs() {
    pick_processes "$@"
    [ -n "$mk_picked" ]
}
has_processes() {
    look_at_processes
    runs "$1"
}
# signal_processes SIGNAL PRODUCT [EXE]: of those that were looked at.
signal_processes() {
    pick_processes "$2" "${3:-}"
    for mk_pid in $mk_picked; do kill "-$1" "$mk_pid" 2>/dev/null; done
}
# Looks for those that run any deleted code, a library's included, and leaves them in mk_stale. All maps are looked
# through at once: a mailbox server has thousands.
look_for_stale() {
    look_at_processes
    mk_stale= mk_maps=
    [ -n "$mk_processes" ] || return 0
    set -f
    IFS=$mk_nl
    for mk_line in $mk_processes; do mk_maps="$mk_maps$mk_nl/proc/${mk_line%% *}/maps"; done
    # shellcheck disable=SC2086 # words
    mk_mapped=$(grep -l -s -e "$mk_deleted" $mk_maps)
    # More than a command may have: ever so many at a time.
    [ $? -le 2 ] || mk_mapped=$(printf '%s\n' "$mk_maps" | xargs grep -l -s -e "$mk_deleted")
    for mk_line in $mk_processes; do
        mk_exe=${mk_line#* }
        case "${mk_exe#* } $mk_nl$mk_mapped$mk_nl" in
        'old '* | *"$mk_nl/proc/${mk_line%% *}/maps$mk_nl"*)
            mk_stale="$mk_stale${mk_stale:+$mk_nl}${mk_line%% *} ${mk_exe%% *} old ${mk_exe#* ??? }"
            ;;
        esac
    done
    set +f
    unset IFS
}
mk_deleted='^[^ ]* ..x. [^/]* /[^(]* (deleted)$'
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
    signal_processes TERM "$1"
    wait_gone "$1" 10 && return
    signal_processes KILL "$1"
    wait_gone "$1" 5
}
# stop_service NAME PRODUCT. A service manager has a state of its own; without one, what does not run needs no stop.
stop_service() {
    if [ -d /run/systemd/system ] || has_processes "$2"; then service_ "$1" stop; fi
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
# All ports that count, in their order, as mk_all_ports: those for mail, and the plan's.
all_ports() {
    [ -z "$mk_all_ports" ] || return 0
    mk_all_ports=$mk_mail_ports
    for mk_port in $mk_ports; do
        case " $mk_mail_ports " in
        *" $mk_port "*) ;;
        *)
            # shellcheck disable=SC2086 # words
            mk_all_ports=$(printf '%s\n' $mk_mail_ports $mk_ports | sort -nu | tr '\n' ' ')
            mk_all_ports=${mk_all_ports% }
            return
            ;;
        esac
    done
}
mk_all_ports=
# Lines of the kernel's tables of connections with ports in words: `STATE LOCAL-PORT LOCAL REMOTE`. To read them
# takes the kernel as long as there are connections in all its namespaces; ss asks for the few.
connections() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '
        function hex(text,    i, n) {
            n = 0
            for (i = 1; i <= length(text); i++)
                n = n * 16 + index("0123456789ABCDEF", toupper(substr(text, i, 1))) - 1
            return n
        }
        $4 ~ /^(01|08|0A)$/ {
            port = $2
            sub(/.*:/, "", port)
            print $4, hex(port), $2, $3
        }'
}
# Looks for listeners: the ports of mk_all_ports on which somebody listens as mk_open, and where, as far as ss says
# it, as mk_listeners.
look_for_listeners() {
    all_ports
    mk_open= mk_listeners=
    mk_found_ports=' '
    if have ss && mk_said=$(ss -Htn state listening 2>/dev/null); then
        set -f
        for mk_word in $mk_said; do
            case $mk_word in *:*[0-9]) ;; *) continue ;; esac
            mk_found_ports="$mk_found_ports${mk_word##*:} "
            mk_listeners="$mk_listeners $mk_word"
        done
        set +f
    else
        while read -r mk_state mk_port mk_line; do
            [ "$mk_state" != 0A ] || mk_found_ports="$mk_found_ports$mk_port "
        done <<END
$(connections)
END
    fi
    for mk_port in $mk_all_ports; do
        case $mk_found_ports in *" $mk_port "*) mk_open="$mk_open${mk_open:+ }$mk_port" ;; esac
    done
}
# Counts sessions of others than this host on mail ports, open or being finished, as mk_sessions. A probe's own lasts
# a moment.
open_sessions() {
    all_ports
    mk_sessions=0
    if have ss && mk_said=$(ss -Htn state established state close-wait 2>/dev/null); then
        while read -r mk_state _ _ mk_local mk_remote _; do
            [ -n "$mk_remote" ] || continue
            case " $mk_all_ports " in *" ${mk_local##*:} "*) ;; *) continue ;; esac
            case $mk_remote in
            127.* | '[::ffff:127.'* | '[::1]:'*) ;;
            *) mk_sessions=$((mk_sessions + 1)) ;;
            esac
        done <<END
$mk_said
END
        return
    fi
    while read -r mk_state mk_port mk_local mk_remote; do
        case $mk_state in 01 | 08) ;; *) continue ;; esac
        case " $mk_all_ports " in *" $mk_port "*) ;; *) continue ;; esac
        case $mk_remote in
        ??????7F:* | 0000000000000000FFFF0000??????7F:* | 00000000000000000000000001000000:*) ;;
        *) mk_sessions=$((mk_sessions + 1)) ;;
        esac
    done <<END
$(connections)
END
}
wait_listening() { # SECONDS, PORTS...
    mk_limit=$(($1 * 5))
    shift
    mk_tries=0
    while :; do
        look_for_listeners
        mk_closed=
        for mk_port; do
            case " $mk_open " in *" $mk_port "*) ;; *) mk_closed="$mk_closed $mk_port" ;; esac
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
    # Without the module Socket, which takes perl longer to load than all the rest.
    # shellcheck disable=SC2016 # perl's own $
    mk_listeners=$mk_listeners perl -e '
        use strict;
        my ($localhost, %listens) = pack("C4", 127, 0, 0, 1);
        for (split " ", $ENV{mk_listeners} || "") {
            my ($address, $port) = /^(.*):(\d+)$/ or next;
            $address =~ s/^\[|\]?%.*|\]$//g;
            push @{$listens{$port}}, $address eq "*" ? "\0" x 4 : $address eq "::" ? "\0" x 16
                : $address =~ /:/ ? do { require Socket; Socket::inet_pton(10, $address) || next }
                : pack "C4", split /\./, $address;
        }
        for my $file (%listens ? () : ("/proc/net/tcp", "/proc/net/tcp6")) {
            open(my $in, "<", $file) or next;
            while (<$in>) {
                my (undef, $local, undef, $state) = split;
                next unless defined $state && $state eq "0A";
                my ($address, $port) = split /:/, $local;
                push @{$listens{hex $port}}, join "", map { pack "L", hex } $address =~ /(.{8})/g;
            }
        }
        sub inet { return pack "S n a4 x8", 2, @_ }
        sub target {
            my ($port) = @_;
            my @found = @{$listens{$port} || []};
            for (@found) { return inet($port, $localhost) if $_ eq $localhost || $_ eq "\0" x length($_) }
            for (@found) { return inet($port, $_) if length == 4 }
            for (@found) { return pack "S n N a16 N", 10, $port, 0, $_, 0 }
            return;
        }
        # A stream is 1, and 2 on MIPS, where 1 is refused for TCP.
        sub stream {
            my $family = unpack "S", $_[1];
            return (socket($_[0], $family, 1, 6) || socket($_[0], $family, 2, 6)) && connect($_[0], $_[1]);
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
            $buffer = "";
            if (!stream($socket, $target)) { print "$port refuses\n"; next }
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
        mk_shown=$(timeout 10 openssl s_client $mk_tls -connect "127.0.0.1:$mk_port" </dev/null 2>/dev/null)
        mk_pem=${mk_shown#*-----BEGIN CERTIFICATE-----}
        [ "$mk_pem" != "$mk_shown" ] || continue
        mk_pem=${mk_pem%%-----END CERTIFICATE-----*}
        read_certificate || continue
        printf '%s certificate %s\n%s names %s\n' "$mk_port" "$mk_print" "$mk_port" "$mk_names"
    done
}
# Of mk_pem: its digest as mk_print and its names as mk_names. Most ports, and most acts, meet the one that was read
# last.
read_certificate() {
    mk_known=$(cat "$mk_dir/certificate" 2>/dev/null)
    mk_read=${mk_known#"$mk_pem=$mk_nl"}
    case $mk_read in
    "$mk_known") ;;
    *"$mk_nl".)
        mk_print=${mk_read%%"$mk_nl"*}
        mk_names=${mk_read#*"$mk_nl"}
        mk_names=${mk_names%"$mk_nl".}
        return 0
        ;;
    esac
    mk_read=$(printf '%s%s%s\n' '-----BEGIN CERTIFICATE-----' "$mk_pem" '-----END CERTIFICATE-----' |
        openssl x509 -noout -fingerprint -sha256 -subject -nameopt RFC2253 -ext subjectAltName 2>/dev/null)
    mk_print=$(printf '%s\n' "$mk_read" | sed -n -e 's/^.*ingerprint=//p')
    [ -n "$mk_print" ] || return 1
    mk_names=$(printf '%s\n' "$mk_read" | tr ',' '\n' |
        sed -n -e 's/^subject= *CN=//p' -e 's/^ *CN=//p' -e 's/^ *DNS://p' | sort -u | tr '\n' ' ')
    { printf '%s=\n%s\n%s\n.\n' "$mk_pem" "$mk_print" "$mk_names" >"$mk_dir/certificate"; } 2>/dev/null || :
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
# What there is of it, without the first slash, as mk_paths.
config_paths() {
    mk_paths=
    for mk_path in /etc/postfix /etc/exim4 /etc/dovecot /etc/mail /etc/smtpd.conf /etc/smtpd \
        /etc/imapd.conf /etc/cyrus.conf /etc/haproxy /etc/aliases /etc/mailname /etc/email-addresses \
        /etc/default/exim4 /etc/default/cyrus-imapd /etc/default/haproxy /etc/default/opensmtpd; do
        [ ! -e "$mk_path" ] || mk_paths="$mk_paths ${mk_path#/}"
    done
}
copy_config() { # DIRECTORY
    rm -rf "$1"
    mkdir -p "$1"
    config_paths
    [ -n "$mk_paths" ] || return 0
    # shellcheck disable=SC2086 # words
    (cd / && tar -cf - $mk_paths 2>/dev/null) | tar -xf - -C "$1" 2>/dev/null
}
# What differs from the picture: `PATH`, one a line. Comments and empty lines do not count, nor what is
# generated from other files, nor a vendor's new version of a file nobody had changed.
config_changes() {
    config_paths
    for mk_path in "$mk_dir/before/config/etc"/* "$mk_dir/before/config/etc/default"/*; do
        [ -e "$mk_path" ] || [ -L "$mk_path" ] || continue
        mk_path=${mk_path#"$mk_dir/before/config/"}
        case " $mk_paths " in
        *" $mk_path "*) ;;
        *) mk_paths="$mk_paths $mk_path" ;;
        esac
    done
    mk_differ=$(for mk_path in $mk_paths; do
        case $mk_path in etc/default) continue ;; esac
        diff -rqN --no-dereference -x '*.db' -x '*.dir' -x '*.pag' -x '*~' -x '*.old' -x mailkeep-drain.cidr -x '*.dpkg-*' -x '*.ucf-*' \
            "$mk_dir/before/config/$mk_path" "/$mk_path" 2>/dev/null
    done)
    [ -n "$mk_differ" ] || return 0
    printf '%s\n' "$mk_differ" | sed -n -e 's/^Files .* and \(\/.*\) differ$/\1/p' -e 's/^\(File\|Symbolic link\)s* .* \(\/etc[^ ]*\).*differ.*/\2/p' |
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
config_print() { # as mk_config
    config_paths
    # shellcheck disable=SC2086 # words
    mk_config=$([ -z "$mk_paths" ] || (cd / && find $mk_paths -type f ! -name '*.db' -exec sha256sum {} + 2>/dev/null) | sort | sha256sum)
    mk_config=${mk_config%% *}
    mk_config=${mk_config%????????????????????????????????????????????????}
}

# --- keeping mail away ------------------------------------------------------------------------------
# Whom a host that keeps mail away still lets in, as mk_let_in. `lets-in` is read by
# crates/rollout/src/ledger/prove.rs.
let_in() {
    mk_let_in=
    for mk_address in $mk_from_address $mk_probe_from; do
        mk_address=${mk_address#::ffff:}
        case $mk_address in
        '' | *[!0-9a-fA-F.:]*) continue ;;
        esac
        case " $mk_let_in " in
        *" $mk_address "*) ;;
        *) mk_let_in="$mk_let_in${mk_let_in:+ }$mk_address" ;;
        esac
    done
}
# New connections to mail ports are reset, from anywhere but this host and the controller. Open sessions
# go on: the rule sees first segments only, and no connection tracking.
refuse_syn() { # TABLE
    all_ports
    let_in
    mk_logfile
    [ "${2:-}" != all ] || mk_let_in=
    if have nft; then
        mk_allow= mk_refuse=
        for mk_address in $mk_let_in; do
            case $mk_address in
            *:*) mk_allow="$mk_allow${mk_nl}ip6 saddr $mk_address accept" ;;
            *) mk_allow="$mk_allow${mk_nl}ip saddr $mk_address accept" ;;
            esac
        done
        for mk_port in $mk_all_ports; do mk_refuse="$mk_refuse$mk_port,"; done
        nft -f - >>"$mk_log" 2>&1 <<END
add table inet $1
delete table inet $1
table inet $1 {
    chain refuse {
        type filter hook input priority -150; policy accept;
        iif "lo" accept
        $mk_allow
        tcp dport { $mk_refuse } tcp flags & (fin|syn|rst|ack) == syn counter reject with tcp reset
    }
}
END
        is_refusing "$1" || fail other "nft did not take the rule: $(last_words "$mk_log")"
    elif have iptables; then
        # is_refusing asks for the last of them: whoever is cut off between them has not refused yet.
        for mk_tables in ip6tables iptables; do
            have "$mk_tables" || continue
            # In one piece: a chain that is emptied and filled anew lets everybody in meanwhile. In one word, too: where
            # restore knows no lock or no number for it, a word of its own would be a file to read from.
            if ! iptables_chain "$mk_tables" "$@" | "$mk_tables-restore" --wait=10 --noflush >>"$mk_log" 2>&1; then
                [ "$mk_tables" != iptables ] || fail other "iptables did not take the rule: $(last_words "$mk_log")"
            fi
            "$mk_tables" -w 10 -C INPUT -j "$1" 2>/dev/null || "$mk_tables" -w 10 -I INPUT -j "$1" 2>>"$mk_log"
        done
        is_refusing "$1" || fail other "iptables did not take the rule: $(last_words "$mk_log")"
    else
        fail other "neither nft nor iptables on this host: install nftables, or choose another drain in the fleet file"
    fi
}
iptables_chain() { # iptables|ip6tables TABLE
    printf '*filter\n:%s - [0:0]\n-A %s -i lo -j RETURN\n' "$2" "$2"
    for mk_address in $mk_let_in; do
        case $1:$mk_address in
        ip6tables:*:* | iptables:*[!:]*.*) printf -- '-A %s -s %s -j RETURN\n' "$2" "$mk_address" ;;
        esac
    done
    for mk_port in $mk_all_ports; do
        printf -- '-A %s -p tcp --dport %s --syn -j REJECT --reject-with tcp-reset\n' "$2" "$mk_port"
    done
    echo COMMIT
}
is_refusing() { # TABLE
    if have nft; then
        case $(nft list table inet "$1" 2>/dev/null) in
        *'reject with tcp reset'*) ;;
        *) return 1 ;;
        esac
    else
        # -w: others change rules, too, and a no for that would be taken for an open door.
        have iptables && iptables -w 10 -C INPUT -j "$1" 2>/dev/null
    fi
}
accept_syn() { # TABLE
    mk_left=
    if have nft; then
        # In vain where there is none.
        nft delete table inet "$1" 2>/dev/null
    fi
    if have iptables; then
        # Of one that was cut off there may be a chain that nothing leads to, and of IPv6 alone.
        for mk_tables in iptables ip6tables; do
            have "$mk_tables" || continue
            "$mk_tables" -w 10 -S "$1" >/dev/null 2>&1
            case $? in
            0)
                "$mk_tables" -w 10 -D INPUT -j "$1" 2>/dev/null
                "$mk_tables" -w 10 -F "$1" && "$mk_tables" -w 10 -X "$1" || mk_left=1
                ;;
            # Another program holds the lock: whether there is one is not known.
            4) mk_left=1 ;;
            esac
        done
    fi
    [ -z "$mk_left" ] || return 1
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
    let_in
    printf '%s\n' "$mk_let_in" >"$mk_dir/let-in"
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
    let_in
    seen "lets-in $mk_let_in"
}
# Rules of a packet filter do not survive a reboot, nor a drain of some products a restart: every act
# between drain and return puts it back.
keep_drained() {
    if [ ! -f "$mk_var/drained" ] || ! is_drained; then
        [ "$mk_drain" = none ] || seen 'drain was gone, put back'
        drain
        return
    fi
    let_in
    mk_had=
    if [ -f "$mk_dir/let-in" ]; then read -r mk_had <"$mk_dir/let-in"; fi
    [ "$mk_let_in" != "$mk_had" ] || return 0
    # Another controller took over, or this one has moved: its probe would be kept away as well.
    if is_refusing mailkeep; then refuse_syn mailkeep; fi
    if family_has let_in; then "${mk_family}_let_in"; fi
    printf '%s\n' "$mk_let_in" >"$mk_dir/let-in"
    seen "lets in $mk_let_in now"
}
undrain() {
    if family_has undrain; then "${mk_family}_undrain"; fi
    accept_syn mailkeep || fail other 'the refusing rule cannot be removed'
    rm -f "$mk_var/drained"
}
