//! Where hosts take connections, and from where this machine's come.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mailkeep_model::{Fleet, HostName};

use crate::hosts::{SshOptions, SshTarget};
use crate::process::{self, Bounds};

/// Where the hosts of a fleet take connections: what the user's `ssh` would connect to, since a fleet
/// file may name a host as only `ssh_config` knows it. `ssh` is asked once for each host.
#[derive(Debug)]
pub struct Addresses {
    targets: BTreeMap<HostName, SshTarget>,
    ssh: SshOptions,
    seen_as: BTreeSet<IpAddr>,
    known: Mutex<BTreeMap<HostName, String>>,
}

/// Whether somebody takes connections at `NAME:PORT`, seen from here: any address of the name counts. Nothing is
/// said to him. Who refuses, or is silent until each address's time-out, does not.
///
/// # Errors
///
/// The name is not known, or has no address, or this machine could not try: it has no route, or no room for a socket.
pub fn takes_connections(place: &str, wait: Duration) -> io::Result<bool> {
    let addresses: Vec<SocketAddr> = place.to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    let mut untried = None;
    for address in &addresses {
        match TcpStream::connect_timeout(address, wait) {
            Ok(_) => return Ok(true),
            Err(error) if is_no(&error) => {}
            Err(error) => untried = Some(error),
        }
    }
    untried.map_or(Ok(false), Err)
}

/// Whether an error is the other side's no, or that of a firewall before it, and not this machine's trouble.
fn is_no(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | TimedOut
    )
}

impl Addresses {
    /// Of these hosts; nothing is asked yet.
    pub fn new(fleet: &Fleet, ssh: SshOptions) -> Self {
        let targets = fleet
            .hosts
            .iter()
            .map(|(name, host)| (name.clone(), SshTarget::of(name, host)));
        Self {
            targets: targets.collect(),
            ssh,
            seen_as: BTreeSet::new(),
            known: Mutex::default(),
        }
    }

    /// With addresses as which hosts may see this machine, where gateways change those it has.
    #[must_use]
    pub fn seen_as(mut self, addresses: BTreeSet<IpAddr>) -> Self {
        self.seen_as = addresses;
        self
    }

    /// The host for `ssh`; `None` where the fleet does not have it.
    pub fn target(&self, host: &HostName) -> Option<&SshTarget> {
        self.targets.get(host)
    }

    /// Name or address of a host, `None` where the fleet does not have it.
    pub fn of(&self, host: &HostName) -> Option<String> {
        let target = self.targets.get(host)?;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = known().get(host) {
            return Some(address.clone());
        }
        let address = by_ssh(target, &self.ssh).unwrap_or_else(|| target.destination().to_owned());
        known().insert(host.clone(), address.clone());
        Some(address)
    }

    /// The addresses that a connection from here to a host may come from: those of this machine, see
    /// [`sources`], and those that gateways make of them.
    pub fn sources(&self, host: &HostName) -> BTreeSet<IpAddr> {
        let own = self.of(host).map(|address| sources(&address));
        let mut all = own.unwrap_or_default();
        all.extend(&self.seen_as);
        all
    }
}

/// The addresses of this machine that a connection to a name or address may come from, one for each
/// address the name has, of either family. Nothing is sent: a datagram socket that is connected only
/// learns its route. Behind a gateway that translates addresses they are not what the other side sees.
pub fn sources(destination: &str) -> BTreeSet<IpAddr> {
    // The port does not matter to a route; 0 is refused by some systems.
    let Ok(addresses) = (destination, 25).to_socket_addrs() else {
        return BTreeSet::new();
    };
    let source = |to: SocketAddr| {
        let any: IpAddr = if to.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip().to_canonical())
    };
    addresses.filter_map(source).collect()
}

/// What `ssh` would connect to (`ssh -G`). `None` where it cannot be asked. Nothing is connected to.
fn by_ssh(target: &SshTarget, options: &SshOptions) -> Option<String> {
    let destination = target.destination();
    if destination.starts_with('-') {
        return None;
    }
    let mut command = Command::new(&options.program);
    command.args(&options.extra).args(["-G", "--", destination]);
    let bounds = Bounds {
        time: Duration::from_secs(10),
        output: 1 << 20,
    };
    let outcome = process::run(command, Vec::new(), bounds).ok()?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    let address = text
        .lines()
        .find_map(|line| line.strip_prefix("hostname "))?
        .trim();
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_tried_is_no_no() {
        let wait = Duration::from_secs(5);
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = open.local_addr().unwrap().to_string();
        assert!(takes_connections(&place, wait).unwrap());
        drop(open);
        assert!(!takes_connections(&place, wait).unwrap());
        // Of a link nobody named: the kernel does not even try.
        assert!(takes_connections("[fe80::1]:25", wait).is_err());
        assert!(takes_connections("no-such-name.invalid:25", wait).is_err());
    }

    #[test]
    fn a_connection_to_this_machine_comes_from_it_in_either_family() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(sources("127.0.0.1"), BTreeSet::from([v4]));
        // Machines without IPv6 have no such route.
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
            assert_eq!(sources("::1"), BTreeSet::from([v6]));
        }
        assert!(sources("localhost").is_superset(&BTreeSet::from([v4])));
    }

    #[test]
    fn nowhere_is_reached_from_nowhere() {
        assert!(sources("no such name").is_empty());
        let host = HostName::new("mx1").unwrap();
        let behind = Ipv4Addr::new(203, 0, 113, 7).into();
        let natted =
            Addresses::new(&Fleet::default(), SshOptions::default()).seen_as([behind].into());
        let anybody = HostName::new("mx1").unwrap();
        assert_eq!(natted.sources(&anybody), [behind].into());
        let nobody = Addresses::new(&Fleet::default(), SshOptions::default());
        assert!(nobody.sources(&host).is_empty() && nobody.of(&host).is_none());
    }

    #[test]
    fn ssh_is_asked_where_a_host_is_and_an_alias_of_its_configuration_counts() {
        let mut fleet = Fleet::default();
        let host = HostName::new("mx1").unwrap();
        fleet
            .hosts
            .insert(host.clone(), mailkeep_model::Host::default());
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), "Host mx1\n    HostName 127.0.0.1\n").unwrap();
        let extra = vec!["-F".to_owned(), config.path().display().to_string()];
        let options = SshOptions {
            extra,
            ..SshOptions::default()
        };
        let addresses = Addresses::new(&fleet, options);
        let Some(address) = addresses.of(&host) else {
            panic!("the fleet has it");
        };
        // Without an ssh it is the name itself.
        if address != "mx1" {
            assert_eq!(address, "127.0.0.1");
            assert_eq!(
                addresses.sources(&host),
                BTreeSet::from([Ipv4Addr::LOCALHOST.into()])
            );
        }
    }
}
