//! What feeds say: statements about packages, signals about CVE ids.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{AdvisoryId, Ecosystem};

/// One advisory about one package, whatever the feed. A bulletin that covers several CVE ids is
/// taken apart by its parser into one statement for each, with the bulletin's id as an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The vulnerability: a CVE id wherever there is one.
    pub advisory: AdvisoryId,
    /// Its other names, sorted: `DSA-5512-1`, `GHSA-...`. Never `advisory` itself.
    pub aliases: Vec<AdvisoryId>,
    /// Whose package.
    pub ecosystem: Ecosystem,
    /// Name of the package.
    pub package: Box<str>,
    /// Whether that is a source or a binary package's name.
    pub package_kind: PackageKind,
    /// RPM module stream (`name:stream`) it is about, where it is about one.
    pub module: Option<Box<str>>,
    /// Who speaks.
    pub voice: Voice,
    /// One line for a person; empty where the feed has none.
    pub title: Box<str>,
    /// The most informative CVSS vector given (`CVSS:3.1/...`), where there is one.
    pub cvss: Option<Box<str>>,
    /// What is said, release by release.
    pub claims: Vec<Claim>,
}

/// What a package name in a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageKind {
    /// A binary package (RPM advisories name these).
    Binary,
    /// A source package, or a product that makes no difference.
    Source,
}

/// Who speaks in a statement. The order is the order of trust: a distributor about its own package
/// decides over upstream (DESIGN.md, what must always be true, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voice {
    /// The distributor, about its own package.
    Distributor,
    /// The distributor's own changelog inside a package it offers.
    Changelog,
    /// Whoever wrote the software.
    Upstream,
}

/// What is said for one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The release, as in [`crate::Platform::release`] (Debian: code name); `None` is every release.
    pub release: Option<Box<str>>,
    /// What.
    pub kind: ClaimKind,
    /// How the distributor ranks it.
    pub urgency: Option<Urgency>,
    /// Its own words, where it gives any: why it is not affected, why there is no DSA.
    pub note: Option<Box<str>>,
    /// Highest version the distributor's repositories hold for this release, where it says so.
    pub in_repository: Option<Box<str>>,
}

/// What can be said of a package in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    /// Versions within any of the ranges, or listed one by one, are affected; all others are not.
    Affected {
        /// Ranges.
        ranges: Vec<VersionRange>,
        /// Versions listed one by one.
        versions: Vec<Box<str>>,
    },
    /// Affected below this version, fixed from it on.
    FixedIn {
        /// The exact version.
        version: Box<str>,
    },
    /// No version of this release is or was affected.
    NotAffected,
    /// Every version of this release is affected.
    Open {
        /// What the distributor means to do.
        state: OpenState,
    },
    /// The distributor has not decided yet.
    Undetermined,
}

/// What a distributor says of a hole it has not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenState {
    /// The release or package no longer has security support.
    EndOfLife,
    /// It will not be fixed (Debian: `no-dsa`, reason `ignored`; VEX: `no_fix_planned`).
    Ignored,
    /// Too minor for an advisory of its own (Debian: `no-dsa` without reason); may come with a
    /// point release.
    Minor,
    /// Nothing said but that it is open.
    Open,
    /// Will be fixed along with something else (Debian: `no-dsa`, reason `postponed`).
    Postponed,
}

/// How a distributor ranks an issue (security-tracker.debian.org; Ubuntu's priorities and Red
/// Hat's severities are mapped onto it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// No security impact to speak of.
    Unimportant,
    /// Not ranked yet.
    NotYetAssigned,
    /// Low.
    Low,
    /// Medium or moderate.
    Medium,
    /// High or important.
    High,
    /// Critical.
    Critical,
}

/// A half-open range of versions (OSV schema 1.7, `affected[].ranges[]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// First affected version; `None` is from the beginning.
    pub introduced: Option<Box<str>>,
    /// Where it ends.
    pub end: RangeEnd,
}

/// Where a range of affected versions ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeEnd {
    /// The first version that is not affected: the fix.
    Fixed(Box<str>),
    /// The last version known to be affected; nothing is said of later ones.
    LastAffected(Box<str>),
    /// The first version the statement no longer speaks of, without being a fix.
    Limit(Box<str>),
    /// It does not end.
    Open,
}

/// What a feed says of a CVE id itself, whatever package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A CVSS vector.
    Cvss {
        /// `CVSS:3.1/AV:N/...`, or a version 2 vector.
        vector: Box<str>,
    },
    /// EPSS.
    Epss {
        /// Probability of exploitation in the next 30 days, 0 to 1.
        score: f32,
        /// Share of CVE ids with a lower score, 0 to 1.
        percentile: f32,
    },
    /// It is in CISA's catalogue of known exploited vulnerabilities.
    Kev {
        /// Since when.
        added: Date,
        /// CISA's own due date, as written at the time.
        due: Option<Date>,
        /// Known to be used by ransomware.
        ransomware: bool,
    },
    /// CISA's SSVC decision points (Vulnrichment). A point that is missing or unreadable is `None`.
    Ssvc {
        /// Exploitation.
        exploitation: Option<SsvcExploitation>,
        /// Automatable.
        automatable: Option<SsvcAutomatable>,
        /// Technical impact.
        technical_impact: Option<SsvcTechnicalImpact>,
    },
    /// A title, for a person.
    Title {
        /// One line.
        text: Box<str>,
    },
    /// CWE ids named for it, sorted.
    Weaknesses {
        /// `CWE-787`.
        cwes: Vec<Box<str>>,
    },
}

/// SSVC 2.0.3, exploitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SsvcExploitation {
    /// None known.
    None,
    /// A public proof of concept.
    Poc,
    /// Exploited.
    Active,
}

/// SSVC 2.0.3, automatable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SsvcAutomatable {
    /// No.
    No,
    /// Reconnaissance to exploitation can be automated.
    Yes,
}

/// SSVC 2.0.3, technical impact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SsvcTechnicalImpact {
    /// Limited control.
    Partial,
    /// Total control.
    Total,
}
