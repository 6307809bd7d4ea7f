//! What happened in a repository, as its journal tells it: for schedules, metrics and reports. Whoever must be sure of the journal
//! verifies it ([`Repository::verify_journal`]).

use strongroom_format::SnapshotId;
use strongroom_format::entry::Statement;

use crate::entries::stored_ms;
use crate::error::RepositoryError;
use crate::repository::Repository;

/// An entry that counts, and tells what was done.
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

/// Entries that are read at a time, by how many readers: far away each takes as long as an answer does. What was read once lies in the
/// cache in front of the store, and is verified like any other.
const WINDOW: usize = 256;
const READERS: usize = 16;

/// Of an entry that counts, what the history takes.
struct Read {
    number: u64,
    signer_name: String,
    /// When the entry before it was there.
    previous_time_ms: u64,
    /// `None` for an entry that only tells the time.
    told: Option<(Statement, Option<SnapshotId>)>,
}

/// Whether a statement tells what was done. The others name packs and objects, and may be long.
fn tells(statement: &Statement) -> bool {
    matches!(statement, Statement::Snapshot(_) | Statement::Forget(_) | Statement::Note(_))
}

impl Repository {
    /// Calls `visit` with all snapshots, notes and entries that forget, from `from` on, that count and are signed, oldest first, up
    /// to what is known of the journal since it was read last ([`Repository::refresh`]). In memory are some hundreds.
    ///
    /// # Errors
    /// `Store`.
    pub fn history(&self, from: u64, visit: &mut dyn FnMut(PastEntry)) -> Result<(), RepositoryError> {
        let mut waiting: Vec<PastEntry> = Vec::new();
        let mut numbers = (from..=self.state.number).filter(|number| self.state.counts(*number));
        loop {
            let window: Vec<u64> = numbers.by_ref().take(WINDOW).collect();
            if window.is_empty() {
                break;
            }
            for read in self.read_past_window(&window)? {
                if read.previous_time_ms > 0 {
                    for past in waiting.drain(..) {
                        visit(PastEntry { time_ms: read.previous_time_ms, ..past });
                    }
                }
                if let Some((statement, snapshot)) = read.told {
                    let Read { number, signer_name, .. } = read;
                    waiting.push(PastEntry { number, time_ms: 0, signer_name, statement, snapshot });
                }
            }
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

    /// Those of these entries that can be read and are signed, in their order.
    fn read_past_window(&self, numbers: &[u64]) -> Result<Vec<Read>, RepositoryError> {
        let share = numbers.len().div_ceil(READERS);
        let read_share = |numbers: &[u64]| -> Result<Vec<Read>, RepositoryError> {
            numbers.iter().filter_map(|number| self.read_past(*number).transpose()).collect()
        };
        // As a rule, of who reads on.
        if numbers.len() == 1 {
            return read_share(numbers);
        }
        let shares: Vec<_> = std::thread::scope(|scope| {
            let read_share = &read_share;
            let readers: Vec<_> =
                numbers.chunks(share).map(|numbers| scope.spawn(move || read_share(numbers))).collect();
            readers.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        });
        let mut all = Vec::with_capacity(numbers.len());
        for share in shares {
            all.extend(share?);
        }
        Ok(all)
    }

    fn read_past(&self, number: u64) -> Result<Option<Read>, RepositoryError> {
        let mut found = self.read_entry(number)?.filter(|read| read.is_signed);
        if found.is_none() {
            // It counted when the journal was folded: the cache may hold a copy of another repository's.
            found = self.read_entry_of(&*self.origin, number)?.filter(|read| read.is_signed);
        }
        let Some(read) = found else { return Ok(None) };
        let (Some(entry), Some(signer_name)) = (read.entry, read.signer_name) else { return Ok(None) };
        let snapshot = match &entry.statement {
            Statement::Snapshot(body) => Some(self.identity.snapshot_id(&body.manifest)),
            _ => None,
        };
        let told = tells(&entry.statement).then_some((entry.statement, snapshot));
        Ok(Some(Read { number, signer_name, previous_time_ms: entry.previous_time_ms, told }))
    }

    /// The last entry that is known of the journal.
    #[must_use]
    pub fn last_entry(&self) -> u64 {
        self.state.number
    }
}
