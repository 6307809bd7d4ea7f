//! Versioned stores: what was overwritten or deleted there is still to be had.
//!
//! Nothing of a repository is ever replaced, so of several versions of a name that is a hash the right one is that
//! with this hash, and of any other name the oldest.

use std::collections::BTreeSet;

use strongroom_format::RecipientId;
use strongroom_format::config::CONFIG_LIMIT_BYTES;
use strongroom_format::entry::ENTRY_LIMIT_BYTES;
use strongroom_format::index::INDEX_LIMIT_BYTES;
use strongroom_format::key_object::KEY_LIMIT_BYTES;
use strongroom_format::pack::PACK_LIMIT_BYTES;
use strongroom_format::parity::PARITY_LIMIT_BYTES;
use strongroom_format::wal::OBJECT_LIMIT_BYTES;
use strongroom_keys::derive::content_hash;
use strongroom_store::{History, ObjectName, Store, StoreError};

use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;

/// What bringing back older versions did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionsReport {
    /// Objects that were looked at.
    pub checked: u64,
    /// Objects of which an older version is the newest again, or would be, and which.
    pub restored: Vec<(ObjectName, String)>,
    /// Objects that are needed and of which no version is whole.
    pub lost: Vec<ObjectName>,
}

/// An object that is needed.
struct Needed {
    name: ObjectName,
    /// BLAKE3-256 of its bytes, where its name says it.
    hash: Option<[u8; 32]>,
    limit_bytes: u64,
}

/// Brings back what opening needs: `config`, journal, keys. It needs no key itself, and so does not know which keys
/// were rightly deleted: it takes those that are wrapped for nobody any more. [`Repository::repair_versions`] knows more.
///
/// # Errors
/// `NoHistory`, `Store`, `Interrupted`.
pub fn repair_opening(
    store: &dyn Store,
    dry_run: bool,
    monitor: &dyn Monitor,
) -> Result<VersionsReport, RepositoryError> {
    let history = history(store)?;
    let mut needed = vec![Needed { name: names::config()?, hash: None, limit_bytes: CONFIG_LIMIT_BYTES }];
    for (folder, limit_bytes) in [("journal/", ENTRY_LIMIT_BYTES), ("keys/", KEY_LIMIT_BYTES)] {
        let mut names = Vec::new();
        store.list(folder, &mut |name, _| {
            names.push(name);
            Ok(())
        })?;
        let deleted = history.deleted(folder)?;
        // A key that is no longer wrapped for some of its recipients was deleted on purpose (`key remove-recipient`).
        let keys: BTreeSet<_> = names.iter().filter_map(names::key_of).map(|(key, _)| key).collect();
        let is_lost = |name: &ObjectName| names::key_of(name).is_none_or(|(key, _)| !keys.contains(&key));
        names.extend(deleted.into_iter().filter(is_lost));
        needed.extend(names.into_iter().map(|name| Needed { name, hash: None, limit_bytes }));
    }
    let mut report = VersionsReport::default();
    for one in &needed {
        repair(history, one, dry_run, monitor, &mut report)?;
    }
    Ok(report)
}

