//! Running a script on a host: this one, or another over the user's own `ssh`.
//!
//! Entry types: [`run_over_ssh`], [`run_locally`], [`for_each_bounded`].
//!
//! `ssh` is the program the user works with, with its `ssh_config`, agent, certificates, jump
//! hosts and `known_hosts`; only what must not happen in an unattended scan is switched off. It
//! never asks (`BatchMode`), so an unknown host key is a failure with a name, not a question.

mod classify;
mod parallel;
mod shared;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use mailkeep_model::text::printable_max;
use mailkeep_model::{Access, Host, HostName, ScanFailure, ScanFailureKind, Timestamp};

use crate::process::{self, Bounds, End, Outcome};

pub use classify::classify_ssh;
pub use parallel::for_each_bounded;

/// A host to reach over `ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// Its name in the fleet file; also where to connect, unless `address` says otherwise.
    pub host: HostName,
    /// Name, address, or `Host` alias of `ssh_config` to connect to.
    pub address: Option<String>,
    /// What `ssh_config` does not know.
    pub access: Access,
}

impl SshTarget {
    /// The target a declared host is.
    pub fn of(name: &HostName, host: &Host) -> Self {
        Self {
            host: name.clone(),
            address: host.address.clone(),
            access: host.access.clone(),
        }
    }

    /// What `ssh` is told to connect to.
    pub fn destination(&self) -> &str {
        self.address
            .as_deref()
            .unwrap_or_else(|| self.host.as_str())
    }
}

/// What one host may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// For the connection to stand (OpenSSH's `ConnectTimeout`, whole seconds, rounded up).
    pub connect_timeout: Duration,
    /// For everything, the connection included.
    pub total_timeout: Duration,
    /// Bytes of output.
    pub max_output: usize,
}

impl Default for RunLimits {
    /// 10 s to connect, 2 minutes in all, 32 MiB: a host of 5,000 packages prints about 2 MiB.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_mins(2),
            max_output: 32 << 20,
        }
    }
}

/// How `ssh` is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshOptions {
    /// The program; a bare name is looked up in `PATH`.
    pub program: PathBuf,
    /// Further arguments, before ours, so that they win where `ssh` takes the first value of an
    /// option: `-F FILE`, `-o NAME=VALUE`. `BatchMode` stands before them and stays.
    pub extra: Vec<String>,
    /// Where connections that are shared have their sockets: a directory with a short path, and nobody else's to
    /// use. With it a connection stays for a minute after its last command, and further commands go over it
    /// without another `ssh` being started. `None`: each command has a connection of its own, or what
    /// `ssh_config` says.
    pub shared: Option<PathBuf>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            program: PathBuf::from("ssh"),
            extra: Vec::new(),
            shared: None,
        }
    }
}

/// A host that gave no answer: a [`ScanFailure`] without its time, which the caller knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct HostFailure {
    /// The stable name.
    pub kind: ScanFailureKind,
    /// One printable line: what was tried, what answered, what to do.
    pub detail: String,
}

impl HostFailure {
    pub(crate) fn new(kind: ScanFailureKind, detail: impl AsRef<str>) -> Self {
        Self {
            kind,
            detail: printable_max(detail.as_ref().trim(), MAX_DETAIL),
        }
    }

    /// With the time it happened at.
    pub fn at(self, at: Timestamp) -> ScanFailure {
        ScanFailure {
            kind: self.kind,
            detail: self.detail,
            at,
        }
    }
}

/// Characters of a detail line: some lines of a terminal; the rest is in the user's own `ssh -v`.
const MAX_DETAIL: usize = 600;

/// Runs a shell script on a host in exactly one session of `ssh`, and gives back what it printed.
///
/// The script goes in by standard input to `sh -s -- ARGS`; no shell on this side sees any of it,
/// and the arguments are quoted for the one on the other side. The whole process group of `ssh`
/// (with its `ProxyCommand`) is killed when the time or the output is spent. A script that ends
/// with another status than 0 is a failure, as its output may be cut short; an empty answer is
/// not, it is for the reader of facts to judge.
///
/// `StrictHostKeyChecking` is the user's to set; with OpenSSH's default an unknown key ends as
/// [`ScanFailureKind::UnknownHostKey`].
pub fn run_over_ssh(
    target: &SshTarget,
    script: &str,
    args: &[&str],
    limits: RunLimits,
    options: &SshOptions,
) -> Result<Vec<u8>, HostFailure> {
    let arguments = ssh_arguments(target, args, limits, options)?;
    let what = shown_target(target);
    let begun = Instant::now();
    let by_shared = match &options.shared {
        Some(directory) => shared::run(
            &shared::socket_of(directory, target),
            &remote_command(args)?,
            script.as_bytes(),
            bounds(limits),
        ),
        None => None,
    };
    let outcome = if let Some(outcome) = by_shared {
        outcome
    } else {
        let mut command = Command::new(&options.program);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .env_remove("LANGUAGE");
        let left = RunLimits {
            total_timeout: limits.total_timeout.saturating_sub(begun.elapsed()),
            ..limits
        };
        run(command, &options.program, script, left)?
    };
    match outcome.end {
        End::Exited(status) if status.success() => Ok(outcome.stdout),
        End::Exited(status) => Err(classify::ended_badly(target, &what, status, &outcome)),
        End::TimedOut => Err(HostFailure::new(
            ScanFailureKind::TimedOut,
            format!(
                "{what}: no end within {} s ({} bytes came); see whether the host hangs, or allow more time",
                limits.total_timeout.as_secs_f64(),
                outcome.stdout.len()
            ),
        )),
        End::TooMuchOutput => Err(too_much(&what, limits)),
    }
}

