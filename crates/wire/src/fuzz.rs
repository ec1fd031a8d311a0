//! Entry points for fuzzing: any octets, as a client and as a server may send them.
//!
//! They hold the parsers to what must be true of every input, and panic where it is not.

use crate::auth::Mechanism;
use crate::command::Command;
use crate::content::{ContentReader, ContentWriter, Progress};
use crate::offer::Offer;
use crate::proxy::{ProxyHeader, ProxyProgress};
use crate::reply::{Reply, ReplyReader};
use crate::rules::{Action, Actions, Rule};
use crate::session::{Limits, Session, Step};

/// A client's octets. The first says in how large pieces they come; in whatever pieces, the session must see the
/// same, and every message that is taken must be sent on as one.
///
/// # Panics
///
/// Where that is not so.
pub fn client(data: &[u8]) {
    let (first, stream) = data.split_first().unwrap_or((&0, &[]));
    let piece = usize::from(*first) + 1;
    let (whole, content) = run(stream, usize::MAX);
    let (pieces, same) = run(stream, piece);
    assert!(
        whole == pieces,
        "another split of the stream gives other steps"
    );
    assert!(
        content == same,
        "another split of the stream gives other content"
    );

    let mut wire = Vec::new();
    let mut writer = ContentWriter::default();
    writer.write(&content, &mut wire);
    writer.end(&mut wire);
    let mut reader = ContentReader::new(lenient(), Limits::default().content);
    let mut again = Vec::new();
    let (taken, progress) = reader.read(&wire, &mut again);
    assert!(
        taken == wire.len() && progress == Progress::End,
        "a message ends early or late"
    );
    assert!(again.starts_with(&content), "content changed on its way");
    assert!(
        again.len() <= content.len() + 2,
        "content was added on its way"
    );
}

/// A server's octets: replies, the offer among them, written anew.
///
/// # Panics
///
/// Where what was written anew is no reply.
pub fn server(data: &[u8]) {
    let mut reader = ReplyReader::default();
    for piece in data.chunks(97) {
        reader.feed(piece);
        loop {
            let Ok(reply) = reader.next_reply() else {
                return;
            };
            let Some(reply) = reply else { break };
            let offer = Offer::read(&reply);
            assert!(
                offer.keywords().iter().all(|line| line.is_ascii()),
                "an offer is ASCII"
            );
            let wire = Reply::relayed(&reply).to_wire();
            let mut again = ReplyReader::default();
            again.feed(wire.as_bytes());
            let read = again.next_reply();
            assert!(
                read.is_ok_and(|read| read.is_some_and(|read| read.code() == reply.code())),
                "a reply written anew is no reply"
            );
        }
    }
}

/// What another proxy may say of a client: read in as small steps as it asks for, the header takes nothing that is
/// the client's; written anew, it says the same.
///
/// # Panics
///
/// Where that is not so.
pub fn proxy(data: &[u8]) {
    let mut taken = 0;
    while let Some(come) = data.get(..taken) {
        match ProxyHeader::read(come) {
            Ok(ProxyProgress::Needs(more)) => {
                assert!(more > 0, "it asks for nothing and has not ended");
                taken += more;
            }
            Ok(ProxyProgress::Whole(header)) => {
                let again = ProxyHeader::read(&header.to_wire());
                let same = matches!((again, header.addresses), (Ok(ProxyProgress::Whole(again)), Some((from, to)))
                if again.addresses.is_some_and(|(f, t)| {
                    (f.ip().to_canonical(), t.ip().to_canonical()) == (from.ip().to_canonical(), to.ip().to_canonical())
                }));
                assert!(
                    same || header.addresses.is_none(),
                    "a header written anew says something else"
                );
                return;
            }
            Err(_) => return,
        }
    }
}

/// Every step but those that ask for more, and all content.
fn run(stream: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    // STARTTLS is left out: what may follow it depends on when it comes.
    let offer = Offer {
        auth: Mechanism::ALL.iter().copied().collect(),
        eight_bit: true,
        dsn: true,
        pipelining: true,
        size: Some(0),
        utf8: true,
        ..Offer::default()
    };
    let mut session = Session::new(offer.clone(), lenient(), Limits::default());
    session.secured(offer);
    let (mut steps, mut content) = (Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let next = rest.get(..piece.min(rest.len())).unwrap_or_default();
        let taken = session.feed(next);
        assert!(taken > 0, "a session has room when it asks to be fed");
        rest = rest.get(taken..).unwrap_or_default();
        loop {
            let step = session.step(&mut content);
            let text = match &step {
                Step::Feed => break,
                Step::Command(command) => {
                    check_command(command);
                    command.to_wire()
                }
                Step::Credentials(data) => {
                    data.as_ref().map_or("*", |data| data.as_str()).to_owned()
                }
                Step::Refused(refusal) | Step::GiveUp(refusal) => refusal.rule.name().to_owned(),
                Step::Message { refused, size } => format!("{refused:?} {size}"),
            };
            steps.push(text);
            match step {
                Step::Command(Command::Quit) | Step::GiveUp(_) => return (steps, content),
                Step::Refused(refusal) if refusal.closes() => return (steps, content),
                // What comes with AUTH may be all, or be asked for, or be wrong.
                Step::Command(Command::Auth { initial: None, .. }) => session.challenged(),
                Step::Credentials(None) => session.answered(false),
                _ => session.answered(true),
            }
        }
    }
    (steps, content)
}

fn check_command(command: &Command) {
    let wire = command.to_wire();
    let line = wire.strip_suffix("\r\n").unwrap_or_default();
    assert!(!line.contains(['\r', '\n', '\0']), "a command is one line");
}

fn lenient() -> Actions {
    let free = Rule::ALL.iter().filter(|rule| !rule.is_fixed());
    free.fold(Actions::default(), |actions, rule| {
        actions.with(*rule, Action::Monitor)
    })
}
