//! `mailkeep shield bundle build`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::ToSpan as _;
use mailkeep_inspect::rules::{Bundle, Closes, MAX_BYTES, PatchRule, State, builtin};
use mailkeep_model::text::printable;
use mailkeep_model::{Finding, HostName, HostStatus, Timestamp};

use crate::answer::Answer;
use crate::app::{App, write_whole};
use crate::cli::Scope;
use crate::cli::shield::BuildArgs;
use crate::commands::shield::is_for;
use crate::commands::{Done, check};
use crate::fleet::ShieldSettings;

/// Runs it.
pub(super) fn run(app: &App, args: &BuildArgs) -> anyhow::Result<Done> {
    let mut catalogue = builtin().context("the built-in bundle cannot be used")?;
    for (names, state) in [
        (&args.enforce, State::Enforce),
        (&args.monitor, State::Monitor),
    ] {
        for name in names {
            set_state(&mut catalogue, name, state)?;
        }
    }
    let expires = app
        .now
        .checked_add((i64::from(args.days) * 24).hours())
        .context("it expires too late")?;
    if let Some(path) = &args.all {
        let bundle = bundle(catalogue, "all".to_owned(), None, None, (app.now, expires))?;
        write(app, path, &bundle)?;
        return Ok(Done::Nothing);
    }
    let Some(fleet) = app.fleet(args.fleet.as_deref())? else {
        bail!(
            "there is no fleet file that says what is behind which shield; --all FILE needs none"
        );
    };
    let shields: Vec<&ShieldSettings> = fleet
        .file
        .shields
        .iter()
        .filter(|shield| args.shields.is_empty() || args.shields.contains(&shield.name))
        .collect();
    if let Some(name) = args
        .shields
        .iter()
        .find(|name| !shields.iter().any(|shield| shield.name == **name))
    {
        bail!("{} has no [[shield]] named {name:?}", fleet.path.display());
    }
    anyhow::ensure!(
        !shields.is_empty(),
        "{} has no [[shield]]: say which servers are behind which",
        fleet.path.display()
    );
    let guarded: BTreeSet<&HostName> = shields.iter().flat_map(|shield| &shield.guards).collect();
    let scope = Scope {
        fleet: Some(fleet.path.clone()),
        hosts: guarded.into_iter().cloned().collect(),
        ..Scope::default()
    };
    let answer = check::answer_unrecorded(app, &scope)?;
    let mut out = Vec::new();
    for shield in shields {
        let needed = Needed::of(&catalogue, shield, &answer);
        let path = args.into.join(format!("{}.toml", shield.name));
        let before = before(&path);
        needed.tell(shield, before.as_ref(), &mut out)?;
        let fresh = bundle(
            catalogue.clone(),
            id_of(&shield.name),
            Some(shield.name.clone()),
            Some(needed.rules.keys().map(|rule| (*rule).to_owned()).collect()),
            (app.now, expires),
        )?;
        match before {
            Some(before) if is_right_still(&before, &fresh) => {
                app.say(&format!("{} is right still.", path.display()));
            }
            _ => write(app, &path, &fresh)?,
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(Done::Nothing)
}

/// The rules that the servers behind a shield need now.
struct Needed<'a> {
    /// By rule: the holes, each on a host.
    rules: BTreeMap<&'a str, (&'a PatchRule, BTreeSet<String>)>,
    /// Holes that only the patch closes.
    patch_only: BTreeSet<String>,
    /// Servers of which it is not known what they need.
    unknown: BTreeSet<&'a HostName>,
}

impl<'a> Needed<'a> {
    fn of(catalogue: &'a Bundle, shield: &'a ShieldSettings, answer: &Answer) -> Self {
        let mut needed = Self {
            rules: BTreeMap::new(),
            patch_only: BTreeSet::new(),
            unknown: BTreeSet::new(),
        };
        let closing = || catalogue.rules.iter().filter(|rule| !rule.is_patch_only());
        for host in &shield.guards {
            let known = answer.hosts.iter().find(|known| known.name == *host);
            if known.is_none_or(|known| known.status == HostStatus::Unknown) {
                needed.unknown.insert(host);
                for rule in closing() {
                    needed
                        .rules
                        .entry(&rule.name)
                        .or_insert_with(|| (rule, BTreeSet::new()));
                }
            }
        }
        let behind = |finding: &&Finding| {
            shield.guards.contains(&finding.host) && finding.verdict.status.is_finding()
        };
        for finding in answer.findings.iter().filter(behind) {
            let verdict = &finding.verdict;
            let hole = format!("{} on {}", verdict.advisory, finding.host);
            for rule in catalogue.rules.iter().filter(|rule| is_for(rule, finding)) {
                if rule.is_patch_only() {
                    needed.patch_only.insert(hole.clone());
                } else {
                    let entry = needed.rules.entry(&rule.name);
                    let (_, holes) = entry.or_insert_with(|| (rule, BTreeSet::new()));
                    holes.insert(hole.clone());
                }
            }
        }
        needed
    }

