//! A desk at which somebody plans and rolls out in a lab: a fleet file, the teams' keys, feeds, a plan that
//! its teams have signed.
//!
//! Entry: [`Desk`]. Everything is done by the `mailkeep` program, as a user would do it.

pub mod fleet;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Lab;
use super::command::{output, program};
use super::error::LabError;
use super::family::Family;
use super::inventory::region;
use super::pair::Pair;

/// The plan, in the desk's directory.
pub(super) const PLAN: &str = "plan.json";

/// What is imported: the kind of the feed and its file.
pub(super) const FEEDS: [(&str, &str); 2] =
    [("debian-tracker", "tracker.json"), ("kev", "kev.json")];

/// A directory with a fleet file, from which `mailkeep` is called as the controller.
#[derive(Debug)]
pub struct Desk<'a> {
    lab: &'a Lab,
    binary: PathBuf,
    directory: PathBuf,
    /// Of the regions there are, and last the global one.
    teams: Vec<String>,
}

impl<'a> Desk<'a> {
    /// Makes a desk in a directory that is not there yet: keys of all teams, and a fleet file of the
    /// lab's hosts of which `minimum` must take mail in each region, changed by `change`.
    ///
    /// # Errors
    ///
    /// Where files or keys cannot be made.
    pub fn new(
        lab: &'a Lab,
        binary: &Path,
        directory: PathBuf,
        minimum: &str,
        change: impl FnOnce(String) -> String,
    ) -> Result<Self, LabError> {
        fs::create_dir_all(&directory)
            .map_err(|error| LabError::io("create", &directory, error))?;
        let hosts = lab.hosts()?;
        let mut teams: Vec<String> = Vec::new();
        for host in &hosts {
            let team = format!("{}-mail", region(host));
            if !teams.contains(&team) {
                teams.push(team);
            }
        }
        teams.push(fleet::GLOBAL_TEAM.to_owned());
        let desk = Self {
            lab,
            binary: binary.to_owned(),
            directory,
            teams,
        };
        let mut signers = String::new();
        for team in &desk.teams {
            let key = desk.directory.join(team);
            let mut keygen = program("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f"]);
            output("making a team's key", keygen.arg(&key))?;
            let public = key.with_extension("pub");
            let text = fs::read_to_string(&public)
                .map_err(|error| LabError::io("read", &public, error))?;
            signers.push_str(&fleet::signer(team, &text));
        }
        desk.write("allowed_signers", &signers)?;
        desk.write("mailkeep.toml", &change(fleet::file(&hosts, minimum)))?;
        Ok(desk)
    }

    /// Takes in that the made-up CVEs of these families are known and exploited, looks at every host,
    /// and makes a plan.
    pub fn plan(&self, pairs: &[(Family, Pair)]) -> Result<Value, LabError> {
        self.publish(pairs, true)?;
        for (kind, file) in FEEDS {
            self.answer(&["feeds", "import", "--source", kind, file])?;
        }
        self.answer(&["scan"])?;
        self.answer(&["plan", "--output", PLAN])?;
        let path = self.directory.join(PLAN);
        let text = fs::read_to_string(&path).map_err(|error| LabError::io("read", &path, error))?;
        parsed(&path, &text)
    }

    /// Writes the feeds as they are before the made-up CVEs of these families are known, or after.
    pub(super) fn publish(&self, pairs: &[(Family, Pair)], known: bool) -> Result<(), LabError> {
        self.write("tracker.json", &fleet::tracker(pairs, known))?;
        self.write("kev.json", &fleet::kev(pairs, known)?)
    }

    /// Every team signs its part with its key, the global one the whole.
    pub fn approve(&self) -> Result<(), LabError> {
        for team in &self.teams {
            self.answer(&["plan", "approve", PLAN, "--team", team, "--key", team])?;
        }
        Ok(())
    }

    /// `mailkeep rollout WORD PLAN`, to be run as the controller.
    pub fn rollout(&self, word: &str) -> Command {
        self.mailkeep(&["rollout", word, PLAN])
    }

    /// The report of the rollout, in JSON.
    pub fn report(&self) -> Result<Value, LabError> {
        let text = self.answer(&["rollout", "report", PLAN, "--format", "json"])?;
        parsed(&self.directory.join("the report"), &text)
    }

    /// Runs `mailkeep` to its end, which must be 0, or 1: something was found.
    pub fn answer(&self, args: &[&str]) -> Result<String, LabError> {
        let failed = |outcome: String, tail: String| LabError::CommandFailed {
            what: "calling mailkeep".to_owned(),
            command: format!("mailkeep {}", args.join(" ")),
            outcome,
            tail,
        };
        let output = self
            .mailkeep(args)
            .output()
            .map_err(|error| failed(format!("could not be started: {error}"), String::new()))?;
        if matches!(output.status.code(), Some(0 | 1)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let tail = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(failed(format!("failed ({})", output.status), tail))
    }

    /// The teams that approve; each one's key lies in the directory under its name.
    pub(super) fn teams(&self) -> &[String] {
        &self.teams
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `mailkeep`, to be run as the controller.
    pub(super) fn mailkeep(&self, args: &[&str]) -> Command {
        let mut command = self.lab.controller(&self.binary);
        command
            .args(args)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Writes a file in the directory.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))
    }
}

fn parsed(path: &Path, text: &str) -> Result<Value, LabError> {
    serde_json::from_str(text).map_err(|error| LabError::Damaged {
        path: path.display().to_string(),
        why: error.to_string(),
    })
}
