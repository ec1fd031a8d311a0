//! `mailkeep shield bundle`: build, sign, verify.

mod build;

use std::io::{self, Write as _};

use anyhow::Context as _;
use mailkeep_inspect::rules::{AllowedSigners, Bundle, Compiled, MAX_BYTES, NAMESPACE, admit};
use mailkeep_reach::sign;

use super::{read, signature_of};
use crate::app::{App, write_whole};
use crate::cli::shield::{BundleCommand, SignArgs, VerifyArgs};
use crate::commands::Done;

/// Octets of a signature or a list of signers that are read.
const MAX_TEXT: usize = 1 << 20;

/// Runs it.
pub(super) fn run(app: &App, command: &BundleCommand) -> anyhow::Result<Done> {
    match command {
        BundleCommand::Build(args) => build::run(app, args),
        BundleCommand::Sign(args) => sign_one(app, args),
        BundleCommand::Verify(args) => verify(app, args),
    }
}

/// Signs what a shield would take, and nothing else.
fn sign_one(app: &App, args: &SignArgs) -> anyhow::Result<Done> {
    let name = args.bundle.display();
    let text = read(&args.bundle, MAX_BYTES)?;
    let bundle = Bundle::read(&text).with_context(|| format!("cannot sign {name}"))?;
    bundle
        .test()
        .and_then(|()| Compiled::new(&bundle).map(drop))
        .with_context(|| format!("{name} is not signed: no shield would take it"))?;
    anyhow::ensure!(
        bundle.expires > app.now,
        "{name} expired at {}; build a new one",
        bundle.expires
    );
    let signature =
        sign::sign(&args.key, NAMESPACE, &text).with_context(|| format!("{name} is not signed"))?;
    let path = signature_of(&args.bundle);
    write_whole(&path, signature.as_bytes())
        .with_context(|| format!("cannot write the signature to {}", path.display()))?;
    app.say(&format!(
        "Signed {} version {}: {}",
        bundle.id,
        bundle.version,
        path.display()
    ));
    Ok(Done::Nothing)
}

fn verify(app: &App, args: &VerifyArgs) -> anyhow::Result<Done> {
    let text = read(&args.bundle, MAX_BYTES)?;
    let path = args
        .signature
        .clone()
        .unwrap_or_else(|| signature_of(&args.bundle));
    let signature = read(&path, MAX_TEXT)?;
    let signers = read(&args.signers, MAX_TEXT)?;
    let (signers, problems) = AllowedSigners::read(&String::from_utf8_lossy(&signers));
    for problem in problems {
        App::warn(&format!("warning: {}: {problem}", args.signers.display()));
    }
    match admit(&text, &signature, &signers, None, None, app.now) {
        Ok(admitted) => {
            let bundle = &admitted.bundle;
            let enforced = bundle.in_force().filter(|rule| rule.is_enforced()).count();
            let line = format!(
                "good: {} version {}, signed by {} with {}, expires {}; {} rules, {} selected, {} of these enforce\n",
                bundle.id,
                bundle.version,
                admitted.signer.principal,
                admitted.signer.key,
                bundle.expires,
                bundle.rules.len(),
                bundle.in_force().count(),
                enforced
            );
            io::stdout().lock().write_all(line.as_bytes())?;
            Ok(Done::Nothing)
        }
        Err(error) => {
            let kind = error.kind();
            App::warn(&format!(
                "refused ({kind}): {:#}",
                anyhow::Error::new(error)
            ));
            Ok(Done::Findings)
        }
    }
}
