//! Parity objects: `head | recovery blocks | head` (`format-spec/objects.md#parity`).
//!
//! How long everything in one is follows from the length of its pack and the number of recovery blocks, so where the
//! second head lies is known without the first.

use std::ops::Range;

use crate::little_endian::Fields;
use crate::pack::PACK_LIMIT_BYTES;
use crate::registry::ObjectKind;
use crate::{FormatError, PackId};

/// The first eight bytes of either head.
pub const MAGIC: [u8; 8] = *b"STRNGPR1";
/// Length of the fields that a head begins with, bytes.
pub const HEADER_LENGTH: usize = 64;
/// Length of a block's hash, bytes: the first half of BLAKE3-256.
pub const BLOCK_HASH_LENGTH: usize = 16;
/// Length of the hash that ends a head, bytes.
pub const HEAD_HASH_LENGTH: usize = 32;
/// Largest parity object a reader accepts, bytes: what a pack of the largest size has at 100 percent.
pub const PARITY_LIMIT_BYTES: u64 = 129 << 20;
/// Largest share of recovery blocks, percent of the data blocks.
pub const PARITY_LIMIT_PERCENT: u8 = 100;

const VERSION: u16 = 1;
/// A pack is cut into so many blocks at most.
const DATA_BLOCKS: u64 = 1024;
/// Shortest block, bytes.
const BLOCK_FLOOR_BYTES: u64 = 1024;
/// Blocks are a multiple of this long, bytes.
const BLOCK_UNIT_BYTES: u64 = 64;

/// What a parity object is of, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityHeader {
    /// Whether the pack holds chunks or nodes.
    pub kind: ObjectKind,
    /// The pack.
    pub pack: PackId,
    /// Its length, bytes: 1 to [`PACK_LIMIT_BYTES`].
    pub pack_length: u64,
    /// How many recovery blocks there are: 1 to as many as there are data blocks.
    pub recovery_blocks: usize,
}

impl ParityHeader {
    /// Of a pack with recovery blocks for at least this percentage of its blocks: 1 to [`PARITY_LIMIT_PERCENT`].
    ///
    /// # Errors
    /// `Limit`, `Rule`.
    pub fn new(kind: ObjectKind, pack: PackId, pack_length: u64, percent: u8) -> Result<Self, FormatError> {
        if !(1..=PARITY_LIMIT_PERCENT).contains(&percent) {
            let (value, limit) = (percent.into(), PARITY_LIMIT_PERCENT.into());
            return Err(FormatError::Limit { what: "percentage of parity", value, limit });
        }
        let one = Self { kind, pack, pack_length, recovery_blocks: 1 };
        one.validate()?;
        let recovery_blocks = (one.data_blocks() * usize::from(percent)).div_ceil(100);
        Ok(Self { recovery_blocks, ..one })
    }

    /// Of a pack, as the length of the parity object tells; `None` where no parity of it is that long.
    #[must_use]
    pub fn of_length(kind: ObjectKind, pack: PackId, pack_length: u64, length: u64) -> Option<Self> {
        let least = Self { kind, pack, pack_length, recovery_blocks: 1 };
        least.validate().ok()?;
        // Each further recovery block has its bytes, and a hash in either head.
        let more = length.checked_sub(least.length())? / (least.block_bytes() + 2 * BLOCK_HASH_LENGTH) as u64;
        let header = Self { recovery_blocks: usize::try_from(more).ok()?.checked_add(1)?, ..least };
        (header.validate().is_ok() && header.length() == length).then_some(header)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = self.kind.number();
        let counts = [self.block_bytes(), self.data_blocks(), self.recovery_blocks];
        for (field, count) in out[12..24].chunks_exact_mut(4).zip(counts) {
            // All three are far below what fits, by the limit of the pack's length.
            field.copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        out[24..32].copy_from_slice(&self.pack_length.to_le_bytes());
        out[32..].copy_from_slice(&self.pack.0);
        out
    }

    /// Reads the header off the front of a head.
    ///
    /// # Errors
    /// `Truncated`, `Magic`, `Unknown`, `Limit`, `Rule`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "parity header";
        let mut fields = Fields::new(bytes, WHAT);
        if fields.array::<8>()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let version = fields.u16()?;
        if version != VERSION {
            return Err(FormatError::Unknown { what: "parity version", value: version.into() });
        }
        let kind = ObjectKind::try_from(u64::from(fields.u8()?))?;
        let is_reserved_zero = fields.u8()? == 0;
        let (block_bytes, data_blocks) = (fields.u32()? as usize, fields.u32()? as usize);
        let recovery_blocks = fields.u32()? as usize;
        let pack_length = fields.u64()?;
        let header = Self { kind, pack: PackId(fields.array()?), pack_length, recovery_blocks };
        header.validate()?;
        if !is_reserved_zero || (block_bytes, data_blocks) != (header.block_bytes(), header.data_blocks()) {
            return Err(FormatError::Rule { what: WHAT, rule: "its blocks are those of the pack's length" });
        }
        Ok(header)
    }

