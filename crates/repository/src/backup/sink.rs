//! Where an engine writes: lanes for entries and streams, and the tree that they become.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Sender, unbounded};
use strongroom_chunker::{Chunker, ChunkerParams};
use strongroom_format::manifest::{Manifest, Stream};
use strongroom_format::path::EntryPath;
use strongroom_format::registry::{ChunkerKind, ObjectKind};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_keys::derive::Identity;

use super::collector;
use super::cutter::Cutter;
use super::lane::Lane;
use super::nodes::NodeWriter;
use super::run::Run;
use super::worker::FrameJob;
use crate::delta::Base;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::pack_writer::SealedFrame;
use crate::reader::Reader;
use crate::state::Snapshot;
use crate::tree::{EntryCursor, EntryShape, TreeBuilder};

const BUFFERS_A_LANE: usize = 3;
/// Shortest content that others are stored against, bytes: for less the overhead of frames of their own is too much.
const BASE_BYTES: u64 = 64 << 10;

/// Where an engine writes what it reads.
pub struct Sink<'scope, 'env> {
    pub(super) run: &'env Run<'env>,
    pub(super) scope: &'scope Scope<'scope, 'env>,
    pub(super) work: Sender<Arc<Cutter>>,
    pub(super) frames: Sender<FrameJob>,
    pub(super) sealed: Sender<(ObjectKind, SealedFrame)>,
    pub(super) tree: &'env Mutex<TreeState>,
    pub(super) collectors: Mutex<Vec<ScopedJoinHandle<'scope, ()>>>,
    pub(super) reader: &'env Reader<'env>,
    pub(super) parent: Option<&'env Snapshot>,
    /// The snapshot that new chunks may be deltas against.
    pub(super) base: Option<&'env Snapshot>,
    pub(super) force: bool,
}

#[derive(Default)]
pub(super) struct TreeState {
    pub(super) builder: TreeBuilder<EntryShape>,
    pub(super) entries: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) streams: Vec<TreeEntry>,
    pub(super) cuts: Vec<Stream>,
    pub(super) facts: Option<Vec<u8>>,
    pub(super) unreadable: u64,
}

impl TreeState {
    pub(super) fn push(
        &mut self,
        entry: TreeEntry,
        identity: &Identity,
        nodes: &mut NodeWriter<'_, '_>,
    ) -> Result<(), RepositoryError> {
        self.entries += 1;
        if entry.content().is_some() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.bytes());
        }
        self.builder.push(entry, identity, &mut |node| nodes.write(node))
    }
}

impl<'scope, 'env> Sink<'scope, 'env> {
    /// The parent snapshot, unless everything is to be read again: what is unchanged since may be taken from it.
    #[must_use]
    pub fn parent(&self) -> Option<&'env Snapshot> {
        let parent = self.parent.filter(|_| !self.force);
        self.run.reuses_parent.fetch_or(parent.is_some(), Ordering::Relaxed);
        parent
    }

    /// What the parent is, without anything being taken from it yet.
    pub(crate) fn parent_manifest(&self) -> Option<&'env Manifest> {
        self.parent.filter(|_| !self.force).map(|parent| &parent.manifest)
    }

    /// What a stream or file was in an earlier snapshot, if that may be read and is worth it.
    pub fn base(&self, path: &EntryPath) -> Option<Arc<Base>> {
        let (reader, snapshot) = (self.run.deltas?, self.base?);
        let find = || EntryCursor::new(reader, &snapshot.manifest.tree)?.seek(path);
        let entry = find().unwrap_or_else(|error| {
            self.run.goes_without_deltas(&error);
            None
        })?;
        let content = entry.content().filter(|_| entry.bytes() >= BASE_BYTES)?;
        Some(Arc::new(Base::new(content.clone())))
    }

    /// Reads the parent's tree.
    #[must_use]
    pub fn reader(&self) -> &'env Reader<'env> {
        self.reader
    }

    /// Told of progress and warnings.
    #[must_use]
    pub fn monitor(&self) -> &'env dyn Monitor {
        self.run.monitor
    }

    /// Keeps what the engine knows of the data: JSON.
    pub fn facts(&self, json: Vec<u8>) {
        self.tree().facts = Some(json);
    }

    /// Counts a file that could not be read, or changed while it was read.
    pub fn count_unreadable(&self) {
        self.tree().unreadable += 1;
    }

    fn tree(&self) -> std::sync::MutexGuard<'_, TreeState> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how a stream was cut (an empty name: all files).
    pub fn cut(&self, name: Vec<u8>, parameters: ChunkerParams, bytes: u64) {
        let (chunker, parameters) = match parameters {
            ChunkerParams::FastCdc { min, avg, max, normalization } => {
                (ChunkerKind::FastCdc, vec![min.into(), avg.into(), max.into(), normalization.into()])
            }
            ChunkerParams::Fixed { size } => (ChunkerKind::Fixed, vec![size.into()]),
        };
        self.tree().cuts.push(Stream { name, chunker, parameters, bytes });
    }

    /// The lane of an engine whose entries come in path order. A run has one, or stream lanes.
    ///
    /// # Errors
    /// `Inconsistent` for parameters the chunker refuses.
    pub fn ordered_lane(&self, parameters: ChunkerParams) -> Result<Lane<'env>, RepositoryError> {
        let (run, tree) = (self.run, self.tree);
        self.lane(parameters, move |entry, nodes| {
            tree.lock().unwrap_or_else(PoisonError::into_inner).push(entry, run.identity, nodes)
        })
    }

    /// A lane of its own for one stream, or a few: entries may come in any order.
    ///
    /// # Errors
    /// As [`Sink::ordered_lane`].
    pub fn stream_lane(&self, parameters: ChunkerParams) -> Result<Lane<'env>, RepositoryError> {
        let tree = self.tree;
        self.lane(parameters, move |entry, _| {
            tree.lock().unwrap_or_else(PoisonError::into_inner).streams.push(entry);
            Ok(())
        })
    }

    fn lane(
        &self,
        parameters: ChunkerParams,
        take: impl FnMut(TreeEntry, &mut NodeWriter<'_, '_>) -> Result<(), RepositoryError> + Send + 'scope,
    ) -> Result<Lane<'env>, RepositoryError> {
        let run = self.run;
        let chunker = Chunker::new(parameters, Arc::clone(&run.gear))?;
        run.add_buffers(BUFFERS_A_LANE);
        let (sender, results) = unbounded();
        let lane = Lane::new(run, chunker, self.work.clone(), sender);
        let (frames, sealed) = (self.frames.clone(), self.sealed.clone());
        let collector = self.scope.spawn(move || {
            run.failure.guard(|| {
                let nodes = NodeWriter::new(run, sealed)?;
                collector::collect(run, &results, &frames, nodes, take)
            });
        });
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
        Ok(lane)
    }
}
