//! Claims about who may let a plan run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mailkeep_model::{
    Drain, HostName, Lane, Override, PlanStep, PlannedRegion, Precheck, Proof, RolloutPolicy,
    Stage, Variant, Wave,
};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn team(name: &str) -> TeamName {
    TeamName::new(name).unwrap()
}

fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

/// One host in each of these regions, an hour apart.
fn plan(regions: &[(&str, Option<&str>)]) -> Plan {
    let start = |number: usize| {
        let hours = i64::try_from(number).unwrap();
        at("2026-12-01T00:00:00Z") + jiff::SignedDuration::from_hours(hours)
    };
    let half = jiff::SignedDuration::from_mins(30);
    Plan {
        format: Plan::FORMAT,
        realm: Realm::Live,
        generation: 1,
        parent: None,
        made_at: at("2026-11-21T12:00:00Z"),
        tzdb: "2026b".to_owned(),
        lane: Lane::Emergency,
        overriding: None,
        retries: BTreeSet::new(),
        bulletin: Vec::new(),
        title: "a plan".to_owned(),
        policy: RolloutPolicy {
            shift_minutes: 60,
            ..RolloutPolicy::default()
        },
        regions: regions
            .iter()
            .map(|(name, owner)| {
                let planned = PlannedRegion {
                    time_zone: "UTC".to_owned(),
                    owner: owner.map(team),
                    pilot: false,
                    windows: Vec::new(),
                };
                (region(name), planned)
            })
            .collect(),
        services: BTreeMap::new(),
        out_of_service: BTreeSet::new(),
        variants: vec![Variant {
            family: "exim".to_owned(),
            platform: "Debian:12".to_owned(),
            packages: Vec::new(),
            recipe: None,
            whole_cluster: false,
            mitigates: BTreeMap::new(),
        }],
        waves: regions
            .iter()
            .enumerate()
            .map(|(number, (name, _))| Wave {
                region: region(name),
                stage: Stage::Rest,
                start: start(number),
                end: start(number) + half,
                window: None,
            })
            .collect(),
        steps: regions
            .iter()
            .enumerate()
            .map(|(number, (name, owner))| PlanStep {
                host: HostName::new(format!("mx.{name}")).unwrap(),
                region: region(name),
                owner: owner.map(team),
                wave: u32::try_from(number).unwrap(),
                variant: 0,
                start: start(number),
                end: start(number) + half,
                services: BTreeSet::new(),
                drain: Drain::SynRefusal,
                precheck: Precheck {
                    facts_as_of: at("2026-11-21T11:00:00Z"),
                    free_mib: 100,
                },
                proof: Proof {
                    ports: BTreeSet::new(),
                    probes: BTreeSet::new(),
                },
                after: BTreeSet::new(),
                risk: 1,
                deadline: None,
            })
            .collect(),
    }
}

fn id_of(plan: &Plan) -> PlanId {
    mailkeep_plan::id_of(&mailkeep_plan::canonical(plan).unwrap()).unwrap()
}

/// A plan with signatures: a region's name or `*` for the whole, and who signed.
fn signed(plan: Plan, by: &[(&str, &str)]) -> SignedPlan {
    let signed = by
        .iter()
        .map(|(part, who)| Signed {
            region: (*part != "*").then(|| region(part)),
            team: team(who),
            key: String::new(),
            at: at("2026-11-22T00:00:00Z"),
        })
        .collect();
    SignedPlan {
        id: id_of(&plan),
        plan,
        signed,
        invalid: Vec::new(),
    }
}

/// The parent with one region's steps moved.
fn moved(parent: &SignedPlan, name: &str, minutes: i64) -> Plan {
    let by = jiff::SignedDuration::from_mins(minutes);
    let mut plan = parent.plan.clone();
    plan.parent = Some(parent.id.clone());
    plan.generation += 1;
    for step in plan.steps.iter_mut().filter(|s| s.region == region(name)) {
        step.start += by;
        step.end += by;
    }
    for wave in plan.waves.iter_mut().filter(|w| w.region == region(name)) {
        wave.start += by;
        wave.end += by;
    }
    plan
}

