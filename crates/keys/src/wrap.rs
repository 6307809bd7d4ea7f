//! Wrapping a 32-byte key for a recipient (`format-spec/sealing.md#wraps`).

mod sealed_box;

use std::sync::Arc;

use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use strongroom_format::key_object::{Argon2Parameters, KeyObject, SignedKey, Wrap};
use strongroom_format::registry::{ObjectKind, Purpose, RecipientType};
use strongroom_format::{Commitment, KeyId, PublicKey, RecipientId, RepositoryId, Salt, WriterId};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use self::sealed_box::x25519_public;
use self::sealed_box::{hpke_open, hpke_seal};
use crate::derive::{commitment, derive, key_and_commitment};
use crate::kms::{EncryptionContext, Kms, KmsBlob};
use crate::random::{self, Random};
use crate::seal::{append_opened, append_sealed};
use crate::sign::{Signer, verify_object};
use crate::{KeysError, Secret};

const HPKE_INFO: &[u8] = b"strongroom 2026 v1 key wrap";

/// Argon2id costs of new passphrases: 128 MiB, 3 passes, 4 lanes.
pub const ARGON2_COSTS: Argon2Costs = Argon2Costs { memory_kib: 128 << 10, passes: 3, lanes: 4 };

/// How hard a passphrase is to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Costs {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// What is wrapped: its identity and value.
pub struct NamedKey {
    /// Its ID.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// Its value.
    pub secret: Secret,
}

/// Where a key is wrapped to, ready to wrap (a passphrase is stretched once).
pub enum WrapTo {
    /// A stretched passphrase.
    Passphrase {
        /// The recipient.
        recipient: RecipientId,
        /// How it was stretched.
        argon2: Argon2Parameters,
        /// The result.
        stretched: Secret,
    },
    /// A key file.
    KeyFile {
        /// Its bytes.
        key: Secret,
    },
    /// An X25519 public key: the vault's, for one.
    X25519 {
        /// The recipient.
        recipient: RecipientId,
        /// The public key.
        public: PublicKey,
    },
    /// A KMS key.
    AwsKms {
        /// Its ARN.
        arn: String,
        /// The service.
        kms: Arc<dyn Kms>,
    },
}

impl WrapTo {
    /// Stretches a new passphrase.
    ///
    /// # Errors
    /// `Random`, `Argon2`.
    pub fn passphrase(passphrase: &str, costs: Argon2Costs, random: &dyn Random) -> Result<Self, KeysError> {
        let argon2 = Argon2Parameters {
            salt: random::array(random)?,
            memory_kib: costs.memory_kib,
            passes: costs.passes,
            lanes: costs.lanes,
        };
        let stretched = stretch(passphrase, &argon2)?;
        Ok(Self::Passphrase { recipient: RecipientId(random::array(random)?), argon2, stretched })
    }

    /// A person's or host's X25519 public key.
    #[must_use]
    pub fn x25519(public: PublicKey) -> Self {
        Self::X25519 { recipient: x25519_recipient(&public), public }
    }

    /// A KMS key, by its ARN, ID or alias.
    ///
    /// # Errors
    /// `Kms`.
    pub fn aws_kms(key: &str, kms: Arc<dyn Kms>) -> Result<Self, KeysError> {
        Ok(Self::AwsKms { arn: kms.resolve(key)?, kms })
    }

    /// The recipient's ID.
    #[must_use]
    pub fn recipient(&self) -> RecipientId {
        match self {
            Self::Passphrase { recipient, .. } | Self::X25519 { recipient, .. } => *recipient,
            Self::KeyFile { key } => key_file_recipient(key),
            Self::AwsKms { arn, .. } => aws_kms_recipient(arn),
        }
    }

