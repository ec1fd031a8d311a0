//! The product tree: which product id is what package of what.
//!
//! Entry: [`Products::new`], [`Products::resolve`].

use std::collections::HashMap;

use mailkeep_model::Ecosystem;

use super::document::{Branch, Product, ProductTree};
use crate::product::cpe::Cpe;
use crate::product::distribution::{Release, RpmPackage, module_of};
use crate::product::ranges::{self, Versions};
use crate::product::{exchange, is_keepable, kebab, product_key, registry_package};

/// Deepest nesting of branches looked into. Real documents have at most eight levels.
const MAX_DEPTH: usize = 60;
/// Longest chain of relationships followed: package, module, platform make two.
const MAX_CHAIN: usize = 8;

/// What a product id stands for.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A package in a release of a distribution.
    Package(Release, RpmPackage),
    /// Versions of a product of no distributor.
    Product {
        /// Whose, by the scheme of [`crate::product`].
        ecosystem: Ecosystem,
        /// Its name there.
        package: Box<str>,
        /// Which versions.
        versions: Versions,
    },
    /// Microsoft Exchange Server: the product's name, and its builds.
    Exchange(String, Versions),
    /// Nothing Mailkeep has a name for.
    Unmapped(Reason),
}

/// Why a product id stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It is a container image.
    ContainerImage,
    /// Relationships that go round in a circle, or on for too long.
    EndlessRelationship,
    /// A distribution, but no package of it.
    NoPackage,
    /// Part of a product of a distributor, but no RPM package.
    NoRpmPackage,
    /// No vendor, or no name.
    NoName,
    /// It is not in the product tree.
    NotInTree,
    /// Its version is no version and no range.
    UnreadableVersion,
}

impl Reason {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ContainerImage => "container images, not packages",
            Self::EndlessRelationship => "products whose relationships do not end",
            Self::NoPackage => "a distribution is named, but no package of it",
            Self::NoRpmPackage => "components of other products that are no RPM packages",
            Self::NoName => "products without a vendor or a name",
            Self::NotInTree => "products that are not in the product tree",
            Self::UnreadableVersion => "products whose version cannot be read",
        }
    }
}

/// A product as it stands in the tree.
#[derive(Debug, Clone, Default)]
struct Entry<'a> {
    /// By the branches above it; the publisher's name where there are none.
    vendor: &'a str,
    /// By the branches above it, else its own name.
    product: &'a str,
    /// The version branch it hangs on.
    version: Option<&'a str>,
    /// That branch is a range.
    is_range: bool,
    /// The full product name.
    full_name: &'a str,
    cpe: Option<Cpe>,
    purl: Option<&'a str>,
}

/// The products of a document.
#[derive(Debug, Default)]
pub(super) struct Products<'a> {
    entries: HashMap<&'a str, Entry<'a>>,
    /// Product id to (package, what it is part of).
    relationships: HashMap<&'a str, (&'a str, &'a str)>,
    /// CPE vendor and product by (vendor, product) of the branches: a range often has no CPE where
    /// the version beside it has one.
    cpes: HashMap<(&'a str, &'a str), (String, String)>,
    /// Members of the tree that could not be read at all.
    pub(super) wrong: usize,
}

/// What the branches above say.
#[derive(Debug, Clone, Copy, Default)]
struct Above<'a> {
    vendor: &'a str,
    product: &'a str,
    family: &'a str,
    version: Option<&'a str>,
    is_range: bool,
}

impl<'a> Products<'a> {
    pub(super) fn new(tree: &'a ProductTree<'a>, publisher: &'a str) -> Self {
        let mut products = Self::default();
        let above = Above {
            vendor: publisher,
            ..Above::default()
        };
        for branch in tree.branches.objects() {
            products.walk(branch, above, 0);
        }
        for product in tree.full_product_names.objects() {
            products.insert(product, above);
        }
        for relationship in tree.relationships.objects() {
            let id = relationship
                .full_product_name
                .get()
                .map_or("", |product| product.product_id.get());
            let (part, whole) = (
                relationship.product_reference.get(),
                relationship.relates_to_product_reference.get(),
            );
            if id.is_empty() || part.is_empty() || whole.is_empty() {
                products.wrong += 1;
            } else {
                products.relationships.insert(id, (part, whole));
            }
        }
        products.wrong +=
            tree.branches.wrong() + tree.full_product_names.wrong() + tree.relationships.wrong();
        products
    }

