//! Where a message lies between its end and the backend's answer: in memory, and beyond that in a file without a
//! name, which is gone with the process.
//!
//! Entry: [`Spool`]. It is no queue: nothing in it was acknowledged.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use tokio::task::spawn_blocking;

/// Octets read back at a time.
const PIECE: usize = 64 << 10;

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    /// Octets that may wait in memory.
    most: usize,
    memory: Vec<u8>,
    file: Option<File>,
    /// A file was lost to an error: what is left is not the message.
    failed: bool,
}

impl Spool {
    /// An empty one.
    pub(crate) fn new(directory: PathBuf, most: usize) -> Self {
        Self {
            directory,
            most,
            memory: Vec::new(),
            file: None,
            failed: false,
        }
    }

    /// Adds octets.
    pub(crate) async fn add(&mut self, octets: &[u8]) -> io::Result<()> {
        self.whole()?;
        self.memory.extend_from_slice(octets);
        if self.memory.len() > self.most {
            self.spill().await?;
        }
        Ok(())
    }

    /// Makes it ready to be read from its beginning.
    pub(crate) async fn rewind(&mut self) -> io::Result<()> {
        self.whole()?;
        if self.file.is_none() {
            return Ok(());
        }
        self.spill().await?;
        self.with_file(|file| file.seek(SeekFrom::Start(0)).map(drop))
            .await
    }

    /// The next octets of the file, or all of memory at `at` octets; empty at the end.
    pub(crate) async fn piece(&mut self, at: usize) -> io::Result<Vec<u8>> {
        self.whole()?;
        if self.file.is_none() {
            let end = self.memory.len().min(at.saturating_add(PIECE));
            return Ok(self.memory.get(at..end).unwrap_or_default().to_vec());
        }
        self.with_file(|file| {
            let mut piece = vec![0; PIECE];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok(piece)
        })
        .await
    }

    fn whole(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the spool lost its file"));
        }
        Ok(())
    }

    async fn spill(&mut self) -> io::Result<()> {
        let octets = std::mem::take(&mut self.memory);
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
