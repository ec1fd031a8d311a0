//! `mailkeep watch --once`: who is told what, and that nothing told is lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::fs;

use common::server::{Site, closed_port, mail_server, page};
use common::{Bench, Ran, TRACKER, fleet};

const FEED: &str = "[feeds.debian-tracker]\nlocation = \"tracker.json\"\n";

fn bench(notify: &str) -> Bench {
    let bench = Bench::new();
    bench.exim_host();
    bench.write("tracker.json", TRACKER);
    configure(&bench, notify);
    bench
}

fn configure(bench: &Bench, notify: &str) {
    bench.write("mailkeep.toml", fleet(&format!("{FEED}{notify}")));
}

fn watch(bench: &Bench) -> Ran {
    bench.run(&["watch", "--once", "--offline", "--fleet", "mailkeep.toml"])
}

/// Makes Exim's hole one that stays open.
fn reopen(bench: &Bench) {
    let open = TRACKER
        .replace("\"status\": \"resolved\"", "\"status\": \"open\"")
        .replace("\"fixed_version\": \"4.96-15+deb12u2\", ", "");
    bench.write("tracker.json", open);
}

#[test]
fn a_command_is_told_what_changed_and_nothing_when_nothing_did() {
    let bench =
        bench("[notify]\ncommand = [\"sh\", \"-c\", \"cat >> told.json; echo >> told.json\"]\n");
    let told = || fs::read_to_string(bench.path("told.json")).unwrap_or_default();
    watch(&bench)
        .exits(1)
        .says("mx1 exim4 CVE-2023-42115 [postmasters]: new      fix-available");
    let first: serde_json::Value = serde_json::from_str(told().trim()).unwrap();
    assert_eq!(first["schema"], "mailkeep.notice/1");
    assert_eq!(first["realm"], "live");
    assert_eq!(first["owner"], "postmasters");
    assert_eq!(first["changes"][0]["kind"], "finding-new");
    watch(&bench).exits(0);
    assert_eq!(told().lines().count(), 1);
    // A check by hand takes no news away.
    reopen(&bench);
    bench.run(&["check", "--fleet", "mailkeep.toml"]).exits(1);
    watch(&bench).exits(1);
    let all = told();
    let last: serde_json::Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!(last["changes"][0]["kind"], "finding-changed", "{last}");
}

#[test]
fn a_webhook_that_is_down_is_told_in_a_later_round() {
    let url =
        |port: u16, path: &str| format!("[notify]\nwebhook = \"http://127.0.0.1:{port}{path}\"\n");
    let bench = bench(&url(closed_port(), "/hook/s3cret"));
    watch(&bench).exits(1).says(
        "a notice could not be sent, the next round tries again: cannot reach http://127.0.0.1",
    );
    let spool = fs::read_to_string(bench.path("state/notices.json")).unwrap();
    assert!(spool.contains("CVE-2023-42115"), "{spool}");

    let site = Site::start();
    site.put("/hook/s3cret", page(""));
    configure(&bench, &url(site.address.port(), "/hook/s3cret"));
    let ran = watch(&bench).exits(0);
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
    let requests = site.requests();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].starts_with("POST /hook/s3cret "),
        "{}",
        requests[0]
    );
    assert!(requests[0].contains("CVE-2023-42115"), "{}", requests[0]);
    watch(&bench).exits(0);
    assert_eq!(site.requests().len(), 1);
}

#[test]
fn mail_goes_to_the_owner_concerned() {
    let (port, taken) = mail_server();
    let notify = format!(
        "[notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"mailkeep@harbour.example\"\n\
         [teams.web]\nemail = [\"web@harbour.example\"]\n\
         [hosts.mx2]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"exim\"\nfacts = \"host\"\nowner = \"web\"\n"
    );
    let bench = bench(&notify);
    watch(&bench)
        .exits(1)
        .says("told postmaster@harbour.example by mail")
        .says("told web@harbour.example by mail");
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 2, "{taken:?}");
    for (host, address) in [
        ("mx1", "postmaster@harbour.example"),
        ("mx2", "web@harbour.example"),
    ] {
        let mail = taken
            .iter()
            .find(|m| m.contains(&format!("RCPT TO:<{address}>")))
            .unwrap();
        assert!(
            mail.contains("Subject: mailkeep: 1 change on your mail servers"),
            "{mail}"
        );
        assert!(
            mail.contains(&format!("{host} exim4 CVE-2023-42115")),
            "{mail}"
        );
        let other = if host == "mx1" { "mx2 " } else { "mx1 " };
        assert!(!mail.contains(other), "{mail}");
    }
    drop(taken);
    watch(&bench).exits(0);
}

