//! `keys/<key>/<recipient>`: one key wrapped for one recipient (`format-spec/objects.md#key`).

use crate::cbor::{Decoder, Encoder};
use crate::registry::{Purpose, RecipientType};
use crate::{Commitment, FormatError, KeyId, RecipientId, Salt, Signature, WriterId};

/// Longest key object a reader accepts, bytes.
pub const KEY_LIMIT_BYTES: u64 = 16 << 10;

/// Longest ARN.
const ARN_LIMIT_BYTES: usize = 2048;
/// Longest blob of AWS KMS.
const BLOB_LIMIT_BYTES: usize = 6144;

/// Argon2id parameters (RFC 9106).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argon2Parameters {
    /// Salt, shared by all keys wrapped for the same passphrase at the same time.
    pub salt: [u8; 16],
    /// Memory, KiB; readers accept 8 × lanes to 1 GiB.
    pub memory_kib: u32,
    /// Passes; readers accept 1 to 10.
    pub passes: u32,
    /// Lanes; readers accept 1 to 16.
    pub lanes: u32,
}

impl Argon2Parameters {
    fn validate(&self) -> Result<(), FormatError> {
        let check = |what, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(FormatError::Limit { what, value: value.into(), limit: high.into() })
            }
        };
        check("Argon2 lanes", self.lanes, 1, 16)?;
        check("Argon2 passes", self.passes, 1, 10)?;
        check("Argon2 memory", self.memory_kib, 8 * self.lanes, 1 << 20)
    }
}

/// A 32-byte key, wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrap {
    /// Under a passphrase.
    Passphrase {
        /// How the passphrase is stretched.
        argon2: Argon2Parameters,
        /// Fresh for every wrap.
        salt: Salt,
        /// Commits to the wrap key.
        commitment: Commitment,
        /// Ciphertext and tag.
        sealed: [u8; 48],
    },
    /// Under the bytes of a key file.
    KeyFile {
        /// Fresh for every wrap.
        salt: Salt,
        /// Commits to the wrap key.
        commitment: Commitment,
        /// Ciphertext and tag.
        sealed: [u8; 48],
    },
    /// HPKE (RFC 9180, base mode) to an X25519 public key.
    X25519 {
        /// The encapsulated key.
        encapsulated: [u8; 32],
        /// Ciphertext and tag.
        sealed: [u8; 48],
    },
    /// By a KMS key of AWS.
    AwsKms {
        /// The key's ARN, 1 to 2048 bytes.
        arn: String,
        /// `sr:writer` of the encryption context: whose signing key it is, or who made the blob first.
        writer: WriterId,
        /// What KMS gave, 1 to 6144 bytes.
        blob: Vec<u8>,
    },
}

impl Wrap {
    /// The type of recipient it is for.
    #[must_use]
    pub fn recipient_type(&self) -> RecipientType {
        match self {
            Self::Passphrase { .. } => RecipientType::Passphrase,
            Self::KeyFile { .. } => RecipientType::KeyFile,
            Self::X25519 { .. } => RecipientType::X25519,
            Self::AwsKms { .. } => RecipientType::AwsKms,
        }
    }
}

/// What a key object says; see [`SignedKey`] for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyObject {
    /// The key.
    pub key: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// Commits to the key itself.
    pub commitment: Commitment,
    /// Whom it is wrapped for.
    pub recipient: RecipientId,
    /// The wrapped key.
    pub wrap: Wrap,
    /// Who wrapped it.
    pub signer: WriterId,
}

/// A key object's bytes as they are signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKey {
    /// [`KeyObject::encode`].
    pub body: Vec<u8>,
    /// Signs `body`.
    pub signature: Signature,
}

