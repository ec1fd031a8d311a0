# The sendmail family: Debian's own sendmail.mc, opened to the lab's network.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    # Debian greets strangers after five seconds, and lets ten a minute in; a lab is in more of a hurry.
    sed -i -e "s/, Addr=127.0.0.1'/'/" -e '/Name=MTA-v6/d' -e '/Name=MSP-v6/d' \
        -e "s/^MAILER_DEFINITIONS/FEATURE(\`accept_unresolvable_domains')dnl\n&/" /etc/mail/sendmail.mc
    for net in 198.18 198.19; do
        printf '%s\n' "Connect:$net RELAY" "GreetPause:$net 0" "ClientRate:$net 0" "ClientConn:$net 0"
    done >>/etc/mail/access
    sed -i -e 's/^QUEUE_INTERVAL=.*/QUEUE_INTERVAL="15s"/' /etc/mail/sendmail.conf
    yes | sendmailconfig >/dev/null 2>&1
    ;;
start)
    # Sendmail asks its own name of the resolver and waits a minute where there is no answer.
    cat /etc/hostname >/etc/mail/local-host-names
    echo localhost >>/etc/mail/local-host-names
    service sendmail start
    ;;
stop) service sendmail stop ;;
ports) echo 25 ;;
services) printf '%s\n' sendmail ;;
esac
