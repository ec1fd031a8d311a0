//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`, 2020-03-05): who the client is, said by
//! whoever took its connection.
//!
//! Entry: [`ProxyHeader::read`], [`ProxyHeader::to_wire`]. Must not decide who may say so: the shield asks that first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address, and the one that it asked for. `None` where the proxy speaks for itself (`LOCAL`) or
    /// does not know (`UNKNOWN`).
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Why octets are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// Addresses that cannot be, or a length that they do not fit into (EXIM-Security-2026-05-19.1).
    #[error("the PROXY header holds no addresses of its family")]
    Addresses,
    /// Not TCP over IPv4 or IPv6.
    #[error("the PROXY header names a family or transport other than TCP")]
    Family,
    /// It begins otherwise.
    #[error("there is no PROXY header")]
    NoHeader,
    /// More than 107 octets in version 1, more than 2064 in version 2.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Its further fields do not fill its length.
    #[error("the PROXY header's fields do not fit its length")]
    Fields,
}

impl ProxyError {
    /// Its stable name.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Addresses => "proxy-header-addresses",
            Self::Family => "proxy-header-family",
            Self::Fields => "proxy-header-fields",
            Self::NoHeader => "no-proxy-header",
            Self::TooLong => "proxy-header-too-long",
        }
    }
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 1, with its CRLF.
const LONGEST_LINE: usize = 107;
/// Octets behind the first 16 of version 2. Addresses are 36 at most; the rest is fields that nobody reads here.
const LONGEST_REST: usize = 2048;

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProgress {
    /// So many octets more are needed at least, and all of them belong to the header.
    Needs(usize),
    /// It is whole.
    Whole(ProxyHeader),
}

impl ProxyHeader {
    /// Reads a header. Give it what has come, and as many octets more as it asks for, no more: what follows the
    /// header is the client's own.
    pub fn read(octets: &[u8]) -> Result<ProxyProgress, ProxyError> {
        // The shortest header of either version has 15 octets: `PROXY UNKNOWN` with its CRLF.
        let begins = |whole: &[u8]| {
            let count = whole.len().min(octets.len());
            octets.get(..count) == whole.get(..count)
        };
        if begins(SIGNATURE) {
            let Some((first, rest)) = octets.split_at_checked(16) else {
                let aim = if octets.len() < 15 { 15 } else { 16 };
                return Ok(ProxyProgress::Needs(aim - octets.len()));
            };
            return version_2(first, rest);
        }
        if !begins(b"PROXY ") {
            return Err(ProxyError::NoHeader);
        }
        if let Some(line) = octets.strip_suffix(b"\r\n") {
            if octets.len() > LONGEST_LINE {
                return Err(ProxyError::TooLong);
            }
            return version_1(line).map(ProxyProgress::Whole);
        }
        if octets.len() >= LONGEST_LINE {
            return Err(ProxyError::TooLong);
        }
        if octets.contains(&b'\n') {
            return Err(ProxyError::Addresses);
        }
        Ok(ProxyProgress::Needs(
            15_usize.saturating_sub(octets.len()).max(1),
        ))
    }

