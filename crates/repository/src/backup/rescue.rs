//! When packs were retired that a run relies on: another place of the same chunks is relied on, or else the frames are
//! copied as they are, as long as the packs are still there.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use strongroom_format::PackId;
use strongroom_format::entry::PackRef;
use strongroom_format::registry::ObjectKind;

use super::Footing;
use crate::cache::PackEntry;
use crate::copier::Copier;
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

/// Frames of packs that count no more, and what the index said of those.
#[derive(Default)]
struct Lost {
    entries: BTreeMap<PackId, PackEntry>,
    frames: BTreeSet<(PackId, u32)>,
    /// What these build on in packs that count.
    bases: Vec<(PackId, u32)>,
}

impl Repository {
    /// Finds or copies what a run relies on in packs that were retired since its cache was brought up to date.
    ///
    /// # Errors
    /// `PackRetired` when such a pack is gone already, or what it holds is not known any more: run again.
    pub(super) fn rescue(&mut self, source: &str, footing: &mut Footing) -> Result<(), RepositoryError> {
        let state = &self.state;
        let gone = footing.relied.take_unless(|pack| state.packs.contains_key(&pack));
        // The cache still has what was known when the run began.
        let lost = self.lost(gone)?;
        lost.bases.iter().for_each(|(pack, frame)| footing.relied.insert(*pack, *frame));
        self.load_index()?;
        let mut copier = Copier::new(self, &*self.store, 1);
        let mut any = false;
        for (pack, frame) in &lost.frames {
            let entry = lost.entries.get(pack).ok_or(RepositoryError::PackRetired { pack: *pack })?;
            if let Some(places) = self.other_places(entry, *frame)? {
                places.into_iter().for_each(|(pack, frame)| footing.relied.insert(pack, frame));
                continue;
            }
            let read = self.read_sealed(&*self.store, entry, &[*frame]);
            // Deleted by now, as a rule.
            let read = read.map_err(|error| match error {
                RepositoryError::Store(error) if !error.is_not_found() => error.into(),
                _ => RepositoryError::PackRetired { pack: *pack },
            })?;
            for frame in read {
                copier.push(self.identity.source_tag(source), entry.kind, frame)?;
                any = true;
            }
        }
        if any {
            let copies = copier.finish()?;
            footing.packs.extend(copies.packs);
            footing.indexes.extend(copies.indexes);
            footing.keys.extend(copies.keys.into_values());
        }
        Ok(())
    }

    /// The frames, and those that they build on in packs that count no more either.
    fn lost(&self, gone: Vec<(PackId, u32)>) -> Result<Lost, RepositoryError> {
        let mut lost = Lost::default();
        let mut left = gone;
        while let Some((pack, frame)) = left.pop() {
            if !lost.frames.insert((pack, frame)) {
                continue;
            }
            let entry = match lost.entries.entry(pack) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.entry_of_retired(pack)?),
            };
            let Some(record) = entry.footer.frames.get(frame as usize).copied() else {
                return Err(RepositoryError::PackRetired { pack });
            };
            for base in entry.footer.bases_of(&record).to_vec() {
                let mut place = None;
                for found in self.cache.locations(entry.kind, base.id)? {
                    let Some(at) = self.cache.pack(found.pack)? else { continue };
                    let depth = at.footer.frames.get(found.frame as usize).map(|frame| frame.depth);
                    if depth.is_none_or(|depth| depth >= record.depth) {
                        continue;
                    }
                    place = Some((at.id, found.frame));
                    if self.state.packs.contains_key(&at.id) {
                        break;
                    }
                }
                match place {
                    Some(place) if self.state.packs.contains_key(&place.0) => lost.bases.push(place),
                    Some(place) => left.push(place),
                    None => return Err(RepositoryError::PackRetired { pack }),
                }
            }
        }
        Ok(lost)
    }

    /// What a pack that counts no more holds, as this host's index had it, or else as the pack itself says.
    fn entry_of_retired(&self, pack: PackId) -> Result<PackEntry, RepositoryError> {
        let number = self.cache.numbers_of(pack)?.into_iter().next();
        if let Some(entry) = number.map(|number| self.cache.pack(number)).transpose()?.flatten() {
            return Ok(entry);
        }
        // Another process that shares the cache has brought it up to date.
        for kind in [ObjectKind::DataPack, ObjectKind::MetadataPack] {
            match self.store.stat(&names::pack(kind, pack)?) {
                Ok(info) => {
                    let (_, entry) =
                        self.read_footer(&PackRef { kind, id: pack, length: info.length_bytes })?;
                    if self.footer_verifies(&entry) {
                        return Ok(entry);
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RepositoryError::PackRetired { pack })
    }

    /// Frames, trusted and no deeper, that have all that a frame had.
    fn other_places(
        &self,
        entry: &PackEntry,
        frame: u32,
    ) -> Result<Option<Vec<(PackId, u32)>>, RepositoryError> {
        let Some(record) = entry.footer.frames.get(frame as usize) else { return Ok(None) };
        let ids: Vec<_> = entry.footer.chunks_of(record).iter().map(|chunk| chunk.id).collect();
        let mut places = Vec::with_capacity(ids.len());
        for place in self.cache.trusted(entry.kind, &ids)? {
            let Some((pack, frame)) = place else { return Ok(None) };
            let mut is_shallow = false;
            for number in self.cache.numbers_of(pack)? {
                let found = self.cache.pack(number)?;
                let at = found.as_ref().and_then(|found| found.footer.frames.get(frame as usize));
                is_shallow |= at.is_some_and(|at| at.depth <= record.depth);
            }
            if !is_shallow {
                return Ok(None);
            }
            places.push((pack, frame));
        }
        Ok(Some(places))
    }
}
