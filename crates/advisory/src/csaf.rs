//! CSAF 2.0 (OASIS) security advisories and VEX, and what a CSAF provider publishes beside them.
//!
//! Entry: [`read_document`] for one document; [`provider::read_provider_metadata`],
//! [`provider::read_rolie`], [`provider::read_changes_csv`] and [`provider::read_index_txt`] for
//! what leads to documents.
//!
//! A document's products become packages as `crate::product` says; what each product status means
//! (CSAF 2.0 section 3.2.3.9):
//!
//! | status | distributor's package | any other product |
//! |---|---|---|
//! | `fixed`, `first_fixed`, `recommended` | fixed in that version | names the fix of a range |
//! | `known_affected` | open: `no_fix_planned` is ignored (or out of support), `none_available` open, "Fix deferred" postponed | affected versions and ranges |
//! | `first_affected`, `last_affected` | open | where a range begins, where it ends |
//! | `under_investigation` | undetermined | undetermined |
//! | `known_not_affected` | not affected, with the flag's justification | not affected, if it names no version |
//!
//! A distributor's word counts as [`Voice::Distributor`] only in its own documents. Packages of
//! debugging symbols are left out: no process runs them. Products without a name here are counted,
//! one [`Problem`] for each reason in each document.
//!
//! Must not fetch, and must not verify signatures.

mod document;
mod products;
pub mod provider;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use mailkeep_model::{AdvisoryId, OpenState, Problem, Signal, Timestamp, Urgency, Voice};

use self::document::{Csaf, Document, Publisher, Score, Vulnerability};
use self::products::{Products, Reason, Target};
use crate::lenient::{List, Text, timestamp};
use crate::product::book::{Book, Heading, Word};
use crate::product::ranges::Versions;
use crate::product::upstream::NoClaim;
use crate::{ReadError, Sink, Summary, ids, sniff, text};

pub use self::provider::{
    DirectoryEntry, Distribution, OpenPgpKey, Provider, RolieEntry, read_changes_csv,
    read_index_txt, read_provider_metadata, read_rolie,
};

/// Largest document read, in bytes. Red Hat's largest VEX files stay below 50 MB.
pub const MAX_DOCUMENT: u64 = 64 << 20;
/// Most objects in a document, and most lists. Each costs up to some 400 bytes, whatever it holds;
/// the densest real documents have 3,000 in a MiB, so a whole 64 MiB of them passes.
const MAX_OBJECTS: usize = 500_000;
/// Most commas, for the same reason; the densest real documents have 12,000 in a MiB.
const MAX_MEMBERS: usize = 2_000_000;

const EXPECTED: &str = "CSAF document";

/// Reads one document. A record, for the summary, is one vulnerability of it, the document itself
/// where it names none.
///
/// # Errors
///
/// [`ReadError::NotThisKind`] where it is no CSAF document at all, [`ReadError::Limit`] where it is
/// larger than any real one. Whatever is wrong inside becomes a [`Problem`].
pub fn read_document(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let bytes = read_bounded(input, MAX_DOCUMENT, EXPECTED)?;
    let csaf: Csaf<'_> = parse_json(&bytes, EXPECTED)?;
    let document = csaf
        .document
        .get()
        .ok_or_else(|| not_csaf("it has no `document`"))?;
    if !document.csaf_version.get().starts_with("2.") {
        return Err(not_csaf("`document.csaf_version` is not 2.0"));
    }
    let Some(tracking) = document.tracking.get() else {
        return Err(not_csaf("it has no `document.tracking`"));
    };
    let mut reader = Reader {
        record: tracking
            .id
            .some()
            .unwrap_or("document without id")
            .to_owned(),
        as_of: timestamp(tracking.current_release_date.get()),
        document,
        problems: BTreeMap::new(),
        count: 0,
        sink,
    };
    let records = reader.read(&csaf)?;
    reader.flush()?;
    Ok(Summary {
        records,
        problems: reader.count,
        as_of: reader.as_of,
        cut_short: None,
    })
}

/// Reads a CSAF document from arbitrary bytes and drops what comes out: the entry for fuzzing.
pub fn fuzz(data: &[u8]) {
    drop(read_document(data, &mut Nowhere));
    provider::fuzz(data);
}

