//! What a bundle says: its rules, where they come from, what they close and how sure that is.

use std::collections::BTreeSet;
use std::fmt;

use mailkeep_model::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::condition::Test;

/// The format this program reads and writes.
pub const FORMAT: u32 = 1;
/// Octets of the largest bundle that is read.
pub const MAX_BYTES: usize = 8 << 20;
/// Rules of the largest bundle.
const MAX_RULES: usize = 5000;
/// Conditions of one rule, and further tests of one of them.
const MAX_TESTS: usize = 64;
/// Octets of a name.
const MAX_NAME: usize = 80;

/// Rules, and what they are as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose rules, or for what; stays the same from version to version.
    pub id: String,
    /// Grows with each bundle of the same id.
    pub version: u64,
    /// When it was made.
    pub made: Timestamp,
    /// From when on it is no longer taken.
    pub expires: Timestamp,
    /// The shield it was made for; without it any shield takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield: Option<String>,
    /// Names of the rules that are in force; without it all are. The others are there to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<BTreeSet<String>>,
    /// The rules.
    #[serde(default, rename = "rule")]
    pub rules: Vec<PatchRule>,
}

/// A rule: one hole, or a few that one condition closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchRule {
    /// The stable name, in kebab-case.
    pub name: String,
    /// What it is about, in one line.
    pub title: String,
    /// CVE ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Other names of the hole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The software, as a person names it.
    pub product: String,
    /// Source packages of distributors that hold it, so that a finding can be tied to the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// What is affected, as a person says it.
    pub affected: String,
    /// The same in upstream's version numbers. A distributor's backport is told by a finding, never by these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Bounds>,
    /// Where on the wire it shows.
    pub stages: Vec<Stage>,
    /// What closes it.
    pub closes: Vec<Closes>,
    /// The shield's own rules that do, by name, beside the condition here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How sure the condition and the versions are.
    pub confidence: Confidence,
    /// What follows; absent where nothing on the wire closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// What a postmaster should know: what is left open, what honest mail looks alike.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// A sentence for the sender of what is refused; without it one is made from the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Any of these has to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Test>,
    /// What it must refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Case>,
    /// Look-alikes that it must let pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Case>,
}

/// A range of upstream's versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The first affected; absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The last affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// The first that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// Where a hole shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stage {
    /// The SASL exchange.
    Auth,
    /// BDAT.
    Bdat,
    /// SMTP commands.
    Cmd,
    /// Connecting.
    Conn,
    /// A message's octets.
    Data,
    /// Answers of name servers.
    Dns,
    /// Header fields.
    Hdr,
    /// Nothing that mail brings: local users, other protocols, configuration.
    Local,
    /// Parts of a message.
    Mime,
    /// Answers of the other mail server.
    Resp,
    /// TLS.
    Tls,
}

/// What closes a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Closes {
    /// A generic rule of the shield, by the number of its family.
    Generic(u8),
    /// A rule of the inspection of messages.
    Content,
    /// What the shield is: it ends TLS, asks no name server, hands on whole messages only.
    Design,
    /// Nothing but the patch.
    PatchOnly,
    /// The condition of the rule.
    Signature,
}

impl fmt::Display for Closes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic(number) => write!(f, "generic:G{number}"),
            Self::Content => f.write_str("content"),
            Self::Design => f.write_str("design"),
            Self::PatchOnly => f.write_str("patch-only"),
            Self::Signature => f.write_str("signature"),
        }
    }
}

impl From<Closes> for String {
    fn from(closes: Closes) -> Self {
        closes.to_string()
    }
}

impl TryFrom<String> for Closes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let generic = text.strip_prefix("generic:G");
        if let Some(number) = generic.and_then(|number| number.parse().ok())
            && (1..=16).contains(&number)
        {
            return Ok(Self::Generic(number));
        }
        match text.as_str() {
            "content" => Ok(Self::Content),
            "design" => Ok(Self::Design),
            "patch-only" => Ok(Self::PatchOnly),
            "signature" => Ok(Self::Signature),
            _ => Err(format!(
                "{text:?} closes nothing; say generic:G1 to generic:G16, content, design, signature or patch-only"
            )),
        }
    }
}

/// How sure a rule's condition and versions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Confidence {
    /// Read in a vendor's or distributor's text, or measured.
    A,
    /// From a well-known advisory that was not read again.
    B,
    /// Unsure.
    C,
}

