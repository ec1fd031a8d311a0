//! What the steps of the test are made of: a host with a plan of its own, the hands that work on it, and
//! mail that is sent to it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mailkeep_model::{
    Access, Act, ActFailure, ActOutcome, AdvisoryId, Drain, Fleet, Host, HostName, Lane,
    PackageChange, Plan, PlanId, PlanStep, Precheck, Proof, Realm, RegionName, RolloutPolicy,
    Stage, Timestamp, Variant, Wave,
};
use mailkeep_reach::hosts::SshOptions;
use mailkeep_rollout::{Hands as _, Order, Recipe, SshHands};
use xtask::lab::{Family, Lab, Pair};

/// A host, the plan for it, and the hands that carry it out.
pub(crate) struct Bed<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) host: String,
    pub(crate) family: Family,
    pub(crate) pair: Pair,
    pub(crate) packages: Vec<PackageChange>,
    pub(crate) fence: u64,
    pub(crate) began: Instant,
    hands: SshHands,
    task: Task,
}

/// One plan for one host.
#[derive(Clone)]
pub(crate) struct Task {
    id: PlanId,
    plan: Arc<Plan>,
}

/// An act may be asked for so often before "not yet" is taken for an answer.
const PATIENCE: usize = 60;

impl<'a> Bed<'a> {
    pub(crate) fn new(lab: &'a Lab, host: &str, family: Family, began: Instant) -> Self {
        let pair = lab.pair(family).unwrap();
        let packages = family.packages().iter().map(|name| PackageChange {
            name: (*name).to_owned(),
            from: pair.old.clone(),
            to: pair.new.clone(),
        });
        let mut packages: Vec<PackageChange> = packages.collect();
        packages.sort();
        let mut bed = Self {
            lab,
            host: host.to_owned(),
            family,
            packages,
            pair,
            fence: 10,
            began,
            hands: hands(lab, "the-controller", None),
            task: Task {
                id: PlanId::new("none").unwrap(),
                plan: Arc::new(plan(host, family, Vec::new(), Drain::None)),
            },
        };
        bed.plan("first", Drain::SynRefusal);
        bed
    }

    pub(crate) fn name(&self) -> HostName {
        HostName::new(&self.host).unwrap()
    }

    /// Says what was shown.
    pub(crate) fn step(&self, claim: &str) {
        println!(
            "[{:6.1} s] {} {}: {claim}",
            self.began.elapsed().as_secs_f64(),
            self.host,
            self.family
        );
    }

    /// Goes on with a new plan.
    pub(crate) fn plan(&mut self, id: &str, drain: Drain) {
        self.task = self.task(id, self.packages.clone(), drain);
        self.fence += 1;
    }

    /// From the patch to the one above it that does not start.
    pub(crate) fn plan_broken(&mut self, id: &str, ending: &str) {
        let mut packages = self.packages.clone();
        for package in &mut packages {
            package.from.clone_from(&package.to);
            package.to.push_str(ending);
        }
        self.task = self.task(id, packages, Drain::SynRefusal);
        self.fence += 1;
    }

