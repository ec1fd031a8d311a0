//! The shield as its package has it: by the units of `packaging/`, under the systemd of a real host of the lab,
//! before that host's own Exim.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it saw"
)]

mod bench;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bench::lab::{go_inside, greeted};
use bench::{Client, until};
use serde_json::Value;
use xtask::lab::{Family, Lab, Pairing, Wanted};

/// Where the inner test finds the lab.
const INNER: &str = "MAILKEEP_SHIELD_SYSTEMD_LAB";

const HOST: &str = "h01";

const CONFIG: &str = r#"name = "shield.example"
[[listener]]
name = "mx"
address = ["0.0.0.0:25", "[::]:25"]
[[backend]]
address = "127.0.0.1:2526"
xclient = false
"#;

/// What only scanners take for a virus (eicar.org).
const EICAR: &str = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

const UNITS: [(&str, &str); 2] = [
    (
        "mailkeep-shield.service",
        include_str!("../../../packaging/mailkeep-shield.service"),
    ),
    (
        "mailkeep-shield.socket",
        include_str!("../../../packaging/mailkeep-shield.socket"),
    ),
];

#[test]
#[ignore = "builds an image of its own"]
fn the_units_of_the_package_do_what_they_say_under_systemd() {
    let wanted = Wanted {
        hosts: 1,
        families: vec![Family::Exim],
        regions: 1,
        pairing: Pairing::Synthetic,
    };
    let (lab, turn) = Lab::for_test_with(&["systemd-sysv"], "shield_systemd", &wanted).unwrap();
    lab.take_mail_for("shield.test").unwrap();
    go_inside(&lab, INNER, lab.root().to_str().unwrap());
    drop(turn);
}

#[test]
#[ignore = "started by the_units_of_the_package_do_what_they_say_under_systemd, in the lab's network"]
fn the_part_inside_the_lab() {
    let lab = Lab::open(PathBuf::from(std::env::var_os(INNER).unwrap())).unwrap();
    let address = lab.host(HOST).unwrap().address;
    let machine = Machine { lab, address };
    machine.install();
    machine.starts_without_privileges_and_says_when_it_is_ready();
    machine.tells_the_journal();
    machine.keeps_sessions_over_a_reload();
    machine.ends_what_is_under_way_before_it_stops();
    machine.is_started_anew_when_it_hangs();
    machine.turns_nobody_away_while_its_socket_is_held();
}

struct Machine {
    lab: Lab,
    address: Ipv4Addr,
}

impl Machine {
    fn run(&self, script: &str) -> String {
        self.lab.says(HOST, script).unwrap()
    }

    fn place(&self) -> SocketAddr {
        (self.address, 25).into()
    }

    fn write(&self, path: &str, content: &[u8]) {
        self.lab.write(HOST, path, content).unwrap();
    }

    fn install(&self) {
        let program = std::fs::read(env!("CARGO_BIN_EXE_mailkeep-shield")).unwrap();
        self.write("/usr/bin/mailkeep-shield", &program);
        self.run("chmod 755 /usr/bin/mailkeep-shield");
        self.write("/etc/mailkeep/shield.toml", CONFIG.as_bytes());
        for (name, text) in UNITS {
            self.write(&format!("/etc/systemd/system/{name}"), text.as_bytes());
        }
        // Exim makes room for it.
        self.run(
            "sed -i \"s/^dc_local_interfaces=.*/dc_local_interfaces='127.0.0.1.2526'/\" \
             /etc/exim4/update-exim4.conf.conf && update-exim4.conf && systemctl restart exim4",
        );
        let verified = "systemd-analyze verify /etc/systemd/system/mailkeep-shield.service 2>&1";
        let said = self.run(verified);
        println!("verify: {said}");
        assert!(!said.contains("mailkeep-shield"), "{said}");
    }

    fn property(&self, name: &str) -> String {
        let show = format!("systemctl show mailkeep-shield --property {name} --value");
        self.run(&show).trim().to_owned()
    }

