//! What is dangerous in content: its kind, its name, what it says it is, and what it does when opened.
//!
//! Entry: [`of_content`] for one piece of content; [`crate::examine`] for one with all that lies in it. What a rule
//! is for, and from which level on it refuses, is the table [`RULES`].

mod active;
mod archives;
mod names;
mod office;
mod source;
mod table;

use archives::shell;
pub(crate) use archives::{Escape, escapes, of_trouble, of_unread};
pub(crate) use names::{opens_as_document, shown};
#[doc(hidden)]
pub use source::fuzz as fuzz_script;
pub(crate) use source::{Source, of as source_of};
pub use table::{RULES, rule};

use crate::kind::{Class, Kind};
use crate::octets::some;
use crate::{Budget, Content, LimitReached, Origin, Profile, Reason};

/// Where a member was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Within {
    /// What it lay in.
    pub(crate) parent: Option<Kind>,
    /// It is no file of its own: a stream of a document.
    pub(crate) inner: bool,
    /// A page made of base64 hands it out as a download.
    pub(crate) handed_out: bool,
    /// What it lay in is opened by a program for documents, by its name, and not as a folder.
    pub(crate) in_document: bool,
}

/// What is dangerous in one piece of content, by itself; what lies in it is not looked at.
pub fn of_content(content: &Content<'_>, kind: Kind, profile: &Profile) -> Vec<Reason> {
    let mut budget = Budget::new(&profile.limits);
    of_member(content, kind, Within::default(), profile, &mut budget)
}

/// The same for what was found within something.
pub(crate) fn of_member(
    content: &Content<'_>,
    kind: Kind,
    within: Within,
    profile: &Profile,
    budget: &mut Budget,
) -> Vec<Reason> {
    let mut said = Said::new(content, profile);
    test_virus(content, &mut said);
    if !within.inner {
        by_name(content, kind, within, &mut said);
        by_type(content, kind, &mut said);
    }
    by_kind(content, kind, &mut said);
    office::judge(content, kind, within, budget, &mut said);
    active::judge(content, kind, within, &mut said);
    said.reasons
}

/// The reason that a limit was reached: what lies beyond was not looked at.
pub fn limit_reason(reached: LimitReached, place: &str, profile: &Profile) -> Reason {
    use crate::Limit;
    let name = match reached.0 {
        Limit::Depth => "limit-depth",
        Limit::Parts => "limit-parts",
        Limit::Octets => "limit-octets",
        Limit::MemberOctets => "limit-member-octets",
        Limit::Ratio => "limit-ratio",
        Limit::Readings => "limit-readings",
    };
    let rule = rule(name);
    Reason {
        rule: rule.name.into(),
        verdict: profile.verdict_of(rule),
        text: rule.text.to_owned(),
        evidence: String::new(),
        place: place.to_owned(),
    }
}

/// What was said of one piece of content.
pub(crate) struct Said<'a> {
    pub(crate) reasons: Vec<Reason>,
    content: &'a Content<'a>,
    profile: &'a Profile,
}

/// Reasons of one rule for one piece of content.
const SAID_MAX: usize = 4;

impl<'a> Said<'a> {
    pub(crate) fn new(content: &'a Content<'a>, profile: &'a Profile) -> Self {
        Self {
            reasons: Vec::new(),
            content,
            profile,
        }
    }

