//! Reading and appending the journal (`format-spec/journal.md`).

use strongroom_format::checkpoint::CHECKPOINT_LIMIT_BYTES;
use strongroom_format::entry::{ENTRY_LIMIT_BYTES, JournalEntry, Statement};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{ContentHash, FormatError, Salt, body};
use strongroom_keys::random;
use strongroom_store::{ObjectName, PutOutcome, StoreError};

use crate::entries::stored_ms;
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

/// Entries between two checkpoints.
pub(crate) const CHECKPOINT_INTERVAL: u64 = 256;
const ATTEMPTS: u32 = 64;
/// Entries behind a longer gap are none: whoever may create objects can create `journal/ffffffffffffffff`.
const GAP_LIMIT: u64 = 1024;
const PART_BYTES: u64 = 8 << 20;

impl Repository {
    /// Folds all entries that came since; the state is then that of the journal's head.
    ///
    /// # Errors
    /// `Store`, `NewerFormat`, `UnknownFeature`.
    pub fn refresh(&mut self) -> Result<(), RepositoryError> {
        while self.fold_next()? {}
        self.cache_head()
    }

    fn fold_next(&mut self) -> Result<bool, RepositoryError> {
        let name = names::entry(self.state.number + 1)?;
        match self.store.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => self.fold_bytes(&name, &bytes).map(|()| true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(StoreError::TooLarge { .. }) => {
                self.state.fold_damaged(self.hash_of(&name)?, "it is larger than an entry can be".into());
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The state after what was appended since this repository was opened, as far as the keys at hand tell: for those
    /// who look for what was moved meanwhile.
    pub(crate) fn newer_state(&self) -> State {
        let mut state = self.state.clone();
        let mut fold = || -> Result<(), RepositoryError> {
            loop {
                let name = names::entry(state.number + 1)?;
                let bytes = self.store.get(&name, ENTRY_LIMIT_BYTES)?;
                let metadata = self.metadata.in_force(&state)?;
                state.fold(name.as_str(), &bytes, metadata, &self.identity)?;
            }
        };
        // What ends it is the journal's end, or what a later run will say.
        if let Err(error) = fold() {
            tracing::debug!(%error, "the newest entry that is known");
        }
        state
    }

    fn fold_bytes(&mut self, name: &ObjectName, bytes: &[u8]) -> Result<(), RepositoryError> {
        let metadata = self.metadata.in_force(&self.state)?;
        let key = metadata.id();
        self.state.fold(name.as_str(), bytes, metadata, &self.identity)?;
        if self.state.policy.metadata.id != key {
            self.load_metadata_keys()?;
        }
        self.lock_objects();
        Ok(())
    }

    /// Folds to the head, and over entries that are missing below later ones. `listed_head` is the highest entry
    /// that a listing shows.
    pub(crate) fn fold_to_head(&mut self, listed_head: Option<u64>) -> Result<(), RepositoryError> {
        loop {
            while self.fold_next()? {}
            match listed_head {
                Some(head) if head > self.state.number => {
                    self.before_gap.get_or_insert_with(|| self.state.clone());
                    self.state.fold_damaged(ContentHash([0; 32]), "it is missing".into())
                }
                _ => return self.cache_head(),
            }
        }
    }

    fn cache_head(&self) -> Result<(), RepositoryError> {
        match self.cache.remember_head(self.state.number, self.state.entry_hash) {
            Ok(()) => Ok(()),
            // Memory of the head guards against rollback; a full cache disk must not stop a backup.
            Err(error) if error.is_of_cache() => self.cache.replace_by_memory(&self.fingerprint()),
            Err(error) => Err(error),
        }
    }

    /// The highest number among the names in `journal/`, short of a gap that no damage makes.
    pub(crate) fn listed_head(&self) -> Result<Option<u64>, RepositoryError> {
        let mut head = None;
        self.store.list("journal/", &mut |name, _| {
            // Names come in the order of their numbers.
            if let Some(number) = names::entry_number(&name)
                && number.saturating_sub(head.unwrap_or(0)) <= GAP_LIMIT
            {
                head = Some(number);
            }
            Ok(())
        })?;
        Ok(head)
    }

    /// BLAKE3-256 of an object of any length.
    pub(crate) fn hash_of(&self, name: &ObjectName) -> Result<ContentHash, RepositoryError> {
        let mut hasher = blake3::Hasher::new();
        let (mut at, length) = (0, self.store.stat(name)?.length_bytes);
        while at < length {
            let part = (length - at).min(PART_BYTES);
            hasher.update(&self.store.get_range(name, at, part)?);
            at += part;
        }
        Ok(ContentHash(*hasher.finalize().as_bytes()))
    }

    /// Appends an entry: `decide` says it for a state; when another host appends first, its entries are folded
    /// and `decide` is asked again. The entry is durable when this returns.
    ///
    /// # Errors
    /// What `decide` fails with; `Store`, `Contention`, `NoSigner`.
    pub(crate) fn append(
        &mut self,
        mut decide: impl FnMut(&State) -> Result<Statement, RepositoryError>,
    ) -> Result<u64, RepositoryError> {
        for attempt in 0..ATTEMPTS {
            // At first what is known may do: if it does not, the number is taken.
            if attempt > 0 {
                self.refresh()?;
            }
            self.close_gaps()?;
            let decided = decide(&self.state).and_then(|statement| {
                // An entry that its own reader would call void is not created.
                let role = statement.role();
                self.require_role(role, role.names().next().unwrap_or("write")).map(|()| statement)
            });
            let statement = match decided {
                // By what is known: another process that shares the cache may know more.
                Err(_) if attempt == 0 => continue,
                decided => decided?,
            };
            let bytes = self.seal_entry(statement)?;
            let number = self.state.number + 1;
            if self.put_entry(number, &bytes)? {
                self.fold_bytes(&names::entry(number)?, &bytes)?;
                if let Some(void) = self.state.voids.last().filter(|void| void.number == number) {
                    return Err(RepositoryError::Defect {
                        object: format!("the entry just appended ({number})"),
                        reason: void.reason.clone(),
                    });
                }
                self.cache_head()?;
                self.checkpoint_if_due();
                return Ok(number);
            }
        }
        Err(RepositoryError::Contention { attempts: ATTEMPTS })
    }

    fn seal_entry(&self, statement: Statement) -> Result<Vec<u8>, RepositoryError> {
        let number = self.state.number + 1;
        let is_damaged = self.state.damaged.last().is_some_and(|(damaged, _)| *damaged == self.state.number);
        let previous_time_ms = match stored_ms(&*self.store, self.state.number) {
            Err(RepositoryError::Store(error)) if is_damaged && error.is_not_found() => 0,
            time => time?,
        };
        let entry = JournalEntry {
            number,
            base: self.state.number,
            previous: self.state.chain,
            previous_time_ms,
            statement,
        };
        let content = entry.encode();
        if JournalEntry::decode(&content).as_ref() != Ok(&entry) {
            return Err(RepositoryError::Defect {
                object: format!("entry {number}, before it was written,"),
                reason: "it does not decode to itself".into(),
            });
        }
        let signer = self.signer()?;
        let salt = Salt(
            random::array(&*self.random)
                .map_err(|source| RepositoryError::Seal { what: "a journal entry", source })?,
        );
        self.metadata_key()?
            .seal(
                ObjectKind::Entry,
                names::entry(number)?.as_str(),
                body::ENTRY_FLOOR_BYTES,
                &content,
                signer,
                salt,
            )
            .map_err(|source| RepositoryError::Seal { what: "a journal entry", source })
    }

    /// Creates entry `number`, or finds it taken by other bytes (`false`). After an ambiguous answer the number is
    /// read back: one's own bytes are success.
    fn put_entry(&self, number: u64, bytes: &[u8]) -> Result<bool, RepositoryError> {
        let name = names::entry(number)?;
        match self.store.put_if_absent(&name, bytes) {
            Ok(PutOutcome::Created) => Ok(true),
            Ok(PutOutcome::AlreadyExists) => Ok(self.store.get(&name, ENTRY_LIMIT_BYTES)? == bytes),
            Err(error) => match self.store.get(&name, ENTRY_LIMIT_BYTES) {
                Ok(stored) => Ok(stored == bytes),
                Err(_) => Err(error.into()),
            },
        }
    }

    /// A checkpoint is a cache: failing to write one is no failure. Where many writers have no right to, the next one
    /// that has does.
    fn checkpoint_if_due(&mut self) {
        if self.state.number - self.checkpointed < CHECKPOINT_INTERVAL
            || !self.state.damaged.is_empty()
            || self.require_role(Roles::MAINTAIN, "maintain").is_err()
        {
            return;
        }
        match self.write_checkpoint() {
            Ok(()) => {
                self.checkpointed = self.state.number;
                self.cache.remember_start(Some(self.checkpointed));
            }
            Err(error) => {
                tracing::warn!(%error, number = self.state.number, "writing a checkpoint failed");
                // What is too large now is no smaller at the next entry.
                if matches!(error, RepositoryError::Unstorable { .. }) {
                    self.checkpointed = self.state.number;
                }
            }
        }
    }

    /// Stores the folded state, signed in the role *maintain*.
    ///
    /// # Errors
    /// `NoSigner`, `Store`, `Seal`; `Unstorable` when it is longer than readers accept.
    pub fn write_checkpoint(&self) -> Result<(), RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        let signer = self.signer()?;
        let name = names::checkpoint(self.state.number)?;
        let salt = Salt(
            random::array(&*self.random)
                .map_err(|source| RepositoryError::Seal { what: "a checkpoint", source })?,
        );
        let content = self.state.to_checkpoint().encode();
        let bytes = self
            .metadata_key()?
            .seal(ObjectKind::Checkpoint, name.as_str(), body::OBJECT_FLOOR_BYTES, &content, signer, salt)
            .map_err(|source| RepositoryError::Seal { what: "a checkpoint", source })?;
        let length = bytes.len() as u64;
        if length > CHECKPOINT_LIMIT_BYTES {
            let source =
                FormatError::Limit { what: "checkpoint", value: length, limit: CHECKPOINT_LIMIT_BYTES };
            return Err(RepositoryError::Unstorable { what: "a checkpoint".into(), source });
        }
        let _ = self.store.put_if_absent(&name, &bytes)?;
        Ok(())
    }
}
