//! Fetching, against a server on this machine that does what servers do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Reply, Server, certificate, closed_port, http, raw};
use mailkeep_model::{FetchState, text};
use mailkeep_reach::fetch::{
    Download, FetchError, FetchSettings, Fetched, Fetcher, ProxySettings, RedirectFault,
};
use mailkeep_reach::notify::post_webhook;
use mailkeep_reach::{Roots, Secret};

struct Bench {
    dir: tempfile::TempDir,
    fetcher: Fetcher,
    pauses: Arc<Mutex<Vec<Duration>>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut FetchSettings)) -> Self {
        let pauses = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&pauses);
        let mut settings = FetchSettings {
            pause: Arc::new(move |pause| log.lock().unwrap().push(pause)),
            ..FetchSettings::default()
        };
        change(&mut settings);
        Self {
            dir: tempfile::tempdir().unwrap(),
            fetcher: Fetcher::new(settings).unwrap(),
            pauses,
        }
    }

    fn partial(&self) -> PathBuf {
        self.dir.path().join("feed.part")
    }

    fn fetch(&self, url: &str) -> Result<Fetched, FetchError> {
        self.fetch_since(url, None)
    }

    fn fetch_since(&self, url: &str, state: Option<&FetchState>) -> Result<Fetched, FetchError> {
        self.fetcher
            .fetch(url, state, &self.partial(), &mut |_, _| {})
    }

    fn fails(&self, url: &str, kind: &str) -> FetchError {
        let error = self.fetch(url).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let shown = error.to_string();
        assert!(!shown.chars().any(text::is_unsafe), "{shown}");
        error
    }

    fn pauses(&self) -> Vec<u64> {
        let pauses = self.pauses.lock().unwrap();
        pauses.iter().map(Duration::as_secs).collect()
    }
}

fn downloaded(fetched: Fetched) -> (Download, Vec<u8>) {
    match fetched {
        Fetched::Downloaded(download) => {
            let bytes = std::fs::read(&download.file).unwrap();
            assert_eq!(download.length, bytes.len() as u64);
            (download, bytes)
        }
        Fetched::NotModified => panic!("nothing was downloaded"),
    }
}

const TAG: &str = "ETag: \"v1\"";
const MODIFIED: &str = "Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT";

#[test]
fn a_file_is_fetched_with_what_makes_the_next_request_conditional() {
    let server = Server::start(vec![
        http("200 OK", &[TAG, MODIFIED], "body"),
        http("304 Not Modified", &[], ""),
    ]);
    let bench = Bench::new();
    let url = server.url("/feed.json");
    let mut seen = Vec::new();
    let fetched = bench
        .fetcher
        .fetch(&url, None, &bench.partial(), &mut |have, all| {
            seen.push((have, all));
        });
    let (download, bytes) = downloaded(fetched.unwrap());
    assert_eq!(bytes, b"body");
    assert_eq!(seen, [(0, Some(4)), (4, Some(4))]);
    assert_eq!(download.state.location, url);
    assert_eq!(download.state.etag.as_deref(), Some("\"v1\""));
    assert_eq!(
        download.last_modified.unwrap().to_string(),
        "2026-11-21T10:00:00Z"
    );

    let again = bench.fetch_since(&url, Some(&download.state)).unwrap();
    assert_eq!(again, Fetched::NotModified);
    let [first, second] = server.requests().try_into().unwrap();
    assert!(first.contains("accept-encoding: gzip\r\n"), "{first}");
    assert!(first.contains("user-agent: mailkeep/"), "{first}");
    assert!(!first.contains("if-none-match"), "{first}");
    assert!(second.contains("if-none-match: \"v1\"\r\n"), "{second}");
    assert!(
        second.contains("if-modified-since: Sat, 21 Nov 2026 10:00:00 GMT\r\n"),
        "{second}"
    );
}

#[test]
fn the_state_of_another_location_is_worthless() {
    let server = Server::start(vec![http("200 OK", &[], "body")]);
    let bench = Bench::new();
    let state = FetchState {
        location: "https://elsewhere.example.org/feed.json".into(),
        etag: Some("\"v1\"".into()),
        last_modified: None,
    };
    bench
        .fetch_since(&server.url("/feed.json"), Some(&state))
        .unwrap();
    assert!(!server.requests()[0].contains("if-none-match"));
}

