//! What differs between two plans, for people and for the rules of delegation.
//!
//! Entry types: [`diff`], and for delegation [`is_only_shift_of`] and [`part_digest`].

mod part;
mod shift;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mailkeep_model::text::printable;
use mailkeep_model::{
    AdvisoryId, HostName, PackageChange, Plan, PlanStep, RegionName, Stage, Timestamp, Variant,
    Wave,
};
use serde::Serialize;
use serde_json::Value;

pub use part::part_digest;
pub use shift::{NotOnlyShifted, is_only_shift_of, only_shifts};

/// What differs between two plans. Generation, parent and the moment of making are left out: they differ
/// between any two.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PlanDiff {
    /// Lane, realm, title, override, time zone database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub head: Vec<Change>,
    /// Advisories only the new plan answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advisories_added: Vec<AdvisoryId>,
    /// Advisories only the old plan answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advisories_removed: Vec<AdvisoryId>,
    /// The policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<Change>,
    /// What regions are, and when their windows are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Change>,
    /// Hosts that must stay in service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub minimums: Vec<Change>,
    /// Everything else about services, and who is out of service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Change>,
    /// Variants only the new plan has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants_added: Vec<Variant>,
    /// Variants only the old plan has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants_removed: Vec<Variant>,
    /// Steps only the new plan has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_added: Vec<When>,
    /// Steps only the old plan has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_removed: Vec<When>,
    /// Steps at another time, or in another stage or window.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_moved: Vec<Moved>,
    /// Hosts that get other versions, or come from other ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionsChanged>,
    /// Everything else about steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_changed: Vec<StepChanged>,
}

/// One thing that was and is otherwise. `None` is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What, as a path: `regular.soak_test_minutes`, `inbound-mx.minimum.oslo`.
    pub what: String,
    /// In the old plan.
    pub old: Option<Value>,
    /// In the new plan.
    pub new: Option<Value>,
}

/// When a host is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct When {
    /// Which host.
    pub host: HostName,
    /// Its region.
    pub region: RegionName,
    /// The stage of its wave; `None` where the plan has no such wave.
    pub stage: Option<Stage>,
    /// Start of its step.
    pub start: Timestamp,
    /// End of its step.
    pub end: Timestamp,
}

/// A step that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Where it was.
    pub old: When,
    /// Where it is.
    pub new: When,
}

/// A host with other versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionsChanged {
    /// Which host.
    pub host: HostName,
    /// What changed on it by the old plan.
    pub old: Vec<PackageChange>,
    /// What changes on it by the new plan.
    pub new: Vec<PackageChange>,
}

/// Anything else about a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepChanged {
    /// Which host.
    pub host: HostName,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

/// What differs from plan `a` to plan `b`.
pub fn diff(a: &Plan, b: &Plan) -> PlanDiff {
    let mut diff = PlanDiff {
        head: head(a, b),
        policy: changes("", &json(&a.policy), &json(&b.policy)),
        regions: changes("", &json(&a.regions), &json(&b.regions)),
        ..PlanDiff::default()
    };
    let (old, new) = (set(&a.bulletin), set(&b.bulletin));
    diff.advisories_added = new.difference(&old).copied().cloned().collect();
    diff.advisories_removed = old.difference(&new).copied().cloned().collect();
    let services = changes("", &json(&a.services), &json(&b.services));
    (diff.minimums, diff.services) = services.into_iter().partition(|change| {
        // `SERVICE.minimum...`; a service that is there only once is told as a whole.
        let mut parts = change.what.split('.').rev();
        parts.any(|part| part == "minimum" || part == "minimum_total")
    });
    let out = changes(
        "out_of_service",
        &json(&a.out_of_service),
        &json(&b.out_of_service),
    );
    diff.services.extend(out);
    let (old, new) = (set(&a.variants), set(&b.variants));
    diff.variants_added = new.difference(&old).copied().cloned().collect();
    diff.variants_removed = old.difference(&new).copied().cloned().collect();
    steps(a, b, &mut diff);
    diff
}

impl PlanDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn set<T: Ord>(list: &[T]) -> BTreeSet<&T> {
    list.iter().collect()
}

/// A plan's parts can always be written as JSON; were one not, it would show as absent.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn head(a: &Plan, b: &Plan) -> Vec<Change> {
    let mut head = Vec::new();
    for (what, old, new) in [
        ("format", json(&a.format), json(&b.format)),
        ("lane", json(&a.lane), json(&b.lane)),
        ("override", json(&a.overriding), json(&b.overriding)),
        ("realm", json(&a.realm), json(&b.realm)),
        ("retries", json(&a.retries), json(&b.retries)),
        ("title", json(&a.title), json(&b.title)),
        ("tzdb", json(&a.tzdb), json(&b.tzdb)),
    ] {
        head.extend(changes(what, &old, &new));
    }
    head
}

