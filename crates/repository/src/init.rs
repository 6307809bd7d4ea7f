//! Making a repository: keys first, then `config`, then entry 0. It exists once entry 0 does.

use std::sync::Arc;

use strongroom_format::config::Config;
use strongroom_format::entry::{JournalEntry, PolicyBody, Statement};
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{self, ObjectLock, Policy};
use strongroom_format::registry::{ObjectKind, Purpose, Roles, Trust};
use strongroom_format::{KeyId, PublicKey, RepositoryId, Salt, WriterId, body};
use strongroom_keys::derive::{commitment, content_hash, root_key_id};
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::{Signer, sign_policy};
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, x25519_public};
use strongroom_keys::{KeysError, Secret};
use strongroom_store::{ObjectName, PutOutcome, Store, StoreError};

use crate::administration::{label, purposes_of_admin};
use crate::error::RepositoryError;
use crate::names;
use crate::open::{object_lock, vault_recipient};
use crate::repository::fingerprint;

/// What a new repository is to be.
#[derive(Debug, Clone, Copy)]
pub struct InitOptions<'a> {
    /// The name of the first signer, who gets every role.
    pub host: &'a str,
    /// For how long stores are to keep objects from being deleted.
    pub object_lock: Option<ObjectLock>,
    /// Recovery blocks that are to be stored for each pack, percent of its blocks: 0 (none) to 100.
    pub parity: u8,
}

/// A new repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// For clients to pin.
    pub fingerprint: String,
    /// For access policies to name.
    pub repository: RepositoryId,
}

impl<'a> InitOptions<'a> {
    /// With a first signer of this name, and nothing else.
    #[must_use]
    pub fn of_host(host: &'a str) -> Self {
        Self { host, object_lock: None, parity: 0 }
    }
}

/// Makes a repository in an empty store, which every one of `recipients` can open and administer. Gives the
/// fingerprint and ID.
///
/// # Errors
/// `AlreadyARepository`, `UnfinishedInit`; `Store`, `Seal`.
pub fn init(
    store: &Arc<dyn Store>,
    recipients: &[WrapTo],
    options: InitOptions<'_>,
    random: &dyn Random,
) -> Result<Made, RepositoryError> {
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
    if let Some(lock) = &options.object_lock {
        let retention =
            store.retention().ok_or_else(|| RepositoryError::CannotLock { location: store.location() })?;
        retention.set(Some(object_lock(lock)));
    }
    let sealing = |source| RepositoryError::Seal { what: "the keys of the new repository", source };
    let keys = NewKeys::generate(random).map_err(sealing)?;
    keys.store(&**store, recipients, random)?;
    let config = Config { repository: keys.repository, root: keys.root_signer.public() }.encode();
    if put(&**store, &names::config()?, &config)? == PutOutcome::AlreadyExists {
        return Err(RepositoryError::AlreadyARepository { location: store.location() });
    }
    let policy = keys.policy(recipients, options).map_err(sealing)?.encode();
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
        PutOutcome::Created => {
            Ok(Made { fingerprint: fingerprint(&content_hash(&config)), repository: keys.repository })
        }
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
        let (vault, signing, mut root) = (new(Purpose::Vault)?, new(Purpose::Signing)?, new(Purpose::Root)?);
        let root_signer = Signer::new(WriterId(root.id.0), &root.secret);
        root.id = root_key_id(&root_signer.public());
        Ok(Self {
            repository: RepositoryId(random::array(random)?),
            vault_public: x25519_public(&vault.secret)?,
            vault,
            metadata: new(Purpose::Metadata)?,
            identity: new(Purpose::Identity)?,
            signer: Signer::new(WriterId(signing.id.0), &signing.secret),
            root_signer,
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
        let keys = [&self.vault, &self.root, &self.signing, &self.metadata, &self.identity];
        let direct = recipients.iter().flat_map(|recipient| {
            let purposes = purposes_of_admin(recipient.kind());
            let gets = move |key: &&NamedKey| purposes & (1 << key.purpose.number()) != 0;
            keys.into_iter().filter(gets).map(move |key| (key, recipient))
        });
        // Not the signing key: whoever restores must not be able to sign.
        let through_vault = [&self.metadata, &self.identity].map(|key| (key, &vault));
        for (key, recipient) in direct.chain(through_vault) {
            let signed = recipient
                .wrap(key, self.repository, &self.signer, random)
                .map_err(|source| RepositoryError::Seal { what: "a wrapped key", source })?;
            let _ = put(store, &key_name(key.id, recipient.recipient())?, &signed.encode())?;
        }
        Ok(())
    }

    fn policy(&self, recipients: &[WrapTo], options: InitOptions<'_>) -> Result<Policy, KeysError> {
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
                name: options.host.to_owned(),
            }],
            recipients: recipients
                .iter()
                .map(|recipient| policy::Recipient {
                    kind: recipient.kind(),
                    id: recipient.recipient(),
                    purposes: purposes_of_admin(recipient.kind()),
                    public: recipient.public(),
                    label: label(recipient.kind()).to_owned(),
                    writer: None,
                })
                .collect(),
            required_features: Vec::new(),
            metadata: reference(&self.metadata),
            identity: reference(&self.identity),
            vault: reference(&self.vault),
            vault_public: self.vault_public,
            trust: Trust::Attested,
            forgotten: Vec::new(),
            settled: 0,
            object_lock: options.object_lock,
            deltas: true,
            base_keys: 0,
            parity: options.parity,
        })
    }
}
