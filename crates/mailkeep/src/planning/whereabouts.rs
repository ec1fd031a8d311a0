//! Where a host is, of which several rollouts tell.
//!
//! Entry: [`last_told`]. What was done by hand is not known here.

use std::collections::BTreeMap;

use mailkeep_model::{HostName, HostState, PlanId, Timestamp};

/// What a rollout tells of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Which host.
    pub host: &'a HostName,
    /// The plan that the rollout carries out.
    pub plan: &'a PlanId,
    /// Whether it drained the host, or may have.
    pub drained: bool,
    /// In which state it has it, or left it.
    pub state: HostState,
    /// When it last did anything there.
    pub at: Timestamp,
}

/// Of each host the rollout that knows where it is: the last one that took it out of service, or found it
/// patched and serving. One that only looked at it, or held a lease on it, knows nothing. Of two at one
/// moment the first one counts.
pub fn last_told<'a>(
    rollouts: impl IntoIterator<Item = Told<'a>>,
) -> BTreeMap<&'a HostName, Told<'a>> {
    let mut last: BTreeMap<&HostName, Told<'a>> = BTreeMap::new();
    for told in rollouts {
        if !told.drained && told.state != HostState::Proven {
            continue;
        }
        let known = last.entry(told.host).or_insert(told);
        if known.at < told.at {
            *known = told;
        }
    }
    last
}
