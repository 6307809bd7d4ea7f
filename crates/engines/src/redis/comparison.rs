//! Two databases, key by key.

use std::cmp::Ordering;
use std::io::Read;

use super::body::{self, Key};
use super::digest::Hash;
use super::rdb::{Input, RdbError};

/// Keys that are named; of more only the number is told.
const MOST_NAMED: usize = 10;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Keys of the first.
    pub(super) keys: u64,
    /// Keys that had expired by then, in whichever of the two.
    pub(super) expired: u64,
    /// The first ones that differ, in words.
    named: Vec<String>,
    more: u64,
}

/// A database at one of its keys.
struct Cursor<R> {
    input: Input<R>,
    name: Vec<u8>,
    key: Option<Key>,
    hash: Hash,
}

impl<R: Read> Cursor<R> {
    fn new(reader: R) -> Result<Self, RdbError> {
        let mut cursor =
            Self { input: Input::new(reader), name: Vec::new(), key: None, hash: Hash::default() };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), RdbError> {
        self.key = body::next_key(&mut self.input, &mut self.name)?;
        Ok(())
    }

    /// What the key and its value come to; none if nothing of it is left.
    fn value(&mut self, key: Key, cutoff_ms: u64) -> Result<Option<blake3::Hash>, RdbError> {
        let is_left = self.hash.take_key(key, &self.name, &mut self.input, cutoff_ms)?;
        Ok(Some(self.hash.finish()).filter(|_| is_left && !key.has_expired(cutoff_ms)))
    }
}

/// Why they could not be compared.
#[derive(Debug)]
pub(super) enum Side {
    Stored(RdbError),
    Restored(RdbError),
}

impl Comparison {
    /// Of what was stored with what was restored; what expires at `cutoff_ms` or before may be there or not.
    pub(super) fn of(stored: impl Read, restored: impl Read, cutoff_ms: u64) -> Result<Self, Side> {
        let mut found = Self::default();
        let mut one = Cursor::new(stored).map_err(Side::Stored)?;
        let mut other = Cursor::new(restored).map_err(Side::Restored)?;
        loop {
            let order = match (one.key, other.key) {
                (None, None) => return Ok(found),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), Some(_)) => one.name.cmp(&other.name),
            };
            let mut values = (None, None);
            if let Some(key) = one.key.filter(|_| order.is_le()) {
                values.0 = one.value(key, cutoff_ms).map_err(Side::Stored)?;
                found.keys += 1;
            }
            if let Some(key) = other.key.filter(|_| order.is_ge()) {
                values.1 = other.value(key, cutoff_ms).map_err(Side::Restored)?;
            }
            let name = if order.is_le() { &one.name } else { &other.name };
            match values {
                (None, None) => found.expired += 1,
                (Some(_), None) => found.differs(name, "is missing"),
                (None, Some(_)) => found.differs(name, "was not backed up"),
                (Some(stored), Some(restored)) if stored != restored => {
                    found.differs(name, "has another value")
                }
                _ => {}
            }
            if order.is_le() {
                one.advance().map_err(Side::Stored)?;
            }
            if order.is_ge() {
                other.advance().map_err(Side::Restored)?;
            }
        }
    }

    fn differs(&mut self, name: &[u8], how: &str) {
        if self.named.len() < MOST_NAMED {
            self.named.push(format!("key `{}` {how}", String::from_utf8_lossy(name)));
        } else {
            self.more += 1;
        }
    }

    /// What differs, in words.
    pub(super) fn differences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("and {} more keys", self.more));
        }
        self.named
    }
}

#[cfg(test)]
mod tests {
    use super::super::rdb::write_string;
    use super::*;

    fn database(keys: &[(&str, &str, Option<u64>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value, expires_ms) in keys {
            if let Some(expires_ms) = expires_ms {
                bytes.push(252);
                bytes.extend(expires_ms.to_le_bytes());
            }
            bytes.push(0);
            write_string(&mut bytes, name.as_bytes()).unwrap();
            write_string(&mut bytes, value.as_bytes()).unwrap();
        }
        bytes
    }

    #[test]
    fn what_differs_is_named_and_what_expired_is_not() {
        let stored = database(&[
            ("a", "1", None),
            ("b", "2", None),
            ("c", "3", Some(5)),
            ("d", "4", Some(50)),
            ("e", "5", None),
        ]);
        let restored = database(&[
            ("a", "1", None),
            ("b", "x", None),
            ("d", "4", Some(51)),
            ("f", "6", None),
            ("g", "7", Some(9)),
        ]);
        let found = Comparison::of(&stored[..], &restored[..], 10).unwrap();
        assert_eq!((found.keys, found.expired), (5, 2));
        assert_eq!(
            found.differences(),
            [
                "key `b` has another value",
                "key `d` has another value",
                "key `e` is missing",
                "key `f` was not backed up"
            ]
        );
    }
}
