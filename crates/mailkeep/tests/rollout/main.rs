//! The real program carries a plan out on hosts that are not real: a stand-in for `ssh` answers for
//! them, and a mail server on loopback takes the probes. The program is killed, over and over.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod at_work;
#[path = "../common/mod.rs"]
mod common;
mod town;

use std::time::Instant;

use at_work::{AtWork, LONGEST};
use common::Ran;
use common::server::mail_server;
use mailkeep_model::{Act, EventKind, Realm, RegionName, RolloutOutcome, TeamName};
use mailkeep_store::{SqliteStore, Store as _};
use town::{Town, ada};

#[test]
fn nothing_unapproved_is_carried_out() {
    let Some(town) = Town::new(2, "nothing_unapproved_is_carried_out") else {
        return;
    };
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: not-approved: approval is missing of the whole by world");
    assert!(!town.hosts.join("acts").exists());
    town.approve();
    town.run(&["rollout", "start", town.short(), "--dry-run"])
        .exits(0)
        .prints("mx2  wave 0  drain syn-refusal  postfix 3.7.10-0+deb12u1 to 3.7.11-0+deb12u1");
    assert!(!town.hosts.join("acts").exists());
    for intent in ["pause", "abort"] {
        town.run(&["rollout", intent, town.short(), "--reason", "x"])
            .exits(1)
            .says("is not-started");
    }
}

#[test]
fn nothing_is_done_to_hosts_at_another_time_than_now() {
    let Some(town) = Town::new(1, "nothing_is_done_to_hosts_at_another_time_than_now") else {
        return;
    };
    town.approve();
    let at = ["--at", "2026-11-01T12:00:00Z"];
    let plan = town.short();
    for live in [
        &["rollout", "start", plan][..],
        &["rollout", "pause", plan, "--reason", "x"],
        &["rollout", "resume", plan],
        &["rollout", "abort", plan, "--reason", "x"],
        &["isolate", "mx1", "--reason", "x"],
        &["release", "mx1"],
    ] {
        let ran = town.run(&[&at, live].concat());
        ran.exits(2).says("--at cannot be given here");
    }
    assert!(!town.hosts.join("acts").exists());
}

#[test]
fn a_plan_is_carried_out_and_the_report_tells_all() {
    let Some(town) = Town::new(3, "a_plan_is_carried_out_and_the_report_tells_all") else {
        return;
    };
    town.approve();
    let ran = town
        .run(&["rollout", "start", town.short(), "--probe-every", "0.1"])
        .exits(0);
    let last = ran.out.lines().last().unwrap();
    assert!(
        last.starts_with("ledger: sent ") && last.ends_with(", lost 0"),
        "{last}"
    );
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "proven");
    assert_eq!(
        report["oddities"].as_array().unwrap().len(),
        0,
        "{report:#}"
    );
    assert_eq!(report["approvals"][0]["team"], "world");
    let verified = report["approvals"][0]["verified"].as_str().unwrap();
    assert!(verified.starts_with("signature good"), "{verified}");
    let ledger = &report["ledger"];
    assert_eq!(ledger["sent"], ledger["delivered"]);
    assert!(ledger["sent"].as_u64().unwrap() > 5, "{ledger}");
    for host in report["hosts"].as_array().unwrap() {
        assert_eq!(host["state"], "proven");
        let acts = host["acts"].as_array().unwrap();
        let prove = acts.iter().find(|act| act["act"] == "prove").unwrap();
        let seen = prove["seen"].as_array().unwrap();
        assert!(
            seen.iter().any(|line| line
                .as_str()
                .unwrap()
                .starts_with("probe inbound-mx mailkeep-")),
            "{seen:?}"
        );
    }
    let html = town
        .run(&["rollout", "report", town.short(), "--format", "html"])
        .exits(0);
    assert!(html.out.contains("<h1>Rollout report</h1>"));
    town.run(&["rollout", "report", town.short()])
        .exits(0)
        .prints("mx1 (eu, postfix, world): PROVEN")
        .prints("\nledger: sent ");
    town.run(&["rollout", "status"])
        .exits(0)
        .prints("3/3 proven");
    town.run(&["rollout", "watch", town.short()])
        .exits(0)
        .prints("mx3: prove done");
    // Ended is ended.
    town.run(&["rollout", "start", town.short()])
        .exits(0)
        .says("has ended: proven");
}

