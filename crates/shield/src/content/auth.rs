//! Who says it is whom: SPF, DKIM, DMARC and ARC by mail-auth, and names that are made to be taken for others.
//!
//! Entry: [`Authenticator`]. What a name server did not answer is a temporary error, and never a pass.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue};
use mailkeep_inspect::{Reason, Verdict};
use mailkeep_model::text::printable_max;

use super::Subject;
use super::config::{AuthenticationFile, AuthenticationPolicy};
use super::headers::{authserv_id, fields};
use super::names::{Names, canonical, is_below};
use super::spf::Spf;

/// The rules: name, what each does unless the configuration says otherwise, what the sender is told.
pub(super) const RULES: &[(&str, Verdict, &str)] = &[
    (
        "dmarc-quarantine",
        Verdict::Accept,
        "the domain in From asks that mail is set aside that it did not send (DMARC)",
    ),
    (
        "dmarc-reject",
        Verdict::Refuse,
        "the domain in From asks that mail is refused that it did not send (DMARC)",
    ),
    (
        "dns-dead",
        Verdict::Accept,
        "it could not be found out whether this sender may use this name; try again later",
    ),
    (
        "envelope-disagrees",
        Verdict::Accept,
        "the envelope names another domain than From",
    ),
    (
        "lookalike-domain",
        Verdict::Accept,
        "the domain in From can be mistaken for one of ours",
    ),
    (
        "own-domain-from-outside",
        Verdict::Refuse,
        "mail from our own domain does not come from there",
    ),
    (
        "own-name-from-outside",
        Verdict::Accept,
        "the name in From is that of one of our people, the address is not",
    ),
    (
        "spf-fail",
        Verdict::Accept,
        "the sender's domain does not send mail from this address (SPF)",
    ),
    (
        "too-many-signatures",
        Verdict::Accept,
        "more signatures than are looked at",
    ),
];

/// Signatures of one message that are looked at (RFC 6376 section 6.1 lets a verifier limit them): each asks a name
/// server and hashes the body.
const MOST_SIGNATURES: usize = 12;
/// Answers of name servers that are kept for as long as they hold.
const CACHED: u64 = 16_384;

/// What was found of a sender.
#[derive(Debug, Default)]
pub(super) struct Authenticity {
    /// The value of an Authentication-Results header; none where nothing was asked.
    pub(super) results: Option<String>,
    pub(super) reasons: Vec<Reason>,
}

