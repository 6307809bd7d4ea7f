//! Bytes from one thread to another, a bounded number of them under way.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What is handed over at once, bytes.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces under way.
const PIECES: usize = 4;

type Piece = Arc<Vec<u8>>;

/// Both ends. The reader's end comes when the writer is dropped after [`PipeWriter::finish`]; without that, reading fails,
/// so that what broke off is never taken for the whole.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, reader) = end();
    (PipeWriter { sender, other: None, piece: Vec::new() }, reader)
}

/// A pipe with a second reader of the same, which may leave when it wants to.
pub(super) fn pipe_of_two() -> (PipeWriter, PipeReader, PipeReader) {
    let ((sender, reader), (other, second)) = (end(), end());
    (PipeWriter { sender, other: Some(other), piece: Vec::new() }, reader, second)
}

fn end() -> (SyncSender<Piece>, PipeReader) {
    let (sender, receiver) = sync_channel(PIECES);
    (sender, PipeReader { receiver, piece: Piece::default(), at: 0, has_ended: false })
}

pub(super) struct PipeWriter {
    sender: SyncSender<Piece>,
    other: Option<SyncSender<Piece>>,
    piece: Vec<u8>,
}

impl PipeWriter {
    /// That all of it was written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Vec::new())
    }

    fn send(&mut self, piece: Vec<u8>) -> io::Result<()> {
        let piece = Arc::new(piece);
        if let Some(other) = &self.other
            && other.send(Arc::clone(&piece)).is_err()
        {
            self.other = None;
        }
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
    receiver: Receiver<Piece>,
    piece: Piece,
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

    #[test]
    fn the_second_reader_may_leave_and_the_first_may_not() {
        let (mut writer, mut reader, second) = pipe_of_two();
        drop(second);
        writer.write_all(b"abc").unwrap();
        writer.finish().unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"abc");
        let (mut writer, reader, _second) = pipe_of_two();
        drop(reader);
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
