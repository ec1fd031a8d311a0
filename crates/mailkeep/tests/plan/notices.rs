//! Notices of a plan by mail: invitations, reminders, what is taken back, the result.

use std::fs;
use std::process::Command;

use crate::Fleet;
use crate::common::Ran;
use crate::common::server::mail_server;

#[test]
fn invitations_go_by_mail_and_the_watch_reminds_of_them_a_day_ahead_once() {
    let (port, taken) = mail_server();
    let fleet = Fleet::new(
        true,
        &format!(
            "[notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
             from = \"mailkeep@harbour.example\"\n"
        ),
    );
    let calm = [
        "--advisory",
        "CVE-2023-42115",
        "--lane",
        "regular",
        "--format",
        "json",
    ];
    // The deadline is before the next window, which is said.
    let json = fleet.plan(&calm).exits(1).json();
    let plan = json["id"].as_str().unwrap();
    fleet
        .plan(&["notify", plan])
        .exits(0)
        .says("told asia@harbour.example, asia2@harbour.example by mail: Patching of");
    let invitations = taken.lock().unwrap().len();
    let invited = taken.lock().unwrap().join("\n");
    assert!(
        invited.contains("text/calendar; charset=utf-8; method=REQUEST"),
        "{invited}"
    );

    let start: mailkeep_model::Timestamp = json["plan"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["region"] == "sg")
        .map(|step| step["start"].as_str().unwrap().parse().unwrap())
        .min()
        .unwrap();
    let watch = |hours: i64| {
        let at = start - jiff::SignedDuration::from_hours(hours);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        fleet.0.prepare(&mut command);
        command
            .args(["--at", &at.to_string(), "--state"])
            .arg(fleet.0.state())
            .args(["watch", "--once", "--offline", "--fleet", "mailkeep.toml"]);
        let ran = Ran::of(&command.output().unwrap());
        let reminders = |line: &&str| {
            line.starts_with("told asia@") && line.contains("by mail: Reminder: Patching")
        };
        ran.err.lines().filter(reminders).count()
    };
    assert_eq!([watch(25), watch(23), watch(22)], [0, 1, 0]);
    assert!(taken.lock().unwrap().len() > invitations);
}

#[test]
fn of_a_rollout_that_was_aborted_the_rest_is_taken_back_then_its_result_is_told() {
    let (port, _taken) = mail_server();
    let fleet = Fleet::new(true, &by_mail(port));
    let (plan, start) = fleet.calm_plan();
    fleet.plan(&["notify", &plan]).exits(0);
    fleet.abort(&plan);
    let ran = fleet.watch(start - jiff::SignedDuration::from_hours(23));
    let told = |what: &str| ran.err.lines().filter(|l| l.contains(what)).count();
    let cancelled = told("by mail: Cancelled: Patching");
    assert!(cancelled >= 2, "{}", ran.err);
    assert_eq!(told("Reminder"), 0, "{}", ran.err);
    assert!(told("aborted") > 0, "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    let last = lines.iter().rposition(|line| line.contains("Cancelled: "));
    let result = lines.iter().position(|line| line.contains("aborted"));
    assert!(last < result, "{}", ran.err);
    fleet
        .plan(&["notify", &plan])
        .exits(0)
        .says("The result was told already");
}

#[test]
fn invitations_can_be_taken_back_by_hand_after_the_end() {
    let fleet = Fleet::new(true, "");
    let (plan, _start) = fleet.calm_plan();
    fleet.plan(&["notify", &plan, "-o", "ics"]).exits(0);
    fleet.abort(&plan);
    fleet
        .plan(&["notify", &plan, "--cancel", "-o", "off"])
        .exits(0);
    let cancelled = fleet.ics("off");
    assert_eq!(cancelled.len(), fleet.ics("ics").len());
    assert!(cancelled.iter().all(|text| text.contains("METHOD:CANCEL")));
    fleet
        .plan(&["notify", &plan, "-o", "result"])
        .exits(0)
        .says("result-");
}

#[test]
fn one_teams_bad_mailbox_withholds_nothing_from_the_others() {
    for (bad, good) in [("europe", "asia"), ("asia", "europe")] {
        let (port, _taken) = mail_server();
        let fleet = Fleet::new(true, &by_mail(port));
        let (plan, start) = fleet.calm_plan();
        fleet.plan(&["notify", &plan]).exits(0);
        // What is found is told before, so that only the plan's notices are left.
        fleet.watch(start - jiff::SignedDuration::from_hours(25));
        let text = fs::read_to_string(fleet.0.path("mailkeep.toml")).unwrap();
        let text = text.replace(&format!("\"{bad}@harbour"), "\"refused@harbour");
        fleet.0.write("mailkeep.toml", text);
        let told = |ran: &Ran, what: &str| {
            let start = format!("told {good}@");
            ran.err
                .lines()
                .any(|line| line.starts_with(&start) && line.contains(what))
        };
        fleet.abort(&plan);
        let ended = fleet.watch(start - jiff::SignedDuration::from_mins(20));
        assert!(told(&ended, "Cancelled: "), "{}", ended.err);
        assert!(told(&ended, "aborted"), "{}", ended.err);
        assert!(ended.err.contains("is not told"), "{}", ended.err);
        assert!(!ended.err.contains("Reminder"), "{}", ended.err);
    }
}

/// How the fleet file says that mail goes by the server of the test.
fn by_mail(port: u16) -> String {
    format!(
        "[notify.mail]\nserver = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
         from = \"mailkeep@harbour.example\"\n"
    )
}
