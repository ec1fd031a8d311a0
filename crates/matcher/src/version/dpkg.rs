//! Debian and Ubuntu: deb-version(7), "Sorting algorithm", and what `dpkg --compare-versions` does
//! with texts the policy does not allow.
//!
//! `[epoch:]upstream[-revision]`: the epoch ends at the first colon, the revision begins after the
//! last dash; an absent epoch or revision equals `0`. Upstream and revision are each a non-digit
//! part, a number, a non-digit part, a number, and so on. In a non-digit part `~` sorts before the
//! end, the end before letters, letters before all else; an absent number is zero.
//!
//! Key: epoch, upstream, revision. Each of the latter two is: for each pair the codes of its
//! non-digit part, [`END`], the number; after the last pair [`END`].

use super::{VersionError, empty_part, epoch_not_a_number, push_number, split_run};

/// The end of a non-digit part, and of everything: only `~` is below.
const END: u8 = 2;
const TILDE: u8 = 1;

pub(super) fn write(text: &str, out: &mut Vec<u8>) -> Result<(), VersionError> {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (epoch_digits(epoch, text)?, rest),
        None => ("", text),
    };
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((_, "")) => return Err(empty_part(text, "revision")),
        Some(parts) => parts,
        None => (rest, ""),
    };
    if upstream.is_empty() {
        return Err(empty_part(text, "upstream version"));
    }
    push_number(out, epoch.as_bytes());
    write_part(upstream.as_bytes(), out);
    write_part(revision.as_bytes(), out);
    Ok(())
}

/// The digits of an epoch. dpkg reads it by strtol(3), which takes a sign; it refuses what is
/// negative and, unlike us, what exceeds `INT_MAX`.
fn epoch_digits<'a>(epoch: &'a str, version: &str) -> Result<&'a str, VersionError> {
    let digits = epoch.strip_prefix(['+', '-']).unwrap_or(epoch);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let is_negative = epoch.starts_with('-') && digits.bytes().any(|b| b != b'0');
    if is_number && !is_negative {
        Ok(digits)
    } else {
        Err(epoch_not_a_number(version))
    }
}

/// Pairs of non-digits and a number, as dpkg's `verrevcmp` walks them.
fn write_part(mut rest: &[u8], out: &mut Vec<u8>) {
    loop {
        let (text, after) = split_run(rest, |b| !b.is_ascii_digit());
        out.extend(text.iter().map(|b| code(*b)));
        out.push(END);
        let (digits, after) = split_run(after, |b| b.is_ascii_digit());
        push_number(out, digits);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    out.push(END);
}

fn code(byte: u8) -> u8 {
    CODES.get(usize::from(byte)).copied().unwrap_or(END)
}

/// dpkg's `order`, squeezed into a byte: `~`, the end, letters, everything else. Bytes from 0x80 up
/// stand between letters and ASCII, as on machines where C's `char` is signed (amd64, for one).
static CODES: [u8; 256] = codes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which would refuse an index out of bounds"
)]
const fn codes() -> [u8; 256] {
    let mut codes = [0; 256];
    let mut next = END;
    let mut class = 0;
    while class < 3 {
        let mut byte = 1_usize;
        while byte < 256 {
            let of_class = match byte as u8 {
                b'~' | b'0'..=b'9' => 3,
                b'A'..=b'Z' | b'a'..=b'z' => 0,
                0x80.. => 1,
                _ => 2,
            };
            if of_class == class {
                next += 1;
                codes[byte] = next;
            }
            byte += 1;
        }
        class += 1;
    }
    codes[b'~' as usize] = TILDE;
    codes
}
