//! Every generic rule: what it refuses, and what looks like that and passes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, and reads the page that describes the rules"
)]

use std::collections::BTreeSet;

use mailkeep_wire::{
    Action, Actions, Command, ContentLimits, HeaderLimits, Limits, Mechanism, Offer, Rule, Session,
    Step,
};

/// Greets, and begins a message.
const BEGUN: &str = "EHLO a.example\r\n|MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";
/// The same, up to the content.
const DATA: &str =
    "EHLO a.example\r\n|MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n|";

/// Rules that no octets of a session break: the shield itself counts sessions.
const ELSEWHERE: &[Rule] = &[Rule::TooManySessions];

/// The rule, sessions it refuses, and look-alikes that pass. `|` is where the client waits, `^` stands for what
/// [`BEGUN`] sends, `$` for [`DATA`].
fn table() -> Vec<(Rule, Vec<String>, Vec<String>)> {
    let row = |rule, refused: &[&str], passes: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        (rule, owned(refused), owned(passes))
    };
    let mail = |path: &str| format!("EHLO a\r\n|MAIL FROM:{path}\r\n");
    let long = |rule, refused: String, passes: String| (rule, vec![refused], vec![passes]);
    vec![
        row(
            Rule::BareCrInCommand,
            &["EHLO a\rb\r\n", "EHLO a\r\r\n"],
            &["EHLO a\r\n"],
        ),
        row(
            Rule::BareLfInCommand,
            &["EHLO a\n", "^RSET\n"],
            &["EHLO a \r\n"],
        ),
        row(
            Rule::BareCrInContent,
            &[
                "$A: b\r\n\r\nx\ry\r\n.\r\n",
                "$x\r\n.\rMAIL FROM:<e@f>\r\n.\r\n",
                "$x\r.\r\n.\r\n",
            ],
            &["$A: b\r\n\r\n=0D\r\n.\r\n"],
        ),
        row(
            Rule::BareLfInContent,
            &[
                "$x\n.\nMAIL FROM:<e@f>\r\n.\r\n",
                "$x\n.\r\n\r\n.\r\n",
                "$x\r\n.\ny\r\n.\r\n",
            ],
            &["$A: b\r\n\r\n..\r\n. \r\n=0A\r\n.\r\n"],
        ),
        long(
            Rule::CommandTooLong,
            format!("NOOP {}\r\n", "a".repeat(506)),
            format!("NOOP {}\r\n", "a".repeat(505)),
        ),
        long(
            Rule::PathTooLong,
            mail(&format!("<{}@b>", "a".repeat(255))),
            mail(&format!("<{}@b>", "a".repeat(200))),
        ),
        long(
            Rule::DomainTooLong,
            mail(&format!("<a@{}>", "b".repeat(64))),
            mail(&format!("<a@{}.b>", "b".repeat(63))),
        ),
        row(
            Rule::GreetingSyntax,
            &["EHLO\r\n", "EHLO o'brien\r\n", "HELO a;b\r\n"],
            &[
                "EHLO my_pc-7\r\n",
                "HELO [192.0.2.1]\r\n",
                "EHLO a.example.\r\n",
            ],
        ),
        row(
            Rule::AddressSyntax,
            &[
                "EHLO a\r\n|MAIL FROM:<;id;>\r\n",
                "EHLO a\r\n|MAIL FROM:<\"\"@b>\r\n",
                "EHLO a\r\n|MAIL FROM:<.!@b>\r\n",
                "EHLO a\r\n|MAIL FROM:<a b@c>\r\n",
                "EHLO a\r\n|MAIL FROM:<>\r\nRCPT TO:<>\r\n",
            ],
            &[
                "EHLO a\r\n|MAIL FROM:<o'brien+x=y/z@b>\r\n",
                "EHLO a\r\n|MAIL FROM:<$a{b}@c>\r\n",
                "EHLO a\r\n|MAIL FROM:<\"a b\"@c>\r\n",
                "EHLO a\r\n|MAIL FROM: <>\r\n",
            ],
        ),
        row(
            Rule::AddressWithoutDomain,
            &["EHLO a\r\n|MAIL FROM:<root>\r\n"],
            &["EHLO a\r\n|MAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\n"],
        ),
        row(
            Rule::SourceRoute,
            &["EHLO a\r\n|MAIL FROM:<@a,@b:c@d>\r\n"],
            &["EHLO a\r\n|MAIL FROM:<a%b@c>\r\n"],
        ),
        row(
            Rule::StarttlsInjection,
            &["EHLO a\r\n|STARTTLS\r\nEHLO b\r\n"],
            &["EHLO a\r\n|STARTTLS\r\n|"],
        ),
        row(
            Rule::TalksBeforeReply,
            &[
                "EHLO a\r\nMAIL FROM:<>\r\n",
                "HELO a\r\n|MAIL FROM:<>\r\nRCPT TO:<c@d>\r\n",
                "^DATA\r\nA: b\r\n",
            ],
            &[
                "^RSET\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nQUIT\r\n",
                "$A: b\r\n.\r\nMAIL FROM:<>\r\n",
            ],
        ),
        row(Rule::Chunking, &["^BDAT 3 LAST\r\n"], &["$BDAT 3\r\n.\r\n"]),
        row(
            Rule::UnknownVerb,
            &[
                "ETRN a\r\n",
                "XEXCH50 -1\r\n",
                "X-LINK2STATE CHUNK=\r\n",
                "DEBUG\r\n",
            ],
            &["VRFY root\r\n", "EXPN list\r\n", "HELP\r\n"],
        ),
        row(
            Rule::ForeignProtocol,
            &["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n"],
            &["$GET / HTTP/1.1\r\n.\r\n"],
        ),
        row(
            Rule::CommandSyntax,
            &["EHLO a\r\n|MAIL <a@b>\r\n", "^DATA x\r\n"],
            &["EHLO a\r\n|mail from:<a@b>\r\n"],
        ),
        row(
            Rule::CommandOrder,
            &[
                "MAIL FROM:<>\r\n",
                "EHLO a\r\n|DATA\r\n",
                "^MAIL FROM:<>\r\n",
                "EHLO a\r\n|RCPT TO:<c@d>\r\n",
            ],
            &["^RSET\r\nMAIL FROM:<>\r\n", "^EHLO a\r\n|MAIL FROM:<>\r\n"],
        ),
        row(
            Rule::AuthNotOffered,
            &["EHLO a\r\n|AUTH PLAIN AAAA\r\n"],
            &["EHLO a\r\n|MAIL FROM:<auth@b>\r\n"],
        ),
        row(
            Rule::TooManyRecipients,
            &["^RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j>\r\n"],
            &["^RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n"],
        ),
        long(
            Rule::MessageTooLarge,
            format!("${}\r\n.\r\n", "a".repeat(3000)),
            format!("$A: b\r\n\r\n{}\r\n.\r\n", "a".repeat(1900)),
        ),
        row(
            Rule::MessageTooLarge,
            &["EHLO a\r\n|MAIL FROM:<> SIZE=2001\r\n"],
            &["EHLO a\r\n|MAIL FROM:<> SIZE=2000\r\n"],
        ),
        long(
            Rule::TooManyAddresses,
            format!("$To: {}\r\n.\r\n", "a@b, ".repeat(9)),
            format!("$To: \"{}\" <a@b>\r\n.\r\n", "a, ".repeat(9)),
        ),
        long(
            Rule::HeadersTooLarge,
            format!("${}\r\n.\r\n", "A: bcdefgh\r\n".repeat(45)),
            format!("${}\r\n.\r\n", "A: b\r\n".repeat(45)),
        ),
        long(
            Rule::HeaderTooLong,
            format!("$A: b\r\n {}\r\n.\r\n", "b".repeat(300)),
            format!("$A: b\r\n\r\n{}\r\n.\r\n", "b".repeat(300)),
        ),
        long(
            Rule::TooManyHeaders,
            format!("${}\r\n.\r\n", "A: b\r\n".repeat(51)),
            format!("${}\r\n.\r\n", "A: b\r\n".repeat(50)),
        ),
        long(
            Rule::MailLoop,
            format!("${}\r\n.\r\n", "Received: b\r\n".repeat(11)),
            format!("${}X-Received: b\r\n.\r\n", "Received: b\r\n".repeat(10)),
        ),
        row(
            Rule::TooManyErrors,
            &[
                "DATA\r\n|DATA\r\n|DATA\r\n|DATA\r\n|DATA\r\n",
                "RCPT TO:<a@b>\r\n|RCPT TO:<a@b>\r\n|RCPT TO:<a@b>\r\n|RCPT TO:<a@b>\r\n",
            ],
            &["RSET\r\n|RSET\r\n|RSET\r\n|RSET\r\n|RSET\r\n"],
        ),
        long(
            Rule::TooManyCommands,
            "NOOP\r\n|".repeat(21),
            "NOOP\r\n|".repeat(20),
        ),
        row(
            Rule::TooManyEmptyLines,
            &["\r\n|\r\n|\r\n|\r\n"],
            &["$\r\n\r\n\r\n\r\n\r\n.\r\n"],
        ),
        row(
            Rule::ControlInCommand,
            &["EHLO a\0\r\n", "EHLO a\x1b\r\n"],
            &["$A: b\r\n\r\n\x1b\r\n.\r\n"],
        ),
        row(
            Rule::NotAsciiEnvelope,
            &[
                "EHLO a\r\n|MAIL FROM:<\u{fc}@b>\r\n",
                "^RCPT TO:<\u{fc}@b>\r\n",
            ],
            &["EHLO a\r\n|MAIL FROM:<\u{fc}@\u{fc}.example> SMTPUTF8\r\nRCPT TO:<\u{fc}@b>\r\n"],
        ),
        row(
            Rule::NulInContent,
            &["$A: b\r\n\r\n\0.\r\n.\r\n"],
            &["$A: b\r\n\r\n\u{1}\u{7f}\r\n.\r\n"],
        ),
        row(
            Rule::ParameterNotOffered,
            &[
                "EHLO a\r\n|MAIL FROM:<> XEVIL=1\r\n",
                "HELO a\r\n|MAIL FROM:<> SIZE=1\r\n",
            ],
            &["EHLO a\r\n|MAIL FROM:<> SIZE=1 BODY=8BITMIME RET=FULL\r\n"],
        ),
        row(
            Rule::ParameterSyntax,
            &[
                "EHLO a\r\n|MAIL FROM:<> SIZE=1 SIZE=2\r\n",
                "EHLO a\r\n|MAIL FROM:<> ENVID=\"\r\n",
            ],
            &["EHLO a\r\n|MAIL FROM:<> ENVID=QQ+2B1\r\n"],
        ),
        row(
            Rule::ParameterControl,
            &["^RCPT TO:<e@f> ORCPT=rfc822;a+0D+0Ab\r\n"],
            &["^RCPT TO:<e@f> ORCPT=rfc822;a+2Bb\r\n"],
        ),
        row(
            Rule::ProxyCommand,
            &[
                "XCLIENT ADDR=192.0.2.1\r\n",
                "PROXY TCP4 a b 1 2\r\n",
                "XFORWARD NAME=a\r\n",
            ],
            &["VRFY XCLIENT\r\n"],
        ),
    ]
}

