//! Who says it is whom: SPF, DKIM, DMARC and ARC by mail-auth, and names that are made to be taken for others.
//!
//! Entry: [`Authenticator`]. What a name server did not answer is a temporary error, and never a pass.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult,
    MessageAuthenticator, Parameters, SpfOutput, SpfResult, Txt,
};
use mailkeep_inspect::from::{self, Mailbox};
use mailkeep_inspect::{Reason, Verdict};
use mailkeep_model::text::printable_max;
use tokio::time::timeout;

use super::Subject;
use super::config::{AuthenticationFile, AuthenticationPolicy};
use super::headers::{authserv_id, fields};
use super::names::{Names, canonical, is_below};
use super::spf::{self, Spf};
use crate::resolver::{Answers, asker};

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
        "forged-results",
        Verdict::Refuse,
        "it has more results of checks in our name than can be taken away",
    ),
    (
        "from-ambiguous",
        Verdict::Refuse,
        "it has more than one From, and different readers show different ones",
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
        "the name in From is that of one of our people, or an address of ours, and the sender's address is not",
    ),
    (
        "spf-fail",
        Verdict::Accept,
        "the sender's domain does not send mail from this address (SPF)",
    ),
    (
        "too-many-signatures",
        Verdict::Accept,
        "more signatures, or longer ones, than are looked at",
    ),
];

/// Signatures of one message that are looked at (RFC 6376 section 6.1 lets a verifier limit them): each asks a name
/// server and hashes the body.
const MOST_SIGNATURES: usize = 12;
/// Octets of one signature that is looked at. What it signs is searched for name by name among all headers.
const LONGEST_SIGNATURE: usize = 8 << 10;
/// Headers among which that is done.
const MOST_HEADERS: usize = 1000;
/// Domains in From that are asked for their policies.
const MOST_AUTHORS: usize = 4;
/// Mailboxes in From that are looked at.
const MOST_MAILBOXES: usize = 100;
/// Octets of one From that are looked at.
const LONGEST_FROM: usize = 64 << 10;

