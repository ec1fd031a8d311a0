//! Questions to name servers. Entry: [`asker`] for what is asked about senders, [`Reverse`] for the names of clients.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::net::{DnsError, NetError};
use mail_auth::hickory_resolver::proto::rr::{Name, RData};
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::{MessageAuthenticator, ResolverCache};
use mailkeep_wire::Domain;
use serde::Deserialize;
use tokio::time::timeout;

/// Answers of name servers that are kept for as long as they hold. Each may have 64 KiB, if its sender wants it so.
const CACHED: u64 = 4096;
/// Of each kind, those that are kept as they are used.
const READY: usize = 1024;
/// Names of one address that are looked at. An owner may give it thousands.
const MOST_NAMES: usize = 5;

/// One who asks these name servers, or those of the system where none are given.
///
/// # Errors
///
/// A sentence that says what is wrong.
pub(crate) fn asker(nameservers: &[SocketAddr]) -> Result<MessageAuthenticator, String> {
    let mut options = ResolverOpts::default();
    let config = if nameservers.is_empty() {
        let (config, system) = read_system_conf()
            .map_err(|error| format!("the name servers of this system: {error}"))?;
        options = system;
        config
    } else {
        let servers = nameservers.iter().map(|address| {
            let both = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let both = both.map(|mut connection| {
                connection.port = address.port();
                connection
            });
            NameServerConfig::new(address.ip(), true, both.to_vec())
        });
        ResolverConfig::from_parts(None, Vec::new(), servers.collect())
    };
    options.timeout = Duration::from_secs(3);
    options.attempts = 2;
    options.cache_size = CACHED;
    options.use_hosts_file = ResolveHosts::Never;
    MessageAuthenticator::new(config, options)
        .map_err(|error| format!("name servers cannot be asked: {error}"))
}

/// Answers as they are used, for as long as they hold: those that the library keeps are copied whole and read anew for each
/// question.
pub(crate) struct Answers<K, V> {
    all: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self {
            all: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Answers<K, V> {
    fn all(&self) -> MutexGuard<'_, HashMap<K, (V, Instant)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at<Q: Hash + Eq + ?Sized>(&self, name: &Q, now: Instant) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let all = self.all();
        let (answer, until) = all.get(name)?;
        (*until > now).then(|| answer.clone())
    }

    fn put(&self, name: K, answer: V, until: Instant, now: Instant) {
        if until <= now {
            return;
        }
        let mut all = self.all();
        if all.len() >= READY {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() >= READY {
            all.clear();
        }
        all.insert(name, (answer, until));
    }
}

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Answers<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.at(name, Instant::now())
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.all().remove(name).map(|(answer, _)| answer)
    }

    fn insert(&self, name: K, answer: V, until: Instant) {
        self.put(name, answer, until, Instant::now());
    }
}

/// `[client_names]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientNamesFile {
    /// How long a client waits for its name at most, and then has none.
    seconds: u64,
}

impl Default for ClientNamesFile {
    fn default() -> Self {
        Self { seconds: 5 }
    }
}

/// What a client is called by the name servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ClientName {
    /// The owner of its address and the owner of the name both say so.
    Known(String),
    /// It has none that both agree on.
    Nameless,
    /// Nobody was asked, or nobody answered in time.
    #[default]
    Unknown,
}

impl ClientNamesFile {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if (1..=30).contains(&self.seconds) {
            return Ok(());
        }
        Err(format!(
            "client_names: seconds = {}; 1 to 30 make sense, since a client waits for so long",
            self.seconds
        ))
    }
}

impl ClientName {
    /// As XCLIENT says it.
    pub(crate) fn for_xclient(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Nameless => "[UNAVAILABLE]",
            Self::Unknown => "[TEMPUNAVAIL]",
        }
    }

    pub(crate) fn known(&self) -> Option<&str> {
        match self {
            Self::Known(name) => Some(name),
            Self::Nameless | Self::Unknown => None,
        }
    }
}

/// Asks for the names of clients.
pub(crate) struct Reverse {
    asker: MessageAuthenticator,
    patience: Duration,
}

impl std::fmt::Debug for Reverse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reverse").finish_non_exhaustive()
    }
}

