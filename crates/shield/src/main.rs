//! The program `mailkeep-shield`: reads its command line and its configuration, then [`mailkeep_shield::run`].
#![expect(
    clippy::print_stderr,
    reason = "what goes wrong before the log is open is said on standard error"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use mailkeep_shield::{Config, Line, Origin};

const HELP: &str = "\
mailkeep-shield --config FILE [--check]
mailkeep-shield --listen ADDRESS... --guard ADDRESS [--client-by HOW]

Stands in front of a mail server: takes mail, refuses what would harm it, and
hands the rest on. docs/shield.md describes FILE, and what holds without one.

  --config FILE      its configuration
  --check            read the configuration, its certificates and YARA rules, and end
  --listen ADDRESS   where it takes mail from strangers, as 0.0.0.0:25; may be
                     given several times
  --guard ADDRESS    the server behind, as 127.0.0.1:10025
  --client-by HOW    how that server learns who the client is:
                     xclient   by XCLIENT, which it must offer (the default)
                     proxy     by a PROXY header, version 2
                     header    by a Received header only: it takes the shield
                               for the client of every message, and must not
                               relay for it

Exit status: 0 done, 2 wrong usage, bad configuration, or it could not run.
";

fn main() -> ExitCode {
    let (origin, check) = match read() {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            eprintln!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("mailkeep-shield: {wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match go(&origin, check) {
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

/// What the command line says; `None` where help is asked for.
fn read() -> Result<Option<(Origin, bool)>, String> {
    let (mut file, mut check) = (None, false);
    let (mut listen, mut guard, mut client_by) = (Vec::new(), None, None);
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let option = arg.to_string_lossy().into_owned();
        let mut value = || args.next().ok_or(format!("{option} needs a value"));
        let address = |value: std::ffi::OsString| {
            let address = value
                .to_str()
                .and_then(|text| text.parse::<SocketAddr>().ok());
            address.ok_or(format!(
                "{option} {}: an address and a port, as 127.0.0.1:10025 or [::1]:25",
                value.display()
            ))
        };
        match option.as_str() {
            "--config" => file = Some(PathBuf::from(value()?)),
            "--check" => check = true,
            "--listen" => listen.push(address(value()?)?),
            "--guard" => guard = Some(address(value()?)?),
            "--client-by" => client_by = Some(value()?.to_string_lossy().into_owned()),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("no such option: {option}")),
        }
    }
    let origin = match (file, guard) {
        (Some(file), None) if listen.is_empty() && client_by.is_none() => Origin::File(file),
        (None, Some(guard)) if !listen.is_empty() => Origin::Line(Line {
            listen,
            guard,
            client_by: client_by.unwrap_or_else(|| "xclient".to_owned()),
        }),
        _ => return Err("either --config FILE, or --listen and --guard, are needed".to_owned()),
    };
    Ok(Some((origin, check)))
}

fn go(origin: &Origin, check: bool) -> Result<(), Box<dyn Error>> {
    let config = Config::of(origin)?;
    if check {
        config.check_rules()?;
        return Ok(());
    }
    mailkeep_shield::run(origin, config)?;
    Ok(())
}
