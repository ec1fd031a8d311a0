//! The two paths that must be fast, with made-up rows: reading what a check needs, and importing.
//!
//! `cargo bench -p mailkeep-store` prints one line a case, the best and the median of its rounds.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench owns its files and its output"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use mailkeep_model::{FeedId, FeedKind, FeedStatus, Realm, Timestamp};
use mailkeep_store::{FeedWriter, Space, SqliteStore, Store};

/// Packages with advisories; as many as the Debian tracker has.
const PACKAGES: u32 = 4_000;
/// Vulnerabilities with a score; as many as EPSS has.
const VULNERABILITIES: u32 = 360_000;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") {
        15
    } else {
        1
    };
    let dir = std::env::var_os("MAILKEEP_BENCH_DIR")
        .map_or_else(|| Ok(tempfile::tempdir().unwrap()), tempfile::tempdir_in)
        .unwrap();
    let dir = dir.path();

    measure("open a new state", 1, || {
        SqliteStore::open(dir, Realm::Live).unwrap();
    });
    let import = |feed: &str, packages: bool| {
        let mut store = SqliteStore::open(dir, Realm::Live).unwrap();
        let start = Instant::now();
        if packages {
            import_packages(&mut store, feed);
        } else {
            import_vulnerabilities(&mut store, feed, |n| n);
        }
        let imported = start.elapsed();
        drop(store);
        (imported, start.elapsed())
    };
    let report = |name: &str, runs: Vec<(Duration, Duration)>| {
        print_line(name, runs.iter().map(|run| run.0).collect());
        print_line(
            &format!("  and close ({name})"),
            runs.iter().map(|run| run.1).collect(),
        );
    };
    report(
        "import 4,000 packages, first",
        vec![import("tracker", true)],
    );
    report("import 360,000 scores, first", vec![import("epss", false)]);
    report(
        "import 4,000 packages, again, alone",
        (0..rounds).map(|_| import("tracker", true)).collect(),
    );
    report(
        "import 360,000 scores, again, alone",
        (0..rounds.min(3)).map(|_| import("epss", false)).collect(),
    );
    report(
        "import 360,000 scores, in no order",
        vec![{
            let mut store = SqliteStore::open(dir, Realm::Live).unwrap();
            let start = Instant::now();
            import_vulnerabilities(&mut store, "epss", |n| n * 7_919 % VULNERABILITIES);
            let imported = start.elapsed();
            drop(store);
            (imported, start.elapsed())
        }],
    );
    for feed in ["osv", "csaf", "released"] {
        let mut store = SqliteStore::open(dir, Realm::Live).unwrap();
        import_few(&mut store, feed);
    }
    report(
        "import 4,000 packages, again, of 4 feeds",
        (0..rounds).map(|_| import("tracker", true)).collect(),
    );
    report(
        "import 360,000 scores, again, of 4 feeds",
        (0..rounds.min(3)).map(|_| import("epss", false)).collect(),
    );
    println!(
        "database {} MB",
        std::fs::metadata(dir.join("mailkeep.db")).unwrap().len() / 1_000_000
    );

    for count in [332, 1_200] {
        let keys: Vec<String> = (0..count)
            .map(|n| package(n * (PACKAGES / count)))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        measure(
            &format!("open, read {count} packages, close"),
            rounds * 4,
            || {
                assert!(read(dir, Space::Package, &keys) > 0);
            },
        );
        let keys: Vec<String> = (0..count)
            .map(|n| vulnerability(n * (VULNERABILITIES / count)))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        measure(
            &format!("open, read {count} scores, close"),
            rounds * 4,
            || {
                assert!(read(dir, Space::Vulnerability, &keys) > 0);
            },
        );
    }
    measure("open, close", rounds * 4, || {
        SqliteStore::open(dir, Realm::Live).unwrap();
    });
    measure("open for reading only, close", rounds * 4, || {
        SqliteStore::open_read_only(dir, Realm::Live).unwrap();
    });
    let store = SqliteStore::open(dir, Realm::Live).unwrap();
    measure("read every package row", rounds, || {
        let mut bytes = 0;
        store
            .all_rows(Space::Package, &mut |_, _, body| bytes += body.len())
            .unwrap();
        assert!(bytes > 0);
    });
    measure("check integrity", rounds.min(3), || {
        store.check_integrity().unwrap();
    });
    if let Ok(status) = std::fs::read_to_string("/proc/self/status")
        && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM"))
    {
        println!("{line}");
    }
}

fn read(dir: &Path, space: Space, keys: &[&str]) -> usize {
    let store = SqliteStore::open(dir, Realm::Live).unwrap();
    let mut bytes = 0;
    store
        .rows(space, keys, &mut |_, _, body| bytes += body.len())
        .unwrap();
    bytes
}

fn import_packages(store: &mut SqliteStore, feed: &str) {
    let feed = FeedId::new(feed).unwrap();
    let body: Vec<u8> = (0..5_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    store
        .import_feed(&feed, &mut |writer: &mut dyn FeedWriter| {
            for n in 0..PACKAGES {
                // 1 to 5 KB, spread without a random number generator.
                let len = 1_000 + (n * 2_654_435_761_u32.wrapping_shr(8)) as usize % 4_000;
                writer.put(Space::Package, &package(n), &body[..len])?;
            }
            Ok(status(&feed))
        })
        .unwrap();
}

fn import_few(store: &mut SqliteStore, feed: &str) {
    let feed = FeedId::new(feed).unwrap();
    store
        .import_feed(&feed, &mut |writer: &mut dyn FeedWriter| {
            for n in (0..PACKAGES).step_by(4) {
                writer.put(Space::Package, &package(n), &[1; 500])?;
                writer.put(Space::Vulnerability, &vulnerability(n), &[1; 60])?;
            }
            Ok(status(&feed))
        })
        .unwrap();
}

fn import_vulnerabilities(store: &mut SqliteStore, feed: &str, order: fn(u32) -> u32) {
    let feed = FeedId::new(feed).unwrap();
    store
        .import_feed(&feed, &mut |writer: &mut dyn FeedWriter| {
            for n in 0..VULNERABILITIES {
                writer.put(
                    Space::Vulnerability,
                    &vulnerability(order(n)),
                    &n.to_le_bytes(),
                )?;
            }
            Ok(status(&feed))
        })
        .unwrap();
}

fn package(n: u32) -> String {
    format!("Debian/package-{n:05}")
}

fn vulnerability(n: u32) -> String {
    format!("CVE-{}-{:05}", 2000 + n / 14_000, n % 14_000)
}

fn status(feed: &FeedId) -> FeedStatus {
    FeedStatus {
        id: feed.clone(),
        kind: FeedKind::DebianTracker,
        location: "made up".to_owned(),
        as_of: Timestamp::UNIX_EPOCH,
        imported_at: Timestamp::UNIX_EPOCH,
        stale_after: jiff::SignedDuration::from_hours(48),
        records: 1,
        problems: 0,
        partial: false,
        whole: true,
        covers: vec![],
    }
}

fn measure(name: &str, rounds: usize, mut work: impl FnMut()) {
    let times = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    print_line(name, times);
}

fn print_line(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{name:<58} best {:9.3} ms  median {:9.3} ms",
        ms(times[0]),
        ms(times[times.len() / 2])
    );
}
