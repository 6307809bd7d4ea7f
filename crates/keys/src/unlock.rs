//! Unlocking: from what a person or host has at hand to every key it may have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use strongroom_format::key_object::{Argon2Parameters, KEY_LIMIT_BYTES, KeyObject, SignedKey, Wrap};
use strongroom_format::registry::{Purpose, RecipientType};
use strongroom_format::{KeyId, RecipientId, RepositoryId};
use strongroom_store::{ObjectName, Store, StoreError};
use zeroize::Zeroizing;

use crate::kms::Kms;
use crate::wrap::{Unwrap, aws_kms_recipient, key_file_recipient, stretch, x25519_public, x25519_recipient};
use crate::{KeysError, Secret};

/// What a person or host has to open a repository with.
pub enum Credential {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// The bytes of a key file.
    KeyFile(Secret),
    /// An X25519 private key.
    X25519(Secret),
    /// A key management service that may let this host use its keys.
    Kms(Arc<dyn Kms>),
}

/// Opens wraps with the credentials at hand; a passphrase is stretched once a salt.
pub struct Unlocker {
    store: Arc<dyn Store>,
    repository: RepositoryId,
    credentials: Vec<Credential>,
    stretched: Mutex<Vec<(Argon2Parameters, usize, Secret)>>,
    hints: Mutex<Vec<Hint>>,
    /// The KMS key that opened something first.
    service_key: OnceLock<String>,
}

/// How far to go for a key: what lies at hand is tried before a service is asked, which may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Passphrases, key files and private keys.
    Local,
    /// A key management service.
    Service,
}

impl Reach {
    /// Both, in their order.
    pub const ALL: [Reach; 2] = [Reach::Local, Reach::Service];

    /// Whether this is what opens such a wrap.
    #[must_use]
    pub fn covers(self, wrap: &Wrap) -> bool {
        (self == Self::Service) == matches!(wrap, Wrap::AwsKms { .. })
    }
}

/// The recipient that a key was opened by: asked first the next time, so that nothing need be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// The key.
    pub key: KeyId,
    /// The recipient; for the metadata key perhaps the vault.
    pub recipient: RecipientId,
}

impl Unlocker {
    /// Reads `keys/` of `store` only.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        repository: RepositoryId,
        credentials: Vec<Credential>,
        hints: Vec<Hint>,
    ) -> Self {
        Self {
            store,
            repository,
            credentials,
            stretched: Mutex::default(),
            hints: Mutex::new(hints),
            service_key: OnceLock::new(),
        }
    }

    /// What opened so far, those given at first included.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// The KMS, and the ARN of its key that opened something first: one that is merely reachable may have nothing to do
    /// with this repository.
    #[must_use]
    pub fn kms_in_use(&self) -> Option<(&Arc<dyn Kms>, &str)> {
        self.kms().zip(self.service_key.get().map(String::as_str))
    }

    /// The KMS, if one is at hand.
    #[must_use]
    pub fn kms(&self) -> Option<&Arc<dyn Kms>> {
        self.credentials.iter().find_map(|credential| match credential {
            Credential::Kms(kms) => Some(kms),
            _ => None,
        })
    }

    /// The recipients that `key` is wrapped for, without opening anything: the one that opened it before first.
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
        let is_its_kms = match &object.wrap {
            Wrap::AwsKms { arn, .. } => aws_kms_recipient(arn) == recipient,
            _ => true,
        };
        if object.key == key && object.recipient == recipient && is_its_kms {
            Ok((signed, object))
        } else {
            Err(KeysError::WrongKind)
        }
    }

    /// Opens one wrap with a credential of its kind: `None` when there is none.
    ///
    /// # Errors
    /// `WrongCredential`, `Kms`, `Commitment`, `Tampered`, `Argon2`.
    pub fn open(&self, object: &KeyObject) -> Option<Result<Secret, KeysError>> {
        let mut wrong = None;
        for (number, credential) in self.credentials.iter().enumerate() {
            let opened = match (credential, &object.wrap) {
                (Credential::KeyFile(file), Wrap::KeyFile { .. }) => {
                    if key_file_recipient(file) != object.recipient {
                        wrong = Some(Err(KeysError::WrongCredential { tried: 1 }));
                        continue;
                    }
                    Unwrap::KeyFile(file).unwrap(object, self.repository)
                }
                (Credential::Passphrase(passphrase), Wrap::Passphrase { argon2, .. }) => {
                    match self.stretch(number, passphrase, argon2) {
                        Ok(stretched) => match Unwrap::Passphrase(&stretched).unwrap(object, self.repository)
                        {
                            // Another passphrase looks just like damage.
                            Err(KeysError::Commitment) => {
                                wrong = Some(Err(KeysError::WrongCredential { tried: 1 }));
                                continue;
                            }
                            opened => opened,
                        },
                        Err(error) => Err(error),
                    }
                }
                (Credential::X25519(private), Wrap::X25519 { .. }) => {
                    if x25519_public(private).ok().map(|public| x25519_recipient(&public))
                        != Some(object.recipient)
                    {
                        // The vault is of this type too, and no credential.
                        continue;
                    }
                    Unwrap::X25519(private).unwrap(object, self.repository)
                }
                (Credential::Kms(kms), Wrap::AwsKms { .. }) => {
                    Unwrap::Kms(&**kms).unwrap(object, self.repository)
                }
                _ => continue,
            };
            match opened {
                Ok(secret) => return Some(Ok(secret)),
                Err(error) => wrong = Some(Err(error)),
            }
        }
        wrong
    }

    /// Whether a credential of this kind is at hand.
    #[must_use]
    pub fn has(&self, reach: Reach) -> bool {
        let is_service = |credential: &Credential| matches!(credential, Credential::Kms(_));
        self.credentials.iter().any(|credential| is_service(credential) == (reach == Reach::Service))
    }

    /// Opens `key` with a credential, whichever recipient it is wrapped for.
    ///
    /// # Errors
    /// `Kms`, `WrongCredential`, `NoCredential`, `Store`, `Format`, `Commitment`.
    pub fn with_credentials(
        &self,
        key: KeyId,
        purpose: Purpose,
        reaches: &[Reach],
    ) -> Result<Secret, KeysError> {
        self.with_credentials_if(key, purpose, reaches, &|_| true)
    }

    /// As [`Unlocker::with_credentials`], and goes on until `is_right` accepts what opened: whoever may create objects
    /// can add wraps of keys of his own.
    ///
    /// # Errors
    /// The same; `Commitment` when nothing that opened was right.
    pub fn with_credentials_if(
        &self,
        key: KeyId,
        purpose: Purpose,
        reaches: &[Reach],
        is_right: &dyn Fn(&Secret) -> bool,
    ) -> Result<Secret, KeysError> {
        let mut attempts = Attempts::default();
        if let Some(hint) = self.hint(key)
            && let Some((_, object)) = attempts.read(self, key, hint)?
            && object.purpose == purpose
            && reaches.iter().find(|reach| self.has(**reach)).is_some_and(|reach| reach.covers(&object.wrap))
            && let Some(secret) = attempts.open(self, &object, is_right)
        {
            self.opened(key, &object);
            return Ok(secret);
        }
        let mut wraps = Vec::new();
        for recipient in self.recipients(key)? {
            if let Some((_, object)) = attempts.read(self, key, recipient)?
                && object.purpose == purpose
            {
                attempts.kinds.insert(kind_name(object.wrap.recipient_type()));
                wraps.push(object);
            }
        }
        for reach in reaches {
            for object in wraps.iter().filter(|object| reach.covers(&object.wrap)) {
                if let Some(secret) = attempts.open(self, object, is_right) {
                    self.opened(key, object);
                    return Ok(secret);
                }
            }
        }
        Err(attempts.error())
    }

    /// Notes that `key` was opened by this wrap, and is the right one.
    pub fn opened(&self, key: KeyId, object: &KeyObject) {
        self.remember(key, object.recipient);
        if let Wrap::AwsKms { arn, .. } = &object.wrap {
            self.service_key.get_or_init(|| arn.clone());
        }
    }

    /// The recipient that opened `key` before.
    #[must_use]
    pub fn hint(&self, key: KeyId) -> Option<RecipientId> {
        let hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.iter().find(|hint| hint.key == key).map(|hint| hint.recipient)
    }

    /// Remembers who opened `key`.
    pub fn remember(&self, key: KeyId, recipient: RecipientId) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.retain(|hint| hint.key != key);
        hints.push(Hint { key, recipient });
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

