//! What content is, what lies in it, and what is dangerous about it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its fixtures"
)]

mod archives;
mod bounds;
mod build;
mod built;
mod crowded;
mod dangers;
mod docs;
mod holes;
mod office;
mod properties;
mod quick;
#[path = "../../../../fuzz/replay.rs"]
mod replay;
mod sources;
mod twofold;
mod udf;
mod worst;

use std::borrow::Cow;

use mailkeep_inspect::{
    Budget, Content, Level, Origin, Profile, Reason, Verdict, danger, examine, kind, unpack,
};

/// What is said of an attachment, with all that lies in it.
pub(crate) fn attachment(name: &str, declared: &str, octets: &[u8], level: Level) -> Vec<Reason> {
    let profile = Profile {
        level,
        ..Profile::default()
    };
    let mut budget = Budget::new(&profile.limits);
    let content = Content {
        octets: Cow::Borrowed(octets),
        names: vec![name.to_owned()],
        types: vec![declared.to_owned()],
        origin: Origin::Attachment,
        place: "2".to_owned(),
    };
    examine::content(&content, &profile, &mut budget, &mut |_, _, _| Vec::new())
}

/// The rules that refuse an attachment.
pub(crate) fn refusing(name: &str, declared: &str, octets: &[u8], level: Level) -> Vec<String> {
    let mut rules: Vec<String> = attachment(name, declared, octets, level)
        .into_iter()
        .filter(|reason| reason.verdict == Verdict::Refuse)
        .map(|reason| reason.rule.into_owned())
        .collect();
    rules.sort();
    rules.dedup();
    rules
}

#[test]
fn every_archive_of_the_corpus_is_survived() {
    replay::replay("archive", unpack::fuzz);
    replay::replay("disk_image", unpack::fuzz_disk);
    replay::replay("rar", unpack::fuzz_rar);
}

#[test]
fn every_content_of_the_corpus_is_survived() {
    replay::replay("content_kind", |octets| {
        kind::fuzz(octets);
        examine::fuzz(octets);
    });
}

#[test]
fn every_script_of_the_corpus_is_survived() {
    replay::replay("script", danger::fuzz_script);
}
