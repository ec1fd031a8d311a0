//! `mailkeep shield`: what stands in front of servers that cannot be patched yet.

pub mod bundle;
mod eve;
mod explain;
mod export;
mod find;
mod pool;
pub(crate) mod quarantine;
mod replay;
mod rules;
mod scan;
mod status;
mod why;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailkeep_inspect::rules::{Bundle, MAX_BYTES, PatchRule, builtin};
use mailkeep_model::Finding;

use super::Done;
use crate::app::App;
use crate::cli::shield::ShieldCommand;

/// Runs it.
pub fn run(app: &App, command: &ShieldCommand) -> anyhow::Result<Done> {
    match command {
        ShieldCommand::Rules(args) => rules::run(args),
        ShieldCommand::ExplainRule(args) => explain::run(args),
        ShieldCommand::ScanMessages(args) => scan::run(args),
        ShieldCommand::Replay(args) => replay::run(args),
        ShieldCommand::ExportRules(args) => export::run(app, args),
        ShieldCommand::Eve(args) => eve::run(app, args),
        ShieldCommand::Bundle(command) => bundle::run(app, command),
        ShieldCommand::ShieldStatus(args) => status::run(app, args),
        ShieldCommand::Quarantine(command) => quarantine::run(app, command),
        ShieldCommand::Why(args) => why::run(args),
    }
}

/// The bundle of this file, or the built-in one.
fn load(file: Option<&Path>) -> anyhow::Result<Bundle> {
    let Some(path) = file else {
        return builtin().context("the built-in bundle cannot be used");
    };
    Bundle::read(&read(path, MAX_BYTES)?)
        .with_context(|| format!("cannot use the bundle {}", path.display()))
}

/// Whether a rule is about a finding: the hole, by any name, in the package it is in.
fn is_for(rule: &PatchRule, finding: &Finding) -> bool {
    let verdict = &finding.verdict;
    rule.packages.iter().any(|own| **own == *verdict.package)
        && verdict.names().any(|name| rule.is_about(name.as_str()))
}

/// A file of at most so many octets, and one more that tells of the rest.
fn read(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut octets))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(octets)
}

/// Where a bundle's signature lies.
fn signature_of(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}
