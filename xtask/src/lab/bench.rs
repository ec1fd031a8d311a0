//! `cargo xtask bench rollout`: the same patches on the same hosts by plain `ssh`, by Ansible and by
//! Mailkeep, with mail flowing.
//!
//! Entry: [`run`]. Every contender gets hosts that were set up anew, and the batches of the same plan.
//! One row a figure: `case  ours  peer  ratio`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::command::{output, program};
use super::error::LabError;
use super::family::Family;
use super::load::{Account, LoadSettings};
use super::pair::{Pair, Pairing};
use super::tour::fleet;
use super::{Fault, Lab, Wanted};

/// How the benchmark is called.
pub(crate) const HELP: &str = "\
cargo xtask bench rollout [--hosts N] [--binary PATH] [--only floor,ansible,mailkeep]

  patches N lab hosts (default 10) by plain ssh, by ansible-core (from PyPI, in target/bench-rollout) and
  by mailkeep, each on hosts set up anew, under mail load; needs root, as every lab does
  --binary PATH   the mailkeep measured (default: built by `cargo xtask bench`)
";

/// Ansible's modules need it; nobody else does, and everybody has it.
const EXTRAS: &[&str] = &["python3", "python3-apt"];
/// The version measured; what it can manage is told by its release notes.
const ANSIBLE: &str = "ansible-core";
/// From one message of the load to the next, in each region.
const LOAD_EVERY: Duration = Duration::from_millis(250);
/// Mail flows for so long before anything is done.
const BEFORE: Duration = Duration::from_secs(2);

/// Who patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Floor,
    Ansible,
    Mailkeep,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Floor, Self::Ansible, Self::Mailkeep];

    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ansible => "ansible",
            Self::Mailkeep => "mailkeep",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    hosts: u8,
    binary: Option<PathBuf>,
    only: Vec<Contender>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, LabError> {
        let mut options = Self {
            hosts: 10,
            binary: None,
            only: Contender::ALL.to_vec(),
        };
        let wrong = |what: &str| LabError::BadArgument(format!("{what}\n\n{HELP}"));
        let mut rest = words;
        loop {
            rest = match rest {
                [] => return Ok(options),
                ["--hosts", count, rest @ ..] => {
                    let count = count.parse().ok().filter(|count| (6..=90).contains(count));
                    options.hosts = count.ok_or_else(|| wrong("--hosts takes 6 to 90"))?;
                    rest
                }
                ["--binary", path, rest @ ..] => {
                    options.binary = Some(PathBuf::from(path));
                    rest
                }
                ["--only", names, rest @ ..] => {
                    let find = |name: &str| Contender::ALL.into_iter().find(|c| c.name() == name);
                    let only: Option<Vec<Contender>> = names.split(',').map(find).collect();
                    options.only =
                        only.ok_or_else(|| wrong("--only names one that is not there"))?;
                    rest
                }
                other => return Err(wrong(&format!("bench rollout: {:?}", other.join(" ")))),
            }
        }
    }
}

/// One run of one contender.
struct Row {
    wall: Duration,
    cpu: Duration,
    mail: Account,
    /// What it said of the host whose daemon ran old code before.
    said: String,
    /// Hosts that Mailkeep's check finds something on afterwards.
    left: Vec<String>,
}

/// Runs it; `binary` is the program as users get it.
pub(crate) fn run(words: &[String], binary: &Path) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let measured = Options::parse(&words).and_then(|options| measure(&options, binary));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let usage = matches!(error, LabError::BadArgument(_));
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// Whether a command line names the program itself.
pub(crate) fn has_binary(words: &[String]) -> bool {
    words.iter().any(|word| word == "--binary")
}

fn measure(options: &Options, binary: &Path) -> Result<(), LabError> {
    let usual = Lab::default_root();
    let lab = Lab::open(usual.with_file_name("lab-bench"))?
        .with_cache(usual.join("cache"))?
        .with_packages(EXTRAS);
    let binary = options.binary.as_deref().unwrap_or(binary);
    let binary = binary
        .canonicalize()
        .map_err(|error| LabError::io("find", binary, error))?;
    let mut rows = BTreeMap::new();
    for contender in &options.only {
        lab.down()?;
        let _down = lab.down_on_drop();
        let ring = Ring::new(&lab, &binary, options.hosts)?;
        rows.insert(*contender, ring.round(*contender)?);
    }
    print(options.hosts, &rows);
    Ok(())
}

