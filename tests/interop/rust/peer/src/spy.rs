//! A receive stream that counts and remembers how it ended, under the client of iroh-blobs.
use std::{error::Error, io};

use iroh::endpoint::{ConnectionError, ReadError, ReadExactError, VarInt, WriteError};
use iroh_blobs::util::RecvStream;

pub struct Spy {
    stream: iroh::endpoint::RecvStream,
    /// Bytes handed on so far.
    pub bytes: u64,
    /// `fin`, `reset CODE`, `closed CODE`, `lost TEXT`; none while the stream is open.
    pub end: Option<String>,
}

/// The word for `end` lines.
pub fn describe(error: &ReadError) -> String {
    match error {
        ReadError::Reset(code) => format!("reset {code}"),
        ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)) => {
            format!("closed {}", close.error_code)
        }
        other => format!("lost {other}"),
    }
}

/// Looks through an error and its causes; inputs and outputs wrap theirs out of sight.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(|e| e.get_ref())
        .and_then(|e| find::<T>(e));
    inner.or_else(|| error.source().and_then(|e| find::<T>(e)))
}

/// The word for `end` lines, where the client of iroh-blobs reads the stream itself. Its error for
/// an end that comes too soon tells of the end only.
pub fn end_of(error: &(dyn Error + 'static)) -> String {
    if let Some(read) = find::<ReadError>(error) {
        return describe(read);
    }
    match find::<io::Error>(error) {
        Some(early) if early.kind() == io::ErrorKind::UnexpectedEof => "fin".into(),
        _ => "open".into(),
    }
}

/// The code by which the other side stopped what we sent.
pub fn stop_of(error: &(dyn Error + 'static)) -> Option<u64> {
    match find::<WriteError>(error) {
        Some(WriteError::Stopped(code)) => Some(u64::from(*code)),
        _ => None,
    }
}

impl Spy {
    pub fn new(stream: iroh::endpoint::RecvStream) -> Self {
        Self {
            stream,
            bytes: 0,
            end: None,
        }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.read_exact(buffer).await {
            Ok(()) => {
                self.bytes += buffer.len() as u64;
                Ok(buffer.len())
            }
            Err(ReadExactError::FinishedEarly(n)) => {
                self.bytes += n as u64;
                self.end = Some("fin".into());
                Ok(n)
            }
            Err(ReadExactError::ReadError(error)) => {
                self.end = Some(describe(&error));
                Err(error.into())
            }
        }
    }

    /// Reads to the end of the stream and returns how many bytes were left over.
    pub async fn drain(&mut self) -> u64 {
        let before = self.bytes;
        let mut buffer = [0u8; 16384];
        while self.end.is_none() {
            // An error is kept in `end`, which ends this loop.
            let _ = self.fill(&mut buffer).await;
        }
        self.bytes - before
    }
}

impl RecvStream for Spy {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<bytes::Bytes> {
        let mut buffer = vec![0; len];
        let n = self.fill(&mut buffer).await?;
        buffer.truncate(n);
        Ok(buffer.into())
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<bytes::Bytes> {
        let mut buffer = vec![0; len];
        self.recv_exact(&mut buffer).await?;
        Ok(buffer.into())
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        match self.fill(target).await? {
            n if n == target.len() => Ok(()),
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        Ok(self.stream.stop(code)?)
    }

    fn id(&self) -> u64 {
        self.stream.id().index()
    }
}
