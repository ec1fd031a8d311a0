//! Key order against other people's: `debversion`, `rpm-version`, `semver`, the programs `dpkg` and
//! `rpm` where present, and Debian's whole archive where the data is.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]
#![expect(
    clippy::disallowed_methods,
    reason = "the oracles are programs, and the bulk data is named by the environment"
)]

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};

use mailkeep_matcher::version::{VersionKey, compare, key};
use mailkeep_model::VersionScheme;

/// Pairs drawn for each scheme.
const PAIRS: usize = 120_000;

// -- drawing pairs ------------------------------------------------------------------------------

/// `SplitMix64`: a fixed seed draws the same pairs for ever.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn of(&mut self, alphabet: &str) -> char {
        alphabet
            .chars()
            .nth(self.below(alphabet.chars().count()))
            .unwrap()
    }

    fn text(&mut self, alphabet: &str, max: usize) -> String {
        (0..=self.below(max)).map(|_| self.of(alphabet)).collect()
    }

    /// A text near `text`: one character more, less, or other.
    fn near(&mut self, text: &str, alphabet: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = self.below(chars.len() + 1);
        match self.below(3) {
            0 => chars.insert(at, self.of(alphabet)),
            1 if chars.len() > 1 => drop(chars.remove(at.min(chars.len() - 1))),
            _ => {
                let at = at.min(chars.len() - 1);
                chars[at] = self.of(alphabet);
            }
        }
        chars.into_iter().collect()
    }
}

/// Calls `judge` with many pairs of parts; half of them differ in one place only.
fn for_pairs(seed: u64, alphabet: &str, max: usize, mut judge: impl FnMut(&str, &str)) {
    let mut draw = Draw(seed);
    for i in 0..PAIRS {
        let a = draw.text(alphabet, max);
        let b = if i % 2 == 0 {
            draw.near(&a, alphabet)
        } else {
            draw.text(alphabet, max)
        };
        judge(&a, &b);
    }
}

// -- dpkg ---------------------------------------------------------------------------------------

/// The algorithm of deb-version(7) word for word, on one part: the leading non-digits, then the
/// leading digits, until both are empty.
fn deb_version_7(mut a: &[u8], mut b: &[u8]) -> Ordering {
    fn weight(byte: Option<&u8>) -> (u8, u8) {
        match byte {
            Some(b'~') => (0, 0),
            None | Some(b'0'..=b'9') => (1, 0),
            Some(letter) if letter.is_ascii_alphabetic() => (2, *letter),
            Some(other) => (3, *other),
        }
    }
    fn digits(text: &mut &[u8]) -> (usize, Vec<u8>) {
        let end = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let number: Vec<u8> = text[..end]
            .iter()
            .copied()
            .skip_while(|b| *b == b'0')
            .collect();
        *text = &text[end..];
        (number.len(), number)
    }
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit())
            || b.first().is_some_and(|c| !c.is_ascii_digit())
        {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order.is_ne() {
                return order;
            }
            a = &a[1..];
            b = &b[1..];
        }
        let order = digits(&mut a).cmp(&digits(&mut b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

const DPKG: &str = "~~^+-..:0019azAZ_";

/// [`deb_version_7`] on whole versions whose epochs, if any, fit a `u64`.
fn deb_version_7_whole(a: &str, b: &str) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap(), upstream, revision)
    }
    let (a, b) = (parts(a), parts(b));
    (a.0.cmp(&b.0))
        .then_with(|| deb_version_7(a.1.as_bytes(), b.1.as_bytes()))
        .then_with(|| deb_version_7(a.2.as_bytes(), b.2.as_bytes()))
}

/// What `debversion` makes of a version, unless it is of one of the two kinds where version 0.5.5
/// differs from the program dpkg: an epoch with a sign, and a part that does not end with a digit
/// (it takes an absent number for less than `0`; dpkg calls `1.+ds` and `1.+ds0` equal).
fn debversion(text: &str) -> Option<debversion::Version> {
    let (upstream, revision) = text.rsplit_once('-').unwrap_or((text, "0"));
    let is_comparable = !text.starts_with(['+', '-'])
        && [upstream, revision]
            .iter()
            .all(|part| part.ends_with(|c: char| c.is_ascii_digit()));
    is_comparable
        .then(|| debversion::Version::parse_lenient(text).ok())
        .flatten()
}

