//! Workers: they hash and look up batches, and compress and seal frames.

use crossbeam_channel::{Receiver, Sender, select_biased};
use strongroom_format::Salt;
use strongroom_format::node::ListItem;
use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FrameRecord, KeyRef};
use strongroom_format::registry::{Codec, ObjectKind};
use strongroom_keys::frame::{BoundRecord, FrameKey};
use strongroom_keys::random;

use super::lane::{Batch, Item};
use super::run::Run;
use crate::error::RepositoryError;
use crate::pack_writer::SealedFrame;
use crate::zstd::Compressor;

/// A batch whose chunks are named; `new` tells which are to be stored.
pub(crate) struct Hashed {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) items: Vec<Item>,
    pub(crate) chunks: Vec<HashedChunk>,
}

#[derive(Clone, Copy)]
pub(crate) struct HashedChunk {
    pub(crate) item: ListItem,
    pub(crate) is_new: bool,
}

/// New chunks to be compressed and sealed together.
pub(crate) struct FrameJob {
    pub(crate) plain: Vec<u8>,
    pub(crate) chunks: Vec<ChunkRecord>,
}

/// Works until both channels are closed. Frames go first: they free what collectors wait for.
pub(crate) fn work(
    run: &Run<'_>,
    batches: &Receiver<(Batch, Sender<Hashed>)>,
    frames: &Receiver<FrameJob>,
    sealed: &Sender<(ObjectKind, SealedFrame)>,
) -> Result<(), RepositoryError> {
    let mut sealer = FrameSealer::new(run)?;
    let (mut batches_open, mut frames_open) = (true, true);
    let never = crossbeam_channel::never();
    let never_frame = crossbeam_channel::never();
    while batches_open || frames_open {
        select_biased! {
            recv(run.failure.tripped()) -> _ => return Err(RepositoryError::Cancelled),
            recv(if frames_open { frames } else { &never_frame }) -> job => match job {
                Ok(job) => {
                    let frame = sealer.seal_data(job)?;
                    run.failure.send(sealed, (ObjectKind::DataPack, frame))?;
                }
                Err(_) => frames_open = false,
            },
            recv(if batches_open { batches } else { &never }) -> batch => match batch {
                Ok((batch, results)) => {
                    let hashed = hash(run, batch)?;
                    // A collector that is gone has failed, and said so.
                    results.send(hashed).map_err(|_| RepositoryError::Cancelled)?;
                }
                Err(_) => batches_open = false,
            },
        }
    }
    Ok(())
}

fn hash(run: &Run<'_>, batch: Batch) -> Result<Hashed, RepositoryError> {
    let mut at = 0;
    let mut ids = Vec::with_capacity(batch.items.len());
    let mut lengths = Vec::with_capacity(batch.items.len());
    for item in &batch.items {
        if let Item::Chunk(length) = item {
            ids.push(run.identity.chunk_id(&batch.data[at..at + *length as usize]));
            lengths.push(*length);
            at += *length as usize;
        }
    }
    let is_new = run.look_up(ObjectKind::DataPack, &ids)?;
    let chunks = ids
        .iter()
        .zip(&lengths)
        .zip(is_new)
        .map(|((id, length), is_new)| HashedChunk { item: ListItem { id: *id, length: *length }, is_new })
        .collect();
    Ok(Hashed { number: batch.number, data: batch.data, items: batch.items, chunks })
}

/// Compresses and seals frames, reusing its buffers.
pub(crate) struct FrameSealer<'r, 'a> {
    run: &'r Run<'a>,
    compressor: Compressor,
    compressed: Vec<u8>,
}

impl<'r, 'a> FrameSealer<'r, 'a> {
    pub(crate) fn new(run: &'r Run<'a>) -> Result<Self, RepositoryError> {
        Ok(Self { run, compressor: Compressor::new(run.compression_level)?, compressed: Vec::new() })
    }

    pub(crate) fn seal_data(&mut self, job: FrameJob) -> Result<SealedFrame, RepositoryError> {
        let (key, reference) = self.run.data_key()?;
        let frame = self.seal(&job.plain, job.chunks, key, reference)?;
        self.run.frame_buffers.give(job.plain);
        Ok(frame)
    }

    /// Seals a frame of tree nodes.
    pub(crate) fn seal_nodes(
        &mut self,
        plain: &[u8],
        nodes: Vec<ChunkRecord>,
    ) -> Result<SealedFrame, RepositoryError> {
        let metadata = self.run.metadata;
        self.seal(
            plain,
            nodes,
            metadata.node_key(),
            KeyRef { id: metadata.id(), commitment: metadata.commitment() },
        )
    }

    fn seal(
        &mut self,
        plain: &[u8],
        chunks: Vec<ChunkRecord>,
        key: &FrameKey,
        reference: KeyRef,
    ) -> Result<SealedFrame, RepositoryError> {
        let shrinks =
            self.run.compression_level != 0 && self.compressor.compress(plain, &mut self.compressed)?;
        let (codec, payload) =
            if shrinks { (Codec::Zstd, &self.compressed[..]) } else { (Codec::Raw, plain) };
        let length = |value: usize| {
            u32::try_from(value).map_err(|_| RepositoryError::Unstorable {
                what: "a frame".into(),
                source: strongroom_format::FormatError::Limit {
                    what: "frame length",
                    value: value as u64,
                    limit: u32::MAX.into(),
                },
            })
        };
        let record = FrameRecord {
            sealed_length: length(payload.len())? + FRAME_OVERHEAD,
            plain_length: length(plain.len())?,
            prefix_length: 0,
            first_chunk: 0,
            first_base: 0,
            chunk_count: u16::try_from(chunks.len()).unwrap_or(u16::MAX),
            base_count: 0,
            key: 0,
            author: 0,
            codec,
            depth: 0,
            closure: 0,
        };
        let bound = BoundRecord::new(&record, &chunks, &[]);
        let sealing = |source| RepositoryError::Seal { what: "a frame", source };
        let salt = Salt(random::array(self.run.random).map_err(sealing)?);
        let mut sealed = Vec::with_capacity(payload.len() + FRAME_OVERHEAD as usize);
        key.seal(&bound, payload, self.run.signer, salt, &mut sealed).map_err(sealing)?;
        Ok(SealedFrame { record, chunks, key: reference, sealed })
    }
}