    /// What the policy says of it: its public key or ARN, empty where there is none.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Passphrase { .. } | Self::KeyFile { .. } => Vec::new(),
            Self::X25519 { public, .. } => public.0.to_vec(),
            Self::AwsKms { arn, .. } => arn.clone().into_bytes(),
        }
    }

    /// The recipient's type.
    #[must_use]
    pub fn kind(&self) -> RecipientType {
        match self {
            Self::Passphrase { .. } => RecipientType::Passphrase,
            Self::KeyFile { .. } => RecipientType::KeyFile,
            Self::X25519 { .. } => RecipientType::X25519,
            Self::AwsKms { .. } => RecipientType::AwsKms,
        }
    }

    /// Wraps `key`; the object is signed by `signer`.
    ///
    /// # Errors
    /// `Random`; `PublicKey` for an X25519 key of low order; `Kms`.
    pub fn wrap(
        &self,
        key: &NamedKey,
        repository: RepositoryId,
        signer: &Signer,
        random: &dyn Random,
    ) -> Result<SignedKey, KeysError> {
        let bound = Bound { repository, key: key.id, purpose: key.purpose, recipient: self.recipient() };
        let wrap = match self {
            Self::Passphrase { argon2, stretched, .. } => {
                let salt = Salt(random::array(random)?);
                let (commitment, sealed) = direct_seal(
                    &passphrase_key(stretched),
                    &bound.context(RecipientType::Passphrase, &salt, Some(argon2)),
                    &key.secret,
                )?;
                Wrap::Passphrase { argon2: argon2.clone(), salt, commitment, sealed }
            }
            Self::KeyFile { key: file } => {
                let salt = Salt(random::array(random)?);
                let (commitment, sealed) = direct_seal(
                    &key_file_key(file),
                    &bound.context(RecipientType::KeyFile, &salt, None),
                    &key.secret,
                )?;
                Wrap::KeyFile { salt, commitment, sealed }
            }
            Self::X25519 { public, .. } => hpke_seal(public, &bound.hpke_info(), &key.secret, random)?,
            Self::AwsKms { arn, kms } => {
                // A host is let at its own signing key by this ID; elsewhere it says who made the blob.
                let writer = if key.purpose == Purpose::Signing { WriterId(key.id.0) } else { signer.id() };
                let KmsBlob { arn, blob } = kms.encrypt(arn, &bound.kms_context(writer), &key.secret)?;
                Wrap::AwsKms { arn, writer, blob }
            }
        };
        let object = KeyObject {
            key: key.id,
            purpose: key.purpose,
            commitment: commitment(&key.secret, repository, key.id, key.purpose),
            recipient: self.recipient(),
            wrap,
            signer: signer.id(),
        };
        Ok(sign_key_object(&object, repository, signer))
    }
}

/// A fresh key out of a KMS key (AWS: `GenerateDataKey`), with its wrap.
///
/// # Errors
/// `Kms`, `Random`.
pub fn generate_with_kms(
    id: KeyId,
    purpose: Purpose,
    repository: RepositoryId,
    (arn, kms): (&str, &dyn Kms),
    signer: &Signer,
) -> Result<(NamedKey, SignedKey), KeysError> {
    let writer = signer.id();
    let (secret, blob) = kms.generate(arn, &EncryptionContext { repository, purpose, key: id, writer })?;
    let object = KeyObject {
        key: id,
        purpose,
        commitment: commitment(&secret, repository, id, purpose),
        recipient: aws_kms_recipient(&blob.arn),
        wrap: Wrap::AwsKms { arn: blob.arn, writer, blob: blob.blob },
        signer: writer,
    };
    Ok((NamedKey { id, purpose, secret }, sign_key_object(&object, repository, signer)))
}

/// The same key under another KMS key (AWS: `ReEncrypt`): nobody but the service sees it.
///
/// # Errors
/// `Kms`; `WrongKind` for a wrap of another type.
pub fn rewrap_with_kms(
    object: &KeyObject,
    repository: RepositoryId,
    (arn, kms): (&str, &dyn Kms),
    signer: &Signer,
) -> Result<SignedKey, KeysError> {
    let Wrap::AwsKms { arn: old, writer, blob } = &object.wrap else { return Err(KeysError::WrongKind) };
    let bound = Bound { repository, key: object.key, purpose: object.purpose, recipient: object.recipient };
    let blob = KmsBlob { arn: old.clone(), blob: blob.clone() };
    let KmsBlob { arn, blob } = kms.re_encrypt(&blob, &bound.kms_context(*writer), arn)?;
    let object = KeyObject {
        recipient: aws_kms_recipient(&arn),
        wrap: Wrap::AwsKms { arn, writer: *writer, blob },
        signer: signer.id(),
        ..object.clone()
    };
    Ok(sign_key_object(&object, repository, signer))
}

fn sign_key_object(object: &KeyObject, repository: RepositoryId, signer: &Signer) -> SignedKey {
    let body = object.encode();
    let signature = signer.sign_object(ObjectKind::Key, &[&repository.0, &body]);
    SignedKey { body, signature }
}

