//! The state of the shield as JSON, at `/status` of the metrics address: for `mailkeep`, which counts a hole as covered
//! only while this says so, and for people. Entry: [`status`].

use jiff::Timestamp;
use mailkeep_model::{BackendState, ShieldState};
use mailkeep_wire::{Action, Rule};

use crate::server::Shared;

/// The state now.
pub(crate) fn status(shared: &Shared, now: Timestamp) -> ShieldState {
    let policy = shared.policy();
    let sees = shared.sees();
    // A rule with an exception somewhere does not cover everybody.
    let refuses = |name: &str| match Rule::named(name) {
        Some(rule) => {
            sees.wire
                && rule.default_action() == Action::Refuse
                && !policy
                    .exceptions
                    .iter()
                    .any(|exception| exception.rule == rule && exception.action == Action::Monitor)
        }
        None => shared.refuses_content(name),
    };
    let backends = shared.backends.states().map(|state| BackendState {
        address: state.address.to_string(),
        up: state.up,
        draining: state.draining,
    });
    ShieldState {
        name: shared.name.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time: now,
        draining: shared.is_stopping(),
        sessions: shared.counters.open.value(),
        backends: backends.collect(),
        antivirus: shared.content().status(now),
        held: shared.content().held(now),
        alerts: shared.content().alerts(now),
        bundle: shared.patches.status(sees, refuses),
    }
}
