//! `mailkeep plan`.

mod approve;
mod make;
mod notify;
mod report;
mod shift;
mod view;

use anyhow::bail;

pub(crate) use notify::in_watch;

use super::Done;
use crate::app::{App, LoadedFleet};
use crate::cli::plan::{PlanArgs, PlanCommand};

/// Runs it.
pub fn run(app: &App, args: &PlanArgs) -> anyhow::Result<Done> {
    match &args.command {
        None => make::run(app, &args.make),
        Some(PlanCommand::Make(args)) => make::run(app, args),
        Some(PlanCommand::List(args)) => view::list(app, args),
        Some(PlanCommand::Mitigations(args)) => view::mitigations(app, args),
        Some(PlanCommand::Check(args)) => view::check(app, args),
        Some(PlanCommand::Diff(args)) => view::diff(app, args),
        Some(PlanCommand::Show(args)) => view::show(app, args),
        Some(PlanCommand::Approve(args)) => approve::run(app, args),
        Some(PlanCommand::Approvals(args)) => approve::state(app, args),
        Some(PlanCommand::Shift(args)) => shift::run(app, args),
        Some(PlanCommand::Notify(args)) => notify::run(app, args),
        Some(PlanCommand::Reserve(args)) => notify::reserve(app, args),
    }
}

/// The fleet file, without which there is nothing to plan.
fn fleet_of(app: &App, named: Option<&std::path::Path>) -> anyhow::Result<LoadedFleet> {
    match app.fleet(named)? {
        Some(fleet) => Ok(fleet),
        None => bail!("there is no fleet file, and plans are made from one; name it with --fleet"),
    }
}