impl Reverse {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn new(
        file: &ClientNamesFile,
        nameservers: &[SocketAddr],
    ) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            asker: asker(nameservers)?,
            patience: Duration::from_secs(file.seconds),
        }))
    }

    /// What the name servers call this address.
    pub(crate) async fn name_of(&self, address: IpAddr) -> ClientName {
        let asked = self.ask(address.to_canonical());
        timeout(self.patience, asked).await.unwrap_or_default()
    }

    async fn ask(&self, address: IpAddr) -> ClientName {
        let resolver = self.asker.resolver();
        let names = match resolver.reverse_lookup(address).await {
            Ok(names) => names,
            Err(error) => return nothing(&error),
        };
        let mut found = ClientName::Nameless;
        let names = names
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::PTR(name) => Some(&name.0),
                _ => None,
            });
        for name in names.take(MOST_NAMES) {
            let Some(text) = usable(name) else { continue };
            let addresses = match address {
                IpAddr::V4(_) => resolver.ipv4_lookup(name.clone()).await,
                IpAddr::V6(_) => resolver.ipv6_lookup(name.clone()).await,
            };
            match addresses {
                Ok(addresses) => {
                    let is_ours = |data: &RData| match data {
                        RData::A(one) => IpAddr::V4(one.0) == address,
                        RData::AAAA(one) => IpAddr::V6(one.0) == address,
                        _ => false,
                    };
                    if addresses.answers().iter().any(|one| is_ours(&one.data)) {
                        return ClientName::Known(text);
                    }
                }
                Err(error) if nothing(&error) == ClientName::Unknown => found = ClientName::Unknown,
                Err(_) => {}
            }
        }
        found
    }
}

/// What an answer without records means.
fn nothing(error: &NetError) -> ClientName {
    use mail_auth::hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(
                none.response_code,
                ResponseCode::NXDomain | ResponseCode::NoError
            ) =>
        {
            ClientName::Nameless
        }
        _ => ClientName::Unknown,
    }
}

/// A name as it may stand in a header and in a command: a host name of more than one label, and no address.
fn usable(name: &Name) -> Option<String> {
    let text = name.to_ascii().to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let is_host = text.is_ascii() && text.contains('.') && Domain::parse(text.as_bytes()).is_ok();
    let is_address = text.starts_with('[') || text.parse::<IpAddr>().is_ok();
    (is_host && !is_address).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_again_only_for_as_long_as_it_holds() {
        let answers: Answers<Box<str>, u32> = Answers::default();
        let now = Instant::now();
        let until = now + Duration::from_mins(1);
        answers.put("a.example".into(), 1, until, now);
        answers.put("b.example".into(), 2, now, now);
        assert_eq!(answers.at("a.example", now), Some(1));
        assert_eq!(answers.at("a.example", until), None);
        assert_eq!(answers.at("b.example", now), None);
        answers.put("a.example".into(), 3, until, now);
        assert_eq!(answers.at("a.example", now), Some(3));
    }

    #[test]
    fn only_so_many_answers_are_kept_and_those_that_hold_before_others() {
        let answers: Answers<usize, usize> = Answers::default();
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_mins(1));
        for nth in 0..READY {
            answers.put(nth, nth, if nth == 7 { late } else { soon }, now);
        }
        answers.put(READY, READY, late, soon);
        assert_eq!(answers.all().len(), 2);
        assert_eq!(answers.at(&7, soon), Some(7));
        for nth in 0..3 * READY {
            answers.put(nth, nth, late, now);
            assert!(answers.all().len() <= READY);
        }
    }

    #[test]
    fn only_a_host_name_is_a_name() {
        let of = |labels: &[&[u8]]| usable(&Name::from_labels(labels.iter().copied()).unwrap());
        assert_eq!(of(&[b"Mail", b"Example"]), Some("mail.example".to_owned()));
        for wrong in [
            &[&b"localhost"[..]][..],
            &[b"a b", b"example"],
            &[b"a\r\nX: y", b"example"],
            &[b"a=b", b"example"],
            &[b"192", b"0", b"2", b"7"],
            &[b"\xff", b"example"],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
