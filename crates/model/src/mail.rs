//! What counts as mail software: by source package, by process, by TCP port.
//!
//! The names are those of Debian, Ubuntu, the Red Hat family, SUSE and upstream. A name belongs
//! here when the software accepts, moves, stores, filters, lists or shows mail for others; a mail
//! reader on somebody's desk does not.

use crate::MailRole;

/// Servers that accept and relay mail, and what hands mail to them.
const TRANSFER_AGENTS: &[&str] = &[
    "chasquid",
    "citadel",
    "courier",
    "dma",
    "esmtp",
    "exim",
    "exim4",
    "haraka",
    "james",
    "maddy",
    "masqmail",
    "mox",
    "msmtp",
    "netqmail",
    "notqmail",
    "nullmailer",
    "opensmtpd",
    "opensmtpd-extras",
    "opensmtpd-filter-dkimsign",
    "opensmtpd-filter-rspamd",
    "opensmtpd-filter-senderscore",
    "postfix",
    "postfix-gld",
    "postfix-mta-sts-resolver",
    "postfix-sqlgrey",
    "postfixadmin",
    "postsrsd",
    "qmail",
    "qpsmtpd",
    "s-nail-mta",
    "sendmail",
    "smtprelay",
    "ssmtp",
    "stalwart",
    "stalwart-mail",
    "xmail",
    "zone-mta",
];

/// Servers that keep mailboxes or deliver into them, whole groupware suites included.
const MAILBOX_SERVERS: &[&str] = &[
    "archiveopteryx",
    "bincimap",
    "courier-authlib",
    "courier-imap",
    "cyrus-imapd",
    "cyrus-sasl",
    "cyrus-sasl2",
    "dbmail",
    "dovecot",
    "dovecot-antispam",
    "dovecot-deleted-to-trash",
    "dovecot-fts-flatcurve",
    "dovecot-fts-xapian",
    "dovecot-lua",
    "dovecot-pigeonhole",
    "dovecot-sieve",
    "dovecot20",
    "dovecot22",
    "dovecot23",
    "dovecot24",
    "gnarwl",
    "grommunio-gromox",
    "gromox",
    "kolab",
    "kolabd",
    "kopano-core",
    "kopanocore",
    "maildrop",
    "perdition",
    "pigeonhole",
    "popa3d",
    "procmail",
    "qpopper",
    "sogo",
    "solid-pop3d",
    "sope",
    "teapop",
    "uw-imap",
    "zarafa",
    "zimbra",
];

/// Filters, policy servers and milters, and the libraries made for them.
const FILTERS: &[&str] = &[
    "amavis",
    "amavisd",
    "amavisd-milter",
    "amavisd-new",
    "authentication-milter",
    "authmilter",
    "bogofilter",
    "clamassassin",
    "clamav",
    "clamav-unofficial-sigs",
    "clamsmtp",
    "crm114",
    "dcc",
    "dcc-client",
    "dk-filter",
    "dkim-milter",
    "dkimproxy",
    "dkimpy-milter",
    "dspam",
    "greylistd",
    "libdkim",
    "libmail-dkim-perl",
    "libmail-dmarc-perl",
    "libmail-spf-perl",
    "libmilter",
    "libspf2",
    "mailscanner",
    "milter-greylist",
    "milter-manager",
    "mimedefang",
    "nospamproxy",
    "openarc",
    "opendkim",
    "opendmarc",
    "p3scan",
    "policyd-weight",
    "postgrey",
    "proxsmtp",
    "pymilter",
    "pymilters",
    "pypolicyd-spf",
    "pyzor",
    "razor",
    "rmilter",
    "rspamd",
    "sa-exim",
    "sanesecurity",
    "sid-milter",
    "sieve-connect",
    "smf-sav",
    "smf-spf",
    "spamass-milter",
    "spamassassin",
    "spambayes",
    "spamd",
    "spampd",
    "spamprobe",
    "spf-engine",
    "spf-milter-python",
    "sqlgrey",
    "srs-milter",
    "whitelister",
];

/// List managers, archives, and what fetches mail on behalf of users.
const LISTS_AND_FETCHERS: &[&str] = &[
    "ecartis",
    "enemies-of-carlotta",
    "ezmlm",
    "ezmlm-idx",
    "fetchmail",
    "getmail",
    "getmail4",
    "getmail6",
    "hyperkitty",
    "imapsync",
    "mailman",
    "mailman-hyperkitty",
    "mailman-suite",
    "mailman3",
    "majordomo",
    "mhonarc",
    "mlmmj",
    "mpop",
    "postorius",
    "public-inbox",
    "pysieved",
    "schleuder",
    "smartlist",
    "sympa",
];

