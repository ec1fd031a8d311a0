//! What documents of Office do when they are opened: macros, objects and templates from elsewhere, DDE.

mod fields;
mod loose;
mod parts;
mod rich;

use super::{Said, Within, names, shown};
use crate::kind::Kind;
use crate::octets::{begins, count, holds, place, rest, some, u16le, u32le, utf16le};
use crate::unpack::ole;
use crate::{Budget, Content, Origin, xml};

/// Procedures that Office calls by itself.
const RUNS: &[&str] = &[
    "autoopen",
    "auto_open",
    "autoexec",
    "auto_exec",
    "autonew",
    "autoclose",
    "auto_close",
    "autoexit",
    "document_open",
    "document_close",
    "document_new",
    "documentopen",
    "documentchange",
    "document_beforeclose",
    "workbook_open",
    "workbook_activate",
    "workbook_beforeclose",
    "workbook_deactivate",
    "presentation_open",
    "slideshowbegin",
    "onslideshowpagechange",
    "_layout(",
    "_painted(",
    "_gotfocus(",
    "_mousemove(",
];

/// What only a macro that means harm has cause to do when its document is opened.
const ACTS: &[&str] = &[
    "wscript.shell",
    "shell.application",
    "shellexecute",
    "urldownloadtofile",
    "msxml2.xmlhttp",
    "msxml2.serverxmlhttp",
    "microsoft.xmlhttp",
    "winhttp.winhttprequest",
    "adodb.stream",
    ".savetofile",
    "powershell",
    "cmd.exe",
    "cmd /c",
    "cmd.exe /c",
    "mshta",
    "rundll32",
    "regsvr32",
    "certutil",
    "bitsadmin",
    "virtualalloc",
    "rtlmovememory",
    "createthread",
    "createremotethread",
    "winmgmts:",
    "win32_process",
    "strreverse(",
    "callbyname(",
    "execute4macro",
    "executeexcel4macro",
    // In Python, and in what LibreOffice brings along (CVE-2018-16858, CVE-2019-9848).
    "os.popen(",
    "os.startfile(",
    "os.system(",
    "subprocess.",
    "librelogo",
    "vnd.sun.star.script:..",
];

/// How many characters by number hide what a macro does.
const CHARACTERS: usize = 40;

