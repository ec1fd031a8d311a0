//! What the checker says: one typed fact a breach, with a stable name.

use std::fmt;

use mailkeep_model::{HostName, RegionName, ServiceName, TeamName, Timestamp, text::printable};
use serde::Serialize;

/// How bad a breach is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// A rule is broken: such a plan must not run.
    Broken,
    /// A person should know; the plan may run.
    Warning,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $weight:ident;)*) => {
        /// A rule that a plan can break. Names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum BreachKind {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)*
        }

        impl BreachKind {
            /// Every rule, by name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How bad a breach of it is, where nothing softens it.
            pub fn weight(self) -> Weight {
                match self { $(Self::$name => Weight::$weight,)* }
            }
        }
    };
}

// Append-only, alphabetical.
rules! {
    /// A step waits for a host that has no step, or for itself.
    AfterUnknown = "after-unknown", Broken;
    /// A blackout ends before it begins, so that it holds on no day.
    BlackoutBackwards = "blackout-backwards", Warning;
    /// The bulletin is not sorted, or names an advisory twice.
    BulletinUnsorted = "bulletin-unsorted", Broken;
    /// A host is done after its deadline.
    DeadlineMissed = "deadline-missed", Warning;
    /// A step starts before a host that it waits for is done.
    DependencyOrder = "dependency-order", Broken;
    /// A service's `after` asks a step to wait for a host, and the step does not name it.
    DependencyUnlisted = "dependency-unlisted", Broken;
    /// The host by which another one is drained is out of service at the same time.
    DrainFrontOut = "drain-front-out", Broken;
    /// A host that carries services is not drained.
    DrainMissing = "drain-missing", Warning;
    /// Facts were seen after the plan was made.
    FactsFromFuture = "facts-from-future", Broken;
    /// The format is not the one this code knows.
    FormatUnknown = "format-unknown", Broken;
    /// The generation does not go with the parent: 1 has none, every other has one.
    GenerationMismatch = "generation-mismatch", Broken;
    /// A host has two steps.
    HostTwice = "host-twice", Broken;
    /// A service falls below its minimum in a region.
    MinimumInService = "minimum-in-service", Broken;
    /// A service has hosts in a region and says no minimum for it, or the reverse.
    MinimumMissing = "minimum-missing", Broken;
    /// A service falls below its minimum over all regions.
    MinimumTotal = "minimum-total", Broken;
    /// A variant mitigates something, and has no recipe that says how.
    MitigationWithoutRecipe = "mitigation-without-recipe", Broken;
    /// A step does not start on the grid.
    OffGrid = "off-grid", Broken;
    /// An override without a reason.
    OverrideWithoutReason = "override-without-reason", Broken;
    /// A package change is not one: an empty name or version, or not sorted by name.
    PackageChange = "package-change", Broken;
    /// More hosts out at a time than the fleet may have.
    ParallelFleet = "parallel-fleet", Broken;
    /// More hosts out at a time than a region may have.
    ParallelRegion = "parallel-region", Broken;
    /// More hosts out at a time than a team may have.
    ParallelTeam = "parallel-team", Broken;
    /// A host that is not in service has a step.
    PlannedOutOfService = "planned-out-of-service", Warning;
    /// The policy cannot be applied.
    PolicyUnusable = "policy-unusable", Broken;
    /// The probes of a step are not those of its services.
    ProbeMismatch = "probe-mismatch", Broken;
    /// A recipe is not pinned by a SHA-256, or its path leaves the fleet file's directory.
    RecipeUnpinned = "recipe-unpinned", Broken;
    /// A region without a step.
    RegionIdle = "region-idle", Warning;
    /// A region that the plan does not describe.
    RegionUnknown = "region-unknown", Broken;
    /// A risk of 0.
    RiskZero = "risk-zero", Broken;
    /// A service that no planned host carries.
    ServiceIdle = "service-idle", Warning;
    /// A step and a service disagree on whether the host carries it, or where.
    ServiceMembership = "service-membership", Broken;
    /// A service that the plan does not describe.
    ServiceUnknown = "service-unknown", Broken;
    /// The rest starts too soon after the pilot region.
    SoakPilot = "soak-pilot", Broken;
    /// A host starts too soon after its variant's test host.
    SoakTest = "soak-test", Broken;
    /// A wave starts too soon after the one before it in the same region.
    SoakWave = "soak-wave", Broken;
    /// A wave's stage does not go with its region: the pilot stage is for pilot regions, the rest for
    /// the others.
    StageRegion = "stage-region", Broken;
    /// A step starts before the plan was made.
    StepBeforePlan = "step-before-plan", Broken;
    /// A step ends before it starts, or takes no time.
    StepEmpty = "step-empty", Broken;
    /// A step lies in a blackout.
    StepInBlackout = "step-in-blackout", Broken;
    /// Steps are not in the order of their start, then host.
    StepOrder = "step-order", Broken;
    /// A step is not wholly inside a window of its region.
    StepOutsideWindow = "step-outside-window", Broken;
    /// A variant has no test host. In a child plan it may have been proven before, so that this is no
    /// more than a warning there.
    TestMissing = "test-missing", Broken;
    /// A variant has more than one test host, and is no cluster.
    TestNotAlone = "test-not-alone", Broken;
    /// A time zone that the database does not have.
    TimeZoneUnknown = "time-zone-unknown", Broken;
    /// There is more to say than is said.
    TooManyBreaches = "too-many-breaches", Broken;
    /// Windows were resolved by another version of the time zone database than the one they are
    /// checked by.
    TzdbDiffers = "tzdb-differs", Warning;
    /// A variant that changes nothing and has no recipe.
    VariantEmpty = "variant-empty", Broken;
    /// The same variant stands twice.
    VariantTwice = "variant-twice", Broken;
    /// A step names a variant that does not exist.
    VariantUnknown = "variant-unknown", Broken;
    /// A variant that no step names.
    VariantUnused = "variant-unused", Broken;
    /// A wave does not begin and end with its steps, or has none.
    WaveBounds = "wave-bounds", Broken;
    /// Waves are not in the order of their start.
    WaveOrder = "wave-order", Broken;
    /// A step and its wave are in different regions.
    WaveRegion = "wave-region", Broken;
    /// Two waves have the same region, stage and window.
    WaveTwice = "wave-twice", Broken;
    /// A step names a wave that does not exist.
    WaveUnknown = "wave-unknown", Broken;
    /// A wave's window is missing, is none of its region's, or does not hold its steps.
    WaveWindow = "wave-window", Broken;
    /// Hosts of a cluster that must go together do not.
    WholeClusterSplit = "whole-cluster-split", Broken;
    /// A window's recurrence cannot be resolved.
    WindowUnreadable = "window-unreadable", Broken;
}

