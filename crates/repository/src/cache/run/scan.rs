//! Reading all of a run, in order, in memory that does not grow with it.

use std::sync::Arc;

use super::line::{Head, Line};
use super::{
    CHECKSUM_BYTES, HEADER_BYTES, Layout, Medium, PARTS, RECORD_BYTES, Record, RunSummary, damaged,
    line_count,
};
use crate::cache::error::CacheError;

/// Records given out before the checksum behind them is seen, of lines that are not divided.
const GIVEN_RECORDS: u64 = 1024;

/// The records of a run. All are right when it ends without an error.
pub(crate) struct Scan {
    layout: Layout,
    table: Stream,
    records: Stream,
    /// Lines read of the table.
    lines: u64,
    /// The line that follows the one under way.
    next: Option<Head>,
    /// Records read.
    read: u64,
    /// Of a line that is not divided: records left, and their checksum so far.
    undivided: Option<(u64, crc32fast::Hasher)>,
    ready: Vec<Record>,
    given: usize,
}

/// A part of a file, read in order.
struct Stream {
    medium: Arc<Medium>,
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Stream {
    /// `buffer_bytes` are at least what is taken at once.
    fn new(medium: Arc<Medium>, offset: u64, end: u64, buffer_bytes: usize) -> Self {
        Self { medium, offset, end, buffer: Vec::with_capacity(buffer_bytes), at: 0 }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], CacheError> {
        if self.buffer.len() - self.at < length {
            self.buffer.drain(..self.at);
            self.at = 0;
            let kept = self.buffer.len();
            let room = (self.buffer.capacity() - kept) as u64;
            let more = usize::try_from(room.min(self.end - self.offset)).unwrap_or_default();
            self.buffer.resize(kept + more, 0);
            self.medium
                .read_exact_at(&mut self.buffer[kept..], self.offset)
                .map_err(CacheError::file("a run of the index cannot be read"))?;
            self.offset += more as u64;
        }
        let start = self.at;
        self.at += length;
        self.buffer.get(start..self.at).ok_or_else(|| damaged("its table"))
    }
}

impl Scan {
    /// # Errors
    /// `Damaged`, `File`.
    pub(crate) fn open(
        medium: Arc<Medium>,
        summary: RunSummary,
        buffer_bytes: usize,
    ) -> Result<Self, CacheError> {
        let mut header = [0; HEADER_BYTES];
        medium
            .read_exact_at(&mut header, 0)
            .map_err(CacheError::file("a run of the index cannot be read"))?;
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, ..] = header;
        let layout =
            Layout { lines: u64::from_le_bytes([a, b, c, d, e, f, g, h]), entries: summary.entries.into() };
        if header != layout.header(&summary.checksum) || layout.lines > line_count(u32::MAX.into()) {
            return Err(damaged("its header"));
        }
        let buffer_bytes = buffer_bytes.max(64 << 10);
        let (table, records) = (HEADER_BYTES as u64, layout.records());
        let mut scan = Self {
            layout,
            table: Stream::new(Arc::clone(&medium), table, records, buffer_bytes / 4),
            records: Stream::new(medium, records, layout.file_bytes(), buffer_bytes),
            lines: 0,
            next: None,
            read: 0,
            undivided: None,
            ready: Vec::new(),
            given: 0,
        };
        scan.next = scan.head()?;
        Ok(scan)
    }

    fn head(&mut self) -> Result<Option<Head>, CacheError> {
        if self.lines == self.layout.lines {
            return Ok(None);
        }
        self.lines += 1;
        let mut line = Line::EMPTY;
        line.0.copy_from_slice(self.table.take(Line::BYTES)?);
        Ok(Some(line.head()))
    }

    /// The next record.
    ///
    /// # Errors
    /// `Damaged`, `File`.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, CacheError> {
        loop {
            if let Some(record) = self.ready.get(self.given) {
                self.given += 1;
                return Ok(Some(*record));
            }
            self.ready.clear();
            self.given = 0;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads a part of a line; gives `false` behind the last.
    fn fill(&mut self) -> Result<bool, CacheError> {
        if let Some((left, hasher)) = self.undivided.take() {
            return self.fill_undivided(left, hasher).map(|()| true);
        }
        let Some(head) = self.next.take() else { return Ok(false) };
        self.next = self.head()?;
        let end = self.next.map_or(self.layout.entries, |next| next.start());
        let records = end.checked_sub(head.start()).ok_or_else(|| damaged("its table"))?;
        if head.start() != self.read {
            return Err(damaged("its table"));
        }
        for part in 0..PARTS {
            let Some(part) = head.part(part) else {
                self.fill_undivided(records, crc32fast::Hasher::new())?;
                return Ok(true);
            };
            let length = part.records * RECORD_BYTES;
            let bytes = self.records.take(length + CHECKSUM_BYTES)?;
            let (records, checksum) = bytes.split_at(length);
            if crc32fast::hash(records).to_le_bytes() != checksum {
                return Err(damaged("its records"));
            }
            self.ready.extend(records.as_chunks::<RECORD_BYTES>().0.iter().map(Record::decode));
            self.read += part.records as u64;
        }
        Ok(true)
    }

    fn fill_undivided(&mut self, left: u64, mut hasher: crc32fast::Hasher) -> Result<(), CacheError> {
        let count = left.min(GIVEN_RECORDS);
        let bytes = self.records.take(usize::try_from(count).unwrap_or_default() * RECORD_BYTES)?;
        hasher.update(bytes);
        self.ready.extend(bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Record::decode));
        self.read += count;
        if left > count {
            self.undivided = Some((left - count, hasher));
            return Ok(());
        }
        let checksums = self.records.take(PARTS * CHECKSUM_BYTES)?;
        if checksums[..CHECKSUM_BYTES] != hasher.finalize().to_le_bytes() {
            return Err(damaged("its records"));
        }
        Ok(())
    }
}
