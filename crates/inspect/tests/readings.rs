//! What holds for any message, and for any message that is in order.
#![allow(
    clippy::format_collect,
    clippy::format_push_string,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise"
)]

mod mail;

use mail::based;
use mailkeep_inspect::{Budget, Limits, Profile, judge, readings};
use proptest::prelude::*;

/// What messages are broken with.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "Content-Type: ", "Content-Transfer-Encoding: ", "Content-Disposition: ", "multipart/mixed", "message/rfc822", "text/plain",
            "; boundary=a", "; boundary=\"ab\"", "; boundary*0=a", "; name=", "; filename*=utf-8''", "base64", "quoted-printable", "x-uuencode",
            "\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", ":", ";", "\"", "(", ")", "\\", "=", "\0", "--a", "--ab", "--a--", "--ab--", "TVqQAAMAAAAE", "Zm9v", "=4D=5A",
            "begin 644 x\r\n", "#0V%T\r\n", "end\r\n", "=ybegin name=x\r\n", "=?utf-8?B?YQ==?=", "PK\u{3}\u{4}", "From x\r\n", "%41", "'",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_list_of_mailboxes_breaks_the_reader(value in "[a-c.@ <>(),:;\\[\\]\"\\\\=?\n]{0,80}") {
        mailkeep_inspect::from::fuzz(value.as_bytes());
    }

    #[test]
    fn no_message_breaks_the_reader(message in pieces()) {
        readings::fuzz(&message);
    }

    #[test]
    fn parts_in_order_are_found_as_they_are(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..300), "[a-z]{1,8}\\.[a-z]{3}"), 1..6),
        crlf in any::<bool>(),
    ) {
        let mut message = String::from("Subject: x\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n");
        for (octets, name) in &parts {
            message.push_str(&format!(
                "--=_b\r\nContent-Type: application/x-any; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                based(octets)
            ));
        }
        message += "--=_b--\r\n";
        if !crlf {
            message = message.replace("\r\n", "\n");
        }
        let mut budget = Budget::new(&Limits::default());
        let found = readings::read(message.as_bytes(), &mut budget);
        prop_assert!(found.notes.is_empty(), "{:?}", found.notes);
        for (octets, name) in &parts {
            let is_there = found.contents.iter().any(|found| {
                found.usual && found.content.octets.trim_ascii_end() == octets.trim_ascii_end() && found.content.names.contains(name)
            });
            prop_assert!(is_there);
        }
    }
}

/// Twice the message, about twice the work: counted in what is brought forth.
#[test]
fn hostile_messages_stay_within_the_budget() {
    let many = "Content-Type: multipart/mixed; boundary=a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--a\r\n--b\r\n";
    let comments = format!("Content-Type: {}\r\n\r\n", "(".repeat(60_000));
    let words = format!(
        "Content-Disposition: attachment; filename=\"{}\"\r\n\r\nx",
        "=?".repeat(30_000)
    );
    let segments = format!(
        "Content-Disposition: attachment{}\r\n\r\nx",
        (0..5000)
            .map(|number| format!("; filename*{number}=a"))
            .collect::<String>()
    );
    let boundaries = format!(
        "Content-Type: multipart/mixed{}\r\n\r\n{}",
        "; boundary=a".repeat(4000),
        "--a\r\n".repeat(5000)
    );
    let names = format!("Content-Type: {}\r\n\r\n", "name=".repeat(12_000));
    let fields = "Content-Type: text/plain\r\n".repeat(20_000);
    let begins = "begin 644 x\r\n".repeat(20_000);
    let loose = "Content-Type: text/plain\r\n\r\nx\r\n".repeat(20_000);
    let runs = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo ".repeat(20_000);
    let short = "AA\r\n".repeat(20_000);
    let open = format!("Content-Type: {}\r\n\r\n", "name(".repeat(12_000));
    for message in [
        format!("Subject: x\r\n\r\n{short}"),
        open,
        many.repeat(1000),
        comments,
        words,
        segments,
        boundaries,
        names,
        fields,
        begins,
        loose,
        runs,
    ] {
        readings::fuzz(message.as_bytes());
    }
}

