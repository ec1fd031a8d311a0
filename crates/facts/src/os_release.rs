//! os-release(5): which distribution and release a host runs.
//!
//! Entry: [`parse`], then [`platform_of`]. Says `None` where a distribution is not one whose
//! packages a feed speaks for; it never guesses from `ID_LIKE`.

use mailkeep_model::{Ecosystem, OsRelease, Platform, Problem, debian_codename};

/// Reads the fields of os-release(5) that matter. A line that is no assignment becomes a
/// [`Problem`]; of a key given twice the last counts, as a shell would have it.
pub fn parse(text: &str) -> (OsRelease, Vec<Problem>) {
    let mut os = OsRelease::default();
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate().take(MAX_LINES) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let record = || format!("os-release line {}", number + 1);
        let Some((key, raw)) = line.split_once('=') else {
            problems.push(Problem::new(record(), "is no KEY=value assignment"));
            continue;
        };
        if !matches!(
            key,
            "ID" | "ID_LIKE" | "VERSION_ID" | "VERSION_CODENAME" | "PRETTY_NAME"
        ) {
            continue;
        }
        let Some(value) = unquote(raw) else {
            problems.push(Problem::new(record(), "ends inside a quotation"));
            continue;
        };
        let value = mailkeep_model::text::printable_max(&value, 200);
        let filled = || Some(value.clone()).filter(|v| !v.is_empty());
        match key {
            "ID" => os.id = value.to_ascii_lowercase(),
            "ID_LIKE" => {
                os.id_like = value
                    .split_whitespace()
                    .map(str::to_ascii_lowercase)
                    .collect();
            }
            "VERSION_ID" => os.version_id = filled(),
            "VERSION_CODENAME" => os.codename = filled(),
            _ => os.pretty_name = filled(),
        }
    }
    if os.id.is_empty() {
        // os-release(5): a missing ID means "linux".
        problems.push(Problem::new("os-release", "names no distribution (no ID)"));
    }
    (os, problems)
}

/// Whose packages a host has, by its os-release.
///
/// A derivative (`raspbian`, `devuan`, `kali`, `linuxmint`, ...) rebuilds or replaces packages of
/// the distribution it is like, so that the statements of that distribution do not hold for it:
/// `None`. `CentOS` counts as Red Hat, whose statements it is judged by. Debian testing and sid
/// carry no `VERSION_ID`; both name the coming release, and are judged as that.
pub fn platform_of(os: &OsRelease) -> Option<Platform> {
    let version = os.version_id.as_deref();
    let major = || version.and_then(|v| v.split('.').next());
    let (ecosystem, release) = match os.id.as_str() {
        "debian" => (Ecosystem::Debian, debian_release(os)?),
        "ubuntu" => (Ecosystem::Ubuntu, version?),
        "rhel" | "redhat" | "centos" => (Ecosystem::RedHat, major()?),
        "almalinux" => (Ecosystem::AlmaLinux, major()?),
        "rocky" => (Ecosystem::RockyLinux, major()?),
        "ol" => (Ecosystem::OracleLinux, major()?),
        "fedora" => (Ecosystem::Fedora, major()?),
        "sles" | "sled" | "sles_sap" | "suse" => (Ecosystem::Suse, version?),
        "opensuse-leap" => (Ecosystem::OpenSuse, version?),
        "opensuse-tumbleweed" => (Ecosystem::OpenSuse, "tumbleweed"),
        _ => return None,
    };
    Some(Platform::new(ecosystem, release)).filter(|p| !p.release.is_empty())
}

/// Lines read at most; real files have fewer than thirty.
const MAX_LINES: usize = 1000;

fn debian_release(os: &OsRelease) -> Option<&str> {
    if let Some(version) = os.version_id.as_deref() {
        return Some(version);
    }
    if let Some(codename) = os.codename.as_deref().and_then(debian_codename) {
        return Some(codename);
    }
    // Before bullseye, testing named itself in PRETTY_NAME only: "Debian GNU/Linux buster/sid".
    let last = os.pretty_name.as_deref()?.split_whitespace().next_back()?;
    debian_codename(last.split('/').next()?)
}

/// Undoes shell quoting as os-release(5) allows it: single quotes, double quotes with a backslash
/// before `"`, `$`, `` ` `` and itself, or none. `None` where a quotation does not end.
fn unquote(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => out.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => match chars.next()? {
                        c @ ('"' | '\\' | '$' | '`') => out.push(c),
                        c => out.extend(['\\', c]),
                    },
                    c => out.push(c),
                }
            },
            '\\' => out.extend(chars.next()),
            // What follows unquoted white space is no part of the value.
            c if c.is_whitespace() => break,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Option<String> {
        platform_of(&parse(text).0).map(|p| p.to_string())
    }

    #[test]
    fn quoted_and_bare_values_read_alike() {
        for text in ["VERSION_ID=12", "VERSION_ID=\"12\"", "VERSION_ID='12'"] {
            assert_eq!(parse(text).0.version_id.as_deref(), Some("12"));
        }
        let (os, problems) = parse("# c\nID=x\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\n\nVERSION_ID=\n");
        assert_eq!(os.pretty_name.as_deref(), Some("a \"b\" $c"));
        assert_eq!(os.version_id, None);
        assert!(problems.is_empty());
    }

    #[test]
    fn distributions_become_platforms() {
        for (text, expected) in [
            ("ID=debian\nVERSION_ID=\"12\"", "Debian:12"),
            ("ID=debian\nVERSION_CODENAME=forky", "Debian:14"),
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux buster/sid\"",
                "Debian:10",
            ),
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux sid\"",
                "Debian:sid",
            ),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"",
                "Ubuntu:24.04",
            ),
            ("ID=\"rhel\"\nVERSION_ID=\"9.4\"", "Red Hat:9"),
            ("ID=\"centos\"\nVERSION_ID=\"7\"", "Red Hat:7"),
            ("ID=\"almalinux\"\nVERSION_ID=\"9.4\"", "AlmaLinux:9"),
            ("ID=\"rocky\"\nVERSION_ID=\"8.10\"", "Rocky Linux:8"),
            ("ID=\"ol\"\nVERSION_ID=\"9.4\"", "Oracle Linux:9"),
            ("ID=fedora\nVERSION_ID=41", "Fedora:41"),
            ("ID=\"sles\"\nVERSION_ID=\"15.5\"", "SUSE:15.5"),
            ("ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"", "openSUSE:15.6"),
        ] {
            assert_eq!(platform(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_derivative_is_not_judged_by_what_it_derives_from() {
        for id in ["raspbian", "devuan", "kali", "linuxmint", "pop"] {
            assert_eq!(
                platform(&format!(
                    "ID={id}\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"12\""
                )),
                None
            );
        }
    }

    #[test]
    fn broken_lines_are_named_and_the_rest_is_read() {
        let (os, problems) = parse("ID=debian\nnonsense\nPRETTY_NAME=\"open\nVERSION_ID=12\n");
        assert_eq!(os.version_id.as_deref(), Some("12"));
        let lines: Vec<_> = problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(lines, ["os-release line 2", "os-release line 3"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,400}") {
            let (os, _) = parse(&text);
            let _ = platform_of(&os);
        }

        #[test]
        fn quoting_is_undone(value in "[ -~]{0,40}") {
            let mut quoted = String::from("ID=x\nVERSION_ID=\"");
            for c in value.chars() {
                if matches!(c, '"' | '\\' | '$' | '`') {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            quoted.push('"');
            prop_assert_eq!(parse(&quoted).0.version_id.unwrap_or_default(), value);
        }
    }
}
