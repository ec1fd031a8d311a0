//! Files that stand in a text, as mail had them before MIME.

use super::encodings::{Base64, base64_as};
use super::lines::{Lines, find, is_blank, is_space, trim};

/// Files that stand in a text as `uuencode` and `xxencode` write them: names and octets.
pub(super) fn unix_files(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut files = Vec::new();
    let mut current: Option<UnixFile> = None;
    let mut lines = Lines::new(text);
    while let Some(line) = lines.next() {
        let bare = trim(line.text);
        if let Some(file) = unix_begin(bare, &lines) {
            if let Some(file) = current.take() {
                file.give(&mut files);
            }
            if files.len() >= MAX_FILES {
                break;
            }
            current = Some(file);
            continue;
        }
        let Some(file) = &mut current else {
            continue;
        };
        if bare == b"end" || bare == b"====" {
            if let Some(file) = current.take() {
                file.give(&mut files);
            }
        } else if file.based {
            file.octets.extend(base64_as(bare, Base64::Skips));
        } else {
            file.line(line.text);
        }
    }
    if let Some(file) = current {
        file.give(&mut files);
    }
    files
}

/// More files in one text are not read.
pub(super) const MAX_FILES: usize = 200;

/// A file while its lines come.
#[derive(Default)]
struct UnixFile {
    name: Vec<u8>,
    based: bool,
    octets: Vec<u8>,
    /// The same without lines that are none of it, once such a line came: some readers pass over them.
    clean: Option<Vec<u8>>,
    /// The same by the letters of `xxencode`, where its first line has these.
    others: Option<Vec<u8>>,
}

impl UnixFile {
    fn line(&mut self, line: &[u8]) {
        let is_first = self.octets.is_empty();
        if is_first && is_line(line, Letters::Xx) {
            self.others = Some(Vec::new());
        }
        if let Some(others) = &mut self.others
            && is_line(line, Letters::Xx)
        {
            unix_line(line, Letters::Xx, others);
        }
        // Blanks at the end of a line are easily lost: the line is one, and is too short. It makes no other file.
        let is_own = is_line(line, Letters::Uu);
        if !is_own && self.clean.is_none() && !trim(line).is_empty() && !is_end(line) {
            self.clean = Some(self.octets.clone());
        }
        if is_own && let Some(clean) = &mut self.clean {
            unix_line(line, Letters::Uu, clean);
        }
        unix_line(line, Letters::Uu, &mut self.octets);
    }

    fn give(self, files: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let clean = self.clean.filter(|clean| *clean != self.octets);
        for octets in [Some(self.octets), clean, self.others]
            .into_iter()
            .flatten()
        {
            if !octets.is_empty() {
                files.push((self.name.clone(), octets));
            }
        }
    }
}

/// `begin 644 name`, or `begin-base64 644 name`; a mode that is none and a missing name, as some readers take them, only
/// where a line of a file comes next. The name may be in base64 itself (`begin-encoded`).
fn unix_begin(line: &[u8], next: &Lines<'_>) -> Option<UnixFile> {
    let rest = line
        .get(..5)
        .filter(|begin| begin.eq_ignore_ascii_case(b"begin"))
        .and_then(|_| line.get(5..))?;
    let (rest, based) = match rest.strip_prefix(b"-base64") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (rest, encoded) = match rest.strip_prefix(b"-encoded") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if !rest.first().copied().is_some_and(is_blank) {
        return None;
    }
    let rest = trim(rest);
    let end = rest
        .iter()
        .position(|octet| is_space(*octet))
        .unwrap_or(rest.len());
    let (mode, name) = rest.split_at_checked(end)?;
    let name = trim(name);
    let is_mode = (3..=6).contains(&mode.len()) && mode.iter().all(u8::is_ascii_digit);
    if !based && (!is_mode || name.is_empty()) {
        let mut next = next.clone().take(4).map(|line| line.text);
        let first = next.find(|line| !trim(line).is_empty())?;
        if !is_line(first, Letters::Uu) && !is_line(first, Letters::Xx) {
            return None;
        }
    }
    let name = if encoded {
        base64_as(name, Base64::Skips)
    } else {
        name.to_vec()
    };
    Some(UnixFile {
        name,
        based,
        ..UnixFile::default()
    })
}

#[derive(Clone, Copy)]
enum Letters {
    /// From the blank on, and a grave accent for it.
    Uu,
    /// Those of `xxencode`, which no system of writing lacks.
    Xx,
}

