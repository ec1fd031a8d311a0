//! One typed id for each noun, so that a host name is never taken for a service.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// Longest id accepted, in bytes: a DNS name's limit (RFC 1035 section 2.3.4), ample for the others.
const MAX_ID_LEN: usize = 255;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing but white space.
    #[error("a {noun} must not be empty")]
    Empty {
        /// Which noun was wanted.
        noun: &'static str,
    },
    /// Longer than 255 bytes.
    #[error("a {noun} must not be longer than 255 bytes")]
    TooLong {
        /// Which noun was wanted.
        noun: &'static str,
    },
    /// A control character or white space inside.
    #[error("the {noun} {text:?} contains white space or a control character")]
    Unprintable {
        /// Which noun was wanted.
        noun: &'static str,
        /// The text, at most 255 bytes.
        text: String,
    },
}

fn check_id(noun: &'static str, text: &str) -> Result<(), InvalidId> {
    // Nearly every id is plain ASCII, and a pass over its bytes is the cheapest that tells so.
    let graphic = text.bytes().all(|b| b.is_ascii_graphic());
    if graphic && (1..=MAX_ID_LEN).contains(&text.len()) {
        return Ok(());
    }
    if text.trim().is_empty() {
        return Err(InvalidId::Empty { noun });
    }
    if text.len() > MAX_ID_LEN {
        return Err(InvalidId::TooLong { noun });
    }
    if text
        .chars()
        .any(|c| c.is_whitespace() || crate::text::is_unsafe(c))
    {
        return Err(InvalidId::Unprintable {
            noun,
            text: text.to_owned(),
        });
    }
    Ok(())
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks and wraps a text: not empty, at most 255 bytes, no white space, nothing
            /// unprintable.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check_id($noun, text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                check_id($noun, &text)?;
                Ok(Self(text.into()))
            }
        }

        impl Serialize for $name {
            // Not by way of a `String`: an answer about a fleet has millions of ids.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

// Append-only, alphabetical.
text_ids! {
    /// The id of an advisory: `CVE-2023-42115`, `DSA-5512-1`, `RHSA-2024:1234`, `GHSA-...`.
    AdvisoryId = "advisory id";
    /// The name of a feed: `debian-tracker`, `kev`, or the user's own.
    FeedId = "feed name";
    /// The name of a host in the fleet file.
    HostName = "host name";
    /// The id of a plan: `sha256:` and the hexadecimal digest of its canonical JSON.
    PlanId = "plan id";
    /// The name of a region.
    RegionName = "region name";
    /// The name of a service.
    ServiceName = "service name";
    /// The name of a team.
    TeamName = "team name";
    /// The name of a network zone.
    ZoneName = "zone name";
}

impl FeedId {
    /// The name of no feed, for evidence that was not kept.
    pub(crate) fn forgotten() -> Self {
        Self("forgotten".into())
    }
}

impl PlanId {
    /// The first twelve digits, for a person: enough to tell apart any number of plans that a fleet ever
    /// has, as git does.
    pub fn short(&self) -> &str {
        let digits = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        digits.get(..12).unwrap_or(digits)
    }
}

impl AdvisoryId {
    /// Whether this is a CVE id, by its form.
    pub fn is_cve(&self) -> bool {
        is_cve(&self.0)
    }

    /// Sorts the ids of one vulnerability so that the best-known name comes first: CVE, then GHSA,
    /// then any other, each by its text.
    pub fn preference(&self) -> (u8, &str) {
        let rank = if self.is_cve() {
            0
        } else if self.0.starts_with("GHSA-") {
            1
        } else {
            2
        };
        (rank, &self.0)
    }
}

/// `CVE-` year `-` four digits or more (CVE Record Format, `cveId`).
fn is_cve(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("CVE-") else {
        return false;
    };
    let Some((year, number)) = rest.split_once('-') else {
        return false;
    };
    year.len() == 4
        && (4..=19).contains(&number.len())
        && year
            .bytes()
            .chain(number.bytes())
            .all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_ids_are_recognised_by_their_form() {
        for good in ["CVE-2023-42115", "CVE-1999-0001", "CVE-2026-1234567"] {
            assert!(AdvisoryId::new(good).unwrap().is_cve(), "{good}");
        }
        for other in [
            "DSA-5512-1",
            "CVE-23-42115",
            "CVE-2023-12",
            "CVE-2023-12x4",
            "cve-2023-42115",
        ] {
            assert!(!AdvisoryId::new(other).unwrap().is_cve(), "{other}");
        }
    }

    #[test]
    fn an_id_never_carries_control_characters_or_white_space() {
        assert_eq!(
            HostName::new("  "),
            Err(InvalidId::Empty { noun: "host name" })
        );
        assert!(matches!(
            HostName::new("mx\u{1b}[31m"),
            Err(InvalidId::Unprintable { .. })
        ));
        assert!(matches!(
            HostName::new("mx 1"),
            Err(InvalidId::Unprintable { .. })
        ));
        assert!(matches!(
            HostName::new("x".repeat(256)),
            Err(InvalidId::TooLong { .. })
        ));
    }
}
