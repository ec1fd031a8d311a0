//! What the steps of the test are made of: the lab, commands run as the controller and inside hosts, and
//! answers in a form that can be compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use mailkeep_model::{HostFacts, HostName, Realm};
use mailkeep_store::{SqliteStore, Store as _};
use serde_json::Value;
use xtask::lab::{Lab, Pair};

/// A controller with its fleet file and its state.
pub(crate) struct Bench<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) fleet: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) began: Instant,
}

/// How a run of Mailkeep ended.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The line about a host.
    #[track_caller]
    pub(crate) fn line_of(&self, host: &str) -> &str {
        let start = format!("{host}: ");
        let mut lines = self.lines().into_iter().filter(|l| l.starts_with(&start));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no line about {host}:\n{}", self.stdout));
        assert_eq!(lines.next(), None, "one line for {host}:\n{}", self.stdout);
        line
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Answer {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}\n{}", self.stdout, self.stderr));
        assert_eq!(value["schema"], "mailkeep.check/1");
        Answer(value)
    }
}

impl Bench<'_> {
    /// Says what comes next.
    pub(crate) fn step(&self, claim: &str) {
        println!("[{:6.1} s] {claim}", self.began.elapsed().as_secs_f64());
    }

    /// The same controller with another state, and a fleet file changed by `change`.
    pub(crate) fn other(&self, name: &str, change: impl FnOnce(String) -> String) -> Self {
        let fleet = self.state.with_file_name(format!("{name}.toml"));
        let text = std::fs::read_to_string(&self.fleet).unwrap();
        std::fs::write(&fleet, change(text)).unwrap();
        Self {
            lab: self.lab,
            state: self.state.with_file_name(name),
            fleet,
            began: self.began,
        }
    }

    /// Runs Mailkeep as the controller and expects an exit status.
    #[track_caller]
    pub(crate) fn mailkeep(&self, status: i32, args: &[&str]) -> Run {
        let mut command = self.lab.controller(env!("CARGO_BIN_EXE_mailkeep"));
        command.args(args).arg("--state").arg(&self.state);
        let run = finished(&mut command);
        assert_eq!(
            run.status,
            status,
            "mailkeep {}\n{}\n{}",
            args.join(" "),
            run.stdout,
            run.stderr
        );
        run
    }

    /// `mailkeep COMMAND --fleet FILE ARGS`.
    #[track_caller]
    pub(crate) fn with_fleet(&self, status: i32, command: &str, args: &[&str]) -> Run {
        let fleet = self.fleet.display().to_string();
        let all: Vec<&str> = [command, "--fleet", &fleet]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        self.mailkeep(status, &all)
    }

    /// The answer of `check` in JSON, as a check that found something.
    #[track_caller]
    pub(crate) fn check(&self, status: i32, args: &[&str]) -> Answer {
        let args = [&["--format", "json"], args].concat();
        self.with_fleet(status, "check", &args).json()
    }

    /// Runs a script inside a host, entered by its namespaces.
    #[track_caller]
    pub(crate) fn inside(&self, host: &str, script: &str) {
        // Into a file: a daemon it starts would hold a pipe of ours open.
        let logged = format!("set -eu\nexec >/lab/step.log 2>&1\n{script}");
        let status = self
            .lab
            .inside(host, &["sh", "-c", &logged])
            .unwrap()
            .stdin(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            let log = self.lab.inside(host, &["cat", "/lab/step.log"]).unwrap();
            panic!(
                "{host}: {script} ended with {status}:\n{}",
                finished(&mut { log }).stdout
            );
        }
    }

    /// What was seen of a host.
    #[track_caller]
    pub(crate) fn facts(&self, host: &str) -> HostFacts {
        let store = SqliteStore::open(&self.state, Realm::Live).unwrap();
        let name = HostName::new(host).unwrap();
        store.scan_of(&name).unwrap().facts.unwrap()
    }
}

/// One answer of `check` or `affected` in JSON.
pub(crate) struct Answer(pub(crate) Value);

impl Answer {
    /// Every finding as `HOST ADVISORY PACKAGE STATUS SURFACE`, sorted.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.0["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                words(
                    finding,
                    &["host", "advisory", "package", "status", "surface"],
                )
            })
            .collect();
        lines.sort();
        lines
    }

    /// Every host as `HOST STATUS REASON,REASON`, as listed.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let host = |host: &Value| {
            let reasons: Vec<&str> = host["reasons"]
                .as_array()
                .unwrap()
                .iter()
                .map(|reason| reason["kind"].as_str().unwrap())
                .collect();
            let line = format!("{} {}", words(host, &["name", "status"]), reasons.join(","));
            line.trim_end().to_owned()
        };
        self.0["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(host)
            .collect()
    }

    /// Every change as `HOST ADVISORY CHANGE STATUS`, as listed.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.0["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| words(change, &["host", "advisory", "change", "status"]))
            .collect()
    }

    #[track_caller]
    pub(crate) fn host(&self, name: &str) -> &Value {
        let hosts = self.0["hosts"].as_array().unwrap();
        hosts.iter().find(|host| host["name"] == name).unwrap()
    }

    #[track_caller]
    pub(crate) fn finding(&self, host: &str, advisory: &str) -> &Value {
        self.0["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["host"] == host && finding["advisory"] == advisory)
            .unwrap_or_else(|| panic!("{advisory} on {host} is not among {:#?}", self.findings()))
    }
}

