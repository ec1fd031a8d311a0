//! `--format csaf-vex`: a CSAF 2.0 document of the profile VEX (OASIS CSAF 2.0 section 4.5), for
//! whoever collects such documents from the fleet's operator.
//!
//! A product is one source package in one version on one host. An answer without a single verdict
//! is written in the profile `csaf_base`: VEX demands at least one vulnerability. What could not be
//! judged stands in the document's notes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use mailkeep_model::{AdvisoryId, Finding, Status, Timestamp, Urgency, text};
use mailkeep_triage::cvss_base_score;
use serde::Serialize;

use super::vex::{self, VexStatus};
use super::{escaped, purl};
use crate::answer::Answer;
use crate::fleet::Organisation;

/// Writes an answer as one CSAF document.
pub fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    escaped::write_json(&Csaf::of(answer), out)
}

/// Who publishes where the fleet file does not say. `.invalid` is nobody's (RFC 2606 section 2).
const NOBODY: Publisher<'static> = Publisher {
    category: "user",
    name: Cow::Borrowed("Operator of the mail servers checked"),
    namespace: "https://operator.invalid",
};

/// A document says at most so many characters about one gap; there may be thousands of hosts.
const NOTE_MAX: usize = 500;

#[derive(Serialize)]
struct Csaf<'a> {
    document: Document<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_tree: Option<ProductTree>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vulnerabilities: Vec<Vulnerability<'a>>,
}

#[derive(Serialize)]
struct Document<'a> {
    category: &'static str,
    csaf_version: &'static str,
    distribution: Distribution,
    lang: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
    publisher: Publisher<'a>,
    title: String,
    tracking: Tracking,
}

#[derive(Serialize)]
struct Distribution {
    text: &'static str,
    tlp: Tlp,
}

#[derive(Serialize)]
struct Tlp {
    label: &'static str,
}

#[derive(Serialize)]
struct Publisher<'a> {
    category: &'static str,
    name: Cow<'a, str>,
    namespace: &'a str,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    category: &'static str,
    text: String,
    title: String,
}