/// Takes everything and keeps nothing.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn statement(&mut self, _: mailkeep_model::Statement) -> Result<(), crate::Stop> {
        Ok(())
    }
    fn signal(&mut self, _: &AdvisoryId, _: Signal) -> Result<(), crate::Stop> {
        Ok(())
    }
    fn problem(&mut self, _: Problem) -> Result<(), crate::Stop> {
        Ok(())
    }
    fn covers(&mut self, _: mailkeep_model::Platform) {}
}

fn not_csaf(found: &str) -> ReadError {
    ReadError::NotThisKind {
        expected: EXPECTED,
        found: found.to_owned(),
    }
}

/// Reads the whole input, if it is no larger than `max` bytes and holds no more brackets and commas
/// than a document could want.
pub(crate) fn read_bounded(
    input: impl Read,
    max: u64,
    expected: &'static str,
) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    input.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ReadError::Limit {
            limit: format!("a {expected} of at most {} MiB", max >> 20),
        });
    }
    for (byte, limit, what) in [
        (b'{', MAX_OBJECTS, "objects"),
        (b'[', MAX_OBJECTS, "lists"),
        (b',', MAX_MEMBERS, "members"),
    ] {
        if memchr::memchr_iter(byte, &bytes).count() > limit {
            return Err(ReadError::Limit {
                limit: format!("a {expected} of at most {limit} {what}"),
            });
        }
    }
    Ok(bytes)
}

/// Parses JSON of at most 128 levels (the limit of `serde_json`).
pub(crate) fn parse_json<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    expected: &'static str,
) -> Result<T, ReadError> {
    let skip = sniff::refuse(expected, bytes)?;
    let text = bytes.get(skip..).unwrap_or_default();
    serde_json::from_slice(text).map_err(|error| {
        let found = if error.is_eof() {
            format!("the JSON ends too early ({error})")
        } else {
            error.to_string()
        };
        ReadError::NotThisKind { expected, found }
    })
}