#[test]
fn a_lost_connection_is_resumed_where_it_broke() {
    let server = Server::start(vec![
        raw("200 OK", &[TAG, "Content-Length: 10"], "01234"),
        http(
            "206 Partial Content",
            &[TAG, "Content-Range: bytes 5-9/10"],
            "56789",
        ),
    ]);
    let bench = Bench::new();
    let (download, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"0123456789");
    assert_eq!(download.resumed_at, 5);
    assert_eq!(bench.pauses(), [1]);
    let second = &server.requests()[1];
    assert!(second.contains("range: bytes=5-\r\n"), "{second}");
    assert!(second.contains("if-range: \"v1\"\r\n"), "{second}");
}

#[test]
fn the_next_run_resumes_what_the_last_one_left() {
    let server = Server::start(vec![
        raw("200 OK", &[TAG, "Content-Length: 10"], "01234"),
        http(
            "206 Partial Content",
            &[TAG, "Content-Range: bytes 5-9/10"],
            "56789",
        ),
    ]);
    let bench = Bench::with(|settings| settings.attempts = 1);
    let error = bench.fails(&server.url("/a"), "truncated");
    assert!(error.to_string().contains("5 of 10 bytes"), "{error}");
    let (download, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
    assert_eq!(
        (download.resumed_at, bytes.as_slice()),
        (5, &b"0123456789"[..])
    );
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_whole() {
    let server = Server::start(vec![
        raw("200 OK", &[TAG, "Content-Length: 10"], "01234"),
        http("200 OK", &["ETag: \"v2\""], "new"),
    ]);
    let bench = Bench::new();
    let (download, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"new");
    assert_eq!(download.resumed_at, 0);
    assert_eq!(download.state.etag.as_deref(), Some("\"v2\""));
}

#[test]
fn without_a_strong_validator_nothing_is_resumed() {
    let server = Server::start(vec![
        raw("200 OK", &["ETag: W/\"v1\"", "Content-Length: 10"], "01234"),
        http("200 OK", &[], "0123456789"),
    ]);
    let bench = Bench::new();
    let (_, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"0123456789");
    assert!(!server.requests()[1].contains("range:"));
}

#[test]
fn a_part_that_does_not_fit_is_never_appended() {
    for wrong in ["bytes 4-9/10", "bytes 5-8/10", "nonsense"] {
        let server = Server::start(vec![
            raw("200 OK", &[TAG, "Content-Length: 10"], "01234"),
            http(
                "206 Partial Content",
                &[TAG, &format!("Content-Range: {wrong}")],
                "56789",
            ),
            http("200 OK", &[TAG], "0123456789"),
        ]);
        let bench = Bench::new();
        let (_, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
        assert_eq!(bytes, b"0123456789", "{wrong}");
        assert!(!server.requests()[2].contains("range:"), "{wrong}");
    }
}

#[test]
fn a_file_that_shrank_is_fetched_anew() {
    let server = Server::start(vec![
        raw("200 OK", &[TAG, "Content-Length: 10"], "01234"),
        http(
            "416 Range Not Satisfiable",
            &["Content-Range: bytes */3"],
            "",
        ),
        http("200 OK", &[], "new"),
    ]);
    let (_, bytes) = downloaded(Bench::new().fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"new");
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_body_sent_compressed_is_resumed_as_sent_and_unpacked_when_whole() {
    let coding = "Content-Encoding: gzip";
    let packed = gzipped(&b"0123456789".repeat(100));
    let (first, rest) = packed.split_at(9);
    let length = format!("Content-Length: {}", packed.len());
    let range = format!(
        "Content-Range: bytes 9-{}/{}",
        packed.len() - 1,
        packed.len()
    );
    let server = Server::start(vec![
        raw("200 OK", &[TAG, MODIFIED, coding, &length], first),
        // Neither coding nor date: RFC 9110 section 15.3.7 wants them left out.
        http("206 Partial Content", &[TAG, &range], rest),
    ]);
    let (download, bytes) = downloaded(Bench::new().fetch(&server.url("/a.json")).unwrap());
    assert_eq!(bytes, b"0123456789".repeat(100));
    assert_eq!((download.resumed_at, download.length), (9, 1000));
    assert!(download.last_modified.is_some());
    assert!(download.state.last_modified.is_some());
}

#[test]
fn what_is_packed_by_name_is_kept_as_it_is() {
    let packed = gzipped(b"score");
    let server = Server::start(vec![http("200 OK", &["Content-Encoding: gzip"], &packed)]);
    let (_, bytes) = downloaded(Bench::new().fetch(&server.url("/scores.csv.GZ")).unwrap());
    assert_eq!(bytes, packed);
    assert!(server.requests()[0].contains("accept-encoding: identity\r\n"));
}

#[test]
fn a_body_that_swells_or_is_broken_is_refused() {
    let bomb = gzipped(&vec![0; 4 << 20]);
    let mut broken = gzipped(b"0123456789");
    broken.truncate(15);
    let coding = ["Content-Encoding: gzip"];
    let server = Server::start(vec![
        http("200 OK", &coding, bomb),
        http("200 OK", &coding, broken),
        http("200 OK", &coding, "plain"),
    ]);
    let bench = Bench::with(|settings| settings.max_size = 1 << 20);
    bench.fails(&server.url("/a"), "too-large");
    bench.fails(&server.url("/a"), "bad-answer");
    bench.fails(&server.url("/a"), "bad-answer");
}

#[test]
fn a_failed_fetch_that_brought_nothing_leaves_nothing() {
    let bench = Bench::new();
    bench.fails(&format!("http://{}/a", closed_port()), "unreachable");
    let left: Vec<_> = std::fs::read_dir(bench.dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn attempts_and_pauses_are_counted() {
    let broken = raw("200 OK", &["Content-Length: 10"], "01234");
    let server = Server::start(vec![broken; 4]);
    let bench = Bench::new();
    let error = bench.fails(&server.url("/a"), "truncated");
    assert!(error.to_string().contains("4 attempt"), "{error}");
    assert_eq!(bench.pauses(), [1, 2, 4]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_chunked_body_that_breaks_off_is_not_taken_for_whole() {
    let server = Server::start(vec![raw(
        "200 OK",
        &["Transfer-Encoding: chunked"],
        "5\r\n01234\r\n5\r\n56",
    )]);
    Bench::with(|settings| settings.attempts = 1).fails(&server.url("/a"), "truncated");
}

#[test]
fn redirects_are_followed_and_bounded() {
    let server = Server::start(vec![
        http("302 Found", &["Location: ../b?x=1"], ""),
        http("200 OK", &[], "there"),
    ]);
    let (download, bytes) = downloaded(Bench::new().fetch(&server.url("/d/a")).unwrap());
    assert_eq!(bytes, b"there");
    assert_eq!(download.state.location, server.url("/d/a"));
    assert!(server.requests()[1].starts_with("GET /b?x=1 "));

    let circle = http("301 Moved Permanently", &["Location: /a"], "");
    let server = Server::start(vec![circle; 6]);
    let error = Bench::new().fails(&server.url("/a"), "redirect");
    assert!(
        matches!(
            error,
            FetchError::Redirect {
                fault: RedirectFault::TooMany,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn a_redirect_never_leaves_the_web_or_tls() {
    for bad in ["file:///etc/passwd", "ftp://127.0.0.1/x", ""] {
        let server = Server::start(vec![
            http("302 Found", &[&format!("Location: {bad}")], ""),
            http("302 Found", &[], ""),
        ]);
        let error =
            Bench::with(|settings| settings.max_redirects = 1).fails(&server.url("/a"), "redirect");
        drop(error);
    }

    let certificate = certificate(&["127.0.0.1"]);
    let server = Server::start_tls(
        Arc::clone(&certificate.config),
        vec![http("302 Found", &["Location: http://127.0.0.1:1/"], "")],
    );
    let bench = Bench::with(|settings| settings.roots.file = Some(certificate.file.clone()));
    let error = bench.fails(&server.url("/a"), "redirect");
    assert!(
        matches!(
            error,
            FetchError::Redirect {
                fault: RedirectFault::Downgrade,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn tls_needs_an_authority_that_is_known_and_a_name_that_fits() {
    let good = certificate(&["127.0.0.1"]);
    let reply = http("200 OK", &[], "secret");
    let server = Server::start_tls(Arc::clone(&good.config), vec![reply.clone(), reply.clone()]);
    let trusting = Bench::with(|settings| settings.roots.file = Some(good.file.clone()));
    let (_, bytes) = downloaded(trusting.fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"secret");

    let other = certificate(&["127.0.0.1"]);
    let wary = Bench::with(|settings| settings.roots.file = Some(other.file.clone()));
    let error = wary.fails(&server.url("/a"), "tls");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    assert!(wary.pauses().is_empty());

    let misnamed = certificate(&["feeds.example.org"]);
    let server = Server::start_tls(Arc::clone(&misnamed.config), vec![reply]);
    Bench::with(|settings| settings.roots.file = Some(misnamed.file.clone()))
        .fails(&server.url("/a"), "tls");
}

#[test]
fn missing_authorities_are_named_at_once() {
    let settings = FetchSettings {
        roots: Roots {
            file: Some("/nonexistent/ca.pem".into()),
            directory: None,
        },
        ..FetchSettings::default()
    };
    let error = Fetcher::new(settings).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/ca.pem"), "{error}");
}

#[test]
fn a_file_larger_than_the_limit_is_given_up() {
    let server = Server::start(vec![
        http("200 OK", &[], "0123456789"),
        // No length announced: the limit holds all the same.
        raw("200 OK", &[], "0123456789"),
    ]);
    let bench = Bench::with(|settings| settings.max_size = 9);
    for _ in 0..2 {
        let error = bench.fails(&server.url("/a"), "too-large");
        assert!(error.to_string().contains("9 bytes"), "{error}");
    }
    assert!(!bench.partial().exists());
}

#[test]
fn a_body_that_ends_with_its_connection_is_taken() {
    let server = Server::start(vec![raw("200 OK", &[], "0123456789")]);
    let (_, bytes) = downloaded(Bench::new().fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"0123456789");
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let Reply::Bytes(half) = raw("200 OK", &["Content-Length: 10"], "01234") else {
        unreachable!()
    };
    let server = Server::start(vec![Reply::ThenSilence(vec![]), Reply::ThenSilence(half)]);
    let bench = Bench::with(|settings| {
        settings.idle_timeout = Duration::from_millis(200);
        settings.attempts = 1;
    });
    for doing in ["waiting for its answer", "waiting for more of its answer"] {
        let begun = Instant::now();
        let error = bench.fails(&server.url("/a"), "timed-out");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(
            error.to_string().contains("waiting for"),
            "{doing}: {error}"
        );
    }
}

#[test]
fn garbage_is_no_answer() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"\x1b[2J\x00\xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: lots\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let server = Server::start(vec![Reply::Bytes(garbage.to_vec())]);
        let bench = Bench::with(|settings| settings.attempts = 1);
        bench.fails(&server.url("/a"), "bad-answer");
    }
}

#[test]
fn an_answer_of_nothing_but_a_hang_up_is_unreachable() {
    let server = Server::start(vec![Reply::Bytes(vec![])]);
    let bench = Bench::with(|settings| settings.attempts = 1);
    bench.fails(&server.url("/a"), "unreachable");
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let server = Server::start(vec![
        http("503 Service Unavailable", &["Retry-After: 7"], ""),
        http("429 Too Many Requests", &[], ""),
        http("200 OK", &[], "at last"),
    ]);
    let bench = Bench::new();
    let (_, bytes) = downloaded(bench.fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"at last");
    assert_eq!(bench.pauses(), [7, 2]);
}

#[test]
fn a_server_that_asks_for_too_long_a_pause_is_left_for_later() {
    let server = Server::start(vec![http(
        "503 Service Unavailable",
        &["Retry-After: 86400"],
        "",
    )]);
    let bench = Bench::new();
    bench.fails(&server.url("/a"), "status");
    assert!(bench.pauses().is_empty());
}

#[test]
fn a_refusal_is_quoted_printable_and_not_repeated() {
    let body = format!("<h1>\x1b[2JGone\r\n\r\n fishing</h1>{}", "x".repeat(5000));
    let server = Server::start(vec![http("404 Not Found", &[], body)]);
    let bench = Bench::new();
    let error = bench.fails(&server.url("/a"), "status").to_string();
    assert!(error.contains("status 404"), "{error}");
    assert!(error.contains("Gone fishing"), "{error}");
    assert!(error.len() < 600, "{error}");
    assert!(bench.pauses().is_empty());
}

#[test]
fn nobody_listening_is_unreachable_and_not_worth_repeating() {
    let bench = Bench::new();
    bench.fails(&format!("http://{}/a", closed_port()), "unreachable");
    assert!(bench.pauses().is_empty());
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let server = Server::start(vec![
        http("200 OK", &[TAG], "x"),
        http("403 Forbidden", &[], ""),
    ]);
    let url = server.url("/a").replace("http://", "http://user:hunter2@");
    let bench = Bench::new();
    let (download, _) = downloaded(bench.fetch(&url).unwrap());
    assert_eq!(download.state.location, server.url("/a"));
    assert!(
        server.requests()[0].contains("authorization: Basic dXNlcjpodW50ZXIy\r\n"),
        "{}",
        server.requests()[0]
    );
    let error = bench.fails(&url, "status");
    assert!(
        !format!("{error:?} {error}").contains("hunter2"),
        "{error:?}"
    );
}

#[test]
fn a_proxy_is_used_named_and_bypassed() {
    let proxy = Server::start(vec![http("407 Proxy Authentication Required", &[], "")]);
    let through = |no_proxy: &str| {
        let proxies = ProxySettings {
            http: Some(format!("http://u:hunter2@{}", proxy.address)),
            no_proxy: Some(no_proxy.to_owned()),
            ..ProxySettings::default()
        };
        Bench::with(|settings| settings.proxies = proxies)
    };
    let error = through("")
        .fetch("http://feeds.example.org/a")
        .unwrap_err()
        .to_string();
    assert!(
        proxy.requests()[0].contains("feeds.example.org"),
        "{}",
        proxy.requests()[0]
    );
    assert!(!error.contains("hunter2"), "{error}");

    let server = Server::start(vec![http("200 OK", &[], "direct")]);
    let (_, bytes) = downloaded(through("127.0.0.0/8").fetch(&server.url("/a")).unwrap());
    assert_eq!(bytes, b"direct");

    let dead = Bench::with(|settings| {
        settings.proxies.all = Some(format!("{}", closed_port()));
    });
    let error = dead.fails("http://feeds.example.org/a", "unreachable");
    assert!(
        error.to_string().contains("by the proxy 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn a_webhook_is_signed_and_its_secret_path_not_shown() {
    let server = Server::start(vec![
        http("503 Service Unavailable", &[], ""),
        http("204 No Content", &[], ""),
        http("302 Found", &["Location: /elsewhere"], ""),
    ]);
    let bench = Bench::new();
    let url = server.url("/services/T0/hunter2");
    let secret = Secret::new("key");
    post_webhook(&bench.fetcher, &url, b"{\"a\":1}", Some(&secret)).unwrap();
    let requests = server.requests();
    for request in &requests {
        let request = request.to_lowercase();
        assert!(
            request.starts_with("post /services/t0/hunter2 "),
            "{request}"
        );
        assert!(
            request.contains("content-type: application/json\r\n"),
            "{request}"
        );
        assert!(
            request.contains("mailkeep-signature-256: sha256="),
            "{request}"
        );
        assert!(request.contains("idempotency-key: \""), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    }
    assert_eq!(requests[0], requests[1]);

    let error = post_webhook(&bench.fetcher, &url, b"{}", None).unwrap_err();
    assert_eq!(error.kind(), "redirect");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!server.requests()[2].to_lowercase().contains("signature"));
}
