//! What earlier runs of this writer had stored of a source when they ended early: packs that no entry names.
//!
//! A worker brings them in place of storing the same again. That is a resumed run: as it looks everything else up
//! anew, only its own base counts, and what it brings is checked against all that was ever retired, as ever (W2, G3).

use std::collections::BTreeMap;

use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, PackId, WriterId};

use super::super::Footing;
use super::super::relied::Relied;
use crate::cache::{Cache, PackEntry};
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

/// Older ones may be pruned any moment.
const MOST_AGE_MS: u64 = 3 * 24 * 60 * 60 * 1000;

/// Packs of runs that did not finish.
pub(in super::super) struct Leftovers {
    cache: Cache,
    packs: BTreeMap<PackId, (PackRef, Vec<KeyRef>)>,
    /// Index objects, and which of the packs each describes.
    indexes: Vec<(IndexRef, Vec<PackId>)>,
}

impl Leftovers {
    pub(super) fn packs(&self) -> usize {
        self.packs.len()
    }

    /// Where chunks or nodes lie in them.
    pub(in super::super) fn find(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
    ) -> Result<Vec<Option<(PackId, u32)>>, RepositoryError> {
        self.cache.trusted(kind, ids)
    }

    /// Has a snapshot bring those packs of them that it uses.
    pub(in super::super) fn bring(&self, used: &Relied, footing: &mut Footing) {
        for (reference, keys) in used.packs().filter_map(|pack| self.packs.get(&pack)) {
            footing.packs.push(*reference);
            let new = keys.iter().filter(|key| !footing.keys.contains(key)).copied().collect::<Vec<_>>();
            footing.keys.extend(new);
        }
        let is_used = |packs: &[PackId]| packs.iter().any(|pack| used.packs().any(|used| used == *pack));
        let indexes = self.indexes.iter().filter(|(_, packs)| is_used(packs));
        footing.indexes.extend(indexes.map(|(index, _)| *index));
    }
}

impl Repository {
    /// Those that a run of `source` may take over; `None` if there are none.
    pub(super) fn leftovers(&self, source: &str) -> Result<Option<Leftovers>, RepositoryError> {
        let me = self.signer()?.id();
        let mut unnamed = Vec::new();
        let mut newest_ms = self.entry_time_ms(self.state.number)?;
        self.origin.list(&format!("index/{}/", self.identity.source_tag(source)), &mut |name, info| {
            newest_ms = newest_ms.max(info.modified_ms);
            let index = names::index_of(&name, info.length_bytes);
            let new = index.filter(|index| !self.state.indexes.contains_key(&index.id));
            unnamed.extend(new.map(|index| (index, info.modified_ms)));
            Ok(())
        })?;
        unnamed.retain(|(_, modified_ms)| newest_ms.saturating_sub(*modified_ms) < MOST_AGE_MS);
        if unnamed.is_empty() {
            return Ok(None);
        }
        let mut state = self.state.clone();
        let cache = self.empty_index()?;
        let (mut packs, mut indexes) = (BTreeMap::new(), Vec::new());
        for (index, _) in unnamed {
            // What cannot be read, or was deleted meanwhile, is stored again.
            let Ok(mut described) = self.read_index(&index) else { continue };
            described.retain(|(_, entry)| self.may_take_over(entry, me));
            let mut of_index = Vec::new();
            for (_, entry) in &described {
                let reference = PackRef { kind: entry.kind, id: entry.id, length: entry.footer.pack_length };
                let is_data = entry.kind == ObjectKind::DataPack;
                let keys = if is_data { entry.footer.keys.clone() } else { Vec::new() };
                state.packs.insert(entry.id, reference);
                state.brought_by.insert(entry.id, me);
                packs.insert(entry.id, (reference, keys));
                of_index.push(entry.id);
            }
            if !of_index.is_empty() {
                cache.add(&state, Some(me), self.with_verdicts(described))?;
                indexes.push((index, of_index));
            }
        }
        Ok((!packs.is_empty()).then_some(Leftovers { cache, packs, indexes }))
    }

    /// Nobody else's; and no deltas, because what they build on was found at another base.
    fn may_take_over(&self, entry: &PackEntry, me: WriterId) -> bool {
        let footer = &entry.footer;
        let is_own = footer.signer == me && footer.authors.iter().all(|author| *author == me);
        let state = &self.state;
        is_own
            && footer.bases.is_empty()
            && !state.packs.contains_key(&entry.id)
            && !state.retired.contains_key(&entry.id)
            && !footer.keys.iter().any(|key| state.retired_keys.contains_key(&key.id))
    }
}
