//! Every row of the catalogue that is enforced refuses something, and lets what looks alike pass.
//!
//! Rows with a condition of their own have their cases in the bundle. The others are closed by rules of the shield:
//! here are what the row is about and its look-alike, as a session or a message. What the shield closes by what it is
//! refuses nothing, and is named.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mailkeep_inspect::rules::{PatchRule, builtin};
use mailkeep_inspect::{Profile, Verdict, judge};
use mailkeep_wire::{Actions, Limits, Offer, Session, Step};

/// Closed by what the shield is: there is nothing to refuse.
const BY_DESIGN: [&str; 3] = [
    // It looks up no ident server, and the server behind can only ask the shield's.
    "sendmail-ident-newline",
    // TLS ends at the shield, which takes host names only, and never goes on in clear.
    "exim-sni-backslash",
    "exim-tls-close-reuse",
];

/// A client's words; `|` is where it waits.
const GREETED: &str = "EHLO a.example\r\n|";
const DATA: &str =
    "EHLO a.example\r\n|MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n|";

/// Stands for the first octet of two that UTF-8 has for some letters, alone.
const CUT_OFF: char = '\u{e0c3}';

fn octets(script: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for char in script.chars() {
        match char {
            CUT_OFF => octets.push(0xc3),
            char => octets.extend(char.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    octets
}

/// The rules that refuse something of a session.
fn session(script: &str) -> BTreeSet<String> {
    let offer = Offer {
        eight_bit: true,
        utf8: true,
        dsn: true,
        pipelining: true,
        size: Some(50 << 20),
        starttls: true,
        ..Offer::default()
    };
    let limits = Limits {
        recipients: 3,
        ..Limits::default()
    };
    let mut session = Session::new(offer, Actions::default(), limits);
    let mut refused = BTreeSet::new();
    let mut content = Vec::new();
    for part in script.split('|') {
        let octets = octets(part);
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let taken = session.feed(rest);
            rest = &rest[taken..];
            loop {
                content.clear();
                match session.step(&mut content) {
                    Step::Feed => break,
                    Step::Command(_) | Step::Credentials(_) => session.answered(true),
                    Step::Refused(refusal) | Step::GiveUp(refusal) => {
                        refused.insert(refusal.rule.name().to_owned());
                        if refusal.closes() {
                            return refused;
                        }
                    }
                    Step::Message { refused: by, .. } => {
                        refused.extend(by.map(|by| by.rule.name().to_owned()));
                    }
                }
            }
        }
    }
    refused
}

/// The rules that refuse a message.
fn message(text: &str) -> BTreeSet<String> {
    let judgement = judge(text.as_bytes(), &Profile::default());
    let refusing = judgement.reasons.into_iter();
    refusing
        .filter(|reason| reason.verdict == Verdict::Refuse)
        .map(|reason| reason.rule.into_owned())
        .collect()
}

enum Case {
    /// What a client says to be refused, and what looks like that.
    Session(Vec<String>, Vec<String>),
    /// Messages.
    Message(Vec<String>, Vec<String>),
}

fn attachment(header: &str, content: &str) -> String {
    format!(
        "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n\
         --b1\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b1\r\n{header}\r\n\r\n{content}\r\n--b1--\r\n"
    )
}

/// Parts within parts, so deep.
fn nested(depth: usize) -> String {
    let mut text = "From: a@b.example\r\nMIME-Version: 1.0\r\n".to_owned();
    for nth in 0..depth {
        write!(
            text,
            "Content-Type: multipart/mixed; boundary=a{nth}z\r\n\r\n--a{nth}z\r\n"
        )
        .unwrap();
    }
    text += "Content-Type: text/plain\r\n\r\nHello\r\n";
    for nth in (0..depth).rev() {
        write!(text, "--a{nth}z--\r\n").unwrap();
    }
    text
}

/// A message of so many parts beside its text.
fn parts(count: usize) -> String {
    let more = "--b1\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(count - 1);
    attachment("Content-Type: text/plain", &format!("x\r\n{more}"))
}

/// A winmail.dat that holds these octets, in base64.
fn tnef(octets: &str) -> String {
    attachment(
        "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64",
        octets,
    )
}

fn cases() -> BTreeMap<&'static str, Case> {
    let own =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
    let greeted = |texts: &[&str]| -> Vec<String> {
        texts
            .iter()
            .map(|text| format!("{GREETED}{text}"))
            .collect()
    };
    let data = |texts: &[&str]| -> Vec<String> {
        texts.iter().map(|text| format!("{DATA}{text}")).collect()
    };
    let smuggling = || {
        Case::Session(
            data(&[
                "x\n.\r\nMAIL FROM:<e@f.example>\r\n.\r\n",
                "x\n.\nMAIL FROM:<e@f.example>\r\n.\r\n",
                "x\r\n.\nMAIL FROM:<e@f.example>\r\n.\r\n",
                "x\r.\rMAIL FROM:<e@f.example>\r\n.\r\n",
            ]),
            data(&["A: b\r\n\r\nx.\r\n..\r\n. \r\n=0A.=0A\r\n.\r\n"]),
        )
    };
    let starttls = || {
        Case::Session(
            greeted(&["STARTTLS\r\nMAIL FROM:<e@f.example>\r\n"]),
            greeted(&["STARTTLS\r\n|", "NOOP STARTTLS\r\n|RSET\r\n"]),
        )
    };
    let bdat = || {
        Case::Session(
            vec![format!(
                "{GREETED}MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 3 LAST\r\nabc"
            )],
            data(&["A: b\r\n\r\nBDAT 3 LAST\r\n.\r\n"]),
        )
    };
    let proxy = || {
        Case::Session(
            own(&["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"]),
            own(&["NOOP PROXY\r\n"]),
        )
    };
    let names = || {
        Case::Message(
            vec![
                attachment(
                    "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*0=\"invoice.p\";\r\n filename*1=\"df.exe\"",
                    "hello",
                ),
                attachment(
                    "Content-Type: application/pdf; name=\"invoice.pdf          .scr\"",
                    "hello",
                ),
            ],
            vec![attachment(
                "Content-Type: text/plain\r\nContent-Disposition: attachment;\r\n filename*0=\"minutes of the \";\r\n filename*1=\"meeting.v1.txt\"",
                "hello",
            )],
        )
    };
    let mut cases = BTreeMap::from([
        (
            "sendmail-alpaca",
            Case::Session(
                own(&["POST / HTTP/1.1\r\n"]),
                vec![
                    "HELP\r\n".to_owned(),
                    format!("{DATA}POST / HTTP/1.1\r\n.\r\n"),
                ],
            ),
        ),
        (
            "sendmail-transaction-stuffing",
            Case::Session(
                vec![
                    "EHLO a.example\r\nMAIL FROM:<>\r\n".to_owned(),
                    format!("{GREETED}MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nA: b\r\n"),
                ],
                vec![format!(
                    "{GREETED}MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nRSET\r\nMAIL FROM:<>\r\n"
                )],
            ),
        ),
        (
            "exim-recipient-count",
            Case::Session(
                vec![format!(
                    "{GREETED}MAIL FROM:<>\r\n{}",
                    "RCPT TO:<c@d.example>\r\n".repeat(4)
                )],
                vec![format!(
                    "{GREETED}MAIL FROM:<>\r\n{}",
                    "RCPT TO:<c@d.example>\r\n".repeat(3)
                )],
            ),
        ),
        (
            "dovecot-large-headers",
            Case::Session(
                vec![
                    format!("{DATA}A: {}\r\n.\r\n", "b\r\n ".repeat(30_000)),
                    format!(
                        "{DATA}{}\r\n.\r\n",
                        format!("A: {}\r\n", "b".repeat(500)).repeat(600)
                    ),
                ],
                vec![format!(
                    "{DATA}A: {}\r\n\r\n{}\r\n.\r\n",
                    "b\r\n ".repeat(300),
                    format!("{}\r\n", "b".repeat(500)).repeat(600)
                )],
            ),
        ),
        (
            "dovecot-truncated-utf8",
            Case::Session(
                greeted(&[
                    &format!("MAIL FROM:<a{CUT_OFF}@b.example>\r\n"),
                    &format!("MAIL FROM:<a{CUT_OFF}@b.example> SMTPUTF8\r\n"),
                ]),
                greeted(&["MAIL FROM:<a\u{e9}@b.example> SMTPUTF8\r\n"]),
            ),
        ),
        (
            "dovecot-mime-depth",
            Case::Message(vec![nested(100), parts(1_100)], vec![nested(8), parts(100)]),
        ),
        (
            // The 10,000th part is a message.
            "dovecot-many-parts",
            Case::Message(
                vec![parts(9_998).replacen(
                    "--b1--",
                    "--b1\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n--b1--",
                    1,
                )],
                vec![attachment(
                    "Content-Type: message/rfc822",
                    "From: a@b.example\r\n\r\nHello",
                )],
            ),
        ),
        (
            "dovecot-rfc2231-parameters",
            Case::Message(
                vec![attachment(
                    &format!(
                        "Content-Type: text/plain{}",
                        (0..400).fold(String::new(), |text, nth| format!(
                            "{text};\r\n name*{nth}=a"
                        )),
                    ),
                    "hello",
                )],
                vec![attachment(
                    "Content-Type: text/plain;\r\n name*0=a;\r\n name*1=b;\r\n name*2=c.txt",
                    "hello",
                )],
            ),
        ),
        (
            "exchange-tnef-2006",
            Case::Message(
                vec![tnef("eJ8+IgEAAQaQCAD///9/AAABAAEA")],
                vec![tnef("eJ8+IgEAAQaQCAAEAAAAAAABAAEA")],
            ),
        ),
        (
            "amavis-boundaries",
            Case::Message(
                vec![attachment(
                    "Content-Type: multipart/mixed; boundary=b2; boundary=b3",
                    "--b2\r\n\r\nHello\r\n--b2--\r\n--b3\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nMZ\r\n--b3--",
                )],
                vec![attachment(
                    "Content-Type: multipart/mixed; boundary=b2",
                    "--b2\r\n\r\nHello\r\n--b2--\r\n",
                )],
            ),
        ),
        (
            "bad-epilogue",
            Case::Message(
                vec![attachment(
                    "Content-Type: text/plain",
                    "Hello\r\n--b1--\r\n\r\n--b1\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nMZ",
                )],
                vec![
                    attachment("Content-Type: text/plain", "Hello")
                        + "\r\n_______\r\nA list's footer\r\n",
                ],
            ),
        ),
        ("exim-rfc2231-filename", names()),
        ("disguised-attachments", names()),
    ]);
    for row in [
        "exim-smuggling",
        "postfix-smuggling",
        "sendmail-smuggling",
        "qmail-smuggling",
        "haraka-smuggling",
        "dovecot-relay-smuggling",
        "james-smuggling",
    ] {
        cases.insert(row, smuggling());
    }
    for row in ["postfix-starttls-injection", "dovecot-submission-starttls"] {
        cases.insert(row, starttls());
    }
    // Either hole is closed where both are.
    let (Case::Session(mut refused, mut passes), Case::Session(more, alike)) =
        (smuggling(), starttls())
    else {
        unreachable!("both are sessions");
    };
    refused.extend(more);
    passes.extend(alike);
    cases.insert(
        "aiosmtpd-smuggling-starttls",
        Case::Session(refused, passes),
    );
    for row in [
        "exim-bdat-use-after-free",
        "exim-bdat-dot-loop",
        "exim-bdat-error",
        "exim-dead-letter",
    ] {
        cases.insert(row, bdat());
    }
    for row in ["exim-proxy-header", "exim-proxy-short-frame"] {
        cases.insert(row, proxy());
    }
    cases
}

/// How many it refuses and lets pass.
fn held(row: &PatchRule, case: &Case) -> (usize, usize) {
    let (refused, passes, by): (_, _, fn(&str) -> BTreeSet<String>) = match case {
        Case::Session(refused, passes) => (refused, passes, session),
        Case::Message(refused, passes) => (refused, passes, message),
    };
    for text in refused {
        let by = by(text);
        let closed = by
            .iter()
            .any(|rule| row.by.is_empty() || row.by.contains(rule));
        assert!(
            closed,
            "{}: {text:?} passes, or is refused by {by:?} only",
            row.name
        );
    }
    for text in passes {
        let by = by(text);
        assert!(
            by.is_empty(),
            "{}: {text:?}, a look-alike, is refused by {by:?}",
            row.name
        );
    }
    (refused.len(), passes.len())
}

#[test]
fn every_enforced_row_refuses_its_cases_and_lets_its_look_alikes_pass() {
    let bundle = builtin().unwrap();
    // Those with a condition: each case of theirs.
    bundle.test().unwrap();
    let cases = cases();
    let (mut by_condition, mut by_rules, mut by_design) = (0, 0, BTreeSet::new());
    let (mut refused, mut passes) = (0, 0);
    let enforced: Vec<&PatchRule> = bundle
        .rules
        .iter()
        .filter(|row| row.is_enforced())
        .collect();
    for row in &enforced {
        if row.is_signature() {
            assert!(
                !row.refused.is_empty() && !row.passes.is_empty(),
                "{}",
                row.name
            );
            by_condition += 1;
            refused += row.refused.len();
            passes += row.passes.len();
        } else if let Some(case) = cases.get(row.name.as_str()) {
            let (more, alike) = held(row, case);
            assert!(more > 0 && alike > 0, "{}", row.name);
            by_rules += 1;
            refused += more;
            passes += alike;
        } else {
            by_design.insert(row.name.as_str());
        }
    }
    assert_eq!(by_design, BTreeSet::from(BY_DESIGN), "rows without a case");
    println!(
        "{} rows enforce: {by_condition} by a condition of their own, {by_rules} by rules of the shield, {} by what it is; \
         {refused} cases refused, {passes} look-alikes pass",
        enforced.len(),
        by_design.len()
    );
    assert_eq!(by_condition + by_rules + by_design.len(), enforced.len());
}
