# The opensmtpd family: a relay that takes mail for itself.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    cat >/etc/smtpd.conf <<'CONF'
table aliases file:/etc/aliases
table here file:/etc/mail-here
listen on 0.0.0.0
action "local" mbox alias <aliases>
action "relay" relay
match from any for domain <here> action "local"
match for local action "local"
match from src { 198.18.0.0/15, 127.0.0.0/8 } for any action "relay"
match for any action "relay"
CONF
    echo localhost >/etc/mail-here
    ;;
start)
    cat /etc/hostname >/etc/mailname
    cat /etc/hostname >/etc/mail-here
    service opensmtpd start
    ;;
stop) service opensmtpd stop ;;
ports) echo 25 ;;
services) printf '%s\n' opensmtpd ;;
esac
