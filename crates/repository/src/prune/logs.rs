//! Deleting what expired of log archives.

use std::collections::BTreeMap;

use strongroom_store::{ObjectName, StoreError};

use super::{PruneOptions, PruneReport, milliseconds};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;

impl Repository {
    /// Deletes objects of files that an entry named when the grace has passed since, and no others.
    pub(super) fn delete_expired_logs(
        &self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
        now_ms: u64,
        report: &mut PruneReport,
    ) -> Result<(), RepositoryError> {
        if self.state.expired.is_empty() {
            return Ok(());
        }
        let mut times = BTreeMap::new();
        let mut delete: Vec<(_, ObjectName, u64)> = Vec::new();
        self.log_heads(&mut |stored| {
            // What cannot be read is no file that an entry has named.
            let Ok(signed) = stored.head else { return Ok(()) };
            let part = signed.head.part;
            let Some(number) = self.state.expired_by(&part.source, part.system, part.file) else {
                return Ok(());
            };
            let expired_ms = match times.get(&number) {
                Some(time) => *time,
                None => *times.entry(number).or_insert(self.entry_time_ms(number)?),
            };
            let bytes = stored.info.length_bytes;
            if now_ms.saturating_sub(expired_ms) < milliseconds(options.grace) {
                report.expiring.add(bytes);
            } else {
                delete.push((part, stored.name, bytes));
            }
            Ok(())
        })?;
        // First parts first: without it a file is not there, and no part of it is missing.
        delete.sort_unstable_by(|(one, ..), (other, ..)| {
            one.part
                .cmp(&other.part)
                .then_with(|| other.attempt.cmp(&one.attempt))
                .then_with(|| one.cmp(other))
        });
        for (_, name, bytes) in delete {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let deleted = if options.dry_run { Ok(()) } else { self.origin.delete(&name) };
            match deleted {
                Ok(()) => report.expired.add(bytes),
                // By another prune.
                Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Retained { .. }) => report.locked.add(bytes),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
