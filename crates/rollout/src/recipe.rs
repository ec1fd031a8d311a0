//! A recipe: how one product family is patched where the host's repositories alone do not say it.
//!
//! Entry types: [`Recipe::load`], [`Recipe::reference`]. A recipe is a TOML file beside the fleet file; it
//! names packages given as files, configuration fragments, commands, further proofs, and mitigations
//! that the patch ends. Its digest is over the file and every file it names, and is part of the plan, so
//! what was approved is what runs. `docs/adapters.md` shows one.
//!
//! **Invariant:** reads nothing by itself; the caller hands in how files are read. What a recipe says
//! runs as root on mail servers: it is trusted as the fleet file is, and pinned.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mailkeep_model::{AdvisoryId, RecipeRef};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Largest sum of all files a recipe names, in bytes: they go to the host through one `ssh` session, in
/// a script that a shell holds in memory.
pub const MAX_FILES: usize = 32 << 20;
/// Longest recipe file, in bytes.
pub const MAX_RECIPE: usize = 256 << 10;
/// Most entries of one kind.
const MAX_ENTRIES: usize = 50;

/// A recipe with everything it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    path: String,
    sha256: String,
    pub(crate) file: RecipeFile,
    /// By the path as the recipe says it.
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// It, or a file it names, could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Relative to the fleet file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML of this form.
    #[error("{path} is no recipe")]
    Syntax {
        /// Relative to the fleet file.
        path: String,
        /// Where, and what was expected.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It is TOML, and says something that cannot be.
    #[error("{path}: {what}")]
    Bad {
        /// Relative to the fleet file.
        path: String,
        /// What, printable.
        what: String,
    },
    /// A package is not the one the recipe means.
    #[error("{path}: its SHA-256 is {found}, the recipe says {expected}")]
    OtherContent {
        /// The package's path.
        path: String,
        /// As the recipe says.
        expected: String,
        /// As it is.
        found: String,
    },
}

impl RecipeError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "recipe-unreadable",
            Self::Syntax { .. } => "recipe-syntax",
            Self::Bad { .. } => "recipe-bad",
            Self::OtherContent { .. } => "recipe-other-content",
        }
    }
}

/// The file as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecipeFile {
    format: u32,
    #[serde(default)]
    pub(crate) allow_no_way_back: bool,
    /// Files of the configuration that may differ afterwards, besides the fragments.
    #[serde(default)]
    pub(crate) may_change: Vec<String>,
    /// What servers may offer, or no longer offer, afterwards: `CHUNKING`.
    #[serde(default)]
    pub(crate) may_offer: Vec<String>,
    #[serde(default, rename = "package")]
    pub(crate) packages: Vec<GivenPackage>,
    #[serde(default, rename = "fragment")]
    pub(crate) fragments: Vec<Fragment>,
    #[serde(default, rename = "command")]
    pub(crate) commands: Vec<Command>,
    #[serde(default, rename = "proof")]
    pub(crate) proofs: Vec<Proof>,
    #[serde(default, rename = "mitigation")]
    pub(crate) mitigations: Vec<Mitigation>,
}

/// A package that is pushed instead of fetched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// A file put on the host after the packages and before the restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fragment {
    pub(crate) path: String,
    pub(crate) file: String,
    #[serde(default = "readable")]
    pub(crate) mode: String,
}

/// Something run on the host; repeated when the act is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    pub(crate) when: When,
    pub(crate) run: String,
    #[serde(default = "a_minute")]
    pub(crate) seconds: u32,
}

/// When a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    BeforeInstall,
    BeforeRestart,
    AfterRestart,
}

impl When {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AfterRestart => "after-restart",
            Self::BeforeInstall => "before-install",
            Self::BeforeRestart => "before-restart",
        }
    }
}

/// Something that must end with 0 before the host serves again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    pub(crate) name: String,
    pub(crate) run: String,
    #[serde(default = "a_minute")]
    pub(crate) seconds: u32,
}

/// What stands in until the patch: put in force again before it, and removed after it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mitigation {
    pub(crate) name: String,
    /// What it stands in for. A plan puts it in force where there is no fix, and ends it with the fix of
    /// all of them; without any, whatever the recipe installs ends it.
    #[serde(default)]
    pub(crate) advisories: Vec<AdvisoryId>,
    pub(crate) assert: String,
    pub(crate) check: String,
    pub(crate) remove: String,
}

fn readable() -> String {
    "0644".to_owned()
}

fn a_minute() -> u32 {
    60
}

