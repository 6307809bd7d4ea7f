//! Single entries of the journal as they are stored, whatever they are worth: for telling what they say, and when.

use strongroom_format::WriterId;
use strongroom_format::entry::{ENTRY_LIMIT_BYTES, JournalEntry};
use strongroom_format::registry::ObjectKind;
use strongroom_store::{ObjectName, Store, StoreError};

use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

/// An entry that opens under a metadata key of the repository, current or not.
pub(crate) struct ReadEntry {
    /// Who signed it, by what it says itself.
    pub(crate) signer: WriterId,
    /// The name that a policy gave him; `None` if none ever did.
    pub(crate) signer_name: Option<String>,
    /// Whether a policy lists him, or did, and the signature holds: else anybody with the metadata key may have made it.
    pub(crate) is_signed: bool,
    /// What it says; `None` if this version cannot decode it.
    pub(crate) entry: Option<JournalEntry>,
}

impl Repository {
    /// Reads an entry; `None` when it is missing or does not open.
    pub(crate) fn read_entry(&self, number: u64) -> Result<Option<ReadEntry>, RepositoryError> {
        self.read_entry_of(&*self.store, number)
    }

    /// The same, of the store or of what is behind its cache.
    pub(crate) fn read_entry_of(
        &self,
        store: &dyn Store,
        number: u64,
    ) -> Result<Option<ReadEntry>, RepositoryError> {
        let name = names::entry(number)?;
        match store.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => Ok(self.open_entry(&name, &bytes, &self.state)),
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the stored bytes of an entry; signers are those that policies of `state` list.
    pub(crate) fn open_entry(&self, name: &ObjectName, bytes: &[u8], state: &State) -> Option<ReadEntry> {
        let key = self.metadata.of_object(bytes).ok()?;
        let opened = key.open(ObjectKind::Entry, name.as_str(), bytes).ok()?;
        let signer = opened.claimed_signer().ok()?;
        let listed = state.known_signer(signer);
        Some(ReadEntry {
            signer,
            signer_name: listed.map(|listed| listed.name.clone()),
            is_signed: listed.is_some_and(|listed| opened.verify(&listed.public).is_ok()),
            entry: opened.body().ok().and_then(|body| JournalEntry::decode(body.content).ok()),
        })
    }

    /// The store's time of an entry, ms since 1970: as the first entry behind it that counts tells it, else the store's
    /// own. `None` where neither does.
    pub(crate) fn time_of(&self, number: u64) -> Result<Option<u64>, RepositoryError> {
        if let Some(later) = self.state.next_that_counts(number)
            && let Some(entry) =
                self.read_entry(later)?.filter(|read| read.is_signed).and_then(|read| read.entry)
            && entry.previous_time_ms > 0
        {
            return Ok(Some(entry.previous_time_ms));
        }
        match stored_ms(&*self.store, number) {
            Ok(time_ms) => Ok(Some(time_ms)),
            Err(RepositoryError::Store(StoreError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// When an entry was created, by the store's clock, ms since 1970; of one that is gone, when the checkpoint after it was.
///
/// # Errors
/// `Store`: not found when neither is there.
pub(crate) fn stored_ms(store: &dyn Store, number: u64) -> Result<u64, RepositoryError> {
    match store.stat(&names::entry(number)?) {
        Ok(info) => Ok(info.modified_ms),
        Err(error) if error.is_not_found() => match store.stat(&names::checkpoint(number)?) {
            Err(gone) if gone.is_not_found() => Err(error.into()),
            found => Ok(found?.modified_ms),
        },
        Err(error) => Err(error.into()),
    }
}
