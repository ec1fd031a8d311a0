//! The filter of a Postfix or Sendmail that stays in front itself: listens for its connections, and looks at each message
//! as the proxy does.
//!
//! Entry: [`Door::open`], then [`Door::serve`]. The conversation is that of `mailkeep_wire::milter`. Where anything goes
//! wrong the connection ends, and the mail server does what it was told for that (`milter_default_action`, `F=T`): it
//! must be told to answer with a temporary failure.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailkeep_inspect::Verdict;
use mailkeep_wire::milter::{Milter, MilterEnvelope, MilterLimits, MilterStep, Settled};
use mailkeep_wire::{EnhancedCode, Reply};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::content::{MilterSocket, Outcome, Socket, Subject};
use crate::server::Shared;
use crate::spool::Spool;

/// Octets of a message that wait for the rest of it before they are put away: what is smaller is never copied.
const WAIT: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a mail server may be silent between messages. Postfix keeps a connection for as long as its process waits
/// for the next client, two minutes as it comes.
const IDLE: Duration = Duration::from_hours(1);
/// How long it may be silent within a message.
const PAUSE: Duration = Duration::from_mins(10);
/// How long it may leave an answer unread.
const WRITE: Duration = Duration::from_mins(1);

/// A socket that mail servers connect to.
pub(crate) struct Door {
    name: Arc<str>,
    socket: Socket,
    listener: Listener,
}

