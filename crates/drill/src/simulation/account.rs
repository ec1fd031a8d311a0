//! The account at the end of a run: figures, and whether everything is as the journal says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mailkeep_model::{Act, EventKind, HostState};
use mailkeep_rollout::Executor;

use super::Simulation;
use crate::host::Code;
use crate::mail;
use crate::rehearsal::{Breach, Rehearsal};
use crate::world::{Next, index};

impl Simulation<'_> {
    /// The account at the end.
    pub(super) fn close(mut self) -> Rehearsal {
        for host in 0..self.world.hosts.len() {
            self.world.happen(Next::Flush(index(host)), i64::MAX - 1);
        }
        let (ledger, kept) = mail::count(&self.world.messages, &self.world.kept());
        if ledger.lost > 0 {
            self.breaches.push(Breach::Lost {
                messages: ledger.lost,
            });
        }
        self.figures.ledger = ledger;
        self.figures.kept_in_queues = kept;
        // What the journal says, read by a controller that comes after all is over.
        let mut reader = Executor::new(
            self.plan_id.clone(),
            Arc::clone(&self.plan),
            u64::from(self.life) + 1,
        );
        let mut first_drain = None;
        let mut patched = BTreeSet::new();
        for event in &self.journal {
            if let EventKind::ActStarted { host, act, .. } = &event.kind {
                if *act == Act::Drain {
                    first_drain = first_drain.or(Some(event.at));
                }
                if *act == Act::Patch {
                    patched.insert(host);
                }
                if *act == Act::RollBack && !patched.contains(host) {
                    self.breaches.push(Breach::Executor {
                        what: format!("{host} is rolled back, and no patch was begun on it"),
                    });
                }
            }
            if let Err(error) = reader.apply(event) {
                self.breaches.push(Breach::Executor {
                    what: error.to_string(),
                });
            }
        }
        if let (Some(first), Some(end)) = (first_drain, self.figures.ended_at) {
            self.figures.minutes = end.duration_since(first).as_mins();
        }
        let mut hosts = BTreeMap::new();
        for view in reader.states() {
            *self.figures.ended.entry(view.state).or_default() += 1;
            hosts.insert(
                view.host.clone(),
                (view.state, view.why.map(ToOwned::to_owned)),
            );
            let explained = view.state == HostState::Proven || view.why.is_some();
            if self.ended && !(view.state.is_end() && explained) {
                self.breaches.push(Breach::NoReason {
                    host: view.host.clone(),
                    state: view.state,
                });
            }
            if let Some(&at) = self.world.by_name.get(view.host)
                && self.ended
                && let Some(found) = self.differs(at, view.state, view.trouble)
            {
                self.breaches.push(Breach::NotAsSaid {
                    host: view.host.clone(),
                    state: view.state,
                    found,
                });
            }
        }
        for host in 0..self.world.hosts.len() {
            if self.world.hosts[host].serving {
                self.figures.seconds_out += self.out_for[host];
                self.figures.longest_out = self.figures.longest_out.max(self.out_for[host]);
            }
        }
        let services = self.world.services.iter();
        self.figures.margin = services
            .filter(|service| service.margin < i64::MAX)
            .map(|service| (service.name.clone(), service.margin))
            .collect();
        Rehearsal {
            figures: self.figures,
            events: self.journal,
            hosts,
            breaches: self.breaches,
        }
    }

    /// What a host is, where that is not what its end state says. Of a host that was given up because
    /// nobody reaches it, or because another has it, nothing is claimed but that it was given up.
    fn differs(&self, at: usize, state: HostState, trouble: Option<&str>) -> Option<String> {
        let host = &self.world.hosts[at];
        let code = (host.installed, host.running);
        let as_said = match state {
            HostState::Proven => code == (Code::New, Some(Code::New)) && !host.drained,
            HostState::RolledBack | HostState::Untouched => {
                code == (Code::Old, Some(Code::Old)) && !host.drained
            }
            HostState::Held => {
                let given_up = ["unreachable:", "lease-lost:"];
                host.drained
                    || trouble
                        .is_some_and(|trouble| given_up.iter().any(|it| trouble.starts_with(it)))
            }
            HostState::Unproven => host.running.is_some(),
            HostState::Waiting
            | HostState::Prechecking
            | HostState::Ready
            | HostState::Leasing
            | HostState::Draining
            | HostState::Emptying
            | HostState::Saving
            | HostState::Patching
            | HostState::Proving
            | HostState::Returning
            | HostState::Soaking
            | HostState::Releasing
            | HostState::DrainingAgain
            | HostState::EmptyingAgain
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::ReleasingOld
            | HostState::BackingOut
            | HostState::ReleasingUntouched => false,
        };
        (!as_said).then(|| {
            format!(
                "has {:?}, runs {:?}, drained: {}, lease: {:?}",
                host.installed, host.running, host.drained, host.lease
            )
        })
    }
}