const TWO: &[(&str, Option<&str>)] = &[("ham", Some("europe")), ("sin", Some("asia"))];
const ALL: &[(&str, &str)] = &[("*", "global"), ("ham", "europe"), ("sin", "asia")];

/// What is missing, as `part: teams`.
#[track_caller]
fn check(plan: &SignedPlan, ancestors: &[SignedPlan], expected: &[&str]) {
    let state = approval_state(plan, ancestors, Some(&team("global")));
    let missing: Vec<String> = state
        .missing
        .iter()
        .map(|m| {
            let part = m.region.as_ref().map_or("*", RegionName::as_str);
            let teams: Vec<&str> = m.teams.iter().map(TeamName::as_str).collect();
            format!("{part}: {}", teams.join(", "))
        })
        .collect();
    assert_eq!(missing, expected);
    assert_eq!(state.is_approved(), expected.is_empty());
}

#[test]
fn every_region_and_the_whole_must_agree() {
    let asia = "sin: asia, global";
    let europe = "ham: europe, global";
    for (by, missing) in [
        (&[][..], &["*: global", europe, asia][..]),
        (&[("*", "global")], &[europe, asia]),
        (&[("ham", "europe"), ("sin", "asia")], &["*: global"]),
        (&[("*", "global"), ("ham", "europe")], &[asia]),
        // The global team stands in for a region, by name.
        (
            &[("*", "global"), ("ham", "europe"), ("sin", "global")],
            &[],
        ),
        (ALL, &[]),
        // A team speaks for its own region only, and never for the whole.
        (
            &[("*", "europe"), ("ham", "asia"), ("sin", "europe")],
            &["*: global", europe, asia],
        ),
    ] {
        check(&signed(plan(TWO), by), &[], missing);
    }
}

#[test]
fn one_word_is_enough_where_the_global_team_owns_the_region_or_nobody_does() {
    let own = plan(&[("ham", Some("global")), ("sin", None)]);
    check(&signed(own.clone(), &[("*", "global")]), &[], &[]);
    check(&signed(own, &[]), &[], &["*: global"]);
}

#[test]
fn without_a_global_team_the_regions_decide_and_a_region_of_nobody_cannot() {
    let two = signed(plan(TWO), &[("ham", "europe"), ("sin", "asia")]);
    assert!(approval_state(&two, &[], None).is_approved());
    let nobodys = signed(
        plan(&[("ham", None)]),
        &[("ham", "europe"), ("*", "europe")],
    );
    let state = approval_state(&nobodys, &[], None);
    assert_eq!(
        state.missing_in_words(),
        "region ham, for which no team answers"
    );
}

#[test]
fn an_override_by_the_global_team_with_a_reason_needs_no_region() {
    let ordered = |by: &str, reason: &str| {
        let mut plan = plan(TWO);
        plan.overriding = Some(Override {
            by: team(by),
            reason: reason.to_owned(),
        });
        plan
    };
    let whole = &[("*", "global")];
    check(&signed(ordered("global", "exploited"), whole), &[], &[]);
    check(
        &signed(ordered("global", "exploited"), &[("ham", "europe")]),
        &[],
        &["*: global"],
    );
    let regions = &["ham: europe, global", "sin: asia, global"];
    check(&signed(ordered("global", "  "), whole), &[], regions);
    check(&signed(ordered("europe", "mine"), whole), &[], regions);
}

#[test]
fn a_region_that_moves_its_own_waves_needs_only_its_own_word() {
    let parent = signed(plan(TWO), ALL);
    let child = moved(&parent, "sin", 30);
    let asked = &["sin: asia, global"];
    check(
        &signed(child.clone(), &[]),
        std::slice::from_ref(&parent),
        asked,
    );
    let wrong = &[("sin", "europe"), ("ham", "europe"), ("*", "asia")];
    check(
        &signed(child.clone(), wrong),
        std::slice::from_ref(&parent),
        asked,
    );
    let agreed = signed(child.clone(), &[("sin", "asia")]);
    check(&agreed, std::slice::from_ref(&parent), &[]);
    let state = approval_state(
        &agreed,
        std::slice::from_ref(&parent),
        Some(&team("global")),
    );
    assert_eq!(state.inherited_from, Some(parent.id.clone()));

    // Then the other region, too.
    let next = moved(&agreed, "ham", -15);
    check(
        &signed(next.clone(), &[]),
        &[agreed.clone(), parent.clone()],
        &["ham: europe, global"],
    );
    check(
        &signed(next, &[("ham", "europe")]),
        &[agreed, parent.clone()],
        &[],
    );

    // Of a parent that was not approved nothing is inherited.
    let nobody = signed(plan(TWO), &[("ham", "europe")]);
    check(
        &signed(moved(&nobody, "sin", 30), &[("sin", "asia")]),
        &[nobody],
        &["*: global", "ham: europe, global"],
    );
}

