//! What a reading of a message found in it.

use std::borrow::Cow;

/// One piece of content, as it would reach somebody who opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<'a> {
    /// Its octets, decoded.
    pub octets: Cow<'a, [u8]>,
    /// Every name that some reader of mail would give it, without path separators removed; the most usual one first.
    pub names: Vec<String>,
    /// Every type that some reader of mail would take it to have, as `type/subtype` in lower case.
    pub types: Vec<String>,
    /// What it lay in.
    pub origin: Origin,
    /// Where: part numbers and names of members, as `2/invoice.zip/a.exe`.
    pub place: String,
}

/// What a piece of content lay in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A part that a reader shows as text of the message.
    Body,
    /// A part that a reader offers to open or save.
    Attachment,
    /// A member of an archive or of a document.
    Member,
}
