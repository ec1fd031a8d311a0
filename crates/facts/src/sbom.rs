//! SBOMs to packages: `CycloneDX` JSON (1.2 to 1.6) and SPDX 2.3 JSON.
//!
//! Entry: [`parse`]. A component is understood by its package URL alone; one without is a
//! [`Problem`], as its name says neither whose package it is nor how its versions are ordered. The
//! source package of a Debian or RPM package is taken from the package URL's `upstream`, or from
//! where syft and trivy write it.

use std::str::FromStr as _;

use jiff::Timestamp;
use mailkeep_model::text::printable_max;
use mailkeep_model::{
    Ecosystem, FactsSource, InstalledPackage, Limitation, OsRelease, Platform, Problem,
    debian_codename,
};
use packageurl::PackageUrl;
use serde_json::Value;

use crate::{os_release, rpm, unread};

/// Longest SBOM read, in bytes: parsed, it takes some ten times that.
pub const MAX_SBOM_BYTES: usize = 128 << 20;

/// What an SBOM says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// [`FactsSource::CycloneDx`] or [`FactsSource::Spdx`].
    pub source: FactsSource,
    /// When it was made: `metadata.timestamp` of `CycloneDX`, `creationInfo.created` of SPDX.
    pub created: Option<Timestamp>,
    /// The operating system it names; empty where it names none.
    pub os: OsRelease,
    /// Its distribution: from the operating system, else from the packages' `distro`.
    pub platform: Option<Platform>,
    /// Sorted by name, then architecture.
    pub packages: Vec<InstalledPackage>,
    /// Set where components could not be read that should be packages.
    pub unread: Option<Limitation>,
}

/// Why a document is no SBOM that can be read.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Not JSON, or nested too deeply (128 levels).
    #[error("the SBOM is no JSON")]
    Json(#[source] serde_json::Error),
    /// Longer than [`MAX_SBOM_BYTES`].
    #[error("the SBOM is longer than {} MiB", MAX_SBOM_BYTES >> 20)]
    TooLong,
    /// Neither `CycloneDX` nor SPDX 2.
    #[error("the document is neither CycloneDX nor SPDX 2.3 JSON")]
    UnknownFormat,
}

/// Reads an SBOM. A component that cannot be understood becomes a [`Problem`]; the rest goes on.
pub fn parse(json: &[u8]) -> Result<(Sbom, Vec<Problem>), SbomError> {
    if json.len() > MAX_SBOM_BYTES {
        return Err(SbomError::TooLong);
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let document: Value = serde_json::from_slice(json).map_err(SbomError::Json)?;
    let mut problems = Vec::new();
    let (source, created, components) = if text(&document, "bomFormat") == Some("CycloneDX") {
        (
            FactsSource::CycloneDx,
            ["metadata", "timestamp"],
            cyclonedx(&document),
        )
    } else if text(&document, "spdxVersion").is_some_and(|v| v.starts_with("SPDX-2.")) {
        (
            FactsSource::Spdx,
            ["creationInfo", "created"],
            spdx(&document),
        )
    } else {
        return Err(SbomError::UnknownFormat);
    };
    let [section, key] = created;
    let created = document.get(section).and_then(|s| s.get(key));
    let created = match created.map(|c| c.as_str().unwrap_or_default().parse()) {
        None => None,
        Some(Ok(at)) => Some(at),
        Some(Err(_)) => {
            let record = format!("{section}.{key}");
            problems.push(Problem::new(record, "is no time as in RFC 3339"));
            None
        }
    };

    let os = components
        .iter()
        .find(|c| c.role == Role::OperatingSystem)
        .map(|c| named_os(c.name, c.version.unwrap_or_default()))
        .unwrap_or_default();
    let mut platform = os_release::platform_of(&os);
    let mut entries = Vec::new();
    let mut bad = Vec::new();
    for component in &components {
        match component.role {
            Role::OperatingSystem | Role::Ignored => {}
            Role::Nameless => problems.push(Problem::new(component.record(), NO_PURL)),
            Role::Odd(reason) => bad.push(Problem::new(component.record(), reason)),
            Role::Package => match entry(component) {
                Ok(Some(entry)) => entries.push((component, entry)),
                Ok(None) => {}
                Err(reason) => bad.push(Problem::new(component.record(), reason)),
            },
        }
    }
    let unread = unread(&bad);
    problems.extend(bad);
    if platform.is_none() {
        platform = entries.iter().find_map(|(_, e)| e.platform.clone());
    }
    let mut packages = Vec::with_capacity(entries.len());
    for (component, entry) in entries {
        if let (Some(own), Some(host)) = (&entry.platform, &platform)
            && own != host
        {
            problems.push(Problem::new(
                component.record(),
                format!("is of {own}, the SBOM of {host}; judged as of the latter's release"),
            ));
        }
        let mut package = entry.package;
        package.ecosystem =
            Some(entry.ecosystem).filter(|e| platform.as_ref().is_none_or(|p| p.ecosystem != *e));
        packages.push(package);
    }
    packages.sort_by(|a, b| {
        (&a.name, &a.arch, &a.version, &a.ecosystem).cmp(&(
            &b.name,
            &b.arch,
            &b.version,
            &b.ecosystem,
        ))
    });
    packages.dedup();
    let sbom = Sbom {
        source,
        created,
        os,
        platform,
        packages,
        unread,
    };
    Ok((sbom, problems))
}

/// Fuzz entry: any bytes.
pub fn fuzz(input: &[u8]) {
    if let Ok((sbom, _)) = parse(input) {
        debug_assert!(sbom.packages.iter().all(|p| !p.name.is_empty()));
    }
}

/// What a component is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ignored,
    /// What scanners list besides packages: the file or application that these were found in.
    Nameless,
    /// Should be a package, and is not understood.
    Odd(&'static str),
    OperatingSystem,
    Package,
}

const NO_PURL: &str = "has no package URL";

/// One component of either format.
struct Component<'a> {
    role: Role,
    name: &'a str,
    version: Option<&'a str>,
    purl: Option<&'a str>,
    /// `CycloneDX` properties.
    properties: &'a [Value],
    /// SPDX `sourceInfo`.
    source_info: Option<&'a str>,
}

