//! What applying candidates would change on one server, put together from what its package manager
//! simulates, what is known of it, the fleet file, and what earlier rollouts took.
//!
//! Entry: [`assess`]. Pure: the command does the asking.

pub mod foreseen;
pub mod history;
pub mod html;
pub mod text;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use mailkeep_facts::impact::{ChangeEntry, ImpactReport, OfferedPackage};
use mailkeep_model::{
    AdvisoryId, Finding, Fleet, HostFacts, HostName, InstalledPackage, Lifecycle, RegionName,
    ServiceName, Status, Surface, Timestamp, VersionScheme, is_mail_software,
};
use serde::Serialize;

pub use history::Interruption;

/// What applying candidates would change on one server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Impact {
    /// The server.
    pub host: HostName,
    /// When it was asked.
    pub at: Timestamp,
    /// What would be upgraded on purpose.
    pub packages: Vec<PackageImpact>,
    /// What else would be upgraded or newly installed with it.
    pub pulled_in: Vec<PulledIn>,
    /// What would be removed: `name version`.
    pub removed: Vec<String>,
    /// Why the package manager would refuse.
    pub refusals: Vec<String>,
    /// Mail processes that would run old code until they are restarted.
    pub processes: Vec<ProcessImpact>,
    /// Services it carries, with what is left of them meanwhile.
    pub services: Vec<ServiceImpact>,
    /// How long it is expected to be out of service.
    pub interruption: Interruption,
    /// What a person should look at before agreeing; empty where nothing speaks against it.
    pub cautions: Vec<Caution>,
    /// What could not be seen.
    pub limitations: Vec<String>,
}

/// One package to be upgraded on purpose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackageImpact {
    /// Binary package.
    pub name: String,
    /// Source package.
    pub source: String,
    /// Installed version.
    pub from: String,
    /// Version offered.
    pub to: String,
    /// Whether an administrator has put it on hold.
    pub held: bool,
    /// Vulnerabilities that the change closes, by its changelog or by the findings of this server.
    pub closes: BTreeSet<AdvisoryId>,
    /// Changelog entries between the two versions, newest first.
    pub changelog: Vec<Entry>,
    /// News between the two versions, newest first: what asks for attention.
    pub news: Vec<Entry>,
    /// Configuration files that were changed on this server.
    pub configuration: Vec<ConfigurationImpact>,
    /// What its maintainer scripts do to services: `postinst restart exim4`.
    pub service_actions: Vec<String>,
}

/// An entry of a changelog or of the news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Version of the source package.
    pub version: String,
    /// Its lines.
    pub lines: Vec<String>,
}

/// A configuration file changed on this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigurationImpact {
    /// Path.
    pub path: String,
    /// What becomes of it.
    pub outcome: ConfigurationOutcome,
}

/// What becomes of a configuration file that was changed on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigurationOutcome {
    /// The candidate changes it, too: the package manager would ask; Mailkeep keeps the server's.
    Conflict,
    /// The candidate leaves it as it was: the server's stays.
    Kept,
    /// Kept by ucf(1), which compares only at installation: it may ask.
    MayAsk,
}

/// A package that comes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledIn {
    /// Binary package.
    pub name: String,
    /// Installed version; `null` is new on this server.
    pub from: Option<String>,
    /// Version to come.
    pub to: String,
}

/// A mail process that maps files of what changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessImpact {
    /// Its name.
    pub name: String,
    /// How many processes have it.
    pub count: usize,
    /// The changed packages whose code they run.
    pub packages: Vec<String>,
}

/// A service the server carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceImpact {
    /// Service.
    pub service: ServiceName,
    /// Region.
    pub region: Option<RegionName>,
    /// Servers of it in service in the region, this one included where it is.
    pub in_service: usize,
    /// Servers left while this one is out.
    pub left: usize,
    /// Servers that must stay; `null` where the fleet file does not say.
    pub minimum: Option<u32>,
}

impl ServiceImpact {
    /// Whether it would fall below its minimum.
    pub fn is_below_minimum(&self) -> bool {
        self.minimum
            .is_some_and(|minimum| self.left < usize::try_from(minimum).unwrap_or(usize::MAX))
    }
}

/// What a person should look at. Names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Caution {
    /// A service would fall below its minimum.
    BelowMinimum {
        /// Which.
        service: ServiceName,
    },
    /// Configuration changed on both sides.
    ConfigurationConflict {
        /// Which file.
        path: String,
    },
    /// An administrator has put a package on hold.
    Held {
        /// Which.
        package: String,
    },
    /// A release whose configuration is not compatible with the installed one's.
    NeedsPerson {
        /// Why.
        why: String,
    },
    /// The news ask for attention.
    News {
        /// Of which package.
        package: String,
    },
    /// The package manager would refuse.
    Refused {
        /// What it says.
        says: String,
    },
    /// Packages would be removed.
    Removes {
        /// Which.
        package: String,
    },
}