/// Differences within two JSON values: members by name, texts of a list as a set.
fn changes(path: &str, old: &Value, new: &Value) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let present = |value: &Value| (!value.is_null()).then(|| value.clone());
    let whole = || {
        vec![Change {
            what: path.to_owned(),
            old: present(old),
            new: present(new),
        }]
    };
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let mut found = Vec::new();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let member =
                |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or(Value::Null);
            found.extend(changes(&path, &member(old), &member(new)));
        }
        return found;
    }
    if let (Some(old), Some(new)) = (texts(old), texts(new)) {
        let change = |gone: Option<&&str>, came: Option<&&str>| Change {
            what: path.to_owned(),
            old: gone.map(|text| Value::from(*text)),
            new: came.map(|text| Value::from(*text)),
        };
        let gone = old.difference(&new).map(|text| change(Some(text), None));
        let came = new.difference(&old).map(|text| change(None, Some(text)));
        return gone.chain(came).collect();
    }
    whole()
}

fn texts(value: &Value) -> Option<BTreeSet<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn steps(a: &Plan, b: &Plan, diff: &mut PlanDiff) {
    let old = by_host(a);
    let new = by_host(b);
    for (host, step) in &old {
        if !new.contains_key(host) {
            diff.steps_removed.push(when(a, step));
        }
    }
    for (host, step) in &new {
        match old.get(host) {
            None => diff.steps_added.push(when(b, step)),
            Some(before) => one_step((a, before), (b, step), diff),
        }
    }
}

fn by_host(plan: &Plan) -> BTreeMap<&HostName, &PlanStep> {
    plan.steps.iter().map(|step| (&step.host, step)).collect()
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn wave_of<'a>(plan: &'a Plan, step: &PlanStep) -> Option<&'a Wave> {
    plan.waves.get(place(step.wave))
}

fn when(plan: &Plan, step: &PlanStep) -> When {
    When {
        host: step.host.clone(),
        region: step.region.clone(),
        stage: wave_of(plan, step).map(|wave| wave.stage),
        start: step.start,
        end: step.end,
    }
}

fn one_step((a, old): (&Plan, &PlanStep), (b, new): (&Plan, &PlanStep), diff: &mut PlanDiff) {
    let window = |plan, step| wave_of(plan, step).and_then(|wave| wave.window);
    let (before, after) = (when(a, old), when(b, new));
    if before != after || window(a, old) != window(b, new) {
        diff.steps_moved.push(Moved {
            old: before,
            new: after,
        });
    }
    let packages = |plan: &Plan, step: &PlanStep| -> Vec<PackageChange> {
        let variant = plan.variants.get(place(step.variant));
        variant
            .map(|variant| variant.packages.clone())
            .unwrap_or_default()
    };
    let (from, to) = (packages(a, old), packages(b, new));
    if from != to {
        diff.versions.push(VersionsChanged {
            host: new.host.clone(),
            old: from,
            new: to,
        });
    }
    // Times, region, wave and versions are told already.
    let rest = |plan: &Plan, step: &PlanStep| {
        let variant = plan.variants.get(place(step.variant));
        serde_json::json!({
            "after": step.after,
            "deadline": step.deadline,
            "drain": step.drain,
            "family": variant.map(|variant| &variant.family),
            "mitigates": variant.map(|variant| &variant.mitigates),
            "owner": step.owner,
            "platform": variant.map(|variant| &variant.platform),
            "precheck": step.precheck,
            "proof": step.proof,
            "recipe": variant.map(|variant| &variant.recipe),
            "risk": step.risk,
            "services": step.services,
            "whole_cluster": variant.map(|variant| variant.whole_cluster),
        })
    };
    // Most steps are as they were, and need no JSON to tell.
    let as_before = PlanStep {
        region: old.region.clone(),
        wave: old.wave,
        variant: old.variant,
        start: old.start,
        end: old.end,
        ..new.clone()
    };
    let variants = (
        a.variants.get(place(old.variant)),
        b.variants.get(place(new.variant)),
    );
    if as_before == *old && variants.0 == variants.1 {
        return;
    }
    let found = changes("", &rest(a, old), &rest(b, new));
    diff.steps_changed
        .extend(found.into_iter().map(|change| StepChanged {
            host: new.host.clone(),
            change,
        }));
}

