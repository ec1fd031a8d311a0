//! The arguments of `mailkeep rehearse`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Carry a plan out against a simulated fleet with mail flowing through it; touches nothing real
#[derive(Debug, Args)]
#[command(
    after_long_help = "PLAN is the id of a kept plan, its first digits, or a plan file.\n\n\
    The executor that runs is the one that would carry the plan out; the servers, the senders, the clock \
    and the failures are simulated. Nothing real is touched, nothing is kept. Equal seeds give equal \
    rehearsals. The exit status is 1 where a promise was broken: a service below its minimum, a lost \
    message, a rollout without an end."
)]
pub struct RehearseArgs {
    /// Which plan
    #[arg(value_name = "PLAN")]
    pub plan: String,

    /// Fleet file, which says where plans are kept [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// What goes wrong
    #[arg(long, value_enum, default_value_t = FaultsNamed::Some)]
    pub faults: FaultsNamed,

    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// How many seeds, one after another
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seeds: u64,

    /// Write the journal of the first seed here, an event a line, as JSON
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultsNamed {
    /// Nothing
    None,
    /// A bad day: some of everything
    Some,
    /// Everything, far too often
    Many,
}
