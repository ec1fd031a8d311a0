//! RHEL, Fedora and SUSE: rpm-version(7) and `rpmvercmp` (rpm 4.15 and later).
//!
//! `[epoch:]version[-release]`; an absent epoch is 0, an absent release is older than any. Version
//! and release are each a row of segments: runs of digits, runs of ASCII letters, `~`, `^`. All else
//! only separates. At one place `~` is older than the end, then come the end, `^`, letters,
//! numbers. Letters compare by bytes, numbers by value.
//!
//! Key: epoch, the segments of the version, [`END`], whether there is a release, its segments,
//! [`END`].

use super::{VersionError, empty_part, epoch_not_a_number, push_number, split_run};

const TILDE: u8 = 1;
const END: u8 = 2;
const CARET: u8 = 3;
/// Ends a run of letters: below every letter, so that `a` is older than `ab`.
const LETTERS_END: u8 = 0;
const NO_RELEASE: u8 = 0;
const RELEASE: u8 = 1;

pub(super) fn write(text: &str, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let (epoch, rest) = match text.split_once(':') {
        // `rpm --queryformat` prints an absent epoch so.
        Some(("(none)", rest)) => ("", rest),
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
        Some(_) => return Err(epoch_not_a_number(text)),
        None => ("", text),
    };
    let (version, release) = match rest.rsplit_once('-') {
        Some((version, release)) => (version, Some(release)),
        None => (rest, None),
    };
    if version.is_empty() {
        return Err(empty_part(text, "version"));
    }
    push_number(out, epoch.as_bytes());
    write_segments(version.as_bytes(), out);
    match release {
        Some(release) => {
            out.push(RELEASE);
            write_segments(release.as_bytes(), out);
        }
        None => out.push(NO_RELEASE),
    }
    Ok(())
}

fn write_segments(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'~' => {
                out.push(TILDE);
                after
            }
            b'^' => {
                out.push(CARET);
                after
            }
            b'0'..=b'9' => {
                let (digits, after) = split_run(rest, |b| b.is_ascii_digit());
                push_number(out, digits);
                after
            }
            b'A'..=b'Z' | b'a'..=b'z' => {
                let (letters, after) = split_run(rest, |b| b.is_ascii_alphabetic());
                out.extend_from_slice(letters);
                out.push(LETTERS_END);
                after
            }
            _ => after,
        };
    }
    out.push(END);
}