/// Asks name servers whether a sender is who he says.
pub(super) struct Authenticator {
    asker: MessageAuthenticator,
    /// What Authentication-Results begin with.
    pub(super) id: String,
    names: Names,
    arc_trusted: Vec<String>,
    policy: AuthenticationPolicy,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator")
            .field("id", &self.id)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(super) fn new(file: &AuthenticationFile, name: &str) -> Result<Self, String> {
        let policy = file.policy()?;
        let mut options = ResolverOpts::default();
        let config = if file.nameservers.is_empty() {
            let (config, system) = read_system_conf()
                .map_err(|error| format!("the name servers of this system: {error}"))?;
            options = system;
            config
        } else {
            let servers = file.nameservers.iter().map(|address| {
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
        let asker = MessageAuthenticator::new(config, options)
            .map_err(|error| format!("name servers cannot be asked: {error}"))?;
        Ok(Self {
            asker,
            id: file.id.clone().unwrap_or_else(|| name.to_owned()),
            names: Names::new(&file.own_domains, &file.people),
            arc_trusted: file.arc_trusted.iter().map(|one| canonical(one)).collect(),
            policy,
        })
    }

    /// Whose mail is not asked: it comes from inside.
    fn trusts(&self, subject: &Subject) -> bool {
        subject.authenticated
            || subject.client.is_none_or(|client| {
                let mut trusted = self.policy.trusted.iter();
                trusted.any(|network| network.contains(client))
            })
    }

    /// What is to be said of a message.
    pub(super) async fn judge(
        self: &Arc<Self>,
        subject: &Subject,
        message: &Arc<Vec<u8>>,
    ) -> Authenticity {
        let Some(client) = subject.client.filter(|_| !self.trusts(subject)) else {
            return Authenticity::default();
        };
        // In a task of its own: what a library does with a hostile message must not reach the session.
        let task = {
            let (this, subject, message) = (Arc::clone(self), subject.clone(), Arc::clone(message));
            tokio::spawn(async move { this.ask(&subject, client.to_canonical(), &message).await })
        };
        let stop = task.abort_handle();
        if let Ok(Ok(found)) = tokio::time::timeout(self.policy.patience, task).await {
            return found;
        }
        stop.abort();
        let mut found = Authenticity::default();
        self.notice(&mut found, "dns-dead", "no answer in time");
        found.results = Some(format!(
            "{};\r\n\tspf=temperror;\r\n\tdkim=temperror;\r\n\tdmarc=temperror",
            self.id
        ));
        found
    }

    async fn ask(&self, subject: &Subject, client: IpAddr, message: &[u8]) -> Authenticity {
        let mut found = Authenticity::default();
        let hello = subject.hello.as_str();
        let sender = subject.sender.as_str();
        let resolver = self.asker.resolver();
        let (spf, domain) = Spf::check(resolver, client, hello, sender).await;
        let spf = SpfOutput::new(domain).with_result(spf);
        let signatures = fields(message)
            .iter()
            .filter(|field| {
                field.is("DKIM-Signature") || field.is("ARC-Seal") || field.is("DKIM2-Signature")
            })
            .count();
        let looked_at = signatures <= MOST_SIGNATURES;
        if !looked_at {
            self.notice(&mut found, "too-many-signatures", &signatures.to_string());
        }
        // Hashing a large body takes long.
        let parsed = if message.len() > 1 << 20 {
            tokio::task::block_in_place(|| AuthenticatedMessage::parse(message))
        } else {
            AuthenticatedMessage::parse(message)
        };
        let mut parsed = parsed.unwrap_or_default();
        if !looked_at {
            parsed.dkim_headers.clear();
            parsed.ams_headers.clear();
            parsed.as_headers.clear();
            parsed.aar_headers.clear();
        }
        let parsed = parsed;
        let dkim = self.asker.verify_dkim(&parsed).await;
        let arc = self.asker.verify_arc(&parsed).await;
        let sender_domain = sender.rsplit_once('@').map_or(hello, |(_, domain)| domain);
        let dmarc = DmarcParameters::new(&parsed, &dkim, sender_domain, &spf);
        let dmarc = self.asker.verify_dmarc(dmarc).await;

        let from = from_of(message);
        let header_from = from.first().map_or("", |from| from.address.as_str());
        let mut results = AuthenticationResults::new(&self.id);
        results = if sender.is_empty() {
            results.with_spf_ehlo_result(&spf, client, hello)
        } else {
            results.with_spf_mailfrom_result(&spf, client, sender, hello)
        };
        results = results.with_dkim_results(&dkim, header_from);
        if !parsed.ams_headers.is_empty() {
            results = results.with_arc_result(&arc, client);
        }
        results = results.with_dmarc_result(&dmarc);
        found.results = Some(ascii(&results.to_string()));

        if spf.result() == SpfResult::Fail {
            self.notice(&mut found, "spf-fail", sender_domain);
        }
        let aligned =
            dmarc.dkim_result() == &DmarcResult::Pass || dmarc.spf_result() == &DmarcResult::Pass;
        let unanswered = spf.result() == SpfResult::TempError
            || dkim
                .iter()
                .any(|one| matches!(one.result(), DkimResult::TempError(_)))
            || matches!(dmarc.result(), DmarcResult::TempError(_))
            || matches!(dmarc.spf_result(), DmarcResult::TempError(_))
            || matches!(dmarc.dkim_result(), DmarcResult::TempError(_));
        if unanswered && !aligned {
            self.notice(&mut found, "dns-dead", sender_domain);
        }
        if dmarc.dmarc_record().is_some() && !aligned && !unanswered {
            let sealer = self.sealed_by(&arc);
            let rule = match dmarc.policy() {
                Policy::Reject => Some("dmarc-reject"),
                Policy::Quarantine => Some("dmarc-quarantine"),
                Policy::None | Policy::Unspecified => None,
            };
            if let (Some(rule), None) = (rule, sealer) {
                self.notice(&mut found, rule, dmarc.domain());
            }
        }
        self.names(
            &mut found,
            &from,
            sender_domain,
            &dkim,
            spf.result(),
            unanswered,
        );
        found
    }

    /// The trusted domain that sealed what it forwarded, if the seals hold.
    fn sealed_by(&self, arc: &mail_auth::ArcOutput<'_>) -> Option<String> {
        if arc.result() != &DkimResult::Pass {
            return None;
        }
        let domain = canonical(&arc.sets().last()?.seal.header.d);
        let mut trusted = self.arc_trusted.iter();
        trusted
            .any(|above| is_below(&domain, above))
            .then_some(domain)
    }

    fn names(
        &self,
        found: &mut Authenticity,
        from: &[From],
        sender_domain: &str,
        dkim: &[DkimOutput<'_>],
        spf: SpfResult,
        unanswered: bool,
    ) {
        let sender_domain = canonical(sender_domain);
        for from in from {
            let domain = canonical(from.domain());
            if domain.is_empty() {
                continue;
            }
            let related = |other: &str| {
                is_below(&domain, other)
                    || is_below(other, &domain)
                    || organization(&domain) == organization(other)
            };
            let signed = dkim.iter().any(|one| {
                one.result() == &DkimResult::Pass
                    && one
                        .signature()
                        .is_some_and(|signature| related(&canonical(&signature.d)))
            });
            let sent = spf == SpfResult::Pass && related(&sender_domain);
            if self.names.is_own(&domain) {
                if !signed && !sent {
                    self.notice(found, "own-domain-from-outside", &domain);
                    // What could not be found out is the sender's to keep, and his to send again.
                    if unanswered
                        && let Some(last) = found.reasons.last_mut()
                        && last.verdict == Verdict::Refuse
                    {
                        last.verdict = Verdict::Tempfail;
                    }
                }
                continue;
            }
            if let Some(own) = self.names.looks_like(&domain) {
                let evidence = format!("{domain} looks like {own}");
                self.notice(found, "lookalike-domain", &evidence);
            }
            if self.names.is_person(&from.name) {
                let evidence = format!("{} at {domain}", from.name);
                self.notice(found, "own-name-from-outside", &evidence);
            }
            if !sender_domain.is_empty() && !related(&sender_domain) && !signed {
                let evidence = format!("{sender_domain}, and {domain} in From");
                self.notice(found, "envelope-disagrees", &evidence);
            }
        }
    }

    fn notice(&self, found: &mut Authenticity, rule: &'static str, evidence: &str) {
        let Some((_, usual, text)) = RULES.iter().find(|(name, _, _)| *name == rule) else {
            return;
        };
        let verdict = self.policy.actions.get(rule).copied().unwrap_or(*usual);
        if found.reasons.iter().any(|reason| reason.rule == rule) {
            return;
        }
        found.reasons.push(Reason {
            rule: rule.into(),
            verdict,
            text: (*text).to_owned(),
            evidence: printable_max(evidence, 200),
            place: String::new(),
        });
    }

    /// Which Authentication-Results of a message say that they are ours, and are not: their number among those
    /// headers, counted from one, and where they lie (RFC 8601 section 5).
    pub(super) fn forged_results(&self, message: &[u8]) -> Vec<(u32, std::ops::Range<usize>)> {
        let id = self.id.to_ascii_lowercase();
        let all = fields(message);
        let all = all
            .iter()
            .filter(|field| field.is("Authentication-Results"));
        let numbered = (1_u32..).zip(all);
        numbered
            .filter(|(_, field)| authserv_id(field.value) == id)
            .map(|(nth, field)| (nth, field.place.clone()))
            .collect()
    }
}

/// A mailbox in From.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    name: String,
    address: String,
}

impl From {
    fn domain(&self) -> &str {
        let found = self.address.rsplit_once('@');
        found.map_or("", |(_, domain)| domain)
    }
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            f.write_str(&self.address)
        } else {
            write!(f, "{} <{}>", self.name, self.address)
        }
    }
}

/// Every mailbox of every From.
pub(super) fn from_of(message: &[u8]) -> Vec<From> {
    let mut found = Vec::new();
    for field in fields(message).iter().filter(|field| field.is("From")) {
        let parsed = MessageStream::new(field.value).parse_address();
        let HeaderValue::Address(address) = parsed else {
            continue;
        };
        let list = match address {
            Address::List(list) => list,
            Address::Group(groups) => groups.into_iter().flat_map(|one| one.addresses).collect(),
        };
        found.extend(list.into_iter().take(100).map(|one| From {
            name: one.name.unwrap_or_default().into_owned(),
            address: one.address.unwrap_or_default().into_owned(),
        }));
    }
    found
}

/// The last two labels: near enough for a notice. Refusals stand on DMARC's own walk, or on the site's own domains.
fn organization(domain: &str) -> &str {
    let mut dots = domain.rmatch_indices('.');
    dots.next();
    match dots.next() {
        Some((at, _)) => domain.get(at + 1..).unwrap_or(domain),
        None => domain,
    }
}

/// A header value of printable ASCII and its foldings.
fn ascii(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        ' '..='~' | '\r' | '\n' | '\t' => c,
        _ => '?',
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_described_with_its_default() {
        let page = include_str!("../../../../docs/shield.md");
        for (name, verdict, _) in RULES {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")));
            let default = format!("| {} |", verdict.name());
            assert!(row.is_some_and(|row| row.ends_with(&default)), "{name}");
        }
    }
}
