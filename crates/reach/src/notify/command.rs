//! A program of the user's, told by standard input.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use mailkeep_model::text::printable_max;

use crate::process::{self, Bounds, End};

/// Bytes of output kept; a notification's program has nothing to say that anybody reads.
const MAX_OUTPUT: usize = 1 << 20;

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It ended badly.
    #[error("{} ended with {status}{}", program.display(), said(stderr))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, one printable line; may be empty.
        stderr: String,
    },
    /// It was not started.
    #[error("cannot start {}; check the path and its permissions", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was killed, with what it had started.
    #[error("{} had not ended within {} s and was killed", program.display(), timeout.as_secs_f64())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time it had.
        timeout: Duration,
    },
    /// It printed more than a mebibyte and was killed.
    #[error("{} printed more than {MAX_OUTPUT} bytes and was killed", program.display())]
    TooMuchOutput {
        /// The program.
        program: PathBuf,
    },
}

impl CommandError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Start { .. } => "start",
            Self::TimedOut { .. } => "timed-out",
            Self::TooMuchOutput { .. } => "too-much-output",
        }
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

/// Runs a program, without a shell, with `json` on its standard input; gives back what it printed.
pub fn run_command(
    program: &Path,
    args: &[String],
    json: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, CommandError> {
    let mut command = Command::new(program);
    command.args(args);
    let bounds = Bounds {
        time: timeout,
        output: MAX_OUTPUT,
    };
    let program = program.to_owned();
    let outcome = match process::run(command, json.to_vec(), bounds) {
        Ok(outcome) => outcome,
        Err(source) => return Err(CommandError::Start { program, source }),
    };
    match outcome.end {
        End::Exited(status) if status.success() => Ok(outcome.stdout),
        End::Exited(status) => Err(CommandError::Failed {
            program,
            status,
            stderr: last_line(&outcome.stderr),
        }),
        End::TimedOut => Err(CommandError::TimedOut { program, timeout }),
        End::TooMuchOutput => Err(CommandError::TooMuchOutput { program }),
    }
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty());
    printable_max(line.unwrap_or_default(), 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn args(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_json_arrives_and_no_shell_sees_the_arguments() {
        let out = run_command(Path::new("cat"), &args(&["-"]), b"{\"a\":1}", LONG).unwrap();
        assert_eq!(out, b"{\"a\":1}");
        let out = run_command(Path::new("echo"), &args(&["$(id); x"]), b"", LONG).unwrap();
        assert_eq!(out, b"$(id); x\n");
    }

    #[test]
    fn each_way_to_fail_has_its_name() {
        let sh = Path::new("sh");
        let failed = run_command(sh, &args(&["-c", "echo why >&2; exit 3"]), b"", LONG);
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind(), "failed");
        assert!(failed.to_string().ends_with("why"), "{failed}");
        let timed_out = run_command(
            sh,
            &args(&["-c", "sleep 600"]),
            b"",
            Duration::from_millis(200),
        );
        assert_eq!(timed_out.unwrap_err().kind(), "timed-out");
        let flood = run_command(sh, &args(&["-c", "yes"]), b"", LONG);
        assert_eq!(flood.unwrap_err().kind(), "too-much-output");
        let missing = run_command(Path::new("/nonexistent"), &[], b"", LONG);
        assert_eq!(missing.unwrap_err().kind(), "start");
    }
}