pub(super) fn judge(
    content: &Content<'_>,
    kind: Kind,
    within: Within,
    budget: &mut Budget,
    said: &mut Said<'_>,
) {
    for declared in &content.types {
        match declared.as_str() {
            ole::VBA => macros(&content.octets, said),
            ole::MACRO_SHEET => sheet(said),
            ole::FORMATS => code_format(&content.octets, said),
            ole::FIELDS => {
                let text = crate::octets::name(&content.octets);
                let mut lines = text.lines();
                // A mark stands where another field lies in it.
                if lines.any(|line| fields::starts(line, line.ends_with('\u{13}'))) {
                    said.say("office-dde", "starts a program by DDE", "a field");
                }
            }
            ole::DDE_LINKS => {
                let text = crate::octets::name(&content.octets);
                let mut links = text.lines().filter_map(|line| line.split_once('\t'));
                if links.any(|(service, topic)| parts::is_program(service, &[topic])) {
                    said.say("office-dde", "starts a program by DDE", "a link");
                }
            }
            ole::LINK => {
                for place in crate::octets::name(&content.octets).split('\0') {
                    parts::link(place, said);
                }
            }
            _ => {}
        }
    }
    if kind == Kind::OoxmlMacro {
        let plain = content
            .names
            .iter()
            .flat_map(|name| names::readings(name))
            .find(|name| {
                matches!(
                    name.extension.as_str(),
                    "docx" | "xlsx" | "pptx" | "ppsx" | "dotx" | "xltx" | "potx"
                )
            });
        if let Some(name) = plain {
            said.say(
                "office-macro-hidden",
                &format!(
                    "has macros, and is called a .{}, which has none",
                    name.extension
                ),
                shown(&name.base),
            );
        }
        said.say("office-macro", "has macros", "");
    }
    if matches!(
        within.parent,
        Some(
            Kind::Ooxml
                | Kind::OoxmlMacro
                | Kind::Odf
                | Kind::Zip
                // A document may be one file.
                | Kind::Xml
                | Kind::Text
        )
    ) {
        part(content, budget, said);
    } else if kind == Kind::Xml
        || (matches!(kind, Kind::Html | Kind::Svg | Kind::Text)
            && content.origin != Origin::Body
            && xml::is_document(&content.octets))
    {
        // A document may be one file, too.
        parts::judge(&content.octets, budget, said);
    }
    if within.parent == Some(Kind::Rtf) && is_equation(content, kind) {
        said.say("rtf-object", "is an object of the Equation Editor", "");
    }
    if kind == Kind::Rtf {
        rich::judge(&content.octets, said);
    }
    if matches!(kind, Kind::Text | Kind::Html) && !within.inner {
        let is_letter = content.origin == Origin::Body;
        // Excel reads tables in UTF-16, too, by their mark.
        let is_wide = matches!(*content.octets, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        if is_wide {
            match budget.octets(count(&content.octets)) {
                Ok(()) => cells(xml::decoded(&content.octets).as_bytes(), is_letter, said),
                Err(reached) => said.limit(reached),
            }
        } else {
            cells(&content.octets, is_letter, said);
        }
    }
}

/// Whether an object in rich text is the Equation Editor's: by its name, or as a file by its class, which Word goes by there.
/// Objects of `MathType` are called so, too.
fn is_equation(content: &Content<'_>, kind: Kind) -> bool {
    let is_named = |name: &String| {
        let name = name.as_bytes();
        begins(name, b"equation.") && !begins(name, b"equation.dsmt") && name.ends_with(b" object")
    };
    content.names.iter().any(is_named)
        || (kind == Kind::Ole2 && holds(&content.octets, ole::EQUATION))
}

fn sheet(said: &mut Said<'_>) {
    said.say("office-macro-sheet", "has a sheet of Excel 4 macros", "");
}

/// The text of macros.
fn macros(text: &[u8], said: &mut Said<'_>) {
    let text = text.to_ascii_lowercase();
    // A module that only declares itself is in every document that was ever looked at in the editor.
    let lines = text.split(|octet| matches!(octet, b'\n' | b'\r'));
    let code = lines.map(<[u8]>::trim_ascii).any(|line| {
        !line.is_empty()
            && !line.starts_with(b"attribute ")
            && !line.starts_with(b"option ")
            && !line.starts_with(b"'")
    });
    if !code {
        return;
    }
    let runs = RUNS.iter().find(|name| holds(&text, name.as_bytes()));
    let act = ACTS
        .iter()
        .copied()
        .find(|act| holds(&text, act.as_bytes()));
    let act = act.or_else(|| calls_shell(&text).then_some("shell"));
    let characters = memchr::memmem::find_iter(&text, b"chr(").count()
        + memchr::memmem::find_iter(&text, b"chrw(").count()
        + memchr::memmem::find_iter(&text, b"chr$(").count();
    let act = act.or((characters >= CHARACTERS).then_some("characters by number"));
    if let (Some(runs), Some(act)) = (runs, act) {
        said.say(
            "office-macro-runs",
            "has macros that run by themselves and reach beyond the document",
            format!("{}, {act}", runs.trim_end_matches('(')),
        );
    }
    said.say("office-macro", "has macros", "");
}

/// Whether `Shell` is called, and not something that ends so.
fn calls_shell(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"shell").any(|at| {
        let before = at
            .checked_sub(1)
            .and_then(|before| text.get(before))
            .copied()
            .unwrap_or(b'\n');
        let after = some(text, at.saturating_add(5), 2);
        let apart = matches!(before, b' ' | b'\t' | b'\n' | b'\r' | b'=' | b'(' | b':')
            || some(text, at.saturating_sub(4), 4) == b"vba.";
        apart
            && (after.starts_with(b"(")
                || after.starts_with(b"$(")
                || after == b" \""
                || after == b" ("
                || is_argument(after))
    })
}

