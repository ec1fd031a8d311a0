//! 7z: a list of files at the end, packed itself as a rule, and folders of coders before it (7zFormat.txt).

use std::borrow::Cow;
use std::io::{self, BufReader, ErrorKind, Read};

use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::filter::bcj2::Bcj2Reader;
use lzma_rust2::filter::delta::DeltaReader;

use super::inflate::{self, Decoder, Meter, Metered};
use super::{Member, Sink, Trouble, Unread};
use crate::octets::{piece, place64, rest, some, u32le, u64le, utf16le};
use crate::{Limit, LimitReached};

/// A header larger than this lists more members than any limit lets through.
const HEADER_MAX: u64 = 16 << 20;

/// More coders than 7z itself ever chains.
const CODERS_MAX: usize = 8;

struct Coder {
    method: Vec<u8>,
    inputs: usize,
    properties: Vec<u8>,
}

#[derive(Default)]
struct Folder {
    coders: Vec<Coder>,
    /// Which input of the folder takes which output.
    bonds: Vec<(usize, usize)>,
    /// Which inputs take packed streams, in order.
    packed: Vec<usize>,
    /// The number of the first packed stream.
    first: usize,
    /// What each coder brings forth.
    sizes: Vec<u64>,
    /// The files in it.
    files: Vec<u64>,
    /// Its sum is said.
    summed: bool,
}

#[derive(Default)]
struct Streams {
    /// Where each packed stream lies, and how long it is.
    packed: Vec<(usize, usize)>,
    folders: Vec<Folder>,
}

#[derive(Debug)]
enum Fail {
    Encrypted,
    Method(String),
    Damaged,
}

impl Fail {
    fn unread(&self) -> Unread {
        match self {
            Self::Encrypted => Unread::Encrypted,
            Self::Method(method) => Unread::Method(method.clone()),
            Self::Damaged => Unread::Damaged,
        }
    }
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    match header(octets, sink) {
        Ok((header, depth)) => match list(&header, octets, sink) {
            Some(()) => {}
            None if depth == 0 => sink.trouble(Trouble::Damaged("its header is none")),
            None => sink.trouble(Trouble::Damaged("its packed header is none")),
        },
        Err(Fail::Encrypted) => sink.trouble(Trouble::EncryptedNames),
        Err(Fail::Method(_)) => sink.trouble(Trouble::NotUnpacked),
        Err(Fail::Damaged) => sink.trouble(Trouble::Damaged("its header is none")),
    }
}

/// The header, unpacked as often as it was packed.
fn header<'a>(octets: &'a [u8], sink: &mut Sink<'_>) -> Result<(Cow<'a, [u8]>, usize), Fail> {
    let at = u64le(octets, 12)
        .and_then(|offset| offset.checked_add(32))
        .ok_or(Fail::Damaged)?;
    let size = u64le(octets, 20).ok_or(Fail::Damaged)?;
    let found = piece(octets, place64(at), place64(size)).ok_or(Fail::Damaged)?;
    let mut header = Cow::Borrowed(found);
    for depth in 0..4 {
        match header.first() {
            Some(0x01) => return Ok((header, depth)),
            Some(0x17) => {
                let mut input = Input(rest(&header, 1));
                let streams = streams(&mut input).ok_or(Fail::Damaged)?;
                let folder = streams.folders.first().ok_or(Fail::Damaged)?;
                let size = folder
                    .unpacked()
                    .filter(|size| *size <= HEADER_MAX)
                    .ok_or(Fail::Damaged)?;
                let meter = sink.meter();
                let (most, _) = sink.allowance();
                let source = Source {
                    octets,
                    streams: &streams,
                    meter: &meter,
                    most,
                };
                let mut decoder = source.decoder(folder)?;
                let (unpacked, unread) = sink.unpack_metered(&mut decoder, Some(size), &meter);
                if unread.is_some() {
                    return Err(Fail::Damaged);
                }
                header = Cow::Owned(unpacked);
            }
            _ => return Err(Fail::Damaged),
        }
    }
    Err(Fail::Damaged)
}

