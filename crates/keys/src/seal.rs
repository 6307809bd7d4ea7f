//! Sealing whole objects under the metadata key (`format-spec/sealing.md#objects`).

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use strongroom_format::body::{self, Body};
use strongroom_format::header::{BOUND_LENGTH, HEADER_LENGTH, Header};
use strongroom_format::pack::TAG_LENGTH;
use strongroom_format::registry::{ObjectKind, Purpose};
use strongroom_format::{Commitment, KeyId, PublicKey, RepositoryId, Salt, Signature, WriterId};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::derive::{commitment, derive, key_and_commitment};
use crate::frame::FrameKey;
use crate::sign::{Signer, verify_object};
use crate::{KeysError, Secret};

/// Plaintext of a segment, bytes.
pub const SEGMENT_BYTES: usize = 1 << 20;

pub(crate) const SEGMENT: u8 = 1;
pub(crate) const LAST_SEGMENT: u8 = 2;
const PADDING: u8 = 3;
const FOOTER: u8 = 4;

/// The metadata key, and what is derived from it.
pub struct MetadataKey {
    id: KeyId,
    repository: RepositoryId,
    commitment: Commitment,
    footer: Secret,
    index: Secret,
    journal: Secret,
    checkpoint: Secret,
    part: Secret,
    wal_head: Secret,
    nodes: FrameKey,
    local: Secret,
}

impl std::fmt::Debug for MetadataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MetadataKey({})", self.id)
    }
}

/// An opened object: its signature is not verified until [`OpenedObject::verify`].
#[derive(Debug)]
pub struct OpenedObject {
    header: [u8; HEADER_LENGTH],
    kind: ObjectKind,
    plaintext: Vec<u8>,
}

