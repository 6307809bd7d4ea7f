//! Who may write to the repository.

use strongroom_format::policy::Signer as ListedSigner;
use strongroom_format::registry::{Purpose, Roles};
use strongroom_format::{KeyId, SnapshotId, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::random;
use strongroom_keys::sign::Signer;
use strongroom_keys::wrap::{NamedKey, WrapTo};
use strongroom_store::ObjectName;

use super::{Grant, bit};
use crate::error::RepositoryError;
use crate::repository::Repository;

/// A writer to be.
pub struct NewWriter<'a> {
    /// Its name: the host's, which it finds its key by.
    pub name: &'a str,
    /// What it may do.
    pub roles: Roles,
    /// Sources it may write; `*` for all.
    pub sources: Vec<String>,
    /// Where its keys are wrapped to.
    pub recipient: &'a WrapTo,
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Snapshots that are gone.
    pub forgotten: Vec<SnapshotId>,
    /// Wraps that this host has no right to delete.
    pub left: Vec<ObjectName>,
}

impl Repository {
    /// Makes a signing key for a writer, wraps it and what else it needs to write and list for `recipient` only, and
    /// lists it in the policy. Nobody else can sign in its name, not even who made it.
    ///
    /// # Errors
    /// `WriterExists`; `Unlock` for a key that this host cannot open itself, the root key first; `NoSigner`, `Wrap`,
    /// `Store`.
    pub fn add_writer(&mut self, writer: &NewWriter<'_>) -> Result<WriterId, RepositoryError> {
        self.root()?;
        let exists = |name: &str| RepositoryError::WriterExists { name: name.to_owned() };
        if self.state.policy.signers.iter().any(|known| known.name == writer.name) {
            return Err(exists(writer.name));
        }
        let failed = |source| RepositoryError::Seal { what: "a signing key", source };
        let key = NamedKey {
            id: KeyId(random::array(&*self.random).map_err(failed)?),
            purpose: Purpose::Signing,
            secret: Secret::new(random::array(&*self.random).map_err(failed)?),
        };
        let id = WriterId(key.id.0);
        let public = Signer::new(id, &key.secret).public();
        let shared = bit(Purpose::Metadata) | bit(Purpose::Identity);
        for key in self.keys_of(shared, Grant::Host(id))?.iter().chain([&key]) {
            self.wrap_key(key, writer.recipient)?;
        }
        let listed = ListedSigner {
            id,
            public,
            roles: writer.roles,
            sources: writer.sources.clone(),
            name: writer.name.to_owned(),
        };
        self.name_recipient(writer.recipient, Grant::Host(id), Some(writer.name))?;
        self.change_policy(|_, policy| {
            if policy.signers.iter().any(|known| known.name == listed.name) {
                return Err(exists(&listed.name));
            }
            policy.signers.push(listed.clone());
            Ok(())
        })?;
        Ok(id)
    }

    /// Takes a writer out of the policy, with the recipients that were its own, and deletes what was wrapped for
    /// them. It acts forward: what it wrote before stays, but for the snapshots in `forget`.
    ///
    /// # Errors
    /// `NoSuchWriter`, `NoSuchSnapshot`, `Held`, `NotForgettable`, `LastAdmin`; `NoSigner`, `Unlock` (the root key), `Store`.
    pub fn revoke_writer(
        &mut self,
        id: WriterId,
        forget: &[SnapshotId],
    ) -> Result<Revocation, RepositoryError> {
        let mut own = Vec::new();
        self.change_policy(|state, policy| {
            let before = policy.signers.len();
            policy.signers.retain(|known| known.id != id);
            if policy.signers.len() == before {
                return Err(RepositoryError::NoSuchWriter { writer: id.to_hex() });
            }
            if !policy.signers.iter().any(|left| left.roles.holds(Roles::ADMIN)) {
                return Err(RepositoryError::LastAdmin);
            }
            if !forget.is_empty() {
                state.require_holds_known()?;
            }
            // With one of them that is held, the policy would be void.
            for snapshot in state.find_all(forget)? {
                snapshot.require_not_held()?;
            }
            let is_own = |recipient: &strongroom_format::policy::Recipient| recipient.writer == Some(id);
            own = policy.recipients.iter().filter(|known| is_own(known)).map(|known| known.id).collect();
            policy.recipients.retain(|known| !is_own(known));
            policy.forgotten = forget.to_vec();
            Ok(())
        })?;
        let wraps: Vec<_> = self
            .wraps()?
            .into_iter()
            .filter(|(key, recipient)| key.0 == id.0 || own.contains(recipient))
            .collect();
        Ok(Revocation { forgotten: forget.to_vec(), left: self.delete_wraps(&wraps)? })
    }
}
