//! The states of a host in a rollout, and every transition between them.

use mailkeep_model::HostState;

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing leads on from {} by {}", state.name(), event.name())]
pub struct IllegalTransition {
    /// From where.
    pub state: HostState,
    /// By what.
    pub event: HostEvent,
}

/// What moves a host from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostEvent {
    /// The act that leads on was begun.
    Begun,
    /// A host that is ready is looked at once more, since the last look is old.
    LookAgain,
    /// Done.
    Done,
    /// It was so already.
    AlreadyDone,
    /// Not yet; it will be asked again.
    NotYet,
    /// Not yet, and it was asked often enough.
    Overdue,
    /// It failed.
    Failed,
    /// Somebody else has their hands on the host.
    LeaseLost,
    /// No answer, or none that could be understood; it will be tried again.
    Unreachable,
    /// The same, and it was tried often enough.
    OutOfReach,
    /// The executor takes it back without a failure of its own; never while an act is under way.
    CalledOff,
}

impl HostEvent {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlreadyDone => "already-done",
            Self::Begun => "begun",
            Self::CalledOff => "called-off",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::LeaseLost => "lease-lost",
            Self::LookAgain => "look-again",
            Self::NotYet => "not-yet",
            Self::OutOfReach => "out-of-reach",
            Self::Overdue => "overdue",
            Self::Unreachable => "unreachable",
        }
    }
}
