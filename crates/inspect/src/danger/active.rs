//! What pages, drawings, PDF documents, calendars and wrappings do when they are shown.

use std::borrow::Cow;

use memchr::memmem;

use super::{Said, Within, shown};
use crate::kind::{Class, Kind};
use crate::octets::{begins, holds, rest, some};
use crate::unpack::{PDF_OBJECTS, REMINDER};
use crate::{Content, Origin};

pub(super) fn judge(content: &Content<'_>, kind: Kind, within: Within, said: &mut Said<'_>) {
    let octets = &content.octets;
    let declared = |name: &str| content.types.iter().any(|declared| declared == name);
    if declared(REMINDER) && server(octets) {
        said.say(
            "reminder-unc",
            "plays a sound from a server",
            shown(&crate::octets::name(some(octets, 0, 80))),
        );
    }
    if kind == Kind::Pdf || declared(PDF_OBJECTS) {
        pdf(octets, said);
    }
    if kind == Kind::Calendar {
        calendar(octets, said);
    }
    let page = matches!(kind, Kind::Html | Kind::Svg);
    let attached = content.origin != Origin::Body && !within.inner;
    if page && attached {
        let lower = octets.to_ascii_lowercase();
        if kind == Kind::Svg
            && (holds(&lower, b"<script")
                || holds(&lower, b"javascript:")
                || handler(&lower, false).is_some())
        {
            said.say("svg-script", "is a drawing with a script", "");
        }
        if kind == Kind::Html && holds(&lower, b"<script") {
            said.say("html-attachment-script", "is a page with a script", "");
        }
    }
    // Links carry their data packed: what one packed file holds is judged by itself.
    if within.handed_out
        && matches!(kind.class(), Class::Archive | Class::Disk | Class::Shortcut)
        && !kind.is_packed_data()
    {
        said.say(
            "html-smuggling",
            &format!("is {} within a page, which hands it out", kind.title()),
            kind.name(),
        );
    }
    if page
        || matches!(
            kind,
            Kind::Rtf | Kind::Calendar | Kind::UrlShortcut | Kind::ShellFile
        )
    {
        links(octets, said);
    }
}

/// Links that lead Windows to a server.
fn links(octets: &[u8], said: &mut Said<'_>) {
    let lower = octets.to_ascii_lowercase();
    let mut beyond = 0;
    for at in memmem::find_iter(&lower, b"file:") {
        if at < beyond {
            continue;
        }
        let link = some(&lower, at, 1024);
        let end = link
            .iter()
            .position(|octet| matches!(octet, b'"' | b'\'' | b'>' | b'<' | b' ' | b'\r' | b'\n'))
            .unwrap_or(link.len());
        beyond = at + end;
        let link = decoded(some(link, 0, end));
        let path = rest(&link, 5);
        let slashes = path
            .iter()
            .take_while(|octet| matches!(octet, b'/' | b'\\'))
            .count();
        // Three slashes and a drive, or one: a file here. Two and a name, or four: one on a server.
        let local = slashes == 3
            && rest(path, slashes)
                .get(1)
                .is_some_and(|octet| matches!(octet, b':' | b'|'));
        let on_server =
            slashes >= 2 && !local && (slashes != 3 || holds(some(path, 0, slashes), b"\\"));
        if on_server && has_moniker(path) {
            said.say(
                "moniker-link",
                "has a link to a file on a server with `!` behind it",
                shown(&crate::octets::name(some(&link, 0, 80))),
            );
            break;
        }
    }
    let mut beyond = 0;
    for at in memmem::find_iter(&lower, b"search-ms:") {
        if at < beyond {
            continue;
        }
        beyond = at + 512;
        let query = decoded(some(&lower, at, 1024));
        if holds(&query, b"location:\\\\")
            || holds(&query, b"subquery=\\\\")
            || holds(&query, b"location:%5c%5c")
            || holds(&query, b"location://")
        {
            said.say(
                "ntlm-leak",
                "has a link that searches a stranger's server",
                "search-ms:",
            );
            break;
        }
    }
    if holds(&lower, b"wpa:////") || holds(&lower, b"wpa://\\\\") {
        said.say(
            "ntlm-leak",
            "has a link that logs on to a stranger's server",
            "wpa:",
        );
    }
}

/// Whether `!` stands behind the name of a file; people begin names of folders with it, to have them first.
fn has_moniker(path: &[u8]) -> bool {
    memchr::memchr_iter(b'!', path).any(|at| {
        let before = at.checked_sub(1).and_then(|before| path.get(before));
        !before.is_none_or(|before| matches!(before, b'/' | b'\\' | b'!'))
    })
}

