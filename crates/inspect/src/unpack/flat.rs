//! Documents that are one file of XML: what they keep in base64 (Flat OPC, Word 2003, `OpenDocument`), and their macros.
//!
//! What their elements do by themselves is judged where parts of documents are.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::odf::Macros;
use super::{Member, Sink, html};
use crate::octets::{any_of, place64, some};
use crate::xml::{self, Piece};

/// Where none of these stands, there is nothing to unpack.
static NAMES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    any_of(&[
        b"binaryData",
        b"binData",
        b"binary-data",
        b"source-code",
        b"event-listener",
    ])
});

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let text = xml::decoded(octets);
    if let Cow::Owned(text) = &text {
        sink.produced(text.as_bytes());
    }
    if sink.stopped || NAMES.as_ref().is_some_and(|names| !names.is_match(&*text)) {
        return;
    }
    if let Err(reached) = sink.budget.search(text.len()) {
        sink.limit(reached);
        return;
    }
    let mut macros = Macros::of_flat();
    let mut file = File::default();
    // A mistake ends it for programs, too; what came before counts.
    xml::read(&text, &mut |piece| {
        macros.see(&piece);
        if !sink.stopped {
            file.see(&piece, sink);
        }
    });
    file.give(sink);
    macros.give(sink);
}

/// What is read of a file.
#[derive(Default)]
struct File {
    /// The name of what comes.
    name: Option<String>,
    /// Its letters in base64, while they come.
    letters: Option<String>,
}

impl File {
    fn see(&mut self, piece: &Piece<'_>, sink: &mut Sink<'_>) {
        match piece {
            Piece::Begin(element) => match element.name() {
                "part" => self.name = element.values("name").last(),
                name @ ("binData" | "binaryData" | "binary-data") => {
                    self.give(sink);
                    if name == "binData" {
                        self.name = element.values("name").last();
                    }
                    self.letters = Some(String::new());
                }
                _ => {}
            },
            Piece::End("binData" | "binaryData" | "binary-data") => self.give(sink),
            Piece::Text(text) => {
                if let Some(letters) = &mut self.letters {
                    letters.push_str(text);
                }
            }
            Piece::End(_) => {}
        }
    }

    fn give(&mut self, sink: &mut Sink<'_>) {
        let Some(letters) = self.letters.take() else {
            return;
        };
        // Programs that read by fours go on behind a padding.
        let mut content = Vec::new();
        for piece in letters.split('=') {
            content.append(&mut html::base64(piece.as_bytes()));
        }
        let (allowed, limit) = sink.allowance();
        let kept = some(&content, 0, place64(allowed));
        let unread = (kept.len() < content.len()).then(|| sink.reached(limit));
        sink.produced(kept);
        if kept.is_empty() {
            return;
        }
        sink.member(Member {
            names: self.name.take().into_iter().collect(),
            octets: Cow::Borrowed(kept),
            unread,
            inner: true,
            ..Member::default()
        });
    }
}

/// `ActiveMime`: an OLE2 file in zlib, behind a head whose length it states (MSO files of Word 2003 and of saved pages).
pub(super) fn active_mime(octets: &[u8], sink: &mut Sink<'_>) {
    let stated = crate::octets::u16le(octets, 0x1e).map(|length| usize::from(length) + 0x2e);
    // Programs of others look at these places, and then for the beginning of zlib's.
    let usual = stated.into_iter().chain([0x32, 0x22a]);
    let found = memchr::memchr_iter(b'x', some(octets, 0, HEAD_MAX));
    let is_zlib = |at: &usize| {
        crate::octets::u16be(octets, *at)
            .is_some_and(|head| head >> 8 & 0x0f == 8 && head % 31 == 0)
    };
    let places: Vec<usize> = usual.chain(found).filter(is_zlib).take(8).collect();
    for at in places {
        let packed = crate::octets::rest(octets, at);
        let (content, unread) = sink.unpack(&mut super::inflate::zlib(packed), None);
        if content.is_empty() && !sink.stopped {
            continue;
        }
        sink.member(Member {
            octets: Cow::Owned(content),
            unread,
            inner: true,
            ..Member::default()
        });
        return;
    }
    sink.trouble(super::Trouble::Damaged("it holds nothing packed"));
}

/// How long the head of `ActiveMime` may be.
const HEAD_MAX: usize = 4096;