/// Reads a header, and hands on the members it lists.
fn list(header: &[u8], octets: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let mut input = Input(rest(header, 1));
    let mut found = Streams::default();
    let mut files = Files::default();
    loop {
        match input.number()? {
            0 => break,
            2 => skip_properties(&mut input)?,
            3 => {
                // Streams that only this header uses.
                streams(&mut input)?;
            }
            4 => found = streams(&mut input)?,
            5 => {
                files = Files::read(&mut input, sink.budget.limits().members)?;
                break;
            }
            _ => return None,
        }
    }
    let mut folders = found.folders.iter();
    let mut unpacked = Vec::new().into_iter();
    for (nth, title) in files.names.iter().enumerate() {
        let empty = files.empty.get(nth).copied().unwrap_or(false);
        let link = files.links.get(nth).copied().unwrap_or(false);
        if empty {
            if title.contains("..")
                && !sink.member(Member {
                    names: vec![title.clone()],
                    ..Member::default()
                })
            {
                return Some(());
            }
            continue;
        }
        let mut next = unpacked.next();
        while next.is_none()
            && let Some(folder) = folders.next()
        {
            let most = files.names.len().saturating_sub(nth);
            unpacked = unpack(folder, &found, octets, most, sink).into_iter();
            next = unpacked.next();
        }
        let (octets, unread) = next.unwrap_or((Vec::new(), Some(Unread::Damaged)));
        let more = sink.member(Member {
            names: vec![title.clone()],
            link: link.then(|| crate::octets::name(some(&octets, 0, 4096))),
            octets: Cow::Owned(octets),
            unread,
            ..Member::default()
        });
        if !more {
            return Some(());
        }
    }
    // Entries without content cost nothing above, and may stand before one that has some.
    if !sink.stopped && files.more {
        sink.limit(LimitReached(Limit::Parts));
    }
    Some(())
}

/// The files of a folder, at most so many. All of them before one is handed on: what lies in one may be an archive again,
/// and there is no memory for the decoders of each within the other.
fn unpack(
    folder: &Folder,
    streams: &Streams,
    octets: &[u8],
    most: usize,
    sink: &mut Sink<'_>,
) -> Vec<(Vec<u8>, Option<Unread>)> {
    let meter = sink.meter();
    let (allowed, _) = sink.allowance();
    let source = Source {
        octets,
        streams,
        meter: &meter,
        most: allowed,
    };
    let (mut decoder, mut broken) = match source.decoder(folder) {
        Ok(decoder) => (Some(decoder), None),
        Err(fail) => (None, Some(fail.unread())),
    };
    let mut files = Vec::new();
    for size in folder.files.iter().take(most) {
        let file = match (&mut decoder, &broken) {
            (Some(decoder), None) => sink.unpack_metered(decoder, Some(*size), &meter),
            _ => (Vec::new(), broken.clone()),
        };
        // What follows in the same folder lies behind what was not unpacked.
        broken.clone_from(&file.1);
        files.push(file);
    }
    files
}

#[derive(Default)]
struct Files {
    names: Vec<String>,
    empty: Vec<bool>,
    links: Vec<bool>,
    /// There are more than were read.
    more: bool,
}

impl Files {
    fn read(input: &mut Input<'_>, most: usize) -> Option<Self> {
        let count = place64(input.number()?);
        // Each has a name, of which two octets are its end.
        if count > input.0.len() {
            return None;
        }
        let mut files = Self::default();
        loop {
            let property = input.number()?;
            if property == 0 {
                break;
            }
            let length = place64(input.number()?);
            let mut field = Input(input.take(length)?);
            match property {
                0x0e => files.empty = field.bits(count)?,
                0x11 => {
                    if field.octet()? != 0 {
                        return None;
                    }
                    // A limit on members says that there are more.
                    while files.names.len() < count.min(most.saturating_add(1))
                        && !field.0.is_empty()
                    {
                        let title = utf16le(field.0);
                        let units = title.encode_utf16().count().saturating_add(1);
                        field.take(units.saturating_mul(2).min(field.0.len()))?;
                        files.names.push(title);
                    }
                }
                0x15 => {
                    let defined = match field.octet()? {
                        0 => field.bits(count)?,
                        _ => vec![true; count],
                    };
                    field.octet()?;
                    for defined in defined {
                        let attributes = if defined {
                            u32le(field.take(4)?, 0)?
                        } else {
                            0
                        };
                        // A Unix mode in the high half, if so marked.
                        files.links.push(
                            attributes & 0x8000 != 0 && (attributes >> 16) & 0o170_000 == 0o120_000,
                        );
                    }
                }
                _ => {}
            }
        }
        files.more = count > files.names.len();
        Some(files)
    }
}

