//! Captures of a network (pcap, pcapng) to the segments of TCP in them.
//!
//! Entry: [`segments`]. What cannot be read is counted by name in [`Skipped`], or ends the reading with a
//! [`CaptureError`]; nothing is left out silently. Memory: one block.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};
use thiserror::Error;

/// Interfaces of a section that are told apart.
const MOST_INTERFACES: usize = 1000;

/// What a capture begins with: pcap in either order, with microseconds or nanoseconds, and pcapng.
const MAGIC: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// Whether a file that begins so is a capture.
pub fn is_capture(begin: &[u8]) -> bool {
    MAGIC.iter().any(|magic| begin.starts_with(magic))
}

/// Why a capture was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// Its head is of no capture, or not whole.
    #[error("its head is not one of a capture")]
    Head,
    /// A block is not as its format has it.
    #[error("it is damaged at octet {0}; what follows was not read")]
    Damaged(usize),
    /// A block of more octets than are held.
    #[error("at octet {0} stands a block too large to be read; what follows was not read")]
    TooLong(usize),
    /// It ends within a block.
    #[error("it ends within a packet, at octet {0}")]
    Ends(usize),
    /// The file could not be read.
    #[error("it could not be read any further than octet {0}")]
    Read(usize),
}

/// Packets that were not followed, by why: stable names.
pub type Skipped = BTreeMap<&'static str, u64>;

/// One segment of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Who got it.
    pub to: SocketAddr,
    /// Its sequence number.
    pub number: u32,
    /// What its sender has received.
    pub acknowledges: Option<u32>,
    /// The first of a connection.
    pub syn: bool,
    /// The last of a direction.
    pub fin: bool,
    /// The end of a connection.
    pub rst: bool,
    /// Its octets, as far as they were captured.
    pub octets: &'a [u8],
}

/// Hands over the segments of a capture, in its order, as long as `each` wants more. A block has less than `longest`
/// octets.
///
/// # Errors
/// The capture could not be read to its end; what stood before was handed over.
pub fn segments(
    reader: impl Read + Send,
    longest: usize,
    skipped: &mut Skipped,
    each: &mut dyn FnMut(&Segment<'_>) -> bool,
) -> Result<(), CaptureError> {
    let mut reader = create_reader(longest, Whole(reader))
        .ok()
        .ok_or(CaptureError::Head)?;
    let is_ng = reader.data().starts_with(&MAGIC[4]);
    let mut links: Vec<Linktype> = Vec::new();
    let mut at = 0;
    loop {
        if is_ng && is_cut(reader.data()) {
            return Err(CaptureError::Damaged(at));
        }
        let used = match reader.next() {
            Ok((used, block)) => {
                if !block_of(&block, &mut links, skipped, each) {
                    return Ok(());
                }
                used
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                reader.refill().ok().ok_or(CaptureError::Read(at))?;
                continue;
            }
            Err(PcapError::UnexpectedEof) => return Err(CaptureError::Ends(at)),
            Err(PcapError::BufferTooSmall) => return Err(CaptureError::TooLong(at)),
            Err(PcapError::ReadError) => return Err(CaptureError::Read(at)),
            Err(_) => return Err(CaptureError::Damaged(at)),
        };
        at = at.saturating_add(used);
        reader.consume(used);
    }
}

/// Whether this is a block about a process that says it is shorter than the frame of any. `pcap-parser` 0.17 holds all
/// other kinds to that, and takes the frame of this one off what is shorter.
fn is_cut(block: &[u8]) -> bool {
    let (Some(kind), Some(length)) = (block.first_chunk::<4>(), block.get(4..8)) else {
        return false;
    };
    let length = <[u8; 4]>::try_from(length).unwrap_or_default();
    let ways = [
        (u32::from_le_bytes(*kind), u32::from_le_bytes(length)),
        (u32::from_be_bytes(*kind), u32::from_be_bytes(length)),
    ];
    ways.iter()
        .any(|(kind, length)| *kind == 0x8000_0001 && *length < 12)
}

/// Fills what it is given as far as there is something: the head of a capture must come in one piece.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..)
            && !room.is_empty()
        {
            match self.0.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Whether more is wanted.
fn block_of(
    block: &PcapBlockOwned<'_>,
    links: &mut Vec<Linktype>,
    skipped: &mut Skipped,
    each: &mut dyn FnMut(&Segment<'_>) -> bool,
) -> bool {
    let (interface, octets, whole) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            // The upper bits tell of a checksum behind each frame.
            links.push(Linktype(header.network.0 & 0x03ff_ffff));
            return true;
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data, packet.origlen),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            return true;
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            if links.len() < MOST_INTERFACES {
                links.push(interface.linktype);
            }
            return true;
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.if_id, packet.packet_data(), packet.origlen)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            (0, packet.packet_data(), packet.origlen)
        }
        PcapBlockOwned::NG(Block::Unknown(unknown)) => {
            // The packets of the first pcapng; all other kinds hold none.
            if unknown.block_type == 2 {
                count(skipped, "obsolete-packet-block");
            }
            return true;
        }
        PcapBlockOwned::NG(_) => return true,
    };
    let link = usize::try_from(interface)
        .ok()
        .and_then(|interface| links.get(interface));
    let Some(link) = link else {
        count(skipped, "unknown-interface");
        return true;
    };
    if usize::try_from(whole).is_ok_and(|whole| whole > octets.len()) {
        // It is followed all the same: what is missing shows.
        count(skipped, "captured-in-part");
    }
    match segment(*link, octets) {
        Ok(segment) => return each(&segment),
        Err("") => {}
        Err(why) => count(skipped, why),
    }
    true
}