/// Webmail, and web front ends that send or read mail for users.
const WEBMAIL: &[&str] = &[
    "cypht",
    "horde",
    "imp4",
    "modoboa",
    "nextcloud-mail",
    "php-horde-imp",
    "php-horde-ingo",
    "prayer",
    "rainloop",
    "roundcube",
    "roundcube-plugins-extra",
    "roundcubemail",
    "snappymail",
    "squirrelmail",
    "sqwebmail",
    "tiki-webmail",
    "webmail",
];

/// Beginnings of names whose whole family is mail software.
const FAMILIES: &[&str] = &[
    "amavisd-",
    "clamav-",
    "courier-",
    "dovecot-",
    "exchange server",
    "exchange-server",
    "exim4-",
    "grommunio-",
    "kopano",
    "mailman3-",
    "microsoft exchange",
    "milter-",
    "policyd-",
    "postfix-policyd",
    "postfix-",
    "python-mailman",
    "qmail-",
    "roundcube-",
    "rspamd-",
    "stalwart-",
    "zimbra-",
];

/// Whether a source package is mail software itself: a server, a filter, a list manager, webmail,
/// or a library made for one of these. Takes the source package's name as Debian, the RPM
/// distributions or the publisher write it; case does not matter.
pub fn is_mail_software(source_package: &str) -> bool {
    let lower;
    let name = if source_package.bytes().any(|b| b.is_ascii_uppercase()) {
        lower = source_package.to_ascii_lowercase();
        lower.as_str()
    } else {
        source_package
    };
    name == "exchange"
        || TABLES
            .iter()
            .any(|table| table.binary_search(&name).is_ok())
        || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Every name that [`is_mail_software`] knows as a whole; for whoever preselects packages on a host.
pub fn mail_source_names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|table| table.iter().copied())
}

/// Every beginning of names that [`is_mail_software`] knows; for whoever preselects packages on a host.
pub fn mail_source_families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().copied()
}

const TABLES: [&[&str]; 5] = [
    TRANSFER_AGENTS,
    MAILBOX_SERVERS,
    FILTERS,
    LISTS_AND_FETCHERS,
    WEBMAIL,
];

const FILTER: &[MailRole] = &[MailRole::Filter];
const IMAP: &[MailRole] = &[MailRole::Imap];
const LMTP: &[MailRole] = &[MailRole::Lmtp];
const MILTER: &[MailRole] = &[MailRole::Milter];
const FILTER_AND_MILTER: &[MailRole] = &[MailRole::Filter, MailRole::Milter];
const POP: &[MailRole] = &[MailRole::Pop];
const SIEVE: &[MailRole] = &[MailRole::Sieve];
const SMTP: &[MailRole] = &[MailRole::Smtp];
const SUBMISSION: &[MailRole] = &[MailRole::Submission];
const WHOLE_SERVER: &[MailRole] = &[
    MailRole::Imap,
    MailRole::Lmtp,
    MailRole::Pop,
    MailRole::Sieve,
    MailRole::Smtp,
    MailRole::Submission,
];

