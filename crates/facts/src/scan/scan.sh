# Mailkeep's look at one host. Reads, and changes nothing. POSIX sh; feed it to `sh -s` on the host:
#     ssh HOST sh -s -- NONCE [released] < scan.sh
# NONCE is a word nobody can guess; it marks our own lines. Without one, a weak one is made here.
# `released` also reads the changelogs of newer mail packages (apt; downloads into a temporary
# directory, which is removed again).
#
# The report: a first line `MAILKEEP-FACTS 1 NONCE`, sections that each begin with
# `=NONCE NAME [ARGUMENT]`, and `=NONCE end`. It is understood by crates/facts/src/scan.rs; raw text
# goes over as it is, and all parsing is done there. A line `=NONCE lack WHAT|WHY` says what could not
# be seen; whatever a host lacks is said so, and the rest goes on.

# One function, called on the last line: the shell reads all of it before it runs any, and no command
# eats the rest of the script from standard input.
main() {
LC_ALL=C
LANGUAGE=
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL LANGUAGE PATH
unset POSIXLY_CORRECT GREP_OPTIONS LS_COLORS
set -f
umask 077

nonce=
released=
for arg do
    case $arg in
    released) released=1 ;;
    *[!0-9a-zA-Z]*) ;;
    ?*) nonce=$arg ;;
    esac
done
if [ -z "$nonce" ]; then
    nonce=$(od -An -N8 -tx1 /dev/urandom 2>/dev/null | tr -d ' \n')
    nonce=${nonce:-weak}x$$
fi
nl='
'

have() { command -v "$1" >/dev/null 2>&1; }
# Every section begins on a line of its own, whatever the text before it ended with.
section() { printf '\n=%s %s\n' "$nonce" "$*"; }
lack() { printf '\n=%s lack %s|%s\n' "$nonce" "$1" "$2"; }
# Not longer than it may take: a broken package manager must not hold up the scan.
if have timeout && timeout 5 true 2>/dev/null; then
    limited() { timeout "$@"; }
else
    limited() { shift; "$@"; }
fi

printf '\nMAILKEEP-FACTS 1 %s\n' "$nonce"

uid=$(id -u 2>/dev/null)
section host
printf 'uid %s\nnow %s\nzone %s\nhertz %s\norder %s\n' "$uid" "$(date +%s)" "$(date +%z)" \
    "$(getconf CLK_TCK 2>/dev/null || echo 100)" \
    "$(printf '\001\000' | od -An -tx2 2>/dev/null | tr -d ' ')"

section os-release
cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null ||
    lack os-release 'the host has none'

# --- packages ---------------------------------------------------------------------------------------
manager=
# By its path: busybox as a shell would take its own rpm.
rpm=rpm
if [ -x /usr/bin/rpm ]; then rpm=/usr/bin/rpm; fi
if [ -s /var/lib/dpkg/status ]; then
    manager=dpkg
    section dpkg-status
    # Only the fields that are read, a quarter of the bytes.
    if have grep; then
        grep -i -E '^((Package|Status|Version|Architecture|Source|Depends|Pre-Depends|Provides):|$)' \
            /var/lib/dpkg/status 2>/dev/null
    else
        cat /var/lib/dpkg/status 2>/dev/null
    fi
    printf '\n'
elif have rpm; then
    manager=rpm
    section rpm-qa
    columns='%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SOURCERPM}'
    # rpm before 4.14 knows no module label.
    limited 60 $rpm -qa --qf "$columns\t%{MODULARITYLABEL}\t%{VENDOR}\n" 2>/dev/null ||
        limited 60 $rpm -qa --qf "$columns\t(none)\t%{VENDOR}\n" 2>/dev/null ||
        lack packages 'rpm -qa failed'
    section rpm-needs
    # Which package needs which. Half the lines are versions of symbols, whose library has a line of
    # its own. The last line says that it was all.
    {
        limited 60 $rpm -qa --qf 'N %{NAME}\n[R %{REQUIRENAME}\n][P %{PROVIDENAME}\n]' 2>/dev/null &&
            echo E
    } | grep -v -E '^[RP] (rpmlib\(|[^(]*\.so[^(]*\([^)])' | head -c 8388608