#[test]
fn a_failed_proof_is_rolled_back_and_said() {
    let Some(town) = Town::new(2, "a_failed_proof_is_rolled_back_and_said") else {
        return;
    };
    town.approve();
    std::fs::write(town.hosts.join("bad-mx1"), b"").unwrap();
    town.run(&["rollout", "start", town.short(), "--probe-every", "0.1"])
        .exits(1)
        .says("not every host is proven");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["hosts"][0]["state"], "rolled-back", "{report:#}");
    assert_eq!(report["ledger"]["lost"], 0);
}

#[test]
fn killed_at_random_moments_it_goes_on_and_loses_nothing() {
    let Some(town) = Town::new(4, "killed_at_random_moments_it_goes_on_and_loses_nothing") else {
        return;
    };
    town.approve();
    // Each time after another number of lines: between acts, and in the middle of them.
    let mut kills = 0;
    let status = loop {
        let mut controller = town.start();
        let lines = if kills == 25 {
            usize::MAX
        } else {
            1 + kills * 5 % 13
        };
        let until = Instant::now() + LONGEST;
        let ended = (0..lines).any(|_| controller.next_line(until).is_none());
        if ended {
            break controller.child.wait().unwrap().code();
        }
        controller.child.kill().unwrap();
        controller.child.wait().unwrap();
        kills += 1;
        town.check_rules();
    };
    assert_eq!(status, Some(0));
    assert!(kills > 5, "{kills}");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "proven", "{report:#}");
    let ledger = &report["ledger"];
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_eq!(ledger["sent"], ledger["delivered"], "{ledger}");
    println!("killed {kills} times: {ledger}");
}

#[test]
fn an_interrupt_waits_and_says_how_to_go_on() {
    let Some(town) = Town::new(3, "an_interrupt_waits_and_says_how_to_go_on") else {
        return;
    };
    town.approve();
    let mut controller = town.start();
    controller.hears("mx1: precheck");
    // A second one beside it is refused.
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: held");
    controller.signal("-INT");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stopped; hosts stay as they are"), "{said}");
    assert_eq!(town.start().ends().0, Some(0));
    town.check_rules();
}

#[test]
fn a_terminal_that_goes_away_leaves_no_act_half_done_and_the_host_is_named() {
    let test = "a_terminal_that_goes_away_leaves_no_act_half_done_and_the_host_is_named";
    let Some(town) = Town::new(2, test) else {
        return;
    };
    town.approve();
    let mut controller = town.start_under("--default-signal=HUP");
    controller.hears("mx1: patch ...");
    // A shell and the kernel may both tell of it: the second one is no order to leave at once.
    controller.signal("-HUP");
    controller.signal("-HUP");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("mx1: patch done"), "{said}");
    assert!(said.contains("mx1 is left in mid-work"), "{said}");
    town.run(&["rollout", "status"])
        .exits(1)
        .prints("1 out of service, nobody carries it out");
    // A script sees why the status is 1, too.
    let all = town.run(&["rollout", "status", "--json"]).json();
    let expected = serde_json::json!([true, ["mx1"], town.id.as_str(), "running"]);
    let fields = ["unattended", "left_behind", "plan", "state"];
    assert_eq!(
        serde_json::json!(fields.map(|field| &all[0][field])),
        expected
    );
    let one = ["rollout", "status", town.short(), "--json"];
    assert_eq!(town.run(&one).json()["unattended"], true);
    town.run(&["rollout", "status", town.short()])
        .exits(1)
        .prints("nobody carries it out now; `mailkeep rollout start");
    town.run(&["rollout", "watch", town.short(), "--once"])
        .exits(1)
        .says("nobody carries it out now; `mailkeep rollout start");
    // Nobody tells an order's giver that somebody sees it.
    town.run(&["rollout", "pause", town.short(), "--reason", "x"])
        .exits(0)
        .says("nobody carries plan");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    let mut controller = town.start_under("--ignore-signal=HUP");
    controller.hears("mx1: prove");
    controller.signal("-HUP");
    let (status, said) = controller.ends();
    assert_eq!(status, Some(0), "{said}");
    town.check_rules();
}

