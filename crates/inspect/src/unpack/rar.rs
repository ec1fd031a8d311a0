//! RAR, before version 5 and since: the names, sizes, links and encryption of its members, and their content
//! (technote.txt of RAR 4 and 5).
//!
//! What the heads say is read here, leniently; what is packed is unpacked by `rars`, which reads the heads again and
//! strictly. Where the two do not agree on the members, packed ones are judged by their names.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;

use rars::{
    ArchiveMember, ArchiveReadOptions, ArchiveReader, ExtractionDecision, ExtractionErrorAction,
};

use super::{Member, Sink, Trouble, Unread};
use crate::octets::{
    find, name, piece, place, place64, rest, some, u8_at, u16le, u32le, until_zero,
};
use crate::{Limit, LimitReached};

/// Memory that the decoders of one archive may take; a dictionary is among it.
const WORKSPACE_MAX: u64 = 256 << 20;

/// Heads of one archive, in octets: more than any limit on members lets through.
const HEADS_MAX: u64 = 16 << 20;

/// Members above this are unpacked piece by piece.
const BUFFERED_MAX: u64 = 8 << 20;

/// Before version 5: blocks of a fixed head.
pub(super) fn read4(octets: &[u8], sink: &mut Sink<'_>) {
    let begin = find(octets, b"Rar!\x1a\x07\0").unwrap_or(0);
    let mut entries = Vec::new();
    list4(octets, begin.saturating_add(7), &mut entries, sink);
    hand_on(rest(octets, begin), &entries, sink);
}

/// What is listed of an archive: one more member than there may be shows that there are too many.
type Entries<'a> = Vec<Entry<'a>>;

/// A member, as its head says.
#[expect(clippy::struct_excessive_bools, reason = "a head says each by itself")]
struct Entry<'a> {
    names: Vec<String>,
    encrypted: bool,
    split: bool,
    stored: bool,
    directory: bool,
    link: Option<String>,
    content: &'a [u8],
    /// How long its content is said to be, as it lies there.
    size: u64,
}

impl Entry<'_> {
    /// Its content has to be unpacked, and can be.
    fn packed(&self) -> bool {
        !self.stored && !self.encrypted && !self.split && !self.directory
    }
}

fn list4<'a>(octets: &'a [u8], mut at: usize, entries: &mut Entries<'a>, sink: &mut Sink<'_>) {
    while entries.len() <= sink.budget.limits().members
        && let Some(head) = piece(octets, at, 7)
    {
        let block_type = head.get(2).copied().unwrap_or(0);
        let flags = u16le(head, 3).unwrap_or(0);
        let size = usize::from(u16le(head, 5).unwrap_or(0));
        if size < 7 || !(0x72..=0x7b).contains(&block_type) {
            sink.trouble(Trouble::Damaged("a block is none"));
            return;
        }
        let block = some(octets, at, size);
        let mut data = 0;
        if flags & 0x8000 != 0 || block_type == 0x74 {
            data = u64::from(u32le(block, 7).unwrap_or(0));
        }
        match block_type {
            0x73 if flags & 0x80 != 0 => {
                sink.trouble(Trouble::EncryptedNames);
                return;
            }
            0x74 => {
                if flags & 0x100 != 0 {
                    data |= u64::from(u32le(block, 32).unwrap_or(0)) << 32;
                }
                let content = some(octets, at.saturating_add(size), place64(data));
                match member4(block, flags, content, data) {
                    Ok(found) => entries.extend(found),
                    Err(trouble) => {
                        sink.trouble(trouble);
                        return;
                    }
                }
            }
            0x7b => return,
            _ => {}
        }
        at = at.saturating_add(size).saturating_add(place64(data));
    }
}

/// None: it is a directory.
fn member4<'a>(
    block: &[u8],
    flags: u16,
    content: &'a [u8],
    size: u64,
) -> Result<Option<Entry<'a>>, Trouble> {
    let (Some(host), Some(method), Some(length), Some(attributes)) = (
        u8_at(block, 15),
        u8_at(block, 25),
        u16le(block, 26),
        u32le(block, 28),
    ) else {
        return Err(Trouble::Damaged("a block is none"));
    };
    let title_at = if flags & 0x100 != 0 { 40 } else { 32 };
    let title = some(block, title_at, usize::from(length));
    let mut names = vec![];
    if flags & 0x200 != 0 && memchr::memchr(0, title).is_some() {
        names.push(unicode4(title));
    }
    let plain = name(until_zero(title));
    if !names.contains(&plain) {
        names.push(plain);
    }
    let directory = flags & 0xe0 == 0xe0;
    if directory && !names.iter().any(|name| name.contains("..")) {
        return Ok(None);
    }
    let symbolic = host == 3 && attributes & 0xf000 == 0xa000;
    Ok(Some(Entry {
        names,
        encrypted: flags & 4 != 0,
        split: flags & 3 != 0,
        stored: method == 0x30,
        directory,
        link: symbolic.then(|| name(some(content, 0, 4096))),
        content,
        size,
    }))
}

