//! Which rules refuse, and which only notice.

use std::collections::BTreeMap;

use crate::{Limits, Verdict};

/// How strict a profile is. Each level holds the rules of those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// What no honest mail is known to do.
    #[default]
    Default,
    /// What little honest mail does; its share is stated in the documentation.
    Strict,
    /// What a place that expects attacks refuses, honest or not.
    Paranoid,
}

/// A rule on content: its name, and from which level on it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRule {
    /// The stable name.
    pub name: &'static str,
    /// The lowest level at which it refuses; none: it never does unless a profile says so.
    pub refuses_from: Option<Level>,
    /// What it is about, in a sentence for the sender of a refused message.
    pub text: &'static str,
}

/// What is refused where: a level, and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// How strict it is.
    pub level: Level,
    /// Rules that do something else here than their level says, by name.
    pub actions: BTreeMap<String, Verdict>,
    /// What an inspection may cost.
    pub limits: Limits,
    /// Which pieces of content are handed out, for somebody else to look into.
    pub pieces: Pieces,
    /// Whether it is told what a message holds ([`crate::Judgement::contents`]), which costs a digest of each piece.
    pub contents: bool,
}

/// Which pieces of content a judgement hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pieces {
    /// None.
    #[default]
    None,
    /// Those that no usual reading finds: whoever reads the message in his own way may not see them.
    Unusual,
    /// Those, all attachments, and all that lies in them.
    All,
}

impl Profile {
    /// What a rule asks for under this profile; [`Verdict::Accept`]: it only notices.
    pub fn verdict_of(&self, rule: &ContentRule) -> Verdict {
        if let Some(action) = self.actions.get(rule.name) {
            return *action;
        }
        match rule.refuses_from {
            Some(level) if level <= self.level => Verdict::Refuse,
            _ => Verdict::Accept,
        }
    }
}
