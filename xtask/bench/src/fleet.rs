//! `bench fleet`: a fleet in memory, checked whole; and one new advisory against a larger one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mailkeep_matcher::fleet_check::{check_fleet, fleet_keys};
use mailkeep_matcher::fleet_index::{FleetIndex, KeyRange};
use mailkeep_matcher::{FeedView, PackageRows, RowBuilder, statement_key, version};
use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, FeedId, FeedKind, FeedState, OpenState, PackageKind, Statement,
    Status, Voice,
};
use roaring::RoaringBitmap;

use crate::data::Data;
use crate::drawn::{Draw, DrawnFleet, Spec};
use crate::measure::{
    Goal, Runs, head, median, own_peak_kib, row, row_memory, row_time, run as measure, to_f64,
};
use crate::{Options, Outcome, peers};

/// Statements of all feeds together, as the Debian tracker alone has them.
const STATEMENTS: usize = 58_000;

/// What trivy took on a host of 332 packages where these figures were first taken; quoted where it
/// cannot be run.
const TRIVY_QUOTED: Duration = Duration::from_millis(130);

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let drawn = DrawnFleet::new(Spec::default());
    whole_fleet(options, &drawn)?;
    if options.advisory_hosts > 0 {
        one_advisory(options, &drawn);
    }
    Ok(())
}

fn index_of(drawn: &DrawnFleet, hosts: u32) -> FleetIndex {
    let mut packages = Vec::new();
    let mut builder = FleetIndex::builder();
    for host_no in 0..hosts {
        let platform = drawn.host(host_no, &mut packages);
        builder.add_host(host_no, platform, packages.iter().copied());
    }
    builder.build()
}

fn whole_fleet(options: &Options, drawn: &DrawnFleet) -> Outcome<()> {
    let start = Instant::now();
    let index = index_of(drawn, options.hosts);
    let indexed = start.elapsed();
    let counts = index.counts();

    let id = FeedId::new("drawn")?;
    let feeds = [FeedView {
        id: &id,
        kind: FeedKind::DebianTracker,
        state: FeedState::Fresh,
    }];
    let keys = fleet_keys(&index);
    let rows = rows(&statements(drawn)?, &keys);

    let start = Instant::now();
    // Findings of each host, by status: what a table of the fleet is made of.
    let mut by_host = vec![[0_u32; Status::ALL.len()]; options.hosts as usize];
    let totals = check_fleet(
        &index,
        &keys,
        &rows,
        &feeds,
        false,
        &mut |verdict, hosts| {
            let status = verdict.status as usize;
            for host in hosts {
                if let Some(cell) = by_host
                    .get_mut(host as usize)
                    .and_then(|row| row.get_mut(status))
                {
                    *cell += 1;
                }
            }
        },
    )?;
    let checked = start.elapsed();
    let told: u64 = by_host.iter().flatten().map(|n| u64::from(*n)).sum();
    if told != totals.findings {
        return Err(format!("{told} findings told, {} counted", totals.findings).into());
    }
    let peak = own_peak_kib();

    println!(
        "{} hosts, {} installed packages in {} versions, {STATEMENTS} statements: {} findings",
        counts.hosts, counts.installed, counts.versions, totals.findings
    );
    let (name, trivy) = trivy(options);
    let each = |time: Duration| time.div_f64(f64::from(options.hosts.max(1)));
    head(&format!("a fleet of {} hosts checked whole", options.hosts));
    row_time(
        "indexing it, and drawing the hosts",
        indexed,
        None,
        Goal::None,
    );
    row_time("checking it", checked, None, Goal::None);
    let whole = each(indexed + checked);
    row_time(
        "both, for each host",
        whole,
        Some((&name, trivy)),
        Goal::Ratio(0.001),
    );
    row_time(
        "checking alone, for each host",
        each(checked),
        Some((&name, trivy)),
        Goal::None,
    );
    let most = Goal::Kib(1536 * 1024);
    row_memory("peak memory of the process", peak, None, most);
    Ok(())
}

/// trivy's time on one host, measured now where it can be.
fn trivy(options: &Options) -> (String, Duration) {
    let measured = || -> Outcome<Duration> {
        let data = Data::prepare(options)?;
        let host = data.hosts.first().ok_or("no host")?;
        let command = peers::trivy(options, data.trivy.as_deref(), host)?;
        let mut runs = Runs::default();
        for _ in 0..options.runs.min(5) {
            runs.push(measure(&command, &data.at("out"))?);
        }
        Ok(runs.time())
    };
    match measured() {
        Ok(time) => ("trivy, one host".to_owned(), time),
        Err(why) => {
            row(
                "",
                "",
                Some(&why.to_string()),
                None,
                "the next figure of trivy is quoted",
            );
            ("trivy, quoted".to_owned(), TRIVY_QUOTED)
        }
    }
}

