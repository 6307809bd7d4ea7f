//! What can go wrong with a key management service.

use strongroom_format::registry::Purpose;

use super::KmsKeyNameError;

/// A call on a service that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{action} with KMS key {key}{}: {trouble}", for_purpose(*purpose))]
pub struct KmsError {
    /// The right it needs: `kms:Decrypt`. `kms:ReEncrypt*` when the service did not say on which of the two keys.
    pub action: &'static str,
    /// The key, as it was asked for.
    pub key: String,
    /// What the wrapped key is for, where the call is about one.
    pub purpose: Option<Purpose>,
    /// What happened.
    pub trouble: KmsTrouble,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KmsTrouble {
    /// The caller lacks the right.
    #[error("access denied; this role lacks that right on that key, or not for this purpose")]
    AccessDenied,
    /// There is no such key, or no such alias, in its region.
    #[error("there is no such key in region {region}; is the ARN right, and the region?")]
    NoSuchKey {
        /// The region asked.
        region: String,
    },
    /// The key is disabled.
    #[error("the key is disabled; enable it")]
    Disabled,
    /// The key is to be deleted.
    #[error("the key is pending deletion: cancel the deletion at once, or what only it opens is lost")]
    PendingDeletion,
    /// The key cannot be used for wrapping now, or ever.
    #[error("the key cannot be used ({reason}); see its state and key usage")]
    Unusable {
        /// The service's words.
        reason: String,
    },
    /// Still throttled after all attempts.
    #[error("still throttled after {attempts} attempts; try later or raise the quota")]
    Throttled {
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer.
    #[error("the service cannot be reached at {endpoint} ({reason})")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// The last failure.
        reason: String,
    },
    /// No credentials, expired ones, or a clock too wrong to sign with.
    #[error("no usable credentials: {reason}")]
    Credentials {
        /// What is wrong with them, and the service's words.
        reason: String,
    },
    /// An alias or ID alone, and nothing that says in which region.
    #[error("no region is set; set AWS_REGION, or give the key's ARN")]
    NoRegion,
    /// The key's name is none.
    #[error(transparent)]
    Name(#[from] KmsKeyNameError),
    /// No client can be made: something on this machine, or in its configuration.
    #[error("cannot set up a client: {reason}")]
    Setup {
        /// What is wrong.
        reason: String,
    },
    /// The blob is not of this key and context.
    #[error("the wrapped key was changed, or is another key's, repository's or purpose's")]
    WrongBlob,
    /// The answer names another key than the one asked for.
    #[error("the service answered with another key, {answered}")]
    OtherKey {
        /// The key it named.
        answered: String,
    },
    /// The answer is not 32 bytes, has no blob or one of impossible length, or names its key by no ARN.
    #[error("the service's answer is malformed; is the endpoint AWS KMS?")]
    Malformed,
    /// Anything else the service said.
    #[error("{reason}")]
    Other {
        /// Its words.
        reason: String,
    },
}

fn for_purpose(purpose: Option<Purpose>) -> String {
    purpose.map(|purpose| format!(" for purpose {}", purpose.name())).unwrap_or_default()
}

impl KmsError {
    /// Whether another role could do this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.trouble, KmsTrouble::AccessDenied)
    }
}
