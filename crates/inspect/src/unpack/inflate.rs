//! Decoders by the way something was packed, as readers.
//!
//! What comes out is paid where it comes out ([`super::Sink::unpack`]); what goes in is counted here ([`Metered`]), for
//! a decoder may read as much as it likes and bring forth nothing.

use std::cell::Cell;
use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use bzip2::bufread::BzDecoder;
use delharc::CompressionMethod;
use delharc::decode::{Decoder as _, DecoderAny};
use delharc::error::LhaError;
use memchr::memmem;
use ppmd_rust::{Ppmd7Decoder, Ppmd8Decoder, RestoreMethod};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::octets::{place, place64, rest, u8_at, u16le, u32le, u64le};

/// Memory that a dictionary may take. `xz -9` and `7z -mx9` ask for 64 MiB.
const DICTIONARY_MAX: u32 = 128 << 20;

/// Memory that a model of `PPMd` may take. `7z -mx9` asks for 192 MiB.
const MODEL_MAX: u32 = 256 << 20;

/// Streams one after another in one file: each costs its tables. No program makes as many.
const STREAMS_MAX: usize = 10_000;

/// The same for bzip2, whose tables are megabytes. Packed in blocks of 100,000 octets, 64 MiB are 640 streams.
const BZIP2_STREAMS_MAX: usize = 2000;

/// What unpacks.
pub(super) type Decoder<'a> = Box<dyn Read + 'a>;

/// How much decoders may still read.
pub(super) struct Meter {
    pub(super) granted: Cell<u64>,
    pub(super) left: Cell<u64>,
    /// More was read than was left.
    pub(super) over: Cell<bool>,
}

impl Meter {
    fn spend(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count > self.left.get() {
            self.over.set(true);
        }
        self.left.set(self.left.get().saturating_sub(count));
    }

    fn check(&self) -> io::Result<()> {
        if self.over.get() {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        Ok(())
    }
}

/// What a decoder reads, counted.
pub(super) struct Metered<'m, R> {
    inner: R,
    meter: &'m Meter,
}

/// Packed octets of an archive.
pub(super) type Packed<'a> = Metered<'a, &'a [u8]>;

impl<'m, R> Metered<'m, R> {
    pub(super) fn new(inner: R, meter: &'m Meter) -> Self {
        Self { inner, meter }
    }
}

impl<'a> Packed<'a> {
    /// What is left of it, not counted.
    pub(super) fn octets(&self) -> &'a [u8] {
        self.inner
    }

    fn skip(mut self, count: usize) -> Self {
        self.inner = rest(self.inner, count);
        self
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.check()?;
        let read = self.inner.read(buffer)?;
        self.meter.spend(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Metered<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.meter.check()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.meter.spend(count);
        self.inner.consume(count);
    }
}

/// Raw deflate.
pub(super) fn deflate<'a>(packed: impl BufRead + 'a) -> Decoder<'a> {
    Box::new(flate2::bufread::DeflateDecoder::new(packed))
}

/// Deflate with zlib's head and sum.
pub(super) fn zlib(octets: &[u8]) -> Decoder<'_> {
    Box::new(flate2::bufread::ZlibDecoder::new(octets))
}

/// Deflate64.
pub(super) fn deflate64<'a>(packed: impl BufRead + 'a) -> Decoder<'a> {
    Box::new(deflate64::Deflate64Decoder::with_buffer(packed))
}

/// bzip2, of several streams.
pub(super) fn bzip2<'a>(packed: impl BufRead + 'a) -> Decoder<'a> {
    Box::new(Bzip2 {
        stream: Some(BzDecoder::new(packed)),
        streams: 1,
    })
}

/// gzip, of several streams.
pub(super) fn gzip(packed: Packed<'_>) -> Decoder<'_> {
    streams(packed, b"\x1f\x8b\x08", |packed| {
        Box::new(flate2::bufread::MultiGzDecoder::new(packed))
    })
}

/// xz, of several streams.
pub(super) fn xz(packed: Packed<'_>) -> Decoder<'_> {
    let memory = (DICTIONARY_MAX >> 10) + 1024;
    streams(packed, b"\xfd7zXZ\0", |packed| {
        Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, memory))
    })
}

