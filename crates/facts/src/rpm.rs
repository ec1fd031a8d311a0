//! `rpm -qa` output: installed packages of the RPM distributions.
//!
//! Entry: [`parse_qa`], with [`QUERY_FORMAT`] for whoever asks rpm; [`platform_hint`] where no
//! os-release came with it; [`needs`] for which package needs which.

pub mod needs;

use mailkeep_model::{Ecosystem, InstalledPackage, Platform, Problem};

/// The query format that gives all a verdict needs: `rpm -qa --qf FORMAT`. rpm before 4.14 (el7)
/// knows no `MODULARITYLABEL`; write `(none)` in its place there.
pub const QUERY_FORMAT: &str = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t\
    %{SOURCERPM}\\t%{MODULARITYLABEL}\\t%{VENDOR}\\n";

/// Reads `rpm -qa` output: lines of [`QUERY_FORMAT`], without their last columns too, or plain
/// `name-version-release.arch`, even mixed. Sorted by name, then architecture. `gpg-pubkey` entries are keys, not packages.
///
/// The version is `[epoch:]version-release` with epoch 0 left out. A source package has no epoch of
/// its own in rpm's database; its version here takes that of the binary. Plain lines tell neither
/// epoch nor source package: said once, as a [`Problem`].
pub fn parse_qa(text: &str) -> (Vec<InstalledPackage>, Vec<Problem>) {
    let Listing {
        packages,
        unread: mut problems,
        remark,
    } = read_qa(text);
    problems.extend(remark);
    (packages, problems)
}

/// What [`parse_qa`] finds, with the lines that may hide a package apart.
pub(crate) struct Listing {
    pub packages: Vec<InstalledPackage>,
    /// Lines that could not be read.
    pub unread: Vec<Problem>,
    /// What the lines that were read do not tell.
    pub remark: Option<Problem>,
}

pub(crate) fn read_qa(text: &str) -> Listing {
    let mut packages = Vec::new();
    let mut unread = Vec::new();
    let mut plain = 0_usize;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            continue;
        }
        let parsed = if line.contains('\t') {
            from_columns(line)
        } else {
            let parsed = from_nevra(line.trim());
            plain += usize::from(matches!(&parsed, Ok(Some(p)) if !p.version.contains(':')));
            parsed
        };
        match parsed {
            Ok(Some(package)) => packages.push(package),
            Ok(None) => {}
            Err(reason) => unread.push(Problem::new(
                format!("rpm -qa line {}", number + 1),
                format!(
                    "{reason}: {:?}",
                    mailkeep_model::text::printable_max(line, 80)
                ),
            )),
        }
    }
    let remark = (plain > 0).then(|| {
        Problem::new(
            "rpm -qa",
            format!(
                "{plain} packages came without epoch and source package; versions with an epoch \
                 cannot be judged rightly. Ask rpm with the format of `mailkeep scan`"
            ),
        )
    });
    packages.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.arch.cmp(&b.arch)));
    Listing {
        packages,
        unread,
        remark,
    }
}

/// The platform that a package list shows by its `*-release` package. A dist tag (`.el9`) alone
/// names no vendor: `None`.
pub fn platform_hint(packages: &[InstalledPackage]) -> Option<Platform> {
    packages.iter().find_map(|package| {
        let ecosystem = match &*package.name {
            "almalinux-release" => Ecosystem::AlmaLinux,
            "rocky-release" => Ecosystem::RockyLinux,
            "oraclelinux-release" => Ecosystem::OracleLinux,
            "redhat-release"
            | "redhat-release-server"
            | "centos-release"
            | "centos-linux-release"
            | "centos-stream-release" => Ecosystem::RedHat,
            "fedora-release" | "fedora-release-common" => Ecosystem::Fedora,
            "sles-release" | "sled-release" | "SLES_SAP-release" => Ecosystem::Suse,
            "openSUSE-release" | "Leap-release" => Ecosystem::OpenSuse,
            _ => return None,
        };
        let version = package.version.split('-').next()?;
        let version = version.split_once(':').map_or(version, |(_, v)| v);
        let release = match ecosystem {
            // Tumbleweed's is a date: `20260801`.
            Ecosystem::OpenSuse if version.len() >= 8 && !version.contains('.') => "tumbleweed",
            Ecosystem::Suse | Ecosystem::OpenSuse => version,
            _ => version.split('.').next()?,
        };
        (!release.is_empty()).then(|| Platform::new(ecosystem, release))
    })
}

/// Fuzz entry: any bytes.
pub fn fuzz(input: &[u8]) {
    let (packages, _) = parse_qa(&String::from_utf8_lossy(input));
    let _ = platform_hint(&packages);
}

