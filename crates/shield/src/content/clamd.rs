//! Virus scanners that speak clamd's protocol. Entry: [`Engine`].
//!
//! A scan is `INSTREAM` in a session (`IDSESSION`) that is kept for the next one. Each has one deadline for everything:
//! waiting for its turn, connecting, sending, the answer. What is no sound answer is no answer. `STATS` is never asked.

use std::io;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mailkeep_model::Freshness;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{EngineConfig, Socket};

/// Octets sent at a time.
const PIECE: usize = 64 << 10;
/// Octets of an answer that are read: names of signatures are short.
const LONGEST: usize = 4 << 10;
/// Sessions that wait for the next scan.
const KEPT: usize = 8;
/// How long one may wait: clamd ends idle ones after 30 seconds (`IdleTimeout`).
const KEPT_FOR: Duration = Duration::from_secs(15);
/// How long an engine may take to say its version, and to take a connection.
const SHORT: Duration = Duration::from_secs(5);

/// What an engine says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scan {
    Clean,
    /// The name of what was found.
    Found(String),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ClamdError {
    #[error("it does not answer in time")]
    Late,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("it ended the connection without an answer")]
    Closed,
    #[error("the message is larger than it takes (StreamMaxLength)")]
    TooLarge,
    #[error("it answered {0:?}")]
    Answer(String),
}

impl ClamdError {
    /// Its stable name.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Answer(_) => "antivirus-answer",
            Self::Closed => "antivirus-closed",
            Self::Io(_) => "antivirus-unreachable",
            Self::Late => "antivirus-late",
            Self::TooLarge => "antivirus-too-large",
        }
    }
}

/// What an engine said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Whether it answers.
    pub(super) up: bool,
    /// Its program.
    pub(super) version: String,
    /// Number and date of its definitions.
    pub(super) definitions: Option<(String, Timestamp)>,
    /// Why it does not answer.
    pub(super) why: Option<&'static str>,
}

impl Known {
    /// The answer to `VERSION`: `ClamAV 1.4.6/27400/Sat Sep 21 10:35:00 2026`, or without definitions of a date the
    /// first part alone. The date is in the engine's own time zone and does not say which: it may be half a day off.
    pub(super) fn read(answer: &str) -> Self {
        let mut parts = answer.trim().splitn(3, '/');
        let version = parts.next().unwrap_or_default().to_owned();
        let definitions = parts.next().zip(parts.next()).and_then(|(number, date)| {
            let date = DateTime::strptime("%a %b %d %H:%M:%S %Y", date.trim()).ok()?;
            let date = date.to_zoned(TimeZone::UTC).ok()?;
            Some((number.to_owned(), date.timestamp()))
        });
        Self {
            up: true,
            version,
            definitions,
            why: None,
        }
    }

    /// Hours since the definitions were made.
    pub(super) fn age_seconds(&self, now: Timestamp) -> Option<i64> {
        let (_, date) = self.definitions.as_ref()?;
        Some(now.as_second().saturating_sub(date.as_second()))
    }

    pub(super) fn freshness(&self, now: Timestamp, stale_hours: u32) -> Freshness {
        match self.age_seconds(now) {
            _ if !self.up => Freshness::Unknown,
            None => Freshness::Unknown,
            // A date to come says nothing of the past; a day is what time zones may make of it.
            Some(age) if age < -86_400 => Freshness::Unknown,
            Some(age) if age > i64::from(stale_hours) * 3600 => Freshness::Stale,
            Some(_) => Freshness::Fresh,
        }
    }
}

/// One virus scanner.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) config: EngineConfig,
    kept: Mutex<Vec<Session>>,
    turns: Semaphore,
    known: RwLock<Known>,
}

impl Engine {
    pub(super) fn new(config: EngineConfig) -> Self {
        Self {
            kept: Mutex::default(),
            turns: Semaphore::new(config.at_a_time),
            known: RwLock::default(),
            config,
        }
    }

    pub(super) fn known(&self) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Asks for its version, and remembers the answer. Gives what was known before, and what is known now.
    pub(super) async fn look(&self) -> (Known, Known) {
        let asked = timeout(SHORT, version(&self.config.socket)).await;
        let fresh = match asked.unwrap_or(Err(ClamdError::Late)) {
            Ok(answer) => Known::read(&answer),
            Err(error) => Known {
                why: Some(error.kind()),
                ..Known::default()
            },
        };
        (self.remember(fresh.clone()), fresh)
    }

