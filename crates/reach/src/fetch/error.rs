//! Why a fetch brought nothing.

use std::io;
use std::path::{Path, PathBuf};

/// The cause below one of ours.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// A fetch that brought nothing. URLs in it are shown without credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not an `http:` or `https:` URL with a host.
    #[error("{url} cannot be fetched: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program writes the same download.
    #[error("{} is being downloaded by another process; wait for it to end", path.display())]
    Busy {
        /// The download file.
        path: PathBuf,
    },
    /// What came is not HTTP, or not an answer to what was asked.
    #[error("{url} gave no sensible answer: {reason}; a proxy or captive portal may stand between")]
    BadAnswer {
        /// What was fetched.
        url: String,
        /// What was wrong with it, printable.
        reason: String,
    },
    /// No room.
    #[error("no room on disk for {} (from {url}); {have} bytes are there, and the next attempt goes on from them if the server allows", path.display())]
    DiskFull {
        /// What was fetched.
        url: String,
        /// The download file.
        path: PathBuf,
        /// Bytes written.
        have: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The download file could not be used.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `open`, `write`, `lock`.
        doing: &'static str,
        /// The download file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects to {to}, which is not followed: {fault}")]
    Redirect {
        /// What was fetched.
        url: String,
        /// Where it pointed, printable.
        to: String,
        /// Why not.
        fault: RedirectFault,
    },
    /// The server said no.
    #[error(
        "{url} answered with status {code} after {attempts} attempt(s){}; {hint}",
        quoted(excerpt)
    )]
    Status {
        /// What was fetched.
        url: String,
        /// HTTP status.
        code: u16,
        /// The beginning of its answer, one printable line; may be empty.
        excerpt: String,
        /// What to do.
        hint: &'static str,
        /// Attempts made.
        attempts: u32,
    },
    /// No answer, or no more of it, in time.
    #[error(
        "{url}{}: timed out {doing}, {attempts} attempt(s); try later, or check network and proxy",
        via(proxy.as_deref())
    )]
    TimedOut {
        /// What was fetched.
        url: String,
        /// The proxy used, without credentials.
        proxy: Option<String>,
        /// What was waited for.
        doing: &'static str,
        /// Attempts made.
        attempts: u32,
    },
    /// TLS failed: the certificate, or the protocol.
    #[error("{url}{}: no trusted TLS connection; {hint}", via(proxy.as_deref()))]
    Tls {
        /// What was fetched.
        url: String,
        /// The proxy used, without credentials.
        proxy: Option<String>,
        /// What to do.
        hint: &'static str,
        /// What TLS said.
        #[source]
        source: Source,
    },
    /// Larger than allowed.
    #[error("{url} is larger than the limit of {limit} bytes; the download was given up")]
    TooLarge {
        /// What was fetched.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The connection ended before the file did.
    #[error("{url}: the connection was lost after {have} of {} bytes, {attempts} attempt(s); the next fetch goes on from there if the server allows", expected.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string()))]
    Truncated {
        /// What was fetched.
        url: String,
        /// Bytes that came.
        have: u64,
        /// Bytes announced.
        expected: Option<u64>,
        /// Attempts made.
        attempts: u32,
    },
    /// No connection.
    #[error(
        "cannot reach {url}{}, {attempts} attempt(s); check the name, the network and the proxy settings",
        via(proxy.as_deref())
    )]
    Unreachable {
        /// What was fetched.
        url: String,
        /// The proxy used, without credentials.
        proxy: Option<String>,
        /// Attempts made.
        attempts: u32,
        /// What the system said.
        #[source]
        source: Source,
    },
}

impl FetchError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadAnswer { .. } => "bad-answer",
            Self::BadUrl { .. } => "bad-url",
            Self::Busy { .. } => "busy",
            Self::DiskFull { .. } => "disk-full",
            Self::File { .. } => "file",
            Self::Redirect { .. } => "redirect",
            Self::Status { .. } => "status",
            Self::TimedOut { .. } => "timed-out",
            Self::Tls { .. } => "tls",
            Self::TooLarge { .. } => "too-large",
            Self::Truncated { .. } => "truncated",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// From HTTPS to HTTP.
    #[error("it would leave TLS")]
    Downgrade,
    /// Not a URL, or none for the web.
    #[error("it is no http or https URL")]
    NotHttp,
    /// A redirect of a posted body.
    #[error("what is posted goes to the configured URL only")]
    Posted,
    /// More redirects than allowed; perhaps in a circle.
    #[error("too many redirects")]
    TooMany,
}

fn via(proxy: Option<&str>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" (by the proxy {proxy})"))
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() {
        String::new()
    } else {
        format!(", saying {excerpt:?}")
    }
}

/// An error of writing the download.
pub(crate) fn file_error(
    doing: &'static str,
    path: &Path,
    url: &str,
    have: u64,
    source: io::Error,
) -> FetchError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            FetchError::DiskFull {
                url: url.to_owned(),
                path,
                have,
                source,
            }
        }
        _ => FetchError::File {
            doing,
            path,
            source,
        },
    }
}
