//! The headers of a message or part, by every place where they may end.
//!
//! Entry: [`heads`]. Readers disagree where headers end when a line in them is no header, or is made of blanks, or
//! when the part begins with an empty line. Each plausible end gives a [`Head`].

use std::borrow::Cow;

use super::lines::{Line, Lines, is_blank, trim};

/// A header field that says what a part is.
#[derive(Debug, Clone)]
pub(super) struct Field<'m> {
    /// Its value, with its line ends.
    pub(super) value: &'m [u8],
    /// Every reader takes it for a field of this name.
    pub(super) certain: bool,
}

/// Headers, as one reader sees them.
#[derive(Debug, Clone, Default)]
pub(super) struct Head<'m> {
    /// `Content-Type`
    pub(super) types: Vec<Field<'m>>,
    /// `Content-Transfer-Encoding`
    pub(super) encodings: Vec<Field<'m>>,
    /// `X-Content-Transfer-Encoding` and the like, which few readers take for the former.
    pub(super) rare_encodings: Vec<Field<'m>>,
    /// `Content-Disposition`
    pub(super) dispositions: Vec<Field<'m>>,
    /// Their octets.
    pub(super) block: &'m [u8],
    /// What follows them.
    pub(super) body: &'m [u8],
    /// Why they may end here, when other readers see another end.
    pub(super) why: Option<&'static str>,
    /// There is more of them than is followed.
    pub(super) cut_off: bool,
}

/// Which field a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Type,
    Encoding,
    RareEncoding,
    Disposition,
    Other,
}

/// What a line of headers is.
enum Role<'m> {
    Continuation,
    /// A field; `true`: every reader takes it for one of this name.
    Field(Named, &'m [u8], bool),
    /// Not a header at all.
    Foreign,
}

/// More lines than this no header block is read.
const MAX_LINES: usize = 20_000;

/// More fields of one kind that say different things are not followed.
const MAX_FIELDS: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Collected {
    named: Named,
    start: usize,
    end: usize,
    certain: bool,
}

/// Every way to tell headers from body; the usual one first. `whole`: a message, which a mailbox may have put a line
/// `From ` before; before the headers of a part none belongs.
pub(super) fn heads(octets: &[u8], whole: bool) -> Vec<Head<'_>> {
    let mut found: Vec<Collected> = Vec::new();
    // Other ends: how many fields lie before, where the body begins, and why.
    let mut ends: Vec<(usize, usize, usize, &'static str)> = Vec::new();
    let mut end = (octets.len(), octets.len());
    let mut first = true;
    let mut saw_field = false;
    let mut open = false;
    let mut cut_off = false;
    for (index, line) in Lines::new(octets).enumerate() {
        if line.text.is_empty() || index >= MAX_LINES {
            cut_off = !line.text.is_empty();
            end = (line.start, line.next);
            break;
        }
        if line.text.iter().copied().all(is_blank) {
            note(&mut ends, found.len(), line.start, line.next, BLANKS);
            extend(&mut found, open, line.next);
            continue;
        }
        match role(line.text, first) {
            Role::Continuation => {
                if !saw_field {
                    note(&mut ends, found.len(), line.start, line.start, LEADING);
                }
                extend(&mut found, open, line.next);
                // Some readers take blanks off before they look.
                if let Role::Field(named, value, _) = role(trim(line.text), false)
                    && named != Named::Other
                    && speaks(named, value)
                {
                    let start = line.start + offset(line, value);
                    found.push(Collected {
                        named,
                        start,
                        end: line.next,
                        certain: false,
                    });
                    open = true;
                }
            }
            Role::Field(named, value, certain) => {
                saw_field = true;
                open = named != Named::Other;
                if open {
                    found.push(Collected {
                        named,
                        start: line.start + offset(line, value),
                        end: line.next,
                        certain,
                    });
                }
            }
            Role::Foreign => {
                open = false;
                if !(whole && first && is_envelope(line.text)) {
                    note(&mut ends, found.len(), line.start, line.start, FOREIGN);
                }
            }
        }
        first = false;
    }
    let mut heads = vec![head(octets, &found, end, None)];
    if let Some(usual) = heads.first_mut() {
        usual.cut_off |= cut_off;
    }
    for (fields, block, body, why) in ends {
        if let Some(fields) = found.get(..fields) {
            heads.push(head(octets, fields, (block, body), Some(why)));
        }
    }
    if end.0 == 0 && end.1 < octets.len() {
        // An empty line before any header: some readers pass over it.
        let mut rest = octets;
        while let Some(line) = Lines::new(rest).next()
            && line.text.iter().copied().all(is_blank)
        {
            rest = rest.get(line.next..).unwrap_or_default();
        }
        if let Some(line) = Lines::new(rest).next()
            && let Role::Field(..) = role(line.text, false)
        {
            let mut late = single(rest);
            if !late.types.is_empty() || !late.encodings.is_empty() {
                late.why = Some(LATE);
                heads.push(late);
            }
        }
    }
    heads
}

