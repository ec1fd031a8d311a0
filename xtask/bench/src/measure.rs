//! Time and peak memory of whole processes, and the rows that are printed.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::Outcome;

/// First argument of the helper process.
pub(crate) const HELPER: &str = "--measure-one";

/// One run of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    /// Peak resident memory, in KiB.
    pub(crate) kib: u64,
}

/// Several runs of one case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    pub(crate) fn time(&self) -> Duration {
        median(self.0.iter().map(|run| run.time).collect())
    }

    /// The highest peak of all.
    pub(crate) fn kib(&self) -> u64 {
        self.0.iter().map(|run| run.kib).max().unwrap_or(0)
    }
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The median time of `runs` calls.
pub(crate) fn timed<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed()
    });
    median(times.collect())
}

/// Runs a command to its end, with its output in a file. Exit status 0 and 1 are well: 1 says that
/// there are findings.
///
/// A process of its own measures, which has no other child and is small: Linux counts what a child
/// held before it became another program, and that is what its parent holds.
pub(crate) fn run(command: &[OsString], output: &Path) -> Outcome<Run> {
    let answer = Command::new(std::env::current_exe()?)
        .arg(HELPER)
        .arg(output)
        .args(command)
        .output()?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(nanos)), Some(Ok(kib)), Some(Ok(0 | 1))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        let said = String::from_utf8_lossy(&answer.stderr);
        return Err(format!("{command:?} failed: {text}{said}").into());
    };
    let time = Duration::from_nanos(nanos);
    Ok(Run { time, kib })
}

/// The helper process: runs the command, prints nanoseconds, KiB and exit status.
pub(crate) fn helper(arguments: &[String]) -> ExitCode {
    let [output, program, rest @ ..] = arguments else {
        return ExitCode::from(2);
    };
    let Ok(output) = File::create(output) else {
        eprintln!("cannot write {output}");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let status = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(output)
        .status();
    let nanos = start.elapsed().as_nanos();
    match (status, getrusage(UsageWho::RUSAGE_CHILDREN)) {
        (Ok(status), Ok(usage)) => {
            let code = status.code().unwrap_or(255);
            println!("{nanos} {} {code}", usage.max_rss());
            ExitCode::SUCCESS
        }
        (Err(error), _) => {
            eprintln!("cannot run {program}: {error}");
            ExitCode::FAILURE
        }
        (_, Err(error)) => {
            eprintln!("cannot measure {program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Peak resident memory of this process in KiB, 0 where the system does not say.
pub(crate) fn own_peak_kib() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF)
        .ok()
        .and_then(|usage| u64::try_from(usage.max_rss()).ok())
        .unwrap_or(0)
}

/// What a row must keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    None,
    /// Ours divided by the peer's.
    Ratio(f64),
    /// Ours below this many KiB.
    Kib(u64),
    /// Ours at most this long.
    Time(Duration),
}

/// The head of the table.
pub(crate) fn head(title: &str) {
    println!("\n{title}");
    println!(
        "{:<46} {:>10}  {:<26} {:>9}  goal",
        "case", "ours", "peer", "ratio"
    );
}

/// A row about times.
pub(crate) fn row_time(case: &str, ours: Duration, peer: Option<(&str, Duration)>, goal: Goal) {
    let ratio = peer.map(|(_, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
    let told = peer.map(|(name, theirs)| format!("{} {name}", time(theirs)));
    let met = match goal {
        Goal::None | Goal::Kib(_) => String::new(),
        Goal::Ratio(most) => {
            ratio.map_or_else(String::new, |r| verdict(&most.to_string(), r <= most))
        }
        Goal::Time(most) => verdict(&time(most), ours <= most),
    };
    row(case, &time(ours), told.as_deref(), ratio, &met);
}

/// A row about times of both in the same turns: the ratio is the median of each turn's own.
pub(crate) fn row_turns(
    case: &str,
    ours: &[Duration],
    (name, theirs): (&str, &[Duration]),
    goal: Option<f64>,
) {
    let ratios = ours.iter().zip(theirs);
    let mut ratios: Vec<f64> = ratios
        .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied();
    let peer = format!("{} {name}", time(median(theirs.to_vec())));
    let met = goal
        .zip(ratio)
        .map(|(most, ratio)| verdict(&format!("{most:.3}"), ratio <= most));
    let met = met.unwrap_or_default();
    row(case, &time(median(ours.to_vec())), Some(&peer), ratio, &met);
}

/// Turns of several cases, added up turn by turn.
pub(crate) fn together(cases: &[Vec<Duration>]) -> Vec<Duration> {
    let turns = cases.iter().map(Vec::len).min().unwrap_or(0);
    let sum = |turn: usize| cases.iter().filter_map(|case| case.get(turn)).sum();
    (0..turns).map(sum).collect()
}

/// A row about memory.
pub(crate) fn row_memory(case: &str, ours: u64, peer: Option<(&str, u64)>, goal: Goal) {
    let ratio = peer.map(|(_, theirs)| to_f64(ours) / to_f64(theirs));
    let told = peer.map(|(name, theirs)| format!("{} {name}", memory(theirs)));
    let met = match goal {
        Goal::Kib(most) => verdict(&memory(most), ours < most),
        Goal::None | Goal::Ratio(_) | Goal::Time(_) => String::new(),
    };
    row(case, &memory(ours), told.as_deref(), ratio, &met);
}

/// A row of words.
pub(crate) fn row(case: &str, ours: &str, peer: Option<&str>, ratio: Option<f64>, goal: &str) {
    let mut line = format!("{case:<46} {ours:>10}  {:<26}", peer.unwrap_or("-"));
    match ratio {
        Some(ratio) if ratio < 0.001 => {
            let _infallible = write!(line, " {ratio:>9.6}");
        }
        Some(ratio) => {
            let _infallible = write!(line, " {ratio:>9.3}");
        }
        None => line.push_str("         -"),
    }
    println!("{line}  {goal}");
}

fn verdict(limit: &str, met: bool) -> String {
    format!("{limit}: {}", if met { "met" } else { "MISSED" })
}

fn time(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    if nanos < 1e3 {
        format!("{nanos:.1} ns")
    } else if nanos < 1e6 {
        format!("{:.1} µs", nanos / 1e3)
    } else if nanos < 1e9 {
        format!("{:.2} ms", nanos / 1e6)
    } else {
        format!("{:.2} s", nanos / 1e9)
    }
}

fn memory(kib: u64) -> String {
    format!("{:.1} MiB", to_f64(kib) / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}
