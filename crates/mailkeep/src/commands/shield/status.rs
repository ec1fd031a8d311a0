//! `mailkeep shield status`.

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};

use crate::app::App;
use crate::cli::shield::ShieldStatusArgs;
use crate::commands::Done;
use crate::shield::tell;

/// Runs it.
pub(super) fn run(app: &App, args: &ShieldStatusArgs) -> anyhow::Result<Done> {
    let fleet = app
        .fleet(args.fleet.as_deref())?
        .context("no fleet file: its [[shield]] says where each shield tells its state; name one with --fleet")?;
    let shields = &fleet.file.shields;
    for name in &args.shields {
        if !shields.iter().any(|shield| shield.name == *name) {
            bail!("the fleet file has no [[shield]] {name:?}");
        }
    }
    let mut out = Vec::new();
    let mut done = Done::Nothing;
    let wanted: Vec<_> = shields
        .iter()
        .filter(|shield| args.shields.is_empty() || args.shields.contains(&shield.name))
        .collect();
    let told = tell(&wanted, &fleet, app.now);
    for (shield, (lines, problems)) in wanted.iter().zip(told) {
        let word = if problems.is_empty() { "well" } else { "look" };
        writeln!(out, "{}: {word}", shield.name)?;
        for line in lines {
            writeln!(out, "  {line}")?;
        }
        for problem in problems {
            writeln!(out, "  ! {problem}")?;
            done = Done::Findings;
        }
    }
    io::stdout().lock().write_all(&out)?;
    app.say(&format!("{} shields in the fleet file", shields.len()));
    Ok(done)
}
