//! An HTTP server on loopback, plain or under TLS, that knows conditions and ranges, and can fail.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What lies under a path.
#[derive(Clone, Default)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<String>,
    /// The connection is cut after so many bytes of the body, this many times.
    pub(crate) cut: Option<(usize, u32)>,
}

pub(crate) fn page(body: impl AsRef<[u8]>) -> Page {
    Page {
        status: 200,
        body: body.as_ref().to_vec(),
        ..Page::default()
    }
}

impl Page {
    pub(crate) fn etag(mut self, tag: &str) -> Self {
        self.etag = Some(format!("\"{tag}\""));
        self
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn cut(mut self, after: usize, times: u32) -> Self {
        self.cut = Some((after, times));
        self
    }
}

type Pages = Arc<Mutex<BTreeMap<String, Page>>>;

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    pages: Pages,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::launch("http", None)
    }

    pub(crate) fn start_tls(certificate: &Certificate) -> Self {
        Self::launch("https", Some(Arc::clone(&certificate.config)))
    }

    fn launch(scheme: &'static str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            scheme,
            pages: Arc::default(),
            requests: Arc::default(),
        };
        let (pages, requests) = (Arc::clone(&site.pages), Arc::clone(&site.requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (pages, requests, tls) =
                    (Arc::clone(&pages), Arc::clone(&requests), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &pages, &requests),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &pages, &requests);
                    }
                });
            }
        });
        site
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// Request heads and bodies so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: impl Read + Write, pages: &Pages, requests: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream) else {
        return;
    };
    requests.lock().unwrap().push(request.clone());
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = path.split('?').next().unwrap_or_default();
    let mut pages = pages.lock().unwrap();
    let Some(page) = pages.get_mut(path) else {
        let answer = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).ok();
        return;
    };
    let header = |name: &str| {
        request.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let mut head = Vec::new();
    let mut from = 0;
    if let Some(tag) = &page.etag {
        head.push(format!("ETag: {tag}"));
        if header("if-none-match").as_ref() == Some(tag) {
            stream
                .write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
                .ok();
            return;
        }
        if header("if-range").as_ref() == Some(tag) {
            from = header("range")
                .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
                .unwrap_or(0);
        }
    }
    let status = if from > 0 { 206 } else { page.status };
    if from > 0 {
        let last = page.body.len() - 1;
        head.push(format!(
            "Content-Range: bytes {from}-{last}/{}",
            page.body.len()
        ));
    }
    let body = page.body[from..].to_vec();
    head.push(format!("Content-Length: {}", body.len()));
    head.extend(page.headers.iter().cloned());
    let end = match &mut page.cut {
        Some((after, times)) if *times > 0 => {
            *times -= 1;
            (*after).min(body.len())
        }
        _ => body.len(),
    };
    drop(pages);
    let head = head.join("\r\n");
    let start = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{head}\r\n\r\n");
    stream.write_all(start.as_bytes()).ok();
    stream.write_all(&body[..end]).ok();
    stream.flush().ok();
}

fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// A certificate for `localhost`, and the file that makes a client believe it.
pub(crate) struct Certificate {
    config: Arc<ServerConfig>,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

pub(crate) fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Certificate {
        config: Arc::new(config),
        file,
        _dir: dir,
    }
}

/// A loopback port that refuses connections.
pub(crate) fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A mail server on loopback, without TLS, that takes everything but what is for `refused@`: what it
/// was told, message by message.
pub(crate) fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 relay.test ESMTP\r\n").unwrap();
            log.lock().unwrap().push(String::new());
            let mut in_data = false;
            let mut line = Vec::new();
            let mut byte = [0];
            while matches!(stream.read(&mut byte), Ok(1)) {
                line.push(byte[0]);
                if !line.ends_with(b"\r\n") {
                    continue;
                }
                let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                log.lock().unwrap().last_mut().unwrap().push_str(&text);
                let verb = text.split([' ', '\r']).next().unwrap().to_uppercase();
                let answer: &[u8] = match verb.as_str() {
                    _ if in_data && text != ".\r\n" => continue,
                    "RCPT" if text.contains("<refused@") => b"550 no such mailbox\r\n",
                    "DATA" => b"354 go on\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 ok\r\n",
                };
                in_data = verb == "DATA";
                stream.write_all(answer).unwrap();
                if verb == "QUIT" {
                    break;
                }
            }
        }
    });
    (port, taken)
}
