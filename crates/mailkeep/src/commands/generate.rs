//! `mailkeep completions` and `mailkeep man`.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Done;
use crate::cli::Cli;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<Done> {
    // Written in one piece: the generator panics where its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mailkeep", &mut script);
    io::stdout()
        .lock()
        .write_all(&script)
        .context("cannot write the script")?;
    Ok(Done::Nothing)
}

/// Writes the man pages: one for the program, one for each command.
pub fn man(directory: &Path) -> anyhow::Result<Done> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write man pages into {}", directory.display()))?;
    Ok(Done::Nothing)
}