#[derive(Serialize)]
struct Tracking {
    current_release_date: Timestamp,
    generator: Generator,
    id: String,
    initial_release_date: Timestamp,
    revision_history: [Revision; 1],
    status: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Generator {
    date: Timestamp,
    engine: Engine,
}

#[derive(Serialize)]
struct Engine {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Revision {
    date: Timestamp,
    number: &'static str,
    summary: &'static str,
}

#[derive(Serialize)]
struct ProductTree {
    branches: Vec<Branch>,
}

#[derive(Serialize)]
struct Branch {
    category: &'static str,
    name: String,
    #[serde(flatten)]
    holds: Holds,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Holds {
    Branches(Vec<Branch>),
    Product(Product),
}

#[derive(Serialize)]
struct Product {
    name: String,
    #[serde(rename = "product_id")]
    id: String,
    #[serde(rename = "product_identification_helper")]
    helper: Helper,
}

#[derive(Serialize)]
struct Helper {
    purl: String,
}

#[derive(Serialize)]
struct Vulnerability<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cve: Option<&'a AdvisoryId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<Flag>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<Id>,
    notes: Vec<Note>,
    product_status: BTreeMap<&'static str, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remediations: Vec<Remediation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scores: Vec<Score>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    threats: Vec<Threat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

#[derive(Serialize)]
struct Flag {
    label: &'static str,
    product_ids: Vec<String>,
}

#[derive(Serialize)]
struct Id {
    system_name: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Remediation {
    category: &'static str,
    details: String,
    product_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_required: Option<Restart>,
}

#[derive(Serialize)]
struct Restart {
    category: &'static str,
}

#[derive(Serialize)]
struct Threat {
    category: &'static str,
    details: String,
    product_ids: Vec<String>,
}

#[derive(Serialize)]
struct Score {
    #[serde(skip_serializing_if = "Option::is_none")]
    cvss_v2: Option<CvssV2>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvss_v3: Option<CvssV3>,
    products: Vec<String>,
}

#[derive(Serialize, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
struct CvssV2 {
    base_score: f64,
    vector_string: String,
    version: &'static str,
}

#[derive(Serialize, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
struct CvssV3 {
    base_score: f64,
    base_severity: &'static str,
    vector_string: String,
    version: &'static str,
}

impl<'a> Csaf<'a> {
    fn of(answer: &'a Answer) -> Self {
        let by_advisory = vex::by_advisory(answer);
        let vulnerabilities: Vec<Vulnerability<'a>> = by_advisory
            .iter()
            .map(|(advisory, findings)| vulnerability(advisory, findings))
            .collect();
        let category = if vulnerabilities.is_empty() {
            "csaf_base"
        } else {
            "csaf_vex"
        };
        Self {
            document: document(answer, category, &by_advisory),
            product_tree: product_tree(by_advisory.values().flatten().copied()),
            vulnerabilities,
        }
    }
}

fn document<'a>(
    answer: &'a Answer,
    category: &'static str,
    by_advisory: &BTreeMap<&AdvisoryId, Vec<&Finding>>,
) -> Document<'a> {
    let at = answer.generated_at;
    let scope = text::printable_max(answer.scope.trim(), 200);
    let content = by_advisory.values().flatten().map(|f| {
        let status = f.verdict.status;
        format!("{} {} {status}", f.verdict.advisory, vex::product_id(f))
    });
    let digest = vex::digest(at, std::iter::once(scope.clone()).chain(content));
    Document {
        category,
        csaf_version: "2.0",
        distribution: Distribution {
            text: "Tells which of the operator's servers are open to attack. For those who answer for them.",
            tlp: Tlp { label: "AMBER" },
        },
        lang: "en",
        notes: document_notes(answer),
        publisher: answer.organisation.as_ref().map_or(NOBODY, publisher),
        title: format!("Mail server vulnerabilities: {scope}"),
        tracking: Tracking {
            current_release_date: at,
            generator: Generator {
                date: at,
                engine: Engine {
                    name: "mailkeep",
                    version: env!("CARGO_PKG_VERSION"),
                },
            },
            id: format!("mailkeep-check-{:016x}", digest >> 64),
            initial_release_date: at,
            revision_history: [Revision {
                date: at,
                number: "1",
                summary: "As the check found it.",
            }],
            status: "final",
            version: "1",
        },
    }
}

/// It speaks of products it uses (CSAF 2.0 section 3.2.1.8.1).
fn publisher(organisation: &Organisation) -> Publisher<'_> {
    Publisher {
        category: "user",
        name: text::printable(&organisation.name),
        namespace: &organisation.url,
    }
}

fn document_notes(answer: &Answer) -> Vec<Note> {
    let counts = answer.counts();
    let of = |name: &str| counts.hosts.get(name).copied().unwrap_or(0);
    let mut notes = vec![Note {
        category: "summary",
        text: format!(
            "{} hosts: {} affected, {} clean, {} unknown, {} decommissioned. {} findings.",
            answer.hosts.len(),
            of("affected"),
            of("clean"),
            of("unknown"),
            of("decommissioned"),
            counts.surface.values().sum::<u64>(),
        ),
        title: "What was checked".to_owned(),
    }];
    notes.extend(vex::gaps(answer).iter().map(|gap| Note {
        category: "general",
        text: text::printable_max(gap, NOTE_MAX),
        title: "Not known with certainty".to_owned(),
    }));
    notes
}

/// Host, vendor, package, version. A product that several advisories name stands there once.
fn product_tree<'a>(findings: impl Iterator<Item = &'a Finding>) -> Option<ProductTree> {
    type Versions = BTreeMap<String, Product>;
    type Packages = BTreeMap<String, Versions>;
    type Vendors = BTreeMap<String, Packages>;
    let mut hosts: BTreeMap<String, Vendors> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for finding in findings {
        let product_id = vex::product_id(finding);
        if !seen.insert(product_id.clone()) {
            continue;
        }
        let verdict = &finding.verdict;
        let name = format!(
            "{} {} ({}) on {}",
            verdict.package, verdict.installed, verdict.platform, finding.host
        );
        let product = Product {
            name: text::printable(&name).into_owned(),
            id: product_id,
            helper: Helper {
                purl: purl::of_package(verdict),
            },
        };
        hosts
            .entry(named(finding.host.as_str()))
            .or_default()
            .entry(named(&verdict.platform.to_string()))
            .or_default()
            .entry(named(&verdict.package))
            .or_default()
            .insert(named(&verdict.installed), product);
    }
    let branches = nest("host_name", hosts, |vendors| {
        Holds::Branches(nest("vendor", vendors, |packages| {
            Holds::Branches(nest("product_name", packages, |versions| {
                Holds::Branches(
                    versions
                        .into_iter()
                        .map(|(name, product)| Branch {
                            category: version_category(&name),
                            name,
                            holds: Holds::Product(product),
                        })
                        .collect(),
                )
            }))
        }))
    });
    (!branches.is_empty()).then_some(ProductTree { branches })
}

fn nest<T>(
    category: &'static str,
    map: BTreeMap<String, T>,
    holds: impl Fn(T) -> Holds,
) -> Vec<Branch> {
    map.into_iter()
        .map(|(name, below)| Branch {
            category,
            name,
            holds: holds(below),
        })
        .collect()
}

