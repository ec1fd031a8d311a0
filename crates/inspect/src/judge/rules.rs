//! The rules on a message's own shape. What is in its parts has rules of its own.

use crate::{ContentRule, Level};

/// Usual readers find different attachments in it (family G12 of the catalogue).
pub const MIME_AMBIGUOUS: ContentRule = ContentRule {
    name: "mime-ambiguous",
    refuses_from: Some(Level::Default),
    text: "The message is broken in a way that lets it hold different attachments for different readers.",
};

/// It is broken, and all readers find the same.
pub const MIME_BROKEN: ContentRule = ContentRule {
    name: "mime-broken",
    refuses_from: Some(Level::Paranoid),
    text: "The message does not keep to the standard for messages with parts.",
};

/// One header gives a part names of different kinds.
pub const NAME_AMBIGUOUS: ContentRule = ContentRule {
    name: "name-ambiguous",
    refuses_from: Some(Level::Default),
    text: "An attachment is written so that different readers give it names of different kinds.",
};

/// Two headers do.
pub const NAME_DIFFERS: ContentRule = ContentRule {
    name: "name-differs",
    refuses_from: Some(Level::Default),
    text: "An attachment has two names of different kinds.",
};

/// A piece of a message, which nobody can inspect (RFC 2046 section 5.2.2).
pub const MESSAGE_PARTIAL: ContentRule = ContentRule {
    name: "message-partial",
    refuses_from: Some(Level::Default),
    text: "The message is a piece of another one, and pieces cannot be inspected. Send it whole.",
};

/// Content that lies elsewhere (RFC 2046 section 5.2.3).
pub const MESSAGE_EXTERNAL_BODY: ContentRule = ContentRule {
    name: "message-external-body",
    refuses_from: Some(Level::Default),
    text: "An attachment is to be fetched from elsewhere, and cannot be inspected. Attach it to the message.",
};

/// HTML that does something.
pub const HTML_ACTIVE: ContentRule = ContentRule {
    name: "html-active",
    refuses_from: None,
    text: "The text of the message holds scripts or other active content.",
};

/// Family G10.
pub const HEADERS_TOO_LARGE: ContentRule = ContentRule {
    name: "headers-too-large",
    refuses_from: Some(Level::Default),
    text: "The headers of the message are too large.",
};

/// Family G10.
pub const HEADER_TOO_LONG: ContentRule = ContentRule {
    name: "header-too-long",
    refuses_from: Some(Level::Default),
    text: "A header of the message is too long.",
};

/// Family G10.
pub const TOO_MANY_HEADERS: ContentRule = ContentRule {
    name: "too-many-headers",
    refuses_from: Some(Level::Default),
    text: "The message has too many headers.",
};

/// Family G10 (CVE-2024-23184).
pub const TOO_MANY_ADDRESSES: ContentRule = ContentRule {
    name: "too-many-addresses",
    refuses_from: Some(Level::Default),
    text: "A header of the message holds too many addresses.",
};

/// Family G10 (CVE-2026-27859).
pub const TOO_MANY_PARAMETERS: ContentRule = ContentRule {
    name: "too-many-parameters",
    refuses_from: Some(Level::Default),
    text: "A header of an attachment has too many parameters.",
};

/// Family G10 (CVE-2026-27859).
pub const TOO_MANY_SEGMENTS: ContentRule = ContentRule {
    name: "too-many-segments",
    refuses_from: Some(Level::Default),
    text: "A name of an attachment comes in too many pieces.",
};

/// All of them.
pub const RULES: [&ContentRule; 13] = [
    &HEADER_TOO_LONG,
    &HEADERS_TOO_LARGE,
    &HTML_ACTIVE,
    &MESSAGE_EXTERNAL_BODY,
    &MESSAGE_PARTIAL,
    &MIME_AMBIGUOUS,
    &MIME_BROKEN,
    &NAME_AMBIGUOUS,
    &NAME_DIFFERS,
    &TOO_MANY_ADDRESSES,
    &TOO_MANY_HEADERS,
    &TOO_MANY_PARAMETERS,
    &TOO_MANY_SEGMENTS,
];

/// Octets of one header block.
pub const MAX_HEADERS: usize = 256 << 10;
/// Octets of one header, with its continuation lines.
pub const MAX_HEADER: usize = 64 << 10;
/// Headers of one block.
pub const MAX_HEADER_COUNT: usize = 1000;
/// Addresses of one header.
pub const MAX_ADDRESSES: usize = 500;
/// Parameters of one header.
pub const MAX_PARAMETERS: usize = 100;
/// Pieces of one parameter (RFC 2231 section 3).
pub const MAX_SEGMENTS: usize = 50;
