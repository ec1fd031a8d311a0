//! Feeds over HTTPS: conditional, resumable, bounded, through a proxy where there is one.
//!
//! Entry type: [`Fetcher`]. Beside it [`verify_sha256`], [`verify_sha512`] and
//! [`parse_checksums`] for what a source says of its files.
//!
//! - Conditional requests: RFC 9110 section 13 (`If-None-Match`, `If-Modified-Since`).
//! - Resumption: RFC 9110 section 14, with `If-Range` and a strong validator only; a server that
//!   gives none is asked for the whole again.
//! - HTTPS never becomes HTTP, not by a redirect either. HTTP is used where the URL itself says
//!   `http:`; whoever configures that knows it.
//! - A body may come under the content coding `gzip`; it is resumed as sent, and unpacked when it
//!   is whole, within the same size limit. What is packed by its own name (`.gz`, `.zip`) is asked
//!   for and kept as it is.
//! - `file:` URLs and paths are not its business.

mod checksum;
mod error;
mod headers;
mod partial;
mod proxy;
mod request;
mod signature;
mod url;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mailkeep_model::{FetchState, Timestamp};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::tls::{Roots, RootsError, provider};

pub use checksum::{
    Algorithm, Checksum, VerifyError, expected_for, parse_checksums, verify_sha256, verify_sha512,
};
pub use error::{FetchError, RedirectFault};
pub use proxy::{ProxyError, ProxySettings};
pub use signature::{
    Rejection, SignatureError, SignedBy, dearmor_key, read_status, verify_openpgp,
};
pub use url::without_secrets;

pub(crate) use checksum::to_hex;

/// How [`Fetcher`] behaves. All of it are values: nothing is read from the environment.
#[derive(Clone)]
pub struct FetchSettings {
    /// `User-Agent`: `mailkeep/0.1 (+https://...)`.
    pub user_agent: String,
    /// Proxies, from the environment's values ([`ProxySettings::from_values`]).
    pub proxies: ProxySettings,
    /// Certificate authorities.
    pub roots: Roots,
    /// For the name to be found and the connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// Longest silence: for the answer to begin, and between two pieces of it.
    pub idle_timeout: Duration,
    /// For one attempt in all.
    pub total_timeout: Duration,
    /// Largest file, in bytes.
    pub max_size: u64,
    /// Redirects followed for one request.
    pub max_redirects: u32,
    /// Attempts in all; at least one is made.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with each one.
    pub back_off: Duration,
    /// Longest pause a server may ask for by `Retry-After`; where it asks for more, the fetch
    /// ends with its status and the next scheduled one tries again.
    pub retry_after_limit: Duration,
    /// How a pause is made; tests pass one that does not wait.
    pub pause: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Default for FetchSettings {
    /// 10 s to connect, 30 s of silence, an hour in all, 4 GiB, 5 redirects, 4 attempts with 1, 2
    /// and 4 s between them.
    fn default() -> Self {
        Self {
            user_agent: concat!("mailkeep/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: ProxySettings::default(),
            roots: Roots::default(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_hours(1),
            max_size: 4 << 30,
            max_redirects: 5,
            attempts: 4,
            back_off: Duration::from_secs(1),
            retry_after_limit: Duration::from_mins(1),
            pause: Arc::new(std::thread::sleep),
        }
    }
}

impl fmt::Debug for FetchSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSettings")
            .field("user_agent", &self.user_agent)
            .field("proxies", &self.proxies)
            .field("roots", &self.roots)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("max_size", &self.max_size)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Settings that no fetcher can be made of.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A proxy of the environment.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificates of the authorities.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The source has nothing newer than the state that was passed in.
    NotModified,
    /// A whole file.
    Downloaded(Download),
}

/// A whole file: as many bytes came as the server announced, where it announced any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it is: the path that was passed in. The caller moves or removes it.
    pub file: PathBuf,
    /// For the next conditional request.
    pub state: FetchState,
    /// `Last-Modified`, where it could be read.
    pub last_modified: Option<Timestamp>,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes, as sent, that an earlier, interrupted fetch had left.
    pub resumed_at: u64,
}

/// Fetches files. Cheap to share between threads.
#[derive(Debug)]
pub struct Fetcher {
    agent: ureq::Agent,
    proxies: proxy::Proxies,
    has_roots: bool,
    settings: FetchSettings,
}

impl Fetcher {
    /// Checks the settings and reads the certificates of the authorities.
    pub fn new(settings: FetchSettings) -> Result<Self, SettingsError> {
        let proxies = proxy::Proxies::new(&settings.proxies)?;
        let roots = settings.roots.load()?;
        let has_roots = !roots.is_empty();
        let roots: Vec<Certificate<'static>> = roots
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .user_agent(settings.user_agent.as_str())
            .accept_encoding("")
            .proxy(None)
            // Redirects are followed here, where HTTPS stays HTTPS and none is unseen.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.idle_timeout))
            .timeout_per_write(Some(settings.idle_timeout))
            .timeout_recv_response(Some(settings.idle_timeout))
            .timeout_global(Some(settings.total_timeout))
            // A connection kept open helps little with one request every few hours, and a stale
            // one costs a retry.
            .max_idle_connections(0)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            proxies,
            has_roots,
            settings,
        })
    }

    /// Fetches a URL into the file `partial`.
    ///
    /// `state` is what an earlier [`Download`] gave; it counts only where its location is this
    /// URL. `partial` (with `partial` + `.state` beside it) keeps an interrupted download, which
    /// the next call goes on with; it is locked meanwhile, so that two programs do not write into
    /// each other's. `progress` hears of bytes had and, where known, bytes in all, as sent.
    ///
    /// Connection losses, time-outs and the statuses 408, 429 and 5xx are tried again, as often
    /// as the settings say; refusals and what no repetition mends are not.
    pub fn fetch(
        &self,
        url: &str,
        state: Option<&FetchState>,
        partial: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Fetched, FetchError> {
        request::fetch(self, url, state, partial, progress)
    }

    /// Posts a body once (again only as [`Self::fetch`] would) and forgets the answer. Redirects
    /// are not followed. Of the URL, errors show the host only: of a webhook the rest is a secret.
    pub fn post(
        &self,
        url: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), FetchError> {
        request::post(self, url, content_type, headers, body)
    }
}
