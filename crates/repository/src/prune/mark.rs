//! What snapshots need: the frames of their nodes and chunks, each at every place where it lies; and of the bases of all
//! those. Memory grows with frames, a bit each, and with nodes, and not with chunks.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fixedbitset::FixedBitSet;
use lru::LruCache;
use strongroom_format::node::{ListItem, Node};
use strongroom_format::registry::ObjectKind;
use strongroom_format::tree_entry::{Content, TreeEntry};
use strongroom_format::{ChunkId, NodeId, SnapshotId};

use crate::cache::{Cache, Location, PackEntry, PackNumber};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::state::Snapshot;
use crate::tree::NodeSource;

/// Footers in memory.
const FOOTERS_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Bases that are remembered: snapshots of many days build on the same ones.
const BASES_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 16) - 1);

/// The frames that are needed, by pack.
pub(super) struct Marks<'a> {
    cache: &'a Cache,
    frames: Mutex<HashMap<PackNumber, FixedBitSet>>,
    /// Nodes that were visited: there is one to hundreds of chunks.
    visited: Mutex<HashSet<NodeId>>,
    /// Packs with frames that build on others, of those that were asked for.
    has_bases: Mutex<HashMap<PackNumber, bool>>,
    footers: Mutex<LruCache<PackNumber, Arc<PackEntry>>>,
    /// Bases whose places are all marked, and the depth of the shallowest of these. Writers that do not trust each other
    /// store the same chunk each for itself: it may lie at very many.
    bases: Mutex<LruCache<ChunkId, u8>>,
}

/// A frame whose bases are not looked up yet.
struct Fresh {
    entry: Arc<PackEntry>,
    frame: u32,
}

impl<'a> Marks<'a> {
    /// Nothing is marked yet. `cache` is an index that was read from the store just now.
    pub(super) fn new(cache: &'a Cache) -> Self {
        let footers = Mutex::new(LruCache::new(FOOTERS_KEPT));
        Self {
            cache,
            frames: Mutex::default(),
            visited: Mutex::default(),
            has_bases: Mutex::default(),
            footers,
            bases: Mutex::new(LruCache::new(BASES_KEPT)),
        }
    }

    pub(super) fn entry(&self, number: PackNumber) -> Result<Arc<PackEntry>, RepositoryError> {
        if let Some(entry) = lock(&self.footers).get(&number) {
            return Ok(Arc::clone(entry));
        }
        let entry = self.cache.pack(number)?.map(Arc::new).ok_or_else(|| RepositoryError::Inconsistent {
            object: "the index".into(),
            reason: "it lacks a pack it refers to".into(),
        })?;
        lock(&self.footers).put(number, Arc::clone(&entry));
        Ok(entry)
    }

    /// The needed frames of a pack as one index describes it.
    pub(super) fn frames_of(&self, number: PackNumber) -> FixedBitSet {
        lock(&self.frames).get(&number).cloned().unwrap_or_default()
    }

    /// Marks chunks or nodes at every place where they lie: which of these is good, only reading all of them would tell.
    ///
    /// # Errors
    /// `ChunkUnavailable` for one that lies nowhere, or a base of it.
    fn mark(&self, kind: ObjectKind, ids: &[ChunkId]) -> Result<(), RepositoryError> {
        let mut places = Vec::with_capacity(ids.len());
        // The first of which no place was found.
        let mut next = 0;
        self.cache.locations_of_all(kind, ids, |at, place| {
            next += usize::from(at == next);
            places.push(place);
        })?;
        if let Some(id) = ids.get(next) {
            return Err(nowhere(*id));
        }
        let mut fresh = Vec::new();
        self.insert(&places, &mut fresh)?;
        while let Some(frame) = fresh.pop() {
            self.mark_bases(&frame, true, &mut fresh)?;
        }
        Ok(())
    }

