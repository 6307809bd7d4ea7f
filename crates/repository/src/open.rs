//! Opening a repository (`format-spec/sealing.md#opening`). Before the policy's root signature holds, nothing
//! that was read steers anything but which key to ask for.

use std::sync::Arc;

use strongroom_format::checkpoint::{CHECKPOINT_LIMIT_BYTES, Checkpoint};
use strongroom_format::config::{CONFIG_LIMIT_BYTES, Config};
use strongroom_format::entry::ENTRY_LIMIT_BYTES;
use strongroom_format::header::Header;
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{ContentHash, FormatError, KeyId, RecipientId};
use strongroom_keys::derive::{Identity, commitment, content_hash};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::Unlocker;
use strongroom_keys::wrap::x25519_public;
use strongroom_keys::{KeysError, Secret};
use strongroom_store::{ObjectName, Store, StoreError};

use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::names;
use crate::repository::{OpenOptions, Repository, fingerprint};
use crate::state::{State, describe};

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
        let unlocker = Unlocker::new(&*store, config.repository, &options.credentials);

        let start = Start::find(&*store, &mut warnings)?;
        let opened = match start.open(&*store, &unlocker, &config, config_hash) {
            // Nothing that a checkpoint says counts before it opens, not even which key to ask for.
            Err(error) if start.checkpoint && error_is_of_checkpoint(&error) => {
                warnings.push(format!("the newest checkpoint is not used: {}", describe(&error)));
                Start::genesis(&*store)?.open(&*store, &unlocker, &config, config_hash)
            }
            other => other,
        };
        let (unlocked, state) = opened?;
        let identity_key =
            unlocked.with_vault(&unlocker, &state.policy.identity, Purpose::Identity, &config)?;
        let signer = unlocked.signer(&unlocker, &state);
        drop(unlocker);
        let mut repository = Self {
            identity: Identity::new(&identity_key),
            metadata: unlocked.metadata,
            vault: unlocked.vault,
            store,
            config,
            config_hash,
            signer,
            state,
            cache,
            data_keys: std::sync::Mutex::default(),
            random: options.random,
            clock: options.clock,
            credentials: options.credentials,
            warnings,
        };
        repository.fold_and_compare()?;
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
        let bytes = match self.store.get(&name, ENTRY_LIMIT_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if bytes.as_deref().map(content_hash) != Some(hash) {
            let listed = self.listed_head()?.unwrap_or_default();
            let opens = bytes
                .is_some_and(|bytes| self.metadata.open(ObjectKind::Entry, name.as_str(), &bytes).is_ok());
            if listed < number || opens {
                return Err(rollback(listed));
            }
            // The entry is there in name and does not open: damage, not another history.
            return self.fold_to_head(Some(listed));
        }
        self.fold_to_head(Some(number))
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
    fn find(store: &dyn Store, warnings: &mut Vec<String>) -> Result<Self, RepositoryError> {
        let mut newest = None;
        store.list("checkpoints/", &mut |name, _| {
            newest.get_or_insert(name);
            Ok(())
        })?;
        if let Some(name) = newest {
            match store.get(&name, CHECKPOINT_LIMIT_BYTES) {
                Ok(bytes) => match Header::decode(&bytes) {
                    Ok(header) => {
                        return Ok(Self { name, bytes, metadata_key: header.key, checkpoint: true });
                    }
                    Err(error) => warnings.push(format!("the newest checkpoint {name} is not used: {error}")),
                },
                Err(error) => {
                    warnings.push(format!("the newest checkpoint {name} is not used: {}", describe(&error)))
                }
            }
        }
        Self::genesis(store)
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

    fn open(
        &self,
        store: &dyn Store,
        unlocker: &Unlocker<'_>,
        config: &Config,
        config_hash: ContentHash,
    ) -> Result<(Unlocked, State), RepositoryError> {
        let unlocked = Unlocked::open(unlocker, self.metadata_key, config)?;
        let state = self.state(&unlocked.metadata, config, config_hash)?;
        unlocked.agrees_with(&state)?;
        if self.checkpoint {
            self.follows_journal(store, &unlocked.metadata, &state)?;
        }
        Ok((unlocked, state))
    }

    /// A checkpoint of an entry that the journal does not have is of another journal: made up, or rolled back behind.
    fn follows_journal(
        &self,
        store: &dyn Store,
        metadata: &MetadataKey,
        state: &State,
    ) -> Result<(), RepositoryError> {
        let entry = names::entry(state.number)?;
        let follows = match store.get(&entry, ENTRY_LIMIT_BYTES) {
            // Bytes that do not open are damage, against which a checkpoint helps.
            Ok(bytes) => {
                content_hash(&bytes) == state.entry_hash
                    || metadata.open(ObjectKind::Entry, entry.as_str(), &bytes).is_err()
            }
            // So is an entry that is missing alone.
            Err(StoreError::NotFound { .. }) => {
                state.number == 0 || store.stat(&names::entry(state.number - 1)?).is_ok()
            }
            Err(StoreError::TooLarge { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        if follows {
            return Ok(());
        }
        let reason = format!("the journal's entry {} is not the one it was made of", state.number);
        Err(RepositoryError::Inconsistent { object: self.name.to_string(), reason })
    }

    fn state(
        &self,
        metadata: &MetadataKey,
        config: &Config,
        config_hash: ContentHash,
    ) -> Result<State, RepositoryError> {
        let object = self.name.as_str();
        if !self.checkpoint {
            let opened = metadata
                .open(ObjectKind::Entry, object, &self.bytes)
                .map_err(RepositoryError::damaged(object))?;
            return State::genesis(
                object,
                &self.bytes,
                &opened,
                config.repository,
                &config.root,
                config_hash,
            );
        }
        read_checkpoint(&self.name, &self.bytes, metadata, config)
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

/// The keys that opened before the policy was known.
struct Unlocked {
    vault_id: KeyId,
    vault: Secret,
    metadata: MetadataKey,
}

impl Unlocked {
    fn open(unlocker: &Unlocker<'_>, metadata_id: KeyId, config: &Config) -> Result<Self, RepositoryError> {
        let failed = |what| move |source| RepositoryError::Unlock { what, source };
        let mut last = None;
        for recipient in unlocker.recipients(metadata_id).map_err(failed("the metadata key"))? {
            let vault_id = KeyId(recipient.0);
            match unlocker.with_credentials(vault_id, Purpose::Vault) {
                Ok(vault) => {
                    let metadata = unlocker
                        .with_vault(metadata_id, Purpose::Metadata, vault_id, &vault)
                        .map_err(failed("the metadata key"))?;
                    return Ok(Self {
                        vault_id,
                        vault,
                        metadata: MetadataKey::new(metadata_id, config.repository, &metadata),
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(failed("the vault")(
            last.unwrap_or(KeysError::NoCredential {
                kinds: format!("nothing: keys/{metadata_id}/ is empty"),
            }),
        ))
    }

    fn agrees_with(&self, state: &State) -> Result<(), RepositoryError> {
        let disagree = |what| RepositoryError::Unlock { what, source: KeysError::Commitment };
        let policy = &state.policy;
        if policy.metadata != (KeyRef { id: self.metadata.id(), commitment: self.metadata.commitment() }) {
            return Err(disagree("the metadata key"));
        }
        let public = x25519_public(&self.vault)
            .map_err(|source| RepositoryError::Unlock { what: "the vault", source })?;
        let expected = commitment(&self.vault, state.repository, self.vault_id, Purpose::Vault);
        if policy.vault != (KeyRef { id: self.vault_id, commitment: expected })
            || policy.vault_public != public
        {
            return Err(disagree("the vault"));
        }
        Ok(())
    }

    fn with_vault(
        &self,
        unlocker: &Unlocker<'_>,
        key: &KeyRef,
        purpose: Purpose,
        config: &Config,
    ) -> Result<Secret, RepositoryError> {
        let failed = |source| RepositoryError::Unlock { what: "the identity secret", source };
        let secret = unlocker.with_vault(key.id, purpose, self.vault_id, &self.vault).map_err(failed)?;
        if commitment(&secret, config.repository, key.id, purpose) == key.commitment {
            Ok(secret)
        } else {
            Err(failed(KeysError::Commitment))
        }
    }

    /// The first signer whose key opens: without one the repository can be read, not written.
    fn signer(&self, unlocker: &Unlocker<'_>, state: &State) -> Option<Signer> {
        state.policy.signers.iter().find_map(|listed| {
            let seed =
                unlocker.with_vault(KeyId(listed.id.0), Purpose::Signing, self.vault_id, &self.vault).ok()?;
            let signer = Signer::new(listed.id, &seed);
            (signer.public() == listed.public).then_some(signer)
        })
    }
}

/// The vault as a recipient.
pub(crate) fn vault_recipient(vault: KeyId) -> RecipientId {
    RecipientId(vault.0)
}
