//! Labs of which one run of a program has one to itself: a test's, the tour's, the benchmark's.
//!
//! Entry: [`Lab::beside`], and [`Lab::for_test`] for tests. Each lies beside the usual lab, and shares its
//! images.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::LabError;
use super::{LAB_VARIABLE, Lab, Wanted};

/// A lab of one's own; when it is dropped, the lab is taken down, and whoever waits is next.
#[derive(Debug)]
pub struct Turn {
    lab: Lab,
    _lock: File,
}

impl Lab {
    /// The lab of that name beside the usual one, with its images. A second run waits for the first; what
    /// one that was killed left is taken down.
    ///
    /// # Errors
    ///
    /// As [`Lab::open`], and where what was left cannot be taken down.
    pub fn beside(name: &str) -> Result<(Self, Turn), LabError> {
        let usual = default_root();
        let lab = Self::open(usual.with_file_name(name))?.with_cache(usual.join("cache"))?;
        let lock = lock_file(&lab.root().join("turn.lock"))?;
        lab.down()?;
        let turn = Turn {
            lab: lab.clone(),
            _lock: lock,
        };
        Ok((lab, turn))
    }

    /// A test's lab with its hosts, which have further packages of the archive if any are named.
    ///
    /// # Errors
    ///
    /// As [`Lab::up`].
    pub fn for_test_with(
        packages: &'static [&'static str],
        test: &str,
        wanted: &Wanted,
    ) -> Result<(Self, Turn), LabError> {
        let (lab, turn) = Self::beside(&format!("test-{}", test.replace('_', "-")))?;
        let lab = lab.with_packages(packages);
        lab.up(wanted)?;
        Ok((lab, turn))
    }

    /// A test's lab with its hosts. Where this machine can hold none, the test is to pass: that it was skipped,
    /// and why, has been said as `cargo xtask test` reads it.
    ///
    /// # Errors
    ///
    /// Everything that is not for want of a machine.
    pub fn for_test(test: &str, wanted: &Wanted) -> Result<Option<(Self, Turn)>, LabError> {
        match Self::for_test_with(&[], test, wanted) {
            Ok(own) => Ok(Some(own)),
            Err(error) if error.is_unavailable() => {
                crate::say(format_args!("skipped: {test}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down() {
            let root = self.lab.root().display();
            eprintln!("the lab in {root} was not taken down: {error}");
        }
    }
}

/// Where the usual lab lies.
pub(super) fn default_root() -> PathBuf {
    std::env::var_os(LAB_VARIABLE).map_or_else(
        || crate::suite::target_directory(&crate::workspace_root()).join("lab"),
        PathBuf::from,
    )
}

/// Takes a lock that ends with this process; waits for it.
pub(super) fn lock_file(path: &Path) -> Result<File, LabError> {
    let file = File::create(path).map_err(|error| LabError::io("create", path, error))?;
    file.lock()
        .map_err(|error| LabError::io("lock", path, error))?;
    Ok(file)
}
