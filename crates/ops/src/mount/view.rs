//! What a mounted folder shows: `ids/`, `sources/` and `latest`, and below them the trees of snapshots.
//!
//! Nothing here knows of FUSE. Of a tree, only the nodes on the way to what is asked for are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::{EntryCursor, NodeSource};

use super::names;

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

/// One source and its snapshots.
struct Source {
    name: String,
    /// By their names, oldest first.
    snapshots: BTreeMap<String, usize>,
}

/// Snapshots as folders.
pub(super) struct View {
    snapshots: Vec<Snapshot>,
    ids: BTreeMap<String, usize>,
    sources: Vec<Source>,
}

impl View {
    /// Of those snapshots, oldest first.
    pub(super) fn new(snapshots: Vec<Snapshot>) -> Self {
        let mut ids = BTreeMap::new();
        let mut sources: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (number, snapshot) in snapshots.iter().enumerate() {
            ids.insert(snapshot.id().short(), number);
            let of_source = sources.entry(names::of_source(&snapshot.manifest.source)).or_default();
            let mut name = names::of_time(snapshot.manifest.started_ns);
            if of_source.contains_key(&name) {
                name = format!("{name}-{}", snapshot.id().short());
            }
            of_source.insert(name, number);
        }
        let sources = sources.into_iter().map(|(name, snapshots)| Source { name, snapshots }).collect();
        Self { snapshots, ids, sources }
    }

    /// The snapshot that a place lies in.
    pub(super) fn snapshot(&self, place: &Place) -> Option<&Snapshot> {
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
        let mut cursor = EntryCursor::new(nodes, &snapshot.manifest.tree)?;
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
        let mut cursor = EntryCursor::new(nodes, &snapshot.manifest.tree)?;
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
                    children.push(link("latest", format!("ids/{}", last.id().short())));
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