#[test]
fn dpkg_keys_order_as_deb_version_7_and_as_debversion() {
    let (mut parts, mut whole) = (0, 0);
    for_pairs(1, DPKG, 9, |a, b| {
        let (a_part, b_part) = (a.replace([':', '-'], "."), b.replace([':', '-'], "."));
        let expected = deb_version_7(a_part.as_bytes(), b_part.as_bytes());
        for (a, b) in [
            (a_part.clone(), b_part.clone()),
            (format!("1:0-{a_part}"), format!("1:0-{b_part}")),
        ] {
            assert_eq!(
                compare(VersionScheme::Dpkg, &a, &b),
                Ok(expected),
                "{a} and {b}"
            );
        }
        parts += 1;

        let (a, b) = (a.replace('^', "1"), b.replace('^', "1"));
        let ours = compare(VersionScheme::Dpkg, &a, &b);
        if let (Ok(ours), Some(a_theirs), Some(b_theirs)) = (ours, debversion(&a), debversion(&b)) {
            assert_eq!(ours, a_theirs.cmp(&b_theirs), "{a} and {b}");
            whole += 1;
        }
    });
    println!("deb-version(7): {parts} pairs, debversion: {whole} pairs");
    assert!(parts >= 100_000 && whole >= 5_000, "{parts}, {whole}");
}

#[test]
fn dpkg_keys_order_as_debversion_on_well_formed_versions() {
    let mut draw = Draw(2);
    let mut version = |near: Option<&str>| {
        if let Some(near) = near {
            return draw.near(near, "~+.0019az");
        }
        let epoch = ["", "", "1:", "10:", "20081126:"][draw.below(5)];
        let upstream = draw.text("~+.0019azA", 7);
        let revision = draw.text("~+.019az", 4);
        match draw.below(4) {
            0 => format!("{epoch}{upstream}"),
            1 => format!("{epoch}{upstream}-{}-{revision}", draw.text("0.19a", 4)),
            _ => format!("{epoch}{upstream}-{revision}"),
        }
    };
    // Each version against the four before it: what takes time is `debversion`'s parser.
    let mut before: VecDeque<(String, debversion::Version)> = VecDeque::new();
    let mut compared = 0;
    while compared < PAIRS {
        let near = before.back().filter(|_| compared % 2 == 0);
        let a = version(near.map(|(text, _)| &**text));
        let Some(a_theirs) = debversion(&a) else {
            before.pop_front();
            continue;
        };
        for (b, b_theirs) in &before {
            if let Ok(ours) = compare(VersionScheme::Dpkg, &a, b) {
                assert_eq!(ours, a_theirs.cmp(b_theirs), "{a} and {b}");
                compared += 1;
            }
        }
        before.push_back((a, a_theirs));
        if before.len() > 4 {
            before.pop_front();
        }
    }
}

#[test]
fn dpkg_keys_order_as_the_program_dpkg() {
    if !runs("dpkg") {
        println!("skipped: dpkg_keys_order_as_the_program_dpkg: no dpkg");
        return;
    }
    let mut draw = Draw(3);
    for i in 0..600 {
        let alphabet = if i % 3 == 0 { "~^+-.:09azA_é#" } else { DPKG };
        let a = draw.text(alphabet, 8);
        let b = draw.near(&a, alphabet);
        let ours = compare(VersionScheme::Dpkg, &a, &b);
        let relation = match ours {
            Ok(Ordering::Less) => "lt",
            Ok(Ordering::Equal) => "eq",
            Ok(Ordering::Greater) => "gt",
            Err(_) => "le",
        };
        let status = Command::new("dpkg")
            .args(["--compare-versions", "--", &a, relation, &b])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let expected = if ours.is_ok() { 0 } else { 2 };
        assert_eq!(
            status.code(),
            Some(expected),
            "{a:?} {relation} {b:?}: {ours:?}"
        );
    }
}