/// For a terminal, a line each: first a line of counts, then what was (`-`), what is (`+`), what moved
/// (`~`). Times are UTC.
impl fmt::Display for PlanDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "no difference");
        }
        writeln!(
            f,
            "steps: {} added, {} removed, {} moved, {} with other versions",
            self.steps_added.len(),
            self.steps_removed.len(),
            self.steps_moved.len(),
            self.versions.len()
        )?;
        section(f, "plan", &self.head)?;
        let advisories = self.advisories_removed.iter().map(|id| ('-', id));
        let advisories = advisories.chain(self.advisories_added.iter().map(|id| ('+', id)));
        for (number, (sign, id)) in advisories.enumerate() {
            if number == 0 {
                writeln!(f, "\nbulletin")?;
            }
            writeln!(f, "  {sign} {id}")?;
        }
        section(f, "policy", &self.policy)?;
        section(f, "regions", &self.regions)?;
        section(f, "minimum in service", &self.minimums)?;
        section(f, "services", &self.services)?;
        let variants = self.variants_removed.iter().map(|variant| ('-', variant));
        let variants = variants.chain(self.variants_added.iter().map(|variant| ('+', variant)));
        for (number, (sign, variant)) in variants.enumerate() {
            if number == 0 {
                writeln!(f, "\nvariants")?;
            }
            writeln!(
                f,
                "  {sign} {} on {}: {}",
                printable(&variant.family),
                printable(&variant.platform),
                packages(&variant.packages)
            )?;
        }
        if !self.steps_removed.is_empty() || !self.steps_added.is_empty() {
            writeln!(f, "\nsteps")?;
        }
        for step in &self.steps_removed {
            writeln!(f, "  - {step}")?;
        }
        for step in &self.steps_added {
            writeln!(f, "  + {step}")?;
        }
        if !self.steps_moved.is_empty() {
            writeln!(f, "\nmoved")?;
        }
        for moved in &self.steps_moved {
            writeln!(f, "  ~ {moved}")?;
        }
        if !self.versions.is_empty() {
            writeln!(f, "\nversions")?;
        }
        for host in &self.versions {
            let (old, new) = (packages(&host.old), packages(&host.new));
            writeln!(f, "  ~ {}: {old}; now {new}", host.host)?;
        }
        if !self.steps_changed.is_empty() {
            writeln!(f, "\nelse")?;
        }
        for step in &self.steps_changed {
            writeln!(f, "  ~ {} {}", step.host, step.change)?;
        }
        Ok(())
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, changes: &[Change]) -> fmt::Result {
    if !changes.is_empty() {
        writeln!(f, "\n{title}")?;
    }
    for change in changes {
        writeln!(f, "  ~ {change}")?;
    }
    Ok(())
}

fn packages(changes: &[PackageChange]) -> String {
    if changes.is_empty() {
        return "no package".to_owned();
    }
    let one = |change: &PackageChange| {
        let text = if change.from == change.to {
            format!("{} {} (restart)", change.name, change.to)
        } else {
            format!("{} {} to {}", change.name, change.from, change.to)
        };
        printable(&text).into_owned()
    };
    changes.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<Value>| match value {
            None => "none".to_owned(),
            Some(Value::String(text)) => printable(text).into_owned(),
            Some(other) => printable(&other.to_string()).into_owned(),
        };
        let what = printable(&self.what);
        match (&self.old, &self.new) {
            (None, Some(_)) => write!(f, "{what}: + {}", value(&self.new)),
            (Some(_), None) => write!(f, "{what}: - {}", value(&self.old)),
            (Some(_), Some(_)) | (None, None) => {
                write!(f, "{what}: {} to {}", value(&self.old), value(&self.new))
            }
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} to {}",
            self.host,
            minute(self.start),
            minute(self.end)
        )?;
        match self.stage {
            Some(stage) => write!(f, " ({}, {})", self.region, stage.name()),
            None => write!(f, " ({})", self.region),
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.new.start.duration_since(self.old.start).as_mins();
        let (old, new) = (&self.old, &self.new);
        write!(
            f,
            "{} {} to {}",
            old.host,
            minute(old.start),
            minute(new.start)
        )?;
        if by != 0 {
            write!(f, " ({by:+} minutes)")?;
        }
        if old.end.duration_since(old.start) != new.end.duration_since(new.start) {
            let minutes = |when: &When| when.end.duration_since(when.start).as_mins();
            write!(f, ", lasts {} minutes, not {}", minutes(new), minutes(old))?;
        }
        if old.region != new.region {
            write!(f, ", region {} to {}", old.region, new.region)?;
        }
        if let (Some(old), Some(new)) = (old.stage, new.stage)
            && old != new
        {
            write!(f, ", stage {} to {}", old.name(), new.name())?;
        }
        Ok(())
    }
}

/// To the minute, as plans are; UTC.
fn minute(at: Timestamp) -> String {
    let civil = jiff::tz::TimeZone::UTC.to_datetime(at);
    let (date, time) = (civil.date(), civil.time());
    if time.second() == 0 && time.subsec_nanosecond() == 0 {
        format!("{date} {:02}:{:02}Z", time.hour(), time.minute())
    } else {
        format!("{date} {time}Z")
    }
}