#[test]
fn pause_and_abort_reach_a_running_controller() {
    let Some(town) = Town::new(3, "pause_and_abort_reach_a_running_controller") else {
        return;
    };
    town.approve();
    let mut controller = town.start();
    controller.hears("mx1: precheck");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0)
        .says("whoever carries plan");
    controller.hears("hosts in work are finished, and nothing new begins until");
    town.run(&["rollout", "status", town.short()])
        .exits(1)
        .prints("paused: ");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    town.run(&["rollout", "abort", town.short(), "--reason", "enough"])
        .exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    town.check_rules();
    let report = town.report();
    assert_eq!(report["state"], "aborted");
    for host in ["mx1", "mx2", "mx3"] {
        assert!(!town.is("drained", host) && !town.is("leased", host));
    }
}

#[test]
fn whoever_is_not_there_to_resume_can_have_a_paused_rollout_end() {
    let test = "whoever_is_not_there_to_resume_can_have_a_paused_rollout_end";
    let Some(town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    let mut controller = town.start_with(&["--stop-when-paused"]);
    controller.hears("mx1: patch");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(1), "{said}");
    let resume = format!("paused: tea; `mailkeep rollout resume {}`", town.short());
    assert!(said.contains(&resume), "{said}");
    // Whoever was in work was finished first, and nobody else begun.
    assert!(town.is("patched", "mx1") && !town.is("drained", "mx1"));
    assert!(!town.is("drained", "mx2") && !town.is("patched", "mx2"));
    // Begun again it ends at once, and without the wish it is said what it waits for.
    assert_eq!(town.start_with(&["--stop-when-paused"]).ends().0, Some(1));
    let mut controller = town.start();
    controller.hears("nothing new begins until `mailkeep rollout resume");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    assert_eq!(controller.ends().0, Some(0));
    town.check_rules();
}

/// Lets a rollout begin, and kills it when this was said; the host is out of service then.
fn killed_in_mid_work(town: &Town, when: &str) {
    let mut controller = town.start();
    controller.hears(when);
    controller.child.kill().unwrap();
    controller.child.wait().unwrap();
    assert!(town.is("drained", "mx1"));
}

#[test]
fn a_rollout_that_nobody_approves_any_more_brings_its_hosts_back_and_begins_nothing() {
    let test = "a_rollout_that_nobody_approves_any_more_brings_its_hosts_back_and_begins_nothing";
    let Some(town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    killed_in_mid_work(&town, "mx1: prove");
    let allowed = std::fs::read_to_string(town.bench.path("allowed")).unwrap();
    town.bench
        .write("allowed", allowed.replace("world ", "nobody "));
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("aborted: not-approved: ") && said.contains("begins: mx1"),
        "{said}"
    );
    let report = town.report();
    assert_eq!(report["state"], "aborted", "{report:#}");
    assert_eq!(report["hosts"][0]["state"], "proven", "{report:#}");
    for host in ["mx1", "mx2", "mx3"] {
        assert!(!town.is("drained", host) && !town.is("leased", host));
    }
    let begun = ["mx2", "mx3"]
        .into_iter()
        .filter(|host| town.is("patched", host));
    assert_eq!(begun.count(), 0, "{said}");
    town.check_rules();
}

