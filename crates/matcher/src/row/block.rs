//! Blocks of rows: what statements about one package repeat is written once.
//!
//! A tracker says the same releases, and the same version in the repository of each, with every one of
//! a package's advisories. A block is, after [`MARK`], a table of texts, a table of versions with
//! their keys, and the rows, which name both by their numbers:
//!
//! ```text
//! block    = MARK, number, text * that, number, version * that, number, row * that
//! version  = text, key
//! row      = advisory: text, number, alias: text * that, package kind: byte, module: text number or 0,
//!            voice: byte, title: text, CVSS: 0 or 1 text, number, claim * that
//! claim    = release: text number or 0, kind: byte, (what the kind has), urgency: byte or 0,
//!            note: text number or 0, in the repository: version number or 0
//! affected = number, (introduced: version number or 0, end: byte, end: version number) * that,
//!            number, text number * that
//! ```
//!
//! Numbers are LEB128, a text or key is its length and its bytes, and what may be missing counts from 1.

use std::collections::HashMap;
use std::ops::Range;

use mailkeep_model::{
    ClaimKind, OpenState, PackageKind, RangeEnd, Statement, Urgency, VersionScheme, Voice,
};
use postcard::Error as Damage;

use super::{DecodedRow, RowClaim, RowEnd, RowError, RowKind, RowRange, RowVersion};
use crate::version;

/// What a block begins with. To a Mailkeep that knows no blocks it is a row of a nameless advisory with
/// more aliases than there are bytes: damaged.
pub(super) const MARK: [u8; 6] = [0, 0xff, 0xff, 0xff, 0xff, 0x7f];

const KINDS: [PackageKind; 2] = [PackageKind::Binary, PackageKind::Source];

const VOICES: [Voice; 3] = [Voice::Distributor, Voice::Changelog, Voice::Upstream];

const STATES: [OpenState; 5] = [
    OpenState::EndOfLife,
    OpenState::Ignored,
    OpenState::Minor,
    OpenState::Open,
    OpenState::Postponed,
];

const URGENCIES: [Urgency; 6] = [
    Urgency::Unimportant,
    Urgency::NotYetAssigned,
    Urgency::Low,
    Urgency::Medium,
    Urgency::High,
    Urgency::Critical,
];

/// The kinds of claims.
mod claim {
    pub(super) const AFFECTED: u8 = 0;
    pub(super) const FIXED_IN: u8 = 1;
    pub(super) const NOT_AFFECTED: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const UNDETERMINED: u8 = 4;
}

/// How a range ends.
mod end {
    pub(super) const FIXED: u8 = 0;
    pub(super) const LAST_AFFECTED: u8 = 1;
    pub(super) const LIMIT: u8 = 2;
    pub(super) const OPEN: u8 = 3;
}

/// Packs statements about one package into a block, and then about the next. Reuses its buffers.
#[derive(Debug, Default)]
pub struct RowBuilder {
    texts: Table,
    versions: Table,
    rows: Vec<u8>,
    /// Where each row begins in `rows`, and where in it the advisory's name lies.
    starts: Vec<(usize, Range<usize>)>,
}