/// RAR's own packing of UTF-16: two bits say for each character how it follows from the plain name.
fn unicode4(title: &[u8]) -> String {
    let plain = until_zero(title);
    let mut packed = rest(title, plain.len().saturating_add(1)).iter().copied();
    let high = u16::from(packed.next().unwrap_or(0)) << 8;
    let mut units: Vec<u16> = Vec::new();
    let (mut flags, mut bits) = (0_u8, 0);
    while units.len() < 2048 {
        if bits == 0 {
            let Some(next) = packed.next() else {
                break;
            };
            flags = next;
            bits = 8;
        }
        bits -= 2;
        let mut octet = || packed.next().map(u16::from);
        match (flags >> bits) & 3 {
            0 => match octet() {
                Some(low) => units.push(low),
                None => break,
            },
            1 => match octet() {
                Some(low) => units.push(high | low),
                None => break,
            },
            2 => match (octet(), octet()) {
                (Some(low), Some(up)) => units.push(up << 8 | low),
                _ => break,
            },
            _ => {
                let Some(length) = octet() else {
                    break;
                };
                let count = usize::from(length & 0x7f) + 2;
                let add = if length & 0x80 != 0 { octet() } else { None };
                for _ in 0..count {
                    let low = plain.get(units.len()).copied().unwrap_or(0);
                    units.push(match add {
                        Some(add) => {
                            high | u16::from(low.wrapping_add(u8::try_from(add).unwrap_or(0)))
                        }
                        None => u16::from(low),
                    });
                }
            }
        }
    }
    units.retain(|unit| *unit != 0);
    String::from_utf16_lossy(&units)
}

/// Hands on all members, those that are packed unpacked. Not before all have been: what lies in one may be an archive
/// again, and the stack does not hold another decoder for each.
fn hand_on(archive: &[u8], entries: &Entries<'_>, sink: &mut Sink<'_>) {
    let mut left = entries.as_slice();
    let mut why = Unread::Method("rar".to_owned());
    if entries.iter().any(Entry::packed) {
        let mut work = Work {
            left,
            done: Vec::new(),
            open: None,
            pending: 0,
            sink,
        };
        let broken = work.run(archive);
        let done = work.done;
        left = work.left;
        for (entry, unpacked) in done {
            let more = match unpacked {
                Some(unpacked) => give_unpacked(entry, unpacked, sink),
                None => give(entry, None, sink),
            };
            if !more {
                return;
            }
        }
        if let Some(Unread::Limit(reached)) = broken {
            sink.limit(reached);
        }
        why = broken.unwrap_or(why);
    }
    for entry in left {
        if !give(entry, Some(&why), sink) {
            return;
        }
    }
}

/// What came out of a member.
struct Found {
    octets: Vec<u8>,
    unread: Option<Unread>,
    /// There was more than there may be.
    over: Option<Limit>,
}

/// Hands on a member that was unpacked.
fn give_unpacked(entry: &Entry<'_>, found: Found, sink: &mut Sink<'_>) -> bool {
    sink.pay(crate::octets::count(&found.octets));
    let unread = match found.over {
        Some(limit) => Some(sink.reached(limit)),
        None => found.unread,
    };
    let link = entry.link.as_ref();
    sink.member(Member {
        names: entry.names.clone(),
        link: link.map(|_| name(some(&found.octets, 0, 4096))),
        octets: Cow::Owned(found.octets),
        unread,
        ..Member::default()
    })
}

/// Hands on a member that is not unpacked; `why` it is not, if it is packed.
fn give(entry: &Entry<'_>, why: Option<&Unread>, sink: &mut Sink<'_>) -> bool {
    let (octets, unread) = if entry.encrypted {
        (Cow::Borrowed(&[][..]), Some(Unread::Encrypted))
    } else if !entry.stored && !entry.directory {
        let why = if entry.split { None } else { why.cloned() };
        let why = why.unwrap_or_else(|| Unread::Method("rar".to_owned()));
        (Cow::Borrowed(&[][..]), Some(why))
    } else {
        let (kept, limited) = sink.stored(entry.content);
        let short = crate::octets::count(entry.content) < entry.size;
        let why = if entry.split {
            Some(Unread::Split)
        } else {
            short.then_some(Unread::Damaged)
        };
        (kept, limited.or(why))
    };
    sink.member(Member {
        names: entry.names.clone(),
        octets,
        unread,
        link: entry.link.clone(),
        ..Member::default()
    })
}

