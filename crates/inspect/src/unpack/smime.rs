//! Opaque S/MIME: a message within a signature, or compressed (RFC 8551 sections 3.5.2 and 3.6). What is encrypted
//! stays so. Neither signature nor certificate is looked at. The same of `OpenPGP` lies in a module of its own.

mod openpgp;

use std::borrow::Cow;

pub(crate) use self::openpgp::is_openpgp;
use super::{Member, Sink, inflate};
use crate::kind::{self, Class, Kind};
use crate::octets::{find, some, u8_at};

/// 1.2.840.113549.1.7.1 (data), with its tag.
const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

/// 1.2.840.113549.1.9.16.1.9 (compressed data).
pub(crate) const COMPRESSED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";

/// 1.2.840.113549.1.7.2 (signed data).
pub(crate) const SIGNED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// The same without its tag.
const DATA_NUMBER: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    if is_openpgp(octets) {
        openpgp::read(octets, sink);
        return;
    }
    // What is no proper structure may be one for somebody more lenient.
    let Some(Held {
        content,
        compressed,
    }) = held(octets).or_else(|| searched(octets))
    else {
        return;
    };
    // The signature stands for another part.
    if content.is_empty() {
        return;
    }
    sink.produced(&content);
    if sink.stopped {
        return;
    }
    let (entity, unread) = if compressed {
        sink.unpack(&mut inflate::zlib(&content), None)
    } else {
        (content, None)
    };
    // An entity is a message less the fields of one: with this it is known to be one.
    let mut message = [b"MIME-Version: 1.0\r\n".as_slice(), &entity].concat();
    let kind = kind::of(&message);
    if kind != Kind::Message && begins_with_field(&entity) {
        // A head with a line that is no field. Within a message, all that it may mean is followed.
        let wrapping = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n";
        message = [wrapping.as_slice(), &message].concat();
    }
    let more = sink.member(Member {
        types: vec!["message/rfc822".to_owned()],
        octets: Cow::Owned(message),
        unread: unread.clone(),
        inner: true,
        ..Member::default()
    });
    // Whole files are signed as well, as invoices are.
    let own = kind::of(&entity);
    if !more || own == kind || matches!(own.class(), Class::Other | Class::Message) {
        return;
    }
    sink.produced(&entity);
    sink.member(Member {
        octets: Cow::Owned(entity),
        unread,
        inner: true,
        ..Member::default()
    });
}

/// What is signed or compressed.
struct Held {
    /// Empty: it lies elsewhere.
    content: Vec<u8>,
    compressed: bool,
}

/// What lies where it belongs. None: the structure is another. `SignedData` and `CompressedData` begin alike (RFC 5652
/// section 5.1, RFC 3274 section 1.1): a version, algorithms, and the content with its type.
fn held(octets: &[u8]) -> Option<Held> {
    let mut info = Element::at(octets, 0)?.within(octets, 0x30)?;
    let number = info.next()?.octets(octets, 0x06)?;
    let compressed = number == COMPRESSED;
    if !compressed && number != SIGNED {
        return None;
    }
    let mut data = info.next()?.within(octets, 0xa0)?;
    let mut data = data.next()?.within(octets, 0x30)?;
    let (_version, _algorithms) = (data.next()?, data.next()?);
    let mut inner = data.next()?.within(octets, 0x30)?;
    let number = inner.next()?.octets(octets, 0x06)?;
    let content = match inner.next() {
        None | Some(Element { tag: 0x00, .. }) => Vec::new(),
        Some(wrapping) if wrapping.tag == 0xa0 => {
            strings(some(octets, 0, wrapping.end(octets)), wrapping.start)
        }
        Some(_) => return None,
    };
    // Of another type are time stamps and lists of programs; but some readers look at no type.
    let is_entity = number == DATA_NUMBER || begins_with_field(&content);
    is_entity.then_some(Held {
        content,
        compressed,
    })
}

fn begins_with_field(content: &[u8]) -> bool {
    let head = some(content, 0, 80);
    memchr::memchr(b':', head).is_some_and(|colon| {
        let name = some(head, 0, colon).trim_ascii_end();
        !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
    })
}

