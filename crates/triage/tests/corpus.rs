//! What the fuzzers have found in vectors and deadline tables is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_triage::{CvssFacts, Policy, cvss_base_score};
use replay::replay;

#[test]
fn every_small_text_of_the_corpus_is_survived_as_vector_and_as_deadlines() {
    replay("small_texts", |data| {
        let text = &String::from_utf8_lossy(data);
        cvss_base_score(text);
        CvssFacts::read(text);
        drop(toml::from_str::<Policy>(text));
    });
}
