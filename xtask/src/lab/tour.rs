//! `cargo xtask lab tour`: all of it on real hosts of one machine, from an advisory to proven hosts, with
//! mail flowing.
//!
//! Entry: [`run`]. Six mail hosts in three regions; everything is done by the `mailkeep` program, as a user
//! would do it, and shown with what it said. Leaves two pages behind ([`Tour::leave`]) and nothing running.

mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::desk::{FEEDS, PLAN};
use super::error::LabError;
use super::family::Family::{self, Dovecot, Exim, Postfix};
use super::inventory::{region, region_name};
use super::load::{Account, LoadSettings};
use super::pair::{Pair, Pairing};
use super::{Desk, Lab, Wanted, fleet};
use show::{Show, note};

/// The lab's directory, beside the usual one.
const DIRECTORY: &str = "lab-tour";

/// Dealt out so that each of the three regions has two kinds of host.
const FAMILIES: [Family; 6] = [Postfix, Exim, Dovecot, Exim, Dovecot, Postfix];

/// From one message of the load to the next, in each region.
const LOAD_EVERY: Duration = Duration::from_millis(250);

/// How the tour is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// A `mailkeep` that is there; without one it is built.
    pub(crate) binary: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(words: &[&str]) -> Result<Self, LabError> {
        match words {
            [] => Ok(Self::default()),
            ["--binary", path] => Ok(Self {
                binary: Some(PathBuf::from(path)),
            }),
            other => Err(LabError::BadArgument(format!(
                "tour takes --binary PATH, not {:?}",
                other.join(" ")
            ))),
        }
    }
}

/// Why the tour ended early.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// The lab did not do as asked.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Mailkeep, or what it answered, was not as it should be.
    #[error("tour: {0}")]
    Surprise(String),
}