impl Repository {
    /// Brings back packs, their parity, index objects, wrapped keys and what has not expired of log archives, where they were
    /// overwritten or deleted in a store that keeps older versions.
    ///
    /// # Errors
    /// `NoHistory`, `Store`, `Interrupted`.
    pub fn repair_versions(
        &self,
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<VersionsReport, RepositoryError> {
        let history = history(&*self.origin)?;
        let mut report = VersionsReport::default();
        let policy = &self.state.policy;
        let is_recipient = |id: RecipientId| {
            id.0 == policy.vault.id.0 || policy.recipients.iter().any(|recipient| recipient.id == id)
        };
        for name in history.deleted("keys/")? {
            if names::key_of(&name).is_some_and(|(_, recipient)| is_recipient(recipient)) {
                let needed = Needed { name, hash: None, limit_bytes: KEY_LIMIT_BYTES };
                repair(history, &needed, dry_run, monitor, &mut report)?;
            }
        }
        for pack in self.state.packs.values() {
            let name = names::pack(pack.kind, pack.id)?;
            let needed = Needed { name, hash: Some(pack.id.0), limit_bytes: PACK_LIMIT_BYTES };
            repair(history, &needed, dry_run, monitor, &mut report)?;
        }
        for name in self.parity_there_was(history)? {
            let needed = Needed { name, hash: None, limit_bytes: PARITY_LIMIT_BYTES };
            repair(history, &needed, dry_run, monitor, &mut report)?;
        }
        for index in self.state.indexes.values() {
            let needed = Needed {
                name: names::index_ref(index)?,
                hash: Some(index.id.0),
                limit_bytes: INDEX_LIMIT_BYTES,
            };
            repair(history, &needed, dry_run, monitor, &mut report)?;
        }
        for needed in self.log_objects_there_were(history)? {
            repair(history, &needed, dry_run, monitor, &mut report)?;
        }
        Ok(report)
    }

    /// Objects of log archives, and such as were deleted, though nothing expired them.
    fn log_objects_there_were(&self, history: &dyn History) -> Result<Vec<Needed>, RepositoryError> {
        let needed = |name| Needed { name, hash: None, limit_bytes: OBJECT_LIMIT_BYTES };
        let mut found = Vec::new();
        self.origin.list("wal/", &mut |name, _| {
            found.extend(names::log_object_of(&name).map(|_| needed(name)));
            Ok(())
        })?;
        for name in history.deleted("wal/")? {
            let one = needed(name);
            let Some((_, bytes, _)) = find(history, &one)? else { continue };
            // What nobody who may has signed was rightly deleted, too.
            let Ok(signed) = self.verified_head(&self.state, &one.name, &bytes) else { continue };
            let part = &signed.head.part;
            if self.state.expired_by(&part.source, part.system, part.file).is_none() {
                found.push(one);
            }
        }
        Ok(found)
    }

    /// The parity of packs that count, deleted or not. A pack need not have any.
    fn parity_there_was(&self, history: &dyn History) -> Result<Vec<ObjectName>, StoreError> {
        let mut names = history.deleted("parity/")?;
        self.origin.list("parity/", &mut |name, _| {
            names.push(name);
            Ok(())
        })?;
        names.retain(|name| names::parity_of(name).is_some_and(|id| self.state.packs.contains_key(&id)));
        Ok(names)
    }
}

/// The bytes of a hash-named object that some version still has.
pub(crate) fn whole_version(store: &dyn Store, name: &ObjectName, hash: &[u8; 32]) -> Option<Vec<u8>> {
    let history = store.history()?;
    let needed = Needed { name: name.clone(), hash: Some(*hash), limit_bytes: PACK_LIMIT_BYTES };
    find(history, &needed).ok().flatten().map(|(_, bytes, _)| bytes)
}

fn history(store: &dyn Store) -> Result<&dyn History, RepositoryError> {
    store.history().ok_or_else(|| RepositoryError::NoHistory { location: store.location() })
}

fn repair(
    history: &dyn History,
    needed: &Needed,
    dry_run: bool,
    monitor: &dyn Monitor,
    report: &mut VersionsReport,
) -> Result<(), RepositoryError> {
    if monitor.is_cancelled() {
        return Err(RepositoryError::Interrupted);
    }
    report.checked += 1;
    match find(history, needed)? {
        None => report.lost.push(needed.name.clone()),
        Some((_, _, true)) => {}
        Some((id, _, false)) => {
            if !dry_run {
                history.make_newest(&needed.name, &id)?;
            }
            report.restored.push((needed.name.clone(), id));
        }
    }
    Ok(())
}

/// The right version of an object, its bytes (empty if they were not needed to tell), and whether it is what readers
/// are given.
fn find(history: &dyn History, needed: &Needed) -> Result<Option<(String, Vec<u8>, bool)>, StoreError> {
    let versions = history.versions(&needed.name)?;
    if let [only] = &versions[..]
        && !only.is_delete_marker
        && needed.hash.is_none()
    {
        return Ok(Some((only.id.clone(), Vec::new(), true)));
    }
    let read = |id: &str| match history.get_version(&needed.name, id, needed.limit_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let with_bytes = || versions.iter().filter(|version| !version.is_delete_marker);
    let Some(hash) = &needed.hash else {
        let Some(oldest) = with_bytes().next_back() else { return Ok(None) };
        let Some(bytes) = read(&oldest.id)? else { return Ok(None) };
        let is_newest = match with_bytes().find(|version| version.is_newest) {
            Some(newest) => newest.id == oldest.id || read(&newest.id)?.as_ref() == Some(&bytes),
            None => false,
        };
        return Ok(Some((oldest.id.clone(), bytes, is_newest)));
    };
    for version in with_bytes() {
        if let Some(bytes) = read(&version.id)?
            && content_hash(&bytes).0 == *hash
        {
            return Ok(Some((version.id.clone(), bytes, version.is_newest)));
        }
    }
    Ok(None)
}
