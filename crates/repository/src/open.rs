//! Opening a repository (`format-spec/sealing.md#opening`). Before the policy's root signature holds, nothing
//! that was read steers anything but which key to ask for.

use std::sync::Arc;
use std::time::Duration;

use strongroom_format::checkpoint::{CHECKPOINT_LIMIT_BYTES, Checkpoint};
use strongroom_format::config::{CONFIG_LIMIT_BYTES, Config};
use strongroom_format::entry::ENTRY_LIMIT_BYTES;
use strongroom_format::header::Header;
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{self, ObjectKind, Purpose, Roles};
use strongroom_format::{ContentHash, FormatError, KeyId, RecipientId};
use strongroom_keys::KeysError;
use strongroom_keys::derive::{Identity, content_hash};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::unlock::Unlocker;
use strongroom_store::{LockMode, ObjectLock, ObjectName, Store, StoreError};

use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::journal::CHECKPOINT_INTERVAL;
use crate::keyring::{Keyring, MetadataKeys};
use crate::names;
use crate::repository::{OpenOptions, Repository, fingerprint};
use crate::state::{State, describe};

/// How far behind its number the checkpoint of an entry may come.
const CHECKPOINT_SLACK: u64 = 16;

/// Higher numbers are no journal's.
const NUMBER_LIMIT: u64 = u64::MAX / 2;

impl Repository {
    /// Opens the repository in `store` and folds its journal to the head. The index is not loaded yet: see
    /// [`Repository::load_index`].
    ///
    /// # Errors
    /// `NotARepository`, `Fingerprint`, `NewerFormat`, `UnknownFeature`, `Unlock`, `Damaged`, `Inconsistent`,
    /// `Rollback`, `Store`.
    pub fn open(store: Arc<dyn Store>, options: OpenOptions) -> Result<Self, RepositoryError> {
        let (config, config_hash) = read_config(&*store)?;
        let found = fingerprint(&config_hash);
        if let Some(expected) = &options.fingerprint
            && expected.replace(' ', "").to_lowercase() != found.replace(' ', "")
        {
            return Err(RepositoryError::Fingerprint { expected: expected.clone(), found });
        }
        let (cache, warning) = Cache::open(options.cache_folder.as_deref(), &found)?;
        let mut warnings: Vec<String> = warning.into_iter().collect();
        let hints = cache.hints();
        let unlocker =
            Unlocker::new(Arc::clone(&store), config.repository, options.credentials, hints.clone());
        let opening = Opening {
            store: &*store,
            config: &config,
            config_hash,
            keyring: Keyring::new(unlocker, config.repository),
            vault_first: options.reads_content,
        };
        let start = Start::find(&*store, &cache, &mut warnings)?;
        let opened = match opening.open(&start) {
            // Nothing that a checkpoint says counts before it opens, not even which key to ask for.
            Err(error) if start.checkpoint && error_is_of_checkpoint(&error) => {
                warnings.push(format!("the newest checkpoint is not used: {}", describe(&error)));
                opening.open(&Start::genesis(&*store)?)
            }
            other => other,
        };
        let (first_key, state) = opened?;
        let keyring = opening.keyring;
        let identity_key = keyring
            .open(&state.policy, &state.policy.identity, Purpose::Identity)
            .map_err(|source| RepositoryError::Unlock { what: "the identity secret", source })?;
        let mut metadata = MetadataKeys::default();
        metadata.insert(first_key);
        let mut repository = Self {
            identity: Identity::new(&identity_key),
            metadata,
            keyring,
            origin: options.origin.unwrap_or_else(|| Arc::clone(&store)),
            store,
            config,
            config_hash,
            signer: None,
            checkpointed: state.number,
            before_gap: None,
            state,
            cache,
            memory: options.memory,
            data_keys: std::sync::Mutex::default(),
            log_keys: std::sync::Mutex::default(),
            random: options.random,
            clock: options.clock,
            warnings,
        };
        repository.load_metadata_keys()?;
        repository.lock_objects();
        repository.fold_and_compare()?;
        // So long a tail has a newer checkpoint: it is looked for the next time.
        let begun = repository.checkpointed;
        let is_far = repository.state.number - begun > CHECKPOINT_INTERVAL + CHECKPOINT_SLACK;
        repository.cache.remember_start((!is_far).then_some(begun));
        // Last, because the policy in force says who may sign.
        repository.signer = repository.keyring.signer(&repository.state.policy, options.writer.as_deref());
        repository.drop_base_keys();
        let found = repository.keyring.unlocker().hints();
        if found != hints {
            repository.cache.remember_hints(&found);
        }
        for (number, reason) in &repository.state.damaged {
            repository
                .warnings
                .push(format!("journal entry {number} is damaged: {reason}; run `strongroom check`"));
        }
        Ok(repository)
    }

    /// The fingerprint of the repository in `store`, before anything is opened.
    ///
    /// # Errors
    /// `NotARepository`, `NewerFormat`, `Damaged`, `Store`.
    pub fn fingerprint_of(store: &dyn Store) -> Result<String, RepositoryError> {
        read_config(store).map(|(_, hash)| fingerprint(&hash))
    }

