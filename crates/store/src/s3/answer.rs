//! What a refusal of S3 means for a store.

use std::io;

use crate::aws::{Answer, FailureKind};
use crate::error::{CredentialsReason, Operation, StoreError};
use crate::name::ObjectName;
use crate::s3::{Failed, S3Store};

/// What an answer means, whatever was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    NotFound,
    NoSuchBucket,
    WrongRegion,
    Denied,
    Credentials(CredentialsReason),
    Archived,
    Retained,
    NotLockable,
    NoSpace,
    NotConditional,
    Busy,
    Failed,
    Other,
}

/// Whether a refusal passes: the service was busy, or something broke on the way.
#[must_use]
pub fn is_passing(answer: &Answer) -> bool {
    matches!(meaning(Operation::List, answer, false), Meaning::Busy | Meaning::Failed)
}

impl S3Store {
    /// For requests about one object.
    pub(super) fn error_on(&self, operation: Operation, name: &ObjectName, failed: Failed) -> StoreError {
        let (object, location) = (name.clone(), self.location.clone());
        match &failed.failure.kind {
            FailureKind::Answered(answer) => match meaning(operation, answer, self.is_elsewhere(&failed)) {
                Meaning::NotFound => StoreError::NotFound { object },
                Meaning::Archived => StoreError::Archived { object },
                Meaning::Retained => StoreError::Retained { object, location },
                Meaning::NotLockable => StoreError::NotLockable { object, location },
                Meaning::NotConditional => StoreError::NoAtomicCreate { object, location },
                _ => self.error(operation, name.as_str(), failed),
            },
            _ => self.error(operation, name.as_str(), failed),
        }
    }

    /// For all requests.
    pub(super) fn error(&self, operation: Operation, object: &str, failed: Failed) -> StoreError {
        let (object, location) = (object.to_owned(), self.location.clone());
        let is_elsewhere = self.is_elsewhere(&failed);
        let Failed { failure, region } = failed;
        let source = failure.source;
        let transient = |source, throttled| StoreError::Transient {
            operation,
            object: object.clone(),
            location: location.clone(),
            throttled,
            source,
        };
        match failure.kind {
            FailureKind::NotConnected => StoreError::Unreachable { location, source },
            FailureKind::Untrusted => StoreError::Untrusted { location, source },
            FailureKind::Interrupted => transient(source, false),
            FailureKind::NoCredentials => {
                let reason = CredentialsReason::Missing;
                StoreError::Credentials { location, reason, source: Some(source) }
            }
            FailureKind::Other => {
                StoreError::Io { operation, object, location, source: io::Error::other(source) }
            }
            FailureKind::Answered(answer) => match meaning(operation, &answer, is_elsewhere) {
                Meaning::NoSuchBucket => StoreError::NoSuchBucket { location },
                Meaning::WrongRegion => {
                    StoreError::WrongRegion { location, region: region.or_else(|| expected_region(&answer)) }
                }
                Meaning::Denied => {
                    StoreError::PermissionDenied { operation, object, location, source: Some(source) }
                }
                Meaning::Credentials(reason) => {
                    StoreError::Credentials { location, reason, source: Some(source) }
                }
                Meaning::NoSpace => StoreError::NoSpace { object, location },
                Meaning::Busy => transient(source, true),
                Meaning::Failed => transient(source, false),
                _ => StoreError::Io { operation, object, location, source: io::Error::other(source) },
            },
        }
    }

    fn is_elsewhere(&self, failed: &Failed) -> bool {
        failed.region.as_ref().is_some_and(|region| *region != self.region)
    }
}

/// By the code where there is one, else by the status. `is_elsewhere`: the answer names another region for the bucket,
/// which is all that a HEAD is told.
fn meaning(operation: Operation, answer: &Answer, is_elsewhere: bool) -> Meaning {
    match answer.code.as_str() {
        "NoSuchKey" | "NoSuchVersion" | "NotFound" => Meaning::NotFound,
        "NoSuchBucket" => Meaning::NoSuchBucket,
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => Meaning::WrongRegion,
        "AccessDenied" | "MethodNotAllowed" | "InvalidRequest" | "InvalidArgument" => {
            refusal(operation, answer)
        }
        "InvalidAccessKeyId" | "InvalidToken" | "UnrecognizedClientException" => {
            Meaning::Credentials(CredentialsReason::Unknown)
        }
        "SignatureDoesNotMatch" => Meaning::Credentials(CredentialsReason::Signature),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            Meaning::Credentials(CredentialsReason::Expired)
        }
        "RequestTimeTooSkewed" | "RequestExpired" => Meaning::Credentials(CredentialsReason::Clock),
        "InvalidObjectState" | "ObjectNotInActiveTierError" => Meaning::Archived,
        "ObjectLockConfigurationNotFoundError" | "NoSuchObjectLockConfiguration" => Meaning::NotLockable,
        "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded" => Meaning::NoSpace,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests" => Meaning::Busy,
        // Bodies and connections that were damaged on the way, and conditions that could not be decided.
        "InternalError"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "RequestTimeout"
        | "IncompleteBody"
        | "BadDigest"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch" => Meaning::Failed,
        "NotImplemented" if operation == Operation::Put => Meaning::NotConditional,
        _ => by_status(answer.status, is_elsewhere),
    }
}

