//! One OSV record.

use std::collections::BTreeSet;

use mailkeep_model::{AdvisoryId, Ecosystem, Platform, Problem, Voice};
use serde::Deserialize;
use serde_json::Value;

use super::affected::{Affected, Severity, Usable};
use crate::fixes::{Bulletin, Said, Subject, is_module_build, modules_in, urgency};
use crate::text::{self, Str};
use crate::{ReadError, Sink, Summary};

/// Platforms remembered as covered.
const PLATFORMS_MAX: usize = 4096;

/// Reads records into a sink.
pub(super) struct Reader<'s> {
    sink: &'s mut dyn Sink,
    pub(super) summary: Summary,
    /// Records that are records, whatever they say.
    pub(super) understood: u64,
    covered: BTreeSet<Platform>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow, default)]
    withdrawn: Option<Str<'a>>,
    #[serde(borrow, default)]
    aliases: Option<Vec<Str<'a>>>,
    #[serde(borrow, default)]
    related: Option<Vec<Str<'a>>>,
    #[serde(borrow, default)]
    upstream: Option<Vec<Str<'a>>>,
    #[serde(borrow, default)]
    summary: Option<Str<'a>>,
    #[serde(borrow, default)]
    details: Option<Str<'a>>,
    #[serde(borrow, default)]
    severity: Option<Vec<Severity<'a>>>,
    #[serde(borrow, default)]
    affected: Option<Vec<Affected<'a>>>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(sink: &'s mut dyn Sink) -> Self {
        Self {
            sink,
            summary: Summary::default(),
            understood: 0,
            covered: BTreeSet::new(),
        }
    }

    /// Counts a record that cannot be used at all.
    pub(super) fn bad_record(&mut self, name: &str, reason: &str) -> Result<(), ReadError> {
        self.summary.records += 1;
        self.problem(name, reason)
    }

    fn problem(&mut self, name: &str, reason: &str) -> Result<(), ReadError> {
        self.summary.problems += 1;
        self.sink.problem(Problem::new(name, reason))?;
        Ok(())
    }

    /// Reads one record. `name` is its place, for where it has no id.
    pub(super) fn record(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReadError> {
        match serde_json::from_slice::<Record<'_>>(bytes) {
            Ok(record) => self.take(name, &record),
            Err(error) => match Repaired::of(bytes) {
                Some(repaired) => self.repaired(name, &repaired),
                None => self.bad_record(name, &error.to_string()),
            },
        }
    }

    /// A record some part of which is not as the schema wants it: the other parts are used.
    fn repaired(&mut self, name: &str, repaired: &Repaired) -> Result<(), ReadError> {
        let mut record = match serde_json::from_str::<Record<'_>>(&repaired.record) {
            Ok(record) => record,
            Err(error) => return self.bad_record(name, &error.to_string()),
        };
        let mut affected = Vec::new();
        for (at, text) in repaired.affected.iter().enumerate() {
            match serde_json::from_str(text) {
                Ok(entry) => affected.push(entry),
                Err(error) => {
                    let reason = format!("affected entry {}: {error}; left out", at + 1);
                    self.problem(&record.id, &reason)?;
                }
            }
        }
        for odd in &repaired.odd {
            self.problem(&record.id, odd)?;
        }
        record.affected = Some(affected);
        self.take(name, &record)
    }

    fn take(&mut self, name: &str, record: &Record<'_>) -> Result<(), ReadError> {
        self.summary.records += 1;
        let id = match AdvisoryId::new(&*record.id) {
            Ok(id) => id,
            Err(error) => return self.problem(name, &error.to_string()),
        };
        self.understood += 1;
        if record.withdrawn.is_some() || is_bug_fix(record) {
            return Ok(());
        }
        let title = title(record);
        let modules = modules_in(&title);
        let affected = record.affected.as_deref().unwrap_or_default();
        let mut bulletin = Bulletin {
            cvss: best_vector(record, affected),
            ..Bulletin::default()
        };
        let names_by_purl: Vec<_> = affected.iter().map(Affected::name_in_purl).collect();
        // Whether some entry's name and package URL agree: see `name_of`.
        let some_agree = affected
            .iter()
            .zip(&names_by_purl)
            .any(|(entry, by_purl)| by_purl.is_some() && entry.name() == by_purl.as_deref());
        let mut unknown = BTreeSet::new();
        for (at, (entry, by_purl)) in affected.iter().zip(names_by_purl).enumerate() {
            let odd = |what: String| format!("affected entry {}: {what}", at + 1);
            let place = entry.place();
            let name = match name_of(entry.name(), by_purl, some_agree) {
                Named::Certain(name) => name,
                Named::ByPurl(by_purl) => {
                    let reason = odd(format!(
                        "named {:?}, but its purl says {by_purl:?}, which is taken",
                        entry.name().unwrap_or_default()
                    ));
                    self.problem(&record.id, &reason)?;
                    by_purl
                }
                Named::Stray(by_purl) => {
                    let reason = odd(format!(
                        "named {:?}, but its purl says {by_purl:?}, like other entries; left out",
                        entry.name().unwrap_or_default()
                    ));
                    self.problem(&record.id, &reason)?;
                    continue;
                }
            };
            let Some(package) = text::token(&name) else {
                self.problem(&record.id, &odd("it names no package".to_owned()))?;
                continue;
            };
            let Usable { said, odd: defects } = entry.said();
            for defect in defects {
                self.problem(&record.id, &odd(defect))?;
            }
            if !place.known && unknown.insert(place.ecosystem.clone()) {
                let reason = odd(format!(
                    "the ecosystem {:?} is not known here; kept under that name",
                    place.ecosystem.name()
                ));
                self.problem(&record.id, &reason)?;
            }
            if said.ranges.is_empty() && said.versions.is_empty() {
                self.problem(
                    &record.id,
                    &odd("it names no version to compare".to_owned()),
                )?;
                continue;
            }
            self.covers(&place.ecosystem, place.release.as_deref());
            let built_for_module = place.is_rpm()
                && said.ranges.iter().any(|range| match &range.end {
                    mailkeep_model::RangeEnd::Fixed(version) => is_module_build(version),
                    _ => false,
                });
            let streams: Vec<_> = match (built_for_module, modules.as_slice()) {
                (false, _) => vec![None],
                (true, []) => {
                    let what = "built for a module stream, but no stream is named".to_owned();
                    self.problem(&record.id, &odd(what))?;
                    vec![None]
                }
                // Two modules in one update (`virt:rhel and virt-devel:rhel`): which one a package
                // belongs to is not said; the installed package knows.
                (true, several) => several.iter().cloned().map(Some).collect(),
            };
            for module in streams {
                let subject = Subject {
                    kind: place.kind(),
                    ecosystem: place.ecosystem.clone(),
                    package: package.clone(),
                    module,
                };
                merge(
                    bulletin
                        .said
                        .entry(subject)
                        .or_default()
                        .entry(place.release.clone())
                        .or_default(),
                    &said,
                    record,
                    &title,
                );
            }
        }
        bulletin.title = title;
        if affected.is_empty() {
            self.problem(&record.id, "it names nothing that is affected")?;
        }
        let voice = |ecosystem: &Ecosystem| {
            if ecosystem.is_distribution() {
                Voice::Distributor
            } else {
                Voice::Upstream
            }
        };
        let ids_for = |ecosystem: &Ecosystem| ids(record, &id, ecosystem.is_distribution());
        match bulletin.write(voice, ids_for, self.sink)? {
            Ok(_) => Ok(()),
            Err(reason) => self.problem(&record.id, &reason),
        }
    }

    fn covers(&mut self, ecosystem: &Ecosystem, release: Option<&str>) {
        let platform = Platform::new(ecosystem.clone(), release.unwrap_or_default());
        if self.covered.len() < PLATFORMS_MAX && self.covered.insert(platform.clone()) {
            self.sink.covers(platform);
        }
    }
}

