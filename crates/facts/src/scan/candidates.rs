//! What the host's own package manager would install, and the changelogs of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mailkeep_model::text::printable_max;
use mailkeep_model::{Candidate, InstalledPackage, Seen};

use super::{Lacks, OfferedChangelog, Sections};

pub(super) fn read(
    sections: &Sections<'_>,
    packages: &[InstalledPackage],
    lacks: &mut Lacks,
) -> Seen<Vec<Candidate>> {
    let mut found = if sections.has("apt-policy") {
        let text = sections.text("apt-lists");
        let lists = Lists::parse(&text);
        if lists.by_name.is_empty() && lists.indexes.is_empty() {
            // `apt-cache policy` then offers what is installed, which means nothing.
            lacks.add("candidates", "the host holds no package lists (apt update)");
            return Seen::No;
        }
        from_apt(&sections.text("apt-policy"), &lists)
    } else if sections.has("dnf-updates") || sections.has("zypper-updates") {
        if lacks.has("candidates") {
            return Seen::No;
        }
        let as_of = sections
            .all("rpm-lists")
            .filter_map(|(_, text)| second(text.split_ascii_whitespace().next()?))
            .max();
        if as_of.is_none() {
            lacks.add("candidates", "the host holds no repository metadata");
            return Seen::No;
        }
        let mut newer = from_dnf(&sections.text("dnf-updates"), as_of);
        newer.extend(from_zypper(&sections.text("zypper-updates"), as_of));
        with_the_rest(newer, packages, as_of)
    } else {
        if !lacks.has("candidates") && !lacks.has("packages") {
            lacks.add("candidates", "the host was not asked");
        }
        return Seen::No;
    };
    found.sort();
    found.dedup();
    if lacks.has("candidates") {
        if found.is_empty() {
            return Seen::No;
        }
        return Seen::Partly(found);
    }
    Seen::Yes(found)
}

/// The changelogs of sections `changelog SOURCE INSTALLED OFFERED`, cut at the installed version.
pub(super) fn changelogs(sections: &Sections<'_>) -> Vec<OfferedChangelog> {
    sections
        .all("changelog")
        .filter_map(|(arguments, text)| {
            let mut words = arguments.split_ascii_whitespace();
            let source = printable_max(words.next()?, 255);
            let installed = printable_max(words.next()?, 255);
            let offered = printable_max(words.next()?, 255);
            let end = format!("{source} ({installed}) ");
            let mut newer = String::new();
            for line in text.lines().take_while(|l| !l.starts_with(&end)) {
                newer.push_str(&printable_max(line, 1000));
                newer.push('\n');
            }
            Some(OfferedChangelog {
                source,
                installed,
                offered,
                text: newer,
            })
        })
        .collect()
}

fn second(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.parse().ok()?).ok()
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The files under `/var/lib/apt/lists`, by name without the ending.
#[derive(Default)]
struct Lists<'a> {
    by_name: BTreeMap<&'a str, List<'a>>,
    /// The package lists themselves, and when they were fetched: a repository that is trusted as it is
    /// (sources.list(5), `trusted`) may have no Release file.
    indexes: BTreeMap<&'a str, Option<Timestamp>>,
}

