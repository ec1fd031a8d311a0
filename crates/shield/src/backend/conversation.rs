//! A conversation with one backend. What it answers is parsed, and never passed on as it came.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mailkeep_wire::{ContentWriter, Offer, ProxyHeader, ReplyError, ReplyReader, ServerReply};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Backend, BackendError, Stranger};
use crate::config::{BackendAddress, Protocol, Tells};
use crate::content::Socket;
use crate::spool::Spool;
use crate::stream::Stream;

const CONNECT: Duration = Duration::from_secs(5);
/// RFC 5321 section 4.5.3.2.1 to 3 has five minutes; ours stands beside us, and a client is waiting.
const ANSWER: Duration = Duration::from_mins(1);
/// How long it may take over a message, until its end goes out: the client waits as long as [`TAKEN`] for both.
const TAKING: Duration = Duration::from_mins(5);
/// RFC 5321 section 4.5.3.2.6.
const TAKEN: Duration = Duration::from_mins(10);
/// Octets of a message that are sent at a time.
const PIECE: usize = 64 << 10;

/// What became of a message that was handed over.
pub(crate) enum Handed {
    /// The backend's last word, for all recipients.
    Answered(ServerReply),
    /// Its words for each recipient, in their order; where the connection was lost, not for all of them.
    Each(Vec<ServerReply>),
    /// The connection was lost before any of the message went out: another may be tried.
    NotBegun(BackendError),
}

/// A conversation with one backend.
pub(crate) struct Connection {
    backend: Arc<Backend>,
    stream: Stream,
    reader: ReplyReader,
    buffer: Vec<u8>,
    /// What it offers in this conversation.
    pub(crate) offer: Offer,
    /// Whether it knows the client's own address.
    pub(crate) knows_client: bool,
    /// Whether it is counted.
    counted: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let before = self.backend.conversations.fetch_sub(1, Ordering::Relaxed);
        if before == 1 && self.backend.draining.load(Ordering::Relaxed) {
            self.backend.changed.notify_one();
        }
    }
}

async fn connect(socket: &Socket) -> io::Result<Stream> {
    match socket {
        Socket::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true).ok();
            Ok(Stream::Plain(stream))
        }
        Socket::Unix(path) => loop {
            match UnixStream::connect(path).await {
                // Its queue is full; of a place in it nobody tells (connect(2), EAGAIN).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                stream => return stream.map(Stream::Local),
            }
        },
    }
}

impl Connection {
    /// Connects, and greets, over TLS where that is configured. Where nobody is meant it is only a look.
    pub(super) async fn open(
        backend: &Arc<Backend>,
        name: &str,
        stranger: Option<&Stranger>,
    ) -> Result<Self, BackendError> {
        let address = backend.file.address.clone();
        let stream = match tokio::time::timeout(CONNECT, connect(&address.0)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(BackendError::Connect(address, error)),
            // Only its queue can be what keeps one of this machine.
            Err(_) if matches!(address.0, Socket::Unix(_)) => {
                return Err(BackendError::Busy(address));
            }
            Err(_) => return Err(BackendError::Late(address)),
        };
        let counted = stranger.is_some();
        if counted {
            backend.conversations.fetch_add(1, Ordering::Relaxed);
        }
        let mut connection = Self {
            backend: Arc::clone(backend),
            stream,
            reader: ReplyReader::default(),
            buffer: vec![0; 2048],
            offer: Offer::default(),
            knows_client: false,
            counted,
        };
        let proxied = backend.file.tells() == Tells::Proxy;
        if proxied {
            let addresses = stranger.map(|stranger| (stranger.address, stranger.asked));
            let header = ProxyHeader { addresses };
            connection.send(&header.to_wire()).await?;
            connection.knows_client = true;
        }
        // Whom the banner and the answer to EHLO are meant for.
        let (name, named) = match stranger {
            Some(stranger) if proxied => (stranger.hello.as_str(), true),
            _ => (name, false),
        };
        let banner = connection.answer(ANSWER).await?;
        if !banner.is_positive() {
            return Err(match banner.code() {
                _ if named => BackendError::Refuses(address, Box::new(banner)),
                421 => BackendError::Busy(address),
                code => BackendError::No(address, code),
            });
        }
        connection.hello(name, named).await?;
        if let Some((config, server)) = backend.secure() {
            connection.secure(config, server).await?;
            connection.hello(name, named).await?;
        }
        if backend.file.tells() == Tells::Xclient && !connection.takes("ADDR") {
            return Err(BackendError::NoXclient(address));
        }
        Ok(connection)
    }

