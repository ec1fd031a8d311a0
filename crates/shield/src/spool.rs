//! Where a message lies between its end and the backend's answer: in memory, and beyond that in a file without a
//! name, which is gone with the process.
//!
//! Entry: [`Spool`]. It is no queue: nothing in it was acknowledged.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tokio::task::spawn_blocking;

/// Octets read back at a time.
const PIECE: usize = 64 << 10;

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    /// Octets that may wait in memory.
    most: usize,
    /// Shared with whoever was given all of it, and copied only if more comes afterwards.
    memory: Arc<Vec<u8>>,
    file: Option<File>,
    /// A file was lost to an error: what is left is not the message.
    failed: bool,
    /// How far it has been read back.
    read: usize,
    /// What is left out when it is read back, in order.
    omitted: Vec<Range<usize>>,
}

impl Spool {
    /// An empty one.
    pub(crate) fn new(directory: PathBuf, most: usize) -> Self {
        Self {
            directory,
            most,
            memory: Arc::default(),
            file: None,
            failed: false,
            read: 0,
            omitted: Vec::new(),
        }
    }

    /// All of it at once, with what is to be left out.
    pub(crate) async fn octets(&mut self) -> io::Result<Arc<Vec<u8>>> {
        self.rewind().await?;
        if self.file.is_none() {
            return Ok(Arc::clone(&self.memory));
        }
        let all = self.with_file(|file| {
            let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            let mut all = Vec::with_capacity(size);
            file.read_to_end(&mut all)?;
            Ok(all)
        });
        all.await.map(Arc::new)
    }

    /// SHA-256 of it as it came, whatever is left out.
    pub(crate) async fn digest(&mut self) -> io::Result<[u8; 32]> {
        let omitted = std::mem::take(&mut self.omitted);
        let digest = self.whole_digest().await;
        self.omitted = omitted;
        digest
    }

    async fn whole_digest(&mut self) -> io::Result<[u8; 32]> {
        self.rewind().await?;
        let mut context = Context::new(&SHA256);
        loop {
            let piece = self.piece().await?;
            if piece.is_empty() {
                let digest = context.finish();
                return digest.as_ref().try_into().map_err(io::Error::other);
            }
            context.update(&piece);
        }
    }

    /// Leaves these octets out from now on; they are in order.
    pub(crate) fn omit(&mut self, places: Vec<Range<usize>>) {
        self.omitted = places;
    }

    /// Takes octets out of a buffer; the first of them as they lie there.
    pub(crate) async fn add(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        self.whole()?;
        if self.memory.is_empty() {
            self.memory = Arc::new(std::mem::take(octets));
        } else {
            Arc::make_mut(&mut self.memory).append(octets);
        }
        if self.memory.len() > self.most {
            self.spill().await?;
        }
        Ok(())
    }

    /// Takes the last octets: where there is no place for them it is said now, and not when it is read back.
    pub(crate) async fn end(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        self.add(octets).await?;
        if self.file.is_some() {
            self.spill().await?;
        }
        Ok(())
    }

    /// Makes it ready to be read from its beginning.
    pub(crate) async fn rewind(&mut self) -> io::Result<()> {
        self.whole()?;
        self.read = 0;
        if self.file.is_none() {
            return Ok(());
        }
        self.spill().await?;
        self.with_file(|file| file.seek(SeekFrom::Start(0)).map(drop))
            .await
    }

    /// The next octets; empty at the end.
    pub(crate) async fn piece(&mut self) -> io::Result<Vec<u8>> {
        loop {
            self.whole()?;
            let begin = self.read;
            let raw = if self.file.is_none() {
                let end = self.memory.len().min(begin.saturating_add(PIECE));
                self.memory.get(begin..end).unwrap_or_default().to_vec()
            } else {
                self.with_file(|file| {
                    let mut piece = vec![0; PIECE];
                    let count = file.read(&mut piece)?;
                    piece.truncate(count);
                    Ok(piece)
                })
                .await?
            };
            if raw.is_empty() {
                return Ok(raw);
            }
            self.read += raw.len();
            let left = without(raw, begin, &self.omitted);
            if !left.is_empty() {
                return Ok(left);
            }
        }
    }

    fn whole(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the spool lost its file"));
        }
        Ok(())
    }

    async fn spill(&mut self) -> io::Result<()> {
        let octets = Arc::unwrap_or_clone(std::mem::take(&mut self.memory));
        if self.file.is_none() {
            let directory = self.directory.clone();
            let made = spawn_blocking(move || tempfile::tempfile_in(directory)).await;
            match made.map_err(io::Error::other).flatten() {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        self.with_file(move |file| file.write_all(&octets)).await
    }

    /// Does something slow with the file, beside the runtime. After an error the file is gone.
    async fn with_file<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Until it has come to its end it has failed, even where nobody waits for it any more.
        self.failed = true;
        let Some(mut file) = self.file.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let done = spawn_blocking(move || act(&mut file).map(|value| (file, value))).await;
        let (file, value) = done.map_err(io::Error::other)??;
        self.file = Some(file);
        self.failed = false;
        Ok(value)
    }
}

/// A piece that begins there, without these places of the whole.
fn without(piece: Vec<u8>, begin: usize, omitted: &[Range<usize>]) -> Vec<u8> {
    let end = begin + piece.len();
    let within = |place: &&Range<usize>| place.start < end && place.end > begin;
    if !omitted.iter().any(|place| within(&place)) {
        return piece;
    }
    let mut left = Vec::with_capacity(piece.len());
    let mut at = 0;
    for place in omitted.iter().filter(within) {
        let from = place.start.saturating_sub(begin);
        left.extend_from_slice(piece.get(at..from).unwrap_or_default());
        at = (place.end - begin).min(piece.len());
    }
    left.extend_from_slice(piece.get(at..).unwrap_or_default());
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_omitted_is_left_out_wherever_pieces_are_cut(
            size in 0_usize..300, cuts in proptest::collection::vec(0_usize..300, 0..6), step in 1_usize..50) {
            let message: Vec<u8> = (0..size).map(|nth| u8::try_from(nth % 251).unwrap()).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(size)).collect();
            cuts.sort_unstable();
            let omitted: Vec<_> = cuts.chunks_exact(2).map(|two| two[0]..two[1]).collect();
            let mut pieces = Vec::new();
            for (nth, piece) in message.chunks(step).enumerate() {
                pieces.extend(without(piece.to_vec(), nth * step, &omitted));
            }
            let kept = |(at, _): &(usize, &u8)| !omitted.iter().any(|place| place.contains(at));
            let expected: Vec<u8> = message.iter().enumerate().filter(kept).map(|(_, one)| *one).collect();
            prop_assert_eq!(pieces, expected);
        }
    }
}