#[test]
fn killed_between_spool_and_snapshot_it_tells_again_rather_than_loses() {
    // The spool is written first; a kill right after it leaves what this makes: the notice in the
    // spool, the snapshot as before (here: none).
    let bench = bench("[notify]\ncommand = [\"false\"]\n");
    watch(&bench).exits(1).says("a notice could not be sent");
    let spool = fs::read(bench.path("state/notices.json")).unwrap();
    fs::remove_dir_all(bench.state()).unwrap();
    fs::create_dir(bench.state()).unwrap();
    fs::write(bench.path("state/notices.json"), spool).unwrap();
    configure(
        &bench,
        "[notify]\ncommand = [\"sh\", \"-c\", \"cat >> told.json; echo >> told.json\"]\n",
    );
    watch(&bench).exits(1);
    let told = fs::read_to_string(bench.path("told.json")).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    watch(&bench).exits(0);
}

#[test]
fn a_feed_that_fails_does_not_end_the_round() {
    let bench = bench(
        "[feeds.kev]\nlocation = \"http://127.0.0.1:1/kev.json\"\n[feeds.epss]\nenabled = false\n[feeds.vulnrichment]\nenabled = false\n",
    );
    let ran = bench.run(&["watch", "--once", "--fleet", "mailkeep.toml"]);
    let ran = ran
        .exits(1)
        .says("kev: cannot reach http://127.0.0.1:1/kev.json");
    assert!(ran.err.contains("mx1 exim4 CVE-2023-42115"), "{}", ran.err);
}

#[test]
fn a_damaged_spool_is_named_and_no_fleet_is_an_error() {
    let bench = bench("[notify]\ncommand = [\"true\"]\n");
    watch(&bench).exits(1);
    fs::write(bench.path("state/notices.json"), "{").unwrap();
    watch(&bench)
        .exits(2)
        .says("notices.json is damaged; move it aside");
    fs::remove_file(bench.path("mailkeep.toml")).unwrap();
    bench
        .run(&["watch", "--once"])
        .exits(2)
        .says("there is no fleet file to watch; name one with --fleet");
}

