//! Fresh data keys: made, and their wraps stored, before anything is sealed under them.

use std::sync::Arc;

use strongroom_format::key_object::SignedKey;
use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RecipientId, RepositoryId};
use strongroom_keys::Secret;
use strongroom_keys::kms::Kms;
use strongroom_keys::random::{self, Random};
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, aws_kms_recipient, generate_with_kms};
use strongroom_store::Store;

use crate::error::RepositoryError;

/// What a data key is made with.
pub(crate) struct DataKeyMaker<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) random: &'a dyn Random,
    pub(crate) signer: &'a Signer,
    pub(crate) repository: RepositoryId,
    pub(crate) vault: &'a WrapTo,
    pub(crate) kms: Option<&'a (String, Arc<dyn Kms>)>,
}

impl DataKeyMaker<'_> {
    /// A data key, its wraps durable: out of the KMS that opens this host's other keys, where the policy says so, and
    /// always sealed to the vault, so that one call on a KMS opens all of them.
    pub(crate) fn make(&self) -> Result<NamedKey, RepositoryError> {
        let failed = |source| RepositoryError::Wrap { purpose: Purpose::Data, source };
        let id = KeyId(random::array(self.random).map_err(failed)?);
        let key = match self.kms {
            Some((arn, kms)) => {
                let (key, wrapped) =
                    generate_with_kms(id, Purpose::Data, self.repository, (arn, &**kms), self.signer)
                        .map_err(failed)?;
                self.put_wrap(id, aws_kms_recipient(arn), &wrapped)?;
                key
            }
            None => NamedKey {
                id,
                purpose: Purpose::Data,
                secret: Secret::new(random::array(self.random).map_err(failed)?),
            },
        };
        let wrapped = self.vault.wrap(&key, self.repository, self.signer, self.random).map_err(failed)?;
        self.put_wrap(id, self.vault.recipient(), &wrapped)?;
        Ok(key)
    }

    fn put_wrap(
        &self,
        key: KeyId,
        recipient: RecipientId,
        wrapped: &SignedKey,
    ) -> Result<(), RepositoryError> {
        // The key's ID was drawn just now: a name that is taken is our own, after an answer that was lost.
        let _ = self.store.put_if_absent(&key_name(key, recipient)?, &wrapped.encode())?;
        Ok(())
    }
}
