//! The generic rules: names, defaults, what is answered, and exceptions.
//!
//! Entry: [`Rule`] and [`Policy`]. Each rule belongs to one of the families G1 to G16 (`docs/shield.md`).
//! Must not decide whether a rule applies: the parsers do, and ask [`Actions`] what follows.

use std::net::IpAddr;

use serde::Deserialize;
use thiserror::Error;

use crate::network::{Network, NetworkError};
use crate::reply::{EnhancedCode, Reply};

/// What follows when a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It is counted and logged; the session goes on as [`Rule::when_monitored`] says.
    Monitor,
    /// The command or message is refused.
    Refuse,
}

impl Action {
    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Refuse => "refuse",
        }
    }

    /// The action of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "monitor" => Some(Self::Monitor),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }
}

/// What a rule is, in one place.
struct Facts {
    name: &'static str,
    family: &'static str,
    default: Action,
    /// No exception may be made.
    fixed: bool,
    /// The connection ends after the refusal.
    closes: bool,
    code: u16,
    enhanced: EnhancedCode,
    /// What the client is told.
    text: &'static str,
    /// What happens instead where the rule is only monitored.
    when_monitored: &'static str,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $family:literal, $default:ident, $fixed:ident, $closes:ident,
       $code:literal $class:literal $subject:literal $detail:literal $text:literal, $monitored:literal;)*) => {
        /// A generic rule of the shield.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// Every rule, by family.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn facts(self) -> Facts {
                match self {
                    $(Self::$variant => Facts {
                        name: $name,
                        family: $family,
                        default: Action::$default,
                        fixed: rules!(@$fixed fixed free),
                        closes: rules!(@$closes closes stays),
                        code: $code,
                        enhanced: EnhancedCode::new($class, $subject, $detail),
                        text: $text,
                        when_monitored: $monitored,
                    },)*
                }
            }
        }
    };
    (@fixed fixed free) => { true };
    (@free fixed free) => { false };
    (@closes closes stays) => { true };
    (@stays closes stays) => { false };
}

