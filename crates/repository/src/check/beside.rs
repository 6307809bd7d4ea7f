//! Checking while others prune: what they delete meanwhile is no damage.

use super::{CheckOptions, CheckReport};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

/// How often a check begins again.
const ATTEMPTS: u32 = 8;

impl Repository {
    /// As [`Repository::check`], and again with the newest state when something was found and another host has
    /// meanwhile retired and deleted objects: a check that takes longer than their grace misses them.
    ///
    /// # Errors
    /// As [`Repository::check`]; `PrunedMeanwhile` when that happens again and again.
    pub fn check_beside_prunes(
        &mut self,
        options: &CheckOptions,
        monitor: &dyn Monitor,
    ) -> Result<CheckReport, RepositoryError> {
        for _ in 0..ATTEMPTS {
            let before = self.state.clone();
            let report = self.check(options, monitor)?;
            if report.is_clean() {
                return Ok(report);
            }
            self.refresh()?;
            if !self.is_deleted_since(&before)? {
                return Ok(report);
            }
        }
        Err(RepositoryError::PrunedMeanwhile { attempts: ATTEMPTS })
    }

    /// Whether any object that counted then counts no more, and is gone.
    fn is_deleted_since(&self, before: &State) -> Result<bool, RepositoryError> {
        if self.state.retired_keys.len() > before.retired_keys.len() {
            return Ok(true);
        }
        let packs = before.packs.values().filter(|pack| !self.state.packs.contains_key(&pack.id));
        let indexes = before.indexes.values().filter(|index| !self.state.indexes.contains_key(&index.id));
        let packs = packs.map(|pack| names::pack(pack.kind, pack.id));
        for name in packs.chain(indexes.map(names::index_ref)) {
            match self.origin.stat(&name?) {
                Err(error) if error.is_not_found() => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}