/// The rules that refuse something of a session, and those that were noticed.
fn run(script: &str, actions: Actions) -> (BTreeSet<Rule>, BTreeSet<Rule>) {
    let offer = Offer {
        eight_bit: true,
        dsn: true,
        pipelining: true,
        size: Some(2000),
        starttls: true,
        utf8: true,
        ..Offer::default()
    };
    let limits = Limits {
        commands: 20,
        errors: 3,
        empty_lines: 3,
        recipients: 3,
        auth_failures: 2,
        content: ContentLimits {
            size: 2000,
            discard: 10_000,
            headers: HeaderLimits {
                block: 500,
                one: 250,
                count: 50,
                addresses: 8,
                received: 10,
            },
        },
    };
    let mut session = Session::new(offer, actions, limits);
    let mut refused = BTreeSet::new();
    let mut content = Vec::new();
    let script = script.replace('^', BEGUN);
    let script = match script.strip_prefix('$') {
        Some(rest) => format!("{DATA}{rest}"),
        None => script,
    };
    for part in script.split('|') {
        let mut rest = part.as_bytes();
        while !rest.is_empty() {
            let taken = session.feed(rest);
            rest = &rest[taken..];
            loop {
                match session.step(&mut content) {
                    Step::Feed | Step::Command(Command::Quit) => break,
                    Step::Command(_) | Step::Credentials(_) => session.answered(true),
                    Step::Refused(refusal) | Step::GiveUp(refusal) => {
                        refused.insert(refusal.rule);
                        if refusal.closes() {
                            break;
                        }
                    }
                    Step::Message { refused: by, .. } => refused.extend(by.map(|by| by.rule)),
                }
            }
        }
    }
    let monitored = session.take_monitored().into_iter().collect();
    (refused, monitored)
}

