//! Opening a frame: unseal, decompress, verify each chunk.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_format::ChunkId;
use strongroom_format::pack::{ChunkRecord, FrameRecord};
use strongroom_format::registry::{Codec, ObjectKind};
use strongroom_keys::KeysError;
use strongroom_keys::frame::BoundRecord;

use super::Reader;
use crate::buffers::Buffers;
use crate::cache::PackEntry;
use crate::error::RepositoryError;
use crate::names;
use crate::stage::stage;
use crate::zstd::Decompressor;

/// What opening frames uses again and again.
#[derive(Default)]
pub(super) struct Opener {
    decompressors: Mutex<Vec<Decompressor>>,
    buffers: Arc<Buffers>,
}

impl Opener {
    fn decompress(
        &self,
        payload: &[u8],
        prefix: &[u8],
        plain_length: u32,
        plain: &mut Vec<u8>,
    ) -> Result<(), KeysError> {
        let _decompressing = stage!("decompress");
        let kept = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decompressor = kept.unwrap_or_default();
        let decompressed = decompressor.decompress(payload, prefix, plain_length, plain);
        self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).push(decompressor);
        decompressed
    }
}

/// An opened and verified frame.
pub struct Frame {
    plain: Vec<u8>,
    chunks: HashMap<ChunkId, Range<usize>>,
    buffers: Arc<Buffers>,
}

impl Frame {
    /// A chunk of it.
    pub(super) fn chunk(self: Arc<Self>, id: ChunkId) -> Option<ChunkBytes> {
        let range = self.chunks.get(&id)?.clone();
        Some(ChunkBytes { frame: self, range })
    }

    /// Its plaintext's length in bytes.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.plain));
    }
}

/// A chunk inside its frame.
#[derive(Clone)]
pub struct ChunkBytes {
    frame: Arc<Frame>,
    range: Range<usize>,
}

impl ChunkBytes {
    /// The chunk's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.frame.plain[self.range.clone()]
    }
}

impl Reader<'_> {
    /// Opens a sealed frame of `pack`, decompresses it and verifies every chunk.
    ///
    /// # Errors
    /// `Damaged`, `Inconsistent`, `DataKey`; `ChunkUnavailable` for a base that cannot be read.
    pub fn open_frame(
        &self,
        pack: &PackEntry,
        record: &FrameRecord,
        sealed: &[u8],
    ) -> Result<Frame, RepositoryError> {
        let object =
            || names::pack(pack.kind, pack.id).map_or_else(|_| pack.id.to_string(), |name| name.to_string());
        let damaged = |error: KeysError| RepositoryError::damaged(object())(error);
        let inconsistent =
            |reason: &str| RepositoryError::Inconsistent { object: object(), reason: reason.into() };
        let (chunks, bases) = (pack.footer.chunks_of(record), pack.footer.bases_of(record));
        let bound = BoundRecord::new(record, chunks, bases);
        let key = pack
            .footer
            .keys
            .get(usize::from(record.key))
            .ok_or_else(|| inconsistent("a frame names no key"))?;
        let opening = stage!("open");
        let buffers = &self.opener.buffers;
        let mut payload = buffers.take(sealed.len());
        if pack.kind == ObjectKind::DataPack {
            match &self.own {
                Some(own) => {
                    let key =
                        own.key(&pack.footer, record).ok_or_else(|| inconsistent("a key is not kept"))?;
                    key.open(&bound, sealed, &mut payload).map_err(damaged)?;
                }
                None => {
                    self.repository.data_key(key)?.open(&bound, sealed, &mut payload).map_err(damaged)?;
                }
            }
        } else {
            let metadata = self.repository.metadata.get(key.id).map_err(damaged)?;
            metadata.node_key().open(&bound, sealed, &mut payload).map_err(damaged)?;
        }
        drop(opening);
        let plain = match record.codec {
            Codec::Raw => payload,
            Codec::Zstd => {
                let prefix = self.prefix(pack.kind, record, bases)?;
                let mut plain = buffers.take(record.plain_length as usize);
                self.opener
                    .decompress(&payload, &prefix, record.plain_length, &mut plain)
                    .map_err(damaged)?;
                buffers.give(payload);
                buffers.give(prefix);
                plain
            }
        };
        if plain.len() != record.plain_length as usize {
            return Err(inconsistent("a frame has another length than its record says"));
        }
        self.verify(pack.kind, chunks, plain).ok_or_else(|| inconsistent("a chunk does not hash to its ID"))
    }

    fn prefix(
        &self,
        kind: ObjectKind,
        record: &FrameRecord,
        bases: &[ChunkRecord],
    ) -> Result<Vec<u8>, RepositoryError> {
        if bases.is_empty() {
            return Ok(Vec::new());
        }
        let mut prefix = self.opener.buffers.take(record.prefix_length as usize);
        for base in bases {
            let chunk = self.read(kind, base.id, record.depth)?;
            if chunk.as_bytes().len() != base.length as usize {
                return Err(RepositoryError::Inconsistent {
                    object: format!("base chunk {}", base.id),
                    reason: "it has another length than the frame says".into(),
                });
            }
            prefix.extend_from_slice(chunk.as_bytes());
        }
        Ok(prefix)
    }

    fn verify(&self, kind: ObjectKind, records: &[ChunkRecord], plain: Vec<u8>) -> Option<Frame> {
        let _hashing = stage!("hash");
        let identity = &self.repository.identity;
        let mut chunks = HashMap::with_capacity(records.len());
        let mut at = 0;
        for record in records {
            let range = at..at + record.length as usize;
            let bytes = plain.get(range.clone())?;
            let id =
                if kind == ObjectKind::DataPack { identity.chunk_id(bytes) } else { identity.node_id(bytes) };
            if id != record.id {
                return None;
            }
            at = range.end;
            chunks.insert(record.id, range);
        }
        Some(Frame { plain, chunks, buffers: Arc::clone(&self.opener.buffers) })
    }
}