#[test]
fn approvals_that_nobody_can_read_today_stop_a_rollout_until_somebody_can() {
    let test = "approvals_that_nobody_can_read_today_stop_a_rollout_until_somebody_can";
    let bin = |town: &Town| town.bench.path("bin").display().to_string();
    for without in ["ssh-keygen", "allowed"] {
        let Some(town) = Town::new(3, test) else {
            return;
        };
        town.approve();
        town.begin_and_leave("mx1", Act::Drain, &["leased", "drained"]);
        let (there, away) = (town.bench.path("allowed"), town.bench.path("away"));
        if without == "allowed" {
            std::fs::rename(&there, &away).unwrap();
        }
        let run = |args: &[&str]| {
            let mut command = town.command(&["rollout", args[0], town.short()]);
            command.args(&args[1..]);
            if without == "ssh-keygen" {
                // Nothing but the stand-in for `ssh`.
                command.env("PATH", bin(&town));
            }
            command
        };
        let start = ["start", "--probe-every", "0.1", "--stop-when-paused"];
        let (status, said) = AtWork::new(run(&start)).ends();
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("paused: approvals-unreadable: "), "{said}");
        // Whoever was in work was finished, and nobody else begun.
        assert_eq!(
            town.report_state(),
            ("paused".to_owned(), "proven".to_owned())
        );
        assert!(town.is("patched", "mx1") && !town.is("drained", "mx1"));
        assert!(!town.is("leased", "mx2") && !town.is("patched", "mx2"));
        // Nothing lets it begin more as long as nobody can read them.
        for more in [&start[..], &["resume"]] {
            let ran = Ran::of(&run(more).output().unwrap());
            ran.exits(1).says("refused: approvals-unreadable: ");
        }
        assert!(!town.is("leased", "mx2"));
        if without == "allowed" {
            std::fs::rename(&away, &there).unwrap();
        }
        town.run(&["rollout", "resume", town.short()]).exits(0);
        assert_eq!(town.start().ends().0, Some(0));
        town.check_rules();
    }
}

#[test]
fn with_nothing_in_hand_a_rollout_that_nobody_approves_any_more_is_refused_until_they_do() {
    let test =
        "with_nothing_in_hand_a_rollout_that_nobody_approves_any_more_is_refused_until_they_do";
    let Some(town) = Town::new(1, test) else {
        return;
    };
    town.note(vec![EventKind::RolloutStarted {
        plan: town.id.clone(),
        by: ada(),
    }]);
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: not-approved");
    assert!(!town.hosts.join("acts").exists());
    town.approve();
    assert_eq!(town.start().ends().0, Some(0));
}

/// Has the plan name a recipe: its text.
fn plan_with_a_recipe(town: &mut Town) -> &'static str {
    let recipe = "format = 1\n[[proof]]\nname = \"up\"\nrun = \"true\"\n";
    town.bench.write("postfix.toml", recipe);
    let read = |_: &str| Ok(recipe.as_bytes().to_vec());
    let reference = mailkeep_rollout::Recipe::load("postfix.toml", read)
        .unwrap()
        .reference();
    town.plan_again(|plan| plan.variants[0].recipe = Some(reference));
    town.approve();
    recipe
}

#[test]
fn a_recipe_that_changes_in_mid_rollout_changes_nothing_of_what_was_approved() {
    let test = "a_recipe_that_changes_in_mid_rollout_changes_nothing_of_what_was_approved";
    let Some(mut town) = Town::new(2, test) else {
        return;
    };
    let recipe = plan_with_a_recipe(&mut town);
    town.bench.write("postfix.toml", "format = 1\n");
    town.run(&["rollout", "start", town.short()])
        .exits(1)
        .says("refused: recipe-changed");
    town.bench.write("postfix.toml", recipe);
    killed_in_mid_work(&town, "mx1: patch");
    std::fs::remove_file(town.bench.path("postfix.toml")).unwrap();
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(0), "{said}");
    town.check_rules();
}

