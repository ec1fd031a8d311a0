//! CVE JSON 5 records, with what CISA adds to them (Vulnrichment).
//!
//! Entry: [`read_record`]. Gives the upstream's [statements](mailkeep_model::Statement) of the
//! products a record calls affected, and [`Signal`]s: title, CVSS vector, weaknesses, and from
//! CISA's container the SSVC decision points and the date it entered the catalogue of known
//! exploited vulnerabilities.
//!
//! Whose word counts where a record holds several:
//!
//! - The CVSS vector is that of the newest version of CVSS (4.0, 3.1, 3.0, 2.0); of two of one
//!   version the CNA's, then the first other's.
//! - Affected versions are the CNA's; another container is heard for a product only where the CNA
//!   draws no line between its affected versions and others (none named, `n/a`, single versions and
//!   no default status).
//! - A product the record calls affected, without saying in which versions, is undetermined, never
//!   clean.
//! - Red Hat and SUSE, as CNAs, name packages of their own releases: these are the distributor's
//!   words.
//!
//! A record of the older kind (vendor and product `n/a`) names no product at all; that is no
//! problem of the record, and none is reported. Must not fetch.

mod record;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use mailkeep_model::{
    AdvisoryId, Ecosystem, OpenState, Problem, Signal, SsvcAutomatable, SsvcExploitation,
    SsvcTechnicalImpact, Voice,
};

use self::record::{Affected, Container, Containers, Content, Record};
use self::versions::Status;
use crate::csaf::{Nowhere, is_cwe, parse_json, read_bounded, vector_rank};
use crate::lenient::timestamp;
use crate::product::book::{Book, Heading, Word};
use crate::product::cpe::Cpe;
use crate::product::distribution::{Release, RpmPackage};
use crate::product::ranges::is_all;
use crate::product::{exchange, is_keepable, product_key, registry_package};
use crate::{ReadError, Sink, Summary, text};

/// Largest record read, in bytes. The largest real ones (lists of kernel commits) stay below 4 MB.
pub const MAX_RECORD: u64 = 16 << 20;

const EXPECTED: &str = "CVE JSON 5 record";

/// Reads one record. Rejected and reserved ids are counted, and say nothing.
///
/// # Errors
///
/// [`ReadError::NotThisKind`] where it is no CVE record of version 5, [`ReadError::Limit`] where it
/// is larger than any real one.
pub fn read_record(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let bytes = read_bounded(input, MAX_RECORD, EXPECTED)?;
    let record: Record<'_> = parse_json(&bytes, EXPECTED)?;
    let not_this_kind = |found: &str| ReadError::NotThisKind {
        expected: EXPECTED,
        found: found.to_owned(),
    };
    let Some(metadata) = record.cve_metadata.get() else {
        return Err(not_this_kind("it has no `cveMetadata`"));
    };
    if !record.data_type.get().is_empty() && record.data_type.get() != "CVE_RECORD" {
        return Err(not_this_kind("`dataType` is not CVE_RECORD"));
    }
    if !record.data_version.get().starts_with("5.") {
        return Err(not_this_kind("`dataVersion` is not 5"));
    }
    let mut summary = Summary {
        records: 1,
        as_of: timestamp(metadata.date_updated.get()),
        ..Summary::default()
    };
    let id = metadata.cve_id.get().to_ascii_uppercase();
    let mut problems = BTreeMap::new();
    match metadata.state.get() {
        "REJECTED" | "RESERVED" => return Ok(summary),
        "PUBLISHED" => match AdvisoryId::new(&id).ok().filter(AdvisoryId::is_cve) {
            Some(cve) => match record.containers.get() {
                Some(containers) => read_published(&cve, containers, sink, &mut problems)?,
                None => note(&mut problems, "it has no `containers`", ""),
            },
            None => note(&mut problems, "`cveId` is no CVE id", ""),
        },
        other => note(&mut problems, "a state that is not known", other),
    }
    for (why, example) in problems {
        let reason = if example.is_empty() {
            why.to_owned()
        } else {
            format!("{why}: {example}")
        };
        summary.problems += 1;
        sink.problem(Problem::new(
            if id.is_empty() {
                "record without id"
            } else {
                &id
            },
            reason,
        ))?;
    }
    Ok(summary)
}

/// Reads a record from arbitrary bytes and drops what comes out: the entry for fuzzing.
pub fn fuzz(data: &[u8]) {
    drop(read_record(data, &mut Nowhere));
}