#[test]
fn every_rule_refuses_its_cases_and_passes_their_look_alikes() {
    let mut seen = BTreeSet::new();
    for (rule, refused, passes) in table() {
        seen.insert(rule);
        for script in refused {
            let (by, _) = run(&script, Actions::default());
            assert!(
                by.contains(&rule),
                "{} does not refuse {script:?}: {by:?}",
                rule.name()
            );
        }
        for script in passes {
            let (by, _) = run(&script, Actions::default());
            assert!(
                by.is_empty(),
                "{script:?}, a look-alike of {}, is refused: {by:?}",
                rule.name()
            );
        }
    }
    // Those that are only monitored by default are refused where a policy says so.
    let strict = [
        (
            Rule::LocalPartTooLong,
            format!("EHLO a\r\n|MAIL FROM:<{}@b>\r\n", "a".repeat(65)),
        ),
        (
            Rule::AddressWithoutBrackets,
            "EHLO a\r\n|MAIL FROM:a@b\r\n".to_owned(),
        ),
        (
            Rule::AddressDots,
            "EHLO a\r\n|MAIL FROM:<a..b.@c>\r\n".to_owned(),
        ),
        (Rule::ControlInHeader, "$A: \u{1}b\r\n.\r\n".to_owned()),
        (Rule::TalksBeforeReply, "^DATA\r\nA: b\r\n.\r\n".to_owned()),
        (Rule::BareLfInContent, "$A: b\n\n.\n\r\n.\r\n".to_owned()),
    ];
    for (rule, script) in strict {
        let actions = Actions::default();
        let (by, _) = run(&script, actions.clone().with(rule, Action::Refuse));
        assert!(by.contains(&rule), "{script:?}");
        let (by, monitored) = run(&script, actions.with(rule, Action::Monitor));
        assert!(
            by.is_empty() && monitored.contains(&rule),
            "{script:?}: {by:?}"
        );
        seen.insert(rule);
    }
    seen.extend(ELSEWHERE);
    // `what_is_wrong_with_an_auth_is_refused`, below.
    seen.extend([
        Rule::AuthMechanism,
        Rule::AuthBase64,
        Rule::AuthNul,
        Rule::AuthRequired,
        Rule::TooManyAuthFailures,
    ]);
    seen.extend([Rule::TalksBeforeBanner, Rule::HeaderNotUtf8]);
    let unseen: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !seen.contains(rule))
        .collect();
    assert!(unseen.is_empty(), "no case for {unseen:?}");
}