impl MetadataKey {
    /// Derives the subkeys.
    #[must_use]
    pub fn new(id: KeyId, repository: RepositoryId, key: &Secret) -> Self {
        let sub = |context| Secret::new(derive(context, key.expose()));
        Self {
            id,
            repository,
            commitment: commitment(key, repository, id, Purpose::Metadata),
            footer: sub("strongroom 2026 v1 seal footer"),
            index: sub("strongroom 2026 v1 seal index"),
            journal: sub("strongroom 2026 v1 seal journal"),
            checkpoint: sub("strongroom 2026 v1 seal checkpoint"),
            part: sub("strongroom 2026 v1 seal part"),
            wal_head: sub("strongroom 2026 v1 seal wal head"),
            nodes: FrameKey::new(id, repository, sub("strongroom 2026 v1 seal node frame")),
            local: sub("strongroom 2026 v1 seal local"),
        }
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Its commitment.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// The repository it belongs to.
    #[must_use]
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The key that seals frames of tree nodes.
    #[must_use]
    pub fn node_key(&self) -> &FrameKey {
        &self.nodes
    }

    /// The subkey of what a host keeps for itself.
    pub(crate) fn local(&self) -> &Secret {
        &self.local
    }

    fn whole(kind: ObjectKind) -> Result<(), KeysError> {
        match kind {
            ObjectKind::Index
            | ObjectKind::Entry
            | ObjectKind::Checkpoint
            | ObjectKind::Part
            | ObjectKind::Wal => Ok(()),
            _ => Err(KeysError::WrongKind),
        }
    }

    fn subkey(&self, kind: ObjectKind) -> Result<&Secret, KeysError> {
        match kind {
            ObjectKind::DataPack | ObjectKind::MetadataPack => Ok(&self.footer),
            ObjectKind::Index => Ok(&self.index),
            ObjectKind::Entry => Ok(&self.journal),
            ObjectKind::Checkpoint => Ok(&self.checkpoint),
            ObjectKind::Part => Ok(&self.part),
            ObjectKind::Wal => Ok(&self.wal_head),
            _ => Err(KeysError::WrongKind),
        }
    }

    fn begin(&self, kind: ObjectKind, salt: Salt) -> Result<(Header, ChaCha20Poly1305), KeysError> {
        let mut header =
            Header { kind, repository: self.repository, key: self.id, salt, commitment: Commitment([0; 32]) };
        let (key, commitment) = self.object_key(kind, &header.encode())?;
        header.commitment = commitment;
        Ok((header, key))
    }

    fn object_key(
        &self,
        kind: ObjectKind,
        header: &[u8; HEADER_LENGTH],
    ) -> Result<(ChaCha20Poly1305, Commitment), KeysError> {
        let (key, commitment) = key_and_commitment(self.subkey(kind)?.expose(), &[&header[..BOUND_LENGTH]]);
        let key = Zeroizing::new(key);
        Ok((ChaCha20Poly1305::new(&(*key).into()), commitment))
    }

    /// Decodes a stored header and derives the object's key; the commitment is compared here.
    fn resume(
        &self,
        kind: ObjectKind,
        stored: &[u8],
    ) -> Result<([u8; HEADER_LENGTH], ChaCha20Poly1305), KeysError> {
        let header = Header::decode(stored)?;
        if header.repository != self.repository {
            return Err(KeysError::WrongRepository);
        }
        if header.kind != kind {
            return Err(KeysError::WrongKind);
        }
        if header.key != self.id {
            return Err(KeysError::OtherKey { needed: header.key });
        }
        let bytes = header.encode();
        let (cipher, expected) = self.object_key(kind, &bytes)?;
        if !bool::from(expected.0.ct_eq(&header.commitment.0)) {
            return Err(KeysError::Commitment);
        }
        Ok((bytes, cipher))
    }

    /// Seals `content`, signed by `signer`. `logical_path` is the object's name where that is not its hash,
    /// else empty; `floor_bytes` the smallest plaintext.
    ///
    /// # Errors
    /// `WrongKind` for kinds that are not whole objects; `Format` for content of 4 GiB.
    pub fn seal(
        &self,
        kind: ObjectKind,
        logical_path: &str,
        floor_bytes: u64,
        content: &[u8],
        signer: &Signer,
        salt: Salt,
    ) -> Result<Vec<u8>, KeysError> {
        Self::whole(kind)?;
        let (header, cipher) = self.begin(kind, salt)?;
        let header = header.encode();
        let signed = body::signed_part(content, signer.id())?;
        let signature = signer.sign_object(kind, &[&header, &signed]);
        let plaintext = body::finish(signed, &signature, floor_bytes);
        let mut out = Vec::with_capacity(
            HEADER_LENGTH + plaintext.len() + TAG_LENGTH * (plaintext.len() / SEGMENT_BYTES + 1),
        );
        out.extend_from_slice(&header);
        let mut segments = plaintext.chunks(SEGMENT_BYTES).peekable();
        let mut counter = 0;
        while let Some(segment) = segments.next() {
            let part = if segments.peek().is_some() { SEGMENT } else { LAST_SEGMENT };
            append_sealed(&cipher, &nonce(part, counter), logical_path.as_bytes(), segment, &mut out)?;
            counter += 1;
        }
        Ok(out)
    }

    /// Opens a whole object.
    ///
    /// # Errors
    /// `Format`, `WrongRepository`, `WrongKind`, `OtherKey`, `Commitment`, `Tampered`.
    pub fn open(
        &self,
        kind: ObjectKind,
        logical_path: &str,
        bytes: &[u8],
    ) -> Result<OpenedObject, KeysError> {
        Self::whole(kind)?;
        let (header, cipher) = self.resume(kind, bytes)?;
        let sealed = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        let mut plaintext = Vec::with_capacity(sealed.len());
        let mut segments = sealed.chunks(SEGMENT_BYTES + TAG_LENGTH).peekable();
        let mut counter = 0;
        if segments.peek().is_none() {
            return Err(KeysError::Tampered);
        }
        while let Some(segment) = segments.next() {
            let part = if segments.peek().is_some() { SEGMENT } else { LAST_SEGMENT };
            append_opened(&cipher, &nonce(part, counter), logical_path.as_bytes(), segment, &mut plaintext)?;
            counter += 1;
        }
        Body::decode(&plaintext)?;
        Ok(OpenedObject { header, kind, plaintext })
    }

    /// Begins a pack.
    ///
    /// # Errors
    /// `WrongKind` for what is no pack.
    pub fn begin_pack(&self, kind: ObjectKind, salt: Salt) -> Result<PackSealer, KeysError> {
        if !matches!(kind, ObjectKind::DataPack | ObjectKind::MetadataPack) {
            return Err(KeysError::WrongKind);
        }
        let (header, cipher) = self.begin(kind, salt)?;
        Ok(PackSealer { header: header.encode(), cipher })
    }

    /// Takes up a stored pack by its header.
    ///
    /// # Errors
    /// As [`MetadataKey::open`].
    pub fn resume_pack(&self, kind: ObjectKind, stored: &[u8]) -> Result<PackSealer, KeysError> {
        let (header, cipher) = self.resume(kind, stored)?;
        Ok(PackSealer { header, cipher })
    }
}

impl OpenedObject {
    /// The body, not yet verified.
    ///
    /// # Errors
    /// `Format` never, in an object that [`MetadataKey::open`] gave.
    pub fn body(&self) -> Result<Body<'_>, KeysError> {
        Ok(Body::decode(&self.plaintext)?)
    }

