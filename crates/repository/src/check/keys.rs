//! Wrapped keys: well-formed, signed, and, where that can be tried with what is at hand, opening to what they commit to.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::key_object::{KEY_LIMIT_BYTES, KeyObject, SignedKey, Wrap};
use strongroom_format::registry::Purpose;
use strongroom_format::{Commitment, KeyId, RecipientId, WriterId};
use strongroom_keys::derive::root_key_id;
use strongroom_keys::kms::KmsTrouble;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{Unwrap, aws_kms_recipient, verify_key_object, x25519_public};
use strongroom_keys::{KeysError, Secret};

use super::{Checker, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::state::{State, describe};

impl Repository {
    /// A wrapped key that is what a signer of the repository stored under that name; or what is wrong with it.
    pub(crate) fn verified_wrap(
        &self,
        state: &State,
        key: KeyId,
        recipient: RecipientId,
        bytes: &[u8],
    ) -> Result<KeyObject, String> {
        let describe = |error: KeysError| describe(&error);
        let signed = SignedKey::decode(bytes).map_err(|error| describe(error.into()))?;
        let object = KeyObject::decode(&signed.body).map_err(|error| describe(error.into()))?;
        let is_its_kms = match &object.wrap {
            Wrap::AwsKms { arn, .. } => aws_kms_recipient(arn) == recipient,
            _ => true,
        };
        if object.key != key || object.recipient != recipient || !is_its_kms {
            return Err("it is another key's, or another recipient's, than its name says".into());
        }
        let signer = state.known_signer(object.signer).ok_or("signed by nobody the policy lists")?;
        verify_key_object(&signed, self.config.repository, &signer.public).map_err(describe)?;
        Ok(object)
    }
}

impl Checker<'_> {
    pub(super) fn keys(&mut self) -> Result<(), RepositoryError> {
        let names = self.key_names.clone();
        let mut found: BTreeMap<(KeyId, RecipientId), Purpose> = BTreeMap::new();
        let mut unnamed = 0_u64;
        // Where this host may: it opens what is sealed to the vault.
        let vault = self.repository.keyring.vault(&self.state.policy).ok();
        // The ARNs of keys whose service is away: to wait for it again with every wrap would take hours.
        let mut away = BTreeSet::new();
        for (key, recipient) in names {
            let name = key_name(key, recipient)?;
            let bytes = match self.fetch(&name, KEY_LIMIT_BYTES)? {
                Ok(bytes) => bytes,
                // It was listed: a prune may have deleted it since.
                Err((FindingKind::Missing, _)) if !self.is_needed(key, recipient) => continue,
                Err((kind, detail)) => {
                    self.damage(kind, name.as_str(), detail);
                    continue;
                }
            };
            self.checked.keys += 1;
            match self.repository.verified_wrap(&self.state, key, recipient, &bytes) {
                Ok(object) => {
                    found.insert((key, recipient), object.purpose);
                    if !self.is_named(recipient) {
                        unnamed += 1;
                    }
                    if let Err(detail) = self.open_key(&object, vault.as_ref(), &mut away) {
                        // Another writer may have added what no policy promises.
                        let is_needed = self.is_needed(key, recipient);
                        let severity = if is_needed { Severity::Damage } else { Severity::Suspicious };
                        self.findings.add(severity, FindingKind::KeyDamaged, name.as_str(), detail);
                    }
                }
                Err(detail) if self.is_needed(key, recipient) => {
                    self.damage(FindingKind::KeyDamaged, name.as_str(), detail);
                }
                // Whoever may create objects can put one there.
                Err(detail) => {
                    self.suspicious(FindingKind::Stray, name.as_str(), detail);
                }
            }
        }
        if unnamed > 0 {
            let detail =
                format!("{unnamed} keys are wrapped for recipients that the policy does not name (any more)");
            self.findings.add(Severity::Info, FindingKind::Leftover, "keys/", detail);
        }
        self.wraps_of_policy(&found)
    }

    fn is_named(&self, recipient: RecipientId) -> bool {
        let policy = &self.state.policy;
        recipient.0 == policy.vault.id.0 || policy.recipients.iter().any(|listed| listed.id == recipient)
    }

    /// Whether the policy, a snapshot or a log archive relies on this wrap.
    fn is_needed(&self, key: KeyId, recipient: RecipientId) -> bool {
        let policy = &self.state.policy;
        let of_data = || {
            let mut keys = self.state.snapshots.iter().flat_map(|snapshot| &snapshot.state.keys);
            keys.any(|data| data.id == key) || self.log_keys.contains(&key)
        };
        let purpose = if key == policy.identity.id {
            Purpose::Identity
        } else if key == policy.vault.id {
            Purpose::Vault
        } else if key == root_key_id(&policy.root) {
            Purpose::Root
        } else if self.state.metadata_keys.iter().any(|metadata| metadata.id == key) {
            Purpose::Metadata
        } else if policy.signers.iter().any(|signer| signer.id.0 == key.0) {
            Purpose::Signing
        } else if of_data() {
            Purpose::Data
        } else {
            return false;
        };
        if recipient.0 == policy.vault.id.0 {
            return matches!(purpose, Purpose::Metadata | Purpose::Identity | Purpose::Data);
        }
        policy.recipients.iter().any(|listed| listed.id == recipient && listed.gets(purpose))
    }

    /// Opens a key if that is possible with what is at hand, and compares it with what the policy says of it.
    fn open_key(
        &mut self,
        object: &KeyObject,
        vault: Option<&Secret>,
        away: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        if let Some(expected) = self.commitment_of(object.key, object.purpose)
            && expected != object.commitment
        {
            return Err("its commitment is not the policy's".into());
        }
        if let Wrap::AwsKms { arn, .. } = &object.wrap
            && away.contains(arn)
        {
            let name = key_name(object.key, object.recipient).map_err(|error| describe(&error))?;
            let detail =
                format!("not tried, because the service of KMS key {arn} could not be reached before");
            self.findings.add(Severity::Info, FindingKind::KeyUnopened, name.as_str(), detail);
            return Ok(());
        }
        let opened = if object.recipient.0 == self.state.policy.vault.id.0 {
            vault.map(|vault| Unwrap::X25519(vault).unwrap(object, self.repository.config.repository))
        } else {
            self.repository.keyring.unlocker().open(object)
        };
        let secret = match opened {
            // Another recipient's; another passphrase fails just like a changed wrap, and the signature has told
            // change already.
            None | Some(Err(KeysError::WrongCredential { .. })) => return Ok(()),
            Some(Err(KeysError::Kms(error))) if error.trouble != KmsTrouble::WrongBlob => {
                let name = key_name(object.key, object.recipient).map_err(|error| describe(&error))?;
                self.findings.add(Severity::Info, FindingKind::KeyUnopened, name.as_str(), error.to_string());
                if let KmsTrouble::Unreachable { .. } = error.trouble {
                    away.insert(error.key.clone());
                }
                return Ok(());
            }
            Some(opened) => opened.map_err(|error| describe(&error))?,
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
        let known = match purpose {
            Purpose::Metadata => *self.state.metadata_keys.iter().find(|known| known.id == key)?,
            Purpose::Identity => policy.identity,
            Purpose::Vault => policy.vault,
            Purpose::Data | Purpose::Signing | Purpose::Root => return None,
        };
        (key == known.id).then_some(known.commitment)
    }

    /// Keys without which the repository does not open, or nobody can write or administer it.
    fn wraps_of_policy(
        &mut self,
        found: &BTreeMap<(KeyId, RecipientId), Purpose>,
    ) -> Result<(), RepositoryError> {
        let policy = self.state.policy.clone();
        let vault = RecipientId(policy.vault.id.0);
        let mut needed = vec![(policy.identity.id, vault, "the identity secret")];
        for metadata in &self.state.metadata_keys {
            needed.push((metadata.id, vault, "a metadata key"));
        }
        for recipient in &policy.recipients {
            let of_purpose = [
                (Purpose::Metadata, policy.metadata.id, "the metadata key"),
                (Purpose::Identity, policy.identity.id, "the identity secret"),
                (Purpose::Vault, policy.vault.id, "the vault"),
                (Purpose::Root, root_key_id(&policy.root), "the root key"),
            ];
            let wanted = of_purpose.into_iter().filter(|(purpose, _, _)| recipient.gets(*purpose));
            needed.extend(wanted.map(|(_, key, what)| (key, recipient.id, what)));
        }
        for (key, recipient, what) in needed {
            if !found.contains_key(&(key, recipient)) && !self.key_names.contains(&(key, recipient)) {
                let detail = format!("{what} is not wrapped for this recipient any more");
                self.damage(FindingKind::KeyMissing, key_name(key, recipient)?.as_str(), detail);
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