/// Hosts set up anew, with a plan for them.
struct Ring<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    desk: PathBuf,
    families: BTreeMap<String, Family>,
    minimum: BTreeMap<u8, usize>,
    /// Hosts that may be worked on at once, one batch after the other.
    batches: Vec<Vec<String>>,
    /// The host whose daemon runs old code though the patch is installed.
    faulty: String,
}

impl<'a> Ring<'a> {
    fn new(lab: &'a Lab, binary: &'a Path, count: u8) -> Result<Self, LabError> {
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
        let mut ring = Self {
            lab,
            binary,
            desk: lab.root().join("state"),
            families,
            minimum,
            batches: Vec::new(),
            faulty,
        };
        ring.plan(&pairs, &hosts)?;
        Ok(ring)
    }

    /// Mailkeep's plan, whose batches everybody keeps to.
    fn plan(&mut self, pairs: &[(Family, Pair)], hosts: &[super::Host]) -> Result<(), LabError> {
        fs::create_dir_all(&self.desk)
            .map_err(|error| LabError::io("create", &self.desk, error))?;
        let mut minimum = String::from("{ ");
        for (region, count) in &self.minimum {
            _ = write!(minimum, "{} = {count}, ", fleet::region_name(*region));
        }
        let minimum = format!("{} }}", minimum.trim_end_matches(", "));
        let mut signers = String::new();
        for team in fleet::TEAMS {
            let mut keygen = program("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f"]);
            output("making a team's key", keygen.arg(self.desk.join(team)))?;
            let public = self.desk.join(format!("{team}.pub"));
            let public = fs::read_to_string(&public)
                .map_err(|error| LabError::io("read", &public, error))?;
            signers.push_str(&fleet::signer(team, &public));
        }
        self.write("allowed_signers", &signers)?;
        self.write("mailkeep.toml", &fleet::file(hosts, &minimum))?;
        self.write("tracker.json", &fleet::tracker(pairs, true))?;
        self.write("kev.json", &fleet::kev(pairs, true)?)?;
        for (kind, file) in [("debian-tracker", "tracker.json"), ("kev", "kev.json")] {
            self.mailkeep(&["feeds", "import", "--source", kind, file])?;
        }
        self.mailkeep(&["scan"])?;
        self.mailkeep(&["plan", "--output", "plan.json"])?;
        let plan = self.json("plan.json")?;
        let mut batches: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for step in plan["steps"].as_array().into_iter().flatten() {
            let word = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
            batches.entry(word("start")).or_default().push(word("host"));
        }
        self.batches = batches.into_values().collect();
        for team in fleet::TEAMS {
            self.mailkeep(&[
                "plan",
                "approve",
                "plan.json",
                "--team",
                team,
                "--key",
                team,
            ])?;
        }
        Ok(())
    }

    /// Lets one contender patch, with mail flowing.
    fn round(&self, contender: Contender) -> Result<Row, LabError> {
        let words = match contender {
            Contender::Floor => self.floor()?,
            Contender::Ansible => self.ansible()?,
            Contender::Mailkeep => ["rollout", "start", "plan.json"].iter().fold(
                vec![self.binary.display().to_string()],
                |mut words, word| {
                    words.push((*word).to_owned());
                    words
                },
            ),
        };
        let sizes: Vec<usize> = self.batches.iter().map(Vec::len).collect();
        crate::say(format_args!("{}: batches of {sizes:?}", contender.name()));
        let load = self.lab.begin_load(&LoadSettings {
            address: fleet::ADDRESS.to_owned(),
            every: LOAD_EVERY,
            minimum: self.minimum.clone(),
        })?;
        std::thread::sleep(BEFORE);
        let log = self.lab.root().join(format!("{}.log", contender.name()));
        let (wall, cpu, status) = self.timed(&words, &log)?;
        let mail = load.end()?;
        if status != 0 {
            crate::say(format_args!(
                "{} ended with status {status}; see {}",
                contender.name(),
                log.display()
            ));
        }
        let said = self.said(contender, &log);
        self.mailkeep(&["scan"])?;
        let answer: Value = serde_json::from_str(&self.mailkeep(&["check", "--format", "json"])?)
            .unwrap_or_default();
        let left = answer["hosts"].as_array().into_iter().flatten();
        let left = left.filter(|host| host["status"] != "clean");
        let left = left.map(|host| host["name"].as_str().unwrap_or_default().to_owned());
        Ok(Row {
            wall,
            cpu,
            mail,
            said,
            left: left.collect(),
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
                     --no-install-recommends --only-upgrade install {packages}' </dev/null &"
                );
            }
            script.push_str("wait\n");
        }
        self.write("floor.sh", &script)?;
        Ok(vec!["sh".to_owned(), "floor.sh".to_owned()])
    }

    /// A playbook of equal care.
    fn ansible(&self) -> Result<Vec<String>, LabError> {
        let programs = ensure_ansible()?;
        let mut inventory = String::from("[mail]\n");
        for host in self.batches.iter().flatten() {
            let service = match self.families.get(host) {
                Some(Family::Exim) => "exim4",
                Some(family) => family.name(),
                None => "postfix",
            };
            let packages = self.packages(host);
            let packages: Vec<String> = packages.iter().map(|p| format!("\"{p}\"")).collect();
            let packages = packages.join(",");
            _ = writeln!(
                inventory,
                "{host} service={service} packages='[{packages}]'"
            );
        }
        self.write("hosts.ini", &inventory)?;
        let serial = Value::from(self.batches.iter().map(Vec::len).collect::<Vec<_>>());
        let playbook = include_str!("scripts/bench-playbook.yml");
        self.write(
            "play.yml",
            &playbook.replace("@SERIAL@", &serial.to_string()),
        )?;
        let settings = "[defaults]\nforks = 50\ninterpreter_python = /usr/bin/python3\n\
                        [ssh_connection]\npipelining = true\n";
        self.write("ansible.cfg", settings)?;
        let playbook = programs.join("ansible-playbook");
        let words = [&*playbook.to_string_lossy(), "-i", "hosts.ini", "play.yml"];
        Ok(words.map(str::to_owned).to_vec())
    }

    fn packages(&self, host: &str) -> &'static [&'static str] {
        self.families
            .get(host)
            .map_or(&[], |family| family.packages())
    }

    /// Runs a command as the controller; wall time, processor time with that of its children, status.
    fn timed(&self, words: &[String], log: &Path) -> Result<(Duration, Duration, i32), LabError> {
        let script = "log=$1; shift; \"$@\" >\"$log\" 2>&1; status=$?; times; exit $status";
        let mut command = self.lab.controller("sh");
        command.args(["-c", script, "timed"]).arg(log).args(words);
        command.env("LC_ALL", "C.UTF-8");
        let began = Instant::now();
        let output = self.spawned(&mut command)?;
        let wall = began.elapsed();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let cpu = text.split_whitespace().map(seconds).sum();
        Ok((wall, cpu, output.status.code().unwrap_or(-1)))
    }

    /// What a contender says of the host that ran old code.
    fn said(&self, contender: Contender, log: &Path) -> String {
        let text = fs::read_to_string(log).unwrap_or_default();
        match contender {
            Contender::Floor => "nothing".to_owned(),
            Contender::Ansible => text
                .lines()
                .rfind(|line| line.starts_with(&self.faulty) && line.contains("ok="))
                .map_or_else(
                    || "not in its recap".to_owned(),
                    |line| line.split_whitespace().collect::<Vec<_>>().join(" "),
                ),
            Contender::Mailkeep => {
                let json = ["rollout", "report", "plan.json", "--format", "json"];
                let report: Value = self
                    .mailkeep(&json)
                    .ok()
                    .and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default();
                let mut hosts = report["hosts"].as_array().into_iter().flatten();
                let host = hosts.find(|host| host["host"] == *self.faulty);
                let state = host.and_then(|host| host["state"].as_str());
                format!("restart-pending, then {}", state.unwrap_or("not planned"))
            }
        }
    }

    fn mailkeep(&self, args: &[&str]) -> Result<String, LabError> {
        let output = self.spawned(self.lab.controller(self.binary).args(args))?;
        // 1 is an answer: something was found.
        if matches!(output.status.code(), Some(0 | 1)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::CommandFailed {
            what: "calling mailkeep".to_owned(),
            command: args.join(" "),
            outcome: format!("failed ({})", output.status),
            tail: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn spawned(&self, command: &mut Command) -> Result<std::process::Output, LabError> {
        command.current_dir(&self.desk).stdin(Stdio::null());
        command.output().map_err(|error| LabError::CommandFailed {
            what: "starting a contender".to_owned(),
            command: command.get_program().display().to_string(),
            outcome: format!("could not be started: {error}"),
            tail: String::new(),
        })
    }

    fn json(&self, name: &str) -> Result<Value, LabError> {
        let path = self.desk.join(name);
        let text = fs::read_to_string(&path).map_err(|error| LabError::io("read", &path, error))?;
        serde_json::from_str(&text).map_err(|error| LabError::Damaged {
            path: path.display().to_string(),
            why: error.to_string(),
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.desk.join(name);
        fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))
    }
}

/// The programs of `ansible-core`, installed from `PyPI` where they are not yet.
fn ensure_ansible() -> Result<PathBuf, LabError> {
    let target = crate::suite::target_directory(&crate::workspace_root());
    let venv = target.join("bench-rollout").join("venv");
    let programs = venv.join("bin");
    if !programs.join("ansible-playbook").exists() {
        crate::say(format_args!(
            "installing {ANSIBLE} from PyPI into {}",
            venv.display()
        ));
        let mut make = program("python3", ["-m", "venv"]);
        output("making a Python environment", make.arg(&venv))?;
        let mut install = Command::new(programs.join("pip"));
        install
            .args(["install", "--quiet", ANSIBLE])
            .stdin(Stdio::null());
        output("installing Ansible", &mut install)?;
    }
    Ok(programs)
}

/// `1m2.34s`, as the shell's `times` prints it.
fn seconds(word: &str) -> Duration {
    let read = || {
        let (minutes, rest) = word.strip_suffix('s')?.split_once('m')?;
        let minutes: u64 = minutes.parse().ok()?;
        let seconds: f64 = rest.parse().ok()?;
        Some(Duration::from_secs(minutes * 60) + Duration::try_from_secs_f64(seconds).ok()?)
    };
    read().unwrap_or_default()
}

fn print(hosts: u8, rows: &BTreeMap<Contender, Row>) {
    crate::say(format_args!(
        "\n{hosts} hosts\n{:32} {:>12}  {:<22} {:>7}  goal",
        "case", "ours", "peer", "ratio"
    ));
    let ours = rows.get(&Contender::Mailkeep);
    let time = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let short = |row: &Row| row.mail.short.values().sum::<Duration>();
    for (contender, goal) in [(Contender::Ansible, 0.6), (Contender::Floor, 1.3)] {
        let Some(peer) = rows.get(&contender) else {
            continue;
        };
        let row = |case: &str, of: &dyn Fn(&Row) -> Duration, goal: Option<f64>| {
            let ours = ours.map(of);
            let ratio = ours.map(|ours| ours.as_secs_f64() / of(peer).as_secs_f64());
            let met = match (goal, ratio) {
                (Some(goal), Some(ratio)) if ratio <= goal => format!("{goal}: met"),
                (Some(goal), Some(_)) => format!("{goal}: MISSED"),
                _ => String::new(),
            };
            let ratio = ratio.filter(|ratio| ratio.is_finite());
            crate::say(format_args!(
                "{case:32} {:>12}  {:<22} {:>7}  {met}",
                ours.map_or_else(|| "-".to_owned(), time),
                format!("{} {}", time(of(peer)), contender.name()),
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
            ));
        };
        row("wall time", &|row| row.wall, Some(goal));
        row("processor time of the controller", &|row| row.cpu, None);
        row("short of the minimum", &short, None);
    }
    crate::say(format_args!(""));
    for (contender, row) in rows {
        let mail = &row.mail;
        crate::say(format_args!(
            "{:9} mail: sent {}, delivered {}, duplicated {}, lost {}; {} tries refused, {} kept by \
             the sender",
            contender.name(),
            mail.sent,
            mail.delivered,
            mail.duplicated,
            mail.lost.len(),
            mail.refused,
            mail.kept
        ));
        let left = if row.left.is_empty() {
            "nobody".to_owned()
        } else {
            row.left.join(", ")
        };
        crate::say(format_args!(
            "{:9} of the host that ran old code: {}; still affected afterwards: {left}",
            "", row.said
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_times_are_read() {
        assert_eq!(seconds("1m2.50s"), Duration::from_millis(62_500));
        assert_eq!(seconds("0m0.00s"), Duration::ZERO);
        assert_eq!(seconds("nonsense"), Duration::ZERO);
    }

    #[test]
    fn the_command_line_of_the_benchmark_is_read() {
        let options = Options::parse(&["--hosts", "36", "--only", "floor,mailkeep"]).unwrap();
        assert_eq!(options.hosts, 36);
        assert_eq!(options.only, [Contender::Floor, Contender::Mailkeep]);
        for wrong in [&["--hosts", "2"][..], &["--only", "puppet"], &["x"]] {
            assert_eq!(
                Options::parse(wrong).unwrap_err().kind(),
                "lab-bad-argument"
            );
        }
    }
}
