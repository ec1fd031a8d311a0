//! The Debian security tracker's JSON, `security-tracker.debian.org/tracker/data/json`:
//! `{source package: {CVE id: {description, scope, debianbug, releases: {code name: {...}}}}}`.
//!
//! Entry: [`read`]. One statement for each pair of source package and id, with a claim for each
//! release. The tracker decides by version, never by membership, and so must whoever uses this: a
//! release it calls resolved is fixed *from* `fixed_version` on, and only `fixed_version: "0"`
//! means that no version was ever affected (`bin/tracker_service.py` and `lib/python/security_db.py`
//! of the tracker).
//!
//! Speed matters here (25 MB and more, thrice a day): each package is parsed where it lies in the
//! buffer, borrowing, in one pass. Only one that crosses the buffer's end is delimited first, and
//! only one that does not parse is read id by id.

use std::fmt;
use std::io::Read;

use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, Ecosystem, OpenState, PackageKind, Platform, Problem, Statement,
    Urgency, Voice,
};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json_stream::{Splitter, split_key};
use crate::text::Str;
use crate::{ReadError, Sink, Summary, text};

const EXPECTED: &str = "Debian security tracker JSON";

/// What the tracker's `next_point_update` says (it is there or not).
const NEXT_POINT_UPDATE: &str = "the fix waits for the next point release";

/// Releases remembered as covered; Debian has had fewer than 30.
const RELEASES_MAX: usize = 256;

/// Reads the tracker's JSON.
///
/// A pair whose record does not parse, or names no release, is a problem. One odd field within a
/// record (an unknown urgency, a `resolved` without version) is a problem too, but the statement
/// is kept with what is certain.
pub fn read(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    read_by(Way::InView, input, sink)
}

/// How packages are found: the fuzzer compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Each is delimited first.
    Delimited,
    /// Each is parsed where it lies, as far as that goes.
    InView,
}

fn read_by(way: Way, input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let mut splitter = Splitter::open(input, EXPECTED)?;
    let (array, _) = splitter.peek()?;
    if array {
        return Err(ReadError::NotThisKind {
            expected: EXPECTED,
            found: "a list, where the tracker has an object of packages".to_owned(),
        });
    }
    let mut reader = Reader {
        sink,
        summary: Summary::default(),
        statements: 0,
        releases: Vec::new(),
    };
    loop {
        if way == Way::InView {
            splitter.offer(|text| reader.fast(text))?;
        }
        let Some(member) = splitter.next()? else {
            break;
        };
        let bytes = match member.value {
            Ok(bytes) => bytes,
            Err(unusable) => {
                reader.summary.records += 1;
                reader.problem(&member.name(), &unusable.to_string())?;
                continue;
            }
        };
        reader.package(&member.key(), bytes)?;
    }
    reader.summary.cut_short = splitter.cut_short();
    if reader.statements == 0 && reader.summary.cut_short.is_none() {
        // Some other JSON, or a broken copy: taken for the tracker, it would say that nothing is
        // wrong anywhere.
        return Err(ReadError::NotThisKind {
            expected: EXPECTED,
            found: "an object without a single package in it that can be read".to_owned(),
        });
    }
    Ok(reader.summary)
}

/// Fuzz entry: any bytes, in one piece and byte by byte. Checks that packages read where they lie
/// give what packages delimited first give.
///
/// # Panics
///
/// Where that does not hold: it is what the fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    struct Bytewise<'a>(&'a [u8]);
    impl Read for Bytewise<'_> {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            let some = to.len().min(1);
            self.0.read(to.get_mut(..some).unwrap_or_default())
        }
    }
    let result = |way, input: &mut dyn Read| {
        let mut sink = crate::Collect::default();
        let summary = read_by(way, input, &mut sink).map_err(|error| error.to_string());
        (summary, sink)
    };
    let delimited = result(Way::Delimited, &mut &*data);
    assert_eq!(result(Way::InView, &mut &*data), delimited);
    assert_eq!(result(Way::InView, &mut Bytewise(data)), delimited);
}

struct Reader<'s> {
    sink: &'s mut dyn Sink,
    summary: Summary,
    statements: u64,
    /// Releases said to be covered so far.
    releases: Vec<Box<str>>,
}