#[test]
fn a_recipe_that_is_gone_leaves_no_host_drained_that_serves_or_was_not_changed() {
    let test = "a_recipe_that_is_gone_leaves_no_host_drained_that_serves_or_was_not_changed";
    let drained = (Act::Drain, &["leased", "drained"][..], "untouched");
    let serving = (Act::Return, &["leased", "saved", "patched"][..], "unproven");
    for ((last, marks, end), is_aborted) in [(drained, false), (drained, true), (serving, false)] {
        let Some(mut town) = Town::new(2, test) else {
            return;
        };
        plan_with_a_recipe(&mut town);
        // Nothing was kept: it was begun by a version that kept none, say.
        town.begin_and_leave("mx1", last, marks);
        std::fs::remove_file(town.bench.path("postfix.toml")).unwrap();
        if is_aborted {
            town.run(&["rollout", "abort", town.short(), "--reason", "enough"])
                .exits(0);
        }
        let (status, said) = town.start().ends();
        assert_eq!(status, Some(1), "{said}");
        let why = "recipe-changed: the recipe postfix.toml";
        assert!(said.contains(why), "{said}");
        let ended = ("aborted".to_owned(), end.to_owned());
        assert_eq!(town.report_state(), ended, "{said}");
        assert!(!town.is("drained", "mx1"), "{said}");
        town.check_rules();
    }
}

#[test]
fn a_plan_is_refused_whose_rules_changed_and_so_is_one_that_its_teams_have_moved_on_from() {
    let test =
        "a_plan_is_refused_whose_rules_changed_and_so_is_one_that_its_teams_have_moved_on_from";
    let Some(mut town) = Town::new(3, test) else {
        return;
    };
    town.approve();
    let dry = |town: &Town| town.run(&["rollout", "start", town.short(), "--dry-run"]);
    dry(&town).exits(0);
    for (from, to, said) in [
        (
            "minimum = 2",
            "minimum = 1",
            "the minimum of inbound-mx in eu is 1",
        ),
        (
            "Europe/Berlin",
            "Europe/Rome",
            "the time zone or the order of region eu",
        ),
        ("wave_failures = 1", "wave_failures = 2", "[policy.rollout]"),
        (
            "[hosts.mx3]",
            "[hosts.mx4]",
            "other servers carry inbound-mx",
        ),
    ] {
        town.rewrite_fleet(from, to);
        dry(&town)
            .exits(1)
            .says("refused: facts-changed: ")
            .says(said);
        town.rewrite_fleet(to, from);
    }
    // Another plan for the same hosts, approved too, is no reason, but said.
    let first = town.id.clone();
    town.plan_again(|plan| plan.title.push_str(", again"));
    let second = town.id.clone();
    town.approve();
    town.id = first.clone();
    dry(&town)
        .exits(0)
        .says("is approved too, was not begun, and has the same hosts: mx1, mx2, mx3");
    // What replaces a plan, however far down its line, is what its teams want.
    town.plan_again(|plan| {
        plan.parent = Some(first.clone());
        plan.generation = 2;
    });
    let child = town.id.clone();
    town.plan_again(|plan| {
        plan.parent = Some(child.clone());
        plan.generation = 3;
    });
    town.approve();
    town.id = first;
    dry(&town).exits(1).says("refused: replaced: plan ");
    town.id = second;
    dry(&town).exits(0);
}

#[test]
fn two_plans_are_not_begun_at_once() {
    let Some(town) = Town::new(1, "two_plans_are_not_begun_at_once") else {
        return;
    };
    town.approve();
    let rollouts = town.bench.state().join("rollouts");
    std::fs::create_dir_all(&rollouts).unwrap();
    let other = std::fs::File::create(rollouts.join("beginning")).unwrap();
    other.lock().unwrap();
    let mut controller = town.start();
    controller.hears("another rollout is being begun; waiting for it");
    assert!(!town.hosts.join("acts").exists());
    drop(other);
    assert_eq!(controller.ends().0, Some(0));
}