else
    lack packages 'the host has neither dpkg nor rpm'
fi

# --- what the package manager would install ---------------------------------------------------------
case $manager in
dpkg)
    if ! have apt-cache || ! have dpkg-query; then
        lack candidates 'no apt-cache on the host'
    else
        # No cache files: apt-cache would write them as root.
        policy() {
            limited 30 apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy "$@" \
                2>/dev/null
        }
        set +f
        # The change time is when apt put the file there; the modification time is the server's.
        section apt-lists
        # Packages, too: a repository need not have a Release file.
        stat -c '%Z %n' /var/lib/apt/lists/*Release /var/lib/apt/lists/*_Packages* 2>/dev/null
        grep -H -i -E '^(Label|Suite|Version): ' /var/lib/apt/lists/*Release /dev/null 2>/dev/null
        set -f
        section apt-policy
        # shellcheck disable=SC2016,SC2046 # dpkg's own ${}; names are words
        policy $(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' 2>/dev/null |
            while read -r abbrev name; do
                case $abbrev in ?[iUFHWt]*) printf '%s ' "$name" ;; esac
            done) || lack candidates 'apt-cache policy failed'
    fi
    ;;
rpm)
    set +f
    for file in /var/cache/dnf/*/repodata/repomd.xml /var/cache/libdnf5/*/repodata/repomd.xml \
        /var/cache/yum/*/*/*/repomd.xml /var/cache/zypp/raw/*/repodata/repomd.xml; do
        if [ -e "$file" ]; then
            section rpm-lists
            stat -c '%Z %n' "$file" 2>/dev/null
        fi
    done
    set -f
    tool=
    if have dnf; then tool=dnf; elif have yum; then tool=yum; fi
    if [ -n "$tool" ]; then
        section dnf-updates
        # 0: nothing newer; 100: something is.
        limited 30 "$tool" -q -C check-update 2>/dev/null
        case $? in
        0 | 100) ;;
        *) lack candidates "$tool has no usable cache for this user" ;;
        esac
    elif have zypper; then
        section zypper-updates
        limited 30 zypper --no-refresh -q list-updates 2>/dev/null ||
            lack candidates 'zypper failed'
    else
        lack candidates 'no dnf, yum or zypper on the host'
    fi
    ;;
esac

# --- sockets ----------------------------------------------------------------------------------------
section tcp
listening=$(grep -h -i ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
if [ -r /proc/net/tcp ]; then
    printf '%s\n' "$listening"
else
    lack listeners '/proc/net/tcp cannot be read'
fi

# Inodes of all listening sockets, and the ports that serve mail.
inodes=
mail_inodes=' '
talking=
while read -r _ local _ _ _ _ _ _ _ inode _; do
    [ -n "$inode" ] || continue
    inodes="$inodes -e socket:\\[$inode\\]"
    case ${local##*:} in
    # 25, 24, 110, 143, 465, 587, 993, 995, 4190, 10024-10027, and filters: 783, 3310, 8891, 8893,
    # 11332, 11333. The same as mail_roles_of_port.
    0019 | 0018 | 006E | 008F | 01D1 | 024B | 03E1 | 03E3 | 105E | 272[89AB] | 030F | 0CEE | 22BB | 22BD | 2C44 | 2C45)
        mail_inodes="$mail_inodes$inode "
        ;;
    esac
    case ${local##*:} in
    # Those that speak first, and in clear: not 465, 993, 995, nor milters.
    0019 | 0018 | 006E | 008F | 024B | 105E | 2729) talking="$talking $local" ;;
    esac
done <<END
$listening
END

# --- processes --------------------------------------------------------------------------------------
# Which process holds which listening socket.
holders=
if [ -n "$inodes" ]; then
    set +f
    # shellcheck disable=SC2010,SC2086 # patterns are words; /proc has no odd names
    holders=$(ls -ln /proc/[0-9]*/fd 2>/dev/null | grep -e '^/proc/' $inodes)
    set -f
fi
section holders
mail_holders=' '
pid=
while read -r line; do
    case $line in
    /proc/*)
        pid=${line#/proc/}
        pid=${pid%%/*}
        ;;
    *'socket:['*)
        inode=${line##*\[}
        inode=${inode%%\]*}
        printf '%s %s\n' "$pid" "$inode"
        case $mail_inodes in *" $inode "*) mail_holders="$mail_holders$pid " ;; esac
        ;;
    esac
done <<END
$holders
END

# Whoever may serve mail: more than those who do; Mailkeep decides.
may_serve_mail() {
    case $1 in
    *smtp* | *submission* | *imap* | *pop3* | *lmtp* | *mail* | *milter* | *postfix* | *dovecot* | *cyr* | \
        *courier* | *qm* | *exim* | *clam* | *spam* | *spf* | *amavi* | *dkim* | *dmarc* | *openarc* | \
        *postscreen* | *postgrey* | *citserver* | *chasquid* | [Hh]araka* | */[Hh]araka* | *maddy* | \
        *mox* | *kopano* | *sogo* | *stalwart* | *sieve* | *proxyd* | *mimedefang* | *msexchange* | \
        *dcc*) return 0 ;;
    esac
    return 1
}

