//! Records of a log: how LevelDB and RocksDB write their manifests and write-ahead logs.
//!
//! Blocks of 32 KiB; a record is one fragment or several, none of which crosses a block; each has a masked CRC-32C, a length and
//! a type. RocksDB has further types: those of logs that reuse an older log's file name the log they belong to.

use std::io::{self, Read};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// With the number of the log.
const NUMBERED_HEADER_BYTES: usize = 11;
/// Longest record that is kept: no edit of a manifest comes near it.
const RECORD_LIMIT_BYTES: usize = 256 << 20;
/// Types from here on may be passed over by who does not know them.
const IGNORABLE: u8 = 1 << 7;

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a whole record.
    Whole,
    /// With a part of one, as a process leaves it that is writing, or was killed; or with room that is not written to yet.
    Cut,
    /// With what is no record.
    Damaged,
}

/// Reads a log.
#[derive(Debug)]
pub struct Records<R> {
    input: R,
    block: Vec<u8>,
    filled: usize,
    at: usize,
    /// Of the block, in the file.
    start: u64,
    /// Of the log, which records of a reused file name.
    number: Option<u64>,
    end: Option<End>,
    /// Bytes up to the last whole record.
    whole_bytes: u64,
}

/// A part of a record.
enum Fragment {
    Full,
    First,
    Middle,
    Last,
    /// What is said of the log itself.
    Note,
}

impl<R: Read> Records<R> {
    /// A log; `number` is its own, where records are to name it.
    pub fn new(input: R, number: Option<u64>) -> Self {
        Self {
            input,
            block: vec![0; BLOCK_BYTES],
            filled: 0,
            at: 0,
            start: 0,
            number,
            end: None,
            whole_bytes: 0,
        }
    }

    /// The next record, into `payload` if there is one to put it in; `false` at the end.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn next_record(&mut self, mut payload: Option<&mut Vec<u8>>) -> io::Result<bool> {
        if let Some(payload) = &mut payload {
            payload.clear();
        }
        let mut is_open = false;
        while self.end.is_none() {
            let Some((fragment, data)) = self.fragment()? else { continue };
            match (&fragment, is_open) {
                (Fragment::Full | Fragment::First | Fragment::Note, false)
                | (Fragment::Middle | Fragment::Last, true) => {}
                _ => {
                    self.end = Some(End::Damaged);
                    continue;
                }
            }
            let whole = self.start + self.at as u64;
            if let (Some(payload), false) = (&mut payload, matches!(fragment, Fragment::Note)) {
                if payload.len() + data.len() > RECORD_LIMIT_BYTES {
                    self.end = Some(End::Damaged);
                    continue;
                }
                payload.extend_from_slice(&self.block[data]);
            }
            is_open = matches!(fragment, Fragment::First | Fragment::Middle);
            if !is_open {
                self.whole_bytes = whole;
                return Ok(true);
            }
        }
        if is_open && self.end == Some(End::Whole) {
            self.end = Some(End::Cut);
        }
        Ok(false)
    }

    /// Up to where the records that were given lie, bytes.
    #[must_use]
    pub fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// How it ends, once there are no more records.
    #[must_use]
    pub fn end(&self) -> End {
        self.end.unwrap_or(End::Whole)
    }

    /// The next fragment, and where in the block its data lies; none when another block was read, or at the end.
    fn fragment(&mut self) -> io::Result<Option<(Fragment, std::ops::Range<usize>)>> {
        let left = &self.block[self.at..self.filled];
        if left.len() < HEADER_BYTES {
            // Whatever the rest of a whole block is, nobody reads it.
            if self.filled == BLOCK_BYTES || self.start + self.filled as u64 == 0 {
                self.next_block()?;
            } else {
                self.end = Some(if left.is_empty() { End::Whole } else { End::Cut });
            }
            return Ok(None);
        }
        let sum = u32::from_le_bytes([left[0], left[1], left[2], left[3]]);
        let length = usize::from(u16::from_le_bytes([left[4], left[5]]));
        let kind = left[6];
        if kind == 0 && length == 0 && sum == 0 {
            if left.len() < NUMBERED_HEADER_BYTES && self.filled == BLOCK_BYTES {
                // No room for a longer header.
                self.at = self.filled;
                return Ok(None);
            }
            self.end = Some(End::Cut);
            return Ok(None);
        }
        let header = if is_numbered(kind) { NUMBERED_HEADER_BYTES } else { HEADER_BYTES };
        let Some(body) = left.get(6..header + length) else {
            // A block that is whole holds all of its fragments.
            self.end = Some(if self.filled == BLOCK_BYTES { End::Damaged } else { End::Cut });
            return Ok(None);
        };
        if unmask(sum) != crc_fast::crc32_iscsi(body) {
            self.end = Some(End::Damaged);
            return Ok(None);
        }
        if is_numbered(kind) {
            let named = u32::from_le_bytes([left[7], left[8], left[9], left[10]]);
            // RocksDB writes the low half of the number.
            if self.number.is_some_and(|number| number & u64::from(u32::MAX) != u64::from(named)) {
                // Of the log that had this file before.
                self.end = Some(End::Cut);
                return Ok(None);
            }
        }
        let fragment = match kind {
            1 | 5 => Fragment::Full,
            2 | 6 => Fragment::First,
            3 | 7 => Fragment::Middle,
            4 | 8 => Fragment::Last,
            // Compression, and widths of timestamps.
            9..=11 => Fragment::Note,
            kind if kind >= IGNORABLE => Fragment::Note,
            _ => {
                self.end = Some(End::Damaged);
                return Ok(None);
            }
        };
        let data = self.at + header..self.at + header + length;
        self.at = data.end;
        Ok(Some((fragment, data)))
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.start += self.filled as u64;
        (self.filled, self.at) = (0, 0);
        while self.filled < BLOCK_BYTES {
            match self.input.read(&mut self.block[self.filled..]) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.filled == 0 {
            self.end = Some(End::Whole);
        }
        Ok(())
    }
}