    /// Who claims to have signed it.
    ///
    /// # Errors
    /// As [`OpenedObject::body`].
    pub fn claimed_signer(&self) -> Result<WriterId, KeysError> {
        Ok(self.body()?.signer)
    }

    /// The content, once the signature is found to hold.
    ///
    /// # Errors
    /// `Signature`, `PublicKey`.
    pub fn verify(&self, public: &PublicKey) -> Result<&[u8], KeysError> {
        let body = self.body()?;
        verify_object(public, self.kind, &[&self.header, body.signed], &body.signature)?;
        Ok(body.content)
    }
}

/// Seals and opens the parts of one pack that are not frames.
pub struct PackSealer {
    header: [u8; HEADER_LENGTH],
    cipher: ChaCha20Poly1305,
}

impl PackSealer {
    /// The pack's header.
    #[must_use]
    pub fn header(&self) -> &[u8; HEADER_LENGTH] {
        &self.header
    }

    /// Appends padding of `length` bytes, its tag included, to `out`.
    ///
    /// # Errors
    /// `Tampered` never, for a length of at least a tag.
    pub fn append_padding(&self, length: usize, out: &mut Vec<u8>) -> Result<(), KeysError> {
        let zeros = vec![0; length.checked_sub(TAG_LENGTH).ok_or(KeysError::Tampered)?];
        append_sealed(&self.cipher, &nonce(PADDING, 0), &[], &zeros, out)
    }

    /// Whether sealed padding opens to zeros.
    ///
    /// # Errors
    /// `Tampered`.
    pub fn verify_padding(&self, sealed: &[u8]) -> Result<(), KeysError> {
        let mut plain = Vec::with_capacity(sealed.len());
        append_opened(&self.cipher, &nonce(PADDING, 0), &[], sealed, &mut plain)?;
        if plain.iter().all(|b| *b == 0) { Ok(()) } else { Err(KeysError::Tampered) }
    }

    /// Appends the sealed footer to `out`; `footer` is padded to its unit already.
    ///
    /// # Errors
    /// `Tampered` for a footer too long for the cipher: never in practice.
    pub fn append_footer(&self, footer: &[u8], out: &mut Vec<u8>) -> Result<(), KeysError> {
        append_sealed(&self.cipher, &nonce(FOOTER, 0), &[], footer, out)
    }

    /// Opens a sealed footer.
    ///
    /// # Errors
    /// `Tampered`.
    pub fn open_footer(&self, sealed: &[u8]) -> Result<Vec<u8>, KeysError> {
        let mut plain = Vec::with_capacity(sealed.len());
        append_opened(&self.cipher, &nonce(FOOTER, 0), &[], sealed, &mut plain)?;
        Ok(plain)
    }
}

/// The signature of a pack's footer, over the pack's header too.
#[must_use]
pub fn sign_footer(
    signer: &Signer,
    kind: ObjectKind,
    header: &[u8; HEADER_LENGTH],
    signed_part: &[u8],
) -> Signature {
    signer.sign_object(kind, &[header, signed_part])
}

