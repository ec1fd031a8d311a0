//! Floors: the least that has to be done, without any of what makes it useful.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use debversion::Version;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The tracker as `serde_json` reads it, typed and borrowing: every field that an import needs, and
/// nothing done with any of them.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Tracker<'a> {
    #[serde(borrow)]
    pub(crate) packages: List<'a, List<'a, Issue<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Issue<'a> {
    #[serde(borrow, default)]
    pub(crate) description: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) releases: List<'a, Release<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Release<'a> {
    pub(crate) status: &'a str,
    #[serde(borrow)]
    pub(crate) repositories: List<'a, &'a str>,
    #[serde(default)]
    pub(crate) fixed_version: Option<&'a str>,
    #[serde(default)]
    pub(crate) urgency: Option<&'a str>,
    #[serde(default)]
    pub(crate) nodsa: Option<&'a str>,
    #[serde(default)]
    pub(crate) nodsa_reason: Option<&'a str>,
}

impl Tracker<'_> {
    /// A number that depends on every field, so that none is left out.
    pub(crate) fn weight(&self) -> usize {
        let issues = self.packages.0.iter().flat_map(|(_, issues)| &issues.0);
        issues
            .map(|(id, issue)| {
                let releases = issue.releases.0.iter().map(|(name, r)| {
                    let words = [r.fixed_version, r.urgency, r.nodsa, r.nodsa_reason];
                    let words: usize = words.into_iter().flatten().map(str::len).sum();
                    name.len() + r.status.len() + r.repositories.0.len() + words
                });
                id.len() + issue.description.map_or(0, str::len) + releases.sum::<usize>()
            })
            .sum()
    }
}

/// An object in its own order, which is cheaper than any table.
#[derive(Debug)]
pub(crate) struct List<'a, V>(pub(crate) Vec<(&'a str, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for List<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a, V>(PhantomData<(&'a str, V)>);
        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Members<'a, V> {
            type Value = List<'a, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::with_capacity(2);
                while let Some(entry) = map.next_entry()? {
                    list.push(entry);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Installed source packages with their versions, by a bare loop over the lines.
pub(crate) fn packages(status: &str) -> Vec<(&str, &str)> {
    let mut packages = Vec::new();
    for paragraph in status.split("\n\n") {
        let (mut name, mut version, mut source, mut installed) = ("", "", None, false);
        for line in paragraph.lines() {
            if let Some(value) = line.strip_prefix("Package: ") {
                name = value;
            } else if let Some(value) = line.strip_prefix("Version: ") {
                version = value;
            } else if let Some(value) = line.strip_prefix("Source: ") {
                source = Some(value);
            } else if let Some(value) = line.strip_prefix("Status: ") {
                installed = value.ends_with(" installed");
            }
        }
        if !installed {
            continue;
        }
        packages.push(match source.map(|s| s.split_once(" (")) {
            Some(Some((source, rest))) => (source, rest.trim_end_matches(')')),
            Some(None) => (source.unwrap_or(name), version),
            None => (name, version),
        });
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Everything the tracker says of one release, parsed beforehand.
pub(crate) type Table<'a> = HashMap<&'a str, Vec<(&'a str, Option<Version>)>>;

/// Makes the table of a release; a fix is `None` where there is none yet.
pub(crate) fn table<'a>(tracker: &Tracker<'a>, release: &str) -> Table<'a> {
    let mut table = Table::new();
    for (package, issues) in &tracker.packages.0 {
        for (id, issue) in &issues.0 {
            let Some((_, state)) = issue.releases.0.iter().find(|(name, _)| *name == release)
            else {
                continue;
            };
            let fixed = state.fixed_version.and_then(|v| v.parse().ok());
            table.entry(*package).or_default().push((*id, fixed));
        }
    }
    table
}

/// How many pairs affect the packages, by a bare loop.
pub(crate) fn affected(table: &Table<'_>, packages: &[(&str, &str)]) -> usize {
    let mut count = 0;
    for (name, version) in packages {
        let (Some(issues), Ok(installed)) = (table.get(name), version.parse::<Version>()) else {
            continue;
        };
        count += issues
            .iter()
            .filter(|(_, fixed)| fixed.as_ref().is_none_or(|fixed| installed < *fixed))
            .count();
    }
    count
}
