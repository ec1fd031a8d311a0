//! Distributions and their RPM packages, as CSAF and CVE records name them.

use std::str::FromStr as _;

use mailkeep_model::Ecosystem;
use packageurl::PackageUrl;

use super::cpe::Cpe;
use super::{is_keepable, kebab};

/// A release of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// Whose packages.
    pub ecosystem: Ecosystem,
    /// Which release. The streams a Red Hat customer pays for beside the mainline are releases of
    /// their own (`9.2-eus`, `8.4-aus`, `7-els`): their packages must never answer for a mainline
    /// host. So are products laid over the distribution (`openshift-4.14-el9`).
    pub release: Box<str>,
    /// Whether it is such a product, which no `os-release` ever names.
    pub layered: bool,
}

impl Release {
    fn new(ecosystem: Ecosystem, release: impl Into<Box<str>>, layered: bool) -> Option<Self> {
        let release = release.into();
        is_keepable(&release).then_some(Self {
            ecosystem,
            release,
            layered,
        })
    }

    /// By its CPE name.
    ///
    /// Red Hat: `enterprise_linux:9::appstream` is `9`; so is `enterprise_linux:9.6` (from release
    /// 10 on the minor release is written too). `rhel_eus:9.2` is `9.2-eus`. SUSE: `sles:15:sp5`
    /// is `15.5`, and so are its modules and the long-term support of that service pack, whose
    /// packages continue the same line.
    pub fn from_cpe(cpe: &Cpe) -> Option<Self> {
        match cpe.vendor.as_str() {
            "redhat" => Self::red_hat(cpe),
            "suse" => {
                let product = cpe.product.replace('_', "-");
                let version = suse_version(&cpe.version, &cpe.update)?;
                if product.starts_with("sle") && !product.starts_with("sle-micro") {
                    Self::new(Ecosystem::Suse, version, false)
                } else {
                    Self::new(
                        Ecosystem::Suse,
                        format!("{}-{version}", kebab(&product)),
                        true,
                    )
                }
            }
            "opensuse" => match cpe.product.as_str() {
                "leap" => Self::new(Ecosystem::OpenSuse, cpe.version.as_str(), false),
                "tumbleweed" => Self::new(Ecosystem::OpenSuse, "tumbleweed", false),
                _ => None,
            },
            _ => None,
        }
    }

    fn red_hat(cpe: &Cpe) -> Option<Self> {
        let product = cpe.product.as_str();
        let major = cpe.version.split('.').next().unwrap_or_default();
        if product == "enterprise_linux" {
            return Self::new(Ecosystem::RedHat, major, false);
        }
        let stream = product
            .strip_prefix("rhel_")
            .or_else(|| product.strip_prefix("enterprise_linux_"))
            .filter(|stream| {
                matches!(
                    *stream,
                    "aus" | "e4s" | "els" | "eus" | "eus_long_life" | "mission_critical" | "tus"
                )
            });
        if let Some(stream) = stream {
            if cpe.version.is_empty() {
                return None;
            }
            let release = format!("{}-{}", cpe.version, stream.replace('_', "-"));
            return Self::new(Ecosystem::RedHat, release, false);
        }
        let words = [product, &cpe.version, &cpe.update, &cpe.edition]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        Self::new(Ecosystem::RedHat, kebab(&words), true)
    }

    /// By its name, where no CPE is given: `SUSE Linux Enterprise Server 15 SP5-LTSS`,
    /// `openSUSE Leap 15.6`, `Red Hat Enterprise Linux 9`.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("SUSE Linux Enterprise") {
            let mut words = rest.split_whitespace().peekable();
            let micro = rest.trim_start().starts_with("Micro");
            while let Some(word) = words.next() {
                if !word.starts_with(|c: char| c.is_ascii_digit()) {
                    continue;
                }
                let pack = words.peek().copied().unwrap_or_default();
                let major = word.split('-').next().unwrap_or(word);
                let version = suse_version(major, pack)?;
                return if micro {
                    Self::new(Ecosystem::Suse, format!("micro-{version}"), true)
                } else {
                    Self::new(Ecosystem::Suse, version, false)
                };
            }
            return None;
        }
        if let Some(version) = name.strip_prefix("openSUSE Leap ") {
            return Self::new(Ecosystem::OpenSuse, version.trim(), false);
        }
        if name == "openSUSE Tumbleweed" {
            return Self::new(Ecosystem::OpenSuse, "tumbleweed", false);
        }
        let version = name.strip_prefix("Red Hat Enterprise Linux ")?;
        version
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| Self::new(Ecosystem::RedHat, version, false))?
    }
}