impl RowBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The body of these statements about one package.
    pub fn body_of<'s>(statements: impl IntoIterator<Item = &'s Statement>) -> Vec<u8> {
        let mut builder = Self::new();
        for statement in statements {
            builder.add(statement);
        }
        let mut body = Vec::new();
        builder.finish(&mut body);
        body
    }

    /// Adds a statement. All up to [`RowBuilder::finish`] are about packages of one ecosystem.
    pub fn add(&mut self, statement: &Statement) {
        let scheme = statement.ecosystem.version_scheme();
        let start = self.rows.len();
        put_bytes(&mut self.rows, statement.advisory.as_str().as_bytes());
        let named = self.rows.len();
        let name = named - statement.advisory.as_str().len()..named;
        self.starts.push((start, name));
        put_number(&mut self.rows, statement.aliases.len());
        for alias in &statement.aliases {
            put_bytes(&mut self.rows, alias.as_str().as_bytes());
        }
        put_place(&mut self.rows, &KINDS, statement.package_kind);
        self.text_or_none(statement.module.as_deref());
        put_place(&mut self.rows, &VOICES, statement.voice);
        put_bytes(&mut self.rows, statement.title.as_bytes());
        match &statement.cvss {
            Some(vector) => {
                self.rows.push(1);
                put_bytes(&mut self.rows, vector.as_bytes());
            }
            None => self.rows.push(0),
        }
        put_number(&mut self.rows, statement.claims.len());
        for claim in &statement.claims {
            self.text_or_none(claim.release.as_deref());
            self.kind(scheme, &claim.kind);
            match claim.urgency {
                // From 1: see the head of this file.
                Some(urgency) => self.rows.push(1 + place(&URGENCIES, urgency)),
                None => self.rows.push(0),
            }
            self.text_or_none(claim.note.as_deref());
            self.version_or_none(scheme, claim.in_repository.as_deref());
        }
        self.texts.begin_anew();
        self.versions.begin_anew();
    }

    /// Bytes of the block so far, about.
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.texts.bytes.len() + self.versions.bytes.len()
    }

    /// Appends the block of the statements added to `out`, nothing where there are none, and begins
    /// another.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.starts.is_empty() {
            return;
        }
        out.reserve(self.bytes() + 24);
        out.extend_from_slice(&MARK);
        for table in [&mut self.texts, &mut self.versions] {
            put_number(out, table.spans.len());
            out.extend_from_slice(&table.bytes);
            table.clear();
        }
        put_number(out, self.starts.len());
        self.put_rows(out);
        self.rows.clear();
        self.starts.clear();
    }

    /// The rows by advisory, those of one as they came: judging asks for them in this order.
    fn put_rows(&self, out: &mut Vec<u8>) {
        let ends = self.starts.iter().map(|(start, _)| *start).skip(1);
        let ends = ends.chain([self.rows.len()]);
        let mut rows: Vec<(&[u8], &[u8])> = self
            .starts
            .iter()
            .zip(ends)
            .filter_map(|((start, name), end)| {
                Some((self.rows.get(name.clone())?, self.rows.get(*start..end)?))
            })
            .collect();
        rows.sort_by_key(|(advisory, _)| *advisory);
        for (_, row) in rows {
            out.extend_from_slice(row);
        }
    }

    fn kind(&mut self, scheme: VersionScheme, kind: &ClaimKind) {
        match kind {
            ClaimKind::Affected { ranges, versions } => {
                self.rows.push(claim::AFFECTED);
                put_number(&mut self.rows, ranges.len());
                for range in ranges {
                    self.version_or_none(scheme, range.introduced.as_deref());
                    let (how, version) = match &range.end {
                        RangeEnd::Fixed(version) => (end::FIXED, Some(version)),
                        RangeEnd::LastAffected(version) => (end::LAST_AFFECTED, Some(version)),
                        RangeEnd::Limit(version) => (end::LIMIT, Some(version)),
                        RangeEnd::Open => (end::OPEN, None),
                    };
                    self.rows.push(how);
                    if let Some(version) = version {
                        self.version(scheme, version);
                    }
                }
                put_number(&mut self.rows, versions.len());
                for version in versions {
                    let number = self.texts.number(version, |_| {});
                    put_number(&mut self.rows, number);
                }
            }
            ClaimKind::FixedIn { version } => {
                self.rows.push(claim::FIXED_IN);
                self.version(scheme, version);
            }
            ClaimKind::NotAffected => self.rows.push(claim::NOT_AFFECTED),
            ClaimKind::Open { state } => {
                self.rows.push(claim::OPEN);
                put_place(&mut self.rows, &STATES, *state);
            }
            ClaimKind::Undetermined => self.rows.push(claim::UNDETERMINED),
        }
    }

    fn text_or_none(&mut self, text: Option<&str>) {
        let number = text.map_or(0, |text| 1 + self.texts.number(text, |_| {}));
        put_number(&mut self.rows, number);
    }

    fn version_or_none(&mut self, scheme: VersionScheme, text: Option<&str>) {
        let number = text.map_or(0, |text| 1 + self.version_number(scheme, text));
        put_number(&mut self.rows, number);
    }

    fn version(&mut self, scheme: VersionScheme, text: &str) {
        let number = self.version_number(scheme, text);
        put_number(&mut self.rows, number);
    }

    fn version_number(&mut self, scheme: VersionScheme, text: &str) -> usize {
        self.versions.number(text, |bytes| {
            let mut key = Vec::with_capacity(2 * text.len());
            if version::write_key(scheme, text, &mut key).is_err() {
                key.clear();
            }
            put_bytes(bytes, &key);
        })
    }
}

