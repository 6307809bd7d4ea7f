//! Pruning: what no snapshot needs is retired by one journal entry, and deleted when a grace has passed
//! (`format-spec/journal.md#retiring-and-deleting`).
//!
//! Backups may go on meanwhile, and so may another prune: nothing is locked. Marking reads trees only, so no data key
//! is needed. Packs of which something is needed stay as they are.

mod listing;
mod mark;

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom_format::entry::{PackRef, RetireBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_format::{ContentHash, PackId};
use strongroom_store::{ObjectName, StoreError};

use self::listing::{Listing, Stored};
use self::mark::Live;
use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::stage::stage;
use crate::state::State;

/// How often a prune plans again because others wrote meanwhile.
const ATTEMPTS: u32 = 16;

/// What to retire and delete.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How long a pack stays in the store after it was retired, for readers that began before.
    pub grace: Duration,
    /// How old packs and index objects that no entry names must be: they may be of runs under way.
    pub orphan_age: Duration,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Packs that count and that stay.
    pub kept: Amount,
    /// Packs that no snapshot needs: retired now.
    pub unneeded: Amount,
    /// Packs that no entry names, of runs that did not finish: retired now.
    pub leftovers: Amount,
    /// Packs and index objects that no entry names and that are too young to be told from those of a run under way.
    pub young: Amount,
    /// Retired packs and index objects without use: deleted now.
    pub deleted: Amount,
    /// Retired packs whose grace has not passed.
    pub waiting: Amount,
    /// Retired packs that the store keeps for now, because it locks them.
    pub locked: Amount,
}

/// What is to be retired.
#[derive(Default)]
struct Plan {
    unneeded: BTreeMap<PackId, PackRef>,
    leftovers: BTreeMap<PackId, u64>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.unneeded.is_empty() && self.leftovers.is_empty()
    }

    fn packs(&self) -> impl Iterator<Item = PackId> {
        self.unneeded.keys().chain(self.leftovers.keys()).copied()
    }
}

