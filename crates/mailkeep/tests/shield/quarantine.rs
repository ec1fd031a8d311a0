//! Kept mail: listed, shown, judged anew, released, told of.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use mailkeep_inspect::kept::{Kept, MESSAGES, RECORDS, digest_of};

use crate::common::{Bench, Ran};

const MESSAGE: &[u8] =
    b"From: Billing <billing@example.net>\r\nTo: ada@example.org\r\nSubject: Your invoice\r\n\r\n\
    .A line that begins with a dot.\r\nHello\r\n";

/// A quarantine as a shield leaves it, with one message for two people.
struct Kitchen {
    bench: Bench,
    folder: PathBuf,
    key: String,
    public: age::x25519::Recipient,
}

impl Kitchen {
    fn new() -> Self {
        use age::secrecy::ExposeSecret as _;
        let bench = Bench::new();
        let identity = age::x25519::Identity::generate();
        let key = bench.write("key.txt", identity.to_string().expose_secret());
        let folder = bench.path("quarantine");
        for part in [RECORDS, MESSAGES] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let kitchen = Self {
            bench,
            folder,
            key,
            public: identity.to_public(),
        };
        kitchen.keep(
            "a-1",
            "office-macro",
            &["ada@example.org", "bob@example.org"],
        );
        kitchen
    }

    fn keep(&self, id: &str, rule: &str, recipients: &[&str]) {
        let digest = digest_of(MESSAGE);
        let kept = Kept {
            format: 1,
            id: id.to_owned(),
            at: 1_795_000_000,
            until: 1_797_592_000,
            digest: digest.clone(),
            octets: MESSAGE.len() as u64,
            listener: "mx".to_owned(),
            client: "192.0.2.7".to_owned(),
            sender: "billing@example.net".to_owned(),
            recipients: recipients.iter().map(|one| (*one).to_owned()).collect(),
            subject: "Your invoice".to_owned(),
            from: "Billing <billing@example.net>".to_owned(),
            rule: rule.to_owned(),
            text: "The attachment invoice.docm holds macros.".to_owned(),
            rules: vec![rule.to_owned()],
        };
        let octets = age::encrypt(&self.public, MESSAGE).unwrap();
        fs::write(
            self.folder.join(MESSAGES).join(format!("{digest}.age")),
            octets,
        )
        .unwrap();
        fs::write(
            self.folder.join(RECORDS).join(format!("{id}.json")),
            kept.write(),
        )
        .unwrap();
    }

    /// `mailkeep shield quarantine COMMAND --folder ...`, now.
    fn run(&self, command: &str, args: &[&str]) -> Ran {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        self.bench.prepare(&mut program);
        program.arg("--state").arg(self.bench.state());
        program
            .args(["shield", "quarantine", command, "--folder"])
            .arg(&self.folder);
        Ran::of(&program.args(args).output().unwrap())
    }
}

/// A mail server that takes one message: where, and what it heard.
fn server() -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        stream.write_all(b"220 test\r\n").unwrap();
        let mut heard = Vec::new();
        let mut in_data = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return heard;
            }
            let line = line.trim_end().to_owned();
            heard.push(line.clone());
            let answer: &[u8] = match line.as_str() {
                "." if in_data => {
                    in_data = false;
                    b"250 taken\r\n"
                }
                _ if in_data => continue,
                "DATA" => {
                    in_data = true;
                    b"354 go on\r\n"
                }
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            stream.write_all(answer).unwrap();
        }
    });
    (address, thread)
}

#[test]
fn kept_mail_is_listed_and_shown_without_the_key_and_read_with_it() {
    let kitchen = Kitchen::new();
    kitchen
        .run("list", &[])
        .exits(0)
        .prints("a-1")
        .prints("office-macro")
        .says("1 kept, 0 not shown, 0 unreadable");
    kitchen
        .run("list", &["--about", "nobody"])
        .exits(0)
        .says("0 kept, 1 not shown");
    kitchen.run("show", &["a-1"]).exits(0).prints("192.0.2.7");
    let key = kitchen.key.clone();
    kitchen
        .run("show", &["a-1", "--key", &key])
        .exits(0)
        .prints("today       accept");
    let raw = kitchen.run("show", &["a-1", "--key", &key, "--raw"]);
    assert_eq!(raw.out.as_bytes(), MESSAGE);
}

#[test]
fn a_released_message_reaches_its_recipients_as_it_came_and_once() {
    let kitchen = Kitchen::new();
    let (address, thread) = server();
    let key = kitchen.key.clone();
    let args = ["a-1", "--key", &key, "--to", &address, "--tls", "none"];
    kitchen
        .run("release", &args)
        .exits(0)
        .says("a-1 went to 127.0.0.1");
    let heard = thread.join().unwrap();
    assert!(
        heard.contains(&"MAIL FROM:<billing@example.net>".to_owned()),
        "{heard:?}"
    );
    assert!(
        heard.contains(&"RCPT TO:<bob@example.org>".to_owned()),
        "{heard:?}"
    );
    assert!(
        heard.contains(&"..A line that begins with a dot.".to_owned()),
        "{heard:?}"
    );
    kitchen
        .run("list", &[])
        .exits(0)
        .says("0 kept, 1 not shown");
    kitchen
        .run("release", &args)
        .exits(1)
        .says("--again sends it once more");
}

