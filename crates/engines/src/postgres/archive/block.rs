//! The data of one entry, as it lies in the archive.

use std::io::{self, BufRead, Read};

use super::ArchiveError;
use super::integer::Integers;
use crate::fingerprint::Fingerprint;

/// Newlines behind the last row of a table: `\.`, and two empty lines.
const NEWLINES_BEHIND_ROWS: u64 = 3;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Rows, as `COPY` writes them.
    Rows,
    /// Large objects.
    LargeObjects,
}

/// Where in a block the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In an integer that says how long the next piece is: 0 ends the pieces.
    Length,
    /// In one that says which large object comes: 0 ends the block.
    Object,
    /// In a piece, with so many bytes to come.
    Piece(u64),
    /// Behind it.
    End,
}

/// Follows the bytes of a block to its end.
#[derive(Debug)]
pub(super) struct Framing {
    integers: Integers,
    kind: BlockKind,
    at: At,
    /// The integer that is being read.
    integer: Vec<u8>,
    newlines: u64,
    objects: u64,
    fingerprint: Option<Fingerprint>,
}

impl Framing {
    /// Behind the number of the block's entry.
    pub(super) fn new(integers: Integers, kind: BlockKind, with_fingerprint: bool) -> Self {
        let at = if kind == BlockKind::Rows { At::Length } else { At::Object };
        let fingerprint = with_fingerprint.then(Fingerprint::default);
        Self { integers, kind, at, integer: Vec::new(), newlines: 0, objects: 0, fingerprint }
    }

    /// How many of these bytes are the block's.
    fn feed(&mut self, bytes: &[u8]) -> Result<usize, ArchiveError> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::End => break,
                At::Piece(left) => {
                    let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let piece = &rest[..length];
                    if self.kind == BlockKind::Rows {
                        self.newlines += memchr::memchr_iter(b'\n', piece).count() as u64;
                    }
                    match (&mut self.fingerprint, self.kind) {
                        (None, _) => {}
                        (Some(rows), BlockKind::Rows) => rows.add_rows(piece),
                        (Some(objects), BlockKind::LargeObjects) => objects.add(piece),
                    }
                    used += length;
                    let left = left - length as u64;
                    self.at = if left == 0 { At::Length } else { At::Piece(left) };
                }
                At::Length | At::Object => {
                    let wanted = self.integers.stored_bytes() - self.integer.len();
                    let length = wanted.min(rest.len());
                    self.integer.extend_from_slice(&rest[..length]);
                    used += length;
                    if length == wanted {
                        let value = self.integers.decode(&self.integer)?;
                        self.integer.clear();
                        self.at = self.behind(value)?;
                    }
                }
            }
        }
        Ok(used)
    }

    fn behind(&mut self, value: i64) -> Result<At, ArchiveError> {
        let value = u64::try_from(value)
            .map_err(|_| ArchiveError::Malformed { rule: "a piece of data has a length" })?;
        Ok(match (self.at, self.kind, value) {
            (At::Object, _, 0) | (At::Length, BlockKind::Rows, 0) => At::End,
            (At::Object, _, oid) => {
                self.objects += 1;
                if let Some(objects) = &mut self.fingerprint {
                    objects.add(&oid.to_le_bytes());
                }
                At::Length
            }
            (_, BlockKind::LargeObjects, 0) => {
                if let Some(objects) = &mut self.fingerprint {
                    objects.end();
                }
                At::Object
            }
            (_, _, length) => At::Piece(length),
        })
    }
}

/// A block, read as it lies in the archive; its last byte is followed by the end.
#[derive(Debug)]
pub struct Block<'r, R> {
    input: &'r mut R,
    kind: BlockKind,
    dump_id: i64,
    /// The bytes that say which block it is.
    head: Vec<u8>,
    head_used: usize,
    framing: &'r mut Framing,
}

impl<'r, R: BufRead> Block<'r, R> {
    pub(super) fn new(
        input: &'r mut R,
        head: Vec<u8>,
        dump_id: i64,
        kind: BlockKind,
        framing: &'r mut Framing,
    ) -> Self {
        Self { input, kind, dump_id, head, head_used: 0, framing }
    }

    /// The entry that it is the data of.
    #[must_use]
    pub fn dump_id(&self) -> i64 {
        self.dump_id
    }

    /// The same data as that of an entry of another archive, before any of it is read.
    #[must_use]
    pub fn of_entry(mut self, dump_id: i64) -> Self {
        self.head.truncate(1);
        self.head.extend(self.framing.integers.encode(dump_id));
        Self { dump_id, ..self }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> BlockKind {
        self.kind
    }

    /// Rows, or large objects: all of them once it is read to its end.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.kind {
            BlockKind::Rows => self.framing.newlines.saturating_sub(NEWLINES_BEHIND_ROWS),
            BlockKind::LargeObjects => self.framing.objects,
        }
    }

    /// What its rows or large objects come to, in any order, if the archive is read with fingerprints: 32 hex digits, of
    /// all of them once it is read to its end.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.framing.fingerprint.as_ref().map(Fingerprint::to_hex)
    }
}

impl<R: BufRead> Read for Block<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let head = self.head.get(self.head_used..).unwrap_or_default();
        if !head.is_empty() {
            let length = head.len().min(out.len());
            out[..length].copy_from_slice(&head[..length]);
            self.head_used += length;
            return Ok(length);
        }
        if self.framing.at == At::End || out.is_empty() {
            return Ok(0);
        }
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            let error = ArchiveError::Truncated { what: "the data of a table" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        let length = bytes.len().min(out.len());
        let used = self.framing.feed(&bytes[..length]);
        let used = used.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        out[..used].copy_from_slice(&bytes[..used]);
        self.input.consume(used);
        Ok(used)
    }
}

impl Framing {
    pub(super) fn is_at_end(&self) -> bool {
        self.at == At::End
    }
}
