//! The bundle that comes with the program: the catalogue, by product.

use super::bundle::{Bundle, BundleError};

/// One file a family of products, behind the head of the bundle.
const FILES: [&str; 11] = [
    include_str!("../../bundle/bundle.toml"),
    include_str!("../../bundle/sendmail.toml"),
    include_str!("../../bundle/postfix.toml"),
    include_str!("../../bundle/exim.toml"),
    include_str!("../../bundle/opensmtpd.toml"),
    include_str!("../../bundle/exchange.toml"),
    include_str!("../../bundle/dovecot.toml"),
    include_str!("../../bundle/others.toml"),
    include_str!("../../bundle/groupware.toml"),
    include_str!("../../bundle/scanners.toml"),
    include_str!("../../bundle/clients.toml"),
];

/// The built-in bundle's text.
pub fn builtin_text() -> String {
    FILES.join("\n")
}

/// The built-in bundle. It is part of the program, so that nobody signs it, and it does not expire: what it says ages
/// with the program.
///
/// # Errors
/// Never; a test holds it to that.
pub fn builtin() -> Result<Bundle, BundleError> {
    Bundle::read(builtin_text().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules::{Closes, Compiled, Confidence, MessageRun, Stage};

    /// A line for each row: the rule's name, and every name of the hole.
    const CATALOGUE: &str = include_str!("../../bundle/catalogue.txt");

    #[test]
    fn every_row_of_the_catalogue_is_there() {
        let bundle = builtin().unwrap();
        let listed: Vec<&str> = CATALOGUE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(listed.len(), 156);
        let mut names = BTreeSet::new();
        for line in &listed {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            names.insert(name);
            let rule = bundle.rules.iter().find(|rule| rule.name == name);
            let rule = rule.unwrap_or_else(|| panic!("{name} is gone"));
            for id in words {
                assert!(rule.is_about(id), "{name} is no longer about {id}");
            }
            assert!(!(rule.cves.is_empty() && rule.aliases.is_empty()), "{name}");
        }
        let unlisted: Vec<&str> = bundle
            .rules
            .iter()
            .map(|rule| rule.name.as_str())
            .filter(|name| !names.contains(name))
            .collect();
        assert_eq!(unlisted, Vec::<&str>::new());
    }

    #[test]
    fn every_signature_refuses_its_cases_and_lets_its_look_alikes_pass() {
        let bundle = builtin().unwrap();
        bundle.test().unwrap();
        let signatures = bundle.rules.iter().filter(|rule| rule.is_signature());
        assert_eq!(Compiled::new(&bundle).unwrap().count(), signatures.count());
    }

    #[test]
    fn only_what_is_sure_is_enforced() {
        for rule in builtin().unwrap().rules {
            assert!(
                !rule.is_enforced() || rule.confidence == Confidence::A,
                "{} is enforced, and not sure",
                rule.name
            );
            assert!(
                !rule.references.is_empty() || rule.cves.is_empty(),
                "{}",
                rule.name
            );
            if rule.stages.contains(&Stage::Local) && rule.stages.len() == 1 {
                assert_eq!(rule.closes, [Closes::PatchOnly], "{}", rule.name);
            }
        }
    }

    #[test]
    fn a_plain_message_is_held_against_by_no_rule() {
        let compiled = Compiled::new(&builtin().unwrap()).unwrap();
        for line in [
            "EHLO mx.example.org",
            "MAIL FROM:<a@example.org> SIZE=10",
            "RCPT TO:<b+c@example.net>",
            "DATA",
        ] {
            assert_eq!(compiled.command(line.as_bytes()), [], "{line}");
        }
        let mut run: MessageRun<'_> = compiled.message();
        let header = b"From: A <a@example.org>\r\nTo: \"B, C\" <b@example.net>, d@example.net\r\n\
            Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n";
        run.header(header);
        run.part_header(header, "1");
        assert_eq!(run.finish(), []);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn beside_each_other_rules_find_what_each_finds_alone(
            octets in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::sample::select(vec![&b"From: "[..], b"<", b">", b"${", b"run", b"\r\n", b"MAIL FROM:<", b"RCPT TO:<", b"@x", b" AUTH=", b"+0A", b"\"", b"DKIM-Signature: ", b"d=", b"%", b"<use href=data:", b"`", b"../", b"\nX-MICROSOFT-CDO-MODPROPS:a", b"\nORGANIZER:mailto:", b"(", b")", b",", b";", b"To: ", b"a@b", b"ARC-Seal: ", b"i=1;", b"Content-Type: "]).prop_map(<[u8]>::to_vec),
                    proptest::collection::vec(proptest::num::u8::ANY, 1..3),
                ],
                0..12,
            ),
            kind in 0..3_u8,
        ) {
            let mut data = vec![kind];
            data.extend(octets.concat());
            crate::rules::fuzz_condition(&data);
        }
    }
    use proptest::strategy::Strategy as _;
}
