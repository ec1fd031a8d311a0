//! `mailkeep shield export --suricata` on a real Suricata, and what that says of it read by `mailkeep shield eve`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etherparse::PacketBuilder;
use mailkeep_inspect::rules::{Case, builtin, read_alerts};
use mailkeep_model::Realm;
use mailkeep_store::{SqliteStore, Store as _};

use crate::common::{Bench, Ran};

/// Suricata, and where its libraries lie if it was only unpacked; or why there is none.
fn suricata() -> Result<(PathBuf, Vec<PathBuf>), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut own = std::env::split_paths(&path).map(|folder| folder.join("suricata"));
    if let Some(program) = own.find(|program| program.is_file()) {
        return Ok((program, Vec::new()));
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let root = target.join("suricata");
    match xtask::lab::unpacked("suricata", &root) {
        Ok(true) => {}
        Ok(false) => {
            return Err(
                "not installed, and this machine has no source of Debian's packages".to_owned(),
            );
        }
        Err(error) => return Err(error.to_string().replace('\n', " ")),
    }
    let mut libraries = Vec::new();
    for folder in ["usr/lib", "lib"] {
        if let Ok(entries) = std::fs::read_dir(root.join(folder)) {
            libraries.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    Ok((root.join("usr/bin/suricata"), libraries))
}

/// What Suricata needs to look for its own.
const SETTINGS: &str = "%YAML 1.1\n---\n\
    reference-config-file: reference.config\n\
    classification-file: empty\n\
    threshold-file: empty\n\
    outputs:\n  - eve-log:\n      enabled: yes\n      filetype: regular\n      filename: eve.json\n      \
    types:\n        - alert:\n            metadata: yes\n        - smtp\n\
    app-layer:\n  protocols:\n    smtp:\n      enabled: yes\n\
    stream:\n  checksum-validation: no\n\
    pcre:\n  match-limit: 3500\n  match-limit-recursion: 1500\n";

/// Loads rules and, where there is one, reads a capture.
fn run(
    (program, libraries): &(PathBuf, Vec<PathBuf>),
    bench: &Bench,
    capture: Option<&str>,
) -> String {
    bench.write("suricata.yaml", SETTINGS);
    bench.write("empty", "");
    bench.write(
        "reference.config",
        "config reference: cve https://nvd.nist.gov/vuln/detail/CVE-\n",
    );
    let mut command = Command::new(program);
    command
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap())
        .current_dir(bench.path(""))
        .args([
            "-c",
            "suricata.yaml",
            "-S",
            "rules",
            "-l",
            ".",
            "-k",
            "none",
        ]);
    match capture {
        Some(capture) => command.args(["-r", capture]),
        None => command.arg("-T"),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text.into_owned()
}

/// A capture of sessions, each from an address of its own.
struct Capture(Vec<u8>);

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 25);

impl Capture {
    fn new() -> Self {
        let mut out = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        out.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(262_144_u32.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        Self(out)
    }

    fn packet(
        &mut self,
        from: (Ipv4Addr, u16),
        to: (Ipv4Addr, u16),
        numbers: (u32, u32),
        flag: char,
        octets: &[u8],
    ) {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(from.0.octets(), to.0.octets(), 60)
            .tcp(from.1, to.1, numbers.0, 65_000)
            .ack(numbers.1);
        let builder = match flag {
            's' => builder.syn(),
            'f' => builder.fin(),
            _ => builder.psh(),
        };
        let mut packet = Vec::new();
        builder.write(&mut packet, octets).unwrap();
        if flag == 's' && numbers.1 == 0 {
            // The first of all acknowledges nothing.
            packet[14 + 20 + 13] = 2;
        }
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let nth = u32::try_from(self.0.len()).unwrap();
        self.0
            .extend((1_795_300_000 + nth / 1_000_000).to_le_bytes());
        self.0.extend((nth % 1_000_000).to_le_bytes());
        self.0.extend(length);
        self.0.extend(length);
        self.0.extend(packet);
    }

    /// What a client says, and after each of it a server.
    fn session(&mut self, client: Ipv4Addr, talk: &[Vec<u8>]) {
        let (client, server) = ((client, 40_000), (SERVER, 25));
        let (mut sent, mut answered) = (1000_u32, 9000_u32);
        self.packet(client, server, (sent, 0), 's', b"");
        sent += 1;
        self.packet(server, client, (answered, sent), 's', b"");
        answered += 1;
        self.packet(client, server, (sent, answered), 'p', b"");
        let mut answer = |capture: &mut Self, text: &[u8], sent: u32| {
            capture.packet(server, client, (answered, sent), 'p', text);
            answered += u32::try_from(text.len()).unwrap();
            capture.packet(client, server, (sent, answered), 'p', b"");
            answered
        };
        let mut heard = answer(self, b"220 mx.example ESMTP\r\n", sent);
        for octets in talk {
            for piece in octets.chunks(1400) {
                self.packet(client, server, (sent, heard), 'p', piece);
                sent += u32::try_from(piece.len()).unwrap();
            }
            let text: &[u8] = if octets == b"DATA\r\n" {
                b"354 go on\r\n"
            } else {
                b"250 ok\r\n"
            };
            heard = answer(self, text, sent);
        }
        self.packet(client, server, (sent, heard), 'f', b"");
        self.packet(server, client, (heard, sent + 1), 'f', b"");
        self.packet(client, server, (sent + 1, heard + 1), 'p', b"");
    }
}

/// What a client says, piece by piece.
type Talk = Vec<Vec<u8>>;

fn message(octets: &[u8]) -> Talk {
    let mut content = octets.to_vec();
    content.extend(b"\r\n.\r\n");
    vec![
        b"EHLO client.example\r\n".to_vec(),
        b"MAIL FROM:<a@b.example>\r\n".to_vec(),
        b"RCPT TO:<c@d.example>\r\n".to_vec(),
        b"DATA\r\n".to_vec(),
        content,
        b"QUIT\r\n".to_vec(),
    ]
}

/// A self-test of a rule as a session.
fn talk(case: &Case) -> Talk {
    let octets = |text: &str| {
        if case.base64 {
            STANDARD.decode(text).unwrap()
        } else {
            text.as_bytes().to_vec()
        }
    };
    if !case.commands.is_empty() {
        let mut talk = vec![b"EHLO client.example\r\n".to_vec()];
        talk.extend(
            case.commands
                .iter()
                .map(|line| [octets(line), b"\r\n".to_vec()].concat()),
        );
        talk.push(b"QUIT\r\n".to_vec());
        return talk;
    }
    if let Some(header) = &case.header {
        return message(&[&octets(header)[..], b"\r\nX-Last: 1\r\n\r\nHello"].concat());
    }
    let name = if case.name.is_empty() {
        "part.bin"
    } else {
        &case.name
    };
    let kind = if case.media_type.is_empty() {
        "application/octet-stream"
    } else {
        &case.media_type
    };
    let content = STANDARD.encode(octets(case.content.as_deref().unwrap_or("nothing")));
    let lines: Vec<&str> = content
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    message(
        format!(
            "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n\
             --b1\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b1--",
            lines.join("\r\n")
        )
        .as_bytes(),
    )
}

/// What the shield's own rules stand for on the wire: a rule that is closed by them, what it sees, what it passes.
fn generic() -> Vec<(&'static str, Talk, Talk)> {
    let line = |line: &str| {
        vec![
            b"EHLO client.example\r\n".to_vec(),
            format!("{line}\r\n").into_bytes(),
        ]
    };
    vec![
        (
            "postfix-smuggling",
            message(b"A: b\r\n\r\nx\n.\r\nMAIL FROM:<e@f.example>"),
            message(b"A: b\r\n\r\nx.\r\n..\r\n . \r\ny"),
        ),
        (
            "exim-smuggling",
            message(b"A: b\r\n\r\nx\r\n.\nMAIL FROM:<e@f.example>"),
            message(b"A: b\r\n\r\n.."),
        ),
        (
            "postfix-starttls-injection",
            line("STARTTLS\r\nEHLO evil.example"),
            line("STARTTLS\r\n\x16\x03\x01"),
        ),
        (
            "exim-bdat-use-after-free",
            line("BDAT 3 LAST\r\nabc"),
            line("NOOP BDAT 3"),
        ),
        (
            "sendmail-alpaca",
            vec![b"POST / HTTP/1.1\r\nHost: mx.example\r\n\r\n".to_vec()],
            line("HELP HTTP/1.1"),
        ),
        (
            "exim-proxy-header",
            line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2"),
            line("NOOP PROXY"),
        ),
    ]
}

#[test]
fn what_is_refused_alerts_and_its_look_alike_does_not() {
    let bench = Bench::new();
    let exported = bench.run(&["shield", "export", "--suricata"]).exits(0);
    bench.write("rules", &exported.out);
    let suricata = match suricata() {
        Ok(suricata) => suricata,
        Err(why) => {
            println!("skipped: suricata: {why}");
            return;
        }
    };
    let loaded = run(&suricata, &bench, None);
    let written = exported
        .out
        .lines()
        .filter(|line| line.starts_with("alert "))
        .count();
    let expected = format!("{written} rules successfully loaded, 0 rules failed");
    assert!(loaded.contains(&expected), "{loaded}");

    // A session for each self-test of each rule that was written.
    let bundle = builtin().unwrap();
    let mut capture = Capture::new();
    let mut sessions: BTreeMap<Ipv4Addr, (String, bool, String)> = BTreeMap::new();
    let mut session = |rule: &str, refused: bool, words: String, talk: &[Vec<u8>]| {
        let client = Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(sessions.len()).unwrap());
        capture.session(client, talk);
        sessions.insert(client, (rule.to_owned(), refused, words));
    };
    let is_written = |name: &str| exported.out.contains(&format!("mailkeep_rule {name},"));
    for rule in bundle.rules.iter().filter(|rule| is_written(&rule.name)) {
        for (cases, refused) in [(&rule.refused, true), (&rule.passes, false)] {
            for (nth, case) in (1..).zip(cases) {
                session(&rule.name, refused, format!("case {nth}"), &talk(case));
            }
        }
    }
    for (rule, refused, passes) in generic() {
        session(rule, true, "generic".to_owned(), &refused);
        session(rule, false, "generic".to_owned(), &passes);
    }
    bench.write("mail.pcap", &capture.0);
    run(&suricata, &bench, Some("mail.pcap"));

    let mut alerts: BTreeSet<(String, Ipv4Addr)> = BTreeSet::new();
    let log = std::fs::File::open(bench.path("eve.json")).unwrap();
    let tally = read_alerts(log, &mut |nth, read| {
        let attack = read.unwrap_or_else(|why| panic!("line {nth}: {why}"));
        let std::net::IpAddr::V4(source) = attack.source else {
            panic!("{attack:?}")
        };
        alerts.insert((attack.rule, source));
    });
    assert_eq!(tally.unwrap().unread, 0);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let (mut refused, mut missed, mut passes) = (0, Vec::new(), 0);
    for (client, (rule, is_refused, words)) in &sessions {
        let alerted = alerts.contains(&(rule.clone(), *client));
        if !is_refused {
            passes += 1;
            assert!(!alerted, "{rule}: {words}, a look-alike, alerts");
        } else if alerted {
            refused += 1;
            seen.insert(rule);
        } else {
            missed.push(format!("{rule}: {words}"));
        }
    }
    println!(
        "{written} rules of Suricata: {refused} refused cases alert, {} do not, {passes} look-alikes are silent",
        missed.len()
    );
    assert_eq!(missed, MISSED, "refused cases without an alert");

    // The same log, by the command; a second time nothing of it is new.
    let told = bench.run(&["shield", "eve", "eve.json"]).exits(1);
    told.prints("exim-recipient-expansion (CVE-2019-10149)")
        .says(&format!(
            "{} alerts by rules of Mailkeep, {0} new",
            tally_of(&bench)
        ));
    bench
        .run(&["shield", "eve", "eve.json"])
        .exits(1)
        .says("alerts by rules of Mailkeep, 0 new");
}

/// Cases that Suricata's rules leave out: conditions that it has no words for, of rules that are written in part.
const MISSED: [&str; 6] = [
    // A comment that does not end.
    "sendmail-crackaddr: case 3",
    // A line of a calendar.
    "zimbra-classic-xss: case 2",
    // The declared type of a content.
    "parseexcel-format-eval: case 1",
    "parseexcel-format-eval: case 3",
    "parseexcel-format-eval: case 4",
    // The end of a file.
    "clamav-hfs-dmg: case 1",
];

fn tally_of(bench: &Bench) -> u64 {
    let log = std::fs::File::open(bench.path("eve.json")).unwrap();
    read_alerts(log, &mut |_, _| {}).unwrap().taken
}

/// Each of a thousand strangers attacks once in this minute.
fn thousand_strangers(minute: u8) -> String {
    let mut log = String::new();
    for nth in 0..1000 {
        let source = format!("2001:db8:{minute}::{nth:x}");
        log.push_str(&format!(
            r#"{{"timestamp":"2026-11-21T11:{minute}:03.021000+0000","event_type":"alert","src_ip":"{source}","dest_ip":"198.51.100.1","dest_port":25,"alert":{{"action":"allowed","gid":1,"signature_id":1982624,"metadata":{{"mailkeep_rule":["exim-parameter-quote"]}}}}}}"#
        ));
        log.push('\n');
    }
    log
}

#[test]
fn strangers_do_not_decide_how_much_is_told_of_an_attack() {
    let bench = crate::rules::stand();
    let first = thousand_strangers(31);
    bench.write("eve.json", &first);
    let eve = || bench.run(&["shield", "eve", "eve.json"]).exits(1);
    let ran = eve().says("1000 alerts by rules of Mailkeep, 1000 new");
    assert_eq!(ran.out.matches(" to 198.51.100.1:25, ").count(), 257);
    ran.prints("other addresses to 198.51.100.1:25, 744 times");
    eve().says("1000 alerts by rules of Mailkeep, 0 new");
    // Nor do those who come in the next minutes decide how the log of events grows.
    let events = || {
        let store = SqliteStore::open(&bench.state(), Realm::Live).unwrap();
        store.attack_events().unwrap().len()
    };
    assert_eq!(events(), 257);
    let grown = first + &thousand_strangers(32);
    bench.write("eve.json", &grown);
    eve().says("2000 alerts by rules of Mailkeep, 1000 new");
    assert_eq!(events(), 258);
    eve().says("2000 alerts by rules of Mailkeep, 0 new");
    bench.write("eve.json", thousand_strangers(33));
    let ran = eve().says("1000 alerts by rules of Mailkeep, 1000 new");
    assert_eq!(ran.out.matches(" to 198.51.100.1:25, ").count(), 257);
    assert_eq!(events(), 259);
}

#[test]
fn attacks_are_in_the_log_of_the_fleet() {
    let bench = crate::rules::stand();
    let fleet = std::fs::read_to_string(bench.path("mailkeep.toml")).unwrap();
    let fleet = format!("state = \"of-the-fleet\"\n{fleet}");
    bench.write("mailkeep.toml", fleet);
    bench.write("eve.json", thousand_strangers(31));
    let eve = |more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        bench.prepare(&mut program);
        program.args(["shield", "eve", "eve.json"]).args(more);
        Ran::of(&program.output().unwrap()).exits(1)
    };
    let file = ["--fleet", "mailkeep.toml"];
    eve(&["--fleet", "mailkeep.toml", "--dry-run"]).says("1000 new");
    eve(&file).says("1000 new");
    let store = SqliteStore::open(&bench.path("of-the-fleet"), Realm::Live).unwrap();
    assert_eq!(store.attack_events().unwrap().len(), 257);
    // What is known is not new for who only looks, either.
    eve(&["--fleet", "mailkeep.toml", "--dry-run"]).says(", 0 new");
}

