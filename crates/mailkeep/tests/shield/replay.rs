//! `mailkeep shield replay`: what a site's own mail breaks, in mailboxes and in captures written here.

use etherparse::PacketBuilder;
use serde_json::Value;

use crate::common::{Bench, Ran};

const HONEST: &str = "From: Ada <ada@example.net>\r\nTo: grace@example.org\r\nSubject: Hello\r\n\r\nHello!\r\n..\r\n";

/// A script whose name has two readings.
const HIDDEN: &str = "From: Ada <ada@example.net>\r\nSubject: Files\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n\
    --a\r\nContent-Type: text/plain\r\n\r\nHello!\r\n--a--\r\n\
    --b\r\nContent-Type: application/octet-stream; name=\"run.vbs\"\r\n\r\nWScript.Echo \"hello\"\r\n--b--\r\n";

/// How frames begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Null = 0,
    Ethernet = 1,
    Raw = 101,
    Cooked = 113,
    Cooked2 = 276,
}

/// A capture that is being written.
struct Capture {
    link: Link,
    packets: Vec<Vec<u8>>,
}

/// One connection in it, and the numbers that are due.
struct Talk<'c> {
    capture: &'c mut Capture,
    six: bool,
    port: u16,
    client: u32,
    server: u32,
}

impl Capture {
    fn new(link: Link) -> Self {
        Self {
            link,
            packets: Vec::new(),
        }
    }

    fn talk(&mut self, six: bool, port: u16) -> Talk<'_> {
        let mut talk = Talk {
            capture: self,
            six,
            port,
            client: u32::MAX - 20,
            server: 5,
        };
        talk.packet(true, b"", Some('s'));
        talk.client = talk.client.wrapping_add(1);
        talk.packet(false, b"", Some('s'));
        talk.server += 1;
        talk
    }

    /// As `tcpdump` writes it, with octets in the order of this or of another kind of machine.
    fn pcap(&self, little: bool) -> Vec<u8> {
        let word = |number: u32| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let half = |number: u16| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let mut out = word(0xa1b2_c3d4).to_vec();
        out.extend([half(2), half(4)].concat());
        out.extend([word(0), word(0), word(262_144), word(self.link as u32)].concat());
        for packet in &self.packets {
            let length = word(u32::try_from(packet.len()).unwrap());
            out.extend([word(1), word(2), length, length].concat());
            out.extend(packet);
        }
        out
    }

    /// As `dumpcap` writes it.
    fn pcapng(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut block = |kind: u32, content: &[u8]| {
            let mut content = content.to_vec();
            content.resize(content.len().next_multiple_of(4), 0);
            let length = u32::try_from(content.len() + 12).unwrap().to_le_bytes();
            out.extend(kind.to_le_bytes());
            out.extend(length);
            out.extend(content);
            out.extend(length);
        };
        let section = [
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xff; 8],
        ]
        .concat();
        block(0x0a0d_0d0a, &section);
        let link = u16::try_from(self.link as u32).unwrap().to_le_bytes();
        block(
            1,
            &[&link[..], &[0, 0], &262_144_u32.to_le_bytes()].concat(),
        );
        for packet in &self.packets {
            let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
            block(6, &[&[0; 12][..], &length, &length, packet].concat());
        }
        out
    }
}

