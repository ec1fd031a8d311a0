//! The servers behind the shield: which of them answer, and conversations with them.
//!
//! Entry: [`Backends`] chooses, [`Connection`] speaks. A server's answer is parsed, and never passed on as it came.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mailkeep_wire::{ContentWriter, Offer, Reply, ReplyError, ReplyReader, ServerReply};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::BackendFile;
use crate::spool::Spool;
use crate::stream::Stream;
use crate::tls::{self, TlsError};

const CONNECT: Duration = Duration::from_secs(5);
/// RFC 5321 section 4.5.3.2.1 to 3 has five minutes; ours stands beside us, and a client is waiting.
const ANSWER: Duration = Duration::from_mins(1);
/// RFC 5321 section 4.5.3.2.6.
const TAKEN: Duration = Duration::from_mins(10);

/// Every backend, and what each offered when it was asked last.
#[derive(Debug)]
pub(crate) struct Backends {
    name: String,
    all: Vec<Backend>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    xclient: bool,
    /// `None` while it does not answer.
    offer: RwLock<Option<Offer>>,
}

/// Whom a backend is told of.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    pub(crate) address: SocketAddr,
    pub(crate) hello: String,
    pub(crate) extended: bool,
}

/// Why a conversation failed.
#[derive(Debug, Error)]
pub(crate) enum BackendError {
    #[error("no backend answers")]
    NoneAnswers,
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] std::io::Error),
    #[error("{0} did not answer in time")]
    Late(SocketAddr),
    #[error("the connection to {0} ended")]
    Closed(SocketAddr),
    #[error("the connection to {0} broke")]
    Broken(SocketAddr, #[source] std::io::Error),
    #[error("what {0} answered is no reply")]
    Reply(SocketAddr, #[source] ReplyError),
    #[error("{0} answered {1} where it had to say yes")]
    No(SocketAddr, u16),
    #[error("{0} refuses this client")]
    Refuses(SocketAddr, Box<ServerReply>),
    #[error("{0} does not offer STARTTLS")]
    NoTls(SocketAddr),
    #[error("the message could not be read back")]
    Spool(#[source] std::io::Error),
}

impl BackendError {
    /// Its stable name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Broken(..) => "backend-broken",
            Self::Closed(_) => "backend-closed",
            Self::Connect(..) => "backend-unreachable",
            Self::Late(_) => "backend-late",
            Self::No(..) => "backend-says-no",
            Self::NoTls(_) => "backend-without-tls",
            Self::NoneAnswers => "no-backend",
            Self::Refuses(..) => "backend-refuses-client",
            Self::Reply(_, error) => error.kind(),
            Self::Spool(_) => "spool",
        }
    }
}

/// What became of a message that was handed over.
pub(crate) enum Handed {
    /// The backend's last word.
    Answered(ServerReply),
    /// The connection was lost before any of the message went out: another may be tried.
    NotBegun(BackendError),
}