/// lzip.
pub(super) fn lzip(packed: Packed<'_>) -> Decoder<'_> {
    streams(packed, b"LZIP", |packed| {
        Box::new(lzma_rust2::LzipReader::new(packed))
    })
}

/// The first member of lzip of any version: a mark, a version, the size of the dictionary, and LZMA that marks its end.
pub(super) fn lzip_member(packed: Packed<'_>, most: u64) -> io::Result<Decoder<'_>> {
    let coded = u8_at(packed.octets(), 5).ok_or(io::ErrorKind::UnexpectedEof)?;
    let whole = 1_u32 << (coded & 0x1f);
    let dictionary = whole - whole / 16 * u32::from(coded >> 5);
    lzma(packed.skip(6), 0x5d, dictionary, u64::MAX, most)
}

/// Zstandard, of several frames.
pub(super) fn zstd<'a>(packed: impl Read + 'a) -> Decoder<'a> {
    Box::new(Frames {
        left: Some(packed),
        frame: None,
        count: 0,
    })
}

/// Opens what has no more streams than are unpacked.
fn streams<'a>(
    packed: Packed<'a>,
    mark: &[u8],
    open: impl FnOnce(Packed<'a>) -> Decoder<'a>,
) -> Decoder<'a> {
    let more = memmem::find_iter(packed.octets(), mark).nth(STREAMS_MAX);
    match more {
        Some(_) => Box::new(TooMany),
        None => open(packed),
    }
}

/// What has too many streams: nothing of it is read.
struct TooMany;

impl Read for TooMany {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::QuotaExceeded.into())
    }
}

/// LZMA with its 13 octets of a head.
pub(super) fn lzma_alone(packed: Packed<'_>, most: u64) -> io::Result<Decoder<'_>> {
    let octets = packed.octets();
    let properties = u8_at(octets, 0).ok_or(io::ErrorKind::UnexpectedEof)?;
    let dictionary = u32le(octets, 1).ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = u64le(octets, 5).ok_or(io::ErrorKind::UnexpectedEof)?;
    lzma(packed.skip(13), properties, dictionary, size, most)
}

/// LZMA in a zip: a version, the length of the properties, the properties (APPNOTE 5.8.8).
pub(super) fn lzma_in_zip(packed: Packed<'_>, size: u64, most: u64) -> io::Result<Decoder<'_>> {
    let octets = packed.octets();
    let length = u16le(octets, 2).ok_or(io::ErrorKind::UnexpectedEof)?;
    let properties = u8_at(octets, 4).ok_or(io::ErrorKind::UnexpectedEof)?;
    let dictionary = u32le(octets, 5).ok_or(io::ErrorKind::UnexpectedEof)?;
    let start = usize::from(length).saturating_add(4);
    lzma(packed.skip(start), properties, dictionary, size, most)
}

/// LZMA without a head. At most `most` octets are asked for, so that no dictionary need be larger.
pub(super) fn lzma<'a, R: Read + 'a>(
    packed: R,
    properties: u8,
    dictionary: u32,
    size: u64,
    most: u64,
) -> io::Result<Decoder<'a>> {
    let dictionary = bounded(dictionary, most);
    let reader =
        lzma_rust2::LzmaReader::new_with_props(packed, size, properties, dictionary, None)?;
    Ok(Box::new(reader))
}

/// LZMA2 without a head.
pub(super) fn lzma2<'a, R: Read + 'a>(packed: R, dictionary: u32, most: u64) -> Decoder<'a> {
    Box::new(lzma_rust2::Lzma2Reader::new(
        packed,
        bounded(dictionary, most),
        None,
    ))
}

/// `PPMd`, variant H, as in 7z.
pub(super) fn ppmd7<'a>(
    packed: impl Read + 'a,
    order: u32,
    memory: u32,
    meter: &Meter,
) -> io::Result<Decoder<'a>> {
    if !model(memory, meter)? {
        return Ok(Box::new(TooMany));
    }
    let reader = Ppmd7Decoder::new(packed, order, memory).map_err(io::Error::other)?;
    Ok(Box::new(reader))
}

/// `PPMd`, variant I, as in a zip: two octets of parameters (APPNOTE 5.10).
pub(super) fn ppmd_in_zip<'a>(packed: Packed<'a>, meter: &Meter) -> io::Result<Decoder<'a>> {
    let parameters = u16le(packed.octets(), 0).ok_or(ErrorKind::UnexpectedEof)?;
    let order = u32::from(parameters & 0x0f) + 1;
    let memory = (u32::from(parameters >> 4 & 0xff) + 1) << 20;
    if !model(memory, meter)? {
        return Ok(Box::new(TooMany));
    }
    let restore = RestoreMethod::from(parameters >> 12);
    let packed = packed.skip(2);
    let reader = Ppmd8Decoder::new(packed, order, memory, restore).map_err(io::Error::other)?;
    Ok(Box::new(reader))
}

