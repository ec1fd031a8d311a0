//! What a feed comes wrapped in: gzip, xz, zstd, bzip2, a zip of records; told by its first bytes,
//! never by its name, and unpacked as a stream within limits.
//!
//! Entry: [`open`] for one stream, [`zip_entries`] for an archive, [`Format::of`] to tell which;
//! [`open_archive`] for a package. Nothing is ever written: an entry's name is only a name. An
//! archive within compressed data, or within an archive, is refused elsewhere; no source of records
//! publishes such, bombs are built so.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read, Seek};
use std::rc::Rc;

use mailkeep_model::Problem;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::window::read_error;
use crate::{ReadError, sniff};

/// Bounds on what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes unpacked in all. The largest public feed, all of OSV, has about 3 GiB.
    pub output: u64,
    /// Bytes unpacked for each byte read. Feeds compress 10 to 60 times; deflate can reach 1,032,
    /// which nothing but a bomb does.
    pub ratio: u64,
    /// Bytes unpacked before `ratio` is looked at: small repetitive files pass it honestly, and
    /// do no harm.
    pub ratio_from: u64,
    /// Entries of an archive. All of OSV has some 600,000.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 16 << 30,
            ratio: 300,
            ratio_from: 64 << 20,
            entries: 2_000_000,
        }
    }
}

/// Memory an xz or zstd stream may ask for as its dictionary: xz at level 9 asks 64 MiB.
const DICTIONARY_MAX: u32 = 128 << 20;

/// Entries up to this size are read whole before they are handed out, so that a damaged one is a
/// problem of its own and not the end of the import.
const WHOLE_ENTRY_MAX: u64 = 16 << 20;

/// What a feed is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// bzip2.
    Bzip2,
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// Nothing.
    Plain,
    /// xz, of one stream or several.
    Xz,
    /// A zip archive: see [`zip_entries`].
    Zip,
    /// Zstandard (RFC 8878), of one frame or several.
    Zstd,
}

impl Format {
    /// Tells a format by the first bytes, six at least.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ => Self::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Plain => "plain",
            Self::Xz => "xz",
            Self::Zip => "zip",
            Self::Zstd => "zstd",
        }
    }
}

/// A limit that unpacking passed. It travels inside an [`io::Error`]; this crate's readers turn it
/// into [`ReadError::Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitPassed {
    /// [`Limits::output`].
    #[error("it unpacks to more than {0} bytes")]
    Output(u64),
    /// [`Limits::ratio`].
    #[error("it unpacks to more than {0} times its size, as only a compression bomb does")]
    Ratio(u64),
}

/// An opened stream.
pub struct Opened<'r> {
    /// What it was wrapped in.
    pub format: Format,
    /// Its content.
    pub content: Box<dyn Read + 'r>,
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Opens a stream, unpacking it where it is compressed.
///
/// Errors: [`ReadError::NotThisKind`] for an archive (a zip wants [`zip_entries`]) and for an
/// archive or compressed data within compressed data. Later reads fail with [`LimitPassed`] inside
/// where a limit is passed, and with [`ErrorKind::UnexpectedEof`] where compressed data ends early.
pub fn open<'r>(input: impl Read + 'r, limits: Limits) -> Result<Opened<'r>, ReadError> {
    opened(input, limits, Within::NoArchive)
}

/// The same for what is to be an archive itself, within compressed data or plain: a Debian package,
/// and the tar in it (deb(5)). The caller reads the archive, and knows its own bounds. A zip is
/// still refused.
pub fn open_archive<'r>(input: impl Read + 'r, limits: Limits) -> Result<Opened<'r>, ReadError> {
    opened(input, limits, Within::Anything)
}

/// What may come out of the wrapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Anything,
    NoArchive,
}