#[test]
fn moves_do_not_add_up_to_more_than_a_region_may() {
    let parent = signed(plan(TWO), ALL);
    let first = signed(moved(&parent, "sin", 45), &[("sin", "asia")]);
    let second = signed(moved(&first, "sin", 45), &[("sin", "asia")]);
    check(
        &second,
        &[first.clone(), parent.clone()],
        &["*: global", "ham: europe, global"],
    );
    // There and back again is not far.
    let back = signed(moved(&first, "sin", -30), &[("sin", "asia")]);
    check(&back, &[first, parent.clone()], &[]);
    let far = signed(moved(&parent, "sin", 90), &[("sin", "asia")]);
    check(&far, &[parent], &["*: global", "ham: europe, global"]);
}

#[test]
fn a_child_that_does_more_than_move_needs_every_word_again() {
    let parent = signed(plan(TWO), ALL);
    let everything = &["*: global", "ham: europe, global", "sin: asia, global"];
    let mut child = moved(&parent, "sin", 30);
    child.policy.wave_failures = 5;
    check(
        &signed(child, &[]),
        std::slice::from_ref(&parent),
        everything,
    );
    let mut both = moved(&parent, "sin", 30);
    for step in &mut both.steps {
        step.start += jiff::SignedDuration::from_mins(15);
    }
    check(
        &signed(both, &[]),
        std::slice::from_ref(&parent),
        everything,
    );
    // Nor does a plan inherit from one that is not its parent.
    let mut orphan = moved(&parent, "sin", 30);
    orphan.parent = None;
    check(&signed(orphan, &[]), &[parent], everything);
}

#[test]
fn only_who_answers_for_a_part_may_approve_it() {
    let plan = plan(&[("ham", Some("europe")), ("sin", None)]);
    let global = team("global");
    let may = |part: Option<&str>, who: &str, global: Option<&TeamName>| {
        let part = part.map(region);
        may_approve(&plan, part.as_ref(), &team(who), global)
    };
    for (part, who, allowed) in [
        (None, "global", true),
        (Some("ham"), "global", true),
        (Some("ham"), "europe", true),
        (None, "europe", false),
        (Some("sin"), "europe", false),
        (Some("nowhere"), "europe", false),
        (Some("nowhere"), "global", false),
    ] {
        let answer = may(part, who, Some(&global));
        assert_eq!(answer.is_ok(), allowed, "{part:?} {who} {answer:?}");
    }
    assert!(may(None, "europe", None).is_err());
}

#[test]
fn the_text_names_realm_plan_part_and_digest_and_nothing_can_be_slipped_in() {
    let plan = plan(TWO);
    let id = id_of(&plan);
    let ham = region("ham");
    let digest = digest_of(&plan, &id, Some(&ham));
    let text = text_to_sign(Realm::Drill, &id, Some(&ham), &digest);
    assert_eq!(
        text,
        format!(
            "mailkeep plan approval 1\nrealm: drill\nplan: {id}\npart: region ham\ndigest: {digest}\n"
        )
    );
    assert_ne!(text, text_to_sign(Realm::Live, &id, Some(&ham), &digest));
    assert_eq!(digest_of(&plan, &id, None), id.to_string());
    assert!(text_to_sign(Realm::Live, &id, None, id.as_str()).contains("\npart: whole\n"));
    // What would make a line of its own is no name.
    RegionName::new("ham\ndigest: x").unwrap_err();
}

/// A key for each team, and the file that says whose they are.
struct Keys(tempfile::TempDir);

