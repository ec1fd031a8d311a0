//! What the configuration file says of content, virus scanners and senders. Entry: [`ContentFiles`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mailkeep_inspect::{ContentRule, Level, Pieces, Profile, Verdict};
use mailkeep_wire::Network;
use serde::Deserialize;

use super::watch::OutbreakFile;
use super::yara::{self, YaraFile};
use crate::quarantine::QuarantineFile;

/// All that the file says of content.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContentFiles {
    pub(crate) content: ContentFile,
    pub(crate) antivirus: AntivirusFile,
    pub(crate) authentication: Option<AuthenticationFile>,
    pub(crate) quarantine: Option<QuarantineFile>,
    pub(crate) outbreak: Option<OutbreakFile>,
    pub(crate) yara: Vec<YaraFile>,
}

impl ContentFiles {
    /// Compiles the rules that it names.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong, and where.
    pub(crate) fn check_rules(&self) -> Result<(), String> {
        yara::load(&self.yara).map(drop)
    }

    /// What every profile is to tell: of the pieces of messages to virus scanners, of what they hold to the outbreaks.
    pub(super) fn asked(&self) -> Profile {
        Profile {
            pieces: self.antivirus.pieces(),
            contents: self.outbreak.is_some(),
            ..Profile::default()
        }
    }

    /// Checks it, without asking anybody. `listeners` are the names of all listeners and milters.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn check(&self, listeners: &[&str]) -> Result<(), String> {
        let profiles = self.content.check(&self.asked())?;
        if !self.yara.is_empty() && profiles.none_looks() {
            return Err(
                "[[yara]] names rules, and [content] level = \"off\" lets them look at nothing"
                    .to_owned(),
            );
        }
        let mut named = profiles
            .others
            .iter()
            .filter_map(|one| one.listener.as_deref());
        if let Some(name) = named.find(|name| !listeners.contains(name)) {
            return Err(format!(
                "[[content.policy]] names no listener and no milter: {name:?}"
            ));
        }
        self.antivirus.engines()?;
        if let Some(authentication) = &self.authentication {
            authentication.policy()?;
        }
        if let Some(outbreak) = &self.outbreak {
            outbreak.own_networks()?;
        }
        Ok(())
    }
}

/// `[content]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ContentFile {
    /// `off`, `default`, `strict`, `paranoid`.
    level: String,
    /// Rules that do something else than their level says.
    actions: BTreeMap<String, String>,
    /// How long one message may be looked into.
    seconds: u64,
    /// Octets of all messages together that are looked into, or wait for it.
    memory: u64,
    /// Messages looked into at a time; 0: as many as there are processors.
    at_a_time: usize,
    /// What differs by listener and by domain of the recipients.
    policy: Vec<PolicyFile>,
}

impl Default for ContentFile {
    fn default() -> Self {
        Self {
            level: "default".to_owned(),
            actions: BTreeMap::new(),
            seconds: 20,
            memory: 512 << 20,
            at_a_time: 0,
            policy: Vec::new(),
        }
    }
}

/// `[[content.policy]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    listener: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    actions: BTreeMap<String, String>,
}

/// How content is judged: the profile of everybody, and those that differ.
#[derive(Debug, Clone)]
pub(crate) struct Profiles {
    all: Policy,
    others: Vec<Policy>,
    pub(super) patience: Duration,
    pub(super) at_a_time: usize,
    /// In KiB.
    pub(super) memory: u32,
}

#[derive(Debug, Clone)]
struct Policy {
    listener: Option<String>,
    /// Empty: every recipient.
    domains: Vec<String>,
    /// None: content is not looked into.
    profile: Option<Arc<Profile>>,
}

