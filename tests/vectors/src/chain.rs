//! A repository put together by hand, so that it can say what no writer would: fixed keys, and a journal that grows by
//! one stored entry after another.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use strongroom_format::config::Config;
use strongroom_format::entry::{JournalEntry, PolicyBody, Statement};
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{self, Policy};
use strongroom_format::registry::{ObjectKind, Purpose, Roles, Trust};
use strongroom_format::{ContentHash, KeyId, RecipientId, Salt, WriterId, body};
use strongroom_keys::Secret;
use strongroom_keys::derive::{chain, commitment, content_hash};
use strongroom_keys::random::{self, SeededRandom};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::{Signer, sign_policy};
use strongroom_keys::wrap::{NamedKey, WrapTo, x25519_public};

use crate::fixed::{self, REPOSITORY};

const IDENTITY_ID: KeyId = KeyId([11; 16]);
const VAULT_ID: KeyId = KeyId([14; 16]);
/// The store's time of every object, ms since 1970, is this and its entry's number.
const TIME_MS: u64 = 1_767_225_600_000;

/// What is stored: name → bytes.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// The bytes of the key file that opens the repository.
pub(crate) fn key_file() -> Secret {
    Secret::new([18; 32])
}

/// The X25519 private key of somebody who may read everything.
pub(crate) fn recovery_key() -> Secret {
    Secret::new([17; 32])
}

/// The X25519 private key of a host that may write and list only.
pub(crate) fn host_key() -> Secret {
    Secret::new([20; 32])
}

/// Objects as a file of vectors has them.
pub(crate) fn to_json(objects: &Objects) -> Value {
    objects.iter().map(|(name, bytes)| (name.clone(), Value::from(hex::encode(bytes)))).collect()
}

/// The name of an entry.
pub(crate) fn entry_name(number: u64) -> String {
    format!("journal/{number:016x}")
}

/// Who signs, besides the owner ([`fixed::author`]), who may do everything.
pub(crate) fn signer(byte: u8) -> Signer {
    Signer::new(WriterId([byte; 16]), &Secret::new([byte; 32]))
}

/// May write the source `web`.
pub(crate) fn web() -> Signer {
    signer(8)
}

/// Is listed, and has no role.
pub(crate) fn idle() -> Signer {
    signer(6)
}

/// Is not listed.
pub(crate) fn stranger() -> Signer {
    signer(5)
}

pub(crate) fn root() -> Signer {
    signer(9)
}

/// A repository under construction.
pub(crate) struct Chain {
    pub(crate) objects: Objects,
    pub(crate) policy: Policy,
    pub(crate) random: SeededRandom,
    /// The number of the entry that comes next.
    pub(crate) next: u64,
    /// The chain up to the last entry.
    pub(crate) previous: ContentHash,
    metadata: MetadataKey,
}

impl Chain {
    /// A repository whose first policy lists the owner, [`web`] and [`idle`]. It opens with the key file and the recovery
    /// key; the host's key opens what it needs to list.
    pub(crate) fn new(seed: &[u8]) -> Result<Self> {
        let random = SeededRandom::new(seed);
        let (config, vault_key) =
            (Config { repository: REPOSITORY, root: root().public() }.encode(), Secret::new([4; 32]));
        let mut objects = Objects::new();
        let to_vault = vault(&vault_key)?;
        let (recovery, host) =
            (WrapTo::x25519(x25519_public(&recovery_key())?), WrapTo::x25519(x25519_public(&host_key())?));
        for (key, to) in [
            (named(IDENTITY_ID, Purpose::Identity, 1), &to_vault),
            (named(fixed::METADATA_ID, Purpose::Metadata, 2), &to_vault),
            (named(fixed::DATA_ID, Purpose::Data, 3), &to_vault),
            (named(VAULT_ID, Purpose::Vault, 4), &WrapTo::KeyFile { key: key_file() }),
            (named(VAULT_ID, Purpose::Vault, 4), &recovery),
            (named(IDENTITY_ID, Purpose::Identity, 1), &host),
            (named(fixed::METADATA_ID, Purpose::Metadata, 2), &host),
        ] {
            wrap(&mut objects, &key, to, &random)?;
        }
        let policy = first_policy(&vault_key, &[&recovery, &host])?;
        let previous = content_hash(&config);
        objects.insert("config".into(), config);
        let mut chain = Self { objects, policy, random, next: 0, previous, metadata: fixed::metadata() };
        chain.append(chain.policy_statement(&chain.policy))?;
        Ok(chain)
    }