#[test]
fn every_rule_is_described_as_it_is() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/shield.md");
    let page = std::fs::read_to_string(page).unwrap();
    for rule in Rule::ALL {
        let begin = format!("| {} | `{}` |", rule.family(), rule.name());
        let row = page.lines().find(|line| line.starts_with(&begin));
        let row = row.unwrap_or_else(|| unreachable!("no row {begin}"));
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells[3], rule.default_action().name(), "{row}");
        let mut answer = rule.reply().to_wire()[..9].to_owned();
        if rule.closes() {
            answer += ", closes";
        }
        assert_eq!(cells[4], answer, "{row}");
        let monitored = cells[5].trim_end_matches(" |");
        let expected = if rule.is_fixed() {
            "-"
        } else {
            rule.when_monitored()
        };
        assert_eq!(monitored, expected, "{row}");
    }
}

#[test]
fn a_client_that_speaks_before_the_banner_is_refused() {
    let mut session = Session::new(Offer::default(), Actions::default(), Limits::default());
    assert_eq!(session.before_banner(), None);
    session.feed(b"EHLO a\r\n");
    assert_eq!(
        session.before_banner().unwrap().rule,
        Rule::TalksBeforeBanner
    );
}

#[test]
fn a_header_that_is_not_utf8_is_noticed_and_passes() {
    let mut session = Session::new(Offer::default(), Actions::default(), Limits::default());
    let mut content = Vec::new();
    for part in [
        &b"HELO a\r\n"[..],
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<a@b>\r\n",
        b"DATA\r\n",
    ] {
        session.feed(part);
        assert!(matches!(session.step(&mut content), Step::Command(_)));
        session.answered(true);
    }
    session.feed(b"Subject: gr\xfc\xdfe\r\n.\r\n");
    assert_eq!(
        session.step(&mut content),
        Step::Message {
            refused: None,
            size: 16
        }
    );
    assert_eq!(session.take_monitored(), [Rule::HeaderNotUtf8]);
}

