# The sendmail family: Debian's own sendmail.mc, opened to the lab's network.
case $1 in
setup)
    useradd -m -s /bin/sh probe
    sed -i -e "s/, Addr=127.0.0.1'/'/" -e '/Name=MTA-v6/d' -e '/Name=MSP-v6/d' /etc/mail/sendmail.mc
    printf 'Connect:198.18 RELAY\nConnect:198.19 RELAY\nConnect:127 RELAY\n' >>/etc/mail/access
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
esac
