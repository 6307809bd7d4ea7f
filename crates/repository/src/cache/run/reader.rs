//! Looking up in a run.

use std::cell::RefCell;
use std::sync::Arc;

use strongroom_format::ChunkId;

use super::line::{Head, Line};
use super::{
    CHECKSUM_BYTES, HEADER_BYTES, Layout, Medium, PART_RECORDS, RECORD_BYTES, Record, RunSummary, damaged,
    line_count,
};
use crate::cache::error::CacheError;

/// Read at once of the table, and of lines that are not divided, bytes.
const READ_BYTES: usize = 1 << 18;

/// An open run.
pub(crate) struct Run {
    /// Its number in the database.
    pub(crate) number: u64,
    pub(crate) summary: RunSummary,
    medium: Arc<Medium>,
    layout: Layout,
    table: Table,
}

/// As much of the table as there is memory for.
enum Table {
    Lines(Vec<Line>),
    Heads(Vec<Head>),
}

impl Table {
    fn head(&self, line: usize) -> Option<Head> {
        match self {
            Self::Lines(lines) => lines.get(line).map(Line::head),
            Self::Heads(heads) => heads.get(line).copied(),
        }
    }
}

thread_local! {
    /// What lookups read into.
    static SCRATCH: RefCell<[u8; PART_RECORDS * RECORD_BYTES + CHECKSUM_BYTES]> =
        const { RefCell::new([0; PART_RECORDS * RECORD_BYTES + CHECKSUM_BYTES]) };
}

/// Where records of an ID may lie.
struct Extent {
    offset: u64,
    records: u64,
    is_divided: bool,
    repeats: bool,
}

