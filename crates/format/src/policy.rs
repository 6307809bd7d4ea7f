//! The policy: who signs what, for whom keys are wrapped, what readers must understand
//! (`format-spec/objects.md#policy`). Signed by the root key.

use crate::cbor::{Decoder, Encoder, MapEncoder};
use crate::pack::KeyRef;
use crate::parity::PARITY_LIMIT_PERCENT;
use crate::registry::{LockMode, Purpose, RecipientType, Roles, Trust};
use crate::{Commitment, FormatError, KeyId, PublicKey, RecipientId, SnapshotId, WriterId};

/// Features this crate understands; a policy may require only these.
pub const KNOWN_FEATURES: [&str; 0] = [];

/// Longest object lock: a century, which is what S3 takes.
const LOCK_LIMIT_DAYS: u32 = 36_500;

/// Most runs whose data keys a policy may let a host keep.
pub const BASE_KEYS_LIMIT: u8 = 64;

/// The number that says that no deltas are stored; that they may be is said by leaving it out.
const NO_DELTAS: u64 = 0;

/// One who may sign entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The signer; also the ID of its signing key.
    pub id: WriterId,
    /// Its Ed25519 public key.
    pub public: PublicKey,
    /// What it may do.
    pub roles: Roles,
    /// Sources it may write: names, or `*` for all.
    pub sources: Vec<String>,
    /// For people.
    pub name: String,
}

impl Signer {
    /// Whether it may write snapshots of `source`.
    #[must_use]
    pub fn may_write(&self, source: &str) -> bool {
        self.roles.holds(Roles::WRITE)
            && self.sources.iter().any(|allowed| allowed == "*" || allowed == source)
    }
}

/// One whom keys are wrapped for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// How keys are wrapped for it.
    pub kind: RecipientType,
    /// Its ID.
    pub id: RecipientId,
    /// A bit `1 << purpose` for every purpose it gets.
    pub purposes: u8,
    /// Its X25519 public key or ARN; empty for passphrases and key files.
    pub public: Vec<u8>,
    /// For people.
    pub label: String,
    /// The writer whose signing key it gets, where it is one host's own.
    pub writer: Option<WriterId>,
}

impl Recipient {
    /// Whether it gets keys of this purpose.
    #[must_use]
    pub fn gets(&self, purpose: Purpose) -> bool {
        self.purposes & (1 << purpose.number()) != 0
    }
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Counts up by one a policy.
    pub sequence: u64,
    /// The Ed25519 key that signs the next policy.
    pub root: PublicKey,
    /// Who may sign.
    pub signers: Vec<Signer>,
    /// Whom keys are wrapped for.
    pub recipients: Vec<Recipient>,
    /// Features a reader must understand.
    pub required_features: Vec<String>,
    /// The metadata key in force.
    pub metadata: KeyRef,
    /// The identity secret.
    pub identity: KeyRef,
    /// The vault's key.
    pub vault: KeyRef,
    /// The vault's X25519 public key.
    pub vault_public: PublicKey,
    /// What writers deduplicate against.
    pub trust: Trust,
    /// Snapshots that a revocation forgets.
    pub forgotten: Vec<SnapshotId>,
    /// Entries up to this one that are void or do not open have been looked at: they are settled as void.
    pub settled: u64,
    /// For how long stores that can keep objects from being deleted are to do so.
    pub object_lock: Option<ObjectLock>,
    /// Whether writers may store new chunks as what differs from an earlier snapshot.
    pub deltas: bool,
    /// The data keys of how many of its own last runs a host may keep that has no right to read; 0 to 64.
    pub base_keys: u8,
    /// Recovery blocks that writers store for each pack, percent of its blocks; 0 (none) to 100.
    pub parity: u8,
}

/// How long objects are kept from being deleted or overwritten by anybody (S3 Object Lock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Whether somebody with a special right may lift it, or nobody at all.
    pub mode: LockMode,
    /// For packs and index objects, days from their creation or last extension.
    pub data_days: u32,
    /// For keys, journal and checkpoints, days from their creation.
    pub keys_days: u32,
}

