//! Virtual patches: the bundle in force, how it comes into force, and what its rules did.
//!
//! Entry: [`Patches`]. Without a bundle of a site's own, the one that comes with the program is in force. A bundle that
//! is refused changes nothing. One that expires while it is in force stays so, and that is told: whoever asks must not
//! count on it.
//!
//! # Security
//!
//! A bundle says what is refused, so that whoever writes one can stop mail. It counts only with a signature by one
//! of those in `bundle_signers`; that file, and the configuration that names it, must be nobody else's to write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use mailkeep_inspect::rules::{
    AllowedSigners, Bundle, BundleError, Closes, Compiled, Held, MAX_BYTES, PatchRule, Signer,
    Stage, admit, builtin,
};
use mailkeep_inspect::{Reason, Verdict};
use mailkeep_model::{BundleRefusal, BundleState, Covering};
use mailkeep_wire::{EnhancedCode, Reply};
use serde_json::{Value, json};
use thiserror::Error;

use crate::server::Shared;
use crate::veto::{CommandLine, CommandVeto, Veto};

/// How often a bundle's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a bundle that lies there may wait for its signature, which is written after it, until it is said to be refused.
const SIGNING: Duration = Duration::from_mins(1);
/// Packages of mail servers that ask milters. They have read a message before they ask.
const ASKS_MILTERS: [&str; 2] = ["postfix", "sendmail"];
/// Octets of a signature or a list of signers.
const MAX_TEXT: usize = 1 << 20;

/// Where a site's own bundle lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The bundle; its signature lies beside it, with `.sig` behind the name.
    pub(crate) bundle: PathBuf,
    /// Who may sign it.
    pub(crate) signers: PathBuf,
    /// What is remembered over a restart of the bundle that was taken last; without it an older one would be taken then.
    pub(crate) state: Option<PathBuf>,
}

/// Why a bundle did not come into force.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// A file.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The bundle.
    #[error("the bundle {} is not taken", .0.display())]
    Bundle(PathBuf, #[source] BundleError),
}

impl Refused {
    /// The stable name.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Read(..) => "read",
            Self::Bundle(_, error) => error.kind(),
        }
    }

    /// Whether it lacks a signature that counts.
    fn is_of_signature(&self) -> bool {
        match self {
            Self::Read(path, _) => path.extension().is_some_and(|ending| ending == "sig"),
            Self::Bundle(_, error) => error.kind() == "signature",
        }
    }

    fn chain(&self) -> String {
        let mut words = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            words.push_str(": ");
            words.push_str(&error.to_string());
            source = error.source();
        }
        words
    }
}

/// What is in force.
#[derive(Debug)]
pub(crate) struct InForce {
    /// The bundle.
    pub(crate) bundle: Bundle,
    /// Its signatures.
    pub(crate) compiled: Compiled,
    /// Who signed it; nobody: it came with the program.
    pub(crate) signer: Option<Signer>,
    since: Timestamp,
}

/// The bundle in force, and what its rules did.
#[derive(Debug)]
pub(crate) struct Patches {
    shield: String,
    /// Where a site's own bundle lies.
    source: RwLock<Option<Source>>,
    in_force: RwLock<Arc<InForce>>,
    /// The site's own bundle that was taken last. Locked while one is loaded: of two at a time the older could come
    /// into force behind the newer.
    taken: Mutex<Option<Held>>,
    /// By rule: refused, and only told.
    counts: Mutex<BTreeMap<String, (u64, u64)>>,
    loads: Mutex<Loads>,
}

#[derive(Debug, Default)]
struct Loads {
    loaded: u64,
    refused: u64,
    /// When, what kind, and in words.
    last_refused: Option<(Timestamp, &'static str, String)>,
    told_expired: bool,
    /// The files that were looked at last.
    looked_at: Option<Stamp>,
}

/// Times and sizes of a bundle's files, to see that they changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(SystemTime, u64)>>);

impl Stamp {
    /// As they are now.
    pub(crate) fn of(source: &Source) -> Self {
        let signature = signature_of(&source.bundle);
        let files = [&source.bundle, &signature, &source.signers];
        let stamps = files.into_iter().map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        });
        Self(stamps.collect())
    }

    /// Whether the bundle is newer than its signature.
    fn lacks_signature(&self) -> bool {
        let changed = |nth: usize| Some(self.0.get(nth)?.as_ref()?.0);
        changed(0) > changed(1)
    }
}

