//! What a mounted folder shows: `ids/`, `sources/` and `latest`, and below them the trees of snapshots.
//!
//! Nothing here knows of FUSE. Of a tree, only the nodes on the way to what is asked for are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use strongroom_engines::path_part;
use strongroom_format::SnapshotId;
use strongroom_format::node::TreeRef;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::tree::{EntryCursor, NodeSource};

/// Entries of a folder that are read at once.
const BATCH: usize = 1024;

/// One place in the mounted folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The folder itself.
    Root,
    /// `ids/`.
    Ids,
    /// `sources/`.
    Sources,
    /// `sources/NAME/`: its place in the list.
    Source(usize),
    /// A symbolic link to a snapshot.
    Link(String),
    /// The top of a snapshot.
    Snapshot(usize),
    /// Something in a snapshot.
    Entry(usize, EntryPath),
}

/// A place, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    /// Of what has an entry; a folder that only follows from the paths of others has none.
    pub(super) entry: Option<Arc<TreeEntry>>,
}

impl Node {
    fn bare(place: Place) -> Self {
        Self { place, entry: None }
    }

    /// The folder itself.
    pub(super) fn root() -> Self {
        Self::bare(Place::Root)
    }
}

/// Something in a folder.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) name: Vec<u8>,
    pub(super) node: Node,
}

/// One snapshot that is shown.
pub(super) struct Shown {
    pub(super) id: SnapshotId,
    pub(super) source: String,
    pub(super) started_ns: i64,
    pub(super) tree: TreeRef,
}

/// One source and its snapshots.
struct Source {
    name: String,
    /// By their names, oldest first.
    snapshots: BTreeMap<String, usize>,
}

/// Snapshots as folders.
pub(super) struct View {
    snapshots: Vec<Shown>,
    ids: BTreeMap<String, usize>,
    sources: Vec<Source>,
}

impl View {
    /// Of those snapshots, oldest first.
    pub(super) fn new(snapshots: Vec<Shown>) -> Self {
        let mut ids = BTreeMap::new();
        let mut sources: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (number, snapshot) in snapshots.iter().enumerate() {
            ids.insert(snapshot.id.short(), number);
            let of_source = sources.entry(path_part(&snapshot.source)).or_default();
            let mut name = of_time(snapshot.started_ns);
            if of_source.contains_key(&name) {
                name = format!("{name}-{}", snapshot.id.short());
            }
            of_source.insert(name, number);
        }
        let sources = sources.into_iter().map(|(name, snapshots)| Source { name, snapshots }).collect();
        Self { snapshots, ids, sources }
    }

    /// The snapshot that a place lies in.
    pub(super) fn snapshot(&self, place: &Place) -> Option<&Shown> {
        match place {
            Place::Snapshot(number) | Place::Entry(number, _) => self.snapshots.get(*number),
            _ => None,
        }
    }

