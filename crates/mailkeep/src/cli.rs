//! The arguments of the command line. Help texts are the reference: man pages and completions are
//! made from them.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments here are help texts, shown as they are"
)]

pub mod plan;
pub mod rehearse;
pub mod rollout;
pub mod shield;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mailkeep_model::{AdvisoryId, FeedId, FeedKind, HostName, InvalidId, Timestamp};

/// Which of your mail servers need which patch, and how soon.
#[derive(Debug, Parser)]
#[command(
    name = "mailkeep",
    version,
    about,
    long_about = "Takes mail-server security advisories from publication to proven patched.\n\n\
        Data goes to standard output, all else to standard error.\n\
        Exit status: 0 nothing to do, 1 findings or refusals, 2 error.",
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Directory in which everything is kept [default: the fleet file's `state`, else
    /// /var/lib/mailkeep for root, else $XDG_STATE_HOME/mailkeep]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Take this as "now" (RFC 3339), so that output can be repeated; what acts on hosts refuses it
    #[arg(long, global = true, value_name = "TIME")]
    pub at: Option<Timestamp>,

    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,

    /// Say less on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal that does not set `NO_COLOR`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do. The options of a command are put together only when it is named: all of them together
/// take longer to list than to obey.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Which patches do my servers need, in which order, and why?
    Check(CheckArgs),
    /// Which of my hosts does an advisory concern, which does it not, and why?
    Affected(AffectedArgs),
    /// Everything that led to the verdict on one advisory on one host
    Explain(ExplainArgs),
    /// What would applying the candidate change on a server, before anyone agrees to it?
    Impact(ImpactArgs),
    /// Look at hosts: this one, those of the fleet over SSH, a directory, a list, an SBOM
    Scan(ScanArgs),
    /// The sources of advisories: fetch, import, see how fresh they are
    #[command(subcommand)]
    Feeds(FeedsCommand),
    /// The fleet file: check it, start one from an inventory you have
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Turn findings into plans; check, compare, draw, approve and announce them
    Plan(Box<plan::PlanArgs>),
    /// Carry a plan out against a simulated fleet with mail flowing through it; touches nothing real
    Rehearse(rehearse::RehearseArgs),
    /// Carry plans out: start, watch, pause, report
    Rollout(rollout::RolloutArgs),
    /// Keep all new mail away from a host, or from all hosts of a service, at once
    Isolate(rollout::IsolateArgs),
    /// Let an isolated host take mail again
    Release(rollout::ReleaseArgs),
    /// What stands in front of servers that cannot be patched yet: rules, and bundles of them
    #[command(subcommand)]
    Shield(shield::ShieldCommand),
    /// Stay running: update feeds, check, and report what changed to those it concerns
    Watch(WatchArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory
    Man {
        /// The directory; made if it is not there.
        directory: PathBuf,
    },
}

/// Which hosts.
#[derive(Debug, Clone, Default, Args)]
pub struct Scope {
    /// Fleet file [default: ./mailkeep.toml if it is yours or root's, then
    /// $XDG_CONFIG_HOME/mailkeep/mailkeep.toml, then /etc/mailkeep/mailkeep.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Only this host of the fleet, or of those scanned before; may be given again
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<HostName>,

    /// A mounted root directory instead of a scanned host
    #[arg(long, value_name = "DIR", conflicts_with = "hosts")]
    pub root: Option<PathBuf>,

    /// Name for what --root holds [default: root]
    #[arg(long, value_name = "NAME", requires = "root")]
    pub name: Option<HostName>,
}

/// Which patches do my servers need, in which order, and why?
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which hosts.
    #[command(flatten)]
    pub scope: Scope,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,

    /// Write the answer to this file instead of standard output; whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// List the verdicts `fixed` and `not-affected`, too
    #[arg(long)]
    pub all: bool,

    /// In the table, show packages that have nothing to do with mail, too
    #[arg(long)]
    pub all_packages: bool,

    /// Show only what is new, gone, or changed in urgency since the last check of the same scope
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
}

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Since {
    /// The last check of the same scope.
    Last,
}

/// Output formats of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Ranked, for a person, at most 100 columns.
    Table,
    /// docs/check.schema.json.
    Json,
    /// One line for each finding.
    Csv,
    /// CSAF 2.0, profile VEX.
    CsafVex,
    /// `OpenVEX` 0.2.0.
    Openvex,
    /// One self-contained page, for a manager, a phone, or paper.
    Html,
}

