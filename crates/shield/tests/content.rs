//! What becomes of a message by its content: the same by the proxy and by the milter.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and owns both ends"
)]

mod bench;
#[cfg(feature = "yara")]
#[path = "content/yara.rs"]
mod yara;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use bench::clamd::with_file;
use bench::mta::{Answered, Mta, milter_address};
use bench::{Backend, Client, Shield, config};
use rustix::process::Signal;
use tempfile::TempDir;

const EICAR: &str = concat!(
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-",
    "ANTIVIRUS-TEST-FILE!$H+H*"
);

struct Stand {
    directory: TempDir,
    backend: Backend,
    shield: Shield,
    client: Client,
    mta: Mta,
}

impl Stand {
    fn new(more: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), more)
    }

    fn within(directory: TempDir, more: &str) -> Self {
        let backend = Backend::start(&["PIPELINING"]);
        let config = format!(
            "{}[[milter]]\nname = \"filter\"\nsocket = \"inet:127.0.0.1:0\"\n",
            config(&[backend.address], more)
        );
        let mut shield = Shield::start(directory.path(), &config);
        let client = shield.client();
        let mut mta = Mta::connect(milter_address(&mut shield));
        mta.client("client.example", "192.0.2.1", "client.example");
        Self {
            directory,
            backend,
            shield,
            client,
            mta,
        }
    }

    fn by_proxy(&mut self, message: &[u8]) -> String {
        self.client.begin();
        self.client.send(message);
        self.client.send(b".\r\n");
        self.client.reply()
    }

    fn by_milter(&mut self, message: &[u8]) -> Answered {
        self.mta
            .message("a@client.example", &["b@site.example"], message)
    }
}

#[test]
fn a_message_is_judged_alike_by_proxy_and_by_milter() {
    let mut stand = Stand::new("");
    let infected = with_file("report.txt", EICAR.as_bytes());
    let reply = stand.by_proxy(&infected);
    let line = stand.shield.event("message");
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert_eq!(line["rule"], "test-virus");
    let check = &line["checks"][0];
    assert_eq!(
        (&check["check"], &check["rule"]),
        (&"content".into(), &"test-virus".into())
    );
    assert!(reply.contains(line["trace"].as_str().unwrap()), "{reply}");
    let answer = stand.by_milter(&infected);
    assert_eq!(stand.shield.event("message")["rule"], "test-virus");
    // But for the reference the same words.
    let said = |text: &str| text.split(" (reference").next().unwrap().to_owned();
    assert_eq!(said(&answer.reply.unwrap()), said(&reply));
    assert!(stand.backend.taken().is_empty());

    let clean = with_file("notes.txt", b"nothing");
    assert_eq!(stand.by_proxy(&clean), "250 2.0.0 queued as 1\r\n");
    assert!(stand.by_milter(&clean).accepted());
}

#[test]
fn a_message_larger_than_memory_is_looked_into_as_well() {
    let mut stand = Stand::new("[limits]\nmemory_per_message = 1000\n");
    let mut infected = with_file("report.txt", EICAR.as_bytes());
    infected.extend(
        b"x".repeat(300_000)
            .chunks(70)
            .flat_map(|line| [line, b"\r\n"].concat()),
    );
    assert!(stand.by_proxy(&infected).starts_with("550 "));
    assert!(stand.by_milter(&infected).refused_with("550 "));
}

#[test]
fn policy_differs_by_listener_and_by_recipient() {
    let more = "[content]\nlevel = \"off\"\n[[content.policy]]\nlistener = \"filter\"\n\
                level = \"default\"\n[[content.policy]]\ndomains = [\"lab.example\"]\nlevel = \"off\"\n";
    let mut stand = Stand::new(more);
    let infected = with_file("report.txt", EICAR.as_bytes());
    assert!(stand.by_proxy(&infected).starts_with("250 "));
    assert!(stand.by_milter(&infected).refused_with("550 "));
    let answer = stand
        .mta
        .message("a@client.example", &["b@lab.example"], &infected);
    assert!(answer.accepted(), "{answer:?}");
    let both = ["b@lab.example", "b@site.example"];
    assert!(
        stand
            .mta
            .message("a@client.example", &both, &infected)
            .refused_with("550 ")
    );
}