impl Backends {
    pub(crate) fn new(name: &str, files: &[BackendFile]) -> Result<Self, TlsError> {
        let all = files.iter().map(|file| {
            Ok(Backend {
                address: file.address,
                tls: tls::of_backend(file)?,
                xclient: file.xclient,
                offer: RwLock::new(None),
            })
        });
        Ok(Self {
            name: name.to_owned(),
            all: all.collect::<Result<_, TlsError>>()?,
            next: AtomicUsize::new(0),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Each backend's address, and whether it answers.
    pub(crate) fn state(&self) -> Vec<(String, bool)> {
        let all = self.all.iter();
        all.map(|backend| (backend.address.to_string(), backend.offered().is_some()))
            .collect()
    }

    /// What all that answer offer; `None` where none does.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let offers = self.all.iter().filter_map(Backend::offered);
        offers.reduce(|both, one| both.and(&one))
    }

    /// Asks one backend whether it answers, and what it offers. Tells whether that has changed.
    pub(crate) async fn look(&self, nth: usize) -> Option<(SocketAddr, Result<(), BackendError>)> {
        let backend = self.all.get(nth)?;
        let before = backend.offered().is_some();
        let answer = match Connection::open(backend, &self.name).await {
            Ok(mut connection) => {
                connection.quit().await;
                Ok(connection.offer)
            }
            Err(error) => Err(error),
        };
        backend.remember(answer.as_ref().ok().cloned());
        (before != answer.is_ok()).then(|| (backend.address, answer.map(drop)))
    }

    /// A connection to the next backend that answers, ready for MAIL.
    pub(crate) async fn connect(&self, stranger: &Stranger) -> Result<Connection, BackendError> {
        let begin = self.next.fetch_add(1, Ordering::Relaxed);
        let mut last = BackendError::NoneAnswers;
        for nth in 0..self.all.len() {
            let place = begin.wrapping_add(nth) % self.all.len();
            let Some(backend) = self.all.get(place) else {
                continue;
            };
            if backend.offered().is_none() {
                continue;
            }
            let connection = match Connection::open(backend, &self.name).await {
                Ok(connection) => connection.introduce(backend, stranger).await,
                Err(error) => Err(error),
            };
            match connection {
                Ok(connection) => return Ok(connection),
                // Said of the client: the backend is well, and what one stranger calls himself must not take it
                // from the others.
                Err(error @ BackendError::Refuses(..)) => return Err(error),
                Err(error) => {
                    backend.remember(None);
                    last = error;
                }
            }
        }
        Err(last)
    }
}

impl Backend {
    fn offered(&self) -> Option<Offer> {
        let offer = self.offer.read().unwrap_or_else(PoisonError::into_inner);
        offer.clone()
    }

    fn remember(&self, offer: Option<Offer>) {
        *self.offer.write().unwrap_or_else(PoisonError::into_inner) = offer;
    }
}

/// A conversation with one backend.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Stream,
    reader: ReplyReader,
    /// What it offers in this conversation.
    pub(crate) offer: Offer,
    /// Whether it knows the client's own address.
    pub(crate) knows_client: bool,
}

impl Connection {
    /// Connects, and greets, over TLS where that is configured.
    async fn open(backend: &Backend, name: &str) -> Result<Self, BackendError> {
        let address = backend.address;
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect(address));
        let stream = match connect.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(BackendError::Connect(address, error)),
            Err(_) => return Err(BackendError::Late(address)),
        };
        stream.set_nodelay(true).ok();
        let mut connection = Self {
            address,
            stream: Stream::Plain(stream),
            reader: ReplyReader::default(),
            offer: Offer::default(),
            knows_client: false,
        };
        let banner = connection.answer(ANSWER).await?;
        connection.yes(&banner)?;
        connection.hello(name).await?;
        if let Some((config, server)) = &backend.tls {
            connection.secure(config, server).await?;
            connection.hello(name).await?;
        }
        Ok(connection)
    }

    /// Tells of the client, where the backend listens to that, and greets in its name.
    async fn introduce(
        mut self,
        backend: &Backend,
        stranger: &Stranger,
    ) -> Result<Self, BackendError> {
        if !backend.xclient
            || !self
                .offer
                .xclient
                .iter()
                .any(|attribute| attribute == "ADDR")
        {
            return Ok(self);
        }
        let mut line = "XCLIENT".to_owned();
        for attribute in &self.offer.xclient {
            let value = match attribute.as_str() {
                "ADDR" => match stranger.address.ip().to_canonical() {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("IPV6:{address}"),
                },
                "PORT" => stranger.address.port().to_string(),
                // The shield asks no name server yet, and that is said.
                "NAME" => "[TEMPUNAVAIL]".to_owned(),
                "PROTO" if stranger.extended => "ESMTP".to_owned(),
                "PROTO" => "SMTP".to_owned(),
                _ => continue,
            };
            write!(line, " {attribute}={value}").ok();
        }
        line.push_str("\r\n");
        let hello = format!("EHLO {}\r\n", stranger.hello);
        for line in [line, hello] {
            let reply = self.ask(&line, ANSWER).await?;
            if !reply.is_positive() {
                return Err(BackendError::Refuses(self.address, Box::new(reply)));
            }
            self.offer = Offer::read(&reply);
        }
        self.knows_client = true;
        Ok(self)
    }

    async fn hello(&mut self, name: &str) -> Result<(), BackendError> {
        let reply = self.ask(&format!("EHLO {name}\r\n"), ANSWER).await?;
        if reply.is_positive() {
            self.offer = Offer::read(&reply);
            return Ok(());
        }
        let reply = self.ask(&format!("HELO {name}\r\n"), ANSWER).await?;
        self.offer = Offer::default();
        self.yes(&reply)
    }

    async fn secure(
        &mut self,
        config: &Arc<ClientConfig>,
        server: &ServerName<'static>,
    ) -> Result<(), BackendError> {
        let address = self.address;
        if !self.offer.starttls {
            return Err(BackendError::NoTls(address));
        }
        let reply = self.ask("STARTTLS\r\n", ANSWER).await?;
        self.yes(&reply)?;
        // CVE-2021-38371 and its kin: what stands here was not said over TLS.
        if !self.reader.is_empty() {
            return Err(BackendError::Reply(address, ReplyError::OctetsAfter));
        }
        let Some(plain) = self.stream.take_plain() else {
            return Err(BackendError::Closed(address));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let handshake = tokio::time::timeout(ANSWER, connector.connect(server.clone(), plain));
        match handshake.await {
            Ok(Ok(stream)) => {
                self.stream = Stream::Tls(Box::new(stream.into()));
                Ok(())
            }
            Ok(Err(error)) => Err(BackendError::Broken(address, error)),
            Err(_) => Err(BackendError::Late(address)),
        }
    }

    fn yes(&self, reply: &ServerReply) -> Result<(), BackendError> {
        if reply.is_positive() {
            Ok(())
        } else {
            Err(BackendError::No(self.address, reply.code()))
        }
    }

    /// Sends one command line and awaits its answer.
    pub(crate) async fn ask(
        &mut self,
        line: &str,
        patience: Duration,
    ) -> Result<ServerReply, BackendError> {
        self.quiet()?;
        self.send(line.as_bytes()).await?;
        self.answer(patience).await
    }

    /// That nothing has been said unasked: it would be taken for the answer to what is asked next, and a message
    /// for acknowledged that is not.
    fn quiet(&mut self) -> Result<(), BackendError> {
        let mut buffer = [0; 512];
        let count = self.stream.try_read(&mut buffer);
        self.reader.feed(buffer.get(..count).unwrap_or_default());
        if self.reader.is_empty() {
            Ok(())
        } else {
            Err(BackendError::Reply(self.address, ReplyError::OctetsAfter))
        }
    }

    /// The same with the usual patience.
    pub(crate) async fn command(&mut self, line: &str) -> Result<ServerReply, BackendError> {
        self.ask(line, ANSWER).await
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        let sent = self.stream.write(octets).await;
        sent.map_err(|error| BackendError::Broken(self.address, error))
    }

    async fn answer(&mut self, patience: Duration) -> Result<ServerReply, BackendError> {
        let address = self.address;
        let read = async {
            let mut buffer = vec![0; 4096];
            loop {
                let reply = self.reader.next_reply();
                if let Some(reply) = reply.map_err(|error| BackendError::Reply(address, error))? {
                    return Ok(reply);
                }
                match self.stream.read(&mut buffer).await {
                    Ok(0) => return Err(BackendError::Closed(address)),
                    Ok(count) => self.reader.feed(buffer.get(..count).unwrap_or_default()),
                    Err(error) => return Err(BackendError::Broken(address, error)),
                }
            }
        };
        match tokio::time::timeout(patience, read).await {
            Ok(answer) => answer,
            Err(_) => Err(BackendError::Late(address)),
        }
    }

    /// Hands over a message, behind the headers in `before`. An error here means that nobody knows whether the
    /// backend has it: the sender must keep it.
    pub(crate) async fn hand_over(
        &mut self,
        before: &str,
        spool: &mut Spool,
    ) -> Result<Handed, BackendError> {
        match self.command("DATA\r\n").await {
            Ok(reply) if reply.code() == 354 => {}
            Ok(reply) if reply.is_positive() => {
                return Err(BackendError::No(self.address, reply.code()));
            }
            Ok(reply) if reply.code() == 421 => {
                return Ok(Handed::NotBegun(BackendError::No(self.address, 421)));
            }
            Ok(reply) => return Ok(Handed::Answered(reply)),
            Err(error) => return Ok(Handed::NotBegun(error)),
        }
        spool.rewind().await.map_err(BackendError::Spool)?;
        let mut writer = ContentWriter::default();
        let mut wire = Vec::with_capacity(before.len() + 1024);
        writer.write(before.as_bytes(), &mut wire);
        let mut at = 0;
        loop {
            let piece = spool.piece(at).await.map_err(BackendError::Spool)?;
            if piece.is_empty() {
                break;
            }
            at += piece.len();
            writer.write(&piece, &mut wire);
            self.send(&wire).await?;
            wire.clear();
        }
        writer.end(&mut wire);
        self.quiet()?;
        self.send(&wire).await?;
        let reply = self.answer(TAKEN).await?;
        Ok(Handed::Answered(reply))
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
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a client is told when the conversation behind failed: to try again.
pub(crate) fn try_again() -> Reply {
    let code = mailkeep_wire::EnhancedCode::new(4, 4, 1);
    Reply::new(
        451,
        code,
        "the mail server behind does not answer; try again later",
    )
}