/// What opens a wrap.
pub enum Unwrap<'a> {
    /// A stretched passphrase.
    Passphrase(&'a Secret),
    /// A key file's bytes.
    KeyFile(&'a Secret),
    /// An X25519 private key.
    X25519(&'a Secret),
    /// A KMS.
    Kms(&'a dyn Kms),
}

impl Unwrap<'_> {
    /// Opens `object`; the key is compared with its commitment.
    ///
    /// # Errors
    /// `Commitment`, `Tampered`, `PublicKey`, `Kms`; `WrongKind` for a wrap of another type.
    pub fn unwrap(&self, object: &KeyObject, repository: RepositoryId) -> Result<Secret, KeysError> {
        let bound =
            Bound { repository, key: object.key, purpose: object.purpose, recipient: object.recipient };
        let secret = match (self, &object.wrap) {
            (Self::Passphrase(stretched), Wrap::Passphrase { argon2, salt, commitment, sealed }) => {
                direct_open(
                    &passphrase_key(stretched),
                    &bound.context(RecipientType::Passphrase, salt, Some(argon2)),
                    commitment,
                    sealed,
                )?
            }
            (Self::KeyFile(key), Wrap::KeyFile { salt, commitment, sealed }) => direct_open(
                &key_file_key(key),
                &bound.context(RecipientType::KeyFile, salt, None),
                commitment,
                sealed,
            )?,
            (Self::X25519(private), Wrap::X25519 { encapsulated, sealed }) => {
                hpke_open(private, &bound.hpke_info(), encapsulated, sealed)?
            }
            (Self::Kms(kms), Wrap::AwsKms { arn, writer, blob }) => {
                if aws_kms_recipient(arn) != object.recipient {
                    return Err(KeysError::WrongKind);
                }
                let blob = KmsBlob { arn: arn.clone(), blob: blob.clone() };
                kms.decrypt(&blob, &bound.kms_context(*writer))?
            }
            _ => return Err(KeysError::WrongKind),
        };
        let expected = commitment(&secret, repository, object.key, object.purpose);
        if bool::from(expected.0.ct_eq(&object.commitment.0)) {
            Ok(secret)
        } else {
            Err(KeysError::Commitment)
        }
    }
}

/// Decodes a key object and verifies its signature.
///
/// # Errors
/// `Format`, `Signature`, `PublicKey`.
pub fn verify_key_object(
    signed: &SignedKey,
    repository: RepositoryId,
    public: &PublicKey,
) -> Result<KeyObject, KeysError> {
    let object = KeyObject::decode(&signed.body)?;
    verify_object(public, ObjectKind::Key, &[&repository.0, &signed.body], &signed.signature)?;
    Ok(object)
}

/// Argon2id (RFC 9106) over the passphrase in Unicode normalization form C.
///
/// # Errors
/// `Argon2`.
pub fn stretch(passphrase: &str, parameters: &Argon2Parameters) -> Result<Secret, KeysError> {
    let normalized = Zeroizing::new(passphrase.nfc().collect::<String>());
    let costs = argon2::Params::new(parameters.memory_kib, parameters.passes, parameters.lanes, Some(32))
        .map_err(|_| KeysError::Argon2)?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, costs);
    let mut out = [0; 32];
    argon2
        .hash_password_into(normalized.as_bytes(), &parameters.salt, &mut out)
        .map_err(|_| KeysError::Argon2)?;
    Ok(Secret::new(out))
}

/// The recipient ID of a key file.
#[must_use]
pub fn key_file_recipient(key: &Secret) -> RecipientId {
    RecipientId(derive("strongroom 2026 v1 key file id", key.expose()))
}

/// The recipient ID of a person's or host's X25519 public key.
#[must_use]
pub fn x25519_recipient(public: &PublicKey) -> RecipientId {
    RecipientId(derive("strongroom 2026 v1 x25519 id", &public.0))
}

/// The recipient ID of a KMS key of AWS.
#[must_use]
pub fn aws_kms_recipient(arn: &str) -> RecipientId {
    RecipientId(derive("strongroom 2026 v1 kms key id", arn.as_bytes()))
}

struct Bound {
    repository: RepositoryId,
    key: KeyId,
    purpose: Purpose,
    recipient: RecipientId,
}

impl Bound {
    fn context(&self, kind: RecipientType, salt: &Salt, argon2: Option<&Argon2Parameters>) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        out.extend_from_slice(&self.repository.0);
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&[self.purpose.number(), kind.number()]);
        out.extend_from_slice(&self.recipient.0);
        out.extend_from_slice(&salt.0);
        if let Some(argon2) = argon2 {
            out.extend_from_slice(&argon2.salt);
            for cost in [argon2.memory_kib, argon2.passes, argon2.lanes] {
                out.extend_from_slice(&cost.to_le_bytes());
            }
        }
        out
    }

    fn kms_context(&self, writer: WriterId) -> EncryptionContext {
        EncryptionContext { repository: self.repository, purpose: self.purpose, key: self.key, writer }
    }

    fn hpke_info(&self) -> Vec<u8> {
        [HPKE_INFO, &self.repository.0, &self.key.0, &[self.purpose.number()]].concat()
    }
}