/// Percent signs and entities taken out, so far as links have them.
fn decoded(link: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(link.len());
    let mut at = 0;
    while let Some(octet) = link.get(at) {
        let pair = some(link, at + 1, 2);
        if *octet == b'%'
            && let Ok(digits) = std::str::from_utf8(pair)
            && let Ok(value) = u8::from_str_radix(digits, 16)
        {
            plain.push(value.to_ascii_lowercase());
            at += 3;
        } else if some(link, at, 5) == b"&#33;" {
            plain.push(b'!');
            at += 5;
        } else if some(link, at, 6) == b"&#x21;" {
            plain.push(b'!');
            at += 6;
        } else {
            plain.push(*octet);
            at += 1;
        }
    }
    plain
}

/// Whether a path leads to a server.
fn server(path: &[u8]) -> bool {
    let path = path.trim_ascii();
    path.starts_with(b"\\\\")
        || path.starts_with(b"//")
        || begins(path, b"file://") && !begins(path, b"file:///")
}

/// What a PDF does when it is opened. Names may be written with `#` and numbers.
fn pdf(octets: &[u8], said: &mut Said<'_>) {
    let plain = names_decoded(octets);
    let follows = |name: &[u8]| {
        memmem::find_iter(&plain, name).any(|at| {
            let next = plain.get(at + name.len());
            next.is_none_or(|next| !next.is_ascii_alphanumeric())
        })
    };
    // More links to files than these are not looked at.
    let mut left = 16_usize;
    let launches = memmem::find_iter(&plain, b"/Launch").any(|at| {
        // As an action's type, not as a name of somebody's own.
        let before = some(&plain, at.saturating_sub(16), at.min(16)).trim_ascii_end();
        before.ends_with(b"/S") && {
            left = left.saturating_sub(1);
            left == 0 || !opens_document(&plain, at)
        }
    });
    if launches {
        said.say("pdf-launch", "starts a program", "/Launch");
    }
    if follows(b"/JavaScript") || follows(b"/JS") {
        said.say("pdf-script", "has a script", "/JavaScript");
    }
}

/// Whether an action that launches opens a table, a text or a film that lies beside the PDF, as links to such do (ISO
/// 32000-1 section 12.6.4.5): each of its texts names one, none of them on a server, and nothing else says what is
/// opened. What is not written as plainly as programs write it is no such link.
fn opens_document(plain: &[u8], at: usize) -> bool {
    const ENDS: [&[u8]; 14] = [
        b".xlsx", b".docx", b".pptx", b".odt", b".ods", b".odp", b".pdf", b".csv", b".mp4",
        b".avi", b".mov", b".mp3", b".wav", b".txt",
    ];
    let Some(action) = dictionary(plain, at) else {
        return false;
    };
    // A comment, an escape: what stands where is not known without reading them.
    let is_plain = !action.iter().any(|octet| matches!(octet, b'%' | b'\\'));
    let gives_program = [&b"/Win"[..], b"/Mac", b"/Unix", b"/DOS"]
        .iter()
        .any(|word| holds(action, word));
    // What is opened must stand there itself.
    let mut files = memmem::find_iter(action, b"/F")
        .chain(memmem::find_iter(action, b"/UF").map(|at| at + 1))
        .map(|at| rest(action, at + 2))
        .filter(|value| !value.first().is_some_and(u8::is_ascii_alphanumeric))
        .peekable();
    let is_named = files.peek().is_some();
    let is_elsewhere = files.any(|value| {
        let value = value.trim_ascii_start();
        !value.starts_with(b"(") && !value.starts_with(b"<<")
    });
    if !is_plain || gives_program || !is_named || is_elsewhere {
        return false;
    }
    let mut texts = action.split(|octet| *octet == b'(');
    let mut names = 0;
    let closed = texts.next().is_some_and(|head| !holds(head, b")"));
    let all = texts.all(|text| {
        names += 1;
        let Some(end) = memchr::memchr(b')', text) else {
            return false;
        };
        let name: Vec<u8> = some(text, 0, end)
            .iter()
            .copied()
            .filter(|octet| *octet != 0)
            .collect();
        let lower = name.to_ascii_lowercase();
        ENDS.iter().any(|end| lower.ends_with(end))
            && !server(&lower)
            && !lower.contains(&b':')
            && !holds(rest(text, end.saturating_add(1)), b")")
    });
    closed && all && names > 0
}