#[test]
fn more_boundaries_than_are_followed_are_a_limit() {
    let is_limit = |boundaries: &str| {
        let message = format!("Content-Type: multipart/mixed{boundaries}\r\n\r\n--b0\r\n\r\nx\r\n");
        rules_of(&message).contains(&"limit-readings".to_owned())
    };
    let named = |count: usize, ending: &str| -> String {
        let one = |number| format!("; boundary=\"b{number}{ending}\"");
        (0..count).map(one).collect()
    };
    assert!(!is_limit(&named(8, "")));
    assert!(is_limit(&named(40, "")));
    // Of each of these, readers cut off the end in more ways than one.
    assert!(!is_limit(&named(4, "'<>x[y]")));
    assert!(is_limit(&named(16, "'<>x[y]")));
}

#[test]
fn a_draft_that_is_fetched_from_a_server_by_hand_may_be_announced() {
    let refused = |parameters: &str, kind: &str| {
        let message =
            format!("Content-Type: message/external-body; {parameters}\r\n\r\n{kind}\r\n\r\n");
        rules_of(&message).contains(&"message-external-body".to_owned())
    };
    let text = "Content-Type: text/plain\r\nContent-ID: <1@example.org>";
    let draft = "name=\"draft-a.txt\"; site=\"ftp.example.org\"; access-type=\"anon-ftp\"; directory=\"drafts\"";
    assert!(!refused(draft, text));
    assert!(!refused(
        "access-type=\"mail-server\"; server=\"a@example.org\"",
        text
    ));
    for (parameters, kind) in [
        (draft, "Content-Type: application/octet-stream"),
        (draft, "Content-ID: <1@example.org>"),
        (draft, "Content-Type: text/plain\r\nContent-Type: text/html"),
        ("name=\"a.exe\"; access-type=\"anon-ftp\"", text),
        (
            "name=\"a.txt\"; name=\"a.exe\"; access-type=\"anon-ftp\"",
            text,
        ),
        ("access-type=\"anon-ftp\"; access-type=\"local-file\"", text),
        (
            "access-type=\"anon-ftp\"; access-type*=us-ascii''local-file",
            text,
        ),
        ("access-type*0=anon-; access-type*1=ftp", text),
        (
            "access-type=\"anon-ftp\"; name=\"a.txt\"; name*=us-ascii''a.exe",
            text,
        ),
        ("access-type=URL; URL=\"http://example.org/a.txt\"", text),
        ("access-type=local-file; name=\"a.txt\"", text),
        ("name=\"a.txt\"", text),
    ] {
        assert!(refused(parameters, kind), "{parameters} {kind}");
    }
}

#[test]
fn a_file_is_told_of_however_many_texts_come_first() {
    let texts = "--b\r\n\r\ntext\r\n".repeat(70);
    let message = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{texts}--b\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n--b--\r\n"
    );
    let message = message.as_bytes();
    assert!(judge(message, &Profile::default()).files);
    let hidden = b"Subject: x\r\n\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n";
    assert!(judge(hidden, &Profile::default()).files);
    assert!(!judge(b"Subject: x\r\n\r\nplain\r\n", &Profile::default()).files);
}

/// The names of the rules that have something to say of a message.
fn rules_of(message: &str) -> Vec<String> {
    judge(message.as_bytes(), &Profile::default())
        .reasons
        .iter()
        .map(|reason| reason.rule.to_string())
        .collect()
}

fn assert_says(message: &str, rule: &str) {
    let rules = rules_of(message);
    assert!(rules.iter().any(|said| said == rule), "{rule}: {rules:?}");
}

#[test]
fn messages_in_attachments_are_followed_no_deeper_than_any() {
    let message = "Content-Type: application/octet-stream; name=a.eml\r\nSubject: x\r\n\r\n";
    assert_says(&message.repeat(900), "limit-depth");
}

#[test]
fn messages_of_types_that_few_know_are_read_once_on_each_level() {
    for header in [
        "Content-Type: message/foo\r\n\r\n",
        "Content-Type: message/foo\r\nSubject: x\r\nFrom: a@example.org\r\n\r\n",
    ] {
        let message = format!("{}plain words\r\n", header.repeat(18));
        assert_eq!(rules_of(&message), [""; 0], "{header}");
    }
}

