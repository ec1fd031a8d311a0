//! The configuration: a file, or a few words on the command line. Entry: [`Config::of`].

use std::fmt::{Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mailkeep_wire::{
    ContentLimits, Domain, Exception, Limits, Mechanism, Mechanisms, Network, Policy,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::content::{
    AntivirusFile, AuthenticationFile, ContentFile, ContentFiles, MilterFile, MilterSocket,
    OutbreakFile, Socket, YaraFile,
};
use crate::patches::Source;
use crate::quarantine::QuarantineFile;
use crate::resolver::{ClientNamesFile, Reverse};
use crate::systemd;
use crate::tls::{self, TlsError};

/// What the file says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the shield calls itself.
    pub(crate) name: String,
    /// Where large messages lie while they are under way.
    pub(crate) spool: PathBuf,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) limits: LimitsFile,
    pub(crate) listeners: Vec<ListenerFile>,
    pub(crate) backends: Vec<BackendFile>,
    /// Sockets for mail servers that stay in front themselves.
    pub(crate) milters: Vec<MilterSocket>,
    pub(crate) content: ContentFiles,
    pub(crate) client_names: Option<ClientNamesFile>,
    pub(crate) policy: Policy,
    /// Where the site's own bundle of rules lies.
    pub(crate) patches: Option<Source>,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not TOML, or has a key that means nothing.
    #[error("{} is no configuration of the shield", .0.display())]
    Syntax(PathBuf, #[source] toml::de::Error),
    /// A value cannot be.
    #[error("{0}")]
    Value(String),
    /// A certificate or its key.
    #[error("the certificate of listener {0:?} cannot be used")]
    Tls(String, #[source] TlsError),
    /// The roots by which a backend's certificate is judged.
    #[error("the roots for backend {0} cannot be used")]
    Roots(String, #[source] TlsError),
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The command line.
    Line(Line),
}

/// A shield without a file: one server behind, everything else as usual.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The server behind.
    pub guard: SocketAddr,
    /// How that learns who the client is: `xclient`, `proxy` or `header`.
    pub client_by: String,
}

impl Line {
    /// As a file would say it.
    fn to_text(&self) -> Result<String, ConfigError> {
        let host = PathBuf::from("/proc/sys/kernel/hostname");
        let name =
            std::fs::read_to_string(&host).map_err(|error| ConfigError::Read(host, error))?;
        let told = match self.client_by.as_str() {
            "xclient" => "xclient = true",
            "proxy" => "proxy = \"v2\"",
            "header" => "xclient = false",
            other => {
                return Err(ConfigError::Value(format!(
                    "--client-by {other:?}: it is xclient, proxy or header"
                )));
            }
        };
        let listen: Vec<String> = self.listen.iter().map(|at| format!("\"{at}\"")).collect();
        Ok(format!(
            "name = {:?}\n[[listener]]\nname = \"mx\"\naddress = [{}]\n[[backend]]\naddress = \"{}\"\n{told}\n",
            name.trim(),
            listen.join(", "),
            self.guard,
        ))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    spool: Option<PathBuf>,
    #[serde(default)]
    metrics: Option<SocketAddr>,
    #[serde(default)]
    bundle: Option<PathBuf>,
    #[serde(default)]
    bundle_signers: Option<PathBuf>,
    #[serde(default)]
    bundle_state: Option<PathBuf>,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    listener: Vec<ListenerFile>,
    #[serde(default)]
    backend: Vec<BackendFile>,
    #[serde(default)]
    milter: Vec<MilterFile>,
    #[serde(default)]
    content: ContentFile,
    #[serde(default)]
    antivirus: AntivirusFile,
    #[serde(default)]
    authentication: Option<AuthenticationFile>,
    #[serde(default)]
    client_names: Option<ClientNamesFile>,
    #[serde(default)]
    quarantine: Option<QuarantineFile>,
    #[serde(default)]
    outbreak: Option<OutbreakFile>,
    #[serde(default)]
    yara: Vec<YaraFile>,
    #[serde(default)]
    exception: Vec<Exception>,
}

/// Threads that may carry conversations: as many as the largest machines have processors.
const MOST_THREADS: usize = 1024;

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsFile {
    /// Sessions at a time.
    pub(crate) sessions: usize,
    /// Sessions at a time of one IPv4 address or one IPv6 network of 64 bits.
    pub(crate) sessions_per_client: u32,
    /// Octets of a message.
    pub(crate) message_size: u64,
    /// Recipients of a message.
    pub(crate) recipients: u32,
    /// Octets of a message that are held in memory before it goes to the spool.
    pub(crate) memory_per_message: usize,
    /// How long the banner is held back, to see who speaks first.
    pub(crate) greet_delay_ms: u64,
    /// How long a client may be silent between commands.
    pub(crate) idle_seconds: u64,
    /// How long a message may take from the answer to DATA to its end.
    pub(crate) message_seconds: u64,
    /// How long sessions are waited for at the end.
    pub(crate) drain_seconds: u64,
    /// Threads that carry conversations; 0: half as many as there are processors. What takes long is done by others.
    /// Waking a second one for a message costs about as much as looking at its envelope.
    pub(crate) threads: usize,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            sessions: 1000,
            sessions_per_client: 50,
            message_size: 50 << 20,
            recipients: 1000,
            memory_per_message: 256 << 10,
            greet_delay_ms: 0,
            // RFC 5321 section 4.5.3.2.7.
            idle_seconds: 300,
            message_seconds: 1800,
            drain_seconds: 30,
            threads: 0,
        }
    }
}

impl LimitsFile {
    /// That nothing is forbidden by a limit of nothing.
    fn check(&self) -> Result<(), ConfigError> {
        let zero = [
            ("sessions", self.sessions == 0),
            ("sessions_per_client", self.sessions_per_client == 0),
            ("message_size", self.message_size == 0),
            ("recipients", self.recipients == 0),
            ("idle_seconds", self.idle_seconds == 0),
            ("message_seconds", self.message_seconds == 0),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Value(format!(
                "limits: {name} = 0 would refuse everything"
            )));
        }
        if self.threads > MOST_THREADS {
            return Err(ConfigError::Value(format!(
                "limits: threads = {} is more than {MOST_THREADS}; 0 stands for half as many as processors",
                self.threads
            )));
        }
        Ok(())
    }

    /// How many threads carry conversations.
    pub(crate) fn threads(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
    }

    /// What a session may do.
    pub(crate) fn of_session(&self) -> Limits {
        Limits {
            recipients: self.recipients,
            content: ContentLimits {
                size: self.message_size,
                ..ContentLimits::default()
            },
            ..Limits::default()
        }
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    pub(crate) fn message(&self) -> Duration {
        Duration::from_secs(self.message_seconds)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Mail from strangers; no AUTH.
    #[default]
    Mx,
    /// Mail of one's own people (RFC 6409): STARTTLS, then AUTH, then mail.
    Submission,
    /// The same, over TLS from the first octet (RFC 8314).
    Submissions,
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerFile {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    pub(crate) address: Vec<SocketAddr>,
    /// PEM, the server's own first. Without it STARTTLS is not offered.
    #[serde(default)]
    pub(crate) certificate: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    /// Who begins its connections with a PROXY header, and must.
    #[serde(default, deserialize_with = "networks")]
    pub(crate) proxy_from: Vec<Network>,
    /// What of AUTH is passed on.
    #[serde(default, deserialize_with = "mechanisms")]
    pub(crate) mechanisms: Option<Mechanisms>,
}

impl ListenerFile {
    /// The mechanisms that are offered over TLS where the backend offers them.
    pub(crate) fn mechanisms(&self) -> Mechanisms {
        if self.kind == Kind::Mx {
            return Mechanisms::default();
        }
        let usual = [
            Mechanism::Login,
            Mechanism::OauthBearer,
            Mechanism::Plain,
            Mechanism::ScramSha1,
            Mechanism::ScramSha256,
            Mechanism::Xoauth2,
        ];
        self.mechanisms
            .unwrap_or_else(|| usual.into_iter().collect())
    }
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyVersion {
    V2,
}

/// What is spoken with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    #[default]
    Smtp,
    /// RFC 2033: the server has no queue, and answers a message once for each recipient.
    Lmtp,
}

/// How a backend learns who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// By a PROXY header before its banner.
    Proxy,
    /// By XCLIENT, without which it is not used.
    Xclient,
    /// Not at all: it takes the shield for the client.
    Nothing,
}

/// Where a backend listens: `ADDRESS:PORT`, or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendAddress(pub(crate) Socket);

impl Display for BackendAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Socket::Inet(address) => address.fmt(f),
            path @ Socket::Unix(_) => path.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for BackendAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match Socket::parse(&text) {
            Ok(socket) if !text.starts_with("inet:") => Ok(Self(socket)),
            _ => Err(D::Error::custom(format!(
                "{text:?} is no address of a server: ADDRESS:PORT with a numeric address, or unix:/PATH of at \
                 most 107 octets"
            ))),
        }
    }
}

