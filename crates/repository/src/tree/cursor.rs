//! Walking trees in order; memory holds one node a level.

use strongroom_format::NodeId;
use strongroom_format::node::{EntryChild, ListChild, ListItem, ListRef, Node, TreeRef};
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, TreeEntry};

use crate::error::RepositoryError;

/// Where nodes come from.
pub trait NodeSource {
    /// Reads and verifies a node.
    ///
    /// # Errors
    /// `ChunkUnavailable`, `Damaged`, `Store`.
    fn node(&self, id: NodeId) -> Result<Node, RepositoryError>;
}

fn wrong(id: NodeId, reason: &str) -> RepositoryError {
    RepositoryError::Inconsistent { object: format!("tree node {id}"), reason: reason.into() }
}

/// Entries of a tree in path order.
pub struct EntryCursor<'a> {
    source: &'a dyn NodeSource,
    /// Children still to visit, a level each, the next one last.
    pending: Vec<(u8, Vec<EntryChild>)>,
    leaf: std::vec::IntoIter<TreeEntry>,
    peeked: Option<TreeEntry>,
    /// The last path of the leaf before.
    last: Option<EntryPath>,
}

/// What is said of the entries below a node.
pub(crate) struct Below<'a> {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// The last path; `None` for a root, of which nothing is said.
    pub(crate) last: Option<&'a EntryPath>,
}

impl<'a> Below<'a> {
    pub(crate) fn child(child: &'a EntryChild) -> Self {
        Self { entries: child.entries, bytes: child.bytes, last: Some(&child.last) }
    }

    /// Whether `node` is what was said.
    pub(crate) fn describes(&self, node: &Node) -> bool {
        let (entries, bytes, last) = match node {
            Node::Entries(entries) => (
                entries.len() as u64,
                entries.iter().map(TreeEntry::bytes).fold(0, u64::saturating_add),
                entries.last().map(|entry| &entry.path),
            ),
            Node::EntryBranch { children, .. } => (
                children.iter().map(|child| child.entries).fold(0, u64::saturating_add),
                children.iter().map(|child| child.bytes).fold(0, u64::saturating_add),
                children.last().map(|child| &child.last),
            ),
            _ => return false,
        };
        (entries, bytes) == (self.entries, self.bytes) && (self.last.is_none() || last == self.last)
    }
}

impl<'a> EntryCursor<'a> {
    /// Begins at the first entry.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub fn new(source: &'a dyn NodeSource, tree: &TreeRef) -> Result<Self, RepositoryError> {
        let mut cursor =
            Self { source, pending: Vec::new(), leaf: Vec::new().into_iter(), peeked: None, last: None };
        cursor.descend(
            tree.root,
            tree.level,
            &Below { entries: tree.entries, bytes: tree.bytes, last: None },
        )?;
        Ok(cursor)
    }

    fn descend(&mut self, id: NodeId, level: u8, expected: &Below<'_>) -> Result<(), RepositoryError> {
        let node = self.source.node(id)?;
        if node.level() != level {
            return Err(wrong(id, "it has another level than its parent says"));
        }
        if !matches!(node, Node::Entries(_) | Node::EntryBranch { .. }) {
            return Err(wrong(id, "it is no node of entries"));
        }
        if !expected.describes(&node) {
            return Err(wrong(id, "it holds other entries than its parent says"));
        }
        match node {
            Node::Entries(entries) => {
                if let (Some(before), Some(first)) = (&self.last, entries.first())
                    && *before >= first.path
                {
                    return Err(wrong(id, "its paths do not come after those before"));
                }
                self.last = entries.last().map(|entry| entry.path.clone()).or(self.last.take());
                self.leaf = entries.into_iter();
            }
            Node::EntryBranch { level, mut children } => {
                children.reverse();
                self.pending.push((level, children));
            }
            _ => {}
        }
        Ok(())
    }

    /// The next entry.
    ///
    /// # Errors
    /// As [`NodeSource::node`]. After an error the cursor goes on behind the node that could not be read.
    pub fn next_entry(&mut self) -> Result<Option<TreeEntry>, RepositoryError> {
        if let Some(entry) = self.peeked.take() {
            return Ok(Some(entry));
        }
        loop {
            if let Some(entry) = self.leaf.next() {
                return Ok(Some(entry));
            }
            let Some((level, children)) = self.pending.last_mut() else { return Ok(None) };
            let level = *level;
            match children.pop() {
                Some(child) => self.descend(child.node, level - 1, &Below::child(&child))?,
                None => drop(self.pending.pop()),
            }
        }
    }

    /// Moves to the first entry at or behind `path`, reading only the nodes on the way, and gives it if it is there.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub fn seek(&mut self, path: &EntryPath) -> Result<Option<TreeEntry>, RepositoryError> {
        loop {
            while let Some(entry) = self.peeked.take().or_else(|| self.leaf.next()) {
                match entry.path.cmp(path) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Ok(Some(entry)),
                    std::cmp::Ordering::Greater => {
                        self.peeked = Some(entry);
                        return Ok(None);
                    }
                }
            }
            let Some((level, children)) = self.pending.last_mut() else { return Ok(None) };
            let level = *level;
            while children.last().is_some_and(|child| child.last < *path) {
                children.pop();
            }
            match children.pop() {
                Some(child) => self.descend(child.node, level - 1, &Below::child(&child))?,
                None => drop(self.pending.pop()),
            }
        }
    }
}