    /// By a recipe that brings the new packages itself.
    pub(crate) fn plan_with_recipe(&mut self, id: &str, text: &str, files: &[(&str, &[u8])]) {
        let live = self
            .lab
            .root()
            .join("repository/live")
            .join(self.family.name());
        let mut text = format!("format = 1\n{text}");
        let mut contents: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.to_vec()))
            .collect();
        for package in &self.packages {
            let version = package.to.split_once(':').map_or(&*package.to, |(_, v)| v);
            let start = format!("{}_{version}_", package.name);
            let deb = std::fs::read_dir(&live)
                .unwrap()
                .flatten()
                .find(|entry| entry.file_name().to_string_lossy().starts_with(&start))
                .unwrap()
                .path();
            let file = format!("{}.deb", package.name);
            let sum = Command::new("sha256sum").arg(&deb).output().unwrap().stdout;
            let sum = String::from_utf8(sum).unwrap();
            let sum = sum.split_whitespace().next().unwrap();
            _ = writeln!(
                text,
                "[[package]]\nname = \"{}\"\nversion = \"{}\"\nfile = \"{file}\"\nsha256 = \"{sum}\"",
                package.name, package.to
            );
            contents.insert(file, std::fs::read(&deb).unwrap());
        }
        let recipe = Recipe::load("recipe.toml", |path| match path {
            "recipe.toml" => Ok(text.clone().into_bytes()),
            other => Ok(contents[other].clone()),
        })
        .unwrap();
        self.by(id, recipe, self.packages.clone(), BTreeMap::new());
    }

    /// By a recipe that installs nothing and stands in for a fix of this advisory.
    pub(crate) fn plan_interim(&mut self, id: &str, text: &str, advisory: &str) {
        let text = format!("format = 1\n{text}");
        let recipe = Recipe::load("recipe.toml", |_| Ok(text.clone().into_bytes())).unwrap();
        let mut packages = self.packages.clone();
        for package in &mut packages {
            package.to.clone_from(&package.from);
        }
        let advisory = AdvisoryId::new(advisory).unwrap();
        let mitigates = BTreeMap::from([(advisory, self.family.name().to_owned())]);
        self.by(id, recipe, packages, mitigates);
    }

    fn by(
        &mut self,
        id: &str,
        recipe: Recipe,
        packages: Vec<PackageChange>,
        mitigates: BTreeMap<AdvisoryId, String>,
    ) {
        let mut plan = plan(&self.host, self.family, packages, Drain::SynRefusal);
        plan.variants[0].recipe = Some(recipe.reference());
        plan.variants[0].mitigates = mitigates;
        self.task = Task {
            id: PlanId::new(format!("{id}-{}", self.host)).unwrap(),
            plan: Arc::new(plan),
        };
        self.fence += 1;
        self.hands = hands(self.lab, "the-controller", None).with_recipes([recipe]);
    }

    pub(crate) fn with_plan(&self, id: &str) -> Task {
        self.task(id, self.packages.clone(), Drain::SynRefusal)
    }

    fn task(&self, id: &str, packages: Vec<PackageChange>, drain: Drain) -> Task {
        Task {
            id: PlanId::new(format!("{id}-{}", self.host)).unwrap(),
            plan: Arc::new(plan(&self.host, self.family, packages, drain)),
        }
    }

    fn order(&self, task: &Task, act: Act, attempt: usize) -> Order {
        Order {
            plan_id: task.id.clone(),
            plan: Arc::clone(&task.plan),
            step: 0,
            act,
            attempt: u32::try_from(attempt).unwrap(),
            fence: self.fence,
            limit: SignedDuration::from_secs(300),
            last: false,
        }
    }

    /// One try.
    pub(crate) fn once(&self, act: Act) -> ActOutcome {
        self.hands.perform(&self.order(&self.task, act, 1))
    }

    /// Until it is no longer "not yet".
    pub(crate) fn act(&self, act: Act) -> ActOutcome {
        self.act_as(&self.hands, &self.task, act)
    }

    fn act_as(&self, hands: &SshHands, task: &Task, act: Act) -> ActOutcome {
        let mut outcome = ActOutcome::NotYet { why: String::new() };
        for attempt in 1..=PATIENCE {
            outcome = hands.perform(&self.order(task, act, attempt));
            if !matches!(outcome, ActOutcome::NotYet { .. }) {
                break;
            }
        }
        outcome
    }

    #[track_caller]
    pub(crate) fn done(&self, act: Act) -> Vec<String> {
        match self.act(act) {
            ActOutcome::Done { seen } => seen,
            other => panic!(
                "{} {}: {} ended {other:?}",
                self.host,
                self.family,
                act.name()
            ),
        }
    }

    #[track_caller]
    pub(crate) fn already(&self, act: Act) {
        match self.act(act) {
            ActOutcome::AlreadyDone { .. } => {}
            other => panic!(
                "{} {}: {} ended {other:?}",
                self.host,
                self.family,
                act.name()
            ),
        }
    }

    /// Fails in one way; gives the detail.
    #[track_caller]
    pub(crate) fn fails(&self, act: Act, kind: ActFailure) -> String {
        failed(self.act(act), act, kind)
    }

    #[track_caller]
    pub(crate) fn fails_as(&self, hands: &SshHands, task: &Task, act: Act, kind: ActFailure) {
        failed(self.act_as(hands, task, act), act, kind);
    }

    /// Hands of somebody else.
    pub(crate) fn hands_of(&self, controller: &str) -> SshHands {
        hands(self.lab, controller, None)
    }

    /// Logs in as somebody else meanwhile.
    pub(crate) fn as_user<T>(&mut self, user: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let own = std::mem::replace(
            &mut self.hands,
            hands(self.lab, "the-controller", Some(user)),
        );
        let result = work(self);
        self.hands = own;
        result
    }

    /// Runs a script inside the host, entered by its namespaces.
    #[track_caller]
    pub(crate) fn inside(&self, script: &str) {
        // Into a file: a daemon it starts would hold a pipe of ours open.
        let logged = format!("set -eu\nexec >/lab/step.log 2>&1\n{script}");
        let status = self
            .lab
            .inside(&self.host, &["sh", "-c", &logged])
            .unwrap()
            .stdin(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            let mut log = self
                .lab
                .inside(&self.host, &["cat", "/lab/step.log"])
                .unwrap();
            let log = log.output().unwrap().stdout;
            let log = String::from_utf8_lossy(&log);
            panic!("{}: {script} ended with {status}:\n{log}", self.host);
        }
    }

    /// Whether a script inside the host ends well.
    pub(crate) fn holds(&self, script: &str) -> bool {
        self.lab
            .inside(&self.host, &["sh", "-c", script])
            .unwrap()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// The old versions, as a person would bring them back; `after` names the plan before.
    pub(crate) fn back_to_old(&self, after: &str) {
        let wanted: Vec<String> = self
            .packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.from))
            .collect();
        self.inside(&format!(
            "apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y --allow-downgrades install {}; \
             sh /lab/family stop; sh /lab/family start",
            wanted.join(" ")
        ));
        self.step(&format!("back to the old versions after {after}"));
    }

    /// Nothing of ours is left on the host.
    pub(crate) fn state_is_gone(&self) -> bool {
        self.holds(
            "test ! -e /run/mailkeep/lease && test -z \"$(ls /var/lib/mailkeep/rollout)\" && \
             test ! -e /etc/postfix/mailkeep-drain.cidr && ! nft list table inet mailkeep 2>/dev/null && \
             ! grep -qs Mailkeep /usr/sbin/policy-rc.d",
        )
    }

    pub(crate) fn address(&self) -> String {
        self.lab.host(&self.host).unwrap().address.to_string()
    }

    /// Whether port 25 greets the controller.
    pub(crate) fn answers_the_controller(&self) -> bool {
        let mut greet = self.lab.controller("perl");
        greet.args([
            "-MIO::Socket::INET",
            "-e",
            "alarm 20; my $s = IO::Socket::INET->new(\"$ARGV[0]:25\") or exit 1; exit(<$s> !~ /^220/)",
            &self.address(),
        ]);
        greet.status().unwrap().success()
    }

    /// Cuts the host's power once the act has written that it begins.
    pub(crate) fn cut_power_in(&self, act: Act) {
        let mut order = self.order(&self.task, act, 1);
        order.limit = SignedDuration::from_secs(15);
        let marker = format!(
            "until test -e /var/lib/mailkeep/rollout/{}/patching; do :; done",
            self.task.id
        );
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| self.hands.perform(&order));
            assert!(self.holds(&marker));
            self.lab.kill(&self.host).unwrap();
            let outcome = acting.join().unwrap();
            assert!(
                matches!(
                    outcome,
                    ActOutcome::Failed {
                        kind: ActFailure::Unreachable,
                        ..
                    }
                ),
                "{outcome:?}"
            );
        });
    }

    /// By hand, outside any plan.
    pub(crate) fn isolated_and_back(&self, stranger: &str) {
        let limit = Duration::from_mins(1);
        let name = self.name();
        let connects = || {
            let address = self.address();
            let script = "exit !IO::Socket::INET->new(\"$ARGV[0]:25\")";
            self.lab
                .inside(
                    stranger,
                    &["perl", "-MIO::Socket::INET", "-e", script, &address],
                )
                .unwrap()
                .status()
                .unwrap()
                .success()
        };
        let is_done = |outcome| matches!(outcome, ActOutcome::Done { .. });
        let was_done = |outcome| matches!(outcome, ActOutcome::AlreadyDone { .. });
        assert!(connects());
        assert!(is_done(self.hands.isolate(&name, limit)));
        assert!(was_done(self.hands.isolate(&name, limit)));
        assert!(!connects() && !self.answers_the_controller());
        assert!(is_done(self.hands.end_isolation(&name, limit)));
        assert!(was_done(self.hands.end_isolation(&name, limit)));
        assert!(connects());
        self.step("isolated by hand, and released");
    }

    /// Makes this front end serve one host.
    pub(crate) fn serves(&self, server: &Self) {
        self.inside(&format!(
            "echo '{} {}:25' >/lab/servers; sh /lab/family stop; sh /lab/family start",
            server.host,
            server.address()
        ));
    }
}

