//! What a message holds, and what is dangerous about it.
//!
//! Duty: a message's octets to its readings, its parts, the members of archives in them, and reasons to
//! refuse it; the rules that stand in for a patch. Enter at [`Judgement`] and [`Profile`].
//!
//! Pure: no file, clock, network or thread. Input is hostile: all work is paid from a [`Budget`], and a
//! limit that is reached is a reason of its own, never a part that is silently left out.
#![warn(clippy::indexing_slicing, clippy::string_slice)]

pub mod danger;
pub mod examine;
pub mod from;
mod judge;
pub mod kept;
pub mod kind;
mod limits;
mod octets;
mod part;
mod profile;
pub mod readings;
pub mod rules;
pub mod unpack;
mod verdict;
mod xml;

pub use judge::{Scanner, judge, judge_by, judge_quickly, judge_with, rules as message_rules};
pub use limits::{Budget, Limit, LimitReached, Limits};
pub use part::{Content, Origin};
pub use profile::{ContentRule, Level, Pieces, Profile};
pub use verdict::{Judgement, Reason, Seen, Verdict};
