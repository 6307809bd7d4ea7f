//! Which keys are whose, where several workers share a bucket.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_repository::share::Share;

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

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.number, self.of)
    }
}

impl Shard {
    /// Whether this worker has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        let share = Share { number: self.number, of: self.of };
        share.has(self.group(key).unwrap_or(key).as_bytes())
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
}