    /// Whether it takes this attribute of XCLIENT.
    fn takes(&self, attribute: &str) -> bool {
        self.offer.xclient.iter().any(|taken| taken == attribute)
    }

    /// Tells of the client by XCLIENT, where that is agreed, and greets in its name.
    pub(super) async fn introduce(&mut self, stranger: &Stranger) -> Result<(), BackendError> {
        if self.backend.file.tells() != Tells::Xclient {
            return Ok(());
        }
        let literal = |address: SocketAddr| match address.ip().to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("IPV6:{address}"),
        };
        let mut line = "XCLIENT".to_owned();
        for attribute in &self.offer.xclient {
            let value = match attribute.as_str() {
                "ADDR" => literal(stranger.address),
                "PORT" => stranger.address.port().to_string(),
                "DESTADDR" => literal(stranger.asked),
                "DESTPORT" => stranger.asked.port().to_string(),
                "NAME" => stranger.name.for_xclient().to_owned(),
                "PROTO" if stranger.extended => "ESMTP".to_owned(),
                "PROTO" => "SMTP".to_owned(),
                _ => continue,
            };
            write!(line, " {attribute}={value}").ok();
        }
        line.push_str("\r\n");
        let hello = format!("{} {}\r\n", self.greeting(), stranger.hello);
        for line in [line, hello] {
            let reply = self.command(&line).await?;
            if !reply.is_positive() {
                return Err(BackendError::Refuses(self.address(), Box::new(reply)));
            }
            self.offer = Offer::read(&reply);
        }
        self.knows_client = true;
        Ok(())
    }

    fn greeting(&self) -> &'static str {
        match self.backend.file.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        }
    }

    async fn hello(&mut self, name: &str, named: bool) -> Result<(), BackendError> {
        let greeting = self.greeting();
        let mut reply = self.command(&format!("{greeting} {name}\r\n")).await?;
        if reply.is_positive() {
            self.offer = Offer::read(&reply);
            return Ok(());
        }
        self.offer = Offer::default();
        if self.backend.file.protocol == Protocol::Smtp {
            reply = self.command(&format!("HELO {name}\r\n")).await?;
            if reply.is_positive() {
                return Ok(());
            }
        }
        Err(match reply.code() {
            _ if named => BackendError::Refuses(self.address(), Box::new(reply)),
            421 => BackendError::Busy(self.address()),
            code => BackendError::No(self.address(), code),
        })
    }

    async fn secure(
        &mut self,
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<(), BackendError> {
        let address = self.address();
        if !self.offer.starttls {
            return Err(BackendError::NoTls(address));
        }
        let reply = self.command("STARTTLS\r\n").await?;
        if !reply.is_positive() {
            return Err(BackendError::No(address, reply.code()));
        }
        // CVE-2021-38371 and its kin: what stands here was not said over TLS.
        if !self.reader.is_empty() {
            return Err(BackendError::Reply(address, ReplyError::OctetsAfter));
        }
        let Some(plain) = self.stream.take_plain() else {
            return Err(BackendError::Closed(address));
        };
        let connector = TlsConnector::from(config);
        let handshake = tokio::time::timeout(ANSWER, connector.connect(server, plain));
        match handshake.await {
            Ok(Ok(stream)) => {
                self.stream = Stream::Tls(Box::new(stream.into()));
                Ok(())
            }
            Ok(Err(error)) => Err(BackendError::Tls(address, error)),
            Err(_) => Err(BackendError::Late(address)),
        }
    }

    /// Whether its backend gets no new mail.
    pub(crate) fn is_draining(&self) -> bool {
        self.backend.draining.load(Ordering::Relaxed)
    }

    /// Sends one command line and awaits its answer.
    pub(crate) async fn command(&mut self, line: &str) -> Result<ServerReply, BackendError> {
        self.quiet()?;
        self.send(line.as_bytes()).await?;
        self.answer(ANSWER).await
    }

    /// That nothing has been said unasked: it would be taken for the answer to what is asked next, and a message
    /// for acknowledged that is not.
    fn quiet(&mut self) -> Result<(), BackendError> {
        match self.stream.try_read(&mut self.buffer) {
            Some(0) => return Err(BackendError::Closed(self.address())),
            Some(count) => self
                .reader
                .feed(self.buffer.get(..count).unwrap_or_default()),
            None => {}
        }
        if self.reader.is_empty() {
            Ok(())
        } else {
            Err(BackendError::Reply(self.address(), ReplyError::OctetsAfter))
        }
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        let sent = self.stream.write(octets).await;
        sent.map_err(|error| BackendError::Broken(self.address(), error))
    }

    async fn answer(&mut self, patience: Duration) -> Result<ServerReply, BackendError> {
        let address = &self.backend.file.address;
        let read = async {
            loop {
                let reply = self.reader.next_reply();
                if let Some(reply) =
                    reply.map_err(|error| BackendError::Reply(address.clone(), error))?
                {
                    return Ok(reply);
                }
                match self.stream.read(&mut self.buffer).await {
                    Ok(0) => return Err(BackendError::Closed(address.clone())),
                    Ok(count) => self
                        .reader
                        .feed(self.buffer.get(..count).unwrap_or_default()),
                    Err(error) => return Err(BackendError::Broken(address.clone(), error)),
                }
            }
        };
        match tokio::time::timeout(patience, read).await {
            Ok(answer) => answer,
            Err(_) => Err(BackendError::Late(address.clone())),
        }
    }

    /// Hands over a message to so many recipients, behind the headers in `before`. An error here means that nobody
    /// knows whether the backend has it: the sender must keep it.
    pub(crate) async fn hand_over(
        &mut self,
        before: &str,
        spool: &mut Spool,
        recipients: usize,
    ) -> Result<Handed, BackendError> {
        spool.rewind().await.map_err(BackendError::Spool)?;
        match self.command("DATA\r\n").await {
            Ok(reply) if reply.code() == 354 => {}
            Ok(reply) if reply.is_positive() => {
                return Err(BackendError::No(self.address(), reply.code()));
            }
            Ok(reply) if reply.code() == 421 => {
                return Ok(Handed::NotBegun(BackendError::No(self.address(), 421)));
            }
            Ok(reply) => return Ok(Handed::Answered(reply)),
            Err(error) => return Ok(Handed::NotBegun(error)),
        }
        let begun = Instant::now();
        let last = self.content(before, spool, TAKING).await?;
        self.quiet()?;
        self.send(&last).await?;
        let reply = self.answer(TAKEN.saturating_sub(begun.elapsed())).await?;
        if self.backend.file.protocol == Protocol::Smtp || recipients < 2 {
            return Ok(Handed::Answered(reply));
        }
        let mut replies = vec![reply];
        while replies.len() < recipients {
            // Of some it is known now that they have it: that must not be lost with the others.
            match self.answer(TAKEN.saturating_sub(begun.elapsed())).await {
                Ok(reply) => replies.push(reply),
                Err(_) => break,
            }
        }
        Ok(Handed::Each(replies))
    }

    /// Sends a message but its last piece, which it returns with the end: a small message is one segment. A backend that
    /// drains it drop by drop is given up while nothing is lost by it.
    async fn content(
        &mut self,
        before: &str,
        spool: &mut Spool,
        patience: Duration,
    ) -> Result<Vec<u8>, BackendError> {
        let late = BackendError::Late(self.address());
        let send = async {
            let mut writer = ContentWriter::default();
            let mut wire = Vec::with_capacity(before.len() + 8192);
            writer.write(before.as_bytes(), &mut wire);
            let mut piece = spool.piece().await.map_err(BackendError::Spool)?;
            if !before.is_empty() {
                // What is left out may have cut its first line.
                while (1..FIRST_LINE).contains(&piece.len()) {
                    let more = spool.piece().await.map_err(BackendError::Spool)?;
                    if more.is_empty() {
                        break;
                    }
                    piece.extend(more);
                }
                writer.write(between(&piece), &mut wire);
            }
            while !piece.is_empty() {
                writer.write(&piece, &mut wire);
                if wire.len() >= PIECE {
                    self.send(&wire).await?;
                    wire.clear();
                }
                piece = spool.piece().await.map_err(BackendError::Spool)?;
            }
            writer.end(&mut wire);
            Ok(wire)
        };
        tokio::time::timeout(patience, send)
            .await
            .unwrap_or(Err(late))
    }

    /// Says goodbye, without waiting long.
    pub(crate) async fn quit(&mut self) {
        if self.send(b"QUIT\r\n").await.is_ok() {
            // Whether it answers does not matter.
            drop(self.answer(Duration::from_secs(1)).await);
        }
        self.stream.close().await;
    }

    /// Its address, for the log.
    pub(crate) fn address(&self) -> BackendAddress {
        self.backend.file.address.clone()
    }
}

