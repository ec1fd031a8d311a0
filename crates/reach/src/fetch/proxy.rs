//! Proxies, by the environment variables that curl and most programs know.

use std::fmt;
use std::net::IpAddr;

use mailkeep_model::text::printable_max;
use url::{Host, Url};

/// The values of the environment variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `HTTPS_PROXY`, for `https:` URLs: `http://user:pass@proxy:3128`, `socks5://proxy`.
    pub https: Option<String>,
    /// `HTTP_PROXY`, for `http:` URLs.
    pub http: Option<String>,
    /// `ALL_PROXY`, where the one above is not set.
    pub all: Option<String>,
    /// `NO_PROXY`: hosts reached directly, separated by commas. `*` is every host; a name is
    /// itself and everything below it; an address is itself, or a network as `10.0.0.0/8`; each
    /// may carry a `:port`.
    pub no_proxy: Option<String>,
}

impl ProxySettings {
    /// Asks `lookup` for each variable, the lower-case name first, like curl. Empty values count
    /// as unset.
    pub fn from_values(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            lookup(&name.to_ascii_lowercase())
                .filter(|value| !value.trim().is_empty())
                .or_else(|| lookup(name).filter(|value| !value.trim().is_empty()))
        };
        Self {
            https: value("HTTPS_PROXY"),
            http: value("HTTP_PROXY"),
            all: value("ALL_PROXY"),
            no_proxy: value("NO_PROXY"),
        }
    }
}

impl fmt::Debug for ProxySettings {
    /// Without the credentials a proxy URL may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().map(shown_proxy);
        f.debug_struct("ProxySettings")
            .field("https", &shown(&self.https))
            .field("http", &shown(&self.http))
            .field("all", &shown(&self.all))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// A proxy variable that names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is set to {value:?}, which is no proxy; it should read like http://proxy.example.org:3128"
)]
pub struct ProxyError {
    /// The variable.
    pub variable: &'static str,
    /// Its value, without credentials.
    pub value: String,
}

/// The settings, parsed.
#[derive(Debug)]
pub(super) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<Direct>,
}

/// One proxy, and how it is shown.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    pub(super) proxy: ureq::Proxy,
    pub(super) shown: String,
}

impl Proxies {
    pub(super) fn new(settings: &ProxySettings) -> Result<Self, ProxyError> {
        let all = parse_proxy("ALL_PROXY", settings.all.as_deref())?;
        Ok(Self {
            https: parse_proxy("HTTPS_PROXY", settings.https.as_deref())?.or_else(|| all.clone()),
            http: parse_proxy("HTTP_PROXY", settings.http.as_deref())?.or(all),
            direct: parse_no_proxy(settings.no_proxy.as_deref().unwrap_or_default()),
        })
    }

    /// The proxy for a URL; `None` where it is reached directly.
    pub(super) fn for_url(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        let host = url.host()?;
        let port = url.port_or_known_default();
        (!self.direct.iter().any(|d| d.covers(&host, port))).then_some(proxy)
    }
}

fn parse_proxy(variable: &'static str, value: Option<&str>) -> Result<Option<Proxy>, ProxyError> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let with_scheme = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let bad = || ProxyError {
        variable,
        value: shown_proxy(value),
    };
    // A port the proxy's URL does not name is the scheme's own; curl's 1080 surprises everybody.
    let proxy = ureq::Proxy::new(&with_scheme).ok().ok_or_else(bad)?;
    if proxy.host().is_empty() {
        return Err(bad());
    }
    let shown = format!("{}:{}", proxy.host(), proxy.port());
    Ok(Some(Proxy {
        proxy,
        shown: printable_max(&shown, 200),
    }))
}

