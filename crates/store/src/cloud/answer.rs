//! What the services' answers mean.

use std::error::Error;
use std::io;

use crate::cloud::transport::{Asked, Refusal};
use crate::error::{CredentialsReason, Operation, StoreError};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The service, or `object_store`, says why.
    #[error(transparent)]
    Service(object_store::Error),
    /// No sign of life.
    #[error("no answer in time")]
    Silent,
    /// The body had more or less than the answer said.
    #[error("the answer is shorter or longer than it says")]
    WrongLength,
    /// This machine is at fault.
    #[error(transparent)]
    System(io::Error),
}

/// Answers that a caller may have expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such object.
    NotFound,
    /// The name cannot be created, because it is there.
    Taken,
    /// The range begins behind the object's end.
    BeyondEnd,
    /// The object must be thawed first.
    Archived,
    /// None of these.
    Unexpected,
}

impl Failure {
    pub(super) fn answer(&self) -> Answer {
        let Some(Refusal::Status { asked: Asked::Store, status, code, .. }) = self.refusal() else {
            return Answer::Unexpected;
        };
        match (status, code.as_str()) {
            (404, code) if !is_bucket_missing(code) => Answer::NotFound,
            // Immutable or leased: only what is there can be.
            (412, _)
            | (409, "BlobAlreadyExists" | "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold") => {
                Answer::Taken
            }
            (409, "BlobArchived" | "BlobBeingRehydrated") => Answer::Archived,
            (416, _) => Answer::BeyondEnd,
            _ => Answer::Unexpected,
        }
    }

    /// The refusal that `object_store` wrapped in errors of its own.
    fn refusal(&self) -> Option<&Refusal> {
        let Self::Service(error) = self else { return None };
        let mut current: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = current {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            current = error.source();
        }
        None
    }

    /// Whether there was an answer, whole and well, that makes no sense.
    pub(super) fn is_nonsense(&self) -> bool {
        matches!(self, Self::Service(_)) && self.refusal().is_none() && !self.is_broken_body()
    }

    /// Whether a body broke off: those errors do not go through the transport.
    fn is_broken_body(&self) -> bool {
        let Self::Service(error) = self else { return false };
        let mut current: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = current {
            if error.is::<object_store::client::HttpError>() {
                return true;
            }
            current = error.source();
        }
        false
    }
}

fn is_bucket_missing(code: &str) -> bool {
    matches!(code, "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" | "ResourceNotFound")
}