/// An archive that is being unpacked.
struct Work<'w, 'a, 'k, 's> {
    /// What has not been come to yet.
    left: &'w [Entry<'a>],
    /// What has; none: its content lies there as it is.
    done: Vec<(&'w Entry<'a>, Option<Found>)>,
    /// The member that is being unpacked, and what of it is there.
    open: Option<(&'w Entry<'a>, Unpacked, Limit)>,
    /// What was unpacked, and is not paid yet.
    pending: u64,
    sink: &'k Sink<'s>,
}

/// What comes out of a member, and whether that is more than there may be.
type Unpacked = Rc<RefCell<(Vec<u8>, bool)>>;

/// Takes what comes out of a member, as much as may.
struct Taker {
    unpacked: Unpacked,
    most: usize,
}

impl Write for Taker {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let (unpacked, over) = &mut *self.unpacked.borrow_mut();
        let room = self.most.saturating_sub(unpacked.len());
        unpacked.extend_from_slice(some(octets, 0, room));
        if octets.len() > room {
            *over = true;
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Work<'_, '_, '_, '_> {
    /// Why what is left was not unpacked; none: it cannot be read at all.
    fn run(&mut self, archive: &[u8]) -> Option<Unread> {
        let parts = u64::try_from(self.sink.budget.limits().members).unwrap_or(u64::MAX);
        // Directories and records beside the files have heads, too.
        let options = ArchiveReadOptions::new()
            .with_max_header_count(parts.saturating_mul(4))
            .with_max_header_bytes(HEADS_MAX)
            .with_max_reader_workspace_bytes(WORKSPACE_MAX)
            .with_rar50_buffered_decode_limit(BUFFERED_MAX)
            .with_max_total_output_bytes(self.sink.budget.octets_left().saturating_add(1));
        let read = ArchiveReader::read_with_options(archive, options).ok()?;
        let solid = read.members().any(|member| member.is_solid());
        let state = RefCell::new(&mut *self);
        let done = read.extract_with_control_and_errors(
            options,
            |member| Ok(state.borrow_mut().decide(member, solid)),
            |_, _| {
                state.borrow_mut().close(Some(Unread::Damaged));
                Ok(ExtractionErrorAction::Continue)
            },
        );
        let why = match done {
            Ok(_) => None,
            Err(error) if error.kind() == rars::ErrorKind::ResourceLimit => {
                Some(Unread::Limit(LimitReached(Limit::Octets)))
            }
            Err(_) => Some(Unread::Damaged),
        };
        self.close(why.clone());
        why
    }

    /// What is to be done with a member, once the one before has been handed on.
    fn decide(&mut self, member: &ArchiveMember, solid: bool) -> ExtractionDecision {
        self.close(None);
        let meta = &member.meta;
        let Some((entry, left)) = self.left.split_first() else {
            return ExtractionDecision::Stop;
        };
        // Most directories are not listed.
        if meta.is_directory && !entry.directory {
            return ExtractionDecision::Skip;
        }
        let alike = entry.link.is_some() || entry.stored == meta.is_stored;
        if !alike || entry.directory != meta.is_directory || entry.size != meta.packed_size {
            return ExtractionDecision::Stop;
        }
        self.left = left;
        if entry.packed() {
            let (allowed, limit) = self.sink.allowance_beside(self.pending);
            let unpacked = Unpacked::default();
            let most = place64(allowed);
            self.open = Some((entry, Rc::clone(&unpacked), limit));
            return ExtractionDecision::Extract(Box::new(Taker { unpacked, most }));
        }
        self.done.push((entry, None));
        // In a solid archive what follows looks back into it.
        if solid && !meta.is_directory && !meta.is_redirection {
            ExtractionDecision::Extract(Box::new(io::sink()))
        } else {
            ExtractionDecision::Skip
        }
    }

    /// Ends the member that was being unpacked.
    fn close(&mut self, unread: Option<Unread>) {
        let Some((entry, unpacked, limit)) = self.open.take() else {
            return;
        };
        let (octets, over) = unpacked.take();
        self.pending = self.pending.saturating_add(crate::octets::count(&octets));
        let found = Found {
            octets,
            unread,
            over: over.then_some(limit),
        };
        self.done.push((entry, Some(found)));
    }
}

/// What is left of a block since version 5.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    /// Seven bits an octet, the low ones first.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for nth in 0..10_u32 {
            let (first, left) = self.0.split_first()?;
            self.0 = left;
            value |= u64::from(first & 0x7f).checked_shl(7 * nth).unwrap_or(0);
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: usize) {
        self.0 = rest(self.0, count);
    }
}