#[track_caller]
fn failed(outcome: ActOutcome, act: Act, wanted: ActFailure) -> String {
    match outcome {
        ActOutcome::Failed { kind, detail } if kind == wanted => detail,
        other => panic!("{} ended {other:?}, not {}", act.name(), wanted.name()),
    }
}

/// Hands in the lab: their `ssh` runs where the hosts can be reached.
fn hands(lab: &Lab, controller: &str, user: Option<&str>) -> SshHands {
    let inner = lab.controller(lab.root().join("bin/ssh"));
    let mut words = vec![inner.get_program().to_string_lossy().into_owned()];
    words.extend(
        inner
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    // Written whole under another name first: several threads may be here at once.
    let program = lab.root().join("ssh-to-hosts");
    let partial = lab
        .root()
        .join(format!("ssh-to-hosts.{:?}", std::thread::current().id()));
    std::fs::write(
        &partial,
        format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
    )
    .unwrap();
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&partial, &program).unwrap();
    let mut fleet = Fleet::default();
    for host in lab.hosts().unwrap() {
        let access = Access {
            user: user.map(str::to_owned),
            ..Access::default()
        };
        fleet.hosts.insert(
            HostName::new(&host.name).unwrap(),
            Host {
                access,
                ..Host::default()
            },
        );
    }
    let ssh = SshOptions {
        program,
        ..SshOptions::default()
    };
    SshHands::new(controller, &fleet).unwrap().with_ssh(ssh)
}

