//! A mail server that asks its filter, as Postfix does, on loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::{PATIENCE, Shield};

/// A connection to the shield's milter.
pub struct Mta {
    stream: TcpStream,
    /// Who the clients of its next messages have proved to be.
    pub login: Option<String>,
}

/// What a filter answered to a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// `c`: it goes on; otherwise the reply.
    pub reply: Option<String>,
    /// Why it is kept, where it is.
    pub quarantine: Option<String>,
    /// It is taken and forgotten.
    pub discarded: bool,
    /// Headers that are put in front.
    pub inserted: Vec<(String, String)>,
    /// Names and numbers of headers that go.
    pub removed: Vec<(String, u32)>,
}

impl Answered {
    pub fn accepted(&self) -> bool {
        self.reply.is_none()
    }

    pub fn refused_with(&self, code: &str) -> bool {
        self.reply
            .as_ref()
            .is_some_and(|reply| reply.starts_with(code))
    }
}

/// A configuration with one milter and nothing else.
pub fn milter_config(more: &str) -> String {
    format!(
        "name = \"shield.example\"\n{more}\n[[milter]]\nname = \"filter\"\nsocket = \"inet:127.0.0.1:0\"\n"
    )
}

/// Where the shield's milter listens.
pub fn milter_address(shield: &mut Shield) -> SocketAddr {
    let line = shield.event("milter-listening");
    let socket = line["socket"].as_str().unwrap().to_owned();
    socket.strip_prefix("inet:").unwrap().parse().unwrap()
}

impl Mta {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut mta = Self {
            stream,
            login: None,
        };
        mta.packet(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff]);
        let (letter, _) = mta.read().unwrap();
        assert_eq!(letter, b'O');
        mta
    }

    pub fn client(&mut self, name: &str, address: &str, hello: &str) {
        let family = if address.contains(':') { "6" } else { "4" };
        self.packet(
            b'C',
            format!("{name}\0{family}\0\x19{address}\0").as_bytes(),
        );
        self.packet(b'H', format!("{hello}\0").as_bytes());
    }

    /// Hands in one message.
    pub fn message(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> Answered {
        self.envelope(sender, recipients);
        self.content(message);
        self.answer().unwrap()
    }

    pub fn envelope(&mut self, sender: &str, recipients: &[&str]) {
        if let Some(login) = self.login.clone() {
            self.packet(b'D', format!("M{{auth_authen}}\0{login}\0").as_bytes());
        }
        self.packet(b'M', format!("<{sender}>\0").as_bytes());
        for recipient in recipients {
            self.packet(b'R', format!("<{recipient}>\0").as_bytes());
        }
    }

    pub fn content(&mut self, message: &[u8]) {
        let end = message.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = message.split_at(end.map_or(message.len(), |end| end + 2));
        let text = String::from_utf8_lossy(head).replace("\r\n", "\n");
        let mut fields: Vec<String> = Vec::new();
        for line in text.lines() {
            match fields.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) => {
                    last.push('\n');
                    last.push_str(line);
                }
                _ => fields.push(line.to_owned()),
            }
        }
        for field in fields {
            let (name, value) = field.split_once(':').unwrap();
            self.packet(b'L', format!("{name}\0{value}\0").as_bytes());
        }
        self.packet(b'N', b"");
        for piece in body.get(2..).unwrap_or_default().chunks(65_535) {
            self.packet(b'B', piece);
        }
        self.packet(b'E', b"");
    }

    fn packet(&mut self, letter: u8, data: &[u8]) {
        let mut out = u32::try_from(data.len() + 1)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        out.push(letter);
        out.extend_from_slice(data);
        // The shield may have gone, and the test wants to see just that.
        self.stream.write_all(&out).ok();
    }

    fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).ok()?;
        let mut data = vec![0; u32::from_be_bytes(head) as usize];
        self.stream.read_exact(&mut data).ok()?;
        Some((data.remove(0), data))
    }

    /// What is answered to the end of a message; none where the connection ends.
    pub fn answer(&mut self) -> Option<Answered> {
        let mut answered = Answered::default();
        loop {
            let (letter, data) = self.read()?;
            let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
            let pair = |data: &[u8]| {
                let number = u32::from_be_bytes(data[..4].try_into().unwrap());
                let mut parts = data[4..].split(|one| *one == 0);
                (
                    number,
                    text(parts.next().unwrap()),
                    text(parts.next().unwrap()),
                )
            };
            match letter {
                b'c' => return Some(answered),
                b'd' => {
                    answered.discarded = true;
                    return Some(answered);
                }
                b'y' => {
                    answered.reply = Some(text(data.strip_suffix(b"\0").unwrap()));
                    return Some(answered);
                }
                b't' => {
                    answered.reply = Some("4".to_owned());
                    return Some(answered);
                }
                b'q' => answered.quarantine = Some(text(data.strip_suffix(b"\0").unwrap())),
                b'i' => {
                    let (number, name, value) = pair(&data);
                    assert_eq!(number, 0);
                    answered.inserted.push((name, value));
                }
                b'm' => {
                    let (number, name, value) = pair(&data);
                    assert_eq!(value, "");
                    answered.removed.push((name, number));
                }
                _ => return None,
            }
        }
    }
}
