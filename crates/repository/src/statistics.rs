//! Counts and sizes of a repository.

use std::collections::BTreeSet;

use strongroom_format::registry::ObjectKind;

use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

/// Counts and sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Snapshots.
    pub snapshots: u64,
    /// Sources they are of.
    pub sources: u64,
    /// Plain bytes of all snapshots together, as if each were restored.
    pub logical_bytes: u64,
    /// Plain bytes of all chunks, each counted once.
    pub unique_bytes: u64,
    /// Chunks stored.
    pub chunks: u64,
    /// Bytes of sealed frames of chunks.
    pub frame_bytes: u64,
    /// Data packs.
    pub data_packs: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Metadata packs.
    pub metadata_packs: u64,
    /// Their bytes.
    pub metadata_bytes: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Their bytes.
    pub index_bytes: u64,
    /// Parts of groups that are stored, committed or not.
    pub parts: u64,
    /// Their bytes.
    pub part_bytes: u64,
    /// Journal entries.
    pub journal_entries: u64,
}

impl Repository {
    /// Counts what the repository holds; the index must have been loaded.
    ///
    /// # Errors
    /// `Cache`, `Store`.
    pub fn statistics(&self) -> Result<Statistics, RepositoryError> {
        let state = &self.state;
        let mut statistics = Statistics {
            snapshots: state.snapshots.len() as u64,
            sources: state
                .snapshots
                .iter()
                .map(|s| (&s.manifest.host, &s.manifest.source))
                .collect::<BTreeSet<_>>()
                .len() as u64,
            logical_bytes: state.snapshots.iter().map(|s| s.manifest.totals.bytes).sum(),
            index_objects: state.indexes.len() as u64,
            index_bytes: state.indexes.values().map(|index| index.length).sum(),
            journal_entries: state.number + 1,
            ..Statistics::default()
        };
        for pack in state.packs.values() {
            let (count, bytes) = match pack.kind {
                ObjectKind::DataPack => (&mut statistics.data_packs, &mut statistics.data_bytes),
                _ => (&mut statistics.metadata_packs, &mut statistics.metadata_bytes),
            };
            *count += 1;
            *bytes += pack.length;
        }
        self.store.list("parts/", &mut |name, info| {
            if names::part_of(&name).is_some() {
                statistics.parts += 1;
                statistics.part_bytes += info.length_bytes;
            }
            Ok(())
        })?;
        // Two descriptions of a pack are one pack.
        let mut seen = BTreeSet::new();
        for number in self.cache.pack_numbers()? {
            let Some(pack) = self.cache.pack(number)?.filter(|pack| seen.insert(pack.id)) else { continue };
            if pack.kind == ObjectKind::DataPack {
                statistics.chunks += pack.footer.chunks.len() as u64;
                for frame in &pack.footer.frames {
                    statistics.unique_bytes += u64::from(frame.plain_length);
                    statistics.frame_bytes += u64::from(frame.sealed_length);
                }
            }
        }
        Ok(statistics)
    }
}
