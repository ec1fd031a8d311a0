//! The command line of Mailkeep: configuration, and all wiring between the rooms.
//!
//! [`run`] takes parsed arguments and does one command. Decisions are made by the pure rooms; here
//! is where files are opened, the clock is read, and words are printed.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line opens files; what it may not do is spelt out in ARCHITECTURE.md"
)]

pub mod answer;
pub mod app;
pub mod check;
pub mod cli;
pub mod commands;
pub mod environment;
pub mod feeds;
pub mod fleet;
pub mod impact;
pub mod index;
pub mod output;
pub mod planning;
pub mod shield;

use app::App;
use cli::{Cli, Command};
use commands::Done;
use mailkeep_model::Timestamp;

/// The time, to the second: nothing here is measured more finely, and answers read better. The one
/// place that asks the clock.
pub fn now() -> Timestamp {
    to_the_second(Timestamp::now())
}

/// The time as precisely as the system has it, for what lasts less than a second.
pub fn now_precisely() -> Timestamp {
    Timestamp::now()
}

/// A time without the fraction of its second, which nobody wants to read.
pub fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> anyhow::Result<Done> {
    let app = App::new(&cli.global, environment::read(), now());
    match &cli.command {
        Command::Check(args) => commands::check::run(&app, args),
        Command::Affected(args) => commands::affected::run(&app, args),
        Command::Explain(args) => commands::explain::run(&app, args),
        Command::Impact(args) => commands::impact::run(&app, args),
        Command::Scan(args) => commands::scan::run(&app, args),
        Command::Feeds(command) => commands::feeds::run(&app, command),
        Command::Fleet(command) => commands::fleet::run(&app, command),
        Command::Plan(args) => commands::plan::run(&app, args),
        Command::Rehearse(args) => commands::rehearse::run(&app, args),
        Command::Rollout(args) => commands::rollout::run(&app, args),
        Command::Isolate(args) => commands::isolate::isolate(&app, args),
        Command::Release(args) => commands::isolate::release(&app, args),
        Command::Shield(command) => commands::shield::run(&app, command),
        Command::Watch(args) => commands::watch::run(&app, args),
        Command::Completions { shell } => commands::generate::completions(*shell),
        Command::Man { directory } => commands::generate::man(directory),
    }
}

/// Whether an error only says that the reader of our output went away (`mailkeep check | head`).
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
