//! The names of a vulnerability: which of them it is filed under.
//!
//! Entry: [`canonical`]. Must not know any feed's format.

use std::collections::BTreeSet;

use mailkeep_model::AdvisoryId;

/// Takes the ids of one bulletin apart, into one pair for each vulnerability: the id it is filed
/// under, and its aliases, sorted.
///
/// A bulletin that names CVE ids covers each of them: every CVE gets a pair of its own, with all
/// ids that are no CVE (`DSA-5512-1`, `GHSA-...`) as aliases; another CVE of the same bulletin is
/// another vulnerability, never an alias. A bulletin without any CVE is one vulnerability, filed
/// under its best-known id ([`AdvisoryId::preference`]). Pairs are sorted, ids given twice count
/// once, and no ids give no pairs.
pub fn canonical(ids: impl IntoIterator<Item = AdvisoryId>) -> Vec<(AdvisoryId, Vec<AdvisoryId>)> {
    let (cves, others): (BTreeSet<_>, BTreeSet<_>) = ids.into_iter().partition(AdvisoryId::is_cve);
    let others: Vec<_> = others.into_iter().collect();
    if cves.is_empty() {
        let Some(best) = others.iter().min_by_key(|id| id.preference()).cloned() else {
            return Vec::new();
        };
        let aliases = others.into_iter().filter(|id| *id != best).collect();
        return vec![(best, aliases)];
    }
    cves.into_iter().map(|cve| (cve, others.clone())).collect()
}

/// Calls `found` for every CVE id in a text, in order, in upper case, however it is written
/// (`CVE-2023-42115`, `cve-2023-42115`); ids named twice are found twice.
pub fn cves_in(text: &str, mut found: impl FnMut(AdvisoryId)) {
    cves_at(text, |_, id| found(id));
}

/// [`cves_in`], with the place of each id in the text, in bytes.
pub fn cves_at(text: &str, mut found: impl FnMut(usize, AdvisoryId)) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr2_iter(b'C', b'c', bytes) {
        let inside_a_word = at
            .checked_sub(1)
            .and_then(|before| bytes.get(before))
            .is_some_and(u8::is_ascii_alphanumeric);
        if at < from || inside_a_word {
            continue;
        }
        if let Some(id) = bytes.get(at..).and_then(cve_prefix) {
            from = at + id.as_str().len();
            found(at, id);
        }
    }
}

/// The CVE id a text begins with.
fn cve_prefix(text: &[u8]) -> Option<AdvisoryId> {
    let (head, tail) = text.split_at_checked(4)?;
    if !head.eq_ignore_ascii_case(b"CVE-") {
        return None;
    }
    let (year, tail) = tail.split_at_checked(4)?;
    let number = tail.strip_prefix(b"-")?;
    let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = number.get(..digits)?;
    let text = format!(
        "CVE-{}-{}",
        std::str::from_utf8(year).ok()?,
        std::str::from_utf8(number).ok()?
    );
    AdvisoryId::new(text).ok().filter(AdvisoryId::is_cve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(list: &[&str]) -> Vec<AdvisoryId> {
        list.iter().map(|id| AdvisoryId::new(id).unwrap()).collect()
    }

    fn check(given: &[&str], expected: &[(&str, &[&str])]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, aliases)| (AdvisoryId::new(id).unwrap(), ids(aliases)))
            .collect();
        assert_eq!(canonical(ids(given)), expected);
    }

    #[test]
    fn a_bulletin_of_several_cves_becomes_one_pair_for_each() {
        check(
            &["DSA-5512-1", "CVE-2023-42116", "CVE-2023-42115", "DLA-1-1"],
            &[
                ("CVE-2023-42115", &["DLA-1-1", "DSA-5512-1"]),
                ("CVE-2023-42116", &["DLA-1-1", "DSA-5512-1"]),
            ],
        );
    }

    #[test]
    fn a_bulletin_without_cve_is_filed_under_its_best_known_id() {
        check(
            &["DSA-1-1", "OSV-2", "GHSA-aaaa-bbbb-cccc", "DSA-1-1"],
            &[("GHSA-aaaa-bbbb-cccc", &["DSA-1-1", "OSV-2"])],
        );
        check(&["TEMP-0000000-A1B2C3"], &[("TEMP-0000000-A1B2C3", &[])]);
        check(&[], &[]);
    }

    #[test]
    fn cve_ids_are_found_in_running_text() {
        let mut found = Vec::new();
        cves_in(
            "Fix cve-2023-42115, (CVE-2023-42116). xCVE-2020-0001 CVE-20-1 CVE-2020-123 CcVE-2021-00012",
            |id| found.push(id.to_string()),
        );
        assert_eq!(found, ["CVE-2023-42115", "CVE-2023-42116"]);
    }

    proptest! {
        #[test]
        fn finding_ids_never_panics(text in ".*") {
            cves_in(&text, |id| assert!(id.is_cve()));
        }
    }
}