impl Component<'_> {
    fn record(&self) -> String {
        match (self.purl, self.version) {
            (Some(purl), _) => format!("component {purl}"),
            (None, Some(version)) => format!("component {} {version}", self.name),
            (None, None) => format!("component {}", self.name),
        }
    }

    /// The first of these properties that there is.
    fn property(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            self.properties
                .iter()
                .filter(|p| text(p, "name") == Some(name))
                .find_map(|p| text(p, "value"))
                .filter(|v| !v.is_empty())
        })
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `CycloneDX`: `components`, with those inside them; the subject (`metadata.component`) counts only
/// as operating system.
fn cyclonedx(document: &Value) -> Vec<Component<'_>> {
    let mut found = Vec::new();
    let subject = document.get("metadata").and_then(|m| m.get("component"));
    let mut open: Vec<&Value> = list(document, "components").iter().rev().collect();
    if let Some(subject) = subject {
        open.extend(list(subject, "components"));
        if text(subject, "type") == Some("operating-system") {
            open.push(subject);
        }
    }
    while let Some(component) = open.pop() {
        let purl = text(component, "purl");
        let role = match text(component, "type") {
            _ if !component.is_object() => Role::Odd("is no JSON object"),
            Some("operating-system") => Role::OperatingSystem,
            Some("file" | "data" | "cryptographic-asset" | "machine-learning-model") => {
                Role::Ignored
            }
            Some("application" | "container" | "platform")
                if purl.is_none() && text(component, "version").is_none() =>
            {
                Role::Nameless
            }
            _ if purl.is_none() => Role::Odd(NO_PURL),
            _ => Role::Package,
        };
        found.push(Component {
            role,
            name: text(component, "name").unwrap_or("without a name"),
            version: text(component, "version"),
            purl,
            properties: list(component, "properties"),
            source_info: None,
        });
        open.extend(list(component, "components").iter().rev());
    }
    found
}

