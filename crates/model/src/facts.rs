//! What was seen on a host, and when.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Ecosystem, HostName, Platform};

/// Everything seen on one host at one time. Facts are never edited: a new scan makes new ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Which host.
    pub host: HostName,
    /// When it was seen.
    pub seen_at: Timestamp,
    /// By which road.
    pub source: FactsSource,
    /// The operating system, as its os-release says.
    pub os: OsRelease,
    /// The distribution and release its own packages belong to; `None` where os-release names none
    /// that we know.
    pub platform: Option<Platform>,
    /// Installed packages, sorted by name, then architecture. A package that is removed but still
    /// configured is not installed.
    pub packages: Vec<InstalledPackage>,
    /// Processes that serve mail.
    pub processes: Seen<Vec<MailProcess>>,
    /// Addresses listened on.
    pub listeners: Seen<Vec<Listener>>,
    /// What the host's own package manager would install.
    pub candidates: Seen<Vec<Candidate>>,
    /// What could not be seen, and why.
    pub limitations: Vec<Limitation>,
}

/// Whether something was looked at: an empty list is not the same as a list never read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen<T> {
    /// Looked at; this is all there was.
    Yes(T),
    /// Looked at, and only part of it could be seen (without root, say).
    Partly(T),
    /// Not looked at, or not visible.
    No,
}

impl<T> Seen<T> {
    /// What was seen, wholly or in part.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Yes(value) | Self::Partly(value) => Some(value),
            Self::No => None,
        }
    }
}

impl<T> Seen<Vec<T>> {
    /// The items seen; none where nothing was looked at.
    pub fn items(&self) -> &[T] {
        self.value().map_or(&[], Vec::as_slice)
    }
}

/// The road by which facts came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactsSource {
    /// A `CycloneDX` SBOM.
    CycloneDx,
    /// The local host, live.
    Local,
    /// A mounted root directory: packages only.
    Root,
    /// The output of `rpm -qa`.
    RpmQa,
    /// An SPDX 2.3 SBOM.
    Spdx,
    /// A live host over SSH.
    Ssh,
}

/// The fields of os-release(5) that matter here, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsRelease {
    /// `ID`, lower case: `debian`, `ubuntu`, `rhel`, `almalinux`, `sles`.
    pub id: String,
    /// `ID_LIKE`, split at white space.
    pub id_like: Vec<String>,
    /// `VERSION_ID`: `12`, `24.04`, `9.4`. Debian testing and sid have none.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME`.
    pub codename: Option<String>,
    /// `PRETTY_NAME`.
    pub pretty_name: Option<String>,
}

/// One installed binary package, or one component of an SBOM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledPackage {
    /// Binary package name.
    pub name: Box<str>,
    /// Version as the package manager writes it: `[epoch:]upstream[-revision]`, for RPM
    /// `[epoch:]version-release`.
    pub version: Box<str>,
    /// Architecture; empty where unknown.
    pub arch: Box<str>,
    /// Source package name; equal to the binary name where the package names no other.
    pub source: Box<str>,
    /// Version of the source package. A binary can have another (`Source: foo (1.2-3)`, a binNMU's
    /// `+b1`).
    pub source_version: Box<str>,
    /// Where it differs from the host's own distribution (an SBOM's `pkg:cargo/...`, say).
    pub ecosystem: Option<Ecosystem>,
    /// RPM modularity label (`name:stream:...`), where there is one.
    pub module: Option<Box<str>>,
    /// Who built it (RPM's `Vendor`), where the package manager says so.
    #[serde(default)]
    pub vendor: Option<Box<str>>,
    /// Names of packages this one needs to run: `Depends` and `Pre-Depends`, each alternative, no
    /// versions; for RPM those that provide what it requires, where a scan asked.
    pub depends: Vec<Box<str>>,
    /// Names this package provides besides its own (virtual packages).
    pub provides: Vec<Box<str>>,
}