impl Policy {
    /// The bytes that the root key signs.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, self.sequence);
            map.bytes(2, &self.root.0);
            map.field(3, |e| e.array(&self.signers, encode_signer));
            map.field(4, |e| e.array(&self.recipients, encode_recipient));
            map.field(5, |e| e.array(&self.required_features, |e, feature| e.text(feature)));
            key_field(map, 6, &self.metadata);
            key_field(map, 7, &self.identity);
            key_field(map, 8, &self.vault);
            map.bytes(9, &self.vault_public.0);
            map.uint(10, self.trust.number().into());
            map.field(11, |e| e.array(&self.forgotten, |e, id| e.bytes(&id.0)));
            if self.settled > 0 {
                map.uint(12, self.settled);
            }
            if let Some(lock) = &self.object_lock {
                map.field(13, |e| {
                    e.array_head(3);
                    e.uint(lock.mode.number().into());
                    e.uint(lock.data_days.into());
                    e.uint(lock.keys_days.into());
                });
            }
            if !self.deltas {
                map.uint(14, NO_DELTAS);
            }
            if self.base_keys > 0 {
                map.uint(15, self.base_keys.into());
            }
            if self.parity > 0 {
                map.uint(16, self.parity.into());
            }
        });
        encoder.into_bytes()
    }

    /// Reads the signed bytes.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown`, `Limit`; `Rule` for a signer that is listed twice, and for what is
    /// left out where it says nothing. Features are for [`Policy::unknown_feature`] to judge.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut sequence, mut root, mut signers, mut recipients, mut features) =
            (None, None, None, None, None);
        let (mut metadata, mut identity, mut vault, mut vault_public, mut trust, mut forgotten) =
            (None, None, None, None, None, None);
        let (mut settled, mut object_lock, mut deltas, mut base_keys, mut parity) = (0, None, true, 0, 0);
        let mut decoder = Decoder::new(bytes);
        decoder.map("policy", |key, value| {
            match key {
                1 => sequence = Some(value.uint()?),
                2 => root = Some(PublicKey::try_from(value.bytes()?)?),
                3 => signers = Some(value.array(decode_signer)?),
                4 => recipients = Some(value.array(decode_recipient)?),
                5 => features = Some(value.array(|v| v.text().map(str::to_owned))?),
                6 => metadata = Some(decode_key(value)?),
                7 => identity = Some(decode_key(value)?),
                8 => vault = Some(decode_key(value)?),
                9 => vault_public = Some(PublicKey::try_from(value.bytes()?)?),
                10 => trust = Some(Trust::try_from(value.uint()?)?),
                11 => forgotten = Some(value.array(|v| SnapshotId::try_from(v.bytes()?))?),
                12 => {
                    settled = value.uint()?;
                    if settled == 0 {
                        return Err(FormatError::Rule {
                            what: "policy",
                            rule: "nothing settled is left out",
                        });
                    }
                }
                13 => object_lock = Some(decode_lock(value)?),
                14 => deltas = decode_deltas(value.uint()?)?,
                15 => base_keys = decode_base_keys(value.uint()?)?,
                16 => parity = decode_parity(value.uint()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        decoder.end("policy")?;
        let missing = |what| FormatError::Missing { what };
        let signers: Option<Vec<Signer>> = signers;
        if signers
            .iter()
            .flatten()
            .enumerate()
            .any(|(at, signer)| signers.iter().flatten().take(at).any(|other| other.id == signer.id))
        {
            return Err(FormatError::Rule { what: "policy", rule: "a signer is listed once" });
        }
        Ok(Self {
            sequence: sequence.ok_or(missing("policy sequence"))?,
            root: root.ok_or(missing("root public key"))?,
            signers: signers.ok_or(missing("signers"))?,
            recipients: recipients.ok_or(missing("recipients"))?,
            required_features: features.ok_or(missing("required features"))?,
            metadata: metadata.ok_or(missing("metadata key"))?,
            identity: identity.ok_or(missing("identity secret"))?,
            vault: vault.ok_or(missing("vault"))?,
            vault_public: vault_public.ok_or(missing("vault public key"))?,
            trust: trust.ok_or(missing("deduplication trust"))?,
            forgotten: forgotten.ok_or(missing("forgotten snapshots"))?,
            settled,
            object_lock,
            deltas,
            base_keys,
            parity,
        })
    }

    /// The first required feature that this version does not know.
    #[must_use]
    pub fn unknown_feature(&self) -> Option<&str> {
        self.required_features.iter().map(String::as_str).find(|feature| !KNOWN_FEATURES.contains(feature))
    }

    /// The signer with this ID.
    #[must_use]
    pub fn signer(&self, id: WriterId) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.id == id)
    }
}

fn encode_signer(encoder: &mut Encoder, signer: &Signer) {
    encoder.map(|map| {
        map.bytes(1, &signer.id.0);
        map.bytes(2, &signer.public.0);
        map.uint(3, signer.roles.0.into());
        map.field(4, |e| e.array(&signer.sources, |e, source| e.text(source)));
        map.text(5, &signer.name);
    });
}

