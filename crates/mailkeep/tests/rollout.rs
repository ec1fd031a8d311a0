//! The real program carries a plan out on hosts that are not real: a stand-in for `ssh` answers for
//! them, and a mail server on loopback takes the probes. The program is killed, over and over.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::server::mail_server;
use common::{Bench, Ran};
use jiff::SignedDuration;
use mailkeep::planning::approval::{NAMESPACE, digest_of, text_to_sign};
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, Drain, Event, EventKind, HostName, Lane, PackageChange,
    Plan, PlanId, PlanStep, PlannedRegion, PlannedService, Precheck, ProbeSettings, Proof, Realm,
    RegionName, RolloutOutcome, RolloutPolicy, ServiceName, Stage, TeamName, Variant, Wave,
};
use mailkeep_store::{Approval, SqliteStore, Store as _};

/// Answers for hosts: keeps their state in files, and breaks nothing without writing it down.
const SSH: &str = r#"#!/bin/sh
case " $* " in *" -G "*)
    for host; do :; done
    echo "hostname 127.0.1.${host#mx}"
    exit ;;
esac
while [ $# -gt 2 ]; do shift; done
host=$1 remote=$2 dir=@DIR@
script=$(cat)
case $script in
*mailkeep-arrived*) printf '%s\n' "$script" | eval "$remote"; exit ;;
esac
get() { printf '%s\n' "$script" | sed -n "s/^mk_$1='\(.*\)'\$/\1/p" | head -n 1; }
act=$(get act) nonce=$(get nonce) fence=$(get fence)
how=done
sleep 0.0$((($$ % 9) + 1))
broken() { echo "$act on $host: $1" >>"$dir/broken"; }
flag() { if [ -e "$dir/$1-$host" ]; then how=already; else : >"$dir/$1-$host"; fi; }
clear() { if [ -e "$dir/$1-$host" ]; then rm -f "$dir/$1-$host"; else how=already; fi; }
is() { [ -e "$dir/$1-$host" ]; }
echo "$host $act $fence" >>"$dir/acts"
case $act in
lease) flag leased ;;
drain) is leased || broken 'not leased'; flag drained ;;
save) is drained || broken 'not drained'; flag saved ;;
patch)
    is drained || broken 'not drained'
    is saved || broken 'not saved'
    flag patched ;;
prove)
    is patched || broken 'not patched'
    if [ -e "$dir/bad-$host" ]; then
        printf '\n=%s begin 1 %s\n=%s end failed runs-old-code master runs deleted code\n' "$nonce" "$act" "$nonce"
        exit
    fi ;;
roll-back) is saved || broken 'nothing saved'; clear patched ;;
return) clear drained ;;
release) is drained && broken 'still drained'; clear leased ;;
isolate) flag isolated ;;
end-isolation) clear isolated ;;
esac
out=0
for file in "$dir"/drained-*; do [ -e "$file" ] && out=$((out + 1)); done
[ "$out" -le 1 ] || broken "$out hosts out of service"
printf 'Welcome to %s\n=%s begin 1 %s\n=%s seen act %s\n=%s end %s\n' "$host" "$nonce" "$act" "$nonce" "$act" "$nonce" "$how"
"#;

/// Messages: the host that took it, its id, and whether the host was drained then.
type Taken = Mutex<Vec<(String, String, bool)>>;

struct Town {
    bench: Bench,
    plan: Plan,
    id: PlanId,
    hosts: PathBuf,
    taken: Arc<Taken>,
}

fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        team: None,
    }
}

fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

