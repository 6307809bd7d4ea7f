//! Why a bucket could not be read or restored.

use std::error::Error;

use strongroom_format::SnapshotId;
use strongroom_store::aws::{Answer, AwsError, Failure, FailureKind};

/// What went wrong, in which bucket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The client cannot be set up.
    #[error("cannot reach {bucket}")]
    Aws {
        /// Bucket and endpoint.
        bucket: String,
        /// Why.
        source: AwsError,
    },
    /// What was given is no bucket.
    #[error("{given:?} is no bucket: {why}")]
    NotABucket {
        /// It.
        given: String,
        /// Why not.
        why: &'static str,
    },
    /// The service does not answer, or says no.
    #[error("{operation} of {object} failed in {bucket}")]
    Request {
        /// What was asked, as the service calls it: `ListObjectVersions`.
        operation: &'static str,
        /// On which key or prefix.
        object: String,
        /// Bucket and endpoint.
        bucket: String,
        /// How far it came.
        kind: Box<FailureKind>,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A listing that cannot be believed.
    #[error("the list of {bucket} makes no sense behind {key:?}: {why}")]
    Listing {
        /// Bucket and endpoint.
        bucket: String,
        /// The last key before.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing of what is there could be read.
    #[error("none of the {objects} objects in {bucket} can be read")]
    NothingReadable {
        /// Bucket and endpoint.
        bucket: String,
        /// That are listed.
        objects: u64,
    },
    /// Another engine's.
    #[error("snapshot {snapshot} is not one of a bucket")]
    NotABucketSnapshot {
        /// It.
        snapshot: SnapshotId,
    },
    /// What would be overwritten.
    #[error("{bucket} is not empty: {key:?} is there; nothing was restored")]
    InTheWay {
        /// Bucket, prefix and endpoint.
        bucket: String,
        /// The first key.
        key: String,
    },
    /// The repository lies where is to be restored.
    #[error(
        "the repository itself lies in {bucket}, which is where this snapshot would be restored; nothing was restored"
    )]
    Repository {
        /// Bucket, prefix and endpoint.
        bucket: String,
    },
    /// It broke off in the middle.
    #[error("{bucket} is restored in part only: {objects} of {of} objects were written")]
    Partial {
        /// Bucket and endpoint.
        bucket: String,
        /// Those that were written.
        objects: u64,
        /// Those that are wanted.
        of: u64,
        /// Why.
        source: Box<crate::engine::EngineError>,
    },
}

impl S3Error {
    /// Of a request that failed.
    pub(super) fn request(operation: &'static str, object: &str, bucket: &str, failure: Failure) -> Self {
        let object = if object.is_empty() { "the bucket".to_owned() } else { format!("{object:?}") };
        let Failure { kind, source } = failure;
        Self::Request { operation, object, bucket: bucket.to_owned(), kind: Box::new(kind), source }
    }

    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Request { kind, .. } => match kind.as_ref() {
                FailureKind::Answered(answer) => Some(answer),
                _ => None,
            },
            _ => None,
        }
    }

    /// The code of the service's answer; none if there was none.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.answer().map(|answer| answer.code.as_str())
    }

    /// The status of the service's answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }

    /// Whether the object is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.status() == Some(404) && self.code() != Some("NoSuchBucket")
    }

    /// Whether this caller may not, though the service knows who asks.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        const NOBODY: [&str; 5] = [
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "RequestTimeTooSkewed",
        ];
        self.status() == Some(403) && !NOBODY.iter().any(|code| self.code() == Some(code))
    }

    /// Whether it is about one object, so that others may go well.
    pub(super) fn is_of_object(&self) -> bool {
        match (self, self.answer()) {
            (_, Some(answer)) => {
                let is_refused = (400..500).contains(&answer.status) && answer.code != "NoSuchBucket";
                let is_of_caller = [401, 403].contains(&answer.status) || answer.code == "ExpiredToken";
                self.is_denied() || (is_refused && !is_of_caller)
            }
            (Self::Request { kind, .. }, None) => **kind == FailureKind::Other,
            _ => false,
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
