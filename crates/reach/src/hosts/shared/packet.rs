//! What is said over the socket of a shared connection: OpenSSH's PROTOCOL.mux, version 4, as far as one
//! command needs it. Bytes in, packets out; no IO.

/// The version of the protocol that OpenSSH speaks since 5.4.
const VERSION: u32 = 4;

/// `ssh` itself takes no packet above 256 KiB; what it answers here has some words at most.
const MAX_PACKET: usize = 64 * 1024;

/// The number of our request, and the only one of its connection.
const REQUEST: u32 = 1;

const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const PERMISSION_DENIED: u32 = 0x8000_0002;
const FAILURE: u32 = 0x8000_0003;
const EXIT_MESSAGE: u32 = 0x8000_0004;
const SESSION_OPENED: u32 = 0x8000_0006;

/// What the other side said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It speaks our version.
    Hello,
    /// The command was started.
    Opened,
    /// The command was not started.
    Refused,
    /// The command ended with this status.
    Ended(u32),
    /// Something of no matter here.
    Other,
}

/// It does not speak our version of the protocol, or not that protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign;

/// Bytes that came, until they are packets.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next packet that came whole.
    pub(super) fn next(&mut self) -> Result<Option<Said>, Foreign> {
        let mut reader = Reader(&self.bytes);
        let Some(length) = reader.number() else {
            return Ok(None);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_PACKET {
            return Err(Foreign);
        }
        let Some(packet) = reader.0.get(..length) else {
            return Ok(None);
        };
        let said = read(packet).ok_or(Foreign)?;
        self.bytes.drain(..4 + length);
        Ok(Some(said))
    }
}

/// `None` where it is too short for what it says it is, or of another version.
fn read(packet: &[u8]) -> Option<Said> {
    let mut reader = Reader(packet);
    let kind = reader.number()?;
    Some(match kind {
        // Its extensions are names and values; none is known that matters here.
        HELLO => (reader.number()? == VERSION).then_some(Said::Hello)?,
        SESSION_OPENED if reader.number()? == REQUEST => Said::Opened,
        PERMISSION_DENIED | FAILURE if reader.number()? == REQUEST => Said::Refused,
        EXIT_MESSAGE => {
            // The number of its session: there is but one.
            reader.number()?;
            Said::Ended(reader.number()?)
        }
        _ => Said::Other,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }
}

/// Our greeting.
pub(super) fn hello() -> Vec<u8> {
    packet(&[HELLO, VERSION], &[])
}

/// That a command be run, without a terminal, forwarding or agent. What it reads and writes is sent after it.
/// The variables are passed on as far as the user's `SendEnv` allows.
pub(super) fn new_session(command: &str, variables: &[&str]) -> Vec<u8> {
    // The first text is reserved; then terminal, X11, agent, subsystem, and no escape character.
    let mut body = string("");
    for number in [0, 0, 0, 0, u32::MAX] {
        body.extend(number.to_be_bytes());
    }
    for text in ["", command].iter().chain(variables) {
        body.extend(string(text));
    }
    packet(&[NEW_SESSION, REQUEST], &body)
}

fn packet(numbers: &[u32], body: &[u8]) -> Vec<u8> {
    let mut inside: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    inside.extend_from_slice(body);
    counted(&inside)
}

fn string(text: &str) -> Vec<u8> {
    counted(text.as_bytes())
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// All that was said in bytes that come in pieces; none where some of it is foreign.
pub(super) fn read_all(bytes: &[u8]) -> Option<Vec<Said>> {
    let mut inbox = Inbox::default();
    let mut said = Vec::new();
    for piece in bytes.chunks(7) {
        inbox.push(piece);
        while let Some(next) = inbox.next().ok()? {
            said.push(next);
        }
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read_as_what_it_is() {
        let opened = packet(&[SESSION_OPENED, REQUEST, 7], &[]);
        let ended = packet(&[EXIT_MESSAGE, 7, 3], &[]);
        let refused = packet(&[FAILURE, REQUEST], &string("Session open refused by peer"));
        let terminal = packet(&[0x8000_0008, 7], &[]);
        let said = read_all(&[hello(), opened, terminal, ended].concat());
        let expected = [Said::Hello, Said::Opened, Said::Other, Said::Ended(3)];
        assert_eq!(said.unwrap(), expected);
        assert_eq!(read_all(&refused), Some(vec![Said::Refused]));
        // Of somebody else's request.
        let other = packet(&[FAILURE, 9], &string("no"));
        assert_eq!(read_all(&other), Some(vec![Said::Other]));
    }

    #[test]
    fn another_version_or_nonsense_is_foreign() {
        for bytes in [
            packet(&[HELLO, 5], &[]),
            packet(&[HELLO], &[]),
            packet(&[EXIT_MESSAGE, 7], &[]),
            packet(&[], b"ab"),
            b"SSH-2.0-OpenSSH".to_vec(),
        ] {
            assert_eq!(read_all(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_says_what_the_protocol_wants() {
        let request = new_session("id", &["LC_ALL=C"]);
        let mut reader = Reader(&request);
        let length = reader.number().unwrap();
        assert_eq!(request.len(), 4 + usize::try_from(length).unwrap());
        let numbers = [(); 7].map(|()| reader.number().unwrap());
        assert_eq!(numbers, [NEW_SESSION, REQUEST, 0, 0, 0, 0, 0]);
        assert_eq!(reader.number(), Some(u32::MAX));
        let rest: &[u8] = b"\0\0\0\0\0\0\0\x02id\0\0\0\x08LC_ALL=C";
        assert_eq!(reader.0, rest);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read_all(&bytes);
        }

        #[test]
        fn pieces_say_what_the_whole_says(
            status in any::<u32>(),
            cut in 0usize..40,
        ) {
            let whole = [hello(), packet(&[SESSION_OPENED, REQUEST, 0], &[]), packet(&[EXIT_MESSAGE, 0, status], &[])].concat();
            let (one, two) = whole.split_at(cut.min(whole.len()));
            let mut inbox = Inbox::default();
            let mut said = Vec::new();
            for piece in [one, two] {
                inbox.push(piece);
                while let Some(next) = inbox.next().unwrap() {
                    said.push(next);
                }
            }
            prop_assert_eq!(said, vec![Said::Hello, Said::Opened, Said::Ended(status)]);
        }
    }
}
