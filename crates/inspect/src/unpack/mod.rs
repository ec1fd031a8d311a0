//! Archives and documents to what they hold, within a budget.
//!
//! Entry: [`members`]. Nothing is ever written: a member's name is only a name. Each reader takes what a lenient
//! program would take: a damaged archive gives what can still be had of it, and where two programs would see
//! different members, both readings' members come out, and [`Trouble::Ambiguous`] says so. What was not
//! unpacked is said, by member ([`Unread`]) or for the whole ([`Trouble`]).

mod cab;
mod disk;
mod flat;
mod fuzz;
mod html;
mod inflate;
mod lha;
mod listed;
mod odf;
mod onenote;
mod pdf;
mod rar;
mod rtf;
mod sevenz;
mod smime;
mod stream;
mod tape;
mod tnef;
mod udf;
mod zip;

pub(crate) mod ole;
#[doc(hidden)]
pub use fuzz::{fuzz, fuzz_disk, fuzz_rar};
pub(crate) use pdf::OBJECTS as PDF_OBJECTS;
pub(crate) use rtf::number as rtf_number;
pub(crate) use smime::{COMPRESSED, SIGNED, is_openpgp};
pub(crate) use stream::binhex_at;
pub(crate) use tape::sum_holds as tar_sum_holds;
pub(crate) use tnef::{REMINDER, WRONG_SUM as TNEF_SUM};

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{ErrorKind, Read};

use self::inflate::Meter;
use crate::kind::{self, Class, Kind};
use crate::octets::count;
use crate::{Budget, Limit, LimitReached, xml};

/// Names are kept up to this length: longer than any file system has them.
const NAME_MAX: usize = 4096;

/// What lay in an archive or a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member<'a> {
    /// Every name that some reader would give it, the most usual one first.
    pub names: Vec<String>,
    /// The type it is said to have, as `type/subtype` in lower case; mostly none.
    pub types: Vec<String>,
    /// Its octets, as far as they could be had.
    pub octets: Cow<'a, [u8]>,
    /// Why that is not all; none: it is all.
    pub unread: Option<Unread>,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// It is no file of its own but a stream that was found in one: of a document, of a PDF.
    pub inner: bool,
}

/// Why a member is not wholly there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is encrypted.
    Encrypted,
    /// It was packed in a way that is not read here.
    Method(String),
    /// Its packed form breaks off or is no packed form.
    Damaged,
    /// A limit was reached.
    Limit(LimitReached),
    /// It goes on in another file.
    Split,
}

/// What an archive as a whole has wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A limit was reached: there is more.
    Limit(LimitReached),
    /// Where its structure ends before it should, or contradicts itself.
    Damaged(&'static str),
    /// Two programs would see different members in it.
    Ambiguous(String),
    /// Even the names are encrypted.
    EncryptedNames,
    /// Not read here at all, or only its names.
    NotUnpacked,
}

/// Whether what lies in content of this kind costs hardly more than reading it: nothing is unpacked.
pub(crate) const fn is_light(kind: Kind) -> bool {
    matches!(
        kind.class(),
        Class::Script | Class::Shortcut | Class::Media | Class::Markup | Class::Other
    ) || matches!(
        kind,
        Kind::Pe
            | Kind::Dos
            | Kind::Elf
            | Kind::MachO
            | Kind::Message
            | Kind::Calendar
            | Kind::Vcard
    )
}

