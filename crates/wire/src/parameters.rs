//! Parameters of MAIL and RCPT (RFC 1870, 3461, 4954, 6152, 6531).
//!
//! Entry: [`MailParameters::parse`], [`RecipientParameters::parse`]. What was read is written anew by `to_wire`;
//! a parameter that is not known here never goes on.

use std::fmt::Write as _;

use crate::offer::Offer;
use crate::rules::Rule;

/// Longest ENVID, decoded or not (RFC 3461 section 4.4).
const MAX_ENVID: usize = 100;
/// Longest ORCPT (RFC 3461 section 4.2).
const MAX_ORCPT: usize = 500;
/// Longest AUTH (RFC 4954 section 5).
const MAX_AUTH: usize = 500;

/// Why parameters are refused: the rule they break.
pub type ParameterError = Rule;

/// What the body is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`
    SevenBit,
    /// `8BITMIME`
    EightBitMime,
}

/// What a notification returns of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its headers.
    Headers,
}

/// When the sender wants to be told; all false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it cannot be delivered.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

/// Text encoded as RFC 3461 section 4 has it, kept encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Xtext(String);

/// What follows the path of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// SIZE, in octets.
    pub size: Option<u64>,
    /// BODY.
    pub body: Option<Body>,
    /// SMTPUTF8.
    pub utf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID.
    pub envelope_id: Option<Xtext>,
    /// AUTH, the submitter; `<>` where it is not known.
    pub auth: Option<Xtext>,
}

/// What follows the path of RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipientParameters {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT: the type of address, and the address.
    pub original: Option<(String, Xtext)>,
}

