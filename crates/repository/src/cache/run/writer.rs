//! Writing a run, record by record, in memory that does not grow with it.

use super::line::{Head, Line};
use super::{
    HEADER_BYTES, Layout, Medium, PART_RECORDS, PARTS, RECORD_BYTES, Record, RunSummary, damaged, line_count,
};
use crate::cache::error::CacheError;

/// Written at once, bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes a run. It counts when the database names it.
pub(crate) struct RunWriter {
    medium: Medium,
    layout: Layout,
    table: Buffer,
    records: Buffer,
    hasher: blake3::Hasher,
    last: Option<Record>,
    /// The line under way: its number, first record, and filter.
    number: u64,
    start: u32,
    line: Line,
    /// Its records, until it is known whether it is divided.
    pending: Vec<Record>,
    /// The checksum so far of a line that is not.
    undivided: Option<crc32fast::Hasher>,
    entries: u32,
}

/// Bytes on their way to one part of the file.
struct Buffer {
    bytes: Vec<u8>,
    offset: u64,
}

impl Buffer {
    fn at(offset: u64) -> Self {
        Self { bytes: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8), offset }
    }

    fn put(&mut self, bytes: &[u8], medium: &mut Medium) -> Result<(), CacheError> {
        self.bytes.extend_from_slice(bytes);
        // Where offsets are round, so that the system keeps large pieces of it in memory.
        let beyond = self.offset + self.bytes.len() as u64;
        match self.bytes.len().checked_sub(usize::try_from(beyond % BUFFER_BYTES as u64).unwrap_or_default())
        {
            Some(length) if self.bytes.len() >= BUFFER_BYTES => self.write(length, medium),
            _ => Ok(()),
        }
    }

    fn flush(&mut self, medium: &mut Medium) -> Result<(), CacheError> {
        self.write(self.bytes.len(), medium)
    }

    fn write(&mut self, length: usize, medium: &mut Medium) -> Result<(), CacheError> {
        medium
            .write_all_at(&self.bytes[..length], self.offset)
            .map_err(CacheError::file("a run of the index cannot be written"))?;
        self.offset += length as u64;
        self.bytes.drain(..length);
        Ok(())
    }
}

impl RunWriter {
    /// A run of at most `entries`.
    pub(crate) fn new(medium: Medium, entries: u64) -> Self {
        let layout = Layout { lines: line_count(entries), entries: 0 };
        Self {
            medium,
            layout,
            table: Buffer::at(HEADER_BYTES as u64),
            records: Buffer::at(layout.records()),
            hasher: blake3::Hasher::new(),
            last: None,
            number: 0,
            start: 0,
            line: Line::EMPTY,
            pending: Vec::new(),
            undivided: None,
            entries: 0,
        }
    }

    /// Adds a record; they come in order. A repeated one is passed over.
    pub(crate) fn push(&mut self, record: Record) -> Result<(), CacheError> {
        if self.last.is_some_and(|last| last >= record) {
            return if self.last == Some(record) { Ok(()) } else { Err(damaged("it is out of order")) };
        }
        self.last = Some(record);
        let (line, _) = self.layout.place(&record.id);
        while self.number < line {
            self.end_line()?;
        }
        self.entries = self.entries.checked_add(1).ok_or(CacheError::Full)?;
        self.line.note(&record.id);
        self.pending.push(record);
        if self.undivided.is_some() || self.pending.len() > PARTS * PART_RECORDS {
            self.spill()?;
        }
        Ok(())
    }

    /// Writes records of a line that is too long to be divided, so that it is not held in memory.
    fn spill(&mut self) -> Result<(), CacheError> {
        let checksum = self.undivided.get_or_insert_default();
        for record in self.pending.drain(..) {
            let bytes = record.encode();
            checksum.update(&bytes);
            self.records.put(&bytes, &mut self.medium)?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), CacheError> {
        let parts = match self.undivided {
            Some(_) => None,
            None => self.parts(),
        };
        match parts {
            Some(parts) => self.put_parts(&parts)?,
            None => {
                self.spill()?;
                let checksum = self.undivided.take().unwrap_or_default().finalize();
                let mut checksums = [0; PARTS * super::CHECKSUM_BYTES];
                checksums[..super::CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
                self.records.put(&checksums, &mut self.medium)?;
            }
        }
        self.line.set_head(Head::new(self.start, parts));
        // Hashed by the buffer: a line at a time is too little for the hash to be fast.
        if self.table.bytes.len() + Line::BYTES > BUFFER_BYTES {
            self.flush_table()?;
        }
        self.table.bytes.extend_from_slice(&self.line.0);
        self.line = Line::EMPTY;
        self.start = self.entries;
        self.number += 1;
        Ok(())
    }

    /// The records of each part and whether an ID is repeated; `None` when there are too many.
    fn parts(&self) -> Option<[(usize, bool); PARTS]> {
        let mut parts = [(0, false); PARTS];
        let mut last = None;
        for record in &self.pending {
            let (count, repeats) = &mut parts[self.layout.place(&record.id).1];
            *count += 1;
            *repeats |= last.replace(record.id) == Some(record.id);
        }
        parts.iter().all(|(count, _)| *count <= PART_RECORDS).then_some(parts)
    }

    fn put_parts(&mut self, parts: &[(usize, bool); PARTS]) -> Result<(), CacheError> {
        let mut records = self.pending.drain(..);
        let mut bytes = Vec::with_capacity(PART_RECORDS * RECORD_BYTES);
        for (count, _) in parts {
            bytes.clear();
            records.by_ref().take(*count).for_each(|record| bytes.extend_from_slice(&record.encode()));
            let checksum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            self.records.put(&bytes, &mut self.medium)?;
        }
        Ok(())
    }

    fn flush_table(&mut self) -> Result<(), CacheError> {
        // The number of entries is known at the end only, so it is hashed last.
        self.hasher.update(&self.table.bytes);
        self.table.flush(&mut self.medium)
    }

    /// Completes the run. Nothing is forced to the disk: what a crash leaves incomplete does not have its checksum.
    pub(crate) fn finish(mut self) -> Result<(Medium, RunSummary), CacheError> {
        while self.number < self.layout.lines {
            self.end_line()?;
        }
        self.flush_table()?;
        self.records.flush(&mut self.medium)?;
        self.layout.entries = self.entries.into();
        let checksum = self.layout.checksum(self.hasher);
        self.medium
            .write_all_at(&self.layout.header(&checksum), 0)
            .map_err(CacheError::file("a run of the index cannot be written"))?;
        Ok((self.medium, RunSummary { entries: self.entries, checksum }))
    }
}