impl Patches {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// Never; a test of theirs holds them to that.
    pub(crate) fn new(shield: &str, now: Timestamp) -> Result<Self, BundleError> {
        let bundle = builtin()?;
        let compiled = Compiled::new(&bundle)?;
        Ok(Self {
            shield: shield.to_owned(),
            source: RwLock::new(None),
            in_force: RwLock::new(Arc::new(InForce {
                bundle,
                compiled,
                signer: None,
                since: now,
            })),
            taken: Mutex::new(None),
            counts: Mutex::new(BTreeMap::new()),
            loads: Mutex::new(Loads::default()),
        })
    }

    /// What is in force now.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        let held = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    /// Where a site's own bundle lies from now on.
    pub(crate) fn set_source(&self, source: Option<Source>) {
        *self.source.write().unwrap_or_else(PoisonError::into_inner) = source;
    }

    /// Where a site's own bundle lies.
    pub(crate) fn source(&self) -> Option<Source> {
        let source = self.source.read();
        source.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings a site's own bundle into force; if it is refused, what was stays. `true`: it is another than before.
    /// What else somebody should know is put to `problems`, by the event's name. `seen`: for how long the files have been
    /// as they are; one that may yet be signed is looked at again, and not refused. Nothing: somebody asks now. Blocks.
    pub(crate) fn load(
        &self,
        source: &Source,
        now: Timestamp,
        seen: Option<Duration>,
        problems: &mut Vec<(&'static str, String)>,
    ) -> Result<bool, Refused> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is looked at again.
        let stamp = Stamp::of(source);
        let loaded = self.admitted(source, now, &mut taken, problems);
        let unsigned = loaded.as_ref().is_err_and(Refused::is_of_signature);
        let may_be_signed = || stamp.lacks_signature() && seen.is_some_and(|seen| seen < SIGNING);
        // Another bundle came before the one that was looked at was read.
        let changes = || seen.is_some() && Stamp::of(source) != stamp;
        if unsigned && (may_be_signed() || changes()) {
            // Told once, by the look that counts.
            problems.clear();
            return Ok(false);
        }
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.looked_at = Some(stamp);
        match loaded {
            Ok(Some(fresh)) => {
                loads.loaded += 1;
                loads.told_expired = false;
                loads.last_refused = None;
                let mut held = self
                    .in_force
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *held = Arc::new(fresh);
                Ok(true)
            }
            Ok(None) => {
                loads.last_refused = None;
                Ok(false)
            }
            Err(refused) => {
                loads.refused += 1;
                loads.last_refused = Some((now, refused.kind(), refused.chain()));
                Err(refused)
            }
        }
    }

    /// What these files hold; nothing where it is in force already.
    fn admitted(
        &self,
        source: &Source,
        now: Timestamp,
        taken: &mut Option<Held>,
        problems: &mut Vec<(&'static str, String)>,
    ) -> Result<Option<InForce>, Refused> {
        const STATE_FAILED: &str = "bundle-state-failed";
        if let (None, Some(path)) = (&taken, &source.state) {
            match remembered(path) {
                Ok(found) => *taken = found,
                Err(why) => problems.push((STATE_FAILED, why)),
            }
        }
        let text = read(&source.bundle, MAX_BYTES)?;
        let signature = read(&signature_of(&source.bundle), MAX_TEXT)?;
        let signers = read(&source.signers, MAX_TEXT)?;
        let (signers, unread) = AllowedSigners::read(&String::from_utf8_lossy(&signers));
        problems.extend(unread.into_iter().map(|why| {
            let why = format!("{}: {why}", source.signers.display());
            ("bundle-signer-unread", why)
        }));
        let admitted = admit(
            &text,
            &signature,
            &signers,
            Some(&self.shield),
            taken.as_ref(),
            now,
        )
        .map_err(|error| Refused::Bundle(source.bundle.clone(), error))?;
        let known = taken.as_ref() == Some(&admitted.held);
        if known && self.in_force().signer.is_some() {
            return Ok(None);
        }
        if !known {
            // What was taken is in force, even where it cannot be remembered: an old rule is worse than no memory.
            if let Some(Err(error)) = source
                .state
                .as_ref()
                .map(|path| remember(path, &admitted.held))
            {
                problems.push((STATE_FAILED, format!("it cannot be written: {error}")));
            }
            *taken = Some(admitted.held);
        }
        Ok(Some(InForce {
            bundle: admitted.bundle,
            compiled: admitted.compiled,
            signer: Some(admitted.signer),
            since: now,
        }))
    }

    /// Whether these files were looked at.
    fn has_looked_at(&self, stamp: &Stamp) -> bool {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.looked_at.as_ref() == Some(stamp)
    }

    /// Whether the bundle in force has expired since this was asked last.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        let held = self.in_force();
        let expired = held.signer.is_some() && held.bundle.expires <= now;
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        expired && !std::mem::replace(&mut loads.told_expired, expired)
    }

    /// What is told of the bundle in force when it comes into force.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Value)> {
        let held = self.in_force();
        let signer = held.signer.as_ref();
        vec![
            ("bundle", json!(held.bundle.id)),
            ("version", json!(held.bundle.version)),
            ("made", json!(held.bundle.made)),
            ("expires", json!(held.bundle.expires)),
            ("signer", json!(signer.map(|signer| &signer.principal))),
            ("key", json!(signer.map(|signer| &signer.key))),
            ("rules", json!(held.bundle.in_force().count())),
            ("signatures", json!(held.compiled.count())),
        ]
    }