/// What is left of a header.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, left) = self.0.split_first()?;
        self.0 = left;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    /// A number: leading ones of the first octet say how many follow.
    fn number(&mut self) -> Option<u64> {
        let first = self.octet()?;
        let extra = first.leading_ones();
        let mut value = 0_u64;
        for nth in 0..extra {
            value |= u64::from(self.octet()?) << (8 * nth);
        }
        if extra < 8 {
            let high = u64::from(first) & (0x7f_u64 >> extra);
            value |= high.checked_shl(8 * extra).unwrap_or(0);
        }
        Some(value)
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        Some(place64(self.number()?)).filter(|count| *count <= most)
    }

    fn bits(&mut self, count: usize) -> Option<Vec<bool>> {
        let packed = self.take(count.div_ceil(8))?;
        let bits = packed
            .iter()
            .flat_map(|octet| (0..8).map(move |bit| octet & (0x80 >> bit) != 0));
        Some(bits.take(count).collect())
    }

    /// Sums, where they are said: a flag for all, or one each.
    fn digests(&mut self, count: usize) -> Option<Vec<bool>> {
        let defined = if self.octet()? == 0 {
            self.bits(count)?
        } else if count <= self.0.len() {
            vec![true; count]
        } else {
            return None;
        };
        let sums = defined.iter().filter(|defined| **defined).count();
        self.take(sums.checked_mul(4)?)?;
        Some(defined)
    }
}

fn skip_properties(input: &mut Input<'_>) -> Option<()> {
    while input.number()? != 0 {
        let length = place64(input.number()?);
        input.take(length)?;
    }
    Some(())
}

fn streams(input: &mut Input<'_>) -> Option<Streams> {
    let mut found = Streams::default();
    let most = input.0.len();
    loop {
        match input.number()? {
            0 => break,
            6 => {
                let mut at = place64(input.number()?).saturating_add(32);
                let count = input.count(most)?;
                loop {
                    match input.number()? {
                        0 => break,
                        9 => {
                            for _ in 0..count {
                                let size = place64(input.number()?);
                                found.packed.push((at, size));
                                at = at.saturating_add(size);
                            }
                        }
                        10 => {
                            input.digests(count)?;
                        }
                        _ => return None,
                    }
                }
            }
            7 => folders(input, &mut found, most)?,
            8 => substreams(input, &mut found)?,
            _ => return None,
        }
    }
    for folder in &mut found.folders {
        // One file a folder, where nothing else is said.
        if folder.files.is_empty()
            && let Some(size) = folder.unpacked()
        {
            folder.files.push(size);
        }
    }
    Some(found)
}

