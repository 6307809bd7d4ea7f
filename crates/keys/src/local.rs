//! Sealing what a host keeps for itself beside its cache: it opens with the host's metadata key, and so with nothing that
//! lies in the cache. Never stored in a repository, so the format does not know it.
//!
//! `key ID ‖ salt ‖ commitment ‖ ChaCha20-Poly1305(plain)`; the key is derived from a subkey of the metadata key, the
//! salt and what the bytes are for.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use strongroom_format::{KeyId, Salt};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::KeysError;
use crate::derive::key_and_commitment;
use crate::seal::{MetadataKey, append_opened, append_sealed};

/// The salt makes each key one of its own.
const NONCE: [u8; 12] = [0; 12];
const KEY_ID_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;

/// The metadata key that sealed these bytes.
///
/// # Errors
/// `Tampered` for fewer bytes than a key ID has.
pub fn key_of(sealed: &[u8]) -> Result<KeyId, KeysError> {
    sealed.first_chunk::<KEY_ID_BYTES>().map(|id| KeyId(*id)).ok_or(KeysError::Tampered)
}

impl MetadataKey {
    /// Seals `plain`, which is for `label` in this repository only. `salt` is 32 random bytes.
    ///
    /// # Errors
    /// `Tampered` for more than a cipher takes: never in practice.
    pub fn seal_local(&self, label: &[u8], plain: &[u8], salt: Salt) -> Result<Vec<u8>, KeysError> {
        let (cipher, commitment) = self.local_cipher(label, &salt.0);
        let mut out = [&self.id().0[..], &salt.0, &commitment].concat();
        append_sealed(&cipher, &NONCE, &[], plain, &mut out)?;
        Ok(out)
    }

    /// Opens what [`MetadataKey::seal_local`] sealed for `label`.
    ///
    /// # Errors
    /// `OtherKey`, `Commitment` (also for another label or repository), `Tampered`.
    pub fn open_local(&self, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let needed = key_of(sealed)?;
        if needed != self.id() {
            return Err(KeysError::OtherKey { needed });
        }
        let (salt, rest) = sealed
            .get(KEY_ID_BYTES..)
            .and_then(<[u8]>::split_first_chunk::<SALT_BYTES>)
            .ok_or(KeysError::Tampered)?;
        let (stored, body) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(KeysError::Tampered)?;
        let (cipher, commitment) = self.local_cipher(label, salt);
        if !bool::from(commitment.ct_eq(stored)) {
            return Err(KeysError::Commitment);
        }
        // All at once: a vector that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(body.len()));
        append_opened(&cipher, &NONCE, &[], body, &mut plain)?;
        Ok(plain)
    }

    fn local_cipher(
        &self,
        label: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> (ChaCha20Poly1305, [u8; COMMITMENT_BYTES]) {
        let (key, commitment) =
            key_and_commitment(self.local().expose(), &[salt, &self.repository().0, label]);
        let key = Zeroizing::new(key);
        (ChaCha20Poly1305::new(&(*key).into()), commitment.0)
    }
}

#[cfg(test)]
mod tests {
    use strongroom_format::RepositoryId;

    use super::*;
    use crate::Secret;

    fn key(repository: u8, secret: u8) -> MetadataKey {
        MetadataKey::new(KeyId([12; 16]), RepositoryId([repository; 16]), &Secret::new([secret; 32]))
    }

    #[test]
    fn it_opens_with_the_same_key_for_the_same_label_only() {
        let key_of_host = key(1, 2);
        for plain in [&b""[..], b"a secret"] {
            let sealed = key_of_host.seal_local(b"label", plain, Salt([9; 32])).unwrap();
            assert_eq!(key_of(&sealed).unwrap(), KeyId([12; 16]));
            assert_eq!(&**key_of_host.open_local(b"label", &sealed).unwrap(), plain);
            for (other, label) in [(key(1, 3), &b"label"[..]), (key(2, 2), b"label"), (key(1, 2), b"another")]
            {
                assert!(matches!(other.open_local(label, &sealed), Err(KeysError::Commitment)));
            }
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert!(key_of_host.open_local(b"label", &bad).is_err(), "byte {at}");
                assert!(key_of_host.open_local(b"label", &sealed[..at]).is_err(), "{at} bytes");
            }
        }
    }
}
