//! What a shield tells of itself: `/status` of its metrics address, or a file with the same text.

use std::io::Read as _;
use std::time::Duration;

use mailkeep_model::text::printable_max;
use mailkeep_model::{Freshness, ShieldState, Timestamp};
use mailkeep_reach::fetch::{FetchSettings, Fetcher};

use crate::app::LoadedFleet;
use crate::fleet::StatusPlace;

/// Octets of a state.
const MAX: u64 = 4 << 20;
/// Seconds after which a state says nothing of now, and clocks may differ by.
const FRESH: i64 = 900;
/// Seconds for which an outbreak that was told of is still to be looked at.
const LATELY: i64 = 86_400;
/// Longest wait for one shield.
const PATIENCE: Duration = Duration::from_secs(5);

/// A shield's state in lines for a person, and what in it somebody should look at.
pub(super) fn tell(state: &ShieldState) -> (Vec<String>, Vec<String>) {
    let text = |text: &str| printable_max(text, 100);
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    lines.push(format!("{} sessions, as of {}", state.sessions, state.time));
    for backend in &state.backends {
        let address = text(&backend.address);
        let is = match (backend.up, backend.draining) {
            (true, false) => "answers",
            (true, true) => "takes no new mail (drain)",
            (false, _) => "does not answer",
        };
        lines.push(format!("server {address} {is}"));
        if !backend.up {
            problems.push(format!("the server {address} does not answer"));
        }
    }
    let bundle = &state.bundle;
    lines.push(format!(
        "bundle {} version {}, until {}: {} rules enforced",
        text(&bundle.id),
        bundle.version,
        bundle.expires,
        bundle.enforced.len()
    ));
    if let Some(refused) = &bundle.refused {
        problems.push(format!(
            "at {} it refused a bundle: {}",
            refused.at,
            printable_max(&refused.why, 300)
        ));
    }
    for scanner in &state.antivirus {
        let name = text(&scanner.name);
        let date = scanner.definitions_date.map(|date| date.to_string());
        lines.push(format!(
            "virus scanner {name}: {}, definitions of {}, {}",
            text(scanner.version.as_deref().unwrap_or("version unknown")),
            date.as_deref().unwrap_or("an unknown day"),
            scanner.freshness.name()
        ));
        if !scanner.up {
            problems.push(format!("the virus scanner {name} does not answer"));
        } else if scanner.freshness != Freshness::Fresh {
            let freshness = scanner.freshness.name();
            problems.push(format!("the definitions of {name} are {freshness}"));
        }
    }
    for held in &state.held {
        let detector = text(&held.detector);
        problems.push(format!("{detector}: {} messages held", held.messages));
    }
    let lately = |at: Timestamp| state.time.as_second().saturating_sub(at.as_second()) < LATELY;
    for alert in state.alerts.iter().filter(|alert| lately(alert.at)) {
        problems.push(format!("{}: {}", alert.at, printable_max(&alert.text, 400)));
    }
    (lines, problems)
}

/// The state, where it can be relied on now; else why not.
pub(super) fn relied_on(
    state: ShieldState,
    name: &str,
    now: Timestamp,
) -> Result<ShieldState, String> {
    if state.name != name {
        return Err(format!(
            "what answers calls itself {}",
            printable_max(&state.name, 100)
        ));
    }
    let age = now.as_second().saturating_sub(state.time.as_second());
    if age.abs() > FRESH {
        return Err(format!(
            "its state is of {}, and tells nothing of now",
            state.time
        ));
    }
    if state.draining {
        return Err("it is going out of service".to_owned());
    }
    if state.bundle.expires <= now {
        return Err(format!("its bundle expired at {}", state.bundle.expires));
    }
    Ok(state)
}

/// Reads a shield's state.
pub(super) fn read(fleet: &LoadedFleet, place: &StatusPlace) -> Result<ShieldState, String> {
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

    fn status(time: &str, expires: &str) -> ShieldState {
        let text = format!(
            r#"{{"name":"mx","time":"{time}","sessions":3,"bundle":{{"id":"b","version":2,"expires":"{expires}",
            "enforced":[{{"rule":"r","holes":["CVE-2020-28022"],"packages":["exim4"]}}],"monitored":[]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_state_counts_while_it_is_fresh_and_its_bundle_has_not_expired() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        let counts = |time, expires, name| relied_on(status(time, expires), name, now).is_ok();
        let later = "2026-12-22T08:00:00Z";
        assert!(counts("2026-11-22T07:50:00Z", later, "mx"));
        assert!(counts("2026-11-22T08:10:00Z", later, "mx"));
        assert!(!counts("2026-11-22T07:40:00Z", later, "mx"));
        assert!(!counts("2026-11-22T08:20:00Z", later, "mx"));
        assert!(!counts(
            "2026-11-22T08:00:00Z",
            "2026-11-22T08:00:00Z",
            "mx"
        ));
        assert!(!counts("2026-11-22T08:00:00Z", later, "other"));
        let draining = ShieldState {
            draining: true,
            ..status("2026-11-22T08:00:00Z", later)
        };
        assert!(relied_on(draining, "mx", now).is_err());
    }
}