/// `[[backend]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendFile {
    pub(crate) address: BackendAddress,
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// The name its certificate must show; without it the shield speaks to it in clear.
    #[serde(default)]
    pub(crate) starttls: Option<String>,
    /// PEM of the authorities, or of its very certificate.
    #[serde(default)]
    pub(crate) roots: Option<PathBuf>,
    /// Whether it is told of the client by XCLIENT, and must offer that.
    #[serde(default)]
    pub(crate) xclient: Option<bool>,
    /// Whether it is told of the client by a PROXY header.
    #[serde(default)]
    pub(crate) proxy: Option<ProxyVersion>,
    /// The listeners it serves; empty is all.
    #[serde(default)]
    pub(crate) listeners: Vec<String>,
    /// Whether it gets no new mail: it is about to go out of service.
    #[serde(default)]
    pub(crate) drain: bool,
}

impl BackendFile {
    pub(crate) fn tells(&self) -> Tells {
        match (self.proxy, self.xclient) {
            (Some(ProxyVersion::V2), _) => Tells::Proxy,
            (None, Some(false)) => Tells::Nothing,
            (None, None | Some(true)) => Tells::Xclient,
        }
    }

    /// Whether it takes mail of this listener.
    pub(crate) fn serves(&self, listener: &str) -> bool {
        self.listeners.is_empty() || self.listeners.iter().any(|name| name == listener)
    }
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let networks = texts.iter().map(|text| text.parse::<Network>());
    networks.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn mechanisms<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Mechanisms>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let known = |name: &String| {
        let wrong = || D::Error::custom(format!("{name:?} is no mechanism that is passed on"));
        Mechanism::named(name).ok_or_else(wrong)
    };
    names.iter().map(known).collect::<Result<_, _>>().map(Some)
}