/// The same on this host, with `sh -s -- ARGS`.
pub fn run_locally(script: &str, args: &[&str], limits: RunLimits) -> Result<Vec<u8>, HostFailure> {
    let mut command = Command::new("sh");
    command
        .args(["-s", "--"])
        .args(args)
        .env("LC_ALL", "C")
        .env_remove("LANGUAGE");
    let outcome = run(command, &PathBuf::from("sh"), script, limits)?;
    match outcome.end {
        End::Exited(status) if status.success() => Ok(outcome.stdout),
        End::Exited(status) => Err(HostFailure::new(
            ScanFailureKind::GarbageOutput,
            format!(
                "the script on this host ended with {status}: {}",
                classify::last_line(&outcome.stderr).unwrap_or("it said nothing".into())
            ),
        )),
        End::TimedOut => Err(HostFailure::new(
            ScanFailureKind::TimedOut,
            format!(
                "the script on this host had not ended within {} s",
                limits.total_timeout.as_secs_f64()
            ),
        )),
        End::TooMuchOutput => Err(too_much("the script on this host", limits)),
    }
}

fn run(
    command: Command,
    program: &std::path::Path,
    script: &str,
    limits: RunLimits,
) -> Result<Outcome, HostFailure> {
    process::run(command, script.as_bytes().to_vec(), bounds(limits)).map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::NotFound {
            "; is it installed, and in PATH?"
        } else {
            ""
        };
        HostFailure::new(
            ScanFailureKind::Local,
            format!("cannot start {}: {error}{hint}", program.display()),
        )
    })
}

/// Reads any bytes as what an `ssh` that shares its connection may answer, for the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    shared::fuzz(bytes);
}

fn bounds(limits: RunLimits) -> Bounds {
    Bounds {
        time: limits.total_timeout,
        output: limits.max_output,
    }
}

fn too_much(what: &str, limits: RunLimits) -> HostFailure {
    HostFailure::new(
        ScanFailureKind::GarbageOutput,
        format!(
            "{what}: more than {} bytes of output, session ended; see what its shell prints at login",
            limits.max_output
        ),
    )
}

/// `ssh to mx1 (192.0.2.1) port 2222`.
fn shown_target(target: &SshTarget) -> String {
    let mut shown = format!("ssh to {}", target.host);
    if let Some(address) = &target.address
        && address != target.host.as_str()
    {
        shown.push_str(" (");
        shown.push_str(address);
        shown.push(')');
    }
    if let Some(port) = target.access.port {
        shown.push_str(" port ");
        shown.push_str(&port.to_string());
    }
    shown
}

/// The arguments of `ssh`, checked: nothing a fleet file or an imported inventory says can become
/// an option, or a word of a shell in somebody's `ProxyCommand`.
fn ssh_arguments(
    target: &SshTarget,
    args: &[&str],
    limits: RunLimits,
    options: &SshOptions,
) -> Result<Vec<OsString>, HostFailure> {
    let destination = target.destination();
    check_word("host", destination, "")?;
    let mut out: Vec<OsString> = ["-T", "-o", "BatchMode=yes"].map(OsString::from).into();
    out.extend(options.extra.iter().map(OsString::from));
    if let Some(directory) = &options.shared {
        out.extend(shared::arguments(&shared::socket_of(directory, target)));
    }
    let connect =
        limits.connect_timeout.as_secs() + u64::from(limits.connect_timeout.subsec_nanos() > 0);
    for option in [
        format!("ConnectTimeout={}", connect.max(1)),
        // Banners and "permanently added" are below it, every reason for a failure is not.
        "LogLevel=ERROR".to_owned(),
        // What a user's configuration may do for work by hand, and an unattended scan must not.
        "RemoteCommand=none".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ForwardX11=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
    ] {
        out.push("-o".into());
        out.push(option.into());
    }
    if let Some(port) = target.access.port {
        out.push("-p".into());
        out.push(port.to_string().into());
    }
    if let Some(user) = &target.access.user {
        check_word("user", user, "@\\$+")?;
        out.push("-l".into());
        out.push(user.into());
    }
    if !target.access.jump.is_empty() {
        for jump in &target.access.jump {
            check_word("jump host", jump, "@/")?;
        }
        out.push("-J".into());
        out.push(target.access.jump.join(",").into());
    }
    out.push("--".into());
    out.push(destination.into());
    out.push(remote_command(args)?.into());
    Ok(out)
}