/// SPDX 2.3: `packages`, by the external reference of type `purl` (section 7.21).
fn spdx(document: &Value) -> Vec<Component<'_>> {
    let described: Vec<&str> = list(document, "documentDescribes")
        .iter()
        .filter_map(Value::as_str)
        .chain(
            list(document, "relationships")
                .iter()
                .filter(|r| text(r, "relationshipType") == Some("DESCRIBES"))
                .filter_map(|r| text(r, "relatedSpdxElement")),
        )
        .take(16)
        .collect();
    list(document, "packages")
        .iter()
        .map(|package| {
            let purl = list(package, "externalRefs")
                .iter()
                .find(|r| text(r, "referenceType") == Some("purl"))
                .and_then(|r| text(r, "referenceLocator"));
            let subject = text(package, "SPDXID").is_some_and(|id| described.contains(&id));
            let role = match text(package, "primaryPackagePurpose") {
                _ if !package.is_object() => Role::Odd("is no JSON object"),
                Some("OPERATING-SYSTEM" | "OPERATING_SYSTEM") => Role::OperatingSystem,
                Some("FILE") => Role::Ignored,
                // What the document describes is the image or directory itself.
                _ if purl.is_none() && subject => Role::Ignored,
                Some("APPLICATION" | "CONTAINER" | "SOURCE")
                    if purl.is_none() && text(package, "versionInfo").is_none() =>
                {
                    Role::Nameless
                }
                _ if purl.is_none() => Role::Odd(NO_PURL),
                _ => Role::Package,
            };
            Component {
                role,
                name: text(package, "name").unwrap_or("without a name"),
                version: text(package, "versionInfo"),
                purl,
                properties: &[],
                source_info: text(package, "sourceInfo"),
            }
        })
        .collect()
}

/// An operating system by the names that syft, trivy and os-release give it.
fn named_os(name: &str, version: &str) -> OsRelease {
    let name = name.trim().to_ascii_lowercase();
    let id = match name.as_str() {
        "alma" => "almalinux",
        "redhat" | "red hat enterprise linux" => "rhel",
        "rockylinux" => "rocky",
        "oracle" | "oraclelinux" => "ol",
        "suse linux enterprise server" | "suse" => "sles",
        "opensuse.leap" => "opensuse-leap",
        "opensuse.tumbleweed" => "opensuse-tumbleweed",
        other => other,
    };
    let version = printable_max(version.trim(), 100);
    OsRelease {
        id: printable_max(id, 100),
        id_like: Vec::new(),
        codename: debian_codename(&version).map(str::to_owned),
        version_id: Some(version).filter(|v| v.starts_with(|c: char| c.is_ascii_digit())),
        pretty_name: None,
    }
}

/// A package before it is known whose host it is on.
struct Entry {
    package: InstalledPackage,
    ecosystem: Ecosystem,
    platform: Option<Platform>,
}

