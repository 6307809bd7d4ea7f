//! Making a repository: keys first, then `config`, then entry 0. It exists once entry 0 does.

use std::sync::Arc;

use strongroom_format::config::Config;
use strongroom_format::entry::{JournalEntry, PolicyBody, Statement};
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{self, Policy};
use strongroom_format::registry::{ObjectKind, Purpose, RecipientType, Roles, Trust};
use strongroom_format::{KeyId, PublicKey, RepositoryId, Salt, WriterId, body};
use strongroom_keys::derive::{commitment, content_hash};
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::{Signer, sign_policy};
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, x25519_public};
use strongroom_keys::{KeysError, Secret};
use strongroom_store::{ObjectName, PutOutcome, Store, StoreError};

use crate::error::RepositoryError;
use crate::names;
use crate::open::vault_recipient;
use crate::repository::fingerprint;

/// Makes a repository in an empty store, its vault and root key wrapped for each of `recipients`. `host` names
/// the first signer, who gets every role. Gives the fingerprint.
///
/// # Errors
/// `AlreadyARepository`, `UnfinishedInit`; `Store`, `Seal`.
pub fn init(
    store: &Arc<dyn Store>,
    recipients: &[WrapTo],
    host: &str,
    random: &dyn Random,
) -> Result<String, RepositoryError> {
    match store.stat(&names::config()?) {
        Ok(_) => {
            return Err(match store.stat(&names::entry(0)?) {
                Err(StoreError::NotFound { .. }) => {
                    RepositoryError::UnfinishedInit { location: store.location() }
                }
                Ok(_) => RepositoryError::AlreadyARepository { location: store.location() },
                Err(error) => error.into(),
            });
        }
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let sealing = |source| RepositoryError::Seal { what: "the keys of the new repository", source };
    let keys = NewKeys::generate(random).map_err(sealing)?;
    keys.store(&**store, recipients, random)?;
    let config = Config { repository: keys.repository, root: keys.root_signer.public() }.encode();
    if put(&**store, &names::config()?, &config)? == PutOutcome::AlreadyExists {
        return Err(RepositoryError::AlreadyARepository { location: store.location() });
    }
    let policy = keys.policy(recipients, host).map_err(sealing)?.encode();
    let root_signature = sign_policy(&keys.root_signer, keys.repository, &policy);
    let entry = JournalEntry {
        number: 0,
        base: 0,
        previous: content_hash(&config),
        previous_time_ms: store.stat(&names::config()?)?.modified_ms,
        statement: Statement::Policy(PolicyBody { policy, root_signature }),
    };
    let name = names::entry(0)?;
    let metadata = MetadataKey::new(keys.metadata.id, keys.repository, &keys.metadata.secret);
    let salt = Salt(random::array(random).map_err(sealing)?);
    let bytes = metadata
        .seal(ObjectKind::Entry, name.as_str(), body::ENTRY_FLOOR_BYTES, &entry.encode(), &keys.signer, salt)
        .map_err(sealing)?;
    match put(&**store, &name, &bytes)? {
        PutOutcome::Created => Ok(fingerprint(&content_hash(&config))),
        PutOutcome::AlreadyExists => Err(RepositoryError::AlreadyARepository { location: store.location() }),
    }
}

/// Creates an object. After an ambiguous answer it is read back: one's own bytes are success.
fn put(store: &dyn Store, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
    match store.put_if_absent(name, bytes) {
        Err(error) if !error.is_without_effect() => match store.get(name, bytes.len() as u64) {
            Ok(stored) if stored == bytes => Ok(PutOutcome::Created),
            _ => Err(error),
        },
        other => other,
    }
}

struct NewKeys {
    repository: RepositoryId,
    vault: NamedKey,
    vault_public: PublicKey,
    metadata: NamedKey,
    identity: NamedKey,
    signing: NamedKey,
    root: NamedKey,
    signer: Signer,
    root_signer: Signer,
}

impl NewKeys {
    fn generate(random: &dyn Random) -> Result<Self, KeysError> {
        let new = |purpose| -> Result<NamedKey, KeysError> {
            Ok(NamedKey {
                id: KeyId(random::array(random)?),
                purpose,
                secret: Secret::new(random::array(random)?),
            })
        };
        let (vault, signing, root) = (new(Purpose::Vault)?, new(Purpose::Signing)?, new(Purpose::Root)?);
        Ok(Self {
            repository: RepositoryId(random::array(random)?),
            vault_public: x25519_public(&vault.secret)?,
            vault,
            metadata: new(Purpose::Metadata)?,
            identity: new(Purpose::Identity)?,
            signer: Signer::new(WriterId(signing.id.0), &signing.secret),
            root_signer: Signer::new(WriterId(root.id.0), &root.secret),
            signing,
            root,
        })
    }

    fn store(
        &self,
        store: &dyn Store,
        recipients: &[WrapTo],
        random: &dyn Random,
    ) -> Result<(), RepositoryError> {
        let vault = WrapTo::X25519 { recipient: vault_recipient(self.vault.id), public: self.vault_public };
        let direct =
            recipients.iter().flat_map(|recipient| [(&self.vault, recipient), (&self.root, recipient)]);
        let through_vault = [&self.metadata, &self.identity, &self.signing].map(|key| (key, &vault));
        for (key, recipient) in direct.chain(through_vault) {
            let signed = recipient
                .wrap(key, self.repository, &self.signer, random)
                .map_err(|source| RepositoryError::Seal { what: "a wrapped key", source })?;
            let _ = put(store, &key_name(key.id, recipient.recipient())?, &signed.encode())?;
        }
        Ok(())
    }

    fn policy(&self, recipients: &[WrapTo], host: &str) -> Result<Policy, KeysError> {
        let reference = |key: &NamedKey| KeyRef {
            id: key.id,
            commitment: commitment(&key.secret, self.repository, key.id, key.purpose),
        };
        Ok(Policy {
            sequence: 0,
            root: self.root_signer.public(),
            signers: vec![policy::Signer {
                id: self.signer.id(),
                public: self.signer.public(),
                roles: Roles::ALL,
                sources: vec!["*".into()],
                name: host.to_owned(),
            }],
            recipients: recipients
                .iter()
                .map(|recipient| policy::Recipient {
                    kind: recipient.kind(),
                    id: recipient.recipient(),
                    purposes: 1 << Purpose::Vault.number() | 1 << Purpose::Root.number(),
                    public: Vec::new(),
                    label: match recipient.kind() {
                        RecipientType::Passphrase => "passphrase".into(),
                        RecipientType::KeyFile => "key file".into(),
                        RecipientType::X25519 => "X25519 key".into(),
                        RecipientType::AwsKms => "AWS KMS key".into(),
                    },
                })
                .collect(),
            required_features: Vec::new(),
            metadata: reference(&self.metadata),
            identity: reference(&self.identity),
            vault: reference(&self.vault),
            vault_public: self.vault_public,
            trust: Trust::Attested,
            forgotten: Vec::new(),
        })
    }
}