    /// Counts what a rule said.
    pub(crate) fn count(&self, reason: &Reason) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (refused, told) = counts.entry(reason.rule.to_string()).or_default();
        if reason.verdict == Verdict::Accept {
            *told += 1;
        } else {
            *refused += 1;
        }
    }

    /// The state, for `mailkeep` and for people. `refuses` tells of a rule of the shield's own, by name, whether it
    /// refuses everywhere.
    pub(crate) fn status(&self, sees: Sees, refuses: impl Fn(&str) -> bool) -> BundleState {
        let held = self.in_force();
        let (mut enforced, mut monitored) = (Vec::new(), Vec::new());
        for rule in held.bundle.in_force() {
            if is_effective(rule, sees, &refuses) {
                enforced.push(Covering {
                    rule: rule.name.clone(),
                    holes: rule.cves.iter().chain(&rule.aliases).cloned().collect(),
                    packages: rule.packages.clone(),
                });
            } else if !rule.is_patch_only() {
                monitored.push(rule.name.clone());
            }
        }
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let last = loads.last_refused.as_ref();
        let signer = held.signer.as_ref();
        BundleState {
            id: held.bundle.id.clone(),
            version: held.bundle.version,
            made: Some(held.bundle.made),
            expires: held.bundle.expires,
            since: Some(held.since),
            built_in: signer.is_none(),
            signer: signer.map(|signer| signer.principal.clone()),
            key: signer.map(|signer| signer.key.clone()),
            enforced,
            monitored,
            refused: last.map(|(at, kind, why)| BundleRefusal {
                at: *at,
                kind: (*kind).to_owned(),
                why: why.clone(),
            }),
        }
    }

    /// Counters in the Prometheus text form.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let mut text = String::new();
        let held = self.in_force();
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.as_second() - held.bundle.made.as_second();
        let left = held.bundle.expires.as_second() - now.as_second();
        for (name, kind, help, value) in [
            (
                "bundle_age_seconds",
                "gauge",
                "Seconds since the bundle in force was made.",
                age,
            ),
            (
                "bundle_expires_seconds",
                "gauge",
                "Seconds until it expires.",
                left,
            ),
            (
                "bundle_rules",
                "gauge",
                "Rules in force.",
                i64::try_from(held.bundle.in_force().count()).unwrap_or(i64::MAX),
            ),
            (
                "bundle_loads_total",
                "counter",
                "Bundles that came into force.",
                loads.loaded.cast_signed(),
            ),
            (
                "bundle_refusals_total",
                "counter",
                "Bundles that were refused.",
                loads.refused.cast_signed(),
            ),
        ] {
            writeln!(text, "# HELP mailkeep_shield_{name} {help}").ok();
            writeln!(text, "# TYPE mailkeep_shield_{name} {kind}").ok();
            writeln!(text, "mailkeep_shield_{name} {value}").ok();
        }
        let name = "mailkeep_shield_patch_total";
        writeln!(text, "# HELP {name} How often each virtual patch applied.").ok();
        writeln!(text, "# TYPE {name} counter").ok();
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (rule, (refused, monitored)) in &*counts {
            for (action, value) in [("refuse", refused), ("monitor", monitored)] {
                writeln!(
                    text,
                    "{name}{{rule=\"{rule}\",action=\"{action}\"}} {value}"
                )
                .ok();
            }
        }
        text
    }
}