/// `None` for what is no package of a host: an image, say.
fn entry(component: &Component<'_>) -> Result<Option<Entry>, &'static str> {
    let raw = component.purl.ok_or(NO_PURL)?;
    if raw.len() > 4096 {
        return Err("has a package URL longer than 4096 bytes");
    }
    let purl = PackageUrl::from_str(raw)
        .ok()
        .ok_or("has a package URL that cannot be read")?;
    let version = || {
        purl.version()
            .or(component.version)
            .filter(|v| !v.is_empty())
            .ok_or("has no version")
    };
    let qualifier = |key: &str| purl.qualifiers().get(key).map(AsRef::as_ref);
    match purl.ty() {
        "oci" | "docker" => Ok(None),
        "deb" | "rpm" => {
            let ecosystem = if purl.ty() == "deb" {
                deb_ecosystem(purl.namespace())
            } else {
                rpm_ecosystem(purl.namespace())
            };
            let platform = qualifier("distro")
                .and_then(|d| d.rsplit_once('-'))
                .and_then(|(id, release)| os_release::platform_of(&named_os(id, release)));
            let mut evr = version()?.to_owned();
            let epoch = qualifier("epoch")
                .or_else(|| component.property(&["syft:metadata:epoch"]))
                .filter(|e| e.parse::<u32>().is_ok())
                .unwrap_or("0");
            if !evr.contains(':') {
                evr = rpm::with_epoch(epoch, &evr);
            }
            let (source, source_version) = if purl.ty() == "deb" {
                deb_source(component, qualifier("upstream"), purl.name(), &evr)
            } else {
                rpm_source(component, qualifier("upstream"), purl.name(), &evr, epoch)
            };
            let module = qualifier("rpmmod").or_else(|| {
                component.property(&[
                    "aquasecurity:trivy:Modularitylabel",
                    "syft:metadata:modularityLabel",
                ])
            });
            let mut package = plain(purl.name(), &evr)?;
            package.arch = printable_max(qualifier("arch").unwrap_or_default(), 64).into();
            if is_word(&source) && is_word(&source_version) {
                package.source = source.into();
                package.source_version = source_version.into();
            }
            package.module = module.map(|m| printable_max(m, 255).into());
            Ok(Some(Entry {
                package,
                ecosystem,
                platform,
            }))
        }
        ty => {
            let joint = match ty {
                "composer" | "golang" | "npm" => Some('/'),
                "maven" => Some(':'),
                _ => None,
            };
            let name = match (purl.namespace(), joint) {
                (Some(namespace), Some(joint)) => format!("{namespace}{joint}{}", purl.name()),
                _ => purl.name().to_owned(),
            };
            let (ecosystem, name) = match (ty, purl.namespace()) {
                _ if is_exchange(ty, &name) => (Ecosystem::Exchange, "exchange-server".to_owned()),
                // A product of no registry: named as CVE records and CSAF documents are filed,
                // vendor/product in lower case.
                ("generic", Some(vendor)) => {
                    let name = name.to_lowercase();
                    let filed = format!("{}/{name}", vendor.to_lowercase());
                    (Ecosystem::Other(filed.into()), name)
                }
                _ => (Ecosystem::from(osv_name(ty).to_owned()), name),
            };
            Ok(Some(Entry {
                package: plain(&name, version()?)?,
                ecosystem,
                platform: None,
            }))
        }
    }
}

/// A package that is its own source.
fn plain(name: &str, version: &str) -> Result<InstalledPackage, &'static str> {
    if !is_word(name) || !is_word(version) {
        return Err("has a name or version with odd characters");
    }
    Ok(InstalledPackage {
        name: name.into(),
        version: version.into(),
        arch: "".into(),
        source: name.into(),
        source_version: version.into(),
        ecosystem: None,
        module: None,
        vendor: None,
        depends: Vec::new(),
        provides: Vec::new(),
    })
}

fn is_word(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || mailkeep_model::text::is_unsafe(c);
    !text.is_empty() && text.len() <= 255 && !text.chars().any(odd)
}

fn deb_ecosystem(namespace: Option<&str>) -> Ecosystem {
    match namespace.unwrap_or("deb").to_ascii_lowercase().as_str() {
        "debian" => Ecosystem::Debian,
        "ubuntu" => Ecosystem::Ubuntu,
        other => Ecosystem::Other(other.into()),
    }
}

fn rpm_ecosystem(namespace: Option<&str>) -> Ecosystem {
    match namespace.unwrap_or("rpm").to_ascii_lowercase().as_str() {
        "almalinux" | "alma" => Ecosystem::AlmaLinux,
        "fedora" => Ecosystem::Fedora,
        "opensuse"
        | "opensuse-leap"
        | "opensuse-tumbleweed"
        | "opensuse.leap"
        | "opensuse.tumbleweed" => Ecosystem::OpenSuse,
        "ol" | "oracle" | "oraclelinux" => Ecosystem::OracleLinux,
        "redhat" | "rhel" | "centos" => Ecosystem::RedHat,
        "rocky" | "rockylinux" => Ecosystem::RockyLinux,
        "sles" | "sled" | "suse" => Ecosystem::Suse,
        // Repositories beside the distributor's, by the name they are known by.
        "epel" => Ecosystem::Other("EPEL".into()),
        other => Ecosystem::Other(other.into()),
    }
}

/// Package URL types by the name OSV has for their ecosystem (ossf.github.io/osv-schema).
fn osv_name(ty: &str) -> &str {
    match ty {
        "apk" => "Alpine",
        "bitnami" => "Bitnami",
        "cargo" => "crates.io",
        "composer" => "Packagist",
        "conan" => "ConanCenter",
        "cran" => "CRAN",
        "gem" => "RubyGems",
        "githubactions" => "GitHub Actions",
        "golang" => "Go",
        "hackage" => "Hackage",
        "hex" => "Hex",
        "maven" => "Maven",
        "nuget" => "NuGet",
        "pub" => "Pub",
        "pypi" => "PyPI",
        "swift" => "SwiftURL",
        other => other,
    }
}