/// Runs the tour; success is that every host is proven and no message lost.
pub(crate) fn run(options: &Options) -> Result<ExitCode, LabError> {
    let binary = match &options.binary {
        Some(path) => path
            .canonicalize()
            .map_err(|error| LabError::io("find", path, error))?,
        None => build()?,
    };
    // One at a time: a second tour waits for the first.
    let (lab, turn) = Lab::beside(DIRECTORY)?;
    let show = Show::new();
    show.end_on_signals(&lab)?;
    let ended = tour(&lab, &show, &binary);
    drop(turn);
    match ended {
        Ok(end) => Ok(end.said(&lab)),
        Err(Stop::Lab(error)) => Err(error),
        Err(stop @ Stop::Surprise(_)) => {
            eprintln!("{stop}; the lab is down");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Builds the program without optimisation: what that takes is less than what the tour gains by it.
fn build() -> Result<PathBuf, LabError> {
    let root = crate::workspace_root();
    crate::say(format_args!(
        "building mailkeep, without optimisation (--binary PATH takes one that is there)"
    ));
    let mut command = crate::cargo();
    command
        .args(["build", "--locked", "--package", "mailkeep"])
        .current_dir(&root);
    let failed = |outcome: String| LabError::CommandFailed {
        what: "building mailkeep".to_owned(),
        command: "cargo build --package mailkeep".to_owned(),
        outcome,
        tail: String::new(),
    };
    let status = command
        .status()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    Ok(crate::suite::target_directory(&root).join("debug/mailkeep"))
}

/// Sees the hosts running, and goes through all of it.
fn tour(lab: &Lab, show: &Show, binary: &Path) -> Result<End, Stop> {
    show.step("six mail hosts in three regions: real Debian, Postfix, Exim and Dovecot");
    if !lab.cache.join("images").exists() {
        note("the first time an image of each kind is built from the Debian archive");
    }
    let hosts = lab.up(&Wanted {
        hosts: 6,
        families: FAMILIES.to_vec(),
        regions: 3,
        pairing: Pairing::Synthetic,
    })?;
    lab.take_mail_for(fleet::DOMAIN)?;
    for host in &hosts {
        note(&format!(
            "{} {:8} {:13} {}",
            host.name,
            host.family,
            host.address,
            region(host)
        ));
    }
    let pairs = [Postfix, Exim, Dovecot].map(|family| Ok((family, lab.pair(family)?)));
    show.step(
        "the fleet file: regions, their teams and keys, one server of each region may be out",
    );
    Tour {
        lab,
        show,
        desk: Desk::new(lab, binary, lab.root().join("state"), "1", |text| text)?,
        pairs: pairs.into_iter().collect::<Result<_, LabError>>()?,
    }
    .all()
}

/// The tour under way.
struct Tour<'a> {
    lab: &'a Lab,
    show: &'a Show,
    /// Where the fleet file lies, and Mailkeep is called.
    desk: Desk<'a>,
    pairs: Vec<(Family, Pair)>,
}

/// How it ended.
struct End {
    load: Account,
    report: Value,
    clean: bool,
}

impl Tour<'_> {
    fn all(&self) -> Result<End, Stop> {
        self.mailkeep(&[0, 1], &["fleet", "lint"])?;
        self.before()?;
        self.published()?;
        self.planned()?;
        self.approved()?;
        let load = self.rolled_out()?;
        let clean = self.after()?;
        let report = self.reported()?;
        Ok(End {
            load,
            report,
            clean,
        })
    }

    /// The day before.
    fn before(&self) -> Result<(), Stop> {
        self.show
            .step("the day before: nobody knows of a hole, and every server is clean");
        self.refresh_lists()?;
        self.import(false)?;
        self.mailkeep(&[0], &["scan"])?;
        self.mailkeep(&[0], &["check"])
    }

    /// The advisory, and the patches.
    fn published(&self) -> Result<(), Stop> {
        self.show
            .step("an advisory is published, exploited already, and the patches with it");
        for (family, pair) in &self.pairs {
            self.lab.publish(*family)?;
            let cve = family.made_up_cve();
            note(&format!(
                "{cve}: {} {} is fixed in {}",
                pair.source, pair.old, pair.new
            ));
        }
        self.refresh_lists()?;
        self.import(true)?;
        self.mailkeep(&[0], &["scan"])?;
        self.mailkeep(&[1], &["check"])?;
        self.show
            .step("before anybody agrees: what would the patch change on one of them?");
        self.mailkeep(&[0, 1], &["impact", "h01"])
    }

    fn planned(&self) -> Result<(), Stop> {
        self.show.step(
            "the plan: for each kind of server a test host, then the pilot region, then the rest",
        );
        self.mailkeep(&[0], &["plan", "--output", PLAN])?;
        self.mailkeep(&[0], &["plan", "check", PLAN])?;
        let page = self.page("plan.html");
        let page = page.display().to_string();
        self.mailkeep(
            &[0],
            &["plan", "show", PLAN, "--format", "html", "--output", &page],
        )?;
        note(&format!("the plan as a page: {page}"));
        self.show
            .step("nothing runs that its teams have not signed");
        self.mailkeep(&[1], &["rollout", "start", PLAN])
    }

    fn approved(&self) -> Result<(), Stop> {
        self.show.step(
            "each region's team signs its part with its SSH key, and the global team the whole",
        );
        for team in self.desk.teams() {
            self.mailkeep(
                &[0],
                &["plan", "approve", PLAN, "--team", team, "--key", team],
            )?;
        }
        Ok(())
    }

    /// The rollout, with mail.
    fn rolled_out(&self) -> Result<Account, Stop> {
        self.show.step(
            "the rollout, while a stranger sends numbered mail to every region and Mailkeep its probes",
        );
        let load = self.lab.begin_load(&LoadSettings {
            address: fleet::ADDRESS.to_owned(),
            every: LOAD_EVERY,
            minimum: (1..=3).map(|region| (region, 1)).collect(),
        })?;
        // One that pauses itself waits for a person, and on a tour there is none.
        let start = ["rollout", "start", PLAN, "--stop-when-paused"];
        let ended = self.show.run(&self.desk, &start);
        let account = load.end()?;
        let status = ended?;
        self.show.step("what the stranger saw of it");
        for (region, short) in &account.short {
            note(&format!(
                "{}: {short} with fewer servers than its minimum",
                region_name(*region)
            ));
        }
        for (host, out) in &account.out {
            note(&format!("{host}: {out} without taking a stranger's mail"));
        }
        note(&format!(
            "the stranger's mail: sent {}, delivered {}, duplicated {}, lost {}; {} tries were sent to \
             another server or repeated, {} messages are still with the sender",
            account.sent,
            account.delivered,
            account.duplicated,
            account.lost.len(),
            account.refused,
            account.kept
        ));
        if status != 0 {
            let report = self.reported()?;
            return Err(Stop::Surprise(format!(
                "the rollout ended with status {status} ({}); {} tells all",
                report["reason"].as_str().unwrap_or("no reason given"),
                self.page("report.html").display()
            )));
        }
        Ok(account)
    }

    fn after(&self) -> Result<bool, Stop> {
        self.show.step("looked at anew: is every server clean?");
        self.mailkeep(&[0], &["scan"])?;
        Ok(self.show.run(&self.desk, &["check"])? == 0)
    }

    /// The report for an auditor.
    fn reported(&self) -> Result<Value, Stop> {
        self.show.step(
            "the report: who approved, when each server was exposed, drained, patched, proven",
        );
        let page = self.page("report.html").display().to_string();
        let html = ["rollout", "report", PLAN, "--format", "html", "--output"];
        self.mailkeep(&[0, 1], &[html.as_slice(), &[&page]].concat())?;
        self.mailkeep(&[0, 1], &["rollout", "status", PLAN])?;
        Ok(self.desk.report()?)
    }

    /// Runs Mailkeep and shows what it says; its exit status must be one of these.
    fn mailkeep(&self, statuses: &[i32], args: &[&str]) -> Result<(), Stop> {
        let status = self.show.run(&self.desk, args)?;
        if statuses.contains(&status) {
            return Ok(());
        }
        Err(Stop::Surprise(format!(
            "`mailkeep {}` ended with status {status}, not {statuses:?}",
            args.join(" ")
        )))
    }

    /// The feeds as they are before the made-up holes are known, or after.
    fn import(&self, known: bool) -> Result<(), Stop> {
        self.desk.publish(&self.pairs, known)?;
        for (kind, file) in FEEDS {
            self.mailkeep(&[0], &["feeds", "import", "--source", kind, file])?;
        }
        Ok(())
    }

    /// `apt-get update` on every host, as their timers do it.
    fn refresh_lists(&self) -> Result<(), Stop> {
        note("every host: apt-get update");
        self.lab.on_every_host("apt-get -qq update")?;
        Ok(())
    }

    /// Where a page lies that is left behind.
    fn page(&self, name: &str) -> PathBuf {
        self.lab.root().join(name)
    }
}

impl End {
    /// The last lines; the exit status of the tour.
    fn said(&self, lab: &Lab) -> ExitCode {
        let hosts = self.report["hosts"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let proven = |host: &&Value| host["state"] == "proven";
        let all = hosts.len() == FAMILIES.len() && hosts.iter().all(|host| proven(&host));
        let figure = |name: &str| self.report["ledger"][name].as_u64();
        let lost_by_load = u64::try_from(self.load.lost.len()).unwrap_or(u64::MAX);
        let (Some(sent), Some(delivered), Some(duplicated), Some(lost)) = (
            figure("sent"),
            figure("delivered"),
            figure("duplicated"),
            figure("lost"),
        ) else {
            eprintln!("tour: the report has no ledger");
            return ExitCode::FAILURE;
        };
        crate::say(format_args!(
            "\n{} of {} hosts proven, {}; the lab is down",
            hosts.iter().filter(proven).count(),
            FAMILIES.len(),
            if self.clean {
                "and a new check finds nothing"
            } else {
                "and A NEW CHECK FINDS SOMETHING"
            }
        ));
        for page in ["plan.html", "report.html"] {
            crate::say(format_args!("{}", lab.root().join(page).display()));
        }
        let (load, probes) = (&self.load, (sent, delivered, duplicated, lost));
        crate::say(format_args!(
            "of these {} were Mailkeep's probes and {} the stranger's mail",
            probes.0, load.sent
        ));
        let lost = probes.3 + lost_by_load;
        crate::say(format_args!(
            "ledger: sent {}, delivered {}, duplicated {}, lost {lost}",
            probes.0 + load.sent,
            probes.1 + load.delivered,
            probes.2 + load.duplicated,
        ));
        if all && self.clean && lost == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_tour_is_read() {
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        let options = Options::parse(&["--binary", "/x/mailkeep"]).unwrap();
        assert_eq!(options.binary.as_deref(), Some(Path::new("/x/mailkeep")));
        for wrong in [&["--binary"][..], &["--fast"], &["--binary", "x", "y"]] {
            let kind = Options::parse(wrong).unwrap_err().kind();
            assert_eq!(kind, "lab-bad-argument", "{wrong:?}");
        }
    }

    #[test]
    fn no_region_has_two_hosts_of_one_kind() {
        for region in 0..3 {
            assert_ne!(FAMILIES[region], FAMILIES[region + 3]);
        }
    }
}
