//! Whatever order segments come in, each side is told once and in order.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    client: Vec<u8>,
    server: Vec<u8>,
    ended: Vec<End>,
    begun: usize,
}

struct Listener(Rc<RefCell<Heard>>);

impl Session for Listener {
    fn client(&mut self, octets: &[u8]) {
        self.0.borrow_mut().client.extend_from_slice(octets);
    }
    fn server(&mut self, octets: &[u8]) {
        self.0.borrow_mut().server.extend_from_slice(octets);
    }
    fn held(&self) -> usize {
        0
    }
    fn end(self, why: End) {
        self.0.borrow_mut().ended.push(why);
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn segment(of_client: bool, number: u32, octets: &[u8]) -> Segment<'_> {
    let (client, server) = (address(40_000), address(25));
    let (from, to) = if of_client {
        (client, server)
    } else {
        (server, client)
    };
    Segment {
        from,
        to,
        number,
        acknowledges: Some(0),
        syn: false,
        fin: false,
        rst: false,
        octets,
    }
}

fn syn(number: u32) -> Segment<'static> {
    Segment {
        syn: true,
        acknowledges: None,
        ..segment(true, number, b"")
    }
}

fn heard(limits: Limits, segments: &[Segment<'_>]) -> Heard {
    let heard = Rc::new(RefCell::new(Heard::default()));
    let told = Rc::clone(&heard);
    let mut begin = |_| {
        told.borrow_mut().begun += 1;
        Listener(Rc::clone(&told))
    };
    let mut streams = Streams::new(&[25], limits, &mut begin);
    for segment in segments {
        streams.take(segment);
    }
    streams.end();
    std::mem::take(&mut *heard.borrow_mut())
}

#[test]
fn octets_come_once_and_in_order_however_they_were_sent() {
    let start = u32::MAX - 2;
    let told = heard(
        Limits::default(),
        &[
            syn(start),
            segment(true, start.wrapping_add(6), b"fgh"),
            segment(true, start.wrapping_add(1), b"abc"),
            segment(true, start.wrapping_add(1), b"abcde"),
            segment(true, start.wrapping_add(2), b"XX"),
            segment(true, start.wrapping_add(9), b"i"),
            segment(false, 7, b"220"),
            segment(true, start, b"x"),
        ],
    );
    assert_eq!(told.client, b"abcdefghi");
    assert_eq!(told.server, b"220");
    assert_eq!(told.ended, [End::CaptureEnds]);
}

#[test]
fn what_is_missing_is_said() {
    let fin = Segment {
        fin: true,
        ..segment(true, 20, b"z")
    };
    let told = heard(Limits::default(), &[syn(1), segment(true, 2, b"ab"), fin]);
    assert_eq!(told.client, b"ab");
    assert_eq!(told.ended, [End::Missing]);
    let told = heard(
        Limits::default(),
        &[segment(true, 2, b"ab"), segment(true, 4, b"c")],
    );
    assert_eq!((told.begun, told.ended), (1, vec![End::NoBeginning]));
    assert!(told.client.is_empty());
}

#[test]
fn a_connection_that_is_over_is_not_begun_anew_by_what_trails_behind() {
    let rst = Segment {
        rst: true,
        ..segment(false, 7, b"")
    };
    let told = heard(
        Limits::default(),
        &[
            syn(1),
            rst,
            segment(true, 2, b""),
            syn(900),
            segment(true, 901, b"q"),
        ],
    );
    assert_eq!(told.begun, 2);
    assert_eq!(told.ended, [End::Closed, End::CaptureEnds]);
    let told = heard(
        Limits::default(),
        &[syn(1), syn(1), segment(true, 2, b"a"), syn(900)],
    );
    assert_eq!(told.begun, 2);
}

#[test]
fn no_more_is_held_than_is_allowed() {
    let limits = Limits {
        connections: 3,
        octets: 10_000,
        early: 4000,
        ..Limits::default()
    };
    let big = [b'x'; 1000];
    let early: Vec<Segment<'_>> = (0..20)
        .map(|number| segment(true, 100 + number * 2000, &big))
        .collect();
    let told = heard(limits, &[&[syn(1)][..], &early].concat());
    assert_eq!(told.ended, [End::Missing]);
    let many: Vec<Segment<'_>> = (0..10)
        .map(|number| Segment {
            from: address(40_000 + number),
            ..syn(1)
        })
        .collect();
    let told = heard(limits, &many);
    assert_eq!(
        told.ended
            .iter()
            .filter(|end| **end == End::TooMuch)
            .count(),
        7
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_segments_tells_the_same(
        text in prop::collection::vec(any::<u8>(), 1..400),
        cuts in prop::collection::vec(1_usize..40, 1..40),
        first in any::<u32>(),
        order in any::<prop::sample::Index>(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut pieces = Vec::new();
        let mut at = 0;
        for cut in cuts.iter().cycle() {
            if at >= text.len() {
                break;
            }
            let end = text.len().min(at + cut);
            let number = first.wrapping_add(1).wrapping_add(u32::try_from(at).unwrap());
            pieces.push(segment(true, number, &text[at..end]));
            at = end;
        }
        for one in again {
            let copy = *one.get(&pieces);
            pieces.push(copy);
        }
        let turn = order.index(pieces.len());
        pieces.rotate_left(turn);
        pieces.insert(0, syn(first));
        let told = heard(Limits::default(), &pieces);
        prop_assert_eq!(told.client, text);
        prop_assert_eq!(told.ended, vec![End::CaptureEnds]);
    }
}
