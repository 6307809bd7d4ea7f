//! Which keys are whose, where several workers share a bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One worker's part: the keys whose beginning, up to the first so many slashes, falls to it. What is new belongs to
/// exactly one worker, and to the same one every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub number: u32,
    /// How many workers there are.
    pub of: u32,
    /// How many slashes.
    pub depth: usize,
}

impl FromStr for Shard {
    type Err = String;

    /// `2/8`
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if 1 <= number && number <= of => Ok(Self { number, of, depth: 1 }),
            _ => Err("write I/N: this worker's number, from 1, and how many there are".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.number, self.of)
    }
}

impl Shard {
    /// Whether this worker has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        let hash = blake3::hash(self.group(key).unwrap_or(key).as_bytes());
        let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        number % u64::from(self.of) == u64::from(self.number - 1)
    }

    /// The beginning of a key that decides, with its last slash; none if it is the whole key.
    pub(super) fn group<'k>(&self, key: &'k str) -> Option<&'k str> {
        let (at, _) = key.match_indices('/').nth(self.depth.checked_sub(1)?)?;
        key.get(..=at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_worker() {
        for depth in [0, 1, 2] {
            for key in ["a", "a/b", "a/c", "b/c/d", "b/c/e", "/", "ü/x"] {
                let workers = (1..=5).filter(|&number| Shard { number, of: 5, depth }.has(key));
                assert_eq!(workers.count(), 1, "{key}");
            }
        }
        let shard = Shard { number: 1, of: 2, depth: 1 };
        assert_eq!(shard.has("a/b"), shard.has("a/x/y"));
        assert_eq!((shard.group("a/b"), shard.group("a")), (Some("a/"), None));
    }

    #[test]
    fn shards_are_understood() {
        assert_eq!("2/8".parse(), Ok(Shard { number: 2, of: 8, depth: 1 }));
        for wrong in ["", "0/8", "9/8", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