impl Reader<'_> {
    fn problem(&mut self, record: &str, reason: &str) -> Result<(), ReadError> {
        self.summary.problems += 1;
        self.sink.problem(Problem::new(record, reason))?;
        Ok(())
    }

    /// Reads packages that are as they should be and wholly in view, up to the first that is not,
    /// and gives their length and number.
    fn fast(&mut self, text: &str) -> Result<(usize, u64), ReadError> {
        let (mut taken, mut packages) = (0, 0);
        loop {
            let rest = text.get(taken..).unwrap_or_default();
            let rest = rest.trim_start_matches([',', ' ', '\n', '\r', '\t']);
            let Some((key, value)) = split_key(rest.as_bytes()) else {
                return Ok((taken, packages));
            };
            let plain = std::str::from_utf8(key)
                .ok()
                .filter(|key| !key.contains('\\'));
            let start = text.len() - value.len();
            let (Some(name), Some(value)) = (plain.and_then(text::token), text.get(start..)) else {
                return Ok((taken, packages));
            };
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<Issues<'_>>();
            let Some(Ok(Issues(issues))) = values.next() else {
                return Ok((taken, packages));
            };
            let end = start + values.byte_offset();
            let next = text.get(end..).unwrap_or_default().trim_start();
            // Anything else behind it makes it a bad member, or it is not wholly in view.
            if !next.starts_with([',', '}']) {
                return Ok((taken, packages));
            }
            for (id, issue) in issues {
                self.issue(&name, &id, &issue)?;
            }
            taken = end;
            packages += 1;
        }
    }

    fn package(&mut self, package: &str, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(name) = text::token(package) else {
            self.summary.records += 1;
            return self.problem(package, "this is no name of a package");
        };
        if let Ok(Issues(issues)) = serde_json::from_slice(bytes) {
            for (id, issue) in issues {
                self.issue(&name, &id, &issue)?;
            }
            return Ok(());
        }
        // Something in it is odd: find out which of its records.
        let splitter = Splitter::open(bytes, EXPECTED);
        let (Ok(mut splitter), Some(b'{')) = (splitter, bytes.first()) else {
            self.summary.records += 1;
            return self.problem(package, "it holds no object of CVE ids");
        };
        while let Some(member) = splitter.next()? {
            let id = member.key();
            let issue = match member.value {
                Ok(bytes) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
                Err(unusable) => Err(unusable.to_string()),
            };
            match issue {
                Ok(issue) => self.issue(&name, &id, &issue)?,
                Err(reason) => {
                    self.summary.records += 1;
                    self.problem(&record(&name, &member.name()), &reason)?;
                }
            }
        }
        if let Some(reason) = splitter.cut_short() {
            self.summary.records += 1;
            self.problem(package, &reason)?;
        }
        Ok(())
    }

    fn issue(&mut self, package: &str, id: &str, issue: &Issue<'_>) -> Result<(), ReadError> {
        self.summary.records += 1;
        // CVE ids, and `TEMP-0000000-A1B2C3` where there is none yet.
        let advisory = match AdvisoryId::new(id) {
            Ok(advisory) => advisory,
            Err(error) => return self.problem(&record(package, id), &error.to_string()),
        };
        let mut claims = Vec::with_capacity(issue.releases.0.len());
        for (release, state) in &issue.releases.0 {
            if let Some(claim) = self.claim(package, id, release, state)? {
                claims.push(claim);
            }
        }
        if claims.is_empty() {
            return self.problem(&record(package, id), "it speaks of no release");
        }
        let title = issue.description.as_deref().unwrap_or_default();
        self.sink.statement(Statement {
            advisory,
            aliases: Vec::new(),
            ecosystem: Ecosystem::Debian,
            package: package.into(),
            package_kind: PackageKind::Source,
            module: None,
            voice: Voice::Distributor,
            title: text::line(title, text::TITLE_MAX),
            cvss: None,
            claims,
        })?;
        self.statements += 1;
        Ok(())
    }

    fn claim(
        &mut self,
        package: &str,
        id: &str,
        release: &str,
        state: &Release<'_>,
    ) -> Result<Option<Claim>, ReadError> {
        let Some(codename) = text::token(release) else {
            self.problem(&record(package, id), "a release has no usable name")?;
            return Ok(None);
        };
        self.covers(&codename);
        let odd = |what: &str| format!("{codename}: {what}");
        let (urgency, end_of_life) = match urgency(state.urgency.as_deref()) {
            Ok(known) => known,
            Err(unknown) => {
                let reason = odd(&format!("unknown urgency {unknown:?}, left out"));
                self.problem(&record(package, id), &reason)?;
                (None, false)
            }
        };
        let kind = match (&*state.status.0, state.fixed_version.as_deref()) {
            ("resolved", Some("0")) => ClaimKind::NotAffected,
            ("resolved", Some(version)) if !version.is_empty() => {
                if let Some(version) = text::token(version) {
                    ClaimKind::FixedIn { version }
                } else {
                    self.problem(
                        &record(package, id),
                        &odd("its fixed version is no version"),
                    )?;
                    ClaimKind::Undetermined
                }
            }
            // The tracker found the version in its own repository unaffected and leaves out since
            // when (its database has no version to give). An older one may be affected, so neither
            // "not affected" nor a version made up here would be true.
            ("resolved", _) => {
                self.problem(&record(package, id), &odd("resolved, but by no version"))?;
                ClaimKind::Undetermined
            }
            ("open", _) => ClaimKind::Open {
                state: self.open_state(package, id, state, end_of_life)?,
            },
            ("undetermined", _) => ClaimKind::Undetermined,
            (other, _) => {
                let reason = odd(&format!("unknown status {other:?}, taken as undetermined"));
                self.problem(&record(package, id), &reason)?;
                ClaimKind::Undetermined
            }
        };
        let words = state.nodsa.as_deref().map(str::trim);
        let words = words.filter(|words| !words.is_empty());
        let note = match (words, &state.next_point_update) {
            (None, None) => None,
            (Some(words), None) => Some(text::line(words, text::NOTE_MAX)),
            (None, Some(_)) => Some(NEXT_POINT_UPDATE.into()),
            (Some(words), Some(_)) => {
                let both = format!("{words}; {NEXT_POINT_UPDATE}");
                Some(text::line(&both, text::NOTE_MAX))
            }
        };
        Ok(Some(Claim {
            in_repository: state.repositories.highest(&codename).and_then(text::token),
            release: Some(codename),
            kind,
            urgency,
            note,
        }))
    }

    fn open_state(
        &mut self,
        package: &str,
        id: &str,
        state: &Release<'_>,
        end_of_life: bool,
    ) -> Result<OpenState, ReadError> {
        if end_of_life {
            return Ok(OpenState::EndOfLife);
        }
        match (state.nodsa_reason.as_deref(), state.nodsa.as_deref()) {
            (Some("ignored"), _) => Ok(OpenState::Ignored),
            (Some("postponed"), _) => Ok(OpenState::Postponed),
            (Some(""), _) | (None, Some(_)) => Ok(OpenState::Minor),
            (None, None) => Ok(OpenState::Open),
            (Some(other), _) => {
                let reason = format!("unknown reason {other:?} for no DSA, taken as open");
                self.problem(&record(package, id), &reason)?;
                Ok(OpenState::Open)
            }
        }
    }

    fn covers(&mut self, codename: &str) {
        if self.releases.iter().any(|known| **known == *codename) {
            return;
        }
        if self.releases.len() < RELEASES_MAX {
            self.releases.push(codename.into());
            self.sink.covers(Platform::new(Ecosystem::Debian, codename));
        }
    }
}