/// `15` and `sp5` (or `SP5-LTSS`) to `15.5`, as `VERSION_ID` in SUSE's os-release.
fn suse_version(version: &str, pack: &str) -> Option<String> {
    if version.is_empty() {
        return None;
    }
    let lower = pack.to_ascii_lowercase();
    let digits: String = lower
        .strip_prefix("sp")
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    Some(if digits.is_empty() {
        version.to_owned()
    } else {
        format!("{version}.{digits}")
    })
}

/// A package of an RPM distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmPackage {
    /// Name.
    pub name: Box<str>,
    /// `[epoch:]version-release`, without an epoch of 0; `None` where every version is meant.
    pub version: Option<Box<str>>,
    /// Whether the name is a source package's, a binary one's, or cannot be told.
    pub kind: RpmKind,
    /// Module stream, `name:stream`.
    pub module: Option<Box<str>>,
}

/// Whose name an RPM package's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpmKind {
    /// A binary package's.
    Binary,
    /// A source package's.
    Source,
    /// No architecture is given, so it may be either.
    Either,
}

impl RpmPackage {
    /// Whether it holds only debugging symbols or sources, which no process ever runs.
    pub fn is_debug(&self) -> bool {
        self.name.ends_with("-debuginfo")
            || self.name.ends_with("-debugsource")
            || self.name.ends_with("-debuginfo-common")
            || self.name.contains("-debuginfo-common-")
    }

    /// By its package URL (`pkg:rpm/redhat/dovecot@2.3.16-8.el9?arch=x86_64&epoch=1`). The
    /// qualifier `rpmmod` names its module. `None` for any other type of package URL.
    pub fn from_purl(purl: &str) -> Option<Self> {
        let purl = parse_purl(purl)?;
        if purl.ty() != "rpm" {
            return None;
        }
        let qualifier = |key: &str| purl.qualifiers().get(key).map(AsRef::as_ref);
        let epoch = qualifier("epoch").filter(|epoch| *epoch != "0");
        let version = purl.version().filter(|v| !v.is_empty()).map(|version| {
            let version = version.strip_prefix("0:").unwrap_or(version);
            match epoch {
                Some(epoch) if !version.contains(':') => format!("{epoch}:{version}").into(),
                _ => version.into(),
            }
        });
        Self {
            name: purl.name().into(),
            version,
            kind: match qualifier("arch") {
                Some("src" | "nosrc") => RpmKind::Source,
                _ => RpmKind::Binary,
            },
            module: qualifier("rpmmod").and_then(module_stream),
        }
        .keepable()
    }

    /// By the text of a product id: `tomcat-1:9.0.87-1.el8_10.1.src`, `openssl.src`, `exim`,
    /// `nodejs-1:20.16.0-1.el8.x86_64::nodejs:20`, `log4j:2/log4j`. `None` for what is no RPM's name
    /// (a container image, a Maven coordinate).
    pub fn from_text(text: &str) -> Option<Self> {
        if text.contains('@') || text.len() > 1024 {
            return None;
        }
        let (text, mut module) = match text.split_once("::") {
            Some((text, module)) => (text, Some(module_stream(module)?)),
            None => (text, None),
        };
        let text = match text.split_once('/') {
            Some((before, after)) if before.contains(':') => {
                module = Some(module_stream(before)?);
                after
            }
            Some(_) => return None,
            None => text,
        };
        if text.contains(['/', ' ']) {
            return None;
        }
        let (rest, kind) = match text.rsplit_once('.') {
            Some((rest, "src" | "nosrc")) => (rest, RpmKind::Source),
            Some((rest, arch)) if ARCHITECTURES.contains(&arch) => (rest, RpmKind::Binary),
            _ => (text, RpmKind::Either),
        };
        let (name, version) = match name_version_release(rest) {
            Some((name, version)) => (name, Some(version)),
            None => (rest, None),
        };
        if name.contains(':') {
            return None;
        }
        Self {
            name: name.into(),
            version: version.map(|v| v.strip_prefix("0:").unwrap_or(v).into()),
            kind,
            module,
        }
        .keepable()
    }

    fn keepable(self) -> Option<Self> {
        (is_keepable(&self.name) && self.version.as_deref().is_none_or(is_keepable)).then_some(self)
    }
}