/// As much of a message as tells how it begins.
const FIRST_LINE: usize = 1024;

/// What has to stand between headers of ours and a message that begins so.
fn between(message: &[u8]) -> &'static [u8] {
    let arrows = message.iter().take_while(|octet| **octet == b'>').count();
    let begins_mailbox = |line: &[u8]| {
        // `From : a@example.org` is a header (RFC 5322 section 4.5.2).
        let behind = line.strip_prefix(b"From ").map(<[u8]>::trim_ascii_start);
        behind.is_some_and(|behind| !behind.starts_with(b":"))
    };
    match message {
        // It would be read as the rest of a header of ours. Postfix, too, takes such a message for one without headers.
        [b' ' | b'\t', ..] => b"\r\n",
        // Of a mailbox. Postfix makes a header of it where it comes first, and of nothing behind that.
        _ if message.get(arrows..).is_some_and(begins_mailbox) => b"X-Mailbox-Line: ",
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use socket2::{Domain, SockAddr, Type};

    use super::*;

    #[test]
    fn a_header_is_no_line_of_a_mailbox() {
        for (message, stands) in [
            (
                &b"From a@x.example Mon\r\nA: b"[..],
                &b"X-Mailbox-Line: "[..],
            ),
            (b">From a@x.example", b"X-Mailbox-Line: "),
            (b"From : a@x.example\r\n", b""),
            (b"From: a@x.example\r\n", b""),
            (b"\tx", b"\r\n"),
            (b">x", b""),
            (b"", b""),
        ] {
            assert_eq!(between(message), stands, "{}", message.escape_ascii());
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bound = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        bound.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        bound.listen(1).unwrap();
        let listener = UnixListener::from(bound);
        let mut waiting = Vec::new();
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => waiting.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let socket = Socket::Unix(path);
        let mut connects = Box::pin(connect(&socket));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut connects).await;
        assert!(early.is_err(), "there is no place");
        drop(listener.accept().unwrap());
        assert!(connects.await.is_ok());
    }

    #[tokio::test]
    async fn a_backend_that_drains_a_message_drop_by_drop_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let file = format!("address = \"unix:{}\"", path.display());
        let file = toml::from_str(&file).unwrap();
        let backends = crate::backend::Backends::new("shield.example.org", &[file]).unwrap();
        let backend = Arc::clone(&backends.all[0]);
        let mut connection = Connection {
            stream: connect(&backend.file.address.0).await.unwrap(),
            reader: ReplyReader::default(),
            buffer: vec![0; 2048],
            offer: Offer::default(),
            knows_client: true,
            counted: false,
            backend,
        };
        let (mut peer, _) = listener.accept().unwrap();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let goes_on = Arc::clone(&stop);
        // Each octet that it takes would have renewed the patience with a single write.
        let drains = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while !goes_on.load(Ordering::Relaxed) {
                let mut octet = [0];
                std::io::Read::read_exact(&mut peer, &mut octet).unwrap();
                taken.push(octet[0]);
                std::thread::yield_now();
            }
            std::io::Read::read_to_end(&mut peer, &mut taken).unwrap();
            taken
        });
        let mut spool = Spool::new(directory.path().to_owned(), 1 << 20);
        for _ in 0..256 {
            spool
                .add(&mut b"0123456789abcde\n".repeat(4096))
                .await
                .unwrap();
        }
        spool.rewind().await.unwrap();
        let sent = connection
            .content("", &mut spool, Duration::from_millis(200))
            .await;
        assert!(matches!(sent, Err(BackendError::Late(_))));
        stop.store(true, Ordering::Relaxed);
        drop(connection);
        let taken = drains.join().unwrap();
        assert!(taken.len() < 16 << 20);
        assert!(!taken.windows(5).any(|end| end == b"\r\n.\r\n"));
    }
}