fn is_argument(after: &[u8]) -> bool {
    matches!(after, [b' ', letter] if letter.is_ascii_alphabetic())
}

/// A part of a document of today.
fn part(content: &Content<'_>, budget: &mut Budget, said: &mut Said<'_>) {
    let is_sheet = content.names.iter().any(|name| {
        let name = name.to_ascii_lowercase().replace('\\', "/");
        name.starts_with("xl/macrosheets/") && !name.contains("_rels")
    });
    if is_sheet {
        sheet(said);
    }
    if let Some((service, topic)) = binary_link(&content.octets)
        && parts::is_program(&service, &[&topic])
    {
        said.say("office-dde", "starts a program by DDE", "a link");
    }
    parts::judge(&content.octets, budget, said);
}

/// Whom a part of a binary workbook asks by DDE, and for what: it begins with the record that says so (MS-XLSB 2.4.209).
fn binary_link(octets: &[u8]) -> Option<(String, String)> {
    let record = octets.strip_prefix(b"\xe8\x02")?;
    let size = record
        .iter()
        .take(4)
        .take_while(|octet| **octet & 0x80 != 0);
    let body = rest(record, size.count().saturating_add(1));
    if u16le(body, 0)? != 1 {
        return None;
    }
    let text = |at: usize| {
        let length = place(u32le(body, at)?).min(4096).saturating_mul(2);
        let text = some(body, at.checked_add(4)?, length);
        Some((utf16le(text), at.checked_add(4)?.checked_add(length)?))
    };
    let (service, next) = text(2)?;
    Some((service, text(next)?.0))
}

/// Whether Excel is asked for one of its own files (`Book2.xlsx`, `C:\\a\\[Book2.xlsx]Sheet1`), by no path that leads up
/// and out to a program.
fn is_workbook(topic: &[u8]) -> bool {
    let plain = |octet: &u8| {
        octet.is_ascii_alphanumeric() || !octet.is_ascii() || b" ._-:\\[]()+".contains(octet)
    };
    let file = match memchr::memchr(b'[', topic) {
        Some(open) => {
            let inner = rest(topic, open.saturating_add(1));
            some(inner, 0, memchr::memchr(b']', inner).unwrap_or(0))
        }
        None => topic,
    };
    topic.iter().all(plain)
        && !holds(topic, b"..")
        && !topic.starts_with(b"\\")
        && [&b".xls"[..], b".xlsb", b".xlsm", b".xlsx"]
            .iter()
            .any(|end| file.ends_with(end))
}

/// Programs that no document has cause to talk to.
const PROGRAMS: &[&str] = &[
    "cmd",
    "powershell",
    "mshta",
    "rundll32",
    "regsvr32",
    "wscript",
    "cscript",
    "msiexec",
    "certutil",
    "msexcel",
    "bitsadmin",
    "wmic",
    "forfiles",
    "pcalua",
    "schtasks",
    "msbuild",
    "installutil",
    "odbcconf",
    "cmstp",
];

/// Whether a word stands there, and is no piece of another.
pub(super) fn has_word(text: &[u8], word: &[u8]) -> bool {
    let is_letter = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphabetic);
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !is_letter(before) && !is_letter(text.get(at.saturating_add(word.len())))
    })
}