/// What a process does for mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailRole {
    /// Filters content for another server: anti-virus, anti-spam.
    Filter,
    /// IMAP, RFC 9051.
    Imap,
    /// LMTP, RFC 2033.
    Lmtp,
    /// The milter protocol.
    Milter,
    /// POP3, RFC 1939.
    Pop,
    /// `ManageSieve`, RFC 5804.
    Sieve,
    /// SMTP relay, RFC 5321; also a master process that starts those who speak it.
    Smtp,
    /// Message submission, RFC 6409.
    Submission,
}

/// A process that serves mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailProcess {
    /// Process id.
    pub pid: u32,
    /// `comm`, printable.
    pub name: String,
    /// What it serves.
    pub roles: Vec<MailRole>,
    /// Path of the executable, without the kernel's ` (deleted)`; empty where it could not be read.
    pub executable: String,
    /// Binary package that owns the executable.
    pub package: Option<Box<str>>,
    /// Installed version of that package, not necessarily the one that runs.
    pub package_version: Option<Box<str>>,
    /// Files it runs that are no longer on disk: its executable, libraries mapped for execution.
    /// Not seen where `/proc/PID/maps` could not be read.
    pub stale: Seen<Vec<StaleFile>>,
    /// Every package whose files it maps for execution, its own included; sorted.
    pub maps: Seen<Vec<Box<str>>>,
    /// When it started.
    pub started_at: Option<Timestamp>,
}

/// A file that a process runs though it was replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StaleFile {
    /// Path, without ` (deleted)`.
    pub path: String,
    /// Binary package that owns that path now.
    pub package: Option<Box<str>>,
    /// The version of that package which was installed when the process started, where the
    /// package manager's own log tells it.
    pub ran_version: Option<Box<str>>,
}

/// An address that something listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Address; unspecified (`0.0.0.0`, `::`) is every address.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Process id of the listener, where it could be seen.
    pub pid: Option<u32>,
    /// First line it sends, printable, at most 200 characters.
    pub banner: Option<String>,
}

impl Listener {
    /// Whether only the host itself can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback()
    }
}

/// What the host's own package manager would install for a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Binary package.
    pub package: Box<str>,
    /// Version offered; equal to the installed one where nothing newer is.
    pub version: Box<str>,
    /// Where it comes from, as the package manager says: `Debian-Security:12/stable-security`.
    pub origin: Option<Box<str>>,
    /// When the host last fetched that repository's index.
    pub index_as_of: Option<Timestamp>,
}

/// Something that could not be seen, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limitation {
    /// What: `process maps`, `listening process`, `candidates`.
    pub what: String,
    /// Why: `needs root`, `no apt-cache on the host`.
    pub why: String,
}

impl Limitation {
    /// What is limited where installed packages may be missing from the facts. The host is then not
    /// wholly judged.
    pub const PACKAGES: &'static str = "packages";
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Why a host could not be scanned. The names are stable: output, store, tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScanFailureKind {
    /// The host key is not the one known before.
    ChangedHostKey,
    /// The answer could not be understood as facts.
    GarbageOutput,
    /// Started, and something on our own side failed.
    Local,
    /// The host refused every key or password offered.
    RefusedKey,
    /// No answer within the time allowed.
    TimedOut,
    /// No host key is known for it, and none is accepted unseen.
    UnknownHostKey,
    /// No route, no such name, connection refused.
    Unreachable,
}

impl ScanFailureKind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChangedHostKey => "changed-host-key",
            Self::GarbageOutput => "garbage-output",
            Self::Local => "local",
            Self::RefusedKey => "refused-key",
            Self::TimedOut => "timed-out",
            Self::UnknownHostKey => "unknown-host-key",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A scan that brought no facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct ScanFailure {
    /// The stable name.
    pub kind: ScanFailureKind,
    /// One printable line: what was tried, what answered.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}
