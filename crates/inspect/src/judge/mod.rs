//! The judgement on one message.
//!
//! Entry: [`judge`]. Reads the message by every plausible reading, holds it to the limits of family G10, and asks of
//! each distinct piece of content what is dangerous about it; messages within messages likewise.

mod headers;
mod html;
pub mod rules;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mailkeep_model::text;

use crate::danger::limit_reason;
use crate::kind::{self, Kind};
use crate::readings::{Found, Noted, read};
use crate::rules::{Compiled, MessageRun};
use crate::{
    Budget, Content, ContentRule, Judgement, Origin, Pieces, Profile, Reason, Seen, Verdict,
};

/// Judges a message by a profile.
pub fn judge(message: &[u8], profile: &Profile) -> Judgement {
    judge_by(message, profile, None)
}

/// Judges a message by a profile, and by the rules of a bundle.
pub fn judge_by(message: &[u8], profile: &Profile, bundle: Option<&Compiled>) -> Judgement {
    judge_with(message, profile, bundle, None)
}

/// Something else that looks at content: signatures of a site.
pub trait Scanner: std::fmt::Debug {
    /// What it has to say of the octets of a message, or of a piece of content found in one; their place is added.
    fn scan(&self, octets: &[u8]) -> Vec<Reason>;
}

/// Judges a message by a profile, by the rules of a bundle, and by what a scanner says of it and of each piece of its
/// content. Where a decoder breaks down, nothing is known of the message: the sender keeps it.
pub fn judge_with(
    message: &[u8],
    profile: &Profile,
    bundle: Option<&Compiled>,
    scanner: Option<&dyn Scanner>,
) -> Judgement {
    let mut budget = Budget::new(&profile.limits);
    whole(|| of_message(message, profile, &mut budget, bundle, scanner))
}

/// The same judgement as that of [`judge_by`], for a message on which it takes well below a millisecond, and some tens
/// of them where it was made to take long: one that is small, holds nothing that has to be unpacked, and can be read in
/// few ways. None for any other.
pub fn judge_quickly(
    message: &[u8],
    profile: &Profile,
    bundle: Option<&Compiled>,
) -> Option<Judgement> {
    if message.len() > QUICK {
        return None;
    }
    let mut budget = Budget::small(&profile.limits);
    let judgement = whole(|| of_message(message, profile, &mut budget, bundle, None));
    (!budget.is_exhausted()).then_some(judgement)
}

/// Octets of a message that is judged quickly.
const QUICK: usize = 128 << 10;

/// The judgement that `work` comes to; a temporary failure where it panics.
fn whole(work: impl FnOnce() -> Judgement) -> Judgement {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Judgement {
        verdict: Verdict::Tempfail,
        reasons: vec![Reason {
            rule: Cow::Borrowed("inspection-failed"),
            verdict: Verdict::Tempfail,
            text: "The message could not be inspected; try again later.".to_owned(),
            evidence: "a decoder broke down".to_owned(),
            place: String::new(),
        }],
        files: true,
        ..Judgement::default()
    })
}

fn of_message(
    message: &[u8],
    profile: &Profile,
    budget: &mut Budget,
    bundle: Option<&Compiled>,
    scanner: Option<&dyn Scanner>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut judge = Judge {
        profile,
        seen: Vec::new(),
        files: false,
        unusual: false,
        pieces: Vec::new(),
        usual_pieces: Vec::new(),
        pieces_left: false,
        run: bundle
            .filter(|bundle| bundle.looks_at_messages())
            .map(Compiled::message),
        scanner,
    };
    for reason in judge.scan(message, "") {
        judgement.add(reason);
    }
    for reason in judge.message(message, "", budget) {
        judgement.add(reason);
    }
    for reason in judge.run.take().map(MessageRun::finish).unwrap_or_default() {
        judgement.add(reason);
    }
    judgement.contents = judge.seen;
    judgement.files = judge.files;
    judgement.pieces = judge.pieces;
    judgement.pieces.extend(judge.usual_pieces);
    judgement.pieces_left = judge.pieces_left;
    judgement
}