section processes
set +f
# shellcheck disable=SC2012 # /proc has no odd names
links=$(ls -ln /proc/[0-9]*/exe 2>/dev/null)
set -f
pids=
mail_links=
while read -r line; do
    case $line in */proc/*/exe*) ;; *) continue ;; esac
    pid=${line#*/proc/}
    pid=${pid%%/*}
    case $line in
    *' -> '*) exe=${line#* -> } ;;
    *) exe= ;;
    esac
    comm=
    { read -r comm <"/proc/$pid/comm"; } 2>/dev/null
    case $mail_holders in
    *" $pid "*) ;;
    *) may_serve_mail "$comm $exe" || {
        # Without root the executable is hidden, and `master` says nothing.
        case "$exe$comm" in master) ;; *) continue ;; esac
    } ;;
    esac
    pids="$pids $pid"
    mail_links="$mail_links$exe$nl"
    stat=
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null
    printf 'pid %s\ncomm %s\nexe %s\nstat %s\n' "$pid" "$comm" "$exe" "$stat"
    if [ -z "$exe" ]; then
        printf 'argv0 %s\n' "$(tr '\000' '\n' <"/proc/$pid/cmdline" 2>/dev/null | head -n 1)"
    fi
done <<END
$links
END
[ -n "$links" ] || lack processes '/proc cannot be read'
grep '^btime ' /proc/stat 2>/dev/null

maps=
if [ -n "$pids" ]; then
    files=
    for pid in $pids; do files="$files /proc/$pid/maps"; done
    section maps
    # Executable mappings of files: the permissions hold an x, the path is absolute.
    # shellcheck disable=SC2086 # words
    maps=$(grep -H -e '^[^ ]* ..x. [^/]* /' /dev/null $files 2>/dev/null)
    printf '%s\n' "$maps"

    # Those that ended meanwhile: on a busy server short-lived ones come and go. A zombie runs nothing.
    section ended
    for pid in $pids; do
        stat=
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null
        case ${stat##*) } in
        [ZX]*) printf '%s\n' "$pid" ;;
        '') [ -d "/proc/$pid" ] || printf '%s\n' "$pid" ;;
        esac
    done

    # The files meant: one path a line, each once. ` (deleted)` and the names that dpkg and rpm
    # give a file while they replace it are taken off.
    paths=$({
        printf '%s\n' "$maps" | sed -n -e 's|^[^ ]* *[^ ]* *[^ ]* *[^ ]* *[^ ]* */|/|p'
        printf '%s' "$mail_links" | grep '^/'
    } | sed -e 's/ (deleted)$//' -e 's/\.dpkg-[a-z]*$//' -e 's/;[0-9a-f]\{8\}$//' | sort -u)

    # The same file? A process in a container has the path of its own root.
    section identity
    links_of=
    for pid in $pids; do links_of="$links_of /proc/$pid/exe"; done
    # shellcheck disable=SC2086 # words
    stat -L -c '%d:%i %n' $links_of 2>/dev/null
    # An upgrade may have changed the file name of a library: libx.so.3.1 is gone, libx.so.3 now leads to
    # libx.so.3.2. What lies there under the same soname may tell the package.
    kin=$(
        stems=$(printf '%s\n' "$maps" | sed -n -e '/ (deleted)$/!d' -e '/[][*?\\]/d' \
            -e 's|^[^ ]* *[^ ]* *[^ ]* *[^ ]* *[^ ]* *\(/.*\.so\.[0-9][0-9]*\).*|\1|p' | sort -u)
        IFS=$nl
        set +f
        # shellcheck disable=SC2086 # split at line feeds; the patterns are meant
        for file in $stems $(printf '%s' "$stems" | sed -e 's/$/.*/'); do
            if [ -e "$file" ]; then printf '%s\n' "$file"; fi
        done
    )
    asked=$paths$nl$kin
    # Both names of a file where /lib is /usr/lib (and bin, sbin, lib64).
    both=$(printf '%s\n' "$asked" | sed -n -e '/^$/d' -e '/[][*?\\]/d' -e p -e 's#^/usr/\(bin\|sbin\|lib\|lib32\|lib64\)/#/\1/#p
t
s#^/\(bin\|sbin\|lib\|lib32\|lib64\)/#/usr/\1/#p')
    old_ifs=$IFS
    IFS=$nl
    # shellcheck disable=SC2086 # split at line feeds
    stat -L -c '%d:%i %n' $paths 2>/dev/null
    IFS=$old_ifs
    section owners "$manager"
    IFS=$nl
    owners=
    case $manager in
    dpkg)
        # shellcheck disable=SC2086 # split at line feeds
        owners=$(limited 30 dpkg-query -S $both 2>/dev/null)
        ;;
    rpm)
        # shellcheck disable=SC2086 # split at line feeds
        owners=$(limited 30 $rpm -qf --qf '[%{=NAME}\t%{FILENAMES}\n]' $asked 2>/dev/null |
            grep -F -e "$both" | sort -u)
        ;;
    esac
    IFS=$old_ifs
    printf '%s\n' "$owners"

    # What ran when they started: only where something stale runs.
    case "$maps$mail_links" in
    *' (deleted)'*)
        section offsets
        # The log has local time. The offset from UTC at each start; +%z of now is wrong across a
        # change to or from summer time.
        boot=$(sed -n -e 's/^btime //p' /proc/stat 2>/dev/null)
        hertz=$(getconf CLK_TCK 2>/dev/null || echo 100)
        for pid in $pids; do
            stat=
            { read -r stat <"/proc/$pid/stat"; } 2>/dev/null
            stat=${stat##*) }
            # shellcheck disable=SC2086 # words
            set -- $stat
            [ $# -ge 20 ] || continue
            started=$((boot + ${20} / hertz))
            printf '%s %s\n' "$pid" "$(date -d "@$started" +%z 2>/dev/null || date +%z)"
        done
        # Rotated logs may be compressed.
        lines_of() {
            case $1 in
            *.gz) limited 10 gzip -dc "$1" 2>/dev/null ;;
            *) cat "$1" 2>/dev/null ;;
            esac
        }
        case $manager in
        dpkg)
            section dpkg-log
            names=$(printf '%s\n' "$owners" | sed -n -e 's/^\([^:, ][^:, ]*\).*/ \1:/p' | sort -u)
            set +f
            for log in /var/log/dpkg.log*; do
                if [ -r "$log" ] && [ -n "$names" ]; then
                    lines_of "$log" | grep -e ' upgrade ' -e ' install ' |
                        grep -F -e "$names" | tail -n 2000
                fi
            done
            set -f
            [ -r /var/log/dpkg.log ] || lack 'version that ran' '/var/log/dpkg.log cannot be read'
            ;;
        rpm)
            # ` NAME-`, and yum's ` EPOCH:NAME-`; names are the first column.
            names=$(printf '%s\n' "$owners" |
                sed -n -e '/^[!-~][!-~]*[^!-~]/!d' -e 's/[^!-~].*//' -e 's/$/-/' -e h -e 's/^/ /p' \
                    -e g -e 's/^/:/p' | sort -u)
            logged=
            set +f
            for log in /var/log/dnf.rpm.log* /var/log/yum.log*; do
                if [ -r "$log" ] && [ -n "$names" ]; then
                    # yum writes no year; that of the file's last change is its last line's.
                    section rpm-log "$(stat -c %Y "$log" 2>/dev/null)"
                    lines_of "$log" | grep -F -e "$names" | tail -n 2000
                    logged=1
                fi
            done
            set -f
            [ -n "$logged" ] || lack 'version that ran' \
                'neither /var/log/dnf.rpm.log nor /var/log/yum.log can be read'
            ;;
        esac
        ;;
    esac
