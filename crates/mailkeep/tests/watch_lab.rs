//! The watch as its package has it: by the unit of `packaging/`, as a user of its own, under the systemd of a
//! real host of the lab, which it looks at by that user's own `ssh`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it saw"
)]

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

#[test]
#[ignore = "builds an image of its own"]
fn the_unit_of_the_package_looks_at_hosts_and_tells_of_what_is_new() {
    let wanted = Wanted {
        hosts: 1,
        families: vec![Family::Exim],
        regions: 1,
        pairing: Pairing::Synthetic,
    };
    let (lab, _turn) = Lab::for_test_with(&["systemd-sysv"], "watch_systemd", &wanted).unwrap();
    let run = |script: &str| lab.says(HOST, script).unwrap();
    let write = |path: &str, content: &[u8]| lab.write(HOST, path, content).unwrap();
    let program = std::fs::read(env!("CARGO_BIN_EXE_mailkeep")).unwrap();
    write("/usr/bin/mailkeep", &program);
    run("chmod 755 /usr/bin/mailkeep");
    write("/usr/lib/sysusers.d/mailkeep.conf", USER.as_bytes());
    write(
        "/etc/systemd/system/mailkeep-watch.service",
        UNIT.as_bytes(),
    );
    let feed = "{\"exim4\":{\"CVE-2026-90002\":{\"description\":\"made up\",\"releases\":{\"trixie\":\
                {\"status\":\"resolved\",\"fixed_version\":\"9:9\",\"urgency\":\"high\"}}}}}";
    write("/etc/mailkeep/tracker.json", feed.as_bytes());
    write("/etc/mailkeep/mailkeep.toml", FLEET.as_bytes());
    run(SETUP);
    // Root looks first, and what that leaves belongs to root.
    let lint = "mailkeep fleet lint --fleet /etc/mailkeep/mailkeep.toml || true";
    println!("{}", run(lint));
    let made = run("stat -c %U /var/lib/mailkeep/mailkeep.db");
    assert_eq!(made, "root\n");
    let began = Instant::now();
    run("systemctl daemon-reload && systemctl start mailkeep-watch");
    let mailbox = || run("cat /var/mail/probe 2>/dev/null || true");
    while !mailbox().contains("CVE-2026-90002") {
        let log = || run("journalctl -u mailkeep-watch --no-pager");
        assert!(began.elapsed() <= Duration::from_mins(1), "{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{}", mailbox());
    println!(
        "{}",
        run(
            "journalctl -u mailkeep-watch --no-pager -o cat; systemd-analyze security mailkeep-watch | tail -n 1"
        )
    );
    let owner = run("stat -c '%U %a' /var/lib/mailkeep; ps -o user= -C mailkeep");
    assert_eq!(owner, "mailkeep 700\nmailkeep\n");
    run("systemctl stop mailkeep-watch");
    assert_eq!(
        run("systemctl show mailkeep-watch --property Result --value"),
        "success\n"
    );
}