impl Keys {
    /// `None`, with a word on standard error, where there is no `ssh-keygen`.
    fn new(test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut allowed = String::new();
        for team in ["global", "europe", "asia"] {
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", team, "-f"])
                .arg(directory.path().join(team))
                .status();
            if made.is_err() {
                eprintln!("skipped: {test}: no ssh-keygen");
                return None;
            }
            let public = directory.path().join(format!("{team}.pub"));
            let public = std::fs::read_to_string(public).unwrap();
            write!(allowed, "{team} {public}").unwrap();
        }
        std::fs::write(directory.path().join("allowed"), allowed).unwrap();
        Some(Self(directory))
    }

    fn approval(&self, plan: &Kept, part: Option<&str>, who: &str, namespace: &str) -> Approval {
        let part = part.map(region);
        let digest = digest_of(&plan.plan, &plan.id, part.as_ref());
        let text = text_to_sign(plan.plan.realm, &plan.id, part.as_ref(), &digest);
        let key = self.0.path().join(who);
        Approval {
            plan: plan.id.clone(),
            region: part,
            team: team(who),
            digest,
            signature: mailkeep_reach::sign::sign(&key, namespace, text.as_bytes()).unwrap(),
            at: at("2026-11-22T00:00:00Z"),
        }
    }

    fn verify(&self, plan: &Kept, approval: &Approval) -> Result<String, String> {
        verify_one(plan, approval, &self.0.path().join("allowed")).unwrap()
    }
}

fn kept(plan: Plan) -> Kept {
    Kept {
        id: id_of(&plan),
        plan,
    }
}

#[test]
fn a_signature_counts_for_its_plan_its_part_its_team_and_its_realm_only() {
    let Some(keys) = Keys::new("a_signature_counts_for_its_plan") else {
        return;
    };
    let good = kept(plan(TWO));
    let approval = keys.approval(&good, Some("ham"), "europe", NAMESPACE);
    keys.verify(&good, &approval).unwrap();

    // Another purpose, another team, another part.
    let file = keys.approval(&good, Some("ham"), "europe", "file");
    keys.verify(&good, &file).unwrap_err();
    let mut other = approval.clone();
    other.team = team("asia");
    keys.verify(&good, &other).unwrap_err();
    let mut other = approval.clone();
    other.region = Some(region("sin"));
    keys.verify(&good, &other).unwrap_err();
    other.digest = digest_of(&good.plan, &good.id, Some(&region("sin")));
    keys.verify(&good, &other).unwrap_err();
    let mut whole = approval.clone();
    whole.region = None;
    whole.digest = good.id.to_string();
    keys.verify(&good, &whole).unwrap_err();

    // A plan that was changed after it was signed, whatever is claimed of it.
    let mut changed = plan(TWO);
    changed.steps[1].risk = 9;
    let changed = kept(changed);
    keys.verify(&changed, &approval).unwrap_err();
    let mut claimed = approval.clone();
    claimed.plan = changed.id.clone();
    keys.verify(&changed, &claimed).unwrap_err();

    // The same plan as a drill: what was signed there is worth nothing here, and the reverse.
    let mut drill = plan(TWO);
    drill.realm = Realm::Drill;
    let drill = kept(drill);
    let practised = keys.approval(&drill, Some("ham"), "europe", NAMESPACE);
    keys.verify(&drill, &practised).unwrap();
    let mut passed_off = practised.clone();
    passed_off.plan = good.id.clone();
    passed_off.digest = digest_of(&good.plan, &good.id, Some(&region("ham")));
    keys.verify(&good, &passed_off).unwrap_err();
    keys.verify(&drill, &approval).unwrap_err();
}

#[test]
fn what_is_kept_without_a_file_of_keys_does_not_count() {
    let plan = kept(plan(TWO));
    let approval = Approval {
        plan: plan.id.clone(),
        region: None,
        team: team("global"),
        digest: plan.id.to_string(),
        signature: "x".to_owned(),
        at: at("2026-11-22T00:00:00Z"),
    };
    let verified = verified(&plan, vec![approval], None).unwrap();
    assert_eq!(verified.signed, []);
    assert_eq!(verified.invalid.len(), 1);
    assert!(!approval_state(&verified, &[], Some(&team("global"))).is_approved());
}