impl ContentFile {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn check(&self, asked: &Profile) -> Result<Profiles, String> {
        let all = Policy {
            listener: None,
            domains: Vec::new(),
            profile: profile(&self.level, &[&self.actions], asked)?,
        };
        let mut others = Vec::new();
        for policy in &self.policy {
            let level = policy.level.as_ref().unwrap_or(&self.level);
            others.push(Policy {
                listener: policy.listener.clone(),
                domains: policy.domains.iter().map(|name| lower(name)).collect(),
                profile: profile(level, &[&self.actions, &policy.actions], asked)?,
            });
        }
        if self.seconds == 0 {
            return Err("[content] seconds must be at least 1".to_owned());
        }
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Profiles {
            all,
            others,
            patience: Duration::from_secs(self.seconds),
            memory: u32::try_from(self.memory >> 10)
                .unwrap_or(u32::MAX >> 4)
                .clamp(1, u32::MAX >> 4),
            at_a_time: if self.at_a_time == 0 {
                processors
            } else {
                self.at_a_time
            },
        })
    }
}

impl Profiles {
    /// Whether every message is looked into.
    pub(super) fn all_look(&self) -> bool {
        let mut all = std::iter::once(&self.all).chain(&self.others);
        all.all(|policy| policy.profile.is_some())
    }

    /// Whether nothing is looked into.
    fn none_looks(&self) -> bool {
        let mut all = std::iter::once(&self.all).chain(&self.others);
        all.all(|policy| policy.profile.is_none())
    }

    /// Of what mail the content is not looked into, for people.
    pub(super) fn not_looked_into(&self) -> Vec<String> {
        let off = |policy: &&Policy| policy.profile.is_none();
        let all = std::iter::once(&self.all).filter(off);
        let all = all.map(|_| "all that no [[content.policy]] is about".to_owned());
        let others = self.others.iter().filter(off).map(Policy::about);
        all.chain(others).collect()
    }

    /// Whether every one of them refuses by this rule.
    pub(super) fn refuse(&self, rule: &str) -> bool {
        let mut all = std::iter::once(&self.all).chain(&self.others);
        let rule = rules().find(|one| one.name == rule);
        all.all(|policy| match (&policy.profile, rule) {
            (Some(profile), Some(rule)) => profile.verdict_of(rule) == Verdict::Refuse,
            _ => false,
        })
    }

    /// The profiles of a message: one for each that a recipient has, since a message to several is one message, and
    /// the strictest verdict holds. Of several policies that fit a recipient the last holds.
    pub(super) fn of(&self, listener: &str, recipients: &[String]) -> Vec<Arc<Profile>> {
        let mut found: Vec<Arc<Profile>> = Vec::new();
        let nobody = [String::new()];
        let recipients = if recipients.is_empty() {
            &nobody
        } else {
            recipients
        };
        for recipient in recipients {
            let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
            let domain = lower(domain);
            let mut all = self.others.iter().rev();
            let policy = all
                .find(|policy| policy.fits(listener, &domain))
                .unwrap_or(&self.all);
            if let Some(profile) = &policy.profile
                && !found.contains(profile)
            {
                found.push(Arc::clone(profile));
            }
        }
        found
    }
}

impl Policy {
    /// What mail it is about, for people.
    fn about(&self) -> String {
        let by = self.listener.as_ref().map(|name| format!("by {name}"));
        let to = (!self.domains.is_empty()).then(|| format!("to {}", self.domains.join(", ")));
        let both: Vec<String> = by.into_iter().chain(to).collect();
        if both.is_empty() {
            "all".to_owned()
        } else {
            both.join(" ")
        }
    }

    fn fits(&self, listener: &str, domain: &str) -> bool {
        self.listener.as_ref().is_none_or(|name| name == listener)
            && (self.domains.is_empty() || self.domains.iter().any(|name| name == domain))
    }
}