impl Confidence {
    /// The letter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// What follows where a rule's condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is refused.
    Enforce,
    /// It is counted and logged. Nobody is covered by that.
    Monitor,
}

impl State {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

/// A self-test: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Command lines of one session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// The header block of a message or part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Decoded content of a part, with `type` and `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The type of the content.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Its name; alone, a part of that name without content.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it is a member of an archive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub member: bool,
    /// Whether the text above is base64 of what is meant, for octets that are no text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
}

/// Why a bundle is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Too large to be one.
    #[error("the bundle has {0} octets, more than the {MAX_BYTES} that are read")]
    TooLarge(usize),
    /// No text, no TOML, or a key that means nothing.
    #[error("it is no bundle: {0}")]
    Syntax(String),
    /// Another format.
    #[error("the bundle has format {0}, and this program reads {FORMAT}: bring it up to date")]
    Format(u32),
    /// A rule, or the head of the bundle, that cannot be.
    #[error("{place}: {what}")]
    Rule {
        /// The rule's name, or `bundle`.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A rule does not do what it says of itself.
    #[error("rule {rule} fails its self-test: {what}")]
    SelfTest {
        /// The rule.
        rule: String,
        /// Which case, and what happened.
        what: String,
    },
    /// Its time is over.
    #[error("the bundle expired at {0}; build and sign a new one")]
    Expired(Timestamp),
    /// It is not from now on.
    #[error("the bundle says that it was made at {0}, which is yet to come: look at the clocks")]
    NotYet(Timestamp),
    /// An older one, or another one of the same version.
    #[error(
        "the bundle is not newer than the one before: {0}; to go back on purpose, build it anew: that gives it a new version"
    )]
    NotNewer(String),
    /// Made for somebody else.
    #[error("the bundle was made for shield {0}")]
    OtherShield(String),
    /// Its signature.
    #[error("the bundle's signature does not count")]
    Signature(#[from] super::SignatureError),
}

impl BundleError {
    /// The stable name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expired(_) => "expired",
            Self::Format(_) => "format",
            Self::NotNewer(_) => "not-newer",
            Self::NotYet(_) => "not-yet",
            Self::OtherShield(_) => "other-shield",
            Self::Rule { .. } => "rule",
            Self::SelfTest { .. } => "self-test",
            Self::Signature(_) => "signature",
            Self::Syntax(_) => "syntax",
            Self::TooLarge(_) => "too-large",
        }
    }
}

impl Bundle {
    /// Reads a bundle, and checks all of it but conditions and self-tests, which is
    /// [`super::Compiled::new`]'s and [`Bundle::test`]'s matter.
    ///
    /// # Errors
    /// It is no bundle, or something in it cannot be.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BYTES {
            return Err(BundleError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| BundleError::Syntax(format!("it is not UTF-8: {error}")))?;
        let bundle: Self =
            toml::from_str(text).map_err(|error| BundleError::Syntax(error.to_string()))?;
        bundle.check()?;
        Ok(bundle)
    }

    /// The text that [`Bundle::read`] reads.
    ///
    /// # Errors
    /// It cannot be written as TOML, which no bundle that was read is.
    pub fn to_text(&self) -> Result<String, BundleError> {
        toml::to_string(self).map_err(|error| BundleError::Syntax(error.to_string()))
    }

    /// Whether a rule is among those in force.
    pub fn selects(&self, rule: &PatchRule) -> bool {
        self.selected
            .as_ref()
            .is_none_or(|names| names.contains(&rule.name))
    }

    /// The rules in force.
    pub fn in_force(&self) -> impl Iterator<Item = &PatchRule> {
        self.rules.iter().filter(|rule| self.selects(rule))
    }

    /// The rules about a hole, whatever its name.
    pub fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a PatchRule> {
        self.rules.iter().filter(move |rule| rule.is_about(name))
    }

    fn check(&self) -> Result<(), BundleError> {
        let wrong = |what: &str| {
            Err(BundleError::Rule {
                place: "bundle".to_owned(),
                what: what.to_owned(),
            })
        };
        if self.format != FORMAT {
            return Err(BundleError::Format(self.format));
        }
        if !is_name(&self.id) {
            return wrong("id is a name of small letters, digits and hyphens");
        }
        if self.expires <= self.made {
            return wrong("it expires before it was made");
        }
        if self.rules.len() > MAX_RULES {
            return wrong("it has more than 5000 rules");
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            rule.check().map_err(|what| BundleError::Rule {
                place: format!("rule {:?}", rule.name),
                what,
            })?;
            if !names.insert(rule.name.as_str()) {
                return wrong(&format!("two rules are named {:?}", rule.name));
            }
        }
        for name in self.selected.iter().flatten() {
            if !names.contains(name.as_str()) {
                return wrong(&format!("it selects {name:?}, and has no such rule"));
            }
        }
        Ok(())
    }
}