impl Repository {
    /// Retires what no snapshot needs, and deletes what has been retired for long enough.
    ///
    /// # Errors
    /// `NoSigner` without the role maintain; `NotPrunable` when it is not certain what is needed; `Store`, with the
    /// right that is missing where the store lets nothing be deleted; `Contention`, `Interrupted`, `TooLittleMemory`.
    pub fn prune(
        &mut self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
    ) -> Result<PruneReport, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        self.refresh()?;
        // By the store's clock: an object that it has just been given says what time it is.
        let noted = match options.dry_run {
            true => self.state.number,
            false => self.note("prune", None, &note_of(options))?,
        };
        let index = self.empty_index()?;
        let mut report = PruneReport::default();
        let listing = Listing::read(&*self.origin, &self.state)?;
        let now_ms = self.entry_time_ms(noted)?.max(if options.dry_run { listing.newest_ms } else { 0 });
        let plan = self.retire_unneeded(options, monitor, &index, &listing, now_ms)?;
        plan.unneeded.values().for_each(|pack| report.unneeded.add(pack.length));
        plan.leftovers.values().for_each(|bytes| report.leftovers.add(*bytes));
        for pack in self.state.packs.values().filter(|pack| !plan.unneeded.contains_key(&pack.id)) {
            report.kept.add(pack.length);
        }
        self.delete_retired(options, monitor, &listing, &plan, now_ms, &mut report)?;
        if !options.dry_run {
            // One index at a time.
            drop(index);
            self.load_index()?;
        }
        Ok(report)
    }

    fn entry_time_ms(&self, number: u64) -> Result<u64, RepositoryError> {
        Ok(self.origin.stat(&names::entry(number)?)?.modified_ms)
    }

    /// Plans, and appends the entry; plans again when others wrote meanwhile.
    fn retire_unneeded(
        &mut self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
        index: &Cache,
        listing: &Listing,
        now_ms: u64,
    ) -> Result<Plan, RepositoryError> {
        for _ in 0..ATTEMPTS {
            if let Some((number, why)) = self.state.damaged.first() {
                let reason =
                    format!("journal entry {number} is damaged ({why}), and may have said what is needed");
                return Err(RepositoryError::NotPrunable { reason });
            }
            let planned = basis(&self.state);
            let marked = self.read_whole_index(index).and_then(|()| self.unneeded(index, monitor));
            if let Err(RepositoryError::NotPrunable { .. }) = marked {
                // What another prune has deleted meanwhile, nobody needs any more.
                self.refresh()?;
                if basis(&self.state) != planned {
                    continue;
                }
            }
            let unneeded = marked?;
            let plan = Plan {
                unneeded,
                leftovers: listing
                    .unnamed
                    .iter()
                    .filter(|(id, stored)| {
                        is_old(stored, now_ms, options) && !self.state.packs.contains_key(id)
                    })
                    .map(|(id, stored)| (*id, stored.info.length_bytes))
                    .collect(),
            };
            if options.dry_run || plan.is_empty() {
                return Ok(plan);
            }
            let body = RetireBody { retired: plan.packs().collect(), ..RetireBody::default() };
            let appended = self.append(|state| {
                // What came meanwhile may need some of it.
                if basis(state) == planned {
                    Ok(Statement::Retire(body.clone()))
                } else {
                    Err(RepositoryError::Cancelled)
                }
            });
            match appended {
                Ok(_) => return Ok(plan),
                Err(RepositoryError::Cancelled) => self.refresh()?,
                Err(error) => return Err(error),
            }
        }
        Err(RepositoryError::Contention { attempts: ATTEMPTS })
    }

    /// Reads all of the index from the store: nothing local is believed when data is to be deleted.
    fn read_whole_index(&self, index: &Cache) -> Result<(), RepositoryError> {
        index.synchronize(&self.state, None, |object| {
            let packs = self.read_index(object).map_err(|error| match error {
                RepositoryError::Store(error) if !error.is_not_found() => error.into(),
                error => RepositoryError::NotPrunable { reason: crate::state::describe(&error) },
            })?;
            Ok(Some(self.with_verdicts(packs)))
        })
    }

    fn unneeded(
        &self,
        index: &Cache,
        monitor: &dyn Monitor,
    ) -> Result<BTreeMap<PackId, PackRef>, RepositoryError> {
        let reader = Reader::by_index(self, index);
        let mut live = Live::new(index, &reader, monitor)?;
        monitor.begin("marking what snapshots need", None);
        let _marking = stage!("mark");
        for snapshot in &self.state.snapshots {
            live.mark(snapshot)?;
        }
        let unneeded = live.unneeded();
        let known = unneeded.iter().filter_map(|id| self.state.packs.get(id));
        Ok(known.map(|pack| (pack.id, *pack)).collect())
    }

    /// Deletes what has been retired for the grace, and index objects without use.
    fn delete_retired(
        &self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
        listing: &Listing,
        plan: &Plan,
        now_ms: u64,
        report: &mut PruneReport,
    ) -> Result<(), RepositoryError> {
        let mut retired: Vec<(PackId, ObjectName, u64)> = Vec::new();
        let stored =
            listing.retired.iter().chain(&listing.unnamed).filter(|(id, _)| self.is_retired(plan, **id));
        retired.extend(stored.map(|(id, stored)| (*id, stored.name.clone(), stored.info.length_bytes)));
        for pack in plan.unneeded.values() {
            retired.push((pack.id, names::pack(pack.kind, pack.id)?, pack.length));
        }
        let mut times = BTreeMap::new();
        let mut delete = Vec::new();
        for (id, name, bytes) in retired {
            let retired_ms = match self.state.retired.get(&id) {
                Some(number) if !times.contains_key(number) => {
                    *times.entry(*number).or_insert(self.entry_time_ms(*number)?)
                }
                Some(number) => times[number],
                // In a dry run.
                None => now_ms,
            };
            if now_ms.saturating_sub(retired_ms) >= milliseconds(options.grace) {
                delete.push((name, bytes));
            } else {
                report.waiting.add(bytes);
            }
        }
        for (id, stored) in &listing.unnamed {
            if !self.is_retired(plan, *id) && !self.state.packs.contains_key(id) {
                report.young.add(stored.info.length_bytes);
            }
        }
        for (_, stored) in listing.indexes.iter().filter(|(id, _)| !self.state.indexes.contains_key(id)) {
            if is_old(stored, now_ms, options) {
                delete.push((stored.name.clone(), stored.info.length_bytes));
            } else {
                report.young.add(stored.info.length_bytes);
            }
        }
        let _deleting = stage!("delete");
        monitor.begin("deleting", Some(delete.iter().map(|(_, bytes)| bytes).sum()));
        for (name, bytes) in delete {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let deleted = if options.dry_run { Ok(()) } else { self.origin.delete(&name) };
            match deleted {
                Ok(()) => report.deleted.add(bytes),
                // By another prune.
                Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Retained { .. }) => report.locked.add(bytes),
                Err(error) => return Err(error.into()),
            }
            monitor.advance(bytes);
        }
        Ok(())
    }

    fn is_retired(&self, plan: &Plan, pack: PackId) -> bool {
        self.state.retired.contains_key(&pack) || plan.leftovers.contains_key(&pack)
    }
}

/// What a plan was made for.
fn basis(state: &State) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    for id in
        state.snapshots.iter().map(|snapshot| snapshot.id().0).chain(state.packs.keys().map(|pack| pack.0))
    {
        hasher.update(&id);
    }
    ContentHash(*hasher.finalize().as_bytes())
}

fn is_old(stored: &Stored, now_ms: u64, options: &PruneOptions) -> bool {
    now_ms.saturating_sub(stored.info.modified_ms) >= milliseconds(options.orphan_age)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn note_of(options: &PruneOptions) -> String {
    format!(
        r#"{{"grace_seconds":{},"orphan_age_seconds":{}}}"#,
        options.grace.as_secs(),
        options.orphan_age.as_secs()
    )
}
