//! A message by every plausible reading.
//!
//! Entry: [`read`]. Readers of mail disagree where a message is broken: which of two headers holds, where headers end,
//! which line is a boundary, what a stray octet in base64 means. Wherever a part can be read in more than one
//! way, each is followed, and what they bring forth is put together in [`Readings`]. Where the *usual* ways of reading
//! bring forth different attachments, that is noted as an ambiguity. Below them lie ways that few readers know
//! (files in text, octets that look like base64 wherever they stand): what they find is judged, and their
//! disagreement means nothing.
//!
//! Must not judge: that is [`crate::judge`].

mod carve;
mod charsets;
mod encodings;
mod ends;
mod files;
mod head;
mod lines;
mod multipart;
mod names;
mod nature;
mod params;
mod walk;
mod words;

pub(crate) use charsets::utf7;
pub(crate) use params::percent;
pub(crate) use words::{decoded, word_length};

use std::borrow::Cow;

use crate::kind::Kind;
use crate::{
    Budget, Content, ContentRule, LimitReached, Limits, Pieces, Profile, judge, judge_quickly,
};

/// What all readings of a message bring forth together.
#[derive(Debug, Default)]
pub struct Readings<'a> {
    /// Every distinct piece of content.
    pub contents: Vec<Found<'a>>,
    /// The header blocks of the message and its parts, by every reading, each with its place.
    pub heads: Vec<(String, Cow<'a, [u8]>)>,
    /// What was noticed on the way.
    pub notes: Vec<Note>,
}

/// A piece of content, and how it was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// What was found.
    pub content: Content<'a>,
    /// By a reading that is usual among readers of mail; else only what is dangerous in it counts.
    pub usual: bool,
    /// Nested messages have been read: their parts are in the list themselves.
    pub message: bool,
    /// What it is, where that has been looked at.
    pub kind: Option<Kind>,
}

/// Something about the message itself.
#[derive(Debug)]
pub struct Note {
    /// Which rule it is for, or which limit was reached.
    pub what: Noted,
    /// What was seen.
    pub evidence: String,
    /// Where.
    pub place: String,
}

/// See [`Note`].
#[derive(Debug)]
pub enum Noted {
    /// A rule.
    Rule(&'static ContentRule),
    /// A limit.
    Limit(LimitReached),
}

/// Reads a message by every plausible reading.
pub fn read<'a>(message: &'a [u8], budget: &mut Budget) -> Readings<'a> {
    walk::Walker::new(message).read(budget)
}

/// For fuzzing: reads and judges a message. What is brought forth stays within the budget, and the same message has the
/// same judgement, quickly or not.
#[expect(
    clippy::missing_panics_doc,
    reason = "it panics where the claim does not hold"
)]
pub fn fuzz(message: &[u8]) {
    let profile = Profile {
        limits: Limits {
            octets: 4 << 20,
            parts: 200,
            members: 200,
            ..Limits::default()
        },
        pieces: Pieces::All,
        contents: true,
        ..Profile::default()
    };
    let mut budget = Budget::new(&profile.limits);
    let readings = read(message, &mut budget);
    let held: usize = readings
        .contents
        .iter()
        .filter(|found| matches!(found.content.octets, Cow::Owned(_)))
        .map(|found| found.content.octets.len())
        .sum();
    assert!(held <= (4 << 20) + 2 * message.len());
    let judgement = judge(message, &profile);
    assert_eq!(judge(message, &profile), judgement);
    if let Some(quick) = judge_quickly(message, &profile, None) {
        assert_eq!(quick, judgement);
    }
}