/// Chunks and holes of a content in order.
pub struct ListCursor<'a> {
    source: &'a dyn NodeSource,
    pending: Vec<(u8, Vec<ListChild>)>,
    leaf: std::vec::IntoIter<ListItem>,
}

impl<'a> ListCursor<'a> {
    /// Begins at the first chunk.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub fn new(source: &'a dyn NodeSource, content: &Content) -> Result<Self, RepositoryError> {
        let mut cursor = Self { source, pending: Vec::new(), leaf: Vec::new().into_iter() };
        match content {
            Content::Inline(items) => cursor.leaf = items.clone().into_iter(),
            Content::List(ListRef { root, level, bytes, chunks }) => {
                cursor.descend(*root, *level, &ListChild { node: *root, bytes: *bytes, chunks: *chunks })?
            }
        }
        Ok(cursor)
    }

    fn descend(&mut self, id: NodeId, level: u8, expected: &ListChild) -> Result<(), RepositoryError> {
        let node = self.source.node(id)?;
        if node.level() != level {
            return Err(wrong(id, "it has another level than its parent says"));
        }
        let (bytes, chunks) = match node {
            Node::Chunks(items) => {
                let sums = (items.iter().map(|item| u64::from(item.length)).sum(), items.len() as u64);
                self.leaf = items.into_iter();
                sums
            }
            Node::ChunkBranch { level, mut children } => {
                let sums = (
                    children.iter().map(|c| c.bytes).fold(0, u64::saturating_add),
                    children.iter().map(|c| c.chunks).fold(0, u64::saturating_add),
                );
                children.reverse();
                self.pending.push((level, children));
                sums
            }
            _ => return Err(wrong(id, "it is no node of chunks")),
        };
        if (bytes, chunks) == (expected.bytes, expected.chunks) {
            Ok(())
        } else {
            Err(wrong(id, "it holds other chunks than its parent says"))
        }
    }

    /// Moves forward to the chunk or hole that `offset` lies in, reading only the nodes on the way; gives where it
    /// begins. For a cursor that has not moved yet.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub fn skip_to(&mut self, offset: u64) -> Result<u64, RepositoryError> {
        let mut start = 0_u64;
        loop {
            while let Some(item) = self.leaf.as_slice().first() {
                if start.saturating_add(item.length.into()) > offset {
                    return Ok(start);
                }
                start += u64::from(item.length);
                self.leaf.next();
            }
            let Some((level, children)) = self.pending.last_mut() else { return Ok(start) };
            let level = *level;
            match children.pop() {
                Some(child) if start.saturating_add(child.bytes) <= offset => start += child.bytes,
                Some(child) => self.descend(child.node, level - 1, &child)?,
                None => drop(self.pending.pop()),
            }
        }
    }

    /// The next chunk or hole.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub fn next_item(&mut self) -> Result<Option<ListItem>, RepositoryError> {
        loop {
            if let Some(item) = self.leaf.next() {
                return Ok(Some(item));
            }
            let Some((level, children)) = self.pending.last_mut() else { return Ok(None) };
            let level = *level;
            match children.pop() {
                Some(child) => self.descend(child.node, level - 1, &child)?,
                None => drop(self.pending.pop()),
            }
        }
    }
}
