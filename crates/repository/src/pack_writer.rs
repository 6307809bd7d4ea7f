//! Assembling packs: sealed frames in, whole objects out.

use strongroom_format::header::HEADER_LENGTH;
use strongroom_format::index::IndexedPack;
use strongroom_format::pack::{
    self, ChunkRecord, FOOTER_UNIT, Footer, FrameRecord, KeyRef, TAG_LENGTH, TRAILER_LENGTH,
};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{PackId, Salt, Signature, WriterId, padme};
use strongroom_keys::derive::content_hash;
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::{MetadataKey, PackSealer, sign_footer};
use strongroom_keys::sign::Signer;

use crate::error::RepositoryError;

/// Length of a full data pack, bytes.
const DATA_PACK_BYTES: usize = 16 << 20;
/// Length of a full metadata pack, bytes.
const METADATA_PACK_BYTES: usize = 4 << 20;
/// Shortest last data pack of a run, bytes.
const DATA_FLOOR_BYTES: u64 = 256 << 10;
/// Shortest last metadata pack of a run, bytes.
const METADATA_FLOOR_BYTES: u64 = 16 << 10;

/// A frame as it will be stored.
pub struct SealedFrame {
    /// Its record; place, key and author are filled in by the pack.
    pub record: FrameRecord,
    pub chunks: Vec<ChunkRecord>,
    pub bases: Vec<ChunkRecord>,
    pub key: KeyRef,
    /// Who sealed and signed it.
    pub author: WriterId,
    pub sealed: Vec<u8>,
}

/// A pack ready to be stored.
pub struct FinishedPack {
    pub kind: ObjectKind,
    pub id: PackId,
    pub bytes: Vec<u8>,
    pub indexed: IndexedPack,
}

/// A pack under construction.
pub struct PackWriter {
    kind: ObjectKind,
    sealer: PackSealer,
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
    keys: Vec<KeyRef>,
    authors: Vec<WriterId>,
    frames: Vec<FrameRecord>,
    chunks: Vec<ChunkRecord>,
    bases: Vec<ChunkRecord>,
}

impl PackWriter {
    pub fn new(
        kind: ObjectKind,
        metadata: &MetadataKey,
        random: &dyn Random,
    ) -> Result<Self, RepositoryError> {
        let seal = |source| RepositoryError::Seal { what: "a pack", source };
        let sealer = metadata.begin_pack(kind, Salt(random::array(random).map_err(seal)?)).map_err(seal)?;
        let mut bytes = Vec::with_capacity(target(kind));
        bytes.extend_from_slice(sealer.header());
        let mut hasher = blake3::Hasher::new();
        hasher.update(sealer.header());
        Ok(Self {
            kind,
            sealer,
            bytes,
            hasher,
            keys: Vec::new(),
            authors: Vec::new(),
            frames: Vec::new(),
            chunks: Vec::new(),
            bases: Vec::new(),
        })
    }