fn folders(input: &mut Input<'_>, found: &mut Streams, most: usize) -> Option<()> {
    if input.number()? != 0x0b {
        return None;
    }
    let count = input.count(most)?;
    if input.octet()? != 0 {
        return None;
    }
    let mut first = 0_usize;
    for _ in 0..count {
        let mut folder = folder(input)?;
        folder.first = first;
        first = first.checked_add(folder.packed.len())?;
        found.folders.push(folder);
    }
    loop {
        match input.number()? {
            0 => break,
            0x0c => {
                for folder in &mut found.folders {
                    for _ in 0..folder.coders.len() {
                        folder.sizes.push(input.number()?);
                    }
                }
            }
            0x0a => {
                let summed = input.digests(count)?;
                for (folder, summed) in found.folders.iter_mut().zip(summed) {
                    folder.summed = summed;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

fn folder(input: &mut Input<'_>) -> Option<Folder> {
    let mut folder = Folder::default();
    let coders = input.count(CODERS_MAX)?;
    let mut inputs = 0_usize;
    for _ in 0..coders {
        let flags = input.octet()?;
        let method = input.take(usize::from(flags & 0x0f))?.to_vec();
        let mut coder = Coder {
            method,
            inputs: 1,
            properties: Vec::new(),
        };
        if flags & 0x10 != 0 {
            coder.inputs = input.count(CODERS_MAX)?;
            if input.number()? != 1 {
                return None;
            }
        }
        if flags & 0x20 != 0 {
            let length = place64(input.number()?);
            coder.properties = input.take(length)?.to_vec();
        }
        inputs = inputs.checked_add(coder.inputs)?;
        folder.coders.push(coder);
    }
    let bonds = coders.checked_sub(1)?;
    for _ in 0..bonds {
        let to = input.count(inputs)?;
        let from = input.count(coders)?;
        folder.bonds.push((to, from));
    }
    let packed = inputs.checked_sub(bonds)?;
    if packed == 1 {
        let free = (0..inputs).find(|nth| !folder.bonds.iter().any(|(to, _)| to == nth))?;
        folder.packed.push(free);
    } else {
        for _ in 0..packed {
            folder.packed.push(input.count(inputs)?);
        }
    }
    Some(folder)
}

fn substreams(input: &mut Input<'_>, found: &mut Streams) -> Option<()> {
    let mut counts: Vec<usize> = vec![1; found.folders.len()];
    let mut property = input.number()?;
    let most = input.0.len().saturating_mul(8).saturating_add(1);
    if property == 0x0d {
        for count in &mut counts {
            *count = input.count(most)?;
        }
        property = input.number()?;
    }
    let sizes_said = property == 9;
    for (folder, count) in found.folders.iter_mut().zip(&counts) {
        let mut left = folder.unpacked()?;
        for nth in 0..*count {
            let size = if nth + 1 == *count {
                left
            } else if sizes_said {
                input.number()?
            } else {
                return None;
            };
            left = left.saturating_sub(size);
            folder.files.push(size);
        }
    }
    if sizes_said {
        property = input.number()?;
    }
    while property != 0 {
        match property {
            // Sums of those that have none yet: a folder of one file has its own.
            0x0a => {
                let unknown = found
                    .folders
                    .iter()
                    .zip(&counts)
                    .filter(|(folder, count)| **count != 1 || !folder.summed)
                    .fold(0_usize, |sum, (_, count)| sum.saturating_add(*count));
                input.digests(unknown)?;
            }
            _ => return None,
        }
        property = input.number()?;
    }
    Some(())
}

impl Folder {
    /// The coder whose output no other takes.
    fn main(&self) -> Option<usize> {
        (0..self.coders.len()).find(|nth| !self.bonds.iter().any(|(_, from)| from == nth))
    }

    /// How much comes out of it in all.
    fn unpacked(&self) -> Option<u64> {
        self.sizes.get(self.main()?).copied()
    }
}

/// What folders are unpacked from.
#[derive(Clone, Copy)]
struct Source<'a, 's> {
    octets: &'a [u8],
    streams: &'s Streams,
    meter: &'a Meter,
    /// No dictionary need be larger.
    most: u64,
}

impl<'a> Source<'a, '_> {
    fn decoder(self, folder: &Folder) -> Result<Decoder<'a>, Fail> {
        let main = folder.main().ok_or(Fail::Damaged)?;
        self.output(folder, main, 0)
    }

    /// What a coder brings forth.
    fn output(self, folder: &Folder, nth: usize, depth: usize) -> Result<Decoder<'a>, Fail> {
        if depth > CODERS_MAX {
            return Err(Fail::Damaged);
        }
        let coder = folder.coders.get(nth).ok_or(Fail::Damaged)?;
        if coder.method == [0x06, 0xf1, 0x07, 0x01] {
            return Err(Fail::Encrypted);
        }
        let before: usize = folder
            .coders
            .iter()
            .take(nth)
            .map(|coder| coder.inputs)
            .sum();
        let mut inputs = Vec::new();
        for number in before..before.saturating_add(coder.inputs) {
            let bond = folder.bonds.iter().find(|(to, _)| *to == number);
            let input = if let Some((_, from)) = bond {
                self.output(folder, *from, depth + 1)?
            } else {
                let packed = folder
                    .packed
                    .iter()
                    .position(|free| *free == number)
                    .ok_or(Fail::Damaged)?;
                let (at, size) = self
                    .streams
                    .packed
                    .get(folder.first.saturating_add(packed))
                    .ok_or(Fail::Damaged)?;
                Box::new(some(self.octets, *at, *size))
            };
            // It may read any amount to bring forth nothing, be it what another coder makes of a few octets.
            inputs.push(if coder.packs() {
                Box::new(Metered::new(input, self.meter))
            } else {
                input
            });
        }
        let size = folder.sizes.get(nth).copied().unwrap_or(0);
        code(coder, inputs, size, self.most, self.meter)
    }
}

impl Coder {
    /// It is more than a filter, which gives an octet for each.
    fn packs(&self) -> bool {
        !matches!(
            self.method.as_slice(),
            [0 | 0x03..=0x0b] | [0x03 | 0x02, 0x03, ..]
        )
    }
}

fn code<'a>(
    coder: &Coder,
    mut inputs: Vec<Decoder<'a>>,
    size: u64,
    most: u64,
    meter: &Meter,
) -> Result<Decoder<'a>, Fail> {
    if coder.method == [0x03, 0x03, 0x01, 0x1b] {
        let merged = Bcj2Reader::try_new(inputs, size)
            .ok()
            .ok_or(Fail::Damaged)?;
        return Ok(Box::new(merged));
    }
    let input = inputs
        .pop()
        .filter(|_| inputs.is_empty())
        .ok_or(Fail::Damaged)?;
    Ok(match coder.method.as_slice() {
        [0] => input,
        [0x21] => {
            let bits = coder.properties.first().copied().unwrap_or(40);
            let dictionary = match bits {
                40.. => u32::MAX,
                bits => (2 | u32::from(bits & 1)) << (bits / 2 + 11),
            };
            inflate::lzma2(input, dictionary, size.min(most))
        }
        [0x03, 0x01, 0x01] => {
            let properties = coder.properties.first().copied().ok_or(Fail::Damaged)?;
            let dictionary = u32le(&coder.properties, 1).ok_or(Fail::Damaged)?;
            inflate::lzma(input, properties, dictionary, size, size.min(most))
                .ok()
                .ok_or(Fail::Damaged)?
        }
        [0x03] => {
            let distance = coder.properties.first().copied().unwrap_or(0);
            Box::new(DeltaReader::new(input, usize::from(distance) + 1))
        }
        [0x04] | [0x03, 0x03, 0x01, 0x03] => Box::new(BcjReader::new_x86(input, 0)),
        [0x05] | [0x03, 0x03, 0x02, 0x05] => Box::new(BcjReader::new_ppc(input, 0)),
        [0x06] | [0x03, 0x03, 0x04, 0x01] => Box::new(BcjReader::new_ia64(input, 0)),
        [0x07] | [0x03, 0x03, 0x05, 0x01] => Box::new(BcjReader::new_arm(input, 0)),
        [0x08] | [0x03, 0x03, 0x07, 0x01] => Box::new(BcjReader::new_arm_thumb(input, 0)),
        [0x09] | [0x03, 0x03, 0x08, 0x05] => Box::new(BcjReader::new_sparc(input, 0)),
        [0x0a] => Box::new(BcjReader::new_arm64(input, 0)),
        [0x0b] => Box::new(BcjReader::new_riscv(input, 0)),
        [0x02, 0x03, 0x02] => Box::new(Swapped::<_, 2>::new(BufReader::new(input))),
        [0x02, 0x03, 0x04] => Box::new(Swapped::<_, 4>::new(BufReader::new(input))),
        [0x04, 0x01, 0x08] => inflate::deflate(BufReader::new(input)),
        [0x04, 0x01, 0x09] => inflate::deflate64(BufReader::new(input)),
        [0x04, 0x02, 0x02] => inflate::bzip2(BufReader::new(input)),
        // Not of 7-Zip itself, but of what was made of it.
        [0x04, 0xf7, 0x11, 0x01] => inflate::zstd(BufReader::new(input)),
        [0x03, 0x04, 0x01] => {
            let order = coder.properties.first().copied().ok_or(Fail::Damaged)?;
            let memory = u32le(&coder.properties, 1).ok_or(Fail::Damaged)?;
            inflate::ppmd7(input, u32::from(order), memory, meter).map_err(|error| {
                match error.kind() {
                    ErrorKind::Unsupported => Fail::Method("ppmd".to_owned()),
                    _ => Fail::Damaged,
                }
            })?
        }
        other => {
            let number = other
                .iter()
                .fold(0_u128, |number, octet| number << 8 | u128::from(*octet));
            return Err(Fail::Method(format!("{number:x}")));
        }
    })
}

/// Octets in words of so many, each the other way round. What is left at the end stays as it is.
struct Swapped<R, const N: usize> {
    input: R,
    word: [u8; N],
    /// What of the word is still to be given: from here, up to there.
    given: usize,
    held: usize,
}

impl<R, const N: usize> Swapped<R, N> {
    fn new(input: R) -> Self {
        Self {
            input,
            word: [0; N],
            given: 0,
            held: 0,
        }
    }
}

impl<R: Read, const N: usize> Read for Swapped<R, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for slot in buffer {
            if self.given == self.held {
                (self.given, self.held) = (0, 0);
                while let Some(room) = self
                    .word
                    .get_mut(self.held..)
                    .filter(|room| !room.is_empty())
                {
                    match self.input.read(room) {
                        Ok(0) => break,
                        Ok(read) => self.held += read,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        // It says so again when it is asked again.
                        Err(_) if count > 0 => return Ok(count),
                        Err(error) => return Err(error),
                    }
                }
                if self.held == N {
                    self.word.reverse();
                }
            }
            let Some(octet) = self.word.get(self.given).filter(|_| self.given < self.held) else {
                break;
            };
            *slot = *octet;
            self.given += 1;
            count += 1;
        }
        Ok(count)
    }
}
