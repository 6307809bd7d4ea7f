//! What the rows of a table, large objects or documents come to, in whatever order they were read.

/// The sum of the hashes of all items, each BLAKE3 cut to 128 bits: equal for equal items in any order, and no other items
/// by accident. It protects against nobody: what is stored is protected by its chunk IDs.
#[derive(Debug, Default)]
pub(crate) struct Fingerprint {
    sum: u128,
    hasher: blake3::Hasher,
    is_within: bool,
}

impl Fingerprint {
    /// More of the item.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.is_within = true;
    }

    /// The rows that these bytes end, and the beginning of another; each ends with a newline.
    pub(crate) fn add_rows(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (row, rest) = bytes.split_at(end);
            if self.is_within {
                self.add(row);
                self.end();
            } else {
                self.count(&blake3::hash(row));
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.add(bytes);
        }
    }

    /// The item is complete.
    pub(crate) fn end(&mut self) {
        let hash = self.hasher.finalize();
        self.hasher.reset();
        self.is_within = false;
        self.count(&hash);
    }

    fn count(&mut self, hash: &blake3::Hash) {
        let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(half));
    }

    /// The items of another one, too.
    pub(crate) fn merge(&mut self, hex: &str) {
        self.sum = self.sum.wrapping_add(u128::from_str_radix(hex, 16).unwrap_or_default());
    }

    /// Of all items so far: 32 hex digits.
    pub(crate) fn to_hex(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&str]) -> String {
        let mut fingerprint = Fingerprint::default();
        for piece in pieces {
            fingerprint.add_rows(piece.as_bytes());
        }
        fingerprint.to_hex()
    }

    #[test]
    fn neither_order_nor_pieces_matter_and_rows_do() {
        let whole = of(&["one\ntwo\n\n"]);
        assert_eq!(whole, of(&["two\n\none\n"]));
        assert_eq!(whole, of(&["o", "ne", "\ntwo", "\n", "\n"]));
        assert_ne!(whole, of(&["one\ntwo\n"]));
        assert_ne!(whole, of(&["one\ntwo\n\n\n"]));
        assert_ne!(whole, of(&["onetwo\n\n"]));
        assert_ne!(of(&["one\n", "one\n"]), of(&["two\n", "two\n"]));
    }
}
