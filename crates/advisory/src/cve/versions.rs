//! Which versions a CVE record calls affected (CVE Record Format, `affected[].versions`).

use mailkeep_model::{RangeEnd, VersionRange};

use super::record::{Affected, Version};
use crate::product::is_keepable;
use crate::product::ranges::{
    self, Versions, after_wildcard, is_all, is_beginning, is_unspecified, natural,
};

/// What is made of one `affected` entry.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Affected versions.
    pub(super) versions: Versions,
    /// Affected, but which versions is not said.
    pub(super) unspecified: bool,
    /// Nothing is affected: the product and all its versions are called unaffected.
    pub(super) none: bool,
    /// The status of every version not named.
    pub(super) default: Status,
    /// Version texts nothing can be made of, the first of them.
    pub(super) unreadable: Option<String>,
    /// Ranges of commits, which no package version can be compared with.
    pub(super) commits: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Status {
    Affected,
    Unaffected,
    #[default]
    Unknown,
}

impl Status {
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "affected" => Some(Self::Affected),
            "unaffected" => Some(Self::Unaffected),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

impl Read {
    pub(super) fn new(affected: &Affected<'_>) -> Self {
        let mut read = Self {
            default: Status::read(affected.default_status.get()).unwrap_or_default(),
            ..Self::default()
        };
        let mut unaffected: Vec<(Box<str>, Option<Box<str>>)> = Vec::new();
        let mut named = 0_usize;
        for version in affected.versions.objects() {
            if matches!(version.version_type.get(), "git" | "commit") {
                read.commits = true;
                continue;
            }
            named += 1;
            match Status::read(version.status.get()).unwrap_or(Status::Affected) {
                Status::Affected => read.affected(version),
                Status::Unaffected => unaffected.extend(interval(version)),
                Status::Unknown => {}
            }
        }
        match read.default {
            Status::Affected => read.complement(unaffected),
            Status::Unaffected => {
                read.none = !read.says_affected()
                    && read.unreadable.is_none()
                    && named == 0
                    && !read.commits;
            }
            Status::Unknown => {}
        }
        read
    }

    /// Whether any version is called affected.
    pub(super) fn says_affected(&self) -> bool {
        let versions = &self.versions;
        self.unspecified
            || versions.all
            || !versions.ranges.is_empty()
            || !versions.versions.is_empty()
    }

    /// Whether it draws a line between affected versions and others.
    pub(super) fn decides(&self) -> bool {
        let versions = &self.versions;
        versions.all
            || !versions.ranges.is_empty()
            || (!versions.versions.is_empty() && self.default != Status::Unknown)
    }

    fn affected(&mut self, version: &Version<'_>) {
        let base = version.version.get();
        let end = match (version.less_than.some(), version.less_than_or_equal.some()) {
            (None, None) => return self.single(base, version),
            (Some(end), _) | (None, Some(end)) if is_all(end) => RangeEnd::Open,
            (Some(end), _) => match self.keep(end) {
                Some(end) => RangeEnd::Fixed(end),
                None => return,
            },
            (None, Some(end)) => match self.keep(end) {
                Some(end) => RangeEnd::LastAffected(end),
                None => return,
            },
        };
        let introduced = match base {
            base if is_beginning(base) || is_all(base) => None,
            base => match self.keep(base) {
                Some(base) => Some(base),
                None => return,
            },
        };
        self.changing(introduced, end, version);
    }

    /// A range, with the changes of status inside it.
    fn changing(&mut self, introduced: Option<Box<str>>, end: RangeEnd, version: &Version<'_>) {
        let mut changes: Vec<(&str, Status)> = version
            .changes
            .objects()
            .filter_map(|change| Some((change.at.some()?, Status::read(change.status.get())?)))
            .filter(|(at, _)| is_keepable(at))
            .collect();
        changes.sort_by(|a, b| natural(a.0, b.0));
        let mut from = Some(introduced);
        for (at, status) in changes {
            match (status, &from) {
                (Status::Unaffected, Some(introduced)) => {
                    self.versions.ranges.push(VersionRange {
                        introduced: introduced.clone(),
                        end: RangeEnd::Fixed(at.into()),
                    });
                    from = None;
                }
                (Status::Affected, None) => from = Some(Some(at.into())),
                _ => {}
            }
        }
        if let Some(introduced) = from {
            self.versions.ranges.push(VersionRange { introduced, end });
        }
    }

    fn single(&mut self, text: &str, version: &Version<'_>) {
        if is_all(text) {
            self.versions.all = true;
        } else if is_unspecified(text) {
            if version.changes.0.is_empty() {
                self.unspecified = true;
            } else {
                self.changing(None, RangeEnd::Open, version);
            }
        } else if let Some(found) = ranges::parse(text) {
            // A text without any version ("see the reference") says which versions as little as
            // "n/a" does.
            if found.all && found.variant.is_some() {
                self.unspecified = true;
                self.unreadable.get_or_insert_with(|| text.to_owned());
            } else {
                self.versions.all |= found.all;
                self.versions.ranges.extend(found.ranges);
                self.versions.versions.extend(found.versions);
            }
        } else {
            self.unspecified = true;
            self.unreadable.get_or_insert_with(|| text.to_owned());
        }
    }

    fn keep(&mut self, text: &str) -> Option<Box<str>> {
        if is_keepable(text) {
            Some(text.into())
        } else {
            self.unreadable.get_or_insert_with(|| text.to_owned());
            self.unspecified = true;
            None
        }
    }

