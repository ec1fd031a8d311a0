//! What the tests of the shield stand on: a backend that does as it is told, the program itself, and a client.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "shared by several tests, none of which uses all of it"
)]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailkeep_wire::{ProxyHeader, ProxyProgress};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

pub mod clamd;
pub mod dns;
pub mod lab;
pub mod ledger;
pub mod mta;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A message as a backend got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub mail: String,
    pub recipients: Vec<String>,
    /// As it came, dots stuffed, without the end.
    pub wire: Vec<u8>,
}

/// What a backend is told to do.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Lines of its answer to EHLO.
    pub offer: Vec<String>,
    /// Answers by the beginning of a command; `.` is the end of a message, an empty answer hangs up.
    pub answers: Vec<(String, String)>,
    /// The same, each for one command only, and asked first.
    pub once: Vec<(String, String)>,
    /// What it says first, where that is not the usual.
    pub banner: Option<String>,
    /// Whether a PROXY header comes before the banner; each that came is kept.
    pub proxied: Option<Vec<ProxyHeader>>,
    /// What it shows after STARTTLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Every message it took.
    pub taken: Vec<Taken>,
    /// Every command it has read.
    pub commands: Vec<String>,
    /// While set, the end of a message is not answered.
    pub holds: bool,
    /// How long it takes to answer anything.
    pub slow: Duration,
    /// It keeps no octets of what it took.
    pub forgets: bool,
    /// By LMTP: answers at the end of a message by recipient; an empty one hangs up.
    pub each: Vec<(String, String)>,
}

/// A backend.
pub struct Backend {
    pub address: SocketAddr,
    pub orders: Arc<Mutex<Orders>>,
}

impl Backend {
    pub fn start(offer: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let orders = Arc::new(Mutex::new(Orders {
            offer: offer.iter().map(|line| (*line).to_owned()).collect(),
            ..Orders::default()
        }));
        let shared = Arc::clone(&orders);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, orders) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || drop(converse(stream, &orders)));
            }
        });
        Self { address, orders }
    }

    /// Listens at a socket of this machine as well.
    pub fn listen_at(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let address = self.address;
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(address).unwrap());
                let (to_near, to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || {
                    io::copy(&mut &near, &mut &to_far).ok();
                    to_far.shutdown(Shutdown::Write).ok();
                });
                std::thread::spawn(move || {
                    io::copy(&mut &far, &mut &to_near).ok();
                    to_near.shutdown(Shutdown::Both).ok();
                });
            }
        });
    }

    pub fn answer(&self, command: &str, answer: &str) {
        let mut orders = self.orders.lock().unwrap();
        orders.answers.push((command.to_owned(), answer.to_owned()));
    }

    pub fn answer_once(&self, command: &str, answer: &str) {
        let mut orders = self.orders.lock().unwrap();
        orders.once.push((command.to_owned(), answer.to_owned()));
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.orders.lock().unwrap().taken.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.orders.lock().unwrap().commands.clone()
    }

    pub fn until(&self, what: impl Fn(&Orders) -> bool) {
        until(|| what(&self.orders.lock().unwrap()));
    }
}

/// Waits for something that others bring about.
pub fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < PATIENCE, "it did not come to pass");
        std::thread::sleep(Duration::from_millis(5));
    }
}

trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

/// A client of a backend, in clear or over TLS.
struct Peer {
    stream: Box<dyn Both>,
    plain: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

impl Peer {
    fn octet(&mut self) -> io::Result<u8> {
        if self.at == self.buffer.len() {
            self.buffer.resize(16 << 10, 0);
            let count = self.stream.read(&mut self.buffer)?;
            self.buffer.truncate(count);
            self.at = 0;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(self.octet()?);
        }
        Ok(String::from_utf8(line).unwrap().trim_end().to_owned())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.flush()
    }

    fn proxy_header(&mut self) -> io::Result<ProxyHeader> {
        let mut header = Vec::new();
        loop {
            match ProxyHeader::read(&header).unwrap() {
                ProxyProgress::Whole(header) => return Ok(header),
                ProxyProgress::Needs(more) => {
                    for _ in 0..more {
                        header.push(self.octet()?);
                    }
                }
            }
        }
    }

    fn secure(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(connection, self.plain.try_clone()?);
        stream.conn.complete_io(&mut stream.sock)?;
        self.stream = Box::new(stream);
        Ok(())
    }

