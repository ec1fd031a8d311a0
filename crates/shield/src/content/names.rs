//! Domains and names of people that are made to be taken for others. Entry: [`Names`].

use std::collections::BTreeSet;

/// Addresses in one name that are looked at: more than a name shows.
const ADDRESSES: usize = 1000;

/// The site's own domains and people.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    own: Vec<String>,
    own_skeletons: Vec<String>,
    people: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(own_domains: &[String], people: &[String]) -> Self {
        let own: Vec<String> = own_domains.iter().map(|name| canonical(name)).collect();
        Self {
            own_skeletons: own.iter().map(|name| skeleton(name)).collect(),
            own,
            people: people.iter().map(|name| person(name)).collect(),
        }
    }

    /// Whether a domain is the site's own, or below one.
    pub(super) fn is_own(&self, domain: &str) -> bool {
        let domain = canonical(domain);
        self.own.iter().any(|own| is_below(&domain, own))
    }

    /// The domain of the site that this one looks like, and is not.
    pub(super) fn looks_like(&self, domain: &str) -> Option<&str> {
        let domain = canonical(domain);
        if domain.is_empty() || self.own.iter().any(|own| is_below(&domain, own)) {
            return None;
        }
        let all = self.own.iter().zip(&self.own_skeletons);
        let mut all = all.map(|(own, shape)| (own.as_str(), shape.as_str()));
        let found = all.find(|(own, shape)| {
            // As many labels as the own domain has, counted from the end; and the own domain whole in front of another.
            let labels = own.split('.').count();
            let all: Vec<&str> = domain.split('.').collect();
            let tail = all.get(all.len().saturating_sub(labels)..);
            let tail = tail.unwrap_or_default().join(".");
            skeleton(&tail) == *shape || domain.contains(&format!("{own}."))
        });
        found.map(|(own, _)| own)
    }

    /// Whether a text shows an address of an own domain.
    pub(super) fn shows_own(&self, text: &str) -> bool {
        let ends = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '.' | '-');
        let domains = text.split('@').skip(1).map(|rest| {
            let domain = rest.trim_start().split(ends).next().unwrap_or_default();
            domain.trim_end_matches('.')
        });
        let mut domains = domains.filter(|domain| !domain.is_empty()).take(ADDRESSES);
        domains.any(|domain| self.is_own(domain))
    }

    /// Whether this is how one of the site's people is called.
    pub(super) fn is_person(&self, name: &str) -> bool {
        // Nobody is called by more.
        !self.people.is_empty() && name.len() <= 512 && self.people.contains(&person(name))
    }
}

/// Whether one domain is the other, or below it; both in canonical form.
pub(super) fn is_below(domain: &str, above: &str) -> bool {
    domain == above
        || domain
            .strip_suffix(above)
            .is_some_and(|rest| rest.ends_with('.'))
}

/// Lower case, as Unicode, without the dot at the end. What is longer than a domain can be stays as it is.
pub(super) fn canonical(domain: &str) -> String {
    if domain.len() > 1024 {
        return domain.to_lowercase();
    }
    let (text, _) = idna::domain_to_unicode(domain.trim().trim_end_matches('.'));
    text.to_lowercase()
}

/// A name whose letters stand for all that look like them. Two names with one skeleton can be taken for each other.
fn skeleton(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match look_alike(c) {
            Some(plain) => text.push(plain),
            None if matches!(c, '-' | '_' | '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}') => {}
            None => text.push(c),
        }
    }
    for (pair, one) in [("rn", "m"), ("vv", "w"), ("cl", "d")] {
        text = text.replace(pair, one);
    }
    text
}

