//! The root file system that hosts of one family share: built once, then only read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::archive::{View, carried_settings};
use super::command::{logged, program};
use super::error::LabError;
use super::family::Family;
use super::pair::{self, Pair, Pairing};

/// What every host has besides its mail software.
const COMMON_PACKAGES: &[&str] = &[
    "busybox-syslogd",
    "iproute2",
    "nftables",
    "openssh-server",
    "procps",
    "sudo",
    "tini",
];

/// Documentation is left out but for the changelogs, from which the fixed CVEs are read.
const DPKG_OPTIONS: &[&str] = &[
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/changelog.Debian.gz",
];

/// The lab's own packages win over the archive's, even where they are older.
const PIN: &str = "Package: *\nPin: origin \"\"\nPin-Priority: 1001\n";

/// A finished image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// The root file system.
    pub(super) root: PathBuf,
    /// Repositories `old` and `new` of its mail software.
    pub(super) packages: PathBuf,
}

/// Where a family's image lies below `cache`, built or not. One with further packages is an image of its
/// own; the mail software of both is the same.
pub(super) fn of(cache: &Path, family: Family, pairing: Pairing, extras: &[&str]) -> Image {
    let key = pair::key(family, pairing);
    let packages = cache.join("packages").join(&key);
    let root = cache.join("images").join(key_with(key, extras));
    Image { root, packages }
}

fn key_with(key: String, extras: &[&str]) -> String {
    if extras.is_empty() {
        key
    } else {
        format!("{key}-with-{}", extras.join("-"))
    }
}

/// Builds a family's image below `cache`, or finds it as it was built before.
pub(super) fn ensure(
    cache: &Path,
    family: Family,
    pairing: Pairing,
    extras: &[&str],
) -> Result<Image, LabError> {
    let key = key_with(pair::key(family, pairing), extras);
    let image = of(cache, family, pairing, extras);
    let stamp = cache.join("images").join(format!("{key}.complete"));
    if let Ok(had) = fs::read_to_string(&stamp)
        && image.root.is_dir()
        && let Ok(pair) = pair::read(&image.packages)
        && had == recipe(family, &pair, extras)
    {
        return Ok(image);
    }
    let started = Instant::now();
    eprintln!(
        "lab: building {key} on {} (once, a minute or two)",
        family.suite()
    );
    let view = View::open(cache.join("apt").join(family.suite()), family.suite())?;
    let pair = pair::prepare(&image.packages, family, pairing, &view)?;
    build(cache, family, &key, &image, &view, extras)?;
    fs::write(&stamp, recipe(family, &pair, extras))
        .map_err(|error| LabError::io("write", &stamp, error))?;
    let kind = if pair.made_up_cve.is_some() {
        "synthetic patch"
    } else {
        "archive"
    };
    eprintln!(
        "lab: built {key}: {} {}, new is {} ({kind}), {:.0} s",
        pair.source,
        pair.old,
        pair.new,
        started.elapsed().as_secs_f64()
    );
    Ok(image)
}

/// All that decides what an image holds; another text means it must be built anew.
fn recipe(family: Family, pair: &Pair, extras: &[&str]) -> String {
    [
        family.suite(),
        &family.packages().join(" "),
        &family.companions().join(" "),
        &[COMMON_PACKAGES, extras].concat().join(" "),
        &DPKG_OPTIONS.join("\n"),
        family.debconf(),
        family.script(),
        include_str!("scripts/image-finish.sh"),
        &pair.old,
    ]
    .join("\n")
}

fn build(
    cache: &Path,
    family: Family,
    key: &str,
    image: &Image,
    view: &View,
    extras: &[&str],
) -> Result<(), LabError> {
    let images = cache.join("images");
    let parts = images.join(format!("{key}.parts"));
    let partial = images.join(format!("{key}.partial"));
    for stale in [&parts, &partial, &image.root] {
        if stale.exists() {
            fs::remove_dir_all(stale).map_err(|error| LabError::io("clear", stale, error))?;
        }
    }
    fs::create_dir_all(&parts).map_err(|error| LabError::io("create", &parts, error))?;
    for (name, text) in [
        ("pin", PIN),
        ("debconf", family.debconf()),
        ("family", family.script()),
        ("finish", include_str!("scripts/image-finish.sh")),
    ] {
        let path = parts.join(name);
        fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))?;
    }

    let include = [
        COMMON_PACKAGES,
        extras,
        family.packages(),
        family.companions(),
    ]
    .concat()
    .join(",");
    let parts_at = parts.display(); // Holds no character a shell would mind: `Lab::open` saw to it.
    // In process and mount namespaces of its own that end with us, so that even a build that is cut
    // short leaves neither a mount nor a process behind.
    let mut build = program(
        "setpriv",
        ["--pdeathsig", "KILL", "unshare", "--mount", "--pid"],
    );
    build.args(["--fork", "--kill-child", "--mount-proc", "mmdebstrap"]);
    build.args(["--mode=root", "--variant=minbase"]);
    build.arg(format!("--include={include}"));
    build.args(
        carried_settings()?
            .iter()
            .map(|setting| format!("--aptopt={setting}")),
    );
    build.args(
        DPKG_OPTIONS
            .iter()
            .map(|option| format!("--dpkgopt={option}")),
    );
    build.arg(format!(
        "--setup-hook=cp {parts_at}/pin \"$1/etc/apt/preferences.d/lab\""
    ));
    build.arg(format!(
        "--essential-hook=chroot \"$1\" debconf-set-selections <{parts_at}/debconf"
    ));
    build.arg(format!(
        "--customize-hook=sh {parts_at}/finish \"$1\" {family} {parts_at}/family"
    ));
    build
        .arg(family.suite())
        .arg(&partial)
        .args(view.release_line());
    build.arg(format!(
        "deb [trusted=yes] copy:{} ./",
        image.packages.join("old").display()
    ));
    build.env("LC_ALL", "C.UTF-8");
    let log = images.join(format!("{key}.log"));
    logged(&format!("building the {key} image"), &mut build, &log)?;
    fs::rename(&partial, &image.root).map_err(|error| LabError::io("rename", &partial, error))?;
    fs::remove_dir_all(&parts).map_err(|error| LabError::io("clear", &parts, error))
}
