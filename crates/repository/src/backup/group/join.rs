//! Joining the trees of parts: their entries in path order, one at a time.

use std::collections::BTreeMap;

use strongroom_format::NodeId;
use strongroom_format::node::Node;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::TreeEntry;

use super::part::StoredPart;
use super::{Group, GroupError, of_group};
use crate::backup::Lane;
use crate::error::RepositoryError;
use crate::reader::Reader;
use crate::tree::{EntryCursor, NodeSource};

/// Nodes of parts: in packs that no entry names yet, or in those that count.
pub(super) struct PartNodes<'a> {
    pub(super) stored: Reader<'a>,
    pub(super) known: Reader<'a>,
}

impl NodeSource for PartNodes<'_> {
    fn node(&self, id: NodeId) -> Result<Node, RepositoryError> {
        match self.stored.node(id) {
            Err(RepositoryError::ChunkUnavailable { .. }) => self.known.node(id),
            node => node,
        }
    }
}

impl PartNodes<'_> {
    /// The facts of a part.
    pub(super) fn facts(&self, stored: &StoredPart) -> Result<Vec<u8>, RepositoryError> {
        let Some(facts) = stored.manifest.facts else { return Ok(Vec::new()) };
        match self.node(facts.node)? {
            Node::Blob(json) => Ok(json),
            _ => Err(RepositoryError::Inconsistent {
                object: format!("tree node {}", facts.node),
                reason: "it is no blob, as the facts of a part are".into(),
            }),
        }
    }
}

/// The entries of all parts, in the order of the snapshot that they become.
pub struct JoinedEntries<'j, 'env> {
    group: &'j Group,
    lane: Lane<'env>,
    cursors: Vec<EntryCursor<'j>>,
    /// The next entry of each part, and whose it is.
    heads: BTreeMap<EntryPath, (usize, TreeEntry)>,
}

impl<'j, 'env> JoinedEntries<'j, 'env> {
    pub(super) fn new(
        group: &'j Group,
        nodes: &'j dyn NodeSource,
        lane: Lane<'env>,
    ) -> Result<Self, RepositoryError> {
        let cursors = group.parts.iter().map(|stored| EntryCursor::new(nodes, &stored.manifest.tree));
        let cursors = cursors.collect::<Result<Vec<_>, _>>()?;
        let mut entries = Self { group, lane, cursors, heads: BTreeMap::new() };
        (0..entries.cursors.len()).try_for_each(|part| entries.advance(part))?;
        Ok(entries)
    }

    /// Takes the next entry of a part up. One that another part has as well, and the same, is there once.
    fn advance(&mut self, part: usize) -> Result<(), RepositoryError> {
        while let Some(entry) = self.cursors[part].next_entry()? {
            let Some((other, known)) = self.heads.get(&entry.path) else {
                self.heads.insert(entry.path.clone(), (part, entry));
                return Ok(());
            };
            if *known != entry {
                let number = |part: usize| self.group.parts.get(part).map_or(0, |stored| stored.part.number);
                let (one, other) = (number(*other), number(part));
                let path = entry.path.to_string();
                return Err(of_group(&self.group.name)(GroupError::Overlap { path, one, other }));
            }
        }
        Ok(())
    }

    /// The next entry, which is in the snapshot now.
    ///
    /// # Errors
    /// `Group` when two parts have an entry of the same path; what reading the tree of a part fails with;
    /// `Cancelled`, `Interrupted`.
    pub fn next_entry(&mut self) -> Result<Option<TreeEntry>, RepositoryError> {
        let Some((_, (part, entry))) = self.heads.pop_first() else { return Ok(None) };
        self.advance(part)?;
        self.lane.entry(entry.clone())?;
        Ok(Some(entry))
    }

    /// Takes what is left, and ends.
    pub(super) fn finish(mut self) -> Result<(), RepositoryError> {
        while self.next_entry()?.is_some() {}
        self.lane.finish()
    }
}
