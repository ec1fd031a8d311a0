//! What a package's own changelog says it fixes (deb-changelog(5)): the CVE ids named in the
//! entries of a Debian source package, so that a host without any feed still gets an answer.
//!
//! Entry: [`read_changelog`]. The caller takes the changelog out of the candidate package.
//!
//! A changelog is prose. An id in it nearly always means "fixed here", and the lowest version that
//! names it is where the fix came in (later entries refer back to it). Two other uses are told
//! apart: a denial ("not affected by CVE-...") says nothing, and a reversal ("revert the patch for
//! CVE-...") undoes the fix until a later entry names the id again. The rules are those that hold
//! on the 19,710 items with a CVE id in the changelogs of one Debian installation. What cannot be
//! told is an entry that names an id fixed earlier and not named then: its version is too high, and
//! the answer errs on the side of affected.

use std::collections::BTreeMap;

use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, PackageKind, Platform, Problem, Statement, Urgency, Voice,
};

use crate::{ReadError, Sink, Summary, ids, text};

/// Longest changelog read, in bytes; the longest in Debian has some 4 MB.
const CHANGELOG_MAX: usize = 32 << 20;

/// Longest item kept in one piece, in bytes: what is looked up around each id is bounded by it. New
/// upstream releases of a kernel or database have items of 20 KB.
const ITEM_MAX: usize = 64 << 10;

/// Words in a sentence that say its ids are not fixed here.
const DENIALS: &[&str] = &[
    "not affected",
    "not vulnerable",
    "not exploitable",
    "not fixed",
    "does not affect",
    "doesn't affect",
    "do not affect",
    "don't affect",
    "unaffected",
    "still vulnerable",
    "false positive",
];

/// Words at the beginning of an item that say something is taken back.
const REVERSALS: &[&str] = &["revert", "back out", "backed out", "backing out"];

/// Reads a changelog, newest entry first as the format wants it, and gives a statement for each
/// CVE id that is fixed in it. `source` is the source package's name.
///
/// Entries under another source name (the package was renamed or forked from it) have versions of
/// their own order: what they fix is fixed from the oldest entry under `source` on. An id whose
/// last mention takes its fix back is a problem, and no statement. Entries whose heading cannot be
/// read are problems; ids in them are not used.
pub fn read_changelog(
    source: &str,
    text: &str,
    platform: &Platform,
    sink: &mut dyn Sink,
) -> Result<Summary, ReadError> {
    let Some(package) = text::token(source) else {
        return Err(ReadError::NotThisKind {
            expected: "changelog of a named source package",
            found: "a name that is none".to_owned(),
        });
    };
    if text.len() > CHANGELOG_MAX {
        return Err(ReadError::Limit {
            limit: format!("the changelog has more than {CHANGELOG_MAX} bytes"),
        });
    }
    let mut summary = Summary::default();
    let mut problem = |record: &str, reason: &str, sink: &mut dyn Sink| {
        summary.problems += 1;
        sink.problem(Problem::new(record, reason))
    };
    let mut entries = Vec::new();
    for entry in entries_of(text) {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(heading) => problem(source, &format!("no heading: {heading:?}"), sink)?,
        }
    }
    let records = entries.len() as u64;
    let mut states: BTreeMap<AdvisoryId, Fix<'_>> = BTreeMap::new();
    // Oldest first.
    entries.reverse();
    let oldest = entries
        .iter()
        .find(|entry| entry.source == source)
        .map(|entry| entry.version);
    for entry in &entries {
        let version = if entry.source == source {
            entry.version
        } else if let Some(oldest) = oldest {
            oldest
        } else {
            // Another package's changelog altogether.
            entry.version
        };
        for item in items_of(entry.body) {
            let reversal = takes_back(&item);
            ids::cves_at(&item, |at, id| {
                if denied(&item, at) {
                    return;
                }
                if reversal && !in_own_parentheses(&item, at) {
                    states.insert(id, Fix::TakenBack(entry.version));
                    return;
                }
                let fix = Fix::In {
                    version,
                    urgency: entry.urgency,
                    title: text::line(&item, text::TITLE_MAX),
                };
                let state = states.entry(id).or_insert_with(|| fix.clone());
                if matches!(state, Fix::TakenBack(_)) {
                    *state = fix;
                }
            });
        }
    }
    for (advisory, fix) in states {
        let (version, urgency, title) = match fix {
            Fix::In {
                version,
                urgency,
                title,
            } => (version, urgency, title),
            Fix::TakenBack(version) => {
                let reason = format!("{source} {version} takes its fix back, and none follows");
                problem(advisory.as_str(), &reason, sink)?;
                continue;
            }
        };
        let Some(version) = text::token(version) else {
            problem(advisory.as_str(), "its version is none", sink)?;
            continue;
        };
        sink.statement(Statement {
            advisory,
            aliases: Vec::new(),
            ecosystem: platform.ecosystem.clone(),
            package: package.clone(),
            package_kind: PackageKind::Source,
            module: None,
            voice: Voice::Changelog,
            title,
            cvss: None,
            claims: vec![Claim {
                release: Some(platform.release.clone()).filter(|release| !release.is_empty()),
                kind: ClaimKind::FixedIn { version },
                urgency,
                note: None,
                in_repository: None,
            }],
        })?;
    }
    summary.records = records;
    if records == 0 {
        return Err(ReadError::NotThisKind {
            expected: "Debian changelog",
            found: "text without a single entry".to_owned(),
        });
    }
    Ok(summary)
}

