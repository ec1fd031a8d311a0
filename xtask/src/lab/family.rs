//! The families of mail hosts the lab can build.

use std::fmt;
use std::str::FromStr;

use super::error::LabError;

/// One kind of mail host: a Debian release and the mail software on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Cyrus behind Postfix, on bookworm.
    Cyrus,
    /// Dovecot behind Postfix, on bookworm.
    Dovecot,
    /// Exim, on trixie.
    Exim,
    /// `HAProxy`, a front end without mailboxes or queue, on trixie.
    Haproxy,
    /// `OpenSMTPD`, on trixie.
    Opensmtpd,
    /// Postfix, on bullseye.
    Postfix,
    /// Sendmail, on bookworm.
    Sendmail,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Postfix,
        Self::Exim,
        Self::Dovecot,
        Self::Sendmail,
        Self::Opensmtpd,
        Self::Cyrus,
        Self::Haproxy,
    ];

    /// Those that `lab up` deals out where none are named, in this order.
    pub const USUAL: [Self; 3] = [Self::Postfix, Self::Exim, Self::Dovecot];

    /// Its name on the command line and in the inventory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cyrus => "cyrus",
            Self::Dovecot => "dovecot",
            Self::Exim => "exim",
            Self::Haproxy => "haproxy",
            Self::Opensmtpd => "opensmtpd",
            Self::Postfix => "postfix",
            Self::Sendmail => "sendmail",
        }
    }

    /// The Debian release it runs on.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Cyrus | Self::Dovecot | Self::Sendmail => "bookworm",
            Self::Exim | Self::Haproxy | Self::Opensmtpd => "trixie",
            Self::Postfix => "bullseye",
        }
    }

    /// The binary packages there is an old and a new version of, all of one source; the first decides.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Cyrus => &["cyrus-imapd", "cyrus-common"],
            Self::Dovecot => &["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"],
            Self::Exim => &["exim4-daemon-light", "exim4-base", "exim4-config"],
            Self::Haproxy => &["haproxy"],
            Self::Opensmtpd => &["opensmtpd"],
            Self::Postfix => &["postfix"],
            Self::Sendmail => &["sendmail-bin", "sendmail-base", "sendmail-cf"],
        }
    }

    /// What else is installed, from the archive as it is.
    pub(super) fn companions(self) -> &'static [&'static str] {
        match self {
            Self::Cyrus => &["postfix", "sasl2-bin"],
            Self::Dovecot => &["postfix"],
            Self::Sendmail => &["procmail", "sensible-mda"],
            Self::Opensmtpd => &["ca-certificates"],
            Self::Exim | Self::Haproxy | Self::Postfix => &[],
        }
    }

    /// Which service of the fleet file it carries.
    pub fn service(self) -> &'static str {
        match self {
            Self::Cyrus | Self::Dovecot => "mailbox",
            Self::Exim => "submission",
            Self::Haproxy => "front",
            Self::Opensmtpd | Self::Postfix | Self::Sendmail => "inbound-mx",
        }
    }

    /// The made-up CVE that a synthetic patch "fixes". The form is a real one's, so only a feed made
    /// for a test should be read beside it.
    pub fn made_up_cve(self) -> &'static str {
        match self {
            Self::Cyrus => "CVE-2026-90006",
            Self::Dovecot => "CVE-2026-90003",
            Self::Exim => "CVE-2026-90002",
            Self::Haproxy => "CVE-2026-90007",
            Self::Opensmtpd => "CVE-2026-90005",
            Self::Postfix => "CVE-2026-90001",
            Self::Sendmail => "CVE-2026-90004",
        }
    }

    /// Answers to the questions Debian's packages ask at installation.
    pub(super) fn debconf(self) -> &'static str {
        match self {
            Self::Cyrus | Self::Dovecot | Self::Postfix => {
                "postfix postfix/main_mailer_type select Internet Site\n\
                 postfix postfix/mailname string lab.test\n"
            }
            Self::Exim => {
                "exim4-config exim4/dc_eximconfig_configtype select internet site; mail is sent and received directly using SMTP\n\
                 exim4-config exim4/mailname string lab.test\n"
            }
            Self::Opensmtpd => {
                "opensmtpd opensmtpd/mailname string lab.test\n\
                 opensmtpd opensmtpd/root_address string probe\n"
            }
            Self::Haproxy | Self::Sendmail => "",
        }
    }

    /// The program without which it does not run, as its package holds it.
    pub(super) fn daemon(self) -> &'static str {
        match self {
            Self::Cyrus => "usr/lib/cyrus/bin/master",
            Self::Dovecot => "usr/sbin/dovecot",
            Self::Exim => "usr/sbin/exim4",
            Self::Haproxy => "usr/sbin/haproxy",
            Self::Opensmtpd => "usr/sbin/smtpd",
            Self::Postfix => "usr/lib/postfix/sbin/master",
            Self::Sendmail => "usr/libexec/sendmail/sendmail",
        }
    }

    /// The script that sets it up, starts and stops it.
    pub(super) fn script(self) -> &'static str {
        match self {
            Self::Cyrus => include_str!("scripts/cyrus.sh"),
            Self::Dovecot => include_str!("scripts/dovecot.sh"),
            Self::Exim => include_str!("scripts/exim.sh"),
            Self::Haproxy => include_str!("scripts/haproxy.sh"),
            Self::Opensmtpd => include_str!("scripts/opensmtpd.sh"),
            Self::Postfix => include_str!("scripts/postfix.sh"),
            Self::Sendmail => include_str!("scripts/sendmail.sh"),
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