impl SignedKey {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.bytes(1, &self.body);
            map.bytes(2, &self.signature.0);
        });
        encoder.into_bytes()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Trailing`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut body, mut signature) = (None, None);
        let mut decoder = Decoder::new(bytes);
        decoder.map("key object", |key, value| {
            match key {
                1 => body = Some(value.bytes()?.to_vec()),
                2 => signature = Some(Signature::try_from(value.bytes()?)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        decoder.end("key object")?;
        Ok(Self {
            body: body.ok_or(FormatError::Missing { what: "key body" })?,
            signature: signature.ok_or(FormatError::Missing { what: "key signature" })?,
        })
    }
}

impl KeyObject {
    /// The signed bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.bytes(1, &self.key.0);
            map.uint(2, self.purpose.number().into());
            map.bytes(3, &self.commitment.0);
            map.uint(4, self.wrap.recipient_type().number().into());
            map.bytes(5, &self.recipient.0);
            map.bytes(6, &self.signer.0);
            let mut direct = |salt: &Salt, commitment: &Commitment| {
                map.bytes(7, &salt.0);
                map.bytes(8, &commitment.0);
            };
            match &self.wrap {
                Wrap::Passphrase { argon2, salt, commitment, sealed } => {
                    direct(salt, commitment);
                    map.bytes(9, sealed);
                    map.bytes(10, &argon2.salt);
                    map.uint(11, argon2.memory_kib.into());
                    map.uint(12, argon2.passes.into());
                    map.uint(13, argon2.lanes.into());
                }
                Wrap::KeyFile { salt, commitment, sealed } => {
                    direct(salt, commitment);
                    map.bytes(9, sealed);
                }
                Wrap::X25519 { encapsulated, sealed } => {
                    map.bytes(9, sealed);
                    map.bytes(14, encapsulated);
                }
                Wrap::AwsKms { arn, writer, blob } => {
                    map.text(15, arn);
                    map.bytes(16, &writer.0);
                    map.bytes(17, blob);
                }
            }
        });
        encoder.into_bytes()
    }

    /// Reads the signed bytes.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown` (purpose, recipient type), `Limit` (Argon2), `Rule`.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        let mut decoder = Decoder::new(body);
        decoder.map("key body", |key, value| fields.read(key, value))?;
        decoder.end("key body")?;
        fields.into_object()
    }
}

#[derive(Default)]
struct Fields {
    key: Option<KeyId>,
    purpose: Option<Purpose>,
    commitment: Option<Commitment>,
    recipient_type: Option<RecipientType>,
    recipient: Option<RecipientId>,
    signer: Option<WriterId>,
    salt: Option<Salt>,
    wrap_commitment: Option<Commitment>,
    sealed: Option<[u8; 48]>,
    argon2_salt: Option<[u8; 16]>,
    memory_kib: Option<u32>,
    passes: Option<u32>,
    lanes: Option<u32>,
    encapsulated: Option<[u8; 32]>,
    arn: Option<String>,
    writer: Option<WriterId>,
    blob: Option<Vec<u8>>,
}

