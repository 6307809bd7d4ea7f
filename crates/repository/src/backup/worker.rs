//! Workers: they cut segments, hash and look up chunks, and compress and seal frames.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, select_biased};
use strongroom_format::Salt;
use strongroom_format::node::ListItem;
use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FrameRecord, KeyRef};
use strongroom_format::registry::{Codec, ObjectKind};
use strongroom_keys::frame::{BoundRecord, FrameKey};
use strongroom_keys::random;

use super::cutter::{Batch, Cutter};
use super::lane::Step;
use super::run::Run;
use crate::delta::{Base, New, Prefix};
use crate::error::RepositoryError;
use crate::pack_writer::SealedFrame;
use crate::stage::stage;
use crate::zstd::{Compressor, OBVIOUS};

/// A batch whose chunks are named; `new` tells which are to be stored.
pub(crate) struct Hashed {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    /// Where its first chunk begins.
    pub(crate) start: usize,
    pub(crate) steps: Vec<Step<u32>>,
    pub(crate) chunks: Vec<HashedChunk>,
}

#[derive(Clone, Copy)]
pub(crate) struct HashedChunk {
    pub(crate) item: ListItem,
    pub(crate) is_new: bool,
}

/// New chunks to be compressed and sealed together.
#[derive(Default)]
pub(crate) struct FrameJob {
    pub(crate) plain: Vec<u8>,
    pub(crate) chunks: Vec<ChunkRecord>,
    /// What the stream was before.
    pub(crate) base: Option<Arc<Base>>,
    /// Where in it each chunk begins, if it has a base.
    pub(crate) starts: Vec<u64>,
}

/// A frame's bytes as they are sealed, and what they need to be opened.
struct Payload<'p> {
    codec: Codec,
    bytes: &'p [u8],
    prefix: Option<&'p Prefix>,
}

/// Works until both channels are closed. Frames go first: they free what collectors wait for.
pub(crate) fn work(
    run: &Run<'_>,
    cutters: &Receiver<Arc<Cutter>>,
    frames: &Receiver<FrameJob>,
    sealed: &Sender<(ObjectKind, SealedFrame)>,
) -> Result<(), RepositoryError> {
    let mut sealer = FrameSealer::new(run)?;
    let (mut segments_open, mut frames_open) = (true, true);
    let never = crossbeam_channel::never();
    let never_frame = crossbeam_channel::never();
    while segments_open || frames_open {
        select_biased! {
            recv(run.failure.tripped()) -> _ => return Err(RepositoryError::Cancelled),
            recv(if frames_open { frames } else { &never_frame }) -> job => match job {
                Ok(job) => {
                    let frame = sealer.seal_data(job)?;
                    run.failure.send(sealed, (ObjectKind::DataPack, frame))?;
                }
                Err(_) => frames_open = false,
            },
            recv(if segments_open { cutters } else { &never }) -> cutter => match cutter {
                Ok(cutter) => {
                    let batch = cutter.next(&run.failure)?;
                    let hashed = hash(run, batch)?;
                    // A collector that is gone has failed, and said so.
                    cutter.results.send(hashed).map_err(|_| RepositoryError::Cancelled)?;
                }
                Err(_) => segments_open = false,
            },
        }
    }
    Ok(())
}

fn hash(run: &Run<'_>, batch: Batch) -> Result<Hashed, RepositoryError> {
    let hashing = stage!("hash");
    let mut at = batch.start;
    let mut ids = Vec::with_capacity(batch.steps.len());
    let mut lengths = Vec::with_capacity(batch.steps.len());
    for step in &batch.steps {
        if let Step::Bytes(length) = step {
            ids.push(run.identity.chunk_id(&batch.data[at..at + *length as usize]));
            lengths.push(*length);
            at += *length as usize;
        }
    }
    drop(hashing);
    let is_new = run.look_up(ObjectKind::DataPack, &ids)?;
    let chunks = ids
        .iter()
        .zip(&lengths)
        .zip(is_new)
        .map(|((id, length), is_new)| HashedChunk { item: ListItem { id: *id, length: *length }, is_new })
        .collect();
    let Batch { number, data, start, steps } = batch;
    Ok(Hashed { number, data, start, steps, chunks })
}

