//! `mailkeep plan` by the built program: made, checked, approved, moved, told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

#[path = "../common/mod.rs"]
mod common;
mod notices;
mod recipes;

use std::fs;
use std::process::Command;

use common::{Bench, KEV, Ran, TRACKER, has_program};
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, Candidate, Event, EventKind, HostName, PlanId, Realm,
    RolloutOutcome, Seen, Timestamp,
};
use mailkeep_store::{SqliteStore, Store as _};

const FLEET: &str = r#"
global_team = "postmasters"
[teams.postmasters]
email = ["postmaster@harbour.example"]
phone = "+49 40 5550100"
[teams.europe]
email = ["europe@harbour.example"]
[teams.asia]
email = ["asia@harbour.example", "asia2@harbour.example"]
[regions.eu]
time_zone = "Europe/Berlin"
owner = "europe"
pilot = true
windows = [{ rrule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1", duration = "2h" }]
[regions.sg]
time_zone = "Asia/Singapore"
owner = "asia"
windows = [{ rrule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=3", duration = "3h" }]
[services.inbound-mx]
minimum = 1
[hosts."mx1.eu"]
region = "eu"
services = ["inbound-mx"]
family = "exim"
facts = "host"
[hosts."mx2.eu"]
region = "eu"
services = ["inbound-mx"]
family = "exim"
facts = "host"
[hosts."mx1.sg"]
region = "sg"
services = ["inbound-mx"]
family = "exim"
facts = "host"
[hosts."mx2.sg"]
region = "sg"
services = ["inbound-mx"]
family = "exim"
facts = "host"
[policy.rollout]
shift = "1h"
[approvals]
allowed_signers = "allowed_signers"
"#;

/// A fleet of four in two regions, each with an Exim that has a hole.
struct Fleet(Bench);

impl Fleet {
    /// With the hole known to be exploited, or not.
    fn new(exploited: bool, extra: &str) -> Self {
        let bench = Bench::new();
        let tracker = bench.write("tracker.json", TRACKER);
        bench.import("debian-tracker", &tracker).exits(0);
        if exploited {
            let kev = bench.write("kev.json", KEV);
            bench.import("kev", &kev).exits(0);
        }
        bench.exim_host();
        let mut text = format!("{FLEET}{extra}");
        if !exploited {
            // Nothing about these servers makes a hole urgent.
            text = text
                .replace("family = \"exim\"", "family = \"exim\"\nexposed = false")
                .replace(
                    "minimum = 1",
                    "minimum = 1\ncriticality = \"minimal\"\nmission_prevalence = \"minimal\"",
                );
        }
        bench.write("mailkeep.toml", text);
        Self(bench)
    }

    fn plan(&self, args: &[&str]) -> Ran {
        let mut all = vec!["plan"];
        all.extend(args);
        all.extend(["--fleet", "mailkeep.toml"]);
        self.0.run(&all)
    }

    /// Makes a plan; its id.
    fn made(&self) -> String {
        let ran = self.plan(&["make", "--format", "json"]).exits(0);
        ran.json()["id"].as_str().unwrap().to_owned()
    }

    /// A key for each team; whether there can be any.
    fn keys(&self, test: &str) -> bool {
        if !has_program(test, "ssh-keygen") {
            return false;
        }
        let mut allowed = String::new();
        for team in ["postmasters", "europe", "asia"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", team, "-f"])
                .arg(self.0.path(team))
                .status()
                .unwrap();
            assert!(made.success());
            let public = fs::read_to_string(self.0.path(&format!("{team}.pub"))).unwrap();
            allowed = format!("{allowed}{team} namespaces=\"mailkeep-plan\" {public}");
        }
        self.0.write("allowed_signers", allowed);
        true
    }

    /// A plan of more than a day ahead: its id, and when it begins.
    fn calm_plan(&self) -> (String, Timestamp) {
        let calm = ["--advisory", "CVE-2023-42115", "--lane", "regular"];
        let mut args = calm.to_vec();
        args.extend(["--format", "json"]);
        // The deadline is before the next window, which is said.
        let json = self.plan(&args).exits(1).json();
        let steps = json["plan"]["steps"].as_array().unwrap();
        let starts = steps.iter().map(|step| {
            step["start"]
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .unwrap()
        });
        let id = json["id"].as_str().unwrap().to_owned();
        (id, starts.min().unwrap())
    }

    /// Lets the rollout of a plan begin and be aborted.
    fn abort(&self, plan: &str) {
        let mut store = SqliteStore::open(&self.0.state(), Realm::Live).unwrap();
        let plan = PlanId::new(plan).unwrap();
        let by = Actor {
            name: "ada".to_owned(),
            team: None,
        };
        for kind in [
            EventKind::RolloutStarted {
                plan: plan.clone(),
                by: by.clone(),
            },
            EventKind::RolloutAborted {
                plan: plan.clone(),
                by,
                reason: "mail piles up".to_owned(),
            },
            EventKind::RolloutEnded {
                plan,
                outcome: RolloutOutcome::Aborted,
            },
        ] {
            let event = Event {
                at: common::WRITTEN.parse().unwrap(),
                realm: Realm::Live,
                kind,
            };
            store.append_event(&event).unwrap();
        }
    }

    /// Lets a rollout do these acts on a host of a plan, all of them well but the last ones as said.
    fn roll_out(&self, plan: &str, host: &str, acts: &[(Act, bool)]) {
        let at = common::WRITTEN.parse().unwrap();
        self.roll_out_at(at, plan, host, acts, ActFailure::ServiceDown);
    }

    /// The same at this time; what does not go well fails so.
    fn roll_out_at(
        &self,
        at: Timestamp,
        plan: &str,
        host: &str,
        acts: &[(Act, bool)],
        kind: ActFailure,
    ) {
        let mut store = SqliteStore::open(&self.0.state(), Realm::Live).unwrap();
        let plan = PlanId::new(plan).unwrap();
        let host = HostName::new(host).unwrap();
        let mut kinds = vec![EventKind::RolloutStarted {
            plan: plan.clone(),
            by: Actor {
                name: "ada".to_owned(),
                team: None,
            },
        }];
        for (act, well) in acts.iter().copied() {
            kinds.push(EventKind::ActStarted {
                plan: plan.clone(),
                host: host.clone(),
                act,
                attempt: 1,
                fence: 1,
            });
            let result = if well {
                ActOutcome::Done { seen: Vec::new() }
            } else {
                ActOutcome::Failed {
                    kind,
                    detail: "exim4 does not start".to_owned(),
                }
            };
            kinds.push(EventKind::ActEnded {
                plan: plan.clone(),
                host: host.clone(),
                act,
                attempt: 1,
                fence: 1,
                result,
            });
        }
        for kind in kinds {
            let event = Event {
                at,
                realm: Realm::Live,
                kind,
            };
            store.append_event(&event).unwrap();
        }
    }

    /// One pass of the watch at this time.
    fn watch(&self, at: Timestamp) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        self.0.prepare(&mut command);
        command
            .args(["--at", &at.to_string(), "--state"])
            .arg(self.0.state())
            .args(["watch", "--once", "--offline", "--fleet", "mailkeep.toml"]);
        Ran::of(&command.output().unwrap())
    }

    fn approve(&self, plan: &str, team: &str, key: &str) -> Ran {
        self.plan(&["approve", plan, "--team", team, "--key", key])
    }

    fn ics(&self, directory: &str) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(self.0.path(directory))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .into_iter()
            .map(|path| fs::read_to_string(path).unwrap().replace("\r\n ", ""))
            .collect()
    }
}

#[test]
fn a_plan_is_made_kept_written_and_found_good_by_the_other_pair_of_eyes() {
    let fleet = Fleet::new(true, "");
    let ran = fleet.plan(&["--output", "plan.json"]).exits(0);
    let ran = ran
        .prints("emergency lane: exim4: CVE-2023-42115")
        .prints("4 hosts in 2 regions, 1 variant")
        .prints("Every host with something to do is planned.")
        .prints("Waits for approval: the whole by postmasters; region eu by europe or postmasters");
    assert!(ran.out.contains("CET to"), "{}", ran.out);
    let bytes = fs::read(fleet.0.path("plan.json")).unwrap();
    let id = mailkeep_plan::id_of(&bytes).unwrap().to_string();
    assert!(ran.err.contains(&id), "{}", ran.err);
    let short = &id["sha256:".len()..][..12];

    fleet
        .plan(&["check", "plan.json"])
        .exits(0)
        .prints("keeps every rule");
    fleet.plan(&["check", &short[..6]]).exits(0).prints(&id);
    fleet
        .plan(&["list"])
        .exits(0)
        .prints(short)
        .prints("3 approvals missing");
    fleet.plan(&["show", short]).exits(0).prints("mx2.sg");
    let shown = fleet.plan(&["show", short, "--format", "json"]).exits(0);
    assert_eq!(shown.out.as_bytes(), bytes);
    fleet
        .plan(&["show", short, "--format", "svg"])
        .exits(0)
        .prints("<svg");
    fleet
        .plan(&["show", short, "--format", "html"])
        .exits(0)
        .prints("<html");

    // The same question has the same answer, and planning again changes nothing.
    assert_eq!(fleet.made(), id);
    let again = fleet
        .plan(&["make", "--parent", short, "--format", "json"])
        .exits(0);
    assert_eq!(again.json()["id"], id.as_str());
    fleet
        .plan(&["diff", short, "plan.json"])
        .exits(0)
        .prints("no difference");
}

#[test]
fn a_changed_plan_is_no_plan_and_a_broken_one_is_told_by_its_rules() {
    let fleet = Fleet::new(true, "");
    fleet.plan(&["--output", "plan.json", "--dry-run"]).exits(0);
    fleet
        .plan(&["list"])
        .exits(0)
        .prints("No plan is kept here");
    let text = fs::read_to_string(fleet.0.path("plan.json")).unwrap();
    fleet.0.write("pretty.json", text.replacen(':', ": ", 1));
    fleet
        .plan(&["check", "pretty.json"])
        .exits(1)
        .prints("plan-not-canonical");
    fleet.0.write("garbage.json", "{}\u{1b}[2J");
    fleet
        .plan(&["check", "garbage.json"])
        .exits(1)
        .prints("plan-unreadable");
    fleet.plan(&["check", "nowhere.json"]).exits(2);
    fleet
        .plan(&["show", "abcdef"])
        .exits(2)
        .says("no plan abcdef is kept here");
    // Nobody stays in service in Singapore.
    let greedy = text.replace("\"sg\":1", "\"sg\":2");
    assert_ne!(greedy, text);
    fleet.0.write("greedy.json", greedy);
    fleet
        .plan(&["check", "greedy.json"])
        .exits(1)
        .prints("minimum-in-service");
    fleet
        .plan(&["diff", "plan.json", "greedy.json"])
        .exits(1)
        .prints("minimum");
}

#[test]
fn a_host_that_nothing_is_known_of_is_named_and_not_passed_over() {
    let extra = "[hosts.dark]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"exim\"\n";
    let fleet = Fleet::new(true, extra);
    let ran = fleet.plan(&[]).exits(1);
    ran.prints("Not planned (1)").prints("dark  facts-missing");
    let json = fleet.plan(&["--format", "json"]).exits(1).json();
    assert_eq!(
        json["report"]["not_planned"][0]["reason"]["kind"],
        "facts-missing"
    );
    assert_eq!(json["plan"]["steps"].as_array().unwrap().len(), 4);
    // The report stays beside the plan, for whoever looks at it later.
    let id = json["id"].as_str().unwrap();
    fleet
        .plan(&["show", id])
        .exits(0)
        .prints("no plan that keeps the same deadlines could end before")
        .prints("dark  facts-missing");
    let page = fleet.plan(&["show", id, "--format", "html"]).exits(0).out;
    assert!(page.contains("nothing was ever seen of it"), "{page}");
    assert!(
        page.contains("the soonest any plan that keeps the same deadlines could end"),
        "{page}"
    );
}

/// From the look before the start until the new version is on the host.
const UP_TO_PATCH: [(Act, bool); 5] = [
    (Act::Precheck, true),
    (Act::Lease, true),
    (Act::Drain, true),
    (Act::AwaitEmpty, true),
    (Act::Save, true),
];

/// All the way until it is proven.
const WHOLE_WAY: [(Act, bool); 10] = [
    (Act::Precheck, true),
    (Act::Lease, true),
    (Act::Drain, true),
    (Act::AwaitEmpty, true),
    (Act::Save, true),
    (Act::Patch, true),
    (Act::Prove, true),
    (Act::Return, true),
    (Act::Recheck, true),
    (Act::Release, true),
];

/// Until it can go neither forward nor back.
const UNTIL_HELD: [(Act, bool); 7] = [
    (Act::Precheck, true),
    (Act::Lease, true),
    (Act::Drain, true),
    (Act::AwaitEmpty, true),
    (Act::Save, true),
    (Act::Patch, false),
    (Act::RollBack, false),
];

#[test]
fn a_change_that_failed_on_a_host_is_planned_for_no_other_until_a_person_says_so() {
    let back = [
        (Act::Patch, false),
        (Act::RollBack, true),
        (Act::ProveOld, true),
        (Act::Return, true),
        (Act::Release, true),
    ];
    let back = [&UP_TO_PATCH[..], &back].concat();
    for (state, acts) in [("rolled back", &back[..]), ("held", &UNTIL_HELD)] {
        let fleet = Fleet::new(true, "");
        let id = fleet.made();
        fleet.roll_out(&id, "mx1.eu", acts);
        // The host itself is out of use by now, so that nothing is to be done on it.
        let text = fs::read_to_string(fleet.0.path("mailkeep.toml")).unwrap();
        let without = "[hosts.\"mx1.eu\"]\nlifecycle = \"decommissioned\"";
        fleet
            .0
            .write("mailkeep.toml", text.replace("[hosts.\"mx1.eu\"]", without));
        // That rollout has not ended, and this plan replaces it.
        let again = ["make", "--parent", &id, "--format", "json"];
        let json = fleet.plan(&again).exits(1).json();
        assert_eq!(json["plan"], serde_json::Value::Null, "{state}");
        for n in 0..3 {
            let reason = &json["report"]["not_planned"][n]["reason"];
            assert_eq!(reason["kind"], "change-quarantined", "{state}");
            assert_eq!(reason["failed_on"], "mx1.eu", "{state}");
        }
        fleet
            .plan(&["--parent", &id])
            .exits(1)
            .prints("`mailkeep plan --retry mx1.eu` tries it again");
        fleet
            .plan(&["--retry", "mx2.eu"])
            .exits(2)
            .says("no change is set aside because it failed on mx2.eu");
        let ordered = fleet
            .plan(&["--parent", &id, "--retry", "mx1.eu"])
            .prints("It tries again what failed on mx1.eu");
        // Without mx1.eu, mx2.eu is the last one of its region.
        ordered.prints("2 hosts in 1 region");
    }
}

/// Why hosts are not planned, by the report.
fn reasons(json: &serde_json::Value) -> Vec<(&str, &str)> {
    let items = json["report"]["not_planned"].as_array().unwrap().iter();
    items
        .map(|item| {
            let (host, reason) = (&item["host"], &item["reason"]["kind"]);
            (host.as_str().unwrap(), reason.as_str().unwrap())
        })
        .collect()
}

#[test]
fn a_change_that_others_interfered_with_did_not_fail() {
    let until = |act| {
        let way = [Act::Patch, Act::Prove, Act::Return, Act::Recheck];
        let done = way.into_iter().take_while(|other| *other != act);
        let mut acts = UP_TO_PATCH.to_vec();
        acts.extend(done.map(|act| (act, true)));
        acts.push((act, false));
        acts
    };
    for (act, kind, failed) in [
        (Act::Recheck, ActFailure::UnexpectedVersion, false),
        (Act::Recheck, ActFailure::LeaseLost, false),
        (Act::Prove, ActFailure::LeaseLost, false),
        (Act::Patch, ActFailure::LeaseHeld, false),
        (Act::Prove, ActFailure::UnexpectedVersion, true),
        (Act::Recheck, ActFailure::ServiceDown, true),
    ] {
        let fleet = Fleet::new(true, "");
        let id = fleet.made();
        let at = common::WRITTEN.parse().unwrap();
        fleet.roll_out_at(at, &id, "mx1.eu", &until(act), kind);
        let json = fleet
            .plan(&["make", "--parent", &id, "--format", "json"])
            .json();
        let reasons = reasons(&json);
        let (act, kind) = (act.name(), kind.name());
        let set_aside = reasons.contains(&("mx1.sg", "change-quarantined"));
        assert_eq!(set_aside, failed, "{kind} of {act}: {reasons:?}");
        // Those in Singapore are planned unless it failed.
        assert_eq!(json["plan"].is_null(), failed, "{kind} of {act}");
    }
}

#[test]
fn a_failure_is_not_lifted_by_what_was_proven_before_it() {
    let fleet = Fleet::new(true, "");
    let older = fleet.made();
    let newer = fleet.plan(&["make", "--title", "once more", "--format", "json"]);
    let newer = newer.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(older, newer);
    fleet.roll_out(&newer, "mx1.eu", &WHOLE_WAY);
    fleet.abort(&newer);
    let later = common::WRITTEN.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(9);
    fleet.roll_out_at(
        later,
        &older,
        "mx1.eu",
        &UNTIL_HELD,
        ActFailure::ServiceDown,
    );
    let json = fleet
        .plan(&["make", "--parent", &older, "--format", "json"])
        .json();
    let reasons = reasons(&json);
    assert!(
        reasons.contains(&("mx1.sg", "change-quarantined")),
        "{reasons:?}"
    );
}

#[test]
fn only_an_override_with_a_reason_makes_a_regular_finding_an_emergency() {
    // Known not to be exploited: an old whole list says so.
    let fleet = Fleet::new(false, "");
    let other = KEV.replace("CVE-2023-42115", "CVE-2020-0001");
    let kev = fleet.0.write("kev.json", other);
    fleet.0.import("kev", &kev).exits(0);
    let ran = fleet.plan(&["--advisory", "CVE-2023-42115", "--format", "json"]);
    assert_eq!(ran.json()["plan"]["lane"], "regular");
    let named = ["--advisory", "CVE-2023-42115", "--lane", "emergency"];
    fleet.plan(&named).exits(2).says("--override REASON");
    let ordered = [
        "--advisory",
        "CVE-2023-42115",
        "--override",
        "seen in the wild",
    ];
    let ran = fleet.plan(&ordered);
    let ran = ran.prints("Ordered by postmasters against the lane: seen in the wild");
    // The global team's word alone is asked for.
    assert!(
        ran.out
            .contains("Waits for approval: the whole by postmasters\n"),
        "{}",
        ran.out
    );
}

#[test]
fn a_plan_runs_only_when_every_team_has_signed_with_its_own_key() {
    let fleet = Fleet::new(true, "");
    let plan = fleet.made();
    if !fleet.keys("a_plan_runs_only_when_every_team_has_signed_with_its_own_key") {
        return;
    }
    fleet
        .plan(&["approvals", &plan])
        .exits(1)
        .prints("Waits for approval");
    fleet
        .approve(&plan, "europe", "europe")
        .exits(0)
        .prints("Approved: region eu by europe");
    // Somebody else's key, and somebody else's region.
    fleet
        .approve(&plan, "asia", "europe")
        .exits(1)
        .says("refused: region sg by asia");
    let foreign = [
        "approve", &plan, "--team", "asia", "--region", "eu", "--key", "asia",
    ];
    fleet.plan(&foreign).exits(1).says("region eu is europe's");
    fleet.approve(&plan, "strangers", "asia").exits(2);
    fleet.approve(&plan, "asia", "asia").exits(0);
    fleet
        .plan(&["approvals", &plan])
        .exits(1)
        .prints("Waits for approval: the whole");

    // The global team signs elsewhere, and hands the signature in.
    let text = fleet
        .plan(&["approve", &plan, "--team", "postmasters", "--print"])
        .exits(0)
        .out;
    assert!(text.contains("realm: live\n") && text.contains(&format!("digest: {plan}\n")));
    fleet.0.write("text", &text);
    let signed = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-q", "-n", "mailkeep-plan", "-f"])
        .args([fleet.0.path("postmasters"), fleet.0.path("text")])
        .status()
        .unwrap();
    assert!(signed.success());
    let handed_in = [
        "approve",
        &plan,
        "--team",
        "postmasters",
        "--signature",
        "text.sig",
    ];
    fleet.plan(&handed_in).exits(0).says("it may run");
    let ran = fleet.plan(&["approvals", &plan, "--json"]).exits(0);
    assert_eq!(ran.json()["signed"].as_array().unwrap().len(), 3);

    // A region moves its own waves, and is asked alone.
    let moved = fleet.plan(&[
        "shift",
        &plan,
        "--region",
        "sg",
        "--by",
        "30m",
        "-o",
        "child.json",
    ]);
    moved
        .exits(0)
        .prints("It moves waves only")
        .prints("Waits for approval: region sg by asia or postmasters");
    fleet
        .approve("child.json", "asia", "asia")
        .exits(0)
        .says("it may run");
    fleet.plan(&["approvals", "child.json"]).exits(0);
    let far = ["shift", &plan, "--region", "sg", "--by", "2h"];
    fleet.plan(&far).exits(1).says("at most 60 minutes");
    let early = ["shift", &plan, "--region", "eu", "--by=-1h"];
    fleet.plan(&early).exits(1).says("refused");

    // Keys that were taken away take their approvals with them.
    fleet.0.write("allowed_signers", "");
    fleet
        .plan(&["approvals", &plan])
        .exits(1)
        .prints("Does not count: region eu by europe");
}

#[test]
fn where_nobody_can_tell_whether_another_plan_replaces_it_a_plan_is_refused_by_that_name() {
    let fleet = Fleet::new(true, "");
    let plan = fleet.made();
    if !fleet.keys("where_nobody_can_tell_whether_another_plan_replaces_it") {
        return;
    }
    let title = ["make", "--title", "another one", "--format", "json"];
    let other = fleet.plan(&title).exits(0).json()["id"].clone();
    let other = other.as_str().unwrap();
    fleet.approve(other, "europe", "europe").exits(0);
    let mut start = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
    fleet.0.prepare(&mut start);
    // Without `ssh-keygen`.
    start.env("PATH", "").arg("--state").arg(fleet.0.state());
    start.args([
        "rollout",
        "start",
        &plan,
        "--dry-run",
        "--fleet",
        "mailkeep.toml",
    ]);
    let short = &other["sha256:".len()..][..12];
    Ran::of(&start.output().unwrap())
        .exits(1)
        .says("refused: not-approved: ")
        .says(&format!(
            "refused: approvals-unreadable: nobody can tell whether plan {short} is approved"
        ));
}

#[test]
fn regions_are_invited_told_of_changes_and_of_nothing_twice() {
    let fleet = Fleet::new(true, "");
    let plan = fleet.made();
    fleet
        .plan(&["notify", &plan])
        .exits(2)
        .says("[notify.mail]");
    fleet
        .plan(&["notify", &plan, "--dry-run"])
        .exits(0)
        .says("would tell asia@harbour.example");
    fleet.plan(&["notify", &plan, "-o", "ics"]).exits(0);
    let sent = fleet.ics("ics");
    assert!(sent.len() >= 2, "{sent:#?}");
    let singapore = sent
        .iter()
        .find(|text| text.contains("LOCATION:sg"))
        .unwrap();
    for part in [
        "METHOD:REQUEST",
        "SEQUENCE:0",
        "STATUS:CONFIRMED",
        "mailto:asia@harbour.example",
        "mailto:asia2@harbour.example",
        "(Asia/Singapore)",
        "exim4 4.96-15 to 4.96-15+deb12u2",
        "CVE-2023-42115",
        "at least 1 of 2 in service in sg",
        "+49 40 5550100",
        "TRIGGER:-PT1H",
    ] {
        assert!(singapore.contains(part), "no {part} in {singapore}");
    }
    fleet
        .plan(&["notify", &plan, "-o", "again"])
        .exits(0)
        .says("Nothing is new");
    assert!(!fleet.0.path("again").exists());

    let moved = [
        "shift",
        &plan,
        "--region",
        "sg",
        "--by",
        "15m",
        "-o",
        "child.json",
    ];
    fleet.plan(&moved).exits(0);
    fleet
        .plan(&["notify", "child.json", "-o", "changed"])
        .exits(0)
        .says("Changed: ");
    for text in fleet.ics("changed") {
        assert!(
            text.contains("LOCATION:sg") && text.contains("SEQUENCE:1"),
            "{text}"
        );
        let uid = text.lines().find(|line| line.starts_with("UID:")).unwrap();
        assert!(sent.iter().any(|before| before.contains(uid)), "{uid}");
    }
    fleet
        .plan(&["notify", "child.json", "--cancel", "-o", "off"])
        .exits(0);
    let cancelled = fleet.ics("off");
    assert_eq!(cancelled.len(), sent.len());
    for text in cancelled {
        assert!(
            text.contains("METHOD:CANCEL") && text.contains("STATUS:CANCELLED"),
            "{text}"
        );
        assert!(
            text.contains("SEQUENCE:1") || text.contains("SEQUENCE:2"),
            "{text}"
        );
    }
}

#[test]
fn an_announced_advisory_reserves_windows_until_its_plan_comes() {
    let fleet = Fleet::new(true, "");
    let ran = fleet
        .plan(&[
            "reserve",
            "Exim: release announced",
            "--from",
            "2026-11-23T12:00:00Z",
            "--advisory",
            "CVE-2023-42115",
            "-o",
            "held",
        ])
        .exits(0);
    // The pilot region first, the other one a soak later: the windows of the Sunday after.
    let ran = ran
        .prints("eu: Sun 2026-11-29 01:00 CET")
        .prints("sg: Sun 2026-12-06 03:00 +08");
    let name = ran
        .out
        .split_whitespace()
        .nth(1)
        .unwrap()
        .trim_end_matches(':')
        .to_owned();
    for text in fleet.ics("held") {
        assert!(
            text.contains("STATUS:TENTATIVE") && text.contains("Reserved"),
            "{text}"
        );
    }
    let plan = fleet.made();
    fleet
        .plan(&["notify", &plan, "-o", "plan"])
        .exits(0)
        .says("Cancelled: Reserved for patching in eu")
        .says(&format!("Reservation {name} has ended"));
    fleet
        .plan(&["reserve", "--cancel", "nothing"])
        .exits(2)
        .says("there is no reservation");
}

#[test]
fn a_plan_that_was_kept_without_its_report_gets_it_when_it_is_made_again() {
    let fleet = Fleet::new(true, "");
    let dry = fleet.plan(&["--dry-run", "-o", "plan.json", "--format", "json"]);
    let json = dry.exits(0).json();
    let id = json["id"].as_str().unwrap();
    // As a controller leaves it that is killed between the two.
    let bytes = fs::read(fleet.0.path("plan.json")).unwrap();
    let event = Event {
        at: common::WRITTEN.parse().unwrap(),
        realm: Realm::Live,
        kind: EventKind::PlanMade {
            plan: PlanId::new(id).unwrap(),
            parent: None,
            lane: mailkeep_model::Lane::Emergency,
            hosts: 4,
            title: "cut short".to_owned(),
        },
    };
    SqliteStore::open(&fleet.0.state(), Realm::Live)
        .unwrap()
        .record_plan(&PlanId::new(id).unwrap(), &bytes, &event)
        .unwrap();
    let said = "no plan that keeps the same deadlines could end before";
    let shown = fleet.plan(&["show", id]).exits(0).out;
    assert!(!shown.contains(said), "{shown}");
    assert_eq!(fleet.made(), id);
    fleet.plan(&["show", id]).exits(0).prints(said);
}

#[test]
fn the_page_of_a_check_tells_what_patching_would_change_without_asking_a_server() {
    let fleet = Fleet::new(true, "");
    // What a scan of a server knows: also what it could install.
    let name = HostName::new("mx1.eu").unwrap();
    let text = fs::read_to_string(fleet.0.path("mailkeep.toml")).unwrap();
    let scanned = text.replacen("facts = \"host\"\n", "", 1);
    fleet.0.write("mailkeep.toml", &scanned);
    let status = fs::read(fleet.0.path("host/var/lib/dpkg/status")).unwrap();
    let os_release = fs::read_to_string(fleet.0.path("host/etc/os-release")).unwrap();
    let at: Timestamp = common::NOW.parse().unwrap();
    let (mut facts, _) = mailkeep_facts::facts_from_root(name, at, &os_release, &status);
    facts.candidates = Seen::Yes(vec![Candidate {
        package: "exim4".into(),
        version: "4.96-15+deb12u2".into(),
        origin: None,
        index_as_of: None,
    }]);
    SqliteStore::open(&fleet.0.state(), Realm::Live)
        .unwrap()
        .record_facts(&facts)
        .unwrap();
    let check = ["check", "--fleet", "mailkeep.toml", "--format", "html"];
    let page = fleet.0.run(&check).exits(1).out;
    let (_, folded) = page.split_once("What patching would change").unwrap();
    for said in [
        "exim4 4.96-15 to 4.96-15+deb12u2",
        "CVE-2023-42115",
        "inbound-mx",
        "`mailkeep impact` asks the server",
    ] {
        assert!(folded.contains(said), "{said}: {folded}");
    }
    // Nothing is said of servers of which candidates were not seen.
    assert!(!folded.contains("What patching would change"), "{folded}");
}
