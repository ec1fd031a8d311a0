//! What RPM packages need of each other. They name capabilities, not packages: `libssl.so.3()(64bit)`,
//! `/bin/sh`, `perl(Getopt::Long)`, `(a or b)`. Here they become names of the packages that provide
//! them.
//!
//! Entry: `fill`, with the lines that [`NEEDS_FORMAT`] makes. A file that nobody declares as provided
//! (`/usr/sbin/useradd`) leads to no package: the database is not asked for every file.

use std::collections::{BTreeSet, HashMap};

use mailkeep_model::InstalledPackage;

/// The query format whose output is read: a package, what it requires, what it provides.
pub const NEEDS_FORMAT: &str = "N %{NAME}\\n[R %{REQUIRENAME}\\n][P %{PROVIDENAME}\\n]";

/// Packages looked at for one capability. Alternatives are few; `bundled(...)` nobody requires.
const MAX_PROVIDERS: usize = 32;

/// Needs kept of one host; a server of a thousand packages has some ten thousand.
const MAX_NEEDS: usize = 500_000;

/// Fills `depends` of packages from lines of [`NEEDS_FORMAT`] and a last line `E`. Packages of one name
/// (two kernels, two architectures) share what any of them needs.
///
/// Gives whether it was all: the end is there, and no limit was met.
pub(crate) fn fill(packages: &mut [InstalledPackage], text: &str) -> bool {
    let mut providers: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut current = "";
    let mut whole = false;
    for (kind, value) in lines(text) {
        match kind {
            "N" => current = value,
            "P" => {
                let of = providers.entry(value).or_default();
                if of.len() < MAX_PROVIDERS && !of.contains(&current) {
                    of.push(current);
                }
            }
            "E" => whole = true,
            _ => {}
        }
    }

    let installed: HashMap<&str, Vec<usize>> =
        packages
            .iter()
            .enumerate()
            .fold(HashMap::new(), |mut by_name, (at, package)| {
                by_name.entry(&*package.name).or_default().push(at);
                by_name
            });
    let mut needs: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut kept = 0;
    for (kind, value) in lines(text) {
        match kind {
            "N" => current = value,
            "R" => {
                let Some(places) = installed.get(current) else {
                    continue;
                };
                let of = needs.entry(current).or_default();
                for provider in names(value).filter_map(|n| providers.get(n)).flatten() {
                    if kept >= MAX_NEEDS {
                        whole = false;
                    } else if *provider != current && installed.contains_key(provider) {
                        kept += if of.insert(provider) { places.len() } else { 0 };
                    }
                }
            }
            _ => {}
        }
    }
    let filled: Vec<(usize, Vec<Box<str>>)> = needs
        .iter()
        .filter_map(|(name, needed)| Some((installed.get(name)?, needed)))
        .flat_map(|(places, needed)| {
            places.iter().map(|at| {
                let needed = needed.iter().map(|name| Box::from(*name)).collect();
                (*at, needed)
            })
        })
        .collect();
    for (at, needed) in filled {
        if let Some(package) = packages.get_mut(at) {
            package.depends = needed;
        }
    }
    whole
}

/// Kind and value of each line.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(|line| {
        let line = line.trim_end_matches('\r');
        line.split_once(' ').unwrap_or((line, ""))
    })
}