    /// Gives what was known before.
    pub(super) fn remember(&self, known: Known) -> Known {
        let mut place = self.known.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, known)
    }

    /// Scans a message, and pieces of it that the engine would not find itself. One deadline holds for all.
    pub(super) async fn scan(
        &self,
        message: &[u8],
        pieces: &[Vec<u8>],
    ) -> Result<Scan, ClamdError> {
        let deadline = Instant::now() + self.config.patience;
        let scans = async {
            for octets in std::iter::once(message).chain(pieces.iter().map(Vec::as_slice)) {
                match self.scan_in_time(octets).await? {
                    Scan::Clean => {}
                    found @ Scan::Found(_) => return Ok(found),
                }
            }
            Ok(Scan::Clean)
        };
        let scanned = timeout_at(deadline, scans).await;
        scanned.unwrap_or(Err(ClamdError::Late))
    }

    async fn scan_in_time(&self, message: &[u8]) -> Result<Scan, ClamdError> {
        let Ok(_turn) = self.turns.acquire().await else {
            return Err(ClamdError::Late);
        };
        if let Some(mut session) = self.take() {
            match session.scan(message).await {
                // It may have ended while it waited: that says nothing of the engine.
                Err(ClamdError::Io(_) | ClamdError::Closed) => {}
                Ok(scan) => {
                    self.keep(session);
                    return Ok(scan);
                }
                Err(error) => return Err(error),
            }
        }
        let mut session = Session::open(&self.config.socket).await?;
        let scan = session.scan(message).await?;
        self.keep(session);
        Ok(scan)
    }

    fn take(&self) -> Option<Session> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|session| session.used.elapsed() < KEPT_FOR);
        kept.pop()
    }

    /// Only after a sound answer.
    fn keep(&self, mut session: Session) {
        session.used = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(session);
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Both for T {}

async fn connect(socket: &Socket) -> Result<Box<dyn Both>, ClamdError> {
    let connect = async {
        let stream: Box<dyn Both> = match socket {
            Socket::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Socket::Inet(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true).ok();
                Box::new(stream)
            }
        };
        io::Result::Ok(stream)
    };
    match timeout(SHORT, connect).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(ClamdError::Late),
    }
}

async fn version(socket: &Socket) -> Result<String, ClamdError> {
    let mut stream = connect(socket).await?;
    stream.write_all(b"zVERSION\0").await?;
    answer(&mut stream).await
}

/// One answer, which ends with NUL.
async fn answer(stream: &mut Box<dyn Both>) -> Result<String, ClamdError> {
    let mut held = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let count = stream.read(&mut buffer).await?;
        let fresh = buffer.get(..count).unwrap_or_default();
        held.extend_from_slice(fresh);
        if let Some((0, text)) = held.split_last() {
            // Two answers where one was asked for are none.
            if text.contains(&0) {
                return Err(ClamdError::Answer(shown(text)));
            }
            return Ok(shown(text));
        }
        if count == 0 {
            return Err(ClamdError::Closed);
        }
        if held.len() > LONGEST {
            return Err(ClamdError::Answer(shown(&held)));
        }
    }
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    mailkeep_model::text::printable_max(&text, 200)
}

