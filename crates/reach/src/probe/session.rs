//! One conversation with a mail server, in the time it may take, plain or under TLS.

use std::io::{self, Read as _, Write as _};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mailkeep_model::text::printable_max;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
};

use super::{
    Cover, HandIn, MAX_LINE, MAX_LINES, MAX_WORDS, ProbeLimits, ProbeServer, refused, reply_line,
    said_no,
};
use crate::fetch::to_hex;

fn connect(server: &ProbeServer, limits: ProbeLimits, deadline: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (server.address.as_str(), server.port)
        .to_socket_addrs()?
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = limits.connect.min(left);
        if wait.is_zero() {
            return Err(out_of_time());
        }
        match TcpStream::connect_timeout(&address, wait) {
            Ok(stream) => {
                // Small commands, each waited for.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection to a server, and how long it may go on.
pub(super) struct Session {
    stream: TcpStream,
    /// Once it is agreed on.
    tls: Option<Box<ClientConnection>>,
    deadline: Instant,
    /// Read, and not yet looked at.
    held: Vec<u8>,
    /// Whether the last reply named STARTTLS.
    starttls: bool,
}

impl Session {
    pub(super) fn open(
        server: &ProbeServer,
        limits: ProbeLimits,
        deadline: Instant,
    ) -> Result<Self, HandIn> {
        let stream = connect(server, limits, deadline)
            .map_err(|error| refused("connect", &error.to_string()))?;
        Ok(Self {
            stream,
            tls: None,
            deadline,
            held: Vec::new(),
            starttls: false,
        })
    }

    pub(super) fn quit(mut self) {
        // In vain where the server is gone already.
        drop(self.write(b"QUIT\r\n"));
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// What comes next has one part in so many of the time that is left. Gives back until when it was.
    pub(super) fn hurry(&mut self, share: u32) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        mem::replace(&mut self.deadline, now + left / share.max(1))
    }

    /// It may go on until then.
    pub(super) fn allow(&mut self, until: Instant) {
        self.deadline = until;
    }

    /// Whether STARTTLS (RFC 3207) is among what the last reply named.
    pub(super) fn offers_starttls(&self) -> bool {
        self.starttls
    }

    /// Agrees on TLS, after the server has said 220 to STARTTLS. The server may be whoever it says.
    pub(super) fn start_tls(&mut self, name: &str) -> io::Result<Cover> {
        let odd = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        if !self.held.is_empty() {
            return Err(odd("more was said before TLS than there was to say"));
        }
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(any_server()?, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            self.send(&mut tls)?;
            if tls.is_handshaking() {
                self.receive(&mut tls)?;
            }
        }
        self.send(&mut tls)?;
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS of another version",
        };
        let certificate = tls
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or_else(|| odd("no certificate"))?;
        let certificate = to_hex(digest(&SHA256, certificate).as_ref());
        self.tls = Some(Box::new(tls));
        Ok(Cover::Tls {
            version,
            certificate,
        })
    }

    /// Sends what TLS has to send.
    fn send(&mut self, tls: &mut ClientConnection) -> io::Result<()> {
        while tls.wants_write() {
            let left = self.left()?;
            self.stream.set_write_timeout(Some(left))?;
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Takes in once what the server sends.
    fn receive(&mut self, tls: &mut ClientConnection) -> io::Result<()> {
        let left = self.left()?;
        self.stream.set_read_timeout(Some(left))?;
        if tls.read_tls(&mut self.stream).map_err(in_time)? == 0 {
            return Err(closed());
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        Ok(())
    }

    /// Reads once; 0 where the server has closed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else {
            let left = self.left()?;
            self.stream.set_read_timeout(Some(left))?;
            return self.stream.read(buffer);
        };
        let outcome = loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.receive(&mut tls).and_then(|()| self.send(&mut tls)) {
                        break Err(error);
                    }
                }
                outcome => break outcome,
            }
        };
        self.tls = Some(tls);
        outcome
    }

    /// Sends a command, where there is one, and wants a reply with this code.
    pub(super) fn expect(
        &mut self,
        stage: &str,
        command: Option<&str>,
        code: u16,
    ) -> Result<(), HandIn> {
        let said = |error: io::Error| refused(stage, &error.to_string());
        if let Some(command) = command {
            self.write(format!("{command}\r\n").as_bytes())
                .map_err(said)?;
        }
        let (got, reply) = self.reply().map_err(said)?;
        // 251 and 252 to RCPT (RFC 5321 section 3.4) take the message, too.
        if got == code || (code == 250 && matches!(got, 251 | 252)) {
            Ok(())
        } else {
            Err(said_no(stage, got, &reply))
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(out_of_time());
        }
        Ok(left)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(mut tls) = self.tls.take() {
            let outcome = tls
                .writer()
                .write_all(bytes)
                .and_then(|()| self.send(&mut tls));
            self.tls = Some(tls);
            return outcome;
        }
        let left = self.left()?;
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write_all(bytes)
    }

    /// A whole reply: its code, and its text on one line.
    pub(super) fn reply(&mut self) -> io::Result<(u16, String)> {
        let mut words = String::new();
        self.starttls = false;
        for _ in 0..MAX_LINES {
            let line = self.line()?;
            self.starttls |= line
                .get(4..)
                .is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(b"STARTTLS"));
            let (code, ends) = reply_line(&line).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "no SMTP reply: {}",
                        printable_max(&String::from_utf8_lossy(&line), 60)
                    ),
                )
            })?;
            if words.len() < MAX_WORDS {
                if !words.is_empty() {
                    words.push_str(" / ");
                }
                let text = String::from_utf8_lossy(&line);
                words.push_str(&printable_max(text.trim_end(), MAX_WORDS));
            }
            if ends {
                return Ok((code, printable_max(&words, MAX_WORDS)));
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a reply without end",
        ))
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.held.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.held.drain(..=end).collect();
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(line);
            }
            if self.held.len() > MAX_LINE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line without end",
                ));
            }
            let mut buffer = [0; 1024];
            match self.read(&mut buffer) {
                Ok(0) => return Err(closed()),
                Ok(read) => self.held.extend(buffer.iter().take(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_time(error)),
            }
        }
    }
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no end in the time allowed")
}

/// What reading ended with: that the time is up is said by the system as if it were a matter of trying again.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, "no answer in the time allowed");
    }
    error
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection",
    )
}

/// TLS with whoever answers, as mail servers do it among each other.
fn any_server() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = crate::tls::provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// Takes every certificate, for what is in a probe is no secret and nobody is trusted for it: it is only
/// put on record. That the server has the certificate's key is still seen to.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
