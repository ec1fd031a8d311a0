//! Segments of TCP to what either side of a connection said, in order.
//!
//! Entry: [`Streams`]. Octets that come twice count once, the first time; octets that come early wait. What waits, and
//! what the sessions hold, is bounded: where it is more, the connection that was silent longest is given up, and told of.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::capture::Segment;

/// What is done with the two sides of a connection.
pub trait Session {
    /// Octets of the client, in order.
    fn client(&mut self, octets: &[u8]);
    /// Octets of the server, in order.
    fn server(&mut self, octets: &[u8]);
    /// Octets it holds.
    fn held(&self) -> usize;
    /// Nothing more comes.
    fn end(self, why: End);
}

/// Why nothing more comes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Both sides have ended it, or one has broken it off.
    Closed,
    /// The capture is at its end.
    CaptureEnds,
    /// It began before the capture.
    NoBeginning,
    /// Octets are missing in the capture.
    Missing,
    /// Too much would have to be held.
    TooMuch,
}

impl End {
    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CaptureEnds => "capture-ends",
            Self::Closed => "closed",
            Self::Missing => "octets-missing",
            Self::NoBeginning => "begun-before-capture",
            Self::TooMuch => "too-much-to-hold",
        }
    }
}

/// How much is held.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections followed at a time.
    pub connections: usize,
    /// Octets of all connections together.
    pub octets: usize,
    /// Octets of one direction that wait for others before them.
    pub early: usize,
    /// Octets of one block of a capture. A packet has 256 KiB at most, as programs capture it.
    pub block: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            octets: 256 << 20,
            early: 4 << 20,
            block: 1 << 20,
        }
    }
}

/// What a piece that waits costs beside its octets.
const PIECE: usize = 64;

/// Who speaks to whom: client and server.
pub type Pair = (SocketAddr, SocketAddr);

/// All connections to some ports.
pub struct Streams<'f, S> {
    ports: Vec<u16>,
    limits: Limits,
    begin: &'f mut dyn FnMut(Pair) -> S,
    flows: HashMap<Pair, Flow<S>>,
    /// By when they were heard of last.
    order: BTreeMap<u64, Pair>,
    clock: u64,
    held: usize,
}

struct Flow<S> {
    /// None: nothing of it can be followed any more.
    session: Option<S>,
    client: Side,
    server: Side,
    heard: u64,
    held: usize,
}

/// One direction.
#[derive(Default)]
struct Side {
    /// The sequence number that is due.
    due: Option<u32>,
    /// The number its connection began with.
    first: Option<u32>,
    /// Octets in order so far.
    told: u64,
    /// Octets that came early, by their place.
    early: BTreeMap<u64, Vec<u8>>,
    waiting: usize,
    /// Where it ends.
    end: Option<u64>,
}

impl Side {
    fn begins(&mut self, number: u32) {
        self.first = Some(number);
        self.due = Some(number.wrapping_add(1));
    }

    fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.told >= end)
    }

    /// Whether octets before some that have come are missing.
    fn is_missing(&self) -> bool {
        !self.early.is_empty() || self.end.is_some_and(|end| self.told < end)
    }

    /// Takes octets and tells those that are in order. `false`: too many wait.
    fn take(&mut self, segment: &Segment<'_>, most: usize, tell: &mut dyn FnMut(&[u8])) -> bool {
        let number = segment.number.wrapping_add(u32::from(segment.syn));
        let due = *self.due.get_or_insert(number);
        // As a signed number: below zero it has come before.
        let ahead = i64::from(number.wrapping_sub(due).cast_signed());
        let place = self.told.checked_add_signed(ahead);
        let (place, octets) = match place {
            Some(place) => (place, segment.octets),
            // It began before what is known.
            None => match usize::try_from(ahead.unsigned_abs() - self.told) {
                Ok(skip) => (0, segment.octets.get(skip..).unwrap_or_default()),
                Err(_) => return true,
            },
        };
        if segment.fin {
            self.end.get_or_insert(place + octets.len() as u64);
        }
        if place > self.told {
            if !octets.is_empty() {
                let waits = self.early.entry(place).or_default();
                if waits.len() < octets.len() {
                    self.waiting += octets.len() - waits.len() + PIECE;
                    octets.clone_into(waits);
                }
            }
            return self.waiting <= most;
        }
        self.tell(place, octets, tell);
        while let Some((place, octets)) = self.early.pop_first() {
            if place > self.told {
                self.early.insert(place, octets);
                break;
            }
            self.waiting = self.waiting.saturating_sub(octets.len() + PIECE);
            self.tell(place, &octets, tell);
        }
        if self.early.is_empty() {
            self.waiting = 0;
        }
        true
    }

    fn tell(&mut self, place: u64, octets: &[u8], tell: &mut dyn FnMut(&[u8])) {
        let known = usize::try_from(self.told.saturating_sub(place)).unwrap_or(usize::MAX);
        let Some(fresh) = octets.get(known..).filter(|fresh| !fresh.is_empty()) else {
            return;
        };
        self.told += fresh.len() as u64;
        let count = u32::try_from(fresh.len()).unwrap_or(u32::MAX);
        self.due = self.due.map(|due| due.wrapping_add(count));
        tell(fresh);
    }
}