/// Fuzz entry.
pub fn fuzz(data: &[u8]) {
    let platform = Platform::new(mailkeep_model::Ecosystem::Debian, "bookworm");
    let text = String::from_utf8_lossy(data);
    let _read = read_changelog("exim4", &text, &platform, &mut crate::Collect::default());
}

#[derive(Debug, Clone)]
enum Fix<'a> {
    In {
        version: &'a str,
        urgency: Option<Urgency>,
        title: Box<str>,
    },
    TakenBack(&'a str),
}

/// Whether an item begins with words that take something back. What it does stands behind the
/// place, where it names one: `d/patches/x.patch: Revert ...`, `scsi: Revert ...`.
fn takes_back(item: &str) -> bool {
    let head = item
        .split_once(": ")
        .filter(|(place, _)| !place.contains(' '))
        .map_or(item, |(_, rest)| rest);
    let head: String = head.chars().take(80).collect();
    let head = head.to_lowercase();
    REVERSALS.iter().any(|word| head.starts_with(word))
        || (head.starts_with("disable ") && head.contains("patch") && !head.contains("test"))
}

/// Whether the id at this place stands in parentheses that are no part of a quotation. Then it says
/// what the item is for: `Revert "epoll: reduce contention" (CVE-2025-38349)` takes back what had
/// opened the hole, `Revert "Fix parser (CVE-2024-0001)"` what had closed it.
fn in_own_parentheses(item: &str, at: usize) -> bool {
    let before = item.get(..at).unwrap_or_default();
    let open = before.matches('(').count() > before.matches(')').count();
    let quoted = before.matches('"').count() % 2 == 1;
    open && !quoted
}

/// Whether the sentence around this place denies, and does not speak of a fix.
fn denied(item: &str, at: usize) -> bool {
    let (before, behind) = item.split_at_checked(at).unwrap_or((item, ""));
    let start = before.rfind(". ").map_or(0, |end| end + 2);
    let end = behind.find(". ").map_or(item.len(), |end| at + end);
    let sentence = item.get(start..end).unwrap_or_default();
    // A changelog's longest sentences list hundreds of ids; the words are looked for in each of
    // them once for every id, so they are bounded.
    if sentence.len() > 1000 {
        return false;
    }
    let sentence = sentence.to_lowercase();
    !sentence.contains("fix") && DENIALS.iter().any(|word| sentence.contains(word))
}

#[derive(Debug)]
struct Entry<'a> {
    source: &'a str,
    version: &'a str,
    urgency: Option<Urgency>,
    body: &'a str,
}

