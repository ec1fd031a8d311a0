//! What a mail server tells a filter. Entry: [`Event::read`].

use std::net::IpAddr;

use thiserror::Error;

use super::packet::text;

/// Why a server's octets are no milter conversation. The connection is closed then, and the server does what it was
/// told to do without its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MilterError {
    /// A packet without a letter, or of more than 1 MiB.
    #[error("a packet of {0} octets")]
    Length(usize),
    /// A text without its NUL.
    #[error("a text does not end")]
    Unended,
    /// A packet that is too short for its letter, or too long.
    #[error("a packet {0:?} does not hold what it should")]
    Malformed(char),
    /// A letter that means nothing.
    #[error("a packet with the unknown letter {0:?}")]
    Unknown(char),
    /// Versions before 2 have no agreement on what is sent.
    #[error("version {0} of the protocol; 2 to 6 are spoken")]
    Version(u32),
    /// Nothing may come before the negotiation, and no content without a sender.
    #[error("a packet {0:?} where it must not come")]
    Order(char),
    /// An envelope beyond its limits.
    #[error("an envelope of more than {0} octets")]
    Envelope(usize),
}

impl MilterError {
    /// Its stable name.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Envelope(_) => "milter-envelope-too-large",
            Self::Length(_) => "milter-packet-length",
            Self::Malformed(_) => "milter-packet-malformed",
            Self::Order(_) => "milter-packet-order",
            Self::Unended => "milter-text-unended",
            Self::Unknown(_) => "milter-packet-unknown",
            Self::Version(_) => "milter-version",
        }
    }
}

/// One packet, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// `O`: what the server can do.
    Negotiate {
        version: u32,
        actions: u32,
        steps: u32,
    },
    /// `D`: names and values that hold from the command in `of` on.
    Macros { of: u8, pairs: &'a [u8] },
    /// `C`
    Connect {
        name: &'a [u8],
        address: Option<IpAddr>,
        local: bool,
    },
    /// `H`
    Hello(&'a [u8]),
    /// `M`: the address with its brackets; its parameters are left out.
    Mail(&'a [u8]),
    /// `R`
    Recipient(&'a [u8]),
    /// `T`
    Data,
    /// `L`
    Header { name: &'a [u8], value: &'a [u8] },
    /// `N`
    EndOfHeaders,
    /// `B`
    Body(&'a [u8]),
    /// `E`, which may hold the last piece.
    EndOfBody(&'a [u8]),
    /// `A`: the message that has begun is over, the connection goes on.
    Abort,
    /// `K`: another client follows in this connection.
    NewClient,
    /// `Q`
    Quit,
    /// `U`: an SMTP command the server does not know.
    UnknownCommand,
}

impl<'a> Event<'a> {
    pub(super) fn read(letter: u8, data: &'a [u8]) -> Result<Self, MilterError> {
        let malformed = MilterError::Malformed(char::from(letter));
        let mut rest = data;
        let event = match letter {
            b'O' => {
                let (version, after) = rest.split_first_chunk::<4>().ok_or(malformed)?;
                let (actions, after) = after.split_first_chunk::<4>().ok_or(malformed)?;
                let (steps, _) = after.split_first_chunk::<4>().ok_or(malformed)?;
                Self::Negotiate {
                    version: u32::from_be_bytes(*version),
                    actions: u32::from_be_bytes(*actions),
                    steps: u32::from_be_bytes(*steps),
                }
            }
            b'D' => {
                let (of, pairs) = rest.split_first().ok_or(malformed)?;
                Self::Macros { of: *of, pairs }
            }
            b'C' => {
                let name = text(&mut rest)?;
                let (family, after) = rest.split_first().ok_or(malformed)?;
                let address = match family {
                    b'4' | b'6' => {
                        let (_port, mut after) = after.split_first_chunk::<2>().ok_or(malformed)?;
                        Some(address(text(&mut after)?).ok_or(malformed)?)
                    }
                    // A socket of this machine, or nobody knows.
                    b'L' | b'U' => None,
                    _ => return Err(malformed),
                };
                Self::Connect {
                    name,
                    address,
                    local: *family == b'L',
                }
            }
            b'H' => Self::Hello(text(&mut rest)?),
            b'M' => Self::Mail(text(&mut rest)?),
            b'R' => Self::Recipient(text(&mut rest)?),
            b'T' => Self::Data,
            b'L' => {
                let name = text(&mut rest)?;
                let value = text(&mut rest)?;
                if name.is_empty() {
                    return Err(malformed);
                }
                Self::Header { name, value }
            }
            b'N' => Self::EndOfHeaders,
            b'B' => Self::Body(data),
            b'E' => Self::EndOfBody(data),
            b'A' => Self::Abort,
            b'K' => Self::NewClient,
            b'Q' => Self::Quit,
            b'U' => Self::UnknownCommand,
            _ => return Err(MilterError::Unknown(char::from(letter))),
        };
        Ok(event)
    }
}

/// Sendmail writes `IPv6:` before the one, Postfix before neither.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address,
        _ => text,
    };
    // A link-local address may carry its interface.
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().ok()
}