/// A log of a sensor before a server that has the hole, and a line that was cut.
#[test]
fn an_attack_stands_beside_the_hole_that_it_is_about() {
    let bench = crate::rules::stand();
    let alert = r#"{"timestamp":"2026-11-21T11:31:03.021000+0000","event_type":"alert","src_ip":"192.0.2.7","dest_ip":"198.51.100.1","dest_port":25,"alert":{"action":"allowed","gid":1,"signature_id":1982624,"metadata":{"mailkeep_rule":["exim-parameter-quote"]}}}"#;
    bench.write("eve.json", format!("{alert}\n{}\n", &alert[..100]));
    let args = ["shield", "eve", "eve.json", "--fleet", "mailkeep.toml"];
    bench
        .run(&args)
        .exits(1)
        .prints("exim-parameter-quote (CVE-2020-28022)")
        .prints("192.0.2.7 to 198.51.100.1:25, 1 times")
        .prints("mx1 has it: CVE-2020-28022 in exim4, fix-available")
        .says("line 2: ")
        .says("1 alerts by rules of Mailkeep, 1 new; 0 other records; 1 lines could not be read");
    let ran = bench
        .run(&[&args[..], &["--jsonl"]].concat())
        .exits(1)
        .says("0 new");
    let line: serde_json::Value = serde_json::from_str(ran.out.trim()).unwrap();
    assert_eq!(line["findings"][0]["host"], "mx1");
    assert_eq!(line["alerts"], 1);
}