/// What of the mail this shield sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sees {
    /// All SMTP of strangers ends here. A milter sees none of it, and of a shield that is both nobody can say which
    /// server is behind which.
    pub(crate) wire: bool,
    /// Every message is looked into.
    pub(crate) content: bool,
}

/// Whether a rule in force closes its hole: by its own condition, by what the shield is, or by rules of the shield that
/// all refuse; each only where the shield sees what it is about, and before the server does that has the hole.
fn is_effective(rule: &PatchRule, sees: Sees, refuses: impl Fn(&str) -> bool) -> bool {
    if !sees.wire
        && rule
            .packages
            .iter()
            .any(|own| ASKS_MILTERS.contains(&&**own))
    {
        return false;
    }
    let shows = |stage| match stage {
        Stage::Hdr | Stage::Mime => sees.content,
        _ => sees.wire,
    };
    let tests = || rule.when.iter().flat_map(|test| &test.subjects);
    let by_condition = rule.is_signature() && tests().all(|subject| shows(subject.stage()));
    let is_content = rule.closes.contains(&Closes::Content);
    let by_design =
        rule.closes.contains(&Closes::Design) && sees.wire && (sees.content || !is_content);
    let by_others = !rule.by.is_empty() || by_design;
    rule.is_enforced() && (by_condition || by_others && rule.by.iter().all(|name| refuses(name)))
}

impl CommandVeto for Patches {
    fn veto(&self, line: &CommandLine<'_>) -> Option<Veto> {
        let held = self.in_force();
        let reasons = held.compiled.command(line.line);
        for reason in &reasons {
            self.count(reason);
        }
        // Of equals the first one.
        let strongest = reasons
            .into_iter()
            .min_by_key(|reason| std::cmp::Reverse(reason.verdict))?;
        Some(Veto {
            reply: Reply::new(550, EnhancedCode::new(5, 7, 1), &strongest.text),
            refuses: strongest.verdict != Verdict::Accept,
            rule: strongest.rule.into_owned(),
            closes: false,
        })
    }
}

/// Brings the site's own bundle into force, where there is one, and tells of it. Blocks: its rules are held to their
/// self-tests. `seen`: see [`Patches::load`].
pub(crate) fn load(shared: &Shared, seen: Option<Duration>) {
    let Some(source) = shared.patches.source() else {
        return;
    };
    let mut problems = Vec::new();
    let loaded = shared
        .patches
        .load(&source, Timestamp::now(), seen, &mut problems);
    for (event, why) in problems {
        shared.log.line(event, &[("why", json!(why))]);
    }
    match loaded {
        Ok(true) => shared.log.line("bundle-loaded", &shared.patches.fields()),
        Ok(false) => {}
        Err(refused) => {
            let fields = [
                ("why", json!(refused.kind())),
                ("what", json!(refused.chain())),
                ("in_force", json!(shared.patches.in_force().bundle.id)),
            ];
            shared.log.line("bundle-refused", &fields);
        }
    }
}

/// Looks whether the bundle's files changed, and brings them into force once they have come to rest: a bundle and its
/// signature are two files.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut before = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looking = Arc::clone(&shared);
        let look = tokio::task::spawn_blocking(move || look(&looking, before));
        before = look.await.ok().flatten();
        if shared.patches.has_expired(Timestamp::now()) {
            shared.log.line("bundle-expired", &shared.patches.fields());
        }
    }
}

/// Loads what has come to rest since it was looked at before. Gives the files, and when they were first seen so.
fn look(shared: &Shared, before: Option<(Stamp, Instant)>) -> Option<(Stamp, Instant)> {
    let found = Stamp::of(&shared.patches.source()?);
    let Some((_, since)) = before.filter(|(before, _)| *before == found) else {
        return Some((found, Instant::now()));
    };
    if !shared.patches.has_looked_at(&found) {
        load(shared, Some(since.elapsed()));
    }
    Some((found, since))
}