#[derive(Default)]
struct List<'a> {
    fetched: Option<Timestamp>,
    label: Option<&'a str>,
    suite: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Lists<'a> {
    /// Lines `CHANGED PATH`, and `PATH:Field: value` of the Release files.
    fn parse(text: &'a str) -> Self {
        let mut lists = Self::default();
        for line in text.lines() {
            if line.starts_with('/') {
                let Some((path, field)) = line.split_once("Release:") else {
                    continue;
                };
                let Some((key, value)) = field.split_once(": ") else {
                    continue;
                };
                let list = lists.by_name.entry(list_name(path)).or_default();
                let value = Some(value.trim());
                // The header comes first; a value further down belongs to something else.
                match key.to_ascii_lowercase().as_str() {
                    "label" => list.label = list.label.or(value),
                    "suite" => list.suite = list.suite.or(value),
                    "version" => list.version = list.version.or(value),
                    _ => {}
                }
            } else if let Some((changed, path)) = line.split_once(' ') {
                if let Some(path) = path.trim_end().strip_suffix("Release") {
                    let list = lists.by_name.entry(list_name(path)).or_default();
                    list.fetched = list.fetched.max(second(changed));
                } else if let Some((path, _compression)) = path.rsplit_once("_Packages") {
                    lists.indexes.insert(list_name(path), second(changed));
                }
            }
        }
        lists
    }

    /// Where a source line of `apt-cache policy` comes from, and when its index was fetched:
    /// `http://HOST/PATH SUITE/COMPONENT ARCH Packages` is the file `HOST_PATH_dists_SUITE_InRelease`;
    /// `file:/PATH ./ Packages`, a flat repository, is `_PATH_._InRelease`.
    fn origin(&self, source: &str) -> (Option<Box<str>>, Option<Timestamp>) {
        let mut words = source.split_ascii_whitespace();
        let (Some(address), Some(place)) = (words.next(), words.next()) else {
            return (None, None);
        };
        if address.starts_with("/var/lib/dpkg/") {
            return (None, None);
        }
        let suite = place.rsplit_once('/').map_or(place, |(suite, _)| suite);
        let url = match address.split_once("://") {
            Some((_, url)) => url,
            None => address.split_once(':').map_or(address, |(_, path)| path),
        };
        let url = url.rsplit_once('@').map_or(url, |(_, url)| url);
        let url = url.trim_end_matches('/').replace('_', "%5f");
        let name = match place.strip_suffix('/') {
            Some(flat) => format!("{url}/{flat}"),
            None => format!("{url}_dists_{suite}"),
        };
        let name = name.replace('/', "_");
        let Some(list) = self.by_name.get(name.as_str()) else {
            let oldest = || self.by_name.values().filter_map(|l| l.fetched).min();
            let fetched = self.index(&name).or_else(oldest);
            return (
                Some(printable_max(&format!("{url} {place}"), 200).into()),
                fetched,
            );
        };
        let told = match (list.label, list.version, list.suite) {
            (Some(label), Some(version), Some(suite)) => format!("{label}:{version}/{suite}"),
            (Some(label), _, _) => format!("{label}/{suite}"),
            _ => format!("{url} {place}"),
        };
        (Some(printable_max(&told, 200).into()), list.fetched)
    }

    /// When a repository's own package list was fetched: `NAME_Packages`, or
    /// `NAME_COMPONENT_binary-ARCH_Packages`.
    fn index(&self, name: &str) -> Option<Timestamp> {
        if let Some(fetched) = self.indexes.get(name) {
            return *fetched;
        }
        let below = format!("{name}_");
        let (next, fetched) = self.indexes.range(below.as_str()..).next()?;
        fetched.filter(|_| next.starts_with(&below))
    }

    /// When anything was fetched last.
    fn newest(&self) -> Option<Timestamp> {
        let releases = self.by_name.values().map(|l| l.fetched);
        releases
            .max()
            .flatten()
            .or_else(|| self.indexes.values().copied().flatten().max())
    }
}

/// `/var/lib/apt/lists/HOST_PATH_dists_SUITE_In` without directory and ending.
fn list_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix("_In")
        .or_else(|| name.strip_suffix('_'))
        .unwrap_or(name)
}

/// `apt-cache policy PACKAGE...`.
fn from_apt(text: &str, lists: &Lists<'_>) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut package: Option<&str> = None;
    // Inside the version table, below the candidate's own row.
    let mut at_candidate = false;
    let mut open = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end().strip_suffix(':').filter(|p| is_version(p));
            (at_candidate, open) = (false, false);
            continue;
        }
        if let Some(version) = line.strip_prefix("  Candidate: ") {
            let version = version.trim();
            open = false;
            if let Some(package) = package
                && version != "(none)"
                && is_version(version)
            {
                let name = package.split(':').next().unwrap_or(package);
                found.push(Candidate {
                    package: name.into(),
                    version: version.into(),
                    origin: None,
                    index_as_of: None,
                });
                open = true;
            }
            continue;
        }
        let Some(candidate) = found.last_mut().filter(|_| open) else {
            continue;
        };
        let content = line.trim_start();
        let indent = line.len() - content.len();
        // A version's row begins at column 5 (` *** ` marks the installed one); a source's at 8 or so.
        if indent == 5 || line.starts_with(" *** ") {
            let row = line.get(5..).unwrap_or_default();
            let version = row.split_ascii_whitespace().next().unwrap_or_default();
            at_candidate = version == &*candidate.version;
        } else if at_candidate && candidate.origin.is_none() {
            let source = content
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '-')
                .trim_start();
            (candidate.origin, candidate.index_as_of) = lists.origin(source);
        }
    }
    let newest = lists.newest();
    for candidate in &mut found {
        candidate.index_as_of = candidate.index_as_of.or(newest);
    }
    found
}

/// `dnf check-update`: `NAME.ARCH  [EPOCH:]VERSION-RELEASE  REPOSITORY`, until the obsoleted ones.
fn from_dnf(text: &str, as_of: Option<Timestamp>) -> Vec<Candidate> {
    text.lines()
        .take_while(|l| !l.starts_with("Obsoleting"))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (name, _arch) = words.next()?.rsplit_once('.')?;
            let version = words.next().filter(|v| v.contains('-') && is_version(v))?;
            let repository = words.next()?;
            words.next().is_none().then(|| Candidate {
                package: name.into(),
                version: version.strip_prefix("0:").unwrap_or(version).into(),
                origin: Some(printable_max(repository, 200).into()),
                index_as_of: as_of,
            })
        })
        .collect()
}