/// What stands behind the first number of data that anything stands behind.
fn searched(octets: &[u8]) -> Option<Held> {
    // Each may lead through all that follows.
    const MOST: usize = 16;
    let contents = memchr::memmem::find_iter(octets, DATA)
        .take(MOST)
        .map(|at| {
            // The sequence around it holds nothing else.
            if at >= 2 && some(octets, at - 2, 2) == b"\x30\x0b" {
                return Vec::new();
            }
            let wrapping = Element::at(octets, at.saturating_add(DATA.len()));
            let wrapping = wrapping.filter(|wrapping| wrapping.tag == 0xa0);
            wrapping.map_or_else(Vec::new, |wrapping| strings(octets, wrapping.start))
        });
    Some(Held {
        content: { contents }.find(|content| !content.is_empty())?,
        compressed: find(some(octets, 0, 64), COMPRESSED).is_some(),
    })
}

/// The strings of octets that begin at a place, put together: in one piece, in several, in several of several.
fn strings(octets: &[u8], mut at: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(element) = Element::at(octets, at) {
        match element.tag {
            // A string that is made of strings: they come next. Where it has an end of its own, that is passed over.
            0x24 => at = element.start,
            0x04 => {
                content.extend_from_slice(some(octets, element.start, element.length_in(octets)));
                at = element.end(octets);
            }
            0x00 if element.length == Some(0) => at = element.start,
            _ => break,
        }
    }
    content
}

/// One element of BER, whose length may be written in more octets than it needs, or not at all (X.690 section 8.1.3).
#[derive(Clone, Copy)]
struct Element {
    tag: u8,
    start: usize,
    /// None: until its end is marked.
    length: Option<usize>,
}

impl Element {
    fn at(octets: &[u8], at: usize) -> Option<Self> {
        let tag = u8_at(octets, at)?;
        let mut at = at.saturating_add(1);
        // Greater numbers of tags go on in further octets (X.690 section 8.1.2.4).
        if tag & 0x1f == 0x1f {
            while u8_at(octets, at)? & 0x80 != 0 {
                at = at.saturating_add(1);
            }
            at = at.saturating_add(1);
        }
        let first = u8_at(octets, at)?;
        let at = at.saturating_add(1);
        let (start, length) = match first {
            0x80 => (at, None),
            0x81.. => {
                let count = usize::from(first & 0x7f);
                let number = some(octets, at, count)
                    .iter()
                    .fold(0_usize, |number, octet| {
                        number
                            .saturating_mul(256)
                            .saturating_add(usize::from(*octet))
                    });
                (at.saturating_add(count), Some(number))
            }
            short => (at, Some(usize::from(short))),
        };
        Some(Self { tag, start, length })
    }

    fn length_in(self, octets: &[u8]) -> usize {
        let most = octets.len().saturating_sub(self.start);
        self.length.map_or(most, |length| length.min(most))
    }

    /// Where the next begins. One without a length ends where as many ends came as beginnings.
    fn end(self, octets: &[u8]) -> usize {
        if self.length.is_some() {
            return self.start.saturating_add(self.length_in(octets));
        }
        let mut at = self.start;
        let mut open = 1_usize;
        while let Some(element) = Self::at(octets, at) {
            at = element.start.saturating_add(element.length.unwrap_or(0));
            match element.length {
                None => open = open.saturating_add(1),
                Some(0) if element.tag == 0 => open = open.saturating_sub(1),
                Some(_) => {}
            }
            if open == 0 {
                return at;
            }
        }
        octets.len()
    }

    /// Its octets, if it has this tag.
    fn octets(self, octets: &[u8], tag: u8) -> Option<&[u8]> {
        (self.tag == tag).then(|| some(octets, self.start, self.length_in(octets)))
    }

    /// What it is made of, if it has this tag.
    fn within(self, octets: &[u8], tag: u8) -> Option<Elements<'_>> {
        (self.tag == tag).then(|| Elements {
            octets: some(octets, 0, self.start.saturating_add(self.length_in(octets))),
            at: self.start,
        })
    }
}

/// Elements one after another.
struct Elements<'o> {
    octets: &'o [u8],
    at: usize,
}

impl Iterator for Elements<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        let element = Element::at(self.octets, self.at)?;
        self.at = element.end(self.octets);
        Some(element)
    }
}