/// Whether a link leads to a document where Microsoft keeps those that people share: tables and charts are linked so.
fn is_shared_document(target: &[u8]) -> bool {
    const HOSTS: [&str; 4] = [
        ".sharepoint.com",
        ".docs.live.net",
        ".onedrive.live.com",
        ".1drv.ms",
    ];
    let target = crate::octets::name(target);
    let Some((host, path)) = target
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    // Browsers see the end of a host in other signs, too.
    if !host
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
    {
        return false;
    }
    let path = path.split(['!', '?', '#']).next().unwrap_or_default();
    HOSTS
        .iter()
        .any(|known| format!(".{host}").ends_with(known))
        && [".xlsx", ".docx", ".pptx"]
            .iter()
            .any(|end| path.ends_with(end))
}

/// Number formats, one a line: between brackets stands a colour, a language, or a comparison with a number.
fn code_format(formats: &[u8], said: &mut Said<'_>) {
    /// Octets of a comparison. Excel takes no format that is longer than 255 letters.
    const LONGEST: usize = 256;
    for at in memchr::memchr_iter(b'[', formats) {
        let from = some(formats, at.saturating_add(1), LONGEST);
        let end = memchr::memchr(b']', from);
        let condition = some(from, 0, end.unwrap_or(from.len()));
        let operand = condition.trim_ascii_start();
        let Some(operand) = operand
            .strip_prefix(b"<".as_slice())
            .or_else(|| operand.strip_prefix(b">"))
            .or_else(|| operand.strip_prefix(b"="))
        else {
            continue;
        };
        let operand = operand
            .strip_prefix(b"=")
            .or_else(|| operand.strip_prefix(b">"))
            .unwrap_or(operand);
        let is_number = operand.trim_ascii().iter().all(|octet| {
            octet.is_ascii_digit()
                || matches!(octet, b'.' | b',' | b'-' | b'+' | b'e' | b'E' | b' ' | b'%')
        });
        let goes_on = end.is_none() && from.len() == LONGEST;
        if !is_number || goes_on {
            said.say(
                "office-code-format",
                "has a number format with code in it",
                shown(&crate::octets::name(some(condition, 0, 60))),
            );
            return;
        }
    }
}

/// The formula of one cell, or more.
fn table(text: &[u8], said: &mut Said<'_>) {
    cells(text, false, said);
}

/// A table in text: a cell that begins as a formula and names a program (`=cmd|'/C calc'!A0`). In a SYLK file, which Excel
/// tells by how it begins, `E` stands before a formula.
fn cells(text: &[u8], is_letter: bool, said: &mut Said<'_>) {
    let is_sylk = begins(text, b"id;");
    let mut cells = Cells::new(text, is_sylk);
    let mut mark = 0;
    for at in memchr::memchr_iter(b'|', text) {
        let behind = at.saturating_add(1);
        let after = some(text, behind, BLANKS_MAX).trim_ascii_start();
        if !after.starts_with(b"'") {
            continue;
        }
        let before = some(text, at.saturating_sub(BLANKS_MAX), at.min(BLANKS_MAX));
        let before = before.to_ascii_lowercase();
        // The name may stand between quotes.
        let shown = before.trim_ascii_end();
        let shown = shown.strip_suffix(b"'").unwrap_or(shown);
        let named = PROGRAMS
            .iter()
            .find_map(|program| Some((program, shown.strip_suffix(program.as_bytes())?)));
        let Some((program, before)) = named else {
            continue;
        };
        let formula = match before {
            [
                ..,
                b'=' | b'+' | b'-' | b'@' | b'(' | b'!' | b'*' | b'/' | b'^' | b'&',
            ] => true,
            [.., b';', b'e'] => is_sylk,
            [.., letter] if letter.is_ascii_alphanumeric() => false,
            // Lists in letters begin with such signs.
            _ => !is_letter && cells.is_formula(at),
        };
        // What it is asked for ends somewhere behind; each octet is looked at once.
        if formula && mark < behind {
            let found = memchr::memchr(b'!', rest(text, behind));
            mark = found.map_or(usize::MAX, |found| behind.saturating_add(found));
        }
        if formula && mark.saturating_sub(behind) <= FORMULA_MAX {
            said.say("office-dde", "starts a program by DDE", *program);
            return;
        }
    }
    // A SYLK file that says of itself that it is a sheet of macros.
    let mut lines = text.split(|octet| matches!(octet, b'\r' | b'\n'));
    let is_macros = |line: &[u8]| {
        let mut fields = line.split(|octet| *octet == b';');
        fields
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case(b"o"))
            && fields.any(|field| field.trim_ascii().eq_ignore_ascii_case(b"e"))
    };
    if is_sylk && lines.any(is_macros) {
        sheet(said);
    }
}