/// The error for a call that was not answered as expected.
pub(super) fn store_error(
    operation: Operation,
    object: &str,
    location: &str,
    failure: Failure,
) -> StoreError {
    let (object, location) = (object.to_owned(), location.to_owned());
    let meaning = match failure.refusal() {
        Some(Refusal::Status { asked: Asked::Store, status, code, .. }) => {
            meaning_of(operation, *status, code)
        }
        Some(Refusal::Status { status: 408 | 429 | 500.., .. }) => Meaning::Transient { throttled: false },
        Some(
            Refusal::Status { asked: Asked::Machine, .. } | Refusal::Broken { asked: Asked::Machine, .. },
        ) => Meaning::Credentials(CredentialsReason::Missing),
        Some(Refusal::Status { asked: Asked::Tokens, .. }) => {
            Meaning::Credentials(CredentialsReason::Unknown)
        }
        Some(Refusal::Broken { is_untrusted: true, .. }) => Meaning::Untrusted,
        Some(Refusal::Broken { asked: Asked::Store, is_connected: false, .. }) => Meaning::Unreachable,
        Some(Refusal::Broken { .. }) => Meaning::Transient { throttled: false },
        None if matches!(failure, Failure::Silent | Failure::WrongLength) || failure.is_broken_body() => {
            Meaning::Transient { throttled: false }
        }
        None => Meaning::Other,
    };
    let source = short(failure);
    match meaning {
        Meaning::Transient { throttled } => {
            StoreError::Transient { operation, object, location, throttled, source }
        }
        Meaning::Unreachable => StoreError::Unreachable { location, source },
        Meaning::Untrusted => StoreError::Untrusted { location, source },
        Meaning::NoSuchBucket => StoreError::NoSuchBucket { location },
        Meaning::Denied => StoreError::PermissionDenied { operation, object, location, source: Some(source) },
        Meaning::Credentials(reason) => StoreError::Credentials { location, reason, source: Some(source) },
        Meaning::Other => StoreError::Io { operation, object, location, source: io::Error::other(source) },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Transient { throttled: bool },
    Unreachable,
    Untrusted,
    NoSuchBucket,
    Denied,
    Credentials(CredentialsReason),
    Other,
}

fn meaning_of(operation: Operation, status: u16, code: &str) -> Meaning {
    match (status, code) {
        (404, _) if is_bucket_missing(code) || matches!(operation, Operation::Put | Operation::List) => {
            Meaning::NoSuchBucket
        }
        (429, _) | (503, _) => Meaning::Transient { throttled: true },
        // A conflict that is none of those expected is with another request under way.
        (408 | 409 | 500.., _) => Meaning::Transient { throttled: false },
        (_, "RequestTimeTooSkewed") => Meaning::Credentials(CredentialsReason::Clock),
        (_, "ExpiredToken") => Meaning::Credentials(CredentialsReason::Expired),
        // Azure says this of a wrong key, an expired signature and a wrong clock alike.
        (401 | 403, "AuthenticationFailed" | "SignatureDoesNotMatch") => {
            Meaning::Credentials(CredentialsReason::Signature)
        }
        (401, _) | (_, "InvalidAuthenticationInfo" | "NoAuthenticationInformation") => {
            Meaning::Credentials(CredentialsReason::Unknown)
        }
        (403, _) => Meaning::Denied,
        _ => Meaning::Other,
    }
}

/// The cause without the layers of `object_store` around it, each of which repeats it.
fn short(failure: Failure) -> Box<dyn Error + Send + Sync> {
    match failure.refusal() {
        Some(refusal @ Refusal::Status { .. }) => refusal.to_string().into(),
        Some(refusal @ Refusal::Broken { source, .. }) => format!("{refusal}: {source}").into(),
        None => Box::new(failure),
    }
}

#[cfg(test)]
mod tests {
    use object_store::client::{HttpError, HttpErrorKind};

    use super::*;

    fn failure(refusal: Refusal) -> Failure {
        let source = HttpError::new(HttpErrorKind::Unknown, refusal);
        // Wrapped twice, as a service's own error is.
        let inner = object_store::Error::Generic { store: "test", source: Box::new(source) };
        Failure::Service(object_store::Error::Generic { store: "test", source: Box::new(inner) })
    }

    fn answered(asked: Asked, status: u16, code: &str) -> StoreError {
        let (code, said) = (code.to_owned(), format!("{code}: something"));
        let failure = failure(Refusal::Status { asked, status, code, said });
        store_error(Operation::Get, "config", "gs://b", failure)
    }

    fn broken(asked: Asked, is_connected: bool, is_untrusted: bool) -> StoreError {
        let source = HttpError::new(HttpErrorKind::Unknown, io::Error::other("no"));
        let failure = failure(Refusal::Broken { asked, is_connected, is_untrusted, source });
        store_error(Operation::Get, "config", "gs://b", failure)
    }

    fn reason(error: &StoreError) -> CredentialsReason {
        match error {
            StoreError::Credentials { reason, .. } => *reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_machine_without_a_role_has_no_credentials() {
        for error in [
            broken(Asked::Machine, false, false),
            broken(Asked::Machine, true, false),
            answered(Asked::Machine, 404, ""),
            answered(Asked::Machine, 400, "identity_not_found"),
        ] {
            assert_eq!(reason(&error), CredentialsReason::Missing);
        }
    }

    #[test]
    fn what_gives_out_tokens_may_fail_in_passing() {
        assert_eq!(reason(&answered(Asked::Tokens, 401, "invalid_client")), CredentialsReason::Unknown);
        assert_eq!(reason(&answered(Asked::Tokens, 400, "invalid_grant")), CredentialsReason::Unknown);
        for error in [
            answered(Asked::Tokens, 503, ""),
            answered(Asked::Machine, 429, ""),
            broken(Asked::Tokens, false, false),
            broken(Asked::Tokens, true, false),
        ] {
            assert!(matches!(error, StoreError::Transient { .. }), "{error:?}");
        }
    }

    #[test]
    fn connections_fail_in_several_ways() {
        assert!(matches!(broken(Asked::Store, false, true), StoreError::Untrusted { .. }));
        assert!(matches!(broken(Asked::Store, false, false), StoreError::Unreachable { .. }));
        assert!(matches!(broken(Asked::Store, true, false), StoreError::Transient { .. }));
        for failure in [Failure::Silent, Failure::WrongLength] {
            let error = store_error(Operation::Get, "config", "gs://b", failure);
            assert!(error.is_transient() && !error.is_throttled());
        }
    }

    #[test]
    fn only_the_store_itself_says_that_an_object_is_missing() {
        let status = |asked, status, code: &str| {
            let code = code.to_owned();
            failure(Refusal::Status { asked, status, code, said: String::new() }).answer()
        };
        assert_eq!(status(Asked::Store, 404, ""), Answer::NotFound);
        assert_eq!(status(Asked::Store, 404, "BlobNotFound"), Answer::NotFound);
        assert_eq!(status(Asked::Store, 404, "ContainerNotFound"), Answer::Unexpected);
        assert_eq!(status(Asked::Machine, 404, ""), Answer::Unexpected);
        assert_eq!(status(Asked::Tokens, 412, ""), Answer::Unexpected);
        assert!(matches!(answered(Asked::Store, 404, "NoSuchBucket"), StoreError::NoSuchBucket { .. }));
    }

    #[test]
    fn what_was_answered_is_said_once() {
        let error = answered(Asked::Store, 400, "InvalidHeader");
        let causes =
            std::iter::successors(Some::<&dyn Error>(&error), |error: &&dyn Error| (*error).source());
        let said: Vec<_> = causes.map(ToString::to_string).collect();
        assert_eq!(said.join("; ").matches("InvalidHeader").count(), 1, "{said:?}");
    }
}