impl Town {
    /// Hosts `mx1` to `mxN`; `None` where there is no `ssh-keygen`.
    fn new(hosts: u8, test: &str) -> Option<Self> {
        let bench = Bench::new();
        let dir = bench.path("hosts");
        std::fs::create_dir_all(&dir).unwrap();
        let ssh = bench.write("bin/ssh", SSH.replace("@DIR@", dir.to_str().unwrap()));
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        let taken = Arc::new(Taken::default());
        let port = serve(&dir, &Arc::clone(&taken));
        let sink = dir.join("sink");
        let plan = plan(hosts, port, sink.to_str().unwrap());
        let mut fleet = format!(
            "global_team = \"world\"\n[teams.world]\nemail = [\"w@example.org\"]\n\
             [regions.eu]\ntime_zone = \"Europe/Berlin\"\nowner = \"world\"\npilot = true\n\
             [services.inbound-mx]\nminimum = {}\n\
             probe = {{ port = {port}, from = \"probe@example.org\", to = \"sink@example.org\", \
             found_on = \"mx1\", mailbox = \"{}\", late = \"1m\" }}\n\
             [policy.rollout]\nwave_failures = 1\n\
             [policy.rollout.emergency]\nsoak_test = \"0m\"\nsoak_pilot = \"0m\"\nsoak_wave = \"0m\"\n\
             [approvals]\nallowed_signers = \"allowed\"\n",
            hosts - 1,
            sink.display(),
        );
        for host in 1..=hosts {
            use std::fmt::Write as _;
            write!(
                fleet,
                "[hosts.mx{host}]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"postfix\"\n"
            )
            .unwrap();
        }
        bench.write("mailkeep.toml", fleet);
        let key = bench.path("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "world", "-f"])
            .arg(&key)
            .status();
        if made.is_err() {
            println!("skipped: {test}: no ssh-keygen");
            return None;
        }
        let public = std::fs::read_to_string(bench.path("key.pub")).unwrap();
        bench.write("allowed", format!("world {public}"));

        let bytes = mailkeep_plan::canonical(&plan).unwrap();
        let id = mailkeep_plan::id_of(&bytes).unwrap();
        let mut store = SqliteStore::open(&bench.state(), Realm::Live).unwrap();
        let made = Event {
            at: plan.made_at,
            realm: Realm::Live,
            kind: EventKind::PlanMade {
                plan: id.clone(),
                parent: None,
                lane: plan.lane,
                hosts: plan.steps.len() as u64,
                title: plan.title.clone(),
            },
        };
        store.record_plan(&id, &bytes, &made).unwrap();
        Some(Self {
            bench,
            plan,
            id,
            hosts: dir,
            taken,
        })
    }

    /// The global team's word on the whole.
    fn approve(&self) {
        self.approve_part(None);
    }

    fn approve_part(&self, region: Option<&RegionName>) {
        let digest = digest_of(&self.plan, &self.id, region);
        let text = text_to_sign(Realm::Live, &self.id, region, &digest);
        let key = self.bench.path("key");
        let signature = mailkeep_reach::sign::sign(&key, NAMESPACE, text.as_bytes()).unwrap();
        let approval = Approval {
            plan: self.id.clone(),
            region: region.cloned(),
            team: TeamName::new("world").unwrap(),
            digest,
            signature,
            at: self.plan.made_at,
        };
        let event = Event {
            at: approval.at,
            realm: Realm::Live,
            kind: EventKind::PlanApproved {
                plan: self.id.clone(),
                region: region.cloned(),
                team: approval.team.clone(),
                digest: approval.digest.clone(),
            },
        };
        let mut store = SqliteStore::open(&self.bench.state(), Realm::Live).unwrap();
        store.record_approval(&approval, &event).unwrap();
    }

    /// Keeps one more plan, and is about that one from now on.
    fn plan_again(&mut self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan);
        let bytes = mailkeep_plan::canonical(&self.plan).unwrap();
        self.id = mailkeep_plan::id_of(&bytes).unwrap();
        let made = Event {
            at: self.plan.made_at,
            realm: Realm::Live,
            kind: EventKind::PlanMade {
                plan: self.id.clone(),
                parent: None,
                lane: self.plan.lane,
                hosts: self.plan.steps.len() as u64,
                title: self.plan.title.clone(),
            },
        };
        let mut store = SqliteStore::open(&self.bench.state(), Realm::Live).unwrap();
        store.record_plan(&self.id, &bytes, &made).unwrap();
    }

    fn note(&self, kinds: Vec<EventKind>) {
        let mut store = SqliteStore::open(&self.bench.state(), Realm::Live).unwrap();
        for kind in kinds {
            let event = Event {
                at: mailkeep::now(),
                realm: Realm::Live,
                kind,
            };
            store.append_event(&event).unwrap();
        }
    }

    /// Begins the rollout, and leaves a host held by it, as far as the journal goes.
    fn hold(&self, host: &str) {
        let plan = &self.id;
        let mut kinds = vec![EventKind::RolloutStarted {
            plan: plan.clone(),
            by: ada(),
        }];
        for act in [Act::Precheck, Act::Lease, Act::Drain] {
            kinds.push(EventKind::ActStarted {
                plan: plan.clone(),
                host: name(host),
                act,
                attempt: 1,
                fence: 1,
            });
            kinds.push(EventKind::ActEnded {
                plan: plan.clone(),
                host: name(host),
                act,
                attempt: 1,
                fence: 1,
                result: if act == Act::Drain {
                    ActOutcome::Failed {
                        kind: ActFailure::LeaseLost,
                        detail: "no lease".to_owned(),
                    }
                } else {
                    ActOutcome::Done { seen: Vec::new() }
                },
            });
        }
        self.note(kinds);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        self.bench.prepare(&mut command);
        let path = format!(
            "{}:/usr/bin:/bin:/usr/sbin:/sbin",
            self.bench.path("bin").display()
        );
        command
            .env("PATH", path)
            .env("USER", "ada")
            .arg("--state")
            .arg(self.bench.state())
            .args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    fn start(&self) -> AtWork {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> AtWork {
        let start = ["rollout", "start", self.short(), "--probe-every", "0.1"];
        AtWork::new(self.command(&[&start, more].concat()))
    }

    /// As a shell or nohup(1) would start it: hangups end it, or are ignored.
    fn start_under(&self, hangups: &str) -> AtWork {
        let start = self.command(&["rollout", "start", self.short(), "--probe-every", "0.1"]);
        let mut command = Command::new("env");
        self.bench.prepare(&mut command);
        let envs = start
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?)));
        command
            .envs(envs)
            .arg(hangups)
            .arg(start.get_program())
            .args(start.get_args());
        AtWork::new(command)
    }

    fn is(&self, mark: &str, host: &str) -> bool {
        self.hosts.join(format!("{mark}-{host}")).exists()
    }

    fn rewrite_fleet(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.bench.path("mailkeep.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        self.bench.write("mailkeep.toml", text.replace(from, to));
    }

    fn short(&self) -> &str {
        &self.id.as_str()["sha256:".len()..][..12]
    }

    fn report(&self) -> serde_json::Value {
        self.run(&["rollout", "report", self.short(), "--format", "json"])
            .json()
    }

    fn check_rules(&self) {
        let broken = std::fs::read_to_string(self.hosts.join("broken")).unwrap_or_default();
        assert_eq!(broken, "");
        for (host, id, drained) in self.taken.lock().unwrap().iter() {
            let proof = id.contains("-prove");
            assert!(!drained || proof, "{host} took {id} while it was drained");
        }
    }
}