impl<'f, S: Session> Streams<'f, S> {
    /// Follows connections to these ports; `begin` is asked for what is done with each.
    pub fn new(ports: &[u16], limits: Limits, begin: &'f mut dyn FnMut(Pair) -> S) -> Self {
        Self {
            ports: ports.to_vec(),
            limits,
            begin,
            flows: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            held: 0,
        }
    }

    /// Octets held now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes the next segment.
    pub fn take(&mut self, segment: &Segment<'_>) {
        let Some((pair, of_client)) = self.pair(segment) else {
            return;
        };
        // The same ports are used for another connection.
        if segment.syn
            && segment.acknowledges.is_none()
            && let Some(flow) = self.flows.get(&pair)
            && flow.client.first != Some(segment.number)
        {
            self.give_up(pair, End::Closed);
        }
        // What trails behind a connection that is over begins none.
        if !segment.syn && segment.octets.is_empty() && !self.flows.contains_key(&pair) {
            return;
        }
        self.clock += 1;
        let now = self.clock;
        let begin = &mut self.begin;
        let flow = self.flows.entry(pair).or_insert_with(|| Flow {
            session: Some(begin(pair)),
            client: Side::default(),
            server: Side::default(),
            heard: now,
            held: 0,
        });
        self.order.remove(&flow.heard);
        flow.heard = now;
        self.order.insert(now, pair);
        let end = flow.take(segment, of_client, self.limits.early);
        let held = flow.client.waiting
            + flow.server.waiting
            + flow.session.as_ref().map_or(0, Session::held);
        self.held = self.held.saturating_sub(flow.held).saturating_add(held);
        flow.held = held;
        match end {
            // Packets may follow an end: they must not begin it anew.
            Some(End::NoBeginning | End::Missing) => self.mute(pair, end),
            Some(why) => self.give_up(pair, why),
            None => {}
        }
        while (self.held > self.limits.octets || self.flows.len() > self.limits.connections)
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = *oldest;
            self.give_up(oldest, End::TooMuch);
        }
    }

    /// Nothing more comes.
    pub fn end(mut self) {
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            self.give_up(oldest, End::CaptureEnds);
        }
    }

    /// Client and server of a segment to or from one of the ports; whether it is the client's.
    fn pair(&self, segment: &Segment<'_>) -> Option<(Pair, bool)> {
        let as_client = (segment.from, segment.to);
        let as_server = (segment.to, segment.from);
        let to = self.ports.contains(&segment.to.port());
        let from = self.ports.contains(&segment.from.port());
        match (to, from) {
            (false, false) => None,
            (false, true) => Some((as_server, false)),
            // Who begins is the client.
            (true, true)
                if segment.syn && segment.acknowledges.is_some()
                    || !segment.syn && self.flows.contains_key(&as_server) =>
            {
                Some((as_server, false))
            }
            (true, _) => Some((as_client, true)),
        }
    }

    /// Lets go of what a connection holds, and knows it still.
    fn mute(&mut self, pair: Pair, why: Option<End>) {
        if let Some(flow) = self.flows.get_mut(&pair) {
            if let (Some(session), Some(why)) = (flow.session.take(), why) {
                session.end(why);
            }
            flow.client.early.clear();
            flow.server.early.clear();
            self.held = self.held.saturating_sub(flow.held);
            flow.held = 0;
        }
    }

    fn give_up(&mut self, pair: Pair, why: End) {
        if let Some(mut flow) = self.flows.remove(&pair) {
            self.order.remove(&flow.heard);
            self.held = self.held.saturating_sub(flow.held);
            if let Some(session) = flow.session.take() {
                let missing = flow.client.is_missing() || flow.server.is_missing();
                session.end(match why {
                    End::Closed | End::CaptureEnds if missing => End::Missing,
                    why => why,
                });
            }
        }
    }
}

impl<S: Session> Flow<S> {
    /// Takes a segment. Why the connection is followed no further, if it is not.
    fn take(&mut self, segment: &Segment<'_>, of_client: bool, most: usize) -> Option<End> {
        let Some(session) = &mut self.session else {
            return (segment.rst || segment.fin).then_some(End::Closed);
        };
        if of_client {
            if segment.syn && self.client.first.is_none() {
                self.client.begins(segment.number);
            }
        } else if segment.syn {
            if self.server.first.is_none() {
                self.server.begins(segment.number);
            }
            // The client's own beginning was not seen.
            if let Some(next) = segment.acknowledges
                && self.client.first.is_none()
            {
                self.client.begins(next.wrapping_sub(1));
            }
        }
        if self.client.first.is_none() {
            return Some(End::NoBeginning);
        }
        let in_time = if of_client {
            let tell = &mut |octets: &[u8]| session.client(octets);
            self.client.take(segment, most, tell)
        } else {
            let tell = &mut |octets: &[u8]| session.server(octets);
            self.server.take(segment, most, tell)
        };
        if !in_time {
            return Some(End::Missing);
        }
        let ended = self.client.is_ended() && self.server.is_ended();
        (segment.rst || ended).then_some(End::Closed)
    }
}

#[cfg(test)]
mod tests;