/// The capabilities that a requirement names: itself, or those inside a rich one (rpm's manual,
/// "Boolean Dependencies"), without conditions: `(a if b)` does not need b. Operators and versions come
/// along; nobody provides them.
fn names(requirement: &str) -> impl Iterator<Item = &str> {
    let rich = requirement.starts_with('(');
    let mut depth = 0_usize;
    let mut condition = None;
    let split = move |c: char| rich && c == ' ';
    requirement.split(split).filter_map(move |word| {
        if !rich {
            return Some(word);
        }
        let mut name = word.trim_start_matches('(');
        depth += word.len() - name.len();
        let mut closed = 0;
        // A capability has brackets of its own: `perl(Foo)`.
        while name.matches(')').count() > name.matches('(').count() {
            let Some(shorter) = name.strip_suffix(')') else {
                break;
            };
            name = shorter;
            closed += 1;
        }
        let inside = condition.is_some();
        match name {
            "if" | "unless" if !inside => condition = Some(depth),
            "else" if condition == Some(depth) => condition = None,
            _ => {}
        }
        depth = depth.saturating_sub(closed);
        if condition.is_some_and(|at| depth < at) {
            condition = None;
        }
        (!inside).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::parse_qa;
    use proptest::prelude::*;

    /// As rpm 4.18 prints it, of a server with Postfix.
    const NEEDS: &str = "N postfix\n\
        R (perl(Date::Calc) >= 5 or perl-DateTime)\n\
        R (selinux-policy-targeted if selinux-policy)\n\
        R /bin/sh\n\
        R /usr/sbin/useradd\n\
        R libssl.so.3()(64bit)\n\
        R libpostfix-global.so\n\
        R rpmlib(RichDependencies)\n\
        P libpostfix-global.so\n\
        P postfix\n\
        P smtpdaemon\n\
        N openssl-libs\n\
        R ca-certificates\n\
        P libssl.so.3()(64bit)\n\
        P openssl-libs\n\
        P openssl-libs(x86-64)\n\
        N bash\nR (none)\nP /bin/sh\nP bash\n\
        N ca-certificates\nP ca-certificates\n\
        N perl-Date-Calc\nP perl(Date::Calc)\nP perl-Date-Calc\n\
        N selinux-policy\nP selinux-policy\n\
        N mutt\nR smtpdaemon\nP mutt\n\
        E\n";

    fn installed(names: &[&str]) -> Vec<InstalledPackage> {
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("{name}\t0\t1\t1.el9\tx86_64\t{name}-1-1.el9.src.rpm\n"))
            .collect();
        parse_qa(&lines.concat()).0
    }

    fn depends<'p>(packages: &'p [InstalledPackage], name: &str) -> Vec<&'p str> {
        let package = packages.iter().find(|p| &*p.name == name).unwrap();
        package.depends.iter().map(AsRef::as_ref).collect()
    }

    const NAMES: &[&str] = &[
        "postfix",
        "openssl-libs",
        "bash",
        "ca-certificates",
        "perl-Date-Calc",
        "selinux-policy",
        "mutt",
    ];

    #[test]
    fn a_capability_leads_to_the_packages_that_provide_it() {
        let mut packages = installed(NAMES);
        assert!(fill(&mut packages, NEEDS));
        assert_eq!(
            depends(&packages, "postfix"),
            ["bash", "openssl-libs", "perl-Date-Calc"]
        );
        assert_eq!(depends(&packages, "openssl-libs"), ["ca-certificates"]);
        assert_eq!(depends(&packages, "mutt"), ["postfix"]);
        assert!(depends(&packages, "bash").is_empty());
    }

    #[test]
    fn a_condition_is_not_needed() {
        for (requirement, expected) in [
            ("a", vec!["a"]),
            ("perl(Foo Bar)", vec!["perl(Foo Bar)"]),
            ("(a if b)", vec!["a", "if"]),
            ("(a unless b else c)", vec!["a", "unless", "c"]),
            (
                "((a if (b and c)) and d(x)(64bit))",
                vec!["a", "if", "and", "d(x)(64bit)"],
            ),
            (
                "(perl(A) >= 1 with perl(A) < 2)",
                vec!["perl(A)", ">=", "1", "with", "perl(A)", "<", "2"],
            ),
        ] {
            // `else` ends a condition, and is none itself.
            let found: Vec<&str> = names(requirement).filter(|n| *n != "else").collect();
            assert_eq!(found, expected, "{requirement}");
        }
    }

    #[test]
    fn a_list_that_broke_off_is_not_whole() {
        let mut packages = installed(NAMES);
        let cut = NEEDS.strip_suffix("E\n").unwrap();
        assert!(!fill(&mut packages, cut));
        assert_eq!(depends(&packages, "mutt"), ["postfix"]);
        assert!(!fill(&mut packages, ""));
    }

    #[test]
    fn two_of_one_name_share_what_they_need_and_unknown_names_count_for_nothing() {
        let mut packages = installed(&["kernel", "kernel", "a"]);
        let text =
            "N kernel\nR a\nN kernel\nR b\nR ghost\nN a\nP a\nP b\nN ghost\nP ghost\nR a\nE\n";
        assert!(fill(&mut packages, text));
        let needs: Vec<_> = packages.iter().map(|p| p.depends.len()).collect();
        assert_eq!(needs, [0, 1, 1]);
    }

    #[test]
    fn needs_are_bounded_whatever_a_host_says() {
        let names: Vec<String> = (0..4000).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut packages = installed(&names);
        let provided = names.iter().enumerate().map(|(at, name)| {
            let own = at * 7919 % 200;
            format!("N {name}\nP all\nP c{own}\n")
        });
        let required = names.iter().map(|name| format!("N {name}\nR all\nR c0\n"));
        let text: String = provided.chain(required).chain(["E\n".to_owned()]).collect();
        fill(&mut packages, &text);
        let kept: usize = packages.iter().map(|p| p.depends.len()).sum();
        assert!(
            kept <= MAX_NEEDS.min(names.len() * 2 * MAX_PROVIDERS),
            "{kept}"
        );
    }

    proptest! {
        #[test]
        fn any_lines_are_read_without_panic(text in "([NRPE] [a-c() if]{0,8}\n){0,20}") {
            let mut packages = installed(&["a", "b", "c"]);
            fill(&mut packages, &text);
            for package in &packages {
                prop_assert!(package.depends.iter().all(|name| **name != *package.name));
            }
        }
    }
}