impl fmt::Display for BreachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One rule that a plan breaks, with who is concerned, and what was expected and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which rule.
    pub kind: BreachKind,
    /// How bad it is.
    pub weight: Weight,
    /// The host concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The region concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// The service concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The team concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
    /// Number of the wave concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<u32>,
    /// Number of the variant concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<u32>,
    /// When, in UTC: for levels over time, from when on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What the rule asks for.
    pub expected: String,
    /// What the plan says.
    pub found: String,
}

impl Breach {
    /// A breach that concerns the plan as a whole.
    pub(super) fn of(
        kind: BreachKind,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            weight: kind.weight(),
            host: None,
            region: None,
            service: None,
            team: None,
            wave: None,
            variant: None,
            at: None,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// Whether a rule is broken, rather than something worth a look.
    pub fn is_broken(&self) -> bool {
        self.weight == Weight::Broken
    }

    pub(super) fn host(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }

    pub(super) fn region(mut self, region: &RegionName) -> Self {
        self.region = Some(region.clone());
        self
    }

    pub(super) fn service(mut self, service: &ServiceName) -> Self {
        self.service = Some(service.clone());
        self
    }

    pub(super) fn team(mut self, team: &TeamName) -> Self {
        self.team = Some(team.clone());
        self
    }

    pub(super) fn wave(mut self, wave: usize) -> Self {
        self.wave = u32::try_from(wave).ok();
        self
    }

    pub(super) fn variant(mut self, variant: usize) -> Self {
        self.variant = u32::try_from(variant).ok();
        self
    }

    pub(super) fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    pub(super) fn softened(mut self) -> Self {
        self.weight = Weight::Warning;
        self
    }
}

/// One line, fit for a terminal: the name, who is concerned, what was expected and found.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Broken => "broken",
            Weight::Warning => "warning",
        };
        write!(f, "{weight}: {}", self.kind)?;
        if let Some(host) = &self.host {
            write!(f, ", host {host}")?;
        }
        if let Some(service) = &self.service {
            write!(f, ", service {service}")?;
        }
        if let Some(region) = &self.region {
            write!(f, ", region {region}")?;
        }
        if let Some(team) = &self.team {
            write!(f, ", team {team}")?;
        }
        if let Some(wave) = self.wave {
            write!(f, ", wave {wave}")?;
        }
        if let Some(variant) = self.variant {
            write!(f, ", variant {variant}")?;
        }
        if let Some(at) = self.at {
            write!(f, ", at {at}")?;
        }
        write!(
            f,
            ": expected {}, found {}",
            printable(&self.expected),
            printable(&self.found)
        )
    }
}
