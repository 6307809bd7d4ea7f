//! From what snapshots need to what becomes of packs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fixedbitset::FixedBitSet;
use strongroom_format::entry::IndexRef;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{IndexId, KeyId, PackId, SnapshotId, SourceTag};

use super::mark::{Marks, Walk};
use super::plan::{Choice, Limits, PackUse, choose};
use crate::cache::{Cache, PackNumber};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::stage::stage;
use crate::state::{Snapshot, State, describe};

/// What is known of a repository's packs, and of which of their frames are needed. It only ever learns: so when others
/// wrote meanwhile, only what is new is looked at.
pub(super) struct Planner<'a> {
    index: &'a Cache,
    marks: Marks<'a>,
    walked: HashSet<SnapshotId>,
    /// Packs that stay whatever else is found, and of which all that their frames build on is marked.
    staying: BTreeSet<PackId>,
    tags: HashMap<PackId, SourceTag>,
    /// The packs that each index object describes, and in how many bytes.
    objects: HashMap<IndexId, Vec<(PackId, usize)>>,
    /// The source that packs are counted to which no index object describes.
    tag_of_rest: SourceTag,
    /// Whether there are such.
    pub(super) is_index_damaged: bool,
}

impl<'a> Planner<'a> {
    /// `index` is one with nothing in it.
    pub(super) fn new(index: &'a Cache) -> Self {
        Self {
            index,
            marks: Marks::new(index),
            walked: HashSet::new(),
            staying: BTreeSet::new(),
            tags: HashMap::new(),
            objects: HashMap::new(),
            tag_of_rest: SourceTag([0; 16]),
            is_index_damaged: false,
        }
    }

