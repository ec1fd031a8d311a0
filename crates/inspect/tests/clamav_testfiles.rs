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

use std::path::PathBuf;

use base64::Engine;
use mailkeep_inspect::{Profile, Verdict, judge, kind};

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
        // It is to be known by what it is, not by its name.
        let text = base64::engine::general_purpose::STANDARD.encode(&octets);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(76)
            .map(String::from_utf8_lossy)
            .collect();
        let message = format!(
            "From: a@example.org\r\nTo: b@example.org\r\nSubject: a file\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=frontier\r\n\r\n--frontier\r\n\
             Content-Type: text/plain\r\n\r\nHere it is.\r\n--frontier\r\n\
             Content-Type: application/octet-stream\r\nContent-Disposition: attachment\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--frontier--\r\n",
            lines.join("\r\n")
        );
        let judgement = judge(message.as_bytes(), &Profile::default());
        if judgement.verdict != Verdict::Refuse {
            passed.push(format!(
                "{} ({}): {:?}",
                path.display(),
                kind::of(&octets).name(),
                judgement.reasons
            ));
        }
    }
    eprintln!(
        "{} of {} refused by what they hold",
        paths.len() - passed.len(),
        paths.len()
    );
    assert_eq!(passed, Vec::<String>::new());
}
