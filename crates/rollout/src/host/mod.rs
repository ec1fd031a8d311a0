//! Hands on real hosts: one act is one shell script through one `ssh` session.
//!
//! Entry type: [`SshHands`]. A script is common parts, the product adapters and the acts, with the
//! order's data before them; what comes back is read by [`answer`]. `docs/adapters.md` tells what each
//! adapter does.
//!
//! # Security
//!
//! The scripts run as root. What a plan names reaches them as quoted words only, checked here;
//! nothing a host answers is ever run. State on a host lies in `/var/lib/mailkeep` and
//! `/run/mailkeep`, readable by root alone.

pub mod answer;
pub mod dialogue;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mailkeep_model::text::printable_max;
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Drain, Fleet, HostName, ScanFailureKind, Variant,
};
use mailkeep_reach::hosts::{HostFailure, RunLimits, SshOptions, SshTarget, run_over_ssh};
use mailkeep_reach::probe::Addresses;

use crate::recipe::Recipe;
use crate::{Hands, Order};
use script::{Front, Login, ScriptError, Subject};

pub use answer::{GarbageAnswer, MAX_ANSWER_BYTES};

/// Hands that reach every host over the user's own `ssh`.
#[derive(Debug, Clone)]
pub struct SshHands {
    controller: String,
    targets: BTreeMap<HostName, SshTarget>,
    ssh: SshOptions,
    connect_timeout: Duration,
    probed: Option<Arc<Addresses>>,
    /// By path.
    recipes: BTreeMap<String, Recipe>,
    /// Seconds that a queue may take to empty before what lies safely on disk is good enough.
    queue_patience: u32,
    /// Hosts whose login is known not to be root.
    by_sudo: Arc<Mutex<BTreeSet<HostName>>>,
}

/// How long the connection may take; a host that is up answers in well under a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Seconds for a flushed queue to empty. What can be delivered leaves in a few; what cannot waits for
/// its next try, hours later, on disk.
const QUEUE_PATIENCE: u32 = 10;
/// Characters a controller's name may have.
const MAX_CONTROLLER: usize = 100;

/// A controller's name that a lease could not bear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name for a controller: one to 100 letters, digits, and .-_:@")]
pub struct BadController {
    name: String,
}