rules! {
    /// A carriage return that no line feed follows, in a command line.
    BareCrInCommand = "bare-cr-in-command", "G1", Refuse, fixed, closes,
        521 5 5 2 "a command line holds a bare carriage return", "";
    /// A line feed that no carriage return precedes, in a command line.
    BareLfInCommand = "bare-lf-in-command", "G1", Refuse, free, closes,
        521 5 5 2 "a command line ends with a bare line feed", "the line feed ends the line";
    /// A carriage return that no line feed follows, in a message.
    BareCrInContent = "bare-cr-in-content", "G1", Refuse, free, closes,
        550 5 6 0 "the message holds a bare carriage return", "it becomes a line end, and cannot end the message";
    /// A line feed that no carriage return precedes, in a message.
    BareLfInContent = "bare-lf-in-content", "G1", Refuse, free, closes,
        550 5 6 0 "the message holds a bare line feed", "it becomes a line end, and cannot end the message";
    /// A command line beyond what RFC 5321 and the extensions on offer allow.
    CommandTooLong = "command-too-long", "G2", Refuse, fixed, stays,
        500 5 5 2 "the command line is too long", "";
    /// A path of more than 256 octets (RFC 5321 section 4.5.3.1.3).
    PathTooLong = "path-too-long", "G2", Refuse, fixed, stays,
        501 5 1 3 "the address is too long", "";
    /// A local part of more than 64 octets (RFC 5321 section 4.5.3.1.1). Rewritten senders often have one.
    LocalPartTooLong = "local-part-too-long", "G2", Monitor, free, stays,
        501 5 1 3 "the part before the @ is too long", "it goes on as it is";
    /// A domain of more than 255 octets, or a label of more than 63.
    DomainTooLong = "domain-too-long", "G2", Refuse, fixed, stays,
        501 5 1 3 "the domain is too long", "";
    /// A name in EHLO or HELO that is no domain and no address literal.
    GreetingSyntax = "greeting-syntax", "G3", Refuse, fixed, stays,
        501 5 5 4 "EHLO and HELO need a host name or an address in brackets", "";
    /// An address that RFC 5321 does not allow.
    AddressSyntax = "address-syntax", "G3", Refuse, fixed, stays,
        501 5 1 3 "this is no address that RFC 5321 allows", "";
    /// An address without a domain, but `<>` and `<postmaster>`.
    AddressWithoutDomain = "address-without-domain", "G3", Refuse, free, stays,
        501 5 1 3 "the address has no domain", "it goes on as it is, if its local part is an atom";
    /// An address without angle brackets.
    AddressWithoutBrackets = "address-without-brackets", "G3", Monitor, free, stays,
        501 5 1 3 "the address needs angle brackets", "they are added";
    /// Dots that follow each other, or a dot at the end of a local part. One telephone company gave these out.
    AddressDots = "address-dots", "G3", Monitor, free, stays,
        501 5 1 3 "the dots of this address stand where none may", "it goes on as it is";
    /// A source route (`<@a,@b:c@d>`).
    SourceRoute = "source-route", "G3", Refuse, free, stays,
        550 5 1 3 "source routes are not taken", "the route is taken off";
    /// Octets that follow STARTTLS in clear (CVE-2011-0411 and its kin).
    StarttlsInjection = "starttls-injection", "G4", Refuse, fixed, closes,
        554 5 5 0 "nothing may follow STARTTLS before TLS begins", "";
    /// Octets that arrive before the greeting.
    TalksBeforeBanner = "talks-before-banner", "G5", Refuse, free, closes,
        554 5 5 0 "the client spoke before it was greeted", "they are read after the greeting";
    /// Octets behind a command whose answer must be awaited (RFC 2920 section 3.1).
    TalksBeforeReply = "talks-before-reply", "G5", Refuse, free, closes,
        554 5 5 0 "the client did not wait for an answer it must wait for", "they are read after the answer";
    /// BDAT: CHUNKING is never offered, so that the server behind only ever sees DATA.
    Chunking = "chunking", "G6", Refuse, fixed, stays,
        502 5 5 1 "CHUNKING is not offered here", "";
    /// A verb outside the list.
    UnknownVerb = "unknown-verb", "G8", Refuse, fixed, stays,
        502 5 5 1 "this command is not offered here", "";
    /// A verb of another protocol, as in a request made by a web browser (CVE-2021-3618).
    ForeignProtocol = "foreign-protocol", "G8", Refuse, fixed, closes,
        521 5 5 1 "this is SMTP, and that is not", "";
    /// A command with an argument where none belongs, or without one that it needs.
    CommandSyntax = "command-syntax", "G8", Refuse, fixed, stays,
        501 5 5 4 "the command is not as RFC 5321 has it", "";
    /// A command at a time it must not come.
    CommandOrder = "command-order", "G8", Refuse, fixed, stays,
        503 5 5 1 "this command does not belong here", "";
    /// AUTH where it is not offered: in clear, or where the server behind does not offer it.
    AuthNotOffered = "auth-not-offered", "G9", Refuse, fixed, stays,
        502 5 5 1 "AUTH is not offered here", "";
    /// A mechanism that is not on offer.
    AuthMechanism = "auth-mechanism", "G9", Refuse, fixed, stays,
        504 5 5 4 "this mechanism is not offered here", "";
    /// Credentials that are not base64 as RFC 4648 has it, padded (CVE-2018-6789, CVE-2026-33603).
    AuthBase64 = "auth-base64", "G9", Refuse, fixed, stays,
        501 5 5 2 "the credentials are not base64", "";
    /// PLAIN without exactly two NULs, or a NUL where another mechanism is spoken.
    AuthNul = "auth-nul", "G9", Refuse, fixed, stays,
        501 5 5 2 "the credentials are not as their mechanism has them", "";
    /// Mail without AUTH where it must come first.
    AuthRequired = "auth-required", "G9", Refuse, fixed, stays,
        530 5 7 0 "authentication is required first, over TLS", "";
    /// More failed AUTH than a session may have.
    TooManyAuthFailures = "too-many-auth-failures", "G9", Refuse, fixed, closes,
        421 4 7 0 "too many failed attempts to authenticate", "";
    /// More recipients than one message may have.
    TooManyRecipients = "too-many-recipients", "G10", Refuse, fixed, stays,
        452 4 5 3 "too many recipients; send the others another copy", "";
    /// More octets than the SIZE on offer.
    MessageTooLarge = "message-too-large", "G10", Refuse, fixed, stays,
        552 5 3 4 "the message is too large", "";
    /// A header block beyond its limit.
    HeadersTooLarge = "headers-too-large", "G10", Refuse, free, stays,
        552 5 3 4 "the headers of the message are too large", "they go on as they are";
    /// One header field beyond its limit.
    HeaderTooLong = "header-too-long", "G10", Refuse, free, stays,
        552 5 3 4 "a header of the message is too long", "it goes on as it is";
    /// More header fields than their limit.
    TooManyHeaders = "too-many-headers", "G10", Refuse, free, stays,
        552 5 3 4 "the message has too many headers", "they go on as they are";
    /// One header field with more addresses than its limit (commas outside of quotes are counted, CVE-2024-23184).
    TooManyAddresses = "too-many-addresses", "G10", Refuse, free, stays,
        552 5 3 4 "a header of the message names too many addresses", "it goes on as it is";
    /// More than one hundred Received headers: it goes in circles (RFC 5321 section 6.3).
    MailLoop = "mail-loop", "G10", Refuse, fixed, stays,
        554 5 4 6 "the message goes in circles", "";
    /// More refused commands than a session may have.
    TooManyErrors = "too-many-errors", "G10", Refuse, fixed, closes,
        421 4 7 0 "too many errors", "";
    /// More commands than a session may have.
    TooManyCommands = "too-many-commands", "G10", Refuse, fixed, closes,
        421 4 7 0 "too many commands; connect anew", "";
    /// More empty lines than may stand between commands (CVE-2020-10958).
    TooManyEmptyLines = "too-many-empty-lines", "G10", Refuse, fixed, closes,
        521 5 5 2 "too many empty lines", "";
    /// More sessions than one address, or all together, may have.
    TooManySessions = "too-many-sessions", "G10", Refuse, fixed, closes,
        421 4 7 0 "too many connections; try again later", "";
    /// NUL or another control octet in a command line.
    ControlInCommand = "control-in-command", "G11", Refuse, fixed, closes,
        521 5 5 2 "a command line holds a control character", "";
    /// Octets above 127 in an envelope without SMTPUTF8, or that are not UTF-8 with it.
    NotAsciiEnvelope = "not-ascii-envelope", "G11", Refuse, fixed, stays,
        553 5 6 7 "the address is not ASCII, and SMTPUTF8 was not asked for or it is not UTF-8", "";
    /// NUL in a message.
    NulInContent = "nul-in-content", "G11", Refuse, free, stays,
        550 5 6 0 "the message holds a NUL", "it goes on as it is";
    /// A control octet in a header, but a tab, or ESC as raw ISO-2022-JP has it. Honest mail has them: one of 4,150.
    ControlInHeader = "control-in-header", "G11", Monitor, free, stays,
        550 5 6 0 "a header of the message holds a control character", "it goes on as it is";
    /// Octets above 127 in a header that are not UTF-8.
    HeaderNotUtf8 = "header-not-utf8", "G11", Monitor, free, stays,
        550 5 6 0 "a header of the message is not UTF-8", "it goes on as it is";
    /// A parameter of MAIL or RCPT that was not offered.
    ParameterNotOffered = "parameter-not-offered", "G2", Refuse, fixed, stays,
        555 5 5 4 "this parameter is not offered here", "";
    /// A parameter that its own standard does not allow, or that comes twice.
    ParameterSyntax = "parameter-syntax", "G2", Refuse, fixed, stays,
        501 5 5 4 "a parameter is not as its standard has it", "";
    /// A parameter in xtext that decodes to a control character (CVE-2020-28021, CVE-2020-28026).
    ParameterControl = "parameter-control", "G3", Refuse, fixed, stays,
        501 5 5 4 "a parameter holds an encoded control character", "";
    /// XCLIENT, XFORWARD or PROXY from a client: only the shield may send these.
    ProxyCommand = "proxy-command", "G14", Refuse, fixed, closes,
        521 5 7 0 "this command is not taken from you", "";
}

