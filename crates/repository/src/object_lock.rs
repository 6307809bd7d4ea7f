//! Keeping what is needed locked in the store (S3 Object Lock).

use std::time::Duration;

use strongroom_store::ObjectName;

use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::open::object_lock;
use crate::repository::Repository;

/// What extending locks did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtendedLocks {
    /// Objects that are locked for longer now.
    pub extended: u64,
    /// Objects that are locked for at least half of the policy's time to come.
    pub kept: u64,
}

impl Repository {
    /// Locks everything that counts for the policy's time from the store's now on: config, journal, checkpoints, keys,
    /// the packs of the state, their parity, its index objects, and what has not expired of log archives. What is locked for half of that time to come is left.
    ///
    /// # Errors
    /// `CannotLock` without a lock in the policy, or with a store that has none; `Store`, `Interrupted`.
    pub fn extend_object_locks(&self, monitor: &dyn Monitor) -> Result<ExtendedLocks, RepositoryError> {
        let cannot = || RepositoryError::CannotLock { location: self.origin.location() };
        let lock = object_lock(self.state.policy.object_lock.as_ref().ok_or_else(cannot)?);
        let retention = self.origin.retention().ok_or_else(cannot)?;
        let now_ms = u64::try_from(self.clock.now_ns() / 1_000_000).unwrap_or_default();
        let mut names = vec![names::config()?];
        for folder in ["journal/", "checkpoints/", "keys/"] {
            self.origin.list(folder, &mut |name, _| {
                names.push(name);
                Ok(())
            })?;
        }
        for pack in self.state.packs.values() {
            names.push(names::pack(pack.kind, pack.id)?);
        }
        self.origin.list("parity/", &mut |name, _| {
            names
                .extend(names::parity_of(&name).filter(|id| self.state.packs.contains_key(id)).map(|_| name));
            Ok(())
        })?;
        for index in self.state.indexes.values() {
            names.push(names::index_ref(index)?);
        }
        self.log_heads(&mut |stored| {
            let is_expired = stored.head.is_ok_and(|signed| {
                let part = signed.head.part;
                self.state.expired_by(&part.source, part.system, part.file).is_some()
            });
            if !is_expired {
                names.push(stored.name);
            }
            Ok(())
        })?;
        let mut report = ExtendedLocks::default();
        monitor.begin("locking objects", None);
        for name in names {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let Some(duration) = lock.duration_of(&name) else { continue };
            let is_long = |until: u64| until >= now_ms.saturating_add(milliseconds(duration / 2));
            if retention.retain_until(&name)?.is_some_and(is_long) {
                report.kept += 1;
                continue;
            }
            match retention.extend(&name, now_ms.saturating_add(milliseconds(duration))) {
                Ok(()) => report.extended += 1,
                Err(error) if is_expendable(&name) && error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(report)
    }
}

/// A checkpoint may go at any time.
fn is_expendable(name: &ObjectName) -> bool {
    name.as_str().starts_with("checkpoints/")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