#[test]
fn a_watch_that_cannot_begin_ends() {
    let bench = Bench::new();
    bench
        .run(&["watch", "--offline"])
        .exits(2)
        .says("there is no fleet file to watch; name one with --fleet");
    bench.write(
        "mailkeep.toml",
        fleet("[hosts.mx2]\nregion = \"nowhere\"\n"),
    );
    bench
        .run(&["watch", "--offline", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("the fleet file mailkeep.toml has mistakes");
}

#[test]
fn a_receiver_that_failed_is_left_alone_for_the_round_and_holds_nothing_up_for_good() {
    let two_owners = |script: &str| {
        format!(
            "[notify]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n\
             [teams.web]\nemail = [\"web@harbour.example\"]\n\
             [hosts.mx2]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"exim\"\nfacts = \"host\"\nowner = \"web\"\n"
        )
    };
    // The notice of one owner, the first, is one that the program never takes.
    let bench = bench(&two_owners(
        "cat > last.json; echo >> tries; grep -q web last.json && cp last.json web.json",
    ));
    let tries = || {
        fs::read_to_string(bench.path("tries"))
            .unwrap()
            .lines()
            .count()
    };
    watch(&bench)
        .exits(1)
        .says("what else there was for receivers that failed waits for the next round: 1 more");
    assert_eq!(tries(), 1);
    assert!(!bench.path("web.json").exists());
    watch(&bench).exits(0);
    assert_eq!(tries(), 3);
    assert!(bench.path("web.json").exists());
    watch(&bench).exits(0);
    assert_eq!(tries(), 4);
    let spool = fs::metadata(bench.path("state/notices.json")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&spool.permissions()) & 0o777,
        0o600
    );
}

#[test]
fn what_is_posted_is_signed_where_there_is_a_secret() {
    let site = Site::start();
    site.put("/hook", page(""));
    let bench = bench(&format!(
        "[notify]\nwebhook = \"http://127.0.0.1:{}/hook\"\nwebhook_secret_file = \"hook.secret\"\n",
        site.address.port()
    ));
    watch(&bench)
        .exits(1)
        .says("cannot read the webhook secret file hook.secret");
    assert!(site.requests().is_empty());
    bench.write("hook.secret", "s3cret\n");
    watch(&bench).exits(0);
    let requests = site.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let signed =
        mailkeep_reach::notify::signature(&mailkeep_reach::Secret::new("s3cret"), body.as_bytes());
    assert!(
        head.to_ascii_lowercase()
            .contains(&format!("mailkeep-signature-256: {signed}")),
        "{head}"
    );

    configure(&bench, "[notify]\nwebhook_secret_file = \"hook.secret\"\n");
    watch(&bench)
        .exits(2)
        .says("there is no webhook that the secret is for");
}

#[test]
fn an_outbreak_is_told_once_to_whom_it_concerns_with_the_command_that_ends_it() {
    let (port, taken) = mail_server();
    let notify = format!(
        "[notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"mailkeep@harbour.example\"\n\
         [teams.inside]\nemail = [\"inside@harbour.example\"]\n\
         [hosts.mail-in]\nregion = \"eu\"\nfacts = \"host\"\naddress = \"10.0.0.2\"\nowner = \"inside\"\n\
         [[shield]]\nname = \"mx.harbour.example\"\nguards = [\"mx1\"]\nstatus = \"status.json\"\n"
    );
    let bench = bench(&notify);
    let alert = |id: &str, isolate: &str| {
        format!(
            r#"{{"id":"{id}","at":"2026-11-22T10:00:00Z","detector":"same-attachment","text":"The same new attachment.",
            "counted":3,"limit":3,"usual":1,"unit":"senders","held":true,"isolate":{isolate},
            "examples":[{{"trace":"{id}","host":"10.0.0.2","sender":"ada@harbour.example"}}]}}"#
        )
    };
    let tell = |alerts: &[String]| {
        bench.write(
            "status.json",
            format!(
                r#"{{"name":"mx.harbour.example","time":"2026-11-22T10:01:00Z","alerts":[{}],
                "bundle":{{"id":"b","version":1,"expires":"2027-01-01T00:00:00Z","enforced":[]}}}}"#,
                alerts.join(",")
            ),
        );
    };
    tell(&[alert("5f-1", "\"10.0.0.2\"")]);
    watch(&bench).exits(1);
    let outbreaks = || {
        let taken = taken.lock().unwrap();
        let about = taken.iter().filter(|mail| mail.contains("outbreak"));
        about.cloned().collect::<Vec<String>>()
    };
    let told = outbreaks();
    assert_eq!(told.len(), 2, "{told:?}");
    for (mail, address) in told.iter().zip(["inside", "postmaster"]) {
        assert!(
            mail.contains(&format!("RCPT TO:<{address}@harbour.example>")),
            "{mail}"
        );
        let words = mail.replace("=\r\n", "").replace("=3D", "=");
        for expected in [
            "Subject: mailkeep: outbreak at mx.harbour.example: same-attachment",
            "Counted within an hour: 3 senders. Limit: 3. Most in the weeks before: 1.",
            "5f-1: from ada@harbour.example, by 10.0.0.2",
            "mailkeep isolate 'mail-in' --reason 'outbreak: same-attachment, reference 5f-1'",
        ] {
            assert!(words.contains(expected), "{expected}: {words}");
        }
    }
    watch(&bench);
    assert_eq!(outbreaks().len(), 2);
    // Another of a stranger's host: only those are told who answer for the servers behind.
    tell(&[alert("5f-1", "\"10.0.0.2\""), alert("5f-9", "null")]);
    watch(&bench).exits(1);
    let told = outbreaks();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(!told[2].contains("mailkeep isolate"), "{}", told[2]);
    // A shield that is not heard says nothing, and ends nothing.
    bench.write("status.json", "{");
    watch(&bench);
    assert_eq!(outbreaks().len(), 3);
}