/// Since version 5: blocks of numbers of any length.
pub(super) fn read5(octets: &[u8], sink: &mut Sink<'_>) {
    let begin = find(octets, b"Rar!\x1a\x07\x01\0").unwrap_or(0);
    let mut entries = Vec::new();
    list5(octets, begin.saturating_add(8), &mut entries, sink);
    hand_on(rest(octets, begin), &entries, sink);
}

fn list5<'a>(octets: &'a [u8], mut at: usize, entries: &mut Entries<'a>, sink: &mut Sink<'_>) {
    while at.saturating_add(7) <= octets.len() && entries.len() <= sink.budget.limits().members {
        let mut input = Input(rest(octets, at.saturating_add(4)));
        let before = input.0.len();
        let Some(size) = input
            .number()
            .map(place64)
            .filter(|size| *size > 0 && *size <= 2 << 20)
        else {
            sink.trouble(Trouble::Damaged("a block is none"));
            return;
        };
        let head = at
            .saturating_add(4)
            .saturating_add(before.saturating_sub(input.0.len()));
        let Some(block) = piece(octets, head, size) else {
            sink.trouble(Trouble::Damaged("a block ends early"));
            return;
        };
        let start = head.saturating_add(size);
        match block5(block, octets, start, entries, sink) {
            Some(Next::At(next)) if next > at => at = next,
            Some(_) => return,
            None => {
                sink.trouble(Trouble::Damaged("a block is none"));
                return;
            }
        }
    }
}

enum Next {
    At(usize),
    End,
}

fn block5<'a>(
    block: &[u8],
    octets: &'a [u8],
    start: usize,
    entries: &mut Entries<'a>,
    sink: &mut Sink<'_>,
) -> Option<Next> {
    let mut input = Input(block);
    let block_type = input.number()?;
    let flags = input.number()?;
    let extra_size = if flags & 1 != 0 {
        place64(input.number()?)
    } else {
        0
    };
    let data_size = if flags & 2 != 0 { input.number()? } else { 0 };
    let next = Next::At(start.saturating_add(place64(data_size)));
    match block_type {
        2 => {}
        4 => {
            sink.trouble(Trouble::EncryptedNames);
            return Some(Next::End);
        }
        5 => return Some(Next::End),
        _ => return Some(next),
    }
    let file_flags = input.number()?;
    let _unpacked = input.number()?;
    let _attributes = input.number()?;
    if file_flags & 2 != 0 {
        input.skip(4);
    }
    if file_flags & 4 != 0 {
        input.skip(4);
    }
    let compression = input.number()?;
    let _host = input.number()?;
    let length = place64(input.number()?);
    let title = name(some(input.0, 0, length));
    let extra = rest(block, block.len().saturating_sub(extra_size));
    let (encrypted, link) = extras5(extra);
    if file_flags & 1 != 0 && !title.contains("..") {
        return Some(next);
    }
    let content = some(octets, start, place64(data_size));
    // Bits 7 to 9 say how it is packed; none: not at all.
    let stored = compression & 0x380 == 0;
    entries.push(Entry {
        names: vec![title],
        encrypted,
        split: flags & 0x18 != 0,
        stored: stored || link.is_some(),
        directory: file_flags & 1 != 0,
        link,
        content,
        size: data_size,
    });
    Some(next)
}

/// Whether a member is encrypted, and where it leads if it is a link.
fn extras5(extra: &[u8]) -> (bool, Option<String>) {
    let mut encrypted = false;
    let mut link = None;
    let mut input = Input(extra);
    while let Some(size) = input.number().map(place64) {
        let mut record = Input(some(input.0, 0, size));
        input.skip(size);
        match record.number() {
            Some(1) => encrypted = true,
            Some(5) => {
                let kind = record.number();
                let flags = record.number();
                let length = record.number().map_or(0, place64);
                // A copy of another member is a link, too, but leads nowhere else.
                if kind.is_some_and(|kind| kind <= 5) && flags.is_some() {
                    link = Some(name(some(record.0, 0, length.min(place(1 << 16)))));
                }
            }
            _ => {}
        }
    }
    (encrypted, link)
}
