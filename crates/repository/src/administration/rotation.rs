//! A new metadata key.

use std::sync::Arc;

use strongroom_format::pack::KeyRef;
use strongroom_format::policy::Recipient;
use strongroom_format::registry::{Purpose, RecipientType};
use strongroom_format::{KeyId, PublicKey};
use strongroom_keys::derive::commitment;
use strongroom_keys::random;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::{NamedKey, WrapTo, key_file_recipient};
use strongroom_keys::{KeysError, Secret};

use crate::error::RepositoryError;
use crate::open::vault_recipient;
use crate::repository::Repository;

impl Repository {
    /// Puts a new metadata key in force: what is stored from now on, no former recipient can open. Old ones stay for
    /// what they sealed. Data keys need none of this: every run has a new one.
    ///
    /// # Errors
    /// `RecipientElsewhere` for a recipient whose secret is needed and is not at hand; `Unlock` (the root key),
    /// `NoSigner`, `Wrap`, `Store`.
    pub fn rotate(&mut self) -> Result<KeyId, RepositoryError> {
        self.root()?;
        let failed = |source| RepositoryError::Seal { what: "a metadata key", source };
        let key = NamedKey {
            id: KeyId(random::array(&*self.random).map_err(failed)?),
            purpose: Purpose::Metadata,
            secret: Secret::new(random::array(&*self.random).map_err(failed)?),
        };
        let policy = &self.state.policy;
        let recipients: Vec<WrapTo> = policy
            .recipients
            .iter()
            .filter(|recipient| recipient.gets(Purpose::Metadata))
            .map(|recipient| self.wrap_to(recipient))
            .collect::<Result<_, _>>()?;
        let vault =
            WrapTo::X25519 { recipient: vault_recipient(policy.vault.id), public: policy.vault_public };
        for recipient in recipients.iter().chain([&vault]) {
            self.wrap_key(&key, recipient)?;
        }
        let wrapped: Vec<_> = recipients.iter().map(WrapTo::recipient).collect();
        let commitment = commitment(&key.secret, self.config.repository, key.id, Purpose::Metadata);
        self.change_policy(|_, policy| {
            // Somebody who was let in meanwhile would be locked out again.
            if let Some(late) = policy
                .recipients
                .iter()
                .find(|recipient| recipient.gets(Purpose::Metadata) && !wrapped.contains(&recipient.id))
            {
                return Err(RepositoryError::RecipientElsewhere { label: late.label.clone() });
            }
            policy.metadata = KeyRef { id: key.id, commitment };
            Ok(())
        })?;
        Ok(key.id)
    }

    /// How to wrap for a recipient that the policy names: by what the root key signed of it, or a secret at hand.
    fn wrap_to(&self, recipient: &Recipient) -> Result<WrapTo, RepositoryError> {
        let elsewhere = || RepositoryError::RecipientElsewhere { label: recipient.label.clone() };
        let unlocker = self.keyring.unlocker();
        match recipient.kind {
            RecipientType::X25519 => {
                let public = PublicKey::try_from(&recipient.public[..])
                    .map_err(RepositoryError::malformed("the policy"))?;
                Ok(WrapTo::X25519 { recipient: recipient.id, public })
            }
            RecipientType::AwsKms => {
                let arn = String::from_utf8(recipient.public.clone()).map_err(|_| elsewhere())?;
                let kms = unlocker.kms().ok_or_else(elsewhere)?;
                Ok(WrapTo::AwsKms { arn, kms: Arc::clone(kms) })
            }
            RecipientType::KeyFile => unlocker
                .credentials()
                .iter()
                .find_map(|credential| match credential {
                    Credential::KeyFile(key) if key_file_recipient(key) == recipient.id => {
                        Some(WrapTo::KeyFile { key: key.clone() })
                    }
                    _ => None,
                })
                .ok_or_else(elsewhere),
            RecipientType::Passphrase => Err(RepositoryError::Wrap {
                purpose: Purpose::Metadata,
                source: KeysError::NoCredential { kinds: "nothing but a passphrase".into() },
            }),
        }
    }
}
