//! Trees against plain vectors and maps: order, counts, seeking, and that history leaves no trace.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use strongroom_format::node::{ListItem, Node, TreeRef};
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_format::{ChunkId, NodeId};
use strongroom_keys::Secret;
use strongroom_keys::derive::Identity;
use strongroom_repository::RepositoryError;
use strongroom_repository::tree::{
    ContentBuilder, EntryCursor, EntryShape, ListCursor, NodeSource, TreeBuilder,
};

/// Nodes in memory, as they are stored.
struct Nodes {
    identity: Identity,
    stored: HashMap<NodeId, Vec<u8>>,
    written: usize,
}

impl Nodes {
    fn new() -> Self {
        Self { identity: Identity::new(&Secret::new([5; 32])), stored: HashMap::new(), written: 0 }
    }

    fn entries(&mut self, entries: &[TreeEntry]) -> TreeRef {
        let (identity, stored) = (self.identity.clone(), &mut self.stored);
        let mut builder = TreeBuilder::<EntryShape>::default();
        let mut emit = |node: &Node| {
            let bytes = node.encode().unwrap();
            let id = identity.node_id(&bytes);
            stored.insert(id, bytes);
            Ok::<_, RepositoryError>(id)
        };
        for entry in entries {
            builder.push(entry.clone(), &identity, &mut emit).unwrap();
        }
        let (root, level) = builder.finish(&identity, &mut emit).unwrap();
        let bytes = entries.iter().map(TreeEntry::bytes).sum();
        TreeRef { root, level, entries: entries.len() as u64, bytes }
    }

    fn list(&mut self, items: &[ListItem]) -> Content {
        let (identity, stored) = (self.identity.clone(), &mut self.stored);
        let mut written = 0;
        let mut builder = ContentBuilder::default();
        let mut emit = |node: &Node| {
            let bytes = node.encode().unwrap();
            let id = identity.node_id(&bytes);
            written += usize::from(stored.insert(id, bytes).is_none());
            Ok::<_, RepositoryError>(id)
        };
        for item in items {
            builder.push(*item, &identity, &mut emit).unwrap();
        }
        let content = builder.finish(&identity, &mut emit).unwrap();
        self.written = written;
        content
    }
}

impl NodeSource for Nodes {
    fn node(&self, id: NodeId) -> Result<Node, RepositoryError> {
        Ok(Node::decode(&self.stored[&id]).unwrap())
    }
}

fn chunk(seed: u64, length: u32) -> ListItem {
    ListItem { id: ChunkId(*blake3::hash(&seed.to_le_bytes()).as_bytes()), length }
}

fn entry(path: &str, length: u32) -> TreeEntry {
    let content = if length == 0 { vec![] } else { vec![chunk(u64::from(length), length)] };
    TreeEntry {
        path: EntryPath::new(path).unwrap(),
        kind: EntryKind::Stream(Content::Inline(content)),
        metadata: None,
        link_to: None,
    }
}

fn walk(nodes: &Nodes, tree: &TreeRef) -> Vec<TreeEntry> {
    let mut cursor = EntryCursor::new(nodes, tree).unwrap();
    std::iter::from_fn(|| cursor.next_entry().unwrap()).collect()
}

fn items(nodes: &Nodes, content: &Content) -> Vec<ListItem> {
    let mut cursor = ListCursor::new(nodes, content).unwrap();
    std::iter::from_fn(|| cursor.next_item().unwrap()).collect()
}