/// `zypper list-updates`: `v | REPOSITORY | NAME | CURRENT | AVAILABLE | ARCH`.
fn from_zypper(text: &str, as_of: Option<Timestamp>) -> Vec<Candidate> {
    text.lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [state, repository, name, _current, available, _arch] = columns.as_slice() else {
                return None;
            };
            (state.starts_with('v') && is_version(name) && is_version(available)).then(|| {
                Candidate {
                    package: (*name).into(),
                    version: (*available).into(),
                    origin: Some(printable_max(repository, 200).into()),
                    index_as_of: as_of,
                }
            })
        })
        .collect()
}

/// dnf and zypper name newer packages only; for the rest the installed version is the candidate.
fn with_the_rest(
    mut newer: Vec<Candidate>,
    packages: &[InstalledPackage],
    as_of: Option<Timestamp>,
) -> Vec<Candidate> {
    newer.sort();
    let rest: Vec<Candidate> = packages
        .iter()
        .filter(|p| {
            let at = newer.partition_point(|c| *c.package < *p.name);
            newer.get(at).is_none_or(|c| *c.package != *p.name)
        })
        .map(|p| Candidate {
            package: p.name.clone(),
            version: p.version.clone(),
            origin: None,
            index_as_of: as_of,
        })
        .collect();
    newer.extend(rest);
    newer
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str = "1795296818 /var/lib/apt/lists/mirror.example.org_debian-security_dists_bookworm-security_InRelease\n\
        1795290000 /var/lib/apt/lists/mirror.example.org_debian_dists_bookworm_InRelease\n\
        /var/lib/apt/lists/mirror.example.org_debian-security_dists_bookworm-security_InRelease:Label: Debian-Security\n\
        /var/lib/apt/lists/mirror.example.org_debian-security_dists_bookworm-security_InRelease:Suite: stable-security\n\
        /var/lib/apt/lists/mirror.example.org_debian-security_dists_bookworm-security_InRelease:Version: 12\n";

    #[test]
    fn apt_offers_a_version_from_a_repository_fetched_at_a_time() {
        let text = "exim4-base:\n  Installed: 4.96-15\n  Candidate: 4.96-15+deb12u4\n  Version table:\n     \
            4.96-15+deb12u4 500\n        500 http://mirror.example.org/debian-security bookworm-security/main amd64 Packages\n \
            *** 4.96-15 100\n        100 /var/lib/dpkg/status\nlibc6:i386:\n  Installed: 2.36-9\n  \
            Candidate: 2.36-9\n  Version table:\n *** 2.36-9 100\n        100 /var/lib/dpkg/status\n\
            gone:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let found = from_apt(text, &Lists::parse(LISTS));
        assert_eq!(found.len(), 2);
        assert_eq!(&*found[0].version, "4.96-15+deb12u4");
        assert_eq!(
            found[0].origin.as_deref(),
            Some("Debian-Security:12/stable-security")
        );
        assert_eq!(
            found[0].index_as_of.map(Timestamp::as_second),
            Some(1_795_296_818)
        );
        assert_eq!(&*found[1].package, "libc6");
        assert_eq!(found[1].origin, None);
    }

    #[test]
    fn a_repository_without_a_release_file_counts() {
        let lists = Lists::parse(
            "1795296818 /var/lib/apt/lists/_repo_live_exim_._Packages\n\
             1795296819 /var/lib/apt/lists/own.example_debian_dists_stable_main_binary-amd64_Packages.lz4\n",
        );
        assert!(lists.by_name.is_empty());
        for (source, origin, fetched) in [
            (
                "file:/repo/live/exim ./ Packages",
                "/repo/live/exim ./",
                1_795_296_818,
            ),
            (
                "https://own.example/debian stable/main amd64 Packages",
                "own.example/debian stable/main",
                1_795_296_819,
            ),
        ] {
            let (from, at) = lists.origin(source);
            assert_eq!(from.as_deref(), Some(origin));
            assert_eq!(at.map(Timestamp::as_second), Some(fetched));
        }
        assert_eq!(
            lists.newest().map(Timestamp::as_second),
            Some(1_795_296_819)
        );
    }

    #[test]
    fn dnf_and_zypper_name_newer_packages_and_the_rest_are_as_installed() {
        let dnf = "\npostfix.x86_64   2:3.5.25-1.el9   appstream\nopenssl-libs.x86_64 1:3.0.7-28.el9 baseos\n\
            Obsoleting Packages\nfoo.noarch 1-1 baseos\n";
        let found = from_dnf(dnf, None);
        assert_eq!(found.len(), 2);
        assert_eq!(&*found[0].version, "2:3.5.25-1.el9");
        let zypper = "S | Repository | Name | Current Version | Available Version | Arch\n\
            --+---\nv | Update | postfix | 3.7.3-1 | 3.7.4-2 | x86_64\n";
        assert_eq!(&*from_zypper(zypper, None)[0].version, "3.7.4-2");
        let (packages, _) =
            crate::rpm::parse_qa("postfix-3.5.9-1.el9.x86_64\nbash-5.1-1.el9.x86_64\n");
        let all = with_the_rest(found, &packages, None);
        assert_eq!(all.len(), 3);
        assert_eq!(&*all[2].package, "bash");
    }
}