struct Reader<'a, 's> {
    record: String,
    as_of: Option<Timestamp>,
    document: &'a Document<'a>,
    /// What was wrong: how often, and with which product first.
    problems: BTreeMap<&'static str, (u64, String)>,
    count: u64,
    sink: &'s mut dyn Sink,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self, csaf: &'a Csaf<'a>) -> Result<u64, ReadError> {
        let status = self.document.tracking.get().map_or("", |t| t.status.get());
        let category = self.document.category.get();
        if status.eq_ignore_ascii_case("draft") {
            self.note("it is a draft", "");
            return Ok(1);
        }
        if matches!(category, "csaf_withdrawn" | "csaf_superseded") {
            return Ok(1);
        }
        if self.as_of.is_none() {
            self.note("`current_release_date` is missing or no date", "");
        }
        let publisher = self.document.publisher.get();
        let products = csaf
            .product_tree
            .get()
            .map(|tree| Products::new(tree, publisher.map_or("", vendor)))
            .unwrap_or_default();
        if products.wrong > 0 {
            self.note_many(
                "parts of the product tree cannot be read",
                "",
                products.wrong,
            );
        }
        let wrong = csaf.vulnerabilities.wrong();
        if wrong > 0 {
            self.note_many("vulnerabilities that are no objects", "", wrong);
        }
        let mut known: HashMap<&str, Target> = HashMap::new();
        for vulnerability in csaf.vulnerabilities.objects() {
            self.vulnerability(vulnerability, &products, &mut known)?;
        }
        Ok(csaf.vulnerabilities.0.len().max(1) as u64)
    }

    fn vulnerability(
        &mut self,
        vulnerability: &'a Vulnerability<'a>,
        products: &Products<'a>,
        known: &mut HashMap<&'a str, Target>,
    ) -> Result<(), ReadError> {
        let Some(id) = self.id(vulnerability) else {
            self.note("vulnerabilities without any id", "");
            return Ok(());
        };
        let details = Details::new(vulnerability);
        // Some titles begin with the CVE id, or are nothing else.
        let title = vulnerability.title.get();
        let title = title.strip_prefix(id.0.as_str()).unwrap_or(title).trim();
        let title = if title.is_empty() {
            self.document.title.get()
        } else {
            title
        };
        let aggregate = self.document.aggregate_severity.get();
        let heading = Heading {
            distributor_voice: self.voice(),
            title: text::line(title, text::TITLE_MAX),
            cvss: best_vector(vulnerability),
            urgency: details
                .urgency
                .or_else(|| aggregate.and_then(|severity| urgency(severity.text.get()))),
            id,
        };
        let mut book = Book::default();
        if let Some(status) = vulnerability.product_status.get() {
            let lists: [(Status, &'a List<Text<'a>>); 8] = [
                (Status::Affected, &status.known_affected),
                (Status::FirstAffected, &status.first_affected),
                (Status::LastAffected, &status.last_affected),
                (Status::Fixed, &status.fixed),
                (Status::Fixed, &status.first_fixed),
                (Status::Fixed, &status.recommended),
                (Status::NotAffected, &status.known_not_affected),
                (Status::UnderInvestigation, &status.under_investigation),
            ];
            for (status, list) in lists {
                for product in list.iter() {
                    let Some(product) = product.some() else {
                        self.note("product ids that are no text", "");
                        continue;
                    };
                    let target = known
                        .entry(product)
                        .or_insert_with(|| products.resolve(product));
                    if let Err(why) = say(&mut book, status, product, target, &details) {
                        self.note(why, product);
                    }
                }
            }
        }
        let mut unclaimed = Vec::new();
        book.write(&heading, self.sink, &mut |package, why| {
            unclaimed.push((package.to_owned(), why));
        })?;
        for (package, why) in unclaimed {
            match why {
                NoClaim::OnlySomeNotAffected => self.note(
                    "single versions that are not affected, of products nothing else is said of",
                    &package,
                ),
                NoClaim::Nothing => {}
            }
        }
        self.weaknesses(&heading.id.0, vulnerability)
    }

    /// The CVE id with the document's as alias; without one the first id given, else the document's.
    fn id(&self, vulnerability: &Vulnerability<'_>) -> Option<(AdvisoryId, Vec<AdvisoryId>)> {
        let cve = vulnerability
            .cve
            .some()
            .map(str::to_ascii_uppercase)
            .and_then(|cve| AdvisoryId::new(cve).ok())
            .filter(AdvisoryId::is_cve);
        // Bug numbers are ids of a tracker, not of the vulnerability.
        let ghsa = vulnerability
            .ids
            .objects()
            .filter_map(|id| AdvisoryId::new(id.text.get()).ok())
            .filter(|id| id.is_cve() || id.as_str().starts_with("GHSA-"));
        let own = AdvisoryId::new(&self.record)
            .ok()
            .filter(|own| !own.as_str().to_ascii_uppercase().contains("CVE-"));
        let first = cve.clone();
        let mut pairs = ids::canonical(cve.into_iter().chain(ghsa).chain(own));
        if let Some(first) = first {
            pairs.retain(|(id, _)| *id == first);
        }
        pairs.into_iter().next()
    }

    /// Only Red Hat's and SUSE's own documents speak with the distributor's voice.
    fn voice(&self) -> Voice {
        let host = self.document.publisher.get().and_then(|publisher| {
            (publisher.category.get() == "vendor").then(|| publisher.namespace.get())
        });
        let host = host
            .and_then(|url| url.strip_prefix("https://"))
            .and_then(|rest| rest.split(['/', ':']).next())
            .unwrap_or_default();
        let own = ["redhat.com", "suse.com", "suse.de", "opensuse.org"]
            .into_iter()
            .any(|domain| {
                host.strip_suffix(domain)
                    .is_some_and(|front| front.is_empty() || front.ends_with('.'))
            });
        if own {
            Voice::Distributor
        } else {
            Voice::Upstream
        }
    }

    fn weaknesses(
        &mut self,
        id: &AdvisoryId,
        vulnerability: &Vulnerability<'_>,
    ) -> Result<(), ReadError> {
        let mut cwes: Vec<Box<str>> = vulnerability
            .cwe
            .get()
            .into_iter()
            .chain(vulnerability.cwes.objects())
            .filter(|cwe| is_cwe(cwe.id.get()))
            .map(|cwe| cwe.id.get().into())
            .collect();
        cwes.sort();
        cwes.dedup();
        if !cwes.is_empty() {
            self.sink.signal(id, Signal::Weaknesses { cwes })?;
        }
        Ok(())
    }

    fn note(&mut self, why: &'static str, example: &str) {
        self.note_many(why, example, 1);
    }

    fn note_many(&mut self, why: &'static str, example: &str, times: usize) {
        let entry = self
            .problems
            .entry(why)
            .or_insert_with(|| (0, text::line(example, 120).into()));
        entry.0 += times as u64;
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        for (why, (times, example)) in std::mem::take(&mut self.problems) {
            let mut reason = why.to_owned();
            if !example.is_empty() {
                reason = format!("{reason}: {example}");
            }
            if times > 1 {
                reason = format!("{reason} ({times} in all)");
            }
            self.count += 1;
            self.sink.problem(Problem::new(&self.record, reason))?;
        }
        Ok(())
    }
}

