//! `cargo xtask lab ...`: the lab by hand.

use std::process::{Command, ExitCode};
use std::time::Instant;

use super::error::LabError;
use super::family::Family;
use super::fault::Fault;
use super::pair::Pairing;
use super::{Lab, Wanted, tour};

/// What `cargo xtask lab` understands.
pub(crate) const HELP: &str = "\
cargo xtask lab COMMAND: real Debian mail hosts in namespaces of this machine (needs root)

  up [N] [--hosts N] [--families postfix,exim,dovecot] [--regions N] [--synthetic]
                       build what is missing, see h01, h02... running (default 6), write inventory.ini,
                       ssh_config, known_hosts and mailkeep.toml; --synthetic: the patches are
                       made here and \"fix\" a made-up CVE, instead of the archive's own
  add NAME FAMILY      one more host
  list                 every host: name, family, address, state; the old and new versions
  ctl CMD...           run CMD as the controller, where the hosts can be reached and `ssh h01` works
  exec NAME CMD...     run CMD inside a host, by its namespaces
  ssh NAME CMD...      run CMD on a host, by SSH
  publish FAMILY       release the patch: the hosts' apt sees it;  unpublish FAMILY takes it back
                       (--broken: and one above it whose daemon does not start)
  stop|kill|boot NAME  orderly halt, power cut, start on the same disk
  fault NAME FAULT     banner-flood [MIB], hang, refused-key, silent, stale-host-key,
                       upgrade-without-restart
  tour [--binary PATH]
                       all of it in a few minutes, in a lab of its own: an advisory, the plan, its
                       approval, the rollout under mail load, the proof, the report
  down [--purge]       end all hosts, keep the images (--purge: remove them too)

It lies in target/lab, or where MAILKEEP_LAB says. Nothing leads from the hosts to any other network.
";