    /// Version 2. Addresses of two families are both written as IPv6.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = SIGNATURE.to_vec();
        let Some((client, asked)) = self.addresses else {
            wire.extend([0x20, 0x00, 0, 0]);
            return wire;
        };
        match (client.ip().to_canonical(), asked.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                wire.extend([0x21, 0x11, 0, 12]);
                wire.extend(from.octets());
                wire.extend(to.octets());
            }
            (from, to) => {
                wire.extend([0x21, 0x21, 0, 36]);
                wire.extend(as_v6(from).octets());
                wire.extend(as_v6(to).octets());
            }
        }
        wire.extend(client.port().to_be_bytes());
        wire.extend(asked.port().to_be_bytes());
        wire
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25`
fn version_1(line: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let text = std::str::from_utf8(line).ok();
    let text = text.ok_or(ProxyError::Addresses)?;
    let mut words = text.split(' ').skip(1);
    let four = match words.next() {
        // What follows UNKNOWN means nothing.
        Some("UNKNOWN") => return Ok(ProxyHeader { addresses: None }),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(ProxyError::Family),
    };
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        if four {
            word.parse().ok().map(IpAddr::V4)
        } else {
            word.parse().ok().map(IpAddr::V6)
        }
    };
    let (from, to) = (address(), address());
    let mut port = || words.next().and_then(port);
    let (from_port, to_port) = (port(), port());
    let ends = words.next().is_none();
    match (from, to, from_port, to_port) {
        (Some(from), Some(to), Some(from_port), Some(to_port)) if ends => Ok(ProxyHeader {
            addresses: Some((
                SocketAddr::new(from, from_port),
                SocketAddr::new(to, to_port),
            )),
        }),
        _ => Err(ProxyError::Addresses),
    }
}

/// Digits without a zero before them.
fn port(word: &str) -> Option<u16> {
    let number: u16 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

fn version_2(first: &[u8], rest: &[u8]) -> Result<ProxyProgress, ProxyError> {
    let [.., version, family, high, low] = first else {
        return Err(ProxyError::NoHeader);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST_REST {
        return Err(ProxyError::TooLong);
    }
    if rest.len() < length {
        return Ok(ProxyProgress::Needs(length - rest.len()));
    }
    let rest = rest.get(..length).unwrap_or_default();
    match (version, family) {
        // LOCAL: what it says of addresses must not be looked at. Or PROXY, and the proxy does not know them.
        (0x20, _) | (0x21, 0x00) => Ok(ProxyProgress::Whole(ProxyHeader { addresses: None })),
        (0x21, 0x11) => whole::<12, 4>(rest, |octets| Ipv4Addr::from(octets).into()),
        (0x21, 0x21) => whole::<36, 16>(rest, |octets| Ipv6Addr::from(octets).into()),
        (0x21, _) => Err(ProxyError::Family),
        _ => Err(ProxyError::NoHeader),
    }
}

/// Two addresses of `A` octets and two ports, `N` octets in all, and fields.
fn whole<const N: usize, const A: usize>(
    rest: &[u8],
    address: impl Fn([u8; A]) -> IpAddr,
) -> Result<ProxyProgress, ProxyError> {
    let (addresses, fields) = rest.split_first_chunk::<N>().ok_or(ProxyError::Addresses)?;
    well_formed(fields)?;
    let split = |octets| <[u8]>::split_first_chunk::<A>(octets).ok_or(ProxyError::Addresses);
    let (from, after) = split(addresses)?;
    let (to, ports) = split(after)?;
    let [a, b, c, d] = *ports.first_chunk::<4>().ok_or(ProxyError::Addresses)?;
    Ok(ProxyProgress::Whole(ProxyHeader {
        addresses: Some((
            SocketAddr::new(address(*from), u16::from_be_bytes([a, b])),
            SocketAddr::new(address(*to), u16::from_be_bytes([c, d])),
        )),
    }))
}

/// Type, length, value, and nothing left over.
fn well_formed(mut fields: &[u8]) -> Result<(), ProxyError> {
    while !fields.is_empty() {
        let [_, high, low, after @ ..] = fields else {
            return Err(ProxyError::Fields);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        fields = after.get(length..).ok_or(ProxyError::Fields)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives it only what it asks for, as the shield does; the header and what is left.
    fn read(stream: &[u8]) -> Result<(ProxyHeader, &[u8]), ProxyError> {
        let mut taken = 0;
        loop {
            match ProxyHeader::read(&stream[..taken])? {
                ProxyProgress::Whole(header) => return Ok((header, &stream[taken..])),
                ProxyProgress::Needs(more) => taken += more,
            }
            if taken > stream.len() {
                return Err(ProxyError::NoHeader);
            }
        }
    }

    fn addresses(client: &str, asked: &str) -> ProxyHeader {
        ProxyHeader {
            addresses: Some((client.parse().unwrap(), asked.parse().unwrap())),
        }
    }

    #[test]
    fn both_versions_say_who_the_client_is_and_leave_its_octets_alone() {
        let four = addresses("192.0.2.1:56324", "198.51.100.1:25");
        let six = addresses("[2001:db8::1]:1", "[::1]:65535");
        assert_eq!(
            read(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\nEHLO a\r\n"),
            Ok((four, &b"EHLO a\r\n"[..]))
        );
        assert_eq!(
            read(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"),
            Ok((six, &b""[..]))
        );
        for header in [four, six] {
            let mut wire = header.to_wire();
            wire.extend(b"\x16\x03");
            assert_eq!(read(&wire), Ok((header, &b"\x16\x03"[..])));
        }
        let nobody = ProxyHeader { addresses: None };
        for stream in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            &nobody.to_wire(),
        ] {
            assert_eq!(read(stream), Ok((nobody, &b""[..])), "{stream:?}");
        }
        // haproxy's fields behind the addresses.
        let mut wire = four.to_wire();
        wire.extend(b"\x04\x00\x02\x00\x00");
        wire[15] += 5;
        assert_eq!(read(&wire), Ok((four, &b""[..])));
    }

    #[test]
    fn what_is_no_header_is_refused_by_name() {
        let check = |stream: &[u8], kind: &str| {
            assert_eq!(read(stream).unwrap_err().kind(), kind, "{stream:?}");
        };
        check(b"EHLO client.example\r\n", "no-proxy-header");
        check(
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "proxy-header-family",
        );
        check(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "proxy-header-addresses",
        );
        check(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "proxy-header-addresses",
        );
        check(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "proxy-header-addresses",
        );
        check(
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "proxy-header-addresses",
        );
        check(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "proxy-header-addresses",
        );
        check(
            b"PROXY TCP4 192.0.2.1\n192.0.2.2 1 2\r\n",
            "proxy-header-addresses",
        );
        check(
            &[b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200]].concat(),
            "proxy-header-too-long",
        );
        let wire = addresses("192.0.2.1:1", "192.0.2.2:2").to_wire();
        let with = |place: usize, octet: u8, more: &[u8]| {
            let mut wire = wire.clone();
            wire[place] = octet;
            wire.extend(more);
            wire
        };
        // A length that the addresses do not fit into.
        check(&with(15, 11, b""), "proxy-header-addresses");
        check(&with(13, 0x21, b""), "proxy-header-addresses");
        check(&with(13, 0x12, b""), "proxy-header-family");
        check(&with(12, 0x31, b""), "no-proxy-header");
        check(&with(12, 0x22, b""), "no-proxy-header");
        check(&with(14, 0xff, b""), "proxy-header-too-long");
        check(&with(15, 14, b"\x04\x00"), "proxy-header-fields");
        check(&with(15, 16, b"\x04\x00\x02\x00"), "proxy-header-fields");
    }

    #[test]
    fn addresses_of_two_families_are_both_written_as_ipv6() {
        let header = addresses("192.0.2.1:1", "[::1]:2");
        assert_eq!(
            read(&header.to_wire()),
            Ok((addresses("[::ffff:192.0.2.1]:1", "[::1]:2"), &b""[..]))
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_survived_in_bounded_work(stream in proptest::collection::vec(any::<u8>(), 0..200), prefix in 0_usize..3) {
            let begin: &[u8] = [&b""[..], b"PROXY ", SIGNATURE][prefix];
            read(&[begin, &stream].concat()).ok();
        }

        #[test]
        fn what_was_written_is_read_as_equal(from in any::<[u8; 4]>(), to in any::<[u8; 4]>(), ports in any::<(u16, u16)>()) {
            let header = ProxyHeader {
                addresses: Some(((from, ports.0).into(), (to, ports.1).into())),
            };
            let wire = header.to_wire();
            prop_assert_eq!(read(&wire), Ok((header, &b""[..])));
        }
    }
}