impl Xtext {
    /// `xchar` and `hexchar`, none of which may decode to a control character (CVE-2020-28021).
    fn parse(text: &str, longest: usize) -> Result<Self, Rule> {
        if text.is_empty() || text.len() > longest {
            return Err(Rule::ParameterSyntax);
        }
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            match octet {
                b'+' => {
                    let (Some(high), Some(low)) = (hex(octets.next()), hex(octets.next())) else {
                        return Err(Rule::ParameterSyntax);
                    };
                    let decoded = high << 4 | low;
                    if decoded < b' ' || decoded == 0x7f {
                        return Err(Rule::ParameterControl);
                    }
                }
                // The double quote is an xchar, and was a way into Exim (CVE-2020-28022).
                b'=' | b'"' => return Err(Rule::ParameterSyntax),
                b'!'..=b'~' => {}
                _ => return Err(Rule::ParameterSyntax),
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Encoded addresses are addresses.
impl std::fmt::Debug for Xtext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("...")
    }
}

/// RFC 3461 wants upper case.
fn hex(octet: Option<u8>) -> Option<u8> {
    match octet? {
        octet @ b'0'..=b'9' => Some(octet - b'0'),
        octet @ b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

impl MailParameters {
    /// Reads ` KEY=VALUE KEY ...`, as it stands behind the path. Only what was offered is taken.
    pub fn parse(rest: &[u8], offer: &Offer) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (key, value) in split(rest)? {
            match key.to_ascii_uppercase().as_str() {
                "SIZE" if offer.size.is_some() => {
                    let size = decimal(value).ok_or(Rule::ParameterSyntax)?;
                    once(&mut parameters.size, size)?;
                }
                "BODY" if offer.eight_bit => {
                    let body = match value.map(str::to_ascii_uppercase).as_deref() {
                        Some("7BIT") => Body::SevenBit,
                        Some("8BITMIME") => Body::EightBitMime,
                        // RFC 3030, which is never offered.
                        Some("BINARYMIME") => return Err(Rule::ParameterNotOffered),
                        _ => return Err(Rule::ParameterSyntax),
                    };
                    once(&mut parameters.body, body)?;
                }
                "SMTPUTF8" if offer.utf8 => {
                    if value.is_some() || parameters.utf8 {
                        return Err(Rule::ParameterSyntax);
                    }
                    parameters.utf8 = true;
                }
                "RET" if offer.dsn => {
                    let part = match value.map(str::to_ascii_uppercase).as_deref() {
                        Some("FULL") => Ret::Full,
                        Some("HDRS") => Ret::Headers,
                        _ => return Err(Rule::ParameterSyntax),
                    };
                    once(&mut parameters.ret, part)?;
                }
                "ENVID" if offer.dsn => {
                    let id = Xtext::parse(value.unwrap_or_default(), MAX_ENVID)?;
                    once(&mut parameters.envelope_id, id)?;
                }
                "AUTH" if !offer.auth.is_empty() => {
                    let auth = Xtext::parse(value.unwrap_or_default(), MAX_AUTH)?;
                    once(&mut parameters.auth, auth)?;
                }
                _ => return Err(Rule::ParameterNotOffered),
            }
        }
        Ok(parameters)
    }

    /// Written anew, each with a space before it.
    pub fn to_wire(&self) -> String {
        let mut text = String::new();
        if let Some(size) = self.size {
            write!(text, " SIZE={size}").ok();
        }
        match self.body {
            Some(Body::SevenBit) => text.push_str(" BODY=7BIT"),
            Some(Body::EightBitMime) => text.push_str(" BODY=8BITMIME"),
            None => {}
        }
        if self.utf8 {
            text.push_str(" SMTPUTF8");
        }
        match self.ret {
            Some(Ret::Full) => text.push_str(" RET=FULL"),
            Some(Ret::Headers) => text.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(id) = &self.envelope_id {
            write!(text, " ENVID={}", id.0).ok();
        }
        if let Some(auth) = &self.auth {
            write!(text, " AUTH={}", auth.0).ok();
        }
        text
    }

    /// Whether a server that offers this much can take it.
    pub fn fits(&self, offer: &Offer) -> bool {
        (self.size.is_none() || offer.size.is_some())
            && (self.body.is_none() || offer.eight_bit)
            && (!self.utf8 || offer.utf8)
            && (offer.dsn || (self.ret.is_none() && self.envelope_id.is_none()))
            && (self.auth.is_none() || !offer.auth.is_empty())
    }
}

impl RecipientParameters {
    /// Reads what stands behind the path of RCPT. Only what was offered is taken.
    pub fn parse(rest: &[u8], offer: &Offer) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (key, value) in split(rest)? {
            match key.to_ascii_uppercase().as_str() {
                "NOTIFY" if offer.dsn => {
                    let notify = Notify::parse(value.unwrap_or_default());
                    once(&mut parameters.notify, notify.ok_or(Rule::ParameterSyntax)?)?;
                }
                "ORCPT" if offer.dsn => {
                    let value = value.unwrap_or_default();
                    if value.len() > MAX_ORCPT {
                        return Err(Rule::ParameterSyntax);
                    }
                    let (kind, address) = value.split_once(';').ok_or(Rule::ParameterSyntax)?;
                    let is_atom = |c: char| c.is_ascii_alphanumeric() || c == '-';
                    if kind.is_empty() || !kind.chars().all(is_atom) {
                        return Err(Rule::ParameterSyntax);
                    }
                    let address = Xtext::parse(address, MAX_ORCPT)?;
                    once(&mut parameters.original, (kind.to_owned(), address))?;
                }
                _ => return Err(Rule::ParameterNotOffered),
            }
        }
        Ok(parameters)
    }

    /// Whether a server that offers this much can take it.
    pub fn fits(&self, offer: &Offer) -> bool {
        offer.dsn || (self.notify.is_none() && self.original.is_none())
    }

    /// Written anew, each with a space before it.
    pub fn to_wire(&self) -> String {
        let mut text = String::new();
        if let Some(notify) = self.notify {
            write!(text, " NOTIFY={}", notify.to_wire()).ok();
        }
        if let Some((kind, address)) = &self.original {
            write!(text, " ORCPT={kind};{}", address.0).ok();
        }
        text
    }
}

impl Notify {
    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Some(Self::default());
        }
        let mut notify = Self::default();
        for word in text.split(',') {
            let slot = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return None,
            };
            if *slot {
                return None;
            }
            *slot = true;
        }
        Some(notify)
    }

    fn to_wire(self) -> String {
        let words: Vec<&str> = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ]
        .into_iter()
        .filter_map(|(wanted, word)| wanted.then_some(word))
        .collect();
        if words.is_empty() {
            "NEVER".to_owned()
        } else {
            words.join(",")
        }
    }
}

