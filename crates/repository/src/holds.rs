//! Legal holds: putting them on snapshots, taking them off, and telling which there are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use strongroom_format::entry::{HoldBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_format::{SnapshotId, WriterId};

use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::state::{Snapshot, State};

/// A hold that a snapshot is under, as the entry that put it on tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its source.
    pub source: String,
    /// The host that it was taken on.
    pub host: String,
    /// The hold's name.
    pub name: String,
    /// The entry that put it on.
    pub entry: u64,
    /// When, by the store's clock, ms since 1970; `None` where the store does not tell.
    pub time_ms: Option<u64>,
    /// Who, and why; `None` when the entry is damaged and only a checkpoint knows of the hold.
    pub told: Option<HoldOrigin>,
}

/// What an entry says of the hold that it put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOrigin {
    /// Who signed it.
    pub signer: WriterId,
    /// The name that a policy gave him.
    pub signer_name: String,
    /// Why.
    pub reason: String,
}

impl Repository {
    /// Puts snapshots under a hold: nothing forgets them until an admin takes it off. Gives those that were not under
    /// it before; without any, nothing is appended.
    ///
    /// # Errors
    /// `NoSuchSnapshot` when one was forgotten meanwhile: then none is held; `NoSigner`, `Store`, `Contention`.
    pub fn hold(
        &mut self,
        snapshots: &[SnapshotId],
        name: &str,
        reason: &str,
    ) -> Result<Vec<SnapshotId>, RepositoryError> {
        self.put_on(name, reason, |state| state.find_all(snapshots))
    }

    /// The same, of all snapshots of a source that are there at the moment of the entry.
    ///
    /// # Errors
    /// `NoSuchSnapshot` when there are none; as [`Repository::hold`].
    pub fn hold_source(
        &mut self,
        source: &str,
        name: &str,
        reason: &str,
    ) -> Result<Vec<SnapshotId>, RepositoryError> {
        self.put_on(name, reason, |state| {
            let of_source: Vec<_> =
                state.snapshots.iter().filter(|snapshot| snapshot.manifest.source == source).collect();
            if of_source.is_empty() {
                return Err(RepositoryError::NoSuchSnapshot {
                    query: format!("latest:{source}"),
                    candidates: Vec::new(),
                });
            }
            Ok(of_source)
        })
    }

    fn put_on(
        &mut self,
        name: &str,
        reason: &str,
        choose: impl Fn(&State) -> Result<Vec<&Snapshot>, RepositoryError>,
    ) -> Result<Vec<SnapshotId>, RepositoryError> {
        let mut held = Vec::new();
        let mut nothing_to_do = false;
        let appended = self.append(|state| {
            let chosen = choose(state)?;
            held = chosen.into_iter().filter(|one| one.hold(name).is_none()).map(Snapshot::id).collect();
            nothing_to_do = held.is_empty();
            if nothing_to_do {
                return Err(RepositoryError::Cancelled);
            }
            Ok(Statement::Hold(HoldBody {
                snapshots: held.clone(),
                name: name.to_owned(),
                is_on: true,
                reason: reason.to_owned(),
            }))
        });
        match appended {
            Err(RepositoryError::Cancelled) if nothing_to_do => Ok(held),
            appended => appended.map(|_| held),
        }
    }

    /// Takes a hold off snapshots; an empty list does nothing.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, and `NotHeld` when one is not under it: then it stays on all; `NoSigner` without the role
    /// admin; `Store`, `Contention`.
    pub fn release(
        &mut self,
        snapshots: &[SnapshotId],
        name: &str,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        self.require_role(Roles::ADMIN, "admin")?;
        if snapshots.is_empty() {
            return Ok(());
        }
        self.append(|state| {
            for snapshot in state.find_all(snapshots)? {
                if snapshot.hold(name).is_none() {
                    return Err(RepositoryError::NotHeld { snapshot: snapshot.id(), hold: name.to_owned() });
                }
            }
            Ok(Statement::Hold(HoldBody {
                snapshots: snapshots.to_vec(),
                name: name.to_owned(),
                is_on: false,
                reason: reason.to_owned(),
            }))
        })?;
        Ok(())
    }

    /// Every hold, by snapshot and name.
    ///
    /// # Errors
    /// `Store`.
    pub fn holds(&self) -> Result<Vec<HeldSnapshot>, RepositoryError> {
        let state = &self.state;
        // One entry mostly holds many.
        let mut told: BTreeMap<u64, (Option<u64>, Option<HoldOrigin>)> = BTreeMap::new();
        let mut holds = Vec::new();
        for snapshot in &state.snapshots {
            for hold in &snapshot.state.holds {
                let (time_ms, origin) = match told.entry(hold.number) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert((self.time_of(hold.number)?, self.hold_origin(hold.number)?))
                    }
                };
                holds.push(HeldSnapshot {
                    snapshot: snapshot.id(),
                    source: snapshot.manifest.source.clone(),
                    host: snapshot.manifest.host.clone(),
                    name: hold.name.clone(),
                    entry: hold.number,
                    time_ms: *time_ms,
                    told: origin.clone(),
                });
            }
        }
        Ok(holds)
    }

    fn hold_origin(&self, number: u64) -> Result<Option<HoldOrigin>, RepositoryError> {
        let Some(read) = self.read_entry(number)?.filter(|read| read.is_signed) else { return Ok(None) };
        let Some(Statement::Hold(body)) = read.entry.map(|entry| entry.statement) else { return Ok(None) };
        Ok(Some(HoldOrigin {
            signer: read.signer,
            signer_name: read.signer_name.unwrap_or_default(),
            reason: body.reason,
        }))
    }
}
