//! From findings to work: for each host which binary packages move, from which exact version to which,
//! and why a host with findings has nothing that can be done.
//!
//! Entry type: [`work_from`].
//!
//! **Invariant:** pure; it compares no versions itself, since their order is the patch filter's: the
//! caller hands it in.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    AdvisoryId, Exposure, Finding, Fleet, Host, HostFacts, HostName, InstalledPackage, Lane,
    Lifecycle, NotPlanned, NotPlannedReason, PackageChange, Platform, Severity, Status, Timestamp,
    VersionScheme, mail_roles_of_port,
};

use crate::request::HostWork;

/// How two versions stand to each other, in an order of versions. What cannot be compared is equal.
pub type VersionOrder<'a> = dyn Fn(VersionScheme, &str, &str) -> Ordering + 'a;

/// What is to be done on each running host that has findings, sorted by host, and the hosts for which
/// nothing can be done, with the reason.
///
/// All binary packages of an affected source that are installed on a host move together, each from its
/// installed version to what the host's own package manager would install; where only a restart is due,
/// from a version to itself. Where candidates were not seen, a fix is taken by the version that the
/// distributor names, if binary and source package share their version.
///
/// Only `fix-available` and `restart-pending` findings make work. A host without any gets its reason:
/// `no-candidate` before `no-fix` before `needs-person` before `mitigated`. A host on which Dovecot would go from 2.3 to
/// 2.4 needs a person as a whole: such a candidate means that another release's repository is in
/// use, and the configuration of 2.3 does not work on 2.4.
///
/// The caller chooses which findings count (a bulletin, a lane, mail software only). Each work item has
/// no recipe and no minutes of its own; the caller adds these.
pub fn work_from(
    fleet: &Fleet,
    findings: &[Finding],
    facts: &BTreeMap<HostName, &HostFacts>,
    now: Timestamp,
    order: &VersionOrder<'_>,
) -> (Vec<HostWork>, Vec<NotPlanned>) {
    let mut by_host: BTreeMap<&HostName, Vec<&Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|f| f.verdict.status.is_finding()) {
        by_host.entry(&finding.host).or_default().push(finding);
    }
    let mut work = Vec::new();
    let mut left_out = Vec::new();
    for (name, findings) in by_host {
        let Some(host) = fleet.hosts.get(name) else {
            continue;
        };
        if host.lifecycle != Lifecycle::Running {
            continue;
        }
        match host_work(
            fleet,
            name,
            host,
            &findings,
            facts.get(name).copied(),
            now,
            order,
        ) {
            Ok(item) => work.push(item),
            Err(reason) => left_out.push(NotPlanned {
                host: name.clone(),
                reason,
            }),
        }
    }
    (work, left_out)
}

/// Weight of a minute of exposure by one finding, at least 1:
///
/// | severity | weight | times |
/// |---|---|---|
/// | critical | 8 | 4 if it is known to be exploited |
/// | high | 4 | 4 if it is in the emergency lane |
/// | medium | 2 | 2 unless strangers cannot reach the host |
/// | low, none, unknown | 1 | |
///
/// A host's weight is that of its worst finding: two holes in one daemon are closed by one step.
pub fn risk_of(finding: &Finding, exposure: Exposure) -> u32 {
    let severity = match finding.severity {
        Severity::Unknown | Severity::None | Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 4,
        Severity::Critical => 8,
    };
    let exploited = if finding.kev { 4 } else { 1 };
    let urgent = if finding.lane == Some(Lane::Emergency) {
        4
    } else {
        1
    };
    let reachable = match exposure {
        Exposure::Internal => 1,
        Exposure::Exposed | Exposure::Unknown => 2,
    };
    severity * exploited * urgent * reachable
}

