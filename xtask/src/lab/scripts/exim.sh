# The exim family: Debian's configuration as an internet site that takes mail for itself.
settings=/etc/exim4/update-exim4.conf.conf
case $1 in
setup)
    useradd -m -s /bin/sh probe
    sed -i -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='internet'/" \
        -e "s/^dc_local_interfaces=.*/dc_local_interfaces=''/" \
        -e "s|^dc_relay_nets=.*|dc_relay_nets='198.18.0.0/15'|" "$settings"
    echo "EXIMDAEMONOPTS='-bd -q15s'" >>/etc/default/exim4
    ;;
start)
    cat /etc/hostname >/etc/mailname
    sed -i "s/^dc_other_hostnames=.*/dc_other_hostnames='$(cat /etc/hostname)'/" "$settings"
    update-exim4.conf
    service exim4 start
    ;;
stop) service exim4 stop ;;
ports) echo 25 ;;
services) printf '%s\n' exim4 ;;
esac