    /// Tells a store that can keep objects from being deleted to do so for as long as the policy says.
    pub(crate) fn lock_objects(&self) {
        if let (Some(retention), Some(lock)) = (self.store.retention(), &self.state.policy.object_lock) {
            retention.set(Some(object_lock(lock)));
        }
    }

    /// Opens the metadata keys that policies named and that are not open yet: what they sealed stays readable. The
    /// one in force must open.
    pub(crate) fn load_metadata_keys(&mut self) -> Result<(), RepositoryError> {
        for key in self.state.metadata_keys.clone() {
            if self.metadata.contains(key.id) {
                continue;
            }
            match self.keyring.open(&self.state.policy, &key, Purpose::Metadata) {
                Ok(secret) => self.metadata.insert(MetadataKey::new(key.id, self.config.repository, &secret)),
                Err(source) if key == self.state.policy.metadata => {
                    return Err(RepositoryError::Unlock { what: "the metadata key", source });
                }
                Err(error) => self.warnings.push(format!(
                    "the older metadata key {} does not open ({}): what it sealed cannot be read",
                    key.id,
                    describe(&error)
                )),
            }
        }
        Ok(())
    }

    fn fold_and_compare(&mut self) -> Result<(), RepositoryError> {
        // A cache that cannot be read remembers nothing.
        let remembered = self.cache.remembered_head().unwrap_or(None);
        let Some((number, hash)) = remembered else {
            let listed = self.listed_head()?;
            return self.fold_to_head(listed);
        };
        let rollback = |found| RepositoryError::Rollback {
            remembered: number,
            found,
            cache: self.cache.path().to_owned(),
        };
        // Also below a checkpoint: a journal that was rolled back and has grown again is another one.
        let name = names::entry(number)?;
        let bytes = match self.origin.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if bytes.as_deref().map(content_hash) != Some(hash) {
            let listed = self.listed_head()?.unwrap_or_default();
            let opens = bytes.is_some_and(|bytes| {
                let key = self.metadata.of_object(&bytes);
                key.is_ok_and(|key| key.open(ObjectKind::Entry, name.as_str(), &bytes).is_ok())
            });
            if listed < number || opens {
                return Err(rollback(listed));
            }
            // The entry is there in name and does not open: damage, not another history.
            return self.fold_to_head(Some(listed));
        }
        self.fold_to_head(Some(number))
    }
}

/// What the policy says, as stores understand it.
pub(crate) fn object_lock(lock: &strongroom_format::policy::ObjectLock) -> ObjectLock {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    ObjectLock {
        mode: match lock.mode {
            registry::LockMode::Governance => LockMode::Governance,
            registry::LockMode::Compliance => LockMode::Compliance,
        },
        data: days(lock.data_days),
        keys: days(lock.keys_days),
    }
}

/// Reads `config`.
pub(crate) fn read_config(store: &dyn Store) -> Result<(Config, ContentHash), RepositoryError> {
    let name = names::config()?;
    let bytes = match store.get(&name, CONFIG_LIMIT_BYTES) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => {
            return Err(RepositoryError::NotARepository { location: store.location() });
        }
        Err(error) => return Err(error.into()),
    };
    let config = Config::decode(&bytes).map_err(|error| match error {
        FormatError::Unknown { .. } | FormatError::UnknownField { .. } => {
            RepositoryError::NewerFormat { object: "the repository's config".into(), source: error }
        }
        error => RepositoryError::malformed("config")(error),
    })?;
    Ok((config, content_hash(&bytes)))
}

/// The object that opening begins with: the newest checkpoint, or entry 0.
struct Start {
    name: ObjectName,
    bytes: Vec<u8>,
    metadata_key: KeyId,
    checkpoint: bool,
}

impl Start {
    fn find(store: &dyn Store, cache: &Cache, warnings: &mut Vec<String>) -> Result<Self, RepositoryError> {
        // Where this host began the last time does again: what is known of it need not be listed.
        match cache.start() {
            Some(0) => return Self::genesis(store),
            Some(number) => {
                if let Ok(start) = Self::of_checkpoint(store, names::checkpoint(number)?) {
                    return Ok(start);
                }
            }
            None => {}
        }
        let mut newest = None;
        store.list("checkpoints/", &mut |name, _| {
            newest.get_or_insert(name);
            Ok(())
        })?;
        if let Some(name) = newest {
            match Self::of_checkpoint(store, name.clone()) {
                Ok(start) => return Ok(start),
                Err(error) => {
                    warnings.push(format!("the newest checkpoint {name} is not used: {}", describe(&error)));
                }
            }
        }
        Self::genesis(store)
    }

    fn of_checkpoint(store: &dyn Store, name: ObjectName) -> Result<Self, RepositoryError> {
        let bytes = store.get(&name, CHECKPOINT_LIMIT_BYTES)?;
        let header = Header::decode(&bytes).map_err(RepositoryError::malformed(&name))?;
        Ok(Self { name, bytes, metadata_key: header.key, checkpoint: true })
    }