/// Programs whose own name says what they do, wherever they lie. Sorted by name.
const PROGRAMS: &[(&str, &[MailRole])] = &[
    ("amavi", FILTER), // `comm` of amavisd on Debian: the path, cut at 15 characters
    ("amavis", FILTER),
    ("amavis-milter", FILTER_AND_MILTER),
    ("amavisd", FILTER),
    ("amavisd-milter", FILTER_AND_MILTER),
    ("amavisd-new", FILTER),
    ("authentication_milter", MILTER),
    ("chasquid", SMTP),
    ("citserver", WHOLE_SERVER),
    ("clamav-milter", FILTER_AND_MILTER),
    ("clamd", FILTER),
    ("clamsmtpd", FILTER),
    ("courierd", SMTP),
    ("couriertcpd", SMTP),
    ("cyrmaster", IMAP),
    ("dkim-filter", MILTER),
    ("dkimpy-milter", MILTER),
    ("dovecot", IMAP),
    ("dspam", FILTER),
    ("exim", SMTP),
    ("exim4", SMTP),
    ("gromox-http", IMAP),
    ("gromox-imap", IMAP),
    ("gromox-pop3", POP),
    ("haraka", SMTP),
    ("imap-hibernate", IMAP),
    ("imap-login", IMAP),
    ("imapd", IMAP),
    ("kopano-dagent", LMTP),
    ("kopano-gateway", IMAP),
    ("lmtpd", LMTP),
    ("lmtpproxyd", LMTP),
    ("maddy", WHOLE_SERVER),
    ("managesieve-log", SIEVE), // `comm`, cut at 15 characters
    ("managesieve-login", SIEVE),
    ("milter-greylist", MILTER),
    ("milter-manager", MILTER),
    ("mimedefang", FILTER_AND_MILTER),
    ("mimedefang.pl", FILTER),
    ("mox", WHOLE_SERVER),
    ("msexchangefront", WHOLE_SERVER),
    ("openarc", MILTER),
    ("opendkim", MILTER),
    ("opendmarc", MILTER),
    ("pop3-login", POP),
    ("pop3d", POP),
    ("pop3proxyd", POP),
    ("postgrey", FILTER),
    ("postscreen", SMTP),
    ("proxyd", IMAP),
    ("pyspf-milter", MILTER),
    ("qmail-remote", SMTP),
    ("qmail-send", SMTP),
    ("qmail-smtpd", SMTP),
    ("qmgr", SMTP),
    ("qpsmtpd", SMTP),
    ("qpsmtpd-forkserver", SMTP),
    ("rspamd", FILTER_AND_MILTER),
    ("sendmail", SMTP),
    ("sendmail-msp", SUBMISSION),
    ("sendmail-mta", SMTP),
    ("smtpd", SMTP),
    ("sogod", IMAP),
    ("spamass-milter", FILTER_AND_MILTER),
    ("spamd", FILTER),
    ("spampd", FILTER),
    ("stalwart", WHOLE_SERVER),
    ("stalwart-mail", WHOLE_SERVER),
    ("stalwart-smtp", SMTP),
    ("submission-logi", SUBMISSION), // `comm`, cut at 15 characters
    ("submission-login", SUBMISSION),
    ("timsieved", SIEVE),
];

/// Programs with names too common to mean anything, but for the directory they lie in. Each row: a
/// part of the path, the program (`*` is every one that no table names), what it does.
const PROGRAMS_IN: &[(&str, &str, &[MailRole])] = &[
    ("/dovecot", "pop3", POP),
    ("/dovecot", "lmtp", LMTP),
    ("/dovecot", "managesieve", SIEVE),
    ("/dovecot", "submission", SUBMISSION),
    ("/dovecot/", "*", IMAP),
    ("/postfix/", "lmtp", SMTP), // Postfix's client; Postfix serves no LMTP
    ("/postfix/", "*", SMTP),
    ("/cyrus", "master", IMAP),
    ("/cyrus", "cyrmaster", IMAP),
    ("/cyrus/", "*", IMAP),
    ("/courier/", "authdaemond", &[]),
    ("/courier/", "*", SMTP),
    ("/qmail/", "*", SMTP),
    ("/opensmtpd/", "*", SMTP),
    ("/exim4/", "*", SMTP),
    ("/sendmail/", "*", SMTP),
];

/// What a process does for mail, by `comm` (`name`) and the path of its executable, which may be
/// empty where it could not be read; empty for a process that serves no mail.
///
/// A master process counts: old code in Postfix's `master` or in `dovecot` is old code serving
/// mail. `master`, `imap`, `lmtp` and their like name too many programs, so that their directory
/// decides. A script's executable is its interpreter, so that `comm` decides there.
pub fn mail_roles_of_process(name: &str, executable: &str) -> &'static [MailRole] {
    let program = base_name(executable);
    if let Some(roles) = roles_in_directory(executable, program, program) {
        return roles;
    }
    if let Some(roles) = roles_of_program(program) {
        return roles;
    }
    if let Some(roles) = roles_in_directory(executable, program, "*") {
        return roles;
    }
    let first_word = name.split([' ', ':']).next().unwrap_or(name);
    roles_of_program(base_name(first_word)).unwrap_or(&[])
}

/// Every program name that alone tells what a process does for mail; for whoever preselects processes
/// on a host.
pub fn mail_process_names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(name, _)| *name)
}

