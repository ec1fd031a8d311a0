//! Files that stand in a text, as mail had them before MIME.

use super::encodings::{Base64, base64_as};
use super::lines::{Lines, find, is_blank, is_space, trim};

/// Files that stand in a text as `uuencode` writes them: names and octets.
pub(super) fn unix_files(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut files = Vec::new();
    let mut current: Option<(Vec<u8>, Vec<u8>, bool)> = None;
    for line in Lines::new(text) {
        let bare = trim(line.text);
        if let Some((name, based)) = unix_begin(bare) {
            files.extend(current.take().map(|(name, octets, _)| (name, octets)));
            if files.len() >= MAX_FILES {
                break;
            }
            current = Some((name, Vec::new(), based));
            continue;
        }
        let Some((_, octets, based)) = &mut current else {
            continue;
        };
        if bare == b"end" || bare == b"====" {
            files.extend(current.take().map(|(name, octets, _)| (name, octets)));
        } else if *based {
            octets.extend(base64_as(bare, Base64::Skips));
        } else {
            unix_line(line.text, octets);
        }
    }
    files.extend(current.map(|(name, octets, _)| (name, octets)));
    files.retain(|(_, octets)| !octets.is_empty());
    files
}

/// More files in one text are not read.
pub(super) const MAX_FILES: usize = 200;

/// `begin 644 name`, or `begin-base64 644 name`.
fn unix_begin(line: &[u8]) -> Option<(Vec<u8>, bool)> {
    let rest = line
        .get(..5)
        .filter(|begin| begin.eq_ignore_ascii_case(b"begin"))
        .and_then(|_| line.get(5..))?;
    let (rest, based) = match rest.strip_prefix(b"-base64") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if !rest.first().copied().is_some_and(is_blank) {
        return None;
    }
    let rest = trim(rest);
    let digits = rest
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    if !(3..=6).contains(&digits) {
        return None;
    }
    let name = rest.get(digits..)?;
    if !name.first().copied().is_some_and(is_space) {
        return None;
    }
    Some((trim(name).to_vec(), based))
}

fn unix_line(line: &[u8], out: &mut Vec<u8>) {
    let Some((length, data)) = line.split_first() else {
        return;
    };
    let length = usize::from(length.wrapping_sub(b' ') & 63);
    let begin = out.len();
    for group in data.chunks(4) {
        if out.len() - begin >= length {
            break;
        }
        let mut bits = 0_u32;
        for place in 0..4 {
            let octet = group.get(place).copied().unwrap_or(b' ');
            bits = bits << 6 | u32::from(octet.wrapping_sub(b' ') & 63);
        }
        let [_, one, two, three] = bits.to_be_bytes();
        out.extend([one, two, three]);
    }
    out.truncate(begin + length);
}

/// Files that stand in a text in yEnc: names and octets.
pub(super) fn yenc_files(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut files = Vec::new();
    let mut current: Option<(Vec<u8>, Vec<u8>)> = None;
    for line in Lines::new(text) {
        if line.text.starts_with(b"=ybegin ") {
            files.extend(current.take());
            if files.len() >= MAX_FILES {
                break;
            }
            let name = find(line.text, b"name=", 0)
                .and_then(|at| line.text.get(at + 5..))
                .unwrap_or_default();
            current = Some((trim(name).to_vec(), Vec::new()));
        } else if line.text.starts_with(b"=yend") {
            files.extend(current.take());
        } else if line.text.starts_with(b"=ypart") {
        } else if let Some((_, octets)) = &mut current {
            let mut escaped = false;
            for octet in line.text {
                if escaped {
                    octets.push(octet.wrapping_sub(64).wrapping_sub(42));
                    escaped = false;
                } else if *octet == b'=' {
                    escaped = true;
                } else {
                    octets.push(octet.wrapping_sub(42));
                }
            }
        }
    }
    files.extend(current);
    files.retain(|(_, octets)| !octets.is_empty());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_text() {
        let text = b"Hello\nbegin 644 a.exe\n#0V%T\n`\nend\nbye\n";
        assert_eq!(unix_files(text), [(b"a.exe".to_vec(), b"Cat".to_vec())]);
        assert!(unix_files(b"we begin 100 times\nbegin here\n").is_empty());
        let text = b"=ybegin line=128 size=3 name=b.exe\r\n\x6d\x8b\x9e\r\n=yend size=3\r\n";
        assert_eq!(yenc_files(text), [(b"b.exe".to_vec(), b"Cat".to_vec())]);
    }
}