fn host_work(
    fleet: &Fleet,
    name: &HostName,
    host: &Host,
    findings: &[&Finding],
    facts: Option<&HostFacts>,
    now: Timestamp,
    order: &VersionOrder<'_>,
) -> Result<HostWork, NotPlannedReason> {
    let facts = facts.ok_or(NotPlannedReason::FactsMissing)?;
    let max_age = fleet.facts_max_age.unwrap_or(Fleet::DEFAULT_FACTS_MAX_AGE);
    if now.duration_since(facts.seen_at) > max_age {
        return Err(NotPlannedReason::FactsTooOld {
            seen_at: facts.seen_at,
        });
    }
    let mut sources: BTreeMap<(&Platform, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let verdict = &finding.verdict;
        sources
            .entry((&verdict.platform, &*verdict.package))
            .or_default()
            .push(finding);
    }
    let mut changes: BTreeMap<String, PackageChange> = BTreeMap::new();
    let mut closed: Vec<&Finding> = Vec::new();
    let mut obstacles: BTreeSet<Obstacle> = BTreeSet::new();
    for ((platform, source), findings) in &sources {
        let scheme = platform.ecosystem.version_scheme();
        let moved = moves(facts, source, findings, &|a, b| order(scheme, a, b));
        let mut reasons = moved.iter();
        if let Some(why) = reasons.find_map(|change| needs_person(source, &change.from, &change.to))
        {
            return Err(NotPlannedReason::NeedsPerson { why });
        }
        for finding in findings {
            let status = finding.verdict.status;
            let is_closed = match status {
                Status::FixAvailable => moved.iter().any(|change| change.from != change.to),
                Status::RestartPending => !moved.is_empty(),
                Status::Fixed
                | Status::FixPublished
                | Status::Mitigated
                | Status::NoFix
                | Status::NotAffected
                | Status::Unknown
                | Status::WillNotFix => false,
            };
            if is_closed {
                closed.push(finding);
            } else if let Some(obstacle) = obstacle(finding, source) {
                obstacles.insert(obstacle);
            }
        }
        changes.extend(
            moved
                .into_iter()
                .map(|change| (change.name.clone(), change)),
        );
    }
    if closed.is_empty() || changes.is_empty() {
        return Err(obstacles.into_iter().next().map_or_else(
            || NotPlannedReason::NeedsPerson {
                why: "its findings name no installed package".to_owned(),
            },
            |obstacle| obstacle.reason,
        ));
    }
    let mut work = item(fleet, name, host, facts, &closed);
    work.packages = changes.into_values().collect();
    work.closes = closed.iter().map(|f| f.verdict.advisory.clone()).collect();
    Ok(work)
}

/// Work on one host that installs nothing: mitigations of a recipe stand in for fixes that nobody has.
/// `findings` are those of the host that they stand in for, each with the name by which the recipe knows
/// its advisory; `None` where no package of theirs is installed.
pub fn mitigation(
    fleet: &Fleet,
    facts: &HostFacts,
    findings: &[(&Finding, &AdvisoryId)],
) -> Option<HostWork> {
    let host = fleet.hosts.get(&facts.host)?;
    if host.lifecycle != Lifecycle::Running {
        return None;
    }
    let affected: Vec<&Finding> = findings.iter().map(|(finding, _)| *finding).collect();
    let mut work = item(fleet, &facts.host, host, facts, &affected);
    // Of two architectures of a package one stands for both, as where packages move.
    let installed: BTreeMap<&str, &InstalledPackage> = facts
        .packages
        .iter()
        .rev()
        .filter(|p| p.ecosystem.is_none())
        .filter(|p| affected.iter().any(|f| f.verdict.package == p.source))
        .map(|p| (&*p.name, p))
        .collect();
    work.packages = installed
        .into_iter()
        .map(|(name, package)| PackageChange {
            name: name.to_owned(),
            from: package.version.to_string(),
            to: package.version.to_string(),
        })
        .collect();
    work.mitigates = findings
        .iter()
        .map(|(finding, named)| ((*named).clone(), finding.verdict.package.to_string()))
        .collect();
    (!work.packages.is_empty() && !work.mitigates.is_empty()).then_some(work)
}

/// What is known of work on a host before it is said what changes.
fn item(
    fleet: &Fleet,
    name: &HostName,
    host: &Host,
    facts: &HostFacts,
    findings: &[&Finding],
) -> HostWork {
    let exposure = fleet.exposure_of(host);
    HostWork {
        host: name.clone(),
        family: host
            .family
            .clone()
            .unwrap_or_else(|| family_of(facts, findings)),
        platform: platform_of(facts, findings),
        packages: Vec::new(),
        recipe: None,
        closes: BTreeSet::new(),
        mitigates: BTreeMap::new(),
        risk: findings
            .iter()
            .map(|f| risk_of(f, exposure))
            .max()
            .unwrap_or(1),
        deadline: findings.iter().filter_map(|f| f.deadline).min(),
        facts_as_of: facts.seen_at,
        minutes: None,
        ports: facts
            .listeners
            .items()
            .iter()
            .filter(|l| !l.is_loopback() && !mail_roles_of_port(l.port).is_empty())
            .map(|l| l.port)
            .collect(),
    }
}

/// Why a finding makes no work; the first in order speaks for a host that has no work at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Obstacle {
    rank: u8,
    reason: NotPlannedReason,
}

fn obstacle(finding: &Finding, source: &str) -> Option<Obstacle> {
    let package = source.to_owned();
    let (rank, reason) = match finding.verdict.status {
        Status::FixAvailable | Status::FixPublished => {
            (0, NotPlannedReason::NoCandidate { package })
        }
        Status::NoFix | Status::WillNotFix => (1, NotPlannedReason::NoFix { package }),
        Status::Mitigated => (4, NotPlannedReason::Mitigated { package }),
        Status::RestartPending => {
            let why = format!("old code of {source} runs, and none of its packages is installed");
            (2, NotPlannedReason::NeedsPerson { why })
        }
        Status::Unknown => {
            let unknown = finding
                .verdict
                .evidence
                .unknown
                .map_or("no reason kept", |u| u.name());
            let why = format!("it is not known whether {source} is affected: {unknown}");
            (3, NotPlannedReason::NeedsPerson { why })
        }
        Status::Fixed | Status::NotAffected => return None,
    };
    Some(Obstacle { rank, reason })
}

