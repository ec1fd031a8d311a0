//! What `ssh` said when it failed, as a kind and a line for a person.
//!
//! The texts are OpenSSH's (`ssh(1)` 7.6 to 10, `LC_ALL=C`, `LogLevel=ERROR`). An order matters:
//! a refusal by a jump host is followed by "Connection closed", and a changed key by "Host key
//! verification failed", so that the cause is looked for before the consequence.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use mailkeep_model::ScanFailureKind;
use mailkeep_model::text::printable_max;

use super::{HostFailure, SshTarget, shown_target};
use crate::process::Outcome;

/// What `ssh` exits with when it fails itself; any other status is the remote command's.
pub(super) const SSH_FAILED: i32 = 255;

/// Names the failure of an `ssh` that ended with `status` (its exit code; `None` where a signal
/// ended it), from what it wrote to standard error. The first line of its output helps where a
/// login shell refused.
pub fn classify_ssh(
    target: &SshTarget,
    status: Option<i32>,
    stderr: &[u8],
    stdout: &[u8],
) -> HostFailure {
    classify(target, &shown_target(target), status, stderr, stdout)
}

pub(super) fn ended_badly(
    target: &SshTarget,
    what: &str,
    status: ExitStatus,
    outcome: &Outcome,
) -> HostFailure {
    if let Some(signal) = status.signal() {
        return HostFailure::new(
            ScanFailureKind::Local,
            format!("{what}: ssh was ended by signal {signal} on this machine"),
        );
    }
    classify(
        target,
        what,
        status.code(),
        &outcome.stderr,
        &outcome.stdout,
    )
}

/// The last line that is not empty, printable.
pub(super) fn last_line(stderr: &[u8]) -> Option<String> {
    lines_of(stderr).pop()
}

fn classify(
    target: &SshTarget,
    what: &str,
    status: Option<i32>,
    stderr: &[u8],
    stdout: &[u8],
) -> HostFailure {
    let lines = lines_of(stderr);
    if status != Some(SSH_FAILED) {
        return remote_failure(what, status, &lines, stdout);
    }
    let find = |needles: &[&str]| {
        lines
            .iter()
            .find(|line| needles.iter().any(|n| line.contains(n)))
    };
    let fail = |kind, answer: &str, hint: String| {
        HostFailure::new(kind, format!("{what}: {answer}; {hint}"))
    };

    if find(CHANGED_KEY).is_some() {
        return fail(
            ScanFailureKind::ChangedHostKey,
            "its host key is not the one in known_hosts",
            changed_key_hint(target, &lines),
        );
    }
    if find(REVOKED_KEY).is_some() {
        return fail(
            ScanFailureKind::ChangedHostKey,
            "its host key is marked as revoked in known_hosts",
            "it was withdrawn on purpose: ask who did".into(),
        );
    }
    if find(UNKNOWN_KEY).is_some() {
        return fail(
            ScanFailureKind::UnknownHostKey,
            "its host key is not in known_hosts",
            unknown_key_hint(target, &lines),
        );
    }
    if let Some(line) = find(REFUSED_KEY) {
        return fail(
            ScanFailureKind::RefusedKey,
            line,
            "see which user and key ssh_config names, and whether the agent holds the key (ssh-add -l)"
                .into(),
        );
    }
    if let Some(line) = find(OWN_FAULT) {
        return fail(
            ScanFailureKind::Local,
            line,
            "ssh on this machine gave up before it connected".into(),
        );
    }
    if let Some(line) = find(TIMED_OUT) {
        return fail(
            ScanFailureKind::TimedOut,
            line,
            "see whether the host is up and a firewall lets ssh through".into(),
        );
    }
    if let Some(line) = find(NO_SUCH_NAME) {
        return fail(
            ScanFailureKind::Unreachable,
            line,
            "see whether the name is right, in the fleet file or ssh_config".into(),
        );
    }
    if let Some(line) = find(NO_COMMON_ALGORITHM) {
        return fail(
            ScanFailureKind::Unreachable,
            line,
            "its sshd is too old or too new for this ssh".into(),
        );
    }
    if let Some(line) = find(UNREACHABLE) {
        return fail(
            ScanFailureKind::Unreachable,
            line,
            "see whether the host is up and its sshd listens there".into(),
        );
    }
    let answer = lines
        .last()
        .map_or("ssh failed and said nothing", String::as_str);
    fail(
        ScanFailureKind::Unreachable,
        answer,
        format!("try by hand: ssh {}", target.destination()),
    )
}

