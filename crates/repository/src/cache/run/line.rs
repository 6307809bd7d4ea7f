//! A line of a run's table: where the records of its IDs begin, and a filter of these IDs.
//!
//! ```text
//! first record 4 | counts of the parts 8 | filter 52
//! ```
//! The highest bit of a count says that an ID occurs more than once in the part. Counts of `ff` say that the line is
//! not divided: it has more records than counts can say.

use strongroom_format::ChunkId;

use super::{PART_RECORDS, PARTS};

const HEAD_BYTES: usize = 4 + PARTS;
const FILTER_BITS: u32 = 416;
/// Bits that an ID sets.
const PROBES: usize = 6;
const UNDIVIDED: [u8; PARTS] = [0xFF; PARTS];
const REPEATS: u8 = 0x80;

/// A line as it is stored, and looked at: one of the processor's cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Line(pub(super) [u8; Line::BYTES]);

/// Its beginning, without the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head(pub(super) [u8; HEAD_BYTES]);

/// The records of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Records of the line before it.
    pub(super) before: u64,
    pub(super) records: usize,
    /// Whether an ID occurs more than once.
    pub(super) repeats: bool,
}

impl Line {
    pub(crate) const BYTES: usize = 64;
    pub(super) const EMPTY: Self = Self([0; Self::BYTES]);

    pub(super) fn head(&self) -> Head {
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&self.0[..HEAD_BYTES]);
        Head(head)
    }

    pub(super) fn set_head(&mut self, head: Head) {
        self.0[..HEAD_BYTES].copy_from_slice(&head.0);
    }

    pub(super) fn note(&mut self, id: &ChunkId) {
        for (byte, bit) in probes(id) {
            self.0[byte] |= bit;
        }
    }

    /// Whether the line may have the ID; never wrong when it says no.
    pub(super) fn may_hold(&self, id: &ChunkId) -> bool {
        probes(id).all(|(byte, bit)| self.0[byte] & bit != 0)
    }
}

impl Head {
    pub(crate) const BYTES: usize = HEAD_BYTES;

    /// `start`: the line's first record; for each part its records, and whether an ID is repeated. Without them the
    /// line is not divided.
    pub(super) fn new(start: u32, parts: Option<[(usize, bool); PARTS]>) -> Self {
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&start.to_le_bytes());
        let count = |(records, repeats): (usize, bool)| {
            let count = u8::try_from(records).ok().filter(|_| records <= PART_RECORDS)?;
            Some(if repeats { count | REPEATS } else { count })
        };
        let counts = parts.and_then(|parts| {
            let mut counts = [0; PARTS];
            for (out, part) in counts.iter_mut().zip(parts) {
                *out = count(part)?;
            }
            Some(counts)
        });
        head[4..].copy_from_slice(&counts.unwrap_or(UNDIVIDED));
        Self(head)
    }

    pub(super) fn start(&self) -> u64 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d]).into()
    }

    /// `None` when the line is not divided.
    pub(super) fn part(&self, part: usize) -> Option<Part> {
        let [_, _, _, _, counts @ ..] = self.0;
        if counts == UNDIVIDED {
            return None;
        }
        let before = counts[..part].iter().map(|count| u64::from(count & !REPEATS)).sum();
        let count = counts[part];
        Some(Part { before, records: usize::from(count & !REPEATS), repeats: count & REPEATS != 0 })
    }
}

/// The bits of an ID in the filter, from bytes that do not tell its line.
fn probes(id: &ChunkId) -> impl Iterator<Item = (usize, u8)> {
    (0..PROBES).map(|probe| {
        let hash = u32::from(u16::from_le_bytes([id.0[8 + 2 * probe], id.0[9 + 2 * probe]]));
        let bit = (hash * FILTER_BITS) >> 16;
        (HEAD_BYTES + (bit / 8) as usize, 1 << (bit % 8))
    })
}
