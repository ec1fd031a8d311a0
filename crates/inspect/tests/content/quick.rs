//! What is judged quickly, and that it is judged alike.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailkeep_inspect::rules::{Compiled, builtin};
use mailkeep_inspect::{Pieces, Profile, Verdict, judge_by, judge_quickly};

use crate::build::{self, Entry};

/// A message with a text and one attachment.
fn with(name: &str, kind: &str, octets: &[u8]) -> Vec<u8> {
    let letters = STANDARD.encode(octets);
    format!(
        "From: a@a.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\n\
         Content-Type: {kind}; name={name}\r\nContent-Transfer-Encoding: base64\r\n\r\n{letters}\r\n--b--\r\n"
    )
    .into_bytes()
}

fn picture(octets: usize) -> Vec<u8> {
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.resize(octets, 7);
    picture
}

#[test]
fn what_is_judged_quickly_is_judged_alike() {
    let compiled = Compiled::new(&builtin().unwrap()).unwrap();
    let profile = Profile {
        pieces: Pieces::All,
        contents: true,
        ..Profile::default()
    };
    let html = b"<p onload=\"a()\"><a href=\"file:////h/s!x\">";
    let two = "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--b\r\n\r\nMZ\r\n--b--\r\n";
    let messages = [
        b"Subject: x\r\n\r\nHello\r\n".to_vec(),
        with("a.html", "text/html", html),
        with("a.png", "image/png", &picture(60_000)),
        with("a.exe", "image/png", &build::program()),
        two.as_bytes().to_vec(),
        with("a.eml", "message/rfc822", two.as_bytes()),
    ];
    let mut verdicts = Vec::new();
    for message in messages {
        let quick = judge_quickly(&message, &profile, Some(&compiled)).unwrap();
        assert_eq!(quick, judge_by(&message, &profile, Some(&compiled)));
        verdicts.push(quick.verdict);
    }
    assert!(verdicts.contains(&Verdict::Accept) && verdicts.contains(&Verdict::Refuse));
}

#[test]
fn what_has_to_be_unpacked_or_takes_long_is_not_judged_quickly() {
    let mut profile = Profile::default();
    let entries = [Entry::new("a.txt", b"Hello")];
    let zip = build::zip(&entries);
    let behind = [picture(2000), zip.clone()].concat();
    let mut readings = "Content-Type: multipart/mixed".to_owned();
    (0..15).for_each(|nth| write!(readings, "; boundary=b{nth}").unwrap());
    readings.push_str("\r\n\r\n");
    (0..15).for_each(|nth| write!(readings, "--b{nth}\r\n\r\nx\r\n").unwrap());
    let parts = "--b\r\n\r\nx\r\n".repeat(60);
    let parts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    let messages = [
        with("a.zip", "application/zip", &zip),
        with("a.gz", "application/gzip", &build::gzip(b"Hello")),
        with("a.png", "image/png", &behind),
        with(
            "a.pdf",
            "application/pdf",
            &build::pdf("a.txt", b"Hello", true),
        ),
        with("a.rtf", "text/rtf", &build::rich_text("Package", b"Hello")),
        with("a.png", "image/png", &picture(120_000)),
        readings.into_bytes(),
        parts.into_bytes(),
    ];
    for _ in 0..2 {
        for (nth, message) in messages.iter().enumerate() {
            assert_eq!(judge_quickly(message, &profile, None), None, "{nth}");
        }
        // Also where limits are no reason to refuse.
        for limit in ["limit-parts", "limit-readings", "limit-octets"] {
            profile.actions.insert(limit.to_owned(), Verdict::Accept);
        }
    }
}

#[test]
fn whatever_is_attached_is_judged_alike() {
    let profile = Profile {
        pieces: Pieces::All,
        contents: true,
        ..Profile::default()
    };
    for corpus in ["archive", "content_kind", "rar"] {
        crate::replay::replay(corpus, |octets| {
            let message = with("a.bin", "application/octet-stream", octets);
            if let Some(quick) = judge_quickly(&message, &profile, None) {
                assert_eq!(quick, judge_by(&message, &profile, None));
            }
        });
    }
}
