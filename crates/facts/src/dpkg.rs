//! dpkg's status file (dpkg-query(1), deb-control(5)): installed packages.
//!
//! Entry: [`parse_status`]. It is on the path of every check, so it walks the bytes once with
//! `memchr` and looks at eight fields only.

use std::borrow::Cow;

use mailkeep_model::{InstalledPackage, Problem};
use memchr::{memchr, memchr_iter, memchr2_iter};

/// Reads a status file: every package whose files are on disk, sorted by name, then architecture.
///
/// Installed means the third word of `Status` says that the package is unpacked: `installed`, and
/// `unpacked`, `half-configured`, `half-installed`, `triggers-awaited`, `triggers-pending`, whose
/// files lie on disk whole or in part. `deinstall ok config-files` is a removed package whose
/// configuration stays: not installed. Entries of several architectures stay apart.
///
/// A paragraph that cannot be understood becomes a [`Problem`]; the rest goes on. Bytes that are
/// not UTF-8 do no harm outside names and versions.
pub fn parse_status(input: &[u8]) -> (Vec<InstalledPackage>, Vec<Problem>) {
    // One look at all of it; afterwards every value is a slice.
    let text = match std::str::from_utf8(input) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(input),
    };
    let input = text.as_ref();
    let bytes = input.as_bytes();
    let mut found = Found {
        // A paragraph takes 200 bytes at the least, 800 on a real host; untouched room costs nothing.
        packages: Vec::with_capacity(bytes.len() / 200),
        problems: Vec::new(),
        paragraphs: 0,
    };
    let mut paragraph = Paragraph::default();
    let mut start = 0_usize;
    let mut newlines = memchr_iter(b'\n', bytes);
    let mut field: Option<Field> = None;
    loop {
        let (end, complete) = match newlines.next() {
            Some(end) => (end, true),
            None if start < bytes.len() => (bytes.len(), false),
            None => break,
        };
        let line = bytes.get(start..end).unwrap_or_default();
        match line.first() {
            None | Some(b' ' | b'\t' | b'\r') => {
                // deb-control(5): a line of white space alone ends a paragraph, as an empty one does.
                if line.trim_ascii().is_empty() {
                    if paragraph.begun {
                        found.take(input, &paragraph);
                        paragraph = Paragraph::default();
                    }
                    field = None;
                } else if let Some(field) = field {
                    paragraph.extend(field, end);
                }
            }
            // Most lines: a letter with which no wanted field begins.
            Some(letter) if letter.is_ascii_alphabetic() && !Field::begins_with(*letter) => {
                field = None;
                paragraph.begun = true;
            }
            Some(_) => {
                paragraph.begun = true;
                let colon = memchr(b':', line).filter(|c| *c > 0);
                field = colon.and_then(|c| Field::named(line.get(..c)?));
                match (field, colon) {
                    (Some(field), Some(colon)) => paragraph.set(field, start + colon + 1, end),
                    (_, None) => {
                        paragraph.odd_line.get_or_insert((start, end));
                    }
                    (None, Some(_)) => {}
                }
            }
        }
        if !complete {
            // A status file ends with a line feed. Where it was cut, the last value may be half a
            // version: better none than a wrong one.
            paragraph.cut = match field {
                Some(Field::Depends | Field::PreDepends | Field::Provides) => Some(false),
                None if memchr(b':', line).is_some() => Some(false),
                Some(_) | None => Some(true),
            };
            break;
        }
        start = end + 1;
    }
    if paragraph.begun {
        found.take(input, &paragraph);
    }
    let Found {
        mut packages,
        problems,
        ..
    } = found;
    packages.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.arch.cmp(&b.arch)));
    (packages, problems)
}

/// Fuzz entry: any bytes.
pub fn fuzz(input: &[u8]) {
    let (packages, _) = parse_status(input);
    debug_assert!(
        packages
            .iter()
            .all(|p| !p.name.is_empty() && !p.version.is_empty())
    );
}

/// The fields that matter.
#[derive(Debug, Clone, Copy)]
enum Field {
    Architecture,
    Depends,
    Package,
    PreDepends,
    Provides,
    Source,
    Status,
    Version,
}

const FIELDS: usize = 8;

impl Field {
    fn begins_with(letter: u8) -> bool {
        matches!(
            letter.to_ascii_lowercase(),
            b'a' | b'd' | b'p' | b's' | b'v'
        )
    }