/// More pieces of content are not told of.
const MAX_SEEN: usize = 64;

/// More pieces of content are not handed out, and no more octets of all: of those that only unusual readings find, and of
/// the others as many again.
const MAX_PIECES: usize = 64;
const MAX_PIECE_OCTETS: usize = 16 << 20;

/// More reasons say nothing new.
const MAX_REASONS: usize = 100;

struct Judge<'p> {
    profile: &'p Profile,
    seen: Vec<Seen>,
    /// Something was found that is no text of the message.
    files: bool,
    /// What is looked at lies in something that no usual reading finds.
    unusual: bool,
    /// What only unusual readings find, and what others find.
    pieces: Vec<Vec<u8>>,
    usual_pieces: Vec<Vec<u8>>,
    pieces_left: bool,
    /// The rules of a bundle, as far as the message was shown to them.
    run: Option<MessageRun<'p>>,
    scanner: Option<&'p dyn Scanner>,
}

impl Judge<'_> {
    fn message(&mut self, message: &[u8], prefix: &str, budget: &mut Budget) -> Vec<Reason> {
        let readings = read(message, budget);
        let mut reasons = Vec::new();
        for (index, (place, block)) in readings.heads.iter().enumerate() {
            if let Some(run) = &mut self.run {
                if index == 0 && prefix.is_empty() {
                    run.header(block);
                }
                run.part_header(block, &within(prefix, place));
            }
            for (rule, count) in headers::beyond(block) {
                let reason = self.reason(rule, &count.to_string(), &within(prefix, place));
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        for note in &readings.notes {
            let place = within(prefix, &note.place);
            reasons.push(match &note.what {
                Noted::Rule(rule) => self.reason(rule, &note.evidence, &place),
                Noted::Limit(limit) => limit_reason(*limit, &place, self.profile),
            });
        }
        for found in readings.contents {
            if budget.gives_up() {
                break;
            }
            self.found(found, message.len(), prefix, budget, &mut reasons);
            if reasons.len() > MAX_REASONS {
                reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
                reasons.truncate(MAX_REASONS);
            }
        }
        reasons
    }

    fn found(
        &mut self,
        found: Found<'_>,
        whole: usize,
        prefix: &str,
        budget: &mut Budget,
        reasons: &mut Vec<Reason>,
    ) {
        let Found {
            mut content,
            usual,
            message,
            kind,
        } = found;
        content.place = within(prefix, &content.place);
        if content.origin == Origin::Body
            && content.types.iter().any(|kind| kind == "text/html")
            && let Some(what) = html::active(&content.octets)
        {
            reasons.push(self.reason(&rules::HTML_ACTIVE, what, &content.place));
        }
        let profile = self.profile;
        let was_unusual = self.unusual;
        self.unusual |= !usual;
        let kind = kind.unwrap_or_else(|| kind::of(&content.octets));
        let of_content = crate::examine::known(
            &content,
            kind,
            profile,
            budget,
            &mut |piece, kind, budget| {
                self.files |= message || piece.origin != Origin::Body;
                if usual && !message {
                    self.see(piece, kind);
                }
                self.hand_out(piece, kind);
                // What is shown as text has been read for parts already; and a text without headers is its own body.
                let is_message = kind == Kind::Message || is_opened_as_message(piece, kind);
                if !is_message
                    || piece.origin == Origin::Body
                    // What was unpacked may well be larger than the whole.
                    || (piece.origin == Origin::Attachment && piece.octets.len() >= whole)
                {
                    return self.scan(&piece.octets, &piece.place);
                }
                let mut said = self.scan(&piece.octets, &piece.place);
                // Each costs its sender a line or two: without a limit they lie as deep as the stack does not reach.
                let octets = without_count(&piece.octets);
                let within = budget
                    .deeper(|budget| self.message(octets, &piece.place, budget))
                    .unwrap_or_else(|limit| vec![limit_reason(limit, &piece.place, profile)]);
                said.extend(within);
                said
            },
        );
        self.unusual = was_unusual;
        reasons.extend(
            of_content
                .into_iter()
                .filter(|reason| usual || reason.verdict > Verdict::Accept),
        );
    }

    /// What the scanner says.
    fn scan(&self, octets: &[u8], place: &str) -> Vec<Reason> {
        let said = self.scanner.map(|scanner| scanner.scan(octets));
        let mut said = said.unwrap_or_default();
        for reason in &mut said {
            reason.place = printable(place);
        }
        said
    }

    fn see(&mut self, piece: &Content<'_>, kind: Kind) {
        if let Some(run) = &mut self.run {
            run.content(piece);
        }
        if !self.profile.contents {
            return;
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.push(Seen::of(piece, kind));
        } else if piece.origin != Origin::Body
            && let Some(body) = self
                .seen
                .iter_mut()
                .find(|seen| seen.origin == Origin::Body)
        {
            *body = Seen::of(piece, kind);
        }
    }

    /// Keeps a copy of a piece, if the profile wants it. A message is read for its own pieces.
    fn hand_out(&mut self, piece: &Content<'_>, kind: Kind) {
        let wanted = match self.profile.pieces {
            Pieces::None => false,
            Pieces::Unusual => self.unusual,
            Pieces::All => self.unusual || piece.origin != Origin::Body,
        };
        if !wanted || kind == Kind::Message || piece.octets.is_empty() {
            return;
        }
        // What usual readings find lies in the message, which is looked into as well: it must not push out the rest.
        let share = if self.unusual {
            &mut self.pieces
        } else {
            &mut self.usual_pieces
        };
        let held: usize = share.iter().map(Vec::len).sum();
        if share.len() < MAX_PIECES && held + piece.octets.len() <= MAX_PIECE_OCTETS {
            share.push(piece.octets.to_vec());
        } else {
            self.pieces_left |= self.unusual;
        }
    }

    fn reason(&self, rule: &'static ContentRule, evidence: &str, place: &str) -> Reason {
        Reason {
            rule: Cow::Borrowed(rule.name),
            verdict: self.profile.verdict_of(rule),
            text: rule.text.to_owned(),
            evidence: printable(evidence),
            place: printable(place),
        }
    }
}

/// Whether programs for mail open it by its name, whatever it begins with.
fn is_opened_as_message(piece: &Content<'_>, kind: Kind) -> bool {
    const ENDS: [&str; 5] = [".eml", ".emlx", ".mht", ".mhtml", ".nws"];
    let is_one = |name: &String| {
        let name = name.trim_end().to_lowercase();
        ENDS.iter().any(|end| name.ends_with(end))
    };
    matches!(kind, Kind::Text | Kind::Unknown | Kind::Html) && piece.names.iter().any(is_one)
}

/// A message as Apple Mail keeps it (.emlx) without the line before it, which says how many octets it has.
fn without_count(octets: &[u8]) -> &[u8] {
    let Some(feed) = octets.iter().take(24).position(|octet| *octet == b'\n') else {
        return octets;
    };
    match octets.split_at_checked(feed + 1) {
        Some((count, rest)) if count.trim_ascii().iter().all(u8::is_ascii_digit) => rest,
        _ => octets,
    }
}

fn within(prefix: &str, place: &str) -> String {
    match (prefix.is_empty(), place.is_empty()) {
        (true, _) => place.to_owned(),
        (false, true) => prefix.to_owned(),
        (false, false) => format!("{prefix}/{place}"),
    }
}

/// One line, printable, not long.
fn printable(text: &str) -> String {
    text::printable(text).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_on_which_a_decoder_breaks_down_stays_with_its_sender() {
        let judgement = whole(|| panic!("broken"));
        assert_eq!(judgement.verdict, Verdict::Tempfail);
        assert_eq!(
            judgement.deciding().map(|one| &*one.rule),
            Some("inspection-failed")
        );
    }
}
