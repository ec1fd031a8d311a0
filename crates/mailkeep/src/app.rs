//! What every command works with: where state lies, what time it is, where words go.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailkeep_model::{Realm, Timestamp, text};
use mailkeep_store::{SqliteStore, StoreError};

use crate::cli::{ColorWhen, Global};
use crate::fleet::{self, FleetFile};

/// What the environment says. Read once, at the edge; documented in docs/environment.md.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `NO_COLOR`, set and not empty (no-color.org).
    pub no_color: bool,
    /// The process runs as root.
    pub is_root: bool,
}

/// One run of the command line.
#[derive(Debug, Clone)]
pub struct App {
    /// "Now".
    pub now: Timestamp,
    /// `--at` was given: "now" stands still.
    pub fixed_time: bool,
    /// `--state`.
    state: Option<PathBuf>,
    /// Colour on standard output.
    pub colour: bool,
    /// `--quiet`.
    pub quiet: bool,
    /// What the environment says.
    pub environment: Environment,
}

/// A fleet file and where it lies.
#[derive(Debug)]
pub struct LoadedFleet {
    /// Its path.
    pub path: PathBuf,
    /// What it says.
    pub file: FleetFile,
}

impl LoadedFleet {
    /// A path named in the fleet file, which is relative to it.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The scope of a check of the whole fleet: its canonical path.
    pub fn scope(&self) -> String {
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("fleet:{}", path.display())
    }
}

impl App {
    /// Takes the shared options and the environment.
    pub fn new(global: &Global, environment: Environment, now: Timestamp) -> Self {
        let colour = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => io::stdout().is_terminal() && !environment.no_color,
        };
        Self {
            now: global.at.unwrap_or(now),
            fixed_time: global.at.is_some(),
            state: global.state.clone(),
            colour,
            quiet: global.quiet,
            environment,
        }
    }

    /// The same run at another time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self {
            now,
            ..self.clone()
        }
    }

    /// Says something on standard error, made safe to show. A closed standard error is no error.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            Self::warn(line);
        }
    }

    /// The same, even with `--quiet`.
    pub fn warn(line: &str) {
        let _closed = writeln!(io::stderr().lock(), "{}", text::printable(line));
    }

    /// The fleet file: the one named, else the first one found at the usual places, else none.
    pub fn fleet(&self, named: Option<&Path>) -> anyhow::Result<Option<LoadedFleet>> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match self.usual_places().into_iter().find(|path| path.is_file()) {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        let (file, problems) = load(&path)?;
        for problem in problems {
            Self::warn(&format!("{}: {problem}", path.display()));
        }
        Ok(Some(LoadedFleet { path, file }))
    }

    fn usual_places(&self) -> Vec<PathBuf> {
        let config = self
            .environment
            .config_home
            .clone()
            .or_else(|| Some(self.environment.home.as_ref()?.join(".config")));
        let mut places = vec![PathBuf::from("mailkeep.toml")];
        places.extend(config.map(|dir| dir.join("mailkeep/mailkeep.toml")));
        places.push(PathBuf::from("/etc/mailkeep/mailkeep.toml"));
        places
    }

    /// The state directory: `--state`, else what the fleet file says, else the usual place.
    pub fn state_dir(&self, fleet: Option<&LoadedFleet>) -> PathBuf {
        if let Some(dir) = &self.state {
            return dir.clone();
        }
        if let Some(fleet) = fleet
            && let Some(dir) = &fleet.file.state
        {
            return fleet.resolve(dir);
        }
        if self.environment.is_root {
            return PathBuf::from("/var/lib/mailkeep");
        }
        let state_home = self
            .environment
            .state_home
            .clone()
            .or_else(|| Some(self.environment.home.as_ref()?.join(".local/state")));
        state_home.unwrap_or_default().join("mailkeep")
    }

    /// Opens the store.
    pub fn store(&self, fleet: Option<&LoadedFleet>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.state_dir(fleet), Realm::Live)
    }
}

fn load(path: &Path) -> anyhow::Result<(FleetFile, Vec<mailkeep_model::Problem>)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the fleet file {}", path.display()))?;
    fleet::parse(&text).with_context(|| format!("the fleet file {} has mistakes", path.display()))
}

/// Writes a file whole or not at all: beside it first, then renamed over it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    // A report is for others to read; a temporary file is not.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
