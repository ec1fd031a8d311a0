//! Entry points for fuzzing. They panic where something is not as it must be.

use super::bundle::Bundle;
use super::compile::Compiled;
use super::signature::AllowedSigners;
use crate::{Content, Origin};

/// A bundle's text: what is read is written, and read again as equal; and nothing in it ends a rule of Suricata.
///
/// # Panics
/// Where it is not, or something does.
pub fn fuzz_bundle(data: &[u8]) {
    let Ok(bundle) = Bundle::read(data) else {
        return;
    };
    if let Ok(text) = bundle.to_text() {
        let again = Bundle::read(text.as_bytes()).ok();
        assert!(
            again.as_ref() == Some(&bundle),
            "written and read again, it differs"
        );
    }
    drop(bundle.test());
    drop(Compiled::new(&bundle));
    let export = super::export(&bundle, &[25]);
    let mut written = 0;
    for line in export.text.lines() {
        let is_rule = line.starts_with("alert ");
        written += usize::from(is_rule);
        assert!(is_rule || line.starts_with("# "), "a line of its own");
        let quotes = line.bytes().filter(|octet| *octet == b'"').count();
        let whole = line.is_ascii() && line.ends_with(";)") && quotes % 2 == 0;
        assert!(whole || !is_rule, "a rule is cut");
    }
    assert!(written == export.written, "rules were made up");
}

/// What the built-in rules are shown: the first octet says as what.
///
/// # Panics
/// Where the rules found by the search differ from those that are found without.
pub fn fuzz_condition(data: &[u8]) {
    use std::sync::OnceLock;
    static RULES: OnceLock<Option<(Compiled, Vec<Compiled>)>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let bundle = super::builtin().ok()?;
        let signatures = bundle.rules.iter().filter(|rule| rule.is_signature());
        let alone = signatures.map(|rule| Compiled::without_search([rule]).ok());
        Some((Compiled::new(&bundle).ok()?, alone.collect::<Option<_>>()?))
    });
    let (Some((all, alone)), Some((kind, octets))) = (rules, data.split_first()) else {
        return;
    };
    let look = |compiled: &Compiled| -> Vec<String> {
        let reasons = if kind % 3 == 0 {
            compiled.command(octets)
        } else {
            let mut run = compiled.message();
            if kind % 3 == 1 {
                run.header(octets);
                run.part_header(octets, "1");
            } else {
                run.content(&Content {
                    octets: octets.into(),
                    names: vec![String::from_utf8_lossy(octets).into_owned()],
                    types: ["text/calendar", "text/html", "application/ms-tnef"]
                        .map(str::to_owned)
                        .to_vec(),
                    origin: Origin::Member,
                    place: "1".to_owned(),
                });
            }
            run.finish()
        };
        reasons
            .into_iter()
            .map(|reason| reason.rule.into_owned())
            .collect()
    };
    let mut apart: Vec<String> = alone.iter().flat_map(look).collect();
    apart.sort();
    let mut together = look(all);
    together.sort();
    assert!(
        apart == together,
        "rules find more or less beside each other"
    );
}

/// A signature and a list of those who may sign.
pub fn fuzz_signature(data: &[u8]) {
    let signers = AllowedSigners::read(&String::from_utf8_lossy(data)).0;
    drop(signers.verify(b"text", data, mailkeep_model::Timestamp::UNIX_EPOCH));
}

/// A file of events as Suricata writes it.
///
/// # Panics
/// Where records are lost: neither taken, nor left out, nor told.
pub fn fuzz_eve(data: &[u8]) {
    let (mut taken, mut told) = (0, 0);
    let tally = super::read_alerts(data, &mut |_, read| match read {
        Ok(_) => taken += 1,
        Err(_) => told += 1,
    });
    // A slice can always be read.
    if let Ok(tally) = tally {
        assert!(
            tally.taken == taken && tally.unread == told,
            "records were lost"
        );
        assert!(
            tally.lines >= tally.taken + tally.unread + tally.others,
            "records were made up"
        );
    }
}