/// The dictionary around a place, if it is short and has no texts in hexadecimal digits.
fn dictionary(plain: &[u8], at: usize) -> Option<&[u8]> {
    const AROUND: usize = 1024;
    let begin = at.saturating_sub(AROUND);
    let head = some(plain, begin, at.saturating_sub(begin));
    let tail = some(plain, at, AROUND);
    let mut open = 0_usize;
    let mut end = head.len();
    let begin = loop {
        let found = memchr::memrchr2(b'<', b'>', some(head, 0, end))?;
        end = found.checked_sub(1)?;
        match some(head, end, 2) {
            b">>" => open = open.saturating_add(1),
            b"<<" if open == 0 => break begin.saturating_add(end),
            b"<<" => open = open.saturating_sub(1),
            _ => return None,
        }
    };
    let mut open = 0_usize;
    let mut from = 0;
    loop {
        let found = memchr::memchr2(b'<', b'>', rest(tail, from))?;
        let found = from.saturating_add(found);
        from = found.saturating_add(2);
        match some(tail, found, 2) {
            b"<<" => open = open.saturating_add(1),
            b">>" if open == 0 => {
                let end = at.saturating_add(from);
                return Some(some(plain, begin, end.saturating_sub(begin)));
            }
            b">>" => open = open.saturating_sub(1),
            _ => return None,
        }
    }
}

fn names_decoded(octets: &[u8]) -> Cow<'_, [u8]> {
    if !holds(octets, b"#") {
        return Cow::Borrowed(octets);
    }
    let mut plain = Vec::with_capacity(octets.len());
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        if *octet == b'#'
            && let Ok(digits) = std::str::from_utf8(some(octets, at + 1, 2))
            && digits.len() == 2
            && let Ok(value) = u8::from_str_radix(digits, 16)
            && value.is_ascii_alphanumeric()
        {
            plain.push(value);
            at += 3;
        } else {
            plain.push(*octet);
            at += 1;
        }
    }
    Cow::Owned(plain)
}

/// Appointments.
fn calendar(octets: &[u8], said: &mut Said<'_>) {
    let mut properties = 0;
    let mut alarms = 0_usize;
    for line in unfolded(octets) {
        let (property, value) = property(&line);
        if value.trim_ascii().eq_ignore_ascii_case(b"valarm") {
            if property.eq_ignore_ascii_case(b"begin") {
                alarms = alarms.saturating_add(1);
            } else if property.eq_ignore_ascii_case(b"end") {
                alarms = alarms.saturating_sub(1);
            }
        }
        // Each of two events may have it once, and so came the attack: a short list, and a long one in the next event.
        if begins(&line, b"x-microsoft-cdo-modprops") {
            properties += 1;
        }
        if begins(&line, b"organizer") && line.len() > 2000 {
            said.say(
                "calendar-organizer",
                "has an organizer of over 2,000 octets",
                line.len().to_string(),
            );
        }
        if begins(&line, b"attach") && server(value) && (alarms > 0 || !is_document(value)) {
            said.say("reminder-unc", "plays a sound from a server", "ATTACH");
        }
        let lower = line.to_ascii_lowercase();
        if has_script(&lower) {
            said.say("calendar-active", "has a script in its text", "<script");
        } else if let Some(handler) = handler(&lower, !is_page(&lower)) {
            said.say("calendar-active", "has a script in its text", handler);
        }
    }
    if properties > 1 {
        said.say(
            "calendar-modprops",
            "lists changed properties more than once",
            "",
        );
    }
}

/// The name and the value of a property; parameters between may hold colons in quotes (RFC 5545 section 3.1).
fn property(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr2(b':', b';', line).unwrap_or(line.len());
    let mut is_quoted = false;
    let colon = line.iter().position(|octet| {
        is_quoted ^= *octet == b'"';
        *octet == b':' && !is_quoted
    });
    // What is never closed quotes nothing.
    let colon = colon.or_else(|| memchr::memchr(b':', line));
    let value = colon.map_or(&[][..], |colon| rest(line, colon.saturating_add(1)));
    (some(line, 0, end), value)
}

/// Whether a file is one that people attach to an appointment and read.
fn is_document(path: &[u8]) -> bool {
    const ENDS: [&[u8]; 12] = [
        b".csv", b".doc", b".docx", b".odp", b".ods", b".odt", b".pdf", b".ppt", b".pptx", b".txt",
        b".xls", b".xlsx",
    ];
    let lower = path.trim_ascii().to_ascii_lowercase();
    ENDS.iter().any(|end| lower.ends_with(end))
}