#[test]
fn debians_archive_sorts_by_key_as_by_debversion() {
    let name = "debians_archive_sorts_by_key_as_by_debversion";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("MAILKEEP_DATA").unwrap_or_else(|| "../shared/data".into());
    let path = root
        .join(data)
        .join("debian-archive/sources-index-2026-11-21.tsv.xz");
    if !path.exists() || !runs("xz") {
        println!("skipped: {name}: no data");
        return;
    }
    let xz = Command::new("xz")
        .args(["-dc"])
        .arg(&path)
        .output()
        .unwrap();
    let table = String::from_utf8(xz.stdout).unwrap();
    let mut versions: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(2))
        .collect();
    let rows = versions.len();
    versions.sort_unstable();
    versions.dedup();

    let mut keyed: Vec<(VersionKey, Option<debversion::Version>, &str)> = versions
        .iter()
        .map(|text| {
            let ours = key(VersionScheme::Dpkg, text).unwrap_or_else(|error| panic!("{error}"));
            (ours, debversion(text), *text)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut equal, mut agreed) = (0, 0);
    for pair in keyed.windows(2) {
        let [(a_key, a_theirs, a), (b_key, b_theirs, b)] = pair else {
            panic!("windows of two");
        };
        let ours = a_key.cmp(b_key);
        assert_eq!(ours, deb_version_7_whole(a, b), "{a} and {b}");
        if let (Some(a_theirs), Some(b_theirs)) = (a_theirs, b_theirs) {
            assert_eq!(ours, a_theirs.cmp(b_theirs), "{a} and {b}");
            agreed += 1;
        }
        equal += usize::from(ours.is_eq());
    }
    println!("{rows} rows, {} versions", keyed.len());
    println!("debversion agreed on {agreed} neighbours; {equal} are equal");
    assert!(rows > 100_000, "{rows} rows");
}

// -- rpm ----------------------------------------------------------------------------------------

#[test]
fn rpm_keys_order_as_rpm_version() {
    for_pairs(4, "~^+..:_0019azAZ", 9, |a, b| {
        let (a, b) = (a.replace(':', "1"), b.replace(':', "1"));
        for (a, b) in [
            (a.clone(), b.clone()),
            (format!("2:1.0-{a}"), format!("2:1.0-{b}")),
            (format!("{a}-1"), format!("{b}-2")),
        ] {
            assert_eq!(
                compare(VersionScheme::Rpm, &a, &b),
                Ok(rpm_version::rpm_evr_compare(&a, &b)),
                "{a} and {b}"
            );
        }
    });
}

#[test]
fn rpm_keys_order_as_the_program_rpm() {
    if !runs("rpm") {
        println!("skipped: rpm_keys_order_as_the_program_rpm: no rpm");
        return;
    }
    let mut draw = Draw(5);
    let alphabet = "~^+._0019azAZ";
    let pairs: Vec<(String, String)> = (0..500)
        .map(|_| {
            let a = draw.text(alphabet, 8);
            let b = draw.near(&a, alphabet);
            (a, b)
        })
        .collect();
    // Few pairs at a time: `rpm --eval` has a small buffer for what a script prints.
    for pairs in pairs.chunks(50) {
        let comparisons: Vec<String> = pairs
            .iter()
            .map(|(a, b)| format!("rpm.vercmp('{a}','{b}')"))
            .collect();
        let script = format!("%{{lua:print({})}}", comparisons.join(","));
        let output = Command::new("rpm")
            .args(["--eval", &script])
            .output()
            .unwrap();
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<i32> = answers
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        if answers.len() != pairs.len() {
            println!("skipped: rpm_keys_order_as_the_program_rpm: this rpm has no rpm.vercmp");
            return;
        }
        for ((a, b), answer) in pairs.iter().zip(answers) {
            let ours = compare(VersionScheme::Rpm, a, b);
            assert_eq!(ours, Ok(answer.cmp(&0)), "{a} and {b}");
        }
    }
}

// -- SemVer and dotted --------------------------------------------------------------------------