impl Talk<'_> {
    fn packet(&mut self, of_client: bool, octets: &[u8], flag: Option<char>) {
        let (client, server) = (
            ([192, 0, 2, 7], 40_000 + self.port),
            ([198, 51, 100, 1], 25),
        );
        let (from, to) = if of_client {
            (client, server)
        } else {
            (server, client)
        };
        let (number, acknowledges) = if of_client {
            (self.client, self.server)
        } else {
            (self.server, self.client)
        };
        let wide = |four: [u8; 4]| -> [u8; 16] {
            let mut wide = [0; 16];
            wide[0] = 0xfd;
            wide[12..].copy_from_slice(&four);
            wide
        };
        let mut out = Vec::new();
        macro_rules! write {
            ($builder:expr) => {{
                let mut builder = $builder.tcp(from.1, to.1, number, 1000);
                if flag != Some('s') || !of_client {
                    builder = builder.ack(acknowledges);
                }
                match flag {
                    Some('s') => builder = builder.syn(),
                    Some('f') => builder = builder.fin(),
                    Some('r') => builder = builder.rst(),
                    _ => {}
                }
                builder.write(&mut out, octets).unwrap();
            }};
        }
        macro_rules! ip {
            ($builder:expr) => {
                if self.six {
                    write!($builder.ipv6(wide(from.0), wide(to.0), 60))
                } else {
                    write!($builder.ipv4(from.0, to.0, 60))
                }
            };
        }
        let kind: [u8; 2] = if self.six { [0x86, 0xdd] } else { [8, 0] };
        match self.capture.link {
            Link::Ethernet => ip!(PacketBuilder::ethernet2([1; 6], [2; 6])),
            link => {
                if self.six {
                    write!(PacketBuilder::ipv6(wide(from.0), wide(to.0), 60));
                } else {
                    write!(PacketBuilder::ipv4(from.0, to.0, 60));
                }
                let head: &[u8] = match link {
                    Link::Null => &[2, 0, 0, 0],
                    Link::Cooked => &[&[0; 14][..], &kind].concat(),
                    Link::Cooked2 => &[&kind[..], &[0; 18]].concat(),
                    Link::Raw | Link::Ethernet => &[],
                };
                out.splice(..0, head.iter().copied());
            }
        }
        self.capture.packets.push(out);
    }

    /// Says something in segments of a few octets.
    fn client(&mut self, octets: &[u8]) -> &mut Self {
        for piece in octets.chunks(100) {
            self.packet(true, piece, None);
            self.client = self
                .client
                .wrapping_add(u32::try_from(piece.len()).unwrap());
        }
        self
    }

    fn server(&mut self, text: &str) -> &mut Self {
        self.packet(false, text.as_bytes(), None);
        self.server += u32::try_from(text.len()).unwrap();
        self
    }

    fn greeted(&mut self) -> &mut Self {
        self.server("220 mx.example.org ESMTP\r\n")
            .client(b"EHLO mail.example.net\r\n")
            .server("250-mx.example.org\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-STARTTLS\r\n250 SIZE 1000000\r\n")
    }

    fn sends(&mut self, envelope: &str, message: &str) -> &mut Self {
        let stuffed = message.replace("\r\n.", "\r\n..");
        self.client(envelope.as_bytes())
            .server("250 ok\r\n250 ok\r\n354 go on\r\n")
            .client(format!("{stuffed}.\r\n").as_bytes())
            .server("250 taken\r\n")
    }

    fn quits(&mut self) {
        self.client(b"QUIT\r\n").server("221 bye\r\n");
        self.packet(true, b"", Some('f'));
        self.packet(false, b"", Some('f'));
        self.client = self.client.wrapping_add(1);
        self.packet(true, b"", None);
    }
}

const ENVELOPE: &str = "MAIL FROM:<ada@example.net>\r\nRCPT TO:<grace@example.org>\r\nDATA\r\n";

fn objects(ran: &Ran, kind: &str) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|object| object["type"] == kind)
        .collect()
}

/// What `shield replay` writes for a program.
fn lines(bench: &Bench, paths: &[&str]) -> Ran {
    let args = ["shield", "replay", "--format", "jsonl"];
    bench.run(&[&args[..], paths].concat())
}

