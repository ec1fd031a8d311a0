//! The answer: verdicts with their evidence, and findings ready for a person.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{AdvisoryId, FeedId, HostName, Platform, TeamName, Urgency};

/// What is true of one advisory on one source package on one host: exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Affected; the fixed version is one the host can install.
    FixAvailable,
    /// Affected; a fixed version exists, but not in the host's own repositories.
    FixPublished,
    /// Affected; nobody has published a fix for this release.
    NoFix,
    /// Affected; the distributor has decided against a fix for this release.
    WillNotFix,
    /// The fix is installed, the old code still runs.
    RestartPending,
    /// Affected, and a mitigation in force covers it.
    Mitigated,
    /// Cannot be decided; the reason is given.
    Unknown,
    /// Was affected; the installed version has the fix.
    Fixed,
    /// Not affected.
    NotAffected,
}

impl Status {
    /// Every status, in the order of DESIGN.md's table.
    pub const ALL: [Self; 9] = [
        Self::FixAvailable,
        Self::FixPublished,
        Self::NoFix,
        Self::WillNotFix,
        Self::RestartPending,
        Self::Mitigated,
        Self::Unknown,
        Self::Fixed,
        Self::NotAffected,
    ];

    /// The stable name: `fix-available`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FixAvailable => "fix-available",
            Self::FixPublished => "fix-published",
            Self::NoFix => "no-fix",
            Self::WillNotFix => "will-not-fix",
            Self::RestartPending => "restart-pending",
            Self::Mitigated => "mitigated",
            Self::Unknown => "unknown",
            Self::Fixed => "fixed",
            Self::NotAffected => "not-affected",
        }
    }

    /// Whether it is a finding; `fixed` and `not-affected` are verdicts only.
    pub fn is_finding(self) -> bool {
        !matches!(self, Self::Fixed | Self::NotAffected)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How near a finding is to the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surface {
    /// Mail software itself.
    Mail,
    /// In its dependency closure, or mapped by a mail process.
    Dependency,
    /// Anything else on the host.
    Other,
}

impl Surface {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Dependency => "dependency",
            Self::Other => "other",
        }
    }
}

/// Qualitative severity (CVSS 3.1 section 5), from the CVSS base score, else from the
/// distributor's urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nobody ranked it.
    Unknown,
    /// The distributor calls it unimportant, or the base score is 0.
    None,
    /// 0.1 to 3.9.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From a CVSS base score, 0.0 to 10.0.
    pub fn from_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s > 0.0 => Self::Low,
            _ => Self::None,
        }
    }
}

/// The rule that decided a verdict. Names are stable; ARCHITECTURE.md says where each lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The distributor says no version of this release is affected (Debian tracker:
    /// `fixed_version: "0"`).
    DistributorNotAffected,
    /// The installed version was compared with the distributor's fixed version for this release.
    DistributorFixedVersion,
    /// The distributor says this release is affected and names no fix.
    DistributorOpen,
    /// The distributor will not fix it in this release.
    DistributorIgnored,
    /// The distributor calls it too minor for an advisory of its own.
    DistributorMinor,
    /// The distributor will fix it along with something else.
    DistributorPostponed,
    /// The release or the package has no security support any more.
    DistributorEndOfLife,
    /// The distributor has not decided.
    DistributorUndetermined,
    /// A backport, or a package newer than the release's own, judged by the newer release's data.
    NewerReleaseFixedVersion,
    /// The package was built for a module stream, and which one was not seen.
    ModuleNotSeen,
    /// The installed version bears the mark of another packager.
    NotTheDistributorsPackage,
    /// The distributor has no entry for the package in this release.
    PackageNotInRelease,
    /// The changelog inside the package on offer names the CVE.
    ChangelogFixedVersion,
    /// The installed version lies in an affected range.
    RangeAffected,
    /// The installed version lies in no affected range.
    RangeNotAffected,
    /// The versions cannot be ordered.
    VersionNotComparable,
    /// The fix is installed, and a process still runs the code from before.
    StaleProcess,
}

impl Rule {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DistributorNotAffected => "distributor-not-affected",
            Self::DistributorFixedVersion => "distributor-fixed-version",
            Self::DistributorOpen => "distributor-open",
            Self::DistributorIgnored => "distributor-ignored",
            Self::DistributorMinor => "distributor-minor",
            Self::DistributorPostponed => "distributor-postponed",
            Self::DistributorEndOfLife => "distributor-end-of-life",
            Self::DistributorUndetermined => "distributor-undetermined",
            Self::NewerReleaseFixedVersion => "newer-release-fixed-version",
            Self::ModuleNotSeen => "module-not-seen",
            Self::NotTheDistributorsPackage => "not-the-distributors-package",
            Self::PackageNotInRelease => "package-not-in-release",
            Self::ChangelogFixedVersion => "changelog-fixed-version",
            Self::RangeAffected => "range-affected",
            Self::RangeNotAffected => "range-not-affected",
            Self::VersionNotComparable => "version-not-comparable",
            Self::StaleProcess => "stale-process",
        }
    }
}