/// Exchange Server has no package URL type of its own: a `generic` one by its name.
fn is_exchange(ty: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace([' ', '_'], "-");
    ty == "generic"
        && (name == "exchange"
            || name == "microsoft-exchange"
            || name.starts_with("exchange-server")
            || name.starts_with("microsoft-exchange-server"))
}

const SOURCE_NAME: &[&str] = &[
    "aquasecurity:trivy:SrcName",
    "syft:metadata:source",
    "syft:metadata:originPackage",
];

/// `epoch:version-release` from trivy's properties, `None` where they are not there.
fn trivy_source_version(component: &Component<'_>) -> Option<String> {
    let version = component.property(&["aquasecurity:trivy:SrcVersion"])?;
    let mut full = version.to_owned();
    if let Some(release) = component.property(&["aquasecurity:trivy:SrcRelease"]) {
        full = format!("{full}-{release}");
    }
    match component.property(&["aquasecurity:trivy:SrcEpoch"]) {
        Some(epoch) if !full.contains(':') => Some(rpm::with_epoch(epoch, &full)),
        _ => Some(full),
    }
}

fn deb_source(
    component: &Component<'_>,
    upstream: Option<&str>,
    name: &str,
    version: &str,
) -> (String, String) {
    let fallback = || version.to_owned();
    if let Some(upstream) = upstream.filter(|u| !u.is_empty()) {
        // syft: the name, and the version where it differs.
        return match upstream.split_once('@') {
            Some((source, version)) => (source.to_owned(), version.to_owned()),
            None => (upstream.to_owned(), fallback()),
        };
    }
    if let Some(source) = component.property(SOURCE_NAME) {
        let version = trivy_source_version(component)
            .or_else(|| {
                component
                    .property(&["syft:metadata:sourceVersion"])
                    .map(str::to_owned)
            })
            .unwrap_or_else(fallback);
        return (source.to_owned(), version);
    }
    // trivy's SPDX: "built package from: exim4 4.96-15".
    let told = component
        .source_info
        .and_then(|i| i.strip_prefix("built package from: "))
        .and_then(|i| i.trim().rsplit_once(' '));
    match told {
        Some((source, version)) => (source.to_owned(), version.to_owned()),
        None => (name.to_owned(), fallback()),
    }
}