impl Rule {
    /// Its stable name, the same in log, metric, configuration and test.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// The family, `G1` to `G16`.
    pub const fn family(self) -> &'static str {
        self.facts().family
    }

    /// What follows where no exception says otherwise.
    pub const fn default_action(self) -> Action {
        self.facts().default
    }

    /// Whether no exception may be made.
    pub const fn is_fixed(self) -> bool {
        self.facts().fixed
    }

    /// Whether the connection ends after the refusal.
    pub const fn closes(self) -> bool {
        self.facts().closes
    }

    /// What happens where the rule is only monitored; empty for a fixed rule.
    pub const fn when_monitored(self) -> &'static str {
        self.facts().when_monitored
    }

    /// What the client is told.
    pub fn reply(self) -> Reply {
        let facts = self.facts();
        Reply::new(facts.code, facts.enhanced, facts.text)
    }

    /// The metric that counts it; the rule's name is its label.
    pub const COUNTER: &'static str = "mailkeep_shield_rule_total";

    const fn index(self) -> usize {
        self as usize
    }
}

/// What follows for one session, rule by rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(Vec<Action>);

impl Default for Actions {
    fn default() -> Self {
        Self(Rule::ALL.iter().map(|rule| rule.default_action()).collect())
    }
}

impl Actions {
    /// What follows when this rule applies.
    pub fn of(&self, rule: Rule) -> Action {
        let chosen = self.0.get(rule.index()).copied();
        chosen.unwrap_or_else(|| rule.default_action())
    }