/// A plan with one step.
fn plan(host: &str, family: Family, packages: Vec<PackageChange>, drain: Drain) -> Plan {
    let region = RegionName::new("europe").unwrap();
    let at = Timestamp::UNIX_EPOCH;
    let ports: BTreeSet<u16> = match family {
        Family::Dovecot => BTreeSet::from([25, 143]),
        Family::Cyrus => BTreeSet::from([24, 25, 143]),
        Family::Exim | Family::Haproxy | Family::Opensmtpd | Family::Postfix | Family::Sendmail => {
            BTreeSet::from([25])
        }
    };
    Plan {
        format: Plan::FORMAT,
        realm: Realm::Live,
        generation: 1,
        parent: None,
        made_at: at,
        tzdb: "2026a".to_owned(),
        lane: Lane::Regular,
        overriding: None,
        retries: BTreeSet::new(),
        bulletin: Vec::new(),
        title: String::new(),
        policy: RolloutPolicy::default(),
        regions: BTreeMap::new(),
        services: BTreeMap::new(),
        out_of_service: BTreeSet::new(),
        variants: vec![Variant {
            family: family.name().to_owned(),
            platform: "Debian".to_owned(),
            packages,
            recipe: None,
            whole_cluster: false,
            mitigates: BTreeMap::new(),
        }],
        waves: vec![Wave {
            region: region.clone(),
            stage: Stage::Test,
            start: at,
            end: at,
            window: None,
        }],
        steps: vec![PlanStep {
            host: HostName::new(host).unwrap(),
            region,
            owner: None,
            wave: 0,
            variant: 0,
            start: at,
            end: at,
            services: BTreeSet::new(),
            drain,
            precheck: Precheck {
                facts_as_of: at,
                free_mib: 50,
            },
            proof: Proof {
                ports,
                probes: BTreeSet::new(),
            },
            after: BTreeSet::new(),
            risk: 1,
            deadline: None,
        }],
    }
}

/// Numbered messages, one after another; what a server did not take is not sent again, as a sender would
/// keep it.
pub(crate) struct Load<'a> {
    lab: &'a Lab,
    to: String,
    child: Child,
    stdin: Option<ChildStdin>,
    counts: Arc<(Mutex<Counts>, Condvar)>,
}

#[derive(Default)]
struct Counts {
    accepted: Vec<u64>,
    refused: u64,
    ended: bool,
}

/// `ok N` for each message that was taken, `no N` for each that was not; ends with its standard input.
const SENDER: &str = r#"
    use strict; use IO::Socket::INET; $| = 1; $SIG{PIPE} = "IGNORE";
    my ($address, $to) = @ARGV;
    my $n = 0;
    while (1) {
        my $bits = ""; vec($bits, 0, 1) = 1;
        last if select($bits, undef, undef, 0.1) && !sysread(STDIN, my $none, 1);
        $n++;
        print attempt($n) ? "ok $n\n" : "no $n\n";
    }
    sub attempt {
        my ($n) = @_;
        my $s = IO::Socket::INET->new(PeerAddr => "$address:25", Timeout => 10) or return 0;
        my $reply = sub {
            my $line;
            do { $line = <$s>; return 0 unless defined $line } while $line =~ /^\d{3}-/;
            return $line =~ /^[23]/;
        };
        return 0 unless $reply->();
        for my $say ("EHLO stranger.lab.test", "MAIL FROM:<probe\@$to>", "RCPT TO:<probe\@$to>", "DATA") {
            print $s "$say\r\n"; return 0 unless $reply->();
        }
        print $s "From: <probe\@$to>\r\nTo: <probe\@$to>\r\nSubject: load\r\nX-Load: $n\r\n\r\n$n\r\n.\r\n";
        return 0 unless $reply->();
        print $s "QUIT\r\n"; $reply->();
        return 1;
    }"#;

