//! `mailkeep shield bundle build`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::ToSpan as _;
use mailkeep_inspect::rules::{Bundle, State, builtin};
use mailkeep_model::Timestamp;

use crate::app::{App, write_whole};
use crate::cli::shield::BuildArgs;
use crate::commands::Done;

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
    bail!("name a file with --all")
}

fn set_state(catalogue: &mut Bundle, name: &str, state: State) -> anyhow::Result<()> {
    let Some(rule) = catalogue.rules.iter_mut().find(|rule| rule.name == name) else {
        bail!("there is no rule {name:?}; `mailkeep shield rules` lists them");
    };
    if rule.is_patch_only() {
        bail!("nothing on the wire closes {name:?}: only the patch does");
    }
    if state == State::Enforce && !rule.is_signature() && rule.by.is_empty() {
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