    /// Field names are case-insensitive (deb-control(5)).
    fn named(name: &[u8]) -> Option<Self> {
        let (wanted, field): (&[u8], _) = match (name.first()?.to_ascii_lowercase(), name.len()) {
            (b'a', 12) => (b"Architecture", Self::Architecture),
            (b'd', 7) => (b"Depends", Self::Depends),
            (b'p', 7) => (b"Package", Self::Package),
            (b'p', 8) => (b"Provides", Self::Provides),
            (b'p', 11) => (b"Pre-Depends", Self::PreDepends),
            (b's', 6) => match name.get(1)?.to_ascii_lowercase() {
                b'o' => (b"Source", Self::Source),
                _ => (b"Status", Self::Status),
            },
            (b'v', 7) => (b"Version", Self::Version),
            _ => return None,
        };
        (name == wanted || name.eq_ignore_ascii_case(wanted)).then_some(field)
    }
}

/// One paragraph: where its values lie in the input.
#[derive(Debug, Default)]
struct Paragraph {
    begun: bool,
    values: [(usize, usize); FIELDS],
    odd_line: Option<(usize, usize)>,
    /// The input ended inside this paragraph; `true` where a value that counts was cut.
    cut: Option<bool>,
}

impl Paragraph {
    fn set(&mut self, field: Field, start: usize, end: usize) {
        if let Some(value) = self.values.get_mut(field as usize) {
            *value = (start, end);
        }
    }

    fn extend(&mut self, field: Field, end: usize) {
        if let Some(value) = self.values.get_mut(field as usize) {
            value.1 = end;
        }
    }

    fn value<'a>(&self, input: &'a str, field: Field) -> &'a str {
        self.values
            .get(field as usize)
            .and_then(|(start, end)| input.get(*start..*end))
            .unwrap_or_default()
            .trim_ascii()
    }
}

/// What was read so far.
struct Found {
    packages: Vec<InstalledPackage>,
    problems: Vec<Problem>,
    paragraphs: usize,
}

impl Found {
    fn take(&mut self, input: &str, paragraph: &Paragraph) {
        self.paragraphs += 1;
        if let Some((start, end)) = paragraph.odd_line {
            let line = input.get(start..end).unwrap_or_default();
            let line = mailkeep_model::text::printable_max(line, 60);
            self.problem(input, paragraph, &format!("a line is no field: {line:?}"));
        }
        if let Some(spoilt) = paragraph.cut {
            self.problem(input, paragraph, "the file ends in the middle of a line");
            if spoilt {
                return;
            }
        }
        if let Err(reason) = self.package(input, paragraph) {
            self.problem(input, paragraph, reason);
        }
    }

    #[cold]
    fn problem(&mut self, input: &str, paragraph: &Paragraph, reason: &str) {
        let record = match paragraph.value(input, Field::Package) {
            "" => format!("dpkg status paragraph {}", self.paragraphs),
            name => format!("dpkg status of {name}"),
        };
        self.problems.push(Problem::new(record, reason));
    }

    /// Keeps the package, where it is installed.
    fn package(&mut self, input: &str, paragraph: &Paragraph) -> Result<(), &'static str> {
        let name = paragraph.value(input, Field::Package);
        if name.is_empty() {
            return Err("has no Package field");
        }
        let status = paragraph.value(input, Field::Status);
        let state = status.rsplit(|c: char| c.is_ascii_whitespace()).next();
        match state.unwrap_or_default() {
            "installed" | "unpacked" | "half-configured" | "half-installed"
            | "triggers-awaited" | "triggers-pending" => {}
            "config-files" | "not-installed" => return Ok(()),
            "" => return Err("has no Status field"),
            _ => return Err("has a Status that dpkg(1) does not know"),
        }
        let version = paragraph.value(input, Field::Version);
        if version.is_empty() {
            return Err("is installed, but has no Version field");
        }
        let name = word(name).ok_or("has a Package name with odd characters")?;
        let version = word(version).ok_or("has a Version with odd characters")?;
        let (source, source_version) = match paragraph.value(input, Field::Source) {
            "" => (name, version),
            value => source_of(value, version).ok_or("has a Source that cannot be read")?,
        };
        let arch = word(paragraph.value(input, Field::Architecture)).unwrap_or_default();
        let mut depends = Vec::new();
        names_into(&mut depends, paragraph.value(input, Field::PreDepends));
        names_into(&mut depends, paragraph.value(input, Field::Depends));
        let mut provides = Vec::new();
        names_into(&mut provides, paragraph.value(input, Field::Provides));
        self.packages.push(InstalledPackage {
            name: name.into(),
            version: version.into(),
            arch: arch.into(),
            source: source.into(),
            source_version: source_version.into(),
            ecosystem: None,
            module: None,
            vendor: None,
            depends,
            provides,
        });
        Ok(())
    }
}