/// Texts, each once, as they are written.
#[derive(Debug, Default)]
struct Table {
    bytes: Vec<u8>,
    /// Where each text lies in `bytes`.
    spans: Vec<Range<usize>>,
    numbers: HashMap<Box<str>, usize>,
    /// The numbers that the statement before had, in their order: the next one mostly has the same.
    before: Vec<usize>,
    now: Vec<usize>,
}

impl Table {
    /// The number of a text. A new one is written, and what `and` writes behind it.
    fn number(&mut self, text: &str, and: impl FnOnce(&mut Vec<u8>)) -> usize {
        let likely = self.before.get(self.now.len()).copied().filter(|number| {
            let span = self.spans.get(*number).cloned();
            span.and_then(|span| self.bytes.get(span)) == Some(text.as_bytes())
        });
        let number = likely
            .or_else(|| self.numbers.get(text).copied())
            .unwrap_or_else(|| {
                put_bytes(&mut self.bytes, text.as_bytes());
                let end = self.bytes.len();
                and(&mut self.bytes);
                let number = self.spans.len();
                self.spans.push(end - text.len()..end);
                self.numbers.insert(text.into(), number);
                number
            });
        self.now.push(number);
        number
    }

    fn begin_anew(&mut self) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.numbers.clear();
        self.before.clear();
        self.now.clear();
    }
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest > 0x7f {
        out.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_bits(rest));
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes which of `all` a value is.
fn put_place<T: Copy + PartialEq>(out: &mut Vec<u8>, all: &[T], value: T) {
    out.push(place(all, value));
}

fn place<T: Copy + PartialEq>(all: &[T], value: T) -> u8 {
    let place = all
        .iter()
        .position(|one| *one == value)
        .unwrap_or(all.len());
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// The tables of the block that is read.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    texts: Vec<&'a str>,
    versions: Vec<RowVersion<'a>>,
}

impl<'a> Tables<'a> {
    /// Reads a block behind its mark. Returns what follows it.
    pub(super) fn read_block(
        &mut self,
        block: &'a [u8],
        each: &mut impl FnMut(DecodedRow<'a>),
    ) -> Result<&'a [u8], RowError> {
        let mut reader = Reader(block);
        self.texts.clear();
        for _ in 0..reader.count(1)? {
            self.texts.push(reader.text()?);
        }
        self.versions.clear();
        for _ in 0..reader.count(2)? {
            self.versions.push(RowVersion {
                text: reader.text()?,
                key: reader.bytes()?,
            });
        }
        for _ in 0..reader.count(7)? {
            each(self.row(&mut reader)?);
        }
        Ok(reader.0)
    }