/// Runs one `lab` command line.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if matches!(words.as_slice(), ["help" | "--help" | "-h"]) {
        crate::say(format_args!("{}", HELP.trim_end()));
        return ExitCode::SUCCESS;
    }
    match command(&words) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            let usage = matches!(error, LabError::BadArgument(_));
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn command(words: &[&str]) -> Result<ExitCode, LabError> {
    // Usage errors first: they need no lab.
    match words {
        ["up", rest @ ..] => up(&parse_up(rest)?)?,
        ["add", name, family] => {
            let family = family.parse()?;
            let lab = Lab::open_default()?;
            let pairing = lab.pairing().unwrap_or_default();
            let host = lab.add(name, family, pairing)?;
            crate::say(format_args!("{} is up at {}", host.name, host.address));
        }
        ["list"] => list(&Lab::open_default()?)?,
        ["ctl", program, args @ ..] => {
            return hand_over(Lab::open_default()?.controller(program).args(args));
        }
        ["exec", name, argv @ ..] if !argv.is_empty() => {
            return hand_over(&mut Lab::open_default()?.inside(name, argv)?);
        }
        ["ssh", name, argv @ ..] => {
            let lab = Lab::open_default()?;
            let host = lab.host(name)?;
            return hand_over(lab.controller("ssh").arg("--").arg(host.name).args(argv));
        }
        ["publish", family] => {
            let family = family.parse()?;
            Lab::open_default()?.publish(family)?;
        }
        ["publish", family, "--broken"] => {
            let family = family.parse()?;
            let version = Lab::open_default()?.publish_broken(family)?;
            crate::say(format_args!(
                "{family} {version} is published, and does not start"
            ));
        }
        ["unpublish", family] => {
            let family = family.parse()?;
            Lab::open_default()?.unpublish(family)?;
        }
        ["stop", name] => Lab::open_default()?.stop(name)?,
        ["kill", name] => Lab::open_default()?.kill(name)?,
        ["boot", name] => Lab::open_default()?.boot(name)?,
        ["fault", name, fault @ ..] => {
            let fault: Vec<String> = fault.iter().map(ToString::to_string).collect();
            let fault = Fault::parse(&fault)?;
            Lab::open_default()?.fault(name, fault)?;
        }
        ["tour", rest @ ..] => return tour::run(&tour::Options::parse(rest)?),
        ["down"] => Lab::open_default()?.down()?,
        ["down", "--purge"] => Lab::open_default()?.purge()?,
        other => {
            let what = format!("lab: cannot make sense of {:?}\n\n{HELP}", other.join(" "));
            return Err(LabError::BadArgument(what));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_up(words: &[&str]) -> Result<Wanted, LabError> {
    let mut wanted = Wanted::default();
    let number = |word: &str| {
        word.parse()
            .ok()
            .filter(|number| (1..=250).contains(number))
            .ok_or_else(|| LabError::BadArgument(format!("{word:?} is no number from 1 to 250")))
    };
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return Ok(wanted),
            ["--synthetic", rest @ ..] => {
                wanted.pairing = Pairing::Synthetic;
                rest
            }
            ["--regions", count, rest @ ..] => {
                wanted.regions = number(count)?;
                rest
            }
            ["--families", families, rest @ ..] => {
                wanted.families = families
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?;
                rest
            }
            ["--hosts", count, rest @ ..] | [count, rest @ ..] => {
                wanted.hosts = number(count)?;
                rest
            }
        };
    }
}

fn up(wanted: &Wanted) -> Result<(), LabError> {
    let started = Instant::now();
    let lab = Lab::open_default()?;
    let hosts = lab.up(wanted)?;
    for host in &hosts {
        crate::say(format_args!(
            "{:12} {:8} {}",
            host.name, host.family, host.address
        ));
    }
    crate::say(format_args!(
        "{} hosts after {:.1} s; inventory in {}",
        hosts.len(),
        started.elapsed().as_secs_f64(),
        lab.root().display()
    ));
    Ok(())
}

fn list(lab: &Lab) -> Result<(), LabError> {
    let hosts = lab.hosts()?;
    for host in &hosts {
        let state = match lab.pid(&host.name)? {
            Some(pid) if lab.is_up(&host.name)? => format!("up, process {pid}"),
            Some(pid) => format!("not ready, process {pid}"),
            None => "down".to_owned(),
        };
        crate::say(format_args!(
            "{:12} {:8} {:15} {state}",
            host.name, host.family, host.address
        ));
    }
    for family in Family::ALL {
        if hosts.iter().any(|host| host.family == family.name()) {
            let pair = lab.pair(family)?;
            let cve = pair
                .made_up_cve
                .map_or_else(String::new, |cve| format!(", fixes {cve}"));
            crate::say(format_args!(
                "{family}: {} {}, patch {}{cve}",
                pair.source, pair.old, pair.new
            ));
        }
    }
    Ok(())
}

/// Runs a command on this terminal; its exit status becomes ours.
fn hand_over(command: &mut Command) -> Result<ExitCode, LabError> {
    let status = command.status().map_err(|error| LabError::CommandFailed {
        what: "handing over".to_owned(),
        command: command.get_program().to_string_lossy().into_owned(),
        outcome: format!("could not be started: {error}"),
        tail: String::new(),
    })?;
    // Without a status of its own it was ended by a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_up_is_read() {
        assert_eq!(parse_up(&[]).unwrap(), Wanted::default());
        let wanted =
            parse_up(&["--families", "exim,postfix", "--hosts", "4", "--synthetic"]).unwrap();
        assert_eq!(wanted.families, [Family::Exim, Family::Postfix]);
        assert_eq!((wanted.hosts, wanted.pairing), (4, Pairing::Synthetic));
        assert_eq!(parse_up(&["12"]).unwrap().hosts, 12);
        for wrong in [&["0"][..], &["--hosts"], &["300"], &["--families", "qmail"]] {
            assert_eq!(
                parse_up(wrong).unwrap_err().kind(),
                "lab-bad-argument",
                "{wrong:?}"
            );
        }
    }
}
