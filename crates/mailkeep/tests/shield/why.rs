//! `mailkeep shield why`.

use crate::common::Bench;

/// A log as a shield writes it: a session with a message that is refused and one that goes on, and another's.
const LOG: &str = r#"{"event":"listening","time":"2026-11-21T09:00:00Z","listener":"mx","address":"0.0.0.0:25"}
{"event":"monitored","time":"2026-11-21T10:00:00Z","trace":"18f-2-1","listener":"mx","client":"192.0.2.7","rule":"header-not-utf8","family":"G11"}
{"event":"message","time":"2026-11-21T10:00:01Z","trace":"18f-2-1","listener":"mx","client":"192.0.2.7","verdict":"refuse","size":812,"recipients":1,"sender_domain":"client.example","rule":"infected","rules":["infected"],"content":"refuse","evidence":"clamav: Eicar-Test","checks":[{"check":"content","verdict":"accept","rule":"html-form","evidence":"form \u001b[31m","place":"part 1"},{"check":"antivirus","evidence":"clamav: Eicar-Test","place":"","rule":"infected","verdict":"refuse"},{"check":"sender","evidence":"spf=pass smtp.mailfrom=a@client.example"}]}
{"event":"message","time":"2026-11-21T10:00:02Z","trace":"18f-2-2","listener":"mx","client":"192.0.2.7","verdict":"accept","code":250,"answer":"queued"}
{"event":"session","time":"2026-11-21T10:00:03Z","trace":"18f-2","listener":"mx","client":"192.0.2.7","end":"quit"}
{"event":"session","time":"2026-11-21T10:00:04Z","trace":"18f-22","listener":"mx","client":"192.0.2.8","end":"gone"}
"#;

/// What a person reads of it.
const TOLD: &str = "\
18f-2-1: client 192.0.2.7 by mx
2026-11-21T10:00:00Z  monitored header-not-utf8 (G11)
2026-11-21T10:00:01Z  message: refuse infected
    [content]    accept  html-form  part 1  form ?[31m
    [antivirus]  refuse  infected  clamav: Eicar-Test
    [sender]     spf=pass smtp.mailfrom=a@client.example
    recipients   1
    sender_domain client.example
    size         812
2026-11-21T10:00:03Z  session quit
    trace        18f-2
";

#[test]
fn each_check_of_a_message_is_shown_with_its_evidence_in_order() {
    let bench = Bench::new();
    bench.write("shield.log", LOG);
    let ran = bench.run(&[
        "shield",
        "why",
        "(reference 18f-2-1)",
        "--log",
        "shield.log",
    ]);
    let ran = ran.exits(0);
    assert_eq!(ran.out.replace('\u{fffd}', "?"), TOLD);
    // A session shows all its messages, and no other's.
    let ran = bench.run(&["shield", "why", "18f-2", "--log", "shield.log"]);
    let ran = ran
        .exits(0)
        .prints("message: accept")
        .prints("message: refuse");
    assert!(!ran.out.contains("192.0.2.8"), "{}", ran.out);
}

#[test]
fn what_journalctl_gives_is_read_as_well() {
    let bench = Bench::new();
    let octets = |line: &str| serde_json::json!(line.as_bytes());
    let journal = |message: serde_json::Value| {
        serde_json::json!({"__REALTIME_TIMESTAMP": "1", "MESSAGE": message}).to_string()
    };
    let texts: String = LOG
        .lines()
        .map(|line| journal(line.into()) + "\n")
        .collect();
    let numbers: String = LOG
        .lines()
        .map(|line| journal(octets(line)) + "\n")
        .collect();
    let dated: String = LOG
        .lines()
        .map(|line| format!("Nov 21 10:00:00 mx mailkeep-shield[7]: {line}\n"))
        .collect();
    for (nth, log) in [texts, numbers, dated].iter().enumerate() {
        let name = format!("{nth}.log");
        bench.write(&name, format!("{}\n{log}", journal("Started.".into())));
        let ran = bench
            .run(&["shield", "why", "18f-2-1", "--log", &name])
            .exits(0);
        assert_eq!(ran.out.replace('\u{fffd}', "?"), TOLD);
    }
    // Long lines are left out by `journalctl -o json`, and that is said.
    bench.write("cut.log", journal(serde_json::Value::Null));
    bench
        .run(&["shield", "why", "18f-2-1", "--log", "cut.log"])
        .exits(2)
        .says("-o cat");
}

#[test]
fn an_id_of_which_nothing_is_known_exits_1_and_what_is_no_log_2() {
    let bench = Bench::new();
    bench.write("shield.log", LOG);
    bench
        .run(&["shield", "why", "18f-9", "--log", "shield.log"])
        .exits(1)
        .prints("No line of this log is about 18f-9. It goes from 2026-11-21T09:00:00Z to 2026-11-21T10:00:04Z");
    bench
        .run(&["shield", "why", "everything", "--log", "shield.log"])
        .exits(2)
        .says("is no id of a shield");
    bench.write("other.log", "hello\n{}\n");
    bench
        .run(&["shield", "why", "18f-9", "--log", "other.log"])
        .exits(2)
        .says("none of the 2 lines of this log is a shield's");
    bench
        .run(&["shield", "why", "18f-9", "--log", "missing.log"])
        .exits(2)
        .says("cannot read missing.log");
    // Standard input is empty here.
    bench
        .run(&["shield", "why", "18f-9"])
        .exits(2)
        .says("none of the 0 lines");
}

#[test]
fn the_lines_themselves_can_be_had() {
    let bench = Bench::new();
    bench.write("shield.log", LOG);
    let ran = bench.run(&[
        "shield",
        "why",
        "18f-2-2",
        "--log",
        "shield.log",
        "--format",
        "jsonl",
    ]);
    let ran = ran.exits(0);
    let lines: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["code"], 250);
}