#[test]
fn what_is_quarantined_is_on_disk_before_it_is_acknowledged_and_goes_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("kept");
    let reader = age::x25519::Identity::generate().to_public();
    let more = format!(
        "[content]\nactions = {{ test-virus = \"quarantine\" }}\n\
         [quarantine]\nfolder = \"{}\"\nreaders = [\"{reader}\"]\n",
        folder.display()
    );
    let mut stand = Stand::within(directory, &more);
    let infected = with_file("report.txt", EICAR.as_bytes());
    let reply = stand.by_proxy(&infected);
    assert!(reply.starts_with("250 2.0.0 kept "), "{reply}");
    let id = stand.shield.event("quarantined")["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let record = std::fs::read(folder.join(format!("records/{id}.json"))).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["rule"], "test-virus");
    assert_eq!(record["subject"], "a file");
    assert!(stand.backend.taken().is_empty());
    let answer = stand.by_milter(&infected);
    assert!(answer.discarded, "{answer:?}");
    // Equal messages are kept once.
    assert_eq!(
        std::fs::read_dir(folder.join("messages")).unwrap().count(),
        1
    );
    assert_eq!(
        std::fs::read_dir(folder.join("records")).unwrap().count(),
        2
    );

    // Each is known by a name of its own, also in one session: the other one would be lost.
    let other = with_file("another.txt", EICAR.as_bytes());
    assert!(stand.by_proxy(&other).starts_with("250 2.0.0 kept "));
    for (part, count) in [("messages", 2), ("records", 3)] {
        let found = std::fs::read_dir(folder.join(part)).unwrap().count();
        assert_eq!(found, count, "{part}");
    }

    // Where it cannot be written, the sender keeps it.
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(stand.by_proxy(&infected).starts_with("451 4.7.1 "));
    assert!(stand.by_milter(&infected).refused_with("451 4.7.1 "));
}

#[test]
fn without_a_quarantine_the_mail_server_has_one_or_the_sender_is_told() {
    let mut stand = Stand::new("[content]\nactions = { test-virus = \"quarantine\" }\n");
    let infected = with_file("report.txt", EICAR.as_bytes());
    assert!(stand.by_proxy(&infected).starts_with("550 5.7.1 "));
    let answer = stand.by_milter(&infected);
    assert!(answer.accepted(), "{answer:?}");
    assert!(
        answer
            .quarantine
            .unwrap()
            .starts_with("test-virus (reference ")
    );
}

#[test]
fn a_program_that_many_send_at_once_is_held_and_what_was_learnt_outlives_the_shield() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("outbreaks.json");
    let more = format!(
        "[content]\nactions = {{ executable = \"accept\" }}\n\
         [outbreak]\nown_networks = [\"192.0.2.0/24\"]\nstate = \"{}\"\n",
        state.display()
    );
    let mut stand = Stand::within(directory, &more);
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(2000, 7);
    let worm = with_file("tool.bin", &program);
    let held = (0..10).find(|nth| {
        let sender = format!("u{nth}@site.example");
        let answer = stand.mta.message(&sender, &["b@site.example"], &worm);
        answer.refused_with("451 4.7.1 ")
    });
    assert!(held.is_some_and(|nth| nth < 6), "{held:?}");
    let alert = stand.shield.event("outbreak-alert");
    assert_eq!(alert["alert"], true);
    assert!(
        alert["counted"].as_u64() >= alert["limit"].as_u64(),
        "{alert}"
    );
    assert_eq!(alert["examples"][0], alert["trace"]);
    // One host of ours hands all of it over.
    assert_eq!(alert["isolate"], "192.0.2.1");
    assert!(
        alert["text"].as_str().unwrap().ends_with(" is held."),
        "{alert}"
    );
    let line = stand.shield.event("message");
    assert_eq!(line["rule"], alert["detector"]);
    let clean = with_file("notes.txt", b"nothing");
    assert!(stand.by_milter(&clean).accepted());

    stand.shield.signal(Signal::TERM);
    stand.shield.wait();
    let kept = std::fs::read_to_string(&state).unwrap();
    assert!(kept.starts_with('{'), "{kept:.100}");
    let told = std::fs::read_to_string(state.with_extension("alerts.json")).unwrap();
    assert!(
        told.contains(r#"[{"id":""#),
        "what was told must be found at /status again: {told}"
    );
    // The next one goes on where it ended.
    let Stand { directory, .. } = stand;
    let mut stand = Stand::within(directory, &more);
    let answer = stand
        .mta
        .message("z@site.example", &["b@site.example"], &worm);
    assert!(answer.refused_with("451 "), "{answer:?}");
}

