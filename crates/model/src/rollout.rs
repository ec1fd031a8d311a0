//! A plan being executed: what is done to a host, how it ended, and where each host stands.

use serde::{Deserialize, Serialize};

use crate::TeamName;

/// One thing done to a host. Each is precheck, act, verify, and safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Is the host as the plan thinks? Changes nothing.
    Precheck,
    /// Mark the host as ours, so that a second controller, or a person, is seen.
    Lease,
    /// Keep new mail sessions away from it.
    Drain,
    /// Is nothing left in hand? Changes nothing but flushing queues.
    AwaitEmpty,
    /// Save the way back: packages, configuration, versions.
    Save,
    /// Install the planned versions with services held back, then stop and start them.
    Patch,
    /// Do all processes run what is installed, does it answer, is its configuration unchanged, does a
    /// message arrive?
    Prove,
    /// Let new mail sessions in again.
    Return,
    /// Look again after a while in service. Changes nothing.
    Recheck,
    /// Take the saved versions and configuration back.
    RollBack,
    /// The proof, against the saved versions.
    ProveOld,
    /// Give the lease back.
    Release,
}

impl Act {
    /// The acts of a host that goes the whole way, in their order.
    pub const WHOLE_WAY: [Self; 10] = [
        Self::Precheck,
        Self::Lease,
        Self::Drain,
        Self::AwaitEmpty,
        Self::Save,
        Self::Patch,
        Self::Prove,
        Self::Return,
        Self::Recheck,
        Self::Release,
    ];

    /// Every act, in the order of a good run.
    pub const ALL: [Self; 12] = [
        Self::Precheck,
        Self::Lease,
        Self::Drain,
        Self::AwaitEmpty,
        Self::Save,
        Self::Patch,
        Self::Prove,
        Self::Return,
        Self::Recheck,
        Self::RollBack,
        Self::ProveOld,
        Self::Release,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitEmpty => "await-empty",
            Self::Drain => "drain",
            Self::Lease => "lease",
            Self::Patch => "patch",
            Self::Precheck => "precheck",
            Self::Prove => "prove",
            Self::ProveOld => "prove-old",
            Self::Recheck => "recheck",
            Self::Release => "release",
            Self::Return => "return",
            Self::RollBack => "roll-back",
            Self::Save => "save",
        }
    }
}

/// How an act ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ActOutcome {
    /// Done now, and verified.
    Done {
        /// What was seen, kept as evidence: one printable fact a line, `name value`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen: Vec<String>,
    },
    /// It was so already; nothing was changed.
    AlreadyDone {
        /// What was seen.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen: Vec<String>,
    },
    /// Not yet, and nothing is wrong: sessions still open, a package manager at work. Asked again.
    NotYet {
        /// What it waits for.
        why: String,
    },
    /// The host is not as the plan says, or the act did not have its effect.
    Failed {
        /// The stable name.
        kind: ActFailure,
        /// Expected and found, printable.
        detail: String,
    },
}

/// Why an act failed. Names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActFailure {
    /// Configuration is not what it was, beyond what the plan said.
    ConfigurationChanged,
    /// No room to unpack.
    DiskFull,
    /// Its answer could not be understood.
    GarbageOutput,
    /// It holds the lease of another controller.
    LeaseHeld,
    /// The lease is gone, or another's, in the middle of the work: somebody else's hands.
    LeaseLost,
    /// Its greeting, EHLO or STARTTLS is not as before.
    MailServiceChanged,
    /// A mitigation that should stand is not in force.
    MitigationGone,
    /// The package manager failed.
    PackageManager,
    /// Packages cannot be had: mirror gone, version no longer offered.
    PackageUnavailable,
    /// The probe message did not arrive in time.
    ProbeLost,
    /// The plan's recipe is gone, or is not what it was; the host was not asked.
    RecipeMissing,
    /// Processes run old code.
    RunsOldCode,
    /// A mail service does not start, or does not answer.
    ServiceDown,
    /// Anything else on the host; see the detail.
    Other,
    /// Not reachable, or no answer in time. What was done is not known.
    Unreachable,
    /// Installed versions are neither the plan's start nor its end.
    UnexpectedVersion,
}

impl ActFailure {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigurationChanged => "configuration-changed",
            Self::DiskFull => "disk-full",
            Self::GarbageOutput => "garbage-output",
            Self::LeaseHeld => "lease-held",
            Self::LeaseLost => "lease-lost",
            Self::MailServiceChanged => "mail-service-changed",
            Self::MitigationGone => "mitigation-gone",
            Self::Other => "other",
            Self::PackageManager => "package-manager",
            Self::PackageUnavailable => "package-unavailable",
            Self::ProbeLost => "probe-lost",
            Self::RecipeMissing => "recipe-missing",
            Self::RunsOldCode => "runs-old-code",
            Self::ServiceDown => "service-down",
            Self::UnexpectedVersion => "unexpected-version",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Where a host stands in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Its time has not come.
    Waiting,
    /// Being looked at.
    Prechecking,
    /// Found as the plan expects; it leaves service when its time has come and nobody else must be
    /// waited for.
    Ready,
    /// Being marked as ours.
    Leasing,
    /// New sessions are being kept away.
    Draining,
    /// Waiting until nothing is in hand.
    Emptying,
    /// The way back is being saved.
    Saving,
    /// Being patched.
    Patching,
    /// Being proven.
    Proving,
    /// Going back into service.
    Returning,
    /// In service, watched.
    Soaking,
    /// Its lease is being given back after success.
    Releasing,
    /// The end: patched, proven, in service.
    Proven,
    /// Was in service again, and a look at it, or its return, failed: new sessions are being kept
    /// away once more, as soon as its services can spare it.
    DrainingAgain,
    /// Waiting, after that, until nothing is in hand.
    EmptyingAgain,
    /// Going back to the saved versions.
    RollingBack,
    /// The saved versions are being proven.
    ProvingOld,
    /// Going back into service with the saved versions.
    ReturningOld,
    /// Its lease is being given back after a rollback.
    ReleasingOld,
    /// An end: as it was before, proven, in service. Its change is quarantined.
    RolledBack,
    /// Going back into service untouched: something failed, or the rollout was aborted, before
    /// anything was changed.
    BackingOut,
    /// Its lease is being given back, untouched.
    ReleasingUntouched,
    /// An end: not changed, in service as before; the reason stands in the journal.
    Untouched,
    /// An end: can go neither forward nor back. Out of service as far as it could be reached, queue
    /// kept, owner called.
    Held,
    /// An end: carries the new versions, serves or may serve, and is not proven. It could not be taken
    /// out of service again: nobody reaches it, somebody else has it, or its service cannot spare it.
    /// Owner called.
    Unproven,
}

