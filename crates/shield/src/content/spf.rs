//! SPF (RFC 7208): whether an address may send for a domain. Entry: [`Spf::check`].
//!
//! Ours, since the one of mail-auth 0.13 gives 148 of the 203 results of the standard's test suite: it takes the first of
//! several records, and lets networks match whose length is none. All 203 are held to here.

mod record;
#[cfg(test)]
mod suite;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use mail_auth::hickory_resolver::TokioResolver;
use mail_auth::hickory_resolver::net::{DnsError, NetError};
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::hickory_resolver::proto::rr::{Name, RData};
use mail_auth::{ResolverCache as _, SpfResult};

use self::record::{Mechanism, Piece, Qualifier, Record, Template, same_network};
use crate::resolver::Answers;

/// Terms that ask name servers (section 4.6.4).
const MOST_ASKING: u32 = 10;
/// Questions without an answer (section 4.6.4).
const MOST_VOID: u32 = 2;
/// Names behind one MX or PTR (section 4.6.4).
const MOST_NAMES: usize = 10;
/// Octets of an answer that is kept.
const MOST_KEPT: usize = 4096;
/// Octets of a name (section 7.3).
const LONGEST_NAME: usize = 253;

/// Records that were asked for.
pub(super) type Known = Answers<(Name, Kind), Arc<[Found]>>;

/// One question: whose mail it is, and what it has cost so far.
pub(super) struct Spf<'a> {
    resolver: &'a TokioResolver,
    known: &'a Known,
    client: IpAddr,
    hello: &'a str,
    sender: String,
    asking: u32,
    void: u32,
    /// Names of the client that lead back to it, once they were asked for.
    validated: Option<Vec<String>>,
}

/// Why a record cannot be followed to its end.
enum Stop {
    Permanent,
    Temporary,
}

type Answer<T> = Result<T, Stop>;

impl<'a> Spf<'a> {
    /// Whether this address may send for this sender, and for which domain that was asked: the sender's, or for a
    /// bounce the one that the client greeted with.
    pub(super) async fn check(
        (resolver, known): (&'a TokioResolver, &'a Known),
        client: IpAddr,
        hello: &'a str,
        sender: &str,
    ) -> (SpfResult, String) {
        let (local, domain) = match sender.rsplit_once('@') {
            Some(("", domain)) => ("postmaster", domain),
            Some((local, domain)) => (local, domain),
            None if sender.is_empty() => ("postmaster", hello),
            None => ("postmaster", sender),
        };
        let mut spf = Self {
            resolver,
            known,
            client: client.to_canonical(),
            hello,
            sender: format!("{local}@{domain}"),
            asking: 0,
            void: 0,
            validated: None,
        };
        let result = if is_domain(domain) {
            spf.host(domain.to_owned()).await
        } else {
            SpfResult::None
        };
        (result, domain.to_owned())
    }