#[test]
fn after_starttls_nothing_is_kept_of_what_was_said_before() {
    let offer = Offer {
        starttls: true,
        ..Offer::default()
    };
    let mut session = Session::new(offer, Actions::default(), Limits::default());
    let mut content = Vec::new();
    for part in [&b"EHLO a\r\n"[..], b"MAIL FROM:<>\r\n", b"STARTTLS\r\n"] {
        session.feed(part);
        assert!(matches!(session.step(&mut content), Step::Command(_)));
        session.answered(true);
    }
    session.secured(Offer::default());
    session.feed(b"RCPT TO:<a@b>\r\n");
    let Step::Refused(refusal) = session.step(&mut content) else {
        unreachable!("the envelope was forgotten");
    };
    assert_eq!(refusal.rule, Rule::CommandOrder);
}

#[test]
fn a_line_without_an_end_takes_bounded_memory_and_ends() {
    let mut session = Session::new(Offer::default(), Actions::default(), Limits::default());
    let mut content = Vec::new();
    for _ in 0..100 {
        assert!(session.room() >= 1024);
        session.feed(&[b'a'; 1024]);
        if let Step::Refused(refusal) = session.step(&mut content) {
            assert!(refusal.closes());
            return;
        }
    }
    unreachable!("100 KiB of one line were read");
}

/// What an authentication is refused by, and how often a client was authenticated. `|` is where it waits; what is in
/// `failing` the server behind refuses.
fn authenticate(script: &str, secure: bool, failing: &[&str]) -> (Vec<Rule>, bool) {
    let offer = Offer {
        auth: [Mechanism::Plain, Mechanism::Login].into_iter().collect(),
        pipelining: true,
        ..Offer::default()
    };
    let limits = Limits {
        auth_failures: 2,
        ..Limits::default()
    };
    let mut session = Session::new(offer.clone(), Actions::default(), limits).requiring_auth();
    if secure {
        session.secured(offer);
    }
    let mut refused = Vec::new();
    let mut content = Vec::new();
    for part in script.split('|') {
        session.feed(part.as_bytes());
        loop {
            match session.step(&mut content) {
                Step::Feed => break,
                Step::Command(Command::Auth { initial: None, .. }) => session.challenged(),
                Step::Command(Command::Auth { initial, .. }) | Step::Credentials(initial) => {
                    let data = initial.as_ref().map_or("*", |data| data.as_str());
                    session.answered(!failing.contains(&data));
                }
                Step::Command(_) => session.answered(true),
                Step::Refused(refusal) => {
                    refused.push(refusal.rule);
                    if refusal.closes() {
                        break;
                    }
                }
                Step::Message { .. } | Step::GiveUp(_) => unreachable!(),
            }
        }
    }
    (refused, session.is_authenticated())
}

