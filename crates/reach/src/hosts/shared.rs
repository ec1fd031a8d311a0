//! Commands over a connection that an earlier `ssh` left open (`ControlPersist`): its socket is spoken to
//! without starting `ssh` once more, which costs more than most commands.
//!
//! Where that cannot be, `ssh` itself is started: it finds the same socket, or opens the connection. What is run so must
//! be safe to repeat, as over `ssh` without this: a connection may end between the start of a command and the word of it.

mod packet;

use std::ffi::OsString;
use std::io::{self, IoSlice, PipeReader, PipeWriter, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};

use self::packet::{Inbox, Said};
use super::SshTarget;
use super::classify::SSH_FAILED;
use crate::fetch::to_hex;
use crate::process::{Bounds, DRAIN_GRACE, End, HeadAndTail, Outcome};

/// Where a target's connection has its socket. The name tells targets apart and is short: a socket's path has
/// 108 bytes (unix(7)), and `ssh` appends some for a while.
pub(super) fn socket_of(directory: &Path, target: &SshTarget) -> PathBuf {
    let access = &target.access;
    let whom = format!(
        "{:?} {:?} {:?} {:?}",
        target.destination(),
        access.user,
        access.port,
        access.jump
    );
    let digest = digest(&SHA256, whom.as_bytes());
    let name = to_hex(digest.as_ref());
    directory.join(name.get(..20).unwrap_or(&name))
}

/// What `ssh` is told so that it leaves its connection to those that come after it, for a minute.
pub(super) fn arguments(socket: &Path) -> impl Iterator<Item = OsString> {
    // A percent sign begins what ssh replaces (ssh_config(5), TOKENS); a blank ends what no quotes hold.
    let socket = socket.as_os_str().to_string_lossy().replace('%', "%%");
    let path = OsString::from(format!("ControlPath=\"{socket}\""));
    ["ControlMaster=auto", "ControlPersist=60"]
        .map(OsString::from)
        .into_iter()
        .chain([path])
        .flat_map(|option| ["-o".into(), option])
}

/// Runs a command over the connection at a socket. `None` where there is none that takes it: it was not
/// started then, or the connection ended before that was said. `ssh` itself begins anew in that case, too.
pub(super) fn run(socket: &Path, command: &str, stdin: &[u8], bounds: Bounds) -> Option<Outcome> {
    let deadline = Instant::now() + bounds.time;
    let mut control = Control::open(socket)?;
    let started = control
        .greet(deadline)
        .and_then(|()| control.start(command));
    let mut session = started.ok()?;
    session.go_on(&mut control, stdin, bounds, deadline)
}

/// Reads any bytes as what the other side of a socket may say.
pub(super) fn fuzz(bytes: &[u8]) {
    packet::read_all(bytes);
}

/// The socket, and what came from it.
struct Control {
    stream: UnixStream,
    inbox: Inbox,
}

impl Control {
    fn open(path: &Path) -> Option<Self> {
        let address = SocketAddrUnix::new(path).ok()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        // At once or not at all: a queue that is full is that of a connection that hangs.
        connect(&socket, &address).ok()?;
        Some(Self {
            stream: UnixStream::from(socket),
            inbox: Inbox::default(),
        })
    }

