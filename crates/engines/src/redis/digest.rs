//! What the keys of a database come to, in their order, whichever encodings a server keeps them in.

use std::io::Read;

use super::body::{self, Key};
use super::rdb::normal::normal;
use super::rdb::{Input, RdbError};

/// What is hashed at once, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Keys, and what they come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) keys: u64,
    pub(super) expires: u64,
    /// Hexadecimal.
    pub(super) digest: String,
}

/// Hashes many small pieces.
#[derive(Default)]
pub(super) struct Hash {
    hasher: blake3::Hasher,
    held: Vec<u8>,
}

impl Hash {
    fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE_BYTES {
            self.hasher.update(&self.held);
            self.held.clear();
        }
    }

    /// Of all that it took; it is as new then.
    pub(super) fn finish(&mut self) -> blake3::Hash {
        self.hasher.update(&self.held);
        self.held.clear();
        let hash = self.hasher.finalize();
        self.hasher.reset();
        hash
    }

    /// A key and its value. Tells whether anything of it is left at `cutoff_ms`.
    ///
    /// # Errors
    /// As [`normal`].
    pub(super) fn take_key<R: Read>(
        &mut self,
        key: Key,
        name: &[u8],
        input: &mut Input<R>,
        cutoff_ms: u64,
    ) -> Result<bool, RdbError> {
        self.take(&(name.len() as u64).to_le_bytes());
        self.take(name);
        self.take(&key.expires_ms.unwrap_or(u64::MAX).to_le_bytes());
        normal(input, key.code, cutoff_ms, &mut |bytes| self.take(bytes))
    }
}

/// Reads a database to its end.
///
/// # Errors
/// What is wrong with it, and what reading fails with.
pub(super) fn of(reader: impl Read) -> Result<Digest, RdbError> {
    let mut input = Input::new(reader);
    let (mut hash, mut name) = (Hash::default(), Vec::new());
    let (mut keys, mut expires) = (0, 0);
    while let Some(key) = body::next_key(&mut input, &mut name)? {
        hash.take_key(key, &name, &mut input, 0)?;
        keys += 1;
        expires += u64::from(key.expires_ms.is_some());
    }
    Ok(Digest { keys, expires, digest: hash.finish().to_hex().to_string() })
}
