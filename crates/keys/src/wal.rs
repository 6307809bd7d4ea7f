//! Sealing the objects of log archives (`format-spec/wal.md`): a head under the metadata key, signed, and a body under
//! a data key, whose hash the head has. So a writer without the right to read can verify all of an object, and tell
//! the same bytes from others.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use strongroom_format::registry::ObjectKind;
use strongroom_format::wal::{
    BODY_PREFIX_LENGTH, HEAD_LENGTH, HEAD_PLAIN_BYTES, WalHead, body_length, padded_length,
};
use strongroom_format::{Commitment, FormatError, KeyId, PublicKey, RepositoryId, Salt, WriterId};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::derive::{content_hash, derive, key_and_commitment};
use crate::seal::{
    LAST_SEGMENT, MetadataKey, OpenedObject, SEGMENT, SEGMENT_BYTES, append_opened, append_sealed, nonce,
};
use crate::sign::Signer;
use crate::{KeysError, Secret};

const TAG: usize = 16;

/// A data key as the bodies of a log archive are sealed under it.
pub struct WalKey {
    id: KeyId,
    repository: RepositoryId,
    subkey: Secret,
}

impl std::fmt::Debug for WalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WalKey({})", self.id)
    }
}

impl WalKey {
    /// From a data key.
    #[must_use]
    pub fn from_data_key(id: KeyId, repository: RepositoryId, key: &Secret) -> Self {
        Self { id, repository, subkey: Secret::new(derive("strongroom 2026 v1 seal wal", key.expose())) }
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

    /// Seals a payload, padded with zeros, into a body of its own; `logical_path` is the object's name.
    ///
    /// # Errors
    /// `Format` for a payload of 4 GiB.
    pub fn seal_body(&self, logical_path: &str, payload: &[u8], salt: Salt) -> Result<Vec<u8>, KeysError> {
        let length = payload_length(payload)?;
        let padded = usize::try_from(padded_length(length)).unwrap_or(usize::MAX);
        let (cipher, commitment) = self.cipher(&salt);
        let mut out = Vec::with_capacity(usize::try_from(body_length(length)).unwrap_or(payload.len()));
        out.extend_from_slice(&salt.0);
        out.extend_from_slice(&commitment.0);
        let mut last = Vec::new();
        for (counter, at) in (0_u64..).zip((0..padded).step_by(SEGMENT_BYTES)) {
            let end = padded.min(at + SEGMENT_BYTES);
            let stored = payload.get(at.min(payload.len())..end.min(payload.len())).unwrap_or_default();
            let segment = if stored.len() == end - at {
                stored
            } else {
                last.clear();
                last.extend_from_slice(stored);
                last.resize(end - at, 0);
                &last
            };
            let part = if end < padded { SEGMENT } else { LAST_SEGMENT };
            append_sealed(&cipher, &nonce(part, counter), logical_path.as_bytes(), segment, &mut out)?;
        }
        Ok(out)
    }

    /// Opens a body into the payload that it holds.
    ///
    /// # Errors
    /// `Tampered`, `Commitment`; `Format` for a body of another length, or padding that is not zeros.
    pub fn open_body(
        &self,
        logical_path: &str,
        body: &[u8],
        payload_bytes: u32,
    ) -> Result<Vec<u8>, KeysError> {
        let expected = body_length(payload_bytes);
        if body.len() as u64 != expected {
            let (what, value) = ("body of a log archive", body.len() as u64);
            return Err(FormatError::Limit { what, value, limit: expected }.into());
        }
        let (prefix, sealed) = body.split_first_chunk::<BODY_PREFIX_LENGTH>().ok_or(KeysError::Tampered)?;
        let (salt, stored) = prefix.split_first_chunk::<32>().ok_or(KeysError::Tampered)?;
        let (cipher, commitment) = self.cipher(&Salt(*salt));
        if !bool::from(commitment.0.ct_eq(stored)) {
            return Err(KeysError::Commitment);
        }
        let mut plain = Vec::with_capacity(sealed.len());
        let mut segments = sealed.chunks(SEGMENT_BYTES + TAG).peekable();
        let mut counter = 0;
        while let Some(segment) = segments.next() {
            let part = if segments.peek().is_some() { SEGMENT } else { LAST_SEGMENT };
            append_opened(&cipher, &nonce(part, counter), logical_path.as_bytes(), segment, &mut plain)?;
            counter += 1;
        }
        let payload = payload_bytes as usize;
        if plain.get(payload..).is_none_or(|padding| padding.iter().any(|byte| *byte != 0)) {
            let (what, rule) = ("padding of a log archive", "it is zeros");
            return Err(FormatError::Rule { what, rule }.into());
        }
        plain.truncate(payload);
        Ok(plain)
    }
}

fn payload_length(payload: &[u8]) -> Result<u32, KeysError> {
    u32::try_from(payload.len()).map_err(|_| {
        let (what, value) = ("payload of a log archive", payload.len() as u64);
        FormatError::Limit { what, value, limit: u32::MAX.into() }.into()
    })
}

/// Puts an object together: the head, sealed and signed, and the body that it has the hash of.
///
/// # Errors
/// `Format` for a head that a reader would refuse, or that is not of this body.
pub fn seal_object(
    metadata: &MetadataKey,
    logical_path: &str,
    head: &WalHead,
    body: &[u8],
    signer: &Signer,
    salt: Salt,
) -> Result<Vec<u8>, KeysError> {
    if head.body_hash != content_hash(body) || body.len() as u64 != body_length(head.payload_bytes) {
        return Err(FormatError::Rule { what: "head of a log archive", rule: "it is of its body" }.into());
    }
    let content = head.encode()?;
    let sealed = metadata.seal(ObjectKind::Wal, logical_path, HEAD_PLAIN_BYTES, &content, signer, salt)?;
    if sealed.len() != HEAD_LENGTH {
        return Err(FormatError::Rule { what: "head of a log archive", rule: "it has 4096 bytes" }.into());
    }
    Ok([&sealed, body].concat())
}

/// The head of an object, opened, its signature not verified yet.
#[derive(Debug)]
pub struct OpenedHead {
    object: OpenedObject,
    head: WalHead,
    signer: WriterId,
}

/// Opens the head of an object, of which `stored` are the first bytes or all.
///
/// # Errors
/// As [`MetadataKey::open`].
pub fn open_head(metadata: &MetadataKey, logical_path: &str, stored: &[u8]) -> Result<OpenedHead, KeysError> {
    let sealed = stored.get(..HEAD_LENGTH).ok_or(FormatError::Truncated { what: "head of a log archive" })?;
    let object = metadata.open(ObjectKind::Wal, logical_path, sealed)?;
    let head = WalHead::decode(object.body()?.content)?;
    let signer = object.claimed_signer()?;
    Ok(OpenedHead { object, head, signer })
}

impl OpenedHead {
    /// Who claims to have signed it.
    #[must_use]
    pub fn claimed_signer(&self) -> WriterId {
        self.signer
    }