/// A mail server for all hosts: each has an address of its own, and their mail ends in one mailbox.
fn serve(dir: &Path, taken: &Arc<Taken>) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (dir, taken) = (dir.to_owned(), Arc::clone(taken));
    let lock = Arc::new(Mutex::new(()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (dir, taken, lock) = (dir.clone(), Arc::clone(&taken), Arc::clone(&lock));
            std::thread::spawn(move || {
                // The program was killed; so what.
                drop(converse(&stream.unwrap(), &dir, &taken, &lock));
            });
        }
    });
    port
}

fn converse(
    stream: &TcpStream,
    dir: &Path,
    taken: &Taken,
    lock: &Mutex<()>,
) -> std::io::Result<()> {
    let host = format!(
        "mx{}",
        stream
            .local_addr()?
            .ip()
            .to_string()
            .rsplit('.')
            .next()
            .unwrap()
    );
    let drained = dir.join(format!("drained-{host}")).exists();
    let mut out = stream;
    let mut lines = BufReader::new(stream).lines();
    out.write_all(b"220 town\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        if line != "DATA" {
            let bye = line == "QUIT";
            out.write_all(if bye { b"221 bye\r\n" } else { b"250 ok\r\n" })?;
            if bye {
                return Ok(());
            }
            continue;
        }
        out.write_all(b"354 go\r\n")?;
        let mut text = String::from("From x\n");
        for line in lines.by_ref() {
            let line = line?;
            if line == "." {
                break;
            }
            if let Some(id) = line.strip_prefix("Message-ID: ") {
                taken
                    .lock()
                    .unwrap()
                    .push((host.clone(), id.to_owned(), drained));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text.push('\n');
        {
            let _one_at_a_time = lock.lock().unwrap();
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(dir.join("sink"))?
                .write_all(text.as_bytes())?;
        }
        out.write_all(b"250 taken\r\n")?;
    }
    Ok(())
}

/// One host after the other, in the order of their names, from now on, without any soak.
fn plan(hosts: u8, port: u16, mailbox: &str) -> Plan {
    let now = mailkeep::now();
    let region = RegionName::new("eu").unwrap();
    let service = ServiceName::new("inbound-mx").unwrap();
    let names: BTreeSet<HostName> = (1..=hosts).map(|n| name(&format!("mx{n}"))).collect();
    let mut policy = RolloutPolicy::default();
    policy.emergency.soak_test_minutes = 0;
    policy.emergency.soak_pilot_minutes = 0;
    policy.emergency.soak_wave_minutes = 0;
    policy.wave_failures = 1;
    let start = now - SignedDuration::from_secs(60);
    let end = start + SignedDuration::from_mins(60);
    let step = |host: &HostName| PlanStep {
        host: host.clone(),
        region: region.clone(),
        owner: Some(TeamName::new("world").unwrap()),
        wave: 0,
        variant: 0,
        start,
        end,
        services: BTreeSet::from([service.clone()]),
        drain: Drain::SynRefusal,
        precheck: Precheck {
            facts_as_of: start,
            free_mib: 1,
        },
        proof: Proof {
            ports: BTreeSet::from([25]),
            probes: BTreeSet::from([service.clone()]),
        },
        after: names
            .range(..host.clone())
            .next_back()
            .cloned()
            .into_iter()
            .collect(),
        risk: 1,
        deadline: None,
    };
    Plan {
        format: Plan::FORMAT,
        realm: Realm::Live,
        generation: 1,
        parent: None,
        made_at: start,
        tzdb: "2026b".to_owned(),
        lane: Lane::Emergency,
        overriding: None,
        retries: BTreeSet::new(),
        bulletin: vec!["CVE-2026-1".parse().unwrap()],
        title: "postfix on the town's hosts".to_owned(),
        policy,
        regions: BTreeMap::from([(
            region.clone(),
            PlannedRegion {
                time_zone: "Europe/Berlin".to_owned(),
                owner: Some(TeamName::new("world").unwrap()),
                pilot: true,
                windows: Vec::new(),
            },
        )]),
        services: BTreeMap::from([(
            service.clone(),
            PlannedService {
                hosts: BTreeMap::from([(region.clone(), names.clone())]),
                minimum: BTreeMap::from([(region.clone(), u32::from(hosts) - 1)]),
                minimum_total: None,
                after: BTreeSet::new(),
                probe: Some(ProbeSettings {
                    port,
                    from: "probe@example.org".to_owned(),
                    to: "sink@example.org".to_owned(),
                    found_on: Some(name("mx1")),
                    mailbox: mailbox.to_owned(),
                    late_seconds: 60,
                }),
            },
        )]),
        out_of_service: BTreeSet::new(),
        variants: vec![Variant {
            family: "postfix".to_owned(),
            platform: "Debian:12".to_owned(),
            packages: vec![PackageChange {
                name: "postfix".to_owned(),
                from: "3.7.10-0+deb12u1".to_owned(),
                to: "3.7.11-0+deb12u1".to_owned(),
            }],
            recipe: None,
            whole_cluster: false,
        }],
        waves: vec![Wave {
            region: region.clone(),
            stage: Stage::Test,
            start,
            end,
            window: None,
        }],
        steps: names.iter().map(step).collect(),
    }
}

/// Longest that anything here may take on a machine that does other things, too.
const LONGEST: Duration = Duration::from_mins(4);

/// The program at work, and what it says.
struct AtWork {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl AtWork {
    fn new(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        listen(out, sender.clone());
        listen(err, sender);
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The next line; `None` when it has closed both streams: it has ended.
    fn next_line(&mut self, until: Instant) -> Option<&str> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.said.push(line);
                self.said.last().map(String::as_str)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill().unwrap();
                panic!("too long:\n{}", self.said.join("\n"));
            }
        }
    }

    /// Waits until it says this.
    fn hears(&mut self, what: &str) {
        let until = Instant::now() + LONGEST;
        while let Some(line) = self.next_line(until) {
            if line.contains(what) {
                return;
            }
        }
        panic!("ended without {what:?}:\n{}", self.said.join("\n"));
    }

    /// Sends it a signal.
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends by itself: its status, and all it said.
    fn ends(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + LONGEST;
        while self.next_line(until).is_some() {}
        (self.child.wait().unwrap().code(), self.said.join("\n"))
    }
}

