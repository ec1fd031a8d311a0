//! What the rounds are made of: four hosts with mail flowing, a signed plan for them, and a controller
//! that can be killed.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::Family::{self, Exim, Postfix};
use xtask::lab::{Desk, Host, Lab, Load, LoadSettings, Pair, Pairing, Turn, Wanted, fleet};

/// `h01` and `h03` stand in the pilot region, `h02` and `h04` in another; each has one of each kind.
const FAMILIES: [Family; 4] = [Postfix, Exim, Exim, Postfix];
/// From one look at what is waited for to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than any rollout here takes.
pub(crate) const LONGEST: Duration = Duration::from_mins(6);

/// A lab of a test's own; `None`, which is said, where there can be none.
pub(crate) fn lab(test: &str) -> Option<(Lab, Turn)> {
    let (lab, turn) = Lab::for_test(test, &wanted()).unwrap()?;
    let desks = lab.root().join("desks");
    if desks.exists() {
        std::fs::remove_dir_all(&desks).unwrap();
    }
    Some((lab, turn))
}

fn wanted() -> Wanted {
    Wanted {
        hosts: 4,
        families: FAMILIES.to_vec(),
        regions: 2,
        pairing: Pairing::Synthetic,
    }
}

/// Four hosts, and a plan that their teams have signed.
pub(crate) struct Ring<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) desk: Desk<'a>,
    pub(crate) pairs: Vec<(Family, Pair)>,
    began: Instant,
    log: PathBuf,
    /// Bytes of the log that are of controllers before the last one.
    before: AtomicUsize,
    /// Where controllers leave their sockets when they are killed; short, as the path of a socket must be.
    sockets: tempfile::TempDir,
}

impl<'a> Ring<'a> {
    /// On hosts set up anew.
    pub(crate) fn anew(
        lab: &'a Lab,
        name: &str,
        began: Instant,
        file: impl FnOnce(String) -> String,
    ) -> Self {
        lab.down().unwrap();
        lab.up(&wanted()).unwrap();
        Self::fresh(lab, name, began, file)
    }

    /// On hosts that have just been set up; `file` may change the fleet file.
    pub(crate) fn fresh(
        lab: &'a Lab,
        name: &str,
        began: Instant,
        file: impl FnOnce(String) -> String,
    ) -> Self {
        lab.take_mail_for(fleet::DOMAIN).unwrap();
        for family in [Exim, Postfix] {
            lab.publish(family).unwrap();
        }
        Self::planned(lab, name, began, |_| {}, file)
    }

    /// On the hosts as they are; `change` may ask for other versions, `file` may change the fleet file.
    pub(crate) fn planned(
        lab: &'a Lab,
        name: &str,
        began: Instant,
        change: impl FnOnce(&mut Vec<(Family, Pair)>),
        file: impl FnOnce(String) -> String,
    ) -> Self {
        lab.on_every_host("apt-get -qq update").unwrap();
        let mut pairs = [Exim, Postfix]
            .map(|family| (family, lab.pair(family).unwrap()))
            .to_vec();
        change(&mut pairs);
        let directory = lab.root().join("desks").join(name);
        let binary = Path::new(env!("CARGO_BIN_EXE_mailkeep"));
        // One of each region may be out.
        let desk = Desk::new(lab, binary, directory, "1", file).unwrap();
        let plan = desk.plan(&pairs).unwrap();
        assert_eq!(plan["steps"].as_array().unwrap().len(), 4, "{plan:#}");
        desk.approve().unwrap();
        let ring = Self {
            log: desk.directory().join("controller.log"),
            lab,
            desk,
            pairs,
            began,
            before: AtomicUsize::new(0),
            sockets: tempfile::tempdir().unwrap(),
        };
        ring.step(&format!("{name}: a plan for four hosts is signed"));
        ring
    }

    /// Says what was shown.
    pub(crate) fn step(&self, claim: &str) {
        println!("[{:6.1} s] {claim}", self.began.elapsed().as_secs_f64());
    }

