//! The package URL of an installed source package (purl-spec; the type definitions of `deb` and
//! `rpm`).

use mailkeep_model::{Ecosystem, Platform, Verdict, debian_number, text};
use packageurl::PackageUrl;

/// `pkg:deb/debian/exim4@4.96-15?arch=source&distro=debian-12`. Equal packages give equal texts;
/// whatever a host or a feed put into a name or a version comes out percent-encoded.
pub fn of_package(verdict: &Verdict) -> String {
    let name = named(&verdict.package);
    let version = named(&verdict.installed);
    let shape = Shape::of(&verdict.platform, &name);
    let (epoch, version) = match version.split_once(':') {
        Some((epoch, rest)) if shape.ty == "rpm" => (Some(epoch), rest),
        _ => (None, version.as_str()),
    };
    let built = || {
        let mut purl = PackageUrl::new(shape.ty, shape.name.as_str())?;
        if let Some(namespace) = &shape.namespace {
            purl.with_namespace(namespace.as_str())?;
        }
        purl.with_version(version)?;
        for (key, value) in [
            ("arch", shape.arch),
            ("distro", shape.distro.as_deref()),
            ("epoch", epoch),
        ] {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                purl.add_qualifier(key, value)?;
            }
        }
        purl.validate()?;
        Ok::<String, packageurl::Error>(purl.to_string())
    };
    built().unwrap_or_else(|_| generic(&name, Some(version)))
}

/// The package URL of a host, for formats that want one for whatever they speak of:
/// `pkg:generic/mx1.example.org`.
pub fn of_host(name: &str) -> String {
    generic(&named(name), None)
}

fn generic(name: &str, version: Option<&str>) -> String {
    let build = || {
        let mut purl = PackageUrl::new("generic", name)?;
        if let Some(version) = version {
            purl.with_version(version)?;
        }
        Ok::<String, packageurl::Error>(purl.to_string())
    };
    build().unwrap_or_else(|_| "pkg:generic/unnamed".to_owned())
}

/// Printable, and never empty.
fn named(part: &str) -> String {
    let part = text::printable(part.trim());
    if part.is_empty() {
        "unnamed".to_owned()
    } else {
        part.into_owned()
    }
}

struct Shape {
    ty: &'static str,
    namespace: Option<String>,
    name: String,
    arch: Option<&'static str>,
    distro: Option<String>,
}

impl Shape {
    fn of(platform: &Platform, name: &str) -> Self {
        let distribution = |ty, arch, namespace: &str| {
            let release = match platform.ecosystem {
                Ecosystem::Debian => debian_number(&platform.release).unwrap_or(&platform.release),
                _ => &platform.release,
            };
            let release = text::printable(release);
            Self {
                ty,
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
                arch: Some(arch),
                distro: (!release.is_empty()).then(|| format!("{namespace}-{release}")),
            }
        };
        match &platform.ecosystem {
            Ecosystem::Debian => distribution("deb", "source", "debian"),
            Ecosystem::Ubuntu => distribution("deb", "source", "ubuntu"),
            Ecosystem::AlmaLinux => distribution("rpm", "src", "almalinux"),
            Ecosystem::Fedora => distribution("rpm", "src", "fedora"),
            Ecosystem::OpenSuse => distribution("rpm", "src", "opensuse"),
            Ecosystem::OracleLinux => distribution("rpm", "src", "oraclelinux"),
            Ecosystem::RedHat => distribution("rpm", "src", "redhat"),
            Ecosystem::RockyLinux => distribution("rpm", "src", "rocky"),
            Ecosystem::Suse => distribution("rpm", "src", "suse"),
            Ecosystem::Exchange => Self {
                namespace: Some("microsoft".to_owned()),
                ..Self::plain("generic", name)
            },
            Ecosystem::Other(ecosystem) => match registry(ecosystem) {
                Some((ty, separator)) => {
                    let (namespace, name) = separator
                        .and_then(|s| name.rsplit_once(s))
                        .map_or((None, name), |(namespace, name)| (Some(namespace), name));
                    Self {
                        namespace: namespace.map(str::to_owned),
                        ..Self::plain(ty, name)
                    }
                }
                None => Self::plain("generic", name),
            },
        }
    }

    fn plain(ty: &'static str, name: &str) -> Self {
        Self {
            ty,
            namespace: None,
            name: name.to_owned(),
            arch: None,
            distro: None,
        }
    }
}

/// Package URL type of an ecosystem of OSV's list, and what parts a namespace from a name in it.
fn registry(ecosystem: &str) -> Option<(&'static str, Option<char>)> {
    Some(match ecosystem {
        "CRAN" => ("cran", None),
        "Go" => ("golang", Some('/')),
        "Hackage" => ("hackage", None),
        "Hex" => ("hex", None),
        "Maven" => ("maven", Some(':')),
        "NuGet" => ("nuget", None),
        "Packagist" => ("composer", Some('/')),
        "Pub" => ("pub", None),
        "PyPI" => ("pypi", None),
        "RubyGems" => ("gem", None),
        "crates.io" => ("cargo", None),
        "npm" => ("npm", Some('/')),
        _ => return None,
    })
}
