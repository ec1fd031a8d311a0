//! Whose packages: distributions and package registries, their releases and version rules.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of packages that share names and a version order. Text form as in OSV's
/// `affected[].package.ecosystem`, without the release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Ecosystem {
    /// AlmaLinux.
    AlmaLinux,
    /// Debian.
    Debian,
    /// Microsoft Exchange Server, by build number.
    Exchange,
    /// Any other: a language registry (`crates.io`, `PyPI`, `npm`), `GIT`, a product of no
    /// distributor. Named as the source names it.
    Other(Box<str>),
    /// Fedora.
    Fedora,
    /// openSUSE.
    OpenSuse,
    /// Oracle Linux.
    OracleLinux,
    /// Red Hat Enterprise Linux (and `CentOS`, judged by the same data).
    RedHat,
    /// Rocky Linux.
    RockyLinux,
    /// SUSE Linux Enterprise.
    Suse,
    /// Ubuntu.
    Ubuntu,
}

/// How versions of an ecosystem are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionScheme {
    /// deb-version(7).
    Dpkg,
    /// Numbers between dots, compared one by one; missing ones are zero. Exchange builds, and
    /// products that document no other order.
    Dotted,
    /// rpm-version(7): `rpmvercmp` with `~` and `^`.
    Rpm,
    /// Semantic Versioning 2.0.0 section 11.
    SemVer,
}

impl Ecosystem {
    /// The name as OSV writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::AlmaLinux => "AlmaLinux",
            Self::Debian => "Debian",
            Self::Exchange => "Exchange",
            Self::Fedora => "Fedora",
            Self::OpenSuse => "openSUSE",
            Self::OracleLinux => "Oracle Linux",
            Self::Other(name) => name,
            Self::RedHat => "Red Hat",
            Self::RockyLinux => "Rocky Linux",
            Self::Suse => "SUSE",
            Self::Ubuntu => "Ubuntu",
        }
    }

    /// How this ecosystem orders versions.
    pub fn version_scheme(&self) -> VersionScheme {
        match self {
            Self::Debian | Self::Ubuntu => VersionScheme::Dpkg,
            Self::AlmaLinux
            | Self::Fedora
            | Self::OpenSuse
            | Self::OracleLinux
            | Self::RedHat
            | Self::RockyLinux
            | Self::Suse => VersionScheme::Rpm,
            Self::Exchange => VersionScheme::Dotted,
            Self::Other(name) => match &**name {
                "crates.io" | "npm" | "Go" | "Hex" | "Pub" | "SwiftURL" => VersionScheme::SemVer,
                _ => VersionScheme::Dotted,
            },
        }
    }

    /// Whether a distributor speaks for the packages of this ecosystem.
    pub fn is_distribution(&self) -> bool {
        !matches!(self, Self::Exchange | Self::Other(_))
    }
}

impl From<String> for Ecosystem {
    fn from(name: String) -> Self {
        match name.as_str() {
            "AlmaLinux" => Self::AlmaLinux,
            "Debian" => Self::Debian,
            "Exchange" => Self::Exchange,
            "Fedora" => Self::Fedora,
            "openSUSE" => Self::OpenSuse,
            "Oracle Linux" => Self::OracleLinux,
            "Red Hat" => Self::RedHat,
            "Rocky Linux" => Self::RockyLinux,
            "SUSE" => Self::Suse,
            "Ubuntu" => Self::Ubuntu,
            _ => Self::Other(name.into()),
        }
    }
}

impl From<Ecosystem> for String {
    fn from(ecosystem: Ecosystem) -> Self {
        ecosystem.name().to_owned()
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An ecosystem and, for a distribution, its release: `bookworm`, `24.04`, `9`, `15.6`. Debian's
/// releases are always named by their code name here, whatever the source wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Whose packages.
    pub ecosystem: Ecosystem,
    /// Which release of the distribution; empty where the ecosystem has none.
    pub release: Box<str>,
}

impl Platform {
    /// Joins an ecosystem and a release; a Debian release number becomes its code name.
    pub fn new(ecosystem: Ecosystem, release: &str) -> Self {
        let release = match ecosystem {
            Ecosystem::Debian => debian_codename(release).unwrap_or(release),
            _ => release,
        };
        Self {
            release: release.into(),
            ecosystem,
        }
    }
}

impl fmt::Display for Platform {
    /// As OSV writes it: `Debian:12`, `Ubuntu:24.04`, `crates.io`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = match self.ecosystem {
            Ecosystem::Debian => debian_number(&self.release).unwrap_or(&self.release),
            _ => &self.release,
        };
        if release.is_empty() {
            f.write_str(self.ecosystem.name())
        } else {
            write!(f, "{}:{release}", self.ecosystem.name())
        }
    }
}

/// Debian's releases, oldest first: number and code name (www.debian.org/releases). `sid` has no
/// number and follows the newest.
const DEBIAN_RELEASES: &[(&str, &str)] = &[
    ("7", "wheezy"),
    ("8", "jessie"),
    ("9", "stretch"),
    ("10", "buster"),
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("15", "duke"),
];

/// The code name of a Debian release given by number (`12`, `12.5`) or already by code name.
pub fn debian_codename(release: &str) -> Option<&'static str> {
    let major = release.split('.').next().unwrap_or(release);
    if release == "sid" || release == "unstable" {
        return Some("sid");
    }
    DEBIAN_RELEASES
        .iter()
        .find(|(number, codename)| *number == major || *codename == release)
        .map(|(_, codename)| *codename)
}

/// The number of a Debian release given by code name.
pub fn debian_number(codename: &str) -> Option<&'static str> {
    DEBIAN_RELEASES
        .iter()
        .find(|(_, name)| *name == codename)
        .map(|(number, _)| *number)
}

impl Platform {
    /// The next newer Debian release, `sid` after the newest known; `None` for any other
    /// distribution. Backports are built from it.
    pub fn next_debian(&self) -> Option<Self> {
        if self.ecosystem != Ecosystem::Debian {
            return None;
        }
        let next = next_debian_release(&self.release)?;
        Some(Self {
            ecosystem: Ecosystem::Debian,
            release: next.into(),
        })
    }
}

/// The code name of the Debian release after one given by code name; `sid` after the newest known.
pub fn next_debian_release(codename: &str) -> Option<&'static str> {
    let at = DEBIAN_RELEASES
        .iter()
        .position(|(_, name)| *name == codename)?;
    Some(DEBIAN_RELEASES.get(at + 1).map_or("sid", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_releases_are_known_by_number_point_release_and_code_name() {
        for text in ["12", "12.5", "bookworm"] {
            assert_eq!(&*Platform::new(Ecosystem::Debian, text).release, "bookworm");
        }
        assert_eq!(
            Platform::new(Ecosystem::Debian, "12").to_string(),
            "Debian:12"
        );
        assert_eq!(
            Platform::new(Ecosystem::Debian, "unstable").to_string(),
            "Debian:sid"
        );
    }

    #[test]
    fn backports_take_the_next_newer_release() {
        let next = Platform::new(Ecosystem::Debian, "12")
            .next_debian()
            .unwrap();
        assert_eq!(&*next.release, "trixie");
        assert!(
            Platform::new(Ecosystem::Debian, "sid")
                .next_debian()
                .is_none()
        );
    }

    #[test]
    fn an_unknown_ecosystem_keeps_its_name() {
        let odd = Ecosystem::from("Bitnami".to_owned());
        assert_eq!(odd, Ecosystem::Other("Bitnami".into()));
        assert_eq!(String::from(odd), "Bitnami");
    }
}