fn rules(object: &Value) -> Vec<&str> {
    let hits = object["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| hit["rule"].as_str().unwrap())
        .collect()
}

#[test]
fn sessions_of_a_capture_are_judged_whatever_its_format() {
    let bench = Bench::new();
    for (link, ng, little) in [
        (Link::Ethernet, false, true),
        (Link::Ethernet, true, true),
        (Link::Raw, false, false),
        (Link::Cooked, false, true),
        (Link::Cooked2, true, true),
        (Link::Null, false, true),
    ] {
        let mut capture = Capture::new(link);
        for (six, message) in [(false, HONEST), (true, HIDDEN)] {
            let mut talk = capture.talk(six, u16::from(six));
            talk.greeted().sends(ENVELOPE, message).quits();
        }
        let octets = if ng {
            capture.pcapng()
        } else {
            capture.pcap(little)
        };
        let file = bench.write("mail.pcap", octets);
        let ran = lines(&bench, &[&file]).exits(1);
        let total = &objects(&ran, "total")[0];
        let of = |name: &str| total[name].clone();
        assert_eq!(
            (
                of("messages"),
                of("refused"),
                of("sessions"),
                of("problems")
            ),
            (2.into(), 1.into(), 2.into(), 0.into()),
            "link {} ng {ng}: {total}",
            link as u32
        );
        assert_eq!(of("sessions_not_judged_whole"), serde_json::json!({}));
        let refused = &objects(&ran, "message")[0];
        assert!(rules(refused).contains(&"mime-ambiguous"), "{refused}");
        let session = refused["session"].as_str().unwrap();
        assert!(
            session.starts_with("[fd00::c000:207]:40001 to"),
            "{session}"
        );
    }
}

#[test]
fn mail_and_captures_that_come_by_a_pipe_are_judged() {
    let bench = Bench::new();
    let mut capture = Capture::new(Link::Ethernet);
    let mut talk = capture.talk(false, 0);
    talk.greeted().sends(ENVELOPE, HIDDEN).quits();
    for input in [HIDDEN.as_bytes(), &capture.pcap(true), &capture.pcapng()] {
        let args = ["shield", "replay", "--format", "jsonl", "-"];
        let ran = bench.run_with(&args, input).exits(1);
        assert_eq!(objects(&ran, "total")[0]["refused"], 1, "{}", ran.out);
    }
}

#[test]
fn commands_are_judged_and_the_session_goes_on_as_it_did() {
    let bench = Bench::new();
    let mut capture = Capture::new(Link::Ethernet);
    let mut talk = capture.talk(false, 0);
    // Refused by a fixed rule, taken by the server; then a command too early, a source route, and a chunk.
    talk.server("220 mx.example.org ESMTP\r\n")
        .client(b"HELO not_a..name\r\n")
        .server("250 mx.example.org\r\n")
        .client(b"MAIL FROM:<a b@example.net>\r\n")
        .server("250 ok\r\n")
        .client(b"RCPT TO:<@relay.example.net:grace@example.org>\r\n")
        .server("250 ok\r\n")
        .client(b"DATA\r\n")
        .server("354 go on\r\n")
        .client(format!("{HIDDEN}.\r\n").as_bytes())
        .server("250 taken\r\n")
        .client(b"MAIL FROM:<ada@example.net>\r\n")
        .server("250 ok\r\n")
        .client(b"RCPT TO:<grace@example.org>\r\n")
        .server("250 ok\r\n")
        .client(format!("BDAT {} LAST\r\n{HIDDEN}", HIDDEN.len()).as_bytes())
        .server("250 taken\r\n")
        .quits();
    let file = bench.write("mail.pcap", capture.pcap(true));
    let ran = lines(&bench, &[&file]).exits(1);
    let messages = objects(&ran, "message");
    assert_eq!(messages.len(), 2, "{}", ran.out);
    for rule in [
        "greeting-syntax",
        "address-syntax",
        "source-route",
        "mime-ambiguous",
    ] {
        assert!(
            rules(&messages[0]).contains(&rule),
            "{rule}: {}",
            messages[0]
        );
    }
    assert!(
        !rules(&messages[0]).contains(&"command-order"),
        "{}",
        messages[0]
    );
    let second = rules(&messages[1]);
    assert!(
        second.contains(&"chunking") && second.contains(&"mime-ambiguous"),
        "{second:?}"
    );
    let total = &objects(&ran, "total")[0];
    assert_eq!(
        total["sessions_not_judged_whole"],
        serde_json::json!({}),
        "{total}"
    );
    // Only the generic rules, in words.
    let ran = bench
        .run(&["shield", "replay", "--only", "generic", &file])
        .exits(1)
        .prints("source-route                       generic  refuse")
        .prints("RCPT TO:<@relay.example.net:grace@example.org>")
        .prints("2 messages: 1 would be refused");
    assert!(!ran.out.contains("mime-ambiguous"));
}

/// Printers end their lines as they like, and may.
#[test]
fn exceptions_of_a_shield_hold_for_those_whom_they_name() {
    let bench = Bench::new();
    let bare = HONEST.replacen("Hello!\r\n", "Hello!\n", 1);
    let mut capture = Capture::new(Link::Ethernet);
    for six in [false, true] {
        let mut talk = capture.talk(six, u16::from(six));
        talk.greeted().sends(ENVELOPE, &bare).quits();
    }
    // A proxy speaks for a printer of the first network.
    let mut talk = capture.talk(true, 2);
    talk.client(b"PROXY TCP4 192.0.2.9 198.51.100.1 40000 25\r\n")
        .greeted()
        .sends(ENVELOPE, &bare)
        .quits();
    let capture = bench.write("mail.pcap", capture.pcap(true));
    let message = bench.write("1.eml", &bare);
    let config = |networks: &str| {
        let text = format!(
            "name = \"mx\"\n[[listener]]\nname = \"mx\"\naddress = [\"0.0.0.0:25\"]\n\
             [[exception]]\nrule = \"bare-lf-in-content\"\naction = \"monitor\"\nlistener = \"mx\"\n{networks}"
        );
        bench.write("shield.toml", text)
    };
    let acts = |paths: &[&str]| -> Vec<String> {
        let ran = lines(&bench, paths);
        let of = |object: &Value| {
            let hits = object["hits"].as_array().unwrap();
            let bare = hits.iter().find(|hit| hit["rule"] == "bare-lf-in-content");
            bare.unwrap()["acts"].as_str().unwrap().to_owned()
        };
        objects(&ran, "message").iter().map(of).collect()
    };
    let refuse = ["refuse"; 3];
    assert_eq!(acts(&[&capture]), refuse);
    let file = config("networks = [\"192.0.2.0/24\"]\n");
    let with = acts(&["--config", &file, &capture]);
    assert_eq!(with, ["monitor", "refuse", "monitor"]);
    assert_eq!(acts(&["--config", &file, &message]), ["refuse"]);
    let file = config("");
    assert_eq!(acts(&["--config", &file, &capture]), ["monitor"; 3]);
    let file = bench.write(
        "wrong.toml",
        "[[exception]]\nrule = \"no\"\naction = \"monitor\"\n",
    );
    bench
        .run(&["shield", "replay", "--config", &file, &message])
        .exits(2)
        .says("wrong.toml is no configuration of a shield")
        .says("there is no rule \"no\"");
    let file = bench.write("fleet.toml", "global_team = \"postmasters\"\n");
    bench
        .run(&["shield", "replay", "--config", &file, &message])
        .exits(2)
        .says("fleet.toml is no configuration of a shield")
        .says("neither a [[listener]] nor a [[milter]]");
}

#[test]
fn what_a_client_says_to_prove_who_it_is_is_never_shown() {
    let bench = Bench::new();
    let mut capture = Capture::new(Link::Ethernet);
    let mut talk = capture.talk(false, 0);
    talk.greeted()
        .client(b"AUTH LOGIN\r\n")
        .server("334 VXNlcm5hbWU6\r\n")
        .client(b"c2VjcmV0\r\n")
        .server("334 UGFzc3dvcmQ6\r\n")
        .client(b"aHVudGVyMg==\r\n")
        .server("235 welcome\r\n")
        .client(b"AUTH PLAIN AHNlY3JldABodW50ZXIy\r\n")
        .server("503 again?\r\n")
        .sends(ENVELOPE, HONEST)
        .quits();
    let file = bench.write("mail.pcap", capture.pcap(true));
    let ran = lines(&bench, &[&file]).exits(1);
    let messages = objects(&ran, "message");
    assert_eq!(
        rules(&messages[0]),
        ["auth-not-offered", "auth-not-offered"]
    );
    for secret in ["c2VjcmV0", "aHVudGVyMg", "AHNlY3JldABodW50ZXIy"] {
        assert!(!ran.out.contains(secret), "{}", ran.out);
    }
}

#[test]
fn what_cannot_be_judged_is_counted_by_why() {
    let bench = Bench::new();
    let mut capture = Capture::new(Link::Ethernet);
    let mut talk = capture.talk(false, 0);
    talk.greeted()
        .client(b"STARTTLS\r\n")
        .server("220 go on\r\n")
        .client(b"\x16\x03\x01 nothing to be read");
    // A packet of the next one is lost.
    let mut talk = capture.talk(false, 1);
    talk.greeted().sends(ENVELOPE, HIDDEN).quits();
    capture.packets.remove(14);
    // The last has begun before.
    let begin = capture.packets.len();
    let mut talk = capture.talk(false, 2);
    talk.greeted().sends(ENVELOPE, HIDDEN).quits();
    capture.packets.drain(begin..begin + 2);
    // Broken ones among them: of no protocol, and a fragment.
    capture.packets.push(vec![0x45; 9]);
    let mut fragment = capture.packets[3].clone();
    fragment[20] = 0x20;
    capture.packets.push(fragment);
    let whole = capture.pcap(true);
    let file = bench.write("mail.pcap", &whole);
    let ran = lines(&bench, &[&file]).exits(0);
    let total = &objects(&ran, "total")[0];
    assert_eq!(
        total["sessions_not_judged_whole"],
        serde_json::json!({ "begun-before-capture": 1, "encrypted": 1, "octets-missing": 1 }),
        "{total}"
    );
    assert_eq!(
        total["packets_not_followed"],
        serde_json::json!({ "ip-fragment": 1, "not-a-packet": 1 }),
        "{total}"
    );
    // Cut off: what stands before is judged, and the rest is named.
    let cut = bench.write("cut.pcap", &whole[..whole.len() - 5]);
    bench
        .run(&["shield", "replay", &cut, &file])
        .exits(2)
        .says("cut.pcap: it ends within a packet")
        .prints("not judged whole: 2 sessions: encrypted");
    let damaged = bench.write("damaged.pcap", [&whole[..24], &[0xff; 40][..]].concat());
    bench
        .run(&["shield", "replay", &damaged])
        .exits(2)
        .says("damaged.pcap");
}

#[test]
fn mailboxes_and_maildirs_are_judged_with_their_envelopes() {
    let bench = Bench::new();
    let stored = |message: &str| message.replace("\r\n", "\n");
    let mailbox = bench.write(
        "box",
        format!(
            "From a@b Sat Nov 21 10:00:00 2026\nReturn-Path: <a@example.net>\n{}\nFrom c@d Sat Nov 21 10:00:00 2026\nReturn-Path: <@x:c@example.net>\n{}\n",
            stored(HONEST),
            stored(HIDDEN)
        ),
    );
    let crlf = HONEST.replacen("Hello!\r\n", "Hello!\n", 1);
    bench.write("Maildir/new/1.a", crlf);
    bench.write("Maildir/cur/2.b:2,S", stored(HONEST));
    let maildir = bench.path("Maildir");
    let ran = lines(&bench, &[&mailbox, maildir.to_str().unwrap()]).exits(1);
    let total = &objects(&ran, "total")[0];
    assert_eq!(
        (&total["messages"], &total["refused"]),
        (&4.into(), &2.into()),
        "{total}"
    );
    let messages = objects(&ran, "message");
    assert_eq!(messages[0]["index"], 2);
    assert!(
        rules(&messages[0]).contains(&"source-route"),
        "{}",
        messages[0]
    );
    assert_eq!(rules(&messages[1]), ["bare-lf-in-content"]);
    let rows = objects(&ran, "rule");
    let row = rows
        .iter()
        .find(|row| row["rule"] == "source-route")
        .unwrap();
    assert_eq!(
        (&row["messages"], &row["group"]),
        (&1.into(), &"generic".into())
    );
    assert_eq!(row["examples"][0]["place"], "MAIL FROM:<@x:c@example.net>");
    bench
        .run(&["shield", "replay", "--only", "patch", &mailbox])
        .exits(0)
        .prints("2 messages: 0 would be refused, 0 if all that is monitored refused");
}

#[test]
fn a_rule_is_tried_before_it_is_enforced() {
    let bench = Bench::new();
    let message = format!("Delivered-To: ${{run{{true}}}}@localhost\r\n{HONEST}");
    let mail = bench.write("mail.eml", message);
    bench
        .run(&["shield", "replay", "--only", "patch", &mail])
        .exits(0)
        .prints("exim-recipient-expansion           patch    monitor")
        .prints("1 message: 0 would be refused, 1 if all that is monitored refused");
    let bundle = bench.path("enforced.toml");
    let bundle = bundle.to_str().unwrap();
    let rule = ["--enforce", "exim-recipient-expansion"];
    bench
        .run(&[&["shield", "bundle", "build", "--all", bundle][..], &rule].concat())
        .exits(0);
    bench
        .run(&["shield", "replay", "--bundle", bundle, &mail])
        .exits(1)
        .prints("exim-recipient-expansion           patch    refuse")
        .prints("mail.eml: RCPT TO:<${run{true}}@localhost>");
}
