//! The arguments of `mailkeep plan`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use mailkeep_model::{AdvisoryId, HostName, Lane, RegionName, TeamName, Timestamp};

use super::parse_advisory;

/// Turn findings into plans; check, compare, draw, approve and announce them
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Without a subcommand, `mailkeep plan` is `mailkeep plan make`.\n\n\
        PLAN is the id of a kept plan, its first digits, or a plan file.",
    disable_help_subcommand = true
)]
pub struct PlanArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<PlanCommand>,

    /// How `plan make` is asked.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// What to do with plans.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Turn findings into a plan: which host gets which versions when
    Make(MakeArgs),
    /// The plans kept here, newest first, and how each stands
    List(PlanListArgs),
    /// What stands in for fixes that nobody has, on which host, since when, and what ends it
    Mitigations(PlanListArgs),
    /// Does a plan keep the rules? Looked at without the planner
    Check(PlanCheckArgs),
    /// What differs between two plans
    Diff(PlanDiffArgs),
    /// A plan as a text, or as a picture of each region's days
    Show(PlanShowArgs),
    /// Agree to a plan, or to a region's part of it, by an SSH signature
    Approve(ApproveArgs),
    /// Who has agreed to a plan, and who still must
    Approvals(ApprovalsArgs),
    /// Move a region's own waves, as far as the policy lets a region do that; makes a child plan
    Shift(ShiftArgs),
    /// Invite each region's team to its waves, by mail or as iCalendar files
    Notify(NotifyArgs),
    /// Reserve windows for an advisory that is announced and not yet published
    Reserve(ReserveArgs),
}

/// `mailkeep plan make`.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Only what this advisory asks for; may be given again [default: all that is in the lane]
    #[arg(long = "advisory", value_name = "CVE", value_parser = parse_advisory)]
    pub advisories: Vec<AdvisoryId>,

    /// Only this host; may be given again
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<HostName>,

    /// Which findings, and by which rules [default: emergency if there is any, else regular]
    #[arg(long, value_name = "LANE")]
    pub lane: Option<LaneName>,

    /// Findings of both lanes, by the rules of the more urgent one
    #[arg(long, conflicts_with = "lane")]
    pub all: bool,

    /// Packages that have nothing to do with mail, too
    #[arg(long)]
    pub all_packages: bool,

    /// The global team's order to take the emergency lane against the findings' own, with its reason;
    /// its approval alone is then enough
    #[arg(long = "override", value_name = "REASON")]
    pub overriding: Option<String>,

    /// Try again the change that failed on this host and is set aside since; may be given again
    #[arg(long, value_name = "HOST")]
    pub retry: Vec<HostName>,

    /// The plan that this one replaces
    #[arg(long, value_name = "PLAN")]
    pub parent: Option<String>,

    /// One line for a person [default: made from the advisories]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,

    /// Write the plan to this file, too: canonical JSON, whose sha256sum is the plan's id
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// How to tell of it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: PlanReportFormat,

    /// Do not keep it
    #[arg(long)]
    pub dry_run: bool,
}

/// A lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LaneName {
    /// Windows and soak shrink by policy; the minimum in service never does.
    Emergency,
    /// In windows, with soak.
    Regular,
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Emergency => Self::Emergency,
            LaneName::Regular => Self::Regular,
        }
    }
}

/// How a plan is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanReportFormat {
    /// Waves and report, for a person.
    Text,
    /// Id, plan and report.
    Json,
}

/// `mailkeep plan list`.
#[derive(Debug, Args)]
pub struct PlanListArgs {
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailkeep plan check`.
#[derive(Debug, Args)]
pub struct PlanCheckArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailkeep plan diff`.
#[derive(Debug, Args)]
pub struct PlanDiffArgs {
    /// The plan before
    #[arg(value_name = "PLAN")]
    pub before: String,
    /// The plan after
    #[arg(value_name = "PLAN")]
    pub after: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailkeep plan show`.
#[derive(Debug, Args)]
pub struct PlanShowArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ShowFormat,
    /// Write it to this file instead of standard output; whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// Its waves and hosts, for a terminal.
    Text,
    /// The plan itself: canonical JSON.
    Json,
    /// One self-contained page.
    Html,
    /// The picture alone.
    Svg,
}

/// `mailkeep plan approve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["key", "signature", "print"]))]
pub struct ApproveArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// The team that agrees: the principal of the signature
    #[arg(long, value_name = "TEAM")]
    pub team: TeamName,
    /// Only this region's part [default: for the global team the whole, for any other every region of
    /// its own that the plan has a step in]
    #[arg(long, value_name = "REGION")]
    pub region: Option<RegionName>,
    /// Key to sign with, private or, where an agent has the private half, public [default: the first
    /// of id_ed25519, id_ecdsa, id_rsa in ~/.ssh]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A signature made elsewhere: by `ssh-keygen -Y sign -n mailkeep-plan` over what --print printed
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Print the text to sign, and do nothing else
    #[arg(long)]
    pub print: bool,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep plan approvals`.
#[derive(Debug, Args)]
pub struct ApprovalsArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `mailkeep plan shift`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how_far").args(["by", "to"]).required(true))]
pub struct ShiftArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// The region
    #[arg(long, value_name = "REGION")]
    pub region: RegionName,
    /// By how much: 30m, -2h, 1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub by: Option<String>,
    /// To when its first step starts (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// Write the plan to this file, too
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `mailkeep plan notify`.
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Take back the invitations to this plan
    #[arg(long)]
    pub cancel: bool,
    /// Say what would be sent to whom, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write iCalendar files into this directory instead of sending mail
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep plan reserve`.
#[derive(Debug, Args)]
pub struct ReserveArgs {
    /// What is announced, in one line: "Exim: security release announced for 1 December"
    #[arg(value_name = "TITLE", required_unless_present = "cancel")]
    pub title: Option<String>,
    /// The moment from which a fix is expected (RFC 3339)
    #[arg(long, value_name = "TIME", required_unless_present = "cancel")]
    pub from: Option<Timestamp>,
    /// The advisory, where its name is known already; may be given again. A plan that answers it takes
    /// the reservation's place
    #[arg(long = "advisory", value_name = "CVE", value_parser = parse_advisory)]
    pub advisories: Vec<AdvisoryId>,
    /// Only hosts of this product family; may be given again [default: every running host]
    #[arg(long = "family", value_name = "NAME")]
    pub families: Vec<String>,
    /// Which lane is expected
    #[arg(long, value_name = "LANE", default_value = "regular")]
    pub lane: LaneName,
    /// Take back a reservation: its name, as told when it was made
    #[arg(long, value_name = "NAME", conflicts_with_all = ["title", "from", "advisories", "families"])]
    pub cancel: Option<String>,
    /// Say what would be sent to whom, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write iCalendar files into this directory instead of sending mail
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}