fn shown_proxy(value: &str) -> String {
    let after = value.rsplit_once('@').map_or(value, |(_, after)| after);
    printable_max(after, 200)
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Direct {
    what: DirectHost,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DirectHost {
    Every,
    /// Lower case, without a leading dot.
    Name(String),
    Network(IpAddr, u8),
}

fn parse_no_proxy(text: &str) -> Vec<Direct> {
    text.split([',', ' ', '\t'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(parse_direct)
        .collect()
}

fn parse_direct(entry: &str) -> Direct {
    if entry == "*" {
        return Direct {
            what: DirectHost::Every,
            port: None,
        };
    }
    if let Some(network) = parse_network(entry) {
        return Direct {
            what: network,
            port: None,
        };
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let what = parse_network(bare).unwrap_or_else(|| {
        DirectHost::Name(
            bare.trim_start_matches("*.")
                .trim_start_matches('.')
                .trim_end_matches('.')
                .to_ascii_lowercase(),
        )
    });
    Direct { what, port }
}

fn parse_network(text: &str) -> Option<DirectHost> {
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= all)?,
        None => all,
    };
    Some(DirectHost::Network(address, bits))
}

impl Direct {
    fn covers(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match (&self.what, host) {
            (DirectHost::Every, _) => true,
            (DirectHost::Name(name), Host::Domain(domain)) => {
                let domain = domain.trim_end_matches('.').to_ascii_lowercase();
                domain
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    && !name.is_empty()
            }
            (DirectHost::Network(IpAddr::V4(network), bits), Host::Ipv4(address)) => {
                let shift = 32 - u32::from(*bits);
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (DirectHost::Network(IpAddr::V6(network), bits), Host::Ipv6(address)) => {
                let shift = 128 - u32::from(*bits);
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (DirectHost::Name(_) | DirectHost::Network(..), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxy_for(url: &str, no_proxy: &str) -> Option<String> {
        let settings = ProxySettings {
            https: Some("http://u:p@secure:3128".into()),
            http: None,
            all: Some("socks5://any:1080".into()),
            no_proxy: Some(no_proxy.into()),
        };
        Proxies::new(&settings)
            .unwrap()
            .for_url(&Url::parse(url).unwrap())
            .map(|proxy| proxy.shown.clone())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_stands_in() {
        assert_eq!(
            proxy_for("https://x.org/", "").as_deref(),
            Some("secure:3128")
        );
        assert_eq!(proxy_for("http://x.org/", "").as_deref(), Some("any:1080"));
    }

    #[test]
    fn no_proxy_names_hosts_domains_networks_and_ports() {
        for (url, no_proxy, direct) in [
            ("https://x.org/", "*", true),
            ("https://x.org/", "a.org, x.org", true),
            ("https://a.x.org/", "x.org", true),
            ("https://a.x.org/", ".x.org", true),
            ("https://a.x.org/", "*.x.org", true),
            ("https://ax.org/", "x.org", false),
            ("https://X.ORG/", "x.org.", true),
            ("https://x.org:8443/", "x.org:8443", true),
            ("https://x.org/", "x.org:8443", false),
            ("https://x.org/", "x.org:443", true),
            ("https://10.1.2.3/", "10.0.0.0/8", true),
            ("https://11.1.2.3/", "10.0.0.0/8", false),
            ("https://11.1.2.3/", "0.0.0.0/0", true),
            ("https://[2001:db8::1]/", "2001:db8::/32", true),
            ("https://[::1]/", "::1", true),
            ("https://127.0.0.1/", "localhost,127.0.0.1", true),
            ("https://x.org/", ",,.,", false),
        ] {
            assert_eq!(
                proxy_for(url, no_proxy).is_none(),
                direct,
                "{url} {no_proxy}"
            );
        }
    }

    #[test]
    fn the_lower_case_variable_wins_and_an_empty_one_is_unset() {
        let settings = ProxySettings::from_values(|name| match name {
            "https_proxy" => Some("http://lower:1".into()),
            "HTTPS_PROXY" => Some("http://upper:1".into()),
            "http_proxy" => Some(" ".into()),
            "HTTP_PROXY" => Some("http://upper:2".into()),
            _ => None,
        });
        assert_eq!(settings.https.as_deref(), Some("http://lower:1"));
        assert_eq!(settings.http.as_deref(), Some("http://upper:2"));
    }

    #[test]
    fn a_bad_proxy_is_named_without_its_password() {
        let settings = ProxySettings {
            https: Some("gopher://user:hunter2@proxy".into()),
            ..ProxySettings::default()
        };
        let error = Proxies::new(&settings).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_no_proxy_is_read(text: String) {
            let _ = parse_no_proxy(&text);
        }
    }
}