    /// What a folder has under that name.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub(super) fn child(
        &self,
        nodes: &dyn NodeSource,
        folder: &Place,
        name: &[u8],
    ) -> Result<Option<Node>, RepositoryError> {
        let (number, parent) = match folder {
            Place::Snapshot(number) => (*number, None),
            Place::Entry(number, path) => (*number, Some(path)),
            Place::Link(_) => return Ok(None),
            _ => {
                let found = self.fixed(folder).into_iter().find(|child| child.name == name);
                return Ok(found.map(|child| child.node));
            }
        };
        let Some((snapshot, path)) = self.snapshots.get(number).zip(below(parent, name)) else {
            return Ok(None);
        };
        let mut cursor = EntryCursor::new(nodes, &snapshot.tree)?;
        let found = match cursor.seek(&path)? {
            Some(entry) => Some(Some(Arc::new(entry))),
            None => cursor.next_entry()?.filter(|entry| entry.path.is_within(&path)).map(|_| None),
        };
        Ok(found.map(|entry| Node { place: Place::Entry(number, path), entry }))
    }

    /// What a folder has behind the child of that name, or from the first on: as many as are read at once, none at its
    /// end.
    ///
    /// # Errors
    /// As [`NodeSource::node`].
    pub(super) fn children(
        &self,
        nodes: &dyn NodeSource,
        folder: &Place,
        after: Option<&[u8]>,
    ) -> Result<Vec<Child>, RepositoryError> {
        let (number, parent) = match folder {
            Place::Snapshot(number) => (*number, None),
            Place::Entry(number, path) => (*number, Some(path)),
            Place::Link(_) => return Ok(Vec::new()),
            // The list is in memory anyway: all of it at once.
            _ if after.is_some() => return Ok(Vec::new()),
            _ => return Ok(self.fixed(folder)),
        };
        let Some(snapshot) = self.snapshots.get(number) else { return Ok(Vec::new()) };
        let mut cursor = EntryCursor::new(nodes, &snapshot.tree)?;
        let mut next = match (after, parent) {
            (Some(after), parent) => match below(parent, after) {
                Some(path) => behind(&mut cursor, &path)?,
                None => None,
            },
            (None, Some(parent)) => {
                // The folder itself, if it has an entry, comes first.
                let _itself = cursor.seek(parent)?;
                cursor.next_entry()?
            }
            (None, None) => cursor.next_entry()?,
        };
        let depth = parent.map_or(0, |path| path.components().count());
        let mut children = Vec::new();
        while let Some(entry) = next {
            if parent.is_some_and(|parent| !entry.path.is_within(parent)) || children.len() == BATCH {
                break;
            }
            let Some(name) = entry.path.components().nth(depth).map(<[u8]>::to_vec) else { break };
            let Some(path) = below(parent, &name) else { break };
            let entry = (entry.path == path).then(|| Arc::new(entry));
            next = match &entry {
                Some(entry) if entry.kind != EntryKind::Directory => cursor.next_entry()?,
                _ => behind(&mut cursor, &path)?,
            };
            children.push(Child { name, node: Node { place: Place::Entry(number, path), entry } });
        }
        Ok(children)
    }

    /// What is in the folders above the snapshots.
    fn fixed(&self, folder: &Place) -> Vec<Child> {
        let child = |name: &str, place| Child { name: name.as_bytes().to_vec(), node: Node::bare(place) };
        let link = |name: &str, target: String| child(name, Place::Link(target));
        match folder {
            Place::Root => {
                let mut children = vec![child("ids", Place::Ids), child("sources", Place::Sources)];
                if let Some(last) = self.snapshots.last() {
                    children.push(link("latest", format!("ids/{}", last.id.short())));
                }
                children
            }
            Place::Ids => {
                self.ids.iter().map(|(name, number)| child(name, Place::Snapshot(*number))).collect()
            }
            Place::Sources => {
                let sources = self.sources.iter().enumerate();
                sources.map(|(number, source)| child(&source.name, Place::Source(number))).collect()
            }
            Place::Source(number) => {
                let Some(source) = self.sources.get(*number) else { return Vec::new() };
                let snapshots = source.snapshots.iter();
                let mut children: Vec<_> =
                    snapshots.map(|(name, number)| child(name, Place::Snapshot(*number))).collect();
                let newest = source.snapshots.iter().max_by_key(|(_, number)| **number);
                children.extend(newest.map(|(name, _)| link("latest", name.clone())));
                children
            }
            _ => Vec::new(),
        }
    }
}

/// A moment, to the second, in a form that sorts and that no file system minds: `2026-11-22T17-52-13Z`.
fn of_time(ns: i64) -> String {
    match Timestamp::from_nanosecond(ns.into()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string(),
        // Clocks that stand beyond the year 9999.
        Err(_) => ns.to_string(),
    }
}

/// A name in a folder; `None` where no path can be so.
fn below(parent: Option<&EntryPath>, name: &[u8]) -> Option<EntryPath> {
    if name.contains(&b'/') {
        return None;
    }
    let path = match parent {
        None => name.to_vec(),
        Some(parent) => [parent.as_bytes(), b"/", name].concat(),
    };
    EntryPath::new(path).ok()
}

