//! The heads of all objects of log archives: of those that were read before, the cache remembers them.

use std::collections::BTreeMap;

use strongroom_format::wal::{HEAD_LENGTH, WalHead};
use strongroom_format::{KeyId, WalId, WriterId};
use strongroom_store::{ObjectInfo, ObjectName, StoreError};

use super::object::SignedHead;
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

/// Heads that are looked at together.
const WINDOW: usize = 512;
/// Heads that are read at the same time.
const READERS: usize = 8;

/// An object, and what its head says or why it says nothing.
pub(crate) struct StoredHead {
    pub(crate) name: ObjectName,
    pub(crate) info: ObjectInfo,
    pub(crate) head: Result<SignedHead, RepositoryError>,
}

/// Data keys that objects of log archives are sealed under.
#[derive(Default)]
pub(crate) struct LogKeys {
    /// How many objects are under each.
    pub(crate) used: BTreeMap<KeyId, u64>,
    /// Objects of which nobody can tell.
    pub(crate) unreadable: u64,
    /// Objects of which somebody could tell if they were not in cold storage.
    pub(crate) frozen: u64,
}

impl Repository {
    /// Looks at each object of each log archive, in no order that means anything. Some 100 bytes of memory an object.
    ///
    /// # Errors
    /// `Store`; what `visit` fails with.
    pub(crate) fn log_heads(
        &self,
        visit: &mut dyn FnMut(StoredHead) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut listed: Vec<(WalId, ObjectInfo)> = Vec::new();
        self.origin.list("wal/", &mut |name, info| {
            listed.extend(names::log_object_of(&name).map(|id| (id, info)));
            Ok(())
        })?;
        for window in listed.chunks(WINDOW) {
            let known = self.cached_heads(window.iter().map(|(id, _)| *id));
            let unknown: Vec<WalId> =
                window.iter().map(|(id, _)| *id).filter(|id| !known.contains_key(id)).collect();
            let mut read = self.read_heads(&unknown)?;
            self.cache_heads(&read);
            for (id, info) in window {
                let head = match known.get(id) {
                    Some(head) => Ok(head.clone()),
                    None => match read.remove(id) {
                        Some(head) => head,
                        // Deleted since it was listed.
                        None => continue,
                    },
                };
                visit(StoredHead { name: names::log_object(*id)?, info: *info, head })?;
            }
        }
        Ok(())
    }

    /// The data keys that log archives need.
    ///
    /// # Errors
    /// `Store`.
    pub(crate) fn keys_of_logs(&self) -> Result<LogKeys, RepositoryError> {
        let mut keys = LogKeys::default();
        self.log_heads(&mut |stored| {
            match stored.head {
                Ok(signed) => *keys.used.entry(signed.head.key.id).or_default() += 1,
                Err(RepositoryError::Store(StoreError::Archived { .. })) => keys.frozen += 1,
                Err(_) => keys.unreadable += 1,
            }
            Ok(())
        })?;
        Ok(keys)
    }

    /// Whether an object came too late: after its data key was retired, whose wraps are gone. Then nobody was told that it is
    /// stored, because whoever stores one looks at the journal after.
    ///
    /// # Errors
    /// `Store`.
    pub(crate) fn came_too_late(
        &self,
        state: &State,
        key: KeyId,
        info: &ObjectInfo,
    ) -> Result<bool, RepositoryError> {
        let Some(number) = state.retired_keys.get(&key) else { return Ok(false) };
        if info.modified_ms < self.entry_time_ms(*number)? {
            return Ok(false);
        }
        let mut has_wraps = false;
        self.origin.list(&format!("keys/{key}/"), &mut |_, _| {
            has_wraps = true;
            Ok(())
        })?;
        Ok(!has_wraps)
    }

    /// Those that are still there.
    fn read_heads(
        &self,
        ids: &[WalId],
    ) -> Result<BTreeMap<WalId, Result<SignedHead, RepositoryError>>, RepositoryError> {
        let mut read = BTreeMap::new();
        for some in ids.chunks(READERS) {
            let looked: Vec<_> = std::thread::scope(|scope| {
                let looking: Vec<_> =
                    some.iter().map(|id| (*id, scope.spawn(|| self.read_head(*id)))).collect();
                looking
                    .into_iter()
                    .map(|(id, one)| (id, one.join().unwrap_or(Err(RepositoryError::Cancelled))))
                    .collect()
            });
            for (id, head) in looked {
                match head {
                    Err(RepositoryError::Store(StoreError::NotFound { .. })) => {}
                    Err(error @ RepositoryError::Store(StoreError::Archived { .. })) => {
                        drop(read.insert(id, Err(error)));
                    }
                    Err(error @ RepositoryError::Store(_)) if !error.is_of_content() => return Err(error),
                    head => drop(read.insert(id, head)),
                }
            }
        }
        Ok(read)
    }

    fn read_head(&self, id: WalId) -> Result<SignedHead, RepositoryError> {
        let name = names::log_object(id)?;
        let stored = self.origin.get_range(&name, 0, HEAD_LENGTH as u64)?;
        self.verified_head(&self.state, &name, &stored)
    }

    /// A cache that fails remembers nothing.
    fn cached_heads(&self, ids: impl Iterator<Item = WalId>) -> BTreeMap<WalId, SignedHead> {
        let rows = self.cache.log_heads(ids).unwrap_or_else(|error| {
            tracing::debug!(%error, "heads of log archives are read again");
            Vec::new()
        });
        rows.into_iter().filter_map(|(id, row)| Some((id, from_row(id, &row)?))).collect()
    }

    fn cache_heads(&self, read: &BTreeMap<WalId, Result<SignedHead, RepositoryError>>) {
        let rows = read.iter().filter_map(|(id, head)| Some((*id, to_row(*id, head.as_ref().ok()?)?)));
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty()
            && let Err(error) = self.cache.remember_log_heads(&rows)
        {
            tracing::debug!(%error, "heads of log archives are not remembered");
        }
    }
}

/// Which keys are needed hangs on it: a row says whether it is what was written.
fn checksum(id: WalId, rest: &[u8]) -> [u8; 16] {
    let mut checksum = [0; 16];
    blake3::Hasher::new().update(&id.0).update(rest).finalize_xof().fill(&mut checksum);
    checksum
}

fn to_row(id: WalId, signed: &SignedHead) -> Option<Vec<u8>> {
    let rest = [&signed.signer.0[..], &signed.head.encode().ok()?].concat();
    Some([&checksum(id, &rest)[..], &rest].concat())
}

fn from_row(id: WalId, row: &[u8]) -> Option<SignedHead> {
    let (stored, rest) = row.split_first_chunk::<16>()?;
    let (signer, head) = rest.split_first_chunk::<16>()?;
    if *stored != checksum(id, rest) {
        return None;
    }
    Some(SignedHead { head: WalHead::decode(head).ok()?, signer: WriterId(*signer) })
}