fi

# --- banners ----------------------------------------------------------------------------------------
# One line from each port that speaks first; nothing is sent before it.
address_of() {
    hex=${1%:*}
    port=$((0x${1##*:}))
    case $hex in
    00000000 | ????????????????????????0100007F) at=127.0.0.1 ;;
    00000000000000000000000000000000 | 00000000000000000000000001000000) at=::1 ;;
    ????????)
        rest=${hex#??}
        a=${hex%"$rest"}
        hex=$rest
        rest=${hex#??}
        b=${hex%"$rest"}
        hex=$rest
        rest=${hex#??}
        c=${hex%"$rest"}
        at=$((0x$rest)).$((0x$c)).$((0x$b)).$((0x$a))
        ;;
    *) at= ;;
    esac
}
if [ -n "$talking" ]; then
    if have bash && [ "$(printf '\001\000' | od -An -tx2 2>/dev/null | tr -d ' ')" = 0001 ]; then
        section banners
        # All at once, each at most two seconds; each answer is one write.
        found=$(
            for local in $talking; do
                address_of "$local"
                [ -n "$at" ] || continue
                # shellcheck disable=SC2016 # expanded by that bash
                limited 3 bash -c 'exec 3<>"/dev/tcp/$1/$2" && read -r -t 2 -n 300 line <&3 &&
                    printf "%s %s\n" "$3" "$line"; printf "QUIT\r\n" >&3' \
                    banner "$at" "$port" "$local" 2>/dev/null &
            done
            wait
        )
        printf '%s\n' "$found"
    elif have nc && [ "$(printf '\001\000' | od -An -tx2 2>/dev/null | tr -d ' ')" = 0001 ]; then
        section banners
        found=$(
            for local in $talking; do
                address_of "$local"
                [ -n "$at" ] || continue
                {
                    line=$(limited 2 nc -w 2 "$at" "$port" </dev/null 2>/dev/null | head -n 1)
                    [ -n "$line" ] && printf '%s %s\n' "$local" "$line"
                } &
            done
            wait
        )
        printf '%s\n' "$found"
    else
        lack banners 'neither bash nor nc on the host'
    fi
fi

# --- released: changelogs of newer mail packages ----------------------------------------------------
if [ -n "$released" ]; then
    if [ "$manager" != dpkg ] || ! have apt-get || ! have dpkg-deb || ! have tar || ! have gzip; then
        lack released 'changelogs are read with apt-get, dpkg-deb, tar and gzip'
    elif ! dir=$(mktemp -d 2>/dev/null); then
        lack released 'no temporary directory could be made'
    else
        trap 'rm -rf "$dir"' EXIT
        trap 'exit 1' HUP INT TERM PIPE
        cd "$dir" || exit 1
        # Mail software by source package: the same as is_mail_software.
        mail_sources=$(tr -d ' \n' <<END
            amavis|amavisd|amavisd-.*|archiveopteryx|authentication-milter|authmilter|
            bincimap|bogofilter|chasquid|citadel|clamassassin|clamav|clamav-.*|clamsmtp|
            courier|courier-.*|crm114|cypht|cyrus-imapd|cyrus-sasl|cyrus-sasl2|dbmail|dcc|
            dcc-client|dk-filter|dkim-milter|dkimproxy|dkimpy-milter|dma|dovecot|dovecot-.*|
            dovecot20|dovecot22|dovecot23|dovecot24|dspam|ecartis|enemies-of-carlotta|esmtp|
            exchange|exchange-server.*|exim|exim4|exim4-.*|ezmlm|ezmlm-idx|fetchmail|
            getmail|getmail4|getmail6|gnarwl|greylistd|grommunio-.*|gromox|haraka|horde|
            hyperkitty|imapsync|imp4|james|kolab|kolabd|kopano.*|libdkim|libmail-dkim-perl|
            libmail-dmarc-perl|libmail-spf-perl|libmilter|libspf2|maddy|maildrop|mailman|
            mailman-hyperkitty|mailman-suite|mailman3|mailman3-.*|mailscanner|majordomo|
            masqmail|mhonarc|milter-.*|mimedefang|mlmmj|modoboa|mox|mpop|msmtp|netqmail|
            nextcloud-mail|nospamproxy|notqmail|nullmailer|openarc|opendkim|opendmarc|
            opensmtpd|opensmtpd-extras|opensmtpd-filter-dkimsign|opensmtpd-filter-rspamd|
            opensmtpd-filter-senderscore|p3scan|perdition|php-horde-imp|php-horde-ingo|
            pigeonhole|policyd-.*|popa3d|postfix|postfix-.*|postfix-policyd.*|postfixadmin|
            postgrey|postorius|postsrsd|prayer|procmail|proxsmtp|public-inbox|pymilter|
            pymilters|pypolicyd-spf|pysieved|python-mailman.*|pyzor|qmail|qmail-.*|qpopper|
            qpsmtpd|rainloop|razor|rmilter|roundcube|roundcube-.*|roundcubemail|rspamd|
            rspamd-.*|s-nail-mta|sa-exim|sanesecurity|schleuder|sendmail|sid-milter|
            sieve-connect|smartlist|smf-sav|smf-spf|smtprelay|snappymail|sogo|solid-pop3d|
            sope|spamass-milter|spamassassin|spambayes|spamd|spampd|spamprobe|spf-engine|
            spf-milter-python|sqlgrey|squirrelmail|sqwebmail|srs-milter|ssmtp|stalwart|
            stalwart-.*|sympa|teapop|tiki-webmail|uw-imap|webmail|whitelister|xmail|zarafa|
            zimbra|zimbra-.*|zone-mta
END
        )
        # One binary package of each source is enough.
        # shellcheck disable=SC2016 # dpkg's own ${}
        installed=$(dpkg-query -W -f '${db:Status-Abbrev}|${binary:Package}|${source:Package}|${source:Version}|${Version}\n' 2>/dev/null |
            grep -E "^.[iUFHWt][^|]*\\|[^|]*\\|($mail_sources)\\|")
        done_sources=' '
        while IFS='|' read -r _ name source source_version version; do
            [ -n "$version" ] || continue
            case $done_sources in *" $source "*) continue ;; esac
            candidate=$(policy "$name" | sed -n -e 's/^  Candidate: //p' | head -n 1)
            case $candidate in '' | '(none)' | "$version") continue ;; esac
            # By their paths: busybox as a shell would take its own dpkg.
            /usr/bin/dpkg --compare-versions "$candidate" gt "$version" 2>/dev/null || continue
            limited 60 apt-get -q -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
                download "$name=$candidate" >/dev/null 2>&1
            set +f
            for deb in "$dir"/*.deb; do
                [ -e "$deb" ] || continue
                plain=${name%%:*}
                text=$(for file in changelog.Debian.gz changelog.gz; do
                    /usr/bin/dpkg-deb --fsys-tarfile "$deb" 2>/dev/null |
                        tar -xO -f - "./usr/share/doc/$plain/$file" 2>/dev/null |
                        gzip -dc 2>/dev/null | head -c 65536
                done)
                if [ -n "$text" ]; then
                    done_sources="$done_sources$source "
                    section changelog "$source $source_version $candidate"
                    printf '%s\n' "$text"
                fi
            done
            rm -f "$dir"/*.deb
            set -f
        done <<END
$installed
END
        cd / && rm -rf "$dir"
    fi
fi

section end
}

main "$@" </dev/null
