//! How entries and checkpoints name packs and index objects.

use crate::cbor::{Decoder, Encoder};
use crate::registry::ObjectKind;
use crate::{ContentHash, FormatError, IndexId, PackId, SourceTag};

/// A pack that an entry brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRef {
    /// Data or metadata pack.
    pub kind: ObjectKind,
    /// The pack.
    pub id: PackId,
    /// Its length, bytes.
    pub length: u64,
}

/// An index object that an entry brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRef {
    /// The object.
    pub id: IndexId,
    /// Its folder.
    pub source_tag: SourceTag,
    /// Its length, bytes.
    pub length: u64,
}

/// What a verifier says of a pack: that it holds exactly what one description says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// The pack.
    pub pack: PackId,
    /// BLAKE3-256 of its stored header and encoded footer.
    pub description: ContentHash,
}

/// Writes `[pack ID, description]`.
pub(crate) fn encode_attestation(encoder: &mut Encoder, attestation: &Attestation) {
    encoder.array_head(2);
    encoder.bytes(&attestation.pack.0);
    encoder.bytes(&attestation.description.0);
}

/// Reads `[pack ID, description]`.
pub(crate) fn decode_attestation(decoder: &mut Decoder<'_>) -> Result<Attestation, FormatError> {
    decoder.tuple(2, |v| {
        Ok(Attestation {
            pack: PackId::try_from(v.bytes()?)?,
            description: ContentHash::try_from(v.bytes()?)?,
        })
    })
}

/// Writes `[ID, source tag, length]`.
pub(crate) fn encode_index(encoder: &mut Encoder, index: &IndexRef) {
    encoder.array_head(3);
    encoder.bytes(&index.id.0);
    encoder.bytes(&index.source_tag.0);
    encoder.uint(index.length);
}

/// Reads `[ID, source tag, length]`.
pub(crate) fn decode_index(decoder: &mut Decoder<'_>) -> Result<IndexRef, FormatError> {
    decoder.tuple(3, |v| {
        Ok(IndexRef {
            id: IndexId::try_from(v.bytes()?)?,
            source_tag: SourceTag::try_from(v.bytes()?)?,
            length: v.uint()?,
        })
    })
}

/// Writes `[kind, ID, length]`.
pub(crate) fn encode_pack(encoder: &mut Encoder, pack: &PackRef) {
    encoder.array_head(3);
    encoder.uint(pack.kind.number().into());
    encoder.bytes(&pack.id.0);
    encoder.uint(pack.length);
}

/// Reads `[kind, ID, length]`.
pub(crate) fn decode_pack(decoder: &mut Decoder<'_>) -> Result<PackRef, FormatError> {
    decoder.tuple(3, |v| {
        let kind = ObjectKind::try_from(v.uint()?)?;
        if !matches!(kind, ObjectKind::DataPack | ObjectKind::MetadataPack) {
            return Err(FormatError::Rule { what: "pack reference", rule: "it names a pack" });
        }
        Ok(PackRef { kind, id: PackId::try_from(v.bytes()?)?, length: v.uint()? })
    })
}
