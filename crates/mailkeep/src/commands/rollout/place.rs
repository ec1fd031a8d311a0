//! Where a rollout keeps what is no event, and who is at work on it.

use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use mailkeep_model::PlanId;
use sha2::{Digest as _, Sha256};

use crate::app::{App, LoadedFleet, write_private};

/// A look whether somebody is at work has the lock for a moment; whoever wants it tries again.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(50);

/// The directory of one rollout in the state directory. All controllers that share a state directory
/// run on one machine.
#[derive(Debug)]
pub(super) struct Place {
    state: PathBuf,
    directory: PathBuf,
}

impl Place {
    pub(super) fn of(app: &App, fleet: Option<&LoadedFleet>, plan: &PlanId) -> Self {
        let state = app.state_dir(fleet);
        // Not there yet, it is its own name.
        let state = std::fs::canonicalize(&state).unwrap_or(state);
        Self {
            directory: state.join("rollouts").join(plan.short()),
            state,
        }
    }

    /// The state directory.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// The lock that ends with this process, however it ends; `None` where another one has it.
    pub(super) fn lock(&self) -> anyhow::Result<Option<File>> {
        let what = || format!("cannot lock {}", self.directory.display());
        std::fs::create_dir_all(&self.directory).with_context(what)?;
        let file = File::create(self.lock_file()).with_context(what)?;
        for attempt in 1..=TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(BETWEEN),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(what),
            }
        }
        Ok(None)
    }

    /// Whether a controller carries the plan out now.
    pub(super) fn is_attended(&self) -> bool {
        let Ok(file) = File::open(self.lock_file()) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The lock of whoever begins a rollout, of any plan: what others have begun is looked at under it,
    /// and it is kept until one's own beginning stands in the journal. Waits for it.
    pub(super) fn begin(&self) -> anyhow::Result<File> {
        let path = self.state.join("rollouts/beginning");
        let what = || format!("cannot lock {}", path.display());
        let file = File::create(&path).with_context(what)?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                App::warn("another rollout is being begun; waiting for it");
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(what),
        }
        file.lock().with_context(what)?;
        Ok(file)
    }

    /// The journal of probe messages.
    pub(super) fn probes(&self) -> PathBuf {
        self.directory.join("probes.jsonl")
    }

    /// Where a file of one of the plan's recipes is kept, by its path relative to the fleet file.
    pub(super) fn recipe(&self, path: &str) -> PathBuf {
        let mut name = String::with_capacity(64);
        for byte in Sha256::digest(path) {
            let _never_fails = write!(name, "{byte:02x}");
        }
        self.directory.join("recipes").join(name)
    }

    /// Keeps the files of recipes: hosts in work need them to the end, whatever becomes of the originals.
    pub(super) fn keep_recipes<'f>(
        &self,
        files: impl IntoIterator<Item = &'f (String, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        for (path, bytes) in files {
            let file = self.recipe(path);
            let what = || format!("cannot keep {path} in {}", file.display());
            if let Some(directory) = file.parent() {
                std::fs::create_dir_all(directory).with_context(what)?;
            }
            write_private(&file, bytes).with_context(what)?;
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("lock")
    }
}
