//! What a feed's first bytes betray: the wrong encoding, an error page, an archive.
//!
//! Entry: [`refuse`]. It looks; it never reads.

use crate::ReadError;

/// Bytes [`refuse`] and [`crate::container`] want to see, where the input has as many. A tar
/// header's magic ends at byte 265 (POSIX ustar).
pub const ENOUGH: usize = 512;

/// Looks at the first bytes of a text feed (UTF-8: JSON, XML, CSV). Gives the number of bytes of a
/// byte order mark to skip, or refuses what plainly is something else: nothing at all, UTF-16 or
/// UTF-32, an HTML page (a captive portal, a proxy's error), an archive nobody unpacked.
///
/// Only the first [`ENOUGH`] bytes count, so that the answer does not hang on how many came at once.
pub fn refuse(expected: &'static str, head: &[u8]) -> Result<usize, ReadError> {
    let head = head.get(..ENOUGH).unwrap_or(head);
    let skip = if head.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let text = head.get(skip..).unwrap_or_default().trim_ascii_start();
    let found = if text.is_empty() {
        if head.len() < ENOUGH {
            "it is empty"
        } else {
            "it begins with nothing but white space"
        }
    } else if is_utf_16_or_32(head) {
        "text in UTF-16 or UTF-32; save it as UTF-8"
    } else if is_html(text) {
        "an HTML page; a proxy, a login page or a moved address often answers so"
    } else if let Some(archive) = archive(head) {
        archive
    } else if head.contains(&0) {
        "binary data"
    } else {
        return Ok(skip);
    };
    Err(ReadError::NotThisKind {
        expected,
        found: found.to_owned(),
    })
}

/// What kind of archive or compressed data begins with these bytes.
pub(crate) fn archive(head: &[u8]) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x1f\x8b", "gzip data"),
        (b"\xfd7zXZ\x00", "xz data"),
        (b"\x28\xb5\x2f\xfd", "zstd data"),
        (b"BZh", "bzip2 data"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"!<arch>\n", "an ar archive (a Debian package, perhaps)"),
        (b"\xed\xab\xee\xdb", "an RPM package"),
        (b"SQLite format 3\x00", "an SQLite database"),
    ];
    if head.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it first");
    }
    MAGIC
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, name)| *name)
}

fn is_utf_16_or_32(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xfe")
        || head.starts_with(b"\xfe\xff")
        || head.starts_with(b"\x00\x00\xfe\xff")
        // No mark: the first character of a text feed is ASCII, so its zero bytes give it away.
        || matches!(head, [0, b, ..] | [b, 0, ..] if b.is_ascii_graphic() || b.is_ascii_whitespace())
}

fn is_html(text: &[u8]) -> bool {
    [&b"<!doctype html"[..], b"<html", b"<head", b"<body"]
        .iter()
        .any(|tag| {
            text.get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(head: &[u8]) -> String {
        match refuse("JSON", head) {
            Err(ReadError::NotThisKind { found, .. }) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_plainly_something_else_is_refused_by_name() {
        assert!(found(b"").contains("empty"));
        assert!(found(b"\xef\xbb\xbf  \n").contains("empty"));
        assert!(found(b"\xff\xfe{\0").contains("UTF-16"));
        assert!(found(b"{\0\"\0").contains("UTF-16"));
        assert!(found(b"\0{\0\"").contains("UTF-16"));
        assert!(found(b"\n<!DOCTYPE HTML><title>Log in").contains("HTML"));
        assert!(found(b"\x1f\x8b\x08").contains("gzip"));
        assert!(found(b"\x7fELF\0\0").contains("binary"));
    }

    #[test]
    fn one_zero_byte_far_inside_does_not_condemn_a_feed() {
        let mut feed = vec![b' '; 400];
        feed.extend_from_slice(br#"{"a": ""#);
        feed.resize(600, b'x');
        feed.push(0);
        assert_eq!(refuse("JSON", &feed).unwrap(), 0);
        assert!(found(&[b' '; 600]).contains("white space"));
    }

    #[test]
    fn a_byte_order_mark_of_utf_8_is_skipped() {
        assert_eq!(refuse("JSON", b"\xef\xbb\xbf{}").unwrap(), 3);
        assert_eq!(refuse("JSON", b" {}").unwrap(), 0);
    }
}