fn passphrase_key(stretched: &Secret) -> Secret {
    Secret::new(derive("strongroom 2026 v1 wrap passphrase", stretched.expose()))
}

fn key_file_key(file: &Secret) -> Secret {
    Secret::new(derive("strongroom 2026 v1 wrap key file", file.expose()))
}

fn direct_seal(
    wrap_key: &Secret,
    context: &[u8],
    secret: &Secret,
) -> Result<(Commitment, [u8; 48]), KeysError> {
    let (key, commitment) = key_and_commitment(wrap_key.expose(), &[context]);
    let key = Zeroizing::new(key);
    let mut out = Vec::with_capacity(48);
    append_sealed(&ChaCha20Poly1305::new(&(*key).into()), &[0; 12], context, secret.expose(), &mut out)?;
    Ok((commitment, out.try_into().map_err(|_| KeysError::Tampered)?))
}

fn direct_open(
    wrap_key: &Secret,
    context: &[u8],
    commitment: &Commitment,
    sealed: &[u8; 48],
) -> Result<Secret, KeysError> {
    let (key, expected) = key_and_commitment(wrap_key.expose(), &[context]);
    let key = Zeroizing::new(key);
    if !bool::from(expected.0.ct_eq(&commitment.0)) {
        return Err(KeysError::Commitment);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(32));
    append_opened(&ChaCha20Poly1305::new(&(*key).into()), &[0; 12], context, sealed, &mut out)?;
    to_secret(&out)
}

fn to_secret(bytes: &[u8]) -> Result<Secret, KeysError> {
    bytes.try_into().map(Secret::new).map_err(|_| KeysError::Tampered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    const REPOSITORY: RepositoryId = RepositoryId([10; 16]);
    const COSTS: Argon2Costs = Argon2Costs { memory_kib: 64, passes: 1, lanes: 1 };

    fn key() -> NamedKey {
        NamedKey { id: KeyId([5; 16]), purpose: Purpose::Vault, secret: Secret::new([0xab; 32]) }
    }

    fn signer() -> Signer {
        Signer::new(WriterId([7; 16]), &Secret::new([7; 32]))
    }

    #[test]
    fn each_wrap_opens_with_its_own_secret_only() {
        let random = SeededRandom::new(b"wraps");
        let private = Secret::new([0x21; 32]);
        let passphrase = WrapTo::passphrase("corre\u{301}ct horse", COSTS, &random).unwrap();
        let WrapTo::Passphrase { argon2, .. } = &passphrase else { panic!() };
        let composed = stretch("corr\u{e9}ct horse", argon2).unwrap();
        let wrong = stretch("correct horse", argon2).unwrap();
        let file = Secret::new([0x42; 32]);
        let cases = [
            (&passphrase, Unwrap::Passphrase(&composed), Unwrap::Passphrase(&wrong)),
            (&WrapTo::KeyFile { key: file.clone() }, Unwrap::KeyFile(&file), Unwrap::KeyFile(&wrong)),
            (
                &WrapTo::X25519 { recipient: RecipientId([1; 16]), public: x25519_public(&private).unwrap() },
                Unwrap::X25519(&private),
                Unwrap::X25519(&wrong),
            ),
        ];
        for (to, right, wrong) in cases {
            let signed = to.wrap(&key(), REPOSITORY, &signer(), &random).unwrap();
            let signed = SignedKey::decode(&signed.encode()).unwrap();
            let object = verify_key_object(&signed, REPOSITORY, &signer().public()).unwrap();
            assert_eq!(right.unwrap(&object, REPOSITORY).unwrap(), key().secret);
            assert!(wrong.unwrap(&object, REPOSITORY).is_err());
            assert!(right.unwrap(&object, RepositoryId([11; 16])).is_err(), "another repository");
            let other = KeyObject { purpose: Purpose::Root, ..object.clone() };
            assert!(right.unwrap(&other, REPOSITORY).is_err(), "another purpose");
            let other = KeyObject { commitment: Commitment([0; 32]), ..object };
            assert!(matches!(right.unwrap(&other, REPOSITORY), Err(KeysError::Commitment)));
        }
    }

    #[test]
    fn low_order_points_are_refused() {
        let to = WrapTo::X25519 { recipient: RecipientId([1; 16]), public: PublicKey([0; 32]) };
        assert!(matches!(
            to.wrap(&key(), REPOSITORY, &signer(), &SeededRandom::new(b"x")),
            Err(KeysError::PublicKey)
        ));
    }
}