#[test]
fn what_was_released_to_one_is_kept_from_the_others_still() {
    let kitchen = Kitchen::new();
    let (address, thread) = server();
    let key = kitchen.key.clone();
    let args = ["a-1", "a-1", "--key", &key, "--to", &address];
    let more = ["--tls", "none", "--recipient", "bob@example.org"];
    kitchen
        .run("release", &[&args[..], &more].concat())
        .exits(1)
        .says("a-1 went to 127.0.0.1")
        .says("--again sends it once more");
    thread.join().unwrap();
    kitchen
        .run("list", &[])
        .exits(0)
        .says("1 kept, 0 not shown")
        .prints("released to bob@example.org");
}

#[test]
fn a_server_that_is_down_leaves_the_message_where_it_is() {
    let kitchen = Kitchen::new();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let key = kitchen.key.clone();
    kitchen
        .run(
            "release",
            &[
                "a-1",
                "--key",
                &key,
                "--to",
                &gone.to_string(),
                "--tls",
                "none",
            ],
        )
        .exits(1)
        .says("a-1 stays where it is");
    kitchen.run("list", &[]).exits(0).says("1 kept");
}

#[test]
fn rescan_says_what_would_be_accepted_today() {
    let kitchen = Kitchen::new();
    let key = kitchen.key.clone();
    kitchen
        .run("rescan", &["--key", &key])
        .exits(1)
        .prints("a-1  accept  was office-macro")
        .says("1 would be accepted now; 0 could not be judged");
    kitchen
        .run("rescan", &["--key", &key, "--clamd", "/nowhere/clamd.ctl"])
        .exits(1)
        .says("is clamd running")
        .says("0 would be accepted now; 1 could not be judged");
}

#[test]
fn each_person_is_told_once_and_has_each_lesson_once() {
    let kitchen = Kitchen::new();
    kitchen.bench.write("mailkeep.toml", "");
    let into = kitchen.bench.path("digests");
    let told = |person: &str| fs::read_to_string(into.join(format!("{person}.txt"))).unwrap();
    let into_arg = into.display().to_string();
    kitchen
        .run("digest", &["--into", &into_arg])
        .exits(0)
        .says("2 told, 0 not");
    assert!(told("ada@example.org").contains("A document that contains a program"));
    assert!(told("ada@example.org").contains("enable content"));
    kitchen
        .run("digest", &["--into", &into_arg])
        .exits(0)
        .says("0 told, 0 not");
    kitchen.keep("a-2", "office-macro", &["ada@example.org"]);
    kitchen
        .run("digest", &["--into", &into_arg])
        .exits(0)
        .says("1 told, 0 not");
    assert!(told("ada@example.org").contains("You know this one"));
    kitchen
        .run("figures", &[])
        .exits(0)
        .prints("example.org: 2 people, 3 messages held back")
        .prints("3 held      2 have had the lesson");
}

#[test]
fn what_was_released_is_known_to_all_who_serve_the_same_fleet() {
    let kitchen = Kitchen::new();
    kitchen
        .bench
        .write("fleet.toml", "state = \"of-the-fleet\"\n");
    let run = |command: &str, args: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        kitchen.bench.prepare(&mut program);
        program
            .args(["shield", "quarantine", command, "--fleet", "fleet.toml"])
            .arg("--folder")
            .arg(&kitchen.folder);
        Ran::of(&program.args(args).output().unwrap())
    };
    let (address, thread) = server();
    let release = ["a-1", "--key", &kitchen.key, "--to", &address];
    run("release", &[&release[..], &["--tls", "none"]].concat()).exits(0);
    thread.join().unwrap();
    let told = run("digest", &["--dry-run"]).exits(0);
    assert_eq!(told.out, "", "nothing is kept from anybody");
    run("list", &[]).exits(0).says("0 kept, 1 not shown");
    run("rescan", &["--key", &kitchen.key])
        .exits(0)
        .says("0 would be accepted now");
}

#[test]
fn what_is_wrong_is_said() {
    let kitchen = Kitchen::new();
    let key = kitchen.key.clone();
    kitchen
        .run("show", &["../a-1"])
        .exits(2)
        .says("is no id of a kept message");
    kitchen
        .run("show", &["a-9"])
        .exits(2)
        .says("`list` shows those that are");
    kitchen
        .run("show", &["a-1", "--key", "/nowhere/key"])
        .exits(2)
        .says("cannot read the key file /nowhere/key");
    let other = Kitchen::new();
    kitchen
        .run("show", &["a-1", "--key", &other.key])
        .exits(2)
        .says("none of the keys opens the message a-1");
    fs::write(kitchen.folder.join(RECORDS).join("broken.json"), "{").unwrap();
    kitchen
        .run("list", &[])
        .exits(1)
        .says("broken.json")
        .says("1 unreadable");
    spoil(&kitchen.folder);
    kitchen
        .run("show", &["a-1", "--key", &key])
        .exits(2)
        .says("a-1");
    let bench = Bench::new();
    let nowhere = bench.run(&["shield", "quarantine", "list", "--folder", "/nowhere"]);
    nowhere.exits(2).says("it is no quarantine of a shield");
}

/// Changes an octet of each message.
fn spoil(folder: &Path) {
    for file in fs::read_dir(folder.join(MESSAGES)).unwrap() {
        let path = file.unwrap().path();
        let mut octets = fs::read(&path).unwrap();
        let last = octets.len() - 1;
        octets[last] ^= 1;
        fs::write(path, octets).unwrap();
    }
}
