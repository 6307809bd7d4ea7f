//! Unlocking: from a passphrase or key file to the vault, and from the vault to every other key.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use strongroom_format::key_object::{Argon2Parameters, KEY_LIMIT_BYTES, KeyObject, SignedKey, Wrap};
use strongroom_format::registry::{Purpose, RecipientType};
use strongroom_format::{KeyId, RecipientId, RepositoryId};
use strongroom_store::{ObjectName, Store, StoreError};
use zeroize::Zeroizing;

use crate::wrap::{Unwrap, key_file_recipient, stretch};
use crate::{KeysError, Secret};

/// What a person has to open a repository with.
pub enum Credential {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// The bytes of a key file.
    KeyFile(Secret),
}

/// Opens wraps with the credentials at hand; a passphrase is stretched once a salt.
pub struct Unlocker<'a> {
    store: &'a dyn Store,
    repository: RepositoryId,
    credentials: &'a [Credential],
    stretched: Mutex<Vec<(Argon2Parameters, usize, Secret)>>,
}

impl<'a> Unlocker<'a> {
    /// Reads `keys/` of `store` only.
    #[must_use]
    pub fn new(store: &'a dyn Store, repository: RepositoryId, credentials: &'a [Credential]) -> Self {
        Self { store, repository, credentials, stretched: Mutex::new(Vec::new()) }
    }

    /// The recipients that `key` is wrapped for, without opening anything.
    ///
    /// # Errors
    /// `Store`.
    pub fn recipients(&self, key: KeyId) -> Result<Vec<RecipientId>, KeysError> {
        let prefix = format!("keys/{key}/");
        let mut found = Vec::new();
        self.store.list(&prefix, &mut |name, _| {
            found.extend(name.as_str().strip_prefix(&prefix).and_then(RecipientId::from_hex));
            Ok(())
        })?;
        Ok(found)
    }

    /// The wrapped key as it is stored; its signature is not verified.
    ///
    /// # Errors
    /// `Store`, `Format`.
    pub fn read(&self, key: KeyId, recipient: RecipientId) -> Result<(SignedKey, KeyObject), KeysError> {
        let signed = SignedKey::decode(&self.store.get(&key_name(key, recipient)?, KEY_LIMIT_BYTES)?)?;
        let object = KeyObject::decode(&signed.body)?;
        if object.key != key || object.recipient != recipient {
            Err(KeysError::WrongKind)
        } else {
            Ok((signed, object))
        }
    }

    /// Opens `key` with a credential: a key file's wrap is found by name, passphrases are tried one by one.
    ///
    /// # Errors
    /// `WrongCredential`, `NoCredential`, `Store`, `Format`, `Commitment`.
    pub fn with_credentials(&self, key: KeyId, purpose: Purpose) -> Result<Secret, KeysError> {
        let (mut tried, mut kinds, mut damaged) = (0, BTreeSet::new(), None);
        for recipient in self.recipients(key)? {
            let object = match self.read(key, recipient) {
                Ok((_, object)) => object,
                Err(KeysError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    damaged.get_or_insert(error);
                    continue;
                }
            };
            if object.purpose != purpose {
                continue;
            }
            kinds.insert(kind_name(object.wrap.recipient_type()));
            for (number, credential) in self.credentials.iter().enumerate() {
                let opened = match (credential, &object.wrap) {
                    (Credential::KeyFile(file), Wrap::KeyFile { .. }) => {
                        tried += 1;
                        if key_file_recipient(file) != recipient {
                            continue;
                        }
                        Unwrap::KeyFile(file).unwrap(&object, self.repository)
                    }
                    (Credential::Passphrase(passphrase), Wrap::Passphrase { argon2, .. }) => {
                        tried += 1;
                        Unwrap::Passphrase(&self.stretch(number, passphrase, argon2)?)
                            .unwrap(&object, self.repository)
                    }
                    _ => continue,
                };
                if let Ok(secret) = opened {
                    return Ok(secret);
                }
            }
        }
        match damaged {
            Some(error) => Err(error),
            None if tried > 0 => Err(KeysError::WrongCredential { tried }),
            None => Err(KeysError::NoCredential {
                kinds: if kinds.is_empty() {
                    "nothing that is left in keys/".into()
                } else {
                    kinds.into_iter().collect::<Vec<_>>().join(", ")
                },
            }),
        }
    }

    /// Opens `key` with the vault's private key.
    ///
    /// # Errors
    /// `Store` (`NotFound` when the wrap is gone), `Format`, `Commitment`, `Tampered`; `WrongKind` for a key of
    /// another purpose.
    pub fn with_vault(
        &self,
        key: KeyId,
        purpose: Purpose,
        vault: KeyId,
        private: &Secret,
    ) -> Result<Secret, KeysError> {
        let (_, object) = self.read(key, RecipientId(vault.0))?;
        if object.purpose != purpose {
            return Err(KeysError::WrongKind);
        }
        Unwrap::X25519(private).unwrap(&object, self.repository)
    }

    fn stretch(
        &self,
        number: usize,
        passphrase: &str,
        argon2: &Argon2Parameters,
    ) -> Result<Secret, KeysError> {
        let mut stretched = self.stretched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, secret)) = stretched.iter().find(|(known, of, _)| known == argon2 && *of == number)
        {
            return Ok(secret.clone());
        }
        let secret = stretch(passphrase, argon2)?;
        stretched.push((argon2.clone(), number, secret.clone()));
        Ok(secret)
    }
}

/// The name of a wrapped key: `keys/<key>/<recipient>`.
///
/// # Errors
/// `Store` never: hexadecimal digits are a valid name.
pub fn key_name(key: KeyId, recipient: RecipientId) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("keys/{key}/{recipient}"))
}

fn kind_name(kind: RecipientType) -> &'static str {
    match kind {
        RecipientType::Passphrase => "a passphrase",
        RecipientType::KeyFile => "a key file",
        RecipientType::X25519 => "an X25519 key",
        RecipientType::AwsKms => "an AWS KMS key",
    }
}
