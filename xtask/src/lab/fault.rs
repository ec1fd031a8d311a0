//! Things that go wrong with hosts, to order.

use std::io::Read as _;
use std::process::{Child, ChildStdin, Stdio};

use super::Lab;
use super::command::logged;
use super::error::LabError;
use super::family::Family;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// After the login, the host prints megabytes of text full of terminal escapes, whatever it is
    /// asked to run. Kept over a boot.
    BannerFlood {
        /// How many, in MiB.
        mebibytes: u16,
    },
    /// Port 22 accepts and never answers. Gone after a boot.
    Hang,
    /// The lab's key is no longer allowed in. Kept over a boot.
    RefusedKey,
    /// After the login, the host prints nothing, whatever it is asked to run. Kept over a boot.
    Silent,
    /// The host shows another key than the one in `known_hosts`. Kept over a boot.
    StaleHostKey,
    /// The patch is installed, and what runs is still the old code. A boot ends it.
    UpgradeWithoutRestart,
}

impl Fault {
    /// Names, with what each does, for the usage text.
    pub(super) const NAMES: &[&str] = &[
        "banner-flood [MIB]",
        "hang",
        "refused-key",
        "silent",
        "stale-host-key",
        "upgrade-without-restart",
    ];

    /// Reads the words after the host's name: `hang`, `banner-flood 8`.
    pub fn parse(words: &[String]) -> Result<Self, LabError> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["banner-flood"] => Ok(Self::BannerFlood { mebibytes: 8 }),
            ["banner-flood", size] => match size.parse() {
                Ok(mebibytes) => Ok(Self::BannerFlood { mebibytes }),
                Err(error) => Err(LabError::BadArgument(format!(
                    "banner-flood takes a number of MiB, not {size:?} ({error})"
                ))),
            },
            ["hang"] => Ok(Self::Hang),
            ["refused-key"] => Ok(Self::RefusedKey),
            ["silent"] => Ok(Self::Silent),
            ["stale-host-key"] => Ok(Self::StaleHostKey),
            ["upgrade-without-restart"] => Ok(Self::UpgradeWithoutRestart),
            other => Err(LabError::BadArgument(format!(
                "no fault {:?}; there are {}",
                other.join(" "),
                Self::NAMES.join(", ")
            ))),
        }
    }

    /// The script that brings it about inside a host, and its arguments.
    pub(super) fn script(self, family: Family) -> (&'static str, Vec<String>) {
        let shell = include_str!("scripts/fault-shell.sh");
        match self {
            Self::BannerFlood { mebibytes } => (
                shell,
                vec!["banner-flood".to_owned(), mebibytes.to_string()],
            ),
            Self::Silent => (shell, vec!["silent".to_owned()]),
            Self::Hang => (include_str!("scripts/fault-hang.sh"), Vec::new()),
            Self::RefusedKey => ("set -eu\n: >/etc/ssh/lab_keys\n", Vec::new()),
            Self::StaleHostKey => (include_str!("scripts/fault-stale-host-key.sh"), Vec::new()),
            Self::UpgradeWithoutRestart => (
                include_str!("scripts/fault-upgrade-without-restart.sh"),
                vec![family.name().to_owned()],
            ),
        }
    }
}

impl Lab {
    /// Lets something go wrong with a host.
    pub fn fault(&self, name: &str, fault: Fault) -> Result<(), LabError> {
        let family = self.host(name)?.family.parse()?;
        let (script, args) = fault.script(family);
        let mut words = vec![
            "sh".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
            "fault".to_owned(),
        ];
        words.extend(args);
        let mut command = self.inside(name, &words)?;
        // Daemons that a fault leaves behind must not hold a pipe of ours open.
        let log = self.root.join("hosts").join(name).join("fault.log");
        command.stdin(Stdio::null());
        logged(
            &format!("making {name} faulty ({fault:?})"),
            &mut command,
            &log,
        )
    }
}

/// Holds the locks that a package manager at work holds, until it is dropped.
#[derive(Debug)]
pub struct DpkgAtWork {
    holder: Child,
    /// The holder ends with it.
    until: Option<ChildStdin>,
}

impl Lab {
    /// Lets a package manager be at work on a host.
    pub fn lock_dpkg(&self, name: &str) -> Result<DpkgAtWork, LabError> {
        // struct flock of 64-bit Linux; dpkg and apt use no other locks.
        let script = r#"use Fcntl; $| = 1; my @kept;
            for (qw(lock-frontend lock)) {
                open(my $f, "+<", "/var/lib/dpkg/$_") or die "$_: $!\n";
                my $lock = pack("ssx4qqix4", F_WRLCK, 0, 0, 0, 0);
                fcntl($f, F_SETLK, $lock) or die "$_: $!\n";
                push @kept, $f;
            }
            print "locked\n"; <STDIN>;"#;
        let failed = |outcome: String| LabError::CommandFailed {
            what: format!("locking dpkg on {name}"),
            command: "perl".to_owned(),
            outcome,
            tail: String::new(),
        };
        let mut perl = self.inside(name, &["perl", "-e", script])?;
        perl.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = perl.spawn().map_err(|error| failed(error.to_string()))?;
        let until = holder.stdin.take();
        let mut said = [0; "locked\n".len()];
        let has_said = holder
            .stdout
            .take()
            .is_some_and(|mut output| output.read_exact(&mut said).is_ok());
        let at_work = DpkgAtWork { holder, until };
        if has_said && said == *b"locked\n" {
            Ok(at_work)
        } else {
            Err(failed("somebody else has the locks".to_owned()))
        }
    }
}

impl Drop for DpkgAtWork {
    fn drop(&mut self) {
        self.until.take();
        self.holder.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_by_name() {
        let parse =
            |words: &str| Fault::parse(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("hang").unwrap(), Fault::Hang);
        assert_eq!(
            parse("banner-flood 2").unwrap(),
            Fault::BannerFlood { mebibytes: 2 }
        );
        for wrong in ["banner-flood lots", "hang 3", "earthquake"] {
            assert_eq!(
                parse(wrong).unwrap_err().kind(),
                "lab-bad-argument",
                "{wrong}"
            );
        }
    }
}