impl Letters {
    fn value(self, octet: u8) -> Option<u8> {
        match (self, octet) {
            (Self::Uu, b' '..=b'`') => Some(octet.wrapping_sub(b' ') & 63),
            (Self::Xx, b'+') => Some(0),
            (Self::Xx, b'-') => Some(1),
            (Self::Xx, b'0'..=b'9') => Some(octet - b'0' + 2),
            (Self::Xx, b'A'..=b'Z') => Some(octet - b'A' + 12),
            (Self::Xx, b'a'..=b'z') => Some(octet - b'a' + 38),
            _ => None,
        }
    }
}

/// Whether a line is one of a file: as long as its first letter says, and perhaps with a sum behind.
fn is_line(line: &[u8], letters: Letters) -> bool {
    let Some((length, data)) = line.split_first() else {
        return false;
    };
    let length = letters.value(*length).unwrap_or(0);
    let needed = usize::from(length).div_ceil(3) * 4;
    let data = match letters {
        Letters::Uu => data,
        Letters::Xx => trim(data),
    };
    length > 0
        && data.get(..needed).is_some_and(|data| {
            let mut values = data.iter().map(|octet| letters.value(*octet));
            values.all(|value| value.is_some())
        })
        && trim(data).len() <= needed + 2
}

/// A line of no octets.
fn is_end(line: &[u8]) -> bool {
    matches!(trim(line), b"`" | b"+")
}

fn unix_line(line: &[u8], letters: Letters, out: &mut Vec<u8>) {
    let Some((length, data)) = line.split_first() else {
        return;
    };
    let value = |octet: u8| match letters {
        Letters::Uu => octet.wrapping_sub(b' ') & 63,
        Letters::Xx => letters.value(octet).unwrap_or(0),
    };
    let length = usize::from(value(*length));
    let begin = out.len();
    for group in data.chunks(4) {
        if out.len() - begin >= length {
            break;
        }
        let mut bits = 0_u32;
        for place in 0..4 {
            let octet = group.get(place).map_or(0, |octet| value(*octet));
            bits = bits << 6 | u32::from(octet);
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

    fn lines(octets: &[u8], letters: &[u8; 64]) -> String {
        let line = |octets: &[u8]| {
            let mut line = vec![letters[octets.len()]];
            for group in octets.chunks(3) {
                let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
                let bits = at(0) << 16 | at(1) << 8 | at(2);
                line.extend([18, 12, 6, 0].map(|shift| letters[(bits >> shift & 63) as usize]));
            }
            line.push(b'\n');
            String::from_utf8(line).unwrap()
        };
        octets.chunks(45).map(line).collect()
    }

    const UU: &[u8; 64] = b"`!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_";
    const XX: &[u8; 64] = b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    #[test]
    fn what_begins_a_file_may_have_any_mode_and_no_name() {
        let octets: Vec<u8> = (0..=255).collect();
        let body = lines(&octets, UU);
        for (begin, name) in [
            ("begin 6 a.exe", "a.exe"),
            ("begin 44\ta.exe", "a.exe"),
            ("begin 00100644 a b.exe", "a b.exe"),
            ("begin rw- a.exe", "a.exe"),
            ("BEGIN 644", ""),
            ("begin 644 ", ""),
            ("begin-encoded 644 YS5leGU=", "a.exe"),
        ] {
            let text = format!("Hello\n{begin}\n\n{body}`\nend\n");
            let expected = [(name.as_bytes().to_vec(), octets.clone())];
            assert_eq!(unix_files(text.as_bytes()), expected, "{begin}");
        }
        for text in [
            "begin here\nMany words that are no line of a file at all, and go on and on and on.\n",
            "BEGIN WORK;\nUPDATE ACCOUNTS SET BALANCE = 1;\nEND;\n",
            "begin 644\n\n\n\n\n#0V%T\n",
            "begin",
            "begin 1",
        ] {
            assert_eq!(unix_files(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn lines_that_are_none_of_a_file_are_passed_over_as_well() {
        let octets: Vec<u8> = (0..=255).collect();
        let body = lines(&octets, UU);
        for junk in [
            "advertisement text\n",
            "-- \nMailing list footer\n",
            "M words\n",
        ] {
            let (head, tail) = body.split_at(62 * 2);
            let text = format!("begin 644 a.exe\n{head}\n{junk}\n{tail}`\nend\n");
            let files = unix_files(text.as_bytes());
            assert!(
                files.contains(&(b"a.exe".to_vec(), octets.clone())),
                "{junk}"
            );
            assert_eq!(files.len(), 2);
        }
    }

    #[test]
    fn other_letters_of_an_encoding_are_read() {
        let octets: Vec<u8> = (0..=255).collect();
        let body = lines(&octets, XX);
        for begin in ["begin 644 a.exe", "begin 6 a.exe"] {
            let text = format!("{begin}\n{body}+\nend\n");
            let files = unix_files(text.as_bytes());
            assert!(files.contains(&(b"a.exe".to_vec(), octets.clone())));
        }
    }
}
