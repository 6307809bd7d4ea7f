//! Signatures (`format-spec/sealing.md#signatures`): Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::Signer as _;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{PublicKey, RepositoryId, Signature, WriterId};

use crate::{KeysError, Secret};

const OBJECT_LABEL: &[u8] = b"strongroom 2026 v1 signature";

/// A writer's signing key.
pub struct Signer {
    id: WriterId,
    key: ed25519_dalek::SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

impl Signer {
    /// From the writer's ID and its 32-byte seed.
    #[must_use]
    pub fn new(id: WriterId, seed: &Secret) -> Self {
        Self { id, key: ed25519_dalek::SigningKey::from_bytes(seed.expose()) }
    }

    /// Who signs.
    #[must_use]
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// Signs an object of `kind`; `parts` are its header (if it has one) and its signed bytes.
    #[must_use]
    pub fn sign_object(&self, kind: ObjectKind, parts: &[&[u8]]) -> Signature {
        self.sign_message(&object_message(kind, parts))
    }

    pub(crate) fn sign_message(&self, message: &[u8]) -> Signature {
        Signature(self.key.sign(message).to_bytes())
    }
}

/// Verifies what [`Signer::sign_object`] signed.
///
/// # Errors
/// `Signature`, `PublicKey`.
pub fn verify_object(
    public: &PublicKey,
    kind: ObjectKind,
    parts: &[&[u8]],
    signature: &Signature,
) -> Result<(), KeysError> {
    verify_message(public, &object_message(kind, parts), signature)
}

/// The bytes of a policy that the root key signs: bound to the repository.
#[must_use]
pub fn sign_policy(root: &Signer, repository: RepositoryId, policy: &[u8]) -> Signature {
    root.sign_object(ObjectKind::Policy, &[&repository.0, policy])
}

/// Verifies what [`sign_policy`] signed.
///
/// # Errors
/// `Signature`, `PublicKey`.
pub fn verify_policy(
    root: &PublicKey,
    repository: RepositoryId,
    policy: &[u8],
    signature: &Signature,
) -> Result<(), KeysError> {
    verify_object(root, ObjectKind::Policy, &[&repository.0, policy], signature)
}

pub(crate) fn verify_message(
    public: &PublicKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), KeysError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(&public.0).map_err(|_| KeysError::PublicKey)?;
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0))
        .map_err(|_| KeysError::Signature)
}

fn object_message(kind: ObjectKind, parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    [OBJECT_LABEL, &[kind.number()], hasher.finalize().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_kind_and_parts() {
        let signer = Signer::new(WriterId([1; 16]), &Secret::new([7; 32]));
        let signature = signer.sign_object(ObjectKind::Entry, &[b"header", b"body"]);
        let verify = |kind, parts: &[&[u8]]| verify_object(&signer.public(), kind, parts, &signature);
        assert!(verify(ObjectKind::Entry, &[b"header", b"body"]).is_ok());
        assert!(matches!(verify(ObjectKind::Index, &[b"header", b"body"]), Err(KeysError::Signature)));
        assert!(matches!(verify(ObjectKind::Entry, &[b"header", b"bodx"]), Err(KeysError::Signature)));
        let mut low_order = PublicKey([0; 32]);
        low_order.0[0] = 1;
        assert!(verify_object(&low_order, ObjectKind::Entry, &[], &Signature([0; 64])).is_err());
    }
}
