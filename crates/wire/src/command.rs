//! Command lines (RFC 5321 section 4.1).
//!
//! Entry: [`Command::parse`], for a line without its CRLF. Says what was asked and whether it may be written so;
//! whether it may come now is the session's matter.

use crate::address::{self, Domain, Path};
use crate::auth::{AuthData, Mechanism};
use crate::offer::Offer;
use crate::parameters::{MailParameters, RecipientParameters};
use crate::rules::Rule;

/// The longest line of a command without an extension, with its CRLF (RFC 5321 section 4.5.3.1.4).
const LONGEST: usize = 512;
/// The longest line of an AUTH exchange (RFC 4954 section 4).
pub(crate) const LONGEST_AUTH: usize = 12288;

/// A command that may be written so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// AUTH
    Auth {
        /// Its mechanism, which is on offer.
        mechanism: Mechanism,
        /// What came with it.
        initial: Option<AuthData>,
    },
    /// DATA
    Data,
    /// EHLO, or HELO where `extended` is false.
    Hello {
        /// EHLO.
        extended: bool,
        /// What the client calls itself.
        name: Domain,
    },
    /// EXPN
    Expand,
    /// HELP
    Help,
    /// MAIL
    Mail {
        /// The sender.
        from: Path,
        /// Its parameters.
        parameters: MailParameters,
    },
    /// NOOP
    Noop,
    /// QUIT
    Quit,
    /// RCPT
    Recipient {
        /// The recipient; never `<>`.
        to: Path,
        /// Its parameters.
        parameters: RecipientParameters,
    },
    /// RSET
    Reset,
    /// STARTTLS
    StartTls,
    /// VRFY
    Verify,
}

/// The verb of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// AUTH
    Auth,
    /// DATA
    Data,
    /// EHLO
    Ehlo,
    /// EXPN
    Expn,
    /// HELO
    Helo,
    /// HELP
    Help,
    /// MAIL
    Mail,
    /// NOOP
    Noop,
    /// QUIT
    Quit,
    /// RCPT
    Rcpt,
    /// RSET
    Rset,
    /// STARTTLS
    StartTls,
    /// VRFY
    Vrfy,
}

/// Why a line is refused: the rule it breaks.
pub type CommandError = Rule;

impl Command {
    /// Reads a line without its CRLF. Also returns the rules that only some policies hold against it.
    pub fn parse(line: &[u8], offer: &Offer) -> Result<(Self, Vec<Rule>), CommandError> {
        if line.iter().any(|octet| is_control(*octet)) {
            return Err(Rule::ControlInCommand);
        }
        let end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (word, rest) = line.split_at_checked(end).unwrap_or((line, b""));
        let verb = Verb::read(word)?;
        // With its CRLF.
        let length = line.len() + 2;
        let longest = match verb {
            Verb::Mail => offer.longest_mail(),
            Verb::Rcpt => offer.longest_recipient(),
            Verb::Auth if !offer.auth.is_empty() => LONGEST_AUTH,
            _ => LONGEST,
        };
        if length > longest {
            return Err(Rule::CommandTooLong);
        }
        let rest = rest.trim_ascii_end();
        let argument = rest.trim_ascii_start();
        let alone = |command| match argument {
            b"" => Ok((command, Vec::new())),
            _ => Err(Rule::CommandSyntax),
        };
        match verb {
            Verb::Auth => auth(argument, offer),
            Verb::Data => alone(Self::Data),
            Verb::Ehlo => hello(argument, true),
            Verb::Expn => Ok((Self::Expand, Vec::new())),
            Verb::Helo => hello(argument, false),
            Verb::Help => Ok((Self::Help, Vec::new())),
            Verb::Mail => mail(argument, offer),
            // What follows NOOP means nothing (RFC 5321 section 4.1.1.9), and goes no further.
            Verb::Noop => Ok((Self::Noop, Vec::new())),
            Verb::Quit => alone(Self::Quit),
            Verb::Rcpt => recipient(argument, offer),
            Verb::Rset => alone(Self::Reset),
            Verb::StartTls => alone(Self::StartTls),
            Verb::Vrfy => Ok((Self::Verify, Vec::new())),
        }
    }

    /// Whether the client must wait for the answer before it sends more (RFC 2920 section 3.1).
    pub fn must_be_awaited(&self) -> bool {
        match self {
            Self::Auth { .. } | Self::Data | Self::Hello { .. } | Self::Quit | Self::StartTls => {
                true
            }
            Self::Expand
            | Self::Help
            | Self::Mail { .. }
            | Self::Noop
            | Self::Recipient { .. }
            | Self::Reset
            | Self::Verify => false,
        }
    }

