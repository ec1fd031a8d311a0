//! Facts and failed scans.

use mailkeep_model::{
    FactsSource, HostFacts, InstalledPackage, OsRelease, ScanFailure, ScanFailureKind, Seen,
};

use super::{Bench, at, host};

pub(crate) fn facts(name: &str, second: i64) -> HostFacts {
    HostFacts {
        host: host(name),
        seen_at: at(second),
        source: FactsSource::Ssh,
        os: OsRelease {
            id: "debian".to_owned(),
            version_id: Some("12".to_owned()),
            ..OsRelease::default()
        },
        platform: None,
        packages: vec![InstalledPackage {
            name: "exim4-daemon-light".into(),
            version: "4.96-15+deb12u5".into(),
            arch: "amd64".into(),
            source: "exim4".into(),
            source_version: "4.96-15+deb12u5".into(),
            ecosystem: None,
            module: None,
            vendor: None,
            depends: vec!["libc6".into()],
            provides: vec![],
        }],
        processes: Seen::Partly(vec![]),
        listeners: Seen::Yes(vec![]),
        candidates: Seen::No,
        limitations: vec![],
    }
}

fn failure(second: i64) -> ScanFailure {
    ScanFailure {
        kind: ScanFailureKind::TimedOut,
        detail: "no answer within 30 s".to_owned(),
        at: at(second),
    }
}

pub(crate) fn facts_come_back_as_they_were(bench: &mut Bench) {
    let store = &mut *bench.store;
    for second in [10, 20, 30, 25] {
        store.record_facts(&facts("mx1", second)).unwrap();
        store.record_facts(&facts("mx2", second + 1)).unwrap();
        let scan = store.scan_of(&host("mx1")).unwrap();
        assert_eq!(
            scan.facts,
            Some(facts("mx1", second)),
            "what came last counts"
        );
        assert_eq!(scan.failure, None);
    }
    let scan = store.scan_of(&host("mx2")).unwrap();
    assert_eq!(scan.facts, Some(facts("mx2", 26)));
}

pub(crate) fn a_failed_scan_keeps_the_facts(bench: &mut Bench) {
    let store = &mut *bench.store;
    store.record_facts(&facts("mx1", 10)).unwrap();
    store
        .record_scan_failure(&host("mx1"), &failure(20))
        .unwrap();
    store
        .record_scan_failure(&host("mx1"), &failure(30))
        .unwrap();
    let scan = store.scan_of(&host("mx1")).unwrap();
    assert_eq!(scan.facts, Some(facts("mx1", 10)));
    assert_eq!(scan.failure, Some(failure(30)));
}

pub(crate) fn new_facts_clear_a_failure(bench: &mut Bench) {
    let store = &mut *bench.store;
    store
        .record_scan_failure(&host("mx1"), &failure(20))
        .unwrap();
    store.record_facts(&facts("mx1", 30)).unwrap();
    let scan = store.scan_of(&host("mx1")).unwrap();
    assert_eq!((scan.facts, scan.failure), (Some(facts("mx1", 30)), None));
}

pub(crate) fn a_host_that_never_answered_is_known(bench: &mut Bench) {
    let store = &mut *bench.store;
    store
        .record_scan_failure(&host("mx9"), &failure(20))
        .unwrap();
    let scan = store.scan_of(&host("mx9")).unwrap();
    assert_eq!((scan.facts, scan.failure), (None, Some(failure(20))));
    assert_eq!(store.scanned_hosts().unwrap(), [host("mx9")]);
}

pub(crate) fn hosts_are_listed_by_name(bench: &mut Bench) {
    let store = &mut *bench.store;
    for name in ["mx2", "mx10", "mx1", "mx2"] {
        store.record_facts(&facts(name, 1)).unwrap();
    }
    let hosts = store.scanned_hosts().unwrap();
    assert_eq!(hosts, [host("mx1"), host("mx10"), host("mx2")]);
}