    /// Reads as the worst of servers does not: only CRLF.CRLF ends it.
    fn content(&mut self) -> io::Result<Vec<u8>> {
        let mut wire = b"\r\n".to_vec();
        while !wire.ends_with(b"\r\n.\r\n") {
            wire.push(self.octet()?);
        }
        Ok(wire[2..wire.len() - 3].to_vec())
    }
}

fn converse(stream: TcpStream, orders: &Mutex<Orders>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut peer = Peer {
        stream: Box::new(stream.try_clone()?),
        plain: stream,
        buffer: Vec::new(),
        at: 0,
    };
    let proxied = orders.lock().unwrap().proxied.is_some();
    if proxied {
        let header = peer.proxy_header()?;
        let mut orders = orders.lock().unwrap();
        orders.proxied.as_mut().unwrap().push(header);
    }
    let (banner, slow) = {
        let orders = orders.lock().unwrap();
        (orders.banner.clone(), orders.slow)
    };
    peer.say(banner.as_deref().unwrap_or("220 backend ESMTP\r\n"))?;
    let (mut mail, mut recipients) = (String::new(), Vec::<String>::new());
    let mut lmtp = false;
    loop {
        let line = peer.line()?;
        std::thread::sleep(slow);
        let (told, offer, tls) = {
            let mut orders = orders.lock().unwrap();
            orders.commands.push(line.clone());
            let told = answer_to(&mut orders, &line);
            (told, orders.offer.clone(), orders.tls.clone())
        };
        let answer = match (told, line.get(..4).unwrap_or_default()) {
            (Some(answer), _) if answer.is_empty() => return Ok(()),
            (Some(answer), _) => answer,
            (None, "EHLO") => ehlo(&offer),
            (None, "LHLO") => {
                lmtp = true;
                ehlo(&offer)
            }
            (None, "MAIL") => {
                mail = line;
                recipients = Vec::new();
                "250 2.1.0 sender fine\r\n".to_owned()
            }
            (None, "RCPT") => {
                recipients.push(line);
                "250 2.1.5 recipient fine\r\n".to_owned()
            }
            (None, "DATA") => {
                peer.say("354 go\r\n")?;
                let mut wire = peer.content()?;
                if orders.lock().unwrap().forgets {
                    wire = Vec::new();
                }
                std::thread::sleep(slow);
                let ordered = answer_to(&mut orders.lock().unwrap(), ".");
                if let Some(answer) = ordered {
                    if answer.is_empty() {
                        return Ok(());
                    }
                    peer.say(&answer)?;
                    continue;
                }
                if lmtp {
                    let each = orders.lock().unwrap().each.clone();
                    for recipient in std::mem::take(&mut recipients) {
                        let mut told = each.iter();
                        let told = told.find(|(who, _)| recipient.contains(who.as_str()));
                        let answer = told.map_or("250 2.0.0 saved\r\n", |(_, answer)| answer);
                        if answer.is_empty() {
                            return Ok(());
                        }
                        if answer.starts_with('2') {
                            orders.lock().unwrap().taken.push(Taken {
                                mail: mail.clone(),
                                recipients: vec![recipient],
                                wire: wire.clone(),
                            });
                        }
                        peer.say(answer)?;
                    }
                    continue;
                }
                orders.lock().unwrap().taken.push(Taken {
                    mail: std::mem::take(&mut mail),
                    recipients: std::mem::take(&mut recipients),
                    wire,
                });
                until(|| !orders.lock().unwrap().holds);
                "250 2.0.0 queued as 1\r\n".to_owned()
            }
            (None, "XCLI") => "220 backend ESMTP\r\n".to_owned(),
            (None, "STAR") if tls.is_some() => {
                peer.say("220 go\r\n")?;
                peer.secure(tls.unwrap())?;
                continue;
            }
            (None, "QUIT") => {
                return peer.say("221 2.0.0 bye\r\n");
            }
            (None, _) => "250 2.0.0 fine\r\n".to_owned(),
        };
        peer.say(&answer)?;
    }
}

fn answer_to(orders: &mut Orders, line: &str) -> Option<String> {
    let mut once = orders.once.iter();
    if let Some(place) = once.position(|(command, _)| line.starts_with(command.as_str())) {
        return Some(orders.once.remove(place).1);
    }
    let mut answers = orders.answers.iter();
    let found = answers.find(|(command, _)| line.starts_with(command.as_str()));
    found.map(|(_, answer)| answer.clone())
}

fn ehlo(offer: &[String]) -> String {
    let mut lines = vec!["backend".to_owned()];
    lines.extend_from_slice(offer);
    let last = lines.len() - 1;
    let line = |(nth, line): (usize, &String)| {
        let separator = if nth == last { ' ' } else { '-' };
        format!("250{separator}{line}\r\n")
    };
    lines.iter().enumerate().map(line).collect()
}

/// The program.
pub struct Shield {
    pub child: Child,
    pub directory: PathBuf,
    lines: Receiver<String>,
    pub log: Vec<Value>,
    pub addresses: Vec<(String, SocketAddr)>,
}

impl Shield {
    /// Starts one with this configuration, and waits until it listens.
    pub fn start(directory: &Path, config: &str) -> Self {
        Self::start_with(directory, config, &[])
    }