    /// The line with its CRLF, written anew for a server that offers what its parameters need.
    pub fn to_wire(&self) -> String {
        match self {
            Self::Auth { mechanism, initial } => {
                let data = match initial {
                    None => "",
                    // RFC 4954 section 4: what is empty is written so.
                    Some(data) if data.as_str().is_empty() => " =",
                    Some(data) => {
                        return format!("AUTH {} {}\r\n", mechanism.name(), data.as_str());
                    }
                };
                format!("AUTH {}{data}\r\n", mechanism.name())
            }
            Self::Data => "DATA\r\n".to_owned(),
            Self::Expand => "EXPN\r\n".to_owned(),
            Self::Hello { extended, name } => {
                let verb = if *extended { "EHLO" } else { "HELO" };
                format!("{verb} {}\r\n", name.as_str())
            }
            Self::Help => "HELP\r\n".to_owned(),
            Self::Mail { from, parameters } => {
                format!("MAIL FROM:{}{}\r\n", from.to_wire(), parameters.to_wire())
            }
            Self::Noop => "NOOP\r\n".to_owned(),
            Self::Quit => "QUIT\r\n".to_owned(),
            Self::Recipient { to, parameters } => {
                format!("RCPT TO:{}{}\r\n", to.to_wire(), parameters.to_wire())
            }
            Self::Reset => "RSET\r\n".to_owned(),
            Self::StartTls => "STARTTLS\r\n".to_owned(),
            Self::Verify => "VRFY\r\n".to_owned(),
        }
    }
}

impl Verb {
    fn read(word: &[u8]) -> Result<Self, Rule> {
        Ok(match word.to_ascii_uppercase().as_slice() {
            b"AUTH" => Self::Auth,
            b"DATA" => Self::Data,
            b"EHLO" => Self::Ehlo,
            b"EXPN" => Self::Expn,
            b"HELO" => Self::Helo,
            b"HELP" => Self::Help,
            b"MAIL" => Self::Mail,
            b"NOOP" => Self::Noop,
            b"QUIT" => Self::Quit,
            b"RCPT" => Self::Rcpt,
            b"RSET" => Self::Rset,
            b"STARTTLS" => Self::StartTls,
            b"VRFY" => Self::Vrfy,
            b"BDAT" => return Err(Rule::Chunking),
            b"PROXY" | b"XCLIENT" | b"XFORWARD" => return Err(Rule::ProxyCommand),
            b"CONNECT" | b"DELETE" | b"GET" | b"HEAD" | b"OPTIONS" | b"PATCH" | b"POST"
            | b"PRI" | b"PUT" | b"TRACE" | b"USER" | b"HOST:" | b"INVITE" | b"RTSP"
            | b"SSH-2.0" => {
                return Err(Rule::ForeignProtocol);
            }
            _ => return Err(Rule::UnknownVerb),
        })
    }
}

/// C0 and DEL. 0xFF is never UTF-8, and refused as such.
fn is_control(octet: u8) -> bool {
    (octet < b' ' && octet != b'\t') || octet == 0x7f
}

fn hello(argument: &[u8], extended: bool) -> Result<(Command, Vec<Rule>), Rule> {
    if !argument.is_ascii() {
        return Err(Rule::GreetingSyntax);
    }
    // A dot at the end is a full name too, and common; it does not go on.
    let name = argument.strip_suffix(b".").unwrap_or(argument);
    let name = Domain::parse(name).map_err(|rule| match rule {
        Rule::DomainTooLong => rule,
        _ => Rule::GreetingSyntax,
    })?;
    Ok((Command::Hello { extended, name }, Vec::new()))
}

fn auth(argument: &[u8], offer: &Offer) -> Result<(Command, Vec<Rule>), Rule> {
    if offer.auth.is_empty() {
        return Err(Rule::AuthNotOffered);
    }
    let end = memchr::memchr(b' ', argument).unwrap_or(argument.len());
    let (name, initial) = argument.split_at_checked(end).unwrap_or((argument, b""));
    if name.is_empty() {
        return Err(Rule::CommandSyntax);
    }
    let name = std::str::from_utf8(name).ok().ok_or(Rule::CommandSyntax)?;
    let mechanism = Mechanism::named(name).filter(|known| offer.auth.contains(*known));
    let mechanism = mechanism.ok_or(Rule::AuthMechanism)?;
    let initial = match initial.strip_prefix(b" ") {
        None => None,
        Some(b"=") => Some(AuthData::parse(mechanism, b"")),
        Some(data) => Some(AuthData::parse(mechanism, data)),
    };
    let initial = initial.transpose()?;
    Ok((Command::Auth { mechanism, initial }, Vec::new()))
}