    /// Everything is affected but these intervals, each from its first version to the first after
    /// it; a single version is taken for the fix, from which on nothing is affected.
    fn complement(&mut self, mut unaffected: Vec<(Box<str>, Option<Box<str>>)>) {
        unaffected.sort_by(|a, b| natural(&a.0, &b.0));
        let mut from = Some(None);
        for (start, end) in unaffected {
            if let Some(introduced) = from.take() {
                let ahead = introduced
                    .as_deref()
                    .is_none_or(|introduced: &str| natural(introduced, &start).is_lt());
                if !is_beginning(&start) && ahead {
                    self.versions.ranges.push(VersionRange {
                        introduced,
                        end: RangeEnd::Fixed(start),
                    });
                }
                from = end.map(Some);
            } else {
                return;
            }
        }
        match from {
            Some(None) if self.versions.ranges.is_empty() && self.versions.versions.is_empty() => {
                self.unspecified = false;
                self.versions.all = true;
            }
            Some(introduced @ Some(_)) => self.versions.ranges.push(VersionRange {
                introduced,
                end: RangeEnd::Open,
            }),
            _ => {}
        }
    }
}

/// An unaffected interval: its first version, and the first version after it.
fn interval(version: &Version<'_>) -> Option<(Box<str>, Option<Box<str>>)> {
    let start = version.version.get();
    if !is_keepable(start) || is_unspecified(start) && start != "0" {
        return None;
    }
    let end = match (version.less_than.some(), version.less_than_or_equal.some()) {
        (None, None) => None,
        (Some(end), _) | (None, Some(end)) if is_all(end) => None,
        (Some(end), _) => Some(end.to_owned()),
        (None, Some(end)) => Some(following(end)),
    };
    Some((
        start.into(),
        end.filter(|end| is_keepable(end)).map(Into::into),
    ))
}

/// The first version after `5.4.*` is `5.5`; after `5.4.3` it is taken to be `5.4.4`.
fn following(last: &str) -> String {
    after_wildcard(last)
        .or_else(|| after_wildcard(&format!("{last}.*")))
        .unwrap_or_else(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(affected: &str, expected: &str) {
        let parsed: Affected<'_> = serde_json::from_str(affected).unwrap();
        let read = Read::new(&parsed);
        let mut words = Vec::new();
        for (flag, word) in [
            (read.versions.all, "all"),
            (read.unspecified, "unspecified"),
            (read.none, "none"),
            (read.commits, "commits"),
            (read.unreadable.is_some(), "unreadable"),
        ] {
            if flag {
                words.push(word.to_owned());
            }
        }
        for range in &read.versions.ranges {
            let from = range.introduced.as_deref().unwrap_or_default();
            words.push(match &range.end {
                RangeEnd::Fixed(to) => format!("{from}..{to}"),
                RangeEnd::LastAffected(to) => format!("{from}..={to}"),
                RangeEnd::Limit(to) => format!("{from}..limit {to}"),
                RangeEnd::Open => format!("{from}.."),
            });
        }
        words.extend(read.versions.versions.iter().map(ToString::to_string));
        assert_eq!(words.join(" "), expected, "{affected}");
    }

    #[test]
    fn version_entries_become_ranges() {
        check(
            r#"{"versions": [{"status": "affected", "version": "0", "lessThan": "1.5.7"}, {"status": "affected", "version": "1.6.0", "lessThan": "1.6.7"}]}"#,
            "..1.5.7 1.6.0..1.6.7",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": "4.2.1", "lessThanOrEqual": "4.5.0"}]}"#,
            "4.2.1..=4.5.0",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": "all", "lessThanOrEqual": "*"}]}"#,
            "..",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": ">= 2.6.0, < 2.9.0"}]}"#,
            "2.6.0..2.9.0",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": "n/a"}]}"#,
            "unspecified",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": "see the reference URL"}]}"#,
            "unspecified unreadable",
        );
        check(
            r#"{"versions": [{"version": 7}, 7], "defaultStatus": 1}"#,
            "unspecified",
        );
    }

    #[test]
    fn a_change_of_status_ends_the_range() {
        check(
            r#"{"defaultStatus": "unaffected", "versions": [{"status": "affected", "version": "0", "lessThanOrEqual": "7.14.3",
                "changes": [{"at": "7.14.3.69", "status": "unaffected"}]}]}"#,
            "..7.14.3.69",
        );
        check(
            r#"{"versions": [{"status": "affected", "version": "1", "lessThan": "9",
                "changes": [{"at": "5", "status": "affected"}, {"at": "3", "status": "unaffected"}]}]}"#,
            "1..3 5..9",
        );
    }

    #[test]
    fn affected_by_default_is_all_but_the_unaffected() {
        check(
            r#"{"defaultStatus": "affected", "versions": [
                {"status": "affected", "version": "2.6.33"},
                {"status": "unaffected", "version": "0", "lessThan": "2.6.33"},
                {"status": "unaffected", "version": "5.4.226", "lessThanOrEqual": "5.4.*"},
                {"status": "unaffected", "version": "6.1", "lessThanOrEqual": "*"}]}"#,
            "2.6.33..5.4.226 5.5..6.1 2.6.33",
        );
        check(r#"{"defaultStatus": "affected"}"#, "all");
        check(
            r#"{"defaultStatus": "affected", "versions": [{"status": "unaffected", "version": "2.0"}]}"#,
            "..2.0",
        );
        check(r#"{"defaultStatus": "unaffected"}"#, "none");
    }

    #[test]
    fn commits_are_no_versions() {
        check(
            r#"{"versions": [{"status": "affected", "version": "77b44d", "lessThan": "1603fe", "versionType": "git"}]}"#,
            "commits",
        );
    }
}