fn profile(
    level: &str,
    actions: &[&BTreeMap<String, String>],
    asked: &Profile,
) -> Result<Option<Arc<Profile>>, String> {
    let level = match level {
        "off" => return Ok(None),
        "default" => Level::Default,
        "strict" => Level::Strict,
        "paranoid" => Level::Paranoid,
        other => {
            return Err(format!(
                "there is no level {other:?} of content; there are off, default, strict and paranoid"
            ));
        }
    };
    let mut profile = Profile {
        level,
        ..asked.clone()
    };
    for (rule, action) in actions.iter().flat_map(|actions| actions.iter()) {
        if !rules().any(|one| one.name == rule) {
            return Err(format!("there is no rule {rule:?} of [content]"));
        }
        profile.actions.insert(rule.clone(), verdict(action)?);
    }
    Ok(Some(Arc::new(profile)))
}

/// Every rule of the inspection.
fn rules() -> impl Iterator<Item = &'static ContentRule> {
    let messages = mailkeep_inspect::message_rules::RULES.into_iter();
    messages.chain(mailkeep_inspect::danger::RULES)
}

/// An action by its name.
pub(super) fn verdict(name: &str) -> Result<Verdict, String> {
    let all = [
        Verdict::Accept,
        Verdict::Quarantine,
        Verdict::Tempfail,
        Verdict::Refuse,
    ];
    let found = all.into_iter().find(|verdict| verdict.name() == name);
    found.ok_or_else(|| {
        format!("there is no action {name:?}; there are accept, quarantine, tempfail and refuse")
    })
}

fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Where somebody of ours listens: `unix:/run/x.sock`, `inet:127.0.0.1:3310`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Socket {
    Unix(PathBuf),
    Inet(SocketAddr),
}

impl Socket {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no socket: unix:/PATH of at most 107 octets, or inet:ADDRESS:PORT with a numeric address"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            // What is too long for the kernel is no address.
            let fits = std::os::unix::net::SocketAddr::from_pathname(path).is_ok();
            return if path.starts_with('/') && fits {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(wrong())
            };
        }
        let address = text.strip_prefix("inet:").unwrap_or(text);
        address.parse().ok().map(Self::Inet).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet(address) => write!(f, "inet:{address}"),
        }
    }
}

/// `[[milter]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MilterFile {
    pub(crate) name: String,
    socket: String,
    /// Who may connect to a Unix socket, as `chmod` has it.
    #[serde(default)]
    mode: Option<String>,
}

/// A milter's socket, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MilterSocket {
    pub(crate) name: String,
    pub(crate) socket: Socket,
    pub(crate) mode: u32,
}

impl MilterFile {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn check(&self) -> Result<MilterSocket, String> {
        let socket = Socket::parse(&self.socket)?;
        let mode = match &self.mode {
            None => 0o660,
            Some(text) => u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o777)
                .ok_or_else(|| format!("mode = {text:?} is none; an example is \"660\""))?,
        };
        Ok(MilterSocket {
            name: self.name.clone(),
            socket,
            mode,
        })
    }
}

/// What happens to a message that could not be, or not soundly be, scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unscanned {
    /// It goes on.
    Accept,
    /// The sender keeps it.
    Tempfail,
    /// The sender keeps it if it may hold a file.
    TempfailAttachments,
}

/// `[antivirus]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AntivirusFile {
    engine: Vec<EngineFile>,
    /// Definitions older than this are stale.
    pub(super) stale_hours: u32,
    /// An engine did not answer.
    pub(super) when_dead: Unscanned,
    /// Its definitions are stale, or of unknown age.
    pub(super) when_stale: Unscanned,
    /// One engine's word is enough; otherwise all must answer.
    pub(super) one_is_enough: bool,
    /// What each engine is given beside the message.
    pub(super) parts: Parts,
}

/// What a virus scanner is given beside the message as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Parts {
    /// Nothing.
    None,
    /// What it will not find itself: content that only unusual readings bring forth.
    Unusual,
    /// That, every attachment, and every member of an archive.
    All,
}

impl Default for AntivirusFile {
    fn default() -> Self {
        Self {
            engine: Vec::new(),
            stale_hours: 48,
            when_dead: Unscanned::TempfailAttachments,
            when_stale: Unscanned::TempfailAttachments,
            one_is_enough: false,
            parts: Parts::Unusual,
        }
    }
}