/// Authentication-Results in our name that are taken away. Postfix 3.7 goes through all headers for each, and its
/// cleanup ends at some thousands.
const MOST_FORGED: usize = 100;

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
    /// Keys and policies.
    texts: Answers<Box<str>, Txt>,
    spf_records: spf::Known,
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
        let asker = asker(&file.nameservers)?;
        Ok(Self {
            asker,
            texts: Answers::default(),
            spf_records: spf::Known::default(),
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
    pub(super) async fn judge(&self, subject: &Subject, message: &[u8]) -> Authenticity {
        let Some(client) = subject.client.filter(|_| !self.trusts(subject)) else {
            return Authenticity::default();
        };
        // What a library does with a hostile message must not reach the session.
        let asked = AssertUnwindSafe(self.ask(subject, client.to_canonical(), message));
        if let Ok(Ok(found)) = timeout(self.policy.patience * 2, asked.catch_unwind()).await {
            return found;
        }
        // The steps have time-outs of their own: what comes here is a failure of ours, which a message may have
        // brought about. Nothing was cleared, so the sender keeps it.
        let mut found = Authenticity::default();
        self.at_least(&mut found, "dns-dead", "failed", Verdict::Tempfail);
        found
    }

    /// What SPF says of a sender before there is any content, where that is asked for.
    pub(super) async fn before_content(&self, subject: &Subject) -> Option<Sender> {
        if !self.policy.spf_before_data {
            return None;
        }
        let client = subject.client.filter(|_| !self.trusts(subject))?;
        let asked = AssertUnwindSafe(self.spf(subject, client.to_canonical()));
        // What breaks down here is asked again with the message.
        let (result, domain) = asked.catch_unwind().await.ok()?;
        let mut found = Authenticity::default();
        if result == SpfResult::Fail {
            self.notice(&mut found, "spf-fail", &domain);
        }
        Some(Sender {
            spf: (result, domain),
            reason: found.reasons.pop(),
        })
    }

    /// In its share of the time. Each step has one: name servers of the sender's choice must not use up what the domain
    /// in From is asked in.
    async fn spf(&self, subject: &Subject, client: IpAddr) -> (SpfResult, String) {
        let (hello, sender) = (subject.hello.as_str(), subject.sender.as_str());
        let names = (self.asker.resolver(), &self.spf_records);
        let asked = Spf::check(names, client, hello, sender);
        let found = timeout(self.policy.patience / 4, asked).await;
        found.unwrap_or_else(|_| (SpfResult::TempError, sender_domain(subject).to_owned()))
    }

    async fn ask(&self, subject: &Subject, client: IpAddr, message: &[u8]) -> Authenticity {
        let mut found = Authenticity::default();
        let hello = subject.hello.as_str();
        let sender = subject.sender.as_str();
        let sender_domain = sender_domain(subject);
        let step = self.policy.patience / 4;
        let (spf, domain) = match &subject.spf {
            Some((spf, domain)) => (*spf, domain.clone()),
            None => self.spf(subject, client).await,
        };
        let spf = SpfOutput::new(domain).with_result(spf);
        let parsed = if let Some(why) = beyond(message) {
            self.notice(&mut found, "too-many-signatures", &why);
            None
        } else if message.len() > 1 << 20 {
            // Hashing a large body takes long.
            tokio::task::block_in_place(|| AuthenticatedMessage::parse(message))
        } else {
            AuthenticatedMessage::parse(message)
        };
        let parsed = parsed.unwrap_or_default();
        let asked = Parameters::new(&parsed).with_txt_cache(&self.texts);
        let (dkim, late) = match timeout(step, self.asker.verify_dkim(asked)).await {
            Ok(dkim) => (dkim, false),
            Err(_) => (Vec::new(), true),
        };
        let asked = Parameters::new(&parsed).with_txt_cache(&self.texts);
        let arc = timeout(step, self.asker.verify_arc(asked)).await;
        let arc = arc.unwrap_or_default();
        let evidence = Evidence::new(sender_domain, spf.result(), &dkim, late.then_some(&parsed));

        let Senders {
            mailboxes: from,
            headers,
            whole,
            ambiguous,
        } = Senders::of(message);
        let mut authors: Vec<&Mailbox> = Vec::new();
        for one in &from {
            if !authors.iter().any(|other| other.domain() == one.domain()) {
                authors.push(one);
            }
        }
        // Part of a name that a comma cuts is nobody.
        if authors.len() > 1 {
            authors.retain(|one| !one.domain().is_empty());
        }
        // What readers show of several is one of them, and DMARC asks nothing then (RFC 9989 section 11.5).
        if headers > 1 || authors.len() > MOST_AUTHORS || !whole || ambiguous {
            let more = if whole { "" } else { " or more" };
            let twofold = if ambiguous {
                ", addresses that can be read in more than one way"
            } else {
                ""
            };
            let evidence = format!(
                "{headers} headers, {}{more} domains{twofold}",
                authors.len()
            );
            self.notice(&mut found, "from-ambiguous", &evidence);
        }
        let mut dmarcs = Vec::new();
        for author in authors.iter().take(MOST_AUTHORS) {
            // Of a message it looks at nothing else.
            let alone = AuthenticatedMessage {
                from: vec![author.address.to_lowercase()],
                ..AuthenticatedMessage::default()
            };
            let asked = DmarcParameters::new(&alone, &dkim, sender_domain, &spf);
            let asked = Parameters::new(asked).with_txt_cache(&self.texts);
            let asked = timeout(step, self.asker.verify_dmarc(asked)).await;
            dmarcs.push(asked.unwrap_or_else(|_| {
                let late = DmarcResult::TempError(mail_auth::Error::ParseError);
                DmarcOutput::default()
                    .with_domain(author.domain())
                    .with_spf_result(late.clone())
                    .with_dkim_result(late)
            }));
        }
        let header_from = authors.first().map_or("", |from| from.address.as_str());
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
        for dmarc in &dmarcs {
            results = results.with_dmarc_result(dmarc);
        }
        found.results = Some(ascii(&results.to_string()));

        if spf.result() == SpfResult::Fail {
            self.notice(&mut found, "spf-fail", sender_domain);
        }
        let sealed = self.is_sealed(&arc);
        for dmarc in &dmarcs {
            self.hold_to(&mut found, dmarc, &evidence, sealed);
        }
        self.names(&mut found, &from, &evidence);
        found
    }

    /// What the policy of one domain in From asks for.
    fn hold_to(
        &self,
        found: &mut Authenticity,
        dmarc: &DmarcOutput,
        evidence: &Evidence,
        sealed: bool,
    ) {
        let author = canonical(dmarc.domain());
        let aligned =
            dmarc.dkim_result() == &DmarcResult::Pass || dmarc.spf_result() == &DmarcResult::Pass;
        if dmarc.dmarc_record().is_none() {
            if matches!(dmarc.result(), DmarcResult::TempError(_)) {
                self.notice(found, "dns-dead", &author);
            }
        } else if !aligned && !sealed {
            let missing = evidence.misses(&author);
            match dmarc.policy() {
                // What could not be found out might have cleared it; nothing else that is broken does.
                Policy::Reject if missing => {
                    self.at_least(found, "dns-dead", &author, Verdict::Tempfail);
                }
                Policy::Reject => self.notice(found, "dmarc-reject", &author),
                Policy::Quarantine if missing => self.notice(found, "dns-dead", &author),
                Policy::Quarantine => self.notice(found, "dmarc-quarantine", &author),
                Policy::None | Policy::Unspecified => {}
            }
        }
    }

    /// Whether a trusted domain sealed what it forwarded, the seals hold, and it had found that DMARC passes.
    fn is_sealed(&self, arc: &mail_auth::ArcOutput<'_>) -> bool {
        let Some(last) = arc.sets().last() else {
            return false;
        };
        let domain = canonical(&last.seal.header.d);
        let mut trusted = self.arc_trusted.iter();
        arc.result() == &DkimResult::Pass
            && trusted.any(|above| is_below(&domain, above))
            && says_dmarc_pass(last.results.value)
    }

    fn names(&self, found: &mut Authenticity, from: &[Mailbox], evidence: &Evidence) {
        let sender_domain = &evidence.sender_domain;
        // A group's name is that of all in it.
        let mut seen = BTreeMap::new();
        for from in from {
            let domain = canonical(from.domain());
            if !self.names.is_own(&domain)
                && let Some(shown) = from.shown().find(|&text| {
                    let is_ours = || self.names.is_person(text) || self.names.shows_own(text);
                    *seen.entry(text).or_insert_with(is_ours)
                })
            {
                let evidence = format!("{shown} at {domain}");
                self.notice(found, "own-name-from-outside", &evidence);
            }
            if domain.is_empty() {
                continue;
            }
            if self.names.is_own(&domain) {
                // Only an own domain speaks for an own domain, however near another may be.
                let signed = evidence.signed.iter().any(|one| self.names.is_own(one));
                let sent = evidence.spf == SpfResult::Pass && self.names.is_own(sender_domain);
                if !signed && !sent {
                    let rule = "own-domain-from-outside";
                    // What could not be found out is the sender's to keep, and his to send again.
                    if evidence.misses(&domain) {
                        self.at_most(found, rule, &domain, Verdict::Tempfail);
                    } else {
                        self.notice(found, rule, &domain);
                    }
                }
                continue;
            }
            if let Some(own) = self.names.looks_like(&domain) {
                let evidence = format!("{domain} looks like {own}");
                self.notice(found, "lookalike-domain", &evidence);
            }
            let signed = evidence.signed.iter().any(|one| related(&domain, one));
            if !sender_domain.is_empty() && !related(&domain, sender_domain) && !signed {
                let evidence = format!("{sender_domain}, and {domain} in From");
                self.notice(found, "envelope-disagrees", &evidence);
            }
        }
    }

    fn notice(&self, found: &mut Authenticity, rule: &'static str, evidence: &str) {
        self.at_least(found, rule, evidence, Verdict::Accept);
    }

    /// Notes what a rule has to say: what is configured, and no less than this.
    fn at_least(
        &self,
        found: &mut Authenticity,
        rule: &'static str,
        evidence: &str,
        least: Verdict,
    ) {
        self.say(found, rule, evidence, |verdict| verdict.max(least));
    }

    /// The same, and no more than this.
    fn at_most(&self, found: &mut Authenticity, rule: &'static str, evidence: &str, most: Verdict) {
        self.say(found, rule, evidence, |verdict| verdict.min(most));
    }

    fn say(
        &self,
        found: &mut Authenticity,
        rule: &'static str,
        evidence: &str,
        bound: impl Fn(Verdict) -> Verdict,
    ) {
        let Some((_, usual, text)) = RULES.iter().find(|(name, _, _)| *name == rule) else {
            return;
        };
        let verdict = bound(self.policy.actions.get(rule).copied().unwrap_or(*usual));
        if let Some(same) = found.reasons.iter_mut().find(|reason| reason.rule == rule) {
            same.verdict = same.verdict.max(verdict);
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
    /// headers, counted from one, and where they lie (RFC 8601 section 5). A reason to refuse where they are too many.
    pub(super) fn forged_results(&self, message: &[u8]) -> (Vec<Forged>, Option<Reason>) {
        let id = self.id.to_ascii_lowercase();
        let all = fields(message).filter(|field| field.is("Authentication-Results"));
        let numbered = (1_u32..).zip(all);
        let ours = numbered.filter(|(_, field)| authserv_id(field.value) == id);
        let ours = ours.map(|(nth, field)| (nth, field.place));
        let found: Vec<Forged> = ours.take(MOST_FORGED + 1).collect();
        if found.len() <= MOST_FORGED {
            return (found, None);
        }
        let mut said = Authenticity::default();
        let evidence = format!("more than {MOST_FORGED}");
        // Whatever is configured: those that are left would be believed.
        self.at_least(&mut said, "forged-results", &evidence, Verdict::Refuse);
        (Vec::new(), said.reasons.pop())
    }
}

/// The number of a header among those of its name, and where it lies.
pub(super) type Forged = (u32, std::ops::Range<usize>);

/// What is known of a sender before there is any content.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) spf: (SpfResult, String),
    pub(super) reason: Option<Reason>,
}

/// The domain that SPF is asked of.
fn sender_domain(subject: &Subject) -> &str {
    let domain = subject.sender.rsplit_once('@').map(|(_, domain)| domain);
    domain.unwrap_or(&subject.hello)
}

/// What was found out of the sender, apart from what DMARC makes of it.
struct Evidence {
    /// The envelope's, in canonical form.
    sender_domain: String,
    spf: SpfResult,
    /// Domains whose signatures hold.
    signed: Vec<String>,
    /// Domains whose signatures could not be checked for want of an answer.
    unanswered: Vec<String>,
}

impl Evidence {
    /// `late` is the message where its signatures were not checked in time.
    fn new(
        sender_domain: &str,
        spf: SpfResult,
        dkim: &[DkimOutput<'_>],
        late: Option<&AuthenticatedMessage<'_>>,
    ) -> Self {
        let of = |fits: fn(&DkimResult) -> bool| {
            let all = dkim.iter().filter(move |one| fits(one.result()));
            all.filter_map(|one| one.signature())
                .map(|signature| canonical(&signature.d))
                .collect::<Vec<String>>()
        };
        let mut unanswered = of(|result| matches!(result, DkimResult::TempError(_)));
        let unchecked = late.into_iter().flat_map(|message| &message.dkim_headers);
        unanswered.extend(unchecked.map(|header| canonical(&header.header.d)));
        Self {
            sender_domain: canonical(sender_domain),
            spf,
            signed: of(|result| result == &DkimResult::Pass),
            unanswered,
        }
    }

    /// Whether something that could speak for this domain was not answered. What is broken of another domain says
    /// nothing: the sender could break it himself.
    fn misses(&self, domain: &str) -> bool {
        let spf = self.spf == SpfResult::TempError && related(domain, &self.sender_domain);
        spf || self.unanswered.iter().any(|other| related(domain, other))
    }
}

/// Whether two domains may be of one organization, at a guess that leaves none out that is.
fn related(domain: &str, other: &str) -> bool {
    is_below(domain, other)
        || is_below(other, domain)
        || organization(domain) == organization(other)
}

/// Whether results say that DMARC passed; comments and quoted texts, which a stranger may have written, say nothing.
fn says_dmarc_pass(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let mut plain = String::new();
    let (mut depth, mut quoted) = (0_u32, false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            c if !quoted && depth == 0 => plain.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    plain.split(';').any(|part| {
        let mut words = part.split_whitespace();
        words.next() == Some("dmarc=pass")
    })
}

/// The mailboxes of every From.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// Not more than [`MOST_MAILBOXES`].
    pub(super) mailboxes: Vec<Mailbox>,
    headers: usize,
    /// There are no others.
    whole: bool,
    /// Two readers may see different addresses in one header.
    ambiguous: bool,
}

impl Senders {
    pub(super) fn of(message: &[u8]) -> Self {
        let mut found = Self {
            whole: true,
            ..Self::default()
        };
        for field in fields(message).filter(|field| field.is("From")) {
            found.headers += 1;
            let room = MOST_MAILBOXES - found.mailboxes.len();
            let value = field.value.get(..LONGEST_FROM).unwrap_or(field.value);
            found.whole &= room > 0 && value.len() == field.value.len();
            if room == 0 {
                continue;
            }
            let read = from::mailboxes(value, room);
            found.whole &= !read.more;
            found.ambiguous |= read.ambiguous;
            found.mailboxes.extend(read.list);
        }
        found
    }
}

/// Why the signatures of a message are not looked at: there are too many, or one is too long. To check one, whoever
/// made the message may let each of its headers be searched for thousands of times.
fn beyond(message: &[u8]) -> Option<String> {
    let (mut headers, mut signatures, mut longest) = (0, 0, 0);
    for field in fields(message) {
        headers += 1;
        let is_one = [
            "DKIM-Signature",
            "ARC-Seal",
            "ARC-Message-Signature",
            "DKIM2-Signature",
        ];
        if is_one.iter().any(|name| field.is(name)) {
            // An ARC set has two.
            signatures += usize::from(!field.is("ARC-Message-Signature"));
            longest = longest.max(field.value.len());
        }
    }
    if signatures > MOST_SIGNATURES {
        Some(signatures.to_string())
    } else if signatures > 0 && longest > LONGEST_SIGNATURE {
        Some(format!("one of {longest} octets"))
    } else if signatures > 0 && headers > MOST_HEADERS {
        Some(format!("{signatures} over {headers} headers"))
    } else {
        None
    }
}

/// The last two labels: near enough to tell strangers apart. What passes stands on DMARC's own walk, or on the site's own
/// domains.
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
    fn only_the_sealers_own_word_says_that_dmarc_passed() {
        for (value, passed) in [
            (
                &b" i=1; lists.example; spf=fail; dmarc=pass (p=reject) header.from=x"[..],
                true,
            ),
            (b" i=1; lists.example; dmarc=fail header.from=x", false),
            (
                b" i=1; lists.example; spf=pass smtp.mailfrom=\"; dmarc=pass\"@x; dmarc=fail",
                false,
            ),
            (b" i=1; lists.example; dmarc=fail (; dmarc=pass)", false),
            (b" i=1; lists.example; x-dmarc=pass", false),
        ] {
            assert_eq!(says_dmarc_pass(value), passed, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn of_more_mailboxes_than_anybody_writes_only_some_are_looked_at() {
        let few = b"From: a@a.example, \"B\" <b@b.example>\r\nfrom: c@c.example\r\n\r\n";
        let few = Senders::of(few);
        assert_eq!((few.mailboxes.len(), few.headers, few.whole), (3, 2, true));
        let many = (0..60).map(|nth| format!("From: a@{nth}.example, a@{nth}.test\r\n"));
        let many = Senders::of(many.collect::<String>().as_bytes());
        assert_eq!(many.mailboxes.len(), MOST_MAILBOXES);
        assert_eq!((many.headers, many.whole), (60, false));
        let long = format!("From: {}a@a.example\r\n", " ".repeat(LONGEST_FROM));
        assert!(!Senders::of(long.as_bytes()).whole);
    }

    #[test]
    fn each_mailbox_is_an_author_once() {
        for (value, domains) in [
            ("a @ a.example", &["a.example"][..]),
            (
                "a @ a.example, b @ b.example, c @ c.example",
                &["a.example", "b.example", "c.example"],
            ),
            ("Boss <boss@own\r\n .example>", &["own.example"]),
        ] {
            let found = Senders::of(format!("From: {value}\r\n\r\n").as_bytes());
            let all: Vec<&str> = found.mailboxes.iter().map(Mailbox::domain).collect();
            assert_eq!(all, domains, "{value}");
            assert!(found.whole && !found.ambiguous, "{value}");
        }
        let two = Senders::of(b"From: <boss@own.example> <a@x.example>\r\n\r\n");
        assert!(two.ambiguous);
    }

    #[test]
    fn signatures_that_would_cost_too_much_are_not_looked_at() {
        let signature = "DKIM-Signature: v=1; d=a.example; h=from:to\r\n";
        let headers = |count: usize| "X: y\r\n".repeat(count);
        let names = "a:".repeat(LONGEST_SIGNATURE);
        assert_eq!(beyond(signature.repeat(MOST_SIGNATURES).as_bytes()), None);
        assert_eq!(beyond(headers(MOST_HEADERS + 1).as_bytes()), None);
        for too_much in [
            signature.repeat(MOST_SIGNATURES + 1),
            format!("ARC-Message-Signature: i=1; h={names}\r\nARC-Seal: i=1\r\n"),
            format!("DKIM-Signature: v=1; h={names}\r\n"),
            format!("{signature}{}", headers(MOST_HEADERS)),
        ] {
            assert!(beyond(too_much.as_bytes()).is_some(), "{too_much:.100}");
        }
    }

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