    fn row(&self, reader: &mut Reader<'a>) -> Result<DecodedRow<'a>, RowError> {
        Ok(DecodedRow {
            advisory: reader.text()?,
            aliases: reader.list(1, Reader::text)?,
            kind: reader.one_of(&KINDS)?,
            module: self.text_or_none(reader)?,
            voice: reader.one_of(&VOICES)?,
            title: reader.text()?,
            cvss: match reader.byte()? {
                0 => None,
                _ => Some(reader.text()?),
            },
            claims: reader.list(5, |reader| self.claim(reader))?,
        })
    }

    fn claim(&self, reader: &mut Reader<'a>) -> Result<RowClaim<'a>, RowError> {
        Ok(RowClaim {
            release: self.text_or_none(reader)?,
            kind: self.kind(reader)?,
            urgency: match reader.byte()? {
                0 => None,
                place => Some(known(&URGENCIES, place - 1)?),
            },
            note: self.text_or_none(reader)?,
            in_repository: self.version_or_none(reader)?,
        })
    }

    fn kind(&self, reader: &mut Reader<'a>) -> Result<RowKind<'a>, RowError> {
        Ok(match reader.byte()? {
            claim::AFFECTED => RowKind::Affected {
                ranges: reader.list(2, |reader| self.range(reader))?,
                versions: reader.list(1, |reader| nth(&self.texts, reader.number()?))?,
            },
            claim::FIXED_IN => RowKind::FixedIn(self.version(reader)?),
            claim::NOT_AFFECTED => RowKind::NotAffected,
            claim::OPEN => RowKind::Open(reader.one_of(&STATES)?),
            claim::UNDETERMINED => RowKind::Undetermined,
            _ => return Err(Damage::DeserializeBadEnum.into()),
        })
    }

    fn range(&self, reader: &mut Reader<'a>) -> Result<RowRange<'a>, RowError> {
        Ok(RowRange {
            introduced: self.version_or_none(reader)?,
            end: match reader.byte()? {
                end::FIXED => RowEnd::Fixed(self.version(reader)?),
                end::LAST_AFFECTED => RowEnd::LastAffected(self.version(reader)?),
                end::LIMIT => RowEnd::Limit(self.version(reader)?),
                end::OPEN => RowEnd::Open,
                _ => return Err(Damage::DeserializeBadEnum.into()),
            },
        })
    }

    fn version(&self, reader: &mut Reader<'a>) -> Result<RowVersion<'a>, RowError> {
        nth(&self.versions, reader.number()?)
    }

    fn text_or_none(&self, reader: &mut Reader<'a>) -> Result<Option<&'a str>, RowError> {
        nth_or_none(&self.texts, reader)
    }

    fn version_or_none(&self, reader: &mut Reader<'a>) -> Result<Option<RowVersion<'a>>, RowError> {
        nth_or_none(&self.versions, reader)
    }
}

fn nth<T: Copy>(table: &[T], number: usize) -> Result<T, RowError> {
    let found = table.get(number).copied();
    found.ok_or_else(|| Damage::DeserializeUnexpectedEnd.into())
}

fn nth_or_none<T: Copy>(table: &[T], reader: &mut Reader<'_>) -> Result<Option<T>, RowError> {
    match reader.number()? {
        0 => Ok(None),
        number => nth(table, number - 1).map(Some),
    }
}

fn known<T: Copy>(all: &[T], place: u8) -> Result<T, RowError> {
    let found = all.get(usize::from(place)).copied();
    found.ok_or_else(|| Damage::DeserializeBadEnum.into())
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, RowError> {
        let (first, rest) = self
            .0
            .split_first()
            .ok_or(Damage::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<usize, RowError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(usize::from(first));
        }
        let mut number = usize::from(first & 0x7f);
        // No table and no text has a number that takes more.
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damage::DeserializeBadVarint.into())
    }

    /// How many follow, each of at least `least` bytes.
    fn count(&mut self, least: usize) -> Result<usize, RowError> {
        let count = self.number()?;
        if count > self.0.len() / least {
            return Err(Damage::DeserializeUnexpectedEnd.into());
        }
        Ok(count)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RowError> {
        let length = self.number()?;
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Damage::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, RowError> {
        str::from_utf8(self.bytes()?).map_err(|_not_utf8| Damage::DeserializeBadUtf8.into())
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, RowError> {
        known(all, self.byte()?)
    }

    fn list<T>(
        &mut self,
        least: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, RowError>,
    ) -> Result<Vec<T>, RowError> {
        let count = self.count(least)?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(one(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests;