fn record(package: &str, id: &str) -> String {
    format!("{package} {id}")
}

/// The urgency, and whether it says end of life instead. Stars behind it mark one taken over from
/// the NVD; they change nothing.
fn urgency(text: Option<&str>) -> Result<(Option<Urgency>, bool), &str> {
    let Some(text) = text else {
        return Ok((None, false));
    };
    let urgency = match text.trim_end_matches('*') {
        "unimportant" => Urgency::Unimportant,
        "not yet assigned" => Urgency::NotYetAssigned,
        "low" => Urgency::Low,
        "medium" => Urgency::Medium,
        "high" => Urgency::High,
        "end-of-life" => return Ok((None, true)),
        "" => return Ok((None, false)),
        _ => return Err(text),
    };
    Ok((Some(urgency), false))
}

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow, default)]
    description: Option<Str<'a>>,
    #[serde(borrow)]
    releases: Releases<'a>,
}

#[derive(Deserialize)]
struct Release<'a> {
    #[serde(borrow)]
    status: Str<'a>,
    #[serde(borrow, default)]
    repositories: Repositories<'a>,
    #[serde(borrow, default)]
    fixed_version: Option<Str<'a>>,
    #[serde(borrow, default)]
    urgency: Option<Str<'a>>,
    #[serde(borrow, default)]
    nodsa: Option<Str<'a>>,
    #[serde(borrow, default)]
    nodsa_reason: Option<Str<'a>>,
    #[serde(default)]
    next_point_update: Option<IgnoredAny>,
}

