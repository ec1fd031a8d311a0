//! URLs: which may be fetched, and how they are shown.

use mailkeep_model::text::printable_max;
use url::Url;

use super::FetchError;

/// Longest URL accepted, in bytes: what common servers accept of one.
const MAX_URL: usize = 8192;

/// Names of query parameters whose values are secrets by custom.
const SECRET_PARAMETERS: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Parses a URL that can be fetched: `http` or `https`, with a host.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
    let bad = |reason: &str| FetchError::BadUrl {
        url: without_secrets(text),
        reason: reason.to_owned(),
    };
    if text.len() > MAX_URL {
        return Err(bad("it is longer than 8192 bytes"));
    }
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !is_web(&url) {
        return Err(bad("only http and https URLs with a host can be"));
    }
    Ok(url)
}

pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
}

/// A URL as it may be shown and stored: without user, password and fragment, and with the values
/// of query parameters that are secrets by their name replaced. What is no URL is shortened and
/// made printable, and cut before an `@`.
pub fn without_secrets(text: &str) -> String {
    // `user:password@host` parses as the scheme `user`.
    if let Ok(url) = Url::parse(text)
        && url.has_host()
    {
        return shown(&url);
    }
    let after = text.rsplit_once('@').map_or(text, |(_, after)| after);
    printable_max(after, 200)
}

pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which have no credentials.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_fragment(None);
    if url.query().is_some_and(|query| !query.is_empty()) {
        let is_secret = |name: &str| {
            SECRET_PARAMETERS
                .iter()
                .any(|secret| name.eq_ignore_ascii_case(secret))
        };
        if url.query_pairs().any(|(name, _)| is_secret(&name)) {
            let pairs: Vec<(String, String)> = url
                .query_pairs()
                .map(|(name, value)| {
                    let value = if is_secret(&name) {
                        "redacted".into()
                    } else {
                        value
                    };
                    (name.into_owned(), value.into_owned())
                })
                .collect();
            url.query_pairs_mut().clear().extend_pairs(pairs);
        }
    }
    printable_max(url.as_str(), 500)
}

/// `https://hooks.example.org/…`: the host only.
pub(super) fn host_only(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |p| format!(":{p}"));
    printable_max(
        &format!(
            "{}://{}{port}/…",
            url.scheme(),
            url.host_str().unwrap_or_default()
        ),
        300,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_never_shown() {
        for (given, shown) in [
            (
                "https://user:pass@feeds.example.org/a?b=c#frag",
                "https://feeds.example.org/a?b=c",
            ),
            (
                "https://feeds.example.org/a?token=hunter2&b=c",
                "https://feeds.example.org/a?token=redacted&b=c",
            ),
            ("user:pass@nowhere", "nowhere"),
        ] {
            assert_eq!(without_secrets(given), shown);
        }
        let hook = Url::parse("https://u:p@hooks.example.org:8443/services/T0/B0/x").unwrap();
        assert_eq!(host_only(&hook), "https://hooks.example.org:8443/…");
    }

    #[test]
    fn only_web_urls_are_fetched() {
        for bad in [
            "file:///etc/passwd",
            "ftp://x/y",
            "x",
            "http://",
            "mailto:a@b",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("http://127.0.0.1:8080/x").is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_shown_printable(text: String) {
            prop_assert!(!without_secrets(&text).chars().any(mailkeep_model::text::is_unsafe));
        }
    }
}
