//! Compaction: many small index objects become few, and those that describe mostly packs that count no more are written
//! anew, by one journal entry. Old objects stay until they are pruned.

use strongroom_format::entry::{IndexRef, ReindexBody, Statement};
use strongroom_format::registry::Roles;

use crate::error::RepositoryError;
use crate::index_writer::{INDEX_BYTES, IndexWriter};
use crate::repository::Repository;
use crate::state::State;

/// So many small index objects of one source are merged.
const SMALL_OBJECTS: usize = 24;

impl Repository {
    /// Merges the small index objects of any source that has many. Does nothing without the role *maintain*.
    ///
    /// # Errors
    /// `Store`, `Damaged`, `Seal`.
    pub fn compact_index(&mut self) -> Result<(), RepositoryError> {
        let may = self
            .signer
            .as_ref()
            .and_then(|signer| self.state.policy.signer(signer.id()))
            .is_some_and(|signer| signer.roles.holds(Roles::MAINTAIN));
        let small = small_objects(&self.state);
        if !may || small.len() < SMALL_OBJECTS {
            return Ok(());
        }
        self.replace_index(&small)
    }

    /// Merges index objects of one source, without what they say of packs that count no more.
    pub(crate) fn replace_index(&mut self, objects: &[IndexRef]) -> Result<(), RepositoryError> {
        if !objects.iter().all(|object| self.state.indexes.contains_key(&object.id)) {
            return Ok(());
        }
        let added = self.merge(objects)?;
        let body = ReindexBody { added, removed: objects.iter().map(|index| index.id).collect() };
        self.append(|state| {
            // Somebody else compacted the same objects first: then there is nothing left to say.
            if body.removed.iter().all(|id| state.indexes.contains_key(id)) {
                Ok(Statement::Reindex(body.clone()))
            } else {
                Err(RepositoryError::Cancelled)
            }
        })
        .map(drop)
        .or_else(|error| if matches!(error, RepositoryError::Cancelled) { Ok(()) } else { Err(error) })?;
        self.load_index()
    }

    fn merge(&self, small: &[IndexRef]) -> Result<Vec<IndexRef>, RepositoryError> {
        let Some(first) = small.first() else { return Ok(Vec::new()) };
        let mut writer = IndexWriter::new(
            &*self.store,
            self.metadata_key()?,
            self.signer()?,
            &*self.random,
            first.source_tag,
        );
        for index in small {
            for (stored, entry) in self.read_index(index)? {
                // Packs that no entry named, or that no longer count, are left out.
                if self.state.packs.contains_key(&entry.id) {
                    writer.push(stored)?;
                }
            }
        }
        writer.finish()
    }
}

/// The small index objects of the source that has the most of them.
fn small_objects(state: &State) -> Vec<IndexRef> {
    let mut by_tag = std::collections::BTreeMap::<_, Vec<IndexRef>>::new();
    for index in state.indexes.values().filter(|index| index.length < INDEX_BYTES as u64 / 4) {
        by_tag.entry(index.source_tag).or_default().push(*index);
    }
    by_tag.into_values().max_by_key(Vec::len).unwrap_or_default()
}