type Problems = BTreeMap<&'static str, String>;

/// One problem for each reason, with its first example.
fn note(problems: &mut Problems, why: &'static str, example: &str) {
    problems
        .entry(why)
        .or_insert_with(|| text::line(example, 120).into());
}

fn read_published(
    id: &AdvisoryId,
    containers: &Containers<'_>,
    sink: &mut dyn Sink,
    problems: &mut Problems,
) -> Result<(), ReadError> {
    let Some(cna) = containers.cna.get() else {
        note(problems, "it has no CNA container", "");
        return Ok(());
    };
    if containers.adp.wrong() > 0 {
        note(problems, "a container that is no object", "");
    }
    let all = || std::iter::once(cna).chain(containers.adp.objects());
    let title = title(cna);
    if let Some(title) = &title {
        sink.signal(
            id,
            Signal::Title {
                text: title.clone(),
            },
        )?;
    }
    let cvss = best_vector(all());
    if let Some(vector) = &cvss {
        sink.signal(
            id,
            Signal::Cvss {
                vector: vector.clone(),
            },
        )?;
    }
    let cwes: BTreeSet<Box<str>> = all()
        .flat_map(|container| container.problem_types.objects())
        .flat_map(|kind| kind.descriptions.objects())
        .map(|weakness| weakness.cwe_id.get())
        .filter(|cwe| is_cwe(cwe))
        .map(Into::into)
        .collect();
    if !cwes.is_empty() {
        sink.signal(
            id,
            Signal::Weaknesses {
                cwes: cwes.into_iter().collect(),
            },
        )?;
    }
    for container in containers.adp.objects() {
        cisa(id, container, sink, problems)?;
    }

    let mut affected = AffectedProducts {
        book: Book::default(),
        decided: BTreeSet::new(),
        commits: BTreeSet::new(),
        problems,
    };
    affected.container(cna, true);
    for container in containers.adp.objects() {
        affected.container(container, false);
    }
    for key in std::mem::take(&mut affected.commits) {
        if !affected.book.has_upstream(&key) {
            note(
                affected.problems,
                "only commits are named, no versions",
                &key.1,
            );
        }
    }
    let provider = cna.provider_metadata.get();
    let own = matches!(
        provider.map_or("", |provider| provider.short_name.get()),
        "redhat" | "suse"
    );
    let heading = Heading {
        id: (id.clone(), Vec::new()),
        distributor_voice: if own {
            Voice::Distributor
        } else {
            Voice::Upstream
        },
        title: title.unwrap_or_default(),
        cvss,
        urgency: None,
    };
    affected.book.write(&heading, sink, &mut |_, _| {})?;
    Ok(())
}

/// The title, else the first sentence of the English description.
fn title(cna: &Container<'_>) -> Option<Box<str>> {
    if let Some(title) = cna.title.some() {
        return Some(text::line(title, text::TITLE_MAX));
    }
    let description = cna
        .descriptions
        .objects()
        .find(|description| description.lang.get().starts_with("en"))?
        .value
        .some()?;
    let sentence = description
        .split_inclusive(['\n'])
        .next()
        .unwrap_or(description);
    let sentence = match sentence.find(". ") {
        Some(end) => sentence.split_at(end + 1).0,
        None => sentence,
    };
    Some(text::line(sentence, text::TITLE_MAX))
}

fn best_vector<'a, 'b: 'a>(
    containers: impl Iterator<Item = &'a Container<'b>>,
) -> Option<Box<str>> {
    containers
        .flat_map(|container| container.metrics.objects())
        .flat_map(|metric| [&metric.cvss4, &metric.cvss31, &metric.cvss30, &metric.cvss2])
        .filter_map(|cvss| cvss.get()?.vector_string.some())
        .filter_map(|vector| Some((vector_rank(vector)?, vector)))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, vector)| vector.into())
}