const CHANGED_KEY: &[&str] = &["REMOTE HOST IDENTIFICATION HAS CHANGED"];
const REVOKED_KEY: &[&str] = &["REVOKED HOST KEY DETECTED", "marked as revoked"];
const UNKNOWN_KEY: &[&str] = &[
    "Host key verification failed",
    "host key is known for",
    "authenticity of host",
];
const REFUSED_KEY: &[&str] = &[
    ": Permission denied (",
    "Permission denied, please try again",
    "Too many authentication failures",
    "No more authentication methods",
    "not allowed at this time",
];
const OWN_FAULT: &[&str] = &[
    "Bad configuration option",
    "Bad owner or permissions",
    "terminating, ",
    "command-line line",
    "Can't open user config file",
    "hostname contains invalid characters",
    "remote username contains invalid characters",
    "Invalid -J argument",
    "unknown option",
    "usage: ssh",
    "Too many open files",
    "Cannot allocate memory",
];
const TIMED_OUT: &[&str] = &[
    "Connection timed out",
    "Operation timed out",
    " timed out",
    "Timeout, server",
];
const NO_SUCH_NAME: &[&str] = &[
    "Could not resolve hostname",
    "Name or service not known",
    "Temporary failure in name resolution",
    "No address associated with hostname",
];
const NO_COMMON_ALGORITHM: &[&str] = &["Unable to negotiate", "no matching"];
const UNREACHABLE: &[&str] = &[
    "Connection refused",
    "No route to host",
    "Network is unreachable",
    "Connection reset",
    "Connection closed",
    "closed by remote host",
    "kex_exchange_identification",
    "banner line contains invalid characters",
    "Broken pipe",
    "administratively prohibited",
];

/// The command on the host failed: no shell, a login that is not allowed one, or the script.
fn remote_failure(
    what: &str,
    status: Option<i32>,
    stderr: &[String],
    stdout: &[u8],
) -> HostFailure {
    let said = stderr
        .last()
        .cloned()
        .or_else(|| lines_of(stdout).into_iter().next())
        .unwrap_or_else(|| "it said nothing".to_owned());
    let detail = match status {
        Some(126 | 127) => {
            format!("{what}: no shell there that could run the script: {said}")
        }
        Some(code) => format!(
            "{what}: the session ended with status {code}: {said}; see whether this user may run commands there"
        ),
        None => format!("{what}: the session ended: {said}"),
    };
    HostFailure::new(ScanFailureKind::GarbageOutput, detail)
}

fn changed_key_hint(target: &SshTarget, lines: &[String]) -> String {
    let name = lines
        .iter()
        .find_map(|line| between(line, "Host key for ", " has changed"))
        .filter(|name| is_plain(name))
        .map_or_else(|| known_hosts_name(target), str::to_owned);
    let place = lines
        .iter()
        .filter(|line| line.starts_with("Offending "))
        .find_map(|line| line.split_once(" in ").map(|(_, place)| place))
        .map(|place| format!(" (at {place})"))
        .unwrap_or_default();
    format!(
        "it was installed anew, or somebody stands between: once you know which, remove the old key{place}: ssh-keygen -R '{name}'"
    )
}

fn unknown_key_hint(target: &SshTarget, lines: &[String]) -> String {
    let name = lines
        .iter()
        .find_map(|line| between(line, "host key is known for ", " and you"))
        .filter(|name| is_plain(name))
        .map_or_else(|| known_hosts_name(target), str::to_owned);
    // `[host]:port`, as known_hosts writes it, to what ssh-keyscan takes.
    let scan = match name
        .strip_prefix('[')
        .and_then(|rest| rest.rsplit_once("]:"))
    {
        Some((host, port)) => format!("-p {port} {host}"),
        None => name,
    };
    format!(
        "compare its fingerprint with one you trust (ssh-keyscan {scan} | ssh-keygen -lf -), then append what ssh-keyscan printed to ~/.ssh/known_hosts"
    )
}

fn known_hosts_name(target: &SshTarget) -> String {
    let host = target.destination();
    match target.access.port {
        Some(port) if port != 22 => format!("[{host}]:{port}"),
        _ => host.to_owned(),
    }
}

