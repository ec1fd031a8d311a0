//! The program `mailkeep-shield`: reads its command line and its configuration, then [`mailkeep_shield::run`].
#![expect(
    clippy::print_stderr,
    reason = "what goes wrong before the log is open is said on standard error"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mailkeep_shield::Config;

const HELP: &str = "\
mailkeep-shield --config FILE [--check]

Stands in front of a mail server: takes mail, refuses what would harm it, and
hands the rest on. docs/shield.md describes FILE.

  --config FILE   its configuration
  --check         read the configuration and its certificates, and end

Exit status: 0 done, 2 wrong usage, bad configuration, or it could not run.
";

fn main() -> ExitCode {
    let mut config: Option<PathBuf> = None;
    let mut check = false;
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--config") => config = args.next().map(PathBuf::from),
            Some("--check") => check = true,
            Some("--help" | "-h") => {
                eprintln!("{HELP}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!(
                    "mailkeep-shield: no such option: {}\n\n{HELP}",
                    arg.display()
                );
                return ExitCode::from(2);
            }
        }
    }
    let Some(path) = config else {
        eprintln!("mailkeep-shield: --config FILE is needed\n\n{HELP}");
        return ExitCode::from(2);
    };
    match go(&path, check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("mailkeep-shield: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                text.push_str(": ");
                text.push_str(&error.to_string());
                source = error.source();
            }
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn go(path: &Path, check: bool) -> Result<(), Box<dyn Error>> {
    let config = Config::read(path)?;
    if check {
        return Ok(());
    }
    mailkeep_shield::run(path, config)?;
    Ok(())
}
