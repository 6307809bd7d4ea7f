//! Sealing frames (`format-spec/sealing.md#frames`): bound to their chunk and base records and to nothing else,
//! signed by their author, so that a frame moves between packs unopened.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FRAME_RECORD_LENGTH, FrameRecord};
use strongroom_format::{Commitment, KeyId, PublicKey, RepositoryId, Salt, Signature};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::derive::{derive, key_and_commitment};
use crate::seal::{append_opened, append_sealed};
use crate::sign::{Signer, verify_message};
use crate::{KeysError, Secret};

const AUTHOR_LABEL: &[u8] = b"strongroom 2026 v1 frame author";
const AAD_LENGTH: usize = FRAME_RECORD_LENGTH + 32;

/// A key that seals frames: of one backup run, or of all tree nodes.
pub struct FrameKey {
    id: KeyId,
    repository: RepositoryId,
    subkey: Secret,
}

impl std::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameKey({})", self.id)
    }
}

impl FrameKey {
    pub(crate) fn new(id: KeyId, repository: RepositoryId, subkey: Secret) -> Self {
        Self { id, repository, subkey }
    }

    /// From the data key of a backup run.
    #[must_use]
    pub fn from_data_key(id: KeyId, repository: RepositoryId, key: &Secret) -> Self {
        Self::new(id, repository, Secret::new(derive("strongroom 2026 v1 seal frame", key.expose())))
    }

    /// The key's ID.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn cipher(&self, salt: &Salt) -> (ChaCha20Poly1305, Commitment) {
        let (key, commitment) =
            key_and_commitment(self.subkey.expose(), &[&self.repository.0, &self.id.0, &salt.0]);
        let key = Zeroizing::new(key);
        (ChaCha20Poly1305::new(&(*key).into()), commitment)
    }

    /// Seals `payload` (what `record` describes) and appends it to `out`: salt, commitment, ciphertext, tag,
    /// signature.
    ///
    /// # Errors
    /// `Tampered` never: the payload is far below the cipher's limit.
    pub fn seal(
        &self,
        record: &BoundRecord,
        payload: &[u8],
        author: &Signer,
        salt: Salt,
        out: &mut Vec<u8>,
    ) -> Result<(), KeysError> {
        if record.sealed_length() != payload.len() + FRAME_OVERHEAD as usize {
            return Err(KeysError::Format(strongroom_format::FormatError::Rule {
                what: "frame",
                rule: "its record says its sealed length",
            }));
        }
        let (cipher, commitment) = self.cipher(&salt);
        let start = out.len();
        out.extend_from_slice(&salt.0);
        out.extend_from_slice(&commitment.0);
        append_sealed(&cipher, &[0; 12], &record.0, payload, out)?;
        let sealed = &out[start..];
        let signature = author.sign_message(&author_message(sealed, record));
        out.extend_from_slice(&signature.0);
        Ok(())
    }

    /// Opens a sealed frame into `payload`, which is cleared first.
    ///
    /// # Errors
    /// `Commitment`, `Tampered`.
    pub fn open(&self, record: &BoundRecord, sealed: &[u8], payload: &mut Vec<u8>) -> Result<(), KeysError> {
        payload.clear();
        let parts = Parts::split(sealed)?;
        let (cipher, expected) = self.cipher(&Salt(*parts.salt));
        if !bool::from(expected.0.ct_eq(parts.commitment)) {
            return Err(KeysError::Commitment);
        }
        append_opened(&cipher, &[0; 12], &record.0, parts.ciphertext, payload)
    }
}

/// Who wrote a frame: checked when somebody else's index or pack claims it. Needs no data key.
///
/// # Errors
/// `Signature`, `PublicKey`, `Tampered` for a frame too short to have one.
pub fn verify_author(author: &PublicKey, record: &BoundRecord, sealed: &[u8]) -> Result<(), KeysError> {
    let (signed, signature) = sealed.split_last_chunk().ok_or(KeysError::Tampered)?;
    verify_message(author, &author_message(signed, record), &Signature(*signature))
}

/// What a frame is bound to: its record without its place, and the hash of its chunk and base records.
pub struct BoundRecord([u8; AAD_LENGTH]);