fn mail(argument: &[u8], offer: &Offer) -> Result<(Command, Vec<Rule>), Rule> {
    let argument = after_keyword(argument, b"FROM:")?;
    let parsed = address::parse(argument)?;
    if parsed.path == Path::Postmaster {
        // Only a recipient may be named so; as a sender it is an address without a domain.
        return Err(Rule::AddressWithoutDomain);
    }
    let parameters = MailParameters::parse(parsed.rest, offer)?;
    if parsed.path.needs_utf8() && !parameters.utf8 {
        return Err(Rule::NotAsciiEnvelope);
    }
    let from = parsed.path;
    Ok((Command::Mail { from, parameters }, parsed.noticed))
}

fn recipient(argument: &[u8], offer: &Offer) -> Result<(Command, Vec<Rule>), Rule> {
    let argument = after_keyword(argument, b"TO:")?;
    let parsed = address::parse(argument)?;
    if parsed.path == Path::Null {
        return Err(Rule::AddressSyntax);
    }
    let parameters = RecipientParameters::parse(parsed.rest, offer)?;
    let to = parsed.path;
    Ok((Command::Recipient { to, parameters }, parsed.noticed))
}

/// What follows `FROM:` or `TO:`. A space after the colon is not allowed, and everywhere.
fn after_keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Result<&'a [u8], Rule> {
    let (head, rest) = argument
        .split_at_checked(keyword.len())
        .ok_or(Rule::CommandSyntax)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(Rule::CommandSyntax);
    }
    Ok(rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, expected: &str) {
        let got = match Command::parse(line.as_bytes(), &Offer::everything()) {
            Ok((command, _)) => command.to_wire().trim_end().to_owned(),
            Err(rule) => format!("! {}", rule.name()),
        };
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn commands_are_written_anew() {
        check("ehlo mx_1.example.org.", "EHLO mx_1.example.org");
        check("HELO [192.0.2.1]", "HELO [192.0.2.1]");
        check("mail from: <a@b> size=3", "MAIL FROM:<a@b> SIZE=3");
        check("Rcpt To:<Postmaster>", "RCPT TO:<postmaster>");
        check("DATA ", "DATA");
        check("NOOP \"unbalanced", "NOOP");
        check("auth login", "AUTH LOGIN");
        check("AUTH PLAIN AHVzZXIAc2VjcmV0", "AUTH PLAIN AHVzZXIAc2VjcmV0");
        check("AUTH XOAUTH2 =", "AUTH XOAUTH2 =");
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        check("EHLO", "! greeting-syntax");
        check("EHLO o'brien", "! greeting-syntax");
        check("EHLO b\u{fc}cher.example", "! greeting-syntax");
        check("MAIL <a@b>", "! command-syntax");
        check("MAIL FROM", "! command-syntax");
        check("MAIL FROM:<postmaster>", "! address-without-domain");
        check("RCPT TO:<>", "! address-syntax");
        check("DATA now", "! command-syntax");
        check("BDAT 3 LAST", "! chunking");
        check("ETRN x", "! unknown-verb");
        check("", "! unknown-verb");
        check("GET / HTTP/1.1", "! foreign-protocol");
        check("XCLIENT ADDR=192.0.2.1", "! proxy-command");
        check("EHLO a\0b", "! control-in-command");
        check("AUTH", "! command-syntax");
        check("AUTH NTLM", "! auth-mechanism");
        check("AUTH SCRAM-SHA-256-PLUS", "! auth-mechanism");
        check("AUTH PLAIN AHVzZXIAc2VjcmV", "! auth-base64");
        check("AUTH PLAIN AHVz\tZXIA", "! auth-base64");
        check("AUTH PLAIN  AHVzZXIAc2VjcmV0", "! auth-base64");
        check("AUTH PLAIN =", "! auth-nul");
        check(
            &format!("AUTH LOGIN {}", "A".repeat(12280)),
            "! command-too-long",
        );
        check("MAIL FROM:<\u{fc}@b>", "! not-ascii-envelope");
        check(&format!("NOOP {}", "a".repeat(508)), "! command-too-long");
        check(&format!("EHLO {}", "a.".repeat(200)), "! domain-too-long");
    }

    proptest! {
        #[test]
        fn what_was_written_anew_is_read_as_equal(line in r"(MAIL FROM:|RCPT TO:)<[a-z.]{1,8}@[a-z]{1,5}>( SIZE=[0-9]{1,5}| NOTIFY=NEVER| BODY=7BIT| SMTPUTF8){0,3}") {
            if let Ok((command, _)) = Command::parse(line.as_bytes(), &Offer::everything()) {
                let wire = command.to_wire();
                let again = Command::parse(wire.trim_end().as_bytes(), &Offer::everything());
                prop_assert_eq!(again.map(|(command, _)| command), Ok(command));
            }
        }

        #[test]
        fn any_octets_are_survived(line in proptest::collection::vec(any::<u8>(), 0..600)) {
            drop(Command::parse(&line, &Offer::everything()));
        }
    }
}
