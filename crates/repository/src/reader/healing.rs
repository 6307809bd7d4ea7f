//! Reading frames of packs that are damaged or gone, and have parity that heals them.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use strongroom_format::PackId;
use strongroom_format::entry::PackRef;
use strongroom_store::StoreError;

use super::Reader;
use crate::cache::PackEntry;
use crate::error::RepositoryError;
use crate::stage::stage;
use crate::state::describe;

/// Healed packs kept in memory: who reads in the order of a stream needs little more than one.
const PACKS_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// What is known of packs that were to be healed.
pub(super) struct Healing {
    kept: LruCache<PackId, Vec<u8>>,
    /// Those that cannot be: each is tried once, not once a frame.
    hopeless: BTreeSet<PackId>,
    /// Those that frames were read of.
    healed: BTreeSet<PackId>,
}

impl Default for Healing {
    fn default() -> Self {
        Self { kept: LruCache::new(PACKS_KEPT), hopeless: BTreeSet::new(), healed: BTreeSet::new() }
    }
}

impl Reader<'_> {
    /// The bytes of a frame that cannot be read, out of its pack as parity heals it.
    pub(super) fn healed_frame(
        &self,
        pack: &PackEntry,
        range: &Range<u64>,
        error: &RepositoryError,
    ) -> Option<Vec<u8>> {
        if !self.may_heal(error) {
            return None;
        }
        // One pack at a time, whoever wants which: that bounds the memory it takes.
        let mut healing = lock(&self.healing);
        if healing.hopeless.contains(&pack.id) {
            return None;
        }
        if !healing.kept.contains(&pack.id) {
            let _healing = stage!("heal");
            let reference = PackRef { kind: pack.kind, id: pack.id, length: pack.footer.pack_length };
            match self.repository.heal_pack(&reference) {
                Ok(Some(bytes)) => drop(healing.kept.put(pack.id, bytes)),
                Ok(None) => drop(healing.hopeless.insert(pack.id)),
                Err(error) => {
                    tracing::warn!(pack = %pack.id, error = describe(&error), "the parity of a pack cannot be read");
                }
            }
        }
        let bytes = healing.kept.get(&pack.id)?;
        bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?).map(<[u8]>::to_vec)
    }

    /// Notes that a frame was read so.
    pub(super) fn note_healed(&self, pack: PackId) {
        if lock(&self.healing).healed.insert(pack) {
            tracing::warn!(%pack, "a damaged pack is read by its parity; `strongroom repair packs` writes it anew");
        }
    }

    /// Packs that are damaged or gone, and that frames were read of because their parity heals them.
    #[must_use]
    pub fn healed(&self) -> Vec<PackId> {
        lock(&self.healing).healed.iter().copied().collect()
    }

    /// Whether an error may come from an object that is damaged, or lies on a part of a disk that is.
    fn may_heal(&self, error: &RepositoryError) -> bool {
        let is_unreadable = matches!(error, RepositoryError::Store(StoreError::Io { .. }));
        error.is_of_content() || is_unreadable && !self.is_no_access(error)
    }
}

fn lock(healing: &Mutex<Healing>) -> std::sync::MutexGuard<'_, Healing> {
    healing.lock().unwrap_or_else(PoisonError::into_inner)
}
