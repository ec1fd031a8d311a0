//! Decoders by the way something was packed, as readers.

use std::io::{self, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::octets::{place, rest, u8_at, u16le, u32le, u64le};

/// Memory that a dictionary may take. `xz -9` and `7z -mx9` ask for 64 MiB.
const DICTIONARY_MAX: u32 = 128 << 20;

/// What unpacks.
pub(super) type Decoder<'a> = Box<dyn Read + 'a>;

/// Raw deflate.
pub(super) fn deflate<'a>(packed: impl Read + 'a) -> Decoder<'a> {
    Box::new(flate2::read::DeflateDecoder::new(packed))
}

/// Deflate with zlib's head and sum.
pub(super) fn zlib(octets: &[u8]) -> Decoder<'_> {
    Box::new(flate2::read::ZlibDecoder::new(octets))
}

/// Deflate64.
pub(super) fn deflate64<'a>(packed: impl Read + 'a) -> Decoder<'a> {
    Box::new(deflate64::Deflate64Decoder::new(packed))
}

/// bzip2, of several streams.
pub(super) fn bzip2<'a>(packed: impl Read + 'a) -> Decoder<'a> {
    Box::new(bzip2::read::MultiBzDecoder::new(packed))
}

/// xz, of several streams.
pub(super) fn xz(octets: &[u8]) -> Decoder<'_> {
    let memory = (DICTIONARY_MAX >> 10) + 1024;
    Box::new(lzma_rust2::XzReader::new_mem_limit(octets, true, memory))
}

/// lzip.
pub(super) fn lzip(octets: &[u8]) -> Decoder<'_> {
    Box::new(lzma_rust2::LzipReader::new(octets))
}

/// Zstandard, of several frames.
pub(super) fn zstd(octets: &[u8]) -> Decoder<'_> {
    Box::new(Frames {
        left: octets,
        frame: None,
    })
}

/// LZMA with its 13 octets of a head.
pub(super) fn lzma_alone(octets: &[u8], most: u64) -> io::Result<Decoder<'_>> {
    let properties = u8_at(octets, 0).ok_or(io::ErrorKind::UnexpectedEof)?;
    let dictionary = u32le(octets, 1).ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = u64le(octets, 5).ok_or(io::ErrorKind::UnexpectedEof)?;
    lzma(rest(octets, 13), properties, dictionary, size, most)
}

/// LZMA in a zip: a version, the length of the properties, the properties (APPNOTE 5.8.8).
pub(super) fn lzma_in_zip(octets: &[u8], size: u64, most: u64) -> io::Result<Decoder<'_>> {
    let length = u16le(octets, 2).ok_or(io::ErrorKind::UnexpectedEof)?;
    let properties = u8_at(octets, 4).ok_or(io::ErrorKind::UnexpectedEof)?;
    let dictionary = u32le(octets, 5).ok_or(io::ErrorKind::UnexpectedEof)?;
    let start = usize::from(length).saturating_add(4);
    lzma(rest(octets, start), properties, dictionary, size, most)
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

fn bounded(dictionary: u32, most: u64) -> u32 {
    let most = u32::try_from(most).unwrap_or(u32::MAX).max(4096);
    dictionary.min(most).min(DICTIONARY_MAX)
}

/// Frames of Zstandard one after another; those that are to be skipped are.
struct Frames<'a> {
    left: &'a [u8],
    frame: Option<Box<StreamingDecoder<&'a [u8], FrameDecoder>>>,
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut frame) = self.frame.take() {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    self.frame = Some(frame);
                    return Ok(read);
                }
                self.left = frame.into_inner();
            }
            if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = self.left {
                let length = u32le(self.left, 4).map_or(usize::MAX, place);
                self.left = rest(self.left, length.saturating_add(8));
                continue;
            }
            if !self.left.starts_with(b"\x28\xb5\x2f\xfd") {
                return Ok(0);
            }
            let frame =
                StreamingDecoder::new_with_max_window_size(self.left, u64::from(DICTIONARY_MAX))
                    .map_err(io::Error::other)?;
            self.frame = Some(Box::new(frame));
        }
    }
}