fn opened<'r>(
    mut input: impl Read + 'r,
    limits: Limits,
    within: Within,
) -> Result<Opened<'r>, ReadError> {
    let refused = |head: &[u8]| match within {
        Within::Anything => None,
        Within::NoArchive => sniff::archive(head),
    };
    let head = head_of(&mut input)?;
    let format = Format::of(&head);
    let taken = Rc::new(Cell::new(0));
    let input = Counted {
        input: Cursor::new(head.clone()).chain(input),
        taken: Rc::clone(&taken),
    };
    let content: Box<dyn Read + 'r> = match format {
        Format::Plain => {
            if let Some(found) = refused(&head) {
                return Err(not_a_feed(found.to_owned()));
            }
            return Ok(Opened {
                format,
                content: Box::new(input),
            });
        }
        Format::Zip => return Err(not_a_feed("a zip archive".to_owned())),
        Format::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            input,
            true,
            DICTIONARY_MAX / 1024,
        )),
        Format::Zstd => Box::new(ZstdFrames::new(input)),
    };
    let mut content = Guard {
        content,
        taken,
        given: 0,
        limits,
    };
    let head = match head_of(&mut content) {
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            let name = format.name();
            return Err(not_a_feed(format!(
                "{name} data cut short before any content"
            )));
        }
        other => other?,
    };
    if let Some(inner) = refused(&head) {
        return Err(not_a_feed(format!("{inner} within {} data", format.name())));
    }
    Ok(Opened {
        format,
        content: Box::new(Cursor::new(head).chain(content)),
    })
}

/// An entry of an archive.
pub enum Entry<'a> {
    /// A file.
    File {
        /// Its name within the archive, as written there. Only ever a name.
        name: &'a str,
        /// Its content.
        content: &'a mut dyn Read,
    },
    /// An entry that cannot be used, by name and reason.
    Unusable(Problem),
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, .. } => write!(f, "File({name:?})"),
            Self::Unusable(problem) => write!(f, "Unusable({problem})"),
        }
    }
}

