//! Products and packages as CSAF and CVE records name them, brought to the names the rest of
//! Mailkeep uses.
//!
//! The scheme, in full:
//!
//! - A distribution's package: the distribution's [`Ecosystem`], its release, the package name
//!   ([`distribution`]).
//! - Microsoft Exchange Server: [`Ecosystem::Exchange`], package `exchange-server`, versions are
//!   builds ([`exchange`]).
//! - A package of a language registry, by package URL: `crates.io`, `PyPI`, `npm`, ... and its name
//!   there ([`registry_package`]).
//! - Any other product: [`Ecosystem::Other`]`("vendor/product")` and the package `product`, both as
//!   [`product_key`] writes them, so that a component of an SBOM with a CPE or a supplier and a name
//!   meets what a CVE record says of it.
//!
//! Must not know the formats themselves.

pub(crate) mod book;
pub mod cpe;
pub mod distribution;
pub mod exchange;
pub mod ranges;
pub(crate) mod upstream;

use std::str::FromStr as _;

use mailkeep_model::Ecosystem;
use packageurl::PackageUrl;

/// Longest name of a package or version kept, in bytes. Real ones stay below 150.
pub(crate) const MAX_NAME: usize = 256;

/// Lower case, words joined by single dashes; letters, digits, `.` and `+` are kept.
pub fn kebab(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || c == '+' || c == '.' {
            out.extend(c.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches(['-', '.']).len());
    out
}

/// Legal forms and the like at the end of a vendor's name.
const VENDOR_TAILS: &[&str] = &[
    "ag",
    "bv",
    "co",
    "company",
    "corp",
    "corporation",
    "foundation",
    "gmbh",
    "inc",
    "incorporated",
    "limited",
    "llc",
    "ltd",
    "o",
    "plc",
    "r",
    "ro",
    "s",
    "sa",
    "spol",
    "sro",
];

/// The ecosystem's name and the package name of a product of no distributor: `apache/james-server`
/// and `james-server` for Apache Software Foundation, Apache James server. Legal forms at the end of
/// the vendor's name are dropped, and so is the vendor's name as a word of its own before the
/// product's. `None` where
/// either is empty or a placeholder (`n/a`, `-`, `*`, `unspecified`).
pub fn product_key(vendor: &str, product: &str) -> Option<(String, String)> {
    let vendor = kebab(&vendor.replace('.', ""));
    let mut words: Vec<&str> = vendor.split('-').collect();
    while let [first, .., last] = words.as_slice()
        && VENDOR_TAILS.contains(last)
        && !first.is_empty()
    {
        let foundation = *last == "foundation";
        words.pop();
        if foundation && words.len() > 1 && words.last() == Some(&"software") {
            words.pop();
        }
    }
    let vendor = words.join("-");
    let product = match product.trim().split_once(' ') {
        Some((first, rest)) if kebab(&first.replace('.', "")) == vendor => kebab(rest),
        _ => kebab(product),
    };
    let placeholder = |name: &str| {
        name.is_empty()
            || name.len() > MAX_NAME
            || matches!(name, "n-a" | "na" | "unspecified" | "unknown")
    };
    if placeholder(&vendor) || placeholder(&product) {
        return None;
    }
    Some((format!("{vendor}/{product}"), product))
}

/// The ecosystem and the package of a package URL of a language registry
/// (`pkg:npm/%40scope/name@1.0`), with its version where it has one. `None` where it is of another
/// type, or no package URL.
pub fn registry_package(purl: &str) -> Option<(Ecosystem, Box<str>, Option<Box<str>>)> {
    if purl.len() > 4096 {
        return None;
    }
    let purl = PackageUrl::from_str(purl).ok()?;
    let (ecosystem, joint) = match purl.ty() {
        "cargo" => ("crates.io", None),
        "composer" => ("Packagist", Some('/')),
        "gem" => ("RubyGems", None),
        "golang" => ("Go", Some('/')),
        "hex" => ("Hex", None),
        "maven" => ("Maven", Some(':')),
        "npm" => ("npm", Some('/')),
        "nuget" => ("NuGet", None),
        "pub" => ("Pub", None),
        "pypi" => ("PyPI", None),
        _ => return None,
    };
    let name = match (purl.namespace(), joint) {
        (Some(namespace), Some(joint)) => format!("{namespace}{joint}{}", purl.name()),
        _ => purl.name().to_owned(),
    };
    Some((
        Ecosystem::Other(ecosystem.into()),
        name.into(),
        purl.version().map(Into::into),
    ))
}

/// Whether a text can be kept as a name or version: printable, not empty, not overlong.
pub(crate) fn is_keepable(text: &str) -> bool {
    !text.trim().is_empty()
        && text.len() <= MAX_NAME
        && !text.chars().any(mailkeep_model::text::is_unsafe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(vendor: &str, product: &str, expected: Option<&str>) {
        let key = product_key(vendor, product).map(|(key, _)| key);
        assert_eq!(key.as_deref(), expected, "{vendor} {product}");
    }

    #[test]
    fn products_meet_whatever_the_legal_form_and_the_spelling() {
        check(
            "Apache Software Foundation",
            "Apache James server",
            Some("apache/james-server"),
        );
        check("apache", "james_server", Some("apache/james-server"));
        check(
            "ESET, spol. s r.o.",
            "ESET Mail Security",
            Some("eset/mail-security"),
        );
        check(
            "ESET s.r.o",
            "ESET Mail Security",
            Some("eset/mail-security"),
        );
        check(
            "Open-Xchange GmbH",
            "OX Dovecot Pro",
            Some("open-xchange/ox-dovecot-pro"),
        );
        check("Exim", "Exim", Some("exim/exim"));
        check(
            "stalwartlabs",
            "mail-server",
            Some("stalwartlabs/mail-server"),
        );
        check(
            "mailcow",
            "mailcow-dockerized",
            Some("mailcow/mailcow-dockerized"),
        );
        check("n/a", "n/a", None);
        check("", "x", None);
        check("Inc.", "x", Some("inc/x"));
    }

    #[test]
    fn registry_packages_keep_their_own_names() {
        let name = |purl| registry_package(purl).map(|(e, n, v)| (e.to_string(), n, v));
        assert_eq!(
            name("pkg:npm/%40scope/mailer@1.2.3"),
            Some(("npm".into(), "@scope/mailer".into(), Some("1.2.3".into())))
        );
        assert_eq!(
            name("pkg:maven/org.apache.james/apache-mime4j-dom"),
            Some((
                "Maven".into(),
                "org.apache.james:apache-mime4j-dom".into(),
                None
            ))
        );
        assert_eq!(name("pkg:rpm/redhat/openssl"), None);
        assert_eq!(name("no purl"), None);
    }

    proptest! {
        #[test]
        fn names_never_panic_and_stay_names(vendor in ".{0,40}", product in ".{0,40}", purl in "(pkg:)?.{0,40}") {
            if let Some((key, package)) = product_key(&vendor, &product) {
                prop_assert!(key.ends_with(&package));
                prop_assert_eq!(kebab(&package), package);
            }
            let _ = registry_package(&purl);
        }
    }
}