    pub(super) fn marks(&self) -> &Marks<'a> {
        &self.marks
    }

    pub(super) fn tag_of(&self, pack: PackId) -> SourceTag {
        self.tags.get(&pack).copied().unwrap_or(self.tag_of_rest)
    }

    /// Reads what is new of the index, and marks what snapshots need that are new. Nothing local is believed when data
    /// is to be deleted: all of it comes from the store.
    pub(super) fn learn(
        &mut self,
        repository: &Repository,
        workers: usize,
        monitor: &dyn Monitor,
    ) -> Result<(), RepositoryError> {
        let (tags, objects) = (&mut self.tags, &mut self.objects);
        let mut missing = Vec::new();
        self.index.synchronize(&repository.state, None, |object| {
            let packs = match repository.read_index(object) {
                Ok(packs) => packs,
                Err(RepositoryError::Store(error)) if !error.is_not_found() => return Err(error.into()),
                Err(error) => {
                    missing.push((*object, describe(&error)));
                    return Ok(None);
                }
            };
            objects.insert(object.id, packs.iter().map(|(said, _)| (said.id, said.footer.len())).collect());
            tags.extend(packs.iter().map(|(_, entry)| (entry.id, object.source_tag)));
            Ok(Some(repository.with_verdicts(packs)))
        })?;
        if let Some((object, reason)) = missing.first() {
            // What it said, the packs say of themselves.
            repository.describe_from_packs(self.index, &mut Vec::new())?;
            if let Some(pack) = self.index.undescribed(&repository.state)?.first() {
                let reason = format!("{reason}, and what pack {} holds cannot be read", pack.id);
                return Err(RepositoryError::NotPrunable { reason });
            }
            self.tag_of_rest = object.source_tag;
            self.is_index_damaged = true;
            monitor.warn(&format!("{reason}; what it said is read from packs"));
        }
        let new = |snapshot: &&Snapshot| !self.walked.contains(&snapshot.id());
        let snapshots: Vec<&Snapshot> = repository.state.snapshots.iter().filter(new).collect();
        monitor.begin("marking what snapshots need", None);
        let _marking = stage!("mark");
        let reader = Reader::by_index(repository, self.index);
        Walk::new(&self.marks, &reader, monitor).run(&snapshots, workers)?;
        self.walked.extend(snapshots.iter().map(|snapshot| snapshot.id()));
        Ok(())
    }

    /// Chooses, and tells of what. What a pack that stays builds on is needed too, which may make others stay.
    pub(super) fn choose(&mut self, limits: Limits) -> Result<(Choice, Vec<PackUse>), RepositoryError> {
        loop {
            let uses = self.uses()?;
            let choice = choose(&uses, limits);
            if !self.mark_what_stays(&choice)? {
                return Ok((choice, uses));
            }
        }
    }

    /// Marks what the packs build on that a choice lets stay. Says whether that marked anything.
    fn mark_what_stays(&mut self, choice: &Choice) -> Result<bool, RepositoryError> {
        let mut any = false;
        for (number, id) in self.packs()? {
            // A pack that is described in several ways has as many numbers.
            if !choice.retires(id) && !self.staying.contains(&id) {
                any |= self.marks.mark_bases_of(number)?;
            }
        }
        let stays = self.packs()?.into_iter().map(|(_, id)| id).filter(|id| !choice.retires(*id));
        self.staying.extend(stays);
        Ok(any)
    }

    /// Takes a pack out of a choice: it stays, and with it what its frames build on.
    pub(super) fn keep(&mut self, choice: &mut Choice, pack: PackId) -> Result<(), RepositoryError> {
        choice.unneeded.remove(&pack);
        choice.copied.remove(&pack);
        self.staying.insert(pack);
        for number in self.index.numbers_of(pack)? {
            self.marks.mark_bases_of(number)?;
        }
        Ok(())
    }

    /// Packs that came meanwhile stay. Takes packs out of a choice of which more is needed by now than was copied.
    pub(super) fn keep_what_is_needed_now(
        &mut self,
        choice: &mut Choice,
        copied: &HashMap<PackNumber, FixedBitSet>,
    ) -> Result<(), RepositoryError> {
        self.mark_what_stays(choice)?;
        loop {
            let mut needed = BTreeSet::new();
            for (number, id) in self.packs()? {
                let frames = self.marks.frames_of(number);
                let is_copied = copied.get(&number).is_some_and(|copied| frames.is_subset(copied));
                if choice.retires(id) && !frames.is_clear() && !is_copied {
                    needed.insert(id);
                }
            }
            if needed.is_empty() {
                return Ok(());
            }
            for pack in needed {
                self.keep(choice, pack)?;
            }
        }
    }

    /// By source, the index objects that mostly describe packs that do not count.
    pub(super) fn wasteful(&self, state: &State) -> Vec<Vec<IndexRef>> {
        let mut by_source = BTreeMap::<SourceTag, Vec<IndexRef>>::new();
        for object in state.indexes.values() {
            let Some(packs) = self.objects.get(&object.id) else { continue };
            let all: usize = packs.iter().map(|(_, bytes)| bytes).sum();
            let counts = packs.iter().filter(|(pack, _)| state.packs.contains_key(pack));
            if counts.map(|(_, bytes)| bytes).sum::<usize>() * 2 < all {
                by_source.entry(object.source_tag).or_default().push(*object);
            }
        }
        by_source.into_values().collect()
    }

    /// All packs, by their numbers.
    pub(super) fn packs(&self) -> Result<Vec<(PackNumber, PackId)>, RepositoryError> {
        self.index.pack_ids()
    }

    fn uses(&self) -> Result<Vec<PackUse>, RepositoryError> {
        let mut uses = BTreeMap::<PackId, PackUse>::new();
        for (number, _) in self.packs()? {
            let entry = self.marks.entry(number)?;
            let footer = &entry.footer;
            let length = |record: &strongroom_format::pack::FrameRecord| u64::from(record.sealed_length);
            let marked = self.marks.frames_of(number);
            let needed = marked.ones().filter_map(|at| footer.frames.get(at)).map(length).sum();
            let found = PackUse {
                id: entry.id,
                kind: entry.kind,
                tag: self.tag_of(entry.id),
                length: footer.pack_length,
                frames: footer.frames.iter().map(length).sum(),
                needed,
                must_stay: self.staying.contains(&entry.id),
            };
            uses.entry(entry.id)
                .and_modify(|known| {
                    // Two signed descriptions of one pack: nobody can say which frames it has.
                    known.needed += needed;
                    known.must_stay |= known.needed > 0;
                })
                .or_insert(found);
        }
        Ok(uses.into_values().collect())
    }

    /// The data keys of packs that stay once a choice is made, and of what is copied; `None` where that is not known of all of them.
    pub(super) fn used_keys(
        &self,
        state: &State,
        choice: &Choice,
    ) -> Result<Option<HashSet<KeyId>>, RepositoryError> {
        let (mut used, mut described) = (HashSet::new(), HashSet::new());
        for (number, _) in self.packs()? {
            let entry = self.marks.entry(number)?;
            described.insert(entry.id);
            if entry.kind != ObjectKind::DataPack {
                continue;
            }
            let keys = &entry.footer.keys;
            if choice.copied.contains(&entry.id) {
                let frames = self.marks.frames_of(number);
                let copied = frames.ones().filter_map(|at| entry.footer.frames.get(at));
                used.extend(copied.filter_map(|frame| Some(keys.get(usize::from(frame.key))?.id)));
            } else if !choice.retires(entry.id) {
                used.extend(keys.iter().map(|key| key.id));
            }
        }
        // A pack that nothing describes may be sealed under any.
        Ok(state.packs.keys().all(|pack| described.contains(pack)).then_some(used))
    }
}
