//! The header fields of a message as they stand in it. Entry: [`fields`].

use std::ops::Range;

use memchr::memchr;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Without the colon.
    pub(super) name: &'a [u8],
    /// Behind the colon, with its line ends.
    pub(super) value: &'a [u8],
    /// Where it lies in the message, with its line end.
    pub(super) place: Range<usize>,
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Every field up to the first empty line. A line that is no field is passed over, as is what continues it: some servers
/// and readers end the headers there, others (the line of a mailbox, `From NAME DATE`, for Postfix and Sendmail; any such
/// line for Dovecot) read on, and show a From behind it. None is kept: a message may have millions.
pub(super) fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = message.get(at..)?;
            let begin = at;
            let whole = rest.get(..field_length(rest)?)?;
            at += whole.len();
            if let Some((name, value)) = parts(whole) {
                let place = begin..at;
                return Some(Field { name, value, place });
            }
        }
    })
}

/// The name and the value, unless it is no field: without a name, or without a colon in its first line.
fn parts(whole: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = whole.get(..line_length(whole))?;
    let (name, _) = first.split_at_checked(memchr(b':', first)?)?;
    let value = whole.get(name.len() + 1..)?;
    (!name.is_empty() && !name.starts_with(b" ") && !name.starts_with(b"\t"))
        .then_some((name, value))
}

/// Octets of the first field with the lines that continue it; none at the end of the headers.
fn field_length(rest: &[u8]) -> Option<usize> {
    let mut length = line_length(rest);
    if matches!(rest.get(..length)?, b"" | b"\n" | b"\r\n") {
        return None;
    }
    while let Some(b' ' | b'\t') = rest.get(length) {
        length += line_length(rest.get(length..)?);
    }
    Some(length)
}

fn line_length(rest: &[u8]) -> usize {
    memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
}

/// The name that an Authentication-Results header begins with (RFC 8601 section 2.2): the first word behind comments
/// and white space, without quotation marks, in lower case.
pub(super) fn authserv_id(value: &[u8]) -> String {
    let mut rest = value;
    let mut depth = 0_u32;
    let mut word = Vec::new();
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'\\' => {
                let Some((next, after)) = rest.split_first() else {
                    break;
                };
                rest = after;
                if depth == 0 {
                    word.push(*next);
                }
            }
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b'"' => {}
            b' ' | b'\t' | b'\r' | b'\n' if word.is_empty() => {}
            b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
            other => word.push(*other),
        }
    }
    String::from_utf8_lossy(&word).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn folded_fields_are_one_and_the_body_is_none() {
        let message = b"A: 1\r\n 2\r\n\t3\r\nb : x\r\n\r\nC: body\r\n";
        let found: Vec<Field<'_>> = fields(message).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].value, b" 1\r\n 2\r\n\t3\r\n");
        assert!(found[1].is("B"));
        assert_eq!(&message[found[1].place.clone()], b"b : x\r\n");
        assert_eq!(fields(b"\r\nA: b\r\n").count(), 0);
    }

    #[test]
    fn fields_behind_a_line_that_is_none_are_read_as_some_readers_do() {
        for line in [
            "From a@x.example Mon Nov",
            ">From a@x.example Mon Nov",
            " X: continued",
            "no field",
            ": without a name",
            "Y\r\n : folded",
            "\u{b}",
            "\u{c}",
            " ",
        ] {
            let message = format!("{line}\r\nFrom: b\r\n\r\nC: body\r\n");
            let found: Vec<Field<'_>> = fields(message.as_bytes()).collect();
            assert_eq!(found.len(), 1, "{line:?}");
            assert!(found[0].is("From"));
            let place = found[0].place.clone();
            assert_eq!(&message.as_bytes()[place], b"From: b\r\n");
        }
    }

    #[test]
    fn our_own_name_is_found_in_every_disguise() {
        for value in [
            " mx.example.org; spf=pass",
            " MX.Example.ORG;none",
            "\r\n\tmx.example.org 1; spf=pass",
            " (a (nested) comment) mx.example.org; x",
            " \"mx.example.org\"; x",
            " mx.example\\.org; x",
            " mx.(x)example.org; x",
            "mx.example.org",
        ] {
            assert_eq!(authserv_id(value.as_bytes()), "mx.example.org", "{value}");
        }
        assert_eq!(
            authserv_id(b" other.example; mx.example.org"),
            "other.example"
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_survived_and_fields_follow_each_other(octets in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), Just(b'\r'), any::<u8>()], 0..200)) {
            let mut at = 0;
            for field in fields(&octets) {
                prop_assert!(field.place.start >= at);
                at = field.place.end;
                authserv_id(field.value);
            }
            prop_assert!(at <= octets.len());
        }
    }
}
