//! One piece of content with all that lies in it.
//!
//! Entry: [`content`]. Finds out what content is, judges it, unpacks it and does the same with each member, as
//! deep as the budget lets it. A member is judged and dropped before the next is unpacked.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::danger::{self, Said, Source, Within};
use crate::kind::{self, Class, Kind};
use crate::octets::some;
use crate::unpack::{self, Member, Trouble, Unread};
use crate::{Budget, Content, Limit, LimitReached, Origin, Profile, Reason, Verdict};

/// Reasons of one piece of content that are kept: more say nothing new.
const REASONS_MAX: usize = 64;

/// Among so many files of an archive, source code is nothing strange.
const SOURCES_FROM: usize = 12;

/// Scripts of one archive that wait until it is known how many other files there are; more than it may have.
const SOURCES_MAX: usize = 5000;

/// Among so many files even a script that may run by itself is nothing strange: compilers and libraries have some.
const LIBRARY_FROM: usize = 200;

/// Files that say of an archive what it is: a package of source code, a course, a worksheet, an addition to a browser.
const PROJECTS: [&str; 5] = [
    "geogebra.xml",
    "h5p.json",
    "imsmanifest.xml",
    "manifest.json",
    "package.json",
];

/// Is told of each piece of content and its kind, and may have more to say of it.
pub type Each<'e> = dyn FnMut(&Content<'_>, Kind, &mut Budget) -> Vec<Reason> + 'e;

/// Judges one piece of content and all that lies in it. `each` is called once for every piece, the given one
/// first; a member that is a message is handed to it, and not read here.
pub fn content(
    content: &Content<'_>,
    profile: &Profile,
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Vec<Reason> {
    known(content, kind::of(&content.octets), profile, budget, each)
}

/// The same of content whose kind has been looked at already.
pub(crate) fn known(
    content: &Content<'_>,
    kind: Kind,
    profile: &Profile,
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let within = Within::default();
    piece(content, kind, within, profile, budget, each, &mut reasons);
    reasons
}

fn piece(
    content: &Content<'_>,
    kind: Kind,
    within: Within,
    profile: &Profile,
    budget: &mut Budget,
    each: &mut Each<'_>,
    reasons: &mut Vec<Reason>,
) {
    extend(
        reasons,
        danger::of_member(content, kind, within, profile, budget),
    );
    extend(reasons, each(content, kind, budget));
    let read = Reading {
        kind,
        octets: &content.octets,
        within,
    };
    holdings(content, &read, profile, budget, each, reasons);
    let hidden = kind::hidden(&content.octets, kind);
    if hidden.more {
        let reached = LimitReached(Limit::Parts);
        extend(
            reasons,
            vec![danger::limit_reason(reached, &content.place, profile)],
        );
    }
    for hidden in hidden.found {
        let mut said = Said::new(content, profile);
        match hidden.kind {
            // Its members have been judged, and said it better.
            Kind::Pe if reasons.iter().any(|reason| reason.rule == "executable") => {}
            Kind::Pe => {
                said.say(
                    "embedded-executable",
                    "holds a Windows program",
                    format!("at octet {}", hidden.at),
                );
                extend(reasons, said.reasons);
            }
            other => {
                // These keep files as they are.
                let keeps = matches!(kind, Kind::Ole2 | Kind::Tnef | Kind::OneNote);
                if matches!(kind.class(), Class::Media | Class::Document)
                    && other != Kind::Uuencode
                    && (!keeps || other == Kind::Zip)
                {
                    said.say(
                        "polyglot",
                        &format!("is {} as well", other.title()),
                        format!("at octet {}", hidden.at),
                    );
                    extend(reasons, said.reasons);
                }
                if other == Kind::Iso {
                    let mut said = Said::new(content, profile);
                    said.say("disk-image", "is a CD image as well", other.name());
                    extend(reasons, said.reasons);
                }
                // A zip is read from its end, and knows what was put before it.
                let from = if other == Kind::Zip { 0 } else { hidden.at };
                let octets = crate::octets::rest(&content.octets, from);
                let read = Reading {
                    kind: other,
                    octets,
                    within,
                };
                holdings(content, &read, profile, budget, each, reasons);
            }
        }
    }
}

/// Octets that are read as being of a kind.
struct Reading<'o> {
    kind: Kind,
    octets: &'o [u8],
    /// What they lie in.
    within: Within,
}

