//! What a server of version 17 or later sends of a file since an earlier backup, put together with what the file was then.
//!
//! ```text
//! magic           4 bytes
//! blocks sent     4   n
//! truncated to    4   blocks: what was not sent of these is as it was
//! their numbers   4n  ascending
//! zeros           up to a whole block, where n is not 0
//! the blocks      8192n
//! ```
//! All of it in the server's byte order. It is `pg_combinebackup` that gives this its meaning
//! (<https://www.postgresql.org/docs/17/app-pgcombinebackup.html>): blocks that neither has are zeros.

use std::io::{self, Read};

use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::Content;
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::{ChunkBytes, Reader};
use strongroom_repository::tree::ListCursor;

use super::page::PAGE_BYTES;

/// In front of the name of a file that is sent so.
pub(super) const PREFIX: &str = "INCREMENTAL.";
const MAGIC: u32 = 0xd3ae_1f0d;
/// Three numbers.
const FIXED_BYTES: usize = 12;
/// Most blocks of a file: those of 1 GiB, or of as large segments as a server may be built with.
const BLOCKS_LIMIT: u32 = 1 << 24;

/// Blocks that were sent of a file.
pub(super) struct Changes<R> {
    numbers: Vec<u32>,
    /// Of the file.
    pub(super) blocks: u32,
    sent: R,
}

impl<R: Read> Changes<R> {
    /// Reads which they are.
    ///
    /// # Errors
    /// `InvalidData` for what no server sends; what reading fails with.
    pub(super) fn read(mut sent: R) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut number = || -> io::Result<u32> {
            let mut bytes = [0; 4];
            sent.read_exact(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        };
        if number()? != MAGIC {
            return Err(invalid("it is no file of changes"));
        }
        let (count, truncated) = (number()?, number()?);
        if count > BLOCKS_LIMIT || truncated > BLOCKS_LIMIT {
            return Err(invalid("it has more blocks than a file"));
        }
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(number()?);
        }
        if !numbers.is_sorted_by(|a, b| a < b) || numbers.last().is_some_and(|last| *last >= BLOCKS_LIMIT) {
            return Err(invalid("its blocks are in no order"));
        }
        let past = (FIXED_BYTES + 4 * numbers.len()) % PAGE_BYTES;
        if !numbers.is_empty() && past > 0 {
            io::copy(&mut sent.by_ref().take((PAGE_BYTES - past) as u64), &mut io::sink())?;
        }
        let blocks = numbers.last().map_or(truncated, |last| truncated.max(last + 1));
        Ok(Self { numbers, blocks, sent })
    }

    /// The file's length, bytes.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * PAGE_BYTES as u64
    }

    /// Whether a file of this length is as it was.
    pub(super) fn leave_as_it_was(&self, bytes: u64) -> bool {
        self.numbers.is_empty() && self.bytes() == bytes
    }

    /// The whole file, of what it was before.
    pub(super) fn onto(self, before: Stored<'_>) -> Together<'_, R> {
        Together { changes: self, before, at: 0, sent: 0, page: [0; PAGE_BYTES], used: PAGE_BYTES }
    }
}

/// A file that is put together.
pub(super) struct Together<'r, R> {
    changes: Changes<R>,
    before: Stored<'r>,
    /// The block that comes next.
    at: u32,
    /// How many of those that were sent have come.
    sent: usize,
    page: [u8; PAGE_BYTES],
    used: usize,
}

impl<R: Read> Read for Together<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == PAGE_BYTES {
            if self.at == self.changes.blocks {
                return Ok(0);
            }
            if self.changes.numbers.get(self.sent) == Some(&self.at) {
                self.changes.sent.read_exact(&mut self.page)?;
                self.before.take(None, PAGE_BYTES).map_err(io::Error::other)?;
                self.sent += 1;
            } else {
                self.before.take(Some(&mut self.page), PAGE_BYTES).map_err(io::Error::other)?;
            }
            self.at += 1;
            self.used = 0;
        }
        let length = out.len().min(PAGE_BYTES - self.used);
        out[..length].copy_from_slice(&self.page[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }
}

