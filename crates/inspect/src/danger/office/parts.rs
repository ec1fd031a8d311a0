//! The parts of documents of today that are XML. Which part it is, its elements tell: names of parts are the sender's, and
//! relations lead to them by any name (ECMA-376-2 section 6.5).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::fields::Fields;
use super::{PROGRAMS, code_format, is_shared_document, is_workbook, loose, sheet, table};
use crate::Budget;
use crate::danger::{Said, shown};
use crate::octets::{any_of, count, holds};
use crate::xml::{self, Element, Piece};

/// Names in XML have no references: where none of these stands, there is nothing to look for.
static NAMES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    any_of(&[
        b"Relationship",
        b"instrText",
        b"fldSimple",
        b"fldChar",
        b"ddeLink",
        b"numFmt",
        b"acrosheet",
        b"ormula",
        b"dde-application",
        b"event-listener",
        b"floating-frame",
        b"hlink",
    ])
});

/// Judges a part, if it is XML.
pub(super) fn judge(octets: &[u8], budget: &mut Budget, said: &mut Said<'_>) {
    if !xml::may_be(octets) {
        return;
    }
    let text = xml::decoded(octets);
    if let Cow::Owned(text) = &text
        && let Err(reached) = budget.octets(count(text.as_bytes()))
    {
        said.limit(reached);
        return;
    }
    if NAMES.as_ref().is_some_and(|names| !names.is_match(&*text)) {
        return;
    }
    if let Err(reached) = budget.search(text.len()) {
        said.limit(reached);
        return;
    }
    let mut part = Part {
        said,
        fields: Fields::default(),
    };
    let is_whole = xml::read(&text, &mut |piece| part.see(&piece));
    let Part { said, fields } = part;
    if fields.starts_program() {
        said.say("office-dde", "starts a program by DDE", "a field");
    }
    // What lies behind a mistake no program should read; by its letters it is looked at all the same.
    if !is_whole {
        loose::judge(text.as_bytes(), budget, said);
    }
}

struct Part<'s, 'c> {
    said: &'s mut Said<'c>,
    fields: Fields,
}

impl Part<'_, '_> {
    fn see(&mut self, piece: &Piece<'_>) {
        self.fields.see(piece);
        let Piece::Begin(element) = piece else {
            return;
        };
        match element.name() {
            "Relationship" => self.relation(element),
            "numFmt" => {
                for format in element.values("formatCode") {
                    code_format(format.as_bytes(), self.said);
                }
            }
            "ddeLink" => self.link(element, "ddeService", "ddeTopic"),
            "macrosheet" => self.say("office-macro-sheet", "has a sheet of Excel 4 macros", ""),
            "floating-frame" => {
                for target in element.values("href") {
                    if is_web(&plain(&target)) {
                        self.external("loads a page from elsewhere", &target);
                    }
                }
            }
            _ => {}
        }
        let raw = element.raw();
        if raw.contains("action") {
            for action in element.values("action") {
                self.action(element.name(), &action);
            }
        }
        if raw.contains("dde-application") {
            self.link(element, "dde-application", "dde-topic");
        }
        if raw.contains("ormula") {
            for name in ["Formula", "formula"] {
                for formula in element.values(name) {
                    self.formula(&formula);
                }
            }
        }
    }

    fn say(&mut self, rule: &'static str, does: &str, evidence: impl Into<String>) {
        self.said.say(rule, does, evidence);
    }

    fn external(&mut self, does: &str, target: &str) {
        self.say("office-object-external", does, shown(target));
    }

    /// A formula of a workbook that stands in one file, or of `OpenDocument`: `=cmd|'/C calc'!A0`, `of:=DDE("cmd";"/C calc")`.
    fn formula(&mut self, formula: &str) {
        table(formula.as_bytes(), self.said);
        if dde_calls(&formula.to_ascii_lowercase()) {
            self.say("office-dde", "starts a program by DDE", "DDE()");
        }
    }

    /// What a presentation does where it is clicked or pointed at: in hyperlinks (ECMA-376-1 section 21.1.2.3.5), and in the
    /// event listeners of `OpenDocument` (part 1, section 19.389).
    fn action(&mut self, element: &str, action: &str) {
        let action = plain(action);
        if action.starts_with("ppaction://program")
            || (element == "event-listener" && action == "execute")
        {
            self.say(
                "office-program-link",
                "starts a program where it is clicked or pointed at",
                shown(&action),
            );
        }
    }

