//! The gear table: the secret that says where content-defined cut points lie.

use std::fmt;

use zeroize::Zeroizing;

/// Length of a gear table as it is derived: 256 little-endian `u64`.
pub const GEAR_TABLE_BYTES: usize = 2048;

/// 256 secret numbers, one a byte value, derived from the repository's identity secret.
///
/// Share one through an `Arc`; it is wiped when dropped.
pub struct GearTable {
    // On the heap, so that moving a table leaves no copy behind.
    gear: Zeroizing<Vec<u64>>,
    shifted: Zeroizing<Vec<u64>>,
}

impl GearTable {
    /// Reads the table from derived bytes: entry `i` is the little-endian `u64` at `8 * i`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; GEAR_TABLE_BYTES]) -> Self {
        let mut gear = Zeroizing::new(Vec::with_capacity(256));
        let mut shifted = Zeroizing::new(Vec::with_capacity(256));
        for entry in bytes.as_chunks::<8>().0 {
            let value = u64::from_le_bytes(*entry);
            gear.push(value);
            shifted.push(value << 1);
        }
        Self { gear, shifted }
    }

    /// Always 256 entries.
    pub(crate) fn gear(&self) -> &[u64] {
        &self.gear
    }

    /// The same entries shifted left by one bit, for the first byte of a pair.
    pub(crate) fn shifted(&self) -> &[u64] {
        &self.shifted
    }
}

impl fmt::Debug for GearTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GearTable(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_little_endian_and_debug_shows_none() {
        let mut bytes = [0_u8; GEAR_TABLE_BYTES];
        bytes[8] = 0x2a;
        bytes[2047] = 0x80;
        let table = GearTable::from_bytes(&bytes);
        assert_eq!(table.gear().len(), 256);
        assert_eq!(table.shifted().len(), 256);
        assert_eq!((table.gear()[1], table.shifted()[1]), (0x2a, 0x54));
        assert_eq!((table.gear()[255], table.shifted()[255]), (1 << 63, 0));
        assert_eq!(format!("{table:?}"), "GearTable(redacted)");
    }
}
