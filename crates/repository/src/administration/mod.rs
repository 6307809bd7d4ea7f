//! Administering a repository: who may open it, who may write to it, under which keys.
//!
//! Every change is a policy entry, signed by the root key and appended like any other. What a policy promises is
//! stored before it: wraps first, then the entry that names their recipient; and taken away after it.

mod recipients;
mod retire;
mod rewrap;
mod rotation;
mod rules;
mod writers;

use strongroom_format::entry::{PolicyBody, Statement};
use strongroom_format::key_object::{KEY_LIMIT_BYTES, KeyObject, SignedKey};
use strongroom_format::policy::Policy;
use strongroom_format::registry::{Purpose, RecipientType, Roles};
use strongroom_format::{KeyId, RecipientId};
use strongroom_keys::sign::{Signer, sign_policy};
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, verify_key_object};
use strongroom_store::{ObjectName, PutOutcome, StoreError};

pub use self::recipients::{Grant, RemovedRecipient};
pub use self::retire::RetiredKey;
pub use self::rewrap::Rewrapped;
pub use self::rules::StorageRules;
pub use self::writers::{NewWriter, Revocation};
use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::state::State;

/// The purposes of a recipient that can do everything. What opens a key here opens the others by the vault, but a
/// KMS is asked for each purpose by itself, so that its rules can tell roles apart.
pub(crate) fn purposes_of_admin(kind: RecipientType) -> u8 {
    let always = bit(Purpose::Vault) | bit(Purpose::Root) | bit(Purpose::Signing);
    match kind {
        RecipientType::AwsKms => {
            always | bit(Purpose::Metadata) | bit(Purpose::Identity) | bit(Purpose::Data)
        }
        RecipientType::Passphrase | RecipientType::KeyFile | RecipientType::X25519 => always,
    }
}

/// What a recipient is called when nobody named it.
pub(crate) fn label(kind: RecipientType) -> &'static str {
    match kind {
        RecipientType::Passphrase => "passphrase",
        RecipientType::KeyFile => "key file",
        RecipientType::X25519 => "X25519 key",
        RecipientType::AwsKms => "AWS KMS key",
    }
}

const fn bit(purpose: Purpose) -> u8 {
    1 << purpose.number()
}

impl Repository {
    /// Puts a changed policy in force; `change` is asked again when another host appends first.
    fn change_policy(
        &mut self,
        mut change: impl FnMut(&State, &mut Policy) -> Result<(), RepositoryError>,
    ) -> Result<u64, RepositoryError> {
        self.require_role(Roles::ADMIN, "admin")?;
        let root = self.root()?;
        let repository = self.config.repository;
        let entry = self.append(|state| {
            let mut policy = state.policy.clone();
            policy.sequence += 1;
            policy.forgotten.clear();
            change(state, &mut policy)?;
            let policy = policy.encode();
            let root_signature = sign_policy(&root, repository, &policy);
            Ok(Statement::Policy(PolicyBody { policy, root_signature }))
        })?;
        Ok(entry)
    }

    /// Settles what was found in the journal so far: entries that are void or do not open are known, and count as void
    /// from now on. Gives the last entry that is settled.
    ///
    /// # Errors
    /// `NoSigner`, `Unlock` (the root key), `Store`, `Contention`.
    pub fn settle(&mut self) -> Result<u64, RepositoryError> {
        self.change_policy(|state, policy| {
            policy.settled = state.number;
            Ok(())
        })
        .map(|entry| entry - 1)
    }

    fn root(&self) -> Result<Signer, RepositoryError> {
        self.keyring
            .root(&self.state.policy)
            .map_err(|source| RepositoryError::Unlock { what: "the root key", source })
    }

    pub(crate) fn require_role(&self, role: Roles, name: &'static str) -> Result<(), RepositoryError> {
        let signer = self.signer()?.id();
        if self.state.policy.signer(signer).is_some_and(|signer| signer.roles.holds(role)) {
            Ok(())
        } else {
            Err(RepositoryError::NoSigner { role: name })
        }
    }

    /// Wraps a key for a recipient, durably. A wrap of the same key that is there already will do.
    fn wrap_key(&self, key: &NamedKey, recipient: &WrapTo) -> Result<(), RepositoryError> {
        let wrapped = recipient
            .wrap(key, self.config.repository, self.signer()?, &*self.random)
            .map_err(|source| RepositoryError::Wrap { purpose: key.purpose, source })?;
        self.put_wrap(&wrapped)
    }

    fn put_wrap(&self, wrapped: &SignedKey) -> Result<(), RepositoryError> {
        let object = KeyObject::decode(&wrapped.body).map_err(RepositoryError::malformed("a wrapped key"))?;
        let name = key_name(object.key, object.recipient)?;
        let bytes = wrapped.encode();
        match self.store.put_if_absent(&name, &bytes) {
            Ok(PutOutcome::Created) => return Ok(()),
            Ok(PutOutcome::AlreadyExists) => {}
            Err(error) if error.is_without_effect() => return Err(error.into()),
            Err(error) => match self.store.get(&name, KEY_LIMIT_BYTES) {
                Ok(stored) if stored == bytes => return Ok(()),
                _ => return Err(error.into()),
            },
        }
        let stored = self.store.get(&name, KEY_LIMIT_BYTES)?;
        if stored == bytes || self.is_wrap_of(&stored, &object) { Ok(()) } else { Err(taken(&name)) }
    }

    /// Whether stored bytes are a wrap of the same key for the same recipient. Its signer must be the wanted one's or an
    /// admin: any other writer may have put there what opens to nothing.
    fn is_wrap_of(&self, stored: &[u8], wanted: &KeyObject) -> bool {
        let said = |object: &KeyObject| (object.key, object.purpose, object.recipient, object.commitment);
        SignedKey::decode(stored).is_ok_and(|signed| {
            let Ok(found) = KeyObject::decode(&signed.body) else { return false };
            let signer = self.state.policy.signer(found.signer);
            said(&found) == said(wanted)
                && signer.is_some_and(|signer| {
                    (found.signer == wanted.signer || signer.roles.holds(Roles::ADMIN))
                        && verify_key_object(&signed, self.config.repository, &signer.public).is_ok()
                })
        })
    }

    /// Every wrapped key in the store.
    fn wraps(&self) -> Result<Vec<(KeyId, RecipientId)>, RepositoryError> {
        let mut found = Vec::new();
        self.store.list("keys/", &mut |name, _| {
            found.extend(crate::names::key_of(&name));
            Ok(())
        })?;
        Ok(found)
    }

    /// Deletes wraps; gives those that this host has no right to delete.
    fn delete_wraps(&self, wraps: &[(KeyId, RecipientId)]) -> Result<Vec<ObjectName>, RepositoryError> {
        let mut left = Vec::new();
        for (key, recipient) in wraps {
            let name = key_name(*key, *recipient)?;
            match self.store.delete(&name) {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::PermissionDenied { .. } | StoreError::Retained { .. }) => left.push(name),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }
}

fn taken(name: &ObjectName) -> RepositoryError {
    RepositoryError::Inconsistent {
        object: name.to_string(),
        reason: "the name is taken by something that is no wrap of this key by a signer of the policy; look who put it there, delete it, and run again"
            .into(),
    }
}