/// Two versions, and how the first stands to the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The installed source version.
    pub installed: Box<str>,
    /// What it was compared with.
    pub with: Box<str>,
    /// `less`, `equal` or `greater`: how `installed` stands to `with`.
    #[serde(with = "ordering")]
    pub ordering: Ordering,
}

mod ordering {
    use std::cmp::Ordering;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(o: &Ordering, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(match o {
            Ordering::Less => "less",
            Ordering::Equal => "equal",
            Ordering::Greater => "greater",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Ordering, D::Error> {
        match <std::borrow::Cow<'de, str>>::deserialize(d)?.as_ref() {
            "less" => Ok(Ordering::Less),
            "equal" => Ok(Ordering::Equal),
            "greater" => Ok(Ordering::Greater),
            other => Err(serde::de::Error::unknown_variant(
                other,
                &["less", "equal", "greater"],
            )),
        }
    }
}

/// What another feed says of the same, kept beside the word that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherWord {
    /// Which feed.
    pub source: FeedId,
    /// What it says, in one line.
    pub says: String,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The feed whose word decided.
    pub source: FeedId,
    /// The rule that decided.
    pub rule: Rule,
    /// The versions compared, where versions decided.
    pub compared: Option<Comparison>,
    /// The whole of it in one sentence for a person. Printable.
    pub reason: String,
    /// Set if and only if the status is `unknown`.
    pub unknown: Option<UnknownReason>,
    /// The deciding feed was stale, or only partly read.
    pub source_stale: bool,
    /// What other feeds say of it.
    pub others: Vec<OtherWord>,
    /// Further facts that mattered: the candidate seen, the process that runs old code, an SSVC
    /// input that was assumed. Printable. Most are always the same sentence, and borrow it.
    pub notes: Vec<Cow<'static, str>>,
}

impl Evidence {
    /// What stands for evidence that was not kept: a later check needs to know what was found, not
    /// why.
    pub fn forgotten() -> Self {
        Self {
            source: FeedId::forgotten(),
            rule: Rule::DistributorOpen,
            compared: None,
            reason: String::new(),
            unknown: None,
            source_stale: false,
            others: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether it was not kept. Evidence always has a reason.
    pub fn is_forgotten(&self) -> bool {
        self.reason.is_empty()
    }
}

/// Why something is `unknown`. Names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownReason {
    /// The distributor has not decided.
    DistributorUndetermined,
    /// Facts of the host are older than the fleet allows.
    FactsTooOld,
    /// The date of a feed lies in the future.
    FeedFromTheFuture,
    /// The feeds for this host's packages are stale.
    FeedStale,
    /// The feeds for this host's packages were only partly read.
    FeedPartial,
    /// A package may belong to a module stream, and its label was not seen.
    ModuleNotSeen,
    /// No feed speaks for this host's packages.
    NoFeed,
    /// Nothing was ever seen of the host.
    NoFacts,
    /// Not one installed package was seen.
    NoPackages,
    /// Only single documents, no whole feed, speak for this host's packages.
    NoWholeFeed,
    /// The installed package was not built by the distributor.
    NotTheDistributorsPackage,
    /// The distributor has no entry for an installed package in this host's release.
    PackageNotInRelease,
    /// Installed packages may be missing from what was read of the host's package list.
    PackagesNotWhole,
    /// os-release names a system no rule is known for.
    PlatformNotKnown,
    /// Whether mail processes run the installed code could not be seen.
    RunningCodeNotSeen,
    /// The last scan failed.
    ScanFailed,
    /// A mail process runs a file that is no longer on disk and that no package owns.
    StaleCodeUnowned,
    /// Two versions cannot be ordered.
    VersionNotComparable,
}

impl UnknownReason {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DistributorUndetermined => "distributor-undetermined",
            Self::FactsTooOld => "facts-too-old",
            Self::FeedFromTheFuture => "feed-from-the-future",
            Self::FeedStale => "feed-stale",
            Self::FeedPartial => "feed-partial",
            Self::ModuleNotSeen => "module-not-seen",
            Self::NoFeed => "no-feed",
            Self::NoFacts => "no-facts",
            Self::NoPackages => "no-packages",
            Self::NoWholeFeed => "no-whole-feed",
            Self::NotTheDistributorsPackage => "not-the-distributors-package",
            Self::PackageNotInRelease => "package-not-in-release",
            Self::PackagesNotWhole => "packages-not-whole",
            Self::PlatformNotKnown => "platform-not-known",
            Self::RunningCodeNotSeen => "running-code-not-seen",
            Self::ScanFailed => "scan-failed",
            Self::StaleCodeUnowned => "stale-code-unowned",
            Self::VersionNotComparable => "version-not-comparable",
        }
    }
}

