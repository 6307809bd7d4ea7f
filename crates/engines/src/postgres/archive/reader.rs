//! Reading an archive from a pipe.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use super::ArchiveError;
use super::block::{Block, BlockKind, Framing};
use super::toc::{self, Source, Toc, TocEntry};

/// What is read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Longest head that is kept in memory.
const HEAD_LIMIT_BYTES: usize = 1 << 30;
/// Bytes that are asked for at once, whatever a length says: what is not there takes no memory.
const PIECE_BYTES: usize = 1 << 20;
const ROWS: u8 = 1;
const LARGE_OBJECTS: u8 = 3;

/// An archive that is being read.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    input: BufReader<R>,
    toc: Toc,
    head: Vec<u8>,
    framing: Option<Framing>,
    with_fingerprints: bool,
}

/// Keeps what it gives.
struct Recorder<'r, R> {
    input: &'r mut BufReader<R>,
    recorded: Vec<u8>,
}

impl<R: Read> Source for Recorder<'_, R> {
    fn take(&mut self, length: usize) -> Result<&[u8], ArchiveError> {
        let start = self.recorded.len();
        if length > HEAD_LIMIT_BYTES - start.min(HEAD_LIMIT_BYTES) {
            return Err(ArchiveError::TooLarge { limit: HEAD_LIMIT_BYTES });
        }
        let mut left = length;
        while left > 0 {
            let piece = left.min(PIECE_BYTES);
            let read = self.input.by_ref().take(piece as u64).read_to_end(&mut self.recorded);
            if read.map_err(ArchiveError::Read)? < piece {
                return Err(ArchiveError::Truncated { what: "its head" });
            }
            left -= piece;
        }
        Ok(self.recorded.get(start..).unwrap_or_default())
    }

    fn taken(&self) -> usize {
        self.recorded.len()
    }
}

impl ArchiveReader<std::io::Empty> {
    /// Reads a head that no blocks follow.
    ///
    /// # Errors
    /// As [`ArchiveReader::new`].
    pub fn of_head(mut head: &[u8]) -> Result<Self, ArchiveError> {
        let ArchiveReader { toc, head, .. } = ArchiveReader::new(&mut head)?;
        let input = BufReader::with_capacity(0, std::io::empty());
        Ok(Self { input, toc, head, framing: None, with_fingerprints: false })
    }
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// `NotAnArchive` for anything else; `Version`, `Truncated`, `Malformed`, `TooLarge`, `Read`.
    pub fn new(input: R) -> Result<Self, ArchiveError> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut recorder = Recorder { input: &mut input, recorded: Vec::new() };
        let toc = toc::decode(&mut recorder)?;
        let head = recorder.recorded;
        Ok(Self { input, toc, head, framing: None, with_fingerprints: false })
    }

    /// Blocks tell what their rows come to ([`Block::fingerprint`]).
    #[must_use]
    pub fn with_fingerprints(self, with_fingerprints: bool) -> Self {
        Self { with_fingerprints, ..self }
    }

    /// What the archive says it holds.
    #[must_use]
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// The bytes before the first block.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The head, with nothing said of how to drop these entries.
    #[must_use]
    pub fn head_without_drops(&self, of: impl Fn(&TocEntry) -> bool) -> Vec<u8> {
        let (mut head, mut kept) = (Vec::with_capacity(self.head.len()), 0);
        for entry in self.toc.entries.iter().filter(|entry| of(entry)) {
            head.extend_from_slice(self.head.get(kept..entry.drop_at.start).unwrap_or_default());
            head.extend(self.toc.integers.encode(-1));
            kept = entry.drop_at.end;
        }
        head.extend_from_slice(self.head.get(kept..).unwrap_or_default());
        head
    }

    /// The next block, if there is one. The one before it must have been read to its end.
    ///
    /// # Errors
    /// `Truncated` in a block that was not read to its end, or that has none; `Malformed`, `Read`.
    pub fn next_block(&mut self) -> Result<Option<Block<'_, BufReader<R>>>, ArchiveError> {
        if self.framing.as_ref().is_some_and(|framing| !framing.is_at_end()) {
            return Err(ArchiveError::Truncated { what: "the data of a table" });
        }
        let kind = loop {
            match self.input.fill_buf() {
                Ok([]) => return Ok(None),
                Ok([ROWS, ..]) => break BlockKind::Rows,
                Ok([LARGE_OBJECTS, ..]) => break BlockKind::LargeObjects,
                Ok(_) => return Err(ArchiveError::Malformed { rule: "a block holds rows or large objects" }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        };
        let integers = self.toc.integers;
        let mut recorder = Recorder { input: &mut self.input, recorded: Vec::new() };
        let dump_id = integers.decode(&recorder.take(1 + integers.stored_bytes())?[1..])?;
        let head = recorder.recorded;
        let framing = self.framing.insert(Framing::new(integers, kind, self.with_fingerprints));
        Ok(Some(Block::new(&mut self.input, head, dump_id, kind, framing)))
    }
}
