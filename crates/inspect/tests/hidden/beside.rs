//! Parts that no boundary shows, and messages that are not written as messages are.

use crate::mail::{TEXT, TOP, base64, based, zip};
use crate::{Made, Payload, part, plain_part, with_part};

/// Base64 that decoders read as any other, and that begins with what looks like a boundary and has blanks in its lines.
fn blinding(octets: &[u8]) -> String {
    let letters = base64(octets);
    let pieces = letters.as_bytes().chunks(20);
    let pieces: Vec<&str> = pieces
        .map(|piece| std::str::from_utf8(piece).unwrap())
        .collect();
    let lines = pieces.chunks(3).map(|line| line.join(" ") + "\r\n");
    format!("--\r\n{}", lines.collect::<String>())
}

/// Parts that no boundary shows, with a body that does not look like one.
pub(super) fn boundaries(payload: &Payload, made: &mut Made) {
    let body = blinding(&payload.octets);
    let part = part(payload, "Content-Transfer-Encoding: base64\r\n", &body);
    for (what, rest) in [
        (
            "without a type",
            format!("\r\n--abc\r\n{TEXT}--abc\r\n{part}--abc--\r\n"),
        ),
        (
            "behind the end",
            format!(
                "Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n{TEXT}--abc--\r\n{part}"
            ),
        ),
        (
            "a boundary within a line",
            format!(
                "Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n{TEXT}x--abc\r\n{part}--abc--\r\n"
            ),
        ),
        (
            "parts without a name",
            format!(
                "Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\nContent-Type: multipart/mixed\r\n\r\n--in\r\nX: y\r\n{part}--in--\r\n--abc--\r\n"
            ),
        ),
        (
            "no boundary is named",
            format!("Content-Type: multipart/mixed\r\n\r\n--abc\r\nX: y\r\n{part}--abc--\r\n"),
        ),
    ] {
        made.push((
            format!("beside boundaries: {what}"),
            format!("{TOP}{rest}").into_bytes(),
        ));
    }
}

/// Messages that are attached, and are not written as messages are.
pub(super) fn messages(payload: &Payload, made: &mut Made) {
    let part = plain_part(payload);
    let parts = format!("\r\n--in\r\n{part}\r\n--in--\r\n");
    let has_parts = "Content-Type: multipart/mixed; boundary=in\r\n";
    let long = "X: y\r\n".repeat(12_000);
    for (what, inner) in [
        ("one field", format!("{has_parts}{parts}")),
        ("an odd line", format!("Hello\r\n{has_parts}{parts}")),
        (
            "a blank before a colon",
            format!("Subject : x\r\n{has_parts}{parts}"),
        ),
        (
            "a line that goes on from nothing",
            format!(" x\r\n{has_parts}{parts}"),
        ),
        ("a zero", format!("Subject: \0\r\n{has_parts}{parts}")),
        ("a count before it", format!("1234\r\n{has_parts}{parts}")),
        ("a long head", format!("{long}{has_parts}{parts}")),
    ] {
        let zipped = zip(&[("a.eml", inner.as_bytes())]);
        for (name, octets) in [("a.zip", zipped.as_slice()), ("a.eml", inner.as_bytes())] {
            let head = format!(
                "Content-Type: application/octet-stream; name={name}\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            );
            made.push((
                format!("messages within {name}: {what}"),
                with_part(&(head + &based(octets))),
            ));
        }
    }
}
