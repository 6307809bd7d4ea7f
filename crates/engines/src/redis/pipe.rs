//! Bytes from one thread to another, a bounded number of them under way.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What is handed over at once, bytes.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces under way.
const PIECES: usize = 4;

/// Both ends. The reader's end comes when the writer is dropped after [`PipeWriter::finish`]; without that, reading fails,
/// so that what broke off is never taken for the whole.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = sync_channel(PIECES);
    (
        PipeWriter { sender, piece: Vec::new() },
        PipeReader { receiver, piece: Vec::new(), at: 0, has_ended: false },
    )
}

pub(super) struct PipeWriter {
    sender: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
}

impl PipeWriter {
    /// That all of it was written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Vec::new())
    }

    fn send(&self, piece: Vec<u8>) -> io::Result<()> {
        self.sender.send(piece).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE_BYTES);
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() { Ok(()) } else { self.send(piece) }
    }
}

pub(super) struct PipeReader {
    receiver: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.has_ended {
            self.piece = self.receiver.recv().map_err(|_| io::Error::other("what wrote this broke off"))?;
            self.at = 0;
            self.has_ended = self.piece.is_empty();
        }
        let taken = out.len().min(self.piece.len() - self.at);
        out[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_off_is_not_the_whole() {
        let (mut writer, mut reader) = pipe();
        writer.write_all(b"abc").unwrap();
        writer.finish().unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"abc");
        let (mut writer, mut reader) = pipe();
        writer.write_all(b"abc").unwrap();
        writer.flush().unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut all).is_err());
    }
}
