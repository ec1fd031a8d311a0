//! The built-in list of public sources. Each can be turned off or pointed elsewhere in the fleet
//! file: `[feeds.NAME] enabled = false`, `location = "..."`.

use jiff::SignedDuration;
use mailkeep_model::FeedKind;

/// A built-in source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Name of the feed.
    pub name: &'static str,
    /// Its format.
    pub kind: FeedKind,
    /// Its address.
    pub url: &'static str,
    /// For whose packages it is needed; `None` for all.
    pub ecosystem: Option<&'static str>,
    /// What it is, for a person.
    pub what: &'static str,
}

/// Hours after which a feed of a kind is stale: twice and more what its publisher takes between two
/// editions on working days.
pub fn stale_after(kind: FeedKind) -> SignedDuration {
    SignedDuration::from_hours(match kind {
        // Generated several times a day.
        FeedKind::DebianTracker | FeedKind::Osv | FeedKind::Released => 48,
        // Daily.
        FeedKind::Epss => 72,
        // On working days, as they come.
        FeedKind::Csaf | FeedKind::Cve | FeedKind::Kev | FeedKind::Updateinfo => 7 * 24,
    })
}

/// How long after one fetch the next is due.
pub fn due_after(kind: FeedKind) -> SignedDuration {
    SignedDuration::from_hours(match kind {
        FeedKind::DebianTracker | FeedKind::Kev | FeedKind::Osv | FeedKind::Released => 2,
        FeedKind::Csaf | FeedKind::Cve | FeedKind::Updateinfo => 6,
        FeedKind::Epss => 12,
    })
}

/// Every built-in source, by name.
pub const SOURCES: &[Source] = &[
    Source {
        name: "csaf-cert-bund",
        kind: FeedKind::Csaf,
        url: "https://wid.cert-bund.de/.well-known/csaf/provider-metadata.json",
        ecosystem: Some("CERT-Bund"),
        what: "CERT-Bund's advisories (CSAF)",
    },
    Source {
        name: "csaf-msrc",
        kind: FeedKind::Csaf,
        url: "https://msrc.microsoft.com/csaf/provider-metadata.json",
        ecosystem: Some("Exchange"),
        what: "Microsoft's advisories (CSAF), for Exchange",
    },
    Source {
        name: "csaf-redhat",
        kind: FeedKind::Csaf,
        url: "https://security.access.redhat.com/data/csaf/v2/provider-metadata.json",
        ecosystem: Some("Red Hat"),
        what: "Red Hat's advisories and VEX (CSAF)",
    },
    Source {
        name: "csaf-suse",
        kind: FeedKind::Csaf,
        url: "https://www.suse.com/.well-known/csaf/provider-metadata.json",
        ecosystem: Some("SUSE"),
        what: "SUSE's advisories and VEX (CSAF)",
    },
    Source {
        name: "debian-tracker",
        kind: FeedKind::DebianTracker,
        url: "https://security-tracker.debian.org/tracker/data/json",
        ecosystem: Some("Debian"),
        what: "Debian's security tracker",
    },
    Source {
        name: "epss",
        kind: FeedKind::Epss,
        url: "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
        ecosystem: None,
        what: "FIRST's EPSS scores",
    },
    Source {
        name: "kev",
        kind: FeedKind::Kev,
        url: "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
        ecosystem: None,
        what: "CISA's known exploited vulnerabilities",
    },
    Source {
        name: "osv-almalinux",
        kind: FeedKind::Osv,
        url: "https://osv-vulnerabilities.storage.googleapis.com/AlmaLinux/all.zip",
        ecosystem: Some("AlmaLinux"),
        what: "AlmaLinux's errata (OSV)",
    },
    Source {
        name: "osv-opensuse",
        kind: FeedKind::Osv,
        url: "https://osv-vulnerabilities.storage.googleapis.com/openSUSE/all.zip",
        ecosystem: Some("openSUSE"),
        what: "openSUSE's advisories (OSV)",
    },
    Source {
        name: "osv-rocky",
        kind: FeedKind::Osv,
        url: "https://osv-vulnerabilities.storage.googleapis.com/Rocky%20Linux/all.zip",
        ecosystem: Some("Rocky Linux"),
        what: "Rocky Linux's errata (OSV)",
    },
    Source {
        name: "osv-ubuntu",
        kind: FeedKind::Osv,
        url: "https://osv-vulnerabilities.storage.googleapis.com/Ubuntu/all.zip",
        ecosystem: Some("Ubuntu"),
        what: "Ubuntu's CVE statements (OSV)",
    },
    Source {
        name: "vulnrichment",
        kind: FeedKind::Cve,
        url: "https://github.com/cisagov/vulnrichment/archive/refs/heads/develop.zip",
        ecosystem: None,
        what: "CVE records with CISA's SSVC decision points",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_sources_are_sorted_named_once_and_over_https() {
        for pair in SOURCES.windows(2) {
            assert!(pair[0].name < pair[1].name);
        }
        for source in SOURCES {
            assert!(source.url.starts_with("https://"), "{}", source.name);
        }
    }
}