/// A conversation with an engine, of one scan after another.
struct Session {
    stream: Box<dyn Both>,
    /// The number the next answer must carry.
    number: u64,
    used: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Session {
    async fn open(socket: &Socket) -> Result<Self, ClamdError> {
        Ok(Self {
            stream: connect(socket).await?,
            number: 0,
            used: Instant::now(),
        })
    }

    async fn scan(&mut self, message: &[u8]) -> Result<Scan, ClamdError> {
        let begin: &[u8] = if self.number == 0 {
            b"zIDSESSION\0zINSTREAM\0"
        } else {
            b"zINSTREAM\0"
        };
        self.number += 1;
        match self.send(begin, message).await {
            Ok(()) => {}
            // It may have said why before it hung up.
            Err(error) => {
                return match timeout(Duration::from_millis(200), self.answer()).await {
                    Ok(Err(answer @ (ClamdError::TooLarge | ClamdError::Answer(_)))) => Err(answer),
                    _ => Err(error.into()),
                };
            }
        }
        self.answer().await
    }

    async fn send(&mut self, begin: &[u8], message: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(begin.len() + 8 + message.len().min(PIECE));
        out.extend_from_slice(begin);
        for piece in message.chunks(PIECE) {
            let length = u32::try_from(piece.len()).unwrap_or(0);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(piece);
            if out.len() > PIECE {
                self.stream.write_all(&out).await?;
                out.clear();
            }
        }
        // Whoever speaks before he has seen it all speaks of something else. Of what goes in one piece nobody can tell.
        if message.len() > PIECE {
            let mut first = [0; 1];
            let unasked = self.stream.read(&mut first);
            if timeout(Duration::ZERO, unasked).await.is_ok() {
                return Err(io::Error::other("it answered before it had the message"));
            }
        }
        out.extend_from_slice(&[0; 4]);
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    async fn answer(&mut self) -> Result<Scan, ClamdError> {
        let answer = answer(&mut self.stream).await?;
        read(&answer, self.number)
    }
}

/// `7: stream: OK`, `7: stream: NAME FOUND`. Anything else is no word on the message.
fn read(answer: &str, number: u64) -> Result<Scan, ClamdError> {
    let other = || ClamdError::Answer(answer.to_owned());
    // This one carries no number in some versions, and ends the session.
    if answer.ends_with("INSTREAM size limit exceeded. ERROR") {
        return Err(ClamdError::TooLarge);
    }
    let rest = answer
        .strip_prefix(&format!("{number}: stream: "))
        .ok_or_else(other)?;
    if rest == "OK" {
        return Ok(Scan::Clean);
    }
    match rest.strip_suffix(" FOUND") {
        Some(name) if !name.is_empty() => Ok(Scan::Found(name.to_owned())),
        _ => Err(other()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sound_answer_to_this_very_scan_is_one() {
        assert_eq!(read("7: stream: OK", 7).unwrap(), Scan::Clean);
        assert_eq!(
            read("7: stream: Win.Test.EICAR_HDB-1 FOUND", 7).unwrap(),
            Scan::Found("Win.Test.EICAR_HDB-1".to_owned())
        );
        for other in [
            "6: stream: OK",
            "stream: OK",
            "7: stream:  FOUND",
            "7: stream: OK ERROR",
            "7: stream: Can't allocate memory ERROR",
            "UNKNOWN COMMAND",
            "",
        ] {
            assert!(read(other, 7).is_err(), "{other}");
        }
        assert!(matches!(
            read("INSTREAM size limit exceeded. ERROR", 7),
            Err(ClamdError::TooLarge)
        ));
    }

    /// An engine at the end of a narrow pipe: it says this before it reads anything, and `after` when it has the message.
    async fn scan(before: &'static [u8], after: &'static [u8]) -> Result<Scan, ClamdError> {
        let (ours, mut engines) = tokio::io::duplex(4096);
        let mut session = Session {
            stream: Box::new(ours),
            number: 0,
            used: Instant::now(),
        };
        let engine = async move {
            engines.write_all(before).await.ok();
            let mut octets = Vec::new();
            while !octets.ends_with(b"\x01\0\0\0\0")
                && engines.read_buf(&mut octets).await.unwrap_or(0) > 0
            {}
            engines.write_all(after).await.ok();
        };
        // The pipe is closed behind it: a scan that gave up lets the engine end.
        let scan = async move { session.scan(&vec![1; PIECE * 3]).await };
        tokio::join!(scan, engine).0
    }

    #[test]
    fn a_scanner_that_answers_before_it_has_the_message_is_not_believed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let early = runtime.block_on(scan(b"1: stream: OK\0", b"1: stream: V FOUND\0"));
        assert!(early.is_err(), "{early:?}");
        let sound = runtime.block_on(scan(b"", b"1: stream: OK\0"));
        assert_eq!(sound.unwrap(), Scan::Clean);
    }

    #[test]
    fn definitions_without_a_date_are_of_unknown_age_and_never_fresh() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let state = |answer: &str| Known::read(answer).freshness(now, 48);
        assert_eq!(
            state("ClamAV 1.4.6/27825/Sat Nov 21 09:24:51 2026"),
            Freshness::Fresh
        );
        assert_eq!(
            state("ClamAV 1.4.6/27400/Mon Nov  2 09:24:51 2026"),
            Freshness::Stale
        );
        for unknown in [
            "ClamAV 1.4.6",
            "ClamAV 1.4.6/27400",
            "ClamAV 1.4.6/27400/garbage",
            "ClamAV 1.4.6/27400/Sat Nov 21 09:24:51 2076",
            "",
        ] {
            assert_eq!(state(unknown), Freshness::Unknown, "{unknown}");
        }
        assert_eq!(Known::default().freshness(now, 48), Freshness::Unknown);
        let known = Known::read("ClamAV 1.4.6/27825/Sat Nov 21 09:24:51 2026");
        assert_eq!(known.version, "ClamAV 1.4.6");
        assert_eq!(known.definitions.unwrap().0, "27825");
    }
}
