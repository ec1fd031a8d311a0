//! What a controller needs to find the hosts: an Ansible inventory, an `ssh_config`, `known_hosts`, and
//! a fleet file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::family::Family;
use super::host::Host;

/// Regions of the lab, in order: name and time zone. The first goes first.
pub(super) const REGIONS: &[(&str, &str)] = &[
    ("europe", "Europe/Berlin"),
    ("asia", "Asia/Singapore"),
    ("americas", "America/New_York"),
    ("africa", "Africa/Nairobi"),
];

/// The name of a host's region.
pub(super) fn region(host: &Host) -> &'static str {
    region_name(host.region)
}

/// The name of a region by its number, from 1.
pub(super) fn region_name(number: u8) -> &'static str {
    let index = usize::from(number.saturating_sub(1));
    REGIONS.get(index).map_or("elsewhere", |(name, _)| name)
}

/// `inventory.ini`, for `mailkeep fleet import` and for Ansible.
pub(super) fn ansible(hosts: &[Host], root: &Path) -> String {
    let mut text = format!(
        "[all:vars]\nansible_user=root\nansible_ssh_common_args=-F {}\n",
        root.join("ssh_config").display()
    );
    let families: BTreeSet<&str> = hosts.iter().map(|host| host.family.as_str()).collect();
    for family in families {
        _ = write!(text, "\n[{family}]\n");
        for host in hosts.iter().filter(|host| host.family == family) {
            _ = writeln!(text, "{} ansible_host={}", host.name, host.address);
        }
    }
    text
}

/// `ssh_config`: both names and addresses are known.
pub(super) fn ssh_config(hosts: &[Host], root: &Path) -> String {
    let mut text = String::new();
    for host in hosts {
        let Host { name, address, .. } = host;
        _ = write!(
            text,
            "Host {name} {name}.lab.test\n    HostName {address}\n\n"
        );
    }
    _ = write!(
        text,
        "Host *\n    User root\n    IdentityFile {}\n    IdentitiesOnly yes\n    \
         UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
         BatchMode yes\n",
        root.join("key").display(),
        root.join("known_hosts").display()
    );
    text
}

/// `known_hosts`: each host's key as read from its own disk when it was added.
pub(super) fn known_hosts(hosts: &[Host]) -> String {
    let line = |host: &Host| {
        let Host {
            name,
            address,
            host_key,
            ..
        } = host;
        format!("{name},{name}.lab.test,{address} {host_key}\n")
    };
    hosts.iter().map(line).collect()
}

/// `mailkeep.toml`: the lab as a fleet.
pub(super) fn fleet(hosts: &[Host]) -> String {
    let mut text = String::from(
        "# Written by `cargo xtask lab`; changes are lost at the next `up`.\n\
         global_team = \"postmasters\"\nstate = \"state\"\n\n\
         [teams.postmasters]\nemail = [\"postmaster@lab.test\"]\n\n\
         [zones.dmz]\nexposed = true\n",
    );
    let used: BTreeSet<&str> = hosts.iter().map(region).collect();
    for (index, (name, zone)) in REGIONS.iter().enumerate() {
        if used.contains(name) {
            _ = write!(
                text,
                "\n[teams.{name}-mail]\nemail = [\"{name}@lab.test\"]\n\
                 \n[regions.{name}]\ntime_zone = \"{zone}\"\nowner = \"{name}-mail\"\n{}\
                 windows = [{{ rrule = \"FREQ=WEEKLY;BYDAY=SU;BYHOUR=2\", duration = \"3h\" }}]\n",
                if index == 0 { "pilot = true\n" } else { "" }
            );
        }
    }
    let present = |family: &Family| hosts.iter().any(|host| host.family == family.name());
    let services: BTreeSet<&str> = Family::ALL
        .into_iter()
        .filter(present)
        .map(Family::service)
        .collect();
    for service in services {
        _ = write!(
            text,
            "\n[services.{service}]\nowner = \"postmasters\"\ncriticality = \"material\"\n\
             mission_prevalence = \"support\"\nminimum = 1\n"
        );
    }
    for host in hosts {
        let service = host.family.parse().map_or("inbound-mx", Family::service);
        _ = write!(
            text,
            "\n[hosts.{}]\naddress = \"{}\"\nregion = \"{}\"\nzone = \"dmz\"\n\
             services = [\"{service}\"]\nfamily = \"{}\"\n",
            host.name,
            host.address,
            region(host),
            host.family
        );
    }
    text
}

/// `dnsmasq.conf`: a name for each host, and nothing of the world outside.
pub(super) fn dns(hosts: &[Host], controller: std::net::Ipv4Addr) -> String {
    let mut text = format!(
        "port=53\nno-resolv\nno-hosts\nlocal-ttl=5\nlocal=/test/\nlisten-address={controller}\n\
         bind-interfaces\nuser=root\n"
    );
    for host in hosts {
        _ = writeln!(text, "host-record={}.lab.test,{}", host.name, host.address);
    }
    text
}
