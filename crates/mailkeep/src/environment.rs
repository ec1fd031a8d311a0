//! Every environment variable that is read, in one place; docs/environment.md lists them.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the edge where the environment is read"
)]

use std::path::PathBuf;

use mailkeep_reach::Roots;
use mailkeep_reach::fetch::ProxySettings;

use crate::app::Environment;

/// Names and meanings, as docs/environment.md gives them.
pub const VARIABLES: &[(&str, &str)] = &[
    (
        "ALL_PROXY",
        "Proxy for feeds and webhooks where the scheme's own is not set.",
    ),
    (
        "HOME",
        "For the state directory where XDG_STATE_HOME is not set, the fleet file likewise, and the key that approves a plan where none is named.",
    ),
    ("HTTPS_PROXY", "Proxy for https:// feeds and webhooks."),
    ("HTTP_PROXY", "Proxy for http:// feeds and webhooks."),
    (
        "LOGNAME",
        "Who is recorded as having ordered something, where USER is not set.",
    ),
    (
        "NO_COLOR",
        "Set to anything: no colour unless --color=always.",
    ),
    ("NO_PROXY", "Hosts reached without a proxy."),
    (
        "SSL_CERT_DIR",
        "Directory of certificate authorities instead of the system's.",
    ),
    (
        "SSL_CERT_FILE",
        "File of certificate authorities instead of the system's.",
    ),
    (
        "SUDO_USER",
        "Who is recorded as having ordered something, under sudo.",
    ),
    ("USER", "Who is recorded as having ordered something."),
    (
        "XDG_CONFIG_HOME",
        "Where mailkeep/mailkeep.toml is looked for.",
    ),
    (
        "XDG_STATE_HOME",
        "Where mailkeep/ with the state is kept, for any user but root.",
    ),
];

/// Reads what the command line needs.
pub fn read() -> Environment {
    let path = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    Environment {
        home: path("HOME"),
        state_home: path("XDG_STATE_HOME").filter(|p| p.is_absolute()),
        config_home: path("XDG_CONFIG_HOME").filter(|p| p.is_absolute()),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        user: user(),
        login: ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| {
            let value = std::env::var(name).ok()?;
            (!value.trim().is_empty()).then_some(value)
        }),
    }
}

/// The effective user of this process: `/proc/self` belongs to it (proc(5)).
fn user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self")
        .ok()
        .map(|metadata| metadata.uid())
}

/// Proxies.
pub fn proxies() -> ProxySettings {
    ProxySettings::from_values(|name| std::env::var(name).ok())
}

/// Certificate authorities.
pub fn roots() -> Roots {
    let path = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    Roots {
        file: path("SSL_CERT_FILE"),
        directory: path("SSL_CERT_DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_on_the_page_of_its_own() {
        let page = include_str!("../../../docs/environment.md");
        for (name, meaning) in VARIABLES {
            assert!(
                page.contains(&format!("| `{name}` | {meaning} |")),
                "{name}"
            );
        }
        assert_eq!(
            page.lines().filter(|line| line.starts_with("| `")).count(),
            VARIABLES.len()
        );
    }
}