/// What lies in content, judged.
fn holdings(
    content: &Content<'_>,
    read: &Reading<'_>,
    profile: &Profile,
    budget: &mut Budget,
    each: &mut Each<'_>,
    reasons: &mut Vec<Reason>,
) {
    let as_kind = read.kind;
    let mut state = State {
        outer: content,
        kind: as_kind,
        // Whoever hands a packed file out hands out what it holds.
        handed_out: read.within.handed_out && as_kind.is_packed_data(),
        in_document: danger::opens_as_document(&content.names),
        links: BTreeSet::new(),
        members: 0,
        sources: Vec::new(),
        project: false,
        page: false,
        reasons: Vec::new(),
    };
    let allowed = if unpack::is_light(as_kind) {
        Ok(())
    } else {
        budget.unpacking()
    };
    let troubles = allowed.and_then(|()| {
        budget.deeper(|budget| {
            unpack::members(read.octets, as_kind, budget, &mut |member, budget| {
                state.member(member, profile, budget, each);
            })
        })
    });
    let troubles = match troubles {
        Ok(troubles) => troubles,
        Err(reached) => {
            // It is as deep as may be looked; that only matters where there is something.
            if holds_something(as_kind) {
                extend(
                    reasons,
                    vec![danger::limit_reason(reached, &content.place, profile)],
                );
            }
            return;
        }
    };
    for trouble in &troubles {
        if let Trouble::Limit(reached) = trouble {
            extend(
                reasons,
                vec![danger::limit_reason(*reached, &content.place, profile)],
            );
        }
        let mut said = Said::new(content, profile);
        danger::of_trouble(trouble, as_kind, &mut said);
        extend(reasons, said.reasons);
    }
    state.finish(profile, reasons);
}

/// Whether there is a reader for what lies in this kind.
fn holds_something(kind: Kind) -> bool {
    matches!(kind.class(), Class::Archive | Class::Disk)
        || matches!(
            kind,
            Kind::Apk
                | Kind::Appx
                | Kind::Ole2
                | Kind::Workbook
                | Kind::Ooxml
                | Kind::OoxmlMacro
                | Kind::Odf
                | Kind::Tnef
                | Kind::Msi
                | Kind::Jar
                | Kind::OneNote
        )
}

/// One archive while its members come.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the archive or of its members"
)]
struct State<'a, 'o> {
    outer: &'a Content<'o>,
    kind: Kind,
    /// A page hands out what it lies in.
    handed_out: bool,
    /// It is opened as a document, by its names.
    in_document: bool,
    /// Names of links among the members.
    links: BTreeSet<String>,
    members: usize,
    /// What was said of scripts and how each looks, until it is known how many other files there are.
    sources: Vec<(Vec<Reason>, Source)>,
    /// One of [`PROJECTS`] is among the members; a page is.
    project: bool,
    page: bool,
    reasons: Vec<Reason>,
}