pub(crate) fn nonce(part: u8, counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[0] = part;
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

pub(crate) fn append_sealed(
    cipher: &ChaCha20Poly1305,
    nonce: &[u8; 12],
    aad: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), KeysError> {
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = cipher
        .encrypt_inout_detached(&(*nonce).into(), aad, (&mut out[start..]).into())
        .map_err(|_| KeysError::Tampered)?;
    out.extend_from_slice(&tag);
    Ok(())
}

pub(crate) fn append_opened(
    cipher: &ChaCha20Poly1305,
    nonce: &[u8; 12],
    aad: &[u8],
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), KeysError> {
    let (body, tag) = sealed.split_last_chunk::<TAG_LENGTH>().ok_or(KeysError::Tampered)?;
    let start = out.len();
    out.extend_from_slice(body);
    cipher.decrypt_inout_detached(&(*nonce).into(), aad, (&mut out[start..]).into(), &(*tag).into()).map_err(
        |_| {
            out.truncate(start);
            KeysError::Tampered
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MetadataKey {
        MetadataKey::new(KeyId([12; 16]), RepositoryId([10; 16]), &Secret::new([2; 32]))
    }

    fn signer() -> Signer {
        Signer::new(WriterId([7; 16]), &Secret::new([7; 32]))
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        key()
            .seal(ObjectKind::Entry, "journal/0000000000000000", 1024, content, &signer(), Salt([0x66; 32]))
            .unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Vec<u8>, KeysError> {
        let opened = key().open(ObjectKind::Entry, "journal/0000000000000000", bytes)?;
        Ok(opened.verify(&signer().public())?.to_vec())
    }

    #[test]
    fn objects_round_trip_at_every_number_of_segments() {
        for length in [0, 1, 900, SEGMENT_BYTES - 84, SEGMENT_BYTES, 2 * SEGMENT_BYTES + 5] {
            let content = vec![0xa5; length];
            assert_eq!(open(&sealed(&content)).unwrap(), content);
        }
    }

    #[test]
    fn every_byte_is_bound() {
        let good = sealed(b"an entry");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "byte {at}");
        }
        assert!(matches!(
            open(&{
                let mut b = good.clone();
                b[20] ^= 1;
                b
            }),
            Err(KeysError::WrongRepository)
        ));
        assert!(matches!(
            open(&{
                let mut b = good.clone();
                b[40] ^= 1;
                b
            }),
            Err(KeysError::OtherKey { .. })
        ));
        assert!(matches!(
            open(&{
                let mut b = good.clone();
                b[60] ^= 1;
                b
            }),
            Err(KeysError::Commitment)
        ));
        assert!(matches!(
            open(&{
                let mut b = good.clone();
                b[100] ^= 1;
                b
            }),
            Err(KeysError::Commitment)
        ));
        assert!(matches!(
            open(&{
                let mut b = good;
                b[200] ^= 1;
                b
            }),
            Err(KeysError::Tampered)
        ));
    }

    #[test]
    fn segments_cannot_be_swapped_dropped_or_added_nor_objects_renamed() {
        let good = sealed(&vec![1; 3 * SEGMENT_BYTES]);
        let segment = SEGMENT_BYTES + TAG_LENGTH;
        let mut swapped = good.clone();
        let (a, b) = swapped[HEADER_LENGTH..].split_at_mut(segment);
        a.swap_with_slice(&mut b[..segment]);
        let dropped = [&good[..HEADER_LENGTH + segment], &good[HEADER_LENGTH + 2 * segment..]].concat();
        let truncated = good[..HEADER_LENGTH + 2 * segment].to_vec();
        let added = [&good[..], &good[HEADER_LENGTH..HEADER_LENGTH + segment]].concat();
        for bad in [swapped, dropped, truncated, added, good[..HEADER_LENGTH].to_vec()] {
            assert!(matches!(open(&bad), Err(KeysError::Tampered)));
        }
        assert!(matches!(
            key().open(ObjectKind::Entry, "journal/0000000000000001", &good),
            Err(KeysError::Tampered)
        ));
        assert!(matches!(key().open(ObjectKind::Index, "", &good), Err(KeysError::WrongKind)));
        let other = Signer::new(WriterId([7; 16]), &Secret::new([8; 32]));
        let opened = key().open(ObjectKind::Entry, "journal/0000000000000000", &good).unwrap();
        assert!(matches!(opened.verify(&other.public()), Err(KeysError::Signature)));
    }

    #[test]
    fn pack_parts() {
        let sealer = key().begin_pack(ObjectKind::DataPack, Salt([1; 32])).unwrap();
        let mut out = Vec::new();
        sealer.append_padding(100, &mut out).unwrap();
        assert_eq!(out.len(), 100);
        let again = key().resume_pack(ObjectKind::DataPack, sealer.header()).unwrap();
        again.verify_padding(&out).unwrap();
        let mut footer = Vec::new();
        sealer.append_footer(&[9; 4096], &mut footer).unwrap();
        assert_eq!(again.open_footer(&footer).unwrap(), vec![9; 4096]);
        assert!(again.verify_padding(&footer).is_err(), "a footer is no padding");
    }
}