    /// A link of DDE.
    fn link(&mut self, element: &Element<'_>, service: &'static str, topic: &'static str) {
        // One, or more than one.
        let topics: Vec<String> = element.values(topic).take(2).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        if element
            .values(service)
            .any(|service| is_program(&service, &topics))
        {
            self.say("office-dde", "starts a program by DDE", service);
        }
    }

    /// A relation of a part to what lies elsewhere. Links and pictures are honest.
    fn relation(&mut self, element: &Element<'_>) {
        let kinds: BTreeSet<&str> = element
            .values("Type")
            .filter_map(|kind| {
                let kind = last(&kind);
                KINDS.into_iter().find(|known| kind == *known)
            })
            .collect();
        let is = |kind: &str| kinds.contains(kind);
        if is("xlmacrosheet") || is("xlintlmacrosheet") {
            sheet(self.said);
        }
        let is_external = element
            .values("TargetMode")
            .any(|mode| mode.trim().eq_ignore_ascii_case("external"));
        for target in element.values("Target") {
            let target = plain(&target);
            // A name of a part has no scheme, whatever is said of its mode.
            if !is_external && !is_web(&target) && !is_script(&target) {
                continue;
            }
            relation(&is, &target, self.said);
        }
    }
}

/// Kinds of relations that are told apart.
const KINDS: [&str; 5] = [
    "attachedtemplate",
    "frame",
    "oleobject",
    "xlintlmacrosheet",
    "xlmacrosheet",
];

/// What a relation of some kind loads from a target as programs take it ([`plain`]).
pub(super) fn relation(is: &dyn Fn(&str) -> bool, target: &str, said: &mut Said<'_>) {
    if is_script(target)
        || (is("oleobject") && is_web(target) && !is_shared(target))
        || (is("frame") && is_web(target))
    {
        said.say(
            "office-object-external",
            "loads an object from elsewhere",
            shown(target),
        );
    } else if is("attachedtemplate") && is_web(target) {
        said.say(
            "office-template-external",
            "loads its template from elsewhere",
            shown(target),
        );
    }
}

/// Whether a formula, in small letters, asks a program by DDE: `DDE("cmd";"/C calc";"a")`. One that computes what it asks may ask any.
fn dde_calls(formula: &str) -> bool {
    // What stands between quotes is text.
    let (mut seen, mut is_text) = (0, false);
    formula.match_indices("dde").any(|(at, name)| {
        let (before, behind) = formula.split_at(at);
        let since = before.get(seen..).unwrap_or_default();
        is_text ^= since.matches('"').count() % 2 == 1;
        seen = at;
        let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let call = behind
            .strip_prefix(name)
            .unwrap_or_default()
            .trim_ascii_start();
        match call.strip_prefix('(') {
            Some(call) if !is_text && !before.ends_with(of_name) => {
                let Some((service, call)) = written(call) else {
                    return true;
                };
                let topic = written(call).map(|(topic, _)| topic);
                is_program(service, topic.as_slice())
            }
            _ => false,
        }
    })
}

/// The next argument of a call, where it is nothing but a text, and what follows it.
fn written(call: &str) -> Option<(&str, &str)> {
    let (text, behind) = call.trim_ascii_start().strip_prefix('"')?.split_once('"')?;
    let behind = behind.trim_ascii_start();
    Some((text, behind.strip_prefix([';', ',', ')'])?))
}

/// What an object in an OLE2 file is linked from.
pub(super) fn link(target: &str, said: &mut Said<'_>) {
    let target = plain(target);
    if is_script(&target) || (is_web(&target) && !is_shared(&target)) {
        said.say(
            "office-object-external",
            "loads an object from elsewhere",
            shown(&target),
        );
    }
}

/// The template of a rich text.
pub(super) fn template(target: &str, said: &mut Said<'_>) {
    let target = plain(target);
    if is_script(&target) {
        link(&target, said);
    } else if is_web(&target) {
        said.say(
            "office-template-external",
            "loads its template from elsewhere",
            shown(&target),
        );
    }
}

