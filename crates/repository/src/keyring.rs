//! The keys of an open repository: which are at hand, and how the others are come by.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use strongroom_format::header::Header;
use strongroom_format::key_object::{KeyObject, Wrap};
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{Policy, Signer as Listed};
use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RecipientId, RepositoryId, WriterId};
use strongroom_keys::derive::{commitment, root_key_id};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Reach, Unlocker};
use strongroom_keys::wrap::{Unwrap, x25519_public};
use strongroom_keys::{KeysError, Secret};

use crate::error::RepositoryError;
use crate::state::State;

/// Opens keys with what is at hand. The vault is opened when it is first needed: a host that only writes has no
/// right to it, and each try would show in the log of its KMS.
pub(crate) struct Keyring {
    unlocker: Unlocker,
    repository: RepositoryId,
    vault: Mutex<Option<(KeyId, Secret)>>,
}

impl Keyring {
    pub(crate) fn new(unlocker: Unlocker, repository: RepositoryId) -> Self {
        Self { unlocker, repository, vault: Mutex::default() }
    }

    pub(crate) fn unlocker(&self) -> &Unlocker {
        &self.unlocker
    }

    /// Opens a metadata key before any policy is known. With `vault_first` by way of the vault, which then stays
    /// open: a single call on a KMS. What is not `is_right` is given only when nothing else opens.
    pub(crate) fn first_metadata_key(
        &self,
        key: KeyId,
        vault_first: bool,
        is_right: &dyn Fn(&MetadataKey) -> bool,
    ) -> Result<MetadataKey, RepositoryError> {
        let failed = |source| RepositoryError::Unlock { what: "the metadata key", source };
        let mut search = Search { key, vault_first, is_right, wrong: None, failures: Vec::new() };
        // Whoever opened it before is asked first, and nothing is listed.
        let hint: Vec<RecipientId> = self.unlocker.hint(key).into_iter().collect();
        if let Some(opened) = self.metadata_key_of(&hint, true, &mut search) {
            return Ok(opened);
        }
        let listed = self.unlocker.recipients(key).map_err(failed)?;
        if let Some(opened) = self.metadata_key_of(&listed, false, &mut search) {
            return Ok(opened);
        }
        if let Some(wrong) = search.wrong {
            return Ok(wrong);
        }
        Err(failed(
            most_useful(search.failures)
                .unwrap_or(KeysError::NoCredential { kinds: format!("nothing: keys/{key}/ is empty") }),
        ))
    }

    /// Of these recipients' wraps; with `is_hint` no further than the nearest that there are credentials for.
    fn metadata_key_of(
        &self,
        recipients: &[RecipientId],
        is_hint: bool,
        search: &mut Search<'_>,
    ) -> Option<MetadataKey> {
        let mut wraps = Vec::new();
        for recipient in recipients {
            match self.unlocker.read(search.key, *recipient) {
                Ok((_, object)) if object.purpose == Purpose::Metadata => wraps.push(object),
                Ok(_) => {}
                Err(error) => search.failures.push(error),
            }
        }
        let reaches = Reach::ALL.into_iter().filter(|reach| self.unlocker.has(*reach));
        for reach in reaches.take(if is_hint { 1 } else { Reach::ALL.len() }) {
            let vault_first = search.vault_first && reach == Reach::Service;
            for through_vault in [vault_first, !vault_first] {
                for object in &wraps {
                    let is_sealed = matches!(object.wrap, Wrap::X25519 { .. });
                    let opened = if through_vault {
                        is_sealed.then(|| self.through_vault(object, reach))
                    } else if reach.covers(&object.wrap) {
                        self.unlocker.open(object)
                    } else {
                        None
                    };
                    let Some(secret) = opened.and_then(|opened| note(opened, &mut search.failures)) else {
                        continue;
                    };
                    let metadata = MetadataKey::new(search.key, self.repository, &secret);
                    if (search.is_right)(&metadata) {
                        self.unlocker.opened(search.key, object);
                        return Some(metadata);
                    }
                    search.wrong.get_or_insert(metadata);
                }
            }
        }
        None
    }

