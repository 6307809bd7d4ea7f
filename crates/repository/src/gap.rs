//! Gaps of the journal: names that are not taken while later ones are (`format-spec/journal.md#gaps`).
//!
//! An entry is appended only when every name below it is taken. Otherwise somebody could fill a gap later with what the
//! entries behind it do not follow, and so make them void: a single stolen writer would undo what others did since. Nor
//! may a gap stop anybody: every writer can make one. So what is missing is closed with an object of no bytes, which is
//! damage like the loss itself, until it is settled.

use strongroom_format::entry::ENTRY_LIMIT_BYTES;
use strongroom_format::registry::ObjectKind;
use strongroom_store::{PutOutcome, StoreError};

use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

impl Repository {
    /// Sees to it that nothing is missing below the number that is appended next.
    pub(crate) fn close_gaps(&mut self) -> Result<(), RepositoryError> {
        if let Some(before) = self.before_gap.take() {
            // Behind the last that somebody signed there is only garbage: what follows goes in its place.
            let first = before.number + 1;
            let mut last = self.state.number;
            while last > first && !self.is_signed(last, &before)? {
                last -= 1;
            }
            for number in first..last {
                self.close(number)?;
            }
            self.state = before;
            self.refresh()?;
        }
        // One that came since.
        while self.is_signed(self.state.number + 2, &self.state)? && self.close(self.state.number + 1)? {
            self.refresh()?;
        }
        Ok(())
    }

    /// Takes a name that is free, for good; `false` when there is something.
    fn close(&self, number: u64) -> Result<bool, RepositoryError> {
        let name = names::entry(number)?;
        match self.store.stat(&name) {
            Ok(_) => return Ok(false),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::warn!(%name, "the journal has a gap: closed");
        Ok(self.store.put_if_absent(&name, &[])? == PutOutcome::Created)
    }

    /// Whether an entry is there that somebody signed whom this policy lists, or the one in force.
    fn is_signed(&self, number: u64, before: &State) -> Result<bool, RepositoryError> {
        let name = names::entry(number)?;
        let bytes = match self.store.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let key = self.metadata.of_object(&bytes);
        let opened = key.and_then(|key| key.open(ObjectKind::Entry, name.as_str(), &bytes));
        Ok(opened.is_ok_and(|opened| {
            let listed = |id| before.policy.signer(id).or_else(|| self.state.policy.signer(id));
            let signer = opened.claimed_signer().ok().and_then(listed);
            signer.is_some_and(|signer| opened.verify(&signer.public).is_ok())
        }))
    }
}