/// Statements about the packages of the archives: most are fixed everywhere, as most of a tracker's
/// are, some in one of the updates, some not at all.
fn statements(drawn: &DrawnFleet) -> Outcome<Vec<Statement>> {
    let mut draw = Draw(7);
    let packages: Vec<_> = drawn
        .archives()
        .iter()
        .flat_map(|archive| archive.packages.iter().map(|p| (&archive.platform, p)))
        .collect();
    let mut said = Vec::with_capacity(STATEMENTS);
    for n in 0..STATEMENTS {
        let Some((platform, package)) = packages.get(draw.below(packages.len())) else {
            continue;
        };
        let some = draw.below(package.versions.len());
        let fixed_in = |n: usize| ClaimKind::FixedIn {
            version: package.versions.get(n).map_or("0", |(_, v)| v).into(),
        };
        let kind = match draw.below(10) {
            0..=5 => fixed_in(0),
            6 => fixed_in(some),
            7 => ClaimKind::NotAffected,
            8 => ClaimKind::Open {
                state: OpenState::Minor,
            },
            _ => ClaimKind::Open {
                state: OpenState::Open,
            },
        };
        said.push(Statement {
            advisory: AdvisoryId::new(format!("CVE-{}-{}", 2005 + n % 20, 10_000 + n))?,
            aliases: Vec::new(),
            ecosystem: platform.ecosystem.clone(),
            package: package.name.as_str().into(),
            package_kind: PackageKind::Source,
            module: None,
            voice: Voice::Distributor,
            title: "drawn, to be measured".into(),
            cvss: None,
            claims: vec![Claim {
                release: Some(platform.release.clone()),
                kind,
                urgency: None,
                note: None,
                in_repository: None,
            }],
        });
    }
    said.sort_by_cached_key(statement_key);
    Ok(said)
}

fn rows(said: &[Statement], keys: &[String]) -> PackageRows {
    let mut rows = PackageRows::new();
    for of_package in said.chunk_by(|a, b| statement_key(a) == statement_key(b)) {
        let Some(Ok(number)) = of_package
            .first()
            .map(|first| keys.binary_search(&statement_key(first)))
        else {
            continue;
        };
        rows.push(number, 0, &RowBuilder::body_of(of_package));
    }
    rows
}

/// One answer of the index: how many hosts, and how long it took.
struct Asked {
    affected: u64,
    time: Duration,
    name: String,
}

fn one_advisory(options: &Options, drawn: &DrawnFleet) {
    let index = index_of(drawn, options.advisory_hosts);
    let mut asked = Vec::new();
    for archive in drawn.archives() {
        let scheme = archive.platform.ecosystem.version_scheme();
        for package in &archive.packages {
            // The worst case: what is fixed only now, so that nobody has it yet.
            let fixed = package
                .versions
                .last()
                .and_then(|(_, newest)| version::key(scheme, &format!("{newest}+new")).ok());
            let range = [KeyRange {
                from: None,
                below: fixed,
            }];
            let mut affected = RoaringBitmap::new();
            let times = (0..5).map(|_| {
                let start = Instant::now();
                affected = black_box(index.affected(&archive.platform, &package.name, &range));
                start.elapsed()
            });
            let time = median(times.collect());
            asked.push(Asked {
                affected: affected.len(),
                time,
                name: format!("{} {}", archive.platform, package.name),
            });
        }
    }
    asked.sort_by_key(|a| (std::cmp::Reverse(a.affected), a.time));
    let most = Goal::Time(Duration::from_millis(2));
    head(&format!(
        "one new advisory against {} hosts",
        options.advisory_hosts
    ));
    let mut last = u64::MAX;
    for asked in asked.iter().filter(|a| a.affected > 0) {
        if asked.affected > last / 4 {
            continue;
        }
        last = asked.affected;
        let per_host = asked.time.as_secs_f64() * 1e9 / to_f64(asked.affected);
        let note = format!("{per_host:.2} ns a host; {}", asked.name);
        let case = format!("{} hosts affected", asked.affected);
        row_time(&case, asked.time, None, Goal::None);
        row("", "", Some(&note), None, "");
    }
    if let Some(widest) = asked.first() {
        let floor = scan(options.advisory_hosts, widest.affected);
        let told = Some(("a loop over the hosts", floor));
        row_time("the widest, against a loop", widest.time, told, Goal::None);
    }
    let slowest = asked.iter().map(|a| a.time).max().unwrap_or_default();
    row_time(&format!("slowest of {}", asked.len()), slowest, None, most);
    let middle = median(asked.iter().map(|a| a.time).collect());
    row_time(&format!("median of {}", asked.len()), middle, None, most);
    row_memory(
        "peak memory of the process",
        own_peak_kib(),
        None,
        Goal::None,
    );
}

/// The least that a search without an index does: looks at a number of each host, and notes those
/// that are affected.
fn scan(hosts: u32, affected: u64) -> Duration {
    let every = (u64::from(hosts) / affected.max(1)).max(1);
    let versions: Vec<u16> = (0..u64::from(hosts))
        .map(|host| if host % every == 0 { 3 } else { 9 })
        .collect();
    crate::measure::timed(5, || {
        let found = versions
            .iter()
            .zip(0_u32..)
            .filter(|(v, _)| **v < black_box(5));
        found.map(|(_, host)| host).collect::<Vec<u32>>()
    })
}