    /// Opens what is sealed to a vault, by opening that. Not every X25519 recipient is one.
    fn through_vault(&self, object: &KeyObject, reach: Reach) -> Result<Secret, KeysError> {
        let open = |private: &Secret| Unwrap::X25519(private).unwrap(object, self.repository);
        let private =
            self.open_vault(KeyId(object.recipient.0), &[reach], &|private| open(private).is_ok())?;
        open(&private)
    }

    fn open_vault(
        &self,
        vault: KeyId,
        reaches: &[Reach],
        is_right: &dyn Fn(&Secret) -> bool,
    ) -> Result<Secret, KeysError> {
        if let Some(open) = self.vault_if_open(vault) {
            return Ok(open);
        }
        let private = self.unlocker.with_credentials_if(vault, Purpose::Vault, reaches, is_right)?;
        *self.vault.lock().unwrap_or_else(PoisonError::into_inner) = Some((vault, private.clone()));
        Ok(private)
    }

    /// The vault's private key, if it has been opened.
    pub(crate) fn vault_if_open(&self, vault: KeyId) -> Option<Secret> {
        let open = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().filter(|(id, _)| *id == vault).map(|(_, private)| private.clone())
    }

    /// Whether a vault was opened before any policy was known.
    pub(crate) fn has_opened_a_vault(&self) -> bool {
        self.vault.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The vault's private key, compared with the policy.
    pub(crate) fn vault(&self, policy: &Policy) -> Result<Secret, KeysError> {
        self.vault_within(policy, true)
    }

    /// The same, by what lies at hand only unless a service may be asked as well.
    pub(crate) fn vault_within(&self, policy: &Policy, by_service: bool) -> Result<Secret, KeysError> {
        let reaches: &[Reach] = if by_service { &Reach::ALL } else { &[Reach::Local] };
        let id = policy.vault.id;
        let is_right = |private: &Secret| {
            commitment(private, self.repository, id, Purpose::Vault) == policy.vault.commitment
                && x25519_public(private).is_ok_and(|public| public == policy.vault_public)
        };
        let private = self.open_vault(id, reaches, &is_right)?;
        if is_right(&private) { Ok(private) } else { Err(KeysError::Commitment) }
    }

    /// Opens a key: by the vault if that is open, else by a wrap of its own, else by opening the vault. It is compared
    /// with what is known of it.
    pub(crate) fn open(&self, policy: &Policy, key: &KeyRef, purpose: Purpose) -> Result<Secret, KeysError> {
        let is_right =
            |secret: &Secret| commitment(secret, self.repository, key.id, purpose) == key.commitment;
        let secret = self.open_if(policy, key.id, purpose, &is_right)?;
        if is_right(&secret) { Ok(secret) } else { Err(KeysError::Commitment) }
    }

    /// Opens a key that nothing more is known of than its ID.
    pub(crate) fn open_by_id(
        &self,
        policy: &Policy,
        key: KeyId,
        purpose: Purpose,
    ) -> Result<Secret, KeysError> {
        self.open_if(policy, key, purpose, &|_| true)
    }

    fn open_if(
        &self,
        policy: &Policy,
        key: KeyId,
        purpose: Purpose,
        is_right: &dyn Fn(&Secret) -> bool,
    ) -> Result<Secret, KeysError> {
        let vault = policy.vault.id;
        if let Some(private) = self.vault_if_open(vault) {
            return self.unlocker.with_vault(key, purpose, vault, &private);
        }
        // Data keys by the vault: one call on a KMS opens all of them.
        let through_vault = || self.unlocker.with_vault(key, purpose, vault, &self.vault(policy)?);
        let direct = || self.unlocker.with_credentials_if(key, purpose, &Reach::ALL, is_right);
        if purpose == Purpose::Data {
            return through_vault().or_else(|error| direct().map_err(|_| error));
        }
        direct().or_else(|error| {
            through_vault().map_err(|other| most_useful([error, other]).unwrap_or(KeysError::WrongKind))
        })
    }

    /// The root key, compared with the policy.
    pub(crate) fn root(&self, policy: &Policy) -> Result<Signer, KeysError> {
        let seed = self.root_secret(policy)?;
        Ok(Signer::new(WriterId(root_key_id(&policy.root).0), &seed))
    }

    /// The root key's seed, compared with the policy: it is never behind the vault.
    pub(crate) fn root_secret(&self, policy: &Policy) -> Result<Secret, KeysError> {
        let id = root_key_id(&policy.root);
        let is_right = |seed: &Secret| Signer::new(WriterId(id.0), seed).public() == policy.root;
        self.unlocker.with_credentials_if(id, Purpose::Root, &Reach::ALL, &is_right)
    }

    /// The seed of a signer, compared with the policy.
    pub(crate) fn signing_secret(&self, listed: &Listed) -> Result<Secret, KeysError> {
        let is_right = |seed: &Secret| Signer::new(listed.id, seed).public() == listed.public;
        self.unlocker.with_credentials_if(KeyId(listed.id.0), Purpose::Signing, &Reach::ALL, &is_right)
    }

    /// The signer of the policy whose key opens: first the one called `name`. Without one the repository can be read,
    /// not written.
    pub(crate) fn signer(&self, policy: &Policy, name: Option<&str>) -> Option<Signer> {
        let mut listed: Vec<_> = policy.signers.iter().filter(|signer| signer.roles.0 != 0).collect();
        let is_known = |id: WriterId| self.unlocker.hint(KeyId(id.0)).is_some();
        listed.sort_by_key(|signer| (Some(signer.name.as_str()) != name, !is_known(signer.id)));
        listed.into_iter().find_map(|listed| {
            let seed = self.signing_secret(listed).ok()?;
            Some(Signer::new(listed.id, &seed))
        })
    }
}

/// A search for a metadata key: what is asked for, and what was found on the way.
struct Search<'a> {
    key: KeyId,
    vault_first: bool,
    is_right: &'a dyn Fn(&MetadataKey) -> bool,
    wrong: Option<MetadataKey>,
    failures: Vec<KeysError>,
}