/// So far around the name of a program its formula is looked at.
const BLANKS_MAX: usize = 64;

/// No formula of Excel has more letters.
const FORMULA_MAX: usize = 8192;

/// The cells of a table in text, by whatever they are parted: which sign a program takes depends on its country, and whether
/// it goes by quotes on the program. Everything is looked at once.
struct Cells<'t> {
    text: &'t [u8],
    next: usize,
    ways: [Cell; 6],
    is_sylk: bool,
    /// A field of SYLK with a formula stands in this line.
    in_line: bool,
}

/// The cell one is in, if they are parted by this.
#[derive(Default, Clone, Copy)]
struct Cell {
    separator: u8,
    by_quotes: bool,
    /// Whether it begins as a formula; none: there were only blanks and quotes so far.
    formula: Option<bool>,
    is_quoted: bool,
    /// The quote before ended what was quoted, if no other follows.
    was_quote: bool,
}

impl<'t> Cells<'t> {
    fn new(text: &'t [u8], is_sylk: bool) -> Self {
        let way = |separator, by_quotes| Cell {
            separator,
            by_quotes,
            ..Cell::default()
        };
        Self {
            text,
            next: 0,
            ways: [
                way(b',', false),
                way(b',', true),
                way(b';', false),
                way(b';', true),
                way(b'\t', false),
                way(b'\t', true),
            ],
            is_sylk,
            in_line: false,
        }
    }

    /// Whether the cell that a place lies in begins as a formula. Places come in their order.
    fn is_formula(&mut self, at: usize) -> bool {
        let mut before = b'\n';
        for octet in some(self.text, self.next, at.saturating_sub(self.next)) {
            for way in &mut self.ways {
                way.see(*octet);
            }
            self.in_line = !matches!(octet, b'\r' | b'\n')
                && (self.in_line || (before == b';' && matches!(octet, b'e' | b'E')));
            before = *octet;
        }
        self.next = at;
        if self.is_sylk {
            return self.in_line;
        }
        self.ways.iter().any(|way| way.formula == Some(true))
    }
}

impl Cell {
    fn see(&mut self, octet: u8) {
        if octet == b'"' && self.by_quotes {
            let opens = self.formula.is_none() || self.was_quote;
            self.was_quote = self.is_quoted;
            self.is_quoted = !self.is_quoted && opens;
            return;
        }
        self.was_quote = false;
        if !self.is_quoted && (octet == self.separator || matches!(octet, b'\r' | b'\n')) {
            self.formula = None;
        } else if self.formula.is_none()
            && !octet.is_ascii_whitespace()
            && !matches!(octet, b'"' | 0xef | 0xbb | 0xbf)
        {
            self.formula = Some(matches!(octet, b'=' | b'+' | b'-' | b'@'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_shell_is_told_from_words_that_end_so() {
        for call in [
            "x = shell(\"calc\")",
            "  shell \"calc\", 1",
            "vba.shell(y)",
            "call shell(z)",
            "shell cmd",
        ] {
            assert!(calls_shell(call.as_bytes()), "{call}");
        }
        for other in ["nutshell(", "'a shell", "shellsort(a)", "wscript.shell"] {
            assert!(!calls_shell(other.as_bytes()), "{other}");
        }
    }
}