#[test]
fn semver_keys_order_as_the_semver_crate() {
    let mut draw = Draw(6);
    let mut version = || {
        let mut text: Vec<String> = (0..3).map(|_| draw.below(12).to_string()).collect();
        let last = text.pop().unwrap();
        let mut tail = last;
        if draw.below(3) > 0 {
            let ids: Vec<String> = (0..=draw.below(3))
                .map(|_| draw.text("019azAZ-", 3))
                .collect();
            tail = format!("{tail}-{}", ids.join("."));
        }
        if draw.below(4) == 0 {
            tail = format!("{tail}+{}", draw.text("09az", 4));
        }
        text.push(tail);
        text.join(".")
    };
    let mut compared = 0;
    while compared < PAIRS {
        let a = version();
        let core = a.split(['-', '+']).next().unwrap().to_owned();
        let b = version();
        let b = match compared % 3 {
            0 => b,
            _ => format!("{core}{}", b.find('-').map_or("", |at| &b[at..])),
        };
        let theirs = |text: &str| semver::Version::parse(text).ok();
        let (Some(a_theirs), Some(b_theirs)) = (theirs(&a), theirs(&b)) else {
            continue;
        };
        let expected = a_theirs.cmp_precedence(&b_theirs);
        assert_eq!(
            compare(VersionScheme::SemVer, &a, &b),
            Ok(expected),
            "{a} and {b}"
        );
        compared += 1;
    }
}

/// A dotted version by its rule, without keys: numbers up to a word, the word, and so on.
fn dotted_rows(text: &str) -> Vec<(Vec<u64>, i32, String)> {
    let mut rows = vec![(Vec::new(), 0, String::new())];
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let is = |f: fn(&u8) -> bool| bytes[at..].iter().take_while(|b| f(b)).count();
        let (digits, letters) = (is(u8::is_ascii_digit), is(u8::is_ascii_alphabetic));
        if digits > 0 {
            let number = text[at..at + digits].parse().unwrap();
            rows.last_mut().unwrap().0.push(number);
        } else if letters > 0 || bytes[at] == b'~' {
            let word = text[at..at + letters.max(1)].to_ascii_lowercase();
            let before = at > 0 && bytes[at - 1].is_ascii_digit();
            let behind = bytes.get(at + letters).is_some_and(u8::is_ascii_digit);
            let class = match word.as_str() {
                "~" => -9,
                "dev" => -8,
                "alpha" => -7,
                "a" if before && behind => -7,
                "beta" => -6,
                "b" if before && behind => -6,
                "m" if behind => -5,
                "rc" => -3,
                "c" if before && behind => -3,
                _ => 1,
            };
            let row = rows.last_mut().unwrap();
            row.1 = class;
            row.2 = if class < 0 { String::new() } else { word };
            rows.push((Vec::new(), 0, String::new()));
        }
        at += digits.max(letters).max(1);
    }
    rows
}

fn compare_dotted(a: &str, b: &str) -> Ordering {
    let (a, b) = (dotted_rows(a), dotted_rows(b));
    for ((a_numbers, a_class, a_word), (b_numbers, b_class, b_word)) in a.iter().zip(&b) {
        for i in 0..a_numbers.len().max(b_numbers.len()) {
            let number = |numbers: &[u64]| numbers.get(i).copied().unwrap_or(0);
            let order = number(a_numbers).cmp(&number(b_numbers));
            if order.is_ne() {
                // A further number is newer than any word in its place.
                return order;
            }
        }
        let order = (a_class, a_word).cmp(&(b_class, b_word));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

#[test]
fn dotted_keys_order_as_their_rule() {
    let mut draw = Draw(7);
    let pieces = [
        ".", ".", ".", "-", "_", "~", "0", "0", "1", "2", "10", "a", "b", "c", "k", "m", "rc",
        "beta", "alpha", "dev", "p", "RC", "zg", ".0", ".1",
    ];
    let version = |draw: &mut Draw| {
        let mut text = String::from("1");
        for _ in 0..draw.below(6) {
            text.push_str(pieces[draw.below(pieces.len())]);
        }
        text
    };
    for i in 0..PAIRS {
        let a = version(&mut draw);
        let b = if i % 2 == 0 {
            version(&mut draw)
        } else {
            format!("{a}{}", pieces[draw.below(pieces.len())])
        };
        assert_eq!(
            compare(VersionScheme::Dotted, &a, &b),
            Ok(compare_dotted(&a, &b)),
            "{a} and {b}"
        );
    }
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