/// A hint is copied into a shell: only what could be a name or an address goes into it.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_:[]%,".contains(c))
        && !name.starts_with('-')
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|b| matches!(b, b'\n' | b'\r'))
        .map(|line| printable_max(String::from_utf8_lossy(line).trim(), 300))
        .filter(|line| !line.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailkeep_model::{Access, HostName};
    use proptest::prelude::*;

    fn check(stderr: &str, kind: ScanFailureKind) -> String {
        let target = SshTarget {
            host: HostName::new("mx1").unwrap(),
            address: Some("192.0.2.1".into()),
            access: Access {
                port: Some(2222),
                ..Access::default()
            },
        };
        let failure = classify_ssh(&target, Some(255), stderr.as_bytes(), b"");
        assert_eq!(failure.kind, kind, "{stderr}\n{failure}");
        assert!(
            failure
                .detail
                .starts_with("ssh to mx1 (192.0.2.1) port 2222: ")
        );
        failure.detail
    }

    #[test]
    fn a_changed_host_key_is_told_from_an_unknown_one() {
        let changed = "\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Offending ED25519 key in /home/p/.ssh/known_hosts:3
Host key for [192.0.2.1]:2022 has changed and you have requested strict checking.
Host key verification failed.
";
        let detail = check(changed, ScanFailureKind::ChangedHostKey);
        assert!(detail.contains("/home/p/.ssh/known_hosts:3"), "{detail}");
        assert!(
            detail.contains("ssh-keygen -R '[192.0.2.1]:2022'"),
            "{detail}"
        );

        let detail = check(
            "Host key verification failed.\r\n",
            ScanFailureKind::UnknownHostKey,
        );
        assert!(detail.contains("ssh-keyscan -p 2222 192.0.2.1"), "{detail}");
        let detail = check(
            "No ED25519 host key is known for [::1]:2023 and you have requested strict checking.\nHost key verification failed.\n",
            ScanFailureKind::UnknownHostKey,
        );
        assert!(detail.contains("ssh-keyscan -p 2023 ::1"), "{detail}");
        check(
            "@       WARNING: REVOKED HOST KEY DETECTED!               @\nHost key verification failed.\n",
            ScanFailureKind::ChangedHostKey,
        );
    }

    #[test]
    fn a_name_that_is_shell_never_enters_a_hint() {
        let detail = check(
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key for x'; rm -rf ~ ' has changed and\n",
            ScanFailureKind::ChangedHostKey,
        );
        assert!(!detail.contains("rm -rf"), "{detail}");
    }

    #[test]
    fn every_answer_of_ssh_has_its_kind() {
        use ScanFailureKind::{Local, RefusedKey, TimedOut, Unreachable};
        for (stderr, kind) in [
            ("scan@192.0.2.1: Permission denied (publickey).", RefusedKey),
            (
                "jump: Permission denied (publickey,password).\nConnection closed by UNKNOWN port 65535",
                RefusedKey,
            ),
            (
                "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\nDisconnected from 192.0.2.1 port 22",
                RefusedKey,
            ),
            (
                "ssh: connect to host 192.0.2.1 port 22: Connection timed out",
                TimedOut,
            ),
            (
                "Connection timed out during banner exchange\nConnection to 192.0.2.1 port 22 timed out",
                TimedOut,
            ),
            ("Timeout, server 192.0.2.1 not responding.", TimedOut),
            (
                "ssh: connect to host 192.0.2.1 port 22: Connection refused",
                Unreachable,
            ),
            (
                "ssh: connect to host 192.0.2.1 port 22: No route to host",
                Unreachable,
            ),
            (
                "ssh: connect to host 192.0.2.1 port 22: Network is unreachable",
                Unreachable,
            ),
            (
                "ssh: Could not resolve hostname mx1: Name or service not known",
                Unreachable,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.0.2.1 port 22",
                Unreachable,
            ),
            (
                "kex_exchange_identification: banner line contains invalid characters",
                Unreachable,
            ),
            (
                "Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-rsa",
                Unreachable,
            ),
            ("Connection reset by 192.0.2.1 port 22", Unreachable),
            (
                "Connection to 192.0.2.1 closed by remote host.",
                Unreachable,
            ),
            (
                "/home/p/.ssh/config: line 3: Bad configuration option: foo\n/home/p/.ssh/config: terminating, 1 bad configuration options",
                Local,
            ),
            ("Bad owner or permissions on /home/p/.ssh/config", Local),
            ("something never heard of", Unreachable),
            ("", Unreachable),
        ] {
            check(stderr, kind);
        }
    }

    #[test]
    fn a_login_without_a_shell_is_garbage_not_absence() {
        let target = SshTarget {
            host: HostName::new("mx1").unwrap(),
            address: None,
            access: Access::default(),
        };
        let failure = classify_ssh(
            &target,
            Some(1),
            b"",
            b"This account is currently not available.\n",
        );
        assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
        assert!(failure.detail.contains("not available"), "{failure}");
        let failure = classify_ssh(&target, Some(127), b"bash: sh: command not found", b"");
        assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
        assert!(failure.detail.contains("no shell"), "{failure}");
    }

    #[test]
    fn a_refusal_by_a_file_on_the_host_is_no_refused_key() {
        let target = SshTarget {
            host: HostName::new("mx1").unwrap(),
            address: None,
            access: Access::default(),
        };
        let failure = classify_ssh(
            &target,
            Some(1),
            b"cat: /etc/shadow: Permission denied (os error)",
            b"",
        );
        assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
    }

    proptest! {
        #[test]
        fn any_complaint_becomes_one_bounded_printable_line(
            stderr: Vec<u8>, stdout: Vec<u8>, status in proptest::option::of(0..256_i32)
        ) {
            let target = SshTarget {
                host: HostName::new("mx1").unwrap(),
                address: None,
                access: Access::default(),
            };
            let failure = classify_ssh(&target, status, &stderr, &stdout);
            prop_assert!(!failure.detail.chars().any(mailkeep_model::text::is_unsafe));
            prop_assert!(failure.detail.chars().count() <= 600);
        }
    }
}