impl SshHands {
    /// Hands of a controller, by the name that its leases bear: the same after a restart, another for
    /// every other controller. Hosts are reached as the fleet file says.
    pub fn new(controller: &str, fleet: &Fleet) -> Result<Self, BadController> {
        let fits = !controller.is_empty()
            && controller.len() <= MAX_CONTROLLER
            && controller
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_:@".contains(&b));
        if !fits {
            return Err(BadController {
                name: printable_max(controller, MAX_CONTROLLER),
            });
        }
        Ok(Self {
            controller: controller.to_owned(),
            targets: fleet
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), SshTarget::of(name, host)))
                .collect(),
            ssh: SshOptions::default(),
            connect_timeout: CONNECT_TIMEOUT,
            probed: None,
            recipes: BTreeMap::new(),
            queue_patience: QUEUE_PATIENCE,
            by_sudo: Arc::default(),
        })
    }

    /// Calls `ssh` so.
    #[must_use]
    pub fn with_ssh(mut self, ssh: SshOptions) -> Self {
        self.ssh = ssh;
        self
    }

    /// Probes are handed in to hosts at these addresses: a drained host goes on taking mail from where
    /// that comes from, besides the address that `ssh` comes from, which is a jump host's where there is
    /// one, or of the other family.
    #[must_use]
    pub fn with_probes_to(mut self, addresses: Arc<Addresses>) -> Self {
        self.probed = Some(addresses);
        self
    }

    /// Knows these recipes. A plan that names another, or one of these with another digest, is refused.
    #[must_use]
    pub fn with_recipes(mut self, recipes: impl IntoIterator<Item = Recipe>) -> Self {
        let by_path = recipes
            .into_iter()
            .map(|recipe| (recipe.reference().path, recipe));
        self.recipes.extend(by_path);
        self
    }

    /// The recipe of a variant, if it has one.
    fn recipe_of(&self, variant: &Variant) -> Result<Option<&Recipe>, String> {
        let Some(wanted) = &variant.recipe else {
            return Ok(None);
        };
        match self.recipes.get(&wanted.path) {
            Some(recipe) if recipe.reference() == *wanted => Ok(Some(recipe)),
            Some(recipe) => Err(format!(
                "the recipe {} is not the one that was planned: expected SHA-256 {}, found {}",
                wanted.path,
                wanted.sha256,
                recipe.reference().sha256
            )),
            None => Err(format!("the recipe {} was not loaded", wanted.path)),
        }
    }

    /// Refuses all new mail sessions of a host but those from itself, for good: by hand, outside any
    /// plan, and independent of a plan's own drain. Queue and management access are kept. Repeating it
    /// is harmless; it does not survive a reboot.
    pub fn isolate(&self, host: &HostName, limit: Duration) -> ActOutcome {
        self.by_hand(host, "isolate", limit)
    }

    /// Ends [`Self::isolate`].
    pub fn end_isolation(&self, host: &HostName, limit: Duration) -> ActOutcome {
        self.by_hand(host, "end-isolation", limit)
    }

    fn by_hand(&self, host: &HostName, act: &'static str, limit: Duration) -> ActOutcome {
        let subject = Subject::by_hand(&self.controller, host, act);
        self.run(host, &subject, limit)
    }

    fn by_sudo(&self) -> MutexGuard<'_, BTreeSet<HostName>> {
        self.by_sudo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one script on one host: as root, and by `sudo` where the login is found to be somebody else's.
    fn run(&self, on: &HostName, subject: &Subject<'_>, limit: Duration) -> ActOutcome {
        if !self.by_sudo().contains(on) {
            if let Some(outcome) = self.run_as(Login::Root, on, subject, limit) {
                return outcome;
            }
            self.by_sudo().insert(on.clone());
        }
        self.run_as(Login::Any, on, subject, limit)
            .unwrap_or_else(|| ActOutcome::Failed {
                kind: ActFailure::GarbageOutput,
                detail: "a script that needs no root says that it is not root".to_owned(),
            })
    }

    /// `None` where the script was for root, and the login is somebody else's.
    fn run_as(
        &self,
        login: Login,
        on: &HostName,
        subject: &Subject<'_>,
        limit: Duration,
    ) -> Option<ActOutcome> {
        let Some(target) = self.targets.get(on) else {
            return Some(ActOutcome::Failed {
                kind: ActFailure::Unreachable,
                detail: format!("the fleet file does not name {on}"),
            });
        };
        let nonce = script::nonce();
        let script = match subject.script(&nonce, login) {
            Ok(script) => script,
            Err(error) => return Some(refused(&error)),
        };
        let limits = RunLimits {
            connect_timeout: self.connect_timeout.min(limit),
            total_timeout: limit,
            max_output: MAX_ANSWER_BYTES,
        };
        Some(
            match run_over_ssh(target, &script, &[], limits, &self.ssh) {
                Ok(answer) if login == Login::Root && says_not_root(&answer, &nonce) => {
                    return None;
                }
                Ok(answer) => {
                    answer::read(&answer, &nonce, subject.act).unwrap_or_else(|garbage| {
                        ActOutcome::Failed {
                            kind: ActFailure::GarbageOutput,
                            detail: garbage.to_string(),
                        }
                    })
                }
                Err(failure) => unreachable(&failure),
            },
        )
    }

    /// An act at the front end, before or after the host's own.
    fn at_front(&self, order: &Order, act: &'static str, limit: Duration) -> Option<ActOutcome> {
        let Some(Drain::Haproxy {
            front,
            socket,
            backend,
            server,
        }) = order.step().map(|step| &step.drain)
        else {
            return None;
        };
        let at = Front {
            socket,
            backend,
            server,
        };
        let subject = Subject::at_front(&self.controller, front, act, at);
        Some(self.run(front, &subject, limit))
    }
}