fn count(skipped: &mut Skipped, why: &'static str) {
    *skipped.entry(why).or_default() += 1;
}

/// The segment in a packet; why there is none that could be read, empty if it is of another protocol.
fn segment(link: Linktype, octets: &[u8]) -> Result<Segment<'_>, &'static str> {
    let packet = match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(octets).ok(),
        // Twelve and fourteen are what some systems call raw IP.
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => {
            LaxSlicedPacket::from_ip(octets).ok()
        }
        // Four octets of an address family, in the order of whoever captured.
        Linktype::NULL | Linktype::LOOP => octets
            .get(4..)
            .and_then(|octets| LaxSlicedPacket::from_ip(octets).ok()),
        Linktype::LINUX_SLL => cooked(octets, 14, 16),
        Linktype::LINUX_SLL2 => cooked(octets, 0, 20),
        _ => return Err("link-type-not-known"),
    };
    let packet = packet.ok_or("not-a-packet")?;
    let (from, to, fragment) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let from = IpAddr::V4(header.source_addr());
            let to = IpAddr::V4(header.destination_addr());
            (from, to, ip.is_payload_fragmented())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let from = IpAddr::V6(header.source_addr());
            let to = IpAddr::V6(header.destination_addr());
            (from, to, ip.is_payload_fragmented())
        }
        None if packet.stop_err.is_some() => return Err("not-a-packet"),
        Some(LaxNetSlice::Arp(_)) | None => return Err(""),
    };
    if fragment {
        return Err("ip-fragment");
    }
    let tcp = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp,
        None if packet.stop_err.is_some() => return Err("not-a-packet"),
        Some(_) | None => return Err(""),
    };
    Ok(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        number: tcp.sequence_number(),
        acknowledges: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        octets: tcp.payload(),
    })
}

/// A packet of Linux' cooked capture, whose protocol stands at `protocol` and whose content begins at `begin`.
fn cooked(octets: &[u8], protocol: usize, begin: usize) -> Option<LaxSlicedPacket<'_>> {
    let number = octets.get(protocol..protocol + 2)?;
    let number = u16::from_be_bytes(number.try_into().ok()?);
    let content = octets.get(begin..)?;
    Some(LaxSlicedPacket::from_ether_type(EtherType(number), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_shorter_than_its_own_frame_is_damage() {
        let number = |of: u32, big: bool| {
            if big {
                of.to_be_bytes()
            } else {
                of.to_le_bytes()
            }
        };
        for (big, length) in [false, true]
            .into_iter()
            .flat_map(|big| (4..12).map(move |length| (big, length)))
        {
            let mut octets = MAGIC[4].to_vec();
            octets.extend(number(28, big));
            octets.extend(number(0x1a2b_3c4d, big));
            octets.extend(number(1, big));
            octets.extend([0xff; 8]);
            octets.extend(number(28, big));
            octets.extend(number(0x8000_0001, big));
            octets.extend(number(length, big));
            octets.resize(256, 0);
            let read = segments(octets.as_slice(), 65_536, &mut Skipped::new(), &mut |_| {
                true
            });
            assert_eq!(read, Err(CaptureError::Damaged(28)), "{big} {length}");
        }
    }
}