impl BoundRecord {
    /// Binds `record` to its chunks and bases.
    #[must_use]
    pub fn new(record: &FrameRecord, chunks: &[ChunkRecord], bases: &[ChunkRecord]) -> Self {
        let mut hasher = blake3::Hasher::new();
        chunks.iter().chain(bases).for_each(|chunk| {
            hasher.update(&chunk.encode());
        });
        let mut bound = [0; AAD_LENGTH];
        bound[..FRAME_RECORD_LENGTH].copy_from_slice(&record.encode_bound());
        bound[FRAME_RECORD_LENGTH..].copy_from_slice(hasher.finalize().as_bytes());
        Self(bound)
    }

    fn sealed_length(&self) -> usize {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]) as usize
    }
}

struct Parts<'a> {
    salt: &'a [u8; 32],
    commitment: &'a [u8; 32],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(sealed: &'a [u8]) -> Result<Self, KeysError> {
        let (salt, rest) = sealed.split_first_chunk().ok_or(KeysError::Tampered)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or(KeysError::Tampered)?;
        let (ciphertext, _) = rest.split_last_chunk::<64>().ok_or(KeysError::Tampered)?;
        Ok(Self { salt, commitment, ciphertext })
    }
}

/// The author signs the sealed bytes themselves: an AEAD tag alone does not bind them for whoever has the key.
fn author_message(sealed: &[u8], record: &BoundRecord) -> Vec<u8> {
    [AUTHOR_LABEL, blake3::hash(sealed).as_bytes(), &record.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_format::registry::Codec;
    use strongroom_format::{ChunkId, WriterId};

    #[test]
    fn frames_bind_their_records_and_authors() {
        let key = FrameKey::from_data_key(KeyId([13; 16]), RepositoryId([10; 16]), &Secret::new([3; 32]));
        let author = Signer::new(WriterId([7; 16]), &Secret::new([7; 32]));
        let chunks = [ChunkRecord { id: ChunkId([9; 32]), length: 5 }];
        let record = FrameRecord {
            sealed_length: 149,
            plain_length: 5,
            prefix_length: 0,
            first_chunk: 3,
            first_base: 0,
            chunk_count: 1,
            base_count: 0,
            key: 1,
            author: 2,
            codec: Codec::Raw,
            depth: 0,
            closure: 0,
        };
        let bound = BoundRecord::new(&record, &chunks, &[]);
        let mut sealed = Vec::new();
        key.seal(&bound, b"hello", &author, Salt([0x55; 32]), &mut sealed).unwrap();
        assert_eq!(sealed.len(), 149);
        let mut plain = Vec::new();
        key.open(&bound, &sealed, &mut plain).unwrap();
        assert_eq!(plain, b"hello");
        verify_author(&author.public(), &bound, &sealed).unwrap();

        let moved = FrameRecord { first_chunk: 0, key: 0, author: 0, ..record };
        key.open(&BoundRecord::new(&moved, &chunks, &[]), &sealed, &mut plain).unwrap();
        for other in [
            FrameRecord { depth: 1, ..record },
            FrameRecord { plain_length: 6, ..record },
            FrameRecord { closure: 1, ..record },
        ] {
            let other = BoundRecord::new(&other, &chunks, &[]);
            assert!(matches!(key.open(&other, &sealed, &mut plain), Err(KeysError::Tampered)));
            assert!(matches!(verify_author(&author.public(), &other, &sealed), Err(KeysError::Signature)));
        }
        let other = BoundRecord::new(&record, &[ChunkRecord { id: ChunkId([8; 32]), length: 5 }], &[]);
        assert!(matches!(key.open(&other, &sealed, &mut plain), Err(KeysError::Tampered)));
        for (at, commitment) in [(0, true), (40, true), (66, false), (80, false)] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            let result = key.open(&bound, &bad, &mut plain);
            assert_eq!(matches!(result, Err(KeysError::Commitment)), commitment, "{at}");
            assert!(result.is_err() && plain.is_empty());
        }
        let wrong = FrameKey::from_data_key(KeyId([13; 16]), RepositoryId([10; 16]), &Secret::new([4; 32]));
        assert!(matches!(wrong.open(&bound, &sealed, &mut plain), Err(KeysError::Commitment)));
    }
}