impl Hands for SshHands {
    fn perform(&self, order: &Order) -> ActOutcome {
        let (Some(host), Some(step), Some(variant)) = (order.host(), order.step(), order.variant())
        else {
            return ActOutcome::Failed {
                kind: ActFailure::Other,
                detail: "the plan has no such step or variant".to_owned(),
            };
        };
        if let Some(product) = dialogue::Product::of(&variant.family) {
            return by_hand_only(product, order.act, host);
        }
        let limit = Duration::try_from(order.limit).unwrap_or_default();
        let recipe = match order.act {
            // These do nothing that a recipe says: a host comes back though it is gone.
            Act::Lease | Act::Drain | Act::AwaitEmpty | Act::Return | Act::Release => None,
            Act::Precheck
            | Act::Save
            | Act::Patch
            | Act::Prove
            | Act::Recheck
            | Act::RollBack
            | Act::ProveOld => match self.recipe_of(variant) {
                Ok(recipe) => recipe,
                Err(detail) => {
                    return ActOutcome::Failed {
                        kind: ActFailure::RecipeMissing,
                        detail,
                    };
                }
            },
        };
        // At each act anew: the controller may be another one than at the drain, or have moved.
        let probe_from = self
            .probed
            .as_ref()
            .map(|probed| probed.sources(host))
            .unwrap_or_default();
        let subject = Subject {
            act: order.act.name(),
            controller: &self.controller,
            plan: order.plan_id.as_str(),
            fence: order.fence,
            host,
            family: &variant.family,
            packages: &variant.packages,
            ports: &step.proof.ports,
            free_mib: step.precheck.free_mib,
            drain: Some(&step.drain),
            probe_from: &probe_from,
            last: order.last,
            queue_patience: self.queue_patience,
            front: None,
            recipe,
            mitigates: &variant.mitigates,
        };
        // The front end stops sending before the host is asked whether anything is left, keeps away
        // from it while it is changed (a restart of the front end forgets its servers' states), and
        // sends again only after the host has said that it serves.
        let before = match order.act {
            Act::AwaitEmpty => self.at_front(order, "front-await", limit),
            Act::Save | Act::Patch | Act::Prove | Act::RollBack | Act::ProveOld => {
                self.at_front(order, "front-drain", limit)
            }
            Act::Precheck => self.at_front(order, "front-look", limit),
            Act::Lease | Act::Drain | Act::Return | Act::Recheck | Act::Release => None,
        };
        // Sessions at the front end end where the host ends them: readers who stay are told to go there.
        let waiting = match before {
            Some(before @ ActOutcome::NotYet { .. }) if order.act == Act::AwaitEmpty => {
                Some(before)
            }
            Some(before @ (ActOutcome::NotYet { .. } | ActOutcome::Failed { .. })) => {
                return before;
            }
            Some(ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. }) | None => None,
        };
        let outcome = unless_waiting(self.run(host, &subject, limit), waiting);
        let after = match order.act {
            Act::Drain => Some("front-drain"),
            Act::Return => Some("front-return"),
            Act::Precheck
            | Act::Lease
            | Act::AwaitEmpty
            | Act::Save
            | Act::Patch
            | Act::Prove
            | Act::Recheck
            | Act::RollBack
            | Act::ProveOld
            | Act::Release => None,
        };
        if let ActOutcome::NotYet { .. } | ActOutcome::Failed { .. } = outcome {
            return outcome;
        }
        let after = after.and_then(|act| self.at_front(order, act, limit));
        match after {
            Some(after) => both(outcome, after),
            None => outcome,
        }
    }
}

/// A product whose adapter was never tried on a real server: refused before anything is touched.
fn by_hand_only(product: dialogue::Product, act: Act, host: &HostName) -> ActOutcome {
    let said = dialogue::commands(product, act, host.as_str(), None).unwrap_or_default();
    let hint = if said.is_empty() {
        "its own documentation tells how".to_owned()
    } else {
        format!("by hand: {}", said.join("; "))
    };
    ActOutcome::Failed {
        kind: ActFailure::Other,
        detail: printable_max(
            &format!(
                "{} of this product is not done by Mailkeep, and nothing was touched; {hint}",
                act.name()
            ),
            1000,
        ),
    }
}

/// The host's outcome, but not done before its front end is.
fn unless_waiting(host: ActOutcome, waiting: Option<ActOutcome>) -> ActOutcome {
    match (host, waiting) {
        (ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. }, Some(waiting)) => waiting,
        (host, _) => host,
    }
}