/// Whether a property says that it is a page; in small letters.
fn is_page(line: &[u8]) -> bool {
    let head = some(line, 0, memchr::memchr(b':', line).unwrap_or(line.len()));
    line.starts_with(b"x-alt-desc") || holds(head, b"fmttype")
}

/// Whether a property, in small letters, has a script. Some clients show any of them as a page (CVE-2026-8496): only
/// the bare word, and words without any that a script could consist of, are a text about scripts.
fn has_script(line: &[u8]) -> bool {
    let word = |octet: &u8| {
        octet.is_ascii_alphanumeric() || !octet.is_ascii() || b" .,:!?-'\"\\".contains(octet)
    };
    memmem::find_iter(line, b"<script").any(|at| {
        let behind = rest(line, at.saturating_add(7));
        is_page(line)
            || !behind
                .strip_prefix(b">")
                .is_some_and(|text| text.iter().all(word))
    })
}

/// Lines, with those that were folded joined (RFC 5545 section 3.1).
fn unfolded(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in octets.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.split_first(), lines.last_mut()) {
            (Some((b' ' | b'\t', more)), Some(last)) => last.extend_from_slice(more),
            _ => lines.push(line.to_vec()),
        }
    }
    lines
}

/// An attribute of a tag that runs a script (`onload=`), in small letters; or that there are more tags than are looked into.
/// In a text, sources that only name a function (`<Button onClick={save}>`) are none.
fn handler(lower: &[u8], in_text: bool) -> Option<String> {
    // Tags may begin within tags. No page has so many that this is not enough; what lies behind them is not known.
    let mut left = lower.len().saturating_mul(8).saturating_add(1 << 20);
    for at in memchr::memchr_iter(b'<', lower) {
        let tag = some(lower, at + 1, 2048);
        if !tag.first().is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        let end = memchr::memchr(b'>', tag);
        let whole = end.is_some();
        let tag = some(tag, 0, end.unwrap_or(tag.len()));
        left = match left.checked_sub(tag.len()) {
            Some(left) => left,
            None => return Some("more tags within tags than are looked into".to_owned()),
        };
        for found in memmem::find_iter(tag, b"on") {
            let before = found.checked_sub(1).and_then(|before| tag.get(before));
            if !before.is_some_and(|before| {
                before.is_ascii_whitespace() || matches!(before, b'/' | b'"' | b'\'')
            }) {
                continue;
            }
            let name = rest(tag, found);
            let length = name
                .iter()
                .position(|octet| !octet.is_ascii_alphabetic())
                .unwrap_or(name.len());
            let value = rest(name, length).trim_ascii_start();
            if (4..=24).contains(&length)
                && value.starts_with(b"=")
                && !(in_text && whole && is_named(rest(value, 1)))
            {
                return Some(String::from_utf8_lossy(some(name, 0, length)).into_owned());
            }
        }
    }
    None
}

/// Whether a value is a name in braces and nothing else, up to a blank or the end of its tag: as a script, it does nothing.
fn is_named(value: &[u8]) -> bool {
    let Some(name) = value.strip_prefix(b"{") else {
        return false;
    };
    let length = name
        .iter()
        .take_while(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_'))
        .count();
    let behind = rest(name, length).strip_prefix(b"}");
    length > 0
        && behind.is_some_and(|behind| {
            matches!(behind, [] | b"/") || behind.first().is_some_and(u8::is_ascii_whitespace)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_told_from_words() {
        assert_eq!(
            handler(b"<img src=x onerror=alert(1)>", false).as_deref(),
            Some("onerror")
        );
        assert_eq!(
            handler(b"<svg/onload=alert(1)>", true).as_deref(),
            Some("onload")
        );
        for honest in [
            &b"<p>once = twice</p>"[..],
            b"<a href=\"?on=1\">",
            b"a < b on x = 1",
            b"<td version=1>",
        ] {
            assert_eq!(handler(honest, false), None);
        }
    }

    #[test]
    fn what_stands_behind_more_tags_than_are_looked_into_does_not_pass_for_plain() {
        let padded = format!("{}<svg onload=a()>", "<a ".repeat(40_000));
        assert!(handler(padded.as_bytes(), true).is_some());
    }

    #[test]
    fn names_in_a_pdf_are_read_through_their_numbers() {
        assert_eq!(&*names_decoded(b"/L#61unch #"), b"/Launch #");
    }
}