/// What an entry's package is called.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Certain(String),
    /// The package URL is believed, over the name.
    ByPurl(String),
    /// It belongs to some other record.
    Stray(String),
}

/// Decides between an entry's name and the one in its package URL, where both are there.
///
/// In the Debian ELTS records, 106 have entries of two or three packages that all carry one
/// package URL: it names the record's package, and the entries of other names were swept in from
/// neighbouring advisories (time zone data within one about an X server). They are left out: kept,
/// they would accuse packages the ids have nothing to do with. Where no entry agrees with its
/// package URL, the name is a misspelling (`cloud-int` for `cloud-init`), and the URL is taken: it
/// was right every time.
fn name_of(name: Option<&str>, by_purl: Option<String>, some_agree: bool) -> Named {
    match (name, by_purl) {
        (Some(name), Some(by_purl)) if name != by_purl => {
            if some_agree {
                Named::Stray(by_purl)
            } else {
                Named::ByPurl(by_purl)
            }
        }
        (Some(name), _) => Named::Certain(name.to_owned()),
        (None, by_purl) => Named::Certain(by_purl.unwrap_or_default()),
    }
}

fn merge(into: &mut Said, said: &Said, record: &Record<'_>, title: &str) {
    for range in &said.ranges {
        // Doubles are common and cheap to leave out; looking through a hostile list is not.
        if into.ranges.len() > 64 || !into.ranges.contains(range) {
            into.ranges.push(range.clone());
        }
    }
    for version in &said.versions {
        into.versions.push(version.clone());
    }
    into.end_of_life |= said.end_of_life;
    let of_record = || {
        let severity = record.severity.iter().flatten();
        severity
            .filter(|severity| &*severity.kind == "Ubuntu")
            .find_map(|severity| urgency(&severity.score))
            // AlmaLinux, Rocky Linux, Red Hat: `Important: dovecot security update`.
            .or_else(|| urgency(title.split_once(": ")?.0))
    };
    into.urgency = into.urgency.max(said.urgency.or_else(of_record));
}