fn listen(stream: impl std::io::Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            // Whoever listened has heard enough.
            if line.map(|line| to.send(line)).is_err() {
                return;
            }
        }
    });
}

#[test]
fn nothing_unapproved_is_carried_out() {
    let Some(town) = Town::new(2, "nothing_unapproved_is_carried_out") else {
        return;
    };
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: not-approved: approval is missing of the whole by world");
    assert!(!town.hosts.join("acts").exists());
    town.approve();
    town.run(&["rollout", "start", town.short(), "--dry-run"])
        .exits(0)
        .prints("mx2  wave 0  drain syn-refusal  postfix 3.7.10-0+deb12u1 to 3.7.11-0+deb12u1");
    assert!(!town.hosts.join("acts").exists());
    for intent in ["pause", "abort"] {
        town.run(&["rollout", intent, town.short(), "--reason", "x"])
            .exits(1)
            .says("is not-started");
    }
}

#[test]
fn nothing_is_done_to_hosts_at_another_time_than_now() {
    let Some(town) = Town::new(1, "nothing_is_done_to_hosts_at_another_time_than_now") else {
        return;
    };
    town.approve();
    let at = ["--at", "2026-11-01T12:00:00Z"];
    let plan = town.short();
    for live in [
        &["rollout", "start", plan][..],
        &["rollout", "pause", plan, "--reason", "x"],
        &["rollout", "resume", plan],
        &["rollout", "abort", plan, "--reason", "x"],
        &["isolate", "mx1", "--reason", "x"],
        &["release", "mx1"],
    ] {
        let ran = town.run(&[&at, live].concat());
        ran.exits(2).says("--at cannot be given here");
    }
    assert!(!town.hosts.join("acts").exists());
}