/// Letters, digits, and `.-_:%[]` (names, addresses, IPv6 with its scope), never beginning with a
/// dash; `also` names further characters.
fn check_word(noun: &str, text: &str, also: &str) -> Result<(), HostFailure> {
    let allowed = |c: char| c.is_alphanumeric() || ".-_:%[]".contains(c) || also.contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
        return Err(HostFailure::new(
            ScanFailureKind::Local,
            format!(
                "{text:?} is no {noun} that ssh could be given; correct it in the fleet file (ssh was not started)"
            ),
        ));
    }
    Ok(())
}

/// `sh -s -- 'one' 'it'\''s'`: for the user's login shell on the host, whichever it is. Single
/// quotes mean the same to every shell of note; a backslash (fish), `!` (csh) or a control
/// character inside them does not, and is refused.
fn remote_command(args: &[&str]) -> Result<String, HostFailure> {
    let mut command = String::from("sh -s --");
    for arg in args {
        if arg.chars().any(|c| c.is_control() || c == '\\' || c == '!') {
            return Err(HostFailure::new(
                ScanFailureKind::Local,
                format!("the argument {arg:?} cannot be quoted for every shell"),
            ));
        }
        command.push_str(" '");
        command.push_str(&arg.replace('\'', "'\\''"));
        command.push('\'');
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> SshTarget {
        SshTarget {
            host: HostName::new(host).unwrap(),
            address: None,
            access: Access::default(),
        }
    }

    fn arguments(target: &SshTarget) -> Result<Vec<String>, HostFailure> {
        ssh_arguments(
            target,
            &["a b", "it's"],
            RunLimits::default(),
            &SshOptions::default(),
        )
        .map(|args| args.into_iter().map(|a| a.into_string().unwrap()).collect())
    }

    #[test]
    fn only_what_is_declared_is_given_to_ssh() {
        let args = arguments(&target("mx1")).unwrap();
        for option in ["-p", "-l", "-J"] {
            assert!(!args.iter().any(|a| a == option), "{option}");
        }
        assert_eq!(
            args[args.len() - 3..],
            ["--", "mx1", "sh -s -- 'a b' 'it'\\''s'"]
        );

        let mut declared = target("mx1");
        declared.address = Some("2001:db8::1".into());
        declared.access = Access {
            user: Some("scan".into()),
            port: Some(2222),
            jump: vec!["jump1".into(), "ops@jump2:22".into()],
        };
        let args = arguments(&declared).unwrap().join(" ");
        assert!(
            args.contains("-p 2222 -l scan -J jump1,ops@jump2:22 -- 2001:db8::1 sh"),
            "{args}"
        );
    }

    #[test]
    fn it_never_asks() {
        let args = arguments(&target("mx1")).unwrap();
        assert_eq!(args[..3], ["-T", "-o", "BatchMode=yes"]);
    }

    #[test]
    fn nothing_declared_becomes_an_option_or_a_shell_word() {
        for bad in [
            "-oProxyCommand=x",
            "mx1;id",
            "$(id)",
            "mx1`id`",
            "a,b",
            "x@mx1",
        ] {
            let failure = arguments(&target(bad)).unwrap_err();
            assert_eq!(failure.kind, ScanFailureKind::Local, "{bad}");
        }
        for bad in ["-oProxyCommand=x", "a;b", "a b", ""] {
            let mut with_user = target("mx1");
            with_user.access.user = Some(bad.into());
            assert!(arguments(&with_user).is_err(), "{bad}");
            let mut with_jump = target("mx1");
            with_jump.access.jump = vec![bad.into()];
            assert!(arguments(&with_jump).is_err(), "{bad}");
            let mut with_address = target("mx1");
            with_address.address = Some(bad.into());
            assert!(arguments(&with_address).is_err(), "{bad}");
        }
        assert!(remote_command(&["a\nb"]).is_err());
    }

    #[test]
    fn a_connect_time_out_is_whole_seconds_and_never_none() {
        for (millis, seconds) in [(0, 1), (200, 1), (1000, 1), (1001, 2)] {
            let limits = RunLimits {
                connect_timeout: Duration::from_millis(millis),
                ..RunLimits::default()
            };
            let args = ssh_arguments(&target("mx1"), &[], limits, &SshOptions::default()).unwrap();
            let wanted = OsString::from(format!("ConnectTimeout={seconds}"));
            assert!(args.contains(&wanted), "{millis} ms: {args:?}");
        }
    }

    #[test]
    fn a_local_script_gets_its_arguments_and_its_output_comes_back() {
        let out = run_locally(
            "printf '%s|' \"$@\"",
            &["a b", "it's"],
            RunLimits::default(),
        );
        assert_eq!(out.unwrap(), b"a b|it's|");
    }

    #[test]
    fn a_local_script_that_fails_is_named_with_its_last_words() {
        let failure =
            run_locally("echo no such luck >&2; exit 4", &[], RunLimits::default()).unwrap_err();
        assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
        assert!(failure.detail.contains("no such luck"), "{failure}");
    }
}
