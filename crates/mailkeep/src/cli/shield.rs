//! The arguments of `mailkeep shield`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What stands in front of servers that cannot be patched yet: rules, and bundles of them
#[derive(Debug, Subcommand)]
pub enum ShieldCommand {
    /// The virtual patches: which holes can be closed before the patch, how, and how sure that is
    Rules(RulesArgs),
    /// What stands in for the patch of a hole, if anything does
    #[command(name = "explain")]
    ExplainRule(ExplainRuleArgs),
    /// Bundles of virtual patches: build for a shield what the servers behind it need now, sign, verify
    #[command(subcommand)]
    Bundle(BundleCommand),
}

/// `mailkeep shield rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Rules of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// Only rules whose name, product, package or CVE id holds this
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,

    /// How to write them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: RulesFormat,
}

/// Output formats of `shield rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    /// For a person.
    Table,
    /// The whole of each rule.
    Json,
}

/// `mailkeep shield explain`.
#[derive(Debug, Args)]
#[command(after_long_help = "The exit status is 1 where no rule enforces: nobody is covered then.")]
pub struct ExplainRuleArgs {
    /// CVE id, another name of the hole, or the name of a rule
    #[arg(value_name = "CVE")]
    pub name: String,

    /// Rules of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// `mailkeep shield bundle`.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Select for each shield of the fleet file the rules that the servers behind it need now
    Build(BuildArgs),
    /// Sign a bundle with your SSH key
    Sign(SignArgs),
    /// Say whether a shield would take a bundle
    Verify(VerifyArgs),
}

/// `mailkeep shield bundle build`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Each bundle is written to NAME.toml in the directory, NAME being the shield's. One that is there \
    and still right is left as it is, so that its signature counts on. Without --all, a fleet file with \
    [[shield]] says which servers are behind which shield, and what was found on them decides."
)]
pub struct BuildArgs {
    /// Only these shields
    #[arg(value_name = "SHIELD")]
    pub shields: Vec<String>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Select every rule, for any shield, into this file; no fleet file is needed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shields", "into"])]
    pub all: Option<PathBuf>,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,

    /// Days until it expires; a shield takes none that has
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub days: u16,

    /// Let this rule refuse, though it only tells by default: you have checked it; may be given again
    #[arg(long, value_name = "RULE")]
    pub enforce: Vec<String>,

    /// Let this rule only tell; may be given again
    #[arg(long, value_name = "RULE")]
    pub monitor: Vec<String>,
}

/// `mailkeep shield bundle sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The bundle; the signature is written beside it, with .sig behind its name
    pub bundle: PathBuf,

    /// Your key: a private key file, or a public one whose private half your agent or security key has
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// `mailkeep shield bundle verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The bundle
    pub bundle: PathBuf,

    /// Who may sign: the file that the shield's `bundle_signers` names (ssh-keygen(1), ALLOWED SIGNERS)
    #[arg(long, value_name = "FILE")]
    pub signers: PathBuf,

    /// The signature [default: the bundle's name with .sig behind it]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}