/// What a listener on a TCP port does for mail, by IANA's service names and the documented
/// defaults of common filters; empty for any other port.
pub fn mail_roles_of_port(port: u16) -> &'static [MailRole] {
    match port {
        // 10025 to 10027: where filters hand mail back (Postfix FILTER_README, amavisd-new).
        25 | 10025..=10027 => SMTP,
        24 => LMTP,
        110 | 995 => POP,
        143 | 993 => IMAP,
        465 | 587 => SUBMISSION,
        // spamd, clamd, amavisd, rspamd's normal worker.
        783 | 3310 | 10024 | 11333 => FILTER,
        4190 => SIEVE,
        // OpenDKIM, OpenDMARC and rspamd's proxy, by their documented defaults.
        8891 | 8893 | 11332 => MILTER,
        _ => &[],
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn roles_in_directory(
    executable: &str,
    program: &str,
    wanted: &str,
) -> Option<&'static [MailRole]> {
    PROGRAMS_IN
        .iter()
        .find(|(directory, name, _)| {
            // The directory must end before the program's own name begins.
            *name == wanted
                && executable
                    .rfind(directory)
                    .is_some_and(|at| at + directory.len() <= executable.len() - program.len())
        })
        .map(|(_, _, roles)| *roles)
}

fn roles_of_program(program: &str) -> Option<&'static [MailRole]> {
    let at = PROGRAMS
        .binary_search_by(|(name, _)| (*name).cmp(program))
        .ok()?;
    PROGRAMS.get(at).map(|(_, roles)| *roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_so_that_binary_search_finds_every_row() {
        for table in [
            TRANSFER_AGENTS,
            MAILBOX_SERVERS,
            FILTERS,
            LISTS_AND_FETCHERS,
            WEBMAIL,
        ] {
            for pair in table.windows(2) {
                assert!(pair[0] < pair[1], "{pair:?}");
            }
        }
        for pair in PROGRAMS.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn mail_software_is_known_by_debian_rpm_and_vendor_names() {
        for name in [
            "exim4",
            "exim",
            "postfix",
            "cyrus-imapd",
            "clamav",
            "milter-greylist",
            "postfix-policyd-spf-perl",
            "dovecot-fts-xapian",
            "Microsoft Exchange Server 2019",
            "Exchange",
            "exchange-server",
            "roundcubemail",
            "libspf2",
        ] {
            assert!(is_mail_software(name), "{name}");
        }
        for name in ["openssl", "bash", "thunderbird", "mutt", "", "perl"] {
            assert!(!is_mail_software(name), "{name}");
        }
    }

    #[test]
    fn a_master_counts_only_where_its_directory_says_whose_it_is() {
        assert_eq!(
            mail_roles_of_process("master", "/usr/lib/postfix/sbin/master"),
            SMTP
        );
        assert_eq!(
            mail_roles_of_process("master", "/usr/libexec/postfix/master"),
            SMTP
        );
        assert_eq!(
            mail_roles_of_process("master", "/usr/libexec/cyrus-imapd/master"),
            IMAP
        );
        assert!(mail_roles_of_process("master", "").is_empty());
        assert!(mail_roles_of_process("master", "/opt/jenkins/master").is_empty());
        assert!(mail_roles_of_process("imap", "/usr/bin/imap").is_empty());
    }

    #[test]
    fn dovecot_helpers_count_and_its_listeners_by_their_protocol() {
        for (name, exe, roles) in [
            ("dovecot", "/usr/sbin/dovecot", IMAP),
            ("anvil", "/usr/lib/dovecot/anvil", IMAP),
            ("pop3-login", "/usr/lib/dovecot/pop3-login", POP),
            ("lmtp", "/usr/lib/dovecot/lmtp", LMTP),
            (
                "managesieve-log",
                "/usr/lib/dovecot/managesieve-login",
                SIEVE,
            ),
            ("managesieve-log", "", SIEVE),
            ("imap-login", "", IMAP),
        ] {
            assert_eq!(mail_roles_of_process(name, exe), roles, "{name}");
        }
    }

    #[test]
    fn a_script_is_known_by_its_name_not_by_its_interpreter() {
        assert_eq!(
            mail_roles_of_process("spamd child", "/usr/bin/perl"),
            FILTER
        );
        assert_eq!(
            mail_roles_of_process("/usr/sbin/amavi", "/usr/bin/perl"),
            FILTER
        );
        assert_eq!(
            mail_roles_of_process("postgrey --inet", "/usr/bin/perl"),
            FILTER
        );
        assert!(mail_roles_of_process("saslauthd", "/usr/sbin/saslauthd").is_empty());
    }

    #[test]
    fn mail_ports_have_roles_and_others_none() {
        assert_eq!(mail_roles_of_port(587), SUBMISSION);
        assert_eq!(mail_roles_of_port(4190), SIEVE);
        assert!(mail_roles_of_port(22).is_empty());
    }
}