    pub fn start_with(directory: &Path, config: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("env");
        command.arg("--").envs(environment.iter().copied());
        Self::start_by(command, directory, config)
    }

    /// The same by another program, which is given the command line and must become it.
    pub fn start_by(mut command: Command, directory: &Path, config: &str) -> Self {
        let file = directory.join("shield.toml");
        std::fs::write(&file, config).unwrap();
        let listeners = config.matches("[[listener]]").count();
        let mut child = command
            .arg(env!("CARGO_BIN_EXE_mailkeep-shield"))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut shield = Self {
            child,
            directory: directory.to_owned(),
            lines,
            log: Vec::new(),
            addresses: Vec::new(),
        };
        while shield.addresses.len() < listeners {
            let line = shield.next_line();
            if line["event"] == "listening" {
                let address = line["address"].as_str().unwrap().parse().unwrap();
                let name = line["listener"].as_str().unwrap().to_owned();
                shield.addresses.push((name, address));
            }
        }
        shield
    }

    pub fn next_line(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        self.log.push(line.clone());
        line
    }

    /// The next line of this event.
    pub fn event(&mut self, event: &str) -> Value {
        loop {
            let line = self.next_line();
            if line["event"] == event {
                return line;
            }
        }
    }

    /// The next line of each of these events, which come in any order.
    pub fn each_event<const N: usize>(&mut self, events: [&str; N]) -> [Value; N] {
        let mut lines = [const { Value::Null }; N];
        while lines.contains(&Value::Null) {
            let line = self.next_line();
            let which = events.iter().position(|event| line["event"] == *event);
            if let Some(place) = which.map(|which| &mut lines[which])
                && place.is_null()
            {
                *place = line;
            }
        }
        lines
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.address());
        let banner = client.reply();
        assert!(banner.starts_with("220 "), "{banner}");
        client
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client in clear or over TLS.
pub struct Client<S = TcpStream> {
    pub stream: S,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
        self.stream.flush().unwrap();
    }

    /// One whole reply; empty when the connection ended.
    pub fn reply(&mut self) -> String {
        let mut reply = Vec::new();
        let mut octet = [0];
        loop {
            match self.stream.read(&mut octet) {
                Ok(1) => reply.push(octet[0]),
                _ => return String::from_utf8(reply).unwrap(),
            }
            if reply.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&reply);
                let last = text.lines().last().unwrap();
                if last.as_bytes().get(3) == Some(&b' ') {
                    return text.into_owned();
                }
            }
        }
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Begins a message, up to the answer to DATA.
    pub fn begin(&mut self) {
        for (line, expected) in [
            ("EHLO client.example", "250"),
            ("MAIL FROM:<a@client.example>", "250"),
            ("RCPT TO:<b@site.example>", "250"),
            ("DATA", "354"),
        ] {
            let reply = self.ask(line);
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
    }
}

/// What a shield serves at its metrics address.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// An address that nobody listens on now, for a program that is to listen there. Its loopback address is this process's
/// own: on one that all tests share, another's connection might get the port first. None is given twice.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    // Process numbers have 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = SocketAddr::from(([127, 64 | high, middle, low], 0));
    loop {
        let listener = TcpListener::bind(own).unwrap();
        let address = listener.local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(address) {
            return address;
        }
    }
}

/// A configuration with one listener on loopback and these backends, which are not told of the client.
pub fn config(backends: &[SocketAddr], more: &str) -> String {
    let mut text = format!(
        "name = \"shield.example\"\n{more}\n[[listener]]\nname = \"mx\"\naddress = [\"127.0.0.1:0\"]\n"
    );
    for address in backends {
        text.push_str(&format!(
            "[[backend]]\naddress = \"{address}\"\nxclient = false\n"
        ));
    }
    text
}

/// The same with backends that are told by XCLIENT.
pub fn config_with_xclient(backends: &[SocketAddr], more: &str) -> String {
    config(backends, more).replace("xclient = false\n", "")
}