/// `name-[epoch:]version-release` taken apart, into the name and the rest. Version and release must
/// begin with a digit, else `java-1.8.0-openjdk` would be a version of `java`.
fn name_version_release(text: &str) -> Option<(&str, &str)> {
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let (front, release) = text.rsplit_once('-')?;
    let (name, version) = front.rsplit_once('-')?;
    let plain = version.split_once(':').map_or(version, |(_, v)| v);
    if name.is_empty() || !digit(plain) || !digit(release) {
        return None;
    }
    Some((name, text.get(name.len() + 1..)?))
}

/// The module stream a product is, by its package URL (`pkg:rpmmod/redhat/nodejs@16:8040...`) or its
/// id (`nodejs:16:8040020211213:rh`).
pub fn module_of(purl: Option<&str>, id: &str) -> Option<Box<str>> {
    if let Some(purl) = purl.and_then(parse_purl) {
        if purl.ty() != "rpmmod" {
            return None;
        }
        let version = purl.version().unwrap_or_default();
        return module_stream(&format!("{}:{version}", purl.name()));
    }
    (id.split(':').count() >= 3 && !id.contains(['/', '@']))
        .then(|| module_stream(id))
        .flatten()
}

/// The first two fields of `name:stream:version:context`.
fn module_stream(text: &str) -> Option<Box<str>> {
    let mut fields = text.split(':');
    let (name, stream) = (fields.next()?, fields.next()?);
    if name.is_empty() || stream.is_empty() {
        return None;
    }
    let module = format!("{name}:{stream}");
    is_keepable(&module).then(|| module.into())
}

fn parse_purl(text: &str) -> Option<PackageUrl<'static>> {
    (text.len() <= 4096)
        .then(|| PackageUrl::from_str(text).ok())
        .flatten()
}

