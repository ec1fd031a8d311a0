//! What is said when a controller leaves: how it ended, what is left to do, and on which hosts.

use std::io::{self, Write as _};

use mailkeep_model::{HostName, Ledger, RolloutOutcome};
use mailkeep_rollout::drive::DriveEnd;
use mailkeep_rollout::evidence::{Evidence, RolloutState};
use mailkeep_rollout::ledger::line;

use super::super::view;
use crate::app::App;
use crate::commands::Done;

/// Hosts named one by one; `rollout status` names all of them.
const MOST_NAMED: usize = 20;

/// Says it. `figures` are there where the ledger was closed.
pub(super) fn last_words(
    app: &App,
    told: &Evidence,
    end: &DriveEnd,
    figures: Option<Ledger>,
) -> Done {
    let id = told.plan.short();
    if *end == DriveEnd::TakenOver {
        App::warn(&format!(
            "another controller has taken plan {id} over; this one has ended"
        ));
        return Done::Findings;
    }
    let left = view::left_behind(told);
    for words in left.iter().take(MOST_NAMED) {
        App::warn(words);
    }
    if left.len() > MOST_NAMED {
        App::warn(&format!("and {} hosts more", left.len() - MOST_NAMED));
    }
    match end {
        DriveEnd::Ended(outcome) => {
            let words = match outcome {
                RolloutOutcome::Proven => "every host is proven",
                RolloutOutcome::Partly => "not every host is proven",
                RolloutOutcome::Aborted => "it was aborted",
            };
            app.say(&format!(
                "plan {id}: {words}; `mailkeep rollout report {id}` tells all"
            ));
            let figures = figures.unwrap_or_default();
            // Whoever read may be gone; how it ended stays the same.
            let _closed = writeln!(io::stdout().lock(), "{}", line(&figures));
            if *outcome == RolloutOutcome::Proven && figures.lost == 0 {
                Done::Nothing
            } else {
                Done::Findings
            }
        }
        DriveEnd::Stopped { under_way } => {
            if !under_way.is_empty() {
                let hosts: Vec<&str> = under_way.iter().map(HostName::as_str).collect();
                App::warn(&format!(
                    "left while something was still being done on: {}",
                    hosts.join(", ")
                ));
            }
            if told.state == RolloutState::Paused {
                App::warn(&format!(
                    "paused: {}; `mailkeep rollout resume {id}` ends the pause",
                    told.reason.as_deref().unwrap_or("no reason is known")
                ));
            }
            App::warn(&format!(
                "stopped; hosts stay as they are, and `mailkeep rollout start {id}` goes on"
            ));
            Done::Findings
        }
        DriveEnd::TakenOver => Done::Findings,
    }
}
