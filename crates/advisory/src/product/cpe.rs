//! CPE names, in both bindings: the URI of CPE 2.2 (`cpe:/o:redhat:enterprise_linux:9`) and the
//! formatted string of CPE 2.3 (NISTIR 7695, section 6).

/// The parts of a CPE name used here. A part that is `*`, `-` or left out is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpe {
    /// `a` application, `o` operating system, `h` hardware.
    pub part: String,
    /// Vendor.
    pub vendor: String,
    /// Product.
    pub product: String,
    /// Version.
    pub version: String,
    /// Update.
    pub update: String,
    /// Edition.
    pub edition: String,
}

impl Cpe {
    /// Reads a CPE name; `None` where it is none, or names no vendor or product.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 1024 {
            return None;
        }
        let rest = text
            .strip_prefix("cpe:/")
            .or_else(|| text.strip_prefix("cpe:2.3:"))?;
        let mut parts = split_unescaped(rest).into_iter();
        let mut next = || {
            parts
                .next()
                .filter(|part| part != "*" && part != "-")
                .unwrap_or_default()
        };
        let cpe = Self {
            part: next(),
            vendor: next(),
            product: next(),
            version: next(),
            update: next(),
            edition: next(),
        };
        (!cpe.vendor.is_empty() && !cpe.product.is_empty()).then_some(cpe)
    }

    /// Whether it names a Linux distribution, of whatever release.
    pub fn is_distribution(&self) -> bool {
        match self.vendor.as_str() {
            "redhat" => {
                self.product.starts_with("enterprise_linux") || self.product.starts_with("rhel_")
            }
            "suse" => self.product.starts_with("sle") || self.product.contains("linux"),
            "almalinux" | "opensuse" | "rocky" | "rockylinux" => true,
            "canonical" => self.product == "ubuntu_linux",
            "centos" => self.product == "centos",
            "debian" => self.product == "debian_linux",
            "fedoraproject" => self.product == "fedora",
            "oracle" => self.product == "linux",
            _ => false,
        }
    }
}

/// Splits at colons that no backslash escapes, and takes the backslashes away.
fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if let (Some(last), Some(escaped)) = (parts.last_mut(), chars.next()) {
                    last.push(escaped);
                }
            }
            ':' => parts.push(String::new()),
            c => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_bindings_are_read() {
        let old = Cpe::parse("cpe:/a:redhat:enterprise_linux:9::appstream").unwrap();
        assert_eq!(
            (&*old.version, &*old.update, &*old.edition),
            ("9", "", "appstream")
        );
        let new =
            Cpe::parse(r"cpe:2.3:a:open-xchange:app\:suite:7.10.6:rev49:*:*:*:*:*:*").unwrap();
        assert_eq!(
            (&*new.vendor, &*new.product, &*new.update),
            ("open-xchange", "app:suite", "rev49")
        );
        assert_eq!(
            Cpe::parse("cpe:/o:redhat:enterprise_linux:-")
                .unwrap()
                .version,
            ""
        );
        assert_eq!(Cpe::parse("cpe:/o"), None);
        assert_eq!(Cpe::parse("pkg:rpm/x"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in r"(cpe:/|cpe:2\.3:)?[a-z:\\*-]{0,60}") {
            let _ = Cpe::parse(&text);
        }
    }
}