/// A name or version: printable ASCII without white space, of a sane length.
fn word(text: &str) -> Option<&str> {
    let sane = !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic());
    sane.then_some(text)
}

/// `name` or `name (version)`.
fn source_of<'a>(value: &'a str, binary_version: &'a str) -> Option<(&'a str, &'a str)> {
    match value.split_once('(') {
        None => Some((word(value)?, binary_version)),
        Some((name, rest)) => {
            let version = rest.strip_suffix(')')?.trim_ascii();
            Some((word(name.trim_ascii())?, word(version)?))
        }
    }
}

/// The package names of a relation field, each alternative: what stands before a version
/// restriction, an architecture or a `:any`.
fn names_into(names: &mut Vec<Box<str>>, value: &str) {
    if value.is_empty() {
        return;
    }
    names.reserve(1 + memchr2_iter(b',', b'|', value.as_bytes()).count());
    for relation in value.split([',', '|']) {
        let relation = relation.trim_ascii_start();
        let end = relation
            .bytes()
            .position(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'-' | b'.' | b'_'))
            .unwrap_or(relation.len());
        if let Some(name) = relation.get(..end).and_then(word) {
            names.push(name.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXIM: &str = "Package: exim4-daemon-light\nStatus: install ok installed\nArchitecture: \
        amd64\nMulti-Arch: foreign\nSource: exim4 (4.96-15)\nVersion: 4.96-15+b1\nProvides: \
        mail-transport-agent\nPre-Depends: init-system-helpers (>= 1.54~)\nDepends: exim4-base (>= \
        4.96), libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, perl:any\nConffiles:\n /etc/x \
        0123\nDescription: lightweight\n Long: text\n .\n more\n";

    fn only(text: &str) -> InstalledPackage {
        let (mut packages, problems) = parse_status(text.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(packages.len(), 1);
        packages.remove(0)
    }

    fn with_status(status: &str) -> String {
        format!("Package: p\nStatus: {status}\nVersion: 1-1\nArchitecture: all\n")
    }

    #[test]
    fn a_binary_version_is_not_its_source_version() {
        let exim = only(EXIM);
        assert_eq!(&*exim.version, "4.96-15+b1");
        assert_eq!(&*exim.source, "exim4");
        assert_eq!(&*exim.source_version, "4.96-15");
        let named_only = only(
            "Package: libc-bin\nStatus: install ok installed\nSource: glibc\nVersion: 2.36-9\n",
        );
        assert_eq!(&*named_only.source, "glibc");
        assert_eq!(&*named_only.source_version, "2.36-9");
    }

    #[test]
    fn dependencies_are_names_with_every_alternative() {
        let exim = only(EXIM);
        let names: Vec<&str> = exim.depends.iter().map(AsRef::as_ref).collect();
        assert_eq!(
            names,
            [
                "init-system-helpers",
                "exim4-base",
                "libc6",
                "debconf",
                "debconf-2.0",
                "perl"
            ]
        );
        assert_eq!(&*exim.provides[0], "mail-transport-agent");
        let folded = only(
            "Package: p\nStatus: install ok installed\nVersion: 1\nDepends: a,\n b (>= 1) | c\n",
        );
        assert_eq!(folded.depends.len(), 3);
    }

    #[test]
    fn removed_but_configured_is_not_installed() {
        for status in ["deinstall ok config-files", "purge ok not-installed"] {
            let (packages, problems) = parse_status(with_status(status).as_bytes());
            assert!(packages.is_empty() && problems.is_empty(), "{status}");
        }
    }

    #[test]
    fn files_on_disk_count_as_installed() {
        for status in [
            "install ok installed",
            "hold ok installed",
            "deinstall ok installed",
            "install ok unpacked",
            "install ok half-configured",
            "install reinstreq half-installed",
            "install ok triggers-pending",
            "install ok triggers-awaited",
        ] {
            assert_eq!(&*only(&with_status(status)).name, "p", "{status}");
        }
    }

    #[test]
    fn a_broken_paragraph_is_named_and_the_rest_goes_on() {
        let text = format!(
            "Package: broken\nStatus: install ok installed\n\nVersion: 1\n\n<<<<<<< HEAD\n{EXIM}\n\
             Package: odd\nStatus: install ok dancing\nVersion: 1\n\n\
             Package: bad\u{e9}\nStatus: install ok installed\nVersion: 1\n"
        );
        let (packages, problems) = parse_status(text.as_bytes());
        assert_eq!(packages.len(), 1);
        let records: Vec<&str> = problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(
            records,
            [
                "dpkg status of broken",
                "dpkg status paragraph 2",
                "dpkg status of exim4-daemon-light",
                "dpkg status of odd",
                "dpkg status of badé",
            ]
        );
    }

    #[test]
    fn text_that_is_not_utf8_does_no_harm_outside_names() {
        let mut text = EXIM.replace("lightweight", "@").into_bytes();
        for byte in &mut text {
            if *byte == b'@' {
                *byte = 0xff;
            }
        }
        assert_eq!(parse_status(&text).0.len(), 1);
    }

    #[test]
    fn a_cut_file_never_gives_half_a_version() {
        for cut in 0..EXIM.len() {
            let (packages, problems) = parse_status(&EXIM.as_bytes()[..cut]);
            for package in packages {
                assert_eq!(&*package.version, "4.96-15+b1", "cut at {cut}");
                assert_eq!(&*package.source_version, "4.96-15", "cut at {cut}");
            }
            let last = EXIM.as_bytes()[..cut].last();
            if last.is_some_and(|b| !b.is_ascii_whitespace()) {
                assert!(!problems.is_empty(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn architectures_stay_apart_and_order_is_by_name_then_architecture() {
        let one = |name: &str, arch: &str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: {arch}\nVersion: 1\n\n"
            )
        };
        let text = [one("z", "all"), one("libc6", "i386"), one("libc6", "amd64")].concat();
        let (packages, _) = parse_status(text.as_bytes());
        let order: Vec<String> = packages
            .iter()
            .map(|p| format!("{}:{}", p.name, p.arch))
            .collect();
        assert_eq!(order, ["libc6:amd64", "libc6:i386", "z:all"]);
    }

    fn print(package: &InstalledPackage) -> String {
        format!(
            "Package: {}\nStatus: install ok installed\nArchitecture: {}\nSource: {} ({})\nVersion: \
             {}\nDepends: {}\nProvides: {}\n\n",
            package.name,
            package.arch,
            package.source,
            package.source_version,
            package.version,
            package.depends.join(" (>= 1), "),
            package.provides.join(" | "),
        )
    }

    prop_compose! {
        fn packages()(
            name in "[a-z][a-z0-9+.-]{1,12}",
            version in "([0-9]:)?[0-9][0-9a-z.+~]{0,10}(-[0-9a-z.+~]{1,6})?",
            source in "[a-z][a-z0-9+.-]{1,12}",
            source_version in "[0-9][0-9a-z.+~-]{0,10}",
            arch in "(amd64|all|i386)",
            depends in prop::collection::vec("[a-z][a-z0-9+.-]{1,8}", 0..5),
            provides in prop::collection::vec("[a-z][a-z0-9+.-]{1,8}", 0..3),
        ) -> InstalledPackage {
            InstalledPackage {
                name: name.into(),
                version: version.into(),
                arch: arch.into(),
                source: source.into(),
                source_version: source_version.into(),
                ecosystem: None,
                module: None,
                vendor: None,
                depends: depends.into_iter().map(Into::into).collect(),
                provides: provides.into_iter().map(Into::into).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(input in prop::collection::vec(any::<u8>(), 0..600)) {
            fuzz(&input);
        }

        #[test]
        fn any_lines_are_read_without_panic(
            lines in prop::collection::vec("(Package|Version|Status|Source| |):? ?[ -~]{0,12}", 0..30)
        ) {
            fuzz(lines.join("\n").as_bytes());
        }

        #[test]
        fn printed_packages_read_back(wanted in packages()) {
            let (packages, problems) = parse_status(print(&wanted).as_bytes());
            prop_assert!(problems.is_empty());
            prop_assert_eq!(packages, vec![wanted]);
        }
    }
}