impl State<'_, '_> {
    fn member(
        &mut self,
        member: Member<'_>,
        profile: &Profile,
        budget: &mut Budget,
        each: &mut Each<'_>,
    ) {
        self.members = self.members.saturating_add(1);
        let mut names = member.names;
        // What was packed alone has its packed name less its ending.
        if names.is_empty() && !member.inner {
            names.extend(
                self.outer
                    .names
                    .first()
                    .and_then(|name| without_packing(name)),
            );
        }
        let title = names
            .first()
            .cloned()
            .unwrap_or_else(|| self.members.to_string());
        let outer_name = self.outer.names.first().map_or("", String::as_str);
        let place = place(self.outer, outer_name, &title);
        let content = Content {
            octets: Cow::Borrowed(&*member.octets),
            names,
            types: member.types,
            origin: Origin::Member,
            place,
        };
        for name in &content.names {
            let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
            let begin = some(&content.octets, 0, 64).trim_ascii_start();
            // It must be one, as well.
            self.project |= matches!(begin, [b'{' | b'<', _, ..])
                && PROJECTS.contains(&base.to_lowercase().as_str());
        }
        let mut reasons = Vec::new();
        if matches!(
            self.kind.class(),
            Class::Archive | Class::Disk | Class::Program
        ) {
            self.names(&content, member.link.as_deref(), profile, &mut reasons);
        }
        match &member.unread {
            Some(Unread::Limit(reached)) => {
                reasons.push(danger::limit_reason(*reached, &content.place, profile));
            }
            Some(unread) => {
                let mut said = Said::new(&content, profile);
                danger::of_unread(unread, &content.names, &mut said);
                reasons.extend(said.reasons);
            }
            None => {}
        }
        let within = Within {
            parent: Some(self.kind),
            inner: member.inner,
            in_document: self.in_document,
            handed_out: self.handed_out
                || member.inner && matches!(self.kind, Kind::Html | Kind::Svg),
        };
        let kind = kind::of(&content.octets);
        self.page |= kind == Kind::Html;
        piece(&content, kind, within, profile, budget, each, &mut reasons);
        // Scripts among many files are source code; the verdict waits until all have been seen.
        let script_only = reasons
            .iter()
            .filter(|reason| reason.verdict > Verdict::Accept)
            .all(|reason| danger::is_source_name(reason, &content))
            && reasons
                .iter()
                .any(|reason| reason.verdict > Verdict::Accept);
        if script_only && self.sources.len() < SOURCES_MAX {
            let is_for_host = |reason: &Reason| {
                reason.rule == "script" && reason.evidence == Kind::WindowsScript.name()
            };
            let source = danger::source_of(&content, kind, budget);
            let mut source = source.unwrap_or_else(|reached| {
                let reason = danger::limit_reason(reached, &content.place, profile);
                extend(&mut self.reasons, vec![reason]);
                Source::Runs
            });
            if reasons.iter().any(is_for_host) {
                source = source.max(Source::Runs);
            }
            self.sources.push((reasons, source));
        } else {
            extend(&mut self.reasons, reasons);
        }
    }

    /// What the names of members do to who unpacks them.
    fn names(
        &mut self,
        content: &Content<'_>,
        link: Option<&str>,
        profile: &Profile,
        reasons: &mut Vec<Reason>,
    ) {
        let mut said = Said::new(content, profile);
        for name in &content.names {
            match danger::escapes(name) {
                Some(danger::Escape::Up) => {
                    said.say(
                        "member-escapes",
                        "would be written outside of its archive",
                        danger::shown(name),
                    );
                }
                Some(danger::Escape::Root) => {
                    said.say(
                        "member-absolute",
                        "says where it is to be written",
                        danger::shown(name),
                    );
                }
                None => {}
            }
            // A longer one is no path of any system, and each of its folders would be looked up.
            let mut folder = Some(name.as_str())
                .filter(|name| name.len() <= 4096)
                .unwrap_or_default();
            while let Some((parent, _)) = folder.rsplit_once('/') {
                if self.links.contains(parent) {
                    said.say(
                        "member-escapes",
                        "would be written through a link of its archive",
                        danger::shown(name),
                    );
                    break;
                }
                folder = parent;
            }
        }
        if let Some(goal) = link {
            // A link alone does no harm, but the way unrar followed it did.
            if matches!(self.kind, Kind::Rar4 | Kind::Rar5)
                && (goal.contains("..\\") || danger::escapes(goal) == Some(danger::Escape::Root))
            {
                said.say(
                    "member-escapes",
                    "is a link that leads out of its archive",
                    danger::shown(goal),
                );
            }
            if self.links.len() < 10_000 {
                self.links.extend(content.names.iter().cloned());
            }
        }
        reasons.extend(said.reasons);
    }

