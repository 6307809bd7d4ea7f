//! What the two kinds of tree have in common, and where they differ.

use strongroom_format::cbor::Encoder;
use strongroom_format::node::{EntryChild, ListChild, ListItem, Node};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_format::{FormatError, NodeId};

/// A kind of tree.
pub trait Shape {
    /// What a leaf holds.
    type Item;
    /// What an inner node holds.
    type Child;

    /// The key of an item, which decides whether its leaf ends.
    fn item_key(item: &Self::Item) -> Vec<u8>;
    /// The key of a child, which decides whether its node ends.
    fn child_key(child: &Self::Child) -> Vec<u8>;
    /// Encoded bytes of a child, where nodes are bounded by bytes too; else 0.
    fn child_bytes(child: &Self::Child) -> usize;
    /// Encoded bytes of an item, where nodes are bounded by bytes too; else 0.
    fn item_bytes(item: &Self::Item) -> usize;
    /// A leaf.
    fn leaf(items: Vec<Self::Item>) -> Node;
    /// An inner node.
    fn branch(level: u8, children: Vec<Self::Child>) -> Node;
    /// What an inner node says of `node`.
    ///
    /// # Errors
    /// `Rule` for an empty node: only a root may be one.
    fn summarize(id: NodeId, node: &Node) -> Result<Self::Child, FormatError>;
    /// The ID of a child.
    fn child_id(child: &Self::Child) -> NodeId;
}

const EMPTY: FormatError = FormatError::Rule { what: "tree node", rule: "only the root may be empty" };
const MIXED: FormatError = FormatError::Rule { what: "tree node", rule: "a tree has nodes of one kind" };

/// Entries by path.
#[derive(Debug)]
pub enum EntryShape {}

impl Shape for EntryShape {
    type Item = TreeEntry;
    type Child = EntryChild;

    fn item_key(item: &TreeEntry) -> Vec<u8> {
        item.path.as_bytes().to_vec()
    }

    fn child_key(child: &EntryChild) -> Vec<u8> {
        child.last.as_bytes().to_vec()
    }

    fn child_bytes(child: &EntryChild) -> usize {
        50 + child.last.as_bytes().len()
    }

    fn item_bytes(item: &TreeEntry) -> usize {
        let mut encoder = Encoder::default();
        item.encode(&mut encoder);
        encoder.into_bytes().len()
    }

    fn leaf(items: Vec<TreeEntry>) -> Node {
        Node::Entries(items)
    }

    fn branch(level: u8, children: Vec<EntryChild>) -> Node {
        Node::EntryBranch { level, children }
    }

    fn summarize(id: NodeId, node: &Node) -> Result<EntryChild, FormatError> {
        match node {
            Node::Entries(entries) => {
                let last = entries.last().ok_or(EMPTY)?.path.clone();
                Ok(EntryChild {
                    node: id,
                    entries: entries.len() as u64,
                    bytes: entries.iter().map(TreeEntry::bytes).fold(0, u64::saturating_add),
                    last,
                })
            }
            Node::EntryBranch { children, .. } => {
                let last = children.last().ok_or(EMPTY)?.last.clone();
                let entries = children.iter().map(|child| child.entries).fold(0, u64::saturating_add);
                Ok(EntryChild {
                    node: id,
                    entries,
                    bytes: children.iter().map(|child| child.bytes).fold(0, u64::saturating_add),
                    last,
                })
            }
            _ => Err(MIXED),
        }
    }

    fn child_id(child: &EntryChild) -> NodeId {
        child.node
    }
}

/// Chunks by position.
#[derive(Debug)]
pub enum ChunkShape {}

impl Shape for ChunkShape {
    type Item = ListItem;
    type Child = ListChild;

    fn item_key(item: &ListItem) -> Vec<u8> {
        item.encode().to_vec()
    }

    fn child_key(child: &ListChild) -> Vec<u8> {
        child.node.0.to_vec()
    }

    fn child_bytes(_child: &ListChild) -> usize {
        0
    }

    fn item_bytes(_item: &ListItem) -> usize {
        0
    }

    fn leaf(items: Vec<ListItem>) -> Node {
        Node::Chunks(items)
    }

    fn branch(level: u8, children: Vec<ListChild>) -> Node {
        Node::ChunkBranch { level, children }
    }

    fn summarize(id: NodeId, node: &Node) -> Result<ListChild, FormatError> {
        match node {
            Node::Chunks(items) => {
                let bytes = items.iter().map(|item| u64::from(item.length)).sum();
                Ok(ListChild { node: id, bytes, chunks: items.len() as u64 })
            }
            Node::ChunkBranch { children, .. } => Ok(ListChild {
                node: id,
                bytes: children.iter().map(|child| child.bytes).fold(0, u64::saturating_add),
                chunks: children.iter().map(|child| child.chunks).fold(0, u64::saturating_add),
            }),
            _ => Err(MIXED),
        }
    }

    fn child_id(child: &ListChild) -> NodeId {
        child.node
    }
}
