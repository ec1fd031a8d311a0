# Counts the probes in a mailbox: an mbox file or a Maildir directory. Changes nothing.
# Arguments: the mailbox; what a Message-ID begins with; the lowest number to be told. Numbers below
# it are told only where there is more than one copy.
set -u
LC_ALL=C
export LC_ALL
mailbox=$1 prefix=$2 from=$3
echo 'mailkeep-arrived 1'

# Mail is its user's and root's to read.
as=
if [ "$(id -u)" != 0 ] && sudo -n sh -c : >/dev/null 2>&1 </dev/null; then
    as='sudo -n'
fi

numbers='
BEGIN { header = 1; was_empty = 1 }
{ sub(/\r$/, "") }
mbox && was_empty && /^From / { header = 1 }
{ was_empty = ($0 == "") }
mbox && was_empty { header = 0 }
header && tolower(substr($0, 1, 11)) == "message-id:" {
    id = substr($0, 12)
    gsub(/[ \t<>]/, "", id)
    if (substr(id, 1, length(prefix)) != prefix) next
    id = substr(id, length(prefix) + 1)
    if (match(id, /^[0-9]+@/)) copies[substr(id, 1, RLENGTH - 1)]++
}
END { for (n in copies) if (n + 0 >= from + 0 || copies[n] > 1) print n, copies[n] }
'

if $as test -d "$mailbox"; then
    for part in "$mailbox/cur" "$mailbox/new"; do
        $as test -d "$part" || continue
        if ! $as test -r "$part" || ! $as test -x "$part"; then
            echo "unreadable no leave to read $part"
            exit 0
        fi
    done
    # The first Message-ID line of a file is its own; one of a message it encloses comes later. Mail is
    # moved from new to cur and never back: in this order it may be missed once and never seen twice.
    for part in "$mailbox/cur" "$mailbox/new"; do
        $as test -d "$part" && $as grep -rhi -m1 '^message-id:' "$part" 2>/dev/null
    done | awk -v mbox=0 -v prefix="$prefix" -v from="$from" "$numbers"
elif $as test -e "$mailbox"; then
    if ! $as test -r "$mailbox"; then
        echo 'unreadable no leave to read it'
        exit 0
    fi
    $as awk -v mbox=1 -v prefix="$prefix" -v from="$from" "$numbers" "$mailbox" || {
        echo 'unreadable it cannot be read'
        exit 0
    }
fi
echo end
