//! One client: what it says is taken by the session of `mailkeep-wire`, and answered with a backend's answers.
//!
//! Entry: [`Client::run`]. A message is acknowledged only with the backend's own acknowledgement; whatever goes wrong
//! before that is a temporary failure, so that the sender keeps it.

mod arrival;
mod auth;
mod delivery;
mod judged;
mod partly;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailkeep_wire::{
    Action, Command, EnhancedCode, Mechanisms, Offer, Refusal, Reply, Rule, ServerReply, Session,
    Step,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::auth::Exchange;
use self::delivery::Envelope;
pub(crate) use self::partly::Partly;
use crate::backend::{BackendError, Connection, Stranger, try_again};
use crate::config::{Kind, ListenerFile};
use crate::resolver::ClientName;
use crate::server::{Admitted, Shared};
use crate::spool::Spool;
use crate::stream::Stream;
use crate::veto::CommandLine;

/// Octets read at a time.
const PIECE: usize = 16 << 10;
/// Octets of answers that wait for the end of a group of commands.
const MOST_REPLIES: usize = 16 << 10;
/// How long a client may pause within a message (RFC 5321 section 4.5.3.2.5).
const PAUSE: Duration = Duration::from_mins(3);

/// One client.
pub(crate) struct Client {
    shared: Arc<Shared>,
    listener: Arc<ListenerFile>,
    /// The session's own.
    trace: String,
    /// That of the message that has begun: each is known by its own, since each may be kept, and asked about.
    message_trace: Option<String>,
    /// Messages that have begun.
    messages: u32,
    address: SocketAddr,
    /// The address that it asked for.
    asked: SocketAddr,
    name: Naming,
    stream: Stream,
    session: Session,
    stopped: watch::Receiver<bool>,
    /// What the client called itself.
    hello: String,
    backend: Option<Connection>,
    /// An AUTH that goes on.
    exchange: Option<Exchange>,
    envelope: Envelope,
    /// Answers that wait for the end of a group of commands.
    replies: String,
    /// By when the message that is being read must be whole.
    deadline: Option<Instant>,
    /// When the last command was dealt with. Octets that make no command do not count: one that comes each minute
    /// would hold a session for good.
    dealt: Instant,
}

/// What the client is called.
enum Naming {
    /// The name servers are being asked, while the client greets.
    Asked(JoinHandle<ClientName>),
    Told(ClientName),
}

impl Drop for Naming {
    fn drop(&mut self) {
        // Who has gone needs no name.
        if let Self::Asked(asked) = self {
            asked.abort();
        }
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said QUIT.
    Quit,
    /// It went away.
    Gone,
    /// It was silent, or its message took too long.
    Late,
    /// A rule closed it.
    Closed,
    /// The shield is stopping.
    Stopping,
    /// TLS failed.
    Handshake,
    /// What a proxy said of the client was no PROXY header.
    Header,
    /// No backend answers.
    NoBackend,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Gone => "gone",
            Self::Handshake => "handshake-failed",
            Self::Header => "proxy-header-failed",
            Self::Late => "late",
            Self::NoBackend => "no-backend",
            Self::Quit => "quit",
            Self::Stopping => "stopping",
        }
    }
}

impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        listener: Arc<ListenerFile>,
        trace: String,
        stream: TcpStream,
        address: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            asked: stream.local_addr().unwrap_or(address),
            session: Self::session(&shared, &listener, address),
            shared,
            listener,
            trace,
            message_trace: None,
            messages: 0,
            address,
            name: Naming::Told(ClientName::Unknown),
            stream: Stream::Plain(stream),
            stopped,
            hello: String::new(),
            backend: None,
            exchange: None,
            envelope: Envelope::default(),
            replies: String::new(),
            deadline: None,
            dealt: Instant::now(),
        }
    }

    fn session(shared: &Shared, listener: &ListenerFile, address: SocketAddr) -> Session {
        let actions = shared.policy().actions(&listener.name, address.ip());
        let session = Session::new(Offer::default(), actions, shared.limits.of_session());
        match listener.kind {
            Kind::Mx => session,
            Kind::Submission | Kind::Submissions => session.requiring_auth(),
        }
    }

    /// Serves the client to its end.
    pub(crate) async fn run(mut self, mut admitted: Admitted) {
        let mut greeted = self.arrive(&mut admitted).await;
        if greeted.is_ok() {
            if let Some(reverse) = self.shared.reverse() {
                let address = self.address.ip();
                let asked = async move { reverse.name_of(address).await };
                self.name = Naming::Asked(tokio::spawn(asked));
            }
            greeted = self.greet().await;
        }
        let end = match greeted {
            Ok(()) => self.converse().await,
            Err(end) => end,
        };
        self.flush().await.ok();
        if let Some(mut backend) = self.backend.take() {
            backend.quit().await;
        }
        self.stream.close().await;
        self.message_trace = None;
        self.log("session", &[("end", json!(end.name()))]);
    }

    async fn greet(&mut self) -> Result<(), End> {
        let delay = Duration::from_millis(self.shared.limits.greet_delay_ms);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut early = [0; 512];
        let count = self.stream.try_read(&mut early).unwrap_or(0);
        self.session.feed(early.get(..count).unwrap_or_default());
        if let Some(refusal) = self.session.before_banner() {
            self.refuse(refusal);
            return Err(End::Closed);
        }
        self.monitored();
        let Some(offer) = self.offer(self.session.is_secure()) else {
            let code = EnhancedCode::new(4, 3, 2);
            let text = "the mail server behind does not answer; try again later";
            self.say(&Reply::new(421, code, text));
            return Err(End::NoBackend);
        };
        self.session.set_offer(offer);
        self.say(&Reply::bare(220, &[format!("{} ESMTP", self.shared.name)]));
        self.flush().await
    }

    /// What this client is offered: what the backends take, and what the shield adds.
    fn offer(&self, secure: bool) -> Option<Offer> {
        let behind = self.shared.backends.offer(&self.listener.name)?;
        let most = self.shared.limits.message_size;
        let ours = Offer {
            auth: if secure {
                self.listener.mechanisms()
            } else {
                Mechanisms::default()
            },
            eight_bit: true,
            dsn: true,
            size: Some(most),
            utf8: true,
            ..Offer::default()
        };
        let both = ours.and(&behind);
        Some(Offer {
            enhanced: true,
            pipelining: true,
            size: both.size.or(Some(most)),
            starttls: !secure && self.shared.tls(&self.listener.name).is_some(),
            ..both
        })
    }

    async fn converse(&mut self) -> End {
        let mut content = Vec::new();
        let mut buffer = vec![0; PIECE];
        loop {
            let step = self.session.step(&mut content);
            let dealt = step != Step::Feed;
            let done = match step {
                Step::Feed => self.read(&mut content, &mut buffer).await,
                Step::Command(command) => self.command(command).await,
                Step::Credentials(data) => self.credentials(data).await,
                Step::Refused(refusal) => {
                    self.refuse(refusal);
                    self.give_up_exchange(refusal.rule.name()).await;
                    if refusal.closes() {
                        Err(End::Closed)
                    } else {
                        Ok(())
                    }
                }
                Step::Message { refused, size } => {
                    self.monitored();
                    self.deadline = None;
                    let taken = self.message(refused, size, &mut content).await;
                    self.message_trace = None;
                    content.clear();
                    taken
                }
                Step::GiveUp(refusal) => {
                    let envelope = std::mem::take(&mut self.envelope);
                    self.refuse_message(refusal, &envelope, None);
                    Err(End::Closed)
                }
            };
            self.monitored();
            if dealt {
                self.dealt = Instant::now();
            }
            if let Err(end) = done {
                return end;
            }
            // A client that does not read its answers must not make them pile up.
            if self.replies.len() > MOST_REPLIES
                && let Err(end) = self.flush().await
            {
                return end;
            }
        }
    }

    /// Answers what has been said, and waits for more.
    async fn read(&mut self, content: &mut Vec<u8>, buffer: &mut [u8]) -> Result<(), End> {
        self.flush().await?;
        if !content.is_empty() {
            if let Some(spool) = &mut self.envelope.spool
                && let Err(error) = spool.add(content).await
            {
                self.spool_failed(&error);
                self.envelope.spool = None;
            }
            content.clear();
        }
        let room = self.session.room().min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let patience = match self.deadline {
            Some(deadline) => deadline
                .saturating_duration_since(Instant::now())
                .min(PAUSE),
            None => self
                .shared
                .limits
                .idle()
                .saturating_sub(self.dealt.elapsed()),
        };
        // A message that has begun may come to its end.
        let may_stop = !self.session.in_transaction();
        let mut stopped = self.stopped.clone();
        let stop = async move { stopped.wait_for(|stopped| *stopped).await.is_ok() };
        let heard = tokio::select! {
            read = tokio::time::timeout(patience, self.stream.read(buffer)) => Some(read),
            _ = stop, if may_stop => None,
        };
        match heard {
            None => {
                let code = EnhancedCode::new(4, 3, 2);
                self.say(&Reply::new(421, code, "going out of service; try again"));
                Err(End::Stopping)
            }
            Some(Err(_)) => Err(self.late()),
            Some(Ok(Ok(0) | Err(_))) => Err(End::Gone),
            Some(Ok(Ok(count))) => {
                self.session.feed(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn late(&mut self) -> End {
        let code = EnhancedCode::new(4, 4, 2);
        self.say(&Reply::new(421, code, "too slow; try again"));
        End::Late
    }

    async fn command(&mut self, command: Command) -> Result<(), End> {
        if let Some(closes) = self.vetoed(&command) {
            return if closes { Err(End::Closed) } else { Ok(()) };
        }
        let mut accepted = true;
        match &command {
            Command::Hello { extended, name } => {
                self.forget().await;
                let known = self.hello == name.as_str() && self.session.is_extended() == *extended;
                name.as_str().clone_into(&mut self.hello);
                // A backend was told of another name.
                if !known && !self.session.is_authenticated() {
                    self.leave_backend().await;
                }
                let mut lines = vec![self.shared.name.clone()];
                if *extended {
                    match self.offer(self.session.is_secure()) {
                        Some(offer) => {
                            lines.extend(offer.keywords());
                            self.session.set_offer(offer);
                        }
                        None => return self.no_backend(),
                    }
                }
                self.say(&Reply::bare(250, &lines));
            }
            Command::Mail { from, .. } => {
                accepted = self.mail(&command, from).await?;
                if !accepted {
                    self.message_trace = None;
                }
            }
            Command::Recipient { to, .. } => accepted = self.recipient(&command, to).await,
            Command::Data => {
                accepted = !self.envelope.lost;
                if accepted {
                    let most = self.shared.limits.memory_per_message;
                    self.envelope.spool = Some(Spool::new(self.shared.spool.clone(), most));
                    self.deadline = Some(Instant::now() + self.shared.limits.message());
                    let text = "send the message; a dot alone on a line ends it".to_owned();
                    self.say(&Reply::bare(354, &[text]));
                } else {
                    self.say(&try_again());
                    self.forget().await;
                    self.session.forget_transaction();
                }
            }
            Command::Reset => {
                self.forget().await;
                self.say(&ok("forgotten"));
            }
            Command::Noop => self.say(&ok("nothing done")),
            Command::Verify | Command::Expand => {
                let code = EnhancedCode::new(2, 5, 2);
                self.say(&Reply::new(252, code, "send mail, and it will be tried"));
            }
            Command::Help => self.say(&Reply::new(214, EnhancedCode::new(2, 0, 0), "see RFC 5321")),
            Command::Quit => {
                self.say(&Reply::new(221, EnhancedCode::new(2, 0, 0), "goodbye"));
                return Err(End::Quit);
            }
            Command::StartTls => return self.starttls().await,
            Command::Auth { mechanism, .. } => {
                return self.authenticate(*mechanism, &command.to_wire()).await;
            }
        }
        self.session.answered(accepted);
        Ok(())
    }

    fn no_backend(&mut self) -> Result<(), End> {
        let text = "the mail server behind does not answer; try again later";
        self.say(&Reply::new(421, EnhancedCode::new(4, 3, 2), text));
        Err(End::NoBackend)
    }

    /// Whether a rule for a single hole speaks against a command; then the client was told.
    fn vetoed(&mut self, command: &Command) -> Option<bool> {
        let line = CommandLine {
            line: self.session.line(),
            command,
            listener: &self.listener.name,
            client: self.address.ip(),
            secure: self.session.is_secure(),
            authenticated: self.session.is_authenticated(),
        };
        let veto = self.shared.veto(&line)?;
        let fields = [("rule", json!(veto.rule)), ("family", json!("patch"))];
        if !veto.refuses {
            self.log("monitored", &fields);
            return None;
        }
        self.log("refused", &fields);
        self.say(&veto.reply.with(&self.reference()));
        let too_many = self.session.refused_by_caller();
        if too_many && !veto.closes {
            self.refuse(Refusal {
                rule: Rule::TooManyErrors,
            });
        }
        Some(veto.closes || too_many)
    }

    /// Lets go of the backend.
    async fn leave_backend(&mut self) {
        if let Some(mut backend) = self.backend.take() {
            backend.quit().await;
        }
    }

    /// Whom a backend is told of; waits for his name, if it is still being asked for.
    async fn stranger(&mut self) -> Stranger {
        if let Naming::Asked(asked) = &mut self.name {
            // It has a time-out of its own; a failure of ours leaves him without a name.
            self.name = Naming::Told(asked.await.unwrap_or_default());
        }
        Stranger {
            name: self.named().clone(),
            address: self.address,
            asked: self.asked,
            hello: self.hello.clone(),
            extended: self.session.is_extended(),
        }
    }

    fn named(&self) -> &ClientName {
        match &self.name {
            Naming::Asked(_) => &ClientName::Unknown,
            Naming::Told(name) => name,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.shared.counters.rule(refusal.rule, Action::Refuse);
        let fields = [
            ("rule", json!(refusal.rule.name())),
            ("family", json!(refusal.rule.family())),
        ];
        self.log("refused", &fields);
        self.say(&refusal.reply().with(&self.reference()));
    }

    fn refuse_message(&mut self, refusal: Refusal, envelope: &Envelope, size: Option<u64>) {
        self.shared.counters.rule(refusal.rule, Action::Refuse);
        self.shared.counters.refused.one();
        let rule = [
            ("rule", json!(refusal.rule.name())),
            ("family", json!(refusal.rule.family())),
        ];
        self.log_message(envelope, "refuse", size, &rule);
        self.say(&refusal.reply().with(&self.reference()));
    }

    /// The line that says what became of a message.
    fn log_message(
        &self,
        envelope: &Envelope,
        verdict: &'static str,
        size: Option<u64>,
        more: &[(&'static str, Value)],
    ) {
        let mut fields = vec![
            ("verdict", json!(verdict)),
            ("client_name", json!(self.named().known())),
            ("size", json!(size)),
            ("recipients", json!(envelope.recipients.len())),
            ("sender_domain", json!(envelope.from_domain)),
            ("tls", json!(self.session.is_secure())),
            ("authenticated", json!(self.session.is_authenticated())),
        ];
        fields.extend_from_slice(&envelope.judged);
        fields.extend_from_slice(more);
        self.log("message", &fields);
    }

    /// What is told beside a refusal, so that whoever asks can be answered.
    fn reference(&self) -> String {
        format!("(reference {})", self.trace())
    }

    /// By what it is known that what happens now belongs together: the message that has begun, or else the session.
    fn trace(&self) -> &str {
        self.message_trace.as_deref().unwrap_or(&self.trace)
    }

    /// Counts and logs the rules that applied and are only monitored.
    fn monitored(&mut self) {
        for rule in self.session.take_monitored() {
            self.shared.counters.rule(rule, Action::Monitor);
            let fields = [
                ("rule", json!(rule.name())),
                ("family", json!(rule.family())),
            ];
            self.log("monitored", &fields);
        }
    }

    fn backend_failed(&self, error: &BackendError) {
        if let BackendError::Spool(error) = error {
            return self.spool_failed(error);
        }
        self.shared.counters.backend_failures.one();
        let fields = [
            ("why", json!(error.kind())),
            ("what", json!(error.to_string())),
        ];
        self.log("backend-failed", &fields);
    }

    fn spool_failed(&self, error: &std::io::Error) {
        self.log("spool-failed", &[("why", json!(error.to_string()))]);
    }

    fn log(&self, event: &'static str, fields: &[(&'static str, Value)]) {
        let client = self.address.ip().to_canonical().to_string();
        let mut all = vec![
            ("trace", json!(self.trace())),
            ("listener", json!(self.listener.name)),
            ("client", json!(client)),
        ];
        all.extend_from_slice(fields);
        self.shared.log.line(event, &all);
    }

    fn say(&mut self, reply: &Reply) {
        self.replies.push_str(&reply.to_wire());
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let replies = std::mem::take(&mut self.replies);
        let written = self.stream.write(replies.as_bytes()).await;
        written.ok().ok_or(End::Gone)
    }
}

fn ok(text: &str) -> Reply {
    Reply::new(250, EnhancedCode::new(2, 0, 0), text)
}

/// A backend's answer in the shield's words. 421 would end the client's session, which goes on; what asks for more
/// (3xx) was not asked for.
fn relayed(reply: &ServerReply) -> Reply {
    if reply.code() == 421 || reply.code() / 100 == 3 {
        return try_again();
    }
    Reply::relayed(reply)
}
