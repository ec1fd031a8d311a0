//! What each check said of a message, in the order in which they are made, for the log: `mailkeep shield why` shows it.
//!
//! Entry: [`Checks`].

use mailkeep_inspect::{Reason, Verdict};
use mailkeep_model::text::printable_max;
use serde_json::{Value, json};

/// Reasons of one check that are told. A message may bring about many.
const MOST: usize = 16;
/// Characters of evidence that are told of each.
const LONGEST: usize = 160;

/// What was asked, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Value>);

impl Checks {
    /// What a check found; that it found nothing is told, too.
    pub(super) fn add(&mut self, check: &str, reasons: &[Reason]) {
        if reasons.is_empty() {
            let verdict = Verdict::Accept.name();
            self.0.push(json!({ "check": check, "verdict": verdict }));
        }
        for reason in reasons.iter().take(MOST) {
            self.0.push(json!({
                "check": check,
                "verdict": reason.verdict.name(),
                "rule": reason.rule,
                "place": printable_max(&reason.place, LONGEST),
                "evidence": printable_max(&reason.evidence, LONGEST),
            }));
        }
        if let Some(more) = reasons.len().checked_sub(MOST).filter(|more| *more > 0) {
            let evidence = format!("and {more} more");
            self.0.push(json!({ "check": check, "evidence": evidence }));
        }
    }

    /// What the virus scanners said, and what stands against all of them. A scanner's reasons begin with its name in
    /// their evidence.
    pub(super) fn scanners<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        scanned: &[Reason],
    ) {
        let mut left: Vec<Reason> = scanned.to_vec();
        for name in names {
            let is_its = |reason: &mut Reason| {
                let rest = reason.evidence.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            let its: Vec<Reason> = left.extract_if(.., is_its).collect();
            if its.is_empty() {
                self.0.push(json!({
                    "check": "antivirus",
                    "verdict": Verdict::Accept.name(),
                    "evidence": format!("{name}: nothing found"),
                }));
            } else {
                self.add("antivirus", &its);
            }
        }
        if !left.is_empty() {
            self.add("antivirus", &left);
        }
    }

    /// What was found out about the sender, as Authentication-Results has it, and what follows from that.
    pub(super) fn sender(&mut self, results: Option<&str>, reasons: &[Reason]) {
        if let Some(results) = results {
            let words: Vec<&str> = results.split_ascii_whitespace().collect();
            let evidence = printable_max(&words.join(" "), 4 * LONGEST);
            self.0
                .push(json!({ "check": "sender", "evidence": evidence }));
        }
        if !reasons.is_empty() {
            self.add("sender", reasons);
        }
    }

    /// For the log.
    pub(super) fn value(self) -> Value {
        Value::Array(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(evidence: &str) -> Reason {
        Reason {
            rule: "infected".into(),
            verdict: Verdict::Refuse,
            text: String::new(),
            evidence: evidence.to_owned(),
            place: String::new(),
        }
    }

    #[test]
    fn each_scanner_is_told_of_with_its_own_findings_and_a_flood_is_cut() {
        let mut checks = Checks::default();
        let scanned = [
            reason("one: X"),
            reason("one-b: Y"),
            reason("64 parts are scanned"),
        ];
        checks.scanners(["one", "one-b", "two"].into_iter(), &scanned);
        let told = checks.value();
        let evidence: Vec<_> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["evidence"])
            .collect();
        assert_eq!(
            evidence,
            [
                "one: X",
                "one-b: Y",
                "two: nothing found",
                "64 parts are scanned"
            ]
        );
        let mut checks = Checks::default();
        checks.add("content", &vec![reason(&"\u{202e}x".repeat(500)); 1000]);
        let told = checks.value().to_string();
        assert!(
            told.contains("and 984 more") && told.len() < 16_000,
            "{}",
            told.len()
        );
    }
}
