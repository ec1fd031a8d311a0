//! Running programs so that a failure says what was tried and what the program said.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{LabError, tail_of};

/// Longest command line shown in a message, in characters: two lines or so.
const MAX_COMMAND: usize = 160;

/// A program with its arguments, standard input closed.
pub(super) fn program<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end and gives what it printed on standard output.
pub(super) fn output(what: &str, command: &mut Command) -> Result<String, LabError> {
    let output = command
        .output()
        .map_err(|error| not_started(what, command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::CommandFailed {
        what: what.to_owned(),
        command: words(command),
        outcome: format!("failed ({})", output.status),
        tail: tail_of(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// Runs a command to its end with all it prints in a log file, which the error names and quotes.
pub(super) fn logged(what: &str, command: &mut Command, log: &Path) -> Result<(), LabError> {
    let file = File::create(log).map_err(|error| LabError::io("create", log, error))?;
    let errors = file
        .try_clone()
        .map_err(|error| LabError::io("open", log, error))?;
    let status = command
        .stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| not_started(what, command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::CommandFailed {
        what: what.to_owned(),
        command: words(command),
        outcome: format!("failed ({status}); its log is {}", log.display()),
        tail: tail_of(&read_lossy(log)),
    })
}

/// A file's text for a message; nothing when it cannot be read.
pub(super) fn read_lossy(path: &Path) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn not_started(what: &str, command: &Command, error: &std::io::Error) -> LabError {
    LabError::CommandFailed {
        what: what.to_owned(),
        command: words(command),
        outcome: format!("could not be started: {error}"),
        tail: String::new(),
    }
}

/// The command line as a person would recognise it; a script given as an argument is cut short.
fn words(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        text.push(' ');
        if let Some(first) = arg.lines().next().filter(|first| first.len() < arg.len()) {
            text.push_str(first);
            text.push_str("...");
        } else {
            text.push_str(&arg);
        }
    }
    if let Some((cut, _)) = text.char_indices().nth(MAX_COMMAND) {
        text.truncate(cut);
        text.push_str("...");
    }
    text
}
