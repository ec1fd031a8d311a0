//! `--format openvex`: OpenVEX 0.2.0 (github.com/openvex/spec).
//!
//! A product is a host, its subcomponent the source package: the same version may run on one host
//! and wait for a restart on the next. A statement covers every host of which the same is true.
//! OpenVEX has no place for hosts that nothing is known of; they are named in `tooling`, where a
//! document tells how it came about.

use std::collections::BTreeMap;
use std::io::{self, Write};

use mailkeep_model::{AdvisoryId, Finding, Timestamp, text};
use serde::Serialize;

use super::vex::{self, VexStatus};
use super::{escaped, purl};
use crate::answer::Answer;

/// Writes an answer as one OpenVEX document.
pub fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    escaped::write_json(&Document::of(answer), out)
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@id")]
    id: String,
    author: String,
    role: &'static str,
    timestamp: Timestamp,
    version: u32,
    tooling: String,
    statements: Vec<Statement<'a>>,
}

#[derive(Serialize)]
struct Statement<'a> {
    vulnerability: Vulnerability<'a>,
    products: Vec<Product>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_notes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    justification: Option<&'static str>,
    #[serde(rename = "action_statement", skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

#[derive(Serialize)]
struct Vulnerability<'a> {
    name: &'a AdvisoryId,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
}

#[derive(Serialize)]
struct Product {
    #[serde(rename = "@id")]
    id: String,
    identifiers: Identifiers,
    subcomponents: Vec<Subcomponent>,
}

#[derive(Serialize)]
struct Subcomponent {
    #[serde(rename = "@id")]
    id: String,
    identifiers: Identifiers,
}

#[derive(Serialize)]
struct Identifiers {
    purl: String,
}

impl<'a> Document<'a> {
    fn of(answer: &'a Answer) -> Self {
        let scope = text::printable_max(answer.scope.trim(), 200);
        let statements: Vec<Statement<'a>> = vex::by_advisory(answer)
            .into_iter()
            .flat_map(|(advisory, findings)| statements(advisory, &findings))
            .collect();
        let content = answer.findings.iter().map(|f| {
            let status = f.verdict.status;
            format!("{} {} {status}", f.verdict.advisory, vex::product_id(f))
        });
        let digest = vex::digest(
            answer.generated_at,
            std::iter::once(scope.clone()).chain(content),
        );
        let mut tooling = format!("mailkeep {}", env!("CARGO_PKG_VERSION"));
        for gap in vex::gaps(answer) {
            tooling.push(' ');
            tooling.push_str(&gap);
        }
        Self {
            context: "https://openvex.dev/ns/v0.2.0",
            id: urn(digest),
            author: format!("Operator of the mail servers checked: {scope}"),
            role: "Operator",
            timestamp: answer.generated_at,
            version: 1,
            tooling,
            statements,
        }
    }
}

/// A UUID of version 8 from a digest (RFC 9562 section 5.8): made of the content, so that equal
/// answers bear equal ids.
fn urn(digest: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    let id = digest & !VERSION & !VARIANT | 0x8 << 76 | 0x2 << 62;
    format!(
        "urn:uuid:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id >> 96,
        id >> 80 & 0xffff,
        id >> 64 & 0xffff,
        id >> 48 & 0xffff,
        id & 0xffff_ffff_ffff
    )
}

/// The verdicts on one advisory, those alike in one statement.
fn statements<'a>(advisory: &'a AdvisoryId, findings: &[&Finding]) -> Vec<Statement<'a>> {
    let mut alike: BTreeMap<(VexStatus, String, String), BTreeMap<String, Vec<String>>> =
        BTreeMap::new();
    for finding in findings {
        let status = VexStatus::of(finding.verdict.status);
        let action = match status {
            VexStatus::Affected => vex::action(finding),
            VexStatus::Fixed | VexStatus::NotAffected | VexStatus::UnderInvestigation => {
                String::new()
            }
        };
        let packages = alike
            .entry((status, action, vex::evidence(finding)))
            .or_default()
            .entry(purl::of_host(finding.host.as_str()))
            .or_default();
        let package = purl::of_package(&finding.verdict);
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    let description = vex::title(findings);
    let aliases = vex::aliases(findings);
    alike
        .into_iter()
        .map(|((status, action, notes), products)| Statement {
            vulnerability: Vulnerability {
                name: advisory,
                description: description.clone(),
                aliases: aliases.clone(),
            },
            products: products
                .into_iter()
                .map(|(host, packages)| product(host, packages))
                .collect(),
            status: match status {
                VexStatus::Affected => "affected",
                VexStatus::Fixed => "fixed",
                VexStatus::NotAffected => "not_affected",
                VexStatus::UnderInvestigation => "under_investigation",
            },
            status_notes: (!notes.is_empty()).then_some(notes),
            justification: (status == VexStatus::NotAffected).then_some(vex::NOT_AFFECTED),
            action: (status == VexStatus::Affected).then_some(action),
        })
        .collect()
}

fn product(host: String, packages: Vec<String>) -> Product {
    Product {
        identifiers: Identifiers { purl: host.clone() },
        id: host,
        subcomponents: packages
            .into_iter()
            .map(|package| Subcomponent {
                identifiers: Identifiers {
                    purl: package.clone(),
                },
                id: package,
            })
            .collect(),
    }
}