enum Listener {
    Inet(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// Listens. A Unix socket that a former shield left behind is replaced; anything else in its place is not.
    pub(crate) fn open(socket: &MilterSocket) -> io::Result<Self> {
        let listener = match &socket.socket {
            Socket::Inet(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Listener::Inet(TcpListener::from_std(listener)?)
            }
            Socket::Unix(path) => {
                replace(path)?;
                let bound = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
                bound.bind(&SockAddr::unix(path)?)?;
                // Nobody can connect before it listens, and then only who may.
                let mode = std::fs::Permissions::from_mode(socket.mode);
                std::fs::set_permissions(path, mode)?;
                bound.listen(BACKLOG)?;
                bound.set_nonblocking(true)?;
                Listener::Unix(UnixListener::from_std(bound.into())?)
            }
        };
        Ok(Self {
            name: Arc::from(socket.name.as_str()),
            socket: socket.socket.clone(),
            listener,
        })
    }

    /// Serves every mail server that connects, until it is stopped. `alive` lives as long as their conversations.
    /// There is `room` for so many, at all doors together.
    pub(crate) async fn serve(
        self,
        shared: Arc<Shared>,
        room: Arc<Semaphore>,
        mut stopped: watch::Receiver<bool>,
        alive: mpsc::Sender<()>,
    ) {
        let address = match &self.listener {
            Listener::Inet(listener) => listener
                .local_addr()
                .map_or_else(|_| self.socket.to_string(), |one| format!("inet:{one}")),
            Listener::Unix(_) => self.socket.to_string(),
        };
        let fields = [("milter", json!(&*self.name)), ("socket", json!(address))];
        shared.log.line("milter-listening", &fields);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                _ = stopped.changed() => break,
            };
            let Ok(stream) = accepted else {
                // Out of descriptors, most likely: others end soon.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                let fields = [("milter", json!(&*self.name))];
                shared.log.line("milter-too-many", &fields);
                continue;
            };
            let server = Server {
                shared: Arc::clone(&shared),
                name: Arc::clone(&self.name),
                stream,
                stopped: stopped.clone(),
                milter: Milter::new(MilterLimits {
                    size: shared.limits.message_size,
                    ..MilterLimits::default()
                }),
                spool: None,
                content: Vec::new(),
            };
            tokio::spawn(server.run(permit, alive.clone()));
        }
        if let Socket::Unix(path) = &self.socket {
            std::fs::remove_file(path).ok();
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Both>> {
        match &self.listener {
            Listener::Inet(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true).ok();
                Ok(Box::new(stream))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Removes a socket at which nobody listens.
fn replace(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if found.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err() {
        return std::fs::remove_file(path);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// One connection of a mail server.
struct Server {
    shared: Arc<Shared>,
    name: Arc<str>,
    stream: Box<dyn Both>,
    stopped: watch::Receiver<bool>,
    milter: Milter,
    /// The message that has begun, once any of it came.
    spool: Option<Spool>,
    content: Vec<u8>,
}

impl Server {
    async fn run(mut self, permit: OwnedSemaphorePermit, alive: mpsc::Sender<()>) {
        if let Err(why) = self.converse().await {
            let fields = [("milter", json!(&*self.name)), ("why", json!(why))];
            self.shared.log.line("milter-broken", &fields);
        }
        drop(permit);
        drop(alive);
    }

    /// An error is the stable name of what went wrong.
    async fn converse(&mut self) -> Result<(), &'static str> {
        loop {
            match self.milter.step(&mut self.content) {
                Ok(MilterStep::Feed) => {
                    if self.content.len() >= WAIT {
                        self.store(false).await?;
                    }
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Ok(MilterStep::Send(octets)) => self.write(&octets).await?,
                Ok(MilterStep::Forget) => {
                    self.spool = None;
                    self.content.clear();
                }
                Ok(MilterStep::Message { size, too_large }) => {
                    self.store(true).await?;
                    let spool = self.spool.take();
                    let octets = self.message(spool, size, too_large).await;
                    self.write(&octets).await?;
                }
                Ok(MilterStep::Quit) => return Ok(()),
                Err(error) => return Err(error.kind()),
            }
        }
    }

    /// False where the conversation is over.
    async fn read(&mut self) -> Result<bool, &'static str> {
        let begun = self.milter.in_message();
        let patience = if begun { PAUSE } else { IDLE };
        let mut stopped = self.stopped.clone();
        let stop = async move { stopped.wait_for(|stopped| *stopped).await.is_ok() };
        let read = tokio::select! {
            read = tokio::time::timeout(patience, self.stream.read_buf(self.milter.room())) => read,
            // A message that has begun may come to its end.
            _ = stop, if !begun => return Ok(false),
        };
        match read {
            Ok(Ok(0) | Err(_)) if begun => Err("milter-gone"),
            Ok(Ok(0) | Err(_)) => Ok(false),
            Ok(Ok(_)) => Ok(true),
            Err(_) => Err("milter-late"),
        }
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), &'static str> {
        let write = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("milter-gone"),
            Err(_) => Err("milter-late"),
        }
    }

    /// Puts what came of the message where it is kept; at its end, with all that may yet fail.
    async fn store(&mut self, ends: bool) -> Result<(), &'static str> {
        if self.content.is_empty() && !(ends && self.spool.is_some()) {
            return Ok(());
        }
        let most = self.shared.limits.memory_per_message;
        let spool = self
            .spool
            .get_or_insert_with(|| Spool::new(self.shared.spool.clone(), most));
        let added = if ends {
            spool.end(&mut self.content).await
        } else {
            spool.add(&mut self.content).await
        };
        self.content.clear();
        added.map_err(|error| self.spool_failed(&error))
    }

    fn spool_failed(&self, error: &io::Error) -> &'static str {
        let fields = [
            ("milter", json!(&*self.name)),
            ("why", json!(error.to_string())),
        ];
        self.shared.log.line("spool-failed", &fields);
        "spool-failed"
    }

    /// What is answered to the end of a message.
    async fn message(&mut self, spool: Option<Spool>, size: u64, too_large: bool) -> Vec<u8> {
        let envelope = self.milter.envelope().clone();
        let trace = self.shared.trace();
        let mut reply = Reply::new(
            451,
            EnhancedCode::new(4, 7, 1),
            &format!("it could not be looked into; try again later (reference {trace})"),
        );
        let mut outcome = Outcome::unseen(Verdict::Tempfail);
        let mut why = None;
        if too_large {
            why = Some("message-too-large");
            outcome.verdict = Verdict::Refuse;
            let text = format!("larger than is taken here (reference {trace})");
            reply = Reply::new(552, EnhancedCode::new(5, 3, 4), &text);
        } else {
            let content = self.shared.content();
            let room = content.room(size).await;
            let octets = match spool {
                Some(mut spool) if room.is_some() => {
                    let octets = spool.octets().await;
                    octets
                        .map_err(|error| why = Some(self.spool_failed(&error)))
                        .ok()
                }
                None => Some(Arc::new(Vec::new())),
                Some(_) => None,
            };
            if let Some(octets) = octets {
                let subject = subject(&envelope, &self.name, &trace);
                outcome = content
                    .judge(
                        &subject,
                        octets,
                        room.clone(),
                        &self.shared.patches,
                        &self.shared.log,
                    )
                    .await;
                if let Some(said) = outcome.reply.take() {
                    reply = said;
                }
            } else {
                why = why.or(Some("no-room"));
            }
            drop(room);
        }
        self.log(&envelope, &trace, size, &outcome, why);
        let settled = match outcome.verdict {
            Verdict::Accept => Settled::Accept(outcome.edits()),
            Verdict::Quarantine if outcome.kept => Settled::Discard,
            Verdict::Quarantine => {
                let rule = outcome.reasons.first().map_or("", |reason| &*reason.rule);
                Settled::Quarantine(outcome.edits(), format!("{rule} (reference {trace})"))
            }
            Verdict::Tempfail | Verdict::Refuse => Settled::Reply(reply.clone()),
        };
        self.milter.settle(&settled, &reply)
    }

    fn log(
        &self,
        envelope: &MilterEnvelope,
        trace: &str,
        size: u64,
        outcome: &Outcome,
        why: Option<&str>,
    ) {
        let client = envelope.client.map(|one| one.to_canonical().to_string());
        let domain = envelope.sender.rsplit_once('@').map(|(_, domain)| domain);
        let mut fields: Vec<(&'static str, Value)> = vec![
            ("trace", json!(trace)),
            ("milter", json!(&*self.name)),
            ("client", json!(client)),
            ("verdict", json!(outcome.verdict.name())),
            ("size", json!(size)),
            ("recipients", json!(envelope.recipients.len())),
            ("sender_domain", json!(domain)),
            ("queue_id", json!(envelope.queue_id)),
            ("tls", json!(envelope.secure)),
        ];
        fields.extend(outcome.fields());
        if let Some(why) = why {
            fields.push(("why", json!(why)));
        }
        self.shared.log.line("message", &fields);
    }
}

fn subject(envelope: &MilterEnvelope, name: &str, trace: &str) -> Subject {
    Subject {
        listener: name.to_owned(),
        trace: trace.to_owned(),
        // Of whom nobody knows where he is, nobody knows that he is here.
        client: envelope
            .client
            .or_else(|| (!envelope.local).then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        hello: envelope.hello.clone(),
        sender: envelope.sender.clone(),
        recipients: envelope.recipients.clone(),
        authenticated: envelope.authenticated.is_some(),
        login: envelope.authenticated.clone(),
        spf: None,
    }
}