    fn validate(&self) -> Result<(), FormatError> {
        if !matches!(self.kind, ObjectKind::DataPack | ObjectKind::MetadataPack) {
            return Err(FormatError::Rule { what: "parity", rule: "it is of a pack" });
        }
        if self.pack_length == 0 {
            return Err(FormatError::Rule { what: "parity", rule: "a pack is not empty" });
        }
        if self.pack_length > PACK_LIMIT_BYTES {
            let (value, limit) = (self.pack_length, PACK_LIMIT_BYTES);
            return Err(FormatError::Limit { what: "pack length", value, limit });
        }
        if !(1..=self.data_blocks()).contains(&self.recovery_blocks) {
            let (value, limit) = (self.recovery_blocks as u64, self.data_blocks() as u64);
            return Err(FormatError::Limit { what: "number of recovery blocks", value, limit });
        }
        Ok(())
    }

    /// Length of a block, bytes: a multiple of 64.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        let least = self.pack_length.div_ceil(DATA_BLOCKS).max(BLOCK_FLOOR_BYTES);
        usize::try_from(least.next_multiple_of(BLOCK_UNIT_BYTES)).unwrap_or(usize::MAX)
    }

    /// How many blocks the pack is cut into: 1 to 1024, the last one filled up with zeros.
    #[must_use]
    pub fn data_blocks(&self) -> usize {
        usize::try_from(self.pack_length.div_ceil(self.block_bytes() as u64)).unwrap_or(usize::MAX)
    }

    /// Length of a head, bytes: the header, a hash of each data block and then of each recovery block, a hash of these.
    #[must_use]
    pub fn head_length(&self) -> usize {
        HEADER_LENGTH + (self.data_blocks() + self.recovery_blocks) * BLOCK_HASH_LENGTH + HEAD_HASH_LENGTH
    }

    /// Where all recovery blocks lie in the object, one behind the other.
    #[must_use]
    pub fn recovery_range(&self) -> Range<usize> {
        let start = self.head_length();
        start..start + self.recovery_blocks * self.block_bytes()
    }

    /// Length of the object, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        (self.recovery_range().end + self.head_length()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pack_length: u64, percent: u8) -> ParityHeader {
        ParityHeader::new(ObjectKind::DataPack, PackId([7; 32]), pack_length, percent).unwrap()
    }

    #[test]
    fn blocks_follow_from_the_length() {
        for (length, block, count) in [
            (1, 1024, 1),
            (1024, 1024, 1),
            (1025, 1024, 2),
            (256 << 10, 1024, 256),
            (1 << 20, 1024, 1024),
            ((1 << 20) + 1, 1088, 964),
            (4 << 20, 4096, 1024),
            (16 << 20, 16_384, 1024),
            (PACK_LIMIT_BYTES, 131_072, 1024),
        ] {
            let header = of(length, 5);
            assert_eq!((header.block_bytes(), header.data_blocks()), (block, count), "{length}");
        }
        assert!((1..100_000_u64).all(|step| of(step * 1301, 1).data_blocks() <= 1024));
    }

    #[test]
    fn the_share_is_rounded_up() {
        let blocks = |length, percent| of(length, percent).recovery_blocks;
        assert_eq!([1, 5, 50, 100].map(|percent| blocks(16 << 20, percent)), [11, 52, 512, 1024]);
        assert_eq!([1, 5, 50, 100].map(|percent| blocks(3000, percent)), [1, 1, 2, 3]);
    }

    #[test]
    fn round_trip_and_lengths() {
        for length in [1, 3000, 1 << 20, (1 << 20) + 1, 5_000_000, 16 << 20, PACK_LIMIT_BYTES] {
            for percent in [1, 5, 33, 100] {
                let header = of(length, percent);
                assert_eq!(ParityHeader::decode(&header.encode()), Ok(header));
                assert!(header.length() <= PARITY_LIMIT_BYTES);
                let of_length =
                    |bytes| ParityHeader::of_length(ObjectKind::DataPack, header.pack, length, bytes);
                assert_eq!(of_length(header.length()), Some(header));
                assert_eq!([header.length() - 1, header.length() + 1, 0, u64::MAX].map(of_length), [None; 4]);
            }
        }
    }

    #[test]
    fn no_header_but_its_own_is_taken() {
        let header = of(5_000_000, 5);
        let good = header.encode();
        // Everything but the pack's ID, and the lowest bits of its length, hangs together.
        for at in (0..24).chain(27..32) {
            let mut bytes = good;
            bytes[at] ^= if at == 10 { 4 } else { 0x40 };
            let decoded = ParityHeader::decode(&bytes);
            // A number of recovery blocks may well be another one.
            let other_count = ParityHeader { recovery_blocks: header.recovery_blocks ^ 0x40, ..header };
            assert!(decoded.is_err() || at == 20 && decoded == Ok(other_count), "{at}");
        }
        assert!(ParityHeader::decode(&good[..63]).is_err());
        let refused = |kind, length, percent| ParityHeader::new(kind, PackId([7; 32]), length, percent);
        assert!(refused(ObjectKind::Index, 1000, 5).is_err());
        assert!(refused(ObjectKind::DataPack, 0, 5).is_err());
        assert!(refused(ObjectKind::DataPack, PACK_LIMIT_BYTES + 1, 5).is_err());
        assert!([0, 101].iter().all(|percent| refused(ObjectKind::DataPack, 1000, *percent).is_err()));
    }
}