/// Name, version and release of `name-version-release`.
pub(crate) fn split_nvr(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, release) = text.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    (!name.is_empty() && !version.is_empty() && !release.is_empty())
        .then_some((name, version, release))
}

/// Name and `version-release` of a source package's file name.
pub(crate) fn split_source_rpm(file: &str) -> Option<(&str, String)> {
    let nvr = file
        .strip_suffix(".src.rpm")
        .or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let (name, version, release) = split_nvr(nvr)?;
    Some((name, format!("{version}-{release}")))
}

/// `[epoch:]evr`, without an epoch of 0.
pub(crate) fn with_epoch(epoch: &str, evr: &str) -> String {
    match epoch {
        "" | "0" | "(none)" => evr.to_owned(),
        epoch => format!("{epoch}:{evr}"),
    }
}

fn known(column: Option<&str>) -> Option<&str> {
    column.filter(|c| !c.is_empty() && *c != "(none)")
}

fn is_word(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}

fn from_columns(line: &str) -> Result<Option<InstalledPackage>, &'static str> {
    let mut columns = line.split('\t');
    let name = known(columns.next()).ok_or("has no name")?;
    let epoch = known(columns.next()).unwrap_or("0");
    let version = known(columns.next()).ok_or("has no version")?;
    let release = known(columns.next()).ok_or("has no release")?;
    let arch = known(columns.next()).unwrap_or_default();
    let source = known(columns.next());
    let module = known(columns.next());
    let vendor = known(columns.next().map(str::trim));
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    if epoch.parse::<u32>().is_err() {
        return Err("has an epoch that is no number");
    }
    if ![name, version, release, arch].into_iter().all(is_word) {
        return Err("has odd characters");
    }
    let evr = with_epoch(epoch, &format!("{version}-{release}"));
    let (source, source_version) = source
        .filter(|s| is_word(s))
        .and_then(split_source_rpm)
        .map_or_else(
            || (name, evr.clone()),
            |(name, vr)| (name, with_epoch(epoch, &vr)),
        );
    let mut package = package(name, evr, arch, source, source_version);
    package.module = module.map(|m| mailkeep_model::text::printable_max(m, 255).into());
    package.vendor = vendor.map(|v| mailkeep_model::text::printable_max(v, 255).into());
    Ok(Some(package))
}

/// A package by `name-[epoch:]version-release[.arch]`; `None` for a key.
pub(crate) fn from_nevra(line: &str) -> Result<Option<InstalledPackage>, &'static str> {
    if !is_word(line) {
        return Err("is no package name");
    }
    let (rest, arch) = match line.rsplit_once('.') {
        Some((rest, arch)) if is_arch(arch) => (rest, arch),
        _ => (line, ""),
    };
    let (name, version, release) = split_nvr(rest).ok_or("is no name-version-release")?;
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
    if epoch.parse::<u32>().is_err() {
        return Err("has an epoch that is no number");
    }
    let evr = with_epoch(epoch, &format!("{version}-{release}"));
    Ok(Some(package(name, evr.clone(), arch, name, evr)))
}

/// Architectures of rpmrc that distributions ship for.
fn is_arch(text: &str) -> bool {
    matches!(
        text,
        "noarch"
            | "x86_64"
            | "x86_64_v2"
            | "i386"
            | "i486"
            | "i586"
            | "i686"
            | "aarch64"
            | "armv7hl"
            | "armv7l"
            | "ppc"
            | "ppc64"
            | "ppc64le"
            | "s390"
            | "s390x"
            | "riscv64"
            | "loongarch64"
            | "src"
            | "(none)"
    )
}