    fn genesis(store: &dyn Store) -> Result<Self, RepositoryError> {
        let name = names::entry(0)?;
        let bytes = match store.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => {
                return Err(RepositoryError::UnfinishedInit { location: store.location() });
            }
            Err(error) => return Err(error.into()),
        };
        let header = Header::decode(&bytes).map_err(RepositoryError::malformed(&name))?;
        Ok(Self { name, bytes, metadata_key: header.key, checkpoint: false })
    }
}

/// What opening goes by until the policy is known.
struct Opening<'a> {
    store: &'a dyn Store,
    config: &'a Config,
    config_hash: ContentHash,
    keyring: Keyring,
    vault_first: bool,
}

impl Opening<'_> {
    fn open(&self, start: &Start) -> Result<(MetadataKey, State), RepositoryError> {
        let kind = if start.checkpoint { ObjectKind::Checkpoint } else { ObjectKind::Entry };
        let opens = |key: &MetadataKey| key.open(kind, start.name.as_str(), &start.bytes).is_ok();
        let metadata = self.keyring.first_metadata_key(start.metadata_key, self.vault_first, &opens)?;
        let state = self.state(start, &metadata)?;
        let policy = &state.policy;
        let disagree = |what| RepositoryError::Unlock { what, source: KeysError::Commitment };
        if policy.metadata != (KeyRef { id: metadata.id(), commitment: metadata.commitment() }) {
            return Err(disagree("the metadata key"));
        }
        if self.keyring.has_opened_a_vault() {
            self.keyring
                .vault(policy)
                .map_err(|source| RepositoryError::Unlock { what: "the vault", source })?;
        }
        if start.checkpoint {
            self.follows_journal(start, &metadata, &state)?;
        }
        Ok((metadata, state))
    }

    /// A checkpoint of an entry that the journal does not have is of another journal: made up, or rolled back behind.
    fn follows_journal(
        &self,
        start: &Start,
        metadata: &MetadataKey,
        state: &State,
    ) -> Result<(), RepositoryError> {
        let entry = names::entry(state.number)?;
        let follows = match self.store.get(&entry, ENTRY_LIMIT_BYTES) {
            // Bytes that do not open are damage, against which a checkpoint helps.
            Ok(bytes) => {
                content_hash(&bytes) == state.entry_hash
                    || metadata.open(ObjectKind::Entry, entry.as_str(), &bytes).is_err()
            }
            // So is an entry that is missing alone.
            Err(StoreError::NotFound { .. }) => {
                state.number == 0 || self.store.stat(&names::entry(state.number - 1)?).is_ok()
            }
            Err(StoreError::TooLarge { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        if follows {
            return Ok(());
        }
        let reason = format!("the journal's entry {} is not the one it was made of", state.number);
        Err(RepositoryError::Inconsistent { object: start.name.to_string(), reason })
    }

    fn state(&self, start: &Start, metadata: &MetadataKey) -> Result<State, RepositoryError> {
        let (object, config) = (start.name.as_str(), self.config);
        if start.checkpoint {
            return read_checkpoint(&start.name, &start.bytes, metadata, config);
        }
        let opened = metadata
            .open(ObjectKind::Entry, object, &start.bytes)
            .map_err(RepositoryError::damaged(object))?;
        State::genesis(object, &start.bytes, &opened, config.repository, &config.root, self.config_hash)
    }
}

/// A wrong credential is no fault of the checkpoint, and asking twice would stretch a passphrase twice.
fn error_is_of_checkpoint(error: &RepositoryError) -> bool {
    !matches!(error, RepositoryError::Unlock { source: KeysError::WrongCredential { .. }, .. })
}

/// The state that a stored checkpoint holds, signed in the role *maintain*.
pub(crate) fn read_checkpoint(
    name: &ObjectName,
    bytes: &[u8],
    metadata: &MetadataKey,
    config: &Config,
) -> Result<State, RepositoryError> {
    let object = name.as_str();
    let opened =
        metadata.open(ObjectKind::Checkpoint, object, bytes).map_err(RepositoryError::damaged(object))?;
    let content = opened.body().map_err(RepositoryError::damaged(object))?.content;
    let checkpoint = Checkpoint::decode(content).map_err(RepositoryError::malformed(object))?;
    let inconsistent =
        |reason: &str| RepositoryError::Inconsistent { object: object.to_owned(), reason: reason.to_owned() };
    if names::checkpoint(checkpoint.number)? != *name {
        return Err(inconsistent("it has another number than its name"));
    }
    if checkpoint.number > NUMBER_LIMIT {
        return Err(inconsistent("no journal is so long"));
    }
    let state = State::from_checkpoint(object, checkpoint, config.repository, &config.root)?;
    let signer = opened.claimed_signer().map_err(RepositoryError::damaged(object))?;
    let signer = state
        .policy
        .signer(signer)
        .filter(|signer| signer.roles.holds(Roles::MAINTAIN))
        .ok_or_else(|| inconsistent("its signer lacks the role maintain"))?;
    opened.verify(&signer.public).map_err(RepositoryError::damaged(object))?;
    Ok(state)
}

/// The vault as a recipient.
pub(crate) fn vault_recipient(vault: KeyId) -> RecipientId {
    RecipientId(vault.0)
}
