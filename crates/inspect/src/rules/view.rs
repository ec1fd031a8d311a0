//! What conditions look at: commands, header blocks and calendars taken apart.
//!
//! Reads leniently: whatever a server behind might take for an address, a field or a parameter is one here. Linear in
//! what it is shown.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A command line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandView<'a> {
    pub(super) verb: String,
    pub(super) argument: &'a [u8],
    /// Of MAIL and RCPT: without angle brackets.
    pub(super) path: Option<&'a [u8]>,
    /// Before the last `@` outside quotes, without a source route; all of it where there is none.
    pub(super) local: &'a [u8],
    /// Names in small letters.
    pub(super) parameters: Vec<(String, &'a [u8])>,
}

impl<'a> CommandView<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        let line = line.trim_ascii_end();
        let (verb, argument) = cut(line, b' ');
        let argument = argument.unwrap_or_default().trim_ascii_start();
        let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
        let keyword: &[u8] = match verb.as_str() {
            "MAIL" => b"from:",
            "RCPT" => b"to:",
            _ => b"",
        };
        let mut view = Self {
            verb,
            argument,
            ..Self::default()
        };
        if keyword.is_empty() {
            return view;
        }
        let rest = match argument.split_at_checked(keyword.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(keyword) => rest.trim_ascii_start(),
            _ => return view,
        };
        let (path, rest) = if let Some(inner) = rest.strip_prefix(b"<") {
            match outside_quotes(inner, b'>') {
                Some(end) => (
                    inner.get(..end).unwrap_or_default(),
                    inner.get(end + 1..).unwrap_or_default(),
                ),
                None => (inner, &b""[..]),
            }
        } else {
            let (path, rest) = cut(rest, b' ');
            (path, rest.unwrap_or_default())
        };
        view.path = Some(path);
        view.local = local_part(path);
        view.parameters = rest
            .split(|octet| *octet == b' ' || *octet == b'\t')
            .filter(|word| !word.is_empty())
            .map(|word| {
                let (name, value) = cut(word, b'=');
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                (name, value.unwrap_or_default())
            })
            .collect();
        view
    }
}

fn local_part(path: &[u8]) -> &[u8] {
    let path = match path.first() {
        Some(b'@') => cut(path, b':').1.unwrap_or(path),
        _ => path,
    };
    let mut quoted = false;
    let mut escaped = false;
    let mut at = None;
    for (place, octet) in path.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'@' if !quoted => at = Some(place),
            _ => {}
        }
    }
    path.get(..at.unwrap_or(path.len())).unwrap_or_default()
}

/// Where an octet stands first outside of quoted strings. Where a quote does not end, it is none.
fn outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (place, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            octet if *octet == wanted && !quoted => return Some(place),
            _ => {}
        }
    }
    if quoted {
        return text.iter().rposition(|octet| *octet == wanted);
    }
    None
}

fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(place) => (
            text.get(..place).unwrap_or_default(),
            Some(text.get(place + 1..).unwrap_or_default()),
        ),
        None => (text, None),
    }
}

/// Shows each field of a header block: its name in small letters, and its value without line ends.
pub(super) fn fields(block: &[u8], mut show: impl FnMut(&str, &[u8])) {
    let mut name = String::new();
    let mut value: Vec<u8> = Vec::new();
    let mut open = false;
    for line in block.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line.first(), Some(b' ' | b'\t')) {
            value.extend_from_slice(line);
            continue;
        }
        if open {
            show(&name, value.trim_ascii());
        }
        let (before, after) = cut(line, b':');
        open = after.is_some();
        name = String::from_utf8_lossy(before.trim_ascii()).to_ascii_lowercase();
        value.clear();
        value.extend_from_slice(after.unwrap_or_default());
    }
    if open {
        show(&name, value.trim_ascii());
    }
}

