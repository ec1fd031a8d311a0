//! Listening TCP sockets, from `/proc/net/tcp` and `/proc/net/tcp6` (`proc_net_tcp` in the
//! kernel's documentation), their holders from `/proc/PID/fd`, and the banners.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mailkeep_model::text::printable_max;
use mailkeep_model::{Listener, mail_roles_of_port};

use super::{HostSection, Lacks, Sections};

/// What was seen of sockets.
pub(super) struct Sockets {
    /// Sorted.
    pub(super) listeners: Vec<Listener>,
    /// Ports on which each process listens.
    pub(super) ports_of: BTreeMap<u32, BTreeSet<u16>>,
}

/// Longest banner kept, in characters.
const MAX_BANNER: usize = 200;

pub(super) fn read(sections: &Sections<'_>, about: &HostSection, lacks: &mut Lacks) -> Sockets {
    let holders = sections.text("holders");
    let mut pids_of: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    for (pid, inode) in holders.lines().filter_map(|l| l.split_once(' ')) {
        if let (Ok(pid), Ok(inode)) = (pid.parse(), inode.trim().parse()) {
            pids_of.entry(inode).or_default().insert(pid);
        }
    }
    let banners_text = sections.text("banners");
    let banners: BTreeMap<&str, &str> = banners_text
        .lines()
        .filter_map(|l| l.split_once(' '))
        .collect();

    let mut listeners = BTreeSet::new();
    let mut ports_of: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
    let mut hidden = false;
    for line in sections.text("tcp").lines() {
        let Some((local, inode)) = listening(line) else {
            continue;
        };
        let Some((address, port)) = address_of(local, about.big_endian) else {
            continue;
        };
        let pids = pids_of.get(&inode);
        for pid in pids.into_iter().flatten() {
            ports_of.entry(*pid).or_default().insert(port);
        }
        // A master and the processes it forks share a socket: the first of them stands for all.
        let pid = pids.and_then(|p| p.first().copied());
        hidden |= pid.is_none() && (!about.root || !mail_roles_of_port(port).is_empty());
        listeners.insert(Listener {
            address,
            port,
            pid,
            banner: banners
                .get(local)
                .map(|b| printable_max(b.trim(), MAX_BANNER)),
        });
    }
    if hidden {
        let why = if about.root {
            "held by the kernel, or by another namespace"
        } else {
            "needs root"
        };
        lacks.add("listening process", why);
    }
    Sockets {
        listeners: listeners.into_iter().collect(),
        ports_of,
    }
}

/// Local address and inode of a line of `/proc/net/tcp` in state `0A` (`TCP_LISTEN`).
fn listening(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.split_ascii_whitespace();
    fields.next()?.strip_suffix(':')?;
    let local = fields.next()?;
    let _remote = fields.next()?;
    if !fields.next()?.eq_ignore_ascii_case("0A") {
        return None;
    }
    // tx:rx queue, timer, retransmits, uid, timeout, inode.
    let inode = fields.nth(5)?.parse().ok()?;
    Some((local, inode))
}

/// `0100007F:0019`: each 32 bits of the address as a number in the machine's byte order.
fn address_of(local: &str, big_endian: bool) -> Option<(IpAddr, u16)> {
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    let mut rest = address;
    while !rest.is_empty() && bytes.len() < 16 {
        let (word, tail) = rest.split_at_checked(8)?;
        let word = u32::from_str_radix(word, 16).ok()?;
        bytes.extend(if big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        });
        rest = tail;
    }
    if !rest.is_empty() {
        return None;
    }
    let address = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(four))
    } else {
        let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
        IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical()
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_machines_byte_order() {
        for (text, big_endian, expected) in [
            ("0100007F:0019", false, "127.0.0.1"),
            ("7F000001:0019", true, "127.0.0.1"),
            ("00000000000000000000000001000000:0019", false, "::1"),
            ("0000000000000000FFFF00000100007F:0019", false, "127.0.0.1"),
            (
                "B80D01200000000067452301EFCDAB89:0019",
                false,
                "2001:db8::123:4567:89ab:cdef",
            ),
        ] {
            let (address, port) = address_of(text, big_endian).unwrap();
            assert_eq!(address.to_string(), expected);
            assert_eq!(port, 25);
        }
        for odd in [
            "",
            "xyz",
            "0100007F",
            "0100:0019",
            "0100007F0100007F:0019",
            "é100007F:0019",
        ] {
            assert!(address_of(odd, false).is_none(), "{odd}");
        }
    }

    #[test]
    fn only_listening_sockets_count() {
        let line = |state: &str| {
            format!(
                "   1: 00000000:0019 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 51296 1 0 100"
            )
        };
        assert_eq!(listening(&line("0A")), Some(("00000000:0019", 51296)));
        assert_eq!(listening(&line("01")), None);
    }
}