    fn walk(&mut self, branch: &'a Branch<'a>, mut above: Above<'a>, depth: usize) {
        if depth > MAX_DEPTH {
            self.wrong += 1;
            return;
        }
        let name = branch.name.get();
        match branch.category.get() {
            "vendor" => above.vendor = name,
            "product_name" => above.product = name,
            "product_family" => above.family = name,
            // Where they are nested (a service pack below a version), the inner one is meant.
            "product_version" | "product_version_range" | "patch_level" | "service_pack" => {
                above.version = Some(name);
                above.is_range = branch.category.get() == "product_version_range";
            }
            // architecture, host_name, language, legacy, specification: no part of the name.
            _ => {}
        }
        if let Some(product) = branch.product.get() {
            self.insert(product, above);
        }
        self.wrong += branch.branches.wrong();
        for inner in branch.branches.objects() {
            self.walk(inner, above, depth + 1);
        }
    }

    fn insert(&mut self, product: &'a Product<'a>, above: Above<'a>) {
        let id = product.product_id.get();
        if id.is_empty() {
            self.wrong += 1;
            return;
        }
        let helper = product.product_identification_helper.get();
        let cpe = helper.and_then(|helper| Cpe::parse(helper.cpe.get()));
        let purl = helper.and_then(|helper| {
            helper
                .purl
                .some()
                .or_else(|| helper.purls.iter().find_map(|purl| purl.some()))
        });
        let entry = Entry {
            vendor: above.vendor,
            product: if above.product.is_empty() {
                above.family
            } else {
                above.product
            },
            version: above.version,
            is_range: above.is_range,
            full_name: product.name.get(),
            cpe,
            purl,
        };
        if let Some(cpe) = &entry.cpe {
            self.cpes
                .entry((entry.vendor, entry.product))
                .or_insert_with(|| (cpe.vendor.clone(), cpe.product.clone()));
        }
        self.entries.insert(id, entry);
    }

    /// What a product id stands for.
    pub(super) fn resolve(&self, id: &'a str) -> Target {
        let mut part = id;
        let mut whole = None;
        let mut module = None;
        // Down to the innermost part, then up to the outermost whole.
        let mut steps = 0;
        while let Some(&(inner, outer)) = self.relationships.get(part) {
            whole = whole.or(Some(outer));
            part = inner;
            steps += 1;
            if steps > MAX_CHAIN {
                return Target::Unmapped(Reason::EndlessRelationship);
            }
        }
        while let Some((inner, outer)) = whole.and_then(|id| self.relationships.get(id)) {
            let purl = self.entries.get(inner).and_then(|entry| entry.purl);
            module = module.or_else(|| module_of(purl, inner));
            whole = Some(outer);
            steps += 1;
            if steps > MAX_CHAIN {
                return Target::Unmapped(Reason::EndlessRelationship);
            }
        }
        if whole.is_none() && !self.entries.contains_key(id) {
            // Red Hat and SUSE write platform:package; some documents leave the relationship out.
            if let Some((platform, package)) = id.split_once(':')
                && self.entries.contains_key(platform)
            {
                (part, whole) = (package, Some(platform));
            } else {
                return Target::Unmapped(Reason::NotInTree);
            }
        }
        let entry = self.entries.get(part);
        if let Some(release) = whole.and_then(|id| self.release(id)) {
            return rpm_target(release, part, entry, module);
        }
        match entry {
            Some(entry) => self.product(entry),
            None => Target::Unmapped(Reason::NotInTree),
        }
    }

    /// The release of a distribution a product is.
    fn release(&self, id: &str) -> Option<Release> {
        match self.entries.get(id) {
            Some(entry) => match &entry.cpe {
                Some(cpe) => Release::from_cpe(cpe),
                None => Release::from_name(entry.full_name).or_else(|| Release::from_name(id)),
            },
            None => Release::from_name(id),
        }
    }