    fn starts_without_privileges_and_says_when_it_is_ready(&self) {
        // It comes back when it is ready, and not before (Type=notify).
        self.run(
            "systemctl daemon-reload && systemctl start mailkeep-shield || \
             { journalctl -u mailkeep-shield -n 20 --no-pager >&2; exit 1; }",
        );
        let reply = send(&mut greeted(self.place()), "first");
        assert!(reply.starts_with("250 "), "{reply}");
        let mailbox = || self.run("cat /var/mail/probe 2>/dev/null || true");
        until(|| mailbox().contains("first"));
        let pid = self.property("MainPID");
        let status = self.run(&format!("cat /proc/{pid}/status"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().split_whitespace().next().unwrap().to_owned()
        };
        assert_ne!(field("Uid:"), "0");
        // CAP_NET_BIND_SERVICE, and no other.
        assert_eq!(field("CapEff:"), "0000000000000400");
        assert_eq!(
            (field("NoNewPrivs:"), field("Seccomp:")),
            ("1".into(), "2".into())
        );
        let exposure = self.run("systemd-analyze security mailkeep-shield | tail -n 1");
        println!("{exposure}");
    }

    fn tells_the_journal(&self) {
        let reply = send(&mut greeted(self.place()), EICAR);
        assert!(reply.starts_with("550 "), "{reply}");
        let found = || self.run("journalctl MAILKEEP_VERDICT=refuse -o json --no-pager");
        until(|| !found().trim().is_empty());
        let entry: Value = serde_json::from_str(found().lines().next().unwrap()).unwrap();
        println!("{entry}");
        assert_eq!(entry["_SYSTEMD_UNIT"], "mailkeep-shield.service");
        assert_eq!(entry["MAILKEEP_EVENT"], "message");
        let line: Value = serde_json::from_str(entry["MESSAGE"].as_str().unwrap()).unwrap();
        assert_eq!(line["verdict"], "refuse");
        let of_session = entry["MAILKEEP_SESSION"].as_str().unwrap();
        let session = self.run(&format!(
            "journalctl MAILKEEP_SESSION={of_session} -o cat --no-pager"
        ));
        assert!(session.contains("\"test-virus\""), "{session}");
    }

    fn keeps_sessions_over_a_reload(&self) {
        let mut client = greeted(self.place());
        begin(&mut client);
        let pid = self.property("MainPID");
        self.run("systemctl reload mailkeep-shield");
        until(|| {
            self.run("journalctl MAILKEEP_EVENT=reloaded -o cat --no-pager")
                .contains("reloaded")
        });
        let reply = end(&mut client, "over a reload");
        assert!(reply.starts_with("250 "), "{reply}");
        assert_eq!(self.property("MainPID"), pid);
    }

    fn ends_what_is_under_way_before_it_stops(&self) {
        let mut client = greeted(self.place());
        begin(&mut client);
        self.run("systemctl stop --no-block mailkeep-shield");
        until(|| TcpStream::connect(self.place()).is_err());
        let reply = end(&mut client, "while it stops");
        assert!(reply.starts_with("250 "), "{reply}");
        until(|| self.property("ActiveState") == "inactive");
        assert_eq!(self.property("Result"), "success");
    }

    fn is_started_anew_when_it_hangs(&self) {
        let sooner = "[Service]\nWatchdogSec=2s\n";
        self.write(
            "/run/systemd/system/mailkeep-shield.service.d/sooner.conf",
            sooner.as_bytes(),
        );
        self.run("systemctl daemon-reload && systemctl start mailkeep-shield");
        let pid = self.property("MainPID");
        self.run(&format!("kill -STOP {pid}"));
        until(|| self.property("NRestarts") == "1" && self.property("ActiveState") == "active");
        assert_ne!(self.property("MainPID"), pid);
        let reply = send(&mut greeted(self.place()), "after it hung");
        assert!(reply.starts_with("250 "), "{reply}");
        self.run(
            "systemctl stop mailkeep-shield && rm -r /run/systemd/system/mailkeep-shield.service.d",
        );
    }

    fn turns_nobody_away_while_its_socket_is_held(&self) {
        self.run("systemctl daemon-reload && systemctl start mailkeep-shield.socket");
        // The first client starts it.
        let reply = send(&mut greeted(self.place()), "by the socket");
        assert!(reply.starts_with("250 "), "{reply}");
        let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    greeted(self.place()).ask("QUIT");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
            for _ in 0..3 {
                let before = served.load(Ordering::SeqCst);
                self.run("systemctl restart mailkeep-shield");
                until(|| served.load(Ordering::SeqCst) > before);
            }
            over.store(true, Ordering::SeqCst);
        });
        println!(
            "{} clients over three restarts",
            served.load(Ordering::SeqCst)
        );
        let errors = self.run("journalctl -u mailkeep-shield -p err -o cat --no-pager");
        assert!(!errors.contains("panic"), "{errors}");
    }
}

fn begin(client: &mut Client) {
    for (line, code) in [
        ("MAIL FROM:<a@client.example>", "250 "),
        ("RCPT TO:<probe@shield.test>", "250 "),
        ("DATA", "354 "),
    ] {
        let reply = client.ask(line);
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
}

/// Sends a message; the answer at its end.
fn send(client: &mut Client, body: &str) -> String {
    begin(client);
    end(client, body)
}

fn end(client: &mut Client, body: &str) -> String {
    let message = format!("From: a@client.example\r\nSubject: x\r\n\r\n{body}\r\n");
    client.send(message.as_bytes());
    client.ask(".")
}