    /// Puts a new metadata key in force: its wraps, then the policy, which is sealed under the old one.
    pub(crate) fn rotate(&mut self, id: KeyId, byte: u8) -> Result<()> {
        let (key, vault_key) = (named(id, Purpose::Metadata, byte), Secret::new([4; 32]));
        for to in [vault(&vault_key)?, WrapTo::x25519(x25519_public(&host_key())?)] {
            wrap(&mut self.objects, &key, &to, &self.random)?;
        }
        self.policy.sequence += 1;
        self.policy.metadata = key_ref(id, Purpose::Metadata, byte);
        self.append(self.policy_statement(&self.policy))?;
        self.metadata = MetadataKey::new(id, REPOSITORY, &key.secret);
        Ok(())
    }

    /// The entry that would come next.
    pub(crate) fn entry(&self, statement: Statement) -> JournalEntry {
        JournalEntry {
            number: self.next,
            base: self.next.saturating_sub(1),
            previous: self.previous,
            previous_time_ms: TIME_MS + self.next,
            statement,
        }
    }

    /// Seals what `signer` says under the next entry's name.
    pub(crate) fn seal(&self, content: &[u8], signer: &Signer) -> Result<Vec<u8>> {
        let salt = Salt(random::array(&self.random)?);
        let name = entry_name(self.next);
        Ok(self.metadata.seal(ObjectKind::Entry, &name, body::ENTRY_FLOOR_BYTES, content, signer, salt)?)
    }

    /// Stores these bytes as the next entry, whatever they are.
    pub(crate) fn append_bytes(&mut self, bytes: Vec<u8>) {
        self.previous = chain(self.previous, content_hash(&bytes));
        self.objects.insert(entry_name(self.next), bytes);
        self.next += 1;
    }

    /// Stores an entry of `signer`.
    pub(crate) fn append_by(&mut self, entry: &JournalEntry, signer: &Signer) -> Result<()> {
        let bytes = self.seal(&entry.encode(), signer)?;
        self.append_bytes(bytes);
        Ok(())
    }

    /// Stores an entry of the owner.
    pub(crate) fn append(&mut self, statement: Statement) -> Result<()> {
        let entry = self.entry(statement);
        self.append_by(&entry, &fixed::author())
    }

    /// A policy that the root key signed.
    pub(crate) fn policy_statement(&self, policy: &Policy) -> Statement {
        let policy = policy.encode();
        let root_signature = sign_policy(&root(), REPOSITORY, &policy);
        Statement::Policy(PolicyBody { policy, root_signature })
    }
}

fn vault(private: &Secret) -> Result<WrapTo> {
    Ok(WrapTo::X25519 { recipient: RecipientId(VAULT_ID.0), public: x25519_public(private)? })
}

fn wrap(objects: &mut Objects, key: &NamedKey, to: &WrapTo, random: &SeededRandom) -> Result<()> {
    let stored = to.wrap(key, REPOSITORY, &fixed::author(), random)?.encode();
    objects.insert(format!("keys/{}/{}", key.id, to.recipient()), stored);
    Ok(())
}

fn named(id: KeyId, purpose: Purpose, byte: u8) -> NamedKey {
    NamedKey { id, purpose, secret: Secret::new([byte; 32]) }
}

fn key_ref(id: KeyId, purpose: Purpose, byte: u8) -> KeyRef {
    KeyRef { id, commitment: commitment(&Secret::new([byte; 32]), REPOSITORY, id, purpose) }
}

fn first_policy(vault: &Secret, recipients: &[&WrapTo; 2]) -> Result<Policy> {
    let recipient = |to: &WrapTo, purposes: &[Purpose], label: &str, writer| policy::Recipient {
        kind: to.kind(),
        id: to.recipient(),
        purposes: purposes.iter().map(|purpose| 1 << purpose.number()).sum(),
        public: to.public(),
        label: label.into(),
        writer,
    };
    let [recovery, host] = recipients;
    let of_host = [Purpose::Metadata, Purpose::Identity];
    let listed = |signer: &Signer, roles, source: &str| policy::Signer {
        id: signer.id(),
        public: signer.public(),
        roles,
        sources: vec![source.into()],
        name: source.into(),
    };
    Ok(Policy {
        sequence: 0,
        root: root().public(),
        signers: vec![
            listed(&fixed::author(), Roles::ALL, "*"),
            listed(&web(), Roles::WRITE, "web"),
            listed(&idle(), Roles(0), "*"),
        ],
        recipients: vec![
            recipient(&WrapTo::KeyFile { key: key_file() }, &[Purpose::Vault], "key file", None),
            recipient(recovery, &[Purpose::Vault], "recovery", None),
            recipient(host, &of_host, "web", Some(web().id())),
        ],
        required_features: Vec::new(),
        metadata: key_ref(fixed::METADATA_ID, Purpose::Metadata, 2),
        identity: key_ref(IDENTITY_ID, Purpose::Identity, 1),
        vault: key_ref(VAULT_ID, Purpose::Vault, 4),
        vault_public: x25519_public(vault)?,
        trust: Trust::Attested,
        forgotten: Vec::new(),
        settled: 0,
        object_lock: None,
        deltas: true,
        base_keys: 0,
        parity: 0,
    })
}
