//! Hosts set up anew, with a signed plan for them, and what each contender does with them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::command::program;
use super::super::desk::PLAN;
use super::super::error::LabError;
use super::super::family::Family;
use super::super::inventory::region_name;
use super::super::load::{Account, LoadSettings};
use super::super::pair::{Pair, Pairing};
use super::super::{Desk, Fault, Lab, Wanted, fleet};
use super::Contender;
use super::processor::{self, Group};

/// From one message of the load to the next, in each region.
const LOAD_EVERY: Duration = Duration::from_millis(250);
/// Mail flows for so long before anything is done.
const BEFORE: Duration = Duration::from_secs(2);

/// One run of one contender.
pub(super) struct Row {
    pub(super) wall: Duration,
    /// Of the contender and all it started; `None` where it could not be measured.
    pub(super) cpu: Option<Duration>,
    pub(super) status: i32,
    pub(super) log: PathBuf,
    /// How many hosts were worked on at once, one batch after the other.
    pub(super) batches: Vec<usize>,
    pub(super) mail: Account,
    /// What it said of the host whose daemon ran old code.
    pub(super) said: String,
    /// Hosts that Mailkeep's check finds something on afterwards, with what.
    pub(super) left: Vec<String>,
}

/// Hosts set up anew, with a plan for them.
pub(super) struct Ring<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    /// The directory of Ansible's programs.
    ansible: &'a Path,
    desk: Desk<'a>,
    families: BTreeMap<String, Family>,
    minimum: BTreeMap<u8, usize>,
    /// Hosts that may be worked on at once, one batch after the other.
    batches: Vec<Vec<String>>,
    /// The host whose daemon runs old code though the patch is installed.
    faulty: String,
}

