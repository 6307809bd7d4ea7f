//! The trees of all snapshots, each node once: does everything that they need exist, and whom does damage touch?

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strongroom_format::node::{BlobRef, EntryChild, ListChild, ListItem, ListRef, Node, TreeRef};
use strongroom_format::path::EntryPath;
use strongroom_format::registry::ObjectKind;
use strongroom_format::tree_entry::{Content, TreeEntry};
use strongroom_format::{ChunkId, NodeId};

use super::finding::{Cause, Paths};
use super::{Checker, FindingKind};
use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::reader::Reader;
use crate::stage::stage;
use crate::state::describe;
use crate::tree::{Below, NodeSource};

/// What is wrong below a node of entries, and which paths it touches.
type Touched = BTreeMap<Cause, Paths>;

/// What is below a node of entries.
struct EntryNode {
    level: u8,
    entries: u64,
    bytes: u64,
    first: Option<EntryPath>,
    last: Option<EntryPath>,
    touched: Touched,
}

/// What is below a node of chunks.
struct ListNode {
    level: u8,
    bytes: u64,
    chunks: u64,
    causes: BTreeSet<Cause>,
}

/// What was found of nodes that were visited.
#[derive(Default)]
struct Visited {
    entries: HashMap<NodeId, Arc<EntryNode>>,
    lists: HashMap<NodeId, Arc<ListNode>>,
    /// Nodes that cannot be read.
    unreadable: HashMap<NodeId, BTreeSet<Cause>>,
}

/// Chunks that are nowhere, or not as long as a list says: one finding each, however many there are.
#[derive(Default)]
struct Wanting {
    missing: Option<Cause>,
    missing_count: u64,
    length: Option<Cause>,
}

struct Walk<'c, 'a> {
    checker: &'c mut Checker<'a>,
    cache: &'c Cache,
    reader: &'c Reader<'c>,
    visited: Visited,
    wanting: Wanting,
}

impl Checker<'_> {
    pub(super) fn trees(&mut self, cache: &Cache, reader: &Reader<'_>) -> Result<(), RepositoryError> {
        let snapshots = self.state.snapshots.clone();
        self.monitor.begin("walking trees", None);
        let _walking = stage!("walk trees");
        let mut walk =
            Walk { checker: self, cache, reader, visited: Visited::default(), wanting: Wanting::default() };
        for snapshot in &snapshots {
            walk.checker.checked.snapshots += 1;
            let touched = walk.tree(&snapshot.manifest.tree)?;
            for (cause, paths) in &touched {
                walk.checker.findings.touch(*cause, snapshot.id(), paths);
            }
            for cause in walk.facts(snapshot.manifest.facts.as_ref())? {
                walk.checker.findings.touch(cause, snapshot.id(), &Paths::default());
            }
        }
        let Walk { wanting, .. } = walk;
        if let Some(cause) = wanting.missing {
            self.findings.extend(cause, &format!("{} chunks in all", wanting.missing_count));
        }
        Ok(())
    }
}

impl Walk<'_, '_> {
    fn tree(&mut self, tree: &TreeRef) -> Result<Touched, RepositoryError> {
        let below = Below { entries: tree.entries, bytes: tree.bytes, last: None };
        match self.entries(tree.root, tree.level)? {
            Ok(node) => {
                let mut touched = node.touched.clone();
                if !describes(&node, tree.level, &below) {
                    let cause =
                        self.contradiction(tree.root, "it holds other entries than the manifest says");
                    touched.entry(cause).or_default().count(tree.entries);
                }
                Ok(touched)
            }
            Err(causes) => {
                let mut paths = Paths::default();
                paths.count(tree.entries);
                Ok(causes.into_iter().map(|cause| (cause, paths.clone())).collect())
            }
        }
    }

    fn facts(&mut self, facts: Option<&BlobRef>) -> Result<BTreeSet<Cause>, RepositoryError> {
        let Some(facts) = facts else { return Ok(BTreeSet::new()) };
        match self.node(facts.node)? {
            Ok(Node::Blob(bytes)) if bytes.len() as u64 == facts.bytes => Ok(BTreeSet::new()),
            Ok(_) => {
                let cause = self.contradiction(facts.node, "it is not the blob that the manifest says");
                Ok(BTreeSet::from([cause]))
            }
            Err(causes) => Ok(causes),
        }
    }

    fn contradiction(&mut self, node: NodeId, detail: &str) -> Cause {
        self.checker.damage(FindingKind::NodeUnreadable, format!("tree node {node}"), detail)
    }