impl Fields {
    fn read(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<bool, FormatError> {
        match key {
            1 => self.key = Some(KeyId::try_from(value.bytes()?)?),
            2 => self.purpose = Some(Purpose::try_from(value.uint()?)?),
            3 => self.commitment = Some(Commitment::try_from(value.bytes()?)?),
            4 => self.recipient_type = Some(RecipientType::try_from(value.uint()?)?),
            5 => self.recipient = Some(RecipientId::try_from(value.bytes()?)?),
            6 => self.signer = Some(WriterId::try_from(value.bytes()?)?),
            7 => self.salt = Some(Salt::try_from(value.bytes()?)?),
            8 => self.wrap_commitment = Some(Commitment::try_from(value.bytes()?)?),
            9 => self.sealed = Some(exact(value.bytes()?)?),
            10 => self.argon2_salt = Some(exact(value.bytes()?)?),
            11 => self.memory_kib = Some(small(value.uint()?)?),
            12 => self.passes = Some(small(value.uint()?)?),
            13 => self.lanes = Some(small(value.uint()?)?),
            14 => self.encapsulated = Some(exact(value.bytes()?)?),
            15 => self.arn = Some(value.text()?.to_owned()),
            16 => self.writer = Some(WriterId::try_from(value.bytes()?)?),
            17 => self.blob = Some(value.bytes()?.to_vec()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_object(self) -> Result<KeyObject, FormatError> {
        fn need<T>(value: Option<T>, what: &'static str) -> Result<T, FormatError> {
            value.ok_or(FormatError::Missing { what })
        }
        let direct = self.salt.is_some() || self.wrap_commitment.is_some();
        let argon = self.argon2_salt.is_some()
            || self.memory_kib.is_some()
            || self.passes.is_some()
            || self.lanes.is_some();
        let hpke = self.encapsulated.is_some();
        let kms = self.arn.is_some() || self.writer.is_some() || self.blob.is_some();
        let kind = need(self.recipient_type, "recipient type")?;
        let is_foreign = match kind {
            RecipientType::Passphrase => hpke || kms,
            RecipientType::KeyFile => argon || hpke || kms,
            RecipientType::X25519 => argon || direct || kms,
            RecipientType::AwsKms => argon || direct || hpke || self.sealed.is_some(),
        };
        if is_foreign {
            return Err(FormatError::Rule {
                what: "key body",
                rule: "it has the fields of its recipient type only",
            });
        }
        let sealed = || need(self.sealed, "wrapped key");
        let wrap = match kind {
            RecipientType::Passphrase => {
                let argon2 = Argon2Parameters {
                    salt: need(self.argon2_salt, "Argon2 salt")?,
                    memory_kib: need(self.memory_kib, "Argon2 memory")?,
                    passes: need(self.passes, "Argon2 passes")?,
                    lanes: need(self.lanes, "Argon2 lanes")?,
                };
                argon2.validate()?;
                Wrap::Passphrase {
                    argon2,
                    salt: need(self.salt, "wrap salt")?,
                    commitment: need(self.wrap_commitment, "wrap commitment")?,
                    sealed: sealed()?,
                }
            }
            RecipientType::KeyFile => Wrap::KeyFile {
                salt: need(self.salt, "wrap salt")?,
                commitment: need(self.wrap_commitment, "wrap commitment")?,
                sealed: sealed()?,
            },
            RecipientType::X25519 => {
                Wrap::X25519 { encapsulated: need(self.encapsulated, "encapsulated key")?, sealed: sealed()? }
            }
            RecipientType::AwsKms => {
                let (arn, blob) = (need(self.arn, "KMS key")?, need(self.blob, "KMS blob")?);
                within("length of the KMS key's ARN", arn.len(), ARN_LIMIT_BYTES)?;
                within("length of the KMS blob", blob.len(), BLOB_LIMIT_BYTES)?;
                Wrap::AwsKms { arn, writer: need(self.writer, "KMS writer")?, blob }
            }
        };
        Ok(KeyObject {
            key: need(self.key, "key ID")?,
            purpose: need(self.purpose, "key purpose")?,
            commitment: need(self.commitment, "key commitment")?,
            recipient: need(self.recipient, "recipient ID")?,
            wrap,
            signer: need(self.signer, "signer")?,
        })
    }
}

fn within(what: &'static str, length: usize, limit: usize) -> Result<(), FormatError> {
    if (1..=limit).contains(&length) {
        Ok(())
    } else {
        Err(FormatError::Limit { what, value: length as u64, limit: limit as u64 })
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], FormatError> {
    bytes
        .try_into()
        .map_err(|_| FormatError::Rule { what: "key body", rule: "byte strings have their exact length" })
}

fn small(value: u64) -> Result<u32, FormatError> {
    u32::try_from(value).map_err(|_| FormatError::Limit {
        what: "Argon2 parameter",
        value,
        limit: u32::MAX.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(wrap: Wrap) -> KeyObject {
        KeyObject {
            key: KeyId([1; 16]),
            purpose: Purpose::Vault,
            commitment: Commitment([2; 32]),
            recipient: RecipientId([3; 16]),
            wrap,
            signer: WriterId([4; 16]),
        }
    }

    #[test]
    fn each_wrap_round_trips() {
        let argon2 = Argon2Parameters { salt: [9; 16], memory_kib: 131_072, passes: 3, lanes: 4 };
        let wraps = [
            Wrap::Passphrase {
                argon2,
                salt: Salt([5; 32]),
                commitment: Commitment([6; 32]),
                sealed: [7; 48],
            },
            Wrap::KeyFile { salt: Salt([5; 32]), commitment: Commitment([6; 32]), sealed: [7; 48] },
            Wrap::X25519 { encapsulated: [8; 32], sealed: [7; 48] },
            Wrap::AwsKms {
                arn: "arn:aws:kms:eu-central-1:111122223333:key/k".into(),
                writer: WriterId([6; 16]),
                blob: vec![9; 184],
            },
        ];
        for wrap in wraps {
            let object = object(wrap);
            let signed = SignedKey { body: object.encode(), signature: Signature([9; 64]) };
            let signed = SignedKey::decode(&signed.encode()).unwrap();
            assert_eq!(KeyObject::decode(&signed.body), Ok(object));
        }
    }

    #[test]
    fn a_kms_blob_has_its_bounds() {
        for (arn, blob) in [(0, 1), (1, 0), (2049, 1), (1, 6145)] {
            let wrap = Wrap::AwsKms { arn: "a".repeat(arn), writer: WriterId([6; 16]), blob: vec![9; blob] };
            let decoded = KeyObject::decode(&object(wrap).encode());
            assert!(matches!(decoded, Err(FormatError::Limit { .. })), "{arn} {blob}");
        }
    }

    #[test]
    fn argon2_of_two_tebibytes_is_refused() {
        let argon2 = Argon2Parameters { salt: [9; 16], memory_kib: 2 << 30, passes: 3, lanes: 4 };
        let object = object(Wrap::Passphrase {
            argon2,
            salt: Salt([5; 32]),
            commitment: Commitment([6; 32]),
            sealed: [7; 48],
        });
        assert_eq!(
            KeyObject::decode(&object.encode()),
            Err(FormatError::Limit { what: "Argon2 memory", value: 2 << 30, limit: 1 << 20 })
        );
    }
}