#[test]
fn a_plan_is_carried_out_and_the_report_tells_all() {
    let Some(town) = Town::new(3, "a_plan_is_carried_out_and_the_report_tells_all") else {
        return;
    };
    town.approve();
    let ran = town
        .run(&["rollout", "start", town.short(), "--probe-every", "0.1"])
        .exits(0);
    let last = ran.out.lines().last().unwrap();
    assert!(
        last.starts_with("ledger: sent ") && last.ends_with(", lost 0"),
        "{last}"
    );
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "proven");
    assert_eq!(
        report["oddities"].as_array().unwrap().len(),
        0,
        "{report:#}"
    );
    assert_eq!(report["approvals"][0]["team"], "world");
    let verified = report["approvals"][0]["verified"].as_str().unwrap();
    assert!(verified.starts_with("signature good"), "{verified}");
    let ledger = &report["ledger"];
    assert_eq!(ledger["sent"], ledger["delivered"]);
    assert!(ledger["sent"].as_u64().unwrap() > 5, "{ledger}");
    for host in report["hosts"].as_array().unwrap() {
        assert_eq!(host["state"], "proven");
        let acts = host["acts"].as_array().unwrap();
        let prove = acts.iter().find(|act| act["act"] == "prove").unwrap();
        let seen = prove["seen"].as_array().unwrap();
        assert!(
            seen.iter().any(|line| line
                .as_str()
                .unwrap()
                .starts_with("probe inbound-mx mailkeep-")),
            "{seen:?}"
        );
    }
    let html = town
        .run(&["rollout", "report", town.short(), "--format", "html"])
        .exits(0);
    assert!(html.out.contains("<h1>Rollout report</h1>"));
    town.run(&["rollout", "report", town.short()])
        .exits(0)
        .prints("mx1 (eu, postfix, world): PROVEN")
        .prints("\nledger: sent ");
    town.run(&["rollout", "status"])
        .exits(0)
        .prints("3/3 proven");
    town.run(&["rollout", "watch", town.short()])
        .exits(0)
        .prints("mx3: prove done");
    // Ended is ended.
    town.run(&["rollout", "start", town.short()])
        .exits(0)
        .says("has ended: proven");
}

#[test]
fn a_failed_proof_is_rolled_back_and_said() {
    let Some(town) = Town::new(2, "a_failed_proof_is_rolled_back_and_said") else {
        return;
    };
    town.approve();
    std::fs::write(town.hosts.join("bad-mx1"), b"").unwrap();
    town.run(&["rollout", "start", town.short(), "--probe-every", "0.1"])
        .exits(1)
        .says("not every host is proven");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["hosts"][0]["state"], "rolled-back", "{report:#}");
    assert_eq!(report["ledger"]["lost"], 0);
}

#[test]
fn killed_at_random_moments_it_goes_on_and_loses_nothing() {
    let Some(town) = Town::new(4, "killed_at_random_moments_it_goes_on_and_loses_nothing") else {
        return;
    };
    town.approve();
    // Each time after another number of lines: between acts, and in the middle of them.
    let mut kills = 0;
    let status = loop {
        let mut controller = town.start();
        let lines = if kills == 25 {
            usize::MAX
        } else {
            1 + kills * 5 % 13
        };
        let until = Instant::now() + LONGEST;
        let ended = (0..lines).any(|_| controller.next_line(until).is_none());
        if ended {
            break controller.child.wait().unwrap().code();
        }
        controller.child.kill().unwrap();
        controller.child.wait().unwrap();
        kills += 1;
        town.check_rules();
    };
    assert_eq!(status, Some(0));
    assert!(kills > 5, "{kills}");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "proven", "{report:#}");
    let ledger = &report["ledger"];
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_eq!(ledger["sent"], ledger["delivered"], "{ledger}");
    println!("killed {kills} times: {ledger}");
}

#[test]
fn an_interrupt_waits_and_says_how_to_go_on() {
    let Some(town) = Town::new(3, "an_interrupt_waits_and_says_how_to_go_on") else {
        return;
    };
    town.approve();
    let mut controller = town.start();
    controller.hears("mx1: precheck");
    // A second one beside it is refused.
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: held");
    controller.signal("-INT");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stopped; hosts stay as they are"), "{said}");
    assert_eq!(town.start().ends().0, Some(0));
    town.check_rules();
}

#[test]
fn a_terminal_that_goes_away_leaves_no_act_half_done_and_the_host_is_named() {
    let test = "a_terminal_that_goes_away_leaves_no_act_half_done_and_the_host_is_named";
    let Some(town) = Town::new(2, test) else {
        return;
    };
    town.approve();
    let mut controller = town.start_under("--default-signal=HUP");
    controller.hears("mx1: patch ...");
    // A shell and the kernel may both tell of it: the second one is no order to leave at once.
    controller.signal("-HUP");
    controller.signal("-HUP");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("mx1: patch done"), "{said}");
    assert!(said.contains("mx1 is left in mid-work"), "{said}");
    town.run(&["rollout", "status"])
        .exits(1)
        .prints("1 out of service, nobody carries it out");
    town.run(&["rollout", "status", town.short()])
        .exits(1)
        .prints("nobody carries it out now; `mailkeep rollout start");
    town.run(&["rollout", "watch", town.short(), "--once"])
        .exits(1)
        .says("nobody carries it out now; `mailkeep rollout start");
    // Nobody tells an order's giver that somebody sees it.
    town.run(&["rollout", "pause", town.short(), "--reason", "x"])
        .exits(0)
        .says("nobody carries plan");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    let mut controller = town.start_under("--ignore-signal=HUP");
    controller.hears("mx1: prove");
    controller.signal("-HUP");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(0), "{said}");
    town.check_rules();
}

