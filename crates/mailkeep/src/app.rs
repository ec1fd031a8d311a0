//! What every command works with: where state lies, what time it is, where words go.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailkeep_model::{Realm, Timestamp, text};
use mailkeep_store::{SqliteStore, StoreError};

use crate::cli::{ColorWhen, Global};
use crate::fleet::{self, FleetError, FleetFile};

/// The fleet file of the current directory.
const HERE: &str = "mailkeep.toml";

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
    /// The user the process runs as, where that is known.
    pub user: Option<u32>,
    /// `SUDO_USER`, else `USER`, else `LOGNAME`: who is recorded as having ordered something.
    pub login: Option<String>,
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

    /// Says an error with its causes, line by line: some point at a place in a file. Lines after the
    /// first are indented, so that no cause can pass for a line of its own.
    pub fn complain(error: &anyhow::Error) {
        let mut told = String::from("error");
        for cause in error.chain() {
            let cause = cause.to_string();
            told.push_str(if cause.contains('\n') { ":\n" } else { ": " });
            told.push_str(&cause);
        }
        for (at, line) in told.lines().enumerate() {
            Self::warn(&format!("{}{line}", if at == 0 { "" } else { "  " }));
        }
    }

    /// The fleet file: the one named, else the first one found at the usual places, else none. One
    /// that merely lies in the current directory is read only if nobody else could have put it there:
    /// it names programs to run.
    pub fn fleet(&self, named: Option<&Path>) -> anyhow::Result<Option<LoadedFleet>> {
        if let Some(path) = named {
            return Self::read_fleet(path.to_owned(), open(path)?).map(Some);
        }
        for path in self.usual_places() {
            if !path.is_file() {
                continue;
            }
            let file = open(&path)?;
            if path == Path::new(HERE)
                && let Err(why) = self.is_trusted(&path, &file)
            {
                Self::warn(&format!(
                    "warning: ./{HERE} {why} and is not used; `--fleet {HERE}` uses it all the same"
                ));
                continue;
            }
            return Self::read_fleet(path, file).map(Some);
        }
        Ok(None)
    }

    fn read_fleet(path: PathBuf, mut file: File) -> anyhow::Result<LoadedFleet> {
        let mut text = String::new();
        file.read_to_string(&mut text)
            .with_context(|| format!("cannot read the fleet file {}", path.display()))?;
        let (file, problems) = fleet::parse(&text).map_err(|error| match error {
            // Says that it has mistakes, and which file.
            FleetError::Mistakes(faults) => anyhow::Error::new(faults)
                .context(format!("the fleet file {} has mistakes", path.display())),
            other @ FleetError::TooLarge { .. } => anyhow::Error::new(other)
                .context(format!("cannot use the fleet file {}", path.display())),
        })?;
        for problem in problems {
            Self::warn(&format!("{}: {problem}", path.display()));
        }
        Ok(LoadedFleet { path, file })
    }

    /// Why a file that nobody named is not to be trusted. The link, where it is one, counts as well:
    /// paths in a fleet file are relative to where it was found.
    fn is_trusted(&self, path: &Path, file: &File) -> Result<(), String> {
        let unknown = |error: io::Error| format!("cannot be looked at ({error})");
        let link = fs::symlink_metadata(path).map_err(unknown)?;
        let target = file.metadata().map_err(unknown)?;
        for found in [&link, &target] {
            let owner = found.uid();
            if owner != 0 && self.environment.user != Some(owner) {
                return Err(format!("belongs to another user ({owner})"));
            }
        }
        if target.mode() & 0o002 != 0 {
            return Err("can be written by anybody".to_owned());
        }
        Ok(())
    }

    fn usual_places(&self) -> Vec<PathBuf> {
        let config = self
            .environment
            .config_home
            .clone()
            .or_else(|| Some(self.environment.home.as_ref()?.join(".config")));
        let mut places = vec![PathBuf::from(HERE)];
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
        if self.environment.user == Some(0) {
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

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read the fleet file {}", path.display()))
}

/// Writes a report whole or not at all: beside it first, then renamed over it. A link is followed.
/// What is no regular file (a device, a pipe, a descriptor of this process) is written to as it is.
/// A file that was there keeps its permissions; a new one has those the umask leaves.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = end_of_links(path)?;
    let there = match fs::metadata(&path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if is_of_the_system(&path) || there.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        // Appending, for a descriptor of this process may be a file that others write to.
        return OpenOptions::new()
            .append(true)
            .open(&path)?
            .write_all(bytes);
    }
    let permissions = there.as_ref().map(Metadata::permissions);
    replace(&path, bytes, 0o666, permissions)
}

/// Writes a file of the state whole or not at all; it is nobody else's to read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600, None)
}

fn replace(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    permissions: Option<Permissions>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Where links lead to, though there be nothing yet. What the kernel shows as links below `/proc` is
/// left alone: it need not have a path.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows (`path_resolution(7)`).
    const MAX_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if is_of_the_system(&path) {
            return Ok(path);
        }
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // It is no link, or there is nothing.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead on from it"))
}

fn is_of_the_system(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_report_keeps_the_permissions_of_the_one_it_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        write_whole(&path, b"one").unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, b"").unwrap();
        assert_eq!(mode_of(&path), mode_of(&plain), "as the umask has it");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(mode_of(&path), 0o640);
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn the_state_is_nobody_elses_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notices.json");
        fs::write(&path, b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(mode_of(&path), 0o600);
    }

    #[test]
    fn links_stay_links_though_they_lead_to_nothing_yet() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("site")).unwrap();
        let link = dir.path().join("latest");
        symlink("site/report", &link).unwrap();
        for text in ["one", "two"] {
            write_whole(&link, text.as_bytes()).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            let real = fs::read_to_string(dir.path().join("site/report")).unwrap();
            assert_eq!(real, text);
        }
        let round = dir.path().join("round");
        symlink("round", &round).unwrap();
        write_whole(&round, b"").unwrap_err();
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        use std::os::unix::fs::FileTypeExt as _;
        write_whole(Path::new("/dev/null"), b"x").unwrap();
        let file_type = fs::metadata("/dev/null").unwrap().file_type();
        assert!(file_type.is_char_device());
        let dir = tempfile::tempdir().unwrap();
        write_whole(dir.path(), b"x").unwrap_err();
    }

    #[test]
    fn a_fleet_file_of_another_user_or_open_to_all_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HERE);
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = File::open(&path).unwrap();
        let owner = file.metadata().unwrap().uid();
        let trusts = |user: u32| {
            let environment = Environment {
                user: Some(user),
                ..Environment::default()
            };
            let global = Global {
                state: None,
                at: None,
                color: ColorWhen::Never,
                quiet: false,
            };
            App::new(&global, environment, Timestamp::UNIX_EPOCH).is_trusted(&path, &file)
        };
        trusts(owner).unwrap();
        assert_eq!(trusts(owner + 1).is_ok(), owner == 0);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(trusts(owner).unwrap_err(), "can be written by anybody");
    }
}
