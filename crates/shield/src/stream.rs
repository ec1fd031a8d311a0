//! A connection, in clear or over TLS. Entry: [`Stream`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connection to a client or to a backend.
pub(crate) enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// In clear, to a server on this machine.
    Local(UnixStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// Being turned from one into the other, or over.
    Gone,
}

/// How long a peer may leave its window closed.
const WRITE_PATIENCE: Duration = Duration::from_mins(3);

impl Stream {
    /// The connection in clear, leaving nothing behind.
    pub(crate) fn take_plain(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Gone) {
            Self::Plain(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Reads exactly so much, before anything else is read; an error where it ends before.
    pub(crate) async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.read_exact(buffer).await.map(drop),
            Self::Local(stream) => stream.read_exact(buffer).await.map(drop),
            Self::Tls(stream) => stream.read_exact(buffer).await.map(drop),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what is there; zero at its end. May be dropped at any time without losing octets.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Local(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    /// What has come, without waiting; `None` where nothing has, zero at its end.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut read = ReadBuf::new(buffer);
        // Whoever reads next asks to be woken again.
        let mut nobody = Context::from_waker(Waker::noop());
        let polled = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(&mut nobody, &mut read),
            Self::Local(stream) => Pin::new(stream).poll_read(&mut nobody, &mut read),
            Self::Tls(stream) => Pin::new(stream).poll_read(&mut nobody, &mut read),
            Self::Gone => Poll::Ready(Ok(())),
        };
        match polled {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => Some(read.filled().len()),
            Poll::Ready(Err(_)) => Some(0),
        }
    }

    /// Writes all of it, and sees it off.
    pub(crate) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let write = async {
            match self {
                Self::Plain(stream) => stream.write_all(octets).await,
                Self::Local(stream) => stream.write_all(octets).await,
                Self::Tls(stream) => {
                    stream.write_all(octets).await?;
                    stream.flush().await
                }
                Self::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        match tokio::time::timeout(WRITE_PATIENCE, write).await {
            Ok(written) => written,
            Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late)),
        }
    }

    /// Ends it in order, as far as the peer takes part.
    pub(crate) async fn close(&mut self) {
        let patience = Duration::from_secs(2);
        let shutdown = async {
            match self {
                Self::Plain(stream) => stream.shutdown().await?,
                Self::Local(stream) => stream.shutdown().await?,
                Self::Tls(stream) => stream.shutdown().await?,
                Self::Gone => {}
            }
            // Octets that nobody read would reset the connection, and the last answer be lost with it.
            let mut buffer = [0; 4096];
            for _ in 0..64 {
                if self.read(&mut buffer).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        };
        // A peer that takes no part is dropped.
        tokio::time::timeout(patience, shutdown).await.ok();
    }
}