#[test]
fn what_is_wrong_with_an_auth_is_refused() {
    let greeted = |script: &str| {
        let script = format!("EHLO a\r\n|{script}");
        authenticate(&script, true, &["*", "AGEAYg=="])
    };
    for (script, rule) in [
        ("AUTH NTLM\r\n", Rule::AuthMechanism),
        ("AUTH CRAM-MD5\r\n", Rule::AuthMechanism),
        ("AUTH PLAIN AHUAcA=\r\n", Rule::AuthBase64),
        ("AUTH PLAIN\r\n|AHUAcA=\r\n", Rule::AuthBase64),
        ("AUTH PLAIN\r\n|dXNlcg==\r\n", Rule::AuthNul),
        ("AUTH LOGIN\r\n|AHUAcA==\r\n", Rule::AuthNul),
        ("AUTH PLAIN\r\nAHUAcA==\r\n", Rule::TalksBeforeReply),
        (
            "AUTH PLAIN\r\n|AHUAcA==\r\nMAIL FROM:<>\r\n",
            Rule::TalksBeforeReply,
        ),
        ("MAIL FROM:<>\r\n", Rule::AuthRequired),
        ("AUTH PLAIN\r\n|*\r\n|MAIL FROM:<>\r\n", Rule::AuthRequired),
        (
            "AUTH PLAIN AGEAYg==\r\n|MAIL FROM:<>\r\n",
            Rule::AuthRequired,
        ),
    ] {
        assert_eq!(greeted(script), (vec![rule], false), "{script:?}");
    }
    let passes = "AUTH PLAIN AHUAcA==\r\n|MAIL FROM:<>\r\n";
    assert_eq!(greeted(passes), (vec![], true));
    assert_eq!(greeted("AUTH LOGIN\r\n|dXNlcg==\r\n"), (vec![], true));
    let again = "AUTH PLAIN AHUAcA==\r\n|AUTH PLAIN AHUAcA==\r\n";
    assert_eq!(greeted(again), (vec![Rule::CommandOrder], true));
    let guessing = "AUTH PLAIN AGEAYg==\r\n|AUTH PLAIN\r\n|*\r\n|AUTH PLAIN AHUAcA==\r\n";
    assert_eq!(greeted(guessing), (vec![Rule::TooManyAuthFailures], false));
    // In clear, or without EHLO, nothing of the kind is taken.
    let (refused, _) = authenticate("EHLO a\r\n|AUTH PLAIN AHUAcA==\r\n", false, &[]);
    assert_eq!(refused, [Rule::AuthNotOffered]);
    let (refused, _) = authenticate("HELO a\r\n|AUTH PLAIN AHUAcA==\r\n", true, &[]);
    assert_eq!(refused, [Rule::AuthNotOffered]);
}

#[test]
fn what_was_pipelined_behind_a_refused_mail_is_no_error_of_its_own() {
    let recipients = "RCPT TO:<c@d>\r\n".repeat(15);
    let script = format!("EHLO a\r\n|MAIL FROM:<a..@@>\r\n{recipients}DATA\r\n");
    let (refused, _) = run(&script, Actions::default());
    assert_eq!(
        refused,
        BTreeSet::from([Rule::AddressSyntax, Rule::CommandOrder])
    );
}

#[test]
fn what_was_not_read_can_be_taken_back() {
    let mut session = Session::new(Offer::default(), Actions::default(), Limits::default());
    session.feed(b"HELO a.example\r\nNOOP\r\nQU");
    let mut content = Vec::new();
    session.step(&mut content);
    assert_eq!(session.unread(), b"NOOP\r\nQU");
    assert_eq!(session.step(&mut content), Step::Feed);
}