impl<'a> Ring<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        binary: &'a Path,
        ansible: &'a Path,
        count: u8,
    ) -> Result<Self, LabError> {
        let hosts = lab.up(&Wanted {
            hosts: count,
            families: Family::USUAL.to_vec(),
            regions: 3,
            pairing: Pairing::Synthetic,
        })?;
        lab.take_mail_for(fleet::DOMAIN)?;
        let mut families = BTreeMap::new();
        let mut minimum: BTreeMap<u8, usize> = BTreeMap::new();
        for host in &hosts {
            families.insert(host.name.clone(), host.family.parse()?);
            *minimum.entry(host.region).or_default() += 1;
        }
        // Half of a region's hosts, rounded up, must take mail.
        for of_region in minimum.values_mut() {
            *of_region = of_region.div_ceil(2);
        }
        let pairs = Family::USUAL.map(|family| Ok((family, lab.pair(family)?)));
        let pairs: Vec<(Family, Pair)> = pairs.into_iter().collect::<Result<_, LabError>>()?;
        for (family, _) in &pairs {
            lab.publish(*family)?;
        }
        lab.on_every_host("apt-get -qq update")?;
        let faulty = format!("h{count:02}");
        lab.fault(&faulty, Fault::UpgradeWithoutRestart)?;
        let each: Vec<String> = minimum
            .iter()
            .map(|(region, count)| format!("{} = {count}", region_name(*region)))
            .collect();
        let each = format!("{{ {} }}", each.join(", "));
        let desk = Desk::new(lab, binary, lab.root().join("state"), &each, |text| text)?;
        let batches = batches_of(&desk.plan(&pairs)?);
        desk.approve()?;
        let planned: usize = batches.iter().map(Vec::len).sum();
        if planned != hosts.len() {
            return Err(surprise(format!(
                "{planned} of {} hosts are in the plan",
                hosts.len()
            )));
        }
        Ok(Self {
            lab,
            binary,
            ansible,
            desk,
            families,
            minimum,
            batches,
            faulty,
        })
    }

    /// Lets one contender patch, with mail flowing.
    pub(super) fn round(&self, contender: Contender) -> Result<Row, LabError> {
        let words = match contender {
            Contender::Floor => self.floor()?,
            Contender::Ansible => self.ansible()?,
            Contender::Mailkeep => self.mailkeep(),
        };
        // Asked beforehand: it is what its user sees, and costs no contender anything.
        let before = match contender {
            Contender::Mailkeep => found_on(&self.check()?, &self.faulty),
            Contender::Floor | Contender::Ansible => String::new(),
        };
        crate::say(format_args!("{} ...", contender.name()));
        processor::rest()?;
        let load = self.lab.begin_load(&LoadSettings {
            address: fleet::ADDRESS.to_owned(),
            every: LOAD_EVERY,
            minimum: self.minimum.clone(),
        })?;
        std::thread::sleep(BEFORE);
        let log = self.lab.root().join(format!("{}.log", contender.name()));
        let (wall, cpu, status) = self.timed(&words, &log)?;
        let mail = load.end()?;
        let said = match contender {
            Contender::Floor => self.apts_word(),
            Contender::Ansible => self.recap(&log),
            Contender::Mailkeep => format!("before, {before}; after, {}", self.report()?),
        };
        self.desk.answer(&["scan"])?;
        let answer = self.check()?;
        let mut left = Vec::new();
        for host in self.batches.iter().flatten() {
            let found = found_on(&answer, host);
            if found != "clean" {
                left.push(format!("{host} {found}"));
            }
        }
        Ok(Row {
            wall,
            cpu,
            status,
            log,
            batches: self.batches.iter().map(Vec::len).collect(),
            mail,
            said,
            left,
        })
    }

    /// Nothing but the upgrades, a batch at a time.
    fn floor(&self) -> Result<Vec<String>, LabError> {
        let mut script = String::from("#!/bin/sh\n");
        for batch in &self.batches {
            for host in batch {
                let packages = self.packages(host).join(" ");
                _ = writeln!(
                    script,
                    "ssh {host} 'DEBIAN_FRONTEND=noninteractive apt-get -q -y \
                     --no-install-recommends --only-upgrade install {packages}' \
                     </dev/null >floor-{host}.log 2>&1 &"
                );
            }
            script.push_str("wait\n");
        }
        self.desk.write("floor.sh", &script)?;
        Ok(vec!["sh".to_owned(), "floor.sh".to_owned()])
    }

    /// A playbook of equal care.
    fn ansible(&self) -> Result<Vec<String>, LabError> {
        let mut inventory = String::from("[mail]\n");
        for host in self.batches.iter().flatten() {
            let service = match self.families.get(host) {
                Some(Family::Exim) => "exim4",
                Some(family) => family.name(),
                None => "postfix",
            };
            let packages = Value::from(self.packages(host));
            _ = writeln!(inventory, "{host} service={service} packages='{packages}'");
        }
        self.desk.write("hosts.ini", &inventory)?;
        let serial = Value::from(self.batches.iter().map(Vec::len).collect::<Vec<_>>());
        let playbook = include_str!("../scripts/bench-playbook.yml");
        self.desk.write(
            "play.yml",
            &playbook.replace("@SERIAL@", &serial.to_string()),
        )?;
        // A batch is never larger than the forks: all of it at once, as with the others.
        let settings = format!(
            "[defaults]\nforks = {}\ninterpreter_python = /usr/bin/python3\n\
             [ssh_connection]\npipelining = true\n",
            self.parallel()
        );
        self.desk.write("ansible.cfg", &settings)?;
        let playbook = self.ansible.join("ansible-playbook");
        let words = [&*playbook.to_string_lossy(), "-i", "hosts.ini", "play.yml"];
        Ok(words.map(str::to_owned).to_vec())
    }

    fn mailkeep(&self) -> Vec<String> {
        let binary = self.binary.display().to_string();
        let parallel = self.parallel().to_string();
        let words = [
            &*binary,
            "rollout",
            "start",
            PLAN,
            "--stop-when-paused",
            "--parallel",
            &parallel,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Nobody works on more hosts at once than the largest batch holds.
    fn parallel(&self) -> usize {
        self.batches.iter().map(Vec::len).max().unwrap_or(1)
    }

    fn packages(&self, host: &str) -> &'static [&'static str] {
        self.families
            .get(host)
            .map_or(&[], |family| family.packages())
    }

    /// Runs a command as the controller: wall time, processor time, status.
    fn timed(
        &self,
        words: &[String],
        log: &Path,
    ) -> Result<(Duration, Option<Duration>, i32), LabError> {
        let group = Group::new();
        let members = group.as_ref().map_or("/dev/null".into(), Group::members);
        let controller = self.lab.controller(&words[0]);
        // Counted before it enters the controller's namespace, in which no groups can be seen.
        let script = "set -e; echo $$ >\"$1\"; exec >\"$2\" 2>&1; shift 2; exec \"$@\"";
        let mut command = program("sh", ["-c", script, "timed"]);
        command.arg(members).arg(log);
        command
            .arg(controller.get_program())
            .args(controller.get_args())
            .args(&words[1..])
            .envs(
                controller
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.desk.directory());
        let began = Instant::now();
        let status = command
            .status()
            .map_err(|error| surprise(format!("{} did not start: {error}", words.join(" "))))?;
        let wall = began.elapsed();
        let cpu = group.as_ref().and_then(Group::used);
        Ok((wall, cpu, status.code().unwrap_or(-1)))
    }

    /// What `check` says of all hosts after the last scan.
    fn check(&self) -> Result<Value, LabError> {
        let answer = self.desk.answer(&["check", "--format", "json"])?;
        serde_json::from_str(&answer)
            .map_err(|error| surprise(format!("the answer of check cannot be read: {error}")))
    }

    /// Mailkeep's report on the host that ran old code: its end, and what its proof has seen run.
    fn report(&self) -> Result<String, LabError> {
        let report = self.desk.report()?;
        let ledger = &report["ledger"];
        Ok(format!(
            "{} (its own probes: sent {}, lost {})",
            told_of(&report, &self.faulty),
            ledger["sent"],
            ledger["lost"]
        ))
    }

    /// Ansible's line on the host that ran old code.
    fn recap(&self, log: &Path) -> String {
        let text = fs::read_to_string(log).unwrap_or_default();
        let line = text
            .lines()
            .rfind(|line| line.starts_with(&self.faulty) && line.contains("ok="));
        line.map_or_else(
            || "not in its recap".to_owned(),
            |line| line.split_whitespace().collect::<Vec<_>>().join(" "),
        )
    }

    /// apt's line on the host that ran old code.
    fn apts_word(&self) -> String {
        let log = self
            .desk
            .directory()
            .join(format!("floor-{}.log", self.faulty));
        let text = fs::read_to_string(log).unwrap_or_default();
        let line = text.lines().rfind(|line| line.contains(" upgraded, "));
        line.unwrap_or("nothing").to_owned()
    }
}

