//! What a shield tells of itself: `/status` of its metrics address, or a file with the same text.

use std::io::Read as _;
use std::time::Duration;

use mailkeep_model::text::printable_max;
use mailkeep_model::{Timestamp, Verdict};
use mailkeep_reach::fetch::{FetchSettings, Fetcher};
use serde::Deserialize;

use crate::app::LoadedFleet;
use crate::fleet::StatusPlace;

/// Octets of a state.
const MAX: u64 = 4 << 20;
/// Seconds after which a state says nothing of now, and clocks may differ by.
const FRESH: i64 = 900;
/// Longest wait for one shield.
const PATIENCE: Duration = Duration::from_secs(5);

/// A shield's state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ShieldStatus {
    /// Its name.
    name: String,
    /// When it said so.
    time: Timestamp,
    /// Whether it is going out of service.
    #[serde(default)]
    draining: bool,
    /// Its virtual patches.
    pub(super) bundle: BundleStatus,
    /// Sessions now.
    #[serde(default)]
    sessions: u64,
    /// The servers behind it.
    #[serde(default)]
    backends: Vec<BackendStatus>,
    /// Its virus scanners.
    #[serde(default)]
    antivirus: Vec<ScannerStatus>,
    /// What it holds because it spreads.
    #[serde(default)]
    held: Vec<HeldStatus>,
}

/// A server behind a shield.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct BackendStatus {
    address: String,
    up: bool,
    #[serde(default)]
    draining: bool,
}

/// A virus scanner of a shield.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ScannerStatus {
    name: String,
    up: bool,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    definitions_date: Option<String>,
    freshness: String,
}

/// What a shield holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct HeldStatus {
    detector: String,
    messages: u64,
}

/// The bundle that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct BundleStatus {
    pub(super) id: String,
    pub(super) version: u64,
    expires: Timestamp,
    pub(super) enforced: Vec<Covering>,
}

/// A rule that refuses, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Covering {
    pub(super) rule: String,
    holes: Vec<String>,
    packages: Vec<String>,
}

impl Covering {
    /// Whether it covers what a verdict is about: the hole, by any name, in the package it is in.
    pub(super) fn covers(&self, verdict: &Verdict) -> bool {
        let package = &*verdict.package;
        self.packages.iter().any(|own| own == package)
            && std::iter::once(&verdict.advisory)
                .chain(&verdict.aliases)
                .any(|name| {
                    self.holes
                        .iter()
                        .any(|hole| hole.eq_ignore_ascii_case(name.as_str()))
                })
    }
}

impl ShieldStatus {
    /// The state in lines for a person, and what in it somebody should look at.
    pub(super) fn tell(&self) -> (Vec<String>, Vec<String>) {
        let text = |text: &str| printable_max(text, 100);
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        lines.push(format!("{} sessions, as of {}", self.sessions, self.time));
        for backend in &self.backends {
            let address = text(&backend.address);
            let state = match (backend.up, backend.draining) {
                (true, false) => "answers",
                (true, true) => "takes no new mail (drain)",
                (false, _) => "does not answer",
            };
            lines.push(format!("server {address} {state}"));
            if !backend.up {
                problems.push(format!("the server {address} does not answer"));
            }
        }
        let bundle = &self.bundle;
        lines.push(format!(
            "bundle {} version {}, until {}: {} rules enforced",
            text(&bundle.id),
            bundle.version,
            bundle.expires,
            bundle.enforced.len()
        ));
        for scanner in &self.antivirus {
            let name = text(&scanner.name);
            lines.push(format!(
                "virus scanner {name}: {}, definitions of {}, {}",
                text(scanner.version.as_deref().unwrap_or("version unknown")),
                text(
                    scanner
                        .definitions_date
                        .as_deref()
                        .unwrap_or("an unknown day")
                ),
                text(&scanner.freshness)
            ));
            if !scanner.up {
                problems.push(format!("the virus scanner {name} does not answer"));
            } else if scanner.freshness != "fresh" {
                let freshness = text(&scanner.freshness);
                problems.push(format!("the definitions of {name} are {freshness}"));
            }
        }
        for held in &self.held {
            let detector = text(&held.detector);
            problems.push(format!("{detector}: {} messages held", held.messages));
        }
        (lines, problems)
    }

    /// The state, where it can be relied on now; else why not.
    pub(super) fn relied_on(self, name: &str, now: Timestamp) -> Result<Self, String> {
        if self.name != name {
            return Err(format!(
                "what answers calls itself {}",
                printable_max(&self.name, 100)
            ));
        }
        let age = now.as_second().saturating_sub(self.time.as_second());
        if age.abs() > FRESH {
            return Err(format!(
                "its state is of {}, and tells nothing of now",
                self.time
            ));
        }
        if self.draining {
            return Err("it is going out of service".to_owned());
        }
        if self.bundle.expires <= now {
            return Err(format!("its bundle expired at {}", self.bundle.expires));
        }
        Ok(self)
    }
}

/// Reads a shield's state.
pub(super) fn read(fleet: &LoadedFleet, place: &StatusPlace) -> Result<ShieldStatus, String> {
    let text = match place {
        StatusPlace::Path(path) => from_file(&fleet.resolve(path)),
        StatusPlace::Url(url) => from_shield(url),
    }?;
    serde_json::from_slice(&text).map_err(|error| format!("its state cannot be read: {error}"))
}

fn from_file(path: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX).read_to_end(&mut text))
        .map_err(|error| format!("its state cannot be read: {error}"))?;
    Ok(text)
}

fn from_shield(url: &str) -> Result<Vec<u8>, String> {
    let silent = |error: &dyn std::error::Error| format!("it does not answer: {error}");
    let settings = FetchSettings {
        connect_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        total_timeout: PATIENCE,
        max_size: MAX,
        max_redirects: 0,
        attempts: 1,
        ..FetchSettings::default()
    };
    let fetcher = Fetcher::new(settings).map_err(|error| silent(&error))?;
    let directory = tempfile::tempdir().map_err(|error| silent(&error))?;
    let file = directory.path().join("status");
    fetcher
        .fetch(url, None, &file, &mut |_, _| {})
        .map_err(|error| silent(&error))?;
    from_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(time: &str, expires: &str) -> ShieldStatus {
        let text = format!(
            r#"{{"name":"mx","time":"{time}","sessions":3,"bundle":{{"id":"b","version":2,"expires":"{expires}",
            "enforced":[{{"rule":"r","holes":["CVE-2020-28022"],"packages":["exim4"]}}],"monitored":[]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_state_counts_while_it_is_fresh_and_its_bundle_has_not_expired() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        let relied_on = |time, expires, name| status(time, expires).relied_on(name, now).is_ok();
        let later = "2026-12-22T08:00:00Z";
        assert!(relied_on("2026-11-22T07:50:00Z", later, "mx"));
        assert!(relied_on("2026-11-22T08:10:00Z", later, "mx"));
        assert!(!relied_on("2026-11-22T07:40:00Z", later, "mx"));
        assert!(!relied_on("2026-11-22T08:20:00Z", later, "mx"));
        assert!(!relied_on(
            "2026-11-22T08:00:00Z",
            "2026-11-22T08:00:00Z",
            "mx"
        ));
        assert!(!relied_on("2026-11-22T08:00:00Z", later, "other"));
        let draining = ShieldStatus {
            draining: true,
            ..status("2026-11-22T08:00:00Z", later)
        };
        assert!(draining.relied_on("mx", now).is_err());
    }
}