    /// `check_host()`, section 4.
    fn host<'b>(
        &'b mut self,
        domain: String,
    ) -> Pin<Box<dyn Future<Output = SpfResult> + Send + 'b>> {
        Box::pin(async move {
            match self.follow(&domain).await {
                Ok(result) => result,
                Err(Stop::Permanent) => SpfResult::PermError,
                Err(Stop::Temporary) => SpfResult::TempError,
            }
        })
    }

    async fn follow(&mut self, domain: &str) -> Answer<SpfResult> {
        let found = self.texts(domain).await?;
        let texts = found.iter().filter_map(Found::text);
        let mut records = texts.filter(|text| Record::is_one(text));
        let Some(text) = records.next() else {
            return Ok(SpfResult::None);
        };
        if records.next().is_some() {
            return Err(Stop::Permanent);
        }
        let Ok(record) = Record::parse(text) else {
            return Err(Stop::Permanent);
        };
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain).await? {
                return Ok(match directive.qualifier {
                    Qualifier::Fail => SpfResult::Fail,
                    Qualifier::Neutral => SpfResult::Neutral,
                    Qualifier::Pass => SpfResult::Pass,
                    Qualifier::SoftFail => SpfResult::SoftFail,
                });
            }
        }
        let Some(redirect) = &record.redirect else {
            return Ok(SpfResult::Neutral);
        };
        self.pay()?;
        let target = self.expand(redirect, domain).await;
        match self.host(target).await {
            SpfResult::None => Ok(SpfResult::PermError),
            other => Ok(other),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Answer<bool> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network, bits) => Ok(same_network(*network, self.client, *bits)),
            Mechanism::Include(target) => {
                self.pay()?;
                let target = self.expand(target, domain).await;
                match self.host(target).await {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::TempError => Err(Stop::Temporary),
                    SpfResult::PermError | SpfResult::None => Err(Stop::Permanent),
                }
            }
            Mechanism::A(target, cidr) => {
                self.pay()?;
                let target = self.target(target.as_ref(), domain).await;
                let found = self.addresses(absolute(&target)).await?;
                Ok(found.iter().any(|one| cidr.joins(*one, self.client)))
            }
            Mechanism::Mx(target, cidr) => {
                self.pay()?;
                let target = self.target(target.as_ref(), domain).await;
                let exchanges = self.records(absolute(&target), Kind::Mx).await?;
                if exchanges.len() > MOST_NAMES {
                    return Err(Stop::Permanent);
                }
                for exchange in exchanges.iter() {
                    let Found::Name(exchange) = exchange else {
                        continue;
                    };
                    let found = self.addresses(Some(exchange.clone())).await?;
                    if found.iter().any(|one| cidr.joins(*one, self.client)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Exists(target) => {
                self.pay()?;
                let target = self.expand(target, domain).await;
                // Of IPv4 only, whatever the client speaks (section 5.7).
                let found = self.records(absolute(&target), Kind::A).await?;
                Ok(!found.is_empty())
            }
            Mechanism::Ptr(target) => {
                self.pay()?;
                let target = self.target(target.as_ref(), domain).await;
                let target = target.trim_end_matches('.').to_ascii_lowercase();
                let names = self.validated().await;
                Ok(names
                    .iter()
                    .any(|name| super::names::is_below(name, &target)))
            }
        }
    }

    fn pay(&mut self) -> Answer<()> {
        self.asking += 1;
        if self.asking > MOST_ASKING {
            return Err(Stop::Permanent);
        }
        Ok(())
    }

    async fn target(&mut self, template: Option<&Template>, domain: &str) -> String {
        match template {
            Some(template) => self.expand(template, domain).await,
            None => domain.to_owned(),
        }
    }

    /// Names of the client that lead back to it (section 5.5). What cannot be found out is left out.
    async fn validated(&mut self) -> Vec<String> {
        if let Some(valid) = &self.validated {
            return valid.clone();
        }
        let valid = self.ask_validated().await;
        self.validated = Some(valid.clone());
        valid
    }

    async fn ask_validated(&self) -> Vec<String> {
        let Ok(names) = self.ask(Name::from(self.client), Kind::Ptr).await else {
            return Vec::new();
        };
        let mut valid = Vec::new();
        for found in names.iter().take(MOST_NAMES) {
            let Found::Name(name) = found else { continue };
            let text = name.to_ascii();
            let addresses = self.ask(name.clone(), self.kind()).await;
            let addresses = addresses.unwrap_or_default();
            if addresses.contains(&Found::Address(self.client)) {
                valid.push(text.trim_end_matches('.').to_ascii_lowercase());
            }
        }
        valid
    }

    /// Writes a domain with its macros filled in, cut to the length that a name may have (section 7.3).
    async fn expand(&mut self, template: &Template, domain: &str) -> String {
        // From its end: of a record full of macros only so much is filled in as a name has room for.
        let mut pieces: Vec<String> = Vec::new();
        let mut length = 0;
        for piece in template.0.iter().rev() {
            let mut out = String::new();
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Macro {
                    letter,
                    escaped,
                    parts,
                    reversed,
                    delimiters,
                } => {
                    let value = self.value(*letter, domain).await;
                    let is_delimiter = |c: char| delimiters.contains(c);
                    let mut all: Vec<&str> = value.split(is_delimiter).collect();
                    if *reversed {
                        all.reverse();
                    }
                    let from = parts.map_or(0, |parts| all.len().saturating_sub(parts));
                    let value = all.get(from..).unwrap_or_default().join(".");
                    if *escaped {
                        escape(&value, &mut out);
                    } else {
                        out.push_str(&value);
                    }
                }
            }
            length += out.len();
            pieces.push(out);
            if length > 2 * LONGEST_NAME {
                break;
            }
        }
        pieces.reverse();
        fitting(&pieces.concat()).to_owned()
    }

    async fn value(&mut self, letter: char, domain: &str) -> String {
        let sender = self.sender.rsplit_once('@').unwrap_or(("postmaster", ""));
        match letter {
            's' => self.sender.clone(),
            'l' => sender.0.to_owned(),
            'o' => sender.1.to_owned(),
            'd' => domain.to_owned(),
            'h' => self.hello.to_owned(),
            'v' if self.client.is_ipv4() => "in-addr".to_owned(),
            'v' => "ip6".to_owned(),
            'i' => match self.client {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let nibbles = address
                        .octets()
                        .map(|octet| format!("{:x}.{:x}", octet >> 4, octet & 15));
                    nibbles.join(".")
                }
            },
            'p' => {
                let domain = domain.to_ascii_lowercase();
                let names = self.validated().await;
                let same = names.iter().find(|name| **name == domain);
                let below = names
                    .iter()
                    .find(|name| super::names::is_below(name, &domain));
                let one = same.or(below).or(names.first());
                one.map_or_else(|| "unknown".to_owned(), Clone::clone)
            }
            // Those of explanations, which are never asked for: a stranger's text has no place in a reply.
            _ => String::new(),
        }
    }

    fn kind(&self) -> Kind {
        if self.client.is_ipv4() {
            Kind::A
        } else {
            Kind::Aaaa
        }
    }

    async fn addresses(&mut self, name: Option<Name>) -> Answer<Vec<IpAddr>> {
        let found = self.records(name, self.kind()).await?;
        let address = |found: &Found| match found {
            Found::Address(address) => Some(*address),
            Found::Name(_) | Found::Text(_) => None,
        };
        Ok(found.iter().filter_map(address).collect())
    }

    async fn texts(&mut self, domain: &str) -> Answer<Arc<[Found]>> {
        match absolute(domain) {
            Some(name) => self.ask(name, Kind::Txt).await,
            None => Ok(Arc::default()),
        }
    }

    /// Asks for a mechanism: a question in vain counts, and so does a name that cannot be one.
    async fn records(&mut self, name: Option<Name>, kind: Kind) -> Answer<Arc<[Found]>> {
        let found = match name {
            Some(name) => self.ask(name, kind).await?,
            None => Arc::default(),
        };
        if found.is_empty() {
            self.void += 1;
            if self.void > MOST_VOID {
                return Err(Stop::Permanent);
            }
        }
        Ok(found)
    }

    async fn ask(&self, name: Name, kind: Kind) -> Answer<Arc<[Found]>> {
        let question = (name, kind);
        if let Some(known) = self.known.get(&question) {
            return Ok(known);
        }
        let name = question.0.clone();
        let lookup = match kind {
            Kind::A => self.resolver.ipv4_lookup(name).await,
            Kind::Aaaa => self.resolver.ipv6_lookup(name).await,
            Kind::Mx => self.resolver.mx_lookup(name).await,
            Kind::Ptr => self.resolver.reverse_lookup(self.client).await,
            Kind::Txt => self.resolver.txt_lookup(name).await,
        };
        let lookup = match lookup {
            Ok(lookup) => lookup,
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(
                    none.response_code,
                    ResponseCode::NXDomain | ResponseCode::NoError
                ) =>
            {
                return Ok(Arc::default());
            }
            Err(_) => return Err(Stop::Temporary),
        };
        let found = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(Found::Address(IpAddr::V4(address.0))),
                RData::AAAA(address) => Some(Found::Address(IpAddr::V6(address.0))),
                RData::MX(mx) => Some(Found::Name(mx.exchange.clone())),
                RData::PTR(name) => Some(Found::Name(name.0.clone())),
                RData::TXT(text) => {
                    let pieces = text.txt_data.iter();
                    Some(Found::Text(
                        pieces.flat_map(|one| one.iter().copied()).collect(),
                    ))
                }
                _ => None,
            });
        let found: Arc<[Found]> = found.collect();
        if found.iter().map(Found::size).sum::<usize>() <= MOST_KEPT {
            let until = lookup.valid_until();
            self.known.insert(question, Arc::clone(&found), until);
        }
        Ok(found)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    A,
    Aaaa,
    Mx,
    Ptr,
    Txt,
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Address(IpAddr),
    Name(Name),
    Text(Vec<u8>),
}