#[test]
fn who_logged_in_sends_much_under_however_many_names() {
    let mut stand = Stand::new("[outbreak]\n");
    stand.mta.login = Some("Ada".to_owned());
    let recipients: Vec<String> = (0..20).map(|nth| format!("b{nth}@site.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for nth in 0..32 {
        let sender = format!("u{nth}@site.example");
        stand
            .mta
            .message(&sender, &recipients, b"Subject: x\r\n\r\nx\r\n");
    }
    let alert = stand.shield.event("outbreak-alert");
    assert_eq!(alert["detector"], "sudden-sender");
    assert!(
        alert["text"].as_str().unwrap().starts_with("ada sent to "),
        "{alert}"
    );
}

#[test]
fn what_is_expected_is_read_again_on_sighup_and_what_was_counted_stays() {
    let held = "[content]\nactions = { executable = \"accept\" }\n\
                [outbreak]\nown_networks = [\"192.0.2.0/24\"]\n";
    let mut stand = Stand::new(held);
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(2000, 7);
    let worm = with_file("tool.bin", &program);
    let send = |stand: &mut Stand, nth: u32| {
        let sender = format!("u{nth}@site.example");
        stand.mta.message(&sender, &["b@site.example"], &worm)
    };
    for nth in 0..2 {
        assert!(send(&mut stand, nth).accepted());
    }
    assert!(send(&mut stand, 2).refused_with("451 "));
    let alert = stand.shield.event("outbreak-alert")["text"].to_string();
    let digest = alert.split("SHA-256 ").nth(1).unwrap().get(..64).unwrap();
    let file = stand.directory.path().join("shield.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = format!("[outbreak.expected]\nattachments = [\"{digest}\"]\n[[milter]]");
    std::fs::write(&file, text.replace("[[milter]]", &more)).unwrap();
    stand.shield.signal(Signal::HUP);
    stand.shield.event("reloaded");
    assert!(send(&mut stand, 4).accepted());
}

#[test]
fn programs_that_are_all_refused_still_raise_the_alarm() {
    let mut stand = Stand::new("[content]\n[outbreak]\nown_networks = [\"192.0.2.0/24\"]\n");
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(2000, 7);
    let worm = with_file("tool.bin", &program);
    for nth in 0..6 {
        let sender = format!("u{nth}@site.example");
        let answer = stand.mta.message(&sender, &["b@site.example"], &worm);
        assert!(answer.refused_with("550 "), "{answer:?}");
    }
    let alert = stand.shield.event("outbreak-alert");
    assert_eq!(alert["detector"], "same-attachment");
    assert_eq!(alert["held"], true);
}

#[test]
fn who_is_only_told_is_not_told_that_mail_is_held() {
    let mut stand = Stand::new("[outbreak]\nenforce = false\nown_networks = [\"192.0.2.0/24\"]\n");
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(2000, 7);
    let worm = with_file("tool.bin", &program);
    for nth in 0..6 {
        let sender = format!("u{nth}@site.example");
        stand.mta.message(&sender, &["b@site.example"], &worm);
    }
    let alert = stand.shield.event("outbreak-alert");
    assert_eq!(alert["held"], false);
    assert!(
        alert["text"]
            .as_str()
            .unwrap()
            .ends_with("Nothing is held."),
        "{alert}"
    );
}

#[test]
fn all_milters_together_take_as_many_connections_as_are_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let milter = |name: &str| {
        let socket = path(name);
        format!(
            "[[milter]]\nname = \"{name}\"\nsocket = \"unix:{}\"\nmode = \"600\"\n",
            socket.display()
        )
    };
    let config = format!(
        "name = \"shield.example\"\n{}{}[limits]\nsessions = 1\n",
        milter("one"),
        milter("two")
    );
    let mut shield = Shield::start(directory.path(), &config);
    shield.event("milter-listening");
    shield.event("milter-listening");
    let greet = |name: &str| {
        let mut mta = UnixStream::connect(path(name)).unwrap();
        // Who finds no room may be shown out before this is written.
        mta.write_all(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
            .ok();
        let mut answer = [0; 17];
        (mta.read_exact(&mut answer).is_ok(), mta)
    };
    let (taken, first) = greet("one");
    assert!(taken);
    let (taken, _) = greet("two");
    assert!(!taken);
    shield.event("milter-too-many");
    drop(first);
}

#[test]
fn a_socket_that_a_killed_shield_left_is_replaced_and_that_of_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("milter.sock");
    let config = format!(
        "name = \"shield.example\"\n[[milter]]\nname = \"filter\"\nsocket = \"unix:{}\"\nmode = \"600\"\n",
        path.display()
    );
    let mut first = Shield::start(directory.path(), &config);
    first.event("milter-listening");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut other = Shield::start(directory.path(), &config);
    assert_eq!(other.wait().code(), Some(2));
    // Its Drop is a SIGKILL, which leaves the socket.
    drop(first);
    assert!(path.exists());
    let mut next = Shield::start(directory.path(), &config);
    next.event("milter-listening");
    let mut mta = UnixStream::connect(&path).unwrap();
    mta.write_all(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
        .unwrap();
    let mut answer = [0; 17];
    mta.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4], b'O');
    drop(mta);
    next.signal(Signal::TERM);
    assert!(next.wait().success());
    assert!(!path.exists(), "an orderly end leaves nothing");
}