fn is_numbered(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

fn unmask(sum: u32) -> u32 {
    sum.wrapping_sub(0xa282_ead8).rotate_left(15)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As LevelDB writes a log; with a number, as RocksDB writes one into an older log's file.
    pub(crate) fn written(records: &[Vec<u8>], number: Option<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        let header = if number.is_some() { NUMBERED_HEADER_BYTES } else { HEADER_BYTES };
        for record in records {
            let (mut left, mut is_first) = (&record[..], true);
            loop {
                let room = BLOCK_BYTES - out.len() % BLOCK_BYTES;
                if room < header {
                    out.resize(out.len() + room, 0);
                    continue;
                }
                let (now, rest) = left.split_at(left.len().min(room - header));
                let kind = match (is_first, rest.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                let mut body = vec![if number.is_some() { kind + 4 } else { kind }];
                body.extend(number.into_iter().flat_map(u32::to_le_bytes));
                body.extend_from_slice(now);
                let sum = crc_fast::crc32_iscsi(&body).rotate_right(15).wrapping_add(0xa282_ead8);
                out.extend(sum.to_le_bytes());
                out.extend(u16::try_from(now.len()).unwrap().to_le_bytes());
                out.extend(body);
                (left, is_first) = (rest, false);
                if left.is_empty() {
                    break;
                }
            }
        }
        out
    }

    fn read(bytes: &[u8], number: Option<u64>) -> (Vec<Vec<u8>>, u64, End) {
        let mut records = Records::new(bytes, number);
        let (mut all, mut payload) = (Vec::new(), Vec::new());
        while records.next_record(Some(&mut payload)).unwrap() {
            all.push(payload.clone());
        }
        (all, records.whole_bytes(), records.end())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            lengths in prop::collection::vec(prop_oneof![0_usize..200, 32_700..32_800_usize, 0..100_000_usize], 0..8),
            is_numbered: bool,
            cut in any::<prop::sample::Index>(),
        ) {
            let records: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(at, length)| vec![at.to_le_bytes()[0] + 1; *length]).collect();
            let number = is_numbered.then_some(7);
            let bytes = written(&records, number);
            let own = number.map(u64::from);
            let (found, whole, end) = read(&bytes, own);
            prop_assert!(found == records);
            prop_assert_eq!((whole, end), (bytes.len() as u64, End::Whole));

            // Cut anywhere: records up to there, and no damage.
            let cut = cut.index(bytes.len() + 1);
            let (found, whole, end) = read(&bytes[..cut], own);
            prop_assert!(records[..found.len()] == found[..]);
            prop_assert!(whole <= cut as u64 && end != End::Damaged);
            let (again, same, _) = read(&bytes[..usize::try_from(whole).unwrap()], own);
            prop_assert!((again, same) == (found, whole));
        }

        #[test]
        fn bytes_of_any_kind_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let (_, whole, _) = read(&bytes, None);
            prop_assert!(whole <= bytes.len() as u64);
        }

        #[test]
        fn a_flipped_bit_ends_it(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let records = vec![vec![1; 100], vec![2; 40_000], vec![3; 5]];
            let mut bytes = written(&records, None);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (found, _, end) = read(&bytes, None);
            prop_assert!(records[..found.len()] == found[..]);
            prop_assert!(found.len() < 3 && end != End::Whole || found.len() == 3);
        }
    }

    #[test]
    fn room_that_is_not_written_to_yet_and_the_rest_of_an_older_log_end_it() {
        let mut bytes = written(&[vec![1; 10], vec![2; 20]], None);
        let whole = bytes.len() as u64;
        bytes.resize(100_000, 0);
        assert_eq!(read(&bytes, None), (vec![vec![1; 10], vec![2; 20]], whole, End::Cut));
        let mut reused = written(&[vec![1; 10]], Some(9));
        let whole = reused.len() as u64;
        reused.extend(written(&[vec![1; 10], vec![2; 10]], Some(8)).split_off(reused.len()));
        assert_eq!(read(&reused, Some(9)), (vec![vec![1; 10]], whole, End::Cut));
    }
}
