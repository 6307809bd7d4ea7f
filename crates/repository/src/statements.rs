//! Entries that are statements about what is there: tags and notes.

use strongroom_format::SnapshotId;
use strongroom_format::entry::{NoteBody, Statement, TagBody};

use crate::error::RepositoryError;
use crate::repository::Repository;

impl Repository {
    /// Adds tags to a snapshot and takes others off.
    ///
    /// # Errors
    /// `NoSuchSnapshot` when it was forgotten meanwhile; `Store`, `Contention`, `NoSigner`.
    pub fn tag(
        &mut self,
        snapshot: SnapshotId,
        add: &[String],
        remove: &[String],
    ) -> Result<u64, RepositoryError> {
        self.append(|state| {
            if state.snapshots.iter().any(|known| known.id() == snapshot) {
                Ok(Statement::Tag(TagBody { snapshot, add: add.to_vec(), remove: remove.to_vec() }))
            } else {
                Err(RepositoryError::NoSuchSnapshot { query: snapshot.to_hex(), candidates: Vec::new() })
            }
        })
    }

    /// Leaves a note for the audit trail: what happened, to which snapshot, with details in JSON.
    ///
    /// # Errors
    /// `Store`, `Contention`, `NoSigner`.
    pub fn note(
        &mut self,
        event: &str,
        snapshot: Option<SnapshotId>,
        detail: &str,
    ) -> Result<u64, RepositoryError> {
        let time_ns = self.clock.now_ns();
        self.append(|_| {
            Ok(Statement::Note(NoteBody {
                event: event.to_owned(),
                snapshot,
                time_ns,
                detail: detail.to_owned(),
            }))
        })
    }
}
