//! A mail server's side of the milter protocol: one message a connection, as Postfix does it for one session.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::mail::Mail;
use crate::Outcome;

/// `SMFIP_NO*`: what the filter does not want to be told, by letter.
const UNWANTED: [(u8, u32); 8] = [
    (b'C', 0x1),
    (b'H', 0x2),
    (b'M', 0x4),
    (b'R', 0x8),
    (b'B', 0x10),
    (b'L', 0x20),
    (b'N', 0x40),
    (b'T', 0x200),
];
/// `SMFIP_NR_*`: what it does not answer, by letter.
const UNANSWERED: [(u8, u32); 8] = [
    (b'C', 0x1000),
    (b'H', 0x2000),
    (b'M', 0x4000),
    (b'R', 0x8000),
    (b'B', 0x0008_0000),
    (b'L', 0x80),
    (b'N', 0x0004_0000),
    (b'T', 0x0001_0000),
];

/// What a filter said to a message.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// It goes on.
    pub(super) accepted: bool,
    /// Headers that are added, one a line.
    pub(super) added: String,
}

/// Hands one message in, and takes the answer.
pub(super) fn ask(socket: &Path, mail: &Mail) -> Outcome<Answer> {
    let mut filter = Filter {
        stream: UnixStream::connect(socket)?,
        steps: 0,
        out: Vec::new(),
    };
    filter.packet(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff]);
    let (_, data) = filter.answer()?;
    let steps = data.get(8..12).ok_or("it does not negotiate")?;
    filter.steps = u32::from_be_bytes(steps.try_into()?);
    filter.tell(b'C', b"client.example\x004\0\x19192.0.2.1\0")?;
    filter.tell(b'H', b"client.example\0")?;
    filter.tell(b'M', format!("<{}>\0", mail.sender).as_bytes())?;
    filter.tell(b'R', b"<grace@example.org>\0")?;
    filter.tell(b'T', b"")?;
    for (name, value) in &mail.headers {
        // `SMFIP_HDR_LEADSPC`
        let value = if filter.steps & 0x0010_0000 == 0 {
            value.trim_start()
        } else {
            value
        };
        filter.tell(
            b'L',
            format!("{name}\0{}\0", value.replace("\r\n", "\n")).as_bytes(),
        )?;
    }
    filter.tell(b'N', b"")?;
    for piece in mail.body.as_bytes().chunks(65_535) {
        filter.tell(b'B', piece)?;
    }
    filter.packet(b'E', b"");
    let mut answer = Answer::default();
    loop {
        let (letter, data) = filter.answer()?;
        let text = || String::from_utf8_lossy(&data).replace('\0', " ");
        match letter {
            b'i' | b'h' => {
                answer.added.push_str(&text());
                answer.added.push('\n');
            }
            b'c' | b'a' => {
                answer.accepted = true;
                return Ok(answer);
            }
            b'm' | b'q' | b'p' | b'+' | b'-' | b'b' => {}
            _ => return Ok(answer),
        }
    }
}

struct Filter {
    stream: UnixStream,
    steps: u32,
    out: Vec<u8>,
}

impl Filter {
    fn packet(&mut self, letter: u8, data: &[u8]) {
        let length = u32::try_from(data.len() + 1).unwrap_or(0);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.push(letter);
        self.out.extend_from_slice(data);
    }

    /// Tells one step, and waits for its answer where there is one.
    fn tell(&mut self, letter: u8, data: &[u8]) -> Outcome<()> {
        let has = |all: &[(u8, u32)]| {
            let mut all = all.iter();
            all.any(|(of, bit)| *of == letter && self.steps & bit != 0)
        };
        if has(&UNWANTED) {
            return Ok(());
        }
        let unanswered = has(&UNANSWERED);
        self.packet(letter, data);
        if unanswered {
            return Ok(());
        }
        match self.answer()? {
            (b'c' | b's', _) => Ok(()),
            (other, _) => {
                Err(format!("{:?} to {:?}", char::from(other), char::from(letter)).into())
            }
        }
    }

    /// Waits by poll(2) before it reads, as Postfix does: who waits in read(2) is woken whenever the filter has taken octets,
    /// too, and the filter pays for that.
    fn answer(&mut self) -> Outcome<(u8, Vec<u8>)> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        let mut waits = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut waits, PollTimeout::NONE)?;
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, d, letter] = head;
        let length = u32::from_be_bytes([a, b, c, d]).saturating_sub(1);
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data)?;
        Ok((letter, data))
    }
}