/// CISA's own metrics: SSVC and KEV.
fn cisa(
    id: &AdvisoryId,
    container: &Container<'_>,
    sink: &mut dyn Sink,
    problems: &mut Problems,
) -> Result<(), ReadError> {
    let provider = container.provider_metadata.get();
    let by_cisa = provider.is_some_and(|provider| provider.short_name.get() == "CISA-ADP")
        || container.title.get() == "CISA ADP Vulnrichment";
    if !by_cisa {
        return Ok(());
    }
    for other in container
        .metrics
        .objects()
        .filter_map(|metric| metric.other.get())
    {
        let Some(content) = other.content.get() else {
            continue;
        };
        match other.kind.get() {
            "ssvc" => {
                let signal = ssvc(content, problems);
                sink.signal(id, signal)?;
            }
            "kev" => match content.date_added.get().parse() {
                Ok(added) => sink.signal(
                    id,
                    Signal::Kev {
                        added,
                        due: None,
                        ransomware: false,
                    },
                )?,
                Err(_) => note(
                    problems,
                    "a KEV date that is no date",
                    content.date_added.get(),
                ),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Real records write `none` and `None`, `poc` and `PoC`; some leave points out.
fn ssvc(content: &Content<'_>, problems: &mut Problems) -> Signal {
    let (mut exploitation, mut automatable, mut technical_impact) = (None, None, None);
    for option in content.options.objects() {
        for (value, known) in [
            (&option.exploitation, &["none", "poc", "active"][..]),
            (&option.automatable, &["no", "yes"]),
            (&option.technical_impact, &["partial", "total"]),
        ] {
            let value = value.get().to_ascii_lowercase();
            if !value.is_empty() && !known.contains(&value.as_str()) {
                note(problems, "an SSVC value that is not known", &value);
            }
        }
        match option.exploitation.get().to_ascii_lowercase().as_str() {
            "none" => exploitation = Some(SsvcExploitation::None),
            "poc" => exploitation = Some(SsvcExploitation::Poc),
            "active" => exploitation = Some(SsvcExploitation::Active),
            _ => {}
        }
        match option.automatable.get().to_ascii_lowercase().as_str() {
            "no" => automatable = Some(SsvcAutomatable::No),
            "yes" => automatable = Some(SsvcAutomatable::Yes),
            _ => {}
        }
        match option.technical_impact.get().to_ascii_lowercase().as_str() {
            "partial" => technical_impact = Some(SsvcTechnicalImpact::Partial),
            "total" => technical_impact = Some(SsvcTechnicalImpact::Total),
            _ => {}
        }
    }
    Signal::Ssvc {
        exploitation,
        automatable,
        technical_impact,
    }
}

struct AffectedProducts<'p> {
    book: Book,
    /// What the CNA decided; other containers are not heard of it.
    decided: BTreeSet<(Ecosystem, Box<str>)>,
    /// Products of which (so far) only commits are named.
    commits: BTreeSet<(Ecosystem, Box<str>)>,
    problems: &'p mut Problems,
}

impl AffectedProducts<'_> {
    fn container(&mut self, container: &Container<'_>, is_cna: bool) {
        if container.affected.wrong() > 0 {
            note(self.problems, "an affected product that is no object", "");
        }
        let mut decided = BTreeSet::new();
        for affected in container.affected.objects() {
            if let Some(key) = self.product(affected) {
                decided.insert(key);
            }
        }
        if is_cna {
            self.decided = decided;
        }
    }

    /// Enters one `affected` entry; gives its key where it decides which versions are affected.
    fn product(&mut self, affected: &Affected<'_>) -> Option<(Ecosystem, Box<str>)> {
        if self.distribution(affected) {
            return None;
        }
        let product = affected.product.get();
        let read = versions::Read::new(affected);
        if let Some(text) = &read.unreadable {
            note(self.problems, "a version that cannot be read", text);
        }
        if exchange::is_exchange(product) {
            let key = (Ecosystem::Exchange, exchange::PACKAGE.into());
            if !self.decided.contains(&key) && read.says_affected() {
                self.exchange(product, &read);
            }
            return Some(key);
        }
        let names_distribution = affected
            .cpes
            .iter()
            .any(|cpe| Cpe::parse(cpe.get()).is_some_and(|cpe| cpe.is_distribution()));
        if names_distribution {
            note(
                self.problems,
                "a distribution is named, but no package of it",
                product,
            );
            return None;
        }
        let Some((ecosystem, package)) = key(affected) else {
            let placeholder = |name: &str| matches!(name.to_ascii_lowercase().as_str(), "" | "n/a");
            if !placeholder(product) && is_keepable(product) {
                note(self.problems, "a product without a vendor", product);
            }
            return None;
        };
        let key = (ecosystem, package);
        if self.decided.contains(&key) {
            return None;
        }
        let decides = read.decides();
        if !read.says_affected() {
            if read.none {
                self.book.upstream(key.0.clone(), &key.1).none_affected = true;
                return Some(key);
            }
            if read.commits {
                self.commits.insert(key);
            } else if read.unreadable.is_none() {
                note(
                    self.problems,
                    "a product of which no version is affected",
                    product,
                );
            }
            return None;
        }
        let said = self.book.upstream(key.0.clone(), &key.1);
        said.undetermined |= read.unspecified;
        said.affected(read.versions);
        decides.then_some(key)
    }

    fn exchange(&mut self, product: &str, read: &versions::Read) {
        let fixes = self.book.exchange();
        let mut found = false;
        for range in &read.versions.ranges {
            if let mailkeep_model::RangeEnd::Fixed(build) = &range.end {
                found |= fixes.fixed(product, build);
            }
        }
        if !found && !fixes.unfixed(product) {
            note(
                self.problems,
                "an Exchange Server product without a build",
                product,
            );
        }
    }

    /// A distributor's own package. False where the entry is none.
    fn distribution(&mut self, affected: &Affected<'_>) -> bool {
        let Some(package) = affected.package_name.some() else {
            return false;
        };
        let release = affected
            .cpes
            .iter()
            .filter_map(|cpe| Cpe::parse(cpe.get()))
            .find_map(|cpe| Release::from_cpe(&cpe))
            .or_else(|| Release::from_name(affected.product.get()));
        let Some(release) = release else {
            return false;
        };
        let Some(package) = RpmPackage::from_text(package) else {
            note(self.problems, "a package that is no RPM package", package);
            return true;
        };
        let default = Status::read(affected.default_status.get()).unwrap_or_default();
        let mut said = false;
        for version in affected.versions.objects() {
            let status = Status::read(version.status.get()).unwrap_or(Status::Affected);
            let end = version.less_than.some();
            // Red Hat: from this version on nothing is affected. SUSE: below this one all is.
            let fixed = match (status, end) {
                (Status::Unaffected, Some(end)) if is_all(end) => Some(version.version.get()),
                (Status::Unaffected, None) => Some(version.version.get()),
                (Status::Affected, Some(end)) if !is_all(end) => Some(end),
                _ => None,
            };
            let word = match fixed.filter(|fixed| is_keepable(fixed)) {
                Some(fixed) => Word::Fixed(fixed.strip_prefix("0:").unwrap_or(fixed).into()),
                None if status == Status::Affected => Word::Open(OpenState::Open, None),
                None => continue,
            };
            said = true;
            self.book.distributor(&release, &package, None, &word);
        }
        if !said {
            let word = match default {
                Status::Affected => Word::Open(OpenState::Open, None),
                Status::Unaffected => Word::NotAffected(None),
                Status::Unknown => Word::Undetermined,
            };
            self.book.distributor(&release, &package, None, &word);
        }
        true
    }
}

/// Ecosystem and package: by package URL, by the registry and the package's name there, by vendor
/// and product.
fn key(affected: &Affected<'_>) -> Option<(Ecosystem, Box<str>)> {
    if let Some((ecosystem, package, _)) = affected.package_url.some().and_then(registry_package) {
        return is_keepable(&package).then_some((ecosystem, package));
    }
    if let (Some(collection), Some(package)) =
        (affected.collection_url.some(), affected.package_name.some())
        && let Some(ecosystem) = registry(collection)
        && is_keepable(package)
    {
        return Some((Ecosystem::Other(ecosystem.into()), package.into()));
    }
    let (key, package) = product_key(affected.vendor.get(), affected.product.get())?;
    Some((Ecosystem::Other(key.into()), package.into()))
}

/// The registry at an address, by the name OSV gives it.
fn registry(url: &str) -> Option<&'static str> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    Some(match host {
        "crates.io" => "crates.io",
        "hex.pm" => "Hex",
        "packagist.org" => "Packagist",
        "pkg.go.dev" => "Go",
        "pypi.org" | "pypi.python.org" => "PyPI",
        "pub.dev" => "Pub",
        "registry.npmjs.org" | "www.npmjs.com" => "npm",
        "repo.maven.apache.org" | "repo1.maven.org" => "Maven",
        "rubygems.org" => "RubyGems",
        "www.nuget.org" | "api.nuget.org" => "NuGet",
        _ => return None,
    })
}