/// `[[antivirus.engine]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineFile {
    name: String,
    socket: String,
    /// How long one scan may take, with everything.
    #[serde(default = "thirty")]
    seconds: u64,
    /// Scans at a time.
    #[serde(default = "eight")]
    at_a_time: usize,
    /// It has no databases that carry a date: their age stays unknown, and that stops no mail.
    #[serde(default)]
    own_definitions: bool,
}

fn thirty() -> u64 {
    30
}

fn eight() -> usize {
    8
}

/// One engine, checked.
#[derive(Debug, Clone)]
pub(super) struct EngineConfig {
    pub(super) name: String,
    pub(super) socket: Socket,
    pub(super) patience: Duration,
    pub(super) at_a_time: usize,
    pub(super) own_definitions: bool,
}

impl EngineConfig {
    /// Whether both are the same scanner, however it may be used.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.socket == other.socket
    }
}

impl AntivirusFile {
    /// What an inspection hands out for the engines.
    pub(super) fn pieces(&self) -> Pieces {
        match self.parts {
            _ if self.engine.is_empty() => Pieces::None,
            Parts::None => Pieces::None,
            Parts::Unusual => Pieces::Unusual,
            Parts::All => Pieces::All,
        }
    }

    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(super) fn engines(&self) -> Result<Vec<EngineConfig>, String> {
        let mut engines: Vec<EngineConfig> = Vec::new();
        for engine in &self.engine {
            if engines.iter().any(|other| other.name == engine.name) {
                return Err(format!("two virus scanners are named {:?}", engine.name));
            }
            if engine.seconds == 0 || engine.at_a_time == 0 {
                return Err(format!(
                    "virus scanner {:?} needs at least a second, and one scan at a time",
                    engine.name
                ));
            }
            engines.push(EngineConfig {
                name: engine.name.clone(),
                socket: Socket::parse(&engine.socket)?,
                patience: Duration::from_secs(engine.seconds),
                at_a_time: engine.at_a_time,
                own_definitions: engine.own_definitions,
            });
        }
        Ok(engines)
    }
}

/// `[authentication]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthenticationFile {
    /// Name servers; none: those of `/etc/resolv.conf`.
    pub(crate) nameservers: Vec<SocketAddr>,
    /// What stands at the beginning of Authentication-Results; none: the shield's name.
    pub(super) id: Option<String>,
    /// The site's own domains, with all below them.
    pub(super) own_domains: Vec<String>,
    /// Names of the site's people, as they stand in From.
    pub(super) people: Vec<String>,
    /// Whose mail is not asked for its right to come: addresses of the site.
    trusted_networks: Vec<String>,
    /// Domains whose ARC seals are believed: forwarders, mailing lists.
    pub(super) arc_trusted: Vec<String>,
    /// What a sender's own `quarantine` means here.
    dmarc_quarantine: String,
    /// What a sender's own `reject` means here.
    dmarc_reject: String,
    /// What becomes of a message while no name server answers.
    when_dns_dead: String,
    /// Whether SPF is asked at the first recipient, before the content: `spf-fail` can then refuse without it.
    spf_before_data: bool,
    /// Rules that do something else than their default.
    actions: BTreeMap<String, String>,
    /// How long all questions about one message may take.
    seconds: u64,
}

impl Default for AuthenticationFile {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            id: None,
            own_domains: Vec::new(),
            people: Vec::new(),
            trusted_networks: Vec::new(),
            arc_trusted: Vec::new(),
            dmarc_quarantine: "accept".to_owned(),
            dmarc_reject: "refuse".to_owned(),
            when_dns_dead: "accept".to_owned(),
            spf_before_data: false,
            actions: BTreeMap::new(),
            seconds: 15,
        }
    }
}

/// What follows from `[authentication]`.
#[derive(Debug, Clone)]
pub(super) struct AuthenticationPolicy {
    pub(super) trusted: Vec<Network>,
    pub(super) patience: Duration,
    pub(super) spf_before_data: bool,
    /// By rule.
    pub(super) actions: BTreeMap<String, Verdict>,
}