/// What was taken last; nothing where none was.
fn remembered(path: &Path) -> Result<Option<Held>, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let held = Held::read(&text);
    held.map(Some)
        .map_err(|error| format!("{} is not what the shield wrote: {error}", path.display()))
}

fn remember(path: &Path, held: &Held) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(held.to_text().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn signature_of(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, Refused> {
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut octets))
        .map_err(|error| Refused::Read(path.to_owned(), error))?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use mailkeep_inspect::{danger, message_rules};
    use mailkeep_wire::Rule;

    use super::*;

    #[test]
    fn what_the_catalogue_relies_on_is_there() {
        for rule in builtin().unwrap().rules {
            for name in &rule.by {
                let known = Rule::named(name).is_some()
                    || message_rules::RULES.iter().any(|known| known.name == name)
                    || danger::RULES.iter().any(|known| known.name == name);
                assert!(known, "{} is closed by {name}, which is no rule", rule.name);
            }
        }
    }

    #[test]
    fn a_bundle_is_not_refused_while_it_may_yet_be_signed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let source = Source {
            bundle: path("bundle.toml"),
            signers: path("signers"),
            state: None,
        };
        for name in ["bundle.toml.sig", "signers", "bundle.toml"] {
            std::fs::write(path(name), "x").unwrap();
        }
        let now = Timestamp::now();
        let changed = |name: &str, second: i64| {
            let at = SystemTime::from(now - jiff::SignedDuration::from_secs(second));
            File::options()
                .write(true)
                .open(path(name))
                .unwrap()
                .set_modified(at)
                .unwrap();
        };
        let patches = Patches::new("shield.example", now).unwrap();
        let load = |seen: Option<u64>| {
            let seen = seen.map(Duration::from_secs);
            let loaded = patches.load(&source, now, seen, &mut Vec::new());
            loaded.map_err(|refused| refused.kind())
        };
        // The signature is that of the bundle before; both were brought with their times.
        changed("bundle.toml.sig", 6000);
        changed("bundle.toml", 500);
        assert_eq!(load(Some(5)), Ok(false));
        assert!(
            !patches.has_looked_at(&Stamp::of(&source)),
            "it is looked at again"
        );
        // Who asks is told.
        assert_eq!(load(None), Err("signature"));
        // It does not come any more; it is there, and does not count.
        assert_eq!(load(Some(61)), Err("signature"));
        changed("bundle.toml.sig", 500);
        assert_eq!(load(Some(5)), Err("signature"));
        std::fs::remove_file(path("bundle.toml.sig")).unwrap();
        assert_eq!(load(Some(5)), Ok(false));
        assert_eq!(load(None), Err("read"));
    }

    #[test]
    fn a_rule_that_relies_on_others_covers_only_while_they_all_refuse() {
        let bundle = builtin().unwrap();
        let rule = |name: &str| {
            let found = bundle.rules.iter().find(|rule| rule.name == name);
            found.unwrap()
        };
        let all = Sees {
            wire: true,
            content: true,
        };
        let smuggling = rule("postfix-smuggling");
        assert!(is_effective(smuggling, all, |_| true));
        assert!(!is_effective(smuggling, all, |name| name != "bare-lf-in-content"));
        // By its own condition.
        assert!(is_effective(rule("opensmtpd-sender-shell"), all, |_| false));
        assert!(is_effective(rule("sendmail-crackaddr"), all, |_| false));
        // By what the shield is.
        assert!(is_effective(rule("exim-sni-backslash"), all, |_| false));
        assert!(!is_effective(rule("exim-recipient-expansion"), all, |_| {
            true
        }));
        assert!(!is_effective(rule("exim-dnsdb-overread"), all, |_| true));
        // Where nobody looks into messages, or the shield is a milter.
        let blind = Sees {
            content: false,
            ..all
        };
        assert!(!is_effective(rule("sendmail-crackaddr"), blind, |_| false));
        let milter = Sees { wire: false, ..all };
        assert!(is_effective(rule("roundcube-feimage"), milter, |_| false));
        // Sendmail has read the header when it asks.
        for name in [
            "opensmtpd-sender-shell",
            "exim-sni-backslash",
            "sendmail-crackaddr",
        ] {
            assert!(!is_effective(rule(name), milter, |_| false), "{name}");
        }
    }
}
