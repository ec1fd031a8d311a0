//! `mailkeep plan approve` and `approvals`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mailkeep_model::{Event, EventKind, RegionName, TeamName, text};
use mailkeep_reach::sign;
use mailkeep_store::{Approval, SqliteStore, Store};
use serde_json::json;

use super::super::Done;
use super::{fleet_of, make, report};
use crate::app::App;
use crate::cli::plan::{ApprovalsArgs, ApproveArgs};
use crate::planning::approval::{
    ApprovalState, NAMESPACE, digest_of, may_approve, state_of, text_to_sign, verify_one,
};
use crate::planning::drift;
use crate::planning::kept::{self, Kept};

/// Longest signature file read; one of the largest RSA key has four kibibytes.
const MAX_SIGNATURE: usize = 1 << 16;

/// Keys of `~/.ssh` in the order in which they are tried.
const KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// `plan approve`.
pub(super) fn run(app: &App, args: &ApproveArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let kept = kept::find(&store, &args.plan)?;
    let global = fleet.file.fleet.global_team.as_ref();
    // Who answers is for the fleet file to say, not for the plan that asks to be approved.
    if let Some(why) = drift::owners_changed(&kept.plan, &fleet.file.fleet).first() {
        App::warn(&format!("refused: {why}; make the plan again"));
        return Ok(Done::Findings);
    }
    let parts = parts(&kept, args, global)?;
    for part in &parts {
        if let Err(why) = may_approve(&kept.plan, part.as_ref(), &args.team, global) {
            App::warn(&format!("refused: {why}"));
            return Ok(Done::Findings);
        }
    }
    if args.print || args.signature.is_some() {
        let [part] = parts.as_slice() else {
            bail!(
                "{} answers for several regions here, and each is signed by itself: say which with \
                 --region",
                args.team
            );
        };
        if args.print {
            let text = text_of(&kept, part.as_ref());
            io::stdout().lock().write_all(text.as_bytes())?;
            return Ok(Done::Nothing);
        }
    }
    let Some(allowed) = &fleet.file.approvals.allowed_signers else {
        bail!(
            "{} names no file with the teams' keys; add [approvals] allowed_signers = \"...\" \
             (ssh-keygen(1), ALLOWED SIGNERS; the principals are team names)",
            fleet.path.display()
        );
    };
    let allowed = fleet.resolve(allowed);
    anyhow::ensure!(
        allowed.is_file(),
        "there is no file {} with the teams' keys",
        allowed.display()
    );
    let broken = mailkeep_plan::check(&kept.plan);
    if let Some(breach) = broken.iter().find(|breach| breach.is_broken()) {
        App::warn(&format!("refused: the plan breaks a rule: {breach}"));
        return Ok(Done::Findings);
    }
    // One that was made elsewhere and handed over as a file.
    if store.plan(&kept.id)?.is_none() {
        make::record(app, &mut store, kept.plan.clone(), None, true, None)?;
    }
    let key = match (&args.signature, &args.key) {
        (Some(_), _) => None,
        (None, Some(key)) => Some(key.clone()),
        (None, None) => Some(own_key(app)?),
    };
    for part in parts {
        let signature = match (&args.signature, &key) {
            (Some(file), _) => read_signature(file)?,
            (None, Some(key)) => {
                let text = text_of(&kept, part.as_ref());
                sign::sign(key, NAMESPACE, text.as_bytes())
                    .with_context(|| format!("{} is not approved", report::part(part.as_ref())))?
            }
            (None, None) => bail!("there is no key to sign with"),
        };
        let approval = Approval {
            plan: kept.id.clone(),
            digest: digest_of(&kept.plan, &kept.id, part.as_ref()),
            region: part,
            team: args.team.clone(),
            signature,
            at: app.now,
        };
        match verify_one(&kept, &approval, &allowed)? {
            Ok(key) => keep(app, &mut store, &kept, &approval, &key)?,
            Err(why) => {
                App::warn(&format!(
                    "refused: {} by {}: {why}; is this key in {} for that team?",
                    report::part(approval.region.as_ref()),
                    approval.team,
                    allowed.display()
                ));
                return Ok(Done::Findings);
            }
        }
    }
    let state = state_of(&store, &fleet, &kept)?;
    if state.is_approved() {
        app.say("The plan is approved: it may run.");
    } else {
        app.say(&format!("Still waits for: {}", state.missing_in_words()));
    }
    Ok(Done::Nothing)
}