impl Run {
    /// Opens a run of which the database says this. Without filters it takes a fifth of the memory.
    ///
    /// # Errors
    /// `Damaged`, `File`.
    pub(crate) fn open(
        number: u64,
        medium: Arc<Medium>,
        summary: RunSummary,
        with_filter: bool,
    ) -> Result<Self, CacheError> {
        let failed = || CacheError::file("a run of the index cannot be read");
        let mut header = [0; HEADER_BYTES];
        let length = medium.length_bytes().map_err(failed())?;
        if length < HEADER_BYTES as u64 {
            return Err(damaged("its length"));
        }
        medium.read_exact_at(&mut header, 0).map_err(failed())?;
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, ..] = header;
        let layout =
            Layout { lines: u64::from_le_bytes([a, b, c, d, e, f, g, h]), entries: summary.entries.into() };
        if header != layout.header(&summary.checksum)
            || layout.lines > line_count(u32::MAX.into())
            || length != layout.file_bytes()
        {
            return Err(damaged("its header"));
        }
        let lines = usize::try_from(layout.lines).map_err(|_| CacheError::Full)?;
        let mut table = match with_filter {
            true => Table::Lines(Vec::with_capacity(lines)),
            false => Table::Heads(Vec::with_capacity(lines)),
        };
        let mut hasher = blake3::Hasher::new();
        let mut part = vec![0; READ_BYTES];
        let mut at = 0;
        while at < lines {
            let bytes = &mut part[..((lines - at) * Line::BYTES).min(READ_BYTES)];
            let offset = HEADER_BYTES + at * Line::BYTES;
            medium.read_exact_at(bytes, offset as u64).map_err(failed())?;
            hasher.update(bytes);
            let (stored, _) = bytes.as_chunks::<{ Line::BYTES }>();
            match &mut table {
                Table::Lines(table) => table.extend(stored.iter().map(|line| Line(*line))),
                Table::Heads(table) => table.extend(stored.iter().map(|line| Line(*line).head())),
            }
            at += stored.len();
        }
        if layout.checksum(hasher) != summary.checksum {
            return Err(damaged("its table"));
        }
        Ok(Self { number, summary, medium, layout, table })
    }

    /// Bytes that a run of so many entries takes in memory.
    pub(crate) fn resident_bytes(entries: u64, with_filter: bool) -> u64 {
        line_count(entries) * if with_filter { Line::BYTES } else { Head::BYTES } as u64
    }

    /// Bytes of the file of a run of so many entries.
    pub(crate) fn file_bytes(entries: u64) -> u64 {
        Layout { lines: line_count(entries), entries }.file_bytes()
    }

    pub(crate) fn has_filter(&self) -> bool {
        matches!(self.table, Table::Lines(_))
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.layout.lines * if self.has_filter() { Line::BYTES } else { Head::BYTES } as u64
    }

    /// Whether the ID may be here; never wrong when it says no.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        let (line, _) = self.layout.place(id);
        match &self.table {
            Table::Lines(lines) => {
                usize::try_from(line).is_ok_and(|line| lines.get(line).is_some_and(|line| line.may_hold(id)))
            }
            Table::Heads(_) => true,
        }
    }

    /// Whether some ID near this one lies here more than once.
    pub(crate) fn may_repeat(&self, id: &ChunkId) -> bool {
        self.extent(id).is_none_or(|extent| extent.repeats)
    }

    fn extent(&self, id: &ChunkId) -> Option<Extent> {
        let (line, part) = self.layout.place(id);
        let at = usize::try_from(line).ok()?;
        let head = self.table.head(at)?;
        let start = head.start();
        let Some(found) = head.part(part) else {
            let end = self.table.head(at + 1).map_or(self.layout.entries, |next| next.start());
            let records = end.checked_sub(start)?;
            let offset = self.layout.records_of(line, start);
            return Some(Extent { offset, records, is_divided: false, repeats: true });
        };
        let offset = self.layout.records_of(line, start + found.before) + (part * CHECKSUM_BYTES) as u64;
        let (records, repeats) = (found.records as u64, found.repeats);
        Some(Extent { offset, records, is_divided: true, repeats })
    }

    /// Gives every record of an ID to `found`, in order.
    ///
    /// # Errors
    /// `Damaged` when what was read does not have its checksum; `File`.
    pub(crate) fn find(&self, id: &ChunkId, mut found: impl FnMut(Record)) -> Result<(), CacheError> {
        let extent = self.extent(id).ok_or_else(|| damaged("its table"))?;
        if extent.records == 0 {
            return Ok(());
        }
        if !extent.is_divided {
            return self.find_undivided(&extent, id, &mut found);
        }
        let length = usize::try_from(extent.records).unwrap_or_default() * RECORD_BYTES + CHECKSUM_BYTES;
        SCRATCH.with_borrow_mut(|scratch| {
            let bytes = scratch.get_mut(..length).ok_or_else(|| damaged("its table"))?;
            self.read(bytes, extent.offset)?;
            let (records, checksum) = bytes.split_at(length - CHECKSUM_BYTES);
            if crc32fast::hash(records).to_le_bytes() != checksum {
                return Err(damaged("its records"));
            }
            matching(records, id, &mut found);
            Ok(())
        })
    }

    fn find_undivided(
        &self,
        extent: &Extent,
        id: &ChunkId,
        found: &mut impl FnMut(Record),
    ) -> Result<(), CacheError> {
        let mut part = vec![0; READ_BYTES / RECORD_BYTES * RECORD_BYTES];
        let mut hasher = crc32fast::Hasher::new();
        // Told when the checksum is known to hold; one ID has few records.
        let mut records = Vec::new();
        let (mut offset, mut left) = (extent.offset, extent.records);
        while left > 0 {
            let count = left.min((part.len() / RECORD_BYTES) as u64);
            let bytes = &mut part[..usize::try_from(count).unwrap_or_default() * RECORD_BYTES];
            self.read(bytes, offset)?;
            hasher.update(bytes);
            matching(bytes, id, &mut |record| records.push(record));
            offset += bytes.len() as u64;
            left -= count;
        }
        let mut checksum = [0; CHECKSUM_BYTES];
        self.read(&mut checksum, offset)?;
        if hasher.finalize() != u32::from_le_bytes(checksum) {
            return Err(damaged("its records"));
        }
        records.into_iter().for_each(found);
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), CacheError> {
        self.medium
            .read_exact_at(bytes, offset)
            .map_err(CacheError::file("a run of the index cannot be read"))
    }
}

fn matching(records: &[u8], id: &ChunkId, found: &mut impl FnMut(Record)) {
    for record in records.as_chunks::<RECORD_BYTES>().0 {
        if record[..32] == id.0 {
            found(Record::decode(record));
        }
    }
}