    /// Says what waited.
    fn finish(self, profile: &Profile, reasons: &mut Vec<Reason>) {
        let few =
            self.members < SOURCES_FROM || self.sources.len().saturating_mul(2) > self.members;
        for (waiting, source) in self.sources {
            // A page keeps its scripts in folders. What is a script by more than its name is none of these.
            let is_kept = |reason: &Reason| {
                let in_folder = reason.evidence.contains('/');
                let for_pages = matches!(reason.evidence.rsplit_once('.'), Some((_, "js" | "mjs")));
                reason.rule == "dangerous-name"
                    && for_pages
                    && (self.project || (self.page && in_folder))
            };
            let refused = match source {
                Source::Plain => few && !waiting.iter().all(is_kept),
                Source::Runs => few || self.members < LIBRARY_FROM,
                Source::Hides => true,
            };
            for mut reason in waiting {
                if !refused && reason.verdict > Verdict::Accept {
                    let rule = danger::rule("script-in-archive");
                    reason.rule = rule.name.into();
                    reason.verdict = profile.verdict_of(rule);
                }
                extend(reasons, vec![reason]);
            }
        }
        extend(reasons, self.reasons);
    }
}

/// Where a member lies. The first place of all is the number of a part, to which the attachment's name is added.
fn place(outer: &Content<'_>, outer_name: &str, title: &str) -> String {
    let base = match outer.origin {
        Origin::Member => outer.place.clone(),
        _ if outer_name.is_empty() || outer.place.ends_with(outer_name) => outer.place.clone(),
        _ => format!("{}/{}", outer.place, danger::shown(outer_name)),
    };
    let mut place = format!("{base}/{}", danger::shown(title));
    if place.len() > 512 {
        let end = (0..=512)
            .rev()
            .find(|end| place.is_char_boundary(*end))
            .unwrap_or(0);
        place.truncate(end);
    }
    place
}

/// The name of what one packed file holds.
fn without_packing(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "gz" | "xz" | "bz2" | "zst" | "lzma" | "lz" | "z" | "hqx" => Some(stem.to_owned()),
        "tgz" | "txz" | "tbz" | "tbz2" | "tzst" => Some(format!("{stem}.tar")),
        // COMPRESS.EXE replaced the last letter.
        ending if ending.ends_with('_') => Some(format!("{stem}.{}", ending.trim_end_matches('_'))),
        _ => None,
    }
}

/// Adds reasons, each once, and not more than say something new.
fn extend(reasons: &mut Vec<Reason>, more: Vec<Reason>) {
    for reason in more {
        if reasons.contains(&reason) {
            continue;
        }
        if reasons.len() < REASONS_MAX {
            reasons.push(reason);
        } else if let Some(weaker) = reasons
            .iter_mut()
            .find(|kept| kept.verdict < reason.verdict)
        {
            *weaker = reason;
        }
    }
}

/// The entry for fuzzing: any octets as an attachment, by a small budget.
#[doc(hidden)]
pub fn fuzz(octets: &[u8]) {
    let limits = crate::Limits {
        octets: 8 << 20,
        member_octets: 4 << 20,
        parts: 200,
        members: 200,
        ..crate::Limits::default()
    };
    let profile = Profile {
        limits,
        ..Profile::default()
    };
    let mut budget = Budget::new(&profile.limits);
    let whole = Content {
        octets: Cow::Borrowed(octets),
        names: vec!["a".to_owned()],
        types: Vec::new(),
        origin: Origin::Attachment,
        place: "1".to_owned(),
    };
    let reasons = content(&whole, &profile, &mut budget, &mut |_, _, _| Vec::new());
    for reason in reasons {
        assert!(
            !reason.text.chars().any(char::is_control)
                && !reason.place.chars().any(char::is_control),
            "a reason is one printable line"
        );
        assert_ne!(reason.rule, "unknown-rule");
    }
}
