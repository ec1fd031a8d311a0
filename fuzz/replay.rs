//! Replays what a fuzz target was seeded with and has found, in a plain test: each crate's
//! `tests/corpus.rs` includes this file. Entry: [`replay`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Gives every file of `fuzz/corpus/TARGET` to the target's entry point.
pub(crate) fn replay(target: &str, entry: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let survived = catch_unwind(AssertUnwindSafe(|| entry(&bytes))).is_ok();
        assert!(survived, "{} panics", path.display());
        files += 1;
    }
    assert!(files > 0, "{} holds no inputs", corpus.display());
}