fn sorted(paths: &BTreeMap<String, u32>) -> Vec<TreeEntry> {
    let mut entries: Vec<_> = paths.iter().map(|(path, length)| entry(path, *length)).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

fn many_paths() -> impl Strategy<Value = BTreeMap<String, u32>> {
    // Few letters, so that folders are shared; numbers, so that there are many.
    proptest::collection::btree_map("[a-c!]([.]x)?(/[a-d]{1,2}y[0-9]{1,4}){0,2}", 0..1000_u32, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn entries_come_back_in_order(paths in many_paths()) {
        let entries = sorted(&paths);
        let mut nodes = Nodes::new();
        let tree = nodes.entries(&entries);
        prop_assert_eq!(walk(&nodes, &tree), entries);
    }

    #[test]
    fn the_same_entries_have_the_same_root_and_others_another(paths in many_paths(), at in any::<prop::sample::Index>()) {
        let entries = sorted(&paths);
        let mut nodes = Nodes::new();
        let root = nodes.entries(&entries).root;
        // By way of other trees in the same store, and in a store of its own.
        let mut fewer = entries.clone();
        if !fewer.is_empty() {
            let at = at.index(fewer.len());
            fewer.remove(at);
            prop_assert_ne!(nodes.entries(&fewer).root, root);
        }
        prop_assert_eq!(nodes.entries(&entries).root, root);
        prop_assert_eq!(Nodes::new().entries(&entries).root, root);
    }

    #[test]
    fn seeking_is_searching(paths in many_paths(), mut wanted in proptest::collection::vec("[a-c!]([.]x)?(/[a-d]{1,2}y[0-9]{1,4}){0,2}", 1..40), known in proptest::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let entries = sorted(&paths);
        let mut nodes = Nodes::new();
        let tree = nodes.entries(&entries);
        if !entries.is_empty() {
            wanted.extend(known.iter().map(|at| entries[at.index(entries.len())].path.to_string()));
        }
        let mut wanted: Vec<_> = wanted.into_iter().map(|path| EntryPath::new(path).unwrap()).collect();
        wanted.sort();
        wanted.dedup();
        let mut cursor = EntryCursor::new(&nodes, &tree).unwrap();
        for path in &wanted {
            let found = entries.binary_search_by(|entry| entry.path.cmp(path));
            prop_assert_eq!(cursor.seek(path).unwrap().map(|entry| entry.path), found.ok().map(|_| path.clone()));
        }
        // What follows the last one sought is what follows in the model.
        let last = wanted.last().unwrap();
        let next = entries.iter().find(|entry| entry.path > *last);
        let found = cursor.next_entry().unwrap();
        prop_assert_eq!(found.as_ref(), next);
    }

    #[test]
    fn lists_come_back_with_their_counts(lengths in proptest::collection::vec((0..50_u64, 1..9000_u32, prop::bool::weighted(0.1)), 0..3000)) {
        let list: Vec<_> = lengths
            .iter()
            .map(|(seed, length, hole)| if *hole { ListItem { id: ChunkId::HOLE, length: *length } } else { chunk(*seed, *length) })
            .collect();
        let mut nodes = Nodes::new();
        let content = nodes.list(&list);
        prop_assert_eq!(content.bytes(), list.iter().map(|item| u64::from(item.length)).sum::<u64>());
        match &content {
            Content::Inline(inline) => prop_assert!(inline.len() <= 8 && list.len() <= 8),
            Content::List(root) => prop_assert_eq!(root.chunks, list.len() as u64),
        }
        prop_assert_eq!(items(&nodes, &content), list.clone());
        prop_assert_eq!(Nodes::new().list(&list), content);
    }
}

#[test]
fn an_insertion_at_the_front_writes_one_path() {
    let mut nodes = Nodes::new();
    let mut list: Vec<_> = (0..100_000).map(|seed| chunk(seed, 65_536)).collect();
    let Content::List(root) = nodes.list(&list) else { panic!() };
    let whole = nodes.written;
    assert!((400..2000).contains(&whole), "{whole}");
    assert!((1..=3).contains(&root.level), "{}", root.level);
    for at in [0, 50_000, 99_999] {
        list.insert(at, chunk(1_000_000 + at as u64, 7));
        nodes.list(&list);
        // A leaf may be split in two, or two be joined, on every level.
        assert!(nodes.written <= 2 * (usize::from(root.level) + 1), "{} nodes at {at}", nodes.written);
    }
}

#[test]
fn runs_of_the_same_chunk_are_cut_too() {
    let mut nodes = Nodes::new();
    let list = vec![chunk(1, 65_536); 10_000];
    let content = nodes.list(&list);
    assert_eq!(items(&nodes, &content), list);
    assert!(nodes.stored.len() < 10, "the same leaves are one node");
}

#[test]
fn a_parent_that_says_otherwise_is_refused() {
    let mut nodes = Nodes::new();
    let entries: Vec<_> = (0..500).map(|n| entry(&format!("f{n:04}"), n)).collect();
    let tree = nodes.entries(&entries);
    for wrong in [
        TreeRef { entries: tree.entries + 1, ..tree },
        TreeRef { bytes: tree.bytes - 1, ..tree },
        TreeRef { level: tree.level + 1, ..tree },
    ] {
        assert!(matches!(EntryCursor::new(&nodes, &wrong), Err(RepositoryError::Inconsistent { .. })));
    }
    let items: Vec<_> = (0..500).map(|seed| chunk(seed, 10)).collect();
    let content = nodes.list(&items);
    let Content::List(list) = content else { panic!() };
    let mut wrong = list;
    wrong.chunks += 1;
    assert!(ListCursor::new(&nodes, &Content::List(wrong)).is_err());
    // A tree of chunks is no tree of entries.
    let mixed = TreeRef { root: list.root, level: list.level, entries: list.chunks, bytes: list.bytes };
    assert!(EntryCursor::new(&nodes, &mixed).is_err());
}
