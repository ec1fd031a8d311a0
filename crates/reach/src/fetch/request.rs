//! One fetch: its attempts, redirects, conditions and resumption.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use mailkeep_model::FetchState;
use mailkeep_model::text::printable_max;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, LAST_MODIFIED, LOCATION};
use ureq::http::{Response, StatusCode};
use ureq::{Body, Timeout};
use url::Url;

use super::error::Source;
use super::headers::{
    header, is_entity_tag, origin_of, parse_content_range, parse_http_date, retry_after,
};
use super::partial::Partial;
use super::{Download, FetchError, Fetched, Fetcher, RedirectFault};

/// Bytes read from the network at once.
const CHUNK: usize = 64 * 1024;

/// Bytes of an error's body that are read to quote from.
const MAX_EXCERPT: u64 = 2048;

/// Characters of it that are quoted.
const EXCERPT: usize = 200;

/// A failed attempt.
struct Failed {
    error: FetchError,
    again: Again,
}

enum Again {
    /// No repetition mends it.
    Never,
    /// After the usual pause.
    Later,
    /// After what the server asked for.
    After(Duration),
}

impl From<FetchError> for Failed {
    fn from(error: FetchError) -> Self {
        Self {
            error,
            again: Again::Never,
        }
    }
}

pub(super) fn fetch(
    fetcher: &Fetcher,
    url: &str,
    state: Option<&FetchState>,
    path: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Fetched, FetchError> {
    let url = super::url::parse(url)?;
    let shown = super::url::shown(&url);
    let mut partial = Partial::open(path, &shown, &shown)?;
    let state = state.filter(|state| state.location == shown);
    let mut gzip = false;
    let outcome = with_retries(fetcher, |attempt| {
        attempt_fetch(
            &Call {
                fetcher,
                shown: &shown,
                attempt,
            },
            &url,
            state,
            &mut partial,
            &mut gzip,
            progress,
        )
    });
    match outcome {
        Err(error) => {
            partial.abandon();
            Err(error)
        }
        Ok(None) => {
            partial.remove();
            Ok(Fetched::NotModified)
        }
        Ok(Some(mut download)) => {
            download.length = partial.complete(gzip, fetcher.settings.max_size)?;
            path.clone_into(&mut download.file);
            Ok(Fetched::Downloaded(download))
        }
    }
}

pub(super) fn post(
    fetcher: &Fetcher,
    url: &str,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(), FetchError> {
    let url = super::url::parse(url).map_err(|error| match error {
        FetchError::BadUrl { reason, .. } => FetchError::BadUrl {
            url: "the configured URL".to_owned(),
            reason,
        },
        other => other,
    })?;
    let shown = super::url::host_only(&url);
    with_retries(fetcher, |attempt| {
        let call = Call {
            fetcher,
            shown: &shown,
            attempt,
        };
        let proxy = fetcher.proxies.for_url(&url);
        let mut request = fetcher
            .agent
            .post(url.as_str())
            .header("content-type", content_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request
            .config()
            .proxy(proxy.map(|p| p.proxy.clone()))
            .build()
            .send(body)
            .map_err(|error| call.transport(error, proxy_shown(proxy)))?;
        if response.status().is_success() {
            return Ok(());
        }
        if response.status().is_redirection() {
            return Err(call
                .redirect(&location_of(&response), RedirectFault::Posted)
                .into());
        }
        Err(call.status(&mut response))
    })
}

fn with_retries<T>(
    fetcher: &Fetcher,
    mut attempt: impl FnMut(u32) -> Result<T, Failed>,
) -> Result<T, FetchError> {
    let settings = &fetcher.settings;
    let mut number = 1;
    let mut back_off = settings.back_off;
    loop {
        let failed = match attempt(number) {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        if number >= settings.attempts {
            return Err(failed.error);
        }
        let pause = match failed.again {
            Again::Later => back_off,
            Again::After(asked) if asked <= settings.retry_after_limit => asked.max(back_off),
            Again::Never | Again::After(_) => return Err(failed.error),
        };
        (settings.pause)(pause);
        back_off = back_off.saturating_mul(2);
        number += 1;
    }
}

/// What every error of an attempt names.
#[derive(Clone, Copy)]
struct Call<'a> {
    fetcher: &'a Fetcher,
    shown: &'a str,
    attempt: u32,
}

/// One attempt: `None` where nothing has changed. `file` and `length` of the answer are left for
/// the caller to fill.
fn attempt_fetch(
    call: &Call<'_>,
    url: &Url,
    state: Option<&FetchState>,
    partial: &mut Partial,
    gzip: &mut bool,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Option<Download>, Failed> {
    let (mut response, proxy) = get(call, url, state, partial)?;
    let mut last_modified = header(response.headers(), &LAST_MODIFIED).map(str::to_owned);
    *gzip = header(response.headers(), &CONTENT_ENCODING)
        .is_some_and(|coding| matches!(coding, "gzip" | "x-gzip"))
        && !is_packed(url);
    let (resumed_at, total) = match response.status() {
        StatusCode::NOT_MODIFIED if state.is_some() => return Ok(None),
        StatusCode::OK => {
            let total = response.body().content_length();
            call.check_size(total)?;
            let origin = origin_of(response.headers(), call.shown, *gzip);
            partial.restart(origin.as_ref())?;
            (0, total)
        }
        StatusCode::PARTIAL_CONTENT => {
            let range = header(response.headers(), &CONTENT_RANGE).and_then(parse_content_range);
            let (Some((have, origin)), Some((begin, total))) = (partial.resume_point(), range)
            else {
                return Err(unasked(call, partial));
            };
            if begin != have {
                return Err(unasked(call, partial));
            }
            *gzip = origin.gzip;
            last_modified = last_modified.or_else(|| origin.last_modified.clone());
            call.check_size(total)?;
            (begin, total)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            // The file there is shorter than what is here: it is another one.
            partial.discard()?;
            return Err(Failed {
                error: call.status(&mut response).error,
                again: Again::Later,
            });
        }
        status if status.is_success() => {
            return Err(call
                .bad_answer(&format!("status {} with no file", status.as_u16()))
                .into());
        }
        _ => return Err(call.status(&mut response)),
    };

    let download = Download {
        file: std::path::PathBuf::new(),
        last_modified: last_modified.as_deref().and_then(parse_http_date),
        length: 0,
        resumed_at,
        state: FetchState {
            location: call.shown.to_owned(),
            etag: header(response.headers(), &ETAG)
                .filter(|tag| is_entity_tag(tag))
                .map(str::to_owned),
            last_modified,
        },
    };
    copy(call, response, proxy.as_deref(), partial, total, progress)?;
    Ok(Some(download))
}

/// Another part than the missing one: nothing there can be trusted to fit.
fn unasked(call: &Call<'_>, partial: &mut Partial) -> Failed {
    match partial.discard() {
        Ok(()) => call
            .bad_answer("a part of the file that was not asked for")
            .retry(Again::Later),
        Err(error) => error.into(),
    }
}

/// Asks, following redirects.
fn get(
    call: &Call<'_>,
    url: &Url,
    state: Option<&FetchState>,
    partial: &Partial,
) -> Result<(Response<Body>, Option<String>), Failed> {
    let mut url = url.clone();
    let mut redirects = 0;
    loop {
        let proxy = call.fetcher.proxies.for_url(&url);
        let coding = if is_packed(&url) { "identity" } else { "gzip" };
        let mut request = call
            .fetcher
            .agent
            .get(url.as_str())
            .header("accept-encoding", coding);
        if let Some(state) = state {
            if let Some(etag) = &state.etag {
                request = request.header("if-none-match", etag);
            }
            if let Some(date) = &state.last_modified {
                request = request.header("if-modified-since", date);
            }
        }
        if let Some((have, origin)) = partial.resume_point() {
            request = request
                .header("range", format!("bytes={have}-"))
                .header("if-range", &origin.validator);
        }
        let response = request
            .config()
            .proxy(proxy.map(|p| p.proxy.clone()))
            .build()
            .call()
            .map_err(|error| call.transport(error, proxy_shown(proxy)))?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((response, proxy_shown(proxy)));
        }
        let to = location_of(&response);
        redirects += 1;
        if redirects > call.fetcher.settings.max_redirects {
            return Err(call.redirect(&to, RedirectFault::TooMany).into());
        }
        let next = url
            .join(&to)
            .ok()
            .filter(super::url::is_web)
            .ok_or_else(|| call.redirect(&to, RedirectFault::NotHttp))?;
        if url.scheme() == "https" && next.scheme() != "https" {
            return Err(call.redirect(&to, RedirectFault::Downgrade).into());
        }
        url = next;
    }
}

/// The body to the file, counted against what was announced and what is allowed.
fn copy(
    call: &Call<'_>,
    response: Response<Body>,
    proxy: Option<&str>,
    partial: &mut Partial,
    total: Option<u64>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Failed> {
    // The limit is kept below, where its error can name the file.
    let mut body = response
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader();
    let mut buffer = vec![0; CHUNK];
    progress(partial.have(), total);
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(call.lost(error, proxy, partial.have(), total)),
        };
        let have = partial.have().saturating_add(read as u64);
        if let Err(error) = call.check_size(Some(have)) {
            partial.discard()?;
            return Err(error.into());
        }
        partial.write(buffer.get(..read).unwrap_or_default())?;
        progress(have, total);
    }
    let have = partial.have();
    match total {
        Some(total) if have < total => Err(Failed {
            error: FetchError::Truncated {
                url: call.shown.to_owned(),
                have,
                expected: Some(total),
                attempts: call.attempt,
            },
            again: Again::Later,
        }),
        Some(total) if have > total => {
            partial.discard()?;
            Err(call.bad_answer("more bytes than it announced").into())
        }
        _ => Ok(()),
    }
}

impl Call<'_> {
    fn check_size(&self, size: Option<u64>) -> Result<(), FetchError> {
        let limit = self.fetcher.settings.max_size;
        if size.is_some_and(|size| size > limit) {
            return Err(FetchError::TooLarge {
                url: self.shown.to_owned(),
                limit,
            });
        }
        Ok(())
    }

    fn bad_answer(&self, reason: &str) -> FetchError {
        FetchError::BadAnswer {
            url: self.shown.to_owned(),
            reason: printable_max(reason, EXCERPT),
        }
    }

    fn redirect(&self, to: &str, fault: RedirectFault) -> FetchError {
        FetchError::Redirect {
            url: self.shown.to_owned(),
            to: super::url::without_secrets(to),
            fault,
        }
    }

    fn status(&self, response: &mut Response<Body>) -> Failed {
        let status = response.status();
        let again = match status.as_u16() {
            408 | 429 | 500 | 502..=504 => {
                retry_after(response.headers()).map_or(Again::Later, Again::After)
            }
            _ => Again::Never,
        };
        let hint = match status.as_u16() {
            401 | 403 => "it wants credentials, or refuses this network",
            404 | 410 => "the file is not there (any more): check the URL",
            407 => "the proxy wants credentials: set them in the proxy variable",
            429 => "it was asked too often: try later",
            500..=599 => "the trouble is on its side: try later",
            _ => "check the URL",
        };
        FetchError::Status {
            url: self.shown.to_owned(),
            code: status.as_u16(),
            excerpt: excerpt_of(response),
            hint,
            attempts: self.attempt,
        }
        .retry(again)
    }

    /// An error before the answer.
    fn transport(&self, error: ureq::Error, proxy: Option<String>) -> Failed {
        let url = self.shown.to_owned();
        let attempts = self.attempt;
        match error {
            ureq::Error::Timeout(what) => FetchError::TimedOut {
                url,
                proxy,
                doing: waited_for(what),
                attempts,
            }
            .retry(Again::Later),
            ureq::Error::Io(error) if is_tls(&error) => {
                self.tls(proxy, Box::new(error)).retry(Again::Never)
            }
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => {
                self.tls(proxy, Box::new(error)).retry(Again::Never)
            }
            ureq::Error::Io(error) => {
                let again = match error.kind() {
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::NetworkDown
                    | io::ErrorKind::AddrNotAvailable => Again::Never,
                    _ => Again::Later,
                };
                self.unreachable(proxy, Box::new(error)).retry(again)
            }
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_) => {
                self.unreachable(proxy, Box::new(error)).retry(Again::Never)
            }
            other => self.bad_answer(&other.to_string()).retry(Again::Never),
        }
    }

    /// An error within the body.
    fn lost(
        &self,
        error: io::Error,
        proxy: Option<&str>,
        have: u64,
        expected: Option<u64>,
    ) -> Failed {
        match ureq::Error::from(error) {
            ureq::Error::Timeout(what) => FetchError::TimedOut {
                url: self.shown.to_owned(),
                proxy: proxy.map(str::to_owned),
                doing: waited_for(what),
                attempts: self.attempt,
            }
            .retry(Again::Later),
            ureq::Error::Io(error) if !is_tls(&error) => FetchError::Truncated {
                url: self.shown.to_owned(),
                have,
                expected,
                attempts: self.attempt,
            }
            .retry(Again::Later),
            other => self.transport(other, proxy.map(str::to_owned)),
        }
    }

    fn unreachable(&self, proxy: Option<String>, source: Source) -> FetchError {
        FetchError::Unreachable {
            url: self.shown.to_owned(),
            proxy,
            attempts: self.attempt,
            source,
        }
    }

    fn tls(&self, proxy: Option<String>, source: Source) -> FetchError {
        FetchError::Tls {
            url: self.shown.to_owned(),
            proxy,
            hint: if self.fetcher.has_roots {
                "check this machine's clock; where a proxy inspects TLS, name its authority in SSL_CERT_FILE"
            } else {
                "this machine has no certificate authorities: install ca-certificates, or set SSL_CERT_FILE"
            },
            source,
        }
    }
}