/// One advisory on one source package on one host, judged by the filter; not yet triaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The vulnerability, by its best-known name.
    pub advisory: AdvisoryId,
    /// Its other names, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<AdvisoryId>,
    /// One line for a person; empty where no feed has one.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub title: Box<str>,
    /// Whose package.
    pub platform: Platform,
    /// Source package.
    pub package: Box<str>,
    /// Its binary packages installed on the host, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binaries: Vec<Box<str>>,
    /// Installed source version.
    pub installed: Box<str>,
    /// The exact version that has the fix, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Box<str>>,
    /// The verdict.
    pub status: Status,
    /// How near it is to the mail.
    pub surface: Surface,
    /// How the distributor ranks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// CVSS vector, where any feed has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss: Option<Box<str>>,
    /// Why.
    #[serde(
        default = "Evidence::forgotten",
        skip_serializing_if = "Evidence::is_forgotten"
    )]
    pub evidence: Evidence,
}

impl Verdict {
    /// The advisory by all its names.
    pub fn names(&self) -> impl Iterator<Item = &AdvisoryId> {
        std::iter::once(&self.advisory).chain(&self.aliases)
    }
}

/// CISA's SSVC decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Decision {
    /// Within the usual update cycle.
    Track,
    /// The same, watched for changes.
    #[serde(rename = "Track*")]
    TrackStar,
    /// Sooner than the usual cycle; supervisors attend.
    Attend,
    /// As soon as possible; leadership acts.
    Act,
}

impl Decision {
    /// As CISA writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Track => "Track",
            Self::TrackStar => "Track*",
            Self::Attend => "Attend",
            Self::Act => "Act",
        }
    }
}

/// Which road a finding takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Shortened windows and soak.
    Emergency,
    /// The agreed windows.
    Regular,
}

impl Lane {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Regular => "regular",
        }
    }
}

/// A verdict on a named host, triaged: what a report shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The host.
    pub host: HostName,
    /// The verdict. Not flattened: reading it back would buffer every field, at four times the cost.
    pub verdict: Verdict,
    /// Qualitative severity.
    pub severity: Severity,
    /// CVSS base score, 0.0 to 10.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// In CISA's catalogue of known exploited vulnerabilities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kev: bool,
    /// EPSS probability, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<f32>,
    /// SSVC decision; `None` for `fixed` and `not-affected`.
    pub decision: Option<Decision>,
    /// Lane; `None` likewise.
    pub lane: Option<Lane>,
    /// Last day, in the owner's region; `None` is the next regular upgrade.
    pub deadline: Option<Date>,
    /// The day this fleet's checks first had it: deadlines count from there.
    #[serde(default)]
    pub first_seen: Option<Date>,
    /// The team that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<TeamName>,
}

impl Finding {
    /// A verdict on a host that nobody has triaged yet.
    pub fn untriaged(host: HostName, verdict: Verdict) -> Self {
        Self {
            host,
            verdict,
            severity: Severity::Unknown,
            score: None,
            kev: false,
            epss: None,
            decision: None,
            lane: None,
            deadline: None,
            first_seen: None,
            owner: None,
        }
    }
}

/// What is known of one host after a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAnswer {
    /// The host.
    pub name: HostName,
    /// In one word.
    pub status: HostStatus,
    /// Why it is `unknown`, or what its findings rest on that is less than fresh; each with a
    /// sentence. Empty where there is nothing to say.
    pub reasons: Vec<(UnknownReason, String)>,
    /// When its facts were seen.
    pub facts_as_of: Option<Timestamp>,
    /// The system, for a person: `Debian GNU/Linux 12 (bookworm)`.
    pub system: Option<String>,
    /// What could not be seen on it. Printable.
    pub limitations: Vec<String>,
}

/// A host's answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStatus {
    /// Judged, with findings.
    Affected,
    /// Judged on fresh facts and fresh feeds, without findings.
    Clean,
    /// Declared as out of use; not judged.
    Decommissioned,
    /// Not wholly judged; the reasons say why.
    Unknown,
}

impl HostStatus {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affected => "affected",
            Self::Clean => "clean",
            Self::Decommissioned => "decommissioned",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_follows_cvss_section_5() {
        for (score, severity) in [
            (0.0, Severity::None),
            (0.1, Severity::Low),
            (3.9, Severity::Low),
            (4.0, Severity::Medium),
            (7.0, Severity::High),
            (8.9, Severity::High),
            (9.0, Severity::Critical),
            (10.0, Severity::Critical),
        ] {
            assert_eq!(Severity::from_score(score), severity, "{score}");
        }
    }
}
