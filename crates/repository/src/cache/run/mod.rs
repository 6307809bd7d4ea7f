//! A run: which chunk lies where, sorted by ID, in a file that never changes once it is written.
//!
//! ```text
//! header | table: a line of 64 bytes for about 48 records | records, and a checksum for each eighth of a line's
//! ```
//! The IDs are keyed hashes, so the first bits of one tell its line and part. The table is held in memory: it says
//! where the records of a part begin, and its filter tells most IDs that are not there. What is left costs one read
//! of about 6 records. IDs that somebody chose to lie together make that slow, not wrong.
//!
//! The table's checksum is verified when a run is opened, that of a part whenever it is read.

mod line;
mod medium;
mod reader;
mod scan;
mod writer;

use strongroom_format::ChunkId;

use self::line::Line;
pub(super) use self::medium::Medium;
pub(super) use self::reader::Run;
pub(super) use self::scan::Scan;
pub(super) use self::writer::RunWriter;
use super::error::CacheError;

const MAGIC: [u8; 8] = *b"STRNRUN1";
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 4;
/// Parts of a line, each read at once.
const PARTS: usize = 8;
/// Records that a line is made for.
const LINE_RECORDS: u64 = 48;
/// Most records of a part; a line that has more in one is not divided.
const PART_RECORDS: usize = 126;

/// That a chunk lies in a frame of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) id: ChunkId,
    /// The pack's number.
    pub(super) pack: u32,
    pub(super) frame: u32,
}

impl Record {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[..32].copy_from_slice(&self.id.0);
        out[32..36].copy_from_slice(&self.pack.to_le_bytes());
        out[36..].copy_from_slice(&self.frame.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { id: ChunkId(id), pack: number(32), frame: number(36) }
    }
}

/// What a run is, as the database remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunSummary {
    pub(super) entries: u32,
    /// BLAKE3-256 of table and header.
    pub(super) checksum: [u8; 32],
}

/// Lines of a run of at most so many entries.
pub(super) fn line_count(entries: u64) -> u64 {
    entries.div_ceil(LINE_RECORDS).max(1)
}

/// Where the parts of a run lie in its file.
#[derive(Debug, Clone, Copy)]
struct Layout {
    lines: u64,
    entries: u64,
}

impl Layout {
    /// The line and part of an ID; both grow with it.
    fn place(&self, id: &ChunkId) -> (u64, usize) {
        let [a, b, c, d, e, f, g, h, ..] = id.0;
        let prefix = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let scaled = (u128::from(prefix) * u128::from(self.lines * PARTS as u64)) >> 64;
        let at = u64::try_from(scaled).unwrap_or_default();
        (at / PARTS as u64, usize::try_from(at % PARTS as u64).unwrap_or_default())
    }

    fn records(&self) -> u64 {
        HEADER_BYTES as u64 + self.lines * Line::BYTES as u64
    }

    /// The offset of a line's first record, which is the run's record `start`.
    fn records_of(&self, line: u64, start: u64) -> u64 {
        self.records() + start * RECORD_BYTES as u64 + line * (PARTS * CHECKSUM_BYTES) as u64
    }

    fn file_bytes(&self) -> u64 {
        self.records_of(self.lines, self.entries)
    }

    fn header(&self, checksum: &[u8; 32]) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&self.lines.to_le_bytes());
        out[16..24].copy_from_slice(&self.entries.to_le_bytes());
        out[32..].copy_from_slice(checksum);
        out
    }

    /// The checksum, once the table is hashed.
    fn checksum(&self, mut table: blake3::Hasher) -> [u8; 32] {
        table.update(&self.header(&[0; 32]));
        *table.finalize().as_bytes()
    }
}

fn damaged(what: &str) -> CacheError {
    CacheError::Damaged { what: format!("a run of the index ({what})") }
}

#[cfg(test)]
mod tests;