fn decode_signer(decoder: &mut Decoder<'_>) -> Result<Signer, FormatError> {
    let (mut id, mut public, mut roles, mut sources, mut name) = (None, None, None, None, None);
    decoder.map("signer", |key, value| {
        match key {
            1 => id = Some(WriterId::try_from(value.bytes()?)?),
            2 => public = Some(PublicKey::try_from(value.bytes()?)?),
            3 => roles = Some(Roles(bits("roles", value.uint()?, Roles::ALL.0)?)),
            4 => sources = Some(value.array(|v| v.text().map(str::to_owned))?),
            5 => name = Some(value.text()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |what| FormatError::Missing { what };
    Ok(Signer {
        id: id.ok_or(missing("signer ID"))?,
        public: public.ok_or(missing("signer's public key"))?,
        roles: roles.ok_or(missing("signer's roles"))?,
        sources: sources.ok_or(missing("signer's sources"))?,
        name: name.ok_or(missing("signer's name"))?,
    })
}

fn encode_recipient(encoder: &mut Encoder, recipient: &Recipient) {
    encoder.map(|map| {
        map.uint(1, recipient.kind.number().into());
        map.bytes(2, &recipient.id.0);
        map.uint(3, recipient.purposes.into());
        map.bytes(4, &recipient.public);
        map.text(5, &recipient.label);
        if let Some(writer) = recipient.writer {
            map.bytes(6, &writer.0);
        }
    });
}

fn decode_recipient(decoder: &mut Decoder<'_>) -> Result<Recipient, FormatError> {
    let (mut kind, mut id, mut purposes, mut public, mut label, mut writer) =
        (None, None, None, None, None, None);
    decoder.map("recipient", |key, value| {
        match key {
            1 => kind = Some(RecipientType::try_from(value.uint()?)?),
            2 => id = Some(RecipientId::try_from(value.bytes()?)?),
            3 => purposes = Some(bits("purposes", value.uint()?, 0x7e)?),
            4 => public = Some(value.bytes()?.to_vec()),
            5 => label = Some(value.text()?.to_owned()),
            6 => writer = Some(WriterId::try_from(value.bytes()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |what| FormatError::Missing { what };
    Ok(Recipient {
        kind: kind.ok_or(missing("recipient type"))?,
        id: id.ok_or(missing("recipient ID"))?,
        purposes: purposes.ok_or(missing("recipient's purposes"))?,
        public: public.ok_or(missing("recipient's public key"))?,
        label: label.ok_or(missing("recipient's label"))?,
        writer,
    })
}

fn decode_lock(decoder: &mut Decoder<'_>) -> Result<ObjectLock, FormatError> {
    let days = |value: u64| {
        u32::try_from(value).ok().filter(|days| (1..=LOCK_LIMIT_DAYS).contains(days)).ok_or(
            FormatError::Limit { what: "days of the object lock", value, limit: LOCK_LIMIT_DAYS.into() },
        )
    };
    decoder.tuple(3, |v| {
        Ok(ObjectLock {
            mode: LockMode::try_from(v.uint()?)?,
            data_days: days(v.uint()?)?,
            keys_days: days(v.uint()?)?,
        })
    })
}

/// Only that there are to be none is ever written.
fn decode_deltas(value: u64) -> Result<bool, FormatError> {
    match value {
        NO_DELTAS => Ok(false),
        1 => Err(FormatError::Rule { what: "policy", rule: "that deltas are allowed is left out" }),
        _ => Err(FormatError::Unknown { what: "whether deltas are allowed", value }),
    }
}

fn decode_base_keys(value: u64) -> Result<u8, FormatError> {
    match u8::try_from(value) {
        Ok(0) => Err(FormatError::Rule { what: "policy", rule: "that no data keys are kept is left out" }),
        Ok(runs) if runs <= BASE_KEYS_LIMIT => Ok(runs),
        _ => Err(FormatError::Limit {
            what: "runs whose data keys are kept",
            value,
            limit: BASE_KEYS_LIMIT.into(),
        }),
    }
}

fn decode_parity(value: u64) -> Result<u8, FormatError> {
    match u8::try_from(value) {
        Ok(0) => Err(FormatError::Rule { what: "policy", rule: "that there is no parity is left out" }),
        Ok(percent) if percent <= PARITY_LIMIT_PERCENT => Ok(percent),
        _ => Err(FormatError::Limit {
            what: "percentage of parity",
            value,
            limit: PARITY_LIMIT_PERCENT.into(),
        }),
    }
}

fn bits(what: &'static str, value: u64, known: u8) -> Result<u8, FormatError> {
    u8::try_from(value).ok().filter(|value| value & !known == 0).ok_or(FormatError::Unknown { what, value })
}

fn key_field(map: &mut MapEncoder, field: u64, key: &KeyRef) {
    map.field(field, |e| encode_key(e, key));
}

/// Writes a key reference: `[key ID, commitment]`.
pub(crate) fn encode_key(encoder: &mut Encoder, key: &KeyRef) {
    encoder.array_head(2);
    encoder.bytes(&key.id.0);
    encoder.bytes(&key.commitment.0);
}

/// Reads a key reference.
pub(crate) fn decode_key(decoder: &mut Decoder<'_>) -> Result<KeyRef, FormatError> {
    decoder.tuple(2, |v| {
        Ok(KeyRef { id: KeyId::try_from(v.bytes()?)?, commitment: Commitment::try_from(v.bytes()?)? })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Policy {
        let key = |byte| KeyRef { id: KeyId([byte; 16]), commitment: Commitment([byte; 32]) };
        Policy {
            sequence: 0,
            root: PublicKey([1; 32]),
            signers: vec![Signer {
                id: WriterId([2; 16]),
                public: PublicKey([3; 32]),
                roles: Roles::ALL,
                sources: vec!["*".into()],
                name: "db1".into(),
            }],
            recipients: vec![Recipient {
                kind: RecipientType::KeyFile,
                id: RecipientId([4; 16]),
                purposes: 0x50,
                public: Vec::new(),
                label: "key file".into(),
                writer: Some(WriterId([2; 16])),
            }],
            required_features: Vec::new(),
            metadata: key(5),
            identity: key(6),
            vault: key(7),
            vault_public: PublicKey([8; 32]),
            trust: Trust::Attested,
            forgotten: vec![SnapshotId([9; 32])],
            settled: 7,
            object_lock: Some(ObjectLock { mode: LockMode::Compliance, data_days: 30, keys_days: 2555 }),
            deltas: false,
            base_keys: 7,
            parity: 5,
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Policy::decode(&example().encode()), Ok(example()));
    }

    #[test]
    fn what_is_as_usual_is_left_out() {
        let usual = Policy { deltas: true, base_keys: 0, parity: 0, ..example() };
        assert_eq!(Policy::decode(&usual.encode()), Ok(usual.clone()));
        // Fields 14 to 16, each a byte and its number.
        assert_eq!(usual.encode().len() + 6, example().encode().len());
        let last = |field, number| {
            let mut bytes = usual.encode();
            bytes[0] += 1;
            bytes.extend_from_slice(&[field, number]);
            Policy::decode(&bytes)
        };
        assert_eq!(last(14, 0), Ok(Policy { deltas: false, ..usual.clone() }));
        assert!(matches!(last(14, 1), Err(FormatError::Rule { .. })));
        assert!(matches!(last(14, 2), Err(FormatError::Unknown { value: 2, .. })));
        assert!(matches!(last(15, 0), Err(FormatError::Rule { .. })));
        assert_eq!(last(15, 1), Ok(Policy { base_keys: 1, ..usual.clone() }));
        let most = Policy { base_keys: BASE_KEYS_LIMIT, ..usual.clone() };
        assert_eq!(Policy::decode(&most.encode()), Ok(most));
        let over = Policy { base_keys: BASE_KEYS_LIMIT + 1, ..usual.clone() };
        assert!(matches!(Policy::decode(&over.encode()), Err(FormatError::Limit { value: 65, .. })));
        assert!(matches!(last(16, 0), Err(FormatError::Rule { .. })));
        assert_eq!(last(16, 1), Ok(Policy { parity: 1, ..usual.clone() }));
        let most = Policy { parity: PARITY_LIMIT_PERCENT, ..usual.clone() };
        assert_eq!(Policy::decode(&most.encode()), Ok(most));
        let over = Policy { parity: PARITY_LIMIT_PERCENT + 1, ..usual.clone() };
        assert!(matches!(Policy::decode(&over.encode()), Err(FormatError::Limit { value: 101, .. })));
    }

    #[test]
    fn unknown_required_features_are_named() {
        let policy = Policy { required_features: vec!["warp-drive".into()], ..example() };
        assert_eq!(Policy::decode(&policy.encode()).unwrap().unknown_feature(), Some("warp-drive"));
    }
}