fn package(
    name: &str,
    version: String,
    arch: &str,
    source: &str,
    source_version: String,
) -> InstalledPackage {
    InstalledPackage {
        name: name.into(),
        version: version.into(),
        arch: if arch == "(none)" { "" } else { arch }.into(),
        source: source.into(),
        source_version: source_version.into(),
        ecosystem: None,
        module: None,
        vendor: None,
        depends: Vec::new(),
        provides: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_format_tells_epoch_source_and_module() {
        let text = "postfix\t2\t3.5.25\t1.el9\tx86_64\tpostfix-3.5.25-1.el9.src.rpm\t(none)\n\
            openssl-libs\t1\t3.0.7\t27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\t(none)\n\
            nodejs\t1\t18.20\t1.module_el9\tx86_64\tnodejs-18.20-1.module_el9.src.rpm\tnodejs:18:9:x\n\
            bash\t0\t5.1.8\t9.el9\tx86_64\tbash-5.1.8-9.el9.src.rpm\n\
            gpg-pubkey\t0\t8d50eb66\t6404ce14\t(none)\t(none)\t(none)\n";
        let (packages, problems) = parse_qa(text);
        assert!(problems.is_empty(), "{problems:?}");
        let seen: Vec<String> = packages
            .iter()
            .map(|p| format!("{} {} {} {}", p.name, p.version, p.source, p.source_version))
            .collect();
        assert_eq!(
            seen,
            [
                "bash 5.1.8-9.el9 bash 5.1.8-9.el9",
                "nodejs 1:18.20-1.module_el9 nodejs 1:18.20-1.module_el9",
                "openssl-libs 1:3.0.7-27.el9 openssl 1:3.0.7-27.el9",
                "postfix 2:3.5.25-1.el9 postfix 2:3.5.25-1.el9",
            ]
        );
        assert_eq!(packages[1].module.as_deref(), Some("nodejs:18:9:x"));
    }

    #[test]
    fn who_built_a_package_is_kept_where_rpm_says_it() {
        let text = "exim\t0\t4.98\t1.el9\tx86_64\texim-4.98-1.el9.src.rpm\t(none)\tFedora Project\n\
            postfix\t2\t3.5.25\t1.el9\tx86_64\tpostfix-3.5.25-1.el9.src.rpm\t(none)\tAlmaLinux\n\
            rspamd\t0\t3.9\t1\tx86_64\trspamd-3.9-1.src.rpm\t(none)\t(none)\n\
            sendmail\t0\t8.16\t1.el9\tx86_64\tsendmail-8.16-1.el9.src.rpm\t(none)\n";
        let (packages, problems) = parse_qa(text);
        assert!(problems.is_empty(), "{problems:?}");
        let seen: Vec<_> = packages
            .iter()
            .map(|p| (&*p.name, p.vendor.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("exim", Some("Fedora Project")),
                ("postfix", Some("AlmaLinux")),
                ("rspamd", None),
                ("sendmail", None),
            ]
        );
        assert_eq!(QUERY_FORMAT.matches("\\t").count(), 7);
    }

    #[test]
    fn plain_lines_say_once_that_the_epoch_is_unknown() {
        let (packages, problems) = parse_qa(
            "dovecot-2.3.16-11.el9.x86_64\npython3-pip-21.2.3-7.el9.noarch\n\
             gpg-pubkey-8d50eb66-6404ce14\nbind-32:9.16.23-1.el9.x86_64\n",
        );
        assert_eq!(packages.len(), 3);
        assert_eq!(&*packages[0].version, "32:9.16.23-1.el9");
        assert_eq!(&*packages[1].name, "dovecot");
        assert_eq!(&*packages[1].version, "2.3.16-11.el9");
        assert_eq!(&*packages[2].arch, "noarch");
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].reason.starts_with("2 packages"),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn an_odd_line_is_named_and_the_rest_goes_on() {
        let (packages, problems) = parse_qa("nonsense\na\tx\t1\t1\tnoarch\nb\t0\t1\t1\tnoarch\n");
        assert_eq!(packages.len(), 1);
        assert_eq!(problems[0].record, "rpm -qa line 1");
        assert_eq!(problems[1].record, "rpm -qa line 2");
    }

    #[test]
    fn the_vendor_is_read_from_its_release_package_and_never_guessed_from_a_dist_tag() {
        for (line, expected) in [
            ("almalinux-release-9.4-1.el9.x86_64", Some("AlmaLinux:9")),
            ("redhat-release-8.10-0.3.el8.x86_64", Some("Red Hat:8")),
            ("sles-release-15.5-150500.43.2.x86_64", Some("SUSE:15.5")),
            (
                "openSUSE-release-20260801-1.1.x86_64",
                Some("openSUSE:tumbleweed"),
            ),
            ("postfix-3.5.25-1.el9.x86_64", None),
        ] {
            let hint = platform_hint(&parse_qa(line).0).map(|p| p.to_string());
            assert_eq!(hint.as_deref(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([a-z0-9:().-]{0,9}[\t.\n-]?){0,40}") {
            fuzz(text.as_bytes());
        }

        #[test]
        fn columns_read_back(
            name in "[a-z][a-z0-9-]{0,9}", epoch in 0_u32..40, version in "[0-9][0-9a-z.~^]{0,6}",
            release in "[0-9][0-9a-z._]{0,6}"
        ) {
            let line = format!("{name}\t{epoch}\t{version}\t{release}\tnoarch\t{name}-{version}-{release}.src.rpm\t(none)\n");
            let (packages, problems) = parse_qa(&line);
            prop_assert!(problems.is_empty());
            let wanted = with_epoch(&epoch.to_string(), &format!("{version}-{release}"));
            prop_assert_eq!(&*packages[0].version, wanted.as_str());
            prop_assert_eq!(&*packages[0].source_version, wanted.as_str());
            prop_assert_eq!(&*packages[0].source, name.as_str());
        }
    }
}
