//! Building trees from items that come in order; memory holds one node a level.

use strongroom_format::NodeId;
use strongroom_format::node::{ITEM_LIMIT, ListItem, ListRef, Node};
use strongroom_format::tree_entry::{Content, INLINE_LIMIT};
use strongroom_keys::derive::Identity;

use super::shape::{ChunkShape, Shape};
use crate::error::RepositoryError;

/// Fewest items of a node that ends before its tree does.
const MINIMUM_ITEMS: usize = 32;
/// A node ends after an item whose hash has these bits zero.
const BOUNDARY_MASK: u64 = 127;
/// A node of entries ends when its items have this many encoded bytes.
const NODE_BYTES: usize = 256 << 10;

/// Stores a node and names it.
pub(crate) type Emit<'a> = dyn FnMut(&Node) -> Result<NodeId, RepositoryError> + 'a;

/// Builds one tree.
pub struct TreeBuilder<S: Shape> {
    items: Vec<S::Item>,
    item_bytes: usize,
    levels: Vec<Vec<S::Child>>,
}

impl<S: Shape> Default for TreeBuilder<S> {
    fn default() -> Self {
        Self { items: Vec::new(), item_bytes: 0, levels: Vec::new() }
    }
}

impl<S: Shape> TreeBuilder<S> {
    /// Appends an item; nodes that end are given to `emit`.
    ///
    /// # Errors
    /// `Unstorable`, and what `emit` fails with.
    pub fn push(
        &mut self,
        item: S::Item,
        identity: &Identity,
        emit: &mut Emit<'_>,
    ) -> Result<(), RepositoryError> {
        let hash = identity.boundary_hash(0, &S::item_key(&item));
        self.item_bytes += S::item_bytes(&item);
        self.items.push(item);
        if ends(self.items.len(), hash) || self.item_bytes >= NODE_BYTES {
            self.end_leaf(identity, emit)
        } else {
            Ok(())
        }
    }

    fn end_leaf(&mut self, identity: &Identity, emit: &mut Emit<'_>) -> Result<(), RepositoryError> {
        self.item_bytes = 0;
        let node = S::leaf(std::mem::take(&mut self.items));
        self.add_child(1, &node, identity, emit)
    }

    fn add_child(
        &mut self,
        level: u8,
        node: &Node,
        identity: &Identity,
        emit: &mut Emit<'_>,
    ) -> Result<(), RepositoryError> {
        let child = summarize::<S>(emit(node)?, node)?;
        let hash = identity.boundary_hash(level, &S::child_key(&child));
        let at = usize::from(level) - 1;
        if self.levels.len() <= at {
            self.levels.push(Vec::new());
        }
        self.levels[at].push(child);
        let is_large = self.levels[at].iter().map(S::child_bytes).sum::<usize>() >= NODE_BYTES;
        if is_large || ends(self.levels[at].len(), hash) {
            self.end_branch(level, identity, emit)
        } else {
            Ok(())
        }
    }

    fn end_branch(
        &mut self,
        level: u8,
        identity: &Identity,
        emit: &mut Emit<'_>,
    ) -> Result<(), RepositoryError> {
        let children = std::mem::take(&mut self.levels[usize::from(level) - 1]);
        self.add_child(level + 1, &S::branch(level, children), identity, emit)
    }

    /// Ends the tree: its root and the root's level. An empty tree is an empty leaf.
    ///
    /// # Errors
    /// As [`TreeBuilder::push`].
    pub fn finish(
        mut self,
        identity: &Identity,
        emit: &mut Emit<'_>,
    ) -> Result<(NodeId, u8), RepositoryError> {
        if self.levels.is_empty() && self.items.is_empty() {
            return Ok((emit(&S::leaf(Vec::new()))?, 0));
        }
        if !self.items.is_empty() {
            self.end_leaf(identity, emit)?;
        }
        let mut level = 1_u8;
        loop {
            let at = usize::from(level) - 1;
            let is_top = self.levels.len() == at + 1;
            match &self.levels[at][..] {
                [only] if is_top => return Ok((S::child_id(only), level - 1)),
                [] => {}
                _ => self.end_branch(level, identity, emit)?,
            }
            level += 1;
        }
    }
}

fn ends(count: usize, hash: u64) -> bool {
    count >= ITEM_LIMIT || (count >= MINIMUM_ITEMS && hash & BOUNDARY_MASK == 0)
}

fn summarize<S: Shape>(id: NodeId, node: &Node) -> Result<S::Child, RepositoryError> {
    S::summarize(id, node).map_err(|source| RepositoryError::Unstorable { what: "a tree".into(), source })
}

/// Builds the content of one file or stream: inline while it is short, else a tree.
#[derive(Default)]
pub struct ContentBuilder {
    inline: Vec<ListItem>,
    tree: Option<TreeBuilder<ChunkShape>>,
    bytes: u64,
    chunks: u64,
}

impl ContentBuilder {
    /// Appends a chunk or hole.
    ///
    /// # Errors
    /// As [`TreeBuilder::push`].
    pub fn push(
        &mut self,
        item: ListItem,
        identity: &Identity,
        emit: &mut Emit<'_>,
    ) -> Result<(), RepositoryError> {
        self.bytes += u64::from(item.length);
        self.chunks += 1;
        if self.tree.is_none() && self.inline.len() < INLINE_LIMIT {
            self.inline.push(item);
            return Ok(());
        }
        let tree = self.tree.get_or_insert_with(TreeBuilder::default);
        for earlier in std::mem::take(&mut self.inline) {
            tree.push(earlier, identity, emit)?;
        }
        tree.push(item, identity, emit)
    }

    /// Ends the content.
    ///
    /// # Errors
    /// As [`TreeBuilder::push`].
    pub fn finish(self, identity: &Identity, emit: &mut Emit<'_>) -> Result<Content, RepositoryError> {
        match self.tree {
            None => Ok(Content::Inline(self.inline)),
            Some(tree) => {
                let (root, level) = tree.finish(identity, emit)?;
                Ok(Content::List(ListRef { root, level, bytes: self.bytes, chunks: self.chunks }))
            }
        }
    }
}