/// The content of a file in a snapshot, from its beginning on. What is passed over is not read.
pub(super) struct Stored<'r> {
    reader: &'r Reader<'r>,
    items: ListCursor<'r>,
    item: Option<(ListItem, Option<ChunkBytes>)>,
    /// Of the item, bytes.
    used: usize,
}

impl<'r> Stored<'r> {
    /// Begins.
    ///
    /// # Errors
    /// What reading the list fails with.
    pub(super) fn new(reader: &'r Reader<'r>, content: &Content) -> Result<Self, RepositoryError> {
        Ok(Self { reader, items: ListCursor::new(reader, content)?, item: None, used: 0 })
    }

    /// Takes or passes over so many bytes; behind the end there are zeros.
    ///
    /// # Errors
    /// What reading chunks fails with.
    pub(super) fn take(&mut self, mut out: Option<&mut [u8]>, length: usize) -> Result<(), RepositoryError> {
        let mut done = 0;
        while done < length {
            let left = self.item.as_ref().map_or(0, |(item, _)| item.length as usize - self.used);
            if left == 0 {
                self.used = 0;
                self.item = self.items.next_item()?.map(|item| (item, None));
                if self.item.is_none() {
                    if let Some(out) = out {
                        out[done..length].fill(0);
                    }
                    return Ok(());
                }
                continue;
            }
            let now = left.min(length - done);
            if let (Some(out), Some((item, chunk))) = (&mut out, &mut self.item) {
                let out = &mut out[done..done + now];
                if item.is_hole() {
                    out.fill(0);
                } else {
                    let chunk = match chunk {
                        Some(chunk) => chunk,
                        None => chunk.insert(self.reader.chunk(item.id)?),
                    };
                    let bytes = chunk.as_bytes().get(self.used..self.used + now);
                    let wrong = || RepositoryError::Inconsistent {
                        object: format!("chunk {}", item.id),
                        reason: "it has another length than the list says".into(),
                    };
                    out.copy_from_slice(bytes.ok_or_else(wrong)?);
                }
            }
            self.used += now;
            done += now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(truncated: u32, numbers: &[u32]) -> Vec<u8> {
        let count = u32::try_from(numbers.len()).unwrap();
        let mut bytes: Vec<u8> = [MAGIC, count, truncated].iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        if !numbers.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        }
        for number in numbers {
            bytes.extend([u8::try_from(*number).unwrap(); PAGE_BYTES]);
        }
        bytes
    }

    #[test]
    fn what_was_sent_is_told() {
        let sent = file(7, &[]);
        let changes = Changes::read(&*sent).unwrap();
        assert!(changes.leave_as_it_was(7 * 8192) && !changes.leave_as_it_was(8 * 8192));
        let sent = file(3, &[1, 9]);
        let mut changes = Changes::read(&*sent).unwrap();
        assert_eq!((changes.blocks, changes.bytes()), (10, 81_920));
        assert!(!changes.leave_as_it_was(81_920));
        let mut rest = Vec::new();
        changes.sent.read_to_end(&mut rest).unwrap();
        assert!(rest == [[1; PAGE_BYTES], [9; PAGE_BYTES]].concat());
        let many: Vec<u32> = (0..200).collect();
        assert_eq!(Changes::read(&*file(200, &many)).unwrap().blocks, 200);
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        let wrong = [b"no changes at all".to_vec(), file(1, &[2, 2]), file(1, &[3, 2]), file(u32::MAX, &[])];
        for bytes in wrong {
            assert!(Changes::read(&*bytes).is_err());
        }
        let whole = file(1, &[1, 2]);
        assert!(Changes::read(&whole[..18]).is_err());
    }
}