/// Codes that say little: the rest is in the text, which AWS and others have not changed in years.
fn refusal(operation: Operation, answer: &Answer) -> Meaning {
    let says = |part: &str| answer.message.to_ascii_lowercase().contains(part);
    match answer.code.as_str() {
        _ if operation == Operation::Delete && (says("worm") || says("object lock")) => Meaning::Retained,
        "InvalidRequest" if says("object lock") || says("objectlock") => Meaning::NotLockable,
        // A delete marker.
        "MethodNotAllowed" if operation == Operation::Get => Meaning::NotFound,
        "InvalidArgument" if says("version") => Meaning::NotFound,
        "AccessDenied" => Meaning::Denied,
        _ => Meaning::Other,
    }
}

fn by_status(status: u16, is_elsewhere: bool) -> Meaning {
    match status {
        301 | 307 => Meaning::WrongRegion,
        400 if is_elsewhere => Meaning::WrongRegion,
        401 | 403 => Meaning::Denied,
        404 => Meaning::NotFound,
        408 | 409 | 500 | 502 | 504 => Meaning::Failed,
        429 | 503 => Meaning::Busy,
        507 => Meaning::NoSpace,
        _ => Meaning::Other,
    }
}

/// From "... the region 'us-east-1' is wrong; expecting 'eu-west-1'".
fn expected_region(answer: &Answer) -> Option<String> {
    let (_, rest) = answer.message.split_once("expecting '")?;
    let (region, _) = rest.split_once('\'')?;
    Some(region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, message: &str) -> Answer {
        Answer { status, code: code.into(), message: message.into(), ..Answer::default() }
    }

    #[test]
    fn codes_come_before_statuses() {
        for (status, code, message, expected) in [
            (404, "NoSuchKey", "", Meaning::NotFound),
            (404, "NoSuchBucket", "", Meaning::NoSuchBucket),
            (404, "", "", Meaning::NotFound),
            (403, "AccessDenied", "", Meaning::Denied),
            (403, "", "", Meaning::Denied),
            (403, "InvalidAccessKeyId", "", Meaning::Credentials(CredentialsReason::Unknown)),
            (403, "SignatureDoesNotMatch", "", Meaning::Credentials(CredentialsReason::Signature)),
            (400, "ExpiredToken", "", Meaning::Credentials(CredentialsReason::Expired)),
            (403, "RequestTimeTooSkewed", "", Meaning::Credentials(CredentialsReason::Clock)),
            (403, "InvalidObjectState", "", Meaning::Archived),
            (503, "SlowDown", "", Meaning::Busy),
            (503, "", "", Meaning::Busy),
            (429, "", "", Meaning::Busy),
            (500, "InternalError", "", Meaning::Failed),
            (502, "", "", Meaning::Failed),
            (400, "RequestTimeout", "", Meaning::Failed),
            (409, "ConditionalRequestConflict", "", Meaning::Failed),
            (409, "OperationAborted", "", Meaning::Failed),
            (301, "PermanentRedirect", "", Meaning::WrongRegion),
            (400, "AuthorizationHeaderMalformed", "", Meaning::WrongRegion),
            (400, "InvalidRequest", "Bucket is missing ObjectLockConfiguration", Meaning::NotLockable),
            (400, "InvalidRequest", "Missing required header", Meaning::Other),
            (507, "XMinioStorageFull", "", Meaning::NoSpace),
            (501, "NotImplemented", "", Meaning::NotConditional),
            (418, "", "", Meaning::Other),
        ] {
            let found = meaning(Operation::Put, &answer(status, code, message), false);
            assert_eq!(found, expected, "{status} {code} {message}");
        }
        assert_eq!(meaning(Operation::Stat, &answer(400, "", ""), true), Meaning::WrongRegion);
        assert_eq!(meaning(Operation::Get, &answer(501, "NotImplemented", ""), false), Meaning::Other);
        let worm = answer(400, "InvalidRequest", "Object is WORM protected and cannot be overwritten");
        assert_eq!(meaning(Operation::Delete, &worm, false), Meaning::Retained);
    }

    #[test]
    fn the_right_region_is_read_from_the_text() {
        let said =
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        assert_eq!(expected_region(&answer(400, "", said)).as_deref(), Some("eu-west-1"));
        assert_eq!(expected_region(&answer(400, "", "it is malformed")), None);
    }
}