impl Config {
    /// Reads what its origin says and checks it, its certificates included.
    ///
    /// # Errors
    ///
    /// As [`ConfigError`] lists them.
    pub fn of(origin: &Origin) -> Result<Self, ConfigError> {
        let (path, text) = match origin {
            Origin::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::Read(path.clone(), error))?;
                (path.clone(), text)
            }
            Origin::Line(line) => ("the command line".into(), line.to_text()?),
        };
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::Syntax(path, error))?;
        let config = Self::check(file)?;
        for listener in &config.listeners {
            tls::of_listener(listener)
                .map_err(|error| ConfigError::Tls(listener.name.clone(), error))?;
        }
        for backend in &config.backends {
            let address = || backend.address.to_string();
            tls::of_backend(backend).map_err(|error| ConfigError::Roots(address(), error))?;
        }
        Ok(config)
    }

    /// Compiles the rules that the file names, as a start would.
    ///
    /// # Errors
    ///
    /// They cannot be read or do not compile.
    pub fn check_rules(&self) -> Result<(), ConfigError> {
        self.content.check_rules().map_err(ConfigError::Value)
    }

    /// Who asks for the names of clients, by the name servers that are asked about senders.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn reverse(&self) -> Result<Option<Arc<Reverse>>, String> {
        let authentication = self.content.authentication.as_ref();
        let nameservers = authentication.map_or(&[][..], |file| &file.nameservers);
        let names = self.client_names.as_ref();
        names
            .map(|file| Reverse::new(file, nameservers))
            .transpose()
    }

    /// What another file says otherwise that only a restart takes over.
    pub(crate) fn differs(&self, other: &Self) -> Vec<&'static str> {
        // Certificates and roots are read anew from wherever they lie now.
        let backends = |config: &Self| {
            let mut backends = config.backends.clone();
            for backend in &mut backends {
                backend.drain = false;
                (backend.starttls, backend.roots) = (None, None);
            }
            backends
        };
        let listeners = |config: &Self| {
            let mut listeners = config.listeners.clone();
            for listener in &mut listeners {
                (listener.certificate, listener.key) = (None, None);
            }
            listeners
        };
        [
            ("name", self.name != other.name),
            ("spool", self.spool != other.spool),
            ("metrics", self.metrics != other.metrics),
            ("limits", self.limits != other.limits),
            ("listener", listeners(self) != listeners(other)),
            ("backend", backends(self) != backends(other)),
            ("milter", self.milters != other.milters),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    fn check(file: File) -> Result<Self, ConfigError> {
        let wrong = |what: String| Err(ConfigError::Value(what));
        if !file.name.is_ascii() || Domain::parse(file.name.as_bytes()).is_err() {
            return wrong(format!("name = {:?} is no host name", file.name));
        }
        if file.listener.is_empty() != file.backend.is_empty()
            || (file.listener.is_empty() && file.milter.is_empty())
        {
            let text = "at least one [[listener]] and one [[backend]] are needed, or a [[milter]]";
            return wrong(text.to_owned());
        }
        let milters = file.milter.iter().map(MilterFile::check);
        let milters: Vec<MilterSocket> = milters
            .collect::<Result<_, _>>()
            .map_err(ConfigError::Value)?;
        let content = ContentFiles {
            content: file.content,
            antivirus: file.antivirus,
            authentication: file.authentication,
            quarantine: file.quarantine,
            outbreak: file.outbreak,
            yara: file.yara,
        };
        let names = file.listener.iter().map(|one| one.name.as_str());
        let names: Vec<&str> = names
            .chain(milters.iter().map(|one| one.name.as_str()))
            .collect();
        content.check(&names).map_err(ConfigError::Value)?;
        for listener in &file.listener {
            let name = &listener.name;
            if file
                .listener
                .iter()
                .filter(|other| other.name == *name)
                .count()
                > 1
            {
                return wrong(format!("two listeners are named {name:?}"));
            }
            if listener.address.is_empty() {
                return wrong(format!("listener {name:?} has no address"));
            }
            if listener.kind != Kind::Mx && listener.certificate.is_none() {
                return wrong(format!(
                    "listener {name:?} takes passwords, and needs certificate and key"
                ));
            }
            if listener.kind == Kind::Mx && listener.mechanisms.is_some() {
                return wrong(format!(
                    "listener {name:?} is for mail from strangers (kind = \"mx\"), who do not authenticate: \
                     mechanisms has no meaning there"
                ));
            }
            if !file.backend.iter().any(|backend| backend.serves(name)) {
                return wrong(format!("listener {name:?} has no backend"));
            }
            if listener.certificate.is_some() != listener.key.is_some() {
                return wrong(format!(
                    "listener {name:?} needs certificate and key, or neither"
                ));
            }
        }
        for backend in &file.backend {
            if backend.starttls.is_some() != backend.roots.is_some() {
                let address = &backend.address;
                return wrong(format!(
                    "backend {address} needs starttls and roots, or neither"
                ));
            }
        }
        for backend in &file.backend {
            let address = &backend.address;
            let is_here = matches!(address.0, Socket::Unix(_));
            if is_here && backend.starttls.is_some() {
                return wrong(format!(
                    "backend {address} is a socket of this machine, and is spoken to in clear: leave out starttls and roots"
                ));
            }
            if backend.protocol == Protocol::Lmtp {
                if matches!(&address.0, Socket::Inet(address) if address.port() == 25) {
                    return wrong(format!(
                        "backend {address}: LMTP is not spoken at port 25 (RFC 2033 section 5)"
                    ));
                }
                let mut served = file.listener.iter();
                let own = served.find(|one| one.kind != Kind::Mx && backend.serves(&one.name));
                if let Some(own) = own {
                    return wrong(format!(
                        "backend {address} speaks LMTP, by which nobody authenticates: it cannot serve \
                         listener {:?}",
                        own.name
                    ));
                }
            }
            if backend.proxy.is_some() && backend.xclient == Some(true) {
                return wrong(format!(
                    "backend {address} is told of clients by xclient or by proxy, not by both"
                ));
            }
            if file
                .backend
                .iter()
                .filter(|other| other.address == *address && other.listeners == backend.listeners)
                .count()
                > 1
            {
                return wrong(format!("backend {address} stands there twice"));
            }
            let mut names = backend.listeners.iter();
            if let Some(name) =
                names.find(|name| !file.listener.iter().any(|listener| listener.name == **name))
            {
                return wrong(format!("backend {address} names no listener: {name:?}"));
            }
        }
        file.limits.check()?;
        if let Some(names) = &file.client_names {
            names.check().map_err(ConfigError::Value)?;
        }
        let is_listener = |name: &str| file.listener.iter().any(|own| own.name == name);
        let mut meant = file.exception.iter().flat_map(|own| &own.listener);
        if let Some(name) = meant.find(|name| !is_listener(name)) {
            return Err(ConfigError::Value(format!(
                "an exception names no listener: {name:?}"
            )));
        }
        let patches = match (file.bundle, file.bundle_signers) {
            (Some(bundle), Some(signers)) => {
                let usual = || Some(systemd::state_directory()?.join("bundle.json"));
                Some(Source {
                    bundle,
                    signers,
                    state: file.bundle_state.or_else(usual),
                })
            }
            (None, None) => None,
            _ => return wrong("bundle and bundle_signers belong together".to_owned()),
        };
        Ok(Self {
            name: file.name,
            spool: file.spool.unwrap_or_else(std::env::temp_dir),
            metrics: file.metrics,
            limits: file.limits,
            listeners: file.listener,
            backends: file.backend,
            milters,
            content,
            client_names: file.client_names,
            policy: Policy {
                exceptions: file.exception,
            },
            patches,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"mx.example.org\"\n\
        [[listener]]\nname = \"mx\"\naddress = [\"0.0.0.0:25\"]\n\
        [[backend]]\naddress = \"127.0.0.1:10025\"\n";

    fn check(more: &str) -> Result<Config, String> {
        let file = toml::from_str(&format!("{LEAST}{more}")).map_err(|error| error.to_string())?;
        Config::check(file).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_configuration_is_enough() {
        assert!(check("").is_ok());
    }

    #[test]
    fn an_exception_that_cannot_be_is_refused() {
        let exception = |rule: &str, more: &str| {
            check(&format!(
                "[[exception]]\nrule = \"{rule}\"\naction = \"monitor\"\n{more}"
            ))
        };
        assert!(exception("bare-lf-in-content", "networks = [\"10.0.0.0/8\"]").is_ok());
        assert!(exception("bare-lf-in-content", "networks = [\"10.0.0.0/80\"]").is_err());
        assert!(exception("bare-lf-in-content", "listener = \"no\"").is_err());
        assert!(exception("starttls-injection", "").is_err());
        assert!(exception("no-such-rule", "").is_err());
        assert!(
            exception(
                "bare-lf-in-content",
                "network = \"a key that means nothing\""
            )
            .is_err()
        );
    }

    #[test]
    fn what_would_refuse_everything_or_mean_nothing_is_refused() {
        assert!(check("[limits]\nmessage_size = 0\n").is_err());
        assert!(check("proxy = \"v2\"\nxclient = true\n").is_err());
        assert!(check("proxy = \"v2\"\n").is_ok());
        assert!(check("listeners = [\"no\"]\n").is_err());
        assert!(check("listeners = [\"mx\"]\n").is_ok());
        assert!(check("[client_names]\n").is_ok());
        assert!(check("[client_names]\nseconds = 0\n").is_err());
        assert!(check("[client_names]\nseconds = 31\n").is_err());
        assert!(check("protocol = \"lmtp\"\n").is_ok());
        assert!(check("protocol = \"uucp\"\n").is_err());
        let here = |path: &str, more: &str| {
            check(&format!(
                "[[backend]]\naddress = \"{path}\"\nprotocol = \"lmtp\"\n{more}"
            ))
        };
        assert!(here("unix:/run/dovecot/lmtp", "").is_ok());
        assert!(here("unix:dovecot/lmtp", "").is_err());
        assert!(here(&format!("unix:/{}", "a".repeat(108)), "").is_err());
        assert!(here("inet:127.0.0.1:24", "").is_err());
        assert!(here("localhost:24", "").is_err());
        let secure = "starttls = \"mx\"\nroots = \"/etc/ssl/roots.pem\"\n";
        assert!(here("unix:/run/dovecot/lmtp", secure).is_err());
        let own = "[[listener]]\nname = \"own\"\nkind = \"submission\"\naddress = [\"127.0.0.1:587\"]\n\
            certificate = \"a\"\nkey = \"b\"\n";
        assert!(check(&format!("protocol = \"lmtp\"\n{own}")).is_err());
        let at_25 = "[[backend]]\naddress = \"127.0.0.1:25\"\nprotocol = \"lmtp\"\n";
        assert!(check(at_25).is_err());
        let listener = |more: &str| {
            check(&format!(
                "[[listener]]\nname = \"own\"\naddress = [\"127.0.0.1:587\"]\n{more}"
            ))
        };
        assert!(listener("").is_ok());
        assert!(listener("kind = \"submission\"").is_err(), "no certificate");
        assert!(listener("mechanisms = [\"PLAIN\"]").is_err());
        assert!(listener("proxy_from = [\"10.0.0.0/99\"]").is_err());
        let sure = "kind = \"submission\"\ncertificate = \"a\"\nkey = \"b\"\n";
        assert!(listener(sure).is_ok());
        assert!(listener(&format!("{sure}mechanisms = [\"NTLM\"]")).is_err());
        let other = "[[backend]]\naddress = \"127.0.0.1:10025\"\n";
        assert!(check(other).is_err(), "twice the same");
        assert!(
            check(&format!(
                "listeners = [\"mx\"]\n{}",
                "[[listener]]\nname = \"own\"\naddress = [\"127.0.0.1:587\"]\n"
            ))
            .is_err(),
            "a listener without a backend"
        );
    }

    #[test]
    fn a_few_words_on_the_command_line_are_a_configuration() {
        let of = |listen: &[&str], client_by: &str| {
            let line = Line {
                listen: listen.iter().map(|at| at.parse().unwrap()).collect(),
                guard: "127.0.0.1:10025".parse().unwrap(),
                client_by: client_by.to_owned(),
            };
            Config::of(&Origin::Line(line))
        };
        for (client_by, tells) in [
            ("xclient", Tells::Xclient),
            ("proxy", Tells::Proxy),
            ("header", Tells::Nothing),
        ] {
            let config = of(&["0.0.0.0:25", "[::]:25"], client_by).unwrap();
            assert_eq!(config.backends[0].tells(), tells);
            assert_eq!(config.listeners[0].address.len(), 2);
        }
        assert!(of(&["0.0.0.0:25"], "trust").is_err());
        assert!(of(&[], "proxy").is_err());
    }

    #[test]
    fn half_a_certificate_is_refused() {
        assert!(check("starttls = \"mx\"\n").is_err());
    }
}
