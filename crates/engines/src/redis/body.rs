//! The keys of a database as they lie in a snapshot: read one by one.

use std::io::Read;

use super::rdb::{Input, Kind, RdbError, op, read_expiry, read_string};

/// A key; its value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) expires_ms: Option<u64>,
    /// The type of its value.
    pub(super) code: u8,
}

impl Key {
    /// Whether it had expired by then.
    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

/// The next key, whose name is put in place of what is in `name`; none at the end.
///
/// # Errors
/// `Type`, and what reading fails with.
pub(super) fn next_key<R: Read>(input: &mut Input<R>, name: &mut Vec<u8>) -> Result<Option<Key>, RdbError> {
    if input.is_at_end()? {
        return Ok(None);
    }
    let offset = input.offset();
    let (expires_ms, code) = read_expiry(input, op::EXPIRES_MS)?;
    if Kind::of(code).is_none() {
        return Err(RdbError::Type { code, offset });
    }
    read_string(input, name)?;
    Ok(Some(Key { expires_ms, code }))
}