/// The members of an archive or a document of the given kind, each handed to `give`. Kinds that hold
/// nothing have none.
pub fn members(
    octets: &[u8],
    kind: Kind,
    budget: &mut Budget,
    give: &mut dyn FnMut(Member<'_>, &mut Budget),
) -> Vec<Trouble> {
    let mut sink = Sink {
        packed: count(octets),
        free: count(octets),
        produced: 0,
        stopped: false,
        troubles: Vec::new(),
        budget,
        give,
    };
    match kind {
        Kind::Jar | Kind::Apk | Kind::Appx | Kind::Ooxml | Kind::OoxmlMacro
            if kind::lists_manifest(octets) =>
        {
            odf::read(octets, &mut sink);
        }
        Kind::Zip | Kind::Jar | Kind::Apk | Kind::Appx | Kind::Ooxml | Kind::OoxmlMacro => {
            zip::read(octets, &mut sink);
        }
        Kind::Odf => odf::read(octets, &mut sink),
        Kind::ActiveMime => flat::active_mime(octets, &mut sink),
        Kind::Xml => flat::read(octets, &mut sink),
        Kind::SevenZip => sevenz::read(octets, &mut sink),
        Kind::Rar4 => rar::read4(octets, &mut sink),
        Kind::Rar5 => rar::read5(octets, &mut sink),
        Kind::Tar => tape::tar(octets, &mut sink),
        Kind::Cpio => tape::cpio(octets, &mut sink),
        Kind::Ar => tape::ar(octets, &mut sink),
        Kind::Rpm => tape::rpm(octets, &mut sink),
        Kind::Gzip => stream::gzip(octets, &mut sink),
        Kind::Xz | Kind::Bzip2 | Kind::Zstd | Kind::Lzma | Kind::Lzip => {
            stream::squeezed(octets, kind, &mut sink);
        }
        Kind::Szdd => stream::szdd(octets, &mut sink),
        Kind::BinHex => stream::binhex(octets, &mut sink),
        Kind::Uuencode => stream::uuencode(octets, &mut sink),
        Kind::MacFile => stream::mac_file(octets, &mut sink),
        Kind::Cab => cab::read(octets, &mut sink),
        Kind::Iso => disk::iso(octets, &mut sink),
        Kind::Ole2 | Kind::Msi => ole::read(octets, &mut sink),
        Kind::Workbook => ole::bare_workbook(octets, &mut sink),
        Kind::Tnef => tnef::read(octets, &mut sink),
        Kind::Pkcs7 => smime::read(octets, &mut sink),
        Kind::Rtf => rtf::read(octets, &mut sink),
        Kind::Pdf => pdf::read(octets, &mut sink),
        Kind::OneNote => onenote::read(octets, &mut sink),
        Kind::Html | Kind::Svg | Kind::Calendar => {
            html::read(octets, &mut sink);
            if xml::is_document(octets) && !sink.stopped {
                flat::read(octets, &mut sink);
            }
        }
        Kind::Text if xml::is_document(octets) => flat::read(octets, &mut sink),
        Kind::Arj => lha::arj(octets, &mut sink),
        Kind::Lzh => lha::lzh(octets, &mut sink),
        Kind::Chm => listed::chm(octets, &mut sink),
        Kind::Ace => listed::ace(octets, &mut sink),
        Kind::Lz4
        | Kind::Compress
        | Kind::Alz
        | Kind::Egg
        | Kind::Xar
        | Kind::Zoo
        | Kind::Warc
        | Kind::VirtualDisk
        | Kind::LinuxDisk
        | Kind::Dmg => sink.trouble(Trouble::NotUnpacked),
        Kind::Empty
        | Kind::Unknown
        | Kind::Text
        | Kind::Pe
        | Kind::Dos
        | Kind::Elf
        | Kind::MachO
        | Kind::JavaClass
        | Kind::Dex
        | Kind::Sis
        | Kind::UnixScript
        | Kind::EncodedScript
        | Kind::WindowsScript
        | Kind::PowerShell
        | Kind::Batch
        | Kind::Shortcut
        | Kind::UrlShortcut
        | Kind::ShellFile
        | Kind::Message
        | Kind::Vcard
        | Kind::Image
        | Kind::Audio
        | Kind::Video
        | Kind::Font => {}
    }
    sink.troubles
}

/// Where members go, and what is paid from.
struct Sink<'s> {
    /// How large the archive is.
    packed: u64,
    /// Packed octets that may be read without being paid: all of them, once.
    free: u64,
    /// How much came out of it.
    produced: u64,
    /// A limit on the whole was reached.
    stopped: bool,
    troubles: Vec<Trouble>,
    budget: &'s mut Budget,
    give: &'s mut dyn FnMut(Member<'_>, &mut Budget),
}

/// Octets that an archive may have unpacked however few it has packed: white pages and tables of noughts pack by more than any
/// ratio, and so few exhaust nobody.
const RATIO_FREE: u64 = 8 << 20;

