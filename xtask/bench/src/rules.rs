//! `bench rules`: what two thousand virtual patches cost over twenty, on the same messages.
//!
//! The rules are drawn: in the proportions of the catalogue they look at commands, headers, addresses, names and
//! contents, each for a word of its own. None of them holds.

use std::fmt::Write as _;

use mailkeep_inspect::rules::{Bundle, Compiled};
use mailkeep_inspect::{Profile, judge_by};

use crate::measure::{Goal, head, median, row_time, timed};
use crate::{Options, Outcome};

/// The most that two thousand rules may cost over twenty.
const RATIO: f64 = 1.1;

const HEAD: &str = "format = 1\nid = \"drawn\"\nversion = 1\nmade = \"2026-01-01T00:00:00Z\"\nexpires = \"2027-01-01T00:00:00Z\"\n";

/// A word that no message has; equal numbers give equal words.
fn word(number: usize) -> String {
    let mut state = (number as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut word = String::new();
    for _ in 0..8 {
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let letter = u8::try_from(state >> 59).unwrap_or(0) % 26;
        word.push(char::from(b'a' + letter));
    }
    word
}

fn bundle(count: usize) -> Outcome<Compiled> {
    let mut text = HEAD.to_owned();
    for number in 0..count {
        let word = word(number);
        let (stage, condition, refused, passes) = match number % 10 {
            0 => (
                "CMD",
                format!("in = [\"sender-local\", \"recipient-local\"]\nregex = '{word}[;|]'"),
                format!("commands = [\"RCPT TO:<{word};@x>\"]"),
                "commands = [\"RCPT TO:<a@x>\"]",
            ),
            1 => (
                "CMD",
                format!("in = [\"parameter\"]\nregex = '(?i){word}=[0-9]+'"),
                format!("commands = [\"MAIL FROM:<a@x> ENVID={word}=1\"]"),
                "commands = [\"MAIL FROM:<a@x> SIZE=1\"]",
            ),
            2 | 3 => (
                "HDR",
                format!("in = [\"header\"]\nexcept = [\"subject\"]\nregex = '\\$\\{{\\s*{word}'"),
                format!("header = \"X: ${{{word}\""),
                "header = \"Subject: a\"",
            ),
            4 => (
                "HDR",
                format!("in = [\"header-address\"]\nnames = [\"from\"]\nregex = '{word}@[0-9]'"),
                format!("header = \"From: {word}@0\""),
                "header = \"From: a@example.org\"",
            ),
            5 => (
                "MIME",
                format!("in = [\"name\", \"member-name\"]\nregex = '(?i){word}\\.(?:exe|js)$'"),
                format!("name = \"{word}.exe\""),
                "name = \"a.txt\"",
            ),
            _ => (
                "MIME",
                format!("in = [\"content\"]\nregex = '(?i)<{word}\\b[^>]*href\\s*=\\s*[\"]?data:'"),
                format!("content = '<{word} href=data:'"),
                "content = '<use href=data:'",
            ),
        };
        writeln!(
            text,
            "[[rule]]\nname = \"rule-{number}\"\ntitle = \"t\"\nproduct = \"p\"\naffected = \"all\"\nstages = [\"{stage}\"]\n\
             closes = [\"signature\"]\nconfidence = \"A\"\nstate = \"enforce\"\n[[rule.when]]\n{condition}\n\
             [[rule.refused]]\n{refused}\n[[rule.passes]]\n{passes}"
        )?;
    }
    let bundle = Bundle::read(text.as_bytes())?;
    Ok(Compiled::new(&bundle)?)
}

/// Messages of 4 KiB, as most are, and a large one.
fn messages() -> [(&'static str, String); 3] {
    let top = "Received: from mail.example.net (mail.example.net [192.0.2.7])\r\n\tby mx.example.org; Sat, 21 Nov 2026 10:00:00 +0000\r\n\
        From: Ada <ada@example.net>\r\nTo: Grace <grace@example.org>, \"B, C\" <b@example.org>\r\nSubject: Files\r\n\
        Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n";
    let text = |octets: usize| -> String {
        let words =
            "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n";
        words.chars().cycle().take(octets).collect()
    };
    let html = |octets: usize| format!("<html><body><p>{}</p></body></html>", text(octets));
    let both = |octets: usize| {
        format!(
            "{top}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\n\
             Content-Type: text/html\r\n\r\n{}\r\n--b--\r\n",
            text(octets),
            html(octets)
        )
    };
    [
        (
            "4 KiB: a text",
            format!("{top}Content-Type: text/plain\r\n\r\n{}", text(3500)),
        ),
        ("4 KiB: a text and the same as HTML", both(1700)),
        ("1 MiB: a text and the same as HTML", both(500_000)),
    ]
}

/// The rows.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let profile = Profile::default();
    let (few, many) = (bundle(20)?, bundle(2000)?);
    head("shield-rules: 2,000 virtual patches (ours), beside 20 (few)");
    for (name, message) in &messages() {
        let message = message.as_bytes();
        let times = if message.len() > 100_000 { 3 } else { 200 };
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..options.runs {
            ours.push(timed(times, || judge_by(message, &profile, Some(&many))));
            theirs.push(timed(times, || judge_by(message, &profile, Some(&few))));
        }
        row_time(
            name,
            median(ours),
            Some(("few", median(theirs))),
            Goal::Ratio(RATIO),
        );
    }
    let lines: [&[u8]; 3] = [
        b"EHLO mail.example.net",
        b"MAIL FROM:<ada@example.net> SIZE=4096 BODY=8BITMIME",
        b"RCPT TO:<grace@example.org>",
    ];
    let told = |compiled: &Compiled| -> usize {
        lines.iter().map(|line| compiled.command(line).len()).sum()
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..options.runs {
        ours.push(timed(2000, || told(&many)));
        theirs.push(timed(2000, || told(&few)));
    }
    row_time(
        "the commands of a message",
        median(ours),
        Some(("few", median(theirs))),
        Goal::None,
    );
    Ok(())
}
