//! Measures the fleet index: `cargo run --release -p mailkeep-matcher --example fleet_bench --
//! [HOSTS [PACKAGES]]` (default 100,000 hosts of 600 packages). One row a case.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "reads its own peak memory from /proc"
)]

mod fleet;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fleet::{DrawnFleet, Spec};
use mailkeep_matcher::fleet_index::{FleetIndex, KeyRange};
use mailkeep_matcher::version;
use mailkeep_model::VersionScheme;
use roaring::RoaringBitmap;

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|a| a.parse().ok());
    let hosts = arguments.next().unwrap_or(100_000);
    let packages_per_host = arguments.next().unwrap_or(600) as usize;
    let drawn = DrawnFleet::new(Spec {
        packages_per_host,
        ..Spec::default()
    });

    measure_keys(&drawn);

    let mut packages = Vec::new();
    let start = Instant::now();
    for host_no in 0..hosts {
        black_box(drawn.host(host_no, &mut packages));
        // Reads each text, as the index must: drawing alone only points to them.
        for (name, version) in &packages {
            black_box(name.bytes().chain(version.bytes()).fold(0, |a, b| a ^ b));
        }
    }
    row("drawing and reading hosts", start.elapsed(), "");

    let start = Instant::now();
    let mut builder = FleetIndex::builder();
    for host_no in 0..hosts {
        let platform = drawn.host(host_no, &mut packages);
        builder.add_host(host_no, platform, packages.iter().copied());
    }
    row("drawing and adding hosts", start.elapsed(), "");
    let start = Instant::now();
    let index = builder.build();
    let counts = index.counts();
    row("build", start.elapsed(), &format!("{counts:?}"));
    println!(
        "index {} MiB, peak of the process {} MiB",
        index.memory_estimate() >> 20,
        peak_kib() >> 10
    );

    // One advisory: every version below the newest one, for packages carried by ever fewer hosts.
    let mut cases: Vec<(u64, Duration, String)> = Vec::new();
    let (mut all, mut queries, mut slowest) = (Duration::ZERO, 0_u32, Duration::ZERO);
    for archive in drawn.archives() {
        let scheme = archive.platform.ecosystem.version_scheme();
        for package in &archive.packages {
            let Some((_, fixed)) = package.versions.last() else {
                continue;
            };
            let range = [KeyRange {
                from: None,
                below: version::key(scheme, fixed).ok(),
            }];
            let name = format!("{} {}", archive.platform, package.name);
            let (mut affected, mut took) = (RoaringBitmap::new(), Duration::MAX);
            // The best of five: the machine may do something else meanwhile.
            for _ in 0..5 {
                let start = Instant::now();
                affected = index.affected(&archive.platform, &package.name, &range);
                took = took.min(start.elapsed());
            }
            all += took;
            queries += 1;
            slowest = slowest.max(took);
            cases.push((affected.len(), took, name));
        }
    }
    cases.sort_unstable();
    let mut last = 0;
    for (affected, took, name) in cases.iter().rev() {
        if last == 0 || *affected < last / 4 {
            row("one advisory", *took, &format!("{affected} hosts, {name}"));
            last = *affected;
        }
        if *affected == 0 {
            break;
        }
    }
    row("slowest advisory", slowest, "");
    row(
        "mean advisory",
        all / queries.max(1),
        &format!("of {queries}"),
    );
    for archive in drawn.archives() {
        let start = Instant::now();
        let affected = index.affected(&archive.platform, "openssl", &[KeyRange::ALL]);
        let took = start.elapsed();
        let note = format!("{} hosts, {} openssl", affected.len(), archive.platform);
        row("a package everyone has", took, &note);
    }

    let start = Instant::now();
    let (mut judged, mut expanded) = (0_u64, 0_u64);
    for platform in index.platforms() {
        for package in index.packages(platform) {
            for carriers in index.carriers(platform, package) {
                judged += 1;
                expanded += black_box(&carriers.hosts).len();
            }
        }
    }
    row(
        "walk of all versions",
        start.elapsed(),
        &format!("{judged} judgements for {expanded} installed packages"),
    );
}

/// Time of a key, without and with its own allocation.
fn measure_keys(drawn: &DrawnFleet) {
    for scheme in [VersionScheme::Dpkg, VersionScheme::Rpm] {
        let versions: Vec<&str> = drawn
            .archives()
            .iter()
            .filter(|archive| archive.platform.ecosystem.version_scheme() == scheme)
            .flat_map(|archive| &archive.packages)
            .flat_map(|package| package.versions.iter().map(|(_, version)| &**version))
            .collect();
        let mut out = Vec::new();
        let start = Instant::now();
        let mut count = 0_u32;
        while count < 2_000_000 {
            for version in &versions {
                out.clear();
                black_box(version::write_key(scheme, version, &mut out).is_ok());
                count += 1;
            }
        }
        row(
            "write_key",
            start.elapsed() / count,
            &format!("{scheme:?}, like {:?}", versions.first()),
        );
        let start = Instant::now();
        for version in &versions {
            black_box(version::key(scheme, version).is_ok());
        }
        let count = u32::try_from(versions.len()).unwrap_or(u32::MAX);
        row(
            "key",
            start.elapsed() / count.max(1),
            &format!("{scheme:?}"),
        );
    }
}

fn row(case: &str, took: Duration, note: &str) {
    println!("{case:<28} {took:>12.3?}  {note}");
}

/// `VmHWM` of /proc/self/status, 0 where there is none.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