/// Entries in the order of the text; an error is a heading that is none.
fn entries_of(text: &str) -> Vec<Result<Entry<'_>, String>> {
    let mut entries = Vec::new();
    let mut heading = None;
    let mut body_from = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        // A heading begins at the margin; the body is indented, the trailer begins with ` --`.
        // Old changelogs end in editor settings, or in prose of before the format, at the margin.
        if !line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        if line.contains('(') && line.contains(';') {
            if let Some(heading) = heading.replace(line.trim_end()) {
                entries.push(entry_of(
                    heading,
                    text.get(body_from..start).unwrap_or_default(),
                ));
            }
            body_from = at;
        } else if line.contains("CVE-") {
            entries.push(Err(text::line(line, 80).into_string()));
        }
    }
    if let Some(heading) = heading {
        entries.push(entry_of(heading, text.get(body_from..).unwrap_or_default()));
    }
    entries
}

/// `exim4 (4.96-15+deb12u2) bookworm-security; urgency=high`.
fn entry_of<'a>(heading: &'a str, body: &'a str) -> Result<Entry<'a>, String> {
    let bad = || text::line(heading, 80).into_string();
    let (source, rest) = heading.split_once('(').ok_or_else(bad)?;
    let (version, rest) = rest.split_once(')').ok_or_else(bad)?;
    let (source, version) = (source.trim(), version.trim());
    let plain = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    if !plain(source) || !plain(version) || !version.contains(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let urgency = rest
        .to_ascii_lowercase()
        .split([';', ','])
        .find_map(|part| {
            let word = part.trim().strip_prefix("urgency=")?;
            crate::fixes::urgency(word.split_whitespace().next()?)
        });
    Ok(Entry {
        source,
        version,
        urgency,
        body,
    })
}

/// The items of an entry, each joined into one line. An id that was wrapped behind one of its
/// dashes is joined again.
fn items_of(body: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in body.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || line.starts_with(" --") {
            continue;
        }
        let bullet = trimmed
            .strip_prefix(['*', '+', '-'])
            .filter(|rest| rest.starts_with(' '));
        match (bullet, items.last_mut()) {
            (Some(rest), _) => items.push(rest.trim().to_owned()),
            (None, Some(item)) if item.len() <= ITEM_MAX => {
                if !ends_in_half_an_id(item) {
                    item.push(' ');
                }
                item.push_str(trimmed);
            }
            (None, _) => items.push(trimmed.to_owned()),
        }
    }
    items
}