/// The vendor of products that hang below no vendor: the publisher. MSRC names itself, not Microsoft.
fn vendor<'a>(publisher: &'a Publisher<'a>) -> &'a str {
    if publisher.namespace.get().ends_with(".microsoft.com") {
        "Microsoft"
    } else {
        publisher.name.get()
    }
}

/// `CWE-` and a number.
pub(crate) fn is_cwe(text: &str) -> bool {
    text.strip_prefix("CWE-").is_some_and(|number| {
        (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Affected,
    FirstAffected,
    Fixed,
    LastAffected,
    NotAffected,
    UnderInvestigation,
}

/// What is said of single products besides their status.
#[derive(Debug, Default)]
struct Details<'a> {
    /// The whole vulnerability's, where no product is named with it.
    urgency: Option<Urgency>,
    urgencies: HashMap<&'a str, Urgency>,
    open: HashMap<&'a str, (OpenState, &'a str)>,
    open_for_all: Option<(OpenState, &'a str)>,
    justifications: HashMap<&'a str, &'a str>,
}

impl<'a> Details<'a> {
    fn new(vulnerability: &'a Vulnerability<'a>) -> Self {
        let mut details = Self::default();
        for threat in vulnerability.threats.objects() {
            if threat.category.get() != "impact" {
                continue;
            }
            let Some(urgency) = urgency(threat.details.get()) else {
                continue;
            };
            if threat.product_ids.0.is_empty() {
                details.urgency = details.urgency.max(Some(urgency));
            }
            for id in threat.product_ids.iter() {
                details.urgencies.insert(id.get(), urgency);
            }
        }
        for remediation in vulnerability.remediations.objects() {
            let words = remediation.details.get();
            let state = match remediation.category.get() {
                "no_fix_planned" => {
                    if words.to_ascii_lowercase().contains("out of support") {
                        OpenState::EndOfLife
                    } else {
                        OpenState::Ignored
                    }
                }
                "none_available" => {
                    if words.eq_ignore_ascii_case("fix deferred") {
                        OpenState::Postponed
                    } else {
                        OpenState::Open
                    }
                }
                _ => continue,
            };
            if remediation.product_ids.0.is_empty() {
                details.open_for_all = Some((state, words));
            }
            for id in remediation.product_ids.iter() {
                details.open.insert(id.get(), (state, words));
            }
        }
        for flag in vulnerability.flags.objects() {
            for id in flag.product_ids.iter() {
                details.justifications.insert(id.get(), flag.label.get());
            }
        }
        details
    }

    fn open(&self, product: &str) -> (OpenState, Option<Box<str>>) {
        let said = self.open.get(product).copied().or(self.open_for_all);
        let (state, words) = said.unwrap_or((OpenState::Open, ""));
        (
            state,
            (!words.is_empty()).then(|| text::line(words, text::NOTE_MAX)),
        )
    }

    fn justification(&self, product: &str) -> Option<Box<str>> {
        self.justifications
            .get(product)
            .map(|label| text::line(&label.replace('_', " "), text::NOTE_MAX))
    }
}

/// Enters what one status says of one product.
fn say(
    book: &mut Book,
    status: Status,
    product: &str,
    target: &Target,
    details: &Details<'_>,
) -> Result<(), &'static str> {
    match target {
        Target::Unmapped(reason) => Err(Reason::text(*reason)),
        Target::Package(release, package) => {
            let word = match status {
                Status::Affected | Status::FirstAffected | Status::LastAffected => {
                    let (state, note) = details.open(product);
                    Word::Open(state, note)
                }
                Status::Fixed => Word::Fixed(
                    package
                        .version
                        .clone()
                        .ok_or("packages that are fixed in no version named")?,
                ),
                Status::NotAffected => Word::NotAffected(details.justification(product)),
                Status::UnderInvestigation => Word::Undetermined,
            };
            let urgency = details.urgencies.get(product).copied();
            book.distributor(release, package, urgency, &word);
            Ok(())
        }
        Target::Product {
            ecosystem,
            package,
            versions,
        } => {
            let said = book.upstream(ecosystem.clone(), package);
            let single = || versions.versions.iter().cloned();
            match status {
                Status::Affected => {
                    let (state, note) = details.open(product);
                    said.will_not_fix |= matches!(state, OpenState::Ignored | OpenState::EndOfLife);
                    if versions.all {
                        said.note = said.note.take().or(note);
                    }
                    said.affected(versions.clone());
                }
                Status::FirstAffected if versions.ranges.is_empty() && !versions.all => {
                    said.first_affected.extend(single());
                }
                Status::LastAffected if versions.ranges.is_empty() && !versions.all => {
                    said.last_affected.extend(single());
                }
                Status::FirstAffected | Status::LastAffected => said.affected(versions.clone()),
                Status::Fixed => {
                    said.fixed.extend(single());
                    if versions.versions.is_empty() && !fixed_from(said, versions) {
                        return Err("products that are fixed in no version named");
                    }
                }
                Status::NotAffected => {
                    if versions.all {
                        said.none_affected = true;
                        said.note = said.note.take().or_else(|| details.justification(product));
                    } else {
                        said.some_not_affected = true;
                    }
                }
                Status::UnderInvestigation => said.undetermined = true,
            }
            Ok(())
        }
        Target::Exchange(name, versions) => exchange(book, status, name, versions),
    }
}

/// A fixed range (`>=4.2`): its beginning is the fixed version.
fn fixed_from(said: &mut crate::product::upstream::Said, versions: &Versions) -> bool {
    let starts: Vec<_> = versions
        .ranges
        .iter()
        .filter_map(|range| range.introduced.clone())
        .collect();
    let found = !starts.is_empty();
    said.fixed.extend(starts);
    found
}

fn exchange(
    book: &mut Book,
    status: Status,
    name: &str,
    versions: &Versions,
) -> Result<(), &'static str> {
    const NO_BUILD: &str = "Exchange Server products without a build";
    let fixes = book.exchange();
    match status {
        // MSRC: "<15.02.1544.011" is affected, "15.02.1544.011" is fixed.
        Status::Affected | Status::FirstAffected | Status::LastAffected => {
            let mut ends = versions.ranges.iter().filter_map(|range| match &range.end {
                mailkeep_model::RangeEnd::Fixed(build) => Some(build),
                _ => None,
            });
            let found = ends.any(|build| fixes.fixed(name, build)) || fixes.unfixed(name);
            found.then_some(()).ok_or(NO_BUILD)
        }
        Status::Fixed => {
            let mut found = false;
            for build in &versions.versions {
                found |= fixes.fixed(name, build);
            }
            found.then_some(()).ok_or(NO_BUILD)
        }
        Status::NotAffected | Status::UnderInvestigation => Ok(()),
    }
}