/// The addresses of a field: between commas, without comments and quoted strings. Where one of those does not end,
/// nothing is taken out: a server might read it either way. What has neither is shown as it is written, on which
/// `Compiled::looks_at_addresses` relies. A comma within angle brackets is one of a route, and a semicolon there that of an
/// empty group, as some programs write it.
pub(super) fn addresses(value: &[u8], mut show: impl FnMut(&[u8])) {
    let Some(bare) = without_comments(value) else {
        value.split(|octet| *octet == b',').for_each(show);
        return;
    };
    let mut bracketed = false;
    let ends = |octet: &u8| {
        match octet {
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ => {}
        }
        matches!(octet, b',' | b';') && !bracketed
    };
    for address in bare.split(ends) {
        show(address.trim_ascii());
    }
}

fn without_comments(value: &[u8]) -> Option<Vec<u8>> {
    let mut bare = Vec::with_capacity(value.len());
    let mut depth: usize = 0;
    let mut quoted = false;
    let mut escaped = false;
    for octet in value {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            octet => bare.push(*octet),
        }
    }
    (depth == 0 && !quoted).then_some(bare)
}

/// The tags of a list (RFC 6376 section 3.2) that anybody wants: names in small letters, values without white space.
pub(super) fn tags(value: &[u8], wanted: impl Fn(&str) -> bool, mut show: impl FnMut(&str, &[u8])) {
    for tag in value.split(|octet| *octet == b';') {
        if let (name, Some(value)) = cut(tag, b'=') {
            let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
            if !wanted(&name) {
                continue;
            }
            let value: Vec<u8> = value
                .iter()
                .copied()
                .filter(|octet| !octet.is_ascii_whitespace())
                .collect();
            show(&name, &value);
        }
    }
}

/// The parameters of a field (RFC 2045 section 5.1): names in small letters, values without quotes.
pub(super) fn parameters(value: &[u8], mut show: impl FnMut(&str, &[u8])) {
    let mut rest = value;
    let mut first = true;
    loop {
        let end = outside_quotes(rest, b';').unwrap_or(rest.len());
        let one = rest.get(..end).unwrap_or_default();
        if !std::mem::take(&mut first)
            && let (name, Some(value)) = cut(one, b'=')
        {
            let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
            let value = value.trim_ascii();
            let inner = value.strip_prefix(b"\"").unwrap_or(value);
            show(&name, inner.strip_suffix(b"\"").unwrap_or(inner));
        }
        match rest.get(end + 1..) {
            // A quote that does not end may make one step look at all that follows: as many as there are limits it.
            Some(more) if !more.is_empty() => rest = more,
            _ => return,
        }
    }
}

/// The lines of a calendar, unfolded (RFC 5545 section 3.1): a property's name in small letters, and what follows it.
pub(super) fn calendar_lines(octets: &[u8], mut show: impl FnMut(&str, &[u8])) {
    let mut line: Vec<u8> = Vec::new();
    let mut tell = |line: &[u8]| {
        let end = line
            .iter()
            .position(|octet| matches!(octet, b':' | b';'))
            .unwrap_or(line.len());
        let (name, rest) = line.split_at_checked(end).unwrap_or((line, b""));
        // A vCard groups its properties: `item1.EMAIL`.
        let name = name.rsplit(|octet| *octet == b'.').next().unwrap_or(name);
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        show(&name, rest.get(1..).unwrap_or_default());
    };
    for piece in octets.split(|octet| *octet == b'\n') {
        let piece = piece.strip_suffix(b"\r").unwrap_or(piece);
        if let Some((b' ' | b'\t', more)) = piece.split_first() {
            line.extend_from_slice(more);
            continue;
        }
        if !line.is_empty() {
            tell(&line);
        }
        line.clear();
        line.extend_from_slice(piece);
    }
    if !line.is_empty() {
        tell(&line);
    }
}

/// Padding or not, and whatever bits are left over: as lenient as any server.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Base64, with white space taken out.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    LENIENT.decode(text).ok()
}

