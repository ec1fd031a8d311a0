//! The old and the new version of a family's mail software: what is installed, and what `lab publish`
//! releases.
//!
//! Entry: [`prepare`]. A real pair is looked for among the versions the archive still holds; where there
//! is none, or a known CVE is wanted, the new version is made from the old one's files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archive::View;
use super::command::{output, program};
use super::error::LabError;
use super::family::Family;

/// Where the new version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// From the archive where it holds two versions, else synthetic.
    #[default]
    Archive,
    /// Always made from the old one's files, so that the CVE it fixes is known beforehand.
    Synthetic,
}

/// The two versions of a family's mail software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Source package.
    pub source: String,
    /// Source version that hosts start with.
    pub old: String,
    /// Source version of the patch.
    pub new: String,
    /// The CVE a synthetic patch claims to fix; `None` for a real one, whose changelog says which.
    pub made_up_cve: Option<String>,
}

/// How many versions are tried before a real pair is given up: mirrors list some they no longer hold.
const TRIED_VERSIONS: usize = 4;

/// The directory name of a family's pair and image.
pub(super) fn key(family: Family, pairing: Pairing) -> String {
    match pairing {
        Pairing::Archive => family.name().to_owned(),
        Pairing::Synthetic => format!("{family}-synthetic"),
    }
}

/// Fetches or makes both versions, as package repositories `old` and `new` below `directory`.
pub(super) fn prepare(
    directory: &Path,
    family: Family,
    pairing: Pairing,
    view: &View,
) -> Result<Pair, LabError> {
    let record = directory.join("pair.json");
    if record.exists() {
        return read(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|error| LabError::io("clear", directory, error))?;
    }
    let mut found: Vec<PathBuf> = Vec::new();
    let wanted = if pairing == Pairing::Archive { 2 } else { 1 };
    let mut last_failure = None;
    let versions = common_versions(family, view)?;
    for (index, version) in versions.iter().take(TRIED_VERSIONS).enumerate() {
        let at = directory.join(format!("candidate-{index}"));
        fs::create_dir_all(&at).map_err(|error| LabError::io("create", &at, error))?;
        let log = directory.join(format!("candidate-{index}.log"));
        match view.download(family.packages(), version, &at, &log) {
            Ok(()) => found.push(at),
            Err(error) => last_failure = Some(error),
        }
        if found.len() == wanted {
            break;
        }
    }
    let (old, new) = (directory.join("old"), directory.join("new"));
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|error| LabError::io("rename", from, error))
    };
    let made_up_cve = match found.as_slice() {
        [newest, older] => {
            rename(newest, &new)?;
            rename(older, &old)?;
            None
        }
        [only] => {
            rename(only, &old)?;
            make_new(&old, &new, family)?;
            Some(family.made_up_cve().to_owned())
        }
        _ => {
            return Err(last_failure.unwrap_or_else(|| LabError::CommandFailed {
                what: format!(
                    "looking for {} in {}",
                    family.packages().join(", "),
                    family.suite()
                ),
                command: "apt-cache madison".to_owned(),
                outcome: "named no version that all of them have".to_owned(),
                tail: String::new(),
            }));
        }
    };
    let (source, old_version) = index(&old)?;
    let (_, new_version) = index(&new)?;
    let pair = Pair {
        source,
        old: old_version,
        new: new_version,
        made_up_cve,
    };
    let text = serde_json::to_string_pretty(&pair).unwrap_or_default();
    fs::write(&record, text).map_err(|error| LabError::io("write", &record, error))?;
    Ok(pair)
}

/// The pair made earlier.
pub(super) fn read(directory: &Path) -> Result<Pair, LabError> {
    let record = directory.join("pair.json");
    let text = fs::read_to_string(&record).map_err(|error| LabError::io("read", &record, error))?;
    serde_json::from_str(&text).map_err(|error| LabError::Damaged {
        path: record.display().to_string(),
        why: error.to_string(),
    })
}

/// Writes the index of a directory of packages, as `apt` reads it.
pub(super) fn write_index(directory: &Path) -> Result<(), LabError> {
    let mut scan = program("dpkg-scanpackages", ["-m", "."]);
    let text = output("indexing packages", scan.current_dir(directory))?;
    let path = directory.join("Packages");
    fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))
}

/// The packages in a directory.
pub(super) fn packages_in(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let entries =
        fs::read_dir(directory).map_err(|error| LabError::io("read", directory, error))?;
    let mut packages: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    packages.sort();
    Ok(packages)
}

/// Versions that all packages of a family have, newest first.
fn common_versions(family: Family, view: &View) -> Result<Vec<String>, LabError> {
    let mut common: Option<Vec<String>> = None;
    for package in family.packages() {
        let versions = view.versions(package)?;
        common = Some(match common {
            None => versions,
            Some(mut common) => {
                common.retain(|version| versions.contains(version));
                common
            }
        });
    }
    Ok(common.unwrap_or_default())
}

fn make_new(old: &Path, new: &Path, family: Family) -> Result<(), LabError> {
    fs::create_dir_all(new).map_err(|error| LabError::io("create", new, error))?;
    repack_all(old, new, family, "+lab1", None).map(drop)
}

/// Makes packages whose daemon does not start, a version above those in `from`, and gives that version
/// (of the family's first package).
pub(super) fn make_broken(from: &Path, to: &Path, family: Family) -> Result<String, LabError> {
    repack_all(from, to, family, "+broken1", Some(family.daemon()))
}

fn repack_all(
    from: &Path,
    to: &Path,
    family: Family,
    suffix: &str,
    broken: Option<&str>,
) -> Result<String, LabError> {
    let mut made = String::new();
    for package in packages_in(from)? {
        let show = ["-f".as_ref(), package.as_os_str(), "Version".as_ref()];
        let version = output(
            "reading a package's version",
            &mut program("dpkg-deb", show),
        )?;
        made = format!("{}{suffix}", version.trim());
        let mut repack = program("sh", ["-c", include_str!("scripts/repack.sh"), "repack"]);
        repack.arg(&package).arg(&made);
        repack.args([family.suite(), family.made_up_cve()]).arg(to);
        repack.args(broken);
        output("making a synthetic patch", &mut repack)?;
    }
    Ok(made)
}

/// Indexes a directory of packages of one source; gives the source's name and version.
fn index(directory: &Path) -> Result<(String, String), LabError> {
    write_index(directory)?;
    let packages = packages_in(directory)?;
    let mut show = program(
        "dpkg-deb",
        ["-W", "--showformat=${source:Package} ${source:Version}\n"],
    );
    let text = output("reading a package's source", show.args(packages.first()))?;
    let (source, version) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    Ok((source.to_owned(), version.to_owned()))
}
