//! Findings and the log of events.

use mailkeep_model::{Finding, Realm};
use mailkeep_store::{Snapshot, Store};
use serde_json::json;

use super::{Bench, at, event};

fn finding(advisory: &str) -> Finding {
    serde_json::from_value(json!({
        "host": "mx1",
        "verdict": {
            "advisory": advisory, "aliases": [], "title": "",
            "platform": { "ecosystem": "Debian", "release": "bookworm" },
            "package": "exim4", "binaries": ["exim4-daemon-light"],
            "installed": "4.96-15", "fixed": "4.96-15+deb12u2",
            "status": "fix-available", "surface": "mail", "urgency": null, "cvss": null,
            "evidence": {
                "source": "debian-tracker", "rule": "distributor-fixed-version",
                "compared": { "installed": "4.96-15", "with": "4.96-15+deb12u2", "ordering": "less" },
                "reason": "older than the fix", "unknown": null, "source_stale": false,
                "others": [], "notes": []
            },
        },
        "severity": "critical", "score": 9.8, "kev": false, "epss": 0.12345,
        "decision": "Track*", "lane": "regular", "deadline": "2026-12-01", "owner": "mail"
    }))
    .unwrap()
}

fn snapshot(second: i64, advisories: &[&str]) -> Snapshot {
    Snapshot {
        at: at(second),
        findings: advisories.iter().map(|id| finding(id)).collect(),
    }
}

pub(crate) fn findings_are_kept_by_scope(bench: &mut Bench) {
    let store = &mut *bench.store;
    let fleet = snapshot(10, &["CVE-2023-42115", "CVE-2023-42116"]);
    store.record_check("fleet", &fleet, &[]).unwrap();
    store.record_check("root", &snapshot(11, &[]), &[]).unwrap();
    assert_eq!(store.findings_of("fleet").unwrap(), Some(fleet.clone()));
    assert_eq!(store.findings_of("root").unwrap(), Some(snapshot(11, &[])));
    assert_eq!(store.findings_of("other").unwrap(), None);
    // The same findings at another time, then others.
    let again = Snapshot {
        at: at(12),
        ..fleet
    };
    store.record_check("fleet", &again, &[]).unwrap();
    assert_eq!(store.findings_of("fleet").unwrap(), Some(again));
    let other = snapshot(13, &["CVE-2024-39929"]);
    store.record_check("fleet", &other, &[]).unwrap();
    assert_eq!(store.findings_of("fleet").unwrap(), Some(other));
}

pub(crate) fn a_check_is_recorded_wholly_or_not_at_all(bench: &mut Bench) {
    let store = &mut *bench.store;
    let old = snapshot(10, &["CVE-2023-42115"]);
    store
        .record_check("fleet", &old, &[event(1), event(2)])
        .unwrap();
    // The second event cannot be appended.
    let mut wrong = event(4);
    wrong.realm = Realm::Drill;
    let error = store
        .record_check("fleet", &snapshot(20, &[]), &[event(3), wrong])
        .unwrap_err();
    assert_eq!(error.kind(), "event-of-other-realm");
    assert_eq!(store.findings_of("fleet").unwrap(), Some(old));
    assert_eq!(seqs(store), [1, 2]);
    store
        .record_check("fleet", &snapshot(20, &[]), &[event(3)])
        .unwrap();
    assert_eq!(store.findings_of("fleet").unwrap(), Some(snapshot(20, &[])));
    assert_eq!(seqs(store), [1, 2, 3]);
}

pub(crate) fn events_are_numbered_without_gaps(bench: &mut Bench) {
    let store = &mut *bench.store;
    for n in 1..=5_u64 {
        assert_eq!(
            store.append_event(&event(100 - n.cast_signed())).unwrap(),
            n
        );
    }
    let events = store.events_after(0, 10).unwrap();
    for (n, recorded) in (1_u64..).zip(&events) {
        assert_eq!(
            (recorded.seq, &recorded.event),
            (n, &event(100 - n.cast_signed()))
        );
    }
    assert_eq!(events.len(), 5);
}

pub(crate) fn events_are_read_in_pages(bench: &mut Bench) {
    let store = &mut *bench.store;
    let events: Vec<_> = (0..25).map(event).collect();
    store
        .record_check("fleet", &snapshot(1, &[]), &events)
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let page = store.events_after(seen.len() as u64, 10).unwrap();
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|recorded| recorded.event));
    }
    assert_eq!(seen, events);
    assert_eq!(store.events_after(0, 0).unwrap(), []);
    assert_eq!(store.events_after(u64::MAX, usize::MAX).unwrap(), []);
    assert_eq!(store.events_after(24, usize::MAX).unwrap().len(), 1);
}

pub(crate) fn an_event_of_another_realm_is_refused(bench: &mut Bench) {
    let mut wrong = event(1);
    wrong.realm = Realm::Drill;
    let error = bench.store.append_event(&wrong).unwrap_err();
    assert_eq!(error.kind(), "event-of-other-realm");
    assert_eq!(bench.store.events_after(0, 10).unwrap(), []);
}

fn seqs(store: &dyn Store) -> Vec<u64> {
    let events = store.events_after(0, 100).unwrap();
    events.into_iter().map(|recorded| recorded.seq).collect()
}