/// The newer versions on offer for packages of a host, with their names, sorted.
pub fn offers(
    facts: &HostFacts,
    is_wanted: impl Fn(&InstalledPackage) -> bool,
) -> BTreeSet<(String, String)> {
    let scheme = facts
        .platform
        .as_ref()
        .map_or(VersionScheme::Dpkg, |platform| {
            platform.ecosystem.version_scheme()
        });
    let candidates: BTreeMap<&str, &str> = facts
        .candidates
        .items()
        .iter()
        .map(|candidate| (&*candidate.package, &*candidate.version))
        .collect();
    let offered = |package: &InstalledPackage| {
        let version = *candidates.get(&*package.name)?;
        mailkeep_matcher::version::compare(scheme, version, &package.version)
            .is_ok_and(|order| order == Ordering::Greater)
            .then(|| (package.name.to_string(), version.to_owned()))
    };
    let wanted = facts.packages.iter().filter(|package| is_wanted(package));
    wanted.filter_map(offered).collect()
}

/// Whether a finding is one on mail software that the candidate closes.
pub fn is_fixable(finding: &Finding) -> bool {
    finding.verdict.status == Status::FixAvailable
        && (finding.verdict.surface == Surface::Mail || is_mail_software(&finding.verdict.package))
}

/// All that is known.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// "Now".
    pub now: Timestamp,
    /// The declared fleet.
    pub fleet: &'a Fleet,
    /// What was seen of the server.
    pub facts: &'a HostFacts,
    /// Its findings.
    pub findings: &'a [Finding],
    /// What its package manager would do.
    pub report: &'a ImpactReport,
    /// How long servers like it were out of service before.
    pub interruption: &'a Interruption,
    /// Servers known not to be in service: they carry nothing meanwhile.
    pub out_of_service: &'a BTreeSet<HostName>,
}