/// Which of my hosts does an advisory concern, which does it not, and why?
#[derive(Debug, Args)]
pub struct AffectedArgs {
    /// CVE id, or another name of the advisory (DSA, GHSA, RHSA, ...)
    #[arg(value_parser = parse_advisory)]
    pub advisory: AdvisoryId,

    /// Which hosts.
    #[command(flatten)]
    pub scope: Scope,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ShortFormat,
}

/// Output formats of `affected` and `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShortFormat {
    /// For a person.
    Table,
    /// The findings as in docs/check.schema.json.
    Json,
}

/// Everything that led to the verdict on one advisory on one host
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The host
    pub on: HostName,
    /// CVE id, or another name of the advisory [default: what is known of the host, and how many
    /// advisories concern each of its packages]
    #[arg(value_parser = parse_advisory)]
    pub advisory: Option<AdvisoryId>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// A mounted root directory instead of a scanned host
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// What would applying the candidate change on a server, before anyone agrees to it?
#[derive(Debug, Args)]
pub struct ImpactArgs {
    /// The host; it is asked over ssh, and nothing is changed on it
    pub on: HostName,
    /// Binary or source package [default: mail software with a finding that its candidate closes]
    pub package: Option<String>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ImpactFormat,

    /// Write the answer to this file instead of standard output; whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Another ssh_config than your own (`ssh -F`)
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// Output formats of `impact`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImpactFormat {
    /// For a person.
    Text,
    /// For a program.
    Json,
    /// One self-contained page.
    Html,
}

