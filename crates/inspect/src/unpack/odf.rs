//! `OpenDocument`: beside its members, the text of its macros, and what they are bound to.

use std::borrow::Cow;

use super::{Member, Sink, Trouble, ole, zip};
use crate::octets::{count, holds};
use crate::readings::percent;
use crate::xml::{self, Piece};
use crate::{Limit, LimitReached};

/// More text than any macros have.
const TEXT_MAX: usize = 8 << 20;

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let mut macros = Macros::default();
    let mut reached = None;
    let Sink { budget, give, .. } = sink;
    let mut inner = Sink {
        packed: sink.packed,
        free: sink.free,
        produced: sink.produced,
        stopped: sink.stopped,
        troubles: std::mem::take(&mut sink.troubles),
        budget,
        give: &mut |member, budget| {
            if let Err(limit) = macros.member(&member, budget) {
                reached = Some(limit);
            }
            give(member, budget);
        },
    };
    zip::read(octets, &mut inner);
    let Sink {
        free,
        produced,
        stopped,
        troubles,
        ..
    } = inner;
    sink.free = free;
    sink.produced = produced;
    sink.stopped = stopped;
    sink.troubles = troubles;
    if let Some(limit) = reached {
        sink.limit(limit);
    }
    macros.give(sink);
}

/// The macros of one document. Together: what runs by itself and what it calls stand in different members.
#[derive(Default)]
pub(super) struct Macros {
    text: String,
    /// What is read is one file, in which code stands in elements of another name.
    is_flat: bool,
    /// What is read is code.
    is_code: bool,
    is_cut: bool,
}

impl Macros {
    /// Those of a document in one file.
    pub(super) fn of_flat() -> Self {
        Self {
            is_flat: true,
            ..Self::default()
        }
    }

    /// What a member has of them (ODF 1.3 part 3, section 5.5).
    fn member(
        &mut self,
        member: &Member<'_>,
        budget: &mut crate::Budget,
    ) -> Result<(), LimitReached> {
        let octets = &member.octets;
        // In books there are scripts of pages beside these folders.
        let is_script = |name: &String| {
            let folder = name.strip_prefix("Scripts/").unwrap_or_default();
            let languages = ["python/", "beanshell/", "javascript/"];
            languages
                .iter()
                .any(|language| folder.starts_with(language))
        };
        if member.names.iter().any(is_script) && !octets.is_empty() {
            budget.octets(count(octets))?;
            self.push(&String::from_utf8_lossy(octets));
            self.push("\n");
        }
        if !xml::may_be(octets) {
            return Ok(());
        }
        let text = xml::decoded(octets);
        if let Cow::Owned(text) = &text {
            budget.octets(count(text.as_bytes()))?;
        }
        let is_there = ["event-listener", "module", "source-code"]
            .iter()
            .any(|name| holds(text.as_bytes(), name.as_bytes()));
        if is_there {
            budget.search(text.len())?;
            xml::read(&text, &mut |piece| self.see(&piece));
        }
        Ok(())
    }

    pub(super) fn see(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Begin(element) => match element.name() {
                "source-code" => self.is_code = true,
                "module" => self.is_code = !self.is_flat,
                "event-listener" => {
                    // What somebody has to press does not run by itself; which of two names counts is not known.
                    let clicked = |name: String| {
                        let name = name.rsplit(':').next().unwrap_or_default();
                        name.ends_with("click")
                    };
                    let mut names = element.values("event-name").peekable();
                    let runs = names.peek().is_none() || !names.all(clicked);
                    // By its address, whose percent signs programs resolve before they look for it (CVE-2019-9850, CVE-2019-9852), or by
                    // its name alone.
                    for bound in ["href", "macro-name"] {
                        for macros in element.values(bound) {
                            self.push(if runs { "document_open = " } else { "' " });
                            self.push(&crate::octets::name(&percent(macros.as_bytes())));
                            self.push("\n");
                        }
                    }
                }
                _ => {}
            },
            Piece::End("module" | "source-code") => {
                self.is_code = false;
                self.push("\n");
            }
            Piece::Text(text) => {
                if self.is_code {
                    self.push(text);
                }
            }
            Piece::End(_) => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.text.len().saturating_add(text.len()) > TEXT_MAX {
            self.is_cut = true;
        } else {
            self.text.push_str(text);
        }
    }

    pub(super) fn give(self, sink: &mut Sink<'_>) {
        if self.is_cut {
            // What was not read may be what runs.
            sink.trouble(Trouble::Limit(LimitReached(Limit::MemberOctets)));
        }
        if self.text.trim().is_empty() {
            return;
        }
        sink.produced(self.text.as_bytes());
        sink.member(Member {
            names: vec!["macros.bas".to_owned()],
            types: vec![ole::VBA.to_owned()],
            octets: Cow::Owned(self.text.into_bytes()),
            inner: true,
            ..Member::default()
        });
    }
}