/// Puts it together.
pub fn assess(known: Known<'_>) -> Impact {
    let scheme = known
        .facts
        .platform
        .as_ref()
        .map_or(VersionScheme::Dpkg, |platform| {
            platform.ecosystem.version_scheme()
        });
    let wanted: BTreeSet<&str> = known.report.packages.iter().map(|p| &*p.name).collect();
    let packages: Vec<PackageImpact> = known
        .report
        .packages
        .iter()
        .map(|offered| package_impact(offered, known, scheme))
        .collect();
    let pulled_in = known
        .report
        .installs
        .iter()
        .filter(|install| !wanted.contains(&*install.name))
        .map(|install| PulledIn {
            name: install.name.clone(),
            from: install.from.clone(),
            to: install.to.clone(),
        })
        .collect();
    let changed: BTreeSet<&str> = known
        .report
        .installs
        .iter()
        .map(|install| &*install.name)
        .chain(wanted.iter().copied())
        .map(|name| name.split(':').next().unwrap_or(name))
        .collect();
    let removed = known
        .report
        .removes
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let mut impact = Impact {
        host: known.facts.host.clone(),
        at: known.now,
        packages,
        pulled_in,
        removed,
        refusals: known.report.refusals.clone(),
        processes: processes(known.facts, &changed),
        services: services(known),
        interruption: known.interruption.clone(),
        cautions: Vec::new(),
        limitations: known
            .report
            .limitations
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    impact.cautions = cautions(&impact);
    impact
}

fn package_impact(
    offered: &OfferedPackage,
    known: Known<'_>,
    scheme: VersionScheme,
) -> PackageImpact {
    let plain = offered.name.split(':').next().unwrap_or(&offered.name);
    let installed = known.facts.packages.iter().find(|p| &*p.name == plain);
    let source = installed
        .map_or(plain, |package| &package.source)
        .to_owned();
    let from = offered
        .installed
        .clone()
        .or_else(|| installed.map(|package| package.version.to_string()))
        .unwrap_or_default();
    let newer = |entry: &&ChangeEntry| {
        let than = installed.map_or(&*from, |package| &package.source_version);
        mailkeep_matcher::version::compare(scheme, &entry.version, than)
            .is_ok_and(|order| order == Ordering::Greater)
    };
    let changelog: Vec<Entry> = offered.changelog.iter().filter(newer).map(entry).collect();
    let news: Vec<Entry> = offered.news.iter().filter(newer).map(entry).collect();
    let mut closes: BTreeSet<AdvisoryId> = known
        .findings
        .iter()
        .filter(|f| *f.verdict.package == *source && f.verdict.status == Status::FixAvailable)
        .map(|f| f.verdict.advisory.clone())
        .collect();
    for line in changelog.iter().flat_map(|entry| &entry.lines) {
        mailkeep_advisory::ids::cves_in(line, |id| {
            closes.insert(id);
        });
    }
    let configuration = offered
        .conffiles
        .iter()
        .filter(|file| file.is_changed_here())
        .map(|file| ConfigurationImpact {
            path: file.path.clone(),
            outcome: match file.conflicts() {
                Some(true) => ConfigurationOutcome::Conflict,
                Some(false) => ConfigurationOutcome::Kept,
                None => ConfigurationOutcome::MayAsk,
            },
        })
        .collect();
    PackageImpact {
        name: offered.name.clone(),
        source,
        from,
        to: offered.offered.clone(),
        held: known.report.held.contains(&offered.name),
        closes,
        changelog,
        news,
        configuration,
        service_actions: offered
            .service_actions
            .iter()
            .map(|action| format!("{} {} {}", action.script, action.action, action.service))
            .collect(),
    }
}

fn entry(entry: &ChangeEntry) -> Entry {
    Entry {
        version: entry.version.clone(),
        lines: entry.lines.clone(),
    }
}

fn processes(facts: &HostFacts, changed: &BTreeSet<&str>) -> Vec<ProcessImpact> {
    let mut by_name: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for process in facts.processes.items() {
        let own = process.package.as_deref();
        let maps = process.maps.items().iter().map(|package| &**package);
        let runs: BTreeSet<&str> = maps
            .chain(own)
            .filter(|package| changed.contains(package.split(':').next().unwrap_or(package)))
            .collect();
        if !runs.is_empty() {
            let found = by_name.entry(&process.name).or_default();
            found.0 += 1;
            found.1.extend(runs);
        }
    }
    by_name
        .into_iter()
        .map(|(name, (count, packages))| ProcessImpact {
            name: name.to_owned(),
            count,
            packages: packages.into_iter().map(str::to_owned).collect(),
        })
        .collect()
}

fn services(known: Known<'_>) -> Vec<ServiceImpact> {
    let Some(host) = known.fleet.hosts.get(&known.facts.host) else {
        return Vec::new();
    };
    host.services
        .iter()
        .map(|service| {
            let here = known.fleet.hosts.iter().filter(|(name, other)| {
                other.lifecycle == Lifecycle::Running
                    && other.region == host.region
                    && other.services.contains(service)
                    && !known.out_of_service.contains(*name)
            });
            let (itself, others): (Vec<_>, Vec<_>) =
                here.partition(|(name, _)| **name == known.facts.host);
            let minimum = host.region.as_ref().and_then(|region| {
                let declared = known.fleet.services.get(service)?;
                declared.minimum_in(region)
            });
            ServiceImpact {
                service: service.clone(),
                region: host.region.clone(),
                in_service: others.len() + itself.len(),
                left: others.len(),
                minimum,
            }
        })
        .collect()
}

fn cautions(impact: &Impact) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if impact.packages.is_empty() {
        return cautions;
    }
    for says in &impact.refusals {
        cautions.push(Caution::Refused { says: says.clone() });
    }
    for service in impact.services.iter().filter(|s| s.is_below_minimum()) {
        cautions.push(Caution::BelowMinimum {
            service: service.service.clone(),
        });
    }
    for package in &impact.removed {
        cautions.push(Caution::Removes {
            package: package.clone(),
        });
    }
    for package in &impact.packages {
        if package.held {
            cautions.push(Caution::Held {
                package: package.name.clone(),
            });
        }
        let (from, to) = (&package.from, &package.to);
        if let Some(why) = mailkeep_plan::work::needs_person(&package.source, from, to) {
            cautions.push(Caution::NeedsPerson { why });
        }
        if !package.news.is_empty() {
            cautions.push(Caution::News {
                package: package.name.clone(),
            });
        }
        for file in &package.configuration {
            if file.outcome == ConfigurationOutcome::Conflict {
                cautions.push(Caution::ConfigurationConflict {
                    path: file.path.clone(),
                });
            }
        }
    }
    let mut seen = Vec::new();
    cautions.retain(|caution| {
        let new = !seen.contains(caution);
        seen.push(caution.clone());
        new
    });
    cautions
}

#[cfg(test)]
mod tests;