    /// A stranger's mail to every region.
    pub(crate) fn load(&self) -> Load<'a> {
        let settings = LoadSettings {
            address: fleet::ADDRESS.to_owned(),
            every: Duration::from_millis(500),
            minimum: [(1, 1), (2, 1)].into(),
        };
        self.lab.begin_load(&settings).unwrap()
    }

    /// Ends it: whatever a server said 250 to has arrived.
    pub(crate) fn nothing_is_lost(&self, load: Load<'_>) {
        let account = load.end().unwrap();
        self.step(&format!(
            "the stranger's mail: sent {}, delivered {}, duplicated {}, lost {}",
            account.sent,
            account.delivered,
            account.duplicated,
            account.lost.len()
        ));
        assert_eq!(account.lost, Vec::<u64>::new());
        assert!(account.sent > 0, "{account:?}");
    }

    /// Starts a controller, or starts it again, with all it says in one log.
    pub(crate) fn start(&self) -> Controller {
        self.before.store(self.said().len(), Ordering::SeqCst);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = self.desk.rollout("start");
        let child = command
            .args(["--parallel", "4"])
            .env("TMPDIR", self.sockets.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        Controller(Some(child))
    }

    /// No sockets that a killed controller left lie about once another has ended by itself. The copy of a
    /// signature that one was verifying may: it is small, and no secret.
    pub(crate) fn has_no_sockets(&self) {
        let entries = std::fs::read_dir(self.sockets.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.retain(|name| name.to_string_lossy().starts_with("mailkeep-"));
        assert!(left.is_empty(), "{left:?}");
    }

    /// Waits until it does something on a host, or has ended.
    pub(crate) fn is_at_work(&self, controller: &mut Controller) -> bool {
        self.until("neither works nor ends", || {
            let acts = !crate::acts_under_way(&self.said_since_start()).is_empty();
            (acts || !controller.runs()).then_some(acts)
        })
    }

    /// Waits until the controller ends by itself; where it stops to wait for a person, that one gives up.
    pub(crate) fn ends(&self, controller: &mut Controller) -> i32 {
        let mut asked = false;
        self.until("does not end", || {
            if !asked && self.said().contains(" PAUSED by ") {
                let mut abort = self.desk.rollout("abort");
                let output = abort.args(["--reason", "it went wrong"]).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                asked = true;
            }
            controller.ended()
        })
    }

    /// Asks until there is an answer. What is waited for are other processes' doings, which send nothing.
    #[track_caller]
    fn until<T>(&self, not_so: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let limit = Instant::now() + LONGEST;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < limit, "{not_so}:\n{}", self.said());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What all controllers have said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What the last controller has said so far.
    pub(crate) fn said_since_start(&self) -> String {
        self.said().split_off(self.before.load(Ordering::SeqCst))
    }

    /// Waits until a line of a controller holds all these words.
    #[track_caller]
    pub(crate) fn hears(&self, words: &[&str]) {
        let told = |line: &str| words.iter().all(|word| line.contains(word));
        self.until(&format!("never said {words:?}"), || {
            self.said().lines().any(told).then_some(())
        });
    }

    /// Waits until a file is there on a host, by its pattern.
    #[track_caller]
    pub(crate) fn sees(&self, host: &str, pattern: &str) {
        let script = format!(
            "tries=0; until ls -d {pattern} >/dev/null 2>&1; do tries=$((tries + 1)); \
             [ $tries -lt 12000 ] || exit 1; sleep 0.03; done"
        );
        assert!(
            self.holds(host, &script),
            "{host} never had {pattern}\n{}",
            self.said()
        );
    }

    /// Runs a script inside a host, entered by its namespaces.
    #[track_caller]
    pub(crate) fn inside(&self, host: &str, script: &str) -> String {
        let mut command = self.lab.inside(host, &["sh", "-euc", script]).unwrap();
        // Into files: a daemon it starts would hold a pipe of ours open.
        let out = self.log.with_file_name(format!("{host}.out"));
        let log = self.log.with_file_name(format!("{host}.log"));
        let status = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .status()
            .unwrap();
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            status.success(),
            "{host}: {script} ended with {status}:\n{log}"
        );
        std::fs::read_to_string(out).unwrap()
    }

    /// Whether a script inside a host ends well.
    pub(crate) fn holds(&self, host: &str, script: &str) -> bool {
        let mut command = self.lab.inside(host, &["sh", "-c", script]).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        self.lab.host(name).unwrap()
    }

    /// Pulls a host's cable, or plugs it in.
    pub(crate) fn cable(&self, host: &str, how: &str) {
        let [_, _, region, nth] = self.host(host).address.octets();
        let cable = format!("v{region}-{nth}");
        let mut ip = self.lab.controller("ip");
        assert!(
            ip.args(["link", "set", &cable, how])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The report, of which this much must hold whatever happened: nothing fits no state, every message is
    /// accounted for, and it says of each host where it ended.
    pub(crate) fn report(&self) -> Report {
        let told = self.desk.report().unwrap();
        assert_eq!(told["oddities"], Value::Array(Vec::new()), "{told:#}");
        assert!(!told["ended_at"].is_null(), "{told:#}");
        let ledger = &told["ledger"];
        assert_eq!(ledger["lost"], 0, "{ledger}\n{}", self.said());
        assert!(ledger["sent"].as_u64().unwrap() > 0, "{ledger}");
        self.step(&format!(
            "the report: {}, ledger {ledger}",
            told["state"].as_str().unwrap()
        ));
        let report = Report(told);
        for host in report.0["hosts"].as_array().unwrap() {
            self.step(&format!(
                "  {} {}: {} {}",
                host["host"].as_str().unwrap(),
                host["family"].as_str().unwrap(),
                host["state"].as_str().unwrap(),
                host["trouble"].as_str().unwrap_or_default()
            ));
        }
        report
    }

    /// Every host: proven by the report, on the new versions, installed exactly once, in service, and
    /// nothing of the rollout left on it. `interrupted` are hosts on which dpkg had to begin anew.
    pub(crate) fn all_are_proven(&self, interrupted: &[&str]) -> Report {
        let report = self.report();
        assert_eq!(report.0["state"], "proven");
        for host in self.lab.hosts().unwrap() {
            assert_eq!(report.host(&host.name)["state"], "proven");
            if !interrupted.contains(&&*host.name) {
                self.is_patched_once(&host);
            }
            self.is_in_service(&host.name);
            let left = self.inside(&host.name, "ls -A /var/lib/mailkeep/rollout");
            assert_eq!(left, "", "{}", host.name);
        }
        report
    }

    /// dpkg's own log: one upgrade of each package, by whomever.
    fn is_patched_once(&self, host: &Host) {
        let family: Family = host.family.parse().unwrap();
        let new = &self
            .pairs
            .iter()
            .find(|(of, _)| *of == family)
            .unwrap()
            .1
            .new;
        for package in family.packages() {
            let script = format!(
                "awk -v p={package}: -v to='{new}' '$3 == \"upgrade\" && index($4, p) == 1 && $6 == to' \
                 /var/log/dpkg.log"
            );
            let upgrades = self.inside(&host.name, &script);
            assert_eq!(upgrades.lines().count(), 1, "{}: {upgrades}", host.name);
        }
    }

    /// It takes mail from anybody, and nothing of ours is left on it.
    pub(crate) fn is_in_service(&self, host: &str) {
        let script = "
            test ! -e /run/mailkeep/lease || { echo a lease; cat /run/mailkeep/lease; }
            test ! -e /run/mailkeep/act || { echo an act; ls -l /run/mailkeep/act; }
            # What a plan fetched before it came to a lease stays until the next one.
            test ! -e /var/lib/mailkeep/rollout || find /var/lib/mailkeep/rollout -mindepth 1 -maxdepth 2 \\( -name lease -o -type f -path '*/rollout/*' ! -path '*/rollout/*/*' \\)
            test ! -e /etc/postfix/mailkeep-drain.cidr || echo a drain
            ! nft list table inet mailkeep 2>/dev/null || echo a filter
            ! grep Mailkeep /usr/sbin/policy-rc.d || echo a policy
            dpkg --audit
            sh -c 'grep -q \":0019 [0-9A-F]*:0000 0A \" /proc/net/tcp /proc/net/tcp6' || echo nobody listens";
        let left = self.inside(host, script);
        assert_eq!(left, "", "{host}");
    }
}

/// What `rollout report` says in JSON.
pub(crate) struct Report(pub(crate) Value);

impl Report {
    #[track_caller]
    pub(crate) fn host(&self, name: &str) -> &Value {
        let hosts = self.0["hosts"].as_array().unwrap();
        hosts.iter().find(|host| host["host"] == name).unwrap()
    }

    /// One act of one host, all its tries together.
    #[track_caller]
    pub(crate) fn act(&self, host: &str, act: &str) -> &Value {
        let host = self.host(host);
        let mut acts = host["acts"].as_array().unwrap().iter();
        acts.find(|told| told["act"] == act)
            .unwrap_or_else(|| panic!("no {act}: {host:#}"))
    }

    /// The host ended so, and the report says why.
    #[track_caller]
    pub(crate) fn ended(&self, name: &str, state: &str, why: &str) {
        let host = self.host(name);
        assert_eq!(host["state"], state, "{host:#}");
        let trouble = host["trouble"].as_str().unwrap_or_default();
        assert!(trouble.contains(why), "{name}: {trouble}");
    }
}

/// A controller that runs; it is killed when it is forgotten.
pub(crate) struct Controller(Option<Child>);

impl Controller {
    /// Its exit status, unless it is still running after this time.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
    }

    /// Its exit status, unless it is still running.
    fn ended(&mut self) -> Option<i32> {
        let status = self.0.as_mut().unwrap().try_wait().unwrap()?;
        self.0 = None;
        Some(status.code().unwrap_or(-1))
    }

    fn runs(&mut self) -> bool {
        let child = self.0.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGKILL to it and to all it has started.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.0.take() {
            let group = format!("-{}", child.id());
            let mut kill = std::process::Command::new("kill");
            // In vain it has just ended by itself.
            kill.args(["-s", "KILL", "--", &group])
                .stderr(Stdio::null());
            kill.status().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end();
    }
}