/// Hands each file of a zip archive to `each`, in the archive's own order; directories are passed
/// over. An entry that is damaged, encrypted, itself an archive, a bomb, or whose name climbs out
/// of the archive is [`Entry::Unusable`], and the rest goes on.
///
/// Errors: [`ReadError::NotThisKind`] where it is no zip archive, or one cut short (its directory
/// is at its end); [`ReadError::Limit`] where it has too many entries or too much content in all;
/// what `each` returns.
pub fn zip_entries(
    archive: impl Read + Seek,
    limits: Limits,
    each: &mut dyn FnMut(Entry<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut archive = zip::ZipArchive::new(archive).map_err(|error| match error {
        zip::result::ZipError::Io(error) if error.kind() != ErrorKind::UnexpectedEof => {
            ReadError::Io(error)
        }
        other => ReadError::NotThisKind {
            expected: "zip archive",
            found: format!("its directory cannot be read; it may be cut short ({other})"),
        },
    })?;
    if archive.len() > limits.entries {
        return Err(ReadError::Limit {
            limit: format!("it has more than {} entries", limits.entries),
        });
    }
    let mut given = 0;
    let mut whole = Vec::new();
    for index in 0..archive.len() {
        let file = match archive.by_index(index) {
            Ok(file) => file,
            Err(error) => {
                let name = format!("entry {}", index + 1);
                each(Entry::Unusable(Problem::new(name, error.to_string())))?;
                continue;
            }
        };
        if file.is_dir() {
            continue;
        }
        let name = match file.name() {
            Ok(name) => name.into_owned(),
            Err(_) => String::from_utf8_lossy(file.name_raw()).into_owned(),
        };
        let unusable = |reason: &str| Entry::Unusable(Problem::new(&name, reason));
        if climbs(&name) {
            each(unusable(
                "its name leads out of the archive; it was not read",
            ))?;
            continue;
        }
        if file.encrypted() {
            each(unusable("it is encrypted"))?;
            continue;
        }
        let declared = file.size();
        let mut file = Guard {
            taken: Rc::new(Cell::new(file.compressed_size())),
            content: file,
            given: 0,
            limits: Limits {
                output: limits.output - given,
                ..limits
            },
        };
        let head = match head_of(&mut file) {
            Ok(head) => head,
            Err(error) => {
                each(unusable(&chain(&error)))?;
                continue;
            }
        };
        if let Some(inner) = sniff::archive(&head) {
            each(unusable(&format!("it is {inner} within the archive")))?;
        } else if declared <= WHOLE_ENTRY_MAX {
            whole.clear();
            whole.extend_from_slice(&head);
            // What it declares need not be true.
            let rest = (&mut file).take(WHOLE_ENTRY_MAX).read_to_end(&mut whole);
            match rest {
                Ok(_) => each(Entry::File {
                    name: &name,
                    content: &mut whole.as_slice(),
                })?,
                Err(error) => each(unusable(&chain(&error)))?,
            }
        } else {
            each(Entry::File {
                name: &name,
                content: &mut Cursor::new(head).chain(&mut file),
            })?;
        }
        given += file.given;
        if given >= limits.output {
            return Err(ReadError::Limit {
                limit: LimitPassed::Output(limits.output).to_string(),
            });
        }
    }
    Ok(())
}

/// Fuzz entry: opens any bytes as a stream and as an archive.
pub fn fuzz(data: &[u8]) {
    let limits = Limits {
        output: 1 << 20,
        ratio: 50,
        ratio_from: 1 << 16,
        entries: 100,
    };
    if let Ok(mut opened) = open(data, limits) {
        let _read = io::copy(&mut opened.content, &mut io::sink());
    }
    let _read = zip_entries(Cursor::new(data), limits, &mut |entry| {
        if let Entry::File { content, .. } = entry {
            let _read = io::copy(content, &mut io::sink());
        }
        Ok(())
    });
}

fn not_a_feed(found: String) -> ReadError {
    ReadError::NotThisKind {
        expected: "feed",
        found,
    }
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Whether a name within an archive leads out of it: absolute, upwards, or with a drive letter.
fn climbs(name: &str) -> bool {
    name.starts_with(['/', '\\'])
        || name.split(['/', '\\']).any(|part| part == "..")
        || name.contains('\0')
        || matches!(name.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z', b':', ..])
}

/// Reads the first bytes, as many as it takes to tell what they are.
fn head_of(input: &mut impl Read) -> Result<Vec<u8>, ReadError> {
    let mut head = Vec::with_capacity(sniff::ENOUGH);
    input
        .take(sniff::ENOUGH as u64)
        .read_to_end(&mut head)
        .map_err(read_error)?;
    Ok(head)
}

/// Counts what is read of the compressed side.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

/// Watches what comes out against what went in.
struct Guard<R> {
    content: R,
    taken: Rc<Cell<u64>>,
    given: u64,
    limits: Limits,
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buf)?;
        self.given += read as u64;
        if self.given > self.limits.output {
            return Err(io::Error::other(LimitPassed::Output(self.limits.output)));
        }
        let honest = self.taken.get().saturating_mul(self.limits.ratio);
        if self.given > self.limits.ratio_from && self.given > honest {
            return Err(io::Error::other(LimitPassed::Ratio(self.limits.ratio)));
        }
        Ok(read)
    }
}

/// Zstandard frames one after another (RFC 8878 section 3: a decoder must take them all, and pass
/// over skippable ones).
struct ZstdFrames<R: Read> {
    state: ZstdState<R>,
}

enum ZstdState<R: Read> {
    Between(R),
    Within(Box<StreamingDecoder<Pushed<R>, FrameDecoder>>),
    Ended,
}

/// A reader with its first bytes given back.
type Pushed<R> = io::Chain<Cursor<[u8; 4]>, R>;

impl<R: Read> ZstdFrames<R> {
    fn new(input: R) -> Self {
        Self {
            state: ZstdState::Between(input),
        }
    }

    /// Begins the next frame, or ends.
    fn next_frame(mut input: R) -> io::Result<ZstdState<R>> {
        loop {
            let mut magic = [0; 4];
            let mut filled = 0;
            while let Some(free) = magic.get_mut(filled..).filter(|free| !free.is_empty()) {
                match input.read(free)? {
                    0 if filled == 0 => return Ok(ZstdState::Ended),
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    read => filled += read,
                }
            }
            if matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
                let mut length = [0; 4];
                input.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                if io::copy(&mut (&mut input).take(length), &mut io::sink())? < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            return StreamingDecoder::new_with_max_window_size(
                Cursor::new(magic).chain(input),
                u64::from(DICTIONARY_MAX),
            )
            .map(|frame| ZstdState::Within(Box::new(frame)))
            .map_err(io::Error::other);
        }
    }
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, ZstdState::Ended) {
                ZstdState::Ended => return Ok(0),
                ZstdState::Between(input) => self.state = Self::next_frame(input)?,
                ZstdState::Within(mut frame) => {
                    let read = frame.read(buf)?;
                    if read > 0 || buf.is_empty() {
                        self.state = ZstdState::Within(frame);
                        return Ok(read);
                    }
                    let (input, decoder) = frame.into_parts();
                    let declared = decoder.get_checksum_from_data();
                    if declared.is_some() && declared != decoder.get_calculated_checksum() {
                        return Err(io::Error::new(
                            ErrorKind::InvalidData,
                            "the zstd checksum is wrong",
                        ));
                    }
                    self.state = ZstdState::Between(input.into_inner().1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    /// `{"hello":"world"}` and a line feed, as `xz`, `zstd` and `bzip2` write it.
    const HELLO: &str = "{\"hello\":\"world\"}\n";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(data, Limits::default())
            .unwrap()
            .content
            .read_to_end(&mut content)?;
        Ok(content)
    }

    fn hello_in_every_format() -> Vec<(Format, Vec<u8>)> {
        vec![
            (Format::Plain, HELLO.as_bytes().to_vec()),
            (Format::Gzip, gzip(HELLO.as_bytes())),
            (
                Format::Xz,
                include_bytes!("../tests/fixtures/hello.json.xz").to_vec(),
            ),
            (
                Format::Zstd,
                include_bytes!("../tests/fixtures/hello.json.zst").to_vec(),
            ),
            (
                Format::Bzip2,
                include_bytes!("../tests/fixtures/hello.json.bz2").to_vec(),
            ),
        ]
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes_and_unpacked() {
        for (format, data) in hello_in_every_format() {
            assert_eq!(open(&data[..], Limits::default()).unwrap().format, format);
            assert_eq!(read(&data).unwrap(), HELLO.as_bytes(), "{format:?}");
        }
    }

    #[test]
    fn several_members_in_a_row_are_one_stream() {
        for (format, data) in hello_in_every_format() {
            let twice = [&data[..], &data[..]].concat();
            assert_eq!(
                read(&twice).unwrap(),
                HELLO.repeat(2).as_bytes(),
                "{format:?}"
            );
        }
        let (_, zstd) = hello_in_every_format().swap_remove(3);
        let skippable = [b"\x51\x2a\x4d\x18\x03\0\0\0abc", &zstd[..]].concat();
        assert_eq!(read(&skippable).unwrap(), HELLO.as_bytes());
    }

    #[test]
    fn a_truncated_stream_is_an_error_and_never_a_short_success() {
        for (format, data) in hello_in_every_format() {
            if format == Format::Plain {
                continue;
            }
            for end in 6..data.len() {
                let short = &data[..end];
                let failed = match open(short, Limits::default()) {
                    Err(_) => true,
                    Ok(mut opened) => opened.content.read_to_end(&mut Vec::new()).is_err(),
                };
                assert!(failed, "{format:?} cut at {end} of {}", data.len());
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_its_limit() {
        let bomb = gzip(&vec![b' '; 8 << 20]);
        let limits = Limits {
            ratio_from: 1 << 20,
            ..Limits::default()
        };
        let mut opened = open(&bomb[..], limits).unwrap();
        let error = opened.content.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(
            matches!(read_error(error), ReadError::Limit { limit } if limit.contains("300 times"))
        );

        let limits = Limits {
            output: 1 << 20,
            ..Limits::default()
        };
        let mut opened = open(&bomb[..], limits).unwrap();
        let error = opened.content.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(
            matches!(read_error(error), ReadError::Limit { limit } if limit.contains("1048576 bytes"))
        );
    }

    #[test]
    fn an_xz_dictionary_beyond_the_limit_is_refused_before_it_is_allocated() {
        let (_, mut xz) = hello_in_every_format().swap_remove(2);
        // The block header follows the stream header of 12 bytes: size, flags, filter id, size of
        // properties, dictionary size (4 GiB less one), padding, CRC-32.
        let size = (usize::from(xz[12]) + 1) * 4;
        let property = 12
            + xz[12..12 + size]
                .windows(2)
                .position(|w| w == [0x21, 1])
                .unwrap()
            + 2;
        xz[property] = 40;
        let crc_at = 12 + size - 4;
        let mut crc = flate2::Crc::new();
        crc.update(&xz[12..crc_at]);
        xz[crc_at..crc_at + 4].copy_from_slice(&crc.sum().to_le_bytes());
        let error = open(&xz[..], Limits::default()).unwrap_err();
        assert!(chain(&error).contains("mem_limit"), "{}", chain(&error));
    }

    #[test]
    fn nested_and_foreign_archives_are_refused_by_name() {
        let error = open(&gzip(&gzip(b"x"))[..], Limits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is no feed: gzip data within gzip data"
        );
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let error = open(&gzip(&tar)[..], Limits::default()).unwrap_err();
        assert!(error.to_string().contains("tar archive"));
        assert!(open(&b"PK\x03\x04"[..], Limits::default()).is_err());
    }

    #[test]
    fn an_archive_that_is_asked_for_is_unpacked_within_the_same_limits() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for data in [gzip(&tar), tar.clone()] {
            let mut content = Vec::new();
            let mut opened = open_archive(&data[..], Limits::default()).unwrap();
            opened.content.read_to_end(&mut content).unwrap();
            assert!(content == tar);
        }
        let limits = Limits {
            output: 1 << 10,
            ..Limits::default()
        };
        let long = gzip(&tar.repeat(9));
        let mut opened = open_archive(&long[..], limits)
            .map_err(|error| error.to_string())
            .unwrap();
        assert!(opened.content.read_to_end(&mut Vec::new()).is_err());
        assert!(open_archive(&b"PK\x03\x04"[..], Limits::default()).is_err());
    }

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, data) in entries {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(data).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    type Seen = Result<(String, usize), Problem>;

    fn entries(archive: &[u8], limits: Limits) -> Result<Vec<Seen>, ReadError> {
        let mut all = Vec::new();
        zip_entries(Cursor::new(archive), limits, &mut |entry| {
            all.push(match entry {
                Entry::File { name, content } => {
                    let mut data = Vec::new();
                    content.read_to_end(&mut data)?;
                    Ok((name.to_owned(), data.len()))
                }
                Entry::Unusable(problem) => Err(problem),
            });
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn entries_that_climb_or_nest_are_problems_and_the_rest_goes_on() {
        let inner = zip(&[("x", b"y")]);
        let archive = zip(&[
            ("a/CVE-1.json", b"{}"),
            ("../../etc/passwd", b"{}"),
            ("/abs.json", b"{}"),
            ("..\\win.json", b"{}"),
            ("c:\\win.json", b"{}"),
            ("inner.zip", &inner),
            ("bomb.json", &vec![b' '; 2 << 20]),
            ("last.json", b"[]"),
        ]);
        let limits = Limits {
            ratio_from: 1 << 20,
            ..Limits::default()
        };
        let all = entries(&archive, limits).unwrap();
        assert_eq!(all[0], Ok(("a/CVE-1.json".to_owned(), 2)));
        for entry in &all[1..=4] {
            assert!(entry.as_ref().unwrap_err().reason.contains("leads out"));
        }
        assert!(all[5].as_ref().unwrap_err().reason.contains("zip archive"));
        assert!(all[6].as_ref().unwrap_err().reason.contains("bomb"));
        assert_eq!(all[7], Ok(("last.json".to_owned(), 2)));
    }

    #[test]
    fn a_damaged_entry_is_a_problem_and_the_rest_goes_on() {
        let mut archive = zip(&[
            ("a.json", &b"{\"a\":\"0123456789\"}".repeat(9)),
            ("b.json", b"[]"),
        ]);
        let data = 30 + "a.json".len();
        archive[data + 4] ^= 0xff;
        let all = entries(&archive, Limits::default()).unwrap();
        assert_eq!(all[0].as_ref().unwrap_err().record, "a.json");
        assert!(all[1].is_ok());
    }

    #[test]
    fn a_truncated_archive_says_so() {
        let archive = zip(&[("a.json", b"{}"), ("b.json", b"[]")]);
        let error = entries(&archive[..archive.len() - 10], Limits::default()).unwrap_err();
        assert!(error.to_string().contains("cut short"), "{error}");
    }

    #[test]
    fn limits_of_entries_and_of_the_whole_hold() {
        let archive = zip(&[("a", &[b'x'; 600]), ("b", &[b'x'; 600])]);
        let one = Limits {
            entries: 1,
            ..Limits::default()
        };
        assert!(matches!(
            entries(&archive, one),
            Err(ReadError::Limit { .. })
        ));
        let small = Limits {
            output: 1000,
            ..Limits::default()
        };
        let all = entries(&archive, small).unwrap();
        assert!(all[1].as_ref().unwrap_err().reason.contains("1000") || all[1].is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_opened_without_panic(
            magic in prop::sample::select(vec![
                &b""[..], b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
                b"\x28\xb5\x2f\xfd", b"BZh91AY&SY", b"PK\x03\x04",
            ]),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            fuzz(&[magic, &data].concat());
        }

        #[test]
        fn damaged_streams_are_opened_without_panic(which in 0usize..5, at in 0usize..200, to: u8) {
            let (_, mut data) = hello_in_every_format().swap_remove(which);
            let at = at % data.len();
            data[at] = to;
            fuzz(&data);
        }
    }
}