#[test]
fn one_rollout_at_a_time_sees_to_a_service_and_knows_whom_others_left_out() {
    let test = "one_rollout_at_a_time_sees_to_a_service_and_knows_whom_others_left_out";
    let Some(mut town) = Town::new(3, test) else {
        return;
    };
    let steps = town.plan.steps.clone();
    town.plan_again(|plan| plan.steps.truncate(2));
    town.hold("mx1");
    let first = town.id.clone();
    town.plan_again(|plan| plan.steps = steps[2..].to_vec());
    town.approve();
    let start = ["rollout", "start", town.short(), "--probe-every", "0.1"];
    town.run(&start)
        .exits(1)
        .says("refused: services-elsewhere: plan ")
        .says("still takes servers out of inbound-mx in eu");
    assert!(!town.hosts.join("acts").exists());

    // That one ends, and its host stays held: it counts as out for this one, whose host therefore waits.
    town.note(vec![EventKind::RolloutEnded {
        plan: first,
        outcome: RolloutOutcome::Partly,
    }]);
    // It takes the controller's mail and nobody else's, so that no message of the flow may go there.
    let drained = town.hosts.join("drained-mx1");
    std::fs::write(&drained, b"").unwrap();
    let mut controller = AtWork::new(town.command(&start));
    controller.hears("mx3: precheck done");
    town.run(&["rollout", "status"])
        .exits(1)
        .prints("0/2 proven, 1 held");
    town.run(&["rollout", "pause", town.short(), "--reason", "tea"])
        .exits(0);
    controller.hears("rollout PAUSED");
    town.run(&["rollout", "resume", town.short()]).exits(0);
    controller.hears("rollout resumed");
    std::fs::remove_file(&drained).unwrap();
    town.run(&["release", "mx1"]).exits(0);
    let (status, said) = controller.ends();
    assert_eq!(status, Some(0), "{said}");
    town.check_rules();
    // Not before it was let in by hand.
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("no {what} in {said}"))
    };
    assert!(
        at("mx1 was released by hand") < at("mx3: drain ..."),
        "{said}"
    );
    town.run(&["rollout", "status"]).exits(0);
}

#[test]
fn a_held_host_counts_as_out_until_it_is_released_by_its_name() {
    let test = "a_held_host_counts_as_out_until_it_is_released_by_its_name";
    let Some(mut town) = Town::new(2, test) else {
        return;
    };
    town.hold("mx1");
    // A newer plan that only looked at it knows nothing of where it is.
    let holder = town.id.clone();
    town.plan_again(|plan| plan.title.push_str(", again"));
    town.look_and_leave("mx1");
    town.id = holder;
    let status = || town.run(&["rollout", "status", town.short()]);
    status().prints("1 out of service now");
    town.run(&["isolate", "mx2", "--reason", "smoke"])
        .exits(1)
        .says("refused: minimum-in-service");
    town.run(&["isolate", "mx1", "--reason", "smoke"]).exits(0);
    // Of the whole service nobody has looked at that host.
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .says("mx1 stays isolated: a rollout left it out of service");
    status().prints("1 out of service now");
    town.run(&["release", "mx1"])
        .exits(0)
        .prints("mx1 counts as in service again");
    status().prints("0 out of service now");
    town.run(&["isolate", "mx2", "--reason", "smoke"]).exits(0);
}