    /// The same with another action for one rule; a fixed rule keeps its own.
    #[must_use]
    pub fn with(mut self, rule: Rule, action: Action) -> Self {
        if !rule.is_fixed()
            && let Some(slot) = self.0.get_mut(rule.index())
        {
            *slot = action;
        }
        self
    }
}

/// Another action for one rule, at a listener or for a network or both, as written under `[[exception]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Words")]
pub struct Exception {
    /// The rule.
    pub rule: Rule,
    /// What follows instead.
    pub action: Action,
    /// Only at the listener of this name.
    pub listener: Option<String>,
    /// Only for clients of these networks; empty is every client.
    pub networks: Vec<Network>,
}

/// An exception in the words of a configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    rule: String,
    action: String,
    #[serde(default)]
    listener: Option<String>,
    #[serde(default)]
    networks: Vec<String>,
}

/// Why words are no exception.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExceptionError {
    /// Of the action.
    #[error("there is no action {0:?}")]
    Action(String),
    /// The rule has none.
    #[error("rule {0:?} takes no exception")]
    Fixed(&'static str),
    /// Of a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Of the rule.
    #[error("there is no rule {0:?}")]
    Rule(String),
}

impl TryFrom<Words> for Exception {
    type Error = ExceptionError;

    fn try_from(words: Words) -> Result<Self, ExceptionError> {
        let rule = Rule::named(&words.rule).ok_or(ExceptionError::Rule(words.rule))?;
        let action = Action::named(&words.action).ok_or(ExceptionError::Action(words.action))?;
        if rule.is_fixed() {
            return Err(ExceptionError::Fixed(rule.name()));
        }
        let networks = words.networks.iter().map(|text| text.parse());
        Ok(Self {
            rule,
            action,
            listener: words.listener,
            networks: networks.collect::<Result<_, _>>()?,
        })
    }
}

