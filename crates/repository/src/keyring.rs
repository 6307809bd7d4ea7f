//! The keys of an open repository: which are at hand, and how the others are come by.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use strongroom_format::header::Header;
use strongroom_format::key_object::Wrap;
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::Policy;
use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RecipientId, RepositoryId, WriterId};
use strongroom_keys::derive::{commitment, root_key_id};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Reach, Unlocker};
use strongroom_keys::wrap::x25519_public;
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
    /// open: a single call on a KMS.
    pub(crate) fn first_metadata_key(
        &self,
        key: KeyId,
        vault_first: bool,
    ) -> Result<MetadataKey, RepositoryError> {
        let failed = |source| RepositoryError::Unlock { what: "the metadata key", source };
        let mut failures = Vec::new();
        // Whoever opened it before is asked first, and nothing is listed.
        let hint: Vec<RecipientId> = self.unlocker.hint(key).into_iter().collect();
        if let Some(opened) = self.metadata_key_of(key, &hint, vault_first, &mut failures) {
            return Ok(opened);
        }
        let listed = self.unlocker.recipients(key).map_err(failed)?;
        if let Some(opened) = self.metadata_key_of(key, &listed, vault_first, &mut failures) {
            return Ok(opened);
        }
        Err(failed(most_useful(failures).unwrap_or(KeysError::NoCredential {
            kinds: format!("nothing: keys/{key}/ is empty"),
        })))
    }

    fn metadata_key_of(
        &self,
        key: KeyId,
        recipients: &[RecipientId],
        vault_first: bool,
        failures: &mut Vec<KeysError>,
    ) -> Option<MetadataKey> {
        let (mut vaults, mut wraps) = (Vec::new(), Vec::new());
        for recipient in recipients {
            match self.unlocker.read(key, *recipient) {
                Ok((_, object)) if object.purpose == Purpose::Metadata => {
                    if matches!(object.wrap, Wrap::X25519 { .. }) {
                        vaults.push(KeyId(recipient.0));
                    }
                    wraps.push(object);
                }
                Ok(_) => {}
                Err(error) => failures.push(error),
            }
        }
        for reach in Reach::ALL.into_iter().filter(|reach| self.unlocker.has(*reach)) {
            let vault_first = vault_first && reach == Reach::Service;
            for through_vault in [vault_first, !vault_first] {
                let secret = if through_vault {
                    let through = |vault| self.metadata_secret_through(key, vault, reach);
                    vaults.iter().find_map(|vault| note(through(*vault), failures))
                } else {
                    let of_reach = wraps.iter().filter(|object| reach.covers(&object.wrap));
                    of_reach.filter_map(|object| Some((object, self.unlocker.open(object)?))).find_map(
                        |(object, opened)| {
                            let secret = note(opened, failures)?;
                            self.unlocker.remember(key, object.recipient);
                            Some(secret)
                        },
                    )
                };
                if let Some(secret) = secret {
                    return Some(MetadataKey::new(key, self.repository, &secret));
                }
            }
        }
        None
    }

    fn metadata_secret_through(
        &self,
        key: KeyId,
        vault: KeyId,
        reach: Reach,
    ) -> Result<Secret, KeysError> {
        let private = self.open_vault(vault, &[reach])?;
        let secret = self.unlocker.with_vault(key, Purpose::Metadata, vault, &private)?;
        self.unlocker.remember(key, RecipientId(vault.0));
        Ok(secret)
    }

    fn open_vault(&self, vault: KeyId, reaches: &[Reach]) -> Result<Secret, KeysError> {
        if let Some(open) = self.vault_if_open(vault) {
            return Ok(open);
        }
        let private = self.unlocker.with_credentials(vault, Purpose::Vault, reaches)?;
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
        let private = self.open_vault(policy.vault.id, &Reach::ALL)?;
        let expected = commitment(&private, self.repository, policy.vault.id, Purpose::Vault);
        if expected != policy.vault.commitment || x25519_public(&private)? != policy.vault_public {
            return Err(KeysError::Commitment);
        }
        Ok(private)
    }

    /// Opens a key: by the vault if that is open, else by a wrap of its own, else by opening the vault. It is compared
    /// with what is known of it.
    pub(crate) fn open(
        &self,
        policy: &Policy,
        key: &KeyRef,
        purpose: Purpose,
    ) -> Result<Secret, KeysError> {
        let secret = self.open_by_id(policy, key.id, purpose)?;
        if commitment(&secret, self.repository, key.id, purpose) == key.commitment {
            Ok(secret)
        } else {
            Err(KeysError::Commitment)
        }
    }

    /// Opens a key that nothing more is known of than its ID.
    pub(crate) fn open_by_id(&self, policy: &Policy, key: KeyId, purpose: Purpose) -> Result<Secret, KeysError> {
        let vault = policy.vault.id;
        if let Some(private) = self.vault_if_open(vault) {
            return self.unlocker.with_vault(key, purpose, vault, &private);
        }
        // Data keys by the vault: one call on a KMS opens all of them.
        let through_vault =
            || self.unlocker.with_vault(key, purpose, vault, &self.vault(policy)?);
        let direct = || self.unlocker.with_credentials(key, purpose, &Reach::ALL);
        if purpose == Purpose::Data {
            return through_vault().or_else(|error| direct().map_err(|_| error));
        }
        direct().or_else(|error| through_vault().map_err(|other| most_useful([error, other]).unwrap_or(KeysError::WrongKind)))
    }

    /// The root key, compared with the policy.
    pub(crate) fn root(&self, policy: &Policy) -> Result<Signer, KeysError> {
        let seed = self.root_secret(policy)?;
        let root = Signer::new(WriterId(root_key_id(&policy.root).0), &seed);
        if root.public() == policy.root { Ok(root) } else { Err(KeysError::Commitment) }
    }

    /// The root key's seed: it is never behind the vault.
    pub(crate) fn root_secret(&self, policy: &Policy) -> Result<Secret, KeysError> {
        self.unlocker.with_credentials(root_key_id(&policy.root), Purpose::Root, &Reach::ALL)
    }

    /// A signing key's seed.
    pub(crate) fn signing_secret(&self, key: KeyId) -> Result<Secret, KeysError> {
        self.unlocker.with_credentials(key, Purpose::Signing, &Reach::ALL)
    }

    /// The signer of the policy whose key opens: first the one called `name`. Without one the repository can be read,
    /// not written.
    pub(crate) fn signer(&self, policy: &Policy, name: Option<&str>) -> Option<Signer> {
        let mut listed: Vec<_> = policy.signers.iter().filter(|signer| signer.roles.0 != 0).collect();
        let is_known = |id: WriterId| self.unlocker.hint(KeyId(id.0)).is_some();
        listed.sort_by_key(|signer| (Some(signer.name.as_str()) != name, !is_known(signer.id)));
        listed.into_iter().find_map(|listed| {
            let seed = self.signing_secret(KeyId(listed.id.0)).ok()?;
            let signer = Signer::new(listed.id, &seed);
            (signer.public() == listed.public).then_some(signer)
        })
    }
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