/// Whether a text ends in `CVE-` or `CVE-2023-`.
fn ends_in_half_an_id(text: &str) -> bool {
    let tail = text.rsplit([' ', '(', ',', '/']).next().unwrap_or(text);
    let tail = tail.to_ascii_uppercase();
    tail.strip_prefix("CVE-").is_some_and(|year| {
        year.is_empty()
            || year
                .strip_suffix('-')
                .is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use mailkeep_model::Ecosystem;
    use proptest::prelude::*;

    fn changelog(text: &str) -> (Vec<String>, Vec<String>) {
        let mut sink = Collect::default();
        let platform = Platform::new(Ecosystem::Debian, "12");
        read_changelog("exim4", text, &platform, &mut sink).unwrap();
        let rows = sink.statements.iter().map(|s| {
            assert_eq!(s.voice, Voice::Changelog);
            assert_eq!(s.claims[0].release.as_deref(), Some("bookworm"));
            let ClaimKind::FixedIn { version } = &s.claims[0].kind else {
                panic!("{s:?}")
            };
            format!("{} {version}", s.advisory)
        });
        let problems = sink.problems.iter().map(ToString::to_string);
        (rows.collect(), problems.collect())
    }

    #[test]
    fn the_lowest_version_that_names_an_id_fixed_it() {
        let (rows, problems) = changelog(
            "exim4 (4.96-15+deb12u7) bookworm; urgency=medium\n\n  * Improve fix for CVE-2023-42115.\n\n -- A <a@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n\n\
             exim4 (4.96-15+deb12u2) bookworm-security; urgency=high\n\n  [ A. Person ]\n  * Non-maintainer upload.\n  * Fix SMTP AUTH (CVE-2023-42115, cve-2023-\n    42114) and CVE-\n    2023-42116.\n    - sub-item: CVE-2023-42117\n\n -- A <a@example.org>  Mon, 01 Oct 2023 00:00:00 +0000\n",
        );
        assert_eq!(
            rows,
            [
                "CVE-2023-42114 4.96-15+deb12u2",
                "CVE-2023-42115 4.96-15+deb12u2",
                "CVE-2023-42116 4.96-15+deb12u2",
                "CVE-2023-42117 4.96-15+deb12u2",
            ]
        );
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn denials_say_nothing_and_reversals_undo() {
        let (rows, problems) = changelog(
            "exim4 (5) sid; urgency=low\n\n  * Fix CVE-2024-0003 again.\n\n -- x\n\n\
             exim4 (4) sid; urgency=low\n\n  * d/patches: Revert fix of CVE-2024-0002, it breaks TLS.\n  * Revert \"Fix CVE-2024-0003\".\n\n -- x\n\n\
             exim4 (3) sid; urgency=low\n\n  * Not affected by CVE-2024-0001. Other words.\n  * Fix CVE-2024-0002. Mail users are unaffected.\n  * Fix CVE-2024-0003.\n\n -- x\n",
        );
        assert_eq!(rows, ["CVE-2024-0003 5"]);
        assert_eq!(
            problems,
            ["CVE-2024-0002: exim4 4 takes its fix back, and none follows"]
        );
    }

    #[test]
    fn taking_back_what_opened_a_hole_is_a_fix() {
        for (item, fixed) in [
            ("Revert \"epoll: reduce contention\" (CVE-2024-0001)", true),
            (
                "btusb: revert use of devm_kzalloc in btusb (CVE-2024-0001)",
                true,
            ),
            ("Disable CVE-2024-0001-testcase.patch for now", true),
            ("Revert \"Fix parser (CVE-2024-0001)\"", false),
            ("Back out patch for CVE-2024-0001", false),
            (
                "d/patches: Disable CVE-2024-0001.patch, it breaks TLS",
                false,
            ),
        ] {
            let (rows, problems) = changelog(&format!(
                "exim4 (1) sid; urgency=low\n\n  * {item}\n\n -- x\n"
            ));
            assert_eq!(
                (rows.len(), problems.len()),
                (usize::from(fixed), usize::from(!fixed)),
                "{item}"
            );
        }
    }

    #[test]
    fn fixes_under_another_name_hold_from_the_first_entry_under_this_one() {
        let (rows, _) = changelog(
            "exim4 (4.0-1) sid; urgency=low\n\n  * New.\n\n -- x\n\nexim4 (3.9-1) sid; urgency=low\n\n  * Renamed.\n\n -- x\n\nexim-tls (9.9-1) sid; urgency=low\n\n  * CVE-2002-0001\n\n -- x\n",
        );
        assert_eq!(rows, ["CVE-2002-0001 3.9-1"]);
    }

    #[test]
    fn a_broken_heading_is_named_and_other_text_refused() {
        let (rows, problems) = changelog(
            "exim4 (no version) sid; urgency=low\n  * CVE-2024-0001\n -- x\nexim4 (1) sid; urgency=low\n  * CVE-2024-0002\n -- x\nLocal variables:\nmode: debian-changelog\n",
        );
        assert_eq!(rows, ["CVE-2024-0002 1"]);
        assert!(problems[0].contains("no version"));
        let platform = Platform::new(Ecosystem::Debian, "12");
        let refused = read_changelog("exim4", "hello", &platform, &mut Collect::default());
        assert!(matches!(refused, Err(ReadError::NotThisKind { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,300}") {
            fuzz(text.as_bytes());
        }

        #[test]
        fn anything_like_a_changelog_is_read_without_panic(
            text in "((exim4|x) \\([0-9.]{0,4}\\)( sid; urgency=high)?\n|  \\* (Revert |Not affected )?CVE-20(24)?-?\n?[0-9]{0,6}\n| -- x\n){0,20}"
        ) {
            fuzz(text.as_bytes());
        }
    }
}