impl Recipe {
    /// Loads a recipe by its path relative to the fleet file. `read` reads a file by such a path.
    pub fn load(
        path: &str,
        mut read: impl FnMut(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, RecipeError> {
        let mut reading = |path: &str| {
            read(path).map_err(|source| RecipeError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let bad = |what: String| RecipeError::Bad {
            path: path.to_owned(),
            what,
        };
        let bytes = reading(path)?;
        if bytes.len() > MAX_RECIPE {
            return Err(bad(format!("longer than {} KiB", MAX_RECIPE >> 10)));
        }
        let text = String::from_utf8_lossy(&bytes);
        let file: RecipeFile = toml::from_str(&text).map_err(|source| RecipeError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        file.check().map_err(bad)?;

        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut contents = BTreeMap::new();
        let mut total = 0;
        for name in file.named() {
            let at = if directory.is_empty() {
                name.to_owned()
            } else {
                format!("{directory}/{name}")
            };
            let content = reading(&at)?;
            total += content.len();
            if total > MAX_FILES {
                return Err(bad(format!(
                    "its files are more than {} MiB together",
                    MAX_FILES >> 20
                )));
            }
            contents.insert(name.to_owned(), content);
        }
        for package in &file.packages {
            let found = hex(&Sha256::digest(
                contents.get(&package.file).map_or(&[][..], Vec::as_slice),
            ));
            if found != package.sha256.to_ascii_lowercase() {
                return Err(RecipeError::OtherContent {
                    path: package.file.clone(),
                    expected: package.sha256.clone(),
                    found,
                });
            }
        }
        let mut digest = Sha256::new();
        for (name, content) in std::iter::once(("", bytes.as_slice())).chain(
            contents
                .iter()
                .map(|(name, c)| (name.as_str(), c.as_slice())),
        ) {
            // Lengths first, so that no two sets of files look alike.
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name);
            digest.update((content.len() as u64).to_be_bytes());
            digest.update(content);
        }
        Ok(Self {
            path: path.to_owned(),
            sha256: hex(&digest.finalize()),
            file,
            contents,
        })
    }

    /// What a plan says of it.
    pub fn reference(&self) -> RecipeRef {
        RecipeRef {
            path: self.path.clone(),
            sha256: self.sha256.clone(),
        }
    }

    /// Packages it brings itself, with their versions: a plan for it ends at these.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.file
            .packages
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_str()))
    }

    /// Advisories for which its mitigations stand in.
    pub fn mitigates(&self) -> impl Iterator<Item = &AdvisoryId> {
        self.file.mitigations.iter().flat_map(|m| &m.advisories)
    }
}

impl RecipeFile {
    /// Every file it names, each once.
    fn named(&self) -> std::collections::BTreeSet<&str> {
        let packages = self.packages.iter().map(|package| package.file.as_str());
        packages
            .chain(self.fragments.iter().map(|f| f.file.as_str()))
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.format != 1 {
            return Err(format!("format {} is not known; 1 is", self.format));
        }
        for (what, count) in [
            ("packages", self.packages.len()),
            ("fragments", self.fragments.len()),
            ("commands", self.commands.len()),
            ("proofs", self.proofs.len()),
            ("mitigations", self.mitigations.len()),
            (
                "advisories of mitigations",
                self.mitigations.iter().map(|m| m.advisories.len()).sum(),
            ),
            ("files that may change", self.may_change.len()),
            ("offers", self.may_offer.len()),
        ] {
            if count > MAX_ENTRIES {
                return Err(format!("more than {MAX_ENTRIES} {what}"));
            }
        }
        for name in self.named() {
            let inside = !name.is_empty()
                && !name.starts_with('/')
                && name.split('/').all(|part| !part.is_empty() && part != "..");
            if !inside {
                return Err(format!("{name:?} is no file beside the recipe"));
            }
        }
        for package in &self.packages {
            word("package", &package.name, "+-.")?;
            word("version", &package.version, "+-.:~_")?;
        }
        let targets = self.fragments.iter().map(|fragment| &fragment.path);
        for path in targets.chain(&self.may_change) {
            let on_host = path.starts_with('/')
                && !path.ends_with('/')
                && !path.split('/').any(|part| part == ".." || part == ".");
            if !on_host {
                return Err(format!("{path:?} is no absolute path of a file"));
            }
            word("path", path, "/+-._@")?;
        }
        for fragment in &self.fragments {
            let octal = u32::from_str_radix(&fragment.mode, 8);
            if !octal.is_ok_and(|mode| mode <= 0o777) || !fragment.mode.is_ascii() {
                return Err(format!("{:?} is no mode such as \"0644\"", fragment.mode));
            }
        }
        for offer in &self.may_offer {
            word("offer", offer, "-=+")?;
        }
        let names = self.proofs.iter().map(|proof| &proof.name);
        for name in names.chain(self.mitigations.iter().map(|m| &m.name)) {
            word("name", name, "-._")?;
        }
        let commands = self.commands.iter().map(|command| &command.run);
        let proofs = self.proofs.iter().map(|proof| &proof.run);
        let mitigations = self
            .mitigations
            .iter()
            .flat_map(|m| [&m.assert, &m.check, &m.remove]);
        for text in commands.chain(proofs).chain(mitigations) {
            if text.trim().is_empty()
                || text.len() > 8192
                || text
                    .chars()
                    .any(|c| c.is_control() && c != '\n' && c != '\t')
            {
                return Err("a command is empty, too long, or has control characters".to_owned());
            }
        }
        Ok(())
    }
}

/// ASCII letters and digits, and `also`; no first dash.
fn word(what: &str, text: &str, also: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(fits) {
        return Err(format!("{text:?} is no {what}"));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        _ = write!(text, "{byte:02x}");
    }
    text
}

/// Fuzz entry: any bytes as a recipe; every file it names is empty.
pub fn fuzz(input: &[u8]) {
    let loaded = Recipe::load("r.toml", |path| {
        Ok(if path == "r.toml" {
            input.to_vec()
        } else {
            Vec::new()
        })
    });
    if let Ok(recipe) = loaded {
        debug_assert_eq!(recipe.reference().sha256.len(), 64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"
        format = 1
        may_offer = ["CHUNKING"]
        [[package]]
        name = "postfix"
        version = "3.5.25-0+deb11u2"
        file = "debs/postfix.deb"
        sha256 = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"
        [[fragment]]
        path = "/etc/postfix/tls_policy"
        file = "tls_policy"
        [[command]]
        when = "before-restart"
        run = "postmap /etc/postfix/tls_policy"
        [[proof]]
        name = "tls-policy"
        run = "test -s /etc/postfix/tls_policy.db"
    "#;

    fn load(text: &str, deb: &[u8], policy: &[u8]) -> Result<Recipe, RecipeError> {
        Recipe::load("recipes/postfix.toml", |path| match path {
            "recipes/postfix.toml" => Ok(text.as_bytes().to_vec()),
            "recipes/debs/postfix.deb" => Ok(deb.to_vec()),
            "recipes/tls_policy" => Ok(policy.to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn a_recipe_brings_all_it_names() {
        let recipe = load(GOOD, b"hello", b"a").unwrap();
        assert_eq!(
            recipe.packages().collect::<Vec<_>>(),
            [("postfix", "3.5.25-0+deb11u2")]
        );
        assert_eq!(recipe.contents["tls_policy"], b"a");
    }

    #[test]
    fn a_change_of_any_file_changes_the_digest() {
        let digest = |text: &str, policy: &[u8]| {
            let recipe = load(text, b"hello", policy).unwrap();
            recipe.reference().sha256
        };
        let first = digest(GOOD, b"a");
        assert_eq!(first, digest(GOOD, b"a"));
        assert_ne!(first, digest(GOOD, b"b"));
        assert_ne!(first, digest(&format!("{GOOD}\n"), b"a"));
    }

    #[test]
    fn another_package_than_the_one_meant_is_refused() {
        let error = load(GOOD, b"hell0", b"a").unwrap_err();
        assert_eq!(error.kind(), "recipe-other-content");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (from, to, kind) in [
            ("format = 1", "format = 2", "recipe-bad"),
            ("\"tls_policy\"", "\"../tls_policy\"", "recipe-bad"),
            ("\"tls_policy\"\n", "\"absent\"\n", "recipe-unreadable"),
            ("/etc/postfix/tls_policy\"", "etc/x\"", "recipe-bad"),
            ("/etc/postfix/tls_policy\"", "/etc/../x\"", "recipe-bad"),
            ("\"postfix\"", "\"post fix\"", "recipe-bad"),
            ("before-restart", "sometimes", "recipe-syntax"),
            ("run = \"postmap", "walk = \"postmap", "recipe-syntax"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = load(&text, b"hello", b"a").unwrap_err();
            assert_eq!(error.kind(), kind, "{from} -> {to}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&input);
        }
    }
}
