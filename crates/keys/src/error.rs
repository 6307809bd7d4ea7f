//! What can go wrong with keys.

use strongroom_format::{FormatError, KeyId};
use strongroom_store::StoreError;

use crate::kms::KmsError;

/// Why bytes did not open, or a key was not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The bytes are not the structure they should be.
    #[error("malformed")]
    Format(#[from] FormatError),
    /// The object belongs to another repository.
    #[error("it belongs to another repository")]
    WrongRepository,
    /// The object is of another kind than its name says.
    #[error("it is an object of another kind")]
    WrongKind,
    /// The object is sealed under a key that is not at hand.
    #[error("it is sealed under key {needed}, which is not at hand")]
    OtherKey {
        /// The key it names.
        needed: KeyId,
    },
    /// The commitment does not match: a changed header, or another key.
    #[error("its key commitment does not match: the bytes were changed, or sealed under another key")]
    Commitment,
    /// The AEAD tag does not match: changed bytes.
    #[error("its authentication tag does not match: the bytes were changed")]
    Tampered,
    /// A signature does not hold.
    #[error("its signature does not hold")]
    Signature,
    /// No credential at hand opens the vault.
    #[error("wrong passphrase or key: none of the {tried} recipients of that kind opens with it")]
    WrongCredential {
        /// How many recipients there are of the kinds that were tried.
        tried: usize,
    },
    /// A credential of another kind is needed.
    #[error("nothing at hand opens it; it opens with: {kinds}")]
    NoCredential {
        /// The kinds of recipients there are.
        kinds: String,
    },
    /// A key management service refused or failed.
    #[error(transparent)]
    Kms(Box<KmsError>),
    /// A public key of low order, or one that is none.
    #[error("a public key is not one")]
    PublicKey,
    /// The key file is not one.
    #[error("not a key file: {reason}")]
    KeyFile {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gives no random bytes")]
    Random,
    /// Argon2 could not run with the stored parameters.
    #[error("Argon2id does not run with the stored parameters")]
    Argon2,
    /// The store failed.
    #[error("reading keys from the store")]
    Store(#[from] StoreError),
}

impl From<KmsError> for KeysError {
    fn from(error: KmsError) -> Self {
        Self::Kms(Box::new(error))
    }
}