impl FetchError {
    fn retry(self, again: Again) -> Failed {
        Failed { error: self, again }
    }
}

/// Whether a file is compressed by its own name: it is wanted as it is, whatever the server calls
/// its coding.
fn is_packed(url: &Url) -> bool {
    Path::new(url.path()).extension().is_some_and(|extension| {
        ["gz", "tgz", "zip", "bz2", "xz", "zst"]
            .iter()
            .any(|packed| extension.eq_ignore_ascii_case(packed))
    })
}

fn waited_for(what: Timeout) -> &'static str {
    match what {
        Timeout::Resolve => "looking up its name",
        Timeout::Connect => "connecting",
        Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => "sending the request",
        Timeout::RecvResponse => "waiting for its answer",
        Timeout::PerRead | Timeout::RecvBody => "waiting for more of its answer",
        _ => "before everything had come",
    }
}

/// rustls hands its errors on inside `io::Error`.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn proxy_shown(proxy: Option<&super::proxy::Proxy>) -> Option<String> {
    proxy.map(|proxy| proxy.shown.clone())
}

fn location_of(response: &Response<Body>) -> String {
    response
        .headers()
        .get(LOCATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

/// The beginning of an error's body as one printable line.
fn excerpt_of(response: &mut Response<Body>) -> String {
    let mut bytes = Vec::new();
    // What of it can be read is enough.
    response
        .body_mut()
        .as_reader()
        .take(MAX_EXCERPT)
        .read_to_end(&mut bytes)
        .ok();
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    printable_max(&words.join(" "), EXCERPT)
}