/// What a team signs when it does not say: for the global team the whole, else each region of its own.
fn parts(
    kept: &Kept,
    args: &ApproveArgs,
    global: Option<&TeamName>,
) -> anyhow::Result<Vec<Option<RegionName>>> {
    if let Some(region) = &args.region {
        return Ok(vec![Some(region.clone())]);
    }
    if global == Some(&args.team) {
        return Ok(vec![None]);
    }
    let with_steps: BTreeSet<&RegionName> = kept.plan.steps.iter().map(|s| &s.region).collect();
    let own: Vec<Option<RegionName>> = kept
        .plan
        .regions
        .iter()
        .filter(|(name, region)| {
            region.owner.as_ref() == Some(&args.team) && with_steps.contains(name)
        })
        .map(|(name, _)| Some(name.clone()))
        .collect();
    if own.is_empty() {
        bail!(
            "no region of {} has a step in this plan, and {} is not the global team",
            args.team,
            args.team
        );
    }
    Ok(own)
}

fn text_of(kept: &Kept, region: Option<&RegionName>) -> String {
    let digest = digest_of(&kept.plan, &kept.id, region);
    text_to_sign(kept.plan.realm, &kept.id, region, &digest)
}

fn own_key(app: &App) -> anyhow::Result<PathBuf> {
    let directory = app.environment.home.as_ref().map(|home| home.join(".ssh"));
    directory
        .iter()
        .flat_map(|directory| KEYS.map(|name| directory.join(name)))
        .find(|path| path.is_file())
        .context("there is no key in ~/.ssh; name one with --key, or hand in a --signature")
}

fn read_signature(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the signature {}", file.display()))?;
    anyhow::ensure!(
        text.len() <= MAX_SIGNATURE,
        "{} is too long for a signature",
        file.display()
    );
    Ok(text)
}

fn keep(
    app: &App,
    store: &mut SqliteStore,
    kept: &Kept,
    approval: &Approval,
    key: &str,
) -> anyhow::Result<()> {
    let event = Event {
        at: app.now,
        realm: kept.plan.realm,
        kind: EventKind::PlanApproved {
            plan: approval.plan.clone(),
            region: approval.region.clone(),
            team: approval.team.clone(),
            digest: approval.digest.clone(),
        },
    };
    store.record_approval(approval, &event)?;
    let part = report::part(approval.region.as_ref());
    let line = format!("Approved: {part} by {}, {key}", approval.team);
    writeln!(io::stdout().lock(), "{}", text::printable(&line))?;
    Ok(())
}

/// `plan approvals`.
pub(super) fn state(app: &App, args: &ApprovalsArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let store = app.store(Some(&fleet))?;
    let kept = kept::find(&store, &args.plan)?;
    let state = state_of(&store, &fleet, &kept)?;
    let mut out = Vec::new();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &as_json(&kept, &state))?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", kept.id)?;
        report::approvals(&state, &mut out)?;
    }
    io::stdout().lock().write_all(&out)?;
    Ok(if state.is_approved() {
        Done::Nothing
    } else {
        Done::Findings
    })
}

fn as_json(kept: &Kept, state: &ApprovalState) -> serde_json::Value {
    let signed: Vec<_> = state
        .signed
        .iter()
        .map(|s| json!({"region": s.region, "team": s.team, "key": s.key, "at": s.at}))
        .collect();
    let invalid: Vec<_> = state
        .invalid
        .iter()
        .map(|i| json!({"region": i.region, "team": i.team, "why": i.why}))
        .collect();
    json!({
        "plan": kept.id,
        "approved": state.is_approved(),
        "missing": report::missing_json(state),
        "signed": signed,
        "invalid": invalid,
        "inherited_from": state.inherited_from,
    })
}