/// What moves for one source package.
fn moves(
    facts: &HostFacts,
    source: &str,
    findings: &[&Finding],
    order: &dyn Fn(&str, &str) -> Ordering,
) -> Vec<PackageChange> {
    let is_wanted = |status| findings.iter().any(|f| f.verdict.status == status);
    let (upgrade, restart) = (
        is_wanted(Status::FixAvailable),
        is_wanted(Status::RestartPending),
    );
    if !upgrade && !restart {
        return Vec::new();
    }
    // Of two architectures of a package one stands for both: package managers keep them in step.
    let installed: BTreeMap<&str, &InstalledPackage> = facts
        .packages
        .iter()
        .rev()
        .filter(|p| *p.source == *source && p.ecosystem.is_none())
        .map(|p| (&*p.name, p))
        .collect();
    let fixed = findings
        .iter()
        .filter(|f| f.verdict.status == Status::FixAvailable)
        .filter_map(|f| f.verdict.fixed.as_deref())
        .max_by(|a, b| order(a, b));
    let mut changes = Vec::new();
    for (name, package) in installed {
        let from = &*package.version;
        let to = if upgrade {
            target(facts, package, fixed, order)
        } else {
            None
        };
        let to = match to {
            Some(to) => to,
            None if restart => from,
            None => continue,
        };
        changes.push(PackageChange {
            name: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }
    // Where a newer build comes, the ones that stay need no mention.
    if changes.iter().any(|change| change.from != change.to) {
        changes.retain(|change| change.from != change.to);
    }
    changes
}

/// The newer version that an installed package would get.
fn target<'a>(
    facts: &'a HostFacts,
    package: &InstalledPackage,
    fixed: Option<&'a str>,
    order: &dyn Fn(&str, &str) -> Ordering,
) -> Option<&'a str> {
    let offered = facts
        .candidates
        .items()
        .iter()
        .find(|c| c.package == package.name)
        .map(|c| &*c.version);
    let unseen = || fixed.filter(|_| package.version == package.source_version);
    let to = offered.or_else(unseen)?;
    (order(to, &package.version) == Ordering::Greater).then_some(to)
}

/// Why a change of a source package is for a person: Dovecot's configuration is not the same before and
/// after 2.4.
pub fn needs_person(source: &str, from: &str, to: &str) -> Option<String> {
    let crosses = matches!(
        (major_minor(from), major_minor(to)),
        (Some(from), Some(to)) if from < (2, 4) && to >= (2, 4)
    );
    (source == "dovecot" && crosses).then(|| {
        format!("Dovecot goes from {from} to {to}: the configuration of 2.3 does not work on 2.4")
    })
}

/// The first two numbers of a version, its epoch left out.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let mut parts = upstream.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Product families by the source packages that make a host one, the more telling first: what accepts
/// mail for others decides how a host is drained.
const FAMILIES: &[(&str, &[&str])] = &[
    ("exchange", &["exchange"]),
    ("stalwart", &["stalwart", "stalwart-mail"]),
    ("postfix", &["postfix"]),
    ("exim", &["exim", "exim4"]),
    ("sendmail", &["sendmail"]),
    ("opensmtpd", &["opensmtpd"]),
    ("cyrus", &["cyrus-imapd"]),
    ("dovecot", &["dovecot"]),
];

/// The product family of a host by what was seen on it: of the mail servers that run, else of those
/// installed.
pub fn family_seen(facts: &HostFacts) -> Option<String> {
    let source_of: BTreeMap<&str, &str> = facts
        .packages
        .iter()
        .map(|p| (&*p.name, &*p.source))
        .collect();
    let running: BTreeSet<&str> = facts
        .processes
        .items()
        .iter()
        .filter_map(|process| process.package.as_deref())
        .map(|package| source_of.get(package).copied().unwrap_or(package))
        .collect();
    let installed: BTreeSet<&str> = source_of.values().copied().collect();
    let known = |found: &BTreeSet<&str>| {
        let family = FAMILIES
            .iter()
            .find(|(_, sources)| sources.iter().any(|s| found.contains(s)));
        family.map(|(family, _)| (*family).to_owned())
    };
    known(&running).or_else(|| known(&installed))
}

/// The same, else what is to be changed.
fn family_of(facts: &HostFacts, closed: &[&Finding]) -> String {
    family_seen(facts)
        .or_else(|| closed.first().map(|f| f.verdict.package.to_string()))
        .unwrap_or_default()
}

fn platform_of(facts: &HostFacts, closed: &[&Finding]) -> String {
    let platform = facts.platform.as_ref();
    let platform = platform.or_else(|| closed.first().map(|f| &f.verdict.platform));
    platform.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests;
