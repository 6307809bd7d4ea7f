//! Packs put together by hand: what is in them, where frames of other packs are moved to, and what they claim.

use anyhow::Result;
use strongroom_format::index::IndexedPack;
use strongroom_format::pack::{self, ChunkRecord, Footer, FrameRecord, KeyRef};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ContentHash, PackId, Salt, Signature, WriterId};
use strongroom_keys::derive::content_hash;
use strongroom_keys::frame::{BoundRecord, FrameKey};
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::{MetadataKey, PackSealer, sign_footer};
use strongroom_keys::sign::Signer;

/// A frame as it is stored, and as its pack describes it.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) record: FrameRecord,
    pub(crate) chunks: Vec<ChunkRecord>,
    pub(crate) bases: Vec<ChunkRecord>,
    pub(crate) bytes: Vec<u8>,
}

impl Sealed {
    /// Seals a payload that `record` describes, rightly or not.
    pub(crate) fn new(
        (record, chunks, bases): (FrameRecord, Vec<ChunkRecord>, Vec<ChunkRecord>),
        payload: &[u8],
        key: &FrameKey,
        author: &Signer,
        random: &dyn Random,
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        let bound = BoundRecord::new(&record, &chunks, &bases);
        key.seal(&bound, payload, author, Salt(random::array(random)?), &mut bytes)?;
        Ok(Self { record, chunks, bases, bytes })
    }
}

/// A pack under construction.
pub(crate) struct PackMaker {
    kind: ObjectKind,
    sealer: PackSealer,
    bytes: Vec<u8>,
    keys: Vec<KeyRef>,
    authors: Vec<WriterId>,
    frames: Vec<FrameRecord>,
    chunks: Vec<ChunkRecord>,
    bases: Vec<ChunkRecord>,
}

impl PackMaker {
    /// `keys` and `authors` are the tables of its footer, needed or not.
    pub(crate) fn new(
        kind: ObjectKind,
        metadata: &MetadataKey,
        keys: Vec<KeyRef>,
        authors: Vec<WriterId>,
        random: &dyn Random,
    ) -> Result<Self> {
        let sealer = metadata.begin_pack(kind, Salt(random::array(random)?))?;
        let bytes = sealer.header().to_vec();
        let (frames, chunks, bases) = Default::default();
        Ok(Self { kind, sealer, bytes, keys, authors, frames, chunks, bases })
    }

    /// Appends a sealed frame; its key and author are places in the tables.
    pub(crate) fn push(&mut self, frame: Sealed, key: u16, author: u16) -> Result<()> {
        self.bytes.extend_from_slice(&frame.bytes);
        self.frames.push(FrameRecord {
            first_chunk: u32::try_from(self.chunks.len())?,
            first_base: u32::try_from(self.bases.len())?,
            key,
            author,
            ..frame.record
        });
        self.chunks.extend(frame.chunks);
        self.bases.extend(frame.bases);
        Ok(())
    }

    /// Length of the whole object with `padding_length` bytes of padding.
    pub(crate) fn length(&self, padding_length: usize) -> usize {
        self.bytes.len() + padding_length + self.sealed_footer_length() + pack::TRAILER_LENGTH
    }

    fn sealed_footer_length(&self) -> usize {
        let records = self.chunks.len() + self.bases.len();
        pack::unpadded_length(self.keys.len(), self.authors.len(), self.frames.len(), records)
            .next_multiple_of(pack::FOOTER_UNIT)
            + pack::TAG_LENGTH
    }

    /// The pack as an index describes it, and its bytes. `padding_length` is 0, or at least a tag's.
    pub(crate) fn finish(mut self, signer: &Signer, padding_length: usize) -> Result<(IndexedPack, Vec<u8>)> {
        let (length, sealed_length) = (self.length(padding_length), self.sealed_footer_length());
        if padding_length > 0 {
            self.sealer.append_padding(padding_length, &mut self.bytes)?;
        }
        let mut footer = Footer {
            pack_length: length as u64,
            padding_length: u32::try_from(padding_length)?,
            keys: self.keys,
            authors: self.authors,
            frames: self.frames,
            chunks: self.chunks,
            bases: self.bases,
            content_hash: ContentHash(content_hash(&self.bytes).0),
            signer: signer.id(),
            signature: Signature([0; 64]),
        };
        footer.validate()?;
        let header = *self.sealer.header();
        footer.signature = sign_footer(signer, self.kind, &header, &footer.signed_part()?);
        let encoded = footer.encode()?;
        let mut padded = encoded.clone();
        padded.resize(encoded.len().next_multiple_of(pack::FOOTER_UNIT), 0);
        self.sealer.append_footer(&padded, &mut self.bytes)?;
        self.bytes.extend_from_slice(&pack::encode_trailer(u32::try_from(sealed_length)?));
        let id = PackId(content_hash(&self.bytes).0);
        Ok((IndexedPack { id, header, footer: encoded }, self.bytes))
    }
}
