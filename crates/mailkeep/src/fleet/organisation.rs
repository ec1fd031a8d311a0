//! Who runs the fleet, for documents that are handed on.

use super::read::{Item, Reader};

/// Who runs the fleet. What is handed on under its name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its name, as others know it.
    pub name: String,
    /// Its own web address: the namespace of what it publishes (CSAF 2.0 section 3.2.1.8.5).
    pub url: String,
}

/// A name without an address, or the other way round, names nobody a document could come from.
pub(super) fn read(reader: &mut Reader<'_>, item: Item<'_>) -> Option<Organisation> {
    let mut section = item.section(reader)?;
    let name = section.take("name").map(|item| item.text(reader));
    let url = section.take("url").map(|item| item.text(reader));
    let place = (section.path.clone(), section.span.clone());
    section.close(reader);
    if name.is_none() || url.is_none() {
        let message = "an organisation has a name and a url";
        reader.fault(&place.0, place.1, message);
    }
    let (name, url) = (name??, url??);
    let wanting =
        |text: &str| text.trim().is_empty() || text.contains(mailkeep_model::text::is_unsafe);
    if wanting(&name.value) {
        return name.wrong(reader, "must be a name, without control characters");
    }
    if !is_web_address(&url.value) {
        return url.wrong(
            reader,
            "must be the organisation's own address: https://harbour.example",
        );
    }
    Some(Organisation {
        name: name.value.trim().to_owned(),
        url: url.value,
    })
}

/// Characters that RFC 3986 appendix A allows, after a scheme of the web and a host.
fn is_web_address(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && url.chars().all(allowed)
}