impl Exception {
    /// Whether it holds for a client at a listener; none where that hangs on what is not known.
    fn holds(&self, listener: Option<&str>, client: Option<IpAddr>) -> Option<bool> {
        let here = match (self.listener.as_deref(), listener) {
            (None, _) => Some(true),
            (Some(own), listener) => listener.map(|name| name == own),
        };
        let theirs = if self.networks.is_empty() {
            Some(true)
        } else {
            client.map(|client| self.networks.iter().any(|net| net.contains(client)))
        };
        match (here, theirs) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

/// The exceptions of one shield. A later one wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// In the order of the configuration.
    pub exceptions: Vec<Exception>,
}

impl Policy {
    /// What follows for a client of this address at this listener.
    pub fn actions(&self, listener: &str, client: IpAddr) -> Actions {
        self.strictest(Some(listener), Some(client))
    }

    /// What follows at worst, where the client or the listener may not be known: an exception that hangs on it counts
    /// only if it refuses.
    pub fn strictest(&self, listener: Option<&str>, client: Option<IpAddr>) -> Actions {
        let mut actions = Actions::default();
        for exception in &self.exceptions {
            let holds = exception.holds(listener, client);
            if holds.unwrap_or(exception.action == Action::Refuse) {
                actions = actions.with(exception.rule, exception.action);
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_its_name_and_no_name_is_given_twice() {
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(*rule));
            assert_eq!(
                rule.is_fixed(),
                rule.when_monitored().is_empty(),
                "{rule:?}"
            );
        }
    }

    #[test]
    fn an_exception_holds_for_its_listener_and_network_only() {
        let policy = Policy {
            exceptions: vec![Exception {
                rule: Rule::BareLfInContent,
                action: Action::Monitor,
                listener: Some("inside".to_owned()),
                networks: vec!["10.0.0.0/8".parse().unwrap()],
            }],
        };
        let of = |listener, client: &str| {
            policy
                .actions(listener, client.parse().unwrap())
                .of(Rule::BareLfInContent)
        };
        assert_eq!(of("inside", "10.1.2.3"), Action::Monitor);
        assert_eq!(of("inside", "::ffff:10.1.2.3"), Action::Monitor);
        assert_eq!(of("inside", "192.0.2.1"), Action::Refuse);
        assert_eq!(of("mx", "10.1.2.3"), Action::Refuse);
    }

    #[test]
    fn where_it_is_not_known_who_comes_the_strictest_holds() {
        let exception = |action, listener: Option<&str>, network: Option<&str>| Exception {
            rule: Rule::BareLfInContent,
            action,
            listener: listener.map(str::to_owned),
            networks: network.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let of = |exceptions: &[Exception], listener, client: Option<&str>| {
            let policy = Policy {
                exceptions: exceptions.to_vec(),
            };
            let client = client.map(|text| text.parse().unwrap());
            policy.strictest(listener, client).of(Rule::BareLfInContent)
        };
        let (inside, ten) = (Some("inside"), Some("10.0.0.0/8"));
        let lax = exception(Action::Monitor, inside, ten);
        assert_eq!(
            of(std::slice::from_ref(&lax), inside, Some("10.1.2.3")),
            Action::Monitor
        );
        assert_eq!(
            of(std::slice::from_ref(&lax), None, Some("10.1.2.3")),
            Action::Refuse
        );
        assert_eq!(of(std::slice::from_ref(&lax), inside, None), Action::Refuse);
        let all = exception(Action::Monitor, None, None);
        let strict = exception(Action::Refuse, None, ten);
        assert_eq!(of(std::slice::from_ref(&all), None, None), Action::Monitor);
        let both = [all, strict];
        assert_eq!(of(&both, None, None), Action::Refuse);
        assert_eq!(of(&both, None, Some("192.0.2.1")), Action::Monitor);
    }

    #[test]
    fn a_fixed_rule_takes_no_exception() {
        let actions = Actions::default().with(Rule::StarttlsInjection, Action::Monitor);
        assert_eq!(actions.of(Rule::StarttlsInjection), Action::Refuse);
    }
}