impl Sink<'_> {
    /// Hands a member on, if one may still be. False: there is no sense in going on.
    fn member(&mut self, mut member: Member<'_>) -> bool {
        if self.stopped {
            return false;
        }
        if let Err(reached) = self.budget.member() {
            self.limit(reached);
            return false;
        }
        for name in &mut member.names {
            shorten(name);
        }
        if let Some(link) = &mut member.link {
            shorten(link);
        }
        (self.give)(member, self.budget);
        !self.stopped
    }

    /// Notes trouble; each once, and not endlessly many.
    fn trouble(&mut self, trouble: Trouble) {
        if self.troubles.len() < 32 && !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    /// Notes that a limit was reached which ends all. For that there is always room.
    fn limit(&mut self, reached: LimitReached) {
        self.stopped = true;
        self.budget.exhaust(reached.0);
        let trouble = Trouble::Limit(reached);
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    /// How many octets the next member may have, and which limit is then reached.
    fn allowance(&self) -> (u64, Limit) {
        self.allowance_beside(0)
    }

    /// The same beside so many octets that are not paid yet.
    fn allowance_beside(&self, pending: u64) -> (u64, Limit) {
        let limits = self.budget.limits();
        let by_ratio = RATIO_FREE
            .saturating_add(self.packed.saturating_mul(limits.ratio))
            .saturating_sub(self.produced)
            .saturating_sub(pending);
        [
            (limits.member_octets, Limit::MemberOctets),
            (
                self.budget.octets_left().saturating_sub(pending),
                Limit::Octets,
            ),
            (by_ratio, Limit::Ratio),
        ]
        .into_iter()
        .min_by_key(|(octets, _)| *octets)
        .unwrap_or((0, Limit::Octets))
    }

    /// Pays for octets that came forth.
    fn pay(&mut self, octets: u64) {
        self.produced = self.produced.saturating_add(octets);
        if let Err(reached) = self.budget.octets(octets) {
            self.limit(reached);
        }
    }

    /// Octets that lie in the archive as they are.
    fn stored<'a>(&mut self, octets: &'a [u8]) -> (Cow<'a, [u8]>, Option<Unread>) {
        let (allowed, limit) = self.allowance();
        let whole = count(octets) <= allowed;
        let kept = crate::octets::some(octets, 0, crate::octets::place64(allowed));
        self.pay(count(kept));
        let unread = (!whole).then(|| self.reached(limit));
        (Cow::Borrowed(kept), unread)
    }

    /// All that a decoder brings forth, within what is allowed; `expected` octets at most, where that is known.
    fn unpack(
        &mut self,
        decoder: &mut dyn Read,
        expected: Option<u64>,
    ) -> (Vec<u8>, Option<Unread>) {
        let (allowed, limit) = self.allowance();
        let want = expected.map_or(allowed, |expected| expected.min(allowed));
        let mut octets = Vec::new();
        let mut piece = vec![0_u8; 16 << 10];
        let mut unread = None;
        loop {
            let room = want.saturating_sub(count(&octets));
            // One more than there may be, to tell the end from a limit.
            let ask = match expected {
                Some(expected) if expected <= allowed => room,
                _ => room.saturating_add(1),
            };
            if ask == 0 {
                break;
            }
            let ask = crate::octets::place64(ask).min(piece.len());
            let Some(buffer) = piece.get_mut(..ask) else {
                break;
            };
            match decoder.read(buffer) {
                Ok(0) => {
                    if expected.is_some_and(|expected| count(&octets) < expected) {
                        unread = Some(Unread::Damaged);
                    }
                    break;
                }
                Ok(read) => octets.extend_from_slice(crate::octets::some(buffer, 0, read)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::QuotaExceeded => {
                    unread = Some(Unread::Limit(LimitReached(Limit::Parts)));
                    break;
                }
                Err(_) => {
                    unread = Some(Unread::Damaged);
                    break;
                }
            }
            if count(&octets) > want {
                octets.truncate(crate::octets::place64(want));
                unread = Some(self.reached(limit));
                break;
            }
        }
        self.pay(count(&octets));
        (octets, unread)
    }

    /// How much decoders may read: the archive once, and what is left beside.
    fn meter(&self) -> Meter {
        let granted = self.free.saturating_add(self.budget.octets_left());
        Meter {
            granted: Cell::new(granted),
            left: Cell::new(granted),
            over: Cell::new(false),
        }
    }

    /// The same as [`Self::unpack`], and pays for what the decoder read to bring it forth.
    fn unpack_metered(
        &mut self,
        decoder: &mut dyn Read,
        expected: Option<u64>,
        meter: &Meter,
    ) -> (Vec<u8>, Option<Unread>) {
        let (octets, unread) = self.unpack(decoder, expected);
        let read = meter.granted.get().saturating_sub(meter.left.get());
        let limited = meter.over.get() || !self.read(read);
        let again = self.meter();
        meter.granted.set(again.granted.get());
        meter.left.set(again.left.get());
        let unread = match unread {
            _ if limited => Some(self.reached(Limit::Octets)),
            Some(Unread::Limit(LimitReached(Limit::Parts))) => Some(self.reached(Limit::Parts)),
            unread => unread,
        };
        (octets, unread)
    }

    /// Pays for packed octets that were read: what is read more often than it lies there. False: none are left.
    fn read(&mut self, packed: u64) -> bool {
        let paid = packed.saturating_sub(self.free);
        self.free = self.free.saturating_sub(packed);
        if let Err(reached) = self.budget.octets(paid) {
            self.limit(reached);
            return false;
        }
        true
    }

    /// Keeps what a decoder of our own brought forth at once; it was told the allowance before.
    fn produced(&mut self, octets: &[u8]) {
        self.pay(count(octets));
    }

    fn reached(&mut self, limit: Limit) -> Unread {
        let reached = self.budget.exhaust(limit);
        if limit != Limit::MemberOctets {
            self.limit(reached);
        }
        Unread::Limit(reached)
    }
}

/// Shortens a name to what is kept.
fn shorten(name: &mut String) {
    if name.len() > NAME_MAX {
        let end = (0..=NAME_MAX)
            .rev()
            .find(|end| name.is_char_boundary(*end))
            .unwrap_or(0);
        name.truncate(end);
    }
}
