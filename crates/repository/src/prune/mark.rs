//! What snapshots need: their nodes and chunks, each at every place where it lies; and the bases of all that lies there.

use std::collections::{BTreeSet, HashMap, HashSet};

use strongroom_format::node::{ListItem, Node};
use strongroom_format::registry::ObjectKind;
use strongroom_format::tree_entry::{Content, TreeEntry};
use strongroom_format::{ChunkId, NodeId, PackId, SnapshotId};

use crate::cache::{Cache, Location, PackNumber};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::state::Snapshot;
use crate::tree::NodeSource;

/// A pack as the index describes it.
struct Described {
    id: PackId,
    /// The chunks that its frames build on, until they are marked.
    bases: Vec<ChunkId>,
}

/// The packs that the snapshots marked so far need. Memory grows with nodes, packs and bases, not with chunks.
pub(super) struct Live<'a> {
    cache: &'a Cache,
    reader: &'a Reader<'a>,
    monitor: &'a dyn Monitor,
    described: HashMap<PackNumber, Described>,
    needed: BTreeSet<PackId>,
    nodes: HashSet<NodeId>,
    snapshots: HashSet<SnapshotId>,
}

impl<'a> Live<'a> {
    /// Nothing is marked yet. `cache` is an index that was read from the store just now.
    pub(super) fn new(
        cache: &'a Cache,
        reader: &'a Reader<'a>,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        let mut described = HashMap::new();
        for number in cache.pack_numbers()? {
            let Some(entry) = cache.pack(number)? else { continue };
            let mut bases: Vec<ChunkId> = entry.footer.bases.iter().map(|base| base.id).collect();
            bases.sort_unstable();
            bases.dedup();
            described.insert(number, Described { id: entry.id, bases });
        }
        Ok(Self {
            cache,
            reader,
            monitor,
            described,
            needed: BTreeSet::new(),
            nodes: HashSet::new(),
            snapshots: HashSet::new(),
        })
    }

    /// Packs that the index describes and that nothing marked so far needs.
    pub(super) fn unneeded(&self) -> BTreeSet<PackId> {
        self.described.values().map(|pack| pack.id).filter(|id| !self.needed.contains(id)).collect()
    }

    /// Marks what a snapshot needs, once.
    ///
    /// # Errors
    /// `NotPrunable` when something of it is in no pack, or cannot be read: then it is not known what else it needs.
    pub(super) fn mark(&mut self, snapshot: &Snapshot) -> Result<(), RepositoryError> {
        if !self.snapshots.insert(snapshot.id()) {
            return Ok(());
        }
        let facts = snapshot.manifest.facts.as_ref().map(|facts| facts.node);
        let marked = self
            .entries(snapshot.manifest.tree.root)
            .and_then(|()| facts.map_or(Ok(()), |facts| self.locate(ObjectKind::MetadataPack, facts)));
        marked.map_err(|error| match error {
            RepositoryError::ChunkUnavailable { .. }
            | RepositoryError::Damaged { .. }
            | RepositoryError::Inconsistent { .. } => RepositoryError::NotPrunable {
                reason: format!(
                    "snapshot {} is damaged: {}",
                    snapshot.id().short(),
                    crate::state::describe(&error)
                ),
            },
            error => error,
        })
    }

    fn go_on(&self) -> Result<(), RepositoryError> {
        if self.monitor.is_cancelled() { Err(RepositoryError::Interrupted) } else { Ok(()) }
    }

    /// A node, if it was not visited yet.
    fn visit(&mut self, id: NodeId) -> Result<Option<Node>, RepositoryError> {
        if !self.nodes.insert(id) {
            return Ok(None);
        }
        self.go_on()?;
        self.locate(ObjectKind::MetadataPack, id)?;
        self.reader.node(id).map(Some)
    }

    fn entries(&mut self, id: NodeId) -> Result<(), RepositoryError> {
        match self.visit(id)? {
            None => Ok(()),
            Some(Node::Entries(entries)) => {
                entries.iter().filter_map(TreeEntry::content).try_for_each(|content| self.content(content))
            }
            Some(Node::EntryBranch { children, .. }) => {
                children.iter().try_for_each(|child| self.entries(child.node))
            }
            Some(_) => Err(wrong_kind(id)),
        }
    }

    fn content(&mut self, content: &Content) -> Result<(), RepositoryError> {
        match content {
            Content::Inline(items) => self.items(items),
            Content::List(list) => self.list(list.root),
        }
    }

    fn list(&mut self, id: NodeId) -> Result<(), RepositoryError> {
        match self.visit(id)? {
            None => Ok(()),
            Some(Node::Chunks(items)) => self.items(&items),
            Some(Node::ChunkBranch { children, .. }) => {
                children.iter().try_for_each(|child| self.list(child.node))
            }
            Some(_) => Err(wrong_kind(id)),
        }
    }

    fn items(&mut self, items: &[ListItem]) -> Result<(), RepositoryError> {
        let chunks = items.iter().filter(|item| !item.is_hole());
        chunks.map(|item| item.id).try_for_each(|id| self.locate(ObjectKind::DataPack, id))
    }

    /// Marks every place of a chunk or node: which of them is good, only reading all of them would tell.
    fn locate(&mut self, kind: ObjectKind, id: ChunkId) -> Result<(), RepositoryError> {
        let mut wanted = vec![id];
        while let Some(id) = wanted.pop() {
            let places = self.cache.locations(kind, id)?;
            if places.is_empty() {
                let reasons = "no index object knows it".to_owned();
                return Err(RepositoryError::ChunkUnavailable { id, reasons });
            }
            for Location { pack, .. } in places {
                let Some(described) = self.described.get_mut(&pack) else { continue };
                self.needed.insert(described.id);
                // A pack that stays counts with all that is in it: a backup may rely on any of its frames.
                wanted.append(&mut described.bases);
            }
        }
        Ok(())
    }
}

fn wrong_kind(id: NodeId) -> RepositoryError {
    RepositoryError::Inconsistent {
        object: format!("tree node {id}"),
        reason: "it is a node of another kind".into(),
    }
}