/// Compresses and seals frames, reusing its buffers.
pub(crate) struct FrameSealer<'r, 'a> {
    run: &'r Run<'a>,
    compressor: Compressor,
    compressed: Vec<u8>,
    delta: Vec<u8>,
}

impl<'r, 'a> FrameSealer<'r, 'a> {
    pub(crate) fn new(run: &'r Run<'a>) -> Result<Self, RepositoryError> {
        let compressor = Compressor::new(run.compression_level)?;
        Ok(Self { run, compressor, compressed: Vec::new(), delta: Vec::new() })
    }

    pub(crate) fn seal_data(&mut self, job: FrameJob) -> Result<SealedFrame, RepositoryError> {
        let (key, reference) = self.run.data_key()?;
        let new = New { plain: &job.plain, chunks: &job.chunks, starts: &job.starts };
        let base = job.base.as_ref().filter(|base| base.is_worth_a_try());
        let prefix = base.and_then(|base| self.run.prefix(base, &new));
        let frame = self.seal(&job.plain, job.chunks, prefix.as_ref(), key, reference)?;
        if let Some(base) = base {
            base.note(!frame.bases.is_empty());
        }
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
            None,
            metadata.node_key(),
            KeyRef { id: metadata.id(), commitment: metadata.commitment() },
        )
    }

    fn seal(
        &mut self,
        plain: &[u8],
        chunks: Vec<ChunkRecord>,
        prefix: Option<&Prefix>,
        key: &FrameKey,
        reference: KeyRef,
    ) -> Result<SealedFrame, RepositoryError> {
        let run = self.run;
        let compressing = stage!("compress");
        let Payload { codec, bytes: payload, prefix } = self.compress(plain, prefix)?;
        drop(compressing);
        let _sealing = stage!("seal");
        let bases = prefix.map(|prefix| prefix.chunks.clone()).unwrap_or_default();
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
            prefix_length: length(prefix.map_or(0, |prefix| prefix.plain.len()))?,
            first_chunk: 0,
            first_base: 0,
            chunk_count: u16::try_from(chunks.len()).unwrap_or(u16::MAX),
            base_count: u16::try_from(bases.len()).unwrap_or(u16::MAX),
            key: 0,
            author: 0,
            codec,
            depth: prefix.map_or(0, |prefix| prefix.depth),
            closure: prefix.map_or(0, |prefix| prefix.closure),
        };
        if let Some(prefix) = prefix {
            run.rely_on(&prefix.frames);
        }
        let bound = BoundRecord::new(&record, &chunks, &bases);
        let sealing = |source| RepositoryError::Seal { what: "a frame", source };
        let salt = Salt(random::array(run.random).map_err(sealing)?);
        let mut sealed = Vec::with_capacity(payload.len() + FRAME_OVERHEAD as usize);
        key.seal(&bound, payload, run.signer, salt, &mut sealed).map_err(sealing)?;
        Ok(SealedFrame { record, chunks, bases, key: reference, author: run.signer.id(), sealed })
    }

    /// Against the prefix where that saves at least half, else by itself; as it is where it does not shrink.
    fn compress<'p>(
        &'p mut self,
        plain: &'p [u8],
        prefix: Option<&'p Prefix>,
    ) -> Result<Payload<'p>, RepositoryError> {
        let is_compressed = self.run.compression_level != 0;
        if let Some(prefix) = prefix.filter(|_| is_compressed)
            && self.compressor.compress_against(&prefix.plain, plain, &mut self.delta)?
        {
            let is_obvious = self.delta.len() * OBVIOUS <= plain.len();
            if is_obvious
                || !self.compressor.compress(plain, &mut self.compressed)?
                || self.delta.len() * 2 <= self.compressed.len()
            {
                return Ok(Payload { codec: Codec::Zstd, bytes: &self.delta, prefix: Some(prefix) });
            }
            return Ok(Payload { codec: Codec::Zstd, bytes: &self.compressed, prefix: None });
        }
        if is_compressed && self.compressor.compress(plain, &mut self.compressed)? {
            return Ok(Payload { codec: Codec::Zstd, bytes: &self.compressed, prefix: None });
        }
        Ok(Payload { codec: Codec::Raw, bytes: plain, prefix: None })
    }
}