/// Two outcomes as one: done where either was, with what both saw.
fn both(first: ActOutcome, second: ActOutcome) -> ActOutcome {
    use ActOutcome as O;
    let (seen, done) = match first {
        O::Done { seen } => (seen, true),
        O::AlreadyDone { seen } => (seen, false),
        other @ (O::NotYet { .. } | O::Failed { .. }) => return other,
    };
    let (more, done) = match second {
        O::Done { seen } => (seen, true),
        O::AlreadyDone { seen } => (seen, done),
        other @ (O::NotYet { .. } | O::Failed { .. }) => return other,
    };
    let seen = [seen, more].concat();
    if done {
        O::Done { seen }
    } else {
        O::AlreadyDone { seen }
    }
}

fn says_not_root(answer: &[u8], nonce: &str) -> bool {
    let line = script::not_root(nonce);
    answer
        .split(|&byte| byte == b'\n')
        .any(|said| said == line.as_bytes())
}

/// No answer: what was done is not known.
fn unreachable(failure: &HostFailure) -> ActOutcome {
    let kind = match failure.kind {
        ScanFailureKind::GarbageOutput => ActFailure::GarbageOutput,
        ScanFailureKind::ChangedHostKey
        | ScanFailureKind::Local
        | ScanFailureKind::RefusedKey
        | ScanFailureKind::TimedOut
        | ScanFailureKind::UnknownHostKey
        | ScanFailureKind::Unreachable => ActFailure::Unreachable,
    };
    ActOutcome::Failed {
        kind,
        // The kind is said once, and the finer of two is said too.
        detail: if failure.kind.name() == kind.name() {
            failure.detail.clone()
        } else {
            failure.to_string()
        },
    }
}

fn refused(error: &ScriptError) -> ActOutcome {
    ActOutcome::Failed {
        kind: ActFailure::Other,
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_name_fits_into_a_lease() {
        let fleet = Fleet::default();
        assert!(SshHands::new("db-1:7f3a@ops.example", &fleet).is_ok());
        for bad in ["", "a b", "a\nb", "it's", &"x".repeat(101)] {
            assert!(SshHands::new(bad, &fleet).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_of_no_fleet_is_out_of_reach() {
        let hands = SshHands::new("c", &Fleet::default()).unwrap();
        let host = HostName::new("mx1").unwrap();
        let outcome = hands.isolate(&host, Duration::from_secs(1));
        assert!(
            matches!(
                outcome,
                ActOutcome::Failed {
                    kind: ActFailure::Unreachable,
                    ..
                }
            ),
            "{outcome:?}"
        );
    }

    #[test]
    fn why_a_host_cannot_be_reached_is_said_once() {
        let detail = |kind| match unreachable(&HostFailure {
            kind,
            detail: "ssh to mx1: no route".to_owned(),
        }) {
            ActOutcome::Failed { detail, .. } => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(detail(ScanFailureKind::Unreachable), "ssh to mx1: no route");
        assert_eq!(
            detail(ScanFailureKind::TimedOut),
            "timed-out: ssh to mx1: no route"
        );
    }

    #[test]
    fn an_act_on_two_hosts_is_done_where_either_was() {
        let done = |fact: &str| ActOutcome::Done {
            seen: vec![fact.to_owned()],
        };
        let already = || ActOutcome::AlreadyDone { seen: Vec::new() };
        assert_eq!(both(done("a"), already()), done("a"));
        assert_eq!(both(already(), done("b")), done("b"));
        assert_eq!(both(already(), already()), already());
        let failed = ActOutcome::Failed {
            kind: ActFailure::Other,
            detail: String::new(),
        };
        assert_eq!(both(done("a"), failed.clone()), failed);
    }

    #[test]
    fn a_host_is_empty_only_where_its_front_end_is() {
        let done = ActOutcome::Done { seen: Vec::new() };
        let waits = |why: &str| ActOutcome::NotYet {
            why: why.to_owned(),
        };
        let failed = ActOutcome::Failed {
            kind: ActFailure::Other,
            detail: String::new(),
        };
        let front = || Some(waits("front"));
        assert_eq!(unless_waiting(done.clone(), front()), waits("front"));
        assert_eq!(unless_waiting(waits("host"), front()), waits("host"));
        assert_eq!(unless_waiting(failed.clone(), front()), failed);
        assert_eq!(unless_waiting(waits("host"), None), waits("host"));
        assert_eq!(unless_waiting(done.clone(), None), done);
    }
}