/// Architectures RPM packages are built for.
const ARCHITECTURES: &[&str] = &[
    "aarch64",
    "aarch64_ilp32",
    "armv6hl",
    "armv7hl",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia64",
    "noarch",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390",
    "s390x",
    "x86_64",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(cpe: &str) -> Option<(String, bool)> {
        Release::from_cpe(&Cpe::parse(cpe)?)
            .map(|r| (format!("{}:{}", r.ecosystem, r.release), r.layered))
    }

    #[test]
    fn paid_streams_are_releases_of_their_own() {
        for (cpe, expected, layered) in [
            ("cpe:/o:redhat:enterprise_linux:9", "Red Hat:9", false),
            (
                "cpe:/a:redhat:enterprise_linux:9::appstream",
                "Red Hat:9",
                false,
            ),
            ("cpe:/o:redhat:enterprise_linux:10.0", "Red Hat:10", false),
            (
                "cpe:/a:redhat:rhel_eus:9.2::appstream",
                "Red Hat:9.2-eus",
                false,
            ),
            (
                "cpe:/o:redhat:enterprise_linux_eus:10.0",
                "Red Hat:10.0-eus",
                false,
            ),
            (
                "cpe:/o:redhat:rhel_aus:8.4::baseos",
                "Red Hat:8.4-aus",
                false,
            ),
            ("cpe:/o:redhat:rhel_els:7", "Red Hat:7-els", false),
            (
                "cpe:/a:redhat:openshift:4.14::el9",
                "Red Hat:openshift-4.14-el9",
                true,
            ),
            (
                "cpe:/a:redhat:rhel_software_collections:3::el7",
                "Red Hat:rhel-software-collections-3-el7",
                true,
            ),
            ("cpe:/o:suse:sles:15:sp5", "SUSE:15.5", false),
            (
                "cpe:/o:suse:sle-module-basesystem:15:sp5",
                "SUSE:15.5",
                false,
            ),
            ("cpe:/o:opensuse:leap:15.6", "openSUSE:15.6", false),
        ] {
            assert_eq!(release(cpe), Some((expected.to_owned(), layered)), "{cpe}");
        }
        assert_eq!(release("cpe:/o:redhat:enterprise_linux:-"), None);
        assert_eq!(release("cpe:/o:canonical:ubuntu_linux:22.04"), None);
    }

    #[test]
    fn releases_are_known_by_name() {
        for (name, expected) in [
            ("SUSE Linux Enterprise Server 15 SP5", Some("15.5")),
            ("SUSE Linux Enterprise Server 12 SP5-LTSS", Some("12.5")),
            (
                "SUSE Linux Enterprise Module for Server Applications 15 SP6",
                Some("15.6"),
            ),
            ("SUSE Linux Enterprise Micro 5.2", Some("micro-5.2")),
            ("openSUSE Leap 15.6", Some("15.6")),
            ("Red Hat Enterprise Linux 9", Some("9")),
            ("Red Hat Enterprise Linux 9.2 Extended Update Support", None),
            ("Debian Linux", None),
        ] {
            let found = Release::from_name(name);
            assert_eq!(found.as_ref().map(|r| &*r.release), expected, "{name}");
        }
    }

    fn check(package: Option<RpmPackage>, expected: &str) {
        let package = package.unwrap();
        let text = format!(
            "{:?} {} {} {}",
            package.kind,
            package.name,
            package.version.as_deref().unwrap_or("-"),
            package.module.as_deref().unwrap_or("-")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn packages_are_known_by_purl_and_by_product_id() {
        check(
            RpmPackage::from_purl("pkg:rpm/redhat/dovecot@2.3.16-8.el9?arch=x86_64&epoch=1"),
            "Binary dovecot 1:2.3.16-8.el9 -",
        );
        check(
            RpmPackage::from_purl(
                "pkg:rpm/redhat/nodejs@20.1-1.module%2Bel8.10.0%2B2?arch=src&rpmmod=nodejs:20:81000:48a",
            ),
            "Source nodejs 20.1-1.module+el8.10.0+2 nodejs:20",
        );
        check(
            RpmPackage::from_purl("pkg:rpm/redhat/openssl?arch=src"),
            "Source openssl - -",
        );
        check(
            RpmPackage::from_text("tomcat-1:9.0.87-1.el8_10.1.src"),
            "Source tomcat 1:9.0.87-1.el8_10.1 -",
        );
        check(
            RpmPackage::from_text("edk2-ovmf-0:20240524-6.el9_5.noarch"),
            "Binary edk2-ovmf 20240524-6.el9_5 -",
        );
        check(
            RpmPackage::from_text("dovecot23-2.3.15-150200.65.1"),
            "Either dovecot23 2.3.15-150200.65.1 -",
        );
        check(RpmPackage::from_text("openssl.src"), "Source openssl - -");
        check(
            RpmPackage::from_text("java-1.8.0-openjdk"),
            "Either java-1.8.0-openjdk - -",
        );
        check(
            RpmPackage::from_text("log4j:2/log4j"),
            "Either log4j - log4j:2",
        );
        check(
            RpmPackage::from_text("nodejs-1:20.1-1.el8.x86_64::nodejs:20"),
            "Binary nodejs 1:20.1-1.el8 nodejs:20",
        );
        for other in [
            "openshift4/x@sha256:00_amd64",
            "io.quarkus/quarkus",
            "virt:rhel:8040:522",
            "",
        ] {
            assert_eq!(RpmPackage::from_text(other), None, "{other}");
        }
    }

    #[test]
    fn modules_are_known_by_purl_and_by_product_id() {
        let id = "nodejs:16:8040020211213:rh";
        assert_eq!(module_of(None, id).as_deref(), Some("nodejs:16"));
        let purl = "pkg:rpmmod/redhat/virt@rhel:8040020211213:522a";
        assert_eq!(module_of(Some(purl), id).as_deref(), Some("virt:rhel"));
        assert_eq!(module_of(Some("pkg:rpm/redhat/x"), id), None);
        assert_eq!(module_of(None, "red_hat_enterprise_linux_9"), None);
    }

    proptest! {
        #[test]
        fn reading_names_never_panics(text in "(pkg:rpm/|pkg:rpmmod/|SUSE Linux Enterprise )?[ -~é]{0,60}") {
            let _ = (RpmPackage::from_text(&text), RpmPackage::from_purl(&text), module_of(Some(&text), &text));
            let _ = (Release::from_name(&text), Cpe::parse(&text).and_then(|cpe| Release::from_cpe(&cpe)));
        }

        #[test]
        fn a_printed_package_is_read_back(name in "[a-z][a-z0-9]{0,8}(-[a-z]{1,6})?", epoch in 1u8.., version in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}", release in "[0-9]{1,3}\\.el[0-9](_[0-9]{1,2})?") {
            let package = RpmPackage::from_text(&format!("{name}-{epoch}:{version}-{release}.x86_64")).unwrap();
            prop_assert_eq!(&*package.name, name.as_str());
            let expected = format!("{epoch}:{version}-{release}");
            prop_assert_eq!(package.version.as_deref(), Some(expected.as_str()));
        }
    }
}