fn surprise(what: String) -> LabError {
    LabError::CommandFailed {
        what: "measuring".to_owned(),
        command: "bench rollout".to_owned(),
        outcome: what,
        tail: String::new(),
    }
}

/// The hosts that a plan starts together, in its order.
fn batches_of(plan: &Value) -> Vec<Vec<String>> {
    let mut batches: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for step in plan["steps"].as_array().into_iter().flatten() {
        let word = |name: &str| step[name].as_str().unwrap_or_default();
        batches
            .entry(word("start"))
            .or_default()
            .push(word("host").to_owned());
    }
    batches.into_values().collect()
}

/// Of a host: `clean`, or the statuses of what is found on it.
fn found_on(answer: &Value, host: &str) -> String {
    let list = |name: &str| answer[name].as_array().into_iter().flatten();
    let of_host = list("hosts").find(|told| told["name"] == *host);
    let overall = of_host.and_then(|told| told["status"].as_str());
    let mut statuses: Vec<&str> = list("findings")
        .filter(|finding| finding["host"] == *host)
        .filter_map(|finding| finding["status"].as_str())
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    match (overall, statuses.as_slice()) {
        (Some(overall), []) => overall.to_owned(),
        (Some(_), statuses) => statuses.join(", "),
        (None, _) => "not looked at".to_owned(),
    }
}

fn told_of(report: &Value, host: &str) -> String {
    let mut hosts = report["hosts"].as_array().into_iter().flatten();
    let Some(host) = hosts.find(|told| told["host"] == *host) else {
        return "not planned".to_owned();
    };
    let mut acts = host["acts"].as_array().into_iter().flatten();
    let proof = acts.rfind(|act| act["act"] == "prove");
    let runs = proof.and_then(|proof| {
        let mut seen = proof["seen"].as_array()?.iter().filter_map(Value::as_str);
        seen.find(|fact| fact.starts_with("runs "))
    });
    let state = host["state"].as_str().unwrap_or("of no state");
    runs.map_or_else(|| state.to_owned(), |runs| format!("{state}: {runs}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_tool_says_is_taken_from_its_own_answer() {
        let answer = json!({
            "hosts": [{"name": "h09", "status": "clean"}, {"name": "h10", "status": "affected"}],
            "findings": [
                {"host": "h10", "status": "restart-pending"}, {"host": "h10", "status": "restart-pending"},
            ],
        });
        assert_eq!(found_on(&answer, "h09"), "clean");
        assert_eq!(found_on(&answer, "h10"), "restart-pending");
        assert_eq!(found_on(&answer, "h11"), "not looked at");
        let report = json!({"hosts": [
            {"host": "h09", "state": "held", "acts": []},
            {"host": "h10", "state": "proven", "acts": [
                {"act": "prove", "seen": ["port 25 greets", "runs /usr/sbin/exim4 exim4 2"]}]},
        ]});
        assert_eq!(told_of(&report, "h09"), "held");
        assert_eq!(
            told_of(&report, "h10"),
            "proven: runs /usr/sbin/exim4 exim4 2"
        );
        assert_eq!(told_of(&report, "h11"), "not planned");
    }

    #[test]
    fn hosts_that_a_plan_starts_together_are_a_batch() {
        let plan = json!({"steps": [
            {"host": "b", "start": "2026-01-01T00:10:00Z"},
            {"host": "a", "start": "2026-01-01T00:00:00Z"},
            {"host": "c", "start": "2026-01-01T00:10:00Z"},
        ]});
        assert_eq!(batches_of(&plan), [vec!["a"], vec!["b", "c"]]);
    }
}