    /// What it claims to be.
    #[must_use]
    pub fn claimed(&self) -> &WalHead {
        &self.head
    }

    /// What it says, once the signature is found to hold.
    ///
    /// # Errors
    /// `Signature`, `PublicKey`.
    pub fn verify(self, public: &PublicKey) -> Result<WalHead, KeysError> {
        self.object.verify(public)?;
        Ok(self.head)
    }
}

/// The body of an object, which is whole: its length and hash are those that the head says. Needs no data key.
///
/// # Errors
/// `Tampered`; `Format` for an object of another length.
pub fn whole_body<'a>(head: &WalHead, stored: &'a [u8]) -> Result<&'a [u8], KeysError> {
    if stored.len() as u64 != head.object_bytes() {
        let (what, value) = ("object of a log archive", stored.len() as u64);
        return Err(FormatError::Limit { what, value, limit: head.object_bytes() }.into());
    }
    let body = stored.get(HEAD_LENGTH..).unwrap_or_default();
    if content_hash(body) == head.body_hash { Ok(body) } else { Err(KeysError::Tampered) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_format::ContentHash;
    use strongroom_format::pack::KeyRef;
    use strongroom_format::registry::Codec;
    use strongroom_format::wal::WalPart;
    use strongroom_format::wal_file::{LogFile, Segment};

    const NAME: &str = "wal/00";

    fn metadata() -> MetadataKey {
        MetadataKey::new(KeyId([12; 16]), RepositoryId([10; 16]), &Secret::new([2; 32]))
    }

    fn key() -> WalKey {
        WalKey::from_data_key(KeyId([13; 16]), RepositoryId([10; 16]), &Secret::new([3; 32]))
    }

    fn signer() -> Signer {
        Signer::new(WriterId([7; 16]), &Secret::new([7; 32]))
    }

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let body = key().seal_body(NAME, payload, Salt([0x55; 32])).unwrap();
        let head = WalHead {
            part: WalPart {
                source: "db".into(),
                system: 1,
                file: LogFile::Segment(Segment { timeline: 1, place: 1 }),
                part: 0,
                attempt: 0,
            },
            file_bytes: payload.len() as u64,
            file_hash: ContentHash([1; 32]),
            part_hash: ContentHash([1; 32]),
            key: KeyRef { id: KeyId([13; 16]), commitment: Commitment([4; 32]) },
            codec: Codec::Raw,
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            body_hash: content_hash(&body),
        };
        seal_object(&metadata(), NAME, &head, &body, &signer(), Salt([0x66; 32])).unwrap()
    }

    fn open(stored: &[u8]) -> Result<Vec<u8>, KeysError> {
        let head = open_head(&metadata(), NAME, stored)?.verify(&signer().public())?;
        key().open_body(NAME, whole_body(&head, stored)?, head.payload_bytes)
    }

    #[test]
    fn objects_round_trip_at_every_number_of_segments() {
        for length in [1, 262_143, 262_144, 262_145, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000] {
            let payload: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let stored = sealed(&payload);
            assert_eq!(stored.len() as u64, strongroom_format::wal::object_length(length));
            assert!(open(&stored).unwrap() == payload, "{length}");
        }
    }

    #[test]
    fn every_byte_is_bound() {
        let good = sealed(b"a segment");
        for at in (0..HEAD_LENGTH).chain((HEAD_LENGTH..good.len()).step_by(997)).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "byte {at}");
        }
        assert!(open(&good[..good.len() - 1]).is_err() && open(&good[..HEAD_LENGTH]).is_err());
        assert!(open(&good[..100]).is_err() && open(&[&good[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_body_is_bound_to_name_key_and_length() {
        let body = key().seal_body(NAME, b"a segment", Salt([0x55; 32])).unwrap();
        assert!(key().open_body(NAME, &body, 9).is_ok());
        assert!(matches!(key().open_body("wal/01", &body, 9), Err(KeysError::Tampered)));
        assert!(matches!(key().open_body(NAME, &body, 8), Err(KeysError::Format(_))));
        let other = WalKey::from_data_key(KeyId([14; 16]), RepositoryId([10; 16]), &Secret::new([3; 32]));
        assert!(matches!(other.open_body(NAME, &body, 9), Err(KeysError::Commitment)));
        let mut bad = body.clone();
        bad[70] ^= 1;
        assert!(matches!(key().open_body(NAME, &bad, 9), Err(KeysError::Tampered)));
        let mut bad = body;
        bad[0] ^= 1;
        assert!(matches!(key().open_body(NAME, &bad, 9), Err(KeysError::Commitment)));
    }
}