#[test]
fn pause_and_abort_reach_a_running_controller() {
    let Some(town) = Town::new(3, "pause_and_abort_reach_a_running_controller") else {
        return;
    };
    town.approve();
    let mut controller = town.start();
    controller.hears("mx1: precheck");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0)
        .says("whoever carries plan");
    controller.hears("hosts in work are finished, and nothing new begins until");
    town.run(&["rollout", "status", town.short()])
        .exits(1)
        .prints("paused: ");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    town.run(&["rollout", "abort", town.short(), "--reason", "enough"])
        .exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "aborted");
    for host in ["mx1", "mx2", "mx3"] {
        assert!(!town.is("drained", host) && !town.is("leased", host));
    }
}

#[test]
fn whoever_is_not_there_to_resume_can_have_a_paused_rollout_end() {
    let test = "whoever_is_not_there_to_resume_can_have_a_paused_rollout_end";
    let Some(town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    let mut controller = town.start_with(&["--stop-when-paused"]);
    controller.hears("mx1: patch");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    let resume = format!("paused: tea; `mailkeep rollout resume {}`", town.short());
    assert!(said.contains(&resume), "{said}");
    // Whoever was in work was finished first, and nobody else begun.
    assert!(town.is("patched", "mx1") && !town.is("drained", "mx1"));
    assert!(!town.is("drained", "mx2") && !town.is("patched", "mx2"));
    // Begun again it ends at once, and without the wish it is said what it waits for.
    assert_eq!(town.start_with(&["--stop-when-paused"]).ends().0, Some(1));
    let mut controller = town.start();
    controller.hears("nothing new begins until `mailkeep rollout resume");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    assert_eq!(controller.ends().0, Some(0));
    town.check_rules();
}

/// Lets a rollout begin, and kills it when this was said; the host is out of service then.
fn killed_in_mid_work(town: &Town, when: &str) {
    let mut controller = town.start();
    controller.hears(when);
    controller.child.kill().unwrap();
    controller.child.wait().unwrap();
    assert!(town.is("drained", "mx1"));
}

#[test]
fn a_rollout_that_nobody_approves_any_more_brings_its_hosts_back_and_begins_nothing() {
    let test = "a_rollout_that_nobody_approves_any_more_brings_its_hosts_back_and_begins_nothing";
    let Some(town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    killed_in_mid_work(&town, "mx1: prove");
    let allowed = std::fs::read_to_string(town.bench.path("allowed")).unwrap();
    town.bench
        .write("allowed", allowed.replace("world ", "nobody "));
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("aborted: not-approved: ") && said.contains("begins: mx1"),
        "{said}"
    );
    let report = town.report();
    assert_eq!(report["state"], "aborted", "{report:#}");
    assert_eq!(report["hosts"][0]["state"], "proven", "{report:#}");
    for host in ["mx1", "mx2", "mx3"] {
        assert!(!town.is("drained", host) && !town.is("leased", host));
    }
    let begun = ["mx2", "mx3"]
        .into_iter()
        .filter(|host| town.is("patched", host));
    assert_eq!(begun.count(), 0, "{said}");
    town.check_rules();
}

#[test]
fn with_nothing_in_hand_a_rollout_that_nobody_approves_any_more_is_refused_until_they_do() {
    let test =
        "with_nothing_in_hand_a_rollout_that_nobody_approves_any_more_is_refused_until_they_do";
    let Some(town) = Town::new(1, test) else {
        return;
    };
    town.note(vec![EventKind::RolloutStarted {
        plan: town.id.clone(),
        by: ada(),
    }]);
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: not-approved");
    assert!(!town.hosts.join("acts").exists());
    town.approve();
    assert_eq!(town.start().ends().0, Some(0));
}

#[test]
fn a_recipe_that_changes_in_mid_rollout_changes_nothing_of_what_was_approved() {
    let test = "a_recipe_that_changes_in_mid_rollout_changes_nothing_of_what_was_approved";
    let Some(mut town) = Town::new(2, test) else {
        return;
    };
    let recipe = "format = 1\n[[proof]]\nname = \"up\"\nrun = \"true\"\n";
    town.bench.write("postfix.toml", recipe);
    let read = |_: &str| Ok(recipe.as_bytes().to_vec());
    let reference = mailkeep_rollout::Recipe::load("postfix.toml", read)
        .unwrap()
        .reference();
    town.plan_again(|plan| plan.variants[0].recipe = Some(reference));
    town.approve();
    town.bench.write("postfix.toml", "format = 1\n");
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: recipe-changed");
    town.bench.write("postfix.toml", recipe);
    killed_in_mid_work(&town, "mx1: patch");
    std::fs::remove_file(town.bench.path("postfix.toml")).unwrap();
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(0), "{said}");
    town.check_rules();
}