/// A `product_version` must not contain a word that could mean a range (CSAF 2.0 section 6.1.31,
/// which finds `all` in `5.0+really4.9`); such a version is given as a patch level.
fn version_category(version: &str) -> &'static str {
    const RANGE_WORDS: [&str; 10] = [
        "<", ">", "after", "all", "before", "earlier", "later", "prior", "versions", "<=",
    ];
    let lower = version.to_lowercase();
    if RANGE_WORDS.iter().any(|word| lower.contains(word)) {
        "patch_level"
    } else {
        "product_version"
    }
}

fn named(name: &str) -> String {
    let name = text::printable(name.trim());
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name.into_owned()
    }
}

fn vulnerability<'a>(advisory: &'a AdvisoryId, findings: &[&Finding]) -> Vulnerability<'a> {
    let mut product_status: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut not_affected = Vec::new();
    for finding in findings {
        let id = vex::product_id(finding);
        let status = VexStatus::of(finding.verdict.status);
        if status == VexStatus::NotAffected {
            not_affected.push(id.clone());
        }
        product_status
            .entry(match status {
                VexStatus::Affected => "known_affected",
                VexStatus::Fixed => "fixed",
                VexStatus::NotAffected => "known_not_affected",
                VexStatus::UnderInvestigation => "under_investigation",
            })
            .or_default()
            .push(id);
    }
    let title = vex::title(findings);
    let flags = (!not_affected.is_empty()).then_some(Flag {
        label: vex::NOT_AFFECTED,
        product_ids: not_affected,
    });
    Vulnerability {
        cve: advisory.is_cve().then_some(advisory),
        flags: flags.into_iter().collect(),
        ids: ids(advisory, findings),
        notes: notes(advisory, title.as_deref(), findings),
        product_status,
        remediations: remediations(findings),
        scores: scores(findings),
        threats: threats(findings),
        title,
    }
}

/// Names that are no CVE id have their own place (section 3.2.3.5).
fn ids(advisory: &AdvisoryId, findings: &[&Finding]) -> Vec<Id> {
    let own = (!advisory.is_cve()).then(|| advisory.to_string());
    own.into_iter()
        .chain(vex::aliases(findings))
        .map(|name| Id {
            system_name: issuer(&name),
            text: name,
        })
        .collect()
}

/// Who gives out ids of this form.
fn issuer(id: &str) -> &'static str {
    match id.split('-').next().unwrap_or(id) {
        "ALBA" | "ALEA" | "ALSA" => "AlmaLinux errata",
        "CVE" => "CVE",
        "DLA" | "DSA" | "DTSA" | "ELA" | "TEMP" => "Debian security tracker",
        "GHSA" => "GitHub Advisory Database",
        "RHBA" | "RHEA" | "RHSA" => "Red Hat errata",
        "RLSA" => "Rocky Linux errata",
        "USN" => "Ubuntu security notices",
        _ => "Other",
    }
}

/// What it is, and what is said of products that no remediation or threat speaks of.
fn notes(advisory: &AdvisoryId, title: Option<&str>, findings: &[&Finding]) -> Vec<Note> {
    let mut notes = vec![Note {
        category: "description",
        text: title.map_or_else(
            || format!("{advisory}; no feed describes it."),
            str::to_owned,
        ),
        title: "Description".to_owned(),
    }];
    let open: BTreeSet<Note> = findings
        .iter()
        .filter_map(|f| {
            let title = match VexStatus::of(f.verdict.status) {
                VexStatus::Fixed => "Why it is fixed",
                VexStatus::UnderInvestigation => "Why it is not decided",
                VexStatus::Affected | VexStatus::NotAffected => return None,
            };
            Some(Note {
                category: "details",
                text: format!("{}: {}", vex::product_id(f), vex::evidence(f)),
                title: title.to_owned(),
            })
        })
        .collect();
    notes.extend(open);
    let four: BTreeSet<String> = findings
        .iter()
        .filter_map(|f| f.verdict.cvss.as_deref())
        .filter(|vector| vector.starts_with("CVSS:4") && cvss_base_score(vector).is_some())
        .map(|vector| text::printable(vector).into_owned())
        .collect();
    // CSAF 2.0 came before CVSS 4.0 and has no field for it.
    notes.extend(four.into_iter().map(|vector| Note {
        category: "other",
        text: vector,
        title: "CVSS 4.0".to_owned(),
    }));
    notes
}

