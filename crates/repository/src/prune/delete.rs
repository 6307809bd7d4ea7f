//! Deleting what has been retired for long enough.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::PackId;
use strongroom_store::{ObjectName, StoreError};

use super::listing::Listing;
use super::{Plan, PruneOptions, PruneReport, is_old, milliseconds};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::stage::stage;

/// A pack that is retired, or would be.
struct Retired {
    id: PackId,
    name: ObjectName,
    bytes: u64,
}

impl Repository {
    /// Deletes what has been retired for the grace, index objects without use, parts of groups that are as old, and
    /// wraps of keys that nothing is sealed under any more.
    pub(super) fn delete_retired(
        &self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
        listing: &Listing,
        plan: &Plan,
        now_ms: u64,
        report: &mut PruneReport,
    ) -> Result<(), RepositoryError> {
        let mut times = BTreeMap::new();
        let mut delete = Vec::new();
        let mut stays = BTreeSet::new();
        for Retired { id, name, bytes } in self.retired(listing, plan)? {
            let retired_ms = match self.state.retired.get(&id) {
                Some(number) if !times.contains_key(number) => {
                    *times.entry(*number).or_insert(self.entry_time_ms(*number)?)
                }
                Some(number) => times[number],
                // In a dry run.
                None => now_ms,
            };
            if now_ms.saturating_sub(retired_ms) >= milliseconds(options.grace) {
                delete.push((Some(id), name, bytes));
            } else {
                report.waiting.add(bytes);
                stays.insert(id);
            }
        }
        for (id, stored) in &listing.unnamed {
            if !self.is_retired(plan, *id) && !self.state.packs.contains_key(id) {
                report.young.add(stored.info.length_bytes);
            }
        }
        for (_, stored) in listing.indexes.iter().filter(|(id, _)| !self.state.indexes.contains_key(id)) {
            if is_old(stored, now_ms, options) {
                delete.push((None, stored.name.clone(), stored.info.length_bytes));
            } else {
                report.young.add(stored.info.length_bytes);
            }
        }
        for (id, stored) in &listing.parity {
            let is_of_run = listing.unnamed.contains_key(id) && !self.is_retired(plan, *id);
            let is_needed = self.state.packs.contains_key(id) && !plan.choice.retires(*id) || is_of_run;
            // With its pack; without one when it is old.
            let goes =
                self.is_retired(plan, *id) || plan.choice.retires(*id) || is_old(stored, now_ms, options);
            if !is_needed && !stays.contains(id) && goes {
                delete.push((None, stored.name.clone(), stored.info.length_bytes));
            }
        }
        // Committed or not: what it names counts, or is a leftover as old.
        let parts = listing.parts.iter().filter(|stored| is_old(stored, now_ms, options));
        for stored in parts {
            report.parts.add(stored.info.length_bytes);
            delete.push((None, stored.name.clone(), stored.info.length_bytes));
        }
        let deleting = stage!("delete");
        monitor.begin("deleting", Some(delete.iter().map(|(_, _, bytes)| bytes).sum()));
        for (id, name, bytes) in delete {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let deleted = if options.dry_run { Ok(()) } else { self.origin.delete(&name) };
            match deleted {
                Ok(()) => report.deleted.add(bytes),
                // By another prune.
                Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Retained { .. }) => {
                    report.locked.add(bytes);
                    stays.extend(id);
                }
                Err(error) => return Err(error.into()),
            }
            monitor.advance(bytes);
        }
        drop(deleting);
        if options.dry_run { Ok(()) } else { self.delete_unused_wraps(&stays, report) }
    }

    fn retired(&self, listing: &Listing, plan: &Plan) -> Result<Vec<Retired>, RepositoryError> {
        let stored =
            listing.retired.iter().chain(&listing.unnamed).filter(|(id, _)| self.is_retired(plan, **id));
        let mut retired: Vec<_> = stored
            .map(|(id, stored)| Retired {
                id: *id,
                name: stored.name.clone(),
                bytes: stored.info.length_bytes,
            })
            .collect();
        for id in plan.choice.unneeded.iter().chain(&plan.choice.copied) {
            let Some(pack) = plan.packs.get(id) else { continue };
            retired.push(Retired { id: *id, name: names::pack(pack.kind, *id)?, bytes: pack.length });
        }
        Ok(retired)
    }

    fn is_retired(&self, plan: &Plan, pack: PackId) -> bool {
        self.state.retired.contains_key(&pack) || plan.leftovers.contains_key(&pack)
    }
}
