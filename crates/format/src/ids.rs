//! Identifiers: newtypes, never bare arrays.

use std::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The identifier in lowercase hexadecimal.
            #[must_use]
            pub fn to_hex(&self) -> String {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                self.0.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
            }

            /// Reads lowercase hexadecimal of exactly the right length.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $length * 2 { return None; }
                let digit = |c: u8| match c { b'0'..=b'9' => Some(c - b'0'), b'a'..=b'f' => Some(c - b'a' + 10), _ => None };
                let mut out = [0; $length];
                for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Some(Self(out))
            }

            /// The first eight hexadecimal digits, for messages.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_hex()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.to_hex()) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.to_hex()) }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = crate::FormatError;
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self).map_err(|_| crate::FormatError::Rule { what: stringify!($name), rule: concat!("it has ", $length, " bytes") })
            }
        }
    };
}

identifier!(
    /// Names a chunk (keyed hash of its bytes) or, in metadata packs, a tree node.
    ChunkId, 32
);
identifier!(
    /// Names a pack: BLAKE3-256 of the stored object.
    PackId, 32
);
identifier!(
    /// Names an index object: BLAKE3-256 of the stored object.
    IndexId, 32
);
identifier!(
    /// Names a snapshot: keyed hash of its manifest.
    SnapshotId, 32
);
identifier!(
    /// Names an object of a log archive: keyed hash of what it is a part of.
    WalId, 32
);
identifier!(
    /// BLAKE3-256 of some bytes.
    ContentHash, 32
);
identifier!(
    /// A commitment to a key.
    Commitment, 32
);
identifier!(
    /// A fresh random value from which one sealing derives its key.
    Salt, 32
);
identifier!(
    /// Keyed hash of a source's name: the folder of its index objects.
    SourceTag, 16
);
identifier!(
    /// Keyed hash of a group's name: the folder of its parts.
    GroupTag, 16
);
identifier!(
    /// Names a repository.
    RepositoryId, 16
);
identifier!(
    /// Names a key.
    KeyId, 16
);
identifier!(
    /// Names a signer of stored objects.
    WriterId, 16
);
identifier!(
    /// Names a recipient that keys are wrapped for.
    RecipientId, 16
);
identifier!(
    /// An Ed25519 or X25519 public key.
    PublicKey, 32
);
identifier!(
    /// An Ed25519 signature.
    Signature, 64
);

impl ChunkId {
    /// Stands in a chunk list for a hole: a run of zero bytes that is stored nowhere.
    pub const HOLE: ChunkId = ChunkId([0; 32]);
}

/// The ID of a tree node. In a metadata pack it stands where a data pack has chunk IDs.
pub type NodeId = ChunkId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways() {
        let id = KeyId(*b"0123456789abcdef");
        assert_eq!(KeyId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(KeyId::from_hex("00"), None);
        assert_eq!(KeyId::from_hex(&"A".repeat(32)), None);
    }
}
