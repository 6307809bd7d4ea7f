//! Who can open the repository.

use strongroom_format::policy::Recipient;
use strongroom_format::registry::{Purpose, RecipientType};
use strongroom_format::{KeyId, RecipientId, WriterId};
use strongroom_keys::derive::root_key_id;
use strongroom_keys::wrap::{NamedKey, WrapTo};
use strongroom_store::ObjectName;

use super::{bit, label, purposes_of_admin};
use crate::error::RepositoryError;
use crate::repository::Repository;

/// What a recipient may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Everything: read, write, administer.
    Admin,
    /// What is stored, and no key that signs.
    Read,
    /// What a host needs to write and list, and its own signing key.
    Host(WriterId),
}

/// What became of a removed recipient's wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedRecipient {
    /// How many were deleted.
    pub deleted: usize,
    /// Those that this host has no right to delete.
    pub left: Vec<ObjectName>,
}

impl Grant {
    fn purposes(self, kind: RecipientType) -> u8 {
        let service = kind == RecipientType::AwsKms;
        match self {
            Self::Admin => purposes_of_admin(kind),
            // With the vault open the rest is; a KMS is asked for each by itself.
            Self::Read if service => bit(Purpose::Vault) | bit(Purpose::Metadata) | bit(Purpose::Identity),
            Self::Read => bit(Purpose::Vault),
            Self::Host(_) => {
                let own = bit(Purpose::Metadata) | bit(Purpose::Identity) | bit(Purpose::Signing);
                if service { own | bit(Purpose::Data) } else { own }
            }
        }
    }
}

impl Repository {
    /// Lets a recipient open the repository: keys are wrapped for it, then the policy names it. Done twice, it adds
    /// what is missing.
    ///
    /// # Errors
    /// `Unlock` for a key that this host cannot open itself, the root key first; `NoSigner`, `Wrap`, `Store`.
    pub fn add_recipient(
        &mut self,
        recipient: &WrapTo,
        grant: Grant,
        name: Option<&str>,
    ) -> Result<(), RepositoryError> {
        self.root()?;
        let purposes = grant.purposes(recipient.kind());
        for key in self.keys_of(purposes, grant)? {
            self.wrap_key(&key, recipient)?;
        }
        self.name_recipient(recipient, grant, name)
    }

    /// Names a recipient in the policy, its wraps being there.
    pub(super) fn name_recipient(
        &mut self,
        recipient: &WrapTo,
        grant: Grant,
        name: Option<&str>,
    ) -> Result<(), RepositoryError> {
        let (id, kind, public) = (recipient.recipient(), recipient.kind(), recipient.public());
        let purposes = grant.purposes(kind);
        let writer = match grant {
            Grant::Host(writer) => Some(writer),
            Grant::Admin | Grant::Read => None,
        };
        self.change_policy(|_, policy| {
            match policy.recipients.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    known.purposes |= purposes;
                    // One that several writers share, as a KMS key may be, is nobody's own, nor called after one.
                    let is_shared = known.writer != writer;
                    if is_shared {
                        known.writer = None;
                    }
                    if let Some(name) = name.filter(|_| !is_shared || writer.is_none()) {
                        name.clone_into(&mut known.label);
                    }
                }
                None => policy.recipients.push(Recipient {
                    kind,
                    id,
                    purposes,
                    public: public.clone(),
                    label: name.unwrap_or(label(kind)).to_owned(),
                    writer,
                }),
            }
            Ok(())
        })
        .map(drop)
    }

    /// Opens the keys of these purposes.
    pub(super) fn keys_of(&self, purposes: u8, grant: Grant) -> Result<Vec<NamedKey>, RepositoryError> {
        let policy = &self.state.policy;
        let wanted = |purpose| purposes & bit(purpose) != 0;
        let opened = |what, id: KeyId, purpose, secret: Result<_, _>| {
            secret
                .map(|secret| NamedKey { id, purpose, secret })
                .map_err(|source| RepositoryError::Unlock { what, source })
        };
        let mut keys = Vec::new();
        if wanted(Purpose::Metadata) {
            // Older ones too: what they sealed is still there.
            for key in &self.state.metadata_keys {
                let secret = self.keyring.open(policy, key, Purpose::Metadata);
                keys.push(opened("a metadata key", key.id, Purpose::Metadata, secret)?);
            }
        }
        if wanted(Purpose::Identity) {
            let secret = self.keyring.open(policy, &policy.identity, Purpose::Identity);
            keys.push(opened("the identity secret", policy.identity.id, Purpose::Identity, secret)?);
        }
        if wanted(Purpose::Vault) {
            keys.push(opened("the vault", policy.vault.id, Purpose::Vault, self.keyring.vault(policy))?);
        }
        if wanted(Purpose::Root) {
            let id = root_key_id(&policy.root);
            keys.push(opened("the root key", id, Purpose::Root, self.keyring.root_secret(policy))?);
        }
        if wanted(Purpose::Signing) && grant == Grant::Admin {
            let signer = self.signer()?.id();
            let listed = policy.signer(signer).ok_or(RepositoryError::NoSigner { role: "admin" })?;
            let secret = self.keyring.signing_secret(listed);
            keys.push(opened("the signing key", KeyId(signer.0), Purpose::Signing, secret)?);
        }
        Ok(keys)
    }

    /// Takes a recipient out of the policy, then deletes what was wrapped for it. What it opened before, whoever held
    /// it may have kept: rotate the metadata key if that matters.
    ///
    /// # Errors
    /// `LastRecipient`, `NoSuchRecipient`; `NoSigner`, `Unlock` (the root key), `Store`.
    pub fn remove_recipient(&mut self, id: RecipientId) -> Result<RemovedRecipient, RepositoryError> {
        self.change_policy(|_, policy| {
            let before = policy.recipients.len();
            policy.recipients.retain(|known| known.id != id);
            if policy.recipients.len() == before {
                return Err(RepositoryError::NoSuchRecipient { recipient: id.to_hex() });
            }
            for purpose in [Purpose::Vault, Purpose::Root] {
                if !policy.recipients.iter().any(|left| left.gets(purpose)) {
                    return Err(RepositoryError::LastRecipient { purpose });
                }
            }
            Ok(())
        })?;
        self.delete_wraps_for(id)
    }

    /// Deletes what is wrapped for a recipient that the policy does not name any more.
    pub(super) fn delete_wraps_for(&self, id: RecipientId) -> Result<RemovedRecipient, RepositoryError> {
        let wraps: Vec<_> = self.wraps()?.into_iter().filter(|(_, recipient)| *recipient == id).collect();
        let left = self.delete_wraps(&wraps)?;
        Ok(RemovedRecipient { deleted: wraps.len() - left.len(), left })
    }
}
