//! Committing a group: one entry, after which all of it counts.

use std::collections::BTreeMap;

use strongroom_chunker::ChunkerParams;
use strongroom_format::SnapshotId;
use strongroom_format::manifest::{Manifest, Stream, Totals};

use super::super::relied::Relied;
use super::super::{BackupOptions, Footing, Written, require_source};
use super::join::PartNodes;
use super::{Group, GroupError, JoinedEntries, of_group, snapshot_of};
use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::state::{Snapshot, State};

/// How a group is committed.
#[derive(Debug, Clone, Copy)]
pub struct CommitOptions {
    /// zstd level of tree nodes.
    pub compression_level: i32,
    /// Threads that compress and seal.
    pub workers: usize,
    /// Packs being stored at the same time.
    pub uploads: usize,
}

/// What a group became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommit {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its counts and sizes.
    pub totals: Totals,
    /// The snapshot it was made against.
    pub parent: Option<SnapshotId>,
    /// Whether it was there before.
    pub was_committed: bool,
}

impl GroupCommit {
    fn of(snapshot: &Snapshot, was_committed: bool) -> Self {
        let (totals, parent) = (snapshot.manifest.totals, snapshot.manifest.parent);
        Self { snapshot: snapshot.id(), totals, parent, was_committed }
    }
}

impl Repository {
    /// The snapshot that a group became, if it was committed.
    ///
    /// # Errors
    /// As [`Repository::refresh`].
    pub fn committed_group(&mut self, group: &str) -> Result<Option<GroupCommit>, RepositoryError> {
        self.refresh()?;
        let snapshot = snapshot_of(&self.state, self.identity.group_nonce(group));
        Ok(snapshot.map(|snapshot| GroupCommit::of(snapshot, true)))
    }