#[test]
fn a_plan_is_refused_whose_rules_changed_and_so_is_one_that_its_teams_have_moved_on_from() {
    let test =
        "a_plan_is_refused_whose_rules_changed_and_so_is_one_that_its_teams_have_moved_on_from";
    let Some(mut town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    let dry = |town: &Town| town.run(&["rollout", "start", town.short(), "--dry-run"]);
    dry(&town).exits(0);
    for (from, to, said) in [
        (
            "minimum = 2",
            "minimum = 1",
            "the minimum of inbound-mx in eu is 1",
        ),
        (
            "Europe/Berlin",
            "Europe/Rome",
            "the time zone or the order of region eu",
        ),
        ("wave_failures = 1", "wave_failures = 2", "[policy.rollout]"),
        (
            "[hosts.mx3]",
            "[hosts.mx4]",
            "other servers carry inbound-mx",
        ),
    ] {
        town.rewrite_fleet(from, to);
        dry(&town)
            .exits(1)
            .says("refused: facts-changed: ")
            .says(said);
        town.rewrite_fleet(to, from);
    }
    // Another plan for the same hosts, approved too, is no reason, but said.
    let first = town.id.clone();
    town.plan_again(|plan| plan.title.push_str(", again"));
    let second = town.id.clone();
    town.approve();
    town.id = first.clone();
    dry(&town)
        .exits(0)
        .says("is approved too, was not begun, and has the same hosts: mx1, mx2, mx3");
    // What replaces a plan, however far down its line, is what its teams want.
    town.plan_again(|plan| {
        plan.parent = Some(first.clone());
        plan.generation = 2;
    });
    let child = town.id.clone();
    town.plan_again(|plan| {
        plan.parent = Some(child.clone());
        plan.generation = 3;
    });
    town.approve();
    town.id = first;
    dry(&town).exits(1).says("refused: replaced: plan ");
    town.id = second;
    dry(&town).exits(0);
}

#[test]
fn two_plans_are_not_begun_at_once() {
    let Some(town) = Town::new(1, "two_plans_are_not_begun_at_once") else {
        return;
    };
    town.approve();
    let rollouts = town.bench.state().join("rollouts");
    std::fs::create_dir_all(&rollouts).unwrap();
    let other = std::fs::File::create(rollouts.join("beginning")).unwrap();
    other.lock().unwrap();
    let mut controller = town.start();
    controller.hears("another rollout is being begun; waiting for it");
    assert!(!town.hosts.join("acts").exists());
    drop(other);
    assert_eq!(controller.ends().0, Some(0));
}

#[test]
fn one_rollout_at_a_time_sees_to_a_service_and_knows_whom_others_left_out() {
    let test = "one_rollout_at_a_time_sees_to_a_service_and_knows_whom_others_left_out";
    let Some(mut town) = Town::new(3, test) else {
        return;
    };
    let steps = town.plan.steps.clone();
    town.plan_again(|plan| plan.steps.truncate(2));
    town.hold("mx1");
    let first = town.id.clone();
    town.plan_again(|plan| plan.steps = steps[2..].to_vec());
    town.approve();
    let start = ["rollout", "start", town.short(), "--no-probes"];
    town.run(&start)
        .exits(1)
        .says("refused: services-elsewhere: plan ")
        .says("still takes servers out of inbound-mx in eu");
    assert!(!town.hosts.join("acts").exists());

    // That one ends, and its host stays held: it counts as out for this one, whose host therefore waits.
    town.note(vec![EventKind::RolloutEnded {
        plan: first,
        outcome: RolloutOutcome::Partly,
    }]);
    let mut controller = AtWork::new(town.command(&start));
    controller.hears("mx3: precheck done");
    town.run(&["rollout", "status"])
        .exits(1)
        .prints("0/2 proven, 1 held");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0);
    controller.hears("rollout PAUSED");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    controller.hears("rollout resumed");
    town.run(&["release", "mx1"]).exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(0), "{said}");
    // Not before it was let in by hand.
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("no {what} in {said}"))
    };
    assert!(
        at("mx1 was released by hand") < at("mx3: drain ..."),
        "{said}"
    );
    town.run(&["rollout", "status"]).exits(0);
}

#[test]
fn a_held_host_counts_as_out_until_it_is_released_by_its_name() {
    let test = "a_held_host_counts_as_out_until_it_is_released_by_its_name";
    let Some(town) = Town::new(2, test) else {
        return;
    };
    town.hold("mx1");
    let status = || town.run(&["rollout", "status", town.short()]);
    status().prints("1 out of service now");
    town.run(&["isolate", "mx2", "--reason", "smoke"])
        .exits(1)
        .says("refused: minimum-in-service");
    town.run(&["isolate", "mx1", "--reason", "smoke"]).exits(0);
    // Of the whole service nobody has looked at that host.
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .says("mx1 stays isolated: a rollout left it out of service");
    status().prints("1 out of service now");
    town.run(&["release", "mx1"])
        .exits(0)
        .prints("mx1 counts as in service again");
    status().prints("0 out of service now");
    town.run(&["isolate", "mx2", "--reason", "smoke"]).exits(0);
}

