//! Collectors: one a lane. They put batches in order again, group new chunks into frames, and build contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use strongroom_format::ChunkId;
use strongroom_format::node::ListItem;
use strongroom_format::pack::ChunkRecord;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};

use super::lane::Step;
use super::nodes::NodeWriter;
use super::run::Run;
use super::worker::{FrameJob, Hashed};
use crate::delta::Base;
use crate::error::RepositoryError;
use crate::tree::ContentBuilder;

/// Plain bytes of a full frame.
pub(crate) const FRAME_BYTES: usize = 1 << 20;

/// Plain bytes of a full frame that may be a delta: zstd finds all of a prefix that is not much longer.
const DELTA_FRAME_BYTES: usize = 512 << 10;
/// Known bytes between two new chunks of a frame that may be a delta, at most about so many.
const FAR_BYTES: u64 = 2 << 20;

/// Receives a lane's batches until the lane ends; `take` gets its entries in order.
pub(crate) fn collect(
    run: &Run<'_>,
    results: &Receiver<Hashed>,
    frames: &Sender<FrameJob>,
    nodes: NodeWriter<'_, '_>,
    mut take: impl FnMut(TreeEntry, &mut NodeWriter<'_, '_>) -> Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    let mut collector = Collector {
        run,
        frames,
        nodes,
        content: ContentBuilder::default(),
        base: None,
        offset: 0,
        frame: FrameJob::default(),
    };
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Some(hashed) = run.failure.receive(results)? {
        early.insert(hashed.number, hashed);
        while let Some(hashed) = early.remove(&next) {
            next += 1;
            collector.batch(hashed, &mut take)?;
        }
    }
    if !early.is_empty() {
        return Err(RepositoryError::Cancelled);
    }
    collector.end_frame()?;
    collector.nodes.finish()
}

struct Collector<'r, 'a> {
    run: &'r Run<'a>,
    frames: &'r Sender<FrameJob>,
    nodes: NodeWriter<'r, 'a>,
    content: ContentBuilder,
    /// What the content that is being written was before.
    base: Option<Arc<Base>>,
    /// Bytes of it so far.
    offset: u64,
    frame: FrameJob,
}

impl<'r, 'a> Collector<'r, 'a> {
    fn batch(
        &mut self,
        hashed: Hashed,
        take: &mut impl FnMut(TreeEntry, &mut NodeWriter<'_, '_>) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut at = hashed.start;
        let mut chunks = hashed.chunks.iter();
        for step in hashed.steps {
            match step {
                Step::Entry(entry) => take(*entry, &mut self.nodes)?,
                Step::Against(base) => {
                    self.end_frame()?;
                    self.base = Some(base);
                }
                Step::Bytes(length) => {
                    let chunk = chunks.next().ok_or(RepositoryError::Cancelled)?;
                    let bytes = &hashed.data[at..at + length as usize];
                    at += bytes.len();
                    self.offset += u64::from(length);
                    if chunk.is_new {
                        self.add(chunk.item, bytes)?;
                    }
                    self.push(chunk.item)?;
                }
                Step::Hole(length) => {
                    self.offset += u64::from(length);
                    self.push(ListItem { id: ChunkId::HOLE, length })?;
                }
                Step::End(mut entry) => {
                    let nodes = &mut self.nodes;
                    let content = std::mem::take(&mut self.content)
                        .finish(self.run.identity, &mut |node| nodes.write(node))?;
                    match &mut entry.kind {
                        EntryKind::File(place) | EntryKind::Stream(place) => *place = content,
                        _ => {}
                    }
                    take(*entry, &mut self.nodes)?;
                    self.end_content()?;
                }
                Step::Discard => {
                    self.content = ContentBuilder::default();
                    self.end_content()?;
                }
            }
        }
        self.run.give_buffer(hashed.data);
        Ok(())
    }

    fn push(&mut self, item: ListItem) -> Result<(), RepositoryError> {
        let nodes = &mut self.nodes;
        self.content.push(item, self.run.identity, &mut |node| nodes.write(node))
    }

    fn add(&mut self, item: ListItem, bytes: &[u8]) -> Result<(), RepositoryError> {
        let limit = if self.base.is_some() { DELTA_FRAME_BYTES } else { FRAME_BYTES };
        // Far apart from each other, chunks have no region in common.
        let gap = self.frame.starts.last().map_or(0, |last| self.offset.saturating_sub(*last));
        if gap > FAR_BYTES
            || self.frame.plain.len() + bytes.len() > limit
            || self.frame.chunks.len() >= usize::from(u16::MAX)
        {
            self.end_frame()?;
        }
        if self.frame.plain.capacity() == 0 {
            self.frame.plain = self.run.frame_buffers.take(FRAME_BYTES);
        }
        self.frame.plain.extend_from_slice(bytes);
        self.frame.chunks.push(ChunkRecord { id: item.id, length: item.length });
        if let Some(base) = &self.base {
            self.frame.base.get_or_insert_with(|| Arc::clone(base));
            self.frame.starts.push(self.offset - u64::from(item.length));
        }
        self.run.count_new(bytes.len() as u64);
        Ok(())
    }

    /// Chunks of what has a base are in no frame with others.
    fn end_content(&mut self) -> Result<(), RepositoryError> {
        self.offset = 0;
        if self.base.take().is_some() { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> Result<(), RepositoryError> {
        if self.frame.chunks.is_empty() {
            return Ok(());
        }
        let job = std::mem::take(&mut self.frame);
        self.run.failure.send(self.frames, job)
    }
}
