//! A program of Debian or its backports that is unpacked, and not installed: for tests that run one which this machine
//! lacks, and should not have to live with.
//!
//! Entry: [`unpacked`].

use std::fs;
use std::path::Path;

use super::archive::View;
use super::command::{logged, program};
use super::error::LabError;
use super::turn::lock_file;

/// Unpacks a package and what it needs beyond what is installed below `root`, once. False: this machine has no source of
/// Debian's packages.
///
/// # Errors
/// The archive cannot be read, or has no such package.
pub fn unpacked(package: &str, root: &Path) -> Result<bool, LabError> {
    let stamp = root.join(format!("{package}.complete"));
    if stamp.is_file() {
        return Ok(true);
    }
    let apt = root.join("apt");
    fs::create_dir_all(&apt).map_err(|error| LabError::io("create", &apt, error))?;
    let _lock = lock_file(&root.join("lock"))?;
    if stamp.is_file() {
        return Ok(true);
    }
    let Some(view) = View::with_backports(apt)? else {
        return Ok(false);
    };
    let log = root.join("log");
    for file in view.download_all(package, &log)? {
        let what = format!("unpacking {}", file.display());
        let args = ["-x".as_ref(), file.as_os_str(), root.as_os_str()];
        logged(&what, &mut program("dpkg-deb", args), &log)?;
    }
    fs::write(&stamp, "").map_err(|error| LabError::io("write", &stamp, error))?;
    Ok(true)
}
