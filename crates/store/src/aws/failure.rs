//! What a failed request to AWS means, whatever the service.

use std::error::Error;
use std::fmt;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    /// How far it came.
    pub kind: FailureKind,
    /// The cause, for messages.
    pub source: Box<dyn Error + Send + Sync>,
}

/// How far a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// There was no connection, so that the service knows nothing of it; another attempt may find one.
    NotConnected,
    /// TLS does not trust who answers.
    Untrusted,
    /// The connection broke, or nothing came for too long. The request may have been carried out.
    Interrupted,
    /// No credentials were found, or they could not be got.
    NoCredentials,
    /// The service refused it.
    Answered(Answer),
    /// Anything else: it could not be built, or the answer was not understood.
    Other,
}

/// What a service answered instead of doing what it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Such as `AccessDenied`; empty when there was none, as after a HEAD.
    pub code: String,
    /// For people.
    pub message: String,
    /// What the service's own people want to know.
    pub request_id: String,
}

impl Failure {
    /// Finds out what an error of the SDK means.
    pub fn new<E>(error: SdkError<E, Response>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if let SdkError::ServiceError(refused) = &error {
            let (meta, response) = (refused.err().meta(), refused.raw());
            let answer = Answer {
                status: response.status().as_u16(),
                code: meta.code().unwrap_or_default().to_owned(),
                message: meta.message().unwrap_or_default().to_owned(),
                request_id: response.headers().get("x-amz-request-id").unwrap_or_default().to_owned(),
            };
            return Self { kind: FailureKind::Answered(answer.clone()), source: Box::new(answer) };
        }
        let kind = kind(&error);
        let source = match error {
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | SdkError::TimeoutError(_) => {
                error.into_source().unwrap_or_else(Into::into)
            }
            _ => error.into(),
        };
        Self { kind, source }
    }
}

fn kind<E>(error: &SdkError<E, Response>) -> FailureKind
where
    E: Error + Send + Sync + 'static,
{
    if let Some(credentials) = find::<CredentialsError>(error) {
        return credentials_kind(credentials);
    }
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => FailureKind::Interrupted,
        SdkError::DispatchFailure(_) => connection_kind(error),
        _ => FailureKind::Other,
    }
}

/// A role's credentials come over the network, too.
fn credentials_kind(error: &CredentialsError) -> FailureKind {
    let is_passing = match error {
        CredentialsError::ProviderTimedOut(_) => true,
        CredentialsError::ProviderError(_) => {
            find::<ConnectorError>(error).is_some() || find::<io::Error>(error).is_some()
        }
        _ => false,
    };
    if is_passing { FailureKind::NotConnected } else { FailureKind::NoCredentials }
}

fn connection_kind(error: &(dyn Error + 'static)) -> FailureKind {
    if let Some(rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(error) {
        return FailureKind::Untrusted;
    }
    let is_connect = find::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect());
    if is_connect { FailureKind::NotConnected } else { FailureKind::Interrupted }
}

/// The first cause of this type. An [`io::Error`] hides what it wraps from [`Error::source`], so that is looked into.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered {}", self.status)?;
        for (before, text) in [(" ", &self.code), (": ", &self.message), ("; request ID ", &self.request_id)]
        {
            if !text.is_empty() {
                write!(f, "{before}{text}")?;
            }
        }
        Ok(())
    }
}

impl Error for Answer {}