#[test]
fn what_is_harmless_drowns_no_other_note() {
    let odd = "--b\r\nContent-Disposition: inline\r\nContent-Disposition: attachment\r\n\r\n";
    let message = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b\r\nContent-Type: message/partial; id=x; number=1; total=2\r\n\r\nx\r\n--b--\r\n",
        odd.repeat(300)
    );
    assert_says(&message, "message-partial");
}

#[test]
fn more_names_than_are_kept_are_a_limit() {
    let names: String = (0..40)
        .map(|number| format!("; filename=a{number}.txt"))
        .collect();
    let message =
        format!("Content-Disposition: attachment{names}; filename=run.hta\r\n\r\nplain\r\n");
    assert_says(&message, "limit-readings");
}

#[test]
fn headers_of_more_lines_than_are_read_are_a_limit() {
    let folds = " x\r\n".repeat(10_001);
    let message = format!(
        "A: b\r\n{folds}B: c\r\n{folds}Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n"
    );
    assert_says(&message, "limit-readings");
}

#[test]
fn types_without_end_cost_no_more_than_their_octets() {
    let types: String = (0..2000)
        .map(|line| {
            let boundaries: String = (0..100)
                .map(|number| format!("; boundary=b{line}-{number}"))
                .collect();
            format!("Content-Type: multipart/mixed{boundaries}\r\n")
        })
        .collect();
    assert_says(&format!("{types}\r\nx"), "limit-readings");
    let encodings: String = (0..20_000)
        .map(|line| format!("Content-Transfer-Encoding: x{line}\r\n"))
        .collect();
    assert_says(&format!("{encodings}\r\nx"), "limit-readings");
}

#[test]
fn encoded_words_that_never_end_are_looked_at_once() {
    let words = "=?a?q?x".repeat(9000);
    readings::fuzz(
        format!("Content-Disposition: attachment; filename=\"{words}\"\r\n\r\nx").as_bytes(),
    );
}

#[test]
fn boundary_lines_without_end_are_a_limit() {
    let message = format!(
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n{}",
        "--a\r\n".repeat(300_000)
    );
    assert_says(&message, "limit-parts");
}

#[test]
fn what_readings_copy_is_paid_for() {
    let names: String = (0..15)
        .map(|number| format!("; boundary=b{number}"))
        .collect();
    let cuts: String = (0..15)
        .map(|number| format!("--b{number}\r\n\r\n"))
        .collect();
    let text = "plain words in lines\r\n".repeat(15_000);
    let inner = format!("Content-Type: multipart/mixed{names}\r\n\r\n{cuts}{text}");
    let message = format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        based(inner.as_bytes())
    );
    readings::fuzz(message.as_bytes());
}

#[test]
fn parts_within_parts_are_searched_within_a_limit() {
    let boundaries: String = (0..15)
        .map(|number| format!("; boundary=b{number}"))
        .collect();
    let mut message = String::from("Subject: x\r\n");
    for level in 0..18 {
        message +=
            &format!("Content-Type: multipart/mixed{boundaries}x{level}\r\n\r\n--b14x{level}\r\n");
    }
    message += &format!("\r\n{}", "plain words here\r\n".repeat(3000));
    let profile = Profile {
        limits: Limits {
            searched: 100 * message.len() as u64,
            ..Limits::default()
        },
        ..Profile::default()
    };
    let judgement = judge(message.as_bytes(), &profile);
    assert_eq!(
        judgement.deciding().map(|reason| &*reason.rule),
        Some("limit-readings")
    );
    assert_eq!(rules_of(&message), Vec::<String>::new());
}

#[test]
fn a_digest_of_many_messages_is_in_order() {
    let one = "--b\r\n\r\nFrom: ada@example.org\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n";
    let digest = |last: &str| {
        format!(
            "Content-Type: multipart/digest; boundary=b\r\n\r\n{}{last}--b--\r\n",
            one.repeat(100)
        )
    };
    let judgement = |message: String| judge(message.as_bytes(), &Profile::default());
    assert_eq!(judgement(digest("")).reasons, []);
    let attached = "--b\r\n\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nx\r\n";
    let judgement = judgement(digest(attached));
    assert_eq!(judgement.deciding().unwrap().rule, "dangerous-name");
}