/// The letter of ASCII that a lower-case character looks like (the part of Unicode's confusables.txt that domains and
/// names of persons have been forged with).
fn look_alike(c: char) -> Option<char> {
    Some(match c {
        '\u{e0}'..='\u{e6}' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ' | 'ả' | 'а' | 'α' | 'ɑ' => 'a',
        'ƅ' | 'Ь' | 'ь' | 'ḅ' => 'b',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' | 'с' | 'ϲ' => 'c',
        'ď' | 'đ' | 'ԁ' | 'ɗ' | 'ḍ' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ' | 'е' | 'ё' | 'є' | '3' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' | 'ɡ' | 'ǵ' => 'g',
        'ĥ' | 'ħ' | 'һ' | 'ḥ' => 'h',
        // One shape in many founts: i, l, 1.
        'i'
        | 'ì'..='ï'
        | 'ĩ'
        | 'ī'
        | 'ĭ'
        | 'į'
        | 'ı'
        | 'і'
        | 'ї'
        | 'ι'
        | 'ị'
        | '1'
        | '|'
        | 'ĺ'
        | 'ļ'
        | 'ľ'
        | 'ł'
        | 'ӏ'
        | 'ḷ' => 'l',
        'ј' | 'ĵ' => 'j',
        'ķ' | 'к' | 'κ' | 'ḳ' => 'k',
        'м' | 'ṃ' => 'm',
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ṇ' | 'п' | 'η' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ọ' | 'о' | 'ο' | 'σ' | '0' | 'ө' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ŕ' | 'ŗ' | 'ř' | 'г' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'ѕ' | '5' | 'ṣ' => 's',
        'ţ' | 'ť' | 'ț' | 'т' | 'τ' | 'ṭ' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ụ' | 'υ' => 'u',
        'ν' | 'ѵ' | 'ṿ' => 'v',
        'ŵ' | 'ԝ' | 'ω' | 'ẁ' | 'ẃ' => 'w',
        'х' | 'χ' => 'x',
        'ý' | 'ÿ' | 'ŷ' | 'у' | 'γ' | 'ү' => 'y',
        'ź' | 'ż' | 'ž' | 'ẓ' => 'z',
        _ => return None,
    })
}

/// A person's name without order, dots and commas: `Lovelace, Ada` is `Ada Lovelace`.
fn person(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | '"' | '\''));
    let mut words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(skeleton)
        .filter(|word| !word.is_empty())
        .collect();
    words.sort();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let own = ["example.org".to_owned(), "Müller.example".to_owned()];
        Names::new(&own, &["Ada Lovelace".to_owned()])
    }

    #[test]
    fn a_name_that_is_an_address_of_an_own_domain_is_seen() {
        let names = names();
        for shown in [
            "boss@example.org",
            "Boss (boss@mail.example.org)",
            "boss@EXAMPLE.org via List",
            "a@b.example, boss@ example.org.",
            "boss@example.org@evil.example",
            "chef@m\u{fc}ller.example",
            "chef@xn--mller-kva.example",
            "@@@@@@@@@@@@@@@@@@@ boss@example.org",
        ] {
            assert!(names.shows_own(shown), "{shown}");
        }
        for other in [
            "Boss",
            "boss@example.net",
            "Bob @ Work",
            "a@example.org.evil.example",
            "a@badexample.org",
            "@",
            "",
        ] {
            assert!(!names.shows_own(other), "{other}");
        }
    }

    #[test]
    fn look_alikes_of_own_domains_are_known_and_neighbours_are_not() {
        let names = names();
        for forged in [
            "examp1e.org",
            "exarnple.org",
            "ехаmple.org",
            "xn--mple-0doa7m.org",
            "exam-ple.org",
            "mail.examp1e.org",
            "example.org.evil.example",
            "EXAMPIE.org",
            "muller.example",
        ] {
            let forged = if forged == "xn--mple-0doa7m.org" {
                idna::domain_to_ascii("еxample.org").unwrap()
            } else {
                forged.to_owned()
            };
            assert!(names.looks_like(&forged).is_some(), "{forged}");
            assert!(!names.is_own(&forged), "{forged}");
        }
        for honest in [
            "example.org",
            "mail.example.org",
            "example.net",
            "samples.org",
            "xn--mller-kva.example",
            "",
        ] {
            assert_eq!(names.looks_like(honest), None, "{honest}");
        }
        assert!(names.is_own("Mail.Example.ORG."));
        assert!(names.is_own("xn--mller-kva.example"));
        assert!(!names.is_own("anexample.org"));
    }

    #[test]
    fn own_people_are_known_in_any_order_and_script() {
        let names = names();
        for name in [
            "Ada Lovelace",
            "lovelace, ada",
            "ADA  LOVELACE",
            "Аda Lovеlace",
        ] {
            assert!(names.is_person(name), "{name}");
        }
        assert!(!names.is_person("Ada"));
        assert!(!Names::default().is_person(""));
    }
}