/// The usual reading alone.
pub(super) fn single(octets: &[u8]) -> Head<'_> {
    let mut found = Vec::new();
    let mut end = (octets.len(), octets.len());
    let mut open = false;
    for (index, line) in Lines::new(octets).enumerate() {
        if line.text.is_empty() || index >= MAX_LINES {
            end = (line.start, line.next);
            break;
        }
        match role(line.text, false) {
            Role::Continuation => extend(&mut found, open, line.next),
            Role::Field(named, value, certain) => {
                open = named != Named::Other;
                if open {
                    found.push(Collected {
                        named,
                        start: line.start + offset(line, value),
                        end: line.next,
                        certain,
                    });
                }
            }
            Role::Foreign => open = false,
        }
    }
    head(octets, &found, end, None)
}

const BLANKS: &str = "a line of blanks among the headers";
const LEADING: &str = "headers begin with a continuation line";
const FOREIGN: &str = "a line among the headers is no header";
const LATE: &str = "an empty line before the headers";

fn note(
    ends: &mut Vec<(usize, usize, usize, &'static str)>,
    fields: usize,
    block: usize,
    body: usize,
    why: &'static str,
) {
    // One of each kind is enough: what comes behind the first is in its body.
    if !ends.iter().any(|(.., other)| *other == why) {
        ends.push((fields, block, body, why));
    }
}

fn extend(found: &mut [Collected], open: bool, end: usize) {
    if open && let Some(last) = found.last_mut() {
        last.end = end;
    }
}

/// Where a part of a line's text begins in it.
fn offset(line: Line<'_>, value: &[u8]) -> usize {
    (value.as_ptr() as usize).saturating_sub(line.text.as_ptr() as usize)
}

fn head<'m>(
    octets: &'m [u8],
    found: &[Collected],
    (block, body): (usize, usize),
    why: Option<&'static str>,
) -> Head<'m> {
    let mut head = Head {
        block: octets.get(..block).unwrap_or_default(),
        body: octets.get(body..).unwrap_or_default(),
        why,
        ..Head::default()
    };
    for field in found {
        let value = octets
            .get(field.start..field.end.min(block))
            .unwrap_or_default();
        let list = match field.named {
            Named::Type => &mut head.types,
            Named::Encoding => &mut head.encodings,
            Named::RareEncoding => &mut head.rare_encodings,
            Named::Disposition => &mut head.dispositions,
            Named::Other => continue,
        };
        // The same once more is no other reading.
        if let Some(same) = list
            .iter_mut()
            .find(|other| trim(other.value) == trim(value))
        {
            same.certain |= field.certain;
        } else if list.len() >= MAX_FIELDS {
            head.cut_off = true;
        } else {
            list.push(Field {
                value,
                certain: field.certain,
            });
        }
    }
    head
}

fn role(text: &[u8], first: bool) -> Role<'_> {
    match text.first() {
        None => return Role::Foreign,
        Some(octet) if is_blank(*octet) => return Role::Continuation,
        _ => {}
    }
    if first && is_envelope(text) {
        return Role::Foreign;
    }
    let Some(colon) = memchr::memchr(b':', text) else {
        return Role::Foreign;
    };
    let (name, value) = text.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    if name.is_empty() || name.starts_with(b"--") {
        return Role::Foreign;
    }
    if is_rare_encoding(name) {
        return Role::Field(Named::RareEncoding, value, true);
    }
    if !matches!(name.first(), Some(b'c' | b'C')) && name.iter().all(u8::is_ascii_graphic) {
        return Role::Field(Named::Other, value, true);
    }
    let exact = named(name);
    if exact != Named::Other {
        return Role::Field(exact, value, true);
    }
    if name.iter().all(u8::is_ascii_graphic) {
        return Role::Field(Named::Other, value, true);
    }
    // A blank before the colon, or octets in the name that some readers pass over.
    let plain: Vec<u8> = name.iter().copied().filter(u8::is_ascii_graphic).collect();
    let loosely = named(&plain);
    if loosely != Named::Other {
        return Role::Field(loosely, value, false);
    }
    let words = trim(name);
    if words.iter().all(u8::is_ascii_graphic) {
        return Role::Field(Named::Other, value, true);
    }
    Role::Foreign
}