/// An object in its own order, without a tree or table.
macro_rules! object_as_list {
    ($name:ident, $value:ident) => {
        struct $name<'a>(Vec<(Str<'a>, $value<'a>)>);

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct List;
                impl<'de> Visitor<'de> for List {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        // Most have two or three; a larger start would be paid for each.
                        let mut list = Vec::with_capacity(2);
                        while let Some(entry) = map.next_entry()? {
                            list.push(entry);
                        }
                        Ok($name(list))
                    }
                }
                deserializer.deserialize_map(List)
            }
        }
    };
}

object_as_list!(Issues, Issue);
object_as_list!(Releases, Release);

/// Versions by repository; those of the three there are for a release.
#[derive(Default)]
struct Repositories<'a>([Option<(Str<'a>, Str<'a>)>; 3]);

impl Repositories<'_> {
    /// The version in `<codename>-security`, else `-lts`, else the release itself. Which is the
    /// highest cannot be told without the order of versions, but whatever enters the security
    /// archive is built to be higher than the release, until a point release takes it over.
    fn highest(&self, codename: &str) -> Option<&str> {
        ["-security", "-lts", ""].into_iter().find_map(|suffix| {
            self.0.iter().flatten().find_map(|(repository, version)| {
                (repository.strip_prefix(codename) == Some(suffix)).then_some(&**version)
            })
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Repositories<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Few;
        impl<'de> Visitor<'de> for Few {
            type Value = Repositories<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of versions by repository")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut few = Repositories::default();
                for slot in &mut few.0 {
                    *slot = map.next_entry()?;
                    if slot.is_none() {
                        return Ok(few);
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(few)
            }
        }
        deserializer.deserialize_map(Few)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use proptest::prelude::*;

    fn tracker(text: &str) -> (Collect, Summary) {
        let mut sink = Collect::default();
        let summary = read(text.as_bytes(), &mut sink).unwrap();
        assert_eq!(summary.problems, sink.problems.len() as u64);
        (sink, summary)
    }

    /// The claim of a tracker with one release, and the problems on the way.
    fn claim(release: &str) -> (Option<Claim>, Vec<String>) {
        let (sink, _) = tracker(&format!(
            r#"{{"exim4": {{"CVE-2023-42115": {{"releases": {{"bookworm": {release}}}}}}}}}"#
        ));
        let reasons = sink.problems.into_iter().map(|p| p.reason).collect();
        let claim = sink
            .statements
            .into_iter()
            .next()
            .map(|s| s.claims[0].clone());
        (claim, reasons)
    }

    fn kind(release: &str) -> ClaimKind {
        let (claim, problems) = claim(release);
        assert_eq!(problems, [""; 0], "{release}");
        claim.unwrap().kind
    }

    #[test]
    fn one_statement_for_each_package_and_id() {
        let (sink, summary) = tracker(
            r#"{"exim4": {"CVE-2023-42115": {
                "description": "Exim AUTH Out-Of-Bounds Write \u001b[31m", "scope": "remote", "debianbug": 1053310,
                "releases": {
                    "bookworm": {"status": "resolved", "repositories": {"bookworm": "4.96-15+deb12u7", "bookworm-security": "4.96-15+deb12u8"},
                        "fixed_version": "4.96-15+deb12u2", "urgency": "high**"},
                    "sid": {"status": "resolved", "repositories": {"sid": "4.99.1-1"}, "fixed_version": "4.97~RC1-2", "urgency": "not yet assigned"}}},
               "TEMP-0000000-A1B2C3": {"releases": {"sid": {"status": "open", "urgency": "low", "next_point_update": true}}}}}"#,
        );
        assert_eq!((summary.records, summary.problems), (2, 0));
        assert_eq!(summary.cut_short, None);
        let exim = &sink.statements[0];
        assert_eq!(exim.advisory.as_str(), "CVE-2023-42115");
        assert_eq!(&*exim.title, "Exim AUTH Out-Of-Bounds Write \u{fffd}[31m");
        assert_eq!(
            exim.claims[0],
            Claim {
                release: Some("bookworm".into()),
                kind: ClaimKind::FixedIn {
                    version: "4.96-15+deb12u2".into()
                },
                urgency: Some(Urgency::High),
                note: None,
                in_repository: Some("4.96-15+deb12u8".into()),
            }
        );
        assert_eq!(exim.claims[1].in_repository.as_deref(), Some("4.99.1-1"));
        assert_eq!(sink.statements[1].advisory.as_str(), "TEMP-0000000-A1B2C3");
        let covers: Vec<_> = sink.covers.iter().map(ToString::to_string).collect();
        assert_eq!(covers, ["Debian:12", "Debian:sid"]);
    }

    #[test]
    fn fixed_version_zero_means_not_affected() {
        assert_eq!(
            kind(r#"{"status": "resolved", "fixed_version": "0", "urgency": "unimportant"}"#),
            ClaimKind::NotAffected
        );
    }

    #[test]
    fn each_open_state_is_shown_as_what_it_is() {
        for (fields, state) in [
            (r#""urgency": "low""#, OpenState::Open),
            (
                r#""urgency": "low", "nodsa": "Minor issue", "nodsa_reason": """#,
                OpenState::Minor,
            ),
            (
                r#""urgency": "low", "nodsa": "Minor issue""#,
                OpenState::Minor,
            ),
            (
                r#""urgency": "low", "nodsa": "x", "nodsa_reason": "ignored""#,
                OpenState::Ignored,
            ),
            (
                r#""urgency": "low", "nodsa": "x", "nodsa_reason": "postponed""#,
                OpenState::Postponed,
            ),
            (
                r#""urgency": "end-of-life", "nodsa": "x", "nodsa_reason": "ignored""#,
                OpenState::EndOfLife,
            ),
        ] {
            assert_eq!(
                kind(&format!(r#"{{"status": "open", {fields}}}"#)),
                ClaimKind::Open { state }
            );
        }
        assert_eq!(
            kind(r#"{"status": "undetermined"}"#),
            ClaimKind::Undetermined
        );
        let (claim, _) =
            claim(r#"{"status": "open", "nodsa": "Minor\nissue", "urgency": "unimportant"}"#);
        let claim = claim.unwrap();
        assert_eq!(claim.note.as_deref(), Some("Minor issue"));
        let (soon, _) =
            self::claim(r#"{"status": "open", "nodsa": "x", "next_point_update": true}"#);
        let note = soon.unwrap().note;
        assert_eq!(
            note.as_deref(),
            Some("x; the fix waits for the next point release")
        );
        assert_eq!(claim.urgency, Some(Urgency::Unimportant));
    }

    #[test]
    fn what_is_odd_is_named_and_never_taken_for_safe() {
        for (release, reason) in [
            (r#"{"status": "resolved"}"#, "resolved, but by no version"),
            (
                r#"{"status": "resolved", "fixed_version": ""}"#,
                "resolved, but by no version",
            ),
            (
                r#"{"status": "resolved", "fixed_version": "1 2"}"#,
                "no version",
            ),
            (r#"{"status": "maybe"}"#, "unknown status \"maybe\""),
        ] {
            let (claim, problems) = claim(release);
            assert_eq!(claim.unwrap().kind, ClaimKind::Undetermined, "{release}");
            assert!(problems[0].contains(reason), "{problems:?}");
        }
        for release in [
            r#"{"status": "open", "urgency": "dire"}"#,
            r#"{"status": "open", "nodsa_reason": "whim"}"#,
        ] {
            let (claim, problems) = claim(release);
            assert_eq!(
                claim.unwrap().kind,
                ClaimKind::Open {
                    state: OpenState::Open
                }
            );
            assert_eq!(problems.len(), 1);
        }
    }

    #[test]
    fn a_member_without_a_name_is_named_by_its_place_among_all() {
        let (sink, _) = tracker(
            r#"{"a": {"CVE-2024-1": {"releases": {"sid": {"status": "open"}}}}, "b": {}, 7}"#,
        );
        let records: Vec<&str> = sink.problems.iter().map(|p| p.record.as_str()).collect();
        assert!(records.contains(&"record 3"), "{records:?}");
    }

    #[test]
    fn one_bad_record_costs_nothing_but_itself() {
        let (sink, summary) = tracker(
            r#"{"a": {"CVE-2024-0001": {"releases": {"sid": {"status": "open"}}},
                      "CVE-2024-0002": {"releases": 7},
                      "CVE-2024-0003": {"releases": {}},
                      "CVE 2024 0004": {"releases": {"sid": {"status": "open"}}},
                      "CVE-2024-0005": {"releases": {"sid": {"status": "open"}}}},
                "b": [], "c c": {}, "d": nonsense,
                "e": {"CVE-2024-0006": {"releases": {"sid": {"status": "open"}}}}}"#,
        );
        let ids: Vec<_> = sink
            .statements
            .iter()
            .map(|s| s.advisory.as_str())
            .collect();
        assert_eq!(ids, ["CVE-2024-0001", "CVE-2024-0005", "CVE-2024-0006"]);
        let records: Vec<_> = sink.problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(
            records,
            [
                "a CVE-2024-0002",
                "a CVE-2024-0003",
                "a CVE 2024 0004",
                "b",
                "c c",
                "d"
            ]
        );
        assert_eq!((summary.records, summary.problems), (9, 6));
    }

    #[test]
    fn a_truncated_tracker_gives_its_complete_packages_and_says_so() {
        let (sink, summary) = tracker(
            r#"{"a": {"CVE-2024-0001": {"releases": {"sid": {"status": "open"}}}}, "b": {"CVE-20"#,
        );
        assert_eq!(sink.statements.len(), 1);
        assert!(summary.cut_short.is_some());
    }

    #[test]
    fn it_reads_the_same_however_it_trickles_in() {
        // More than is read before the first look, so that packages cross the edge of the view.
        let packages: Vec<_> = (0..60)
            .map(|n| {
                let odd = if n % 9 == 4 { " trailing" } else { "" };
                format!(r#""p\u0061{n}": {{"CVE-2024-{n:04}": {{"releases": {{"sid": {{"status": "open"}}}}}}}}{odd}"#)
                    .replace("\\u0061", if n % 7 == 3 { "\\u0061" } else { "a" })
            })
            .collect();
        let text = format!("{{{} }}", packages.join(" ,\n"));
        let (whole, summary) = tracker(&text);
        assert_eq!((whole.statements.len(), whole.problems.len()), (60, 7));
        assert_eq!(
            summary.records, 67,
            "what trails a package is counted by itself"
        );
        for step in [1, 7, 100] {
            let mut sink = Collect::default();
            let trickle = crate::window::tests::Trickle(text.as_bytes(), step);
            assert_eq!(read(trickle, &mut sink).unwrap(), summary);
            assert_eq!(sink, whole, "{step}");
        }
    }

    #[test]
    fn something_else_entirely_is_refused() {
        for text in [
            "[]",
            "<!doctype html>",
            "",
            "{\0",
            "{}",
            r#"{"error": "try later"}"#,
        ] {
            let error = read(text.as_bytes(), &mut Collect::default()).unwrap_err();
            assert!(matches!(error, ReadError::NotThisKind { .. }), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
        }

        #[test]
        fn any_record_is_kept_or_named(release in ".{0,80}", status in "resolved|open|.{0,4}", version in ".{0,20}") {
            let text = serde_json::json!({"p": {"CVE-2024-0001": {"releases":
                {release: {"status": status, "fixed_version": version, "urgency": "low"}}}}}).to_string();
            let mut sink = Collect::default();
            let _read = read(text.as_bytes(), &mut sink);
            prop_assert!(sink.statements.len() + sink.problems.len() >= 1);
        }
    }
}