impl HostState {
    /// Every state, in the order of a good run, then the ways back, then the ends.
    pub const ALL: [Self; 25] = [
        Self::Waiting,
        Self::Prechecking,
        Self::Ready,
        Self::Leasing,
        Self::Draining,
        Self::Emptying,
        Self::Saving,
        Self::Patching,
        Self::Proving,
        Self::Returning,
        Self::Soaking,
        Self::Releasing,
        Self::DrainingAgain,
        Self::EmptyingAgain,
        Self::RollingBack,
        Self::ProvingOld,
        Self::ReturningOld,
        Self::ReleasingOld,
        Self::BackingOut,
        Self::ReleasingUntouched,
        Self::Proven,
        Self::RolledBack,
        Self::Untouched,
        Self::Held,
        Self::Unproven,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BackingOut => "backing-out",
            Self::Draining => "draining",
            Self::DrainingAgain => "draining-again",
            Self::Emptying => "emptying",
            Self::EmptyingAgain => "emptying-again",
            Self::Held => "held",
            Self::Leasing => "leasing",
            Self::Patching => "patching",
            Self::Prechecking => "prechecking",
            Self::Proven => "proven",
            Self::Proving => "proving",
            Self::ProvingOld => "proving-old",
            Self::Ready => "ready",
            Self::Releasing => "releasing",
            Self::ReleasingOld => "releasing-old",
            Self::ReleasingUntouched => "releasing-untouched",
            Self::Returning => "returning",
            Self::ReturningOld => "returning-old",
            Self::RolledBack => "rolled-back",
            Self::RollingBack => "rolling-back",
            Self::Saving => "saving",
            Self::Soaking => "soaking",
            Self::Unproven => "unproven",
            Self::Untouched => "untouched",
            Self::Waiting => "waiting",
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            Self::Proven | Self::RolledBack | Self::Untouched | Self::Held | Self::Unproven
        )
    }

    /// Whether it may be out of service: from the first attempt to drain it until its return is
    /// confirmed.
    pub fn is_out_of_service(self) -> bool {
        match self {
            Self::Draining
            | Self::Emptying
            | Self::Saving
            | Self::Patching
            | Self::Proving
            | Self::Returning
            | Self::DrainingAgain
            | Self::EmptyingAgain
            | Self::RollingBack
            | Self::ProvingOld
            | Self::ReturningOld
            | Self::BackingOut
            | Self::Held
            | Self::Unproven => true,
            Self::Waiting
            | Self::Prechecking
            | Self::Ready
            | Self::Leasing
            | Self::Soaking
            | Self::Releasing
            | Self::Proven
            | Self::ReleasingOld
            | Self::RolledBack
            | Self::ReleasingUntouched
            | Self::Untouched => false,
        }
    }
}

/// Why the executor does not begin a host, or takes it back though nothing failed on it. Names are
/// stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallOff {
    /// The rollout was aborted.
    Aborted,
    /// The same change failed on another host of its variant.
    ChangeQuarantined,
    /// A host of its cluster, which must not run two versions side by side, was not begun or failed.
    ClusterBroken,
    /// A host that must be proven before it was not.
    DependencyNotProven,
    /// It failed after its return, and its service has no host to spare for it.
    MinimumInService,
    /// The test host of its variant, or the pilot region, was not proven.
    StageNotProven,
    /// It could not begin early enough to end in its window.
    WindowPassed,
}

impl CallOff {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::ChangeQuarantined => "change-quarantined",
            Self::ClusterBroken => "cluster-broken",
            Self::DependencyNotProven => "dependency-not-proven",
            Self::MinimumInService => "minimum-in-service",
            Self::StageNotProven => "stage-not-proven",
            Self::WindowPassed => "window-passed",
        }
    }
}

/// Who ordered something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's name at the controller, or `mailkeep` for what the rollout itself decides.
    pub name: String,
    /// For which team, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOutcome {
    /// Every host is proven.
    Proven,
    /// It ended by itself; some hosts were rolled back, untouched or held.
    Partly,
    /// Somebody stopped it.
    Aborted,
}

/// What the ledger of numbered messages says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Accepted by a server (250 after DATA).
    pub sent: u64,
    /// Found at their destination at least once.
    pub delivered: u64,
    /// Extra copies found.
    pub duplicated: u64,
    /// Found, but later than the service's limit.
    pub late: u64,
    /// Accepted and not found when the rollout ended.
    pub lost: u64,
    /// Not accepted by any server of the service; the sender keeps such a message.
    pub refused: u64,
}
