//! What shields cover: which findings are `mitigated` by which rule, now.
//!
//! Entry: [`Cover::ask`], which asks every shield of the fleet file for its state, and [`Cover::apply`]. Whatever
//! is not told, too old, expired, or could be got around covers nothing.

pub mod outbreaks;
pub mod replay;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mailkeep_model::{Covering, HostName, ShieldState, Status, Timestamp, Verdict};
use mailkeep_reach::probe::takes_connections;

use crate::app::{App, LoadedFleet};
use crate::fleet::ShieldSettings;

/// How long is waited for somebody who should not be there.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the shields of a fleet cover.
#[derive(Debug, Clone, Default)]
pub struct Cover {
    hosts: BTreeMap<HostName, Vec<Guard>>,
    /// Behind a shield that covers nothing: mail comes through that one, too.
    uncovered: BTreeSet<HostName>,
    /// Why a shield covers nothing, one line each.
    problems: Vec<String>,
}

/// A shield before a host, in force.
#[derive(Debug, Clone)]
struct Guard {
    shield: String,
    bundle: String,
    enforced: std::sync::Arc<Vec<Covering>>,
}

impl Cover {
    /// Asks each shield of the fleet file for its state. One that does not answer, or should not be relied
    /// on, covers nothing; [`Self::problems`] says why.
    pub fn ask(app: &App, fleet: Option<&LoadedFleet>) -> Self {
        let mut cover = Self::default();
        let Some(fleet) = fleet else { return cover };
        let shields = &fleet.file.shields;
        let states = all_at_once(shields, |shield| state_of(shield, fleet, app.now));
        for (shield, state) in shields.iter().zip(states) {
            match asked(state) {
                Ok(state) if shield.only_through_shield => {
                    cover.add(&shield.name, &shield.guards, state);
                }
                Ok(_) => cover.problem(
                    shield,
                    "nothing says that the servers behind it can be reached through it only \
                     (only_through_shield = true)",
                ),
                Err(why) => cover.problem(shield, &why),
            }
        }
        cover
    }

    fn problem(&mut self, shield: &ShieldSettings, why: &str) {
        self.uncovered.extend(shield.guards.iter().cloned());
        self.problems
            .push(format!("shield {} covers nothing: {why}", shield.name));
    }

    fn add(&mut self, shield: &str, hosts: &BTreeSet<HostName>, status: ShieldState) {
        let bundle = format!("{} version {}", status.bundle.id, status.bundle.version);
        let enforced = std::sync::Arc::new(status.bundle.enforced);
        for host in hosts {
            self.hosts.entry(host.clone()).or_default().push(Guard {
                shield: shield.to_owned(),
                bundle: bundle.clone(),
                enforced: std::sync::Arc::clone(&enforced),
            });
        }
    }

    /// Why shields cover nothing.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Says of a verdict on a host that it is mitigated, where a shield's rule covers it: every shield that stands
    /// before the host, for mail comes through any of them.
    pub fn apply(&self, host: &HostName, verdict: &mut Verdict) {
        let is_open = match verdict.status {
            Status::FixAvailable
            | Status::FixPublished
            | Status::NoFix
            | Status::RestartPending
            | Status::WillNotFix => true,
            // What cannot be decided stays so: silence is not safety.
            Status::Fixed | Status::Mitigated | Status::NotAffected | Status::Unknown => false,
        };
        if !is_open || self.uncovered.contains(host) {
            return;
        }
        let Some(guards) = self.hosts.get(host) else {
            return;
        };
        let (mut by, mut notes) = (Vec::new(), Vec::new());
        for guard in guards {
            let Some(rule) = guard.enforced.iter().find(|rule| rule.covers(verdict)) else {
                return;
            };
            by.push(format!("shield {}'s rule {}", guard.shield, rule.rule));
            notes.push(format!(
                "{}, but shield {} refuses what reaches it, by its rule {} (bundle {})",
                verdict.status, guard.shield, rule.rule, guard.bundle
            ));
        }
        verdict.status = Status::Mitigated;
        let evidence = &mut verdict.evidence;
        evidence.reason = format!("refused by {}; {}", by.join(" and "), evidence.reason);
        evidence.notes.extend(notes.into_iter().map(Into::into));
    }
}

/// Asks all of them at once: one that is silent keeps nobody waiting but for itself. None where the asking broke down.
fn all_at_once<'s, T: Send>(
    shields: impl IntoIterator<Item = &'s ShieldSettings>,
    ask: impl Fn(&ShieldSettings) -> T + Sync,
) -> Vec<Option<T>> {
    std::thread::scope(|scope| {
        let ask = &ask;
        let asked: Vec<_> = shields
            .into_iter()
            .map(|shield| scope.spawn(move || ask(shield)))
            .collect();
        asked.into_iter().map(|asked| asked.join().ok()).collect()
    })
}

/// What each of these shields says of itself, in lines for a person, and what in it somebody should look at.
pub fn tell(
    shields: &[&ShieldSettings],
    fleet: &LoadedFleet,
    now: Timestamp,
) -> Vec<(Vec<String>, Vec<String>)> {
    let shields = shields.iter().copied();
    let states = all_at_once(shields, |shield| state_of(shield, fleet, now));
    let told = states.into_iter().map(|state| match asked(state) {
        Ok(state) => status::tell(&state),
        Err(why) => (Vec::new(), vec![why]),
    });
    told.collect()
}

/// What came of asking, also where that broke down.
fn asked(state: Option<Result<ShieldState, String>>) -> Result<ShieldState, String> {
    state.unwrap_or_else(|| Err("it could not be asked".to_owned()))
}

/// A shield's state, where it can be relied on now; else why not.
fn state_of(
    shield: &ShieldSettings,
    fleet: &LoadedFleet,
    now: Timestamp,
) -> Result<ShieldState, String> {
    let Some(place) = &shield.status else {
        return Err("the fleet file does not say where it tells its state".to_owned());
    };
    let state = status::relied_on(status::read(fleet, place)?, &shield.name, now)?;
    not_around(shield)?;
    Ok(state)
}

/// Tries, all at once, where the servers behind a shield must not be reached; why it does not count.
fn not_around(shield: &ShieldSettings) -> Result<(), String> {
    let answers = |place: &String| match takes_connections(place, PATIENCE) {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!(
            "{place} takes connections from here: mail can reach the servers behind it around it"
        )),
        Err(error) => Err(format!(
            "whether {place} can be reached around it cannot be told: {error}"
        )),
    };
    std::thread::scope(|scope| {
        let tried: Vec<_> = shield
            .must_not_answer
            .iter()
            .map(|place| scope.spawn(move || answers(place)))
            .collect();
        tried.into_iter().try_for_each(|tried| {
            let failed = |_| Err("it could not be tried".to_owned());
            tried.join().unwrap_or_else(failed)
        })
    })
}