#[test]
fn a_host_is_isolated_and_released_and_minimums_are_kept() {
    let Some(town) = Town::new(2, "a_host_is_isolated_and_released_and_minimums_are_kept") else {
        return;
    };
    town.run(&["isolate", "mx1", "--reason", "exploited"])
        .exits(0)
        .prints("mx1 is isolated: no new mail sessions, queue and management access kept");
    assert!(town.hosts.join("isolated-mx1").exists());
    town.run(&["isolate", "mx2", "--reason", "exploited"])
        .exits(1)
        .says("refused: minimum-in-service: inbound-mx would have 0 in service");
    assert!(!town.hosts.join("isolated-mx2").exists());
    town.run(&[
        "isolate",
        "inbound-mx",
        "--reason",
        "worm",
        "--even-if-mail-stops",
    ])
    .exits(0)
    .prints("mx2 is isolated");
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .prints("mx1 takes mail again")
        .prints("mx2 takes mail again");
    town.run(&["release", "inbound-mx"])
        .exits(0)
        .says("no host of inbound-mx is isolated");
    let store = SqliteStore::open(&town.bench.state(), Realm::Live).unwrap();
    let events: Vec<String> = store
        .isolation_events()
        .unwrap()
        .iter()
        .map(|recorded| match &recorded.event.kind {
            EventKind::HostIsolated {
                host,
                by,
                below_minimum,
                ..
            } => format!("{host} isolated by {} {below_minimum}", by.name),
            EventKind::HostReleased { host, .. } => format!("{host} released"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        events,
        [
            "mx1 isolated by ada false",
            "mx1 isolated by ada true",
            "mx2 isolated by ada true",
            "mx1 released",
            "mx2 released"
        ]
    );
}

#[test]
fn what_was_released_is_recorded_though_nobody_reads_it() {
    let Some(town) = Town::new(2, "what_was_released_is_recorded_though_nobody_reads_it") else {
        return;
    };
    town.run(&["isolate", "mx1", "--reason", "exploited"])
        .exits(0);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = town
        .command(&["release", "mx1"])
        .stdout(full)
        .status()
        .unwrap();
    assert!(!status.success());
    assert!(!town.hosts.join("isolated-mx1").exists());
    let store = SqliteStore::open(&town.bench.state(), Realm::Live).unwrap();
    let last = store.isolation_events().unwrap().pop().unwrap();
    assert!(
        matches!(last.event.kind, EventKind::HostReleased { .. }),
        "{last:?}"
    );
}

#[test]
fn each_team_is_mailed_the_result_once_though_one_refuses_it_and_other_news_cannot_go() {
    let test = "each_team_is_mailed_the_result_once_though_one_refuses_it_and_other_news_cannot_go";
    let Some(mut town) = Town::new(2, test) else {
        return;
    };
    let (port, taken) = mail_server();
    town.rewrite_fleet(
        "[regions.eu]",
        &format!(
            "[teams.europe]\nemail = [\"eu@example.org\"]\n\
             [notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
             from = \"mailkeep@example.org\"\n[regions.eu]"
        ),
    );
    town.rewrite_fleet("owner = \"world\"", "owner = \"europe\"");
    let eu = RegionName::new("eu").unwrap();
    town.plan_again(|plan| {
        let europe = Some(TeamName::new("europe").unwrap());
        plan.regions.get_mut(&eu).unwrap().owner.clone_from(&europe);
        for step in &mut plan.steps {
            step.owner.clone_from(&europe);
        }
    });
    town.approve();
    town.approve_part(Some(&eu));
    town.run(&["plan", "notify", town.short()])
        .exits(0)
        .says("told eu@example.org by mail: Emergency patching of 2 mail servers in eu");
    std::fs::write(town.hosts.join("bad-mx1"), b"").unwrap();
    let (status, said) = town.start().ends();
    assert_eq!(status, Some(1), "{said}");

    let results = |to: &str| -> Vec<String> {
        let all = taken.lock().unwrap();
        let is_result = |mail: &&String| {
            mail.contains(&format!("RCPT TO:<{to}>")) && mail.contains("Subject: Result: ")
        };
        // Without the soft line breaks of quoted-printable.
        let whole = |mail: &String| mail.replace("=\r\n", "");
        all.iter().filter(is_result).map(whole).collect()
    };
    let watch = || town.run(&["watch", "--once", "--offline"]);
    town.rewrite_fleet("eu@example.org", "refused@example.org");
    town.bench.write("state/notices.json", "{");
    watch()
        .exits(2)
        .says("notices.json is damaged")
        .says("europe is not told the result")
        .says("told w@example.org by mail: Result: postfix on the town's hosts (partly done)");
    let told = results("w@example.org");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("Outcome: partly done"), "{}", told[0]);
    assert!(told[0].contains("mx1 is rolled-back"), "{}", told[0]);
    assert!(told[0].contains(", lost 0"), "{}", told[0]);
    assert_eq!(results("eu@example.org").len(), 0);

    town.rewrite_fleet("refused@example.org", "eu@example.org");
    std::fs::remove_file(town.bench.path("state/notices.json")).unwrap();
    watch().says("told eu@example.org by mail: Result: ");
    let count = |ran: Ran| ran.err.matches("Result: ").count();
    assert_eq!(count(watch()), 0);
    assert_eq!(results("w@example.org").len(), 1);
    assert_eq!(results("eu@example.org").len(), 1);
    town.run(&["plan", "notify", town.short()])
        .exits(0)
        .says("The result was told already");
}