/// xtext (RFC 3461 section 4); small letters are taken, too.
pub(super) fn xtext(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(octet) = rest.next() {
        if *octet == b'+' {
            let high = char::from(*rest.next()?).to_digit(16)?;
            let low = char::from(*rest.next()?).to_digit(16)?;
            octets.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            octets.push(*octet);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> (String, String, Vec<(String, String)>) {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let view = CommandView::new(line.as_bytes());
        let parameters = view.parameters.iter();
        (
            text(view.path.unwrap_or(b"-")),
            text(view.local),
            parameters
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        )
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        let none = Vec::new();
        for (line, path, local) in [
            ("MAIL FROM:<a@b>", "a@b", "a"),
            ("mail from: <a@b>\r\n", "a@b", "a"),
            ("RCPT TO:<\"a>b@c\"@d>", "\"a>b@c\"@d", "\"a>b@c\""),
            ("RCPT TO:<@x,@y:a@b>", "@x,@y:a@b", "a"),
            ("RCPT TO:<a\"b@c>", "a\"b@c", "a\"b@c"),
            ("RCPT TO:a@b", "a@b", "a"),
            ("MAIL FROM:<>", "", ""),
            ("MAIL FROM:<a@b", "a@b", "a"),
        ] {
            let expected = (path.to_owned(), local.to_owned(), none.clone());
            assert_eq!(command(line), expected, "{line}");
        }
        let (.., parameters) = command("MAIL FROM:<a@b>  SIZE=1 auth=a+20b SMTPUTF8");
        assert_eq!(parameters.len(), 3);
        assert_eq!(parameters[1], ("auth".to_owned(), "a+20b".to_owned()));
    }

    #[test]
    fn fields_are_unfolded() {
        let mut seen = Vec::new();
        fields(
            b"From: a\r\n\tb\r\nno field\r\n c\r\nTO : x:y\n",
            |name, value| {
                seen.push(format!("{name}={}", String::from_utf8_lossy(value)));
            },
        );
        assert_eq!(seen, ["from=a\tb", "to=x:y"]);
    }

    #[test]
    fn addresses_come_without_comments_and_quotes_unless_those_do_not_end() {
        let all = |value: &str| {
            let mut seen = Vec::new();
            addresses(value.as_bytes(), |address| {
                seen.push(String::from_utf8_lossy(address).into_owned());
            });
            seen
        };
        assert_eq!(all("\"<,>\" <a@b> (<<\\)<), c@d"), ["<a@b>", "c@d"]);
        assert_eq!(all("x: <a@b>, <c@d>;"), ["x: <a@b>", "<c@d>", ""]);
        assert_eq!(all("(<>,<>"), ["(<>", "<>"]);
        assert_eq!(all("<none:;>, <@a,@b:c@d>"), ["<none:;>", "<@a,@b:c@d>"]);
    }

    #[test]
    fn parameters_tags_and_calendars_are_taken_apart() {
        let mut seen = Vec::new();
        parameters(
            b"text/plain; charset=\"\"; Name=\"a;b\" ; x",
            |name, value| {
                seen.push(format!("{name}={}", String::from_utf8_lossy(value)));
            },
        );
        let wanted = |name: &str| name != "c";
        tags(b"v=1; bh=a\t b=; c=no; d = x", wanted, |name, value| {
            seen.push(format!("{name}={}", String::from_utf8_lossy(value)));
        });
        calendar_lines(
            b"BEGIN:V\r\nORGANIZER;CN=a:mail\r\n to:b\r\n",
            |name, value| {
                seen.push(format!("{name}={}", String::from_utf8_lossy(value)));
            },
        );
        let expected = [
            "charset=",
            "name=a;b",
            "v=1",
            "bh=ab=",
            "d=x",
            "begin=V",
            "organizer=CN=a:mailto:b",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn encodings_are_read_leniently() {
        assert_eq!(base64(b"YW Jj\r\nZA"), Some(b"abcd".to_vec()));
        assert_eq!(base64(b"%"), None);
        assert_eq!(xtext(b"a+0Db+0a"), Some(b"a\rb\n".to_vec()));
        assert_eq!(xtext(b"a+0"), None);
    }
}