fn note<T>(result: Result<T, KeysError>, failures: &mut Vec<KeysError>) -> Option<T> {
    result.map_err(|error| failures.push(error)).ok()
}

/// Of several failures the one that helps most: what a KMS said, then a wrong credential, then damage.
pub(crate) fn most_useful(failures: impl IntoIterator<Item = KeysError>) -> Option<KeysError> {
    failures.into_iter().min_by_key(|error| match error {
        KeysError::Kms(_) => 0,
        KeysError::WrongCredential { .. } => 1,
        KeysError::NoCredential { .. } => 3,
        KeysError::Store(error) if error.is_not_found() => 4,
        _ => 2,
    })
}

/// The metadata keys: the one in force, and older ones under which something may still be sealed.
#[derive(Debug, Default)]
pub(crate) struct MetadataKeys(BTreeMap<KeyId, MetadataKey>);

impl MetadataKeys {
    pub(crate) fn insert(&mut self, key: MetadataKey) {
        self.0.insert(key.id(), key);
    }

    pub(crate) fn contains(&self, key: KeyId) -> bool {
        self.0.contains_key(&key)
    }

    /// A key by its ID.
    pub(crate) fn get(&self, key: KeyId) -> Result<&MetadataKey, KeysError> {
        self.0.get(&key).ok_or(KeysError::OtherKey { needed: key })
    }

    /// The key in force.
    pub(crate) fn in_force(&self, state: &State) -> Result<&MetadataKey, RepositoryError> {
        self.get(state.policy.metadata.id)
            .map_err(|source| RepositoryError::Unlock { what: "the metadata key", source })
    }

    /// The key that a stored object names in its header.
    pub(crate) fn of_object(&self, stored: &[u8]) -> Result<&MetadataKey, KeysError> {
        self.get(Header::decode(stored)?.key)
    }
}
