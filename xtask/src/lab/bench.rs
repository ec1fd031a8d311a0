//! `cargo xtask bench rollout`: the same patches on the same hosts by plain `ssh`, by Ansible and by
//! Mailkeep, with mail flowing.
//!
//! Entry: [`run`]. Every contender gets hosts that were set up anew, and the batches of the same plan.
//! One row a figure: `case  ours  peer  ratio`.

mod processor;
mod ring;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::Lab;
use super::command::{output, program};
use super::error::LabError;
use super::inventory::region_name;
use crate::suite::install_debian_packages;
use ring::{Ring, Row};

/// How the benchmark is called.
pub(crate) const HELP: &str = "\
cargo xtask bench rollout [--hosts N,N] [--binary PATH] [--only floor,ansible,mailkeep]

  patches N lab hosts (default 10, then 36) by plain ssh, by ansible-core (from PyPI, in
  target/bench-rollout) and by mailkeep, each on hosts set up anew, under mail load; needs root, as
  every lab does
  --binary PATH   the mailkeep measured (default: built by `cargo xtask bench`)
";

/// The lab's directory, beside the usual one.
const DIRECTORY: &str = "lab-bench";
/// Ansible's modules need it; nobody else does, and everybody has it.
const EXTRAS: &[&str] = &["python3", "python3-apt"];
/// The version measured; what it can manage is told by its release notes.
const ANSIBLE: &str = "ansible-core";

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
    /// Sizes of the fleet, one after the other.
    hosts: Vec<u8>,
    binary: Option<PathBuf>,
    only: Vec<Contender>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, LabError> {
        let mut options = Self {
            hosts: vec![10, 36],
            binary: None,
            only: Contender::ALL.to_vec(),
        };
        let wrong = |what: &str| LabError::BadArgument(format!("{what}\n\n{HELP}"));
        let mut rest = words;
        loop {
            rest = match rest {
                [] => return Ok(options),
                ["--hosts", counts, rest @ ..] => {
                    let count = |word: &str| word.parse().ok().filter(|n| (6..=90).contains(n));
                    let counts: Option<Vec<u8>> = counts.split(',').map(count).collect();
                    options.hosts = counts.ok_or_else(|| wrong("--hosts takes 6 to 90"))?;
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

/// Runs it; `binary` is the program as users get it.
pub(crate) fn run(words: &[String], binary: &Path) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let measured = Options::parse(&words).and_then(|options| measure(&options, binary));
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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

/// Prints the figures; false where a contender failed, so that its figures are of something else.
fn measure(options: &Options, binary: &Path) -> Result<bool, LabError> {
    let binary = options.binary.as_deref().unwrap_or(binary);
    let binary = binary
        .canonicalize()
        .map_err(|error| LabError::io("find", binary, error))?;
    let ansible = if options.only.contains(&Contender::Ansible) {
        ensure_ansible()?
    } else {
        PathBuf::new()
    };
    let (lab, _turn) = Lab::beside(DIRECTORY)?;
    let lab = lab.with_packages(EXTRAS);
    crate::say(format_args!("mailkeep: {}", binary.display()));
    let mut whole = true;
    for &hosts in &options.hosts {
        let mut rows = BTreeMap::new();
        for contender in &options.only {
            lab.down()?;
            let ring = Ring::new(&lab, &binary, &ansible, hosts)?;
            rows.insert(*contender, ring.round(*contender)?);
        }
        whole &= rows.values().all(|row| row.status == 0);
        print(hosts, &rows);
    }
    Ok(whole)
}

/// The directory of `ansible-core`'s programs, installed from `PyPI` where they are not yet.
fn ensure_ansible() -> Result<PathBuf, LabError> {
    let target = crate::suite::target_directory(&crate::workspace_root());
    let venv = target.join("bench-rollout").join("venv");
    let programs = venv.join("bin");
    let playbook = programs.join("ansible-playbook");
    if !playbook.exists() {
        crate::say(format_args!(
            "installing {ANSIBLE} from PyPI into {}",
            venv.display()
        ));
        let make = || {
            let mut make = program("python3", ["-m", "venv"]);
            output("making a Python environment", make.arg(&venv))
        };
        // Debian's Python comes without it.
        match make() {
            Err(_) if install_debian_packages(&["python3-venv"], "Ansible") => make()?,
            tried => tried?,
        };
        let mut install = Command::new(programs.join("pip"));
        install
            .args(["install", "--quiet", ANSIBLE])
            .stdin(Stdio::null());
        output("installing Ansible", &mut install)?;
    }
    let mut version = Command::new(&playbook);
    let version = output("asking for Ansible's version", version.arg("--version"))?;
    crate::say(format_args!(
        "{}",
        version.lines().next().unwrap_or_default()
    ));
    Ok(programs)
}

fn print(hosts: u8, rows: &BTreeMap<Contender, Row>) {
    crate::say(format_args!(
        "\n{hosts} hosts\n{:34} {:>12}  {:<22} {:>7}  goal",
        "case", "ours", "peer", "ratio"
    ));
    let ours = rows.get(&Contender::Mailkeep);
    for (contender, goal) in [(Contender::Ansible, 0.6), (Contender::Floor, 1.3)] {
        let Some(peer) = rows.get(&contender) else {
            continue;
        };
        let row = |case: &str, of: &dyn Fn(&Row) -> Option<Duration>, goal: Option<f64>| {
            let (ours, peer) = (ours.and_then(of), of(peer));
            crate::say(format_args!(
                "{case:34} {:>12}  {:<22} {}",
                seconds(ours),
                format!("{} {}", seconds(peer), contender.name()),
                compared(ours, peer, goal)
            ));
        };
        row("wall time", &|row| Some(row.wall), Some(goal));
        row("processor time of the controller", &|row| row.cpu, None);
        row(
            "short of the minimum, for certain",
            &|row| Some(row.mail.short.values().map(|short| short.at_least).sum()),
            None,
        );
    }
    for (contender, row) in rows {
        crate::say(format_args!("\n{}", contender.name()));
        for line in row.lines() {
            crate::say(format_args!("  {line}"));
        }
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{:.1} s", time.as_secs_f64()),
    )
}

/// The ratio, and whether it is the goal or better.
fn compared(ours: Option<Duration>, peer: Option<Duration>, goal: Option<f64>) -> String {
    let ratio = ours
        .zip(peer)
        .map(|(ours, peer)| ours.as_secs_f64() / peer.as_secs_f64())
        .filter(|ratio| ratio.is_finite());
    let met = match (goal, ratio) {
        (Some(goal), Some(ratio)) if ratio <= goal => format!("  {goal}: met"),
        (Some(goal), Some(_)) => format!("  {goal}: MISSED"),
        _ => String::new(),
    };
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    format!("{ratio:>7}{met}")
}

impl Row {
    /// What is no ratio.
    fn lines(&self) -> Vec<String> {
        let mail = &self.mail;
        let mut lines = Vec::new();
        if self.status != 0 {
            lines.push(format!(
                "FAILED: it ended with status {}; its log is {}",
                self.status,
                self.log.display()
            ));
        }
        let parallel: Vec<String> = self.batches.iter().map(ToString::to_string).collect();
        lines.push(format!("batches of {} hosts", parallel.join(", ")));
        let short: Vec<String> = mail
            .short
            .iter()
            .map(|(region, short)| format!("{} {short}", region_name(*region)))
            .collect();
        lines.push(format!(
            "{} short of its minimum: {}",
            super::fleet::SERVICE,
            short.join(", ")
        ));
        lines.push(format!(
            "mail: sent {}, delivered {}, duplicated {}, lost {}; {} tries refused, {} kept by the sender",
            mail.sent,
            mail.delivered,
            mail.duplicated,
            mail.lost.len(),
            mail.refused,
            mail.kept
        ));
        lines.push(format!(
            "it says of the host that ran old code: {}",
            self.said
        ));
        let left = if self.left.is_empty() {
            "every host is clean".to_owned()
        } else {
            self.left.join("; ")
        };
        lines.push(format!("a look afterwards: {left}"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_benchmark_is_read() {
        let parse = |words: &[&str]| Options::parse(words);
        assert_eq!(parse(&[]).unwrap().hosts, [10, 36]);
        let options = parse(&["--hosts", "36", "--only", "floor,mailkeep"]).unwrap();
        assert_eq!(options.hosts, [36]);
        assert_eq!(options.only, [Contender::Floor, Contender::Mailkeep]);
        for wrong in [&["--hosts", "2"][..], &["--only", "puppet"], &["x"]] {
            assert_eq!(parse(wrong).unwrap_err().kind(), "lab-bad-argument");
        }
    }

    #[test]
    fn a_goal_is_met_up_to_itself_and_nothing_is_compared_with_nothing() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(compared(s(6), s(10), Some(0.6)), "  0.600  0.6: met");
        assert_eq!(compared(s(7), s(10), Some(0.6)), "  0.700  0.6: MISSED");
        assert_eq!(compared(s(7), s(10), None), "  0.700");
        assert_eq!(compared(s(0), s(0), Some(0.6)), "      -");
        assert_eq!(compared(None, s(9), Some(0.6)), "      -");
    }
}
