//! The arguments of `mailkeep rollout`, `mailkeep isolate` and `mailkeep release`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mailkeep_model::TeamName;

/// Carry plans out: start, watch, pause, report
#[derive(Debug, Args)]
#[command(
    after_long_help = "PLAN is the id of a kept plan, its first digits, or a plan file.",
    disable_help_subcommand = true
)]
pub struct RolloutArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RolloutCommand,
}

/// What to do with a rollout.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Carry an approved plan out, or go on with it; runs until its last host has come to an end
    #[command(
        after_long_help = "Ctrl-C, SIGTERM, or a terminal that goes away (SIGHUP, unless nohup has it \
            ignored) begins nothing new and waits for what is under way; a second Ctrl-C or SIGTERM \
            leaves at once. Killed at any moment, the same command goes on: it reads the \
            journal and looks at the hosts."
    )]
    Start(StartArgs),
    /// Where a rollout stands, host by host; without a plan, all rollouts
    Status(StatusArgs),
    /// Follow a rollout: a live view on a terminal, else one line for each event
    Watch(WatchRolloutArgs),
    /// Begin nothing new until it is resumed; hosts in work are finished
    Pause(IntentArgs),
    /// Go on after a pause
    Resume(ResumeArgs),
    /// Begin nothing new for good; hosts in work are brought to an end
    Abort(IntentArgs),
    /// Who approved, when each host was exposed, drained, patched, proven, and every message's fate
    Report(ReportArgs),
}

/// How hosts are reached.
#[derive(Debug, Clone, Default, Args)]
pub struct SshArgs {
    /// Another ssh_config than your own (`ssh -F`)
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// `mailkeep rollout start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,

    /// Acts on hosts at a time; what the plan allows to be out of service is another matter
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub parallel: usize,

    /// Seconds from one numbered probe message of a service to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub probe_every: f64,

    /// Let no probe messages flow; those of the proofs stay
    #[arg(long)]
    pub no_probes: bool,

    /// Once the rollout is paused, finish hosts in work, soaks included, and end, instead of waiting for
    /// it to be resumed
    #[arg(long)]
    pub stop_when_paused: bool,

    /// Seconds that a stop waits for what is under way on hosts
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub stop_within: u32,
}

/// `mailkeep rollout status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: Option<String>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailkeep rollout watch`.
#[derive(Debug, Args)]
pub struct WatchRolloutArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// Lines, also on a terminal
    #[arg(long)]
    pub plain: bool,
    /// Show what there is and end, though the rollout has not
    #[arg(long)]
    pub once: bool,
}

/// `mailkeep rollout pause` and `abort`.
#[derive(Debug, Args)]
pub struct IntentArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The team you act for; it is recorded
    #[arg(long, value_name = "TEAM")]
    pub team: Option<TeamName>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep rollout resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// The team you act for; it is recorded
    #[arg(long, value_name = "TEAM")]
    pub team: Option<TeamName>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep rollout report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Write it to this file instead of standard output; whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// All of it, for a program.
    Json,
    /// For a person.
    Text,
}

/// Keep all new mail away from a host, or from all hosts of a service, at once
#[derive(Debug, Args)]
pub struct IsolateArgs {
    /// A host, or a service: then every running host that carries it
    #[arg(value_name = "HOST|SERVICE")]
    pub what: String,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Even if a service falls below its minimum by it
    #[arg(long)]
    pub even_if_mail_stops: bool,
    /// The team you act for; it is recorded
    #[arg(long, value_name = "TEAM")]
    pub team: Option<TeamName>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// How hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
}

/// Let an isolated host take mail again
#[derive(Debug, Args)]
#[command(
    after_long_help = "A host that a rollout left held or unproven counts as in service again, too, when \
        it is released by its own name: repair it first, for this repairs nothing."
)]
pub struct ReleaseArgs {
    /// A host, or a service: then every host that carries it and is isolated
    #[arg(value_name = "HOST|SERVICE")]
    pub what: String,
    /// The team you act for; it is recorded
    #[arg(long, value_name = "TEAM")]
    pub team: Option<TeamName>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// How hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
}
