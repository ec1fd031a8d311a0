//! Debian's `clamav-testfiles`: one harmless program in 44 wrappings. The anti-virus engine must find all; here it is
//! counted how many are refused for what they are, without any signature.
//!
//! Reads `/usr/share/clamav-testfiles`, or the folder that `MAILKEEP_TESTFILES` names.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test reads its files, and says what it skips"
)]

use std::borrow::Cow;
use std::path::PathBuf;

use mailkeep_inspect::{Budget, Content, Origin, Profile, Verdict, examine, kind};

#[test]
fn a_known_program_is_refused_in_any_wrapping() {
    let folder = std::env::var_os("MAILKEEP_TESTFILES").map_or_else(
        || PathBuf::from("/usr/share/clamav-testfiles"),
        PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: a_known_program_is_refused_in_any_wrapping: no data");
        return;
    };
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let mut passed = Vec::new();
    for path in &paths {
        let octets = std::fs::read(path).unwrap();
        let profile = Profile::default();
        let mut budget = Budget::new(&profile.limits);
        let content = Content {
            octets: Cow::Borrowed(&octets),
            // No name: it is to be known by what it is.
            names: Vec::new(),
            types: vec!["application/octet-stream".to_owned()],
            origin: Origin::Attachment,
            place: "2".to_owned(),
        };
        let reasons = examine::content(&content, &profile, &mut budget, &mut |_, _, _| Vec::new());
        let refused = reasons
            .iter()
            .any(|reason| reason.verdict == Verdict::Refuse);
        let rules: Vec<_> = reasons
            .iter()
            .map(|reason| format!("{}:{}@{}", reason.rule, reason.verdict.name(), reason.place))
            .collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        eprintln!("{name}: {} {rules:?}", kind::of(&octets).name());
        if !refused {
            passed.push(name);
        }
    }
    eprintln!(
        "{} of {} refused; not: {passed:?}",
        paths.len() - passed.len(),
        paths.len()
    );
}
