//! Which part of a task is whose, where several workers share it.

use std::fmt;

/// Worker `number` of `of`: what a hash falls to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 1.
    pub number: u32,
    /// How many workers there are.
    pub of: u32,
}

impl Share {
    /// Whether what has this name is this worker's: everything is one's, and always the same one's.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        let hash = blake3::hash(name);
        let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        number % u64::from(self.of.max(1)) == u64::from(self.number.saturating_sub(1))
    }

    /// Whether it does what is not divided.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.number == 1
    }
}

/// `2/8`
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_one_workers() {
        for name in [&b""[..], b"a", b"a/b", &[7; 32]] {
            assert_eq!((1..=5).filter(|&number| Share { number, of: 5 }.has(name)).count(), 1);
        }
        assert!(Share { number: 1, of: 1 }.has(b"x"));
    }
}