#[test]
fn a_host_is_isolated_and_released_and_minimums_are_kept() {
    let Some(town) = Town::new(2, "a_host_is_isolated_and_released_and_minimums_are_kept") else {
        return;
    };
    town.run(&["isolate", "mx1", "--reason", "exploited"])
        .exits(0)
        .prints("mx1 is isolated: no new mail sessions, queue and management access kept");
    assert!(town.hosts.join("isolated-mx1").exists());
    town.run(&["isolate", "mx2", "--reason", "exploited"])
        .exits(1)
        .says("refused: minimum-in-service: inbound-mx would have 0 in service");
    assert!(!town.hosts.join("isolated-mx2").exists());
    town.run(&[
        "isolate",
        "inbound-mx",
        "--reason",
        "worm",
        "--even-if-mail-stops",
    ])
    .exits(0)
    .prints("mx2 is isolated");
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .prints("mx1 takes mail again")
        .prints("mx2 takes mail again");
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .says("no host of inbound-mx is isolated");
    let store = SqliteStore::open(&town.bench.state(), Realm::Live).unwrap();
    let events: Vec<String> = store
        .isolation_events()
        .unwrap()
        .iter()
        .map(|recorded| match &recorded.event.kind {
            EventKind::HostIsolated {
                host,
                by,
                below_minimum,
                ..
            } => format!("{host} isolated by {} {below_minimum}", by.name),
            EventKind::HostReleased { host, .. } => format!("{host} released"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        events,
        [
            "mx1 isolated by ada false",
            "mx1 isolated by ada true",
            "mx2 isolated by ada true",
            "mx1 released",
            "mx2 released"
        ]
    );
}

#[test]
fn what_was_released_is_recorded_though_nobody_reads_it() {
    let Some(town) = Town::new(2, "what_was_released_is_recorded_though_nobody_reads_it") else {
        return;
    };
    town.run(&["isolate", "mx1", "--reason", "exploited"])
        .exits(0);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = town
        .command(&["release", "mx1"])
        .stdout(full)
        .status()
        .unwrap();
    assert!(!status.success());
    assert!(!town.hosts.join("isolated-mx1").exists());
    let store = SqliteStore::open(&town.bench.state(), Realm::Live).unwrap();
    let last = store.isolation_events().unwrap().pop().unwrap();
    assert!(
        matches!(last.event.kind, EventKind::HostReleased { .. }),
        "{last:?}"
    );
}

#[test]
fn each_team_is_mailed_the_result_once_though_one_refuses_it_and_other_news_cannot_go() {
    let test = "each_team_is_mailed_the_result_once_though_one_refuses_it_and_other_news_cannot_go";
    let Some(mut town) = Town::new(2, test) else {
        return;
    };
    let (port, taken) = mail_server();
    town.rewrite_fleet(
        "[regions.eu]",
        &format!(
            "[teams.europe]\nemail = [\"eu@example.org\"]\n\
             [notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
             from = \"mailkeep@example.org\"\n[regions.eu]"
        ),
    );
    town.rewrite_fleet("owner = \"world\"", "owner = \"europe\"");
    let eu = RegionName::new("eu").unwrap();
    town.plan_again(|plan| {
        let europe = Some(TeamName::new("europe").unwrap());
        plan.regions.get_mut(&eu).unwrap().owner.clone_from(&europe);
        for step in &mut plan.steps {
            step.owner.clone_from(&europe);
        }
    });
    town.approve();
    town.approve_part(Some(&eu));
    town.run(&["plan", "notify", town.short()])
        .exits(0)
        .says("told eu@example.org by mail: Emergency patching of 2 mail servers in eu");
    std::fs::write(town.hosts.join("bad-mx1"), b"").unwrap();
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(1), "{said}");

    let results = |to: &str| -> Vec<String> {
        let all = taken.lock().unwrap();
        let is_result = |mail: &&String| {
            mail.contains(&format!("RCPT TO:<{to}>")) && mail.contains("Subject: Result: ")
        };
        // Without the soft line breaks of quoted-printable.
        let whole = |mail: &String| mail.replace("=\r\n", "");
        all.iter().filter(is_result).map(whole).collect()
    };
    let watch = || town.run(&["watch", "--once", "--offline"]);
    town.rewrite_fleet("eu@example.org", "refused@example.org");
    town.bench.write("state/notices.json", "{");
    watch()
        .exits(2)
        .says("notices.json is damaged")
        .says("europe is not told the result")
        .says("told w@example.org by mail: Result: postfix on the town's hosts (partly done)");
    let told = results("w@example.org");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("Outcome: partly done"), "{}", told[0]);
    assert!(told[0].contains("mx1 is rolled-back"), "{}", told[0]);
    assert!(told[0].contains(", lost 0"), "{}", told[0]);
    assert_eq!(results("eu@example.org").len(), 0);

    town.rewrite_fleet("refused@example.org", "eu@example.org");
    std::fs::remove_file(town.bench.path("state/notices.json")).unwrap();
    watch().says("told eu@example.org by mail: Result: ");
    let count = |ran: Ran| ran.err.matches("Result: ").count();
    assert_eq!(count(watch()), 0);
    assert_eq!(results("w@example.org").len(), 1);
    assert_eq!(results("eu@example.org").len(), 1);
    town.run(&["plan", "notify", town.short()])
        .exits(0)
        .says("The result was told already");
}
