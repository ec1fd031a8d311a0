//! YARA rules of the site: on what is unpacked, on the message itself, and never passed over in silence.

use std::process::Command;

use bench::clamd::with_file;
use rustix::process::Signal;

use crate::{Stand, bench};

/// `only here: marker-7f3a, marker-7f3a`, by gzip.
const PACKED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcb\xcf\xcb\xa9\x54\xc8\x48\x2d\x4a\xb5\x52\xc8\x4d\x2c\
    \xca\x4e\x2d\xd2\x35\x4f\x33\x4e\xd4\x41\xe6\x00\x00\xef\x72\x05\xc8\x23\x00\x00\x00";

const RULES: &str = "import \"math\"
rule marked { strings: $a = \"marker-7f3a\" condition: #a == 2 and filesize < 100 and math.entropy(0, filesize) > 1.0 }";

const NOTICED: &str = "rule subject { strings: $a = \"Subject: a file\" condition: $a at 24 }";

#[test]
fn what_matches_a_rule_of_the_site_is_refused_wherever_it_lies() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("yara")).unwrap();
    std::fs::write(at("yara/site.yar"), RULES).unwrap();
    std::fs::write(at("notice.yara"), NOTICED).unwrap();
    let more = format!(
        "[content]\n[[yara]]\nrules = [{:?}]\n[[yara]]\nrules = [{:?}]\naction = \"accept\"\n",
        at("yara"),
        at("notice.yara")
    );
    let rules = at("yara/site.yar");
    let mut stand = Stand::within(directory, &more);
    let marked = with_file("a.gz", PACKED);
    let reply = stand.by_proxy(&marked);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert!(reply.contains("the rule marked of this site"), "{reply}");
    let line = stand.shield.event("message");
    assert_eq!(line["rules"], serde_json::json!(["yara", "yara"]));
    let evidence = line["evidence"].to_string();
    assert!(evidence.contains("a.gz/a marked in "), "{evidence}");
    assert!(!stand.by_milter(&marked).accepted());

    // What is only noticed passes, and is in the log.
    let clean = with_file("a.txt", b"marker-7f3a");
    assert!(stand.by_proxy(&clean).starts_with("250 "));
    stand.shield.event("message");
    let line = stand.shield.event("message");
    assert_eq!(line["rule"], "yara");

    // Rules that do not compile change nothing, and are told of.
    std::fs::write(&rules, "rule broken { condition: no_such_thing }").unwrap();
    stand.shield.signal(Signal::HUP);
    let why = stand.shield.event("reload-refused")["why"].to_string();
    assert!(
        why.contains("site.yar:1:") && why.contains("no_such_thing"),
        "{why}"
    );
    assert!(!stand.by_milter(&marked).accepted());
    let config = stand.directory.path().join("shield.toml");
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep-shield"));
        command
            .arg("--config")
            .arg(&config)
            .args(arguments)
            .output()
            .unwrap()
    };
    for arguments in [&["--check"][..], &[]] {
        let output = start(arguments);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("no_such_thing"), "{said}");
    }
    std::fs::write(&rules, "rule none { condition: false }").unwrap();
    stand.shield.signal(Signal::HUP);
    stand.shield.event("reloaded");
    assert!(stand.by_milter(&marked).accepted());
}

#[test]
fn mail_that_no_rule_of_the_site_sees_is_told_of_and_rules_that_see_nothing_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("site.yar");
    std::fs::write(&rules, RULES).unwrap();
    let more = format!(
        "[content]\nlevel = \"default\"\n[[content.policy]]\nlistener = \"mx\"\ndomains = [\"lab.example\"]\nlevel = \"off\"\n\
         [[yara]]\nrules = [{rules:?}]\n"
    );
    let mut stand = Stand::within(directory, &more);
    stand.shield.signal(Signal::HUP);
    let line = stand.shield.event("yara-left-out");
    assert_eq!(
        line["level_off"],
        serde_json::json!(["by mx to lab.example"])
    );
    let config = stand.directory.path().join("shield.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"default\"", "\"off\"")).unwrap();
    stand.shield.signal(Signal::HUP);
    let why = stand.shield.event("reload-refused")["why"].to_string();
    assert!(why.contains("[[yara]]") && why.contains("off"), "{why}");
}