fn named(name: &[u8]) -> Named {
    if name.eq_ignore_ascii_case(b"content-type") {
        Named::Type
    } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
        Named::Encoding
    } else if name.eq_ignore_ascii_case(b"content-disposition") {
        Named::Disposition
    } else {
        Named::Other
    }
}

/// The name with a sign or two before or behind it.
fn is_rare_encoding(name: &[u8]) -> bool {
    const NAME: &[u8] = b"content-transfer-encoding";
    let odd = name.len().checked_sub(NAME.len());
    matches!(odd, Some(1 | 2))
        && (name.get(..NAME.len()).into_iter())
            .chain(name.get(odd.unwrap_or_default()..))
            .any(|name| name.eq_ignore_ascii_case(NAME))
        && name.iter().all(u8::is_ascii_graphic)
}

/// Whether a value says something, so that a continuation line may be taken for a field.
fn speaks(named: Named, value: &[u8]) -> bool {
    let value = trim(value).to_ascii_lowercase();
    match named {
        Named::Type => [
            &b"multipart"[..],
            b"message",
            b"application",
            b"text",
            b"image",
            b"audio",
            b"video",
        ]
        .iter()
        .any(|kind| value.starts_with(kind)),
        Named::Encoding => [&b"base64"[..], b"quoted-printable", b"x-uu", b"uu"]
            .iter()
            .any(|kind| value.starts_with(kind)),
        Named::Disposition => value.starts_with(b"attachment") || value.starts_with(b"inline"),
        Named::RareEncoding | Named::Other => false,
    }
}

/// The line that separates messages in a mailbox file.
fn is_envelope(text: &[u8]) -> bool {
    text.starts_with(b"From ") || text.starts_with(b">From ")
}

/// A value without its folds: `joined` also drops the blanks that a fold begins with.
pub(super) fn unfold(value: &[u8], joined: bool) -> Cow<'_, [u8]> {
    if !value.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
        return Cow::Borrowed(trim(value));
    }
    let mut out = Vec::with_capacity(value.len());
    for line in Lines::new(trim(value)) {
        let text = if joined && !out.is_empty() {
            super::lines::trim_start(line.text)
        } else {
            line.text
        };
        out.extend(text.iter().copied().filter(|octet| *octet != b'\r'));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(octets: &[u8]) -> Vec<Vec<u8>> {
        heads(octets, true)
            .iter()
            .map(|head| head.body.to_vec())
            .collect()
    }

    #[test]
    fn plain_headers_have_one_reading() {
        let octets = b"Content-Type: text/plain;\r\n charset=utf-8\r\nX: y\r\n\r\nbody\r\n";
        let heads = heads(octets, true);
        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].body, b"body\r\n");
        assert_eq!(
            unfold(heads[0].types[0].value, false).as_ref(),
            b"text/plain; charset=utf-8"
        );
        assert!(heads[0].types[0].certain);
    }

    #[test]
    fn a_line_of_blanks_may_end_the_headers() {
        assert_eq!(
            bodies(b"A: b\r\n  \r\nC: d\r\n\r\nbody"),
            [b"body".to_vec(), b"C: d\r\n\r\nbody".to_vec()]
        );
    }

    #[test]
    fn a_line_without_a_colon_may_begin_the_body() {
        assert_eq!(
            bodies(b"A: b\n--x\nContent-Type: text/plain\n\nbody"),
            [
                b"body".to_vec(),
                b"--x\nContent-Type: text/plain\n\nbody".to_vec()
            ]
        );
    }

    #[test]
    fn a_blank_before_the_colon_is_not_certain() {
        let heads = heads(b"Content-Type : text/html\r\n\r\n", true);
        assert!(!heads[0].types[0].certain);
    }

    #[test]
    fn an_empty_line_before_the_headers_is_read_over() {
        assert_eq!(
            bodies(b"\r\nContent-Type: text/html\r\n\r\nx"),
            [b"Content-Type: text/html\r\n\r\nx".to_vec(), b"x".to_vec()]
        );
    }
}