impl PatchRule {
    /// Whether it has a condition of its own.
    pub fn is_signature(&self) -> bool {
        self.closes.contains(&Closes::Signature)
    }

    /// Whether nothing on the wire closes it.
    pub fn is_patch_only(&self) -> bool {
        self.closes.contains(&Closes::PatchOnly)
    }

    /// Whether it is enforced, by itself.
    pub fn is_enforced(&self) -> bool {
        self.state == Some(State::Enforce)
    }

    /// Whether it is about a hole of this name, however capitals are set.
    pub fn is_about(&self, name: &str) -> bool {
        self.cves
            .iter()
            .chain(&self.aliases)
            .any(|own| own.eq_ignore_ascii_case(name))
    }

    /// What the sender is told.
    pub fn text_for_sender(&self) -> String {
        if self.text.is_empty() {
            format!(
                "this has the form of an attack on {} ({})",
                self.product, self.name
            )
        } else {
            self.text.clone()
        }
    }

    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(what.to_owned());
        if !is_name(&self.name) {
            return wrong("a name has small letters, digits and hyphens, and at most 80 of them");
        }
        for line in [&self.title, &self.product, &self.affected, &self.text] {
            if line.len() > 400 || line.chars().any(char::is_control) {
                return wrong(
                    "title, product, affected and text are single lines of at most 400 octets",
                );
            }
        }
        if self.title.is_empty() || self.product.is_empty() || self.affected.is_empty() {
            return wrong("title, product and affected say something");
        }
        for cve in &self.cves {
            if !is_cve(cve) {
                return Err(format!("{cve:?} is no CVE id"));
            }
        }
        if self.stages.is_empty() || self.closes.is_empty() {
            return wrong("stages and closes name at least one");
        }
        if self.is_patch_only() {
            if self.closes.len() > 1
                || self.state.is_some()
                || !self.when.is_empty()
                || !self.by.is_empty()
            {
                return wrong(
                    "what only the patch closes has no state, no condition, and nothing else that closes it",
                );
            }
            return Ok(());
        }
        if self.state.is_none() {
            return wrong("state says enforce or monitor");
        }
        if self.is_signature() {
            if self.when.is_empty() {
                return wrong("a signature has a condition");
            }
            if self.refused.is_empty() || self.passes.is_empty() {
                return wrong(
                    "a signature has something that it refuses and a look-alike that passes",
                );
            }
        } else if !self.when.is_empty() {
            return wrong("a condition is a signature; say so in closes");
        }
        let by_others = self
            .closes
            .iter()
            .any(|closes| matches!(closes, Closes::Generic(_) | Closes::Content));
        let by_itself = self.is_signature() || self.closes.contains(&Closes::Design);
        if self.is_enforced() && !by_itself && by_others && self.by.is_empty() {
            return wrong("what is enforced by rules of the shield names them in by");
        }
        if self.when.len() > MAX_TESTS {
            return wrong("it has more than 64 conditions");
        }
        for test in &self.when {
            test.check(&self.stages)?;
        }
        for case in self.refused.iter().chain(&self.passes) {
            case.check()?;
        }
        Ok(())
    }
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let parts = self.content.is_some() || !self.name.is_empty();
        let kinds = [!self.commands.is_empty(), self.header.is_some(), parts];
        if kinds.into_iter().filter(|kind| *kind).count() != 1 {
            return Err("a case has commands, or header, or content with type and name".to_owned());
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let octets = text.as_bytes();
    (1..=MAX_NAME).contains(&octets.len())
        && octets
            .iter()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || *octet == b'-')
        && octets.first() != Some(&b'-')
        && octets.last() != Some(&b'-')
}

fn is_cve(text: &str) -> bool {
    let Some((year, number)) = text
        .strip_prefix("CVE-")
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    year.len() == 4 && digits(year) && (4..=19).contains(&number.len()) && digits(number)
}
