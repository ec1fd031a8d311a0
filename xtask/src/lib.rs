//! The repository's own programs, run as `cargo xtask COMMAND`.
//!
//! - [`tidy`] checks what no compiler checks: which room may use which, and where things lie.
//! - `lab` (on Linux) runs real Debian mail hosts in namespaces of this machine.
//! - [`mod@bench`] measures the patch filter beside its peers.
//! - [`suite`] is the one command that runs every test (`cargo xtask test`).
//!
//! Entry: [`run`]. Nothing here is part of the product: no room may depend on this crate, but the
//! tests of `mailkeep`.
#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for developers: it owns its terminal, its files and its child processes"
)]

pub mod bench;
pub mod dist;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod suite;
pub mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  tidy            check the rooms' edges, file heads and lengths, and what must not be committed
  bench COMMAND   the figures of docs/BENCHMARKS.md, beside their peers; `bench help` says more
  lab COMMAND     real Debian mail hosts in namespaces of this machine; `lab --help` says more
  dist            the Debian package, with man pages, completions and the systemd unit
  test [--full]   run every check and test, cheapest first, after setting up what they need;
                  --full also installs cargo-deny where it is missing (minutes of compiling)

Exit status: 0 done, 1 refused or failed, 2 wrong usage.
";

/// Runs one command line, without the program's name.
pub fn run(args: Vec<String>) -> ExitCode {
    let mut args = args.into_iter();
    let command = args.next();
    let rest: Vec<String> = args.collect();
    match command.as_deref() {
        Some("tidy") if rest.is_empty() => tidy::run(&workspace_root()),
        Some("bench") => bench::run(&workspace_root(), &rest),
        Some("lab") => lab(&rest),
        Some("dist") if rest.is_empty() => dist::run(&workspace_root()),
        Some("test") => match suite::Options::parse(&rest) {
            Ok(options) => suite::run(&workspace_root(), options),
            Err(problem) => usage(&problem),
        },
        Some("help" | "--help" | "-h") => {
            crate::say(format_args!("{}", HELP.trim_end()));
            ExitCode::SUCCESS
        }
        Some(other) => usage(&format!("no such command: {other} {}", rest.join(" "))),
        None => usage("which command?"),
    }
}

#[cfg(target_os = "linux")]
fn lab(args: &[String]) -> ExitCode {
    lab::cli::run(args)
}

#[cfg(not(target_os = "linux"))]
fn lab(_: &[String]) -> ExitCode {
    eprintln!("lab-not-permitted: needs Linux namespaces");
    ExitCode::FAILURE
}

/// A line on standard output. A reader that has seen enough and closed the pipe is no error.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{line}").ok();
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}\n\n{HELP}");
    ExitCode::from(2)
}

/// The root of the workspace this program was built from.
pub fn workspace_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// The cargo that started this program, else the one on the path.
fn cargo() -> std::process::Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    std::process::Command::new(cargo)
}
