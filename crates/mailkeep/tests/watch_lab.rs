//! The watch as its package has it: by the unit of `packaging/`, as a user of its own, under the systemd of a
//! real host of the lab, which it looks at by that user's own `ssh`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it saw"
)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use xtask::lab::{Family, Lab, Pairing, Wanted};

const HOST: &str = "h01";

const UNIT: &str = include_str!("../../../packaging/mailkeep-watch.service");

const USER: &str = include_str!("../../../packaging/debian/mailkeep.sysusers");

const FLEET: &str = r#"
global_team = "postmasters"
[teams.postmasters]
email = "probe@h01.lab.test"
[regions.here]
time_zone = "Europe/Lisbon"
owner = "postmasters"
[hosts."h01.lab.test"]
region = "here"
[feeds.debian-tracker]
location = "tracker.json"
as_of = 2026-11-20
[notify.mail]
server = "127.0.0.1"
tls = "none"
from = "mailkeep@h01.lab.test"
"#;

/// What its user sets up, as the unit says.
const SETUP: &str = "systemd-sysusers /usr/lib/sysusers.d/mailkeep.conf
install -d -m 700 -o mailkeep -g mailkeep /var/lib/mailkeep /var/lib/mailkeep/.ssh
cd /var/lib/mailkeep/.ssh
ssh-keygen -q -t ed25519 -N '' -f id_ed25519
cat id_ed25519.pub >>/etc/ssh/lab_keys
echo \"$(cat /etc/hostname) $(cat /etc/ssh/ssh_host_ed25519_key.pub)\" >known_hosts
printf 'User root\\n' >config
chown mailkeep: *";

fn run(lab: &Lab, script: &str) -> String {
    let mut command = lab.inside(HOST, &["sh", "-ec", script]).unwrap();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(lab: &Lab, path: &str, from: Stdio) {
    let script = format!("mkdir -p $(dirname {path}) && cat >{path}");
    let mut command = lab.inside(HOST, &["sh", "-c", &script]).unwrap();
    assert!(command.stdin(from).status().unwrap().success());
}

fn write_text(lab: &Lab, path: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    write(lab, path, std::fs::File::open(file.path()).unwrap().into());
}

#[test]
#[ignore = "builds an image of its own"]
fn the_unit_of_the_package_looks_at_hosts_and_tells_of_what_is_new() {
    let (lab, _turn) = Lab::beside("test-watch-systemd").unwrap();
    let lab = lab.with_packages(&["systemd-sysv"]);
    lab.up(&Wanted {
        hosts: 1,
        families: vec![Family::Exim],
        regions: 1,
        pairing: Pairing::Synthetic,
    })
    .unwrap();
    let program = std::fs::File::open(env!("CARGO_BIN_EXE_mailkeep")).unwrap();
    write(&lab, "/usr/bin/mailkeep", program.into());
    run(&lab, "chmod 755 /usr/bin/mailkeep");
    write_text(&lab, "/usr/lib/sysusers.d/mailkeep.conf", USER);
    write_text(&lab, "/etc/systemd/system/mailkeep-watch.service", UNIT);
    let feed = "{\"exim4\":{\"CVE-2026-90002\":{\"description\":\"made up\",\"releases\":{\"trixie\":\
                {\"status\":\"resolved\",\"fixed_version\":\"9:9\",\"urgency\":\"high\"}}}}}";
    write_text(&lab, "/etc/mailkeep/tracker.json", feed);
    write_text(&lab, "/etc/mailkeep/mailkeep.toml", FLEET);
    run(&lab, SETUP);
    // Root looks first, and what that leaves belongs to root.
    let lint = "mailkeep fleet lint --fleet /etc/mailkeep/mailkeep.toml || true";
    println!("{}", run(&lab, lint));
    let made = run(&lab, "stat -c %U /var/lib/mailkeep/mailkeep.db");
    assert_eq!(made, "root\n");
    let began = Instant::now();
    run(
        &lab,
        "systemctl daemon-reload && systemctl start mailkeep-watch",
    );
    let mailbox = || run(&lab, "cat /var/mail/probe 2>/dev/null || true");
    while !mailbox().contains("CVE-2026-90002") {
        let log = || run(&lab, "journalctl -u mailkeep-watch --no-pager");
        assert!(began.elapsed() <= Duration::from_mins(1), "{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{}", mailbox());
    println!(
        "{}",
        run(
            &lab,
            "journalctl -u mailkeep-watch --no-pager -o cat; systemd-analyze security mailkeep-watch | tail -n 1"
        )
    );
    let owner = run(
        &lab,
        "stat -c '%U %a' /var/lib/mailkeep; ps -o user= -C mailkeep",
    );
    assert_eq!(owner, "mailkeep 700\nmailkeep\n");
    run(&lab, "systemctl stop mailkeep-watch");
    assert_eq!(
        run(
            &lab,
            "systemctl show mailkeep-watch --property Result --value"
        ),
        "success\n"
    );
}
