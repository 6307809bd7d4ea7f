//! Heads of objects of log archives that were read before.

use rusqlite::{OptionalExtension, params};
use strongroom_format::WalId;

use super::Cache;
use crate::error::RepositoryError;

impl Cache {
    /// Of these objects what is remembered.
    pub(crate) fn log_heads(
        &self,
        ids: impl Iterator<Item = WalId>,
    ) -> Result<Vec<(WalId, Vec<u8>)>, RepositoryError> {
        self.told(self.place().database.read(|connection| {
            let mut query = connection.prepare_cached("SELECT head FROM log_head WHERE id = ?1")?;
            let mut found = Vec::new();
            for id in ids {
                let head = query.query_row([&id.0[..]], |row| row.get(0)).optional()?;
                found.extend(head.map(|head| (id, head)));
            }
            Ok(found)
        }))
    }

    /// Remembers heads.
    pub(crate) fn remember_log_heads(&self, heads: &[(WalId, Vec<u8>)]) -> Result<(), RepositoryError> {
        self.told(self.place().database.write(|transaction| {
            let mut query = transaction.prepare_cached("INSERT OR REPLACE INTO log_head VALUES (?1, ?2)")?;
            for (id, head) in heads {
                query.execute(params![&id.0[..], head])?;
            }
            Ok(())
        }))
    }
}