impl<'a> Load<'a> {
    /// From another host to this one.
    pub(crate) fn start(bed: &Bed<'a>, from: &str) -> Self {
        let (address, to) = (bed.address(), format!("{}.lab.test", bed.host));
        let sender = bed
            .lab
            .inside(from, &["perl", "-e", SENDER, &address, &to])
            .unwrap();
        Self::run(bed.lab, &bed.host, sender)
    }

    /// From the controller to a host behind a front end.
    pub(crate) fn through(front: &Bed<'a>, server: &Bed<'a>) -> Self {
        let mut sender = front.lab.controller("perl");
        sender.args(["-e", SENDER, &front.address()]);
        sender.arg(format!("{}.lab.test", server.host));
        Self::run(front.lab, &server.host, sender)
    }

    fn run(lab: &'a Lab, to: &str, mut sender: Command) -> Self {
        let mut child = sender
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let counts = Arc::<(Mutex<Counts>, Condvar)>::default();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = Arc::clone(&counts);
        std::thread::spawn(move || {
            for line in lines {
                let line = line.unwrap_or_default();
                let mut counts = told.0.lock().unwrap();
                match line.split_once(' ') {
                    Some(("ok", n)) => counts.accepted.push(n.parse().unwrap()),
                    _ => counts.refused += 1,
                }
                told.1.notify_all();
            }
            told.0.lock().unwrap().ended = true;
            told.1.notify_all();
        });
        Self {
            lab,
            to: to.to_owned(),
            stdin: child.stdin.take(),
            child,
            counts,
        }
    }

    #[track_caller]
    fn wait(&self, what: &str, mut until: impl FnMut(&Counts) -> bool) {
        let limit = Instant::now() + Duration::from_mins(1);
        let mut counts = self.counts.0.lock().unwrap();
        while !until(&counts) {
            assert!(
                !counts.ended && Instant::now() < limit,
                "{}: {what} (accepted {}, refused {})",
                self.to,
                counts.accepted.len(),
                counts.refused
            );
            let left = Duration::from_secs(1);
            counts = self.counts.1.wait_timeout(counts, left).unwrap().0;
        }
    }

    /// So many more messages are taken.
    #[track_caller]
    pub(crate) fn has_sent(&self, more: usize) {
        let mut before = None;
        self.wait("no more mail is taken", |counts| {
            counts.accepted.len() >= *before.get_or_insert(counts.accepted.len()) + more
        });
    }

    /// Messages are not taken.
    #[track_caller]
    pub(crate) fn is_refused(&self) {
        let mut before = None;
        self.wait("mail is still taken", |counts| {
            counts.refused >= *before.get_or_insert(counts.refused) + 2
        });
    }

    /// Ends, and counts: how many were taken, which of them are in no mailbox, and how many are there
    /// more than once.
    pub(crate) fn ledger(mut self) -> (usize, Vec<u64>, usize) {
        self.stdin.take();
        self.child.wait().unwrap();
        self.wait("the sender does not end", |counts| counts.ended);
        let accepted = std::mem::take(&mut self.counts.0.lock().unwrap().accepted);
        let limit = Instant::now() + Duration::from_secs(90);
        loop {
            let found = self.found();
            let lost: Vec<u64> = accepted
                .iter()
                .filter(|n| !found.contains_key(n))
                .copied()
                .collect();
            if lost.is_empty() || Instant::now() > limit {
                let more = found.values().filter(|times| **times > 1).count();
                return (accepted.len(), lost, more);
            }
        }
    }

    /// How often each message is in the mailbox.
    fn found(&self) -> BTreeMap<u64, usize> {
        let script = "grep -rhaE '^X-Load: [0-9]+' /var/mail/probe /home/probe/Maildir/new \
                      /home/probe/Maildir/cur /var/spool/cyrus/mail 2>/dev/null";
        let output = self
            .lab
            .inside(&self.to, &["sh", "-c", script])
            .unwrap()
            .output()
            .unwrap();
        let mut found = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(n) = line.strip_prefix("X-Load: ") {
                *found.entry(n.trim().parse().unwrap()).or_insert(0) += 1;
            }
        }
        found
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.stdin.take();
    }
}