/// The last piece of a relation's type, in small letters; what stands before it depends on the form of the standard.
fn last(kind: &str) -> String {
    let last = kind.trim().trim_end_matches('/').rsplit('/').next();
    last.unwrap_or_default().to_ascii_lowercase()
}

/// A target as programs take it: in small letters, without blanks around and ends of lines within, percent signs resolved.
pub(super) fn plain(target: &str) -> String {
    let letters: Vec<u8> = target
        .trim_matches(|letter: char| letter <= ' ')
        .bytes()
        .filter(|octet| !matches!(octet, b'\t' | b'\r' | b'\n'))
        .collect();
    let mut octets = Vec::with_capacity(letters.len());
    let mut at = 0;
    while let Some(octet) = letters.get(at) {
        let digit = |at: usize| char::from(*letters.get(at)?).to_digit(16);
        let pair = (*octet == b'%')
            .then(|| Some(digit(at + 1)? << 4 | digit(at + 2)?))
            .flatten()
            .and_then(|value| u8::try_from(value).ok())
            // What would end a host or a path is left as it is written.
            .filter(|value| value.is_ascii_alphanumeric() || b":!-._".contains(value));
        octets.push(pair.unwrap_or(*octet).to_ascii_lowercase());
        at += if pair.is_some() { 3 } else { 1 };
    }
    crate::octets::name(&octets)
}

/// Whether a target leads to the web: also by way of a share that is a folder there (`\\host@SSL\DavWWWRoot`).
fn is_web(target: &str) -> bool {
    let slashed = target.replace('\\', "/");
    let share = slashed.strip_prefix("file:").unwrap_or(&slashed);
    let host = share
        .starts_with("//")
        .then(|| share.trim_start_matches('/').split('/').next())
        .flatten()
        .unwrap_or_default();
    let port = host.split_once('@').map_or("", |(_, port)| port);
    let by_port = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
    ["http:", "https:", "ftp:"]
        .iter()
        .any(|scheme| slashed.starts_with(scheme))
        || port.starts_with("ssl")
        || by_port
        || (!host.is_empty() && slashed.contains("/davwwwroot"))
}

/// Whether a document of those that people share lies there, also by way of a share (`\\\\host@SSL\\DavWWWRoot\\sites`).
fn is_shared(target: &str) -> bool {
    let slashed = target.replace('\\', "/");
    let share = slashed.strip_prefix("file:").unwrap_or(&slashed);
    let share = share.trim_start_matches('/').split_once("@ssl/");
    let by_share = share.is_some_and(|(host, path)| {
        let path = path.strip_prefix("davwwwroot/").unwrap_or(path);
        is_shared_document(format!("https://{host}/{path}").as_bytes())
    });
    by_share || is_shared_document(target.as_bytes())
}

/// Whether a target is run by what loads it.
fn is_script(target: &str) -> bool {
    let target = target.as_bytes();
    target.starts_with(b"mhtml:")
        || target.starts_with(b"script:")
        || holds(target, b"!x-usc:")
        || holds(target, b"ms-msdt:")
}

/// Whether one of [`PROGRAMS`] is asked by DDE, by its name or its path; of Excel a workbook may be asked for.
pub(super) fn is_program(service: &str, topics: &[&str]) -> bool {
    let service = service.to_ascii_lowercase().replace('\\', "/");
    let name = service.rsplit('/').next().unwrap_or_default();
    let name = name.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    // One link has one topic; where there are more, it is not known whose they are.
    let of_workbook = || match topics {
        [topic] => is_workbook(topic.to_ascii_lowercase().as_bytes()),
        _ => false,
    };
    PROGRAMS.iter().any(|program| name.starts_with(program))
        && !(name == "msexcel" && of_workbook())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_leads_to_the_web_in_any_spelling() {
        for target in [
            "http://a.example/b",
            " HTTPS:\\\\a.example\\b",
            "h%74tp://a.example",
            "ht\ntp:/a.example",
            "\\\\a.example@SSL\\b",
            "file://a.example@80/b",
            "file:///\\\\a.example\\DavWWWRoot\\b",
        ] {
            assert!(is_web(&plain(target)), "{target}");
        }
        for target in [
            "file:///C:\\http\\a.dotx",
            "\\\\srv01\\a\\b.dotx",
            "media/http.png",
            "file:///C:/a@80/b",
        ] {
            assert!(!is_web(&plain(target)), "{target}");
        }
    }
}