/// The first entry that neither is `path` nor lies in it, and comes behind it.
fn behind(cursor: &mut EntryCursor<'_>, path: &EntryPath) -> Result<Option<TreeEntry>, RepositoryError> {
    // Components have no NUL, and `/` counts as the smallest byte: nothing lies between the two.
    let end = [path.as_bytes(), b"\x01"].concat();
    match EntryPath::new(end) {
        Ok(end) => match cursor.seek(&end)? {
            Some(entry) => Ok(Some(entry)),
            None => cursor.next_entry(),
        },
        // The longest path there is: what comes behind it is looked for one by one.
        Err(_) => loop {
            match cursor.next_entry()? {
                Some(entry) if entry.path <= *path || entry.path.is_within(path) => {}
                next => return Ok(next),
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use strongroom_format::NodeId;
    use strongroom_format::node::Node as Stored;
    use strongroom_format::tree_entry::{Content, Metadata};
    use strongroom_keys::Secret;
    use strongroom_keys::derive::Identity;
    use strongroom_repository::tree::{EntryShape, TreeBuilder};

    use super::*;

    #[derive(Default)]
    struct Nodes(HashMap<NodeId, Vec<u8>>);

    impl NodeSource for Nodes {
        fn node(&self, id: NodeId) -> Result<Stored, RepositoryError> {
            Ok(Stored::decode(&self.0[&id]).unwrap())
        }
    }

    impl Nodes {
        /// A tree of streams; of a path that ends in `/`, a folder that has an entry.
        fn tree(&mut self, paths: &[&str]) -> TreeRef {
            let identity = Identity::new(&Secret::new([5; 32]));
            let mut builder = TreeBuilder::<EntryShape>::default();
            let mut emit = |node: &Stored| {
                let bytes = node.encode().unwrap();
                let id = identity.node_id(&bytes);
                self.0.insert(id, bytes);
                Ok(id)
            };
            for path in paths {
                let kind = match path.ends_with('/') {
                    true => EntryKind::Directory,
                    false => EntryKind::Stream(Content::Inline(Vec::new())),
                };
                let metadata = (kind == EntryKind::Directory).then(Metadata::default);
                let path = EntryPath::new(path.trim_end_matches('/')).unwrap();
                let entry = TreeEntry { path, kind, metadata, link_to: None };
                builder.push(entry, &identity, &mut emit).unwrap();
            }
            let (root, level) = builder.finish(&identity, &mut emit).unwrap();
            TreeRef { root, level, entries: paths.len() as u64, bytes: 0 }
        }
    }

    fn shown(number: u8, source: &str, started_s: i64, tree: TreeRef) -> Shown {
        let id = SnapshotId::from_hex(&format!("{number:02x}").repeat(32)).unwrap();
        Shown { id, source: source.into(), started_ns: started_s * 1_000_000_000, tree }
    }

    fn names(view: &View, nodes: &Nodes, folder: &Place) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(|name| name.as_bytes().to_vec());
            let children = view.children(nodes, folder, after.as_deref()).unwrap();
            if children.is_empty() {
                return names;
            }
            names.extend(children.into_iter().map(|child| String::from_utf8(child.name).unwrap()));
        }
    }

    fn at(view: &View, nodes: &Nodes, path: &str) -> Option<Node> {
        path.split('/')
            .try_fold(Node::root(), |node, name| view.child(nodes, &node.place, name.as_bytes()).unwrap())
    }

    #[test]
    fn folders_are_there_with_and_without_an_entry() {
        let mut nodes = Nodes::default();
        let tree = nodes.tree(&["a/", "a/b/c", "a/b/d", "a!", "e/f", "g"]);
        let view = View::new(vec![shown(1, "s", 0, tree)]);
        let top = Place::Snapshot(0);
        assert_eq!(names(&view, &nodes, &top), ["a", "a!", "e", "g"]);
        let inner = at(&view, &nodes, "latest/a");
        // A link leads there, and has nothing in it.
        assert!(inner.is_none());
        let of = |path: &str| at(&view, &nodes, &format!("ids/01010101/{path}"));
        assert_eq!(names(&view, &nodes, &of("a").unwrap().place), ["b"]);
        assert_eq!(names(&view, &nodes, &of("a/b").unwrap().place), ["c", "d"]);
        assert_eq!(names(&view, &nodes, &of("e").unwrap().place), ["f"]);
        assert!(of("a").unwrap().entry.is_some() && of("a/b").unwrap().entry.is_none());
        assert!(of("g").unwrap().entry.is_some());
        for missing in ["b", "a/b/e", "a/", "g/x", "..", "."] {
            assert!(of(missing).is_none(), "{missing}");
        }
    }

    #[test]
    fn a_long_folder_is_listed_in_stretches() {
        let mut nodes = Nodes::default();
        let paths: Vec<String> = (0..BATCH * 2 + 3).map(|number| format!("d/{number:06}/x")).collect();
        let tree = nodes.tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let view = View::new(vec![shown(1, "s", 0, tree)]);
        let folder = at(&view, &nodes, "ids/01010101/d").unwrap().place;
        let expected: Vec<String> = (0..BATCH * 2 + 3).map(|number| format!("{number:06}")).collect();
        assert_eq!(names(&view, &nodes, &folder), expected);
    }

    #[test]
    fn sources_have_their_snapshots_by_time() {
        let mut nodes = Nodes::default();
        let tree = nodes.tree(&["x"]);
        let list = vec![
            shown(1, "a/b", 0, tree),
            shown(2, "c", 5, tree),
            shown(3, "a/b", 0, tree),
            shown(4, "a/b", 60, tree),
        ];
        let view = View::new(list);
        assert_eq!(names(&view, &nodes, &Place::Root), ["ids", "sources", "latest"]);
        assert_eq!(names(&view, &nodes, &Place::Sources), ["a%2Fb", "c"]);
        let snapshots = names(&view, &nodes, &at(&view, &nodes, "sources/a%2Fb").unwrap().place);
        let expected =
            ["1970-01-01T00-00-00Z", "1970-01-01T00-00-00Z-03030303", "1970-01-01T00-01-00Z", "latest"];
        assert_eq!(snapshots, expected);
        let latest = at(&view, &nodes, "sources/a%2Fb/latest").unwrap();
        assert_eq!(latest.place, Place::Link("1970-01-01T00-01-00Z".into()));
        assert_eq!(at(&view, &nodes, "latest").unwrap().place, Place::Link("ids/04040404".into()));
        assert!(View::new(Vec::new()).fixed(&Place::Root).len() == 2);
    }
}