/// What was tried for a key, to say the most useful thing when nothing opened it.
#[derive(Default)]
struct Attempts {
    kinds: BTreeSet<&'static str>,
    wrong: usize,
    kms: Option<KeysError>,
    damaged: Option<KeysError>,
}

impl Attempts {
    /// Reads a wrap; one that is none is noted: whoever may create objects may have put it there.
    fn read(
        &mut self,
        unlocker: &Unlocker,
        key: KeyId,
        recipient: RecipientId,
    ) -> Result<Option<(SignedKey, KeyObject)>, KeysError> {
        match unlocker.read(key, recipient) {
            Ok(read) => Ok(Some(read)),
            // Remembered, and taken away since.
            Err(KeysError::Store(StoreError::NotFound { .. })) => Ok(None),
            Err(KeysError::Store(error)) if !matches!(error, StoreError::TooLarge { .. }) => {
                Err(error.into())
            }
            Err(error) => {
                self.damaged.get_or_insert(error);
                Ok(None)
            }
        }
    }

    fn open(
        &mut self,
        unlocker: &Unlocker,
        object: &KeyObject,
        is_right: &dyn Fn(&Secret) -> bool,
    ) -> Option<Secret> {
        match unlocker.open(object)? {
            Ok(secret) if is_right(&secret) => return Some(secret),
            Ok(_) => {
                self.damaged.get_or_insert(KeysError::Commitment);
            }
            Err(KeysError::WrongCredential { .. }) => self.wrong += 1,
            Err(error @ KeysError::Kms(_)) => {
                self.kms.get_or_insert(error);
            }
            Err(error) => {
                self.damaged.get_or_insert(error);
            }
        }
        None
    }

    fn error(self) -> KeysError {
        if let Some(error) = self.kms {
            return error;
        }
        if self.wrong > 0 {
            return KeysError::WrongCredential { tried: self.wrong };
        }
        self.damaged.unwrap_or_else(|| KeysError::NoCredential {
            kinds: if self.kinds.is_empty() {
                "nothing that is left in keys/".into()
            } else {
                self.kinds.into_iter().collect::<Vec<_>>().join(", ")
            },
        })
    }
}

/// The name of a wrapped key: `keys/<key>/<recipient>`.
///
/// # Errors
/// `Store` never: hexadecimal digits are a valid name.
pub fn key_name(key: KeyId, recipient: RecipientId) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("keys/{key}/{recipient}"))
}

/// A recipient's kind, for people.
#[must_use]
pub fn kind_name(kind: RecipientType) -> &'static str {
    match kind {
        RecipientType::Passphrase => "a passphrase",
        RecipientType::KeyFile => "a key file",
        RecipientType::X25519 => "an X25519 key",
        RecipientType::AwsKms => "an AWS KMS key",
    }
}
