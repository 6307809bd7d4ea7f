//! Legal holds: while a snapshot is under one, nothing forgets it (`format-spec/journal.md#holds`).

use std::collections::BTreeSet;

use strongroom_format::SnapshotId;
use strongroom_format::checkpoint::Hold;
use strongroom_format::entry::HoldBody;

use super::{Snapshot, State, VoidReason};
use crate::error::RepositoryError;

impl Snapshot {
    /// Its hold of this name, if it is under it.
    #[must_use]
    pub fn hold(&self, name: &str) -> Option<&Hold> {
        self.state.holds.iter().find(|hold| hold.name == name)
    }

    /// Whether it can be forgotten.
    ///
    /// # Errors
    /// `Held` with its first hold, if it is under any.
    pub fn require_not_held(&self) -> Result<(), RepositoryError> {
        match self.state.holds.first() {
            Some(hold) => Err(RepositoryError::Held { snapshot: self.id(), hold: hold.name.clone() }),
            None => Ok(()),
        }
    }
}

impl State {
    /// These snapshots, in their order.
    ///
    /// # Errors
    /// `NoSuchSnapshot` when one is not there.
    pub(crate) fn find_all(&self, ids: &[SnapshotId]) -> Result<Vec<&Snapshot>, RepositoryError> {
        let find = |id: &SnapshotId| self.snapshots.iter().find(|snapshot| snapshot.id() == *id);
        let no_such =
            |id: &SnapshotId| RepositoryError::NoSuchSnapshot { query: id.to_hex(), candidates: Vec::new() };
        ids.iter().map(|id| find(id).ok_or_else(|| no_such(id))).collect()
    }

    /// Whether it is known which snapshots are held: forgetting is final.
    ///
    /// # Errors
    /// `NotForgettable` while an entry is damaged.
    pub(crate) fn require_holds_known(&self) -> Result<(), RepositoryError> {
        match self.damaged.first() {
            Some((number, reason)) => {
                Err(RepositoryError::NotForgettable { number: *number, reason: reason.clone() })
            }
            None => Ok(()),
        }
    }

    /// Whether one of these is there, and under a hold.
    pub(super) fn holds_any_of(&self, snapshots: &[SnapshotId]) -> bool {
        let held = self.snapshots.iter().filter(|snapshot| !snapshot.state.holds.is_empty());
        held.into_iter().any(|snapshot| snapshots.contains(&snapshot.id()))
    }

    /// Puts a hold on snapshots, or takes it off: all of them, or none.
    pub(super) fn hold(&mut self, body: &HoldBody, number: u64) -> Result<(), VoidReason> {
        let named: BTreeSet<SnapshotId> = body.snapshots.iter().copied().collect();
        let is_meant = |snapshot: &Snapshot| {
            named.contains(&snapshot.id()) && (body.is_on || snapshot.hold(&body.name).is_some())
        };
        if self.snapshots.iter().filter(|snapshot| is_meant(snapshot)).count() < named.len() {
            return Err(VoidReason::Unknown);
        }
        for snapshot in self.snapshots.iter_mut().filter(|snapshot| is_meant(snapshot)) {
            let holds = &mut snapshot.state.holds;
            match holds.binary_search_by(|hold| hold.name.as_str().cmp(&body.name)) {
                Ok(at) if !body.is_on => drop(holds.remove(at)),
                Err(at) if body.is_on => holds.insert(at, Hold { name: body.name.clone(), number }),
                _ => {}
            }
        }
        Ok(())
    }
}