    /// Marks what the frames of a pack that stays build on, needed or not: a backup may rely on any of them. Bases that
    /// lie nowhere are no reason to stop: nobody needs these frames yet. Says whether that marked anything.
    pub(super) fn mark_bases_of(&self, number: PackNumber) -> Result<bool, RepositoryError> {
        let entry = self.entry(number)?;
        if entry.footer.bases.is_empty() {
            return Ok(false);
        }
        let count = u32::try_from(entry.footer.frames.len()).unwrap_or(u32::MAX);
        let mut fresh: Vec<_> = (0..count).map(|frame| Fresh { entry: Arc::clone(&entry), frame }).collect();
        let mut any = false;
        while let Some(frame) = fresh.pop() {
            any |= self.mark_bases(&frame, false, &mut fresh)?;
        }
        Ok(any)
    }

    /// Marks what a frame is compressed against. Says whether that marked anything.
    fn mark_bases(
        &self,
        of: &Fresh,
        must_be_there: bool,
        fresh: &mut Vec<Fresh>,
    ) -> Result<bool, RepositoryError> {
        let footer = &of.entry.footer;
        let Some(record) = footer.frames.get(of.frame as usize) else { return Ok(false) };
        let mut places = Vec::new();
        for base in footer.bases_of(record) {
            let known = lock(&self.bases).get(&base.id).copied();
            let shallowest = match known {
                Some(depth) => depth,
                None => {
                    let found = self.cache.locations(of.entry.kind, base.id)?;
                    let depth = self.shallowest(&found)?;
                    places.extend(found);
                    lock(&self.bases).put(base.id, depth);
                    depth
                }
            };
            // Readers take a base from a shallower frame only.
            if shallowest >= record.depth && must_be_there {
                return Err(nowhere(base.id));
            }
        }
        self.insert(&places, fresh)
    }

    /// The least depth of these frames.
    fn shallowest(&self, places: &[Location]) -> Result<u8, RepositoryError> {
        let mut least = u8::MAX;
        for place in places {
            let entry = self.entry(place.pack)?;
            let depth = entry.footer.frames.get(place.frame as usize).map_or(u8::MAX, |frame| frame.depth);
            least = least.min(depth);
        }
        Ok(least)
    }

    /// Before more is marked: bases that are known may lie at more places by now.
    fn forget_bases(&self) {
        lock(&self.bases).clear();
    }

    /// Says whether any was not marked before; adds those of them that may have bases.
    fn insert(&self, places: &[Location], fresh: &mut Vec<Fresh>) -> Result<bool, RepositoryError> {
        let mut new = Vec::new();
        let mut frames = lock(&self.frames);
        for of_pack in places.chunk_by(|one, next| one.pack == next.pack) {
            let Some(first) = of_pack.first() else { continue };
            let set = frames.entry(first.pack).or_default();
            for place in of_pack {
                set.grow(place.frame as usize + 1);
                if !set.put(place.frame as usize) {
                    new.push(*place);
                }
            }
        }
        drop(frames);
        for place in &new {
            if self.has_bases(place.pack)? {
                fresh.push(Fresh { entry: self.entry(place.pack)?, frame: place.frame });
            }
        }
        Ok(!new.is_empty())
    }

    fn has_bases(&self, number: PackNumber) -> Result<bool, RepositoryError> {
        if let Some(known) = lock(&self.has_bases).get(&number) {
            return Ok(*known);
        }
        let has_bases = !self.entry(number)?.footer.bases.is_empty();
        lock(&self.has_bases).insert(number, has_bases);
        Ok(has_bases)
    }
}

/// A node that is to be visited.
#[derive(Clone, Copy)]
struct Task {
    node: NodeId,
    /// Whether it is of a chunk list, not of tree entries.
    is_list: bool,
    /// Which snapshot it was found by.
    snapshot: SnapshotId,
}

/// Nodes to be visited, by all threads.
struct Tasks {
    left: Vec<Task>,
    /// Threads that visit one, and may find more.
    busy: usize,
    failed: Option<RepositoryError>,
}

/// Walks the trees of snapshots and marks what they need, with several threads.
pub(super) struct Walk<'w, 'a> {
    marks: &'w Marks<'a>,
    reader: &'w Reader<'w>,
    monitor: &'w dyn Monitor,
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub(super) fn new(marks: &'w Marks<'a>, reader: &'w Reader<'w>, monitor: &'w dyn Monitor) -> Self {
        Self {
            marks,
            reader,
            monitor,
            tasks: Mutex::new(Tasks { left: Vec::new(), busy: 0, failed: None }),
            changed: Condvar::new(),
        }
    }