    /// Whether a frame still fits, with padding and footer, into a pack of the target length.
    pub fn fits(&self, frame: &SealedFrame) -> bool {
        let counts = Counts {
            keys: self.keys.len() + usize::from(!self.keys.contains(&frame.key)),
            authors: self.authors.len() + usize::from(!self.authors.contains(&frame.author)),
            frames: self.frames.len() + 1,
            records: self.chunks.len() + self.bases.len() + frame.chunks.len() + frame.bases.len(),
        };
        // Tables have a limit that only copies of many runs' frames come near.
        let has_room = counts.keys.max(counts.authors) <= usize::from(u16::MAX);
        self.frames.is_empty() || has_room && self.end(frame.sealed.len(), counts) <= target(self.kind)
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn counts(&self) -> Counts {
        Counts {
            keys: self.keys.len(),
            authors: self.authors.len(),
            frames: self.frames.len(),
            records: self.chunks.len() + self.bases.len(),
        }
    }

    /// Length of the whole object with so many more bytes, such a footer, and the smallest padding.
    fn end(&self, more: usize, counts: Counts) -> usize {
        self.bytes.len() + more + TAG_LENGTH + counts.sealed_footer_length() + TRAILER_LENGTH
    }

    pub fn push(&mut self, mut frame: SealedFrame) -> Result<(), RepositoryError> {
        let index = |value: usize| u32::try_from(value).map_err(|_| too_long("frame records"));
        let key = self.keys.iter().position(|key| *key == frame.key).unwrap_or_else(|| {
            self.keys.push(frame.key);
            self.keys.len() - 1
        });
        frame.record.key = u16::try_from(key).map_err(|_| too_long("key table"))?;
        let author = self.authors.iter().position(|author| *author == frame.author).unwrap_or_else(|| {
            self.authors.push(frame.author);
            self.authors.len() - 1
        });
        frame.record.author = u16::try_from(author).map_err(|_| too_long("author table"))?;
        frame.record.first_chunk = index(self.chunks.len())?;
        frame.record.first_base = index(self.bases.len())?;
        self.hasher.update(&frame.sealed);
        self.bytes.extend_from_slice(&frame.sealed);
        self.frames.push(frame.record);
        self.chunks.append(&mut frame.chunks);
        self.bases.append(&mut frame.bases);
        Ok(())
    }

    /// Pads, seals the footer and names the pack. A pack that is not the run's last is padded to the target.
    pub fn finish(mut self, signer: &Signer, is_last: bool) -> Result<FinishedPack, RepositoryError> {
        let seal = |source| RepositoryError::Seal { what: "a pack", source };
        let smallest = self.end(0, self.counts());
        let floor = if self.kind == ObjectKind::DataPack { DATA_FLOOR_BYTES } else { METADATA_FLOOR_BYTES };
        let padded = usize::try_from(padme(smallest as u64, floor)).unwrap_or(smallest);
        let length = if is_last {
            padded.min(target(self.kind).max(smallest))
        } else {
            target(self.kind).max(smallest)
        };
        let padding = TAG_LENGTH + length - smallest;
        let start = self.bytes.len();
        self.sealer.append_padding(padding, &mut self.bytes).map_err(seal)?;
        self.hasher.update(&self.bytes[start..]);
        let mut footer = Footer {
            pack_length: length as u64,
            padding_length: u32::try_from(padding).map_err(|_| too_long("padding"))?,
            keys: self.keys,
            authors: self.authors,
            frames: self.frames,
            chunks: self.chunks,
            bases: self.bases,
            content_hash: strongroom_format::ContentHash(*self.hasher.finalize().as_bytes()),
            signer: signer.id(),
            signature: Signature([0; 64]),
        };
        let unstorable = |source| RepositoryError::Unstorable { what: "a pack".into(), source };
        footer.validate().map_err(unstorable)?;
        let header: [u8; HEADER_LENGTH] = *self.sealer.header();
        footer.signature =
            sign_footer(signer, self.kind, &header, &footer.signed_part().map_err(unstorable)?);
        let plain = footer.encode().map_err(unstorable)?;
        let mut padded_footer = plain.clone();
        padded_footer.resize(plain.len().next_multiple_of(FOOTER_UNIT), 0);
        let start = self.bytes.len();
        self.sealer.append_footer(&padded_footer, &mut self.bytes).map_err(seal)?;
        let sealed_length = u32::try_from(self.bytes.len() - start).map_err(|_| too_long("footer"))?;
        self.bytes.extend_from_slice(&pack::encode_trailer(sealed_length));
        self.hasher.update(&self.bytes[start..]);
        let id = PackId(*self.hasher.finalize().as_bytes());
        debug_assert_eq!(self.bytes.len(), length);
        debug_assert_eq!(id.0, content_hash(&self.bytes).0);
        Ok(FinishedPack {
            kind: self.kind,
            id,
            bytes: self.bytes,
            indexed: IndexedPack { id, header, footer: plain },
        })
    }
}

/// Sizes of a footer's tables.
#[derive(Clone, Copy)]
struct Counts {
    keys: usize,
    authors: usize,
    frames: usize,
    records: usize,
}

impl Counts {
    fn sealed_footer_length(self) -> usize {
        let Self { keys, authors, frames, records } = self;
        pack::unpadded_length(keys, authors, frames, records).next_multiple_of(FOOTER_UNIT) + TAG_LENGTH
    }
}

/// Length of a full pack, bytes.
pub(crate) fn target(kind: ObjectKind) -> usize {
    if kind == ObjectKind::DataPack { DATA_PACK_BYTES } else { METADATA_PACK_BYTES }
}

fn too_long(what: &'static str) -> RepositoryError {
    let source = strongroom_format::FormatError::Limit { what, value: u64::MAX, limit: u32::MAX.into() };
    RepositoryError::Unstorable { what: "a pack".into(), source }
}
