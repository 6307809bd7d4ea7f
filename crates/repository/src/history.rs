//! What happened in a repository, as its journal tells it: for schedules, metrics and reports. Whoever must be sure of the journal
//! verifies it ([`Repository::verify_journal`]).

use strongroom_format::SnapshotId;
use strongroom_format::entry::Statement;

use crate::entries::stored_ms;
use crate::error::RepositoryError;
use crate::repository::Repository;

/// An entry that counts.
#[derive(Debug, Clone)]
pub struct PastEntry {
    /// Its place in the journal.
    pub number: u64,
    /// The store's time of it, ms since 1970.
    pub time_ms: u64,
    /// Who signed it, by the name that a policy gave him.
    pub signer_name: String,
    /// What it says.
    pub statement: Statement,
    /// The ID of the snapshot that it brought.
    pub snapshot: Option<SnapshotId>,
}

impl Repository {
    /// Calls `visit` with all entries from `from` on that count and are signed, oldest first, up to what is known of the journal
    /// since it was read last ([`Repository::refresh`]). In memory are those whose time is not known yet: one, as a rule.
    ///
    /// # Errors
    /// `Store`.
    pub fn history(&self, from: u64, visit: &mut dyn FnMut(PastEntry)) -> Result<(), RepositoryError> {
        let mut waiting: Vec<PastEntry> = Vec::new();
        for number in from..=self.state.number {
            if !self.state.counts(number) {
                continue;
            }
            let Some(read) = self.read_entry(number)?.filter(|read| read.is_signed) else { continue };
            let (Some(entry), Some(signer_name)) = (read.entry, read.signer_name) else { continue };
            if entry.previous_time_ms > 0 {
                for past in waiting.drain(..) {
                    visit(PastEntry { time_ms: entry.previous_time_ms, ..past });
                }
            }
            let snapshot = match &entry.statement {
                Statement::Snapshot(body) => Some(self.identity.snapshot_id(&body.manifest)),
                _ => None,
            };
            waiting.push(PastEntry { number, time_ms: 0, signer_name, statement: entry.statement, snapshot });
        }
        for past in waiting {
            let time_ms = match stored_ms(&*self.store, past.number) {
                Ok(time_ms) => time_ms,
                // A checkpoint knows what it said, and nobody when.
                Err(RepositoryError::Store(error)) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            visit(PastEntry { time_ms, ..past });
        }
        Ok(())
    }

    /// The last entry that is known of the journal.
    #[must_use]
    pub fn last_entry(&self) -> u64 {
        self.state.number
    }
}