    /// Commits a group: all its parts become one snapshot, or nothing does. `join` is given their entries, in order,
    /// and the facts of each, and gives the facts of all.
    ///
    /// Whoever commits a group that another has committed meanwhile is told of that snapshot.
    ///
    /// # Errors
    /// What `join` fails with; `Group` when parts do not fit together, or what they stored was pruned;
    /// `ParentForgotten`, `PackRetired`, `KeyRetired`: the workers have to run again.
    pub fn commit_group<E: From<RepositoryError>>(
        &mut self,
        group: &Group,
        options: &CommitOptions,
        monitor: &dyn Monitor,
        join: impl FnOnce(&mut JoinedEntries<'_, '_>, Vec<Vec<u8>>) -> Result<Vec<u8>, E>,
    ) -> Result<GroupCommit, E> {
        let nonce = self.identity.group_nonce(&group.name);
        if let Some(committed) = self.committed_group(&group.name)? {
            return Ok(committed);
        }
        require_source(&self.state, self.signer()?.id(), group.source())?;
        self.load_index()?;
        let mut footing = footing_of(group);
        self.require_unpruned(group, &self.state)?;
        // What was retired since the parts were decided: from here on, as in any other append.
        self.rescue(group.source(), &mut footing)?;
        let written = {
            let index = self.index_of_parts(&footing)?;
            let nodes = PartNodes { stored: Reader::by_index(self, &index), known: Reader::new(self) };
            let facts = group.parts.iter().map(|stored| nodes.facts(stored)).collect::<Result<_, _>>()?;
            let keys = self.base_keys(false, monitor)?;
            self.write(
                &backup_options(group, options),
                monitor,
                &keys,
                None,
                None,
                |sink| -> Result<(), E> {
                    let lane = sink.ordered_lane(ChunkerParams::default())?;
                    let mut entries = JoinedEntries::new(group, &nodes, lane)?;
                    sink.facts(join(&mut entries, facts)?);
                    Ok(entries.finish()?)
                },
            )?
        };
        self.require_unbroken(written.broken)?;
        let no_parts = || of_group(&group.name)(GroupError::NoParts);
        let manifest = manifest_of(group, &written, nonce).ok_or_else(no_parts)?;
        footing.add(&written.footing);
        let parent = manifest
            .parent
            .and_then(|id| self.state.snapshots.iter().find(|snapshot| snapshot.id() == id).cloned());
        let id = self.identity.snapshot_id(&manifest.encode());
        let wrong = of_group(&group.name);
        let permits = |state: &State| match snapshot_of(state, nonce) {
            Some(known) => Err(wrong(GroupError::Committed { snapshot: known.id() })),
            None if state.has_seen(id) => Err(wrong(GroupError::Forgotten)),
            None => Ok(()),
        };
        match self.commit_manifest(&manifest, parent.as_ref(), footing, monitor, &permits) {
            Ok(report) => Ok(GroupCommit {
                snapshot: report.id,
                totals: report.totals,
                parent: report.parent,
                was_committed: false,
            }),
            Err(RepositoryError::Group { reason: GroupError::Committed { snapshot }, .. }) => {
                let known = self.state.snapshots.iter().find(|known| known.id() == snapshot);
                Ok(known
                    .map(|known| GroupCommit::of(known, true))
                    .ok_or_else(|| wrong(GroupError::Forgotten))?)
            }
            Err(error @ RepositoryError::PackRetired { .. }) => {
                self.require_unpruned(group, &self.state)?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What no entry has named yet may have been taken for leftovers (G3).
    fn require_unpruned(&self, group: &Group, state: &State) -> Result<(), RepositoryError> {
        let is_retired = |number: &u32| {
            let of_part = group.parts.iter().filter(|stored| stored.part.number == *number);
            of_part.flat_map(|stored| &stored.part.packs).any(|pack| state.retired.contains_key(&pack.id))
        };
        match group.parts.iter().map(|stored| stored.part.number).find(is_retired) {
            Some(number) => Err(of_group(&group.name)(GroupError::Pruned { number })),
            None => Ok(()),
        }
    }

    /// What the index objects of the parts say of their packs, and nothing else.
    fn index_of_parts(&self, footing: &Footing) -> Result<Cache, RepositoryError> {
        let mut state = self.state.clone();
        state.packs = footing.packs.iter().map(|pack| (pack.id, *pack)).collect();
        state.indexes = footing.indexes.iter().map(|index| (index.id, *index)).collect();
        let index = self.empty_index()?;
        let me = self.signer()?.id();
        index.synchronize(&state, Some(me), |object| {
            self.read_index(object).map(|packs| Some(self.with_verdicts(packs)))
        })?;
        Ok(index)
    }
}

impl Footing {
    /// All of another, each once.
    pub(super) fn add(&mut self, other: &Self) {
        let packs = self.packs.iter().chain(&other.packs).map(|pack| (pack.id, *pack));
        let packs = packs.collect::<BTreeMap<_, _>>();
        let indexes = self.indexes.iter().chain(&other.indexes).map(|index| (index.id, *index));
        let indexes = indexes.collect::<BTreeMap<_, _>>();
        let keys = self.keys.iter().chain(&other.keys).map(|key| (key.id, *key));
        let keys = keys.collect::<BTreeMap<_, _>>();
        for (pack, frames) in other.relied.frames() {
            frames.for_each(|frame| self.relied.insert(pack, frame));
        }
        self.packs = packs.into_values().collect();
        self.indexes = indexes.into_values().collect();
        self.keys = keys.into_values().collect();
        self.reuses_parent |= other.reuses_parent;
    }
}

fn footing_of(group: &Group) -> Footing {
    let mut footing = Footing::default();
    for stored in &group.parts {
        let part = &stored.part;
        let mut relied = Relied::default();
        for of_pack in &part.relied {
            of_pack.numbers().for_each(|frame| relied.insert(of_pack.pack, frame));
        }
        footing.add(&Footing {
            packs: part.packs.clone(),
            indexes: part.indexes.clone(),
            relied,
            keys: part.keys.clone(),
            reuses_parent: part.reuses_parent,
        });
    }
    footing
}

/// What the threads need to know: the manifest is of the parts.
fn backup_options(group: &Group, options: &CommitOptions) -> BackupOptions {
    BackupOptions {
        source: group.source().to_owned(),
        engine: group.engine().to_owned(),
        host: String::new(),
        user: String::new(),
        tool: String::new(),
        arguments: Vec::new(),
        tags: Vec::new(),
        copied: None,
        force: false,
        delta: false,
        keep_base_keys: false,
        compression_level: options.compression_level,
        workers: options.workers,
        uploads: options.uploads,
    }
}

/// A function of the parts, and of nothing else: whoever commits them, it is the same snapshot.
fn manifest_of(group: &Group, written: &Written, nonce: [u8; 16]) -> Option<Manifest> {
    let manifests = || group.parts.iter().map(|stored| &stored.manifest);
    let first = manifests().next()?;
    let sum = |of: fn(&Totals) -> u64| manifests().map(|one| of(&one.totals)).fold(0, u64::saturating_add);
    let mut tags: Vec<String> = Vec::new();
    for tag in manifests().flat_map(|manifest| &manifest.tags) {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    Some(Manifest {
        started_ns: manifests().map(|one| one.started_ns).min().unwrap_or(first.started_ns),
        finished_ns: manifests().map(|one| one.finished_ns).max().unwrap_or(first.finished_ns),
        tree: written.tree,
        streams: streams_of(manifests().flat_map(|one| &one.streams)),
        facts: written.facts,
        totals: Totals {
            new_bytes: sum(|totals| totals.new_bytes),
            stored_bytes: sum(|totals| totals.stored_bytes),
            unreadable: sum(|totals| totals.unreadable),
            ..written.totals
        },
        nonce,
        tags,
        ..first.clone()
    })
}

/// Each as often as it was cut in another way.
fn streams_of<'a>(all: impl Iterator<Item = &'a Stream>) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for one in all {
        let same = |known: &&mut Stream| {
            (&known.name, known.chunker, &known.parameters) == (&one.name, one.chunker, &one.parameters)
        };
        match streams.iter_mut().find(same) {
            Some(known) => known.bytes = known.bytes.saturating_add(one.bytes),
            None => streams.push(one.clone()),
        }
    }
    streams
}