/// Every affected product has an action (section 4.5, 6.1.27.10); equal ones are given together.
fn remediations(findings: &[&Finding]) -> Vec<Remediation> {
    let mut grouped: BTreeMap<(&'static str, bool, String), Vec<String>> = BTreeMap::new();
    for finding in findings {
        let status = finding.verdict.status;
        let category = match status {
            Status::FixAvailable | Status::FixPublished | Status::RestartPending => "vendor_fix",
            Status::NoFix => "none_available",
            Status::WillNotFix => "no_fix_planned",
            Status::Mitigated => "mitigation",
            Status::Unknown | Status::Fixed | Status::NotAffected => continue,
        };
        let restart = status == Status::RestartPending;
        let details = format!("{} {}", vex::action(finding), vex::evidence(finding));
        grouped
            .entry((category, restart, details))
            .or_default()
            .push(vex::product_id(finding));
    }
    grouped
        .into_iter()
        .map(|((category, restart, details), product_ids)| Remediation {
            category,
            details,
            product_ids,
            restart_required: restart.then_some(Restart {
                category: "service",
            }),
        })
        .collect()
}

fn threats(findings: &[&Finding]) -> Vec<Threat> {
    let mut grouped: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
    for finding in findings {
        let mut add = |category, details| {
            grouped
                .entry((category, details))
                .or_default()
                .push(vex::product_id(finding));
        };
        match VexStatus::of(finding.verdict.status) {
            // Section 6.1.27.9: why a product is not affected.
            VexStatus::NotAffected => add("impact", vex::evidence(finding)),
            VexStatus::Affected => {
                let ranked = match finding.verdict.urgency {
                    Some(Urgency::Unimportant) => "; its distributor calls it unimportant",
                    _ => "",
                };
                add(
                    "impact",
                    format!("Severity {}{ranked}.", finding.severity.name()),
                );
            }
            VexStatus::Fixed | VexStatus::UnderInvestigation => {}
        }
        if finding.kev {
            let known = "In CISA's catalogue of known exploited vulnerabilities.";
            add("exploit_status", known.to_owned());
        }
    }
    grouped
        .into_iter()
        .map(|((category, details), product_ids)| Threat {
            category,
            details,
            product_ids,
        })
        .collect()
}

/// Scores of complete vectors of the versions that CSAF 2.0 knows; one a product (6.1.7).
fn scores(findings: &[&Finding]) -> Vec<Score> {
    let mut scores: Vec<Score> = Vec::new();
    for finding in findings {
        let Some((cvss_v2, cvss_v3)) = finding.verdict.cvss.as_deref().and_then(base) else {
            continue;
        };
        let id = vex::product_id(finding);
        match scores
            .iter_mut()
            .find(|s| s.cvss_v2 == cvss_v2 && s.cvss_v3 == cvss_v3)
        {
            Some(score) => score.products.push(id),
            None => scores.push(Score {
                cvss_v2,
                cvss_v3,
                products: vec![id],
            }),
        }
    }
    scores
}

/// The base metrics alone, in the order of the specification: temporal and environmental metrics
/// are another's view of another day, and the score has to follow from the vector (6.1.9).
fn base(vector: &str) -> Option<(Option<CvssV2>, Option<CvssV3>)> {
    const V2: [&str; 6] = ["AV", "AC", "Au", "C", "I", "A"];
    const V3: [&str; 8] = ["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
    let vector = vector.trim();
    let base_score = (cvss_base_score(vector)? * 10.0).round() / 10.0;
    let metrics = |names: &[&str], text: &str| -> Option<String> {
        let given: Vec<(&str, &str)> = text
            .trim_matches(['(', ')'])
            .split('/')
            .filter_map(|metric| metric.split_once(':'))
            .collect();
        let parts: Option<Vec<String>> = names
            .iter()
            .map(|name| {
                let (_, value) = given.iter().find(|(found, _)| found == name)?;
                Some(format!("{name}:{value}"))
            })
            .collect();
        Some(parts?.join("/"))
    };
    for (prefix, version) in [("CVSS:3.0/", "3.0"), ("CVSS:3.1/", "3.1")] {
        if let Some(rest) = vector.strip_prefix(prefix) {
            let score = CvssV3 {
                base_score,
                base_severity: match base_score {
                    s if s >= 9.0 => "CRITICAL",
                    s if s >= 7.0 => "HIGH",
                    s if s >= 4.0 => "MEDIUM",
                    s if s > 0.0 => "LOW",
                    _ => "NONE",
                },
                vector_string: format!("{prefix}{}", metrics(&V3, rest)?),
                version,
            };
            return Some((None, Some(score)));
        }
    }
    if vector.starts_with("CVSS:") {
        return None;
    }
    let score = CvssV2 {
        base_score,
        vector_string: metrics(&V2, vector)?,
        version: "2.0",
    };
    Some((Some(score), None))
}
