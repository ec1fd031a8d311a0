//! Files in a `OneNote` section: each lies whole behind a mark (`FileDataStoreObject`, MS-ONESTORE 2.6.13).

use memchr::memmem;

use super::{Member, Sink};
use crate::octets::{place64, rest, some, u64le};

const MARK: &[u8; 16] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    for at in memmem::find_iter(octets, MARK) {
        let from = rest(octets, at);
        let length = u64le(from, 16).map_or(0, place64);
        let content = some(from, 36, length);
        if content.is_empty() {
            continue;
        }
        let (kept, unread) = sink.stored(content);
        let more = sink.member(Member {
            octets: kept,
            unread,
            inner: true,
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}