    fn tell(
        &self,
        shield: &ShieldSettings,
        before: Option<&Bundle>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let servers = shield.guards.len();
        let plural = if servers == 1 { "" } else { "s" };
        writeln!(
            out,
            "shield {}: {} rules for {servers} server{plural}",
            printable(&shield.name),
            self.rules.len()
        )?;
        for host in &self.unknown {
            writeln!(
                out,
                "  it is not known what {host} needs (`mailkeep check --host {host}` says why): all rules"
            )?;
        }
        for (rule, holes) in self.rules.values() {
            if holes.is_empty() {
                continue;
            }
            let holes: Vec<&str> = holes.iter().map(String::as_str).collect();
            let state = match rule.state {
                Some(State::Enforce) => "enforce",
                _ => "monitor, covers nobody",
            };
            writeln!(
                out,
                "  {} ({state}): {}",
                rule.name,
                printable(&holes.join(", "))
            )?;
        }
        for hole in &self.patch_only {
            writeln!(out, "  nothing but the patch closes {}", printable(hole))?;
        }
        let selected = before.and_then(|before| before.selected.as_ref());
        for name in selected.into_iter().flatten() {
            if !self.rules.contains_key(name.as_str()) {
                writeln!(
                    out,
                    "  retired: {name}, which no server behind needs any more"
                )?;
            }
        }
        Ok(())
    }
}

/// What lies there from before, where that is a bundle.
fn before(path: &Path) -> Option<Bundle> {
    let text = super::read(path, MAX_BYTES).ok()?;
    Bundle::read(&text).ok()
}

/// Whether a bundle says what a fresh one would, and lasts for half its time still.
fn is_right_still(before: &Bundle, fresh: &Bundle) -> bool {
    let half = (fresh.expires.as_second() - fresh.made.as_second()) / 2;
    let same = Bundle {
        version: before.version,
        made: before.made,
        expires: before.expires,
        ..fresh.clone()
    };
    *before == same && before.expires.as_second() - fresh.made.as_second() >= half
}

/// A bundle's id, of a shield's name.
fn id_of(shield: &str) -> String {
    let plain: String = shield
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    format!("shield-{}", plain.trim_matches('-'))
}

fn set_state(catalogue: &mut Bundle, name: &str, state: State) -> anyhow::Result<()> {
    let Some(rule) = catalogue.rules.iter_mut().find(|rule| rule.name == name) else {
        bail!("there is no rule {name:?}; `mailkeep shield rules` lists them");
    };
    if rule.is_patch_only() {
        bail!("nothing on the wire closes {name:?}: only the patch does");
    }
    let is_closed = rule.is_signature() || rule.closes.contains(&Closes::Design);
    if state == State::Enforce && !is_closed && rule.by.is_empty() {
        bail!(
            "{name:?} has no condition of its own, and no rule of the shield to rely on: it cannot be enforced"
        );
    }
    rule.state = Some(state);
    Ok(())
}

/// A bundle of the catalogue's rules. Its version is the second it was made in, so that it grows.
fn bundle(
    catalogue: Bundle,
    id: String,
    shield: Option<String>,
    selected: Option<BTreeSet<String>>,
    (made, expires): (Timestamp, Timestamp),
) -> anyhow::Result<Bundle> {
    Ok(Bundle {
        id,
        version: u64::try_from(made.as_second()).context("--at is before 1970")?,
        made,
        expires,
        shield,
        selected,
        ..catalogue
    })
}

fn write(app: &App, path: &Path, bundle: &Bundle) -> anyhow::Result<()> {
    write_whole(path, bundle.to_text()?.as_bytes())
        .with_context(|| format!("cannot write the bundle to {}", path.display()))?;
    app.say(&format!(
        "Wrote {}; a shield takes it once it is signed: mailkeep shield bundle sign {} --key FILE",
        path.display(),
        path.display()
    ));
    Ok(())
}
