//! Chunks that this run stores and no index knows yet. Memory is bounded: what grows old goes to a temporary
//! SQLite database, which the operating system's temporary files hold.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use strongroom_format::ChunkId;

use crate::error::RepositoryError;

const IN_MEMORY: usize = 256 << 10;

/// The set of chunks that some thread of this run has taken on to store.
#[derive(Default)]
pub(crate) struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    recent: HashSet<ChunkId>,
    spilled: Option<Connection>,
}

impl Pending {
    /// For each ID whether the caller is the first to claim it, and so has to store it.
    pub(crate) fn claim(&self, ids: &[Option<ChunkId>]) -> Result<Vec<bool>, RepositoryError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| RepositoryError::Cache { path: "of this run's new chunks".into(), source };
        ids.iter().map(|id| id.map_or(Ok(false), |id| inner.claim(id).map_err(failed))).collect()
    }
}

impl Inner {
    fn claim(&mut self, id: ChunkId) -> Result<bool, rusqlite::Error> {
        if self.recent.contains(&id) {
            return Ok(false);
        }
        if let Some(spilled) = &self.spilled {
            let known = spilled
                .prepare_cached("SELECT 1 FROM chunk WHERE id = ?1")?
                .query_row([&id.0[..]], |_| Ok(()))
                .optional()?;
            if known.is_some() {
                return Ok(false);
            }
        }
        if self.recent.len() >= IN_MEMORY {
            self.spill()?;
        }
        self.recent.insert(id);
        Ok(true)
    }

    fn spill(&mut self) -> Result<(), rusqlite::Error> {
        if self.spilled.is_none() {
            // An empty name: a temporary database on disk, gone when it is closed.
            let connection = Connection::open("")?;
            connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384; CREATE TABLE chunk (id BLOB PRIMARY KEY) WITHOUT ROWID;")?;
            self.spilled = Some(connection);
        }
        let Some(connection) = &mut self.spilled else { return Ok(()) };
        let mut ids: Vec<ChunkId> = self.recent.iter().copied().collect();
        ids.sort_unstable();
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO chunk VALUES (?1)")?;
            for id in &ids {
                insert.execute([&id.0[..]])?;
            }
        }
        transaction.commit()?;
        // A disk that is full fails the run above; then nothing was forgotten.
        self.recent.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_is_claimed_once_also_after_spilling() {
        let pending = Pending::default();
        let id = |n: usize| Some(ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()));
        let all: Vec<_> = (0..IN_MEMORY + 1000).map(id).collect();
        assert!(pending.claim(&all).unwrap().iter().all(|first| *first));
        assert!(pending.inner.lock().unwrap().spilled.is_some());
        assert!(
            pending.claim(&[id(0), id(IN_MEMORY + 5), id(77), None]).unwrap().iter().all(|first| !*first)
        );
        assert_eq!(pending.claim(&[id(usize::MAX)]).unwrap(), [true]);
    }
}
