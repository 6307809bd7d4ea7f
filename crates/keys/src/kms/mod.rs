//! A key management service, as a recipient of keys: it wraps and unwraps 32 bytes under a key that never leaves it
//! (`format-spec/sealing.md#wraps`).
//!
//! Every call names what it is about in an encryption context, which the service binds to the blob, writes to its
//! log, and lets access policies look at: a role can be allowed to unwrap one purpose and not another.
//!
//! [`AwsKms`] is the service; [`MemoryKms`] stands in for it in tests.

#[cfg(feature = "clouds")]
mod aws;
mod context;
mod error;
mod key_name;
mod memory;
#[cfg_attr(not(feature = "clouds"), allow(dead_code, reason = "only a real service is tried again"))]
mod retry;

#[cfg(feature = "clouds")]
pub use aws::{AwsKms, AwsKmsOptions, StaticCredentials};
pub use context::EncryptionContext;
pub use error::{KmsError, KmsTrouble};
pub use key_name::{KmsKeyName, KmsKeyNameError};
pub use memory::{KmsCall, MemoryKms};
pub use retry::KmsRetryPolicy;

use crate::Secret;

/// Longest blob a service may give, in bytes.
pub const KMS_BLOB_MAX_BYTES: usize = 6144;

/// A key wrapped by a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsBlob {
    /// The key it is wrapped under, in full: an ARN, never an alias, which may point elsewhere tomorrow.
    pub arn: String,
    /// What the service gave: opaque, 1 to [`KMS_BLOB_MAX_BYTES`].
    pub blob: Vec<u8>,
}

/// A key management service. Calls block; throttled and interrupted ones are tried again within.
pub trait Kms: Send + Sync {
    /// The ARN of a key that may be given as an alias or ID (AWS: `DescribeKey`); the ARN of a key is given back
    /// unasked.
    ///
    /// # Errors
    /// [`KmsError`]
    fn resolve(&self, key: &str) -> Result<String, KmsError>;

    /// 32 fresh bytes (AWS: `GenerateDataKey`) under `key`, an ARN or alias.
    ///
    /// # Errors
    /// [`KmsError`]
    fn generate(&self, key: &str, context: &EncryptionContext) -> Result<(Secret, KmsBlob), KmsError>;

    /// Wraps a key (AWS: `Encrypt`) under `key`, an ARN or alias.
    ///
    /// # Errors
    /// [`KmsError`]
    fn encrypt(&self, key: &str, context: &EncryptionContext, secret: &Secret) -> Result<KmsBlob, KmsError>;

    /// Unwraps a key (AWS: `Decrypt`, the key always named, and the answer's compared with it).
    ///
    /// # Errors
    /// [`KmsError`]
    fn decrypt(&self, blob: &KmsBlob, context: &EncryptionContext) -> Result<Secret, KmsError>;

    /// Wraps under another key what is wrapped under one, without showing it (AWS: `ReEncrypt`). Keys of AWS are
    /// regional: between regions this is `Decrypt` and `Encrypt`, and the key passes through this process's memory.
    ///
    /// # Errors
    /// [`KmsError`]
    fn re_encrypt(
        &self,
        blob: &KmsBlob,
        context: &EncryptionContext,
        destination: &str,
    ) -> Result<KmsBlob, KmsError>;
}
