//! `mailkeep shield scan`.

use serde_json::Value;

use crate::common::Bench;

const HONEST: &str =
    "From: Ada <ada@example.net>\nTo: grace@example.org\nSubject: Hello\n\nHello!\n";

/// A script whose name has two readings.
const HIDDEN: &str = "From: Ada <ada@example.net>\nSubject: Files\nMIME-Version: 1.0\n\
    Content-Type: multipart/mixed; boundary=a; boundary=b\n\n\
    --a\nContent-Type: text/plain\n\nHello!\n--a--\n\
    --b\nContent-Type: application/octet-stream; name=\"run.vbs\"\n\nWScript.Echo \"hello\"\n--b--\n";

fn objects(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn messages_in_files_directories_and_mailboxes_are_judged() {
    let bench = Bench::new();
    let honest = bench.write("honest.eml", HONEST);
    let maildir = bench.path("Maildir");
    bench.write("Maildir/cur/1.a:2,S", HONEST);
    bench.write("Maildir/new/2.b", HIDDEN);
    bench.write("Maildir/tmp/3.c", HIDDEN);
    bench.write("Maildir/.Sent/cur/4.d:2,S", HONEST);
    bench.write("Maildir/.Sent/new/.keep", "");
    bench.write("Maildir/dovecot.index", "\0\0");
    let mailbox = bench.write(
        "box",
        format!("From a@b Sat Nov 21\n{HONEST}\nFrom c@d Sat Nov 21\n{HIDDEN}\n"),
    );
    let ran = bench
        .run(&[
            "shield",
            "scan",
            &honest,
            maildir.to_str().unwrap(),
            &mailbox,
            "--format",
            "jsonl",
        ])
        .exits(1);
    let seen: Vec<(String, Option<u64>, String)> = objects(&ran.out)
        .iter()
        .map(|object| {
            let file = object["file"].as_str().unwrap();
            (
                file.rsplit('/').next().unwrap().to_owned(),
                object["index"].as_u64(),
                object["verdict"].as_str().unwrap().to_owned(),
            )
        })
        .filter(|(file, ..)| file != ".keep")
        .collect();
    let expected = [
        ("honest.eml", None, "accept"),
        ("4.d:2,S", None, "accept"),
        ("1.a:2,S", None, "accept"),
        ("2.b", None, "refuse"),
        ("box", Some(1), "accept"),
        ("box", Some(2), "refuse"),
    ];
    let expected: Vec<_> = expected
        .map(|(file, index, verdict)| (file.to_owned(), index, verdict.to_owned()))
        .into();
    assert_eq!(seen, expected);
}

#[test]
fn a_reason_says_which_rule_and_what_it_saw() {
    let bench = Bench::new();
    let hidden = bench.write("hidden.eml", HIDDEN);
    let ran = bench
        .run(&["shield", "scan", "--format", "jsonl", &hidden])
        .exits(1);
    let object = &objects(&ran.out)[0];
    let rules: Vec<&str> = object["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["rule"].as_str().unwrap())
        .collect();
    assert!(rules.contains(&"mime-ambiguous"), "{object}");
    bench
        .run(&["shield", "scan", &hidden])
        .exits(1)
        .prints("hidden.eml: refuse")
        .prints("mime-ambiguous: The message is broken")
        .prints("1 message judged, 0 accepted, 1 not");
}

#[test]
fn accepted_mail_ends_well_and_is_not_listed() {
    let bench = Bench::new();
    let honest = bench.write("honest.eml", HONEST);
    let ran = bench.run(&["shield", "scan", &honest]).exits(0);
    assert_eq!(ran.out, "1 message judged, 1 accepted, 0 not\n");
    bench
        .run(&["shield", "scan", "--all", "--level", "paranoid", &honest])
        .exits(0)
        .prints("honest.eml: accept");
}

#[test]
fn what_comes_by_a_pipe_is_judged_whole() {
    let bench = Bench::new();
    let mailbox =
        format!("From a@b Sat Nov 21 10:00:00\n{HONEST}\nFrom c@d Sat Nov 21 10:00:00\n{HIDDEN}\n");
    for path in ["-", "/dev/stdin"] {
        let scan = ["shield", "scan", "--format", "jsonl", path];
        let ran = bench.run_with(&scan, HIDDEN.as_bytes()).exits(1);
        assert_eq!(objects(&ran.out)[0]["verdict"], "refuse");
        bench.run_with(&scan, HONEST.as_bytes()).exits(0);
        let ran = bench.run_with(&scan, mailbox.as_bytes()).exits(1);
        let all = objects(&ran.out);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["verdict"], "refuse");
        assert_eq!(all[1]["file"], path);
        bench.run_with(&scan, b"").exits(2).says("nothing came");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_judged() {
    let bench = Bench::new();
    let hidden = bench.write("hidden.eml", HIDDEN);
    let absent = bench.path("absent.eml");
    let ran = bench
        .run(&[
            "shield",
            "scan",
            "--format",
            "jsonl",
            absent.to_str().unwrap(),
            &hidden,
        ])
        .exits(2)
        .says("absent.eml");
    assert_eq!(objects(&ran.out).len(), 1);
    bench.run(&["shield", "scan"]).exits(2);
    bench
        .run(&["shield", "scan", "--level", "none", &hidden])
        .exits(2);
}