/// Pays for a model, which is filled with zeros before it holds anything; false: there is nothing left to pay from.
fn model(memory: u32, meter: &Meter) -> io::Result<bool> {
    if memory > MODEL_MAX {
        return Err(ErrorKind::Unsupported.into());
    }
    meter.spend(place(memory / 16));
    Ok(meter.check().is_ok())
}

/// Ways of packing of LHA, by their names; ARJ has one of them.
pub(super) fn lha(packed: Packed<'_>, method: [u8; 5], size: u64) -> io::Result<Decoder<'_>> {
    let method = CompressionMethod::try_from(&method)?;
    let decoder = DecoderAny::new_from_compression(method, packed);
    if !decoder.is_supported() {
        return Err(ErrorKind::Unsupported.into());
    }
    Ok(Box::new(Lha {
        decoder,
        left: size,
    }))
}

/// A decoder that must be told how much there is.
struct Lha<'a> {
    decoder: DecoderAny<Packed<'a>>,
    left: u64,
}

impl Read for Lha<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // In small pieces: of one that breaks off nothing is had.
        let count = buffer.len().min(512).min(place64(self.left));
        let Some(piece) = buffer.get_mut(..count) else {
            return Ok(0);
        };
        self.decoder
            .fill_buffer(piece)
            .map_err(|error| match error {
                LhaError::Io(error) => error,
                other => io::Error::other(other.to_string()),
            })?;
        self.left -= u64::try_from(count).unwrap_or(self.left);
        Ok(count)
    }
}

fn bounded(dictionary: u32, most: u64) -> u32 {
    let most = u32::try_from(most).unwrap_or(u32::MAX).max(4096);
    dictionary.min(most).min(DICTIONARY_MAX)
}

/// Streams of bzip2 one after another.
struct Bzip2<R: BufRead> {
    stream: Option<BzDecoder<R>>,
    streams: usize,
}

impl<R: BufRead> Read for Bzip2<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(mut stream) = self.stream.take() else {
                return Ok(0);
            };
            let read = stream.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                self.stream = Some(stream);
                return Ok(read);
            }
            let mut left = stream.into_inner();
            if left.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.streams += 1;
            if self.streams > BZIP2_STREAMS_MAX {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            self.stream = Some(BzDecoder::new(left));
        }
    }
}

/// Frames of Zstandard one after another; those that are to be skipped are.
struct Frames<R: Read> {
    left: Option<R>,
    frame: Option<Box<Frame<R>>>,
    count: usize,
}

/// A frame, of which the first octets were looked at before.
type Frame<R> = StreamingDecoder<Chain<Cursor<[u8; 4]>, R>, FrameDecoder>;

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut frame) = self.frame.take() {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    self.frame = Some(frame);
                    return Ok(read);
                }
                self.left = Some(frame.into_inner().into_inner().1);
            }
            let Some(mut left) = self.left.take() else {
                return Ok(0);
            };
            let mut mark = Vec::with_capacity(8);
            left.by_ref().take(4).read_to_end(&mut mark)?;
            let is_skipped = matches!(mark.as_slice(), [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
            if !is_skipped && mark != b"\x28\xb5\x2f\xfd" {
                return Ok(0);
            }
            self.count += 1;
            if self.count > STREAMS_MAX {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            if is_skipped {
                left.by_ref().take(4).read_to_end(&mut mark)?;
                let length = u32le(&mark, 4).map_or(u64::MAX, u64::from);
                io::copy(&mut left.by_ref().take(length), &mut io::sink())?;
                self.left = Some(left);
                continue;
            }
            let mark = <[u8; 4]>::try_from(mark.as_slice()).unwrap_or_default();
            let whole = Cursor::new(mark).chain(left);
            let most = u64::from(DICTIONARY_MAX);
            let frame = StreamingDecoder::new_with_max_window_size(whole, most);
            self.frame = Some(Box::new(frame.map_err(io::Error::other)?));
        }
    }
}
