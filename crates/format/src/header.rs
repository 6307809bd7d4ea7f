//! The 112-byte header of every sealed object (`format-spec/objects.md#object-header`).

use crate::little_endian::Fields;
use crate::registry::ObjectKind;
use crate::{Commitment, FormatError, KeyId, RepositoryId, Salt};

/// The first eight bytes of every sealed object.
pub const MAGIC: [u8; 8] = *b"STRNGRM1";
/// BLAKE3, ChaCha20-Poly1305, Ed25519, X25519: the only suite of version 1.
pub const SUITE: u8 = 1;
/// Length of the header, bytes.
pub const HEADER_LENGTH: usize = 112;
/// Length of the header up to the commitment: what the object's key is derived from.
pub const BOUND_LENGTH: usize = HEADER_LENGTH - 32;

/// The plain head of a sealed object. Every field is bound by the derived key and the commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the object is.
    pub kind: ObjectKind,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The metadata key it is sealed under.
    pub key: KeyId,
    /// Fresh for every sealing.
    pub salt: Salt,
    /// Compared before anything is opened.
    pub commitment: Commitment,
}

impl Header {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        out[..8].copy_from_slice(&MAGIC);
        out[8] = self.kind.number();
        out[9] = SUITE;
        out[12] = 112;
        out[16..32].copy_from_slice(&self.repository.0);
        out[32..48].copy_from_slice(&self.key.0);
        out[48..80].copy_from_slice(&self.salt.0);
        out[80..].copy_from_slice(&self.commitment.0);
        out
    }

    /// Reads the header off the front of `bytes`, which may be longer.
    ///
    /// # Errors
    /// `Truncated`, `Magic`, `Unknown` (kind, suite, flags, length).
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes, "object header");
        if fields.array::<8>()? != MAGIC {
            return Err(FormatError::Magic { what: "object header" });
        }
        let kind = ObjectKind::try_from(u64::from(fields.u8()?))?;
        let suite = fields.u8()?;
        if suite != SUITE {
            return Err(FormatError::Unknown { what: "cipher suite", value: suite.into() });
        }
        let flags = fields.u16()?;
        if flags != 0 {
            return Err(FormatError::Unknown { what: "header flags", value: flags.into() });
        }
        let length = fields.u32()?;
        if length != 112 {
            return Err(FormatError::Unknown { what: "header length", value: length.into() });
        }
        Ok(Self {
            kind,
            repository: RepositoryId(fields.array()?),
            key: KeyId(fields.array()?),
            salt: Salt(fields.array()?),
            commitment: Commitment(fields.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_fixed_byte_is_checked() {
        let header = Header {
            kind: ObjectKind::Entry,
            repository: RepositoryId([1; 16]),
            key: KeyId([2; 16]),
            salt: Salt([3; 32]),
            commitment: Commitment([4; 32]),
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for at in 0..16 {
            let mut bad = bytes;
            bad[at] ^= 0x80;
            assert!(Header::decode(&bad).is_err(), "byte {at}");
        }
        assert_eq!(Header::decode(&bytes[..111]), Err(FormatError::Truncated { what: "object header" }));
    }
}