impl AuthenticationFile {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(super) fn policy(&self) -> Result<AuthenticationPolicy, String> {
        let mut actions = BTreeMap::new();
        for (rule, action) in [
            ("dmarc-quarantine", &self.dmarc_quarantine),
            ("dmarc-reject", &self.dmarc_reject),
            ("dns-dead", &self.when_dns_dead),
        ]
        .into_iter()
        .chain(self.actions.iter().map(|(rule, action)| (&**rule, action)))
        {
            if !super::auth::RULES.iter().any(|(name, _, _)| *name == rule) {
                return Err(format!("there is no rule {rule:?} of [authentication]"));
            }
            actions.insert(rule.to_owned(), verdict(action)?);
        }
        let trusted = self.trusted_networks.iter().map(|text| {
            let network: Result<Network, _> = text.parse();
            network.map_err(|error| error.to_string())
        });
        Ok(AuthenticationPolicy {
            trusted: trusted.collect::<Result<_, _>>()?,
            patience: Duration::from_secs(self.seconds.max(1)),
            spf_before_data: self.spf_before_data,
            actions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(text: &str) -> Result<Profiles, String> {
        let file: ContentFile = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check(&Profile::default())
    }

    #[test]
    fn the_strictest_of_the_recipients_profiles_is_asked_and_the_last_policy_that_fits_holds() {
        let profiles = profiles(
            "level = \"default\"\nactions = { office-macro = \"refuse\" }\n\
             [[policy]]\nlistener = \"submission\"\nlevel = \"off\"\n\
             [[policy]]\ndomains = [\"Bank.example\"]\nlevel = \"paranoid\"\n",
        )
        .unwrap();
        let at = |listener: &str, recipients: &[&str]| -> Vec<Level> {
            let recipients: Vec<String> = recipients.iter().map(|one| (*one).to_owned()).collect();
            let found = profiles.of(listener, &recipients);
            found.iter().map(|profile| profile.level).collect()
        };
        assert_eq!(at("mx", &["a@site.example"]), [Level::Default]);
        assert_eq!(at("mx", &[]), [Level::Default]);
        assert_eq!(at("submission", &["a@site.example"]), []);
        assert_eq!(
            at("submission", &["a@site.example", "b@bank.example"]),
            [Level::Paranoid]
        );
        assert_eq!(
            at(
                "mx",
                &["a@site.example", "c@site.example", "b@BANK.example"]
            ),
            [Level::Default, Level::Paranoid]
        );
        let profile = &profiles.of("mx", &[])[0];
        assert_eq!(profile.actions["office-macro"], Verdict::Refuse);
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would() {
        assert!(
            profiles("level = \"lax\"")
                .unwrap_err()
                .contains("paranoid")
        );
        assert!(
            profiles("actions = { office-macro = \"drop\" }")
                .unwrap_err()
                .contains("tempfail")
        );
        let no_rule = profiles("actions = { no-such-rule = \"refuse\" }");
        assert!(no_rule.unwrap_err().contains("no-such-rule"));
        assert!(Socket::parse("unix:relative").is_err());
        assert!(Socket::parse("inet:localhost:3310").is_err());
        assert_eq!(
            Socket::parse("127.0.0.1:3310").unwrap().to_string(),
            "inet:127.0.0.1:3310"
        );
        let twice: AntivirusFile = toml::from_str(
            "[[engine]]\nname = \"a\"\nsocket = \"unix:/a\"\n[[engine]]\nname = \"a\"\nsocket = \"unix:/b\"\n",
        )
        .unwrap();
        assert!(twice.engines().unwrap_err().contains("two virus scanners"));
        let no_rule: AuthenticationFile =
            toml::from_str("actions = { no-such-rule = \"refuse\" }").unwrap();
        assert!(no_rule.policy().unwrap_err().contains("no-such-rule"));
    }
}