fn rpm_source(
    component: &Component<'_>,
    upstream: Option<&str>,
    name: &str,
    version: &str,
    epoch: &str,
) -> (String, String) {
    let file = upstream.or_else(|| component.property(&["syft:metadata:sourceRpm"]));
    if let Some((source, vr)) = file.and_then(rpm::split_source_rpm) {
        return (source.to_owned(), rpm::with_epoch(epoch, &vr));
    }
    match component.property(SOURCE_NAME) {
        Some(source) => {
            let version = trivy_source_version(component).unwrap_or_else(|| version.to_owned());
            (source.to_owned(), version)
        }
        None => match upstream.filter(|u| is_word(u) && !u.contains(".rpm")) {
            Some(source) => (source.to_owned(), version.to_owned()),
            None => (name.to_owned(), version.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> (Sbom, Vec<Problem>) {
        parse(json.as_bytes()).unwrap()
    }

    fn line(package: &InstalledPackage) -> String {
        let ecosystem = package.ecosystem.as_ref().map_or("host", Ecosystem::name);
        format!(
            "{ecosystem} {} {} {} {}",
            package.name, package.version, package.source, package.source_version
        )
    }

    fn lines(sbom: &Sbom) -> Vec<String> {
        sbom.packages.iter().map(line).collect()
    }

    #[test]
    fn a_product_of_no_registry_is_filed_under_its_vendor() {
        let json = br#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
            {"type":"application","name":"OpenSMTPD","purl":"pkg:generic/OpenBSD/OpenSMTPD@6.6.1"}]}"#;
        let sbom = parse(json).unwrap();
        let [package] = sbom.0.packages.as_slice() else {
            panic!("{sbom:?}")
        };
        assert_eq!(
            package.ecosystem,
            Some(Ecosystem::Other("openbsd/opensmtpd".into()))
        );
        assert_eq!(&*package.name, "opensmtpd");
    }

    #[test]
    fn cyclonedx_of_trivy_names_source_and_release() {
        let (sbom, problems) = read(
            r#"{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"container","name":"img"}},
            "components":[
            {"type":"operating-system","name":"debian","version":"12.5"},
            {"type":"library","name":"libssl3","version":"3.0.11-1~deb12u2","purl":"pkg:deb/debian/libssl3@3.0.11-1~deb12u2?arch=amd64&distro=debian-12.5",
             "properties":[{"name":"aquasecurity:trivy:SrcName","value":"openssl"},{"name":"aquasecurity:trivy:SrcVersion","value":"3.0.11"},{"name":"aquasecurity:trivy:SrcRelease","value":"1~deb12u2"}]},
            {"type":"application","name":"app/Cargo.lock","components":[
              {"type":"library","name":"smallvec","purl":"pkg:cargo/smallvec@1.6.0"}]},
            {"type":"library","name":"@mail/parser","purl":"pkg:npm/%40mail/parser@1.0.0"},
            {"type":"application","name":"Exchange","purl":"pkg:generic/Exchange-Server-2019@15.2.1118.7"},
            {"type":"library","name":"broken","purl":"not a purl"}, 7,
            {"type":"file","name":"/etc/passwd"}]}"#,
        );
        assert_eq!(sbom.source, FactsSource::CycloneDx);
        assert_eq!(sbom.platform.as_ref().unwrap().to_string(), "Debian:12");
        assert_eq!(
            lines(&sbom),
            [
                "npm @mail/parser 1.0.0 @mail/parser 1.0.0",
                "Exchange exchange-server 15.2.1118.7 exchange-server 15.2.1118.7",
                "host libssl3 3.0.11-1~deb12u2 openssl 3.0.11-1~deb12u2",
                "crates.io smallvec 1.6.0 smallvec 1.6.0",
            ]
        );
        let records: Vec<&str> = problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(
            records,
            [
                "component app/Cargo.lock",
                "component not a purl",
                "component without a name"
            ]
        );
    }

    #[test]
    fn package_urls_of_syft_carry_source_epoch_and_distribution() {
        let (sbom, problems) = read(
            r#"{"bomFormat":"CycloneDX","components":[
            {"type":"library","name":"postfix","purl":"pkg:rpm/almalinux/postfix@3.5.25-1.el9?arch=x86_64&epoch=2&upstream=postfix-3.5.25-1.el9.src.rpm&distro=almalinux-9.4"},
            {"type":"library","name":"libc6","purl":"pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&upstream=glibc%402.36-9&distro=debian-12"}]}"#,
        );
        assert_eq!(sbom.platform.as_ref().unwrap().to_string(), "AlmaLinux:9");
        assert_eq!(
            lines(&sbom),
            [
                "Debian libc6 2.36-9+b1 glibc 2.36-9",
                "host postfix 2:3.5.25-1.el9 postfix 2:3.5.25-1.el9",
            ]
        );
        assert_eq!(
            problems.len(),
            1,
            "a package of another distribution is said"
        );
    }

    #[test]
    fn an_rpm_of_another_builder_is_not_the_distributors() {
        let (sbom, _) = read(
            r#"{"bomFormat":"CycloneDX","components":[
            {"type":"operating-system","name":"almalinux","version":"9.4"},
            {"type":"library","name":"postfix","purl":"pkg:rpm/almalinux/postfix@3.5.25-1.el9?epoch=2"},
            {"type":"library","name":"exim","purl":"pkg:rpm/epel/exim@4.98-1.el9"},
            {"type":"library","name":"opendkim","purl":"pkg:rpm/fedora/opendkim@2.11-1.el9"},
            {"type":"library","name":"postfix3","purl":"pkg:rpm/ghettoforge/postfix3@3.9.0-1.gf.el9"}]}"#,
        );
        assert_eq!(
            lines(&sbom),
            [
                "EPEL exim 4.98-1.el9 exim 4.98-1.el9",
                "Fedora opendkim 2.11-1.el9 opendkim 2.11-1.el9",
                "host postfix 2:3.5.25-1.el9 postfix 2:3.5.25-1.el9",
                "ghettoforge postfix3 3.9.0-1.gf.el9 postfix3 3.9.0-1.gf.el9",
            ]
        );
        assert!(sbom.packages.iter().all(|p| p.vendor.is_none()));
    }

    #[test]
    fn spdx_packages_are_read_by_their_package_url() {
        let (sbom, problems) = read(
            r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","documentDescribes":["SPDXRef-img"],"packages":[
            {"SPDXID":"SPDXRef-img","name":"img"},
            {"SPDXID":"SPDXRef-os","name":"ubuntu","versionInfo":"24.04","primaryPackagePurpose":"OPERATING-SYSTEM"},
            {"SPDXID":"SPDXRef-1","name":"exim4-base","versionInfo":"4.97-4ubuntu4","sourceInfo":"built package from: exim4 4.97-4ubuntu4",
             "externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:deb/ubuntu/exim4-base@4.97-4ubuntu4?arch=amd64&distro=ubuntu-24.04"}]},
            {"SPDXID":"SPDXRef-2","name":"mystery","versionInfo":"1"}]}"#,
        );
        assert_eq!(sbom.platform.as_ref().unwrap().to_string(), "Ubuntu:24.04");
        assert_eq!(
            lines(&sbom),
            ["host exim4-base 4.97-4ubuntu4 exim4 4.97-4ubuntu4"]
        );
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].record, "component mystery 1");
    }

    #[test]
    fn an_sbom_says_when_it_was_made() {
        let at = |json: &str| {
            let (sbom, problems) = read(json);
            (sbom.created.map(|t| t.to_string()), problems.len())
        };
        let seen = |text: &str| Some(text.to_owned());
        for (json, expected) in [
            (
                r#"{"bomFormat":"CycloneDX","metadata":{"timestamp":"2026-08-14T09:00:00+02:00"}}"#,
                (seen("2026-08-14T07:00:00Z"), 0),
            ),
            (
                r#"{"spdxVersion":"SPDX-2.3","creationInfo":{"created":"2026-08-14T09:00:00Z"}}"#,
                (seen("2026-08-14T09:00:00Z"), 0),
            ),
            (r#"{"bomFormat":"CycloneDX"}"#, (None, 0)),
            (
                r#"{"bomFormat":"CycloneDX","metadata":{"timestamp":"yesterday"}}"#,
                (None, 1),
            ),
            (
                r#"{"spdxVersion":"SPDX-2.3","creationInfo":{"created":7}}"#,
                (None, 1),
            ),
        ] {
            assert_eq!(at(json), expected, "{json}");
        }
    }

    #[test]
    fn a_document_that_is_no_sbom_is_refused_with_its_reason() {
        assert!(matches!(parse(b"{"), Err(SbomError::Json(_))));
        assert!(matches!(parse(b"{}"), Err(SbomError::UnknownFormat)));
        assert!(matches!(parse(b"[1]"), Err(SbomError::UnknownFormat)));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(SbomError::Json(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&input);
        }

        #[test]
        fn any_package_url_is_read_without_panic(purl in "pkg:(deb|rpm|npm|generic|x)/[ -~é]{0,40}") {
            let json = serde_json::json!({
                "bomFormat": "CycloneDX",
                "components": [{ "type": "library", "name": "x", "purl": purl }],
            });
            fuzz(json.to_string().as_bytes());
        }

        #[test]
        fn packages_read_back_from_their_package_url(
            name in "[a-z][a-z0-9.+-]{1,10}", version in "[0-9][0-9a-z.+~-]{0,8}"
        ) {
            let mut purl = PackageUrl::new("deb", name.clone()).unwrap();
            purl.with_namespace("debian").unwrap();
            purl.with_version(version.clone()).unwrap();
            let json = serde_json::json!({
                "bomFormat": "CycloneDX",
                "components": [{ "type": "library", "name": "x", "purl": purl.to_string() }],
            });
            let (sbom, problems) = parse(json.to_string().as_bytes()).unwrap();
            prop_assert!(problems.is_empty());
            prop_assert_eq!(&*sbom.packages[0].name, name.as_str());
            prop_assert_eq!(&*sbom.packages[0].version, version.as_str());
        }
    }
}