/// Look at hosts: this one, those of the fleet over SSH, a directory, a list, an SBOM
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Hosts of the fleet file; without a fleet, anything your ssh knows [default: every running
    /// host of the fleet; without a fleet, this machine]
    pub hosts: Vec<HostName>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// This machine
    #[arg(long, conflicts_with_all = ["hosts", "from_root", "rpm_qa", "sbom"])]
    pub local: bool,

    /// A mounted root directory (etc/os-release and var/lib/dpkg/status are read)
    #[arg(long = "root", value_name = "DIR", conflicts_with_all = ["hosts", "rpm_qa", "sbom"])]
    pub from_root: Option<PathBuf>,

    /// The output of `rpm -qa`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hosts", "sbom"])]
    pub rpm_qa: Option<PathBuf>,

    /// An SBOM: `CycloneDX` or SPDX 2.3, JSON
    #[arg(long, value_name = "FILE", conflicts_with = "hosts")]
    pub sbom: Option<PathBuf>,

    /// Name of the host that --root, --rpm-qa, --sbom or --local is
    #[arg(long, value_name = "NAME")]
    pub name: Option<HostName>,

    /// With --rpm-qa: the platform, as `AlmaLinux:9`, where no release package tells it
    #[arg(long, value_name = "PLATFORM", requires = "rpm_qa")]
    pub platform: Option<String>,

    /// Also read the changelogs of upgradable mail packages (on the host, by `apt-get download`
    /// into a temporary directory) into the feed `released`
    #[arg(long)]
    pub released: bool,

    /// Another ssh_config than your own (`ssh -F`)
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Hosts at a time
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,

    /// Seconds for one host in all [default: the fleet file's `scan.timeout`; with --released ten
    /// minutes at least]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `mailkeep feeds`.
#[derive(Debug, Subcommand)]
pub enum FeedsCommand {
    /// Fetch what is due: built-in public sources, and those of the fleet file
    Update {
        /// Only these
        names: Vec<FeedId>,
        /// Fleet file [default: as for `check`]
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
        /// Every enabled source, not only those that speak for the hosts scanned so far
        #[arg(long)]
        all: bool,
    },
    /// Import one feed from a file, a directory, an archive or a URL
    Import {
        /// Its format
        #[arg(long, value_name = "KIND", value_parser = parse_kind)]
        source: FeedKind,
        /// Where it is
        location: String,
        /// Name to keep it under; a feed of that name and kind is replaced [default: the kind, so
        /// that a second file of the same kind replaces the first]
        #[arg(long, value_name = "NAME")]
        name: Option<FeedId>,
        /// The time its content speaks for [default: what it says itself, else the file's time]
        #[arg(long, value_name = "TIME")]
        as_of: Option<Timestamp>,
        /// For `updateinfo` and `released`: whose packages, as `AlmaLinux:9`
        #[arg(long, value_name = "PLATFORM")]
        platform: Option<String>,
        /// It is all its publisher says, though it is a single file
        #[arg(long)]
        whole: bool,
    },
    /// What is imported, and how fresh it is
    Status {
        /// Fleet file [default: as for `check`]
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Records that could not be used
    Problems {
        /// Which feed [default: all]
        name: Option<FeedId>,
        /// Fleet file [default: as for `check`]
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
    },
    /// Forget a feed
    Remove {
        /// Which
        name: FeedId,
    },
    /// The built-in sources, with their addresses
    Sources,
}

/// Beginnings of names that their publishers write in capitals throughout.
const IN_CAPITALS: &[&str] = &[
    "ALSA-", "CVE-", "DLA-", "DSA-", "ELA-", "ELSA-", "RHSA-", "RLSA-", "SUSE-", "TEMP-", "USN-",
];

/// An advisory, spelt as its publisher spells it though it be typed in small letters. Of GHSA ids only
/// the beginning is in capitals.
fn parse_advisory(text: &str) -> Result<AdvisoryId, InvalidId> {
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    if IN_CAPITALS.iter().any(|with| begins(with)) {
        return AdvisoryId::new(text.to_ascii_uppercase());
    }
    match text.get("GHSA-".len()..) {
        Some(rest) if begins("GHSA-") => {
            AdvisoryId::new(format!("GHSA-{}", rest.to_ascii_lowercase()))
        }
        _ => AdvisoryId::new(text),
    }
}

fn parse_kind(text: &str) -> Result<FeedKind, String> {
    text.parse().map_err(|_unknown| {
        let known: Vec<&str> = FeedKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("known kinds are {}", known.join(", "))
    })
}

/// `mailkeep fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Report what the fleet file leaves open: owners, minimums, windows, facts too old
    Lint {
        /// Fleet file [default: as for `check`]
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a fleet file from an inventory you have, to standard output
    Import {
        /// The inventory
        file: PathBuf,
        /// Its format [default: by the file's name]
        #[arg(long, value_name = "FORMAT")]
        from: Option<InventoryFormat>,
        /// What an Ansible group is: `service=mailservers:inbound-mx` (the rest names it, where it
        /// differs), `region=...`, `zone=...`, `family=...`; may be given again
        #[arg(long = "group-as", value_name = "WHAT=GROUP[:NAME]")]
        group_as: Vec<crate::fleet::import::GroupRule>,
        /// A fleet file you have: what it declares is kept, new hosts are added
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
    },
}

/// Inventories that `fleet import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InventoryFormat {
    /// Ansible, INI.
    AnsibleIni,
    /// Ansible, YAML.
    AnsibleYaml,
    /// CSV with a header line.
    Csv,
}

/// Stay running: update feeds, check, and report what changed to those it concerns
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// Seconds between two looks at what is due
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub every: u64,
    /// Do everything once, then end
    #[arg(long)]
    pub once: bool,
    /// Scan the fleet's hosts before each check, too
    #[arg(long)]
    pub scan: bool,
    /// Do not fetch feeds
    #[arg(long)]
    pub offline: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// A command that is listed is not put together yet: what it is about is told by its name in
    /// [`Command`] there, and by its options where it is asked for help.
    #[test]
    fn a_command_is_about_the_same_in_the_list_and_in_its_own_help() {
        let listed = Cli::command();
        let mut named = Cli::command();
        named.build();
        for command in listed.get_subcommands() {
            let name = command.get_name();
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            let of_its_own = named.find_subcommand(name).and_then(about);
            assert!(of_its_own.is_some(), "{name}");
            assert_eq!(of_its_own, about(command), "{name}");
        }
    }

    #[test]
    fn advisories_are_spelt_as_their_publishers_spell_them() {
        for (typed, meant) in [
            ("cve-2023-42115", "CVE-2023-42115"),
            ("Dsa-5512-1", "DSA-5512-1"),
            ("rhsa-2024:1", "RHSA-2024:1"),
            ("suse-su-2024:1", "SUSE-SU-2024:1"),
            ("usn-6611-1", "USN-6611-1"),
            ("temp-0000000-0841ba", "TEMP-0000000-0841BA"),
            ("ghsa-ABCD-efgh-2345", "GHSA-abcd-efgh-2345"),
            ("openSUSE-SU-2024:1", "openSUSE-SU-2024:1"),
            ("cve", "cve"),
        ] {
            assert_eq!(parse_advisory(typed).unwrap().as_str(), meant);
        }
        parse_advisory("").unwrap_err();
        parse_advisory("cv\u{e9}-1").ok();
    }
}
