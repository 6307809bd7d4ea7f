//! Integers of an archive: a byte for the sign, then as many bytes as the head says, the least significant first.

use super::ArchiveError;

/// Bytes of an integer, without its sign: no machine writes more.
const MOST_BYTES: usize = 8;

/// How integers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integers {
    bytes: usize,
}

impl Integers {
    /// # Errors
    /// `Malformed` for a size that no integer has.
    pub(super) fn of_size(bytes: u8) -> Result<Self, ArchiveError> {
        let bytes = usize::from(bytes);
        if bytes == 0 || bytes > MOST_BYTES {
            return Err(ArchiveError::Malformed { rule: "an integer has 1 to 8 bytes" });
        }
        Ok(Self { bytes })
    }

    /// Its sign included.
    pub(super) fn stored_bytes(self) -> usize {
        self.bytes + 1
    }

    /// # Errors
    /// `Malformed` for one that is larger than 63 bits.
    pub(super) fn decode(self, stored: &[u8]) -> Result<i64, ArchiveError> {
        let too_large = ArchiveError::Malformed { rule: "an integer fits into 63 bits" };
        let (Some((sign, digits)), true) = (stored.split_first(), stored.len() == self.stored_bytes()) else {
            return Err(ArchiveError::Truncated { what: "an integer" });
        };
        let mut bytes = [0; MOST_BYTES];
        bytes[..digits.len()].copy_from_slice(digits);
        let value = i64::try_from(u64::from_le_bytes(bytes)).map_err(|_| too_large)?;
        Ok(if *sign == 0 { value } else { -value })
    }

    /// As it is stored; of one that is too large, what fits.
    pub(super) fn encode(self, value: i64) -> Vec<u8> {
        let digits = value.unsigned_abs().to_le_bytes().into_iter().take(self.bytes);
        std::iter::once(u8::from(value < 0)).chain(digits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_signs_and_no_more_than_fits() {
        let four = Integers::of_size(4).unwrap();
        assert_eq!(four.decode(&[0, 1, 2, 0, 0]).unwrap(), 513);
        assert_eq!(four.decode(&[1, 1, 0, 0, 0]).unwrap(), -1);
        assert!(matches!(four.decode(&[0, 1]), Err(ArchiveError::Truncated { .. })));
        for value in [513, -1, 0] {
            assert_eq!(four.decode(&four.encode(value)).unwrap(), value);
        }
        let eight = Integers::of_size(8).unwrap();
        assert!(matches!(eight.decode(&[0xff; 9]), Err(ArchiveError::Malformed { .. })));
        assert!(Integers::of_size(0).is_err() && Integers::of_size(9).is_err());
    }
}
