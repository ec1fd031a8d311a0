//! `bench inspect`: what a judgement costs, beside one lenient reading by mail-parser, which judges nothing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use mailkeep_inspect::{Profile, Verdict, judge};

use crate::measure::{Goal, head, row_time, timed};
use crate::{Options, Outcome};

/// A message of 4 KiB takes at most this long.
const SMALL: Duration = Duration::from_micros(100);

const TOP: &str = "Received: from mail.example.net (mail.example.net [192.0.2.7])\r\n\tby mx.example.org with ESMTPS id 4abc\r\n\t\
    for <grace@example.org>; Sat, 21 Nov 2026 10:00:00 +0000\r\nDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; \
    s=2026;\r\n\th=from:to:subject:date:message-id; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=dGhpcyBpcyBubyBzaWduYXR1cmU\r\n\
    From: Ada <ada@example.net>\r\nTo: Grace <grace@example.org>\r\nSubject: Files\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n";

/// A text of so many octets.
fn text(octets: usize) -> String {
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n"
        .chars()
        .cycle()
        .take(octets)
        .collect()
}

/// A part that is a picture of so many octets, after the boundary "b".
pub(crate) fn attachment(octets: usize) -> String {
    let data: Vec<u8> = (0..=250_u8).cycle().step_by(31).take(octets).collect();
    let coded = STANDARD.encode([b"\x89PNG\r\n\x1a\n".as_slice(), &data].concat());
    let lines: Vec<&str> = (0..coded.len())
        .step_by(76)
        .filter_map(|at| coded.get(at..coded.len().min(at + 76)))
        .collect();
    format!(
        "--b\r\nContent-Type: image/png; name=\"a.png\"\r\nContent-Disposition: attachment; filename=\"a.png\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}

/// The rows.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let html = format!("<html><body><p>{}</p></body></html>", text(1500));
    let cases = [
        (
            "4 KiB: a text",
            format!("{TOP}Content-Type: text/plain\r\n\r\n{}", text(3300)),
            Goal::Time(SMALL),
        ),
        (
            "4 KiB: a text and the same as HTML",
            format!(
                "{TOP}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\n\
                 Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{html}\r\n--b--\r\n",
                text(1500)
            ),
            Goal::Time(SMALL),
        ),
        (
            "4 KiB: a text and a picture",
            format!(
                "{TOP}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n{}--b--\r\n",
                text(1000),
                attachment(1500)
            ),
            Goal::Time(SMALL),
        ),
        (
            "1 MiB: a text and a picture",
            format!(
                "{TOP}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n{}--b--\r\n",
                text(1000),
                attachment(760_000)
            ),
            Goal::None,
        ),
        (
            "4 KiB with two boundaries: two readings",
            format!(
                "{TOP}Content-Type: multipart/mixed; boundary=c; boundary=b\r\n\r\n--c\r\n\r\n{}\r\n--c--\r\n{}--b--\r\n",
                text(1000),
                attachment(1500)
            ),
            Goal::None,
        ),
    ];
    let profile = Profile::default();
    let parser = MessageParser::default();
    head("inspect: judging a message (ours), beside parsing it once (mail-parser)");
    for (name, message, goal) in &cases {
        let message = message.as_bytes();
        let times = if message.len() > 100_000 { 3 } else { 200 };
        // Turns, so that whatever else the machine does meets both alike.
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..options.runs {
            ours.push(timed(times, || judge(message, &profile)));
            theirs.push(timed(times, || {
                parser.parse(message).map(|parsed| parsed.parts.len())
            }));
        }
        let ours = crate::measure::median(ours);
        let theirs = crate::measure::median(theirs);
        row_time(name, ours, Some(("mail-parser", theirs)), *goal);
        let refused = judge(message, &profile).verdict == Verdict::Refuse;
        if refused != name.contains("two readings") {
            return Err(format!("{name}: refused is {refused}").into());
        }
    }
    Ok(())
}
