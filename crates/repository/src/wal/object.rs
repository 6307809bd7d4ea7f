//! What a stored object of a log archive is, and by whom.

use strongroom_format::policy::{Policy, Signer};
use strongroom_format::registry::Codec;
use strongroom_format::registry::Purpose;
use strongroom_format::wal::{OBJECT_LIMIT_BYTES, WalHead};
use strongroom_format::{ContentHash, WriterId};
use strongroom_keys::derive::commitment;
use strongroom_keys::wal::{WalKey, open_head, whole_body};
use strongroom_store::ObjectName;

use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::State;
use crate::zstd::Decompressor;

/// A head whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedHead {
    pub(crate) head: WalHead,
    pub(crate) signer: WriterId,
}

impl State {
    /// A signer that some policy let write a source.
    pub(crate) fn ever_wrote(&self, id: WriterId, source: &str) -> Option<Signer> {
        let may = |signer: &&Signer| signer.id == id && signer.may_write(source);
        if let Some(signer) = self.policy.signers.iter().find(may) {
            return Some(signer.clone());
        }
        let policies = self.policies.iter().filter_map(|(_, body)| Policy::decode(&body.policy).ok());
        policies.flat_map(|policy| policy.signers).find(|signer| may(&signer))
    }

    /// The policy entry that took from a signer that he may write a source: `None` while he may.
    pub(crate) fn stopped_writing(&self, id: WriterId, source: &str) -> Option<u64> {
        if self.policy.signer(id).is_some_and(|signer| signer.may_write(source)) {
            return None;
        }
        let mut stopped = None;
        for (number, body) in &self.policies {
            let Ok(policy) = Policy::decode(&body.policy) else { continue };
            let may = policy.signer(id).is_some_and(|signer| signer.may_write(source));
            stopped = if may { None } else { stopped.or(Some(*number)) };
        }
        stopped
    }
}

impl Repository {
    /// The head of an object of which `stored` are the first bytes or all: it opens, is that of the object's name, and
    /// somebody signed it whom a policy lets, or let, write the source.
    pub(crate) fn verified_head(
        &self,
        state: &State,
        name: &ObjectName,
        stored: &[u8],
    ) -> Result<SignedHead, RepositoryError> {
        let opened = self
            .metadata
            .of_object(stored)
            .and_then(|metadata| open_head(metadata, name.as_str(), stored))
            .map_err(RepositoryError::damaged(name))?;
        let inconsistent = |reason: &str| RepositoryError::Inconsistent {
            object: name.to_string(),
            reason: reason.to_owned(),
        };
        if names::log_object_of(name) != Some(self.identity.wal_id(&opened.claimed().part)) {
            return Err(inconsistent("it is a part of another file than its name says"));
        }
        let id = opened.claimed_signer();
        let signer = state
            .ever_wrote(id, &opened.claimed().part.source)
            .ok_or_else(|| inconsistent("signed by nobody whom a policy lets write its source"))?;
        let head = opened.verify(&signer.public).map_err(RepositoryError::damaged(name))?;
        Ok(SignedHead { head, signer: id })
    }

    /// Reads an object and verifies all of it that can be verified without its data key.
    pub(super) fn verified_object(
        &self,
        name: &ObjectName,
    ) -> Result<(SignedHead, Vec<u8>), RepositoryError> {
        let stored = self.store.get(name, OBJECT_LIMIT_BYTES)?;
        let signed = self.verified_head(&self.state, name, &stored)?;
        whole_body(&signed.head, &stored).map_err(RepositoryError::damaged(name))?;
        Ok((signed, stored))
    }

    /// Opens a whole object into the part that it holds.
    ///
    /// # Errors
    /// `DataKey` without the right to read; `Damaged`, `Inconsistent`.
    pub(crate) fn open_log_object(
        &self,
        name: &ObjectName,
        head: &WalHead,
        stored: &[u8],
    ) -> Result<Vec<u8>, RepositoryError> {
        let damaged = RepositoryError::damaged;
        let body = whole_body(head, stored).map_err(damaged(name))?;
        let key = self.log_key(head)?;
        let payload = key.open_body(name.as_str(), body, head.payload_bytes).map_err(damaged(name))?;
        let plain = match head.codec {
            Codec::Raw => payload,
            Codec::Zstd => {
                let mut plain = Vec::new();
                let mut decompressor = Decompressor::new();
                decompressor
                    .decompress(&payload, &[], head.part_bytes(), &mut plain)
                    .map_err(damaged(name))?;
                plain
            }
        };
        if self.log_hash(&plain) == head.part_hash {
            Ok(plain)
        } else {
            Err(RepositoryError::Inconsistent {
                object: name.to_string(),
                reason: "what is in it does not hash to what its head says".into(),
            })
        }
    }

    /// The keyed hash of a part.
    pub(super) fn log_hash(&self, plain: &[u8]) -> ContentHash {
        ContentHash(*self.identity.log_file_hasher().update(plain).finalize().as_bytes())
    }

    fn log_key(&self, head: &WalHead) -> Result<WalKey, RepositoryError> {
        let known = self.log_keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (key, repository) = (&head.key, self.config.repository);
        let secret = match known {
            // The files of an hour are under one key.
            Some((id, secret))
                if id == key.id && commitment(&secret, repository, id, Purpose::Data) == key.commitment =>
            {
                secret
            }
            _ => self
                .keyring
                .open(&self.state.policy, key, Purpose::Data)
                .map_err(|source| RepositoryError::DataKey { key: key.id, source })?,
        };
        let opened = WalKey::from_data_key(key.id, repository, &secret);
        *self.log_keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((key.id, secret));
        Ok(opened)
    }
}