    /// Adds the reason that a limit was reached while it was looked at.
    pub(crate) fn limit(&mut self, reached: LimitReached) {
        let reason = limit_reason(reached, &self.content.place, self.profile);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Adds a reason: what content it is, and what it does. More than some of one rule say nothing new.
    pub(crate) fn say(&mut self, name: &'static str, does: &str, evidence: impl Into<String>) {
        let rule = rule(name);
        let same = self
            .reasons
            .iter()
            .filter(|reason| reason.rule == rule.name);
        if same.count() >= SAID_MAX {
            return;
        }
        self.reasons.push(Reason {
            rule: rule.name.into(),
            verdict: self.profile.verdict_of(rule),
            text: format!("{} {does}.", subject(self.content)),
            evidence: evidence.into(),
            place: self.content.place.clone(),
        });
    }
}

/// What a sentence calls content: by its name, and by the attachment it lay in.
fn subject(content: &Content<'_>) -> String {
    let name = content.names.first().map(|name| shown(name));
    match (content.origin, name) {
        (Origin::Body, _) => "The text of the message".to_owned(),
        (Origin::Attachment, Some(name)) => format!("The attachment {name}"),
        (Origin::Attachment, None) => "An attachment".to_owned(),
        (Origin::Member, name) => {
            // The place is the number of the part, the attachment's name, and the names of members.
            let outer = content
                .place
                .split('/')
                .nth(1)
                .filter(|outer| !outer.is_empty());
            let outer = match outer {
                Some(outer) => format!("the attachment {}", shown(outer)),
                None => "an attachment".to_owned(),
            };
            match name {
                Some(name) => format!("The file {name} in {outer}"),
                None => format!("A file in {outer}"),
            }
        }
    }
}

/// The harmless file by which filters are tested (eicar.org): by itself, with nothing but blanks around.
fn test_virus(content: &Content<'_>, said: &mut Said<'_>) {
    // Written in two pieces, so that no scanner stops at this program.
    const FIRST: &[u8] = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-";
    const SECOND: &[u8] = b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    let head = some(&content.octets, 0, 1024);
    let Some(at) = crate::octets::find(head, FIRST) else {
        return;
    };
    let after = crate::octets::rest(head, at + FIRST.len());
    let alone = content.octets.len() <= 512 || head.trim_ascii_start().starts_with(FIRST);
    if after.starts_with(SECOND)
        && alone
        && (content.origin != Origin::Body || head.trim_ascii_start().starts_with(FIRST))
    {
        said.say(
            "test-virus",
            "is the EICAR test file, which every filter must stop",
            "",
        );
    }
}

/// What the names promise.
fn by_name(content: &Content<'_>, kind: Kind, within: Within, said: &mut Said<'_>) {
    let mut dangerous = Vec::new();
    let mut others = Vec::new();
    for name in &content.names {
        let readings = names::readings(name);
        let found = readings
            .iter()
            .find(|reading| reading.is_dangerous() && !excused(reading, kind, content));
        match found.filter(|_| !is_directory(content, name)) {
            Some(reading) => dangerous.push((name, reading.clone())),
            None => others.extend(readings),
        }
        if let Some(hides) = names::hides(name) {
            let does = match hides {
                names::Hides::Blanks => "has a name that hides its ending behind blanks",
                names::Hides::Order => {
                    "has a name that is shown in another order than it is written"
                }
                names::Hides::Class => "has a name that Windows opens by a hidden class",
                names::Hides::Zero => "has a name that hides its ending behind a zero",
            };
            said.say("hidden-extension", does, shown(name));
        }
        if shell(name) {
            said.say(
                "member-shell",
                "has a name that a shell would take for a command",
                shown(name),
            );
        }
    }
    for (name, reading) in &dangerous {
        if names::HARMLESS.contains(&reading.before.as_str()) {
            let does = format!(
                "looks like a .{} file and is a .{}",
                reading.before, reading.extension
            );
            said.say("double-extension", &does, shown(name));
        }
    }
    if let Some((name, reading)) = dangerous.first() {
        let member = content.origin == Origin::Member;
        let source = names::SOURCES.contains(&reading.extension.as_str());
        let document = within.in_document
            && matches!(
                within.parent,
                Some(Kind::Ooxml | Kind::OoxmlMacro | Kind::Odf)
            );
        let rule = if member
            && source
            && (document || within.parent.is_some_and(|parent| parent == Kind::Jar))
        {
            "script-in-archive"
        } else {
            "dangerous-name"
        };
        let does = format!(
            "is of a type (.{}) that runs when it is opened",
            shown(&reading.extension)
        );
        said.say(rule, &does, shown(name));
        let other = others
            .iter()
            .find(|other| !other.extension.is_empty() && other.extension != reading.extension);
        if let Some(other) = other {
            let does = format!(
                "has two names: one ends in .{}, another in .{}",
                shown(&other.extension),
                shown(&reading.extension)
            );
            said.say("names-disagree", &does, shown(name));
        }
        return;
    }
    let risky = others
        .iter()
        .find(|reading| names::RISKY.contains(&reading.extension.as_str()));
    if let Some(reading) = risky {
        let does = format!(
            "is of a type (.{}) that can do harm",
            shown(&reading.extension)
        );
        said.say("risky-name", &does, shown(&reading.base));
    }
}

/// Whether a member of an archive is a directory: a copy of a web site has one for each domain.
fn is_directory(content: &Content<'_>, name: &str) -> bool {
    content.origin == Origin::Member && content.octets.is_empty() && name.ends_with('/')
}

/// Whether a text has more lines than a program of DOS made of letters would: the settings of a site are called
/// `www.example.com`, and then a second line will do.
fn has_lines(octets: &[u8], reading: &names::Name) -> bool {
    let least = if reading.before.is_empty() { 2 } else { 0 };
    memchr::memchr_iter(b'\n', some(octets, 0, 4096))
        .nth(least)
        .is_some()
}

/// Names that end like a program's and are none: those of domains. A message or a page called `example.com` is honest.
fn excused(reading: &names::Name, kind: Kind, content: &Content<'_>) -> bool {
    let harmless = matches!(
        kind,
        Kind::Message
            | Kind::Html
            | Kind::Pdf
            | Kind::Image
            | Kind::Audio
            | Kind::Video
            | Kind::Calendar
            | Kind::Vcard
    ) || (matches!(kind, Kind::Text | Kind::Xml)
        && has_lines(&content.octets, reading)
        && !names::HARMLESS.contains(&reading.before.as_str()));
    if reading.extension == "url" {
        return kind == Kind::UrlShortcut && web_shortcut(&content.octets);
    }
    let domain = matches!(reading.extension.as_str(), "com" | "ws");
    let message = content
        .types
        .iter()
        .any(|kind| kind.starts_with("message/"));
    domain && (harmless || message)
}

/// What it says it is, and is not.
fn by_type(content: &Content<'_>, kind: Kind, said: &mut Said<'_>) {
    let media = content.types.iter().find(|declared| {
        ["image/", "audio/", "video/", "font/"]
            .iter()
            .any(|start| declared.starts_with(start))
    });
    let text = content
        .types
        .iter()
        .find(|declared| declared.starts_with("text/"));
    let readings: Vec<_> = content
        .names
        .iter()
        .flat_map(|name| names::readings(name))
        .collect();
    let runs = readings
        .iter()
        .find(|reading| reading.is_dangerous() && !excused(reading, kind, content));
    let class = kind.class();
    if let Some(declared) = media {
        if matches!(class, Class::Program | Class::Script | Class::Shortcut) {
            said.say(
                "type-mismatch",
                &format!("is declared as {} and is {}", shown(declared), kind.title()),
                kind.name(),
            );
            return;
        }
        if let Some(reading) = runs {
            said.say(
                "type-mismatch",
                &format!(
                    "is declared as {} and has the name of a program",
                    shown(declared)
                ),
                shown(&reading.base),
            );
            return;
        }
    }
    if let Some(declared) = text
        && (class == Class::Program || kind == Kind::Shortcut)
    {
        said.say(
            "type-mismatch",
            &format!("is declared as {} and is {}", shown(declared), kind.title()),
            kind.name(),
        );
        return;
    }
    let harmless = readings
        .iter()
        .find(|reading| names::HARMLESS.contains(&reading.extension.as_str()));
    if let Some(reading) = harmless {
        let texts = matches!(
            reading.extension.as_str(),
            "txt" | "log" | "csv" | "html" | "htm" | "xml" | "eml" | "svg" | "rtf"
        );
        let lies = match class {
            Class::Program => {
                kind != Kind::Msi
                    || !matches!(reading.extension.as_str(), "doc" | "xls" | "ppt" | "msg")
            }
            Class::Script => !texts,
            Class::Shortcut => !texts || kind == Kind::Shortcut,
            _ => false,
        };
        if lies {
            said.say(
                "type-mismatch",
                &format!(
                    "is called a .{} and is {}",
                    shown(&reading.extension),
                    kind.title()
                ),
                kind.name(),
            );
            return;
        }
        if differs(&reading.extension, kind) {
            said.say(
                "type-differs",
                &format!(
                    "is called a .{} and is {}",
                    shown(&reading.extension),
                    kind.title()
                ),
                kind.name(),
            );
            return;
        }
    }
    if let Some(declared) = media
        && matches!(class, Class::Archive | Class::Disk | Class::Document)
        && kind != Kind::MacFile
    {
        said.say(
            "type-differs",
            &format!("is declared as {} and is {}", shown(declared), kind.title()),
            kind.name(),
        );
    }
}

/// Whether an ending and a kind contradict each other, where programs go by the kind. What the Macintosh wraps keeps its name and
/// its type.
fn differs(extension: &str, kind: Kind) -> bool {
    let known = !matches!(
        kind,
        Kind::Unknown | Kind::Empty | Kind::Text | Kind::Xml | Kind::Message | Kind::MacFile
    );
    known
        && match extension {
            "pdf" => kind != Kind::Pdf,
            "jpg" | "jpeg" | "jfif" | "png" | "gif" | "bmp" | "tif" | "tiff" | "webp" | "heic" => {
                !matches!(kind, Kind::Image | Kind::Video)
            }
            "mp3" | "wav" | "ogg" | "m4a" | "mp4" | "avi" | "mov" | "mkv" => {
                !matches!(kind, Kind::Audio | Kind::Video)
            }
            "docx" | "xlsx" | "pptx" | "ppsx" => !matches!(
                kind,
                Kind::Ooxml | Kind::OoxmlMacro | Kind::Ole2 | Kind::Zip
            ),
            "odt" | "ods" | "odp" => !matches!(kind, Kind::Odf | Kind::Zip),
            _ => false,
        }
}

/// What it is.
fn by_kind(content: &Content<'_>, kind: Kind, said: &mut Said<'_>) {
    match kind.class() {
        Class::Program => {
            said.say("executable", &format!("is {}", kind.title()), kind.name());
        }
        Class::Shortcut if kind == Kind::UrlShortcut && web_shortcut(&content.octets) => {
            said.say("web-shortcut", "is a shortcut to a page", kind.name());
        }
        // What is shown as text opens nothing, whatever it quotes.
        Class::Shortcut if kind != Kind::Shortcut && content.origin == Origin::Body => {}
        Class::Shortcut => {
            said.say(
                "shortcut",
                &format!("is {}, which can run anything", kind.title()),
                kind.name(),
            );
        }
        Class::Script => script(content, kind, said),
        Class::Disk => {
            let rule = if kind == Kind::VirtualDisk {
                "virtual-disk"
            } else {
                "disk-image"
            };
            said.say(rule, &format!("is {}", kind.title()), kind.name());
        }
        _ if kind == Kind::Chm => {
            said.say(
                "executable",
                "is a compiled help file, which can run programs",
                kind.name(),
            );
        }
        _ => {}
    }
}

/// Whether a shortcut leads to a page and nowhere else: a browser makes such of an address. One that leads to a file,
/// to a program on the web, or that takes its icon from a server, is none.
fn web_shortcut(octets: &[u8]) -> bool {
    let mut pages = 0;
    for line in octets.split(|octet| matches!(octet, b'\n' | b'\r')) {
        let line = line.trim_ascii().to_ascii_lowercase();
        let Some(equals) = memchr::memchr(b'=', &line) else {
            continue;
        };
        let key = some(&line, 0, equals).trim_ascii();
        let value = crate::octets::rest(&line, equals + 1).trim_ascii();
        let web = value.starts_with(b"http://") || value.starts_with(b"https://");
        match key {
            b"url" | b"baseurl" => {
                let path = value
                    .split(|octet| matches!(octet, b'?' | b'#'))
                    .next()
                    .unwrap_or_default();
                let runs = memchr::memchr_iter(b'/', path).count() > 2
                    && names::readings(&crate::octets::name(path))
                        .iter()
                        .any(names::Name::is_dangerous)
                    && !path.ends_with(b".com");
                if !web || runs || value.contains(&b'\\') {
                    return false;
                }
                pages += 1;
            }
            b"iconfile" | b"workingdirectory"
                if !web
                    && (value.starts_with(b"\\\\")
                        || value.starts_with(b"//")
                        || value.starts_with(b"file:")) =>
            {
                return false;
            }
            b"command" => return false,
            _ => {}
        }
    }
    pages > 0
}

/// A script is refused where it would run when opened, or where its name does not say that it is one.
fn script(content: &Content<'_>, kind: Kind, said: &mut Said<'_>) {
    if content.origin == Origin::Body {
        return;
    }
    if kind == Kind::EncodedScript {
        said.say("encoded-script", "is an encoded script", kind.name());
        return;
    }
    let does = format!("is {}", kind.title());
    let readings: Vec<_> = content
        .names
        .iter()
        .flat_map(|name| names::readings(name))
        .collect();
    let text = content
        .types
        .iter()
        .any(|declared| declared.starts_with("text/"));
    let shown_as_text = readings
        .iter()
        .any(|reading| names::SHOWN_AS_TEXT.contains(&reading.extension.as_str()));
    let unnamed = readings.iter().all(|reading| reading.extension.is_empty());
    let shown_as_text = shown_as_text
        || readings
            .iter()
            .any(|reading| names::TEXTS.contains(&reading.base.to_lowercase().as_str()));
    let rule = match kind {
        // Unix does not run what it opens; people post such to each other. In disguise it is another rule's.
        Kind::UnixScript => "unix-script",
        _ if shown_as_text => "type-differs",
        // Patterns in text may mislead: an unknown ending opens in nothing.
        _ if text && unnamed => "type-differs",
        _ => "script",
    };
    said.say(rule, &does, kind.name());
}

/// Whether a reason is that a member is called like a script, as source code is; what it does was not the reason.
pub(crate) fn is_source_name(reason: &Reason, content: &Content<'_>) -> bool {
    matches!(reason.rule.as_ref(), "dangerous-name" | "script")
        && content
            .names
            .iter()
            .flat_map(|name| names::readings(name))
            .all(|name| names::SOURCES.contains(&name.extension.as_str()) || !name.is_dangerous())
}