/// Values of an object by name, in one line; `null` is a dash.
fn words(object: &Value, names: &[&str]) -> String {
    let words: Vec<&str> = names
        .iter()
        .map(|name| object[*name].as_str().unwrap_or("-"))
        .collect();
    words.join(" ")
}

/// All notes of a finding's evidence, and its reason, in one text.
pub(crate) fn told(finding: &Value) -> String {
    let evidence = &finding["evidence"];
    let notes = evidence["notes"].as_array().unwrap().iter();
    notes
        .chain([&evidence["reason"]])
        .map(|text| text.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A Debian tracker of the lab's made-up CVEs, by the versions the lab has.
pub(crate) fn tracker(exim: &Pair, postfix: &Pair, dovecot: &Pair) -> Value {
    let fixed = |version: &str| serde_json::json!({"status": "resolved", "fixed_version": version, "urgency": "high"});
    let open = |fields: Value| {
        let mut claim = serde_json::json!({"status": "open", "urgency": "medium"});
        for (name, value) in fields.as_object().unwrap() {
            claim[name] = value.clone();
        }
        claim
    };
    let only_trixie = serde_json::json!({
        "bullseye": fixed("0"),
        "bookworm": fixed("0"),
        "trixie": open(serde_json::json!({})),
    });
    serde_json::json!({
        "exim4": {
            "CVE-2026-90002": {"description": "Made up: fixed by the lab's patch",
                               "releases": {"trixie": fixed(&exim.new)}},
            "CVE-2010-90012": {"releases": {"trixie": fixed("4.72-3")}},
            "CVE-2026-90022": {"releases": {"trixie": fixed("0")}},
            "CVE-2026-90032": {"releases": {"trixie": open(serde_json::json!({}))}},
        },
        "postfix": {
            "CVE-2026-90001": {"releases": {"bullseye": fixed(&postfix.new), "bookworm": fixed("0")}},
            "CVE-2011-90011": {"releases": {"bullseye": fixed("2.8.1-1"), "bookworm": fixed("2.8.1-1")}},
            "CVE-2026-90031": {"releases": {"bullseye": open(serde_json::json!({"nodsa": "Minor", "nodsa_reason": "ignored"})),
                                            "bookworm": fixed("0")}},
        },
        "dovecot": {
            "CVE-2026-90003": {"releases": {"bookworm": fixed(&dovecot.new)}},
            "CVE-2012-90013": {"releases": {"bookworm": fixed("1:2.0.18-1")}},
        },
        // Of no concern to mail, and mapped by mail processes.
        "tini": {"CVE-2026-90044": {"releases": only_trixie}},
        "glibc": {"CVE-2026-90045": {"releases": only_trixie}},
    })
}

/// Runs a command to its end.
pub(crate) fn finished(command: &mut Command) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    Run {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// What of a lab is still on this machine: network namespaces, mounts seen by any process, its daemons,
/// its files.
pub(crate) fn remains(lab: &Lab) -> Vec<String> {
    let root: &Path = lab.root();
    let namespaces = finished(Command::new("ip").args(["netns", "list"])).stdout;
    let tag = namespace_tag(lab);
    let mut remains: Vec<String> = namespaces
        .lines()
        .filter(|line| line.starts_with(&tag))
        .map(str::to_owned)
        .collect();
    let root_text = root.display().to_string();
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == own {
            continue;
        }
        // A process may end while it is looked at.
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let mounts = String::from_utf8_lossy(&read("mountinfo")).into_owned();
        if mounts.contains(&root_text) {
            remains.push(format!("a mount in process {pid}"));
        }
        let comm = String::from_utf8_lossy(&read("comm")).trim().to_owned();
        let line = String::from_utf8_lossy(&read("cmdline")).into_owned();
        if ["dnsmasq", "ip", "setsid", "tini", "unshare"].contains(&&*comm)
            && line.contains(&root_text)
        {
            remains.push(format!("process {pid} ({comm})"));
        }
    }
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !["lock", "turn.lock"].contains(&&*name) {
            remains.push(name);
        }
    }
    remains
}

/// What the names of the lab's network namespaces begin with: told by the command that enters one.
fn namespace_tag(lab: &Lab) -> String {
    let command = lab.controller("true");
    let bridge = command.get_args().nth(2).unwrap().to_string_lossy();
    let tag = bridge.strip_suffix("BRIDGE").unwrap();
    assert!(tag.len() > 4, "{bridge}");
    tag.to_owned()
}
