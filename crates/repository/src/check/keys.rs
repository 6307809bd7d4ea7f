//! Wrapped keys: well-formed, signed, and, where that can be tried with what is at hand, opening to what they commit to.

use std::collections::BTreeMap;

use strongroom_format::key_object::{Argon2Parameters, KEY_LIMIT_BYTES, KeyObject, SignedKey, Wrap};
use strongroom_format::registry::Purpose;
use strongroom_format::{Commitment, KeyId, RecipientId, WriterId};
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Credential, key_name};
use strongroom_keys::wrap::{Unwrap, key_file_recipient, stretch, verify_key_object, x25519_public};
use strongroom_keys::{KeysError, Secret};

use super::{Checker, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::state::describe;

/// A passphrase is stretched once for all keys that are wrapped with the same salt.
type Stretched = Vec<(Argon2Parameters, usize, Secret)>;

impl Checker<'_> {
    pub(super) fn keys(&mut self) -> Result<(), RepositoryError> {
        let names = self.key_names.clone();
        let mut found: BTreeMap<(KeyId, RecipientId), Purpose> = BTreeMap::new();
        let mut stretched = Stretched::new();
        for (key, recipient) in names {
            let name = key_name(key, recipient)?;
            let bytes = match self.fetch(&name, KEY_LIMIT_BYTES)? {
                Ok(bytes) => bytes,
                Err((kind, detail)) => {
                    self.damage(kind, name.as_str(), detail);
                    continue;
                }
            };
            self.checked.keys += 1;
            match self.key_object(key, recipient, &bytes) {
                Ok(object) => {
                    found.insert((key, recipient), object.purpose);
                    if let Err(detail) = self.open_key(&object, &mut stretched) {
                        self.damage(FindingKind::KeyDamaged, name.as_str(), detail);
                    }
                }
                Err(detail) => {
                    self.damage(FindingKind::KeyDamaged, name.as_str(), detail);
                }
            }
        }
        self.wraps_of_policy(&found)
    }

    fn key_object(&self, key: KeyId, recipient: RecipientId, bytes: &[u8]) -> Result<KeyObject, String> {
        let describe = |error: KeysError| describe(&error);
        let signed = SignedKey::decode(bytes).map_err(|error| describe(error.into()))?;
        let object = KeyObject::decode(&signed.body).map_err(|error| describe(error.into()))?;
        if object.key != key || object.recipient != recipient {
            return Err("it is another key's, or another recipient's, than its name says".into());
        }
        let signer = self.state.known_signer(object.signer).ok_or("signed by nobody the policy lists")?;
        verify_key_object(&signed, self.repository.config.repository, &signer.public).map_err(describe)?;
        Ok(object)
    }

    /// Opens a key if that is possible with what is at hand, and compares it with what the policy says of it.
    fn open_key(&mut self, object: &KeyObject, stretched: &mut Stretched) -> Result<(), String> {
        if let Some(expected) = self.commitment_of(object.key, object.purpose)
            && expected != object.commitment
        {
            return Err("its commitment is not the policy's".into());
        }
        let Some(secret) = self.unwrap(object, stretched).map_err(|error| describe(&error))? else {
            return Ok(());
        };
        self.checked.keys_opened += 1;
        let policy = &self.state.policy;
        let is_right = match object.purpose {
            Purpose::Vault if object.key == policy.vault.id => {
                x25519_public(&secret).is_ok_and(|public| public == policy.vault_public)
            }
            Purpose::Signing => policy
                .signer(WriterId(object.key.0))
                .is_none_or(|signer| Signer::new(signer.id, &secret).public() == signer.public),
            Purpose::Root => {
                let public = Signer::new(WriterId(object.key.0), &secret).public();
                public == policy.root || self.repository.config.root == public
            }
            _ => true,
        };
        if is_right { Ok(()) } else { Err("it opens to another key than the policy's".into()) }
    }

    fn commitment_of(&self, key: KeyId, purpose: Purpose) -> Option<Commitment> {
        let policy = &self.state.policy;
        let (known, of) = match purpose {
            Purpose::Metadata => (policy.metadata, key == policy.metadata.id),
            Purpose::Identity => (policy.identity, key == policy.identity.id),
            Purpose::Vault => (policy.vault, key == policy.vault.id),
            Purpose::Data | Purpose::Signing | Purpose::Root => return None,
        };
        of.then_some(known.commitment)
    }

    /// `None` when nothing at hand opens it.
    fn unwrap(&self, object: &KeyObject, stretched: &mut Stretched) -> Result<Option<Secret>, KeysError> {
        let repository = self.repository.config.repository;
        match &object.wrap {
            Wrap::X25519 { .. } if object.recipient.0 == self.state.policy.vault.id.0 => {
                Unwrap::X25519(&self.repository.vault).unwrap(object, repository).map(Some)
            }
            Wrap::X25519 { .. } => Ok(None),
            Wrap::KeyFile { .. } => {
                for credential in &self.repository.credentials {
                    if let Credential::KeyFile(file) = credential
                        && key_file_recipient(file) == object.recipient
                    {
                        return Unwrap::KeyFile(file).unwrap(object, repository).map(Some);
                    }
                }
                Ok(None)
            }
            Wrap::Passphrase { argon2, .. } => {
                for (number, credential) in self.repository.credentials.iter().enumerate() {
                    let Credential::Passphrase(passphrase) = credential else { continue };
                    let known = stretched.iter().position(|(of, whose, _)| of == argon2 && *whose == number);
                    let at = match known {
                        Some(at) => at,
                        None => {
                            stretched.push((argon2.clone(), number, stretch(passphrase, argon2)?));
                            stretched.len() - 1
                        }
                    };
                    // Another passphrase fails just so; the signature has told damage already.
                    if let Ok(secret) = Unwrap::Passphrase(&stretched[at].2).unwrap(object, repository) {
                        return Ok(Some(secret));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Keys without which the repository does not open, or nobody can write or administer it.
    fn wraps_of_policy(
        &mut self,
        found: &BTreeMap<(KeyId, RecipientId), Purpose>,
    ) -> Result<(), RepositoryError> {
        let policy = self.state.policy.clone();
        let vault = RecipientId(policy.vault.id.0);
        let mut needed = vec![
            (policy.metadata.id, vault, "the metadata key"),
            (policy.identity.id, vault, "the identity secret"),
        ];
        let recipients_of = |purpose: Purpose| {
            policy.recipients.iter().filter(move |r| r.purposes & (1 << purpose.number()) != 0)
        };
        needed.extend(recipients_of(Purpose::Vault).map(|r| (policy.vault.id, r.id, "the vault")));
        for (key, recipient, what) in needed {
            if !self.key_names.contains(&(key, recipient)) {
                let detail = format!("{what} is not wrapped for this recipient any more");
                self.damage(FindingKind::KeyMissing, key_name(key, recipient)?.as_str(), detail);
            }
        }
        for recipient in recipients_of(Purpose::Root) {
            let wrapped =
                found.iter().any(|((_, of), purpose)| *of == recipient.id && *purpose == Purpose::Root);
            if !wrapped {
                let detail = format!("the root key is not wrapped for recipient {} any more", recipient.id);
                self.damage(FindingKind::KeyMissing, "keys/", detail);
            }
        }
        // `init` wraps the first signer's key; later hosts may keep theirs to themselves.
        for (at, signer) in policy.signers.iter().filter(|signer| signer.roles.0 != 0).enumerate() {
            if !self.key_names.iter().any(|(key, _)| key.0 == signer.id.0) {
                let severity = if at == 0 { Severity::Damage } else { Severity::Info };
                let detail = format!("the signing key of {} is wrapped for nobody", signer.name);
                self.findings.add(severity, FindingKind::KeyMissing, format!("keys/{}/", signer.id), detail);
            }
        }
        Ok(())
    }
}
