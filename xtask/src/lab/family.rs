//! The families of mail hosts the lab can build.

use std::fmt;
use std::str::FromStr;

use super::error::LabError;

/// One kind of mail host: a Debian release and the mail software on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Dovecot behind Postfix, on bookworm.
    Dovecot,
    /// Exim, on trixie.
    Exim,
    /// Postfix, on bullseye.
    Postfix,
}

impl Family {
    /// All of them, in the order in which `lab up` deals them out.
    pub const ALL: [Self; 3] = [Self::Postfix, Self::Exim, Self::Dovecot];

    /// Its name on the command line and in the inventory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dovecot => "dovecot",
            Self::Exim => "exim",
            Self::Postfix => "postfix",
        }
    }

    /// The Debian release it runs on.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Dovecot => "bookworm",
            Self::Exim => "trixie",
            Self::Postfix => "bullseye",
        }
    }

    /// The binary packages there is an old and a new version of, all of one source; the first decides.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Dovecot => &["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"],
            Self::Exim => &["exim4-daemon-light", "exim4-base", "exim4-config"],
            Self::Postfix => &["postfix"],
        }
    }

    /// What else is installed, from the archive as it is.
    pub(super) fn companions(self) -> &'static [&'static str] {
        match self {
            Self::Dovecot => &["postfix"],
            Self::Exim | Self::Postfix => &[],
        }
    }

    /// Which service of the fleet file it carries.
    pub fn service(self) -> &'static str {
        match self {
            Self::Dovecot => "mailbox",
            Self::Exim => "submission",
            Self::Postfix => "inbound-mx",
        }
    }

    /// The made-up CVE that a synthetic patch "fixes". The form is a real one's, so only a feed made
    /// for a test should be read beside it.
    pub fn made_up_cve(self) -> &'static str {
        match self {
            Self::Dovecot => "CVE-2026-90003",
            Self::Exim => "CVE-2026-90002",
            Self::Postfix => "CVE-2026-90001",
        }
    }

    /// Answers to the questions Debian's packages ask at installation.
    pub(super) fn debconf(self) -> &'static str {
        match self {
            Self::Dovecot | Self::Postfix => {
                "postfix postfix/main_mailer_type select Internet Site\n\
                 postfix postfix/mailname string lab.test\n"
            }
            Self::Exim => {
                "exim4-config exim4/dc_eximconfig_configtype select internet site; mail is sent and received directly using SMTP\n\
                 exim4-config exim4/mailname string lab.test\n"
            }
        }
    }

    /// The script that sets it up, starts and stops it.
    pub(super) fn script(self) -> &'static str {
        match self {
            Self::Dovecot => include_str!("scripts/dovecot.sh"),
            Self::Exim => include_str!("scripts/exim.sh"),
            Self::Postfix => include_str!("scripts/postfix.sh"),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let found = Self::ALL.into_iter().find(|family| family.name() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            LabError::BadArgument(format!("no family {text:?}; there are {known}"))
        })
    }
}