    /// A product that is no part of a distribution.
    fn product(&self, entry: &Entry<'a>) -> Target {
        if let Some(purl) = entry.purl {
            if purl.starts_with("pkg:oci/") || purl.starts_with("pkg:docker/") {
                return Target::Unmapped(Reason::ContainerImage);
            }
            if let Some((ecosystem, package, version)) = registry_package(purl) {
                let Some(versions) = entry.versions(version.as_deref()) else {
                    return Target::Unmapped(Reason::UnreadableVersion);
                };
                return Target::Product {
                    ecosystem,
                    package,
                    versions,
                };
            }
        }
        let name = if entry.product.is_empty() {
            entry.full_name
        } else {
            entry.product
        };
        if exchange::is_exchange(name) {
            return match entry.versions(None) {
                Some(versions) => Target::Exchange(name.to_owned(), versions),
                None => Target::Unmapped(Reason::UnreadableVersion),
            };
        }
        let distribution = entry.cpe.as_ref().is_some_and(Cpe::is_distribution)
            || Release::from_name(entry.full_name).is_some();
        if distribution {
            return Target::Unmapped(Reason::NoPackage);
        }
        let Some(mut versions) = entry.versions(None) else {
            return Target::Unmapped(Reason::UnreadableVersion);
        };
        let key = match self.cpes.get(&(entry.vendor, entry.product)) {
            Some((vendor, product)) => product_key(vendor, product),
            None => product_key(entry.vendor, name),
        };
        let Some((mut key, mut package)) = key else {
            return Target::Unmapped(Reason::NoName);
        };
        // "Warehouse <5.1.0" under DB2 is another product than DB2; "exim 4.95" under Exim is not.
        if let Some(variant) = versions.variant.take() {
            let variant = kebab(&variant);
            if !variant.is_empty() && variant != package && variant != kebab(name) {
                key = format!("{key}-{variant}");
                package = format!("{package}-{variant}");
            }
        }
        if !is_keepable(&key) {
            return Target::Unmapped(Reason::NoName);
        }
        Target::Product {
            ecosystem: Ecosystem::Other(key.into()),
            package: package.into(),
            versions,
        }
    }
}

impl Entry<'_> {
    /// Which versions it is: the version branch's, else the package URL's, else all.
    fn versions(&self, purl_version: Option<&str>) -> Option<Versions> {
        let Some(text) = self.version.or(purl_version) else {
            return Some(Versions {
                all: true,
                ..Versions::default()
            });
        };
        let parsed = ranges::parse(text);
        if self.is_range {
            // Words without any version are a variant of a product, but no range.
            return parsed.filter(|parsed| !parsed.all || parsed.variant.is_none());
        }
        parsed.or_else(|| {
            // A version that does not begin with a digit is one all the same, if it is one word.
            (is_keepable(text) && !text.contains([' ', '<', '>', '=', '|', '*'])).then(|| {
                Versions {
                    versions: vec![text.into()],
                    ..Versions::default()
                }
            })
        })
    }
}

fn rpm_target(
    release: Release,
    id: &str,
    entry: Option<&Entry<'_>>,
    module: Option<Box<str>>,
) -> Target {
    let purl = entry.and_then(|entry| entry.purl);
    if id.contains("@sha256:") || purl.is_some_and(|purl| purl.starts_with("pkg:oci/")) {
        return Target::Unmapped(Reason::ContainerImage);
    }
    let by_text = RpmPackage::from_text(id);
    let package = match purl {
        Some(purl) => match RpmPackage::from_purl(purl) {
            // SUSE's purls name no architecture, nor a version where every version is meant.
            Some(package) => Some(RpmPackage {
                module: package
                    .module
                    .clone()
                    .or_else(|| by_text.as_ref().and_then(|text| text.module.clone())),
                ..package
            }),
            None if purl.starts_with("pkg:rpm/") => by_text,
            None => None,
        },
        // Components of products laid over a distribution are mostly no packages: without a
        // package URL only a full NEVRA counts.
        None => by_text.filter(|text| !release.layered || text.version.is_some()),
    };
    match package {
        Some(package) => Target::Package(
            release,
            RpmPackage {
                module: package.module.or(module),
                ..package
            },
        ),
        None => Target::Unmapped(Reason::NoRpmPackage),
    }
}