/// Every id the record stands for, its own first.
fn ids(record: &Record<'_>, id: &AdvisoryId, distribution: bool) -> Vec<AdvisoryId> {
    let parse = |list: &Option<Vec<Str<'_>>>| -> Vec<AdvisoryId> {
        let list = list.iter().flatten();
        list.filter_map(|id| AdvisoryId::new(&**id).ok()).collect()
    };
    let mut ids = vec![id.clone()];
    ids.extend(parse(&record.aliases));
    if distribution {
        let upstream = parse(&record.upstream);
        let related = parse(&record.related);
        let cves = upstream.iter().chain(&related);
        ids.extend(cves.filter(|id| id.is_cve()).cloned());
        if !ids.iter().any(AdvisoryId::is_cve) {
            ids.extend(upstream);
        }
    }
    ids
}

/// An update that fixes bugs or adds features, and names no vulnerability.
fn is_bug_fix(record: &Record<'_>) -> bool {
    const PREFIXES: [&str; 8] = [
        "ALBA-", "ALEA-", "ELBA-", "ELEA-", "RHBA-", "RHEA-", "RLBA-", "RLEA-",
    ];
    let lists = [&record.aliases, &record.related, &record.upstream];
    PREFIXES.iter().any(|prefix| record.id.starts_with(prefix))
        && !lists
            .into_iter()
            .flatten()
            .flatten()
            .any(|id| id.starts_with("CVE-"))
}

fn title(record: &Record<'_>) -> Box<str> {
    let of = |text: &Option<Str<'_>>| {
        let text = text.as_deref().unwrap_or_default().trim();
        text::line(text.lines().next().unwrap_or_default(), text::TITLE_MAX)
    };
    let summary = of(&record.summary);
    if summary.is_empty() {
        of(&record.details)
    } else {
        summary
    }
}

/// The CVSS vector of the newest version there is; the record's own before an entry's.
fn best_vector(record: &Record<'_>, affected: &[Affected<'_>]) -> Option<Box<str>> {
    let own = record.severity.iter().flatten();
    let entries = affected
        .iter()
        .flat_map(|entry| entry.severity.iter().flatten());
    own.chain(entries)
        .filter(|severity| severity.kind.starts_with("CVSS_V"))
        .filter_map(|severity| text::token(&severity.score))
        .fold(None, |best: Option<Box<str>>, vector| match best {
            // `CVSS:4.0/...` sorts above `CVSS:3.1/...`, and both above `AV:N/...` of version 2.
            Some(best) if version_of(&best) >= version_of(&vector) => Some(best),
            _ => Some(vector),
        })
}

fn version_of(vector: &str) -> &str {
    vector.split('/').next().unwrap_or(vector)
}

/// A record taken apart, so that one odd entry does not cost the others.
struct Repaired {
    /// The record without `affected` and without what is of a wrong type.
    record: String,
    affected: Vec<String>,
    odd: Vec<String>,
}

impl Repaired {
    /// `None` where it is no JSON object with an id at all.
    fn of(bytes: &[u8]) -> Option<Self> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(bytes) else {
            return None;
        };
        object.get("id")?.as_str()?;
        let mut odd = Vec::new();
        let affected = match object.remove("affected") {
            Some(Value::Array(entries)) => entries,
            None | Some(Value::Null) => Vec::new(),
            Some(one @ Value::Object(_)) => {
                odd.push("affected is one object, where a list belongs; read as a list".to_owned());
                vec![one]
            }
            Some(_) => {
                odd.push("affected is no list; left out".to_owned());
                Vec::new()
            }
        };
        let affected = affected
            .into_iter()
            .enumerate()
            .map(|(at, mut entry)| {
                // One object in the place of a list can only mean a list of it (ELA-669-1).
                if let Some(ranges) = entry.get_mut("ranges").filter(|ranges| ranges.is_object()) {
                    *ranges = Value::Array(vec![ranges.take()]);
                    odd.push(format!(
                        "affected entry {}: ranges is one object, where a list belongs; read as a list",
                        at + 1
                    ));
                }
                entry.to_string()
            })
            .collect();
        object.retain(|key, value| {
            let fits = match key.as_str() {
                "aliases" | "related" | "upstream" => {
                    value.is_null()
                        || value
                            .as_array()
                            .is_some_and(|list| list.iter().all(Value::is_string))
                }
                "summary" | "details" => value.is_null() || value.is_string(),
                "severity" => {
                    serde_json::from_value::<Option<Vec<serde::de::IgnoredAny>>>(value.clone())
                        .is_ok()
                        && value.as_array().is_none_or(|list| {
                            list.iter().all(|severity| {
                                severity.get("type").is_some_and(Value::is_string)
                                    && severity.get("score").is_some_and(Value::is_string)
                            })
                        })
                }
                // A withdrawal of a wrong type is still one.
                "withdrawn" => {
                    if !value.is_null() && !value.is_string() {
                        *value = Value::String(value.to_string());
                    }
                    true
                }
                "id" => true,
                _ => return false,
            };
            if !fits {
                odd.push(format!("{key} is not what the schema wants; left out"));
            }
            fits
        });
        Some(Self {
            record: Value::Object(object).to_string(),
            affected,
            odd,
        })
    }
}
