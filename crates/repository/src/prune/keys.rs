//! Data keys that nothing is sealed under any more.

use std::collections::{BTreeSet, HashSet};

use strongroom_format::entry::PackRef;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{KeyId, PackId, RecipientId};
use strongroom_keys::unlock::key_name;
use strongroom_store::StoreError;

use super::listing::Listing;
use super::planner::Planner;
use super::{Plan, PruneOptions, PruneReport, milliseconds};
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

impl Repository {
    /// Keys that snapshots name, and keys of runs that did not finish or whose snapshots are forgotten, when no pack that
    /// stays has a frame under them.
    pub(super) fn keys_to_retire(
        &self,
        options: &PruneOptions,
        planner: &Planner<'_>,
        plan: &Plan,
        listing: &Listing,
        now_ms: u64,
    ) -> Result<Vec<KeyId>, RepositoryError> {
        let Some(mut used) = planner.used_keys(&self.state, &plan.choice)? else { return Ok(Vec::new()) };
        used.extend(plan.repacked.copies.keys.keys());
        let of_snapshots = self.state.snapshots.iter().flat_map(|snapshot| &snapshot.state.keys);
        let named: BTreeSet<KeyId> = of_snapshots.map(|key| key.id).collect();
        let mut unused: Vec<KeyId> = named.iter().filter(|key| !used.contains(key)).copied().collect();
        // What log archives are sealed under no entry names: their objects say so.
        let of_logs = self.keys_of_logs()?;
        unused.retain(|key| !of_logs.used.contains_key(key));
        let is_old = |stored_ms: u64| now_ms.saturating_sub(stored_ms) >= milliseconds(options.orphan_age);
        let mut old: Vec<(KeyId, RecipientId)> = Vec::new();
        for (key, (recipient, stored_ms)) in &listing.keys {
            let is_known =
                named.contains(key) || used.contains(key) || self.state.retired_keys.contains_key(key);
            // A thief may store a wrap that says of any key what he likes.
            let is_known = is_known || self.state.is_of_policy(*key) || of_logs.used.contains_key(key);
            if !is_known && is_old(*stored_ms) && self.is_data_key(*key, *recipient) {
                old.push((*key, *recipient));
            }
        }
        // An object that cannot be read may be healed, and need a key that nobody knows of.
        if !old.is_empty() && of_logs.unreadable == 0 && of_logs.frozen == 0 {
            // A long run that goes on has young packs.
            let of_runs = self.keys_of_unnamed(plan, listing)?;
            unused.extend(old.iter().map(|(key, _)| *key).filter(|key| !of_runs.contains(key)));
        }
        Ok(unused)
    }

    /// What cannot be read may be any key: it is left alone.
    fn is_data_key(&self, key: KeyId, recipient: RecipientId) -> bool {
        let read = self.keyring.unlocker().read(key, recipient);
        read.is_ok_and(|(_, object)| object.purpose == Purpose::Data)
    }

    fn keys_of_unnamed(&self, plan: &Plan, listing: &Listing) -> Result<HashSet<KeyId>, RepositoryError> {
        let mut keys = HashSet::new();
        for (id, stored) in &listing.unnamed {
            if plan.leftovers.contains_key(id) || names::pack_of(ObjectKind::DataPack, &stored.name).is_none()
            {
                continue;
            }
            let pack = PackRef { kind: ObjectKind::DataPack, id: *id, length: stored.info.length_bytes };
            match self.read_footer(&pack) {
                Ok((_, entry)) => keys.extend(entry.footer.keys.iter().map(|key| key.id)),
                Err(RepositoryError::Store(error)) if !error.is_not_found() => return Err(error.into()),
                // Nobody will ever open it.
                Err(_) => {}
            }
        }
        Ok(keys)
    }

    /// Deletes the wraps of keys that were retired, once the packs are gone that were retired before or with them. Who
    /// may not delete keys leaves that to who may.
    pub(super) fn delete_unused_wraps(
        &self,
        stays: &BTreeSet<PackId>,
        report: &mut PruneReport,
    ) -> Result<(), RepositoryError> {
        // Whom the store lets delete keys is an admin (`deploy/iam`): others leave that to one, and ask for nothing.
        if self.state.retired_keys.is_empty() || self.require_role(Roles::ADMIN, "admin").is_err() {
            return Ok(());
        }
        let waiting: BTreeSet<u64> =
            stays.iter().filter_map(|pack| self.state.retired.get(pack)).copied().collect();
        let is_free = |key: &KeyId| {
            let retired = self.state.retired_keys.get(key);
            retired.is_some_and(|number| waiting.range(..=number).next().is_none())
        };
        let mut wraps: Vec<(KeyId, RecipientId)> = Vec::new();
        self.origin.list("keys/", &mut |name, _| {
            wraps.extend(names::key_of(&name).filter(|(key, _)| is_free(key)));
            Ok(())
        })?;
        if wraps.is_empty() {
            return Ok(());
        }
        // A file of a log may have been stored under a key while this entry was written: now that it is in the journal,
        // whoever stores another one sees that.
        let of_logs = self.keys_of_logs()?;
        if of_logs.frozen > 0 {
            return Ok(());
        }
        wraps.retain(|(key, _)| !of_logs.used.contains_key(key));
        for (key, recipient) in wraps {
            match self.origin.delete(&key_name(key, recipient)?) {
                Ok(()) => report.deleted_keys += 1,
                Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::PermissionDenied { .. } | StoreError::Retained { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
