//! The index, out of packs alone: each says of itself what it holds.

use std::collections::{HashMap, HashSet};

use strongroom_format::entry::{IndexRef, PackRef, ReindexBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_format::{PackId, SourceTag};
use strongroom_store::{ObjectName, StoreError};

use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::state::describe;

/// How often it is begun again because another host replaced index objects meanwhile.
const ATTEMPTS: u32 = 8;

/// What repairing the index did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Index objects that count.
    pub objects: u64,
    /// Those that are damaged or gone, and are replaced.
    pub damaged: Vec<ObjectName>,
    /// Packs that are described anew, by themselves.
    pub described: u64,
    /// Packs of which not even that can be read: nobody knows what they hold.
    pub unreadable: Vec<ObjectName>,
}

impl IndexReport {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.described == 0 && self.unreadable.is_empty()
    }
}

impl Repository {
    /// Replaces index objects that are damaged or gone by what the packs say; with `all`, every one.
    ///
    /// # Errors
    /// `NoSigner` without the role maintain; `Store`, `Interrupted`, `Contention`.
    pub fn repair_index(
        &mut self,
        all: bool,
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<IndexReport, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        for _ in 0..ATTEMPTS {
            self.refresh()?;
            let (report, body) = self.index_from_packs(all, dry_run, monitor)?;
            if dry_run || (body.added.is_empty() && body.removed.is_empty()) {
                return Ok(report);
            }
            let mut is_stale = false;
            let appended = self.append(|state| {
                is_stale = body.removed.iter().any(|id| !state.indexes.contains_key(id));
                if is_stale { Err(RepositoryError::Cancelled) } else { Ok(Statement::Reindex(body.clone())) }
            });
            match appended {
                Err(RepositoryError::Cancelled) if is_stale => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.load_index()?;
                    return Ok(report);
                }
            }
        }
        Err(RepositoryError::Contention { attempts: ATTEMPTS })
    }

    fn index_from_packs(
        &self,
        all: bool,
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<(IndexReport, ReindexBody), RepositoryError> {
        let mut report = IndexReport::default();
        let mut described: HashMap<PackId, SourceTag> = HashMap::new();
        let mut removed: Vec<IndexRef> = Vec::new();
        let mut holders: HashMap<PackId, Vec<IndexRef>> = HashMap::new();
        monitor.begin("reading the index", None);
        for object in self.state.indexes.values() {
            go_on(monitor)?;
            report.objects += 1;
            match self.read_index(object) {
                Ok(packs) => {
                    for (_, entry) in packs.iter().filter(|(_, entry)| self.footer_verifies(entry)) {
                        described.insert(entry.id, object.source_tag);
                        holders.entry(entry.id).or_default().push(*object);
                    }
                    if all {
                        removed.push(*object);
                    }
                }
                Err(RepositoryError::Store(error)) if !is_of_object(&error) => return Err(error.into()),
                Err(error) => {
                    let name = names::index_ref(object)?;
                    monitor.warn(&describe(&error));
                    report.damaged.push(name);
                    removed.push(*object);
                }
            }
        }
        // Whose packs they were, nothing says but the object that is gone.
        let lost_tag = removed.iter().map(|object| object.source_tag).find(|_| !report.damaged.is_empty());
        let any_tag = self.state.indexes.values().map(|object| object.source_tag).next();
        let rest = lost_tag.or(any_tag).unwrap_or(SourceTag([0; 16]));
        let wanted = |pack: &&PackRef| all || !described.contains_key(&pack.id);
        let packs: Vec<PackRef> = self.state.packs.values().filter(wanted).copied().collect();
        monitor.begin("reading what packs say of themselves", Some(packs.len() as u64));
        let (metadata, signer) = (self.metadata_key()?, self.signer()?);
        let mut writers: HashMap<SourceTag, IndexWriter<'_>> = HashMap::new();
        let mut stays = HashSet::new();
        for pack in packs {
            go_on(monitor)?;
            let name = names::pack(pack.kind, pack.id)?;
            let said = match self.read_footer(&pack) {
                Ok((said, entry)) if self.footer_verifies(&entry) => Some(said),
                Ok(_) => {
                    monitor.warn(&format!(
                        "{name}: nobody whom a policy lists has signed what it says of itself"
                    ));
                    None
                }
                Err(RepositoryError::Store(error)) if !is_of_object(&error) => return Err(error.into()),
                Err(error) => {
                    monitor.warn(&describe(&error));
                    None
                }
            };
            monitor.advance(1);
            let Some(said) = said else {
                // What an index object still says of it is all there is.
                match holders.get(&pack.id) {
                    Some(objects) => stays.extend(objects.iter().map(|object| object.id)),
                    None => report.unreadable.push(name),
                }
                continue;
            };
            report.described += 1;
            if !dry_run {
                let tag = described.get(&pack.id).copied().unwrap_or(rest);
                let new = || IndexWriter::new(&*self.store, metadata, signer, &*self.random, tag);
                writers.entry(tag).or_insert_with(new).push(said)?;
            }
        }
        let mut body = ReindexBody { added: Vec::new(), removed: Vec::new() };
        body.removed.extend(removed.iter().map(|object| object.id).filter(|id| !stays.contains(id)));
        for writer in writers.into_values() {
            body.added.extend(writer.finish()?);
        }
        Ok((report, body))
    }
}

/// Whether an error says something of an object, and not of the store.
fn is_of_object(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. } | StoreError::Truncated { .. } | StoreError::TooLarge { .. })
}

fn go_on(monitor: &dyn Monitor) -> Result<(), RepositoryError> {
    if monitor.is_cancelled() { Err(RepositoryError::Interrupted) } else { Ok(()) }
}