/// Red Hat's and SUSE's words, and Microsoft's.
fn urgency(words: &str) -> Option<Urgency> {
    match words.to_ascii_lowercase().as_str() {
        "low" => Some(Urgency::Low),
        "medium" | "moderate" => Some(Urgency::Medium),
        "high" | "important" => Some(Urgency::High),
        "critical" => Some(Urgency::Critical),
        _ => None,
    }
}

/// The vector of the newest version of CVSS given.
fn best_vector(vulnerability: &Vulnerability<'_>) -> Option<Box<str>> {
    let contents = vulnerability
        .metrics
        .objects()
        .filter_map(|metric| metric.content.get());
    vulnerability
        .scores
        .objects()
        .chain(contents)
        .flat_map(|score: &Score<'_>| [&score.cvss_v4, &score.cvss_v3, &score.cvss_v2])
        .filter_map(|cvss| cvss.get()?.vector.some())
        .filter_map(|vector| Some((vector_rank(vector)?, vector)))
        // The first of the best: `max_by_key` would take the last.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, vector)| vector.into())
}

/// How new the version of CVSS a vector is written in is; `None` where it is no vector.
pub(crate) fn vector_rank(vector: &str) -> Option<u8> {
    let plain = vector.len() <= 512
        && vector
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'.' | b'(' | b')'));
    if !plain {
        return None;
    }
    match vector {
        v if v.starts_with("CVSS:4.") => Some(4),
        v if v.starts_with("CVSS:3.1/") => Some(3),
        v if v.starts_with("CVSS:3.0/") => Some(2),
        v if v.starts_with("AV:") || v.starts_with("(AV:") => Some(1),
        _ => None,
    }
}