    /// Marks what snapshots need.
    ///
    /// # Errors
    /// `NotPrunable` when something is in no pack, or cannot be read: then it is not known what else is needed.
    pub(super) fn run(self, snapshots: &[&Snapshot], workers: usize) -> Result<(), RepositoryError> {
        self.marks.forget_bases();
        for snapshot in snapshots.iter().rev() {
            if let Some(facts) = &snapshot.manifest.facts {
                let marked = self.marks.mark(ObjectKind::MetadataPack, &[facts.node]);
                marked.map_err(|error| not_prunable(snapshot.id(), error))?;
            }
            let root = snapshot.manifest.tree.root;
            let task = Task { node: root, is_list: false, snapshot: snapshot.id() };
            lock(&self.tasks).left.push(task);
        }
        std::thread::scope(|scope| {
            for _ in 0..workers.max(1) {
                scope.spawn(|| self.work());
            }
        });
        self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner).failed.map_or(Ok(()), Err)
    }

    fn work(&self) {
        let mut children = Vec::new();
        while let Some(task) = self.next() {
            let visited = self.visit(task, &mut children);
            let mut tasks = lock(&self.tasks);
            tasks.busy -= 1;
            match visited {
                Ok(()) => tasks.left.append(&mut children),
                Err(error) => {
                    tasks.left.clear();
                    let error = not_prunable(task.snapshot, error);
                    tasks.failed.get_or_insert(error);
                }
            }
            drop(tasks);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        loop {
            if tasks.failed.is_some() {
                return None;
            }
            if let Some(task) = tasks.left.pop() {
                tasks.busy += 1;
                return Some(task);
            }
            if tasks.busy == 0 {
                return None;
            }
            tasks = self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn visit(&self, task: Task, children: &mut Vec<Task>) -> Result<(), RepositoryError> {
        if self.monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        if !self.is_first_visit(task.node)? {
            return Ok(());
        }
        let child = |node, is_list| Task { node, is_list, ..task };
        match self.reader.node(task.node)? {
            Node::Entries(entries) if !task.is_list => {
                let mut chunks = Vec::new();
                for content in entries.iter().filter_map(TreeEntry::content) {
                    match content {
                        Content::Inline(items) => chunks.extend(chunks_of(items)),
                        Content::List(list) => children.push(child(list.root, true)),
                    }
                }
                self.marks.mark(ObjectKind::DataPack, &chunks)
            }
            Node::EntryBranch { children: nodes, .. } if !task.is_list => {
                children.extend(nodes.iter().map(|one| child(one.node, false)));
                Ok(())
            }
            Node::Chunks(items) if task.is_list => {
                self.marks.mark(ObjectKind::DataPack, &chunks_of(&items).collect::<Vec<_>>())
            }
            Node::ChunkBranch { children: nodes, .. } if task.is_list => {
                children.extend(nodes.iter().map(|one| child(one.node, true)));
                Ok(())
            }
            _ => Err(RepositoryError::Inconsistent {
                object: format!("tree node {}", task.node),
                reason: "it is a node of another kind".into(),
            }),
        }
    }

    fn is_first_visit(&self, node: NodeId) -> Result<bool, RepositoryError> {
        if !lock(&self.marks.visited).insert(node) {
            return Ok(false);
        }
        self.marks.mark(ObjectKind::MetadataPack, &[node])?;
        Ok(true)
    }
}

fn chunks_of(items: &[ListItem]) -> impl Iterator<Item = ChunkId> {
    items.iter().filter(|item| !item.is_hole()).map(|item| item.id)
}

fn nowhere(id: ChunkId) -> RepositoryError {
    RepositoryError::ChunkUnavailable { id, reasons: "no index object knows it".into() }
}

fn not_prunable(snapshot: SnapshotId, error: RepositoryError) -> RepositoryError {
    match error {
        RepositoryError::ChunkUnavailable { .. }
        | RepositoryError::Damaged { .. }
        | RepositoryError::Inconsistent { .. } => RepositoryError::NotPrunable {
            reason: format!("snapshot {} is damaged: {}", snapshot.short(), crate::state::describe(&error)),
        },
        error => error,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
