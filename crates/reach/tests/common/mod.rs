//! A small HTTP server of the tests' own: one scripted reply a connection, in order.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server does with a connection once it has read the request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Writes this and closes.
    Bytes(Vec<u8>),
    /// Writes this, then nothing more until the client gives up.
    ThenSilence(Vec<u8>),
}

/// `HTTP/1.1 STATUS` with these header lines and this body, and its `Content-Length`.
pub(crate) fn http(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let length = format!("Content-Length: {}", body.len());
    let headers: Vec<&str> = headers.iter().copied().chain([length.as_str()]).collect();
    raw(status, &headers, body)
}

/// The same without `Content-Length`.
pub(crate) fn raw(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_ref());
    Reply::Bytes(bytes)
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        Self::launch("http", replies, None)
    }

    pub(crate) fn start_tls(config: Arc<ServerConfig>, replies: Vec<Reply>) -> Self {
        Self::launch("https", replies, Some(config))
    }

    fn launch(scheme: &'static str, replies: Vec<Reply>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for reply in replies {
                let (stream, _) = listener.accept().unwrap();
                match &tls {
                    None => serve(stream, &reply, &log),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        serve(StreamOwned::new(connection, stream), &reply, &log);
                    }
                }
            }
        });
        Self {
            address,
            scheme,
            requests,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Request heads and bodies so far, header names in lower case as they come.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: impl Read + Write, reply: &Reply, log: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream) else {
        return;
    };
    log.lock().unwrap().push(request);
    let (Reply::Bytes(bytes) | Reply::ThenSilence(bytes)) = reply;
    stream.write_all(bytes).ok();
    stream.flush().ok();
    if matches!(reply, Reply::ThenSilence(_)) {
        // Ends when the client hangs up.
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    }
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

/// A certificate for some names, and the file that makes a client believe it.
pub(crate) struct TestCertificate {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) file: PathBuf,
    _dir: tempfile::TempDir,
}

pub(crate) fn certificate(names: &[&str]) -> TestCertificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
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
    TestCertificate {
        config: Arc::new(config),
        file,
        _dir: dir,
    }
}

/// A loopback port that refuses connections.
pub(crate) fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Both ends of a connection, for dialogues written by hand.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}
