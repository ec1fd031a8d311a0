# take-mail-for FAMILY DOMAIN: from now on this host takes mail for DOMAIN, and what is sent to probe@DOMAIN
# is found at /var/mail/probe.
set -eu
family=$1 domain=$2
case $family in
postfix | dovecot | cyrus)
    postconf -e "mydestination=\$myhostname localhost $domain"
    postfix reload
    ;;
exim)
    sed -i "s/^dc_other_hostnames=.*/dc_other_hostnames='$(cat /etc/hostname);$domain'/" \
        /etc/exim4/update-exim4.conf.conf
    update-exim4.conf
    service exim4 reload
    ;;
sendmail)
    echo "$domain" >>/etc/mail/local-host-names
    service sendmail reload
    ;;
opensmtpd)
    echo "$domain" >>/etc/mail-here
    smtpctl update table here
    ;;
esac
if [ "$family" = dovecot ]; then
    ln -sfn /home/probe/Maildir /var/mail/probe
fi