    fn greet(&mut self, deadline: Instant) -> io::Result<()> {
        self.stream.write_all(&packet::hello())?;
        loop {
            match self.next()? {
                Some(Said::Hello) => return Ok(()),
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
                None => {}
            }
            let mut waited = [PollFd::new(&self.stream, PollFlags::IN)];
            if !wait(&mut waited, deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !self.receive()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Asks for a session. Our packets are smaller than any socket's buffer, so that none is sent in part.
    fn start(&mut self, command: &str) -> io::Result<Session> {
        let (stdin, ours_in) = io::pipe()?;
        let (ours_out, stdout) = io::pipe()?;
        let (ours_err, stderr) = io::pipe()?;
        for ours in [ours_in.as_fd(), ours_out.as_fd(), ours_err.as_fd()] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        // As `ssh` is started for it.
        let request = packet::new_session(command, &["LC_ALL=C"]);
        self.stream.write_all(&request)?;
        for theirs in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            self.give(theirs)?;
        }
        Ok(Session {
            stdin: Some(ours_in),
            stdout: Some(ours_out),
            stderr: Some(ours_err),
        })
    }

    fn give(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut buffer = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        if !buffer.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        sendmsg(
            &self.stream,
            &[IoSlice::new(&[0])],
            &mut buffer,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Whether more may come.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 1024];
        let read = read_some(&mut &self.stream, &mut buffer)?;
        if let Some(bytes) = read.and_then(|read| buffer.get(..read)) {
            self.inbox.push(bytes);
        }
        Ok(read != Some(0))
    }

    fn next(&mut self) -> io::Result<Option<Said>> {
        let foreign = |_| io::ErrorKind::InvalidData.into();
        self.inbox.next().map_err(foreign)
    }
}

/// Our ends of what the command reads and writes.
struct Session {
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

impl Session {
    /// To its end, or that of what it may use. What hangs is ended by the loss of its connection, as when an
    /// `ssh` is killed.
    fn go_on(
        &mut self,
        control: &mut Control,
        mut unsent: &[u8],
        bounds: Bounds,
        deadline: Instant,
    ) -> Option<Outcome> {
        let mut buffer = vec![0; 64 * 1024];
        let mut stdout = Vec::new();
        let mut stderr = HeadAndTail::default();
        let mut opened = false;
        let mut status = None;
        // Once the connection has ended, until when output is still read.
        let mut last = None;
        let cut_short = loop {
            let mut waited = Vec::with_capacity(4);
            if last.is_none() {
                waited.push(PollFd::new(&control.stream, PollFlags::IN));
            }
            waited.extend(
                self.stdin
                    .iter()
                    .map(|pipe| PollFd::new(pipe, PollFlags::OUT)),
            );
            for pipe in self.stdout.iter().chain(&self.stderr) {
                waited.push(PollFd::new(pipe, PollFlags::IN));
            }
            match wait(&mut waited, last.unwrap_or(deadline)) {
                Ok(true) => {}
                _ if last.is_some() => break None,
                _ => break Some(End::TimedOut),
            }
            self.feed(&mut unsent);
            if let Some(bytes) = read_open(&mut self.stdout, &mut buffer) {
                let room = bounds.output.saturating_sub(stdout.len());
                stdout.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                if bytes.len() > room {
                    break Some(End::TooMuchOutput);
                }
            }
            if let Some(bytes) = read_open(&mut self.stderr, &mut buffer) {
                stderr.push(bytes);
            }
            if last.is_none() {
                let open = control.receive().unwrap_or(false);
                let ended = loop {
                    match control.next() {
                        Ok(Some(Said::Opened)) => opened = true,
                        Ok(Some(Said::Refused)) if !opened => return None,
                        Ok(Some(Said::Ended(code))) => status = Some(code),
                        Ok(Some(_)) => {}
                        Ok(None) => break !open,
                        Err(_) => break true,
                    }
                };
                if ended && !opened {
                    return None;
                }
                last = ended.then(|| Instant::now() + DRAIN_GRACE);
            }
            if last.is_some() && self.stdout.is_none() && self.stderr.is_none() {
                break None;
            }
        };
        if cut_short.is_none() && status.is_none() {
            stderr.push(b"\nConnection closed: the shared connection ended before the command\n");
        }
        let code = status.map_or(SSH_FAILED, |code| i32::from(code.to_be_bytes()[3]));
        Some(Outcome {
            end: cut_short.unwrap_or(End::Exited(ExitStatus::from_raw(code << 8))),
            stdout,
            stderr: stderr.take(),
        })
    }

    /// A command that ends before it has read everything is judged by its status.
    fn feed(&mut self, unsent: &mut &[u8]) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(unsent) {
            Ok(written) => *unsent = unsent.get(written..).unwrap_or_default(),
            Err(error) if goes_on(&error) => {}
            Err(_) => *unsent = &[],
        }
        if unsent.is_empty() {
            self.stdin = None;
        }
    }
}

/// What came; `None` where nothing did. A pipe that ended is closed.
fn read_open<'a>(pipe: &mut Option<PipeReader>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let read = pipe
        .as_mut()
        .and_then(|pipe| read_some(pipe, buffer).unwrap_or(Some(0)));
    if read == Some(0) {
        *pipe = None;
    }
    buffer.get(..read?)
}

/// `None` where nothing came yet.
fn read_some(from: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match from.read(buffer) {
        Ok(read) => Ok(Some(read)),
        Err(error) if goes_on(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn goes_on(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Whether something can be done before it is too late.
fn wait(waited: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).ok();
        match poll(waited, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