    /// Reads a node; else what is to blame.
    fn node(&mut self, id: NodeId) -> Result<Result<Node, BTreeSet<Cause>>, RepositoryError> {
        self.checker.go_on()?;
        if let Some(causes) = self.visited.unreadable.get(&id) {
            return Ok(Err(causes.clone()));
        }
        let error = match self.reader.node(id) {
            Ok(node) => {
                self.checker.checked.nodes += 1;
                return Ok(Ok(node));
            }
            Err(error) => error,
        };
        // A store that is gone is no damage; readers tell both in the same words.
        self.checker
            .repository
            .store
            .stat(&crate::names::config()?)
            .map(drop)
            .or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })?;
        let places = self.cache.locations(ObjectKind::MetadataPack, id)?;
        let mut causes: BTreeSet<Cause> =
            places.iter().filter_map(|place| self.checker.bad.cause(*place)).collect();
        if causes.is_empty() {
            if places.is_empty() {
                causes.extend(&self.checker.index_causes);
            }
            causes.insert(self.checker.damage(
                FindingKind::NodeUnreadable,
                format!("tree node {id}"),
                describe(&error),
            ));
        }
        self.visited.unreadable.insert(id, causes.clone());
        Ok(Err(causes))
    }

    fn entries(
        &mut self,
        id: NodeId,
        level: u8,
    ) -> Result<Result<Arc<EntryNode>, BTreeSet<Cause>>, RepositoryError> {
        if let Some(known) = self.visited.entries.get(&id) {
            return Ok(Ok(Arc::clone(known)));
        }
        let node = match self.node(id)? {
            Ok(Node::Entries(entries)) if level == 0 => self.leaf(entries)?,
            Ok(Node::EntryBranch { level: found, children }) if found == level => {
                self.branch(id, level, &children)?
            }
            Ok(_) => {
                let causes =
                    BTreeSet::from([self.contradiction(id, "it is no node of entries of this level")]);
                self.visited.unreadable.insert(id, causes.clone());
                return Ok(Err(causes));
            }
            Err(causes) => return Ok(Err(causes)),
        };
        let node = Arc::new(node);
        self.visited.entries.insert(id, Arc::clone(&node));
        Ok(Ok(node))
    }

    fn leaf(&mut self, entries: Vec<TreeEntry>) -> Result<EntryNode, RepositoryError> {
        let mut node = EntryNode {
            level: 0,
            entries: entries.len() as u64,
            bytes: entries.iter().map(TreeEntry::bytes).fold(0, u64::saturating_add),
            first: entries.first().map(|entry| entry.path.clone()),
            last: entries.last().map(|entry| entry.path.clone()),
            touched: Touched::new(),
        };
        for entry in entries {
            let Some(content) = entry.content() else { continue };
            for cause in self.content(content)? {
                node.touched.entry(cause).or_default().push(entry.path.clone());
            }
        }
        Ok(node)
    }

    fn branch(
        &mut self,
        id: NodeId,
        level: u8,
        children: &[EntryChild],
    ) -> Result<EntryNode, RepositoryError> {
        let mut node = EntryNode {
            level,
            entries: children.iter().map(|child| child.entries).fold(0, u64::saturating_add),
            bytes: children.iter().map(|child| child.bytes).fold(0, u64::saturating_add),
            first: None,
            last: children.last().map(|child| child.last.clone()),
            touched: Touched::new(),
        };
        let mut before: Option<&EntryPath> = None;
        for (at, child) in children.iter().enumerate() {
            let below = self.entries(child.node, level - 1)?;
            let unreachable = |touched: &mut Touched, cause| {
                let paths = touched.entry(cause).or_default();
                paths.push(child.last.clone());
                paths.count(child.entries.saturating_sub(1));
            };
            match below {
                Ok(found) => {
                    if at == 0 {
                        node.first.clone_from(&found.first);
                    }
                    if !describes(&found, level - 1, &Below::child(child)) {
                        let cause =
                            self.contradiction(child.node, "it holds other entries than its parent says");
                        unreachable(&mut node.touched, cause);
                    }
                    if before.is_some_and(|before| found.first.as_ref().is_none_or(|first| first <= before)) {
                        let cause = self.contradiction(id, "its paths do not ascend");
                        unreachable(&mut node.touched, cause);
                    }
                    for (cause, paths) in &found.touched {
                        node.touched.entry(*cause).or_default().append(paths);
                    }
                }
                Err(causes) => {
                    causes.into_iter().for_each(|cause| unreachable(&mut node.touched, cause));
                }
            }
            before = Some(&child.last);
        }
        Ok(node)
    }

    /// What is wrong with a content.
    fn content(&mut self, content: &Content) -> Result<BTreeSet<Cause>, RepositoryError> {
        match content {
            Content::Inline(items) => self.items(items),
            Content::List(ListRef { root, level, bytes, chunks }) => {
                self.list_child(&ListChild { node: *root, bytes: *bytes, chunks: *chunks }, *level)
            }
        }
    }

    fn list_child(&mut self, child: &ListChild, level: u8) -> Result<BTreeSet<Cause>, RepositoryError> {
        let found = match self.list(child.node, level)? {
            Ok(found) => found,
            Err(causes) => return Ok(causes),
        };
        let mut causes = found.causes.clone();
        if (found.level, found.bytes, found.chunks) != (level, child.bytes, child.chunks) {
            causes.insert(self.contradiction(child.node, "it holds other chunks than its parent says"));
        }
        Ok(causes)
    }

    fn list(
        &mut self,
        id: NodeId,
        level: u8,
    ) -> Result<Result<Arc<ListNode>, BTreeSet<Cause>>, RepositoryError> {
        if let Some(known) = self.visited.lists.get(&id) {
            return Ok(Ok(Arc::clone(known)));
        }
        let node = match self.node(id)? {
            Ok(Node::Chunks(items)) if level == 0 => ListNode {
                level,
                bytes: items.iter().map(|item| u64::from(item.length)).sum(),
                chunks: items.len() as u64,
                causes: self.items(&items)?,
            },
            Ok(Node::ChunkBranch { level: found, children }) if found == level => {
                let mut causes = BTreeSet::new();
                for child in &children {
                    causes.extend(self.list_child(child, level - 1)?);
                }
                ListNode {
                    level,
                    bytes: children.iter().map(|child| child.bytes).fold(0, u64::saturating_add),
                    chunks: children.iter().map(|child| child.chunks).fold(0, u64::saturating_add),
                    causes,
                }
            }
            Ok(_) => {
                let causes =
                    BTreeSet::from([self.contradiction(id, "it is no node of chunks of this level")]);
                self.visited.unreadable.insert(id, causes.clone());
                return Ok(Err(causes));
            }
            Err(causes) => return Ok(Err(causes)),
        };
        let node = Arc::new(node);
        self.visited.lists.insert(id, Arc::clone(&node));
        Ok(Ok(node))
    }

    fn items(&mut self, items: &[ListItem]) -> Result<BTreeSet<Cause>, RepositoryError> {
        let mut causes = BTreeSet::new();
        for item in items.iter().filter(|item| !item.is_hole()) {
            self.checker.checked.chunks += 1;
            self.chunk(item.id, item.length, &mut causes)?;
        }
        Ok(causes)
    }

    /// A chunk is well when some place has it, in its length, and is not known to be bad.
    fn chunk(
        &mut self,
        id: ChunkId,
        length: u32,
        causes: &mut BTreeSet<Cause>,
    ) -> Result<(), RepositoryError> {
        let places = self.cache.locations(ObjectKind::DataPack, id)?;
        let (mut bad, mut other_length) = (Vec::new(), false);
        for place in &places {
            match self.checker.bad.cause(*place) {
                Some(cause) => bad.push(cause),
                None if self.reader.indexed_length(*place, id)? == Some(length) => return Ok(()),
                None => other_length = true,
            }
        }
        causes.extend(&bad);
        if places.is_empty() {
            causes.extend(&self.checker.index_causes);
            self.wanting.missing_count += 1;
            if self.wanting.missing.is_none() {
                let detail = "it is needed, and in no pack that anything describes";
                let cause = self.checker.damage(FindingKind::ChunkMissing, format!("chunk {id}"), detail);
                self.wanting.missing = Some(cause);
            }
            causes.extend(self.wanting.missing);
        } else if other_length && bad.is_empty() {
            if self.wanting.length.is_none() {
                let detail = "lists say another length than the index, perhaps of more chunks too";
                let cause = self.checker.damage(FindingKind::Contradiction, format!("chunk {id}"), detail);
                self.wanting.length = Some(cause);
            }
            causes.extend(self.wanting.length);
        }
        Ok(())
    }
}

fn describes(node: &EntryNode, level: u8, below: &Below<'_>) -> bool {
    (node.level, node.entries, node.bytes) == (level, below.entries, below.bytes)
        && (below.last.is_none() || node.last.as_ref() == below.last)
}