impl Found {
    /// About how many octets it takes.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => size_of::<Self>() + text.len(),
            Self::Address(_) | Self::Name(_) => size_of::<Self>(),
        }
    }

    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Address(_) | Self::Name(_) => None,
        }
    }
}

/// A name without as many labels in front as make it too long.
fn fitting(name: &str) -> &str {
    let length = name.trim_end_matches('.').len();
    let Some(over) = length.checked_sub(LONGEST_NAME + 1) else {
        return name;
    };
    // The first dot behind which no more is left than fits; where there is none, what stands behind the last.
    let tail = name.as_bytes().get(over..).unwrap_or_default();
    let dot = match memchr::memchr(b'.', tail) {
        Some(place) => Some(over + place),
        None => name.rfind('.'),
    };
    dot.and_then(|dot| name.get(dot + 1..)).unwrap_or(name)
}

/// A name as name servers know it; none where it cannot be one.
fn absolute(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |label: &str| !label.is_empty() && label.len() <= 63;
    if name.len() > 253 || !name.split('.').all(fits) {
        return None;
    }
    // As it is: what a macro brought in is no text to be read in any way.
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

/// Whether a domain can have a record at all (section 4.3): two labels or more.
fn is_domain(domain: &str) -> bool {
    let trimmed = domain.strip_suffix('.').unwrap_or(domain);
    trimmed.contains('.') && !trimmed.starts_with('[') && absolute(trimmed).is_some()
}

/// As in a URL (RFC 3986 section 2.1).
fn escape(text: &str, out: &mut String) {
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(octet));
            }
            _ => {
                write!(out, "%{octet:02X}").ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
    use mail_auth::hickory_resolver::net::runtime::TokioRuntimeProvider;
    use proptest::prelude::*;

    use super::*;

    /// Section 7.3 word by word.
    fn slowly(name: &str) -> &str {
        let mut rest = name;
        while rest.trim_end_matches('.').len() > LONGEST_NAME {
            match rest.split_once('.') {
                Some((_, shorter)) => rest = shorter,
                None => break,
            }
        }
        rest
    }

    proptest! {
        #[test]
        fn a_name_is_cut_where_the_standard_cuts_it(name in "[a.]{0,20}([a-c]{1,80}\\.{0,2}){0,12}[a.]{0,300}") {
            prop_assert_eq!(fitting(&name), slowly(&name));
        }
    }

    #[tokio::test]
    async fn a_record_full_of_macros_costs_no_more_than_a_name_has_room_for() {
        let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(ResolverOpts::default())
            .build()
            .unwrap();
        let mut spf = Spf {
            resolver: &resolver,
            known: &Known::default(),
            client: Ipv4Addr::LOCALHOST.into(),
            hello: "client.example",
            sender: format!("{}@example.org", "a.".repeat(100)),
            asking: 0,
            void: 0,
            validated: None,
        };
        let record = format!("v=spf1 exists:{}.example.org", "%{s}".repeat(16_000));
        let record = Record::parse(record.as_bytes()).unwrap();
        let Some(Mechanism::Exists(template)) = record.directives.first().map(|one| &one.mechanism)
        else {
            unreachable!("{record:?}");
        };
        // All of it, cut label by label, took minutes.
        let begun = std::time::Instant::now();
        let name = spf.expand(template, "example.org").await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
        assert!(
            name.len() <= LONGEST_NAME && name.ends_with("@example.org.example.org"),
            "{name}"
        );
    }
}
