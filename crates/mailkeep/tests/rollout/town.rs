//! A town of hosts that are not real: what answers for them, the plan for them, and how the program is run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use mailkeep::planning::approval::{NAMESPACE, digest_of, text_to_sign};
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, CallOff, Drain, Event, EventKind, HostName, Lane,
    PackageChange, Plan, PlanId, PlanStep, PlannedRegion, PlannedService, Precheck, ProbeSettings,
    Proof, Realm, RegionName, RolloutOutcome, RolloutPolicy, ServiceName, Stage, TeamName, Variant,
    Wave,
};
use mailkeep_store::{Approval, SqliteStore, Store as _};

use crate::at_work::AtWork;
use crate::common::{Bench, Ran};

/// Answers for hosts: keeps their state in files, and breaks nothing without writing it down.
const SSH: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
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

/// Hosts that are not real, their plan, and the state of the program.
pub(crate) struct Town {
    pub(crate) bench: Bench,
    pub(crate) plan: Plan,
    pub(crate) id: PlanId,
    /// Where the stand-in for `ssh` keeps what it has done.
    pub(crate) hosts: PathBuf,
    taken: Arc<Taken>,
}

pub(crate) fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        team: None,
    }
}

pub(crate) fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

impl Town {
    /// Hosts `mx1` to `mxN`; `None` where there is no `ssh-keygen`.
    pub(crate) fn new(hosts: u8, test: &str) -> Option<Self> {
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
    pub(crate) fn approve(&self) {
        self.approve_part(None);
    }

    pub(crate) fn approve_part(&self, region: Option<&RegionName>) {
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
    pub(crate) fn plan_again(&mut self, change: impl FnOnce(&mut Plan)) {
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

    pub(crate) fn note(&self, kinds: Vec<EventKind>) {
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
    pub(crate) fn hold(&self, host: &str) {
        let no_lease = ActOutcome::Failed {
            kind: ActFailure::LeaseLost,
            detail: "no lease".to_owned(),
        };
        let done = || ActOutcome::Done { seen: Vec::new() };
        let looked = [(Act::Precheck, done()), (Act::Lease, done())];
        let acts = looked.into_iter().chain([(Act::Drain, no_lease)]);
        self.begin(host, acts);
    }

    /// Begins the rollout, and leaves a host when it came so far, with these marks on it, as if the
    /// controller was killed then.
    pub(crate) fn begin_and_leave(&self, host: &str, last: Act, marks: &[&str]) {
        let acts = Act::WHOLE_WAY;
        let far = acts.iter().position(|act| *act == last).unwrap();
        let done = |act: &Act| (*act, ActOutcome::Done { seen: Vec::new() });
        self.begin(host, acts.iter().take(far + 1).map(done));
        for mark in marks {
            std::fs::write(self.hosts.join(format!("{mark}-{host}")), b"").unwrap();
        }
    }

    fn begin(&self, host: &str, acts: impl IntoIterator<Item = (Act, ActOutcome)>) {
        let plan = &self.id;
        let mut kinds = vec![EventKind::RolloutStarted {
            plan: plan.clone(),
            by: ada(),
        }];
        for (act, result) in acts {
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
                result,
            });
        }
        self.note(kinds);
    }

    /// Begins and ends the rollout, as far as the journal goes: a look at a host, and no more.
    pub(crate) fn look_and_leave(&self, host: &str) {
        let plan = &self.id;
        self.note(vec![
            EventKind::RolloutStarted {
                plan: plan.clone(),
                by: ada(),
            },
            EventKind::ActStarted {
                plan: plan.clone(),
                host: name(host),
                act: Act::Precheck,
                attempt: 1,
                fence: 1,
            },
            EventKind::ActEnded {
                plan: plan.clone(),
                host: name(host),
                act: Act::Precheck,
                attempt: 1,
                fence: 1,
                result: ActOutcome::Done { seen: Vec::new() },
            },
            EventKind::HostCalledOff {
                plan: plan.clone(),
                host: name(host),
                reason: CallOff::WindowPassed,
                detail: "it was not begun in time".to_owned(),
            },
            EventKind::RolloutEnded {
                plan: plan.clone(),
                outcome: RolloutOutcome::Partly,
            },
        ]);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
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

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    pub(crate) fn start(&self) -> AtWork {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, more: &[&str]) -> AtWork {
        let start = ["rollout", "start", self.short(), "--probe-every", "0.1"];
        AtWork::new(self.command(&[&start, more].concat()))
    }

    /// As a shell or nohup(1) would start it: hangups end it, or are ignored.
    pub(crate) fn start_under(&self, hangups: &str) -> AtWork {
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

    pub(crate) fn is(&self, mark: &str, host: &str) -> bool {
        self.hosts.join(format!("{mark}-{host}")).exists()
    }

    pub(crate) fn rewrite_fleet(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.bench.path("mailkeep.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        self.bench.write("mailkeep.toml", text.replace(from, to));
    }

    pub(crate) fn short(&self) -> &str {
        &self.id.as_str()["sha256:".len()..][..12]
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        self.run(&["rollout", "report", self.short(), "--format", "json"])
            .json()
    }

    /// Where the rollout stands, and its first host.
    pub(crate) fn report_state(&self) -> (String, String) {
        let report = self.report();
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (word(&report["state"]), word(&report["hosts"][0]["state"]))
    }

    pub(crate) fn check_rules(&self) {
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
            mitigates: BTreeMap::new(),
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