/// Keys and values of ` KEY=VALUE KEY`. Several spaces are one; nothing but printable ASCII and UTF-8 stands here.
fn split(rest: &[u8]) -> Result<Vec<(&str, Option<&str>)>, Rule> {
    let text = std::str::from_utf8(rest)
        .ok()
        .ok_or(Rule::NotAsciiEnvelope)?;
    let words = text.split(' ').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            let is_key = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if key.is_empty() || !key.chars().all(is_key) || !word.is_ascii() {
                return Err(Rule::ParameterSyntax);
            }
            Ok((key, value))
        })
        .collect()
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Rule> {
    if slot.replace(value).is_some() {
        return Err(Rule::ParameterSyntax);
    }
    Ok(())
}

/// One to twenty digits (RFC 1870 section 5).
fn decimal(value: Option<&str>) -> Option<u64> {
    let value = value?;
    let digits =
        !value.is_empty() && value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_mail(rest: &str, expected: Result<&str, Rule>) {
        let got = MailParameters::parse(rest.as_bytes(), &Offer::everything());
        let got = got.map(|parameters| parameters.to_wire());
        assert_eq!(got, expected.map(str::to_owned), "{rest}");
    }

    fn check_recipient(rest: &str, expected: Result<&str, Rule>) {
        let got = RecipientParameters::parse(rest.as_bytes(), &Offer::everything());
        let got = got.map(|parameters| parameters.to_wire());
        assert_eq!(got, expected.map(str::to_owned), "{rest}");
    }

    #[test]
    fn parameters_on_offer_are_written_anew() {
        check_mail(
            " size=1000  body=8bitmime SMTPUTF8",
            Ok(" SIZE=1000 BODY=8BITMIME SMTPUTF8"),
        );
        check_mail(
            " RET=HDRS ENVID=QQ+2B314159",
            Ok(" RET=HDRS ENVID=QQ+2B314159"),
        );
        check_mail(" AUTH=e+3Dmc2@example.com", Ok(" AUTH=e+3Dmc2@example.com"));
        check_mail(" AUTH=<>", Ok(" AUTH=<>"));
        check_recipient(" NOTIFY=DELAY,success", Ok(" NOTIFY=SUCCESS,DELAY"));
        check_recipient(" NOTIFY=NEVER", Ok(" NOTIFY=NEVER"));
        check_recipient(
            " ORCPT=rfc822;Bob@example.com",
            Ok(" ORCPT=rfc822;Bob@example.com"),
        );
    }

    #[test]
    fn abuse_of_parameters_is_refused() {
        let syntax = Err(Rule::ParameterSyntax);
        for rest in [
            " SIZE=",
            " SIZE=-1",
            " SIZE=1 SIZE=1",
            " SIZE=999999999999999999999",
            " BODY=",
            " SMTPUTF8=1",
            " =",
            " RET=BOTH",
            " ENVID=",
            " ENVID=a+4",
            " ENVID=a+4g",
            " ENVID=a\"b",
            " AUTH=a=b",
            " a\u{e9}=b",
        ] {
            check_mail(rest, syntax);
        }
        check_mail(&format!(" ENVID={}", "a".repeat(101)), syntax);
        check_mail(" AUTH=a+0D+0AEvil:", Err(Rule::ParameterControl));
        check_mail(" XEVIL=1", Err(Rule::ParameterNotOffered));
        check_mail(" BODY=BINARYMIME", Err(Rule::ParameterNotOffered));
        for rest in [
            " NOTIFY=",
            " NOTIFY=NEVER,DELAY",
            " NOTIFY=DELAY,DELAY",
            " ORCPT=a",
            " ORCPT=;a",
        ] {
            check_recipient(rest, syntax);
        }
        check_recipient(" ORCPT=rfc822;a+0A", Err(Rule::ParameterControl));
        check_recipient(" SIZE=1", Err(Rule::ParameterNotOffered));
    }

    #[test]
    fn what_is_not_on_offer_is_refused() {
        let got = MailParameters::parse(b" SIZE=1", &Offer::default());
        assert_eq!(got, Err(Rule::ParameterNotOffered));
    }
}
